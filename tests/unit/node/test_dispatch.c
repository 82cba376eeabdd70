/* Waits, and whose connection hears what (dispatch.h). */
#include <string.h>

#include "test_core_harness.h"

struct fixture {
    struct harness *h;
    uint64_t holder_connection, holder, token;
    uint64_t waiter_connection, waiter;
};

static void wait_for(struct fixture *f, uint64_t connection, uint64_t id, uint64_t wait_ms)
{
    struct proto_request acquire = harness_acquire(2, f->waiter, id, "k", wait_ms);
    harness_send(f->h, connection, &acquire);
    harness_settle(f->h);
}

static void release(struct fixture *f, uint64_t id)
{
    struct proto_request give = harness_release(1, f->holder, id, "k", f->token);
    harness_send(f->h, f->holder_connection, &give);
    harness_settle(f->h);
    (void)harness_expect(f->h, f->holder_connection, id, PROTO_STATUS_OK);
}

/* One session holds "k", another waits for it with request 7. */
static int setup(void **state)
{
    static struct fixture f;
    struct harness *h = harness_create(NULL);
    harness_lead(h);
    f = (struct fixture){
        .h = h, .holder_connection = harness_connect(h), .waiter_connection = harness_connect(h)};
    f.holder = harness_session(h, f.holder_connection, 1, 10000);
    f.waiter = harness_session(h, f.waiter_connection, 2, 20000);
    f.token = harness_lock(h, f.holder_connection, 1, f.holder, 1, "k");
    wait_for(&f, f.waiter_connection, 7, PROTO_WAIT_FOREVER);
    harness_expect_nothing(h, f.waiter_connection);
    assert_int_equal(harness_counts(h).waits, 1);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    harness_destroy(f->h);
    return 0;
}

static void a_wait_is_answered_when_it_ends(void **state)
{
    struct fixture *f = *state;
    release(f, 2);
    struct proto_reply granted = harness_expect(f->h, f->waiter_connection, 7, PROTO_STATUS_OK);
    assert_int_equal(granted.kind, PROTO_LOCK_ACQUIRE);
    assert_true(granted.body.grant.token > f->token);
    harness_expect_nothing(f->h, f->waiter_connection);
    assert_int_equal(harness_counts(f->h).waits, 0);
    assert_int_equal(harness_counts(f->h).requests_in_flight, 0);
}

static void a_wait_sent_again_belongs_to_the_newest_connection(void **state)
{
    struct fixture *f = *state;
    uint64_t newest = harness_connect(f->h);
    wait_for(f, newest, 7, PROTO_WAIT_FOREVER);
    assert_int_equal(harness_counts(f->h).waits, 1);
    release(f, 2);
    (void)harness_expect(f->h, newest, 7, PROTO_STATUS_OK);
    harness_expect_nothing(f->h, f->waiter_connection);
    harness_expect_nothing(f->h, newest);
}

/* Its bytes were on their way when the client gave the connection up; then comes its end. */
static void a_late_copy_on_an_older_connection_takes_no_wait(void **state)
{
    struct fixture *f = *state;
    uint64_t older = harness_connect(f->h);
    uint64_t newest = harness_connect(f->h);
    wait_for(f, newest, 7, PROTO_WAIT_FOREVER);
    wait_for(f, older, 7, PROTO_WAIT_FOREVER);
    harness_disconnect(f->h, older);
    assert_int_equal(harness_counts(f->h).waits, 1);
    release(f, 2);
    (void)harness_expect(f->h, newest, 7, PROTO_STATUS_OK);
}

static void a_wait_outlives_its_connection(void **state)
{
    struct fixture *f = *state;
    harness_disconnect(f->h, f->waiter_connection);
    assert_int_equal(harness_counts(f->h).waits, 0);
    uint64_t again = harness_connect(f->h);
    wait_for(f, again, 7, PROTO_WAIT_FOREVER);
    assert_int_equal(harness_counts(f->h).waits, 1);
    release(f, 2);
    (void)harness_expect(f->h, again, 7, PROTO_STATUS_OK);
}

static void a_grant_made_while_nobody_listened_is_told_when_asked_again(void **state)
{
    struct fixture *f = *state;
    harness_disconnect(f->h, f->waiter_connection);
    release(f, 2);
    uint64_t again = harness_connect(f->h);
    wait_for(f, again, 7, PROTO_WAIT_FOREVER);
    (void)harness_expect(f->h, again, 7, PROTO_STATUS_OK);
}

static void a_wait_survives_a_failover_and_is_attached_again(void **state)
{
    struct fixture *f = *state;
    harness_follow(f->h, 2);
    (void)harness_expect(f->h, f->waiter_connection, 7, PROTO_STATUS_UNAVAILABLE);
    (void)harness_expect_event(f->h, f->waiter_connection, PROTO_EVENT_LEADER_MOVED);
    (void)harness_expect_event(f->h, f->holder_connection, PROTO_EVENT_LEADER_MOVED);
    harness_lead(f->h);
    (void)harness_expect_event(f->h, f->waiter_connection, PROTO_EVENT_LEADER_MOVED);
    (void)harness_expect_event(f->h, f->holder_connection, PROTO_EVENT_LEADER_MOVED);
    wait_for(f, f->waiter_connection, 7, PROTO_WAIT_FOREVER);
    harness_expect_nothing(f->h, f->waiter_connection);
    release(f, 2);
    (void)harness_expect(f->h, f->waiter_connection, 7, PROTO_STATUS_OK);
}

static void a_cancelled_wait_is_answered_and_so_is_the_cancel(void **state)
{
    struct fixture *f = *state;
    struct proto_request cancel = harness_renew(2, f->waiter, 8);
    cancel.kind = PROTO_LOCK_CANCEL;
    cancel.body.lock_cancel.target_id = 7;
    harness_send(f->h, f->waiter_connection, &cancel);
    harness_settle(f->h);
    (void)harness_expect(f->h, f->waiter_connection, 7, PROTO_STATUS_CANCELLED);
    (void)harness_expect(f->h, f->waiter_connection, 8, PROTO_STATUS_OK);
}

static void a_wait_that_times_out_is_answered(void **state)
{
    struct fixture *f = *state;
    wait_for(f, f->waiter_connection, 8, 100);
    harness_expect_nothing(f->h, f->waiter_connection);
    for (int i = 0; i < 15; i++) {
        harness_turn(f->h, 10);
        harness_commit(f->h);
    }
    (void)harness_expect(f->h, f->waiter_connection, 8, PROTO_STATUS_TIMED_OUT);
}

static void events_go_to_the_newest_connection_that_used_the_session(void **state)
{
    struct fixture *f = *state;
    uint64_t newer = harness_connect(f->h);
    struct proto_request renew = harness_renew(1, f->holder, 5);
    harness_send(f->h, newer, &renew);
    harness_turn(f->h, 20);
    harness_commit(f->h);
    (void)harness_expect(f->h, newer, 5, PROTO_STATUS_OK);
    renew.id = 6; /* late bytes of a connection that was given up */
    harness_send(f->h, f->holder_connection, &renew);
    harness_turn(f->h, 20);
    harness_commit(f->h);
    (void)harness_expect(f->h, f->holder_connection, 6, PROTO_STATUS_OK);
    struct proto_request force = {.kind = PROTO_FORCE_RELEASE, .id = 9};
    force.body.force_release =
        (struct proto_force_release){.key = harness_text("k"), .reason = harness_text("stuck")};
    harness_send(f->h, f->waiter_connection, &force);
    harness_settle(f->h);
    struct proto_event lost = harness_expect_event(f->h, newer, PROTO_EVENT_GRANT_LOST);
    assert_int_equal(lost.token, f->token);
    assert_int_equal(lost.reason, PROTO_END_FORCED);
    harness_expect_nothing(f->h, f->holder_connection);
    assert_int_equal(harness_counts(f->h).events_sent, 1);
    assert_int_equal(harness_logged(f->h, "operation=lock.force_release key="), 1);
    assert_int_equal(harness_logged(f->h, "operation=lock.force_release status=OK"), 1);
}

/* Else anyone could listen in on a session whose number it guessed. */
static void a_wrong_secret_does_not_draw_the_sessions_events(void **state)
{
    struct fixture *f = *state;
    uint64_t stranger = harness_connect(f->h);
    struct proto_request renew = harness_renew(9, f->holder, 5);
    harness_send(f->h, stranger, &renew);
    harness_turn(f->h, 20);
    harness_commit(f->h);
    (void)harness_expect(f->h, stranger, 5, PROTO_STATUS_BAD_SECRET);
    struct proto_request kill = {.kind = PROTO_SESSION_KILL, .id = 9};
    kill.body.session_kill =
        (struct proto_session_kill){.session_id = f->holder, .reason = harness_text("gone")};
    harness_send(f->h, stranger, &kill);
    harness_settle(f->h);
    (void)harness_expect(f->h, stranger, 9, PROTO_STATUS_OK);
    harness_expect_nothing(f->h, stranger);
    struct proto_event ended = harness_expect_event(f->h, f->holder_connection, PROTO_EVENT_SESSION_ENDED);
    assert_int_equal(ended.reason, PROTO_END_KILLED);
}

static void a_closed_connection_hears_nothing_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    harness_disconnect(f->h, f->holder_connection);
    harness_disconnect(f->h, f->waiter_connection);
    assert_int_equal(f->h->core->connections.routes.count, 0);
    for (int i = 0; i < 300; i++) {
        harness_turn(f->h, 100);
        harness_commit(f->h);
    }
    struct fsm_counts counts;
    fsm_counts(f->h->core->fsm, &counts);
    assert_int_equal(counts.sessions, 0);
    assert_int_equal(harness_counts(f->h).requests_in_flight, 0);
    assert_int_equal(harness_counts(f->h).connections, 0);
}

static void the_table_of_waits_keeps_them_apart(void **state)
{
    struct fixture *f = *state;
    enum { WAITS = 300 };
    for (uint64_t id = 100; id < 100 + WAITS; id++) {
        struct proto_request acquire = harness_acquire(2, f->waiter, id, "k", PROTO_WAIT_FOREVER);
        acquire.body.lock_acquire.mode = PROTO_MODE_SHARED;
        harness_send(f->h, f->waiter_connection, &acquire);
    }
    harness_settle(f->h);
    assert_int_equal(harness_counts(f->h).waits, WAITS + 1);
    release(f, 2);
    struct proto_reply first = harness_expect(f->h, f->waiter_connection, 7, PROTO_STATUS_OK);
    struct proto_request give = harness_release(2, f->waiter, 9, "k", first.body.grant.token);
    harness_send(f->h, f->waiter_connection, &give);
    harness_settle(f->h);
    unsigned seen[WAITS] = {0};
    struct proto_incoming incoming;
    while (harness_take(f->h, f->waiter_connection, &incoming)) {
        assert_false(incoming.is_event);
        if (incoming.reply.id != 9) {
            assert_true(incoming.reply.id >= 100 && incoming.reply.id < 100 + WAITS);
            seen[incoming.reply.id - 100]++;
        }
    }
    for (unsigned i = 0; i < WAITS; i++) {
        assert_int_equal(seen[i], 1);
    }
    assert_int_equal(harness_counts(f->h).waits, 0);
}

#define CORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(a_wait_is_answered_when_it_ends),
        CORE_TEST(a_wait_sent_again_belongs_to_the_newest_connection),
        CORE_TEST(a_late_copy_on_an_older_connection_takes_no_wait),
        CORE_TEST(a_wait_outlives_its_connection),
        CORE_TEST(a_grant_made_while_nobody_listened_is_told_when_asked_again),
        CORE_TEST(a_wait_survives_a_failover_and_is_attached_again),
        CORE_TEST(a_cancelled_wait_is_answered_and_so_is_the_cancel),
        CORE_TEST(a_wait_that_times_out_is_answered),
        CORE_TEST(events_go_to_the_newest_connection_that_used_the_session),
        CORE_TEST(a_wrong_secret_does_not_draw_the_sessions_events),
        CORE_TEST(a_closed_connection_hears_nothing_and_leaves_nothing),
        CORE_TEST(the_table_of_waits_keeps_them_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
