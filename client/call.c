/* Owns the requests that are under way: their ids, their order, when they go out, when their callers have waited enough.
 * Never looks into an answer.
 *
 *  A1  A call is in exactly one list (state.h has its life). Sent calls are in order of id. Ready ones are: what opens or
 *      renews the session; then what is sent again, in order of id; then what was never sent, which has no id yet.
 *  A2  The floor is the id before the smallest one that is given and not answered. So it lies below every request it goes
 *      with (K3), and a wait holds it down for as long as it lasts.
 *  A3  What a session's window can not hold is not sent: ids above the floor stay below CALL_WINDOW_MAX, and what makes room
 *      (release, cancel, close) has a little more. The cancel of the very wait that holds the floor down is always sent: it
 *      takes one id, and sets free at least one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

/* ---- lists ---- */

static void list_insert_before(struct lsc_core *core, enum call_place place, struct lsc_call *call, struct lsc_call *next)
{
    struct call_list *list = &core->lists[place];
    struct lsc_call *prev = next == NULL ? list->last : next->prev;
    call->place = place;
    call->next = next;
    call->prev = prev;
    *(prev == NULL ? &list->first : &prev->next) = call;
    *(next == NULL ? &list->last : &next->prev) = call;
    core->sent_count += place == CALL_SENT;
}

static void list_remove(struct lsc_core *core, struct lsc_call *call)
{
    struct call_list *list = &core->lists[call->place];
    *(call->prev == NULL ? &list->first : &call->prev->next) = call->next;
    *(call->next == NULL ? &list->last : &call->next->prev) = call->prev;
    core->sent_count -= call->place == CALL_SENT;
    call->next = call->prev = NULL;
}

/* Among the sent ones, where mostly the end is the place. */
static void insert_sent(struct lsc_core *core, struct lsc_call *call)
{
    struct lsc_call *prev = core->lists[CALL_SENT].last;
    while (prev != NULL && prev->request.id > call->request.id) {
        prev = prev->prev;
    }
    list_insert_before(core, CALL_SENT, call, prev == NULL ? core->lists[CALL_SENT].first : prev->next);
}

/* The ready ones: first what opens or renews the session, then what is sent again in order of id, then the new ones. */
static void insert_ready(struct lsc_core *core, struct lsc_call *call)
{
    struct lsc_call *next = call->request.id == 0 && !call->goes_first ? NULL : core->lists[CALL_READY].first;
    while (next != NULL && !call->goes_first &&
           (next->goes_first || (next->request.id != 0 && next->request.id < call->request.id))) {
        next = next->next;
    }
    list_insert_before(core, CALL_READY, call, next);
}

/* ---- making one ---- */

enum { TEXTS_MAX = 2 };

/* The strings in a request's body. @return how many. */
static unsigned texts_of(struct proto_request *request, struct proto_bytes *texts[TEXTS_MAX])
{
    union proto_request_body *body = &request->body;
    struct proto_bytes *first = NULL;
    struct proto_bytes *second = NULL;
    switch (request->kind) {
    case PROTO_SESSION_OPEN:
        first = &body->session_open.owner;
        break;
    case PROTO_LOCK_ACQUIRE:
        first = &body->lock_acquire.key;
        second = &body->lock_acquire.value;
        break;
    case PROTO_LOCK_EXTEND:
        first = &body->lock_extend.key;
        break;
    case PROTO_LOCK_RELEASE:
        first = &body->lock_release.key;
        break;
    case PROTO_LOCK_SET_VALUE:
        first = &body->lock_set_value.key;
        second = &body->lock_set_value.value;
        break;
    case PROTO_LOCK_GET:
        first = &body->lock_get.key;
        break;
    case PROTO_LOCK_LIST:
        first = &body->lock_list.prefix;
        second = &body->lock_list.after;
        break;
    case PROTO_FENCE_CHECK:
        first = &body->fence_check.key;
        break;
    case PROTO_FORCE_RELEASE:
        first = &body->force_release.key;
        second = &body->force_release.reason;
        break;
    case PROTO_SESSION_KILL:
        first = &body->session_kill.reason;
        break;
    default:
        break; /* no strings */
    }
    texts[0] = first;
    texts[1] = second;
    return (first != NULL ? 1U : 0U) + (second != NULL ? 1U : 0U);
}

struct lsc_call *lsc_call_create(struct lsc_core *core, struct boot_time now, const struct proto_request *request)
{
    struct proto_request copy = *request;
    struct proto_bytes *texts[TEXTS_MAX];
    unsigned count = texts_of(&copy, texts);
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += texts[i]->size;
    }
    struct lsc_call *call = calloc(1, sizeof(*call) + size);
    if (call == NULL) {
        return NULL;
    }
    call->request = copy;
    call->request.id = 0;
    (void)texts_of(&call->request, texts);
    uint8_t *at = call->bytes;
    for (unsigned i = 0; i < count; i++) {
        if (texts[i]->size > 0) {
            memcpy(at, texts[i]->data, texts[i]->size);
        }
        texts[i]->data = at;
        at += texts[i]->size;
    }
    const struct proto_operation *operation = proto_operation_find(request->kind);
    call->in_session = operation != NULL && operation->sent_by == PROTO_SESSION;
    call->begun = now;
    call->begun_after = core->answers_count;
    call->due = boot_after(now, core->config.request_timeout_ms);
    call->limited_since = BOOT_NEVER;
    return call;
}

bool lsc_call_any_node(const struct lsc_call *call)
{
    const struct proto_operation *operation = proto_operation_find(call->request.kind);
    if (operation == NULL || call->request.kind == PROTO_CLUSTER_TRANSFER) {
        return false;
    }
    return operation->served_by == PROTO_LOCAL || (operation->served_by == PROTO_QUERY && call->request.stale);
}

void lsc_call_begin(struct lsc_core *core, struct lsc_call *call, bool first)
{
    call->goes_first = first;
    insert_ready(core, call);
    core->calls_count++;
    core->session_calls += call->in_session;
    core->leader_calls += !lsc_call_any_node(call);
    core->calls_due = boot_earlier(core->calls_due, call->due);
    if (call->request.kind == PROTO_LOCK_ACQUIRE) {
        /* However long its wait, it ends when no leader can be reached (due_of()). */
        core->calls_due = boot_earlier(core->calls_due, boot_after(call->begun, core->config.request_timeout_ms));
    }
}

struct lsc_call *lsc_call_start(struct lsc_core *core, struct boot_time now, struct lsc_call *call, void *user,
                                lsc_done_cb done)
{
    LOCKSTEP_ASSERT(!core->closing);
    if (call == NULL) {
        struct lsc_outcome outcome = {.result = LOCKSTEP_NO_MEMORY, .detail = ""};
        done(user, &outcome);
        return NULL;
    }
    call->user = user;
    call->done = done;
    lsc_call_begin(core, call, false);
    core->starting = call;
    lsc_settle(core, now);
    struct lsc_call *started = core->starting;
    core->starting = NULL;
    return started;
}

struct lsc_call *lsc_ask(struct lsc_core *core, struct boot_time now, const struct proto_request *request, void *user,
                         lsc_done_cb done)
{
    return lsc_call_start(core, now, lsc_call_create(core, now, request), user, done);
}

/* ---- ending one ---- */

void lsc_call_tell(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome)
{
    lsc_done_cb done = call->done;
    core->starting = core->starting == call ? NULL : core->starting;
    call->done = NULL;
    call->due = BOOT_NEVER;
    if (done != NULL) {
        done(call->user, outcome);
    }
}

void lsc_call_end(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome)
{
    list_remove(core, call);
    core->calls_count--;
    core->session_calls -= call->in_session;
    core->leader_calls -= !lsc_call_any_node(call);
    lsc_session_forget(core, call);
    lsc_grant_forget(core, call);
    lsc_call_tell(core, call, outcome);
    explicit_bzero(call->request.secret, sizeof(call->request.secret));
    free(call);
}

void lsc_call_fail(struct lsc_core *core, struct lsc_call *call, int result, const char *detail)
{
    struct lsc_outcome outcome = {.result = result, .detail = detail};
    lsc_call_end(core, call, &outcome);
}

/* Does with a call what `outcome` means for it; may end it. */
typedef void (*call_visit)(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome);

static void visit_all(struct lsc_core *core, call_visit visit, const struct lsc_outcome *outcome)
{
    for (unsigned place = 0; place < CALL_PLACES; place++) {
        struct lsc_call *next = NULL;
        for (struct lsc_call *call = core->lists[place].first; call != NULL; call = next) {
            next = call->next;
            visit(core, call, outcome);
        }
    }
}

static void fail_unsent(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome)
{
    if (call->done == NULL || call->place == CALL_SENT || call->ambiguous) {
        return;
    }
    if (call->request.kind == PROTO_LOCK_RELEASE) {
        lsc_call_tell(core, call, outcome); /* it goes on, as when its time is up (call_due.c) */
    } else {
        lsc_call_end(core, call, outcome);
    }
}

void lsc_calls_fail_unsent(struct lsc_core *core, int result, const char *detail)
{
    visit_all(core, fail_unsent, &(struct lsc_outcome){.result = result, .detail = detail});
}

/* It may have been executed before the session ended. Of all that may have been, a value alone outlasts that. */
static bool may_outlast_session(const struct lsc_call *call)
{
    return call->request.kind == PROTO_LOCK_SET_VALUE && (call->place == CALL_SENT || call->ambiguous);
}

static void fail_in_session(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome)
{
    if (call->in_session && may_outlast_session(call)) {
        lsc_call_fail(core, call, LOCKSTEP_UNKNOWN, outcome->detail);
    } else if (call->in_session) {
        lsc_call_end(core, call, outcome);
    }
}

void lsc_calls_fail_session(struct lsc_core *core, int result, const char *detail)
{
    visit_all(core, fail_in_session, &(struct lsc_outcome){.result = result, .detail = detail});
}

/* What a core that closes still has to see to. */
static bool is_needed_to_close(const struct lsc_core *core, const struct lsc_call *call)
{
    if (!core->closing || core->closed) {
        return false;
    }
    if (core->keep_session) {
        /* What its callers have let go before is given back. */
        return call->request.kind == PROTO_LOCK_RELEASE || call->request.kind == PROTO_LOCK_CANCEL || call->abandoned;
    }
    /* A session that is being opened has to be known before it can be closed. */
    return call == core->session.opener && (call->place == CALL_SENT || call->ambiguous);
}

static void fail_at_close(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome)
{
    if (is_needed_to_close(core, call)) {
        lsc_call_tell(core, call, outcome);
    } else {
        lsc_call_end(core, call, outcome);
    }
}

void lsc_calls_fail_all(struct lsc_core *core, int result)
{
    visit_all(core, fail_at_close, &(struct lsc_outcome){.result = result, .detail = "the client was closed"});
}

/* ---- sending ---- */

/* The smallest id in a list whose calls with ids are in order. */
static uint64_t smallest_in(const struct call_list *list, uint64_t smallest)
{
    for (const struct lsc_call *at = list->first; at != NULL && (at->goes_first || at->request.id != 0); at = at->next) {
        if (at->request.id != 0 && at->request.id < smallest) {
            smallest = at->request.id;
        }
        if (!at->goes_first) {
            break; /* A1 */
        }
    }
    return smallest;
}

uint64_t lsc_calls_floor(const struct lsc_core *core)
{
    uint64_t smallest = smallest_in(&core->lists[CALL_READY], core->next_id);
    const struct lsc_call *sent = core->lists[CALL_SENT].first;
    if (sent != NULL && sent->request.id < smallest) {
        smallest = sent->request.id;
    }
    for (const struct lsc_call *at = core->lists[CALL_DELAYED].first; at != NULL; at = at->next) {
        if (at->request.id != 0 && at->request.id < smallest) {
            smallest = at->request.id;
        }
    }
    return smallest - 1;
}

static bool makes_room(const struct lsc_call *call)
{
    return call->request.kind == PROTO_LOCK_RELEASE || call->request.kind == PROTO_LOCK_CANCEL ||
           call->request.kind == PROTO_SESSION_CLOSE;
}

/* A3 */
static bool window_admits(const struct lsc_core *core, const struct lsc_call *call)
{
    uint64_t floor = lsc_calls_floor(core);
    uint64_t used = core->next_id - 1 - floor;
    bool lifts_floor = call->request.kind == PROTO_LOCK_CANCEL && call->request.body.lock_cancel.target_id == floor + 1;
    return call->request.id != 0 || lifts_floor || used < (makes_room(call) ? CALL_WINDOW_URGENT : CALL_WINDOW_MAX);
}

bool lsc_call_is_behind(const struct lsc_call *call)
{
    return call->request.id == 0 && call->grant != NULL && call->grant->given_up > 0 &&
           call->request.kind != PROTO_LOCK_RELEASE;
}

static bool may_be_sent(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    if (call->waits_for_session || (!core->route.leads && !lsc_call_any_node(call))) {
        return false;
    }
    if (!call->in_session) {
        return true;
    }
    if (core->session.state != SESSION_OPEN) {
        if (core->session.failure == LOCKSTEP_LIMIT) {
            lsc_call_limited(core, now, call); /* by what keeps its session from being opened */
        }
        return false;
    }
    if (lsc_call_is_behind(call)) {
        return false;
    }
    if (!window_admits(core, call)) {
        call->refusal = LOCKSTEP_LIMIT;
        lsc_call_limited(core, now, call);
        return false;
    }
    return true;
}

/* The frame, with what only now is known. */
static void encode(struct lsc_core *core, const struct lsc_call *call)
{
    struct proto_request request = call->request;
    if (call->in_session) {
        request.session_id = core->session.id;
        request.ack_floor = lsc_calls_floor(core);
        if (request.id < core->floor_limit_until && request.ack_floor > core->floor_limit) {
            request.ack_floor = core->floor_limit;
        }
        LOCKSTEP_ASSERT(request.ack_floor < request.id);
    }
    if (call->in_session || request.kind == PROTO_SESSION_OPEN) {
        memcpy(request.secret, core->session.secret, sizeof(request.secret));
    }
    if (call->abandoned) {
        /* If it was executed before, this finds it as it was; if not, it must not begin to wait now. */
        request.body.lock_acquire.wait_ms = 0;
    }
    size_t begin = proto_frame_begin(&core->out);
    proto_encode_request(&core->out, &request);
    if (!proto_frame_end(&core->out, begin, true)) {
        core->out.failed = true;
    }
    explicit_bzero(request.secret, sizeof(request.secret));
}

/* Ids of what is in no session only name the answer. They come from far above, so that they take no room between the floor
 * and the session's next id: a wait of hours would otherwise fill the window with pings. */
uint64_t lsc_other_id(struct lsc_core *core)
{
    LOCKSTEP_ASSERT(core->next_id < CALL_OTHER_IDS);
    return CALL_OTHER_IDS + core->other_ids_count++;
}

static void send_one(struct lsc_core *core, struct boot_time now, struct lsc_call *call)
{
    if (core->sent_count == 0) {
        lsc_route_awaits(core, now);
    }
    list_remove(core, call);
    if (call->request.id == 0) {
        call->request.id = call->in_session ? core->next_id++ : lsc_other_id(core);
        call->sent_at = now;
    }
    call->request.session_id = call->in_session ? core->session.id : call->request.session_id;
    call->refusal = LOCKSTEP_OK;
    insert_sent(core, call);
    lsc_session_sent(core, call);
    lsc_grant_sent(core, call);
    encode(core, call);
}

void lsc_calls_send(struct lsc_core *core, struct boot_time now)
{
    if (core->route.state != ROUTE_READY) {
        return;
    }
    struct lsc_call *next = NULL;
    for (struct lsc_call *call = core->lists[CALL_READY].first; call != NULL; call = next) {
        next = call->next;
        if (core->sent_count >= CALL_SENT_MAX) {
            break;
        }
        if (may_be_sent(core, now, call)) {
            send_one(core, now, call);
        }
    }
}

struct lsc_call *lsc_call_find_sent(struct lsc_core *core, uint64_t id)
{
    struct lsc_call *call = core->lists[CALL_SENT].first;
    while (call != NULL && call->request.id < id) {
        call = call->next;
    }
    return call != NULL && call->request.id == id ? call : NULL;
}

/* ---- asking again ---- */

/* Its caller was told already, and nothing depends on its answer: done now, it would only surprise. @return whether it is so. */
static bool end_unwanted(struct lsc_core *core, struct lsc_call *call)
{
    if (call->done != NULL || call->in_session || call->verifies || call == core->session.opener) {
        return false;
    }
    lsc_call_fail(core, call, LOCKSTEP_UNKNOWN, "");
    return true;
}

void lsc_call_again(struct lsc_core *core, struct lsc_call *call)
{
    if (end_unwanted(core, call)) {
        return;
    }
    list_remove(core, call);
    insert_ready(core, call);
}

void lsc_call_delay(struct lsc_core *core, struct boot_time now, struct lsc_call *call, uint64_t wait_ms)
{
    if (end_unwanted(core, call)) {
        return;
    }
    list_remove(core, call);
    call->retry_at = boot_after(now, wait_ms < CALL_RETRY_MS_MAX ? wait_ms : CALL_RETRY_MS_MAX);
    list_insert_before(core, CALL_DELAYED, call, NULL);
    core->calls_due = boot_earlier(core->calls_due, call->retry_at);
}

/* Whether sending it twice does what sending it once does (K5). */
static bool is_repeatable(const struct lsc_call *call)
{
    const struct proto_operation *operation = proto_operation_find(call->request.kind);
    if (operation == NULL || operation->sent_by != PROTO_ADMIN) {
        return true; /* by its request id, by the session's secret, or because it changes nothing */
    }
    return call->request.kind == PROTO_SESSION_KILL ||
           (call->request.kind == PROTO_FORCE_RELEASE && call->request.body.force_release.token != 0);
}

bool lsc_call_ambiguous(struct lsc_core *core, struct lsc_call *call)
{
    call->ambiguous = true;
    if (is_repeatable(call)) {
        return true;
    }
    lsc_call_fail(core, call, LOCKSTEP_UNKNOWN, "");
    return false;
}

void lsc_calls_disconnected(struct lsc_core *core, struct boot_time now)
{
    (void)now;
    struct lsc_call *prev = NULL;
    for (struct lsc_call *call = core->lists[CALL_SENT].last; call != NULL; call = prev) {
        prev = call->prev;
        /* The session is taken up anew on the next connection, which renews it and asks for its grants. */
        bool replaced = call == core->session.renewal || call == core->session.opener;
        bool opens = call->request.kind == PROTO_SESSION_OPEN && core->session.state == SESSION_OPENING;
        core->session.unheard |= opens;
        if (call->verifies || replaced) {
            lsc_call_fail(core, call, LOCKSTEP_UNKNOWN, "");
        } else if (lsc_call_ambiguous(core, call)) {
            lsc_call_again(core, call);
        }
    }
}
