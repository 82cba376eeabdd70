/* Station 2: bytes <-> frames. The layout is in frame.h. A declared length is compared with its bound before anything
 * is done with it, and memory for an expanded body is taken only after the raw length passed the same bound. */
#include "protocol/frame.h"

#include <lz4.h>
#include <string.h>

#include "protocol/assert.h"

enum {
    FLAG_LZ4 = 0x1,
    LENGTH_BYTES = 4,
    RAW_LENGTH_BYTES = 4,
    LZ4_EXPANSION_MAX = 255, /* a byte of a block lengthens a run by at most this */
};

_Static_assert(PROTO_FRAME_HEADER_BYTES == LENGTH_BYTES + 1, "length, then flags");

static uint32_t load_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store_u32(uint8_t *bytes, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(number >> (8 * i));
    }
}

static enum proto_frame_result expand(const uint8_t *payload, size_t size, size_t body_bytes_max,
                                      struct proto_buffer *scratch, struct proto_bytes *ret_body)
{
    if (size <= RAW_LENGTH_BYTES) {
        return PROTO_FRAME_BAD_LZ4;
    }
    size_t raw_size = load_u32(payload);
    size_t block_size = size - RAW_LENGTH_BYTES;
    if (raw_size == 0 || raw_size > body_bytes_max) {
        return PROTO_FRAME_BAD_LENGTH;
    }
    if (raw_size / LZ4_EXPANSION_MAX > block_size) {
        return PROTO_FRAME_BAD_LZ4; /* no block expands so far: the length lies, and gets no memory */
    }
    proto_buffer_clear(scratch);
    uint8_t *room = proto_buffer_reserve(scratch, raw_size);
    if (room == NULL) {
        return PROTO_FRAME_BAD_LENGTH;
    }
    int expanded = LZ4_decompress_safe((const char *)payload + RAW_LENGTH_BYTES, (char *)room,
                                       (int)block_size, (int)raw_size);
    if (expanded < 0 || (size_t)expanded != raw_size) {
        return PROTO_FRAME_BAD_LZ4;
    }
    scratch->size = raw_size;
    *ret_body = (struct proto_bytes){room, (uint32_t)raw_size};
    return PROTO_FRAME_OK;
}

enum proto_frame_result proto_frame_take(const uint8_t *data, size_t size, size_t body_bytes_max,
                                         struct proto_buffer *scratch, struct proto_bytes *ret_body,
                                         size_t *ret_frame_bytes)
{
    if (size < LENGTH_BYTES) {
        return PROTO_FRAME_PARTIAL;
    }
    size_t length = load_u32(data);
    if (length < 2 || length > 1 + RAW_LENGTH_BYTES + body_bytes_max) {
        return PROTO_FRAME_BAD_LENGTH; /* not even room for flags and one byte, or more than this side accepts */
    }
    if (size == LENGTH_BYTES) {
        return PROTO_FRAME_PARTIAL;
    }
    uint8_t flags = data[LENGTH_BYTES];
    if ((flags & ~FLAG_LZ4) != 0) {
        return PROTO_FRAME_BAD_FLAGS;
    }
    if (flags == 0 && length - 1 > body_bytes_max) {
        return PROTO_FRAME_BAD_LENGTH; /* only a compressed body has its raw length ahead */
    }
    if (size - LENGTH_BYTES < length) {
        return PROTO_FRAME_PARTIAL;
    }
    *ret_frame_bytes = LENGTH_BYTES + length;
    const uint8_t *payload = data + PROTO_FRAME_HEADER_BYTES;
    if (flags == FLAG_LZ4) {
        return expand(payload, length - 1, body_bytes_max, scratch, ret_body);
    }
    *ret_body = (struct proto_bytes){payload, (uint32_t)(length - 1)};
    return PROTO_FRAME_OK;
}

const char *proto_frame_result_text(enum proto_frame_result result)
{
    switch (result) {
    case PROTO_FRAME_OK:
        return "frame is whole";
    case PROTO_FRAME_PARTIAL:
        return "frame is not whole";
    case PROTO_FRAME_BAD_LENGTH:
        return "frame length out of bounds";
    case PROTO_FRAME_BAD_FLAGS:
        return "frame has unknown flags";
    case PROTO_FRAME_BAD_LZ4:
        return "frame's lz4 block is damaged";
    }
    return "frame result unknown";
}

size_t proto_frame_begin(struct proto_buffer *buffer)
{
    size_t begin = buffer->size;
    if (proto_buffer_reserve(buffer, PROTO_FRAME_HEADER_BYTES) != NULL) {
        buffer->size += PROTO_FRAME_HEADER_BYTES;
    }
    return begin;
}

/* Replace the body at `body` by its lz4 block if that is smaller. @return whether it was. */
static bool compress_in_place(struct proto_buffer *buffer, size_t body)
{
    size_t size = buffer->size - body;
    size_t room_needed = (size_t)LZ4_compressBound((int)size);
    uint8_t *room = proto_buffer_reserve(buffer, room_needed);
    if (room == NULL) {
        buffer->failed = false; /* no room to try in: it goes uncompressed */
        return false;
    }
    uint8_t *raw = buffer->data + body;
    int packed = LZ4_compress_default((const char *)raw, (char *)room, (int)size, (int)room_needed);
    if (packed <= 0 || (size_t)packed + RAW_LENGTH_BYTES >= size) {
        return false;
    }
    memmove(raw + RAW_LENGTH_BYTES, room, (size_t)packed);
    store_u32(raw, (uint32_t)size);
    buffer->size = body + RAW_LENGTH_BYTES + (size_t)packed;
    return true;
}

bool proto_frame_end(struct proto_buffer *buffer, size_t begin, bool compress)
{
    size_t body = begin + PROTO_FRAME_HEADER_BYTES;
    if (buffer->failed || buffer->size <= body || buffer->size - body > PROTO_FRAME_BODY_BYTES_MAX) {
        buffer->size = begin;
        buffer->failed = false;
        return false;
    }
    bool packed =
        compress && buffer->size - body > PROTO_COMPRESS_ABOVE_BYTES && compress_in_place(buffer, body);
    store_u32(buffer->data + begin, (uint32_t)(buffer->size - begin - LENGTH_BYTES));
    buffer->data[begin + LENGTH_BYTES] = packed ? FLAG_LZ4 : 0;
    return true;
}
