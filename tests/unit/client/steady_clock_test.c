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
#define S  (1000 * MS)

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

/* Nobody asks for the time for five seconds. All the while a daemon slows two of the kernel's clocks by a twelfth, and for three
 * seconds the machine sleeps: neither of those that are not stopped by the one is right about the other. */
static void a_sleep_beside_a_daemon_counts_whole(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, steady_clock_uncorrected_ns(50 * S, 40 * S, 70 * S));
    uint64_t corrected_ns = 5 * S * 11 / 12;
    uint64_t boot_ns = 50 * S + corrected_ns + 3 * S;
    uint64_t uncorrected_ns = steady_clock_uncorrected_ns(boot_ns, 40 * S + corrected_ns, 75 * S);
    assert_int_equal(steady_clock_advance(&clock, boot_ns, uncorrected_ns).ms, 58000);
}

/* The second was read late, so that it is ahead of the first. */
static void a_machine_that_never_slept_has_slept_for_no_time(void **state)
{
    (void)state;
    assert_int_equal(steady_clock_uncorrected_ns(50 * S, 50 * S + 40, 70 * S), 70 * S);
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

/* Who asks all the time: the reading of the second clock is now sooner, now later behind that of the first. */
static void what_lies_between_the_two_readings_does_not_add_up(void **state)
{
    struct steady_clock clock = {0};
    struct boot_time now = {0};
    (void)state;
    for (uint64_t at_ns = 0; at_ns <= S; at_ns += 400) {
        now = steady_clock_advance(&clock, 50 * S + at_ns, 70 * S + at_ns + at_ns % 3 * 20);
    }
    assert_in_range(now.ms, 51000, 51001);
}

/* And in between it shows what has passed of a step, and goes back with neither clock. */
static void a_step_is_told_while_it_lasts(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 2 * MS, 70 * S + 3 * MS).ms, 50003);
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 2 * MS, 70 * S + 2 * MS).ms, 50003);
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 9 * MS, 70 * S + 10 * MS).ms, 50010);
    assert_int_equal(steady_clock_advance(&clock, 50 * S + 11 * MS, 70 * S + 11 * MS).ms, 50012);
}

static void a_sleep_is_told_in_the_clock_that_wakes(void **state)
{
    struct steady_clock clock = {0};
    (void)state;
    (void)steady_clock_advance(&clock, 50 * S, 70 * S);
    (void)steady_clock_advance(&clock, 59 * S, 80 * S); /* 60 s by now */
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){60050}), 59 * S + 50 * MS);
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){60000}), 59 * S);
    assert_int_equal(steady_clock_boot_ns(&clock, (struct boot_time){7}), 59 * S);
    assert_true(steady_clock_boot_ns(&clock, (struct boot_time){UINT64_MAX - 1}) == INT64_MAX);
}

/* Its daemon begins after the sleep has begun. */
static void no_sleep_is_too_long_by_what_a_daemon_slows(void **state)
{
    const struct boot_time until = {50000 + 19000};
    struct steady_clock clock = {0};
    uint64_t boot_ns = 50 * S, raw_ns = 70 * S;
    unsigned wakes = 0;
    (void)state;
    while (steady_clock_advance(&clock, boot_ns, raw_ns).ms < until.ms) {
        uint64_t wakes_ns = steady_clock_boot_ns(&clock, until);
        assert_true(wakes_ns > boot_ns);
        raw_ns += (wakes_ns - boot_ns) * 10 / 9;
        boot_ns = wakes_ns;
        wakes++;
    }
    assert_true(raw_ns - 70 * S >= 19000 * MS - 1);
    assert_true(raw_ns - 70 * S <= 19006 * MS);
    assert_true(wakes <= 2);

    wakes = 0;
    for (clock = (struct steady_clock){0};
         steady_clock_advance(&clock, boot_ns, raw_ns).ms < until.ms + 20000; wakes++) {
        uint64_t wakes_ns = steady_clock_boot_ns(&clock, (struct boot_time){until.ms + 20000});
        raw_ns += wakes_ns - boot_ns;
        boot_ns = wakes_ns;
    }
    assert_true(wakes <= 4); /* without a daemon: few are for nothing */
}

static void it_reads_the_clocks(void **state)
{
    struct steady_clock clock = {0}, later = {0};
    struct timespec boot, raw;
    (void)state;
    uint64_t first_ms = steady_clock_read(&clock).ms;
    (void)clock_gettime(CLOCK_BOOTTIME, &boot);
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &raw);
    uint64_t again_ms = steady_clock_read(&clock).ms;
    assert_true(first_ms <= (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / MS);
    assert_true(again_ms >= first_ms);
    (void)steady_clock_read(&later);
    assert_true(later.boot_ns >= (uint64_t)boot.tv_sec * S + (uint64_t)boot.tv_nsec);
    assert_true(later.raw_ns >= (uint64_t)raw.tv_sec * S + (uint64_t)raw.tv_nsec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_with_the_time_since_the_machines_start),
        cmocka_unit_test(a_daemon_does_not_slow_it),
        cmocka_unit_test(the_machines_sleep_counts),
        cmocka_unit_test(a_sleep_beside_a_daemon_counts_whole),
        cmocka_unit_test(a_machine_that_never_slept_has_slept_for_no_time),
        cmocka_unit_test(a_clock_that_went_back_would_stand),
        cmocka_unit_test(what_lies_between_the_two_readings_does_not_add_up),
        cmocka_unit_test(a_step_is_told_while_it_lasts),
        cmocka_unit_test(a_sleep_is_told_in_the_clock_that_wakes),
        cmocka_unit_test(no_sleep_is_too_long_by_what_a_daemon_slows),
        cmocka_unit_test(it_reads_the_clocks),
    };
    return cmocka_run_group_tests_name("client: steady clock", tests, NULL, NULL);
}
