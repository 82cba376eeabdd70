/* The real link, on loopback: whole frames in order, bytes sent in place and released once, bounded queues, reconnects,
 * refused hellos. The loop runs until what is awaited has happened; a watchdog timer fails a test that waits in vain. */
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/replica/peer_internal.h"

enum { CLUSTER = 77, USER_TIMEOUT_MS = 1234, DESCRIPTORS_MAX = 1024 };

struct end {
    struct link *link;
    uint64_t id;
    unsigned ups, downs, gones, frames, logs;
    uint64_t last_from;
    uint64_t next_number; /* frames carry a count; they must come without a gap */
    size_t bytes;
    bool refuse_next;
    char last_log[400];
    bool closed;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct end a, b;
};

static unsigned released;

static void count_release(void *owner)
{
    assert_non_null(owner);
    released++;
}

static void on_up(void *ctx, uint64_t peer_id)
{
    (void)peer_id;
    ((struct end *)ctx)->ups++;
}

static void on_down(void *ctx, uint64_t peer_id)
{
    (void)peer_id;
    ((struct end *)ctx)->downs++;
}

static void on_gone(void *ctx, uint64_t peer_id)
{
    (void)peer_id;
    ((struct end *)ctx)->gones++;
}

static bool on_receive(void *ctx, uint64_t peer_id, const void *data, size_t size)
{
    struct end *end = ctx;
    uint64_t number = 0;
    end->frames++;
    end->bytes += size;
    end->last_from = peer_id;
    if (size >= sizeof number) {
        memcpy(&number, data, sizeof number);
        assert_int_equal(number, end->next_number);
        end->next_number++;
    }
    bool fine = !end->refuse_next;
    end->refuse_next = false;
    return fine;
}

static void on_log(void *ctx, enum logger_level level, const char *message)
{
    struct end *end = ctx;
    (void)level;
    end->logs++;
    (void)snprintf(end->last_log, sizeof end->last_log, "%s", message);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "what this test waits for did not come\n");
    abort();
}

static struct link *open_link(struct fixture *fixture, struct end *end, uint64_t cluster_id, size_t queue_bytes_max)
{
    char message[256] = "";
    struct peer_options options = {
        .cluster_id = cluster_id,
        .node_id = end->id,
        .listen_address = "127.0.0.1:0",
        .queue_bytes_max = queue_bytes_max,
        .user_timeout_ms = USER_TIMEOUT_MS,
    };
    struct peer_callbacks callbacks = {end, on_up, on_down, on_receive, on_log, on_gone};
    struct link *link = peer_link_open(&fixture->loop, &options, &callbacks, message, sizeof message);
    if (link == NULL) {
        fail_msg("%s", message);
    }
    link->release = count_release;
    return link;
}

static void point_at(struct link *from, uint64_t peer_id, const struct link *to)
{
    char address[64];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peer_link_port(to));
    from->ops->set_peer(from, peer_id, address);
}

static void on_closed(void *ctx)
{
    ((struct end *)ctx)->closed = true;
}

static void close_end(struct fixture *fixture, struct end *end)
{
    end->closed = false;
    peer_link_close(end->link, on_closed, end);
    while (!end->closed) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    end->link = NULL;
}

/* The watchdog's time is real, and long: it only ends what would never end. */
static void open_pair(struct fixture *fixture, size_t queue_bytes_max, uint64_t cluster_of_b)
{
    memset(fixture, 0, sizeof *fixture);
    released = 0;
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(uv_timer_init(&fixture->loop, &fixture->watchdog), 0);
    assert_int_equal(uv_timer_start(&fixture->watchdog, on_watchdog, 40000, 0), 0);
    fixture->a.id = 1;
    fixture->b.id = 2;
    fixture->a.link = open_link(fixture, &fixture->a, CLUSTER, queue_bytes_max);
    fixture->b.link = open_link(fixture, &fixture->b, cluster_of_b, queue_bytes_max);
    point_at(fixture->a.link, 2, fixture->b.link);
    point_at(fixture->b.link, 1, fixture->a.link);
}

static void close_pair(struct fixture *fixture)
{
    if (fixture->a.link != NULL) {
        close_end(fixture, &fixture->a);
    }
    if (fixture->b.link != NULL) {
        close_end(fixture, &fixture->b);
    }
    uv_close((uv_handle_t *)&fixture->watchdog, NULL);
    while (uv_run(&fixture->loop, UV_RUN_ONCE) != 0) {
    }
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

#define RUN_UNTIL(fixture, condition)                           \
    while (!(condition)) {                                      \
        (void)uv_run(&(fixture)->loop, UV_RUN_ONCE);            \
    }

static bool send_number(struct link *link, uint64_t to, uint64_t number, const void *body, size_t size)
{
    static int owner;
    struct link_part parts[3] = {
        {.data = &number, .size = sizeof number},
        {.data = body, .size = size, .owner = &owner},
        {.data = "end", .size = 3},
    };
    return link->ops->send(link, to, parts, 3);
}

static void frames_arrive_whole_and_in_order(void **state)
{
    struct fixture fixture;
    static uint8_t body[300000];
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    size_t bytes = 0;
    for (uint64_t i = 0; i < 200; i++) {
        size_t size = i % 7 == 0 ? sizeof body : 10 + (size_t)i;
        assert_true(send_number(fixture.a.link, 2, i, body, size));
        bytes += size + 8 + 3;
    }
    RUN_UNTIL(&fixture, fixture.b.frames == 200);
    assert_int_equal(fixture.b.bytes, bytes);
    assert_int_equal(fixture.b.last_from, 1);
    assert_int_equal(released, 200);
    assert_int_equal(fixture.a.link->ops->queued_bytes(fixture.a.link, 2), 0);
    assert_int_equal(fixture.a.downs, 0);
    close_pair(&fixture);
}

/* Of all connected sockets of this process, which has both ends of both streams. */
static void the_kernel_is_told_how_long_to_try_and_not_to_wait_for_more(void **state)
{
    struct fixture fixture;
    unsigned found = 0;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        struct sockaddr_in peer = {0};
        unsigned timeout_ms = 0;
        int nodelay = 0;
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 || peer.sin_family != AF_INET) {
            continue;
        }
        size = sizeof timeout_ms;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size), 0);
        assert_int_equal(timeout_ms, USER_TIMEOUT_MS);
        size = sizeof nodelay;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
        assert_int_not_equal(nodelay, 0);
        found++;
    }
    assert_int_equal(found, 4);
    close_pair(&fixture);
}

static void a_frame_of_the_greatest_size_passes(void **state)
{
    struct fixture fixture;
    static uint8_t body[LINK_FRAME_BYTES_MAX - 11];
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1);
    assert_true(send_number(fixture.a.link, 2, 0, body, sizeof body));
    assert_true(send_number(fixture.a.link, 2, 1, body, 1));
    RUN_UNTIL(&fixture, fixture.b.frames == 2);
    close_pair(&fixture);
}

static void without_a_stream_a_frame_is_dropped_and_its_bytes_released(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    assert_false(send_number(fixture.a.link, 2, 0, "x", 1));
    assert_false(send_number(fixture.a.link, 9, 0, "x", 1)); /* nobody */
    assert_int_equal(released, 2);
    close_pair(&fixture);
}

/* The receiving end lives on the same loop, which does not run: nothing is read, so the queue must fill and refuse. */
static void a_reader_that_does_not_read_bounds_the_queue(void **state)
{
    struct fixture fixture;
    static uint8_t body[100000];
    unsigned sent = 0, refused = 0;
    (void)state;
    open_pair(&fixture, 1024 * 1024, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    for (unsigned i = 0; i < 100; i++) {
        if (send_number(fixture.a.link, 2, sent, body, sizeof body)) {
            sent++;
        } else {
            refused++;
        }
        assert_true(fixture.a.link->ops->queued_bytes(fixture.a.link, 2) <= 1024 * 1024);
    }
    assert_int_equal(sent, 10);
    assert_int_equal(released, refused);
    RUN_UNTIL(&fixture, fixture.b.frames == sent);
    assert_int_equal(released, 100);
    assert_true(send_number(fixture.a.link, 2, sent, body, sizeof body)); /* and there is room again */
    RUN_UNTIL(&fixture, fixture.b.frames == sent + 1);
    close_pair(&fixture);
}

static void a_lost_stream_is_told_and_opened_again(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    assert_true(send_number(fixture.a.link, 2, 0, "x", 1));
    fixture.b.refuse_next = true; /* b closes the stream on the first frame */
    RUN_UNTIL(&fixture, fixture.a.downs == 1);
    assert_int_equal(fixture.b.frames, 1);
    assert_non_null(strstr(fixture.a.last_log, "node 2: it closed the connection: at 127.0.0.1:"));
    RUN_UNTIL(&fixture, fixture.a.ups == 2);
    assert_true(send_number(fixture.a.link, 2, 1, "y", 1));
    RUN_UNTIL(&fixture, fixture.b.frames == 2);
    assert_int_equal(fixture.b.downs, 0); /* b's own stream is another one */
    assert_int_equal(fixture.a.gones, 0); /* and b is there */
    close_pair(&fixture);
}

static void run_for(struct fixture *fixture, uint64_t ms)
{
    uv_update_time(&fixture->loop);
    uint64_t until = uv_now(&fixture->loop) + ms;
    RUN_UNTIL(fixture, uv_now(&fixture->loop) >= until); /* attempts to connect wake it */
}

/* Both streams end, and the address refuses: gone, at once and once, however many attempts follow. */
static void a_process_that_has_ended_is_told_once(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    close_end(&fixture, &fixture.b);
    RUN_UNTIL(&fixture, fixture.a.gones == 1);
    assert_int_equal(fixture.a.downs, 1);
    run_for(&fixture, 1500);
    assert_int_equal(fixture.a.gones, 1);
    close_pair(&fixture);
}

/* The port refuses from now on, and the process is there. */
static void stop_listening(struct link *link)
{
    int listener, other = open("/dev/null", O_RDONLY);
    assert_true(other >= 0);
    assert_int_equal(uv_fileno((uv_handle_t *)&((struct peer_link *)link)->listener, &listener), 0);
    assert_int_equal(dup2(other, listener), listener);
    assert_int_equal(close(other), 0);
}

/* Whoever refuses connections: while one of its streams is open, that process is there. */
static void a_process_with_an_open_stream_is_not_gone(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    stop_listening(fixture.b.link);
    assert_true(send_number(fixture.a.link, 2, 0, "x", 1));
    fixture.b.refuse_next = true; /* b closes a's stream on the first frame, and keeps its own */
    RUN_UNTIL(&fixture, fixture.a.downs == 1);
    run_for(&fixture, 1000);
    assert_int_equal(fixture.a.ups, 1);
    assert_int_equal(fixture.a.gones, 0);
    close_end(&fixture, &fixture.b);
    RUN_UNTIL(&fixture, fixture.a.gones == 1);
    close_pair(&fixture);
}

static void a_peer_that_comes_back_elsewhere_is_reached(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    close_end(&fixture, &fixture.b);
    RUN_UNTIL(&fixture, fixture.a.downs == 1);
    assert_false(send_number(fixture.a.link, 2, 0, "x", 1));
    fixture.b.link = open_link(&fixture, &fixture.b, CLUSTER, 0);
    point_at(fixture.b.link, 1, fixture.a.link);
    point_at(fixture.a.link, 2, fixture.b.link);
    RUN_UNTIL(&fixture, fixture.a.ups == 2);
    assert_true(send_number(fixture.a.link, 2, 0, "x", 1));
    RUN_UNTIL(&fixture, fixture.b.frames == 1);
    close_pair(&fixture);
}

static void a_node_of_another_cluster_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER + 1);
    RUN_UNTIL(&fixture, fixture.a.logs > 0 && fixture.b.logs > 0);
    assert_non_null(strstr(fixture.a.last_log, "another cluster"));
    unsigned logs = fixture.a.logs;
    uv_update_time(&fixture.loop);
    uint64_t until = uv_now(&fixture.loop) + 1500; /* some more attempts, and not a line more of each reason */
    RUN_UNTIL(&fixture, uv_now(&fixture.loop) >= until);
    assert_int_equal(fixture.a.ups, 0);
    assert_true(fixture.a.logs <= logs + 1);
    close_pair(&fixture);
}

static void a_node_that_is_no_member_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    fixture.b.link->ops->set_peer(fixture.b.link, 1, NULL); /* b forgets a */
    RUN_UNTIL(&fixture, fixture.b.logs > 0);
    assert_non_null(strstr(fixture.b.last_log, "no member"));
    assert_int_equal(fixture.a.ups, 0);
    close_pair(&fixture);
}

static void send_short(struct link *link, uint64_t to)
{
    struct link_part part = {.data = "short", .size = 5}; /* without a number */
    assert_true(link->ops->send(link, to, &part, 1));
}

/* Two that talk to each other, and another process under a's id that begins to. */
static void open_pair_and_copy(struct fixture *fixture, struct end *copy)
{
    open_pair(fixture, 0, CLUSTER);
    RUN_UNTIL(fixture, fixture->a.ups == 1 && fixture->b.ups == 1);
    send_short(fixture->a.link, 2);
    RUN_UNTIL(fixture, fixture->b.frames == 1);
    copy->link = open_link(fixture, copy, CLUSTER, 0);
    point_at(copy->link, 2, fixture->b.link);
}

/* P4: another process under a's id, whose first frame is refused each time, as the introduction of another directory is. It tries
 * again, and not without a pause. */
static void who_is_refused_under_a_peers_id_takes_nothing_from_that_peer(void **state)
{
    struct fixture fixture;
    struct end copy = {.id = 1};
    (void)state;
    open_pair_and_copy(&fixture, &copy);
    uv_update_time(&fixture.loop);
    uint64_t begin = uv_now(&fixture.loop);
    for (unsigned i = 1; i <= 10; i++) {
        RUN_UNTIL(&fixture, copy.ups == i);
        fixture.b.refuse_next = true;
        send_short(copy.link, 2);
        RUN_UNTIL(&fixture, copy.downs == i);
        send_short(fixture.a.link, 2);
        RUN_UNTIL(&fixture, fixture.b.frames == 1 + 2 * i);
    }
    assert_int_equal(fixture.a.ups, 1);
    assert_int_equal(fixture.a.downs, 0);
    assert_true(uv_now(&fixture.loop) - begin >= (10 - 1 - PEER_AGAIN_MAX) * PEER_RETRY_MS_MIN);
    close_end(&fixture, &copy);
    close_pair(&fixture);
}

/* P1 */
static void the_newer_stream_of_a_peer_takes_over_with_its_first_frame(void **state)
{
    struct fixture fixture;
    struct end copy = {.id = 1};
    (void)state;
    open_pair_and_copy(&fixture, &copy);
    RUN_UNTIL(&fixture, copy.ups == 1);
    assert_int_equal(fixture.a.downs, 0);
    send_short(copy.link, 2);
    RUN_UNTIL(&fixture, fixture.a.downs == 1);
    assert_int_equal(fixture.b.frames, 2);
    assert_int_equal(copy.downs, 0);
    close_end(&fixture, &copy);
    close_pair(&fixture);
}

/* Raw bytes to the listener: neither garbage nor a frame that is too long may do more than close its stream. */
struct intruder {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uint8_t bytes[64];
    size_t size;
    bool ended;
};

static void intruder_closed(uv_handle_t *handle)
{
    ((struct intruder *)handle->data)->ended = true;
}

static void intruder_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[256];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void intruder_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    (void)buf;
    if (size < 0) {
        uv_close((uv_handle_t *)stream, intruder_closed);
    }
}

static void intruder_connected(uv_connect_t *connect, int status)
{
    struct intruder *intruder = connect->data;
    assert_int_equal(status, 0);
    uv_buf_t buf = uv_buf_init((char *)intruder->bytes, (unsigned)intruder->size);
    assert_int_equal(uv_try_write((uv_stream_t *)&intruder->tcp, &buf, 1), (int)intruder->size);
    assert_int_equal(uv_read_start((uv_stream_t *)&intruder->tcp, intruder_alloc, intruder_read), 0);
}

static void intrude(struct fixture *fixture, const void *bytes, size_t size)
{
    struct intruder intruder = {.size = size};
    struct sockaddr_in address;
    memcpy(intruder.bytes, bytes, size);
    assert_int_equal(uv_ip4_addr("127.0.0.1", peer_link_port(fixture->b.link), &address), 0);
    assert_int_equal(uv_tcp_init(&fixture->loop, &intruder.tcp), 0);
    intruder.tcp.data = intruder.connect.data = &intruder;
    assert_int_equal(uv_tcp_connect(&intruder.connect, &intruder.tcp, (struct sockaddr *)&address, intruder_connected), 0);
    RUN_UNTIL(fixture, intruder.ended);
}

static void bytes_that_are_no_hello_close_their_stream_only(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    intrude(&fixture, "GET / HTTP/1.1\r\nHost: lockstep.example\r\n\r\n", 43);
    assert_non_null(strstr(fixture.b.last_log, "LSPEER"));
    assert_int_equal(fixture.a.downs + fixture.b.downs, 0);
    close_pair(&fixture);
}

static void a_length_beyond_the_limit_closes_its_stream(void **state)
{
    struct fixture fixture;
    (void)state;
    uint8_t bytes[33 + 4] = "LSPEER\1\0";
    bytes[8] = CLUSTER;
    bytes[16] = 1; /* a's id, */
    bytes[24] = 2; /* looking for b */
    memset(bytes + 33, 0xff, 4);
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    intrude(&fixture, bytes, sizeof bytes);
    assert_non_null(strstr(fixture.b.last_log, "too long"));
    RUN_UNTIL(&fixture, fixture.a.downs == 1); /* nothing had come on a's own: the newer hello replaced it */
    RUN_UNTIL(&fixture, fixture.a.ups == 2);
    close_pair(&fixture);
}

static void strangers_share_one_line_whatever_they_say_they_are(void **state)
{
    struct fixture fixture;
    (void)state;
    uint8_t bytes[33] = "LSPEER\1\0";
    bytes[8] = CLUSTER;
    bytes[24] = 2; /* looking for b */
    open_pair(&fixture, 0, CLUSTER);
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    unsigned logs = fixture.b.logs;
    for (uint8_t id = 100; id < 200; id++) {
        bytes[16] = id;
        intrude(&fixture, bytes, sizeof bytes);
        assert_non_null(strstr(fixture.b.last_log,
                               "no member of this cluster has its node id: it says that it is node 100"));
    }
    assert_int_equal(fixture.b.logs, logs + 1);
    close_pair(&fixture);
}

static void an_address_in_use_is_told(void **state)
{
    struct fixture fixture;
    char address[64], message[256] = "";
    (void)state;
    open_pair(&fixture, 0, CLUSTER);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", peer_link_port(fixture.a.link));
    struct peer_options options = {.cluster_id = CLUSTER, .node_id = 3, .listen_address = address};
    struct peer_callbacks callbacks = {&fixture.a, on_up, on_down, on_receive, on_log, on_gone};
    assert_null(peer_link_open(&fixture.loop, &options, &callbacks, message, sizeof message));
    assert_non_null(strstr(message, address));
    close_pair(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_whole_and_in_order),
        cmocka_unit_test(the_kernel_is_told_how_long_to_try_and_not_to_wait_for_more),
        cmocka_unit_test(a_frame_of_the_greatest_size_passes),
        cmocka_unit_test(without_a_stream_a_frame_is_dropped_and_its_bytes_released),
        cmocka_unit_test(a_reader_that_does_not_read_bounds_the_queue),
        cmocka_unit_test(a_lost_stream_is_told_and_opened_again),
        cmocka_unit_test(a_process_that_has_ended_is_told_once),
        cmocka_unit_test(a_process_with_an_open_stream_is_not_gone),
        cmocka_unit_test(a_peer_that_comes_back_elsewhere_is_reached),
        cmocka_unit_test(a_node_of_another_cluster_is_refused),
        cmocka_unit_test(a_node_that_is_no_member_is_refused),
        cmocka_unit_test(who_is_refused_under_a_peers_id_takes_nothing_from_that_peer),
        cmocka_unit_test(the_newer_stream_of_a_peer_takes_over_with_its_first_frame),
        cmocka_unit_test(bytes_that_are_no_hello_close_their_stream_only),
        cmocka_unit_test(a_length_beyond_the_limit_closes_its_stream),
        cmocka_unit_test(strangers_share_one_line_whatever_they_say_they_are),
        cmocka_unit_test(an_address_in_use_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
