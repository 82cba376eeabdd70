/* Items of one size (core_slab.h). Chunks are taken from the system as they are needed and cut into items, which then
 * live on a list of free ones. The list is last in, first out: the item used last is the one that is warm in the cache. */
#include "node/core_slab.h"

#include <stdalign.h>
#include <stdlib.h>

#include "protocol/assert.h"

enum { CHUNK_BYTES = 64 * 1024, ITEM_ALIGN = 16 };

struct core_slab_item {
    struct core_slab_item *next;
};

struct core_slab_chunk {
    alignas(ITEM_ALIGN) struct core_slab_chunk *next;
};

void core_slab_init(struct core_slab *slab, size_t item_bytes, size_t items_max)
{
    LOCKSTEP_ASSERT(item_bytes >= sizeof(struct core_slab_item));
    *slab = (struct core_slab){.item_bytes = (item_bytes + ITEM_ALIGN - 1) & ~(size_t)(ITEM_ALIGN - 1),
                               .items_max = items_max};
}

static void add_chunk(struct core_slab *slab)
{
    size_t items = CHUNK_BYTES / slab->item_bytes;
    if (items == 0) {
        items = 1;
    }
    if (items > slab->items_max - slab->made) {
        items = slab->items_max - slab->made;
    }
    struct core_slab_chunk *chunk = malloc(sizeof(*chunk) + items * slab->item_bytes);
    LOCKSTEP_ASSERT(chunk != NULL);
    chunk->next = slab->chunks;
    slab->chunks = chunk;
    unsigned char *at = (unsigned char *)(chunk + 1);
    for (size_t i = items; i > 0; i--) {
        struct core_slab_item *item = (void *)(at + (i - 1) * slab->item_bytes);
        item->next = slab->free;
        slab->free = item;
    }
    slab->made += items;
}

void *core_slab_take(struct core_slab *slab)
{
    if (slab->free == NULL) {
        if (slab->made >= slab->items_max) {
            return NULL;
        }
        add_chunk(slab);
    }
    struct core_slab_item *item = slab->free;
    slab->free = item->next;
    slab->used++;
    return item;
}

void core_slab_give(struct core_slab *slab, void *memory)
{
    LOCKSTEP_ASSERT(slab->used > 0);
    struct core_slab_item *item = memory;
    item->next = slab->free;
    slab->free = item;
    slab->used--;
}

void core_slab_done(struct core_slab *slab)
{
    LOCKSTEP_ASSERT(slab->used == 0);
    while (slab->chunks != NULL) {
        struct core_slab_chunk *chunk = slab->chunks;
        slab->chunks = chunk->next;
        free(chunk);
    }
    *slab = (struct core_slab){.item_bytes = slab->item_bytes, .items_max = slab->items_max};
}
