/* Fuzz target: frames and messages, decoded as a node and as a client would. The first byte says as what the rest is read.
 *
 *   D1  Any bytes give a message or a named error with a sentence.
 *   D2  What was decoded can be encoded, that decodes to the same, and encoding it once more gives the same bytes.
 *   D3  A frame that is taken can be framed again, compressed or not, and gives the same body.
 *   D4  The outcome of a frame does not depend on how many bytes came first: a part of it says PARTIAL or the same error.
 *   D5  Plain and compressed framing of any body that fits are both taken as that body. */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "tests/fuzz/input.h"

enum { PREFIXES_MAX = 48, RAW_BYTES_MAX = 4 * PROTO_FRAME_BODY_BYTES_MAX };

enum form {
    REQUEST,
    INCOMING,
    HELLO_REQUEST,
    HELLO_REPLY,
    REQUEST_BODY,
    FRAMES,
    LZ4_FRAME,
    FRAMED_BODY,
    FORMS
};

struct message {
    union {
        struct proto_request request;
        struct proto_incoming incoming;
        struct proto_hello_request hello_request;
        struct proto_hello_reply hello_reply;
        struct {
            enum proto_kind kind;
            union proto_request_body body;
        } request_body;
    };
    struct proto_rows *rows;
};

static struct proto_rows rows_first, rows_again;

static void check_error(const struct proto_error *error)
{
    size_t length = strnlen(error->detail, sizeof error->detail);
    LOCKSTEP_ASSERT(error->status == PROTO_STATUS_MALFORMED || error->status == PROTO_STATUS_INVALID ||
                    error->status == PROTO_STATUS_UNSUPPORTED);
    LOCKSTEP_ASSERT(length > 0 && length < sizeof error->detail); /* D1 */
}

/* A body of a kind that has no operation is a named error; the kind of a message is set before. */
static bool decode(enum form form, struct proto_bytes bytes, struct message *message,
                   struct proto_error *error)
{
    switch (form) {
    case REQUEST:
        return proto_decode_request(bytes, &message->request, error);
    case INCOMING:
        return proto_decode_incoming(bytes, message->rows, &message->incoming, error);
    case HELLO_REQUEST:
        return proto_decode_hello_request(bytes, &message->hello_request, error);
    case HELLO_REPLY:
        return proto_decode_hello_reply(bytes, &message->hello_reply, error);
    default:
        return proto_decode_request_body(&bytes, message->request_body.kind, &message->request_body.body,
                                         error);
    }
}

static void encode(enum form form, const struct message *message, struct proto_buffer *out)
{
    switch (form) {
    case REQUEST:
        proto_encode_request(out, &message->request);
        break;
    case INCOMING:
        if (message->incoming.is_event) {
            proto_encode_event(out, &message->incoming.event);
        } else {
            proto_encode_reply(out, &message->incoming.reply);
        }
        break;
    case HELLO_REQUEST:
        proto_encode_hello_request(out, &message->hello_request);
        break;
    case HELLO_REPLY:
        proto_encode_hello_reply(out, &message->hello_reply);
        break;
    default:
        proto_encode_request_body(out, message->request_body.kind, &message->request_body.body);
        break;
    }
    LOCKSTEP_ASSERT(!out->failed);
}

static struct proto_bytes view_of(const struct proto_buffer *buffer)
{
    return (struct proto_bytes){buffer->data, (uint32_t)buffer->size};
}

static bool same(struct proto_bytes a, struct proto_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* D1, D2 */
static void check_message(enum form form, enum proto_kind kind, struct proto_bytes bytes)
{
    struct proto_error error = {0};
    struct message message = {.rows = &rows_first};
    struct message again = {.rows = &rows_again};
    message.request_body.kind = kind;
    again.request_body.kind = kind;
    if (!decode(form, bytes, &message, &error)) {
        check_error(&error);
        return;
    }
    struct proto_buffer once;
    struct proto_buffer twice;
    proto_buffer_init(&once, RAW_BYTES_MAX);
    proto_buffer_init(&twice, RAW_BYTES_MAX);
    encode(form, &message, &once);
    bool decoded = decode(form, view_of(&once), &again, &error);
    LOCKSTEP_ASSERT(decoded);
    encode(form, &again, &twice);
    LOCKSTEP_ASSERT(same(view_of(&once), view_of(&twice)));
    proto_buffer_done(&once);
    proto_buffer_done(&twice);
}

/* D3, D5: `body` is not empty. `frame_bytes_max` has room for the frame, and perhaps none to compress it. */
static void check_framing_in(struct proto_bytes body, bool compress, size_t frame_bytes_max)
{
    struct proto_buffer frame;
    struct proto_buffer scratch;
    struct proto_bytes taken;
    size_t frame_bytes = 0;
    proto_buffer_init(&frame, frame_bytes_max);
    proto_buffer_init(&scratch, PROTO_FRAME_BODY_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    bool appended = proto_buffer_append(&frame, body.data, body.size);
    LOCKSTEP_ASSERT(appended);
    bool framed = proto_frame_end(&frame, begin, compress);
    LOCKSTEP_ASSERT(framed);
    enum proto_frame_result result =
        proto_frame_take(frame.data, frame.size, PROTO_FRAME_BODY_BYTES_MAX, &scratch, &taken, &frame_bytes);
    LOCKSTEP_ASSERT(result == PROTO_FRAME_OK);
    LOCKSTEP_ASSERT(frame_bytes == frame.size);
    LOCKSTEP_ASSERT(same(taken, body));
    proto_buffer_done(&frame);
    proto_buffer_done(&scratch);
}

static void check_framing(struct proto_bytes body)
{
    check_framing_in(body, false, RAW_BYTES_MAX);
    check_framing_in(body, true, RAW_BYTES_MAX);
    check_framing_in(body, true, body.size + PROTO_FRAME_HEADER_BYTES);
}

/* D4, on the first and the last bytes of the frame. */
static void check_prefixes(const uint8_t *data, size_t size, size_t body_bytes_max,
                           enum proto_frame_result whole)
{
    struct proto_buffer scratch;
    proto_buffer_init(&scratch, body_bytes_max);
    for (size_t i = 0; i < size; i++) {
        if (i == PREFIXES_MAX / 2 && size > PREFIXES_MAX) {
            i = size - PREFIXES_MAX / 2;
        }
        struct proto_bytes body;
        size_t frame_bytes;
        enum proto_frame_result part =
            proto_frame_take(data, i, body_bytes_max, &scratch, &body, &frame_bytes);
        LOCKSTEP_ASSERT(part == PROTO_FRAME_PARTIAL || (part == whole && whole != PROTO_FRAME_OK));
    }
    proto_buffer_done(&scratch);
}

/* Frame after frame until one is not whole. What a frame holds is decoded as both sides would. */
static void check_frames(struct proto_bytes stream, size_t body_bytes_max)
{
    struct proto_buffer scratch;
    proto_buffer_init(&scratch, body_bytes_max);
    const uint8_t *at = stream.data;
    size_t left = stream.size;
    for (;;) {
        struct proto_bytes body;
        size_t frame_bytes = left;
        enum proto_frame_result result =
            proto_frame_take(at, left, body_bytes_max, &scratch, &body, &frame_bytes);
        LOCKSTEP_ASSERT(strlen(proto_frame_result_text(result)) > 0);
        check_prefixes(at, result == PROTO_FRAME_OK ? frame_bytes : left, body_bytes_max, result);
        if (result != PROTO_FRAME_OK) {
            break;
        }
        LOCKSTEP_ASSERT(frame_bytes <= left && body.size > 0 && body.size <= body_bytes_max);
        check_framing(body);
        check_message(REQUEST, PROTO_PING, body);
        check_message(INCOMING, PROTO_PING, body);
        at += frame_bytes;
        left -= frame_bytes;
    }
    proto_buffer_done(&scratch);
}

static void store_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* The head of a compressed frame is right but for the raw length, which the input chooses; the block is the input's. */
static void check_lz4_frame(struct input *input)
{
    uint32_t raw_bytes = (uint32_t)input_u16(input) << (input_byte(input) % 17);
    struct proto_bytes block = input_rest(input);
    struct proto_buffer frame;
    proto_buffer_init(&frame, RAW_BYTES_MAX);
    uint8_t head[PROTO_FRAME_HEADER_BYTES + 4];
    store_u32(head, block.size + 5);
    head[4] = 1;
    store_u32(head + PROTO_FRAME_HEADER_BYTES, raw_bytes);
    bool appended =
        proto_buffer_append(&frame, head, sizeof head) && proto_buffer_append(&frame, block.data, block.size);
    LOCKSTEP_ASSERT(appended);
    check_frames(view_of(&frame), PROTO_FRAME_BODY_BYTES_MAX);
    proto_buffer_done(&frame);
}

/* The input repeated, so that there is something to compress and bounds of sizes are reached. */
static void check_framed_body(struct input *input)
{
    unsigned times = 1 + input_byte(input);
    struct proto_bytes part = input_rest(input);
    struct proto_buffer body;
    proto_buffer_init(&body, PROTO_FRAME_BODY_BYTES_MAX);
    for (unsigned i = 0; i < times && proto_buffer_append(&body, part.data, part.size); i++) {
    }
    if (body.size > 0) {
        check_framing(view_of(&body));
        check_message(REQUEST, PROTO_PING, view_of(&body));
    }
    proto_buffer_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    enum form form = (enum form)input_below(&input, FORMS);
    switch (form) {
    case FRAMES: {
        size_t body_bytes_max =
            input_byte(&input) % 2 == 0 ? PROTO_FRAME_BODY_BYTES_MAX : PROTO_REQUEST_BODY_BYTES_MAX;
        check_frames(input_rest(&input), body_bytes_max);
        break;
    }
    case LZ4_FRAME:
        check_lz4_frame(&input);
        break;
    case FRAMED_BODY:
        check_framed_body(&input);
        break;
    default: {
        enum proto_kind kind = form == REQUEST_BODY ? (enum proto_kind)input_byte(&input) : PROTO_PING;
        check_message(form, kind, input_rest(&input));
        break;
    }
    }
    return 0;
}
