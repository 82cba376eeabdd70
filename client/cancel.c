/* See cancel.h. Firing sets a flag and wakes loops, and does not touch a core: so it needs no driver's mutex, and may be
 * called from anywhere. */
#include "client/cancel.h"

#include <stdlib.h>

#include "client/result.h"

struct lockstep_cancel {
    atomic_bool fired;
    pthread_mutex_t mutex;
    struct driver_watch *watches;
};

int lockstep_cancel_create(struct lockstep_cancel **ret_cancel)
{
    struct lockstep_cancel *cancel = calloc(1, sizeof(*cancel));
    if (cancel == NULL) {
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a cancel switch");
    }
    (void)pthread_mutex_init(&cancel->mutex, NULL);
    *ret_cancel = cancel;
    return result_set(LOCKSTEP_OK, "%s", "");
}

void lockstep_cancel_fire(struct lockstep_cancel *cancel)
{
    atomic_store(&cancel->fired, true);
    (void)pthread_mutex_lock(&cancel->mutex);
    for (struct driver_watch *watch = cancel->watches; watch != NULL; watch = watch->cancel_next) {
        (void)uv_async_send(&watch->driver->wake);
    }
    (void)pthread_mutex_unlock(&cancel->mutex);
}

void lockstep_cancel_free(struct lockstep_cancel *cancel)
{
    if (cancel != NULL) {
        (void)pthread_mutex_destroy(&cancel->mutex);
        free(cancel);
    }
}

bool cancel_add(struct lockstep_cancel *cancel, struct driver_watch *watch)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    bool fired = atomic_load(&cancel->fired);
    if (!fired) {
        watch->cancel_next = cancel->watches;
        cancel->watches = watch;
    }
    (void)pthread_mutex_unlock(&cancel->mutex);
    return !fired;
}

void cancel_remove(struct lockstep_cancel *cancel, struct driver_watch *watch)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    struct driver_watch **at = &cancel->watches;
    while (*at != watch) {
        at = &(*at)->cancel_next;
    }
    *at = watch->cancel_next;
    (void)pthread_mutex_unlock(&cancel->mutex);
}

bool cancel_is_fired(const struct lockstep_cancel *cancel)
{
    return atomic_load(&cancel->fired);
}
