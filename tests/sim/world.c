/* The world's clock: what happens next, and the course of a run: a storm, in which safety is all that counts; then calm, in
 * which everybody must get on; then everybody leaves, and nothing may be left. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/assert.h"
#include "raft_fsm/fsm.h"
#include "tests/sim/engine.h"

enum {
    CALM_MS_MAX = 30 * 1000, /* for everybody to get on: elections, expired sessions, the longest wait */
    LEAVE_MS_MAX =
        40 * 1000, /* for everything to be given back: session ttl and lock-delay of those who died */
    STEPS_PER_MS_MAX = 20000, /* more in one millisecond is a loop that spins */
    PEER_QUEUE_BYTES = 8 * 1024 * 1024,
    PEER_QUEUE_BYTES_FEW = 8 * 1024,
    START_US_MAX = 50 * 1000,
    START_LATE_US_MAX = 800 * 1000,
};

/* ---- what is written down ---- */

void sim_trace_line(struct sim *sim, const char *format, ...)
{
    va_list arguments;
    (void)fprintf(sim->options.trace, "%10" PRIu64 " ", sim->now_us);
    va_start(arguments, format);
    (void)vfprintf(sim->options.trace, format, arguments);
    va_end(arguments);
    (void)fputc('\n', sim->options.trace);
}

void sim_note(struct sim *sim, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t x = sim->counts.fingerprint ^ (what * 0x9e3779b97f4a7c15ULL) ^ (a * 0xbf58476d1ce4e5b9ULL) ^ b ^
                 sim->now_us;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    sim->counts.fingerprint = (x ^ x >> 27) * 0x94d049bb133111ebULL;
}

bool sim_planted(const struct sim *sim, const char *name)
{
    return sim->options.plant != NULL && strcmp(sim->options.plant, name) == 0;
}

_Noreturn void sim_violation(struct sim *sim, const char *rule, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (sim->options.trace != NULL) {
        sim_trace_line(sim, "VIOLATION %s: %s", rule, text);
        (void)fflush(sim->options.trace);
    }
    (void)fprintf(stderr, "VIOLATION %s: seed %" PRIu64 ", at %" PRIu64 ".%03u ms: %s\n", rule,
                  sim->options.seed, sim->now_us / 1000, (unsigned)(sim->now_us % 1000), text);
    storm_print(sim, stderr);
    (void)fflush(stderr);
    _exit(SIM_EXIT_VIOLATION); /* in the middle of the code that was caught */
}

/* ---- time ---- */

static void step(struct sim *sim)
{
    storm_turn(sim);
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (!node->up && node->restart_us <= sim->now_us) {
            node_start(node);
        }
    }
    peers_turn(sim);
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        node_turn(&sim->nodes[i]);
    }
    network_turn(sim);
    clients_turn(sim);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(const struct sim *sim)
{
    uint64_t due =
        earlier(earlier(storm_due(sim), peers_due(sim)), earlier(network_due(sim), clients_due(sim)));
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        due = earlier(due, node_due(&sim->nodes[i]));
    }
    return due;
}

static void advance(struct sim *sim, uint64_t due_us)
{
    uint64_t before_ms = sim->now_us / 1000;
    sim->now_us = due_us > sim->now_us ? due_us : sim->now_us + 1;
    sim->steps = sim->now_us / 1000 == before_ms ? sim->steps + 1 : 0;
    if (sim->steps > STEPS_PER_MS_MAX) {
        sim_violation(sim, "spin", "the loops make no progress in time");
    }
}

/* Run until the condition holds. @return false if it did not by `end_us`. */
static bool run_until(struct sim *sim, bool (*condition)(const struct sim *sim), uint64_t end_us)
{
    for (;;) {
        /* tidy: setjmp because a process's last words must not return, and the world goes on without it. */
        if (setjmp(sim->fatal_jump) != 0) {
            node_fatal_end(sim);
        }
        step(sim);
        if (condition != NULL && condition(sim)) {
            return true;
        }
        uint64_t due = next_due(sim);
        if (due > end_us) {
            sim->now_us = end_us;
            return false;
        }
        advance(sim, due);
    }
}

/* ---- conditions ---- */

static bool nodes_agree(const struct sim *sim)
{
    uint64_t leader = 0;
    uint64_t top = 0;
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        if (!sim->nodes[i].up) {
            return false;
        }
        leader = sim->nodes[i].serving ? i + 1 : leader;
        struct replica_status status = node_status(&sim->nodes[i]);
        top = status.last_index > top ? status.last_index : top;
    }
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        struct replica_status status = node_status(&sim->nodes[i]);
        if (status.leader_id != leader || status.applied_index != top) {
            return false;
        }
    }
    return leader != 0;
}

static bool is_calm(const struct sim *sim)
{
    unsigned up = 0;
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        up += sim->nodes[i].up;
    }
    return up == sim->nodes_count && clients_progressed(sim);
}

static bool is_empty(const struct sim *sim)
{
    if (!clients_finished(sim) || !nodes_agree(sim)) {
        return false;
    }
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        struct fsm_counts counts;
        node_counts(&sim->nodes[i], &counts);
        if (counts.sessions + counts.ending + counts.locks + counts.grants + counts.waiters > 0) {
            return false;
        }
    }
    return true;
}

static void explain(struct sim *sim, const char *rule, const char *what)
{
    char text[1500];
    char nodes[600] = "";
    size_t used = 0;
    clients_explain(sim, text, sizeof(text));
    for (unsigned i = 0; i < sim->nodes_count && used < sizeof(nodes) - 200; i++) {
        const struct sim_node *node = &sim->nodes[i];
        struct fsm_counts counts = {0};
        struct replica_status status = {0};
        if (node->up) {
            node_counts(node, &counts);
            status = node_status(node);
        }
        used += (size_t)snprintf(
            nodes + used, sizeof(nodes) - used,
            "\n  node %u: up %d term %" PRIu64 " leader %" PRIu64 " serving %d applied %" PRIu64 "/%" PRIu64
            " sessions %" PRIu64 " locks %" PRIu64 " waiters %" PRIu64,
            i + 1, node->up, status.term, status.leader_id, status.serving, status.applied_index,
            status.last_index, counts.sessions, counts.locks, counts.waiters);
    }
    sim_violation(sim, rule, "%s%s\n%s", what, nodes, text);
}

/* ---- a run ---- */

static uint64_t stream_of(uint64_t seed, uint64_t number)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ULL + number;
    return simulated_random(&state, UINT64_MAX);
}

static struct sim *create(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    LOCKSTEP_ASSERT(sim != NULL);
    uint64_t settings = stream_of(options->seed, 1);
    sim->options = *options;
    sim->random_peers = stream_of(options->seed, 2);
    sim->random_network = stream_of(options->seed, 3);
    sim->random_nodes = stream_of(options->seed, 4);
    sim->random_clients = stream_of(options->seed, 5);
    sim->random_storm = stream_of(options->seed, 6);
    sim->random_looks = stream_of(options->seed, 7);
    sim->random_ends = stream_of(options->seed, 8);
    sim->random_settings = stream_of(options->seed, 9);
    unsigned nodes = sim_chance(&settings, 3) ? 5 : 3;
    nodes = sim_chance(&sim->random_settings, 20) ? 1 : nodes;
    unsigned clients = 3 + (unsigned)simulated_random(&settings, 14);
    uint64_t storm_ms = 800 + simulated_random(&settings, 2400);
    sim->nodes_count = options->nodes != 0 ? options->nodes : nodes;
    sim->clients_count = options->clients != 0 ? options->clients : clients;
    sim->options.storm_ms = options->storm_ms != 0 ? options->storm_ms : storm_ms;
    sim->delay_min_us = 20 + (unsigned)simulated_random(&settings, 200);
    sim->delay_max_us = sim->delay_min_us + (unsigned)simulated_random(&settings, 1000);
    sim->turn_max_us = 100U << simulated_random(&settings, 5);
    sim->snapshot_after_bytes = 8 * 1024 + simulated_random(&settings, 160 * 1024);
    sim->trailing_bytes = 1024 + simulated_random(&settings, 24 * 1024);
    sim->segment_bytes = 64ULL * 1024 << simulated_random(&settings, 3);
    sim->cache_bytes = 16ULL * 1024 << simulated_random(&settings, 4);
    sim->peer_queue_bytes = PEER_QUEUE_BYTES;
    if (sim_chance(&sim->random_settings, 4)) {
        sim->peer_queue_bytes = (size_t)PEER_QUEUE_BYTES_FEW << simulated_random(&sim->random_settings, 6);
    }
    sim->start_us_max = sim_chance(&sim->random_settings, 4) ? START_LATE_US_MAX : START_US_MAX;
    oracle_create(sim);
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        node_create(sim, i);
    }
    clients_create(sim);
    storm_create(sim);
    return sim;
}

static void destroy(struct sim *sim)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        node_free(&sim->nodes[i]);
    }
    clients_free(sim);
    network_free(sim);
    storm_free(sim);
    oracle_free(sim);
    free(sim);
}

void sim_run(const struct sim_options *options, struct sim_counts *ret_counts)
{
    struct sim *sim = create(options);
    (void)run_until(sim, NULL, sim->options.storm_ms * 1000);
    sim->calm = true;
    sim_trace(sim, "calm");
    storm_end(sim);
    clients_calm(sim);
    if (!run_until(sim, is_calm, sim->now_us + CALM_MS_MAX * 1000ULL)) {
        explain(sim, "progress", "after the storm not everybody gets on");
    }
    sim_trace(sim, "everybody leaves");
    clients_finish(sim);
    if (!run_until(sim, is_empty, sim->now_us + LEAVE_MS_MAX * 1000ULL)) {
        explain(sim, "finish", "after everybody left something is left, or the nodes differ");
    }
    oracle_finish(sim);
    sim->counts.virtual_ms = sim->now_us / 1000;
    *ret_counts = sim->counts;
    destroy(sim);
}
