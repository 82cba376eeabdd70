/* The version of the library that runs, out of the build. */
#include "client/include/lockstep.h"

const char *lockstep_version(void)
{
    return LOCKSTEP_VERSION;
}
