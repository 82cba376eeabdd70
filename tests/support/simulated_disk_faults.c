/* What goes wrong with the simulated disk: ends of a process, what survives them, failing calls, rot. */
#include "tests/support/simulated_disk_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

/* The survivor of an inode: its durable bytes, and some sectors of some of the unsynced writes. */
static struct inode *inode_after_crash(struct simulated_disk *disk, const struct inode *inode)
{
    struct inode *after = calloc(1, sizeof *after);
    bool longer = inode->size != inode->durable_size && simulated_random(disk->random, 2) == 0;
    size_t size = longer ? inode->size : inode->durable_size;
    simulated_grow(&after->data, &after->capacity, size + 1);
    if (inode->durable_size > 0) {
        memcpy(after->data, inode->durable, inode->durable_size < size ? inode->durable_size : size);
    }
    after->size = size;
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        struct span span = inode->unsynced[i];
        bool all = simulated_random(disk->random, 3) == 0;
        for (uint64_t at = span.offset; at < span.offset + span.size && at < size;) {
            uint64_t next = (at / SECTOR + 1) * SECTOR;
            next = next > span.offset + span.size ? span.offset + span.size : next;
            next = next > size ? size : next;
            if (all || simulated_random(disk->random, 2) == 0) {
                memcpy(after->data + at, inode->data + at, next - at);
            }
            at = next;
        }
    }
    simulated_grow(&after->durable, &after->durable_capacity, size + 1);
    memcpy(after->durable, after->data, size);
    after->durable_size = size;
    return after;
}

void simulated_survivors_clear(struct simulated_disk *disk)
{
    simulated_names_clear(&disk->survivors);
    simulated_names_clear(&disk->survivors_durable);
    while (disk->survivors_changes_count > 0) {
        simulated_inode_unref(disk->survivors_changes[--disk->survivors_changes_count].inode);
    }
}

/* @return false if it was decided before what survives. */
static bool process_ends(struct simulated_disk *disk)
{
    simulated_disk_heal(disk);
    disk->end_in = 0;
    if (disk->crashed) {
        return false;
    }
    disk->crashed = true;
    simulated_survivors_clear(disk);
    return true;
}

void simulated_disk_crash(struct simulated_disk *disk)
{
    struct names names = {.count = 0};
    if (!process_ends(disk)) {
        return;
    }
    simulated_names_copy(&names, &disk->durable);
    unsigned kept = (unsigned)simulated_random(disk->random, disk->changes_count + 1);
    for (unsigned i = 0; i < kept; i++) {
        simulated_change_apply(&names, &disk->changes[i]);
    }
    for (unsigned i = 0; i < names.count; i++) {
        simulated_names_set(&disk->survivors, names.list[i].name,
                            inode_after_crash(disk, names.list[i].inode));
    }
    simulated_names_copy(&disk->survivors_durable, &disk->survivors);
    simulated_names_clear(&names);
}

static struct inode *inode_copy(const struct inode *inode)
{
    struct inode *copy = calloc(1, sizeof *copy);
    LOCKSTEP_ASSERT(copy != NULL);
    simulated_grow(&copy->data, &copy->capacity, inode->size + 1);
    simulated_grow(&copy->durable, &copy->durable_capacity, inode->durable_size + 1);
    if (inode->size > 0) { /* else it may have no memory yet: a file that was created and not written */
        memcpy(copy->data, inode->data, inode->size);
    }
    if (inode->durable_size > 0) {
        memcpy(copy->durable, inode->durable, inode->durable_size);
    }
    copy->size = inode->size;
    copy->durable_size = inode->durable_size;
    for (unsigned i = 0; i < inode->unsynced_count; i++) {
        simulated_note_unsynced(copy, inode->unsynced[i].offset, inode->unsynced[i].size);
    }
    return copy;
}

static struct inode *copied(struct inode *inode)
{
    if (inode->copy == NULL) {
        inode->copy = inode_copy(inode);
    }
    return inode->copy;
}

static void names_copied(struct names *to, const struct names *from)
{
    for (unsigned i = 0; i < from->count; i++) {
        simulated_names_set(to, from->list[i].name, copied(from->list[i].inode));
    }
}

static void forget_copies(struct names *names)
{
    for (unsigned i = 0; i < names->count; i++) {
        names->list[i].inode->copy = NULL;
    }
}

void simulated_disk_kill(struct simulated_disk *disk)
{
    if (!process_ends(disk)) {
        return;
    }
    names_copied(&disk->survivors, &disk->names);
    names_copied(&disk->survivors_durable, &disk->durable);
    for (unsigned i = 0; i < disk->changes_count; i++) {
        struct change *change = &disk->survivors_changes[disk->survivors_changes_count++];
        *change = disk->changes[i];
        change->inode = copied(change->inode);
        change->inode->refs++;
    }
    forget_copies(&disk->names);
    forget_copies(&disk->durable);
    for (unsigned i = 0; i < disk->changes_count; i++) {
        disk->changes[i].inode->copy = NULL;
    }
}

void simulated_disk_end_after(struct simulated_disk *disk, const char *prefix, unsigned calls, bool power,
                              void (*ended)(void *ctx), void *ctx)
{
    disk->end_in = ended == NULL || disk->crashed ? 0 : calls + 1;
    disk->end_power = power;
    simulated_name_copy(disk->end_prefix, prefix);
    disk->ended = ended;
    disk->ended_ctx = ctx;
}

bool simulated_ends(struct simulated_disk *disk, const char *name)
{
    return disk->end_in > 0 && strncmp(name, disk->end_prefix, strlen(disk->end_prefix)) == 0 &&
           --disk->end_in == 0;
}

void simulated_end(struct simulated_disk *disk)
{
    if (disk->end_power) {
        simulated_disk_crash(disk);
    } else {
        simulated_disk_kill(disk);
    }
    disk->ended(disk->ended_ctx);
}

void simulated_disk_boot(struct simulated_disk *disk)
{
    LOCKSTEP_ASSERT(!simulated_disk_busy(disk));
    if (!disk->crashed) {
        return;
    }
    simulated_disk_wipe(disk);
    simulated_names_copy(&disk->names, &disk->survivors);
    simulated_names_copy(&disk->durable, &disk->survivors_durable);
    for (unsigned i = 0; i < disk->survivors_changes_count; i++) {
        disk->changes[i] = disk->survivors_changes[i];
        disk->changes[i].inode->refs++;
    }
    disk->changes_count = disk->survivors_changes_count;
    simulated_survivors_clear(disk);
    disk->crashed = false;
}

void simulated_disk_full(struct simulated_disk *disk, const char *prefix)
{
    disk->full[0] = 0;
    if (prefix != NULL) {
        simulated_name_copy(disk->full, prefix);
    }
}

void simulated_disk_fail_after(struct simulated_disk *disk, unsigned calls)
{
    disk->fail_in = calls + 1;
}

void simulated_disk_heal(struct simulated_disk *disk)
{
    disk->full[0] = 0;
    disk->fail_in = 0;
}

bool simulated_disk_fails(const struct simulated_disk *disk)
{
    return disk->fail_in > 0;
}

/* Give the byte one value instead of another, in the present and in the durable contents. */
static void turn_byte(struct simulated_disk *disk, uint8_t from, uint8_t to)
{
    struct name *at = simulated_names_find(&disk->names, disk->rot.name);
    uint64_t offset = disk->rot.offset;
    if (at == NULL) {
        return;
    }
    struct inode *inode = at->inode;
    if (offset < inode->size && inode->data[offset] == from) {
        inode->data[offset] = to;
    }
    if (offset < inode->durable_size && inode->durable[offset] == from) {
        inode->durable[offset] = to;
    }
}

void simulated_rot_overwritten(struct simulated_disk *disk, const char *name, uint64_t offset, uint64_t size)
{
    if (disk->rot.present && strcmp(disk->rot.name, name) == 0 && disk->rot.offset >= offset &&
        disk->rot.offset - offset < size) {
        disk->rot.present = false;
    }
}

bool simulated_disk_rot(struct simulated_disk *disk, char *ret_name, size_t name_size, uint64_t *ret_offset)
{
    if (disk->names.count == 0) {
        return false;
    }
    const struct name *at = &disk->names.list[simulated_random(disk->random, disk->names.count)];
    if (at->inode->size == 0) {
        return false;
    }
    simulated_name_copy(disk->rot.name, at->name);
    disk->rot.offset = simulated_random(disk->random, at->inode->size);
    disk->rot.sound = at->inode->data[disk->rot.offset];
    disk->rot.rotten = (uint8_t)(disk->rot.sound ^ (1 + simulated_random(disk->random, 255)));
    disk->rot.present = true;
    turn_byte(disk, disk->rot.sound, disk->rot.rotten);
    (void)snprintf(ret_name, name_size, "%s", at->name);
    *ret_offset = disk->rot.offset;
    return true;
}

void simulated_disk_mend(struct simulated_disk *disk)
{
    if (disk->rot.present) {
        turn_byte(disk, disk->rot.rotten, disk->rot.sound);
        disk->rot.present = false;
    }
}
