/* See operation.h. Owns the answer until the flavour hands it on; a lock that nobody takes is freed there. */
#include "client/operation.h"

#include <string.h>

#include "client/views.h"
#include "protocol/assert.h"

/* ---- the answer ---- */

static void take_lock(struct operation *operation, const struct lsc_outcome *outcome)
{
    if (outcome->hold != NULL) {
        operation->lock->hold = outcome->hold;
        return;
    }
    lock_discard(operation->lock);
    operation->lock = NULL;
    if (outcome->result == LOCKSTEP_HELD && outcome->reply != NULL) {
        view_holder(&outcome->reply->body.holder, &operation->holder);
    }
}

static void take_rows(struct operation *operation, const struct proto_reply *reply)
{
    switch (operation->kind) {
    case OPERATION_LOCK_STATUS:
        operation->answer = view_lock_status(operation->key, reply);
        break;
    case OPERATION_LOCK_LIST:
        operation->answer = view_lock_list(reply);
        break;
    case OPERATION_SESSION_LIST:
        operation->answer = view_session_list(reply);
        break;
    default:
        return;
    }
    if (operation->answer == NULL) {
        operation->result = LOCKSTEP_NO_MEMORY;
    }
}

static void take_number(struct operation *operation, const struct proto_reply *reply)
{
    bool is_fence = reply->kind == PROTO_FENCE_CHECK;
    operation->number = is_fence ? reply->body.fence.fence : reply->body.count.count;
}

static void on_done(void *user, const struct lsc_outcome *outcome)
{
    struct operation *operation = user;
    LOCKSTEP_ASSERT(!operation->done);
    operation->done = true;
    operation->result = outcome->result;
    size_t length = strnlen(outcome->detail, sizeof(operation->detail) - 1);
    memcpy(operation->detail, outcome->detail, length);
    operation->detail[length] = '\0';
    bool has_number = outcome->result == LOCKSTEP_OK || outcome->result == LOCKSTEP_STALE_FENCE;
    if (operation->kind == OPERATION_ACQUIRE) {
        take_lock(operation, outcome);
    } else if (operation->kind == OPERATION_NUMBER && has_number && outcome->reply != NULL) {
        take_number(operation, outcome->reply);
    } else if (outcome->result == LOCKSTEP_OK && outcome->reply != NULL) {
        take_rows(operation, outcome->reply);
    }
    operation->watch.call = NULL;
    driver_unwatch(operation->driver, &operation->watch);
    operation->ended(operation);
}

static void end_at_once(struct operation *operation, int result)
{
    struct lsc_outcome outcome = {.result = result, .detail = ""};
    on_done(operation, &outcome);
}

/* ---- beginning ---- */

static struct lsc_core *enter(struct operation *operation, struct boot_time *ret_now)
{
    (void)pthread_mutex_lock(&operation->driver->mutex);
    *ret_now = driver_now(operation->driver);
    return operation->driver->core;
}

/* The operation may be gone by now: its thread waits for the mutex only. */
static int leave(struct driver *driver)
{
    driver_poke(driver);
    (void)pthread_mutex_unlock(&driver->mutex);
    return result_set(LOCKSTEP_OK, "%s", "");
}

int operation_acquire(struct operation *operation, const char *key, const struct lockstep_acquire_options *options)
{
    struct proto_lock_acquire body;
    struct boot_time now;
    int result = options_acquire(key, options, &body);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    struct driver *driver = operation->driver;
    struct lockstep_acquire_options known = options_acquire_known(options);
    struct lsc_core *core = enter(operation, &now);
    operation->kind = OPERATION_ACQUIRE;
    operation->lock = lock_create(driver, known.on_lost, known.on_lost_arg);
    if (operation->lock == NULL) {
        (void)pthread_mutex_unlock(&driver->mutex);
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a lock");
    }
    if (known.cancel != NULL && !driver_watch(driver, &operation->watch, known.cancel)) {
        end_at_once(operation, LOCKSTEP_CANCELLED);
    } else {
        struct lsc_call *call = lsc_acquire(core, now, &body, operation->lock, operation, on_done);
        if (call != NULL) {
            operation->watch.call = call; /* else it has ended, and perhaps is gone */
        }
    }
    return leave(driver);
}

int operation_extend(struct operation *operation, struct lockstep_lock *lock, int64_t ttl_ms)
{
    uint64_t ttl = 0;
    struct boot_time now;
    int result = options_ttl("ttl_ms", ttl_ms, true, &ttl);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    (void)lsc_extend(core, now, lock->hold, ttl, operation, on_done);
    return leave(driver);
}

int operation_set_value(struct operation *operation, struct lockstep_lock *lock, const void *value, size_t value_bytes)
{
    struct proto_bytes bytes;
    struct boot_time now;
    int result = options_value(value, value_bytes, &bytes);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    (void)lsc_set_value(core, now, lock->hold, bytes, operation, on_done);
    return leave(driver);
}

int operation_release(struct operation *operation, struct lockstep_lock *lock)
{
    struct boot_time now;
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    driver_unqueue(driver, &lock->lost); /* whoever releases does not want to hear that it is lost */
    now = driver_now(driver); /* on_lost may have been waited for, without the mutex, and the core been told of a later time */
    (void)lsc_release(core, now, lock->hold, operation, on_done);
    return leave(driver);
}

int operation_session_open(struct operation *operation)
{
    struct boot_time now;
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    (void)lsc_session_open(core, now, operation, on_done);
    return leave(driver);
}

int operation_session_renew(struct operation *operation, int64_t ttl_ms)
{
    uint64_t ttl = 0;
    struct boot_time now;
    int result = options_ttl("ttl_ms", ttl_ms, true, &ttl);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    (void)lsc_session_renew(core, now, ttl, operation, on_done);
    return leave(driver);
}

/* ---- queries and administration ---- */

static int ask(struct operation *operation, enum operation_kind kind, const struct proto_request *request)
{
    struct boot_time now;
    struct driver *driver = operation->driver;
    struct lsc_core *core = enter(operation, &now);
    operation->kind = kind;
    (void)lsc_ask(core, now, request, operation, on_done);
    return leave(driver);
}

int operation_lock_status(struct operation *operation, const char *key, bool stale)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET, .stale = stale};
    int result = options_key(key, &request.body.lock_get.key);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    memcpy(operation->key, key, request.body.lock_get.key.size + 1);
    return ask(operation, OPERATION_LOCK_STATUS, &request);
}

int operation_lock_list(struct operation *operation, const char *prefix, const char *after, uint32_t max, bool stale)
{
    struct proto_request request = {.kind = PROTO_LOCK_LIST, .stale = stale, .body.lock_list = {.max = max}};
    int result = options_page(max);
    if (result == LOCKSTEP_OK) {
        result = options_key_part("prefix", prefix, &request.body.lock_list.prefix);
    }
    if (result == LOCKSTEP_OK) {
        result = options_key_part("after", after, &request.body.lock_list.after);
    }
    return result == LOCKSTEP_OK ? ask(operation, OPERATION_LOCK_LIST, &request) : result;
}

int operation_session_get(struct operation *operation, uint64_t session_id, bool stale)
{
    struct proto_request request = {
        .kind = PROTO_SESSION_GET, .stale = stale, .body.session_get = {.session_id = session_id}};
    return ask(operation, OPERATION_SESSION_LIST, &request);
}

int operation_session_list(struct operation *operation, uint64_t after_id, uint32_t max, bool stale)
{
    struct proto_request request = {
        .kind = PROTO_SESSION_LIST, .stale = stale, .body.session_list = {.after_id = after_id, .max = max}};
    int result = options_page(max);
    return result == LOCKSTEP_OK ? ask(operation, OPERATION_SESSION_LIST, &request) : result;
}

int operation_fence_check(struct operation *operation, const char *key, uint64_t fence, bool stale)
{
    struct proto_request request = {.kind = PROTO_FENCE_CHECK, .stale = stale, .body.fence_check = {.fence = fence}};
    int result = options_key(key, &request.body.fence_check.key);
    return result == LOCKSTEP_OK ? ask(operation, OPERATION_NUMBER, &request) : result;
}

int operation_force_release(struct operation *operation, const char *key, uint64_t token, const char *reason)
{
    struct proto_request request = {.kind = PROTO_FORCE_RELEASE, .body.force_release = {.token = token}};
    int result = options_key(key, &request.body.force_release.key);
    if (result == LOCKSTEP_OK) {
        result = options_reason(reason, &request.body.force_release.reason);
    }
    return result == LOCKSTEP_OK ? ask(operation, OPERATION_NUMBER, &request) : result;
}

int operation_session_kill(struct operation *operation, uint64_t session_id, const char *reason)
{
    struct proto_request request = {.kind = PROTO_SESSION_KILL, .body.session_kill = {.session_id = session_id}};
    int result = options_reason(reason, &request.body.session_kill.reason);
    return result == LOCKSTEP_OK ? ask(operation, OPERATION_NUMBER, &request) : result;
}

int operation_transfer(struct operation *operation, uint64_t node_id)
{
    struct proto_request request = {.kind = PROTO_CLUSTER_TRANSFER, .body.cluster_transfer = {.node_id = node_id}};
    return ask(operation, OPERATION_PLAIN, &request);
}
