/* What the tests of protocol/ share. Included by each of them, after nothing else. */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_SUPPORT_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/buffer.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "protocol/message.h"

enum { TEXT_BYTES_MAX = 16 * 1024 * 1024 };

struct proto_bytes bytes_of(const char *text);
struct proto_bytes view_of(const struct proto_buffer *buffer);
/* The same bytes in memory of exactly their size, so that the sanitizer sees a read beyond them. The caller frees. */
struct proto_bytes exact_copy(struct proto_bytes bytes);
/* Append a terminator, without counting it. @return the buffer's contents. */
const char *text_of(struct proto_buffer *buffer);
void assert_bytes_equal(struct proto_bytes actual, struct proto_bytes expected);

/* The seed of randomised tests: LOCKSTEP_SEED, else the clock. Printed when a program asks for it first. */
uint64_t seed_get(void);
/* How much of a randomised test to do: LOCKSTEP_ROUNDS, else what it says itself. */
unsigned rounds_get(unsigned usual);

/* One message of any direction. */
enum message_kind {
    MESSAGE_HELLO_REQUEST,
    MESSAGE_HELLO_REPLY,
    MESSAGE_REQUEST,
    MESSAGE_REPLY,
    MESSAGE_EVENT,
    MESSAGE_KINDS,
};
struct message {
    enum message_kind kind;
    union {
        struct proto_hello_request hello_request;
        struct proto_hello_reply hello_reply;
        struct proto_request request;
        struct proto_reply reply;
        struct proto_event event;
    } as;
};
void message_encode(struct proto_buffer *buffer, const struct message *message);
/* Decodes as `kind` says; MESSAGE_REPLY and MESSAGE_EVENT are the same, `ret_message->kind` tells which it was. */
bool message_decode(enum message_kind kind, struct proto_bytes bytes, struct proto_rows *rows,
                    struct message *ret_message, struct proto_error *ret_error);

#endif
