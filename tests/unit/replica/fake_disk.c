/* The calls of the fake disk, its jobs and its faults. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk_internal.h"

/* ---- the calls ---- */

/* After the end by kill -9 calls have no effect at all; after the loss of power, none on the survivors. */
static bool is_ghost(const struct fake_disk *fake)
{
    return fake->off && fake->killed;
}

/* A call that changes something begins. @return 0 or the error that it fails with. */
static int begin_call(struct fake_disk *fake)
{
    fake->calls++;
    if (fake->calls == fake->fail_call) {
        fake->failed = true;
        return -fake->fail_error;
    }
    return 0;
}

/* It has had its effect on what is not synced; the power may go now. */
static void end_call(struct fake_disk *fake)
{
    if (fake->calls == fake->off_call) {
        fake_disk_end(fake, fake->off_how);
    }
}

static int fake_open(struct disk *seam, const char *name, int flags, struct disk_file **ret_file)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    const struct name *at = fake_find(&fake->names, name);
    LOCKSTEP_ASSERT(strlen(name) < NAME_BYTES);
    if (is_ghost(fake) && (flags & DISK_CREATE) != 0) {
        fake->open_files++;
        *ret_file = fake_allocate_bytes(sizeof **ret_file);
        (*ret_file)->inode = fake_inode_new();
        (*ret_file)->inode->refs = 1;
        return 0;
    }
    if (at == NULL && (flags & DISK_CREATE) == 0) {
        return -ENOENT;
    }
    if (at != NULL && (flags & DISK_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (at == NULL) {
        int rv = begin_call(fake);
        if (rv != 0) {
            return rv;
        }
        fake_change_names(fake, "", name, fake_inode_new());
        end_call(fake);
        at = fake_find(&fake->names, name);
    }
    struct disk_file *file = fake_allocate_bytes(sizeof *file);
    file->inode = at->inode;
    file->inode->refs++;
    fake_copy_name(file->name, name);
    fake->open_files++;
    *ret_file = file;
    return 0;
}

static void fake_close(struct disk *seam, struct disk_file *file)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    LOCKSTEP_ASSERT(fake->open_files > 0);
    fake->open_files--;
    fake_inode_unref(file->inode);
    free(file);
}

static int64_t fake_read(struct disk *seam, struct disk_file *file, void *data, size_t size, uint64_t offset)
{
    (void)seam;
    const struct inode *inode = file->inode;
    if (offset >= inode->size) {
        return 0;
    }
    size_t left = inode->size - (size_t)offset;
    size = size < left ? size : left;
    memcpy(data, inode->data + offset, size);
    return (int64_t)size;
}

static bool has_room(const struct fake_disk *fake, const struct inode *inode, uint64_t size)
{
    return size <= inode->size || fake_disk_used(fake) + size - inode->size <= fake->limit;
}

static int fake_write(struct disk *seam, struct disk_file *file, const void *data, size_t size,
                      uint64_t offset)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    struct inode *inode = file->inode;
    if (is_ghost(fake)) {
        return 0;
    }
    int rv = begin_call(fake);
    if (rv == 0 && !has_room(fake, inode, offset + size)) {
        rv = -ENOSPC;
    }
    if (rv != 0) {
        return rv;
    }
    if (offset + size > inode->size) {
        fake_resize(&inode->data, &inode->size, (size_t)offset + size);
    }
    memcpy(inode->data + offset, data, size);
    fake_note_write(inode, data, size, offset);
    end_call(fake);
    return 0;
}

/* A failed sync: the kernel shows the bytes, takes them for written, and they are not. */
static int fake_sync(struct disk *seam, struct disk_file *file)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    struct inode *inode = file->inode;
    if (is_ghost(fake)) {
        return 0;
    }
    int rv = begin_call(fake);
    end_call(fake);
    for (size_t i = 0; rv == 0 && i < inode->writes_count; i++) {
        fake_write_medium(inode, &inode->writes[i], 0, inode->writes[i].size);
    }
    fake_forget_writes(inode);
    return rv;
}

static int fake_allocate(struct disk *seam, struct disk_file *file, uint64_t size)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    struct inode *inode = file->inode;
    if (is_ghost(fake)) {
        return 0;
    }
    int rv = begin_call(fake);
    if (rv == 0 && !has_room(fake, inode, size)) {
        rv = -ENOSPC;
    }
    if (rv != 0) {
        return rv;
    }
    LOCKSTEP_ASSERT(size >= inode->size);
    fake_resize(&inode->data, &inode->size, (size_t)size);
    fake_note_write(inode, NULL, 0, size);
    end_call(fake);
    return 0;
}

static int64_t fake_size(struct disk *seam, struct disk_file *file)
{
    (void)seam;
    return (int64_t)file->inode->size;
}

static int fake_rename(struct disk *seam, const char *from, const char *to)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    if (is_ghost(fake)) {
        return 0;
    }
    const struct name *at = fake_find(&fake->names, from);
    int rv = begin_call(fake);
    if (rv != 0 || at == NULL) {
        return rv != 0 ? rv : -ENOENT;
    }
    fake_change_names(fake, from, to, at->inode);
    end_call(fake);
    return 0;
}

static int fake_unlink(struct disk *seam, const char *name)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    if (is_ghost(fake)) {
        return 0;
    }
    if (fake_find(&fake->names, name) == NULL) {
        return -ENOENT;
    }
    int rv = begin_call(fake);
    if (rv != 0) {
        return rv;
    }
    fake_change_names(fake, name, "", NULL);
    end_call(fake);
    return 0;
}

static int fake_make_dir(struct disk *seam, const char *name)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    if (is_ghost(fake)) {
        return 0;
    }
    (void)name;
    int rv = begin_call(fake);
    end_call(fake);
    return rv;
}

static int fake_sync_dir(struct disk *seam, const char *name)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    if (is_ghost(fake)) {
        return 0;
    }
    int rv = begin_call(fake);
    end_call(fake);
    if (rv != 0) {
        return rv;
    }
    fake_sync_names(fake, name);
    return 0;
}

static int fake_list(struct disk *seam, const char *name, void (*each)(void *ctx, const char *entry),
                     void *ctx)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    char entries[NAMES_MAX][NAME_BYTES];
    unsigned count = 0;
    for (unsigned i = 0; i < fake->names.count; i++) {
        const char *full = fake->names.list[i].name;
        if (fake_in_directory(full, name)) {
            fake_copy_name(entries[count++], name[0] == 0 ? full : full + strlen(name) + 1);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        each(ctx, entries[i]);
    }
    return 0;
}

static void fake_submit(struct disk *seam, unsigned lane, struct disk_job *job)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    LOCKSTEP_ASSERT(lane < DISK_LANES);
    job->next = NULL;
    if (fake->first[lane] == NULL) {
        fake->first[lane] = job;
    } else {
        fake->last[lane]->next = job;
    }
    fake->last[lane] = job;
}

static const struct disk_ops ops = {
    .open = fake_open,
    .close = fake_close,
    .read = fake_read,
    .write = fake_write,
    .sync = fake_sync,
    .allocate = fake_allocate,
    .size = fake_size,
    .rename = fake_rename,
    .unlink = fake_unlink,
    .make_dir = fake_make_dir,
    .sync_dir = fake_sync_dir,
    .list = fake_list,
    .submit = fake_submit,
};

/* ---- for the tests ---- */

struct fake_disk *fake_disk_create(uint64_t seed)
{
    struct fake_disk *fake = fake_allocate_bytes(sizeof *fake);
    fake->seam.ops = &ops;
    fake->random = seed;
    fake->limit = UINT64_MAX;
    return fake;
}

void fake_disk_free(struct fake_disk *fake)
{
    fake_forget_changes(fake);
    fake_clear_names(&fake->names);
    fake_clear_names(&fake->medium);
    fake_clear_names(&fake->survivors);
    free(fake);
}

struct disk *fake_disk_seam(struct fake_disk *fake)
{
    return &fake->seam;
}

unsigned fake_disk_jobs(const struct fake_disk *fake)
{
    unsigned count = 0;
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        for (const struct disk_job *job = fake->first[lane]; job != NULL; job = job->next) {
            count++;
        }
    }
    return count;
}

bool fake_disk_run(struct fake_disk *fake, unsigned lane)
{
    struct disk_job *job = fake->first[lane];
    if (job == NULL) {
        return false;
    }
    fake->first[lane] = job->next;
    job->work(job);
    job->done(job);
    return true;
}

bool fake_disk_run_any(struct fake_disk *fake)
{
    unsigned lane = (unsigned)simulated_random(&fake->random, DISK_LANES);
    return fake_disk_run(fake, lane) || fake_disk_run(fake, 1 - lane);
}

void fake_disk_run_all(struct fake_disk *fake)
{
    while (fake_disk_run_any(fake)) {
    }
}

unsigned fake_disk_calls(const struct fake_disk *fake)
{
    return fake->calls;
}

void fake_disk_fail_at(struct fake_disk *fake, unsigned call, int error)
{
    fake->fail_call = call;
    fake->fail_error = error;
    fake->failed = false;
}

bool fake_disk_has_failed(const struct fake_disk *fake)
{
    return fake->failed;
}

void fake_disk_limit(struct fake_disk *fake, uint64_t bytes)
{
    fake->limit = bytes;
}

uint64_t fake_disk_used(const struct fake_disk *fake)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < fake->names.count; i++) {
        bytes += fake->names.list[i].inode->size;
    }
    return bytes;
}

unsigned fake_disk_open_files(const struct fake_disk *fake)
{
    return fake->open_files;
}

void fake_disk_end_at(struct fake_disk *fake, unsigned call, enum fake_end end)
{
    fake->off_call = call;
    fake->off_how = end;
}

bool fake_disk_is_off(const struct fake_disk *fake)
{
    return fake->off;
}

uint8_t *fake_disk_bytes(struct fake_disk *fake, const char *name, size_t *ret_size)
{
    const struct name *at = fake_find(&fake->names, name);
    if (at == NULL) {
        return NULL;
    }
    *ret_size = at->inode->size;
    return at->inode->data;
}

bool fake_disk_remove(struct fake_disk *fake, const char *name)
{
    bool was = fake_find(&fake->names, name) != NULL;
    fake_remove_name(&fake->names, name);
    fake_remove_name(&fake->medium, name);
    return was;
}

unsigned fake_disk_files(const struct fake_disk *fake, const char *directory)
{
    unsigned count = 0;
    for (unsigned i = 0; i < fake->names.count; i++) {
        count += fake_in_directory(fake->names.list[i].name, directory) ? 1 : 0;
    }
    return count;
}

struct fake_disk *fake_disk_copy(const struct fake_disk *fake)
{
    struct fake_disk *copy = fake_disk_create(fake->random);
    for (unsigned i = 0; i < fake->names.count; i++) {
        const struct inode *from = fake->names.list[i].inode;
        struct inode *inode = fake_inode_new();
        fake_resize(&inode->data, &inode->size, from->size);
        memcpy(inode->data, from->data, from->size);
        fake_resize(&inode->medium, &inode->medium_size, from->size);
        memcpy(inode->medium, from->data, from->size);
        fake_set_name(&copy->names, fake->names.list[i].name, inode);
        fake_set_name(&copy->medium, fake->names.list[i].name, inode);
    }
    return copy;
}
