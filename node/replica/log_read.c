/* Entries read back from disk for a peer that lags. A read is bound to the places that the entries have when it is asked
 * for; if the log has moved on when it is done, nothing is delivered. Runs on the snapshot's lane: a peer that lags must
 * not delay the log's writes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/log_internal.h"

struct read_item {
    struct log_entry *entry; /* from memory, or as read */
    struct log_segment *segment;
    uint32_t offset, size;
    uint64_t term;
};

struct read {
    struct disk_job job;
    struct log *log;
    uint64_t first;
    size_t count;
    struct read_item *items;
    log_read_cb done;
    void *ctx;
    struct log_failure failure;
};

/* ---- on the worker ---- */

static struct log_entry *decode(const struct log *log, const struct read_item *item, uint64_t index, const uint8_t *bytes,
                                size_t size)
{
    struct log_record record;
    bool same = log_record_decode(bytes, size, log->options.checksum_seed, &record) && record.index == index &&
                record.term == item->term && record.size == item->size &&
                record.segment == (uint32_t)item->segment->number;
    if (!same) {
        return NULL;
    }
    struct log_entry *entry =
        log_entry_create(index, record.term, (enum log_entry_type)record.kind, record.size);
    memcpy(entry->data, record.data, record.size);
    return entry;
}

/* How many items from `from` on lie one behind the other: they are read at once. */
static size_t run_length(const struct read *read, size_t from)
{
    size_t n = from + 1;
    while (n < read->count && read->items[n].entry == NULL &&
           read->items[n].segment == read->items[n - 1].segment &&
           read->items[n].offset == read->items[n - 1].offset + log_record_bytes(read->items[n - 1].size)) {
        n++;
    }
    return n - from;
}

/* Opened for the read: only the current segment is kept open. The name is there: removals are on this lane, and nobody asks for
 * what one that waits is to remove. */
static int64_t read_bytes(struct read *read, const char *name, uint8_t *bytes, size_t size, uint64_t offset)
{
    struct disk *disk = read->log->disk;
    struct disk_file *file;
    int rv = disk->ops->open(disk, name, DISK_READ, &file);
    if (!log_check(&read->failure, rv, "open", name)) {
        return rv;
    }
    int64_t got = disk->ops->read(disk, file, bytes, size, offset);
    disk->ops->close(disk, file);
    (void)log_check(&read->failure, got, "read", name);
    return got;
}

static bool read_run(struct read *read, size_t from, size_t count)
{
    const struct read_item *first = &read->items[from], *last = first + count - 1;
    size_t size = (size_t)(last->offset + log_record_bytes(last->size) - first->offset);
    uint8_t *bytes = malloc(size);
    char name[LOG_NAME_BYTES];
    LOCKSTEP_ASSERT(bytes != NULL);
    log_segment_name(first->segment->number, name);
    int64_t got = read_bytes(read, name, bytes, size, first->offset);
    bool fine = got >= 0;
    for (size_t i = from; fine && i < from + count; i++) {
        struct read_item *item = &read->items[i];
        size_t at = item->offset - first->offset;
        item->entry =
            at < (size_t)got ? decode(read->log, item, read->first + i, bytes + at, (size_t)got - at) : NULL;
        /* L3: what was once durable is not what it was. */
        fine = item->entry != NULL || log_check(&read->failure, -EBADMSG, "read back an entry of", name);
    }
    free(bytes);
    return fine;
}

static void read_work(struct disk_job *job)
{
    struct read *read = (struct read *)job;
    size_t i = 0;
    while (i < read->count) {
        size_t run = 1;
        if (read->items[i].entry == NULL) {
            run = run_length(read, i);
            if (!read_run(read, i, run)) {
                return;
            }
        }
        i += run;
    }
}

/* ---- on the loop ---- */

/* The entries are still those that were asked for. One that came from memory may have got its place meanwhile. */
static bool still_stands(const struct read *read)
{
    const struct log_table *table = &read->log->table;
    if (read->count == 0 || read->first < table->first || read->first + read->count - 1 > table->last) {
        return false;
    }
    for (size_t i = 0; i < read->count; i++) {
        const struct read_item *item = &read->items[i];
        const struct log_slot *slot = log_table_slot(table, read->first + i);
        bool moved =
            item->segment != NULL && (slot->segment != item->segment || slot->offset != item->offset);
        if (slot->term != item->term || moved) {
            return false;
        }
    }
    return true;
}

static void read_done(struct disk_job *job)
{
    struct read *read = (struct read *)job;
    struct log *log = read->log;
    struct log_failure failure = read->failure;
    bool fine = failure.error == 0 && still_stands(read);
    log_read_cb done = read->done;
    void *ctx = read->ctx;
    size_t count = fine ? read->count : 0;
    struct log_entry **entries = calloc(read->count + 1, sizeof(struct log_entry *));
    LOCKSTEP_ASSERT(entries != NULL);
    for (size_t i = 0; i < read->count; i++) {
        if (fine) {
            entries[i] = read->items[i].entry;
        } else {
            log_entry_unref(read->items[i].entry);
        }
    }
    free(read->items);
    free(read);
    log->jobs--;
    done(ctx, entries, count);
    free(entries);
    if (failure.error != 0) {
        log_fail(log, &failure);
    }
}

static void add_items(struct read *read, size_t count, size_t bytes_max)
{
    const struct log_table *table = &read->log->table;
    size_t bytes = 0;
    for (size_t i = 0; i < count && read->first + i <= table->last; i++) {
        const struct log_slot *slot = log_table_slot(table, read->first + i);
        if (i > 0 && (bytes == bytes_max || slot->size > bytes_max - bytes)) {
            break;
        }
        bytes = slot->size > bytes_max - bytes ? bytes_max : bytes + slot->size;
        read->items[i] = (struct read_item){
            .entry = slot->entry == NULL ? NULL : log_entry_ref(slot->entry),
            .segment = slot->segment,
            .offset = slot->offset,
            .size = slot->size,
            .term = slot->term,
        };
        LOCKSTEP_ASSERT(slot->entry != NULL || slot->segment != NULL);
        read->count++;
    }
}

void log_read(struct log *log, uint64_t first, size_t count, size_t bytes_max, log_read_cb done, void *ctx)
{
    struct read *read = calloc(1, sizeof *read);
    LOCKSTEP_ASSERT(read != NULL);
    LOCKSTEP_ASSERT(count > 0);
    read->log = log;
    read->first = first;
    read->done = done;
    read->ctx = ctx;
    read->job = (struct disk_job){.work = read_work, .done = read_done};
    if (first >= log->table.first && first <= log->table.last) {
        uint64_t there = log->table.last + 1 - first;
        read->items = calloc(count < there ? count : (size_t)there, sizeof *read->items);
        LOCKSTEP_ASSERT(read->items != NULL);
        add_items(read, count, bytes_max);
    }
    log->jobs++;
    log->disk->ops->submit(log->disk, DISK_LANE_SNAPSHOT, &read->job);
}
