/* log_open: read every record of every segment, tell a torn tail from rot (L3), cut the tail, make the rest durable.
 *
 * Segments are read from the oldest on; each begins with the sequence at which the one before ended. Where no further
 * record is found (the stop, at sequence s) there are two possibilities:
 *  - rot: a record or segment header further on attests that s was durable when it was written (its `batch` or first
 *    sequence is greater than s), or the watermark says that s was acknowledged. That is an error, never a shorter log.
 *  - otherwise s is of the last write, which did not finish: it and all of its neighbours that are beyond s are cut. That is
 *    durable before log_open() returns, so that they can never line up with records written later. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/log_internal.h"
#include "node/replica/little_endian.h"

#define LOG_INDEX_MAX (UINT64_MAX / 4) /* of an entry; no count from it overflows */
#define WHAT_TO_DO                                                                                       \
    "; do not edit it: put back what was removed or damaged, if there is a copy of this very state; else see " \
    "docs/operations.md, \"A node is lost\""

struct recovery {
    struct log *log;
    uint64_t snapshot_index;
    uint64_t *numbers; /* of the segments found, ascending */
    size_t count, capacity;
    uint8_t *bytes; /* the segment at hand */
    size_t size, bytes_capacity;
    bool begun;            /* a header was accepted: log->sequence is what comes next */
    bool has_entries;      /* first..last is established */
    uint64_t batch;        /* of the newest record */
    uint64_t batch_offset; /* where its write began, in `current` */
    size_t next;           /* place in numbers of the segment after `current` */
    char *message;
    size_t message_size;
};

static bool __attribute__((format(printf, 2, 3))) refuse(struct recovery *recovery, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(recovery->message, recovery->message_size, format, args);
    va_end(args);
    return false;
}

static bool check(struct recovery *recovery, int64_t error, const char *operation, const char *name)
{
    struct log_failure failure = {.error = 0};
    if (log_check(&failure, error, operation, name)) {
        return true;
    }
    log_failure_text(&failure, recovery->message, recovery->message_size);
    return false;
}

/* ---- which files there are ---- */

static void note_segment(void *ctx, const char *entry)
{
    struct recovery *recovery = ctx;
    uint64_t number = log_segment_number(entry);
    if (number == 0) {
        return;
    }
    if (recovery->count == recovery->capacity) {
        recovery->capacity = recovery->capacity == 0 ? 16 : recovery->capacity * 2;
        recovery->numbers = reallocarray(recovery->numbers, recovery->capacity, sizeof *recovery->numbers);
        LOCKSTEP_ASSERT(recovery->numbers != NULL);
    }
    recovery->numbers[recovery->count++] = number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool find_segments(struct recovery *recovery)
{
    struct disk *disk = recovery->log->disk;
    int rv = disk->ops->make_dir(disk, "log");
    if (!check(recovery, rv == -EEXIST ? 0 : rv, "create directory", "log") ||
        !check(recovery, disk->ops->sync_dir(disk, ""), "sync directory", ".") ||
        !check(recovery, disk->ops->list(disk, "log", note_segment, recovery), "list directory", "log")) {
        return false;
    }
    if (recovery->count > 0) {
        qsort(recovery->numbers, recovery->count, sizeof *recovery->numbers, by_number);
    }
    return true;
}

/* Read a whole segment file into recovery->bytes. */
static bool read_file(struct recovery *recovery, struct disk_file *file, const char *name)
{
    struct disk *disk = recovery->log->disk;
    int64_t size = disk->ops->size(disk, file);
    if (!check(recovery, size, "get the size of", name)) {
        return false;
    }
    if ((size_t)size > recovery->bytes_capacity) {
        free(recovery->bytes);
        recovery->bytes_capacity = (size_t)size;
        recovery->bytes = malloc(recovery->bytes_capacity);
        if (recovery->bytes == NULL) {
            return refuse(recovery, "no memory to read %s (%" PRId64 " bytes)", name, size);
        }
    }
    int64_t got = size == 0 ? 0 : disk->ops->read(disk, file, recovery->bytes, (size_t)size, 0);
    if (!check(recovery, got, "read", name)) {
        return false;
    }
    recovery->size = (size_t)got;
    return true;
}

static bool open_segment(struct recovery *recovery, uint64_t number, struct log_segment **ret_segment)
{
    struct disk *disk = recovery->log->disk;
    char name[LOG_NAME_BYTES];
    log_segment_name(number, name);
    struct log_segment *segment = calloc(1, sizeof *segment);
    LOCKSTEP_ASSERT(segment != NULL);
    segment->number = number;
    if (!check(recovery, disk->ops->open(disk, name, DISK_READ | DISK_WRITE, &segment->file), "open", name)) {
        free(segment);
        return false;
    }
    if (!read_file(recovery, segment->file, name)) {
        disk->ops->close(disk, segment->file);
        free(segment);
        return false;
    }
    segment->size = recovery->size;
    *ret_segment = segment;
    return true;
}

/* ---- records ---- */

/* A checksum that is right does not make a number possible: the tables count on from it. */
static bool index_possible(uint64_t index)
{
    return index <= LOG_INDEX_MAX;
}

static void take_reset(struct recovery *recovery, const struct log_record *record)
{
    log_table_reset(&recovery->log->table, record->index + 1, record->term);
    recovery->has_entries = true;
}

static void take_entry(struct recovery *recovery, const struct log_record *record, uint64_t offset)
{
    struct log *log = recovery->log;
    struct log_entry *entry = NULL;
    if (record->index <= log->table.last) {
        log_table_truncate(&log->table, record->index); /* L2 */
    }
    if (record->index > recovery->snapshot_index) {
        entry =
            log_entry_create(record->index, record->term, (enum log_entry_type)record->kind, record->size);
        memcpy(entry->data, record->data, record->size);
    }
    struct log_slot *slot = log_table_append(&log->table, record->term, record->size, entry);
    slot->segment = log->current;
    slot->offset = (uint32_t)offset;
    log_entry_unref(entry);
}

static bool take_record(struct recovery *recovery, const struct log_record *record, uint64_t offset)
{
    struct log_table *table = &recovery->log->table;
    if (!index_possible(record->index) || (record->index == 0 && record->kind != LOG_RECORD_RESET)) {
        char name[LOG_NAME_BYTES];
        log_segment_name(recovery->log->current->number, name);
        return refuse(recovery, "%s at offset %" PRIu64 ": no record has index %" PRIu64 WHAT_TO_DO, name, offset,
                      record->index);
    }
    if (record->kind == LOG_RECORD_RESET) {
        take_reset(recovery, record);
        return true;
    }
    /* The oldest segment may begin with entries that were truncated later: the log begins where it is overridden. */
    if (!recovery->has_entries || record->index < table->first) {
        uint64_t prev_term = record->index == table->first ? table->prev_term : 0;
        log_table_reset(table, record->index, prev_term);
        recovery->has_entries = true;
    }
    if (record->index > table->last + 1) {
        char name[LOG_NAME_BYTES];
        log_segment_name(recovery->log->current->number, name);
        return refuse(recovery,
                      "%s at offset %" PRIu64 ": entry %" PRIu64 " follows entry %" PRIu64
                      ": the log has a gap" WHAT_TO_DO,
                      name, offset, record->index, table->last);
    }
    take_entry(recovery, record, offset);
    return true;
}

/* The records of `current`, from log->tail on, as far as they follow each other. */
static bool take_records(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_record record;
    while (log->tail < recovery->size &&
           log_record_decode(recovery->bytes + log->tail, recovery->size - (size_t)log->tail, log->options.checksum_seed,
                             &record)) {
        bool follows = record.sequence == log->sequence && record.batch >= recovery->batch &&
                       record.batch <= record.sequence && record.segment == (uint32_t)log->current->number;
        if (!follows) {
            break;
        }
        if (record.batch != recovery->batch) {
            recovery->batch = record.batch;
            recovery->batch_offset = log->tail == LOG_SEGMENT_HEADER_BYTES ? 0 : log->tail;
        }
        if (!take_record(recovery, &record, log->tail)) {
            return false;
        }
        log->tail += log_record_bytes(record.size);
        log->sequence++;
    }
    return true;
}

/* ---- headers ---- */

static bool header_is_ours(struct recovery *recovery, const struct log_segment_header *header,
                           uint64_t number)
{
    const struct log_options *options = &recovery->log->options;
    char name[LOG_NAME_BYTES];
    log_segment_name(number, name);
    if (header->version != LOG_FORMAT_VERSION) {
        return refuse(recovery,
                      "%s has format version %" PRIu32
                      ", this program knows version %d: start the version that "
                      "wrote it",
                      name, header->version, LOG_FORMAT_VERSION);
    }
    if (header->cluster_id != options->cluster_id || header->node_id != options->node_id) {
        return refuse(recovery,
                      "%s belongs to node %" PRIu64 " of cluster %" PRIu64 ", not to node %" PRIu64
                      " of cluster %" PRIu64 ": give each node its own directory",
                      name, header->node_id, header->cluster_id, options->node_id, options->cluster_id);
    }
    if (header->number != number) {
        return refuse(recovery,
                      "%s says that it is segment %" PRIu64 ": it was renamed; give it its name back", name,
                      header->number);
    }
    if (!index_possible(header->prev_index) || header->first_sequence == 0) {
        return refuse(recovery, "%s begins with record %" PRIu64 " behind entry %" PRIu64 ", which can not be" WHAT_TO_DO,
                      name, header->first_sequence, header->prev_index);
    }
    return true;
}

static void accept_header(struct recovery *recovery, const struct log_segment_header *header)
{
    struct log *log = recovery->log;
    if (!recovery->begun) {
        log->sequence = header->first_sequence;
        log_table_reset(&log->table, header->prev_index + 1, header->prev_term);
        recovery->begun = true;
    }
    log->tail = LOG_SEGMENT_HEADER_BYTES;
    recovery->batch_offset = 0;
}

static void drop_segment(struct recovery *recovery, struct log_segment *segment)
{
    recovery->log->disk->ops->close(recovery->log->disk, segment->file);
    free(segment);
}

/* Take the segments one after the other, up to the stop. */
static bool take_segments(struct recovery *recovery)
{
    struct log *log = recovery->log;
    for (; recovery->next < recovery->count; recovery->next++) {
        uint64_t number = recovery->numbers[recovery->next];
        struct log_segment *segment;
        struct log_segment_header header;
        if (recovery->next > 0 && number != recovery->numbers[recovery->next - 1] + 1) {
            return true; /* One is missing: the search beyond the stop decides. */
        }
        if (!open_segment(recovery, number, &segment)) {
            return false;
        }
        bool valid = log_segment_header_decode(recovery->bytes, recovery->size, &header);
        bool ours = !valid || header_is_ours(recovery, &header, number);
        if (!valid || !ours || (recovery->begun && header.first_sequence != log->sequence)) {
            drop_segment(recovery, segment);
            return ours;
        }
        if (log->current != NULL) {
            log->disk->ops->close(log->disk, log->current->file);
            log->current->file = NULL;
        }
        log_segment_append(log, segment);
        accept_header(recovery, &header);
        if (!take_records(recovery)) {
            return false;
        }
    }
    return true;
}

/* ---- beyond the stop ---- */

static bool refuse_rot(struct recovery *recovery, const char *evidence)
{
    const struct log *log = recovery->log;
    char name[LOG_NAME_BYTES];
    uint64_t number = log->current != NULL ? log->current->number : recovery->numbers[0];
    log_segment_name(number, name);
    return refuse(recovery,
                  "%s is damaged at offset %" PRIu64 ": record %" PRIu64 " was acknowledged (%s), and is "
                  "missing or bad" WHAT_TO_DO,
                  name, log->tail, log->sequence, evidence);
}

/* Older segments are removed only when a newer one has its header, durably. */
static bool refuse_oldest(struct recovery *recovery)
{
    char name[LOG_NAME_BYTES];
    log_segment_name(recovery->numbers[0], name);
    return refuse(recovery,
                  "%s is the oldest segment of the log and its header is damaged at offset 0" WHAT_TO_DO,
                  name);
}

/* Search the bytes at hand, from `from` on, for a record that attests that log->sequence was durable. */
static bool attests(const struct recovery *recovery, uint64_t number, uint64_t from)
{
    struct log_record record;
    for (size_t at = (size_t)from; at + LOG_RECORD_HEADER_BYTES <= recovery->size;
         at += LOG_RECORD_ALIGNMENT) {
        const uint8_t *bytes = recovery->bytes + at;
        if (get_u32(bytes + 40) == (uint32_t)number && get_u64(bytes + 16) > recovery->log->sequence &&
            log_record_decode(bytes, recovery->size - at, recovery->log->options.checksum_seed, &record)) {
            return true;
        }
    }
    return false;
}

static bool segment_attests(const struct recovery *recovery, uint64_t number)
{
    struct log_segment_header header;
    bool valid = log_segment_header_decode(recovery->bytes, recovery->size, &header);
    return (valid && header.first_sequence != recovery->log->sequence) || attests(recovery, number, 0);
}

/* L3: is what ends here the last write that did not finish, or is something missing that was acknowledged? */
static bool tail_is_torn(struct recovery *recovery)
{
    struct log *log = recovery->log;
    if (log->watermark.sequence >= log->sequence) {
        return refuse_rot(recovery, "the watermark says so");
    }
    if (log->current != NULL) {
        char name[LOG_NAME_BYTES];
        log_segment_name(log->current->number, name);
        if (!read_file(recovery, log->current->file, name)) {
            return false;
        }
        if (attests(recovery, log->current->number, log->tail)) {
            return refuse_rot(recovery, "a later record in the same file says so");
        }
    }
    for (size_t i = recovery->next; i < recovery->count; i++) {
        struct log_segment *segment;
        if (!open_segment(recovery, recovery->numbers[i], &segment)) {
            return false;
        }
        bool rot = segment_attests(recovery, segment->number);
        drop_segment(recovery, segment);
        if (rot) {
            return refuse_rot(recovery, "a later segment says so");
        }
    }
    return true;
}

/* Segments beyond the stop hold nothing that counts: prepared, or torn. The newest first, so that there is never a gap. */
static bool remove_rest(struct recovery *recovery)
{
    struct disk *disk = recovery->log->disk;
    while (recovery->count > recovery->next) {
        char name[LOG_NAME_BYTES];
        log_segment_name(recovery->numbers[--recovery->count], name);
        if (!check(recovery, disk->ops->unlink(disk, name), "remove", name) ||
            !check(recovery, disk->ops->sync_dir(disk, "log"), "sync directory", "log")) {
            return false;
        }
    }
    return true;
}

/* Zeros from the stop on, as far as there is anything else. */
static bool cut(struct recovery *recovery, const char *name)
{
    struct log *log = recovery->log;
    size_t from = (size_t)log->tail, to = recovery->size;
    while (to > from && recovery->bytes[to - 1] == 0) {
        to--;
    }
    if (to <= from) {
        return true;
    }
    memset(recovery->bytes + from, 0, to - from);
    int rv = log->disk->ops->write(log->disk, log->current->file, recovery->bytes + from, to - from, from);
    return check(recovery, rv, "write to", name);
}

/* What was found and not known to be synced is written once more: if a sync failed before, the kernel may hold it in
 * memory as if it were on disk, and only a new write and its sync tell. L1: after this all of first..last is durable. */
static bool confirm(struct recovery *recovery, const char *name)
{
    struct log *log = recovery->log;
    struct log_failure failure = {.error = 0};
    if (log->watermark.sequence + 1 < log->sequence || log->tail == LOG_SEGMENT_HEADER_BYTES) {
        size_t from = (size_t)recovery->batch_offset;
        int rv = log->disk->ops->write(log->disk, log->current->file, recovery->bytes + from,
                                       (size_t)log->tail - from, from);
        if (!check(recovery, rv, "write to", name)) {
            return false;
        }
    }
    if (!check(recovery, log->disk->ops->sync(log->disk, log->current->file), "sync", name)) {
        return false;
    }
    if (!log_watermark_write(log, log->sequence - 1, true, &failure)) {
        log_failure_text(&failure, recovery->message, recovery->message_size);
        return false;
    }
    return true;
}

/* ---- the whole ---- */

static bool begin_afresh(struct recovery *recovery, uint64_t first_index)
{
    struct log *log = recovery->log;
    struct log_failure failure = {.error = 0};
    struct log_segment *segment = log_segment_create(log, 1, &failure);
    if (segment == NULL) {
        log_failure_text(&failure, recovery->message, recovery->message_size);
        return false;
    }
    log->sequence = 1;
    log_table_reset(&log->table, first_index, 0);
    log_segment_append(log, segment);
    return true;
}

static bool open_watermark(struct recovery *recovery)
{
    struct log *log = recovery->log;
    enum log_watermark_state state;
    struct log_failure failure = {.error = 0};
    bool fine = log_watermark_open(log, &state, &failure);
    if (fine && state == LOG_WATERMARK_FOREIGN) {
        return refuse(recovery,
                      "log/watermark belongs to another node or cluster, not to node %" PRIu64
                      " of cluster %" PRIu64 ": give each node its own directory",
                      log->options.node_id, log->options.cluster_id);
    }
    if (fine && state != LOG_WATERMARK_VALID) {
        if (recovery->count > 0) {
            return refuse(recovery,
                          "log/watermark is %s: what this node acknowledged is not known" WHAT_TO_DO,
                          state == LOG_WATERMARK_MISSING ? "missing" : "damaged");
        }
        if (recovery->snapshot_index > 0) {
            return refuse(recovery,
                          "the directory has a snapshot and no log: the log was removed" WHAT_TO_DO);
        }
        fine = log_watermark_create(log, &failure);
    }
    if (!fine) {
        log_failure_text(&failure, recovery->message, recovery->message_size);
    }
    return fine;
}

static bool recover(struct recovery *recovery, uint64_t first_index_if_empty)
{
    struct log *log = recovery->log;
    if (!find_segments(recovery) || !open_watermark(recovery)) {
        return false;
    }
    log->sequence = 1;
    if (recovery->count == 0 && log->watermark.sequence > 0) {
        return refuse(recovery,
                      "the log is gone: record %" PRIu64
                      " was acknowledged and there is no segment" WHAT_TO_DO,
                      log->watermark.sequence);
    }
    if (!take_segments(recovery)) {
        return false;
    }
    if (log->current == NULL && recovery->count > 0 && recovery->numbers[0] != 1) {
        return refuse_oldest(recovery);
    }
    if (!tail_is_torn(recovery) || !remove_rest(recovery)) {
        return false;
    }
    if (log->current == NULL) {
        return begin_afresh(recovery, first_index_if_empty);
    }
    char name[LOG_NAME_BYTES];
    log_segment_name(log->current->number, name);
    return read_file(recovery, log->current->file, name) && cut(recovery, name) && confirm(recovery, name);
}

static bool check_length(struct recovery *recovery, uint64_t watermark_index)
{
    const struct log_table *table = &recovery->log->table;
    if (table->last >= watermark_index || recovery->snapshot_index >= watermark_index) {
        return true;
    }
    return refuse(recovery,
                  "the log ends at entry %" PRIu64 ", and entry %" PRIu64
                  " was acknowledged: it holds less than "
                  "it should" WHAT_TO_DO,
                  table->last, watermark_index);
}

static struct log *create(struct disk *disk, const struct log_options *options,
                          const struct log_callbacks *callbacks)
{
    struct log *log = calloc(1, sizeof *log);
    LOCKSTEP_ASSERT(log != NULL);
    log->disk = disk;
    log->options = *options;
    log->callbacks = *callbacks;
    if (log->options.segment_bytes == 0) {
        log->options.segment_bytes = LOG_SEGMENT_BYTES_DEFAULT;
    }
    if (log->options.cache_bytes == 0) {
        log->options.cache_bytes = LOG_CACHE_BYTES_DEFAULT;
    }
    LOCKSTEP_ASSERT(log->options.segment_bytes >= 4096 && log->options.segment_bytes <= UINT32_MAX / 2);
    log_table_init(&log->table, 1, 0);
    return log;
}

struct log *log_open(struct disk *disk, const struct log_options *options,
                     const struct log_callbacks *callbacks, uint64_t first_index_if_empty,
                     uint64_t watermark_index, uint64_t snapshot_index, char *message, size_t message_size)
{
    struct recovery recovery = {
        .log = create(disk, options, callbacks),
        .snapshot_index = snapshot_index,
        .message = message,
        .message_size = message_size,
    };
    struct log *log = recovery.log;
    bool fine = recover(&recovery, first_index_if_empty) && check_length(&recovery, watermark_index);
    free(recovery.numbers);
    free(recovery.bytes);
    if (!fine) {
        log_close(log);
        return NULL;
    }
    log->durable = log->table.last;
    log->released = snapshot_index < log->table.last ? snapshot_index : log->table.last;
    log->queued_first = log->table.last + 1;
    log->durable_segment = log->current;
    log_settle(log);
    return log;
}
