/* Linear hashing (core_table.h). With n buckets and p the greatest power of two <= n, a hash belongs to bucket
 * hash mod 2p if that is < n, else to hash mod p. One more bucket, number n, takes its nodes from bucket n - p only. */
#include "node/core_table.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { BUCKETS_FIRST = 64 };

static size_t power_of_two_below(size_t n)
{
    LOCKSTEP_ASSERT(n > 0);
    return (size_t)1 << (63 - __builtin_clzll(n));
}

static struct core_table_node **bucket_of(const struct core_table *table, uint64_t hash)
{
    size_t power = power_of_two_below(table->size);
    size_t index = hash & (2 * power - 1);
    return &table->buckets[index < table->size ? index : hash & (power - 1)];
}

void core_table_init(struct core_table *table, uint64_t seed)
{
    *table = (struct core_table){.size = BUCKETS_FIRST, .capacity = BUCKETS_FIRST, .seed = seed};
    table->buckets = calloc(table->capacity, sizeof(struct core_table_node *));
    LOCKSTEP_ASSERT(table->buckets != NULL);
}

void core_table_done(struct core_table *table)
{
    free(table->buckets);
    *table = (struct core_table){0};
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93U;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93U;
    return x ^ (x >> 32);
}

uint64_t core_table_hash(const struct core_table *table, uint64_t first, uint64_t second)
{
    return mix(mix(first + table->seed) ^ (second + (table->seed >> 7)));
}

static void add_bucket(struct core_table *table)
{
    if (table->size == table->capacity) {
        table->capacity *= 2;
        table->buckets = realloc(table->buckets, table->capacity * sizeof(struct core_table_node *));
        LOCKSTEP_ASSERT(table->buckets != NULL);
    }
    size_t added = table->size;
    struct core_table_node **from = &table->buckets[added - power_of_two_below(added)];
    table->buckets[added] = NULL;
    table->size++;
    while (*from != NULL) {
        struct core_table_node *node = *from;
        if (bucket_of(table, node->hash) == &table->buckets[added]) {
            *from = node->next;
            node->next = table->buckets[added];
            table->buckets[added] = node;
        } else {
            from = &node->next;
        }
    }
}

void core_table_insert(struct core_table *table, struct core_table_node *node, uint64_t hash)
{
    if (table->count >= table->size) {
        add_bucket(table);
    }
    struct core_table_node **bucket = bucket_of(table, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->count++;
}

void core_table_remove(struct core_table *table, struct core_table_node *node)
{
    struct core_table_node **at = bucket_of(table, node->hash);
    while (*at != node) {
        LOCKSTEP_ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    table->count--;
}

static struct core_table_node *first_with(struct core_table_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct core_table_node *core_table_first(const struct core_table *table, uint64_t hash)
{
    return first_with(*bucket_of(table, hash), hash);
}

struct core_table_node *core_table_next(const struct core_table_node *node)
{
    return first_with(node->next, node->hash);
}
