/* What the tests of connections share: a loop, a listener on loopback, connections whose frames a recording handler
 * takes, and plain sockets as clients. The time is the test's own; nothing waits for a clock. */
#ifndef LOCKSTEP_TESTS_UNIT_NODE_CONNECTION_HARNESS_H
#define LOCKSTEP_TESTS_UNIT_NODE_CONNECTION_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/types.h>

#include "node/connection.h"
#include "node/listener.h"

enum { IDLE_MS = 60000, FRAME_MS = 10000, DRAIN_MS = 2000, TCP_TIMEOUT_MS = 5000, QUEUE_BYTES = 256 * 1024 };

/* What the handler saw, and how it is to behave. */
struct record {
    unsigned opened, closed, received, bad;
    uint64_t last_opened, last_closed;
    size_t last_size;
    uint8_t last_first_byte;
    size_t total_bytes;
    char bad_what[128];
    bool close_on_receive;
    bool echo;
};

struct fixture {
    uv_loop_t loop;
    struct listener *listener;
    struct connections *connections;
    struct logger logger;
    struct local_time now;
    struct record record;
    int log_fds[2];
};

extern struct fixture *fixture;

/* cmocka's: 8 connections at most, or 1. */
int set_up(void **state);
int set_up_small(void **state);
int tear_down(void **state);

/* One turn of a loop: gather, expire, write. */
void turn(void);
uint64_t real_ms(void);
/* Take turns until `condition`, and fail if it does not come. */
#define TURN_UNTIL(condition)                           \
    do {                                                \
        uint64_t until_ms = real_ms() + 20000;          \
        while (!(condition)) {                          \
            turn();                                     \
            if (real_ms() > until_ms) {                 \
                fail_msg("never came: %s", #condition); \
            }                                           \
        }                                               \
    } while (false)

/* A frame of `size` bytes of `fill`: the connections do not look inside. @return its size. */
size_t make_frame(uint8_t *out, uint8_t fill, size_t size);

/* A socket that has connected; one that was accepted too. */
int client_connect(void);
int client_open(void);
void client_send(int fd, const void *data, size_t size);
/* Everything that comes until the end of the stream, taking turns meanwhile. @return the bytes; -1 after a reset. */
ssize_t client_read_all(int fd, uint8_t *data, size_t size);

#endif
