/* The switch of lockstep_cancel_create(). Firing it may happen on any thread, so it takes no driver's mutex: it marks itself
 * and wakes the drivers whose waits it ends; these look at the mark. */
#ifndef LOCKSTEP_CLIENT_CANCEL_H
#define LOCKSTEP_CLIENT_CANCEL_H

#include "client/driver.h"

/* Enter the wait. @return false if it was fired before; then it was not entered. */
bool cancel_enter(struct lockstep_cancel *cancel, struct driver_wait *wait);
/* From here on it does not touch the wait or its driver. */
void cancel_leave(struct lockstep_cancel *cancel, struct driver_wait *wait);
bool cancel_is_fired(struct lockstep_cancel *cancel);

#endif
