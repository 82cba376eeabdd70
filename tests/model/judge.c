/* The rules J1..J9. Commands are judged one by one: what a command takes away is taken away first (judge_command_begin),
 * then each thing that happened is judged in its order, then the command's answer. */
#include "tests/model/judge_state.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

struct judge *judge_create(void)
{
    return calloc(1, sizeof(struct judge));
}

void judge_free(struct judge *judge)
{
    for (unsigned i = 0; judge != NULL && i < judge->sessions_count; i++) {
        j_answers_free(&judge->sessions[i]);
    }
    free(judge);
}

uint64_t judge_some_token(const struct judge *judge, uint32_t random)
{
    if (judge->grants_count > 0 && random % 8 != 0) {
        return judge->grants[random / 8 % judge->grants_count].token;
    }
    return judge->old_tokens[random / 8 % 64];
}

uint64_t judge_last_session(const struct judge *judge)
{
    return judge->last_session;
}

__attribute__((format(printf, 2, 3))) static const char *wrong(struct judge *judge, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(judge->message, sizeof judge->message, format, arguments);
    va_end(arguments);
    return judge->message;
}

/* ---- a grant, at once or from the queue ---- */

struct wish {
    unsigned key;
    uint64_t session, ttl_ms;
    int mode;
    uint32_t permits, limit;
};

/* The judge takes everything that a command ends away at once; the state machine may do it grant by grant, and let a
 * waiter join the period before its last holder has gone. Both are right. */
static bool fence_fits(const struct judge *judge, const struct wish *wish, uint64_t token, uint64_t fence)
{
    for (unsigned i = 0; i < judge->grants_count && wish->mode != PROTO_MODE_EXCLUSIVE; i++) {
        if (judge->grants[i].key == wish->key) {
            return fence == judge->grants[i].fence;
        }
    }
    return fence == token || (wish->mode != PROTO_MODE_EXCLUSIVE && fence == judge->fences_left[wish->key]);
}

static const char *judge_grant(struct judge *judge, const struct wish *wish, const struct proto_reply *reply)
{
    const struct proto_grant_reply *grant = &reply->body.grant;
    struct j_session *session = j_session(judge, wish->session);
    if (!j_alive(judge, session)) {
        return wrong(judge, "J2: token %" PRIu64 " was granted to a dead session", grant->token);
    }
    if (!j_admits(judge, wish->key, wish->mode, wish->permits, wish->limit)) {
        return wrong(judge, "J2: token %" PRIu64 " on %s conflicts with a holder", grant->token, judge->keys[wish->key]);
    }
    if (grant->token <= judge->last_token) {
        return wrong(judge, "J3: token %" PRIu64 " after %" PRIu64, grant->token, judge->last_token);
    }
    if (!fence_fits(judge, wish, grant->token, grant->fence)) {
        return wrong(judge, "J3: token %" PRIu64 " has fence %" PRIu64, grant->token, grant->fence);
    }
    uint64_t own = wish->ttl_ms == 0 ? J_NEVER : judge->time_ms + wish->ttl_ms;
    uint64_t deadline = own < session->deadline_ms ? own : session->deadline_ms;
    if (grant->deadline.ms != deadline || grant->holds != 1) {
        return wrong(judge, "J9: token %" PRIu64 " until %" PRIu64 " instead of %" PRIu64, grant->token,
                     grant->deadline.ms, deadline);
    }
    judge->last_token = grant->token;
    judge->grants[judge->grants_count++] = (struct j_grant){.key = wish->key,
                                                            .session = wish->session,
                                                            .token = grant->token,
                                                            .fence = grant->fence,
                                                            .own_deadline_ms = own,
                                                            .mode = wish->mode,
                                                            .permits = wish->permits,
                                                            .limit = wish->limit,
                                                            .holds = 1};
    return NULL;
}

/* ---- acquire ---- */

static struct wish wish_of(struct judge *judge, const struct fsm_command *command)
{
    const struct proto_lock_acquire *acquire = &command->body.lock_acquire;
    return (struct wish){j_key(judge, acquire->key), command->session_id,         acquire->ttl_ms,
                         (int)acquire->mode,         acquire->permits, acquire->limit};
}

static bool joins(const struct j_grant *grant, const struct wish *wish)
{
    bool same = grant->mode == wish->mode && grant->permits == wish->permits && grant->limit == wish->limit;
    return same || (grant->mode == PROTO_MODE_EXCLUSIVE && wish->mode == PROTO_MODE_SHARED);
}

static bool limit_conflicts(const struct judge *judge, const struct wish *wish)
{
    for (unsigned i = 0; i < judge->grants_count && wish->limit != 0; i++) {
        const struct j_grant *grant = &judge->grants[i];
        if (grant->key == wish->key && grant->limit != 0 && grant->limit != wish->limit) {
            return true;
        }
    }
    for (unsigned i = 0; i < judge->waiters_count && wish->limit != 0; i++) {
        const struct j_waiter *waiter = &judge->waiters[i];
        if (waiter->key == wish->key && waiter->limit != 0 && waiter->limit != wish->limit) {
            return true;
        }
    }
    return false;
}

/* A reentrant request of a session that holds the key. */
static const char *judge_join(struct judge *judge, const struct wish *wish, const struct proto_reply *reply)
{
    if (reply->status == PROTO_STATUS_MODE_CONFLICT) {
        for (unsigned i = 0; i < judge->grants_count; i++) {
            const struct j_grant *grant = &judge->grants[i];
            if (grant->key == wish->key && grant->session == wish->session && !joins(grant, wish)) {
                return NULL;
            }
        }
        return wrong(judge, "J4: MODE_CONFLICT without one");
    }
    struct j_grant *grant = reply->status == PROTO_STATUS_OK ? j_grant(judge, reply->body.grant.token) : NULL;
    if (grant == NULL || grant->key != wish->key || grant->session != wish->session || !joins(grant, wish)) {
        return wrong(judge, "J2: a reentrant acquire did not join the grant that its session has");
    }
    grant->holds++;
    if (wish->ttl_ms != 0 && grant->own_deadline_ms != J_NEVER &&
        judge->time_ms + wish->ttl_ms > grant->own_deadline_ms) {
        grant->own_deadline_ms = judge->time_ms + wish->ttl_ms;
    }
    const struct proto_grant_reply *said = &reply->body.grant;
    if (said->holds != grant->holds || said->fence != grant->fence ||
        said->deadline.ms != j_grant_deadline(judge, grant)) {
        return wrong(judge, "J9: a joined grant says holds=%" PRIu32 " until=%" PRIu64, said->holds, said->deadline.ms);
    }
    return NULL;
}

static bool holds_key(struct judge *judge, const struct wish *wish)
{
    for (unsigned i = 0; i < judge->grants_count; i++) {
        if (judge->grants[i].key == wish->key && judge->grants[i].session == wish->session &&
            j_grant_alive(judge, &judge->grants[i])) {
            return true;
        }
    }
    return false;
}

static const char *judge_acquire(struct judge *judge, const struct fsm_command *command,
                                 const struct proto_reply *reply)
{
    const struct proto_lock_acquire *acquire = &command->body.lock_acquire;
    struct wish wish = wish_of(judge, command);
    struct j_session *session = j_session(judge, command->session_id);
    if (acquire->reentrant && holds_key(judge, &wish)) {
        return judge_join(judge, &wish, reply);
    }
    if (limit_conflicts(judge, &wish)) {
        return reply->status == PROTO_STATUS_LIMIT_MISMATCH ? NULL : wrong(judge, "J4: another limit was let in");
    }
    bool delayed = j_delayed(judge, wish.key);
    bool returns = delayed && memcmp(judge->delays[wish.key].digest, session->digest, PROTO_DIGEST_BYTES) == 0;
    bool free_for_it = returns || (!delayed && !j_somebody_waits(judge, wish.key, NULL) &&
                                   j_admits(judge, wish.key, wish.mode, wish.permits, wish.limit));
    if (reply->status == PROTO_STATUS_OK) {
        if (!free_for_it) {
            return wrong(judge, "J2: %s was granted past the queue or a delay", judge->keys[wish.key]);
        }
        judge->delays[wish.key].until_ms = 0;
        return judge_grant(judge, &wish, reply);
    }
    if (free_for_it) {
        return wrong(judge, "J4: %s was refused (%s) to session %" PRIu64 ", mode %d, wait %" PRIu64
                     ", although nothing stood in the way%s", judge->keys[wish.key], proto_status_name(reply->status),
                     wish.session, wish.mode, acquire->wait_ms, returns ? ": its own delay" : "");
    }
    enum proto_status expected = acquire->wait_ms == 0 ? PROTO_STATUS_HELD : PROTO_STATUS_QUEUED;
    if (reply->status != expected) {
        return wrong(judge, "J4: status %s", proto_status_name(reply->status));
    }
    if (expected == PROTO_STATUS_QUEUED) {
        uint64_t deadline = acquire->wait_ms == PROTO_WAIT_FOREVER ? J_NEVER : judge->time_ms + acquire->wait_ms;
        judge->waiters[judge->waiters_count++] =
            (struct j_waiter){wish.key,  wish.session, command->request_id, deadline,
                              wish.ttl_ms, wish.mode,    wish.permits,        wish.limit};
    }
    return NULL;
}

/* ---- the other commands: what they take away at once, and the status they must answer ---- */

static struct j_grant *named_grant(struct judge *judge, const struct fsm_command *command, uint64_t token,
                                   struct proto_bytes key)
{
    struct j_grant *grant = j_grant(judge, token);
    if (!j_grant_alive(judge, grant) || grant->session != command->session_id || grant->key != j_key(judge, key)) {
        return NULL;
    }
    return grant;
}

static enum proto_status release_begin(struct judge *judge, const struct fsm_command *command)
{
    const struct proto_lock_release *release = &command->body.lock_release;
    struct j_grant *grant = named_grant(judge, command, release->token, release->key);
    if (grant == NULL) {
        return PROTO_STATUS_NOT_HELD;
    }
    if (grant->holds == 1 || release->all) {
        j_grant_remove(judge, grant);
    } else {
        grant->holds--;
    }
    return PROTO_STATUS_OK;
}

static enum proto_status extend_begin(struct judge *judge, const struct fsm_command *command)
{
    const struct proto_lock_extend *extend = &command->body.lock_extend;
    struct j_grant *grant = named_grant(judge, command, extend->token, extend->key);
    if (grant == NULL) {
        return PROTO_STATUS_NOT_HELD;
    }
    grant->own_deadline_ms = extend->ttl_ms == 0 ? J_NEVER : judge->time_ms + extend->ttl_ms;
    return PROTO_STATUS_OK;
}

static enum proto_status set_value_begin(struct judge *judge, const struct fsm_command *command)
{
    const struct proto_lock_set_value *set = &command->body.lock_set_value;
    return named_grant(judge, command, set->token, set->key) != NULL ? PROTO_STATUS_OK : PROTO_STATUS_NOT_HELD;
}

static enum proto_status force_release_begin(struct judge *judge, const struct fsm_command *command)
{
    const struct proto_force_release *force = &command->body.force_release;
    unsigned key = j_key(judge, force->key);
    enum proto_status status = PROTO_STATUS_NOT_FOUND;
    for (unsigned i = 0; i < judge->grants_count;) {
        struct j_grant *grant = &judge->grants[i];
        if (grant->key == key && (force->token == 0 || grant->token == force->token)) {
            j_grant_remove(judge, grant);
            status = PROTO_STATUS_OK;
        } else {
            i++;
        }
    }
    return status;
}

static enum proto_status kill_begin(struct judge *judge, uint64_t id)
{
    struct j_session *session = j_session(judge, id);
    if (!j_alive(judge, session)) {
        return PROTO_STATUS_NOT_FOUND;
    }
    j_session_end(judge, session, false);
    return PROTO_STATUS_OK;
}

static enum proto_status renew_begin(struct judge *judge, const struct fsm_command *command)
{
    struct j_session *session = j_session(judge, command->session_id);
    if (command->body.session_renew.ttl_ms != 0) {
        session->ttl_ms = command->body.session_renew.ttl_ms;
    }
    if (session->deadline_ms < judge->time_ms + session->ttl_ms) { /* a deadline never moves back */
        session->deadline_ms = judge->time_ms + session->ttl_ms;
    }
    return PROTO_STATUS_OK;
}

/* What must be answered to a command that the session rules let through; acquire and cancel are judged by what comes. */
static enum proto_status command_begin(struct judge *judge, const struct fsm_command *command)
{
    switch ((int)command->kind) {
    case PROTO_LOCK_RELEASE:
        return release_begin(judge, command);
    case PROTO_LOCK_EXTEND:
        return extend_begin(judge, command);
    case PROTO_LOCK_SET_VALUE:
        return set_value_begin(judge, command);
    case PROTO_FORCE_RELEASE:
        return force_release_begin(judge, command);
    case PROTO_SESSION_KILL:
        return kill_begin(judge, command->body.session_kill.session_id);
    case PROTO_SESSION_CLOSE:
        return kill_begin(judge, command->session_id);
    case PROTO_SESSION_RENEW:
        return renew_begin(judge, command);
    case PROTO_LOCK_CANCEL:
        return j_waiter(judge, command->session_id, command->body.lock_cancel.target_id) != NULL
                   ? PROTO_STATUS_OK
                   : PROTO_STATUS_NOT_FOUND;
    default:
        return PROTO_STATUS_OK;
    }
}

static const char *judge_open(struct judge *judge, const struct fsm_command *command, const struct proto_reply *reply)
{
    const struct proto_session_open *open = &command->body.session_open;
    struct j_session *session = j_session_by_digest(judge, command->digest);
    bool resumes = session != NULL && (open->resume_id == 0 || open->resume_id == session->id);
    if (open->resume_id != 0 && !resumes) {
        bool other = j_alive(judge, j_session(judge, open->resume_id));
        enum proto_status expected = other ? PROTO_STATUS_BAD_SECRET : PROTO_STATUS_SESSION_EXPIRED;
        return reply->status == expected ? NULL : wrong(judge, "J5: resume of a session that is not its own");
    }
    if (reply->status != PROTO_STATUS_OK || reply->body.session.resumed != resumes) {
        return wrong(judge, "J8: open says %s", proto_status_name(reply->status));
    }
    if (!resumes) {
        if (reply->body.session.session_id <= judge->last_session) {
            return wrong(judge, "J3: a session id was used again");
        }
        LOCKSTEP_ASSERT(judge->sessions_count < J_SESSIONS);
        session = &judge->sessions[judge->sessions_count++];
        bool made = j_answers_make(session);
        LOCKSTEP_ASSERT(made);
        session->id = judge->last_session = reply->body.session.session_id;
        memcpy(session->digest, command->digest, PROTO_DIGEST_BYTES);
        for (unsigned i = 8; i-- > 0;) {
            session->proof = session->proof << 8 | command->digest[i];
        }
    }
    session->ttl_ms = open->ttl_ms;
    session->delay_ms = open->lock_delay_ms;
    if (session->deadline_ms < judge->time_ms + open->ttl_ms) {
        session->deadline_ms = judge->time_ms + open->ttl_ms;
    }
    return reply->body.session.deadline.ms == session->deadline_ms ? NULL : wrong(judge, "J9: a session's deadline");
}

/* ---- what else happened ---- */

static const char *judge_wait_ended(struct judge *judge, const struct fsm_effect *effect,
                                    const struct fsm_command *command)
{
    struct j_waiter *waiter = j_waiter(judge, effect->session_id, effect->request_id);
    if (waiter == NULL) {
        return wrong(judge, "J1: a wait ended that nobody waited");
    }
    const struct proto_reply *reply = &effect->reply;
    struct j_session *session = j_session(judge, waiter->session);
    bool cancelled = command != NULL && command->kind == PROTO_LOCK_CANCEL &&
                     command->body.lock_cancel.target_id == waiter->id && command->session_id == waiter->session;
    bool fits = reply->status == PROTO_STATUS_OK ||
                (reply->status == PROTO_STATUS_TIMED_OUT && waiter->deadline_ms <= judge->time_ms) ||
                (reply->status == PROTO_STATUS_SESSION_EXPIRED && !j_alive(judge, session)) ||
                (reply->status == PROTO_STATUS_CANCELLED && cancelled);
    if (!fits) {
        return wrong(judge, "J7: a wait ended as %s without reason", proto_status_name(reply->status));
    }
    if (reply->status == PROTO_STATUS_OK &&
        (waiter->deadline_ms <= judge->time_ms || j_delayed(judge, waiter->key) ||
         j_somebody_waits(judge, waiter->key, waiter))) {
        return wrong(judge, "J2: a waiter on %s was granted out of turn", judge->keys[waiter->key]);
    }
    j_remember(session, waiter->id, PROTO_LOCK_ACQUIRE, false, reply);
    struct j_waiter was = *waiter;
    j_waiter_remove(judge, waiter);
    struct wish wish = {was.key, was.session, was.ttl_ms, was.mode, was.permits, was.limit};
    return reply->status == PROTO_STATUS_OK ? judge_grant(judge, &wish, reply) : NULL;
}

/* ---- answers ---- */

static bool replies_equal(const struct proto_reply *left, const struct proto_reply *right)
{
    if (left->status != right->status || left->kind != right->kind || left->time.ms != right->time.ms) {
        return false;
    }
    if (left->status != PROTO_STATUS_OK || (left->kind != PROTO_LOCK_ACQUIRE && left->kind != PROTO_LOCK_EXTEND)) {
        return true;
    }
    return left->body.grant.token == right->body.grant.token && left->body.grant.fence == right->body.grant.fence &&
           left->body.grant.deadline.ms == right->body.grant.deadline.ms &&
           left->body.grant.holds == right->body.grant.holds;
}

/* What the session rules say before the command is looked at; OK: it goes on. `ret_known`: answered before. */
static enum proto_status session_rules(struct judge *judge, const struct fsm_command *command,
                                       struct j_answer **ret_known)
{
    struct j_session *session = j_session(judge, command->session_id);
    *ret_known = NULL;
    if (!j_alive(judge, session)) {
        return PROTO_STATUS_SESSION_EXPIRED;
    }
    if (command->proof != session->proof) {
        return PROTO_STATUS_BAD_SECRET;
    }
    if (command->request_id <= session->floor) {
        return PROTO_STATUS_STALE_REQUEST;
    }
    *ret_known = j_answer(session, command->request_id);
    if (*ret_known != NULL && (*ret_known)->kind != (int)command->kind) {
        return PROTO_STATUS_REQUEST_REUSED;
    }
    return PROTO_STATUS_OK;
}

static const char *judge_known(struct judge *judge, const struct j_answer *known, const struct proto_reply *reply)
{
    bool same = known->waiting ? reply->status == PROTO_STATUS_QUEUED : replies_equal(&known->reply, reply);
    return same ? NULL : wrong(judge, "J8: request %" PRIu64 " was answered differently the second time", known->id);
}

static const char *judge_answer(struct judge *judge, const struct fsm_command *command, enum proto_status expected,
                                const struct proto_reply *reply)
{
    if (command->kind == PROTO_LOCK_ACQUIRE) {
        return judge_acquire(judge, command, reply);
    }
    if (command->kind == PROTO_SESSION_OPEN) {
        return judge_open(judge, command, reply);
    }
    if (reply->status != expected) {
        return wrong(judge, "J5: %s answered %s instead of %s", proto_operation_find((uint64_t)command->kind)->name,
                     proto_status_name(reply->status), proto_status_name(expected));
    }
    if (command->kind == PROTO_LOCK_EXTEND && expected == PROTO_STATUS_OK) {
        struct j_grant *grant = j_grant(judge, command->body.lock_extend.token);
        if (reply->body.grant.deadline.ms != j_grant_deadline(judge, grant)) {
            return wrong(judge, "J9: an extended grant's deadline");
        }
    }
    return NULL;
}

/* The effects of one command, from `*at` on, up to and including its answer. */
static const char *judge_command(struct judge *judge, const struct fsm_command *command, uint32_t index,
                                 const struct fsm_effects *effects, size_t *at)
{
    bool in_session = proto_operation_find((uint64_t)command->kind)->sent_by == PROTO_SESSION;
    struct j_answer *known = NULL;
    enum proto_status rule = in_session ? session_rules(judge, command, &known) : PROTO_STATUS_OK;
    bool executes = rule == PROTO_STATUS_OK && known == NULL;
    memset(judge->fences_left, 0, sizeof judge->fences_left);
    enum proto_status expected = executes ? command_begin(judge, command) : rule;
    struct j_session *session = in_session ? j_session(judge, command->session_id) : NULL;
    if (executes && in_session) {
        uint64_t floor = command->ack_floor < command->request_id ? command->ack_floor : command->request_id - 1;
        session->floor = floor > session->floor ? floor : session->floor;
    }
    for (; *at < effects->count; (*at)++) {
        const struct fsm_effect *effect = &effects->list[*at];
        if (effect->kind == FSM_WAIT_ENDED) {
            const char *bad = judge_wait_ended(judge, effect, command);
            if (bad != NULL) {
                return bad;
            }
        }
        if (effect->kind == FSM_REPLY || effect->kind == FSM_QUEUED) {
            break;
        }
    }
    if (*at == effects->count || effects->list[*at].command_index != index) {
        return wrong(judge, "J1: command %" PRIu32 " has no answer", index);
    }
    const struct fsm_effect *effect = &effects->list[(*at)++];
    struct proto_reply reply = {.kind = command->kind, .status = PROTO_STATUS_QUEUED};
    if (effect->kind == FSM_REPLY) {
        reply = effect->reply;
    }
    if (known != NULL && rule == PROTO_STATUS_OK) {
        return judge_known(judge, known, &reply);
    }
    if (rule != PROTO_STATUS_OK) {
        return reply.status == rule ? NULL : wrong(judge, "J8: %s expected", proto_status_name(rule));
    }
    const char *bad = judge_answer(judge, command, expected, &reply);
    if (bad == NULL && in_session) {
        j_remember(session, command->request_id, (int)command->kind, effect->kind == FSM_QUEUED, &reply);
    }
    return bad;
}

/* ---- time ---- */

/* A grant ends at the earlier of its own deadline and its session's: only in the second case can there be a delay. */
static void expire(struct judge *judge)
{
    for (unsigned i = 0; i < judge->grants_count;) {
        uint64_t own = judge->grants[i].own_deadline_ms;
        if (own <= judge->time_ms && own < j_session(judge, judge->grants[i].session)->deadline_ms) {
            j_grant_remove(judge, &judge->grants[i]);
        } else {
            i++;
        }
    }
    for (unsigned i = 0; i < judge->sessions_count; i++) {
        if (!judge->sessions[i].ended && judge->sessions[i].deadline_ms <= judge->time_ms) {
            j_session_end(judge, &judge->sessions[i], true);
        }
    }
}

/* J6, J7 once the entry is over. */
static const char *judge_rest(struct judge *judge)
{
    for (unsigned i = 0; i < judge->waiters_count; i++) {
        const struct j_waiter *waiter = &judge->waiters[i];
        if (waiter->deadline_ms <= judge->time_ms || !j_alive(judge, j_session(judge, waiter->session))) {
            return wrong(judge, "J7: a wait on %s should have ended", judge->keys[waiter->key]);
        }
        if (!j_somebody_waits(judge, waiter->key, waiter) && !j_delayed(judge, waiter->key) &&
            j_admits(judge, waiter->key, waiter->mode, waiter->permits, waiter->limit)) {
            return wrong(judge, "J6: the front of %s's queue waits for nothing", judge->keys[waiter->key]);
        }
    }
    return NULL;
}

const char *judge_entry(struct judge *judge, struct cluster_time time, const struct fsm_command *commands,
                        uint32_t count, const struct fsm_effects *effects)
{
    size_t at = 0;
    const char *bad = NULL;
    judge->time_ms = time.ms > judge->time_ms ? time.ms : judge->time_ms;
    memset(judge->fences_left, 0, sizeof judge->fences_left);
    expire(judge);
    for (uint32_t i = 0; i < count && bad == NULL; i++) {
        bad = judge_command(judge, &commands[i], i, effects, &at);
    }
    for (; at < effects->count && bad == NULL; at++) {
        const struct fsm_effect *effect = &effects->list[at];
        if (effect->kind == FSM_REPLY || effect->kind == FSM_QUEUED) {
            return wrong(judge, "J1: an answer without a command");
        }
        if (effect->kind == FSM_WAIT_ENDED) {
            bad = judge_wait_ended(judge, effect, NULL);
        }
    }
    return bad != NULL ? bad : judge_rest(judge);
}
