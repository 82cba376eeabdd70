/* Streams between the nodes: they delay, swallow, break and come back. Within a stream order is kept and nothing is lost
 * but with the whole stream, as with TCP. */
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "tests/sim/engine.h"

enum {
    QUEUE_BYTES_MAX = 8 * 1024 * 1024,
    RECONNECT_US = 100 * 1000,
    NOTICE_CUT_US = 1500 * 1000, /* as TCP_USER_TIMEOUT */
    NOTICE_END_US = 50 * 1000,
};

struct sim_peer_frame {
    struct sim_peer_frame *next;
    uint64_t due_us;
    unsigned count;
    size_t size;
    struct link_part parts[];
};

static struct sim_node *node_of(struct link *link)
{
    return (struct sim_node *)(void *)((uint8_t *)link - offsetof(struct sim_node, link));
}

static struct sim_stream *stream_of(struct sim_node *node, uint64_t peer_id)
{
    LOCKSTEP_ASSERT(peer_id >= 1 && peer_id <= node->sim->nodes_count);
    return &node->sim->streams[node->place][peer_id - 1];
}

static void release_parts(struct sim_node *node, const struct link_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].owner != NULL) {
            node->link.release(parts[i].owner);
        }
    }
}

/* Parts with an owner stay references until they are delivered: a log that changed the bytes would be found out. */
static struct sim_peer_frame *frame_create(const struct link_part *parts, unsigned count)
{
    size_t copied = 0;
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i].size;
        copied += parts[i].owner == NULL ? parts[i].size : 0;
    }
    LOCKSTEP_ASSERT(size <= LINK_FRAME_BYTES_MAX);
    struct sim_peer_frame *frame = malloc(sizeof(*frame) + count * sizeof(*parts) + copied);
    LOCKSTEP_ASSERT(frame != NULL);
    uint8_t *copy = (uint8_t *)(frame->parts + count);
    frame->next = NULL;
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

uint64_t engine_delay(const struct sim *sim, uint64_t *stream, uint64_t extra_us)
{
    uint64_t delay = sim->delay_min_us + sim_random(stream, sim->delay_max_us - sim->delay_min_us + 1);
    return delay + sim_random(stream, extra_us + 1);
}

static bool link_send(struct link *link, uint64_t peer_id, const struct link_part *parts, unsigned count)
{
    struct sim_node *node = node_of(link);
    struct sim *sim = node->sim;
    struct sim_stream *stream = stream_of(node, peer_id);
    if (node->zombie || !stream->up || stream->bytes > QUEUE_BYTES_MAX) {
        release_parts(node, parts, count);
        return false;
    }
    struct sim_peer_frame *frame = frame_create(parts, count);
    frame->due_us = sim->now_us + engine_delay(sim, &sim->random_peers, stream->extra_us);
    if (frame->due_us < stream->clear_us) {
        frame->due_us = stream->clear_us;
    }
    stream->clear_us = frame->due_us;
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
    struct sim_node *node = node_of(link);
    struct sim_stream *stream = stream_of(node, peer_id);
    stream->wanted = address != NULL;
    stream->change_us = node->sim->now_us;
}

const struct link_ops peers_link_ops = {link_send, link_queued_bytes, link_set_peer};

static void stream_pop(struct sim_node *from, struct sim_stream *stream)
{
    struct sim_peer_frame *frame = stream->first;
    stream->first = frame->next;
    stream->last = stream->first == NULL ? NULL : stream->last;
    stream->bytes -= frame->size;
    release_parts(from, frame->parts, frame->count);
    free(frame);
}

static void stream_drop(struct sim_node *from, struct sim_stream *stream)
{
    while (stream->first != NULL) {
        stream_pop(from, stream);
    }
    stream->up = false;
    stream->stale = false;
    stream->clear_us = 0;
}

/* The others notice in a while that it is gone, even if another process takes its place. */
void peers_node_ended(struct sim_node *node)
{
    struct sim *sim = node->sim;
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        struct sim_stream *out = &sim->streams[node->place][i];
        struct sim_stream *in = &sim->streams[i][node->place];
        stream_drop(node, out);
        out->wanted = false;
        in->stale = in->up;
        in->change_us = sim->now_us + 1 + sim_random(&sim->random_peers, NOTICE_END_US);
    }
}

void peers_cut(struct sim *sim, unsigned from, unsigned to, bool cut)
{
    struct sim_stream *stream = &sim->streams[from][to];
    LOCKSTEP_ASSERT(cut || stream->cuts > 0);
    unsigned before = stream->cuts;
    stream->cuts = cut ? stream->cuts + 1 : stream->cuts - 1;
    if ((before == 0) != (stream->cuts == 0)) {
        stream->change_us =
            sim->now_us + 1 + sim_random(&sim->random_peers, cut ? NOTICE_CUT_US : 3 * RECONNECT_US);
    }
}

void peers_break(struct sim *sim, unsigned from, unsigned to)
{
    struct sim_stream *stream = &sim->streams[from][to];
    if (stream->up) {
        stream->stale = true;
        stream->change_us = sim->now_us + 1;
    }
}

static bool is_broken(const struct sim *sim, const struct sim_stream *stream, unsigned to)
{
    return stream->cuts > 0 || stream->stale || !sim->nodes[to].up;
}

/* Up and down, as the sender notices them. */
static void stream_change(struct sim *sim, unsigned a, unsigned b)
{
    struct sim_stream *stream = &sim->streams[a][b];
    struct sim_node *from = &sim->nodes[a];
    bool broken = is_broken(sim, stream, b);
    if (!node_runs(from) || !stream->wanted || stream->up != broken || sim->now_us < stream->change_us) {
        return;
    }
    if (stream->up) {
        stream_drop(from, stream);
        stream->change_us = sim->now_us + 1 + sim_random(&sim->random_peers, RECONNECT_US);
        sim_trace(sim, "node %u link to %u down", a + 1, b + 1);
        replica_link_down(from->replica, node_now(from), b + 1);
    } else {
        stream->up = true;
        sim_trace(sim, "node %u link to %u up", a + 1, b + 1);
        replica_link_up(from->replica, node_now(from), b + 1);
    }
    from->input = true;
}

static uint64_t change_due(const struct sim *sim, unsigned a, unsigned b)
{
    const struct sim_stream *stream = &sim->streams[a][b];
    bool changes = node_runs(&sim->nodes[a]) && stream->wanted && stream->up == is_broken(sim, stream, b);
    return changes ? stream->change_us : SIM_NEVER;
}

void peers_turn(struct sim *sim)
{
    for (unsigned a = 0; a < sim->nodes_count; a++) {
        for (unsigned b = 0; b < sim->nodes_count; b++) {
            if (a != b) {
                stream_change(sim, a, b);
            }
        }
    }
}

uint64_t peers_due(const struct sim *sim)
{
    uint64_t due = SIM_NEVER;
    for (unsigned a = 0; a < sim->nodes_count; a++) {
        for (unsigned b = 0; b < sim->nodes_count; b++) {
            uint64_t one = a == b ? SIM_NEVER : change_due(sim, a, b);
            due = one < due ? one : due;
        }
    }
    return due;
}

static bool can_deliver(const struct sim *sim, const struct sim_stream *stream, unsigned to)
{
    return stream->up && stream->first != NULL && !is_broken(sim, stream, to);
}

static void deliver(struct sim_node *from, struct sim_node *to, struct sim_stream *stream)
{
    struct sim *sim = to->sim;
    struct sim_peer_frame *frame = stream->first;
    uint8_t *bytes = malloc(frame->size + 1);
    LOCKSTEP_ASSERT(bytes != NULL);
    size_t size = 0;
    for (unsigned i = 0; i < frame->count; i++) {
        if (frame->parts[i].size > 0) {
            memcpy(bytes + size, frame->parts[i].data, frame->parts[i].size);
        }
        size += frame->parts[i].size;
    }
    stream_pop(from, stream);
    sim->carried = bytes;
    bool fine = replica_receive(to->replica, node_now(to), from->place + 1, bytes, size);
    sim->carried = NULL;
    free(bytes);
    if (!fine) {
        sim_violation(sim, "peer-frame", "node %u refused a frame of node %u", to->place + 1,
                      from->place + 1);
    }
}

bool peers_receive(struct sim_node *node)
{
    struct sim *sim = node->sim;
    bool any = false;
    for (unsigned a = 0; a < sim->nodes_count; a++) {
        struct sim_stream *stream = &sim->streams[a][node->place];
        while (can_deliver(sim, stream, node->place) && stream->first->due_us <= sim->now_us) {
            deliver(&sim->nodes[a], node, stream);
            any = true;
        }
    }
    return any;
}

uint64_t peers_receive_due(const struct sim_node *node)
{
    const struct sim *sim = node->sim;
    uint64_t due = SIM_NEVER;
    for (unsigned a = 0; a < sim->nodes_count; a++) {
        const struct sim_stream *stream = &sim->streams[a][node->place];
        if (can_deliver(sim, stream, node->place) && stream->first->due_us < due) {
            due = stream->first->due_us;
        }
    }
    return due;
}
