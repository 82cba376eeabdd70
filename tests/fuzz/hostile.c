/* Owns the lies. The head of hostile.h says what they are for. */
#include "tests/fuzz/hostile.h"

#include <string.h>

#include "protocol/bodies.h"

enum { ROWS_MAX = 3, CLUSTER_ID = 99 };

static struct proto_bytes text(const char *string)
{
    return (struct proto_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

static struct proto_bytes address(struct input *input)
{
    static const char *const addresses[] = {"n1:1",        "n2:2",       "n3:3",    "",
                                            "elsewhere:7", "no address", "[::1]:0", "n1:99999"};
    uint8_t byte = input_byte(input);
    return byte < 0xf0 ? text(addresses[byte % 8]) : input_bytes(input, 8);
}

/* Small, or as `other` is, or an extreme, or anything. */
static uint64_t number(struct input *input, uint64_t other)
{
    uint8_t byte = input_byte(input);
    switch (byte % 8) {
    case 0:
    case 1:
    case 2:
        return other;
    case 3:
        return UINT64_MAX;
    case 4:
        return input_u64(input);
    default:
        return byte / 8;
    }
}

static uint64_t deadline(struct input *input, uint64_t cluster_ms)
{
    static const uint64_t steps[] = {3000, 100, 1, 0, 60000};
    unsigned which = input_below(input, 8);
    return which < 5 ? cluster_ms + steps[which] : number(input, cluster_ms - 1);
}

static struct proto_holder holder(struct input *input)
{
    return (struct proto_holder){
        .session_id = number(input, 7),
        .owner = text("other"),
        .token = number(input, 3),
        .fence = number(input, 3),
        .mode = (enum proto_mode)input_below(input, 3),
        .permits = input_below(input, 4),
        .holds = input_below(input, 4),
        .remaining_ms = number(input, 500),
    };
}

static struct proto_lock_reply lock(struct input *input)
{
    static struct proto_holder holders[ROWS_MAX];
    static struct proto_waiter waiters[ROWS_MAX];
    struct proto_lock_reply reply = {
        .mode = (enum proto_mode)input_below(input, 3), .holders = holders, .waiters = waiters};
    reply.holders_shown = input_below(input, ROWS_MAX + 1);
    reply.waiters_shown = input_below(input, ROWS_MAX + 1);
    for (uint32_t i = 0; i < reply.holders_shown; i++) {
        holders[i] = holder(input);
    }
    for (uint32_t i = 0; i < reply.waiters_shown; i++) {
        waiters[i] = (struct proto_waiter){.session_id = number(input, 7), .request_id = number(input, 1)};
    }
    reply.holders_count = number(input, reply.holders_shown);
    reply.waiters_count = number(input, reply.waiters_shown);
    reply.fence = number(input, 3);
    reply.has_value = input_below(input, 2) == 1;
    reply.value = reply.has_value ? input_bytes(input, input_below(input, 16)) : reply.value;
    return reply;
}

static struct proto_lock_list_reply lock_list(struct input *input)
{
    static struct proto_lock_row rows[ROWS_MAX];
    static const char *const keys[] = {"a", "b", "", "jobs/nightly"};
    struct proto_lock_list_reply reply = {.rows = rows, .count = input_below(input, ROWS_MAX + 1)};
    for (uint32_t i = 0; i < reply.count; i++) {
        rows[i] = (struct proto_lock_row){.key = text(keys[input_below(input, 4)]),
                                          .holders_count = number(input, 1)};
        rows[i].session_id = number(input, 7);
        rows[i].owner = text("other");
    }
    reply.more = input_below(input, 2) == 1;
    return reply;
}

static struct proto_session_list_reply session_list(struct input *input)
{
    static struct proto_session_row rows[ROWS_MAX];
    struct proto_session_list_reply reply = {.rows = rows, .count = input_below(input, ROWS_MAX + 1)};
    for (uint32_t i = 0; i < reply.count; i++) {
        rows[i] = (struct proto_session_row){
            .session_id = number(input, 7), .owner = text(""), .ttl_ms = number(input, 3000)};
    }
    reply.more = input_below(input, 2) == 1;
    return reply;
}

static struct proto_cluster_reply cluster(struct input *input)
{
    static struct proto_member members[ROWS_MAX];
    struct proto_cluster_reply reply = {
        .cluster_id = number(input, CLUSTER_ID), .version = text("0"), .members = members};
    reply.node_id = number(input, 1);
    reply.leader_id = number(input, 1);
    reply.members_count = input_below(input, ROWS_MAX + 1);
    for (uint32_t i = 0; i < reply.members_count; i++) {
        members[i] =
            (struct proto_member){number(input, i + 1), address(input), address(input), true, true, 0};
    }
    return reply;
}

static void fill_body(struct input *input, const struct proto_request *request, struct proto_reply *reply)
{
    union proto_reply_body *body = &reply->body;
    switch (reply_shape_of(reply->kind, reply->status)) {
    case REPLY_SESSION:
        body->session.session_id = number(input, request->session_id == 0 ? 7 : request->session_id);
        body->session.ttl_ms = number(input, 3000);
        body->session.deadline.ms = deadline(input, reply->time.ms);
        body->session.resumed = input_below(input, 2) == 1;
        break;
    case REPLY_GRANT:
        body->grant.token = number(input, request->id);
        body->grant.fence = number(input, body->grant.token);
        body->grant.holds = input_below(input, 4);
        body->grant.deadline.ms = deadline(input, reply->time.ms);
        break;
    case REPLY_RELEASE:
        body->release.holds = input_below(input, 4);
        break;
    case REPLY_COUNT:
        body->count.count = number(input, 1);
        break;
    case REPLY_LOCK:
        body->lock = lock(input);
        break;
    case REPLY_LOCK_LIST:
        body->lock_list = lock_list(input);
        break;
    case REPLY_SESSION_LIST:
        body->session_list = session_list(input);
        break;
    case REPLY_FENCE:
        body->fence.fence = number(input, 3);
        break;
    case REPLY_REQUEST:
        body->request.status = (enum proto_status)input_below(input, PROTO_STATUS_TOO_MANY_HOLDS + 1);
        body->request.token = number(input, 3);
        body->request.fence = number(input, 3);
        break;
    case REPLY_CLUSTER:
        body->cluster = cluster(input);
        break;
    case REPLY_HOLDER:
        body->holder = holder(input);
        break;
    case REPLY_REFUSAL:
        body->refusal.detail = text(input_below(input, 2) == 0 ? "" : "no");
        body->refusal.retry_after_ms = number(input, 500);
        body->refusal.leader_id = number(input, 2);
        body->refusal.leader_address = address(input);
        break;
    case REPLY_NOTHING:
        break;
    }
}

void hostile_reply(struct input *input, const struct proto_request *request, uint64_t cluster_ms,
                   struct proto_reply *ret_reply)
{
    uint8_t how = input_byte(input);
    *ret_reply = (struct proto_reply){.kind = request->kind, .id = request->id, .time = {cluster_ms}};
    if (how >= 0xfc) {
        ret_reply->kind = (enum proto_kind)input_byte(input);
        ret_reply->kind =
            proto_operation_find((uint64_t)ret_reply->kind) == NULL ? PROTO_PING : ret_reply->kind;
    }
    if (how >= 0xf8) {
        ret_reply->id = number(input, request->id + 1);
    }
    if (how >= 0xe0) {
        ret_reply->time.ms = number(input, cluster_ms - 1000);
    }
    ret_reply->status = how % 2 == 0 ? PROTO_STATUS_OK
                                     : (enum proto_status)input_below(input, PROTO_STATUS_TOO_MANY_HOLDS + 1);
    ret_reply->applied_index = how;
    fill_body(input, request, ret_reply);
}

void hostile_event(struct input *input, uint64_t session_id, uint64_t cluster_ms,
                   struct proto_event *ret_event)
{
    static const char *const keys[] = {"a", "b", "", "jobs/nightly"};
    *ret_event =
        (struct proto_event){.kind = (enum proto_event_kind)(PROTO_EVENT_GRANT_LOST + input_below(input, 3))};
    ret_event->detail = text("why");
    if (ret_event->kind == PROTO_EVENT_LEADER_MOVED) {
        ret_event->leader_id = number(input, 2);
        ret_event->leader_address = address(input);
        return;
    }
    ret_event->session_id = number(input, session_id);
    ret_event->time.ms = number(input, cluster_ms);
    ret_event->reason = (enum proto_end_reason)input_below(input, PROTO_END_FORCED + 2);
    if (ret_event->kind == PROTO_EVENT_GRANT_LOST) {
        ret_event->token = number(input, 3);
        ret_event->key = text(keys[input_below(input, 4)]);
    }
}

void hostile_hello(struct input *input, struct proto_hello_reply *ret_hello)
{
    uint8_t how = input_byte(input);
    *ret_hello = (struct proto_hello_reply){
        .version = 1, .cluster_id = CLUSTER_ID, .node_id = 1 + how % 3, .heartbeat_ms = 1000};
    if (how >= 0xf0) {
        ret_hello->status = (enum proto_status)input_below(input, PROTO_STATUS_TOO_MANY_HOLDS + 1);
        ret_hello->detail = text("no");
    }
    if (how >= 0xe0) {
        ret_hello->version = number(input, 1);
        ret_hello->cluster_id = number(input, CLUSTER_ID);
        ret_hello->heartbeat_ms = number(input, 0);
    }
    ret_hello->leader_id = how >= 0xc0 ? number(input, 0) : ret_hello->node_id;
    ret_hello->leader_address = how >= 0x80 ? address(input) : text("");
}
