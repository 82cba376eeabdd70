/* What the files of the cluster share: cluster.c (nodes, load, time), cluster_links.c (streams), cluster_checks.c (the
 * machine and the callbacks, where the promises are checked). */
#ifndef LOCKSTEP_TESTS_CLUSTER_INTERNAL_H
#define LOCKSTEP_TESTS_CLUSTER_INTERNAL_H

#include "cluster.h"

/* A broken promise: say it with the seed, and abort. */
_Noreturn void cluster_violation(const struct cluster *cluster, const struct cluster_node *node, const char *what);
/* Up and not stalled. */
bool cluster_runs(const struct cluster_node *node);
struct replica_machine cluster_machine(struct cluster_node *node);
/* The list that every node is given. */
void cluster_members(const struct cluster *cluster, struct replica_member *members);
struct replica_callbacks cluster_callbacks(struct cluster_node *node);

extern const struct link_ops cluster_link_ops;
void cluster_stream_drop(struct cluster_node *from, struct cluster_stream *stream);
/* @return whether something happened. */
bool cluster_stream_turn(struct cluster *cluster, unsigned a, unsigned b);
uint64_t cluster_stream_due(const struct cluster *cluster, unsigned a, unsigned b);
/* 1..most_ms from now. */
uint64_t cluster_soon(struct cluster *cluster, uint64_t most_ms);

#endif
