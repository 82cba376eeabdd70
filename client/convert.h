/* Nodes' answers as what lockstep.h shows. What is made here is one allocation each, freed by the public _free functions.
 *
 * Each copy function gives NULL if there is no memory. The reply is one with status OK of the operation named. */
#ifndef LOCKSTEP_CLIENT_CONVERT_H
#define LOCKSTEP_CLIENT_CONVERT_H

#include "client/include/lockstep.h"
#include "protocol/message.h"

struct lockstep_lock_status *convert_lock_status(const char *key, const struct proto_reply *reply); /* lock.get */
struct lockstep_lock_list *convert_lock_list(const struct proto_reply *reply);                      /* lock.list */
struct lockstep_session_list *convert_session_list(const struct proto_reply *reply); /* session.list, session.get */
struct lockstep_holder convert_holder(const struct proto_holder *holder);
/* cluster.status: the fields that the answering node says of itself. */
void convert_node_status(struct lockstep_node_status *node, const struct proto_cluster_reply *reply);
/* Copy a text into `buffer`, cut to fit, terminated. */
void convert_text(char *buffer, size_t buffer_bytes, struct proto_bytes text);

#endif
