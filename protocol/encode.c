/* Station 9: messages -> bytes. The arrays around the bodies of request_fields.c and reply_fields.c.
 *
 *   request  [kind, id, header…, body…]        header: SESSION  session_id, secret, ack_floor
 *                                                      session.open  secret
 *                                                      QUERY    stale
 *   reply    [kind, id, status, time_ms, body…]; QUERY: [kind, id, status, time_ms, applied_index, body…]
 *   event    [kind, session_id, time_ms, body…]
 *   hello    see message.h */
#include "protocol/encode.h"

#include <string.h>

#include "protocol/assert.h"
#include "protocol/bodies.h"
#include "protocol/validate.h"

static struct proto_bytes magic(void)
{
    return (struct proto_bytes){(const uint8_t *)PROTO_MAGIC, sizeof PROTO_MAGIC - 1};
}

static size_t header_count(const struct proto_operation *operation)
{
    if (operation->sent_by == PROTO_SESSION) {
        return 3;
    }
    return operation->kind == PROTO_SESSION_OPEN || operation->served_by == PROTO_QUERY ? 1 : 0;
}

static void pack_header(struct proto_buffer *buffer, const struct proto_operation *operation,
                        const struct proto_request *request)
{
    struct proto_bytes secret = {request->secret, PROTO_SECRET_BYTES};
    if (operation->sent_by == PROTO_SESSION) {
        pack_uint(buffer, request->session_id);
        pack_binary(buffer, secret);
        pack_uint(buffer, request->ack_floor);
    } else if (operation->kind == PROTO_SESSION_OPEN) {
        pack_binary(buffer, secret);
    } else if (operation->served_by == PROTO_QUERY) {
        pack_bool(buffer, request->stale);
    }
}

void proto_encode_request(struct proto_buffer *buffer, const struct proto_request *request)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)request->kind);
    struct proto_error error;
    LOCKSTEP_ASSERT(operation != NULL);
    LOCKSTEP_ASSERT(operation->sent_by != PROTO_INTERNAL);
    LOCKSTEP_ASSERT(validate_request(request, &error));
    pack_array(buffer, 2 + header_count(operation) + request_fields_count(request->kind));
    pack_uint(buffer, (uint64_t)request->kind);
    pack_uint(buffer, request->id);
    pack_header(buffer, operation, request);
    request_fields_pack(buffer, request->kind, &request->body);
}

void proto_encode_request_body(struct proto_buffer *buffer, enum proto_kind kind,
                               const union proto_request_body *body)
{
    struct proto_error error;
    LOCKSTEP_ASSERT(validate_request_body(kind, body, &error));
    pack_array(buffer, request_fields_count(kind));
    request_fields_pack(buffer, kind, body);
}

void proto_encode_reply(struct proto_buffer *buffer, const struct proto_reply *reply)
{
    const struct proto_operation *operation = proto_operation_find((uint64_t)reply->kind);
    bool query = operation != NULL && operation->served_by == PROTO_QUERY;
    /* A refusal answers whatever kind the request named, known or not. */
    LOCKSTEP_ASSERT(operation != NULL || reply_shape_of(reply->kind, reply->status) == REPLY_REFUSAL);
    enum reply_shape shape = reply_shape_of(reply->kind, reply->status);
    LOCKSTEP_ASSERT(proto_status_find((uint64_t)reply->status) != NULL);
    pack_array(buffer, (query ? 5u : 4u) + reply_fields_count(shape));
    pack_uint(buffer, (uint64_t)reply->kind);
    pack_uint(buffer, reply->id);
    pack_uint(buffer, (uint64_t)reply->status);
    pack_uint(buffer, reply->time.ms);
    if (query) {
        pack_uint(buffer, reply->applied_index);
    }
    reply_fields_pack(buffer, shape, &reply->body);
}

void proto_encode_event(struct proto_buffer *buffer, const struct proto_event *event)
{
    bool lost = event->kind == PROTO_EVENT_GRANT_LOST;
    bool moved = event->kind == PROTO_EVENT_LEADER_MOVED;
    LOCKSTEP_ASSERT(lost || moved || event->kind == PROTO_EVENT_SESSION_ENDED);
    pack_array(buffer, 3 + (lost ? 4u : 2u));
    pack_uint(buffer, (uint64_t)event->kind);
    pack_uint(buffer, event->session_id);
    pack_uint(buffer, event->time.ms);
    if (moved) {
        pack_uint(buffer, event->leader_id);
        pack_text(buffer, event->leader_address);
        return;
    }
    if (lost) {
        pack_uint(buffer, event->token);
        pack_text(buffer, event->key);
    }
    pack_uint(buffer, (uint64_t)event->reason);
    pack_text(buffer, event->detail);
}

void proto_encode_hello_request(struct proto_buffer *buffer, const struct proto_hello_request *hello)
{
    pack_array(buffer, 5);
    pack_text(buffer, magic());
    pack_uint(buffer, hello->version_min);
    pack_uint(buffer, hello->version_max);
    pack_uint(buffer, hello->cluster_id);
    pack_text(buffer, hello->agent);
}

void proto_encode_hello_reply(struct proto_buffer *buffer, const struct proto_hello_reply *hello)
{
    pack_array(buffer, 9);
    pack_text(buffer, magic());
    pack_uint(buffer, (uint64_t)hello->status);
    pack_uint(buffer, hello->version);
    pack_uint(buffer, hello->cluster_id);
    pack_uint(buffer, hello->node_id);
    pack_uint(buffer, hello->leader_id);
    pack_text(buffer, hello->leader_address);
    pack_uint(buffer, hello->heartbeat_ms);
    pack_text(buffer, hello->detail);
}
