/* The machine and the callbacks of a node: everything that cluster.h promises to check. */
#include "cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "protocol/buffer.h"

_Noreturn void cluster_violation(const struct cluster *cluster, const struct cluster_node *node, const char *what)
{
    fprintf(stderr, "seed %" PRIu64 ", %" PRIu64 " ms, node %" PRIu64 ": %s\n", cluster->options.seed, cluster->now_ms,
            node == NULL ? 0 : node->id, what);
    abort();
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t state = a ^ b * 0x9e3779b97f4a7c15ULL;
    return simulated_random(&state, UINT64_MAX);
}

/* ---- the machine ---- */

static void check_state(const struct cluster_node *node, const struct cluster_state *state)
{
    struct cluster *cluster = node->cluster;
    if (state->index == 0) {
        return;
    }
    LOCKSTEP_ASSERT(state->index < CLUSTER_INDEX_MAX);
    if (cluster->hash_at[state->index] != state->hash) {
        cluster_violation(cluster, node, "its state differs from another node's at the same index");
    }
}

static void acknowledge(struct cluster_node *node, uint64_t index, uint64_t term)
{
    struct cluster *cluster = node->cluster;
    unsigned kept = 0;
    for (unsigned i = 0; i < node->pending_count; i++) {
        const struct cluster_pending *pending = &node->pending[i];
        if (pending->index == index && pending->term == term) {
            cluster->acked_count++;
            cluster->acked_top = index > cluster->acked_top ? index : cluster->acked_top;
            cluster->seen_top = index > cluster->seen_top ? index : cluster->seen_top;
        } else if (pending->index > index) {
            node->pending[kept++] = *pending;
        }
    }
    node->pending_count = kept;
}

static void machine_apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t size)
{
    struct cluster_node *node = ctx;
    struct cluster *cluster = node->cluster;
    const uint8_t *bytes = data;
    if (node->zombie) {
        return;
    }
    LOCKSTEP_ASSERT(index < CLUSTER_INDEX_MAX);
    if (index <= node->state.index) {
        cluster_violation(cluster, node, "an index was applied again or out of order");
    }
    uint64_t hash = mix(node->state.hash, index);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    }
    node->state = (struct cluster_state){index, hash, node->state.count + 1};
    if (cluster->term_at[index] == 0) {
        cluster->term_at[index] = term;
        cluster->hash_at[index] = hash;
        cluster->command_top = index > cluster->command_top ? index : cluster->command_top;
    }
    if (cluster->term_at[index] != term) {
        cluster_violation(cluster, node, "another entry was applied at this index before");
    }
    check_state(node, &node->state);
    acknowledge(node, index, term);
}

static uint8_t filler(const struct cluster_state *state, uint64_t at)
{
    return (uint8_t)(mix(state->hash, at / 64) >> (at % 8));
}

static void machine_snapshot_begin(void *ctx)
{
    struct cluster_node *node = ctx;
    node->image = node->state;
    node->image_at = 0;
}

static bool machine_snapshot_next(void *ctx, struct proto_buffer *out, size_t bytes_target)
{
    struct cluster_node *node = ctx;
    if (node->image_at > 0 && node->slice_at_ms == node->cluster->now_ms && !node->zombie) {
        cluster_violation(node->cluster, node, "it writes two slices of an image in one millisecond");
    }
    node->slice_at_ms = node->cluster->now_ms;
    if (node->image_at == 0) {
        bool fine = proto_buffer_append(out, &node->image, sizeof node->image);
        LOCKSTEP_ASSERT(fine);
    }
    uint64_t end = node->image_at + bytes_target;
    for (; node->image_at < end && node->image_at < node->cluster->options.image_bytes; node->image_at++) {
        uint8_t byte = filler(&node->image, node->image_at);
        (void)proto_buffer_append(out, &byte, 1);
    }
    return node->image_at < node->cluster->options.image_bytes;
}

static void machine_snapshot_end(void *ctx)
{
    ((struct cluster_node *)ctx)->snapshots_taken++;
}

static void machine_restore_begin(void *ctx)
{
    ((struct cluster_node *)ctx)->restore_at = 0;
}

static bool machine_restore_feed(void *ctx, const void *data, size_t size, char *message, size_t message_size)
{
    struct cluster_node *node = ctx;
    const uint8_t *bytes = data;
    _Static_assert(sizeof node->restore_head == sizeof node->restored, "the head of an image is a state");
    for (size_t i = 0; i < size; i++, node->restore_at++) {
        if (node->restore_at < sizeof node->restore_head) {
            node->restore_head[node->restore_at] = bytes[i];
            memcpy(&node->restored, node->restore_head, sizeof node->restored);
        } else if (bytes[i] != filler(&node->restored, node->restore_at - sizeof node->restore_head)) {
            (void)snprintf(message, message_size, "byte %" PRIu64 " of the image is wrong", node->restore_at);
            return false;
        }
    }
    return true;
}

static bool machine_restore_finish(void *ctx, uint64_t index, char *message, size_t message_size)
{
    struct cluster_node *node = ctx;
    if (node->restore_at != sizeof node->restored + node->cluster->options.image_bytes || node->restored.index > index) {
        (void)snprintf(message, message_size, "image of %" PRIu64 " bytes", node->restore_at);
        return false;
    }
    if (!node->zombie) {
        if (node->restored.index < node->state.index) {
            cluster_violation(node->cluster, node, "a restore went back");
        }
        check_state(node, &node->restored);
        node->state = node->restored;
        node->snapshots_restored++;
    }
    return true;
}

/* Nothing is left to do, but that takes some turns. */
static bool machine_restore_step(void *ctx, bool at_end)
{
    struct cluster_node *node = ctx;
    (void)at_end;
    if (node->in_turn && ++node->turn_steps > 1 && !node->zombie) {
        cluster_violation(node->cluster, node, "it takes two steps of a restore in one turn");
    }
    return ++((struct cluster_node *)ctx)->restore_steps % 3 != 0;
}

/* ---- callbacks ---- */

static void on_changed(void *ctx, enum replica_role role, uint64_t term, uint64_t leader_id, bool serving)
{
    struct cluster_node *node = ctx;
    struct cluster *cluster = node->cluster;
    if (node->zombie) {
        return;
    }
    LOCKSTEP_ASSERT(term < CLUSTER_TERMS_MAX);
    if (role == REPLICA_LEADER) {
        if (cluster->leader_of[term] != 0 && cluster->leader_of[term] != (node->id | (uint64_t)node->incarnation << 32)) {
            cluster_violation(cluster, node, "a second leader in one term");
        }
        cluster->leader_of[term] = node->id | (uint64_t)node->incarnation << 32;
        cluster->term_top = term > cluster->term_top ? term : cluster->term_top;
    }
    if (serving && !node->serving) {
        if (cluster->served[term]) {
            cluster_violation(cluster, node, "it began to serve twice in one term");
        }
        cluster->served[term] = true;
        if (term == cluster->term_top && node->state.index < cluster->acked_top) {
            cluster_violation(cluster, node, "it serves without what was acknowledged before");
        }
    }
    node->role = role;
    node->term = term;
    node->leader_id = leader_id;
    node->serving = serving;
}

static void on_applied(void *ctx, uint64_t index)
{
    struct cluster_node *node = ctx;
    if (!node->zombie && index < node->state.index) {
        cluster_violation(node->cluster, node, "applied() tells less than was applied");
    }
}

static void on_read_ready(void *ctx, uint64_t read_id, bool ok)
{
    struct cluster_node *node = ctx;
    if (node->zombie) {
        return;
    }
    if (node->reads_count == 0 || node->reads[node->reads_first].id != read_id) {
        cluster_violation(node->cluster, node, "a read was answered twice, or out of order");
    }
    uint64_t floor = node->reads[node->reads_first].floor;
    node->reads_first = (node->reads_first + 1) % CLUSTER_PENDING_MAX;
    node->reads_count--;
    if (!ok) {
        node->reads_failed++;
        return;
    }
    node->reads_answered++;
    if (node->state.index < floor) {
        cluster_violation(node->cluster, node, "a read does not show what was acknowledged before it began");
    }
    if (node->state.index > node->cluster->seen_top) {
        node->cluster->seen_top = node->state.index;
    }
}

static void on_fatal(void *ctx, bool restart_helps, const char *message)
{
    struct cluster_node *node = ctx;
    (void)restart_helps; /* what the process does of it is the node's business */
    (void)snprintf(node->fatal, sizeof node->fatal, "%s", message);
    if (!node->cluster->fatal_expected) {
        cluster_violation(node->cluster, node, message);
    }
    node->cluster->fatal_node = node;
    /* tidy: longjmp because fatal() does not return; cluster_run_until() drains and closes the node. */
    longjmp(node->cluster->fatal_jump, 1);
}

static void on_log(void *ctx, enum logger_level level, const char *message)
{
    struct cluster_node *node = ctx;
    if (!node->zombie && getenv("LOCKSTEP_VERBOSE") != NULL) {
        fprintf(stderr, "%6" PRIu64 " node %" PRIu64 " [%d] %s\n", node->cluster->now_ms, node->id, level, message);
    }
    if (strstr(message, "refused, its stream is closed") != NULL) {
        cluster_violation(node->cluster, node, message);
    }
}

struct replica_machine cluster_machine(struct cluster_node *node)
{
    return (struct replica_machine){
        node, machine_apply, machine_snapshot_begin, machine_snapshot_next, machine_snapshot_end, machine_restore_begin,
        machine_restore_feed, machine_restore_finish, machine_restore_step,
    };
}

struct replica_callbacks cluster_callbacks(struct cluster_node *node)
{
    return (struct replica_callbacks){node, on_changed, on_applied, on_read_ready, on_fatal, on_log};
}
