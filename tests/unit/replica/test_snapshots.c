/* Snapshots are whole or not there; the newest one survives; what is read stays. */
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
#include "node/replica/snapshots.h"

enum { BODY_BYTES = 700 * 1000, CLUSTER = 9 };

struct fixture {
    struct fake_disk *fake;
    struct snapshots *snapshots;
    char message[512];
    unsigned failures, dones;
    int error;
    bool ok;
};

static void open_store(struct fixture *fixture)
{
    fixture->snapshots =
        snapshots_open(fake_disk_seam(fixture->fake), CLUSTER, fixture->message, sizeof fixture->message);
}

static void set_up(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->fake = fake_disk_create(1);
    open_store(fixture);
    assert_non_null(fixture->snapshots);
}

static void tear_down(struct fixture *fixture)
{
    fake_disk_run_all(fixture->fake);
    if (fixture->snapshots != NULL) {
        assert_true(snapshots_idle(fixture->snapshots));
    }
    snapshots_close(fixture->snapshots);
    fake_disk_free(fixture->fake);
}

static void restart(struct fixture *fixture, enum fake_end end)
{
    fake_disk_end(fixture->fake, end);
    fake_disk_run_all(fixture->fake);
    snapshots_close(fixture->snapshots);
    fake_disk_boot(fixture->fake);
    open_store(fixture);
}

static void on_failed(void *ctx, int error, const char *message)
{
    struct fixture *fixture = ctx;
    fixture->failures++;
    fixture->error = error;
    (void)snprintf(fixture->message, sizeof fixture->message, "%s", message);
}

static void on_done(void *ctx, bool ok)
{
    struct fixture *fixture = ctx;
    if (!fake_disk_is_off(fixture->fake)) {
        fixture->dones++;
        fixture->ok = ok;
    }
}

static uint8_t body_byte(uint64_t index, size_t at)
{
    return (uint8_t)(index * 31 + at * 7 + (at >> 9));
}

static struct snapshot_writer *begin(struct fixture *fixture, uint64_t index)
{
    struct snapshot_info *info = calloc(1, sizeof *info);
    info->index = index;
    info->term = index / 10;
    info->configuration_index = index - 1;
    info->configuration_size = 300;
    memset(info->configuration, (int)index, info->configuration_size);
    struct snapshot_writer *writer = snapshot_writer_begin(fixture->snapshots, info, on_failed, fixture);
    free(info);
    return writer;
}

static void add(struct snapshot_writer *writer, uint64_t index, size_t from, size_t to)
{
    uint8_t *data = malloc(to - from);
    for (size_t at = from; at < to; at++) {
        data[at - from] = body_byte(index, at);
    }
    (void)snapshot_writer_add(writer, data, to - from);
    free(data);
}

static void write_body(struct fixture *fixture, uint64_t index, size_t bytes)
{
    struct snapshot_writer *writer = begin(fixture, index);
    for (size_t at = 0; at < bytes; at += 90000) {
        add(writer, index, at, at + 90000 < bytes ? at + 90000 : bytes);
        (void)fake_disk_run_any(fixture->fake);
    }
    snapshot_writer_finish(writer, NULL, on_done, fixture);
    fake_disk_run_all(fixture->fake);
    if (fixture->failures > 0 && fixture->dones == 0) {
        snapshot_writer_abandon(writer);
        fake_disk_run_all(fixture->fake);
    }
}

static void write_one(struct fixture *fixture, uint64_t index, size_t bytes)
{
    unsigned dones = fixture->dones;
    write_body(fixture, index, bytes);
    assert_int_equal(fixture->dones, dones + 1);
    assert_true(fixture->ok);
}

struct feeding {
    uint64_t index;
    size_t at, stop;
};

static bool feed(void *ctx, const void *data, size_t size)
{
    struct feeding *feeding = ctx;
    for (size_t i = 0; i < size; i++) {
        if (((const uint8_t *)data)[i] != body_byte(feeding->index, feeding->at + i)) {
            fail_msg("byte %zu differs", feeding->at + i);
        }
    }
    feeding->at += size;
    return feeding->stop == 0 || feeding->at < feeding->stop;
}

static void assert_newest(struct fixture *fixture, uint64_t index, size_t bytes)
{
    const struct snapshot_info *info = snapshots_newest(fixture->snapshots);
    struct feeding feeding = {.index = index};
    char message[256] = "";
    assert_non_null(info);
    assert_int_equal(info->index, index);
    assert_int_equal(info->term, index / 10);
    assert_int_equal(info->configuration_index, index - 1);
    assert_int_equal(info->configuration_size, 300);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(info->configuration[i], (uint8_t)index);
    }
    assert_int_equal(info->body_bytes, bytes);
    if (!snapshots_load(fixture->snapshots, feed, &feeding, message, sizeof message)) {
        fail_msg("%s", message);
    }
    assert_int_equal(feeding.at, bytes);
}

/* ---- writing ---- */

static void a_snapshot_is_the_newest_when_it_is_done_and_after_a_restart(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    assert_null(snapshots_newest(fixture.snapshots));
    assert_null(snapshot_reader_begin(fixture.snapshots));
    write_one(&fixture, 50, BODY_BYTES);
    assert_newest(&fixture, 50, BODY_BYTES);
    restart(&fixture, FAKE_POWER);
    assert_newest(&fixture, 50, BODY_BYTES);
    write_one(&fixture, 60, 0);
    assert_newest(&fixture, 60, 0);
    restart(&fixture, FAKE_POWER);
    assert_newest(&fixture, 60, 0);
    tear_down(&fixture);
}

static void two_are_kept(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    for (uint64_t index = 10; index <= 50; index += 10) {
        write_one(&fixture, index, 1000);
        assert_true(fake_disk_files(fixture.fake, "snapshot") <= 2);
    }
    assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 2);
    restart(&fixture, FAKE_POWER);
    assert_newest(&fixture, 50, 1000);
    tear_down(&fixture);
}

static void an_abandoned_one_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned run = 0; run < 6; run++) {
        struct fixture fixture;
        set_up(&fixture);
        struct snapshot_writer *writer = begin(&fixture, 70);
        add(writer, 70, 0, 600000);
        for (unsigned i = 0; i < run; i++) {
            (void)fake_disk_run_any(fixture.fake);
        }
        snapshot_writer_abandon(writer);
        write_one(&fixture, 70, 1000); /* At once, and of the same name. */
        assert_newest(&fixture, 70, 1000);
        assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 1);
        assert_int_equal(fixture.failures, 0);
        tear_down(&fixture);
    }
}

static void one_with_another_digest_than_promised_is_dropped(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 50, 1000);
    uint8_t digest[16];
    memcpy(digest, snapshots_newest(fixture.snapshots)->body_digest, sizeof digest);
    struct snapshot_writer *writer = begin(&fixture, 60);
    add(writer, 50, 0, 1000);
    snapshot_writer_finish(writer, digest, on_done, &fixture);
    fake_disk_run_all(fixture.fake);
    assert_true(fixture.ok);
    writer = begin(&fixture, 70);
    add(writer, 70, 0, 1000);
    snapshot_writer_finish(writer, digest, on_done, &fixture);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fixture.dones, 3);
    assert_false(fixture.ok);
    assert_int_equal(snapshots_newest(fixture.snapshots)->index, 60);
    assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 2);
    tear_down(&fixture);
}

static void the_backlog_drains_without_further_bytes(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct snapshot_writer *writer = begin(&fixture, 50);
    add(writer, 50, 0, 1000);
    assert_int_equal(snapshot_writer_backlog(writer), 1000);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(snapshot_writer_backlog(writer), 0);
    snapshot_writer_abandon(writer);
    tear_down(&fixture);
}

static void a_crash_at_any_moment_leaves_the_old_or_the_new_one(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 30, 1000);
    unsigned before = fake_disk_calls(fixture.fake);
    write_one(&fixture, 50, BODY_BYTES);
    unsigned calls = fake_disk_calls(fixture.fake) - before;
    tear_down(&fixture);
    assert_true(calls > 8);
    for (unsigned run = 0; run < calls * 8; run++) {
        set_up(&fixture);
        write_one(&fixture, 20, 1000);
        write_one(&fixture, 30, 1000);
        enum fake_end end = run % 2 == 0 ? FAKE_POWER : FAKE_KILL;
        fake_disk_end_at(fixture.fake, fake_disk_calls(fixture.fake) + 1 + run / 8, end);
        write_body(&fixture, 50, BODY_BYTES);
        bool done = fixture.dones == 3;
        restart(&fixture, end);
        assert_non_null(fixture.snapshots);
        assert_string_equal(fixture.message, "");
        uint64_t index = snapshots_newest(fixture.snapshots)->index;
        assert_true(index == 50 || (index == 30 && !done));
        assert_newest(&fixture, index, index == 50 ? BODY_BYTES : 1000);
        restart(&fixture, FAKE_POWER); /* What was seen once stays. */
        assert_newest(&fixture, index, index == 50 ? BODY_BYTES : 1000);
        write_one(&fixture, 60, 100);
        assert_newest(&fixture, 60, 100);
        tear_down(&fixture);
    }
}

static void any_call_may_fail_and_is_told_once(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    unsigned before = fake_disk_calls(fixture.fake);
    write_one(&fixture, 30, BODY_BYTES);
    unsigned calls = fake_disk_calls(fixture.fake) - before;
    tear_down(&fixture);
    for (unsigned call = 1; call <= calls; call++) {
        set_up(&fixture);
        fake_disk_fail_at(fixture.fake, fake_disk_calls(fixture.fake) + call, call % 2 == 0 ? EIO : ENOSPC);
        write_body(&fixture, 30, BODY_BYTES);
        assert_true(fake_disk_has_failed(fixture.fake));
        assert_int_equal(fixture.failures, 1);
        assert_int_equal(fixture.dones, 0);
        assert_int_equal(fixture.error, call % 2 == 0 ? -EIO : -ENOSPC);
        assert_non_null(strstr(fixture.message, "snapshot/"));
        assert_null(snapshots_newest(fixture.snapshots));
        fixture.failures = 0;
        write_one(&fixture, 40, BODY_BYTES);
        assert_newest(&fixture, 40, BODY_BYTES);
        restart(&fixture, FAKE_POWER);
        assert_newest(&fixture, 40, BODY_BYTES);
        tear_down(&fixture);
    }
}

static void a_full_disk_is_told_and_the_store_goes_on(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 30, 1000);
    fake_disk_limit(fixture.fake, fake_disk_used(fixture.fake) + 400 * 1000);
    fixture.dones = 0;
    write_body(&fixture, 50, BODY_BYTES);
    assert_int_equal(fixture.failures, 1);
    assert_int_equal(fixture.error, -ENOSPC);
    assert_non_null(strstr(fixture.message, "disk full"));
    assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 1); /* The part is gone: its space is free. */
    assert_newest(&fixture, 30, 1000);
    fixture.failures = 0;
    write_one(&fixture, 60, 1000);
    tear_down(&fixture);
}

/* ---- opening ---- */

static void rot_in_any_byte_is_noticed_and_the_older_one_offered(void **state)
{
    (void)state;
    static const char newest[] = "snapshot/00000000000000000040-00000000000000000004.snap";
    struct fixture fixture;
    size_t size = 0;
    set_up(&fixture);
    write_one(&fixture, 30, 500);
    write_one(&fixture, 40, 500);
    assert_non_null(fake_disk_bytes(fixture.fake, newest, &size));
    assert_int_equal(size, 64 + 300 + 8 + 500 + 32);
    for (size_t at = 0; at < size; at++) {
        struct fixture copy = {.fake = fake_disk_copy(fixture.fake)};
        fake_disk_bytes(copy.fake, newest, &size)[at] ^= (uint8_t)(1U << (at % 8));
        open_store(&copy);
        assert_non_null(copy.snapshots);
        assert_non_null(strstr(copy.message, newest));
        assert_newest(&copy, 30, 500);
        if (at % 100 == 0) { /* A newer one takes its place. */
            write_one(&copy, 50, 500);
            write_one(&copy, 60, 500);
            assert_int_equal(fake_disk_files(copy.fake, "snapshot"), 2);
        }
        tear_down(&copy);
    }
    assert_true(fake_disk_remove(fixture.fake, "snapshot/00000000000000000030-00000000000000000003.snap"));
    fake_disk_bytes(fixture.fake, newest, &size)[400] ^= 1;
    snapshots_close(fixture.snapshots);
    open_store(&fixture);
    assert_null(fixture.snapshots);
    assert_non_null(strstr(fixture.message, newest));
    tear_down(&fixture);
}

static void one_of_another_cluster_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 30, 500);
    snapshots_close(fixture.snapshots);
    fixture.snapshots =
        snapshots_open(fake_disk_seam(fixture.fake), CLUSTER + 1, fixture.message, sizeof fixture.message);
    assert_null(fixture.snapshots);
    assert_non_null(strstr(fixture.message, "another cluster"));
    tear_down(&fixture);
}

static void loading_stops_when_it_is_told_to(void **state)
{
    (void)state;
    struct fixture fixture;
    struct feeding feeding = {.index = 30, .stop = 1};
    char message[256] = "";
    set_up(&fixture);
    write_one(&fixture, 30, BODY_BYTES);
    assert_false(snapshots_load(fixture.snapshots, feed, &feeding, message, sizeof message));
    assert_non_null(strstr(message, "refused"));
    assert_true(feeding.at < BODY_BYTES);
    tear_down(&fixture);
}

/* ---- reading ---- */

struct reading {
    struct snapshot_reader *reader;
    struct feeding feeding;
    bool ended;
    int error;
    unsigned calls;
};

static void on_chunk(void *ctx, const void *data, size_t size, int error)
{
    struct reading *reading = ctx;
    reading->calls++;
    reading->error = error;
    reading->ended = size == 0;
    if (size > 0) {
        assert_true(size <= SNAPSHOT_CHUNK_BYTES_MAX);
        snapshot_reader_next(reading->reader, on_chunk, reading); /* Before the bytes are looked at. */
        (void)feed(&reading->feeding, data, size);
    }
}

static void a_reader_gets_all_bytes_and_keeps_its_file(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 30, BODY_BYTES);
    struct reading reading = {.reader = snapshot_reader_begin(fixture.snapshots), .feeding = {.index = 30}};
    write_one(&fixture, 40, 1000);
    write_one(&fixture, 50, 1000);
    assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 3);
    assert_int_equal(snapshot_reader_info(reading.reader)->index, 30);
    assert_int_equal(snapshot_reader_info(reading.reader)->body_bytes, BODY_BYTES);
    snapshot_reader_next(reading.reader, on_chunk, &reading);
    fake_disk_run_all(fixture.fake);
    assert_true(reading.ended);
    assert_int_equal(reading.error, 0);
    assert_int_equal(reading.feeding.at, BODY_BYTES);
    snapshot_reader_end(reading.reader);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(fake_disk_files(fixture.fake, "snapshot"), 2);
    tear_down(&fixture);
}

static void a_reader_that_ended_is_not_called_back(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    write_one(&fixture, 30, BODY_BYTES);
    struct reading reading = {.reader = snapshot_reader_begin(fixture.snapshots)};
    snapshot_reader_next(reading.reader, on_chunk, &reading);
    snapshot_reader_end(reading.reader);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(reading.calls, 0);
    tear_down(&fixture);
}

static void a_reader_reports_rot(void **state)
{
    (void)state;
    struct fixture fixture;
    size_t size;
    set_up(&fixture);
    write_one(&fixture, 30, BODY_BYTES);
    fake_disk_bytes(fixture.fake, "snapshot/00000000000000000030-00000000000000000003.snap", &size)[600000] ^=
        4;
    struct reading reading = {.reader = snapshot_reader_begin(fixture.snapshots), .feeding = {.index = 30}};
    snapshot_reader_next(reading.reader, on_chunk, &reading);
    fake_disk_run_all(fixture.fake);
    assert_int_equal(reading.error, -EBADMSG);
    assert_true(reading.feeding.at < BODY_BYTES);
    snapshot_reader_end(reading.reader);
    tear_down(&fixture);
}

static void closing_waits_for_jobs_to_free_its_memory(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    struct snapshot_writer *writer = begin(&fixture, 30);
    add(writer, 30, 0, 1000);
    snapshot_writer_abandon(writer);
    snapshots_close(fixture.snapshots);
    fixture.snapshots = NULL;
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_is_the_newest_when_it_is_done_and_after_a_restart),
        cmocka_unit_test(two_are_kept),
        cmocka_unit_test(an_abandoned_one_leaves_nothing),
        cmocka_unit_test(one_with_another_digest_than_promised_is_dropped),
        cmocka_unit_test(the_backlog_drains_without_further_bytes),
        cmocka_unit_test(a_crash_at_any_moment_leaves_the_old_or_the_new_one),
        cmocka_unit_test(any_call_may_fail_and_is_told_once),
        cmocka_unit_test(a_full_disk_is_told_and_the_store_goes_on),
        cmocka_unit_test(rot_in_any_byte_is_noticed_and_the_older_one_offered),
        cmocka_unit_test(one_of_another_cluster_is_refused),
        cmocka_unit_test(loading_stops_when_it_is_told_to),
        cmocka_unit_test(a_reader_gets_all_bytes_and_keeps_its_file),
        cmocka_unit_test(a_reader_that_ended_is_not_called_back),
        cmocka_unit_test(a_reader_reports_rot),
        cmocka_unit_test(closing_waits_for_jobs_to_free_its_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
