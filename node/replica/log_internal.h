/* The inside of the log, shared by its files:
 *
 *   log.c            the calls of log.h, and what they decide
 *   log_table.c      what is where: one slot per entry, the cache of entries in memory
 *   log_write.c      group commit: one write under way at a time
 *   log_prepare.c    the next segment, made before it is needed; the removal of old ones
 *   log_read.c       entries read back for a peer that lags
 *   log_recover.c    log_open: verify, tell a torn tail from rot, cut
 *   log_watermark.c  the file that remembers up to where writes were acknowledged
 *   log_format.c     bytes
 *
 * Who touches what. The loop owns everything here. A job's own struct belongs to its worker from submit to done; besides,
 * the worker reads entries (immutable, L4), the fields of segments (constant once they are in the list) and the options, and the
 * watermark belongs to whichever write is under way. */
#ifndef LOCKSTEP_NODE_REPLICA_LOG_INTERNAL_H
#define LOCKSTEP_NODE_REPLICA_LOG_INTERNAL_H

#include "node/replica/log.h"
#include "node/replica/log_format.h"
#include "protocol/assert.h"

enum {
    LOG_SEGMENT_BYTES_DEFAULT = 16 * 1024 * 1024,
    LOG_CACHE_BYTES_DEFAULT = 4 * 1024 * 1024,
    LOG_WRITE_BYTES_MAX = 4 * 1024 * 1024, /* of one write, unless one record is larger */
    LOG_ENTRY_BYTES_MAX = 64 * 1024 * 1024,
    LOG_ZERO_BYTES = 128 * 1024,     /* zeroed and synced at a time */
    LOG_WATERMARK_SYNC_WRITES = 128, /* log writes between two syncs of the watermark */
    LOG_MESSAGE_BYTES = 512,
};

struct log_segment {
    uint64_t number;
    uint64_t size;
    struct disk_file *file;   /* NULL once it is not the current one: there may be thousands */
    struct log_segment *next; /* the next newer one */
};

/* One entry: where its bytes are on disk, once `segment` is set, and in memory, if `entry` is. */
struct log_slot {
    uint64_t term;
    struct log_entry *entry;
    struct log_segment *segment;
    uint32_t offset; /* of the record */
    uint32_t size;   /* of the data */
};

/* Slots of first..last; slots[i] is that of index slots_first + i. */
struct log_table {
    struct log_slot *slots;
    size_t capacity;
    uint64_t slots_first;
    uint64_t first, last;
    uint64_t prev_term;     /* of first - 1; 0: not known */
    uint64_t payload_bytes; /* first..last */
    /* In memory are cached_first..last. Those up to `settled` are durable and released: they may leave. */
    uint64_t cached_first;
    uint64_t settled;
    uint64_t settled_bytes; /* cached_first..settled */
    uint64_t held_bytes;    /* behind settled */
};

/* Who waits for a reset to become durable. */
struct log_reset_waiter {
    void (*done)(void *ctx);
    void *ctx;
    struct log_reset_waiter *next;
};

struct log_reset {
    bool queued;
    uint64_t index, term;
    struct log_reset_waiter *waiters;
};

/* Two slots, 4096 bytes apart. Only one has unsynced bytes at any time, so that the other survives whatever happens. */
struct log_watermark {
    struct disk_file *file;
    unsigned slot;
    unsigned unsynced; /* writes into `slot` since the last sync */
    uint64_t serial;
    uint64_t sequence; /* records up to it were durable */
};

/* What failed in a job, for the message. */
struct log_failure {
    int error; /* -errno, 0: nothing */
    const char *operation;
    char name[LOG_NAME_BYTES];
};

struct log_write {
    struct disk_job job;
    struct log *log;
    bool active;
    struct log_segment *segment;
    struct disk_file *sealed; /* of the segment before, which nobody writes to any more; or NULL */
    uint64_t offset;
    bool has_header;
    struct log_segment_header header;
    struct log_reset reset;
    struct log_entry **entries; /* referenced */
    size_t count, capacity;
    uint64_t first_sequence, last_sequence;
    uint64_t index_first, index_last; /* those of them that are still current; none if last < first */
    bool sync_watermark;
    uint8_t *buffer;
    size_t buffer_capacity;
    size_t size;
    struct log_failure failure;
};

/* The next segment.
 *   none --log_prepare_pace(): current one an eighth full--> created --slices of zeros--> zeroed
 *   Needed earlier (log_prepare_take()): used as far as it is; what is not zeroed costs a little at each write. */
struct log_prepare {
    struct disk_job job;
    struct log *log;
    bool active;
    bool needed;                 /* a write waits for it */
    struct log_segment *segment; /* NULL: none yet */
    bool created;                /* space reserved, name durable */
    uint64_t zeroed;
    uint64_t retry_tail; /* after -ENOSPC: not before the current segment is that full */
    struct log_failure failure;
};

struct log {
    struct disk *disk;
    struct log_options options;
    struct log_callbacks callbacks;
    struct log_table table;
    uint64_t durable;
    uint64_t released;
    uint64_t queued_first;  /* entries from here on were not yet handed to a write */
    uint64_t sequence;      /* of the next record */
    struct log_reset reset; /* goes before all queued entries */
    bool flush_wanted;
    bool failed;
    unsigned jobs;
    struct log_segment *oldest, *current;
    struct log_segment
        *durable_segment; /* holds the newest durable record: it and newer ones are never removed */
    uint64_t tail;        /* where the next record of `current` goes */
    struct log_watermark watermark;
    struct log_write write;
    struct log_prepare prepare;
};

/* ---- log.c ---- */
/* Report for good (L5): nothing is submitted any more. Call as the last statement. */
void log_fail(struct log *log, const struct log_failure *failure);
void log_failure_text(const struct log_failure *failure, char *message, size_t message_size);
/* @return false, with `failure` filled, if error < 0. */
bool log_check(struct log_failure *failure, int64_t error, const char *operation, const char *name);
/* durable or released moved. */
void log_settle(struct log *log);

/* ---- log_table.c ---- */
void log_table_init(struct log_table *table, uint64_t first, uint64_t prev_term);
void log_table_done(struct log_table *table);
struct log_slot *log_table_slot(const struct log_table *table, uint64_t index); /* first..last, asserted */
/* At last + 1. Takes a reference of `entry`, which may be NULL only if nothing is in memory. */
struct log_slot *log_table_append(struct log_table *table, uint64_t term, uint32_t size,
                                  struct log_entry *entry);
void log_table_truncate(struct log_table *table, uint64_t index); /* index and above go */
void log_table_remove(struct log_table *table, uint64_t first);   /* below `first` goes; first <= last + 1 */
void log_table_reset(struct log_table *table, uint64_t first, uint64_t prev_term);
/* Those up to `index` may leave memory, beyond cache_bytes. */
void log_table_settle(struct log_table *table, uint64_t index, uint64_t cache_bytes);

/* ---- log_write.c ---- */
void log_write_start(struct log *log); /* if there is something to write and no write under way */
void log_write_void(struct log_write *write,
                    uint64_t index); /* its entries from `index` on are no longer current */

/* ---- log_prepare.c ---- */
void log_prepare_pace(struct log *log);
/* @return the segment; NULL: log_write_start() is called again when it is there. */
struct log_segment *log_prepare_take(struct log *log);
/* For log_open: create segment `number` whole. */
struct log_segment *log_segment_create(struct log *log, uint64_t number, struct log_failure *failure);
/* Remove the segments that hold no entry of the log any more. */
void log_segments_trim(struct log *log);
void log_segment_append(struct log *log, struct log_segment *segment); /* to the list, as current */

/* ---- log_watermark.c ---- */
enum log_watermark_state {
    LOG_WATERMARK_VALID,
    LOG_WATERMARK_MISSING,
    LOG_WATERMARK_BAD,
    LOG_WATERMARK_FOREIGN
};
/* Open the file, if it is there, and read it. */
bool log_watermark_open(struct log *log, enum log_watermark_state *ret_state, struct log_failure *failure);
/* Make it, or make it afresh, durable. */
bool log_watermark_create(struct log *log, struct log_failure *failure);
/* On the worker of a write, or in log_open. */
bool log_watermark_write(struct log *log, uint64_t sequence, bool sync, struct log_failure *failure);

#endif
