/* The API on the caller's loop: callbacks come once, from the loop, and closing ends everything. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "client/include/lockstep.h"
#include "tests/unit/client/fake_node.h"

static struct fake_node *node;
static uv_loop_t loop;
static bool in_call; /* a callback that runs now would run within the call */

static int start_node(void **state)
{
    (void)state;
    node = fake_node_start();
    return uv_loop_init(&loop);
}

static int stop_node(void **state)
{
    (void)state;
    fake_node_stop(node);
    return uv_loop_close(&loop); /* fails if anything of the library's is left on it */
}

struct seen {
    int count;
    int result;
    struct lockstep_lock *lock;
};

static void on_done(void *arg, int result)
{
    struct seen *seen = arg;
    assert_false(in_call);
    seen->count++;
    seen->result = result;
    assert_int_equal(result == LOCKSTEP_OK, lockstep_error_message()[0] == '\0'); /* it is about this result */
}

static void on_acquired(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct seen *seen = arg;
    assert_false(in_call);
    assert_true((result == LOCKSTEP_OK) == (lock != NULL));
    assert_true((result == LOCKSTEP_HELD) == (holder != NULL));
    seen->count++;
    seen->result = result;
    seen->lock = lock;
}

static void run_until(const struct seen *seen)
{
    while (seen->count == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(seen->count, 1);
}

static struct lockstep_async *create(const char *endpoint)
{
    struct lockstep_options options;
    struct lockstep_async *async = NULL;
    lockstep_options_init(&options);
    options.endpoints = endpoint;
    options.request_timeout_ms = 5000;
    assert_int_equal(lockstep_async_create(&loop, &options, &async), LOCKSTEP_OK);
    return async;
}

static void acquire(struct lockstep_async *async, const char *key, int64_t wait_ms, struct seen *seen)
{
    struct lockstep_acquire_options options;
    lockstep_acquire_options_init(&options);
    options.wait_ms = wait_ms;
    in_call = true;
    assert_int_equal(lockstep_async_acquire(async, key, &options, on_acquired, seen), LOCKSTEP_OK);
    in_call = false;
}

static void close_and_run(struct lockstep_async *async)
{
    struct seen closed = {0};
    in_call = true;
    lockstep_async_close(async, on_done, &closed);
    in_call = false;
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* ends only if nothing is left */
    assert_int_equal(closed.count, 1);
}

/* Found by a torture run: "ok" was said of sessions that lived on. */
static void a_close_says_whether_the_session_is_gone(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen acquired = {0};
    struct seen closed = {0};
    acquire(async, "kept", 0, &acquired);
    run_until(&acquired);
    fake_node_set_silent(node, true);
    lockstep_async_close(async, on_done, &closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed.result, LOCKSTEP_UNKNOWN);
    lockstep_lock_free(acquired.lock);
    fake_node_set_silent(node, false);

    struct seen again = {0};
    struct seen closed_well = {0};
    async = create(fake_node_endpoint(node));
    acquire(async, "other", 0, &again);
    run_until(&again);
    lockstep_async_close(async, on_done, &closed_well);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed_well.result, LOCKSTEP_OK);
    lockstep_lock_free(again.lock);
}

static void a_lock_is_acquired_extended_released(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen acquired = {0};
    struct seen extended = {0};
    struct seen released = {0};
    acquire(async, "k", 0, &acquired);
    run_until(&acquired);
    assert_int_equal(acquired.result, LOCKSTEP_OK);
    assert_true(lockstep_lock_is_held(acquired.lock));
    assert_int_equal(lockstep_async_extend(acquired.lock, 60000, on_done, &extended), LOCKSTEP_OK);
    run_until(&extended);
    assert_int_equal(extended.result, LOCKSTEP_OK);
    assert_int_equal(lockstep_lock_extend(acquired.lock, 60000),
                     LOCKSTEP_INVALID); /* it would block the loop */
    assert_int_equal(lockstep_async_release(acquired.lock, on_done, &released), LOCKSTEP_OK);
    lockstep_lock_free(acquired.lock); /* at once; the callback still comes */
    run_until(&released);
    assert_int_equal(released.result, LOCKSTEP_OK);
    close_and_run(async);
    assert_int_equal(fake_node_sessions(node), 0);
}

static void closing_ends_what_is_under_way(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen first = {0};
    struct seen waiting[5] = {0};
    acquire(async, "k", 0, &first);
    run_until(&first);
    for (int i = 0; i < 5; i++) {
        acquire(async, "k", LOCKSTEP_FOREVER, &waiting[i]);
    }
    close_and_run(async);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(waiting[i].count, 1);
        assert_int_equal(waiting[i].result, LOCKSTEP_CLOSED);
    }
    assert_false(lockstep_lock_is_held(first.lock));
    lockstep_lock_free(first.lock);
    assert_int_equal(fake_node_locks(node), 0);
}

static void one_that_was_never_used_closes(void **state)
{
    (void)state;
    close_and_run(create("127.0.0.1:1"));
    close_and_run(create("no-such-host.invalid:1"));
}

static void one_that_is_connecting_closes(void **state)
{
    (void)state;
    struct lockstep_async *async = create("127.0.0.1:1");
    struct seen seen = {0};
    acquire(async, "k", 0, &seen);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    close_and_run(async);
    assert_int_equal(seen.result, LOCKSTEP_CLOSED);
}

static void a_bad_argument_calls_nobody_back(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen seen = {0};
    assert_int_equal(lockstep_async_acquire(async, "no spaces", NULL, on_acquired, &seen), LOCKSTEP_INVALID);
    assert_int_equal(lockstep_async_session_renew(async, 1, on_done, &seen), LOCKSTEP_INVALID);
    close_and_run(async);
    assert_int_equal(seen.count, 0);
}

/* ---- questions ---- */

struct asked {
    struct seen seen;
    struct lockstep_lock_status *status;
    struct lockstep_lock_list *locks;
    struct lockstep_session_list *sessions;
    uint64_t fence;
};

static void on_status(void *arg, int result, struct lockstep_lock_status *status)
{
    struct asked *asked = arg;
    on_done(&asked->seen, result);
    assert_true((result == LOCKSTEP_OK) == (status != NULL));
    asked->status = status;
}

static void on_locks(void *arg, int result, struct lockstep_lock_list *locks)
{
    struct asked *asked = arg;
    on_done(&asked->seen, result);
    assert_true((result == LOCKSTEP_OK) == (locks != NULL));
    asked->locks = locks;
}

static void on_sessions(void *arg, int result, struct lockstep_session_list *sessions)
{
    struct asked *asked = arg;
    on_done(&asked->seen, result);
    assert_true((result == LOCKSTEP_OK) == (sessions != NULL));
    asked->sessions = sessions;
}

static void on_fence(void *arg, int result, uint64_t current)
{
    struct asked *asked = arg;
    on_done(&asked->seen, result);
    asked->fence = current;
}

static void a_call_that_began_leaves_no_sentence(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen acquired = {0};
    assert_int_equal(lockstep_async_acquire(async, "", NULL, on_acquired, &acquired), LOCKSTEP_INVALID);
    assert_string_not_equal(lockstep_error_message(), "");
    assert_int_equal(lockstep_async_acquire(async, "k", NULL, on_acquired, &acquired), LOCKSTEP_OK);
    assert_string_equal(lockstep_error_message(), "");
    run_until(&acquired);
    lockstep_lock_free(acquired.lock);
    close_and_run(async);
}

static void a_lock_is_described_as_it_was_granted(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct lockstep_async *waiting = create(fake_node_endpoint(node));
    struct seen held = {0};
    struct seen set = {0};
    struct seen queued = {0};
    struct seen closed = {0};
    struct asked asked = {0};
    acquire(async, "k", 0, &held);
    run_until(&held);
    assert_int_equal(lockstep_async_set_value(held.lock, "v\0w", 3, on_done, &set), LOCKSTEP_OK);
    run_until(&set);
    acquire(waiting, "k", LOCKSTEP_FOREVER, &queued);
    while (fake_node_waiters(node) == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(lockstep_async_lock_status(async, "k", false, on_status, &asked), LOCKSTEP_OK);
    run_until(&asked.seen);
    assert_int_equal(asked.seen.result, LOCKSTEP_OK);
    assert_string_equal(asked.status->key, "k");
    assert_int_equal(asked.status->mode, LOCKSTEP_EXCLUSIVE);
    assert_int_equal(asked.status->fence, lockstep_lock_fence(held.lock));
    assert_int_equal(asked.status->holders_count, 1);
    assert_int_equal(asked.status->holders_shown, 1);
    assert_int_equal(asked.status->holders[0].session_id, lockstep_async_session_id(async));
    assert_int_equal(asked.status->waiters_shown, 1);
    assert_int_equal(asked.status->waiters[0].session_id, lockstep_async_session_id(waiting));
    assert_int_equal(asked.status->waiters[0].remaining_ms, UINT64_MAX);
    assert_int_equal(asked.status->value_bytes, 3);
    assert_memory_equal(asked.status->value, "v\0w", 3);
    lockstep_lock_status_free(asked.status);
    lockstep_lock_free(held.lock);
    lockstep_async_close(waiting, on_done, &closed);
    run_until(&closed);
    assert_int_equal(queued.result, LOCKSTEP_CLOSED);
    close_and_run(async);
}

static void lists_come_in_pages_in_order(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    static const char *const keys[] = {"a/2", "b/1", "a/1", "a/3"};
    struct seen held[4] = {0};
    struct asked first = {0};
    struct asked second = {0};
    struct asked one = {0};
    struct asked all = {0};
    for (int i = 0; i < 4; i++) {
        acquire(async, keys[i], 0, &held[i]);
        run_until(&held[i]);
    }
    assert_int_equal(lockstep_async_lock_list(async, "a/", NULL, 2, false, on_locks, &first), LOCKSTEP_OK);
    run_until(&first.seen);
    assert_int_equal(first.locks->count, 2);
    assert_true(first.locks->more);
    assert_string_equal(first.locks->rows[0].key, "a/1");
    assert_string_equal(first.locks->rows[1].key, "a/2");
    assert_int_equal(
        lockstep_async_lock_list(async, "a/", first.locks->rows[1].key, 2, true, on_locks, &second),
        LOCKSTEP_OK);
    run_until(&second.seen);
    assert_int_equal(second.locks->count, 1);
    assert_false(second.locks->more);
    assert_string_equal(second.locks->rows[0].key, "a/3");
    assert_int_equal(second.locks->rows[0].session_id, lockstep_async_session_id(async));
    assert_int_equal(second.locks->rows[0].fence, lockstep_lock_fence(held[3].lock));

    uint64_t id = lockstep_async_session_id(async);
    assert_int_equal(lockstep_async_session_get(async, id, false, on_sessions, &one), LOCKSTEP_OK);
    run_until(&one.seen);
    assert_int_equal(one.sessions->count, 1);
    assert_int_equal(one.sessions->rows[0].session_id, id);
    assert_int_equal(one.sessions->rows[0].grants_count, 4);
    assert_int_equal(lockstep_async_session_list(async, id, 10, false, on_sessions, &all), LOCKSTEP_OK);
    run_until(&all.seen);
    assert_int_equal(all.sessions->count, 0); /* those after the only one */
    lockstep_lock_list_free(first.locks);
    lockstep_lock_list_free(second.locks);
    lockstep_session_list_free(one.sessions);
    lockstep_session_list_free(all.sessions);
    for (int i = 0; i < 4; i++) {
        lockstep_lock_free(held[i].lock);
    }
    close_and_run(async);
}

static void a_session_that_never_was_is_not_found(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct asked asked = {0};
    assert_int_equal(lockstep_async_session_get(async, 4711, false, on_sessions, &asked), LOCKSTEP_OK);
    run_until(&asked.seen);
    assert_int_equal(asked.seen.result, LOCKSTEP_NOT_FOUND);
    close_and_run(async);
}

static void an_older_fence_is_told_which_one_is_current(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct seen held = {0};
    struct asked right = {0};
    struct asked stale = {0};
    acquire(async, "k", 0, &held);
    run_until(&held);
    uint64_t fence = lockstep_lock_fence(held.lock);
    assert_int_equal(lockstep_async_fence_check(async, "k", fence, false, on_fence, &right), LOCKSTEP_OK);
    run_until(&right.seen);
    assert_int_equal(right.seen.result, LOCKSTEP_OK);
    assert_int_equal(right.fence, fence);
    assert_int_equal(lockstep_async_fence_check(async, "k", fence + 1, false, on_fence, &stale), LOCKSTEP_OK);
    run_until(&stale.seen);
    assert_int_equal(stale.seen.result, LOCKSTEP_STALE_FENCE);
    assert_int_equal(stale.fence, fence);
    lockstep_lock_free(held.lock);
    close_and_run(async);
}

static void a_question_out_of_bounds_calls_nobody_back(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct asked asked = {0};
    assert_int_equal(lockstep_async_lock_status(async, "no spaces", false, on_status, &asked),
                     LOCKSTEP_INVALID);
    assert_int_equal(
        lockstep_async_lock_list(async, "", NULL, LOCKSTEP_LIST_MAX + 1, false, on_locks, &asked),
        LOCKSTEP_INVALID);
    assert_int_equal(lockstep_async_session_list(async, 0, 0, false, on_sessions, &asked), LOCKSTEP_INVALID);
    assert_int_equal(lockstep_async_fence_check(async, "", 1, false, on_fence, &asked), LOCKSTEP_INVALID);
    assert_true(strlen(lockstep_error_message()) > 0);
    close_and_run(async);
    assert_int_equal(asked.seen.count, 0);
}

static void fire(void *arg)
{
    lockstep_cancel_fire(arg);
}

static void a_fired_cancel_ends_the_wait_from_another_thread(void **state)
{
    (void)state;
    struct lockstep_async *async = create(fake_node_endpoint(node));
    struct lockstep_cancel *cancel = NULL;
    struct lockstep_acquire_options options;
    struct seen first = {0};
    struct seen waiting = {0};
    assert_int_equal(lockstep_cancel_create(&cancel), LOCKSTEP_OK);
    acquire(async, "k", 0, &first);
    run_until(&first);
    lockstep_acquire_options_init(&options);
    options.wait_ms = LOCKSTEP_FOREVER;
    options.cancel = cancel;
    assert_int_equal(lockstep_async_acquire(async, "k", &options, on_acquired, &waiting), LOCKSTEP_OK);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, fire, cancel), 0);
    run_until(&waiting);
    assert_int_equal(waiting.result, LOCKSTEP_CANCELLED);
    (void)uv_thread_join(&thread);
    lockstep_lock_free(first.lock);
    close_and_run(async);
    lockstep_cancel_free(cancel);
}

enum { MANY = 100 };

static void on_lost_free_and_close(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                                   int64_t remaining_ms, const char *detail)
{
    (void)reason;
    (void)remaining_ms;
    (void)detail;
    lockstep_lock_free(lock);
    lockstep_async_close(arg, NULL, NULL);
}

static void *run_loop(void *arg)
{
    (void)uv_run(arg, UV_RUN_DEFAULT);
    return NULL;
}

/* The loop's thread is the one that runs it: whoever frees a lock in its on_lost must not wait for himself. */
static void one_that_was_made_before_its_loop_ran_may_be_run_by_another_thread(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_acquire_options how;
    struct lockstep_async *async = NULL;
    struct seen acquired = {0};
    pthread_t thread;
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    options.session_ttl_ms = 200;
    assert_int_equal(lockstep_async_create(&loop, &options, &async), LOCKSTEP_OK);
    lockstep_acquire_options_init(&how);
    how.ttl_ms = 100;
    how.on_lost = on_lost_free_and_close;
    how.on_lost_arg = async;
    assert_int_equal(lockstep_async_acquire(async, "k", &how, on_acquired, &acquired), LOCKSTEP_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, &loop), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(acquired.result, LOCKSTEP_OK);
}

struct closing {
    struct lockstep_async *async;
    struct seen closed;
    int losses;
    int session_losses;
};

static void on_lost_close(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                          int64_t remaining_ms, const char *detail)
{
    struct closing *closing = arg;
    (void)lock;
    (void)reason;
    (void)remaining_ms;
    (void)detail;
    closing->losses++;
    if (closing->losses == 1) {
        lockstep_async_close(closing->async, on_done, &closing->closed);
    }
}

static void on_session_lost_count(void *arg, enum lockstep_lost_reason reason, const char *detail)
{
    struct closing *closing = arg;
    (void)reason;
    (void)detail;
    closing->session_losses++;
}

static void kill_session(uint64_t session_id)
{
    struct lockstep_options options;
    struct lockstep_client *administrator = NULL;
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    assert_int_equal(lockstep_client_create(&options, &administrator), LOCKSTEP_OK);
    assert_int_equal(lockstep_session_kill(administrator, session_id, "a test"), LOCKSTEP_OK);
    lockstep_client_free(administrator);
}

/* Whoever closes may free what the callbacks use. */
static void nothing_is_lost_any_more_once_it_is_told_to_close(void **state)
{
    (void)state;
    struct closing closing = {0};
    struct lockstep_options options;
    struct lockstep_acquire_options how;
    struct seen acquired[3] = {0};
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    options.on_session_lost = on_session_lost_count;
    options.on_session_lost_arg = &closing;
    assert_int_equal(lockstep_async_create(&loop, &options, &closing.async), LOCKSTEP_OK);
    lockstep_acquire_options_init(&how);
    how.on_lost = on_lost_close;
    how.on_lost_arg = &closing;
    static const char *const keys[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lockstep_async_acquire(closing.async, keys[i], &how, on_acquired, &acquired[i]),
                         LOCKSTEP_OK);
        run_until(&acquired[i]);
        assert_int_equal(acquired[i].result, LOCKSTEP_OK);
    }
    kill_session(lockstep_async_session_id(closing.async)); /* three losses and the session's, at once */
    run_until(&closing.closed);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closing.losses, 1);
    assert_int_equal(closing.session_losses, 0);
    for (int i = 0; i < 3; i++) {
        lockstep_lock_free(acquired[i].lock);
    }
}

static void many_share_a_loop(void **state)
{
    (void)state;
    static struct lockstep_async *asyncs[MANY];
    static struct seen seen[MANY];
    static struct seen closed[MANY];
    memset(seen, 0, sizeof(seen));
    memset(closed, 0, sizeof(closed));
    for (int i = 0; i < MANY; i++) {
        asyncs[i] = create(fake_node_endpoint(node));
        acquire(asyncs[i], i % 2 == 0 ? "even" : "odd", 0, &seen[i]);
    }
    int granted = 0;
    for (int i = 0; i < MANY; i++) {
        run_until(&seen[i]);
        granted += seen[i].result == LOCKSTEP_OK;
        assert_true(seen[i].result == LOCKSTEP_OK || seen[i].result == LOCKSTEP_HELD);
    }
    assert_int_equal(granted, 2);
    for (int i = 0; i < MANY; i++) {
        lockstep_lock_free(seen[i].lock);
        lockstep_async_close(asyncs[i], on_done, &closed[i]);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(closed[i].count, 1);
    }
    assert_int_equal(fake_node_sessions(node), 0);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, start_node, stop_node)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_lock_is_acquired_extended_released),
        RULE(a_close_says_whether_the_session_is_gone),
        RULE(closing_ends_what_is_under_way),
        RULE(one_that_was_never_used_closes),
        RULE(one_that_is_connecting_closes),
        RULE(a_bad_argument_calls_nobody_back),
        RULE(a_call_that_began_leaves_no_sentence),
        RULE(a_lock_is_described_as_it_was_granted),
        RULE(lists_come_in_pages_in_order),
        RULE(a_session_that_never_was_is_not_found),
        RULE(an_older_fence_is_told_which_one_is_current),
        RULE(a_question_out_of_bounds_calls_nobody_back),
        RULE(a_fired_cancel_ends_the_wait_from_another_thread),
        RULE(one_that_was_made_before_its_loop_ran_may_be_run_by_another_thread),
        RULE(nothing_is_lost_any_more_once_it_is_told_to_close),
        RULE(many_share_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
