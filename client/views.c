/* See views.h. The rows of a list stand behind its head, in the same block. */
#include "client/views.h"

#include <stdlib.h>
#include <string.h>

void view_text(struct proto_bytes text, char *buffer, size_t size)
{
    size_t length = text.size < size - 1 ? text.size : size - 1;
    for (size_t i = 0; i < length; i++) {
        buffer[i] = text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : (char)text.data[i];
    }
    buffer[length] = '\0';
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

void view_holder(const struct proto_holder *holder, struct lockstep_holder *ret)
{
    *ret = (struct lockstep_holder){
        .session_id = holder->session_id,
        .token = holder->token,
        .fence = holder->fence,
        .remaining_ms = holder->remaining_ms,
        .mode = mode_of(holder->mode),
        .permits = holder->permits,
        .holds = holder->holds,
    };
    view_text(holder->owner, ret->owner, sizeof(ret->owner));
}

static void view_waiter(const struct proto_waiter *waiter, struct lockstep_waiter *ret)
{
    *ret = (struct lockstep_waiter){
        .session_id = waiter->session_id,
        .request_id = waiter->request_id,
        .remaining_ms = waiter->remaining_ms,
        .mode = mode_of(waiter->mode),
        .permits = waiter->permits,
    };
    view_text(waiter->owner, ret->owner, sizeof(ret->owner));
}

/* A lock's status with what its pointers point at. */
struct status_block {
    struct lockstep_lock_status status;
    struct lockstep_holder holders[PROTO_STATUS_HOLDERS_MAX];
    struct lockstep_waiter waiters[PROTO_STATUS_HOLDERS_MAX];
    uint8_t value[PROTO_VALUE_BYTES_MAX];
};

struct lockstep_lock_status *view_lock_status(const char *key, const struct proto_reply *reply)
{
    const struct proto_lock_reply *lock = &reply->body.lock;
    struct status_block *block = calloc(1, sizeof(*block));
    if (block == NULL) {
        return NULL;
    }
    struct lockstep_lock_status *status = &block->status;
    memcpy(status->key, key, strnlen(key, sizeof(status->key) - 1));
    status->mode = mode_of(lock->mode);
    status->limit = lock->limit;
    status->permits_used = lock->permits_used;
    status->fence = lock->fence;
    status->holders_count = lock->holders_count;
    status->waiters_count = lock->waiters_count;
    status->delay_remaining_ms = lock->delay_remaining_ms;
    status->has_value = lock->has_value;
    status->value_bytes = lock->value.size < sizeof(block->value) ? lock->value.size : sizeof(block->value);
    if (status->value_bytes > 0) {
        memcpy(block->value, lock->value.data, status->value_bytes);
    }
    status->value = block->value;
    for (size_t i = 0; i < lock->holders_shown && i < PROTO_STATUS_HOLDERS_MAX; i++, status->holders_shown++) {
        view_holder(&lock->holders[i], &block->holders[i]);
    }
    status->holders = block->holders;
    for (size_t i = 0; i < lock->waiters_shown && i < PROTO_STATUS_HOLDERS_MAX; i++, status->waiters_shown++) {
        view_waiter(&lock->waiters[i], &block->waiters[i]);
    }
    status->waiters = block->waiters;
    status->applied_index = reply->applied_index;
    status->time_ms = reply->time.ms;
    return status;
}

struct lock_list_block {
    struct lockstep_lock_list list;
    struct lockstep_lock_row rows[];
};

struct lockstep_lock_list *view_lock_list(const struct proto_reply *reply)
{
    const struct proto_lock_list_reply *list = &reply->body.lock_list;
    struct lock_list_block *block = calloc(1, sizeof(*block) + list->count * sizeof(block->rows[0]));
    if (block == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_lock_row *from = &list->rows[i];
        struct lockstep_lock_row *to = &block->rows[i];
        view_text(from->key, to->key, sizeof(to->key));
        view_text(from->owner, to->owner, sizeof(to->owner));
        to->mode = mode_of(from->mode);
        to->holders_count = from->holders_count;
        to->waiters_count = from->waiters_count;
        to->fence = from->fence;
        to->session_id = from->session_id;
        to->remaining_ms = from->remaining_ms;
        to->delay_remaining_ms = from->delay_remaining_ms;
    }
    block->list = (struct lockstep_lock_list){
        .rows = block->rows,
        .count = list->count,
        .more = list->more,
        .applied_index = reply->applied_index,
        .time_ms = reply->time.ms,
    };
    return &block->list;
}

struct session_list_block {
    struct lockstep_session_list list;
    struct lockstep_session_row rows[];
};

struct lockstep_session_list *view_session_list(const struct proto_reply *reply)
{
    const struct proto_session_list_reply *list = &reply->body.session_list;
    struct session_list_block *block = calloc(1, sizeof(*block) + list->count * sizeof(block->rows[0]));
    if (block == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_session_row *from = &list->rows[i];
        struct lockstep_session_row *to = &block->rows[i];
        to->session_id = from->session_id;
        to->ttl_ms = from->ttl_ms;
        to->remaining_ms = from->remaining_ms;
        to->lock_delay_ms = from->lock_delay_ms;
        to->grants_count = from->grants_count;
        to->waits_count = from->waits_count;
        to->last_request_id = from->last_request_id;
        to->ack_floor = from->ack_floor;
        view_text(from->owner, to->owner, sizeof(to->owner));
    }
    block->list = (struct lockstep_session_list){
        .rows = block->rows,
        .count = list->count,
        .more = list->more,
        .applied_index = reply->applied_index,
        .time_ms = reply->time.ms,
    };
    return &block->list;
}

void view_node(const struct proto_cluster_reply *cluster, struct lockstep_node_status *ret)
{
    ret->node_id = cluster->node_id;
    ret->is_leader = cluster->leader_id != 0 && cluster->leader_id == cluster->node_id;
    ret->cluster_id = cluster->cluster_id;
    ret->leader_id = cluster->leader_id;
    ret->term = cluster->term;
    ret->commit_index = cluster->commit_index;
    ret->applied_index = cluster->applied_index;
    ret->digest_index = cluster->digest_index;
    ret->digest = cluster->digest;
    ret->snapshot_index = cluster->snapshot_index;
    ret->log_first_index = cluster->log_first_index;
    ret->time_ms = cluster->time.ms;
    ret->sessions_count = cluster->sessions_count;
    ret->locks_count = cluster->locks_count;
    ret->uptime_ms = cluster->uptime_ms;
    view_text(cluster->version, ret->version, sizeof(ret->version));
}

void lockstep_lock_status_free(struct lockstep_lock_status *status)
{
    free(status); /* the first member of its block */
}

void lockstep_lock_list_free(struct lockstep_lock_list *list)
{
    free(list);
}

void lockstep_session_list_free(struct lockstep_session_list *list)
{
    free(list);
}
