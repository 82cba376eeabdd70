/* Arguments of the programs that test: what is wrong with one is named, with what is allowed. */
#ifndef LOCKSTEP_TESTS_SUPPORT_ARGUMENTS_H
#define LOCKSTEP_TESTS_SUPPORT_ARGUMENTS_H

#include <argp.h>
#include <stdint.h>

/* @return the whole number that `text`, the argument of --`what`, is; if it is none from least to most, the program ends by
 * argp_error(). */
uint64_t argument_number(struct argp_state *state, const char *what, const char *text, uint64_t least,
                         uint64_t most);

#endif
