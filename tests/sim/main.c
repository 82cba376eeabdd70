/* The command: one seed with a trace, or many in several processes with a summary. What a run is, world.c knows. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/command.h"
#include "tests/support/arguments.h"

static struct command command = {
    .first = 1,
    .seeds = 1,
    .jobs = 0,
    .options = {.faults = {UINT64_MAX, UINT64_MAX}},
};

enum key {
    KEY_SEED = 256,
    KEY_SEEDS,
    KEY_FIRST,
    KEY_JOBS,
    KEY_FOREVER,
    KEY_TWICE,
    KEY_TRACE,
    KEY_NODES,
    KEY_CLIENTS,
    KEY_STORM,
    KEY_FAULTS,
    KEY_SHRINK,
    KEY_PLANT,
    KEY_PLANTS,
};

static const struct argp_option options[] = {
    {"seed", KEY_SEED, "N", 0, "run this seed alone", 1},
    {"trace", KEY_TRACE, "FILE", OPTION_ARG_OPTIONAL,
     "write down everything that happens; to the standard output without FILE", 1},
    {"shrink", KEY_SHRINK, NULL, 0, "look for a shorter run of --seed that breaks the same rule", 1},
    {"nodes", KEY_NODES, "N", 0, "1, 3 or 5; drawn otherwise", 1},
    {"clients", KEY_CLIENTS, "N", 0, "1 to 64; drawn otherwise", 1},
    {"storm-ms", KEY_STORM, "N", 0, "how long faults come, 1 to 600000; drawn otherwise", 1},
    {"faults", KEY_FAULTS, "LIST", 0, "of the faults drawn only these numbers, or \"none\"", 1},
    {"seeds", KEY_SEEDS, "N", 0, "run so many seeds", 2},
    {"first", KEY_FIRST, "N", 0, "beginning with this one; default 1", 2},
    {"forever", KEY_FOREVER, NULL, 0, "run until told to stop (SIGINT, SIGTERM)", 2},
    {"jobs", KEY_JOBS, "N", 0, "processes at a time; default: one a core", 2},
    {"twice", KEY_TWICE, NULL, 0, "run each seed twice and compare the two", 2},
    {"plant", KEY_PLANT, "NAME", 0, "feed a checker this lie; \"list\" shows them", 3},
    {"plants", KEY_PLANTS, NULL, 0, "feed each checker its lies, and see it reject them", 3},
    {0},
};

static void faults_of(struct argp_state *state, char *text)
{
    uint64_t *faults = command.options.faults;
    char *rest = NULL;
    faults[0] = faults[1] = 0;
    if (strcmp(text, "none") == 0) {
        return;
    }
    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        uint64_t number = argument_number(state, "faults", word, 0, SIM_FAULTS_MAX - 1);
        faults[number / 64] |= 1ULL << (number % 64);
    }
}

static void trace_open(struct argp_state *state, const char *path)
{
    command.options.trace = path == NULL ? stdout : fopen(path, "w");
    if (command.options.trace == NULL) {
        argp_error(state, "--trace: %s: %s", path, strerror(errno));
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct sim_options *run = &command.options;
    switch (key) {
    case KEY_SEED:
        command.first = argument_number(state, "seed", argument, 0, UINT64_MAX / 2);
        command.alone = true;
        break;
    case KEY_SEEDS:
        command.seeds = argument_number(state, "seeds", argument, 1, UINT64_MAX / 2);
        break;
    case KEY_FIRST:
        command.first = argument_number(state, "first", argument, 0, UINT64_MAX / 2);
        break;
    case KEY_JOBS:
        command.jobs = (unsigned)argument_number(state, "jobs", argument, 1, COMMAND_JOBS_MAX);
        break;
    case KEY_FOREVER:
        command.seeds = UINT64_MAX / 2;
        break;
    case KEY_TWICE:
        command.twice = true;
        break;
    case KEY_TRACE:
        trace_open(state, argument);
        break;
    case KEY_NODES:
        run->nodes = (unsigned)argument_number(state, "nodes", argument, 1, SIM_NODES_MAX);
        if (run->nodes % 2 == 0) {
            argp_error(state, "--nodes is 1, 3 or 5");
        }
        break;
    case KEY_CLIENTS:
        run->clients = (unsigned)argument_number(state, "clients", argument, 1, SIM_CLIENTS_MAX);
        break;
    case KEY_STORM:
        run->storm_ms = argument_number(state, "storm-ms", argument, 1, 600000);
        break;
    case KEY_FAULTS:
        faults_of(state, argument);
        break;
    case KEY_SHRINK:
        command.shrink = true;
        break;
    case KEY_PLANT:
        run->plant = argument;
        break;
    case KEY_PLANTS:
        command.plants = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is no option", argument);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static bool plant_is_known(const char *name)
{
    for (const struct sim_plant *plant = sim_plants; plant->name != NULL; plant++) {
        if (strcmp(plant->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int plants_list(void)
{
    for (const struct sim_plant *plant = sim_plants; plant->name != NULL; plant++) {
        (void)printf("%-40s must be rejected by %s\n", plant->name, plant->rule);
    }
    return 0;
}

static int run_alone(void)
{
    struct sim_counts counts;
    command.options.seed = command.first;
    sim_run(&command.options, &counts);
    if (command.options.trace != NULL && fflush(command.options.trace) != 0) {
        (void)fprintf(stderr, "sim: the trace was not written: %s\n", strerror(errno));
        return 1;
    }
    if (command.options.trace != stdout) {
        command_print_counts(&counts);
        (void)printf("seed %" PRIu64 " passed, fingerprint %016" PRIx64 "\n", command.first,
                     counts.fingerprint);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc =
            "Runs whole clusters with their clients in simulated time, under faults drawn from a seed, and checks what "
            "Lockstep promises.\vExit code 0: nothing was broken; 1: something was; 3: --seed broke a rule.",
    };
    (void)argp_parse(&argp, argc, argv, 0, NULL, NULL);
    if (command.options.plant != NULL && strcmp(command.options.plant, "list") == 0) {
        return plants_list();
    }
    if (command.options.plant != NULL && !plant_is_known(command.options.plant)) {
        (void)fprintf(stderr, "sim: there is no plant \"%s\"; --plant list shows them\n",
                      command.options.plant);
        return 64;
    }
    if (command.jobs == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        command.jobs = cores < 1 ? 1 : cores > COMMAND_JOBS_MAX ? COMMAND_JOBS_MAX : (unsigned)cores;
    }
    if (command.plants) {
        return command_plants(&command);
    }
    if (command.shrink) {
        return command_shrink(&command);
    }
    return command.alone ? run_alone() : command_seeds(&command);
}
