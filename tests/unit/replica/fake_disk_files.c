/* Names and bytes of the fake disk, as they are shown and as they are on the medium; what survives the loss of power. */
#include <stdlib.h>
#include <string.h>

#include "fake_disk_internal.h"

void fake_copy_name(char ret_name[NAME_BYTES], const char *name)
{
    size_t length = strlen(name);
    LOCKSTEP_ASSERT(length < NAME_BYTES);
    memcpy(ret_name, name, length + 1);
}

bool fake_in_directory(const char *name, const char *directory)
{
    const char *slash = strchr(name, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - name);
    return size == strlen(directory) && strncmp(name, directory, size) == 0;
}

void *fake_allocate_bytes(size_t size)
{
    void *bytes = calloc(1, size == 0 ? 1 : size);
    LOCKSTEP_ASSERT(bytes != NULL);
    return bytes;
}

/* ---- inodes and names ---- */

void fake_forget_writes(struct inode *inode)
{
    for (size_t i = 0; i < inode->writes_count; i++) {
        free(inode->writes[i].data);
    }
    inode->writes_count = 0;
}

void fake_inode_unref(struct inode *inode)
{
    if (inode == NULL || --inode->refs > 0) {
        return;
    }
    fake_forget_writes(inode);
    free(inode->writes);
    free(inode->data);
    free(inode->medium);
    free(inode);
}

struct inode *fake_inode_new(void)
{
    struct inode *inode = fake_allocate_bytes(sizeof *inode);
    inode->data = fake_allocate_bytes(0);
    inode->medium = fake_allocate_bytes(0);
    return inode;
}

void fake_resize(uint8_t **bytes, size_t *size, size_t wanted)
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

struct name *fake_find(struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].name, name) == 0) {
            return &names->list[i];
        }
    }
    return NULL;
}

void fake_set_name(struct names *names, const char *name, struct inode *inode)
{
    struct name *at = fake_find(names, name);
    inode->refs++;
    if (at == NULL) {
        LOCKSTEP_ASSERT(names->count < NAMES_MAX);
        at = &names->list[names->count++];
        fake_copy_name(at->name, name);
    } else {
        fake_inode_unref(at->inode);
    }
    at->inode = inode;
}

void fake_remove_name(struct names *names, const char *name)
{
    struct name *at = fake_find(names, name);
    if (at != NULL) {
        fake_inode_unref(at->inode);
        *at = names->list[--names->count];
    }
}

void fake_clear_names(struct names *names)
{
    while (names->count > 0) {
        fake_remove_name(names, names->list[0].name);
    }
}

static void apply_change(struct names *names, const struct change *change)
{
    if (change->remove[0] != 0) {
        fake_remove_name(names, change->remove);
    }
    if (change->inode != NULL) {
        fake_set_name(names, change->add, change->inode);
    }
}

void fake_change_names(struct fake_disk *fake, const char *remove, const char *add, struct inode *inode)
{
    LOCKSTEP_ASSERT(fake->changes_count < CHANGES_MAX);
    struct change *change = &fake->changes[fake->changes_count++];
    memset(change, 0, sizeof *change);
    fake_copy_name(change->remove, remove);
    fake_copy_name(change->add, add);
    change->inode = inode;
    if (inode != NULL) {
        inode->refs++;
    }
    apply_change(&fake->names, change);
}

/* ---- what survives the loss of power ---- */

void fake_write_medium(struct inode *inode, const struct write *write, size_t from, size_t to)
{
    size_t end = (size_t)write->offset + to;
    if (end > inode->medium_size) {
        fake_resize(&inode->medium, &inode->medium_size, end);
    }
    if (to > from) {
        memcpy(inode->medium + write->offset + from, write->data + from, to - from);
    }
}

/* Nothing, all, a first part, a last part, or a hole in the middle. */
static void survive_write(struct fake_disk *fake, struct inode *inode, const struct write *write)
{
    size_t cut = (size_t)simulated_random(&fake->random, write->size + 1);
    switch (simulated_random(&fake->random, 5)) {
    case 0:
        break;
    case 1:
        fake_write_medium(inode, write, 0, write->size);
        break;
    case 2:
        fake_write_medium(inode, write, 0, cut);
        break;
    case 3:
        fake_write_medium(inode, write, cut, write->size);
        break;
    case 4:
        fake_write_medium(inode, write, 0, cut);
        cut += (size_t)simulated_random(&fake->random, write->size + 1 - cut);
        fake_write_medium(inode, write, cut, write->size);
        break;
    }
}

static struct inode *survivor_of(struct fake_disk *fake, const struct inode *inode)
{
    struct inode *after = fake_inode_new();
    fake_resize(&after->medium, &after->medium_size, inode->medium_size);
    memcpy(after->medium, inode->medium, inode->medium_size);
    for (size_t i = 0; i < inode->writes_count; i++) {
        survive_write(fake, after, &inode->writes[i]);
    }
    fake_resize(&after->data, &after->size, after->medium_size);
    memcpy(after->data, after->medium, after->size);
    return after;
}

void fake_note_write(struct inode *inode, const void *data, size_t size, uint64_t offset)
{
    if (inode->writes_count == inode->writes_capacity) {
        inode->writes_capacity = inode->writes_capacity == 0 ? 8 : inode->writes_capacity * 2;
        inode->writes = realloc(inode->writes, inode->writes_capacity * sizeof *inode->writes);
        LOCKSTEP_ASSERT(inode->writes != NULL);
    }
    struct write *write = &inode->writes[inode->writes_count++];
    *write = (struct write){.offset = offset, .size = size, .data = fake_allocate_bytes(size)};
    if (size > 0) {
        memcpy(write->data, data, size);
    }
}

static void power_off_now(struct fake_disk *fake)
{
    struct names names = {.count = 0};
    for (unsigned i = 0; i < fake->medium.count; i++) {
        fake_set_name(&names, fake->medium.list[i].name, fake->medium.list[i].inode);
    }
    unsigned kept = (unsigned)simulated_random(&fake->random, fake->changes_count + 1);
    for (unsigned i = 0; i < kept; i++) {
        apply_change(&names, &fake->changes[i]);
    }
    fake_clear_names(&fake->survivors);
    for (unsigned i = 0; i < names.count; i++) {
        fake_set_name(&fake->survivors, names.list[i].name, survivor_of(fake, names.list[i].inode));
    }
    fake_clear_names(&names);
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

void fake_forget_changes(struct fake_disk *fake)
{
    while (fake->changes_count > 0) {
        fake_inode_unref(fake->changes[--fake->changes_count].inode);
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
    fake_forget_changes(fake);
    fake_clear_names(&fake->names);
    fake_clear_names(&fake->medium);
    for (unsigned i = 0; i < fake->survivors.count; i++) {
        fake_set_name(&fake->names, fake->survivors.list[i].name, fake->survivors.list[i].inode);
        fake_set_name(&fake->medium, fake->survivors.list[i].name, fake->survivors.list[i].inode);
    }
    fake_clear_names(&fake->survivors);
    fake->off = false;
}

/* ---- names that a sync of their directory makes durable ---- */

void fake_sync_names(struct fake_disk *fake, const char *directory)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < fake->changes_count; i++) {
        struct change *change = &fake->changes[i];
        if (fake_in_directory(change->inode != NULL ? change->add : change->remove, directory)) {
            apply_change(&fake->medium, change);
            fake_inode_unref(change->inode);
        } else {
            fake->changes[kept++] = *change;
        }
    }
    fake->changes_count = kept;
}
