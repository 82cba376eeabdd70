/* What the log makes of what it finds: torn writes are cut, rot and strangers are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "log_fixture.h"
#include "node/replica/log_format.h"

/* ---- torn tail and rot ---- */

/* Three writes of three entries each, over two segments; all acknowledged. @return bytes used of segment 1. */
static size_t fill_segments(struct fixture *fixture, uint64_t segment_bytes)
{
    *fixture = log_test_make();
    fixture->options.segment_bytes = segment_bytes;
    assert_true(log_test_open(fixture));
    for (uint64_t index = 1; index <= 9; index++) {
        log_test_append(fixture, index, 1, index == 5 ? 2500 : 61);
        if (index % 3 == 0) {
            log_flush(fixture->log);
            fake_disk_run_all(fixture->fake);
        }
    }
    log_test_append(fixture, 10, 1, 1500);
    log_flush(fixture->log);
    fake_disk_run_all(fixture->fake);
    assert_int_equal(fixture->durable, 10);
    log_test_close(fixture);
    return 64 + 8 * (48 + 64) + (48 + 2504);
}

static size_t fill(struct fixture *fixture)
{
    return fill_segments(fixture, 4096);
}

static void rot_in_any_byte_of_what_was_acknowledged_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size, used = fill(&fixture), used_2 = 64 + 48 + 1504;
    for (size_t at = 0; at < used; at++) {
        struct fake_disk *copy = fake_disk_copy(fixture.fake);
        fake_disk_bytes(copy, SEGMENT_1_NAME, &size)[at] ^= (uint8_t)(1U << (at % 8));
        log_test_refused(copy, &fixture, SEGMENT_1_NAME);
    }
    for (size_t at = 0; at < used_2; at++) {
        struct fake_disk *copy = fake_disk_copy(fixture.fake);
        fake_disk_bytes(copy, SEGMENT_2_NAME, &size)[at] ^= (uint8_t)(1U << (at % 8));
        log_test_refused(copy, &fixture,
                         "acknowledged"); /* A bad header shows as the end of the segment before. */
    }
    fake_disk_free(fixture.fake);
}

/* Without the watermark's help (as after a loss of power that took it back): later writes attest the earlier ones, in a
 * later segment (4096 bytes each) or in the same (16384). */
static void refuse_rot_without_watermark(uint64_t segment_bytes)
{
    struct fixture fixture;
    struct fake_disk *fresh = fake_disk_create(1);
    size_t size, used = fill_segments(&fixture, segment_bytes);
    struct fixture other = fixture;
    other.fake = fresh;
    assert_true(log_test_open(&other));
    log_test_close(&other);
    const uint8_t *old = fake_disk_bytes(fresh, WATERMARK_NAME, &size);
    memcpy(fake_disk_bytes(fixture.fake, WATERMARK_NAME, &size), old, size);
    for (size_t at = 0; at < used; at += 3) {
        struct fake_disk *copy = fake_disk_copy(fixture.fake);
        fake_disk_bytes(copy, SEGMENT_1_NAME, &size)[at] ^= (uint8_t)(1U << (at % 8));
        log_test_refused(copy, &fixture, SEGMENT_1_NAME);
    }
    fake_disk_free(fresh);
    fake_disk_free(fixture.fake);
}

static void rot_below_the_last_write_is_refused_whatever_the_watermark_says(void **state)
{
    (void)state;
    refuse_rot_without_watermark(4096);
    refuse_rot_without_watermark(16384);
}

/* One write of entries 2, 3, 4 of which record `torn` (0, 1, 2) is damaged before it was acknowledged: those before it are
 * kept, those after it must not come back, even when a record of the same length is written before them later. */
static void tear(unsigned torn)
{
    struct fixture fixture;
    size_t size;
    log_test_set_up(&fixture);
    log_test_append_durably(&fixture, 1, 1, 64);
    log_test_append(&fixture, 2, 1, 64);
    log_test_append(&fixture, 3, 1, 64);
    log_test_append(&fixture, 4, 1, 64);
    log_flush(fixture.log);
    fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1, FAKE_KILL);
    fake_disk_run_all(fixture.fake);
    log_test_close(&fixture);
    fake_disk_boot(fixture.fake);
    fake_disk_bytes(fixture.fake, SEGMENT_1_NAME, &size)[64 + (1 + torn) * 112 + 60] ^= 1;
    assert_true(log_test_open(&fixture));
    assert_int_equal(log_last_index(fixture.log), 1 + torn);
    log_test_append_durably(&fixture, 2 + torn, 2, 64);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 2 + torn);
    log_test_check_entry(&fixture, 2 + torn, 2, 64);
    log_test_tear_down(&fixture);
}

static void a_torn_write_that_was_not_acknowledged_is_cut(void **state)
{
    (void)state;
    tear(0);
    tear(1);
    tear(2);
}

/* One write, of entry 2, whose data is a record that came after it, as far as anybody knows who does not know the seed; and it is
 * damaged before it was acknowledged. @return whether the log is opened again, without it. */
static bool opens_with_forged_record(uint32_t seed, uint32_t forgers_seed)
{
    struct fixture fixture = log_test_make();
    size_t size;
    fixture.options.checksum_seed = seed;
    assert_true(log_test_open(&fixture));
    log_test_append_durably(&fixture, 1, 1, 64);
    const struct log_record forged = {.sequence = 100, .batch = 100, .index = 3, .term = 1, .segment = 1, .kind = LOG_COMMAND};
    struct log_entry *entry = log_entry_create(2, 1, LOG_COMMAND, LOG_RECORD_HEADER_BYTES);
    log_record_encode(&forged, forgers_seed, entry->data);
    log_append(fixture.log, &entry, 1);
    log_entry_unref(entry);
    log_flush(fixture.log);
    fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1, FAKE_KILL);
    fake_disk_run_all(fixture.fake);
    log_test_close(&fixture);
    fake_disk_boot(fixture.fake);
    fake_disk_bytes(fixture.fake, SEGMENT_1_NAME, &size)[64 + 112] ^= 1; /* the checksum of entry 2's record */
    bool opened = log_test_open(&fixture);
    if (opened) {
        assert_int_equal(log_last_index(fixture.log), 1);
        log_test_close(&fixture);
    }
    fake_disk_free(fixture.fake);
    return opened;
}

static void data_that_looks_like_a_record_attests_nothing(void **state)
{
    (void)state;
    assert_true(opens_with_forged_record(0x12345678, 0));
    assert_true(opens_with_forged_record(0x12345678, 0x12345679));
    assert_false(opens_with_forged_record(0x12345678, 0x12345678)); /* it does look like one */
}

static void segments_go_only_when_a_newer_one_is_durable(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    log_test_append_durably(&fixture, 1, 1, 1800);
    log_test_append_durably(&fixture, 2, 1, 1800);
    log_test_append(&fixture, 3, 1, 1000); /* Into segment 2, whose header is written with it. */
    log_flush(fixture.log);
    log_release(fixture.log, 2);
    log_remove_prefix(fixture.log, 2);
    while (fake_disk_run(fixture.fake, DISK_LANE_SNAPSHOT)) {
    }
    fixture.snapshot_index = 2;
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_true(log_last_index(fixture.log) >= 2);
    log_test_tear_down(&fixture);
}

/* A truncation that is not durable yet can be undone by a crash: what it dropped must still join the rest then. */
static void a_prefix_goes_only_as_far_as_the_log_on_disk_joins(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    for (uint64_t index = 1; index <= 6; index++) {
        log_test_append_durably(&fixture, index, 1, 1800); /* Two to a segment. */
    }
    log_test_append(&fixture, 2, 2, 10);
    log_flush(fixture.log);
    log_release(fixture.log, 1);
    log_remove_prefix(fixture.log, 1);
    while (fake_disk_run(fixture.fake, DISK_LANE_SNAPSHOT)) {
    }
    fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1, FAKE_POWER);
    fixture.snapshot_index = 1;
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_true(log_first_index(fixture.log) <= 2);
    log_test_tear_down(&fixture);
}

static void a_log_shorter_than_what_was_acknowledged_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size, used = fill(&fixture);
    struct fake_disk *copy = fake_disk_copy(fixture.fake);
    uint8_t *bytes = fake_disk_bytes(copy, SEGMENT_2_NAME, &size);
    memset(bytes + 64, 0, size - 64);
    log_test_refused(copy, &fixture, "the watermark says so");

    copy = fake_disk_copy(fixture.fake);
    bytes = fake_disk_bytes(copy, SEGMENT_1_NAME, &size);
    memset(bytes + used - 112, 0, 112);
    log_test_refused(copy, &fixture, SEGMENT_1_NAME);

    copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, SEGMENT_2_NAME));
    log_test_refused(copy, &fixture, "acknowledged");

    copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, SEGMENT_1_NAME));
    assert_true(fake_disk_remove(copy, SEGMENT_2_NAME));
    log_test_refused(fake_disk_copy(copy), &fixture,
                     "its header is damaged"); /* Of the third, which was only prepared. */
    assert_true(fake_disk_remove(copy, SEGMENT_3_NAME));
    log_test_refused(copy, &fixture, "the log is gone");
    fake_disk_free(fixture.fake);
}

static void a_missing_or_damaged_watermark_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size;
    fill(&fixture);
    struct fake_disk *copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, WATERMARK_NAME));
    struct fixture again = fixture;
    again.fake = copy;
    assert_false(log_test_open(&again)); /* which puts nothing in its place: */
    log_test_refused(copy, &fixture, "log/watermark is missing");
    copy = fake_disk_copy(fixture.fake);
    uint8_t *bytes = fake_disk_bytes(copy, WATERMARK_NAME, &size);
    bytes[20] ^= 1;
    bytes[4096 + 30] ^= 1;
    log_test_refused(copy, &fixture, "log/watermark is damaged");
    fake_disk_free(fixture.fake);
}

static void a_snapshot_without_any_log_is_refused(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    fixture.snapshot_index = 10;
    log_test_refused(fixture.fake, &fixture, "a snapshot and no log");
}

static void a_missing_middle_segment_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    for (uint64_t index = 1; index <= 20; index++) {
        log_test_append_durably(&fixture, index, 1, 1000);
    }
    log_test_close(&fixture);
    assert_true(fake_disk_remove(fixture.fake, SEGMENT_3_NAME));
    log_test_refused(fixture.fake, &fixture, SEGMENT_2_NAME);
}

/* ---- whose log it is ---- */

static void a_log_of_another_node_or_cluster_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size;
    fill(&fixture);
    struct fixture stranger = fixture;
    stranger.options.node_id = 4;
    log_test_refused(fake_disk_copy(fixture.fake), &stranger, "another node or cluster");
    stranger = fixture;
    stranger.options.cluster_id = 8;
    log_test_refused(fake_disk_copy(fixture.fake), &stranger, "another node or cluster");

    /* A segment that was copied from another node's directory. */
    struct fixture other = log_test_make();
    other.options.node_id = 4;
    assert_true(log_test_open(&other));
    log_test_append_durably(&other, 1, 1, 10);
    log_test_close(&other);
    const uint8_t *theirs = fake_disk_bytes(other.fake, SEGMENT_1_NAME, &size);
    memcpy(fake_disk_bytes(fixture.fake, SEGMENT_1_NAME, &size), theirs, size);
    log_test_refused(fixture.fake, &fixture, "belongs to node 4 of cluster 9");
    fake_disk_free(other.fake);
}

static void a_segment_under_another_name_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fill(&fixture);
    struct disk *disk = fake_disk_seam(fixture.fake);
    assert_int_equal(disk->ops->rename(disk, SEGMENT_1_NAME, "log/00000000000000000000.seg"), 0);
    assert_int_equal(disk->ops->rename(disk, SEGMENT_2_NAME, SEGMENT_1_NAME), 0);
    log_test_refused(fixture.fake, &fixture, "it was renamed");
}

/* ---- numbers that can not be, under checksums that are right ---- */

/* A log of one record, entry 1, whose record and whose header are what the caller makes of them. */
static void refused_when_forged(void (*forge)(struct log_segment_header *header, struct log_record *record))
{
    struct fixture fixture;
    struct log_segment_header header;
    struct log_record record;
    size_t size;
    log_test_set_up(&fixture);
    log_test_append_durably(&fixture, 1, 1, 8);
    log_test_close(&fixture);
    uint8_t *bytes = fake_disk_bytes(fixture.fake, SEGMENT_1_NAME, &size);
    uint8_t data[8] = {0};
    assert_true(log_segment_header_decode(bytes, size, &header));
    assert_true(log_record_decode(bytes + LOG_SEGMENT_HEADER_BYTES, size - LOG_SEGMENT_HEADER_BYTES,
                                  fixture.options.checksum_seed, &record));
    record.data = data;
    forge(&header, &record);
    log_segment_header_encode(&header, bytes);
    log_record_encode(&record, fixture.options.checksum_seed, bytes + LOG_SEGMENT_HEADER_BYTES);
    log_test_refused(fake_disk_copy(fixture.fake), &fixture, SEGMENT_1_NAME);
    fake_disk_free(fixture.fake);
}

static void entry_zero(struct log_segment_header *header, struct log_record *record)
{
    header->prev_index = 0;
    record->index = 0;
}

static void reset_to_the_last_number(struct log_segment_header *header, struct log_record *record)
{
    (void)header;
    record->kind = LOG_RECORD_RESET;
    record->size = 0;
    record->index = UINT64_MAX;
}

static void entry_of_the_last_number(struct log_segment_header *header, struct log_record *record)
{
    (void)header;
    record->index = UINT64_MAX;
}

static void begins_behind_the_last_number(struct log_segment_header *header, struct log_record *record)
{
    (void)record;
    header->prev_index = UINT64_MAX;
}

static void begins_with_record_zero(struct log_segment_header *header, struct log_record *record)
{
    (void)record;
    header->first_sequence = 0;
}

static void numbers_that_can_not_be_are_refused(void **state)
{
    (void)state;
    refused_when_forged(entry_zero);
    refused_when_forged(entry_of_the_last_number);
    refused_when_forged(reset_to_the_last_number);
    refused_when_forged(begins_behind_the_last_number);
    refused_when_forged(begins_with_record_zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rot_in_any_byte_of_what_was_acknowledged_is_refused),
        cmocka_unit_test(rot_below_the_last_write_is_refused_whatever_the_watermark_says),
        cmocka_unit_test(a_torn_write_that_was_not_acknowledged_is_cut),
        cmocka_unit_test(data_that_looks_like_a_record_attests_nothing),
        cmocka_unit_test(segments_go_only_when_a_newer_one_is_durable),
        cmocka_unit_test(a_prefix_goes_only_as_far_as_the_log_on_disk_joins),
        cmocka_unit_test(a_log_shorter_than_what_was_acknowledged_is_refused),
        cmocka_unit_test(a_missing_or_damaged_watermark_is_refused),
        cmocka_unit_test(a_snapshot_without_any_log_is_refused),
        cmocka_unit_test(a_missing_middle_segment_is_refused),
        cmocka_unit_test(a_log_of_another_node_or_cluster_is_refused),
        cmocka_unit_test(a_segment_under_another_name_is_refused),
        cmocka_unit_test(numbers_that_can_not_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
