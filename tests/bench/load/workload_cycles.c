/* Acquire and release, the client's own key: W1, and W3 when the runner kills the leader meanwhile. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

void load_cycles_prepare(struct load_slot *slot)
{
    (void)snprintf(slot->key, sizeof slot->key, "bench/own/%010u", slot->client->number);
}

static void released_cb(void *arg, int result)
{
    struct load_slot *slot = arg;
    lockstep_lock_free(slot->lock);
    slot->lock = NULL;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "release", result);
        load_later(slot);
        return;
    }
    if (load_counts(slot->client->worker, load_now_ns())) {
        slot->client->worker->result->cycles++;
    }
    load_next(slot);
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct load_slot *slot = arg;
    int64_t now_ns = load_now_ns();
    (void)holder;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
        return;
    }
    if (load_counts(slot->client->worker, now_ns)) {
        histogram_record(&slot->client->worker->result->acquire, (uint64_t)(now_ns - slot->begun_ns));
    }
    load_succeeded(slot->client, now_ns);
    slot->lock = lock;
    result = lockstep_async_release(lock, released_cb, slot);
    if (result != LOCKSTEP_OK) {
        released_cb(slot, result);
    }
}

void load_cycles_begin(struct load_slot *slot)
{
    slot->begun_ns = load_now_ns();
    int result = lockstep_async_acquire(slot->client->async, slot->key, NULL, acquired_cb, slot);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
    }
}
