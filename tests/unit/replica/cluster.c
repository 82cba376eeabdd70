/* Nodes, processes, load and virtual time. */
#include "cluster_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { SPIN_MAX = 200000 };

/* ---- processes ---- */

bool cluster_runs(const struct cluster_node *node)
{
    return node->up && node->cluster->now_ms >= node->stalled_until_ms;
}

static void close_node(struct cluster *cluster, struct cluster_node *node)
{
    node->zombie = true;
    node->up = false;
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        struct cluster_stream *out = &cluster->streams[node->id - 1][i], *in = &cluster->streams[i][node->id - 1];
        cluster_stream_drop(node, out);
        out->wanted = false;
        in->stale = in->up; /* The others notice in a while that it is gone, even if another process takes its place. */
        in->change_ms = cluster_soon(cluster, 50);
    }
    simulated_disk_drain(node->disk);
    replica_close(node->replica);
    simulated_disk_drain(node->disk);
    node->replica = NULL;
    node->serving = false;
    node->role = REPLICA_FOLLOWER;
}

void cluster_crash(struct cluster *cluster, unsigned node)
{
    struct cluster_node *it = &cluster->nodes[node];
    LOCKSTEP_ASSERT(it->up);
    it->zombie = true;
    simulated_disk_crash(it->disk);
    close_node(cluster, it);
    simulated_disk_boot(it->disk);
}

void cluster_members(const struct cluster *cluster, struct replica_member *members)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        struct replica_member *member = &members[i];
        memset(member, 0, sizeof *member);
        member->node_id = i + 1;
        member->voter = true;
        (void)snprintf(member->peer_address, sizeof member->peer_address, "node%u:7001", i + 1);
        (void)snprintf(member->client_address, sizeof member->client_address, "node%u:7000", i + 1);
    }
}

static void node_reset(struct cluster_node *node)
{
    node->zombie = false;
    node->stalled_until_ms = 0;
    node->fatal[0] = 0;
    node->incarnation++;
    node->role = REPLICA_FOLLOWER;
    node->term = node->leader_id = 0;
    node->serving = false;
    node->state = (struct cluster_state){0};
    node->pending_count = node->reads_count = node->reads_first = 0;
}

bool cluster_start(struct cluster *cluster, unsigned place)
{
    struct cluster_node *node = &cluster->nodes[place];
    struct replica_member members[CLUSTER_NODES_MAX];
    const struct replica_machine machine = cluster_machine(node);
    const struct replica_callbacks callbacks = cluster_callbacks(node);
    const struct cluster_options *options = &cluster->options;
    cluster_members(cluster, members);
    node_reset(node);
    struct replica_config config = {
        .cluster_id = 7, .node_id = node->id, .election_timeout_ms = 300, .heartbeat_ms = 30,
        .snapshot_after_bytes = options->snapshot_after_bytes, .trailing_bytes = options->trailing_bytes,
        .entries_in_flight_max = options->entries_in_flight_max, .append_pace_ms = options->append_pace_ms,
        .segment_bytes = options->segment_bytes, .log_cache_bytes = options->log_cache_bytes,
        .log_held_bytes_max = options->log_held_bytes_max, .peer_queue_bytes = options->peer_queue_bytes,
        .random_seed = (uint32_t)simulated_random(&cluster->random, UINT32_MAX),
        .bootstrap = members, .bootstrap_count = options->nodes,
    };
    node->replica = replica_open(&config, simulated_disk_seam(node->disk), &node->link, &machine, &callbacks,
                                 (struct local_time){cluster->now_ms}, node->fatal, sizeof node->fatal);
    node->up = node->replica != NULL;
    return node->up;
}

void cluster_start_all(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        if (!cluster->nodes[i].up && !cluster_start(cluster, i)) {
            cluster_violation(cluster, &cluster->nodes[i], cluster->nodes[i].fatal);
        }
    }
}

uint64_t cluster_seed(void)
{
    const char *given = getenv("LOCKSTEP_SEED");
    uint64_t seed = given == NULL ? 1 : strtoull(given, NULL, 0);
    printf("seed %" PRIu64 "\n", seed);
    return seed;
}

struct cluster_options cluster_options(unsigned nodes, uint64_t seed)
{
    return (struct cluster_options){
        .nodes = nodes, .seed = seed, .snapshot_after_bytes = 1024 * 1024 * 1024, .trailing_bytes = 16 * 1024,
        .segment_bytes = 256 * 1024, .log_cache_bytes = 64 * 1024, .entries_in_flight_max = 64, .append_pace_ms = 4,
        .image_bytes = 20000,
    };
}

struct cluster *cluster_create(struct cluster_options options)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    cluster->options = options;
    cluster->random = options.seed;
    cluster->now_ms = 1000;
    cluster->delay_max = 2;
    cluster->command_bytes_max = 400;
    cluster->hash_at = calloc(CLUSTER_INDEX_MAX, sizeof *cluster->hash_at);
    cluster->term_at = calloc(CLUSTER_INDEX_MAX, sizeof *cluster->term_at);
    for (unsigned i = 0; i < options.nodes; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        node->cluster = cluster;
        node->id = i + 1;
        node->link.ops = &cluster_link_ops;
        node->disk = simulated_disk_create(&cluster->random);
    }
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        if (cluster->nodes[i].replica != NULL) {
            close_node(cluster, &cluster->nodes[i]);
        }
        simulated_disk_free(cluster->nodes[i].disk);
    }
    free(cluster->hash_at);
    free(cluster->term_at);
    free(cluster);
}

void cluster_cut(struct cluster *cluster, unsigned a, unsigned b, bool cut)
{
    struct cluster_stream *stream = &cluster->streams[a][b];
    if (stream->cut != cut) {
        stream->cut = cut;
        stream->change_ms = cluster_soon(cluster, cut ? 1500 : 300);
    }
}

void cluster_isolate(struct cluster *cluster, unsigned node, bool isolated)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        if (i != node) {
            cluster_cut(cluster, node, i, isolated);
            cluster_cut(cluster, i, node, isolated);
        }
    }
}

/* ---- load ---- */

bool cluster_propose(struct cluster *cluster, unsigned place, size_t size)
{
    static uint8_t bytes[4][256 * 1024];
    struct cluster_node *node = &cluster->nodes[place];
    struct replica_command commands[4];
    unsigned count = 1 + (unsigned)simulated_random(&cluster->random, 4);
    uint64_t index, term;
    LOCKSTEP_ASSERT(size <= sizeof bytes[0]);
    for (unsigned i = 0; i < count; i++) {
        uint64_t mark = simulated_random(&cluster->random, UINT64_MAX);
        memset(bytes[i], (int)(mark & 255), size);
        memcpy(bytes[i], &mark, size < sizeof mark ? size : sizeof mark);
        commands[i] = (struct replica_command){bytes[i], size};
    }
    if (!node->up || node->pending_count + count > CLUSTER_PENDING_MAX ||
        !replica_propose(node->replica, (struct local_time){cluster->now_ms}, commands, count, &index, &term)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        node->pending[node->pending_count++] = (struct cluster_pending){index + i, term};
    }
    return true;
}

bool cluster_read_at(struct cluster *cluster, unsigned place)
{
    struct cluster_node *node = &cluster->nodes[place];
    if (!node->up || node->reads_count == CLUSTER_PENDING_MAX) {
        return false;
    }
    uint64_t id = ++cluster->read_last;
    unsigned at = (node->reads_first + node->reads_count) % CLUSTER_PENDING_MAX;
    node->reads[at] = (struct cluster_read){id, cluster->seen_top};
    node->reads_count++;
    if (!replica_read(node->replica, (struct local_time){cluster->now_ms}, id)) {
        node->reads_count--;
        return false;
    }
    return true;
}

/* Every node that believes to lead is asked, the deposed one too. */
static void load(struct cluster *cluster)
{
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (!cluster_runs(node) || !node->serving) {
            continue;
        }
        size_t size = 8 + (size_t)simulated_random(&cluster->random, cluster->command_bytes_max);
        (void)cluster_read_at(cluster, i);
        (void)cluster_propose(cluster, i, size);
        (void)cluster_read_at(cluster, i);
    }
    cluster->load_due_ms = cluster->now_ms + 1 + simulated_random(&cluster->random, 2 * cluster->load_ms);
}

/* ---- time ---- */

static bool turn(struct cluster *cluster)
{
    bool any = false;
    unsigned nodes = cluster->options.nodes;
    if (cluster->load_ms > 0 && cluster->now_ms >= cluster->load_due_ms) {
        load(cluster); /* Before the rest: a leader that was stalled is asked before it hears of its successor. */
        any = true;
    }
    for (unsigned a = 0; a < nodes; a++) {
        for (unsigned b = 0; b < nodes; b++) {
            any = (a != b && cluster_stream_turn(cluster, a, b)) || any;
        }
    }
    for (unsigned i = 0; i < nodes; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        if (cluster_runs(node)) {
            any = simulated_disk_run(node->disk, cluster->now_ms) || any;
        }
        if (cluster_runs(node) && replica_deadline(node->replica).ms <= cluster->now_ms) {
            node->in_turn = true;
            node->turn_steps = 0;
            replica_tick(node->replica, (struct local_time){cluster->now_ms});
            node->in_turn = false;
            any = true;
        }
    }
    for (unsigned i = 0; i < nodes; i++) {
        if (cluster_runs(&cluster->nodes[i])) {
            replica_flush(cluster->nodes[i].replica);
        }
    }
    return any;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(const struct cluster *cluster)
{
    uint64_t due = cluster->load_ms > 0 ? cluster->load_due_ms : UINT64_MAX;
    for (unsigned a = 0; a < cluster->options.nodes; a++) {
        const struct cluster_node *node = &cluster->nodes[a];
        for (unsigned b = 0; b < cluster->options.nodes; b++) {
            due = a == b ? due : earlier(due, cluster_stream_due(cluster, a, b));
        }
        if (node->up && !cluster_runs(node)) {
            due = earlier(due, node->stalled_until_ms);
        } else if (node->up) {
            due = earlier(due, simulated_disk_due(node->disk));
            due = earlier(due, replica_deadline(node->replica).ms);
        }
    }
    return due;
}

static void turns_of_now(struct cluster *cluster)
{
    for (unsigned spins = 0; turn(cluster); spins++) {
        if (spins > SPIN_MAX) {
            cluster_violation(cluster, NULL, "the loop spins");
        }
    }
}

static void after_fatal(struct cluster *cluster)
{
    struct cluster_node *node = cluster->fatal_node;
    free(cluster->receiving);
    cluster->receiving = NULL;
    simulated_disk_crash(node->disk);
    close_node(cluster, node);
    simulated_disk_boot(node->disk);
}

bool cluster_run_until(struct cluster *cluster, bool (*condition)(struct cluster *cluster), uint64_t ms)
{
    uint64_t end = cluster->now_ms + ms;
    for (;;) {
        /* tidy: setjmp because a replica's last words must not return, and the test goes on without that node. */
        if (setjmp(cluster->fatal_jump) != 0) {
            after_fatal(cluster);
        }
        turns_of_now(cluster);
        if (condition != NULL && condition(cluster)) {
            return true;
        }
        uint64_t due = next_due(cluster);
        if (due > end) {
            cluster->now_ms = end;
            return false;
        }
        cluster->now_ms = due > cluster->now_ms ? due : cluster->now_ms + 1;
    }
}

void cluster_run(struct cluster *cluster, uint64_t ms)
{
    (void)cluster_run_until(cluster, NULL, ms);
}

int cluster_leader(const struct cluster *cluster)
{
    int leader = -1;
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (node->up && node->serving && (leader < 0 || node->term > cluster->nodes[leader].term)) {
            leader = (int)i;
        }
    }
    return leader;
}

bool cluster_has_leader(struct cluster *cluster)
{
    return cluster_leader(cluster) >= 0;
}

bool cluster_converged(struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    if (leader < 0) {
        return false;
    }
    struct replica_status first, status;
    replica_status(cluster->nodes[leader].replica, &first);
    for (unsigned i = 0; i < cluster->options.nodes; i++) {
        const struct cluster_node *node = &cluster->nodes[i];
        if (!node->up) {
            continue;
        }
        replica_status(node->replica, &status);
        if (node->state.index < cluster->acked_top || status.applied_index != first.last_index ||
            status.leader_id != cluster->nodes[leader].id || node->reads_count > 0) {
            return false;
        }
    }
    return true;
}

static bool leader_acknowledged(struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    return leader >= 0 && cluster->nodes[leader].pending_count == 0;
}

void cluster_command(struct cluster *cluster, size_t size)
{
    uint64_t before = cluster->acked_count;
    for (unsigned tries = 0; cluster->acked_count == before; tries++) {
        bool led = cluster_run_until(cluster, cluster_has_leader, 20000);
        if (!led || tries > 10) {
            cluster_violation(cluster, NULL, "no command passes");
        }
        (void)cluster_propose(cluster, (unsigned)cluster_leader(cluster), size);
        (void)cluster_run_until(cluster, leader_acknowledged, 5000);
    }
}

/* ---- for stories ---- */

struct cluster *cluster_started(struct cluster_options options)
{
    struct cluster *cluster = cluster_create(options);
    cluster_start_all(cluster);
    if (!cluster_run_until(cluster, cluster_has_leader, 10000)) {
        cluster_violation(cluster, NULL, "no leader after the start");
    }
    return cluster;
}

unsigned cluster_sure_leader(struct cluster *cluster)
{
    int leader = cluster_leader(cluster);
    if (leader < 0) {
        cluster_violation(cluster, NULL, "no leader");
    }
    return (unsigned)leader;
}

void cluster_converge(struct cluster *cluster)
{
    cluster_command(cluster, 10);
    if (!cluster_run_until(cluster, cluster_converged, 60000)) {
        cluster_violation(cluster, NULL, "the nodes do not converge");
    }
}

struct replica_status cluster_status(const struct cluster *cluster, unsigned node)
{
    struct replica_status status;
    replica_status(cluster->nodes[node].replica, &status);
    return status;
}

static const char *const metadata_names[2] = {"metadata-1", "metadata-2"};

void cluster_metadata_get(struct cluster *cluster, unsigned node, struct cluster_metadata *ret_metadata)
{
    struct disk *disk = simulated_disk_seam(cluster->nodes[node].disk);
    for (unsigned i = 0; i < 2; i++) {
        struct disk_file *file;
        size_t size = sizeof ret_metadata->copies[i];
        int rv = disk->ops->open(disk, metadata_names[i], DISK_READ, &file);
        LOCKSTEP_ASSERT(rv == 0);
        int64_t got = disk->ops->read(disk, file, ret_metadata->copies[i], size, 0);
        LOCKSTEP_ASSERT(got == (int64_t)size);
        disk->ops->close(disk, file);
    }
}

void cluster_metadata_put(struct cluster *cluster, unsigned node, const struct cluster_metadata *metadata)
{
    struct disk *disk = simulated_disk_seam(cluster->nodes[node].disk);
    for (unsigned i = 0; i < 2; i++) {
        struct disk_file *file;
        int rv = disk->ops->open(disk, metadata_names[i], DISK_WRITE, &file);
        LOCKSTEP_ASSERT(rv == 0);
        rv = disk->ops->write(disk, file, metadata->copies[i], sizeof metadata->copies[i], 0);
        LOCKSTEP_ASSERT(rv == 0);
        rv = disk->ops->sync(disk, file);
        LOCKSTEP_ASSERT(rv == 0);
        disk->ops->close(disk, file);
    }
}
