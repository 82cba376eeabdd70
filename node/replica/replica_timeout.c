/* Raft's one timer: when it is due; and the short way to an election when the leader's process is known to be gone.
 *
 * A process that ends, however it ends, leaves a kernel that closes its streams and refuses new ones at once, long before
 * its silence has lasted for an election timeout. The link says so (replica_link_gone()), and a follower of that leader is
 * in haste: it stands for election after a short random wait, and while nobody is elected asks again after a short one.
 *
 * Invariants
 *  H1  Haste is about when, never about what: an election in haste is libraft's own, its pre-vote included. A hint that is
 *      wrong costs this node its leader until the next heartbeat; those who still hear the leader refuse to
 *      help, and no term moves. Safety does not rest on the hint, nor on any timer.
 *  H2  So nothing in this node may count on a leader being the only one for some time after it was heard: reads are proven by
 *      a round (replica_read.c), cluster time stands still without a leader and goes on from what was applied (node/clock.h),
 *      a leader serves only behind its barrier. What would count on it (a read by a lease) can not live with haste.
 *  H3  The short election timeout is in force in haste only: a leader's own check of its majority is by the configured one,
 *      and haste ends as soon as a leader is known, or after two election timeouts.
 *  H4  Nobody stands while entries wait for the disk or a snapshot is installed: libraft would start its timer anew. */
#include <inttypes.h>

#include "node/replica/replica_internal.h"

enum {
    HASTE_SPREAD_MS = 30, /* two followers that stand in the same moment split the votes */
    HASTE_RETRY_MS =
        50, /* to twice as long, at random: after split votes, and for whose log is too short to be elected */
};

/* ---- haste ---- */

static void haste_end(struct replica *replica)
{
    replica->haste.leader_id = 0;
    raft_set_election_timeout(&replica->raft,
                              replica->config.election_timeout_ms); /* draws a new one for this wait */
}

static unsigned retry_ms(const struct replica *replica)
{
    unsigned configured_ms = replica->config.election_timeout_ms;
    return configured_ms < HASTE_RETRY_MS ? configured_ms : HASTE_RETRY_MS;
}

/* Whether a leader is known who is not the one that has gone. */
static bool has_leader(const struct replica *replica)
{
    const struct raft *raft = &replica->raft;
    if (raft->state != RAFT_FOLLOWER) {
        return raft->state == RAFT_LEADER;
    }
    raft_id leader = raft->follower_state.current_leader.id;
    return leader != 0 && (leader != replica->haste.leader_id || replica->haste.stood);
}

static bool haste_ends(const struct replica *replica)
{
    return replica->haste.leader_id != 0 && (has_leader(replica) || replica->now_ms >= replica->haste.until_ms);
}

static uint64_t spread_ms(struct replica *replica)
{
    replica->haste_random = replica->haste_random * 747796405U + 2891336453U;
    return (replica->haste_random >> 16) % HASTE_SPREAD_MS;
}

void replica_link_gone(struct replica *replica, struct local_time now, uint64_t peer_id)
{
    const struct raft *raft = &replica->raft;
    replica_time(replica, now);
    if (replica->phase != PHASE_RUNNING || !replica->voter || raft->state != RAFT_FOLLOWER ||
        raft->follower_state.current_leader.id != peer_id) {
        return;
    }
    replica->haste = (struct replica_haste){
        .leader_id = peer_id,
        .stand_ms = replica->now_ms + 1 + spread_ms(replica),
        .until_ms = replica->now_ms + (uint64_t)2 * replica->config.election_timeout_ms,
    };
    replica_log(replica, LOGGER_INFO,
                "the process of node %" PRIu64 ", which led, is gone: standing for election", peer_id);
}

void replica_haste_heard(struct replica *replica, uint64_t peer_id)
{
    if (replica->haste.leader_id == peer_id && !replica->haste.stood) {
        haste_end(replica);
    }
}

/* Whoever asks has seen that the leader is gone, too. If its log is too short for our vote, it can not be elected, and with its
 * vote we can. If we have stood in vain, because it had not seen it yet, then we stand once more: not with the retry of both.
 * Among five, others may have as much as we and be asked in the same moment, and would split the votes. */
void replica_haste_asked(struct replica *replica, const struct raft_request_vote *vote)
{
    uint64_t last = log_last_index(replica->log), last_term = log_term(replica->log, last);
    bool is_behind = vote->last_log_term < last_term || (vote->last_log_term == last_term && vote->last_log_index < last);
    if (is_behind && replica->voters_count <= 3 && replica->haste.stood && !replica->haste.again) {
        replica->haste.again = true;
        replica->haste.stood = false;
        replica->haste.stand_ms = replica->now_ms;
    }
}

/* The pre-vote is won: to stand once more is to void the votes that are under way. */
static bool is_voted_on(const struct raft *raft)
{
    return raft->state == RAFT_CANDIDATE && !raft->candidate_state.in_pre_vote;
}

/* When to stand in haste; never, if not for that. Raft's timer as drawn in stand() must have run out. */
static uint64_t stand_at(const struct replica *replica)
{
    const struct raft *raft = &replica->raft;
    bool may = replica->haste.leader_id != 0 && !replica->haste.stood && !haste_ends(replica) &&
               !is_voted_on(raft) &&
               raft->last_stored == log_last_index(replica->log) && !replica_installing(replica); /* H4 */
    if (!may) {
        return UINT64_MAX;
    }
    uint64_t drawn_ms = raft->election_timer_start + 2;
    return drawn_ms > replica->haste.stand_ms ? drawn_ms : replica->haste.stand_ms;
}

/* ---- the timer ---- */

/* A timeout in the past that does not move must not spin, and a leader's heartbeats go
 * to all followers in one phase, or those that fell out of it are demoted and wait. */
static uint64_t raft_due(const struct replica *replica)
{
    uint64_t at = raft_timeout(&replica->raft);
    uint64_t earliest = replica->timeout_fired_ms + replica->config.heartbeat_ms / 2 + 1;
    return at > earliest ? at : earliest;
}

uint64_t replica_timeout_at(const struct replica *replica)
{
    uint64_t raft = raft_due(replica), stand = stand_at(replica);
    if (haste_ends(replica)) {
        return replica->now_ms;
    }
    return raft < stand ? raft : stand;
}

/* libraft has no event for "stand now": what it is told is that its election timeout is as short as can be, and that it has
 * passed. */
static void stand(struct replica *replica)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    replica->haste.stood = true;
    raft_set_election_timeout(&replica->raft, 1);
    replica_step_sure(replica, &event, "a timeout");
    raft_set_election_timeout(&replica->raft, retry_ms(replica));
}

static void fire(struct replica *replica)
{
    bool leads = replica_leads(replica);
    if (leads) {
        raft_set_heartbeat_timeout(&replica->raft, 0);
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    replica_step_sure(replica, &event, "a timeout");
    if (leads) {
        raft_set_heartbeat_timeout(&replica->raft, replica->config.heartbeat_ms);
    }
}

void replica_timeout_tick(struct replica *replica)
{
    if (haste_ends(replica)) {
        haste_end(replica); /* H3 */
    }
    if (replica->now_ms < replica_timeout_at(replica)) {
        return;
    }
    replica->timeout_fired_ms = replica->now_ms;
    if (replica->now_ms >= stand_at(replica)) {
        stand(replica);
    } else {
        fire(replica);
    }
}
