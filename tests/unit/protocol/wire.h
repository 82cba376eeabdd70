/* A notation for msgpack, and its bytes in both directions, written without protocol/ so that the two check each other:
 *
 *   [10, 7, true, nil, "text", h'00ff']   array, unsigned integers, bool, nil, str, bin
 *   "a"*257   h'00'*4097   []*20          str or bin repeated; arrays nested
 *   -1   {}                               what Lockstep does not use: a negative number, an empty map
 */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_WIRE_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_WIRE_H

#include "support.h"

enum wire_width { WIRE_SHORTEST, WIRE_WIDEST };

/* Append the bytes of `notation`; the test fails if it can not be read. */
void wire_write(struct proto_buffer *buffer, const char *notation, enum wire_width width);
/* Append the notation of one element; the test fails if `bytes` are anything else. */
void wire_print(struct proto_buffer *text, struct proto_bytes bytes);

void hex_print(struct proto_buffer *text, struct proto_bytes bytes);
/* Read hexadecimal digits until something else; spaces between bytes are fine. @return what follows. */
const char *hex_read(struct proto_buffer *buffer, const char *text);

#endif
