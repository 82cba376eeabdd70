/* The lies that the checkers must find out. */
#ifndef LOCKSTEP_TESTS_SIM_PROMISES_H
#define LOCKSTEP_TESTS_SIM_PROMISES_H

/* A lie for a checker, and the rule by which it must be rejected. The last one's name is NULL. */
struct sim_plant {
    const char *name, *rule;
};
extern const struct sim_plant sim_plants[];

#endif
