/* Introductions: a directory that lost its memory of votes and acknowledgements must never vote again under its old id
 * (replica.h, "Formation"). Decides when a fresh node may take part, and whose frames count.
 *
 * Invariants
 *  F1  `formed` is stored, together with the incarnations of all others, before any raft frame leaves or is taken.
 *  F2  What a formed node stored about the others never changes.
 *  F3  A node that another, formed one knows by a different incarnation ends.
 *  F4  `formed` is stored only when entry 1 is durable: so a formed node without a log has lost it, and refuses to start.
 *  F5  Who comes under a known peer's id with another incarnation is refused, and changes nothing that we know of that peer: it
 *      may be another machine that was given the same id, while the right one serves. */
#include <inttypes.h>
#include <string.h>
#include <stdio.h>

#include "node/replica/replica_internal.h"

/* The incarnation under which we know a peer for good; 0: not formed, or it joined later. */
static uint64_t known_incarnation(const struct replica *replica, uint64_t node_id)
{
    for (unsigned i = 0; i < replica->metadata.known_count; i++) {
        if (replica->metadata.known[i].node_id == node_id) {
            return replica->metadata.known[i].incarnation;
        }
    }
    return 0;
}

void replica_introduce(struct replica *replica, struct replica_peer *peer)
{
    if (!peer->connected) {
        return;
    }
    uint64_t known = known_incarnation(replica, peer->node_id);
    if (!replica->metadata.formed && peer->met) {
        known = peer->incarnation;
    }
    struct wire_frame frame = {
        .kind = WIRE_INTRODUCTION,
        .introduction =
            {
                .incarnation = replica->metadata.incarnation,
                .formed = replica->metadata.formed,
                .knows = known,
                .list_digest = replica->list_digest,
            },
    };
    (void)replica_send_frame(replica, peer, &frame, NULL, 0);
}

static bool remind_due(struct replica *replica, struct replica_peer *peer)
{
    if (replica->now_ms < peer->remind_ms) {
        return false;
    }
    peer->remind_ms = replica->now_ms + REPLICA_REMIND_MS;
    return true;
}

static bool lists_differ(const struct replica *replica, const struct replica_peer *peer)
{
    return replica->list_digest != 0 && peer->list_digest != 0 && replica->list_digest != peer->list_digest;
}

/* F3. A formed peer has stored the incarnation of each member it met. */
static void end_if_memory_was_lost(struct replica *replica, const struct replica_peer *peer)
{
    if (!peer->formed || peer->knows_us == replica->metadata.incarnation) {
        return;
    }
    replica_fatal_for_good(replica,
                  "node %" PRIu64 " of this running cluster %s: this node's data directory was lost or replaced, and with it "
                  "the memory of its votes. It must not take part under its old id. Restore the directory that it had "
                  "when it last ran, not an older copy; "
                  "or, if this cluster never served, remove the directories of all nodes and start them anew",
                  peer->node_id,
                  peer->knows_us == 0 ? "does not know this node" : "knows another directory under this node's id");
}

static void judge(struct replica *replica, struct replica_peer *peer)
{
    uint64_t known = known_incarnation(replica, peer->node_id);
    peer->accepted = replica->metadata.formed && known != 0 && peer->incarnation == known;
    if (!replica->metadata.formed && lists_differ(replica, peer) && remind_due(replica, peer)) {
        replica_log(replica, LOGGER_ERROR,
                    "node %" PRIu64 " was given another list of members than this node: start both with the "
                    "same list and, where it was wrong, an empty directory",
                    peer->node_id);
    }
}

/* F5. One that lost its directory hears of that on our own stream to its address (F3). */
static bool is_stranger(struct replica *replica, struct replica_peer *peer,
                        const struct wire_introduction *introduction)
{
    if (!replica->metadata.formed || introduction->incarnation == known_incarnation(replica, peer->node_id)) {
        return false;
    }
    if (remind_due(replica, peer)) {
        replica_log(replica, LOGGER_WARNING,
                    "node %" PRIu64 " came with another directory than the one it had: it is refused",
                    peer->node_id);
    }
    return true;
}

bool replica_introduced(struct replica *replica, struct replica_peer *peer,
                        const struct wire_introduction *introduction)
{
    if (is_stranger(replica, peer, introduction)) {
        return false;
    }
    bool news = !peer->met || peer->incarnation != introduction->incarnation;
    peer->met = true;
    peer->incarnation = introduction->incarnation;
    peer->formed = introduction->formed;
    peer->knows_us = introduction->knows;
    peer->list_digest = introduction->list_digest;
    end_if_memory_was_lost(replica, peer);
    judge(replica, peer);
    if (news && !replica->metadata.formed) {
        replica_introduce(replica, peer); /* It may wait to hear by which incarnation we met it. */
    }
    replica_form_if_complete(replica);
    return true;
}

static bool may_form_with(const struct replica *replica, const struct replica_peer *peer)
{
    return peer->met && !lists_differ(replica, peer) &&
           (!peer->formed || peer->knows_us == replica->metadata.incarnation);
}

static void form(struct replica *replica)
{
    char message[512];
    struct metadata *metadata = &replica->metadata;
    metadata->formed = true;
    metadata->known_count = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0) {
            LOCKSTEP_ASSERT(metadata->known_count < METADATA_KNOWN_MAX);
            metadata->known[metadata->known_count].node_id = peer->node_id;
            metadata->known[metadata->known_count].incarnation = peer->incarnation;
            metadata->known_count++;
        }
    }
    if (!metadata_store(replica->disk, metadata, message, sizeof message)) {
        replica_fatal(replica, "cannot store that the cluster is formed: %s", message);
    }
    replica_log(replica, LOGGER_INFO, "cluster formed: all %u other members were met", metadata->known_count);
}

void replica_form_if_complete(struct replica *replica)
{
    if (replica->metadata.formed || !replica_has_durable_entry(replica)) {
        return; /* F4 */
    }
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0 && !may_form_with(replica, peer)) {
            return;
        }
    }
    form(replica);
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0) {
            judge(replica, peer);
            replica_introduce(replica, peer);
        }
    }
    replica_start_if_ready(replica);
}

/* Who is missing, every few seconds. */
void replica_formation_remind(struct replica *replica)
{
    char missing[256] = "";
    size_t used = 0;
    if (replica->now_ms < replica->remind_ms) {
        return;
    }
    replica->remind_ms = replica->now_ms + REPLICA_REMIND_MS;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX && used < sizeof missing; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0 && !may_form_with(replica, peer)) {
            used += (size_t)snprintf(missing + used, sizeof missing - used, " %" PRIu64 " (%s)", peer->node_id,
                                     peer->met ? "differs" : peer->reached ? "connected, silent" : "not reached");
        }
    }
    replica_log(replica, LOGGER_INFO, "the first start of a cluster needs all of its nodes once; missing:%s",
                used == 0 ? " none, the first log write is under way" : missing);
}
