/* Requests take effect once: ids, repetition, acknowledgement, unknown outcomes, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/world_fixture.h"

static struct lsc_call *begin_acquire(const char *key, uint64_t wait_ms, struct world_done *to)
{
    struct proto_lock_acquire body = world_acquire_body(key, wait_ms);
    return lsc_acquire(world.core, world.now, &body, to, to, world_done);
}

/* A new connection to the leader, with the session taken up. */
static void reconnect(void)
{
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    assert_int_equal(open->request.body.session_open.resume_id, 7);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
}

static void renew_whenever_asked(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 100) {
        world_pass(&world, 100);
        unsigned read = world.requests_read;
        const struct world_request *request = world_next(&world);
        if (request == NULL) {
            continue;
        }
        if (request->request.kind != PROTO_SESSION_RENEW && request->request.kind != PROTO_SESSION_OPEN) {
            world.requests_read = read;
            return;
        }
        world_reply_session(&world, request, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    }
}

static void outstanding_requests_are_sent_again_in_order_with_their_ids(void **state)
{
    (void)state;
    static struct world_done many[8];
    uint64_t ids[8];
    for (unsigned i = 0; i < 8; i++) {
        many[i] = (struct world_done){0};
        (void)begin_acquire("k", PROTO_WAIT_FOREVER, &many[i]);
        ids[i] = world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id;
        assert_true(i == 0 || ids[i] > ids[i - 1]);
    }
    for (int round = 0; round < 3; round++) {
        world_cut(&world);
        reconnect();
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id, ids[i]);
        }
        world_expect_none(&world);
    }
}

static void what_was_answered_is_not_sent_again(void **state)
{
    (void)state;
    (void)world_acquire(&world, "k", 40, NULL);
    world_cut(&world);
    reconnect();
    (void)world_expect(&world, PROTO_LOCK_GET); /* whether the grant still lives: verify.c */
    world_expect_none(&world);
}

/* The event of it was on its way when the connection broke. */
static void a_grant_that_was_taken_away_unheard_is_lost_after_the_reconnection(void **state)
{
    (void)state;
    int kept_user = 0;
    int lost_user = 0;
    (void)world_acquire(&world, "kept", 40, &kept_user);
    (void)world_acquire(&world, "lost", 41, &lost_user);
    world_cut(&world);
    reconnect();
    for (int i = 0; i < 2; i++) {
        const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
        assert_false(get->request.stale);
        bool kept = get->request.body.lock_get.key.data[0] == 'k';
        struct proto_holder holder = {.session_id = kept ? 7 : 8, .token = kept ? 40 : 50, .fence = 40, .holds = 1};
        struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id};
        reply.body.lock.holders = &holder;
        reply.body.lock.holders_count = reply.body.lock.holders_shown = 1;
        world_reply(&world, &reply);
    }
    assert_int_equal(world.losses_count, 1);
    assert_ptr_equal(world.losses[0].user, &lost_user);
}

/* Of many it is asked how many there are: with one that is just being given back the cluster has as many as are counted on. */
static void a_grant_taken_away_unheard_is_missed_beside_a_release(void **state)
{
    (void)state;
    struct lsc_hold *holds[20];
    for (unsigned i = 0; i < 20; i++) {
        holds[i] = world_acquire(&world, "k", 40 + i, NULL);
    }
    world_cut(&world);
    reconnect();
    const struct world_request *get = world_expect(&world, PROTO_SESSION_GET);
    (void)lsc_release(world.core, world.now, holds[0], &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_RELEASE);
    struct proto_session_row row = {.session_id = 7, .ttl_ms = 3000, .grants_count = 19};
    struct proto_reply reply = {.kind = PROTO_SESSION_GET, .id = get->request.id};
    reply.body.session_list.rows = &row;
    reply.body.session_list.count = 1;
    world_reply(&world, &reply);
    (void)world_expect(&world, PROTO_LOCK_GET);
}

/* The same, of one that is not known when the session is taken up: the answer to its acquire was lost as well, and what the
 * cluster remembers of that does not say what became of the grant. */
static void a_grant_that_was_taken_away_before_it_was_heard_of_is_lost(void **state)
{
    (void)state;
    (void)begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    world_cut(&world); /* then it is granted, and taken away by an administrator */
    reconnect();
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    world_reply_grant(&world, acquire, 45, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
    assert_false(get->request.stale);
    struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id};
    world_reply(&world, &reply);
    assert_int_equal(world.losses_count, 1);
    assert_ptr_equal(world.losses[0].user, &done);
    assert_int_equal(world.losses[0].reason, LOCKSTEP_LOST_ENDED);
    assert_false(lsc_hold_is_held(world.core, world.now, done.hold));
}

/* Whoever has the handle may release the lock, and hears of its loss first: the event goes to the connection last heard. */
static void a_grant_whose_handle_was_given_out_is_looked_after(void **state)
{
    (void)state;
    int user = 0;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &user);
    world_pass(&world, 1000);
    const struct world_request *renew = world_expect(&world, PROTO_SESSION_RENEW);
    world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    world_expect_none(&world); /* its own: it would have been told */
    lsc_session_share(world.core);
    for (int alive = 1; alive >= 0; alive--) {
        world_pass(&world, 1000);
        renew = world_expect(&world, PROTO_SESSION_RENEW);
        world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
        assert_false(get->request.stale);
        struct proto_holder holder = {.session_id = 7, .token = 40, .fence = 40, .holds = 1};
        struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id};
        reply.body.lock.holders = &holder;
        reply.body.lock.holders_count = reply.body.lock.holders_shown = (uint32_t)alive;
        world_reply(&world, &reply);
        assert_int_equal(lsc_hold_is_live(world.core, hold), alive);
    }
    assert_int_equal(world.losses_count, 1);
    assert_ptr_equal(world.losses[0].user, &user);
}

struct order {
    struct world_done done;
    unsigned losses_before; /* that were told before the acquire was answered */
};

static void note_order(void *user, const struct lsc_outcome *outcome)
{
    struct order *order = user;
    order->losses_before = world.losses_count;
    world_done(&order->done, outcome);
}

/* The driver hands both on in this order: on_lost may free the lock, which its acquire must not give out afterwards. */
static void a_lock_that_ended_before_it_was_given_out_is_lost_afterwards(void **state)
{
    (void)state;
    struct order order = {0};
    (void)world_acquire(&world, "a", 40, NULL);
    struct proto_lock_acquire body = world_acquire_body("a", 0);
    body.reentrant = true;
    (void)lsc_acquire(world.core, world.now, &body, &order, &order, note_order);
    const struct world_request *join = world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct proto_event event = {.kind = PROTO_EVENT_GRANT_LOST,
                                .session_id = 7,
                                .token = 40,
                                .key = world_text("a"),
                                .reason = PROTO_END_FORCED};
    world_event(&world, &event);
    assert_int_equal(world.losses_count, 1);
    struct proto_reply reply = {.kind = PROTO_LOCK_ACQUIRE,
                                .id = join->request.id,
                                .time = {world_cluster_ms(&world)},
                                .body.grant = {.token = 40, .fence = 40, .holds = 2}};
    reply.body.grant.deadline.ms = world_cluster_ms(&world) + 3000;
    world_reply(&world, &reply);
    assert_int_equal(order.done.result, LOCKSTEP_OK);
    assert_int_equal(order.losses_before, 1);
    assert_int_equal(world.losses_count, 2);
    assert_ptr_equal(world.losses[1].user, &order);
    assert_int_equal(world.losses[1].reason, LOCKSTEP_LOST_ENDED);
    assert_false(lsc_hold_is_held(world.core, world.now, order.done.hold));
}

static void the_floor_lies_below_every_unanswered_request(void **state)
{
    (void)state;
    (void)begin_acquire("a", PROTO_WAIT_FOREVER, &done);
    uint64_t waiting = world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id;
    (void)world_acquire(&world, "b", 40, NULL);
    (void)begin_acquire("c", 0, &other_done);
    const struct world_request *third = world_expect(&world, PROTO_LOCK_ACQUIRE);
    assert_true(third->request.ack_floor < waiting);
    world_reply_grant(&world, &world.requests[world.requests_count - 3], 41, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    static struct world_done last;
    last = (struct world_done){0};
    (void)begin_acquire("d", 0, &last);
    const struct world_request *fourth = world_expect(&world, PROTO_LOCK_ACQUIRE);
    assert_int_equal(fourth->request.ack_floor, third->request.id - 1); /* all below it are answered */
}

static void an_answer_that_never_comes_is_unknown_in_time(void **state)
{
    (void)state;
    uint64_t began = world.now.ms;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, NULL);
    (void)lsc_extend(world.core, world.now, hold, 20000, &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_EXTEND);
    renew_whenever_asked(9900);
    assert_int_equal(done.count, 0);
    renew_whenever_asked(300);
    assert_int_equal(done.count, 1);
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
    assert_in_range(done.at.ms - began, 10000, 10200);
}

static struct lsc_call *begin_set_value(struct lsc_hold *hold, struct world_done *ret)
{
    *ret = (struct world_done){0};
    return lsc_set_value(world.core, world.now, hold, (struct proto_bytes){(const uint8_t *)"v", 1}, ret, world_done);
}

/* It outlasts session and lock: whether it is set, nobody knows. */
static void a_value_on_its_way_when_the_session_ends_is_unknown(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, NULL);
    (void)begin_set_value(hold, &done);
    (void)world_expect(&world, PROTO_LOCK_SET_VALUE);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    (void)world_expect(&world, PROTO_SESSION_OPEN);
    const struct world_request *again = world_expect(&world, PROTO_LOCK_SET_VALUE);
    world_reply_status(&world, again, PROTO_STATUS_SESSION_EXPIRED, world_cluster_ms(&world));
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
}

static void a_value_that_was_refused_with_the_session_is_not_set(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, NULL);
    (void)begin_set_value(hold, &done);
    const struct world_request *set = world_expect(&world, PROTO_LOCK_SET_VALUE);
    world_reply_status(&world, set, PROTO_STATUS_SESSION_EXPIRED, world_cluster_ms(&world));
    assert_int_equal(done.result, LOCKSTEP_SESSION_LOST);
}

static void a_query_without_an_answer_had_no_effect(void **state)
{
    (void)state;
    struct proto_request query = {.kind = PROTO_LOCK_GET, .body.lock_get.key = world_text("k")};
    (void)lsc_ask(world.core, world.now, &query, &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_GET);
    renew_whenever_asked(10200);
    assert_int_equal(done.result, LOCKSTEP_UNREACHABLE);
}

static void a_wait_out_of_reach_ends_unknown_and_is_cancelled_later(void **state)
{
    (void)state;
    (void)begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    uint64_t id = world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id;
    world_cut(&world);
    uint64_t lost = world.now.ms;
    while (done.count == 0) {
        world_await_connect(&world);
        world_refuse(&world);
    }
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
    assert_in_range(done.at.ms - lost, 10000, 10000 + 600);
    reconnect();
    /* It is asked for once more so that its fate is known, but does not begin to wait now; and it is cancelled. */
    const struct world_request *again = world_expect(&world, PROTO_LOCK_ACQUIRE);
    assert_int_equal(again->request.id, id);
    assert_int_equal(again->request.body.lock_acquire.wait_ms, 0);
    const struct world_request *cancel = world_expect(&world, PROTO_LOCK_CANCEL);
    assert_int_equal(cancel->request.body.lock_cancel.target_id, id);
    /* It had been granted in between: that is given back. */
    world_reply_grant(&world, again, 44, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    const struct world_request *release = world_expect(&world, PROTO_LOCK_RELEASE);
    assert_int_equal(release->request.body.lock_release.token, 44);
    assert_int_equal(done.count, 1);
}

static void a_cancelled_wait_is_cancelled_at_the_cluster(void **state)
{
    (void)state;
    struct lsc_call *call = begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    lsc_acquire_cancel(world.core, world.now, call);
    assert_int_equal(done.result, LOCKSTEP_CANCELLED);
    const struct world_request *cancel = world_expect(&world, PROTO_LOCK_CANCEL);
    assert_int_equal(cancel->request.body.lock_cancel.target_id, acquire->request.id);
    world_reply_status(&world, acquire, PROTO_STATUS_CANCELLED, world_cluster_ms(&world));
    world_reply_ok(&world, cancel, world_cluster_ms(&world));
    world_expect_none(&world);
}

static void a_grant_that_crosses_the_cancel_is_given_back(void **state)
{
    (void)state;
    struct lsc_call *call = begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    lsc_acquire_cancel(world.core, world.now, call);
    const struct world_request *cancel = world_expect(&world, PROTO_LOCK_CANCEL);
    world_reply_grant(&world, acquire, 45, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    const struct world_request *release = world_expect(&world, PROTO_LOCK_RELEASE);
    assert_int_equal(release->request.body.lock_release.token, 45);
    world_reply_status(&world, cancel, PROTO_STATUS_NOT_FOUND, world_cluster_ms(&world));
    assert_int_equal(world.losses_count, 0);
    /* And the release is not forgotten when the connection goes. */
    world_cut(&world);
    reconnect();
    assert_int_equal(world_expect(&world, PROTO_LOCK_RELEASE)->request.id, release->request.id);
}

static void an_acquire_that_was_never_sent_is_cancelled_without_a_word(void **state)
{
    (void)state;
    world_cut(&world);
    struct lsc_call *call = begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    lsc_acquire_cancel(world.core, world.now, call);
    assert_int_equal(done.result, LOCKSTEP_CANCELLED);
    reconnect();
    world_expect_none(&world);
}

static void overload_is_waited_out_with_the_same_id(void **state)
{
    (void)state;
    (void)begin_acquire("k", 0, &done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct proto_reply reply = {.kind = PROTO_LOCK_ACQUIRE,
                                .id = acquire->request.id,
                                .status = PROTO_STATUS_OVERLOADED,
                                .body.refusal.retry_after_ms = 300};
    world_reply(&world, &reply);
    world_pass(&world, 299);
    world_expect_none(&world);
    world_pass(&world, 1);
    assert_int_equal(world_expect(&world, PROTO_LOCK_ACQUIRE)->request.id, acquire->request.id);
    assert_int_equal(done.count, 0);
}

/* For 20 s, or until it is done. */
static void refuse_by_a_limit(void)
{
    for (int i = 0; i < 600 && done.count == 0; i++) {
        const struct world_request *request = world_next(&world);
        if (request != NULL && request->request.kind == PROTO_LOCK_ACQUIRE) {
            struct proto_reply reply = {.kind = PROTO_LOCK_ACQUIRE,
                                        .id = request->request.id,
                                        .status = PROTO_STATUS_OVERLOADED,
                                        .body.refusal.retry_after_ms = 100};
            world_reply(&world, &reply);
        } else if (request != NULL) {
            world_reply_session(&world, request, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        } else {
            world_pass(&world, 50);
        }
    }
}

static void a_limit_that_stays_is_reported(void **state)
{
    (void)state;
    (void)begin_acquire("k", 0, &done);
    refuse_by_a_limit();
    assert_int_equal(done.result, LOCKSTEP_LIMIT);
}

static void a_limit_that_stays_ends_a_wait_that_has_not_begun(void **state)
{
    (void)state;
    uint64_t begun_ms = world.now.ms;
    (void)begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    refuse_by_a_limit();
    assert_int_equal(done.result, LOCKSTEP_LIMIT);
    assert_in_range(done.at.ms - begun_ms, 10000, 10200);
}

static void a_limit_does_not_end_a_wait_that_may_be_in_the_queue(void **state)
{
    (void)state;
    (void)begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    world_reply_status(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), PROTO_STATUS_QUEUED,
                       world_cluster_ms(&world));
    world_cut(&world);
    reconnect();
    refuse_by_a_limit();
    assert_int_equal(done.count, 0);
}

static void held_and_timed_out_are_final(void **state)
{
    (void)state;
    (void)begin_acquire("k", 0, &done);
    world_reply_status(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), PROTO_STATUS_HELD, world_cluster_ms(&world));
    assert_int_equal(done.result, LOCKSTEP_HELD);
    (void)begin_acquire("k", 100, &other_done);
    world_reply_status(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), PROTO_STATUS_TIMED_OUT, world_cluster_ms(&world));
    assert_int_equal(other_done.result, LOCKSTEP_TIMED_OUT);
    world_expect_none(&world);
}

static void taking_every_holder_away_is_not_repeated(void **state)
{
    (void)state;
    struct proto_request request = {.kind = PROTO_FORCE_RELEASE,
                                    .body.force_release = {.key = world_text("k"), .reason = world_text("why")}};
    (void)lsc_ask(world.core, world.now, &request, &done, world_done);
    (void)world_expect(&world, PROTO_FORCE_RELEASE);
    world_cut(&world);
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
    reconnect();
    world_expect_none(&world);
}

/* The session is renewed, and nothing else is asked. */
static void pass_renewing(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 10) {
        world_pass(&world, 10);
        const struct world_request *renew = world_next(&world);
        if (renew != NULL) {
            assert_int_equal(renew->request.kind, PROTO_SESSION_RENEW);
            world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        }
    }
}

/* Its caller was told that it may have happened: it must not begin to, minutes later, for those who hold the lock then. */
static void what_an_administrator_has_given_up_is_not_asked_again(void **state)
{
    (void)state;
    static const enum proto_status refusals[] = {PROTO_STATUS_OVERLOADED, PROTO_STATUS_NOT_LEADER};
    for (unsigned i = 0; i < 2; i++) {
        struct proto_request request = {.kind = PROTO_FORCE_RELEASE,
                                        .body.force_release = {.key = world_text("k"), .reason = world_text("why")}};
        done = (struct world_done){.world = &world};
        (void)lsc_ask(world.core, world.now, &request, &done, world_done);
        const struct world_request *force = world_expect(&world, PROTO_FORCE_RELEASE);
        pass_renewing(10000);
        assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
        world_reply_moved(&world, force, refusals[i], 0, "");
        if (!world.connected) {
            reconnect();
        }
        pass_renewing(3000);
    }
}

static void taking_one_grant_away_is_repeated(void **state)
{
    (void)state;
    struct proto_request request = {
        .kind = PROTO_FORCE_RELEASE, .body.force_release = {.key = world_text("k"), .token = 3, .reason = world_text("why")}};
    (void)lsc_ask(world.core, world.now, &request, &done, world_done);
    (void)world_expect(&world, PROTO_FORCE_RELEASE);
    world_cut(&world);
    assert_int_equal(done.count, 0);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *first = world_next(&world);
    const struct world_request *second = world_next(&world);
    assert_true(first->request.kind == PROTO_FORCE_RELEASE || second->request.kind == PROTO_FORCE_RELEASE);
}

static void a_long_wait_does_not_use_up_the_window_by_pings_and_queries(void **state)
{
    (void)state;
    (void)begin_acquire("long", PROTO_WAIT_FOREVER, &done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    for (int i = 0; i < 1200; i++) {
        static struct world_done query_done;
        query_done = (struct world_done){0};
        struct proto_request query = {.kind = PROTO_LOCK_GET, .body.lock_get.key = world_text("k")};
        (void)lsc_ask(world.core, world.now, &query, &query_done, world_done);
        const struct world_request *get = world_expect(&world, PROTO_LOCK_GET);
        struct proto_reply reply = {.kind = PROTO_LOCK_GET, .id = get->request.id};
        world_reply(&world, &reply);
        assert_int_equal(query_done.result, LOCKSTEP_OK);
    }
    (void)begin_acquire("short", 0, &other_done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
}

static void a_full_window_is_a_limit_and_leaves_room_for_renewals_and_releases(void **state)
{
    (void)state;
    (void)begin_acquire("long", PROTO_WAIT_FOREVER, &done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct lsc_hold *hold = world_acquire(&world, "kept", 30, NULL);
    static struct world_done last;
    unsigned granted = 0;
    for (;; granted++) {
        last = (struct world_done){.world = &world};
        (void)begin_acquire("k", 0, &last);
        const struct world_request *acquire = world_next(&world);
        if (acquire == NULL) {
            break;
        }
        assert_true(granted < 1023); /* what a session remembers at most */
        world_reply_status(&world, acquire, PROTO_STATUS_HELD, world_cluster_ms(&world));
    }
    assert_true(granted > 500);
    static struct world_done waiting;
    waiting = (struct world_done){.world = &world};
    (void)begin_acquire("waiting", PROTO_WAIT_FOREVER, &waiting);
    world_expect_none(&world);
    (void)lsc_release(world.core, world.now, hold, &other_done, world_done);
    const struct world_request *release = world_expect(&world, PROTO_LOCK_RELEASE);
    world_reply_ok(&world, release, world_cluster_ms(&world));
    assert_int_equal(other_done.result, LOCKSTEP_OK);
    renew_whenever_asked(11000); /* by session.open, which takes no room; the session lives on */
    assert_int_equal(last.result, LOCKSTEP_LIMIT);
    assert_int_equal(waiting.result, LOCKSTEP_LIMIT);
    assert_int_equal(done.count, 0); /* it is in the queue */
    assert_int_equal(lsc_session_id(world.core), 7);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up_session, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(outstanding_requests_are_sent_again_in_order_with_their_ids),
        RULE(what_was_answered_is_not_sent_again),
        RULE(a_grant_that_was_taken_away_unheard_is_lost_after_the_reconnection),
        RULE(a_grant_taken_away_unheard_is_missed_beside_a_release),
        RULE(a_grant_that_was_taken_away_before_it_was_heard_of_is_lost),
        RULE(a_grant_whose_handle_was_given_out_is_looked_after),
        RULE(a_lock_that_ended_before_it_was_given_out_is_lost_afterwards),
        RULE(the_floor_lies_below_every_unanswered_request),
        RULE(an_answer_that_never_comes_is_unknown_in_time),
        RULE(a_value_on_its_way_when_the_session_ends_is_unknown),
        RULE(a_value_that_was_refused_with_the_session_is_not_set),
        RULE(a_query_without_an_answer_had_no_effect),
        RULE(a_wait_out_of_reach_ends_unknown_and_is_cancelled_later),
        RULE(a_cancelled_wait_is_cancelled_at_the_cluster),
        RULE(a_grant_that_crosses_the_cancel_is_given_back),
        RULE(an_acquire_that_was_never_sent_is_cancelled_without_a_word),
        RULE(overload_is_waited_out_with_the_same_id),
        RULE(a_limit_that_stays_is_reported),
        RULE(a_limit_that_stays_ends_a_wait_that_has_not_begun),
        RULE(a_limit_does_not_end_a_wait_that_may_be_in_the_queue),
        RULE(held_and_timed_out_are_final),
        RULE(taking_every_holder_away_is_not_repeated),
        RULE(what_an_administrator_has_given_up_is_not_asked_again),
        RULE(taking_one_grant_away_is_repeated),
        RULE(a_long_wait_does_not_use_up_the_window_by_pings_and_queries),
        RULE(a_full_window_is_a_limit_and_leaves_room_for_renewals_and_releases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
