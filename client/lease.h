/* From a deadline in cluster time to one on this machine's clock, so that it can not be too late.
 *
 * A sample is a request's local time before its first sending, t0, and the cluster time C of the entry that executed it,
 * out of the reply. When the request was sent the cluster clock showed at most C, because the entry was made later and the
 * clock never goes back. From then on it runs no faster than real time (it stands still while there is no leader), but for the
 * difference in speed of two clocks, at most `drift_ppm`. So a deadline D is not reached before
 *
 *     t0 + (D - C)                                   by an ideal clock, and not before
 *     t0 + (D - C) - (D - C) * drift_ppm - 5 ms      by this one.
 *
 * The 5 ms cover the rounding of both clocks to milliseconds. A reply that was late only makes this earlier, never wrong,
 * and so does one that was remembered from a first execution. Only replies of LOG operations are samples: the time in
 * the reply to a query is that of the last entry, behind which the leader's clock has already gone on.
 *
 * Of two samples the one that puts deadlines later is better, after the older has been aged by the drift since. That
 * matters for an acquire that has waited: its own reply would say "granted at C, asked a minute before", which
 * proves next to nothing, while a renewal two seconds ago gives the bound nearly exactly. */
#ifndef LOCKSTEP_CLIENT_LEASE_H
#define LOCKSTEP_CLIENT_LEASE_H

#include "client/time.h"
#include "protocol/message.h"

struct lease_clock {
    uint32_t drift_ppm;
    bool valid; /* there is a sample */
    struct boot_time sent;      /* t0 */
    struct cluster_time shown;  /* C */
};

/* Take a sample in, if it is the better one. */
void lease_clock_sample(struct lease_clock *clock, struct boot_time sent, struct cluster_time shown);

/* The local time up to which `deadline` has certainly not been reached; 0 without a sample. */
struct boot_time lease_clock_local(const struct lease_clock *clock, struct cluster_time deadline);

/* The same for a lease of `ttl_ms` that begins with a request which was not sent before `sent`. */
struct boot_time lease_from(const struct lease_clock *clock, struct boot_time sent, uint64_t ttl_ms);

#endif
