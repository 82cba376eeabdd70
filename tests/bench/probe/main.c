/* bench_probe: what a durable write, a round trip over loopback, and a write that is durable on two of three processes take on
 * this machine by themselves: the floors of what a durable grant can take. Knows nothing of Lockstep.
 *
 * The write: 4 KiB into a file that was written before, so that only data is to be made durable, then fdatasync; the log of a
 * node does the same. The round trip: 64 bytes there and back over TCP between two processes that block in read, each on a
 * processor of its own, as a client and a node are; on one processor it would be no more than two switches of process. The
 * replicated write: see replicate.c; its processes are where the kernel puts them. The three take turns in blocks, so that all
 * see the same machine.
 *
 *   bench_probe --dir DIRECTORY [--count N] */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/histogram.h"
#include "tests/bench/probe/parts.h"

enum { COUNT_MAX = 100000, BLOCK = 50 };

struct probe {
    int file;
    int echo, replicated; /* connections */
    struct histogram writes, round_trips, replications;
};

_Noreturn void probe_fail(const char *what)
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

static void time_write(struct probe *probe, unsigned number)
{
    uint64_t begun = now_ns();
    probe_write(probe->file, number);
    histogram_record(&probe->writes, now_ns() - begun);
}

static void time_round_trip(int connection, unsigned number, struct histogram *histogram)
{
    char message[PROBE_MESSAGE_BYTES] = {0};
    memcpy(message, &number, sizeof number);
    uint64_t begun = now_ns();
    if (!probe_send(connection, message) || !probe_receive(connection, message)) {
        probe_fail("a round trip");
    }
    histogram_record(histogram, now_ns() - begun);
}

static void time_block(struct probe *probe, unsigned from, unsigned to)
{
    probe_pin(PROBE_ANYWHERE);
    for (unsigned i = from; i < to; i++) {
        time_write(probe, i);
    }
    for (unsigned i = from; i < to; i++) {
        time_round_trip(probe->replicated, i, &probe->replications);
    }
    probe_pin(0);
    for (unsigned i = from; i < to; i++) {
        time_round_trip(probe->echo, i, &probe->round_trips);
    }
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
    static struct probe probe;
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
    probe.echo = probe_start(probe_echo, directory);
    probe.replicated = probe_start(probe_replicate, directory);
    probe.file = probe_file(directory);
    for (unsigned done = 0; done < count; done += BLOCK) {
        time_block(&probe, done, done + BLOCK < count ? done + BLOCK : count);
    }
    (void)close(probe.echo);
    (void)close(probe.replicated);
    while (wait(NULL) > 0) {
    }
    (void)printf("{");
    print("write_us", &probe.writes, ", ");
    print("round_trip_us", &probe.round_trips, ", ");
    print("replicated_us", &probe.replications, "}\n");
    return 0;
}
