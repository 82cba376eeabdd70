/* Owns the translation of bytes into fields. The head of choose.h says what it is for. */
#include "tests/fuzz/choose.h"

#include <string.h>

#include "protocol/assert.h"

static struct proto_bytes text(const char *string)
{
    return (struct proto_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

void known_token(struct known *known, uint64_t token)
{
    known->tokens[known->tokens_count++ % CHOOSE_TOKENS] = token;
}

/* The longest is PROTO_KEY_BYTES_MAX long. */
struct proto_bytes choose_key(struct input *input)
{
    static const char *const keys[CHOOSE_KEYS] = {"a", "b", "jobs/nightly", NULL};
    static uint8_t longest[PROTO_KEY_BYTES_MAX];
    const char *key = keys[input_below(input, CHOOSE_KEYS)];
    if (key != NULL) {
        return text(key);
    }
    memset(longest, 'z', sizeof longest);
    return (struct proto_bytes){longest, sizeof longest};
}

uint64_t choose_ms(struct input *input, uint64_t min, uint64_t max)
{
    static const uint64_t steps[] = {0, 1, 100, 150, 500, 1000, 60000};
    uint8_t byte = input_byte(input);
    uint64_t ms;
    if (byte >= 0xfe) {
        ms = byte == 0xff ? max : min;
    } else if (byte >= 0xe0) {
        ms = input_u16(input);
    } else {
        ms = steps[byte % (sizeof steps / sizeof steps[0])];
    }
    return ms < min ? min : ms > max ? max : ms;
}

enum proto_kind choose_kind(struct input *input)
{
    static const enum proto_kind kinds[] = {
#define X(kind, enum_name, name, function, sent_by, served_by, since) PROTO_##enum_name,
        PROTO_OPERATIONS(X)
#undef X
    };
    return kinds[input_below(input, sizeof kinds / sizeof kinds[0])];
}

static struct proto_bytes choose_value(struct input *input)
{
    static uint8_t largest[PROTO_VALUE_BYTES_MAX];
    unsigned size = input_byte(input);
    return size == 0xff ? (struct proto_bytes){largest, sizeof largest} : input_bytes(input, size % 16);
}

static uint64_t choose_token(struct input *input, const struct known *known)
{
    uint8_t byte = input_byte(input);
    return byte >= 0xf0 ? input_u64(input) : byte >= 0xe0 ? 0 : known->tokens[byte % CHOOSE_TOKENS];
}

static uint64_t choose_session(struct input *input, const struct known *known)
{
    uint8_t byte = input_byte(input);
    return byte >= 0xf0 ? input_u64(input) : known->sessions[byte % CHOOSE_CLIENTS];
}

static uint64_t ttl_or_zero(struct input *input)
{
    return input_below(input, 2) == 0 ? 0 : choose_ms(input, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX);
}

static struct proto_lock_acquire choose_acquire(struct input *input)
{
    struct proto_lock_acquire acquire = {.key = choose_key(input)};
    uint8_t bits = input_byte(input);
    acquire.mode = (enum proto_mode)(bits % 3);
    if (acquire.mode == PROTO_MODE_PERMITS) {
        acquire.limit = 1 + input_below(input, 4);
        acquire.permits = 1 + input_below(input, acquire.limit);
        if ((bits & 0x80) != 0) {
            acquire.limit = PROTO_PERMITS_MAX;
        }
    }
    acquire.reentrant = (bits & 0x10) != 0;
    acquire.ttl_ms = (bits & 0x20) != 0 ? choose_ms(input, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX) : 0;
    unsigned wait = input_below(input, 4);
    acquire.wait_ms = wait == 0 ? 0 : wait == 1 ? PROTO_WAIT_FOREVER : choose_ms(input, 0, PROTO_WAIT_MS_MAX);
    acquire.has_value = (bits & 0x40) != 0;
    if (acquire.has_value) {
        acquire.value = choose_value(input);
    }
    return acquire;
}

/* Operations of the log. */
static void choose_command(struct input *input, const struct known *known, enum proto_kind kind,
                           union proto_request_body *body)
{
    static const char *const reasons[] = {"r", "maintenance \xc3\xa9"};
    switch ((int)kind) {
    case PROTO_SESSION_OPEN:
        body->session_open.owner = input_below(input, 2) == 0 ? text("") : text("owner");
        body->session_open.ttl_ms = choose_ms(input, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX);
        body->session_open.lock_delay_ms = choose_ms(input, 0, PROTO_LOCK_DELAY_MS_MAX);
        body->session_open.resume_id = input_below(input, 4) == 0 ? choose_session(input, known) : 0;
        break;
    case PROTO_SESSION_RENEW:
        body->session_renew.ttl_ms = ttl_or_zero(input);
        break;
    case PROTO_LOCK_ACQUIRE:
        body->lock_acquire = choose_acquire(input);
        break;
    case PROTO_LOCK_EXTEND:
        body->lock_extend.key = choose_key(input);
        body->lock_extend.token = choose_token(input, known);
        body->lock_extend.ttl_ms = ttl_or_zero(input);
        break;
    case PROTO_LOCK_RELEASE:
        body->lock_release.key = choose_key(input);
        body->lock_release.token = choose_token(input, known);
        body->lock_release.all = input_below(input, 2) == 0;
        break;
    case PROTO_LOCK_CANCEL:
        body->lock_cancel.target_id = input_byte(input);
        break;
    case PROTO_LOCK_SET_VALUE:
        body->lock_set_value.key = choose_key(input);
        body->lock_set_value.token = choose_token(input, known);
        body->lock_set_value.value = choose_value(input);
        break;
    case PROTO_FORCE_RELEASE:
        body->force_release.key = choose_key(input);
        body->force_release.token = choose_token(input, known);
        body->force_release.reason = text(reasons[input_below(input, 2)]);
        break;
    case PROTO_SESSION_KILL:
        body->session_kill.session_id = choose_session(input, known);
        body->session_kill.reason = text(reasons[input_below(input, 2)]);
        break;
    default:
        break; /* session.close and epoch.raise have no fields */
    }
}

static void choose_query(struct input *input, const struct known *known, enum proto_kind kind,
                         union proto_request_body *body)
{
    switch ((int)kind) {
    case PROTO_LOCK_GET:
        body->lock_get.key = choose_key(input);
        break;
    case PROTO_LOCK_LIST:
        body->lock_list.prefix = input_below(input, 2) == 0 ? text("") : choose_key(input);
        body->lock_list.after = input_below(input, 2) == 0 ? text("") : choose_key(input);
        body->lock_list.max = 1 + input_below(input, PROTO_LIST_MAX);
        break;
    case PROTO_SESSION_GET:
        body->session_get.session_id = choose_session(input, known);
        break;
    case PROTO_SESSION_LIST:
        body->session_list.after_id = choose_session(input, known);
        body->session_list.max = 1 + input_below(input, PROTO_LIST_MAX);
        break;
    case PROTO_FENCE_CHECK:
        body->fence_check.key = choose_key(input);
        body->fence_check.fence = choose_token(input, known);
        break;
    case PROTO_REQUEST_GET:
        body->request_get.session_id = choose_session(input, known);
        body->request_get.request_id = input_byte(input);
        break;
    case PROTO_CLUSTER_TRANSFER:
        body->cluster_transfer.node_id = input_below(input, 5);
        break;
    default:
        break; /* cluster.status and ping have no fields */
    }
}

void choose_body(struct input *input, const struct known *known, enum proto_kind kind,
                 union proto_request_body *ret_body)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)kind);
    LOCKSTEP_ASSERT(operation != NULL);
    memset(ret_body, 0, sizeof *ret_body);
    if (operation->served_by == PROTO_LOG) {
        choose_command(input, known, kind, ret_body);
    } else {
        choose_query(input, known, kind, ret_body);
    }
}

void choose_request(struct input *input, const struct known *known, unsigned client, enum proto_kind kind,
                    uint64_t id, struct proto_request *ret_request)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)kind);
    *ret_request = (struct proto_request){.kind = kind, .id = id};
    if (operation->sent_by == PROTO_SESSION) {
        uint64_t session_id = known->sessions[client];
        ret_request->session_id = session_id == 0 ? UINT64_C(1) + input_byte(input) : session_id;
        uint8_t behind = input_byte(input);
        ret_request->ack_floor = id > behind ? id - 1 - behind : 0;
    }
    if (operation->sent_by == PROTO_SESSION || kind == PROTO_SESSION_OPEN) {
        memset(ret_request->secret, (int)client + 1, sizeof ret_request->secret);
    }
    ret_request->stale = operation->served_by == PROTO_QUERY && input_below(input, 2) == 1;
    choose_body(input, known, kind, &ret_request->body);
}
