/* Sessions that all expire at the same moment: W11's. Each client makes one after another: open it, take a lock, and leave both
 * behind. A session's TTL is what is left until that moment, so it does not matter how long all of this takes. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

static const int64_t NS_PER_MS = 1000000;

static void left_cb(void *arg, int result)
{
    struct load_slot *slot = arg;
    struct load_worker *worker = slot->client->worker;
    (void)result;
    lockstep_lock_free(slot->lock);
    slot->lock = NULL;
    slot->async = NULL;
    worker->result->held++;
    if (worker->locks_next < worker->locks_end) {
        load_next(slot);
    } else if (worker->result->held == worker->locks_count) {
        load_done(worker);
    }
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct load_slot *slot = arg;
    (void)holder;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
    } else {
        histogram_record(&slot->client->worker->result->acquire, (uint64_t)(load_now_ns() - slot->begun_ns));
    }
    slot->lock = lock;
    lockstep_async_detach(slot->async, left_cb, slot);
}

void load_swarm_begin(struct load_slot *slot)
{
    struct load_worker *worker = slot->client->worker;
    struct lockstep_options options;
    if (worker->locks_next >= worker->locks_end) {
        return;
    }
    (void)snprintf(slot->key, sizeof slot->key, "bench/gon/%010u", worker->locks_next++);
    lockstep_options_init(&options);
    options.endpoints = worker->options->endpoints;
    options.owner = "bench";
    slot->begun_ns = load_now_ns();
    options.session_ttl_ms = (worker->options->expire_at_ns - slot->begun_ns) / NS_PER_MS;
    int result = lockstep_async_create(&worker->loop, &options, &slot->async);
    if (result == LOCKSTEP_OK) {
        result = lockstep_async_acquire(slot->async, slot->key, NULL, acquired_cb, slot);
    }
    if (result != LOCKSTEP_OK) {
        (void)fprintf(stderr, "no more sessions can be made, %lld ms before they expire: %s\n",
                      (long long)options.session_ttl_ms, lockstep_error_message());
        load_abandon(worker);
    }
}
