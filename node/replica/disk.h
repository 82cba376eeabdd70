/* The seam to the disk: files of one directory, and work carried out beside the loop. The real one is disk_real.c
 * (the directory), disk_posix.c (files) and disk_thread.c (worker threads that report to a libuv loop); tests and the simulation have their own,
 * with torn writes, lost syncs, rot, full disks and latency.
 *
 * File calls block. They are made from a job's `work` (worker thread), or before the node starts to serve. They return
 * 0 or a count >= 0, or -errno. A name is relative to the directory and has no slash but for one level ("log/000…"). */
#ifndef LOCKSTEP_NODE_REPLICA_DISK_H
#define LOCKSTEP_NODE_REPLICA_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_file; /* one open file, of the implementation */
struct disk_job;

enum {
    DISK_READ = 0x1,
    DISK_WRITE = 0x2,
    DISK_CREATE = 0x4,    /* create if missing */
    DISK_EXCLUSIVE = 0x8, /* with CREATE: fail with -EEXIST */
};

struct disk;

struct disk_ops {
    int (*open)(struct disk *disk, const char *name, int flags, struct disk_file **ret_file);
    void (*close)(struct disk *disk, struct disk_file *file);
    /* Bytes read; fewer than asked only at the end of the file. */
    int64_t (*read)(struct disk *disk, struct disk_file *file, void *data, size_t size, uint64_t offset);
    /* All of it or -errno. Durable only after sync(). */
    int (*write)(struct disk *disk, struct disk_file *file, const void *data, size_t size, uint64_t offset);
    /* fdatasync. After a failure nothing about the file's unsynced contents is known: never retried. */
    int (*sync)(struct disk *disk, struct disk_file *file);
    /* Set the size; when growing, reserve the space (-ENOSPC now rather than at a later write) and read as zeros. */
    int (*allocate)(struct disk *disk, struct disk_file *file, uint64_t size);
    int64_t (*size)(struct disk *disk, struct disk_file *file);
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*unlink)(struct disk *disk, const char *name);
    int (*make_dir)(struct disk *disk, const char *name); /* -EEXIST is fine to the caller */
    /* Make names in `name` ("" = the directory itself) durable. */
    int (*sync_dir)(struct disk *disk, const char *name);
    /* Call `each` for every regular file in `name`; order undefined. */
    int (*list)(struct disk *disk, const char *name, void (*each)(void *ctx, const char *entry), void *ctx);

    /* Run job->work on the lane's worker, then job->done where replica calls are made (the loop). Jobs of one lane run
     * and complete in the order of their submission. */
    void (*submit)(struct disk *disk, unsigned lane, struct disk_job *job);
};

/* Two lanes, so that writing a snapshot never stands before a log write. */
enum disk_lane { DISK_LANE_LOG = 0, DISK_LANE_SNAPSHOT = 1, DISK_LANES = 2 };

struct disk_job {
    void (*work)(struct disk_job *job); /* on the worker: touches only what the job owns */
    void (*done)(struct disk_job *job); /* on the loop; may free the job */
    struct disk_job *next;              /* the implementation's */
};

struct disk {
    const struct disk_ops *ops;
};

#endif
