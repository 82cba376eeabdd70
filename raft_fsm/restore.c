/* Owns the reading of a snapshot's stream (snapshot.h): pieces of any size to blocks, blocks to records, records to
 * objects (restore_object.c). The bytes are not trusted: whatever they are, there is a state whose every invariant
 * holds and whose digest is the one that was written, or a named error.
 *
 *   V1  Nothing is allocated on a declared length's word: bytes are gathered as they come.
 *   V2  The first record is the globals; nothing follows the end record.
 *   V3  The digest is computed anew from the objects built, so that what was read is what would be written.
 *   V4  A step does no more than it is asked to, give or take one object or one block: whoever serves beside the restore
 *       decides how long it waits.
 *
 *   reading --at_end--> linking (restore_link.c) -> checking (invariants.c) -> done;   any -> broken, for good
 *   inside the blocks: globals -> objects -> end record */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "raft_fsm/reader.h"
#include "raft_fsm/snapshot.h"
#include "raft_fsm/state.h"

enum {
    FEED_BYTES = 64 * 1024, /* taken at once from a large piece */
    WORK_BYTES = 256,       /* of an image that are a unit of work */
    WORK_PER_BLOCK = 64,    /* to unpack one */
};

enum restore_phase { RESTORE_READING, RESTORE_LINKING, RESTORE_CHECKING, RESTORE_DONE };

struct fsm_restore {
    struct fsm *fsm;
    struct restore_links *links;
    struct fsm_check *check;
    struct proto_buffer in;  /* of the stream, not yet a whole block */
    size_t in_taken;         /* of it, already unpacked */
    struct proto_buffer raw; /* unpacked, not yet a whole record */
    size_t raw_taken;        /* of it, already read */
    enum restore_phase phase;
    const char *broken; /* what is wrong; NULL: nothing so far */
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
    restore->fsm->restoring = true;
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

/* The next record, if it is whole. @return false if it is not, or is broken. */
static bool read_next_record(struct fsm_restore *restore, uint64_t *work)
{
    size_t left = restore->raw.size - restore->raw_taken;
    if (left < SNAPSHOT_RECORD_HEAD_BYTES) {
        return false; /* before the first block there is no buffer yet */
    }
    const uint8_t *at = restore->raw.data + restore->raw_taken;
    size_t size = snapshot_get_u32(at);
    if (size > SNAPSHOT_RECORD_BYTES_MAX) {
        restore->broken = "snapshot: a record is larger than any may be";
        return false;
    }
    if (left - SNAPSHOT_RECORD_HEAD_BYTES < size) {
        return false;
    }
    restore->broken = read_record(restore, at + SNAPSHOT_RECORD_HEAD_BYTES, size);
    restore->raw_taken += SNAPSHOT_RECORD_HEAD_BYTES + size;
    uint64_t done = 1 + size / WORK_BYTES;
    *work -= done < *work ? done : *work;
    return restore->broken == NULL;
}

/* ---- blocks ---- */

/* Blocks are unpacked when no whole record is left of those before. */
static const char *unpack(struct fsm_restore *restore, const uint8_t *packed, uint32_t packed_bytes,
                          uint32_t raw_bytes)
{
    proto_buffer_consume(&restore->raw, restore->raw_taken);
    restore->raw_taken = 0;
    uint8_t *at = proto_buffer_reserve(&restore->raw, raw_bytes);
    LOCKSTEP_ASSERT(at != NULL);
    int size = LZ4_decompress_safe((const char *)packed, (char *)at, (int)packed_bytes, (int)raw_bytes);
    if (size != (int)raw_bytes) {
        return "snapshot: a block can not be unpacked";
    }
    restore->raw.size += raw_bytes;
    return NULL;
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

/* The next preamble or block, if it is whole. @return false if it is not, or is broken. */
static bool read_next_block(struct fsm_restore *restore, uint64_t *work)
{
    size_t size = restore->in.size - restore->in_taken;
    if (size == 0) {
        return false; /* before the first bytes there is no buffer yet */
    }
    const uint8_t *at = restore->in.data + restore->in_taken;
    size_t taken = restore->has_preamble ? read_block(restore, at, size) : read_preamble(restore, at, size);
    restore->in_taken += taken;
    if (taken == 0) {
        return false; /* No work: whoever has none left believes that there is more to do. */
    }
    *work -= *work < WORK_PER_BLOCK ? *work : WORK_PER_BLOCK;
    return true;
}

/* ---- the phases ---- */

static const char *check_ended(const struct fsm_restore *restore)
{
    bool left = restore->in.size > restore->in_taken || restore->raw.size > restore->raw_taken;
    return !restore->has_end || left ? "snapshot: it is cut off, or bytes follow its end" : NULL;
}

static void read_some(struct fsm_restore *restore, bool at_end, uint64_t *work)
{
    while (*work > 0 &&
           (read_next_record(restore, work) || (restore->broken == NULL && read_next_block(restore, work)))) {
    }
    if (*work > 0 && restore->broken == NULL && at_end) {
        restore->broken = check_ended(restore);
        restore->phase = RESTORE_LINKING;
    }
}

static void link_some(struct fsm_restore *restore, uint64_t *work)
{
    struct fsm *fsm = restore->fsm;
    if (fsm_restore_link(fsm, restore->links, work, &restore->broken) || restore->broken != NULL) {
        return;
    }
    if (fsm->sessions.count != restore->sessions_count || fsm->locks.count != restore->locks_count) {
        restore->broken = "snapshot: the number of objects is not what its end says";
        return;
    }
    restore->check = fsm_check_begin(fsm);
    restore->phase = RESTORE_CHECKING;
}

/* The check hashes every object as it comes by; only then does change.c note what changes (C2). */
static void check_some(struct fsm_restore *restore, uint64_t *work)
{
    if (fsm_check_step(restore->check, work, &restore->broken) || restore->broken != NULL) {
        return;
    }
    restore->fsm->restoring = false;
    restore->phase = RESTORE_DONE;
    if (fsm_digest(restore->fsm) != restore->digest) {
        restore->broken = "snapshot: the digest is not what its end says";
    }
}

bool fsm_restore_step(struct fsm_restore *restore, bool at_end, uint64_t work)
{
    enum restore_phase phase = restore->phase;
    if (restore->broken != NULL) {
        return false;
    }
    switch (phase) {
    case RESTORE_READING:
        read_some(restore, at_end, &work);
        break;
    case RESTORE_LINKING:
        link_some(restore, &work);
        break;
    case RESTORE_CHECKING:
        check_some(restore, &work);
        break;
    case RESTORE_DONE:
        return false;
    }
    return restore->broken == NULL && restore->phase != RESTORE_DONE &&
           (phase != RESTORE_READING || restore->phase != phase || work == 0);
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

void fsm_restore_add(struct fsm_restore *restore, const void *data, size_t size)
{
    if (restore->broken == NULL) {
        proto_buffer_consume(&restore->in, restore->in_taken);
        restore->in_taken = 0;
        append(&restore->in, data, size);
    }
}

bool fsm_restore_feed(struct fsm_restore *restore, const void *data, size_t size,
                      struct proto_error *ret_error)
{
    const uint8_t *at = data;
    while (size > 0 && restore->broken == NULL) {
        size_t piece = size < FEED_BYTES ? size : FEED_BYTES;
        fsm_restore_add(restore, at, piece);
        (void)fsm_restore_step(restore, false, UINT64_MAX); /* All that is there. */
        at += piece;
        size -= piece;
    }
    return tell(restore->broken, ret_error);
}

struct fsm *fsm_restore_finish(struct fsm_restore *restore, struct proto_error *ret_error)
{
    struct fsm *fsm = NULL;
    while (fsm_restore_step(restore, true, UINT64_MAX)) {
    }
    if (tell(restore->broken, ret_error)) {
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
    fsm_check_end(restore->check);
    fsm_free(restore->fsm);
    fsm_restore_links_free(restore->links);
    proto_buffer_done(&restore->in);
    proto_buffer_done(&restore->raw);
    free(restore);
}
