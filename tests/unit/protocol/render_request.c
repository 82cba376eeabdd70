/* The bodies of requests as text. */
#include "render_internal.h"

static void render_open(struct proto_buffer *text, const struct proto_session_open *open)
{
    render_text(text, "owner", open->owner);
    render_uint(text, "ttl_ms", open->ttl_ms);
    render_uint(text, "lock_delay_ms", open->lock_delay_ms);
    render_uint(text, "resume_id", open->resume_id);
}

static void render_acquire(struct proto_buffer *text, const struct proto_lock_acquire *acquire)
{
    render_text(text, "key", acquire->key);
    render_uint(text, "mode", acquire->mode);
    render_uint(text, "permits", acquire->permits);
    render_uint(text, "limit", acquire->limit);
    render_uint(text, "wait_ms", acquire->wait_ms);
    render_bool(text, "reentrant", acquire->reentrant);
    render_uint(text, "ttl_ms", acquire->ttl_ms);
    render_optional(text, "value", acquire->has_value, acquire->value);
}

/* What all of these begin with. */
static void render_grant(struct proto_buffer *text, struct proto_bytes key, uint64_t token)
{
    render_text(text, "key", key);
    render_uint(text, "token", token);
}

static void render_lock_request(struct proto_buffer *text, enum proto_kind kind,
                                const union proto_request_body *body)
{
    switch ((int)kind) {
    case PROTO_LOCK_ACQUIRE:
        render_acquire(text, &body->lock_acquire);
        break;
    case PROTO_LOCK_EXTEND:
        render_grant(text, body->lock_extend.key, body->lock_extend.token);
        render_uint(text, "ttl_ms", body->lock_extend.ttl_ms);
        break;
    case PROTO_LOCK_RELEASE:
        render_grant(text, body->lock_release.key, body->lock_release.token);
        render_bool(text, "all", body->lock_release.all);
        break;
    case PROTO_LOCK_CANCEL:
        render_uint(text, "target_id", body->lock_cancel.target_id);
        break;
    case PROTO_LOCK_SET_VALUE:
        render_grant(text, body->lock_set_value.key, body->lock_set_value.token);
        render_binary(text, "value", body->lock_set_value.value);
        break;
    case PROTO_LOCK_GET:
        render_text(text, "key", body->lock_get.key);
        break;
    case PROTO_LOCK_LIST:
        render_text(text, "prefix", body->lock_list.prefix);
        render_text(text, "after", body->lock_list.after);
        render_uint(text, "max", body->lock_list.max);
        break;
    case PROTO_FORCE_RELEASE:
        render_grant(text, body->force_release.key, body->force_release.token);
        render_text(text, "reason", body->force_release.reason);
        break;
    default:
        break;
    }
}

void render_request_body(struct proto_buffer *text, enum proto_kind kind,
                         const union proto_request_body *body)
{
    switch ((int)kind) {
    case PROTO_SESSION_OPEN:
        render_open(text, &body->session_open);
        break;
    case PROTO_SESSION_RENEW:
        render_uint(text, "ttl_ms", body->session_renew.ttl_ms);
        break;
    case PROTO_SESSION_GET:
        render_uint(text, "session_id", body->session_get.session_id);
        break;
    case PROTO_SESSION_LIST:
        render_uint(text, "after_id", body->session_list.after_id);
        render_uint(text, "max", body->session_list.max);
        break;
    case PROTO_FENCE_CHECK:
        render_text(text, "key", body->fence_check.key);
        render_uint(text, "fence", body->fence_check.fence);
        break;
    case PROTO_REQUEST_GET:
        render_uint(text, "session_id", body->request_get.session_id);
        render_uint(text, "request_id", body->request_get.request_id);
        break;
    case PROTO_SESSION_KILL:
        render_uint(text, "session_id", body->session_kill.session_id);
        render_text(text, "reason", body->session_kill.reason);
        break;
    case PROTO_CLUSTER_TRANSFER:
        render_uint(text, "node_id", body->cluster_transfer.node_id);
        break;
    default:
        render_lock_request(text, kind, body);
    }
}
