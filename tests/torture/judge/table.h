/* Owns the containers of the judge: arrays that grow, names that become numbers, numbers that are looked up. All are bounded
 * by the length of the history that is judged. Memory that runs out ends the program with a message. */
#ifndef LOCKSTEP_TORTURE_TABLE_H
#define LOCKSTEP_TORTURE_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* calloc() that does not fail. */
void *judge_allocate(size_t count, size_t size);

/* Room for one more item of `size` bytes behind `count`: doubles the room of `items` when it is full. @return the items. */
void *judge_grow(void *items, size_t count, size_t *room, size_t size);

/* Names, numbered from 1 in the order in which they are first seen. */
struct names {
    char **texts; /* texts[0] is "" */
    size_t texts_room;
    uint32_t count; /* with the empty one at 0, so the greatest number is count - 1 */
    uint32_t *slots;
    size_t slots_count;
};
void names_init(struct names *names);
void names_done(struct names *names);
uint32_t names_put(struct names *names, const char *text, size_t bytes);

/* From a 64-bit number to a 32-bit one. What is not in it is 0. */
struct numbers {
    struct number {
        uint64_t key;
        uint32_t value;
        uint32_t used;
    } * slots;
    size_t slots_count;
    size_t count;
};
void numbers_init(struct numbers *numbers);
void numbers_done(struct numbers *numbers);
uint32_t numbers_get(const struct numbers *numbers, uint64_t key);
void numbers_put(struct numbers *numbers, uint64_t key, uint32_t value);

#endif
