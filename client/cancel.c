/* See cancel.h. */
#include "client/cancel.h"

#include <stdlib.h>

struct lockstep_cancel {
    pthread_mutex_t mutex;
    bool fired;
    struct driver_wait *waits;
};

int lockstep_cancel_create(struct lockstep_cancel **ret_cancel)
{
    struct lockstep_cancel *cancel = calloc(1, sizeof(*cancel));
    if (cancel == NULL || pthread_mutex_init(&cancel->mutex, NULL) != 0) {
        free(cancel);
        return result_explain(LOCKSTEP_NO_MEMORY, NULL);
    }
    *ret_cancel = cancel;
    return result_set(LOCKSTEP_OK, " ");
}

void lockstep_cancel_fire(struct lockstep_cancel *cancel)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    if (!cancel->fired) {
        cancel->fired = true;
        for (struct driver_wait *wait = cancel->waits; wait != NULL; wait = wait->cancel_next) {
            /* The handle is open: a driver closes it only after every wait of it has left. */
            (void)uv_async_send(&wait->driver->wake);
        }
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

bool cancel_enter(struct lockstep_cancel *cancel, struct driver_wait *wait)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    bool enters = !cancel->fired;
    if (enters) {
        wait->cancel_prev = NULL;
        wait->cancel_next = cancel->waits;
        if (cancel->waits != NULL) {
            cancel->waits->cancel_prev = wait;
        }
        cancel->waits = wait;
    }
    (void)pthread_mutex_unlock(&cancel->mutex);
    return enters;
}

void cancel_leave(struct lockstep_cancel *cancel, struct driver_wait *wait)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    if (wait->cancel_prev != NULL) {
        wait->cancel_prev->cancel_next = wait->cancel_next;
    } else {
        cancel->waits = wait->cancel_next;
    }
    if (wait->cancel_next != NULL) {
        wait->cancel_next->cancel_prev = wait->cancel_prev;
    }
    (void)pthread_mutex_unlock(&cancel->mutex);
}

bool cancel_is_fired(struct lockstep_cancel *cancel)
{
    (void)pthread_mutex_lock(&cancel->mutex);
    bool fired = cancel->fired;
    (void)pthread_mutex_unlock(&cancel->mutex);
    return fired;
}
