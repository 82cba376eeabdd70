/* A disk in memory for the tests of the log, the metadata and the snapshots. It loses what was not synced, tears writes at
 * any byte, forgets what a failed sync covered, fails any call, is full, and rots. All chance comes from one seed.
 *
 * Jobs run when the test says so; `work` and `done` run on the caller's thread. Calls that change something are counted;
 * the process can end, or the power go, at any of them. What is done after that has no effect on what survives, as with a process that has not
 * noticed yet (its last jobs may be run, its memory freed); fake_disk_boot() then shows the survivors. */
#ifndef LOCKSTEP_TESTS_FAKE_DISK_H
#define LOCKSTEP_TESTS_FAKE_DISK_H

#include "node/replica/disk.h"

struct fake_disk;

struct fake_disk *fake_disk_create(uint64_t seed);
void fake_disk_free(struct fake_disk *fake); /* no file may be open */
struct disk *fake_disk_seam(struct fake_disk *fake);

/* ---- jobs ---- */
unsigned fake_disk_jobs(const struct fake_disk *fake);
bool fake_disk_run(struct fake_disk *fake, unsigned lane); /* the lane's next job; false: there is none */
bool fake_disk_run_any(struct fake_disk *fake);            /* of a random lane */
void fake_disk_run_all(struct fake_disk *fake);

/* ---- faults ---- */
/* Calls so far that create, write, sync, allocate, rename, unlink, make a directory or sync one. */
unsigned fake_disk_calls(const struct fake_disk *fake);
/* The call number `call` (0: none) fails with -error; a failed sync forgets what it covered. */
void fake_disk_fail_at(struct fake_disk *fake, unsigned call, int error);
bool fake_disk_has_failed(const struct fake_disk *fake);
/* At most so many bytes in files from now on; UINT64_MAX: no bound. */
void fake_disk_limit(struct fake_disk *fake, uint64_t bytes);
uint64_t fake_disk_used(const struct fake_disk *fake);
unsigned fake_disk_open_files(const struct fake_disk *fake);
/* POWER: of what was not synced, any part survives. KILL (kill -9): all that was written is there; what was not synced can
 * still be lost by a later loss of power. */
enum fake_end { FAKE_POWER, FAKE_KILL };
void fake_disk_end(struct fake_disk *fake, enum fake_end end); /* now */
/* During call number `call` (0: never), which may have had any part of its effect. */
void fake_disk_end_at(struct fake_disk *fake, unsigned call, enum fake_end end);
bool fake_disk_is_off(const struct fake_disk *fake);
/* Show the survivors; all jobs were run or are forgotten, all files were closed. */
void fake_disk_boot(struct fake_disk *fake);

/* ---- contents ---- */
/* A file's bytes, to look at or to let rot (as if they had been so on the medium); NULL: no such file. */
uint8_t *fake_disk_bytes(struct fake_disk *fake, const char *name, size_t *ret_size);
bool fake_disk_remove(struct fake_disk *fake, const char *name); /* as an operator would */
unsigned fake_disk_files(const struct fake_disk *fake, const char *directory);
/* Everything as it is now, to come back to. */
struct fake_disk *fake_disk_copy(const struct fake_disk *fake);

#endif
