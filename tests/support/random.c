/* See random.h. */
#include "tests/support/random.h"

uint64_t simulated_random(uint64_t *random, uint64_t below)
{
    if (below == 0) {
        return 0;
    }
    uint64_t x = *random += 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return (x ^ x >> 31) % below;
}
