/* Owns the end of sessions: in the entry of its end a session is dead; what it held and waited for is freed in portions.
 *
 *   E1  From its end on, a session answers nothing, is not found by its digest, and none of its waits is ever granted.
 *   E2  One entry frees at most FSM_RELEASES_PER_ENTRY ended sessions, waits and grants of theirs, in the order in which
 *       the sessions ended; of one session first the waits by request id, then the grants by token, then itself. While
 *       some remain, fsm_next_due() asks for an entry at once.
 *   E3  A lock whose holder's session has ended counts as held until its portion. Then it is handed on in that entry.
 *   E4  Only expiry brings lock-delay, only on exclusive grants, counted from the cluster time of the entry in which
 *       the session ended. A client that closed its session has put its work in order; a kill is an administrator's
 *       wish to have the locks free.
 *   E5  SESSION_ENDED is told once, in the entry of the end; there is no GRANT_LOST for each grant. */
#include "raft_fsm/state.h"

void fsm_session_end(struct fsm *fsm, struct session *session, enum proto_end_reason reason,
                     struct proto_bytes detail)
{
    LOCKSTEP_ASSERT(!session->ended);
    fsm_effect_session_ended(fsm, session, reason, detail);
    session->ended = true;
    session->ended_reason = (uint8_t)reason;
    session->ended_ms = fsm->time_ms;
    session->ended_number = fsm->next_work_number;
    fsm->next_work_number++;
    fsm_timer_stop(fsm, &session->timer);
    fsm_session_unindex(fsm, session);
    fsm_history_forget_finished(fsm, session);
    session->ending_next = NULL;
    if (fsm->ending_last != NULL) {
        fsm->ending_last->ending_next = session;
    } else {
        fsm->ending_first = session;
    }
    fsm->ending_last = session;
    fsm->ending_count++;
}

void fsm_grant_end_with_session(struct fsm *fsm, struct grant *grant)
{
    const struct session *session = grant->session;
    struct lock *lock = fsm_lock_change(fsm, grant->lock);
    bool exclusive = lock->mode == PROTO_MODE_EXCLUSIVE;
    fsm_grant_end(fsm, grant);
    if (exclusive && session->ended_reason == PROTO_END_EXPIRED) {
        fsm_lock_delay_begin(fsm, lock, session); /* E4 */
    }
    fsm_lock_hand_on(fsm, lock);
}

/* @return false if the entry's share is used up before the session is rid of everything and may go itself. */
static bool free_portion(struct fsm *fsm, struct session *session)
{
    while (session->waits_count > 0 && fsm->releases_left > 0) {
        /* Only waits are left in the window, in order of request id. */
        struct waiter *waiter = session->window.list[0].answer.waiter;
        struct lock *lock = fsm_lock_change(fsm, waiter->lock);
        fsm_waiter_end_status(fsm, waiter, PROTO_STATUS_SESSION_EXPIRED);
        fsm_lock_hand_on(fsm, lock);
        fsm->releases_left--;
    }
    while (session->grants_first != NULL && session->waits_count == 0 && fsm->releases_left > 0) {
        fsm_grant_end_with_session(fsm, session->grants_first);
        fsm->releases_left--;
    }
    if (session->waits_count > 0 || session->grants_first != NULL || fsm->releases_left == 0) {
        return false;
    }
    fsm->releases_left--; /* A million that have nothing may have ended behind one with many locks. */
    return true;
}

void fsm_ending_run(struct fsm *fsm)
{
    while (fsm->ending_first != NULL) {
        struct session *session = fsm->ending_first;
        if (!free_portion(fsm, session)) {
            return;
        }
        fsm->ending_first = session->ending_next;
        if (fsm->ending_first == NULL) {
            fsm->ending_last = NULL;
        }
        fsm->ending_count--;
        fsm_session_free(fsm, session);
    }
}
