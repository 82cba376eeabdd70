/* Random clusters under random faults: crashes that lose unsynced data, one-way and whole partitions, slow disks, slow
 * links, snapshots and installations all the time. First faults, with safety checked at every step (cluster.h), then calm,
 * with progress demanded. Seeds LOCKSTEP_SEED .. LOCKSTEP_SEED + LOCKSTEP_SEEDS - 1; a violation prints its seed. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"

enum { FAULTS = 60 };

static uint64_t seed = 1, seeds = 12;

static struct cluster_options random_options(uint64_t with_seed)
{
    uint64_t random = with_seed * 7919;
    struct cluster_options options = cluster_options(simulated_random(&random, 3) == 0 ? 5 : 3, with_seed);
    options.snapshot_after_bytes = 10000 + simulated_random(&random, 100000);
    options.trailing_bytes = simulated_random(&random, 40000);
    options.segment_bytes = 16384 + simulated_random(&random, 5) * 32768;
    options.log_cache_bytes = 1000 + simulated_random(&random, 60000);
    options.image_bytes = (unsigned)simulated_random(&random, 150000);
    options.entries_in_flight_max = 1 + (unsigned)simulated_random(&random, 100);
    options.append_pace_ms = (unsigned)simulated_random(&random, 21);
    return options;
}

static unsigned any_node(struct cluster *cluster)
{
    return (unsigned)simulated_random(&cluster->random, cluster->options.nodes);
}

static void crash_some(struct cluster *cluster, unsigned count)
{
    for (; count > 0; count--) {
        unsigned node = any_node(cluster);
        if (cluster->nodes[node].up) {
            cluster_crash(cluster, node);
        }
    }
}

static void fault(struct cluster *cluster)
{
    unsigned node = any_node(cluster), other = any_node(cluster);
    unsigned slow = (unsigned)simulated_random(&cluster->random, 60);
    switch (simulated_random(&cluster->random, 16)) {
    case 0:
    case 1:
        crash_some(cluster, 1);
        break;
    case 2:
        crash_some(cluster, cluster->options.nodes);
        break;
    case 3:
        if (cluster_leader(cluster) >= 0) {
            cluster_crash(cluster, (unsigned)cluster_leader(cluster));
        }
        break;
    case 4:
        cluster_isolate(cluster, node, true);
        break;
    case 5:
        if (cluster_leader(cluster) >= 0) {
            cluster_isolate(cluster, (unsigned)cluster_leader(cluster), true);
        }
        break;
    case 6:
        if (node != other) {
            cluster_cut(cluster, node, other, true);
        }
        break;
    case 7:
    case 8:
        cluster_isolate(cluster, node, false);
        break;
    case 9:
        simulated_disk_latency(cluster->nodes[node].disk, cluster->now_ms, slow / 4, slow);
        break;
    case 11:
        cluster->nodes[node].stalled_until_ms = cluster->now_ms + simulated_random(&cluster->random, 2000);
        break;
    case 12:
        if (cluster_leader(cluster) >= 0) {
            cluster->nodes[cluster_leader(cluster)].stalled_until_ms =
                cluster->now_ms + simulated_random(&cluster->random, 2000);
        }
        break;
    case 13:
        cluster->nodes[node].silent = !cluster->nodes[node].silent;
        break;
    case 14:
        if (node != other && cluster->nodes[node].up) { /* a hint that may be wrong */
            replica_link_gone(cluster->nodes[node].replica, (struct local_time){cluster->now_ms}, other + 1);
        }
        break;
    case 10:
        cluster->delay_max = (unsigned)simulated_random(&cluster->random, 20);
        break;
    default:
        if (cluster_leader(cluster) >= 0) {
            struct cluster_node *leader = &cluster->nodes[cluster_leader(cluster)];
            (void)replica_transfer(leader->replica, (struct local_time){cluster->now_ms}, 0);
        }
        break;
    }
}

static void some_start(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        if (!cluster->nodes[i].up && simulated_random(&cluster->random, 3) != 0) {
            if (!cluster_start(cluster, i)) {
                fail_msg("seed %" PRIu64 ": node %u does not start: %s", cluster->options.seed, i + 1,
                         cluster->nodes[i].fatal);
            }
        }
    }
}

static void calm(struct cluster *cluster)
{
    cluster->delay_max = 2;
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        cluster_isolate(cluster, i, false);
        simulated_disk_latency(cluster->nodes[i].disk, cluster->now_ms, 0, 1);
        if (!cluster->nodes[i].up && !cluster_start(cluster, i)) {
            fail_msg("seed %" PRIu64 ": node %u does not start: %s", cluster->options.seed, i + 1,
                     cluster->nodes[i].fatal);
        }
    }
}

struct totals {
    uint64_t acked, reads, snapshots, restores;
};

static void run_seed(uint64_t with_seed, struct totals *totals)
{
    struct cluster *cluster = cluster_create(random_options(with_seed));
    cluster->load_ms = 1 + (unsigned)simulated_random(&cluster->random, 10);
    cluster->command_bytes_max = 50 + (unsigned)simulated_random(&cluster->random, 3000);
    cluster_start_all(cluster);
    for (unsigned i = 0; i < FAULTS; i++) {
        cluster_run(cluster, simulated_random(&cluster->random, 500));
        fault(cluster);
        some_start(cluster);
    }
    calm(cluster);
    if (!cluster_run_until(cluster, cluster_has_leader, 20000)) {
        fail_msg("seed %" PRIu64 ": no leader after the storm", with_seed);
    }
    cluster_run(cluster, 500);
    cluster->load_ms = 0;
    cluster_command(cluster, 10);
    if (!cluster_run_until(cluster, cluster_converged, 60000)) {
        fail_msg("seed %" PRIu64 ": the nodes do not converge after the storm", with_seed);
    }
    totals->acked += cluster->acked_count;
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        totals->reads += cluster->nodes[i].reads_answered;
        totals->snapshots += cluster->nodes[i].snapshots_taken;
        totals->restores += cluster->nodes[i].snapshots_restored;
    }
    cluster_free(cluster);
}

static void random_faults_break_no_promise(void **state)
{
    struct totals totals = {0};
    (void)state;
    for (uint64_t i = 0; i < seeds; i++) {
        run_seed(seed + i, &totals);
    }
    printf("%" PRIu64 " acknowledged, %" PRIu64 " reads, %" PRIu64 " snapshots, %" PRIu64 " restores\n", totals.acked,
           totals.reads, totals.snapshots, totals.restores);
    assert_true(totals.acked > seeds * 100);
    assert_true(totals.reads > seeds * 100);
    assert_true(totals.snapshots > 0 && totals.restores > 0);
}

int main(void)
{
    const char *given = getenv("LOCKSTEP_SEED"), *count = getenv("LOCKSTEP_SEEDS");
    seed = given == NULL ? seed : strtoull(given, NULL, 0);
    seeds = count == NULL ? seeds : strtoull(count, NULL, 0);
    printf("seeds %" PRIu64 "..%" PRIu64 "\n", seed, seed + seeds - 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_faults_break_no_promise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
