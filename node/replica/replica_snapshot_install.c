/* A snapshot that comes from the leader. It is written beside the present state and verified; only when it is durable
 * does raft hear of it, because from then on the old log is gone. Then the log is voided, the machine restored, and raft
 * told that it is in place.
 *
 *   NONE --begin--> TAKING --end--> FINISHING --durable, digest right: raft receives InstallSnapshot, and answers--
 *     |                |                 |                        UPDATE_SNAPSHOT: --> RESTORING --both done--> NONE
 *     |                +-- another begin, silence, disk full --> NONE
 *     +-- we have it all already: raft receives InstallSnapshot at once, and answers the leader
 *
 * Invariants
 *  I1  The body is verified and durable before raft receives the message.
 *  I2  Before RAFT_PERSISTED_SNAPSHOT the log is durably void and the machine restored; meanwhile nothing is applied (R4).
 *  I3  Raft never receives a second InstallSnapshot while one is being put in place. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

bool replica_installing(const struct replica *replica)
{
    return replica->incoming.phase == INCOMING_RESTORING;
}

static void ack(struct replica *replica, uint64_t peer_id, uint64_t stream, uint64_t received,
                enum wire_snapshot_state state)
{
    const struct replica_peer *peer = replica_peer_find(replica, peer_id);
    struct wire_frame frame = {
        .kind = WIRE_SNAPSHOT_ACK,
        .snapshot_ack = {.stream = stream, .received = received, .state = state},
    };
    if (peer != NULL) {
        (void)replica_send_frame(replica, peer, &frame, NULL, 0);
    }
}

/* Back to NONE; a writer that is still ours is given up. Not while FINISHING (its writer is the store's until it calls),
 * unless it failed. */
static void incoming_none(struct replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (incoming->writer != NULL) {
        snapshot_writer_abandon(incoming->writer);
    }
    if (incoming->reader != NULL) {
        snapshot_reader_end(incoming->reader);
    }
    free(incoming->info);
    memset(incoming, 0, sizeof *incoming);
}

static void incoming_refuse(struct replica *replica, const char *why)
{
    struct replica_incoming *incoming = &replica->incoming;
    replica_log(replica, LOGGER_WARNING, "snapshot of node %" PRIu64 " given up after %" PRIu64 " bytes: %s",
                incoming->peer_id, incoming->received, why);
    ack(replica, incoming->peer_id, incoming->stream, incoming->received, WIRE_SNAPSHOT_REFUSED);
    incoming_none(replica);
}

void replica_incoming_free(struct replica *replica)
{
    if (replica->incoming.phase == INCOMING_RESTORING) {
        raft_configuration_close(&replica->incoming.metadata.configuration);
    }
    incoming_none(replica);
}

/* ---- to raft ---- */

/* @return false if it was not delivered: its term has passed. */
static bool deliver_install(struct replica *replica, uint64_t peer_id, uint64_t term, const struct snapshot_info *info)
{
    const struct replica_peer *peer = replica_peer_find(replica, peer_id);
    const struct raft *raft = &replica->raft;
    struct raft_update update;
    struct raft_message message = {
        .type = RAFT_INSTALL_SNAPSHOT,
        .install_snapshot =
            {
                .term = term,
                .last_index = info->index,
                .last_term = info->term,
                .conf_index = info->configuration_index,
            },
    };
    if (peer == NULL || term < raft->current_term || (raft->state == RAFT_LEADER && term == raft->current_term)) {
        return false;
    }
    LOCKSTEP_ASSERT(!raft->snapshot.installing);
    replica_members_decode(info->configuration, info->configuration_size, &message.install_snapshot.conf);
    (void)replica_deliver(replica, peer, &message, &update);
    return true;
}

/* ---- in ---- */

static void incoming_failed(void *ctx, int error, const char *message)
{
    struct replica *replica = ctx;
    if (error != -ENOSPC) {
        replica_fatal(replica, "cannot write a snapshot: %s", message);
    }
    replica->incoming.failed = error; /* Cleaned up by the next tick: the writer is on the stack now. */
    replica_log(replica, LOGGER_ERROR,
                "no space for the snapshot of the leader; this node can not catch up until there is: %s",
                message);
}

static bool have_all(const struct replica *replica, uint64_t index, uint64_t term)
{
    return index <= replica->commit_index || log_term(replica->log, index) == term;
}

static struct snapshot_info *info_of(const struct wire_snapshot_begin *begin)
{
    struct snapshot_info *info = calloc(1, sizeof *info);
    LOCKSTEP_ASSERT(info != NULL);
    LOCKSTEP_ASSERT(begin->configuration_size <= sizeof info->configuration);
    info->index = begin->index;
    info->term = begin->last_term;
    info->configuration_index = begin->configuration_index;
    info->configuration_size = begin->configuration_size;
    memcpy(info->configuration, begin->configuration, begin->configuration_size);
    info->body_bytes = begin->body_bytes;
    memcpy(info->body_digest, begin->digest, sizeof info->body_digest);
    return info;
}

/* What needs no stream: raft finds that it has everything; or the store has it, from a stream whose leader fell just before
 * raft was told. */
static bool begin_at_hand(struct replica *replica, const struct replica_peer *peer,
                          const struct wire_snapshot_begin *begin)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    struct snapshot_info *info = NULL;
    bool delivered;
    if (have_all(replica, begin->index, begin->last_term)) {
        info = info_of(begin);
        delivered = deliver_install(replica, peer->node_id, begin->term, info);
        LOCKSTEP_ASSERT(!replica_installing(replica));
    } else if (newest != NULL && newest->index >= begin->index && newest->index > replica->commit_index) {
        delivered = deliver_install(replica, peer->node_id, begin->term, newest);
    } else {
        return false;
    }
    free(info);
    ack(replica, peer->node_id, begin->stream, 0, delivered ? WIRE_SNAPSHOT_DONE : WIRE_SNAPSHOT_REFUSED);
    return true;
}

void replica_incoming_begin(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_begin *begin)
{
    struct replica_incoming *incoming = &replica->incoming;
    bool busy = incoming->phase == INCOMING_FINISHING || incoming->phase == INCOMING_RESTORING ||
                incoming->failed != 0 || replica->take.phase == TAKE_FINISHING;
    /* Nor of a later term: it must be stored before anything that has it (replica_start.c), and the next heartbeat brings it. */
    if (busy || begin->term != raft_current_term(&replica->raft)) {
        ack(replica, peer->node_id, begin->stream, 0, WIRE_SNAPSHOT_REFUSED);
        return;
    }
    incoming_none(replica);
    if (begin_at_hand(replica, peer, begin)) {
        return;
    }
    replica_take_abandon(replica); /* The store writes one at a time, and ours would be of a state that goes. */
    *incoming = (struct replica_incoming){
        .phase = INCOMING_TAKING,
        .peer_id = peer->node_id,
        .stream = begin->stream,
        .term = begin->term,
        .moved_ms = replica->now_ms,
        .info = info_of(begin),
    };
    incoming->writer = snapshot_writer_begin(replica->snapshots, incoming->info, incoming_failed, replica);
    LOCKSTEP_ASSERT(incoming->writer != NULL);
    replica_log(replica, LOGGER_INFO,
                "receiving the snapshot at entry %" PRIu64 " (%" PRIu64 " bytes) from node %" PRIu64,
                begin->index, begin->body_bytes, peer->node_id);
}

static bool incoming_is(const struct replica *replica, const struct replica_peer *peer, uint64_t stream)
{
    const struct replica_incoming *incoming = &replica->incoming;
    return incoming->phase == INCOMING_TAKING && incoming->peer_id == peer->node_id && incoming->stream == stream &&
           incoming->failed == 0;
}

/* Acknowledged at the pace of the disk, because the leader's window is all that bounds the backlog. */
static void incoming_ack(struct replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    size_t backlog = snapshot_writer_backlog(incoming->writer);
    uint64_t written = incoming->received > backlog ? incoming->received - backlog : 0;
    if (backlog <= REPLICA_STREAM_WINDOW_BYTES / 2) {
        written = incoming->received;
    }
    if (written > incoming->acked) {
        incoming->acked = written;
        ack(replica, incoming->peer_id, incoming->stream, written, WIRE_SNAPSHOT_TAKING);
    }
}

bool replica_incoming_chunk(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_chunk *chunk)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (!incoming_is(replica, peer, chunk->stream)) {
        return true; /* Of a stream that we gave up: on its way when we said so. */
    }
    if (chunk->offset != incoming->received || chunk->size > incoming->info->body_bytes - incoming->received) {
        incoming_refuse(replica, "its chunks do not join");
        return replica_refuse(replica, peer, "snapshot chunk out of place");
    }
    (void)snapshot_writer_add(incoming->writer, chunk->data, chunk->size);
    incoming->received += chunk->size;
    incoming->moved_ms = replica->now_ms;
    incoming_ack(replica);
    return true;
}

static void incoming_whole(void *ctx, bool ok)
{
    struct replica *replica = ctx;
    struct replica_incoming *incoming = &replica->incoming;
    LOCKSTEP_ASSERT(incoming->phase == INCOMING_FINISHING);
    incoming->writer = NULL;
    if (!ok) {
        incoming_refuse(replica, "its bytes are not those that its digest promised");
        return;
    }
    uint64_t peer_id = incoming->peer_id, stream = incoming->stream, term = incoming->term;
    struct snapshot_info *info = incoming->info;
    incoming->info = NULL;
    incoming_none(replica);
    bool delivered = deliver_install(replica, peer_id, term, info);
    ack(replica, peer_id, stream, info->body_bytes, delivered ? WIRE_SNAPSHOT_DONE : WIRE_SNAPSHOT_REFUSED);
    free(info);
    replica_pump(replica);
}

void replica_incoming_end(struct replica *replica, struct replica_peer *peer, uint64_t stream)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (!incoming_is(replica, peer, stream)) {
        return;
    }
    if (incoming->received != incoming->info->body_bytes) {
        incoming_refuse(replica, "it ended early");
        return;
    }
    if (have_all(replica, incoming->info->index, incoming->info->term)) {
        incoming_refuse(replica, "its entries have come meanwhile"); /* Raft's next question finds so, without a stream. */
        return;
    }
    incoming->phase = INCOMING_FINISHING;
    snapshot_writer_finish(incoming->writer, incoming->info->body_digest, incoming_whole, replica);
}

/* ---- in place ---- */

static void install_done(struct replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (!incoming->log_is_reset || !incoming->restored) {
        return;
    }
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    event.persisted_snapshot.metadata = incoming->metadata;
    event.persisted_snapshot.last = true;
    uint64_t index = incoming->metadata.index, term = incoming->metadata.term;
    const struct snapshot_info *info = snapshot_reader_info(incoming->reader);
    replica_change_set(replica, info->configuration_index, info->configuration, info->configuration_size);
    LOCKSTEP_ASSERT(index > replica->applied_index);
    replica->applied_index = index;
    replica->applied_term = term;
    replica->bytes_applied = 0;
    replica->durable_pending = 0;
    if (index > replica->commit_index) {
        replica->commit_index = index;
    }
    incoming_none(replica);
    replica_step_sure(replica, &event, "an installed snapshot");
    replica_log(replica, LOGGER_INFO, "snapshot at entry %" PRIu64 " is in place", index);
    replica_pump(replica);
}

static void check_restore(struct replica *replica, bool fine, const char *why)
{
    if (!fine) {
        replica_fatal(replica, "the snapshot at entry %llu is whole but can not be restored: %s",
                      replica->incoming.metadata.index, why);
    }
}

static void install_chunk(void *ctx, const void *data, size_t size, int error)
{
    struct replica *replica = ctx;
    struct replica_incoming *incoming = &replica->incoming;
    char why[256] = "";
    if (error < 0) {
        replica_fatal(replica, "cannot read the installed snapshot: %s", strerror(-error));
    }
    if (size > 0) {
        check_restore(replica, replica->machine.restore_feed(replica->machine.ctx, data, size, why, sizeof why), why);
    }
    incoming->at_end = size == 0;
    incoming->working = true;
}

/* One step of the machine per turn of the loop: a chunk of a large state is ten times what a turn may take. */
static void install_tick(struct replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    char why[256] = "";
    if (!incoming->working || replica->machine.restore_step(replica->machine.ctx, incoming->at_end)) {
        return;
    }
    incoming->working = false;
    if (!incoming->at_end) {
        snapshot_reader_next(incoming->reader, install_chunk, replica);
        return;
    }
    uint64_t index = incoming->metadata.index;
    check_restore(replica, replica->machine.restore_finish(replica->machine.ctx, index, why, sizeof why), why);
    incoming->restored = true;
    replica->retiring = true;
    install_done(replica);
}

static void retire_tick(struct replica *replica)
{
    replica->retiring = replica->retiring && replica->machine.restore_step(replica->machine.ctx, true);
}

static void install_log_reset(void *ctx)
{
    struct replica *replica = ctx;
    replica->incoming.log_is_reset = true;
    install_done(replica);
}

/* UPDATE_SNAPSHOT: from within a step, so that everything here only starts. */
void replica_install(struct replica *replica, const struct raft_update *update)
{
    struct replica_incoming *incoming = &replica->incoming;
    LOCKSTEP_ASSERT(incoming->phase == INCOMING_NONE);
    LOCKSTEP_ASSERT(update->snapshot.chunk.base == NULL);
    LOCKSTEP_ASSERT(update->snapshot.metadata.index > replica->commit_index);
    replica_take_abandon(replica);
    *incoming = (struct replica_incoming){.phase = INCOMING_RESTORING, .metadata = update->snapshot.metadata};
    replica->durable_pending = 0;
    incoming->reader = snapshot_reader_begin(replica->snapshots);
    LOCKSTEP_ASSERT(incoming->reader != NULL);
    LOCKSTEP_ASSERT(snapshot_reader_info(incoming->reader)->index == incoming->metadata.index);
    LOCKSTEP_ASSERT(snapshot_reader_info(incoming->reader)->term == incoming->metadata.term);
    log_reset(replica->log, incoming->metadata.index, incoming->metadata.term, install_log_reset, replica);
    replica->machine.restore_begin(replica->machine.ctx);
    snapshot_reader_next(incoming->reader, install_chunk, replica);
}

/* ---- time ---- */

void replica_incoming_tick(struct replica *replica)
{
    struct replica_incoming *incoming = &replica->incoming;
    if (incoming->phase == INCOMING_RESTORING) {
        install_tick(replica);
        return;
    }
    retire_tick(replica);
    if (incoming->phase != INCOMING_TAKING && incoming->failed == 0) {
        return;
    }
    if (incoming->failed != 0) {
        incoming_refuse(replica, "no space");
    } else if (replica->now_ms >= incoming->moved_ms + REPLICA_STREAM_IDLE_MS) {
        incoming_refuse(replica, "the leader is silent");
    } else {
        incoming_ack(replica);
    }
}

uint64_t replica_incoming_deadline(const struct replica *replica)
{
    const struct replica_incoming *incoming = &replica->incoming;
    bool working = incoming->phase == INCOMING_RESTORING ? incoming->working : replica->retiring;
    if (working) {
        return replica->now_ms;
    }
    bool unacked = incoming->phase == INCOMING_TAKING && incoming->acked < incoming->received;
    return unacked || incoming->failed != 0 ? replica->now_ms + 1 : UINT64_MAX;
}
