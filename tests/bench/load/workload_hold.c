/* Take many locks and keep them, as many requests under way as the window says: W4, and the state of others. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct load_slot *slot = arg;
    struct load_worker *worker = slot->client->worker;
    int64_t now_ns = load_now_ns();
    (void)holder;
    (void)lock; /* kept until the process ends */
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
        return;
    }
    slot->key[0] = '\0';
    worker->result->held++;
    histogram_record(&worker->result->acquire, (uint64_t)(now_ns - slot->begun_ns));
    if (worker->locks_next < worker->locks_end) {
        load_next(slot);
    } else if (worker->result->held == worker->locks_count) {
        load_done(worker);
    }
}

void load_hold_begin(struct load_slot *slot)
{
    struct load_worker *worker = slot->client->worker;
    if (slot->key[0] == '\0') { /* else it is tried again */
        if (worker->locks_next >= worker->locks_end) {
            return;
        }
        (void)snprintf(slot->key, sizeof slot->key, "bench/set/%010u", worker->locks_next++);
    }
    slot->begun_ns = load_now_ns();
    int result = lockstep_async_acquire(slot->client->async, slot->key, NULL, acquired_cb, slot);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "acquire", result);
        load_later(slot);
    }
}
