/* Pseudo-random numbers from a seed that is printed and can be given again: `test_x 12345`. */
#ifndef LOCKSTEP_TESTS_UNIT_NODE_RANDOM_H
#define LOCKSTEP_TESTS_UNIT_NODE_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* The seed of the command line, or a fresh one. */
static inline uint64_t random_begin(int argc, char **argv)
{
    uint64_t seed = 0;
    if (argc > 1) {
        seed = strtoull(argv[1], NULL, 10);
    } else if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        seed = 1;
    }
    (void)printf("seed %" PRIu64 "; the same run again: %s %" PRIu64 "\n", seed, argv[0], seed);
    return seed;
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

#endif
