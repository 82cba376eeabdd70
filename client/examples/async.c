/* The same on a libuv loop: acquire, hold for a while, release, close. Nothing blocks the loop.
 *
 *     cc async.c $(pkg-config --cflags --libs lockstep libuv) -o async
 *     ./async 127.0.0.1:7400 jobs/report */
#include <lockstep.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct job {
    struct lockstep_async *async;
    struct lockstep_lock *lock;
    uv_timer_t timer;
    int status;
};

static void end(struct job *job, const char *what, int result)
{
    if (result != LOCKSTEP_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, lockstep_result_name(result), lockstep_error_message());
        job->status = EXIT_FAILURE;
    }
    lockstep_lock_free(job->lock);
    job->lock = NULL;
    if (!uv_is_closing((uv_handle_t *)&job->timer)) {
        uv_close((uv_handle_t *)&job->timer, NULL);
        lockstep_async_close(job->async, NULL, NULL);
    }
}

static void on_released(void *arg, int result)
{
    end(arg, "release", result);
}

static void on_time(uv_timer_t *timer)
{
    struct job *job = timer->data;
    int result = lockstep_async_release(job->lock, on_released, job);
    if (result != LOCKSTEP_OK) {
        end(job, "release", result);
    }
}

static void on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason, int64_t remaining_ms,
                    const char *detail)
{
    struct job *job = arg;
    fprintf(stderr, "lost %s: %s %s (certain for another %lld ms)\n", lockstep_lock_key(lock),
            lockstep_lost_reason_text(reason), detail, (long long)remaining_ms);
    uv_timer_stop(&job->timer);
    job->status = EXIT_FAILURE;
    end(job, "hold", LOCKSTEP_OK); /* may free the lock that was lost */
}

static void on_acquired(void *arg, int result, struct lockstep_lock *lock, const struct lockstep_holder *holder)
{
    struct job *job = arg;
    (void)holder; /* whom it is held by, with LOCKSTEP_HELD */
    job->lock = lock;
    if (result != LOCKSTEP_OK) {
        end(job, "acquire", result);
        return;
    }
    printf("acquired with fence %llu\n", (unsigned long long)lockstep_lock_fence(lock));
    uv_timer_start(&job->timer, on_time, 100, 0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINTS KEY\n", argv[0]);
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN); /* as with every use of libuv: a connection that breaks must not end the program */

    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = argv[1];
    struct lockstep_acquire_options how;
    lockstep_acquire_options_init(&how);
    how.wait_ms = 10000;
    how.on_lost = on_lost;

    struct job job = {.status = EXIT_SUCCESS};
    how.on_lost_arg = &job;
    int result = lockstep_async_create(uv_default_loop(), &options, &job.async);
    if (result != LOCKSTEP_OK) {
        fprintf(stderr, "client: %s\n", lockstep_error_message());
        return EXIT_FAILURE;
    }
    uv_timer_init(uv_default_loop(), &job.timer);
    job.timer.data = &job;
    result = lockstep_async_acquire(job.async, argv[2], &how, on_acquired, &job);
    if (result != LOCKSTEP_OK) {
        end(&job, "acquire", result);
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_loop_close(uv_default_loop());
    return job.status;
}
