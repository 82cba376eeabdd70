/* Frames: whole or not yet, within bounds, compressed only where it helps; and no length is believed. */
#include "protocol/frame.h"

#include <stdio.h>

#include "allocations.h"
#include "support.h"
#include "wire.h"

enum { STREAM_BYTES_MAX = 4 * PROTO_FRAME_BODY_BYTES_MAX };

struct stream {
    struct proto_buffer sent;
    struct proto_buffer scratch;
    struct proto_bytes body;
    size_t frame_bytes;
};

static int set_up(void **state)
{
    struct stream *stream = calloc(1, sizeof *stream);
    assert_non_null(stream);
    proto_buffer_init(&stream->sent, STREAM_BYTES_MAX);
    proto_buffer_init(&stream->scratch, PROTO_FRAME_BODY_BYTES_MAX);
    *state = stream;
    return 0;
}

static int tear_down(void **state)
{
    struct stream *stream = *state;
    proto_buffer_done(&stream->sent);
    proto_buffer_done(&stream->scratch);
    free(stream);
    return 0;
}

static bool send(struct stream *stream, const void *body, size_t size, bool compress)
{
    size_t begin = proto_frame_begin(&stream->sent);
    (void)proto_buffer_append(&stream->sent, body, size);
    return proto_frame_end(&stream->sent, begin, compress);
}

static enum proto_frame_result take(struct stream *stream, size_t from, size_t size, size_t body_bytes_max)
{
    struct proto_bytes copy = exact_copy((struct proto_bytes){stream->sent.data + from, (uint32_t)size});
    struct proto_bytes body = {NULL, 0};
    enum proto_frame_result result =
        proto_frame_take(copy.data, size, body_bytes_max, &stream->scratch, &body, &stream->frame_bytes);
    if (result == PROTO_FRAME_OK && body.data != stream->scratch.data) {
        body.data = stream->sent.data + from + (body.data - copy.data);
    }
    stream->body = body;
    free((void *)(uintptr_t)copy.data);
    return result;
}

static enum proto_frame_result take_all(struct stream *stream)
{
    return take(stream, 0, stream->sent.size, PROTO_FRAME_BODY_BYTES_MAX);
}

static enum proto_frame_result take_hex(struct stream *stream, const char *hex, size_t body_bytes_max)
{
    proto_buffer_clear(&stream->sent);
    assert_string_equal(hex_read(&stream->sent, hex), "");
    return take(stream, 0, stream->sent.size, body_bytes_max);
}

static void a_frame_is_length_flags_body(void **state)
{
    struct stream *stream = *state;
    assert_true(send(stream, "\x93\x2a\x07\xc2", 4, true));
    assert_int_equal(stream->sent.size, 9);
    assert_memory_equal(stream->sent.data, "\x05\x00\x00\x00\x00\x93\x2a\x07\xc2", 9);
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_int_equal(stream->frame_bytes, 9);
    assert_bytes_equal(stream->body, (struct proto_bytes){(const uint8_t *)"\x93\x2a\x07\xc2", 4});
}

static void frames_follow_each_other(void **state)
{
    struct stream *stream = *state;
    assert_true(send(stream, "first", 5, false));
    assert_true(send(stream, "second", 6, false));
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream->body, bytes_of("first"));
    proto_buffer_consume(&stream->sent, stream->frame_bytes);
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream->body, bytes_of("second"));
    proto_buffer_consume(&stream->sent, stream->frame_bytes);
    assert_int_equal(stream->sent.size, 0);
}

static void a_frame_cut_at_any_byte_is_partial(void **state)
{
    struct stream *stream = *state;
    uint8_t body[3000];
    memset(body, 'z', sizeof body);
    for (int compress = 0; compress < 2; compress++) {
        proto_buffer_clear(&stream->sent);
        assert_true(send(stream, body, sizeof body, compress == 1));
        for (size_t size = 0; size < stream->sent.size; size++) {
            assert_int_equal(take(stream, 0, size, PROTO_FRAME_BODY_BYTES_MAX), PROTO_FRAME_PARTIAL);
        }
        assert_int_equal(take_all(stream), PROTO_FRAME_OK);
        assert_bytes_equal(stream->body, (struct proto_bytes){body, sizeof body});
    }
}

static void a_length_out_of_bounds_is_refused_as_soon_as_it_is_there(void **state)
{
    struct stream *stream = *state;
    assert_int_equal(take_hex(stream, "00 00 00 00", 100), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_hex(stream, "01 00 00 00", 100), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_hex(stream, "02 00 00 00", 100), PROTO_FRAME_PARTIAL);
    assert_int_equal(take_hex(stream, "ff ff ff ff", 100), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_hex(stream, "ff ff ff ff", PROTO_FRAME_BODY_BYTES_MAX), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_hex(stream, "69 00 00 00", 100),
                     PROTO_FRAME_PARTIAL); /* 105 = flags, raw length, 100 */
    assert_int_equal(take_hex(stream, "6a 00 00 00", 100), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_hex(stream, "65 00 00 00 00", 100), PROTO_FRAME_PARTIAL);
    assert_int_equal(take_hex(stream, "66 00 00 00 00", 100),
                     PROTO_FRAME_BAD_LENGTH); /* 101 bytes, not compressed */
    assert_int_equal(take_hex(stream, "66 00 00 00 01", 100), PROTO_FRAME_PARTIAL);
}

static void unknown_flags_are_refused_as_soon_as_they_are_there(void **state)
{
    struct stream *stream = *state;
    for (unsigned flags = 2; flags < 256; flags++) {
        char hex[16];
        (void)snprintf(hex, sizeof hex, "10000000%02x", flags);
        assert_int_equal(take_hex(stream, hex, 100), PROTO_FRAME_BAD_FLAGS);
    }
}

static void a_body_is_compressed_above_the_threshold_only(void **state)
{
    struct stream *stream = *state;
    uint8_t body[PROTO_COMPRESS_ABOVE_BYTES + 1];
    memset(body, 'z', sizeof body);
    assert_true(send(stream, body, PROTO_COMPRESS_ABOVE_BYTES, true));
    assert_int_equal(stream->sent.data[4], 0);
    assert_int_equal(stream->sent.size, PROTO_FRAME_HEADER_BYTES + PROTO_COMPRESS_ABOVE_BYTES);
    proto_buffer_clear(&stream->sent);
    assert_true(send(stream, body, sizeof body, true));
    assert_int_equal(stream->sent.data[4], 1);
    assert_true(stream->sent.size < 100);
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream->body, (struct proto_bytes){body, sizeof body});
    proto_buffer_clear(&stream->sent);
    assert_true(send(stream, body, sizeof body, false));
    assert_int_equal(stream->sent.data[4], 0);
}

static void a_body_that_does_not_shrink_is_sent_as_it_is(void **state)
{
    struct stream *stream = *state;
    uint8_t body[5000];
    uint32_t number = 1;
    for (size_t i = 0; i < sizeof body; i++) {
        number = number * 1664525u + 1013904223u;
        body[i] = (uint8_t)(number >> 24);
    }
    assert_true(send(stream, body, sizeof body, true));
    assert_int_equal(stream->sent.data[4], 0);
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream->body, (struct proto_bytes){body, sizeof body});
}

static void without_room_to_compress_a_body_is_sent_as_it_is(void **state)
{
    (void)state;
    struct stream stream;
    uint8_t body[3000];
    memset(body, 'z', sizeof body);
    proto_buffer_init(&stream.sent, PROTO_FRAME_HEADER_BYTES + sizeof body);
    proto_buffer_init(&stream.scratch, 0);
    assert_true(send(&stream, body, sizeof body, true));
    assert_false(stream.sent.failed);
    assert_int_equal(take_all(&stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream.body, (struct proto_bytes){body, sizeof body});
    proto_buffer_done(&stream.sent);
}

static void the_largest_body_passes_and_a_larger_one_is_rolled_back(void **state)
{
    struct stream *stream = *state;
    uint8_t *body = calloc(1, PROTO_FRAME_BODY_BYTES_MAX + 1);
    assert_non_null(body);
    for (int compress = 0; compress < 2; compress++) {
        proto_buffer_clear(&stream->sent);
        assert_true(send(stream, body, PROTO_FRAME_BODY_BYTES_MAX, compress == 1));
        assert_int_equal(take_all(stream), PROTO_FRAME_OK);
        assert_bytes_equal(stream->body, (struct proto_bytes){body, PROTO_FRAME_BODY_BYTES_MAX});
        size_t before = stream->sent.size;
        assert_false(send(stream, body, PROTO_FRAME_BODY_BYTES_MAX + 1, compress == 1));
        assert_int_equal(stream->sent.size, before);
    }
    free(body);
}

static void a_frame_that_failed_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10);
    assert_true(proto_buffer_append(&buffer, "abc", 3));
    size_t begin = proto_frame_begin(&buffer);
    assert_false(proto_buffer_append(&buffer, "12345", 5));
    assert_false(proto_frame_end(&buffer, begin, false));
    assert_int_equal(buffer.size, 3);
    assert_false(buffer.failed);
    assert_true(proto_buffer_append(&buffer, "abc", 3));
    begin = proto_frame_begin(&buffer); /* not even room for the header */
    assert_true(buffer.failed);
    assert_false(proto_frame_end(&buffer, begin, false));
    assert_int_equal(buffer.size, 6);
    proto_buffer_clear(&buffer);
    begin = proto_frame_begin(&buffer);
    assert_false(proto_frame_end(&buffer, begin, false)); /* no body */
    assert_int_equal(buffer.size, 0);
    proto_buffer_done(&buffer);
}

/* ---- lz4 ---- */

/* A compressed frame of 2000 times 'z' whose raw length is then changed. */
static enum proto_frame_result take_with_raw_length(struct stream *stream, uint32_t raw_length,
                                                    size_t body_bytes_max)
{
    uint8_t body[2000];
    memset(body, 'z', sizeof body);
    proto_buffer_clear(&stream->sent);
    assert_true(send(stream, body, sizeof body, true));
    assert_int_equal(stream->sent.data[4], 1);
    for (unsigned i = 0; i < 4; i++) {
        stream->sent.data[5 + i] = (uint8_t)(raw_length >> (8 * i));
    }
    return take(stream, 0, stream->sent.size, body_bytes_max);
}

static void a_raw_length_that_lies_is_refused(void **state)
{
    struct stream *stream = *state;
    assert_int_equal(take_with_raw_length(stream, 2000, 2000), PROTO_FRAME_OK);
    assert_int_equal(take_with_raw_length(stream, 1999, 2000), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_with_raw_length(stream, 2001, 4000), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_with_raw_length(stream, 1, 2000), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_with_raw_length(stream, 0, 2000), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_with_raw_length(stream, 2000, 1999), PROTO_FRAME_BAD_LENGTH);
    assert_int_equal(take_with_raw_length(stream, UINT32_MAX, PROTO_FRAME_BODY_BYTES_MAX),
                     PROTO_FRAME_BAD_LENGTH);
}

static void a_raw_length_that_no_block_reaches_gets_no_memory(void **state)
{
    struct stream *stream = *state;
    proto_buffer_clear(&stream->sent);
    assert_string_equal(hex_read(&stream->sent, "0a000000 01 00001000 00010203 04"),
                        ""); /* 1 MiB of 5 bytes */
    struct proto_bytes body;
    size_t frame_bytes;
    size_t before = allocations_bytes();
    assert_int_equal(proto_frame_take(stream->sent.data, stream->sent.size, PROTO_FRAME_BODY_BYTES_MAX,
                                      &stream->scratch, &body, &frame_bytes),
                     PROTO_FRAME_BAD_LZ4);
    assert_int_equal(allocations_bytes(), before);
}

static void the_most_that_a_block_can_expand_is_taken(void **state)
{
    struct stream *stream = *state;
    uint8_t *body = malloc(PROTO_FRAME_BODY_BYTES_MAX);
    assert_non_null(body);
    memset(body, 0, PROTO_FRAME_BODY_BYTES_MAX);
    for (uint32_t size = PROTO_COMPRESS_ABOVE_BYTES + 1; size <= PROTO_FRAME_BODY_BYTES_MAX;
         size = size * 3 / 2) {
        proto_buffer_clear(&stream->sent);
        assert_true(send(stream, body, size, true));
        assert_int_equal(take_all(stream), PROTO_FRAME_OK);
        assert_bytes_equal(stream->body, (struct proto_bytes){body, size});
    }
    free(body);
}

static void a_compressed_frame_without_a_block_is_refused(void **state)
{
    struct stream *stream = *state;
    assert_int_equal(take_hex(stream, "02000000 01 00", 100), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_hex(stream, "04000000 01 000000", 100), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_hex(stream, "05000000 01 05000000", 100), PROTO_FRAME_BAD_LZ4);
    assert_int_equal(take_hex(stream, "06000000 01 05000000 ff", 100), PROTO_FRAME_BAD_LZ4);
}

static void a_damaged_block_is_refused_or_gives_other_bytes_of_the_same_length(void **state)
{
    struct stream *stream = *state;
    uint8_t body[2000];
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (uint8_t)(i % 50 * (i / 300));
    }
    assert_true(send(stream, body, sizeof body, true));
    assert_int_equal(stream->sent.data[4], 1);
    for (size_t at = 9; at < stream->sent.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            stream->sent.data[at] ^= (uint8_t)(1u << bit);
            enum proto_frame_result result = take_all(stream);
            assert_true(result == PROTO_FRAME_BAD_LZ4 ||
                        (result == PROTO_FRAME_OK && stream->body.size == sizeof body));
            stream->sent.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(take_all(stream), PROTO_FRAME_OK);
    assert_bytes_equal(stream->body, (struct proto_bytes){body, sizeof body});
}

static void scratch_that_can_not_grow_is_a_refusal(void **state)
{
    struct stream *stream = *state;
    proto_buffer_done(&stream->scratch);
    proto_buffer_init(&stream->scratch, 1000);
    assert_int_equal(take_with_raw_length(stream, 2000, 2000), PROTO_FRAME_BAD_LENGTH);
}

static void an_uncompressed_frame_allocates_nothing(void **state)
{
    struct stream *stream = *state;
    struct proto_bytes body;
    size_t frame_bytes;
    assert_true(send(stream, "body", 4, false));
    size_t before = allocations_count();
    assert_int_equal(proto_frame_take(stream->sent.data, stream->sent.size, 100, NULL, &body, &frame_bytes),
                     PROTO_FRAME_OK);
    assert_ptr_equal(body.data, stream->sent.data + PROTO_FRAME_HEADER_BYTES);
    assert_int_equal(allocations_count(), before);
}

static void each_result_has_its_text(void **state)
{
    (void)state;
    assert_string_equal(proto_frame_result_text(PROTO_FRAME_OK), "frame is whole");
    assert_string_equal(proto_frame_result_text(PROTO_FRAME_PARTIAL), "frame is not whole");
    assert_string_equal(proto_frame_result_text(PROTO_FRAME_BAD_LENGTH), "frame length out of bounds");
    assert_string_equal(proto_frame_result_text(PROTO_FRAME_BAD_FLAGS), "frame has unknown flags");
    assert_string_equal(proto_frame_result_text(PROTO_FRAME_BAD_LZ4), "frame's lz4 block is damaged");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frame_is_length_flags_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_follow_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_frame_cut_at_any_byte_is_partial, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_length_out_of_bounds_is_refused_as_soon_as_it_is_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(unknown_flags_are_refused_as_soon_as_they_are_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_body_is_compressed_above_the_threshold_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_that_does_not_shrink_is_sent_as_it_is, set_up, tear_down),
        cmocka_unit_test(without_room_to_compress_a_body_is_sent_as_it_is),
        cmocka_unit_test_setup_teardown(the_largest_body_passes_and_a_larger_one_is_rolled_back, set_up,
                                        tear_down),
        cmocka_unit_test(a_frame_that_failed_leaves_the_buffer_as_it_was),
        cmocka_unit_test_setup_teardown(a_raw_length_that_lies_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_raw_length_that_no_block_reaches_gets_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_most_that_a_block_can_expand_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_compressed_frame_without_a_block_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_block_is_refused_or_gives_other_bytes_of_the_same_length,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(scratch_that_can_not_grow_is_a_refusal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_uncompressed_frame_allocates_nothing, set_up, tear_down),
        cmocka_unit_test(each_result_has_its_text),
    };
    return cmocka_run_group_tests_name("protocol: frame", tests, NULL, NULL);
}
