/* Raft's messages to frames. An AppendEntries carries references to the log's own bytes, taken now (what a message says
 * must not change after it was built); entries that left memory are read back beside the loop, and the appends of that
 * peer wait behind them in order.
 *
 * Invariants
 *  E1  Appends of one leadership leave in the order raft made them; those of another never leave.
 *  E2  A frame that the link drops ends the series: what follows would only be rejected. Raft sends it again. */
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

bool replica_send_frame(struct replica *replica, const struct replica_peer *peer, const struct wire_frame *frame,
                        const void *data, size_t size)
{
    uint8_t head[WIRE_HEAD_BYTES_MAX];
    if (!peer->connected) {
        return false;
    }
    struct link_part parts[2] = {
        {.data = head, .size = wire_encode_head(frame, head)},
        {.data = data, .size = size},
    };
    return replica->link->ops->send(replica->link, peer->node_id, parts, size == 0 ? 1 : 2);
}

/* ---- appends ---- */

static bool item_stands(const struct replica *replica, const struct replica_feed_item *item)
{
    return replica_leads(replica) && raft_current_term(&replica->raft) == item->term;
}

static struct wire_frame append_frame(const struct replica_feed_item *item, unsigned count)
{
    return (struct wire_frame){
        .kind = WIRE_APPEND,
        .append =
            {
                .version = item->version,
                .term = item->term,
                .prev_index = item->next_index - 1,
                .prev_term = item->prev_term,
                .leader_commit = item->leader_commit,
                .count = count,
            },
    };
}

/* One frame with these entries, the bytes sent in place. */
static bool send_entries(struct replica *replica, struct replica_peer *peer, const struct replica_feed_item *item,
                         struct log_entry *const *entries, unsigned count)
{
    size_t heads_size = (size_t)count * WIRE_ENTRY_HEAD_BYTES, used;
    uint8_t *heads = malloc(WIRE_HEAD_BYTES_MAX + heads_size);
    struct link_part *parts = calloc((size_t)count + 1, sizeof *parts);
    LOCKSTEP_ASSERT(heads != NULL && parts != NULL);
    struct wire_frame frame = append_frame(item, count);
    used = wire_encode_head(&frame, heads);
    unsigned parts_count = 1;
    for (unsigned i = 0; i < count; i++, used += WIRE_ENTRY_HEAD_BYTES) {
        LOCKSTEP_ASSERT(entries[i]->index == item->next_index + i);
        wire_encode_entry_head(entries[i], heads + used);
        if (entries[i]->size > 0) {
            parts[parts_count++] = (struct link_part){
                .data = entries[i]->data,
                .size = entries[i]->size,
                .owner = log_entry_ref(entries[i]),
            };
        }
    }
    parts[0] = (struct link_part){.data = heads, .size = used};
    bool sent = replica->link->ops->send(replica->link, peer->node_id, parts, parts_count);
    free(parts);
    free(heads);
    return sent;
}

/* As many of `entries` as one frame holds. */
static unsigned fitting(struct log_entry *const *entries, unsigned count)
{
    size_t bytes = 0;
    unsigned n = 0;
    while (n < count && n < WIRE_APPEND_ENTRIES_MAX) {
        bytes += entries[n]->size + WIRE_ENTRY_HEAD_BYTES;
        if (n > 0 && bytes > REPLICA_APPEND_BYTES) {
            break;
        }
        n++;
    }
    return n;
}

/* @return false if the link dropped a frame. */
static bool send_series(struct replica *replica, struct replica_peer *peer, struct replica_feed_item *item,
                        struct log_entry *const *entries, unsigned count)
{
    while (count > 0) {
        unsigned n = fitting(entries, count);
        if (!send_entries(replica, peer, item, entries, n)) {
            return false;
        }
        item->prev_term = entries[n - 1]->term;
        item->next_index += n;
        item->left -= n;
        entries += n;
        count -= n;
    }
    return true;
}

void replica_feed_drop(struct replica_peer *peer)
{
    peer->feed_count = 0;
    peer->feed_reading = false;
    peer->feed_generation++;
}

struct feed_read {
    struct replica *replica;
    unsigned place;
    uint64_t generation;
};

static void feed_read_done(void *ctx, struct log_entry **entries, size_t count)
{
    struct feed_read read = *(struct feed_read *)ctx;
    struct replica_peer *peer = &read.replica->peers[read.place];
    free(ctx);
    if (peer->feed_generation == read.generation) {
        LOCKSTEP_ASSERT(peer->feed_reading && peer->feed_count > 0);
        struct replica_feed_item *item = &peer->feed[0];
        peer->feed_reading = false;
        bool fine = count > 0 && count <= item->left && item_stands(read.replica, item) &&
                    send_series(read.replica, peer, item, entries, (unsigned)count);
        if (fine) {
            replica_feed_go_on(read.replica, peer);
        } else {
            replica_feed_drop(peer);
        }
    }
    for (size_t i = 0; i < count; i++) {
        log_entry_unref(entries[i]);
    }
}

static void feed_read(struct replica *replica, struct replica_peer *peer, const struct replica_feed_item *item)
{
    struct feed_read *read = malloc(sizeof *read);
    LOCKSTEP_ASSERT(read != NULL);
    *read = (struct feed_read){replica, (unsigned)(peer - replica->peers), peer->feed_generation};
    peer->feed_reading = true;
    log_read(replica->log, item->next_index, item->left, REPLICA_FEED_READ_BYTES, feed_read_done, read);
}

/* The head's entries that are in memory. @return false if the link dropped a frame. */
static bool feed_from_memory(struct replica *replica, struct replica_peer *peer, struct replica_feed_item *item)
{
    struct log_entry *entries[64];
    unsigned n = 0;
    while (n < item->left && n < sizeof entries / sizeof *entries) {
        entries[n] = log_get(replica->log, item->next_index + n);
        if (entries[n] == NULL) {
            break;
        }
        n++;
    }
    return send_series(replica, peer, item, entries, n);
}

void replica_feed_go_on(struct replica *replica, struct replica_peer *peer)
{
    while (peer->feed_count > 0 && !peer->feed_reading) {
        struct replica_feed_item *item = &peer->feed[0];
        if (item->left == 0) {
            memmove(peer->feed, peer->feed + 1, --peer->feed_count * sizeof *peer->feed);
        } else if (item->next_index < log_first_index(replica->log)) {
            replica_feed_drop(peer); /* A snapshot of ours overtook it. */
        } else if (log_get(replica->log, item->next_index) == NULL) {
            feed_read(replica, peer, item);
        } else if (!feed_from_memory(replica, peer, item)) {
            replica_feed_drop(peer);
        }
    }
}

/* While appends wait for the disk, a heartbeat goes ahead of them, anchored where the follower is known or believed to be:
 * with its own anchor beyond what was sent it would be rejected. */
static void send_heartbeat(struct replica *replica, struct replica_peer *peer, const struct replica_feed_item *item)
{
    struct replica_feed_item anchor = *item;
    if (peer->feed_count > 0) {
        anchor.next_index = peer->feed[0].next_index;
        anchor.prev_term = peer->feed[0].prev_term;
    }
    struct wire_frame frame = append_frame(&anchor, 0);
    (void)replica_send_frame(replica, peer, &frame, NULL, 0);
}

/* What goes on where the last append ends becomes part of it: one frame, one answer. @return false: there is no room. */
static bool feed_put(struct replica_peer *peer, const struct replica_feed_item *item)
{
    struct replica_feed_item *last = peer->feed_count == 0 ? NULL : &peer->feed[peer->feed_count - 1];
    if (last != NULL && last->term == item->term && last->version == item->version &&
        last->next_index + last->left == item->next_index) {
        last->left += item->left;
        last->leader_commit = item->leader_commit;
        return true;
    }
    if (peer->feed_count == REPLICA_FEED_MAX) {
        return false;
    }
    peer->feed[peer->feed_count++] = *item;
    return true;
}

static void send_append(struct replica *replica, struct replica_peer *peer, const struct raft_append_entries *append)
{
    struct replica_feed_item item = {
        .term = append->term,
        .next_index = append->prev_log_index + 1,
        .prev_term = append->prev_log_term,
        .leader_commit = append->leader_commit,
        .left = append->n_entries,
        .version = append->version,
    };
    if (peer->feed_count > 0 && !item_stands(replica, &peer->feed[0])) {
        replica_feed_drop(peer);
    }
    if (item.left == 0) {
        send_heartbeat(replica, peer, &item);
        return;
    }
    LOCKSTEP_ASSERT(append->prev_log_index + append->n_entries <= log_last_index(replica->log));
    LOCKSTEP_ASSERT(item.next_index >= log_first_index(replica->log)); /* The log keeps what raft may ask for. */
    replica_pace_append(replica);
    if (!feed_put(peer, &item)) {
        return;
    }
    if (peer->feed_reading || !replica_pace_holds(replica, peer)) {
        replica_feed_go_on(replica, peer);
    }
}

/* ---- the others ---- */

/* Raft answers an append of an older term without setting last_log_index, and, if the append had no entry before it,
 * with no rejection either: read as a success by a leader that reached our term meanwhile, that would be a false match.
 * So we say what we know: a rejection, and a hint below it. */
static void mend_stale_answer(const struct replica *replica, struct raft_append_entries_result *result)
{
    uint64_t last = log_last_index(replica->log);
    if (result->rejected == 0) {
        result->rejected = replica->step_stale_prev == 0 ? 1 : replica->step_stale_prev;
    }
    result->last_log_index = last < result->rejected ? last : result->rejected - 1;
}

static void send_append_result(struct replica *replica, const struct replica_peer *peer,
                               const struct raft_append_entries_result *result)
{
    struct wire_frame frame = {.kind = WIRE_APPEND_RESULT, .append_result = *result};
    if (replica->step_stale_prev != UINT64_MAX) {
        mend_stale_answer(replica, &frame.append_result);
    }
    if (frame.append_result.rejected > 0) {
        replica->step_rejected = true;
    }
    (void)replica_send_frame(replica, peer, &frame, NULL, 0);
}

/* Raft tells who is to take over to stand as soon as it acknowledges anything. But one that lacks an entry then, or has not
 * written one yet, does not stand, and is not told again: nothing would be proposed for an election timeout. So it is told
 * when it has acknowledged the last entry; none is added while leadership is handed over. If its stream is down then, or breaks
 * afterwards, it is told with its next answer: raft does not say it again. Who has stood by then takes no notice. */
void replica_hand_over(struct replica *replica)
{
    const struct replica_peer *peer = replica_peer_find(replica, replica->handing_id);
    struct wire_frame frame = {.kind = WIRE_TIMEOUT_NOW, .timeout_now = replica->handing};
    raft_index match = 0;
    if (peer == NULL || replica->handing_told || raft_transferee(&replica->raft) != peer->node_id ||
        raft_match_index(&replica->raft, peer->node_id, &match) != 0 ||
        match < raft_last_index(&replica->raft)) {
        return;
    }
    replica->handing_told = replica_send_frame(replica, peer, &frame, NULL, 0);
}

void replica_send_message(struct replica *replica, const struct raft_message *message)
{
    struct replica_peer *peer = replica_peer_find(replica, message->server_id);
    struct wire_frame frame;
    if (message->type == RAFT_TIMEOUT_NOW) {
        replica->handing_id = message->server_id;
        replica->handing = message->timeout_now;
        replica->handing_told = false;
        replica_hand_over(replica);
        return;
    }
    if (peer == NULL || !peer->connected) {
        if (message->type == RAFT_APPEND_ENTRIES_RESULT && message->append_entries_result.rejected > 0) {
            replica->step_rejected = true;
        }
        return; /* Any message may be lost. */
    }
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        send_append(replica, peer, &message->append_entries);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        send_append_result(replica, peer, &message->append_entries_result);
        return;
    case RAFT_INSTALL_SNAPSHOT:
        replica_stream_begin(replica, peer, message->install_snapshot.last_index);
        return;
    case RAFT_REQUEST_VOTE:
        frame = (struct wire_frame){.kind = WIRE_VOTE, .vote = message->request_vote};
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        frame = (struct wire_frame){.kind = WIRE_VOTE_RESULT, .vote_result = message->request_vote_result};
        break;
    default:
        replica_fatal(replica, "raft sends a message of a type that this program does not know");
    }
    (void)replica_send_frame(replica, peer, &frame, NULL, 0);
}
