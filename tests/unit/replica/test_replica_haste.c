/* Elections in haste (replica_timeout.c): how soon a leader whose process has ended is followed by another, and that a hint
 * which is wrong changes nothing for those who hear their leader. In virtual time; an ordinary election of these clusters
 * takes 270 ms at the least, the election timeout less a heartbeat. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster.h"
#include "node/replica/replica_internal.h"

enum { SEEDS = 40, ORDINARY_MS = 270, ELECTION_TIMEOUT_MS = 300 };

static uint64_t seed = 1;

static uint64_t term_of(const struct cluster *cluster, unsigned node)
{
    return cluster_status(cluster, node).term;
}

/* How long it takes until another leader serves. */
static uint64_t failover_ms(struct cluster *cluster)
{
    uint64_t begin_ms = cluster->now_ms;
    unsigned old = cluster_sure_leader(cluster);
    cluster_crash(cluster, old);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 20000));
    assert_int_not_equal(cluster_sure_leader(cluster), old);
    return cluster->now_ms - begin_ms;
}

static void assert_haste_is_over(const struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        if (cluster->nodes[i].up) {
            assert_int_equal(cluster->nodes[i].replica->haste.leader_id, 0);
            assert_int_equal(cluster->nodes[i].replica->raft.election_timeout, ELECTION_TIMEOUT_MS);
        }
    }
}

/* Two that stand in the same moment may take each other's votes, and then it lasts as long as without haste: once at most. */
static void fail_over_in_haste(unsigned nodes, unsigned load_ms)
{
    unsigned late = 0;
    for (unsigned i = 0; i < SEEDS; i++) {
        struct cluster *cluster = cluster_started(cluster_options(nodes, seed + i));
        cluster_converge(cluster);
        cluster->load_ms = load_ms;
        cluster_run(cluster, 100 + i);
        uint64_t took_ms = failover_ms(cluster);
        late += took_ms >= ORDINARY_MS;
        if (late > 1) {
            fail_msg("seed %" PRIu64 ": the next leader served after %" PRIu64 " ms", seed + i, took_ms);
        }
        cluster->load_ms = 0;
        cluster_start_all(cluster);
        cluster_converge(cluster);
        assert_haste_is_over(cluster);
        cluster_free(cluster);
    }
}

static void a_leader_whose_process_ends_is_followed_before_a_timeout(void **state)
{
    (void)state;
    fail_over_in_haste(3, 0);
    fail_over_in_haste(5, 0);
}

/* The followers' logs differ, and some of what they have is not on their disks yet. */
static void under_load_too(void **state)
{
    (void)state;
    fail_over_in_haste(3, 1);
    fail_over_in_haste(5, 1);
}

/* One of the two is behind, as under load it is (replica_pace.c), and can not be elected. That it stands first must not make
 * the other wait for a second attempt, 50 ms and more after its first. */
static void who_can_not_be_elected_hastens_the_other(void **state)
{
    (void)state;
    unsigned soon = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct cluster_options options = cluster_options(3, seed + i);
        options.append_pace_ms = 20;
        struct cluster *cluster = cluster_started(options);
        cluster_converge(cluster);
        cluster->delay_min = 0;
        cluster->delay_max = 1;
        cluster->load_ms = 1;
        cluster_run(cluster, 100 + i);
        soon += failover_ms(cluster) < 90;
        cluster_free(cluster);
    }
    assert_true(soon >= 95); /* of 100; with a second attempt it is two of three */
}

/* A node that has stood in haste, and nobody answers. */
static struct replica *stood_in_vain(struct cluster *cluster)
{
    unsigned leader = cluster_sure_leader(cluster), nodes = cluster->options.nodes;
    unsigned self = (leader + 1) % nodes;
    for (unsigned i = 0; i < nodes; i++) {
        cluster->nodes[i].stalled_until_ms = i == self ? 0 : cluster->now_ms + 10000;
    }
    struct replica *replica = cluster->nodes[self].replica;
    replica_link_gone(replica, (struct local_time){cluster->now_ms}, leader + 1);
    cluster_run(cluster, 40);
    assert_true(replica->haste.stood);
    return replica;
}

/* @return whether it stands once more on account of a candidate whose log ends there. */
static bool asked_by_a_log_of(struct cluster *cluster, struct replica *replica, uint64_t last_index,
                              uint64_t last_term)
{
    struct raft_request_vote vote = {.last_log_index = last_index, .last_log_term = last_term};
    replica_haste_asked(replica, &vote);
    bool stands = !replica->haste.stood;
    cluster_run(cluster, 5);
    assert_true(replica->haste.stood);
    return stands;
}

/* Once, and not for a log that could be elected: both would stand in the same moment. */
static void who_asks_with_a_shorter_log_hastens_once(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    struct replica *replica = stood_in_vain(cluster);
    uint64_t last = log_last_index(replica->log), term = log_term(replica->log, last);
    assert_false(asked_by_a_log_of(cluster, replica, last, term));
    assert_false(asked_by_a_log_of(cluster, replica, last + 1, term));
    assert_false(asked_by_a_log_of(cluster, replica, last - 1, term + 1));
    assert_true(asked_by_a_log_of(cluster, replica, last - 1, term));
    assert_false(asked_by_a_log_of(cluster, replica, last - 1, term));
    cluster_free(cluster);
    cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    replica = stood_in_vain(cluster);
    assert_true(asked_by_a_log_of(cluster, replica, last + 1, 0)); /* of an older term, however long */
    cluster_free(cluster);
}

/* Three others may have as long a log as this one, and be asked by the same candidate. */
static void among_five_it_hastens_nobody(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(5, seed));
    cluster_converge(cluster);
    struct replica *replica = stood_in_vain(cluster);
    assert_false(asked_by_a_log_of(cluster, replica, 1, 1));
    cluster_free(cluster);
}

static unsigned candidate; /* a place */

static bool candidate_has_won_the_pre_vote(struct cluster *cluster)
{
    const struct raft *raft = &cluster->nodes[candidate].replica->raft;
    return raft->state == RAFT_CANDIDATE && !raft->candidate_state.in_pre_vote;
}

/* Votes of an election come back to the same election, however far away the voters are. */
static void who_is_voted_on_does_not_stand_again(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster);
    uint64_t term = term_of(cluster, leader);
    cluster->delay_min = cluster->delay_max = 10;
    cluster->nodes[leader].stalled_until_ms = cluster->now_ms + 2000;
    candidate = (leader + 1) % 3;
    struct replica *replica = cluster->nodes[candidate].replica;
    replica_link_gone(replica, (struct local_time){cluster->now_ms}, leader + 1);
    struct replica *other = cluster->nodes[3 - leader - candidate].replica;
    replica_link_gone(other, (struct local_time){cluster->now_ms}, leader + 1);
    other->haste.stand_ms = cluster->now_ms + 1;
    replica->haste.stand_ms = cluster->now_ms + 35; /* after the other, who would vote for it then */
    assert_true(cluster_run_until(cluster, candidate_has_won_the_pre_vote, 200));
    replica_haste_asked(replica, &(struct raft_request_vote){.last_log_index = 1, .last_log_term = 1});
    cluster_run(cluster, 25);
    assert_int_equal(cluster->nodes[candidate].role, REPLICA_LEADER);
    assert_int_equal(term_of(cluster, candidate), term + 1);
    cluster->delay_min = 0;
    cluster_converge(cluster);
    cluster_free(cluster);
}

static void a_machine_that_dies_is_missed_by_its_silence(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    cluster->nodes[cluster_sure_leader(cluster)].silent = true;
    assert_true(failover_ms(cluster) >= ORDINARY_MS); /* nobody had a reason to hurry */
    cluster_free(cluster);
}

/* H4 */
static void nobody_stands_before_its_log_is_durable(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned old = cluster_sure_leader(cluster);
    for (unsigned i = 0; i < 3; i++) {
        if (i != old) {
            simulated_disk_latency(cluster->nodes[i].disk, cluster->now_ms, 150, 150);
        }
    }
    assert_true(cluster_propose(cluster, old, 100));
    cluster_run(cluster, 10); /* with both followers, on neither disk */
    uint64_t took_ms = failover_ms(cluster);
    assert_true(took_ms >= 100); /* the write; */
    assert_true(took_ms < 3 * 150 + ORDINARY_MS / 2); /* the write, the vote and the barrier of the next, but no election timeout */
    cluster_run(cluster, 10);
    assert_haste_is_over(cluster);
    cluster_free(cluster);
}

/* H1: one that wrongly takes its leader for gone, and hears nothing of it either, can not win against one that hears it. */
static void a_wrong_hint_deposes_nobody(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SEEDS; i++) {
        struct cluster *cluster = cluster_started(cluster_options(3, seed + i));
        cluster_converge(cluster);
        unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
        uint64_t term = term_of(cluster, leader);
        cluster_cut(cluster, leader, follower, true);
        replica_link_gone(cluster->nodes[follower].replica, (struct local_time){cluster->now_ms}, leader + 1);
        cluster_run(cluster, 200);
        assert_int_equal(cluster->nodes[follower].role, REPLICA_CANDIDATE);
        assert_int_equal(term_of(cluster, follower), term);
        cluster_run(cluster, 2000);
        cluster_cut(cluster, leader, follower, false);
        cluster_converge(cluster);
        assert_int_equal(cluster_sure_leader(cluster), leader);
        assert_int_equal(term_of(cluster, leader), term);
        assert_haste_is_over(cluster);
        cluster_free(cluster);
    }
}

/* A frame of the leader that is said to be gone ends the haste before anybody has stood. */
static void a_leader_that_is_heard_is_not_gone(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster);
    uint64_t term = term_of(cluster, leader);
    for (unsigned i = 0; i < 3; i++) {
        if (i != leader) {
            struct replica *replica = cluster->nodes[i].replica;
            replica_link_gone(replica, (struct local_time){cluster->now_ms}, leader + 1);
            assert_int_equal(replica->haste.leader_id, leader + 1);
        }
    }
    assert_true(
        cluster_propose(cluster, leader, 100)); /* who stands at once would be too early to hear of it */
    cluster_run(cluster, 1000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(cluster->nodes[i].replica->haste.leader_id, 0);
    }
    cluster_converge(cluster);
    assert_true(term_of(cluster, leader) <= term + 1);
    cluster_free(cluster);
}

/* What a loaded machine does: a disk that takes two thirds of an election timeout for each write, on the leader as on the
 * others, and processes that stand still for a tenth of it. */
static void slow_disks_and_short_stalls_depose_nobody(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct cluster *cluster = cluster_started(cluster_options(3, seed + i));
        cluster_converge(cluster);
        unsigned leader = cluster_sure_leader(cluster);
        uint64_t term = term_of(cluster, leader);
        for (unsigned node = 0; node < 3; node++) {
            simulated_disk_latency(cluster->nodes[node].disk, cluster->now_ms, 50, 200);
        }
        cluster->load_ms = 5;
        for (unsigned ms = 0; ms < 20000; ms += 100) {
            unsigned node = (unsigned)simulated_random(&cluster->random, 3);
            cluster->nodes[node].stalled_until_ms = cluster->now_ms + 30;
            cluster_run(cluster, 100);
        }
        assert_int_equal(cluster_sure_leader(cluster), leader);
        assert_int_equal(term_of(cluster, leader), term);
        cluster->load_ms = 0;
        cluster_converge(cluster);
        cluster_free(cluster);
    }
}

/* Only who led is missed, and only by who follows and may vote. */
static void a_follower_that_dies_hastens_nobody(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster);
    uint64_t term = term_of(cluster, leader);
    cluster_crash(cluster, (leader + 1) % 3);
    for (unsigned ms = 0; ms < 1000; ms++) {
        cluster_run(cluster, 1);
        assert_int_equal(cluster->nodes[leader].replica->haste.leader_id, 0);
        assert_int_equal(cluster->nodes[(leader + 2) % 3].replica->haste.leader_id, 0);
    }
    assert_int_equal(term_of(cluster, leader), term);
    cluster_free(cluster);
}

/* H3: the last of three finds nobody to elect it. It asks often for a while, and then as always. */
static void haste_has_an_end(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), last = (leader + 2) % 3;
    uint64_t term = term_of(cluster, leader);
    cluster_crash(cluster, (leader + 1) % 3);
    cluster_run(cluster, 100);
    cluster_crash(cluster, leader);
    cluster_run(cluster, 200);
    assert_int_equal(cluster->nodes[last].replica->haste.leader_id, leader + 1);
    cluster_run(cluster, 3 * ELECTION_TIMEOUT_MS);
    assert_haste_is_over(cluster);
    assert_int_equal(term_of(cluster, last), term);
    cluster_start_all(cluster);
    cluster_converge(cluster);
    cluster_free(cluster);
}

int main(void)
{
    seed = cluster_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_whose_process_ends_is_followed_before_a_timeout),
        cmocka_unit_test(under_load_too),
        cmocka_unit_test(who_can_not_be_elected_hastens_the_other),
        cmocka_unit_test(who_asks_with_a_shorter_log_hastens_once),
        cmocka_unit_test(among_five_it_hastens_nobody),
        cmocka_unit_test(who_is_voted_on_does_not_stand_again),
        cmocka_unit_test(a_machine_that_dies_is_missed_by_its_silence),
        cmocka_unit_test(nobody_stands_before_its_log_is_durable),
        cmocka_unit_test(a_wrong_hint_deposes_nobody),
        cmocka_unit_test(a_leader_that_is_heard_is_not_gone),
        cmocka_unit_test(slow_disks_and_short_stalls_depose_nobody),
        cmocka_unit_test(a_follower_that_dies_hastens_nobody),
        cmocka_unit_test(haste_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
