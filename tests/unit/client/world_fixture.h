/* The world of a file of tests, made anew for each, and what its calls were told. */
#ifndef LOCKSTEP_TESTS_CLIENT_WORLD_FIXTURE_H
#define LOCKSTEP_TESTS_CLIENT_WORLD_FIXTURE_H

#include "tests/unit/client/world.h"

extern struct world world;
extern struct world_done done, other_done;

/* For cmocka: a client that nobody has asked for anything yet; one with an open session; its end. */
int world_set_up(void **state);
int world_set_up_session(void **state);
int world_tear_down(void **state);

#endif
