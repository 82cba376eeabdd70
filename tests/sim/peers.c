/* Streams between the nodes: they delay, swallow, break and come back. Within a stream order is kept and nothing is lost
 * but with the whole stream, as with TCP. */
#include <stdlib.h>

#include "protocol/assert.h"
#include "tests/sim/engine.h"

enum {
    RECONNECT_US = 100 * 1000,
    NOTICE_CUT_US = 1500 * 1000, /* as TCP_USER_TIMEOUT */
    NOTICE_END_US = 50 * 1000,
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

uint64_t engine_delay(const struct sim *sim, uint64_t *stream, uint64_t extra_us)
{
    uint64_t delay = sim->delay_min_us + simulated_random(stream, sim->delay_max_us - sim->delay_min_us + 1);
    return delay + simulated_random(stream, extra_us + 1);
}

static bool link_send(struct link *link, uint64_t peer_id, const struct link_part *parts, unsigned count)
{
    struct sim_node *node = node_of(link);
    struct sim *sim = node->sim;
    struct sim_stream *stream = stream_of(node, peer_id);
    if (node->zombie || !stream->up || stream->frames.bytes > sim->peer_queue_bytes) {
        simulated_frames_refuse(link, parts, count);
        return false;
    }
    uint64_t due_us = sim->now_us + engine_delay(sim, &sim->random_peers, stream->extra_us);
    simulated_frames_put(&stream->frames, parts, count, due_us);
    return true;
}

static size_t link_queued_bytes(const struct link *link, uint64_t peer_id)
{
    return stream_of(node_of((struct link *)(uintptr_t)link), peer_id)->frames.bytes;
}

static void link_set_peer(struct link *link, uint64_t peer_id, const char *address)
{
    struct sim_node *node = node_of(link);
    struct sim_stream *stream = stream_of(node, peer_id);
    stream->wanted = address != NULL;
    stream->change_us = node->sim->now_us;
}

const struct link_ops peers_link_ops = {link_send, link_queued_bytes, link_set_peer};

static void stream_drop(struct sim_node *from, struct sim_stream *stream)
{
    simulated_frames_drop(&stream->frames, &from->link);
    stream->up = false;
    stream->stale = false;
    stream->seems_gone = false;
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
        in->change_us = sim->now_us + 1 + simulated_random(&sim->random_peers, NOTICE_END_US);
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
            sim->now_us + 1 + simulated_random(&sim->random_peers, cut ? NOTICE_CUT_US : 3 * RECONNECT_US);
    }
}

void peers_break(struct sim *sim, unsigned from, unsigned to, bool seems_gone)
{
    struct sim_stream *stream = &sim->streams[from][to];
    if (stream->up) {
        stream->stale = true;
        stream->seems_gone = seems_gone;
        stream->change_us = sim->now_us + 1;
    }
}

static bool is_broken(const struct sim *sim, const struct sim_stream *stream, unsigned to)
{
    return stream->cuts > 0 || stream->stale || !sim->nodes[to].up;
}

/* Whether the link takes the process for gone: its machine refuses connections, or something between them does. */
static bool is_gone(const struct sim *sim, unsigned from, unsigned to)
{
    const struct sim_node *node = &sim->nodes[to];
    bool refuses = !node->up && !node->power_lost;
    bool heard = sim->streams[from][to].cuts == 0 && sim->streams[to][from].cuts == 0;
    return (refuses && heard) || sim->streams[from][to].seems_gone;
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
        bool gone = is_gone(sim, a, b);
        stream_drop(from, stream);
        stream->change_us = sim->now_us + 1 + simulated_random(&sim->random_peers, RECONNECT_US);
        sim_trace(sim, "node %u link to %u down", a + 1, b + 1);
        replica_link_down(from->replica, node_now(from), b + 1);
        if (gone) {
            sim_trace(sim, "node %u takes %u for gone", a + 1, b + 1);
            replica_link_gone(from->replica, node_now(from), b + 1);
        }
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

/* @return when the stream's first frame arrives; SIM_NEVER if none does. */
static uint64_t deliver_due(const struct sim *sim, const struct sim_stream *stream, unsigned to)
{
    return stream->up && !is_broken(sim, stream, to) ? simulated_frames_due(&stream->frames) : SIM_NEVER;
}

static void deliver(struct sim_node *from, struct sim_node *to, struct sim_stream *stream)
{
    struct sim *sim = to->sim;
    size_t size;
    uint8_t *bytes = simulated_frames_take(&stream->frames, &from->link, &size);
    sim->carried = bytes;
    bool fine = replica_receive(to->replica, node_now(to), from->place + 1, bytes, size);
    sim->carried = NULL;
    free(bytes);
    if (!fine && from->unmounted) {
        peers_break(sim, from->place, to->place, false); /* it is taken for another machine: the link closes its stream */
    } else if (!fine) {
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
        while (deliver_due(sim, stream, node->place) <= sim->now_us) {
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
        uint64_t one = deliver_due(sim, &sim->streams[a][node->place], node->place);
        due = one < due ? one : due;
    }
    return due;
}
