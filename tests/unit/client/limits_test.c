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

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up_session, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(waits_are_cancelled_in_whatever_order),
        RULE(a_wait_that_gets_no_session_ends_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
