/* What is where: one slot per entry of first..last. Owns the log's references to entries; knows no disk. */
#include <stdlib.h>
#include <string.h>

#include "node/replica/log_internal.h"

void log_table_init(struct log_table *table, uint64_t first, uint64_t prev_term)
{
    LOCKSTEP_ASSERT(first > 0);
    memset(table, 0, sizeof *table);
    table->slots_first = table->first = table->cached_first = first;
    table->last = table->settled = first - 1;
    table->prev_term = prev_term;
}

void log_table_done(struct log_table *table)
{
    log_table_truncate(table, table->first);
    free(table->slots);
    table->slots = NULL;
}

struct log_slot *log_table_slot(const struct log_table *table, uint64_t index)
{
    LOCKSTEP_ASSERT(index >= table->first);
    LOCKSTEP_ASSERT(index <= table->last);
    return &table->slots[index - table->slots_first];
}

/* Room for one slot behind the last: drop the free ones in front if they are half of it, else double. */
static void make_room(struct log_table *table)
{
    size_t front = (size_t)(table->first - table->slots_first),
           count = (size_t)(table->last + 1 - table->first);
    if (front + count < table->capacity) {
        return;
    }
    if (front > 0 && front >= table->capacity / 2) {
        memmove(table->slots, table->slots + front, count * sizeof *table->slots);
        table->slots_first = table->first;
        return;
    }
    table->capacity = table->capacity == 0 ? 64 : table->capacity * 2;
    table->slots = reallocarray(table->slots, table->capacity, sizeof *table->slots);
    LOCKSTEP_ASSERT(table->slots != NULL);
}

struct log_slot *log_table_append(struct log_table *table, uint64_t term, uint32_t size,
                                  struct log_entry *entry)
{
    LOCKSTEP_ASSERT(entry != NULL || table->cached_first > table->last);
    make_room(table);
    table->last++;
    table->payload_bytes += size;
    if (entry == NULL) {
        table->cached_first = table->last + 1;
        table->settled = table->last;
    } else {
        log_entry_ref(entry);
        table->held_bytes += size;
    }
    struct log_slot *slot = log_table_slot(table, table->last);
    *slot = (struct log_slot){.term = term, .entry = entry, .size = size};
    return slot;
}

void log_table_truncate(struct log_table *table, uint64_t index)
{
    LOCKSTEP_ASSERT(index >= table->first);
    for (; table->last >= index; table->last--) {
        struct log_slot *slot = log_table_slot(table, table->last);
        table->payload_bytes -= slot->size;
        if (table->last > table->settled) {
            table->held_bytes -= slot->size;
        } else if (table->last >= table->cached_first) {
            table->settled_bytes -= slot->size;
        }
        log_entry_unref(slot->entry);
    }
    table->settled = table->settled > table->last ? table->last : table->settled;
    table->cached_first = table->cached_first > table->last + 1 ? table->last + 1 : table->cached_first;
}

static void evict_first(struct log_table *table)
{
    struct log_slot *slot = log_table_slot(table, table->cached_first);
    if (table->cached_first <= table->settled) {
        table->settled_bytes -= slot->size;
    } else {
        table->held_bytes -= slot->size;
    }
    log_entry_unref(slot->entry);
    slot->entry = NULL;
    table->cached_first++;
}

void log_table_remove(struct log_table *table, uint64_t first)
{
    LOCKSTEP_ASSERT(first <= table->last + 1);
    if (first <= table->first) {
        return;
    }
    table->prev_term = log_table_slot(table, first - 1)->term;
    for (uint64_t index = table->first; index < first; index++) {
        table->payload_bytes -= log_table_slot(table, index)->size;
    }
    while (table->cached_first < first) {
        evict_first(table);
    }
    table->settled = table->settled < first - 1 ? first - 1 : table->settled;
    table->first = first;
}

void log_table_reset(struct log_table *table, uint64_t first, uint64_t prev_term)
{
    log_table_done(table);
    log_table_init(table, first, prev_term);
}

void log_table_settle(struct log_table *table, uint64_t index, uint64_t cache_bytes)
{
    while (table->settled < index) {
        table->settled++;
        if (table->settled >= table->cached_first) {
            uint32_t size = log_table_slot(table, table->settled)->size;
            table->settled_bytes += size;
            table->held_bytes -= size;
        }
    }
    while (table->settled_bytes > cache_bytes && table->cached_first <= table->settled) {
        evict_first(table);
    }
}
