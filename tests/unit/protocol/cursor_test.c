/* The cursor reads each form of msgpack, and never beyond its end. */
#include "protocol/cursor.h"

#include "support.h"
#include "wire.h"

/* Where the hexadecimal bytes of the cursor at hand are. */
struct place {
    struct proto_buffer buffer;
    struct proto_bytes copy;
};

static struct cursor open_hex(struct place *place, const char *hex)
{
    proto_buffer_init(&place->buffer, TEXT_BYTES_MAX);
    assert_string_equal(hex_read(&place->buffer, hex), "");
    place->copy = exact_copy(view_of(&place->buffer));
    return cursor_of(place->copy);
}

static void close_hex(struct place *place)
{
    free((void *)(uintptr_t)place->copy.data);
    proto_buffer_done(&place->buffer);
}

static bool all_taken(const struct cursor *cursor)
{
    return cursor->expected == NULL && cursor->at == cursor->end;
}

static void reads_uint(const char *hex, uint64_t number)
{
    struct place place;
    struct cursor cursor = open_hex(&place, hex);
    assert_true(cursor_uint(&cursor) == number);
    assert_true(all_taken(&cursor));
    close_hex(&place);
}

static void every_width_of_a_number_is_read(void **state)
{
    (void)state;
    reads_uint("00", 0);
    reads_uint("7f", 127);
    reads_uint("cc 05", 5);
    reads_uint("cc ff", 255);
    reads_uint("cd 01 00", 256);
    reads_uint("ce 00 01 00 00", 65536);
    reads_uint("cf 00 00 00 01 00 00 00 00", UINT64_C(1) << 32);
    reads_uint("cf ff ff ff ff ff ff ff ff", UINT64_MAX);
    reads_uint("cf 00 00 00 00 00 00 00 07", 7);
}

static void positive_numbers_written_as_signed_are_read(void **state)
{
    (void)state;
    reads_uint("d0 7f", 127);
    reads_uint("d1 7f ff", 32767);
    reads_uint("d2 7f ff ff ff", INT32_MAX);
    reads_uint("d3 7f ff ff ff ff ff ff ff", INT64_MAX);
    reads_uint("d3 00 00 00 00 00 00 00 01", 1);
}

/* `hex` is no number, no bool, no text, no binary, no array: whichever is not in `but`. */
static void refuses(const char *hex, const char *but)
{
    struct place place;
    struct cursor start = open_hex(&place, hex);
    struct cursor cursor = start;
    if (strchr(but, 'u') == NULL) {
        assert_true(cursor_uint(&cursor) == 0);
        assert_string_equal(cursor.expected, "an unsigned integer");
        cursor = start;
    }
    if (strchr(but, 'f') == NULL) {
        assert_false(cursor_bool(&cursor));
        assert_string_equal(cursor.expected, "true or false");
        cursor = start;
    }
    if (strchr(but, 's') == NULL) {
        assert_int_equal(cursor_text(&cursor).size, 0);
        assert_string_equal(cursor.expected, "a string");
        cursor = start;
    }
    if (strchr(but, 'b') == NULL) {
        assert_int_equal(cursor_binary(&cursor).size, 0);
        assert_string_equal(cursor.expected, "binary data");
        cursor = start;
    }
    if (strchr(but, 'a') == NULL) {
        assert_int_equal(cursor_array(&cursor), 0);
        assert_string_equal(cursor.expected, "an array");
        assert_ptr_equal(cursor.at, cursor.end);
    }
    close_hex(&place);
}

static void another_type_than_expected_is_an_error(void **state)
{
    (void)state;
    refuses("", "");
    refuses("c0", "");
    refuses("c1", "");
    refuses("c2", "f");
    refuses("c3", "f");
    refuses("05", "u");
    refuses("ff", "");
    refuses("d0 80", "");
    refuses("d1 ff ff", "");
    refuses("d2 80 00 00 00", "");
    refuses("d3 ff ff ff ff ff ff ff ff", "");
    refuses("ca 00 00 00 00", "");
    refuses("cb 00 00 00 00 00 00 00 00", "");
    refuses("a1 61", "s");
    refuses("c4 01 61", "b");
    refuses("90", "a");
    refuses("80", "");
    refuses("d4 01 02", "");
    refuses("c7 00 01", "");
}

static void reads_string(const char *hex, bool binary, uint32_t size)
{
    struct place place;
    struct cursor cursor = open_hex(&place, hex);
    struct proto_bytes bytes = binary ? cursor_binary(&cursor) : cursor_text(&cursor);
    assert_true(all_taken(&cursor));
    assert_int_equal(bytes.size, size);
    assert_ptr_equal(bytes.data, place.copy.data + place.copy.size - size); /* not copied */
    close_hex(&place);
}

static void every_width_of_a_string_is_read_in_place(void **state)
{
    (void)state;
    reads_string("a0", false, 0);
    reads_string("a3 61 62 63", false, 3);
    reads_string("d9 02 61 62", false, 2);
    reads_string("da 00 02 61 62", false, 2);
    reads_string("db 00 00 00 02 61 62", false, 2);
    reads_string("c4 00", true, 0);
    reads_string("c4 02 61 62", true, 2);
    reads_string("c5 00 02 61 62", true, 2);
    reads_string("c6 00 00 00 02 61 62", true, 2);
}

static void a_string_longer_than_what_is_left_is_an_error(void **state)
{
    (void)state;
    refuses("a1", "");
    refuses("bf 61", "");
    refuses("d9", "");
    refuses("d9 02 61", "");
    refuses("da 00", "");
    refuses("da ff ff 61", "");
    refuses("db ff ff ff ff 61", "");
    refuses("c4", "");
    refuses("c4 02 61", "");
    refuses("c5 ff ff 61", "");
    refuses("c6 ff ff ff ff 61", "");
}

static void a_number_cut_short_is_an_error(void **state)
{
    (void)state;
    refuses("cc", "");
    refuses("cd 01", "");
    refuses("ce 00 00 01", "");
    refuses("cf 00 00 00 00 00 00 01", "");
    refuses("d3 00 00 00 00 00 00 01", "");
    refuses("dc 00", "");
    refuses("dd 00 00 00", "");
}

static void reads_array(const char *hex, uint32_t count)
{
    struct place place;
    struct cursor cursor = open_hex(&place, hex);
    assert_int_equal(cursor_array(&cursor), count);
    assert_null(cursor.expected);
    close_hex(&place);
}

static void every_width_of_an_array_is_read(void **state)
{
    (void)state;
    reads_array("90", 0);
    reads_array("92 01 02", 2);
    reads_array("dc 00 02 01 02", 2);
    reads_array("dd 00 00 00 02 01 02", 2);
}

static void an_array_longer_than_what_is_left_is_an_error(void **state)
{
    (void)state;
    static const char *const all[] = {
        "91", "9f 01", "dc 00 02 01", "dc ff ff 01", "dd ff ff ff ff 01", "dd ff ff ff ff"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct place place;
        struct cursor cursor = open_hex(&place, all[i]);
        assert_int_equal(cursor_array(&cursor), 0);
        assert_string_equal(cursor.expected, "as many elements as the array declares");
        close_hex(&place);
    }
}

static void numbers_beyond_32_bits_read_as_the_greatest_of_32(void **state)
{
    (void)state;
    struct place place;
    struct cursor cursor = open_hex(&place, "ce ff ff ff fe cf 00 00 00 01 00 00 00 00");
    assert_true(cursor_uint32(&cursor) == UINT32_MAX - 1);
    assert_true(cursor_uint32(&cursor) == UINT32_MAX);
    assert_true(all_taken(&cursor));
    close_hex(&place);
}

static void nil_is_taken_and_anything_else_stays(void **state)
{
    (void)state;
    struct place place;
    struct cursor cursor = open_hex(&place, "c0 05");
    assert_true(cursor_nil(&cursor));
    assert_false(cursor_nil(&cursor));
    assert_true(cursor_uint(&cursor) == 5);
    assert_false(cursor_nil(&cursor));
    assert_true(all_taken(&cursor));
    close_hex(&place);
}

static void after_an_error_every_read_gives_zero(void **state)
{
    (void)state;
    struct place place;
    struct cursor cursor = open_hex(&place, "c3 05 05 a1 61 c4 01 61 90");
    assert_true(cursor_uint(&cursor) == 0);
    const char *first = cursor.expected;
    assert_true(cursor_uint(&cursor) == 0);
    assert_int_equal(cursor_uint32(&cursor), 0);
    assert_false(cursor_bool(&cursor));
    assert_false(cursor_nil(&cursor));
    assert_int_equal(cursor_text(&cursor).size, 0);
    assert_int_equal(cursor_binary(&cursor).size, 0);
    assert_int_equal(cursor_array(&cursor), 0);
    cursor_skip(&cursor);
    assert_ptr_equal(cursor.expected, first);
    close_hex(&place);
}

static void no_bytes_at_all_are_an_end(void **state)
{
    (void)state;
    struct cursor cursor = cursor_of((struct proto_bytes){NULL, 0});
    assert_ptr_equal(cursor.at, cursor.end);
    cursor_skip(&cursor);
    assert_string_equal(cursor.expected, "a whole element");
}

/* ---- skipping ---- */

static void every_type_is_skipped_whole(void **state)
{
    (void)state;
    static const char *const all[] = {
        "00",
        "7f",
        "e0",
        "ff",
        "c0",
        "c2",
        "c3",
        "cc 01",
        "cd 0102",
        "ce 01020304",
        "cf 0102030405060708",
        "d0 01",
        "d1 0102",
        "d2 01020304",
        "d3 0102030405060708",
        "ca 01020304",
        "cb 0102030405060708",
        "a0",
        "a2 6162",
        "d9 02 6162",
        "da 0002 6162",
        "db 00000002 6162",
        "c4 02 6162",
        "c5 0002 6162",
        "c6 00000002 6162",
        "c7 02 01 6162",
        "c8 0002 01 6162",
        "c9 00000002 01 6162",
        "d4 01 61",
        "d5 01 6162",
        "d6 01 61626364",
        "d7 01 6162636465666768",
        "d8 01 61626364656667686162636465666768",
        "90",
        "93 01 a1 61 c0",
        "dc 0002 01 02",
        "dd 00000002 01 02",
        "80",
        "82 01 02 03 91 04",
        "de 0001 01 02",
        "df 00000001 01 02",
        "92 92 91 01 02 81 c0 93 01 02 03",
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct place place;
        struct proto_buffer twice;
        struct cursor cursor = open_hex(&place, all[i]);
        cursor_skip(&cursor);
        assert_true(all_taken(&cursor));
        proto_buffer_init(&twice, TEXT_BYTES_MAX);
        assert_true(proto_buffer_append(&twice, place.copy.data, place.copy.size));
        assert_true(proto_buffer_append(&twice, "\x2a", 1)); /* what follows stays */
        cursor = cursor_of(view_of(&twice));
        cursor_skip(&cursor);
        assert_true(cursor_uint(&cursor) == 42);
        for (uint32_t size = 0; size < place.copy.size; size++) { /* and no part of it is enough */
            struct proto_bytes part = exact_copy((struct proto_bytes){place.copy.data, size});
            cursor = cursor_of(part);
            cursor_skip(&cursor);
            assert_non_null(cursor.expected);
            free((void *)(uintptr_t)part.data);
        }
        proto_buffer_done(&twice);
        close_hex(&place);
    }
}

static void skips_not(const char *hex, const char *expected)
{
    struct place place;
    struct cursor cursor = open_hex(&place, hex);
    cursor_skip(&cursor);
    assert_non_null(cursor.expected);
    assert_string_equal(cursor.expected, expected);
    close_hex(&place);
}

static void skipping_believes_no_declared_length(void **state)
{
    (void)state;
    skips_not("c1", "a whole element");
    skips_not("db ffffffff 61", "a whole element");
    skips_not("c6 ffffffff 61", "a whole element");
    skips_not("c9 ffffffff 01 61", "a whole element");
    skips_not("dd ffffffff 01 02 03", "as many elements as the array declares");
    skips_not("df ffffffff 01 02 03", "as many elements as the array declares");
    skips_not("df 80000000 01 02 03", "as many elements as the array declares");
    skips_not("92 dd ffffffff 01", "as many elements as the array declares");
}

static const char *skip_nested(unsigned depth)
{
    uint8_t bytes[4096];
    assert_true(depth < sizeof bytes);
    memset(bytes, 0x91, depth);
    bytes[depth] = 0x01;
    struct cursor cursor = cursor_of((struct proto_bytes){bytes, depth + 1});
    cursor_skip(&cursor);
    return cursor.expected;
}

static void skipping_is_bounded_in_depth(void **state)
{
    (void)state;
    assert_null(skip_nested(15));
    assert_string_equal(skip_nested(16), "elements nested less deeply");
    assert_string_equal(skip_nested(4000), "elements nested less deeply");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_of_a_number_is_read),
        cmocka_unit_test(positive_numbers_written_as_signed_are_read),
        cmocka_unit_test(another_type_than_expected_is_an_error),
        cmocka_unit_test(every_width_of_a_string_is_read_in_place),
        cmocka_unit_test(a_string_longer_than_what_is_left_is_an_error),
        cmocka_unit_test(a_number_cut_short_is_an_error),
        cmocka_unit_test(every_width_of_an_array_is_read),
        cmocka_unit_test(an_array_longer_than_what_is_left_is_an_error),
        cmocka_unit_test(numbers_beyond_32_bits_read_as_the_greatest_of_32),
        cmocka_unit_test(nil_is_taken_and_anything_else_stays),
        cmocka_unit_test(after_an_error_every_read_gives_zero),
        cmocka_unit_test(no_bytes_at_all_are_an_end),
        cmocka_unit_test(every_type_is_skipped_whole),
        cmocka_unit_test(skipping_believes_no_declared_length),
        cmocka_unit_test(skipping_is_bounded_in_depth),
    };
    return cmocka_run_group_tests_name("protocol: cursor", tests, NULL, NULL);
}
