/* Group commit. One write is under way at a time: whatever is appended meanwhile goes out with the next, as one write
 * and one sync of one segment. Owns log->write; decides L1 (what is durable) and the order of records (L2).
 *
 *   idle --log_write_start()--> the worker encodes, writes, syncs, moves the watermark --write_done()--> idle, or the next
 *
 * A write never spans segments: what does not fit goes into the next segment by the next write. So every record's `batch`
 * attests that all writes before its own were synced, and that is how recovery knows rot from a torn tail (L3). */
#include <stdlib.h>
#include <string.h>

#include "node/replica/log_internal.h"

/* ---- on the worker ---- */

static uint8_t *encode_record(const struct log_write *write, struct log_record *record, uint8_t *out)
{
    record->batch = write->first_sequence;
    record->segment = (uint32_t)write->segment->number;
    log_record_encode(record, write->log->options.checksum_seed, out);
    record->sequence++;
    return out + log_record_bytes(record->size);
}

static void encode(const struct log_write *write)
{
    struct log_record record = {.sequence = write->first_sequence};
    uint8_t *out = write->buffer;
    if (write->has_header) {
        log_segment_header_encode(&write->header, out);
        out += LOG_SEGMENT_HEADER_BYTES;
    }
    if (write->reset.queued) {
        record.kind = LOG_RECORD_RESET;
        record.index = write->reset.index;
        record.term = write->reset.term;
        out = encode_record(write, &record, out);
    }
    for (size_t i = 0; i < write->count; i++) {
        const struct log_entry *entry = write->entries[i];
        record.kind = entry->type;
        record.index = entry->index;
        record.term = entry->term;
        record.size = entry->size;
        record.data = entry->data;
        out = encode_record(write, &record, out);
    }
    LOCKSTEP_ASSERT(record.sequence == write->last_sequence + 1);
    LOCKSTEP_ASSERT(out == write->buffer + write->size);
}

/* L1: the sync before anything is acknowledged. L5: a failed one is not tried again. The watermark follows the sync, so
 * that it never claims more than is durable, and precedes the acknowledgement, so that it never claims less. */
static void write_work(struct disk_job *job)
{
    struct log_write *write = (struct log_write *)job;
    struct log *log = write->log;
    const struct disk_ops *ops = log->disk->ops;
    char name[LOG_NAME_BYTES];
    log_segment_name(write->segment->number, name);
    if (write->sealed != NULL) {
        ops->close(log->disk, write->sealed);
        write->sealed = NULL;
    }
    encode(write);
    int rv = ops->write(log->disk, write->segment->file, write->buffer, write->size, write->offset);
    if (!log_check(&write->failure, rv, "write to", name)) {
        return;
    }
    rv = ops->sync(log->disk, write->segment->file);
    if (!log_check(&write->failure, rv, "sync", name)) {
        return;
    }
    (void)log_watermark_write(log, write->last_sequence, write->sync_watermark, &write->failure);
}

/* ---- on the loop ---- */

void log_write_void(struct log_write *write, uint64_t index)
{
    if (write->index_last >= index) {
        write->index_last = index == 0 ? 0 : index - 1;
    }
}

static void call_waiters(struct log_reset_waiter *waiter)
{
    while (waiter != NULL) {
        struct log_reset_waiter *next = waiter->next;
        waiter->done(waiter->ctx);
        free(waiter);
        waiter = next;
    }
}

static void write_done(struct disk_job *job)
{
    struct log_write *write = (struct log_write *)job;
    struct log *log = write->log;
    write->active = false;
    log->jobs--;
    for (size_t i = 0; i < write->count; i++) {
        log_entry_unref(write->entries[i]);
    }
    if (write->failure.error != 0) {
        log_fail(log, &write->failure);
        return;
    }
    bool moved = write->index_last >= write->index_first && write->index_last > log->durable;
    log->durable = moved ? write->index_last : log->durable;
    log->durable_segment = write->segment;
    struct log_reset_waiter *waiters = write->reset.waiters;
    write->reset.waiters = NULL;
    if (write->reset.queued) {
        log_segments_trim(log);
    }
    log_settle(log);
    uint64_t durable = log->durable;
    if (log->flush_wanted || log->reset.queued) {
        log_write_start(log); /* Before the callbacks: the disk need not wait for what they do. */
    }
    call_waiters(waiters);
    if (moved && durable == log->durable) {
        log->callbacks.durable(log->callbacks.ctx, durable);
    }
}

/* ---- what goes into a write ---- */

static uint64_t first_record_bytes(const struct log *log)
{
    if (log->reset.queued) {
        return log_record_bytes(0);
    }
    return log_record_bytes(log_table_slot(&log->table, log->queued_first)->size);
}

static void add_reset(struct log *log, struct log_write *write)
{
    write->reset = log->reset;
    log->reset = (struct log_reset){.queued = false};
    if (write->reset.queued) {
        write->size += log_record_bytes(0);
        write->last_sequence++;
    }
}

static void add_entry(struct log *log, struct log_write *write, struct log_slot *slot)
{
    if (write->count == write->capacity) {
        write->capacity = write->capacity == 0 ? 64 : write->capacity * 2;
        write->entries = reallocarray(write->entries, write->capacity, sizeof *write->entries);
        LOCKSTEP_ASSERT(write->entries != NULL);
    }
    write->entries[write->count++] = log_entry_ref(slot->entry);
    slot->segment = write->segment;
    slot->offset = (uint32_t)(write->offset + write->size);
    write->size += log_record_bytes(slot->size);
    write->last_sequence++;
    log->queued_first++;
}

/* A record larger than a whole segment gets a segment of its own, which grows with it. */
static void add_entries(struct log *log, struct log_write *write)
{
    while (log->queued_first <= log->table.last) {
        struct log_slot *slot = log_table_slot(&log->table, log->queued_first);
        uint64_t bytes = log_record_bytes(slot->size);
        bool fits = write->offset + write->size + bytes <= write->segment->size;
        bool alone = write->has_header && write->last_sequence < write->first_sequence;
        if ((!fits && !alone) || (write->count > 0 && write->size + bytes > LOG_WRITE_BYTES_MAX)) {
            break;
        }
        add_entry(log, write, slot);
    }
}

static void reserve_buffer(struct log_write *write)
{
    if (write->size > write->buffer_capacity) {
        free(write->buffer);
        write->buffer_capacity = write->size * 2;
        write->buffer = malloc(write->buffer_capacity);
        LOCKSTEP_ASSERT(write->buffer != NULL);
    }
}

/* The header of a segment whose first record this write brings. */
static void add_header(const struct log *log, struct log_write *write)
{
    uint64_t prev = log->reset.queued ? log->reset.index : log->queued_first - 1;
    write->has_header = true;
    write->header = (struct log_segment_header){
        .version = LOG_FORMAT_VERSION,
        .cluster_id = log->options.cluster_id,
        .node_id = log->options.node_id,
        .number = write->segment->number,
        .first_sequence = log->sequence,
        .prev_index = prev,
        .prev_term = log->reset.queued ? log->reset.term : log_term(log, prev),
    };
    write->size = LOG_SEGMENT_HEADER_BYTES;
}

static void submit(struct log *log, struct log_write *write)
{
    reserve_buffer(write);
    log->sequence = write->last_sequence + 1;
    log->tail = write->offset + write->size;
    log->current->size = log->tail > log->current->size ? log->tail : log->current->size;
    write->active = true;
    write->failure.error = 0;
    write->job = (struct disk_job){.work = write_work, .done = write_done};
    log->jobs++;
    log->disk->ops->submit(log->disk, DISK_LANE_LOG, &write->job);
}

void log_write_start(struct log *log)
{
    struct log_write *write = &log->write;
    bool nothing = !log->reset.queued && log->queued_first > log->table.last;
    if (write->active || log->failed || nothing) {
        log->flush_wanted = log->flush_wanted && !nothing;
        return;
    }
    bool full = log->tail > 0 && log->tail + first_record_bytes(log) > log->current->size;
    if (full) {
        struct log_segment *next = log_prepare_take(log);
        if (next == NULL) {
            return;
        }
        write->sealed = log->current->file;
        log->current->file = NULL;
        log_segment_append(log, next);
    }
    write->log = log;
    write->segment = log->current;
    write->offset = log->tail;
    write->size = 0;
    write->count = 0;
    write->first_sequence = log->sequence;
    write->last_sequence = log->sequence - 1;
    write->has_header = false;
    write->sync_watermark = full;
    write->index_first = log->queued_first;
    if (log->tail == 0) {
        add_header(log, write);
    }
    add_reset(log, write);
    add_entries(log, write);
    write->index_last = log->queued_first - 1;
    log->flush_wanted = log->queued_first <= log->table.last;
    submit(log, write);
    log_prepare_pace(log);
}
