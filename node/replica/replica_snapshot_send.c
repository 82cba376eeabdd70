/* Streams of the newest snapshot to followers that need one, in frames of our own: begin, chunks within a window that
 * the follower's acks move, end. One per peer; raft's repeated requests are ignored while one is alive (every heartbeat
 * that the follower rejects meanwhile makes another). Ends with the connection, the leadership, or silence. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

struct replica_stream {
    struct replica *replica;
    struct replica_peer *peer;
    struct snapshot_reader *reader;
    uint64_t id, term, index;
    uint64_t sent, acked;
    uint64_t moved_ms;
    bool reading, at_end;
};

static void stream_free(struct replica_peer *peer)
{
    snapshot_reader_end(peer->stream->reader);
    free(peer->stream);
    peer->stream = NULL;
}

void replica_stream_end(struct replica_peer *peer, const char *why)
{
    if (peer->stream == NULL) {
        return;
    }
    if (why != NULL) {
        replica_log(peer->replica, LOGGER_WARNING,
                    "snapshot to node %" PRIu64 " given up after %" PRIu64 " bytes: %s", peer->node_id,
                    peer->stream->acked, why);
    }
    stream_free(peer);
}

/* The peer's queue is full. Under load raft asks anew with each of its answers, hundreds of times in a second, and each time it would
 * make a file and remove the last one. */
static void stream_dropped(struct replica_peer *peer)
{
    peer->stream_retry_ms = peer->replica->now_ms + peer->replica->config.heartbeat_ms;
    replica_stream_end(peer, "the link dropped a frame");
}

static void stream_go_on(struct replica_stream *stream);

static bool send_chunk(const struct replica_stream *stream, const void *data, size_t size)
{
    struct wire_frame frame = {
        .kind = WIRE_SNAPSHOT_CHUNK,
        .snapshot_chunk = {.stream = stream->id, .offset = stream->sent},
    };
    if (size == 0) {
        frame = (struct wire_frame){.kind = WIRE_SNAPSHOT_END, .snapshot_end = stream->id};
    }
    return replica_send_frame(stream->replica, stream->peer, &frame, data, size);
}

static void chunk_read(void *ctx, const void *data, size_t size, int error)
{
    struct replica_stream *stream = ctx;
    stream->reading = false;
    if (error < 0) {
        replica_fatal(stream->replica, "cannot read the snapshot at entry %" PRIu64 ": %s", stream->index,
                      strerror(-error));
    }
    if (!send_chunk(stream, data, size)) {
        stream_dropped(stream->peer);
        return;
    }
    stream->sent += size;
    stream->at_end = size == 0;
    stream->moved_ms = stream->replica->now_ms;
    stream_go_on(stream);
}

static void stream_go_on(struct replica_stream *stream)
{
    struct link *link = stream->replica->link;
    bool room = stream->sent - stream->acked < REPLICA_STREAM_WINDOW_BYTES &&
                link->ops->queued_bytes(link, stream->peer->node_id) < 2 * REPLICA_STREAM_WINDOW_BYTES;
    if (!stream->reading && !stream->at_end && room) {
        stream->reading = true;
        snapshot_reader_next(stream->reader, chunk_read, stream);
    }
}

static bool send_begin(struct replica_stream *stream)
{
    const struct snapshot_info *info = snapshot_reader_info(stream->reader);
    struct wire_frame frame = {
        .kind = WIRE_SNAPSHOT_BEGIN,
        .snapshot_begin =
            {
                .stream = stream->id,
                .term = stream->term,
                .index = info->index,
                .last_term = info->term,
                .configuration_index = info->configuration_index,
                .body_bytes = info->body_bytes,
                .configuration_size = info->configuration_size,
            },
    };
    memcpy(frame.snapshot_begin.digest, info->body_digest, sizeof info->body_digest);
    return replica_send_frame(stream->replica, stream->peer, &frame, info->configuration, info->configuration_size);
}

void replica_stream_begin(struct replica *replica, struct replica_peer *peer, uint64_t index_wanted)
{
    if (peer->stream != NULL || replica->now_ms < peer->stream_retry_ms) {
        return; /* Of an older snapshot than wanted, too: after it, raft asks again if it must. */
    }
    struct replica_stream *stream = calloc(1, sizeof *stream);
    LOCKSTEP_ASSERT(stream != NULL);
    stream->replica = replica;
    stream->peer = peer;
    stream->reader = snapshot_reader_begin(replica->snapshots);
    LOCKSTEP_ASSERT(stream->reader != NULL);
    stream->index = snapshot_reader_info(stream->reader)->index;
    LOCKSTEP_ASSERT(stream->index >= index_wanted);
    stream->id = ++replica->stream_last;
    stream->term = raft_current_term(&replica->raft);
    stream->moved_ms = replica->now_ms;
    peer->stream = stream;
    replica_feed_drop(peer);
    if (!send_begin(stream)) {
        stream_dropped(peer);
        return;
    }
    replica_log(replica, LOGGER_INFO, "sending the snapshot at entry %" PRIu64 " to node %" PRIu64,
                stream->index, peer->node_id);
    stream_go_on(stream);
}

void replica_stream_acked(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_ack *ack)
{
    struct replica_stream *stream = peer->stream;
    if (stream == NULL || stream->id != ack->stream) {
        return;
    }
    if (ack->state == WIRE_SNAPSHOT_REFUSED) {
        peer->stream_retry_ms = replica->now_ms + REPLICA_STREAM_RETRY_MS;
        replica_stream_end(peer, "the follower refused it");
        return;
    }
    if (ack->state == WIRE_SNAPSHOT_DONE) {
        replica_log(replica, LOGGER_INFO, "node %" PRIu64 " has the snapshot at entry %" PRIu64,
                    peer->node_id, stream->index);
        peer->snapshot_given = stream->index;
        replica_stream_end(peer, NULL);
        return;
    }
    if (ack->received > stream->acked && ack->received <= stream->sent) {
        stream->acked = ack->received;
        stream->moved_ms = replica->now_ms;
    }
    stream_go_on(stream);
}

void replica_streams_tick(struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_stream *stream = replica->peers[i].stream;
        if (stream == NULL) {
            continue;
        }
        if (replica->now_ms >= stream->moved_ms + REPLICA_STREAM_IDLE_MS) {
            replica_stream_end(&replica->peers[i], "the follower is silent");
        } else {
            stream_go_on(stream);
        }
    }
}

bool replica_streams_alive(const struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        if (replica->peers[i].stream != NULL) {
            return true;
        }
    }
    return false;
}
