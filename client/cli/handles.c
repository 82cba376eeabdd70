/* `acquire`, `extend`, `release`: locks that outlive the process that took them, by their handle. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/wanted.h"

/* ---- acquire ---- */

struct acquire_words {
    struct cli *cli;
    struct cli_wanted wanted;
};

static error_t parse_acquire(int key, char *argument, struct argp_state *state)
{
    struct acquire_words *words = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = words->cli;
        state->child_inputs[1] = &words->wanted;
        return 0;
    }
    if (key == ARGP_KEY_ARG && words->wanted.key == NULL) {
        words->wanted.key = argument;
        return 0;
    }
    if (key == ARGP_KEY_END && words->wanted.key == NULL) {
        argp_error(state, "KEY is missing");
    }
    if (key == ARGP_KEY_END && words->wanted.ttl_ms == 0) {
        argp_error(state, "--ttl is missing: how long the lock lives without an extend");
    }
    return ARGP_ERR_UNKNOWN;
}

static void print_handle(const struct cli *cli, const struct lockstep_lock *lock, const char *handle, int64_t ttl_ms)
{
    if (!cli->json) {
        (void)printf("%s\n", handle);
        return;
    }
    cli_json_end(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "handle", handle, "key", lockstep_lock_key(lock), "token",
                           (json_int_t)lockstep_lock_token(lock), "fence", (json_int_t)lockstep_lock_fence(lock),
                           "session_id", (json_int_t)lockstep_lock_session_id(lock), "ttl_ms", (json_int_t)ttl_ms));
}

/* The handle is worth its whole ttl from when it is printed, however long the wait was. */
static int export_lock(const struct cli *cli, struct lockstep_client *client, const struct lockstep_lock *lock,
                       int64_t ttl_ms)
{
    char handle[LOCKSTEP_HANDLE_BYTES_MAX];
    int result = lockstep_session_renew(client, 0);
    if (result == LOCKSTEP_OK) {
        result = lockstep_lock_export(lock, handle, sizeof handle);
    }
    if (result == LOCKSTEP_OK) {
        print_handle(cli, lock, handle, ttl_ms);
    }
    return result;
}

int cli_acquire(struct cli *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {&cli_wanted_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .parser = parse_acquire,
        .args_doc = "KEY --ttl D",
        .doc = "Take a lock that outlives this process, and print a handle for extend and release.\v"
               "Without an extend the lock ends when its ttl is over. Whoever knows the handle can use it: treat it like a "
               "password. Without --try or --wait it waits for ever.",
        .children = children,
    };
    struct acquire_words words = {.cli = cli};
    struct lockstep_options options;
    struct lockstep_acquire_options wish;
    struct lockstep_holder holder;
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;

    cli_wanted_init(&words.wanted);
    cli_parse(&argp, argc, argv, &words);
    cli_client_options(cli, &options);
    options.session_ttl_ms = words.wanted.ttl_ms;
    cli_wanted_options(&words.wanted, &wish);
    int result = lockstep_client_create(&options, &client);
    if (result != LOCKSTEP_OK) {
        return cli_fail("acquire", result);
    }
    result = lockstep_acquire_with(client, words.wanted.key, &wish, &holder, &lock);
    if (result == LOCKSTEP_OK) {
        result = export_lock(cli, client, lock, words.wanted.ttl_ms);
    }
    int code = result == LOCKSTEP_OK ? CLI_EXIT_OK : cli_wanted_fail(&words.wanted, result, &holder);
    if (result == LOCKSTEP_OK) {
        lockstep_client_detach(client);
        lockstep_lock_free(lock);
    } else {
        lockstep_client_free(client);
        lockstep_lock_free(lock);
    }
    return code;
}

/* ---- extend, release ---- */

struct handle_words {
    struct cli *cli;
    const char *handle;
    int64_t ttl_ms;
    bool extends;
};

static error_t parse_handle(int key, char *argument, struct argp_state *state)
{
    struct handle_words *words = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = words->cli;
        return 0;
    case 't':
        words->ttl_ms = cli_duration("--ttl", argument, LOCKSTEP_TTL_MS_MIN, LOCKSTEP_TTL_MS_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (words->handle != NULL) {
            return ARGP_ERR_UNKNOWN;
        }
        words->handle = argument;
        return 0;
    case ARGP_KEY_END:
        if (words->handle == NULL) {
            argp_error(state, "HANDLE is missing");
        }
        if (words->extends && words->ttl_ms == 0) {
            argp_error(state, "--ttl is missing");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child handle_children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};

int cli_extend(struct cli *cli, int argc, char **argv)
{
    static const struct argp_option argp_options[] = {
        {"ttl", 't', "DURATION", 0, "100ms..24h; how long it lives from now on", 0}, {0}};
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse_handle,
        .args_doc = "HANDLE --ttl D",
        .doc = "Let what a handle stands for live for D from now.",
        .children = handle_children,
    };
    struct handle_words words = {.cli = cli, .extends = true};
    struct lockstep_options options;
    int64_t remaining_ms = 0;
    cli_parse(&argp, argc, argv, &words);
    cli_client_options(cli, &options);
    int result = lockstep_handle_extend(&options, words.handle, words.ttl_ms, &remaining_ms);
    if (result != LOCKSTEP_OK) {
        return cli_fail("extend", result);
    }
    if (cli->json) {
        cli_json_end(json_pack("{s:b, s:I}", "extended", 1, "remaining_ms", (json_int_t)remaining_ms));
    }
    return CLI_EXIT_OK;
}

int cli_release(struct cli *cli, int argc, char **argv)
{
    static const struct argp argp = {
        .parser = parse_handle,
        .args_doc = "HANDLE",
        .doc = "Give back what a handle stands for.",
        .children = handle_children,
    };
    struct handle_words words = {.cli = cli};
    struct lockstep_options options;
    cli_parse(&argp, argc, argv, &words);
    cli_client_options(cli, &options);
    int result = lockstep_handle_release(&options, words.handle);
    if (result != LOCKSTEP_OK) {
        return cli_fail("release", result);
    }
    if (cli->json) {
        cli_json_end(json_pack("{s:b}", "released", 1));
    }
    return CLI_EXIT_OK;
}
