/* The blocking API against a node on the loopback: threads, sockets, callbacks, the end of things. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/include/lockstep.h"
#include "tests/unit/client/fake_node.h"

static struct fake_node *node;

static int start_node(void **state)
{
    (void)state;
    node = fake_node_start();
    return 0;
}

static int stop_node(void **state)
{
    (void)state;
    fake_node_stop(node);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until `number(node)` is `wanted`; a minute at most. */
static void await_count(uint64_t (*number)(struct fake_node *node), uint64_t wanted)
{
    for (int64_t end = now_ms() + 60000; number(node) != wanted;) {
        assert_true(now_ms() < end);
        (void)poll(NULL, 0, 1);
    }
}

static struct lockstep_client *create(int64_t ttl_ms)
{
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    options.session_ttl_ms = ttl_ms;
    options.request_timeout_ms = 5000;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    return client;
}

/* ---- the ordinary way ---- */

static void a_lock_is_acquired_extended_released(void **state)
{
    (void)state;
    struct lockstep_client *client = create(10000);
    struct lockstep_lock *lock = NULL;
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    assert_string_equal(lockstep_lock_key(lock), "k");
    assert_true(lockstep_lock_is_held(lock));
    assert_true(lockstep_lock_token(lock) == lockstep_lock_fence(lock));
    assert_in_range(lockstep_lock_remaining_ms(lock), 9000, 10000);
    assert_int_equal(lockstep_lock_extend(lock, 60000), LOCKSTEP_OK);
    assert_int_equal(lockstep_lock_set_value(lock, "v", 1), LOCKSTEP_OK);
    struct lockstep_lock_status *status = NULL;
    assert_int_equal(lockstep_lock_status(client, "k", false, &status), LOCKSTEP_OK);
    assert_int_equal(status->holders_count, 1);
    assert_int_equal(status->value_bytes, 1);
    assert_int_equal(status->holders[0].token, lockstep_lock_token(lock));
    lockstep_lock_status_free(status);
    assert_int_equal(lockstep_lock_release(lock), LOCKSTEP_OK);
    assert_false(lockstep_lock_is_held(lock));
    assert_int_equal(lockstep_lock_release(lock), LOCKSTEP_NOT_HELD);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    assert_int_equal(fake_node_sessions(node), 0);
}

static void held_names_its_holder(void **state)
{
    (void)state;
    struct lockstep_client *client = create(10000);
    struct lockstep_lock *lock = NULL;
    struct lockstep_lock *other = NULL;
    struct lockstep_holder holder = {0};
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    assert_int_equal(lockstep_acquire_with(client, "k", NULL, &holder, &other), LOCKSTEP_HELD);
    assert_null(other);
    assert_int_equal(holder.token, lockstep_lock_token(lock));
    assert_string_not_equal(lockstep_error_message(), "");
    assert_int_equal(lockstep_acquire(client, "k", 50, &other), LOCKSTEP_TIMED_OUT);
    lockstep_lock_free(lock); /* releases in the background */
    assert_int_equal(lockstep_acquire(client, "k", 10000, &other), LOCKSTEP_OK);
    lockstep_lock_free(other);
    lockstep_client_free(client);
}

static void a_freed_client_leaves_nothing_and_a_detached_one_everything(void **state)
{
    (void)state;
    struct lockstep_lock *lock = NULL;
    struct lockstep_client *client = create(60000);
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    lockstep_client_detach(client);
    assert_false(lockstep_lock_is_held(lock));
    lockstep_lock_free(lock);
    assert_int_equal(fake_node_locks(node), 1);
    client = create(60000);
    assert_int_equal(lockstep_try_acquire(client, "other", &lock), LOCKSTEP_OK);
    lockstep_client_free(client);
    assert_int_equal(lockstep_lock_remaining_ms(lock), 0);
    assert_int_equal(lockstep_lock_release(lock), LOCKSTEP_NOT_HELD);
    lockstep_lock_free(lock);
    assert_int_equal(fake_node_locks(node), 1);
}

static void arguments_out_of_bounds_are_named(void **state)
{
    (void)state;
    struct lockstep_client *client = create(10000);
    struct lockstep_lock *lock = NULL;
    assert_int_equal(lockstep_try_acquire(client, "no spaces", &lock), LOCKSTEP_INVALID);
    assert_non_null(strstr(lockstep_error_message(), "key"));
    assert_int_equal(lockstep_acquire(client, "k", -1, &lock), LOCKSTEP_INVALID);
    assert_non_null(strstr(lockstep_error_message(), "wait_ms"));
    assert_int_equal(lockstep_session_renew(client, 5), LOCKSTEP_INVALID);
    assert_int_equal(lockstep_session_id(client), 0); /* nothing was asked of the cluster */
    lockstep_client_free(client);
    struct lockstep_options options;
    lockstep_options_init(&options);
    static const char *const bad[] = {NULL, "", "nowhere", "h:0", "h:65536", "h:1,", "h:1:2", "[::1]", "[::1]:x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        options.endpoints = bad[i];
        assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_INVALID);
        assert_non_null(strstr(lockstep_error_message(), "endpoint"));
    }
}

/* ---- threads ---- */

enum { THREADS = 8, ROUNDS = 25 };
struct contenders {
    struct lockstep_client *client;
    atomic_int inside;
    atomic_int entered;
    uint64_t last_fence; /* under the lock that is tested */
};

static void *contend(void *arg)
{
    struct contenders *contenders = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct lockstep_lock *lock = NULL;
        if (lockstep_acquire(contenders->client, "shared/counter", 60000, &lock) != LOCKSTEP_OK) {
            break;
        }
        bool alone = atomic_fetch_add(&contenders->inside, 1) == 0;
        bool rises = lockstep_lock_fence(lock) > contenders->last_fence;
        contenders->last_fence = lockstep_lock_fence(lock);
        atomic_fetch_sub(&contenders->inside, 1);
        atomic_fetch_add(&contenders->entered, alone && rises);
        (void)lockstep_lock_release(lock);
        lockstep_lock_free(lock);
    }
    return NULL;
}

static void threads_of_one_client_exclude_each_other(void **state)
{
    (void)state;
    struct contenders contenders = {.client = create(10000)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &contenders), 0);
    }
    for (int i = 0; i < 40; i++) {
        fake_node_cut(node); /* in the middle of it all: nothing happens twice or not at all */
        (void)poll(NULL, 0, 10);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&contenders.entered), THREADS * ROUNDS);
    assert_int_equal(fake_node_locks(node), 0);
    lockstep_client_free(contenders.client);
}

/* ---- cancelling ---- */

struct waiting {
    struct lockstep_client *client;
    struct lockstep_cancel *cancel;
    int result;
};

static void *wait_for_lock(void *arg)
{
    struct waiting *waiting = arg;
    struct lockstep_acquire_options options;
    struct lockstep_lock *lock = NULL;
    lockstep_acquire_options_init(&options);
    options.wait_ms = LOCKSTEP_FOREVER;
    options.cancel = waiting->cancel;
    waiting->result = lockstep_acquire_with(waiting->client, "k", &options, NULL, &lock);
    lockstep_lock_free(lock);
    return NULL;
}

static void a_fired_cancel_ends_every_wait_and_leaves_the_queue(void **state)
{
    (void)state;
    struct lockstep_client *clients[2] = {create(10000), create(10000)};
    struct lockstep_lock *lock = NULL;
    struct lockstep_cancel *cancel = NULL;
    struct waiting waiting[4];
    pthread_t threads[4];
    assert_int_equal(lockstep_cancel_create(&cancel), LOCKSTEP_OK);
    assert_int_equal(lockstep_try_acquire(clients[0], "k", &lock), LOCKSTEP_OK);
    for (int i = 0; i < 4; i++) {
        waiting[i] = (struct waiting){.client = clients[i % 2], .cancel = cancel};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_lock, &waiting[i]), 0);
    }
    await_count(fake_node_waiters, 4);
    lockstep_cancel_fire(cancel);
    lockstep_cancel_fire(cancel);
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(waiting[i].result, LOCKSTEP_CANCELLED);
    }
    await_count(fake_node_waiters, 0);
    (void)wait_for_lock(&waiting[0]); /* it stays fired */
    assert_int_equal(waiting[0].result, LOCKSTEP_CANCELLED);
    lockstep_cancel_free(cancel);
    lockstep_lock_free(lock);
    lockstep_client_free(clients[0]);
    lockstep_client_free(clients[1]);
}

/* ---- losing ---- */

struct loss {
    pthread_mutex_t mutex;
    pthread_cond_t told;
    int count;
    int session_count;
    enum lockstep_lost_reason reason;
    int64_t remaining_ms;
    int64_t at_ms;
    int nested; /* result of a blocking call within the callback */
    struct lockstep_client *client;
    bool frees;
};

static void on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason, int64_t remaining_ms,
                    const char *detail)
{
    struct loss *loss = arg;
    struct lockstep_lock_status *status = NULL;
    int nested = lockstep_lock_status(loss->client, "k", true, &status);
    if (loss->frees) {
        lockstep_lock_free(lock);
    }
    (void)pthread_mutex_lock(&loss->mutex);
    loss->count++;
    loss->reason = reason;
    loss->remaining_ms = remaining_ms;
    loss->at_ms = now_ms();
    loss->nested = nested;
    (void)detail;
    (void)pthread_cond_signal(&loss->told);
    (void)pthread_mutex_unlock(&loss->mutex);
}

static void await_loss(struct loss *loss)
{
    (void)pthread_mutex_lock(&loss->mutex);
    while (loss->count == 0) {
        (void)pthread_cond_wait(&loss->told, &loss->mutex);
    }
    (void)pthread_mutex_unlock(&loss->mutex);
}

static struct lockstep_lock *acquire_with_loss(struct lockstep_client *client, struct loss *loss)
{
    struct lockstep_acquire_options options;
    struct lockstep_lock *lock = NULL;
    loss->client = client;
    lockstep_acquire_options_init(&options);
    options.on_lost = on_lost;
    options.on_lost_arg = loss;
    assert_int_equal(lockstep_acquire_with(client, "k", &options, NULL, &lock), LOCKSTEP_OK);
    return lock;
}

static void on_lost_comes_before_the_time_is_up_when_the_node_falls_silent(void **state)
{
    (void)state;
    struct loss loss = {.mutex = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    struct lockstep_client *client = create(1000);
    struct lockstep_lock *lock = acquire_with_loss(client, &loss);
    fake_node_set_silent(node, true);
    int64_t until = now_ms() + lockstep_lock_remaining_ms(lock); /* it may yet be renewed, but never ends earlier */
    await_loss(&loss);
    assert_int_equal(loss.reason, LOCKSTEP_LOST_UNCERTAIN);
    assert_true(loss.remaining_ms > 0);
    assert_true(loss.at_ms <= until + 1000);
    assert_int_equal(loss.nested, LOCKSTEP_INVALID); /* it would have blocked the thread that answers it */
    assert_false(lockstep_lock_is_held(lock));
    fake_node_set_silent(node, false);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    assert_int_equal(loss.count, 1);
}

static void a_lock_may_be_freed_in_its_on_lost(void **state)
{
    (void)state;
    struct loss loss = {.mutex = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER, .frees = true};
    struct lockstep_client *client = create(10000);
    struct lockstep_client *admin = create(10000);
    (void)acquire_with_loss(client, &loss);
    uint64_t count = 0;
    assert_int_equal(lockstep_force_release(admin, "k", 0, "stuck", &count), LOCKSTEP_OK);
    assert_int_equal(count, 1);
    await_loss(&loss);
    assert_int_equal(loss.reason, LOCKSTEP_LOST_FORCED);
    lockstep_client_free(admin);
    lockstep_client_free(client);
}

static void a_dropped_connection_is_no_loss(void **state)
{
    (void)state;
    struct loss loss = {.mutex = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
    struct lockstep_client *client = create(2000);
    struct lockstep_lock *lock = acquire_with_loss(client, &loss);
    uint64_t session_id = lockstep_session_id(client);
    for (int i = 0; i < 10; i++) {
        fake_node_cut(node);
        assert_int_equal(lockstep_session_renew(client, 0), LOCKSTEP_OK);
        assert_true(lockstep_lock_remaining_ms(lock) > 1900);
    }
    assert_int_equal(lockstep_session_id(client), session_id);
    assert_int_equal(lockstep_lock_release(lock), LOCKSTEP_OK);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    assert_int_equal(loss.count, 0);
}

static void a_node_that_is_not_there_is_unreachable_in_time(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    lockstep_options_init(&options);
    options.endpoints = "127.0.0.1:1";
    options.request_timeout_ms = 200;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    int64_t began = now_ms();
    assert_int_equal(lockstep_acquire(client, "k", LOCKSTEP_FOREVER, &lock), LOCKSTEP_UNREACHABLE);
    assert_in_range(now_ms() - began, 200, 5000);
    assert_non_null(strstr(lockstep_error_message(), "127.0.0.1:1"));
    lockstep_client_free(client);
}

/* The node listens on IPv4 only, and the name may stand for an address of IPv6 first: each is tried. */
static void a_node_is_found_by_its_name(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    char endpoint[64];
    lockstep_options_init(&options);
    (void)snprintf(endpoint, sizeof(endpoint), "localhost%s", strrchr(fake_node_endpoint(node), ':'));
    options.endpoints = endpoint;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    assert_int_equal(fake_node_sessions(node), 0);
}

static void on_session_lost(void *arg, enum lockstep_lost_reason reason, const char *detail)
{
    atomic_int *told = arg;
    assert_true(reason == LOCKSTEP_LOST_KILLED || reason == LOCKSTEP_LOST_ENDED);
    assert_non_null(detail);
    atomic_fetch_add(told, 1);
}

static void a_killed_session_is_told_once(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_client *administrator = create(10000);
    struct lockstep_lock *lock = NULL;
    atomic_int told = 0;
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    options.session_ttl_ms = 500;
    options.on_session_lost = on_session_lost;
    options.on_session_lost_arg = &told;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    assert_int_equal(lockstep_session_kill(administrator, lockstep_session_id(client), "a test"), LOCKSTEP_OK);
    for (int64_t end = now_ms() + 60000; atomic_load(&told) == 0;) {
        assert_true(now_ms() < end);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(lockstep_lock_release(lock), LOCKSTEP_SESSION_LOST);
    lockstep_lock_free(lock);
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK); /* in a new session */
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    lockstep_client_free(administrator);
    assert_int_equal(told, 1);
}

/* ---- handles ---- */

static void a_handle_is_extended_and_released_by_others(void **state)
{
    (void)state;
    char handle[LOCKSTEP_HANDLE_BYTES_MAX];
    char key[LOCKSTEP_KEY_BYTES_MAX + 1];
    struct lockstep_lock *lock = NULL;
    struct lockstep_client *client = create(30000);
    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = fake_node_endpoint(node);
    assert_int_equal(lockstep_try_acquire(client, "a-b/c", &lock), LOCKSTEP_OK);
    uint64_t token = lockstep_lock_token(lock);
    assert_int_equal(lockstep_lock_export(lock, handle, 10), LOCKSTEP_INVALID);
    assert_int_equal(lockstep_lock_export(lock, handle, sizeof(handle)), LOCKSTEP_OK);
    lockstep_client_detach(client);
    lockstep_lock_free(lock);

    uint64_t parsed = 0;
    assert_int_equal(lockstep_handle_parse(handle, NULL, &parsed, NULL, key), LOCKSTEP_OK);
    assert_string_equal(key, "a-b/c");
    assert_true(parsed == token);
    assert_int_equal(lockstep_handle_parse("ls1-1-2-3-4-k", NULL, NULL, NULL, NULL), LOCKSTEP_INVALID);

    int64_t remaining_ms = 0;
    for (int i = 0; i < 3; i++) { /* each by what might be a process of its own */
        assert_int_equal(lockstep_handle_extend(&options, handle, 60000, &remaining_ms), LOCKSTEP_OK);
        assert_in_range(remaining_ms, 58000, 60000);
    }
    char stolen[LOCKSTEP_HANDLE_BYTES_MAX];
    memcpy(stolen, handle, sizeof(stolen));
    char *digit = strchr(strchr(stolen, '-') + 1, '-') + 1;
    *digit = *digit == '0' ? '1' : '0';
    assert_int_equal(lockstep_handle_extend(&options, stolen, 60000, NULL), LOCKSTEP_BAD_SECRET);
    assert_int_equal(lockstep_handle_release(&options, stolen), LOCKSTEP_BAD_SECRET);
    assert_int_equal(fake_node_locks(node), 1);
    assert_int_equal(lockstep_handle_release(&options, handle), LOCKSTEP_OK);
    assert_int_equal(fake_node_sessions(node), 0);
    assert_int_equal(lockstep_handle_release(&options, handle), LOCKSTEP_SESSION_LOST);
    assert_int_equal(lockstep_handle_extend(&options, handle, 60000, NULL), LOCKSTEP_SESSION_LOST);
    atomic_int told = 0;
    options.on_session_lost = on_session_lost;
    options.on_session_lost_arg = &told;
    assert_int_equal(lockstep_client_adopt(&options, handle, NULL, NULL, &client, &lock),
                     LOCKSTEP_SESSION_LOST);
    assert_int_equal(told, 1); /* before it returned */
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, start_node, stop_node)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_lock_is_acquired_extended_released),
        RULE(held_names_its_holder),
        RULE(a_freed_client_leaves_nothing_and_a_detached_one_everything),
        RULE(arguments_out_of_bounds_are_named),
        RULE(threads_of_one_client_exclude_each_other),
        RULE(a_fired_cancel_ends_every_wait_and_leaves_the_queue),
        RULE(on_lost_comes_before_the_time_is_up_when_the_node_falls_silent),
        RULE(a_lock_may_be_freed_in_its_on_lost),
        RULE(a_dropped_connection_is_no_loss),
        RULE(a_node_that_is_not_there_is_unreachable_in_time),
        RULE(a_node_is_found_by_its_name),
        RULE(a_killed_session_is_told_once),
        RULE(a_handle_is_extended_and_released_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
