/* The bodies of replies as text. */
#include "render_internal.h"

static void render_holder(struct proto_buffer *text, const struct proto_holder *holder)
{
    render_uint(text, "session_id", holder->session_id);
    render_text(text, "owner", holder->owner);
    render_uint(text, "token", holder->token);
    render_uint(text, "fence", holder->fence);
    render_uint(text, "mode", holder->mode);
    render_uint(text, "permits", holder->permits);
    render_uint(text, "holds", holder->holds);
    render_uint(text, "remaining_ms", holder->remaining_ms);
}

static void render_waiter(struct proto_buffer *text, const struct proto_waiter *waiter)
{
    render_uint(text, "session_id", waiter->session_id);
    render_text(text, "owner", waiter->owner);
    render_uint(text, "request_id", waiter->request_id);
    render_uint(text, "mode", waiter->mode);
    render_uint(text, "permits", waiter->permits);
    render_uint(text, "remaining_ms", waiter->remaining_ms);
}

static void row_begin(struct proto_buffer *text, uint32_t at)
{
    render_string(text, at > 0 ? " {" : "{");
}

static void row_end(struct proto_buffer *text)
{
    render_string(text, " }");
}

static void render_lock(struct proto_buffer *text, const struct proto_lock_reply *lock)
{
    render_uint(text, "mode", lock->mode);
    render_uint(text, "limit", lock->limit);
    render_uint(text, "permits_used", lock->permits_used);
    render_uint(text, "fence", lock->fence);
    render_uint(text, "holders_count", lock->holders_count);
    render_uint(text, "waiters_count", lock->waiters_count);
    render_uint(text, "delay_remaining_ms", lock->delay_remaining_ms);
    render_optional(text, "value", lock->has_value, lock->value);
    render_word(text, "holders", "[");
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        row_begin(text, i);
        render_holder(text, &lock->holders[i]);
        row_end(text);
    }
    render_string(text, "]");
    render_word(text, "waiters", "[");
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        row_begin(text, i);
        render_waiter(text, &lock->waiters[i]);
        row_end(text);
    }
    render_string(text, "]");
}

static void render_lock_list(struct proto_buffer *text, const struct proto_lock_list_reply *list)
{
    render_bool(text, "more", list->more);
    render_word(text, "rows", "[");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_lock_row *row = &list->rows[i];
        row_begin(text, i);
        render_text(text, "key", row->key);
        render_uint(text, "mode", row->mode);
        render_uint(text, "holders_count", row->holders_count);
        render_uint(text, "waiters_count", row->waiters_count);
        render_uint(text, "fence", row->fence);
        render_uint(text, "session_id", row->session_id);
        render_text(text, "owner", row->owner);
        render_uint(text, "remaining_ms", row->remaining_ms);
        render_uint(text, "delay_remaining_ms", row->delay_remaining_ms);
        row_end(text);
    }
    render_string(text, "]");
}

static void render_session_list(struct proto_buffer *text, const struct proto_session_list_reply *list)
{
    render_bool(text, "more", list->more);
    render_word(text, "rows", "[");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_session_row *row = &list->rows[i];
        row_begin(text, i);
        render_uint(text, "session_id", row->session_id);
        render_text(text, "owner", row->owner);
        render_uint(text, "ttl_ms", row->ttl_ms);
        render_uint(text, "remaining_ms", row->remaining_ms);
        render_uint(text, "lock_delay_ms", row->lock_delay_ms);
        render_uint(text, "grants_count", row->grants_count);
        render_uint(text, "waits_count", row->waits_count);
        render_uint(text, "last_request_id", row->last_request_id);
        render_uint(text, "ack_floor", row->ack_floor);
        row_end(text);
    }
    render_string(text, "]");
}

static void render_members(struct proto_buffer *text, const struct proto_cluster_reply *cluster)
{
    render_word(text, "members", "[");
    for (uint32_t i = 0; i < cluster->members_count; i++) {
        const struct proto_member *member = &cluster->members[i];
        row_begin(text, i);
        render_uint(text, "node_id", member->node_id);
        render_text(text, "peer_address", member->peer_address);
        render_text(text, "client_address", member->client_address);
        render_bool(text, "voter", member->voter);
        render_bool(text, "connected", member->connected);
        render_uint(text, "match_index", member->match_index);
        row_end(text);
    }
    render_string(text, "]");
}

static void render_cluster(struct proto_buffer *text, const struct proto_cluster_reply *cluster)
{
    render_uint(text, "cluster_id", cluster->cluster_id);
    render_uint(text, "node_id", cluster->node_id);
    render_uint(text, "leader_id", cluster->leader_id);
    render_uint(text, "term", cluster->term);
    render_uint(text, "commit_index", cluster->commit_index);
    render_uint(text, "applied_index", cluster->applied_index);
    render_uint(text, "digest_index", cluster->digest_index);
    render_uint(text, "digest", cluster->digest);
    render_uint(text, "snapshot_index", cluster->snapshot_index);
    render_uint(text, "log_first_index", cluster->log_first_index);
    render_uint(text, "cluster_time_ms", cluster->time.ms);
    render_uint(text, "sessions_count", cluster->sessions_count);
    render_uint(text, "locks_count", cluster->locks_count);
    render_uint(text, "uptime_ms", cluster->uptime_ms);
    render_text(text, "version", cluster->version);
    render_members(text, cluster);
}

static void render_refusal(struct proto_buffer *text, const struct proto_refusal *refusal)
{
    render_text(text, "detail", refusal->detail);
    render_uint(text, "retry_after_ms", refusal->retry_after_ms);
    render_uint(text, "leader_id", refusal->leader_id);
    render_text(text, "leader_address", refusal->leader_address);
}

static void render_session(struct proto_buffer *text, const struct proto_session_reply *session)
{
    render_uint(text, "session_id", session->session_id);
    render_uint(text, "ttl_ms", session->ttl_ms);
    render_uint(text, "deadline_ms", session->deadline.ms);
    render_bool(text, "resumed", session->resumed);
}

static void render_grant(struct proto_buffer *text, const struct proto_grant_reply *grant)
{
    render_uint(text, "token", grant->token);
    render_uint(text, "fence", grant->fence);
    render_uint(text, "holds", grant->holds);
    render_uint(text, "deadline_ms", grant->deadline.ms);
}

static void render_done(struct proto_buffer *text, const struct proto_reply *reply)
{
    switch ((int)reply->kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        render_session(text, &reply->body.session);
        break;
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        render_grant(text, &reply->body.grant);
        break;
    case PROTO_LOCK_RELEASE:
        render_uint(text, "holds", reply->body.release.holds);
        break;
    case PROTO_FORCE_RELEASE:
    case PROTO_SESSION_KILL:
        render_uint(text, "count", reply->body.count.count);
        break;
    case PROTO_LOCK_GET:
        render_lock(text, &reply->body.lock);
        break;
    case PROTO_LOCK_LIST:
        render_lock_list(text, &reply->body.lock_list);
        break;
    case PROTO_SESSION_GET:
    case PROTO_SESSION_LIST:
        render_session_list(text, &reply->body.session_list);
        break;
    case PROTO_REQUEST_GET:
        render_word(text, "request_status", proto_status_name((uint64_t)reply->body.request.status));
        render_uint(text, "token", reply->body.request.token);
        render_uint(text, "fence", reply->body.request.fence);
        break;
    case PROTO_CLUSTER_STATUS:
        render_cluster(text, &reply->body.cluster);
        break;
    default:
        break;
    }
}

void render_reply_body(struct proto_buffer *text, const struct proto_reply *reply)
{
    bool fence = reply->status == PROTO_STATUS_OK || reply->status == PROTO_STATUS_STALE_FENCE;
    if (reply->kind == PROTO_FENCE_CHECK && fence) {
        render_uint(text, "fence", reply->body.fence.fence);
    } else if (reply->status == PROTO_STATUS_OK) {
        render_done(text, reply);
    } else if (reply->status == PROTO_STATUS_HELD) {
        render_holder(text, &reply->body.holder);
    } else {
        render_refusal(text, &reply->body.refusal);
    }
}
