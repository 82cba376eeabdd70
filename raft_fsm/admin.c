/* Owns the commands without a session: lock.force_release, session.kill, epoch.raise.
 *
 *   A1  lock.force_release ends the grant with the token, or every grant, of a key, whoever holds it, alive or not;
 *       each holder is told (GRANT_LOST, FORCED, with the administrator's reason), and the lock is handed on.
 *       NOT_FOUND if there was none. It brings no lock-delay, and ends none.
 *   A2  session.kill ends a session that is alive (SESSION_ENDED, KILLED, with the reason); NOT_FOUND if there is none.
 *   A3  epoch.raise makes every later token greater than any that the old epoch could have given: the state may come
 *       from a backup, and tokens given after the backup was made must not be given again. */
#include "raft_fsm/state.h"

void fsm_force_release(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_force_release *body = &call->command->body.force_release;
    const struct lock *found = fsm_lock_find(fsm, body->key);
    uint32_t holders = found == NULL ? 0 : found->holders_count;
    struct lock *lock = NULL;
    struct grant *grant = found == NULL ? NULL : found->grants;
    uint64_t ended = 0;
    for (uint32_t i = 0; i < holders; i++) {
        struct grant *next = grant->lock_next;
        if (body->token == 0 || grant->token == body->token) {
            lock = fsm_lock_change(fsm, grant->lock);
            fsm_effect_grant_lost(fsm, grant, PROTO_END_FORCED, body->reason);
            fsm_grant_end(fsm, grant);
            ended++;
        }
        grant = next;
    }
    if (lock == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_FOUND);
        return;
    }
    fsm_lock_hand_on(fsm, lock);
    fsm_answer_status(ret, PROTO_STATUS_OK);
    ret->count = ended;
}

void fsm_session_kill(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_session_kill *body = &call->command->body.session_kill;
    const struct session *found = fsm_session_find(fsm, body->session_id);
    if (found == NULL || !fsm_session_alive(fsm, found)) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_FOUND);
        return;
    }
    fsm_session_end(fsm, fsm_session_change(fsm, found), PROTO_END_KILLED, body->reason);
    fsm_ending_run(fsm);
    fsm_answer_status(ret, PROTO_STATUS_OK);
    ret->count = 1;
}

void fsm_epoch_raise(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    (void)call; /* the command has no fields */
    if (fsm->epoch >= FSM_EPOCH_MAX) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_EPOCH);
        return;
    }
    fsm->epoch++;
    fsm_answer_status(ret, PROTO_STATUS_OK);
}
