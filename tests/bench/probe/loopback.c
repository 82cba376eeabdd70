/* Processes of one connection each, and messages between them. */
#include "tests/bench/probe/parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static void no_delay(int connection)
{
    int on = 1;
    if (setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        probe_fail("TCP_NODELAY");
    }
}

void probe_pin(int place)
{
    static cpu_set_t all;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0) {
        probe_fail("sched_getaffinity");
    }
    cpu_set_t chosen = all;
    if (place != PROBE_ANYWHERE) {
        CPU_ZERO(&chosen);
        place %= CPU_COUNT(&all);
        for (size_t cpu = 0; CPU_COUNT(&chosen) == 0; cpu++) {
            if (CPU_ISSET(cpu, &all) && place-- == 0) {
                CPU_SET(cpu, &chosen);
            }
        }
    }
    (void)sched_setaffinity(0, sizeof chosen, &chosen);
}

static int listen_on(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)address, &size) != 0) {
        probe_fail("listen");
    }
    return listener;
}

int probe_start(void (*serve)(int connection, const char *directory), const char *directory)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = listen_on(&address);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        probe_fail("fork");
    }
    if (child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
            _exit(1);
        }
        int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
            probe_fail("connect");
        }
        (void)close(listener);
        no_delay(connection);
        serve(connection, directory);
        _exit(0);
    }
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) {
        probe_fail("accept");
    }
    (void)close(listener);
    no_delay(connection);
    return connection;
}

bool probe_send(int connection, const char *message)
{
    for (size_t done = 0; done < PROBE_MESSAGE_BYTES;) {
        ssize_t sent = send(connection, message + done, PROBE_MESSAGE_BYTES - done, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        done += (size_t)sent;
    }
    return true;
}

bool probe_receive(int connection, char *message)
{
    for (size_t done = 0; done < PROBE_MESSAGE_BYTES;) {
        ssize_t got = recv(connection, message + done, PROBE_MESSAGE_BYTES - done, 0);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

void probe_echo(int connection, const char *directory)
{
    (void)directory;
    char message[PROBE_MESSAGE_BYTES];
    probe_pin(1);
    while (probe_receive(connection, message) && probe_send(connection, message)) {
    }
}
