/* The leader's estimate of cluster time: see clock.h for what must hold. */
#include "node/clock.h"

#include "protocol/assert.h"

void cluster_clock_init(struct cluster_clock *clock, unsigned step_ms_max)
{
    LOCKSTEP_ASSERT(step_ms_max >= 2);
    *clock = (struct cluster_clock){.step_ms_max = step_ms_max, .stands_before_ms = UINT64_MAX};
}

void cluster_clock_start(struct cluster_clock *clock, struct cluster_time from, struct local_time now)
{
    clock->running = true;
    clock->time = from;
    /* `now` is a real time rounded down: the millisecond that has begun does not count, else K1 fails by up to one. */
    clock->counted_to = (struct local_time){now.ms + 1};
    clock->stands_before_ms = UINT64_MAX;
}

void cluster_clock_stop(struct cluster_clock *clock)
{
    clock->running = false;
    clock->stands_before_ms = UINT64_MAX;
}

/* K3. A turn that comes after a stall may not pass either: what was sent to this node during the stall may still lie
 * unread in its sockets, so what the next turn has received is waited for. */
static bool may_pass(const struct cluster_clock *clock, uint64_t limit_ms, bool stalled, uint64_t received,
                     uint64_t proposed)
{
    if (stalled) {
        return false;
    }
    return proposed == received || (clock->stands_before_ms == limit_ms && proposed >= clock->waits_for);
}

void cluster_clock_advance(struct cluster_clock *clock, struct local_time now, uint64_t limit_ms,
                           uint64_t received, uint64_t proposed)
{
    LOCKSTEP_ASSERT(proposed <= received);
    clock->most_ms = clock->time.ms + clock->step_ms_max;
    if (!clock->running || now.ms <= clock->counted_to.ms) {
        return;
    }
    uint64_t passed_ms = now.ms - clock->counted_to.ms;
    bool stalled = passed_ms > clock->step_ms_max;
    uint64_t next_ms = clock->time.ms + (stalled ? clock->step_ms_max : passed_ms);
    clock->counted_to = now;
    if (clock->time.ms < limit_ms && next_ms >= limit_ms &&
        !may_pass(clock, limit_ms, stalled, received, proposed)) {
        clock->time.ms = limit_ms - 1;
        if (clock->stands_before_ms != limit_ms || clock->waits_for == CLUSTER_CLOCK_NEXT_TURN) {
            clock->stands_before_ms = limit_ms;
            clock->waits_for = stalled ? CLUSTER_CLOCK_NEXT_TURN : received;
        }
        return;
    }
    /* K3: what lies behind the limit is not known, and what came since it stood may renew that. */
    bool to_limit = clock->time.ms < limit_ms && next_ms > limit_ms && proposed != received;
    clock->time.ms = to_limit ? limit_ms : next_ms;
    clock->stands_before_ms = UINT64_MAX;
}

void cluster_clock_count_look(struct cluster_clock *clock, struct local_time looked, uint64_t limit_ms)
{
    if (!clock->running || looked.ms <= clock->counted_to.ms) {
        return;
    }
    uint64_t end_ms = clock->time.ms + (looked.ms - clock->counted_to.ms);
    uint64_t most_ms = clock->most_ms < limit_ms ? clock->most_ms : limit_ms - 1;
    end_ms = end_ms < most_ms ? end_ms : most_ms;
    clock->time.ms = end_ms > clock->time.ms ? end_ms : clock->time.ms;
    clock->counted_to = looked;
}

bool cluster_clock_stands(const struct cluster_clock *clock)
{
    return clock->stands_before_ms != UINT64_MAX;
}

struct local_time cluster_clock_reaches(const struct cluster_clock *clock, uint64_t target_ms)
{
    if (!clock->running || target_ms == UINT64_MAX) {
        return LOCAL_TIME_NEVER;
    }
    uint64_t ahead_ms = target_ms > clock->time.ms ? target_ms - clock->time.ms : 0;
    uint64_t often_ms = clock->step_ms_max / 2;
    return (struct local_time){clock->counted_to.ms + (ahead_ms < often_ms ? ahead_ms : often_ms)};
}
