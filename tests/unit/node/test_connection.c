/* Sockets of clients, over loopback, against a handler that only records: frames in, bounded queues out, and an end for
 * every client that does nothing. The time is the test's own; nothing here waits for a clock. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node/connection.h"
#include "node/listener.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

enum { IDLE_MS = 60000, FRAME_MS = 10000, DRAIN_MS = 2000, QUEUE_BYTES = 256 * 1024, FRAMES_MAX = 4096 };

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

static struct fixture *fixture;

static struct local_time now_of(void *ctx)
{
    const struct fixture *f = ctx;
    return f->now;
}

static void on_opened(void *ctx, uint64_t connection, const char *name)
{
    struct fixture *f = ctx;
    f->record.opened++;
    f->record.last_opened = connection;
    assert_memory_equal(name, "127.0.0.1:", 10);
}

static void on_closed(void *ctx, uint64_t connection)
{
    struct fixture *f = ctx;
    f->record.closed++;
    f->record.last_closed = connection;
    assert_false(connections_send(f->connections, connection, "x", 1));
}

/* A frame of `size` bytes of `fill` that needs no meaning: the shell does not look inside. */
static size_t make_frame(uint8_t *out, uint8_t fill, size_t size)
{
    uint32_t length = (uint32_t)size + 1;
    memcpy(out, &(uint32_t){htole32(length)}, sizeof(length));
    out[4] = 0;
    memset(out + 5, fill, size);
    return size + 5;
}

static void on_receive(void *ctx, uint64_t connection, struct proto_bytes body)
{
    struct fixture *f = ctx;
    f->record.received++;
    f->record.last_size = body.size;
    f->record.last_first_byte = body.size > 0 ? body.data[0] : 0;
    f->record.total_bytes += body.size;
    if (f->record.close_on_receive) {
        connections_close(f->connections, connection, "the test says so");
        assert_int_equal(body.data[body.size - 1], f->record.last_first_byte); /* the body is still there */
    }
    if (f->record.echo) {
        uint8_t frame[PROTO_REQUEST_BODY_BYTES_MAX + 5];
        size_t size = make_frame(frame, f->record.last_first_byte, body.size);
        (void)connections_send(f->connections, connection, frame, size);
    }
}

static void on_bad_frame(void *ctx, uint64_t connection, const char *what)
{
    struct fixture *f = ctx;
    (void)connection;
    f->record.bad++;
    (void)snprintf(f->record.bad_what, sizeof(f->record.bad_what), "%s", what);
}

static int set_up_with(unsigned count_max)
{
    char message[256];
    fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    fixture->now.ms = 1000000;
    assert_int_equal(pipe2(fixture->log_fds, O_NONBLOCK | O_CLOEXEC), 0);
    fixture->logger = (struct logger){.fd = fixture->log_fds[1], .level = LOGGER_DEBUG};
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    const struct connections_options options = {
        .count_max = count_max,
        .request_bytes_max = PROTO_REQUEST_BODY_BYTES_MAX,
        .queue_bytes_max = QUEUE_BYTES,
        .queue_total_bytes_max = 2 * QUEUE_BYTES,
        .idle_timeout_ms = IDLE_MS,
        .frame_timeout_ms = FRAME_MS,
        .drain_timeout_ms = DRAIN_MS,
        .tcp_timeout_ms = 5000,
        .cluster_id = 17,
        .node_id = 3,
    };
    const struct connections_handler handler = {fixture, now_of, on_opened, on_closed, on_receive, on_bad_frame};
    fixture->connections = connections_create(&fixture->loop, &options, &handler, &fixture->logger);
    fixture->listener = listener_open(&fixture->loop, "127.0.0.1:0", message, sizeof(message));
    assert_non_null(fixture->listener);
    assert_true(listener_start(fixture->listener, fixture->connections, &fixture->logger, message, sizeof(message)));
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_with(8);
}

static int set_up_small(void **state)
{
    (void)state;
    return set_up_with(1);
}

static int tear_down(void **state)
{
    (void)state;
    listener_close(fixture->listener);
    connections_close_all(fixture->connections, true);
    connections_write(fixture->connections);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_true(connections_empty(fixture->connections));
    assert_int_equal(fixture->record.opened, fixture->record.closed);
    struct connections_counts counts;
    connections_counts(fixture->connections, &counts);
    assert_int_equal(counts.open, 0);
    assert_int_equal(counts.queued_bytes, 0);
    connections_free(fixture->connections);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    (void)close(fixture->log_fds[0]);
    (void)close(fixture->log_fds[1]);
    free(fixture);
    return 0;
}

/* One turn of a loop: gather, expire, write. */
static void turn(void)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    connections_expire(fixture->connections, fixture->now);
    connections_write(fixture->connections);
}

static uint64_t real_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Take turns until `condition`, and fail if it does not come. */
#define TURN_UNTIL(condition)                                        \
    do {                                                             \
        uint64_t until_ms = real_ms() + 20000;                       \
        while (!(condition)) {                                       \
            turn();                                                  \
            if (real_ms() > until_ms) {                              \
                fail_msg("never came: %s", #condition);              \
            }                                                        \
        }                                                            \
    } while (false)

static int client_connect(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(listener_port(fixture->listener)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int client_open(void)
{
    unsigned before = fixture->record.opened;
    int fd = client_connect();
    TURN_UNTIL(fixture->record.opened == before + 1);
    return fd;
}

static void client_send(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Everything that comes until the end of the stream, taking turns meanwhile. @return the bytes; -1 after a reset. */
static ssize_t client_read_all(int fd, uint8_t *data, size_t size)
{
    size_t used = 0;
    uint64_t end = real_ms() + 20000;
    while (real_ms() < end) {
        ssize_t got = recv(fd, data + used, size - used, 0);
        if (got == 0) {
            return (ssize_t)used;
        }
        if (got < 0 && errno != EAGAIN) {
            return -1;
        }
        used += got > 0 ? (size_t)got : 0;
        turn();
    }
    fail_msg("the stream does not end");
    return -1;
}

/* ---- frames ---- */

static void a_frame_is_handed_on_whole_however_it_arrives(void **state)
{
    uint8_t frames[3 * 105];
    size_t size = 0;
    (void)state;
    int fd = client_open();
    for (uint8_t i = 0; i < 3; i++) {
        size += make_frame(frames + size, (uint8_t)(i + 1), 100);
    }
    /* Byte by byte, then all at once, then cut in the middle of a header. */
    for (size_t i = 0; i < size; i++) {
        client_send(fd, frames + i, 1);
        turn();
    }
    TURN_UNTIL(fixture->record.received == 3);
    assert_int_equal(fixture->record.last_first_byte, 3);
    client_send(fd, frames, size);
    TURN_UNTIL(fixture->record.received == 6);
    client_send(fd, frames, 107);
    TURN_UNTIL(fixture->record.received == 7);
    client_send(fd, frames + 107, size - 107);
    TURN_UNTIL(fixture->record.received == 9);
    assert_int_equal(fixture->record.total_bytes, 900);
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
}

static void the_largest_request_is_taken_and_one_byte_more_is_not(void **state)
{
    static uint8_t frame[PROTO_REQUEST_BODY_BYTES_MAX + 64];
    (void)state;
    int fd = client_open();
    client_send(fd, frame, make_frame(frame, 9, PROTO_REQUEST_BODY_BYTES_MAX));
    TURN_UNTIL(fixture->record.received == 1);
    assert_int_equal(fixture->record.last_size, PROTO_REQUEST_BODY_BYTES_MAX);
    client_send(fd, frame, make_frame(frame, 9, PROTO_REQUEST_BODY_BYTES_MAX + 1));
    TURN_UNTIL(fixture->record.bad == 1);
    assert_int_equal(fixture->record.received, 1);
    uint8_t rest[16];
    assert_int_equal(client_read_all(fd, rest, sizeof(rest)), 0);
    (void)close(fd);
}

static void a_huge_length_is_refused_by_its_four_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t heads[3][4] = {{0xFF, 0xFF, 0xFF, 0xFF}, {0x00, 0x00, 0x00, 0x80}, {0x00, 0x00, 0x00, 0x00}};
        int fd = client_open();
        client_send(fd, heads[i], 4);
        TURN_UNTIL(fixture->record.bad == i + 1);
        assert_non_null(strstr(fixture->record.bad_what, "length"));
        (void)close(fd);
        TURN_UNTIL(fixture->record.closed == i + 1);
    }
}

static void garbage_ends_its_connection_and_no_other(void **state)
{
    (void)state;
    int good = client_open();
    for (unsigned round = 0; round < 200; round++) {
        uint8_t garbage[300];
        uint8_t rest[16];
        unsigned closed = fixture->record.closed;
        int fd = client_open();
        for (size_t i = 0; i < sizeof(garbage); i++) {
            garbage[i] = (uint8_t)rand();
        }
        garbage[4] |= 0x80; /* a flag that does not exist, should the length happen to be one */
        client_send(fd, garbage, sizeof(garbage));
        TURN_UNTIL(fixture->record.bad == round + 1);
        (void)shutdown(fd, SHUT_WR);
        (void)client_read_all(fd, rest, sizeof(rest));
        (void)close(fd);
        TURN_UNTIL(fixture->record.closed == closed + 1);
    }
    uint8_t frame[64];
    unsigned received = fixture->record.received;
    client_send(good, frame, make_frame(frame, 1, 10));
    TURN_UNTIL(fixture->record.received == received + 1);
    (void)close(good);
}

static void a_body_stays_while_it_is_handled_even_if_that_closes(void **state)
{
    uint8_t frame[1000];
    (void)state;
    int fd = client_open();
    fixture->record.close_on_receive = true;
    size_t size = make_frame(frame, 7, 900);
    client_send(fd, frame, 10); /* so that it is held in the connection's own buffer */
    turn();
    turn();
    client_send(fd, frame + 10, size - 10);
    client_send(fd, frame, size); /* never handed on */
    uint8_t rest[16];
    assert_int_equal(client_read_all(fd, rest, sizeof(rest)), 0);
    assert_int_equal(fixture->record.received, 1);
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
}

/* ---- time ---- */

static void an_idle_connection_is_closed_and_one_that_pings_is_not(void **state)
{
    uint8_t frame[64];
    size_t size = make_frame(frame, 1, 10);
    (void)state;
    int idle = client_open();
    int busy = client_open();
    uint64_t busy_number = fixture->record.last_opened;
    uint64_t begin = fixture->now.ms;
    assert_int_equal(connections_deadline(fixture->connections).ms, begin + IDLE_MS);
    fixture->now.ms = begin + IDLE_MS - 1;
    client_send(busy, frame, size);
    TURN_UNTIL(fixture->record.received == 1);
    assert_int_equal(fixture->record.closed, 0);
    fixture->now.ms = begin + IDLE_MS;
    turn();
    assert_int_equal(fixture->record.closed, 1);
    assert_true(fixture->record.last_closed != busy_number);
    assert_int_equal(connections_deadline(fixture->connections).ms, begin + 2 * IDLE_MS - 1);
    (void)close(idle);
    (void)close(busy);
}

/* Bytes that trickle in do not push the deadline of the frame that they belong to. */
static void an_unfinished_frame_has_its_time_however_it_trickles(void **state)
{
    uint8_t frame[64];
    (void)state;
    (void)make_frame(frame, 1, 50);
    int fd = client_open();
    uint64_t begin = fixture->now.ms;
    client_send(fd, frame, 1);
    TURN_UNTIL(connections_deadline(fixture->connections).ms == begin + FRAME_MS);
    for (unsigned i = 1; i < 10; i++) {
        fixture->now.ms = begin + i * FRAME_MS / 10;
        client_send(fd, frame + i, 1);
        turn();
        turn();
        assert_int_equal(connections_deadline(fixture->connections).ms, begin + FRAME_MS);
    }
    fixture->now.ms = begin + FRAME_MS;
    turn();
    assert_int_equal(fixture->record.closed, 1);
    (void)close(fd);
}

static void a_client_that_does_not_close_after_us_is_closed(void **state)
{
    (void)state;
    int fd = client_open();
    connections_close(fixture->connections, fixture->record.last_opened, "the test says so");
    turn();
    assert_int_equal(fixture->record.closed, 0);
    fixture->now.ms += DRAIN_MS;
    turn();
    assert_int_equal(fixture->record.closed, 1);
    (void)close(fd);
}

/* ---- output ---- */

static void what_is_queued_before_a_close_arrives_also_past_unread_input(void **state)
{
    uint8_t frame[1000];
    uint8_t got[2000];
    (void)state;
    int fd = client_open();
    size_t size = make_frame(frame, 5, 900);
    assert_true(connections_send(fixture->connections, fixture->record.last_opened, frame, size));
    connections_close(fixture->connections, fixture->record.last_opened, "the test says so");
    client_send(fd, frame, size); /* a close with this unread would reset the connection and lose the frame */
    assert_false(connections_send(fixture->connections, fixture->record.last_opened, frame, size));
    assert_int_equal(client_read_all(fd, got, sizeof(got)), (ssize_t)size);
    assert_memory_equal(got, frame, size);
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
    assert_int_equal(fixture->record.received, 0);
}

static void a_client_that_does_not_read_is_bounded_and_then_closed(void **state)
{
    static uint8_t frame[16 * 1024];
    size_t size = make_frame(frame, 5, sizeof(frame) - 5);
    struct connections_counts counts;
    unsigned sent = 0;
    (void)state;
    int slow = client_open();
    uint64_t number = fixture->record.last_opened;
    int other = client_open();
    while (connections_send(fixture->connections, number, frame, size)) {
        turn();
        connections_counts(fixture->connections, &counts);
        assert_true(counts.queued_bytes <= QUEUE_BYTES);
        assert_true(++sent < 10000);
    }
    turn();
    assert_int_equal(fixture->record.closed, 1);
    assert_int_equal(fixture->record.last_closed, number);
    assert_true(connections_send(fixture->connections, fixture->record.last_opened, frame, size));
    (void)close(slow);
    (void)close(other);
}

static void nothing_is_read_from_a_client_with_half_its_queue_full(void **state)
{
    static uint8_t frame[16 * 1024];
    static uint8_t sink[4 * 1024 * 1024];
    size_t size = make_frame(frame, 5, sizeof(frame) - 5);
    uint8_t request[32];
    size_t request_size = make_frame(request, 1, 10);
    struct connections_counts counts = {.open = 0};
    (void)state;
    int fd = client_open();
    uint64_t number = fixture->record.last_opened;
    while (counts.queued_bytes <= QUEUE_BYTES / 2) {
        assert_true(connections_send(fixture->connections, number, frame, size));
        turn();
        connections_counts(fixture->connections, &counts);
    }
    client_send(fd, request, request_size);
    for (unsigned i = 0; i < 50; i++) {
        turn();
    }
    assert_int_equal(fixture->record.received, 0);
    uint64_t end = real_ms() + 20000;
    while (fixture->record.received == 0 && real_ms() < end) {
        (void)recv(fd, sink, sizeof(sink), 0);
        turn();
    }
    assert_int_equal(fixture->record.received, 1);
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
}

/* It keeps its connection full for as long as a client may be idle: then it is over. */
static void a_client_that_never_reads_is_closed_after_the_idle_timeout(void **state)
{
    static uint8_t frame[16 * 1024];
    size_t size = make_frame(frame, 5, sizeof(frame) - 5);
    struct connections_counts counts = {.open = 0};
    (void)state;
    int fd = client_open();
    while (counts.queued_bytes <= QUEUE_BYTES / 2) {
        assert_true(connections_send(fixture->connections, fixture->record.last_opened, frame, size));
        turn();
        connections_counts(fixture->connections, &counts);
    }
    client_send(fd, frame, 100);
    fixture->now.ms += FRAME_MS;
    turn();
    assert_int_equal(fixture->record.closed, 0);
    fixture->now.ms += IDLE_MS;
    turn();
    assert_int_equal(fixture->record.closed, 1);
    (void)close(fd);
}

static void all_together_are_bounded_too(void **state)
{
    static uint8_t frame[16 * 1024];
    size_t size = make_frame(frame, 5, sizeof(frame) - 5);
    int fds[6];
    uint64_t numbers[6];
    struct connections_counts counts;
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        fds[i] = client_open();
        numbers[i] = fixture->record.last_opened;
    }
    for (unsigned round = 0; round < 3000; round++) {
        (void)connections_send(fixture->connections, numbers[round % 6], frame, size);
        turn();
        connections_counts(fixture->connections, &counts);
        /* Each may have one frame more under way than what makes it wait. */
        assert_true(counts.queued_bytes <= 2 * QUEUE_BYTES + 6 * size);
    }
    assert_true(fixture->record.closed > 0);
    for (unsigned i = 0; i < 6; i++) {
        (void)close(fds[i]);
    }
}

static void many_pipelined_requests_are_answered_in_order(void **state)
{
    static uint8_t requests[200 * 105];
    static uint8_t answers[200 * 105 + 1];
    size_t size = 0;
    (void)state;
    fixture->record.echo = true;
    int fd = client_open();
    for (unsigned i = 0; i < 200; i++) {
        size += make_frame(requests + size, (uint8_t)i, 100);
    }
    client_send(fd, requests, size);
    size_t used = 0;
    uint64_t end = real_ms() + 20000;
    while (used < size && real_ms() < end) {
        ssize_t got = recv(fd, answers + used, sizeof(answers) - used, 0);
        used += got > 0 ? (size_t)got : 0;
        turn();
    }
    assert_int_equal(used, size);
    assert_memory_equal(answers, requests, size);
    (void)close(fd);
}

/* ---- how many ---- */

static void one_connection_too_many_hears_overloaded(void **state)
{
    uint8_t got[1024];
    struct proto_hello_reply hello;
    struct proto_error error;
    struct proto_bytes body;
    struct proto_buffer scratch;
    size_t taken = 0;
    (void)state;
    int first = client_open();
    int second = client_connect();
    client_send(second, got, make_frame(got, 1, 100)); /* its hello: unread, it would reset the connection */
    ssize_t size = client_read_all(second, got, sizeof(got));
    assert_true(size > 0);
    proto_buffer_init(&scratch, sizeof(got));
    assert_int_equal(proto_frame_take(got, (size_t)size, sizeof(got), &scratch, &body, &taken), PROTO_FRAME_OK);
    assert_int_equal(taken, size);
    assert_true(proto_decode_hello_reply(body, &hello, &error));
    assert_int_equal(hello.status, PROTO_STATUS_OVERLOADED);
    assert_int_equal(hello.cluster_id, 17);
    assert_int_equal(hello.node_id, 3);
    assert_int_equal(fixture->record.opened, 1);
    assert_int_equal(fixture->record.received, 0);
    (void)close(second);
    (void)close(first);
    TURN_UNTIL(fixture->record.closed == 1);
    first = client_open(); /* its place is free again */
    (void)close(first);
    proto_buffer_done(&scratch);
}

static void a_flood_of_connections_holds_a_bounded_number_of_sockets(void **state)
{
    int fds[300];
    struct connections_counts counts;
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        fds[i] = client_connect();
        turn();
    }
    TURN_UNTIL((connections_counts(fixture->connections, &counts), counts.refused == 299));
    assert_int_equal(counts.open, 1);
    assert_int_equal(counts.accepted, 1 + 64);
    fixture->now.ms += DRAIN_MS;
    turn();
    turn();
    TURN_UNTIL((connections_counts(fixture->connections, &counts), counts.closed == 64));
    for (unsigned i = 0; i < 300; i++) {
        (void)close(fds[i]);
    }
}

static void a_number_is_never_used_again(void **state)
{
    uint64_t last = 0;
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        unsigned closed = fixture->record.closed;
        int fd = client_open();
        assert_true(fixture->record.last_opened > last);
        if (last != 0) {
            assert_false(connections_send(fixture->connections, last, "x", 1));
            connections_close(fixture->connections, last, "long gone");
        }
        last = fixture->record.last_opened;
        (void)close(fd);
        TURN_UNTIL(fixture->record.closed == closed + 1);
    }
}

static void closing_all_sends_what_is_queued_first(void **state)
{
    uint8_t frame[1000];
    uint8_t got[2000];
    size_t size = make_frame(frame, 5, 900);
    (void)state;
    int fd = client_open();
    assert_true(connections_send(fixture->connections, fixture->record.last_opened, frame, size));
    connections_close_all(fixture->connections, false);
    assert_int_equal(client_read_all(fd, got, sizeof(got)), (ssize_t)size);
    assert_false(connections_empty(fixture->connections));
    (void)close(fd);
    TURN_UNTIL(connections_empty(fixture->connections));
}

static void a_port_in_use_is_refused_with_advice(void **state)
{
    char message[256];
    char taken[64];
    (void)state;
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", listener_port(fixture->listener));
    assert_null(listener_open(&fixture->loop, taken, message, sizeof(message)));
    assert_non_null(strstr(message, "address already in use: another process listens there"));
    assert_null(listener_open(&fixture->loop, "192.0.2.1:80", message, sizeof(message)));
    assert_non_null(strstr(message, "this machine does not have that address"));
    assert_null(listener_open(&fixture->loop, "no-such-host.invalid:80", message, sizeof(message)));
    assert_non_null(strstr(message, "can not be looked up"));
}

int main(int argc, char **argv)
{
    unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)time(NULL);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_frame_is_handed_on_whole_however_it_arrives),
        TEST(the_largest_request_is_taken_and_one_byte_more_is_not),
        TEST(a_huge_length_is_refused_by_its_four_bytes),
        TEST(garbage_ends_its_connection_and_no_other),
        TEST(a_body_stays_while_it_is_handled_even_if_that_closes),
        TEST(an_idle_connection_is_closed_and_one_that_pings_is_not),
        TEST(an_unfinished_frame_has_its_time_however_it_trickles),
        TEST(a_client_that_does_not_close_after_us_is_closed),
        TEST(what_is_queued_before_a_close_arrives_also_past_unread_input),
        TEST(a_client_that_does_not_read_is_bounded_and_then_closed),
        TEST(nothing_is_read_from_a_client_with_half_its_queue_full),
        TEST(a_client_that_never_reads_is_closed_after_the_idle_timeout),
        TEST(all_together_are_bounded_too),
        TEST(many_pipelined_requests_are_answered_in_order),
        cmocka_unit_test_setup_teardown(one_connection_too_many_hears_overloaded, set_up_small, tear_down),
        cmocka_unit_test_setup_teardown(a_flood_of_connections_holds_a_bounded_number_of_sockets, set_up_small, tear_down),
        TEST(a_number_is_never_used_again),
        TEST(closing_all_sends_what_is_queued_first),
        TEST(a_port_in_use_is_refused_with_advice),
    };
    (void)printf("seed %u; the same run again: %s %u\n", seed, argv[0], seed);
    srand(seed);
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
