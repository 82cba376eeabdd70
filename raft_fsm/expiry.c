/* Owns what happens when a deadline has passed. Expiry is in the log: this runs at the head of each entry and nowhere
 * else, so that every replica expires the same things in the same entry.
 *
 *   X1  A deadline d is due in an entry whose time is >= d.
 *   X2  What is due is handled in the order (deadline, kind, id): kinds as in enum timer_kind; ids are the session id,
 *       the token, the session and request id, the key.
 *   X3  At most FSM_EXPIRIES_PER_ENTRY in one entry. What is due and has not had its turn is dead all the same: a session
 *       answers nothing (S1), a token is NOT_HELD, a wait is not granted. But a dead holder keeps the lock closed, and
 *       a lock-delay keeps it closed, until the turn comes.
 *   X4  A grant whose own lease ends brings no lock-delay: its session, so its client, is alive. */
#include "raft_fsm/state.h"

static void expire_grant(struct fsm *fsm, struct grant *grant)
{
    if (grant->session->ended) {
        /* Its session went first; the grant only comes before its portion. */
        fsm_grant_end_with_session(fsm, grant);
        return;
    }
    struct lock *lock = fsm_lock_change(fsm, grant->lock);
    fsm_effect_grant_lost(fsm, grant, PROTO_END_EXPIRED, (struct proto_bytes){0});
    fsm_grant_end(fsm, grant);
    fsm_lock_hand_on(fsm, lock);
}

static void expire_wait(struct fsm *fsm, struct waiter *waiter)
{
    struct lock *lock = fsm_lock_change(fsm, waiter->lock);
    bool of_session = waiter->session->ended;
    fsm_waiter_end_status(fsm, waiter, of_session ? PROTO_STATUS_SESSION_EXPIRED : PROTO_STATUS_TIMED_OUT);
    fsm_lock_hand_on(fsm, lock);
}

static void expire_delay(struct fsm *fsm, struct lock_rest *rest)
{
    struct lock *lock = fsm_lock_change(fsm, rest->lock);
    fsm_lock_delay_end(fsm, lock);
    fsm_lock_hand_on(fsm, lock);
}

void fsm_expiry_run(struct fsm *fsm)
{
    for (unsigned i = 0; i < FSM_EXPIRIES_PER_ENTRY; i++) {
        struct timer *timer = fsm_timer_due(fsm, fsm->time_ms);
        if (timer == NULL) {
            return;
        }
        switch ((enum timer_kind)timer->kind) {
        case FSM_TIMER_SESSION: {
            struct session *session = fsm_session_change(fsm, fsm_timer_session(timer));
            fsm_session_end(fsm, session, PROTO_END_EXPIRED, (struct proto_bytes){0});
            break;
        }
        case FSM_TIMER_GRANT:
            expire_grant(fsm, fsm_timer_grant(timer));
            break;
        case FSM_TIMER_WAITER:
            expire_wait(fsm, fsm_timer_waiter(timer));
            break;
        case FSM_TIMER_DELAY:
            expire_delay(fsm, fsm_timer_delay(timer));
            break;
        }
    }
}
