/* Station 5: many requests into one entry. Group commit, stamped with cluster time, and which request is where.
 *
 * When a batch goes (proposer_wants() has it as code): at the end of the very turn if nothing is under way. While entries
 * are under way it goes if it is full, or if it is at least its fair share of what they carry (1 / entries_in_flight_max
 * of the commands under way). So a lone request never waits for another's disk write; and under load the entries do not
 * get smaller than the pipeline needs to stay full, which keeps the cost per command low. At worst a batch waits until
 * what is under way is committed. Renewals by themselves wait for company: a hundredth of their TTL (the old or
 * the new one, whichever is shorter), but at least 20 ms and at most renew_delay_ms. So does, while an entry is under way, an
 * acquire that is to queue behind others: a hundredth of the time that it is ready to wait, and at most PROPOSER_QUEUE_PATIENCE_MS.
 *
 * Invariants
 *  P1  Requests are proposed in the order in which they were received.
 *  P2  An entry's requests are answered by the entry that is applied at its index in its term, and by nothing else; or
 *      with UNAVAILABLE, once, when leadership is lost.
 *  P3  An entry that only moves the time is proposed when nothing received is unproposed (C4), one at a time. */
#ifndef LOCKSTEP_NODE_PROPOSER_H
#define LOCKSTEP_NODE_PROPOSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/request.h"
#include "node/time.h"
#include "protocol/buffer.h"
#include "protocol/message.h"

enum { PROPOSER_ENTRIES_MAX = 64, PROPOSER_RETRY_MS = 10, PROPOSER_QUEUE_PATIENCE_MS = 2 };

struct proposed_entry {
    uint64_t index;
    uint64_t term;
    struct cluster_time time;
    struct request **requests; /* by command index; NULL once it has its end or waits */
    uint32_t count;
    uint32_t capacity;
    struct proto_buffer bytes;
};

struct proposer {
    struct request_list queue; /* received, not yet proposed */
    uint64_t queue_bytes;
    struct local_time queue_due; /* until then all that is queued may wait for company */
    uint64_t received;           /* since the start, and how many of them have left the queue */
    uint64_t left;
    struct local_time retry; /* the replica refused to take an entry: not before this */

    struct proposed_entry entries[PROPOSER_ENTRIES_MAX]; /* a ring, oldest at `first` */
    unsigned size; /* of the ring: as many entries as may be under way */
    unsigned first;
    unsigned in_flight;
    uint64_t commands_in_flight;
    uint64_t entries_proposed;
    uint64_t commands_proposed;
};

void proposer_init(struct proposer *proposer, unsigned entries_in_flight_max);
/* Nothing is queued or under way any more. */
void proposer_done(struct proposer *proposer);

void proposer_add(struct core *core, struct request *request);
/* End of a turn: propose what is to go now. */
void proposer_run(struct core *core, struct local_time now);
/* Last of all: if a deadline has passed and nothing under way says so, propose an entry that does. */
void proposer_expire(struct core *core, struct local_time now);
/* An entry is under way that tells the state machine of this deadline. */
bool proposer_tells(const struct core *core, uint64_t due_ms);
/* From when on an entry may be proposed: never, if another has to be applied before. */
struct local_time proposer_room(const struct core *core);
/* When a turn is needed for the queue's sake. */
struct local_time proposer_deadline(const struct core *core);

/* An entry is being applied: the one that we proposed as it, or NULL. It is given back with proposer_applied(). What was
 * proposed before it and never came is lost and its requests are answered. */
struct proposed_entry *proposer_match(struct core *core, uint64_t index, uint64_t term);
void proposer_applied(struct core *core, struct proposed_entry *entry);
/* Leadership is lost: UNAVAILABLE for what was proposed, NOT_LEADER for what was not. */
void proposer_abandon(struct core *core);

/* The clock must not pass this while something is unproposed: the earliest deadline that is known, or that an entry
 * under way can have set. UINT64_MAX: none. */
uint64_t proposer_clock_limit(const struct core *core);

#endif
