/* Station 9: messages -> bytes. Every function appends one msgpack array (a frame's body) to `buffer`; a full buffer
 * marks itself as failed. Fields are the caller's responsibility: encoding asserts their bounds. */
#ifndef LOCKSTEP_PROTOCOL_ENCODE_H
#define LOCKSTEP_PROTOCOL_ENCODE_H

#include "protocol/buffer.h"
#include "protocol/message.h"

void proto_encode_request(struct proto_buffer *buffer, const struct proto_request *request);
void proto_encode_reply(struct proto_buffer *buffer, const struct proto_reply *reply);
void proto_encode_event(struct proto_buffer *buffer, const struct proto_event *event);
void proto_encode_hello_request(struct proto_buffer *buffer, const struct proto_hello_request *hello);
void proto_encode_hello_reply(struct proto_buffer *buffer, const struct proto_hello_reply *hello);

/* Just the fields of `body` as one msgpack array, for the state machine's entries (raft_fsm/entry.c). */
void proto_encode_request_body(struct proto_buffer *buffer, enum proto_kind kind, const union proto_request_body *body);

#endif
