/* Station 3: bytes -> messages. Reads what encode.c writes, from anyone: every failure is a named error. */
#include "protocol/decode.h"

#include <inttypes.h>
#include <string.h>

#include "protocol/bodies.h"
#include "protocol/validate.h"

/* The shape was wrong somewhere. */
static bool malformed(const struct cursor *cursor, const char *what, struct proto_error *error)
{
    return error_set(error, PROTO_STATUS_MALFORMED, "%s: expected %s", what, cursor->expected);
}

/* An outermost array that is read element by element. */
struct message {
    struct cursor cursor;
    uint32_t count;
};

static bool message_begin(struct message *message, struct proto_bytes body, uint32_t count_min,
                          const char *what, struct proto_error *error)
{
    message->cursor = cursor_of(body);
    message->count = cursor_array(&message->cursor);
    if (message->cursor.expected != NULL) {
        return malformed(&message->cursor, what, error);
    }
    if (message->count < count_min) {
        return error_set(error, PROTO_STATUS_MALFORMED,
                         "%s has %" PRIu32 " fields; it takes at least %" PRIu32, what, message->count,
                         count_min);
    }
    return true;
}

/* After `known` elements were read: skip what a later version added, and let nothing follow the array. */
static bool message_end(struct message *message, uint32_t known, const char *what, struct proto_error *error)
{
    struct cursor *cursor = &message->cursor;
    for (uint32_t i = known; i < message->count && cursor->expected == NULL; i++) {
        cursor_skip(cursor);
    }
    if (cursor->expected == NULL && cursor->at != cursor->end) {
        cursor->expected = "nothing after the array";
    }
    return cursor->expected == NULL || malformed(cursor, what, error);
}

static bool check_count(uint32_t count, size_t needed, const char *what, struct proto_error *error)
{
    if (count >= needed) {
        return true;
    }
    return error_set(error, PROTO_STATUS_MALFORMED, "%s has %" PRIu32 " fields; it takes %zu", what, count,
                     needed);
}

/* ---- requests ---- */

static void take_secret(struct cursor *cursor, uint8_t *secret)
{
    struct proto_bytes bytes = cursor_binary(cursor);
    if (cursor->expected == NULL && bytes.size != PROTO_SECRET_BYTES) {
        cursor->expected = "a secret of 16 bytes";
        cursor->at = cursor->end;
    }
    if (cursor->expected == NULL) {
        memcpy(secret, bytes.data, PROTO_SECRET_BYTES);
    }
}

/* @return how many elements the header has. */
static uint32_t take_header(struct cursor *cursor, const struct proto_operation *operation,
                            struct proto_request *request)
{
    if (operation->sent_by == PROTO_SESSION) {
        request->session_id = cursor_uint(cursor);
        take_secret(cursor, request->secret);
        request->ack_floor = cursor_uint(cursor);
        return 3;
    }
    if (operation->kind == PROTO_SESSION_OPEN) {
        take_secret(cursor, request->secret);
        return 1;
    }
    if (operation->served_by == PROTO_QUERY) {
        request->stale = cursor_bool(cursor);
        return 1;
    }
    return 0;
}

bool proto_decode_request(struct proto_bytes body, struct proto_request *ret_request,
                          struct proto_error *ret_error)
{
    struct message message;
    memset(ret_request, 0, sizeof *ret_request);
    if (!message_begin(&message, body, 2, "request", ret_error)) {
        return false;
    }
    uint64_t kind = cursor_uint(&message.cursor);
    uint64_t id = cursor_uint(&message.cursor);
    if (message.cursor.expected != NULL) {
        return malformed(&message.cursor, "request", ret_error);
    }
    ret_request->id = id;
    const struct proto_operation *operation = proto_operation_find(kind);
    if (operation == NULL || operation->sent_by == PROTO_INTERNAL) {
        return error_set(ret_error, PROTO_STATUS_UNSUPPORTED,
                         "operation %" PRIu64 " is not known to this version", kind);
    }
    ret_request->kind = operation->kind;
    uint32_t known = 2 + take_header(&message.cursor, operation, ret_request);
    known += (uint32_t)request_fields_count(operation->kind);
    if (!check_count(message.count, known, operation->name, ret_error)) {
        return false;
    }
    request_fields_take(&message.cursor, operation->kind, &ret_request->body);
    return message_end(&message, known, operation->name, ret_error) &&
           validate_request(ret_request, ret_error);
}

/* A field of a later version may change what the command does: whoever skips it parts from those who know it. */
static bool check_count_exact(uint32_t count, size_t known, const char *what, struct proto_error *error)
{
    if (!check_count(count, known, what, error)) {
        return false;
    }
    if (count > known) {
        return error_set(error, PROTO_STATUS_UNSUPPORTED, "%s has %" PRIu32 " fields; this version knows %zu",
                         what, count, known);
    }
    return true;
}

bool proto_decode_request_body(struct proto_bytes *bytes, enum proto_kind kind,
                               union proto_request_body *ret_body, struct proto_error *ret_error)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)kind);
    struct cursor cursor = cursor_of(*bytes);
    if (operation == NULL) {
        return error_set(ret_error, PROTO_STATUS_UNSUPPORTED, "operation %d is not known to this version",
                         (int)kind);
    }
    uint32_t count = cursor_array(&cursor);
    if (cursor.expected != NULL) {
        return malformed(&cursor, operation->name, ret_error);
    }
    if (!check_count_exact(count, request_fields_count(kind), operation->name, ret_error)) {
        return false;
    }
    memset(ret_body, 0, sizeof *ret_body);
    request_fields_take(&cursor, kind, ret_body);
    if (cursor.expected != NULL) {
        return malformed(&cursor, operation->name, ret_error);
    }
    bytes->size -= (uint32_t)(cursor.at - bytes->data);
    bytes->data = cursor.at;
    return validate_request_body(kind, ret_body, ret_error);
}

/* ---- replies and events ---- */

static bool decode_reply(struct message *message, uint64_t kind, struct proto_rows *rows,
                         struct proto_reply *reply, struct proto_error *error)
{
    struct cursor *cursor = &message->cursor;
    const struct proto_operation *operation = proto_operation_find(kind);
    uint32_t known = 4;
    if (message->count < known) {
        return check_count(message->count, known, "reply", error);
    }
    /* A refusal of what the node could not decode names no operation: its kind is 0. */
    reply->kind = operation != NULL ? operation->kind : (enum proto_kind)0;
    reply->id = cursor_uint(cursor);
    uint64_t status = cursor_uint(cursor);
    reply->time.ms = cursor_uint(cursor);
    if (operation != NULL && operation->served_by == PROTO_QUERY) {
        reply->applied_index = cursor_uint(cursor);
        known++;
    }
    if (cursor->expected != NULL) {
        return malformed(cursor, "reply", error);
    }
    if (proto_status_find(status) == NULL) {
        return error_set(error, PROTO_STATUS_UNSUPPORTED, "status %" PRIu64 " is not known to this version",
                         status);
    }
    reply->status = (enum proto_status)status;
    enum reply_shape shape = reply_shape_of(reply->kind, reply->status);
    if (operation == NULL && shape != REPLY_REFUSAL) {
        return error_set(error, PROTO_STATUS_UNSUPPORTED,
                         "a reply to operation %" PRIu64 " is not known to this version", kind);
    }
    known += (uint32_t)reply_fields_count(shape);
    if (!check_count(message->count, known, "reply", error)) {
        return false;
    }
    reply_fields_take(cursor, shape, rows, &reply->body);
    return message_end(message, known, "reply", error);
}

static uint32_t take_event_fields(struct cursor *cursor, struct proto_event *event)
{
    if (event->kind == PROTO_EVENT_LEADER_MOVED) {
        event->leader_id = cursor_uint(cursor);
        event->leader_address = cursor_text(cursor);
        return 2;
    }
    bool lost = event->kind == PROTO_EVENT_GRANT_LOST;
    if (lost) {
        event->token = cursor_uint(cursor);
        event->key = cursor_text(cursor);
    }
    event->reason = (enum proto_end_reason)cursor_uint32(cursor);
    event->detail = cursor_text(cursor);
    return lost ? 4 : 2;
}

static bool decode_event(struct message *message, uint64_t kind, struct proto_event *event,
                         struct proto_error *error)
{
    event->kind = (enum proto_event_kind)kind;
    event->session_id = cursor_uint(&message->cursor);
    event->time.ms = cursor_uint(&message->cursor);
    uint32_t known = 3 + take_event_fields(&message->cursor, event);
    return check_count(message->count, known, "event", error) && message_end(message, known, "event", error);
}

static bool event_kind_known(uint64_t kind)
{
    switch (kind) {
#define X(number, enum_name, name) case number:
        PROTO_EVENTS(X)
#undef X
        return true;
    default:
        return false;
    }
}

bool proto_decode_incoming(struct proto_bytes body, struct proto_rows *rows,
                           struct proto_incoming *ret_incoming, struct proto_error *ret_error)
{
    struct message message;
    memset(ret_incoming, 0, sizeof *ret_incoming);
    if (!message_begin(&message, body, 3, "message", ret_error)) {
        return false;
    }
    uint64_t kind = cursor_uint(&message.cursor);
    if (message.cursor.expected != NULL) {
        return malformed(&message.cursor, "message", ret_error);
    }
    ret_incoming->is_event = event_kind_known(kind);
    if (ret_incoming->is_event) {
        return decode_event(&message, kind, &ret_incoming->event, ret_error);
    }
    return decode_reply(&message, kind, rows, &ret_incoming->reply, ret_error);
}

/* ---- hello ---- */

static bool take_magic(struct cursor *cursor, struct proto_error *error)
{
    struct proto_bytes magic = cursor_text(cursor);
    if (cursor->expected != NULL || magic.size != sizeof PROTO_MAGIC - 1 ||
        memcmp(magic.data, PROTO_MAGIC, magic.size) != 0) {
        return error_set(error, PROTO_STATUS_MALFORMED,
                         "hello does not begin with the magic \"" PROTO_MAGIC "\"");
    }
    return true;
}

bool proto_decode_hello_request(struct proto_bytes body, struct proto_hello_request *ret_hello,
                                struct proto_error *ret_error)
{
    struct message message;
    memset(ret_hello, 0, sizeof *ret_hello);
    if (!message_begin(&message, body, 5, "hello", ret_error) || !take_magic(&message.cursor, ret_error)) {
        return false;
    }
    ret_hello->version_min = cursor_uint(&message.cursor);
    ret_hello->version_max = cursor_uint(&message.cursor);
    ret_hello->cluster_id = cursor_uint(&message.cursor);
    ret_hello->agent = cursor_text(&message.cursor);
    if (!message_end(&message, 5, "hello", ret_error)) {
        return false;
    }
    if (ret_hello->version_min > ret_hello->version_max) {
        return error_set(ret_error, PROTO_STATUS_INVALID,
                         "hello's least version is greater than its greatest");
    }
    if (!proto_text_valid(ret_hello->agent, 0, PROTO_OWNER_BYTES_MAX)) {
        return error_set(ret_error, PROTO_STATUS_INVALID, "hello's agent is not 0..%d bytes of text",
                         PROTO_OWNER_BYTES_MAX);
    }
    return true;
}

bool proto_decode_hello_reply(struct proto_bytes body, struct proto_hello_reply *ret_hello,
                              struct proto_error *ret_error)
{
    struct message message;
    memset(ret_hello, 0, sizeof *ret_hello);
    if (!message_begin(&message, body, 9, "hello", ret_error) || !take_magic(&message.cursor, ret_error)) {
        return false;
    }
    uint64_t status = cursor_uint(&message.cursor);
    ret_hello->version = cursor_uint(&message.cursor);
    ret_hello->cluster_id = cursor_uint(&message.cursor);
    ret_hello->node_id = cursor_uint(&message.cursor);
    ret_hello->leader_id = cursor_uint(&message.cursor);
    ret_hello->leader_address = cursor_text(&message.cursor);
    ret_hello->heartbeat_ms = cursor_uint(&message.cursor);
    ret_hello->detail = cursor_text(&message.cursor);
    if (!message_end(&message, 9, "hello", ret_error)) {
        return false;
    }
    if (proto_status_find(status) == NULL) {
        return error_set(ret_error, PROTO_STATUS_UNSUPPORTED,
                         "status %" PRIu64 " is not known to this version", status);
    }
    ret_hello->status = (enum proto_status)status;
    return true;
}
