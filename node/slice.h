/* How long a thread of this process may be kept waiting for a processor that another thread has. */
#ifndef LOCKSTEP_NODE_SLICE_H
#define LOCKSTEP_NODE_SLICE_H

#include <stdbool.h>

/* In nanoseconds; the least that the kernel takes. */
enum { SLICE_NS = 100 * 1000 };

/* Ask the kernel for short slices, for the calling thread and those that it makes afterwards.
 *
 * A node's threads work for some 10 or 100 us and wait: for a disk, a peer, a client. Where there are fewer processors than threads
 * that want one, who wakes waits for the end of another's slice, 1 to 3 ms, and all of an entry's requests wait with it. Who asks
 * for shorter slices is let in sooner, and is interrupted sooner itself. Its share of the processors is the same as before: this is no
 * priority, and needs no rights.
 *
 * Since Linux 6.12, sched_setattr(2) with SCHED_OTHER and sched_runtime, 0.1 to 100 ms (the latency of EEVDF: Stoica and
 * Abdel-Wahab, "Earliest Eligible Virtual Deadline First", 1995). An older kernel ignores it.
 * @return whether it was asked for: not under another policy than SCHED_OTHER, which somebody chose, nor if the kernel refuses the
 *         call. Nothing rests on it. */
bool slice_ask_for_short(void);

#endif
