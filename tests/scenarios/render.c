/* Effects and answers to text. Every field that a rule speaks of appears, so that a story pins it down. */
#include "tests/scenarios/render.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void put(struct render *render, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(render->text + render->size, sizeof render->text - render->size, format, arguments);
    va_end(arguments);
    if (size > 0) {
        render->size += (size_t)size;
    }
    if (render->size >= sizeof render->text) {
        render->size = sizeof render->text - 1;
    }
}

static void put_status(struct render *render, enum proto_status status)
{
    for (const char *name = proto_status_name(status); *name != '\0'; name++) {
        put(render, "%c", tolower((unsigned char)*name));
    }
}

static void put_bytes(struct render *render, const char *name, struct proto_bytes bytes)
{
    if (bytes.size > 0) {
        put(render, " %s=%.*s", name, (int)bytes.size, (const char *)bytes.data);
    }
}

static void put_grant(struct render *render, const struct proto_reply *reply)
{
    const struct proto_grant_reply *grant = &reply->body.grant;
    put(render, "%s token=%" PRIu64, reply->kind == PROTO_LOCK_ACQUIRE ? "granted" : "extended", grant->token);
    if (grant->fence != grant->token) {
        put(render, " fence=%" PRIu64, grant->fence);
    }
    if (grant->holds != 1) {
        put(render, " holds=%" PRIu32, grant->holds);
    }
    put(render, " until=%" PRIu64, grant->deadline.ms);
}

static void put_holder(struct render *render, const struct story *story, const struct proto_holder *holder)
{
    put(render, "%s token=%" PRIu64, story_actor_name(story, holder->session_id), holder->token);
    if (holder->fence != holder->token) {
        put(render, " fence=%" PRIu64, holder->fence);
    }
    if (holder->mode == PROTO_MODE_SHARED) {
        put(render, " shared");
    }
    if (holder->mode == PROTO_MODE_PERMITS) {
        put(render, " permits=%" PRIu32, holder->permits);
    }
    if (holder->holds > 1) {
        put(render, " holds=%" PRIu32, holder->holds);
    }
    put(render, " left=%" PRIu64, holder->remaining_ms);
}

static void put_ok(struct render *render, const struct proto_reply *reply)
{
    switch ((int)reply->kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        put(render, "%s session=%" PRIu64 " until=%" PRIu64,
            reply->kind == PROTO_SESSION_RENEW   ? "renewed"
            : reply->body.session.resumed ? "resumed"
                                                 : "opened",
            reply->body.session.session_id, reply->body.session.deadline.ms);
        return;
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        put_grant(render, reply);
        return;
    case PROTO_LOCK_RELEASE:
        put(render, "done");
        if (reply->body.release.holds > 0) {
            put(render, " holds=%" PRIu32, reply->body.release.holds);
        }
        return;
    case PROTO_FORCE_RELEASE:
    case PROTO_SESSION_KILL:
        put(render, "done count=%" PRIu64, reply->body.count.count);
        return;
    default:
        put(render, "done");
    }
}

static void put_reply(struct render *render, const struct story *story, const struct proto_reply *reply)
{
    if (reply->status == PROTO_STATUS_OK) {
        put_ok(render, reply);
    } else if (reply->status == PROTO_STATUS_HELD) {
        put(render, "held by ");
        put_holder(render, story, &reply->body.holder);
    } else {
        put_status(render, reply->status);
    }
}

static void put_event(struct render *render, const struct proto_event *event)
{
    static const char *const reasons[] = {"closed", "expired", "killed", "forced"};
    if (event->kind == PROTO_EVENT_GRANT_LOST) {
        put(render, "lost");
        put_bytes(render, "key", event->key);
        put(render, " token=%" PRIu64 " %s", event->token, reasons[event->reason]);
    } else {
        put(render, "session ended %s", reasons[event->reason]);
    }
    put_bytes(render, "reason", event->detail);
}

void render_clear(struct render *render)
{
    render->size = 0;
    render->text[0] = '\0';
}

void render_effect(struct render *render, const struct story *story, const struct fsm_effect *effect)
{
    if (render->size > 0) {
        put(render, "; ");
    }
    if (effect->kind == FSM_WAIT_ENDED || effect->kind == FSM_EVENT) {
        put(render, "%s ", story_actor_name(story, effect->session_id));
    }
    switch (effect->kind) {
    case FSM_QUEUED:
        put(render, "queued id=%" PRIu64, effect->request_id);
        break;
    case FSM_REPLY:
    case FSM_WAIT_ENDED:
        put_reply(render, story, &effect->reply);
        break;
    case FSM_EVENT:
        put_event(render, &effect->event);
        break;
    }
}

/* ---- queries ---- */

static void put_lock(struct render *render, const struct story *story, const struct proto_lock_reply *lock)
{
    put(render, "%s", lock->holders_count == 0 ? "free" : "held");
    if (lock->limit > 0) {
        put(render, " permits=%" PRIu32 "/%" PRIu32, lock->permits_used, lock->limit);
    }
    if (lock->fence != 0) {
        put(render, " fence=%" PRIu64, lock->fence);
    }
    if (lock->delay_remaining_ms != 0) {
        put(render, " delay=%" PRIu64, lock->delay_remaining_ms);
    }
    if (lock->has_value) {
        put_bytes(render, "value", lock->value);
    }
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        put(render, " [");
        put_holder(render, story, &lock->holders[i]);
        put(render, "]");
    }
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        const struct proto_waiter *waiter = &lock->waiters[i];
        put(render, " (%s waits", story_actor_name(story, waiter->session_id));
        if (waiter->remaining_ms != PROTO_WAIT_FOREVER) {
            put(render, " left=%" PRIu64, waiter->remaining_ms);
        }
        put(render, ")");
    }
}

static void put_lock_rows(struct render *render, const struct story *story, const struct proto_lock_list_reply *list)
{
    put(render, "%" PRIu32 " locks%s", list->count, list->more ? " and more" : "");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_lock_row *row = &list->rows[i];
        put(render, " [%.*s holders=%" PRIu64 " waiters=%" PRIu64, (int)row->key.size, (const char *)row->key.data,
            row->holders_count, row->waiters_count);
        if (row->session_id != 0) {
            put(render, " %s", story_actor_name(story, row->session_id));
        }
        if (row->delay_remaining_ms != 0) {
            put(render, " delay=%" PRIu64, row->delay_remaining_ms);
        }
        put(render, "]");
    }
}

static void put_session_rows(struct render *render, const struct story *story,
                             const struct proto_session_list_reply *list)
{
    put(render, "%" PRIu32 " sessions%s", list->count, list->more ? " and more" : "");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_session_row *row = &list->rows[i];
        put(render, " [%s left=%" PRIu64 " grants=%" PRIu64 " waits=%" PRIu64 " last=%" PRIu64 " floor=%" PRIu64 "]",
            story_actor_name(story, row->session_id), row->remaining_ms, row->grants_count, row->waits_count,
            row->last_request_id, row->ack_floor);
    }
}

void render_query(struct render *render, const struct story *story, const struct proto_reply *reply)
{
    if (reply->kind == PROTO_FENCE_CHECK) {
        put(render, "%s fence=%" PRIu64, reply->status == PROTO_STATUS_OK ? "current" : "stale",
            reply->body.fence.fence);
        return;
    }
    if (reply->status != PROTO_STATUS_OK) {
        put_status(render, reply->status);
        return;
    }
    switch ((int)reply->kind) {
    case PROTO_LOCK_GET:
        put_lock(render, story, &reply->body.lock);
        break;
    case PROTO_LOCK_LIST:
        put_lock_rows(render, story, &reply->body.lock_list);
        break;
    case PROTO_REQUEST_GET:
        put_status(render, reply->body.request.status);
        put(render, " token=%" PRIu64, reply->body.request.token);
        break;
    default:
        put_session_rows(render, story, &reply->body.session_list);
    }
}
