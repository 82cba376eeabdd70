/* Deadlines, portions and lock-delay: expiry.c (X1 .. X4), ending.c (E1 .. E5), hand_on.c (G5). */
#include "fixture.h"

#include <stdio.h>

static void what_is_due_is_expired_in_order_of_deadline_then_id(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 900, 0);
    struct client b = open_client(f, 'b', 500, 0);
    struct client c = open_client(f, 'c', 500, 0);
    at(f, 1000);
    assert_int_equal(f->effects.count, 3);
    assert_int_equal(effect(f, 0)->session_id, b.session_id);
    assert_int_equal(effect(f, 1)->session_id, c.session_id);
    assert_int_equal(effect(f, 2)->session_id, a.session_id);
}

static void open_many(struct fixture *f, unsigned count, uint64_t ttl_ms)
{
    for (unsigned i = 0; i < count;) {
        entry_begin(f);
        for (unsigned j = 0; j < 1000 && i < count; j++, i++) {
            struct client client = {0};
            memcpy(client.digest, &i, sizeof i);
            client.digest[15] = 'm';
            struct fsm_command command = open_command(&client, ttl_ms, 0);
            entry_add(f, &command);
        }
        entry_apply(f);
    }
}

static void one_entry_expires_a_bounded_number(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    open_many(f, 3 * FSM_EXPIRIES_PER_ENTRY - 1, 500);
    assert_int_equal(fsm_next_due(f->fsm).ms, 500);
    at(f, 500);
    assert_int_equal(effects_of(f, FSM_EVENT), FSM_EXPIRIES_PER_ENTRY);
    assert_int_equal(fsm_next_due(f->fsm).ms, 500); /* the rest wants an entry at once */
    at(f, 500);
    at(f, 500);
    assert_int_equal(effects_of(f, FSM_EVENT), FSM_EXPIRIES_PER_ENTRY - 1);
    assert_int_equal(counts(f).sessions, 0);
    assert_int_equal(fsm_next_due(f->fsm).ms, UINT64_MAX);
}

/* X3: dead before its turn: no command, no grant, but the lock is not free either. */
static void a_dead_session_before_its_turn_answers_nothing_and_keeps_its_locks_closed(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    open_many(f, FSM_EXPIRIES_PER_ENTRY, 500);
    struct client late =
        open_client(f, 'l', 500, 0); /* the greatest id: its turn comes in the second entry */
    struct client other = open_client(f, 'o', 5000, 0);
    uint64_t token = acquire(f, &late, "k", PROTO_MODE_EXCLUSIVE);
    f->time_ms = 500;
    entry_begin(f);
    struct fsm_command extend = command_of(&late, PROTO_LOCK_EXTEND);
    extend.body.lock_extend.key = bytes_of("k");
    extend.body.lock_extend.token = token;
    entry_add(f, &extend);
    struct fsm_command wants = acquire_command(&other, "k", PROTO_MODE_EXCLUSIVE, 0);
    entry_add(f, &wants);
    struct fsm_command opens =
        open_command(&late, 500, 0); /* the same key: a new session, although the old is there */
    entry_add(f, &opens);
    entry_apply(f);
    size_t base = FSM_EXPIRIES_PER_ENTRY;
    assert_int_equal(effect(f, base)->reply.status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(effect(f, base + 1)->reply.status, PROTO_STATUS_HELD);
    assert_int_equal(effect(f, base + 1)->reply.body.holder.remaining_ms, 0);
    assert_false(effect(f, base + 2)->reply.body.session.resumed);
    assert_int_equal(effect(f, base + 2)->reply.body.session.session_id, other.session_id + 1);
    fsm_check_invariants(f->fsm);
    wants = acquire_command(&other, "k", PROTO_MODE_EXCLUSIVE, 0);
    assert_int_equal(run(f, &wants)->status, PROTO_STATUS_OK); /* this entry had its expiry first */
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* X3, for grants and waits: their sessions live, their own deadlines have passed, their turn has not come. */
static void a_dead_grant_or_wait_before_its_turn_is_dead_all_the_same(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    open_many(f, FSM_EXPIRIES_PER_ENTRY, 500);
    struct client a = open_client(f, 'a', 5000, 0);
    struct client b = open_client(f, 'b', 5000, 0);
    struct fsm_command own = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    own.body.lock_acquire.ttl_ms = 500;
    uint64_t token = run(f, &own)->body.grant.token;
    acquire(f, &a, "l", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &b, "l", PROTO_MODE_EXCLUSIVE, 500);
    f->time_ms = 500;
    entry_begin(f);
    struct fsm_command command = release_command(&a, "k", token);
    entry_add(f, &command);
    command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.reentrant = true;
    entry_add(f, &command);
    command = command_of(&b, PROTO_LOCK_CANCEL);
    command.body.lock_cancel.target_id = waits;
    entry_add(f, &command);
    entry_apply(f);
    size_t base = FSM_EXPIRIES_PER_ENTRY;
    assert_int_equal(effect(f, base)->reply.status, PROTO_STATUS_NOT_HELD);
    assert_int_equal(effect(f, base + 1)->reply.status, PROTO_STATUS_HELD);
    assert_int_equal(effect(f, base + 2)->reply.status, PROTO_STATUS_NOT_FOUND);
    at(f, 500);
    assert_int_equal(event_for(f, &a, PROTO_EVENT_GRANT_LOST)->token, token);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_TIMED_OUT);
    fsm_check_invariants(f->fsm);
}

static void hold_many(struct fixture *f, struct client *client, unsigned count)
{
    char key[32];
    for (unsigned i = 0; i < count;) {
        entry_begin(f);
        client->ack_floor = client->next_request_id - 1;
        for (unsigned j = 0; j < 1000 && i < count; j++, i++) {
            (void)snprintf(key, sizeof key, "many/%06u", i);
            struct fsm_command command = acquire_command(client, key, PROTO_MODE_EXCLUSIVE, 0);
            entry_add(f, &command);
        }
        entry_apply(f);
    }
}

/* E2 */
static void a_closed_session_with_many_locks_is_freed_in_portions(void **state)
{
    struct fixture *f = *state;
    enum { LOCKS = 100000 };
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct client b = open_client(f, 'b', 1000000, 0);
    hold_many(f, &a, LOCKS);
    assert_int_equal(counts(f).grants, LOCKS);
    struct fsm_command close = command_of(&a, PROTO_SESSION_CLOSE);
    assert_int_equal(run(f, &close)->status, PROTO_STATUS_OK);
    assert_int_equal(counts(f).grants, LOCKS - FSM_RELEASES_PER_ENTRY);
    assert_int_equal(counts(f).ending, 1);
    assert_int_equal(counts(f).sessions, 1);
    /* By token: the first keys are free, the last ones are not yet. */
    assert_int_equal(query_lock(f, "many/000000").body.lock.holders_count, 0);
    struct fsm_command wants = acquire_command(&b, "many/099999", PROTO_MODE_EXCLUSIVE, 0);
    const struct proto_reply *held = run(f, &wants);
    assert_int_equal(held->status, PROTO_STATUS_HELD);
    assert_int_equal(held->body.holder.remaining_ms, 0); /* whatever was left of the lease */
    uint64_t waits = enqueue(f, &b, "many/099999", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    struct fsm_command kill = {.kind = PROTO_SESSION_KILL};
    kill.body.session_kill.session_id = a.session_id;
    kill.body.session_kill.reason = bytes_of("it is gone already");
    assert_int_equal(run(f, &kill)->status, PROTO_STATUS_NOT_FOUND); /* A2 */
    uint64_t left = counts(f).grants;
    unsigned entries = 0;
    while (counts(f).ending > 0) {
        assert_int_equal(fsm_next_due(f->fsm).ms, f->time_ms);
        at(f, f->time_ms);
        assert_true(left - counts(f).grants <= FSM_RELEASES_PER_ENTRY);
        left = counts(f).grants;
        entries++;
    }
    assert_int_equal(entries,
                     (LOCKS - 1) / FSM_RELEASES_PER_ENTRY - 3); /* four entries above did their share */
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
    assert_int_equal(counts(f).locks, 1);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* E2: those that end while a large one is freed have nothing to be freed, and wait behind it. */
static void sessions_that_ended_behind_a_large_one_go_in_portions_too(void **state)
{
    struct fixture *f = *state;
    enum { PORTIONS = 25, SESSIONS = 20 * FSM_EXPIRIES_PER_ENTRY };
    f->unchecked = true;
    struct client a = open_client(f, 'a', 500, 0);
    open_many(f, SESSIONS, 500);
    hold_many(f, &a, PORTIONS * FSM_RELEASES_PER_ENTRY);
    uint64_t ending_max = 0;
    while (counts(f).sessions + counts(f).ending > 0) {
        struct fsm_counts before = counts(f);
        at(f, 500);
        struct fsm_counts after = counts(f);
        uint64_t freed = before.grants + before.sessions + before.ending;
        freed -= after.grants + after.sessions + after.ending;
        assert_in_range(freed, 1, FSM_RELEASES_PER_ENTRY);
        ending_max = ending_max > after.ending ? ending_max : after.ending;
        assert_int_equal(fsm_next_due(f->fsm).ms, after.sessions + after.ending > 0 ? 500 : UINT64_MAX);
    }
    assert_true(ending_max > FSM_RELEASES_PER_ENTRY);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

static void an_expired_session_closes_its_exclusive_locks_for_its_delay(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 300);
    struct client b = open_client(f, 'b', 5000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    acquire(f, &a, "s", PROTO_MODE_SHARED);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    assert_true(fsm_lock_is_queued(f->fsm, bytes_of("k")));
    at(f, 600); /* the entry came late: the delay counts from it */
    assert_false(fsm_lock_is_queued(f->fsm, bytes_of("k"))); /* G5: one may pass the queue */
    assert_int_equal(query_lock(f, "k").body.lock.delay_remaining_ms, 300);
    assert_int_equal(query_lock(f, "s").body.lock.delay_remaining_ms, 0);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 0);
    f->time_ms = 700;
    struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 0);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.session_id, a.session_id);
    assert_int_equal(reply->body.holder.token, 0);
    assert_int_equal(reply->body.holder.remaining_ms, 200);
    assert_int_equal(fsm_next_due(f->fsm).ms, 900);
    at(f, 899);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 0);
    at(f, 900);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
}

/* What is left of the delay of the lock that hold_many() took as number `i`. */
static uint64_t delay_of_many(struct fixture *f, unsigned i)
{
    char key[32];
    (void)snprintf(key, sizeof key, "many/%06u", i);
    return query_lock(f, key).body.lock.delay_remaining_ms;
}

/* E4, E2: a lock freed by a later portion is closed until the same moment as the others. */
static void the_delay_counts_from_the_end_of_the_session_not_from_the_portion(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000, 600);
    hold_many(f, &a, 2 * FSM_RELEASES_PER_ENTRY + 10);
    at(f, 1000);
    at(f, 1200);
    assert_int_equal(delay_of_many(f, 0), 400);
    assert_int_equal(delay_of_many(f, 2 * FSM_RELEASES_PER_ENTRY - 1), 400);
    at(f, 1600); /* the last ones are free at once: the delay is over */
    at(f, 1600);
    assert_int_equal(delay_of_many(f, 2 * FSM_RELEASES_PER_ENTRY + 9), 0);
    for (unsigned i = 0; i <= 2 * FSM_RELEASES_PER_ENTRY / FSM_EXPIRIES_PER_ENTRY; i++) {
        at(f, 1600);
    }
    assert_int_equal(counts(f).locks, 0);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* E5, A1 */
static void a_forced_release_does_not_tell_a_session_that_has_ended(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 100000, 0);
    hold_many(f, &a, FSM_RELEASES_PER_ENTRY + 10);
    struct fsm_command close = command_of(&a, PROTO_SESSION_CLOSE);
    entry_begin(f);
    entry_add(f, &close);
    struct fsm_command force = {.kind = PROTO_FORCE_RELEASE};
    char key[32];
    (void)snprintf(key, sizeof key, "many/%06u", FSM_RELEASES_PER_ENTRY + 6);
    force.body.force_release.key = bytes_of(key);
    force.body.force_release.reason = bytes_of("now");
    entry_add(f, &force);
    entry_apply(f);
    assert_int_equal(effects_of(f, FSM_EVENT), 1); /* the end of the session */
    assert_int_equal(effect(f, f->effects.count - 1)->reply.body.count.count, 1);
    fsm_check_invariants(f->fsm);
    at(f, 0);
    assert_int_equal(counts(f).ending, 0);
    assert_int_equal(counts(f).locks, 0);
}

static void a_delay_that_nobody_waits_for_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 300);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    at(f, 500);
    assert_int_equal(counts(f).locks, 1);
    at(f, 800);
    assert_int_equal(counts(f).locks, 0);
}

static void the_same_client_takes_its_lock_back_at_once(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 3000);
    struct client b = open_client(f, 'b', 50000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    at(f, 500);
    struct client again = open_client(f, 'a', 500, 3000);
    uint64_t back = acquire(f, &again, "k", PROTO_MODE_EXCLUSIVE); /* past the queue */
    assert_true(back > token);
    assert_int_equal(query_lock(f, "k").body.lock.delay_remaining_ms, 0);
    assert_int_equal(release(f, &again, "k", back), PROTO_STATUS_OK); /* the delay is over, not paused */
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
}

/* The client was sooner than the expiry of its session: its request waits behind its own dead grant. */
static void the_same_client_does_not_wait_for_its_own_delay(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    open_many(f, 2 * FSM_EXPIRIES_PER_ENTRY, 500);
    struct client late = open_client(f, 'l', 500, 3000); /* its turn comes in the third entry */
    struct client other = open_client(f, 'o', 50000, 0);
    acquire(f, &late, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t first = enqueue(f, &other, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    f->time_ms = 500;
    struct client again = open_client(f, 'l', 5000, 3000);
    uint64_t waits = enqueue(f, &again, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    at(f, 500);
    assert_int_equal(wait_ended(f, &again, waits)->status, PROTO_STATUS_OK); /* past the queue */
    assert_int_equal(wait_ended(f, &other, first)->status, PROTO_STATUS_OK); /* beside it */
    assert_int_equal(query_lock(f, "k").body.lock.delay_remaining_ms, 0);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* The same, but when the turn of the old session comes the new one, or its wait, is over as well, and has not had its turn. */
static void takes_nothing_back(struct fixture *f, uint64_t ttl_ms, uint64_t wait_ms, enum proto_status status)
{
    f->unchecked = true;
    open_many(f, 3 * FSM_EXPIRIES_PER_ENTRY - 1, 500);
    struct client late = open_client(f, 'l', 500, 3000); /* the last that the third entry expires */
    acquire(f, &late, "k", PROTO_MODE_EXCLUSIVE);
    f->time_ms = 500;
    struct client again = open_client(f, 'l', ttl_ms, 3000);
    uint64_t waits = enqueue(f, &again, "k", PROTO_MODE_EXCLUSIVE, wait_ms);
    at(f, 700);
    assert_int_equal(wait_ended(f, &again, waits)->status, status); /* G3, by the handing on */
    assert_int_equal(query_lock(f, "k").body.lock.holders_count, 0);
    assert_int_equal(query_lock(f, "k").body.lock.delay_remaining_ms, 3000);
    at(f, 700);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

static void a_dead_session_of_the_same_client_takes_nothing_back(void **state)
{
    takes_nothing_back(*state, 100, PROTO_WAIT_FOREVER, PROTO_STATUS_SESSION_EXPIRED);
}

static void a_wait_of_the_same_client_that_is_over_takes_nothing_back(void **state)
{
    takes_nothing_back(*state, 5000, 100, PROTO_STATUS_TIMED_OUT);
}

static void taking_back_shared_lets_shared_waiters_in(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 3000);
    struct client b = open_client(f, 'b', 50000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    at(f, 500);
    struct client again = open_client(f, 'a', 500, 3000);
    acquire(f, &again, "k", PROTO_MODE_SHARED);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
}

static void equal_deadlines_of_other_kinds_have_an_order_too(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 0);
    struct client b = open_client(f, 'b', 900, 0);
    acquire(f, &b, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command own = acquire_command(&b, "l", PROTO_MODE_EXCLUSIVE, 0);
    own.body.lock_acquire.ttl_ms = 500;
    uint64_t second = run(f, &own)->body.grant.token;
    own = acquire_command(&b, "m", PROTO_MODE_EXCLUSIVE, 0);
    own.body.lock_acquire.ttl_ms = 500;
    run(f, &own);
    uint64_t first_wait = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    at(f, 500);
    assert_int_equal(effect(f, 0)->session_id, a.session_id);
    assert_int_equal(effect(f, 1)->event.token, second);
    assert_int_equal(effect(f, 2)->event.token, second + 1);
    assert_int_equal(effect(f, 3)->request_id, first_wait);
    assert_int_equal(effect(f, 4)->request_id, first_wait + 1);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_due_is_expired_in_order_of_deadline_then_id),
        TEST(one_entry_expires_a_bounded_number),
        TEST(a_dead_session_before_its_turn_answers_nothing_and_keeps_its_locks_closed),
        TEST(a_dead_grant_or_wait_before_its_turn_is_dead_all_the_same),
        TEST(a_closed_session_with_many_locks_is_freed_in_portions),
        TEST(sessions_that_ended_behind_a_large_one_go_in_portions_too),
        TEST(an_expired_session_closes_its_exclusive_locks_for_its_delay),
        TEST(the_delay_counts_from_the_end_of_the_session_not_from_the_portion),
        TEST(a_forced_release_does_not_tell_a_session_that_has_ended),
        TEST(a_delay_that_nobody_waits_for_leaves_nothing_behind),
        TEST(the_same_client_takes_its_lock_back_at_once),
        TEST(the_same_client_does_not_wait_for_its_own_delay),
        TEST(a_dead_session_of_the_same_client_takes_nothing_back),
        TEST(a_wait_of_the_same_client_that_is_over_takes_nothing_back),
        TEST(taking_back_shared_lets_shared_waiters_in),
        TEST(equal_deadlines_of_other_kinds_have_an_order_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
