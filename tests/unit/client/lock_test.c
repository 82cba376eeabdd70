/* The session's renewal, and what a holder is told and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/world_fixture.h"

static int first_user, second_user;

static uint64_t remaining(const struct lsc_hold *hold)
{
    return lsc_hold_remaining_ms(world.core, world.now, hold);
}

/* Pass `ms` without a word from the node but pongs. */
static void pass_in_silence(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 10) {
        world_pass(&world, 10);
        if (world.connecting) {
            world_refuse(&world);
        }
    }
}

/* ---- renewing ---- */

/* From `early_ms` on, when a renewal must not have been sent yet, at most a hundredth of its interval of 1 s; on its grid. */
static const struct world_request *renewal_within(uint64_t early_ms)
{
    world_pass(&world, early_ms);
    world_expect_none(&world);
    const struct world_request *renew = NULL;
    for (int ms = 0; ms < 10 && renew == NULL; ms++) {
        world_pass(&world, 1);
        renew = world_next(&world);
    }
    assert_non_null(renew);
    assert_int_equal(renew->request.kind, PROTO_SESSION_RENEW);
    assert_int_equal(world.now.ms % 10, 0);
    return renew;
}

static void the_session_is_renewed_a_third_of_its_ttl_after_the_last_sending(void **state)
{
    (void)state;
    const struct world_request *renew = renewal_within(990);
    /* The answer takes 200 ms: the next one is due a third after this one was sent, not after it was answered. */
    world_pass(&world, 200);
    world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    (void)renewal_within(790);
}

static void a_renewal_carries_its_locks(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    for (int i = 0; i < 20; i++) {
        world_pass(&world, 1000);
        const struct world_request *renew = world_expect(&world, PROTO_SESSION_RENEW);
        world_reply_session(&world, renew, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
        assert_in_range(remaining(hold), 2990, 3000);
    }
    assert_int_equal(world.losses_count, 0);
}

static void a_resumed_session_is_a_renewal(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    world_pass(&world, 900);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_in_range(remaining(hold), 2990, 3000);
}

static void a_session_that_is_gone_loses_every_lock_and_then_itself(void **state)
{
    (void)state;
    (void)world_acquire(&world, "a", 40, &first_user);
    (void)world_acquire(&world, "b", 41, &second_user);
    struct proto_lock_acquire body = world_acquire_body("c", PROTO_WAIT_FOREVER);
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE); /* sent again behind it without waiting for its answer */
    world_reply_status(&world, open, PROTO_STATUS_SESSION_EXPIRED, world_cluster_ms(&world));
    assert_int_equal(world.losses_count, 2);
    assert_int_equal(world.session_losses, 1);
    assert_int_equal(done.result, LOCKSTEP_SESSION_LOST);
    assert_int_equal(lsc_session_id(world.core), 0);
    /* A later acquire opens another session, with no resume id. */
    struct proto_lock_acquire again = world_acquire_body("d", 0);
    done = (struct world_done){0};
    (void)lsc_acquire(world.core, world.now, &again, NULL, &done, world_done);
    assert_int_equal(world_expect(&world, PROTO_SESSION_OPEN)->request.body.session_open.resume_id, 0);
}

static void a_killed_session_is_told_with_its_reason(void **state)
{
    (void)state;
    (void)world_acquire(&world, "a", 40, &first_user);
    struct proto_event event = {.kind = PROTO_EVENT_SESSION_ENDED,
                                .session_id = 7,
                                .time = {world_cluster_ms(&world)},
                                .reason = PROTO_END_KILLED,
                                .detail = world_text("maintenance")};
    world_event(&world, &event);
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(world.losses[0].reason, LOCKSTEP_LOST_KILLED);
    assert_int_equal(world.session_loss_reason, LOCKSTEP_LOST_KILLED);
}

static void an_event_of_another_session_changes_nothing(void **state)
{
    (void)state;
    (void)world_acquire(&world, "a", 40, &first_user);
    struct proto_event event = {.kind = PROTO_EVENT_SESSION_ENDED, .session_id = 8, .reason = PROTO_END_KILLED};
    world_event(&world, &event);
    event = (struct proto_event){
        .kind = PROTO_EVENT_GRANT_LOST, .session_id = 8, .token = 40, .key = world_text("a"), .reason = PROTO_END_FORCED};
    world_event(&world, &event);
    assert_int_equal(world.losses_count, 0);
}

/* ---- on_lost ---- */

static void a_forced_release_is_told_once(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "a", 40, &first_user);
    struct proto_event event = {.kind = PROTO_EVENT_GRANT_LOST,
                                .session_id = 7,
                                .token = 40,
                                .key = world_text("a"),
                                .reason = PROTO_END_FORCED,
                                .detail = world_text("stuck")};
    world_event(&world, &event);
    world_event(&world, &event);
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(world.losses[0].reason, LOCKSTEP_LOST_FORCED);
    assert_ptr_equal(world.losses[0].user, &first_user);
    assert_int_equal(remaining(hold), 0);
    assert_false(lsc_hold_is_held(world.core, world.now, hold));
    pass_in_silence(20000);
    assert_int_equal(world.losses_count, 1);
}

static void without_renewals_on_lost_comes_before_the_time_is_up(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "a", 40, &first_user);
    uint64_t certain = remaining(hold);
    uint64_t began = world.now.ms;
    assert_in_range(certain, 2990, 3000);
    world_cut(&world);
    pass_in_silence(2600);
    assert_int_equal(world.losses_count, 0);
    pass_in_silence(500);
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(world.losses[0].reason, LOCKSTEP_LOST_UNCERTAIN);
    /* a tenth of the TTL early */
    assert_int_equal(world.losses[0].at.ms - began, certain - 300);
    assert_false(lsc_hold_is_held(world.core, world.now, hold));
    assert_int_equal(world.session_losses, 0); /* nobody has said that */
}

static void a_late_reply_does_not_make_a_lock_last_longer(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    (void)lsc_acquire(world.core, world.now, &body, &first_user, &done, world_done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    const struct boot_time sent = world.now;
    uint64_t executed = world_cluster_ms(&world);
    /* Both renewal and grant were executed at once; the answers are on their way for 900 ms. */
    for (int i = 0; i < 9; i++) {
        world_pass(&world, 100);
        (void)world_next(&world); /* answers pings */
    }
    world_reply_grant(&world, acquire, 40, executed, executed + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    uint64_t until = world.now.ms + remaining(done.hold);
    assert_true(until <= sent.ms + 3000);
    assert_true(until >= sent.ms + 2990);
}

static void a_grant_after_a_long_wait_is_as_certain_as_the_session(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", PROTO_WAIT_FOREVER);
    (void)lsc_acquire(world.core, world.now, &body, &first_user, &done, world_done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    uint64_t renewed = 0;
    for (int i = 0; i < 6000; i++) {
        world_pass(&world, 10);
        const struct world_request *renew = world_next(&world);
        if (renew != NULL) {
            renewed = world_cluster_ms(&world);
            world_reply_session(&world, renew, 7, renewed, renewed + 3000);
        }
    }
    world_reply_grant(&world, acquire, 40, world_cluster_ms(&world), renewed + 3000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    uint64_t age = world_cluster_ms(&world) - renewed;
    assert_in_range(remaining(done.hold), 3000 - age - 10, 3000 - age);
}

static void a_lease_of_its_own_ends_without_the_session(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    body.ttl_ms = 500;
    (void)lsc_acquire(world.core, world.now, &body, &first_user, &done, world_done);
    uint64_t began = world.now.ms;
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), 40, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 500);
    (void)world_acquire(&world, "other", 41, &second_user);
    world_pass(&world, 700);
    assert_int_equal(world.losses_count, 1);
    assert_ptr_equal(world.losses[0].user, &first_user);
    assert_in_range(world.losses[0].at.ms - began, 430, 450); /* 50 ms early, and the margin */
}

static void an_extend_without_an_answer_counts_on_the_earlier_lease(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_extend(world.core, world.now, hold, 1000, &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_EXTEND);
    assert_in_range(remaining(hold), 980, 1000);
}

static void an_answered_extend_counts(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    body.ttl_ms = 500;
    (void)lsc_acquire(world.core, world.now, &body, &first_user, &done, world_done);
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), 40, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 500);
    struct lsc_hold *hold = done.hold;
    done = (struct world_done){.world = &world};
    world_pass(&world, 300);
    (void)lsc_extend(world.core, world.now, hold, 900, &done, world_done);
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_EXTEND), 40, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 900);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_in_range(remaining(hold), 880, 900);
}

/* On a fast cluster several entries show the same millisecond; the order of what was asked one after the other is known. */
static void an_extend_within_the_same_millisecond_counts(void **state)
{
    (void)state;
    struct proto_lock_acquire body = world_acquire_body("k", 0);
    body.ttl_ms = 500;
    (void)lsc_acquire(world.core, world.now, &body, &first_user, &done, world_done);
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), 40, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 500);
    struct lsc_hold *hold = done.hold;
    static const uint64_t ttls[] = {2000, 800, 0};
    for (unsigned i = 0; i < 3; i++) {
        done = (struct world_done){.world = &world};
        (void)lsc_extend(world.core, world.now, hold, ttls[i], &done, world_done);
        uint64_t lasts_ms = ttls[i] == 0 ? 3000 : ttls[i];
        world_reply_grant(&world, world_expect(&world, PROTO_LOCK_EXTEND), 40, world_cluster_ms(&world),
                          world_cluster_ms(&world) + lasts_ms);
        assert_int_equal(done.result, LOCKSTEP_OK);
        assert_in_range(remaining(hold), lasts_ms - 20, lasts_ms);
    }
}

/* Of two that were under way at once, in the same entry, nobody knows which came first. */
static void of_two_extends_at_once_the_stricter_counts(void **state)
{
    (void)state;
    static struct world_done second;
    second = (struct world_done){.world = &world};
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_extend(world.core, world.now, hold, 1000, &done, world_done);
    (void)lsc_extend(world.core, world.now, hold, 2000, &second, world_done);
    const struct world_request *first = world_expect(&world, PROTO_LOCK_EXTEND);
    world_reply_grant(&world, first, 40, world_cluster_ms(&world), world_cluster_ms(&world) + 1000);
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_EXTEND), 40, world_cluster_ms(&world),
                      world_cluster_ms(&world) + 2000);
    assert_int_equal(second.result, LOCKSTEP_OK);
    assert_in_range(remaining(hold), 980, 1000);
}

static void an_extend_that_is_not_held_loses_the_lock(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_extend(world.core, world.now, hold, 1000, &done, world_done);
    world_reply_status(&world, world_expect(&world, PROTO_LOCK_EXTEND), PROTO_STATUS_NOT_HELD, world_cluster_ms(&world));
    assert_int_equal(done.result, LOCKSTEP_NOT_HELD);
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(remaining(hold), 0);
}

static void a_released_lock_is_not_lost(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_release(world.core, world.now, hold, &done, world_done);
    assert_int_equal(remaining(hold), 0); /* from the call on */
    world_cut(&world);
    pass_in_silence(5000);
    assert_int_equal(world.losses_count, 0);
}

static void a_release_goes_on_in_the_background_until_it_is_answered(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    (void)lsc_release(world.core, world.now, hold, &done, world_done);
    uint64_t id = world_expect(&world, PROTO_LOCK_RELEASE)->request.id;
    world_cut(&world);
    pass_in_silence(10600);
    assert_int_equal(done.result, LOCKSTEP_UNKNOWN);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(world_expect(&world, PROTO_LOCK_RELEASE)->request.id, id);
}

static void a_freed_lock_is_released(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    lsc_hold_free(world.core, world.now, hold);
    assert_int_equal(world_expect(&world, PROTO_LOCK_RELEASE)->request.body.lock_release.token, 40);
}

static void an_uncertain_lock_is_given_back_only_when_its_time_is_up(void **state)
{
    (void)state;
    struct lsc_hold *hold = world_acquire(&world, "k", 40, &first_user);
    uint64_t until = world.now.ms + remaining(hold);
    world_cut(&world);
    while (world.losses_count == 0) {
        pass_in_silence(10);
    }
    /* The cluster is reached again within the lead, and the session lives: the holder may still be at work. */
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    world_reply_session(&world, open, 7, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_true(world.now.ms < until);
    assert_true(remaining(hold) <= until - world.now.ms); /* it was told as lost: that stands */
    assert_false(lsc_hold_is_held(world.core, world.now, hold));
    world_expect_none(&world);
    world_pass(&world, until - world.now.ms);
    assert_int_equal(world_expect(&world, PROTO_LOCK_RELEASE)->request.body.lock_release.token, 40);
    assert_int_equal(world.losses_count, 1);
}

/* ---- closing ---- */

static void closing_closes_the_session_and_ends_what_is_under_way(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    (void)world_acquire(&world, "a", 40, &first_user);
    struct proto_lock_acquire body = world_acquire_body("b", PROTO_WAIT_FOREVER);
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
    (void)world_expect(&world, PROTO_LOCK_ACQUIRE);
    lsc_core_close(world.core, world.now, false, &closed, world_done);
    assert_int_equal(done.result, LOCKSTEP_CLOSED);
    assert_int_equal(closed.count, 0);
    world_reply_ok(&world, world_expect(&world, PROTO_SESSION_CLOSE), world_cluster_ms(&world));
    assert_int_equal(closed.count, 1);
    assert_int_equal(world.losses_count, 0);
    assert_int_equal(lsc_core_deadline(world.core).ms, UINT64_MAX);
}

static void closing_is_bounded_when_nobody_answers(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    world_cut(&world);
    uint64_t began = world.now.ms;
    lsc_core_close(world.core, world.now, false, &closed, world_done);
    pass_in_silence(2100);
    assert_int_equal(closed.count, 1);
    assert_in_range(closed.at.ms - began, 1990, 2010);
}

/* The first opening was sent, and its answer was lost: the cluster may have a session that nobody here knows. */
static void cut_while_opening(void)
{
    world_free(&world);
    world_init(&world, NULL);
    (void)lsc_session_open(world.core, world.now, &done, world_done);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    (void)world_expect(&world, PROTO_SESSION_OPEN);
    world_cut(&world);
}

static void a_session_that_may_have_been_opened_is_closed(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    cut_while_opening();
    lsc_core_close(world.core, world.now, false, &closed, world_done);
    assert_int_equal(done.result, LOCKSTEP_CLOSED);
    assert_int_equal(closed.count, 0);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    world_reply_session(&world, world_expect(&world, PROTO_SESSION_OPEN), 7, 1000, 4000);
    world_reply_ok(&world, world_expect(&world, PROTO_SESSION_CLOSE), 1000);
    assert_int_equal(closed.result, LOCKSTEP_OK);
}

static void a_session_that_may_have_been_opened_is_not_said_to_be_gone(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    cut_while_opening();
    pass_in_silence(11000); /* its request timeout: nobody asks for the session any more */
    assert_int_equal(done.count, 1);
    lsc_core_close(world.core, world.now, false, &closed, world_done);
    pass_in_silence(2100);
    assert_int_equal(closed.result, LOCKSTEP_UNKNOWN);
}

static void detaching_says_nothing_to_the_cluster(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    (void)world_acquire(&world, "a", 40, &first_user);
    lsc_core_close(world.core, world.now, true, &closed, world_done);
    assert_int_equal(closed.count, 1);
    world_expect_none(&world);
}

static void detaching_sees_to_a_release_that_is_under_way(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    struct lsc_hold *hold = world_acquire(&world, "a", 40, &first_user);
    (void)lsc_release(world.core, world.now, hold, &done, world_done);
    const struct world_request *release = world_expect(&world, PROTO_LOCK_RELEASE);
    lsc_core_close(world.core, world.now, true, &closed, world_done);
    assert_int_equal(done.result, LOCKSTEP_CLOSED);
    assert_int_equal(closed.count, 0); /* whether it was released is not known yet */
    world_reply_ok(&world, release, world_cluster_ms(&world));
    assert_int_equal(closed.result, LOCKSTEP_OK);
}

/* As long as a close would take: the connection may come back. */
static void detaching_waits_for_a_connection_to_give_back_on(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    struct lsc_hold *hold = world_acquire(&world, "a", 40, &first_user);
    world_cut(&world);
    lsc_hold_free(world.core, world.now, hold);
    lsc_core_close(world.core, world.now, true, &closed, world_done);
    assert_int_equal(closed.count, 0);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    world_reply_ok(&world, world_expect(&world, PROTO_LOCK_RELEASE), world_cluster_ms(&world));
    assert_int_equal(closed.result, LOCKSTEP_OK);
}

/* Its caller was told CANCELLED, and that what comes of it is given back. */
static void detaching_gives_back_what_a_cancelled_acquire_was_granted(void **state)
{
    (void)state;
    static struct world_done closed;
    closed = (struct world_done){.world = &world};
    struct proto_lock_acquire body = world_acquire_body("a", PROTO_WAIT_FOREVER);
    struct lsc_call *call = lsc_acquire(world.core, world.now, &body, &done, &done, world_done);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    lsc_acquire_cancel(world.core, world.now, call);
    const struct world_request *cancel = world_expect(&world, PROTO_LOCK_CANCEL);
    lsc_core_close(world.core, world.now, true, &closed, world_done);
    world_reply_grant(&world, acquire, 45, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    world_reply_status(&world, cancel, PROTO_STATUS_NOT_FOUND, world_cluster_ms(&world));
    assert_int_equal(closed.count, 0);
    const struct world_request *release = world_expect(&world, PROTO_LOCK_RELEASE);
    assert_int_equal(release->request.body.lock_release.token, 45);
    world_reply_ok(&world, release, world_cluster_ms(&world));
    assert_int_equal(closed.result, LOCKSTEP_OK);
}

/* ---- adopting ---- */

static void an_adopted_session_is_looked_up_and_not_renewed_unasked(void **state)
{
    (void)state;
    world_free(&world);
    struct lsc_config config = world_config();
    config.adopt_session_id = 9;
    config.adopt_secret[0] = 1;
    world_init(&world, &config);
    (void)lsc_session_open(world.core, world.now, &done, world_done);
    struct lsc_hold *hold = lsc_hold_adopt(world.core, "k", 40, 40, &first_user);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *get = world_expect(&world, PROTO_SESSION_GET);
    assert_int_equal(get->request.body.session_get.session_id, 9);
    struct proto_session_row row = {.session_id = 9, .ttl_ms = 60000, .last_request_id = UINT64_C(1) << 40};
    struct proto_reply reply = {.kind = PROTO_SESSION_GET, .id = get->request.id};
    reply.body.session_list.rows = &row;
    reply.body.session_list.count = 1;
    world_reply(&world, &reply);
    assert_int_equal(done.result, LOCKSTEP_OK);
    for (unsigned seconds = 0; seconds < 120; seconds++) {
        world_pass(&world, 1000);
        world_expect_none(&world);
    }
    assert_int_equal(remaining(hold), 0);
    /* A renewal is not enough: the grant may have a lease of its own. */
    done = (struct world_done){.world = &world};
    (void)lsc_session_renew(world.core, world.now, 0, &done, world_done);
    if (!world.connected) {
        world_await_connect(&world);
        world_accept(&world, 1, 1, "n1:1");
    }
    world_reply_session(&world, world_expect(&world, PROTO_SESSION_RENEW), 9, world_cluster_ms(&world),
                        world_cluster_ms(&world) + 60000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_int_equal(remaining(hold), 0);
    (void)world_expect(&world, PROTO_LOCK_GET); /* whether it lives: others may use the session (verify.c) */
    done = (struct world_done){.world = &world};
    (void)lsc_extend(world.core, world.now, hold, 0, &done, world_done);
    if (!world.connected) {
        world_await_connect(&world);
        world_accept(&world, 1, 1, "n1:1");
    }
    const struct world_request *extend = world_expect(&world, PROTO_LOCK_EXTEND);
    assert_int_equal(extend->request.session_id, 9);
    assert_int_equal(extend->request.secret[0], 1);
    assert_true(extend->request.id > row.last_request_id);
    assert_true(extend->request.id <= row.last_request_id + 1 + (UINT64_C(1) << 32));
    assert_true(extend->request.ack_floor <= row.last_request_id - (UINT64_C(1) << 38));
    world_reply_grant(&world, extend, 40, world_cluster_ms(&world), world_cluster_ms(&world) + 60000);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_in_range(remaining(hold), 59900, 60000);
    lsc_hold_free(world.core, world.now, hold);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up_session, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(the_session_is_renewed_a_third_of_its_ttl_after_the_last_sending),
        RULE(a_renewal_carries_its_locks),
        RULE(a_resumed_session_is_a_renewal),
        RULE(a_session_that_is_gone_loses_every_lock_and_then_itself),
        RULE(a_killed_session_is_told_with_its_reason),
        RULE(an_event_of_another_session_changes_nothing),
        RULE(a_forced_release_is_told_once),
        RULE(without_renewals_on_lost_comes_before_the_time_is_up),
        RULE(a_late_reply_does_not_make_a_lock_last_longer),
        RULE(a_grant_after_a_long_wait_is_as_certain_as_the_session),
        RULE(a_lease_of_its_own_ends_without_the_session),
        RULE(an_extend_without_an_answer_counts_on_the_earlier_lease),
        RULE(an_answered_extend_counts),
        RULE(an_extend_within_the_same_millisecond_counts),
        RULE(of_two_extends_at_once_the_stricter_counts),
        RULE(an_extend_that_is_not_held_loses_the_lock),
        RULE(a_released_lock_is_not_lost),
        RULE(a_release_goes_on_in_the_background_until_it_is_answered),
        RULE(a_freed_lock_is_released),
        RULE(an_uncertain_lock_is_given_back_only_when_its_time_is_up),
        RULE(closing_closes_the_session_and_ends_what_is_under_way),
        RULE(closing_is_bounded_when_nobody_answers),
        RULE(a_session_that_may_have_been_opened_is_closed),
        RULE(a_session_that_may_have_been_opened_is_not_said_to_be_gone),
        RULE(detaching_says_nothing_to_the_cluster),
        RULE(detaching_sees_to_a_release_that_is_under_way),
        RULE(detaching_waits_for_a_connection_to_give_back_on),
        RULE(detaching_gives_back_what_a_cancelled_acquire_was_granted),
        RULE(an_adopted_session_is_looked_up_and_not_renewed_unasked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
