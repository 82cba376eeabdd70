/* The disk of the cluster tests: contents and names each have a present and a durable side; a crash decides what of the
 * difference survives. */
#include "cluster_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { NAME_BYTES = 96, NAMES_MAX = 512, SECTOR = 512 };

struct span {
    uint64_t offset, size;
};

/* A file's contents, apart from its names. */
struct inode {
    unsigned refs;
    uint8_t *data, *durable;
    size_t size, durable_size;
    size_t capacity, durable_capacity;
    struct span *unsynced;
    unsigned unsynced_count, unsynced_capacity;
};

struct disk_file {
    struct inode *inode;
    char name[NAME_BYTES];
};

struct name {
    char name[NAME_BYTES];
    struct inode *inode;
};

struct names {
    struct name list[NAMES_MAX];
    unsigned count;
};

/* A change of names not yet synced: `to` empty for an unlink, `from` empty for a creation. */
struct change {
    char from[NAME_BYTES], to[NAME_BYTES];
    struct inode *inode;
};

struct cluster_disk {
    struct disk seam;
    uint64_t *random;
    uint64_t now_ms;
    unsigned latency_min, latency_max;
    struct names names, durable;
    struct change changes[NAMES_MAX];
    unsigned changes_count;
    struct names survivors; /* after a crash, before the boot */
    bool crashed;
    char full[NAME_BYTES];
    struct {
        struct disk_job *first, *last;
        uint64_t due_ms;
    } lanes[DISK_LANES];
};

uint64_t cluster_random(uint64_t *random, uint64_t below)
{
    uint64_t x = *random += 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return (x ^ x >> 31) % below;
}

static void name_copy(char *to, const char *name)
{
    size_t size = strlen(name);
    LOCKSTEP_ASSERT(size < NAME_BYTES);
    memcpy(to, name, size + 1);
}

static struct cluster_disk *disk_of(struct disk *seam)
{
    return (struct cluster_disk *)seam;
}

/* ---- inodes and names ---- */

static void inode_unref(struct inode *inode)
{
    if (--inode->refs == 0) {
        free(inode->data);
        free(inode->durable);
        free(inode->unsynced);
        free(inode);
    }
}

static struct name *find(struct names *names, const char *name)
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
    struct name *at = find(names, name);
    if (at != NULL) {
        inode_unref(at->inode);
        *at = names->list[--names->count];
    }
}

static void set_name(struct names *names, const char *name, struct inode *inode)
{
    inode->refs++;
    remove_name(names, name);
    LOCKSTEP_ASSERT(names->count < NAMES_MAX);
    struct name *at = &names->list[names->count++];
    name_copy(at->name, name);
    at->inode = inode;
}

static void names_clear(struct names *names)
{
    while (names->count > 0) {
        inode_unref(names->list[--names->count].inode);
    }
}

static void names_copy(struct names *to, const struct names *from)
{
    names_clear(to);
    for (unsigned i = 0; i < from->count; i++) {
        set_name(to, from->list[i].name, from->list[i].inode);
    }
}

static void apply_change(struct names *names, const struct change *change)
{
    if (change->from[0] != 0) {
        remove_name(names, change->from);
    }
    if (change->to[0] != 0) {
        set_name(names, change->to, change->inode);
    }
}

static void note_change(struct cluster_disk *disk, const char *from, const char *to, struct inode *inode)
{
    LOCKSTEP_ASSERT(disk->changes_count < NAMES_MAX);
    struct change *change = &disk->changes[disk->changes_count++];
    memset(change, 0, sizeof *change);
    name_copy(change->from, from);
    name_copy(change->to, to);
    change->inode = inode;
    inode->refs++;
    apply_change(&disk->names, change);
}

static bool in_directory(const struct change *change, const char *directory)
{
    const char *name = change->to[0] != 0 ? change->to : change->from;
    const char *slash = strchr(name, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - name);
    return size == strlen(directory) && strncmp(name, directory, size) == 0;
}

/* ---- the file calls ---- */

static bool is_full(const struct cluster_disk *disk, const char *name)
{
    return disk->full[0] != 0 && strncmp(name, disk->full, strlen(disk->full)) == 0;
}

static int disk_open(struct disk *seam, const char *name, int flags, struct disk_file **ret_file)
{
    struct cluster_disk *disk = disk_of(seam);
    struct name *at = find(&disk->names, name);
    LOCKSTEP_ASSERT(strlen(name) < NAME_BYTES);
    if (at == NULL && (flags & DISK_CREATE) == 0) {
        return -ENOENT;
    }
    if (at != NULL && (flags & DISK_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (at == NULL) {
        struct inode *inode = calloc(1, sizeof *inode);
        note_change(disk, "", name, inode);
        at = find(&disk->names, name);
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
    inode_unref(file->inode);
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

static void grow(uint8_t **data, size_t *capacity, size_t size)
{
    if (size > *capacity) {
        size_t wanted = size * 2;
        *data = realloc(*data, wanted);
        LOCKSTEP_ASSERT(*data != NULL);
        memset(*data + *capacity, 0, wanted - *capacity);
        *capacity = wanted;
    }
}

static void note_unsynced(struct inode *inode, uint64_t offset, uint64_t size)
{
    if (inode->unsynced_count == inode->unsynced_capacity) {
        inode->unsynced_capacity = inode->unsynced_capacity == 0 ? 16 : inode->unsynced_capacity * 2;
        inode->unsynced = realloc(inode->unsynced, inode->unsynced_capacity * sizeof *inode->unsynced);
    }
    inode->unsynced[inode->unsynced_count++] = (struct span){offset, size};
}

static int disk_write(struct disk *seam, struct disk_file *file, const void *data, size_t size, uint64_t offset)
{
    struct inode *inode = file->inode;
    if (is_full(disk_of(seam), file->name)) {
        return -ENOSPC;
    }
    if (size == 0) {
        return 0;
    }
    grow(&inode->data, &inode->capacity, (size_t)offset + size);
    memcpy(inode->data + offset, data, size);
    if (offset + size > inode->size) {
        inode->size = (size_t)offset + size;
    }
    note_unsynced(inode, offset, size);
    return 0;
}

static int disk_sync(struct disk *seam, struct disk_file *file)
{
    struct inode *inode = file->inode;
    if (is_full(disk_of(seam), file->name)) {
        return -ENOSPC;
    }
    grow(&inode->durable, &inode->durable_capacity, inode->size);
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        struct span span = inode->unsynced[i];
        if (span.offset < inode->size) {
            uint64_t left = inode->size - span.offset;
            memcpy(inode->durable + span.offset, inode->data + span.offset, span.size < left ? span.size : left);
        }
    }
    if (inode->durable_capacity > inode->size) {
        memset(inode->durable + inode->size, 0, inode->durable_capacity - inode->size);
    }
    inode->durable_size = inode->size;
    inode->unsynced_count = 0;
    return 0;
}

static int disk_allocate(struct disk *seam, struct disk_file *file, uint64_t size)
{
    struct inode *inode = file->inode;
    if (is_full(disk_of(seam), file->name)) {
        return -ENOSPC;
    }
    grow(&inode->data, &inode->capacity, (size_t)size);
    if (size < inode->size) {
        memset(inode->data + size, 0, inode->size - (size_t)size);
        note_unsynced(inode, size, inode->size - size);
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
    struct cluster_disk *disk = disk_of(seam);
    struct name *at = find(&disk->names, from);
    if (at == NULL) {
        return -ENOENT;
    }
    note_change(disk, from, to, at->inode);
    return 0;
}

static int disk_unlink(struct disk *seam, const char *name)
{
    struct cluster_disk *disk = disk_of(seam);
    struct name *at = find(&disk->names, name);
    if (at == NULL) {
        return -ENOENT;
    }
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
    struct cluster_disk *disk = disk_of(seam);
    unsigned kept = 0;
    for (unsigned i = 0; i < disk->changes_count; i++) {
        struct change *change = &disk->changes[i];
        if (in_directory(change, name)) {
            apply_change(&disk->durable, change);
            inode_unref(change->inode);
        } else {
            disk->changes[kept++] = *change;
        }
    }
    disk->changes_count = kept;
    return 0;
}

static int disk_list(struct disk *seam, const char *name, void (*each)(void *ctx, const char *entry), void *ctx)
{
    struct cluster_disk *disk = disk_of(seam);
    char entries[NAMES_MAX][NAME_BYTES];
    unsigned count = 0;
    for (unsigned i = 0; i < disk->names.count; i++) {
        const char *full = disk->names.list[i].name, *slash = strchr(full, '/');
        size_t size = slash == NULL ? 0 : (size_t)(slash - full);
        if (size == strlen(name) && strncmp(full, name, size) == 0) {
            name_copy(entries[count++], slash == NULL ? full : slash + 1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        each(ctx, entries[i]);
    }
    return 0;
}

static uint64_t due_after_latency(const struct cluster_disk *disk)
{
    return disk->now_ms + disk->latency_min + cluster_random(disk->random, disk->latency_max - disk->latency_min + 1);
}

static void disk_submit(struct disk *seam, unsigned lane, struct disk_job *job)
{
    struct cluster_disk *disk = disk_of(seam);
    job->next = NULL;
    if (disk->lanes[lane].first == NULL) {
        disk->lanes[lane].first = job;
        disk->lanes[lane].due_ms = due_after_latency(disk);
    } else {
        disk->lanes[lane].last->next = job;
    }
    disk->lanes[lane].last = job;
}

static const struct disk_ops ops = {
    .open = disk_open, .close = disk_close, .read = disk_read, .write = disk_write, .sync = disk_sync,
    .allocate = disk_allocate, .size = disk_size, .rename = disk_rename, .unlink = disk_unlink,
    .make_dir = disk_make_dir, .sync_dir = disk_sync_dir, .list = disk_list, .submit = disk_submit,
};

/* ---- for the cluster ---- */

struct cluster_disk *cluster_disk_create(uint64_t *random)
{
    struct cluster_disk *disk = calloc(1, sizeof *disk);
    LOCKSTEP_ASSERT(disk != NULL);
    disk->seam.ops = &ops;
    disk->random = random;
    disk->latency_max = 1;
    return disk;
}

struct disk *cluster_disk_seam(struct cluster_disk *disk)
{
    return &disk->seam;
}

static void changes_clear(struct cluster_disk *disk)
{
    while (disk->changes_count > 0) {
        inode_unref(disk->changes[--disk->changes_count].inode);
    }
}

void cluster_disk_wipe(struct cluster_disk *disk)
{
    changes_clear(disk);
    names_clear(&disk->names);
    names_clear(&disk->durable);
}

void cluster_disk_free(struct cluster_disk *disk)
{
    cluster_disk_wipe(disk);
    names_clear(&disk->survivors);
    free(disk);
}

bool cluster_disk_run(struct cluster_disk *disk, uint64_t now_ms)
{
    bool ran = false;
    disk->now_ms = now_ms;
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        struct disk_job *job = disk->lanes[lane].first;
        if (job == NULL || disk->lanes[lane].due_ms > now_ms) {
            continue;
        }
        disk->lanes[lane].first = job->next;
        disk->lanes[lane].due_ms = due_after_latency(disk);
        job->work(job);
        job->done(job);
        ran = true;
    }
    return ran;
}

void cluster_disk_drain(struct cluster_disk *disk)
{
    for (unsigned jobs = 0; cluster_disk_busy(disk); jobs++) {
        LOCKSTEP_ASSERT(jobs < 100000);
        disk->lanes[0].due_ms = disk->lanes[1].due_ms = disk->now_ms;
        (void)cluster_disk_run(disk, disk->now_ms);
    }
}

uint64_t cluster_disk_due(const struct cluster_disk *disk)
{
    uint64_t due = UINT64_MAX;
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        if (disk->lanes[lane].first != NULL && disk->lanes[lane].due_ms < due) {
            due = disk->lanes[lane].due_ms;
        }
    }
    return due;
}

bool cluster_disk_busy(const struct cluster_disk *disk)
{
    return cluster_disk_due(disk) != UINT64_MAX;
}

void cluster_disk_latency(struct cluster_disk *disk, uint64_t now_ms, unsigned min_ms, unsigned max_ms)
{
    disk->now_ms = now_ms;
    disk->latency_min = min_ms;
    disk->latency_max = max_ms;
}

/* The survivor of an inode: its durable bytes, and some sectors of some of the unsynced writes. */
static struct inode *inode_after_crash(struct cluster_disk *disk, const struct inode *inode)
{
    struct inode *after = calloc(1, sizeof *after);
    bool longer = inode->size != inode->durable_size && cluster_random(disk->random, 2) == 0;
    size_t size = longer ? inode->size : inode->durable_size;
    grow(&after->data, &after->capacity, size + 1);
    if (inode->durable_size > 0) {
        memcpy(after->data, inode->durable, inode->durable_size < size ? inode->durable_size : size);
    }
    after->size = size;
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        struct span span = inode->unsynced[i];
        bool all = cluster_random(disk->random, 3) == 0;
        for (uint64_t at = span.offset; at < span.offset + span.size && at < size;) {
            uint64_t next = (at / SECTOR + 1) * SECTOR;
            next = next > span.offset + span.size ? span.offset + span.size : next;
            next = next > size ? size : next;
            if (all || cluster_random(disk->random, 2) == 0) {
                memcpy(after->data + at, inode->data + at, next - at);
            }
            at = next;
        }
    }
    grow(&after->durable, &after->durable_capacity, size + 1);
    memcpy(after->durable, after->data, size);
    after->durable_size = size;
    return after;
}

void cluster_disk_crash(struct cluster_disk *disk)
{
    struct names names = {.count = 0};
    names_copy(&names, &disk->durable);
    unsigned kept = (unsigned)cluster_random(disk->random, disk->changes_count + 1);
    for (unsigned i = 0; i < kept; i++) {
        apply_change(&names, &disk->changes[i]);
    }
    names_clear(&disk->survivors);
    for (unsigned i = 0; i < names.count; i++) {
        set_name(&disk->survivors, names.list[i].name, inode_after_crash(disk, names.list[i].inode));
    }
    names_clear(&names);
    disk->crashed = true;
    disk->full[0] = 0;
}

void cluster_disk_boot(struct cluster_disk *disk)
{
    LOCKSTEP_ASSERT(!cluster_disk_busy(disk));
    if (!disk->crashed) {
        return;
    }
    cluster_disk_wipe(disk);
    names_copy(&disk->names, &disk->survivors);
    names_copy(&disk->durable, &disk->survivors);
    names_clear(&disk->survivors);
    disk->crashed = false;
}

void cluster_disk_full(struct cluster_disk *disk, const char *prefix)
{
    disk->full[0] = 0;
    if (prefix != NULL) {
        name_copy(disk->full, prefix);
    }
}
