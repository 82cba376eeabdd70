/* The next segment, made before it is needed, and the end of those that are not needed any more. Owns log->prepare and the
 * list of segments. Space is reserved and the name made durable first; then zeros are written and synced slice by slice,
 * at twice the pace of the log itself, because a write into reserved but unwritten space costs the file system a journal
 * commit at every sync. All of it on the snapshot's lane, but for a segment that a write is already waiting for. */
#include <errno.h>
#include <stdlib.h>

#include "node/replica/log_internal.h"

static const uint8_t zeros[LOG_ZERO_BYTES];

/* ---- making one, on the worker or in log_open ---- */

/* Space and name, durable. A file of that name can only be one that was begun and not used. */
static bool create(struct log *log, struct log_segment *segment, struct log_failure *failure)
{
    const struct disk_ops *ops = log->disk->ops;
    char name[LOG_NAME_BYTES];
    log_segment_name(segment->number, name);
    (void)ops->unlink(log->disk, name);
    int rv =
        ops->open(log->disk, name, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &segment->file);
    return log_check(failure, rv, "create", name) &&
           log_check(failure, ops->allocate(log->disk, segment->file, segment->size), "reserve space for",
                     name) &&
           log_check(failure, ops->sync(log->disk, segment->file), "sync", name) &&
           log_check(failure, ops->sync_dir(log->disk, "log"), "sync directory", "log");
}

static bool write_zeros(struct log *log, struct log_segment *segment, uint64_t *zeroed,
                        struct log_failure *failure)
{
    const struct disk_ops *ops = log->disk->ops;
    uint64_t left = segment->size - *zeroed;
    size_t size = left < sizeof zeros ? (size_t)left : sizeof zeros;
    char name[LOG_NAME_BYTES];
    log_segment_name(segment->number, name);
    if (!log_check(failure, ops->write(log->disk, segment->file, zeros, size, *zeroed), "write to", name) ||
        !log_check(failure, ops->sync(log->disk, segment->file), "sync", name)) {
        return false;
    }
    *zeroed += size;
    return true;
}

static void discard(struct log *log, struct log_segment *segment)
{
    char name[LOG_NAME_BYTES];
    if (segment->file != NULL) {
        log->disk->ops->close(log->disk, segment->file);
        segment->file = NULL;
    }
    log_segment_name(segment->number, name);
    (void)log->disk->ops->unlink(log->disk, name); /* If it stays, create() or the next start removes it. */
}

static struct log_segment *segment_new(uint64_t number, uint64_t size)
{
    struct log_segment *segment = calloc(1, sizeof *segment);
    LOCKSTEP_ASSERT(segment != NULL);
    segment->number = number;
    segment->size = size;
    return segment;
}

struct log_segment *log_segment_create(struct log *log, uint64_t number, struct log_failure *failure)
{
    struct log_segment *segment = segment_new(number, log->options.segment_bytes);
    uint64_t zeroed = 0;
    bool fine = create(log, segment, failure);
    while (fine && zeroed < segment->size) {
        fine = write_zeros(log, segment, &zeroed, failure);
    }
    if (fine) {
        return segment;
    }
    discard(log, segment);
    free(segment);
    return NULL;
}

/* ---- the next one ---- */

static void prepare_work(struct disk_job *job)
{
    struct log_prepare *prepare = (struct log_prepare *)job;
    struct log *log = prepare->log;
    if (!prepare->created) {
        prepare->created = create(log, prepare->segment, &prepare->failure);
    } else {
        (void)write_zeros(log, prepare->segment, &prepare->zeroed, &prepare->failure);
    }
    if (prepare->failure.error != 0) {
        discard(log, prepare->segment);
    }
}

static void forget(struct log_prepare *prepare)
{
    free(prepare->segment);
    prepare->segment = NULL;
    prepare->created = false;
    prepare->zeroed = 0;
}

static void prepare_done(struct disk_job *job)
{
    struct log_prepare *prepare = (struct log_prepare *)job;
    struct log *log = prepare->log;
    bool needed = prepare->needed;
    prepare->active = prepare->needed = false;
    log->jobs--;
    if (prepare->failure.error != 0) {
        forget(prepare);
        bool full = prepare->failure.error == -ENOSPC || prepare->failure.error == -EDQUOT;
        if (!full || prepare->retry_tail > log->current->size) {
            log_fail(log, &prepare->failure);
            return;
        }
        /* It holds nothing yet: there is still time for space to come back. */
        prepare->retry_tail = log->tail + log->current->size / 8;
    }
    if (needed) {
        log_write_start(log);
    } else {
        log_prepare_pace(log);
    }
}

static void submit(struct log *log, enum disk_lane lane)
{
    struct log_prepare *prepare = &log->prepare;
    if (prepare->segment == NULL) {
        prepare->segment = segment_new(log->current->number + 1, log->options.segment_bytes);
    }
    prepare->log = log;
    prepare->active = true;
    prepare->failure.error = 0;
    prepare->job = (struct disk_job){.work = prepare_work, .done = prepare_done};
    log->jobs++;
    log->disk->ops->submit(log->disk, lane, &prepare->job);
}

void log_prepare_pace(struct log *log)
{
    struct log_prepare *prepare = &log->prepare;
    uint64_t begin = log->current->size / 8;
    if (log->failed || prepare->active || log->tail < begin || log->tail < prepare->retry_tail) {
        return;
    }
    uint64_t wanted = 2 * (log->tail - begin) + LOG_ZERO_BYTES;
    bool enough =
        prepare->created && (prepare->zeroed == prepare->segment->size || prepare->zeroed >= wanted);
    if (!enough) {
        submit(log, DISK_LANE_SNAPSHOT);
    }
}

struct log_segment *log_prepare_take(struct log *log)
{
    struct log_prepare *prepare = &log->prepare;
    if (prepare->active) {
        prepare->needed = true;
        return NULL;
    }
    if (!prepare->created) {
        prepare->needed = true;
        prepare->retry_tail = UINT64_MAX; /* The last try: without space there is no going on. */
        submit(log, DISK_LANE_LOG);
        return NULL;
    }
    struct log_segment *segment = prepare->segment;
    prepare->segment = NULL;
    prepare->retry_tail = 0;
    forget(prepare);
    return segment;
}

/* ---- the list, and the end of segments ---- */

void log_segment_append(struct log *log, struct log_segment *segment)
{
    LOCKSTEP_ASSERT(log->current == NULL || segment->number == log->current->number + 1);
    segment->next = NULL;
    if (log->current == NULL) {
        log->oldest = segment;
    } else {
        log->current->next = segment;
    }
    log->current = segment;
    log->tail = 0;
}

struct removal {
    struct disk_job job;
    struct log *log;
    struct log_segment *segments; /* oldest first */
    struct log_failure failure;
};

/* One name after the other is durably gone, the oldest first: a loss of power leaves no gap. Readers' jobs are on the same
 * lane and so are through with the files. None is the current one, which alone is kept open. */
static void removal_work(struct disk_job *job)
{
    struct removal *removal = (struct removal *)job;
    struct disk *disk = removal->log->disk;
    for (struct log_segment *segment = removal->segments; segment != NULL; segment = segment->next) {
        char name[LOG_NAME_BYTES];
        log_segment_name(segment->number, name);
        int rv = removal->failure.error != 0 ? 0 : disk->ops->unlink(disk, name);
        if (rv == 0 && removal->failure.error == 0) {
            rv = disk->ops->sync_dir(disk, "log");
        }
        (void)log_check(&removal->failure, rv == -ENOENT ? 0 : rv, "remove", name);
    }
}

static void removal_done(struct disk_job *job)
{
    struct removal *removal = (struct removal *)job;
    struct log *log = removal->log;
    struct log_failure failure = removal->failure;
    while (removal->segments != NULL) {
        struct log_segment *next = removal->segments->next;
        free(removal->segments);
        removal->segments = next;
    }
    free(removal);
    log->jobs--;
    if (failure.error != 0) {
        log_fail(log, &failure);
        return;
    }
    log->prepare.retry_tail = log->prepare.needed ? log->prepare.retry_tail : 0;
    log_prepare_pace(log);
}

/* The oldest segment that is still needed. Never beyond durable_segment: a newer one may not have its header yet. */
static uint64_t keep_from(const struct log *log)
{
    const struct log_table *table = &log->table;
    uint64_t keep = log->durable_segment->number;
    if (table->first <= table->last) {
        const struct log_slot *slot = log_table_slot(table, table->first);
        keep = slot->segment != NULL && slot->segment->number < keep ? slot->segment->number : keep;
    }
    return keep;
}

void log_clean(struct log *log)
{
    log_segments_trim(log);
}

void log_segments_trim(struct log *log)
{
    uint64_t keep = keep_from(log);
    struct log_segment *first = log->oldest, *last = NULL;
    while (log->oldest->number < keep) {
        last = log->oldest;
        log->oldest = last->next;
    }
    if (last == NULL || log->failed) {
        log->oldest = first;
        return;
    }
    last->next = NULL;
    struct removal *removal = calloc(1, sizeof *removal);
    LOCKSTEP_ASSERT(removal != NULL);
    removal->job = (struct disk_job){.work = removal_work, .done = removal_done};
    removal->log = log;
    removal->segments = first;
    log->jobs++;
    log->disk->ops->submit(log->disk, DISK_LANE_SNAPSHOT, &removal->job);
}
