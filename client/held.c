/* The public handle of a lock, the same in both flavours: what it knows, its on_lost, its end, its text. */
#include <stdlib.h>
#include <string.h>

#include "client/driver.h"
#include "client/handle.h"
#include "client/result.h"

static void run_lost(struct driver_event *event)
{
    struct lockstep_lock *lock = (void *)((char *)event - offsetof(struct lockstep_lock, lost));
    struct driver *driver = lock->driver;
    char detail[sizeof(lock->detail)];
    (void)pthread_mutex_lock(&driver->mutex);
    uint64_t remaining_ms = 0;
    if (lock->reason == LOCKSTEP_LOST_UNCERTAIN) {
        remaining_ms = lsc_hold_remaining_ms(driver->core, driver_now(driver), lock->hold);
    }
    enum lockstep_lost_reason reason = lock->reason;
    lockstep_lost_cb on_lost = lock->on_lost;
    void *arg = lock->on_lost_arg;
    memcpy(detail, lock->detail, sizeof(detail));
    (void)pthread_mutex_unlock(&driver->mutex);
    on_lost(lock, arg, reason, (int64_t)remaining_ms, detail); /* may free it */
}

struct lockstep_lock *lock_create(struct driver *driver, lockstep_lost_cb on_lost, void *on_lost_arg)
{
    struct lockstep_lock *lock = calloc(1, sizeof(*lock));
    if (lock != NULL) {
        lock->driver = driver;
        lock->on_lost = on_lost;
        lock->on_lost_arg = on_lost_arg;
        lock->lost.run = run_lost;
        lock->lost.tells_loss = true;
        driver_ref(driver);
    }
    return lock;
}

void lock_discard(struct lockstep_lock *lock)
{
    lock->driver->references--; /* never the last: whoever asked for the lock has one */
    free(lock);
}

void lockstep_lock_free(struct lockstep_lock *lock)
{
    if (lock == NULL) {
        return;
    }
    struct driver *driver = lock->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    driver_unqueue(driver, &lock->lost);
    lsc_hold_free(driver->core, driver_now(driver), lock->hold);
    driver_poke(driver);
    (void)pthread_mutex_unlock(&driver->mutex);
    free(lock);
    driver_unref(driver);
}

const char *lockstep_lock_key(const struct lockstep_lock *lock)
{
    return lsc_hold_key(lock->hold);
}

uint64_t lockstep_lock_token(const struct lockstep_lock *lock)
{
    return lsc_hold_token(lock->hold);
}

uint64_t lockstep_lock_fence(const struct lockstep_lock *lock)
{
    (void)pthread_mutex_lock(&lock->driver->mutex);
    uint64_t fence = lsc_hold_fence(lock->hold);
    (void)pthread_mutex_unlock(&lock->driver->mutex);
    return fence;
}

uint64_t lockstep_lock_session_id(const struct lockstep_lock *lock)
{
    return lsc_hold_session_id(lock->hold);
}

int64_t lockstep_lock_remaining_ms(const struct lockstep_lock *lock)
{
    struct driver *driver = lock->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    uint64_t remaining_ms = lsc_hold_remaining_ms(driver->core, driver_now(driver), lock->hold);
    (void)pthread_mutex_unlock(&driver->mutex);
    return remaining_ms > INT64_MAX ? INT64_MAX : (int64_t)remaining_ms;
}

bool lockstep_lock_is_held(const struct lockstep_lock *lock)
{
    struct driver *driver = lock->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    bool is_held = lsc_hold_is_held(driver->core, driver_now(driver), lock->hold);
    (void)pthread_mutex_unlock(&driver->mutex);
    return is_held;
}

int lockstep_lock_export(const struct lockstep_lock *lock, char *buffer, size_t buffer_bytes)
{
    struct driver *driver = lock->driver;
    struct handle handle = {0};
    (void)pthread_mutex_lock(&driver->mutex);
    bool lives = lsc_hold_is_live(driver->core, lock->hold);
    handle.session_id = lsc_hold_session_id(lock->hold);
    handle.token = lsc_hold_token(lock->hold);
    handle.fence = lsc_hold_fence(lock->hold);
    memcpy(handle.secret, lsc_session_secret(driver->core), sizeof(handle.secret));
    memcpy(handle.key, lsc_hold_key(lock->hold), strlen(lsc_hold_key(lock->hold)) + 1);
    if (lives) {
        lsc_session_share(driver->core);
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    int result = lives ? handle_format(&handle, buffer, buffer_bytes)
                       : result_set(LOCKSTEP_NOT_HELD, "the lock was lost or released: there is nothing to hand on");
    explicit_bzero(handle.secret, sizeof(handle.secret));
    return result == LOCKSTEP_OK ? result_set(LOCKSTEP_OK, "%s", "") : result;
}
