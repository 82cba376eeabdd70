/* Do something under a lock, and stop in time if the lock is lost.
 *
 *     cc blocking.c $(pkg-config --cflags --libs lockstep) -o blocking
 *     ./blocking 127.0.0.1:7400 jobs/report */
#include <lockstep.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_bool lost;

/* On the library's thread: say it, and let the work find out. */
static void on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason, int64_t remaining_ms,
                    const char *detail)
{
    (void)arg;
    atomic_store(&lost, true);
    fprintf(stderr, "lost %s: %s %s (certain for another %lld ms)\n", lockstep_lock_key(lock),
            lockstep_lost_reason_text(reason), detail, (long long)remaining_ms);
}

static int fail(const char *what, int result)
{
    fprintf(stderr, "%s: %s: %s\n", what, lockstep_result_name(result), lockstep_error_message());
    return EXIT_FAILURE;
}

/* Whatever is written carries the fence: a storage that compares it refuses a holder which has lost the lock unawares. */
static void work(const struct lockstep_lock *lock)
{
    for (int step = 1; step <= 3 && !atomic_load(&lost); step++) {
        printf("step %d under fence %llu\n", step, (unsigned long long)lockstep_lock_fence(lock));
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s ENDPOINTS KEY\n", argv[0]);
        return EXIT_FAILURE;
    }
    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = argv[1];

    struct lockstep_client *client = NULL;
    int result = lockstep_client_create(&options, &client);
    if (result != LOCKSTEP_OK) {
        return fail("client", result);
    }

    struct lockstep_acquire_options how;
    lockstep_acquire_options_init(&how);
    how.wait_ms = 10000;
    how.on_lost = on_lost;
    struct lockstep_lock *lock = NULL;
    result = lockstep_acquire_with(client, argv[2], &how, NULL, &lock);
    if (result != LOCKSTEP_OK) {
        int status = fail("acquire", result);
        lockstep_client_free(client);
        return status;
    }

    work(lock);

    result = lockstep_lock_release(lock); /* NOT_HELD: it ended before the work did, which must then be doubted */
    int status = result == LOCKSTEP_OK ? EXIT_SUCCESS : fail("release", result);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    return status;
}
