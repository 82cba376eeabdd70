/* The local deadline: never after the cluster's, however late replies are and whatever the clocks' speeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/backoff.h"
#include "client/lease.h"

static uint64_t seed = 1;

static uint64_t draw(uint64_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % bound;
}

static void a_deadline_counts_from_before_the_first_sending(void **state)
{
    (void)state;
    struct lease_clock clock = {0};
    assert_int_equal(lease_clock_local(&clock, (struct cluster_time){9000}).ms, 0); /* without a sample nothing is certain */
    lease_clock_sample(&clock, (struct boot_time){100}, (struct cluster_time){5000});
    assert_int_equal(lease_clock_local(&clock, (struct cluster_time){8000}).ms, 100 + 3000 - 5);
}

static void drift_makes_a_deadline_earlier_in_proportion(void **state)
{
    (void)state;
    struct lease_clock clock = {.drift_ppm = 10000};
    lease_clock_sample(&clock, (struct boot_time){100}, (struct cluster_time){5000});
    assert_int_equal(lease_clock_local(&clock, (struct cluster_time){8000}).ms, 100 + 3000 - 30 - 5);
}

static void a_late_sample_does_not_replace_a_good_one(void **state)
{
    (void)state;
    struct lease_clock clock = {0};
    lease_clock_sample(&clock, (struct boot_time){100}, (struct cluster_time){5000});
    /* An acquire of local time 200 that was granted a minute later. */
    lease_clock_sample(&clock, (struct boot_time){200}, (struct cluster_time){65100});
    assert_int_equal(clock.sent.ms, 100);
    lease_clock_sample(&clock, (struct boot_time){60000}, (struct cluster_time){64901});
    assert_int_equal(clock.sent.ms, 100);
    lease_clock_sample(&clock, (struct boot_time){60000}, (struct cluster_time){64899});
    assert_int_equal(clock.sent.ms, 60000);
}

/* A broken node's time, close to the end of all numbers, must not pass for an early one. */
static void a_sample_that_overflows_is_no_better(void **state)
{
    (void)state;
    struct lease_clock clock = {0};
    lease_clock_sample(&clock, (struct boot_time){100}, (struct cluster_time){5000});
    lease_clock_sample(&clock, (struct boot_time){50}, (struct cluster_time){UINT64_MAX - 10});
    assert_int_equal(clock.shown.ms, 5000);
}

static void a_lease_shorter_than_its_margin_is_never_certain(void **state)
{
    (void)state;
    struct lease_clock clock = {0};
    assert_int_equal(lease_from(&clock, (struct boot_time){77}, 3).ms, 77);
}

/* The cluster clock as it is: at most real time times (1 + drift), standing still now and then. */
struct cluster {
    double time;
    double speed;
};

static void run_cluster(struct cluster *cluster, uint64_t ms)
{
    bool leaderless = draw(8) == 0;
    cluster->time += leaderless ? 0 : (double)ms * cluster->speed;
}

static void no_local_deadline_is_after_the_clusters(void **state)
{
    (void)state;
    const char *given = getenv("LOCKSTEP_SEED");
    seed = given == NULL ? 20260801 : strtoull(given, NULL, 10) | 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int run = 0; run < 2000; run++) {
        uint32_t drift_ppm = (uint32_t)draw(50000);
        struct cluster cluster = {.time = (double)draw(1000000), .speed = 1.0 + (double)draw(drift_ppm + 1) / 1e6};
        struct lease_clock clock = {.drift_ppm = drift_ppm};
        uint64_t now = 1000 + draw(100000);
        uint64_t deadline = 0;
        for (int i = 0; i < 40; i++) {
            uint64_t sent = now;
            uint64_t delay = draw(5) == 0 ? draw(20000) : draw(20);
            run_cluster(&cluster, delay);
            now += delay;
            struct cluster_time executed = {(uint64_t)cluster.time}; /* rounded down, as a leader's clock is */
            deadline = executed.ms + 100 + draw(20000);
            uint64_t way_back = draw(5) == 0 ? draw(5000) : draw(20);
            run_cluster(&cluster, way_back);
            now += way_back;
            lease_clock_sample(&clock, (struct boot_time){sent}, executed);
            uint64_t local = lease_clock_local(&clock, (struct cluster_time){deadline}).ms;
            /* At the local deadline the cluster's clock, at full speed from now on, has not reached the deadline. */
            double then = cluster.time + (local > now ? (double)(local - now) * cluster.speed : 0);
            if (local > now && then > (double)deadline) {
                fail_msg("seed run %d: the cluster is at %f when the holder still trusts a lease to %llu", run, then,
                         (unsigned long long)deadline);
            }
            uint64_t pause = draw(3000);
            run_cluster(&cluster, pause);
            now += pause;
        }
    }
}

static void backoff_grows_to_its_bound_and_spreads(void **state)
{
    (void)state;
    uint64_t smallest = UINT64_MAX;
    uint64_t greatest = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t ms = backoff_ms(20, draw(UINT64_MAX));
        smallest = ms < smallest ? ms : smallest;
        greatest = ms > greatest ? ms : greatest;
        assert_true(backoff_ms(0, draw(UINT64_MAX)) < BACKOFF_FIRST_MS);
        assert_in_range(backoff_ms(2, draw(UINT64_MAX)), BACKOFF_FIRST_MS, BACKOFF_FIRST_MS * 2);
    }
    assert_in_range(smallest, BACKOFF_MAX_MS / 2, BACKOFF_MAX_MS / 2 + 20);
    assert_in_range(greatest, BACKOFF_MAX_MS - 20, BACKOFF_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_counts_from_before_the_first_sending),
        cmocka_unit_test(drift_makes_a_deadline_earlier_in_proportion),
        cmocka_unit_test(a_late_sample_does_not_replace_a_good_one),
        cmocka_unit_test(a_sample_that_overflows_is_no_better),
        cmocka_unit_test(a_lease_shorter_than_its_margin_is_never_certain),
        cmocka_unit_test(no_local_deadline_is_after_the_clusters),
        cmocka_unit_test(backoff_grows_to_its_bound_and_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
