/* See world_fixture.h. */
#include "tests/unit/client/world_fixture.h"

struct world world;
struct world_done done, other_done;

int world_set_up(void **state)
{
    (void)state;
    done = other_done = (struct world_done){.world = &world};
    world_init(&world, NULL);
    return 0;
}

int world_set_up_session(void **state)
{
    (void)world_set_up(state);
    world_open_session(&world);
    return 0;
}

int world_tear_down(void **state)
{
    (void)state;
    world_free(&world);
    return 0;
}
