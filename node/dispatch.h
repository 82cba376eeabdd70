/* Station 8: effects to replies, grants and events, each to its connection. Knows who waits: the table
 * (session, request id) -> request, for acquires that the state machine has queued. */
#ifndef LOCKSTEP_NODE_DISPATCH_H
#define LOCKSTEP_NODE_DISPATCH_H

#include "node/core_table.h"
#include "node/proposer.h"
#include "raft_fsm/effects.h"

struct dispatch {
    struct core_table waits; /* struct request by session and request id */
};

/* `entry`: our proposal that was applied, or NULL. Afterwards each of its requests is answered or waits. */
void dispatch_effects(struct core *core, struct proposed_entry *entry, const struct fsm_effects *effects);
/* The connection of a waiting request goes. */
void dispatch_forget_wait(struct core *core, struct request *request);
/* Leadership is lost: UNAVAILABLE for all who wait. */
void dispatch_abandon(struct core *core);

#endif
