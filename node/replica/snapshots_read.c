/* Reading a snapshot beside the loop, a chunk at a time. Two buffers in turn, so that the next chunk may be asked for
 * while the one at hand is still looked at. */
#include <stdlib.h>

#include "node/replica/snapshots_internal.h"

struct snapshot_reader {
    struct disk_job job;
    struct snapshots *snapshots;
    struct snapshot_file *file;
    bool busy;
    bool ended;
    void (*done)(void *ctx, const void *data, size_t size, int error);
    void *ctx;
    unsigned turn; /* which buffer is filled */

    /* The worker's while a job is under way. */
    bool opened;
    struct snapshot_stream stream;
    struct snapshot_info *info; /* as the file says; the list's has the same */
    int64_t result;
    uint8_t buffers[2][SNAPSHOT_CHUNK_BYTES_MAX];
};

static void next_work(struct disk_job *job)
{
    struct snapshot_reader *reader = (struct snapshot_reader *)job;
    struct snapshots *snapshots = reader->snapshots;
    if (!reader->opened) {
        char name[SNAPSHOT_NAME_BYTES];
        snapshot_name(reader->file->info.index, reader->file->info.term, false, name);
        reader->opened = true;
        reader->result =
            snapshot_stream_open(&reader->stream, snapshots->disk, snapshots->cluster_id, name, reader->info);
        if (reader->result != 0) {
            return;
        }
    }
    reader->result = snapshot_stream_next(&reader->stream, reader->buffers[reader->turn]);
}

static void close_work(struct disk_job *job)
{
    struct snapshot_reader *reader = (struct snapshot_reader *)job;
    if (reader->opened) {
        snapshot_stream_close(&reader->stream);
    }
}

static void close_done(struct disk_job *job)
{
    struct snapshot_reader *reader = (struct snapshot_reader *)job;
    struct snapshots *snapshots = reader->snapshots;
    snapshots_release_file(reader->file);
    free(reader->info);
    free(reader);
    if (!snapshots->closing) {
        snapshots_trim(snapshots); /* It may have been kept only for this reader. */
    }
    snapshots_job_ended(snapshots);
}

static void submit(struct snapshot_reader *reader, void (*work)(struct disk_job *),
                   void (*done)(struct disk_job *))
{
    reader->job = (struct disk_job){.work = work, .done = done};
    snapshots_submit(reader->snapshots, &reader->job);
}

static void next_done(struct disk_job *job)
{
    struct snapshot_reader *reader = (struct snapshot_reader *)job;
    struct snapshots *snapshots = reader->snapshots;
    reader->busy = false;
    if (reader->ended) {
        submit(reader, close_work, close_done);
        snapshots_job_ended(snapshots);
        return;
    }
    const uint8_t *data = reader->buffers[reader->turn];
    int64_t result = reader->result;
    reader->turn = 1 - reader->turn;
    reader->done(reader->ctx, data, result > 0 ? (size_t)result : 0, result < 0 ? (int)result : 0);
    snapshots_job_ended(snapshots);
}

struct snapshot_reader *snapshot_reader_begin(struct snapshots *snapshots)
{
    struct snapshot_file *file = snapshots_newest_file(snapshots);
    if (file == NULL) {
        return NULL;
    }
    struct snapshot_reader *reader = calloc(1, sizeof *reader);
    LOCKSTEP_ASSERT(reader != NULL);
    reader->info = malloc(sizeof *reader->info);
    LOCKSTEP_ASSERT(reader->info != NULL);
    reader->snapshots = snapshots;
    reader->file = file;
    file->readers++;
    return reader;
}

const struct snapshot_info *snapshot_reader_info(const struct snapshot_reader *reader)
{
    return &reader->file->info;
}

void snapshot_reader_next(struct snapshot_reader *reader,
                          void (*done)(void *ctx, const void *data, size_t size, int error), void *ctx)
{
    LOCKSTEP_ASSERT(!reader->busy);
    LOCKSTEP_ASSERT(!reader->ended);
    reader->busy = true;
    reader->done = done;
    reader->ctx = ctx;
    submit(reader, next_work, next_done);
}

void snapshot_reader_end(struct snapshot_reader *reader)
{
    LOCKSTEP_ASSERT(!reader->ended);
    reader->ended = true;
    if (!reader->busy) {
        submit(reader, close_work, close_done);
    }
}
