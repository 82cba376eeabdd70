/* The simulated disk's structure, shared by simulated_disk.c (files and jobs) and simulated_disk_faults.c. */
#ifndef LOCKSTEP_TESTS_SUPPORT_SIMULATED_DISK_INTERNAL_H
#define LOCKSTEP_TESTS_SUPPORT_SIMULATED_DISK_INTERNAL_H

#include "tests/support/random.h"
#include "tests/support/simulated_disk.h"

enum { NAME_BYTES = 96, NAMES_MAX = 512, SECTOR = 512, PAGE = 4096 };

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
    struct inode *copy; /* only while all are copied */
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

/* A directory: what is there, what of it is durable, and what lies between the two. */
struct contents {
    struct names names, durable;
    struct change changes[NAMES_MAX];
    unsigned changes_count;
};

struct simulated_disk {
    struct disk seam;
    uint64_t *random;
    uint64_t now;
    unsigned latency_min, latency_max;
    struct names names, durable;
    struct change changes[NAMES_MAX];
    unsigned changes_count;
    /* after a crash, before the boot: what names and durable are to be, and what lies between them */
    struct names survivors, survivors_durable;
    struct change survivors_changes[NAMES_MAX];
    unsigned survivors_changes_count;
    bool crashed;
    unsigned end_in; /* the process ends within the so-manieth call from here; 0: not */
    bool end_power;
    char end_prefix[NAME_BYTES];
    void (*ended)(void *ctx);
    void *ended_ctx;
    struct contents *away; /* the directory, while an empty one stands in its place */
    char full[NAME_BYTES];
    unsigned fail_in; /* the so-manieth call from here fails; 0: none */
    struct {
        char name[NAME_BYTES];
        uint64_t offset;
        uint8_t sound, rotten;
        bool present; /* not overwritten since, nor put back */
    } rot;
    struct {
        struct disk_job *first, *last;
        uint64_t due;
    } lanes[DISK_LANES];
};

void simulated_name_copy(char *to, const char *name);
void simulated_inode_unref(struct inode *inode);
void simulated_grow(uint8_t **data, size_t *capacity, size_t size);
void simulated_note_unsynced(struct inode *inode, uint64_t offset, uint64_t size);

/* What was written over a rotten byte is sound. */
void simulated_rot_overwritten(struct simulated_disk *disk, const char *name, uint64_t offset, uint64_t size);

struct name *simulated_names_find(struct names *names, const char *name);
void simulated_names_set(struct names *names, const char *name, struct inode *inode);
void simulated_names_clear(struct names *names);
void simulated_names_copy(struct names *to, const struct names *from);
void simulated_change_apply(struct names *names, const struct change *change);
/* Every call that changes something asks first. @return whether the process ends within this one: then do of it what is
 * done by halves, and simulated_end(). */
bool simulated_ends(struct simulated_disk *disk, const char *name);
void simulated_end(struct simulated_disk *disk);
void simulated_survivors_clear(struct simulated_disk *disk);

#endif
