/* How replicas agree: commands, elections, reads, leadership handed over, single frames; one story per test, in virtual
 * time (cluster.h lists what is checked besides). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"
#include "node/replica/wire.h"

static uint64_t seed = 1;

/* ---- replication ---- */

static void commands_are_applied_everywhere(void **state)
{
    (void)state;
    for (unsigned nodes = 1; nodes <= 5; nodes += 2) {
        struct cluster *cluster = cluster_started(cluster_options(nodes, seed));
        cluster->load_ms = 3;
        cluster_run(cluster, 3000);
        cluster->load_ms = 0;
        cluster_converge(cluster);
        assert_true(cluster->acked_count > 500);
        assert_int_equal(cluster_status(cluster, cluster_sure_leader(cluster)).members_count, nodes);
        cluster_free(cluster);
    }
}

static void a_single_node_leads_again_in_a_later_term(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(1, seed));
    cluster_command(cluster, 100);
    uint64_t term = cluster->nodes[0].term;
    cluster_crash(cluster, 0);
    cluster_start_all(cluster);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 5000));
    assert_true(cluster->nodes[0].term > term);
    cluster_converge(cluster);
    cluster_free(cluster);
}

static void a_leader_that_dies_is_followed_by_another(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    for (unsigned i = 0; i < 10; i++) {
        unsigned old = cluster_sure_leader(cluster);
        cluster_command(cluster, 100);
        cluster_crash(cluster, old);
        assert_true(cluster_run_until(cluster, cluster_has_leader, 5000));
        assert_int_not_equal(cluster_sure_leader(cluster), old);
        cluster_command(cluster, 100);
        cluster_start_all(cluster);
        cluster_converge(cluster);
    }
    cluster_free(cluster);
}

static void all_nodes_may_lose_power_at_once(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster->load_ms = 2;
    for (unsigned i = 0; i < 8; i++) {
        cluster_run(cluster, 1000);
        for (unsigned node = 0; node < 3; node++) {
            cluster_crash(cluster, node);
        }
        cluster_start_all(cluster);
    }
    cluster->load_ms = 0;
    cluster_converge(cluster);
    assert_true(cluster->acked_count > 100);
    cluster_free(cluster);
}

/* Found by the simulation: a node that had stored that the cluster is formed, and died before entry 1 was durable, took its
 * log for lost and never started again. */
static void a_node_may_die_before_its_first_entry_is_durable(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(3, seed));
    simulated_disk_latency(cluster->nodes[2].disk, cluster->now_ms, 5000, 5000);
    cluster_start_all(cluster);
    cluster_run(cluster, 1000); /* all have met, and the write is under way */
    cluster_crash(cluster, 2);
    simulated_disk_latency(cluster->nodes[2].disk, cluster->now_ms, 0, 1);
    cluster_start_all(cluster);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Entries that only the deposed leader has are overwritten when it comes back. */
static void what_only_a_deposed_leader_has_is_overwritten(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 100);
    unsigned old = cluster_sure_leader(cluster);
    cluster_isolate(cluster, old, true);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(cluster_propose(cluster, old, 200));
    }
    unsigned proposed = cluster->nodes[old].pending_count;
    assert_true(proposed >= 20);
    cluster_run(cluster, 3000);
    assert_int_not_equal(cluster_sure_leader(cluster), old);
    for (unsigned i = 0; i < proposed + 1; i++) {
        cluster_command(cluster, 300); /* so that others lie at each of their indexes */
    }
    uint64_t acked = cluster->acked_count;
    cluster_isolate(cluster, old, false);
    assert_true(cluster_run_until(cluster, cluster_converged, 60000));
    assert_int_equal(cluster->nodes[old].pending_count, 0);
    assert_int_equal(cluster->acked_count, acked); /* None of them was acknowledged. */
    cluster_free(cluster);
}

static void a_follower_catches_up_from_the_log_on_disk(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.log_cache_bytes = 16 * 1024;
    struct cluster *cluster = cluster_started(options);
    cluster_command(cluster, 10);
    unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 60; i++) {
        cluster_command(cluster, 5000);
    }
    cluster_start_all(cluster);
    cluster_converge(cluster);
    assert_int_equal(cluster->nodes[absent].snapshots_restored, 0);
    cluster_free(cluster);
}

static void large_entries_are_cut_into_frames_that_fit(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned j = 0; j < 4; j++) {
            (void)cluster_propose(cluster, cluster_sure_leader(cluster), 256 * 1024);
        }
        cluster_run(cluster, 200);
    }
    cluster_converge(cluster);
    cluster_free(cluster);
}

static bool all_acknowledged(struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    return leader >= 0 && cluster->nodes[leader].pending_count == 0;
}

/* The time from a proposal to its acknowledgement, ms. */
static uint64_t command_time(struct cluster *cluster)
{
    assert_true(cluster_propose(cluster, cluster_sure_leader(cluster), 10));
    uint64_t before = cluster->now_ms;
    assert_true(cluster_run_until(cluster, all_acknowledged, 1000));
    return cluster->now_ms - before;
}

/* Raft holds entries for a follower that fell out of step until its next heartbeat; the heartbeats are kept in phase, and
 * the first command after a pause goes to everyone. */
static void a_command_after_a_pause_does_not_wait_for_a_heartbeat(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    unsigned late = 0;
    for (unsigned i = 0; i < 300; i++) {
        unsigned follower = (cluster_sure_leader(cluster) + 1 + i % 2) % 3;
        if (i % 20 == 10) { /* an outage, shorter than an election */
            cluster_isolate(cluster, follower, true);
            cluster_run(cluster, 100);
            cluster_isolate(cluster, follower, false);
        }
        cluster_run(cluster, simulated_random(&cluster->random, 100));
        late += command_time(cluster) > 8; /* delays are 0..2 ms each way, a disk write takes 0..1 ms */
    }
    assert_true(late <= 3);
    cluster_free(cluster);
}

/* ---- reads ---- */

static void reads_are_answered_within_a_round_trip(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(5, seed));
    cluster_command(cluster, 10);
    unsigned leader = cluster_sure_leader(cluster);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(cluster_read_at(cluster, leader));
    }
    cluster_run(cluster, 8); /* delays are 0..2 ms each way */
    assert_int_equal(cluster->nodes[leader].reads_answered, 100);
    assert_false(cluster_read_at(cluster, (leader + 1) % 5));
    cluster_free(cluster);
}

static void a_single_node_answers_reads_in_the_same_turn(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(1, seed));
    cluster_command(cluster, 10);
    assert_true(cluster_read_at(cluster, 0));
    assert_int_equal(cluster->nodes[0].reads_answered, 0); /* never from within replica_read() */
    replica_flush(cluster->nodes[0].replica);
    assert_int_equal(cluster->nodes[0].reads_answered, 1);
    cluster_free(cluster);
}

static void a_deposed_leader_answers_no_read(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        struct cluster *cluster = cluster_started(cluster_options(3, seed + i));
        cluster_command(cluster, 10);
        unsigned old = cluster_sure_leader(cluster);
        cluster_isolate(cluster, old, true);
        uint64_t answered = cluster->nodes[old].reads_answered;
        unsigned asked = 0;
        for (unsigned ms = 0; ms < 2000; ms += 10) {
            asked += cluster_read_at(cluster, old);
            cluster_run(cluster, 10);
        }
        assert_true(asked > 5);
        assert_int_equal(cluster->nodes[old].reads_answered, answered);
        assert_int_equal(cluster->nodes[old].reads_failed, asked);
        cluster_isolate(cluster, old, false);
        cluster_converge(cluster);
        cluster_free(cluster);
    }
}

static void lost_read_probes_are_asked_again(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    unsigned leader = cluster_sure_leader(cluster);
    cluster_isolate(cluster, leader, true);
    assert_true(cluster_read_at(cluster, leader));
    cluster_run(cluster, 5); /* the probes are in streams that will break */
    for (unsigned i = 0; i < 3; i++) {
        cluster->streams[leader][i].change_ms = cluster->now_ms;
        cluster->streams[i][leader].change_ms = cluster->now_ms;
    }
    cluster_run(cluster, 1);
    cluster_isolate(cluster, leader, false);
    cluster_run(cluster, 250);
    if (cluster->nodes[leader].serving) {
        assert_int_equal(cluster->nodes[leader].reads_answered, 1);
    }
    cluster_free(cluster);
}

/* ---- transfer ---- */

static void leadership_is_handed_over_at_once(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    cluster_run(cluster, 200);
    unsigned old = cluster_sure_leader(cluster), to = (old + 1) % 3;
    struct local_time now = {cluster->now_ms};
    assert_false(replica_transfer(cluster->nodes[to].replica, now, 0)); /* does not lead */
    assert_false(replica_transfer(cluster->nodes[old].replica, now, 99));
    assert_true(replica_transfer(cluster->nodes[old].replica, now, to + 1));
    assert_false(cluster_propose(cluster, old, 10));
    /* Asked again, by somebody who did not hear the answer: it has begun, and to nobody else. */
    assert_true(replica_transfer(cluster->nodes[old].replica, now, to + 1));
    assert_true(replica_transfer(cluster->nodes[old].replica, now, 0));
    assert_false(replica_transfer(cluster->nodes[old].replica, now, (old + 2) % 3 + 1));
    cluster_run(cluster, 40);
    assert_int_equal(cluster_sure_leader(cluster), to);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- the watchdog ---- */

static void a_disk_that_hangs_ends_the_process(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    unsigned leader = cluster_sure_leader(cluster);
    cluster->fatal_expected = true;
    simulated_disk_latency(cluster->nodes[leader].disk, cluster->now_ms, 3600000, 3600000);
    (void)cluster_propose(cluster, leader, 10);
    cluster_run(cluster, 25000);
    assert_true(cluster->nodes[leader].up);
    cluster_run(cluster, 10000);
    assert_false(cluster->nodes[leader].up);
    assert_non_null(strstr(cluster->nodes[leader].fatal, "the disk hangs"));
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- single frames ---- */

static struct wire_frame observed;
static enum wire_kind observed_kind;
static unsigned observed_count;

static void observe(struct cluster *cluster, uint64_t from, uint64_t to, const struct link_part *parts, unsigned count)
{
    struct wire_frame frame;
    (void)cluster;
    (void)from;
    (void)to;
    if (count == 1 && wire_decode(parts[0].data, parts[0].size, &frame) == NULL && frame.kind == observed_kind) {
        observed = frame;
        observed_count++;
    }
}

/* Deliver one frame and watch for answers of a kind; these are left in `observed`. */
static void deliver(struct cluster *cluster, unsigned to, uint64_t from_id, const void *bytes, size_t size,
                    enum wire_kind answer)
{
    observed_kind = answer;
    observed_count = 0;
    cluster->on_frame = observe;
    assert_true(replica_receive(cluster->nodes[to].replica, (struct local_time){cluster->now_ms}, from_id, bytes, size));
    cluster->on_frame = NULL;
}

static bool probe(struct cluster *cluster, unsigned to, uint64_t from_id, uint64_t term)
{
    struct wire_frame frame = {.kind = WIRE_READ_PROBE, .read = {.term = term, .nonce = 4711}};
    uint8_t bytes[WIRE_HEAD_BYTES_MAX];
    deliver(cluster, to, from_id, bytes, wire_encode_head(&frame, bytes), WIRE_READ_ANSWER);
    assert_int_equal(observed_count, 1);
    assert_int_equal(observed.read.nonce, 4711);
    assert_int_equal(observed.read.term, term);
    return observed.read.yes;
}

static void only_the_leader_of_ones_own_term_is_confirmed(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3, other = (leader + 2) % 3;
    uint64_t term = cluster->nodes[leader].term;
    assert_true(probe(cluster, follower, leader + 1, term));
    assert_false(probe(cluster, follower, leader + 1, term - 1));
    assert_false(probe(cluster, follower, leader + 1, term + 1));
    assert_false(probe(cluster, follower, other + 1, term));
    assert_false(probe(cluster, leader, follower + 1, term));
    cluster_free(cluster);
}

/* Raft records a configuration under the index of its message's first new entry: the receiver cuts the message. */
static void a_configuration_amid_an_append_is_recorded_under_its_own_index(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    for (unsigned i = 0; i < 3; i++) {
        cluster_isolate(cluster, i, true);
    }
    struct replica_status status = cluster_status(cluster, follower);
    uint64_t last = status.last_index;
    struct raft_configuration configuration;
    struct raft_buffer buffer;
    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < 3; i++) {
        char address[64];
        (void)snprintf(address, sizeof address, "node%u:7001 node%u:7000", i + 1, i + 1);
        int role = i == (leader + 2) % 3 ? RAFT_STANDBY : RAFT_VOTER;
        assert_int_equal(raft_configuration_add(&configuration, i + 1, address, role), 0);
    }
    assert_int_equal(raft_configuration_encode(&configuration, &buffer), 0);
    raft_configuration_close(&configuration);
    struct wire_frame frame = {
        .kind = WIRE_APPEND,
        .append = {.term = 50, .prev_index = last, .prev_term = status.term, .leader_commit = last + 4, .count = 4},
    };
    static const uint8_t types[4] = {LOG_COMMAND, LOG_COMMAND, LOG_CHANGE, LOG_COMMAND};
    uint8_t bytes[1024];
    size_t size = wire_encode_head(&frame, bytes);
    for (unsigned i = 0; i < 4; i++) {
        struct log_entry entry = {.term = 50, .type = types[i], .size = types[i] == LOG_CHANGE ? (uint32_t)buffer.len : 2};
        wire_encode_entry_head(&entry, bytes + size);
        size += WIRE_ENTRY_HEAD_BYTES;
    }
    for (unsigned i = 0; i < 4; i++) {
        bool change = types[i] == LOG_CHANGE;
        memcpy(bytes + size, change ? buffer.base : "xy", change ? buffer.len : 2);
        size += change ? buffer.len : 2;
    }
    raft_free(buffer.base);
    deliver(cluster, follower, leader + 1, bytes, size, WIRE_APPEND_RESULT);
    replica_flush(cluster->nodes[follower].replica);
    cluster_run(cluster, 20);
    status = cluster_status(cluster, follower);
    assert_int_equal(status.applied_index, last + 4); /* The replica checks what raft recorded when it applies it. */
    assert_false(status.members[(leader + 2) % 3].member.voter);
    cluster_free(cluster);
}

/* Raft leaves the answer to an append of an older term half filled in; a leader of our term must not read it as success. */
static void an_append_of_an_older_term_is_answered_with_a_rejection(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    while (cluster->nodes[cluster_sure_leader(cluster)].term < 3) {
        unsigned old = cluster_sure_leader(cluster);
        cluster_crash(cluster, old);
        assert_true(cluster_run_until(cluster, cluster_has_leader, 5000));
        cluster_start_all(cluster);
        cluster_converge(cluster);
    }
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    struct wire_frame stale = {.kind = WIRE_APPEND, .append = {.term = 1, .prev_index = 0, .prev_term = 0}};
    uint8_t bytes[WIRE_HEAD_BYTES_MAX];
    size_t size = wire_encode_head(&stale, bytes);
    deliver(cluster, follower, leader + 1, bytes, size, WIRE_APPEND_RESULT);
    assert_int_equal(observed_count, 1);
    assert_true(observed.append_result.rejected > 0);
    assert_true(observed.append_result.last_log_index < observed.append_result.rejected);
    cluster_converge(cluster);
    cluster_free(cluster);
}

int main(void)
{
    seed = cluster_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_applied_everywhere),
        cmocka_unit_test(a_single_node_leads_again_in_a_later_term),
        cmocka_unit_test(a_leader_that_dies_is_followed_by_another),
        cmocka_unit_test(all_nodes_may_lose_power_at_once),
        cmocka_unit_test(a_node_may_die_before_its_first_entry_is_durable),
        cmocka_unit_test(what_only_a_deposed_leader_has_is_overwritten),
        cmocka_unit_test(a_follower_catches_up_from_the_log_on_disk),
        cmocka_unit_test(large_entries_are_cut_into_frames_that_fit),
        cmocka_unit_test(a_command_after_a_pause_does_not_wait_for_a_heartbeat),
        cmocka_unit_test(reads_are_answered_within_a_round_trip),
        cmocka_unit_test(a_single_node_answers_reads_in_the_same_turn),
        cmocka_unit_test(a_deposed_leader_answers_no_read),
        cmocka_unit_test(lost_read_probes_are_asked_again),
        cmocka_unit_test(leadership_is_handed_over_at_once),
        cmocka_unit_test(a_disk_that_hangs_ends_the_process),
        cmocka_unit_test(only_the_leader_of_ones_own_term_is_confirmed),
        cmocka_unit_test(a_configuration_amid_an_append_is_recorded_under_its_own_index),
        cmocka_unit_test(an_append_of_an_older_term_is_answered_with_a_rejection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
