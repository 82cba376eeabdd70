/* Reads msgpack in place, by what the reader expects next. Private to protocol/.
 *
 * Why not msgpack-c's unpacker: it builds a tree and allocates what an array's header declares, so that five bytes can
 * ask for gigabytes, and it copies. Here nothing is allocated, nothing recurses, every length is compared with what is
 * left before it is used. Packing, where no bytes are hostile, is msgpack-c's.
 *
 * After the first error the cursor stays failed, and every read gives zero: a series of reads needs one check. */
#ifndef LOCKSTEP_PROTOCOL_CURSOR_H
#define LOCKSTEP_PROTOCOL_CURSOR_H

#include "protocol/message.h"

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    const char *expected; /* NULL: fine; else what was expected where something else stood */
};

struct cursor cursor_of(struct proto_bytes bytes);

/* The count of an array's elements; each takes at least a byte, so a count larger than what is left is an error. */
uint32_t cursor_array(struct cursor *cursor);
uint64_t cursor_uint(struct cursor *cursor);
uint32_t cursor_uint32(struct cursor *cursor); /* larger ones read as UINT32_MAX, which no bound allows */
bool cursor_bool(struct cursor *cursor);
struct proto_bytes cursor_text(struct cursor *cursor);   /* str */
struct proto_bytes cursor_binary(struct cursor *cursor); /* bin */
/* nil is taken and true returned; anything else stays. */
bool cursor_nil(struct cursor *cursor);
/* One element of any type and depth up to a bound; that of skipping is a counter, not a stack. */
void cursor_skip(struct cursor *cursor);

#endif
