/* The snapshot store's inside:
 *
 *   snapshots.c         the list of files, opening, loading, removing
 *   snapshots_format.c  bytes, and reading a file from start to end
 *   snapshots_write.c   the writer
 *   snapshots_read.c    the reader
 *
 * Who touches what: the loop owns the list and everything of a writer and reader but what their structs mark as the
 * worker's. */
#ifndef LOCKSTEP_NODE_REPLICA_SNAPSHOTS_INTERNAL_H
#define LOCKSTEP_NODE_REPLICA_SNAPSHOTS_INTERNAL_H

#include <xxhash.h>

#include "node/replica/snapshots.h"
#include "protocol/assert.h"

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEADER_BYTES = 64,
    SNAPSHOT_CHUNK_HEADER_BYTES = 8,
    SNAPSHOT_TRAILER_BYTES = 32,
    SNAPSHOT_NAME_BYTES = 80,
    SNAPSHOT_SYNC_BYTES =
        1024 * 1024, /* written between two syncs: no sync has so much to do that log writes feel it */
    SNAPSHOTS_KEPT = 2,
};

/* One file of the store. */
struct snapshot_file {
    struct snapshot_info info;
    bool bad; /* did not verify: counts for nothing, goes with the next one that is finished */
    bool listed;
    unsigned readers;
    struct snapshot_file *next; /* older */
};

struct snapshots {
    struct disk *disk;
    uint64_t cluster_id;
    struct snapshot_file *files; /* the newest first */
    struct snapshot_writer *writer;
    unsigned jobs;
    bool closing;
};

/* ---- snapshots.c ---- */
void snapshots_submit(struct snapshots *snapshots, struct disk_job *job);
/* A job's done: the last thing that it does with the store, which may be gone afterwards. */
void snapshots_job_ended(struct snapshots *snapshots);
struct snapshot_file *snapshots_newest_file(const struct snapshots *snapshots);
/* `info` is whole under its name; the list takes a copy. */
void snapshots_add(struct snapshots *snapshots, const struct snapshot_info *info);
void snapshots_trim(struct snapshots *snapshots);
void snapshots_release_file(struct snapshot_file *file); /* a reader less */

/* ---- snapshots_format.c ---- */
void snapshot_name(uint64_t index, uint64_t term, bool part, char ret_name[SNAPSHOT_NAME_BYTES]);
/* `entry` is the name without its directory. @return false if it is not a whole snapshot's. */
bool snapshot_name_parse(const char *entry, uint64_t *ret_index, uint64_t *ret_term);
/* `out` has room for the header and the configuration. @return the bytes of both. */
size_t snapshot_header_encode(const struct snapshot_info *info, uint64_t cluster_id, uint8_t *out);
void snapshot_chunk_header_encode(uint64_t body_offset, const void *data, uint32_t size, uint8_t *out);
void snapshot_trailer_encode(uint64_t body_bytes, const uint8_t digest[16], uint8_t *out);
void snapshot_digest(const XXH3_state_t *state, uint8_t ret_digest[16]);

/* A file read from start to end; all of it is checked on the way. */
struct snapshot_stream {
    struct disk *disk;
    struct disk_file *file;
    uint64_t offset;
    uint64_t body_bytes;
    XXH3_state_t *digest;
    uint8_t trailer_digest[16];
    const char *problem; /* what is wrong, if a call failed */
};
/* @return 0, or -errno with stream->problem (-EBADMSG: the bytes are wrong). info's body fields are not known yet. */
int snapshot_stream_open(struct snapshot_stream *stream, struct disk *disk, uint64_t cluster_id,
                         const char *name, struct snapshot_info *ret_info);
/* The next chunk into `data` (SNAPSHOT_CHUNK_BYTES_MAX). @return its size, 0 at the end (digest and size were right), or
 * -errno. */
int64_t snapshot_stream_next(struct snapshot_stream *stream, uint8_t *data);
void snapshot_stream_close(struct snapshot_stream *stream); /* also after a failed open */

#endif
