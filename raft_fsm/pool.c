/* Owns chunks of equal items; never knows what an item is.
 *
 *   P1  A chunk is aligned to its size, so that an item finds its chunk by masking its address.
 *   P2  A chunk is in the list `partial` exactly if it has a free item.
 *   P3  At most one wholly free chunk is kept, so that one item taken and given in turn costs no system call.
 *
 * Under the address sanitizer each item is an allocation of its own: a use after free inside a chunk would not be
 * seen. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign() */
#include "raft_fsm/pool.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_PLAIN 1
#endif
#endif
#ifndef POOL_PLAIN
#define POOL_PLAIN 0
#endif

/* Large, because glibc may map each chunk by itself, and its header before the chunk then takes a page: of 64 KiB a sixteenth.
 * A little less than the alignment is asked for: with glibc's own header the next chunk then follows without a gap,
 * where asking for all of it would waste as much again. */
#define CHUNK_ALIGNMENT ((size_t)256 * 1024)
#define CHUNK_BYTES     (CHUNK_ALIGNMENT - 64)

struct pool_chunk {
    struct pool_chunk *next;
    struct pool_chunk *previous;
    void *free;     /* items given back, linked through their first word */
    uint32_t fresh; /* items never taken yet begin at this one */
    uint32_t used;  /* items in use */
};

static uint32_t chunk_items(const struct pool *pool)
{
    return (uint32_t)((CHUNK_BYTES - sizeof(struct pool_chunk)) / pool->item_bytes);
}

void fsm_pool_init(struct pool *pool, size_t item_bytes)
{
    *pool = (struct pool){.item_bytes = (item_bytes + 7) / 8 * 8};
    LOCKSTEP_ASSERT(chunk_items(pool) >= 2);
}

static void partial_push(struct pool *pool, struct pool_chunk *chunk)
{
    chunk->previous = NULL;
    chunk->next = pool->partial;
    if (chunk->next != NULL) {
        chunk->next->previous = chunk;
    }
    pool->partial = chunk;
}

static void partial_unlink(struct pool *pool, struct pool_chunk *chunk)
{
    if (chunk->previous != NULL) {
        chunk->previous->next = chunk->next;
    } else {
        pool->partial = chunk->next;
    }
    if (chunk->next != NULL) {
        chunk->next->previous = chunk->previous;
    }
}

static void chunk_add(struct pool *pool)
{
    void *memory = NULL; /* aligned_alloc() may refuse a size that is no multiple of the alignment */
    LOCKSTEP_ASSERT(posix_memalign(&memory, CHUNK_ALIGNMENT, CHUNK_BYTES) == 0);
    struct pool_chunk *chunk = memory;
    chunk->free = NULL;
    chunk->fresh = 0;
    chunk->used = 0;
    pool->bytes += CHUNK_ALIGNMENT;
    partial_push(pool, chunk);
}

static void *chunk_take(struct pool *pool)
{
    if (pool->partial == NULL) {
        chunk_add(pool);
    }
    struct pool_chunk *chunk = pool->partial;
    void *item = chunk->free;
    if (item != NULL) {
        memcpy(&chunk->free, item, sizeof chunk->free);
    } else {
        uint8_t *items = (uint8_t *)(chunk + 1);
        item = items + (size_t)chunk->fresh * pool->item_bytes;
        chunk->fresh++;
    }
    chunk->used++;
    if (chunk->used == chunk_items(pool)) {
        partial_unlink(pool, chunk);
    }
    return item;
}

static void chunk_give(struct pool *pool, void *item)
{
    struct pool_chunk *chunk = (void *)((uintptr_t)item & ~(uintptr_t)(CHUNK_ALIGNMENT - 1));
    if (chunk->used == chunk_items(pool)) {
        partial_push(pool, chunk);
    }
    memcpy(item, &chunk->free, sizeof chunk->free);
    chunk->free = item;
    chunk->used--;
    if (chunk->used == 0 && (chunk->next != NULL || chunk->previous != NULL)) {
        partial_unlink(pool, chunk);
        pool->bytes -= CHUNK_ALIGNMENT;
        free(chunk);
    }
}

void *fsm_pool_take(struct pool *pool)
{
    void *item = NULL;
    if (POOL_PLAIN) {
        item = malloc(pool->item_bytes);
        LOCKSTEP_ASSERT(item != NULL);
        pool->bytes += pool->item_bytes;
    } else {
        item = chunk_take(pool);
    }
    memset(item, 0, pool->item_bytes);
    return item;
}

void fsm_pool_give(struct pool *pool, void *item)
{
    if (POOL_PLAIN) {
        pool->bytes -= pool->item_bytes;
        free(item);
    } else {
        chunk_give(pool, item);
    }
}

void fsm_pool_done(struct pool *pool)
{
    while (pool->partial != NULL) {
        struct pool_chunk *chunk = pool->partial;
        LOCKSTEP_ASSERT(chunk->used == 0);
        partial_unlink(pool, chunk);
        pool->bytes -= CHUNK_ALIGNMENT;
        free(chunk);
    }
    LOCKSTEP_ASSERT(pool->bytes == 0);
}
