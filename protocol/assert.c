/* What happens when an assertion does not hold. Standard error is the only output here. */
#include "protocol/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void lockstep_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    (void)fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, condition);
    abort();
}
