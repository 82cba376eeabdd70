/* msgpack-c's packer on a proto_buffer: a refused append marks the buffer, so nothing is returned here. */
#include "protocol/pack.h"

static int write_cb(void *buffer, const char *data, size_t size)
{
    return proto_buffer_append(buffer, data, size) ? 0 : -1;
}

msgpack_packer pack_to(struct proto_buffer *buffer)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, buffer, write_cb);
    return packer;
}

void pack_array(msgpack_packer *packer, size_t count)
{
    (void)msgpack_pack_array(packer, count);
}

void pack_uint(msgpack_packer *packer, uint64_t number)
{
    (void)msgpack_pack_uint64(packer, number);
}

void pack_bool(msgpack_packer *packer, bool flag)
{
    (void)(flag ? msgpack_pack_true(packer) : msgpack_pack_false(packer));
}

void pack_nil(msgpack_packer *packer)
{
    (void)msgpack_pack_nil(packer);
}

void pack_text(msgpack_packer *packer, struct proto_bytes text)
{
    (void)msgpack_pack_str(packer, text.size);
    (void)msgpack_pack_str_body(packer, text.data, text.size);
}

void pack_binary(msgpack_packer *packer, struct proto_bytes binary)
{
    (void)msgpack_pack_bin(packer, binary.size);
    (void)msgpack_pack_bin_body(packer, binary.data, binary.size);
}
