/* Any bytes give a message or a named error, without memory of their own and without reading beyond their end. */
#include "support.h"

#include "allocations.h"
#include "arbitrary.h"
#include "render.h"
#include "wire.h"

static struct proto_rows *rows; /* large */

static int set_up(void **state)
{
    *state = arbitrary_create(seed_get());
    rows = malloc(sizeof *rows);
    assert_non_null(rows);
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    free(rows);
    return 0;
}

/* Decoding allocates nothing, and an error has a name and a sentence. */
static bool decode(enum message_kind kind, struct proto_bytes bytes, struct message *ret_message,
                   struct proto_error *ret_error)
{
    memset(ret_error, 0x7F, sizeof *ret_error);
    size_t before = allocations_count();
    bool decoded = message_decode(kind, bytes, rows, ret_message, ret_error);
    assert_int_equal(allocations_count(), before);
    if (!decoded) {
        enum proto_status status = ret_error->status;
        assert_true(status == PROTO_STATUS_MALFORMED || status == PROTO_STATUS_INVALID ||
                    status == PROTO_STATUS_UNSUPPORTED);
        size_t length = strnlen(ret_error->detail, sizeof ret_error->detail);
        assert_in_range(length, 1, sizeof ret_error->detail - 1);
    }
    return decoded;
}

static void a_message_cut_at_any_byte_is_malformed(void **state)
{
    struct arbitrary *arbitrary = *state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    for (unsigned round = 0; round < rounds_get(400); round++) {
        enum message_kind kind = (enum message_kind)(round % MESSAGE_KINDS);
        struct message message;
        struct proto_error error;
        arbitrary_message(arbitrary, kind, &message);
        proto_buffer_clear(&buffer);
        message_encode(&buffer, &message);
        uint32_t step = 1 + (uint32_t)(buffer.size / 2000); /* of long ones not every byte */
        for (uint32_t size = 0; size < buffer.size; size += step) {
            struct proto_bytes part = exact_copy((struct proto_bytes){buffer.data, size});
            assert_false(decode(kind, part, &message, &error));
            assert_int_equal(error.status, PROTO_STATUS_MALFORMED);
            free((void *)(uintptr_t)part.data);
        }
    }
    proto_buffer_done(&buffer);
}

/* Change, drop, double or insert a few bytes. */
static void mutate(struct arbitrary *arbitrary, struct proto_buffer *buffer)
{
    static const uint8_t tags[] = {0x00, 0x7F, 0x80, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xC4,
                                   0xC6, 0xC9, 0xCC, 0xCF, 0xD3, 0xDB, 0xDC, 0xDD, 0xDF, 0xE0, 0xFF};
    for (uint64_t times = 1 + arbitrary_below(arbitrary, 3); times > 0 && buffer->size > 1; times--) {
        size_t at = (size_t)arbitrary_below(arbitrary, buffer->size);
        uint8_t byte = tags[arbitrary_below(arbitrary, sizeof tags)];
        switch (arbitrary_below(arbitrary, 4)) {
        case 0:
            buffer->data[at] ^= (uint8_t)(1u << arbitrary_below(arbitrary, 8));
            break;
        case 1:
            buffer->data[at] = byte;
            break;
        case 2:
            memmove(buffer->data + at, buffer->data + at + 1, buffer->size - at - 1);
            buffer->size--;
            break;
        default:
            assert_true(proto_buffer_append(buffer, &byte, 1));
            memmove(buffer->data + at + 1, buffer->data + at, buffer->size - at - 1);
            buffer->data[at] = byte;
            break;
        }
    }
}

/* What was decoded from damaged bytes is a message like any other. */
static void encodes_again(const struct message *message)
{
    struct proto_buffer bytes;
    struct proto_buffer text;
    struct proto_buffer again;
    struct message decoded;
    struct proto_error error;
    proto_buffer_init(&bytes, TEXT_BYTES_MAX);
    proto_buffer_init(&text, TEXT_BYTES_MAX);
    proto_buffer_init(&again, TEXT_BYTES_MAX);
    message_encode(&bytes, message);
    render_message(&text, message);
    struct proto_bytes copy = exact_copy(view_of(&bytes));
    assert_true(decode(message->kind, copy, &decoded, &error));
    render_message(&again, &decoded);
    assert_string_equal(text_of(&again), text_of(&text));
    free((void *)(uintptr_t)copy.data);
    proto_buffer_done(&bytes);
    proto_buffer_done(&text);
    proto_buffer_done(&again);
}

static void damaged_bytes_give_a_message_or_a_named_error(void **state)
{
    struct arbitrary *arbitrary = *state;
    struct proto_buffer buffer;
    unsigned decoded = 0;
    unsigned refused = 0;
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    for (unsigned round = 0; round < rounds_get(60000); round++) {
        enum message_kind kind = (enum message_kind)(round % MESSAGE_KINDS);
        struct message message;
        struct proto_error error;
        arbitrary_message(arbitrary, kind, &message);
        proto_buffer_clear(&buffer);
        message_encode(&buffer, &message);
        mutate(arbitrary, &buffer);
        struct proto_bytes copy = exact_copy(view_of(&buffer));
        if (decode(kind, copy, &message, &error)) {
            decoded++;
            encodes_again(&message);
        } else {
            refused++;
        }
        free((void *)(uintptr_t)copy.data);
    }
    assert_true(decoded > 0 && refused > 0);
    proto_buffer_done(&buffer);
}

static void random_bytes_give_a_message_or_a_named_error(void **state)
{
    struct arbitrary *arbitrary = *state;
    for (unsigned round = 0; round < rounds_get(60000); round++) {
        uint8_t bytes[64];
        struct message message;
        struct proto_error error;
        uint32_t size = (uint32_t)arbitrary_below(arbitrary, sizeof bytes);
        for (uint32_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)arbitrary_number(arbitrary);
        }
        if (size > 2 && round % 2 == 0) {
            bytes[0] = (uint8_t)(0x92 + round % 13); /* at least the array */
            bytes[1] = (uint8_t)(round % 110);
        }
        struct proto_bytes copy = exact_copy((struct proto_bytes){bytes, size});
        (void)decode((enum message_kind)(round % MESSAGE_KINDS), copy, &message, &error);
        free((void *)(uintptr_t)copy.data);
    }
}

static void declared_lengths_are_not_believed(void **state)
{
    (void)state;
    static const char *const all[] = {
        "dd ffffffff",                /* an array of 4 Gi elements */
        "dd ffffffff 14 07 c2 a1 6b", /* and a good beginning */
        "dd 7fffffff 14 07 c2 a1 6b",
        "dc ffff 2a 07",
        "df ffffffff",                /* a map instead */
        "94 14 07 c2 db ffffffff 6b", /* a key of 4 GiB */
        "94 14 07 c2 da ffff 6b",
        "95 03 07 51 c6 ffffffff 00", /* a secret of 4 GiB */
        "93 2a 07 dd ffffffff",       /* in what a later version might have added */
        "93 2a 07 df ffffffff",
        "93 2a 07 c9 ffffffff 01",
        "93 2a 07 c6 ffffffff",
        "97 15 07 00 01 02 c3 dd ffffffff 90", /* rows of a lock.list */
        "97 15 07 00 01 02 c3 dd 00000101 90",
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct proto_buffer buffer;
        proto_buffer_init(&buffer, TEXT_BYTES_MAX);
        assert_string_equal(hex_read(&buffer, all[i]), "");
        struct proto_bytes copy = exact_copy(view_of(&buffer));
        for (unsigned kind = 0; kind < MESSAGE_KINDS; kind++) {
            struct message message;
            struct proto_error error;
            assert_false(decode((enum message_kind)kind, copy, &message, &error));
            assert_int_equal(error.status, PROTO_STATUS_MALFORMED);
        }
        free((void *)(uintptr_t)copy.data);
        proto_buffer_done(&buffer);
    }
}

/* ---- what only replies, events and hellos can have wrong ---- */

static void fails_with(enum message_kind kind, const char *notation, const char *status, const char *detail)
{
    struct proto_buffer buffer;
    struct message message;
    struct proto_error error;
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    wire_write(&buffer, notation, WIRE_SHORTEST);
    assert_false(decode(kind, view_of(&buffer), &message, &error));
    assert_string_equal(error.detail, detail);
    assert_string_equal(proto_status_name((uint64_t)error.status), status);
    proto_buffer_done(&buffer);
}

static void replies_that_can_not_be_understood(void **state)
{
    (void)state;
    fails_with(MESSAGE_REPLY, "7", "MALFORMED", "message: expected an array");
    fails_with(MESSAGE_REPLY, "[42, 7]", "MALFORMED", "message has 2 fields; it takes at least 3");
    fails_with(MESSAGE_REPLY, "[nil, 7, 0, 0]", "MALFORMED", "message: expected an unsigned integer");
    fails_with(MESSAGE_REPLY, "[42, 7, 0]", "MALFORMED", "reply has 3 fields; it takes 4");
    fails_with(MESSAGE_REPLY, "[42, 7, nil, 0]", "MALFORMED", "reply: expected an unsigned integer");
    fails_with(MESSAGE_REPLY, "[42, 7, 999, 0]", "UNSUPPORTED", "status 999 is not known to this version");
    fails_with(MESSAGE_REPLY, "[99, 7, 0, 0]", "UNSUPPORTED",
               "a reply to operation 99 is not known to this version");
    fails_with(MESSAGE_REPLY, "[103, 7, 0, 0]", "UNSUPPORTED",
               "a reply to operation 103 is not known to this version");
    fails_with(MESSAGE_REPLY, "[4294967338, 7, 0, 0]", "UNSUPPORTED",
               "a reply to operation 4294967338 is not known to this version");
    fails_with(MESSAGE_REPLY, "[12, 7, 0, 0]", "MALFORMED", "reply has 4 fields; it takes 5");
    fails_with(MESSAGE_REPLY, "[12, 7, 0, 0, \"1\"]", "MALFORMED", "reply: expected an unsigned integer");
    fails_with(MESSAGE_REPLY, "[42, 7, 14, 0]", "MALFORMED", "reply has 4 fields; it takes 8");
    fails_with(MESSAGE_REPLY, "[23, 7, 0, 0, 5, false, [[1, \"\", 0, 0, 0, 0, 0, 0]]]", "MALFORMED",
               "reply: expected a row with all its fields");
}

static void more_rows_than_a_page_has_are_refused(void **state)
{
    (void)state;
    struct proto_buffer notation;
    proto_buffer_init(&notation, TEXT_BYTES_MAX);
    static const char begin[] = "[23, 7, 0, 0, 5, false, [";
    static const char row[] = "[1, \"\", 0, 0, 0, 0, 0, 0, 0], ";
    assert_true(proto_buffer_append(&notation, begin, sizeof begin - 1));
    for (unsigned i = 0; i < PROTO_LIST_MAX + 1; i++) {
        assert_true(proto_buffer_append(&notation, row, sizeof row - 1));
    }
    assert_true(proto_buffer_append(&notation, "]]", 2));
    fails_with(MESSAGE_REPLY, text_of(&notation), "MALFORMED", "reply: expected fewer rows");
    proto_buffer_done(&notation);
}

static void events_that_can_not_be_understood(void **state)
{
    (void)state;
    fails_with(MESSAGE_EVENT, "[100, 81, 5, 9, \"k\", 1]", "MALFORMED", "event has 6 fields; it takes 7");
    fails_with(MESSAGE_EVENT, "[101, 81, 5, 1]", "MALFORMED", "event has 4 fields; it takes 5");
    fails_with(MESSAGE_EVENT, "[102, 0, 0, 2, h'00']", "MALFORMED", "event: expected a string");
}

static void hellos_that_can_not_be_understood(void **state)
{
    (void)state;
    static const char no_magic[] = "hello does not begin with the magic \"LOCKSTEP\"";
    fails_with(MESSAGE_HELLO_REQUEST, "\"LOCKSTEP\"", "MALFORMED", "hello: expected an array");
    fails_with(MESSAGE_HELLO_REQUEST, "[\"LOCKSTEP\"]", "MALFORMED",
               "hello has 1 fields; it takes at least 5");
    fails_with(MESSAGE_HELLO_REQUEST, "[\"lockstep\", 1, 1, 0, \"\"]", "MALFORMED", no_magic);
    fails_with(MESSAGE_HELLO_REQUEST, "[\"LOCKSTEPS\", 1, 1, 0, \"\"]", "MALFORMED", no_magic);
    fails_with(MESSAGE_HELLO_REQUEST, "[1, 1, 1, 0, \"\"]", "MALFORMED", no_magic);
    fails_with(MESSAGE_HELLO_REQUEST, "[\"LOCKSTEP\", 1, 1, nil, \"\"]", "MALFORMED",
               "hello: expected an unsigned integer");
    fails_with(MESSAGE_HELLO_REQUEST, "[\"LOCKSTEP\", 2, 1, 0, \"\"]", "INVALID",
               "hello's least version is greater than its greatest");
    fails_with(MESSAGE_HELLO_REQUEST, "[\"LOCKSTEP\", 1, 1, 0, \"a\"*129]", "INVALID",
               "hello's agent is not 0..128 bytes of text");
    fails_with(MESSAGE_HELLO_REPLY, "[\"LOCKSTEP\", 0]", "MALFORMED",
               "hello has 2 fields; it takes at least 9");
    fails_with(MESSAGE_HELLO_REPLY, "[\"HTTP/1.1\", 0, 1, 1, 1, 1, \"\", 0, \"\"]", "MALFORMED", no_magic);
    fails_with(MESSAGE_HELLO_REPLY, "[\"LOCKSTEP\", 0, 1, 1, 1, 1, 0, 0, \"\"]", "MALFORMED",
               "hello: expected a string");
    fails_with(MESSAGE_HELLO_REPLY, "[\"LOCKSTEP\", 99, 1, 1, 1, 1, \"\", 0, \"\"]", "UNSUPPORTED",
               "status 99 is not known to this version");
}

static void a_refusal_of_an_unknown_request_has_no_kind(void **state)
{
    (void)state;
    static const char *const all[] = {"[0, 7, 15, 0, \"why\", 0, 0, \"\"]",
                                      "[99, 7, 16, 0, \"why\", 0, 0, \"\"]",
                                      "[4294967297, 7, 16, 0, \"why\", 0, 0, \"\"]"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct proto_buffer buffer;
        struct message message;
        struct proto_error error;
        proto_buffer_init(&buffer, TEXT_BYTES_MAX);
        wire_write(&buffer, all[i], WIRE_SHORTEST);
        assert_true(decode(MESSAGE_REPLY, view_of(&buffer), &message, &error));
        assert_int_equal(message.as.reply.kind, 0);
        assert_true(message.as.reply.id == 7);
        assert_bytes_equal(message.as.reply.body.refusal.detail, bytes_of("why"));
        proto_buffer_done(&buffer);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_cut_at_any_byte_is_malformed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_bytes_give_a_message_or_a_named_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_bytes_give_a_message_or_a_named_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(declared_lengths_are_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replies_that_can_not_be_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_rows_than_a_page_has_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_that_can_not_be_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hellos_that_can_not_be_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refusal_of_an_unknown_request_has_no_kind, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("protocol: totality", tests, NULL, NULL);
}
