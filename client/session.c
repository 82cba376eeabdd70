/* Owns the session: opening it, taking it up on each new connection, renewing it, and what its end means.
 *
 *   none --> opening --> open --+--> none     own session: the next operation opens another, with the same secret
 *    ^          |               +--> ended    adopted one, for good
 *    +----------+ connection lost, refused
 *
 *  S1  The session is renewed a third of its TTL (less a hundredth of that at most) after the last renewal that was answered was
 *      sent. One renewal is under way at a time. Taking the session up on a new connection is one.
 *  S2  What counts is the deadline of the reply with the greatest cluster time: later entries overrule earlier ones, in
 *      whatever order their replies come. Of two with the same time the earlier deadline counts,
 *      unless one was asked for after the other's reply was heard.
 *  S3  A renewal under way takes no certain time away, however short the TTL that it asks for: the cluster never moves a
 *      session's deadline back.
 *  S4  An adopted session is never opened anew, only renewed, and its owner, TTL and lock-delay stay as they were.
 *  S5  A new TTL is that of the core's own renewals from its first sending on: one that was never sent changes nothing, and one
 *      that is sent again does not undo a later one. But until it is answered the session may still live by a shorter one:
 *      pace, lead and heartbeats go by the shorter of the two. */
#include <stdio.h>
#include <string.h>

#include "client/state.h"
#include "protocol/assert.h"

/* Several processes may work on one session without a counter between them (lockstep_client_adopt()). Each begins at a
 * random distance behind the last id that the session has seen, so that two at the same time do not meet: with a hundred
 * requests each they would once in 20 million times, and then one might take the other's answer for its own. None
 * acknowledges for the others: the floor stays far behind, where no answer is wanted any more; some 128 such jumps fit
 * in between, each with a few answers for the session's window to remember. One that stays for more than
 * ADOPT_PATIENCE requests begins to acknowledge, or it would fill the window by itself. */
enum { ADOPT_PATIENCE = 256 };
#define ADOPT_SPREAD (UINT64_C(1) << 32)
#define ADOPT_FLOOR_DISTANCE (UINT64_C(1) << 38)

static void set_owner(struct session *session, struct proto_bytes owner)
{
    size_t size = owner.size < sizeof(session->owner) ? owner.size : sizeof(session->owner) - 1;
    if (size > 0) {
        memcpy(session->owner, owner.data, size);
    }
    session->owner[size] = '\0';
}

static struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

void lsc_session_init(struct lsc_core *core)
{
    struct session *session = &core->session;
    set_owner(session, bytes_of(core->owner));
    session->lock_delay_ms = core->config.lock_delay_ms;
    session->ttl_ms = core->config.session_ttl_ms;
    session->renew_at = BOOT_NEVER;
    session->adopted = core->config.adopt_session_id != 0;
    session->renews = !session->adopted;
    session->shared = session->adopted;
    if (session->adopted) {
        session->id = core->config.adopt_session_id;
        memcpy(session->secret, core->config.adopt_secret, sizeof(session->secret));
    } else {
        core->output.random(core->output.ctx, session->secret, sizeof(session->secret));
    }
}

uint64_t lsc_session_id(const struct lsc_core *core)
{
    return core->session.state == SESSION_OPEN ? core->session.id : 0;
}

const uint8_t *lsc_session_secret(const struct lsc_core *core)
{
    return core->session.secret;
}

void lsc_session_share(struct lsc_core *core)
{
    core->session.shared = true;
}

/* ---- opening ---- */

static struct lsc_call *begin_in_background(struct lsc_core *core, struct boot_time now, const struct proto_request *request)
{
    struct lsc_call *call = lsc_call_create(core, now, request);
    if (call != NULL) {
        call->due = BOOT_NEVER;
        lsc_call_begin(core, call, true);
    }
    return call;
}

static struct lsc_call *begin_open(struct lsc_core *core, struct boot_time now, uint64_t resume_id)
{
    struct proto_request request = {
        .kind = PROTO_SESSION_OPEN,
        .body.session_open = {.owner = bytes_of(core->session.owner),
                              .ttl_ms = core->session.ttl_ms,
                              .lock_delay_ms = core->session.lock_delay_ms,
                              .resume_id = resume_id},
    };
    return begin_in_background(core, now, &request);
}

static void open_session(struct lsc_core *core, struct boot_time now)
{
    struct session *session = &core->session;
    session->resuming = false;
    if (session->adopted) {
        struct proto_request request = {.kind = PROTO_SESSION_GET, .body.session_get = {.session_id = session->id}};
        session->opener = begin_in_background(core, now, &request);
    } else {
        session->opener = begin_open(core, now, 0);
    }
    if (session->opener != NULL) {
        session->opener->ambiguous = session->unheard;
        session->state = SESSION_OPENING;
    } else {
        lsc_calls_fail_session(core, LOCKSTEP_NO_MEMORY, "");
    }
}

/* ---- renewing ---- */

/* S1. On a grid of a hundredth of the interval, which all clients of a machine share: one wake-up of theirs and of the
 * leader's then serves several, and the grid is too fine for what comes at once to keep the leader busy. */
static struct boot_time renewal_after(struct boot_time sent_at, uint64_t ttl_ms)
{
    uint64_t grid_ms = ttl_ms < 300 ? 1 : ttl_ms / 300;
    struct boot_time due = boot_after(sent_at, ttl_ms / 3);
    due.ms -= due.ms % grid_ms;
    return due;
}

static bool renewal_due(const struct lsc_core *core, struct boot_time now)
{
    const struct session *session = &core->session;
    return session->state == SESSION_OPEN && session->renews && !core->closing && session->renewal == NULL &&
           session->opener == NULL && boot_reached(now, session->renew_at);
}

static void renew(struct lsc_core *core, struct boot_time now)
{
    struct session *session = &core->session;
    /* A wait that lasts holds the floor down, and each session.renew takes a place above it. session.open takes none. */
    bool crowded = core->next_id - 1 - lsc_calls_floor(core) > CALL_WINDOW_RENEW;
    session->resuming = false;
    if (crowded) {
        session->opener = begin_open(core, now, session->id);
    } else {
        struct proto_request request = {.kind = PROTO_SESSION_RENEW, .body.session_renew = {.ttl_ms = session->ttl_ms}};
        session->renewal = begin_in_background(core, now, &request);
    }
    if (session->opener == NULL && session->renewal == NULL) {
        session->renew_at = boot_after(now, lsc_session_ttl_ms(core) / 12 + 1); /* no memory: perhaps later */
    }
}

void lsc_session_settle(struct lsc_core *core, struct boot_time now)
{
    struct session *session = &core->session;
    if (session->state == SESSION_ENDED && core->session_calls > 0) {
        lsc_calls_fail_session(core, LOCKSTEP_SESSION_LOST, "");
    }
    if (session->state == SESSION_NONE && core->session_calls > 0) {
        open_session(core, now);
    }
    if (renewal_due(core, now)) {
        renew(core, now);
    }
}

struct boot_time lsc_session_deadline(const struct lsc_core *core)
{
    const struct session *session = &core->session;
    bool idle = session->state == SESSION_OPEN && session->renews && !core->closing && session->renewal == NULL &&
                session->opener == NULL;
    return idle ? session->renew_at : BOOT_NEVER;
}

void lsc_session_resume(struct lsc_core *core, struct boot_time now)
{
    struct session *session = &core->session;
    if (session->state != SESSION_OPEN || core->closing || !session->renews) {
        return;
    }
    if (session->renewal != NULL) {
        lsc_call_fail(core, session->renewal, LOCKSTEP_UNKNOWN, ""); /* executed late, it moves no deadline back */
    }
    if (session->adopted) {
        session->renew_at = now;
    } else if (session->opener == NULL) {
        session->opener = begin_open(core, now, session->id);
    }
    session->resuming = session->opener != NULL;
}

/* S5 */
void lsc_session_sent(struct lsc_core *core, struct lsc_call *call)
{
    uint64_t ttl_ms = call->request.kind == PROTO_SESSION_RENEW ? call->request.body.session_renew.ttl_ms : 0;
    if (ttl_ms != 0 && !call->counted) {
        call->counted = true;
        core->session.ttl_ms = ttl_ms;
    }
}

void lsc_session_forget(struct lsc_core *core, const struct lsc_call *call)
{
    struct session *session = &core->session;
    if (call == session->renewal) {
        session->renewal = NULL;
    }
    if (call == session->opener) {
        session->opener = NULL;
        session->state = session->state == SESSION_OPENING ? SESSION_NONE : session->state;
    }
}

/* ---- what the cluster says ---- */

uint64_t lsc_session_ttl_ms(const struct lsc_core *core)
{
    const struct session *session = &core->session;
    bool shorter = session->answered_ttl_ms != 0 && session->answered_ttl_ms < session->ttl_ms;
    return shorter ? session->answered_ttl_ms : session->ttl_ms;
}

struct boot_time lsc_session_local(const struct lsc_core *core)
{
    const struct session *session = &core->session;
    if (!session->dated) {
        return (struct boot_time){0};
    }
    return lease_clock_local(&core->clock, session->deadline);
}

/* S2 */
static void set_deadline(struct lsc_core *core, const struct lsc_call *call, struct cluster_time deadline,
                         struct cluster_time as_of)
{
    struct session *session = &core->session;
    bool heard_before = call != NULL && call->begun_after >= session->dated_by;
    bool later = as_of.ms > session->as_of.ms || (as_of.ms == session->as_of.ms && heard_before);
    bool stricter = as_of.ms == session->as_of.ms && deadline.ms < session->deadline.ms;
    if (!session->dated || later || stricter) {
        session->dated = true;
        session->dated_by = core->answers_count;
        session->deadline = deadline;
        session->as_of = as_of;
        session->loss_told = false;
    }
}

void lsc_session_learn(struct lsc_core *core, struct cluster_time deadline, struct cluster_time as_of)
{
    struct session *session = &core->session;
    if (session->state == SESSION_OPEN && (!session->dated || deadline.ms > session->deadline.ms)) {
        set_deadline(core, NULL, deadline, as_of);
    }
}

static void tell_openers(struct lsc_core *core)
{
    struct lsc_call *next = NULL;
    struct lsc_outcome outcome = {.result = LOCKSTEP_OK, .detail = ""};
    for (struct lsc_call *call = core->lists[CALL_READY].first; call != NULL; call = next) {
        next = call->next;
        if (call->waits_for_session) {
            lsc_call_end(core, call, &outcome);
        }
    }
}

static void opened(struct lsc_core *core)
{
    core->session.state = SESSION_OPEN;
    core->session.unheard = false;
    core->session.failure = LOCKSTEP_OK;
    tell_openers(core);
}

void lsc_session_granted(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    struct session *session = &core->session;
    if (session->state == SESSION_OPENING && call == session->opener) {
        session->id = reply->body.session.session_id;
        session->dated = false;
        opened(core);
    }
    set_deadline(core, call, reply->body.session.deadline, reply->time);
    uint64_t ttl_ms = reply->body.session.ttl_ms;
    if (reply->time.ms >= session->as_of.ms && ttl_ms >= PROTO_TTL_MS_MIN) { /* less is nonsense */
        session->answered_ttl_ms = ttl_ms;
    }
    if (call->sent_at.ms >= session->renewed_from.ms) {
        session->renewed_from = call->sent_at;
        session->renew_at = renewal_after(call->sent_at, lsc_session_ttl_ms(core));
    }
}

void lsc_session_described(struct lsc_core *core, const struct proto_reply *reply)
{
    struct session *session = &core->session;
    const struct proto_session_row *row = &reply->body.session_list.rows[0];
    uint64_t last_id = row->last_request_id < UINT64_MAX / 2 ? row->last_request_id : UINT64_MAX / 2;
    uint64_t first_id = last_id + 1 + lsc_random(core) % ADOPT_SPREAD;
    core->next_id = first_id > core->next_id ? first_id : core->next_id;
    core->floor_limit = last_id > ADOPT_FLOOR_DISTANCE ? last_id - ADOPT_FLOOR_DISTANCE : 0;
    core->floor_limit_until = core->next_id + ADOPT_PATIENCE;
    set_owner(session, row->owner);
    session->lock_delay_ms = row->lock_delay_ms;
    if (row->ttl_ms >= PROTO_TTL_MS_MIN && row->ttl_ms <= PROTO_TTL_MS_MAX && !session->renews) {
        session->ttl_ms = row->ttl_ms;
    }
    opened(core);
}

/* ---- the end ---- */

void lsc_session_lose(struct lsc_core *core, struct boot_time now, enum lockstep_lost_reason reason, const char *detail)
{
    (void)now;
    struct session *session = &core->session;
    if (session->opener != NULL) {
        lsc_call_fail(core, session->opener, LOCKSTEP_SESSION_LOST, detail);
    }
    session->state = session->adopted ? SESSION_ENDED : SESSION_NONE;
    session->dated = false;
    session->renew_at = BOOT_NEVER;
    lsc_grants_lose_all(core, GRANT_ENDED, reason, detail);
    if (core->closing) {
        lsc_calls_fail_session(core, LOCKSTEP_SESSION_LOST, detail);
        if (!core->closed) {
            lsc_closed(core, LOCKSTEP_OK);
        }
        return;
    }
    core->output.session_lost(core->output.ctx, reason, detail);
    lsc_calls_fail_session(core, LOCKSTEP_SESSION_LOST, detail);
}

void lsc_session_refused(struct lsc_core *core, struct boot_time now, int result, const char *detail)
{
    struct session *session = &core->session;
    session->renew_at = boot_after(now, lsc_session_ttl_ms(core) / 12 + 1); /* not at once, if it is refused again */
    session->failure = result;
    (void)snprintf(session->failure_text, sizeof(session->failure_text), "%s",
                   detail[0] == '\0' ? lockstep_result_text(result) : detail);
    if (session->state == SESSION_OPENING) {
        lsc_calls_fail_session(core, result, session->failure_text);
    }
    if (core->closing && !core->closed) {
        lsc_closed(core, result);
    }
}

void lsc_session_close(struct lsc_core *core, struct boot_time now)
{
    struct proto_request request = {.kind = PROTO_SESSION_CLOSE};
    if (begin_in_background(core, now, &request) == NULL) {
        lsc_closed(core, LOCKSTEP_NO_MEMORY);
    }
}

/* ---- asked for ---- */

struct lsc_call *lsc_session_open(struct lsc_core *core, struct boot_time now, void *user, lsc_done_cb done)
{
    struct proto_request request = {0};
    bool is_open = core->session.state == SESSION_OPEN;
    struct lsc_call *call = is_open ? NULL : lsc_call_create(core, now, &request);
    if (call == NULL) {
        struct lsc_outcome outcome = {.result = is_open ? LOCKSTEP_OK : LOCKSTEP_NO_MEMORY, .detail = ""};
        done(user, &outcome);
        return NULL;
    }
    call->waits_for_session = true;
    call->in_session = true;
    return lsc_call_start(core, now, call, user, done);
}

struct lsc_call *lsc_session_renew(struct lsc_core *core, struct boot_time now, uint64_t ttl_ms, void *user,
                                   lsc_done_cb done)
{
    struct session *session = &core->session;
    struct proto_request request = {.kind = PROTO_SESSION_RENEW, .body.session_renew = {.ttl_ms = ttl_ms}};
    struct lsc_call *call = lsc_call_create(core, now, &request);
    if (call != NULL) {
        session->renews = true;
    }
    return lsc_call_start(core, now, call, user, done);
}
