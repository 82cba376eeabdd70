/* The log, rule by rule: what it writes when, what it refuses to open, how it fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_disk.h"
#include "node/replica/log.h"

static const char segment_1[] = "log/00000000000000000001.seg";
static const char segment_2[] = "log/00000000000000000002.seg";
static const char segment_3[] = "log/00000000000000000003.seg";
static const char watermark[] = "log/watermark";

struct fixture {
    struct fake_disk *fake;
    struct log *log;
    struct log_options options;
    uint64_t snapshot_index, first_if_empty;
    uint64_t durable, resets;
    unsigned failures;
    char failure[512];
    char message[512];
};

static void on_durable(void *ctx, uint64_t index)
{
    struct fixture *fixture = ctx;
    fixture->durable = index;
}

static void on_failed(void *ctx, const char *message)
{
    struct fixture *fixture = ctx;
    fixture->failures++;
    (void)snprintf(fixture->failure, sizeof fixture->failure, "%s", message);
}

static void on_reset(void *ctx)
{
    struct fixture *fixture = ctx;
    fixture->resets++;
}

static bool open_log(struct fixture *fixture)
{
    struct log_callbacks callbacks = {.durable = on_durable, .failed = on_failed, .ctx = fixture};
    fixture->message[0] = 0;
    fixture->log = log_open(fake_disk_seam(fixture->fake), &fixture->options, &callbacks, fixture->first_if_empty, 0,
                            fixture->snapshot_index, fixture->message, sizeof fixture->message);
    assert_true(fixture->log != NULL || fixture->message[0] != 0);
    return fixture->log != NULL;
}

static struct fixture make(void)
{
    struct fixture fixture = {
        .fake = fake_disk_create(1),
        .options = {.segment_bytes = 4096, .cache_bytes = 1024 * 1024, .node_id = 3, .cluster_id = 9},
        .first_if_empty = 1,
    };
    return fixture;
}

static void set_up(struct fixture *fixture)
{
    *fixture = make();
    assert_true(open_log(fixture));
}

static void close_log(struct fixture *fixture)
{
    log_close(fixture->log);
    fixture->log = NULL;
}

static void tear_down(struct fixture *fixture)
{
    fake_disk_run_all(fixture->fake);
    close_log(fixture);
    fake_disk_free(fixture->fake);
}

/* The process ends; then it starts again. */
static bool restart(struct fixture *fixture, enum fake_end end)
{
    fake_disk_end(fixture->fake, end);
    fake_disk_run_all(fixture->fake);
    close_log(fixture);
    fake_disk_boot(fixture->fake);
    return open_log(fixture);
}

static void append(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    struct log_entry *entry = log_entry_create(index, term, LOG_COMMAND, size);
    memset(entry->data, (int)(index * 7 + term), size);
    log_append(fixture->log, &entry, 1);
    log_entry_unref(entry);
}

static void append_durably(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    append(fixture, index, term, size);
    log_flush(fixture->log);
    fake_disk_run_all(fixture->fake);
    assert_int_equal(fixture->durable, index);
}

static void check_entry(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    const struct log_entry *entry = log_get(fixture->log, index);
    assert_non_null(entry);
    assert_int_equal(entry->term, term);
    assert_int_equal(entry->size, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(entry->data[i], (uint8_t)(index * 7 + term));
    }
}

static void assert_says(const char *message, const char *expected)
{
    if (strstr(message, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", message, expected);
    }
}

/* Open a copy of the disk, changed by the caller; the log must be refused, and say `expected`. */
static void refused(struct fake_disk *copy, const struct fixture *like, const char *expected)
{
    struct fixture fixture = *like;
    fixture.fake = copy;
    if (open_log(&fixture)) {
        fail_msg("opened with entries %llu..%llu, expected \"%s\"", (unsigned long long)log_first_index(fixture.log),
                 (unsigned long long)log_last_index(fixture.log), expected);
    }
    assert_says(fixture.message, expected);
    fake_disk_free(copy);
}

/* ---- what is written when ---- */

static void entries_are_durable_only_after_flush_and_sync(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    append(&fixture, 1, 1, 100);
    assert_int_equal(fake_disk_jobs(fixture.fake), 0);
    log_flush(fixture.log);
    assert_int_equal(log_durable_index(fixture.log), 0);
    assert_false(log_idle(fixture.log));
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 1);
    assert_int_equal(log_durable_index(fixture.log), 1);
    assert_true(log_idle(fixture.log));
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 1);
    check_entry(&fixture, 1, 1, 100);
    tear_down(&fixture);
}

static void what_is_appended_during_a_write_goes_out_as_one(void **state)
{
    (void)state;
    struct fixture fixture = make();
    fixture.options.segment_bytes = 65536; /* Large enough that the next one is not prepared meanwhile. */
    assert_true(open_log(&fixture));
    append(&fixture, 1, 1, 10);
    log_flush(fixture.log);
    for (uint64_t index = 2; index <= 9; index++) {
        append(&fixture, index, 1, 10);
        log_flush(fixture.log);
    }
    unsigned calls = fake_disk_calls(fixture.fake);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 9);
    /* Twice: write, sync, watermark. */
    assert_int_equal(fake_disk_calls(fixture.fake) - calls, 6);
    tear_down(&fixture);
}

static void a_completion_does_not_count_for_entries_truncated_meanwhile(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    append(&fixture, 1, 1, 10);
    append(&fixture, 2, 1, 10);
    append(&fixture, 3, 1, 10);
    log_flush(fixture.log);
    append(&fixture, 2, 2, 20);
    assert_true(fake_disk_run(fixture.fake, DISK_LANE_LOG));
    assert_int_equal(fixture.durable, 1);
    assert_int_equal(log_durable_index(fixture.log), 1);
    assert_int_equal(log_last_index(fixture.log), 2);
    log_flush(fixture.log);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 2);
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 2);
    check_entry(&fixture, 2, 2, 20);
    tear_down(&fixture);
}

static void a_reset_during_a_write_is_written_without_a_flush(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    append(&fixture, 1, 1, 10);
    log_flush(fixture.log);
    log_reset(fixture.log, 50, 4, on_reset, &fixture);
    log_reset(fixture.log, 60, 5, on_reset, &fixture);
    assert_int_equal(log_first_index(fixture.log), 61);
    assert_int_equal(log_last_index(fixture.log), 60);
    assert_int_equal(log_durable_index(fixture.log), 60);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.resets, 2);
    assert_int_equal(fixture.durable, 0);
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_first_index(fixture.log), 61);
    assert_int_equal(log_term(fixture.log, 60), 5);
    append_durably(&fixture, 61, 6, 10);
    tear_down(&fixture);
}

static void an_entry_larger_than_a_segment_gets_its_own(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    append_durably(&fixture, 1, 1, 50000);
    append_durably(&fixture, 2, 1, 100);
    append_durably(&fixture, 3, 1, 60000);
    assert_true(restart(&fixture, FAKE_POWER));
    check_entry(&fixture, 1, 1, 50000);
    check_entry(&fixture, 2, 1, 100);
    check_entry(&fixture, 3, 1, 60000);
    tear_down(&fixture);
}

struct got {
    size_t count;
    uint64_t first, last_size;
    bool called;
};

static void on_read(void *ctx, struct log_entry **entries, size_t count)
{
    struct got *got = ctx;
    got->called = true;
    got->count = count;
    got->first = count > 0 ? entries[0]->index : 0;
    for (size_t i = 0; i < count; i++) {
        got->last_size = entries[i]->size;
        log_entry_unref(entries[i]);
    }
}

static void released_entries_leave_memory_beyond_the_cache_and_can_be_read_back(void **state)
{
    (void)state;
    struct fixture fixture = make();
    struct got got = {0};
    fixture.options.cache_bytes = 300;
    assert_true(open_log(&fixture));
    for (uint64_t index = 1; index <= 40; index++) {
        append_durably(&fixture, index, 1, 100);
    }
    assert_non_null(log_get(fixture.log, 1));
    log_release(fixture.log, 30);
    assert_null(log_get(fixture.log, 27));
    assert_non_null(log_get(fixture.log, 28));
    assert_non_null(log_get(fixture.log, 31));
    assert_int_equal(log_term(fixture.log, 1), 1);
    log_read(fixture.log, 5, 30, 1050, on_read, &got);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(got.first, 5);
    assert_int_equal(got.count, 10);
    log_read(fixture.log, 5, 30, 1, on_read, &got);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(got.count, 1);
    log_read(fixture.log, 41, 30, 1000, on_read, &got);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(got.count, 0);
    tear_down(&fixture);
}

static void a_read_of_entries_truncated_meanwhile_delivers_nothing(void **state)
{
    (void)state;
    struct fixture fixture = make();
    struct got got = {0};
    fixture.options.cache_bytes = 1;
    assert_true(open_log(&fixture));
    for (uint64_t index = 1; index <= 9; index++) {
        append_durably(&fixture, index, 1, 100);
    }
    log_read(fixture.log, 5, 4, 1000, on_read, &got);
    append(&fixture, 7, 2, 50);
    fake_disk_run_all(fixture.fake);
    assert_true(got.called);
    assert_int_equal(got.count, 0);
    tear_down(&fixture);
}

static void rot_found_by_a_read_ends_the_process(void **state)
{
    (void)state;
    struct fixture fixture = make();
    struct got got = {0};
    size_t size;
    fixture.options.cache_bytes = 1;
    assert_true(open_log(&fixture));
    append_durably(&fixture, 1, 1, 100);
    append_durably(&fixture, 2, 1, 100);
    log_release(fixture.log, 2);
    fake_disk_bytes(fixture.fake, segment_1, &size)[200] ^= 1;
    log_read(fixture.log, 1, 2, 1000, on_read, &got);
    fake_disk_run_all(fixture.fake);
    assert_true(got.called);
    assert_int_equal(got.count, 0);
    assert_int_equal(fixture.failures, 1);
    assert_says(fixture.failure, segment_1);
    tear_down(&fixture);
}

static void whole_segments_go_when_a_snapshot_covers_them(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (uint64_t index = 1; index <= 60; index++) {
        append_durably(&fixture, index, 1 + index / 10, 500);
    }
    uint64_t bytes = log_bytes(fixture.log);
    unsigned files = fake_disk_files(fixture.fake, "log");
    log_release(fixture.log, 60);
    log_remove_prefix(fixture.log, 40);
    fake_disk_run_all(fixture.fake);
    uint64_t first = log_first_index(fixture.log);
    assert_true(first > 30 && first <= 41);
    assert_int_equal(log_bytes(fixture.log), bytes - (first - 1) * 500);
    assert_true(fake_disk_files(fixture.fake, "log") < files);
    assert_int_equal(log_term(fixture.log, first - 1), 1 + (first - 1) / 10);
    assert_int_equal(log_term(fixture.log, first - 2), 0);
    fixture.snapshot_index = 40;
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_first_index(fixture.log), first);
    assert_int_equal(log_last_index(fixture.log), 60);
    assert_int_equal(log_term(fixture.log, first - 1), 1 + (first - 1) / 10);
    assert_null(log_get(fixture.log, 40));
    check_entry(&fixture, 41, 5, 500);
    assert_int_equal(fixture.failures, 0);
    tear_down(&fixture);
}

/* ---- torn tail and rot ---- */

/* Three writes of three entries each, over two segments; all acknowledged. @return bytes used of segment 1. */
static size_t fill_segments(struct fixture *fixture, uint64_t segment_bytes)
{
    *fixture = make();
    fixture->options.segment_bytes = segment_bytes;
    assert_true(open_log(fixture));
    for (uint64_t index = 1; index <= 9; index++) {
        append(fixture, index, 1, index == 5 ? 2500 : 61);
        if (index % 3 == 0) {
            log_flush(fixture->log);
            fake_disk_run_all(fixture->fake);
        }
    }
    append(fixture, 10, 1, 1500);
    log_flush(fixture->log);
    fake_disk_run_all(fixture->fake);
    assert_int_equal(fixture->durable, 10);
    close_log(fixture);
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
        fake_disk_bytes(copy, segment_1, &size)[at] ^= (uint8_t)(1U << (at % 8));
        refused(copy, &fixture, segment_1);
    }
    for (size_t at = 0; at < used_2; at++) {
        struct fake_disk *copy = fake_disk_copy(fixture.fake);
        fake_disk_bytes(copy, segment_2, &size)[at] ^= (uint8_t)(1U << (at % 8));
        refused(copy, &fixture, "acknowledged"); /* A bad header shows as the end of the segment before. */
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
    assert_true(open_log(&other));
    close_log(&other);
    const uint8_t *old = fake_disk_bytes(fresh, watermark, &size);
    memcpy(fake_disk_bytes(fixture.fake, watermark, &size), old, size);
    for (size_t at = 0; at < used; at += 3) {
        struct fake_disk *copy = fake_disk_copy(fixture.fake);
        fake_disk_bytes(copy, segment_1, &size)[at] ^= (uint8_t)(1U << (at % 8));
        refused(copy, &fixture, segment_1);
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
    set_up(&fixture);
    append_durably(&fixture, 1, 1, 64);
    append(&fixture, 2, 1, 64);
    append(&fixture, 3, 1, 64);
    append(&fixture, 4, 1, 64);
    log_flush(fixture.log);
    fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1, FAKE_KILL);
    fake_disk_run_all(fixture.fake);
    close_log(&fixture);
    fake_disk_boot(fixture.fake);
    fake_disk_bytes(fixture.fake, segment_1, &size)[64 + (1 + torn) * 112 + 60] ^= 1;
    assert_true(open_log(&fixture));
    assert_int_equal(log_last_index(fixture.log), 1 + torn);
    append_durably(&fixture, 2 + torn, 2, 64);
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 2 + torn);
    check_entry(&fixture, 2 + torn, 2, 64);
    tear_down(&fixture);
}

static void a_torn_write_that_was_not_acknowledged_is_cut(void **state)
{
    (void)state;
    tear(0);
    tear(1);
    tear(2);
}

static void segments_go_only_when_a_newer_one_is_durable(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    append_durably(&fixture, 1, 1, 1800);
    append_durably(&fixture, 2, 1, 1800);
    append(&fixture, 3, 1, 1000); /* Into segment 2, whose header is written with it. */
    log_flush(fixture.log);
    log_release(fixture.log, 2);
    log_remove_prefix(fixture.log, 2);
    while (fake_disk_run(fixture.fake, DISK_LANE_SNAPSHOT)) {
    }
    fixture.snapshot_index = 2;
    assert_true(restart(&fixture, FAKE_POWER));
    assert_true(log_last_index(fixture.log) >= 2);
    tear_down(&fixture);
}

/* A truncation that is not durable yet can be undone by a crash: what it dropped must still join the rest then. */
static void a_prefix_goes_only_as_far_as_the_log_on_disk_joins(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (uint64_t index = 1; index <= 6; index++) {
        append_durably(&fixture, index, 1, 1800); /* Two to a segment. */
    }
    append(&fixture, 2, 2, 10);
    log_flush(fixture.log);
    log_release(fixture.log, 1);
    log_remove_prefix(fixture.log, 1);
    while (fake_disk_run(fixture.fake, DISK_LANE_SNAPSHOT)) {
    }
    fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1, FAKE_POWER);
    fixture.snapshot_index = 1;
    assert_true(restart(&fixture, FAKE_POWER));
    assert_true(log_first_index(fixture.log) <= 2);
    tear_down(&fixture);
}

static void a_log_shorter_than_what_was_acknowledged_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size, used = fill(&fixture);
    struct fake_disk *copy = fake_disk_copy(fixture.fake);
    uint8_t *bytes = fake_disk_bytes(copy, segment_2, &size);
    memset(bytes + 64, 0, size - 64);
    refused(copy, &fixture, "the watermark says so");

    copy = fake_disk_copy(fixture.fake);
    bytes = fake_disk_bytes(copy, segment_1, &size);
    memset(bytes + used - 112, 0, 112);
    refused(copy, &fixture, segment_1);

    copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, segment_2));
    refused(copy, &fixture, "acknowledged");

    copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, segment_1));
    assert_true(fake_disk_remove(copy, segment_2));
    refused(fake_disk_copy(copy), &fixture, "its header is damaged"); /* Of the third, which was only prepared. */
    assert_true(fake_disk_remove(copy, segment_3));
    refused(copy, &fixture, "the log is gone");
    fake_disk_free(fixture.fake);
}

static void a_missing_or_damaged_watermark_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size;
    fill(&fixture);
    struct fake_disk *copy = fake_disk_copy(fixture.fake);
    assert_true(fake_disk_remove(copy, watermark));
    refused(copy, &fixture, "log/watermark is missing");
    copy = fake_disk_copy(fixture.fake);
    uint8_t *bytes = fake_disk_bytes(copy, watermark, &size);
    bytes[20] ^= 1;
    bytes[4096 + 30] ^= 1;
    refused(copy, &fixture, "log/watermark is damaged");
    fake_disk_free(fixture.fake);
}

static void a_snapshot_without_any_log_is_refused(void **state)
{
    (void)state;
    struct fixture fixture = make();
    fixture.snapshot_index = 10;
    refused(fixture.fake, &fixture, "a snapshot and no log");
}

static void a_missing_middle_segment_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (uint64_t index = 1; index <= 20; index++) {
        append_durably(&fixture, index, 1, 1000);
    }
    close_log(&fixture);
    assert_true(fake_disk_remove(fixture.fake, segment_3));
    refused(fixture.fake, &fixture, segment_2);
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
    refused(fake_disk_copy(fixture.fake), &stranger, "another node or cluster");
    stranger = fixture;
    stranger.options.cluster_id = 8;
    refused(fake_disk_copy(fixture.fake), &stranger, "another node or cluster");

    /* A segment that was copied from another node's directory. */
    struct fixture other = make();
    other.options.node_id = 4;
    assert_true(open_log(&other));
    append_durably(&other, 1, 1, 10);
    close_log(&other);
    const uint8_t *theirs = fake_disk_bytes(other.fake, segment_1, &size);
    memcpy(fake_disk_bytes(fixture.fake, segment_1, &size), theirs, size);
    refused(fixture.fake, &fixture, "belongs to node 4 of cluster 9");
    fake_disk_free(other.fake);
}

static void a_segment_under_another_name_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fill(&fixture);
    struct disk *disk = fake_disk_seam(fixture.fake);
    assert_int_equal(disk->ops->rename(disk, segment_1, "log/00000000000000000000.seg"), 0);
    assert_int_equal(disk->ops->rename(disk, segment_2, segment_1), 0);
    refused(fixture.fake, &fixture, "it was renamed");
}

/* ---- failures ---- */

static void run_workload(struct fixture *fixture)
{
    for (uint64_t index = 1; index <= 24 && fixture->failures == 0; index++) {
        append(fixture, index, 1, 300);
        log_flush(fixture->log);
        if (index % 3 == 0) {
            fake_disk_run_all(fixture->fake);
        }
        if (index == 18 && fixture->failures == 0) {
            log_release(fixture->log, 12);
            log_remove_prefix(fixture->log, 12);
        }
    }
    fake_disk_run_all(fixture->fake);
}

/* Every call fails once in turn. The failure is told once, nothing is written afterwards, and what had been acknowledged
 * is there after a restart, and again after a loss of power (the kernel had forgotten what the failed sync covered). */
static void fail_call(unsigned call, int error)
{
    struct fixture fixture = make();
    fake_disk_fail_at(fixture.fake, call, error);
    if (!open_log(&fixture)) {
        assert_true(fake_disk_has_failed(fixture.fake));
        assert_says(fixture.message, error == ENOSPC ? "disk full" : "check the disk");
        assert_true(open_log(&fixture));
        fake_disk_run_all(fixture.fake);
        tear_down(&fixture);
        return;
    }
    run_workload(&fixture);
    bool failed = fake_disk_has_failed(fixture.fake);
    if (!failed || error == EIO) {
        assert_int_equal(fixture.failures, failed ? 1 : 0);
    }
    if (fixture.failures == 0) {
        assert_int_equal(fixture.durable, 24);
    } else {
        unsigned calls = fake_disk_calls(fixture.fake);
        append(&fixture, log_last_index(fixture.log) + 1, 1, 10);
        log_flush(fixture.log);
        fake_disk_run_all(fixture.fake);
        assert_int_equal(fake_disk_calls(fixture.fake), calls); /* L5 */
        assert_int_equal(fixture.failures, 1);
    }
    uint64_t durable = fixture.durable;
    assert_true(restart(&fixture, FAKE_KILL));
    uint64_t last = log_last_index(fixture.log);
    assert_true(last >= durable);
    assert_true(restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), last);
    for (uint64_t index = log_first_index(fixture.log); index <= last; index++) {
        check_entry(&fixture, index, 1, 300);
    }
    append_durably(&fixture, last + 1, 2, 10);
    tear_down(&fixture);
}

static void any_call_may_fail_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    run_workload(&fixture);
    unsigned calls = fake_disk_calls(fixture.fake);
    assert_int_equal(fixture.failures, 0);
    tear_down(&fixture);
    assert_true(calls > 60);
    for (unsigned call = 1; call <= calls; call++) {
        fail_call(call, EIO);
        fail_call(call, ENOSPC);
    }
}

static void a_full_disk_is_told_when_the_next_segment_can_not_be_had(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    fake_disk_limit(fixture.fake, fake_disk_used(fixture.fake));
    uint64_t index = 1;
    for (; index < 100 && fixture.failures == 0; index++) {
        append(&fixture, index, 1, 100);
        log_flush(fixture.log);
        fake_disk_run_all(fixture.fake);
    }
    /* The segment that was there was used to its end. */
    assert_int_equal(fixture.durable, (4096 - 64) / 152);
    assert_int_equal(fixture.failures, 1);
    assert_says(fixture.failure, "disk full");
    assert_says(fixture.failure, segment_2);
    fake_disk_limit(fixture.fake, UINT64_MAX);
    assert_true(restart(&fixture, FAKE_KILL));
    append_durably(&fixture, log_last_index(fixture.log) + 1, 1, 100);
    tear_down(&fixture);
}

static void space_that_comes_back_in_time_is_used(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    fake_disk_limit(fixture.fake, fake_disk_used(fixture.fake));
    for (uint64_t index = 1; index <= 20; index++) {
        append_durably(&fixture, index, 1, 100);
    }
    fake_disk_limit(fixture.fake, UINT64_MAX);
    for (uint64_t index = 21; index <= 100; index++) {
        append_durably(&fixture, index, 1, 100);
    }
    assert_int_equal(fixture.failures, 0);
    tear_down(&fixture);
}

static void the_next_segment_is_there_before_it_is_needed(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size = 0;
    set_up(&fixture);
    for (uint64_t index = 1; index <= 15; index++) {
        append_durably(&fixture, index, 1, 100);
    }
    assert_non_null(fake_disk_bytes(fixture.fake, segment_2, &size));
    assert_int_equal(size, 4096);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_durable_only_after_flush_and_sync),
        cmocka_unit_test(what_is_appended_during_a_write_goes_out_as_one),
        cmocka_unit_test(a_completion_does_not_count_for_entries_truncated_meanwhile),
        cmocka_unit_test(a_reset_during_a_write_is_written_without_a_flush),
        cmocka_unit_test(an_entry_larger_than_a_segment_gets_its_own),
        cmocka_unit_test(released_entries_leave_memory_beyond_the_cache_and_can_be_read_back),
        cmocka_unit_test(a_read_of_entries_truncated_meanwhile_delivers_nothing),
        cmocka_unit_test(rot_found_by_a_read_ends_the_process),
        cmocka_unit_test(whole_segments_go_when_a_snapshot_covers_them),
        cmocka_unit_test(rot_in_any_byte_of_what_was_acknowledged_is_refused),
        cmocka_unit_test(rot_below_the_last_write_is_refused_whatever_the_watermark_says),
        cmocka_unit_test(a_torn_write_that_was_not_acknowledged_is_cut),
        cmocka_unit_test(segments_go_only_when_a_newer_one_is_durable),
        cmocka_unit_test(a_prefix_goes_only_as_far_as_the_log_on_disk_joins),
        cmocka_unit_test(a_log_shorter_than_what_was_acknowledged_is_refused),
        cmocka_unit_test(a_missing_or_damaged_watermark_is_refused),
        cmocka_unit_test(a_snapshot_without_any_log_is_refused),
        cmocka_unit_test(a_missing_middle_segment_is_refused),
        cmocka_unit_test(a_log_of_another_node_or_cluster_is_refused),
        cmocka_unit_test(a_segment_under_another_name_is_refused),
        cmocka_unit_test(any_call_may_fail_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_full_disk_is_told_when_the_next_segment_can_not_be_had),
        cmocka_unit_test(space_that_comes_back_in_time_is_used),
        cmocka_unit_test(the_next_segment_is_there_before_it_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
