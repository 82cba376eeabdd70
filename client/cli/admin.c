/* `force-release`, `kill-session`: an administrator takes away what a client can not or will not give back. */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/cli.h"

enum { KEY_REASON = 0x300, KEY_TOKEN };

struct admin_words {
    struct cli *cli;
    const char *subject_name; /* of the argument that says what is ended */
    const char *ended;        /* what it is that ends, one of them */
    const char *subject;
    const char *reason;
    uint64_t token;
};

static error_t parse_admin(int key, char *argument, struct argp_state *state)
{
    struct admin_words *words = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = words->cli;
        return 0;
    case KEY_REASON:
        words->reason = argument;
        return 0;
    case KEY_TOKEN:
        words->token = cli_number("--token", argument, 1, UINT64_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (words->subject != NULL) {
            return ARGP_ERR_UNKNOWN;
        }
        words->subject = argument;
        return 0;
    case ARGP_KEY_END:
        if (words->subject == NULL || words->reason == NULL) {
            argp_error(state, "%s is missing", words->subject == NULL ? words->subject_name : "--reason");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child admin_children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};

/* What was not found has no sentence of its own in the answer. */
static int not_held(const struct admin_words *words)
{
    if (words->token == 0) {
        return cli_report(CLI_EXIT_NOT_FOUND, "NOT_FOUND", words->subject, "nobody holds this lock");
    }
    return cli_report(CLI_EXIT_NOT_FOUND, "NOT_FOUND", words->subject,
                      "token %" PRIu64 " does not hold this lock", words->token);
}

static int finish(const struct admin_words *words, int result, uint64_t count)
{
    if (result != LOCKSTEP_OK) {
        return cli_fail(words->subject, result);
    }
    if (words->cli->json) {
        cli_json_end(json_pack("{s:I}", "count", (json_int_t)count));
    } else {
        (void)printf("%" PRIu64 " %s%s ended\n", count, words->ended, count == 1 ? "" : "s");
    }
    return CLI_EXIT_OK;
}

int cli_force_release(struct cli *cli, int argc, char **argv)
{
    static const struct argp_option argp_options[] = {
        {"reason", KEY_REASON, "TEXT", 0, "1..256 bytes, told to the holders and in the leader's log", 0},
        {"token", KEY_TOKEN, "TOKEN", 0, "only this grant; default: those of all holders", 0},
        {0}};
    static const struct argp argp = {.options = argp_options,
                                     .parser = parse_admin,
                                     .args_doc = "KEY --reason R",
                                     .doc = "Take a lock away from its holders.\v"
                                            "They are told if they can be reached, but may still write: only fences keep "
                                            "them from it.",
                                     .children = admin_children};
    struct admin_words words = {.cli = cli, .subject_name = "KEY", .ended = "grant"};
    uint64_t count = 0;
    cli_parse(&argp, argc, argv, &words);
    struct lockstep_client *client = cli_client(cli);
    int result = lockstep_force_release(client, words.subject, words.token, words.reason, &count);
    bool not_found = result == LOCKSTEP_NOT_FOUND || result == LOCKSTEP_NOT_HELD;
    int code = not_found ? not_held(&words) : finish(&words, result, count);
    lockstep_client_free(client);
    return code;
}

int cli_kill_session(struct cli *cli, int argc, char **argv)
{
    static const struct argp_option argp_options[] = {
        {"reason", KEY_REASON, "TEXT", 0, "1..256 bytes, told to the client and in the leader's log", 0}, {0}};
    static const struct argp argp = {.options = argp_options,
                                     .parser = parse_admin,
                                     .args_doc = "ID --reason R",
                                     .doc = "End a session with all that it holds and waits for.",
                                     .children = admin_children};
    struct admin_words words = {.cli = cli, .subject_name = "ID", .ended = "session"};
    cli_parse(&argp, argc, argv, &words);
    uint64_t id = cli_number("ID", words.subject, 1, UINT64_MAX);
    struct lockstep_client *client = cli_client(cli);
    int result = lockstep_session_kill(client, id, words.reason);
    int code = result == LOCKSTEP_NOT_FOUND ? cli_report(CLI_EXIT_NOT_FOUND, "NOT_FOUND", words.subject,
                                                         "there is no session with this number")
                                            : finish(&words, result, 1);
    lockstep_client_free(client);
    return code;
}
