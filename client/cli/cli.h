/* What the subcommands of `lockstep` share: global options, results to exit codes, tables and JSON. */
#ifndef LOCKSTEP_CLI_CLI_H
#define LOCKSTEP_CLI_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/cli/exits.h"
#include "lockstep.h"

/* ---- options that every subcommand takes ---- */

struct cli {
    char *endpoints; /* owned */
    bool json;
    int64_t timeout_ms;
};

/* As a child of each subcommand's parser; its input is a struct cli. */
extern const struct argp cli_common_argp;

/* From the environment and the defaults. */
void cli_init(struct cli *cli);
void cli_done(struct cli *cli);
/* Library options from the global ones. */
void cli_client_options(const struct cli *cli, struct lockstep_options *ret_options);
/* A client for queries; ends the process with a message if it can not be made. */
struct lockstep_client *cli_client(const struct cli *cli);

/* Parse a subcommand's words; argv[0] is its name. Errors end the process with CLI_EXIT_USAGE and name what is wrong. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* ---- ends ---- */

enum cli_exit cli_exit_of(int result);
/* Say on standard error what failed, and why: "lockstep: what: NAME: sentence", or with -o json an object on one line.
 * @return `code`. */
__attribute__((format(printf, 4, 5))) int cli_report(enum cli_exit code, const char *name, const char *what,
                                                     const char *format, ...);
/* The same for a result of the library, with its sentence. @return the exit code that goes with `result`. */
int cli_fail(const char *what, int result);
/* End with CLI_EXIT_USAGE, naming the word and what is allowed. */
_Noreturn __attribute__((format(printf, 1, 2))) void cli_misused(const char *format, ...);

/* ---- values ---- */

/* "500ms", "30s", "5m", "2h". Ends the process, naming `option`, if it is anything else or not within min..max. */
int64_t cli_duration(const char *option, const char *text, int64_t min_ms, int64_t max_ms);
uint64_t cli_number(const char *option, const char *text, uint64_t min, uint64_t max);
/* As cli_duration() takes it: "1500ms", "90s", "24h". `ret_text` has room for 32 bytes. */
const char *cli_duration_exact(int64_t ms, char *ret_text);
/* For people: "9.8s", "3m12s", "500ms". `ret_text` has room for 32 bytes. */
const char *cli_duration_text(uint64_t ms, char *ret_text);

/* ---- output ---- */

enum { CLI_COLUMNS_MAX = 12 };

/* Rows of text in columns as wide as they need to be. */
struct cli_table {
    char ***rows;
    size_t rows_count;
    unsigned columns;
};
void cli_table_begin(struct cli_table *table, unsigned columns, const char *const *heads);
void cli_table_row(struct cli_table *table, const char *const *cells);
void cli_table_print(const struct cli_table *table);
/* One that was never begun (all zero) is fine. */
void cli_table_free(struct cli_table *table);

/* Print one JSON value, stable order of members, and free it. */
void cli_json_end(json_t *value);
const char *cli_mode_name(enum lockstep_mode mode);

/* ---- subcommands: each gets its own words, argv[0] is its name; returns an exit code ---- */

int cli_lock(struct cli *cli, int argc, char **argv);
int cli_acquire(struct cli *cli, int argc, char **argv);
int cli_extend(struct cli *cli, int argc, char **argv);
int cli_release(struct cli *cli, int argc, char **argv);
int cli_status(struct cli *cli, int argc, char **argv);
int cli_list(struct cli *cli, int argc, char **argv);
int cli_sessions(struct cli *cli, int argc, char **argv);
int cli_check(struct cli *cli, int argc, char **argv);
int cli_cluster(struct cli *cli, int argc, char **argv);
int cli_force_release(struct cli *cli, int argc, char **argv);
int cli_kill_session(struct cli *cli, int argc, char **argv);

#endif
