/* What main.c was asked for, and the ways to do it: seeds.c and shrink.c. */
#ifndef LOCKSTEP_TESTS_SIM_COMMAND_H
#define LOCKSTEP_TESTS_SIM_COMMAND_H

#include "tests/sim/promises.h"
#include "tests/sim/sim.h"

enum { COMMAND_JOBS_MAX = 64, COMMAND_SEED_SECONDS_MAX = 300 };

struct command {
    struct sim_options options;
    uint64_t first, seeds;
    unsigned jobs;
    bool alone, twice, shrink, plants;
};

/* Each is a process's exit code. */
int command_seeds(const struct command *command);
int command_shrink(const struct command *command);
int command_plants(const struct command *command);

void command_print_counts(const struct sim_counts *counts);

/* The command that runs `seed` with these options, but for --trace; without a line's end. */
void command_print_run(FILE *out, const struct sim_options *options, uint64_t seed);

/* Run it in a process of its own. @return whether it ended well; else `ret_rule` has the rule that it broke, or how the
 * process died. */
bool command_try(const struct sim_options *options, char *ret_rule, size_t rule_size);

#endif
