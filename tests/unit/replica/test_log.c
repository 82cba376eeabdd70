/* The log, rule by rule: what it writes when, what it keeps, how it fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log_fixture.h"
#include "node/replica/log_internal.h"

/* ---- what is written when ---- */

static void entries_are_durable_only_after_flush_and_sync(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    log_test_append(&fixture, 1, 1, 100);
    assert_int_equal(fake_disk_jobs(fixture.fake), 0);
    log_flush(fixture.log);
    assert_int_equal(log_durable_index(fixture.log), 0);
    assert_false(log_idle(fixture.log));
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 1);
    assert_int_equal(log_durable_index(fixture.log), 1);
    assert_true(log_idle(fixture.log));
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 1);
    log_test_check_entry(&fixture, 1, 1, 100);
    log_test_tear_down(&fixture);
}

static void what_is_appended_during_a_write_goes_out_as_one(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    fixture.options.segment_bytes = 65536; /* Large enough that the next one is not prepared meanwhile. */
    assert_true(log_test_open(&fixture));
    log_test_append(&fixture, 1, 1, 10);
    log_flush(fixture.log);
    for (uint64_t index = 2; index <= 9; index++) {
        log_test_append(&fixture, index, 1, 10);
        log_flush(fixture.log);
    }
    unsigned calls = fake_disk_calls(fixture.fake);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 9);
    /* Twice: write, sync, WATERMARK_NAME. */
    assert_int_equal(fake_disk_calls(fixture.fake) - calls, 6);
    log_test_tear_down(&fixture);
}

static void a_completion_does_not_count_for_entries_truncated_meanwhile(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    log_test_append(&fixture, 1, 1, 10);
    log_test_append(&fixture, 2, 1, 10);
    log_test_append(&fixture, 3, 1, 10);
    log_flush(fixture.log);
    log_test_append(&fixture, 2, 2, 20);
    assert_true(fake_disk_run(fixture.fake, DISK_LANE_LOG));
    assert_int_equal(fixture.durable, 1);
    assert_int_equal(log_durable_index(fixture.log), 1);
    assert_int_equal(log_last_index(fixture.log), 2);
    log_flush(fixture.log);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.durable, 2);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), 2);
    log_test_check_entry(&fixture, 2, 2, 20);
    log_test_tear_down(&fixture);
}

static void on_reset(void *ctx)
{
    struct fixture *fixture = ctx;
    fixture->resets++;
}

static void a_reset_during_a_write_is_written_without_a_flush(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    log_test_append(&fixture, 1, 1, 10);
    log_flush(fixture.log);
    log_reset(fixture.log, 50, 4, on_reset, &fixture);
    log_reset(fixture.log, 60, 5, on_reset, &fixture);
    assert_int_equal(log_first_index(fixture.log), 61);
    assert_int_equal(log_last_index(fixture.log), 60);
    assert_int_equal(log_durable_index(fixture.log), 60);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.resets, 2);
    assert_int_equal(fixture.durable, 0);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_first_index(fixture.log), 61);
    assert_int_equal(log_term(fixture.log, 60), 5);
    log_test_append_durably(&fixture, 61, 6, 10);
    log_test_tear_down(&fixture);
}

static void an_entry_larger_than_a_segment_gets_its_own(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    log_test_append_durably(&fixture, 1, 1, 50000);
    log_test_append_durably(&fixture, 2, 1, 100);
    log_test_append_durably(&fixture, 3, 1, 60000);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    log_test_check_entry(&fixture, 1, 1, 50000);
    log_test_check_entry(&fixture, 2, 1, 100);
    log_test_check_entry(&fixture, 3, 1, 60000);
    log_test_tear_down(&fixture);
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
    struct fixture fixture = log_test_make();
    struct got got = {0};
    fixture.options.cache_bytes = 300;
    assert_true(log_test_open(&fixture));
    for (uint64_t index = 1; index <= 40; index++) {
        log_test_append_durably(&fixture, index, 1, 100);
    }
    assert_non_null(log_get(fixture.log, 1));
    log_release(fixture.log, 30);
    assert_null(log_get(fixture.log, 27));
    assert_non_null(log_get(fixture.log, 28));
    assert_non_null(log_get(fixture.log, 31));
    assert_int_equal(log_term(fixture.log, 1), 1);
    assert_false(log_keeps(fixture.log, 38, 299));
    assert_true(log_keeps(fixture.log, 38, 300));
    assert_true(log_keeps(fixture.log, 41, 0));     /* none */
    assert_false(log_keeps(fixture.log, 37, 1000)); /* beyond the cache: in memory, but not for long */
    log_release(fixture.log, 40);
    assert_false(log_keeps(fixture.log, 37, 1000));
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
    log_test_tear_down(&fixture);
}

static void a_read_of_entries_truncated_meanwhile_delivers_nothing(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    struct got got = {0};
    fixture.options.cache_bytes = 1;
    assert_true(log_test_open(&fixture));
    for (uint64_t index = 1; index <= 9; index++) {
        log_test_append_durably(&fixture, index, 1, 100);
    }
    log_read(fixture.log, 5, 4, 1000, on_read, &got);
    log_test_append(&fixture, 7, 2, 50);
    fake_disk_run_all(fixture.fake);
    assert_true(got.called);
    assert_int_equal(got.count, 0);
    log_test_tear_down(&fixture);
}

static void rot_found_by_a_read_ends_the_process(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    struct got got = {0};
    size_t size;
    fixture.options.cache_bytes = 1;
    assert_true(log_test_open(&fixture));
    log_test_append_durably(&fixture, 1, 1, 100);
    log_test_append_durably(&fixture, 2, 1, 100);
    log_release(fixture.log, 2);
    fake_disk_bytes(fixture.fake, SEGMENT_1_NAME, &size)[200] ^= 1;
    log_read(fixture.log, 1, 2, 1000, on_read, &got);
    fake_disk_run_all(fixture.fake);
    assert_true(got.called);
    assert_int_equal(got.count, 0);
    assert_int_equal(fixture.failures, 1);
    log_test_assert_says(fixture.failure, SEGMENT_1_NAME);
    log_test_tear_down(&fixture);
}

static void whole_segments_go_when_a_snapshot_covers_them(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    for (uint64_t index = 1; index <= 60; index++) {
        log_test_append_durably(&fixture, index, 1 + index / 10, 500);
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
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_first_index(fixture.log), first);
    assert_int_equal(log_last_index(fixture.log), 60);
    assert_int_equal(log_term(fixture.log, first - 1), 1 + (first - 1) / 10);
    assert_null(log_get(fixture.log, 40));
    log_test_check_entry(&fixture, 41, 5, 500);
    assert_int_equal(fixture.failures, 0);
    log_test_tear_down(&fixture);
}

/* ---- failures ---- */

static void run_workload(struct fixture *fixture)
{
    for (uint64_t index = 1; index <= 24 && fixture->failures == 0; index++) {
        log_test_append(fixture, index, 1, 300);
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
    struct fixture fixture = log_test_make();
    fake_disk_fail_at(fixture.fake, call, error);
    if (!log_test_open(&fixture)) {
        assert_true(fake_disk_has_failed(fixture.fake));
        log_test_assert_says(fixture.message, error == ENOSPC ? "disk full" : "check the disk");
        assert_true(log_test_open(&fixture));
        fake_disk_run_all(fixture.fake);
        log_test_tear_down(&fixture);
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
        log_test_append(&fixture, log_last_index(fixture.log) + 1, 1, 10);
        log_flush(fixture.log);
        fake_disk_run_all(fixture.fake);
        assert_int_equal(fake_disk_calls(fixture.fake), calls); /* L5 */
        assert_int_equal(fixture.failures, 1);
    }
    uint64_t durable = fixture.durable;
    assert_true(log_test_restart(&fixture, FAKE_KILL));
    uint64_t last = log_last_index(fixture.log);
    assert_true(last >= durable);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_int_equal(log_last_index(fixture.log), last);
    for (uint64_t index = log_first_index(fixture.log); index <= last; index++) {
        log_test_check_entry(&fixture, index, 1, 300);
    }
    log_test_append_durably(&fixture, last + 1, 2, 10);
    log_test_tear_down(&fixture);
}

static void any_call_may_fail_and_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    run_workload(&fixture);
    unsigned calls = fake_disk_calls(fixture.fake);
    assert_int_equal(fixture.failures, 0);
    log_test_tear_down(&fixture);
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
    log_test_set_up(&fixture);
    fake_disk_limit(fixture.fake, fake_disk_used(fixture.fake));
    uint64_t index = 1;
    for (; index < 100 && fixture.failures == 0; index++) {
        log_test_append(&fixture, index, 1, 100);
        log_flush(fixture.log);
        fake_disk_run_all(fixture.fake);
    }
    /* The segment that was there was used to its end. */
    assert_int_equal(fixture.durable, (4096 - 64) / 152);
    assert_int_equal(fixture.failures, 1);
    log_test_assert_says(fixture.failure, "disk full");
    log_test_assert_says(fixture.failure, SEGMENT_2_NAME);
    fake_disk_limit(fixture.fake, UINT64_MAX);
    assert_true(log_test_restart(&fixture, FAKE_KILL));
    log_test_append_durably(&fixture, log_last_index(fixture.log) + 1, 1, 100);
    log_test_tear_down(&fixture);
}

static void space_that_comes_back_in_time_is_used(void **state)
{
    (void)state;
    struct fixture fixture;
    log_test_set_up(&fixture);
    fake_disk_limit(fixture.fake, fake_disk_used(fixture.fake));
    for (uint64_t index = 1; index <= 20; index++) {
        log_test_append_durably(&fixture, index, 1, 100);
    }
    fake_disk_limit(fixture.fake, UINT64_MAX);
    for (uint64_t index = 21; index <= 100; index++) {
        log_test_append_durably(&fixture, index, 1, 100);
    }
    assert_int_equal(fixture.failures, 0);
    log_test_tear_down(&fixture);
}

static void the_next_segment_is_there_before_it_is_needed(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size = 0;
    log_test_set_up(&fixture);
    for (uint64_t index = 1; index <= 15; index++) {
        log_test_append_durably(&fixture, index, 1, 100);
    }
    assert_non_null(fake_disk_bytes(fixture.fake, SEGMENT_2_NAME, &size));
    assert_int_equal(size, 4096);
    log_test_tear_down(&fixture);
}

/* A write never grows a file, nor goes where no zeros were written and synced before: either would cost the file system a
 * journal commit at its sync. Here a slice of zeros takes as long as a write, which is slow. */
static void a_write_goes_only_where_zeros_are(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    fixture.options.segment_bytes = (uint64_t)1024 * 1024;
    assert_true(log_test_open(&fixture));
    unsigned switches = 0;
    for (uint64_t index = 1; index <= 500; index++) {
        const struct log_segment *current = fixture.log->current;
        uint64_t zeroed = fixture.log->prepare.zeroed;
        log_test_append(&fixture, index, 1, 10000);
        log_flush(fixture.log);
        while (fixture.durable < index) {
            assert_true(fake_disk_run(fixture.fake, DISK_LANE_LOG)); /* or it waits for the other lane */
        }
        if (fixture.log->current != current) {
            assert_int_equal(zeroed, fixture.options.segment_bytes);
            switches++;
        }
        assert_int_equal(fixture.log->current->size, fixture.options.segment_bytes);
        (void)fake_disk_run(fixture.fake, DISK_LANE_SNAPSHOT);
    }
    assert_in_range(switches, 4, 5);
    fake_disk_run_all(fixture.fake);
    log_test_tear_down(&fixture);
}

static void read_back(void *ctx, struct log_entry **entries, size_t count)
{
    size_t *ret_count = ctx;
    *ret_count = count;
    for (size_t i = 0; i < count; i++) {
        log_entry_unref(entries[i]);
    }
}

/* The settings allow a log of thousands of segments, and a full disk one of more: the current one, the one that is prepared
 * and the watermark are all that it keeps open. */
static void the_number_of_segments_needs_no_descriptors(void **state)
{
    (void)state;
    struct fixture fixture = log_test_make();
    size_t count = 0;
    fixture.options.cache_bytes = 1;
    assert_true(log_test_open(&fixture));
    for (uint64_t index = 1; index <= 100; index++) {
        log_test_append_durably(&fixture, index, 1, 1800); /* Two to a segment. */
        assert_true(fake_disk_open_files(fixture.fake) <= 3);
    }
    assert_true(fake_disk_files(fixture.fake, "log") > 50);
    assert_true(log_test_restart(&fixture, FAKE_POWER));
    assert_true(fake_disk_open_files(fixture.fake) <= 2);
    log_release(fixture.log, 100);
    assert_null(log_get(fixture.log, 1));
    log_read(fixture.log, 1, 9, 1 << 20, read_back, &count);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(count, 9);
    assert_true(fake_disk_open_files(fixture.fake) <= 3);
    log_test_tear_down(&fixture);
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
        cmocka_unit_test(any_call_may_fail_and_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_full_disk_is_told_when_the_next_segment_can_not_be_had),
        cmocka_unit_test(space_that_comes_back_in_time_is_used),
        cmocka_unit_test(the_next_segment_is_there_before_it_is_needed),
        cmocka_unit_test(a_write_goes_only_where_zeros_are),
        cmocka_unit_test(the_number_of_segments_needs_no_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
