/* Items of one size, packed without a header each: a million locks should cost what their fields cost. Memory of a
 * chunk whose items are all free goes back. */
#ifndef LOCKSTEP_RAFT_FSM_POOL_H
#define LOCKSTEP_RAFT_FSM_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool_chunk;

struct pool {
    size_t item_bytes;
    struct pool_chunk *partial; /* chunks with a free item */
    uint64_t bytes;             /* taken from the system */
};

/* Items of at least `item_bytes`, aligned to 8. Allocates nothing yet. */
void fsm_pool_init(struct pool *pool, size_t item_bytes);
/* A zeroed item; memory running out is fatal. */
void *fsm_pool_take(struct pool *pool);
void fsm_pool_give(struct pool *pool, void *item);
/* Every item must have been given back. */
void fsm_pool_done(struct pool *pool);

#endif
