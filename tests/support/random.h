/* Pseudo-random numbers: all that follows from a seed is drawn from a state that the caller keeps. */
#ifndef LOCKSTEP_TESTS_SUPPORT_RANDOM_H
#define LOCKSTEP_TESTS_SUPPORT_RANDOM_H

#include <stdint.h>

/* splitmix64. @return a number below `below`; 0 if below is 0. */
uint64_t simulated_random(uint64_t *random, uint64_t below);

#endif
