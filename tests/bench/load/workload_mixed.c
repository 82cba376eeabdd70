/* Four in five cycles on the client's own key, one on a hot key which is asked for shared or exclusive and waited for: W8. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

enum { HOT_PERCENT = 20, HOT_KEYS = 100 };

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
    struct load_result *results = slot->client->worker->result;
    (void)holder;
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
        return;
    }
    if (load_counts(slot->client->worker, now_ns)) {
        histogram_record(slot->hot ? &results->handoff : &results->acquire,
                         (uint64_t)(now_ns - slot->begun_ns));
    }
    slot->lock = lock;
    result = lockstep_async_release(lock, released_cb, slot);
    if (result != LOCKSTEP_OK) {
        released_cb(slot, result);
    }
}

void load_mixed_begin(struct load_slot *slot)
{
    struct load_worker *worker = slot->client->worker;
    struct lockstep_acquire_options options;
    lockstep_acquire_options_init(&options);
    slot->hot = load_random(worker, 100) < HOT_PERCENT;
    if (slot->hot) {
        (void)snprintf(slot->key, sizeof slot->key, "bench/hot/%010u",
                       (unsigned)load_random(worker, HOT_KEYS));
        options.mode = load_random(worker, 2) == 0 ? LOCKSTEP_SHARED : LOCKSTEP_EXCLUSIVE;
        options.wait_ms = LOCKSTEP_FOREVER;
    } else {
        load_cycles_prepare(slot);
    }
    slot->begun_ns = load_now_ns();
    int result = lockstep_async_acquire(slot->client->async, slot->key, &options, acquired_cb, slot);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
    }
}
