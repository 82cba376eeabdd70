/* The fields of each kind's body, in both directions, without the array around them. Private to protocol/.
 *
 * request_fields.c and reply_fields.c lay each body out: one pack and one take function side by side, so that the two
 * can be read together. */
#ifndef LOCKSTEP_PROTOCOL_BODIES_H
#define LOCKSTEP_PROTOCOL_BODIES_H

#include "protocol/cursor.h"
#include "protocol/decode.h"
#include "protocol/pack.h"

/* How many array elements the body of a request of this kind has. */
size_t request_fields_count(enum proto_kind kind);
void request_fields_pack(struct proto_buffer *buffer, enum proto_kind kind,
                         const union proto_request_body *body);
void request_fields_take(struct cursor *cursor, enum proto_kind kind, union proto_request_body *body);

/* Which member of a reply's body goes with its kind and status. */
enum reply_shape {
    REPLY_NOTHING,
    REPLY_SESSION,
    REPLY_GRANT,
    REPLY_RELEASE,
    REPLY_COUNT,
    REPLY_LOCK,
    REPLY_LOCK_LIST,
    REPLY_SESSION_LIST,
    REPLY_FENCE,
    REPLY_REQUEST,
    REPLY_CLUSTER,
    REPLY_HOLDER,
    REPLY_REFUSAL,
};
enum reply_shape reply_shape_of(enum proto_kind kind, enum proto_status status);
size_t reply_fields_count(enum reply_shape shape);
void reply_fields_pack(struct proto_buffer *buffer, enum reply_shape shape,
                       const union proto_reply_body *body);
void reply_fields_take(struct cursor *cursor, enum reply_shape shape, struct proto_rows *rows,
                       union proto_reply_body *body);

#endif
