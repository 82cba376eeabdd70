/* The formula of lease.h. Pure arithmetic on unsigned milliseconds that saturates. */
#include "client/lease.h"

enum { ROUNDING_MS = 5, MILLION = 1000000 };

/* What `span_ms` may shrink to by drift, rounded up. */
static uint64_t drift_of(uint64_t span_ms, uint32_t drift_ppm)
{
    uint64_t millions = span_ms / MILLION;
    uint64_t rest = span_ms % MILLION;
    return millions * drift_ppm + (rest * drift_ppm + MILLION - 1) / MILLION;
}

struct boot_time lease_from(const struct lease_clock *clock, struct boot_time sent, uint64_t ttl_ms)
{
    uint64_t margin_ms = drift_of(ttl_ms, clock->drift_ppm) + ROUNDING_MS;
    return margin_ms >= ttl_ms ? sent : boot_after(sent, ttl_ms - margin_ms);
}

struct boot_time lease_clock_local(const struct lease_clock *clock, struct cluster_time deadline)
{
    if (!clock->valid) {
        return (struct boot_time){0};
    }
    uint64_t span_ms = deadline.ms > clock->shown.ms ? deadline.ms - clock->shown.ms : 0;
    return lease_from(clock, clock->sent, span_ms);
}

/* What the cluster clock can show at most at local time `at`, by this clock's sample. A time near the end of all numbers,
 * which only a broken node shows, must not come out small: it would move deadlines that were told already. */
static uint64_t shown_at_most(const struct lease_clock *clock, struct boot_time at)
{
    uint64_t passed_ms = boot_until(clock->sent, at);
    uint64_t more_ms = passed_ms + drift_of(passed_ms, clock->drift_ppm);
    return clock->shown.ms > UINT64_MAX - more_ms ? UINT64_MAX : clock->shown.ms + more_ms;
}

void lease_clock_sample(struct lease_clock *clock, struct boot_time sent, struct cluster_time shown)
{
    struct lease_clock other = {.drift_ppm = clock->drift_ppm, .valid = true, .sent = sent, .shown = shown};
    struct boot_time later = sent.ms > clock->sent.ms ? sent : clock->sent;
    if (!clock->valid || shown_at_most(&other, later) <= shown_at_most(clock, later)) {
        *clock = other;
    }
}
