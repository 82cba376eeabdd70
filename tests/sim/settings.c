/* How a node is set up: settings of lockstepd, or narrower ones, so that its bounds are met by as little as happens in a run.
 * Each node is drawn by itself: a cluster whose nodes are set up differently must be as safe, if not as fast. What all must
 * have in common is left alone, and so is what would leave the clients no room at all. */
#include "tests/sim/engine.h"

/* The usual value three times out of four, else one of two others. */
static unsigned some(uint64_t *random, unsigned usual, unsigned little, unsigned much)
{
    uint64_t which = simulated_random(random, 8);
    return which == 0 ? little : which == 1 ? much : usual;
}

void settings_draw(struct sim *sim, struct sim_settings *settings)
{
    uint64_t *random = &sim->random_settings;
    struct core_options *core = &settings->core;
    core_options_init(core);
    core->entries_in_flight_max = some(random, core->entries_in_flight_max, 1, 16);
    core->entry_bytes_target = some(random, 64 * 1024, 100, 2000);
    core->renew_delay_ms = some(random, core->renew_delay_ms, 0, 1000);
    core->clock_step_ms_max = some(random, core->clock_step_ms_max, 10, 1000);
    core->requests_per_connection_max = some(random, core->requests_per_connection_max, 10, 20);
    core->requests_max = some(random, core->requests_max, 120, 200);
    core->requests_per_second_max = some(random, 0, 100, 1000);
    core->heartbeat_ms = some(random, core->heartbeat_ms, 100, 5000);
    core->hello_timeout_ms = some(random, core->hello_timeout_ms, 100, 500);
    core->digest_every_entries = 64;
    settings->heartbeat_ms = some(random, 30, 10, 60);
    settings->election_timeout_ms = some(random, 300, 180, 600);
    settings->append_pace_ms = some(random, 4, 0, 20);
    settings->entries_in_flight_max = some(random, 64, 1, 4);
    settings->log_held_bytes_max = some(random, 0, 1000, 10000);
}
