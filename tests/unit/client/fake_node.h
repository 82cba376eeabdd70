/* A whole cluster in one thread on the loopback: the real state machine behind a socket, without a log. For the parts of
 * the client that own sockets and threads. */
#ifndef LOCKSTEP_TESTS_CLIENT_FAKE_NODE_H
#define LOCKSTEP_TESTS_CLIENT_FAKE_NODE_H

#include <stdbool.h>
#include <stdint.h>

struct fake_node;

/* Listens on a free port; its text is "127.0.0.1:port". */
struct fake_node *fake_node_start(void);
const char *fake_node_endpoint(const struct fake_node *node);
/* Ends the thread and closes everything. */
void fake_node_stop(struct fake_node *node);

/* From now on it says that it is of this cluster; before it is 99. */
void fake_node_set_cluster(struct fake_node *node, uint64_t cluster_id);
/* From now on it says that it is this node; before it is 1. */
void fake_node_set_id(struct fake_node *node, uint64_t node_id);
/* From now on it names this member of its cluster, and no other; the text must last. */
void fake_node_set_member(struct fake_node *node, uint64_t node_id, const char *client_address);
/* How often it was asked for its status. */
uint64_t fake_node_surveys(struct fake_node *node);
/* From now on it reads nothing and answers nothing; connections stay. */
void fake_node_set_silent(struct fake_node *node, bool silent);
/* Close every connection; new ones are accepted. */
void fake_node_cut(struct fake_node *node);
uint64_t fake_node_locks(struct fake_node *node);
uint64_t fake_node_sessions(struct fake_node *node);
uint64_t fake_node_waiters(struct fake_node *node);

#endif
