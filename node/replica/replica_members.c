/* The configuration as the replica uses it: a place per other member, its address told to the link. Follows raft's
 * newest configuration; decides nothing about membership. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

void replica_members_decode(const void *data, size_t size, struct raft_configuration *ret_configuration)
{
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)data, .len = size};
    LOCKSTEP_ASSERT(wire_configuration_valid(data, size));
    int rv = raft_configuration_decode(&buffer, ret_configuration);
    LOCKSTEP_ASSERT(rv == 0);
}

bool replica_member_parse(const struct raft_server *server, struct replica_member *ret_member)
{
    const char *space = strchr(server->address, ' ');
    memset(ret_member, 0, sizeof *ret_member);
    ret_member->node_id = server->id;
    ret_member->voter = server->role == RAFT_VOTER;
    if (space == NULL || (size_t)(space - server->address) > REPLICA_ADDRESS_BYTES_MAX ||
        strlen(space + 1) > REPLICA_ADDRESS_BYTES_MAX) {
        return false;
    }
    memcpy(ret_member->peer_address, server->address, (size_t)(space - server->address));
    memcpy(ret_member->client_address, space + 1, strlen(space + 1));
    return true;
}

struct replica_peer *replica_peer_find(struct replica *replica, uint64_t node_id)
{
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        if (replica->peers[i].node_id == node_id && node_id != 0) {
            return &replica->peers[i];
        }
    }
    return NULL;
}

static struct replica_peer *peer_add(struct replica *replica, uint64_t node_id)
{
    unsigned place = 0;
    while (place < REPLICA_MEMBERS_MAX && replica->peers[place].node_id != 0) {
        place++;
    }
    LOCKSTEP_ASSERT(place < REPLICA_MEMBERS_MAX); /* A configuration has no more servers than that. */
    struct replica_peer *peer = &replica->peers[place];
    uint64_t generation = peer->feed_generation;
    *peer = (struct replica_peer){.replica = replica, .node_id = node_id, .feed_generation = generation};
    return peer;
}

static void peer_remove(struct replica *replica, struct replica_peer *peer)
{
    uint64_t generation = peer->feed_generation;
    replica_stream_end(peer, "the member was removed");
    replica_feed_drop(peer);
    replica->link->ops->set_peer(replica->link, peer->node_id, NULL);
    memset(peer, 0, sizeof *peer);
    peer->replica = replica;
    peer->feed_generation = generation + 1; /* A read of the log may still be under way for this place. */
}

static void peer_set(struct replica *replica, const struct raft_server *server)
{
    struct replica_member member;
    bool parsed = replica_member_parse(server, &member);
    LOCKSTEP_ASSERT(parsed);
    struct replica_peer *peer = replica_peer_find(replica, server->id);
    if (peer == NULL) {
        peer = peer_add(replica, server->id);
    }
    peer->voter = member.voter;
    if (strcmp(peer->address, server->address) != 0) {
        memcpy(peer->address, server->address, strlen(server->address) + 1);
        replica->link->ops->set_peer(replica->link, server->id, member.peer_address);
    }
}

static bool in_configuration(const struct raft_configuration *configuration, uint64_t node_id)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == node_id) {
            return true;
        }
    }
    return false;
}

void replica_members_set(struct replica *replica, const struct raft_configuration *configuration)
{
    LOCKSTEP_ASSERT(configuration->n <= REPLICA_MEMBERS_MAX);
    replica->voters_count = 0;
    replica->voter = replica->listed = false;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0 && !in_configuration(configuration, peer->node_id)) {
            peer_remove(replica, peer);
        }
    }
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        replica->voters_count += server->role == RAFT_VOTER;
        if (server->id != replica->config.node_id) {
            peer_set(replica, server);
            continue;
        }
        replica->listed = true;
        replica->voter = server->role == RAFT_VOTER;
        memcpy(replica->address, server->address, strlen(server->address) + 1);
    }
}

/* ---- the settings' list ---- */

static const struct replica_member *listed_member(const struct replica_config *config, uint64_t node_id)
{
    for (unsigned i = 0; i < config->bootstrap_count; i++) {
        if (config->bootstrap[i].node_id == node_id) {
            return &config->bootstrap[i];
        }
    }
    return NULL;
}

/* The first thing in which the list of the settings differs. @return false if there is none. */
static bool difference(const struct replica_config *config, const struct raft_configuration *configuration,
                       char *ret_text, size_t size)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        const struct replica_member *listed = listed_member(config, server->id);
        char address[WIRE_ADDRESS_BYTES_MAX + 1];
        if (listed == NULL) {
            (void)snprintf(ret_text, size, "node %" PRIu64 " is not in it", (uint64_t)server->id);
            return true;
        }
        (void)snprintf(address, sizeof address, "%s %s", listed->peer_address, listed->client_address);
        if (strcmp(address, server->address) != 0) {
            (void)snprintf(ret_text, size, "it has node %" PRIu64 " at \"%s\" and not at \"%s\"",
                           (uint64_t)server->id, address, server->address);
            return true;
        }
    }
    for (unsigned i = 0; i < config->bootstrap_count; i++) {
        if (!in_configuration(configuration, config->bootstrap[i].node_id)) {
            (void)snprintf(ret_text, size, "it has node %" PRIu64 " too", config->bootstrap[i].node_id);
            return true;
        }
    }
    return false;
}

/* Before the cluster is formed the list of the settings is not taken either: another node may have formed it already, with the
 * list that this node was begun with as entry 1, and two nodes must never have different entries under one index and term. */
void replica_members_compare(const struct replica *replica, const struct replica_config *config,
                             const struct raft_configuration *configuration)
{
    char what[2 * WIRE_ADDRESS_BYTES_MAX + 128];
    if (config->bootstrap_made_up || config->bootstrap_count == 0 ||
        !difference(config, configuration, what, sizeof what)) {
        return;
    }
    if (replica->metadata.formed) {
        replica_log(
            replica, LOGGER_WARNING,
            "the setting peers differs from the members of the cluster and is not used; correct it: %s",
            what);
    } else {
        replica_log(
            replica, LOGGER_WARNING,
            "the setting peers differs from the list that this data directory was begun with, and is not used; if it is right "
            "now and the cluster has never served, stop this node, empty its directory and start it again: %s",
            what);
    }
}
