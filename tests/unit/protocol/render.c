/* Messages as text: what surrounds the bodies. */
#include "render_internal.h"

#include <inttypes.h>
#include <stdio.h>

void render_string(struct proto_buffer *text, const char *string)
{
    assert_true(proto_buffer_append(text, string, strlen(string)));
}

void render_word(struct proto_buffer *text, const char *name, const char *word)
{
    render_string(text, " ");
    render_string(text, name);
    render_string(text, "=");
    render_string(text, word);
}

void render_uint(struct proto_buffer *text, const char *name, uint64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    render_word(text, name, digits);
}

void render_bool(struct proto_buffer *text, const char *name, bool flag)
{
    render_word(text, name, flag ? "true" : "false");
}

void render_text(struct proto_buffer *text, const char *name, struct proto_bytes string)
{
    render_word(text, name, "\"");
    for (uint32_t i = 0; i < string.size; i++) {
        uint8_t byte = string.data[i];
        char escaped[8];
        bool plain = byte >= 0x20 && byte != 0x7F && byte != '"' && byte != '\\';
        (void)snprintf(escaped, sizeof escaped, plain ? "%c" : "\\x%02x", byte);
        render_string(text, escaped);
    }
    render_string(text, "\"");
}

void render_binary(struct proto_buffer *text, const char *name, struct proto_bytes binary)
{
    render_word(text, name, "0x");
    for (uint32_t i = 0; i < binary.size; i++) {
        char digits[3];
        (void)snprintf(digits, sizeof digits, "%02x", binary.data[i]);
        render_string(text, digits);
    }
}

void render_optional(struct proto_buffer *text, const char *name, bool present, struct proto_bytes binary)
{
    if (present) {
        render_binary(text, name, binary);
    } else {
        render_word(text, name, "nil");
    }
}

static void render_request(struct proto_buffer *text, const struct proto_request *request)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)request->kind);
    struct proto_bytes secret = {request->secret, PROTO_SECRET_BYTES};
    assert_non_null(operation);
    render_string(text, operation->name);
    render_uint(text, "id", request->id);
    if (operation->sent_by == PROTO_SESSION) {
        render_uint(text, "session_id", request->session_id);
        render_binary(text, "secret", secret);
        render_uint(text, "ack_floor", request->ack_floor);
    } else if (operation->kind == PROTO_SESSION_OPEN) {
        render_binary(text, "secret", secret);
    } else if (operation->served_by == PROTO_QUERY) {
        render_bool(text, "stale", request->stale);
    }
    render_request_body(text, request->kind, &request->body);
}

static void render_reply(struct proto_buffer *text, const struct proto_reply *reply)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)reply->kind);
    render_string(text, operation != NULL ? operation->name : "(none)");
    render_uint(text, "id", reply->id);
    render_word(text, "status", proto_status_name((uint64_t)reply->status));
    render_uint(text, "time_ms", reply->time.ms);
    if (operation != NULL && operation->served_by == PROTO_QUERY) {
        render_uint(text, "applied_index", reply->applied_index);
    }
    render_reply_body(text, reply);
}

static const char *event_name(enum proto_event_kind kind)
{
    switch (kind) {
#define X(number, enum_name, name) \
    case PROTO_EVENT_##enum_name:  \
        return name;
        PROTO_EVENTS(X)
#undef X
    }
    fail();
    return NULL;
}

static void render_event(struct proto_buffer *text, const struct proto_event *event)
{
    render_string(text, event_name(event->kind));
    render_uint(text, "session_id", event->session_id);
    render_uint(text, "time_ms", event->time.ms);
    if (event->kind == PROTO_EVENT_LEADER_MOVED) {
        render_uint(text, "leader_id", event->leader_id);
        render_text(text, "leader_address", event->leader_address);
        return;
    }
    if (event->kind == PROTO_EVENT_GRANT_LOST) {
        render_uint(text, "token", event->token);
        render_text(text, "key", event->key);
    }
    render_uint(text, "reason", event->reason);
    render_text(text, "detail", event->detail);
}

static void render_hello_request(struct proto_buffer *text, const struct proto_hello_request *hello)
{
    render_string(text, "hello");
    render_uint(text, "version_min", hello->version_min);
    render_uint(text, "version_max", hello->version_max);
    render_uint(text, "cluster_id", hello->cluster_id);
    render_text(text, "agent", hello->agent);
}

static void render_hello_reply(struct proto_buffer *text, const struct proto_hello_reply *hello)
{
    render_string(text, "hello");
    render_word(text, "status", proto_status_name((uint64_t)hello->status));
    render_uint(text, "version", hello->version);
    render_uint(text, "cluster_id", hello->cluster_id);
    render_uint(text, "node_id", hello->node_id);
    render_uint(text, "leader_id", hello->leader_id);
    render_text(text, "leader_address", hello->leader_address);
    render_uint(text, "heartbeat_ms", hello->heartbeat_ms);
    render_text(text, "detail", hello->detail);
}

void render_message(struct proto_buffer *text, const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_HELLO_REQUEST:
        render_hello_request(text, &message->as.hello_request);
        return;
    case MESSAGE_HELLO_REPLY:
        render_hello_reply(text, &message->as.hello_reply);
        return;
    case MESSAGE_REQUEST:
        render_request(text, &message->as.request);
        return;
    case MESSAGE_REPLY:
        render_reply(text, &message->as.reply);
        return;
    case MESSAGE_EVENT:
        render_event(text, &message->as.event);
        return;
    case MESSAGE_KINDS:
        break;
    }
    fail();
}
