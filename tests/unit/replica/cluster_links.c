/* Streams between the nodes: they delay, black-hole, break and come back. */
#include "cluster_internal.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { QUEUE_BYTES_MAX = 8 * 1024 * 1024 };

struct cluster_frame {
    struct cluster_frame *next;
    uint64_t due_ms;
    unsigned count;
    size_t size;
    struct link_part parts[];
};

static struct cluster_node *node_of(struct link *link)
{
    return (struct cluster_node *)(void *)((uint8_t *)link - offsetof(struct cluster_node, link));
}

static struct cluster_stream *stream_of(struct cluster_node *node, uint64_t peer_id)
{
    LOCKSTEP_ASSERT(peer_id >= 1 && peer_id <= CLUSTER_NODES_MAX);
    return &node->cluster->streams[node->id - 1][peer_id - 1];
}

static void release_parts(struct cluster_node *node, const struct link_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].owner != NULL) {
            node->link.release(parts[i].owner);
        }
    }
}

/* Parts with an owner stay references until they are delivered: a log that changed the bytes would be found out. */
static struct cluster_frame *frame_create(const struct link_part *parts, unsigned count)
{
    size_t copied = 0, size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i].size;
        copied += parts[i].owner == NULL ? parts[i].size : 0;
    }
    LOCKSTEP_ASSERT(size <= LINK_FRAME_BYTES_MAX);
    struct cluster_frame *frame = calloc(1, sizeof *frame + count * sizeof *parts + copied);
    uint8_t *copy = (uint8_t *)(frame->parts + count);
    frame->count = count;
    frame->size = size;
    for (unsigned i = 0; i < count; i++) {
        frame->parts[i] = parts[i];
        if (parts[i].owner == NULL && parts[i].size > 0) {
            memcpy(copy, parts[i].data, parts[i].size);
            frame->parts[i].data = copy;
            copy += parts[i].size;
        }
    }
    return frame;
}

static bool link_send(struct link *link, uint64_t peer_id, const struct link_part *parts, unsigned count)
{
    struct cluster_node *node = node_of(link);
    struct cluster *cluster = node->cluster;
    struct cluster_stream *stream = stream_of(node, peer_id);
    if (!node->zombie && cluster->on_frame != NULL) {
        cluster->on_frame(cluster, node->id, peer_id, parts, count);
    }
    if (node->zombie || !stream->up || stream->bytes > QUEUE_BYTES_MAX) {
        release_parts(node, parts, count);
        return false;
    }
    struct cluster_frame *frame = frame_create(parts, count);
    frame->due_ms = cluster->now_ms + cluster->delay_min +
                    simulated_random(&cluster->random, cluster->delay_max - cluster->delay_min + 1);
    if (frame->due_ms < stream->clear_ms) {
        frame->due_ms = stream->clear_ms;
    }
    stream->clear_ms = frame->due_ms;
    stream->bytes += frame->size;
    if (stream->last == NULL) {
        stream->first = frame;
    } else {
        stream->last->next = frame;
    }
    stream->last = frame;
    return true;
}

static size_t link_queued_bytes(const struct link *link, uint64_t peer_id)
{
    return stream_of(node_of((struct link *)(uintptr_t)link), peer_id)->bytes;
}

static void link_set_peer(struct link *link, uint64_t peer_id, const char *address)
{
    struct cluster_node *node = node_of(link);
    struct cluster_stream *stream = stream_of(node, peer_id);
    stream->wanted = address != NULL;
    stream->change_ms = node->cluster->now_ms;
}

const struct link_ops cluster_link_ops = {link_send, link_queued_bytes, link_set_peer};

static void stream_pop(struct cluster_node *from, struct cluster_stream *stream)
{
    struct cluster_frame *frame = stream->first;
    stream->first = frame->next;
    stream->last = stream->first == NULL ? NULL : stream->last;
    stream->bytes -= frame->size;
    release_parts(from, frame->parts, frame->count);
    free(frame);
}

void cluster_stream_drop(struct cluster_node *from, struct cluster_stream *stream)
{
    while (stream->first != NULL) {
        stream_pop(from, stream);
    }
    stream->up = false;
    stream->stale = false;
    stream->clear_ms = 0;
}

uint64_t cluster_soon(struct cluster *cluster, uint64_t most_ms)
{
    return cluster->now_ms + 1 + simulated_random(&cluster->random, most_ms);
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
        return true;
    }
    if (!stream->up && !broken && cluster->now_ms >= stream->change_ms) {
        stream->up = true;
        replica_link_up(from->replica, now, to->id);
        return true;
    }
    if (stream->up && !broken && cluster_runs(to) && stream->first != NULL && stream->first->due_ms <= cluster->now_ms) {
        struct cluster_frame *frame = stream->first;
        uint8_t *bytes = malloc(frame->size + 1);
        size_t size = 0;
        for (unsigned i = 0; i < frame->count; i++) {
            if (frame->parts[i].size > 0) {
                memcpy(bytes + size, frame->parts[i].data, frame->parts[i].size);
            }
            size += frame->parts[i].size;
        }
        stream_pop(from, stream);
        cluster->receiving = bytes;
        bool fine = replica_receive(to->replica, now, from->id, bytes, size);
        cluster->receiving = NULL;
        free(bytes);
        if (!fine) {
            cluster_violation(cluster, to, "it refused a frame");
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
    bool passes = stream->up && stream->first != NULL && cluster_runs(&cluster->nodes[b]);
    return passes ? stream->first->due_ms : UINT64_MAX;
}
