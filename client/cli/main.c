/* `lockstep`: for people and shell scripts. Finds the subcommand; each has a file or shares one with its kin. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"

static const struct subcommand {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
    const char *words;
    const char *help;
} subcommands[] = {
    {"lock", cli_lock, "KEY [options] -- COMMAND ...", "run COMMAND while holding the lock"},
    {"acquire", cli_acquire, "KEY --ttl D [options]", "take a lock that outlives this process; prints a handle"},
    {"extend", cli_extend, "HANDLE --ttl D", "let what a handle stands for live for D from now at least"},
    {"release", cli_release, "HANDLE", "give back what a handle stands for"},
    {"status", cli_status, "KEY", "one lock: holders, waiters, value, delay"},
    {"list", cli_list, "[PREFIX]", "the locks in use"},
    {"sessions", cli_sessions, "", "the sessions"},
    {"check", cli_check, "KEY FENCE", "whether FENCE is that of a current holder"},
    {"cluster", cli_cluster, "status|transfer", "every node as it sees itself; or let another node lead"},
    {"force-release", cli_force_release, "KEY --reason R", "take a lock away from its holders"},
    {"kill-session", cli_kill_session, "ID --reason R", "end a session with all it holds"},
};
enum { SUBCOMMANDS = sizeof subcommands / sizeof subcommands[0] };

static void print_table(FILE *out)
{
    (void)fputs("\nSubcommands (each with --help):\n", out);
    for (unsigned i = 0; i < SUBCOMMANDS; i++) {
        (void)fprintf(out, "  %s%s%s\n      %s\n", subcommands[i].name, subcommands[i].words[0] != '\0' ? " " : "",
                      subcommands[i].words, subcommands[i].help);
    }
    (void)fputs("\nExit codes:\n", out);
#define X(name, code, text) (void)fprintf(out, "  %3d  %s\n", code, text);
    CLI_EXITS(X)
#undef X
    (void)fputs("`lock` returns the exit code of COMMAND, or 128 + N if signal N ended it.\n\n"
                "Durations are 500ms, 30s, 5m or 2h.\n\n"
                "Without --endpoints those of LOCKSTEP_ENDPOINTS are asked; else those that deploy/local-cluster wrote to "
                "$TMPDIR/lockstep-cluster-USER/endpoints (/tmp if TMPDIR is not set), if the file is the user's own; else "
                "127.0.0.1:7400.\n",
                out);
}

/* Options before the subcommand; stops at its name. */
static char *filter_help(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_EXTRA) {
        return (char *)(uintptr_t)text; /* argp's own prototype takes the text back without const */
    }
    char *extra = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&extra, &size);
    if (out == NULL) {
        return NULL;
    }
    print_table(out);
    (void)fclose(out);
    return extra;
}

struct top {
    struct cli *cli;
    int first; /* index of the subcommand's name */
};

static error_t parse_top(int key, char *argument, struct argp_state *state)
{
    struct top *top = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = top->cli;
        return 0;
    case ARGP_KEY_ARG:
        (void)argument;
        top->first = state->next - 1;
        state->next = state->argc; /* the rest is the subcommand's */
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct subcommand *find(const char *name)
{
    for (unsigned i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(subcommands[i].name, name) == 0) {
            return &subcommands[i];
        }
    }
    return NULL;
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    (void)fprintf(stream, "lockstep %s\n", lockstep_version());
}

/* The library's sockets would take the place of standard descriptors that are closed, which libuv does not bear, and which would
 * be read and written by mistake. What takes it instead is opened the wrong way round: using it fails, as if it were closed. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            exit(CLI_EXIT_FAILED); /* perhaps without a place to say so */
        }
    }
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .parser = parse_top,
        .args_doc = "SUBCOMMAND ...",
        .doc = "Locks from the command line.\v",
        .children = children,
        .help_filter = filter_help,
    };
    struct cli cli;
    struct top top = {.cli = &cli, .first = 0};
    fill_standard_descriptors();
    argp_err_exit_status = CLI_EXIT_USAGE;
    argp_program_version_hook = print_version;
    cli_init(&cli);
    (void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &top); /* ends the process on an error */
    if (top.first == 0) {
        cli_misused("a subcommand is missing; see lockstep --help");
    }
    const struct subcommand *subcommand = find(argv[top.first]);
    if (subcommand == NULL) {
        cli_misused("\"%s\" is no subcommand; see lockstep --help", argv[top.first]);
    }
    int code = subcommand->run(&cli, argc - top.first, argv + top.first);
    cli_done(&cli);
    if (fflush(stdout) != 0 && code == CLI_EXIT_OK) {
        code = cli_report(CLI_EXIT_FAILED, "FAILED", "standard output", "it could not be written");
    }
    return code;
}
