/* A real lockstepd of one node: it starts, serves, survives what clients and signals do to it, and stops. */
#include "lockstepd_harness.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "random.h"

static uint64_t seed;

static struct daemon *serve_dev(void)
{
    return daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--log-level=debug", NULL});
}

static void stop(struct daemon *daemon)
{
    daemon_signal(daemon, SIGTERM);
    int code = daemon_wait(daemon);
    if (code != 0) {
        fail_msg("exit code %d:\n%s", code, daemon->log);
    }
    assert_non_null(strstr(daemon_last_line(daemon), "event=stopped"));
}

static void hello_is_answered(const char *address)
{
    struct proto_hello_reply hello;
    struct client *client = client_hello(address, &hello);
    assert_int_equal(hello.status, PROTO_STATUS_OK);
    assert_int_equal(hello.node_id, 1);
    client_free(client);
}

static unsigned entries_in(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count;
}

static void a_dev_node_serves_and_leaves_nothing_behind(void **state)
{
    struct proto_hello_reply hello;
    (void)state;
    struct daemon *daemon = serve_dev();
    struct client *client = client_hello(daemon->listen, &hello);
    assert_int_equal(entries_in(directory), 1); /* the data of --dev, made in the test's TMPDIR */
    client_open_session(client, 10000);
    struct proto_reply reply = client_acquire(client, "k", 0);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    assert_true(reply.body.grant.token > 0);
    assert_int_equal(client_acquire(client, "k", 0).status, PROTO_STATUS_HELD);
    client_free(client);
    stop(daemon);
    assert_int_equal(entries_in(directory), 0);
}

static void a_node_stops_with_clients_connected(void **state)
{
    struct proto_hello_reply hello;
    struct client *clients[20];
    (void)state;
    struct daemon *daemon = serve_dev();
    for (unsigned i = 0; i < 20; i++) {
        clients[i] = client_hello(daemon->listen, &hello);
        clients[i]->secret[0] = (uint8_t)i;
        client_open_session(clients[i], 10000);
        struct proto_request waiting = {
            .kind = PROTO_LOCK_ACQUIRE,
            .body.lock_acquire = {.key = bytes_of("k"), .wait_ms = PROTO_WAIT_FOREVER}};
        (void)client_send(clients[i], &waiting);
    }
    (void)client_reply(clients[0]);
    stop(daemon);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(socket_closed(clients[i]->fd));
        client_free(clients[i]);
    }
}

static void what_was_granted_survives_a_kill(void **state)
{
    struct proto_hello_reply hello;
    char data_dir[128];
    (void)state;
    (void)snprintf(data_dir, sizeof(data_dir), "--data-dir=%s/data", directory);
    const char *const flags[] = {"--dev", "--listen=127.0.0.1:0", data_dir, NULL};
    struct daemon *daemon = daemon_serve(flags);
    struct client *client = client_hello(daemon->listen, &hello);
    client_open_session(client, 60000);
    uint64_t token = client_acquire(client, "k", 0).body.grant.token;
    daemon_signal(daemon, SIGKILL);
    assert_int_equal(daemon_wait(daemon), 128 + SIGKILL);
    client_free(client);

    daemon = daemon_serve(flags);
    client = client_hello(daemon->listen, &hello);
    struct proto_request get = {.kind = PROTO_LOCK_GET, .body.lock_get = {.key = bytes_of("k")}};
    struct proto_reply reply = client_call(client, get);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    assert_int_equal(reply.body.lock.holders_count, 1);
    assert_int_equal(reply.body.lock.holders[0].token, token);
    client_free(client);
    stop(daemon);
}

static void garbage_does_not_disturb_other_clients(void **state)
{
    (void)state;
    struct daemon *daemon = serve_dev();
    for (unsigned round = 0; round < 100; round++) {
        uint8_t garbage[256];
        int fd = socket_connect(daemon->listen);
        for (size_t i = 0; i < sizeof(garbage); i++) {
            garbage[i] = (uint8_t)random_next(&seed);
        }
        if (round % 4 == 1) { /* a frame, but of nothing */
            memcpy(garbage, (const uint8_t[]){250, 0, 0, 0, 0}, 5);
        } else if (round % 4 == 2) { /* a huge length */
            memcpy(garbage, (const uint8_t[]){0xFF, 0xFF, 0xFF, 0x7F, 0}, 5);
        } else if (round % 4 == 3) { /* a compressed frame that is none */
            memcpy(garbage, (const uint8_t[]){250, 0, 0, 0, 1, 0, 16, 0, 0}, 9);
        }
        (void)send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        assert_true(socket_closed(fd));
        (void)close(fd);
    }
    hello_is_answered(daemon->listen);
    stop(daemon);
}

static void a_frame_that_is_never_finished_ends_its_connection(void **state)
{
    (void)state;
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--frame-timeout=200ms", NULL});
    int fd = socket_connect(daemon->listen);
    assert_int_equal(send(fd, (const uint8_t[]){100, 0, 0, 0, 0, 1}, 6, MSG_NOSIGNAL), 6);
    assert_true(socket_closed(fd));
    (void)daemon_event(daemon, "a request was not complete within frame-timeout");
    (void)close(fd);
    stop(daemon);
}

static void a_client_that_says_nothing_is_closed(void **state)
{
    (void)state;
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--hello-timeout=200ms", NULL});
    int fd = socket_connect(daemon->listen);
    assert_true(socket_closed(fd));
    (void)close(fd);
    stop(daemon);
}

static void one_connection_too_many_is_told_so(void **state)
{
    struct proto_hello_reply hello;
    (void)state;
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--connections-max=1", NULL});
    struct client *first = client_hello(daemon->listen, &hello);
    assert_int_equal(hello.status, PROTO_STATUS_OK);
    struct client *second = client_hello(daemon->listen, &hello);
    assert_int_equal(hello.status, PROTO_STATUS_OVERLOADED);
    assert_true(socket_closed(second->fd));
    (void)daemon_event(daemon, "event=connection_refused");
    client_free(second);
    client_free(first);
    stop(daemon);
}

/* They are sent by habit, after logs were rotated. */
static void signals_that_ask_for_a_new_log_are_told_and_ignored(void **state)
{
    (void)state;
    struct daemon *daemon = serve_dev();
    daemon_signal(daemon, SIGHUP);
    (void)daemon_event(daemon, "event=signal_ignored signal=SIGHUP");
    daemon_signal(daemon, SIGUSR1);
    (void)daemon_event(daemon, "event=signal_ignored signal=SIGUSR1");
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_event(daemon, "event=signal_ignored signal=SIGUSR2");
    hello_is_answered(daemon->listen);
    stop(daemon);
}

/* Node `number` of two; how long it leads without having heard of the other is `election_timeout`. */
static struct daemon *serve_one_of_two(unsigned number, const unsigned ports[2], const char *election_timeout)
{
    char text[4][160];
    (void)snprintf(text[0], sizeof(text[0]), "--node-id=%u", number);
    (void)snprintf(text[1], sizeof(text[1]), "--data-dir=%s/data-%u", directory, number);
    (void)snprintf(text[2], sizeof(text[2]), "--peer-listen=127.0.0.1:%u", ports[number - 1]);
    (void)snprintf(text[3], sizeof(text[3]), "--peers=1=127.0.0.1:%u/127.0.0.1:1,2=127.0.0.1:%u/127.0.0.1:2",
                   ports[0], ports[1]);
    return daemon_serve((const char *const[]){"--cluster=c", "--listen=127.0.0.1:0", "--shutdown-timeout=10s",
                                              text[0], text[1], text[2], text[3], election_timeout, NULL});
}

/* The other can not take it, and the leader does not lose it soon: waiting on would be for nothing. */
static void a_leader_that_gave_up_handing_over_ends(void **state)
{
    const unsigned ports[] = {port_free(), port_free()};
    struct proto_hello_reply hello;
    (void)state;
    struct daemon *leader = serve_one_of_two(1, ports, "--election-timeout=60s");
    struct daemon *other = serve_one_of_two(2, ports, "--election-timeout=500ms");
    (void)daemon_event(other, "event=serving");
    struct client *client = client_hello(other->listen, &hello);
    struct proto_request transfer = {.kind = PROTO_CLUSTER_TRANSFER, .body.cluster_transfer = {.node_id = 1}};
    assert_int_equal(client_call(client, transfer).status, PROTO_STATUS_OK);
    client_free(client);
    (void)daemon_event(leader, "event=serving");
    daemon_signal(other, SIGSTOP);
    stop(leader);
    assert_non_null(strstr(leader->log, "event=leadership_kept"));
    assert_null(strstr(leader->log, "event=stopping_slowly"));
    daemon_signal(other, SIGCONT);
    stop(other);
}

static void a_second_signal_ends_it_at_once(void **state)
{
    struct proto_hello_reply hello;
    (void)state;
    struct daemon *daemon = serve_dev();
    struct client *client = client_hello(daemon->listen, &hello); /* does not close: the node waits for it */
    daemon_signal(daemon, SIGTERM);
    (void)daemon_event(daemon, "event=stopping signal=SIGTERM");
    daemon_signal(daemon, SIGTERM);
    assert_int_equal(daemon_wait(daemon), 128 + SIGTERM);
    assert_non_null(strstr(daemon_last_line(daemon), "a second signal"));
    client_free(client);
}

/* The first start of a cluster needs all its nodes; one that waits for them answers hello and can be stopped. */
static void a_node_that_waits_for_the_others_answers_and_stops(void **state)
{
    char peers[256];
    char peer_listen[64];
    char data_dir[128];
    unsigned port = port_free();
    struct proto_hello_reply hello;
    (void)state;
    (void)snprintf(peers, sizeof(peers),
                   "--peers=1=127.0.0.1:%u/127.0.0.1:1,2=127.0.0.1:2/127.0.0.1:4,3=127.0.0.1:3/127.0.0.1:5",
                   port);
    (void)snprintf(peer_listen, sizeof(peer_listen), "--peer-listen=127.0.0.1:%u", port);
    (void)snprintf(data_dir, sizeof(data_dir), "--data-dir=%s/data", directory);
    struct daemon *daemon = daemon_serve((const char *const[]){
        "--node-id=1", "--cluster=c", "--listen=127.0.0.1:0", data_dir, peer_listen, peers, NULL});
    assert_null(strstr(daemon->log, "setting_doubtful")); /* port 0 can not be in peers */
    assert_null(strstr(daemon->log, "the setting peers"));
    struct client *client = client_hello(daemon->listen, &hello);
    assert_int_equal(hello.status, PROTO_STATUS_OK);
    assert_int_equal(hello.leader_id, 0);
    struct proto_request get = {.kind = PROTO_LOCK_GET, .body.lock_get = {.key = bytes_of("k")}};
    (void)client_send(client, &get);
    assert_int_equal(client_reply(client).status, PROTO_STATUS_NOT_LEADER);
    client_free(client);
    stop(daemon);
}

/* peers counts when the directory is fresh, and a correction of it afterwards must not be ignored without a word. */
static void a_node_says_that_a_corrected_list_of_peers_is_not_used(void **state)
{
    char data_dir[128];
    char listens[2][64];
    char peers[2][256];
    (void)state;
    (void)snprintf(data_dir, sizeof(data_dir), "--data-dir=%s/data", directory);
    for (unsigned i = 0; i < 2; i++) {
        unsigned port = port_free();
        (void)snprintf(listens[i], sizeof(listens[i]), "--peer-listen=127.0.0.1:%u", port);
        (void)snprintf(peers[i], sizeof(peers[i]),
                       "--peers=1=127.0.0.1:%u/127.0.0.1:1,2=127.0.0.1:2/127.0.0.1:4", port);
        struct daemon *daemon = daemon_serve((const char *const[]){
            "--node-id=1", "--cluster=c", "--listen=127.0.0.1:0", data_dir, listens[i], peers[i], NULL});
        stop(daemon);
        const char *told =
            strstr(daemon->log,
                   "level=warning event=replica msg=\"the setting peers differs from the list that this");
        assert_true((told != NULL) == (i == 1));
    }
}

static void sigint_stops_it_too(void **state)
{
    (void)state;
    struct daemon *daemon = serve_dev();
    daemon_signal(daemon, SIGINT);
    assert_int_equal(daemon_wait(daemon), 0);
}

/* The lease runs out while the process is stopped, and the renewal that came in time lies unread in its socket. */
static void a_client_that_renewed_in_time_outlives_a_stopped_server(void **state)
{
    enum { TTL_MS = 400, STOPPED_MS = 1500 };
    struct proto_hello_reply hello;
    (void)state;
    /* With so large a step one turn could pass the whole lease: only the look at the sockets before it saves the session. */
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--clock-step-max=1s", NULL});
    struct client *client = client_hello(daemon->listen, &hello);
    client_open_session(client, TTL_MS);
    for (unsigned round = 0; round < 2; round++) {
        struct proto_request renew = {.kind = PROTO_SESSION_RENEW};
        daemon_signal(daemon, SIGSTOP);
        (void)client_send(client, &renew);
        (void)poll(NULL, 0, STOPPED_MS); /* the passing of time is what is tested */
        daemon_signal(daemon, SIGCONT);
        assert_int_equal(client_reply(client).status, PROTO_STATUS_OK);
    }
    client_free(client);
    stop(daemon);
}

static void each_line_of_a_json_log_is_an_object(void **state)
{
    (void)state;
    struct daemon *daemon =
        daemon_start((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--log-format=json", NULL});
    (void)daemon_event(daemon, "\"event\":\"started\"");
    daemon_signal(daemon, SIGTERM);
    assert_int_equal(daemon_wait(daemon), 0);
    for (const char *line = daemon->log; line < daemon->log + daemon->log_size;) {
        const char *newline = strchr(line, '\n');
        assert_non_null(newline);
        assert_memory_equal(line, "{\"ts\":\"", 7);
        assert_int_equal(newline[-1], '}');
        line = newline + 1;
    }
}

int main(int argc, char **argv)
{
    seed = random_begin(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, directory_create, directory_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_dev_node_serves_and_leaves_nothing_behind),
        TEST(a_node_stops_with_clients_connected),
        TEST(what_was_granted_survives_a_kill),
        TEST(garbage_does_not_disturb_other_clients),
        TEST(a_frame_that_is_never_finished_ends_its_connection),
        TEST(a_client_that_says_nothing_is_closed),
        TEST(one_connection_too_many_is_told_so),
        TEST(signals_that_ask_for_a_new_log_are_told_and_ignored),
        TEST(a_leader_that_gave_up_handing_over_ends),
        TEST(a_second_signal_ends_it_at_once),
        TEST(a_node_that_waits_for_the_others_answers_and_stops),
        TEST(a_node_says_that_a_corrected_list_of_peers_is_not_used),
        TEST(sigint_stops_it_too),
        TEST(a_client_that_renewed_in_time_outlives_a_stopped_server),
        TEST(each_line_of_a_json_log_is_an_object),
    };
    return cmocka_run_group_tests_name("lockstepd", tests, NULL, NULL);
}
