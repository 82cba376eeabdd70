/* The command line. What is wrong in it is named, with what is allowed. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/arguments.h"
#include "tests/torture/load/load.h"

enum key {
    KEY_ENDPOINTS = 256,
    KEY_CLIENTS,
    KEY_KEYS,
    KEY_SEED,
    KEY_BASE,
    KEY_OWNER,
    KEY_HISTORY,
    KEY_CLOCK,
    KEY_TTL,
    KEY_RATE,
    KEY_SECONDS,
    KEY_UNTIL_SIGNAL,
    KEY_FINAL,
};

static const struct argp_option options[] = {
    {"endpoints", KEY_ENDPOINTS, "LIST", 0, "of the cluster's nodes, host:port,…", 1},
    {"clients", KEY_CLIENTS, "N", 0, "1 to 2000; default 20", 1},
    {"keys", KEY_KEYS, "N", 0, "1 to 10000: k0, k1, …; default 20", 1},
    {"seed", KEY_SEED, "N", 0, "of what the clients do; default 1", 1},
    {"process-base", KEY_BASE, "N", 0, "the first :process number; default 1", 1},
    {"owner-prefix", KEY_OWNER, "TEXT", 0, "of the clients' owner names; default \"c\"", 1},
    {"history", KEY_HISTORY, "FILE", 0, "where to write what happened", 1},
    {"clock-rate", KEY_CLOCK, "R", 0, "how fast this process's clock goes, 0.5 to 2; default 1", 1},
    {"ttl-ms", KEY_TTL, "N", 0, "of the sessions, 200 to 600000; default 2000", 1},
    {"rate", KEY_RATE, "N", 0, "operations a second at most, about; default 500", 1},
    {"seconds", KEY_SECONDS, "N", 0, "how long; default: until SIGTERM or SIGINT", 1},
    {"until-signal", KEY_UNTIL_SIGNAL, NULL, 0, "the default, said aloud", 1},
    {"final", KEY_FINAL, NULL, 0, "write only what is left of each lock", 2},
    {0},
};

/* ---- the command line ---- */

static double rate_of(struct argp_state *state, const char *text)
{
    char *end;
    double rate = strtod(text, &end);
    if (*end != 0 || !(rate >= 0.5 && rate <= 2)) {
        argp_error(state, "--clock-rate needs a number from 0.5 to 2, not \"%s\"", text);
    }
    return rate;
}

/* @return an owner name and a file's line are written with it. */
static const char *plain(struct argp_state *state, const char *text)
{
    if (strlen(text) > 40 ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(text)) {
        argp_error(state, "--owner-prefix is up to 40 letters, digits and . _ -, not \"%s\"", text);
    }
    return text;
}

static void check_whole(struct argp_state *state, const struct load *load)
{
    if (load->endpoints == NULL || load->path == NULL) {
        argp_error(state, "--endpoints and --history are needed");
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct load *load = state->input;
    switch (key) {
    case KEY_ENDPOINTS:
        load->endpoints = argument;
        break;
    case KEY_CLIENTS:
        load->clients_count = argument_number(state, "clients", argument, 1, LOAD_CLIENTS_MAX);
        break;
    case KEY_KEYS:
        load->keys_count = argument_number(state, "keys", argument, 1, LOAD_KEYS_MAX);
        break;
    case KEY_SEED:
        load->seed = argument_number(state, "seed", argument, 0, UINT64_MAX);
        break;
    case KEY_BASE:
        load->process_base = argument_number(state, "process-base", argument, 1, UINT64_MAX / 2);
        break;
    case KEY_OWNER:
        load->owner_prefix = plain(state, argument);
        break;
    case KEY_HISTORY:
        load->path = argument;
        break;
    case KEY_CLOCK:
        load->clock_rate = rate_of(state, argument);
        break;
    case KEY_TTL:
        load->ttl_ms = argument_number(state, "ttl-ms", argument, 200, 600000);
        break;
    case KEY_RATE:
        load->rate = argument_number(state, "rate", argument, 1, 1000000);
        break;
    case KEY_SECONDS:
        load->seconds = argument_number(state, "seconds", argument, 1, 1000000);
        break;
    case KEY_UNTIL_SIGNAL:
        load->seconds = 0;
        break;
    case KEY_FINAL:
        load->final = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is no option", argument);
        break;
    case ARGP_KEY_END:
        check_whole(state, load);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct load load = {
        .clients_count = 20,
        .keys_count = 20,
        .seed = 1,
        .process_base = 1,
        .owner_prefix = "c",
        .ttl_ms = 2000,
        .rate = 500,
        .clock_rate = 1,
    };
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc = "Many clients that take and give back locks, and write down what they asked and were told.",
    };
    (void)argp_parse(&argp, argc, argv, 0, NULL, &load);
    if (!history_open(load.path)) {
        (void)fprintf(stderr, "torture_load: %s can not be written: %s\n", load.path, strerror(errno));
        return 1;
    }
    load.random = load.seed;
    load.next_process = load.process_base;
    return load.final ? load_final(&load) : load_run(&load);
}
