/* Many seeds in several processes. A process that dies takes one seed with it; another goes on with the next. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/assert.h"
#include "tests/sim/command.h"

enum { FAILURES_MAX = 25 };

/* Shared with the process that works on it. */
struct work {
    uint64_t next; /* the seed that it is at */
    uint64_t done;
    struct sim_counts sums;
};

struct worker {
    pid_t pid;
    struct work *work;
};

static volatile sig_atomic_t told_to_stop;

static void on_signal(int signal)
{
    (void)signal;
    told_to_stop = 1;
}

static void add(struct sim_counts *sums, const struct sim_counts *counts)
{
    /* All fields are numbers of one size: a field that is added needs no line here. */
    _Static_assert(sizeof(struct sim_counts) % sizeof(uint64_t) == 0, "only numbers");
    uint64_t *to = (uint64_t *)(void *)sums;
    const uint64_t *from = (const uint64_t *)(const void *)counts;
    for (size_t i = 0; i < sizeof(*sums) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}

void command_print_counts(const struct sim_counts *counts)
{
    static const char *const words[] = {
#define X(name, word, text) [SIM_##name] = word,
        SIM_FAULT_KINDS(X)
#undef X
    };
    (void)printf("operations %" PRIu64 ", outcome unknown %" PRIu64 ", grants %" PRIu64 ", waits %" PRIu64
                 ", losses %" PRIu64 ", expiries %" PRIu64 ", reads %" PRIu64 "\n",
                 counts->operations, counts->unknown, counts->grants, counts->waits, counts->losses,
                 counts->expiries, counts->reads);
    (void)printf("entries %" PRIu64 " applied %" PRIu64 " times, leaders %" PRIu64 ", restarts %" PRIu64
                 ", snapshots %" PRIu64 " taken, %" PRIu64 " installed, looks at certain holds %" PRIu64
                 ", simulated %" PRIu64 ".%03u s\n",
                 counts->entries, counts->applies, counts->elections, counts->restarts,
                 counts->snapshots_taken, counts->snapshots_installed, counts->certain_looks,
                 counts->virtual_ms / 1000, (unsigned)(counts->virtual_ms % 1000));
    (void)printf("faults:");
    for (unsigned i = 0; i < SIM_FAULT_KINDS_COUNT; i++) {
        (void)printf(" %s %" PRIu64, words[i], counts->faults[i]);
    }
    (void)printf("\n");
}

static void work_on(const struct command *command, struct work *work)
{
    for (; work->next < command->first + command->seeds; work->next += command->jobs) {
        struct sim_options options = command->options;
        struct sim_counts counts;
        options.seed = work->next;
        (void)alarm(COMMAND_SEED_SECONDS_MAX);
        sim_run(&options, &counts);
        if (command->twice) {
            struct sim_counts again;
            sim_run(&options, &again);
            if (memcmp(&counts, &again, sizeof(counts)) != 0) {
                (void)fprintf(stderr,
                              "VIOLATION determinism: seed %" PRIu64 " ran differently the second time\n",
                              work->next);
                _exit(SIM_EXIT_VIOLATION);
            }
        }
        add(&work->sums, &counts);
        work->done++;
    }
    _exit(0);
}

static void start(const struct command *command, struct worker *worker)
{
    (void)fflush(NULL);
    worker->pid = fork();
    LOCKSTEP_ASSERT(worker->pid >= 0);
    if (worker->pid == 0) {
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        work_on(command, worker->work);
    }
}

static void print_replay(const struct command *command, uint64_t seed, int status)
{
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "seed %" PRIu64 " ended by signal %d (%s)\n", seed, WTERMSIG(status),
                      WTERMSIG(status) == SIGALRM ? "it took too long" : strsignal(WTERMSIG(status)));
    }
    (void)fprintf(stderr, "replay: ");
    command_print_run(stderr, &command->options, seed);
    (void)fprintf(stderr, " --trace\nshorter: ");
    command_print_run(stderr, &command->options, seed);
    (void)fprintf(stderr, " --shrink\n");
}

/* @return how many of its seeds failed. */
static unsigned watch(const struct command *command, struct worker *workers)
{
    unsigned running = command->jobs;
    unsigned failures = 0;
    while (running > 0) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0) { /* interrupted: told to stop */
            for (unsigned i = 0; i < command->jobs; i++) {
                if (workers[i].pid > 0) {
                    (void)kill(workers[i].pid, SIGTERM);
                }
            }
            continue;
        }
        struct worker *worker = workers;
        while (worker->pid != pid) {
            worker++;
        }
        worker->pid = 0;
        bool well = (WIFEXITED(status) && WEXITSTATUS(status) == 0) || told_to_stop;
        if (!well) {
            failures++;
            print_replay(command, worker->work->next, status);
            worker->work->next += command->jobs;
        }
        if (well || failures >= FAILURES_MAX) {
            running--;
        } else {
            start(command, worker);
        }
    }
    return failures;
}

int command_seeds(const struct command *command)
{
    struct worker workers[COMMAND_JOBS_MAX];
    struct work *work = mmap(NULL, COMMAND_JOBS_MAX * sizeof(*work), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LOCKSTEP_ASSERT(work != MAP_FAILED);
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < command->jobs; i++) {
        workers[i].work = &work[i];
        work[i].next = command->first + i;
        start(command, &workers[i]);
    }
    unsigned failures = watch(command, workers);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    struct sim_counts sums = {0};
    uint64_t done = 0;
    for (unsigned i = 0; i < command->jobs; i++) {
        add(&sums, &work[i].sums);
        done += work[i].done;
    }
    command_print_counts(&sums);
    (void)printf("seeds %" PRIu64 " .. : %" PRIu64
                 " in %.1f s in %u processes; %.0f operations/s, %.1f seeds/s\n",
                 command->first, done, seconds, command->jobs, (double)sums.operations / seconds,
                 (double)done / seconds);
    (void)printf("%" PRIu64 " passed, %u failed\n", done, failures);
    return failures == 0 ? 0 : 1;
}
