/* What bounds connections: bytes queued for a client that does not read, for all of them, and how many there are. */
#include "connection_harness.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/decode.h"
#include "protocol/frame.h"

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
    assert_true(connections_is_paused(fixture->connections, number));
    uint64_t end = real_ms() + 20000;
    while (fixture->record.received == 0 && real_ms() < end) {
        (void)recv(fd, sink, sizeof(sink), 0);
        turn();
    }
    assert_int_equal(fixture->record.received, 1);
    assert_false(connections_is_paused(fixture->connections, number));
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
    assert_false(connections_is_paused(fixture->connections, number));
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
    assert_int_equal(proto_frame_take(got, (size_t)size, sizeof(got), &scratch, &body, &taken),
                     PROTO_FRAME_OK);
    assert_int_equal(taken, size);
    assert_true(proto_decode_hello_reply(body, &hello, &error));
    assert_int_equal(hello.status, PROTO_STATUS_OVERLOADED);
    assert_int_equal(hello.version, 0); /* of a refusal */
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

int main(void)
{
#define TEST(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define SMALL(name) cmocka_unit_test_setup_teardown(name, set_up_small, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_queued_before_a_close_arrives_also_past_unread_input),
        TEST(a_client_that_does_not_read_is_bounded_and_then_closed),
        TEST(nothing_is_read_from_a_client_with_half_its_queue_full),
        TEST(a_client_that_never_reads_is_closed_after_the_idle_timeout),
        TEST(all_together_are_bounded_too),
        TEST(many_pipelined_requests_are_answered_in_order),
        SMALL(one_connection_too_many_hears_overloaded),
        SMALL(a_flood_of_connections_holds_a_bounded_number_of_sockets),
        TEST(a_number_is_never_used_again),
        TEST(closing_all_sends_what_is_queued_first),
        TEST(a_port_in_use_is_refused_with_advice),
    };
    return cmocka_run_group_tests_name("connection_limits", tests, NULL, NULL);
}
