/* The client's time, made of two clocks of the kernel so that no time daemon can slow it down.
 *
 * CLOCK_BOOTTIME goes on while the machine sleeps, but runs as much too slow or too fast as a daemon has it run that corrects the wall
 * clock without a jump: by up to a tenth (adjtimex(2), ADJ_TICK). CLOCK_MONOTONIC_RAW is never corrected, but stands while the
 * machine sleeps. From one reading to the next the time advances by the greater of the two steps.
 *
 * Invariants
 *  B1  Between two readings the time advances by no less than what passed between them, but for what the machine's quartz is off.
 *  B2  It never goes back.
 *
 * Two clocks are not read at one moment. If the thread is kept waiting between them, that is counted once with each: the time is
 * fast then, which ends a lease early, never late. */
#ifndef LOCKSTEP_CLIENT_STEADY_CLOCK_H
#define LOCKSTEP_CLIENT_STEADY_CLOCK_H

#include <stdint.h>

#include "client/time.h"

struct steady_clock {
    uint64_t time_ns;         /* 0: nothing was read yet */
    uint64_t boot_ns, raw_ns; /* the last reading */
};

/* Read both clocks. */
struct boot_time steady_clock_read(struct steady_clock *clock);

/* The same, with what was read. The first time is CLOCK_BOOTTIME's. */
struct boot_time steady_clock_advance(struct steady_clock *clock, uint64_t boot_ns, uint64_t raw_ns);

/* What CLOCK_BOOTTIME, in nanoseconds, shows when to look at the time again, for who sleeps until `time`, as of the last reading. Of a
 * longer sleep it leaves out what a daemon that slows the clock now would add to it: nothing is slept past by more than 6 ms, and who
 * wakes early sleeps again, for a tenth as long. */
uint64_t steady_clock_boot_ns(const struct steady_clock *clock, struct boot_time time);

#endif
