/* The real disk: a directory, POSIX files, one worker thread per lane that reports to a libuv loop. */
#ifndef LOCKSTEP_NODE_REPLICA_DISK_REAL_H
#define LOCKSTEP_NODE_REPLICA_DISK_REAL_H

#include <uv.h>

#include "node/replica/disk.h"

/* Why a directory could not be opened, and so whether waiting helps. */
enum disk_refusal {
    DISK_REFUSAL_UNUSABLE, /* not writable, not a directory, … */
    DISK_REFUSAL_LOCKED,   /* another process has it */
    DISK_REFUSAL_FOR_NOW,  /* as with disk_real_failure() */
};

/* Create the directory if it is missing (its parent must exist), take an exclusive lock on it for this process
 * (file "lock", kept until the close), check that it is writable, make its name durable, start the worker threads.
 * @return the disk, or NULL with `ret_refusal` and `message`: locked by process N, not writable, not a directory, … and what
 *         to do. */
struct disk *disk_real_open(uv_loop_t *loop, const char *path, enum disk_refusal *ret_refusal, char *message,
                            size_t message_size);
/* What kept a file call from working so far although nothing is wrong with the data: no space, no memory or descriptors, or a
 * device that failed. Started again later, the node may do better. @return an errno, the first; 0: none. Any thread. */
int disk_real_failure(const struct disk *disk);
/* Wait for running jobs (their `done` will not be called any more), end the threads, unlock. `closed` runs when the
 * loop's handle is gone and the memory is freed. */
void disk_real_close(struct disk *disk, void (*closed)(void *ctx), void *ctx);

#endif
