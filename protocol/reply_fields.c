/* The bodies of replies. Each shape has a pack and a take function side by side; the order of the fields is the wire's.
 * Rows are arrays within the body's array, each with its own length, so that a later version may add to them. */
#include "protocol/bodies.h"

#include "protocol/assert.h"

/* ---- rows: a declared count more than what fits is an error, elements beyond the known ones are skipped ---- */

static void pack_rows(struct proto_buffer *p, uint32_t count, uint32_t max)
{
    LOCKSTEP_ASSERT(count <= max); /* the reader would refuse the whole reply */
    pack_array(p, count);
}

static uint32_t take_rows(struct cursor *c, uint32_t max)
{
    uint32_t count = cursor_array(c);
    if (count > max && c->expected == NULL) {
        c->expected = "fewer rows";
        c->at = c->end;
    }
    return c->expected == NULL ? count : 0;
}

static uint32_t row_begin(struct cursor *c, uint32_t known)
{
    uint32_t count = cursor_array(c);
    if (count < known && c->expected == NULL) {
        c->expected = "a row with all its fields";
        c->at = c->end;
    }
    return count;
}

static void row_end(struct cursor *c, uint32_t count, uint32_t known)
{
    for (uint32_t i = known; i < count && c->expected == NULL; i++) {
        cursor_skip(c);
    }
}

/* ---- shapes ---- */

static void pack_session(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->session.session_id);
    pack_uint(p, body->session.ttl_ms);
    pack_uint(p, body->session.deadline.ms);
    pack_bool(p, body->session.resumed);
}
static void take_session(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->session.session_id = cursor_uint(c);
    body->session.ttl_ms = cursor_uint(c);
    body->session.deadline.ms = cursor_uint(c);
    body->session.resumed = cursor_bool(c);
}

static void pack_grant(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->grant.token);
    pack_uint(p, body->grant.fence);
    pack_uint(p, body->grant.holds);
    pack_uint(p, body->grant.deadline.ms);
}
static void take_grant(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->grant.token = cursor_uint(c);
    body->grant.fence = cursor_uint(c);
    body->grant.holds = cursor_uint32(c);
    body->grant.deadline.ms = cursor_uint(c);
}

static void pack_release(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->release.holds);
}
static void take_release(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->release.holds = cursor_uint32(c);
}

static void pack_count(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->count.count);
}
static void take_count(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->count.count = cursor_uint(c);
}

enum { HOLDER_FIELDS = 8, WAITER_FIELDS = 6, LOCK_ROW_FIELDS = 9, SESSION_ROW_FIELDS = 9, MEMBER_FIELDS = 6 };

static void pack_holder_fields(struct proto_buffer *p, const struct proto_holder *holder)
{
    pack_uint(p, holder->session_id);
    pack_text(p, holder->owner);
    pack_uint(p, holder->token);
    pack_uint(p, holder->fence);
    pack_uint(p, holder->mode);
    pack_uint(p, holder->permits);
    pack_uint(p, holder->holds);
    pack_uint(p, holder->remaining_ms);
}
static void take_holder_fields(struct cursor *c, struct proto_holder *holder)
{
    holder->session_id = cursor_uint(c);
    holder->owner = cursor_text(c);
    holder->token = cursor_uint(c);
    holder->fence = cursor_uint(c);
    holder->mode = (enum proto_mode)cursor_uint32(c);
    holder->permits = cursor_uint32(c);
    holder->holds = cursor_uint32(c);
    holder->remaining_ms = cursor_uint(c);
}

static void pack_holder(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_holder_fields(p, &body->holder);
}
static void take_holder(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    take_holder_fields(c, &body->holder);
}

static void pack_waiter(struct proto_buffer *p, const struct proto_waiter *waiter)
{
    pack_array(p, WAITER_FIELDS);
    pack_uint(p, waiter->session_id);
    pack_text(p, waiter->owner);
    pack_uint(p, waiter->request_id);
    pack_uint(p, waiter->mode);
    pack_uint(p, waiter->permits);
    pack_uint(p, waiter->remaining_ms);
}
static void take_waiter(struct cursor *c, struct proto_waiter *waiter)
{
    uint32_t count = row_begin(c, WAITER_FIELDS);
    waiter->session_id = cursor_uint(c);
    waiter->owner = cursor_text(c);
    waiter->request_id = cursor_uint(c);
    waiter->mode = (enum proto_mode)cursor_uint32(c);
    waiter->permits = cursor_uint32(c);
    waiter->remaining_ms = cursor_uint(c);
    row_end(c, count, WAITER_FIELDS);
}

static void pack_lock(struct proto_buffer *p, const union proto_reply_body *body)
{
    const struct proto_lock_reply *lock = &body->lock;
    pack_uint(p, lock->mode);
    pack_uint(p, lock->limit);
    pack_uint(p, lock->permits_used);
    pack_uint(p, lock->fence);
    pack_uint(p, lock->holders_count);
    pack_uint(p, lock->waiters_count);
    pack_uint(p, lock->delay_remaining_ms);
    if (lock->has_value) {
        pack_binary(p, lock->value);
    } else {
        pack_nil(p);
    }
    pack_rows(p, lock->holders_shown, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        pack_array(p, HOLDER_FIELDS);
        pack_holder_fields(p, &lock->holders[i]);
    }
    pack_rows(p, lock->waiters_shown, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        pack_waiter(p, &lock->waiters[i]);
    }
}
static void take_lock(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    struct proto_lock_reply *lock = &body->lock;
    lock->mode = (enum proto_mode)cursor_uint32(c);
    lock->limit = cursor_uint32(c);
    lock->permits_used = cursor_uint32(c);
    lock->fence = cursor_uint(c);
    lock->holders_count = cursor_uint(c);
    lock->waiters_count = cursor_uint(c);
    lock->delay_remaining_ms = cursor_uint(c);
    lock->has_value = !cursor_nil(c);
    lock->value = lock->has_value ? cursor_binary(c) : (struct proto_bytes){NULL, 0};
    lock->holders = rows->holders;
    lock->holders_shown = take_rows(c, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        uint32_t count = row_begin(c, HOLDER_FIELDS);
        take_holder_fields(c, &rows->holders[i]);
        row_end(c, count, HOLDER_FIELDS);
    }
    lock->waiters = rows->waiters;
    lock->waiters_shown = take_rows(c, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        take_waiter(c, &rows->waiters[i]);
    }
}

static void pack_lock_list(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_bool(p, body->lock_list.more);
    pack_rows(p, body->lock_list.count, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < body->lock_list.count; i++) {
        const struct proto_lock_row *row = &body->lock_list.rows[i];
        pack_array(p, LOCK_ROW_FIELDS);
        pack_text(p, row->key);
        pack_uint(p, row->mode);
        pack_uint(p, row->holders_count);
        pack_uint(p, row->waiters_count);
        pack_uint(p, row->fence);
        pack_uint(p, row->session_id);
        pack_text(p, row->owner);
        pack_uint(p, row->remaining_ms);
        pack_uint(p, row->delay_remaining_ms);
    }
}
static void take_lock_list(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    body->lock_list.more = cursor_bool(c);
    body->lock_list.rows = rows->locks;
    body->lock_list.count = take_rows(c, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < body->lock_list.count; i++) {
        struct proto_lock_row *row = &rows->locks[i];
        uint32_t count = row_begin(c, LOCK_ROW_FIELDS);
        row->key = cursor_text(c);
        row->mode = (enum proto_mode)cursor_uint32(c);
        row->holders_count = cursor_uint(c);
        row->waiters_count = cursor_uint(c);
        row->fence = cursor_uint(c);
        row->session_id = cursor_uint(c);
        row->owner = cursor_text(c);
        row->remaining_ms = cursor_uint(c);
        row->delay_remaining_ms = cursor_uint(c);
        row_end(c, count, LOCK_ROW_FIELDS);
    }
}

static void pack_session_list(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_bool(p, body->session_list.more);
    pack_rows(p, body->session_list.count, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < body->session_list.count; i++) {
        const struct proto_session_row *row = &body->session_list.rows[i];
        pack_array(p, SESSION_ROW_FIELDS);
        pack_uint(p, row->session_id);
        pack_text(p, row->owner);
        pack_uint(p, row->ttl_ms);
        pack_uint(p, row->remaining_ms);
        pack_uint(p, row->lock_delay_ms);
        pack_uint(p, row->grants_count);
        pack_uint(p, row->waits_count);
        pack_uint(p, row->last_request_id);
        pack_uint(p, row->ack_floor);
    }
}
static void take_session_list(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    body->session_list.more = cursor_bool(c);
    body->session_list.rows = rows->sessions;
    body->session_list.count = take_rows(c, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < body->session_list.count; i++) {
        struct proto_session_row *row = &rows->sessions[i];
        uint32_t count = row_begin(c, SESSION_ROW_FIELDS);
        row->session_id = cursor_uint(c);
        row->owner = cursor_text(c);
        row->ttl_ms = cursor_uint(c);
        row->remaining_ms = cursor_uint(c);
        row->lock_delay_ms = cursor_uint(c);
        row->grants_count = cursor_uint(c);
        row->waits_count = cursor_uint(c);
        row->last_request_id = cursor_uint(c);
        row->ack_floor = cursor_uint(c);
        row_end(c, count, SESSION_ROW_FIELDS);
    }
}

static void pack_fence(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->fence.fence);
}
static void take_fence(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->fence.fence = cursor_uint(c);
}

static void pack_request(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_uint(p, body->request.status);
    pack_uint(p, body->request.token);
    pack_uint(p, body->request.fence);
}
static void take_request(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->request.status = (enum proto_status)cursor_uint32(c);
    body->request.token = cursor_uint(c);
    body->request.fence = cursor_uint(c);
}

static void pack_members(struct proto_buffer *p, const struct proto_cluster_reply *cluster)
{
    pack_rows(p, cluster->members_count, PROTO_MEMBERS_MAX);
    for (uint32_t i = 0; i < cluster->members_count; i++) {
        const struct proto_member *member = &cluster->members[i];
        pack_array(p, MEMBER_FIELDS);
        pack_uint(p, member->node_id);
        pack_text(p, member->peer_address);
        pack_text(p, member->client_address);
        pack_bool(p, member->voter);
        pack_bool(p, member->connected);
        pack_uint(p, member->match_index);
    }
}
static void take_members(struct cursor *c, struct proto_rows *rows, struct proto_cluster_reply *cluster)
{
    cluster->members = rows->members;
    cluster->members_count = take_rows(c, PROTO_MEMBERS_MAX);
    for (uint32_t i = 0; i < cluster->members_count; i++) {
        struct proto_member *member = &rows->members[i];
        uint32_t count = row_begin(c, MEMBER_FIELDS);
        member->node_id = cursor_uint(c);
        member->peer_address = cursor_text(c);
        member->client_address = cursor_text(c);
        member->voter = cursor_bool(c);
        member->connected = cursor_bool(c);
        member->match_index = cursor_uint(c);
        row_end(c, count, MEMBER_FIELDS);
    }
}

static void pack_cluster(struct proto_buffer *p, const union proto_reply_body *body)
{
    const struct proto_cluster_reply *cluster = &body->cluster;
    pack_uint(p, cluster->cluster_id);
    pack_uint(p, cluster->node_id);
    pack_uint(p, cluster->leader_id);
    pack_uint(p, cluster->term);
    pack_uint(p, cluster->commit_index);
    pack_uint(p, cluster->applied_index);
    pack_uint(p, cluster->digest_index);
    pack_uint(p, cluster->digest);
    pack_uint(p, cluster->snapshot_index);
    pack_uint(p, cluster->log_first_index);
    pack_uint(p, cluster->time.ms);
    pack_uint(p, cluster->sessions_count);
    pack_uint(p, cluster->locks_count);
    pack_uint(p, cluster->uptime_ms);
    pack_text(p, cluster->version);
    pack_members(p, cluster);
}
static void take_cluster(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    struct proto_cluster_reply *cluster = &body->cluster;
    cluster->cluster_id = cursor_uint(c);
    cluster->node_id = cursor_uint(c);
    cluster->leader_id = cursor_uint(c);
    cluster->term = cursor_uint(c);
    cluster->commit_index = cursor_uint(c);
    cluster->applied_index = cursor_uint(c);
    cluster->digest_index = cursor_uint(c);
    cluster->digest = cursor_uint(c);
    cluster->snapshot_index = cursor_uint(c);
    cluster->log_first_index = cursor_uint(c);
    cluster->time.ms = cursor_uint(c);
    cluster->sessions_count = cursor_uint(c);
    cluster->locks_count = cursor_uint(c);
    cluster->uptime_ms = cursor_uint(c);
    cluster->version = cursor_text(c);
    take_members(c, rows, cluster);
}

static void pack_refusal(struct proto_buffer *p, const union proto_reply_body *body)
{
    pack_text(p, body->refusal.detail);
    pack_uint(p, body->refusal.retry_after_ms);
    pack_uint(p, body->refusal.leader_id);
    pack_text(p, body->refusal.leader_address);
}
static void take_refusal(struct cursor *c, struct proto_rows *rows, union proto_reply_body *body)
{
    (void)rows;
    body->refusal.detail = cursor_text(c);
    body->refusal.retry_after_ms = cursor_uint(c);
    body->refusal.leader_id = cursor_uint(c);
    body->refusal.leader_address = cursor_text(c);
}

/* ---- the table ---- */

static const struct shape {
    size_t count;
    void (*pack)(struct proto_buffer *buffer, const union proto_reply_body *body);
    void (*take)(struct cursor *cursor, struct proto_rows *rows, union proto_reply_body *body);
} shapes[] = {
    [REPLY_NOTHING] = {0, NULL, NULL},
    [REPLY_SESSION] = {4, pack_session, take_session},
    [REPLY_GRANT] = {4, pack_grant, take_grant},
    [REPLY_RELEASE] = {1, pack_release, take_release},
    [REPLY_COUNT] = {1, pack_count, take_count},
    [REPLY_LOCK] = {10, pack_lock, take_lock},
    [REPLY_LOCK_LIST] = {2, pack_lock_list, take_lock_list},
    [REPLY_SESSION_LIST] = {2, pack_session_list, take_session_list},
    [REPLY_FENCE] = {1, pack_fence, take_fence},
    [REPLY_REQUEST] = {3, pack_request, take_request},
    [REPLY_CLUSTER] = {16, pack_cluster, take_cluster},
    [REPLY_HOLDER] = {HOLDER_FIELDS, pack_holder, take_holder},
    [REPLY_REFUSAL] = {4, pack_refusal, take_refusal},
};

enum reply_shape reply_shape_of(enum proto_kind kind, enum proto_status status)
{
    if (kind == PROTO_FENCE_CHECK && (status == PROTO_STATUS_OK || status == PROTO_STATUS_STALE_FENCE)) {
        return REPLY_FENCE;
    }
    if (status == PROTO_STATUS_HELD) {
        return REPLY_HOLDER;
    }
    if (status != PROTO_STATUS_OK) {
        return REPLY_REFUSAL;
    }
    switch ((int)kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        return REPLY_SESSION;
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        return REPLY_GRANT;
    case PROTO_LOCK_RELEASE:
        return REPLY_RELEASE;
    case PROTO_FORCE_RELEASE:
    case PROTO_SESSION_KILL:
        return REPLY_COUNT;
    case PROTO_LOCK_GET:
        return REPLY_LOCK;
    case PROTO_LOCK_LIST:
        return REPLY_LOCK_LIST;
    case PROTO_SESSION_GET:
    case PROTO_SESSION_LIST:
        return REPLY_SESSION_LIST;
    case PROTO_REQUEST_GET:
        return REPLY_REQUEST;
    case PROTO_CLUSTER_STATUS:
        return REPLY_CLUSTER;
    default:
        return REPLY_NOTHING;
    }
}

size_t reply_fields_count(enum reply_shape shape)
{
    return shapes[shape].count;
}

void reply_fields_pack(struct proto_buffer *buffer, enum reply_shape shape,
                       const union proto_reply_body *body)
{
    if (shape != REPLY_NOTHING) {
        shapes[shape].pack(buffer, body);
    }
}

void reply_fields_take(struct cursor *cursor, enum reply_shape shape, struct proto_rows *rows,
                       union proto_reply_body *body)
{
    if (shape != REPLY_NOTHING) {
        shapes[shape].take(cursor, rows, body);
    }
}
