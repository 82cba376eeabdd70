/* Sockets of clients, over loopback, against a handler that only records: frames in, however they arrive, and an end for
 * every client that does nothing. */
#include "connection_harness.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "random.h"

enum { DESCRIPTORS_MAX = 1024 };

static uint64_t seed;

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
        static const uint8_t heads[3][4] = {
            {0xFF, 0xFF, 0xFF, 0xFF}, {0x00, 0x00, 0x00, 0x80}, {0x00, 0x00, 0x00, 0x00}};
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
            garbage[i] = (uint8_t)random_next(&seed);
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

/* The other end of `fd` in this process. */
static int other_end(int fd)
{
    struct sockaddr_in name = {0};
    socklen_t size = sizeof(name);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    for (int other = 0; other < DESCRIPTORS_MAX; other++) {
        struct sockaddr_in peer = {0};
        size = sizeof(peer);
        if (getpeername(other, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == name.sin_port) {
            return other;
        }
    }
    fail_msg("nobody in this process is connected to it");
    return -1;
}

/* Without the one a partition that heals is noticed only after TCP's back-off, without the other each answer may be late. */
static void the_kernel_is_told_how_long_to_try_and_not_to_wait_for_more(void **state)
{
    unsigned timeout_ms = 0;
    int nodelay = 0;
    socklen_t size = sizeof(timeout_ms);
    (void)state;
    int fd = client_open();
    int accepted = other_end(fd);
    assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size), 0);
    assert_int_equal(timeout_ms, TCP_TIMEOUT_MS);
    size = sizeof(nodelay);
    assert_int_equal(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
    assert_int_not_equal(nodelay, 0);
    (void)close(fd);
    TURN_UNTIL(fixture->record.closed == 1);
}

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

int main(int argc, char **argv)
{
    seed = random_begin(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_frame_is_handed_on_whole_however_it_arrives),
        TEST(the_largest_request_is_taken_and_one_byte_more_is_not),
        TEST(a_huge_length_is_refused_by_its_four_bytes),
        TEST(garbage_ends_its_connection_and_no_other),
        TEST(a_body_stays_while_it_is_handled_even_if_that_closes),
        TEST(the_kernel_is_told_how_long_to_try_and_not_to_wait_for_more),
        TEST(an_idle_connection_is_closed_and_one_that_pings_is_not),
        TEST(an_unfinished_frame_has_its_time_however_it_trickles),
        TEST(a_client_that_does_not_close_after_us_is_closed),
    };
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
