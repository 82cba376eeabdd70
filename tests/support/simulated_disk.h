/* A disk in memory for tests of whole clusters: jobs take simulated time, and crashes lose what was not synced: any subset
 * of the unsynced writes survives, torn at sectors; of the names that changed since the directory's sync, the first few
 * survive. Writes and syncs fail, the disk is full, bytes rot. Time is in whatever unit its user counts. */
#ifndef LOCKSTEP_TESTS_SUPPORT_SIMULATED_DISK_H
#define LOCKSTEP_TESTS_SUPPORT_SIMULATED_DISK_H

#include "node/replica/disk.h"

struct simulated_disk;

/* @param random  state of the random numbers to draw from, the caller's. */
struct simulated_disk *simulated_disk_create(uint64_t *random);
void simulated_disk_free(struct simulated_disk *disk);
struct disk *simulated_disk_seam(struct simulated_disk *disk);
/* Run the jobs that are due, at most one per lane and call. @return whether one ran. */
bool simulated_disk_run(struct simulated_disk *disk, uint64_t now);
/* Run all jobs to their end, at once. */
void simulated_disk_drain(struct simulated_disk *disk);
uint64_t simulated_disk_due(const struct simulated_disk *disk); /* UINT64_MAX: none */
bool simulated_disk_busy(const struct simulated_disk *disk);
/* How long a job takes: min..max. */
void simulated_disk_latency(struct simulated_disk *disk, uint64_t now, unsigned min, unsigned max);

/* ---- ends of a process: what follows (jobs under way) does not count; then drain, close, simulated_disk_boot() ---- */

/* The power goes: decide what survives. */
void simulated_disk_crash(struct simulated_disk *disk);
/* kill -9: all that was written is there, and what was not synced, names too, can still be lost by a later loss of power. */
void simulated_disk_kill(struct simulated_disk *disk);
/* One of the two, in the middle of what the process does: within the call that changes something of a name that begins with
 * `prefix` after `calls` more of them. Of a write it may have done a part. `ended` is called then, and a crash or kill that
 * follows decides nothing any more. ended NULL: call it off. */
void simulated_disk_end_after(struct simulated_disk *disk, const char *prefix, unsigned calls, bool power,
                              void (*ended)(void *ctx), void *ctx);
/* The contents are what survived. No file is open. */
void simulated_disk_boot(struct simulated_disk *disk);
/* As if the directory had been removed. */
void simulated_disk_wipe(struct simulated_disk *disk);

/* The directory is not there, as one whose file system was not mounted: there is an empty one instead, until it is back as it
 * was. Only while no process runs. */
void simulated_disk_away(struct simulated_disk *disk, bool away);

/* ---- faults ---- */

/* From now on every creation, write, allocation, rename and sync of a name that begins with `prefix` fails with -ENOSPC; NULL: none. */
void simulated_disk_full(struct simulated_disk *disk, const char *prefix);
/* The creation, write, allocation, rename or sync after `calls` more of them fails with -EIO, once; a failed sync forgets what it covered. */
void simulated_disk_fail_after(struct simulated_disk *disk, unsigned calls);
/* It is not full any more, and no call will fail that has not failed yet. */
void simulated_disk_heal(struct simulated_disk *disk);
bool simulated_disk_fails(const struct simulated_disk *disk); /* it is still to come */
/* Flip bits of a random byte of a random file, present and durable. Only while no process runs.
 * @return false if there is no byte. */
bool simulated_disk_rot(struct simulated_disk *disk, char *ret_name, size_t name_size, uint64_t *ret_offset);
/* Put that byte back. */
void simulated_disk_mend(struct simulated_disk *disk);

#endif
