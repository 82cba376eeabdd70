/* Fuzz target: a snapshot's stream. Either the bytes are the stream as they are, or they are records one after the other, and
 * what stands around records is made right: lengths, blocks, checksums, and the end with its counts and its digest.
 *
 *   V1  There is a state or a named error, for any bytes and any cutting into pieces.
 *   V2  A state that was restored has every invariant, and a snapshot of it restores to the same digest.
 *   V3  It can be gone on with: time passes, everything expires, the invariants hold.
 *   V4  Pieces of another size give the same result. */
#include <lz4.h>
#include <string.h>
#include <xxhash.h>

#include "protocol/assert.h"
#include "protocol/cursor.h"
#include "raft_fsm/fsm.h"
#include "raft_fsm/snapshot.h"
#include "tests/fuzz/input.h"

enum {
    RAW_STREAM = 0x1,   /* the input is the stream */
    OWN_END = 0x2,      /* the end record is the input's, if it has one */
    SMALL_BLOCKS = 0x4, /* records span blocks */
    CUT = 0x8,          /* the last byte is missing */
    TRAILING = 0x10,    /* a byte follows */
    LONGER = 0x20,      /* blocks say that they expand to a byte more */
    SMALL_BLOCK_BYTES = 61,
    OUT_BYTES_MAX = 64 * 1024 * 1024,
};

static void append(struct proto_buffer *buffer, const void *data, size_t size)
{
    bool appended = proto_buffer_append(buffer, data, size);
    LOCKSTEP_ASSERT(appended);
}

/* ---- records to a stream ---- */

static void append_record(struct proto_buffer *raw, const uint8_t *image, size_t size)
{
    uint8_t head[SNAPSHOT_RECORD_HEAD_BYTES];
    snapshot_put_u32(head, (uint32_t)size);
    append(raw, head, sizeof head);
    append(raw, image, size);
}

/* The end record in its canonical encoding: [3, sessions, locks, digest], counts below 128. */
static void append_end(struct proto_buffer *raw, uint8_t sessions, uint8_t locks, uint64_t digest)
{
    uint8_t end[13] = {0x94, SNAPSHOT_KIND_END, sessions, locks, 0xcf};
    for (unsigned i = 0; i < 8; i++) {
        end[5 + i] = (uint8_t)(digest >> 8 * (7 - i));
    }
    append_record(raw, end, sizeof end);
}

/* Each msgpack element of the input becomes a record. */
static void records_of(struct proto_bytes bytes, bool own_end, struct proto_buffer *raw)
{
    struct cursor cursor = cursor_of(bytes);
    uint64_t digest = 0;
    uint8_t sessions = 0;
    uint8_t locks = 0;
    bool ended = false;
    while (cursor.at < cursor.end) {
        const uint8_t *begin = cursor.at;
        cursor_skip(&cursor);
        const uint8_t *end = cursor.expected == NULL ? cursor.at : cursor.end;
        size_t size = (size_t)(end - begin);
        uint8_t kind = size > 1 ? begin[1] : UINT8_MAX;
        if (kind != SNAPSHOT_KIND_END || own_end) {
            append_record(raw, begin, size);
            digest += XXH3_64bits(begin, size);
            sessions = (uint8_t)((sessions + (kind == 1)) & 0x7f);
            locks = (uint8_t)((locks + (kind == 2)) & 0x7f);
        }
        ended = ended || kind == SNAPSHOT_KIND_END;
        if (cursor.expected != NULL) {
            break;
        }
    }
    if (!own_end || !ended) {
        append_end(raw, sessions, locks, digest);
    }
}

static void blocks_of(const struct proto_buffer *raw, size_t block_bytes, uint32_t longer,
                      struct proto_buffer *stream)
{
    uint8_t preamble[SNAPSHOT_PREAMBLE_BYTES] = SNAPSHOT_MAGIC;
    snapshot_put_u32(preamble + SNAPSHOT_MAGIC_BYTES, SNAPSHOT_VERSION);
    append(stream, preamble, sizeof preamble);
    for (size_t from = 0; from < raw->size;) {
        size_t size = raw->size - from < block_bytes ? raw->size - from : block_bytes;
        int bound = LZ4_compressBound((int)size);
        uint8_t *at = proto_buffer_reserve(stream, SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)bound);
        LOCKSTEP_ASSERT(at != NULL);
        char *packed = (char *)at + SNAPSHOT_BLOCK_HEAD_BYTES;
        int packed_bytes = LZ4_compress_default((const char *)raw->data + from, packed, (int)size, bound);
        LOCKSTEP_ASSERT(packed_bytes > 0);
        snapshot_put_u32(at, (uint32_t)size + longer);
        snapshot_put_u32(at + 4, (uint32_t)packed_bytes);
        snapshot_put_u64(at + 8, XXH3_64bits_withSeed(packed, (size_t)packed_bytes, size + longer));
        stream->size += SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)packed_bytes;
        from += size;
    }
}

static void stream_of(uint8_t flags, struct proto_bytes bytes, struct proto_buffer *stream)
{
    if ((flags & RAW_STREAM) != 0) {
        append(stream, bytes.data, bytes.size);
        return;
    }
    struct proto_buffer raw;
    proto_buffer_init(&raw, OUT_BYTES_MAX);
    records_of(bytes, (flags & OWN_END) != 0, &raw);
    size_t block_bytes = (flags & SMALL_BLOCKS) != 0 ? SMALL_BLOCK_BYTES : SNAPSHOT_BLOCK_BYTES;
    blocks_of(&raw, block_bytes, (flags & LONGER) != 0 ? 1 : 0, stream);
    proto_buffer_done(&raw);
    stream->size -= (flags & CUT) != 0;
    if ((flags & TRAILING) != 0) {
        append(stream, "x", 1);
    }
}

/* ---- what must hold ---- */

/* V1 */
static struct fsm *restore_of(const struct proto_buffer *stream, size_t piece_bytes)
{
    struct proto_error error = {0};
    struct fsm_restore *restore = fsm_restore_begin();
    bool fed = true;
    for (size_t from = 0; from < stream->size && fed; from += piece_bytes) {
        size_t left = stream->size - from;
        fed = fsm_restore_feed(restore, stream->data + from, left < piece_bytes ? left : piece_bytes, &error);
    }
    struct fsm *fsm = NULL;
    if (fed) {
        fsm = fsm_restore_finish(restore, &error);
    } else {
        fsm_restore_abandon(restore);
    }
    size_t length = strnlen(error.detail, sizeof error.detail);
    LOCKSTEP_ASSERT(length < sizeof error.detail);
    LOCKSTEP_ASSERT((fsm == NULL) == (length > 0));
    return fsm;
}

/* V2 */
static void check_again(struct fsm *fsm)
{
    struct proto_buffer stream;
    proto_buffer_init(&stream, OUT_BYTES_MAX);
    uint64_t digest = fsm_digest(fsm);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(fsm);
    while (fsm_snapshot_next(snapshot, &stream, SMALL_BLOCK_BYTES)) {
    }
    fsm_snapshot_end(snapshot);
    LOCKSTEP_ASSERT(fsm_digest(fsm) == digest);
    struct fsm *again = restore_of(&stream, SIZE_MAX / 2);
    LOCKSTEP_ASSERT(again != NULL);
    fsm_check_invariants(again);
    LOCKSTEP_ASSERT(fsm_digest(again) == digest);
    fsm_free(again);
    proto_buffer_done(&stream);
}

/* V3 */
static void check_goes_on(struct fsm *fsm)
{
    static const uint64_t steps_ms[] = {0, 1, 1000, PROTO_TTL_MS_MAX, PROTO_TTL_MS_MAX};
    struct fsm_effects effects;
    struct proto_buffer entry;
    fsm_effects_init(&effects);
    proto_buffer_init(&entry, FSM_ENTRY_BYTES_MAX);
    for (size_t i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
        uint64_t time_ms = fsm_time(fsm).ms + steps_ms[i];
        struct fsm_entry_writer writer;
        struct proto_error error = {0};
        if (time_ms > UINT64_MAX >> 2) {
            break; /* no entry has such a time (raft_fsm/state.h) */
        }
        proto_buffer_clear(&entry);
        fsm_entry_begin(&writer, &entry, (struct cluster_time){time_ms});
        fsm_entry_end(&writer);
        enum fsm_result result = fsm_apply(fsm, entry.data, entry.size, &effects, &error);
        LOCKSTEP_ASSERT(result == FSM_APPLIED);
        fsm_check_invariants(fsm);
    }
    fsm_effects_done(&effects);
    proto_buffer_done(&entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    struct proto_buffer stream;
    proto_buffer_init(&stream, OUT_BYTES_MAX);
    uint8_t flags = input_byte(&input);
    size_t piece_bytes = 1 + (size_t)input_byte(&input) * 16;
    stream_of(flags, input_rest(&input), &stream);
    struct fsm *fsm = restore_of(&stream, piece_bytes);
    struct fsm *whole = restore_of(&stream, stream.size + 1);
    LOCKSTEP_ASSERT((fsm == NULL) == (whole == NULL)); /* V4 */
    if (fsm != NULL) {
        fsm_check_invariants(fsm);
        LOCKSTEP_ASSERT(fsm_digest(fsm) == fsm_digest(whole));
        check_again(fsm);
        check_goes_on(fsm);
    }
    fsm_free(fsm);
    fsm_free(whole);
    proto_buffer_done(&stream);
    return 0;
}
