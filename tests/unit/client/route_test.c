/* Finding the leader and staying with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/world_fixture.h"

static void begin_acquire(void)
{
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    done = (struct world_done){.world = &world};
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
}

static void nothing_is_connected_before_something_is_asked(void **state)
{
    (void)state;
    world_pass(&world, 100000);
    assert_int_equal(world.connection, 0);
    assert_int_equal(lsc_core_deadline(world.core).ms, UINT64_MAX);
}

static void a_hint_in_the_greeting_is_followed_at_once(void **state)
{
    (void)state;
    begin_acquire();
    world_await_connect(&world);
    world_accept(&world, 1, 2, "n9:9");
    world_await_connect(&world);
    assert_string_equal(world.address, "n9:9"); /* although it is none of the endpoints */
    assert_int_equal(world.now.ms - world.connect_at.ms, 0);
    world_accept(&world, 2, 2, "n9:9");
    (void)world_expect(&world, PROTO_SESSION_OPEN);
}

/* A client lives for years, and the nodes may get new addresses all the while. */
static void hints_are_followed_however_many_there_were(void **state)
{
    (void)state;
    world_open_session(&world);
    for (unsigned i = 0; i < 100; i++) {
        char address[16];
        (void)snprintf(address, sizeof(address), "m%u:1", i);
        begin_acquire();
        world_reply_moved(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), PROTO_STATUS_NOT_LEADER, 100 + i, address);
        world_await_connect(&world);
        assert_string_equal(world.address, address);
        world_accept(&world, 100 + i, 100 + i, address);
        const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
        world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        world_reply_status(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), PROTO_STATUS_HELD, world_cluster_ms(&world));
    }
    world_cut(&world); /* the endpoints are still known */
    bool seen[3] = {false};
    for (unsigned i = 0; i < 40; i++) {
        world_await_connect(&world);
        if (world.address[0] == 'n') {
            seen[world.address[1] - '1'] = true;
        }
        world_refuse(&world);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

/* In the midst of an election: it gets some time to learn of a leader. */
static void a_node_that_knows_no_leader_is_left_for_the_next_after_a_while(void **state)
{
    (void)state;
    char before[sizeof(world.address)];
    begin_acquire();
    world_await_connect(&world);
    for (int i = 0; i < 10; i++) {
        memcpy(before, world.address, sizeof(before));
        uint64_t began = world.now.ms;
        world_accept(&world, 1, 0, "");
        world_await_connect(&world);
        assert_string_not_equal(world.address, before);
        assert_in_range(world.now.ms - began, 200, 410); /* and no backoff that grows: it has waited already */
    }
}

static void a_node_that_learns_of_a_leader_is_believed_at_once(void **state)
{
    (void)state;
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = 9, .leader_address = world_text("n9:9")};
    begin_acquire();
    world_await_connect(&world);
    world_accept(&world, 1, 0, "");
    world_pass(&world, 50);
    uint64_t told = world.now.ms;
    world_event(&world, &event);
    world_await_connect(&world);
    assert_string_equal(world.address, "n9:9");
    assert_int_equal(world.now.ms, told);
}

static void a_node_that_comes_to_lead_is_asked_where_it_is(void **state)
{
    (void)state;
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = 2, .leader_address = world_text("n2:2")};
    begin_acquire();
    world_await_connect(&world);
    world_accept(&world, 2, 0, "");
    world_expect_none(&world);
    world_event(&world, &event);
    (void)world_expect(&world, PROTO_SESSION_OPEN);
    assert_int_equal(world.closes, 0);
    world_event(&world, &event); /* and what is no news changes nothing */
    assert_int_equal(world.closes, 0);
    world_expect_none(&world);
}

/* Its leader is the one that was just lost: it will notice, too. */
static void a_hint_to_an_address_that_has_just_failed_is_waited_over(void **state)
{
    (void)state;
    world_open_session(&world);
    char lost[sizeof(world.address)];
    memcpy(lost, world.address, sizeof(lost));
    begin_acquire();
    world_cut(&world);
    world_await_connect(&world);
    assert_string_not_equal(world.address, lost);
    world_accept(&world, 2, 1, lost);
    unsigned connection = world.connection;
    world_pass(&world, 100);
    assert_int_equal(world.connection, connection);
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = 3, .leader_address = world_text("n9:9")};
    world_event(&world, &event);
    world_await_connect(&world);
    assert_string_equal(world.address, "n9:9");
}

static void an_address_that_has_just_failed_is_passed_over(void **state)
{
    (void)state;
    char failed[sizeof(world.address)];
    begin_acquire();
    world_await_connect(&world);
    memcpy(failed, world.address, sizeof(failed));
    world_refuse(&world);
    uint64_t until = world.now.ms + 1000;
    for (world_await_connect(&world); world.now.ms < until; world_await_connect(&world)) {
        assert_string_not_equal(world.address, failed);
        world_accept(&world, 2, 0, "");
    }
}

static void endpoints_that_refuse_are_tried_in_turn_with_backoff(void **state)
{
    (void)state;
    begin_acquire();
    world_await_connect(&world);
    uint64_t began = world.now.ms;
    for (int i = 0; i < 20; i++) {
        world_refuse(&world);
        world_await_connect(&world);
    }
    /* 20 attempts take seconds, not none (a busy loop) and not minutes (a client that slept through the election) */
    assert_in_range(world.now.ms - began, 2000, 12000);
}

static void every_endpoint_is_tried(void **state)
{
    (void)state;
    bool seen[3] = {false};
    begin_acquire();
    for (int i = 0; i < 3; i++) {
        world_await_connect(&world);
        seen[world.address[1] - '1'] = true;
        world_refuse(&world);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

static void hints_in_circles_are_followed_with_backoff(void **state)
{
    (void)state;
    begin_acquire();
    uint64_t began = world.now.ms;
    for (int i = 0; i < 30; i++) {
        world_await_connect(&world);
        bool first = strcmp(world.address, "n1:1") == 0;
        world_accept(&world, first ? 1 : 2, first ? 2 : 1, first ? "n2:2" : "n1:1");
    }
    assert_true(world.now.ms - began > 2000);
}

static void an_endpoint_that_does_not_answer_is_left_after_the_connect_timeout(void **state)
{
    (void)state;
    begin_acquire();
    world_await_connect(&world);
    uint64_t began = world.now.ms;
    unsigned connection = world.connection;
    world_pass(&world, 1999);
    assert_int_equal(world.connection, connection);
    assert_int_equal(world.closes, 0);
    world_pass(&world, 1);
    assert_int_equal(world.closes, 1);
    world_await_connect(&world);
    assert_true(world.now.ms - began < 2600);
}

static void a_request_that_was_never_sent_ends_unreachable_in_time(void **state)
{
    (void)state;
    uint64_t began = world.now.ms;
    begin_acquire();
    while (done.count == 0) {
        world_await_connect(&world);
        world_refuse(&world);
        world_pass(&world, 100);
    }
    assert_int_equal(done.result, LOCKSTEP_UNREACHABLE);
    assert_int_equal(done.at.ms - began, 10000);
    assert_non_null(strstr(done.detail, "connection refused"));
}

static void a_session_that_may_have_been_opened_is_not_said_to_be_out_of_reach(void **state)
{
    (void)state;
    (void)lsc_session_open(world.core, world.now, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    (void)world_expect(&world, PROTO_SESSION_OPEN);
    world_cut(&world); /* the answer is lost with it */
    while (done.count == 0) {
        world_await_connect(&world);
        world_refuse(&world);
        world_pass(&world, 100);
    }
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
}

static void nodes_of_another_cluster_are_refused_and_named(void **state)
{
    (void)state;
    world_free(&world);
    struct lsc_config config = world_config();
    config.cluster_id = 5;
    world_init(&world, &config);
    begin_acquire();
    for (int i = 0; i < 3 && done.count == 0; i++) {
        world_await_connect(&world);
        assert_int_equal(world.greeted, false);
        world_accept(&world, 1, 1, "n1:1"); /* of cluster 99 */
        assert_int_equal(world.hello.cluster_id, 5);
    }
    assert_int_equal(done.count, 1); /* every endpoint said so: it does not take the timeout */
    assert_int_equal(done.result, LOCKSTEP_WRONG_CLUSTER);
    world_expect_none(&world);
}

/* Its handle can not release it any more, and the session is renewed as soon as it can be. */
static void a_release_goes_on_though_every_node_is_anothers(void **state)
{
    (void)state;
    struct proto_hello_reply other = {
        .status = PROTO_STATUS_OK, .version = 1, .cluster_id = 100, .node_id = 1, .leader_id = 1, .heartbeat_ms = 1000};
    world_open_session(&world);
    struct lsc_hold *hold = world_acquire(&world, "k", 40, NULL);
    world_cut(&world);
    (void)lsc_release(world.core, world.now, hold, &done, world_done);
    while (done.count == 0) {
        world_await_connect(&world);
        world_accept_hello(&world, &other);
    }
    assert_int_equal(done.result, LOCKSTEP_WRONG_CLUSTER);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(world_expect(&world, PROTO_LOCK_RELEASE)->request.body.lock_release.token, 40);
}

static void the_first_cluster_that_answers_is_stayed_with(void **state)
{
    (void)state;
    world_open_session(&world);
    world_cut(&world);
    world_await_connect(&world);
    struct proto_hello_reply other = {
        .status = PROTO_STATUS_OK, .version = 1, .cluster_id = 100, .node_id = 1, .leader_id = 1, .heartbeat_ms = 1000};
    unsigned closes = world.closes;
    world_accept_hello(&world, &other);
    assert_int_equal(world.closes, closes + 1);
    world_expect_none(&world);
}

static void not_leader_sends_the_request_to_the_leader_with_the_same_id(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire();
    uint64_t id = world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id;
    world_reply_moved(&world, &world.requests[world.requests_count - 1], PROTO_STATUS_NOT_LEADER, 2, "n2:2");
    world_await_connect(&world);
    assert_string_equal(world.address, "n2:2");
    world_accept(&world, 2, 2, "n2:2");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    assert_int_equal(open->request.body.session_open.resume_id, 7); /* that very session */
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    const struct world_request *again = world_next(&world);
    assert_non_null(again);
    assert_int_equal(again->request.kind, PROTO_LOCK_ACQUIRE);
    assert_int_equal(again->request.id, id);
    world_reply_grant(&world, again, 40, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
}

static void unavailable_is_asked_again_of_the_next_leader(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire();
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    world_reply_moved(&world, acquire, PROTO_STATUS_UNAVAILABLE, 0, "");
    assert_int_equal(done.count, 0);
    world_await_connect(&world);
    world_accept(&world, 3, 3, "n3:3");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id, acquire->request.id);
}

static void the_event_that_the_leader_moved_is_followed(void **state)
{
    (void)state;
    world_open_session(&world);
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = 3, .leader_address = world_text("n3:3")};
    world_event(&world, &event);
    world_await_connect(&world);
    assert_string_equal(world.address, "n3:3");
}

static void a_silent_connection_is_given_up_well_before_a_third_of_the_ttl(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire();
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    uint64_t began = world.now.ms;
    unsigned closes = world.closes;
    unsigned sent = world.requests_count;
    while (world.closes == closes) {
        world_pass(&world, 1);
    }
    assert_true(world.now.ms - began <= 3000 / 6 + 10);
    assert_true(world.requests_count > sent);
    assert_int_equal(world.requests[sent].request.kind, PROTO_PING);
}

static void an_answered_ping_keeps_a_long_wait_connected(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", PROTO_WAIT_FOREVER);
    world_open_session(&world);
    unsigned closes = world.closes;
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
    for (int i = 0; i < 10000; i++) {
        world_pass(&world, 10);
        const struct world_request *request = world_next(&world); /* answers pings */
        if (request != NULL && (request->request.kind == PROTO_SESSION_RENEW || request->request.kind == PROTO_SESSION_OPEN)) {
            world_reply_session(&world, request, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        }
    }
    assert_int_equal(world.closes, closes);
    assert_int_equal(done.count, 0);
}

/* A node closes a connection on which it has heard nothing for a minute (idle-timeout). */
static void a_session_that_is_renewed_rarely_keeps_its_connection(void **state)
{
    (void)state;
    world_free(&world);
    struct lsc_config config = world_config();
    config.session_ttl_ms = 3600000;
    world_init(&world, &config);
    world_open_session(&world);
    unsigned heard = world.requests_count;
    for (unsigned seconds = 0; seconds < 600; seconds++) {
        uint64_t said = world.now.ms - world.requests[heard - 1].at.ms;
        assert_true(said < 30000);
        world_pass(&world, 1000);
        world_expect_none(&world); /* answers the pings */
        heard = world.requests_count;
    }
    assert_in_range(heard, 20, 40); /* and it is no burden */
    assert_int_equal(world.connection, 1);
    for (unsigned seconds = 0; seconds < 30 && world.closes == 0; seconds++) {
        world_pass(&world, 1000); /* nobody answers any more */
    }
    assert_int_equal(world.closes, 1);
}

static void a_stale_query_is_asked_of_any_node(void **state)
{
    (void)state;
    struct proto_request query = {.kind = PROTO_LOCK_GET, .stale = true, .body.lock_get.key = world_text("k")};
    (void)lsc_ask(world.core, world.now, &query, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 2, 0, ""); /* knows no leader */
    const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
    assert_true(get->request.stale);
    struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id, .applied_index = 77};
    world_reply(&world, &reply);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_int_equal(done.number, 77);
}

static void a_node_that_answers_stale_queries_is_not_left_for_the_leader(void **state)
{
    (void)state;
    struct proto_request query = {.kind = PROTO_LOCK_GET, .stale = true, .body.lock_get.key = world_text("k")};
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = 3, .leader_address = world_text("n3:3")};
    (void)lsc_ask(world.core, world.now, &query, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 2, 1, "n1:1");
    const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
    world_event(&world, &event);
    assert_int_equal(world.closes, 0);
    struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id, .applied_index = 77};
    world_reply(&world, &reply);
    assert_int_equal(done.result, LOCKSTEP_OK);
}

/* Several threads that poll: one of their queries is always under way. The session has to be renewed all the same. */
static void stale_queries_without_end_do_not_keep_a_session_from_its_leader(void **state)
{
    (void)state;
    static struct world_done answers[64];
    struct proto_request query = {.kind = PROTO_LOCK_GET, .stale = true, .body.lock_get.key = world_text("k")};
    world_open_session(&world);
    world_cut(&world);
    (void)lsc_ask(world.core, world.now, &query, &answers[0], world_done);
    world_await_connect(&world);
    world_accept(&world, 2, 3, "n9:9");
    unsigned connection = world.connection;
    uint64_t began = world.now.ms;
    for (unsigned i = 1; i < 64 && world.connection == connection; i++) {
        const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
        (void)lsc_ask(world.core, world.now, &query, &answers[i], world_done);
        struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id, .applied_index = 77};
        world_reply(&world, &reply);
        world_pass(&world, 10);
    }
    assert_true(world.now.ms - began <= 410);
    assert_string_equal(world.address, "n9:9");
}

static void a_query_of_the_leader_needs_no_session(void **state)
{
    (void)state;
    struct proto_request query = {.kind = PROTO_LOCK_GET, .body.lock_get.key = world_text("k")};
    (void)lsc_ask(world.core, world.now, &query, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 2, 1, "n1:1");
    world_await_connect(&world);
    assert_string_equal(world.address, "n1:1");
    world_accept(&world, 1, 1, "n1:1");
    (void)world_expect(&world, PROTO_LOCK_GET);
    world_expect_none(&world);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(nothing_is_connected_before_something_is_asked),
        RULE(a_hint_in_the_greeting_is_followed_at_once),
        RULE(hints_are_followed_however_many_there_were),
        RULE(a_node_that_knows_no_leader_is_left_for_the_next_after_a_while),
        RULE(a_node_that_learns_of_a_leader_is_believed_at_once),
        RULE(a_node_that_comes_to_lead_is_asked_where_it_is),
        RULE(a_hint_to_an_address_that_has_just_failed_is_waited_over),
        RULE(an_address_that_has_just_failed_is_passed_over),
        RULE(endpoints_that_refuse_are_tried_in_turn_with_backoff),
        RULE(every_endpoint_is_tried),
        RULE(hints_in_circles_are_followed_with_backoff),
        RULE(an_endpoint_that_does_not_answer_is_left_after_the_connect_timeout),
        RULE(a_request_that_was_never_sent_ends_unreachable_in_time),
        RULE(a_session_that_may_have_been_opened_is_not_said_to_be_out_of_reach),
        RULE(nodes_of_another_cluster_are_refused_and_named),
        RULE(a_release_goes_on_though_every_node_is_anothers),
        RULE(the_first_cluster_that_answers_is_stayed_with),
        RULE(not_leader_sends_the_request_to_the_leader_with_the_same_id),
        RULE(unavailable_is_asked_again_of_the_next_leader),
        RULE(the_event_that_the_leader_moved_is_followed),
        RULE(a_silent_connection_is_given_up_well_before_a_third_of_the_ttl),
        RULE(an_answered_ping_keeps_a_long_wait_connected),
        RULE(a_session_that_is_renewed_rarely_keeps_its_connection),
        RULE(a_stale_query_is_asked_of_any_node),
        RULE(a_node_that_answers_stale_queries_is_not_left_for_the_leader),
        RULE(stale_queries_without_end_do_not_keep_a_session_from_its_leader),
        RULE(a_query_of_the_leader_needs_no_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
