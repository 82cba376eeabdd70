/* The lock state machine: (state, entry) -> (state', effects). Pure: no clock, no randomness, no I/O, no global state,
 * no logging; nothing that leaves it depends on hash order or addresses. Every replica that applied the same entries
 * has the same digest. One thread at a time.
 *
 * Memory running out inside is fatal (abort): a replica that can not apply must not go on. */
#ifndef LOCKSTEP_RAFT_FSM_FSM_H
#define LOCKSTEP_RAFT_FSM_FSM_H

#include "protocol/buffer.h"
#include "protocol/decode.h"
#include "protocol/message.h"
#include "raft_fsm/effects.h"
#include "raft_fsm/entry.h"

struct fsm;

/* An empty state: time 0, epoch 0, next token 1, next session id 1. The caller frees it with fsm_free(). */
struct fsm *fsm_create(void);
void fsm_free(struct fsm *fsm);
/* Free a part of it, of about `work` objects: a million at once would be a pause. It is good for nothing else any more.
 * @return true while there is more; at the end all of it is gone. No snapshot of it may be under way. */
bool fsm_free_step(struct fsm *fsm, uint64_t work);

enum fsm_result {
    FSM_APPLIED,
    FSM_UNKNOWN_ENTRY, /* this version does not know the entry: nothing was changed; the node must stop */
};

/* Apply one entry: move the time to max(time, entry.time), expire what is due and free portions of ended sessions
 * (both bounded), then execute each command in order.
 *
 * @param effects  refilled with what happened, in order; NULL (a follower) builds none.
 * @param ret_error filled on FSM_UNKNOWN_ENTRY; may be NULL.
 * The whole entry is decoded once before the first change, so FSM_UNKNOWN_ENTRY never leaves half an entry. */
enum fsm_result fsm_apply(struct fsm *fsm, const void *entry, size_t size, struct fsm_effects *effects,
                          struct proto_error *ret_error);

/* Answer a QUERY operation from the state as it is. `rows` gets the lists; strings point into the state and live
 * until the next fsm_apply(). Sets kind, id, status, time and body; applied_index is the caller's.
 *
 * @param as_of  what remains of leases, waits and delays is counted from then, which becomes the reply's time; from the time of
 *               the state if that is later. It changes nothing else: who is dead is so by the time of the state alone.
 * @return the work that it was: how many sessions, locks, grants and waiters it looked at, about; 1 at least. */
uint64_t fsm_query(const struct fsm *fsm, struct cluster_time as_of, const struct proto_request *request,
                   struct proto_rows *rows, struct proto_reply *ret_reply);

/* Cluster time of the state. */
struct cluster_time fsm_time(const struct fsm *fsm);

/* The TTL of a session in milliseconds; 0 if there is none with this id. */
uint64_t fsm_session_ttl(const struct fsm *fsm, uint64_t session_id);
/* Whether an acquire that is neither reentrant nor asks once would only be queued, behind others (lock.c, L1). */
bool fsm_lock_is_queued(const struct fsm *fsm, struct proto_bytes key);

/* When the leader should propose the next entry even without a command: the earliest deadline (never later than the
 * true one; it may be earlier), the current time if expired or ended things wait for their portion, or ms == UINT64_MAX
 * if nothing is ahead. A deadline d is due in an entry whose time is >= d. */
struct cluster_time fsm_next_due(struct fsm *fsm);

struct fsm_counts {
    uint64_t sessions; /* alive */
    uint64_t ending;   /* ended, waiting to be freed in their portion */
    uint64_t locks;
    uint64_t grants;
    uint64_t waiters;
    uint64_t next_token;
    uint64_t bytes; /* memory of the state, approximately */
};
void fsm_counts(const struct fsm *fsm, struct fsm_counts *ret_counts);

/* A 64-bit digest of the whole state (time, counters, every session, lock, grant, waiter, remembered reply), the same
 * on every replica that applied the same entries, also after snapshot and restore. Kept incrementally: cost is that of
 * what changed since the last call. */
uint64_t fsm_digest(struct fsm *fsm);

/* Check every invariant of the whole state (invariants.c lists them). Linear in the state.
 * @return the rules that are broken and what was found, a sentence in static memory; NULL if all hold. */
const char *fsm_invariant_broken(struct fsm *fsm);
/* The same as an assertion: for tests and the simulation. */
void fsm_check_invariants(struct fsm *fsm);

/* ---- snapshots: a consistent image of this moment, written in slices while entries are applied ---- */

struct fsm_snapshot;

/* Freeze an image. At most one at a time per state machine. Costs nothing by itself: an object that changes before its
 * turn is written out first (so the order of objects in the stream is not defined, the set is). */
struct fsm_snapshot *fsm_snapshot_begin(struct fsm *fsm);
/* Append the next part of the stream to `out`: about `bytes_target` more bytes. @return true while there is more.
 * The stream: versioned msgpack records in lz4 blocks, ended by a record with the digest (snapshot.c). */
bool fsm_snapshot_next(struct fsm_snapshot *snapshot, struct proto_buffer *out, size_t bytes_target);
/* Finish or abandon. */
void fsm_snapshot_end(struct fsm_snapshot *snapshot);

struct fsm_restore;

/* Build a state from a stream, fed in pieces of any size. Linear in the size. */
struct fsm_restore *fsm_restore_begin(void);
/* @return false with `ret_error` filled if the bytes are not a snapshot that this version knows. */
bool fsm_restore_feed(struct fsm_restore *restore, const void *data, size_t size, struct proto_error *ret_error);
/* The same in parts, for a node that serves meanwhile: fsm_restore_add() only copies the bytes, fsm_restore_step() reads
 * about `work` objects out of them or, once nothing follows any more (`at_end`), does a part of what comes after reading.
 * A unit of work is some 0.3 to 1 us; an object (a lock with all its holders and waiters) is never divided.
 * @return true while there is more to do with what was added; false too if something is wrong, which the next
 * fsm_restore_feed() or fsm_restore_finish() tells. */
void fsm_restore_add(struct fsm_restore *restore, const void *data, size_t size);
bool fsm_restore_step(struct fsm_restore *restore, bool at_end, uint64_t work);
/* Check completeness, invariants of references and the digest; whatever of it fsm_restore_step() left is done first.
 * Frees `restore` in every case.
 * @return the new state (the caller's), or NULL with `ret_error` filled. */
struct fsm *fsm_restore_finish(struct fsm_restore *restore, struct proto_error *ret_error);
void fsm_restore_abandon(struct fsm_restore *restore);

#endif
