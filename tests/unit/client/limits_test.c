/* What a limit keeps back, of the session's window or of the cluster: for how long, and what goes out all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/world_fixture.h"

enum { WAITS = 900 };

static struct lsc_call *begin_acquire(const char *key, uint64_t wait_ms, struct world_done *to)
{
    struct proto_lock_acquire body = world_acquire_body(key, wait_ms);
    return lsc_acquire(world.core, world.now, &body, to, to, world_done);
}

/* The oldest holds the floor down: were it the last in line for the room there is, nothing would ever make room. */
static void waits_are_cancelled_in_whatever_order(void **state)
{
    (void)state;
    static struct world_done waits[WAITS];
    static struct lsc_call *calls[WAITS];
    for (unsigned i = 0; i < WAITS; i++) {
        waits[i] = (struct world_done){0};
        calls[i] = begin_acquire("k", PROTO_WAIT_FOREVER, &waits[i]);
        (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    }
    for (unsigned i = WAITS; i-- > 0;) {
        lsc_acquire_cancel(world.core, world.now, calls[i]);
        assert_int_equal(waits[i].result, LOCKSTEP_CANCELLED);
    }
    unsigned cancelled = 0;
    for (const struct world_request *cancel = NULL; (cancel = world_next(&world)) != NULL; cancelled++) {
        assert_int_equal(cancel->request.kind, PROTO_LOCK_CANCEL);
        assert_true(cancel->request.id - cancel->request.ack_floor <= FSM_WINDOW_REPLIES_MAX);
        struct proto_reply ended = {.kind = PROTO_LOCK_ACQUIRE,
                                    .id = cancel->request.body.lock_cancel.target_id,
                                    .status = PROTO_STATUS_CANCELLED};
        world_reply(&world, &ended);
        world_reply_ok(&world, cancel, world_cluster_ms(&world));
    }
    assert_int_equal(cancelled, WAITS);
}

/* As many sessions as the cluster takes. A leader says so, and so is not out of reach. */
static void a_wait_that_gets_no_session_ends_in_time(void **state)
{
    (void)state;
    world_free(&world);
    world_init(&world, NULL);
    uint64_t begun_ms = world.now.ms;
    (void)begin_acquire("k", PROTO_WAIT_FOREVER, &done);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    for (int i = 0; i < 600 && done.count == 0; i++) {
        const struct world_request *open = world_next(&world);
        if (open == NULL) {
            world_pass(&world, 50);
            continue;
        }
        assert_int_equal(open->request.kind, PROTO_SESSION_OPEN);
        struct proto_reply reply = {.kind = PROTO_SESSION_OPEN,
                                    .id = open->request.id,
                                    .status = PROTO_STATUS_LIMIT_REACHED,
                                    .body.refusal.detail = world_text("too many sessions")};
        world_reply(&world, &reply);
    }
    assert_int_equal(done.result, LOCKSTEP_LIMIT);
    assert_in_range(done.at.ms - begun_ms, 10000, 10200);
    assert_non_null(strstr(done.detail, "too many sessions"));
}

static void reply_overloaded(const struct world_request *to)
{
    struct proto_reply reply = {.kind = to->request.kind,
                                .id = to->request.id,
                                .status = PROTO_STATUS_OVERLOADED,
                                .body.refusal.retry_after_ms = 1300};
    world_reply(&world, &reply);
}

static struct lsc_call *begin_set_value(struct lsc_hold *hold, const char *value, struct world_done *to)
{
    return lsc_set_value(world.core, world.now, hold, world_text(value), to, world_done);
}

/* Its caller was told that it may be set, and asks for another: that one must not be undone by the first. */
static void a_value_given_up_on_is_not_set_after_a_later_one(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, NULL);
    (void)begin_set_value(hold, "first", &done);
    (void)world_expect(&world, PROTO_LOCK_SET_VALUE);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    for (unsigned i = 0; i < 300 && done.count == 0; i++) {
        const struct world_request *request = world_next(&world);
        if (request == NULL) {
            world_pass(&world, 50);
        } else if (request->request.kind == PROTO_LOCK_SET_VALUE) {
            reply_overloaded(request);
        } else if (request->request.kind != PROTO_LOCK_GET) { /* whether the lock lives */
            world_reply_session(&world, request, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        }
    }
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
    (void)begin_set_value(hold, "second", &other_done);
    const struct world_request *first = NULL;
    while (first == NULL || first->request.kind != PROTO_LOCK_SET_VALUE) {
        world_pass(&world, 50);
        first = world_next(&world);
    }
    assert_memory_equal(first->request.body.lock_set_value.value.data, "first", 5);
    world_reply_ok(&world, first, world_cluster_ms(&world));
    const struct world_request *second = world_expect(&world, PROTO_LOCK_SET_VALUE);
    assert_memory_equal(second->request.body.lock_set_value.value.data, "second", 6);
    world_reply_ok(&world, second, world_cluster_ms(&world));
    assert_int_equal(other_done.result, LOCKSTEP_OK);
}

/* Session 9 of another process, which this one was told to renew. */
static void adopt(void)
{
    world_free(&world);
    struct lsc_config config = world_config();
    config.adopt_session_id = 9;
    world_init(&world, &config);
    (void)lsc_session_renew(world.core, world.now, 0, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *get = world_expect(&world, PROTO_SESSION_GET);
    struct proto_session_row row = {
        .session_id = 9, .ttl_ms = 3000, .lock_delay_ms = 1500, .last_request_id = 50, .owner = world_text("first")};
    struct proto_reply reply = {.kind = PROTO_SESSION_GET, .id = get->request.id};
    reply.body.session_list.rows = &row;
    reply.body.session_list.count = 1;
    world_reply(&world, &reply);
    world_reply_session(&world, world_expect(&world, PROTO_SESSION_RENEW), 9, world_cluster_ms(&world),
                        world_cluster_ms(&world) + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
}

/* The wait may last so long that the renewals alone would fill the window. */
static void an_adopted_session_is_renewed_in_a_full_window(void **state)
{
    (void)state;
    adopt();
    (void)begin_acquire("long", PROTO_WAIT_FOREVER, &other_done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    static struct world_done asked;
    for (const struct world_request *ask = NULL;;) {
        asked = (struct world_done){0};
        (void)begin_acquire("k", 0, &asked);
        if ((ask = world_next(&world)) == NULL) {
            break;
        }
        world_reply_status(&world, ask, PROTO_STATUS_HELD, world_cluster_ms(&world));
    }
    unsigned renewals = 0;
    for (unsigned passed_ms = 0; passed_ms < 9000; passed_ms += 100) {
        world_pass(&world, 100);
        const struct world_request *renewal = world_next(&world);
        if (renewal == NULL) {
            continue;
        }
        assert_int_equal(renewal->request.kind, PROTO_SESSION_OPEN);
        const struct proto_session_open *body = &renewal->request.body.session_open;
        assert_int_equal(body->resume_id, 9);
        assert_int_equal(body->ttl_ms, 3000); /* it changes nothing but the deadline */
        assert_int_equal(body->lock_delay_ms, 1500);
        assert_int_equal(body->owner.size, strlen("first"));
        assert_memory_equal(body->owner.data, "first", body->owner.size);
        world_reply_session(&world, renewal, 9, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        renewals++;
    }
    assert_in_range(renewals, 8, 9);
    assert_int_equal(lsc_session_id(world.core), 9);
    assert_int_equal(other_done.count, 0);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up_session, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(waits_are_cancelled_in_whatever_order),
        RULE(a_wait_that_gets_no_session_ends_in_time),
        RULE(a_value_given_up_on_is_not_set_after_a_later_one),
        RULE(an_adopted_session_is_renewed_in_a_full_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
