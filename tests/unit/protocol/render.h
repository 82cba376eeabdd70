/* Messages as text, every field with its name and in the order of the wire: to compare what was encoded with what was
 * decoded, and for docs/protocol.md, whose tables of fields must name the same fields in the same order.
 *
 *   lock.release id=8 session_id=81 secret=0x00112233445566778899aabbccddeeff ack_floor=7 key="jobs" token=9 all=false
 *
 * Rows stand in braces: holders=[{session_id=81 ...} {...}]. */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_RENDER_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_RENDER_H

#include "support.h"

void render_message(struct proto_buffer *text, const struct message *message);
/* Only the fields of a request's body. */
void render_request_body(struct proto_buffer *text, enum proto_kind kind,
                         const union proto_request_body *body);

#endif
