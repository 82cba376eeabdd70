/* Appends to a follower that the majority does without come in batches, Q1..Q6 of replica_pace.c; and who that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"
#include "node/replica/replica_internal.h"

enum { PACE_MS = 4, COMMANDS = 60 };

static uint64_t seed = 1;

/* ---- what was sent ---- */

static unsigned frames_to[CLUSTER_NODES_MAX + 1];    /* with entries, by node id */
static uint64_t sent_upto[CLUSTER_NODES_MAX + 1];    /* the last entry */
static uint64_t newest;                              /* the first entry of the last proposal */
static uint64_t longest_wait[CLUSTER_NODES_MAX + 1]; /* of an entry, in ms */
static unsigned at_once;                             /* frames with what was proposed in that moment */
static size_t
    moment_bytes[CLUSTER_NODES_MAX + 1]; /* of frames with entries, in the last moment that had any */
static uint64_t moment_ms[CLUSTER_NODES_MAX + 1];
static uint64_t proposed_ms[CLUSTER_INDEX_MAX];

static bool append_of(const struct link_part *parts, unsigned count, struct wire_frame *ret_frame)
{
    static uint8_t bytes[LINK_FRAME_BYTES_MAX];
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(bytes + size, parts[i].data, parts[i].size);
        size += parts[i].size;
    }
    return wire_decode(bytes, size, ret_frame) == NULL && ret_frame->kind == WIRE_APPEND &&
           ret_frame->append.count > 0;
}

static void note_append(struct cluster *cluster, uint64_t from, uint64_t to, const struct link_part *parts,
                        unsigned count)
{
    struct wire_frame frame;
    if (!append_of(parts, count, &frame)) {
        return;
    }
    uint64_t first = frame.append.prev_index + 1;
    assert_true(sent_upto[to] == 0 || first <= sent_upto[to] + 1); /* Q1: none is left out */
    sent_upto[to] = frame.append.prev_index + frame.append.count;
    frames_to[to]++;
    for (unsigned i = 0; i < count; i++) {
        moment_bytes[to] = (moment_ms[to] == cluster->now_ms ? moment_bytes[to] : 0) + parts[i].size;
        moment_ms[to] = cluster->now_ms;
    }
    uint64_t waited = proposed_ms[first] == 0 ? 0 : cluster->now_ms - proposed_ms[first];
    at_once += sent_upto[to] == cluster_status(cluster, (unsigned)from - 1).last_index &&
               proposed_ms[newest] == cluster->now_ms;
    longest_wait[to] = waited > longest_wait[to] ? waited : longest_wait[to];
}

static void watch_appends(struct cluster *cluster)
{
    at_once = 0;
    newest = 0;
    memset(frames_to, 0, sizeof frames_to);
    memset(sent_upto, 0, sizeof sent_upto);
    memset(longest_wait, 0, sizeof longest_wait);
    memset(proposed_ms, 0, sizeof proposed_ms);
    memset(moment_ms, 0, sizeof moment_ms);
    cluster->on_frame = note_append;
}

static void propose_bytes(struct cluster *cluster, size_t size)
{
    unsigned leader = cluster_sure_leader(cluster);
    newest = cluster_status(cluster, leader).last_index + 1;
    proposed_ms[newest] = cluster->now_ms;
    assert_true(cluster_propose(cluster, leader, size));
}

static void propose(struct cluster *cluster)
{
    propose_bytes(cluster, 20);
}

/* A command each millisecond, as a cluster under load. */
static void propose_for(struct cluster *cluster, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        propose(cluster);
        cluster_run(cluster, 1);
    }
}

/* ---- the cluster ---- */

static struct cluster *watched_cluster(struct cluster_options options)
{
    struct cluster *cluster = cluster_started(options);
    cluster->delay_min = cluster->delay_max = 1;
    cluster_converge(cluster);
    cluster_run(cluster, 100);
    watch_appends(cluster);
    return cluster;
}

static struct cluster *paced_cluster(unsigned nodes, unsigned pace_ms)
{
    struct cluster_options options = cluster_options(nodes, seed);
    options.append_pace_ms = pace_ms;
    return watched_cluster(options);
}

static struct replica_peer *peer_of_leader(struct cluster *cluster, uint64_t id)
{
    return replica_peer_find(cluster->nodes[cluster_sure_leader(cluster)].replica, id);
}

static bool is_needed(struct cluster *cluster, uint64_t id)
{
    return peer_of_leader(cluster, id)->needed;
}

/* @return the first other node that is needed, or is not; 0: none. */
static uint64_t follower(struct cluster *cluster, bool needed)
{
    for (uint64_t id = 1; id <= cluster->options.nodes; id++) {
        if (id != cluster_sure_leader(cluster) + 1 && is_needed(cluster, id) == needed) {
            return id;
        }
    }
    return 0;
}

/* Under load, a moment in which something waits for the spare one. @return who that is. */
static uint64_t leave_waiting(struct cluster *cluster)
{
    unsigned leader = cluster_sure_leader(cluster);
    uint64_t spare;
    propose_for(cluster, COMMANDS);
    do {
        cluster_run(cluster, 1);
        propose(cluster);
        spare = follower(cluster, false);
    } while (spare == 0 || sent_upto[spare] == cluster_status(cluster, leader).last_index);
    return spare;
}

static bool all_acknowledged(struct cluster *cluster)
{
    return cluster->nodes[cluster_sure_leader(cluster)].pending_count == 0;
}

/* ---- the tests ---- */

static void without_load_everybody_is_sent_an_entry_at_once(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    for (unsigned i = 0; i < 10; i++) {
        propose(cluster);
        cluster_run(cluster, PACE_MS + 1);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(frames_to[id], id == cluster_sure_leader(cluster) + 1 ? 0 : 10);
        assert_int_equal(longest_wait[id], 0); /* Q4 */
    }
    cluster_free(cluster);
}

/* As many as a majority takes have each entry at once, whoever they are at the time; the others soon after. */
static void check_load(unsigned nodes)
{
    struct cluster *cluster = paced_cluster(nodes, PACE_MS);
    propose_for(cluster, COMMANDS);
    cluster_run(cluster, 50);
    unsigned frames = 0;
    for (uint64_t id = 1; id <= nodes; id++) {
        if (id == cluster_sure_leader(cluster) + 1) {
            continue;
        }
        assert_int_equal(sent_upto[id], cluster_status(cluster, cluster_sure_leader(cluster)).last_index);
        assert_true(longest_wait[id] <= PACE_MS); /* Q2 */
        frames += frames_to[id];
    }
    assert_true(all_acknowledged(cluster));
    unsigned needed = nodes / 2, spare = nodes - 1 - needed, turns = COMMANDS / PACE_MS + 1;
    assert_true(at_once >= COMMANDS * needed);
    assert_true(frames <=
                COMMANDS * needed + 2 * spare * turns); /* of two frames when a race changes who is needed */
    cluster_free(cluster);
}

static void under_load_who_is_spare_is_sent_batches(void **state)
{
    (void)state;
    check_load(3);
    check_load(5);
}

static void without_a_pace_nobody_waits(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, 0);
    propose_for(cluster, COMMANDS);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(frames_to[id], id == cluster_sure_leader(cluster) + 1 ? 0 : COMMANDS);
    }
    cluster_free(cluster);
}

/* It is there, and says nothing: what waits for it goes to the other when its turn comes, who is the needed one from then on. */
static void one_that_stops_answering_is_no_longer_needed(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    propose_for(cluster, COMMANDS);
    uint64_t slow = follower(cluster, true), other = follower(cluster, false);
    cluster->nodes[slow - 1].stalled_until_ms = cluster->now_ms + 200;
    propose_for(cluster, 3 * PACE_MS);
    assert_true(is_needed(cluster, other));
    assert_false(is_needed(cluster, slow));
    frames_to[other] = 0;
    longest_wait[other] = 0;
    propose_for(cluster, 40);
    assert_int_equal(frames_to[other], 40);
    assert_int_equal(longest_wait[other], 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Two that answer, one of them late: what it acknowledges is never what the race is about. */
static void the_faster_one_is_needed(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    unsigned leader = cluster_sure_leader(cluster), slow = (leader + 1) % 3;
    simulated_disk_latency(cluster->nodes[slow].disk, cluster->now_ms, 15, 15);
    propose_for(cluster, COMMANDS);
    for (unsigned i = 0; i < COMMANDS; i++) {
        propose_for(cluster, 1);
        assert_false(is_needed(cluster, slow + 1));
        assert_int_not_equal(follower(cluster, true), 0);
    }
    simulated_disk_latency(cluster->nodes[slow].disk, cluster->now_ms, 0, 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Answers come turns later, and still say who is faster. */
static void those_who_are_far_away_race_too(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    cluster->delay_min = cluster->delay_max = 2 * PACE_MS;
    propose_for(cluster, COMMANDS);
    uint64_t slow = follower(cluster, true), other = follower(cluster, false);
    cluster->nodes[slow - 1].stalled_until_ms = cluster->now_ms + 200;
    propose_for(cluster, COMMANDS);
    assert_true(is_needed(cluster, other));
    assert_false(is_needed(cluster, slow));
    cluster_converge(cluster);
    cluster_free(cluster);
}

static unsigned expected_leader;

static bool leads_as_expected(struct cluster *cluster)
{
    return cluster_leader(cluster) == (int)expected_leader;
}

static void hand_over(struct cluster *cluster, unsigned from, unsigned to)
{
    struct local_time now = {cluster->now_ms};
    assert_true(replica_transfer(cluster->nodes[from].replica, now, to + 1));
    expected_leader = to;
    assert_true(cluster_run_until(cluster, leads_as_expected, 100));
}

/* Who was needed when it led the last time means nothing. */
static void a_new_leadership_has_nobody_to_spare(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    propose_for(cluster, COMMANDS);
    cluster_run(cluster, 50);
    cluster->on_frame = NULL; /* which follows one leader */
    unsigned leader = cluster_sure_leader(cluster);
    assert_int_not_equal(follower(cluster, true), 0);
    hand_over(cluster, leader, (leader + 1) % 3);
    cluster_converge(cluster);
    hand_over(cluster, (leader + 1) % 3, leader);
    assert_int_equal(follower(cluster, true), 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Both followers make the majority then. */
static void a_leader_with_a_slow_disk_has_nobody_to_spare(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, 20);
    unsigned leader = cluster_sure_leader(cluster);
    simulated_disk_latency(cluster->nodes[leader].disk, cluster->now_ms, 60, 60);
    propose_for(cluster, COMMANDS);
    memset(longest_wait, 0, sizeof longest_wait);
    propose_for(cluster, COMMANDS);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(longest_wait[id], 0);
    }
    simulated_disk_latency(cluster->nodes[leader].disk, cluster->now_ms, 0, 0);
    cluster_run(cluster, 200);
    propose_for(cluster, COMMANDS);
    assert_int_not_equal(follower(cluster, false), 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* The race that both were to arrive in is over with the one that has, when it takes no more. */
static void a_leader_whose_disk_recovers_waits_for_one_only(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    unsigned leader = cluster_sure_leader(cluster);
    simulated_disk_latency(cluster->nodes[leader].disk, cluster->now_ms, 60, 60);
    propose_for(cluster, COMMANDS);
    uint64_t slow = (leader + 1) % 3 + 1;
    cluster->nodes[slow - 1].stalled_until_ms = cluster->now_ms + 250;
    propose_for(cluster, 2 * PACE_MS);
    assert_true(is_needed(cluster, slow));
    simulated_disk_latency(cluster->nodes[leader].disk, cluster->now_ms, 0, 0);
    propose_for(cluster, 150);
    assert_false(is_needed(cluster, slow));
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Q3 */
static void nobody_is_spare_while_a_needed_one_is_not_connected(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, PACE_MS);
    propose_for(cluster, COMMANDS);
    cluster_run(cluster, 50); /* no race is left that the other one could win */
    uint64_t gone = follower(cluster, true), other = follower(cluster, false);
    cluster_crash(cluster, (unsigned)gone - 1);
    cluster_run(cluster, 200);
    assert_false(peer_of_leader(cluster, gone)->connected);
    longest_wait[other] = 0;
    propose_for(cluster, 40);
    assert_int_equal(longest_wait[other], 0);
    cluster_start_all(cluster);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Q3: its stream breaks, and the majority is with the other one, who is sent at once what has waited for its turn. */
static void who_is_lost_keeps_the_other_waiting_no_longer(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, 20);
    uint64_t spare = leave_waiting(cluster), needed = follower(cluster, true);
    unsigned leader = cluster_sure_leader(cluster);
    struct cluster_stream *stream = &cluster->streams[leader][needed - 1];
    stream->stale = true;
    stream->change_ms = cluster->now_ms;
    cluster_run(cluster, 0);
    assert_false(peer_of_leader(cluster, needed)->connected);
    assert_int_equal(sent_upto[spare], cluster_status(cluster, leader).last_index);
    assert_true(cluster_run_until(cluster, all_acknowledged, 5));
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Raft's own window, and ours, are full of what waits: it leaves then, and all arrives. */
static void a_burst_does_not_wait_for_its_turn(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, 20);
    propose_for(cluster, COMMANDS);
    cluster_run(cluster, 50);
    propose(cluster); /* takes the turn */
    assert_true(cluster_run_until(cluster, all_acknowledged, 15));
    uint64_t spare = follower(cluster, false), before = sent_upto[spare];
    unsigned leader = cluster_sure_leader(cluster), held = 0;
    for (;;) {
        propose(cluster);
        uint64_t last = cluster_status(cluster, leader).last_index;
        if (last - before >= REPLICA_PACE_ENTRIES_MAX) {
            assert_int_equal(sent_upto[spare], last);
            break;
        }
        assert_int_equal(sent_upto[spare], before);
        held++;
    }
    assert_true(held > 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* What waits for a follower, and all that the log has beyond; 0: nothing waits. */
static uint64_t waiting_bytes(struct cluster *cluster, uint64_t id)
{
    const struct replica_peer *peer = peer_of_leader(cluster, id);
    const struct log *log = peer->replica->log;
    uint64_t bytes = 0;
    bool waits = peer->feed_count > 0 && !peer->feed_reading;
    for (uint64_t index = peer->feed[0].next_index; waits && index <= log_last_index(log); index++) {
        assert_non_null(log_get(log, index));
        bytes += log_get(log, index)->size;
    }
    return bytes;
}

/* Q6 */
static void what_waits_stays_in_a_small_cache(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.append_pace_ms = 20;
    options.log_cache_bytes = 4000;
    struct cluster *cluster = watched_cluster(options);
    uint64_t most = 0;
    for (unsigned i = 0; i < 200; i++) {
        propose_bytes(cluster, 400);
        cluster_run(cluster, 2);
        for (uint64_t id = 1; id <= 3; id++) {
            uint64_t bytes = id == cluster_sure_leader(cluster) + 1 ? 0 : waiting_bytes(cluster, id);
            most = bytes > most ? bytes : most;
            assert_true(id == cluster_sure_leader(cluster) + 1 || !peer_of_leader(cluster, id)->feed_reading);
        }
    }
    assert_true(most > options.log_cache_bytes / 2);
    assert_true(most <= options.log_cache_bytes);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Silent for a while: raft sends it what it lacks with a heartbeat, and nothing more before it answers. */
static bool waits_and_raft_sends_no_more(struct cluster *cluster, uint64_t spare)
{
    cluster->nodes[spare - 1].stalled_until_ms = cluster->now_ms + 300;
    cluster_run(cluster, 100);
    for (unsigned i = 0; i < 15 && waiting_bytes(cluster, spare) == 0; i++) {
        propose(cluster);
        /* Less than an answer takes: raft sends at once what is proposed when nothing is in flight. */
        cluster_run(cluster, 4);
    }
    return waiting_bytes(cluster, spare) > 0;
}

/* Q6: the log goes on without it. */
static void what_waits_stays_though_raft_has_nothing_more_for_it(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.append_pace_ms = 20;
    options.log_cache_bytes = 4000;
    struct cluster *cluster = watched_cluster(options);
    unsigned waited = 0;
    cluster->delay_min = cluster->delay_max = 5;
    for (unsigned i = 0; i < 10; i++) {
        propose_for(cluster, COMMANDS);
        cluster_run(cluster, 50);
        uint64_t spare = follower(cluster, false);
        waited += waits_and_raft_sends_no_more(cluster, spare);
        for (unsigned ms = 0; ms < options.append_pace_ms; ms++) {
            propose_bytes(cluster, 400);
            cluster_run(cluster, 1);
            assert_true(waiting_bytes(cluster, spare) <= options.log_cache_bytes);
        }
        cluster_converge(cluster);
    }
    assert_true(waited > 0);
    cluster_free(cluster);
}

/* Q6 */
static void what_waits_fits_into_a_small_queue(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.append_pace_ms = 20;
    options.peer_queue_bytes = 6000;
    struct cluster *cluster = watched_cluster(options);
    size_t most = 0;
    for (unsigned i = 0; i < 200; i++) {
        propose_bytes(cluster, 200); /* up to four of them */
        cluster_run(cluster, 1);
        uint64_t spare = follower(cluster, false);
        most = moment_bytes[spare] > most ? moment_bytes[spare] : most;
        assert_true(spare == 0 || waiting_bytes(cluster, spare) <= options.peer_queue_bytes / 4);
    }
    assert_true(most > options.peer_queue_bytes / 4);
    assert_true(most <= options.peer_queue_bytes / 2);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* Q5 */
static void a_narrow_window_does_not_let_the_spare_one_fall_back(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.append_pace_ms = 20;
    options.entries_in_flight_max = 8;
    struct cluster *cluster = watched_cluster(options);
    for (unsigned i = 0; i < 200; i++) {
        propose(cluster);
        assert_true(cluster_run_until(cluster, all_acknowledged, 1000));
        cluster_run(cluster, 1);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        assert_true(longest_wait[id] <= options.append_pace_ms);
    }
    cluster_free(cluster);
}

static void who_takes_over_is_sent_at_once_what_waits(void **state)
{
    (void)state;
    struct cluster *cluster = paced_cluster(3, 20);
    uint64_t spare = leave_waiting(cluster);
    unsigned leader = cluster_sure_leader(cluster);
    assert_true(
        replica_transfer(cluster->nodes[leader].replica, (struct local_time){cluster->now_ms}, spare));
    assert_int_equal(sent_upto[spare], cluster_status(cluster, leader).last_index);
    cluster_run(cluster, 30);
    assert_int_equal(cluster_sure_leader(cluster), spare - 1);
    cluster_free(cluster);
}

int main(void)
{
    seed = cluster_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_load_everybody_is_sent_an_entry_at_once),
        cmocka_unit_test(under_load_who_is_spare_is_sent_batches),
        cmocka_unit_test(without_a_pace_nobody_waits),
        cmocka_unit_test(one_that_stops_answering_is_no_longer_needed),
        cmocka_unit_test(the_faster_one_is_needed),
        cmocka_unit_test(those_who_are_far_away_race_too),
        cmocka_unit_test(a_new_leadership_has_nobody_to_spare),
        cmocka_unit_test(a_leader_with_a_slow_disk_has_nobody_to_spare),
        cmocka_unit_test(a_leader_whose_disk_recovers_waits_for_one_only),
        cmocka_unit_test(nobody_is_spare_while_a_needed_one_is_not_connected),
        cmocka_unit_test(who_is_lost_keeps_the_other_waiting_no_longer),
        cmocka_unit_test(a_burst_does_not_wait_for_its_turn),
        cmocka_unit_test(what_waits_stays_in_a_small_cache),
        cmocka_unit_test(what_waits_stays_though_raft_has_nothing_more_for_it),
        cmocka_unit_test(what_waits_fits_into_a_small_queue),
        cmocka_unit_test(a_narrow_window_does_not_let_the_spare_one_fall_back),
        cmocka_unit_test(who_takes_over_is_sent_at_once_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
