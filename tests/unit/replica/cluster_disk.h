/* A disk for the cluster tests: files in memory, jobs that take virtual time, and crashes that lose what was not synced:
 * any subset of the unsynced writes survives, torn at sectors; of the names that changed since the directory's sync, the
 * first few survive. */
#ifndef LOCKSTEP_TESTS_CLUSTER_DISK_H
#define LOCKSTEP_TESTS_CLUSTER_DISK_H

#include "node/replica/disk.h"

struct cluster_disk;

/* @param random  state of the cluster's random numbers, shared. */
struct cluster_disk *cluster_disk_create(uint64_t *random);
void cluster_disk_free(struct cluster_disk *disk);
struct disk *cluster_disk_seam(struct cluster_disk *disk);
/* Run the jobs that are due, at most one per lane and call. @return whether one ran. */
bool cluster_disk_run(struct cluster_disk *disk, uint64_t now_ms);
/* Run all jobs to their end, at once. */
void cluster_disk_drain(struct cluster_disk *disk);
uint64_t cluster_disk_due(const struct cluster_disk *disk); /* UINT64_MAX: none */
bool cluster_disk_busy(const struct cluster_disk *disk);
/* Milliseconds that a job takes: min..max. */
void cluster_disk_latency(struct cluster_disk *disk, uint64_t now_ms, unsigned min_ms, unsigned max_ms);
/* The power goes: decide what survives. What follows (jobs under way) does not count; then cluster_disk_boot(). */
void cluster_disk_crash(struct cluster_disk *disk);
/* The contents are what survived. No file is open. */
void cluster_disk_boot(struct cluster_disk *disk);
/* As if the directory had been removed. */
void cluster_disk_wipe(struct cluster_disk *disk);
/* From now on every write, allocation and sync of a name that begins with `prefix` fails with -ENOSPC; NULL: none. */
void cluster_disk_full(struct cluster_disk *disk, const char *prefix);
uint64_t cluster_random(uint64_t *random, uint64_t below);

#endif
