/* See lockstepd_harness.h. */
#include "lockstepd_harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/temporary.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

enum { PATIENCE_MS = 20000, DAEMONS_MAX = 8, ENVIRONMENT_MAX = 256, FRAME_BYTES_MAX = 2 * 1024 * 1024 };

char directory[64];

static struct daemon *daemons[DAEMONS_MAX];
static unsigned daemons_count;

uint64_t real_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

int directory_create(void **state)
{
    (void)state;
    daemons_count = 0;
    (void)snprintf(directory, sizeof(directory), "/tmp/lockstepd-test-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

int directory_remove(void **state)
{
    (void)state;
    for (unsigned i = 0; i < daemons_count; i++) {
        if (daemons[i]->pid != 0) {
            daemon_signal(daemons[i], SIGKILL);
            (void)daemon_wait(daemons[i]);
        }
        (void)close(daemons[i]->log_fd);
        free(daemons[i]);
    }
    return temporary_directory_remove(directory) ? 0 : -1;
}

/* ---- processes ---- */

/* Our own environment (the sanitizers' options) with `temporary` in place of TMPDIR, and of the settings of
 * lockstepd only that it checks its whole state after every entry. */
static void environment_make(char *temporary, char *ret_environment[ENVIRONMENT_MAX + 3])
{
    static char check[] = "LOCKSTEPD_CHECK_INVARIANTS=always";
    unsigned count = 0;
    ret_environment[count++] = temporary;
    ret_environment[count++] = check;
    for (char **variable = environ; *variable != NULL && count <= ENVIRONMENT_MAX + 1; variable++) {
        if (strncmp(*variable, "TMPDIR=", 7) != 0 && strncmp(*variable, "LOCKSTEPD_", 10) != 0) {
            ret_environment[count++] = *variable;
        }
    }
    ret_environment[count] = NULL;
}

struct daemon *daemon_start(const char *const *flags)
{
    char program[512];
    char temporary[96];
    char *argv[FLAGS_MAX + 2] = {program};
    char *environment[ENVIRONMENT_MAX + 3];
    const char *binaries = getenv("LOCKSTEP_BINARY_DIR");
    posix_spawn_file_actions_t actions;
    int fds[2];
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    assert_non_null(daemon);
    assert_true(daemons_count < DAEMONS_MAX);
    (void)snprintf(program, sizeof(program), "%s/bin/lockstepd", binaries != NULL ? binaries : ".");
    (void)snprintf(temporary, sizeof(temporary), "TMPDIR=%s", directory);
    environment_make(temporary, environment);
    for (unsigned i = 0; flags[i] != NULL; i++) {
        assert_true(i < FLAGS_MAX);
        argv[i + 1] = strdup(flags[i]);
        assert_non_null(argv[i + 1]);
    }
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0), 0);
    assert_int_equal(posix_spawn(&daemon->pid, program, &actions, NULL, argv, environment), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(fds[1]);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    daemon->log_fd = fds[0];
    daemons[daemons_count++] = daemon;
    for (unsigned i = 1; argv[i] != NULL; i++) {
        free(argv[i]);
    }
    return daemon;
}

/* Read more of the log. @return false at its end. */
static bool log_read(struct daemon *daemon, int wait_ms)
{
    struct pollfd pollfd = {.fd = daemon->log_fd, .events = POLLIN};
    assert_true(daemon->log_size < LOG_BYTES_MAX - 1);
    (void)poll(&pollfd, 1, wait_ms);
    ssize_t size = read(daemon->log_fd, daemon->log + daemon->log_size, LOG_BYTES_MAX - 1 - daemon->log_size);
    daemon->log_size += size > 0 ? (size_t)size : 0;
    daemon->log[daemon->log_size] = '\0';
    return size != 0;
}

const char *daemon_event(struct daemon *daemon, const char *text)
{
    static char line[8192];
    uint64_t end = real_ms() + PATIENCE_MS;
    for (;;) {
        char *begin = daemon->log + daemon->log_seen;
        char *newline = strchr(begin, '\n');
        if (newline != NULL) {
            size_t size =
                (size_t)(newline - begin) < sizeof(line) - 1 ? (size_t)(newline - begin) : sizeof(line) - 1;
            memcpy(line, begin, size);
            line[size] = '\0';
            daemon->log_seen = (size_t)(newline + 1 - daemon->log);
            if (strstr(line, text) != NULL) {
                return line;
            }
        } else if (!log_read(daemon, 100) || real_ms() > end) {
            fail_msg("\"%s\" was never logged:\n%s", text, daemon->log);
        }
    }
}

struct daemon *daemon_serve(const char *const *flags)
{
    struct daemon *daemon = daemon_start(flags);
    const char *listen = strstr(daemon_event(daemon, "event=started"), " listen=");
    assert_non_null(listen);
    listen += strlen(" listen=");
    (void)snprintf(daemon->listen, sizeof(daemon->listen), "%.*s", (int)strcspn(listen, " "), listen);
    return daemon;
}

void daemon_signal(struct daemon *daemon, int number)
{
    assert_true(daemon->pid > 0);
    assert_int_equal(kill(daemon->pid, number), 0);
}

int daemon_wait(struct daemon *daemon)
{
    uint64_t end = real_ms() + PATIENCE_MS;
    int status = 0;
    while (log_read(daemon, 100)) {
        if (real_ms() > end) {
            daemon_signal(daemon, SIGKILL);
            end = UINT64_MAX;
        }
    }
    assert_int_equal(waitpid(daemon->pid, &status, 0), daemon->pid);
    daemon->pid = 0;
    if (end == UINT64_MAX) {
        fail_msg("it did not end:\n%s", daemon->log);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *daemon_last_line(struct daemon *daemon)
{
    char *end = daemon->log + daemon->log_size;
    while (end > daemon->log && end[-1] == '\n') {
        *--end = '\0';
        daemon->log_size--;
    }
    char *newline = strrchr(daemon->log, '\n');
    return newline != NULL ? newline + 1 : daemon->log;
}

void assert_exit(const char *const *flags, int code, const char *last_line_part)
{
    struct daemon *daemon = daemon_start(flags);
    int actual = daemon_wait(daemon);
    if (actual != code || strstr(daemon_last_line(daemon), last_line_part) == NULL) {
        fail_msg("exit code %d; expected %d and \"%s\" in the last line of:\n%s", actual, code,
                 last_line_part, daemon->log);
    }
}

/* ---- a client ---- */

struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

unsigned port_free(void)
{
    struct sockaddr_in sockaddr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(sockaddr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sockaddr, sizeof(sockaddr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sockaddr, &size), 0);
    (void)close(fd);
    return ntohs(sockaddr.sin_port);
}

int socket_connect(const char *address)
{
    struct sockaddr_in sockaddr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *colon = strrchr(address, ':');
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_non_null(colon);
    sockaddr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    assert_int_equal(connect(fd, (const struct sockaddr *)&sockaddr, sizeof(sockaddr)), 0);
    return fd;
}

bool socket_closed(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    uint64_t end = real_ms() + PATIENCE_MS;
    char sink[4096];
    while (real_ms() < end) {
        if (poll(&pollfd, 1, 100) > 0 && recv(fd, sink, sizeof(sink), 0) <= 0) {
            return true;
        }
    }
    return false;
}

static void frame_send(int fd, struct proto_buffer *frame, size_t begin)
{
    assert_true(proto_frame_end(frame, begin, false));
    assert_int_equal(send(fd, frame->data, frame->size, MSG_NOSIGNAL), (ssize_t)frame->size);
    proto_buffer_done(frame);
}

/* Wait for a whole frame. @return its body, in `store` from 0 on; the caller consumes `*ret_size` bytes afterwards. */
static struct proto_bytes frame_wait(struct client *client, size_t *ret_size)
{
    static struct proto_buffer scratch = {.size_max = FRAME_BYTES_MAX};
    struct pollfd pollfd = {.fd = client->fd, .events = POLLIN};
    uint64_t end = real_ms() + PATIENCE_MS;
    struct proto_bytes body;
    for (;;) {
        enum proto_frame_result result = proto_frame_take(
            client->in.data, client->in.size, PROTO_FRAME_BODY_BYTES_MAX, &scratch, &body, ret_size);
        if (result == PROTO_FRAME_OK) {
            return body;
        }
        uint8_t more[4096];
        assert_int_equal(result, PROTO_FRAME_PARTIAL);
        assert_true(real_ms() < end);
        if (poll(&pollfd, 1, 100) > 0) {
            ssize_t size = recv(client->fd, more, sizeof(more), 0);
            assert_true(size > 0);
            assert_true(proto_buffer_append(&client->in, more, (size_t)size));
        }
    }
}

struct client *client_hello(const char *address, struct proto_hello_reply *ret_hello)
{
    const struct proto_hello_request hello = {
        .version_min = PROTO_VERSION_MIN, .version_max = PROTO_VERSION_MAX, .agent = bytes_of("test")};
    struct client *client = calloc(1, sizeof(*client));
    struct proto_buffer frame;
    struct proto_error error;
    size_t size = 0;
    assert_non_null(client);
    client->rows = calloc(1, sizeof(*client->rows));
    assert_non_null(client->rows);
    client->fd = socket_connect(address);
    client->next_id = 1;
    memset(client->secret, 0x5A, sizeof(client->secret));
    proto_buffer_init(&client->in, FRAME_BYTES_MAX);
    proto_buffer_init(&frame, FRAME_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_hello_request(&frame, &hello);
    frame_send(client->fd, &frame, begin);
    struct proto_bytes body = frame_wait(client, &size);
    assert_true(proto_decode_hello_reply(body, ret_hello, &error));
    ret_hello->leader_address = ret_hello->detail =
        (struct proto_bytes){NULL, 0}; /* they go with the frame */
    proto_buffer_consume(&client->in, size);
    return client;
}

void client_free(struct client *client)
{
    (void)close(client->fd);
    proto_buffer_done(&client->in);
    free(client->rows);
    free(client);
}

uint64_t client_send(struct client *client, struct proto_request *request)
{
    struct proto_buffer frame;
    request->id = client->next_id++;
    request->session_id = client->session_id;
    memcpy(request->secret, client->secret, sizeof(request->secret));
    proto_buffer_init(&frame, FRAME_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_request(&frame, request);
    frame_send(client->fd, &frame, begin);
    return request->id;
}

struct proto_reply client_reply(struct client *client)
{
    static uint8_t body_copy[FRAME_BYTES_MAX];
    for (;;) {
        struct proto_incoming incoming;
        struct proto_error error;
        size_t size = 0;
        struct proto_bytes body = frame_wait(client, &size);
        memcpy(body_copy, body.data, body.size);
        body.data = body_copy;
        proto_buffer_consume(&client->in, size);
        assert_true(proto_decode_incoming(body, client->rows, &incoming, &error));
        if (!incoming.is_event) {
            return incoming.reply;
        }
    }
}

struct proto_reply client_call(struct client *client, struct proto_request request)
{
    uint64_t end = real_ms() + PATIENCE_MS;
    for (;;) {
        uint64_t id = client_send(client, &request);
        struct proto_reply reply = client_reply(client);
        assert_int_equal(reply.id, id);
        if ((reply.status != PROTO_STATUS_NOT_LEADER && reply.status != PROTO_STATUS_UNAVAILABLE) ||
            real_ms() > end) {
            return reply;
        }
    }
}

void client_open_session(struct client *client, uint64_t ttl_ms)
{
    struct proto_request request = {.kind = PROTO_SESSION_OPEN,
                                    .body.session_open = {.owner = bytes_of("test"), .ttl_ms = ttl_ms}};
    struct proto_reply reply = client_call(client, request);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    client->session_id = reply.body.session.session_id;
}

struct proto_reply client_acquire(struct client *client, const char *key, uint64_t wait_ms)
{
    struct proto_request request = {.kind = PROTO_LOCK_ACQUIRE,
                                    .body.lock_acquire = {.key = bytes_of(key), .wait_ms = wait_ms}};
    return client_call(client, request);
}
