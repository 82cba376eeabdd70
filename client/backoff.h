/* How long to wait before the next attempt at a connection: grows from 20 ms to 500 ms, with jitter, so that a thousand
 * clients which lost the same leader do not come back in step. */
#ifndef LOCKSTEP_CLIENT_BACKOFF_H
#define LOCKSTEP_CLIENT_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 20, BACKOFF_MAX_MS = 500 };

/* The wait before attempt number `attempt`. The first (0) comes nearly at once: within half of BACKOFF_FIRST_MS.
 * @param random  any 64 random bits. */
uint64_t backoff_ms(unsigned attempt, uint64_t random);

#endif
