/* cluster.status: the answering node's own view, from the replica's status and the state machine's counts.
 *
 * The digest is meant to be compared between nodes, which works only at the same index. A node to which nothing came for
 * QUIET_MS gives the digest at its applied index, which is every node's once they are all quiet. One that is busy
 * gives the one at the last command whose index is a multiple of digest_every_entries: nodes asked within moments of each
 * other will mostly have passed the same one. Whoever compares, compares those with equal digest_index. */
#include <string.h>

#include "node/core_state.h"

enum { QUIET_MS = 500 };

static struct core_digest comparable_digest(struct core *core)
{
    bool quiet = core->turned_index == core->applied_index && core->now.ms - core->quiet_from.ms >= QUIET_MS;
    if (!quiet && core->digest.index != 0) {
        return core->digest;
    }
    return (struct core_digest){core->applied_index, fsm_digest(core->fsm)};
}

static struct proto_bytes text(const char *string)
{
    return (struct proto_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

static uint32_t fill_members(struct core *core, const struct replica_status *status)
{
    for (unsigned i = 0; i < status->members_count; i++) {
        core->rows.members[i] = (struct proto_member){
            .node_id = status->members[i].member.node_id,
            .peer_address = text(status->members[i].member.peer_address),
            .client_address = text(status->members[i].member.client_address),
            .voter = status->members[i].member.voter,
            .connected = status->members[i].connected,
            .match_index = status->members[i].match_index,
        };
    }
    return status->members_count;
}

_Static_assert((int)REPLICA_MEMBERS_MAX <= (int)PROTO_MEMBERS_MAX, "every member of the replica has a row");

void cluster_status_answer(struct core *core, struct request *request)
{
    const struct replica_status *status = &core->status;
    core->replica.status(core->replica.ctx, &core->status);
    struct fsm_counts counts;
    fsm_counts(core->fsm, &counts);
    struct core_digest digest = comparable_digest(core);
    struct proto_reply reply = {.status = PROTO_STATUS_OK};
    reply.body.cluster = (struct proto_cluster_reply){
        .cluster_id = core->options.cluster_id,
        .node_id = core->options.node_id,
        .leader_id = status->leader_id,
        .term = status->term,
        .commit_index = status->commit_index,
        .applied_index = core->applied_index,
        .digest_index = digest.index,
        .digest = digest.digest,
        .snapshot_index = status->snapshot_index,
        .log_first_index = status->log_first_index,
        .time = fsm_time(core->fsm),
        .sessions_count = counts.sessions,
        .locks_count = counts.locks,
        .uptime_ms = core->now.ms - core->started.ms,
        .version = text(core->options.version),
        .members = core->rows.members,
        .members_count = fill_members(core, status),
    };
    request_answer(core, request, &reply);
}
