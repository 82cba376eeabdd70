/* See convert.h. The decoder has checked every bound; texts are cut all the same rather than trusted to fit. */
#include "client/convert.h"

#include <stdlib.h>
#include <string.h>


void convert_text(char *buffer, size_t buffer_bytes, struct proto_bytes text)
{
    size_t size = text.size < buffer_bytes ? text.size : buffer_bytes - 1;
    if (size > 0) {
        memcpy(buffer, text.data, size);
    }
    buffer[size] = '\0';
}

static enum lockstep_mode mode_of(enum proto_mode mode)
{
    switch (mode) {
    case PROTO_MODE_SHARED:
        return LOCKSTEP_SHARED;
    case PROTO_MODE_PERMITS:
        return LOCKSTEP_PERMITS;
    case PROTO_MODE_EXCLUSIVE:
        break;
    }
    return LOCKSTEP_EXCLUSIVE;
}

struct lockstep_holder convert_holder(const struct proto_holder *holder)
{
    struct lockstep_holder shown = {
        .session_id = holder->session_id,
        .token = holder->token,
        .fence = holder->fence,
        .remaining_ms = holder->remaining_ms,
        .mode = mode_of(holder->mode),
        .permits = holder->permits,
        .holds = holder->holds,
    };
    convert_text(shown.owner, sizeof(shown.owner), holder->owner);
    return shown;
}

static struct lockstep_waiter convert_waiter(const struct proto_waiter *waiter)
{
    struct lockstep_waiter shown = {
        .session_id = waiter->session_id,
        .request_id = waiter->request_id,
        .remaining_ms = waiter->remaining_ms,
        .mode = mode_of(waiter->mode),
        .permits = waiter->permits,
    };
    convert_text(shown.owner, sizeof(shown.owner), waiter->owner);
    return shown;
}

/* ---- lock.get ---- */

struct lock_status {
    struct lockstep_lock_status shown; /* first, so that its address is the whole's */
    struct lockstep_holder holders[PROTO_STATUS_HOLDERS_MAX];
    struct lockstep_waiter waiters[PROTO_STATUS_HOLDERS_MAX];
    uint8_t value[];
};

struct lockstep_lock_status *convert_lock_status(const char *key, const struct proto_reply *reply)
{
    const struct proto_lock_reply *lock = &reply->body.lock;
    struct lock_status *status = calloc(1, sizeof(*status) + lock->value.size);
    if (status == NULL) {
        return NULL;
    }
    struct lockstep_lock_status *shown = &status->shown;
    convert_text(shown->key, sizeof(shown->key), (struct proto_bytes){(const uint8_t *)key, (uint32_t)strlen(key)});
    shown->mode = mode_of(lock->mode);
    shown->limit = lock->limit;
    shown->permits_used = lock->permits_used;
    shown->fence = lock->fence;
    shown->holders_count = lock->holders_count;
    shown->waiters_count = lock->waiters_count;
    shown->delay_remaining_ms = lock->delay_remaining_ms;
    shown->has_value = lock->has_value;
    if (lock->value.size > 0) {
        memcpy(status->value, lock->value.data, lock->value.size);
    }
    shown->value = status->value;
    shown->value_bytes = lock->value.size;
    shown->holders = status->holders;
    shown->waiters = status->waiters;
    for (uint32_t i = 0; i < lock->holders_shown && i < PROTO_STATUS_HOLDERS_MAX; i++) {
        status->holders[i] = convert_holder(&lock->holders[i]);
        shown->holders_shown++;
    }
    for (uint32_t i = 0; i < lock->waiters_shown && i < PROTO_STATUS_HOLDERS_MAX; i++) {
        status->waiters[i] = convert_waiter(&lock->waiters[i]);
        shown->waiters_shown++;
    }
    shown->applied_index = reply->applied_index;
    shown->time_ms = reply->time.ms;
    return shown;
}

void lockstep_lock_status_free(struct lockstep_lock_status *status)
{
    free(status);
}

/* ---- lists ---- */

struct lock_list {
    struct lockstep_lock_list shown;
    struct lockstep_lock_row rows[];
};

struct lockstep_lock_list *convert_lock_list(const struct proto_reply *reply)
{
    const struct proto_lock_list_reply *body = &reply->body.lock_list;
    struct lock_list *list = calloc(1, sizeof(*list) + body->count * sizeof(list->rows[0]));
    if (list == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < body->count; i++) {
        const struct proto_lock_row *row = &body->rows[i];
        struct lockstep_lock_row *shown = &list->rows[i];
        convert_text(shown->key, sizeof(shown->key), row->key);
        convert_text(shown->owner, sizeof(shown->owner), row->owner);
        shown->mode = mode_of(row->mode);
        shown->holders_count = row->holders_count;
        shown->waiters_count = row->waiters_count;
        shown->fence = row->fence;
        shown->session_id = row->session_id;
        shown->remaining_ms = row->remaining_ms;
        shown->delay_remaining_ms = row->delay_remaining_ms;
    }
    list->shown = (struct lockstep_lock_list){.rows = list->rows,
                                              .count = body->count,
                                              .more = body->more,
                                              .applied_index = reply->applied_index,
                                              .time_ms = reply->time.ms};
    return &list->shown;
}

void lockstep_lock_list_free(struct lockstep_lock_list *list)
{
    free(list);
}

struct session_list {
    struct lockstep_session_list shown;
    struct lockstep_session_row rows[];
};

struct lockstep_session_list *convert_session_list(const struct proto_reply *reply)
{
    const struct proto_session_list_reply *body = &reply->body.session_list;
    struct session_list *list = calloc(1, sizeof(*list) + body->count * sizeof(list->rows[0]));
    if (list == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < body->count; i++) {
        const struct proto_session_row *row = &body->rows[i];
        struct lockstep_session_row *shown = &list->rows[i];
        shown->session_id = row->session_id;
        shown->ttl_ms = row->ttl_ms;
        shown->remaining_ms = row->remaining_ms;
        shown->lock_delay_ms = row->lock_delay_ms;
        shown->grants_count = row->grants_count;
        shown->waits_count = row->waits_count;
        shown->last_request_id = row->last_request_id;
        shown->ack_floor = row->ack_floor;
        convert_text(shown->owner, sizeof(shown->owner), row->owner);
    }
    list->shown = (struct lockstep_session_list){.rows = list->rows,
                                                 .count = body->count,
                                                 .more = body->more,
                                                 .applied_index = reply->applied_index,
                                                 .time_ms = reply->time.ms};
    return &list->shown;
}

void lockstep_session_list_free(struct lockstep_session_list *list)
{
    free(list);
}

/* ---- cluster.status ---- */

void convert_node_status(struct lockstep_node_status *node, const struct proto_cluster_reply *reply)
{
    node->node_id = reply->node_id;
    node->is_leader = reply->leader_id != 0 && reply->leader_id == reply->node_id;
    node->cluster_id = reply->cluster_id;
    node->leader_id = reply->leader_id;
    node->term = reply->term;
    node->commit_index = reply->commit_index;
    node->applied_index = reply->applied_index;
    node->digest_index = reply->digest_index;
    node->digest = reply->digest;
    node->snapshot_index = reply->snapshot_index;
    node->log_first_index = reply->log_first_index;
    node->time_ms = reply->time.ms;
    node->sessions_count = reply->sessions_count;
    node->locks_count = reply->locks_count;
    node->uptime_ms = reply->uptime_ms;
    convert_text(node->version, sizeof(node->version), reply->version);
}
