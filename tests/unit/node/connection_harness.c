/* See connection_harness.h. */
#include "connection_harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct fixture *fixture;

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

size_t make_frame(uint8_t *out, uint8_t fill, size_t size)
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
        .tcp_timeout_ms = TCP_TIMEOUT_MS,
        .cluster_id = 17,
        .node_id = 3,
    };
    const struct connections_handler handler = {fixture,   now_of,     on_opened,
                                                on_closed, on_receive, on_bad_frame};
    fixture->connections = connections_create(&fixture->loop, &options, &handler, &fixture->logger);
    fixture->listener = listener_open(&fixture->loop, "127.0.0.1:0", message, sizeof(message));
    assert_non_null(fixture->listener);
    assert_true(
        listener_start(fixture->listener, fixture->connections, &fixture->logger, message, sizeof(message)));
    return 0;
}

int set_up(void **state)
{
    (void)state;
    return set_up_with(8);
}

int set_up_small(void **state)
{
    (void)state;
    return set_up_with(1);
}

int tear_down(void **state)
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

void turn(void)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    connections_expire(fixture->connections, fixture->now);
    connections_write(fixture->connections);
}

uint64_t real_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

int client_connect(void)
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

int client_open(void)
{
    unsigned before = fixture->record.opened;
    int fd = client_connect();
    TURN_UNTIL(fixture->record.opened == before + 1);
    return fd;
}

void client_send(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

ssize_t client_read_all(int fd, uint8_t *data, size_t size)
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
