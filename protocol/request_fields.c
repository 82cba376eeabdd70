/* The bodies of requests. Each operation has a pack and a take function side by side; the order of the fields is the
 * wire's. A later version adds fields at the end only. */
#include "protocol/bodies.h"

#include "protocol/assert.h"

static void pack_session_open(struct proto_buffer *p, const union proto_request_body *body)
{
    const struct proto_session_open *open = &body->session_open;
    pack_text(p, open->owner);
    pack_uint(p, open->ttl_ms);
    pack_uint(p, open->lock_delay_ms);
    pack_uint(p, open->resume_id);
}
static void take_session_open(struct cursor *c, union proto_request_body *body)
{
    struct proto_session_open *open = &body->session_open;
    open->owner = cursor_text(c);
    open->ttl_ms = cursor_uint(c);
    open->lock_delay_ms = cursor_uint(c);
    open->resume_id = cursor_uint(c);
}

static void pack_session_renew(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->session_renew.ttl_ms);
}
static void take_session_renew(struct cursor *c, union proto_request_body *body)
{
    body->session_renew.ttl_ms = cursor_uint(c);
}

static void pack_lock_acquire(struct proto_buffer *p, const union proto_request_body *body)
{
    const struct proto_lock_acquire *acquire = &body->lock_acquire;
    pack_text(p, acquire->key);
    pack_uint(p, acquire->mode);
    pack_uint(p, acquire->permits);
    pack_uint(p, acquire->limit);
    pack_uint(p, acquire->wait_ms);
    pack_bool(p, acquire->reentrant);
    pack_uint(p, acquire->ttl_ms);
    if (acquire->has_value) {
        pack_binary(p, acquire->value);
    } else {
        pack_nil(p);
    }
}
static void take_lock_acquire(struct cursor *c, union proto_request_body *body)
{
    struct proto_lock_acquire *acquire = &body->lock_acquire;
    acquire->key = cursor_text(c);
    acquire->mode = (enum proto_mode)cursor_uint32(c);
    acquire->permits = cursor_uint32(c);
    acquire->limit = cursor_uint32(c);
    acquire->wait_ms = cursor_uint(c);
    acquire->reentrant = cursor_bool(c);
    acquire->ttl_ms = cursor_uint(c);
    acquire->has_value = !cursor_nil(c);
    acquire->value = acquire->has_value ? cursor_binary(c) : (struct proto_bytes){NULL, 0};
}

static void pack_lock_extend(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->lock_extend.key);
    pack_uint(p, body->lock_extend.token);
    pack_uint(p, body->lock_extend.ttl_ms);
}
static void take_lock_extend(struct cursor *c, union proto_request_body *body)
{
    body->lock_extend.key = cursor_text(c);
    body->lock_extend.token = cursor_uint(c);
    body->lock_extend.ttl_ms = cursor_uint(c);
}

static void pack_lock_release(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->lock_release.key);
    pack_uint(p, body->lock_release.token);
    pack_bool(p, body->lock_release.all);
}
static void take_lock_release(struct cursor *c, union proto_request_body *body)
{
    body->lock_release.key = cursor_text(c);
    body->lock_release.token = cursor_uint(c);
    body->lock_release.all = cursor_bool(c);
}

static void pack_lock_cancel(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->lock_cancel.target_id);
}
static void take_lock_cancel(struct cursor *c, union proto_request_body *body)
{
    body->lock_cancel.target_id = cursor_uint(c);
}

static void pack_lock_set_value(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->lock_set_value.key);
    pack_uint(p, body->lock_set_value.token);
    pack_binary(p, body->lock_set_value.value);
}
static void take_lock_set_value(struct cursor *c, union proto_request_body *body)
{
    body->lock_set_value.key = cursor_text(c);
    body->lock_set_value.token = cursor_uint(c);
    body->lock_set_value.value = cursor_binary(c);
}

static void pack_lock_get(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->lock_get.key);
}
static void take_lock_get(struct cursor *c, union proto_request_body *body)
{
    body->lock_get.key = cursor_text(c);
}

static void pack_lock_list(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->lock_list.prefix);
    pack_text(p, body->lock_list.after);
    pack_uint(p, body->lock_list.max);
}
static void take_lock_list(struct cursor *c, union proto_request_body *body)
{
    body->lock_list.prefix = cursor_text(c);
    body->lock_list.after = cursor_text(c);
    body->lock_list.max = cursor_uint32(c);
}

static void pack_session_get(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->session_get.session_id);
}
static void take_session_get(struct cursor *c, union proto_request_body *body)
{
    body->session_get.session_id = cursor_uint(c);
}

static void pack_session_list(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->session_list.after_id);
    pack_uint(p, body->session_list.max);
}
static void take_session_list(struct cursor *c, union proto_request_body *body)
{
    body->session_list.after_id = cursor_uint(c);
    body->session_list.max = cursor_uint32(c);
}

static void pack_fence_check(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->fence_check.key);
    pack_uint(p, body->fence_check.fence);
}
static void take_fence_check(struct cursor *c, union proto_request_body *body)
{
    body->fence_check.key = cursor_text(c);
    body->fence_check.fence = cursor_uint(c);
}

static void pack_request_get(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->request_get.session_id);
    pack_uint(p, body->request_get.request_id);
}
static void take_request_get(struct cursor *c, union proto_request_body *body)
{
    body->request_get.session_id = cursor_uint(c);
    body->request_get.request_id = cursor_uint(c);
}

static void pack_force_release(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_text(p, body->force_release.key);
    pack_uint(p, body->force_release.token);
    pack_text(p, body->force_release.reason);
}
static void take_force_release(struct cursor *c, union proto_request_body *body)
{
    body->force_release.key = cursor_text(c);
    body->force_release.token = cursor_uint(c);
    body->force_release.reason = cursor_text(c);
}

static void pack_session_kill(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->session_kill.session_id);
    pack_text(p, body->session_kill.reason);
}
static void take_session_kill(struct cursor *c, union proto_request_body *body)
{
    body->session_kill.session_id = cursor_uint(c);
    body->session_kill.reason = cursor_text(c);
}

static void pack_cluster_transfer(struct proto_buffer *p, const union proto_request_body *body)
{
    pack_uint(p, body->cluster_transfer.node_id);
}
static void take_cluster_transfer(struct cursor *c, union proto_request_body *body)
{
    body->cluster_transfer.node_id = cursor_uint(c);
}

/* ---- the table ---- */

struct fields {
    size_t count;
    void (*pack)(struct proto_buffer *buffer, const union proto_request_body *body);
    void (*take)(struct cursor *cursor, union proto_request_body *body);
};

static struct fields fields_of(enum proto_kind kind)
{
    switch ((int)kind) {
#define FIELDS(enum_name, function, count) \
    case PROTO_##enum_name:                \
        return (struct fields){count, pack_##function, take_##function};
        FIELDS(SESSION_OPEN, session_open, 4)
        FIELDS(SESSION_RENEW, session_renew, 1)
        FIELDS(LOCK_ACQUIRE, lock_acquire, 8)
        FIELDS(LOCK_EXTEND, lock_extend, 3)
        FIELDS(LOCK_RELEASE, lock_release, 3)
        FIELDS(LOCK_CANCEL, lock_cancel, 1)
        FIELDS(LOCK_SET_VALUE, lock_set_value, 3)
        FIELDS(LOCK_GET, lock_get, 1)
        FIELDS(LOCK_LIST, lock_list, 3)
        FIELDS(SESSION_GET, session_get, 1)
        FIELDS(SESSION_LIST, session_list, 2)
        FIELDS(FENCE_CHECK, fence_check, 2)
        FIELDS(REQUEST_GET, request_get, 2)
        FIELDS(FORCE_RELEASE, force_release, 3)
        FIELDS(SESSION_KILL, session_kill, 2)
        FIELDS(CLUSTER_TRANSFER, cluster_transfer, 1)
#undef FIELDS
    default:
        LOCKSTEP_ASSERT(proto_operation_find((uint64_t)kind) != NULL);
        return (struct fields){0, NULL, NULL};
    }
}

size_t request_fields_count(enum proto_kind kind)
{
    return fields_of(kind).count;
}

void request_fields_pack(struct proto_buffer *buffer, enum proto_kind kind,
                         const union proto_request_body *body)
{
    struct fields fields = fields_of(kind);
    if (fields.count > 0) {
        fields.pack(buffer, body);
    }
}

void request_fields_take(struct cursor *cursor, enum proto_kind kind, union proto_request_body *body)
{
    struct fields fields = fields_of(kind);
    if (fields.count > 0) {
        fields.take(cursor, body);
    }
}
