/* A shorter run that breaks the same rule, and lies that must be found out: both run one seed in a process of its own. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/assert.h"
#include "tests/sim/command.h"

enum { PLANT_SEEDS_MAX = 400 };

/* The word after VIOLATION in what the process wrote. */
static void rule_read(int fd, char *ret_rule, size_t rule_size)
{
    char text[4096];
    size_t size = 0;
    ssize_t got;
    char rest[4096];
    while (size < sizeof(text) - 1 && (got = read(fd, text + size, sizeof(text) - 1 - size)) > 0) {
        size += (size_t)got;
    }
    while (read(fd, rest, sizeof(rest)) > 0) {
        /* the process must not wait for us */
    }
    text[size] = 0;
    const char *at = strstr(text, "VIOLATION ");
    at = at == NULL ? "" : at + strlen("VIOLATION ");
    (void)snprintf(ret_rule, rule_size, "%.*s", (int)strcspn(at, ":"), at);
}

bool command_try(const struct sim_options *options, char *ret_rule, size_t rule_size)
{
    int ends[2];
    int piped = pipe(ends);
    LOCKSTEP_ASSERT(piped == 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    LOCKSTEP_ASSERT(pid >= 0);
    if (pid == 0) {
        struct sim_counts counts;
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)alarm(COMMAND_SEED_SECONDS_MAX);
        sim_run(options, &counts);
        _exit(0);
    }
    int status = 0;
    (void)close(ends[1]);
    rule_read(ends[0], ret_rule, rule_size);
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) {
        (void)snprintf(ret_rule, rule_size, "signal %d", WTERMSIG(status));
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- shrinking ---- */

static bool still_breaks(const struct sim_options *options, const char *rule)
{
    char broken[64];
    return !command_try(options, broken, sizeof(broken)) && strcmp(broken, rule) == 0;
}

static bool has_fault(const struct sim_options *options, unsigned number)
{
    return (options->faults[number / 64] >> (number % 64) & 1) != 0;
}

/* Leave out runs of faults, long ones first. */
static void shrink_faults(struct sim_options *options, const char *rule)
{
    for (unsigned length = SIM_FAULTS_MAX; length >= 1; length /= 2) {
        for (unsigned at = 0; at < SIM_FAULTS_MAX; at += length) {
            struct sim_options fewer = *options;
            bool any = false;
            for (unsigned i = at; i < at + length; i++) {
                any = any || has_fault(options, i);
                fewer.faults[i / 64] &= ~(1ULL << (i % 64));
            }
            if (any && still_breaks(&fewer, rule)) {
                *options = fewer;
            }
        }
    }
}

static void print_faults(FILE *out, const struct sim_options *options)
{
    const char *comma = "";
    (void)fprintf(out, " --faults ");
    for (unsigned i = 0; i < SIM_FAULTS_MAX; i++) {
        if (has_fault(options, i)) {
            (void)fprintf(out, "%s%u", comma, i);
            comma = ",";
        }
    }
    (void)fprintf(out, "%s", *comma == 0 ? "none" : "");
}

void command_print_run(FILE *out, const struct sim_options *options, uint64_t seed)
{
    (void)fprintf(out, "tests/sim/run --seed %" PRIu64, seed);
    if (options->nodes != 0) {
        (void)fprintf(out, " --nodes %u", options->nodes);
    }
    if (options->clients != 0) {
        (void)fprintf(out, " --clients %u", options->clients);
    }
    if (options->storm_ms != 0) {
        (void)fprintf(out, " --storm-ms %" PRIu64, options->storm_ms);
    }
    if (options->plant != NULL) {
        (void)fprintf(out, " --plant %s", options->plant);
    }
    if ((options->faults[0] & options->faults[1]) != UINT64_MAX) {
        print_faults(out, options);
    }
}

int command_shrink(const struct command *command)
{
    struct sim_options options = command->options;
    char rule[64];
    options.seed = command->first;
    options.trace = NULL;
    if (command_try(&options, rule, sizeof(rule))) {
        (void)printf("seed %" PRIu64 " passes: there is nothing to shrink\n", options.seed);
        return 0;
    }
    (void)printf("seed %" PRIu64 " breaks: %s\n", options.seed, rule);
    shrink_faults(&options, rule);
    for (unsigned clients = 1; options.clients == 0 && clients < SIM_CLIENTS_MAX / 4; clients++) {
        struct sim_options fewer = options;
        fewer.clients = clients;
        if (still_breaks(&fewer, rule)) {
            options = fewer;
        }
    }
    for (uint64_t ms = 125; ms <= 4000; ms *= 2) {
        struct sim_options shorter = options;
        shorter.storm_ms = ms;
        if ((options.storm_ms == 0 || ms < options.storm_ms) && still_breaks(&shorter, rule)) {
            options = shorter;
            break;
        }
    }
    shrink_faults(&options, rule);
    command_print_run(stdout, &options, options.seed);
    (void)printf(" --trace\n");
    return 1;
}

/* ---- lies ---- */

/* A lie may need an occasion that not every seed has. */
static bool is_rejected(const struct command *command, const struct sim_plant *plant)
{
    for (unsigned i = 0; i < PLANT_SEEDS_MAX; i++) {
        struct sim_options options = command->options;
        char rule[64];
        options.seed = command->first + i;
        options.plant = plant->name;
        if (command_try(&options, rule, sizeof(rule))) {
            continue;
        }
        if (strcmp(rule, plant->rule) == 0) {
            (void)printf("%-40s rejected by %s, seed %" PRIu64 "\n", plant->name, rule, options.seed);
            return true;
        }
        (void)printf("%-40s seed %" PRIu64 ": rejected by %s, not by %s\n", plant->name, options.seed, rule,
                     plant->rule);
        return false;
    }
    (void)printf("%-40s NOT NOTICED in %u seeds\n", plant->name, PLANT_SEEDS_MAX);
    return false;
}

int command_plants(const struct command *command)
{
    unsigned rejected = 0;
    unsigned count = 0;
    for (const struct sim_plant *plant = sim_plants; plant->name != NULL; plant++) {
        count++;
        rejected += is_rejected(command, plant);
    }
    (void)printf("%u passed, %u failed\n", rejected, count - rejected);
    return rejected == count ? 0 : 1;
}
