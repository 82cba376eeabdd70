/* Owns the waits: a session's queued acquire, named by (session, request id), and the command lock.cancel.
 *
 * A waiter's life. Each end is entered once; the waiter leaves its lock's queue in the same entry, its session's window
 * gets the answer (W2), and whoever listens is told (FSM_WAIT_ENDED).
 *
 *               +--> granted     fsm_lock_hand_on()   first in line, alive, and the lock's mode admits it
 *               +--> timed_out   fsm_expiry_run(), or fsm_lock_hand_on() before that had its turn: its own deadline
 *   queued -----+--> cancelled   fsm_lock_cancel()
 *               +--> session     fsm_ending_run(), or as above: its session has ended (SESSION_EXPIRED)
 *               +--> refused     fsm_lock_hand_on()   the lock changed so that it can never be admitted
 *
 *   Q1  Whoever ends a waiter hands its lock on: the one that it stood before may be admitted now.
 *   Q2  Cancelling what does not wait (any more) changes nothing and says NOT_FOUND: the request's own answer tells.
 *       So does a wait whose deadline has passed: it ends as timed out.
 *   Q3  A waiter's limit binds the lock's while it waits (L7). */
#include "raft_fsm/state.h"

struct grant_wish fsm_waiter_wish(const struct waiter *waiter)
{
    return (struct grant_wish){
        .mode = waiter->mode, .permits = waiter->permits, .limit = waiter->limit, .ttl_ms = waiter->ttl_ms};
}

struct waiter *fsm_waiter_create(struct fsm *fsm, struct lock *lock, const struct call *call)
{
    const struct proto_lock_acquire *body = &call->command->body.lock_acquire;
    struct waiter *waiter = fsm_pool_take(&fsm->waiters_pool);
    waiter->session = call->session;
    waiter->request_id = call->command->request_id;
    waiter->deadline_ms =
        body->wait_ms == PROTO_WAIT_FOREVER ? FSM_NEVER : fsm_deadline_after(fsm, body->wait_ms);
    waiter->ttl_ms = body->ttl_ms;
    waiter->mode = (uint8_t)body->mode;
    if (body->mode == PROTO_MODE_PERMITS) {
        waiter->permits = (uint16_t)body->permits;
        waiter->limit = (uint16_t)body->limit;
        lock->limit = waiter->limit; /* Q3 */
    }
    if (body->has_value) {
        waiter->has_value = true;
        waiter->value = fsm_copy(fsm, body->value.data, body->value.size);
        waiter->value_bytes = body->value.size;
    }
    fsm_waiter_link(fsm, lock, waiter);
    fsm_timer_set(fsm, &waiter->timer, FSM_TIMER_WAITER);
    return waiter;
}

void fsm_waiter_end(struct fsm *fsm, struct waiter *waiter, const struct answer *answer)
{
    struct lock *lock = waiter->lock;
    struct session *session = fsm_session_change(fsm, waiter->session);
    fsm_effect_wait_ended(fsm, waiter, answer);
    fsm_history_finish(fsm, session, waiter->request_id, answer);
    fsm_waiter_free(fsm, waiter);
    if (lock->rest->permit_waiters == 0 && (lock->grants == NULL || lock->mode != PROTO_MODE_PERMITS)) {
        lock->limit = 0;
    }
    fsm_lock_trim(fsm, lock);
}

void fsm_waiter_end_status(struct fsm *fsm, struct waiter *waiter, enum proto_status status)
{
    struct answer answer = {.kind = PROTO_LOCK_ACQUIRE};
    fsm_answer_status(&answer, status);
    fsm_waiter_end(fsm, waiter, &answer);
}

void fsm_lock_cancel(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct record *record = fsm_history_find(call->session, call->command->body.lock_cancel.target_id);
    if (record == NULL || record->answer.status != PROTO_STATUS_QUEUED ||
        record->answer.waiter->deadline_ms <= fsm->time_ms) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_FOUND);
        return;
    }
    struct waiter *waiter = record->answer.waiter;
    struct lock *lock = fsm_lock_change(fsm, waiter->lock);
    fsm_waiter_end_status(fsm, waiter, PROTO_STATUS_CANCELLED);
    fsm_lock_hand_on(fsm, lock);
    fsm_answer_status(ret, PROTO_STATUS_OK);
}
