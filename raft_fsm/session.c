/* Owns the commands session.open, session.renew and session.close.
 *
 *   S1  A session is alive exactly if it has not ended and its deadline lies after the cluster time. One whose
 *       deadline has passed is dead for every command, even if its expiry has not had its turn (expiry.c).
 *   S2  Only session.open and session.renew move a session's deadline: to the entry's time and the TTL, and never back. A
 *       shorter TTL counts from the renewal on that it takes further: what was once acknowledged holds, whatever old
 *       request comes late.
 *   S3  session.open is idempotent by the client's key: a live session with its digest is renewed and given back, with
 *       TTL, lock-delay and owner as the request has them. There is at most one live session for a digest.
 *   S4  With a resume id, only that very session will do: SESSION_EXPIRED if it is not alive, BAD_SECRET if it belongs
 *       to another digest.
 *   S5  Ids count up and are never reused.
 *
 *   (none) --session.open--> alive --+--> ended --> (freed)     ended: expired   fsm_expiry_run()
 *                            ^    |  |                                 released  fsm_session_close()
 *                            +----+  |                                 killed    fsm_session_kill()
 *                    open, renew     |                          freed: ending.c, when its last grant and wait are gone
 *                                    +- dead: the deadline has passed, the expiry is due */
#include <string.h>

#include "raft_fsm/state.h"

static void renew(struct fsm *fsm, struct session *session, uint64_t ttl_ms)
{
    uint64_t deadline_ms = fsm_deadline_after(fsm, ttl_ms);
    session->ttl_ms = ttl_ms;
    session->deadline_ms = deadline_ms > session->deadline_ms ? deadline_ms : session->deadline_ms;
    fsm_timer_set(fsm, &session->timer, FSM_TIMER_SESSION);
}

static void answer_session(const struct session *session, bool resumed, struct answer *ret)
{
    fsm_answer_status(ret, PROTO_STATUS_OK);
    ret->resumed = resumed;
    ret->session.session_id = session->id;
    ret->session.ttl_ms = session->ttl_ms;
    ret->session.deadline_ms = session->deadline_ms;
}

static void open_again(struct fsm *fsm, const struct session *found, const struct proto_session_open *body,
                       struct answer *ret)
{
    struct session *session = fsm_session_change(fsm, found);
    session->lock_delay_ms = body->lock_delay_ms;
    fsm_session_set_owner(fsm, session, body->owner);
    renew(fsm, session, body->ttl_ms);
    answer_session(session, true, ret);
}

static void open_new(struct fsm *fsm, const struct fsm_command *command, struct answer *ret)
{
    if (fsm->sessions.count >= FSM_SESSIONS_MAX) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_SESSIONS);
        return;
    }
    const struct session *dead = fsm_session_find_digest(fsm, command->digest);
    if (dead != NULL) {
        /* Its expiry has not had its turn; the key's place goes to the new session (S3). */
        fsm_session_unindex(fsm, (struct session *)(uintptr_t)dead);
    }
    const struct proto_session_open *body = &command->body.session_open;
    struct session *session = fsm_session_create(fsm, fsm->next_session_id);
    fsm->next_session_id++;
    memcpy(session->digest, command->digest, sizeof session->digest);
    session->lock_delay_ms = body->lock_delay_ms;
    fsm_session_set_owner(fsm, session, body->owner);
    fsm_session_index(fsm, session);
    renew(fsm, session, body->ttl_ms);
    answer_session(session, false, ret);
}

void fsm_session_open(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct fsm_command *command = call->command;
    const struct proto_session_open *body = &command->body.session_open;
    const struct session *session = body->resume_id == 0 ? fsm_session_find_digest(fsm, command->digest)
                                                         : fsm_session_find(fsm, body->resume_id);
    if (session != NULL && !fsm_session_alive(fsm, session)) {
        session = NULL;
    }
    if (session == NULL && body->resume_id == 0) {
        open_new(fsm, command, ret);
    } else if (session == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_SESSION_EXPIRED);
    } else if (memcmp(session->digest, command->digest, sizeof session->digest) != 0) {
        fsm_answer_status(ret, PROTO_STATUS_BAD_SECRET);
    } else {
        open_again(fsm, session, body, ret);
    }
}

void fsm_session_renew(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    uint64_t ttl_ms = call->command->body.session_renew.ttl_ms;
    renew(fsm, call->session, ttl_ms == 0 ? call->session->ttl_ms : ttl_ms);
    answer_session(call->session, false, ret);
}

void fsm_session_close(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    fsm_session_end(fsm, call->session, PROTO_END_RELEASED, (struct proto_bytes){0});
    fsm_ending_run(fsm);
    fsm_answer_status(ret, PROTO_STATUS_OK);
}
