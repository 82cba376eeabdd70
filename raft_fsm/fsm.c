/* Owns the life of a whole state and its memory. Memory running out is fatal here and nowhere handled: a replica that
 * can not apply must not go on (fsm.h). */
#include <stdlib.h>
#include <string.h>

#include "raft_fsm/state.h"

void *fsm_reallocate(struct fsm *fsm, void *memory, size_t size_before, size_t size)
{
    LOCKSTEP_ASSERT(size > 0);
    void *moved = realloc(memory, size);
    LOCKSTEP_ASSERT(moved != NULL);
    fsm->bytes += size;
    fsm->bytes -= size_before;
    return moved;
}

void *fsm_allocate(struct fsm *fsm, size_t size)
{
    return fsm_reallocate(fsm, NULL, 0, size);
}

void fsm_release(struct fsm *fsm, void *memory, size_t size)
{
    if (memory != NULL) {
        fsm->bytes -= size;
        free(memory);
    }
}

uint8_t *fsm_copy(struct fsm *fsm, const void *data, size_t size)
{
    if (size == 0) {
        return NULL;
    }
    uint8_t *copy = fsm_allocate(fsm, size);
    memcpy(copy, data, size);
    return copy;
}

struct fsm *fsm_create(void)
{
    struct fsm *fsm = calloc(1, sizeof *fsm);
    LOCKSTEP_ASSERT(fsm != NULL);
    fsm->counter = 1;
    fsm->next_session_id = 1;
    fsm->next_work_number = 1;
    fsm->generation = 1;
    fsm_tree_init(&fsm->locks, fsm_lock_compare);
    fsm_tree_init(&fsm->sessions, fsm_session_compare_id);
    fsm_tree_init(&fsm->digests, fsm_session_compare_digest);
    size_t smallest = (offsetof(struct lock, key) + 7) / 8 * 8;
    for (size_t i = 0; i < FSM_LOCK_POOLS; i++) {
        fsm_pool_init(&fsm->locks_pool[i], smallest + 8 * i);
    }
    fsm_pool_init(&fsm->rests_pool, sizeof(struct lock_rest));
    fsm_pool_init(&fsm->grants_pool, sizeof(struct grant));
    fsm_pool_init(&fsm->waiters_pool, sizeof(struct waiter));
    fsm_pool_init(&fsm->sessions_pool, sizeof(struct session));
    fsm_crowd_init(&fsm->crowd);
    proto_buffer_init(&fsm->image, SIZE_MAX);
    return fsm;
}

/* ---- the end: no link, index or heap is kept in order any more ---- */

/* @return what it was made of: the lock, its holders and its waiters. */
static uint64_t discard_lock(struct fsm *fsm, struct lock *lock)
{
    uint64_t parts = 1 + lock->holders_count;
    for (struct grant *grant = lock->grants; lock->holders_count > 0; lock->holders_count--) {
        struct grant *next = grant->lock_next;
        fsm_pool_give(&fsm->grants_pool, grant);
        grant = next;
    }
    lock->grants = NULL;
    struct lock_rest *rest = lock->rest;
    if (rest != NULL) {
        parts += rest->waiters_count;
        for (struct waiter *waiter = rest->queue; rest->waiters_count > 0; rest->waiters_count--) {
            struct waiter *next = waiter->next;
            fsm_release(fsm, waiter->value, waiter->value_bytes);
            fsm_pool_give(&fsm->waiters_pool, waiter);
            waiter = next;
        }
        fsm_release(fsm, rest->value, rest->value_bytes);
        fsm_pool_give(&fsm->rests_pool, rest);
    }
    fsm_lock_discard(fsm, lock);
    return parts;
}

static uint64_t discard_session(struct fsm *fsm, struct session *session)
{
    uint64_t parts = 1 + session->window.count / 16;
    fsm_history_free(fsm, session);
    fsm_release(fsm, session->owner, session->owner_bytes);
    fsm_pool_give(&fsm->sessions_pool, session);
    return parts;
}

static void free_rest(struct fsm *fsm)
{
    for (size_t i = 0; i < FSM_LOCK_POOLS; i++) {
        fsm_pool_done(&fsm->locks_pool[i]);
    }
    fsm_pool_done(&fsm->rests_pool);
    fsm_pool_done(&fsm->grants_pool);
    fsm_pool_done(&fsm->waiters_pool);
    fsm_pool_done(&fsm->sessions_pool);
    fsm_pool_done(&fsm->crowd.seats);
    fsm_timers_done(fsm);
    fsm_release(fsm, fsm->dirty, fsm->dirty_capacity * sizeof(struct object *));
    fsm_release(fsm, fsm->commands, fsm->commands_capacity * sizeof *fsm->commands);
    fsm_arena_done(fsm);
    proto_buffer_done(&fsm->image);
    LOCKSTEP_ASSERT(fsm->bytes == 0);
    free(fsm);
}

bool fsm_free_step(struct fsm *fsm, uint64_t work)
{
    LOCKSTEP_ASSERT(fsm->snapshot == NULL);
    for (uint64_t done = 0; done < work;) {
        if (fsm_crowd_discard(&fsm->crowd)) {
            done++;
            continue;
        }
        struct tree_node *lock = fsm_tree_take_apart(&fsm->locks);
        struct tree_node *session = lock == NULL ? fsm_tree_take_apart(&fsm->sessions) : NULL;
        if (lock != NULL) {
            done += discard_lock(fsm, fsm_lock_of_node(lock));
        } else if (session != NULL) {
            done += discard_session(fsm, fsm_session_of_id_node(session));
        } else {
            free_rest(fsm);
            return false;
        }
    }
    return true;
}

void fsm_free(struct fsm *fsm)
{
    while (fsm != NULL && fsm_free_step(fsm, UINT64_MAX)) {
    }
}

struct cluster_time fsm_time(const struct fsm *fsm)
{
    return (struct cluster_time){.ms = fsm->time_ms};
}

struct cluster_time fsm_next_due(struct fsm *fsm)
{
    if (fsm->ending_first != NULL || fsm->pending_first != NULL) {
        return (struct cluster_time){.ms = fsm->time_ms};
    }
    uint64_t next_ms = fsm_timer_next(fsm);
    return (struct cluster_time){.ms = next_ms < fsm->time_ms ? fsm->time_ms : next_ms};
}

void fsm_counts(const struct fsm *fsm, struct fsm_counts *ret_counts)
{
    uint64_t bytes = fsm->bytes + fsm->image.capacity + fsm->crowd.seats.bytes + sizeof *fsm;
    bytes +=
        fsm->rests_pool.bytes + fsm->grants_pool.bytes + fsm->waiters_pool.bytes + fsm->sessions_pool.bytes;
    for (size_t i = 0; i < FSM_LOCK_POOLS; i++) {
        bytes += fsm->locks_pool[i].bytes;
    }
    *ret_counts = (struct fsm_counts){
        .sessions = fsm->sessions.count - fsm->ending_count,
        .ending = fsm->ending_count,
        .locks = fsm->locks.count,
        .grants = fsm->grants_count,
        .waiters = fsm->waiters_count,
        .next_token = fsm->epoch << FSM_TOKEN_COUNTER_BITS | fsm->counter,
        .bytes = bytes,
    };
}
