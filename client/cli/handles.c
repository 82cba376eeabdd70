/* `acquire`, `extend`, `release`: locks that outlive the process that took them, by their handle. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"
#include "client/cli/wanted.h"

/* ---- acquire ---- */

/* Until the handle is printed, nobody could give back what this process leaves behind if it is killed: so its session is
 * short, and gets the ttl that was asked for last. */
enum { WAITING_TTL_MS_MAX = 10 * 1000 };

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

/* @return whether it went out. */
static bool print_handle(const struct acquire_words *words, const struct lockstep_lock *lock, const char *handle)
{
    if (words->cli->json) {
        cli_json_end(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "handle", handle, "key", lockstep_lock_key(lock), "token",
                               (json_int_t)lockstep_lock_token(lock), "fence", (json_int_t)lockstep_lock_fence(lock),
                               "session_id", (json_int_t)lockstep_lock_session_id(lock), "ttl_ms",
                               (json_int_t)words->wanted.ttl_ms));
    } else {
        (void)printf("%s\n", handle);
    }
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

/* The handle is worth its whole ttl from when it is printed, however long the wait was. @return the exit code; unless it is
 * OK, nobody knows the handle. */
static int hand_out(const struct acquire_words *words, struct lockstep_client *client, const struct lockstep_lock *lock)
{
    char handle[LOCKSTEP_HANDLE_BYTES_MAX];
    int result = lockstep_session_renew(client, words->wanted.ttl_ms);
    if (result == LOCKSTEP_OK) {
        result = lockstep_lock_export(lock, handle, sizeof handle);
    }
    if (result != LOCKSTEP_OK) {
        return cli_fail(words->wanted.key, result);
    }
    if (!print_handle(words, lock, handle)) {
        return cli_report(CLI_EXIT_FAILED, "FAILED", words->wanted.key,
                          "the handle could not be written; the lock is given back");
    }
    return CLI_EXIT_OK;
}

static int create_client(const struct acquire_words *words, struct lockstep_client **ret_client)
{
    struct lockstep_options options;
    cli_client_options(words->cli, &options);
    options.session_ttl_ms = words->wanted.ttl_ms < WAITING_TTL_MS_MAX ? words->wanted.ttl_ms : WAITING_TTL_MS_MAX;
    options.lock_delay_ms = words->wanted.lock_delay_ms;
    return lockstep_client_create(&options, ret_client);
}

/* @return the exit code. Unless it is OK, the client is to be closed with all it has. */
static int acquire(const struct acquire_words *words, struct lockstep_client *client, struct interrupt *interrupt,
                   struct lockstep_lock **ret_lock)
{
    struct lockstep_acquire_options wish;
    struct lockstep_holder holder;
    int code = CLI_EXIT_FAILED;
    cli_wanted_options(&words->wanted, &wish);
    wish.cancel = interrupt->cancel;
    int result = lockstep_acquire_with(client, words->wanted.key, &wish, &holder, ret_lock);
    if (result == LOCKSTEP_OK) {
        code = hand_out(words, client, *ret_lock);
    } else if (result != LOCKSTEP_CANCELLED) {
        code = cli_wanted_fail(&words->wanted, result, &holder);
    }
    int number = interrupt_number(interrupt);
    return number != 0 ? 128 + number : code;
}

static int run_acquire(const struct acquire_words *words)
{
    struct interrupt interrupt;
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    int result = interrupt_begin(&interrupt);
    if (result != LOCKSTEP_OK) {
        return cli_fail("acquire", result);
    }
    result = create_client(words, &client);
    int code = result == LOCKSTEP_OK ? acquire(words, client, &interrupt, &lock) : cli_fail("acquire", result);
    if (code == CLI_EXIT_OK) {
        lockstep_client_detach(client);
    } else {
        lockstep_client_free(client);
    }
    lockstep_lock_free(lock);
    interrupt_end(&interrupt);
    return code;
}

int cli_acquire(struct cli *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {&cli_wanted_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .parser = parse_acquire,
        .args_doc = "KEY --ttl D",
        .doc = "Take a lock that outlives this process, and print a handle for extend and release.\v"
               "With -o json it also prints the fence, which a storage compares, the token and the session. Without an "
               "extend the lock ends when its ttl is over. Whoever knows the handle can use it: treat it like a password. "
               "Without --try or --wait it waits for ever; one that is killed is out of the queue within 10s.",
        .children = children,
    };
    struct acquire_words words = {.cli = cli};
    cli_wanted_init(&words.wanted);
    cli_parse(&argp, argc, argv, &words);
    (void)signal(SIGPIPE, SIG_IGN); /* that nobody reads the handle is learnt from the write */
    return run_acquire(&words);
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
        {"ttl", 't', "DURATION", 0, "100ms..24h; how long it lives from now on at least: a deadline never moves back", 0}, {0}};
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse_handle,
        .args_doc = "HANDLE --ttl D",
        .doc = "Let what a handle stands for live for D from now, if it would not live longer anyway.",
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
