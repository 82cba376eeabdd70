/* The status of the client's own key, again and again: W7; with a pace, the probe of how long a node's loop stands still. */
#include <stdio.h>

#include "tests/bench/load/load.h"
#include "tests/bench/load/workloads.h"

static void read_cb(void *arg, int result, struct lockstep_lock_status *status)
{
    struct load_slot *slot = arg;
    struct load_worker *worker = slot->client->worker;
    int64_t now_ns = load_now_ns();
    lockstep_lock_status_free(status);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "status", result);
        load_later(slot);
        return;
    }
    if (load_counts(worker, now_ns)) {
        worker->result->reads++;
        histogram_record(&worker->result->read, (uint64_t)(now_ns - slot->begun_ns));
    }
    load_succeeded(slot->client, now_ns);
    if (worker->options->pace_ms != 0) {
        load_later(slot);
    } else {
        load_next(slot);
    }
}

void load_reads_begin(struct load_slot *slot)
{
    slot->begun_ns = load_now_ns();
    int result = lockstep_async_lock_status(slot->client->async, slot->key,
                                            slot->client->worker->options->stale, read_cb, slot);
    if (result != LOCKSTEP_OK) {
        load_failed(slot, "status", result);
        load_later(slot);
    }
}
