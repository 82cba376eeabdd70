/* Global options, defaults, and how the program ends. */
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"

#define ENDPOINTS_DEFAULT "127.0.0.1:7400"

enum { KEY_TIMEOUT = 0x100, ENDPOINTS_BYTES_MAX = 8192, SENTENCE_BYTES_MAX = 2048 };

static bool failures_as_json; /* as struct cli.json, for those who report without one */
/* Where the endpoints come from, if nobody named them in this command: whoever hears that none answers has to know which were
 * asked, and why these. */
static char endpoints_origin[4096 + 64];

static const struct argp_option common_options[] = {
    {"endpoints", 'e', "HOST:PORT,...", 0, "any of the cluster's nodes (see the end of lockstep --help)", 10},
    {"output", 'o', "text|json", 0, "for people or for programs, failures too; default: text", 10},
    {"timeout", KEY_TIMEOUT, "DURATION", 0, "1ms..24h; how long an answer may take; default: 10s", 10},
    {0},
};

static void set_endpoints(struct cli *cli, const char *endpoints)
{
    free(cli->endpoints);
    cli->endpoints = strdup(endpoints);
    if (cli->endpoints == NULL) {
        abort();
    }
}

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
    struct cli *cli = state->input;
    switch (key) {
    case 'e':
        set_endpoints(cli, argument);
        endpoints_origin[0] = '\0';
        return 0;
    case 'o':
        if (strcmp(argument, "text") != 0 && strcmp(argument, "json") != 0) {
            cli_misused("--output is \"%s\"; allowed are text and json", argument);
        }
        cli->json = strcmp(argument, "json") == 0;
        failures_as_json = cli->json;
        return 0;
    case KEY_TIMEOUT:
        cli->timeout_ms = cli_duration("--timeout", argument, 1, 24LL * 60 * 60 * 1000);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_common_argp = {.options = common_options, .parser = parse_common};

/* What deploy/local-cluster wrote, if it is this user's. @return NULL if there is none; else the caller frees it. */
static char *local_cluster_endpoints(void)
{
    char path[4096];
    char text[ENDPOINTS_BYTES_MAX];
    struct stat status;
    const char *directory = getenv("TMPDIR");
    const struct passwd *user = getpwuid(geteuid());
    if (directory == NULL || directory[0] == '\0') {
        directory = "/tmp";
    }
    if (user == NULL || (size_t)snprintf(path, sizeof path, "%s/lockstep-cluster-%s/endpoints", directory, user->pw_name) >=
                            sizeof path) {
        return NULL;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return NULL;
    }
    /* Anybody can make a file in a temporary directory; only one's own is believed. */
    bool own = fstat(fileno(file), &status) == 0 && status.st_uid == geteuid();
    char *line = own ? fgets(text, sizeof text, file) : NULL;
    (void)fclose(file);
    if (line == NULL) {
        return NULL;
    }
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0') {
        return NULL;
    }
    (void)snprintf(endpoints_origin, sizeof endpoints_origin, "those of deploy/local-cluster, from %s", path);
    return strdup(line);
}

void cli_init(struct cli *cli)
{
    const char *named = getenv("LOCKSTEP_ENDPOINTS");
    memset(cli, 0, sizeof *cli);
    cli->timeout_ms = 10 * 1000;
    if (named != NULL && named[0] != '\0') {
        set_endpoints(cli, named);
        (void)snprintf(endpoints_origin, sizeof endpoints_origin, "those of LOCKSTEP_ENDPOINTS");
        return;
    }
    cli->endpoints = local_cluster_endpoints();
    if (cli->endpoints == NULL) {
        set_endpoints(cli, ENDPOINTS_DEFAULT);
        (void)snprintf(endpoints_origin, sizeof endpoints_origin,
                       "the default, as neither --endpoints nor LOCKSTEP_ENDPOINTS names any");
    }
}

void cli_done(struct cli *cli)
{
    free(cli->endpoints);
    cli->endpoints = NULL;
}

void cli_client_options(const struct cli *cli, struct lockstep_options *ret_options)
{
    lockstep_options_init(ret_options);
    ret_options->endpoints = cli->endpoints;
    ret_options->request_timeout_ms = cli->timeout_ms;
}

struct lockstep_client *cli_client(const struct cli *cli)
{
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    cli_client_options(cli, &options);
    int result = lockstep_client_create(&options, &client);
    if (result == LOCKSTEP_INVALID) {
        cli_misused("%s%s%s", lockstep_error_message(), endpoints_origin[0] != '\0' ? "; the endpoints are " : "",
                    endpoints_origin);
    }
    if (result != LOCKSTEP_OK) {
        exit(cli_fail("client", result));
    }
    return client;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    char name[64];
    (void)snprintf(name, sizeof name, "lockstep %s", argv[0]);
    argv[0] = name;
    program_invocation_name = name; /* what argp's messages begin with */
    /* In order, so that of several mistakes the first is told: in "lock KEY rsync -a" it is not the option. */
    (void)argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input);
}

/* ---- ends ---- */

enum cli_exit cli_exit_of(int result)
{
    switch (result) {
    case LOCKSTEP_OK:
        return CLI_EXIT_OK;
    case LOCKSTEP_HELD:
    case LOCKSTEP_TIMED_OUT:
        return CLI_EXIT_HELD;
    case LOCKSTEP_NOT_HELD:
    case LOCKSTEP_SESSION_LOST:
    case LOCKSTEP_STALE_FENCE:
    case LOCKSTEP_BAD_SECRET:
        return CLI_EXIT_NOT_HELD;
    case LOCKSTEP_UNREACHABLE:
    case LOCKSTEP_WRONG_CLUSTER:
        return CLI_EXIT_UNREACHABLE;
    case LOCKSTEP_UNKNOWN:
    case LOCKSTEP_CLOSED:
        return CLI_EXIT_UNKNOWN;
    case LOCKSTEP_NOT_FOUND:
        return CLI_EXIT_NOT_FOUND;
    case LOCKSTEP_INVALID:
        return CLI_EXIT_USAGE;
    default:
        return CLI_EXIT_FAILED;
    }
}

int cli_report(enum cli_exit code, const char *name, const char *what, const char *format, ...)
{
    char sentence[SENTENCE_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments); /* a longer one is cut */
    va_end(arguments);
    /* A word that is no UTF-8 is in no JSON: then it is told as text. */
    json_t *object = failures_as_json ? json_pack("{s:s, s:i, s:s, s:s}", "error", name, "exit_code", (int)code, "subject",
                                                  what, "message", sentence)
                                      : NULL;
    if (object == NULL) {
        (void)fprintf(stderr, "lockstep: %s: %s: %s\n", what, name, sentence);
    } else {
        (void)json_dumpf(object, stderr, JSON_COMPACT);
        (void)fputc('\n', stderr);
    }
    json_decref(object);
    return (int)code;
}

int cli_fail(const char *what, int result)
{
    const char *text = lockstep_result_text(result);
    const char *sentence = lockstep_error_message();
    bool adds = sentence[0] != '\0' && strcmp(sentence, text) != 0;
    bool of_endpoints = cli_exit_of(result) == CLI_EXIT_UNREACHABLE || strncmp(sentence, "endpoints:", 10) == 0;
    bool explains = of_endpoints && endpoints_origin[0] != '\0';
    return cli_report(cli_exit_of(result), lockstep_result_name(result), what, "%s%s%s%s%s", text, adds ? ": " : "",
                      adds ? sentence : "", explains ? "; the endpoints are " : "", explains ? endpoints_origin : "");
}

_Noreturn void cli_misused(const char *format, ...)
{
    va_list arguments;
    (void)fputs("lockstep: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(CLI_EXIT_USAGE);
}
