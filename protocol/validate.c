/* Bounds of the fields of requests, each refusal naming the field, what came and what is allowed. What passes here can
 * be applied by the state machine without a further check of its shape. */
#include "protocol/validate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES_RULE "[A-Za-z0-9._:/@-]"

bool error_set(struct proto_error *error, enum proto_status status, const char *format, ...)
{
    va_list arguments;
    error->status = status;
    va_start(arguments, format);
    (void)vsnprintf(error->detail, sizeof error->detail, format, arguments);
    va_end(arguments);
    return false;
}

static bool key_byte_valid(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '-' && byte <= ':') ||
           byte == '_' || byte == '@';
}

_Static_assert('-' + 1 == '.' && '.' + 1 == '/' && '/' + 1 == '0' && '9' + 1 == ':', "'-'..':' is -./0-9:");

static bool key_bytes_valid(struct proto_bytes key)
{
    for (uint32_t i = 0; i < key.size; i++) {
        if (!key_byte_valid(key.data[i])) {
            return false;
        }
    }
    return true;
}

bool proto_key_valid(struct proto_bytes key)
{
    return key.size >= PROTO_KEY_BYTES_MIN && key.size <= PROTO_KEY_BYTES_MAX && key_bytes_valid(key);
}

/* Length of the UTF-8 sequence that `byte` begins, with the payload bits of its first byte; 0 if it begins none. */
static unsigned sequence_length(uint8_t byte, uint32_t *ret_bits)
{
    if (byte < 0x80) {
        *ret_bits = byte;
        return 1;
    }
    if (byte >= 0xC2 && byte < 0xE0) {
        *ret_bits = byte & 0x1Fu;
        return 2;
    }
    if (byte >= 0xE0 && byte < 0xF0) {
        *ret_bits = byte & 0x0Fu;
        return 3;
    }
    if (byte >= 0xF0 && byte < 0xF5) {
        *ret_bits = byte & 0x07u;
        return 4;
    }
    return 0;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. @return the code point or -1. */
static int64_t code_point_take(const uint8_t *data, uint32_t size, unsigned *ret_length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t point = 0;
    unsigned length = sequence_length(data[0], &point);
    if (length == 0 || length > size) {
        return -1;
    }
    for (unsigned i = 1; i < length; i++) {
        if ((data[i] & 0xC0) != 0x80) {
            return -1;
        }
        point = point << 6 | (data[i] & 0x3Fu);
    }
    if (point < least[length] || (point >= 0xD800 && point <= 0xDFFF) || point > 0x10FFFF) {
        return -1;
    }
    *ret_length = length;
    return point;
}

bool proto_text_valid(struct proto_bytes text, uint32_t size_min, uint32_t size_max)
{
    if (text.size < size_min || text.size > size_max) {
        return false;
    }
    for (uint32_t at = 0; at < text.size;) {
        unsigned length = 0;
        int64_t point = code_point_take(text.data + at, text.size - at, &length);
        if (point < 0x20 || (point >= 0x7F && point <= 0x9F)) {
            return false;
        }
        at += length;
    }
    return true;
}

/* ---- fields ---- */

static bool error_set_key(const char *field, struct proto_bytes key, int bytes_min, struct proto_error *error)
{
    if (key.size > PROTO_KEY_BYTES_MAX || key.size < (uint32_t)bytes_min) {
        return error_set(error, PROTO_STATUS_INVALID, "%s has %" PRIu32 " bytes; allowed are %d..%d", field,
                         key.size, bytes_min, PROTO_KEY_BYTES_MAX);
    }
    return error_set(error, PROTO_STATUS_INVALID, "%s has a byte outside of " KEY_BYTES_RULE, field);
}

static bool check_key(struct proto_bytes key, struct proto_error *error)
{
    if (proto_key_valid(key)) {
        return true;
    }
    return error_set_key("key", key, PROTO_KEY_BYTES_MIN, error);
}

static bool check_range(const char *field, uint64_t value, uint64_t min, uint64_t max,
                        struct proto_error *error)
{
    if (value >= min && value <= max) {
        return true;
    }
    return error_set(error, PROTO_STATUS_INVALID, "%s is %" PRIu64 "; allowed are %" PRIu64 "..%" PRIu64,
                     field, value, min, max);
}

static bool check_range_or_zero(const char *field, uint64_t value, uint64_t min, uint64_t max,
                                struct proto_error *error)
{
    if (value == 0 || (value >= min && value <= max)) {
        return true;
    }
    return error_set(error, PROTO_STATUS_INVALID,
                     "%s is %" PRIu64 "; allowed are 0 and %" PRIu64 "..%" PRIu64, field, value, min, max);
}

static bool check_ttl(uint64_t ttl_ms, struct proto_error *error)
{
    return check_range("ttl_ms", ttl_ms, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX, error);
}

static bool check_ttl_or_zero(uint64_t ttl_ms, struct proto_error *error)
{
    return check_range_or_zero("ttl_ms", ttl_ms, PROTO_TTL_MS_MIN, PROTO_TTL_MS_MAX, error);
}

static bool check_text(const char *field, struct proto_bytes text, uint32_t min, uint32_t max,
                       struct proto_error *error)
{
    if (proto_text_valid(text, min, max)) {
        return true;
    }
    if (text.size < min || text.size > max) {
        return error_set(error, PROTO_STATUS_INVALID,
                         "%s has %" PRIu32 " bytes; allowed are %" PRIu32 "..%" PRIu32, field, text.size, min,
                         max);
    }
    return error_set(error, PROTO_STATUS_INVALID,
                     "%s is not text; allowed is UTF-8 without control characters", field);
}

static bool check_value(struct proto_bytes value, struct proto_error *error)
{
    if (value.size <= PROTO_VALUE_BYTES_MAX) {
        return true;
    }
    return error_set(error, PROTO_STATUS_INVALID, "value has %" PRIu32 " bytes; allowed are 0..%d",
                     value.size, PROTO_VALUE_BYTES_MAX);
}

/* A prefix or a place in a list: like a key, but may be empty. */
static bool check_key_part(const char *field, struct proto_bytes part, struct proto_error *error)
{
    if (part.size <= PROTO_KEY_BYTES_MAX && key_bytes_valid(part)) {
        return true;
    }
    return error_set_key(field, part, 0, error);
}

/* ---- bodies ---- */

static bool check_permits(const struct proto_lock_acquire *acquire, struct proto_error *error)
{
    if (acquire->mode != PROTO_MODE_PERMITS) {
        if (acquire->permits == 0 && acquire->limit == 0) {
            return true;
        }
        return error_set(error, PROTO_STATUS_INVALID,
                         "permits is %" PRIu32 " and limit is %" PRIu32
                         "; allowed are 0 and 0, but in mode permits",
                         acquire->permits, acquire->limit);
    }
    return check_range("limit", acquire->limit, 1, PROTO_PERMITS_MAX, error) &&
           check_range("permits", acquire->permits, 1, acquire->limit, error);
}

static bool check_acquire(const struct proto_lock_acquire *acquire, struct proto_error *error)
{
    return check_key(acquire->key, error) &&
           check_range("mode", acquire->mode, 0, PROTO_MODE_PERMITS, error) &&
           check_permits(acquire, error) &&
           (acquire->wait_ms == PROTO_WAIT_FOREVER ||
            check_range("wait_ms", acquire->wait_ms, 0, PROTO_WAIT_MS_MAX, error)) &&
           check_ttl_or_zero(acquire->ttl_ms, error) && check_value(acquire->value, error);
}

static bool check_open(const struct proto_session_open *open, struct proto_error *error)
{
    return check_text("owner", open->owner, 0, PROTO_OWNER_BYTES_MAX, error) &&
           check_ttl(open->ttl_ms, error) &&
           check_range("lock_delay_ms", open->lock_delay_ms, 0, PROTO_LOCK_DELAY_MS_MAX, error);
}

bool validate_request_body(enum proto_kind kind, const union proto_request_body *body,
                           struct proto_error *error)
{
    switch ((int)kind) {
    case PROTO_SESSION_OPEN:
        return check_open(&body->session_open, error);
    case PROTO_SESSION_RENEW:
        return check_ttl_or_zero(body->session_renew.ttl_ms, error);
    case PROTO_LOCK_ACQUIRE:
        return check_acquire(&body->lock_acquire, error);
    case PROTO_LOCK_EXTEND:
        return check_key(body->lock_extend.key, error) && check_ttl_or_zero(body->lock_extend.ttl_ms, error);
    case PROTO_LOCK_RELEASE:
        return check_key(body->lock_release.key, error);
    case PROTO_LOCK_SET_VALUE:
        return check_key(body->lock_set_value.key, error) && check_value(body->lock_set_value.value, error);
    case PROTO_LOCK_GET:
        return check_key(body->lock_get.key, error);
    case PROTO_LOCK_LIST:
        return check_key_part("prefix", body->lock_list.prefix, error) &&
               check_key_part("after", body->lock_list.after, error) &&
               check_range("max", body->lock_list.max, 1, PROTO_LIST_MAX, error);
    case PROTO_SESSION_LIST:
        return check_range("max", body->session_list.max, 1, PROTO_LIST_MAX, error);
    case PROTO_FENCE_CHECK:
        return check_key(body->fence_check.key, error);
    case PROTO_FORCE_RELEASE:
        return check_key(body->force_release.key, error) &&
               check_text("reason", body->force_release.reason, 1, PROTO_REASON_BYTES_MAX, error);
    case PROTO_SESSION_KILL:
        return check_text("reason", body->session_kill.reason, 1, PROTO_REASON_BYTES_MAX, error);
    default:
        return true;
    }
}

bool validate_request(const struct proto_request *request, struct proto_error *error)
{
    if (request->id == 0) {
        return error_set(error, PROTO_STATUS_INVALID, "id is 0; allowed are 1..%" PRIu64, UINT64_MAX);
    }
    if (proto_operation_find(request->kind)->sent_by == PROTO_SESSION) {
        if (request->session_id == 0) {
            return error_set(error, PROTO_STATUS_INVALID, "session_id is 0; allowed are 1..%" PRIu64,
                             UINT64_MAX);
        }
        if (request->ack_floor >= request->id) {
            return error_set(error, PROTO_STATUS_INVALID,
                             "ack_floor is %" PRIu64 "; allowed is less than the request's id %" PRIu64,
                             request->ack_floor, request->id);
        }
    }
    return validate_request_body(request->kind, &request->body, error);
}
