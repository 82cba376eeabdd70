/* What can be done with a lock, as requests: acquire, extend, set the value, release. Owns no state. */
#include <string.h>

#include "client/state.h"

struct lsc_call *lsc_acquire(struct lsc_core *core, struct boot_time now, const struct proto_lock_acquire *body,
                             void *hold_user, void *user, lsc_done_cb done)
{
    struct proto_request request = {.kind = PROTO_LOCK_ACQUIRE, .body.lock_acquire = *body};
    struct lsc_call *call = lsc_call_create(core, now, &request);
    if (call != NULL) {
        call->hold_user = hold_user;
        call->due = body->wait_ms == PROTO_WAIT_FOREVER ? BOOT_NEVER : boot_after(call->due, body->wait_ms);
    }
    return lsc_call_start(core, now, call, user, done);
}

/* Why nothing needs to be asked about this hold's grant: it is known to have ended. LOCKSTEP_OK: it is not. */
static int known_end(const struct lsc_core *core, const struct lsc_hold *hold)
{
    const struct lsc_grant *grant = hold->grant;
    if (grant->session_id != core->session.id || core->session.state == SESSION_NONE ||
        core->session.state == SESSION_ENDED) {
        return core->session.adopted && core->session.state == SESSION_NONE ? LOCKSTEP_OK : LOCKSTEP_SESSION_LOST;
    }
    return grant->state == GRANT_ENDED ? LOCKSTEP_NOT_HELD : LOCKSTEP_OK;
}

static struct lsc_call *start_on(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold,
                                 const struct proto_request *request, void *user, lsc_done_cb done)
{
    struct lsc_call *call = lsc_call_create(core, now, request);
    if (call != NULL) {
        call->grant = hold->grant;
        call->grant->references++;
    }
    return lsc_call_start(core, now, call, user, done);
}

static struct lsc_call *answer_at_once(int result, void *user, lsc_done_cb done)
{
    struct lsc_outcome outcome = {.result = result, .detail = ""};
    done(user, &outcome);
    return NULL;
}

static struct proto_bytes key_of(const struct lsc_grant *grant)
{
    return (struct proto_bytes){(const uint8_t *)grant->key, (uint32_t)strlen(grant->key)};
}

struct lsc_call *lsc_extend(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold, uint64_t ttl_ms, void *user,
                            lsc_done_cb done)
{
    int ended = hold->released || hold->told ? LOCKSTEP_NOT_HELD : known_end(core, hold);
    if (ended != LOCKSTEP_OK) {
        return answer_at_once(ended, user, done);
    }
    struct proto_request request = {
        .kind = PROTO_LOCK_EXTEND,
        .body.lock_extend = {.key = key_of(hold->grant), .token = hold->grant->token, .ttl_ms = ttl_ms},
    };
    return start_on(core, now, hold, &request, user, done);
}

struct lsc_call *lsc_set_value(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold,
                               struct proto_bytes value, void *user, lsc_done_cb done)
{
    int ended = hold->released || hold->told ? LOCKSTEP_NOT_HELD : known_end(core, hold);
    if (ended != LOCKSTEP_OK) {
        return answer_at_once(ended, user, done);
    }
    struct proto_request request = {
        .kind = PROTO_LOCK_SET_VALUE,
        .body.lock_set_value = {.key = key_of(hold->grant), .token = hold->grant->token, .value = value},
    };
    return start_on(core, now, hold, &request, user, done);
}

static struct proto_request release_of(const struct lsc_grant *grant)
{
    return (struct proto_request){
        .kind = PROTO_LOCK_RELEASE,
        .body.lock_release = {.key = key_of(grant), .token = grant->token},
    };
}

struct lsc_call *lsc_release(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold, void *user,
                             lsc_done_cb done)
{
    int ended = known_end(core, hold);
    bool was_held = lsc_hold_let_go(core, hold);
    if (!was_held || ended != LOCKSTEP_OK) {
        return answer_at_once(was_held ? ended : LOCKSTEP_NOT_HELD, user, done);
    }
    struct proto_request request = release_of(hold->grant);
    return start_on(core, now, hold, &request, user, done);
}

static void begin_release(struct lsc_core *core, struct boot_time now, const struct proto_request *request,
                          struct lsc_grant *grant)
{
    struct lsc_call *call = lsc_call_create(core, now, request);
    if (call == NULL) {
        return; /* it stays until the session ends: there is no memory to say more */
    }
    if (grant != NULL) {
        call->grant = grant;
        grant->references++;
    }
    call->due = BOOT_NEVER;
    lsc_call_begin(core, call, false);
}

void lsc_release_later(struct lsc_core *core, struct boot_time now, struct lsc_grant *grant)
{
    struct proto_request request = release_of(grant);
    begin_release(core, now, &request, grant);
}

void lsc_release_unknown(struct lsc_core *core, struct boot_time now, const struct proto_lock_release *body)
{
    struct proto_request request = {.kind = PROTO_LOCK_RELEASE, .body.lock_release = *body};
    begin_release(core, now, &request, NULL);
}
