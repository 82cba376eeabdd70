/* A restore from bytes whose every checksum is right and whose contents are not: records are changed, and the blocks
 * around them made anew. There must be a named error or a state whose invariants hold, never a crash (restore.c, V1). */
#include "fixture.h"

#include <lz4.h>
#include <stdlib.h>
#include <xxhash.h>

#include "raft_fsm/snapshot.h"

static uint64_t seed = 1;

enum { CROWD = 20 }; /* holders of one lock that are found by trees (crowd.c) */

static void fill(struct fixture *f, struct random *random)
{
    static const char *const keys[] = {"a", "b", "c", "d"};
    struct client clients[3];
    for (unsigned i = 0; i < 3; i++) {
        clients[i] = open_client(f, (char)('a' + i), 400 + 200 * i, 300);
    }
    for (unsigned i = 0; i < 20; i++) {
        struct client *client = &clients[random_below(random, 3)];
        const char *key = keys[random_below(random, 4)];
        enum proto_mode mode = (enum proto_mode)random_below(random, 2);
        struct fsm_command command = acquire_command(client, key, mode, random_below(random, 2) * 5000);
        if (random_below(random, 3) == 0) {
            command = permits_command(client, key, 1 + (uint32_t)random_below(random, 2), 3, 4000);
        }
        command.body.lock_acquire.ttl_ms = random_below(random, 2) * 150;
        entry_begin(f);
        entry_add(f, &command);
        entry_apply(f);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        (void)acquire(f, &clients[random_below(random, 3)], "crowd", PROTO_MODE_SHARED);
    }
    at(f, random_below(random, 700));
}

/* The records of a stream that is one block. */
static size_t unpack(const struct proto_buffer *stream, uint8_t *raw, size_t raw_max)
{
    const uint8_t *block = stream->data + SNAPSHOT_PREAMBLE_BYTES;
    uint32_t raw_bytes = snapshot_get_u32(block);
    uint32_t packed_bytes = snapshot_get_u32(block + 4);
    assert_int_equal(stream->size, SNAPSHOT_PREAMBLE_BYTES + SNAPSHOT_BLOCK_HEAD_BYTES + packed_bytes);
    assert_true(raw_bytes <= raw_max);
    const char *packed = (const char *)block + SNAPSHOT_BLOCK_HEAD_BYTES;
    assert_int_equal(LZ4_decompress_safe(packed, (char *)raw, (int)packed_bytes, (int)raw_max), raw_bytes);
    return raw_bytes;
}

static void pack(const uint8_t *raw, size_t raw_bytes, struct proto_buffer *out)
{
    uint8_t head[SNAPSHOT_PREAMBLE_BYTES] = SNAPSHOT_MAGIC;
    snapshot_put_u32(head + SNAPSHOT_MAGIC_BYTES, SNAPSHOT_VERSION);
    proto_buffer_clear(out);
    assert_true(proto_buffer_append(out, head, sizeof head));
    int bound = LZ4_compressBound((int)raw_bytes);
    uint8_t *block = proto_buffer_reserve(out, SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)bound);
    char *packed = (char *)block + SNAPSHOT_BLOCK_HEAD_BYTES;
    int packed_bytes = LZ4_compress_default((const char *)raw, packed, (int)raw_bytes, bound);
    snapshot_put_u32(block, (uint32_t)raw_bytes);
    snapshot_put_u32(block + 4, (uint32_t)packed_bytes);
    snapshot_put_u64(block + 8, XXH3_64bits_withSeed(packed, (size_t)packed_bytes, raw_bytes));
    out->size += SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)packed_bytes;
}

/* Put the right digest into the end record (its last nine bytes are a uint 64), so that only the contents are wrong. */
static void sign(uint8_t *raw, size_t raw_bytes)
{
    uint64_t digest = 0;
    size_t at = 0;
    while (raw_bytes - at >= 4) {
        size_t size = snapshot_get_u32(raw + at);
        if (size > raw_bytes - at - 4 || at + 4 + size == raw_bytes) {
            break;
        }
        digest += XXH3_64bits(raw + at + 4, size);
        at += 4 + size;
    }
    for (unsigned i = 0; i < 8; i++) {
        raw[raw_bytes - 1 - i] = (uint8_t)(digest >> 8 * i);
    }
}

static void change(struct random *random, uint8_t *raw, size_t raw_bytes)
{
    for (uint64_t i = 1 + random_below(random, 3); i > 0; i--) {
        size_t at = random_below(random, raw_bytes - 9);
        static const uint8_t values[] = {0, 1, 2, 3, 0x7f, 0x80, 0xc0, 0xff};
        raw[at] =
            random_below(random, 2) == 0 ? (uint8_t)random_next(random) : values[random_below(random, 8)];
    }
}

static void contents_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static uint8_t raw[SNAPSHOT_BLOCK_BYTES];
    static uint8_t changed[SNAPSHOT_BLOCK_BYTES];
    struct random random = {.state = seed};
    struct proto_buffer stream;
    unsigned accepted = 0;
    unsigned refused = 0;
    proto_buffer_init(&stream, SIZE_MAX);
    for (unsigned round = 0; round < 20; round++) {
        struct fixture *f = fixture_create();
        fill(f, &random);
        proto_buffer_clear(&stream);
        snapshot_of(f->fsm, SIZE_MAX / 2, &stream);
        size_t raw_bytes = unpack(&stream, raw, sizeof raw);
        for (unsigned i = 0; i < 500; i++) {
            struct proto_error error = {0};
            memcpy(changed, raw, raw_bytes);
            if (i > 0) {
                change(&random, changed, raw_bytes);
                sign(changed, raw_bytes);
            }
            pack(changed, raw_bytes, &stream);
            struct fsm *restored = restore_of(stream.data, stream.size, SIZE_MAX, &error);
            assert_true(restored != NULL || strlen(error.detail) > 0);
            assert_true(i > 0 || restored != NULL);
            if (restored != NULL) {
                accepted++;
                fsm_check_invariants(restored);
                fsm_free(f->fsm);
                f->fsm = restored;
                f->unchecked = true;
                fsm_free(f->follower);
                f->follower = NULL;
                at(f, 1000 + i); /* it can be gone on with */
                fsm_check_invariants(f->fsm);
            }
            refused += restored == NULL;
        }
        fixture_free(f);
    }
    proto_buffer_done(&stream);
    /* Names and numbers may be changed into others that are possible; most changes are not. */
    assert_true(accepted > 20);
    assert_true(refused > accepted);
}

/* What was built by then is given back: links and seats in the middle of their making, a check that has begun. */
static void a_restore_may_be_given_up_after_any_step(void **state)
{
    (void)state;
    struct random random = {.state = seed};
    struct fixture *f = fixture_create();
    struct proto_buffer stream;
    unsigned steps = 0;
    proto_buffer_init(&stream, SIZE_MAX);
    fill(f, &random);
    snapshot_of(f->fsm, SIZE_MAX / 2, &stream);
    for (bool more = true; more; steps++) {
        struct fsm_restore *restore = fsm_restore_begin();
        fsm_restore_add(restore, stream.data, stream.size);
        for (unsigned i = 0; i < steps && more; i++) {
            more = fsm_restore_step(restore, true, 1);
        }
        fsm_restore_abandon(restore);
    }
    assert_true(steps > CROWD); /* each grant is linked in a step of its own */
    proto_buffer_done(&stream);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 11);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_that_cannot_be_are_refused),
        cmocka_unit_test(a_restore_may_be_given_up_after_any_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
