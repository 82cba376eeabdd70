/* The core as a whole: the invariants C1..C3 of core.h, hello, leadership lost and won, and leaving. */
#include <stdlib.h>
#include <string.h>

#include "raft_fsm/entry.h"
#include "test_core_harness.h"

/* ---- C2 ---- */

static void nothing_is_answered_before_its_entry_is_applied(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    struct proto_request acquire = harness_acquire(1, session, 5, "k", 0);
    harness_send(h, c, &acquire);
    harness_expect_nothing(h, c);
    harness_turn(h, 1);
    assert_int_equal(h->entries_count, 1);
    harness_turn(h, 1);
    harness_turn(h, 1);
    harness_expect_nothing(h, c);
    harness_commit(h);
    struct proto_reply reply = harness_expect(h, c, 5, PROTO_STATUS_OK);
    assert_true(reply.body.grant.token > 0);
    harness_expect_nothing(h, c);
}

static void nothing_of_a_session_is_answered_before_its_entry_is_applied(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    uint64_t token = harness_lock(h, c, 1, session, 5, "k");
    struct proto_request extend = harness_release(1, session, 6, "k", token);
    extend.kind = PROTO_LOCK_EXTEND;
    extend.body.lock_extend =
        (struct proto_lock_extend){.key = harness_text("k"), .token = token, .ttl_ms = 5000};
    struct proto_request renew = harness_renew(1, session, 7);
    struct proto_request release = harness_release(1, session, 8, "k", token);
    struct proto_request open = harness_open(2, 9, 10000);
    const struct proto_request *const requests[] = {&extend, &renew, &release, &open};
    for (unsigned i = 0; i < 4; i++) {
        harness_send(h, c, requests[i]);
        harness_turn(h, 30); /* longer than a renewal waits for company */
        harness_turn(h, 1);
        assert_int_equal(h->entries_count, 1);
        harness_expect_nothing(h, c);
        harness_commit(h);
        (void)harness_expect(h, c, 6 + i, PROTO_STATUS_OK);
        harness_expect_nothing(h, c);
    }
}

static void a_refused_proposal_is_made_again_and_answered_once(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    h->refuse_proposals = true;
    struct proto_request open = harness_open(1, 3, 10000);
    harness_send(h, c, &open);
    harness_turn(h, 1);
    assert_int_equal(h->entries_count, 0);
    assert_true(core_deadline(h->core).ms > h->now.ms); /* it does not spin */
    assert_true(core_deadline(h->core).ms <= h->now.ms + 20);
    h->refuse_proposals = false;
    harness_turn(h, 20);
    harness_commit(h);
    (void)harness_expect(h, c, 3, PROTO_STATUS_OK);
    harness_expect_nothing(h, c);
}

/* ---- C1, leadership lost ---- */

static void lost_leadership_answers_every_request_once_and_says_where_to_go(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t holder = harness_session(h, c, 1, 10000);
    uint64_t waiter = harness_session(h, c, 2, 10000);
    (void)harness_lock(h, c, 1, holder, 1, "k");
    struct proto_request wait = harness_acquire(2, waiter, 2, "k", PROTO_WAIT_FOREVER);
    harness_send(h, c, &wait);
    harness_turn(h, 1);
    harness_commit(h);                                 /* waits */
    harness_propose_lock(h, c, 1, holder, 3, "other"); /* in flight */
    struct proto_request read = harness_get(4, "k", false);
    harness_send(h, c, &read);
    harness_turn(h, 1); /* its proof is under way */
    struct proto_request queued = harness_renew(1, holder, 5);
    harness_send(h, c, &queued);

    harness_follow(h, 2);
    struct proto_reply unknown = harness_expect(h, c, 3, PROTO_STATUS_UNAVAILABLE);
    assert_int_equal(unknown.body.refusal.leader_id, 2);
    assert_memory_equal(unknown.body.refusal.leader_address.data, "10.0.0.2:7400", 13);
    (void)harness_expect(h, c, 5, PROTO_STATUS_NOT_LEADER);
    (void)harness_expect(h, c, 4, PROTO_STATUS_NOT_LEADER);
    (void)harness_expect(h, c, 2, PROTO_STATUS_UNAVAILABLE);
    struct proto_event moved = harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED);
    assert_int_equal(moved.leader_id, 2);

    /* What was in flight is committed after all, by the next leader: nobody is told twice. */
    harness_commit(h);
    harness_prove(h, false);
    harness_turn(h, 1);
    harness_expect_nothing(h, c);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
    assert_int_equal(harness_counts(h).waits, 0);
}

static void an_entry_of_another_term_at_our_index_is_not_ours(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    struct proto_request open = harness_open(1, 3, 10000);
    harness_send(h, c, &open);
    harness_turn(h, 1);
    assert_int_equal(h->entries_count, 1);
    h->entries[0].term++; /* another leader's */
    harness_commit(h);
    (void)harness_expect(h, c, 3, PROTO_STATUS_UNAVAILABLE);
    harness_expect_nothing(h, c);
}

static void clients_hear_again_once_the_new_leader_is_known(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    harness_follow(h, 0);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 0);
    harness_follow(h, 3);
    struct proto_event moved = harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED);
    assert_int_equal(moved.leader_id, 3);
    assert_memory_equal(moved.leader_address.data, "10.0.0.3:7400", 13);
    harness_follow(h, 3);
    harness_expect_nothing(h, c);
}

/* They wait here to hear of it. */
static void who_is_connected_to_a_follower_hears_who_leads(void **state)
{
    struct harness *h = *state;
    uint64_t c = harness_connect(h);
    harness_follow(h, 2);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 2);
    harness_follow(h, 0);
    harness_expect_nothing(h, c);
    harness_follow(h, 3);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 3);
    harness_follow(h, 0);
    core_replica_changed(h->core, h->now, REPLICA_LEADER, 9, 1, false);
    harness_expect_nothing(h, c);
    core_replica_changed(h->core, h->now, REPLICA_LEADER, 9, 1, true);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 1);
}

static void a_leader_that_does_not_serve_yet_takes_nothing(void **state)
{
    struct harness *h = *state;
    uint64_t c = harness_connect(h);
    core_replica_changed(h->core, h->now, REPLICA_LEADER, 1, 1, false);
    struct proto_request open = harness_open(1, 3, 10000);
    harness_send(h, c, &open);
    assert_int_equal(harness_expect(h, c, 3, PROTO_STATUS_NOT_LEADER).body.refusal.leader_id, 0);
}

static void answers_for_a_closed_connection_are_dropped(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    struct proto_request acquire = harness_acquire(1, session, 5, "k", 0);
    struct proto_request read = harness_get(6, "k", false);
    harness_send(h, c, &acquire);
    harness_turn(h, 1);
    harness_send(h, c, &read);
    struct proto_request queued = harness_renew(1, session, 7);
    harness_send(h, c, &queued);
    harness_disconnect(h, c);
    harness_settle(h);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
    /* It was executed nevertheless. */
    uint64_t other = harness_connect(h);
    struct proto_request get = harness_get(8, "k", true);
    harness_send(h, other, &get);
    harness_turn(h, 1);
    assert_int_equal(harness_expect(h, other, 8, PROTO_STATUS_OK).body.lock.holders_count, 1);
}

static void a_connection_that_takes_no_more_bytes_is_sent_nothing(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    harness_connection(h, c)->full = true;
    for (uint64_t id = 1; id <= 3; id++) {
        struct proto_request acquire = harness_acquire(1, session, id, "k", 0);
        harness_send(h, c, &acquire);
        harness_turn(h, 1);
        harness_commit(h);
        harness_connection(h, c)->full = false;
    }
    harness_expect_nothing(h, c);
}

/* ---- hello ---- */

static void hello_names_the_node_and_where_the_leader_is(void **state)
{
    struct harness *h = *state;
    harness_follow(h, 2);
    uint64_t c = harness_connect_silent(h);
    struct proto_hello_request hello = {1, 5, 0, harness_text("a \"quoted\" agent")};
    harness_hello(h, c, &hello);
    struct proto_hello_reply reply;
    assert_true(harness_take_hello(h, c, &reply));
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    assert_int_equal(reply.version, PROTO_VERSION_MAX);
    assert_int_equal(reply.cluster_id, 77);
    assert_int_equal(reply.node_id, 1);
    assert_int_equal(reply.leader_id, 2);
    assert_memory_equal(reply.leader_address.data, "10.0.0.2:7400", 13);
    assert_int_equal(reply.heartbeat_ms, 1000);
    assert_int_equal(harness_logged(h, "agent=\"a \\\"quoted\\\" agent\""), 1);
}

static void expect_hello_refused(struct harness *h, const struct proto_hello_request *hello,
                                 enum proto_status status)
{
    uint64_t c = harness_connect_silent(h);
    harness_hello(h, c, hello);
    struct proto_hello_reply reply;
    assert_true(harness_take_hello(h, c, &reply));
    assert_string_equal(proto_status_name(reply.status), proto_status_name(status));
    assert_true(reply.detail.size > 0);
    assert_true(harness_connection(h, c)->closed);
    harness_disconnect(h, c);
}

static void hello_refuses_another_cluster_and_unknown_versions(void **state)
{
    struct harness *h = *state;
    expect_hello_refused(h, &(struct proto_hello_request){1, 1, 78, harness_text("x")},
                         PROTO_STATUS_WRONG_CLUSTER);
    expect_hello_refused(h, &(struct proto_hello_request){2, 9, 77, harness_text("x")},
                         PROTO_STATUS_UNSUPPORTED);
}

static void a_first_frame_that_is_no_hello_closes_the_connection(void **state)
{
    struct harness *h = *state;
    uint64_t c = harness_connect_silent(h);
    harness_send_bytes(h, c, "GET / HTTP/1.1", 14);
    struct proto_hello_reply reply;
    assert_true(harness_take_hello(h, c, &reply));
    assert_int_equal(reply.status, PROTO_STATUS_MALFORMED);
    assert_true(harness_connection(h, c)->closed);
    /* Whatever was read behind it is ignored. */
    harness_send_bytes(h, c, "GET / HTTP/1.1", 14);
    assert_false(harness_take_hello(h, c, &reply));
}

static void a_connection_without_hello_is_closed_in_time(void **state)
{
    struct harness *h = *state;
    uint64_t silent = harness_connect_silent(h);
    harness_turn(h, 100);
    uint64_t later = harness_connect_silent(h);
    uint64_t greeted = harness_connect(h);
    harness_turn(h, 0);
    assert_int_equal(core_deadline(h->core).ms, 1000 + 5000);
    harness_turn(h, 4899);
    assert_false(harness_connection(h, silent)->closed);
    harness_turn(h, 1);
    assert_true(harness_connection(h, silent)->closed);
    assert_false(harness_connection(h, later)->closed);
    harness_turn(h, 100);
    assert_true(harness_connection(h, later)->closed);
    assert_false(harness_connection(h, greeted)->closed);
    assert_int_equal(core_deadline(h->core).ms, UINT64_MAX);
}

static void bad_frames_are_told_and_closed_and_logged_within_bounds(void **state)
{
    struct harness *h = *state;
    uint64_t greeted = harness_connect(h);
    core_bad_frame(h->core, h->now, greeted, "frame length out of bounds");
    assert_int_equal(harness_expect(h, greeted, 0, PROTO_STATUS_MALFORMED).kind, 0);
    assert_true(harness_connection(h, greeted)->closed);
    for (int i = 0; i < 20; i++) {
        uint64_t c = harness_connect_silent(h);
        core_bad_frame(h->core, h->now, c, "frame length out of bounds");
        assert_true(harness_connection(h, c)->closed);
    }
    assert_int_equal(harness_logged(h, " bad_frame "), CORE_LOG_BURST);
    h->now.ms += 1000;
    core_bad_frame(h->core, h->now, harness_connect_silent(h), "frame length out of bounds");
    assert_int_equal(harness_logged(h, "suppressed=16"), 1);
}

/* ---- leaving ---- */

static void leaving_finishes_what_is_in_flight_then_hands_over(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    harness_propose_lock(h, c, 1, session, 5, "k");
    core_shutdown(h->core, h->now);
    struct proto_request late = harness_acquire(1, session, 6, "j", 0);
    harness_send(h, c, &late);
    struct proto_reply refused = harness_expect(h, c, 6, PROTO_STATUS_NOT_LEADER);
    assert_int_equal(refused.body.refusal.leader_id, 0); /* not to us */
    harness_turn(h, 1);
    assert_int_equal(h->transfers, 0);
    assert_false(core_drained(h->core));
    harness_commit(h);
    (void)harness_expect(h, c, 5, PROTO_STATUS_OK);
    harness_turn(h, 1);
    assert_int_equal(h->transfers, 1);
    assert_false(core_drained(h->core));
    harness_follow(h, 3);
    assert_int_equal(harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED).leader_id, 3);
    harness_turn(h, 1);
    assert_true(core_drained(h->core));
}

static void leaving_alone_does_not_wait_for_a_successor(void **state)
{
    struct harness *h = *state;
    h->members = 1;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    core_shutdown(h->core, h->now);
    assert_false(core_drained(h->core));
    harness_turn(h, 1);
    assert_true(core_drained(h->core));
    assert_int_equal(h->transfers, 0);
    assert_int_equal(harness_logged(h, "leadership_kept"), 0); /* nothing is wrong with that */
    (void)harness_expect_event(h, c, PROTO_EVENT_LEADER_MOVED);
}

static void leaving_gives_up_when_nobody_takes_over(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    h->refuse_transfer = true;
    core_shutdown(h->core, h->now);
    harness_turn(h, 0);
    for (int i = 0; i < 100 && !core_drained(h->core); i++) {
        h->now = core_deadline(h->core);
        assert_true(h->now.ms < 1000 + 10000);
        harness_turn(h, 0);
    }
    assert_true(core_drained(h->core));
    assert_true(h->transfers >= 2 && h->transfers <= 10);
    assert_int_equal(harness_logged(h, "1 leadership_kept "), 1);
}

static void a_waiting_acquire_does_not_hold_up_the_end(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t holder = harness_session(h, c, 1, 10000);
    uint64_t waiter = harness_session(h, c, 2, 10000);
    (void)harness_lock(h, c, 1, holder, 1, "k");
    struct proto_request wait = harness_acquire(2, waiter, 2, "k", PROTO_WAIT_FOREVER);
    harness_send(h, c, &wait);
    harness_settle(h);
    assert_int_equal(harness_counts(h).waits, 1);
    core_shutdown(h->core, h->now);
    harness_turn(h, 1);
    assert_int_equal(h->transfers, 1);
    harness_follow(h, 2);
    (void)harness_expect(h, c, 2, PROTO_STATUS_UNAVAILABLE);
    harness_turn(h, 1);
    assert_true(core_drained(h->core));
}

/* ---- the machine ---- */

static void an_unknown_entry_stops_the_node(void **state)
{
    struct harness *h = *state;
    struct replica_machine machine = core_machine(h->core);
    machine.apply(machine.ctx, 1, 1, "\x91\x63", 2);
    assert_int_equal(h->fatals, 1);
    assert_int_equal(harness_logged(h, "entry 1 can not be applied"), 1);
}

static void an_image_restores_the_state_also_while_another_is_written(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    (void)harness_lock(h, c, 1, session, 1, "k");
    struct replica_machine machine = core_machine(h->core);
    struct proto_buffer image;
    proto_buffer_init(&image, (size_t)1 << 20);
    machine.snapshot_begin(machine.ctx);
    while (machine.snapshot_next(machine.ctx, &image, 64)) {
    }
    machine.snapshot_end(machine.ctx);

    struct harness *other = harness_create(NULL);
    struct replica_machine follower = core_machine(other->core);
    char message[256] = "";
    follower.snapshot_begin(follower.ctx);
    follower.restore_begin(follower.ctx);
    assert_true(follower.restore_feed(follower.ctx, image.data, image.size, message, sizeof(message)));
    assert_true(follower.restore_finish(follower.ctx, 9, message, sizeof(message)));
    struct proto_buffer old;
    proto_buffer_init(&old, (size_t)1 << 20);
    while (follower.snapshot_next(follower.ctx, &old, 64)) {
    }
    follower.snapshot_end(follower.ctx);
    assert_true(old.size < image.size); /* of the empty state */
    assert_true(fsm_digest(other->core->fsm) == fsm_digest(h->core->fsm));
    uint64_t reader = harness_connect(other);
    struct proto_request get = harness_get(8, "k", true);
    harness_send(other, reader, &get);
    harness_turn(other, 1);
    struct proto_reply reply = harness_expect(other, reader, 8, PROTO_STATUS_OK);
    assert_int_equal(reply.body.lock.holders_count, 1);
    assert_int_equal(reply.applied_index, 9);

    follower.restore_begin(follower.ctx);
    image.data[image.size / 2] ^= 0x40;
    bool fed = follower.restore_feed(follower.ctx, image.data, image.size, message, sizeof(message));
    assert_true(!fed || !follower.restore_finish(follower.ctx, 10, message, sizeof(message)));
    assert_true(strlen(message) > 0);
    assert_true(fsm_digest(other->core->fsm) == fsm_digest(h->core->fsm)); /* the old state stands */
    proto_buffer_done(&old);
    proto_buffer_done(&image);
    harness_destroy(other);
}

/* An image of a state of so many sessions. */
static void image_of(uint64_t sessions, struct proto_buffer *image)
{
    struct fsm *fsm = fsm_create();
    struct proto_buffer entry;
    proto_buffer_init(&entry, FSM_ENTRY_BYTES_MAX);
    for (uint64_t i = 1; i <= sessions; i++) {
        struct fsm_entry_writer writer;
        struct fsm_command open = {.kind = PROTO_SESSION_OPEN, .request_id = 1};
        open.body.session_open = (struct proto_session_open){.owner = harness_text("o"), .ttl_ms = 10000};
        memcpy(open.digest, &i, sizeof i);
        proto_buffer_clear(&entry);
        fsm_entry_begin(&writer, &entry, (struct cluster_time){1});
        assert_true(fsm_entry_add(&writer, &open));
        fsm_entry_end(&writer);
        assert_int_equal(fsm_apply(fsm, entry.data, entry.size, NULL, NULL), FSM_APPLIED);
    }
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(fsm);
    proto_buffer_clear(image);
    while (fsm_snapshot_next(snapshot, image, 65536)) {
    }
    fsm_snapshot_end(snapshot);
    fsm_free(fsm);
    proto_buffer_done(&entry);
}

static void install(const struct replica_machine *machine, const struct proto_buffer *image, uint64_t index)
{
    char message[256] = "";
    machine->restore_begin(machine->ctx);
    assert_true(machine->restore_feed(machine->ctx, image->data, image->size, message, sizeof(message)));
    assert_true(machine->restore_finish(machine->ctx, index, message, sizeof(message)));
}

/* Else the rest of it would be freed in one go when the image is done. */
static void a_replaced_state_is_freed_in_steps_also_while_the_new_one_is_written(void **state)
{
    struct harness *h = *state;
    struct replica_machine machine = core_machine(h->core);
    struct proto_buffer image;
    proto_buffer_init(&image, (size_t)4 << 20);
    image_of(5000, &image);
    install(&machine, &image, 9);
    image_of(1, &image);
    install(&machine, &image, 10);
    machine.snapshot_begin(machine.ctx);
    unsigned steps = 1;
    while (machine.restore_step(machine.ctx, false)) {
        steps++;
    }
    assert_in_range(steps, 4, 100);
    assert_null(h->core->retired);
    machine.snapshot_end(machine.ctx);
    proto_buffer_done(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HARNESS_TEST(nothing_is_answered_before_its_entry_is_applied),
        HARNESS_TEST(nothing_of_a_session_is_answered_before_its_entry_is_applied),
        HARNESS_TEST(a_refused_proposal_is_made_again_and_answered_once),
        HARNESS_TEST(lost_leadership_answers_every_request_once_and_says_where_to_go),
        HARNESS_TEST(an_entry_of_another_term_at_our_index_is_not_ours),
        HARNESS_TEST(clients_hear_again_once_the_new_leader_is_known),
        HARNESS_TEST(who_is_connected_to_a_follower_hears_who_leads),
        HARNESS_TEST(a_leader_that_does_not_serve_yet_takes_nothing),
        HARNESS_TEST(answers_for_a_closed_connection_are_dropped),
        HARNESS_TEST(a_connection_that_takes_no_more_bytes_is_sent_nothing),
        HARNESS_TEST(hello_names_the_node_and_where_the_leader_is),
        HARNESS_TEST(hello_refuses_another_cluster_and_unknown_versions),
        HARNESS_TEST(a_first_frame_that_is_no_hello_closes_the_connection),
        HARNESS_TEST(a_connection_without_hello_is_closed_in_time),
        HARNESS_TEST(bad_frames_are_told_and_closed_and_logged_within_bounds),
        HARNESS_TEST(leaving_finishes_what_is_in_flight_then_hands_over),
        HARNESS_TEST(leaving_alone_does_not_wait_for_a_successor),
        HARNESS_TEST(leaving_gives_up_when_nobody_takes_over),
        HARNESS_TEST(a_waiting_acquire_does_not_hold_up_the_end),
        HARNESS_TEST(an_unknown_entry_stops_the_node),
        HARNESS_TEST(an_image_restores_the_state_also_while_another_is_written),
        HARNESS_TEST(a_replaced_state_is_freed_in_steps_also_while_the_new_one_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
