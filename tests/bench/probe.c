/* bench_probe: what a durable write and a round trip over loopback take on this machine by themselves, as the floor of what
 * a durable grant can take. Knows nothing of Lockstep.
 *
 * The write: 4 KiB into a file that was written before, so that only data is to be made durable, then fdatasync; the log of a
 * node does the same. The round trip: 64 bytes there and back over TCP between two processes that block in read, each on a
 * processor of its own, as a client and a node are; on one processor it would be no more than two switches of process. The
 * two take turns in blocks, so that both see the same machine.
 *
 *   bench_probe --dir DIRECTORY [--count N] */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/histogram.h"

enum { WRITE_BYTES = 4096, FILE_WRITES = 1024, MESSAGE_BYTES = 64, COUNT_MAX = 100000, BLOCK = 50 };

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "bench_probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ==== the disk ==== */

/* A file without a name, so that nothing is left of it; all of it written and durable. */
static int make_file(const char *directory)
{
    static const char bytes[WRITE_BYTES];
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail(directory);
    }
    for (int i = 0; i < FILE_WRITES; i++) {
        if (write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes) {
            fail("write");
        }
    }
    if (fsync(fd) != 0) {
        fail("fsync");
    }
    return fd;
}

static void time_write(int fd, unsigned number, struct histogram *histogram)
{
    static char bytes[WRITE_BYTES];
    bytes[0] = (char)number;
    uint64_t begun = now_ns();
    if (pwrite(fd, bytes, sizeof bytes, (off_t)(number % FILE_WRITES) * WRITE_BYTES) !=
            (ssize_t)sizeof bytes ||
        fdatasync(fd) != 0) {
        fail("a durable write");
    }
    histogram_record(histogram, now_ns() - begun);
}

/* ==== loopback ==== */

static bool pass_on(int fd, char *bytes, bool sending)
{
    size_t done = 0;
    while (done < MESSAGE_BYTES) {
        ssize_t got = sending ? write(fd, bytes + done, MESSAGE_BYTES - done)
                              : read(fd, bytes + done, MESSAGE_BYTES - done);
        if (got <= 0) {
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static void no_delay(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        fail("TCP_NODELAY");
    }
}

/* The first, second, … processor of those that this process may use; with only one of them they share it. */
static void pin(int place)
{
    static cpu_set_t all;
    cpu_set_t one;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0) {
        fail("sched_getaffinity");
    }
    place %= CPU_COUNT(&all);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && place-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void)sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static _Noreturn void echo(struct sockaddr_in *address)
{
    char bytes[MESSAGE_BYTES];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)address, sizeof *address) != 0) {
        fail("connect");
    }
    no_delay(fd);
    while (pass_on(fd, bytes, false) && pass_on(fd, bytes, true)) {
    }
    _exit(0);
}

/* A connection to a process of its own that sends back what it gets; it ends with the connection. */
static int start_echo(pid_t *ret_pid)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        fail("listen");
    }
    *ret_pid = fork();
    if (*ret_pid < 0) {
        fail("fork");
    }
    if (*ret_pid == 0) {
        echo(&address);
    }
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        fail("accept");
    }
    (void)close(listener);
    no_delay(fd);
    return fd;
}

static void time_round_trip(int fd, struct histogram *histogram)
{
    static char bytes[MESSAGE_BYTES];
    uint64_t begun = now_ns();
    if (!pass_on(fd, bytes, true) || !pass_on(fd, bytes, false)) {
        fail("a round trip");
    }
    histogram_record(histogram, now_ns() - begun);
}

/* ==== the program ==== */

static void print(const char *name, const struct histogram *histogram, const char *behind)
{
    (void)printf("\"%s\": {\"n\": %u, \"p50\": %.1f, \"p99\": %.1f}%s", name, (unsigned)histogram->count,
                 (double)histogram_at(histogram, 0.5) / 1000, (double)histogram_at(histogram, 0.99) / 1000,
                 behind);
}

static unsigned parse_count(const char *text)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || number < 1 || number > COUNT_MAX) {
        (void)fprintf(stderr, "bench_probe: --count is a number from 1 to %d, not \"%s\"\n", COUNT_MAX, text);
        exit(2);
    }
    return (unsigned)number;
}

int main(int argc, char **argv)
{
    static struct histogram writes, round_trips;
    const char *directory = NULL;
    unsigned count = 1000;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--dir") == 0) {
            directory = argv[i + 1];
        } else if (i + 1 < argc && strcmp(argv[i], "--count") == 0) {
            count = parse_count(argv[i + 1]);
        } else {
            (void)fprintf(stderr, "bench_probe: \"%s\" is not known or has no value\n", argv[i]);
            return 2;
        }
    }
    if (directory == NULL) {
        (void)fprintf(stderr, "usage: bench_probe --dir DIRECTORY [--count N]\n");
        return 2;
    }
    pid_t echoing = -1;
    pin(0);
    int file = make_file(directory);
    int connection = start_echo(&echoing);
    for (unsigned done = 0; done < count; done += BLOCK) {
        for (unsigned i = done; i < done + BLOCK && i < count; i++) {
            time_write(file, i, &writes);
        }
        for (unsigned i = done; i < done + BLOCK && i < count; i++) {
            time_round_trip(connection, &round_trips);
        }
    }
    (void)close(connection);
    (void)waitpid(echoing, NULL, 0);
    (void)printf("{");
    print("write_us", &writes, ", ");
    print("round_trip_us", &round_trips, "}\n");
    return 0;
}
