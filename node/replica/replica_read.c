/* Proofs of leadership for reads): a round asks the others {term, nonce}; one says yes
 * only if its term is that term and its leader is the sender. A majority of yes, ourselves included, proves that no later
 * leader existed when the round was sent, and so for every read that arrived before.
 *
 * Invariants
 *  D1  A read is covered by a round that was sent after it arrived.
 *  D2  It is answered when its round is proven and the entries committed at its arrival are applied; `serving`, required
 *      at its arrival, says that this included all of earlier terms.
 *  D3  A change of role or term fails every read that waits.
 *  D4  Reads are answered in the order of their arrival, each once. */
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

bool replica_read(struct replica *replica, struct local_time now, uint64_t read_id)
{
    struct replica_reads *reads = &replica->reads;
    replica_time(replica, now);
    if (!replica->serving || !replica_leads(replica) || raft_current_term(&replica->raft) != replica->term) {
        return false;
    }
    LOCKSTEP_ASSERT(reads->count == 0 || reads->term == replica->term);
    if (reads->count == reads->capacity) {
        size_t capacity = reads->capacity == 0 ? 64 : reads->capacity * 2;
        struct replica_read *queue = calloc(capacity, sizeof *queue);
        LOCKSTEP_ASSERT(queue != NULL);
        for (size_t i = 0; i < reads->count; i++) {
            queue[i] = reads->queue[(reads->head + i) % reads->capacity];
        }
        free(reads->queue);
        reads->queue = queue;
        reads->capacity = capacity;
        reads->head = 0;
    }
    reads->term = replica->term;
    reads->queue[(reads->head + reads->count++) % reads->capacity] = (struct replica_read){
        .id = read_id,
        .sequence = ++reads->sequence_last,
        .commit_index = replica->commit_index,
    };
    return true;
}

static unsigned place_of(const struct replica *replica, const struct replica_peer *peer)
{
    return (unsigned)(peer - replica->peers);
}

static bool round_is_proven(const struct replica *replica, const struct replica_round *round)
{
    unsigned yes = replica->voter ? 1 : 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0 && peer->voter && (round->answered >> i & 1) != 0) {
            yes++;
        }
    }
    return yes > replica->voters_count / 2;
}

static void round_settle(struct replica *replica, struct replica_round *round)
{
    if (!round_is_proven(replica, round)) {
        return;
    }
    if (round->upto > replica->reads.proven_upto) {
        replica->reads.proven_upto = round->upto;
    }
    round->busy = false;
}

static void round_send(struct replica *replica, struct replica_round *round)
{
    struct wire_frame frame = {
        .kind = WIRE_READ_PROBE,
        .read = {.term = replica->reads.term, .nonce = round->nonce},
    };
    round->sent_ms = replica->now_ms;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        const struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0 && peer->voter && (round->answered >> i & 1) == 0) {
            (void)replica_send_frame(replica, peer, &frame, NULL, 0); /* A lost one is asked again. */
        }
    }
}

static struct replica_round *round_free(struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_ROUNDS_MAX; i++) {
        if (!replica->reads.rounds[i].busy) {
            return &replica->reads.rounds[i];
        }
    }
    return NULL;
}

static bool reads_stand(const struct replica *replica)
{
    return replica_leads(replica) && raft_current_term(&replica->raft) == replica->reads.term;
}

/* One round for all reads that arrived since the last; when too many are out, the next one waits for a place. */
void replica_reads_ask(struct replica *replica)
{
    struct replica_reads *reads = &replica->reads;
    struct replica_round *round = round_free(replica);
    if (reads->asked_upto == reads->sequence_last || round == NULL || !reads_stand(replica)) {
        return;
    }
    *round = (struct replica_round){.busy = true, .nonce = ++reads->nonce_last, .upto = reads->sequence_last};
    reads->asked_upto = reads->sequence_last;
    round_send(replica, round);
    round_settle(replica, round);
}

void replica_reads_retry(struct replica *replica)
{
    for (unsigned i = 0; i < REPLICA_ROUNDS_MAX; i++) {
        struct replica_round *round = &replica->reads.rounds[i];
        if (round->busy && replica->now_ms >= round->sent_ms + replica->config.heartbeat_ms) {
            round_send(replica, round);
        }
    }
}

uint64_t replica_reads_deadline(const struct replica *replica)
{
    uint64_t at = UINT64_MAX;
    bool place = false;
    for (unsigned i = 0; i < REPLICA_ROUNDS_MAX; i++) {
        const struct replica_round *round = &replica->reads.rounds[i];
        place = place || !round->busy;
        if (round->busy && round->sent_ms + replica->config.heartbeat_ms < at) {
            at = round->sent_ms + replica->config.heartbeat_ms;
        }
    }
    bool waiting = replica->reads.asked_upto != replica->reads.sequence_last;
    return waiting && place ? replica->now_ms : at;
}

void replica_read_asked(struct replica *replica, struct replica_peer *peer, const struct wire_read *read)
{
    const struct raft *raft = &replica->raft;
    bool yes = raft->state == RAFT_FOLLOWER && raft->current_term == read->term &&
               raft->follower_state.current_leader.id == peer->node_id;
    struct wire_frame frame = {
        .kind = WIRE_READ_ANSWER,
        .read = {.term = read->term, .nonce = read->nonce, .yes = yes},
    };
    (void)replica_send_frame(replica, peer, &frame, NULL, 0);
}

void replica_read_answered(struct replica *replica, struct replica_peer *peer, const struct wire_read *read)
{
    if (!read->yes || read->term != replica->reads.term || !reads_stand(replica)) {
        return; /* A no needs no haste: raft itself hears of the later term. */
    }
    for (unsigned i = 0; i < REPLICA_ROUNDS_MAX; i++) {
        struct replica_round *round = &replica->reads.rounds[i];
        if (round->busy && round->nonce == read->nonce) {
            round->answered |= 1U << place_of(replica, peer);
            round_settle(replica, round);
            replica_reads_ask(replica);
            return;
        }
    }
}

static void reads_fail(struct replica *replica)
{
    struct replica_reads *reads = &replica->reads;
    memset(reads->rounds, 0, sizeof reads->rounds);
    reads->term = 0;
    reads->asked_upto = reads->proven_upto = reads->sequence_last;
    /* Only those that wait now: the callee may not read again before it serves again, but the count is its to change. */
    for (size_t left = reads->count; left > 0; left--) {
        uint64_t id = reads->queue[reads->head].id;
        reads->head = (reads->head + 1) % reads->capacity;
        reads->count--;
        replica->callbacks.read_ready(replica->callbacks.ctx, id, false);
    }
}

bool replica_reads_complete(struct replica *replica)
{
    struct replica_reads *reads = &replica->reads;
    bool any = false;
    if (reads->term != 0 && !reads_stand(replica)) {
        any = reads->count > 0;
        reads_fail(replica);
        return any;
    }
    while (reads->count > 0) {
        struct replica_read read = reads->queue[reads->head];
        if (read.sequence > reads->proven_upto || read.commit_index > replica->applied_index) {
            break;
        }
        reads->head = (reads->head + 1) % reads->capacity;
        reads->count--;
        any = true;
        replica->callbacks.read_ready(replica->callbacks.ctx, read.id, true);
    }
    return any;
}
