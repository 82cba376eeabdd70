/* Sessions: session.c (S1 .. S5) and the checks that each command of a session passes (apply.c, R4). */
#include "fixture.h"

static void opening_again_with_the_same_key_finds_the_live_session(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    f->time_ms = 400;
    struct fsm_command again = open_command(&a, 2000, 70);
    again.body.session_open.owner = bytes_of("renamed");
    const struct proto_reply *reply = run(f, &again);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_true(reply->body.session.resumed);
    assert_int_equal(reply->body.session.session_id, a.session_id);
    assert_int_equal(reply->body.session.ttl_ms, 2000);
    assert_int_equal(reply->body.session.deadline.ms, 2400);
    struct proto_request get = {.kind = PROTO_SESSION_GET, .body.session_get.session_id = a.session_id};
    struct proto_reply row;
    fsm_query(f->fsm, fsm_time(f->fsm), &get, &f->rows, &row);
    assert_int_equal(row.body.session_list.count, 1);
    assert_memory_equal(row.body.session_list.rows[0].owner.data, "renamed", 7);
    assert_int_equal(row.body.session_list.rows[0].lock_delay_ms, 70);
    assert_int_equal(row.body.session_list.rows[0].remaining_ms, 2000);
}

static void another_key_opens_another_session_and_ids_are_never_reused(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    assert_int_equal(a.session_id, 1);
    assert_int_equal(b.session_id, 2);
    at(f, 1000);
    assert_int_equal(counts(f).sessions, 0);
    struct client again = open_client(f, 'a', 1000, 0);
    assert_int_equal(again.session_id, 3);
}

static void resuming_wants_the_very_session_and_its_key(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct fsm_command resume = open_command(&a, 1000, 0);
    resume.body.session_open.resume_id = b.session_id;
    assert_int_equal(run(f, &resume)->status, PROTO_STATUS_BAD_SECRET);
    resume.body.session_open.resume_id = 99;
    assert_int_equal(run(f, &resume)->status, PROTO_STATUS_SESSION_EXPIRED);
    resume.body.session_open.resume_id = a.session_id;
    f->time_ms = 999;
    const struct proto_reply *reply = run(f, &resume);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_true(reply->body.session.resumed);
    assert_int_equal(reply->body.session.deadline.ms, 1999);
    f->time_ms = 1999;
    assert_int_equal(run(f, &resume)->status, PROTO_STATUS_SESSION_EXPIRED);
}

static void a_session_lives_until_its_deadline_and_not_in_the_entry_of_it(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    f->time_ms = 999;
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->time_ms = 1000;
    struct fsm_command command = acquire_command(&a, "l", PROTO_MODE_EXCLUSIVE, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(event_for(f, &a, PROTO_EVENT_SESSION_ENDED)->reason, PROTO_END_EXPIRED);
    assert_int_equal(counts(f).locks, 0);
}

static void only_open_and_renew_move_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    f->time_ms = 500;
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command extend = command_of(&a, PROTO_LOCK_EXTEND);
    extend.body.lock_extend.key = bytes_of("k");
    extend.body.lock_extend.token = token;
    extend.body.lock_extend.ttl_ms = 5000;
    const struct proto_reply *reply = run(f, &extend);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_int_equal(reply->body.grant.deadline.ms, 1000); /* the earlier of the two */
    struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
    reply = run(f, &renew);
    assert_int_equal(reply->body.session.deadline.ms, 1500);
    assert_int_equal(reply->body.session.session_id, a.session_id);
    renew = command_of(&a, PROTO_SESSION_RENEW);
    renew.body.session_renew.ttl_ms = 200; /* shorter is allowed, and counts once it takes the deadline further */
    reply = run(f, &renew);
    assert_int_equal(reply->body.session.ttl_ms, 200);
    assert_int_equal(reply->body.session.deadline.ms, 1500);
    f->time_ms = 1400;
    renew = command_of(&a, PROTO_SESSION_RENEW);
    assert_int_equal(run(f, &renew)->body.session.deadline.ms, 1600);
    at(f, 1599);
    assert_int_equal(counts(f).sessions, 1);
    at(f, 1600);
    assert_int_equal(counts(f).sessions, 0);
}

static void renewals_keep_a_session_alive_for_long(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 100000, 0);
    for (unsigned i = 0; i < 50; i++) {
        f->time_ms += 300;
        a.ack_floor = a.next_request_id - 1;
        struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
        assert_int_equal(run(f, &renew)->status, PROTO_STATUS_OK);
    }
    assert_int_equal(fsm_next_due(f->fsm).ms, f->time_ms + 1000);
    at(f, f->time_ms + 1000);
    assert_int_equal(counts(f).sessions, 1);
    assert_int_equal(fsm_next_due(f->fsm).ms, 100000);
    (void)b;
}

static void a_wrong_proof_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.proof ^= 1;
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_BAD_SECRET);
    assert_int_equal(counts(f).locks, 0);
    command.proof ^= 1; /* it was not remembered: the same id is executed now */
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
}

static void closing_frees_everything_and_tells_once(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 500);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    acquire(f, &b, "l", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &a, "l", PROTO_MODE_EXCLUSIVE, 500);
    struct fsm_command close = command_of(&a, PROTO_SESSION_CLOSE);
    assert_int_equal(run(f, &close)->status, PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &a, waits)->status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(event_for(f, &a, PROTO_EVENT_SESSION_ENDED)->reason, PROTO_END_RELEASED);
    assert_int_equal(effects_of(f, FSM_EVENT), 1); /* E5: no GRANT_LOST for each grant */
    assert_int_equal(counts(f).locks, 1);
    assert_int_equal(query_lock(f, "k").body.lock.delay_remaining_ms, 0); /* E4: no lock-delay */
    assert_int_equal(run(f, &close)->status, PROTO_STATUS_SESSION_EXPIRED);
}

static void killing_ends_a_session_with_a_reason(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 500);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command kill = {.kind = PROTO_SESSION_KILL};
    kill.body.session_kill.session_id = a.session_id;
    kill.body.session_kill.reason = bytes_of("misbehaves");
    const struct proto_reply *reply = run(f, &kill);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_int_equal(reply->body.count.count, 1);
    const struct proto_event *event = event_for(f, &a, PROTO_EVENT_SESSION_ENDED);
    assert_int_equal(event->reason, PROTO_END_KILLED);
    assert_int_equal(event->detail.size, 10);
    assert_memory_equal(event->detail.data, "misbehaves", 10);
    assert_int_equal(counts(f).locks, 0);
    assert_int_equal(run(f, &kill)->status, PROTO_STATUS_NOT_FOUND);
}

static void time_never_goes_back(void **state)
{
    struct fixture *f = *state;
    at(f, 5000);
    at(f, 3000);
    assert_int_equal(fsm_time(f->fsm).ms, 5000);
    struct client a = open_client(f, 'a', 1000, 0);
    f->time_ms = 10;
    struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
    const struct proto_reply *reply = run(f, &renew);
    assert_int_equal(reply->time.ms, 5000);
    assert_int_equal(reply->body.session.deadline.ms, 6000);
}

static void the_epoch_raises_every_later_token(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t before = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command raise = {.kind = PROTO_EPOCH_RAISE};
    assert_int_equal(run(f, &raise)->status, PROTO_STATUS_OK);
    uint64_t after = acquire(f, &a, "l", PROTO_MODE_EXCLUSIVE);
    assert_int_equal(before, 1);
    assert_int_equal(after, ((uint64_t)1 << 48) + 2);
    for (unsigned i = 1; i < UINT16_MAX; i++) {
        f->unchecked = true;
        assert_int_equal(run(f, &raise)->status, PROTO_STATUS_OK);
    }
    const struct proto_reply *reply = run(f, &raise);
    assert_int_equal(reply->status, PROTO_STATUS_LIMIT_REACHED);
    assert_true(reply->body.refusal.detail.size > 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(opening_again_with_the_same_key_finds_the_live_session),
        TEST(another_key_opens_another_session_and_ids_are_never_reused),
        TEST(resuming_wants_the_very_session_and_its_key),
        TEST(a_session_lives_until_its_deadline_and_not_in_the_entry_of_it),
        TEST(only_open_and_renew_move_the_deadline),
        TEST(renewals_keep_a_session_alive_for_long),
        TEST(a_wrong_proof_changes_nothing),
        TEST(closing_frees_everything_and_tells_once),
        TEST(killing_ends_a_session_with_a_reason),
        TEST(time_never_goes_back),
        TEST(the_epoch_raises_every_later_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
