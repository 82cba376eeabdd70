/* At most so many of something in a window of time. The first after the end of a window begins the next. */
#ifndef LOCKSTEP_NODE_RATE_WINDOW_H
#define LOCKSTEP_NODE_RATE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct rate_window {
    uint64_t begin_ms;
    unsigned used;
};

/* @param now_ms  never goes back.
 * @return whether this one is among the `max` of its window; then it is counted. */
static inline bool rate_window_take(struct rate_window *window, uint64_t now_ms, uint64_t length_ms, unsigned max)
{
    if (now_ms - window->begin_ms >= length_ms) {
        *window = (struct rate_window){.begin_ms = now_ms};
    }
    if (window->used >= max) {
        return false;
    }
    window->used++;
    return true;
}

#endif
