/* Owns the writing of a consistent image of one moment, in slices, while entries go on being applied.
 *
 *   N1  The image is the state as it was at fsm_snapshot_begin(). Each object is written once: when the walk comes to
 *       it, or before its first change after the beginning (change.c, C1), whichever is earlier.
 *   N2  object.generation == fsm->generation says that the running snapshot has the object, or that it was born after
 *       the beginning and is not part of it.
 *   N3  The walk remembers the last id or key, not an object: objects come and go between two slices.
 *   N4  The digest at the end is the sum over what was written: that of the state at the beginning, at no extra cost.
 *   N5  A slice does a bounded amount of work, give or take one object.
 *
 *   sessions -> locks -> end -> done     (walk_sessions, walk_locks, write_end) */
#include "raft_fsm/snapshot.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "protocol/pack.h"
#include "raft_fsm/state.h"

/* N5: how much one slice does, whatever the caller would take: an object is a unit, written or not, because passing by
 * those already written takes time too, and so are some bytes of an image. Some 0.2 ms. */
enum { WORK_PER_SLICE = 512, WORK_BYTES = 256 };

/* The most that image.c makes of a grant and of a waiter without its value: a number of 64 bits takes 9 bytes, of 32 bits 5, of
 * 16 bits 3. A record that were larger than it may be would end every node, at the same snapshot (record_end()). */
enum {
    GRANT_BYTES_MAX = 1 + 3 * 9 + 5 + 3,
    WAITER_BYTES_MAX = 1 + 3 * 9 + 5 + 1 + 2 * 3 + 3,
    LOCK_BYTES_MAX = PROTO_KEY_BYTES_MAX + PROTO_VALUE_BYTES_MAX + 128,
    REPLY_BYTES_MAX = PROTO_OWNER_BYTES_MAX + 128,
};
_Static_assert(LOCK_BYTES_MAX + FSM_WAITING_BYTES_PER_LOCK_MAX + FSM_HOLDERS_PER_LOCK_MAX * GRANT_BYTES_MAX +
                       FSM_WAITERS_PER_LOCK_MAX * WAITER_BYTES_MAX <
                   SNAPSHOT_RECORD_BYTES_MAX,
               "a lock with all that it may have fits a record");
_Static_assert((FSM_WINDOW_REPLIES_MAX + 1) * REPLY_BYTES_MAX < SNAPSHOT_RECORD_BYTES_MAX,
               "a session with all that it may remember fits a record");

enum phase { PHASE_SESSIONS, PHASE_LOCKS, PHASE_END, PHASE_DONE };

struct fsm_snapshot {
    struct fsm *fsm;
    struct proto_buffer raw;   /* records, not yet a whole block */
    struct proto_buffer ready; /* of the stream */
    size_t ready_taken;        /* of it, already given to the caller */
    enum phase phase;
    uint64_t session_id; /* N3: the walk stands behind this one */
    uint8_t key[PROTO_KEY_BYTES_MAX];
    uint32_t key_bytes;
    uint64_t sessions_count;
    uint64_t locks_count;
    uint64_t digest;
};

/* ---- records to blocks ---- */

static void write_block(struct fsm_snapshot *snapshot, const uint8_t *data, uint32_t size)
{
    int bound = LZ4_compressBound((int)size);
    uint8_t *at = proto_buffer_reserve(&snapshot->ready, SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)bound);
    LOCKSTEP_ASSERT(at != NULL);
    char *packed = (char *)at + SNAPSHOT_BLOCK_HEAD_BYTES;
    int packed_bytes = LZ4_compress_default((const char *)data, packed, (int)size, bound);
    LOCKSTEP_ASSERT(packed_bytes > 0);
    snapshot_put_u32(at, size);
    snapshot_put_u32(at + 4, (uint32_t)packed_bytes);
    snapshot_put_u64(at + 8, XXH3_64bits_withSeed(packed, (size_t)packed_bytes, size));
    snapshot->ready.size += SNAPSHOT_BLOCK_HEAD_BYTES + (size_t)packed_bytes;
}

/* Blocks are written as soon as they are full, so that what waits to be taken is compressed. */
static void cut_blocks(struct fsm_snapshot *snapshot, bool all)
{
    size_t from = 0;
    while (snapshot->raw.size - from >= SNAPSHOT_BLOCK_BYTES) {
        write_block(snapshot, snapshot->raw.data + from, SNAPSHOT_BLOCK_BYTES);
        from += SNAPSHOT_BLOCK_BYTES;
    }
    if (all && snapshot->raw.size > from) {
        write_block(snapshot, snapshot->raw.data + from, (uint32_t)(snapshot->raw.size - from));
        from = snapshot->raw.size;
    }
    if (from > 0) {
        proto_buffer_consume(&snapshot->raw, from);
    }
}

static size_t record_begin(struct fsm_snapshot *snapshot)
{
    uint8_t *at = proto_buffer_reserve(&snapshot->raw, SNAPSHOT_RECORD_HEAD_BYTES);
    LOCKSTEP_ASSERT(at != NULL);
    snapshot->raw.size += SNAPSHOT_RECORD_HEAD_BYTES;
    return snapshot->raw.size;
}

/* @return the hash of the image that begins at `begin`. */
static uint64_t record_end(struct fsm_snapshot *snapshot, size_t begin)
{
    LOCKSTEP_ASSERT(!snapshot->raw.failed);
    uint8_t *image = snapshot->raw.data + begin;
    size_t size = snapshot->raw.size - begin;
    LOCKSTEP_ASSERT(size <= SNAPSHOT_RECORD_BYTES_MAX);
    snapshot_put_u32(image - SNAPSHOT_RECORD_HEAD_BYTES, (uint32_t)size);
    return fsm_image_hash(image, size);
}

static void write_globals(struct fsm_snapshot *snapshot)
{
    size_t begin = record_begin(snapshot);
    fsm_image_globals(snapshot->fsm, &snapshot->raw);
    snapshot->digest += record_end(snapshot, begin);
}

/* @return the work that it was. */
static uint64_t write_object(struct fsm_snapshot *snapshot, struct object *object)
{
    size_t begin = record_begin(snapshot);
    fsm_image_object(object, &snapshot->raw);
    uint64_t work = (snapshot->raw.size - begin) / WORK_BYTES;
    snapshot->digest += record_end(snapshot, begin);
    snapshot->sessions_count += object->kind == FSM_OBJECT_SESSION;
    snapshot->locks_count += object->kind == FSM_OBJECT_LOCK;
    object->generation = snapshot->fsm->generation;
    cut_blocks(snapshot, false);
    return work;
}

static void write_end(struct fsm_snapshot *snapshot)
{
    size_t begin = record_begin(snapshot);
    pack_array(&snapshot->raw, 4); /* a failure marks the buffer; asserted in record_end() */
    pack_uint(&snapshot->raw, SNAPSHOT_KIND_END);
    pack_uint(&snapshot->raw, snapshot->sessions_count);
    pack_uint(&snapshot->raw, snapshot->locks_count);
    pack_uint(&snapshot->raw, snapshot->digest);
    (void)record_end(snapshot, begin); /* the end is not part of the digest in it */
    cut_blocks(snapshot, true);
}

void fsm_snapshot_preserve(struct fsm *fsm, struct object *object)
{
    (void)write_object(fsm->snapshot, object); /* the work of who changes it */
}

/* ---- the walk ---- */

static uint64_t visit(struct fsm_snapshot *snapshot, struct object *object)
{
    return object->generation == snapshot->fsm->generation ? 0 : write_object(snapshot, object);
}

static void walk_sessions(struct fsm_snapshot *snapshot, size_t ready_target, uint64_t *work)
{
    struct tree_walk walk;
    fsm_tree_walk(&walk, &snapshot->fsm->sessions, &snapshot->session_id, false);
    while (*work > 0 && snapshot->ready.size < ready_target) {
        struct tree_node *node = fsm_tree_next(&walk);
        if (node == NULL) {
            snapshot->phase = PHASE_LOCKS;
            return;
        }
        struct session *session = fsm_session_of_id_node(node);
        snapshot->session_id = session->id;
        uint64_t done = 1 + visit(snapshot, &session->object);
        *work -= done < *work ? done : *work;
    }
}

static void walk_locks(struct fsm_snapshot *snapshot, size_t ready_target, uint64_t *work)
{
    struct lock_key key = {.data = snapshot->key, .size = snapshot->key_bytes};
    struct tree_walk walk;
    struct lock *last = NULL;
    fsm_tree_walk(&walk, &snapshot->fsm->locks, &key, false);
    while (*work > 0 && snapshot->ready.size < ready_target) {
        struct tree_node *node = fsm_tree_next(&walk);
        if (node == NULL) {
            snapshot->phase = PHASE_END;
            return;
        }
        last = fsm_lock_of_node(node);
        uint64_t done = 1 + visit(snapshot, &last->object);
        *work -= done < *work ? done : *work;
    }
    if (last != NULL) {
        memcpy(snapshot->key, last->key, last->key_bytes);
        snapshot->key_bytes = last->key_bytes;
    }
}

static void fill_ready(struct fsm_snapshot *snapshot, size_t ready_target)
{
    uint64_t work = WORK_PER_SLICE;
    if (snapshot->phase == PHASE_SESSIONS) {
        walk_sessions(snapshot, ready_target, &work);
    }
    if (snapshot->phase == PHASE_LOCKS) {
        walk_locks(snapshot, ready_target, &work);
    }
    if (snapshot->phase == PHASE_END) {
        write_end(snapshot);
        snapshot->phase = PHASE_DONE;
    }
}

/* ---- the caller's side ---- */

struct fsm_snapshot *fsm_snapshot_begin(struct fsm *fsm)
{
    LOCKSTEP_ASSERT(fsm->snapshot == NULL);
    LOCKSTEP_ASSERT(fsm->generation < (1U << FSM_GENERATION_BITS) - 1);
    struct fsm_snapshot *snapshot = calloc(1, sizeof *snapshot);
    LOCKSTEP_ASSERT(snapshot != NULL);
    snapshot->fsm = fsm;
    proto_buffer_init(&snapshot->raw, SIZE_MAX);
    proto_buffer_init(&snapshot->ready, SIZE_MAX);
    uint8_t preamble[SNAPSHOT_PREAMBLE_BYTES] = SNAPSHOT_MAGIC;
    snapshot_put_u32(preamble + SNAPSHOT_MAGIC_BYTES, SNAPSHOT_VERSION);
    bool written = proto_buffer_append(&snapshot->ready, preamble, sizeof preamble);
    LOCKSTEP_ASSERT(written);
    write_globals(snapshot);
    fsm->generation++;
    fsm->snapshot = snapshot;
    return snapshot;
}

bool fsm_snapshot_next(struct fsm_snapshot *snapshot, struct proto_buffer *out, size_t bytes_target)
{
    size_t target = bytes_target == 0 ? 1 : bytes_target;
    if (snapshot->ready.size - snapshot->ready_taken < target) {
        fill_ready(snapshot, snapshot->ready_taken + target);
    }
    size_t size = snapshot->ready.size - snapshot->ready_taken;
    size = size < target ? size : target;
    bool taken = proto_buffer_append(out, snapshot->ready.data + snapshot->ready_taken, size);
    LOCKSTEP_ASSERT(taken);
    snapshot->ready_taken += size;
    if (snapshot->ready_taken == snapshot->ready.size) {
        proto_buffer_clear(&snapshot->ready);
        snapshot->ready_taken = 0;
    }
    return snapshot->phase != PHASE_DONE || snapshot->ready.size > 0;
}

void fsm_snapshot_end(struct fsm_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    snapshot->fsm->snapshot = NULL;
    proto_buffer_done(&snapshot->raw);
    proto_buffer_done(&snapshot->ready);
    free(snapshot);
}
