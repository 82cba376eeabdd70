/* Do the grants that are counted on still live?
 *
 * That a grant was taken away by an administrator is told by an event, once, to the connection on which the session was last
 * heard. One that broke at that moment takes the news with it; and if other processes use the session too (a handle was
 * given out or taken up), the connection may be one of theirs, or one of them may have released the lock, which is no
 * news. The session, renewed all the while, would go on as if nothing had been. So when it has been taken up on another
 * connection, and after each renewal if it is shared, the state is asked: lock by lock if they are few, else first for the
 * number of the session's grants, which is too small if one is missing. A grant that is not known by then, because the answer
 * to its acquire was lost too, is asked for when it comes: what is remembered of an acquire does not say what became of it.
 *
 * The reads are linearizable and begin after the grant was known: a token that is not there has ended. */
#include <string.h>

#include "client/state.h"

enum { VERIFY_EACH_MAX = 16 };

static bool is_counted_on(const struct lsc_core *core, const struct lsc_grant *grant)
{
    if (grant->state != GRANT_HELD || grant->session_id != core->session.id) {
        return false;
    }
    for (const struct lsc_hold *hold = grant->first_hold; hold != NULL; hold = hold->next) {
        if (!hold->released && !hold->told) {
            return true;
        }
    }
    return false;
}

static uint64_t count(const struct lsc_core *core)
{
    uint64_t counted = 0;
    for (const struct lsc_grant *grant = core->grants; grant != NULL; grant = grant->next) {
        counted += is_counted_on(core, grant);
    }
    return counted;
}

static struct lsc_call *begin(struct lsc_core *core, struct boot_time now, const struct proto_request *request)
{
    struct lsc_call *call = lsc_call_create(core, now, request);
    if (call != NULL) { /* else it is asked the next time */
        call->verifies = true;
        call->due = BOOT_NEVER;
        lsc_call_begin(core, call, false);
    }
    return call;
}

void lsc_verify_grant(struct lsc_core *core, struct boot_time now, struct lsc_grant *grant)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET,
                                    .body.lock_get.key = {(const uint8_t *)grant->key, (uint32_t)strlen(grant->key)}};
    struct lsc_call *call = is_counted_on(core, grant) ? begin(core, now, &request) : NULL;
    if (call != NULL) {
        call->grant = grant;
        grant->references++;
    }
}

static void ask_for_each(struct lsc_core *core, struct boot_time now)
{
    for (struct lsc_grant *grant = core->grants; grant != NULL; grant = grant->next) {
        lsc_verify_grant(core, now, grant);
    }
}

void lsc_verify(struct lsc_core *core, struct boot_time now)
{
    uint64_t counted = core->closing ? 0 : count(core);
    if (counted > VERIFY_EACH_MAX) {
        struct proto_request request = {.kind = PROTO_SESSION_GET,
                                        .body.session_get = {.session_id = core->session.id}};
        (void)begin(core, now, &request);
    } else if (counted > 0) {
        ask_for_each(core, now);
    }
}

/* Those that the cluster should have: what is being given back has not left it before its release is answered. */
static uint64_t count_known(const struct lsc_core *core)
{
    uint64_t known = 0;
    for (const struct lsc_grant *grant = core->grants; grant != NULL; grant = grant->next) {
        known += grant->state != GRANT_ENDED && grant->session_id == core->session.id;
    }
    return known;
}

void lsc_verify_count(struct lsc_core *core, struct boot_time now, const struct proto_session_row *row)
{
    if (row->session_id == core->session.id && row->grants_count < count_known(core)) {
        ask_for_each(core, now);
    }
}

void lsc_verify_lock(struct lsc_core *core, struct lsc_grant *grant, const struct proto_lock_reply *lock)
{
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        if (lock->holders[i].token == grant->token) {
            return;
        }
    }
    if (lock->holders_shown == lock->holders_count) { /* else it may be among those that are not shown */
        lsc_grant_lose(core, grant, GRANT_ENDED, LOCKSTEP_LOST_ENDED, "");
    }
}
