/* The blocking API: one thread per client that runs its loop, and callers who wait for their operation under the driver's
 * mutex. Time limits are the core's: an operation always ends, so nobody waits with a limit of his own. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/handle.h"
#include "client/operation.h"
#include "client/survey.h"
#include "client/views.h"
#include "protocol/assert.h"

struct lockstep_client {
    struct driver *driver;
    uv_loop_t loop;
    pthread_t thread;
};

/* ---- the thread ---- */

static void *thread_main(void *argument)
{
    struct lockstep_client *client = argument;
    /* lockstep_client_create() holds it until the driver knows its thread. */
    (void)pthread_mutex_lock(&client->driver->mutex);
    (void)pthread_mutex_unlock(&client->driver->mutex);
    (void)uv_run(&client->loop, UV_RUN_DEFAULT); /* until the driver has closed its handles */
    int error = uv_loop_close(&client->loop);
    LOCKSTEP_ASSERT(error == 0);
    return NULL;
}

/* No signal is delivered to it: handlers are the program's affair. */
static int start_thread(struct lockstep_client *client)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_mutex_lock(&client->driver->mutex);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&client->thread, NULL, thread_main, client);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        client->driver->loop_thread = client->thread;
    }
    (void)pthread_mutex_unlock(&client->driver->mutex);
    return error == 0 ? LOCKSTEP_OK : result_set(LOCKSTEP_SYSTEM, "pthread_create: %s", strerror(error));
}

static void on_closed(void *ctx, int result)
{
    (void)result; /* lockstep_client_free() has nobody to tell */
    (void)ctx;    /* the loop has nothing left and ends; lockstep_client_free() waits for its thread */
}

/* Without a thread: what was opened is closed by running the loop here. */
static void undo_driver(struct lockstep_client *client)
{
    (void)pthread_mutex_lock(&client->driver->mutex);
    driver_close(client->driver, true, on_closed, NULL);
    (void)pthread_mutex_unlock(&client->driver->mutex);
    (void)uv_run(&client->loop, UV_RUN_DEFAULT);
}

static int client_create(struct client_options *options, struct lockstep_client **ret_client)
{
    struct lockstep_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        options_done(options);
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a client");
    }
    int error = uv_loop_init(&client->loop);
    if (error < 0) {
        options_done(options);
        free(client);
        return result_set(LOCKSTEP_SYSTEM, "uv_loop_init: %s", uv_strerror(error));
    }
    int result = driver_create(&client->loop, options, &client->driver);
    if (result == LOCKSTEP_OK) {
        result = start_thread(client);
        if (result != LOCKSTEP_OK) {
            undo_driver(client);
        }
    }
    if (result != LOCKSTEP_OK) {
        (void)uv_loop_close(&client->loop);
        free(client);
        return result;
    }
    *ret_client = client;
    return LOCKSTEP_OK;
}

int lockstep_client_create(const struct lockstep_options *options, struct lockstep_client **ret_client)
{
    struct client_options checked;
    int result = options_init(&checked, options);
    if (result == LOCKSTEP_OK) {
        result = client_create(&checked, ret_client);
    }
    return result == LOCKSTEP_OK ? result_set(LOCKSTEP_OK, "%s", "") : result;
}

static void client_end(struct lockstep_client *client, bool keep_session)
{
    if (client == NULL) {
        return;
    }
    LOCKSTEP_ASSERT(!driver_on_loop(client->driver)); /* a callback can not wait for its own thread */
    (void)pthread_mutex_lock(&client->driver->mutex);
    driver_close(client->driver, keep_session, on_closed, NULL);
    (void)pthread_mutex_unlock(&client->driver->mutex);
    (void)pthread_join(client->thread, NULL);
    free(client);
}

void lockstep_client_free(struct lockstep_client *client)
{
    client_end(client, false);
}

void lockstep_client_detach(struct lockstep_client *client)
{
    client_end(client, true);
}

/* ---- waiting ---- */

struct waiter {
    struct operation operation;
    pthread_cond_t cond;
};

static void wake_waiter(struct operation *operation)
{
    struct waiter *waiter = (struct waiter *)(void *)operation;
    (void)pthread_cond_signal(&waiter->cond);
}

static void waiter_init(struct waiter *waiter, struct driver *driver)
{
    memset(waiter, 0, sizeof(*waiter));
    (void)pthread_cond_init(&waiter->cond, NULL);
    waiter->operation.driver = driver;
    waiter->operation.ended = wake_waiter;
}

/* Wait for what has begun with `result` LOCKSTEP_OK. @return the operation's result, with its sentence set. */
static int waiter_wait(struct waiter *waiter, int result)
{
    struct operation *operation = &waiter->operation;
    if (result == LOCKSTEP_OK) {
        (void)pthread_mutex_lock(&operation->driver->mutex);
        while (!operation->done) {
            (void)pthread_cond_wait(&waiter->cond, &operation->driver->mutex);
        }
        (void)pthread_mutex_unlock(&operation->driver->mutex);
        result = result_explain(operation->result, operation->detail);
    }
    (void)pthread_cond_destroy(&waiter->cond);
    return result;
}

static int refuse_on_loop(const struct driver *driver)
{
    return driver_on_loop(driver) ? result_set(LOCKSTEP_INVALID, "a blocking function can not be called from a callback")
                                  : LOCKSTEP_OK;
}

/* Run `begin` and wait. `waiter` is initialised by it, so that its answer can be read afterwards. */
#define RUN(waiter, driver, begin)                          \
    do {                                                    \
        int refused_ = refuse_on_loop(driver);              \
        if (refused_ != LOCKSTEP_OK) {                      \
            return refused_;                                \
        }                                                   \
        waiter_init(&(waiter), (driver));                   \
        result = waiter_wait(&(waiter), (begin));           \
    } while (false)

/* ---- sessions and locks ---- */

int lockstep_session_open(struct lockstep_client *client)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_session_open(&waiter.operation));
    return result;
}

uint64_t lockstep_session_id(struct lockstep_client *client)
{
    (void)pthread_mutex_lock(&client->driver->mutex);
    uint64_t id = lsc_session_id(client->driver->core);
    (void)pthread_mutex_unlock(&client->driver->mutex);
    return id;
}

int lockstep_session_renew(struct lockstep_client *client, int64_t ttl_ms)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_session_renew(&waiter.operation, ttl_ms));
    return result;
}

int lockstep_acquire_with(struct lockstep_client *client, const char *key,
                          const struct lockstep_acquire_options *options, struct lockstep_holder *ret_holder,
                          struct lockstep_lock **ret_lock)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_acquire(&waiter.operation, key, options));
    if (result == LOCKSTEP_OK) {
        *ret_lock = waiter.operation.lock;
    } else if (result == LOCKSTEP_HELD && ret_holder != NULL) {
        *ret_holder = waiter.operation.holder;
    }
    return result;
}

int lockstep_acquire(struct lockstep_client *client, const char *key, int64_t wait_ms, struct lockstep_lock **ret_lock)
{
    struct lockstep_acquire_options options;
    lockstep_acquire_options_init(&options);
    options.wait_ms = wait_ms;
    return lockstep_acquire_with(client, key, &options, NULL, ret_lock);
}

int lockstep_try_acquire(struct lockstep_client *client, const char *key, struct lockstep_lock **ret_lock)
{
    return lockstep_acquire_with(client, key, NULL, NULL, ret_lock);
}

int lockstep_lock_extend(struct lockstep_lock *lock, int64_t ttl_ms)
{
    struct waiter waiter;
    int result;
    RUN(waiter, lock->driver, operation_extend(&waiter.operation, lock, ttl_ms));
    return result;
}

int lockstep_lock_set_value(struct lockstep_lock *lock, const void *value, size_t value_bytes)
{
    struct waiter waiter;
    int result;
    RUN(waiter, lock->driver, operation_set_value(&waiter.operation, lock, value, value_bytes));
    return result;
}

int lockstep_lock_release(struct lockstep_lock *lock)
{
    struct waiter waiter;
    int result;
    RUN(waiter, lock->driver, operation_release(&waiter.operation, lock));
    return result;
}

/* ---- queries and administration ---- */

int lockstep_lock_status(struct lockstep_client *client, const char *key, bool stale,
                         struct lockstep_lock_status **ret_status)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_lock_status(&waiter.operation, key, stale));
    if (result == LOCKSTEP_OK) {
        *ret_status = waiter.operation.answer;
    }
    return result;
}

int lockstep_lock_list(struct lockstep_client *client, const char *prefix, const char *after, uint32_t max, bool stale,
                       struct lockstep_lock_list **ret_list)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_lock_list(&waiter.operation, prefix, after, max, stale));
    if (result == LOCKSTEP_OK) {
        *ret_list = waiter.operation.answer;
    }
    return result;
}

int lockstep_session_get(struct lockstep_client *client, uint64_t session_id, bool stale,
                         struct lockstep_session_row *ret_row)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_session_get(&waiter.operation, session_id, stale));
    if (result == LOCKSTEP_OK) {
        struct lockstep_session_list *list = waiter.operation.answer;
        if (list->count == 1) {
            *ret_row = list->rows[0];
        } else {
            result = result_set(LOCKSTEP_PROTOCOL, "the node answered with %zu sessions instead of one", list->count);
        }
        lockstep_session_list_free(list);
    }
    return result;
}

int lockstep_session_list(struct lockstep_client *client, uint64_t after_id, uint32_t max, bool stale,
                          struct lockstep_session_list **ret_list)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_session_list(&waiter.operation, after_id, max, stale));
    if (result == LOCKSTEP_OK) {
        *ret_list = waiter.operation.answer;
    }
    return result;
}

int lockstep_fence_check(struct lockstep_client *client, const char *key, uint64_t fence, bool stale,
                         uint64_t *ret_current)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_fence_check(&waiter.operation, key, fence, stale));
    if ((result == LOCKSTEP_OK || result == LOCKSTEP_STALE_FENCE) && ret_current != NULL) {
        *ret_current = waiter.operation.number;
    }
    return result;
}

int lockstep_force_release(struct lockstep_client *client, const char *key, uint64_t token, const char *reason,
                           uint64_t *ret_count)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_force_release(&waiter.operation, key, token, reason));
    if (result == LOCKSTEP_OK && ret_count != NULL) {
        *ret_count = waiter.operation.number;
    }
    return result;
}

int lockstep_session_kill(struct lockstep_client *client, uint64_t session_id, const char *reason)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_session_kill(&waiter.operation, session_id, reason));
    return result;
}

int lockstep_cluster_transfer(struct lockstep_client *client, uint64_t node_id)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, operation_transfer(&waiter.operation, node_id));
    return result;
}

int lockstep_cluster_status(struct lockstep_client *client, struct lockstep_cluster_status **ret_status)
{
    struct waiter waiter;
    int result;
    RUN(waiter, client->driver, survey_begin(&waiter.operation));
    if (result == LOCKSTEP_OK) {
        *ret_status = waiter.operation.answer;
    }
    return result;
}

/* ---- handles ---- */

/* The adopted lock, on a client that was made for its session. */
static int adopt_lock(struct lockstep_client *client, const struct handle *handle, lockstep_lost_cb on_lost,
                      void *on_lost_arg, struct lockstep_lock **ret_lock)
{
    struct driver *driver = client->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    struct lockstep_lock *lock = lock_create(driver, on_lost, on_lost_arg);
    if (lock != NULL) {
        lock->hold = lsc_hold_adopt(driver->core, handle->key, handle->token, handle->fence, lock);
        if (lock->hold == NULL) {
            lock_discard(lock);
            lock = NULL;
        }
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    if (lock == NULL) {
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a lock");
    }
    *ret_lock = lock;
    return LOCKSTEP_OK;
}

/* Whoever wanted to hear that the session has ended hears it before the client is gone. */
static void undo_adoption(struct lockstep_client *client)
{
    (void)pthread_mutex_lock(&client->driver->mutex);
    driver_await(client->driver, &client->driver->session_lost);
    (void)pthread_mutex_unlock(&client->driver->mutex);
    lockstep_client_detach(client);
}

static int adopt(const struct lockstep_options *options, const struct handle *handle, lockstep_lost_cb on_lost,
                 void *on_lost_arg, struct lockstep_client **ret_client, struct lockstep_lock **ret_lock)
{
    struct client_options checked;
    struct lockstep_client *client = NULL;
    int result = options_init(&checked, options);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    checked.config.adopt_session_id = handle->session_id;
    memcpy(checked.config.adopt_secret, handle->secret, sizeof(handle->secret));
    result = client_create(&checked, &client);
    explicit_bzero(checked.config.adopt_secret, sizeof(checked.config.adopt_secret));
    if (result != LOCKSTEP_OK) {
        return result;
    }
    result = lockstep_session_open(client); /* looks whether it lives, and for its last request id */
    if (result == LOCKSTEP_OK) {
        result = adopt_lock(client, handle, on_lost, on_lost_arg, ret_lock);
    }
    if (result != LOCKSTEP_OK) {
        undo_adoption(client);
        return result;
    }
    *ret_client = client;
    return LOCKSTEP_OK;
}

int lockstep_client_adopt(const struct lockstep_options *options, const char *text, lockstep_lost_cb on_lost,
                          void *on_lost_arg, struct lockstep_client **ret_client, struct lockstep_lock **ret_lock)
{
    struct handle handle;
    int result = handle_parse(&handle, text);
    if (result == LOCKSTEP_OK) {
        result = adopt(options, &handle, on_lost, on_lost_arg, ret_client, ret_lock);
        explicit_bzero(handle.secret, sizeof(handle.secret));
    }
    return result;
}

int lockstep_handle_extend(const struct lockstep_options *options, const char *handle, int64_t ttl_ms,
                           int64_t *ret_remaining_ms)
{
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    uint64_t checked_ttl_ms = 0;
    int result = options_ttl("ttl_ms", ttl_ms, true, &checked_ttl_ms);
    if (result == LOCKSTEP_OK) {
        result = lockstep_client_adopt(options, handle, NULL, NULL, &client, &lock);
    }
    if (result != LOCKSTEP_OK) {
        return result;
    }
    result = lockstep_lock_extend(lock, 0);
    if (result == LOCKSTEP_OK) {
        result = lockstep_session_renew(client, ttl_ms);
    }
    if (result == LOCKSTEP_OK && ret_remaining_ms != NULL) {
        *ret_remaining_ms = lockstep_lock_remaining_ms(lock);
    }
    lockstep_client_detach(client); /* before the lock is freed, which would release it */
    lockstep_lock_free(lock);
    return result;
}

int lockstep_handle_release(const struct lockstep_options *options, const char *handle)
{
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    int result = lockstep_client_adopt(options, handle, NULL, NULL, &client, &lock);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    result = lockstep_lock_release(lock);
    lockstep_lock_free(lock);
    if (result == LOCKSTEP_BAD_SECRET) {
        lockstep_client_detach(client); /* it is not ours to close */
    } else {
        lockstep_client_free(client);
    }
    return result;
}
