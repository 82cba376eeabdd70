/* See simulated_disk.h. Contents and names each have a present and a durable side; a crash decides what of the
 * difference survives. */
#include "tests/support/simulated_disk_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

void simulated_name_copy(char *to, const char *name)
{
    size_t size = strlen(name);
    LOCKSTEP_ASSERT(size < NAME_BYTES);
    memcpy(to, name, size + 1);
}

static struct simulated_disk *disk_of(struct disk *seam)
{
    return (struct simulated_disk *)seam;
}

/* ---- inodes and names ---- */

void simulated_inode_unref(struct inode *inode)
{
    if (--inode->refs == 0) {
        free(inode->data);
        free(inode->durable);
        free(inode->unsynced);
        free(inode);
    }
}

struct name *simulated_names_find(struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].name, name) == 0) {
            return &names->list[i];
        }
    }
    return NULL;
}

static void remove_name(struct names *names, const char *name)
{
    struct name *at = simulated_names_find(names, name);
    if (at != NULL) {
        simulated_inode_unref(at->inode);
        *at = names->list[--names->count];
    }
}

void simulated_names_set(struct names *names, const char *name, struct inode *inode)
{
    inode->refs++;
    remove_name(names, name);
    LOCKSTEP_ASSERT(names->count < NAMES_MAX);
    struct name *at = &names->list[names->count++];
    simulated_name_copy(at->name, name);
    at->inode = inode;
}

void simulated_names_clear(struct names *names)
{
    while (names->count > 0) {
        simulated_inode_unref(names->list[--names->count].inode);
    }
}

void simulated_names_copy(struct names *to, const struct names *from)
{
    simulated_names_clear(to);
    for (unsigned i = 0; i < from->count; i++) {
        simulated_names_set(to, from->list[i].name, from->list[i].inode);
    }
}

void simulated_change_apply(struct names *names, const struct change *change)
{
    if (change->from[0] != 0) {
        remove_name(names, change->from);
    }
    if (change->to[0] != 0) {
        simulated_names_set(names, change->to, change->inode);
    }
}

static void note_change(struct simulated_disk *disk, const char *from, const char *to, struct inode *inode)
{
    LOCKSTEP_ASSERT(disk->changes_count < NAMES_MAX);
    struct change *change = &disk->changes[disk->changes_count++];
    memset(change, 0, sizeof *change);
    simulated_name_copy(change->from, from);
    simulated_name_copy(change->to, to);
    change->inode = inode;
    inode->refs++;
    simulated_change_apply(&disk->names, change);
}

static bool in_directory(const struct change *change, const char *directory)
{
    const char *name = change->to[0] != 0 ? change->to : change->from;
    const char *slash = strchr(name, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - name);
    return size == strlen(directory) && strncmp(name, directory, size) == 0;
}

/* ---- the file calls ---- */

/* The process ends before a call that is done as a whole or not at all. */
static void step(struct simulated_disk *disk, const char *name)
{
    if (simulated_ends(disk, name)) {
        simulated_end(disk);
    }
}

/* @return 0, or the error that this call is to have. */
static int fault(struct simulated_disk *disk, const char *name)
{
    if (disk->full[0] != 0 && strncmp(name, disk->full, strlen(disk->full)) == 0) {
        return -ENOSPC;
    }
    return disk->fail_in > 0 && --disk->fail_in == 0 ? -EIO : 0;
}

static int disk_open(struct disk *seam, const char *name, int flags, struct disk_file **ret_file)
{
    struct simulated_disk *disk = disk_of(seam);
    struct name *at = simulated_names_find(&disk->names, name);
    LOCKSTEP_ASSERT(strlen(name) < NAME_BYTES);
    if (at == NULL && (flags & DISK_CREATE) == 0) {
        return -ENOENT;
    }
    if (at != NULL && (flags & DISK_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (at == NULL) {
        step(disk, name);
        int error = fault(disk, name);
        if (error != 0) {
            return error;
        }
        struct inode *inode = calloc(1, sizeof *inode);
        note_change(disk, "", name, inode);
        at = simulated_names_find(&disk->names, name);
    }
    struct disk_file *file = calloc(1, sizeof *file);
    file->inode = at->inode;
    file->inode->refs++;
    memcpy(file->name, name, strlen(name) + 1);
    *ret_file = file;
    return 0;
}

static void disk_close(struct disk *seam, struct disk_file *file)
{
    (void)seam;
    simulated_inode_unref(file->inode);
    free(file);
}

static int64_t disk_read(struct disk *seam, struct disk_file *file, void *data, size_t size, uint64_t offset)
{
    (void)seam;
    if (offset >= file->inode->size) {
        return 0;
    }
    size_t left = file->inode->size - (size_t)offset;
    size = size < left ? size : left;
    memcpy(data, file->inode->data + offset, size);
    return (int64_t)size;
}

void simulated_grow(uint8_t **data, size_t *capacity, size_t size)
{
    if (size > *capacity) {
        size_t wanted = size * 2;
        *data = realloc(*data, wanted);
        LOCKSTEP_ASSERT(*data != NULL);
        memset(*data + *capacity, 0, wanted - *capacity);
        *capacity = wanted;
    }
}

void simulated_note_unsynced(struct inode *inode, uint64_t offset, uint64_t size)
{
    if (inode->unsynced_count == inode->unsynced_capacity) {
        inode->unsynced_capacity = inode->unsynced_capacity == 0 ? 16 : inode->unsynced_capacity * 2;
        inode->unsynced = realloc(inode->unsynced, inode->unsynced_capacity * sizeof *inode->unsynced);
    }
    inode->unsynced[inode->unsynced_count++] = (struct span){offset, size};
}

static void put(struct simulated_disk *disk, const struct disk_file *file, const void *data, size_t size,
                uint64_t offset)
{
    struct inode *inode = file->inode;
    if (size == 0) {
        return;
    }
    simulated_grow(&inode->data, &inode->capacity, (size_t)offset + size);
    memcpy(inode->data + offset, data, size);
    simulated_rot_overwritten(disk, file->name, offset, size);
    if (offset + size > inode->size) {
        inode->size = (size_t)offset + size;
    }
    simulated_note_unsynced(inode, offset, size);
}

static int disk_write(struct disk *seam, struct disk_file *file, const void *data, size_t size,
                      uint64_t offset)
{
    struct simulated_disk *disk = disk_of(seam);
    if (simulated_ends(disk, file->name)) { /* the kernel stops between two pages for who is killed */
        uint64_t pages = simulated_random(disk->random, size / PAGE + 1);
        put(disk, file, data, (size_t)(pages * PAGE), offset);
        simulated_end(disk);
    }
    int error = fault(disk, file->name);
    if (error == 0) {
        put(disk, file, data, size, offset);
    }
    return error;
}

/* Of what a failed sync was to write, some sectors are on the disk, and the others never will be, unless they are written anew:
 * the kernel takes them for written, and shows them. */
static void forget_unsynced(struct simulated_disk *disk, struct inode *inode)
{
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        uint64_t end = inode->unsynced[i].offset + inode->unsynced[i].size;
        end = end < inode->durable_size ? end : inode->durable_size;
        end = end < inode->size ? end : inode->size;
        for (uint64_t at = inode->unsynced[i].offset, next; at < end; at = next) {
            next = (at / SECTOR + 1) * SECTOR;
            next = next < end ? next : end;
            if (simulated_random(disk->random, 2) == 0) {
                memcpy(inode->durable + at, inode->data + at, next - at);
            }
        }
    }
    inode->unsynced_count = 0;
}

static int disk_sync(struct disk *seam, struct disk_file *file)
{
    struct inode *inode = file->inode;
    step(disk_of(seam), file->name);
    int error = fault(disk_of(seam), file->name);
    if (error != 0) {
        forget_unsynced(disk_of(seam), inode);
        return error;
    }
    simulated_grow(&inode->durable, &inode->durable_capacity, inode->size);
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        struct span span = inode->unsynced[i];
        if (span.offset < inode->size) {
            uint64_t left = inode->size - span.offset;
            memcpy(inode->durable + span.offset, inode->data + span.offset,
                   span.size < left ? span.size : left);
        }
    }
    if (inode->durable_size > inode->size) { /* behind the durable size all is zero */
        memset(inode->durable + inode->size, 0, inode->durable_size - inode->size);
    }
    inode->durable_size = inode->size;
    inode->unsynced_count = 0;
    return 0;
}

static int disk_allocate(struct disk *seam, struct disk_file *file, uint64_t size)
{
    struct inode *inode = file->inode;
    step(disk_of(seam), file->name);
    int error = fault(disk_of(seam), file->name);
    if (error != 0) {
        return error;
    }
    simulated_grow(&inode->data, &inode->capacity, (size_t)size);
    if (size < inode->size) {
        memset(inode->data + size, 0, inode->size - (size_t)size);
        simulated_note_unsynced(inode, size, inode->size - size);
    }
    inode->size = (size_t)size;
    return 0;
}

static int64_t disk_size(struct disk *seam, struct disk_file *file)
{
    (void)seam;
    return (int64_t)file->inode->size;
}

static int disk_rename(struct disk *seam, const char *from, const char *to)
{
    struct simulated_disk *disk = disk_of(seam);
    struct name *at = simulated_names_find(&disk->names, from);
    if (at == NULL) {
        return -ENOENT;
    }
    step(disk, from);
    int error = fault(disk, from);
    if (error != 0) {
        return error;
    }
    simulated_rot_overwritten(disk, to, 0, UINT64_MAX);
    note_change(disk, from, to, at->inode);
    return 0;
}

static int disk_unlink(struct disk *seam, const char *name)
{
    struct simulated_disk *disk = disk_of(seam);
    struct name *at = simulated_names_find(&disk->names, name);
    if (at == NULL) {
        return -ENOENT;
    }
    step(disk, name);
    note_change(disk, name, "", at->inode);
    return 0;
}

static int disk_make_dir(struct disk *seam, const char *name)
{
    (void)seam;
    (void)name;
    return 0;
}

static int disk_sync_dir(struct disk *seam, const char *name)
{
    struct simulated_disk *disk = disk_of(seam);
    unsigned kept = 0;
    step(disk, name);
    int error = fault(disk, name);
    if (error != 0) {
        return error;
    }
    for (unsigned i = 0; i < disk->changes_count; i++) {
        struct change *change = &disk->changes[i];
        if (in_directory(change, name)) {
            simulated_change_apply(&disk->durable, change);
            simulated_inode_unref(change->inode);
        } else {
            disk->changes[kept++] = *change;
        }
    }
    disk->changes_count = kept;
    return 0;
}

static int disk_list(struct disk *seam, const char *name, void (*each)(void *ctx, const char *entry),
                     void *ctx)
{
    struct simulated_disk *disk = disk_of(seam);
    char entries[NAMES_MAX][NAME_BYTES];
    unsigned count = 0;
    for (unsigned i = 0; i < disk->names.count; i++) {
        const char *full = disk->names.list[i].name, *slash = strchr(full, '/');
        size_t size = slash == NULL ? 0 : (size_t)(slash - full);
        if (size == strlen(name) && strncmp(full, name, size) == 0) {
            simulated_name_copy(entries[count++], slash == NULL ? full : slash + 1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        each(ctx, entries[i]);
    }
    return 0;
}

static uint64_t due_after_latency(const struct simulated_disk *disk)
{
    return disk->now + disk->latency_min +
           simulated_random(disk->random, disk->latency_max - disk->latency_min + 1);
}

static void disk_submit(struct disk *seam, unsigned lane, struct disk_job *job)
{
    struct simulated_disk *disk = disk_of(seam);
    job->next = NULL;
    if (disk->lanes[lane].first == NULL) {
        disk->lanes[lane].first = job;
        disk->lanes[lane].due = due_after_latency(disk);
    } else {
        disk->lanes[lane].last->next = job;
    }
    disk->lanes[lane].last = job;
}

static const struct disk_ops ops = {
    .open = disk_open,
    .close = disk_close,
    .read = disk_read,
    .write = disk_write,
    .sync = disk_sync,
    .allocate = disk_allocate,
    .size = disk_size,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .make_dir = disk_make_dir,
    .sync_dir = disk_sync_dir,
    .list = disk_list,
    .submit = disk_submit,
};

/* ---- for the cluster ---- */

struct simulated_disk *simulated_disk_create(uint64_t *random)
{
    struct simulated_disk *disk = calloc(1, sizeof *disk);
    LOCKSTEP_ASSERT(disk != NULL);
    disk->seam.ops = &ops;
    disk->random = random;
    disk->latency_max = 1;
    return disk;
}

struct disk *simulated_disk_seam(struct simulated_disk *disk)
{
    return &disk->seam;
}

static void changes_clear(struct simulated_disk *disk)
{
    while (disk->changes_count > 0) {
        simulated_inode_unref(disk->changes[--disk->changes_count].inode);
    }
}

void simulated_disk_wipe(struct simulated_disk *disk)
{
    changes_clear(disk);
    simulated_names_clear(&disk->names);
    simulated_names_clear(&disk->durable);
}

void simulated_disk_away(struct simulated_disk *disk, bool away)
{
    LOCKSTEP_ASSERT(!simulated_disk_busy(disk));
    if (away && disk->away == NULL) {
        disk->away = malloc(sizeof *disk->away);
        LOCKSTEP_ASSERT(disk->away != NULL);
        disk->away->names = disk->names;
        disk->away->durable = disk->durable;
        memcpy(disk->away->changes, disk->changes, sizeof disk->changes);
        disk->away->changes_count = disk->changes_count;
        disk->names.count = disk->durable.count = disk->changes_count = 0;
    } else if (!away && disk->away != NULL) {
        simulated_disk_wipe(disk);
        disk->names = disk->away->names;
        disk->durable = disk->away->durable;
        memcpy(disk->changes, disk->away->changes, sizeof disk->changes);
        disk->changes_count = disk->away->changes_count;
        free(disk->away);
        disk->away = NULL;
    }
}

void simulated_disk_free(struct simulated_disk *disk)
{
    simulated_disk_away(disk, false);
    simulated_disk_wipe(disk);
    simulated_survivors_clear(disk);
    free(disk);
}

bool simulated_disk_run(struct simulated_disk *disk, uint64_t now)
{
    bool ran = false;
    disk->now = now;
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        struct disk_job *job = disk->lanes[lane].first;
        if (job == NULL || disk->lanes[lane].due > now) {
            continue;
        }
        disk->lanes[lane].first = job->next;
        disk->lanes[lane].due = due_after_latency(disk);
        job->work(job);
        job->done(job);
        ran = true;
    }
    return ran;
}

void simulated_disk_drain(struct simulated_disk *disk)
{
    for (unsigned jobs = 0; simulated_disk_busy(disk); jobs++) {
        LOCKSTEP_ASSERT(jobs < 100000);
        disk->lanes[0].due = disk->lanes[1].due = disk->now;
        (void)simulated_disk_run(disk, disk->now);
    }
}

uint64_t simulated_disk_due(const struct simulated_disk *disk)
{
    uint64_t due = UINT64_MAX;
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        if (disk->lanes[lane].first != NULL && disk->lanes[lane].due < due) {
            due = disk->lanes[lane].due;
        }
    }
    return due;
}

bool simulated_disk_busy(const struct simulated_disk *disk)
{
    return simulated_disk_due(disk) != UINT64_MAX;
}

void simulated_disk_latency(struct simulated_disk *disk, uint64_t now, unsigned min, unsigned max)
{
    disk->now = now;
    disk->latency_min = min;
    disk->latency_max = max;
}
