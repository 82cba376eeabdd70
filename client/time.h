/* This machine's time for everything a client decides. It goes on while the machine sleeps, because the cluster's does, and no time
 * daemon slows it (steady_clock.h). A type of its own, so that the compiler refuses to compare it with cluster time.
 *
 * Whoever drives the core reads the clock and rounds down: "now" may be late by less than a millisecond, never early.
 * lease.c has room for that. */
#ifndef LOCKSTEP_CLIENT_TIME_H
#define LOCKSTEP_CLIENT_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct boot_time {
    uint64_t ms;
};

#define BOOT_NEVER ((struct boot_time){UINT64_MAX})

/* `ms` after `time`; BOOT_NEVER if that can not be counted. */
static inline struct boot_time boot_after(struct boot_time time, uint64_t ms)
{
    return time.ms > UINT64_MAX - ms ? BOOT_NEVER : (struct boot_time){time.ms + ms};
}

/* `ms` before `time`, not before 0; never stays never. */
static inline struct boot_time boot_before(struct boot_time time, uint64_t ms)
{
    if (time.ms == UINT64_MAX) {
        return time;
    }
    return (struct boot_time){time.ms < ms ? 0 : time.ms - ms};
}

static inline struct boot_time boot_earlier(struct boot_time a, struct boot_time b)
{
    return a.ms < b.ms ? a : b;
}

static inline bool boot_reached(struct boot_time now, struct boot_time time)
{
    return now.ms >= time.ms;
}

/* Milliseconds from `now` to `time`, 0 if it has passed. */
static inline uint64_t boot_until(struct boot_time now, struct boot_time time)
{
    return time.ms > now.ms ? time.ms - now.ms : 0;
}

#endif
