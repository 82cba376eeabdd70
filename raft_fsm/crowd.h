/* How one grant is found among many of one lock and one session (crowd.c). Private to raft_fsm/. */
#ifndef LOCKSTEP_RAFT_FSM_CROWD_H
#define LOCKSTEP_RAFT_FSM_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include "raft_fsm/pool.h"
#include "raft_fsm/tree.h"

struct fsm;
struct grant;
struct lock;
struct session;

/* A lock with more holders is crowded; up to so many are gone through one by one. */
enum { FSM_CROWD = 16 };

struct crowd {
    struct tree by_token;
    struct tree by_holder;
    struct pool seats;
};

void fsm_crowd_init(struct crowd *crowd);
/* The grant has been linked to its lock and its session, or is about to be freed. */
void fsm_crowd_join(struct fsm *fsm, struct grant *grant);
void fsm_crowd_leave(struct fsm *fsm, struct grant *grant);
/* The grant of a crowded lock with `token`, whoever has it; NULL: no such grant is alive. */
const struct grant *fsm_crowd_find(struct fsm *fsm, uint64_t token);
/* A live grant of the session on the crowded lock: with `permits` the first one by token that has so many; NULL asks for
 * any. */
const struct grant *fsm_crowd_first(struct fsm *fsm, const struct lock *lock, const struct session *session,
                                    const uint16_t *permits);
/* Give one seat back; the state is being given up. @return false: there was none left. */
bool fsm_crowd_discard(struct crowd *crowd);
/* Assert the shape and the order of both trees. Linear. */
void fsm_crowd_check(const struct crowd *crowd);

#endif
