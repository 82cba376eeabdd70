/* This machine's CLOCK_MONOTONIC_RAW in milliseconds (loop.c, T3). A type of its own, so that the compiler refuses to mix it with
 * struct cluster_time (design section 3). Parts take it as an argument; only the loop reads the clock. */
#ifndef LOCKSTEP_NODE_TIME_H
#define LOCKSTEP_NODE_TIME_H

#include <stdint.h>

struct local_time {
    uint64_t ms;
};

#define LOCAL_TIME_NEVER ((struct local_time){UINT64_MAX})

static inline struct local_time local_time_earlier(struct local_time a, struct local_time b)
{
    return a.ms < b.ms ? a : b;
}

#endif
