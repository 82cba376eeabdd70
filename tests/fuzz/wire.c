/* Fuzz target: frames between replicas, and the configurations that go with them.
 *
 *   W1  Any bytes give a frame or a refusal, a constant text; nothing outside them is read, also not by taking entries.
 *   W2  What was decoded gives the same bytes when it is encoded.
 *   W3  A configuration that is valid is one that libraft decodes, and encodes to the same bytes, but for zeros at the
 *       end: it does not look at bounds itself. */
#include <stdlib.h>
#include <string.h>

#include "node/replica/wire.h"
#include "protocol/assert.h"
#include "protocol/buffer.h"
#include "tests/fuzz/input.h"

enum form { FRAME, CONFIGURATION, APPEND_OF_CONFIGURATION, FORMS };
enum { FRAME_BYTES_MAX = 2 * 1024 * 1024 };

static void append(struct proto_buffer *buffer, const void *data, size_t size)
{
    bool appended = proto_buffer_append(buffer, data, size);
    LOCKSTEP_ASSERT(appended);
}

/* The entries of an append: heads first, then their bytes. */
static void append_entries(struct proto_buffer *out, const struct wire_frame *frame)
{
    struct wire_append heads = frame->append;
    struct wire_append contents = frame->append;
    for (uint32_t i = 0; i < frame->append.count; i++) {
        uint8_t head[WIRE_ENTRY_HEAD_BYTES];
        struct wire_entry entry = wire_append_next(&heads);
        struct log_entry logged = {.term = entry.term, .type = (uint8_t)entry.type, .size = entry.size};
        LOCKSTEP_ASSERT(entry.term > 0);
        LOCKSTEP_ASSERT(entry.type != LOG_CHANGE || wire_configuration_valid(entry.data, entry.size));
        wire_encode_entry_head(&logged, head);
        append(out, head, sizeof head);
    }
    for (uint32_t i = 0; i < frame->append.count; i++) {
        struct wire_entry entry = wire_append_next(&contents);
        append(out, entry.data, entry.size);
    }
}

/* W3 */
static void check_configuration(const uint8_t *data, size_t size)
{
    struct raft_configuration configuration;
    struct raft_buffer in = {.base = (void *)(uintptr_t)data, .len = size};
    struct raft_buffer out;
    if (!wire_configuration_valid(data, size)) {
        return;
    }
    int rv = raft_configuration_decode(&in, &configuration);
    LOCKSTEP_ASSERT(rv == 0);
    LOCKSTEP_ASSERT(configuration.n >= 1 && configuration.n <= WIRE_SERVERS_MAX);
    rv = raft_configuration_encode(&configuration, &out);
    LOCKSTEP_ASSERT(rv == 0);
    LOCKSTEP_ASSERT(out.len <= WIRE_CONFIGURATION_BYTES_MAX);
    size_t common = out.len < size ? out.len : size; /* the number of zeros at the end is free */
    LOCKSTEP_ASSERT(memcmp(out.base, data, common) == 0);
    LOCKSTEP_ASSERT(out.len < size + 8 && size < out.len + 8);
    raft_free(out.base);
    raft_configuration_close(&configuration);
}

/* W1, W2 */
static void check_frame(const uint8_t *data, size_t size)
{
    struct wire_frame frame;
    struct proto_buffer again;
    const char *why = wire_decode(data, size, &frame);
    if (why != NULL) {
        LOCKSTEP_ASSERT(strlen(why) > 0);
        return;
    }
    proto_buffer_init(&again, FRAME_BYTES_MAX);
    uint8_t *head = proto_buffer_reserve(&again, WIRE_HEAD_BYTES_MAX);
    LOCKSTEP_ASSERT(head != NULL);
    again.size = wire_encode_head(&frame, head);
    LOCKSTEP_ASSERT(again.size <= WIRE_HEAD_BYTES_MAX);
    if (frame.kind == WIRE_APPEND) {
        append_entries(&again, &frame);
    } else if (frame.kind == WIRE_SNAPSHOT_BEGIN) {
        check_configuration(frame.snapshot_begin.configuration, frame.snapshot_begin.configuration_size);
        append(&again, frame.snapshot_begin.configuration, frame.snapshot_begin.configuration_size);
    } else if (frame.kind == WIRE_SNAPSHOT_CHUNK) {
        append(&again, frame.snapshot_chunk.data, frame.snapshot_chunk.size);
    }
    LOCKSTEP_ASSERT(again.size == size && memcmp(again.data, data, size) == 0);
    proto_buffer_done(&again);
}

/* An append of one entry whose lengths are right, so that only what is inside is wrong. */
static void check_append(struct input *input)
{
    struct proto_buffer bytes;
    struct wire_frame frame = {.kind = WIRE_APPEND};
    uint8_t entry_head[WIRE_ENTRY_HEAD_BYTES];
    struct log_entry logged = {.term = 1 + input_below(input, 4),
                               .type = (uint8_t)(1 + input_below(input, 4))};
    frame.append = (struct wire_append){
        .version = WIRE_VERSION,
        .term = 1 + input_below(input, 4),
        .prev_index = input_below(input, 4),
        .prev_term = input_below(input, 4),
        .count = 1,
    };
    struct proto_bytes contents = input_rest(input);
    logged.size = contents.size;
    proto_buffer_init(&bytes, FRAME_BYTES_MAX);
    uint8_t *head = proto_buffer_reserve(&bytes, WIRE_HEAD_BYTES_MAX);
    LOCKSTEP_ASSERT(head != NULL);
    bytes.size = wire_encode_head(&frame, head);
    wire_encode_entry_head(&logged, entry_head);
    append(&bytes, entry_head, sizeof entry_head);
    append(&bytes, contents.data, contents.size);
    check_frame(bytes.data, bytes.size);
    proto_buffer_done(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    switch ((enum form)input_below(&input, FORMS)) {
    case CONFIGURATION: {
        struct proto_bytes bytes = input_rest(&input);
        check_configuration(bytes.data, bytes.size);
        break;
    }
    case APPEND_OF_CONFIGURATION:
        check_append(&input);
        break;
    default: {
        struct proto_bytes bytes = input_rest(&input);
        check_frame(bytes.data, bytes.size);
        break;
    }
    }
    return 0;
}
