/* Frames to raft's messages, and everything that must hold before raft sees one (its own checks are compiled out). An
 * append is cut before every configuration, so that each is the first entry of its message: raft records it under the
 * index of the first. */
#include <inttypes.h>
#include <string.h>

#include "node/replica/replica_internal.h"

/* Who is refused comes again at once, and whoever reaches the port may call itself a peer: the first few lines tell it all. */
bool replica_refuse(struct replica *replica, struct replica_peer *peer, const char *why)
{
    if (rate_window_take(&peer->refusals, replica->now_ms, REPLICA_REMIND_MS, REPLICA_TELL_MAX)) {
        replica_log(replica, LOGGER_WARNING, "frame of node %" PRIu64 " refused, its stream is closed: %s",
                    peer->node_id, why);
    }
    return false;
}

int replica_deliver(struct replica *replica, const struct replica_peer *peer, struct raft_message *message,
                    struct raft_update *ret_update)
{
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = message}};
    message->server_id = peer->node_id;
    message->server_address = peer->address;
    int rv = replica_step(replica, &event, ret_update);
    if (rv == RAFT_SHUTDOWN) {
        replica_fatal_for_good(replica,
                               "node %" PRIu64 " sent entries that contradict committed ones of this node: do not restart "
                               "it before its directory and that node's were examined", peer->node_id);
    }
    if (rv != 0) {
        replica_fatal(replica, "raft failed on a message of node %" PRIu64 ": %s", peer->node_id, raft_strerror(rv));
    }
    return rv;
}

static void deliver_plain(struct replica *replica, const struct replica_peer *peer, struct raft_message *message)
{
    struct raft_update update;
    (void)replica_deliver(replica, peer, message, &update);
}

/* ---- appends ---- */

/* Entries [first, first + count) of the step arrays as one message. Raft takes the chunk unless it hands entries back. */
static void deliver_part(struct replica *replica, const struct replica_peer *peer, const struct wire_append *append,
                         uint64_t prev_term, uint64_t first_index, unsigned offset, unsigned count)
{
    struct raft_update update;
    void *chunk = NULL;
    struct raft_entry *entries = replica->step_raft_entries + offset;
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES,
        .append_entries =
            {
                .version = append->version,
                .term = append->term,
                .prev_log_index = first_index - 1,
                .prev_log_term = prev_term,
                .leader_commit = append->leader_commit,
                .entries = count == 0 ? NULL : entries,
                .n_entries = count,
            },
    };
    if (count > 0) {
        chunk = raft_malloc(8); /* The bytes are in our own entries; raft wants something to own. */
        LOCKSTEP_ASSERT(chunk != NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        entries[i].batch = chunk;
    }
    replica->step_first = first_index - offset;
    replica->step_count = offset + count;
    replica->step_rejected = false;
    replica->step_stale_prev = append->term < raft_current_term(&replica->raft) ? first_index - 1 : UINT64_MAX;
    (void)replica_deliver(replica, peer, &message, &update);
    replica->step_stale_prev = UINT64_MAX;
    if (count > 0 && update.flags & (RAFT_UPDATE_ENTRIES)) {
        raft_free(chunk);
    }
}

static bool may_go_on(const struct replica *replica, const struct wire_append *append, uint64_t prev_index)
{
    return !replica->step_rejected && replica->raft.state == RAFT_FOLLOWER &&
           raft_current_term(&replica->raft) == append->term &&
           raft_last_index((struct raft *)(uintptr_t)&replica->raft) >= prev_index;
}

static void decode_entries(struct replica *replica, struct wire_append append)
{
    uint64_t index = append.prev_index + 1;
    unsigned count = append.count;
    replica_step_reserve(replica, count);
    for (unsigned i = 0; i < count; i++) {
        struct wire_entry from = wire_append_next(&append);
        struct log_entry *entry = log_entry_create(index + i, from.term, from.type, from.size);
        if (from.size > 0) {
            memcpy(entry->data, from.data, from.size);
        }
        replica->step_entries[i] = entry;
        replica->step_raft_entries[i] = (struct raft_entry){
            .term = entry->term,
            .type = (enum raft_entry_type)entry->type,
            .buf = {.base = entry->data, .len = entry->size},
        };
    }
}

/* How many entries from `offset` on go into one message: up to the next configuration. */
static unsigned part_size(const struct replica *replica, unsigned offset, unsigned count)
{
    unsigned n = offset < count ? 1 : 0;
    while (offset + n < count && replica->step_entries[offset + n]->type != LOG_CHANGE) {
        n++;
    }
    return n;
}

/* Raft has forgotten the terms of what our snapshot covers and the log no longer keeps: it would reject an append that begins there,
 * though it has all of that and more; and a leader that has not heard so goes back no further than to what it did hear. What is
 * covered was committed, and is the same there and here: it is skipped. */
static struct wire_append without_covered(const struct replica *replica, struct wire_append append)
{
    const struct raft *raft = &replica->raft;
    uint64_t snapshot = raft->trail.snapshot.index;
    if (append.term < raft->current_term || raft->snapshot.installing || append.prev_index > raft->trail.offset ||
        append.prev_index >= snapshot) {
        return append;
    }
    for (; append.count > 0 && append.prev_index < snapshot; append.prev_index++) {
        (void)wire_append_next(&append); /* takes it off the count */
    }
    append.prev_index = snapshot;
    append.prev_term = raft->trail.snapshot.term;
    return append;
}

static bool receive_append(struct replica *replica, struct replica_peer *peer, const struct wire_append *received)
{
    if (replica->raft.state == RAFT_LEADER && raft_current_term(&replica->raft) == received->term) {
        return replica_refuse(replica, peer, "it claims to lead in the term in which this node leads");
    }
    const struct wire_append append = without_covered(replica, *received);
    unsigned offset = 0, count = append.count;
    uint64_t prev_term = append.prev_term;
    decode_entries(replica, append);
    do {
        uint64_t first_index = append.prev_index + 1 + offset;
        if (offset > 0 && !may_go_on(replica, &append, first_index - 1)) {
            break;
        }
        unsigned n = part_size(replica, offset, count);
        deliver_part(replica, peer, &append, prev_term, first_index, offset, n);
        offset += n;
        prev_term = offset > 0 ? replica->step_entries[offset - 1]->term : prev_term;
    } while (offset < count);
    for (unsigned i = 0; i < count; i++) {
        log_entry_unref(replica->step_entries[i]);
    }
    return true;
}

/* ---- the others ---- */

static bool receive_append_result(struct replica *replica, struct replica_peer *peer,
                                  const struct raft_append_entries_result *result)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT, .append_entries_result = *result};
    deliver_plain(replica, peer, &message);
    if (replica_leads(replica)) {
        replica_race_note(replica, peer);
        replica_hand_over(replica);
    }
    return true;
}

static bool receive_vote(struct replica *replica, struct replica_peer *peer, const struct raft_request_vote *vote)
{
    if (vote->candidate_id != peer->node_id) {
        return replica_refuse(replica, peer, "it asks for a vote for another node");
    }
    struct raft_message message = {.type = RAFT_REQUEST_VOTE, .request_vote = *vote};
    deliver_plain(replica, peer, &message);
    replica_haste_asked(replica, vote);
    return true;
}

static bool receive_vote_result(struct replica *replica, struct replica_peer *peer,
                                const struct raft_request_vote_result *result)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = *result};
    deliver_plain(replica, peer, &message);
    return true;
}

static bool receive_timeout_now(struct replica *replica, struct replica_peer *peer,
                                const struct raft_timeout_now *timeout_now)
{
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW, .timeout_now = *timeout_now};
    deliver_plain(replica, peer, &message);
    return true;
}

static bool receive_accepted(struct replica *replica, struct replica_peer *peer, struct wire_frame *frame)
{
    switch (frame->kind) {
    case WIRE_APPEND:
        return receive_append(replica, peer, &frame->append);
    case WIRE_APPEND_RESULT:
        return receive_append_result(replica, peer, &frame->append_result);
    case WIRE_VOTE:
        return receive_vote(replica, peer, &frame->vote);
    case WIRE_VOTE_RESULT:
        return receive_vote_result(replica, peer, &frame->vote_result);
    case WIRE_TIMEOUT_NOW:
        return receive_timeout_now(replica, peer, &frame->timeout_now);
    case WIRE_READ_PROBE:
        replica_read_asked(replica, peer, &frame->read);
        return true;
    case WIRE_READ_ANSWER:
        replica_read_answered(replica, peer, &frame->read);
        return true;
    case WIRE_SNAPSHOT_BEGIN:
        replica_incoming_begin(replica, peer, &frame->snapshot_begin);
        return true;
    case WIRE_SNAPSHOT_CHUNK:
        return replica_incoming_chunk(replica, peer, &frame->snapshot_chunk);
    case WIRE_SNAPSHOT_END:
        replica_incoming_end(replica, peer, frame->snapshot_end);
        return true;
    case WIRE_SNAPSHOT_ACK:
        replica_stream_acked(replica, peer, &frame->snapshot_ack);
        return true;
    case WIRE_INTRODUCTION:
        break;
    }
    return true;
}

bool replica_receive_frame(struct replica *replica, struct replica_peer *peer, struct wire_frame *frame)
{
    if (frame->kind == WIRE_INTRODUCTION) {
        return replica_introduced(replica, peer, &frame->introduction);
    }
    if (!peer->met) {
        return replica_refuse(replica, peer, "its first frame is no introduction");
    }
    if (!peer->accepted || replica->phase != PHASE_RUNNING) {
        return true; /* R5; and a stranger's frames are dropped, the introduction has said why. */
    }
    return receive_accepted(replica, peer, frame);
}
