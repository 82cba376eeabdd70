/* Progress that must come and does not: a log write that never completes ends the process (restart is the best-tested
 * path); a follower that answers and does not advance makes the leader hand over, because a wedged progress record in raft
 * goes with the leadership; and so does a leader's own disk that is too far behind the others', because the cluster would be
 * as slow as that one. */
#include <inttypes.h>

#include "node/replica/replica_internal.h"

static void watch_log(struct replica *replica, uint64_t passed_ms)
{
    uint64_t durable = log_durable_index(replica->log);
    bool writing = log_last_index(replica->log) > durable && !replica_installing(replica);
    if (!writing || durable != replica->watch_durable) {
        replica->watch_durable = durable;
        replica->watch_durable_ms = 0;
        return;
    }
    replica->watch_durable_ms += passed_ms;
    if (replica->watch_durable_ms >= REPLICA_STUCK_MS) {
        replica_fatal(replica, "no write of the log has completed for %d s (entries %" PRIu64 "..%" PRIu64
                               "): the disk hangs", REPLICA_STUCK_MS / 1000, durable + 1, log_last_index(replica->log));
    }
}

/* @return whether this follower is wedged. */
static bool watch_peer(struct replica *replica, struct replica_peer *peer, uint64_t passed_ms)
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
        peer->match_stuck_ms = 0;
        return false;
    }
    peer->match_stuck_ms += passed_ms;
    return peer->match_stuck_ms >= REPLICA_STUCK_MS;
}

/* @return whether leadership is being handed over for it. */
static bool watch_own_disk(struct replica *replica)
{
    if (!replica_disk_is_behind(replica) || raft_transferee(&replica->raft) != 0) {
        return false;
    }
    bool handed = replica_transfer(replica, (struct local_time){replica->now_ms}, 0);
    if (replica->now_ms >= replica->remind_ms) {
        replica->remind_ms = replica->now_ms + REPLICA_REMIND_MS;
        replica_log(replica, LOGGER_ERROR, "%" PRIu64 " bytes of the log wait for the disk of this node: %s",
                    log_held_bytes(replica->log),
                    handed ? "handing leadership over" : "nothing is proposed before they are written");
    }
    return handed;
}

static void watch_followers(struct replica *replica, uint64_t passed_ms)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id == 0 || !watch_peer(replica, peer, passed_ms)) {
            continue;
        }
        peer->match_stuck_ms = 0;
        replica_log(replica, LOGGER_ERROR,
                    "node %" PRIu64 " answers and has not advanced beyond entry %" PRIu64
                    " for %d s: handing leadership over",
                    peer->node_id, peer->match_seen, REPLICA_STUCK_MS / 1000);
        if (!replica_transfer(replica, (struct local_time){replica->now_ms}, 0)) {
            replica_log(replica, LOGGER_ERROR, "no other voter can lead now");
        }
        return;
    }
}

/* Time in which this process did not run (stopped, or the machine was) counts for one interval at most: what completed
 * meanwhile has not been heard of yet. */
void replica_watch(struct replica *replica)
{
    if (replica->now_ms < replica->watch_ms) {
        return;
    }
    uint64_t passed_ms = replica->now_ms - replica->watch_ms + REPLICA_WATCH_MS;
    if (passed_ms > 2 * REPLICA_WATCH_MS) {
        passed_ms = REPLICA_WATCH_MS;
    }
    replica->watch_ms = replica->now_ms + REPLICA_WATCH_MS;
    watch_log(replica, passed_ms);
    if (replica_leads(replica) && !watch_own_disk(replica)) {
        watch_followers(replica, passed_ms);
    }
}
