/* Committed entries to the machine, in order, once; and what the callbacks hear: role, serving, applied, reads.
 * Never applies beyond commit_index, nor while a snapshot is being put in place (R3, R4). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

void replica_change_set(struct replica *replica, uint64_t index, const void *data, size_t size)
{
    LOCKSTEP_ASSERT(size > 0 && size <= SNAPSHOT_CONFIGURATION_BYTES_MAX);
    uint8_t *copy = malloc(size);
    LOCKSTEP_ASSERT(copy != NULL);
    memcpy(copy, data, size);
    free(replica->change.data);
    replica->change = (struct replica_change){.index = index, .size = (uint32_t)size, .data = copy};
}

/* Raft hears of every configuration that is applied, and must then hold it as committed. */
static void apply_change(struct replica *replica, const struct log_entry *entry)
{
    const struct raft *raft = &replica->raft;
    struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration = {.index = entry->index}};
    replica_members_decode(entry->data, entry->size, &event.configuration.conf);
    replica_step_sure(replica, &event, "a configuration");
    bool recorded = raft->configuration_committed_index >= entry->index;
    bool settled =
        raft->configuration_uncommitted_index == 0 || raft->configuration_uncommitted_index > entry->index;
    if (!recorded || !settled) {
        replica_fatal(replica, "raft recorded the configuration of entry %" PRIu64 " under another index; restart this node",
                      entry->index);
    }
    replica_change_set(replica, entry->index, entry->data, entry->size);
}

static void apply_one(struct replica *replica, struct log_entry *entry)
{
    switch ((enum log_entry_type)entry->type) {
    case LOG_COMMAND:
        replica->machine.apply(replica->machine.ctx, entry->index, entry->term, entry->data, entry->size);
        break;
    case LOG_CHANGE:
        apply_change(replica, entry);
        break;
    case LOG_BARRIER:
        break;
    }
    replica->applied_index = entry->index;
    replica->applied_term = entry->term;
    replica->bytes_applied += entry->size + sizeof *entry;
}

void replica_apply_some(struct replica *replica)
{
    size_t bytes = 0;
    for (unsigned n = 0; n < REPLICA_APPLY_ENTRIES && bytes < REPLICA_APPLY_BYTES; n++) {
        if (replica->applied_index >= replica->commit_index || replica_installing(replica)) {
            break;
        }
        struct log_entry *entry = log_get(replica->log, replica->applied_index + 1);
        LOCKSTEP_ASSERT(entry != NULL);
        LOCKSTEP_ASSERT(entry->index == replica->applied_index + 1);
        LOCKSTEP_ASSERT(entry->term >= replica->applied_term);
        bytes += entry->size;
        (void)log_entry_ref(entry); /* What it calls may append, and so move what the log keeps. */
        apply_one(replica, entry);
        log_entry_unref(entry);
    }
    if (replica->applied_index > replica->applied_told) {
        log_release(replica->log, replica->applied_index);
    }
}

static enum replica_role role_now(const struct replica *replica)
{
    switch (replica->raft.state) {
    case RAFT_LEADER:
        return REPLICA_LEADER;
    case RAFT_CANDIDATE:
        return REPLICA_CANDIDATE;
    default:
        return REPLICA_FOLLOWER;
    }
}

static bool notify_role(struct replica *replica)
{
    raft_id leader = 0;
    const char *address;
    raft_leader(&replica->raft, &leader, &address);
    enum replica_role role = role_now(replica);
    uint64_t term = raft_current_term(&replica->raft);
    bool serving = role == REPLICA_LEADER && replica->barrier_term == term &&
                   replica->applied_index >= replica->barrier_index;
    if (role == replica->role && term == replica->term && leader == replica->leader_id &&
        serving == replica->serving) {
        return false;
    }
    replica->role = role;
    replica->term = term;
    replica->leader_id = leader;
    replica->serving = serving;
    replica->callbacks.changed(replica->callbacks.ctx, role, term, leader, serving);
    return true;
}

/* Role before applied before reads: who hears that a read may be answered has heard of everything it rests on. */
bool replica_notify(struct replica *replica)
{
    bool notified = notify_role(replica);
    if (replica->applied_index > replica->applied_told) {
        replica->applied_told = replica->applied_index;
        replica->callbacks.applied(replica->callbacks.ctx, replica->applied_index);
        notified = true;
    }
    return replica_reads_complete(replica) || notified;
}
