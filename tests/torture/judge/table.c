/* Owns the hash tables: open addressing, at most half full, never shrinking. */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_FIRST = 64, ROOM_FIRST = 64, EXIT_SYSTEM = 2 };

static void *or_end(void *memory)
{
    if (memory == NULL) {
        (void)fputs("torture_judge: the history does not fit into this machine's memory\n", stderr);
        exit(EXIT_SYSTEM);
    }
    return memory;
}

void *judge_allocate(size_t count, size_t size)
{
    return or_end(calloc(count == 0 ? 1 : count, size));
}

void *judge_grow(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return items;
    }
    *room = *room == 0 ? ROOM_FIRST : *room * 2;
    return or_end(reallocarray(items, *room, size));
}

static uint64_t mixed(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdU;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53U;
    return key ^ key >> 33;
}

/* ---- names ---- */

static uint64_t hash_of(const char *text, size_t bytes)
{
    uint64_t hash = 14695981039346656037U;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211U;
    }
    return mixed(hash);
}

void names_init(struct names *names)
{
    *names = (struct names){.slots_count = SLOTS_FIRST, .count = 1};
    names->slots = judge_allocate(SLOTS_FIRST, sizeof *names->slots);
    names->texts = judge_grow(NULL, 0, &names->texts_room, sizeof *names->texts);
    names->texts[0] = judge_allocate(1, 1);
}

void names_done(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->texts[i]);
    }
    free(names->texts);
    free(names->slots);
}

static void names_double(struct names *names)
{
    free(names->slots);
    names->slots_count *= 2;
    names->slots = judge_allocate(names->slots_count, sizeof *names->slots);
    for (uint32_t i = 1; i < names->count; i++) {
        size_t slot = hash_of(names->texts[i], strlen(names->texts[i])) & (names->slots_count - 1);
        while (names->slots[slot] != 0) {
            slot = (slot + 1) & (names->slots_count - 1);
        }
        names->slots[slot] = i;
    }
}

uint32_t names_put(struct names *names, const char *text, size_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    if (names->count * 2 >= names->slots_count) {
        names_double(names);
    }
    size_t slot = hash_of(text, bytes) & (names->slots_count - 1);
    for (; names->slots[slot] != 0; slot = (slot + 1) & (names->slots_count - 1)) {
        const char *known = names->texts[names->slots[slot]];
        if (strncmp(known, text, bytes) == 0 && known[bytes] == '\0') {
            return names->slots[slot];
        }
    }
    names->texts = judge_grow(names->texts, names->count, &names->texts_room, sizeof *names->texts);
    char *copy = judge_allocate(bytes + 1, 1);
    memcpy(copy, text, bytes);
    names->texts[names->count] = copy;
    names->slots[slot] = names->count;
    return names->count++;
}

/* ---- numbers ---- */

void numbers_init(struct numbers *numbers)
{
    *numbers = (struct numbers){.slots_count = SLOTS_FIRST};
    numbers->slots = judge_allocate(SLOTS_FIRST, sizeof *numbers->slots);
}

void numbers_done(struct numbers *numbers)
{
    free(numbers->slots);
}

static size_t slot_of(const struct numbers *numbers, uint64_t key)
{
    size_t slot = mixed(key) & (numbers->slots_count - 1);
    while (numbers->slots[slot].used != 0 && numbers->slots[slot].key != key) {
        slot = (slot + 1) & (numbers->slots_count - 1);
    }
    return slot;
}

uint32_t numbers_get(const struct numbers *numbers, uint64_t key)
{
    return numbers->slots[slot_of(numbers, key)].value;
}

void numbers_put(struct numbers *numbers, uint64_t key, uint32_t value)
{
    if (numbers->count * 2 >= numbers->slots_count) {
        struct numbers larger = {.slots_count = numbers->slots_count * 2, .count = numbers->count};
        larger.slots = judge_allocate(larger.slots_count, sizeof *larger.slots);
        for (size_t i = 0; i < numbers->slots_count; i++) {
            if (numbers->slots[i].used != 0) {
                larger.slots[slot_of(&larger, numbers->slots[i].key)] = numbers->slots[i];
            }
        }
        free(numbers->slots);
        *numbers = larger;
    }
    struct number *slot = &numbers->slots[slot_of(numbers, key)];
    numbers->count += slot->used == 0;
    *slot = (struct number){.key = key, .value = value, .used = 1};
}
