/* The coordinator: forks the workers, keeps the time, adds up what they counted. See load.h.
 *
 * What it says to the runner, a line each: READY when all sessions are open, START and STOP around the measured time (the
 * runner samples the nodes at these), then the JSON object. It ends when its standard input does.
 *
 * The workers wait for the end of two pipes, go and end. If the coordinator dies, so do they. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/load.h"

struct coordinator {
    const struct load_options *options;
    struct load_shared *shared;
    int up[2], go[2], end[2]; /* read end, write end */
    pid_t workers[LOAD_PROCESSES_MAX];
};

static void say(const char *word)
{
    (void)printf("%s\n", word);
    (void)fflush(stdout);
}

static void wait_until(int64_t ns)
{
    struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

/* This word from each worker; false if one gave up instead ('A'), or all are gone. */
static bool hear_all(struct coordinator *coordinator, char word)
{
    for (unsigned i = 0; i < coordinator->options->processes;) {
        char byte;
        ssize_t got = read(coordinator->up[0], &byte, 1);
        if (got == 1 && byte == word) {
            i++;
        } else if (got == 1) {
            return false;
        } else if (got == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static bool prepare(struct coordinator *coordinator)
{
    size_t bytes = sizeof *coordinator->shared +
                   coordinator->options->processes * sizeof coordinator->shared->results[0];
    coordinator->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (coordinator->shared == MAP_FAILED || pipe2(coordinator->up, O_CLOEXEC) != 0 ||
        pipe2(coordinator->go, O_CLOEXEC | O_NONBLOCK) != 0 ||
        pipe2(coordinator->end, O_CLOEXEC | O_NONBLOCK) != 0) {
        (void)fprintf(stderr, "bench_load: memory or pipes can not be had: %s\n", strerror(errno));
        return false;
    }
    return true;
}

static bool start_workers(struct coordinator *coordinator)
{
    for (unsigned i = 0; i < coordinator->options->processes; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            (void)fprintf(stderr, "bench_load: a process can not be made: %s\n", strerror(errno));
            return false;
        }
        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            close_fd(&coordinator->up[0]);
            close_fd(&coordinator->go[1]);
            close_fd(&coordinator->end[1]);
            _exit(load_worker_run(coordinator->options, coordinator->shared, i, coordinator->up[1],
                                  coordinator->go[0], coordinator->end[0]));
        }
        coordinator->workers[i] = pid;
    }
    close_fd(&coordinator->up[1]);
    return true;
}

/* Returns the measured time in seconds, or a negative number if a worker ended early. */
static double measure(struct coordinator *coordinator)
{
    const struct load_options *options = coordinator->options;
    struct load_shared *shared = coordinator->shared;
    bool until_done = options->workload->until_done;
    int64_t start_ns = load_now_ns() + (int64_t)(options->warmup_seconds * 1e9);
    int64_t stop_ns = until_done ? INT64_MAX : start_ns + (int64_t)(options->seconds * 1e9);
    atomic_store(&shared->start_ns, start_ns);
    atomic_store(&shared->stop_ns, stop_ns);
    if (!until_done) {
        close_fd(&coordinator->go[1]);
    }
    wait_until(start_ns);
    say("START");
    if (until_done) {
        start_ns = load_now_ns();
        atomic_store(&shared->start_ns, start_ns);
        close_fd(&coordinator->go[1]);
        if (!hear_all(coordinator, 'D')) {
            return -1;
        }
        stop_ns = load_now_ns();
        say("STOP");
    } else {
        wait_until(stop_ns);
        say("STOP");
        if (!hear_all(coordinator, 'D')) {
            return -1;
        }
    }
    return (double)(stop_ns - start_ns) / 1e9;
}

static void add_up(struct load_result *total, const struct load_result *part)
{
    total->cycles += part->cycles;
    total->handoffs += part->handoffs;
    total->reacquires += part->reacquires;
    total->reads += part->reads;
    total->held += part->held;
    total->errors += part->errors;
    total->sessions_lost += part->sessions_lost;
    histogram_add(&total->acquire, &part->acquire);
    histogram_add(&total->handoff, &part->handoff);
    histogram_add(&total->read, &part->read);
    /* Only w3 is asked for its gaps, and it has one process. */
    total->gap_ns = part->gap_ns;
    total->gap_at_ns = part->gap_at_ns;
    total->client_gap_median_ns = part->client_gap_median_ns;
    total->client_gap_max_ns = part->client_gap_max_ns;
}

static void wait_for_input_end(void)
{
    char bytes[64];
    ssize_t got;
    do {
        got = read(STDIN_FILENO, bytes, sizeof bytes);
    } while (got > 0 || (got < 0 && errno == EINTR));
}

static bool end_workers(struct coordinator *coordinator)
{
    bool good = true;
    close_fd(&coordinator->go[1]);
    close_fd(&coordinator->end[1]);
    for (unsigned i = 0; i < coordinator->options->processes; i++) {
        int status = 0;
        if (coordinator->workers[i] > 0) {
            good = waitpid(coordinator->workers[i], &status, 0) > 0 && status == 0 && good;
        }
    }
    return good;
}

int load_coordinate(const struct load_options *options)
{
    static struct coordinator coordinator;
    static struct load_result total;
    coordinator.options = options;
    if (!prepare(&coordinator)) {
        return 1;
    }
    bool good = start_workers(&coordinator) && hear_all(&coordinator, 'R');
    double elapsed_s = -1;
    if (good) {
        say("READY");
        elapsed_s = measure(&coordinator);
    }
    if (elapsed_s >= 0) {
        for (unsigned i = 0; i < options->processes; i++) {
            add_up(&total, &coordinator.shared->results[i]);
        }
        load_print(options, &total, elapsed_s);
        wait_for_input_end();
    }
    return end_workers(&coordinator) && elapsed_s >= 0 ? 0 : 1;
}
