/* The API on the caller's loop: the same operations, whose ends become events of the driver. A callback therefore runs from
 * the loop, never from within a call, in the order in which the operations ended. */
#include <stdlib.h>

#include "client/operation.h"

struct lockstep_async {
    struct driver *driver;
    lockstep_done_cb closed;
    void *closed_arg;
};

/* ---- operations ---- */

struct async_call {
    struct operation operation;
    struct driver_event event;
    union {
        lockstep_done_cb done;
        lockstep_acquired_cb acquired;
        lockstep_lock_status_cb lock_status;
        lockstep_lock_list_cb lock_list;
        lockstep_session_list_cb session_list;
        lockstep_fence_cb fence;
    } cb;
    void *arg;
};

/* Hand the answer on. The call's memory goes before, because the callback comes last. */
static void run_end(struct driver_event *event)
{
    struct async_call *call = (void *)((char *)event - offsetof(struct async_call, event));
    struct async_call copy = *call;
    struct operation *operation = &copy.operation;
    int result = result_explain(operation->result, operation->detail);
    free(call);
    switch (operation->kind) {
    case OPERATION_ACQUIRE:
        copy.cb.acquired(copy.arg, result, operation->lock, result == LOCKSTEP_HELD ? &operation->holder : NULL);
        break;
    case OPERATION_LOCK_STATUS:
        copy.cb.lock_status(copy.arg, result, operation->answer);
        break;
    case OPERATION_LOCK_LIST:
        copy.cb.lock_list(copy.arg, result, operation->answer);
        break;
    case OPERATION_SESSION_LIST:
        copy.cb.session_list(copy.arg, result, operation->answer);
        break;
    case OPERATION_NUMBER:
        copy.cb.fence(copy.arg, result, operation->number);
        break;
    case OPERATION_PLAIN:
        if (copy.cb.done != NULL) {
            copy.cb.done(copy.arg, result);
        }
        break;
    }
}

static void on_ended(struct operation *operation)
{
    struct async_call *call = (struct async_call *)(void *)operation;
    driver_queue(operation->driver, &call->event);
}

static struct async_call *call_create(struct driver *driver, void *arg)
{
    struct async_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        (void)result_set(LOCKSTEP_NO_MEMORY, "no memory for an operation");
        return NULL;
    }
    call->operation.driver = driver;
    call->operation.ended = on_ended;
    call->event.run = run_end;
    call->arg = arg;
    return call;
}

static int begun(struct async_call *call, int result)
{
    if (result != LOCKSTEP_OK) {
        free(call);
    }
    return result;
}

int lockstep_async_session_open(struct lockstep_async *async, lockstep_done_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.done = cb;
    return begun(call, operation_session_open(&call->operation));
}

int lockstep_async_session_renew(struct lockstep_async *async, int64_t ttl_ms, lockstep_done_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.done = cb;
    return begun(call, operation_session_renew(&call->operation, ttl_ms));
}

int lockstep_async_acquire(struct lockstep_async *async, const char *key,
                           const struct lockstep_acquire_options *options, lockstep_acquired_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.acquired = cb;
    return begun(call, operation_acquire(&call->operation, key, options));
}

int lockstep_async_extend(struct lockstep_lock *lock, int64_t ttl_ms, lockstep_done_cb cb, void *arg)
{
    struct async_call *call = call_create(lock->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.done = cb;
    return begun(call, operation_extend(&call->operation, lock, ttl_ms));
}

int lockstep_async_set_value(struct lockstep_lock *lock, const void *value, size_t value_bytes, lockstep_done_cb cb,
                             void *arg)
{
    struct async_call *call = call_create(lock->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.done = cb;
    return begun(call, operation_set_value(&call->operation, lock, value, value_bytes));
}

int lockstep_async_release(struct lockstep_lock *lock, lockstep_done_cb cb, void *arg)
{
    struct async_call *call = call_create(lock->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.done = cb;
    return begun(call, operation_release(&call->operation, lock));
}

int lockstep_async_lock_status(struct lockstep_async *async, const char *key, bool stale, lockstep_lock_status_cb cb,
                               void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.lock_status = cb;
    return begun(call, operation_lock_status(&call->operation, key, stale));
}

int lockstep_async_lock_list(struct lockstep_async *async, const char *prefix, const char *after, uint32_t max,
                             bool stale, lockstep_lock_list_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.lock_list = cb;
    return begun(call, operation_lock_list(&call->operation, prefix, after, max, stale));
}

int lockstep_async_session_get(struct lockstep_async *async, uint64_t session_id, bool stale,
                               lockstep_session_list_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.session_list = cb;
    return begun(call, operation_session_get(&call->operation, session_id, stale));
}

int lockstep_async_session_list(struct lockstep_async *async, uint64_t after_id, uint32_t max, bool stale,
                                lockstep_session_list_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.session_list = cb;
    return begun(call, operation_session_list(&call->operation, after_id, max, stale));
}

int lockstep_async_fence_check(struct lockstep_async *async, const char *key, uint64_t fence, bool stale,
                               lockstep_fence_cb cb, void *arg)
{
    struct async_call *call = call_create(async->driver, arg);
    if (call == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    call->cb.fence = cb;
    return begun(call, operation_fence_check(&call->operation, key, fence, stale));
}

uint64_t lockstep_async_session_id(struct lockstep_async *async)
{
    (void)pthread_mutex_lock(&async->driver->mutex);
    uint64_t id = lsc_session_id(async->driver->core);
    (void)pthread_mutex_unlock(&async->driver->mutex);
    return id;
}

/* ---- life ---- */

int lockstep_async_create(struct uv_loop_s *loop, const struct lockstep_options *options,
                          struct lockstep_async **ret_async)
{
    struct client_options checked;
    int result = options_init(&checked, options);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    struct lockstep_async *async = calloc(1, sizeof(*async));
    if (async == NULL) {
        options_done(&checked);
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a client");
    }
    result = driver_create(loop, &checked, &async->driver);
    if (result != LOCKSTEP_OK) {
        free(async);
        return result;
    }
    *ret_async = async;
    return result_set(LOCKSTEP_OK, "%s", "");
}

static void on_closed(void *ctx, int result)
{
    struct lockstep_async *async = ctx;
    lockstep_done_cb cb = async->closed;
    void *arg = async->closed_arg;
    free(async);
    if (cb != NULL) {
        (void)result_explain(result, "");
        cb(arg, result);
    }
}

static void async_end(struct lockstep_async *async, bool keep_session, lockstep_done_cb cb, void *arg)
{
    async->closed = cb;
    async->closed_arg = arg;
    (void)pthread_mutex_lock(&async->driver->mutex);
    driver_close(async->driver, keep_session, on_closed, async);
    (void)pthread_mutex_unlock(&async->driver->mutex);
}

void lockstep_async_close(struct lockstep_async *async, lockstep_done_cb cb, void *arg)
{
    async_end(async, false, cb, arg);
}

void lockstep_async_detach(struct lockstep_async *async, lockstep_done_cb cb, void *arg)
{
    async_end(async, true, cb, arg);
}
