/* Frames between replicas: what is encoded decodes to the same; any bytes give a frame or a refusal; what raft would only
 * have asserted is refused. The mutations are random: LOCKSTEP_SEED names the seed, which is printed. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/replica/link.h"
#include "node/replica/wire.h"

struct bytes {
    uint8_t *data;
    size_t size;
};

static uint64_t random_state;

static uint64_t random_below(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static struct bytes frame_bytes(const struct wire_frame *frame, const void *tail, size_t tail_size)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    size_t size = wire_encode_head(frame, head);
    struct bytes bytes = {.data = malloc(size + tail_size), .size = size + tail_size};
    memcpy(bytes.data, head, size);
    if (tail_size > 0) {
        memcpy(bytes.data + size, tail, tail_size);
    }
    return bytes;
}

/* Decoding a heap copy of the exact size lets the address sanitizer see every byte read beyond it. */
static const char *decode_exact(const void *data, size_t size, struct wire_frame *ret_frame, uint8_t **ret_copy)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    const char *why = wire_decode(copy, size, ret_frame);
    if (ret_copy != NULL) {
        *ret_copy = copy;
    } else {
        free(copy);
    }
    return why;
}

static struct bytes configuration_bytes(unsigned servers)
{
    struct raft_configuration configuration;
    struct raft_buffer buffer;
    char address[64];
    raft_configuration_init(&configuration);
    for (unsigned i = 1; i <= servers; i++) {
        (void)snprintf(address, sizeof address, "10.0.0.%u:7001 10.0.0.%u:7000", i, i);
        assert_int_equal(raft_configuration_add(&configuration, i, address, i == 2 ? RAFT_STANDBY : RAFT_VOTER), 0);
    }
    assert_int_equal(raft_configuration_encode(&configuration, &buffer), 0);
    raft_configuration_close(&configuration);
    struct bytes bytes = {.data = malloc(buffer.len), .size = buffer.len};
    memcpy(bytes.data, buffer.base, buffer.len);
    raft_free(buffer.base);
    return bytes;
}

/* An append of three entries: a command, a configuration, an empty barrier. */
static struct bytes append_bytes(uint64_t term, uint64_t prev_index, uint64_t prev_term, const uint64_t terms[3],
                                 const uint8_t types[3])
{
    struct bytes configuration = configuration_bytes(3);
    struct wire_frame frame = {
        .kind = WIRE_APPEND,
        .append = {.term = term, .prev_index = prev_index, .prev_term = prev_term, .leader_commit = 7, .count = 3},
    };
    const struct bytes contents[3] = {{(uint8_t *)(uintptr_t)"grant", 5}, configuration, {NULL, 0}};
    uint8_t tail[4096];
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        struct log_entry entry = {.term = terms[i], .type = types[i], .size = (uint32_t)contents[i].size};
        wire_encode_entry_head(&entry, tail + used);
        used += WIRE_ENTRY_HEAD_BYTES;
    }
    for (int i = 0; i < 3; i++) {
        if (contents[i].size > 0) {
            memcpy(tail + used, contents[i].data, contents[i].size);
        }
        used += contents[i].size;
    }
    free(configuration.data);
    return frame_bytes(&frame, tail, used);
}

static const uint64_t good_terms[3] = {3, 4, 5};
static const uint8_t good_types[3] = {LOG_COMMAND, LOG_CHANGE, LOG_BARRIER};

static void an_append_decodes_to_its_entries(void **state)
{
    (void)state;
    struct bytes bytes = append_bytes(5, 9, 3, good_terms, good_types);
    struct wire_frame frame;
    assert_null(wire_decode(bytes.data, bytes.size, &frame));
    assert_int_equal(frame.kind, WIRE_APPEND);
    assert_int_equal(frame.append.term, 5);
    assert_int_equal(frame.append.prev_index, 9);
    assert_int_equal(frame.append.prev_term, 3);
    assert_int_equal(frame.append.leader_commit, 7);
    assert_int_equal(frame.append.count, 3);
    struct wire_entry entry = wire_append_next(&frame.append);
    assert_int_equal(entry.term, 3);
    assert_int_equal(entry.type, LOG_COMMAND);
    assert_int_equal(entry.size, 5);
    assert_memory_equal(entry.data, "grant", 5);
    entry = wire_append_next(&frame.append);
    assert_int_equal(entry.type, LOG_CHANGE);
    assert_true(wire_configuration_valid(entry.data, entry.size));
    entry = wire_append_next(&frame.append);
    assert_int_equal(entry.term, 5);
    assert_int_equal(entry.size, 0);
    free(bytes.data);
}

static void refused(struct bytes bytes)
{
    struct wire_frame frame;
    assert_non_null(decode_exact(bytes.data, bytes.size, &frame, NULL));
    free(bytes.data);
}

static void an_append_that_raft_would_only_assert_is_refused(void **state)
{
    (void)state;
    refused(append_bytes(5, 9, 0, good_terms, good_types)); /* previous index without its term */
    refused(append_bytes(5, 0, 3, good_terms, good_types));
    refused(append_bytes(5, 9, 6, good_terms, good_types)); /* previous term after the leader's */
    refused(append_bytes(0, 9, 3, good_terms, good_types));
    refused(append_bytes(5, 9, 3, (const uint64_t[]){0, 4, 5}, good_types));
    refused(append_bytes(5, 9, 3, (const uint64_t[]){2, 4, 5}, good_types)); /* falls below the previous */
    refused(append_bytes(5, 9, 3, (const uint64_t[]){4, 3, 5}, good_types));
    refused(append_bytes(5, 9, 3, (const uint64_t[]){3, 4, 6}, good_types));
    refused(append_bytes(5, 9, 3, good_terms, (const uint8_t[]){0, LOG_CHANGE, LOG_BARRIER}));
    refused(append_bytes(5, 9, 3, good_terms, (const uint8_t[]){4, LOG_CHANGE, LOG_BARRIER}));
    refused(append_bytes(5, 9, 3, good_terms, (const uint8_t[]){LOG_CHANGE, LOG_CHANGE, LOG_BARRIER}));
    refused(append_bytes(UINT64_MAX, 9, 3, good_terms, good_types));
    refused(append_bytes(5, UINT64_MAX, 3, good_terms, good_types));
}

static struct wire_frame small_frame(unsigned which)
{
    switch (which) {
    case 0:
        return (struct wire_frame){.kind = WIRE_INTRODUCTION, .introduction = {77, true, 88, 99}};
    case 1:
        return (struct wire_frame){.kind = WIRE_APPEND_RESULT, .append_result = {2, 5, 9, 8, 1, 65535}};
    case 2:
        return (struct wire_frame){.kind = WIRE_VOTE, .vote = {2, 5, 3, 9, 4, true, false}};
    case 3:
        return (struct wire_frame){.kind = WIRE_VOTE_RESULT, .vote_result = {2, 5, true, true, 1, 3}};
    case 4:
        return (struct wire_frame){.kind = WIRE_TIMEOUT_NOW, .timeout_now = {0, 5, 9, 4}};
    case 5:
        return (struct wire_frame){.kind = WIRE_READ_PROBE, .read = {5, 1234567, false}};
    case 6:
        return (struct wire_frame){.kind = WIRE_READ_ANSWER, .read = {5, 1234567, true}};
    case 7:
        return (struct wire_frame){.kind = WIRE_SNAPSHOT_END, .snapshot_end = 42};
    default:
        return (struct wire_frame){.kind = WIRE_SNAPSHOT_ACK, .snapshot_ack = {42, 1 << 20, WIRE_SNAPSHOT_DONE}};
    }
}

enum { SMALL_FRAMES = 9 };

static void each_small_frame_decodes_to_itself(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SMALL_FRAMES; i++) {
        struct wire_frame frame = small_frame(i), back;
        uint8_t again[WIRE_HEAD_BYTES_MAX];
        struct bytes bytes = frame_bytes(&frame, NULL, 0);
        assert_null(wire_decode(bytes.data, bytes.size, &back));
        assert_int_equal(back.kind, frame.kind);
        assert_int_equal(wire_encode_head(&back, again), bytes.size);
        assert_memory_equal(again, bytes.data, bytes.size);
        free(bytes.data);
    }
}

static void a_frame_cut_short_or_with_a_byte_more_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= SMALL_FRAMES; i++) {
        struct wire_frame frame = small_frame(i), back;
        struct bytes bytes = i < SMALL_FRAMES ? frame_bytes(&frame, NULL, 0) : append_bytes(5, 9, 3, good_terms, good_types);
        for (size_t size = 0; size < bytes.size; size++) {
            assert_non_null(decode_exact(bytes.data, size, &back, NULL));
        }
        bytes.data = realloc(bytes.data, bytes.size + 1);
        bytes.data[bytes.size] = 0;
        assert_non_null(decode_exact(bytes.data, bytes.size + 1, &back, NULL));
        free(bytes.data);
    }
}

static struct bytes begin_bytes(uint64_t index, uint64_t configuration_index)
{
    struct bytes configuration = configuration_bytes(5);
    struct wire_frame frame = {
        .kind = WIRE_SNAPSHOT_BEGIN,
        .snapshot_begin = {.stream = 3, .term = 9, .index = index, .last_term = 8,
                           .configuration_index = configuration_index, .body_bytes = 1000, .digest = {1, 2, 3},
                           .configuration_size = (uint32_t)configuration.size},
    };
    struct bytes bytes = frame_bytes(&frame, configuration.data, configuration.size);
    free(configuration.data);
    return bytes;
}

static void a_snapshot_begins_with_its_configuration(void **state)
{
    (void)state;
    struct bytes bytes = begin_bytes(100, 1);
    struct wire_frame frame;
    assert_null(wire_decode(bytes.data, bytes.size, &frame));
    assert_int_equal(frame.snapshot_begin.index, 100);
    assert_int_equal(frame.snapshot_begin.digest[2], 3);
    assert_true(wire_configuration_valid(frame.snapshot_begin.configuration, frame.snapshot_begin.configuration_size));
    free(bytes.data);
    refused(begin_bytes(0, 1));
    refused(begin_bytes(100, 0));
    refused(begin_bytes(100, 101));
}

static void a_configuration_is_checked_before_raft_decodes_it(void **state)
{
    (void)state;
    struct bytes good = configuration_bytes(3);
    assert_true(wire_configuration_valid(good.data, good.size));
    for (size_t size = 0; size < good.size; size++) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, good.data, size);
        assert_false(size + 8 <= good.size && wire_configuration_valid(copy, size));
        free(copy);
    }
    good.data[1] = 200; /* more servers than there are bytes for */
    assert_false(wire_configuration_valid(good.data, good.size));
    free(good.data);
}

static struct bytes any_frame(void)
{
    uint64_t which = random_below(SMALL_FRAMES + 3);
    if (which < SMALL_FRAMES) {
        struct wire_frame frame = small_frame((unsigned)which);
        return frame_bytes(&frame, NULL, 0);
    }
    if (which == SMALL_FRAMES) {
        return append_bytes(5, 9, 3, good_terms, good_types);
    }
    if (which == SMALL_FRAMES + 1) {
        return begin_bytes(100, 1);
    }
    struct wire_frame frame = {.kind = WIRE_SNAPSHOT_CHUNK, .snapshot_chunk = {.stream = 3, .offset = 4096}};
    return frame_bytes(&frame, "some bytes of a body", 20);
}

static void mutate(struct bytes *bytes)
{
    for (uint64_t n = 1 + random_below(4); n > 0 && bytes->size > 0; n--) {
        size_t at = (size_t)random_below(bytes->size);
        switch (random_below(4)) {
        case 0:
            bytes->data[at] ^= (uint8_t)(1U << random_below(8));
            break;
        case 1:
            bytes->data[at] = (uint8_t)random_below(256);
            break;
        case 2:
            bytes->data[at] = random_below(2) == 0 ? 0 : 255;
            break;
        default:
            bytes->size = at;
            break;
        }
    }
}

/* Whatever was accepted can be walked through and encodes to the very bytes again. */
static void walk(struct wire_frame *frame, const uint8_t *data, size_t size)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    size_t head_size = wire_encode_head(frame, head);
    assert_true(head_size <= size);
    assert_memory_equal(head, data, head_size);
    if (frame->kind == WIRE_APPEND) {
        uint64_t sum = 0;
        while (frame->append.count > 0) {
            struct wire_entry entry = wire_append_next(&frame->append);
            for (uint32_t i = 0; i < entry.size; i++) {
                sum += entry.data[i];
            }
        }
        assert_true(sum <= 255 * (uint64_t)size);
    }
}

static void any_bytes_give_a_frame_or_a_refusal(void **state)
{
    (void)state;
    unsigned accepted = 0;
    for (unsigned i = 0; i < 200000; i++) {
        struct bytes bytes = any_frame();
        struct wire_frame frame;
        uint8_t *copy;
        mutate(&bytes);
        if (decode_exact(bytes.data, bytes.size, &frame, &copy) == NULL) {
            walk(&frame, copy, bytes.size);
            accepted++;
        }
        free(copy);
        free(bytes.data);
    }
    assert_true(accepted > 1000); /* The mutations are gentle enough to reach the later checks. */
}

int main(void)
{
    const char *seed = getenv("LOCKSTEP_SEED");
    random_state = seed == NULL ? 88172645463325252ULL : strtoull(seed, NULL, 0) | 1;
    printf("seed %" PRIu64 "\n", random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_decodes_to_its_entries),
        cmocka_unit_test(an_append_that_raft_would_only_assert_is_refused),
        cmocka_unit_test(each_small_frame_decodes_to_itself),
        cmocka_unit_test(a_frame_cut_short_or_with_a_byte_more_is_refused),
        cmocka_unit_test(a_snapshot_begins_with_its_configuration),
        cmocka_unit_test(a_configuration_is_checked_before_raft_decodes_it),
        cmocka_unit_test(any_bytes_give_a_frame_or_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
