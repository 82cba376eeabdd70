/* The inside of the fake disk: fake_disk.c (the calls of the seam, and what tests ask for), fake_disk_files.c (names, bytes,
 * and what of them survives). */
#ifndef LOCKSTEP_TESTS_FAKE_DISK_INTERNAL_H
#define LOCKSTEP_TESTS_FAKE_DISK_INTERNAL_H

#include "fake_disk.h"
#include "protocol/assert.h"
#include "tests/support/random.h"

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
    unsigned open_files;
    int fail_error;
    enum fake_end off_how;
    bool failed, off, killed;
    uint64_t limit;
};

void *fake_allocate_bytes(size_t size); /* zeros */
void fake_copy_name(char ret_name[NAME_BYTES], const char *name);
bool fake_in_directory(const char *name, const char *directory);

struct inode *fake_inode_new(void);
void fake_inode_unref(struct inode *inode); /* NULL is fine */
void fake_resize(uint8_t **bytes, size_t *size, size_t wanted);
void fake_note_write(struct inode *inode, const void *data, size_t size, uint64_t offset);
/* Bytes from..to of the write are on the medium. */
void fake_write_medium(struct inode *inode, const struct write *write, size_t from, size_t to);
void fake_forget_writes(struct inode *inode);

struct name *fake_find(struct names *names, const char *name);
void fake_set_name(struct names *names, const char *name, struct inode *inode);
void fake_remove_name(struct names *names, const char *name);
void fake_clear_names(struct names *names);
void fake_change_names(struct fake_disk *fake, const char *remove, const char *add, struct inode *inode);
void fake_sync_names(struct fake_disk *fake, const char *directory);
void fake_forget_changes(struct fake_disk *fake);

#endif
