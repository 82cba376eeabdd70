/* The client's clock: whatever a time daemon does to the kernel's, and however long the machine sleeps, no step is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "client/steady_clock.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)

static void it_begins_with_the_time_since_the_machines_start(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    assert_int_equal(steady_clock_advance(&clock, 5 * S + MS - 1, 3 * S).ms, 5000);
    assert_int_equal(steady_clock_advance(&clock, 5 * S + MS, 3 * S + 1).ms, 5001);
}

static void a_daemon_does_not_slow_it(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 9200 * MS, 80 * S).ms, 60000);
    /* Faster again, to make up for it: what was slow before does not count against that. */
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 20 * S, 90 * S).ms, 70800);
}

static void the_machines_sleep_counts(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    assert_int_equal(steady_clock_advance(&clock, 3650 * S, 70 * S + MS).ms, 3650000);
    assert_int_equal(steady_clock_advance(&clock, 3651 * S, 71 * S).ms, 3651000);
}

/* They do not; but if one did, the other would count, and nothing twice. */
static void a_clock_that_went_back_would_stand(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    assert_int_equal(steady_clock_advance(&clock, 49 * S, 70 * S).ms, 50000);
    assert_int_equal(steady_clock_advance(&clock, 51 * S, 69 * S).ms, 51000);
    assert_int_equal(steady_clock_advance(&clock, 51 * S, 71 * S).ms, 52000);
}

static void a_sleep_is_told_in_the_clock_that_wakes(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    (void)steady_clock_advance(&clock, 59 * S, 80 * S); /* 60 s by now */
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){61500}), 60 * S + 500 * MS);
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){60000}), 59 * S);
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){7}), 59 * S);
    assert_true(steady_clock_boot_ns(&clock, (struct boot_time){UINT64_MAX - 1}) == INT64_MAX);
}

static void it_reads_both_clocks(void **state)
{
    struct steady_clock clock = {0};
    struct timespec boot, raw;
    (void)state;
    uint64_t first_ms = steady_clock_read(&clock).ms;
    (void)clock_gettime(CLOCK_BOOTTIME, &boot);
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &raw);
    uint64_t again_ms = steady_clock_read(&clock).ms;
    assert_true(first_ms <= (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / MS);
    assert_true(again_ms >= first_ms);
    assert_true(clock.boot_ns >= (uint64_t)boot.tv_sec * S + (uint64_t)boot.tv_nsec);
    assert_true(clock.raw_ns >= (uint64_t)raw.tv_sec * S + (uint64_t)raw.tv_nsec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_with_the_time_since_the_machines_start),
        cmocka_unit_test(a_daemon_does_not_slow_it),
        cmocka_unit_test(the_machines_sleep_counts),
        cmocka_unit_test(a_clock_that_went_back_would_stand),
        cmocka_unit_test(a_sleep_is_told_in_the_clock_that_wakes),
        cmocka_unit_test(it_reads_both_clocks),
    };
    return cmocka_run_group_tests_name("client: steady clock", tests, NULL, NULL);
}
