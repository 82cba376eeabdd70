/* glibc has these calls since 2.41 only, hence syscall(2); and before Linux 6.2 the kernel's header does not go with <sched.h>. */
#include "node/slice.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

bool slice_ask_for_short(void)
{
    struct sched_attr attributes = {.size = sizeof(attributes)};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0 ||
        attributes.sched_policy != SCHED_NORMAL) {
        return false;
    }
    attributes.sched_runtime = SLICE_NS; /* the niceness stays as it was read */
    return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}
