/* Exactly once: history.c (W1 .. W5) and apply.c (R4). */
#include "fixture.h"

static void the_same_request_gets_the_reply_of_its_first_execution(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    f->time_ms = 10;
    struct proto_reply first = *run(f, &command);
    assert_int_equal(release(f, &a, "k", first.body.grant.token), PROTO_STATUS_OK);
    f->time_ms = 90;
    const struct proto_reply *again = run(f, &command);
    assert_int_equal(again->status, PROTO_STATUS_OK);
    assert_int_equal(again->time.ms, 10);
    assert_int_equal(again->body.grant.token, first.body.grant.token);
    assert_int_equal(again->body.grant.deadline.ms, first.body.grant.deadline.ms);
    assert_int_equal(counts(f).locks, 0); /* it was not executed again */
}

static void every_kind_of_answer_is_remembered_whole(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command held = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 0);
    run(f, &held);
    struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
    f->time_ms = 50;
    run(f, &renew);
    struct fsm_command freed = release_command(&a, "k", token);
    run(f, &freed);
    struct fsm_command not_held = release_command(&a, "k", token);
    run(f, &not_held);
    f->time_ms = 100;
    struct proto_buffer stream;
    struct proto_error error = {0};
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 4096, &stream); /* also by the state that is restored from it */
    fsm_free(f->fsm);
    f->fsm = restore_of(stream.data, stream.size, 7, &error);
    proto_buffer_done(&stream);
    assert_non_null(f->fsm);
    const struct proto_reply *reply = run(f, &held);
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.token, token);
    assert_int_equal(reply->body.holder.owner.size, 5);
    assert_memory_equal(reply->body.holder.owner.data, "owner", 5);
    reply = run(f, &renew);
    assert_int_equal(reply->body.session.session_id, a.session_id);
    assert_int_equal(reply->body.session.deadline.ms, 1050);
    assert_int_equal(reply->time.ms, 50);
    assert_int_equal(run(f, &freed)->status, PROTO_STATUS_OK);
    assert_int_equal(run(f, &not_held)->status, PROTO_STATUS_NOT_HELD);
}

static void a_queued_request_sent_again_waits_on_once(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 500);
    for (unsigned i = 0; i < 3; i++) {
        entry_begin(f);
        entry_add(f, &command);
        entry_apply(f);
        assert_int_equal(effects_of(f, FSM_QUEUED), 1);
        assert_int_equal(effect(f, 0)->session_id, b.session_id);
        assert_int_equal(effect(f, 0)->request_id, command.request_id);
        assert_int_equal(counts(f).waiters, 1);
    }
    f->time_ms = 20;
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    uint64_t granted = wait_ended(f, &b, command.request_id)->body.grant.token;
    f->time_ms = 30;
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->body.grant.token, granted);
    assert_int_equal(reply->time.ms, 20); /* of the entry that granted it */
}

static void an_id_used_for_another_operation_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command command = release_command(&a, "k", token);
    command.request_id--;
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_REQUEST_REUSED);
    assert_int_equal(counts(f).grants, 1);
    uint64_t waits = enqueue(f, &a, "k", PROTO_MODE_EXCLUSIVE, 500);
    command.request_id = waits;
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_REQUEST_REUSED);
}

static void the_floor_forgets_and_refuses_what_lies_below(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command first = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    run(f, &first);
    struct fsm_command second = acquire_command(&a, "l", PROTO_MODE_EXCLUSIVE, 0);
    run(f, &second);
    a.ack_floor = first.request_id;
    struct fsm_command third = acquire_command(&a, "m", PROTO_MODE_EXCLUSIVE, 0);
    run(f, &third);
    assert_int_equal(run(f, &first)->status, PROTO_STATUS_STALE_REQUEST);
    assert_int_equal(run(f, &second)->status, PROTO_STATUS_OK);
    struct proto_request get = {.kind = PROTO_REQUEST_GET};
    get.body.request_get.session_id = a.session_id;
    get.body.request_get.request_id = first.request_id;
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &get, &f->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_NOT_FOUND);
    get.body.request_get.request_id = second.request_id;
    fsm_query(f->fsm, fsm_time(f->fsm), &get, &f->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    assert_int_equal(reply.body.request.token, 2);
}

static void a_wait_below_the_floor_ends_but_is_not_remembered(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    b.ack_floor = waits;
    acquire(f, &b, "l", PROTO_MODE_EXCLUSIVE);
    assert_int_equal(counts(f).waiters, 1);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
    struct proto_request get = {.kind = PROTO_REQUEST_GET};
    get.body.request_get.session_id = b.session_id;
    get.body.request_get.request_id = waits;
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &get, &f->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_NOT_FOUND);
}

static void a_full_window_executes_nothing_and_remembers_nothing(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    for (unsigned i = 0; i < FSM_WINDOW_REPLIES_MAX; i++) {
        f->unchecked = i % 100 != 0;
        struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
        assert_int_equal(run(f, &renew)->status, PROTO_STATUS_OK);
    }
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_WINDOW_FULL);
    assert_true(reply->body.refusal.retry_after_ms > 0);
    assert_int_equal(counts(f).locks, 0);
    command.ack_floor = 1; /* room for one: the same id is executed now */
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
}

static void ids_may_arrive_out_of_order(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    static const uint64_t ids[] = {7, 3, 9, 1, 5};
    for (unsigned i = 0; i < 5; i++) {
        struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
        renew.request_id = ids[i];
        f->time_ms = i;
        assert_int_equal(run(f, &renew)->status, PROTO_STATUS_OK);
    }
    f->time_ms = 100;
    for (unsigned i = 0; i < 5; i++) {
        struct fsm_command renew = command_of(&a, PROTO_SESSION_RENEW);
        renew.request_id = ids[i];
        assert_int_equal(run(f, &renew)->time.ms, i);
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_same_request_gets_the_reply_of_its_first_execution),
        TEST(every_kind_of_answer_is_remembered_whole),
        TEST(a_queued_request_sent_again_waits_on_once),
        TEST(an_id_used_for_another_operation_is_refused),
        TEST(the_floor_forgets_and_refuses_what_lies_below),
        TEST(a_wait_below_the_floor_ends_but_is_not_remembered),
        TEST(a_full_window_executes_nothing_and_remembers_nothing),
        TEST(ids_may_arrive_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
