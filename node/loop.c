/* One turn per iteration of libuv, right before it waits: all callbacks have gathered by then, and what the turn decides
 * has left before the loop sleeps.
 *
 * Invariants
 *  T1  A deadline is acted on only after a look at all sockets and disks that began after the time acted at. A process
 *      that was stopped for a while finds a deadline passed and, unread, the renewal or the heartbeat that came in time:
 *      without this it would expire a lease, or stand for election, for its own slowness. So when the turn finds a
 *      deadline due, it takes the time, polls once more without waiting, and then runs with the time taken before.
 *  T2  The time that parts are told never goes back, and is the same for all of one turn; only cluster time is also told until
 *      when the sockets were read (clock.h, K4).
 *  T3  It is CLOCK_MONOTONIC_RAW, which no time daemon makes faster: leases end by it (clock.h, K1). libuv's own time is used
 *      for sleeping only, where it may be off. */
#include "node/loop.h"

#include <stdlib.h>
#include <time.h>

#include "protocol/assert.h"

struct loop {
    uv_loop_t *uv;
    uv_prepare_t prepare;
    uv_timer_t timer;
    unsigned handles; /* of the two above, not closed yet */
    struct loop_parts parts;
    bool held; /* T1: a poll that does not wait is under way; `held_at` is the time from before it */
    struct local_time held_at;
    bool read; /* `now` was, since libuv has waited last */
    struct local_time now;
    struct local_time node_deadline;
};

/* T3 */
static void read_clock(struct loop *loop)
{
    struct timespec time = {0};
    int error = clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    LOCKSTEP_ASSERT(error == 0);
    loop->now.ms = (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    loop->read = true;
}

struct local_time loop_now(struct loop *loop)
{
    if (loop->held) {
        return loop->held_at;
    }
    if (!loop->read) {
        read_clock(loop); /* once for all that libuv calls back before it waits again */
    }
    return loop->now;
}

/* When time alone asks for a turn. */
static struct local_time due(const struct loop *loop)
{
    struct local_time first = local_time_earlier(core_due(loop->parts.core), replica_deadline(loop->parts.replica));
    first = local_time_earlier(first, connections_deadline(loop->parts.connections));
    return local_time_earlier(first, loop->node_deadline);
}

/* When the next turn is to be, also because of work that is left. */
static struct local_time deadline(const struct loop *loop)
{
    return local_time_earlier(due(loop), core_deadline(loop->parts.core));
}

static void turn(struct loop *loop, struct local_time now)
{
    const struct loop_parts *parts = &loop->parts;
    /* Before the core decides: what ran out of time is no client any more. */
    connections_expire(parts->connections, now);
    /* Before the core decides: who leads, and what is committed and applied, is news for it. */
    replica_tick(parts->replica, now);
    /* What was received in the look that T1 asks for came later than `now`. */
    core_looked(parts->core, loop->now);
    /* Everything that was received: admission, reads, proposals, expiry last (C4). */
    core_turn(parts->core, now);
    /* The followers' work on the proposals begins before our own: it has further to go. */
    peer_link_flush(parts->link);
    /* One write of the log for all proposals. */
    replica_flush(parts->replica);
    /* The node's own: may close connections, and so before the write. */
    loop->node_deadline = parts->node_turn(parts->ctx, now);
    /* Last: one write per connection for all that the turn has answered. */
    connections_write(parts->connections);
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* it only wakes the loop; the turn looks at the time itself */
}

static void sleep_until(struct loop *loop, struct local_time until)
{
    if (until.ms == LOCAL_TIME_NEVER.ms) {
        (void)uv_timer_stop(&loop->timer); /* always 0 */
        return;
    }
    uv_update_time(loop->uv);
    uint64_t left_ms = until.ms > loop->now.ms ? until.ms - loop->now.ms : 0;
    (void)uv_timer_start(&loop->timer, on_timer, left_ms, 0); /* fails only without callback */
}

/* T1: take the time and poll without waiting. */
static void hold(struct loop *loop)
{
    loop->held = true;
    loop->held_at = loop->now;
    sleep_until(loop, loop->held_at);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    read_clock(loop);
    if (!loop->held && due(loop).ms <= loop->now.ms) {
        hold(loop);
    } else {
        turn(loop, loop_now(loop)); /* T2: whoever asks during it is told the same */
        loop->held = false;
        read_clock(loop);
        struct local_time next = deadline(loop);
        if (next.ms <= loop->now.ms) {
            hold(loop);
        } else {
            sleep_until(loop, next);
        }
    }
    loop->read = false;
}

struct loop *loop_create(uv_loop_t *uv)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    LOCKSTEP_ASSERT(loop != NULL);
    loop->uv = uv;
    loop->node_deadline = LOCAL_TIME_NEVER;
    int error = uv_prepare_init(uv, &loop->prepare);
    LOCKSTEP_ASSERT(error == 0);
    error = uv_timer_init(uv, &loop->timer);
    LOCKSTEP_ASSERT(error == 0);
    loop->handles = 2;
    loop->prepare.data = loop;
    loop->timer.data = loop;
    return loop;
}

void loop_start(struct loop *loop, const struct loop_parts *parts)
{
    loop->parts = *parts;
    int error = uv_prepare_start(&loop->prepare, on_prepare);
    LOCKSTEP_ASSERT(error == 0);
    read_clock(loop);
    hold(loop);
}

void loop_stop(struct loop *loop)
{
    loop->held = false;
    (void)uv_prepare_stop(&loop->prepare); /* always 0 */
    (void)uv_timer_stop(&loop->timer);     /* always 0 */
}

static void on_closed(uv_handle_t *handle)
{
    struct loop *loop = handle->data;
    if (--loop->handles == 0) {
        free(loop);
    }
}

void loop_free(struct loop *loop)
{
    if (loop != NULL) {
        loop_stop(loop);
        uv_close((uv_handle_t *)&loop->prepare, on_closed);
        uv_close((uv_handle_t *)&loop->timer, on_closed);
    }
}
