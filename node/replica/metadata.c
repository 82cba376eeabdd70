/* Term, vote and identity: one record in two files, both written and synced by every store, one after the other. Owns the
 * files "metadata-1", "metadata-2" and, for an instant, "metadata.part". Never guesses: with no valid copy it refuses.
 *
 *  M1  A store is done when both copies have it. So rot of either copy, at any time but during a store, costs nothing:
 *      with only one copy written in turn, rot of the newer would bring back an older vote.
 *  M2  A crash during a store leaves at least one valid copy, old or new; what metadata_load() returns is in both copies,
 *      durably, before it returns it: a vote that it tells of can not be taken back by the next crash.
 *  M3  A file under one of the two names was whole once. So a bad one beside a missing one is damage, never a first start
 *      that was interrupted.
 *
 * Each file, 512 bytes:
 *
 *    0   8  magic "LSMETA" and two zeros
 *    8   4  version, 1
 *   12   4  CRC-32C of bytes 0..11 and 16..511
 *   16   8  serial, raised by every store; the greater one counts
 *   24   8  cluster id
 *   32   8  node id
 *   40   8  incarnation
 *   48   8  term
 *   56   8  voted for
 *   64   4  formed, 0 or 1
 *   68   4  number of known members, at most 15
 *   72 240  each known member: node id, incarnation
 *  312   …  zeros */
#include "node/replica/metadata.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/replica/crc32c.h"
#include "node/replica/little_endian.h"
#include "node/replica/log_format.h"
#include "protocol/assert.h"

enum { COPIES = 2, COPY_BYTES = 512, COPY_VERSION = 1, KNOWN_AT = 72 };

static const uint8_t magic[8] = {'L', 'S', 'M', 'E', 'T', 'A', 0, 0};
static const char *const names[COPIES] = {"metadata-1", "metadata-2"};
static const char unfinished[] = "metadata.part";

enum copy_state { COPY_MISSING, COPY_BAD, COPY_NEWER_VERSION, COPY_VALID };

struct copies {
    enum copy_state states[COPIES];
    uint64_t serials[COPIES];
    struct metadata values[COPIES];
};

struct failure {
    char *message;
    size_t size;
};

static bool check(struct failure *failure, int64_t error, const char *operation, const char *name)
{
    if (error >= 0) {
        return true;
    }
    (void)snprintf(failure->message, failure->size, "%scannot %s %s: %s",
                   error == -ENOSPC ? "disk full: " : "", operation, name, strerror((int)-error));
    return false;
}

/* ---- bytes ---- */

static uint32_t checksum(const uint8_t *bytes)
{
    return crc32c(crc32c(0, bytes, 12), bytes + 16, COPY_BYTES - 16);
}

static void encode(const struct metadata *metadata, uint64_t serial, uint8_t *out)
{
    LOCKSTEP_ASSERT(metadata->cluster_id != 0 && metadata->node_id != 0);
    LOCKSTEP_ASSERT(metadata->known_count <= METADATA_KNOWN_MAX);
    memset(out, 0, COPY_BYTES);
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, COPY_VERSION);
    put_u64(out + 16, serial);
    put_u64(out + 24, metadata->cluster_id);
    put_u64(out + 32, metadata->node_id);
    put_u64(out + 40, metadata->incarnation);
    put_u64(out + 48, metadata->term);
    put_u64(out + 56, metadata->voted_for);
    put_u32(out + 64, metadata->formed ? 1 : 0);
    put_u32(out + 68, metadata->known_count);
    for (unsigned i = 0; i < metadata->known_count; i++) {
        put_u64(out + KNOWN_AT + 16 * (size_t)i, metadata->known[i].node_id);
        put_u64(out + KNOWN_AT + 16 * (size_t)i + 8, metadata->known[i].incarnation);
    }
    put_u32(out + 12, checksum(out));
}

static enum copy_state decode(const uint8_t *bytes, struct metadata *ret_metadata, uint64_t *ret_serial)
{
    if (memcmp(bytes, magic, sizeof magic) != 0 || get_u32(bytes + 12) != checksum(bytes)) {
        return COPY_BAD;
    }
    if (get_u32(bytes + 8) != COPY_VERSION) {
        return COPY_NEWER_VERSION;
    }
    if (get_u32(bytes + 68) > METADATA_KNOWN_MAX || get_u64(bytes + 24) == 0 || get_u64(bytes + 32) == 0) {
        return COPY_BAD;
    }
    memset(ret_metadata, 0, sizeof *ret_metadata);
    *ret_serial = get_u64(bytes + 16);
    ret_metadata->cluster_id = get_u64(bytes + 24);
    ret_metadata->node_id = get_u64(bytes + 32);
    ret_metadata->incarnation = get_u64(bytes + 40);
    ret_metadata->term = get_u64(bytes + 48);
    ret_metadata->voted_for = get_u64(bytes + 56);
    ret_metadata->formed = get_u32(bytes + 64) != 0;
    ret_metadata->known_count = get_u32(bytes + 68);
    for (unsigned i = 0; i < ret_metadata->known_count; i++) {
        ret_metadata->known[i].node_id = get_u64(bytes + KNOWN_AT + 16 * (size_t)i);
        ret_metadata->known[i].incarnation = get_u64(bytes + KNOWN_AT + 16 * (size_t)i + 8);
    }
    return COPY_VALID;
}

/* ---- files ---- */

static bool read_copy(struct disk *disk, unsigned i, struct copies *copies, struct failure *failure)
{
    struct disk_file *file;
    uint8_t bytes[COPY_BYTES];
    int rv = disk->ops->open(disk, names[i], DISK_READ, &file);
    if (rv == -ENOENT) {
        copies->states[i] = COPY_MISSING;
        return true;
    }
    if (!check(failure, rv, "open", names[i])) {
        return false;
    }
    int64_t count = disk->ops->read(disk, file, bytes, sizeof bytes, 0);
    disk->ops->close(disk, file);
    copies->states[i] =
        count == COPY_BYTES ? decode(bytes, &copies->values[i], &copies->serials[i]) : COPY_BAD;
    return check(failure, count, "read", names[i]);
}

static bool read_copies(struct disk *disk, struct copies *copies, struct failure *failure)
{
    memset(copies, 0, sizeof *copies);
    return read_copy(disk, 0, copies, failure) && read_copy(disk, 1, copies, failure);
}

/* The valid copy with the greater serial, or -1. */
static int newest(const struct copies *copies)
{
    int best = -1;
    for (int i = 0; i < COPIES; i++) {
        if (copies->states[i] == COPY_VALID && (best < 0 || copies->serials[i] > copies->serials[best])) {
            best = i;
        }
    }
    return best;
}

static bool write_file(struct disk *disk, const char *name, const uint8_t *bytes, struct failure *failure)
{
    struct disk_file *file;
    if (!check(failure, disk->ops->open(disk, name, DISK_WRITE | DISK_CREATE, &file), "open", name)) {
        return false;
    }
    bool fine = check(failure, disk->ops->write(disk, file, bytes, COPY_BYTES, 0), "write to", name) &&
                check(failure, disk->ops->sync(disk, file), "sync", name);
    disk->ops->close(disk, file);
    return fine;
}

/* M3: what does not exist yet gets its name when it is whole. */
static bool write_copy(struct disk *disk, unsigned i, const uint8_t *bytes, bool is_new,
                       struct failure *failure)
{
    if (!is_new) {
        return write_file(disk, names[i], bytes, failure);
    }
    return write_file(disk, unfinished, bytes, failure) &&
           check(failure, disk->ops->rename(disk, unfinished, names[i]), "create", names[i]) &&
           check(failure, disk->ops->sync_dir(disk, ""), "sync directory", ".");
}

/* One after the other: the second is not touched before the first is durable. */
static bool write_copies(struct disk *disk, unsigned first, const uint8_t *bytes, const struct copies *copies,
                         struct failure *failure)
{
    return write_copy(disk, first, bytes, copies->states[first] == COPY_MISSING, failure) &&
           write_copy(disk, 1 - first, bytes, copies->states[1 - first] == COPY_MISSING, failure);
}

/* M2: what counts may be in the kernel's memory only, because the process ended before its sync, or a sync failed. Then the
 * other copy is durable and must stand until this one is; if this one is durable, the other may be bad, but to write the
 * same bytes once more can not tear it. So it goes first, unchanged, in both cases. */
static bool confirm(struct disk *disk, unsigned best, const struct copies *copies, struct failure *failure)
{
    uint8_t bytes[COPY_BYTES];
    encode(&copies->values[best], copies->serials[best], bytes);
    return write_copies(disk, best, bytes, copies, failure);
}

/* ---- a directory without metadata ---- */

struct search {
    struct disk *disk;
    bool found;
    char name[128];
};

static void note_snapshot(void *ctx, const char *entry)
{
    struct search *search = ctx;
    size_t length = strlen(entry);
    if (!search->found && length > 5 && strcmp(entry + length - 5, ".snap") == 0) {
        search->found = true;
        (void)snprintf(search->name, sizeof search->name, "snapshot/%s", entry);
    }
}

/* A segment that was prepared and never used begins with zeros: a first start that was interrupted leaves one. */
static void note_segment(void *ctx, const char *entry)
{
    struct search *search = ctx;
    static const uint8_t zeros[LOG_SEGMENT_HEADER_BYTES];
    uint8_t bytes[LOG_SEGMENT_HEADER_BYTES] = {0};
    struct disk_file *file;
    char name[LOG_NAME_BYTES];
    uint64_t number = log_segment_number(entry);
    if (search->found || number == 0) {
        return;
    }
    log_segment_name(number, name);
    if (search->disk->ops->open(search->disk, name, DISK_READ, &file) == 0) {
        (void)search->disk->ops->read(search->disk, file, bytes, sizeof bytes, 0);
        search->disk->ops->close(search->disk, file);
    }
    search->found = memcmp(bytes, zeros, sizeof zeros) != 0;
    (void)snprintf(search->name, sizeof search->name, "%s", name);
}

/* Vote and term are gone if the rest of the directory is in use: such a node must not come back under its id. */
static enum metadata_result is_fresh(struct disk *disk, struct failure *failure)
{
    struct search search = {.disk = disk};
    int rv = disk->ops->list(disk, "snapshot", note_snapshot, &search);
    if (!check(failure, rv == -ENOENT ? 0 : rv, "list directory", "snapshot")) {
        return METADATA_ERROR;
    }
    rv = disk->ops->list(disk, "log", note_segment, &search);
    if (!check(failure, rv == -ENOENT ? 0 : rv, "list directory", "log")) {
        return METADATA_ERROR;
    }
    if (search.found) {
        (void)snprintf(
            failure->message, failure->size,
            "metadata-1 and metadata-2 are missing, but there is %s: this node's votes are lost; put the files back, if "
            "there is a copy of this very state; else see docs/operations.md, \"A node is lost\"",
            search.name);
        return METADATA_CORRUPT;
    }
    return METADATA_NONE;
}

/* ---- metadata.h ---- */

static enum metadata_result refuse(const struct copies *copies, struct failure *failure)
{
    if (copies->states[0] == COPY_NEWER_VERSION || copies->states[1] == COPY_NEWER_VERSION) {
        (void)snprintf(
            failure->message, failure->size,
            "metadata-1 or metadata-2 was written by a newer version of this program: start that one");
        return METADATA_CORRUPT;
    }
    (void)snprintf(
        failure->message, failure->size,
        "metadata-1 is %s and metadata-2 is %s: this node's votes are not known; put one of the files back, if there is a "
        "copy of this very state; else see docs/operations.md, \"A node is lost\"",
        copies->states[0] == COPY_MISSING ? "missing" : "damaged",
        copies->states[1] == COPY_MISSING ? "missing" : "damaged");
    return METADATA_CORRUPT;
}

enum metadata_result metadata_load(struct disk *disk, struct metadata *ret_metadata, char *message,
                                   size_t message_size)
{
    struct failure failure = {.message = message, .size = message_size};
    struct copies copies;
    if (!read_copies(disk, &copies, &failure)) {
        return METADATA_ERROR;
    }
    if (copies.states[0] == COPY_MISSING && copies.states[1] == COPY_MISSING) {
        return is_fresh(disk, &failure);
    }
    int best = newest(&copies);
    bool other_version = copies.states[0] == COPY_NEWER_VERSION || copies.states[1] == COPY_NEWER_VERSION;
    if (best < 0 || other_version) {
        return refuse(&copies, &failure);
    }
    if (!confirm(disk, (unsigned)best, &copies, &failure)) {
        return METADATA_ERROR;
    }
    *ret_metadata = copies.values[best];
    return METADATA_OK;
}

/* Both copies are durable before it, because metadata_load() or the store before saw to it. */
bool metadata_store(struct disk *disk, const struct metadata *metadata, char *message, size_t message_size)
{
    struct failure failure = {.message = message, .size = message_size};
    struct copies copies;
    uint8_t bytes[COPY_BYTES];
    if (!read_copies(disk, &copies, &failure)) {
        return false;
    }
    int best = newest(&copies);
    encode(metadata, best < 0 ? 1 : copies.serials[best] + 1, bytes);
    return write_copies(disk, 0, bytes, &copies, &failure);
}
