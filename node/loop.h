/* The turn of the one loop: what happens in which order, and which time it happens at (style section 9). */
#ifndef LOCKSTEP_NODE_LOOP_H
#define LOCKSTEP_NODE_LOOP_H

#include <uv.h>

#include "node/connection.h"
#include "node/core.h"
#include "node/replica/peer.h"
#include "node/replica/replica.h"
#include "node/time.h"

struct loop;

/* What a turn drives. Filled in while the node is built: no turn runs before loop_start(). */
struct loop_parts {
    struct core *core;
    struct replica *replica;
    struct connections *connections;
    struct link *link; /* to the other nodes */
    /* The end of each turn; what the node itself does with time (shutdown). Returns when it wants to be called next. */
    struct local_time (*node_turn)(void *ctx, struct local_time now);
    void *ctx;
};

struct loop *loop_create(uv_loop_t *uv);
/* Begin to take turns. */
void loop_start(struct loop *loop, const struct loop_parts *parts);
/* The time to be used by whatever libuv calls back: that of this turn. */
struct local_time loop_now(struct loop *loop);
/* No more turns. */
void loop_stop(struct loop *loop);
/* Stopped, and frees itself once libuv has closed its handles. NULL is fine. */
void loop_free(struct loop *loop);

#endif
