/* Items of one size with a bound on their number, for the objects of requests and connections: after a warm-up nothing
 * is allocated any more. Memory of given items is kept for the next; all of it goes with core_slab_done(). */
#ifndef LOCKSTEP_NODE_CORE_SLAB_H
#define LOCKSTEP_NODE_CORE_SLAB_H

#include <stddef.h>

struct core_slab_item;
struct core_slab_chunk;

struct core_slab {
    size_t item_bytes;
    size_t items_max;
    size_t used; /* taken and not given back */
    size_t made; /* exist at all */
    struct core_slab_item *free;
    struct core_slab_chunk *chunks;
};

/* Items of `item_bytes` (aligned to 16), at most `items_max` at a time. Allocates nothing yet. */
void core_slab_init(struct core_slab *slab, size_t item_bytes, size_t items_max);
/* An item with undefined contents, or NULL if items_max are in use. Memory running out is fatal. */
void *core_slab_take(struct core_slab *slab);
void core_slab_give(struct core_slab *slab, void *item);
/* Every item must have been given back. */
void core_slab_done(struct core_slab *slab);

#endif
