/* Leases that are asked for anew: what counts before they are answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/world_fixture.h"

static int first_user;

/* The lead is a share of the lease that is counted on, not of one that the new lease is shorter than. */
static void an_extend_to_less_than_the_lead_loses_nothing_while_it_is_under_way(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_extend(world.core, world.now, hold, 250, &done, world_done); /* the session's lead is 300 ms */
    const struct world_request *extend = world_expect(&world, PROTO_LOCK_EXTEND);
    world_pass(&world, 20);
    assert_int_equal(world.losses_count, 0);
    world_reply_grant(&world, extend, 40, world_cluster_ms(&world), world_cluster_ms(&world) + 250);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_true(lsc_hold_is_held(world.core, world.now, hold));
    world_pass(&world, 200);
    assert_int_equal(world.losses_count, 0);
    world_pass(&world, 50);
    assert_int_equal(world.losses_count, 1);
}

/* It takes no time away that the session had been promised, whenever it is answered. */
static void a_shorter_ttl_under_way_loses_no_lock(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    uint64_t certain_ms = lsc_hold_remaining_ms(world.core, world.now, hold);
    (void)lsc_session_renew(world.core, world.now, 100, &done, world_done);
    (void)world_expect(&world, PROTO_SESSION_RENEW);
    assert_int_equal(lsc_hold_remaining_ms(world.core, world.now, hold), certain_ms);
    world_pass(&world, 2000); /* the leader is gone for so long */
    assert_int_equal(world.losses_count, 0);
    assert_int_equal(lsc_hold_remaining_ms(world.core, world.now, hold), certain_ms - 2000);
}

/* Found by a torture run: a caller who was told "not done" had the new TTL all the same. */
static void a_new_ttl_that_was_never_sent_changes_nothing(void **state)
{
    (void)state;
    done = (struct world_done){.world = &world};
    world_cut(&world);
    (void)lsc_session_renew(world.core, world.now, 60000, &done, world_done);
    world_pass(&world, 10000); /* its request timeout */
    assert_int_equal(done.count, 1);
    assert_int_not_equal(done.result, LOCKSTEP_OK);
    done = (struct world_done){.world = &world};
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
    if (!world.connecting) {
        world_await_connect(&world);
    }
    world_accept(&world, 1, 1, "n1:1");
    assert_int_equal(world_expect(&world, PROTO_SESSION_OPEN)->request.body.session_open.ttl_ms, 3000);
}

/* The core's own renewal was refused for now; while it waits, the caller's renewal with another TTL is answered. */
static void a_renewal_that_is_sent_again_does_not_undo_a_later_ttl(void **state)
{
    (void)state;
    world_pass(&world, 1000);
    const struct world_request *own = world_expect(&world, PROTO_SESSION_RENEW);
    uint64_t own_id = own->request.id;
    assert_int_equal(own->request.body.session_renew.ttl_ms, 3000);
    world_reply_status(&world, own, PROTO_STATUS_OVERLOADED, world_cluster_ms(&world));
    done = (struct world_done){.world = &world};
    (void)lsc_session_renew(world.core, world.now, 4500, &done, world_done);
    const struct world_request *asked = world_expect(&world, PROTO_SESSION_RENEW);
    assert_int_equal(asked->request.body.session_renew.ttl_ms, 4500);
    world_reply_session(&world, asked, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 4500);
    assert_int_equal(done.result, LOCKSTEP_OK);
    world_pass(&world, 600);
    const struct world_request *again = world_expect(&world, PROTO_SESSION_RENEW);
    assert_int_equal(again->request.id, own_id);
    world_reply_session(&world, again, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3900);
    world_pass(&world, 900);
    assert_int_equal(world_expect(&world, PROTO_SESSION_RENEW)->request.body.session_renew.ttl_ms, 4500);
}

/* A TTL that was asked for is none before it is answered: neither the lead nor the pace goes by it. */
static void a_longer_ttl_under_way_loses_no_lock(void **state)
{
    (void)state;
    world_free(&world);
    struct lsc_config config = world_config();
    config.session_ttl_ms = 1000;
    world_init(&world, &config);
    world_open_session(&world);
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_session_renew(world.core, world.now, 60000, &done, world_done);
    const struct world_request *renew = world_expect(&world, PROTO_SESSION_RENEW);
    world_pass(&world, 20);
    assert_int_equal(world.losses_count, 0);
    world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 60000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_true(lsc_hold_remaining_ms(world.core, world.now, hold) > 59000);
}

static void a_longer_ttl_that_is_refused_leaves_the_pace(void **state)
{
    (void)state;
    (void)world_acquire(&world, "k", 40, &first_user);
    world_pass(&world, 1000);
    const struct world_request *own = world_expect(&world, PROTO_SESSION_RENEW);
    uint64_t sent = world.now.ms;
    (void)lsc_session_renew(world.core, world.now, 3600000, &done, world_done);
    const struct world_request *next = world_expect(&world, PROTO_SESSION_RENEW);
    uint64_t asked_id = next->request.id;
    world_reply_session(&world, own, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    while (next == NULL || next->request.id == asked_id) {
        if (next != NULL) {
            world_reply_status(&world, next, PROTO_STATUS_OVERLOADED, 0);
        }
        assert_true(world.now.ms - sent <= 1010);
        world_pass(&world, 10);
        next = world_next(&world);
    }
    assert_int_equal(next->request.kind, PROTO_SESSION_RENEW);
    assert_int_equal(world.losses_count, 0);
}

/* What the header says of lockstep_lock_remaining_ms(): on_lost leaves time to stop in. */
static void what_is_left_of_a_lost_lock_counts_down(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    uint64_t certain_ms = lsc_hold_remaining_ms(world.core, world.now, hold);
    world_cut(&world);
    world_pass(&world, certain_ms - 300); /* a tenth of the TTL before */
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(lsc_hold_remaining_ms(world.core, world.now, hold), 300);
    assert_false(lsc_hold_is_held(world.core, world.now, hold));
    world_pass(&world, 100);
    assert_int_equal(lsc_hold_remaining_ms(world.core, world.now, hold), 200);
    world_pass(&world, 200);
    assert_int_equal(lsc_hold_remaining_ms(world.core, world.now, hold), 0);
}

static void a_renewal_without_a_session_opens_one(void **state)
{
    (void)state;
    world_free(&world);
    world_init(&world, NULL);
    (void)lsc_session_renew(world.core, world.now, 0, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    uint64_t now_ms = world_cluster_ms(&world);
    world_reply_session(&world, world_expect(&world, PROTO_SESSION_OPEN), 7, now_ms, now_ms + 3000);
    world_reply_session(&world, world_expect(&world, PROTO_SESSION_RENEW), 7, now_ms, now_ms + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up_session, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(an_extend_to_less_than_the_lead_loses_nothing_while_it_is_under_way),
        RULE(a_shorter_ttl_under_way_loses_no_lock),
        RULE(a_new_ttl_that_was_never_sent_changes_nothing),
        RULE(a_renewal_that_is_sent_again_does_not_undo_a_later_ttl),
        RULE(a_longer_ttl_under_way_loses_no_lock),
        RULE(a_longer_ttl_that_is_refused_leaves_the_pace),
        RULE(what_is_left_of_a_lost_lock_counts_down),
        RULE(a_renewal_without_a_session_opens_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
