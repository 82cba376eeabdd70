/* Modes, tokens, fences, reentrant grants, own leases and values: lock.c (L1 .. L9). */
#include "fixture.h"

static struct fsm_command reentrant(struct client *client, const char *key, enum proto_mode mode)
{
    struct fsm_command command = acquire_command(client, key, mode, 0);
    command.body.lock_acquire.reentrant = true;
    return command;
}

static struct fsm_command extend_command(struct client *client, const char *key, uint64_t token,
                                         uint64_t ttl_ms)
{
    struct fsm_command command = command_of(client, PROTO_LOCK_EXTEND);
    command.body.lock_extend.key = bytes_of(key);
    command.body.lock_extend.token = token;
    command.body.lock_extend.ttl_ms = ttl_ms;
    return command;
}

static void an_exclusive_lock_has_one_holder_and_says_who(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->time_ms = 300;
    struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_SHARED, 0);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.session_id, a.session_id);
    assert_int_equal(reply->body.holder.token, token);
    assert_int_equal(reply->body.holder.fence, token);
    assert_int_equal(reply->body.holder.mode, PROTO_MODE_EXCLUSIVE);
    assert_int_equal(reply->body.holder.holds, 1);
    assert_int_equal(reply->body.holder.remaining_ms, 700);
    assert_memory_equal(reply->body.holder.owner.data, "owner", 5);
}

static void shared_holders_of_one_period_have_one_fence(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t first = acquire(f, &a, "k", PROTO_MODE_SHARED);
    struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_SHARED, 0);
    const struct proto_reply *reply = run(f, &command);
    uint64_t second = reply->body.grant.token;
    assert_int_equal(reply->body.grant.fence, first);
    assert_true(second > first);
    assert_int_equal(release(f, &a, "k", first), PROTO_STATUS_OK);
    command = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
    reply = run(f, &command);
    assert_int_equal(reply->body.grant.fence, first); /* the period goes on without the one who began it */
    assert_int_equal(release(f, &a, "k", reply->body.grant.token), PROTO_STATUS_OK);
    assert_int_equal(release(f, &b, "k", second), PROTO_STATUS_OK);
    command = acquire_command(&b, "k", PROTO_MODE_SHARED, 0);
    reply = run(f, &command);
    assert_int_equal(reply->body.grant.fence, reply->body.grant.token); /* a new period */
}

static void permits_are_given_up_to_the_limit(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct fsm_command command = permits_command(&a, "k", 2, 3, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    command = permits_command(&b, "k", 2, 3, 0);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_HELD);
    assert_int_equal(reply->body.holder.permits, 2);
    command = permits_command(&b, "k", 1, 3, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    struct proto_reply lock = query_lock(f, "k");
    assert_int_equal(lock.body.lock.limit, 3);
    assert_int_equal(lock.body.lock.permits_used, 3);
    command = acquire_command(&b, "k", PROTO_MODE_SHARED, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_HELD);
}

static void all_who_hold_or_wait_agree_on_the_limit(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command command = permits_command(&b, "k", 1, 2, 50); /* waits behind the exclusive one */
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    command = permits_command(&a, "k", 1, 3, 50);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_LIMIT_MISMATCH);
    at(f, 50); /* it leaves: nothing binds the limit any more */
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    command = permits_command(&a, "k", 1, 3, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    command = permits_command(&b, "k", 1, 2, 0);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_LIMIT_MISMATCH);
}

static void the_same_session_competes_with_itself(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &a, "k", PROTO_MODE_EXCLUSIVE, 500);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_true(wait_ended(f, &a, waits)->body.grant.token > token);
}

static void reentrant_joins_a_grant_of_the_same_mode(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_int_equal(reply->body.grant.token, token);
    assert_int_equal(reply->body.grant.holds, 2);
    command = reentrant(&a, "k", PROTO_MODE_SHARED); /* who may write may read */
    assert_int_equal(run(f, &command)->body.grant.holds, 3);
    command = release_command(&a, "k", token);
    assert_int_equal(run(f, &command)->body.release.holds, 2);
    command = release_command(&a, "k", token);
    command.body.lock_release.all = true;
    assert_int_equal(run(f, &command)->body.release.holds, 0);
    assert_int_equal(counts(f).locks, 0);
}

static void reentrant_into_another_mode_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_SHARED);
    struct fsm_command command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
    command.body.lock_acquire.wait_ms = PROTO_WAIT_FOREVER;
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_MODE_CONFLICT);
    command = reentrant(&b, "k", PROTO_MODE_SHARED); /* holds nothing: as anybody */
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    assert_int_equal(reply->body.grant.holds, 1);
}

static void reentrant_shared_joins_while_others_wait_for_permits(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_SHARED);
    struct fsm_command command = permits_command(&b, "k", 1, 9, 500);
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    command = reentrant(&a, "k", PROTO_MODE_SHARED);
    assert_int_equal(run(f, &command)->body.grant.holds, 2);
}

static void reentrant_permits_join_only_the_same_number(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command command = permits_command(&a, "k", 1, 5, 0);
    run(f, &command);
    command = permits_command(&a, "k", 2, 5, 0);
    uint64_t second = run(f, &command)->body.grant.token;
    command = permits_command(&a, "k", 2, 5, 0);
    command.body.lock_acquire.reentrant = true;
    const struct proto_reply *reply = run(f, &command);
    assert_int_equal(reply->body.grant.token, second);
    assert_int_equal(reply->body.grant.holds, 2);
    command = permits_command(&a, "k", 3, 5, 0);
    command.body.lock_acquire.reentrant = true;
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_MODE_CONFLICT);
}

static void a_grant_can_be_entered_only_so_often(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->unchecked = true;
    for (uint32_t holds = 1; holds < FSM_HOLDS_MAX;) {
        entry_begin(f);
        for (unsigned i = 0; i < FSM_WINDOW_REPLIES_MAX && holds < FSM_HOLDS_MAX; i++, holds++) {
            struct fsm_command command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
            a.ack_floor = command.request_id;
            entry_add(f, &command);
        }
        entry_apply(f);
    }
    struct fsm_command command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_TOO_MANY_HOLDS);
    assert_int_equal(query_lock(f, "k").body.lock.holders[0].holds, FSM_HOLDS_MAX);
}

static void a_joined_lease_only_gets_longer(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 10000, 0);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.ttl_ms = 500;
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 500);
    command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
    command.body.lock_acquire.ttl_ms = 200;
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 500);
    command = reentrant(&a, "k", PROTO_MODE_EXCLUSIVE);
    command.body.lock_acquire.ttl_ms = 900;
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 900);
    acquire(f, &a, "l", PROTO_MODE_EXCLUSIVE); /* without an own lease it stays without */
    command = reentrant(&a, "l", PROTO_MODE_EXCLUSIVE);
    command.body.lock_acquire.ttl_ms = 900;
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 10000);
}

static void a_grant_ends_at_its_own_deadline_while_its_session_lives(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 10000, 5000);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.ttl_ms = 500;
    uint64_t token = run(f, &command)->body.grant.token;
    assert_int_equal(fsm_next_due(f->fsm).ms, 500);
    f->time_ms = 500;
    command = extend_command(&a, "k", token, 500);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_HELD);
    const struct proto_event *event = event_for(f, &a, PROTO_EVENT_GRANT_LOST);
    assert_int_equal(event->reason, PROTO_END_EXPIRED);
    assert_int_equal(event->token, token);
    assert_memory_equal(event->key.data, "k", 1);
    assert_int_equal(counts(f).locks, 0); /* X4: no lock-delay */
}

static void extending_sets_the_own_lease_from_now(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 10000, 0);
    struct client b = open_client(f, 'b', 10000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    f->time_ms = 100;
    struct fsm_command command = extend_command(&a, "k", token, 300);
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 400);
    command = extend_command(&a, "k", token, 0);
    assert_int_equal(run(f, &command)->body.grant.deadline.ms, 10000);
    at(f, 5000);
    assert_int_equal(counts(f).grants, 1);
    uint64_t digest = fsm_digest(f->fsm);
    command = extend_command(&b, "k", token, 300);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_HELD);
    command = extend_command(&a, "k", token + 1, 300);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_HELD);
    command = extend_command(&a, "l", token, 300);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_HELD);
    assert_int_not_equal(fsm_digest(f->fsm), digest); /* only what the windows remember */
    assert_int_equal(query_lock(f, "k").body.lock.holders[0].remaining_ms, 5000);
}

static void a_stale_or_foreign_token_releases_nothing(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t first = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    assert_int_equal(release(f, &a, "k", first), PROTO_STATUS_OK);
    uint64_t second = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    assert_int_equal(release(f, &a, "k", first), PROTO_STATUS_NOT_HELD);
    assert_int_equal(release(f, &b, "k", second), PROTO_STATUS_NOT_HELD);
    assert_int_equal(release(f, &a, "other", second), PROTO_STATUS_NOT_HELD);
    assert_int_equal(counts(f).grants, 1);
}

static struct fsm_command value_command(struct client *client, const char *key, uint64_t token,
                                        const char *value)
{
    struct fsm_command command = command_of(client, PROTO_LOCK_SET_VALUE);
    command.body.lock_set_value.key = bytes_of(key);
    command.body.lock_set_value.token = token;
    command.body.lock_set_value.value = bytes_of(value);
    return command;
}

static void a_value_outlives_the_grant_and_an_empty_one_removes_it(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = bytes_of("first");
    uint64_t token = run(f, &command)->body.grant.token;
    command = value_command(&a, "k", token, "second");
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    struct proto_reply reply = query_lock(f, "k");
    assert_true(reply.body.lock.has_value);
    assert_memory_equal(reply.body.lock.value.data, "second", 6);
    command = value_command(&a, "k", token, "third");
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_HELD);
    token = acquire(f, &a, "k", PROTO_MODE_SHARED);
    command = value_command(&a, "k", token, "");
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    assert_false(query_lock(f, "k").body.lock.has_value);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_int_equal(counts(f).locks, 0);
}

static void a_queued_acquire_sets_its_value_when_it_is_granted(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    struct fsm_command command = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 500);
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = bytes_of("mine");
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    assert_false(query_lock(f, "k").body.lock.has_value);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_memory_equal(query_lock(f, "k").body.lock.value.data, "mine", 4);
}

static void a_queued_acquire_with_an_empty_value_removes_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = bytes_of("old");
    uint64_t token = run(f, &command)->body.grant.token;
    command = acquire_command(&b, "k", PROTO_MODE_EXCLUSIVE, 500);
    command.body.lock_acquire.has_value = true;
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    assert_true(query_lock(f, "k").body.lock.has_value);
    assert_int_equal(release(f, &a, "k", token), PROTO_STATUS_OK);
    assert_false(query_lock(f, "k").body.lock.has_value);
}

static void a_forced_release_tells_each_holder_and_hands_on(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 500);
    struct client b = open_client(f, 'b', 1000, 500);
    struct client c = open_client(f, 'c', 1000, 0);
    uint64_t first = acquire(f, &a, "k", PROTO_MODE_SHARED);
    acquire(f, &b, "k", PROTO_MODE_SHARED);
    uint64_t waits = enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, 900);
    struct fsm_command command = {.kind = PROTO_FORCE_RELEASE};
    command.body.force_release.key = bytes_of("k");
    command.body.force_release.token = first;
    command.body.force_release.reason = bytes_of("stuck");
    assert_int_equal(run(f, &command)->body.count.count, 1);
    const struct proto_event *event = event_for(f, &a, PROTO_EVENT_GRANT_LOST);
    assert_int_equal(event->reason, PROTO_END_FORCED);
    assert_memory_equal(event->detail.data, "stuck", 5);
    assert_int_equal(run(f, &command)->status, PROTO_STATUS_NOT_FOUND);
    command.body.force_release.token = 0;
    assert_int_equal(run(f, &command)->body.count.count, 1);
    event_for(f, &b, PROTO_EVENT_GRANT_LOST);
    assert_int_equal(wait_ended(f, &c, waits)->status, PROTO_STATUS_OK);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_exclusive_lock_has_one_holder_and_says_who),
        TEST(shared_holders_of_one_period_have_one_fence),
        TEST(permits_are_given_up_to_the_limit),
        TEST(all_who_hold_or_wait_agree_on_the_limit),
        TEST(the_same_session_competes_with_itself),
        TEST(reentrant_joins_a_grant_of_the_same_mode),
        TEST(reentrant_into_another_mode_is_refused_at_once),
        TEST(reentrant_shared_joins_while_others_wait_for_permits),
        TEST(reentrant_permits_join_only_the_same_number),
        TEST(a_grant_can_be_entered_only_so_often),
        TEST(a_joined_lease_only_gets_longer),
        TEST(a_grant_ends_at_its_own_deadline_while_its_session_lives),
        TEST(extending_sets_the_own_lease_from_now),
        TEST(a_stale_or_foreign_token_releases_nothing),
        TEST(a_value_outlives_the_grant_and_an_empty_one_removes_it),
        TEST(a_queued_acquire_sets_its_value_when_it_is_granted),
        TEST(a_queued_acquire_with_an_empty_value_removes_what_is_there),
        TEST(a_forced_release_tells_each_holder_and_hands_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
