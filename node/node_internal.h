/* What node.c, node_seams.c and node_stop.c share. */
#ifndef LOCKSTEP_NODE_NODE_INTERNAL_H
#define LOCKSTEP_NODE_NODE_INTERNAL_H

#include <uv.h>

#include "node/connection.h"
#include "node/core.h"
#include "node/listener.h"
#include "node/loop.h"
#include "node/node.h"
#include "node/replica/disk_real.h"
#include "node/replica/peer.h"
#include "node/replica/replica.h"

/* The way out.
 *
 *   RUNNING --> LEAVING   leave()         SIGTERM: no new clients, leadership is handed over, clients are told
 *   LEAVING --> CLOSING   node_turn()     core_drained(): all is answered, leadership gone or kept; or out of time
 *   CLOSING --> FLUSHING  node_turn()     the clients have what was queued for them, or out of time
 *   FLUSHING -> STOPPED   node_turn()     no socket and no disk job is left: the loop ends */
enum node_phase { NODE_RUNNING, NODE_LEAVING, NODE_CLOSING, NODE_FLUSHING, NODE_STOPPED };

enum { NODE_SIGNALS_COUNT = 5, NODE_MESSAGE_BYTES = 2048 };

struct node {
    const struct config *config;
    struct logger *logger;
    uv_loop_t uv;
    struct loop *loop;
    uv_signal_t signals[NODE_SIGNALS_COUNT];
    struct disk *disk;
    struct listener *listener; /* NULL once closed */
    struct connections *connections;
    struct core *core;
    struct link *link;
    struct replica *replica; /* NULL before replica_open() returned: its callbacks may come earlier */
    enum node_phase phase;
    struct local_time phase_deadline;
    enum node_exit code;              /* with which it ends, once that is known */
    bool serving;                     /* as of the last replica callback */
    char client_address[300];         /* really listened on, with its port */
    struct replica_member self;       /* --dev: the only member */
    char message[NODE_MESSAGE_BYTES]; /* why a part could not be opened */
};

/* node_seams.c: what the parts are given to reach each other. */
struct replica_callbacks node_replica_callbacks(struct node *node);
struct peer_callbacks node_peer_callbacks(struct node *node);
struct core_replica node_core_replica(struct node *node);
struct core_output node_core_output(struct node *node);
struct connections_handler node_connections_handler(struct node *node);

/* node_stop.c */
void node_signals_open(struct node *node);
void node_signals_close(struct node *node);
/* The end of a turn: lead the node out once it is told to stop. */
struct local_time node_turn(void *ctx, struct local_time now);
/* Tell systemd, if it asked for that. */
void node_notify(const char *state);

/* End the process at once; does not return. */
_Noreturn void node_die(struct node *node, enum node_exit code, const char *why);

#endif
