/* A log on the fake disk: opening, appending, ending and starting again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "log_fixture.h"

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

bool log_test_open(struct fixture *fixture)
{
    struct log_callbacks callbacks = {.durable = on_durable, .failed = on_failed, .ctx = fixture};
    fixture->message[0] = 0;
    fixture->log =
        log_open(fake_disk_seam(fixture->fake), &fixture->options, &callbacks, fixture->first_if_empty, 0,
                 fixture->snapshot_index, fixture->message, sizeof fixture->message);
    assert_true(fixture->log != NULL || fixture->message[0] != 0);
    if (fixture->log == NULL) {
        return false;
    }
    assert_true(log_idle(fixture->log));
    log_clean(fixture->log);
    return true;
}

struct fixture log_test_make(void)
{
    struct fixture fixture = {
        .fake = fake_disk_create(1),
        .options = {.segment_bytes = 4096, .cache_bytes = 1024 * 1024, .node_id = 3, .cluster_id = 9},
        .first_if_empty = 1,
    };
    return fixture;
}

void log_test_set_up(struct fixture *fixture)
{
    *fixture = log_test_make();
    assert_true(log_test_open(fixture));
}

void log_test_close(struct fixture *fixture)
{
    log_close(fixture->log);
    fixture->log = NULL;
}

void log_test_tear_down(struct fixture *fixture)
{
    fake_disk_run_all(fixture->fake);
    log_test_close(fixture);
    fake_disk_free(fixture->fake);
}

bool log_test_restart(struct fixture *fixture, enum fake_end end)
{
    fake_disk_end(fixture->fake, end);
    fake_disk_run_all(fixture->fake);
    log_test_close(fixture);
    fake_disk_boot(fixture->fake);
    return log_test_open(fixture);
}

void log_test_append(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    struct log_entry *entry = log_entry_create(index, term, LOG_COMMAND, size);
    memset(entry->data, (int)(index * 7 + term), size);
    log_append(fixture->log, &entry, 1);
    log_entry_unref(entry);
}

void log_test_append_durably(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    log_test_append(fixture, index, term, size);
    log_flush(fixture->log);
    fake_disk_run_all(fixture->fake);
    assert_int_equal(fixture->durable, index);
}

void log_test_check_entry(struct fixture *fixture, uint64_t index, uint64_t term, size_t size)
{
    const struct log_entry *entry = log_get(fixture->log, index);
    assert_non_null(entry);
    assert_int_equal(entry->term, term);
    assert_int_equal(entry->size, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(entry->data[i], (uint8_t)(index * 7 + term));
    }
}

void log_test_assert_says(const char *message, const char *expected)
{
    if (strstr(message, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", message, expected);
    }
}

void log_test_refused(struct fake_disk *copy, const struct fixture *like, const char *expected)
{
    struct fixture fixture = *like;
    fixture.fake = copy;
    if (log_test_open(&fixture)) {
        fail_msg("opened with entries %llu..%llu, expected \"%s\"",
                 (unsigned long long)log_first_index(fixture.log),
                 (unsigned long long)log_last_index(fixture.log), expected);
    }
    log_test_assert_says(fixture.message, expected);
    fake_disk_free(copy);
}
