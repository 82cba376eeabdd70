/* Reads (C3), cluster.status and cluster.transfer (reads.h). */
#include <stdio.h>
#include <string.h>

#include "test_core_harness.h"

static void reads_of_a_turn_share_one_proof_and_wait_for_it(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    uint64_t token = harness_lock(h, c, 1, session, 1, "k");
    for (uint64_t id = 10; id < 13; id++) {
        struct proto_request get = harness_get(id, "k", false);
        harness_send(h, c, &get);
    }
    harness_turn(h, 0);
    assert_int_equal(h->reads_count, 1);
    harness_turn(h, 0);
    harness_turn(h, 5);
    harness_expect_nothing(h, c);
    harness_prove(h, true);
    assert_int_equal(core_deadline(h->core).ms, h->now.ms);
    harness_turn(h, 0);
    for (uint64_t id = 10; id < 13; id++) {
        struct proto_reply reply = harness_expect(h, c, id, PROTO_STATUS_OK);
        assert_int_equal(reply.body.lock.fence, token);
        assert_int_equal(reply.applied_index, h->applied_index);
    }
}

/* How much is left of the lease of "k", and at what time. */
static uint64_t remaining_of_k(struct harness *h, uint64_t connection, bool stale, uint64_t *ret_time_ms)
{
    struct proto_request get = harness_get(++h->next_id + 1000, "k", stale);
    harness_send(h, connection, &get);
    harness_turn(h, 0);
    if (!stale) {
        harness_prove(h, true);
        harness_turn(h, 0);
    }
    struct proto_reply reply = harness_expect(h, connection, get.id, PROTO_STATUS_OK);
    assert_int_equal(reply.body.lock.holders_shown, 1);
    *ret_time_ms = reply.time.ms;
    return reply.body.lock.holders[0].remaining_ms;
}

/* A stale answer tells by its time how old it is. */
static void what_remains_is_told_as_of_now_by_who_leads(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    (void)harness_lock(h, c, 1, session, 1, "k");
    uint64_t state_ms = fsm_time(h->core->fsm).ms;
    uint64_t before_ms = 0, after_ms = 0, stale_ms = 0;
    harness_turn(h, 5);
    uint64_t before = remaining_of_k(h, c, false, &before_ms);
    for (unsigned i = 0; i < 100; i++) {
        harness_turn(h, 50);
    }
    assert_int_equal(fsm_time(h->core->fsm).ms, state_ms); /* nothing came into the log */
    uint64_t after = remaining_of_k(h, c, false, &after_ms);
    assert_int_equal(before - after, 5000);
    assert_int_equal(after_ms - before_ms, 5000);
    assert_int_equal(remaining_of_k(h, c, true, &stale_ms), after + (after_ms - state_ms));
    assert_int_equal(stale_ms, state_ms);
}

/* More than its connection's bound, asked for in one go: that is no reason to cut off a client that reads. */
static void a_client_that_has_much_to_read_yet_waits_for_more_answers(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h), other = harness_connect(h);
    struct harness_connection *connection = harness_connection(h, c);
    connection->slow = true;
    for (uint64_t id = 1; id <= 2; id++) {
        struct proto_request get = harness_get(id, "k", id == 1);
        harness_send(h, c, &get);
        harness_send(h, other, &get);
    }
    harness_turn(h, 0);
    harness_prove(h, true);
    harness_turn(h, 0);
    harness_expect_nothing(h, c);
    (void)harness_expect(h, other, 1, PROTO_STATUS_OK);
    (void)harness_expect(h, other, 2, PROTO_STATUS_OK);
    assert_int_equal(core_deadline(h->core).ms,
                     h->now.ms + READS_HELD_MS); /* not before: the loop may sleep */
    harness_turn(h, READS_HELD_MS);
    harness_expect_nothing(h, c);

    connection->slow = false;
    struct proto_request later = harness_get(3, "k", true);
    harness_send(h, c, &later);
    harness_turn(h, READS_HELD_MS);
    (void)harness_expect(h, c, 3, PROTO_STATUS_OK);
    (void)harness_expect(h, c, 1, PROTO_STATUS_OK);
    (void)harness_expect(h, c, 2, PROTO_STATUS_OK);
    assert_int_equal(core_deadline(h->core).ms, UINT64_MAX);

    connection->slow = true;
    harness_send(h, c, &later);
    harness_turn(h, 0);
    harness_disconnect(h, c);
    harness_turn(h, READS_HELD_MS);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
}

/* More is held for it than one turn looks at, and each turn takes as long as what is held waits. */
static void a_client_that_does_not_read_keeps_no_other_from_reading(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h), other = harness_connect(h);
    harness_connection(h, c)->slow = true;
    for (uint64_t id = 1; id <= READS_PER_TURN + 100; id++) {
        struct proto_request get = harness_get(id, "k", true);
        harness_send(h, c, &get);
    }
    harness_turn(h, 0);
    struct proto_request get = harness_get(1, "k", true);
    harness_send(h, other, &get);
    for (unsigned i = 0; i < 3; i++) {
        harness_turn(h, READS_HELD_MS);
    }
    (void)harness_expect(h, other, 1, PROTO_STATUS_OK);
    harness_expect_nothing(h, c);
}

static void a_client_that_does_not_read_does_not_hold_up_the_end(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    harness_connection(h, c)->slow = true;
    struct proto_request get = harness_get(1, "k", true);
    harness_send(h, c, &get);
    harness_turn(h, 0);
    core_shutdown(h->core, h->now);
    harness_turn(h, READS_HELD_MS);
    assert_false(core_drained(h->core)); /* it may read yet */
    harness_follow(h, 2);
    harness_turn(h, READS_HELD_MS);
    harness_turn(h, READS_HELD_MS);
    assert_true(core_drained(h->core));
}

static void a_deposed_leader_answers_no_read(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    struct proto_request get = harness_get(1, "k", false);
    harness_send(h, c, &get);
    harness_turn(h, 0);
    harness_prove(h, false);
    struct proto_reply refused = harness_expect(h, c, 1, PROTO_STATUS_NOT_LEADER);
    assert_int_equal(refused.kind, PROTO_LOCK_GET);

    struct proto_request asked = harness_get(2, "k", false);
    harness_send(h, c, &asked);
    harness_turn(h, 0);
    struct proto_request gathered = harness_get(3, "k", false);
    harness_send(h, c, &gathered);
    harness_follow(h, 2);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 2, PROTO_STATUS_NOT_LEADER);
    (void)harness_expect(h, c, 3, PROTO_STATUS_NOT_LEADER);
    (void)harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED);
    harness_prove(h, true); /* too late */
    harness_turn(h, 0);
    harness_expect_nothing(h, c);

    struct proto_request follower = harness_get(4, "k", false);
    harness_send(h, c, &follower);
    harness_turn(h, 0);
    struct proto_reply away = harness_expect(h, c, 4, PROTO_STATUS_NOT_LEADER);
    assert_int_equal(away.body.refusal.leader_id, 2);
}

static void a_question_that_the_replica_refuses_spares_the_earlier_ones(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    struct proto_request first = harness_get(1, "k", false);
    harness_send(h, c, &first);
    harness_turn(h, 0);
    h->refuse_reads = true;
    struct proto_request second = harness_get(2, "k", false);
    harness_send(h, c, &second);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 2, PROTO_STATUS_NOT_LEADER);
    harness_prove(h, true);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 1, PROTO_STATUS_OK);
}

static void a_stale_read_is_answered_anywhere_in_its_turn(void **state)
{
    struct harness *h = *state;
    harness_follow(h, 2);
    uint64_t c = harness_connect(h);
    struct proto_request get = harness_get(1, "k", true);
    harness_send(h, c, &get);
    harness_turn(h, 0);
    struct proto_reply reply = harness_expect(h, c, 1, PROTO_STATUS_OK);
    assert_int_equal(reply.body.lock.holders_count, 0);
    assert_int_equal(h->reads_count, 0);
}

static void a_flood_of_reads_is_spread_over_turns(void **state)
{
    struct harness *h = *state;
    uint64_t c = harness_connect(h);
    for (uint64_t id = 1; id <= READS_PER_TURN + 100; id++) {
        struct proto_request get = harness_get(id, "k", true);
        harness_send(h, c, &get);
    }
    harness_turn(h, 0);
    assert_int_equal(harness_counts(h).reads, READS_PER_TURN);
    assert_int_equal(core_deadline(h->core).ms, h->now.ms);
    harness_turn(h, 0);
    assert_int_equal(harness_counts(h).reads, READS_PER_TURN + 100);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
}

/* A page of many rows takes as long as many short reads. */
static void reads_that_look_at_much_are_spread_over_more_turns(void **state)
{
    struct harness *h = *state;
    enum { LOCKS = 200, PER_TURN = READS_WORK_PER_TURN / LOCKS };
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    char key[16];
    for (unsigned i = 0; i < LOCKS; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        (void)harness_lock(h, c, 1, session, i + 1, key);
    }
    for (uint64_t id = 1000; id < 1000 + 2 * PER_TURN; id++) {
        struct proto_request request = {.kind = PROTO_LOCK_LIST, .id = id, .stale = true};
        request.body.lock_list.max = PROTO_LIST_MAX;
        harness_send(h, c, &request);
    }
    uint64_t before = harness_counts(h).reads;
    harness_turn(h, 0);
    assert_in_range(harness_counts(h).reads - before, PER_TURN - 2, PER_TURN + 2);
    assert_int_equal(core_deadline(h->core).ms, h->now.ms);
    harness_turn(h, 0);
    harness_turn(h, 0);
    assert_int_equal(harness_counts(h).reads - before, 2 * PER_TURN);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
}

static struct proto_cluster_reply status_of(struct harness *h, uint64_t c)
{
    struct proto_request request = {.kind = PROTO_CLUSTER_STATUS, .id = 99};
    harness_send(h, c, &request);
    harness_turn(h, 0);
    return harness_expect(h, c, 99, PROTO_STATUS_OK).body.cluster;
}

static void status_shows_this_nodes_view(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    (void)harness_lock(h, c, 1, session, 1, "k");
    h->now.ms += 250;
    struct proto_cluster_reply status = status_of(h, c);
    assert_int_equal(status.cluster_id, 77);
    assert_int_equal(status.node_id, 1);
    assert_int_equal(status.leader_id, 1);
    assert_int_equal(status.term, 1);
    assert_int_equal(status.applied_index, h->applied_index);
    assert_int_equal(status.digest_index, h->applied_index);
    assert_true(status.digest == fsm_digest(h->core->fsm));
    assert_int_equal(status.sessions_count, 1);
    assert_int_equal(status.locks_count, 1);
    assert_int_equal(status.uptime_ms, 250);
    assert_int_equal(status.members_count, 3);
    assert_memory_equal(status.members[2].client_address.data, "10.0.0.3:7400", 13);
    assert_memory_equal(status.version.data, "test", 4);
}

/* Two nodes that are asked while entries go by must show a digest of the same index. */
static void a_busy_node_shows_the_digest_at_a_fixed_index(void **state)
{
    struct harness *h = *state;
    h->core->options.digest_every_entries = 8;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    for (uint8_t who = 1; who <= 20; who++) {
        (void)harness_session(h, c, who, 60000);
    }
    harness_turn(h, 1);
    struct proto_cluster_reply busy = status_of(h, c);
    assert_int_equal(busy.applied_index, 21);
    assert_int_equal(busy.digest_index, 16);
    h->now.ms += 600; /* quiet */
    struct proto_cluster_reply quiet = status_of(h, c);
    assert_int_equal(quiet.digest_index, quiet.applied_index);
}

static void only_the_leader_hands_leadership_over(void **state)
{
    struct harness *h = *state;
    harness_follow(h, 2);
    uint64_t c = harness_connect(h);
    struct proto_request transfer = {.kind = PROTO_CLUSTER_TRANSFER, .id = 1};
    transfer.body.cluster_transfer.node_id = 3;
    harness_send(h, c, &transfer);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 1, PROTO_STATUS_NOT_LEADER);
    harness_lead(h);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 1);
    transfer.id = 2;
    harness_send(h, c, &transfer);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 2, PROTO_STATUS_OK);
    assert_int_equal(h->transfers, 1);
    h->refuse_transfer = true;
    transfer.id = 3;
    harness_send(h, c, &transfer);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 3, PROTO_STATUS_NOT_FOUND);
}

/* The request may have come again, from a client that did not hear the answer of the leader before. */
static void a_leader_that_is_to_lead_keeps_leadership(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    struct proto_request transfer = {.kind = PROTO_CLUSTER_TRANSFER, .id = 1};
    transfer.body.cluster_transfer.node_id = 1;
    h->refuse_transfer = true; /* as raft does if it is asked to hand over to itself */
    harness_send(h, c, &transfer);
    harness_turn(h, 0);
    (void)harness_expect(h, c, 1, PROTO_STATUS_OK);
    assert_int_equal(h->transfers, 0);
}

static void a_ping_is_answered_at_once_by_any_node(void **state)
{
    struct harness *h = *state;
    uint64_t c = harness_connect(h);
    struct proto_request ping = {.kind = PROTO_PING, .id = 5};
    harness_send(h, c, &ping);
    assert_int_equal(harness_expect(h, c, 5, PROTO_STATUS_OK).kind, PROTO_PING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(reads_of_a_turn_share_one_proof_and_wait_for_it),
        HARNESS_TEST(what_remains_is_told_as_of_now_by_who_leads),
        HARNESS_TEST(a_client_that_has_much_to_read_yet_waits_for_more_answers),
        HARNESS_TEST(a_client_that_does_not_read_keeps_no_other_from_reading),
        HARNESS_TEST(a_client_that_does_not_read_does_not_hold_up_the_end),
        HARNESS_TEST(a_deposed_leader_answers_no_read),
        HARNESS_TEST(a_question_that_the_replica_refuses_spares_the_earlier_ones),
        HARNESS_TEST(a_stale_read_is_answered_anywhere_in_its_turn),
        HARNESS_TEST(a_flood_of_reads_is_spread_over_turns),
        HARNESS_TEST(reads_that_look_at_much_are_spread_over_more_turns),
        HARNESS_TEST(status_shows_this_nodes_view),
        HARNESS_TEST(a_busy_node_shows_the_digest_at_a_fixed_index),
        HARNESS_TEST(only_the_leader_hands_leadership_over),
        HARNESS_TEST(a_leader_that_is_to_lead_keeps_leadership),
        HARNESS_TEST(a_ping_is_answered_at_once_by_any_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
