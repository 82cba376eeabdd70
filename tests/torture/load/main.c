/* The command line, and the process's life: clients act at their times until it is told to leave; then they give back what
 * they have and close their sessions. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { TICK_MS = 2, FLUSH_TICKS = 25, RELEASE_MS = 1500 };

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
    {"rate", KEY_RATE, "N", 0, "operations a second at most, about; default 2000", 1},
    {"seconds", KEY_SECONDS, "N", 0, "how long; default: until SIGTERM or SIGINT", 1},
    {"until-signal", KEY_UNTIL_SIGNAL, NULL, 0, "the default, said aloud", 1},
    {"final", KEY_FINAL, NULL, 0, "write only what is left of each lock", 2},
    {0},
};

uint64_t load_random(struct load *load, uint64_t below)
{
    uint64_t x = load->random += 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return below == 0 ? 0 : (x ^ x >> 31) % below;
}

uint64_t load_pause(struct load *load, uint64_t mean_ms)
{
    return load_random(load, load_random(load, 8) == 0 ? 8 * mean_ms : mean_ms + 1);
}

void load_check_result(struct load *load, const char *what, int result)
{
    switch (result) {
    case LOCKSTEP_INVALID:
    case LOCKSTEP_WRONG_CLUSTER:
    case LOCKSTEP_NO_MEMORY:
    case LOCKSTEP_MODE_CONFLICT:
    case LOCKSTEP_LIMIT_MISMATCH:
    case LOCKSTEP_BAD_SECRET:
    case LOCKSTEP_UNSUPPORTED:
    case LOCKSTEP_PROTOCOL:
    case LOCKSTEP_SYSTEM:
    case LOCKSTEP_TOO_MANY_HOLDS:
        load->wrong++;
        (void)fprintf(stderr, "torture_load: %s ended with %s: %s\n", what, lockstep_result_name(result),
                      lockstep_error_message());
        break;
    default:
        break;
    }
}

/* ---- the command line ---- */

static uint64_t number_of(struct argp_state *state, const char *what, const char *text, uint64_t least,
                          uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0 || errno != 0 || number < least || number > most) {
        argp_error(state, "--%s needs a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"", what, least,
                   most, text);
    }
    return number;
}

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
        load->clients_count = number_of(state, "clients", argument, 1, LOAD_CLIENTS_MAX);
        break;
    case KEY_KEYS:
        load->keys_count = number_of(state, "keys", argument, 1, LOAD_KEYS_MAX);
        break;
    case KEY_SEED:
        load->seed = number_of(state, "seed", argument, 0, UINT64_MAX);
        break;
    case KEY_BASE:
        load->process_base = number_of(state, "process-base", argument, 1, UINT64_MAX / 2);
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
        load->ttl_ms = number_of(state, "ttl-ms", argument, 200, 600000);
        break;
    case KEY_RATE:
        load->rate = number_of(state, "rate", argument, 1, 1000000);
        break;
    case KEY_SECONDS:
        load->seconds = number_of(state, "seconds", argument, 1, 1000000);
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

/* ---- leaving ---- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void on_release_time(uv_timer_t *timer)
{
    struct load *load = timer->data;
    for (uint64_t i = 0; i < load->clients_count; i++) {
        client_leave(&load->clients[i]);
    }
}

static void leave(struct load *load)
{
    if (!load->leaving) {
        load->leaving = true;
        /* Time to give back one by one what is held, before the sessions are closed. */
        (void)uv_timer_start(&load->end, on_release_time, RELEASE_MS, 0);
    }
}

static void on_end(uv_timer_t *timer)
{
    leave(timer->data);
}

static void on_stop(uv_signal_t *signal, int number)
{
    (void)number;
    leave(signal->data);
}

static void on_healed(uv_signal_t *signal, int number)
{
    (void)signal; /* nothing changes for the clients: they never knew of faults */
    (void)number;
}

static void end_if_closed(struct load *load)
{
    if (load->leaving && load->closed_count == load->clients_count) {
        close_handle((uv_handle_t *)&load->tick);
        close_handle((uv_handle_t *)&load->end);
        close_handle((uv_handle_t *)&load->on_term);
        close_handle((uv_handle_t *)&load->on_int);
        close_handle((uv_handle_t *)&load->on_healed);
    }
}

/* ---- life ---- */

static void on_tick(uv_timer_t *timer)
{
    static unsigned ticks;
    struct load *load = timer->data;
    uint64_t now_ms = uv_now(&load->loop);
    for (uint64_t i = 0; i < load->clients_count; i++) {
        client_look(&load->clients[i]);
        client_act(&load->clients[i], now_ms);
    }
    if (++ticks % FLUSH_TICKS == 0) {
        history_flush();
    }
    end_if_closed(load);
}

static void handles_open(struct load *load)
{
    (void)uv_loop_init(&load->loop);
    (void)uv_timer_init(&load->loop, &load->tick);
    (void)uv_timer_init(&load->loop, &load->end);
    (void)uv_signal_init(&load->loop, &load->on_term);
    (void)uv_signal_init(&load->loop, &load->on_int);
    (void)uv_signal_init(&load->loop, &load->on_healed);
    load->tick.data = load->end.data = load->on_term.data = load->on_int.data = load->on_healed.data = load;
    (void)uv_timer_start(&load->tick, on_tick, TICK_MS, TICK_MS);
    (void)uv_signal_start(&load->on_term, on_stop, SIGTERM);
    (void)uv_signal_start(&load->on_int, on_stop, SIGINT);
    (void)uv_signal_start(&load->on_healed, on_healed, SIGUSR1);
    if (load->seconds > 0) {
        (void)uv_timer_start(&load->end, on_end, load->seconds * 1000, 0);
    }
}

static int run(struct load *load)
{
    load->clients = calloc(load->clients_count, sizeof(*load->clients));
    if (load->clients == NULL) {
        (void)fprintf(stderr, "torture_load: no memory for %" PRIu64 " clients\n", load->clients_count);
        return 1;
    }
    handles_open(load);
    for (uint64_t i = 0; i < load->clients_count; i++) {
        if (!client_create(load, &load->clients[i], i)) {
            return 1;
        }
    }
    (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    history_flush();
    (void)uv_loop_close(&load->loop);
    free(load->clients);
    (void)printf("%" PRIu64 " operations, %" PRIu64 " unknown, %" PRIu64 " grants, %" PRIu64
                 " losses, %" PRIu64 " results that must not be\n",
                 load->operations, load->unknown, load->grants, load->losses, load->wrong);
    return load->wrong == 0 ? 0 : 1;
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
        .rate = 2000,
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
    return load.final ? load_final(&load) : run(&load);
}
