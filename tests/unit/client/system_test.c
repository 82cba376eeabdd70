/* The system refuses what a client is made of: that is a result, and nothing is left behind. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "client/include/lockstep.h"

static bool no_more_watches; /* as beyond fs.epoll.max_user_watches */

/* libuv finds this before the C library's. */
__attribute__((visibility("default"))) int epoll_ctl(int epoll, int operation, int fd,
                                                     struct epoll_event *event)
{
    if (no_more_watches && operation == EPOLL_CTL_ADD) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static void a_client_that_can_not_be_watched_is_not_made(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    lockstep_options_init(&options);
    options.endpoints = "127.0.0.1:1";
    no_more_watches = true;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_SYSTEM);
    no_more_watches = false;
    assert_non_null(strstr(lockstep_error_message(), "no space left on device"));
    assert_null(client);
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    lockstep_client_free(client);
}

static void one_on_a_loop_leaves_nothing_on_it(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct lockstep_options options;
    struct lockstep_async *async = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    lockstep_options_init(&options);
    options.endpoints = "127.0.0.1:1";
    no_more_watches = true;
    assert_int_equal(lockstep_async_create(&loop, &options, &async), LOCKSTEP_SYSTEM);
    no_more_watches = false;
    assert_null(async);
    assert_int_equal(uv_loop_close(&loop), 0); /* fails if a handle is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_can_not_be_watched_is_not_made),
        cmocka_unit_test(one_on_a_loop_leaves_nothing_on_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
