/* See backoff.h. From half of the step to all of it: enough to spread, and never no wait at all. */
#include "client/backoff.h"

uint64_t backoff_ms(unsigned attempt, uint64_t random)
{
    if (attempt == 0) {
        return random % (BACKOFF_FIRST_MS / 2);
    }
    uint64_t step_ms = BACKOFF_FIRST_MS;
    for (unsigned i = 1; i < attempt && step_ms < BACKOFF_MAX_MS; i++) {
        step_ms *= 2;
    }
    if (step_ms > BACKOFF_MAX_MS) {
        step_ms = BACKOFF_MAX_MS;
    }
    return step_ms / 2 + random % (step_ms / 2 + 1);
}
