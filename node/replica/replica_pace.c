/* Who is sent an append at once, and who in batches.
 *
 * A majority makes an entry durable. Under load, each follower beyond that costs the leader a frame and an answer for every
 * entry, and costs itself a sync, and nothing is answered the sooner for it. So as many followers as a majority takes are
 * `needed`: they are sent everything at once. The others are spare: what comes for them waits in their feed for the next turn,
 * which is append_pace_ms after the one before, and leaves as one frame. (Known as thrifty: Moraru, Andersen, Kaminsky, "There
 * Is More Consensus in Egalitarian Parliaments", SOSP 2013. What goes to a spare one because nobody has acknowledged it yet is
 * a hedged request: Dean, Barroso, "The Tail at Scale", CACM 2013.) Our own disk is one of the majority, unless at a turn it
 * lacks the entry that the last race was about: then it takes one follower more.
 *
 * Whoever is fastest is to be needed. So a turn is a race: the first ones to acknowledge the newest entry of that moment are
 * needed until the next race. One that stops answering loses it. Under load, those that are needed have a start, having been
 * sent that entry before: who is just as fast as they are does not take turns with them.
 *
 * Invariants
 *  Q1  This is about when, never about what or in which order: the feed's own order stands (E1). Safety does not rest on it.
 *  Q2  Nothing waits here for longer than append_pace_ms.
 *  Q3  Unless as many needed voters as a majority takes are connected, nobody is spare. What waited leaves at once then.
 *  Q4  Without load nothing waits: an append that comes later than append_pace_ms after the last turn begins one, and goes to
 *      everybody.
 *  Q5  Nor does what fills raft's window of a follower, however narrow that is.
 *  Q6  Nor more than the log keeps in memory and the link has room for: what waits is never read from the disk again, and fits
 *      into the link's queue when it leaves. From the first entry that waits to the end of the log it is less than
 *      REPLICA_PACE_ENTRIES_MAX entries, no more bytes than the log's cache, and no more than a share of that queue. An entry
 *      leaves memory when it is committed, and so was sent to others before: it is enough to look after sending. */
#include "node/replica/replica_internal.h"

static unsigned needed_count(const struct replica *replica)
{
    return replica->voters_count / 2 + (replica->voter && !replica->pace.own_is_late ? 0 : 1);
}

static bool can_be_needed(const struct replica_peer *peer)
{
    return peer->node_id != 0 && peer->voter && peer->connected && peer->accepted && peer->stream == NULL;
}

static bool is_spare(const struct replica *replica, const struct replica_peer *peer)
{
    unsigned there = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        there += can_be_needed(&replica->peers[i]) && replica->peers[i].needed;
    }
    return peer->voter && !peer->needed && there >= needed_count(replica); /* Q3 */
}

/* ---- races ---- */

void replica_race_note(struct replica *replica, struct replica_peer *peer)
{
    struct replica_pace *pace = &replica->pace;
    raft_index match = 0;
    if (pace->race_index == 0 || !can_be_needed(peer) ||
        raft_match_index(&replica->raft, peer->node_id, &match) != 0 || match < pace->race_index) {
        return;
    }
    pace->arrived += !peer->raced;
    peer->raced = true;
    if (pace->arrived < needed_count(replica)) { /* which may have changed since the last one arrived */
        return;
    }
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        replica->peers[i].needed = replica->peers[i].raced;
    }
    pace->won_index = pace->race_index;
    pace->race_index = 0;
}

/* Unless the last one is not over: where an answer takes longer than a turn, none would ever be. */
static void race_begin(struct replica *replica, uint64_t index)
{
    if (replica->pace.race_index != 0 || index <= replica->commit_index) {
        return;
    }
    replica->pace.race_index = index;
    replica->pace.arrived = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        replica->peers[i].raced = false;
    }
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        replica_race_note(replica, &replica->peers[i]);
    }
}

/* ---- turns ---- */

/* Raft gives it nothing more before it answers. To wait would not gather anything, and one window for each turn may be less than
 * what is proposed: it would fall back until it needs a snapshot. */
static bool window_is_full(const struct replica *replica, const struct replica_peer *peer)
{
    const struct replica_feed_item *item = &peer->feed[0];
    raft_index match = 0;
    (void)raft_match_index(&replica->raft, peer->node_id, &match);
    return item->next_index + item->left > match + replica->config.entries_in_flight_max;
}

/* Q6 */
static bool is_little(const struct replica *replica, uint64_t first)
{
    uint64_t queue = replica->config.peer_queue_bytes;
    return log_last_index(replica->log) + 1 - first < REPLICA_PACE_ENTRIES_MAX &&
           log_keeps(replica->log, first, queue == 0 ? UINT64_MAX : queue / REPLICA_PACE_QUEUE_SHARE);
}

/* Two appends do not become one frame: nothing is gathered by waiting. */
static bool may_wait(const struct replica *replica, const struct replica_peer *peer)
{
    return peer->feed_count == 1 && is_spare(replica, peer) && !window_is_full(replica, peer) &&
           is_little(replica, peer->feed[0].next_index);
}

static uint64_t next_turn_ms(const struct replica *replica)
{
    return replica->pace.turn_ms + replica->config.append_pace_ms;
}

static bool is_held(const struct replica_peer *peer)
{
    return peer->feed_count > 0 && !peer->feed_reading;
}

static void turn_begin(struct replica *replica)
{
    replica->pace.turn_ms = replica->now_ms;
    replica->pace.own_is_late = log_durable_index(replica->log) < replica->pace.won_index;
    race_begin(replica, raft_last_index(&replica->raft));
}

void replica_pace_append(struct replica *replica)
{
    bool anything_held = replica_pace_deadline(replica) != UINT64_MAX; /* the tick's to send */
    if (!anything_held && replica->now_ms >= next_turn_ms(replica)) {
        replica->pace.all_ms = replica->now_ms;
        turn_begin(replica);
    }
}

bool replica_pace_holds(const struct replica *replica, const struct replica_peer *peer)
{
    LOCKSTEP_ASSERT(peer->feed_count > 0);
    return replica->now_ms != replica->pace.all_ms && may_wait(replica, peer);
}

void replica_pace_sent(struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (is_held(peer) && !may_wait(replica, peer)) {
            replica_feed_go_on(replica, peer);
        }
    }
}

void replica_pace_tick(struct replica *replica)
{
    if (replica_pace_deadline(replica) > replica->now_ms) {
        return;
    }
    bool is_turn = replica->now_ms >= next_turn_ms(replica);
    if (is_turn) {
        turn_begin(replica);
    }
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (is_held(peer) && (is_turn || !is_spare(replica, peer))) {
            replica_feed_go_on(replica, peer);
        }
    }
}

/* For who is not spare any more, its turn has come: it is needed now, or a needed one was lost (Q3). */
uint64_t replica_pace_deadline(const struct replica *replica)
{
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (is_held(peer)) {
            at = is_spare(replica, peer) ? next_turn_ms(replica) : replica->now_ms;
        }
        if (at <= replica->now_ms) {
            break;
        }
    }
    return at;
}

void replica_pace_reset(struct replica *replica)
{
    replica->pace = (struct replica_pace){0};
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        replica->peers[i].needed = false;
    }
}
