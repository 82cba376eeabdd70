/* Writes msgpack into a proto_buffer. For protocol/ and raft_fsm/.
 *
 * The layouts are msgpack-c's: its packing template is instantiated here on our buffer, as the template is made for. So the
 * bytes of a number are stored straight into the buffer, where msgpack_packer would call a function for each of them.
 *
 * A refused append marks the buffer, so that nothing is returned here: look at buffer->failed once, at the end. */
#ifndef LOCKSTEP_PROTOCOL_PACK_H
#define LOCKSTEP_PROTOCOL_PACK_H

#include <string.h>

#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>

#include "protocol/buffer.h"
#include "protocol/message.h"

/* Of a size that is known where it is called, nearly always into room that is there: one store. */
static inline int pack_append(struct proto_buffer *buffer, const void *data, size_t size)
{
    if (size > buffer->capacity - buffer->size || buffer->failed) {
        return proto_buffer_append(buffer, data, size) ? 0 : -1;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return 0;
}

#define msgpack_pack_inline_func(name)                 static inline int pack_template##name
#define msgpack_pack_inline_func_cint(name)            static inline int pack_template##name
#define msgpack_pack_inline_func_fixint(name)          static inline int pack_template_fix##name
#define msgpack_pack_user                              struct proto_buffer *
#define msgpack_pack_append_buffer(buffer, data, size) return pack_append(buffer, data, size)
/* The template's timestamp, which nobody packs, calls the library's own function of this name. */
#define msgpack_pack_ext(buffer, size, type) pack_template_ext(buffer, size, type)
#include <msgpack/pack_template.h>
#undef msgpack_pack_ext

static inline void pack_array(struct proto_buffer *buffer, size_t count)
{
    (void)pack_template_array(buffer, count);
}

static inline void pack_uint(struct proto_buffer *buffer, uint64_t number)
{
    (void)pack_template_uint64(buffer, number);
}

static inline void pack_bool(struct proto_buffer *buffer, bool flag)
{
    (void)(flag ? pack_template_true(buffer) : pack_template_false(buffer));
}

static inline void pack_nil(struct proto_buffer *buffer)
{
    (void)pack_template_nil(buffer);
}

static inline void pack_text(struct proto_buffer *buffer, struct proto_bytes text) /* str */
{
    (void)pack_template_str(buffer, text.size);
    (void)proto_buffer_append(buffer, text.data, text.size);
}

static inline void pack_binary(struct proto_buffer *buffer, struct proto_bytes binary) /* bin */
{
    (void)pack_template_bin(buffer, binary.size);
    (void)proto_buffer_append(buffer, binary.data, binary.size);
}

#endif
