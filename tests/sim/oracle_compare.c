/* The oracle's tables compared with what the reference state machine answers behind an entry, for each key that the entry may
 * have touched; and cluster time with true time.
 *
 *   rule mutual-exclusion  who holds a key at a time fits together: one if exclusive, one mode, permits within the limit
 *   rule exactly-once      nobody holds what nobody was told of
 *   rule fifo              a wait is granted before those that arrived after it, and the queue stays in its order
 *   rule waiter            a wait leaves the queue only with an answer
 *   rule session-end       nothing of an ended session is held or waits
 *   rule cluster-time      cluster time goes no faster than the fastest clock since any request was sent */
#include "protocol/assert.h"
#include "tests/sim/oracle.h"

enum { MILLION = 1000000 };

typedef unsigned long long ull;

static void check_holders(struct sim *sim, struct oracle_key *key, const struct proto_lock_reply *lock)
{
    struct sim_oracle *oracle = sim->oracle;
    uint64_t permits = 0;
    uint32_t count = lock->holders_shown;
    for (uint32_t i = 0; i < count; i++) {
        const struct proto_holder *holder = &lock->holders[i];
        struct oracle_token *token = oracle_token(oracle, holder->token);
        permits += holder->permits;
        if ((holder->mode == PROTO_MODE_EXCLUSIVE && count > 1) || holder->mode != lock->holders[0].mode ||
            (holder->mode == PROTO_MODE_PERMITS && permits > lock->limit)) {
            sim_violation(sim, "mutual-exclusion",
                          "%.*s has %u holders that do not go together: tokens %llu, %llu", (int)key->bytes,
                          key->name, count, (ull)lock->holders[0].token, (ull)holder->token);
        }
        if (token == NULL || token->ended_index != 0 || token->session != holder->session_id ||
            token->fence != holder->fence) {
            sim_violation(sim, "exactly-once",
                          "token %llu of %.*s is held by session %llu, and nobody was told",
                          (ull)holder->token, (int)key->bytes, key->name, (ull)holder->session_id);
        }
        token->seen = true;
        const struct oracle_session *session = oracle_session(oracle, holder->session_id);
        if (session == NULL || session->ended_index != 0 || oracle_lies(sim, "session-end-holder")) {
            sim_violation(sim, "session-end", "token %llu of %.*s is held by session %llu, which has ended",
                          (ull)holder->token, (int)key->bytes, key->name, (ull)holder->session_id);
        }
    }
}

static void check_queue(struct sim *sim, struct oracle_key *key, const struct proto_lock_reply *lock)
{
    struct sim_oracle *oracle = sim->oracle;
    if (key->queue_count > 0 && oracle->waits[key->queue[0]].number < key->granted_wait) {
        sim_violation(sim, "fifo", "%.*s was granted to a later wait than request %llu of session %llu",
                      (int)key->bytes, key->name, (ull)oracle->waits[key->queue[0]].request,
                      (ull)oracle->waits[key->queue[0]].session);
    }
    uint64_t there = lock->waiters_count - (lock->waiters_count > 0 && oracle_lies(sim, "waiter-lost"));
    if (there != key->queue_count) {
        sim_violation(sim, "waiter", "%.*s has %llu waiters, %u were not answered", (int)key->bytes,
                      key->name, (ull)there, key->queue_count);
    }
    for (uint32_t i = 0; i < lock->waiters_shown; i++) {
        const struct oracle_wait *wait = &oracle->waits[key->queue[i]];
        const struct oracle_session *session = oracle_session(oracle, lock->waiters[i].session_id);
        if (wait->session != lock->waiters[i].session_id || wait->request != lock->waiters[i].request_id) {
            sim_violation(
                sim, "fifo",
                "the queue of %.*s is not in the order of arrival: at %u request %llu of session %llu",
                (int)key->bytes, key->name, i, (ull)lock->waiters[i].request_id,
                (ull)lock->waiters[i].session_id);
        }
        if (session == NULL || session->ended_index != 0 || oracle_lies(sim, "session-end-waiter")) {
            sim_violation(sim, "session-end", "session %llu has ended and waits for %.*s",
                          (ull)lock->waiters[i].session_id, (int)key->bytes, key->name);
        }
    }
}

/* Lies about what the state machine answers. */
static void lie_about(struct sim *sim, struct oracle_key *key, struct proto_lock_reply *lock)
{
    struct proto_holder *holders = sim->oracle->rows.holders;
    if (lock->holders_shown == 1 && holders[0].mode == PROTO_MODE_EXCLUSIVE &&
        oracle_lies(sim, "mutual-exclusion-second-holder")) {
        holders[1] = holders[0];
        lock->holders_shown = 2;
    }
    if (lock->holders_shown > 0 && oracle_lies(sim, "exactly-once-ghost")) {
        holders[0].token += 1000;
    }
    if (key->queue_count > 1 && sim_planted(sim, "fifo-swapped") && oracle_lies(sim, "fifo-swapped")) {
        uint64_t first = key->queue[0];
        key->queue[0] = key->queue[1];
        key->queue[1] = first;
    }
    if (key->queue_count > 0 && oracle_lies(sim, "fifo-passed")) {
        key->granted_wait = UINT64_MAX;
    }
}

static void compare_key(struct sim *sim, uint64_t index, struct oracle_key *key)
{
    struct sim_oracle *oracle = sim->oracle;
    struct proto_request request = {.kind = PROTO_LOCK_GET,
                                    .body.lock_get.key = {(const uint8_t *)key->name, key->bytes}};
    struct proto_reply reply;
    fsm_query(oracle->fsm, fsm_time(oracle->fsm), &request, &oracle->rows, &reply);
    if (sim->options.plant != NULL) {
        lie_about(sim, key, &reply.body.lock);
    }
    check_holders(sim, key, &reply.body.lock);
    for (uint32_t i = key->live_count; i-- > 0;) {
        uint64_t number = key->live[i];
        bool seen = oracle->tokens[number].seen;
        oracle->tokens[number].seen = false;
        if (!seen && reply.body.lock.holders_count <= PROTO_STATUS_HOLDERS_MAX) {
            oracle_token_ended(sim, index, number);
        }
    }
    if (key->last_token != 0 && oracle->tokens[key->last_token].granted_index == index) {
        oracle->tokens[key->last_token].live_after = key->live_count;
    }
    check_queue(sim, key, &reply.body.lock);
    key->touched = false;
    key->granted_wait = 0;
}

static void compare_counts(struct sim *sim)
{
    struct sim_oracle *oracle = sim->oracle;
    struct fsm_counts counts;
    fsm_counts(oracle->fsm, &counts);
    if (counts.sessions != oracle->sessions_alive || counts.ending != 0) {
        sim_violation(sim, "session-end", "%llu sessions live and %llu end, of whom %llu were told",
                      (ull)counts.sessions, (ull)counts.ending, (ull)oracle->sessions_alive);
    }
    if (counts.grants != oracle->tokens_live) {
        sim_violation(sim, "exactly-once", "%llu grants are held, %llu are known", (ull)counts.grants,
                      (ull)oracle->tokens_live);
    }
    if (counts.waiters != oracle->waits_live) {
        sim_violation(sim, "waiter", "%llu wait, %llu are known", (ull)counts.waiters,
                      (ull)oracle->waits_live);
    }
}

/* ---- cluster time ---- */

/* A request was sent when the cluster's clock showed at most the time of its entry: from there on a clock that is as fast as
 * any bounds it. */
void oracle_check_time(struct sim *sim, uint32_t count)
{
    struct sim_oracle *oracle = sim->oracle;
    double rate = 1.0 + (double)ORACLE_RATE_PPM_MAX / MILLION;
    double time_us = (double)oracle->time_ms * 1000 + (oracle_lies(sim, "cluster-time-fast") ? 1e6 : 0);
    double leaders_us = (double)oracle->served_count * 1000;
    double most_us = oracle->clock_bound + rate * (double)sim->now_us + leaders_us + ORACLE_ROUNDING_US;
    if (oracle->clock_bounded && time_us > most_us) {
        sim_violation(sim, "cluster-time",
                      "an entry has the time %llu ms; by the fastest clock it is %.3f at most",
                      (ull)oracle->time_ms, most_us / 1000);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct fsm_command *command = &oracle->commands[i];
        uint64_t us =
            command->session_id == 0 ? 0 : oracle_sent_us(oracle, command->session_id, command->request_id);
        double bound = (double)oracle->time_ms * 1000 - rate * (double)us - leaders_us;
        if (us != 0 && (!oracle->clock_bounded || bound < oracle->clock_bound)) {
            oracle->clock_bounded = true;
            oracle->clock_bound = bound;
        }
    }
}

/* ---- */

void oracle_compare(struct sim *sim, uint64_t index)
{
    struct sim_oracle *oracle = sim->oracle;
    for (unsigned i = 0; i < oracle->keys_count; i++) {
        if (oracle->keys[i].touched) {
            compare_key(sim, index, &oracle->keys[i]);
        }
    }
    compare_counts(sim);
}
