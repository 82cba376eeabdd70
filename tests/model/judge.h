/* An independent judge of the state machine: it is told each entry's commands and what the state machine says happened,
 * in order, and knows the rules of the design, but shares no code and no data structure with raft_fsm/. It does not
 * predict tokens or the order among unrelated locks; it rejects what the rules forbid and what they demand and is
 * missing:
 *
 *   J1  every command has exactly one answer
 *   J2  a grant is compatible with all that is held, is made to a live session, and passes nobody in the queue
 *   J3  tokens strictly increase; an exclusive grant's fence is its token, in a shared period all fences are the first's
 *   J4  held, queued: only if something really stood in the way
 *   J5  release, extend, set_value: done if and only if the token is a live grant of that very session
 *   J6  after each entry nobody waits at the front of a queue who could be granted
 *   J7  what is due has ended, and nothing else has: sessions, own leases, waits, lock-delays
 *   J8  the same request id again gets the same answer and changes nothing
 *   J9  deadlines are what the leases say */
#ifndef LOCKSTEP_TESTS_MODEL_JUDGE_H
#define LOCKSTEP_TESTS_MODEL_JUDGE_H

#include "raft_fsm/effects.h"
#include "raft_fsm/entry.h"

struct judge;

struct judge *judge_create(void);
void judge_free(struct judge *judge);

/* One entry: its commands and everything it did. @return NULL, or what was wrong (lives until the next call). */
const char *judge_entry(struct judge *judge, struct cluster_time time, const struct fsm_command *commands,
                        uint32_t count, const struct fsm_effects *effects);

/* For the generator: a token of a live or recent grant, to be used well or badly; 0 if there is none yet. */
uint64_t judge_some_token(const struct judge *judge, uint32_t random);
uint64_t judge_last_session(const struct judge *judge);

#endif
