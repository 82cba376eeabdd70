/* Writing a snapshot beside the loop. Bytes are gathered into chunks; a chunk goes to the worker when it is full, or when
 * the worker has nothing else to do. S1: sync, rename, sync of the directory, in that order.
 *
 *   writing --snapshot_writer_finish()--> finishing --whole--> done(true); gone
 *                                                   --wrong digest--> done(false); gone
 *   writing, finishing --the disk fails--> failed --snapshot_writer_abandon()--> gone
 *   writing --snapshot_writer_abandon()--> gone */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/snapshots_internal.h"

struct snapshot_writer {
    struct snapshots *snapshots;
    void (*failed)(void *ctx, int error, const char *message);
    void *failed_ctx;
    void (*done)(void *ctx, bool ok);
    void *done_ctx;
    struct chunk *gathered; /* not yet with the worker */
    size_t backlog;
    unsigned jobs;
    bool told; /* failed() was called */
    bool finishing;
    bool check_digest;
    uint8_t expected_digest[16];

    atomic_bool dead; /* abandoned, or failed: the worker leaves what is queued */

    /* The worker's, from job to job; the loop reads it when no job is under way. */
    struct disk_file *file;
    uint64_t offset;
    uint64_t unsynced;
    XXH3_state_t *digest;
    struct snapshot_info *info;
    bool mismatch;
    int error;
    const char *operation;
};

struct chunk {
    struct disk_job job;
    struct snapshot_writer *writer;
    size_t size;
    uint8_t bytes[SNAPSHOT_CHUNK_HEADER_BYTES + SNAPSHOT_CHUNK_BYTES_MAX]; /* header, data */
};

struct step {
    struct disk_job job;
    struct snapshot_writer *writer;
};

/* ---- on the worker ---- */

static bool check(struct snapshot_writer *writer, int error, const char *operation)
{
    if (error == 0) {
        return true;
    }
    writer->error = error == -EDQUOT ? -ENOSPC : error;
    writer->operation = operation;
    atomic_store(&writer->dead, true);
    return false;
}

static bool put(struct snapshot_writer *writer, const void *data, size_t size)
{
    struct disk *disk = writer->snapshots->disk;
    if (!check(writer, disk->ops->write(disk, writer->file, data, size, writer->offset), "write to")) {
        return false;
    }
    writer->offset += size;
    writer->unsynced += size;
    if (writer->unsynced < SNAPSHOT_SYNC_BYTES) {
        return true;
    }
    writer->unsynced = 0;
    return check(writer, disk->ops->sync(disk, writer->file), "sync");
}

static void part_name(const struct snapshot_writer *writer, char ret_name[SNAPSHOT_NAME_BYTES])
{
    snapshot_name(writer->info->index, writer->info->term, true, ret_name);
}

static void begin_work(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    struct disk *disk = writer->snapshots->disk;
    char name[SNAPSHOT_NAME_BYTES];
    if (atomic_load(&writer->dead)) {
        return;
    }
    part_name(writer, name);
    (void)disk->ops->unlink(disk, name); /* Left over by one that was abandoned, if at all. */
    int rv = disk->ops->open(disk, name, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &writer->file);
    if (rv != 0) {
        writer->file = NULL;
    }
    if (!check(writer, rv, "create")) {
        return;
    }
    uint8_t *bytes = malloc((size_t)SNAPSHOT_HEADER_BYTES + SNAPSHOT_CONFIGURATION_BYTES_MAX);
    LOCKSTEP_ASSERT(bytes != NULL);
    size_t size = snapshot_header_encode(writer->info, writer->snapshots->cluster_id, bytes);
    (void)put(writer, bytes, size);
    free(bytes);
}

static void chunk_work(struct disk_job *job)
{
    struct chunk *chunk = (struct chunk *)job;
    struct snapshot_writer *writer = chunk->writer;
    const uint8_t *data = chunk->bytes + SNAPSHOT_CHUNK_HEADER_BYTES;
    if (atomic_load(&writer->dead)) {
        return;
    }
    snapshot_chunk_header_encode(writer->info->body_bytes, data, (uint32_t)chunk->size, chunk->bytes);
    if (put(writer, chunk->bytes, SNAPSHOT_CHUNK_HEADER_BYTES + chunk->size)) {
        (void)XXH3_128bits_update(writer->digest, data, chunk->size);
        writer->info->body_bytes += chunk->size;
    }
}

static void close_file(struct snapshot_writer *writer)
{
    if (writer->file != NULL) {
        writer->snapshots->disk->ops->close(writer->snapshots->disk, writer->file);
        writer->file = NULL;
    }
}

static void finish_work(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    struct disk *disk = writer->snapshots->disk;
    uint8_t trailer[SNAPSHOT_TRAILER_BYTES];
    char part[SNAPSHOT_NAME_BYTES], name[SNAPSHOT_NAME_BYTES];
    if (atomic_load(&writer->dead)) {
        return;
    }
    part_name(writer, part);
    snapshot_name(writer->info->index, writer->info->term, false, name);
    snapshot_digest(writer->digest, writer->info->body_digest);
    if (writer->check_digest && memcmp(writer->info->body_digest, writer->expected_digest, 16) != 0) {
        writer->mismatch = true;
        close_file(writer);
        (void)disk->ops->unlink(disk, part); /* If it stays, the next start removes it. */
        return;
    }
    snapshot_trailer_encode(writer->info->body_bytes, writer->info->body_digest, trailer);
    if (put(writer, trailer, sizeof trailer) && check(writer, disk->ops->sync(disk, writer->file), "sync") &&
        check(writer, disk->ops->rename(disk, part, name), "rename")) {
        close_file(writer);
        (void)check(writer, disk->ops->sync_dir(disk, "snapshot"), "sync the directory of");
    }
}

/* Closed and removed, whatever the worker had got to. After a rename nothing is under the name any more. */
static void abandon_work(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    struct disk *disk = writer->snapshots->disk;
    char name[SNAPSHOT_NAME_BYTES];
    part_name(writer, name);
    close_file(writer);
    (void)disk->ops->unlink(disk, name); /* If it stays, the next start removes it. */
}

/* ---- on the loop ---- */

static void free_writer(struct snapshot_writer *writer)
{
    (void)XXH3_freeState(writer->digest);
    free(writer->gathered);
    free(writer->info);
    free(writer);
}

static void submit_step(struct snapshot_writer *writer, void (*work)(struct disk_job *),
                        void (*done)(struct disk_job *))
{
    struct step *step = calloc(1, sizeof *step);
    LOCKSTEP_ASSERT(step != NULL);
    step->writer = writer;
    step->job = (struct disk_job){.work = work, .done = done};
    writer->jobs++;
    snapshots_submit(writer->snapshots, &step->job);
}

/* The first that hears of a failure tells it; as its last statement, because the writer may be abandoned by it. */
static void tell_failure(struct snapshot_writer *writer)
{
    char message[256], name[SNAPSHOT_NAME_BYTES];
    bool abandoned = writer->snapshots->writer != writer;
    if (writer->error == 0 || writer->told || abandoned) {
        return;
    }
    writer->told = true;
    part_name(writer, name);
    (void)snprintf(message, sizeof message, "%scannot %s %s: %s",
                   writer->error == -ENOSPC ? "disk full: " : "", writer->operation, name,
                   strerror(-writer->error));
    writer->failed(writer->failed_ctx, writer->error, message);
}

static void chunk_done(struct disk_job *job);

static void submit_gathered(struct snapshot_writer *writer)
{
    struct chunk *chunk = writer->gathered;
    if (chunk == NULL) {
        return;
    }
    writer->gathered = NULL;
    chunk->job = (struct disk_job){.work = chunk_work, .done = chunk_done};
    writer->jobs++;
    snapshots_submit(writer->snapshots, &chunk->job);
}

static void step_ended(struct snapshot_writer *writer)
{
    struct snapshots *snapshots = writer->snapshots;
    writer->jobs--;
    if (writer->jobs == 0 && snapshots->writer == writer && !atomic_load(&writer->dead)) {
        submit_gathered(writer);
    }
    bool failed = writer->jobs == 0 && writer->error != 0;
    if (failed) {
        tell_failure(writer);
    }
    snapshots_job_ended(snapshots);
}

static void begin_done(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    free(job);
    step_ended(writer);
}

static void chunk_done(struct disk_job *job)
{
    struct chunk *chunk = (struct chunk *)job;
    struct snapshot_writer *writer = chunk->writer;
    writer->backlog -= chunk->size;
    free(chunk);
    step_ended(writer);
}

static void finish_done(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    struct snapshots *snapshots = writer->snapshots;
    free(job);
    bool abandoned = snapshots->writer != writer;
    if (abandoned || atomic_load(&writer->dead)) {
        step_ended(writer);
        return;
    }
    bool ok = !writer->mismatch;
    void (*done)(void *ctx, bool ok) = writer->done;
    void *ctx = writer->done_ctx;
    if (ok) {
        snapshots_add(snapshots, writer->info);
        snapshots_trim(snapshots);
    }
    snapshots->writer = NULL;
    free_writer(writer);
    done(ctx, ok);
    snapshots_job_ended(snapshots);
}

static void abandon_done(struct disk_job *job)
{
    struct snapshot_writer *writer = ((struct step *)job)->writer;
    struct snapshots *snapshots = writer->snapshots;
    free(job);
    LOCKSTEP_ASSERT(writer->jobs == 1); /* This one: a lane's jobs end in order. */
    free_writer(writer);
    snapshots_job_ended(snapshots);
}

/* ---- snapshots.h ---- */

struct snapshot_writer *snapshot_writer_begin(struct snapshots *snapshots, const struct snapshot_info *info,
                                              void (*failed)(void *ctx, int error, const char *message),
                                              void *ctx)
{
    LOCKSTEP_ASSERT(snapshots->writer == NULL);
    LOCKSTEP_ASSERT(info->configuration_size <= SNAPSHOT_CONFIGURATION_BYTES_MAX);
    struct snapshot_writer *writer = calloc(1, sizeof *writer);
    LOCKSTEP_ASSERT(writer != NULL);
    writer->info = malloc(sizeof *writer->info);
    writer->digest = XXH3_createState();
    LOCKSTEP_ASSERT(writer->info != NULL && writer->digest != NULL);
    *writer->info = *info;
    writer->info->body_bytes = 0;
    (void)XXH3_128bits_reset(writer->digest);
    writer->snapshots = snapshots;
    writer->failed = failed;
    writer->failed_ctx = ctx;
    snapshots->writer = writer;
    submit_step(writer, begin_work, begin_done);
    return writer;
}

size_t snapshot_writer_add(struct snapshot_writer *writer, const void *data, size_t size)
{
    const uint8_t *from = data;
    LOCKSTEP_ASSERT(!writer->finishing);
    while (size > 0 && !atomic_load(&writer->dead)) {
        if (writer->gathered == NULL) {
            writer->gathered = malloc(sizeof *writer->gathered);
            LOCKSTEP_ASSERT(writer->gathered != NULL);
            writer->gathered->writer = writer;
            writer->gathered->size = 0;
        }
        struct chunk *chunk = writer->gathered;
        size_t room = SNAPSHOT_CHUNK_BYTES_MAX - chunk->size, part = size < room ? size : room;
        memcpy(chunk->bytes + SNAPSHOT_CHUNK_HEADER_BYTES + chunk->size, from, part);
        chunk->size += part;
        writer->backlog += part;
        from += part;
        size -= part;
        if (chunk->size == SNAPSHOT_CHUNK_BYTES_MAX) {
            submit_gathered(writer);
        }
    }
    if (writer->jobs == 0 && !atomic_load(&writer->dead)) {
        submit_gathered(writer);
    }
    return writer->backlog;
}

size_t snapshot_writer_backlog(const struct snapshot_writer *writer)
{
    return writer->backlog;
}

void snapshot_writer_finish(struct snapshot_writer *writer, const uint8_t *expected_digest,
                            void (*done)(void *ctx, bool ok), void *ctx)
{
    LOCKSTEP_ASSERT(!writer->finishing);
    writer->finishing = true;
    writer->done = done;
    writer->done_ctx = ctx;
    if (expected_digest != NULL) {
        writer->check_digest = true;
        memcpy(writer->expected_digest, expected_digest, sizeof writer->expected_digest);
    }
    if (!atomic_load(&writer->dead)) {
        submit_gathered(writer);
    }
    submit_step(writer, finish_work, finish_done);
}

void snapshot_writer_abandon(struct snapshot_writer *writer)
{
    LOCKSTEP_ASSERT(writer->snapshots->writer == writer);
    writer->snapshots->writer = NULL;
    atomic_store(&writer->dead, true);
    submit_step(writer, abandon_work, abandon_done);
}
