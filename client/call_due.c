/* Owns the end of waiting: when a call's caller is told although no answer has come, what he is told, and what then becomes
 * of the request.
 *
 *  E1  UNKNOWN is said only of a request that may have been executed: it is out, or an earlier sending of it was.
 *  E2  What the session was asked for and may have been executed is asked again in the background until it is answered: a
 *      late copy of it then meets its own id, and never comes after what its caller asked for next. Nor does it itself: what
 *      changes the same grant is not sent before it is answered, but for a release, which leaves it nothing to change.
 *  E3  An acquire whose caller has gone is cancelled, and released if it was granted. */
#include <stdio.h>

#include "client/state.h"
#include "protocol/assert.h"

/* When the caller has waited enough. A wait ends too when no leader could be reached for a request's timeout, or when a limit
 * has kept it out of the queue for so long; one that may be queued (by an earlier sending) goes on. */
static struct boot_time due_of(const struct lsc_core *core, const struct lsc_call *call)
{
    bool waits = call->request.kind == PROTO_LOCK_ACQUIRE && call->done != NULL;
    struct boot_time due = call->due;
    if (waits && call->limited_since.ms != UINT64_MAX && call->place != CALL_SENT && !call->ambiguous) {
        due = boot_earlier(due, boot_after(call->limited_since, core->config.request_timeout_ms));
    }
    if (waits && core->route.lost_at.ms != UINT64_MAX) {
        uint64_t since_ms = core->route.lost_at.ms > call->begun.ms ? core->route.lost_at.ms : call->begun.ms;
        due = boot_earlier(due, boot_after((struct boot_time){since_ms}, core->config.request_timeout_ms));
    }
    return due;
}

void lsc_call_limited(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    call->limited_since = boot_earlier(call->limited_since, now);
    core->calls_due = boot_earlier(core->calls_due, due_of(core, call));
}

/* Why a call that was never sent, or always refused, has not succeeded. */
static int reason_of(const struct lsc_core *core, const struct lsc_call *call, char *detail, size_t size)
{
    const struct route *route = &core->route;
    if (call->refusal != LOCKSTEP_OK) {
        (void)snprintf(detail, size, "a limit of the node or of the session was reached for %llu ms",
                       (unsigned long long)core->config.request_timeout_ms);
        return call->refusal;
    }
    if (call->in_session && core->session.failure != LOCKSTEP_OK) {
        (void)snprintf(detail, size, "no session could be opened: %.400s", core->session.failure_text);
        return core->session.failure;
    }
    if (lsc_call_is_behind(call)) {
        (void)snprintf(detail, size, "an earlier request for this lock has not been answered either");
        return LOCKSTEP_UNREACHABLE;
    }
    (void)snprintf(detail, size, "no %s within %llu ms; last attempt: %.400s",
                   lsc_call_any_node(call) ? "answer" : "leader was reached",
                   (unsigned long long)core->config.request_timeout_ms,
                   route->failure_text[0] == '\0' ? "still under way" : route->failure_text);
    return route->failure;
}

/* E1, for who waits for the session itself. Looking up an adopted one has no effect. */
static bool may_have_opened(const struct lsc_core *core, const struct lsc_call *call)
{
    const struct lsc_call *opener = core->session.opener;
    bool is_out = opener != NULL && (opener->place == CALL_SENT || opener->ambiguous);
    return call->waits_for_session && !core->session.adopted && (is_out || core->session.unheard);
}

/* E2 */
static void give_up(struct lsc_call *call)
{
    bool changes_grant = call->request.kind == PROTO_LOCK_EXTEND || call->request.kind == PROTO_LOCK_SET_VALUE;
    if (changes_grant && !call->given_up) {
        call->given_up = true;
        call->grant->given_up++;
    }
}

static void time_out(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    char detail[DETAIL_BYTES] = "";
    bool changes = proto_operation_find(call->request.kind) == NULL ||
                   proto_operation_find(call->request.kind)->served_by == PROTO_LOG ||
                   call->request.kind == PROTO_CLUSTER_TRANSFER;
    bool maybe = changes && !call->waits_for_session && (call->ambiguous || call->place == CALL_SENT);
    bool unknown = maybe || may_have_opened(core, call);
    int result = unknown ? LOCKSTEP_UNKNOWN : reason_of(core, call, detail, sizeof(detail));
    struct lsc_outcome outcome = {.result = result, .detail = detail};
    bool background = call->request.kind == PROTO_LOCK_RELEASE || (maybe && call->in_session);
    if (maybe && call->request.kind == PROTO_LOCK_ACQUIRE) {
        lsc_call_tell(core, call, &outcome);
        lsc_acquire_abandon(core, now, call);
    } else if (background || call->place == CALL_SENT) {
        give_up(call);
        lsc_call_tell(core, call, &outcome); /* goes on, or waits for an answer that nobody reads */
    } else {
        lsc_call_end(core, call, &outcome);
    }
}

void lsc_calls_expire(struct lsc_core *core, struct boot_time now)
{
    if (!boot_reached(now, core->calls_due)) {
        return;
    }
    for (unsigned place = 0; place < CALL_PLACES; place++) {
        struct lsc_call *next = NULL;
        for (struct lsc_call *call = core->lists[place].first; call != NULL; call = next) {
            next = call->next;
            if (boot_reached(now, due_of(core, call))) {
                time_out(core, now, call);
            } else if (place == CALL_DELAYED && boot_reached(now, call->retry_at)) {
                lsc_call_again(core, call);
            }
        }
    }
    core->calls_due = BOOT_NEVER;
    for (unsigned place = 0; place < CALL_PLACES; place++) {
        for (const struct lsc_call *call = core->lists[place].first; call != NULL; call = call->next) {
            struct boot_time due = due_of(core, call);
            due = place == CALL_DELAYED ? boot_earlier(due, call->retry_at) : due;
            core->calls_due = boot_earlier(core->calls_due, due);
        }
    }
}

/* ---- acquires whose caller has gone ---- */

void lsc_acquire_abandon(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    LOCKSTEP_ASSERT(call->done == NULL);
    if (call->place != CALL_SENT && !call->ambiguous) {
        lsc_call_fail(core, call, LOCKSTEP_CANCELLED, "");
        return;
    }
    call->abandoned = true;
    call->due = BOOT_NEVER;
    struct proto_request request = {.kind = PROTO_LOCK_CANCEL,
                                    .body.lock_cancel = {.target_id = call->request.id}};
    struct lsc_call *cancel = lsc_call_create(core, now, &request);
    if (cancel == NULL) {
        return; /* then the wait ends by its own time, and a grant is given back all the same */
    }
    cancel->due = BOOT_NEVER;
    lsc_call_begin(core, cancel, false);
}

void lsc_acquire_cancel(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    struct lsc_outcome outcome = {.result = LOCKSTEP_CANCELLED, .detail = ""};
    lsc_call_tell(core, call, &outcome);
    lsc_acquire_abandon(core, now, call);
    lsc_settle(core, now);
}
