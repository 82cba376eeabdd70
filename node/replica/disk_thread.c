/* Workers: one thread per lane, which runs the lane's jobs in order and hands them back to the loop by one uv_async.
 * Owns the queues; knows nothing of files. A job is touched by one side at a time, and passes under the mutex. Who is woken
 * wants the mutex first thing, so that it is given back before the wake-up. */
#include "node/replica/disk_internal.h"

#include <signal.h>
#include <string.h>

#include "protocol/assert.h"

static void push(struct disk_queue *queue, struct disk_job *job)
{
    job->next = NULL;
    if (queue->first == NULL) {
        queue->first = job;
    } else {
        queue->last->next = job;
    }
    queue->last = job;
}

static struct disk_job *pop(struct disk_queue *queue)
{
    struct disk_job *job = queue->first;
    if (job != NULL) {
        queue->first = job->next;
        job->next = NULL;
    }
    return job;
}

static void lock(struct disk_threads *threads)
{
    int rv = pthread_mutex_lock(&threads->mutex);
    LOCKSTEP_ASSERT(rv == 0);
}

static void unlock(struct disk_threads *threads)
{
    int rv = pthread_mutex_unlock(&threads->mutex);
    LOCKSTEP_ASSERT(rv == 0);
}

static void *run_lane(void *arg)
{
    struct disk_lane_thread *lane = arg;
    struct disk_threads *threads = lane->threads;
    lock(threads);
    while (!threads->stopping) {
        struct disk_job *job = pop(&lane->queue);
        if (job == NULL) {
            (void)pthread_cond_wait(&lane->wake, &threads->mutex);
            continue;
        }
        unlock(threads);
        job->work(job);
        lock(threads);
        push(&threads->finished, job);
        unlock(threads);
        (void)uv_async_send(&threads->async);
        lock(threads);
    }
    unlock(threads);
    return NULL;
}

/* A wake-up may stand for several jobs, or for none that is left. What done() submits and finishes at once comes with the
 * next wake-up, so that this ends. */
static void on_finished(uv_async_t *async)
{
    struct disk_threads *threads = async->data;
    lock(threads);
    struct disk_queue finished = threads->finished;
    threads->finished = (struct disk_queue){NULL, NULL};
    unlock(threads);
    for (struct disk_job *job = pop(&finished); job != NULL; job = pop(&finished)) {
        if (threads->stopping) { /* Written by this thread only; a done() before this one closed the disk. */
            return;
        }
        job->done(job);
    }
}

/* Signals are the loop's business: a worker takes none. */
static int start_lane(struct disk_lane_thread *lane)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rv = pthread_create(&lane->thread, NULL, run_lane, lane);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    lane->started = rv == 0;
    return -rv;
}

int disk_threads_start(struct disk_threads *threads, uv_loop_t *loop, bool *ret_async)
{
    memset(threads, 0, sizeof *threads);
    *ret_async = false;
    int rv = uv_async_init(loop, &threads->async, on_finished);
    if (rv != 0) {
        return rv;
    }
    *ret_async = true;
    threads->async.data = threads;
    (void)pthread_mutex_init(&threads->mutex, NULL);
    for (unsigned i = 0; i < DISK_LANES; i++) {
        threads->lanes[i].threads = threads;
        (void)pthread_cond_init(&threads->lanes[i].wake, NULL);
    }
    for (unsigned i = 0; i < DISK_LANES && rv == 0; i++) {
        rv = start_lane(&threads->lanes[i]);
    }
    return rv;
}

void disk_threads_submit(struct disk_threads *threads, unsigned lane, struct disk_job *job)
{
    LOCKSTEP_ASSERT(lane < DISK_LANES);
    lock(threads);
    push(&threads->lanes[lane].queue, job);
    unlock(threads);
    (void)pthread_cond_signal(&threads->lanes[lane].wake);
}

static void on_closed(uv_handle_t *handle)
{
    struct disk_threads *threads = handle->data;
    (void)pthread_mutex_destroy(&threads->mutex);
    for (unsigned i = 0; i < DISK_LANES; i++) {
        (void)pthread_cond_destroy(&threads->lanes[i].wake);
    }
    threads->closed(threads);
}

void disk_threads_stop(struct disk_threads *threads, void (*closed)(struct disk_threads *threads))
{
    lock(threads);
    threads->stopping = true;
    for (unsigned i = 0; i < DISK_LANES; i++) {
        (void)pthread_cond_signal(&threads->lanes[i].wake);
    }
    unlock(threads);
    for (unsigned i = 0; i < DISK_LANES; i++) {
        if (threads->lanes[i].started) {
            (void)pthread_join(threads->lanes[i].thread, NULL);
        }
    }
    threads->closed = closed;
    uv_close((uv_handle_t *)&threads->async, on_closed);
}
