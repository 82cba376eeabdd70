/* Streams between the nodes: they delay, black-hole, break and come back. */
#include "cluster_internal.h"

#include <stdlib.h>

#include "protocol/assert.h"

static struct cluster_node *node_of(struct link *link)
{
    return (struct cluster_node *)(void *)((uint8_t *)link - offsetof(struct cluster_node, link));
}

static struct cluster_stream *stream_of(struct cluster_node *node, uint64_t peer_id)
{
    LOCKSTEP_ASSERT(peer_id >= 1 && peer_id <= CLUSTER_NODES_MAX);
    return &node->cluster->streams[node->id - 1][peer_id - 1];
}

static bool link_send(struct link *link, uint64_t peer_id, const struct link_part *parts, unsigned count)
{
    struct cluster_node *node = node_of(link);
    struct cluster *cluster = node->cluster;
    struct cluster_stream *stream = stream_of(node, peer_id);
    if (!node->zombie && cluster->on_frame != NULL) {
        cluster->on_frame(cluster, node->id, peer_id, parts, count);
    }
    if (node->zombie || !stream->up || simulated_frames_full(&stream->frames)) {
        simulated_frames_refuse(link, parts, count);
        return false;
    }
    uint64_t delay_ms = cluster->delay_min + simulated_random(&cluster->random, cluster->delay_max - cluster->delay_min + 1);
    simulated_frames_put(&stream->frames, parts, count, cluster->now_ms + delay_ms);
    return true;
}

static size_t link_queued_bytes(const struct link *link, uint64_t peer_id)
{
    return stream_of(node_of((struct link *)(uintptr_t)link), peer_id)->frames.bytes;
}

static void link_set_peer(struct link *link, uint64_t peer_id, const char *address)
{
    struct cluster_node *node = node_of(link);
    struct cluster_stream *stream = stream_of(node, peer_id);
    stream->wanted = address != NULL;
    stream->change_ms = node->cluster->now_ms;
}

const struct link_ops cluster_link_ops = {link_send, link_queued_bytes, link_set_peer};

void cluster_stream_drop(struct cluster_node *from, struct cluster_stream *stream)
{
    simulated_frames_drop(&stream->frames, &from->link);
    stream->up = false;
    stream->stale = false;
}

uint64_t cluster_soon(struct cluster *cluster, uint64_t most_ms)
{
    return cluster->now_ms + 1 + simulated_random(&cluster->random, most_ms);
}

/* Whether an attempt to connect would be refused: the process has ended, and its machine is there to say so. */
static bool is_refused(const struct cluster *cluster, unsigned from, unsigned to)
{
    const struct cluster_node *node = &cluster->nodes[to];
    return !node->up && !node->silent && !cluster->streams[from][to].cut && !cluster->streams[to][from].cut;
}

/* @return whether something happened. */
bool cluster_stream_turn(struct cluster *cluster, unsigned a, unsigned b)
{
    struct cluster_stream *stream = &cluster->streams[a][b];
    struct cluster_node *from = &cluster->nodes[a], *to = &cluster->nodes[b];
    struct local_time now = {cluster->now_ms};
    if (!cluster_runs(from) || !stream->wanted) {
        return false;
    }
    bool broken = stream->cut || stream->stale || !to->up;
    if (stream->up && broken && cluster->now_ms >= stream->change_ms) {
        cluster_stream_drop(from, stream);
        stream->change_ms = cluster_soon(cluster, 100);
        replica_link_down(from->replica, now, to->id);
        if (is_refused(cluster, a, b)) {
            replica_link_gone(from->replica, now, to->id);
        }
        return true;
    }
    if (!stream->up && !broken && cluster->now_ms >= stream->change_ms) {
        stream->up = true;
        replica_link_up(from->replica, now, to->id);
        return true;
    }
    if (stream->up && !broken && cluster_runs(to) && simulated_frames_due(&stream->frames) <= cluster->now_ms) {
        size_t size;
        uint8_t *bytes = simulated_frames_take(&stream->frames, &from->link, &size);
        cluster->receiving = bytes;
        bool fine = replica_receive(to->replica, now, from->id, bytes, size);
        cluster->receiving = NULL;
        free(bytes);
        if (!fine && !cluster->strangers_expected) {
            cluster_violation(cluster, to, "it refused a frame");
        }
        if (!fine) {
            cluster_stream_drop(from, stream);
            stream->change_ms = cluster_soon(cluster, 100);
            replica_link_down(from->replica, now, to->id);
        }
        return true;
    }
    return false;
}

uint64_t cluster_stream_due(const struct cluster *cluster, unsigned a, unsigned b)
{
    const struct cluster_stream *stream = &cluster->streams[a][b];
    bool broken = stream->cut || stream->stale || !cluster->nodes[b].up;
    if (!cluster_runs(&cluster->nodes[a]) || !stream->wanted) {
        return UINT64_MAX;
    }
    if (stream->up == broken) {
        return stream->change_ms;
    }
    bool passes = stream->up && cluster_runs(&cluster->nodes[b]);
    return passes ? simulated_frames_due(&stream->frames) : UINT64_MAX;
}
