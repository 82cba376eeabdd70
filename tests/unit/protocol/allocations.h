/* Counts what the program takes from the heap, and can refuse it. A test that includes this links allocations.c with
 * --wrap for malloc, calloc and realloc. */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_ALLOCATIONS_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Calls, and bytes asked for, since the program began. */
size_t allocations_count(void);
size_t allocations_bytes(void);
/* While set, every call gives NULL. */
void allocations_refuse(bool refuse);

#endif
