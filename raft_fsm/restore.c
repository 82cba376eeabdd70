/* Owns the reading of a snapshot's stream (snapshot.h): pieces of any size to blocks, blocks to records, records to
 * objects (restore_object.c). The bytes are not trusted: whatever they are, there is a state whose every invariant
 * holds and whose digest is the one that was written, or a named error.
 *
 *   V1  Nothing is allocated on a declared length's word: bytes are gathered as they come.
 *   V2  The first record is the globals; nothing follows the end record.
 *   V3  The digest is computed anew from the objects built, so that what was read is what would be written.
 *
 *   preamble -> blocks -> ended      any -> failed, for good (fail)
 *   inside the blocks: globals -> objects -> end record */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "raft_fsm/reader.h"
#include "raft_fsm/snapshot.h"
#include "raft_fsm/state.h"

enum { FEED_BYTES = 64 * 1024 }; /* taken at once from a large piece */

struct fsm_restore {
    struct fsm *fsm;
    struct restore_links *links;
    struct proto_buffer in;  /* of the stream, not yet a whole block */
    struct proto_buffer raw; /* unpacked, not yet a whole record */
    const char *broken;      /* what is wrong; NULL: nothing so far */
    bool has_preamble;
    bool has_globals;
    bool has_end;
    uint64_t sessions_count; /* as the end record says */
    uint64_t locks_count;
    uint64_t digest;
};

struct fsm_restore *fsm_restore_begin(void)
{
    struct fsm_restore *restore = calloc(1, sizeof *restore);
    LOCKSTEP_ASSERT(restore != NULL);
    restore->fsm = fsm_create();
    restore->links = fsm_restore_links_create();
    proto_buffer_init(&restore->in, SIZE_MAX);
    proto_buffer_init(&restore->raw, SIZE_MAX);
    return restore;
}

static void append(struct proto_buffer *buffer, const void *data, size_t size)
{
    bool appended = proto_buffer_append(buffer, data, size);
    LOCKSTEP_ASSERT(appended);
}

/* ---- records ---- */

static const char *read_end(struct fsm_restore *restore, const uint8_t *image, size_t size)
{
    struct reader in;
    fsm_reader_init(&in, image, size);
    fsm_reader_array_of(&in, 4);
    (void)fsm_reader_uint(&in); /* the kind, known already */
    restore->sessions_count = fsm_reader_uint(&in);
    restore->locks_count = fsm_reader_uint(&in);
    restore->digest = fsm_reader_uint(&in);
    restore->has_end = true;
    return fsm_reader_at_end(&in) ? NULL : "snapshot: its end record can not be read";
}

static const char *read_record(struct fsm_restore *restore, const uint8_t *image, size_t size)
{
    struct reader in;
    fsm_reader_init(&in, image, size);
    (void)fsm_reader_array(&in); /* each kind checks its own */
    uint64_t kind = fsm_reader_uint(&in);
    if (in.failed) {
        return "snapshot: a record can not be read";
    }
    if (restore->has_end) {
        return "snapshot: a record follows the end";
    }
    if (restore->has_globals != (kind != SNAPSHOT_KIND_GLOBALS)) {
        return "snapshot: its globals are not the first record and only there";
    }
    switch (kind) {
    case SNAPSHOT_KIND_GLOBALS:
        restore->has_globals = true;
        return fsm_restore_globals(restore->fsm, image, size);
    case FSM_OBJECT_SESSION:
        return fsm_restore_session(restore->fsm, restore->links, image, size);
    case FSM_OBJECT_LOCK:
        return fsm_restore_lock(restore->fsm, restore->links, image, size);
    case SNAPSHOT_KIND_END:
        return read_end(restore, image, size);
    default:
        return "snapshot: a record of a kind that this version does not know";
    }
}

static const char *read_records(struct fsm_restore *restore)
{
    const char *broken = NULL;
    size_t from = 0;
    while (broken == NULL && restore->raw.size - from >= SNAPSHOT_RECORD_HEAD_BYTES) {
        const uint8_t *at = restore->raw.data + from;
        size_t size = snapshot_get_u32(at);
        if (size > SNAPSHOT_RECORD_BYTES_MAX) {
            return "snapshot: a record is larger than any may be";
        }
        if (restore->raw.size - from - SNAPSHOT_RECORD_HEAD_BYTES < size) {
            break;
        }
        broken = read_record(restore, at + SNAPSHOT_RECORD_HEAD_BYTES, size);
        from += SNAPSHOT_RECORD_HEAD_BYTES + size;
    }
    proto_buffer_consume(&restore->raw, from);
    return broken;
}

/* ---- blocks ---- */

static const char *unpack(struct fsm_restore *restore, const uint8_t *packed, uint32_t packed_bytes,
                          uint32_t raw_bytes)
{
    uint8_t *at = proto_buffer_reserve(&restore->raw, raw_bytes);
    LOCKSTEP_ASSERT(at != NULL);
    int size = LZ4_decompress_safe((const char *)packed, (char *)at, (int)packed_bytes, (int)raw_bytes);
    if (size != (int)raw_bytes) {
        return "snapshot: a block can not be unpacked";
    }
    restore->raw.size += raw_bytes;
    return read_records(restore);
}

/* @return how many bytes the block at `at` took; 0: it is not whole yet, or broken. */
static size_t read_block(struct fsm_restore *restore, const uint8_t *at, size_t size)
{
    if (size < SNAPSHOT_BLOCK_HEAD_BYTES) {
        return 0;
    }
    uint32_t raw_bytes = snapshot_get_u32(at);
    uint32_t packed_bytes = snapshot_get_u32(at + 4);
    if (raw_bytes == 0 || raw_bytes > SNAPSHOT_BLOCK_BYTES || packed_bytes == 0 ||
        packed_bytes > (uint32_t)LZ4_COMPRESSBOUND(SNAPSHOT_BLOCK_BYTES)) {
        restore->broken = "snapshot: a block's length is out of bounds";
        return 0;
    }
    if (size - SNAPSHOT_BLOCK_HEAD_BYTES < packed_bytes) {
        return 0;
    }
    const uint8_t *packed = at + SNAPSHOT_BLOCK_HEAD_BYTES;
    if (XXH3_64bits_withSeed(packed, packed_bytes, raw_bytes) != snapshot_get_u64(at + 8)) {
        restore->broken = "snapshot: a block is not what was written";
        return 0;
    }
    restore->broken = unpack(restore, packed, packed_bytes, raw_bytes);
    return restore->broken == NULL ? SNAPSHOT_BLOCK_HEAD_BYTES + packed_bytes : 0;
}

/* @return as read_block(). */
static size_t read_preamble(struct fsm_restore *restore, const uint8_t *at, size_t size)
{
    if (size < SNAPSHOT_PREAMBLE_BYTES) {
        return 0;
    }
    if (memcmp(at, SNAPSHOT_MAGIC, SNAPSHOT_MAGIC_BYTES) != 0) {
        restore->broken = "snapshot: these bytes are no snapshot of the state machine";
        return 0;
    }
    if (snapshot_get_u32(at + SNAPSHOT_MAGIC_BYTES) != SNAPSHOT_VERSION) {
        restore->broken = "snapshot: of a version that this node does not know";
        return 0;
    }
    restore->has_preamble = true;
    return SNAPSHOT_PREAMBLE_BYTES;
}

static void read_stream(struct fsm_restore *restore)
{
    size_t from = 0;
    for (;;) {
        const uint8_t *at = restore->in.data + from;
        size_t size = restore->in.size - from;
        size_t taken =
            restore->has_preamble ? read_block(restore, at, size) : read_preamble(restore, at, size);
        if (taken == 0) {
            break;
        }
        from += taken;
    }
    proto_buffer_consume(&restore->in, from);
}

/* ---- the caller's side ---- */

static bool tell(const char *broken, struct proto_error *ret_error)
{
    if (broken == NULL) {
        return true;
    }
    ret_error->status = PROTO_STATUS_MALFORMED;
    size_t size = strlen(broken);
    LOCKSTEP_ASSERT(size < sizeof ret_error->detail);
    memcpy(ret_error->detail, broken, size + 1);
    return false;
}

bool fsm_restore_feed(struct fsm_restore *restore, const void *data, size_t size,
                      struct proto_error *ret_error)
{
    const uint8_t *at = data;
    while (size > 0 && restore->broken == NULL) {
        size_t piece = size < FEED_BYTES ? size : FEED_BYTES;
        append(&restore->in, at, piece);
        read_stream(restore);
        at += piece;
        size -= piece;
    }
    return tell(restore->broken, ret_error);
}

static const char *check_complete(struct fsm_restore *restore)
{
    if (restore->broken != NULL) {
        return restore->broken;
    }
    if (!restore->has_end || restore->in.size > 0 || restore->raw.size > 0) {
        return "snapshot: it is cut off, or bytes follow its end";
    }
    const char *broken = fsm_restore_link(restore->fsm, restore->links);
    if (broken != NULL) {
        return broken;
    }
    if (restore->fsm->sessions.count != restore->sessions_count ||
        restore->fsm->locks.count != restore->locks_count) {
        return "snapshot: the number of objects is not what its end says";
    }
    /* The invariants first: every object still counts as changed, so no image is made twice. */
    broken = fsm_invariant_broken(restore->fsm);
    if (broken != NULL) {
        return broken;
    }
    return fsm_digest(restore->fsm) == restore->digest ? NULL
                                                       : "snapshot: the digest is not what its end says";
}

struct fsm *fsm_restore_finish(struct fsm_restore *restore, struct proto_error *ret_error)
{
    struct fsm *fsm = NULL;
    if (tell(check_complete(restore), ret_error)) {
        fsm = restore->fsm;
        restore->fsm = NULL;
    }
    fsm_restore_abandon(restore);
    return fsm;
}

void fsm_restore_abandon(struct fsm_restore *restore)
{
    if (restore == NULL) {
        return;
    }
    fsm_free(restore->fsm);
    fsm_restore_links_free(restore->links);
    proto_buffer_done(&restore->in);
    proto_buffer_done(&restore->raw);
    free(restore);
}
