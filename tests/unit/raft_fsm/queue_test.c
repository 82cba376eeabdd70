/* Waiting and handing on: hand_on.c (G1 .. G6) and waiter.c (Q1 .. Q3). */
#include "fixture.h"

#include <stdio.h>

#include "raft_fsm/state.h"

static void a_lock_is_granted_in_order_of_arrival(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct client c = open_client(f, 'c', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, 500);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    f->time_ms = 10;
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    const struct proto_reply *reply = wait_ended(f, &c, of_c);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_int_equal(reply->time.ms, 10);
    assert_true(reply->body.grant.token > token);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 1);
    assert_int_equal(release(f, &c, "k", reply->body.grant.token), PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_OK);
}

static void a_shared_request_waits_behind_a_queued_exclusive_one(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct client c = open_client(f, 'c', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_SHARED);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    struct fsm_command command = acquire_command(&c, "k", PROTO_MODE_SHARED, 0);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.token, token);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_SHARED, 500);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    token = wait_ended(f, &b, of_b)->body.grant.token;
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 1);
    assert_int_equal(release(f, &b, "k", token), PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_OK);
}

static void a_lock_is_queued_from_the_first_waiter_to_the_last(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    assert_false(fsm_lock_is_queued(f->fsm, bytes_of("k")));
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    acquire(f, &a, "other", PROTO_MODE_EXCLUSIVE);
    assert_false(fsm_lock_is_queued(f->fsm, bytes_of("k")));
    enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    assert_true(fsm_lock_is_queued(f->fsm, bytes_of("k")));
    assert_false(fsm_lock_is_queued(f->fsm, bytes_of("other")));
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_false(fsm_lock_is_queued(f->fsm, bytes_of("k")));
}

static void a_run_of_shared_waiters_is_granted_together(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t first = enqueue(f, &b, "k", PROTO_MODE_SHARED, 500);
    uint64_t second = enqueue(f, &b, "k", PROTO_MODE_SHARED, 500);
    enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    enqueue(f, &b, "k", PROTO_MODE_SHARED, 500);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 2);
    uint64_t fence = wait_ended(f, &b, first)->body.grant.fence;
    assert_int_equal(wait_ended(f, &b, second)->body.grant.fence, fence);
    assert_int_equal(counts(f).waiters, 2);
}

static void permits_are_handed_on_in_order_even_if_a_later_one_would_fit(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command command = permits_command(&a, "k", 2, 3, 0);
    uint64_t two = run(f, &command)->body.grant.token;
    command = permits_command(&a, "k", 1, 3, 0);
    uint64_t one = run(f, &command)->body.grant.token;
    entry_begin(f);
    struct fsm_command large = permits_command(&a, "k", 2, 3, 500);
    entry_add(f, &large);
    struct fsm_command small = permits_command(&a, "k", 1, 3, 500);
    entry_add(f, &small);
    entry_apply(f);
    assert_int_equal(effects_of(f, FSM_QUEUED), 2);
    assert_int_equal(release(f, &a, "k", one), PROTO_STATUS_OK);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 0);
    assert_int_equal(release(f, &a, "k", two), PROTO_STATUS_OK);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 2);
}

static void a_wait_ends_at_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 300);
    assert_int_equal(fsm_next_due(f->fsm).ms, 300);
    at(f, 299);
    assert_int_equal(effects_of(f, FSM_WAIT_ENDED), 0);
    at(f, 300);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_TIMED_OUT);
    assert_int_equal(counts(f).waiters, 0);
}

static void a_blocking_wait_that_ends_lets_those_behind_pass(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct client c = open_client(f, 'c', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_SHARED);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 300);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_SHARED, 900);
    at(f, 300);
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_TIMED_OUT);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_OK);
    of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 300);
    of_c = enqueue(f, &c, "k", PROTO_MODE_SHARED, 300);
    assert_int_equal(cancel(f, &b, of_b), PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_CANCELLED);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_OK);
}

static void cancelling_what_does_not_wait_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 300);
    assert_int_equal(cancel(f, &a, a.next_request_id - 1), PROTO_STATUS_NOT_FOUND); /* granted */
    assert_int_equal(cancel(f, &a, of_b), PROTO_STATUS_NOT_FOUND);                  /* of another session */
    assert_int_equal(cancel(f, &a, 77), PROTO_STATUS_NOT_FOUND);
    assert_int_equal(counts(f).grants, 1);
    assert_int_equal(counts(f).waiters, 1);
    assert_int_equal(cancel(f, &b, of_b), PROTO_STATUS_OK);
    assert_int_equal(cancel(f, &b, of_b), PROTO_STATUS_NOT_FOUND);
}

static void a_dead_session_is_never_granted(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 900, 0);
    struct client b = open_client(f, 'b', 800, 0);
    struct client c = open_client(f, 'c', 2000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    at(f, 900); /* a and b are due in one entry */
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_OK);
}

static void a_wait_that_is_due_is_not_granted_by_what_is_due_before_it(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 500, 0);
    struct client b = open_client(f, 'b', 5000, 0);
    struct client c = open_client(f, 'c', 5000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 600);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, 900);
    at(f, 700); /* a's session went at 500, but the entry that says so came after b had waited enough */
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_TIMED_OUT);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_OK);
}

/* The same, met by handing on inside the expiry: the grant goes at 500, the wait's turn would be at 600. */
static void a_wait_that_is_due_is_not_granted_by_an_expiry_before_it(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 5000, 0);
    struct client b = open_client(f, 'b', 5000, 0);
    struct client c = open_client(f, 'c', 650, 0);
    struct client d = open_client(f, 'd', 5000, 0);
    struct client e = open_client(f, 'e', 680, 0);
    struct fsm_command own = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    own.body.lock_acquire.ttl_ms = 500;
    run(f, &own);
    uint64_t of_b = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 600);
    uint64_t of_c = enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, 660); /* its session goes first */
    uint64_t of_e = enqueue(f, &e, "k", PROTO_MODE_EXCLUSIVE, 680); /* at once with its session: X2 */
    uint64_t of_d = enqueue(f, &d, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    at(f, 700);
    assert_int_equal(wait_ended(f, &b, of_b)->status, PROTO_STATUS_TIMED_OUT);
    assert_int_equal(wait_ended(f, &c, of_c)->status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(wait_ended(f, &e, of_e)->status, PROTO_STATUS_SESSION_EXPIRED);
    assert_int_equal(wait_ended(f, &d, of_d)->status, PROTO_STATUS_OK);
}

/* Who asks once is told of the bound, and not HELD: nobody is in the way. Who waits is granted when there is room. */
static void the_holders_are_bounded_by_name(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct client b = open_client(f, 'b', 1000000, 0);
    uint64_t first = acquire(f, &a, "k", PROTO_MODE_SHARED);
    f->unchecked = true;
    for (unsigned held = 1; held < FSM_HOLDERS_PER_LOCK_MAX;) {
        a.ack_floor = a.next_request_id - 1;
        entry_begin(f);
        for (unsigned i = 0; i < 1000 && held < FSM_HOLDERS_PER_LOCK_MAX; i++, held++) {
            struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
            entry_add(f, &command);
        }
        entry_apply(f);
    }
    assert_int_equal(counts(f).grants, FSM_HOLDERS_PER_LOCK_MAX);
    struct fsm_command once = acquire_command(&b, "k", PROTO_MODE_SHARED, 0);
    const struct proto_reply *reply = run(f, &once);
    assert_int_equal(reply->status, PROTO_STATUS_LIMIT_REACHED);
    assert_true(reply->body.refusal.detail.size > 0);
    once = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 0);
    assert_int_equal(run(f, &once)->status, PROTO_STATUS_HELD);
    uint64_t waits = enqueue(f, &b, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    assert_int_equal(release(f, &a, "k", first), PROTO_STATUS_OK);
    assert_int_equal(wait_ended(f, &b, waits)->status, PROTO_STATUS_OK);
    assert_int_equal(counts(f).grants, FSM_HOLDERS_PER_LOCK_MAX);
    fsm_check_invariants(f->fsm);
}

static void the_queue_is_bounded_by_name(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->unchecked = true;
    unsigned queued = 0;
    for (unsigned i = 0; queued < FSM_WAITERS_PER_LOCK_MAX; i++) {
        struct client b = {.next_request_id = 1};
        memcpy(b.digest, &i, sizeof i);
        b.digest[15] = 1;
        struct fsm_command open = open_command(&b, 1000000, 0);
        b.session_id = run(f, &open)->body.session.session_id;
        entry_begin(f);
        for (unsigned j = 0; j < FSM_WINDOW_REPLIES_MAX && queued < FSM_WAITERS_PER_LOCK_MAX; j++, queued++) {
            struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_SHARED, 500000);
            entry_add(f, &command);
        }
        entry_apply(f);
        assert_true(effects_of(f, FSM_QUEUED) > 0);
    }
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_SHARED, 500);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_LIMIT_REACHED);
    assert_true(reply->body.refusal.retry_after_ms > 0);
    assert_true(reply->body.refusal.detail.size > 0);

    /* R4: it did not happen, so the same id may once there is room; else the client would ask in vain for ever. */
    f->time_ms += 500000;
    entry_begin(f);
    entry_apply(f);
    for (unsigned i = 0; i < FSM_WAITERS_PER_LOCK_MAX / FSM_EXPIRIES_PER_ENTRY; i++) {
        entry_begin(f);
        entry_apply(f);
    }
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    assert_int_equal(effects_of(f, FSM_QUEUED), 1);
}

/* A lock is one object for digest and snapshot, its waiters' values included. */
static void the_values_that_wait_are_bounded_together(void **state)
{
    struct fixture *f = *state;
    enum { AT_ONCE = 32, WAITERS = FSM_WAITING_BYTES_PER_LOCK_MAX / PROTO_VALUE_BYTES_MAX };
    static uint8_t value[PROTO_VALUE_BYTES_MAX];
    struct client a = open_client(f, 'a', 1000000, 0);
    struct client b = open_client(f, 'b', 1000000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->unchecked = true;
    for (unsigned i = 0; i < WAITERS; i += AT_ONCE) {
        entry_begin(f);
        for (unsigned j = 0; j < AT_ONCE; j++) {
            struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
            command.body.lock_acquire.has_value = true;
            command.body.lock_acquire.value = (struct proto_bytes){.data = value, .size = sizeof value};
            entry_add(f, &command);
        }
        entry_apply(f);
        assert_int_equal(effects_of(f, FSM_QUEUED), AT_ONCE);
    }
    f->unchecked = false;
    struct fsm_command one_more = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER);
    one_more.body.lock_acquire.has_value = true;
    one_more.body.lock_acquire.value = (struct proto_bytes){.data = value, .size = 1};
    const struct proto_reply *reply = run(f, &one_more);
    assert_int_equal(reply->status, PROTO_STATUS_LIMIT_REACHED);
    assert_true(reply->body.refusal.retry_after_ms > 0);
    assert_true(reply->body.refusal.detail.size > 0);
    (void)enqueue(f, &a, "k", PROTO_MODE_EXCLUSIVE, PROTO_WAIT_FOREVER); /* without a value it may */
    struct fsm_command kill = {.kind = PROTO_SESSION_KILL};
    kill.body.session_kill.session_id = b.session_id;
    kill.body.session_kill.reason = bytes_of("room");
    assert_int_equal(run(f, &kill)->status, PROTO_STATUS_OK);
    entry_begin(f);
    entry_add(f, &one_more);
    entry_apply(f);
    assert_int_equal(effects_of(f, FSM_QUEUED), 1);
}

/* G4: a crowd of shared waiters is granted over several entries, none lost, none twice, none overtaken. */
static void a_crowd_is_granted_in_portions(void **state)
{
    struct fixture *f = *state;
    enum { SESSIONS = 10, EACH = 1000 };
    struct client a = open_client(f, 'a', 1000000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->unchecked = true;
    struct client crowd[SESSIONS];
    for (unsigned i = 0; i < SESSIONS; i++) {
        crowd[i] = open_client(f, (char)('b' + i), 1000000, 0);
        entry_begin(f);
        for (unsigned j = 0; j < EACH; j++) {
            struct fsm_command command = acquire_command(&crowd[i], "k", PROTO_MODE_SHARED, 500000);
            entry_add(f, &command);
        }
        entry_apply(f);
    }
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    size_t granted = effects_of(f, FSM_WAIT_ENDED);
    assert_true(granted > 1 && granted < SESSIONS * EACH);
    assert_int_equal(fsm_next_due(f->fsm).ms, f->time_ms);
    fsm_check_invariants(f->fsm);
    /* Who comes now does not overtake them. */
    struct fsm_command late = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
    assert_int_equal(run(f, &late)->status, PROTO_STATUS_HELD);
    granted += effects_of(f, FSM_WAIT_ENDED);
    /* A state restored in between goes on alike. */
    follow_from_a_snapshot(f, 100000);
    while (counts(f).waiters > 0) {
        at(f, f->time_ms);
        assert_true(effects_of(f, FSM_WAIT_ENDED) > 0);
        granted += effects_of(f, FSM_WAIT_ENDED);
        assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
    }
    assert_int_equal(granted, SESSIONS * EACH);
    assert_int_equal(query_lock(f, "k").body.lock.holders_count, SESSIONS * EACH);
    assert_int_equal(fsm_next_due(f->fsm).ms, 1000000);
    fsm_check_invariants(f->fsm);
}

/* `count` shared waits for each of `keys` keys, `prefix` and a number: a session for every thousand. */
static void wait_for_many(struct fixture *f, char name, const char *prefix, unsigned keys, unsigned count)
{
    struct client client = {0};
    char key[32];
    for (unsigned i = 0; i < keys * count; i++) {
        if (i % 1000 == 0) {
            client = open_client(f, (char)(name + (int)(i / 1000)), 1000000, 0);
            entry_begin(f);
        }
        (void)snprintf(key, sizeof key, "%s/%u", prefix, i / count);
        struct fsm_command command = acquire_command(&client, key, PROTO_MODE_SHARED, 500000);
        entry_add(f, &command);
        if (i % 1000 == 999 || i + 1 == keys * count) {
            entry_apply(f);
        }
    }
}

static void add_for_many(struct fixture *f, struct client *client, const char *prefix, unsigned keys,
                         uint64_t token)
{
    char key[32];
    for (unsigned i = 0; i < keys; i++) {
        (void)snprintf(key, sizeof key, "%s/%u", prefix, i);
        struct fsm_command command = token == 0 ? acquire_command(client, key, PROTO_MODE_EXCLUSIVE, 0)
                                                : release_command(client, key, token + i);
        client->ack_floor = command.request_id;
        entry_add(f, &command);
    }
}

/* G4: locks that are nearly through count as much as one with a crowd. */
static void what_is_left_of_many_locks_is_granted_in_portions_too(void **state)
{
    struct fixture *f = *state;
    enum { LOCKS = 3000, CROWD = 2 * FSM_HAND_ONS_PER_ENTRY };
    struct client a = open_client(f, 'a', 1000000, 0);
    f->unchecked = true;
    uint64_t token = counts(f).next_token;
    entry_begin(f);
    add_for_many(f, &a, "crowd", 1, 0);
    add_for_many(f, &a, "k", LOCKS, 0);
    entry_apply(f);
    wait_for_many(f, 'b', "crowd", 1, CROWD);
    wait_for_many(f, 'm', "k", LOCKS, 2);
    entry_begin(f);
    add_for_many(f, &a, "crowd", 1,
                 token); /* takes the share of the entry; of each other lock one waiter is granted */
    add_for_many(f, &a, "k", LOCKS, token + 1);
    entry_apply(f);
    assert_int_equal(counts(f).waiters, CROWD - FSM_HAND_ONS_PER_ENTRY - 1 + LOCKS);
    while (counts(f).waiters > 0) {
        at(f, f->time_ms);
        assert_in_range(effects_of(f, FSM_WAIT_ENDED), 1, FSM_HAND_ONS_PER_ENTRY);
    }
    assert_int_equal(counts(f).grants, CROWD + 2 * LOCKS);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* G4, L1: nobody has it, and those at the front, whose time has passed, have not all had their turn. */
static void a_lock_that_is_still_handed_on_is_held_by_nobody(void **state)
{
    struct fixture *f = *state;
    enum { EACH = 1000, CROWD = 9 * EACH };
    struct client a = open_client(f, 'a', 1000000, 0);
    f->unchecked = true;
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    for (unsigned i = 0; i < CROWD / EACH; i++) {
        struct client waiting = open_client(f, (char)('b' + i), 1000000, 0);
        entry_begin(f);
        for (unsigned j = 0; j < EACH; j++) {
            struct fsm_command command = acquire_command(&waiting, "k", PROTO_MODE_EXCLUSIVE, 500);
            entry_add(f, &command);
        }
        entry_apply(f);
    }
    f->time_ms += 500;
    entry_begin(f);
    struct fsm_command release = release_command(&a, "k", token);
    struct fsm_command once = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    entry_add(f, &release);
    entry_add(f, &once);
    entry_apply(f);
    assert_in_range(counts(f).waiters, 1, CROWD);
    const struct proto_reply *reply = &effect(f, f->effects.count - 1)->reply;
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.session_id, 0);
    assert_int_equal(reply->body.holder.token, 0);
    assert_int_equal(reply->body.holder.remaining_ms, 0);
    at(f, f->time_ms);
    assert_int_equal(counts(f).waiters, 0);
    (void)acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    fsm_check_invariants(f->fsm);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_lock_is_granted_in_order_of_arrival),
        TEST(a_shared_request_waits_behind_a_queued_exclusive_one),
        TEST(a_lock_is_queued_from_the_first_waiter_to_the_last),
        TEST(a_run_of_shared_waiters_is_granted_together),
        TEST(permits_are_handed_on_in_order_even_if_a_later_one_would_fit),
        TEST(a_wait_ends_at_its_own_deadline),
        TEST(a_blocking_wait_that_ends_lets_those_behind_pass),
        TEST(cancelling_what_does_not_wait_changes_nothing),
        TEST(a_dead_session_is_never_granted),
        TEST(a_wait_that_is_due_is_not_granted_by_what_is_due_before_it),
        TEST(a_wait_that_is_due_is_not_granted_by_an_expiry_before_it),
        TEST(the_holders_are_bounded_by_name),
        TEST(the_queue_is_bounded_by_name),
        TEST(the_values_that_wait_are_bounded_together),
        TEST(a_crowd_is_granted_in_portions),
        TEST(what_is_left_of_many_locks_is_granted_in_portions_too),
        TEST(a_lock_that_is_still_handed_on_is_held_by_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
