/* Station 9: replies and events to frames, each to its connection. */
#ifndef LOCKSTEP_NODE_ANSWER_H
#define LOCKSTEP_NODE_ANSWER_H

#include "protocol/message.h"

struct core;
struct core_connection;

void answer_reply(struct core *core, struct core_connection *connection, const struct proto_reply *reply);
void answer_event(struct core *core, struct core_connection *connection, const struct proto_event *event);
void answer_hello(struct core *core, struct core_connection *connection,
                  const struct proto_hello_reply *hello);
/* leader.moved to every connection that has said hello. */
void answer_leader_moved(struct core *core);

/* The body of a refusal. Valid until the next turn. */
void answer_refusal(struct core *core, enum proto_status status, const char *detail, uint64_t retry_after_ms,
                    struct proto_refusal *ret_refusal);
/* Where clients should go: the leader's id and client address; 0 and empty if it is not known, or if it is this node,
 * which is leaving. The address is asked of the replica at most once per turn. */
uint64_t answer_leader_id(const struct core *core);
struct proto_bytes answer_leader_address(struct core *core);

#endif
