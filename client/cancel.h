/* The switches of lockstep_cancel_create(). A switch knows who watches it, so that firing wakes their loops; its mutex is
 * taken after a driver's, never before. */
#ifndef LOCKSTEP_CLIENT_CANCEL_H
#define LOCKSTEP_CLIENT_CANCEL_H

#include "client/driver.h"

/* @return false if it was fired already; then it was not added. */
bool cancel_add(struct lockstep_cancel *cancel, struct driver_watch *watch);
void cancel_remove(struct lockstep_cancel *cancel, struct driver_watch *watch);
bool cancel_is_fired(const struct lockstep_cancel *cancel);

#endif
