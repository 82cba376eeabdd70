/* What the tests of protocol/ share. */
#include "support.h"

#include <stdio.h>
#include <time.h>

struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

struct proto_bytes view_of(const struct proto_buffer *buffer)
{
    assert_false(buffer->failed);
    return (struct proto_bytes){buffer->data, (uint32_t)buffer->size};
}

struct proto_bytes exact_copy(struct proto_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size);
    if (bytes.size > 0) {
        assert_non_null(copy);
        memcpy(copy, bytes.data, bytes.size);
    }
    return (struct proto_bytes){copy, bytes.size};
}

const char *text_of(struct proto_buffer *buffer)
{
    uint8_t *end = proto_buffer_reserve(buffer, 1);
    assert_non_null(end);
    *end = '\0';
    return (const char *)buffer->data;
}

void assert_bytes_equal(struct proto_bytes actual, struct proto_bytes expected)
{
    uint32_t common = actual.size < expected.size ? actual.size : expected.size;
    if (common > 0) {
        assert_memory_equal(actual.data, expected.data, common);
    }
    assert_int_equal(actual.size, expected.size);
}

static uint64_t seed_from_environment(void)
{
    const char *text = getenv("LOCKSTEP_SEED");
    struct timespec now;
    if (text != NULL) {
        return strtoull(text, NULL, 0);
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
}

uint64_t seed_get(void)
{
    static bool known = false;
    static uint64_t seed = 0;
    if (!known) {
        known = true;
        seed = seed_from_environment();
        (void)fprintf(stderr, "seed: again with LOCKSTEP_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

unsigned rounds_get(unsigned usual)
{
    const char *text = getenv("LOCKSTEP_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : usual;
}

void message_encode(struct proto_buffer *buffer, const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_HELLO_REQUEST:
        proto_encode_hello_request(buffer, &message->as.hello_request);
        return;
    case MESSAGE_HELLO_REPLY:
        proto_encode_hello_reply(buffer, &message->as.hello_reply);
        return;
    case MESSAGE_REQUEST:
        proto_encode_request(buffer, &message->as.request);
        return;
    case MESSAGE_REPLY:
        proto_encode_reply(buffer, &message->as.reply);
        return;
    case MESSAGE_EVENT:
        proto_encode_event(buffer, &message->as.event);
        return;
    case MESSAGE_KINDS:
        break;
    }
    fail();
}

static bool decode_incoming(struct proto_bytes bytes, struct proto_rows *rows, struct message *ret_message,
                            struct proto_error *ret_error)
{
    struct proto_incoming incoming;
    if (!proto_decode_incoming(bytes, rows, &incoming, ret_error)) {
        return false;
    }
    if (incoming.is_event) {
        ret_message->kind = MESSAGE_EVENT;
        ret_message->as.event = incoming.event;
    } else {
        ret_message->kind = MESSAGE_REPLY;
        ret_message->as.reply = incoming.reply;
    }
    return true;
}

bool message_decode(enum message_kind kind, struct proto_bytes bytes, struct proto_rows *rows,
                    struct message *ret_message, struct proto_error *ret_error)
{
    ret_message->kind = kind;
    switch (kind) {
    case MESSAGE_HELLO_REQUEST:
        return proto_decode_hello_request(bytes, &ret_message->as.hello_request, ret_error);
    case MESSAGE_HELLO_REPLY:
        return proto_decode_hello_reply(bytes, &ret_message->as.hello_reply, ret_error);
    case MESSAGE_REQUEST:
        return proto_decode_request(bytes, &ret_message->as.request, ret_error);
    case MESSAGE_REPLY:
    case MESSAGE_EVENT:
        return decode_incoming(bytes, rows, ret_message, ret_error);
    case MESSAGE_KINDS:
        break;
    }
    fail();
    return false;
}
