/* Our own snapshots: an image of the machine written in slices beside everything else, then told to raft, then the log
 * before it removed, less a tail for followers that lag.
 *
 *   NONE --enough was applied--> WRITING --the machine is through--> FINISHING --durable--> WHOLE --the log is durable
 *   up to it: RAFT_SNAPSHOT, prefix removed--> NONE;   WRITING, WHOLE --an installation begins, or the disk is full--> NONE */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

static void take_failed(void *ctx, int error, const char *message)
{
    struct replica *replica = ctx;
    if (error != -ENOSPC) {
        replica_fatal(replica, "cannot write a snapshot: %s", message);
    }
    replica->take.failed = error;
    replica_log(replica, LOGGER_ERROR, "no space for a snapshot; the log keeps growing until there is: %s",
                message);
}

static bool take_is_due(const struct replica *replica)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    uint64_t threshold = replica->config.snapshot_after_bytes;
    if (replica_installing(replica) || replica->incoming.phase != INCOMING_NONE ||
        replica->now_ms < replica->take.retry_ms) {
        return false;
    }
    if (replica_streams_alive(replica)) {
        threshold *= REPLICA_LOG_GROWS; /* A newer one would remove what the follower needs right after the stream. */
    }
    uint64_t newest_index = newest == NULL ? 0 : newest->index;
    return replica->bytes_applied > threshold && replica->applied_index > newest_index &&
           replica->applied_index > replica->raft.trail.snapshot.index;
}

static void take_begin(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    LOCKSTEP_ASSERT(replica->change.index > 0);
    take->info = calloc(1, sizeof *take->info);
    LOCKSTEP_ASSERT(take->info != NULL);
    take->info->index = replica->applied_index;
    take->info->term = replica->applied_term;
    take->info->configuration_index = replica->change.index;
    take->info->configuration_size = replica->change.size;
    memcpy(take->info->configuration, replica->change.data, replica->change.size);
    proto_buffer_init(&take->buffer, REPLICA_SNAPSHOT_OUT_BYTES_MAX);
    take->failed = 0;
    take->phase = TAKE_WRITING;
    take->writer = snapshot_writer_begin(replica->snapshots, take->info, take_failed, replica);
    LOCKSTEP_ASSERT(take->writer != NULL);
    take->bytes = replica->bytes_applied;
    replica->bytes_applied = 0;
    replica->machine.snapshot_begin(replica->machine.ctx);
    replica_log(replica, LOGGER_DEBUG, "snapshot begun at entry %" PRIu64, take->info->index);
}

static void take_none(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    proto_buffer_done(&take->buffer);
    free(take->info);
    take->info = NULL;
    take->writer = NULL;
    take->phase = TAKE_NONE;
}

static void take_give_up(struct replica *replica)
{
    replica->bytes_applied += replica->take.bytes;
    take_none(replica);
}

void replica_take_abandon(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    LOCKSTEP_ASSERT(take->phase != TAKE_FINISHING || take->failed != 0);
    if (take->phase == TAKE_NONE) {
        return;
    }
    if (take->phase == TAKE_WRITING) {
        replica->machine.snapshot_end(replica->machine.ctx);
    }
    if (take->writer != NULL) {
        snapshot_writer_abandon(take->writer);
    }
    take_give_up(replica);
}

static void take_done(void *ctx, bool ok)
{
    struct replica *replica = ctx;
    struct replica_take *take = &replica->take;
    LOCKSTEP_ASSERT(take->phase == TAKE_FINISHING);
    take->writer = NULL;
    if (!ok) {
        take->retry_ms = replica->now_ms + REPLICA_SNAPSHOT_RETRY_MS;
        replica_log(replica, LOGGER_ERROR,
                    "the snapshot at entry %" PRIu64 " could not be finished; another follows later",
                    take->info->index);
        take_give_up(replica);
        return;
    }
    take->phase = TAKE_WHOLE;
    replica_take_tick(replica);
}

/* A slice of the image, at most one a millisecond, none while the disk is behind: a turn of the loop is little longer for
 * it, and most of the time is left to the requests, of which there are turns enough to write it in one go. */
static void take_write(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    if (take->slice_ms == replica->now_ms ||
        snapshot_writer_backlog(take->writer) > REPLICA_SNAPSHOT_BACKLOG_BYTES) {
        return;
    }
    take->slice_ms = replica->now_ms;
    proto_buffer_clear(&take->buffer);
    bool more =
        replica->machine.snapshot_next(replica->machine.ctx, &take->buffer, REPLICA_SNAPSHOT_SLICE_BYTES);
    LOCKSTEP_ASSERT(!take->buffer.failed);
    if (take->buffer.size > 0) {
        (void)snapshot_writer_add(take->writer, take->buffer.data, take->buffer.size);
    }
    if (more || take->failed != 0) {
        return;
    }
    replica->machine.snapshot_end(replica->machine.ctx);
    take->phase = TAKE_FINISHING;
    snapshot_writer_finish(take->writer, NULL, take_done, replica);
}

/* How many of the entries up to `index` a follower lacks that was given a snapshot: it puts it in place, or goes on behind it. Without
 * them it would need this one next, and under load, which makes the next one due in less time than that takes, another after each.
 * Who lacks more than `most` has to. */
static uint64_t awaited_entries(const struct replica *replica, uint64_t index, uint64_t most)
{
    uint64_t awaited = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX && replica_leads(replica); i++) {
        const struct replica_peer *peer = &replica->peers[i];
        raft_index match = 0;
        if (peer->snapshot_given == 0 || !peer->connected ||
            raft_match_index(&replica->raft, peer->node_id, &match) != 0) {
            continue;
        }
        uint64_t has = match > peer->snapshot_given ? match : peer->snapshot_given;
        uint64_t lacks = has < index ? index - has + 1 : 0; /* and the one before: its term goes with what follows */
        awaited = lacks > awaited && lacks <= most ? lacks : awaited;
    }
    return awaited;
}

/* The tail of the log to keep, in entries, by the average size of those that are there. */
static unsigned trailing_entries(const struct replica *replica, uint64_t index)
{
    uint64_t count = log_last_index(replica->log) + 1 - log_first_index(replica->log);
    uint64_t each = log_bytes(replica->log) / (count == 0 ? 1 : count);
    each = each == 0 ? 1 : each;
    uint64_t trailing = replica->config.trailing_bytes / each;
    uint64_t most = REPLICA_LOG_GROWS * replica->config.snapshot_after_bytes / each;
    uint64_t awaited = awaited_entries(replica, index, most);
    trailing = awaited > trailing ? awaited : trailing;
    return trailing > UINT32_MAX / 2 ? UINT32_MAX / 2 : (unsigned)trailing;
}

static void take_tell_raft(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    uint64_t index = take->info->index;
    if (log_durable_index(replica->log) < index || replica_installing(replica)) {
        return;
    }
    unsigned trailing = trailing_entries(replica, index);
    struct raft_event event = {
        .type = RAFT_SNAPSHOT,
        .snapshot =
            {
                .metadata =
                    {
                        .index = index,
                        .term = take->info->term,
                        .configuration_index = take->info->configuration_index,
                    },
                .trailing = trailing,
            },
    };
    LOCKSTEP_ASSERT(index <= replica->applied_index && index > replica->raft.trail.snapshot.index);
    LOCKSTEP_ASSERT(log_term(replica->log, index) == take->info->term);
    replica_members_decode(take->info->configuration, take->info->configuration_size,
                           &event.snapshot.metadata.configuration);
    replica_step_sure(replica, &event, "its snapshot");
    if (index > trailing) {
        log_remove_prefix(replica->log, index - trailing);
    }
    replica_log(replica, LOGGER_INFO, "snapshot at entry %" PRIu64 ", log kept from %" PRIu64, index,
                log_first_index(replica->log));
    take_none(replica);
}

void replica_take_tick(struct replica *replica)
{
    struct replica_take *take = &replica->take;
    if (take->failed != 0 && take->phase != TAKE_NONE) {
        take->retry_ms = replica->now_ms + REPLICA_SNAPSHOT_RETRY_MS;
        replica_take_abandon(replica);
        take->failed = 0;
    }
    switch (take->phase) {
    case TAKE_NONE:
        if (take_is_due(replica)) {
            take_begin(replica);
        }
        break;
    case TAKE_WRITING:
        take_write(replica);
        break;
    case TAKE_FINISHING:
        break;
    case TAKE_WHOLE:
        take_tell_raft(replica);
        break;
    }
}

uint64_t replica_take_deadline(const struct replica *replica)
{
    switch (replica->take.phase) {
    case TAKE_NONE:
        return take_is_due(replica) ? replica->now_ms : UINT64_MAX;
    case TAKE_WRITING:
        return replica->now_ms + 1;
    case TAKE_FINISHING:
        return UINT64_MAX;
    case TAKE_WHOLE:
        return replica->now_ms + 10; /* The log's own completion comes by itself; this asks afterwards. */
    }
    return UINT64_MAX;
}
