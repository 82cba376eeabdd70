/* See steady_clock.h. */
#include "client/steady_clock.h"

#include <time.h>

#include "protocol/assert.h"

enum {
    NS_PER_MS = 1000000,
    STEP_NS = 10 * NS_PER_MS,
    SLOWED_PARTS = 10,             /* CLOCK_BOOTTIME loses one of so many at most, */
    UNDIVIDED_NS = 50 * NS_PER_MS, /* which of so short a sleep is less than the least lead of on_lost */
};

static uint64_t read_ns(clockid_t id)
{
    struct timespec time = {0};
    int error = clock_gettime(id, &time);
    LOCKSTEP_ASSERT(error == 0);
    return (uint64_t)time.tv_sec * 1000 * NS_PER_MS + (uint64_t)time.tv_nsec;
}

struct boot_time steady_clock_read(struct steady_clock *clock)
{
    uint64_t boot_ns = read_ns(CLOCK_BOOTTIME);
    uint64_t monotonic_ns = read_ns(CLOCK_MONOTONIC);
    uint64_t raw_ns = read_ns(CLOCK_MONOTONIC_RAW);
    return steady_clock_advance(clock, boot_ns, steady_clock_uncorrected_ns(boot_ns, monotonic_ns, raw_ns));
}

/* How far a clock is past its last counted reading. The kernel's clocks do not go back; if one did, it would only stand. */
static uint64_t past(uint64_t counted, uint64_t now)
{
    return now > counted ? now - counted : 0;
}

uint64_t steady_clock_uncorrected_ns(uint64_t boot_ns, uint64_t monotonic_ns, uint64_t monotonic_raw_ns)
{
    return monotonic_raw_ns + past(monotonic_ns, boot_ns);
}

struct boot_time steady_clock_advance(struct steady_clock *clock, uint64_t boot_ns, uint64_t raw_ns)
{
    if (clock->time_ns == 0) {
        *clock = (struct steady_clock){.boot_ns = boot_ns, .raw_ns = raw_ns, .time_ns = boot_ns};
    }
    uint64_t boot_step_ns = past(clock->boot_ns, boot_ns);
    uint64_t raw_step_ns = past(clock->raw_ns, raw_ns);
    uint64_t step_ns = boot_step_ns > raw_step_ns ? boot_step_ns : raw_step_ns;
    uint64_t now_ns = clock->time_ns + step_ns;
    clock->told_ns = now_ns > clock->told_ns ? now_ns : clock->told_ns; /* B2 */
    if (step_ns >= STEP_NS) {
        clock->time_ns = now_ns;
        clock->boot_ns += boot_step_ns;
        clock->raw_ns += raw_step_ns;
    }
    return (struct boot_time){clock->told_ns / NS_PER_MS};
}

uint64_t steady_clock_boot_ns(const struct steady_clock *clock, struct boot_time time)
{
    if (time.ms > INT64_MAX / NS_PER_MS) {
        return INT64_MAX; /* centuries */
    }
    uint64_t at_ns = time.ms * NS_PER_MS;
    uint64_t left_ns = at_ns > clock->time_ns ? at_ns - clock->time_ns : 0;
    return clock->boot_ns + left_ns - (left_ns > UNDIVIDED_NS ? left_ns / SLOWED_PARTS : 0);
}
