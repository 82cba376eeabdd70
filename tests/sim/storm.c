/* The plan of faults: drawn from the seed before anything happens, so that a fault can be left out and the others stay what
 * they were. Each seed leaves out some kinds altogether: a storm of everything hides what a storm of two things shows. */
#include <stdlib.h>

#include "protocol/assert.h"
#include "tests/sim/engine.h"

enum {
    DURATION_US_MIN = 10 * 1000,
    DURATION_US_MAX = 3 * 1000 * 1000,
    CUT_US_MIN = 400 * 1000,
    CUT_US_MAX = 1200 * 1000,
    GAP_US_MIN = 40 * 1000,
    GAP_US_MAX = 500 * 1000,
    RATE_PPM_MAX = 25000,
    DISK_US_MIN = 40,
    DISK_US_MAX = 200,
    SLOW_DISK_US_MAX = 60 * 1000,
    SLOW_LINK_US_MAX = 150 * 1000,
    SLOW_LOOK_US_MAX = 100 * 1000,
    FAIL_CALLS_MAX = 40,
};

struct fault {
    enum sim_fault_kind kind;
    uint64_t at_us, end_us;
    unsigned a, b;   /* whom it hits; for a client, which */
    uint64_t detail; /* of the kind's own */
    bool left_out, begun, ended;
};

struct sim_storm {
    struct fault faults[SIM_FAULTS_MAX];
    unsigned count;
    uint64_t due_us;
    unsigned
        rot_place; /* the one node whose bytes rot: of a minority, as redundancy is what rot is answered with */
    unsigned unmounted_place; /* likewise: several at a time that know nothing are a new cluster */
    bool disk_touched[SIM_NODES_MAX];
};

static const char *const words[] = {
#define X(name, word, text) [SIM_##name] = word,
    SIM_FAULT_KINDS(X)
#undef X
};

static bool has_duration(enum sim_fault_kind kind)
{
    switch (kind) {
    case SIM_ISOLATE:
    case SIM_ONE_WAY:
    case SIM_SPLIT:
    case SIM_SLOW_LINK:
    case SIM_PAUSE:
    case SIM_SUSPEND:
    case SIM_SLOW_LOOK:
    case SIM_SLOW_DISK:
    case SIM_FULL_DISK:
    case SIM_UNMOUNTED:
    case SIM_CLIENT_SILENCE:
        return true;
    default:
        return false;
    }
}

/* ---- the plan ---- */

/* Short ones more often than long ones. */
static uint64_t duration(uint64_t *random)
{
    uint64_t most = (uint64_t)DURATION_US_MIN << simulated_random(random, 9);
    most = most > DURATION_US_MAX ? DURATION_US_MAX : most;
    return DURATION_US_MIN + simulated_random(random, most);
}

static bool is_cut(enum sim_fault_kind kind)
{
    return kind == SIM_ISOLATE || kind == SIM_SPLIT || kind == SIM_ONE_WAY || kind == SIM_PAUSE ||
           kind == SIM_SUSPEND;
}

static struct fault fault_draw(const struct sim *sim, uint64_t *random, enum sim_fault_kind kind,
                               uint64_t at_us)
{
    struct fault fault = {.kind = kind, .at_us = at_us, .end_us = at_us + duration(random)};
    bool is_of_client = kind >= SIM_CLIENT_CUT;
    fault.a = (unsigned)simulated_random(random, is_of_client ? sim->clients_count : sim->nodes_count);
    fault.b = (unsigned)simulated_random(random, sim->nodes_count - 1);
    fault.b += fault.b >= fault.a; /* another node */
    fault.detail = simulated_random(random, UINT64_MAX);
    if (is_cut(kind) && simulated_random(random, 2) == 0) { /* long enough for the others to elect somebody */
        fault.end_us = at_us + CUT_US_MIN + simulated_random(random, CUT_US_MAX);
    }
    return fault;
}

void storm_create(struct sim *sim)
{
    struct sim_storm *storm = calloc(1, sizeof(*storm));
    LOCKSTEP_ASSERT(storm != NULL);
    sim->storm = storm;
    uint64_t *random = &sim->random_storm;
    enum sim_fault_kind kinds[SIM_FAULT_KINDS_COUNT];
    unsigned kinds_count = 0;
    for (unsigned kind = 0; kind < SIM_FAULT_KINDS_COUNT; kind++) {
        if (simulated_random(random, 3) != 0) {
            kinds[kinds_count++] = (enum sim_fault_kind)kind;
        }
    }
    storm->rot_place = (unsigned)simulated_random(random, sim->nodes_count);
    storm->unmounted_place = (unsigned)simulated_random(&sim->random_settings, sim->nodes_count);
    uint64_t gap_us = GAP_US_MIN + simulated_random(random, GAP_US_MAX);
    uint64_t at_us = simulated_random(random, 2 * gap_us);
    while (kinds_count > 0 && at_us < sim->options.storm_ms * 1000 && storm->count < SIM_FAULTS_MAX) {
        enum sim_fault_kind kind = kinds[simulated_random(random, kinds_count)];
        struct fault *fault = &storm->faults[storm->count];
        *fault = fault_draw(sim, random, kind, at_us);
        fault->left_out = (sim->options.faults[storm->count / 64] >> (storm->count % 64) & 1) == 0;
        storm->count++;
        at_us += 1 + simulated_random(random, 2 * gap_us);
    }
}

void storm_free(struct sim *sim)
{
    free(sim->storm);
}

unsigned storm_faults(const struct sim *sim)
{
    return sim->storm->count;
}

void storm_print(const struct sim *sim, FILE *file)
{
    for (unsigned i = 0; i < sim->storm->count; i++) {
        const struct fault *fault = &sim->storm->faults[i];
        if (!fault->left_out) {
            (void)fprintf(file, "  fault %u: %s at %llu ms", i, words[fault->kind],
                          (unsigned long long)fault->at_us / 1000);
            if (has_duration(fault->kind)) {
                (void)fprintf(file, " for %llu ms",
                              (unsigned long long)(fault->end_us - fault->at_us) / 1000);
            }
            (void)fprintf(file, ", %s %u\n", fault->kind >= SIM_CLIENT_CUT ? "client" : "node",
                          fault->a + (fault->kind < SIM_CLIENT_CUT));
        }
    }
}

bool storm_explains(const struct sim *sim, const struct sim_node *node)
{
    return sim->storm->disk_touched[node->place];
}

/* ---- what each does ---- */

static void isolate(struct sim *sim, unsigned node, bool cut)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        if (i != node) {
            peers_cut(sim, node, i, cut);
            peers_cut(sim, i, node, cut);
        }
    }
}

static void split(struct sim *sim, uint64_t sides, bool cut)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        for (unsigned j = 0; j < sim->nodes_count; j++) {
            if ((sides >> i & 1) != (sides >> j & 1)) {
                peers_cut(sim, i, j, cut);
            }
        }
    }
}

static void slow_links(struct sim *sim, unsigned node, uint64_t extra_us)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        sim->streams[node][i].extra_us = sim->streams[i][node].extra_us = extra_us;
    }
}

/* A cluster that is not formed yet may take the empty directory for the node's own: then nobody needs the other. */
static void unmount(struct sim *sim, bool away)
{
    struct sim_storm *storm = sim->storm;
    struct sim_node *node = &sim->nodes[storm->unmounted_place];
    if (away && (sim->nodes_count == 1 || node->unmounted || !oracle_all_have_applied(sim))) {
        return;
    }
    if (away || node->unmounted) {
        storm->disk_touched[storm->unmounted_place] = true; /* it says that its memory is lost, and ends */
        node_unmount(node, away);
    }
}

static void end_if_up(struct sim_node *node, bool power)
{
    if (node->up) {
        node_end(node, power);
    }
}

static void rot(struct sim *sim, struct sim_node *node)
{
    char name[128];
    uint64_t offset;
    end_if_up(node, false);
    simulated_disk_mend(node->disk); /* one byte at a time */
    if (simulated_disk_rot(node->disk, name, sizeof(name), &offset)) {
        sim_trace(sim, "node %u rot in %s at %llu", node->place + 1, name, (unsigned long long)offset);
    }
}

static const char *full_prefix(uint64_t detail)
{
    static const char *const prefixes[] = {"log", "snapshot", "meta"};
    return prefixes[detail % 3];
}

/* Mostly in the middle of what it does with its disk, which may be its start; what it seldom writes as often as the log. */
static void end_somewhere(struct sim_node *node, uint64_t detail, bool power)
{
    static const struct {
        const char *prefix;
        unsigned calls;
    } places[] = {{"log", 60}, {"snapshot", 30}, {"metadata", 8}, {"", 60}};
    unsigned place = detail >> 41 & 3;
    if ((detail >> 43 & 3) != 0) {
        node_end_after(node, places[place].prefix, (unsigned)(detail % places[place].calls), power);
    } else {
        end_if_up(node, power);
    }
}

/* Those that need no end. */
static void strike(struct sim *sim, struct fault *fault)
{
    struct sim_storm *storm = sim->storm;
    struct sim_node *node = fault->kind < SIM_CLIENT_CUT ? &sim->nodes[fault->a] : NULL;
    uint64_t length_us = fault->end_us - fault->at_us;
    int64_t ppm = (int64_t)(fault->detail % (2 * RATE_PPM_MAX + 1)) - RATE_PPM_MAX;
    switch (fault->kind) {
    case SIM_CRASH:
        end_somewhere(node, fault->detail, true);
        break;
    case SIM_KILL:
        end_somewhere(node, fault->detail, false);
        break;
    case SIM_BLACKOUT:
        for (unsigned i = 0; i < sim->nodes_count; i++) {
            end_if_up(&sim->nodes[i], true);
        }
        break;
    case SIM_BREAK:
        peers_break(sim, fault->a, fault->b, fault->detail % 3 == 0);
        peers_break(sim, fault->b, fault->a, fault->detail % 3 == 0);
        break;
    case SIM_RATE:
        sim_clock_change(&node->clock, sim->now_us, ppm, node->clock.frozen);
        break;
    case SIM_BAD_DISK:
        storm->disk_touched[fault->a] = true;
        simulated_disk_fail_after(node->disk, (unsigned)(fault->detail % FAIL_CALLS_MAX));
        break;
    case SIM_ROT:
        storm->disk_touched[storm->rot_place] = true;
        rot(sim, &sim->nodes[storm->rot_place]);
        break;
    case SIM_TRANSFER:
        node_terminate(node);
        break;
    case SIM_CLIENT_CUT:
        network_break(sim, fault->a);
        break;
    case SIM_CLIENT_LATE:
        network_delay(sim, fault->a, fault->detail % 4 != 0, fault->end_us);
        break;
    case SIM_CLIENT_CRASH:
        client_crash(sim, fault->a, length_us);
        break;
    case SIM_CLIENT_PAUSE:
        client_pause(sim, fault->a, length_us);
        break;
    case SIM_CLIENT_RATE:
        client_rate(sim, fault->a, ppm);
        break;
    default:
        break;
    }
}

/* Those that last: begin and end. */
static void hold(struct sim *sim, struct fault *fault, bool on)
{
    struct sim_node *node = fault->kind < SIM_CLIENT_CUT ? &sim->nodes[fault->a] : NULL;
    switch (fault->kind) {
    case SIM_ISOLATE:
        isolate(sim, fault->a, on);
        break;
    case SIM_ONE_WAY:
        peers_cut(sim, fault->a, fault->b, on);
        break;
    case SIM_SPLIT:
        split(sim, fault->detail, on);
        break;
    case SIM_SLOW_LINK:
        slow_links(sim, fault->a, on ? 1 + fault->detail % SLOW_LINK_US_MAX : 0);
        break;
    case SIM_PAUSE:
        node_stop(node, on, false);
        break;
    case SIM_SUSPEND:
        node_stop(node, on, true);
        break;
    case SIM_SLOW_LOOK:
        node->look_max_us = on ? 1 + fault->detail % SLOW_LOOK_US_MAX : 0;
        break;
    case SIM_SLOW_DISK:
        sim->storm->disk_touched[fault->a] =
            true; /* a disk that hangs for too long ends the process, as it must */
        simulated_disk_latency(node->disk, sim->now_us, on ? 1000 : DISK_US_MIN,
                               on ? (unsigned)(1000 + fault->detail % SLOW_DISK_US_MAX) : DISK_US_MAX);
        break;
    case SIM_FULL_DISK:
        sim->storm->disk_touched[fault->a] = true;
        simulated_disk_full(node->disk, on ? full_prefix(fault->detail) : NULL);
        break;
    case SIM_UNMOUNTED:
        unmount(sim, on);
        break;
    case SIM_CLIENT_SILENCE:
        network_silence(sim, fault->a, on);
        break;
    default:
        break;
    }
}

/* Whoever leads is the one to hit: half of those that hit one node do. */
static void aim(const struct sim *sim, struct fault *fault)
{
    uint64_t term = 0;
    if (fault->kind >= SIM_CLIENT_CUT || (fault->detail >> 40 & 1) != 0) {
        return;
    }
    unsigned a = fault->a;
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        if (sim->nodes[i].serving && sim->nodes[i].term > term) {
            term = sim->nodes[i].term;
            fault->a = i;
        }
    }
    fault->b = fault->b == fault->a ? a : fault->b;
}

static void begin(struct sim *sim, unsigned number, struct fault *fault)
{
    aim(sim, fault);
    fault->begun = true;
    sim_trace(sim, "fault %u %s begins", number, words[fault->kind]);
    sim_note(sim, fault->kind, number, 0);
    sim->counts.faults[fault->kind]++;
    if (has_duration(fault->kind)) {
        hold(sim, fault, true);
    } else {
        fault->ended = true;
        strike(sim, fault);
    }
}

static void end(struct sim *sim, unsigned number, struct fault *fault)
{
    fault->ended = true;
    sim_trace(sim, "fault %u %s ends", number, words[fault->kind]);
    hold(sim, fault, false);
}

void storm_turn(struct sim *sim)
{
    struct sim_storm *storm = sim->storm;
    if (storm->due_us > sim->now_us) {
        return;
    }
    storm->due_us = SIM_NEVER;
    for (unsigned i = 0; i < storm->count; i++) {
        struct fault *fault = &storm->faults[i];
        if (fault->left_out) {
            continue;
        }
        if (!fault->begun && fault->at_us <= sim->now_us) {
            begin(sim, i, fault);
        }
        if (fault->begun && !fault->ended && fault->end_us <= sim->now_us) {
            end(sim, i, fault);
        }
        uint64_t due = !fault->begun ? fault->at_us : !fault->ended ? fault->end_us : SIM_NEVER;
        storm->due_us = due < storm->due_us ? due : storm->due_us;
    }
}

uint64_t storm_due(const struct sim *sim)
{
    return sim->storm->due_us;
}

void storm_end(struct sim *sim)
{
    struct sim_storm *storm = sim->storm;
    for (unsigned i = 0; i < storm->count; i++) {
        struct fault *fault = &storm->faults[i];
        if (fault->begun && !fault->ended) {
            end(sim, i, fault);
        }
        fault->left_out = true;
    }
    storm->due_us = SIM_NEVER;
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        simulated_disk_end_after(sim->nodes[i].disk, "", 0, false, NULL, NULL);
        if (!sim->nodes[i].up) {
            simulated_disk_mend(sim->nodes[i].disk);
        }
    }
    for (unsigned i = 0; i < sim->clients_count; i++) {
        network_silence(sim, i, false);
    }
}
