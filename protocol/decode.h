/* Station 3: bytes -> messages. Total: any bytes give a message or a named error. Nothing recurses, nothing is
 * allocated by a declared length; decoded strings point into the input.
 *
 * Every field is checked against limits.h here (keys, sizes, ttl, modes, …), so that what passes can be applied.
 * Unknown trailing elements of an array are skipped (a later version may add fields at the end), within bounded
 * depth. A body for which the row says INTERNAL is UNSUPPORTED. */
#ifndef LOCKSTEP_PROTOCOL_DECODE_H
#define LOCKSTEP_PROTOCOL_DECODE_H

#include "protocol/buffer.h"
#include "protocol/message.h"

struct proto_error {
    enum proto_status status; /* MALFORMED, INVALID, UNSUPPORTED */
    char detail[PROTO_DETAIL_BYTES_MAX]; /* names the field and what is allowed; terminated */
};

/* Rows of lists live here, so that decoding a page needs no memory of its own. Large: keep one per connection or
 * core, not on a small stack. Overwritten by the next decode. */
struct proto_rows {
    struct proto_holder holders[PROTO_STATUS_HOLDERS_MAX];
    struct proto_waiter waiters[PROTO_STATUS_HOLDERS_MAX];
    struct proto_lock_row locks[PROTO_LIST_MAX];
    struct proto_session_row sessions[PROTO_LIST_MAX];
    struct proto_member members[PROTO_MEMBERS_MAX];
};

/* Decode one request.
 * @param ret_request  on success the request. On failure `kind` and `id` are what could be read (0 if not), so that
 *                     the refusal can name the request; the rest is undefined.
 * @return true, or false with `ret_error` filled. */
bool proto_decode_request(struct proto_bytes body, struct proto_request *ret_request, struct proto_error *ret_error);

/* What a node sends: a reply or an event. */
struct proto_incoming {
    bool is_event;
    struct proto_reply reply;
    struct proto_event event;
};
bool proto_decode_incoming(struct proto_bytes body, struct proto_rows *rows, struct proto_incoming *ret_incoming,
                           struct proto_error *ret_error);

bool proto_decode_hello_request(struct proto_bytes body, struct proto_hello_request *ret_hello,
                                struct proto_error *ret_error);
bool proto_decode_hello_reply(struct proto_bytes body, struct proto_hello_reply *ret_hello,
                              struct proto_error *ret_error);

/* The fields of a request's body as proto_encode_request_body() wrote them. Takes what it consumed off the front of
 * `*bytes`. Same checks as above (INTERNAL kinds are allowed here), but a field that this version does not know is
 * UNSUPPORTED: nodes of two versions that read one entry differently would part ways. */
bool proto_decode_request_body(struct proto_bytes *bytes, enum proto_kind kind, union proto_request_body *ret_body,
                               struct proto_error *ret_error);

/* The rules that client, CLI and node share; each returns true if the value is allowed. */
bool proto_key_valid(struct proto_bytes key);
bool proto_text_valid(struct proto_bytes text, uint32_t size_min, uint32_t size_max);

#endif
