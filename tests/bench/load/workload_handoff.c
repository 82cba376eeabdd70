/* All clients queue for one key, and whoever holds it gives it back at once: W2.
 *
 * A hand-off is timed from before the release is sent until the next holder's callback. A releaser queues again once
 * another client has the lock, so that it does not get its own lock back while nobody else has queued. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

void load_handoff_prepare(struct load_slot *slot)
{
    (void)snprintf(slot->key, sizeof slot->key, "bench/one/0000000000");
}

static void released_cb(void *arg, int result)
{
    struct load_slot *slot = arg;
    struct load_worker *worker = slot->client->worker;
    lockstep_lock_free(slot->lock);
    slot->lock = NULL;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "release", result);
        load_later(slot);
        return;
    }
    if (load_counts(worker, load_now_ns())) {
        worker->result->cycles++;
    }
    if (worker->last_holder == slot->client->number && worker->options->clients > 1) {
        worker->parked = slot;
        return;
    }
    load_next(slot);
}

static void note_holder(struct load_slot *slot, int64_t now_ns)
{
    struct load_worker *worker = slot->client->worker;
    bool counts = load_counts(worker, now_ns);
    if (counts) {
        histogram_record(&worker->result->acquire, (uint64_t)(now_ns - slot->begun_ns));
    }
    if (worker->last_holder == slot->client->number) {
        worker->result->reacquires++;
    } else if (counts && worker->released_ns != 0) {
        worker->result->handoffs++;
        histogram_record(&worker->result->handoff, (uint64_t)(now_ns - worker->released_ns));
    }
    worker->last_holder = slot->client->number;
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct load_slot *slot = arg;
    struct load_worker *worker = slot->client->worker;
    (void)holder;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
        return;
    }
    note_holder(slot, load_now_ns());
    slot->lock = lock;
    struct load_slot *parked = worker->parked;
    worker->parked = NULL;
    if (parked != NULL) {
        load_next(parked);
    }
    worker->released_ns = load_now_ns();
    result = lockstep_async_release(lock, released_cb, slot);
    if (result != LOCKSTEP_OK) {
        released_cb(slot, result);
    }
}

void load_handoff_begin(struct load_slot *slot)
{
    struct lockstep_acquire_options options;
    lockstep_acquire_options_init(&options);
    options.wait_ms = LOCKSTEP_FOREVER;
    slot->begun_ns = load_now_ns();
    int result = lockstep_async_acquire(slot->client->async, slot->key, &options, acquired_cb, slot);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
    }
}
