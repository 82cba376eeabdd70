/* The leader's estimate of cluster time (design section 3 "Time"). Pure arithmetic: the local time comes in as an
 * argument, nothing here reads a clock.
 *
 * Invariants
 *  K1  While it runs the estimate never goes back, and advances by no more than the real time that has passed: a lease
 *      granted on it lasts at least its ttl.
 *  K2  One turn advances it by at most step_ms_max: time in which the leader did not serve (a stopped process, a
 *      suspended machine, a stalled disk) is not counted. Nor is any from when it is told to leave.
 *  K3  It does not pass a limit (the earliest deadline) while a request is unproposed that had been received when it
 *      got there. It stands one millisecond before it; the requests are proposed with that time, so that a renewal
 *      among them counts; then it passes, but only just, if others have come meanwhile: the next deadline may lie right
 *      behind. What it stood is not counted, which makes leases longer, never shorter. Nor may it be made up for, not even
 *      once all is proposed: what came meanwhile was proposed with the time at which it stood, and its leases would end by
 *      as much too early.
 *  K4  A request is proposed with a time that counts up to its reading, if that is later than the turn's time (loop.c, T1):
 *      the client counts its lease from before its sending, and time counted later would come off that. Such time
 *      reaches no limit; what has no room before it is not counted. */
#ifndef LOCKSTEP_NODE_CLOCK_H
#define LOCKSTEP_NODE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "node/time.h"
#include "protocol/message.h"

struct cluster_clock {
    bool running;
    unsigned step_ms_max;
    struct cluster_time time;
    struct local_time counted_to; /* the local time up to which time has been counted */
    uint64_t most_ms;             /* K2: this turn's end of counting */
    uint64_t stands_before_ms;    /* the limit before which it stands; UINT64_MAX: it does not stand */
    uint64_t waits_for; /* how many requests must have been proposed before it may pass that limit */
};

/* waits_for: as many as the next turn will have received. */
#define CLUSTER_CLOCK_NEXT_TURN UINT64_MAX

void cluster_clock_init(struct cluster_clock *clock, unsigned step_ms_max);
/* This node serves from now on: count on from the state machine's time. */
void cluster_clock_start(struct cluster_clock *clock, struct cluster_time from, struct local_time now);
void cluster_clock_stop(struct cluster_clock *clock);

/* Once per turn, after everything that was received has been counted in `received`.
 *
 * @param limit_ms  the earliest deadline, UINT64_MAX if there is none.
 * @param received  how many requests for the log were received since the start of the node,
 * @param proposed  and how many of them, oldest first, were proposed or answered. */
void cluster_clock_advance(struct cluster_clock *clock, struct local_time now, uint64_t limit_ms,
                           uint64_t received, uint64_t proposed);

/* K4: right after that, for the look at the sockets that lasted until `looked`; with the limit as it then is. */
void cluster_clock_count_look(struct cluster_clock *clock, struct local_time looked, uint64_t limit_ms);

/* It stands before a limit: what has been received is to be proposed without delay. */
bool cluster_clock_stands(const struct cluster_clock *clock);

/* The local time at which a turn should be made so that the estimate reaches `target_ms` as early as it can. Turns must
 * come often enough for K2 not to cost time, so the answer is never far off. */
struct local_time cluster_clock_reaches(const struct cluster_clock *clock, uint64_t target_ms);

#endif
