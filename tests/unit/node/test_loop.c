/* The turn of the loop: its order, its time, and that a deadline is acted on only after a look at what has come (T1).
 * The parts are stand-ins defined here, so that of the node only loop.c is linked. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node/loop.h"

static struct {
    uv_loop_t uv;
    struct loop *loop;
    struct local_time core_deadline; /* by time alone */
    bool work;                       /* the core wants a turn, whatever the time */
    unsigned turns;                  /* of the core */
    unsigned turns_max;              /* then the loop stops */
    struct local_time last;
    struct local_time looked; /* as the core was told */
    uint64_t read_ms;         /* when something was read last */
    bool due_seen;     /* a turn at or after core_deadline */
    unsigned received; /* bytes, by then */
    unsigned received_when_due;
    char order[64]; /* of one turn */
    int sockets[2];
    uv_poll_t poll;
    uv_check_t check;
} t;

/* T3 */
static uint64_t raw_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void note(const char *what)
{
    size_t used = strlen(t.order);
    (void)snprintf(t.order + used, sizeof(t.order) - used, "%s ", what);
}

/* ---- the stand-ins ---- */

struct local_time core_deadline(const struct core *core)
{
    (void)core;
    return t.work ? (struct local_time){0} : t.core_deadline;
}

struct local_time core_due(const struct core *core)
{
    (void)core;
    return t.core_deadline;
}

void core_looked(struct core *core, struct local_time looked)
{
    (void)core;
    t.looked = looked;
}

void core_turn(struct core *core, struct local_time now)
{
    (void)core;
    note("core");
    assert_true(t.looked.ms >= now.ms && t.looked.ms >= t.read_ms);
    t.work = false;
    assert_true(now.ms >= t.last.ms);
    assert_int_equal(loop_now(t.loop).ms, now.ms);
    t.last = now;
    if (now.ms >= t.core_deadline.ms && !t.due_seen) {
        t.due_seen = true;
        t.received_when_due = t.received;
        t.core_deadline = LOCAL_TIME_NEVER;
        uv_stop(&t.uv);
    }
    if (++t.turns >= t.turns_max) {
        uv_stop(&t.uv);
    }
}

struct local_time replica_deadline(const struct replica *replica)
{
    (void)replica;
    return LOCAL_TIME_NEVER;
}

void replica_tick(struct replica *replica, struct local_time now)
{
    (void)replica;
    assert_true(now.ms >= t.last.ms);
    t.order[0] = '\0';
    note("tick");
}

void peer_link_flush(struct link *link)
{
    (void)link;
    note("send");
}

void replica_flush(struct replica *replica)
{
    (void)replica;
    note("flush");
}

struct local_time connections_deadline(const struct connections *connections)
{
    (void)connections;
    return LOCAL_TIME_NEVER;
}

void connections_expire(struct connections *connections, struct local_time now)
{
    (void)connections;
    (void)now;
}

void connections_write(struct connections *connections)
{
    (void)connections;
    note("write");
}

static struct local_time node_turn(void *ctx, struct local_time now)
{
    (void)ctx;
    (void)now;
    note("node");
    return LOCAL_TIME_NEVER;
}

/* ---- a socket whose bytes count as received ---- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    char byte;
    (void)poll;
    (void)events;
    assert_int_equal(status, 0);
    assert_true(loop_now(t.loop).ms >= t.last.ms);
    t.received += read(t.sockets[0], &byte, 1) == 1;
    for (uint64_t now = raw_ms(); raw_ms() <= now + 2;) {
        /* reading takes a while: the turn is still to have one time, that from before it (T2) */
    }
    t.read_ms = raw_ms();
}

static int set_up(void **state)
{
    static const struct loop_parts parts = {.node_turn = node_turn};
    (void)state;
    memset(&t, 0, sizeof(t));
    t.core_deadline = LOCAL_TIME_NEVER;
    t.turns_max = UINT32_MAX;
    assert_int_equal(uv_loop_init(&t.uv), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t.sockets), 0);
    assert_int_equal(uv_poll_init(&t.uv, &t.poll, t.sockets[0]), 0);
    assert_int_equal(uv_poll_start(&t.poll, UV_READABLE, on_readable), 0);
    assert_int_equal(uv_check_init(&t.uv, &t.check), 0);
    t.loop = loop_create(&t.uv);
    loop_start(t.loop, &parts);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(t.loop);
    uv_close((uv_handle_t *)&t.poll, NULL);
    uv_close((uv_handle_t *)&t.check, NULL);
    assert_int_equal(uv_run(&t.uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&t.uv), 0);
    (void)close(t.sockets[0]);
    (void)close(t.sockets[1]);
    return 0;
}

/* ---- tests ---- */

static void a_turn_has_its_order(void **state)
{
    (void)state;
    t.turns_max = 1;
    (void)uv_run(&t.uv, UV_RUN_DEFAULT);
    assert_string_equal(t.order, "tick core send flush node write ");
}

/* A time daemon makes libuv's own clock faster or slower, so that it is another one soon after the machine's start. */
static void its_time_is_that_which_no_daemon_corrects(void **state)
{
    (void)state;
    uint64_t before = raw_ms();
    t.turns_max = 1;
    (void)uv_run(&t.uv, UV_RUN_DEFAULT);
    assert_true(t.last.ms >= before);
    assert_true(t.last.ms <= raw_ms());
}

static void a_deadline_wakes_the_loop_once(void **state)
{
    uint64_t due = raw_ms() + 30;
    (void)state;
    t.core_deadline.ms = due;
    (void)uv_run(&t.uv, UV_RUN_DEFAULT); /* until the turn that sees it */
    assert_true(t.due_seen);
    assert_true(t.last.ms >= due);
    assert_true(t.turns <= 4); /* it slept in between */
}

static void input_is_answered_in_the_turn_that_follows_it(void **state)
{
    (void)state;
    while (t.turns == 0) {
        (void)uv_run(&t.uv, UV_RUN_NOWAIT);
    }
    unsigned turns = t.turns;
    assert_int_equal(write(t.sockets[1], "x", 1), 1);
    (void)uv_run(&t.uv, UV_RUN_NOWAIT); /* reads */
    (void)uv_run(&t.uv, UV_RUN_NOWAIT); /* decides, before it would wait */
    assert_int_equal(t.received, 1);
    assert_true(t.turns > turns);
}

static void on_work(uv_check_t *check)
{
    t.work = true;
    (void)uv_check_stop(check);
}

static void work_that_no_deadline_hurries_is_done_without_a_second_look(void **state)
{
    (void)state;
    while (t.turns == 0) {
        (void)uv_run(&t.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(uv_check_start(&t.check, on_work), 0);
    (void)uv_run(&t.uv, UV_RUN_NOWAIT); /* it comes at the end of this */
    assert_true(t.work);
    unsigned turns = t.turns;
    (void)uv_run(&t.uv, UV_RUN_NOWAIT);
    assert_int_equal(t.turns, turns + 1);
    assert_false(t.work);
}

/* As if the process had been stopped between its poll and its turn: the deadline passes, and a byte comes meanwhile. */
static void on_check(uv_check_t *check)
{
    assert_int_equal(write(t.sockets[1], "x", 1), 1);
    t.core_deadline.ms = raw_ms() + 5;
    while (raw_ms() < t.core_deadline.ms + 20) {
    }
    (void)uv_check_stop(check);
}

static void what_came_in_time_is_read_before_a_deadline_is_acted_on(void **state)
{
    (void)state;
    while (t.turns == 0) {
        (void)uv_run(&t.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(uv_check_start(&t.check, on_check), 0);
    while (!t.due_seen) {
        (void)uv_run(&t.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(t.received_when_due, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_turn_has_its_order),
        TEST(its_time_is_that_which_no_daemon_corrects),
        TEST(a_deadline_wakes_the_loop_once),
        TEST(input_is_answered_in_the_turn_that_follows_it),
        TEST(work_that_no_deadline_hurries_is_done_without_a_second_look),
        TEST(what_came_in_time_is_read_before_a_deadline_is_acted_on),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
