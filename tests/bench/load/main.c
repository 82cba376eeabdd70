/* bench_load: load on a cluster for tests/bench/run, through liblockstep's asynchronous interface. Arguments only; see
 * load.h for the parts. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/bench/load/load.h"

enum { SECONDS_MAX = 3600 };

static void usage(void)
{
    (void)printf("usage: bench_load --endpoints LIST [--NAME VALUE ...]\n\n"
                 "  --workload NAME    default w1:\n");
    load_workloads_print();
    (void)printf("  --clients N        1 .. %d; default 64\n"
                 "  --connections N    how many sessions they share; default 0: one each\n"
                 "  --processes N      1 .. %d; default 1\n"
                 "  --seconds S        measured time; default 8\n"
                 "  --warmup S         before it; default 1\n"
                 "  --locks N          w4, and sessions of w11; default 100000\n"
                 "  --window N         w4, requests under way of each client, 1 .. %d; default 16\n"
                 "  --ttl-ms N         of the sessions; default 10000\n"
                 "  --expire-after S   w11; default 60\n"
                 "  --stale 0|1        w7; default 0\n"
                 "  --pace-ms N        w7, between an answer and the next request; default 0\n"
                 "  --leave 0|1        leave the sessions to their TTL at the end; default 0\n"
                 "  --histogram 0|1    print the histograms too; default 0\n"
                 "  --seed N           w8; default 1\n",
                 LOAD_CLIENTS_MAX, LOAD_PROCESSES_MAX, LOAD_WINDOW_MAX);
}

static _Noreturn void refuse(const char *name, const char *value, const char *allowed)
{
    (void)fprintf(stderr, "bench_load: %s is %s, not \"%s\"\n", name, allowed, value);
    exit(2);
}

static uint64_t whole(const char *name, const char *value, uint64_t low, uint64_t high)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || value[0] == '-' || number < low || number > high) {
        char allowed[96];
        (void)snprintf(allowed, sizeof allowed, "a number from %llu to %llu", (unsigned long long)low,
                       (unsigned long long)high);
        refuse(name, value, allowed);
    }
    return number;
}

static double seconds(const char *name, const char *value)
{
    char *end = NULL;
    double number = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(number) || number < 0 || number > SECONDS_MAX) {
        refuse(name, value, "a number of seconds from 0 to 3600");
    }
    return number;
}

static bool parse_size(struct load_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--clients") == 0) {
        options->clients = (unsigned)whole(name, value, 1, LOAD_CLIENTS_MAX);
    } else if (strcmp(name, "--connections") == 0) {
        options->connections = (unsigned)whole(name, value, 0, LOAD_CLIENTS_MAX);
    } else if (strcmp(name, "--processes") == 0) {
        options->processes = (unsigned)whole(name, value, 1, LOAD_PROCESSES_MAX);
    } else if (strcmp(name, "--locks") == 0) {
        options->locks = (unsigned)whole(name, value, 1, LOAD_LOCKS_MAX);
    } else if (strcmp(name, "--window") == 0) {
        options->window = (unsigned)whole(name, value, 1, LOAD_WINDOW_MAX);
    } else if (strcmp(name, "--pace-ms") == 0) {
        options->pace_ms = (unsigned)whole(name, value, 0, 1000);
    } else if (strcmp(name, "--seed") == 0) {
        options->seed = whole(name, value, 0, UINT64_MAX);
    } else {
        return false;
    }
    return true;
}

static bool parse_rest(struct load_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--endpoints") == 0) {
        options->endpoints = value;
    } else if (strcmp(name, "--workload") == 0) {
        options->workload = load_workload_find(value);
        if (options->workload == NULL) {
            refuse(name, value, "one of those that --help lists");
        }
    } else if (strcmp(name, "--seconds") == 0) {
        options->seconds = seconds(name, value);
    } else if (strcmp(name, "--warmup") == 0) {
        options->warmup_seconds = seconds(name, value);
    } else if (strcmp(name, "--expire-after") == 0) {
        options->expire_at_ns = load_now_ns() + (int64_t)(seconds(name, value) * 1e9);
    } else if (strcmp(name, "--ttl-ms") == 0) {
        options->ttl_ms =
            (int64_t)whole(name, value, (uint64_t)LOCKSTEP_TTL_MS_MIN, (uint64_t)LOCKSTEP_TTL_MS_MAX);
    } else if (strcmp(name, "--stale") == 0) {
        options->stale = whole(name, value, 0, 1) == 1;
    } else if (strcmp(name, "--leave") == 0) {
        options->leave = whole(name, value, 0, 1) == 1;
    } else if (strcmp(name, "--histogram") == 0) {
        options->histogram = whole(name, value, 0, 1) == 1;
    } else {
        return false;
    }
    return true;
}

static void parse(struct load_options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0) {
            usage();
            exit(0);
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL || !(parse_size(options, argv[i], value) || parse_rest(options, argv[i], value))) {
            (void)fprintf(stderr, "bench_load: \"%s\" %s; see --help\n", argv[i],
                          value == NULL ? "needs a value, or is not known" : "is not known");
            exit(2);
        }
    }
    if (options->endpoints == NULL) {
        (void)fprintf(stderr, "bench_load: --endpoints is missing; see --help\n");
        exit(2);
    }
    if (options->workload->one_process && options->processes != 1) {
        refuse("--processes", "more", "1 for this workload, whose clients know of each other");
    }
    if (options->processes > options->clients || options->processes > options->locks) {
        refuse("--processes", "more", "at most as many as clients and locks");
    }
    options->connections = options->connections == 0 ? options->clients : options->connections;
}

/* A connection has two or three descriptors. What the system does not allow shows when they are opened. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct load_options options = {.workload = load_workload_find("w1"),
                                   .clients = 64,
                                   .processes = 1,
                                   .locks = 100000,
                                   .window = 16,
                                   .ttl_ms = 10000,
                                   .seconds = 8,
                                   .warmup_seconds = 1,
                                   .expire_at_ns = load_now_ns() + INT64_C(60) * 1000000000,
                                   .seed = 1};
    (void)signal(SIGPIPE, SIG_IGN);
    parse(&options, argc, argv);
    raise_descriptors();
    return load_coordinate(&options);
}
