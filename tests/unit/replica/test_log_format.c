/* The bytes of records and headers, and the checksum under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/replica/crc32c.h"
#include "node/replica/log_format.h"

enum { SEED = 0x5eed };

static void the_checksum_is_the_published_one(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 0xFF, sizeof ones);
    for (unsigned i = 0; i < 32; i++) {
        rising[i] = (uint8_t)i;
    }
    /* RFC 3720, B.4; and the usual check value. */
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(crc32c(0, rising, 32), 0x46DD794E);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
}

static void instruction_and_tables_agree_in_pieces_too(void **state)
{
    (void)state;
    uint8_t data[300];
    for (unsigned i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * i * 31 + i);
    }
    for (size_t size = 0; size < sizeof data; size++) {
        uint32_t whole = crc32c(0, data, size);
        assert_int_equal(crc32c_by_table(0, data, size), whole);
        assert_int_equal(crc32c(crc32c_by_table(0, data, size / 3), data + size / 3, size - size / 3), whole);
    }
}

static void a_record_reads_back_and_any_flip_is_noticed(void **state)
{
    (void)state;
    uint8_t bytes[128];
    for (uint32_t size = 0; size < 20; size++) {
        const struct log_record record = {.sequence = 0x1122334455667788,
                                          .batch = 0x1122334455667000,
                                          .index = 99,
                                          .term = 5,
                                          .segment = 7,
                                          .size = size,
                                          .kind = 2,
                                          .data = (const uint8_t *)"abcdefghijklmnopqrstuvwxyz"};
        struct log_record found;
        size_t used = (size_t)log_record_bytes(size);
        memset(bytes, 0xEE, sizeof bytes);
        log_record_encode(&record, SEED, bytes);
        assert_int_equal(bytes[used], 0xEE);
        assert_int_equal(used % 8, 0);
        assert_true(log_record_decode(bytes, used, SEED, &found));
        assert_int_equal(found.sequence, record.sequence);
        assert_int_equal(found.batch, record.batch);
        assert_int_equal(found.index, 99);
        assert_int_equal(found.term, 5);
        assert_int_equal(found.segment, 7);
        assert_int_equal(found.kind, 2);
        assert_int_equal(found.size, size);
        assert_memory_equal(found.data, record.data, size);
        assert_false(log_record_decode(bytes, used, SEED + 1, &found));
        for (size_t available = 0; available < used; available++) {
            assert_false(log_record_decode(bytes, available, SEED, &found));
        }
        for (size_t bit = 0; bit < used * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
            assert_false(log_record_decode(bytes, sizeof bytes, SEED, &found));
            bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        }
    }
    memset(bytes, 0, sizeof bytes);
    struct log_record none;
    assert_false(log_record_decode(bytes, sizeof bytes, SEED, &none));
    memset(bytes, 0xFF, sizeof bytes);
    assert_false(log_record_decode(bytes, sizeof bytes, SEED, &none));
}

static void a_header_has_its_bytes_where_the_format_says(void **state)
{
    (void)state;
    const struct log_segment_header header = {1, 2, 3, 4, 5, 6, 7};
    struct log_segment_header found;
    uint8_t bytes[64];
    log_segment_header_encode(&header, bytes);
    assert_memory_equal(bytes, "LSLOGSEG\1\0\0\0", 12);
    for (uint8_t i = 0; i < 6; i++) {
        assert_int_equal(bytes[16 + 8 * i], i + 2);
    }
    assert_true(log_segment_header_decode(bytes, 64, &found));
    assert_int_equal(found.version, 1);
    assert_int_equal(found.cluster_id, 2);
    assert_int_equal(found.node_id, 3);
    assert_int_equal(found.number, 4);
    assert_int_equal(found.first_sequence, 5);
    assert_int_equal(found.prev_index, 6);
    assert_int_equal(found.prev_term, 7);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_false(log_segment_header_decode(bytes, 64, &found));
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
}

static void names_and_numbers_of_segments_fit(void **state)
{
    (void)state;
    char name[LOG_NAME_BYTES];
    log_segment_name(UINT64_MAX, name);
    assert_string_equal(name, "log/18446744073709551615.seg");
    assert_true(log_segment_number(name + 4) == UINT64_MAX);
    assert_true(log_segment_number("00000000000000000042.seg") == 42);
    assert_true(log_segment_number("42.seg") == 0);
    assert_true(log_segment_number("00000000000000000042.segment") == 0);
    assert_true(log_segment_number("watermark") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_the_published_one),
        cmocka_unit_test(instruction_and_tables_agree_in_pieces_too),
        cmocka_unit_test(a_record_reads_back_and_any_flip_is_noticed),
        cmocka_unit_test(a_header_has_its_bytes_where_the_format_says),
        cmocka_unit_test(names_and_numbers_of_segments_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
