/* Random messages that are valid. */
#include "arbitrary.h"

struct arbitrary *arbitrary_create(uint64_t seed)
{
    struct arbitrary *arbitrary = calloc(1, sizeof *arbitrary);
    assert_non_null(arbitrary);
    arbitrary->state = seed;
    return arbitrary;
}

/* SplitMix64. */
uint64_t arbitrary_number(struct arbitrary *arbitrary)
{
    uint64_t mixed = arbitrary->state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

uint64_t arbitrary_below(struct arbitrary *arbitrary, uint64_t bound)
{
    return arbitrary_number(arbitrary) % bound;
}

static uint64_t below(struct arbitrary *a, uint64_t bound)
{
    return arbitrary_below(a, bound);
}

static bool coin(struct arbitrary *a)
{
    return below(a, 2) == 0;
}

/* Numbers of every width alike. */
static uint64_t any(struct arbitrary *a)
{
    return arbitrary_number(a) >> below(a, 64);
}

static uint32_t any32(struct arbitrary *a)
{
    return (uint32_t)(any(a) >> 32);
}

static uint64_t within(struct arbitrary *a, uint64_t min, uint64_t max)
{
    switch (below(a, 4)) {
    case 0:
        return min;
    case 1:
        return max;
    default:
        return min + below(a, max - min + 1);
    }
}

static uint64_t positive(struct arbitrary *a)
{
    uint64_t number = any(a);
    return number > 0 ? number : 1;
}

/* Mostly short. */
static uint32_t size_within(struct arbitrary *a, uint32_t min, uint32_t max)
{
    uint32_t size = (uint32_t)(below(a, 8) == 0 ? within(a, min, max) : min + below(a, 12));
    return size <= max ? size : max;
}

static uint8_t *room(struct arbitrary *a, uint32_t size)
{
    uint8_t *at = a->bytes + a->used;
    assert_true(size <= sizeof a->bytes - a->used);
    a->used += size;
    return at;
}

static struct proto_bytes key_of(struct arbitrary *a, uint32_t size_min)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@-";
    uint32_t size = size_within(a, size_min, PROTO_KEY_BYTES_MAX);
    uint8_t *data = room(a, size);
    for (uint32_t i = 0; i < size; i++) {
        data[i] = (uint8_t)letters[below(a, sizeof letters - 1)];
    }
    return (struct proto_bytes){data, size};
}

/* Characters of one to four bytes, the first and last of each length among them. */
static struct proto_bytes text_within(struct arbitrary *a, uint32_t min, uint32_t max)
{
    static const char *const characters[] = {" ",
                                             "a",
                                             "\"",
                                             "\\",
                                             "~",
                                             "\xC2\xA0",
                                             "\xC3\xA9",
                                             "\xDF\xBF",
                                             "\xE0\xA0\x80",
                                             "\xED\x9F\xBF",
                                             "\xEE\x80\x80",
                                             "\xEF\xBF\xBF",
                                             "\xF0\x90\x80\x80",
                                             "\xF4\x8F\xBF\xBF"};
    uint32_t size = size_within(a, min, max);
    uint8_t *data = room(a, size);
    for (uint32_t at = 0; at < size;) {
        const char *character = characters[below(a, sizeof characters / sizeof characters[0])];
        if (strlen(character) > size - at) {
            character = "z";
        }
        memcpy(data + at, character, strlen(character));
        at += (uint32_t)strlen(character);
    }
    return (struct proto_bytes){data, size};
}

static struct proto_bytes binary_of(struct arbitrary *a, uint32_t max)
{
    uint32_t size = size_within(a, 0, max);
    uint8_t *data = room(a, size);
    for (uint32_t i = 0; i < size; i++) {
        data[i] = (uint8_t)arbitrary_number(a);
    }
    return (struct proto_bytes){data, size};
}

static struct proto_bytes owner_of(struct arbitrary *a)
{
    return text_within(a, 0, PROTO_OWNER_BYTES_MAX);
}

static struct proto_bytes address_of(struct arbitrary *a)
{
    return coin(a) ? bytes_of("") : bytes_of("[2001:db8::17]:7411");
}

/* ---- requests ---- */

static uint64_t ttl_or_zero(struct arbitrary *a)
{
    return coin(a) ? 0 : within(a, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX);
}

static void make_acquire(struct arbitrary *a, struct proto_lock_acquire *acquire)
{
    acquire->key = key_of(a, 1);
    acquire->mode = (enum proto_mode)below(a, 3);
    if (acquire->mode == PROTO_MODE_PERMITS) {
        acquire->limit = (uint32_t)within(a, 1, PROTO_PERMITS_MAX);
        acquire->permits = (uint32_t)within(a, 1, acquire->limit);
    }
    acquire->wait_ms = below(a, 4) == 0 ? PROTO_WAIT_FOREVER : within(a, 0, PROTO_WAIT_MS_MAX);
    acquire->reentrant = coin(a);
    acquire->ttl_ms = ttl_or_zero(a);
    acquire->has_value = coin(a);
    if (acquire->has_value) {
        acquire->value = binary_of(a, PROTO_VALUE_BYTES_MAX);
    }
}

static void make_session_body(struct arbitrary *a, enum proto_kind kind, union proto_request_body *body)
{
    switch ((int)kind) {
    case PROTO_SESSION_OPEN:
        body->session_open =
            (struct proto_session_open){owner_of(a), within(a, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX),
                                        within(a, 0, PROTO_LOCK_DELAY_MS_MAX), any(a)};
        break;
    case PROTO_SESSION_RENEW:
        body->session_renew.ttl_ms = ttl_or_zero(a);
        break;
    case PROTO_SESSION_GET:
        body->session_get.session_id = any(a);
        break;
    case PROTO_SESSION_LIST:
        body->session_list = (struct proto_session_list){any(a), (uint32_t)within(a, 1, PROTO_LIST_MAX)};
        break;
    case PROTO_REQUEST_GET:
        body->request_get = (struct proto_request_get){any(a), any(a)};
        break;
    case PROTO_SESSION_KILL:
        body->session_kill = (struct proto_session_kill){any(a), text_within(a, 1, PROTO_REASON_BYTES_MAX)};
        break;
    case PROTO_CLUSTER_TRANSFER:
        body->cluster_transfer.node_id = any(a);
        break;
    default:
        break;
    }
}

static void make_request_body(struct arbitrary *a, enum proto_kind kind, union proto_request_body *body)
{
    switch ((int)kind) {
    case PROTO_LOCK_ACQUIRE:
        make_acquire(a, &body->lock_acquire);
        break;
    case PROTO_LOCK_EXTEND:
        body->lock_extend = (struct proto_lock_extend){key_of(a, 1), any(a), ttl_or_zero(a)};
        break;
    case PROTO_LOCK_RELEASE:
        body->lock_release = (struct proto_lock_release){key_of(a, 1), any(a), coin(a)};
        break;
    case PROTO_LOCK_CANCEL:
        body->lock_cancel.target_id = any(a);
        break;
    case PROTO_LOCK_SET_VALUE:
        body->lock_set_value =
            (struct proto_lock_set_value){key_of(a, 1), any(a), binary_of(a, PROTO_VALUE_BYTES_MAX)};
        break;
    case PROTO_LOCK_GET:
        body->lock_get.key = key_of(a, 1);
        break;
    case PROTO_LOCK_LIST:
        body->lock_list =
            (struct proto_lock_list){key_of(a, 0), key_of(a, 0), (uint32_t)within(a, 1, PROTO_LIST_MAX)};
        break;
    case PROTO_FENCE_CHECK:
        body->fence_check = (struct proto_fence_check){key_of(a, 1), any(a)};
        break;
    case PROTO_FORCE_RELEASE:
        body->force_release =
            (struct proto_force_release){key_of(a, 1), any(a), text_within(a, 1, PROTO_REASON_BYTES_MAX)};
        break;
    default:
        make_session_body(a, kind, body);
    }
}

static const struct proto_operation *any_operation(struct arbitrary *a)
{
    static const enum proto_kind kinds[] = {
#define X(kind, enum_name, name, function, sent_by, served_by, since) PROTO_##enum_name,
        PROTO_OPERATIONS(X)
#undef X
    };
    const struct proto_operation *operation = NULL;
    do {
        operation = proto_operation_find((uint64_t)kinds[below(a, sizeof kinds / sizeof kinds[0])]);
    } while (operation->sent_by == PROTO_INTERNAL);
    return operation;
}

static void make_request(struct arbitrary *a, struct proto_request *request)
{
    const struct proto_operation *operation = any_operation(a);
    bool secret = operation->sent_by == PROTO_SESSION || operation->kind == PROTO_SESSION_OPEN;
    request->kind = operation->kind;
    request->id = positive(a);
    if (operation->sent_by == PROTO_SESSION) {
        request->session_id = positive(a);
        request->ack_floor = within(a, 0, request->id - 1);
    }
    for (size_t i = 0; secret && i < PROTO_SECRET_BYTES; i++) {
        request->secret[i] = (uint8_t)arbitrary_number(a);
    }
    request->stale = operation->served_by == PROTO_QUERY && coin(a);
    make_request_body(a, request->kind, &request->body);
}

/* ---- replies ---- */

static struct proto_holder any_holder(struct arbitrary *a)
{
    return (struct proto_holder){any(a),   owner_of(a), any(a), any(a), (enum proto_mode)below(a, 3),
                                 any32(a), any32(a),    any(a)};
}

static void make_lock(struct arbitrary *a, struct proto_lock_reply *lock)
{
    lock->mode = (enum proto_mode)below(a, 3);
    lock->limit = any32(a);
    lock->permits_used = any32(a);
    lock->fence = any(a);
    lock->holders_count = any(a);
    lock->waiters_count = any(a);
    lock->delay_remaining_ms = any(a);
    lock->has_value = coin(a);
    if (lock->has_value) {
        lock->value = binary_of(a, PROTO_VALUE_BYTES_MAX);
    }
    lock->holders = a->rows.holders;
    lock->holders_shown = size_within(a, 0, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        a->rows.holders[i] = any_holder(a);
    }
    lock->waiters = a->rows.waiters;
    lock->waiters_shown = size_within(a, 0, PROTO_STATUS_HOLDERS_MAX);
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        a->rows.waiters[i] = (struct proto_waiter){
            any(a), owner_of(a), any(a), (enum proto_mode)below(a, 3), any32(a), any(a)};
    }
}

static void make_lock_list(struct arbitrary *a, struct proto_lock_list_reply *list)
{
    list->more = coin(a);
    list->rows = a->rows.locks;
    list->count = size_within(a, 0, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        a->rows.locks[i] = (struct proto_lock_row){
            key_of(a, 1), (enum proto_mode)below(a, 3), any(a), any(a), any(a), any(a), owner_of(a), any(a),
            any(a)};
    }
}

static void make_session_list(struct arbitrary *a, struct proto_session_list_reply *list)
{
    list->more = coin(a);
    list->rows = a->rows.sessions;
    list->count = size_within(a, 0, PROTO_LIST_MAX);
    for (uint32_t i = 0; i < list->count; i++) {
        a->rows.sessions[i] = (struct proto_session_row){any(a), owner_of(a), any(a), any(a), any(a),
                                                         any(a), any(a),      any(a), any(a)};
    }
}

static void make_cluster(struct arbitrary *a, struct proto_cluster_reply *cluster)
{
    *cluster = (struct proto_cluster_reply){.cluster_id = any(a),
                                            .node_id = any(a),
                                            .leader_id = any(a),
                                            .term = any(a),
                                            .commit_index = any(a),
                                            .applied_index = any(a),
                                            .digest_index = any(a),
                                            .digest = any(a),
                                            .snapshot_index = any(a),
                                            .log_first_index = any(a),
                                            .time = {any(a)},
                                            .sessions_count = any(a),
                                            .locks_count = any(a),
                                            .uptime_ms = any(a),
                                            .version = text_within(a, 0, 32),
                                            .members = a->rows.members,
                                            .members_count = (uint32_t)below(a, PROTO_MEMBERS_MAX + 1)};
    for (uint32_t i = 0; i < cluster->members_count; i++) {
        a->rows.members[i] =
            (struct proto_member){any(a), address_of(a), address_of(a), coin(a), coin(a), any(a)};
    }
}

static enum proto_status any_status(struct arbitrary *a)
{
    static const enum proto_status statuses[] = {
#define X(name, code, outcome, client, text) PROTO_STATUS_##name,
        PROTO_STATUSES(X)
#undef X
    };
    return coin(a) ? PROTO_STATUS_OK : statuses[below(a, sizeof statuses / sizeof statuses[0])];
}

static void make_done(struct arbitrary *a, struct proto_reply *reply)
{
    switch ((int)reply->kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        reply->body.session = (struct proto_session_reply){any(a), any(a), {any(a)}, coin(a)};
        break;
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        reply->body.grant = (struct proto_grant_reply){any(a), any(a), any32(a), {any(a)}};
        break;
    case PROTO_LOCK_RELEASE:
        reply->body.release.holds = any32(a);
        break;
    case PROTO_FORCE_RELEASE:
    case PROTO_SESSION_KILL:
        reply->body.count.count = any(a);
        break;
    case PROTO_LOCK_GET:
        make_lock(a, &reply->body.lock);
        break;
    case PROTO_LOCK_LIST:
        make_lock_list(a, &reply->body.lock_list);
        break;
    case PROTO_SESSION_GET:
    case PROTO_SESSION_LIST:
        make_session_list(a, &reply->body.session_list);
        break;
    case PROTO_FENCE_CHECK:
        reply->body.fence.fence = any(a);
        break;
    case PROTO_REQUEST_GET:
        reply->body.request = (struct proto_request_reply){any_status(a), any(a), any(a)};
        break;
    case PROTO_CLUSTER_STATUS:
        make_cluster(a, &reply->body.cluster);
        break;
    default:
        break;
    }
}

static void make_reply(struct arbitrary *a, struct proto_reply *reply)
{
    const struct proto_operation *operation = any_operation(a);
    reply->kind = operation->kind;
    reply->id = any(a);
    reply->status = any_status(a);
    reply->time.ms = any(a);
    reply->applied_index = operation->served_by == PROTO_QUERY ? any(a) : 0;
    if (reply->status == PROTO_STATUS_OK) {
        make_done(a, reply);
    } else if (reply->status == PROTO_STATUS_HELD) {
        reply->body.holder = any_holder(a);
    } else if (reply->status == PROTO_STATUS_STALE_FENCE && reply->kind == PROTO_FENCE_CHECK) {
        reply->body.fence.fence = any(a);
    } else {
        reply->body.refusal =
            (struct proto_refusal){text_within(a, 0, PROTO_DETAIL_BYTES_MAX), any(a), any(a), address_of(a)};
        if (operation->served_by == PROTO_LOCAL && coin(a)) {
            reply->kind = (enum proto_kind)0; /* the request could not be decoded */
        }
    }
}

static void make_event(struct arbitrary *a, struct proto_event *event)
{
    static const enum proto_event_kind kinds[] = {PROTO_EVENT_GRANT_LOST, PROTO_EVENT_SESSION_ENDED,
                                                  PROTO_EVENT_LEADER_MOVED};
    event->kind = kinds[below(a, 3)];
    event->session_id = any(a);
    event->time.ms = any(a);
    if (event->kind == PROTO_EVENT_LEADER_MOVED) {
        event->leader_id = any(a);
        event->leader_address = address_of(a);
        return;
    }
    if (event->kind == PROTO_EVENT_GRANT_LOST) {
        event->token = any(a);
        event->key = key_of(a, 1);
    }
    event->reason = (enum proto_end_reason)below(a, 4);
    event->detail = text_within(a, 0, PROTO_REASON_BYTES_MAX);
}

static void make_hello_reply(struct arbitrary *a, struct proto_hello_reply *hello)
{
    *hello = (struct proto_hello_reply){
        any_status(a), any(a),        any(a), any(a),
        any(a),        address_of(a), any(a), text_within(a, 0, PROTO_DETAIL_BYTES_MAX)};
}

void arbitrary_message(struct arbitrary *a, enum message_kind kind, struct message *ret_message)
{
    memset(ret_message, 0, sizeof *ret_message);
    a->used = 0;
    ret_message->kind = kind;
    switch (kind) {
    case MESSAGE_HELLO_REQUEST:
        ret_message->as.hello_request.version_min = within(a, 0, 9);
        ret_message->as.hello_request.version_max = ret_message->as.hello_request.version_min + below(a, 9);
        ret_message->as.hello_request.cluster_id = any(a);
        ret_message->as.hello_request.agent = owner_of(a);
        return;
    case MESSAGE_HELLO_REPLY:
        make_hello_reply(a, &ret_message->as.hello_reply);
        return;
    case MESSAGE_REQUEST:
        make_request(a, &ret_message->as.request);
        return;
    case MESSAGE_REPLY:
        make_reply(a, &ret_message->as.reply);
        return;
    case MESSAGE_EVENT:
        make_event(a, &ret_message->as.event);
        return;
    case MESSAGE_KINDS:
        break;
    }
    fail();
}
