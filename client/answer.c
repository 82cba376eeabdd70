/* What an answer changes: finds the call, lets the parts learn from it, and decides whether the call ends or is asked again.
 * The second of these is the table's in protocol/status.h (its column "client"). */
#include <stdio.h>

#include "client/state.h"
#include "protocol/assert.h"

enum { RETRY_MS = 50 }; /* if the node names no time to come back */

/* A detail as a sentence of our own: terminated, without control characters whatever the node sent. */
static const char *copy_text(struct proto_bytes text, char *buffer, size_t size)
{
    size_t length = text.size < size - 1 ? text.size : size - 1;
    for (size_t i = 0; i < length; i++) {
        buffer[i] = text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : (char)text.data[i];
    }
    buffer[length] = '\0';
    return buffer;
}

static const char *detail_of(const struct proto_reply *reply, char *buffer, size_t size)
{
    char text[DETAIL_BYTES];
    switch (reply->status) {
    case PROTO_STATUS_OK:
    case PROTO_STATUS_STALE_FENCE:
        return "";
    case PROTO_STATUS_HELD:
        (void)snprintf(buffer, size, "held by \"%.128s\", session %llu",
                       copy_text(reply->body.holder.owner, text, sizeof(text)),
                       (unsigned long long)reply->body.holder.session_id);
        return buffer;
    default:
        return copy_text(reply->body.refusal.detail, buffer, size);
    }
}

/* ---- asked again ---- */

static void on_not_leading(struct lsc_core *core, struct boot_time now, struct lsc_call *call,
                           const struct proto_reply *reply)
{
    bool again = reply->status != PROTO_STATUS_UNAVAILABLE || lsc_call_ambiguous(core, call);
    if (again) {
        lsc_call_again(core, call);
    }
    lsc_route_moved(core, now, reply->body.refusal.leader_id, reply->body.refusal.leader_address);
}

static void on_limit(struct lsc_core *core, struct boot_time now, struct lsc_call *call, const struct proto_reply *reply)
{
    char buffer[DETAIL_BYTES];
    call->refusal = LOCKSTEP_LIMIT;
    lsc_call_limited(core, now, call);
    if (call == core->session.opener && core->session.state == SESSION_OPENING) {
        core->session.failure = LOCKSTEP_LIMIT;
        (void)snprintf(core->session.failure_text, sizeof(core->session.failure_text), "%s",
                       detail_of(reply, buffer, sizeof(buffer)));
    }
    uint64_t wait_ms = reply->body.refusal.retry_after_ms;
    lsc_call_delay(core, now, call, wait_ms == 0 ? RETRY_MS : wait_ms);
}

/* ---- answered ---- */

static void on_granted(struct lsc_core *core, struct boot_time now, struct lsc_call *call, struct lsc_outcome *outcome)
{
    struct lsc_hold *hold = lsc_grant_received(core, call, outcome->reply);
    if (hold == NULL) {
        struct proto_lock_release body = {.key = call->request.body.lock_acquire.key,
                                          .token = outcome->reply->body.grant.token};
        lsc_release_unknown(core, now, &body);
        outcome->result = LOCKSTEP_NO_MEMORY;
    } else if (call->done == NULL) {
        lsc_hold_drop(core, now, hold); /* its caller has gone (call_due.c, E3) */
    } else {
        outcome->hold = hold;
        if (call->ambiguous) {
            lsc_verify_grant(core, now, hold->grant); /* granted perhaps long ago, and taken away since */
        }
    }
}

/* A final answer of a call in the session: what is now known of session and grants. */
static void learn(struct lsc_core *core, struct boot_time now, struct lsc_call *call, struct lsc_outcome *outcome)
{
    const struct proto_reply *reply = outcome->reply;
    bool ok = reply->status == PROTO_STATUS_OK;
    switch (call->request.kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        if (ok) {
            lsc_session_granted(core, call, reply);
            if (core->session.shared || (call == core->session.opener && core->session.resuming)) {
                lsc_verify(core, now);
            }
        }
        break;
    case PROTO_SESSION_GET:
        if (ok && call == core->session.opener) {
            lsc_session_described(core, reply);
        } else if (ok && call->verifies) {
            lsc_verify_count(core, now, &reply->body.session_list.rows[0]);
        }
        break;
    case PROTO_LOCK_GET:
        if (ok && call->verifies) {
            lsc_verify_lock(core, call->grant, &reply->body.lock);
        }
        break;
    case PROTO_LOCK_ACQUIRE:
        if (ok) {
            on_granted(core, now, call, outcome);
        }
        break;
    case PROTO_LOCK_EXTEND:
        if (ok) {
            lsc_grant_extended(core, call, reply);
        }
        break;
    case PROTO_LOCK_RELEASE:
        if (ok && reply->body.release.holds == 0 && call->grant != NULL) {
            lsc_grant_lose(core, call->grant, GRANT_ENDED, LOCKSTEP_LOST_ENDED, "");
        }
        break;
    default:
        break;
    }
    if (reply->status == PROTO_STATUS_NOT_HELD && call->grant != NULL) {
        lsc_grant_lose(core, call->grant, GRANT_ENDED, LOCKSTEP_LOST_ENDED, "");
    }
}

static void on_final(struct lsc_core *core, struct boot_time now, struct lsc_call *call, const struct proto_reply *reply)
{
    char buffer[DETAIL_BYTES];
    struct lsc_outcome outcome = {
        .result = result_of_status(reply->status),
        .detail = detail_of(reply, buffer, sizeof(buffer)),
        .reply = reply,
    };
    bool own = call == core->session.opener || call == core->session.renewal;
    bool refused = own && reply->status != PROTO_STATUS_OK;
    bool closed = core->closing && call->request.kind == PROTO_SESSION_CLOSE;
    bool opened = core->closing && call->request.kind == PROTO_SESSION_OPEN && reply->status == PROTO_STATUS_OK;
    learn(core, now, call, &outcome);
    if (refused) {
        lsc_session_refused(core, now, outcome.result, outcome.detail);
    }
    lsc_call_end(core, call, &outcome);
    if (outcome.hold != NULL) {
        lsc_hold_given(core, outcome.hold); /* not before: who hears that it is lost may free it (K4) */
    }
    if (closed && !core->closed) {
        lsc_closed(core, outcome.result);
    } else if (opened && !core->closed) {
        lsc_session_close(core, now); /* it had been asked for before the client was closed */
    }
}

/* The reply says that a session has ended. If it is ours, everything of it ends, this call too. */
static void on_expired(struct lsc_core *core, struct boot_time now, struct lsc_call *call, const struct proto_reply *reply)
{
    bool ours = call->in_session || call == core->session.opener;
    if (ours && (core->session.state == SESSION_OPEN || core->session.adopted)) {
        /* Not under way any more: unless it was sent before, it was not executed. */
        lsc_call_again(core, call);
        lsc_session_lose(core, now, LOCKSTEP_LOST_ENDED, "");
    } else {
        on_final(core, now, call, reply);
    }
}

/* The answer to what the core asked of its session by itself: there is none, or its number is another's by now (of a cluster that was
 * set up anew under the old name). An adopted one may have a wrong secret, and live. */
static bool says_gone(const struct lsc_core *core, const struct lsc_call *call, enum proto_status status)
{
    const struct session *session = &core->session;
    bool anothers = status == PROTO_STATUS_BAD_SECRET && session->state == SESSION_OPEN && !session->adopted &&
                    (call == session->opener || call == session->renewal);
    return anothers || (status == PROTO_STATUS_NOT_FOUND && call == session->opener);
}

/* ---- replies ---- */

/* Fields that nobody checked yet and that would do harm. */
static bool makes_sense(const struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    if (reply->status != PROTO_STATUS_OK) {
        return true;
    }
    switch (reply->kind) {
    case PROTO_SESSION_OPEN: {
        uint64_t wanted = call->request.body.session_open.resume_id;
        uint64_t got = reply->body.session.session_id;
        return got != 0 && (wanted == 0 || wanted == got);
    }
    case PROTO_SESSION_RENEW:
        return reply->body.session.session_id == core->session.id;
    case PROTO_SESSION_GET:
        return reply->body.session_list.count == 1;
    case PROTO_LOCK_ACQUIRE:
        return reply->body.grant.token != 0 && reply->body.grant.holds != 0;
    case PROTO_LOCK_EXTEND:
        return reply->body.grant.token == call->request.body.lock_extend.token && reply->body.grant.holds != 0;
    default:
        return true;
    }
}

/* A node that does not know an operation, or can not read its fields, may name no kind. */
static bool fits(const struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    bool nameless = reply->status == PROTO_STATUS_UNSUPPORTED || reply->status == PROTO_STATUS_MALFORMED;
    bool same = call->request.kind == reply->kind || (reply->kind == 0 && nameless);
    return same && makes_sense(core, call, reply);
}

static bool is_from_leader(const struct lsc_call *call, enum proto_status status)
{
    const struct proto_status_row *row = proto_status_find(status);
    return !lsc_call_any_node(call) && row != NULL && row->next != PROTO_NEXT_ASKS_NEXT_LEADER &&
           status != PROTO_STATUS_OVERLOADED;
}

static void sample(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    const struct proto_operation *operation = proto_operation_find(reply->kind);
    if (reply->status == PROTO_STATUS_OK && operation != NULL && operation->served_by == PROTO_LOG) {
        lease_clock_sample(&core->clock, call->sent_at, reply->time);
    }
}

static void on_reply(struct lsc_core *core, struct boot_time now, const struct proto_reply *reply)
{
    if (reply->kind == PROTO_PING) {
        if (core->route.leads) {
            lsc_route_served(core); /* who only waits in its queue has no other sign of it */
        }
        return;
    }
    struct lsc_call *call = lsc_call_find_sent(core, reply->id);
    if (call == NULL) {
        return; /* of a call that has ended without it */
    }
    if (!fits(core, call, reply)) {
        lsc_route_broken(core, now, "its reply does not fit the request");
        return;
    }
    const struct proto_status_row *row = proto_status_find(reply->status);
    LOCKSTEP_ASSERT(row != NULL); /* the decoder knows no others */
    if (is_from_leader(call, reply->status)) {
        lsc_route_served(core);
    }
    sample(core, call, reply);
    if (reply->status == PROTO_STATUS_QUEUED && reply->kind == PROTO_LOCK_ACQUIRE) {
        call->limited_since = BOOT_NEVER;
        return; /* it waits; the answer is still to come */
    }
    switch (row->next) {
    case PROTO_NEXT_ASKS_NEXT_LEADER:
        on_not_leading(core, now, call, reply);
        break;
    case PROTO_NEXT_WAITS_THEN_RETRIES:
        on_limit(core, now, call, reply);
        break;
    case PROTO_NEXT_REOPENS:
        on_expired(core, now, call, reply);
        break;
    case PROTO_NEXT_RETURNS:
        if (says_gone(core, call, reply->status)) {
            lsc_session_lose(core, now, LOCKSTEP_LOST_ENDED, "");
        } else {
            on_final(core, now, call, reply);
        }
        break;
    }
}

/* ---- events ---- */

static void on_event(struct lsc_core *core, struct boot_time now, const struct proto_event *event)
{
    char buffer[DETAIL_BYTES];
    bool ours = event->session_id != 0 && event->session_id == lsc_session_id(core);
    const char *detail = copy_text(event->detail, buffer, sizeof(buffer));
    switch (event->kind) {
    case PROTO_EVENT_GRANT_LOST: {
        struct lsc_grant *grant = ours ? lsc_grant_find(core, event->token) : NULL;
        if (grant != NULL) {
            lsc_grant_lose(core, grant, GRANT_ENDED, lost_reason_of(event->reason), detail);
        }
        break;
    }
    case PROTO_EVENT_SESSION_ENDED:
        if (ours && !core->closing) {
            lsc_session_lose(core, now, lost_reason_of(event->reason), detail);
        }
        break;
    case PROTO_EVENT_LEADER_MOVED:
        lsc_route_told(core, now, event->leader_id, event->leader_address);
        break;
    }
}

void lsc_answer(struct lsc_core *core, struct boot_time now, struct proto_bytes body)
{
    struct proto_incoming incoming;
    struct proto_error error;
    core->answers_count++;
    if (!proto_decode_incoming(body, core->rows, &incoming, &error)) {
        lsc_route_broken(core, now, "its message can not be read: %s", error.detail);
    } else if (incoming.is_event) {
        on_event(core, now, &incoming.event);
    } else {
        on_reply(core, now, &incoming.reply);
    }
}
