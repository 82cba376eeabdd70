/* The log as the oracle sees it: the first node that applies an entry decides what is committed, and everyone must agree.
 *
 *   rule log      an index has one term and one entry, whoever applies it
 *   rule order    a node applies every entry, in order, once; after a restore it goes on behind the restored index
 *   rule digest   the state behind an entry is the same everywhere, and the reference's
 *   rule restore  a restored snapshot is the state that the cluster had at its index, and never older than the node's own
 *   rule leader   a term has one leader, in one life
 *   rule serve    a node begins to serve once in a term, with everything applied that was applied anywhere before
 *   rule durable  a node that comes back has what it said to be durable
 *   rule memory   a node whose directory is not there neither stands for election nor applies
 *   rule finish   in the end all nodes have applied the same, and nothing is left of any client */
#include "tests/sim/oracle.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum {
    TABLE_CAPACITY_MIN = 256,
    LIE_AFTER_ENTRIES = 40,
    COMPARE_EVERY = 128,    /* entries */
    COMPARE_ALL_SEEDS = 32, /* one seed of so many compares behind every entry */
};

typedef unsigned long long ull;

void *oracle_table_grow(void *table, size_t *capacity, uint64_t number, size_t size)
{
    LOCKSTEP_ASSERT(number < ORACLE_NUMBERS_MAX);
    if (number < *capacity) {
        return table;
    }
    size_t more = *capacity == 0 ? TABLE_CAPACITY_MIN : *capacity;
    while (more <= number) {
        more *= 2;
    }
    uint8_t *bytes = realloc(table, more * size);
    LOCKSTEP_ASSERT(bytes != NULL);
    memset(bytes + *capacity * size, 0, (more - *capacity) * size);
    *capacity = more;
    return bytes;
}

bool oracle_lies(struct sim *sim, const char *plant)
{
    struct sim_oracle *oracle = sim->oracle;
    if (sim->options.plant == NULL || oracle->lied || oracle->top < LIE_AFTER_ENTRIES ||
        !sim_planted(sim, plant)) {
        return false;
    }
    oracle->lied = true;
    sim_trace(sim, "the lie %s is told", plant);
    return true;
}

void oracle_create(struct sim *sim)
{
    struct sim_oracle *oracle = calloc(1, sizeof(*oracle));
    LOCKSTEP_ASSERT(oracle != NULL);
    sim->oracle = oracle;
    oracle->fsm = fsm_create();
    oracle->judge = judge_create();
    oracle->commands = malloc(FSM_ENTRY_COMMANDS_MAX * sizeof(*oracle->commands));
    LOCKSTEP_ASSERT(oracle->fsm != NULL && oracle->judge != NULL && oracle->commands != NULL);
    fsm_effects_init(&oracle->effects);
    proto_buffer_init(&oracle->early, FSM_ENTRY_BYTES_MAX);
}

void oracle_free(struct sim *sim)
{
    struct sim_oracle *oracle = sim->oracle;
    oracle_state_free(oracle);
    fsm_effects_done(&oracle->effects);
    proto_buffer_done(&oracle->early);
    judge_free(oracle->judge);
    fsm_free(oracle->fsm);
    free(oracle->commands);
    free(oracle->records);
    free(oracle->terms);
    free(oracle);
    sim->oracle = NULL;
}

/* What it has applied; nothing if its process is another one than at the last look. */
static struct oracle_node *node_of(struct sim *sim, const struct sim_node *node)
{
    struct oracle_node *here = &sim->oracle->nodes[node->place];
    if (here->life != node->incarnation) {
        here->life = node->incarnation;
        here->at = 0;
    }
    return here;
}

/* ---- entries ---- */

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325ULL ^ size;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
    }
    for (; at < size; at++) {
        hash = (hash ^ data[at]) * 0x100000001b3ULL;
    }
    return hash;
}

static void first_applied(struct sim *sim, struct sim_node *node, uint64_t index, uint64_t term,
                          uint64_t hash, const void *data, size_t size)
{
    struct sim_oracle *oracle = sim->oracle;
    if (oracle->nodes[node->place].at != oracle->top) {
        sim_violation(sim, "order", "node %u applies %llu, which nobody has applied before, without %llu",
                      node->place + 1, (ull)index, (ull)oracle->top);
    }
    oracle->records =
        oracle_table_grow(oracle->records, &oracle->records_capacity, index, sizeof(*oracle->records));
    oracle->records[index] =
        (struct oracle_record){.known = true, .term = term, .hash = hash, .previous = oracle->top};
    oracle->top = index;
    sim->counts.entries++;
    oracle_entry(sim, index, data, size);
    sim_trace(sim, "entry %llu of term %llu, %zu bytes, hash %016llx, first on node %u", (ull)index,
              (ull)term, size, (ull)hash, node->place + 1);
    sim_note(sim, 'e', index, hash);
    if (oracle_compares(sim, index)) {
        oracle->records[index].digest = fsm_digest(oracle->fsm);
        oracle->records[index].compared = true;
        sim_note(sim, 'd', index, oracle->records[index].digest);
    }
}

bool oracle_compares(const struct sim *sim, uint64_t index)
{
    /* Behind a restore the next comparison shows whether it was right. */
    return index % COMPARE_EVERY == 0 || sim->options.seed % COMPARE_ALL_SEEDS == 0 ||
           sim_planted(sim, "restore-digest");
}

void oracle_applied(struct sim *sim, struct sim_node *node, uint64_t index, uint64_t term, const void *data,
                    size_t size, uint64_t digest)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_node *here = node_of(sim, node);
    uint64_t hash = hash_of(data, size);
    if (node->unmounted || oracle_lies(sim, "memory-applies")) {
        sim_violation(sim, "memory", "node %u applied %llu, and its directory is not there", node->place + 1,
                      (ull)index);
    }
    if (index > oracle->top) {
        if (oracle_lies(sim, "order-skipped")) {
            here->at--;
        }
        first_applied(sim, node, index, term, hash, data, size);
    } else {
        const struct oracle_record *record = &oracle->records[index];
        hash ^= oracle_lies(sim, "log-byte");
        term += oracle_lies(sim, "log-term");
        here->at -= oracle_lies(sim, "order-again");
        if (!record->known || record->term != term || record->hash != hash) {
            sim_violation(sim, "log",
                          "node %u applied at %llu another entry than others: term %llu, others %llu",
                          node->place + 1, (ull)index, (ull)term, (ull)record->term);
        }
        if (record->previous != here->at) {
            sim_violation(sim, "order", "node %u applied %llu after %llu instead of after %llu",
                          node->place + 1, (ull)index, (ull)here->at, (ull)record->previous);
        }
    }
    here->at = index;
    if (!oracle_compares(sim, index)) {
        return;
    }
    digest ^= here->restored && oracle_lies(sim, "restore-behind");
    digest ^= oracle_lies(sim, "digest-other");
    if (digest != oracle->records[index].digest) {
        sim_violation(sim, here->restored ? "restore" : "digest",
                      "node %u has digest %016llx behind %llu, the reference %016llx", node->place + 1,
                      (ull)digest, (ull)index, (ull)oracle->records[index].digest);
    }
    here->restored = false;
}

/* The last index with an entry, at or before this one. */
static uint64_t entry_before(const struct sim_oracle *oracle, uint64_t index)
{
    index = index < oracle->top ? index : oracle->top;
    while (index > 0 && !oracle->records[index].known) {
        index--;
    }
    return index;
}

void oracle_restored(struct sim *sim, struct sim_node *node, uint64_t index, uint64_t digest)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_node *here = node_of(sim, node);
    uint64_t at = entry_before(oracle, index);
    if (oracle_lies(sim, "restore-old")) {
        here->at = at + 1;
    }
    digest ^= at != 0 && oracle->records[at].compared && oracle_lies(sim, "restore-digest");
    sim_trace(sim, "node %u restored a snapshot of %llu", node->place + 1, (ull)index);
    if (at < here->at || at == 0) {
        sim_violation(sim, "restore", "node %u went back from %llu to %llu", node->place + 1, (ull)here->at,
                      (ull)index);
    }
    if (oracle->records[at].compared && digest != oracle->records[at].digest) {
        sim_violation(sim, "restore", "node %u restored digest %016llx for %llu, the cluster had %016llx",
                      node->place + 1, (ull)digest, (ull)index, (ull)oracle->records[at].digest);
    }
    here->restored = !oracle->records[at].compared;
    here->at = at;
}

/* ---- leaders ---- */

void oracle_changed(struct sim *sim, struct sim_node *node, enum replica_role role, uint64_t term,
                    bool serving)
{
    struct sim_oracle *oracle = sim->oracle;
    if (role != REPLICA_FOLLOWER && (node->unmounted || oracle_lies(sim, "memory-stands"))) {
        sim_violation(sim, "memory",
                      "node %u stands for election in term %llu, and its directory is not there",
                      node->place + 1, (ull)term);
    }
    if (role != REPLICA_LEADER) {
        return;
    }
    oracle->terms = oracle_table_grow(oracle->terms, &oracle->terms_capacity, term, sizeof(*oracle->terms));
    struct oracle_term *of = &oracle->terms[term];
    uint64_t who = (uint64_t)node->incarnation << 32 | (node->place + 1);
    if (oracle_lies(sim, "leader-second")) {
        of->leader = who ^ 3;
    }
    if (of->leader != 0 && of->leader != who) {
        sim_violation(sim, "leader", "node %u leads in term %llu, which node %u led before", node->place + 1,
                      (ull)term, (unsigned)of->leader);
    }
    of->leader = who;
    oracle->term_top = term > oracle->term_top ? term : oracle->term_top;
    if (!serving || node->serving) {
        return;
    }
    of->served = of->served || oracle_lies(sim, "serve-twice");
    if (of->served) {
        sim_violation(sim, "serve", "node %u began to serve twice in term %llu", node->place + 1, (ull)term);
    }
    of->served = true;
    oracle->served_count++;
    uint64_t at = node_of(sim, node)->at - (oracle_lies(sim, "serve-behind") ? 1 : 0);
    if (term == oracle->term_top && at < oracle->top) {
        sim_violation(sim, "serve", "node %u serves in term %llu with %llu applied, others have %llu",
                      node->place + 1, (ull)term, (ull)at, (ull)oracle->top);
    }
}

/* ---- what is durable ---- */

/* What a node says to be durable in its last moment counts: before, a leader's entries may make it drop some that were never
 * committed. */
void oracle_ended(struct sim *sim, struct sim_node *node)
{
    struct replica_status status;
    if (node->replica != NULL && !node->unmounted) {
        replica_status(node->replica, &status);
        sim->oracle->nodes[node->place].durable_index = status.durable_index;
    }
}

bool oracle_all_have_applied(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        if (sim->oracle->nodes[i].at == 0) {
            return false;
        }
    }
    return true;
}

void oracle_turned(struct sim *sim, struct sim_node *node)
{
    (void)sim; /* everything is looked at when it happens */
    (void)node;
}

void oracle_started(struct sim *sim, struct sim_node *node)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_node *here = &oracle->nodes[node->place];
    struct replica_status status;
    if (node->unmounted) {
        return; /* what its own directory has, it shows when that is back */
    }
    replica_status(node->replica, &status);
    uint64_t least = here->durable_index < oracle->top ? here->durable_index : oracle->top;
    if (node->incarnation > 1 && oracle_lies(sim, "durable-less")) {
        status.last_index = least - 1;
    }
    if (status.last_index < least) {
        sim_violation(sim, "durable", "node %u came back with %llu, and had said that %llu is durable",
                      node->place + 1, (ull)status.last_index, (ull)least);
    }
    here->durable_index = status.durable_index;
}

/* ---- the end ---- */

void oracle_finish(struct sim *sim)
{
    struct sim_oracle *oracle = sim->oracle;
    struct fsm_counts counts;
    fsm_counts(oracle->fsm, &counts);
    counts.waiters += oracle_lies(sim, "finish-waiter");
    counts.sessions += oracle_lies(sim, "finish-session");
    if (counts.sessions + counts.ending + counts.locks + counts.grants + counts.waiters > 0) {
        sim_violation(sim, "finish", "left over: %llu sessions, %llu locks, %llu grants, %llu waiters",
                      (ull)counts.sessions, (ull)counts.locks, (ull)counts.grants, (ull)counts.waiters);
    }
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        uint64_t at = oracle->nodes[i].at - (oracle_lies(sim, "finish-behind") ? 1 : 0);
        uint64_t digest = node_digest(node) ^ oracle_lies(sim, "finish-digest");
        if (at != oracle->top || digest != fsm_digest(oracle->fsm)) {
            sim_violation(sim, "finish", "node %u ended at %llu of %llu, digest %016llx", i + 1, (ull)at,
                          (ull)oracle->top, (ull)digest);
        }
    }
}
