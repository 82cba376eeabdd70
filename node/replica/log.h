/* The write-ahead log: raft entries in preallocated segment files, one writer with group commit.
 *
 * Invariants
 *  L1  What log_durable_index() covers survives kill -9, power loss and a torn write of anything later.
 *  L2  Entries are contiguous: first..last. A later record for an index overrides earlier ones and voids all above it.
 *  L3  A torn tail (never acknowledged) is cut silently; rot below what was acknowledged is an error that names file and
 *      offset, never a shorter log. Each write attests that those before it were durable, and a durable watermark that
 *      the last one was: these tell the two apart (log_recover.c).
 *  L4  Entry bytes are immutable and counted: a message being sent keeps the very bytes that were there when it was
 *      built, also after a truncation.
 *  L5  A failed write or sync is final: the failure is reported once and the log writes nothing more.
 *
 * Called on the loop; the disk is touched by jobs only (but for log_open). */
#ifndef LOCKSTEP_NODE_REPLICA_LOG_H
#define LOCKSTEP_NODE_REPLICA_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/replica/disk.h"

enum log_entry_type { LOG_COMMAND = 1, LOG_BARRIER = 2, LOG_CHANGE = 3 }; /* as in <raft.h> */

/* One entry's bytes, immutable, shared by count: log cache, messages under way, apply. */
struct log_entry {
    uint64_t index;
    uint64_t term;
    uint32_t refs;
    uint32_t size;
    uint8_t type; /* enum log_entry_type */
    uint8_t data[]; /* `size` bytes */
};

/* A new entry with refs == 1 and room for `size` bytes; index may be set until it is appended. Aborts without memory. */
struct log_entry *log_entry_create(uint64_t index, uint64_t term, enum log_entry_type type, size_t size);
struct log_entry *log_entry_ref(struct log_entry *entry);
void log_entry_unref(struct log_entry *entry); /* NULL is fine */

struct log;

struct log_options {
    uint64_t segment_bytes;     /* size of a segment file, 4 KiB..2 GiB; default 16 MiB. A larger entry gets its own. */
    uint64_t cache_bytes;       /* entries kept in memory once they are durable and released; default 4 MiB */
    uint64_t node_id, cluster_id; /* stamped into each segment; a foreign one refuses to open */
    /* The checksums of records begin with it; the same for as long as the directory lives. Nobody whose data is logged may know it: with it
     * a value could hold what passes for a record, and a write that did not finish would look like rot (L3). */
    uint32_t checksum_seed;
};

struct log_callbacks {
    /* Entries up to `index` (of the current, not of a truncated log) are durable. On the loop, coalesced. */
    void (*durable)(void *ctx, uint64_t index);
    /* Writing failed for good: the process must end. `message` says file, operation and error. */
    void (*failed)(void *ctx, const char *message);
    void *ctx;
};

/* Open or create the log in directory "log" of `disk`, verify every record, cut a torn tail. Blocks; start-up only; begins no
 * job, so that the caller may close it at once. The
 * log keeps its own watermark ("log/watermark"): less on disk than it acknowledged is an error, and so is a directory with
 * a snapshot and without any log.
 * @param first_index_if_empty  index of the first entry if there is none (snapshot index + 1, or 1).
 * @param watermark_index       what the caller knows to have been acknowledged at least (0: nothing); less than it on
 *                              disk, without a snapshot that covers it, is an error.
 * @param snapshot_index        newest valid snapshot; entries at or below it may be missing.
 * @return the log, or NULL with `message` (message_size bytes) saying what is wrong and what to do. */
struct log *log_open(struct disk *disk, const struct log_options *options, const struct log_callbacks *callbacks,
                     uint64_t first_index_if_empty, uint64_t watermark_index, uint64_t snapshot_index, char *message,
                     size_t message_size);
/* Remove the segments that a process left which ended between log_reset() and their removal. To be called once the caller
 * refuses nothing any more, and before anything is appended to what was found: it begins a job. */
void log_clean(struct log *log);
/* Free the memory and close files; waits for nothing: call only when no job is under way (log_idle()). */
void log_close(struct log *log);
bool log_idle(const struct log *log);

uint64_t log_first_index(const struct log *log); /* first..last; empty: last == first - 1 */
uint64_t log_last_index(const struct log *log);
uint64_t log_durable_index(const struct log *log);
/* Term of an entry in [first - 1, last] (first - 1: what log_reset or removal recorded), or 0 if not known. */
uint64_t log_term(const struct log *log, uint64_t index);

/* Append at index last + 1 (asserted), or truncate first: appending at an index <= last drops everything from it on.
 * The log takes its own reference of each. Nothing reaches the disk before log_flush(). */
void log_append(struct log *log, struct log_entry *const *entries, size_t count);
/* Start writing what was appended, unless a write is under way: then it goes with the next one (group commit). */
void log_flush(struct log *log);

/* The entry if it is in memory, else NULL. Not durable or not released ones always are. No new reference. */
struct log_entry *log_get(const struct log *log, uint64_t index);
/* Whether the entries from `first` on are in memory and no more than `bytes_max`, nor than the cache holds: then they stay there
 * for as long as nothing is appended. */
bool log_keeps(const struct log *log, uint64_t first, uint64_t bytes_max);
/* Entries up to `index` are applied: those beyond cache_bytes may leave memory once durable. After log_open() all
 * entries above snapshot_index are in memory until released. */
void log_release(struct log *log, uint64_t index);

/* Read entries [first, first + count) from disk for a lagging peer, at most bytes_max (at least one entry). `done` runs
 * on the loop with references that it takes over (it unrefs them), or count 0 if the range is gone or was truncated
 * meanwhile. At most one read per peer is the caller's rule. */
typedef void (*log_read_cb)(void *ctx, struct log_entry **entries, size_t count);
void log_read(struct log *log, uint64_t first, size_t count, size_t bytes_max, log_read_cb done, void *ctx);

/* Entries up to `index` (<= durable) are covered by a snapshot and no longer needed: whole segments below go, so that
 * log_first_index() afterwards is index + 1 or less. */
void log_remove_prefix(struct log *log, uint64_t index);
/* An installed snapshot replaces the log: forget everything, next entry is index + 1, with `term` as that of `index`. A
 * record that voids all earlier entries is written, without a flush, and durable when `done(ctx)` is called; entries
 * appended meanwhile follow it. log_durable_index() is `index` at once: the snapshot covers it. */
void log_reset(struct log *log, uint64_t index, uint64_t term, void (*done)(void *ctx), void *ctx);

uint64_t log_bytes(const struct log *log); /* on disk, for the snapshot threshold: payload bytes first..last */
/* Payload bytes that can not leave memory: of entries that are not durable, or not released. */
uint64_t log_held_bytes(const struct log *log);

#endif
