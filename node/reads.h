/* Reads and what a node answers by itself. All linearizable queries of a turn share one proof of leadership
 * (replica_read); `stale` ones are answered at the end of the turn from what is applied; cluster.status and
 * cluster.transfer need neither. (A ping is answered on arrival.) */
#ifndef LOCKSTEP_NODE_READS_H
#define LOCKSTEP_NODE_READS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/request.h"
#include "node/time.h"

/* Answers that need no message are given at most so many per turn: a full list page costs as much as many writes. Fewer if they
 * looked at so much of the state (fsm_query(); a unit takes 15 to 500 ns): one that passes a million sessions whose expiry has not had
 * its turn takes 40 ms. And none to a client that has half of its bound to read yet, although it asked for them before: ten full
 * pages are the whole bound. */
enum { READS_PER_TURN = 512, READS_WORK_PER_TURN = 32 * 1024, READS_HELD_MS = 10 };

struct reads {
    struct request_list gathered; /* linearizable, of this turn */
    struct request_list asked;    /* their proof is under way; in order of read_id */
    struct request_list now;      /* stale queries and local operations, and what is proven */
    struct request_list held;     /* of those, what waits for its client to read; looked at again then: */
    struct local_time held_until;
    uint64_t last_read_id;
    uint64_t answered;
};

void reads_add(struct core *core, struct request *request);
void reads_run(struct core *core, struct local_time now);
/* Every read with this id has its proof (or leadership was lost). */
void reads_ready(struct core *core, uint64_t read_id, bool ok);
/* When a turn is needed for what is held. */
struct local_time reads_deadline(const struct core *core);
/* Leadership is lost: NOT_LEADER for those that have no proof. */
void reads_abandon(struct core *core);

/* cluster_status.c */
void cluster_status_answer(struct core *core, struct request *request);

#endif
