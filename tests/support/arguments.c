/* See arguments.h. */
#include "tests/support/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

uint64_t argument_number(struct argp_state *state, const char *what, const char *text, uint64_t least,
                         uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0 || errno != 0 || number < least || number > most) {
        argp_error(state, "--%s needs a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"", what, least,
                   most, text);
    }
    return number;
}
