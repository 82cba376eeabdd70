/* Short slices (slice.h). Each case is a process of its own, as what is asked for can not be taken back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/slice.h"

static struct sched_attr attributes_now(void)
{
    struct sched_attr attributes = {.size = sizeof(attributes)};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) {
        perror("sched_getattr");
        _exit(2);
    }
    return attributes;
}

/* Whether `holds` in a child of this process. */
static bool holds_in_child(bool (*holds)(void))
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(holds() ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int niceness; /* not this process's own, so that it is seen to stay; the tests may be run with any */

/* Linux tells the slice of such threads since it lets it be chosen. */
static bool is_short_here(void)
{
    struct sched_attr now = attributes_now();
    return now.sched_policy == SCHED_NORMAL && now.sched_nice == niceness && (now.sched_runtime == SLICE_NS || now.sched_runtime == 0);
}

static bool asks(void)
{
    niceness = nice(3);
    bool chosen = attributes_now().sched_runtime != 0;
    bool asked = slice_ask_for_short();
    return asked && is_short_here() && (attributes_now().sched_runtime != 0) == chosen;
}

static bool asks_for_what_it_makes(void)
{
    return asks() && holds_in_child(is_short_here);
}

static bool spares_another_policy(void)
{
    struct sched_attr batch = {.size = sizeof(batch), .sched_policy = SCHED_BATCH};
    bool chosen = syscall(SYS_sched_setattr, 0, &batch, 0) == 0;
    uint64_t before = attributes_now().sched_runtime;
    struct sched_attr after;
    bool asked = slice_ask_for_short();
    after = attributes_now();
    return chosen && !asked && after.sched_policy == SCHED_BATCH && after.sched_runtime == before;
}

static void slices_are_short_and_the_niceness_stays(void **state)
{
    (void)state;
    assert_true(holds_in_child(asks));
}

static void what_is_made_later_has_them_too(void **state)
{
    (void)state;
    assert_true(holds_in_child(asks_for_what_it_makes));
}

static void a_policy_that_somebody_chose_stays(void **state)
{
    (void)state;
    assert_true(holds_in_child(spares_another_policy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_short_and_the_niceness_stays),
        cmocka_unit_test(what_is_made_later_has_them_too),
        cmocka_unit_test(a_policy_that_somebody_chose_stays),
    };
    return cmocka_run_group_tests_name("node: slices", tests, NULL, NULL);
}
