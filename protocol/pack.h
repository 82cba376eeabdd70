/* msgpack-c's packer on a proto_buffer. Private to protocol/. */
#ifndef LOCKSTEP_PROTOCOL_PACK_H
#define LOCKSTEP_PROTOCOL_PACK_H

#include <msgpack/pack.h>

#include "protocol/buffer.h"
#include "protocol/message.h"

msgpack_packer pack_to(struct proto_buffer *buffer);
void pack_array(msgpack_packer *packer, size_t count);
void pack_uint(msgpack_packer *packer, uint64_t number);
void pack_bool(msgpack_packer *packer, bool flag);
void pack_nil(msgpack_packer *packer);
void pack_text(msgpack_packer *packer, struct proto_bytes text);     /* str */
void pack_binary(msgpack_packer *packer, struct proto_bytes binary); /* bin */

#endif
