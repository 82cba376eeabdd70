/* The snapshot store: written beside the loop in chunks, digested, renamed when whole; at most two kept.
 *
 *   snapshot/<index>-<term>.snap   header (magic, version, ids, index, term, configuration index and bytes), body
 *                                  chunks with CRC32C, trailer with total size and XXH3-128 of the body
 *   *.part                         unfinished; removed at start
 *
 * Invariants
 *  S1  A file without ".part" is whole: its bytes and its name were synced, in that order.
 *  S2  The newest snapshot is never removed; an older one goes only after a newer is durable.
 *
 * Called on the loop; the disk is touched by jobs on DISK_LANE_SNAPSHOT (but for open and load). One writer at a time. */
#ifndef LOCKSTEP_NODE_REPLICA_SNAPSHOTS_H
#define LOCKSTEP_NODE_REPLICA_SNAPSHOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/replica/disk.h"

enum { SNAPSHOT_CONFIGURATION_BYTES_MAX = 64 * 1024, SNAPSHOT_CHUNK_BYTES_MAX = 256 * 1024 };

struct snapshot_info {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    uint32_t configuration_size;
    uint8_t configuration[SNAPSHOT_CONFIGURATION_BYTES_MAX]; /* as raft_configuration_encode() */
    uint64_t body_bytes; /* known once whole */
    uint8_t body_digest[16];
};

struct snapshots;

/* Look through the directory "snapshot", remove *.part, verify the newest whole file (header, chunks, digest); if it is
 * bad that is an error unless an older valid one exists and the log still reaches back to it (the caller decides:
 * snapshots_newest() is then the older one and `message` tells). Blocks; start-up only. */
struct snapshots *snapshots_open(struct disk *disk, uint64_t cluster_id, char *message, size_t message_size);
/* Writers and readers must have ended. The memory goes when the last job has run its `done`; if the disk is closed before
 * that (snapshots_idle() is false), it never goes. */
void snapshots_close(struct snapshots *snapshots);
bool snapshots_idle(const struct snapshots *snapshots); /* no job is under way */
/* The newest whole snapshot, or NULL. Valid until the next one is finished. */
const struct snapshot_info *snapshots_newest(const struct snapshots *snapshots);

/* Read the newest one's body from start to end, blocking, start-up only. `feed` returns false to stop. */
bool snapshots_load(struct snapshots *snapshots, bool (*feed)(void *ctx, const void *data, size_t size), void *ctx,
                    char *message, size_t message_size);

/* ---- writing: our own, or one that comes in from the leader ---- */
struct snapshot_writer;
/* `failed` (disk error: the process must end, except for -ENOSPC of our own snapshot, which may be abandoned) runs at
 * most once, on the loop. After it no other callback comes; the writer waits for snapshot_writer_abandon(). */
struct snapshot_writer *snapshot_writer_begin(struct snapshots *snapshots, const struct snapshot_info *info,
                                              void (*failed)(void *ctx, int error, const char *message), void *ctx);
/* Queue body bytes (copied). @return bytes queued and not yet on disk, for the caller to pace itself. */
size_t snapshot_writer_add(struct snapshot_writer *writer, const void *data, size_t size);
size_t snapshot_writer_backlog(const struct snapshot_writer *writer);
/* All was added: sync, check `expected_digest` if not NULL (an incoming one), rename, sync the directory; then `done`
 * with ok, on the loop. It is then the newest; the writer is gone. Not ok: the digest was another one. */
void snapshot_writer_finish(struct snapshot_writer *writer, const uint8_t *expected_digest,
                            void (*done)(void *ctx, bool ok), void *ctx);
/* Give up: the part file is removed; the writer is gone; no callback follows. */
void snapshot_writer_abandon(struct snapshot_writer *writer);

/* ---- reading beside the loop, to send one to a follower or to restore an installed one ---- */
struct snapshot_reader;
/* Holds the newest file (it is not removed while read). NULL if there is none. */
struct snapshot_reader *snapshot_reader_begin(struct snapshots *snapshots);
const struct snapshot_info *snapshot_reader_info(const struct snapshot_reader *reader);
/* Read the next body bytes (at most SNAPSHOT_CHUNK_BYTES_MAX) beside the loop; `done` gets them, size 0 at the end, or
 * error < 0. One at a time. The bytes live until the callback returns. */
void snapshot_reader_next(struct snapshot_reader *reader,
                          void (*done)(void *ctx, const void *data, size_t size, int error), void *ctx);
/* Waits for nothing: a read under way completes without calling back. */
void snapshot_reader_end(struct snapshot_reader *reader);

#endif
