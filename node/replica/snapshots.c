/* The snapshot store's list of files: found and verified at the start, one more with each that is finished, old ones
 * removed. Never removes the newest (S2). */
#include "node/replica/snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/snapshots_internal.h"

/* ---- jobs ---- */

void snapshots_submit(struct snapshots *snapshots, struct disk_job *job)
{
    snapshots->jobs++;
    snapshots->disk->ops->submit(snapshots->disk, DISK_LANE_SNAPSHOT, job);
}

static void free_store(struct snapshots *snapshots)
{
    while (snapshots->files != NULL) {
        struct snapshot_file *next = snapshots->files->next;
        free(snapshots->files);
        snapshots->files = next;
    }
    free(snapshots);
}

void snapshots_job_ended(struct snapshots *snapshots)
{
    LOCKSTEP_ASSERT(snapshots->jobs > 0);
    snapshots->jobs--;
    if (snapshots->closing && snapshots->jobs == 0) {
        free_store(snapshots);
    }
}

bool snapshots_idle(const struct snapshots *snapshots)
{
    return snapshots->jobs == 0;
}

void snapshots_close(struct snapshots *snapshots)
{
    if (snapshots == NULL) {
        return;
    }
    snapshots->closing = true;
    if (snapshots->jobs == 0) {
        free_store(snapshots);
    }
}

/* ---- the list ---- */

struct snapshot_file *snapshots_newest_file(const struct snapshots *snapshots)
{
    struct snapshot_file *file = snapshots->files;
    while (file != NULL && file->bad) {
        file = file->next;
    }
    return file;
}

const struct snapshot_info *snapshots_newest(const struct snapshots *snapshots)
{
    const struct snapshot_file *file = snapshots_newest_file(snapshots);
    return file == NULL ? NULL : &file->info;
}

static void insert(struct snapshots *snapshots, struct snapshot_file *file)
{
    struct snapshot_file **at = &snapshots->files;
    while (*at != NULL && ((*at)->info.index > file->info.index ||
                           ((*at)->info.index == file->info.index && (*at)->info.term > file->info.term))) {
        at = &(*at)->next;
    }
    file->next = *at;
    file->listed = true;
    *at = file;
}

static void unlist(struct snapshots *snapshots, struct snapshot_file *file)
{
    struct snapshot_file **at = &snapshots->files;
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    file->listed = false;
    if (file->readers == 0) {
        free(file);
    }
}

void snapshots_release_file(struct snapshot_file *file)
{
    LOCKSTEP_ASSERT(file->readers > 0);
    file->readers--;
    if (file->readers == 0 && !file->listed) {
        free(file);
    }
}

void snapshots_add(struct snapshots *snapshots, const struct snapshot_info *info)
{
    for (struct snapshot_file *file = snapshots->files; file != NULL; file = file->next) {
        if (file->info.index == info->index && file->info.term == info->term) {
            unlist(snapshots, file); /* The new one has taken its name; who reads it has it open. */
            break;
        }
    }
    struct snapshot_file *file = calloc(1, sizeof *file);
    LOCKSTEP_ASSERT(file != NULL);
    file->info = *info;
    insert(snapshots, file);
}

/* ---- removal ---- */

struct removal {
    struct disk_job job;
    struct snapshots *snapshots;
    char name[SNAPSHOT_NAME_BYTES];
};

/* A file that stays is found and removed by the next start. */
static void removal_work(struct disk_job *job)
{
    struct removal *removal = (struct removal *)job;
    struct disk *disk = removal->snapshots->disk;
    (void)disk->ops->unlink(disk, removal->name);
}

static void removal_done(struct disk_job *job)
{
    struct removal *removal = (struct removal *)job;
    struct snapshots *snapshots = removal->snapshots;
    free(removal);
    snapshots_job_ended(snapshots);
}

static void remove_file(struct snapshots *snapshots, struct snapshot_file *file)
{
    struct removal *removal = calloc(1, sizeof *removal);
    LOCKSTEP_ASSERT(removal != NULL);
    removal->job = (struct disk_job){.work = removal_work, .done = removal_done};
    removal->snapshots = snapshots;
    snapshot_name(file->info.index, file->info.term, false, removal->name);
    unlist(snapshots, file);
    snapshots_submit(snapshots, &removal->job);
}

/* S2: what is listed as good is durable. What is being read stays until the reader is through; what is bad, until there is
 * a newer good one: somebody may want to look at it, or put the right bytes back. */
void snapshots_trim(struct snapshots *snapshots)
{
    unsigned kept = 0;
    struct snapshot_file *next;
    for (struct snapshot_file *file = snapshots->files; file != NULL; file = next) {
        next = file->next;
        kept += file->bad ? 0 : 1;
        bool superfluous = file->bad ? kept > 0 : kept > SNAPSHOTS_KEPT;
        if (superfluous && file->readers == 0) {
            remove_file(snapshots, file);
        }
    }
}

/* ---- opening ---- */

struct opening {
    struct snapshots *snapshots;
    char *message;
    size_t message_size;
    bool failed;
};

/* *.part are left over from a process that ended while it wrote: S1 says that they do not count. */
static void note_file(void *ctx, const char *entry)
{
    struct opening *opening = ctx;
    struct snapshots *snapshots = opening->snapshots;
    size_t length = strlen(entry);
    struct snapshot_file *file = calloc(1, sizeof *file);
    LOCKSTEP_ASSERT(file != NULL);
    if (snapshot_name_parse(entry, &file->info.index, &file->info.term)) {
        insert(snapshots, file);
        return;
    }
    free(file);
    if (length > 5 && length < 64 && strcmp(entry + length - 5, ".part") == 0) {
        char name[SNAPSHOT_NAME_BYTES];
        (void)snprintf(name, sizeof name, "snapshot/%s", entry);
        (void)snapshots->disk->ops->unlink(snapshots->disk, name); /* It does no harm if it stays. */
    }
}

/* Read it from start to end. @return NULL if all of it is right, otherwise what is wrong. */
static const char *verify(struct snapshots *snapshots, struct snapshot_file *file)
{
    uint64_t index = file->info.index, term = file->info.term;
    struct snapshot_stream stream;
    char name[SNAPSHOT_NAME_BYTES];
    uint8_t *data = malloc(SNAPSHOT_CHUNK_BYTES_MAX);
    LOCKSTEP_ASSERT(data != NULL);
    snapshot_name(index, term, false, name);
    int64_t rv = snapshot_stream_open(&stream, snapshots->disk, snapshots->cluster_id, name, &file->info);
    if (rv == 0 && (file->info.index != index || file->info.term != term)) {
        stream.problem = "its name and its contents differ";
        rv = -EBADMSG;
        file->info.index = index; /* It is removed by its name. */
        file->info.term = term;
    }
    if (rv == 0) {
        do {
            rv = snapshot_stream_next(&stream, data);
        } while (rv > 0);
    }
    file->info.body_bytes = stream.body_bytes;
    memcpy(file->info.body_digest, stream.trailer_digest, sizeof file->info.body_digest);
    snapshot_stream_close(&stream);
    free(data);
    return rv == 0 ? NULL : stream.problem;
}

/* The newest file that is right. Those that are not are told of; they stay until a newer one is finished. */
static bool verify_newest(struct opening *opening)
{
    struct snapshots *snapshots = opening->snapshots;
    bool any = snapshots->files != NULL;
    for (struct snapshot_file *file = snapshots->files; file != NULL; file = file->next) {
        const char *problem = verify(snapshots, file);
        if (problem == NULL) {
            return true;
        }
        file->bad = true;
        if (opening->message[0] == 0) {
            char name[SNAPSHOT_NAME_BYTES];
            snapshot_name(file->info.index, file->info.term, false, name);
            (void)snprintf(
                opening->message, opening->message_size,
                "%s is damaged: %s; if the node does not start without it, put it back if there is a copy of it; else see "
                "docs/operations.md, \"A node is lost\"",
                name, problem);
        }
    }
    return !any;
}

static bool find_files(struct opening *opening)
{
    struct disk *disk = opening->snapshots->disk;
    int rv = disk->ops->make_dir(disk, "snapshot");
    rv = rv == -EEXIST ? 0 : rv;
    if (rv == 0) {
        rv = disk->ops->sync_dir(disk, "");
    }
    if (rv == 0) { /* S1: the last rename may not be durable yet. */
        rv = disk->ops->sync_dir(disk, "snapshot");
    }
    if (rv == 0) {
        rv = disk->ops->list(disk, "snapshot", note_file, opening);
    }
    if (rv != 0) {
        (void)snprintf(opening->message, opening->message_size, "cannot open the directory snapshot: %s",
                       strerror(-rv));
    }
    return rv == 0;
}

struct snapshots *snapshots_open(struct disk *disk, uint64_t cluster_id, char *message, size_t message_size)
{
    struct snapshots *snapshots = calloc(1, sizeof *snapshots);
    LOCKSTEP_ASSERT(snapshots != NULL);
    LOCKSTEP_ASSERT(message_size > 0);
    struct opening opening = {.snapshots = snapshots, .message = message, .message_size = message_size};
    snapshots->disk = disk;
    snapshots->cluster_id = cluster_id;
    message[0] = 0;
    if (!find_files(&opening) || !verify_newest(&opening)) {
        free_store(snapshots);
        return NULL;
    }
    return snapshots;
}

bool snapshots_load(struct snapshots *snapshots, bool (*feed)(void *ctx, const void *data, size_t size),
                    void *ctx, char *message, size_t message_size)
{
    struct snapshot_file *file = snapshots_newest_file(snapshots);
    LOCKSTEP_ASSERT(file != NULL);
    struct snapshot_stream stream;
    struct snapshot_info *info = calloc(1, sizeof *info);
    uint8_t *data = malloc(SNAPSHOT_CHUNK_BYTES_MAX);
    LOCKSTEP_ASSERT(info != NULL && data != NULL);
    char name[SNAPSHOT_NAME_BYTES];
    snapshot_name(file->info.index, file->info.term, false, name);
    int64_t rv = snapshot_stream_open(&stream, snapshots->disk, snapshots->cluster_id, name, info);
    bool wanted = true;
    while (rv >= 0 && wanted) {
        rv = snapshot_stream_next(&stream, data);
        if (rv <= 0) {
            break;
        }
        wanted = feed(ctx, data, (size_t)rv);
    }
    if (rv < 0) {
        (void)snprintf(message, message_size, "cannot read %s: %s", name, stream.problem);
    } else if (!wanted) {
        (void)snprintf(message, message_size, "%s was read, and its contents were refused", name);
    }
    snapshot_stream_close(&stream);
    free(info);
    free(data);
    return rv == 0;
}
