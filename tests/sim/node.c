/* A process of lockstepd: the real core and the real replica between the simulated disk, links and connections; what
 * node/node.c, node_seams.c and loop.c are to the real one. A turn takes in all that has arrived, then decides; when a deadline
 * is due it looks once more before, which may take long, and is told the time from before the look (loop.c, T1). */
#include <stdlib.h>
#include <string.h>

#include "node/core_state.h"
#include "protocol/assert.h"
#include "tests/sim/engine.h"

enum {
    RESTART_US_MAX = 1500 * 1000,
    RATE_PPM_MAX = 25000, /* two clocks differ by twice as much: 5 % */
    SLOW_LOOK_ONE_IN = 4,
    END_CALLS_MAX = 5, /* of the jobs that are under way when it ends */
    CLOSE_US_MAX = 30 * 1000,
};

bool node_runs(const struct sim_node *node)
{
    return node->up && !node->stopped;
}

static struct local_time clock_now(const struct sim_node *node)
{
    return (struct local_time){sim_clock_us(&node->clock, node->sim->now_us) / 1000};
}

struct local_time node_now(const struct sim_node *node)
{
    return node->held ? node->held_at : clock_now(node);
}

struct replica_status node_status(const struct sim_node *node)
{
    struct replica_status status;
    replica_status(node->replica, &status);
    return status;
}

uint64_t node_digest(struct sim_node *node)
{
    return fsm_digest(node->core->fsm);
}

void node_counts(const struct sim_node *node, struct fsm_counts *ret_counts)
{
    fsm_counts(node->core->fsm, ret_counts);
}

/* ---- the state machine's face: the core's, with the oracle looking on ---- */

static void machine_apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t size)
{
    struct sim_node *node = ctx;
    if (node->zombie) {
        return;
    }
    node->inner.apply(node->inner.ctx, index, term, data, size);
    node->applied_index = index;
    node->sim->counts.applies++;
    uint64_t digest = oracle_compares(node->sim, index) ? node_digest(node) : 0;
    oracle_applied(node->sim, node, index, term, data, size, digest);
}

static void machine_snapshot_begin(void *ctx)
{
    struct sim_node *node = ctx;
    node->sim->counts.snapshots_taken += !node->zombie;
    node->inner.snapshot_begin(node->inner.ctx);
}

static bool machine_snapshot_next(void *ctx, struct proto_buffer *out, size_t bytes_target)
{
    struct sim_node *node = ctx;
    return node->inner.snapshot_next(node->inner.ctx, out, bytes_target);
}

static void machine_snapshot_end(void *ctx)
{
    struct sim_node *node = ctx;
    node->inner.snapshot_end(node->inner.ctx);
}

static void machine_restore_begin(void *ctx)
{
    struct sim_node *node = ctx;
    node->inner.restore_begin(node->inner.ctx);
}

static bool machine_restore_feed(void *ctx, const void *data, size_t size, char *message, size_t message_size)
{
    struct sim_node *node = ctx;
    return node->inner.restore_feed(node->inner.ctx, data, size, message, message_size);
}

static bool machine_restore_finish(void *ctx, uint64_t index, char *message, size_t message_size)
{
    struct sim_node *node = ctx;
    if (!node->inner.restore_finish(node->inner.ctx, index, message, message_size)) {
        return false;
    }
    if (!node->zombie) {
        node->applied_index = index;
        node->sim->counts.snapshots_installed += node->up; /* not those of the start */
        oracle_restored(node->sim, node, index, node_digest(node));
    }
    return true;
}

static bool machine_restore_step(void *ctx, bool at_end)
{
    struct sim_node *node = ctx;
    return node->inner.restore_step(node->inner.ctx, at_end);
}

static struct replica_machine machine_of(struct sim_node *node)
{
    node->inner = core_machine(node->core);
    return (struct replica_machine){
        node,
        machine_apply,
        machine_snapshot_begin,
        machine_snapshot_next,
        machine_snapshot_end,
        machine_restore_begin,
        machine_restore_feed,
        machine_restore_finish,
        machine_restore_step,
    };
}

/* ---- what the replica says ---- */

static void on_changed(void *ctx, enum replica_role role, uint64_t term, uint64_t leader_id, bool serving)
{
    struct sim_node *node = ctx;
    struct sim *sim = node->sim;
    if (node->zombie) {
        return;
    }
    sim_trace(sim, "node %u role %d term %llu leader %llu serving %d", node->place + 1, (int)role,
              (unsigned long long)term, (unsigned long long)leader_id, serving);
    sim->counts.elections += serving && !node->serving;
    oracle_changed(sim, node, role, term, serving);
    node->role = role;
    node->term = term;
    node->leader_id = leader_id;
    node->serving = serving;
    core_replica_changed(node->core, node_now(node), role, term, leader_id, serving);
}

static void on_applied(void *ctx, uint64_t index)
{
    struct sim_node *node = ctx;
    if (!node->zombie) {
        core_replica_applied(node->core, index);
    }
}

static void on_read_ready(void *ctx, uint64_t read_id, bool ok)
{
    struct sim_node *node = ctx;
    if (!node->zombie) {
        core_replica_read_ready(node->core, read_id, ok);
    }
}

static _Noreturn void process_ends(struct sim_node *node, bool restart_helps, const char *message)
{
    (void)snprintf(node->last_words, sizeof(node->last_words), "%s", message);
    sim_trace(node->sim, "node %u ends itself: %s", node->place + 1, message);
    if (node->zombie) {
        sim_violation(node->sim, "zombie-fatal", "node %u: %s", node->place + 1, message);
    }
    if (!storm_explains(node->sim, node)) {
        sim_violation(node->sim, "fatal", "node %u ended itself: %s", node->place + 1, message);
    }
    node->restart_helps = restart_helps;
    node->sim->fatal_node = node;
    /* tidy: longjmp because fatal() does not return; the world goes on without this process. */
    longjmp(node->sim->fatal_jump, 1);
}

static void on_replica_fatal(void *ctx, bool restart_helps, const char *message)
{
    process_ends(ctx, restart_helps, message);
}

static void on_replica_log(void *ctx, enum logger_level level, const char *message)
{
    const struct sim_node *node = ctx;
    if (!node->zombie) {
        sim_trace(node->sim, "node %u log %d %s", node->place + 1, level, message);
    }
}

/* ---- what the core asks for ---- */

static bool to_propose(void *ctx, struct local_time now, const struct replica_command *commands,
                       unsigned count, uint64_t *ret_first_index, uint64_t *ret_term)
{
    struct sim_node *node = ctx;
    return node->replica != NULL &&
           replica_propose(node->replica, now, commands, count, ret_first_index, ret_term);
}

static bool to_read(void *ctx, struct local_time now, uint64_t read_id)
{
    struct sim_node *node = ctx;
    return node->replica != NULL && replica_read(node->replica, now, read_id);
}

static bool to_transfer(void *ctx, struct local_time now, uint64_t node_id)
{
    struct sim_node *node = ctx;
    return node->replica != NULL && replica_transfer(node->replica, now, node_id);
}

static void to_status(void *ctx, struct replica_status *ret_status)
{
    struct sim_node *node = ctx;
    if (node->replica != NULL) {
        replica_status(node->replica, ret_status);
    } else {
        memset(ret_status, 0, sizeof(*ret_status));
    }
}

static bool to_send(void *ctx, uint64_t connection, const void *frame, size_t size)
{
    struct sim_node *node = ctx;
    return !node->zombie && network_node_send(node, connection, frame, size);
}

static bool is_slow(void *ctx, uint64_t connection)
{
    (void)ctx, (void)connection;
    return false; /* its clients have room for what they ask */
}

static void to_close(void *ctx, uint64_t connection, const char *why)
{
    struct sim_node *node = ctx;
    if (!node->zombie) {
        sim_trace(node->sim, "node %u closes connection %llu: %s", node->place + 1, (unsigned long long)connection, why);
        network_node_close(node, connection);
    }
}

static void on_core_log(void *ctx, enum logger_level level, const char *event, const char *fields)
{
    const struct sim_node *node = ctx;
    if (!node->zombie) {
        sim_trace(node->sim, "node %u log %d %s %s", node->place + 1, level, event, fields);
    }
}

static void on_core_fatal(void *ctx, const char *message)
{
    struct sim_node *node = ctx;
    sim_violation(node->sim, "core-fatal", "node %u: %s", node->place + 1, message);
}

static void core_open(struct sim_node *node)
{
    const struct core_replica replica = {node, to_propose, to_read, to_transfer, to_status};
    const struct core_output output = {node, to_send, is_slow, to_close, on_core_log, on_core_fatal};
    struct core_options options = node->settings.core;
    options.cluster_id = SIM_CLUSTER_ID;
    options.node_id = node->place + 1;
    options.version = "sim";
    options.hash_seed = 1;
    node->core = core_create(&options, &replica, &output);
    LOCKSTEP_ASSERT(node->core != NULL);
}

/* ---- a process's life ---- */

static void members_fill(const struct sim *sim, struct replica_member *members)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        members[i] = (struct replica_member){.node_id = i + 1, .voter = true};
        (void)snprintf(members[i].peer_address, sizeof(members[i].peer_address), "node%u:7001", i + 1);
        (void)snprintf(members[i].client_address, sizeof(members[i].client_address), "node%u:7000", i + 1);
    }
}

void node_create(struct sim *sim, unsigned place)
{
    struct sim_node *node = &sim->nodes[place];
    node->sim = sim;
    node->place = place;
    node->link.ops = &peers_link_ops;
    node->disk_random = simulated_random(&sim->random_nodes, UINT64_MAX);
    node->disk = simulated_disk_create(&node->disk_random);
    simulated_disk_latency(node->disk, 0, 40, 200);
    node->clock.read_us = 1000 * (1000000 + simulated_random(&sim->random_nodes, 1000000000));
    node->clock.ppm = (int64_t)simulated_random(&sim->random_nodes, 2 * RATE_PPM_MAX + 1) - RATE_PPM_MAX;
    node->restart_us = simulated_random(&sim->random_nodes, sim->start_us_max);
    settings_draw(sim, &node->settings);
    proto_buffer_init(&node->scratch, PROTO_FRAME_BODY_BYTES_MAX);
}

static void core_close(struct sim_node *node)
{
    network_node_ended(node);
    core_free(node->core);
    node->core = NULL;
}

/* It did not start: whatever was done to its disk has to explain that. */
static void start_refused(struct sim_node *node)
{
    struct sim *sim = node->sim;
    sim_trace(sim, "node %u does not start: %s", node->place + 1, node->last_words);
    if (!storm_explains(sim, node)) {
        sim_violation(sim, "start", "node %u does not start: %s", node->place + 1, node->last_words);
    }
    node->zombie = true;
    simulated_disk_kill(node->disk);
    simulated_disk_drain(node->disk);
    core_close(node);
    simulated_disk_boot(node->disk);
    node->restart_us = sim->now_us + 200 * 1000 + simulated_random(&sim->random_nodes, RESTART_US_MAX);
    simulated_disk_mend(node->disk); /* as an operator does, with a copy */
}

void node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct replica_member members[SIM_NODES_MAX];
    const struct replica_callbacks callbacks = {node,          on_changed,       on_applied,
                                                on_read_ready, on_replica_fatal, on_replica_log};
    LOCKSTEP_ASSERT(!node->up && node->core == NULL);
    members_fill(sim, members);
    node->restart_us = SIM_NEVER;
    node->incarnation++;
    node->zombie = node->input = node->held = node->cut = false;
    node->leaving = SIM_STAYS;
    node->role = REPLICA_FOLLOWER;
    node->term = node->leader_id = node->applied_index = 0;
    node->serving = false;
    node->last_words[0] = 0;
    sim_trace(sim, "node %u starts, life %u", node->place + 1, node->incarnation);
    core_open(node);
    const struct replica_machine machine = machine_of(node);
    const struct replica_config config = {
        .cluster_id = SIM_CLUSTER_ID,
        .node_id = node->place + 1,
        .election_timeout_ms = node->settings.election_timeout_ms,
        .heartbeat_ms = node->settings.heartbeat_ms,
        .snapshot_after_bytes = sim->snapshot_after_bytes, .trailing_bytes = sim->trailing_bytes,
        .entries_in_flight_max = node->settings.entries_in_flight_max,
        .append_pace_ms = node->settings.append_pace_ms, .peer_queue_bytes = sim->peer_queue_bytes,
        .log_held_bytes_max = node->settings.log_held_bytes_max,
        .segment_bytes = sim->segment_bytes,
        .log_cache_bytes = sim->cache_bytes,
        .random_seed = (uint32_t)simulated_random(&sim->random_nodes, UINT32_MAX),
        .bootstrap = members,
        .bootstrap_count = sim->nodes_count,
    };
    node->replica = replica_open(&config, simulated_disk_seam(node->disk), &node->link, &machine, &callbacks,
                                 node_now(node), node->last_words, sizeof(node->last_words));
    if (node->replica == NULL) {
        start_refused(node);
        return;
    }
    node->up = true;
    if (node->cut) {
        node_end(node, node->cut_power);
        return;
    }
    node->stopped = node->stops > 0;
    node->awake_us = sim->now_us;
    node->input = true;
    sim->counts.restarts += node->incarnation > 1;
    oracle_started(sim, node);
}

/* The disk has decided what survives. */
static void on_cut(void *ctx)
{
    struct sim_node *node = ctx;
    sim_trace(node->sim, "node %u ends in the middle of a call of its disk", node->place + 1);
    if (!node->zombie) {
        oracle_ended(node->sim, node);
    }
    node->zombie = node->cut = true;
}

void node_end_after(struct sim_node *node, const char *prefix, unsigned calls, bool power)
{
    node->cut_power = power;
    simulated_disk_end_after(node->disk, prefix, calls, power, on_cut, node);
}

/* Workers do not stop where the loop does: what was under way is done in part, or was done and not told of. */
static void end_disk(struct sim_node *node, bool power)
{
    if (!node->cut && sim_chance(&node->sim->random_ends, 2)) {
        simulated_disk_heal(node->disk); /* nobody is left to end because of it */
        node_end_after(node, "", (unsigned)simulated_random(&node->sim->random_ends, END_CALLS_MAX), power);
        simulated_disk_drain(node->disk);
    }
    if (power) {
        simulated_disk_crash(node->disk);
    } else {
        simulated_disk_kill(node->disk);
    }
}

void node_end(struct sim_node *node, bool power)
{
    struct sim *sim = node->sim;
    LOCKSTEP_ASSERT(node->up);
    sim_trace(sim, "node %u ends%s", node->place + 1, power ? ", its power is gone" : "");
    if (!node->cut) {
        oracle_ended(sim, node);
    }
    node->zombie = true;
    node->up = false;
    node->serving = false;
    node->role = REPLICA_FOLLOWER;
    node->power_lost = power;
    end_disk(node, power);
    peers_node_ended(node);
    simulated_disk_drain(node->disk);
    replica_close(node->replica);
    node->replica = NULL;
    simulated_disk_drain(node->disk);
    core_close(node);
    simulated_disk_boot(node->disk);
    node->restart_us = sim->now_us + simulated_random(&sim->random_nodes, RESTART_US_MAX);
}

void node_fatal_end(struct sim *sim)
{
    struct sim_node *node = sim->fatal_node;
    free(sim->carried);
    sim->carried = NULL;
    sim->fatal_node = NULL;
    if (!node->up) { /* in replica_open(): nothing of it is left but memory */
        start_refused(node);
        return;
    }
    node_end(node, false);
    if (!node->restart_helps) {
        node->restart_us += RESTART_US_MAX;
    }
    simulated_disk_mend(node->disk);
}

void node_unmount(struct sim_node *node, bool away)
{
    if (node->up) {
        node_end(node, false);
    }
    simulated_disk_mend(node->disk); /* what rots is not found by its name in the other directory */
    simulated_disk_away(node->disk, away);
    node->unmounted = away;
    sim_trace(node->sim, "node %u: its directory is %s", node->place + 1, away ? "gone" : "back");
}

void node_stop(struct sim_node *node, bool stop, bool freeze_clock)
{
    struct sim *sim = node->sim;
    node->stops = stop ? node->stops + 1 : node->stops - 1;
    node->stopped = node->up && node->stops > 0;
    if (freeze_clock) {
        sim_clock_change(&node->clock, sim->now_us, node->clock.ppm, stop);
    }
    sim_trace(sim, "node %u %s", node->place + 1, node->stops > 0 ? "stands still" : "goes on");
}

void node_terminate(struct sim_node *node)
{
    if (node_runs(node) && node->leaving == SIM_STAYS) {
        sim_trace(node->sim, "node %u is asked to end", node->place + 1);
        node->leaving = SIM_LEAVING;
        node->input = true;
        core_shutdown(node->core, node_now(node));
    }
}

static bool take_input(struct sim_node *node)
{
    bool any = node->input;
    node->input = false;
    any = peers_receive(node) || any;
    any = network_receive(node) || any;
    while (simulated_disk_run(node->disk, node->sim->now_us)) {
        any = true;
    }
    return any;
}

/* When time alone asks for a turn. */
static struct local_time time_due(const struct sim_node *node)
{
    return local_time_earlier(core_due(node->core), replica_deadline(node->replica));
}

static uint64_t deadline(const struct sim_node *node)
{
    return sim_clock_when(&node->clock, node->sim->now_us, local_time_earlier(time_due(node), core_deadline(node->core)).ms);
}

/* Take the time and look once more at all that arrives. @return whether that takes time. */
static bool hold(struct sim_node *node)
{
    struct sim *sim = node->sim;
    node->held_at = clock_now(node);
    node->held = true;
    if (node->look_max_us == 0 || !sim_chance(&sim->random_looks, SLOW_LOOK_ONE_IN)) {
        return false;
    }
    node->input = true; /* the turn comes, whatever the look finds */
    node->awake_us = sim->now_us + 1 + simulated_random(&sim->random_looks, node->look_max_us);
    return true;
}

static void run(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (!take_input(node) && deadline(node) > sim->now_us) {
        return;
    }
    if (!node->held && time_due(node).ms <= clock_now(node).ms && hold(node)) {
        return;
    }
    struct local_time now = node_now(node);
    replica_tick(node->replica, now);
    core_looked(node->core, clock_now(node));
    core_turn(node->core, now);
    replica_flush(node->replica);
    node->held = false;
    node->awake_us = sim->now_us + 1 + simulated_random(&sim->random_nodes, sim->turn_max_us);
    oracle_turned(sim, node);
}

/* node_stop.c, node_turn(): what is queued for clients goes out, then what the disk has begun is finished. */
static void leave(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->leaving == SIM_LEAVING && core_drained(node->core)) {
        node->leaving = SIM_CLOSING;
        node->leave_us = sim->now_us + simulated_random(&sim->random_ends, CLOSE_US_MAX);
        network_node_close_all(node);
    }
    if (node->leaving == SIM_CLOSING && node->leave_us <= sim->now_us) {
        node->leaving = SIM_FLUSHING;
        replica_quiet(node->replica);
    }
    if (node->leaving == SIM_FLUSHING && replica_idle(node->replica)) {
        node_end(node, false);
    }
}

void node_turn(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (!node_runs(node) || node->awake_us > sim->now_us) {
        return;
    }
    run(node);
    if (node->cut) {
        node_end(node, node->cut_power);
    } else {
        leave(node);
    }
}

uint64_t node_due(const struct sim_node *node)
{
    if (!node->up) {
        return node->restart_us;
    }
    if (node->stopped) {
        return SIM_NEVER;
    }
    uint64_t due = node->input ? node->sim->now_us : deadline(node);
    uint64_t peers = peers_receive_due(node);
    uint64_t clients = network_receive_due(node);
    uint64_t disk = simulated_disk_due(node->disk);
    due = peers < due ? peers : due;
    due = clients < due ? clients : due;
    due = disk < due ? disk : due;
    due = node->leaving == SIM_CLOSING && node->leave_us < due ? node->leave_us : due;
    return due < node->awake_us ? node->awake_us : due;
}

void node_free(struct sim_node *node)
{
    if (node->up) {
        node_end(node, false);
    }
    simulated_disk_free(node->disk);
    proto_buffer_done(&node->scratch);
}
