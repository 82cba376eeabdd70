/* Rules of the replica that storms rarely or never reach, because another rule stands before them: each is looked at by
 * itself, where need be by touching what is inside the replica. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"
#include "node/replica/log_internal.h"
#include "node/replica/replica_internal.h"

static uint64_t seed = 1;

static void records_are_sealed_with_what_no_client_knows(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    for (unsigned i = 0; i < 3; i++) {
        const struct replica *replica = cluster->nodes[i].replica;
        uint64_t incarnation = replica->metadata.incarnation;
        assert_int_equal(replica->log->options.checksum_seed, (uint32_t)(incarnation ^ incarnation >> 32));
    }
    cluster_free(cluster);
}

/* ---- frames that a node sends ---- */

static unsigned frames_seen;

/* R2: whoever speaks of a term or a vote has it in its metadata, which is written and synced as it is set. */
static void metadata_was_first(struct cluster *cluster, uint64_t from, uint64_t to,
                               const struct link_part *parts, unsigned count)
{
    const struct replica *replica = cluster->nodes[from - 1].replica;
    struct wire_frame frame;
    if (replica == NULL || count != 1 || wire_decode(parts[0].data, parts[0].size, &frame) != NULL) {
        return;
    }
    if (frame.kind == WIRE_VOTE && !frame.vote.pre_vote) {
        assert_int_equal(replica->metadata.term, frame.vote.term);
        assert_int_equal(replica->metadata.voted_for, from);
        frames_seen++;
    }
    if (frame.kind == WIRE_VOTE_RESULT && !frame.vote_result.pre_vote && frame.vote_result.vote_granted) {
        assert_int_equal(replica->metadata.term, frame.vote_result.term);
        assert_int_equal(replica->metadata.voted_for, to);
        frames_seen++;
    }
}

static void a_vote_is_stored_before_it_is_spoken_of(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(3, seed));
    frames_seen = 0;
    cluster->on_frame = metadata_was_first;
    cluster_start_all(cluster);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(cluster, cluster_sure_leader(cluster));
        assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
        cluster_start_all(cluster);
        cluster_converge(cluster);
    }
    assert_true(frames_seen >= 8); /* four elections, each with a question and an answer */
    cluster_free(cluster);
}

/* F1 */
static void formed_was_stored_first(struct cluster *cluster, uint64_t from, uint64_t to,
                                    const struct link_part *parts, unsigned count)
{
    struct wire_frame frame;
    struct metadata metadata;
    char message[512];
    (void)to;
    bool whole = count == 1 && wire_decode(parts[0].data, parts[0].size, &frame) == NULL;
    if (!whole || frame.kind == WIRE_INTRODUCTION) {
        return;
    }
    struct disk *disk = simulated_disk_seam(cluster->nodes[from - 1].disk);
    assert_int_equal(metadata_load(disk, &metadata, message, sizeof message), METADATA_OK);
    assert_true(metadata.formed);
    assert_int_equal(metadata.known_count, 2);
    frames_seen++;
}

static void that_it_is_formed_is_stored_before_it_takes_part(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(3, seed));
    frames_seen = 0;
    cluster->on_frame = formed_was_stored_first;
    cluster_start_all(cluster);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
    assert_true(frames_seen > 0);
    cluster_free(cluster);
}

/* ---- frames that a node takes ---- */

static bool receive(struct cluster *cluster, unsigned to, unsigned from, const struct wire_frame *frame)
{
    uint8_t bytes[WIRE_HEAD_BYTES_MAX];
    size_t size = wire_encode_head(frame, bytes);
    return replica_receive(cluster->nodes[to].replica, (struct local_time){cluster->now_ms}, from + 1, bytes,
                           size);
}

/* F5: whoever is refused ends there (the link closes its stream), and the peer whose id it took goes on, also while it comes
 * again and again. */
static void another_directory_is_refused_and_takes_nothing_from_the_right_one(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3, absent = (leader + 2) % 3;
    struct wire_frame introduction = {.kind = WIRE_INTRODUCTION, .introduction = {.incarnation = 4711}};
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 10; i++) {
        assert_false(receive(cluster, leader, follower, &introduction));
        assert_false(receive(cluster, follower, leader, &introduction));
        cluster_command(cluster, 10); /* takes the frames of both */
    }
    assert_int_equal(cluster_sure_leader(cluster), leader);
    cluster_free(cluster);
}

static unsigned lines_seen;

static void count_line(void *ctx, enum logger_level level, const char *message)
{
    (void)ctx;
    (void)level;
    (void)message;
    lines_seen++;
}

/* Whoever reaches the port can call itself a peer, send nonsense, and come again at once: the log must not grow by it. */
static void what_a_peer_causes_again_and_again_is_told_a_few_times(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    struct replica *replica = cluster->nodes[0].replica;
    replica->callbacks.log = count_line;
    for (unsigned round = 0; round < 2; round++) { /* and anew after a while */
        struct local_time now = {cluster->now_ms + (round + 1) * REPLICA_REMIND_MS};
        lines_seen = 0;
        for (unsigned i = 0; i < 1000; i++) {
            assert_false(replica_receive(replica, now, 2, "nonsense", 8));
        }
        assert_in_range(lines_seen, 1, REPLICA_TELL_MAX);
        lines_seen = 0;
        for (unsigned i = 0; i < 100; i++) {
            replica_link_down(replica, now, 2);
            replica_link_up(replica, now, 2);
        }
        assert_in_range(lines_seen, 1, REPLICA_TELL_MAX);
    }
    cluster_free(cluster);
}

static bool restart_advised;
static jmp_buf ended;

static void end_told(void *ctx, bool restart_helps, const char *message)
{
    (void)ctx;
    assert_non_null(strstr(message, "do not restart it"));
    restart_advised = restart_helps;
    /* tidy: longjmp because fatal() does not return; the node is not used again. */
    longjmp(ended, 1);
}

/* Another leader, in a later term, has something else where this node knows what is committed. The process must stay down, and so
 * whoever starts processes must not be told that a restart helps. */
static void a_node_that_is_contradicted_ends_for_good(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    struct replica *replica = cluster->nodes[follower].replica;
    uint64_t index = replica->commit_index, term = cluster->nodes[follower].term + 1;
    struct wire_frame append = {.kind = WIRE_APPEND,
                                .append = {.version = 1,
                                           .term = term,
                                           .prev_index = index - 1,
                                           .prev_term = log_term(replica->log, index - 1),
                                           .leader_commit = index - 1,
                                           .count = 1}};
    struct log_entry *entry = log_entry_create(index, term, LOG_COMMAND, 8);
    uint8_t bytes[WIRE_HEAD_BYTES_MAX + WIRE_ENTRY_HEAD_BYTES + 8] = {0};
    size_t size = wire_encode_head(&append, bytes);
    wire_encode_entry_head(entry, bytes + size);
    log_entry_unref(entry);
    replica->callbacks.fatal = end_told;
    restart_advised = true;
    if (setjmp(ended) == 0) { /* tidy: setjmp because fatal() does not return */
        (void)replica_receive(replica, (struct local_time){cluster->now_ms}, leader + 1, bytes, size + WIRE_ENTRY_HEAD_BYTES + 8);
        fail();
    }
    assert_false(restart_advised);
    log_entry_unref(replica->step_entries[0]); /* the process would have taken it along */
    cluster_free(cluster);
}

/* Raft's own may: here it is made to, and then rises to something below what was committed. */
static void the_commit_index_never_falls(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    for (unsigned i = 0; i < 5; i++) {
        cluster_command(cluster, 10);
    }
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    struct replica *replica = cluster->nodes[follower].replica;
    struct replica_status before = cluster_status(cluster, follower);
    replica->raft.commit_index = before.commit_index - 3;
    struct wire_frame heartbeat = {
        .kind = WIRE_APPEND,
        .append = {.term = before.term,
                   .prev_index = before.last_index,
                   .prev_term = log_term(replica->log, before.last_index),
                   .leader_commit = before.commit_index - 1},
    };
    assert_true(receive(cluster, follower, leader, &heartbeat));
    assert_int_equal(replica->raft.commit_index, before.commit_index - 1);
    assert_int_equal(cluster_status(cluster, follower).commit_index, before.commit_index);
    replica->raft.commit_index = before.commit_index;
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- appends ---- */

/* E1: what waits for the disk on its way to a follower is given up when it was made in an older term. */
static void what_an_older_leadership_queued_never_leaves(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    struct replica *replica = cluster->nodes[leader].replica;
    struct replica_peer *peer = &replica->peers[0];
    while (peer->node_id != follower + 1) {
        peer++;
    }
    peer->feed[0] = (struct replica_feed_item){.term = raft_current_term(&replica->raft) - 1,
                                               .next_index = 2,
                                               .prev_term = 1,
                                               .left = 1,
                                               .version = 1};
    peer->feed_count = 1;
    peer->feed_reading = true;
    assert_true(cluster_propose(cluster, leader, 10));
    assert_true(peer->feed_count == 0 || peer->feed[0].term == raft_current_term(&replica->raft));
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- reads ---- */

/* D1 */
static void a_round_proves_no_read_that_came_after_it(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), follower = (leader + 1) % 3;
    struct replica *replica = cluster->nodes[leader].replica;
    uint64_t answered = cluster->nodes[leader].reads_answered;
    assert_true(cluster_read_at(cluster, leader));
    replica_flush(replica);
    assert_true(cluster_read_at(cluster, leader));
    struct wire_frame yes = {
        .kind = WIRE_READ_ANSWER,
        .read = {.term = raft_current_term(&replica->raft), .nonce = replica->reads.nonce_last, .yes = true},
    };
    assert_true(receive(cluster, leader, follower, &yes));
    assert_int_equal(replica->reads.proven_upto, replica->reads.sequence_last - 1);
    assert_int_equal(cluster->nodes[leader].reads_answered, answered + 1);
    cluster_converge(cluster);
    assert_int_equal(cluster->nodes[leader].reads_answered, answered + 2);
    cluster_free(cluster);
}

/* D2: as if one entry more had been committed when the read came. */
static void a_read_waits_for_what_was_committed_when_it_came(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster);
    struct cluster_node *node = &cluster->nodes[leader];
    struct replica_reads *reads = &node->replica->reads;
    uint64_t answered = node->reads_answered;
    assert_true(cluster_read_at(cluster, leader));
    assert_int_equal(reads->queue[reads->head].commit_index, node->replica->commit_index);
    reads->queue[reads->head].commit_index = node->replica->applied_index + 1;
    cluster_run(cluster, 100);
    assert_int_equal(reads->proven_upto, reads->sequence_last);
    assert_int_equal(node->reads_answered, answered);
    cluster_converge(cluster);
    assert_int_equal(node->reads_answered, answered + 1);
    cluster_free(cluster);
}

/* ---- time ---- */

static void a_timeout_that_does_not_move_is_not_due_again_at_once(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned follower = (cluster_sure_leader(cluster) + 1) % 3;
    struct replica *replica = cluster->nodes[follower].replica;
    raft_time timer = replica->raft.election_timer_start;
    replica->timeout_fired_ms = cluster->now_ms;
    replica->raft.election_timer_start = 0;
    assert_true(raft_timeout(&replica->raft) < cluster->now_ms);
    assert_true(replica_deadline(replica).ms > cluster->now_ms);
    replica->raft.election_timer_start = timer;
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- the start ---- */

static void nobody_leads_before_its_first_entry_is_durable(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(1, seed));
    simulated_disk_latency(cluster->nodes[0].disk, cluster->now_ms, 100, 100);
    assert_true(cluster_start(cluster, 0));
    const struct replica *replica = cluster->nodes[0].replica;
    assert_int_equal(cluster_status(cluster, 0).last_index, 1);
    for (unsigned i = 0; i < 1000 && cluster_status(cluster, 0).durable_index == 0; i++) {
        assert_int_equal(replica->phase, PHASE_FORMING);
        cluster_run(cluster, 1);
    }
    assert_true(cluster_status(cluster, 0).durable_index >= 1);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 5000));
    cluster_free(cluster);
}

/* ---- installing ---- */

static bool log_voids(const struct replica *replica)
{
    const struct log *log = replica->log;
    return log->reset.queued || (log->write.active && log->write.reset.queued);
}

/* What must hold in every millisecond around an installation. */
static void look(const struct cluster *cluster, unsigned node, bool *installing, uint64_t *applied,
                 unsigned *count)
{
    struct replica *replica = cluster->nodes[node].replica;
    bool was = *installing;
    *installing = replica_installing(replica);
    *count += *installing && !was;
    if (was && !*installing) {
        assert_false(log_voids(replica)); /* I2 */
    }
    if (*installing) {
        if (was) {
            assert_int_equal(replica->applied_index, *applied); /* R4 */
        }
        uint64_t stored = replica->raft.last_stored;
        replica_log_durable(replica, log_durable_index(replica->log)); /* as a log would that reports late */
        assert_int_equal(replica->raft.last_stored, stored);           /* R4 */
        assert_true(replica_installing(replica));
    }
    *applied = replica->applied_index;
}

static void nothing_moves_while_a_snapshot_is_put_in_place(void **state)
{
    (void)state;
    unsigned count = 0;
    for (uint64_t i = 0; i < 24; i++) {
        struct cluster_options options = cluster_options(3, seed + i);
        options.snapshot_after_bytes = 60000;
        options.trailing_bytes = 20000;
        options.segment_bytes = 32 * 1024;
        options.image_bytes = 100;
        struct cluster *cluster = cluster_started(options);
        cluster_command(cluster, 10);
        unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
        cluster_crash(cluster, absent);
        for (unsigned j = 0; j < 40; j++) {
            cluster_command(cluster, 4000);
        }
        assert_true(cluster_start(cluster, absent));
        simulated_disk_latency(cluster->nodes[absent].disk, cluster->now_ms, 1, 60);
        bool installing = false;
        uint64_t applied = 0;
        for (unsigned ms = 0; ms < 6000; ms++) {
            cluster_run(cluster, 1);
            look(cluster, absent, &installing, &applied, &count);
        }
        simulated_disk_latency(cluster->nodes[absent].disk, cluster->now_ms, 0, 1);
        cluster_converge(cluster);
        cluster_free(cluster);
    }
    assert_true(count >= 6); /* enough of them were seen in the middle of it */
}

/* In the middle of work nobody has all of the log, and the last of the configuration is gone. */
static void leadership_is_handed_to_a_voter_that_is_there(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), gone = leader == 2 ? 1 : 2, other = 3 - leader - gone;
    struct replica *replica = cluster->nodes[leader].replica;
    cluster_crash(cluster, gone);
    cluster_run(cluster, 1000);
    assert_true(cluster_propose(cluster, leader, 100));
    assert_true(replica_transfer(replica, (struct local_time){cluster->now_ms}, 0));
    cluster_run(cluster, 100);
    assert_int_equal(cluster_sure_leader(cluster), other);
    cluster_start_all(cluster);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* A cluster whose leader was just told to hand over, to one or the other. */
static struct cluster *handing_over_under_load(unsigned round, unsigned *ret_old, unsigned *ret_to)
{
    struct cluster *cluster = cluster_started(cluster_options(3, seed + round));
    cluster_converge(cluster);
    cluster->load_ms = 1;
    cluster_run(cluster, 100 + round);
    *ret_old = cluster_sure_leader(cluster);
    *ret_to = (*ret_old + 1 + round % 2) % 3;
    struct local_time now = {cluster->now_ms};
    assert_true(replica_transfer(cluster->nodes[*ret_old].replica, now, *ret_to + 1));
    return cluster;
}

/* Who takes over lacks entries in that moment, or writes them still: it is told to stand when it does so no longer, not before,
 * since it would not. */
static void leadership_is_handed_over_in_the_middle_of_work(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        unsigned old, to;
        struct cluster *cluster = handing_over_under_load(i, &old, &to);
        cluster_run(cluster, 60);
        assert_int_equal(cluster_sure_leader(cluster), to);
        cluster_free(cluster);
    }
}

/* The stream to it breaks before raft's word has left, or with it: it is told when there is a stream again and it has everything,
 * long before the transfer would be given up. */
static void who_takes_over_is_told_though_its_stream_breaks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        unsigned old, to;
        struct cluster *cluster = handing_over_under_load(i, &old, &to);
        cluster_run(cluster, i % 4);
        cluster->streams[old][to].stale = true;
        cluster->streams[old][to].change_ms = cluster->now_ms;
        cluster_run(cluster, 200); /* 100 to connect, at the most, and the next heartbeats */
        assert_int_equal(cluster_sure_leader(cluster), to);
        cluster_free(cluster);
    }
}

/* Raft would take either, and nothing would be proposed for an election timeout. */
static void leadership_is_not_handed_to_a_named_voter_that_is_gone_or_far_behind(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_converge(cluster);
    unsigned leader = cluster_sure_leader(cluster), gone = leader == 2 ? 1 : 2;
    struct replica *replica = cluster->nodes[leader].replica;
    const struct replica_peer *peer = replica_peer_find(replica, gone + 1);
    cluster_crash(cluster, gone);
    cluster_run(cluster, 1000);
    assert_false(replica_transfer(replica, (struct local_time){cluster->now_ms}, gone + 1));
    for (unsigned i = 0; i < 2 * replica->config.entries_in_flight_max; i++) {
        assert_true(cluster_propose(cluster, leader, 10));
        cluster_run(cluster, 10);
    }
    cluster_start_all(cluster);
    while (!peer->connected || !peer->accepted || cluster->now_ms > peer->heard_ms + 1) {
        cluster_run(cluster, 1);
    }
    assert_false(replica_transfer(replica, (struct local_time){cluster->now_ms}, gone + 1));
    cluster_converge(cluster);
    assert_int_equal(cluster_sure_leader(cluster), leader);
    assert_true(replica_transfer(replica, (struct local_time){cluster->now_ms}, gone + 1));
    cluster_run(cluster, 100);
    assert_int_equal(cluster_sure_leader(cluster), gone);
    cluster_free(cluster);
}

/* The others commit without it. What waits for its disk must not grow for ever, nor the cluster be as slow as that disk. */
static void a_leader_whose_disk_is_behind_proposes_no_more_and_hands_over(void **state)
{
    enum { HELD_MAX = 1024 * 1024, COMMAND = 4000 };
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.log_held_bytes_max = HELD_MAX;
    struct cluster *cluster = cluster_started(options);
    unsigned slow = cluster_sure_leader(cluster);
    simulated_disk_latency(cluster->nodes[slow].disk, cluster->now_ms, 3000, 3000);
    uint64_t most = 0;
    for (unsigned ms = 0; ms < 5000; ms++) {
        int leader = cluster_leader(cluster);
        if (leader >= 0 && ms % 2 == 0) {
            (void)cluster_propose(cluster, (unsigned)leader, COMMAND);
        }
        cluster_run(cluster, 1);
        uint64_t held = log_held_bytes(cluster->nodes[slow].replica->log);
        most = held > most ? held : most;
    }
    assert_in_range(most, HELD_MAX, HELD_MAX + 4 * COMMAND);
    assert_int_not_equal(cluster_sure_leader(cluster), slow);
    simulated_disk_latency(cluster->nodes[slow].disk, cluster->now_ms, 0, 1);
    cluster_converge(cluster);
    assert_true(log_held_bytes(cluster->nodes[slow].replica->log) < HELD_MAX);
    cluster_free(cluster);
}

static int elected(const struct cluster *cluster)
{
    for (unsigned i = 0; i < 3; i++) {
        if (replica_leads(cluster->nodes[i].replica)) {
            return (int)i;
        }
    }
    return -1;
}

/* After a start the whole log waits to be applied, at all nodes: nothing that another leader would do better. */
static void a_leader_that_has_its_log_to_apply_is_not_behind(void **state)
{
    (void)state;
    struct cluster_options options = cluster_options(3, seed);
    options.log_held_bytes_max = 100 * 1000;
    struct cluster *cluster = cluster_started(options);
    for (unsigned i = 0; i < 50; i++) {
        cluster_command(cluster, 3000);
    }
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(cluster, i);
    }
    cluster_start_all(cluster);
    while (elected(cluster) < 0) {
        assert_true(cluster->now_ms < 60000);
        cluster_run(cluster, 1);
    }
    const struct cluster_node *node = &cluster->nodes[elected(cluster)];
    assert_false(node->serving);
    assert_true(log_held_bytes(node->replica->log) > options.log_held_bytes_max);
    assert_false(replica_disk_is_behind(node->replica));
    cluster_converge(cluster);
    cluster_free(cluster);
}

int main(void)
{
    seed = cluster_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_sealed_with_what_no_client_knows),
        cmocka_unit_test(a_vote_is_stored_before_it_is_spoken_of),
        cmocka_unit_test(that_it_is_formed_is_stored_before_it_takes_part),
        cmocka_unit_test(another_directory_is_refused_and_takes_nothing_from_the_right_one),
        cmocka_unit_test(what_a_peer_causes_again_and_again_is_told_a_few_times),
        cmocka_unit_test(a_node_that_is_contradicted_ends_for_good),
        cmocka_unit_test(the_commit_index_never_falls),
        cmocka_unit_test(what_an_older_leadership_queued_never_leaves),
        cmocka_unit_test(a_round_proves_no_read_that_came_after_it),
        cmocka_unit_test(a_read_waits_for_what_was_committed_when_it_came),
        cmocka_unit_test(a_timeout_that_does_not_move_is_not_due_again_at_once),
        cmocka_unit_test(nobody_leads_before_its_first_entry_is_durable),
        cmocka_unit_test(nothing_moves_while_a_snapshot_is_put_in_place),
        cmocka_unit_test(leadership_is_handed_to_a_voter_that_is_there),
        cmocka_unit_test(leadership_is_handed_over_in_the_middle_of_work),
        cmocka_unit_test(who_takes_over_is_told_though_its_stream_breaks),
        cmocka_unit_test(leadership_is_not_handed_to_a_named_voter_that_is_gone_or_far_behind),
        cmocka_unit_test(a_leader_whose_disk_is_behind_proposes_no_more_and_hands_over),
        cmocka_unit_test(a_leader_that_has_its_log_to_apply_is_not_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
