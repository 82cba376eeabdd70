/* The calls of log.h on the loop: what is current, what is durable, what may leave memory. Never blocks; what touches
 * the disk is in log_write.c, log_prepare.c and log_read.c. The invariants L1..L5 are those of log.h. */
#include "node/replica/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/log_internal.h"

/* ---- entries ---- */

struct log_entry *log_entry_create(uint64_t index, uint64_t term, enum log_entry_type type, size_t size)
{
    LOCKSTEP_ASSERT(size <= LOG_ENTRY_BYTES_MAX);
    struct log_entry *entry = malloc(sizeof *entry + size);
    LOCKSTEP_ASSERT(entry != NULL);
    entry->index = index;
    entry->term = term;
    entry->refs = 1;
    entry->size = (uint32_t)size;
    entry->type = (uint8_t)type;
    return entry;
}

struct log_entry *log_entry_ref(struct log_entry *entry)
{
    LOCKSTEP_ASSERT(entry->refs > 0 && entry->refs < UINT32_MAX);
    entry->refs++;
    return entry;
}

void log_entry_unref(struct log_entry *entry)
{
    if (entry == NULL) {
        return;
    }
    LOCKSTEP_ASSERT(entry->refs > 0);
    if (--entry->refs == 0) {
        free(entry);
    }
}

/* ---- failures ---- */

bool log_check(struct log_failure *failure, int64_t error, const char *operation, const char *name)
{
    if (error >= 0) {
        return true;
    }
    failure->error = (int)error;
    failure->operation = operation;
    (void)snprintf(failure->name, sizeof failure->name, "%s", name);
    return false;
}

void log_failure_text(const struct log_failure *failure, char *message, size_t message_size)
{
    if (failure->error == -ENOSPC || failure->error == -EDQUOT) {
        (void)snprintf(message, message_size,
                       "disk full: cannot %s %s: %s; free some space, then start again", failure->operation,
                       failure->name, strerror(-failure->error));
        return;
    }
    (void)snprintf(message, message_size,
                   "cannot %s %s: %s; check the disk and the kernel's log before starting again",
                   failure->operation, failure->name, strerror(-failure->error));
}

void log_fail(struct log *log, const struct log_failure *failure)
{
    char message[LOG_MESSAGE_BYTES];
    if (log->failed) {
        return;
    }
    log->failed = true; /* L5 */
    log_failure_text(failure, message, sizeof message);
    log->callbacks.failed(log->callbacks.ctx, message);
}

/* ---- what is there ---- */

bool log_idle(const struct log *log)
{
    return log->jobs == 0;
}

uint64_t log_first_index(const struct log *log)
{
    return log->table.first;
}

uint64_t log_last_index(const struct log *log)
{
    return log->table.last;
}

uint64_t log_durable_index(const struct log *log)
{
    return log->durable;
}

uint64_t log_bytes(const struct log *log)
{
    return log->table.payload_bytes;
}

uint64_t log_held_bytes(const struct log *log)
{
    return log->table.held_bytes;
}

uint64_t log_term(const struct log *log, uint64_t index)
{
    const struct log_table *table = &log->table;
    if (index + 1 == table->first) {
        return table->prev_term;
    }
    return index >= table->first && index <= table->last ? log_table_slot(table, index)->term : 0;
}

struct log_entry *log_get(const struct log *log, uint64_t index)
{
    const struct log_table *table = &log->table;
    return index >= table->first && index <= table->last ? log_table_slot(table, index)->entry : NULL;
}

bool log_keeps(const struct log *log, uint64_t first, uint64_t bytes_max)
{
    const struct log_table *table = &log->table;
    uint64_t bytes = 0, most = log->options.cache_bytes < bytes_max ? log->options.cache_bytes : bytes_max;
    if (first < table->cached_first) {
        return false;
    }
    for (uint64_t index = first; index <= table->last && bytes <= most; index++) {
        bytes += log_table_slot(table, index)->size;
    }
    return bytes <= most;
}

/* ---- appending ---- */

/* L2: nothing of it reaches the disk; the record that takes the place of `index` voids the rest. */
static void truncate(struct log *log, uint64_t index)
{
    log_table_truncate(&log->table, index);
    log_write_void(&log->write, index);
    log->durable = log->durable >= index ? index - 1 : log->durable;
    log->released = log->released >= index ? index - 1 : log->released;
    log->queued_first = log->queued_first > index ? index : log->queued_first;
}

void log_append(struct log *log, struct log_entry *const *entries, size_t count)
{
    if (count == 0) {
        return;
    }
    LOCKSTEP_ASSERT(entries[0]->index >= log->table.first);
    LOCKSTEP_ASSERT(entries[0]->index <= log->table.last + 1);
    if (entries[0]->index <= log->table.last) {
        truncate(log, entries[0]->index);
    }
    for (size_t i = 0; i < count; i++) {
        struct log_entry *entry = entries[i];
        LOCKSTEP_ASSERT(entry->index == log->table.last + 1); /* L2 */
        LOCKSTEP_ASSERT(entry->type >= LOG_RECORD_ENTRY_MIN && entry->type <= LOG_RECORD_ENTRY_MAX);
        (void)log_table_append(&log->table, entry->term, entry->size, entry);
    }
}

void log_flush(struct log *log)
{
    log->flush_wanted = true;
    log_write_start(log);
}

/* ---- memory ---- */

void log_settle(struct log *log)
{
    uint64_t settled = log->durable < log->released ? log->durable : log->released;
    log_table_settle(&log->table, settled, log->options.cache_bytes);
}

void log_release(struct log *log, uint64_t index)
{
    LOCKSTEP_ASSERT(index <= log->table.last);
    if (index > log->released) {
        log->released = index;
        log_settle(log);
    }
}

/* ---- removal ---- */

void log_remove_prefix(struct log *log, uint64_t index)
{
    struct log_table *table = &log->table;
    LOCKSTEP_ASSERT(index <= log->durable);
    if (index < table->first) {
        return;
    }
    /* Entries go by whole segments. If the next entry is not durable, older ones of its index and above may still be on
     * disk and come back with a crash: they begin in the segment of `index` at the earliest, so that one stays. */
    uint64_t next = index < log->durable ? index + 1 : index;
    uint64_t keep = log_table_slot(table, next)->segment->number;
    uint64_t first = table->first;
    while (first <= index && log_table_slot(table, first)->segment->number < keep) {
        first++;
    }
    log_table_remove(table, first);
    log_segments_trim(log);
}

void log_reset(struct log *log, uint64_t index, uint64_t term, void (*done)(void *ctx), void *ctx)
{
    struct log_reset_waiter *waiter = malloc(sizeof *waiter);
    LOCKSTEP_ASSERT(waiter != NULL);
    *waiter = (struct log_reset_waiter){.done = done, .ctx = ctx, .next = log->reset.waiters};
    log->reset = (struct log_reset){.queued = true, .index = index, .term = term, .waiters = waiter};
    log_table_reset(&log->table, index + 1, term);
    log_write_void(&log->write, 0);
    log->durable = log->released = index;
    log->queued_first = index + 1;
    log_write_start(log);
}

/* ---- closing ---- */

static void free_segments(struct log *log)
{
    while (log->oldest != NULL) {
        struct log_segment *segment = log->oldest;
        log->oldest = segment->next;
        if (segment->file != NULL) {
            log->disk->ops->close(log->disk, segment->file);
        }
        free(segment);
    }
}

static void free_waiters(struct log_reset_waiter *waiter)
{
    while (waiter != NULL) {
        struct log_reset_waiter *next = waiter->next;
        free(waiter);
        waiter = next;
    }
}

void log_close(struct log *log)
{
    if (log == NULL) {
        return;
    }
    LOCKSTEP_ASSERT(log_idle(log));
    log_table_done(&log->table);
    free_waiters(log->reset.waiters);
    free_waiters(log->write.reset.waiters);
    free_segments(log);
    if (log->prepare.segment != NULL) {
        if (log->prepare.segment->file != NULL) {
            log->disk->ops->close(log->disk, log->prepare.segment->file);
        }
        free(log->prepare.segment);
    }
    if (log->watermark.file != NULL) {
        log->disk->ops->close(log->disk, log->watermark.file);
    }
    free(log->write.entries);
    free(log->write.buffer);
    free(log);
}
