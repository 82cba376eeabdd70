/* Every bound of a request's fields: what lies on it passes, what lies beyond it is refused by name, with the value and
 * what is allowed. The requests are written as msgpack, because encoding does not let a bad one out. */
#include "support.h"

#include "wire.h"

#define SECRET "h'00112233445566778899aabbccddeeff'"
#define HEAD   "7, 81, " SECRET ", 6, " /* id, session id, secret, acknowledged floor */

struct bound {
    const char *request;
    const char *detail; /* NULL: it is allowed */
};

static void check(const struct bound *bound, enum proto_status status)
{
    struct proto_buffer buffer;
    struct proto_request request;
    struct proto_error error = {PROTO_STATUS_OK, ""};
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    wire_write(&buffer, bound->request, WIRE_SHORTEST);
    bool passed = proto_decode_request(view_of(&buffer), &request, &error);
    if (bound->detail != NULL) {
        assert_false(passed);
        assert_string_equal(error.detail, bound->detail);
        assert_string_equal(proto_status_name((uint64_t)error.status), proto_status_name((uint64_t)status));
    } else if (!passed) {
        fail_msg("%s: %s", bound->request, error.detail);
    }
    proto_buffer_done(&buffer);
}

static void check_all(const struct bound *bounds, size_t count, enum proto_status status)
{
    for (size_t i = 0; i < count; i++) {
        check(&bounds[i], status);
    }
}
#define CHECK_ALL(bounds, status) check_all(bounds, sizeof(bounds) / sizeof((bounds)[0]), status)

static void ids(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[42, 1]", NULL},
        {"[42, 18446744073709551615]", NULL},
        {"[42, 0]", "id is 0; allowed are 1..18446744073709551615"},
        {"[3, 0, 81, " SECRET ", 0]", "id is 0; allowed are 1..18446744073709551615"},
        {"[3, 7, 0, " SECRET ", 0]", "session_id is 0; allowed are 1..18446744073709551615"},
        {"[3, 7, 81, " SECRET ", 0]", NULL},
        {"[3, 7, 81, " SECRET ", 6]", NULL},
        {"[3, 7, 81, " SECRET ", 7]", "ack_floor is 7; allowed is less than the request's id 7"},
        {"[3, 7, 81, " SECRET ", 18446744073709551615]",
         "ack_floor is 18446744073709551615; allowed is less than the request's id 7"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void keys(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[20, 7, false, \"a\"]", NULL},
        {"[20, 7, false, \"azAZ09._:/@-\"]", NULL},
        {"[20, 7, false, \"k\"*256]", NULL},
        {"[20, 7, false, \"\"]", "key has 0 bytes; allowed are 1..256"},
        {"[20, 7, false, \"k\"*257]", "key has 257 bytes; allowed are 1..256"},
        {"[20, 7, false, \"a b\"]", "key has a byte outside of [A-Za-z0-9._:/@-]"},
        {"[20, 7, false, \"a\\x00\"]", "key has a byte outside of [A-Za-z0-9._:/@-]"},
        {"[20, 7, false, \"\\xc3\\xa9\"]", "key has a byte outside of [A-Za-z0-9._:/@-]"},
        {"[11, " HEAD "\"\", 9, 0]", "key has 0 bytes; allowed are 1..256"},
        {"[12, " HEAD "\"\", 9, false]", "key has 0 bytes; allowed are 1..256"},
        {"[14, " HEAD "\"\", 9, h'00']", "key has 0 bytes; allowed are 1..256"},
        {"[24, 7, false, \"\", 9]", "key has 0 bytes; allowed are 1..256"},
        {"[30, 7, \"\", 9, \"why\"]", "key has 0 bytes; allowed are 1..256"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void every_byte_of_a_key(void **state)
{
    (void)state;
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/@-";
    for (unsigned i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i;
        bool good = byte != 0 && strchr(allowed, byte) != NULL;
        assert_true(proto_key_valid((struct proto_bytes){&byte, 1}) == good);
    }
}

static void owners_and_sessions(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[1, 7, " SECRET ", \"\", 100, 0, 0]", NULL},
        {"[1, 7, " SECRET ", \"o\"*128, 86400000, 3600000, 18446744073709551615]", NULL},
        {"[1, 7, " SECRET ", \"o\"*129, 100, 0, 0]", "owner has 129 bytes; allowed are 0..128"},
        {"[1, 7, " SECRET ", \"a\\x0ab\", 100, 0, 0]",
         "owner is not text; allowed is UTF-8 without control characters"},
        {"[1, 7, " SECRET ", \"web-1\", 99, 0, 0]", "ttl_ms is 99; allowed are 100..86400000"},
        {"[1, 7, " SECRET ", \"web-1\", 0, 0, 0]", "ttl_ms is 0; allowed are 100..86400000"},
        {"[1, 7, " SECRET ", \"web-1\", 86400001, 0, 0]", "ttl_ms is 86400001; allowed are 100..86400000"},
        {"[1, 7, " SECRET ", \"web-1\", 100, 3600001, 0]",
         "lock_delay_ms is 3600001; allowed are 0..3600000"},
        {"[2, " HEAD "0]", NULL},
        {"[2, " HEAD "100]", NULL},
        {"[2, " HEAD "86400000]", NULL},
        {"[2, " HEAD "99]", "ttl_ms is 99; allowed are 0 and 100..86400000"},
        {"[2, " HEAD "86400001]", "ttl_ms is 86400001; allowed are 0 and 100..86400000"},
        {"[11, " HEAD "\"k\", 9, 0]", NULL},
        {"[11, " HEAD "\"k\", 9, 1]", "ttl_ms is 1; allowed are 0 and 100..86400000"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void acquires(void **state)
{
    (void)state;
    /* key, mode, permits, limit, wait_ms, reentrant, ttl_ms, value */
    static const struct bound bounds[] = {
        {"[10, " HEAD "\"k\", 0, 0, 0, 0, false, 0, nil]", NULL},
        {"[10, " HEAD "\"k\", 1, 0, 0, 31536000000, true, 86400000, h'']", NULL},
        {"[10, " HEAD "\"k\", 2, 1, 1, 18446744073709551615, true, 100, h'00'*4096]", NULL},
        {"[10, " HEAD "\"k\", 2, 65535, 65535, 0, false, 0, nil]", NULL},
        {"[10, " HEAD "\"\", 0, 0, 0, 0, false, 0, nil]", "key has 0 bytes; allowed are 1..256"},
        {"[10, " HEAD "\"k\", 3, 0, 0, 0, false, 0, nil]", "mode is 3; allowed are 0..2"},
        {"[10, " HEAD "\"k\", 4294967296, 0, 0, 0, false, 0, nil]", "mode is 4294967295; allowed are 0..2"},
        {"[10, " HEAD "\"k\", 0, 1, 0, 0, false, 0, nil]",
         "permits is 1 and limit is 0; allowed are 0 and 0, but in mode permits"},
        {"[10, " HEAD "\"k\", 1, 0, 1, 0, false, 0, nil]",
         "permits is 0 and limit is 1; allowed are 0 and 0, but in mode permits"},
        {"[10, " HEAD "\"k\", 2, 0, 5, 0, false, 0, nil]", "permits is 0; allowed are 1..5"},
        {"[10, " HEAD "\"k\", 2, 6, 5, 0, false, 0, nil]", "permits is 6; allowed are 1..5"},
        {"[10, " HEAD "\"k\", 2, 1, 0, 0, false, 0, nil]", "limit is 0; allowed are 1..65535"},
        {"[10, " HEAD "\"k\", 2, 1, 65536, 0, false, 0, nil]", "limit is 65536; allowed are 1..65535"},
        {"[10, " HEAD "\"k\", 0, 0, 0, 31536000001, false, 0, nil]",
         "wait_ms is 31536000001; allowed are 0..31536000000"},
        {"[10, " HEAD "\"k\", 0, 0, 0, 18446744073709551614, false, 0, nil]",
         "wait_ms is 18446744073709551614; allowed are 0..31536000000"},
        {"[10, " HEAD "\"k\", 0, 0, 0, 0, false, 50, nil]", "ttl_ms is 50; allowed are 0 and 100..86400000"},
        {"[10, " HEAD "\"k\", 0, 0, 0, 0, false, 0, h'00'*4097]",
         "value has 4097 bytes; allowed are 0..4096"},
        {"[14, " HEAD "\"k\", 9, h'00'*4096]", NULL},
        {"[14, " HEAD "\"k\", 9, h'']", NULL},
        {"[14, " HEAD "\"k\", 9, h'00'*4097]", "value has 4097 bytes; allowed are 0..4096"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void lists(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[21, 7, true, \"\", \"\", 1]", NULL},
        {"[21, 7, true, \"k\"*256, \"k\"*256, 256]", NULL},
        {"[21, 7, true, \"k\"*257, \"\", 1]", "prefix has 257 bytes; allowed are 0..256"},
        {"[21, 7, true, \"a b\", \"\", 1]", "prefix has a byte outside of [A-Za-z0-9._:/@-]"},
        {"[21, 7, true, \"\", \"k\"*257, 1]", "after has 257 bytes; allowed are 0..256"},
        {"[21, 7, true, \"\", \"\\x7f\", 1]", "after has a byte outside of [A-Za-z0-9._:/@-]"},
        {"[21, 7, true, \"\", \"\", 0]", "max is 0; allowed are 1..256"},
        {"[21, 7, true, \"\", \"\", 257]", "max is 257; allowed are 1..256"},
        {"[23, 7, true, 0, 256]", NULL},
        {"[23, 7, true, 0, 0]", "max is 0; allowed are 1..256"},
        {"[23, 7, true, 0, 257]", "max is 257; allowed are 1..256"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void reasons(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[30, 7, \"k\", 0, \"r\"*256]", NULL},
        {"[30, 7, \"k\", 0, \"\"]", "reason has 0 bytes; allowed are 1..256"},
        {"[30, 7, \"k\", 0, \"r\"*257]", "reason has 257 bytes; allowed are 1..256"},
        {"[31, 7, 81, \"r\"]", NULL},
        {"[31, 7, 81, \"\"]", "reason has 0 bytes; allowed are 1..256"},
        {"[31, 7, 81, \"\\x1b[31m\"]", "reason is not text; allowed is UTF-8 without control characters"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_INVALID);
}

static void shapes(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"7", "request: expected an array"},
        {"[]", "request has 0 fields; it takes at least 2"},
        {"[42]", "request has 1 fields; it takes at least 2"},
        {"[\"ping\", 7]", "request: expected an unsigned integer"},
        {"[42, \"7\"]", "request: expected an unsigned integer"},
        {"[3, 7]", "session.close has 2 fields; it takes 5"},
        {"[3, 7, 81, " SECRET "]", "session.close has 4 fields; it takes 5"},
        {"[3, 7, 81, h'0011', 6]", "session.close: expected a secret of 16 bytes"},
        {"[3, 7, 81, h'00'*17, 6]", "session.close: expected a secret of 16 bytes"},
        {"[3, 7, 81, \"s\"*16, 6]", "session.close: expected binary data"},
        {"[1, 7, h'', \"\", 100, 0, 0]", "session.open: expected a secret of 16 bytes"},
        {"[20, 7, 1, \"k\"]", "lock.get: expected true or false"},
        {"[20, 7, true, h'6b']", "lock.get: expected a string"},
        {"[20, 7, true]", "lock.get has 3 fields; it takes 4"},
        {"[14, " HEAD "\"k\", 9, \"text\"]", "lock.set_value: expected binary data"},
        {"[10, " HEAD "\"k\", 0, 0, 0, 0, false, 0, false]", "lock.acquire: expected binary data"},
        {"[10, " HEAD "\"k\", -1, 0, 0, 0, false, 0, nil]", "lock.acquire: expected an unsigned integer"},
        {"[42, 7, []*17]", "ping: expected elements nested less deeply"},
        {"[42, 7, []*15]", NULL},
    };
    CHECK_ALL(bounds, PROTO_STATUS_MALFORMED);
}

static void nothing_may_follow_the_array(void **state)
{
    (void)state;
    struct proto_request request;
    struct proto_error error;
    static const uint8_t bytes[] = {0x92, 0x2A, 0x07, 0xC0};
    assert_true(proto_decode_request((struct proto_bytes){bytes, 3}, &request, &error));
    assert_false(proto_decode_request((struct proto_bytes){bytes, 4}, &request, &error));
    assert_string_equal(error.detail, "ping: expected nothing after the array");
    assert_int_equal(error.status, PROTO_STATUS_MALFORMED);
}

static void operations_that_no_client_may_ask_for(void **state)
{
    (void)state;
    static const struct bound bounds[] = {
        {"[60, 7]", "operation 60 is not known to this version"},
        {"[0, 7]", "operation 0 is not known to this version"},
        {"[4, 7]", "operation 4 is not known to this version"},
        {"[100, 7]", "operation 100 is not known to this version"},
        {"[4294967338, 7]", "operation 4294967338 is not known to this version"},
        {"[18446744073709551615, 7, [1, 2]]", "operation 18446744073709551615 is not known to this version"},
    };
    CHECK_ALL(bounds, PROTO_STATUS_UNSUPPORTED);
}

static void keeps_names(const char *notation, uint64_t kind, uint64_t id)
{
    struct proto_buffer buffer;
    struct proto_request request;
    struct proto_error error;
    memset(&request, 0xFF, sizeof request);
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    wire_write(&buffer, notation, WIRE_SHORTEST);
    assert_false(proto_decode_request(view_of(&buffer), &request, &error));
    assert_true(request.kind == (enum proto_kind)kind);
    assert_true(request.id == id);
    proto_buffer_done(&buffer);
}

static void a_refused_request_keeps_what_names_it(void **state)
{
    (void)state;
    keeps_names("[20, 7, true, \"\"]", 20, 7);
    keeps_names("[20, 7, 5, 5]", 20, 7);
    keeps_names("[20, 7]", 20, 7);
    keeps_names("[60, 7]", 0, 7); /* not one that may be answered by its kind */
    keeps_names("[99, 7]", 0, 7);
    keeps_names("[20, nil]", 0, 0);
    keeps_names("[20]", 0, 0);
    keeps_names("nil", 0, 0);
}

static void bodies_in_entries_are_checked_and_have_no_field_more(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    union proto_request_body body;
    struct proto_error error;
    proto_buffer_init(&buffer, TEXT_BYTES_MAX);
    wire_write(&buffer, "[99]", WIRE_SHORTEST);
    struct proto_bytes bytes = view_of(&buffer);
    assert_false(proto_decode_request_body(&bytes, PROTO_SESSION_RENEW, &body, &error));
    assert_string_equal(error.detail, "ttl_ms is 99; allowed are 0 and 100..86400000");
    bytes = view_of(&buffer);
    assert_false(proto_decode_request_body(&bytes, PROTO_LOCK_EXTEND, &body, &error));
    assert_string_equal(error.detail, "lock.extend has 1 fields; it takes 3");
    bytes = view_of(&buffer);
    assert_false(proto_decode_request_body(&bytes, PROTO_LOCK_GET, &body, &error));
    assert_string_equal(error.detail, "lock.get: expected a string");
    assert_false(proto_decode_request_body(&bytes, (enum proto_kind)99, &body, &error));
    assert_int_equal(error.status, PROTO_STATUS_UNSUPPORTED);
    proto_buffer_clear(&buffer);
    wire_write(&buffer, "[100, nil]",
               WIRE_SHORTEST); /* what a later version might add: fine in a request only */
    bytes = view_of(&buffer);
    assert_false(proto_decode_request_body(&bytes, PROTO_SESSION_RENEW, &body, &error));
    assert_int_equal(error.status, PROTO_STATUS_UNSUPPORTED);
    assert_string_equal(error.detail, "session.renew has 2 fields; this version knows 1");
    proto_buffer_clear(&buffer);
    wire_write(&buffer, "[100]", WIRE_SHORTEST);
    bytes = view_of(&buffer);
    assert_true(proto_decode_request_body(&bytes, PROTO_SESSION_RENEW, &body, &error));
    assert_true(body.session_renew.ttl_ms == 100);
    assert_int_equal(bytes.size, 0);
    bytes = (struct proto_bytes){NULL, 0};
    assert_false(proto_decode_request_body(&bytes, PROTO_PING, &body, &error));
    assert_string_equal(error.detail, "ping: expected an array");
    proto_buffer_done(&buffer);
}

/* ---- text ---- */

static bool text_valid(const char *text)
{
    return proto_text_valid(bytes_of(text), 0, 100);
}

static void text_is_utf8_without_control_characters(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       " ",
                                       "~",
                                       "plain",
                                       "\xC2\xA0",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {
        "\n",
        "\x1F",
        "\x7F",
        "\xC2\x80",
        "\xC2\x9F", /* control characters */
        "\x80",
        "\xBF",
        "a\xC2",
        "\xE2\x82",
        "\xF0\x9F\x98", /* alone, or cut short */
        "\xC3 ",
        "\xFE",
        "\xFF",
        "\xE2\x28\xA1",
        "\xF5\x80\x80\x80", /* no such sequence */
        "\xC0\xAF",
        "\xC1\xBF",
        "\xE0\x9F\xBF",
        "\xF0\x8F\xBF\xBF", /* overlong */
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF4\x90\x80\x80", /* surrogates, beyond U+10FFFF */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(text_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(text_valid(bad[i]));
    }
    assert_false(proto_text_valid((struct proto_bytes){(const uint8_t *)"", 1}, 0, 1)); /* NUL */
    assert_false(proto_text_valid(bytes_of(""), 1, 5));
    assert_true(proto_text_valid(bytes_of("12345"), 1, 5));
    assert_false(proto_text_valid(bytes_of("123456"), 1, 5));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(keys),
        cmocka_unit_test(every_byte_of_a_key),
        cmocka_unit_test(owners_and_sessions),
        cmocka_unit_test(acquires),
        cmocka_unit_test(lists),
        cmocka_unit_test(reasons),
        cmocka_unit_test(shapes),
        cmocka_unit_test(nothing_may_follow_the_array),
        cmocka_unit_test(operations_that_no_client_may_ask_for),
        cmocka_unit_test(a_refused_request_keeps_what_names_it),
        cmocka_unit_test(bodies_in_entries_are_checked_and_have_no_field_more),
        cmocka_unit_test(text_is_utf8_without_control_characters),
    };
    return cmocka_run_group_tests_name("protocol: bounds", tests, NULL, NULL);
}
