/* A node's answers as the structures of lockstep.h: copies, each in one block of memory, so that they live as long as their
 * reader wants and are freed at once. Each gives NULL if there is no memory. */
#ifndef LOCKSTEP_CLIENT_VIEWS_H
#define LOCKSTEP_CLIENT_VIEWS_H

#include "client/include/lockstep.h"
#include "protocol/message.h"

void view_holder(const struct proto_holder *holder, struct lockstep_holder *ret);
struct lockstep_lock_status *view_lock_status(const char *key, const struct proto_reply *reply);
struct lockstep_lock_list *view_lock_list(const struct proto_reply *reply);
struct lockstep_session_list *view_session_list(const struct proto_reply *reply);
void view_node(const struct proto_cluster_reply *cluster, struct lockstep_node_status *ret);
/* Terminated, cut to the buffer, control characters blanked: what nodes send may end in a terminal. */
void view_text(struct proto_bytes text, char *buffer, size_t size);

#endif
