/* The client's time, made of two clocks of the kernel so that no time daemon can slow it down.
 *
 * CLOCK_BOOTTIME goes on while the machine sleeps, but runs as much too slow or too fast as a daemon has it run that corrects the wall
 * clock without a jump: by up to a tenth (adjtimex(2), ADJ_TICK). CLOCK_MONOTONIC_RAW is never corrected, but stands while the
 * machine sleeps; for how long it has slept is told by CLOCK_MONOTONIC, which stands then too, and is corrected as CLOCK_BOOTTIME is.
 * CLOCK_MONOTONIC_RAW and what was slept make the uncorrected clock. The time advances in steps of 10 ms or more by the greater of
 * its step and of CLOCK_BOOTTIME's, and within one by the greater of what they have advanced so far.
 *
 * Invariants
 *  B1  Between two readings the time advances by no less than what passed between them, but for what the machine's quartz is off, and
 *      its kernel's idea of how long it has slept. A step may be as long as nobody asks for the time: a daemon may have changed its mind
 *      within it, and the machine slept beside one.
 *  B2  It never goes back.
 *
 * Clocks are not read at one moment. If the thread is kept waiting between them, that may be counted with each: the time is
 * fast then, which ends a lease early, never late. With a step for each reading it would be so by percents for who asks all the time
 * whether he has the lock: one reading is a few nanoseconds later behind the other than the last one, and each such excess would count. */
#ifndef LOCKSTEP_CLIENT_STEADY_CLOCK_H
#define LOCKSTEP_CLIENT_STEADY_CLOCK_H

#include <stdint.h>

#include "client/time.h"

struct steady_clock {
    uint64_t time_ns;         /* at the end of the last step; 0: nothing was read yet */
    uint64_t boot_ns, raw_ns; /* what CLOCK_BOOTTIME and the uncorrected clock showed then */
    uint64_t told_ns;         /* the last time */
};

/* Read the clocks. */
struct boot_time steady_clock_read(struct steady_clock *clock);

/* What the uncorrected clock shows when the kernel's clocks show this. */
uint64_t steady_clock_uncorrected_ns(uint64_t boot_ns, uint64_t monotonic_ns, uint64_t monotonic_raw_ns);

/* As steady_clock_read(), with what was read of CLOCK_BOOTTIME and of the uncorrected clock. The first time is CLOCK_BOOTTIME's. */
struct boot_time steady_clock_advance(struct steady_clock *clock, uint64_t boot_ns, uint64_t raw_ns);

/* What CLOCK_BOOTTIME, in nanoseconds, shows when to look at the time again, for who sleeps until `time`, as of the last step. Of a
 * longer sleep it leaves out what a daemon that slows the clock now would add to it: nothing is slept past by more than 6 ms, and who
 * wakes early sleeps again, for a tenth as long. */
uint64_t steady_clock_boot_ns(const struct steady_clock *clock, struct boot_time time);

#endif
