/* A node: its parts, built in order and torn down in reverse, and what runs between. */
#ifndef LOCKSTEP_NODE_NODE_H
#define LOCKSTEP_NODE_NODE_H

#include "node/config.h"
#include "node/exits.h"
#include "node/logger.h"

/* Run a node until it is told to stop (SIGTERM, SIGINT) or can not go on. Logs its last line itself. One at a time in a
 * process, because of signals; does not return if the disk fails, the state is broken, or a second signal comes.
 * @param config  checked; must outlive the call.
 * @return the exit code. */
enum node_exit node_run(const struct config *config, struct logger *logger);

/* The last line of a process that fails: what is wrong and what to do. */
void node_log_exit(struct logger *logger, enum node_exit code, const char *why);

#endif
