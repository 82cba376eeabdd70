/* Reads: query.c (Y1 .. Y3). */
#include "fixture.h"

#include <stdio.h>

enum { DEAD = 100 }; /* besides as many as one entry expires */

static struct proto_reply list(struct fixture *f, const char *prefix, const char *after, uint32_t max)
{
    struct proto_request request = {.kind = PROTO_LOCK_LIST};
    request.body.lock_list.prefix = bytes_of(prefix);
    request.body.lock_list.after = bytes_of(after);
    request.body.lock_list.max = max;
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    return reply;
}

static void check_keys(const struct proto_reply *reply, const char *expected, bool more)
{
    char found[512] = "";
    for (uint32_t i = 0; i < reply->body.lock_list.count; i++) {
        const struct proto_bytes *key = &reply->body.lock_list.rows[i].key;
        size_t used = strlen(found);
        (void)snprintf(found + used, sizeof found - used, "%s%.*s", i > 0 ? " " : "", (int)key->size,
                       (const char *)key->data);
    }
    assert_string_equal(found, expected);
    assert_int_equal(reply->body.lock_list.more, more);
}

static void locks_are_listed_in_byte_order_by_prefix_and_page(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    static const char *const keys[] = {"b/2", "a", "b/10", "b", "c", "b/1", "B"};
    for (unsigned i = 0; i < 7; i++) {
        acquire(f, &a, keys[i], PROTO_MODE_EXCLUSIVE);
    }
    struct proto_reply reply = list(f, "", "", 10);
    check_keys(&reply, "B a b b/1 b/10 b/2 c", false);
    reply = list(f, "b", "", 2);
    check_keys(&reply, "b b/1", true);
    reply = list(f, "b", "b/1", 2);
    check_keys(&reply, "b/10 b/2", false);
    reply = list(f, "b/", "a", 10);
    check_keys(&reply, "b/1 b/10 b/2", false);
    reply = list(f, "b/", "c", 10);
    check_keys(&reply, "", false);
    reply = list(f, "x", "", 10);
    check_keys(&reply, "", false);
    reply = list(f, "", "", 7);
    check_keys(&reply, "B a b b/1 b/10 b/2 c", false);
    reply = list(f, "", "", 6);
    check_keys(&reply, "B a b b/1 b/10 b/2", true);
    assert_int_equal(reply.body.lock_list.rows[0].session_id, a.session_id);
    assert_int_equal(reply.body.lock_list.rows[0].remaining_ms, 1000);
}

static void a_lock_shows_holders_and_waiters_in_order(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    acquire(f, &a, "k", PROTO_MODE_SHARED);
    acquire(f, &b, "k", PROTO_MODE_SHARED);
    uint64_t exclusive = enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 500);
    enqueue(f, &a, "k", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    at(f, 100);
    struct proto_reply reply = query_lock(f, "k");
    const struct proto_lock_reply *lock = &reply.body.lock;
    assert_int_equal(reply.time.ms, 100);
    assert_int_equal(lock->mode, PROTO_MODE_SHARED);
    assert_int_equal(lock->holders_count, 2);
    assert_int_equal(lock->holders[0].session_id, a.session_id);
    assert_int_equal(lock->holders[1].session_id, b.session_id);
    assert_int_equal(lock->holders[1].fence, lock->fence);
    assert_int_equal(lock->holders[1].remaining_ms, 900);
    assert_int_equal(lock->waiters_count, 2);
    assert_int_equal(lock->waiters[0].request_id, exclusive);
    assert_int_equal(lock->waiters[0].remaining_ms, 400);
    assert_int_equal(lock->waiters[1].remaining_ms, PROTO_WAIT_FOREVER);
    reply = query_lock(f, "nobody");
    assert_int_equal(reply.body.lock.holders_count, 0);
    assert_int_equal(reply.body.lock.fence, 0);
}

static void a_large_lock_shows_the_first_and_counts_all(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    for (unsigned i = 0; i < 100; i++) {
        acquire(f, &a, "k", PROTO_MODE_SHARED);
    }
    enqueue(f, &a, "k", PROTO_MODE_EXCLUSIVE, 500);
    for (unsigned i = 0; i < 99; i++) {
        enqueue(f, &a, "k", PROTO_MODE_SHARED, 500);
    }
    struct proto_reply reply = query_lock(f, "k");
    assert_int_equal(reply.body.lock.holders_count, 100);
    assert_int_equal(reply.body.lock.holders_shown, PROTO_STATUS_HOLDERS_MAX);
    assert_int_equal(reply.body.lock.waiters_count, 100);
    assert_int_equal(reply.body.lock.waiters_shown, PROTO_STATUS_HOLDERS_MAX);
    assert_int_equal(reply.body.lock.holders[63].token, 64);
}

static struct proto_reply lock_as_of(struct fixture *f, uint64_t ms)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET, .body.lock_get.key = bytes_of("k")};
    struct proto_reply reply;
    fsm_query(f->fsm, (struct cluster_time){ms}, &request, &f->rows, &reply);
    return reply;
}

/* Who is due is held until its entry: it shows with nothing left. */
static void what_remains_is_counted_from_the_time_that_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 5000, 0);
    acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    enqueue(f, &b, "k", PROTO_MODE_EXCLUSIVE, 900);
    static const struct {
        uint64_t as_of_ms, time_ms, held_ms, waits_ms;
    } cases[] = {{0, 100, 900, 800}, {100, 100, 900, 800}, {101, 101, 899, 799}, {999, 999, 1, 0}, {1500, 1500, 0, 0}};
    at(f, 100);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proto_reply reply = lock_as_of(f, cases[i].as_of_ms);
        assert_int_equal(reply.time.ms, cases[i].time_ms);
        assert_int_equal(reply.body.lock.holders[0].remaining_ms, cases[i].held_ms);
        assert_int_equal(reply.body.lock.waiters[0].remaining_ms, cases[i].waits_ms);
    }
}

static enum proto_status check_fence(struct fixture *f, const char *key, uint64_t fence, uint64_t *ret_fence)
{
    struct proto_request request = {.kind = PROTO_FENCE_CHECK};
    request.body.fence_check.key = bytes_of(key);
    request.body.fence_check.fence = fence;
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    *ret_fence = reply.body.fence.fence;
    return reply.status;
}

static void a_fence_is_current_while_one_of_its_period_holds(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t current = 0;
    uint64_t first = acquire(f, &a, "k", PROTO_MODE_SHARED);
    uint64_t second = acquire(f, &a, "k", PROTO_MODE_SHARED);
    assert_int_equal(check_fence(f, "k", first, &current), PROTO_STATUS_OK);
    assert_int_equal(check_fence(f, "k", second, &current), PROTO_STATUS_STALE_FENCE);
    assert_int_equal(current, first);
    release(f, &a, "k", first);
    assert_int_equal(check_fence(f, "k", first, &current), PROTO_STATUS_OK);
    release(f, &a, "k", second);
    assert_int_equal(check_fence(f, "k", first, &current), PROTO_STATUS_STALE_FENCE);
    assert_int_equal(current, 0);
}

static void sessions_are_listed_by_id(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    open_client(f, 'b', 500, 0);
    struct client c = open_client(f, 'c', 1000, 20);
    acquire(f, &c, "k", PROTO_MODE_EXCLUSIVE);
    enqueue(f, &c, "k", PROTO_MODE_EXCLUSIVE, 900);
    at(f, 500);
    struct proto_request request = {.kind = PROTO_SESSION_LIST, .body.session_list.max = 1};
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    assert_int_equal(reply.body.session_list.count, 1);
    assert_int_equal(reply.body.session_list.rows[0].session_id, a.session_id);
    assert_true(reply.body.session_list.more);
    request.body.session_list.after_id = a.session_id;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    const struct proto_session_row *row = &reply.body.session_list.rows[0];
    assert_int_equal(row->session_id, c.session_id);
    assert_int_equal(row->grants_count, 1);
    assert_int_equal(row->waits_count, 1);
    assert_int_equal(row->last_request_id, 2);
    assert_int_equal(row->lock_delay_ms, 20);
    assert_false(reply.body.session_list.more);
    request = (struct proto_request){.kind = PROTO_SESSION_GET, .body.session_get.session_id = 2};
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_NOT_FOUND);
}

/* Y3 */
static void a_list_tells_how_many_dead_sessions_it_passed(void **state)
{
    struct fixture *f = *state;
    entry_begin(f);
    for (unsigned i = 0; i < FSM_EXPIRIES_PER_ENTRY + DEAD; i++) {
        struct client client = {0};
        memcpy(client.digest, &i, sizeof i);
        struct fsm_command command = open_command(&client, 500, 0);
        entry_add(f, &command);
    }
    entry_apply(f);
    at(f, 500);
    struct proto_request request = {.kind = PROTO_SESSION_LIST, .body.session_list.max = 1};
    struct proto_reply reply;
    assert_in_range(fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply), DEAD, DEAD + 2);
    assert_int_equal(reply.body.session_list.count, 0);
}

static void a_fence_tells_how_many_dead_grants_it_passed(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    entry_begin(f);
    for (unsigned i = 0; i < FSM_EXPIRIES_PER_ENTRY + DEAD; i++) {
        struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
        command.body.lock_acquire.ttl_ms = 500;
        entry_add(f, &command);
    }
    entry_apply(f);
    struct proto_request request = {.kind = PROTO_FENCE_CHECK, .body.fence_check.fence = 1};
    request.body.fence_check.key = bytes_of("k");
    struct proto_reply reply;
    assert_in_range(fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply), 1, 2);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    at(f, 500);
    assert_in_range(fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply), DEAD, DEAD + 2);
    assert_int_equal(reply.status, PROTO_STATUS_STALE_FENCE);
}

static void a_request_can_be_asked_for(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    uint64_t token = acquire(f, &a, "k", PROTO_MODE_EXCLUSIVE);
    uint64_t waits = enqueue(f, &a, "k", PROTO_MODE_EXCLUSIVE, 500);
    struct proto_request request = {.kind = PROTO_REQUEST_GET};
    request.body.request_get.session_id = a.session_id;
    request.body.request_get.request_id = waits;
    struct proto_reply reply;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    assert_int_equal(reply.body.request.status, PROTO_STATUS_QUEUED);
    request.body.request_get.request_id = waits - 1;
    fsm_query(f->fsm, fsm_time(f->fsm), &request, &f->rows, &reply);
    assert_int_equal(reply.body.request.status, PROTO_STATUS_OK);
    assert_int_equal(reply.body.request.token, token);
    assert_int_equal(reply.body.request.fence, token);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(locks_are_listed_in_byte_order_by_prefix_and_page),
        TEST(a_lock_shows_holders_and_waiters_in_order),
        TEST(a_large_lock_shows_the_first_and_counts_all),
        TEST(what_remains_is_counted_from_the_time_that_is_asked_for),
        TEST(a_fence_is_current_while_one_of_its_period_holds),
        TEST(sessions_are_listed_by_id),
        TEST(a_list_tells_how_many_dead_sessions_it_passed),
        TEST(a_fence_tells_how_many_dead_grants_it_passed),
        TEST(a_request_can_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
