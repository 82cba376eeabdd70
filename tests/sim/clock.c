/* Chance and clocks. */
#include "tests/sim/sim.h"

enum { MILLION = 1000000 };

bool sim_chance(uint64_t *stream, uint64_t one_in)
{
    return simulated_random(stream, one_in) == 0;
}

uint64_t sim_clock_us(const struct sim_clock *clock, uint64_t now_us)
{
    uint64_t passed = now_us - clock->at_us;
    if (clock->frozen) {
        return clock->read_us;
    }
    return clock->read_us + (uint64_t)((int64_t)passed + (int64_t)passed * clock->ppm / MILLION);
}

uint64_t sim_clock_when(const struct sim_clock *clock, uint64_t now_us, uint64_t ms)
{
    if (clock->frozen || ms > SIM_NEVER / 2000) {
        return SIM_NEVER;
    }
    uint64_t target = ms * 1000;
    uint64_t shown = sim_clock_us(clock, now_us);
    if (shown >= target) {
        return now_us;
    }
    /* Rounded up, and a little more where the rounding of the other way falls short: it shows the time when it is woken. */
    uint64_t left = (target - shown) * MILLION / (uint64_t)(MILLION + clock->ppm) + 1;
    while (sim_clock_us(clock, now_us + left) < target) {
        left++;
    }
    return now_us + left;
}

void sim_clock_change(struct sim_clock *clock, uint64_t now_us, int64_t ppm, bool frozen)
{
    clock->read_us = sim_clock_us(clock, now_us);
    clock->at_us = now_us;
    clock->ppm = ppm;
    clock->frozen = frozen;
}
