/* An intrusive hash table that grows by one bucket at a time (linear hashing), so that no insertion ever stalls the
 * loop with a rehash of everything. Equal keys and order are the caller's: the table knows hashes only. Nothing that
 * leaves the node depends on its order. */
#ifndef LOCKSTEP_NODE_CORE_TABLE_H
#define LOCKSTEP_NODE_CORE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct core_table_node {
    struct core_table_node *next;
    uint64_t hash;
};

struct core_table {
    struct core_table_node **buckets;
    size_t size;     /* buckets in use */
    size_t capacity; /* buckets there is memory for */
    size_t count;    /* nodes */
    uint64_t seed;   /* makes collisions unknown to those who choose keys */
};

/* Memory running out is fatal, here and in an insertion. */
void core_table_init(struct core_table *table, uint64_t seed);
/* The nodes are the caller's. */
void core_table_done(struct core_table *table);
/* The hash of a key of two numbers. */
uint64_t core_table_hash(const struct core_table *table, uint64_t first, uint64_t second);
void core_table_insert(struct core_table *table, struct core_table_node *node, uint64_t hash);
void core_table_remove(struct core_table *table, struct core_table_node *node);
/* The first node with `hash`, or NULL; then the next one with the same hash. */
struct core_table_node *core_table_first(const struct core_table *table, uint64_t hash);
struct core_table_node *core_table_next(const struct core_table_node *node);

#endif
