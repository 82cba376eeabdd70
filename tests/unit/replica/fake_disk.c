#include "fake_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { NAME_BYTES = 96, NAMES_MAX = 64, CHANGES_MAX = 256 };

struct write {
    uint64_t offset;
    size_t size;
    uint8_t *data;
};

/* A file's bytes: as the kernel shows them, as they are on the medium, and what lies between the two. */
struct inode {
    unsigned refs;
    uint8_t *data, *medium;
    size_t size, medium_size;
    struct write *writes; /* not synced; an allocation is a write of size 0 at the new end */
    size_t writes_count, writes_capacity;
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

/* A name that came, went or changed; inode NULL: it went. */
struct change {
    char remove[NAME_BYTES], add[NAME_BYTES];
    struct inode *inode;
};

struct fake_disk {
    struct disk seam;
    uint64_t random;
    struct names names, medium, survivors;
    struct change changes[CHANGES_MAX];
    unsigned changes_count;
    struct disk_job *first[DISK_LANES], *last[DISK_LANES];
    unsigned calls, fail_call, off_call;
    int fail_error;
    enum fake_end off_how;
    bool failed, off, killed;
    uint64_t limit;
};

uint64_t fake_random(uint64_t *state, uint64_t below)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    z ^= z >> 31;
    return below == 0 ? 0 : z % below;
}

static void *allocate_bytes(size_t size)
{
    void *bytes = calloc(1, size == 0 ? 1 : size);
    LOCKSTEP_ASSERT(bytes != NULL);
    return bytes;
}

/* ---- inodes and names ---- */

static void forget_writes(struct inode *inode)
{
    for (size_t i = 0; i < inode->writes_count; i++) {
        free(inode->writes[i].data);
    }
    inode->writes_count = 0;
}

static void inode_unref(struct inode *inode)
{
    if (inode == NULL || --inode->refs > 0) {
        return;
    }
    forget_writes(inode);
    free(inode->writes);
    free(inode->data);
    free(inode->medium);
    free(inode);
}

static struct inode *inode_new(void)
{
    struct inode *inode = allocate_bytes(sizeof *inode);
    inode->data = allocate_bytes(0);
    inode->medium = allocate_bytes(0);
    return inode;
}

static void resize(uint8_t **bytes, size_t *size, size_t wanted)
{
    if (wanted == *size) {
        return;
    }
    *bytes = realloc(*bytes, wanted == 0 ? 1 : wanted);
    LOCKSTEP_ASSERT(*bytes != NULL);
    if (wanted > *size) {
        memset(*bytes + *size, 0, wanted - *size);
    }
    *size = wanted;
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

static void set_name(struct names *names, const char *name, struct inode *inode)
{
    struct name *at = find(names, name);
    inode->refs++;
    if (at == NULL) {
        LOCKSTEP_ASSERT(names->count < NAMES_MAX);
        at = &names->list[names->count++];
        (void)strcpy(at->name, name);
    } else {
        inode_unref(at->inode);
    }
    at->inode = inode;
}

static void remove_name(struct names *names, const char *name)
{
    struct name *at = find(names, name);
    if (at != NULL) {
        inode_unref(at->inode);
        *at = names->list[--names->count];
    }
}

static void clear_names(struct names *names)
{
    while (names->count > 0) {
        remove_name(names, names->list[0].name);
    }
}

static void apply_change(struct names *names, const struct change *change)
{
    if (change->remove[0] != 0) {
        remove_name(names, change->remove);
    }
    if (change->inode != NULL) {
        set_name(names, change->add, change->inode);
    }
}

static void change_names(struct fake_disk *fake, const char *remove, const char *add, struct inode *inode)
{
    LOCKSTEP_ASSERT(fake->changes_count < CHANGES_MAX);
    struct change *change = &fake->changes[fake->changes_count++];
    memset(change, 0, sizeof *change);
    (void)strcpy(change->remove, remove);
    (void)strcpy(change->add, add);
    change->inode = inode;
    if (inode != NULL) {
        inode->refs++;
    }
    apply_change(&fake->names, change);
}

/* ---- what survives the loss of power ---- */

static void write_medium(struct inode *inode, const struct write *write, size_t from, size_t to)
{
    size_t end = (size_t)write->offset + to;
    if (end > inode->medium_size) {
        resize(&inode->medium, &inode->medium_size, end);
    }
    if (to > from) {
        memcpy(inode->medium + write->offset + from, write->data + from, to - from);
    }
}

/* Nothing, all, a first part, a last part, or a hole in the middle. */
static void survive_write(struct fake_disk *fake, struct inode *inode, const struct write *write)
{
    size_t cut = (size_t)fake_random(&fake->random, write->size + 1);
    switch (fake_random(&fake->random, 5)) {
    case 0:
        break;
    case 1:
        write_medium(inode, write, 0, write->size);
        break;
    case 2:
        write_medium(inode, write, 0, cut);
        break;
    case 3:
        write_medium(inode, write, cut, write->size);
        break;
    case 4:
        write_medium(inode, write, 0, cut);
        cut += (size_t)fake_random(&fake->random, write->size + 1 - cut);
        write_medium(inode, write, cut, write->size);
        break;
    }
}

static struct inode *survivor_of(struct fake_disk *fake, const struct inode *inode)
{
    struct inode *after = inode_new();
    resize(&after->medium, &after->medium_size, inode->medium_size);
    memcpy(after->medium, inode->medium, inode->medium_size);
    for (size_t i = 0; i < inode->writes_count; i++) {
        survive_write(fake, after, &inode->writes[i]);
    }
    resize(&after->data, &after->size, after->medium_size);
    memcpy(after->data, after->medium, after->size);
    return after;
}

static void note_write(struct inode *inode, const void *data, size_t size, uint64_t offset)
{
    if (inode->writes_count == inode->writes_capacity) {
        inode->writes_capacity = inode->writes_capacity == 0 ? 8 : inode->writes_capacity * 2;
        inode->writes = realloc(inode->writes, inode->writes_capacity * sizeof *inode->writes);
        LOCKSTEP_ASSERT(inode->writes != NULL);
    }
    struct write *write = &inode->writes[inode->writes_count++];
    *write = (struct write){.offset = offset, .size = size, .data = allocate_bytes(size)};
    if (size > 0) {
        memcpy(write->data, data, size);
    }
}

static void power_off_now(struct fake_disk *fake)
{
    struct names names = {.count = 0};
    for (unsigned i = 0; i < fake->medium.count; i++) {
        set_name(&names, fake->medium.list[i].name, fake->medium.list[i].inode);
    }
    unsigned kept = (unsigned)fake_random(&fake->random, fake->changes_count + 1);
    for (unsigned i = 0; i < kept; i++) {
        apply_change(&names, &fake->changes[i]);
    }
    clear_names(&fake->survivors);
    for (unsigned i = 0; i < names.count; i++) {
        set_name(&fake->survivors, names.list[i].name, survivor_of(fake, names.list[i].inode));
    }
    clear_names(&names);
}

void fake_disk_end(struct fake_disk *fake, enum fake_end end)
{
    if (fake->off) {
        return;
    }
    fake->off = true;
    fake->killed = end == FAKE_KILL;
    if (!fake->killed) {
        power_off_now(fake);
    }
}

static void forget_changes(struct fake_disk *fake)
{
    while (fake->changes_count > 0) {
        inode_unref(fake->changes[--fake->changes_count].inode);
    }
}

void fake_disk_boot(struct fake_disk *fake)
{
    memset(fake->first, 0, sizeof fake->first);
    fake->off_call = fake->fail_call = 0;
    fake->failed = false;
    if (!fake->off || fake->killed) {
        fake->off = fake->killed = false;
        return;
    }
    forget_changes(fake);
    clear_names(&fake->names);
    clear_names(&fake->medium);
    for (unsigned i = 0; i < fake->survivors.count; i++) {
        set_name(&fake->names, fake->survivors.list[i].name, fake->survivors.list[i].inode);
        set_name(&fake->medium, fake->survivors.list[i].name, fake->survivors.list[i].inode);
    }
    clear_names(&fake->survivors);
    fake->off = false;
}

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

static bool in_directory(const char *name, const char *directory)
{
    const char *slash = strchr(name, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - name);
    return size == strlen(directory) && strncmp(name, directory, size) == 0;
}

static int fake_open(struct disk *seam, const char *name, int flags, struct disk_file **ret_file)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    const struct name *at = find(&fake->names, name);
    LOCKSTEP_ASSERT(strlen(name) < NAME_BYTES);
    if (is_ghost(fake) && (flags & DISK_CREATE) != 0) {
        *ret_file = allocate_bytes(sizeof **ret_file);
        (*ret_file)->inode = inode_new();
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
        change_names(fake, "", name, inode_new());
        end_call(fake);
        at = find(&fake->names, name);
    }
    struct disk_file *file = allocate_bytes(sizeof *file);
    file->inode = at->inode;
    file->inode->refs++;
    (void)strcpy(file->name, name);
    *ret_file = file;
    return 0;
}

static void fake_close(struct disk *seam, struct disk_file *file)
{
    (void)seam;
    inode_unref(file->inode);
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

static int fake_write(struct disk *seam, struct disk_file *file, const void *data, size_t size, uint64_t offset)
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
        resize(&inode->data, &inode->size, (size_t)offset + size);
    }
    memcpy(inode->data + offset, data, size);
    note_write(inode, data, size, offset);
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
        write_medium(inode, &inode->writes[i], 0, inode->writes[i].size);
    }
    forget_writes(inode);
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
    resize(&inode->data, &inode->size, (size_t)size);
    note_write(inode, NULL, 0, size);
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
    const struct name *at = find(&fake->names, from);
    int rv = begin_call(fake);
    if (rv != 0 || at == NULL) {
        return rv != 0 ? rv : -ENOENT;
    }
    change_names(fake, from, to, at->inode);
    end_call(fake);
    return 0;
}

static int fake_unlink(struct disk *seam, const char *name)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    if (is_ghost(fake)) {
        return 0;
    }
    if (find(&fake->names, name) == NULL) {
        return -ENOENT;
    }
    int rv = begin_call(fake);
    if (rv != 0) {
        return rv;
    }
    change_names(fake, name, "", NULL);
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
    unsigned kept = 0;
    int rv = begin_call(fake);
    end_call(fake);
    if (rv != 0) {
        return rv;
    }
    for (unsigned i = 0; i < fake->changes_count; i++) {
        struct change *change = &fake->changes[i];
        if (in_directory(change->inode != NULL ? change->add : change->remove, name)) {
            apply_change(&fake->medium, change);
            inode_unref(change->inode);
        } else {
            fake->changes[kept++] = *change;
        }
    }
    fake->changes_count = kept;
    return 0;
}

static int fake_list(struct disk *seam, const char *name, void (*each)(void *ctx, const char *entry), void *ctx)
{
    struct fake_disk *fake = (struct fake_disk *)seam;
    char entries[NAMES_MAX][NAME_BYTES];
    unsigned count = 0;
    for (unsigned i = 0; i < fake->names.count; i++) {
        const char *full = fake->names.list[i].name;
        if (in_directory(full, name)) {
            (void)strcpy(entries[count++], name[0] == 0 ? full : full + strlen(name) + 1);
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
    struct fake_disk *fake = allocate_bytes(sizeof *fake);
    fake->seam.ops = &ops;
    fake->random = seed;
    fake->limit = UINT64_MAX;
    return fake;
}

void fake_disk_free(struct fake_disk *fake)
{
    forget_changes(fake);
    clear_names(&fake->names);
    clear_names(&fake->medium);
    clear_names(&fake->survivors);
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
    unsigned lane = (unsigned)fake_random(&fake->random, DISK_LANES);
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
    const struct name *at = find(&fake->names, name);
    if (at == NULL) {
        return NULL;
    }
    *ret_size = at->inode->size;
    return at->inode->data;
}

bool fake_disk_remove(struct fake_disk *fake, const char *name)
{
    bool was = find(&fake->names, name) != NULL;
    remove_name(&fake->names, name);
    remove_name(&fake->medium, name);
    return was;
}

unsigned fake_disk_files(const struct fake_disk *fake, const char *directory)
{
    unsigned count = 0;
    for (unsigned i = 0; i < fake->names.count; i++) {
        count += in_directory(fake->names.list[i].name, directory) ? 1 : 0;
    }
    return count;
}

struct fake_disk *fake_disk_copy(const struct fake_disk *fake)
{
    struct fake_disk *copy = fake_disk_create(fake->random);
    for (unsigned i = 0; i < fake->names.count; i++) {
        const struct inode *from = fake->names.list[i].inode;
        struct inode *inode = inode_new();
        resize(&inode->data, &inode->size, from->size);
        memcpy(inode->data, from->data, from->size);
        resize(&inode->medium, &inode->medium_size, from->size);
        memcpy(inode->medium, from->data, from->size);
        set_name(&copy->names, fake->names.list[i].name, inode);
        set_name(&copy->medium, fake->names.list[i].name, inode);
    }
    return copy;
}
