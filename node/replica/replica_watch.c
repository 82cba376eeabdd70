/* Progress that must come and does not: a log write that never completes ends the process (restart is the best-tested
 * path); a follower that answers and does not advance makes the leader hand over, because a wedged progress record in raft
 * goes with the leadership. */
#include <inttypes.h>

#include "node/replica/replica_internal.h"

static void watch_log(const struct replica *replica)
{
    bool writing = log_last_index(replica->log) > log_durable_index(replica->log);
    if (writing && !replica_installing(replica) && replica->now_ms >= replica->durable_moved_ms + REPLICA_STUCK_MS) {
        replica_fatal(replica, "no write of the log has completed for %d s (entries %" PRIu64 "..%" PRIu64
                               "): the disk hangs", REPLICA_STUCK_MS / 1000, log_durable_index(replica->log) + 1,
                      log_last_index(replica->log));
    }
}

/* @return whether this follower is wedged. */
static bool watch_peer(struct replica *replica, struct replica_peer *peer)
{
    raft_index match = 0;
    if (raft_match_index(&replica->raft, peer->node_id, &match) != 0) {
        return false;
    }
    bool answers = peer->accepted && peer->connected &&
                   replica->now_ms < peer->heard_ms + replica->config.election_timeout_ms;
    bool behind = match < replica->commit_index;
    if (match != peer->match_seen || !answers || !behind || peer->stream != NULL || peer->feed_reading) {
        peer->match_seen = match;
        peer->match_moved_ms = replica->now_ms;
        return false;
    }
    return replica->now_ms >= peer->match_moved_ms + REPLICA_STUCK_MS;
}

static void watch_followers(struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id == 0 || !watch_peer(replica, peer)) {
            continue;
        }
        peer->match_moved_ms = replica->now_ms;
        replica_log(replica, 0, "node %" PRIu64 " answers and has not advanced beyond entry %" PRIu64
                                " for %d s: handing leadership over", peer->node_id, peer->match_seen,
                    REPLICA_STUCK_MS / 1000);
        if (!replica_transfer(replica, (struct local_time){replica->now_ms}, 0)) {
            replica_log(replica, 0, "no other voter can lead now");
        }
        return;
    }
}

void replica_watch(struct replica *replica)
{
    if (replica->now_ms < replica->watch_ms) {
        return;
    }
    replica->watch_ms = replica->now_ms + REPLICA_WATCH_MS;
    watch_log(replica);
    if (replica_leads(replica)) {
        watch_followers(replica);
    }
}
