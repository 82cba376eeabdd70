/* The real disk's inside: disk_real.c (directory, lock), disk_posix.c (files), disk_thread.c (workers). */
#ifndef LOCKSTEP_NODE_REPLICA_DISK_INTERNAL_H
#define LOCKSTEP_NODE_REPLICA_DISK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/replica/disk_real.h"

struct disk_queue {
    struct disk_job *first, *last;
};

struct disk_lane_thread {
    struct disk_threads *threads;
    pthread_t thread;
    bool started;
    pthread_cond_t wake;
    struct disk_queue queue;
};

/* Workers of a loop. `mutex` guards all queues and `stopping`. */
struct disk_threads {
    pthread_mutex_t mutex;
    struct disk_lane_thread lanes[DISK_LANES];
    struct disk_queue finished; /* their done() is due on the loop */
    bool stopping;
    uv_async_t async;
    void (*closed)(struct disk_threads *threads);
};

struct disk_real {
    struct disk disk;
    int directory; /* open for openat() and fsync() */
    int lock;
    atomic_int failure; /* disk_real_failure() */
    struct disk_threads threads;
    void (*closed)(void *ctx);
    void *ctx;
};

/* Whether an errno is about the machine's state and not the data's: see disk_real_failure(). */
bool disk_error_may_pass(int error);

/* 0 or -errno; on failure nothing is left over but, if *ret_async, the handle: then disk_threads_stop() it. */
int disk_threads_start(struct disk_threads *threads, uv_loop_t *loop, bool *ret_async);
void disk_threads_submit(struct disk_threads *threads, unsigned lane, struct disk_job *job);
/* Wait for running jobs, drop the queued ones, end the threads; then `closed`, from the loop. */
void disk_threads_stop(struct disk_threads *threads, void (*closed)(struct disk_threads *threads));

extern const struct disk_ops disk_real_ops;

#endif
