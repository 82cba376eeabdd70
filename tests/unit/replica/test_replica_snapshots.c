/* Snapshots that can not be had at once: no space for them, a follower for whom they come too fast, and what must not be older than
 * they; one story per test, in virtual time (cluster.h lists what is checked besides). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"

static uint64_t seed = 1;

static struct cluster_options with_snapshots(void)
{
    struct cluster_options options = cluster_options(3, seed);
    options.snapshot_after_bytes = 60000;
    options.trailing_bytes = 20000;
    options.segment_bytes = 32 * 1024;
    options.image_bytes = 600000;
    return options;
}

/* ---- a full disk ---- */

/* What was applied is still to be covered: the next attempt comes after a minute, and does not wait for as much again. */
static void a_snapshot_that_found_no_space_stays_due(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots());
    for (unsigned i = 0; i < 3; i++) {
        simulated_disk_full(cluster->nodes[i].disk, "snapshot/");
    }
    while (cluster_status(cluster, 0).applied_index * 2000 < 70000) {
        cluster_command(cluster, 2000);
    }
    cluster_run(cluster, 1000);
    for (unsigned i = 0; i < 3; i++) {
        simulated_disk_full(cluster->nodes[i].disk, NULL);
    }
    cluster_run(cluster, 58000);
    assert_int_equal(cluster_status(cluster, 0).snapshot_index, 0);
    cluster_run(cluster, 4000);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(cluster_status(cluster, i).snapshot_index > 0);
    }
    cluster_free(cluster);
}

/* ---- a follower for whom they come too fast ---- */

static unsigned absent;

/* It was sent a snapshot, and has what the leader had a moment ago, which goes on. */
static bool absent_keeps_up(struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    return leader >= 0 && cluster->nodes[absent].snapshots_restored > 0 &&
           cluster_status(cluster, absent).applied_index + 200 > cluster_status(cluster, (unsigned)leader).applied_index;
}

/* Putting one in place takes it longer than the leader takes to have the next one due. */
static void a_follower_goes_on_behind_its_snapshot_under_load(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2; i++) {
        struct cluster_options options = with_snapshots();
        options.seed += i;
        options.snapshot_after_bytes = 200000;
        options.image_bytes = 3000000;
        options.entries_in_flight_max = 1024;
        struct cluster *cluster = cluster_started(options);
        cluster_command(cluster, 10);
        absent = (cluster_sure_leader(cluster) + 1) % 3;
        cluster_crash(cluster, absent);
        cluster->load_ms = 1;
        cluster_run(cluster, 2000);
        simulated_disk_latency(cluster->nodes[absent].disk, cluster->now_ms, 30, 30);
        assert_true(cluster_start(cluster, absent));
        assert_true(cluster_run_until(cluster, absent_keeps_up, 10000));
        cluster_free(cluster);
    }
}

/* A leader that has not heard of it for a while goes back to what it last heard. The follower has a snapshot by then and no log before
 * that, the leader all of its log and no snapshot. */
static void a_follower_may_have_forgotten_what_it_is_sent_again(void **state)
{
    (void)state;
    struct cluster_options options = with_snapshots();
    options.trailing_bytes = 0;
    struct cluster *cluster = cluster_started(options);
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    simulated_disk_full(cluster->nodes[leader].disk, "snapshot/");
    cluster_cut(cluster, follower, leader, true);
    for (unsigned i = 0; i < 12; i++) {
        cluster_command(cluster, 4000);
    }
    cluster_run(cluster, 2000); /* the stream is given up, and the answers with it */
    assert_true(cluster_status(cluster, follower).snapshot_index > 0);
    assert_int_equal(cluster_sure_leader(cluster), leader);
    assert_int_equal(cluster_status(cluster, leader).snapshot_index, 0);
    cluster_cut(cluster, follower, leader, false);
    cluster_command(cluster, 10);
    assert_true(cluster_run_until(cluster, cluster_converged, 2000));
    assert_int_equal(cluster_sure_leader(cluster), leader);
    cluster_free(cluster);
}

/* ---- what must not be older ---- */

/* The log may be empty: an installed snapshot has voided it. */
static void older_metadata_than_the_snapshot_is_refused(void **state)
{
    (void)state;
    struct cluster_metadata older;
    struct cluster *cluster = cluster_started(with_snapshots());
    absent = cluster_sure_leader(cluster);
    cluster_crash(cluster, absent);
    cluster_metadata_get(cluster, absent, &older);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 10000)); /* in another term */
    unsigned leader = cluster_sure_leader(cluster);
    do {
        cluster_command(cluster, 2000);
        cluster_run(cluster, 500);
    } while (cluster_status(cluster, leader).snapshot_index < cluster_status(cluster, leader).last_index);
    assert_true(cluster_start(cluster, absent));
    cluster_run(cluster, 5000);
    assert_int_equal(cluster->nodes[absent].snapshots_restored, 1);
    assert_int_equal(cluster_status(cluster, absent).log_first_index, cluster_status(cluster, absent).last_index + 1);
    cluster_crash(cluster, absent);
    cluster_metadata_put(cluster, absent, &older);
    assert_false(cluster_start(cluster, absent));
    assert_non_null(strstr(cluster->nodes[absent].fatal, "they are an older copy, and this node's votes are lost"));
    cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_that_found_no_space_stays_due),
        cmocka_unit_test(a_follower_goes_on_behind_its_snapshot_under_load),
        cmocka_unit_test(a_follower_may_have_forgotten_what_it_is_sent_again),
        cmocka_unit_test(older_metadata_than_the_snapshot_is_refused),
    };
    seed = cluster_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
