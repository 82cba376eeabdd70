/* Station 2: bytes <-> frames.
 *
 *   u32 little-endian  length of what follows (flags + payload), 2 .. 1 + PROTO_FRAME_BODY_BYTES_MAX + 4
 *   u8                 flags: bit 0 = the payload is an lz4 block; all other bits 0
 *   payload            the body, one msgpack array; or u32 little-endian raw length, then the lz4 block of the body
 */
#ifndef LOCKSTEP_PROTOCOL_FRAME_H
#define LOCKSTEP_PROTOCOL_FRAME_H

#include "protocol/buffer.h"
#include "protocol/message.h"

enum proto_frame_result {
    PROTO_FRAME_OK,        /* one whole frame; its body and length are given */
    PROTO_FRAME_PARTIAL,   /* more bytes are needed */
    PROTO_FRAME_BAD_LENGTH,
    PROTO_FRAME_BAD_FLAGS,
    PROTO_FRAME_BAD_LZ4,
};

/* Take the first frame of `data`.
 *
 * @param body_bytes_max  what this side accepts as a body (after decompression).
 * @param scratch         where a compressed body is expanded; the caller's, cleared by the call, may grow to
 *                        body_bytes_max. Never used for an uncompressed frame.
 * @param ret_body        on OK: the body; points into `data` or `scratch`.
 * @param ret_frame_bytes on OK: how many bytes of `data` the frame took.
 * A bad length is reported as soon as its four bytes are there; nothing is allocated on a length's word alone. */
enum proto_frame_result proto_frame_take(const uint8_t *data, size_t size, size_t body_bytes_max,
                                         struct proto_buffer *scratch, struct proto_bytes *ret_body,
                                         size_t *ret_frame_bytes);

/* Text for a log line, e.g. "frame length out of bounds". Static memory. */
const char *proto_frame_result_text(enum proto_frame_result result);

/* Open a frame at the end of `buffer`: room for the header. @return the position to give to proto_frame_end(). */
size_t proto_frame_begin(struct proto_buffer *buffer);

/* Close the frame opened at `begin`: writes the header; compresses the body if it is larger than
 * PROTO_COMPRESS_ABOVE_BYTES, `compress` is set, and that makes it smaller.
 * @return false if the body is larger than PROTO_FRAME_BODY_BYTES_MAX or the buffer had failed; then the buffer is
 *         back at `begin`. */
bool proto_frame_end(struct proto_buffer *buffer, size_t begin, bool compress);

#endif
