/* The settings of a node: from a file, the environment and flags, each value checked and each mistake named.
 *
 * Precedence: flag, then environment, then file, then default. A value that is overridden is checked all the same.
 * Nothing is guessed: an unknown key, section, flag or LOCKSTEPD_ variable is an error, so is a number without its unit.
 *
 * Blocking, before the loop runs. No global state; the environment is an argument. */
#ifndef LOCKSTEP_NODE_CONFIG_H
#define LOCKSTEP_NODE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "node/config_keys.h"
#include "node/replica/replica.h"

enum {
    CONFIG_TEXT_BYTES_MAX = 1023, /* a path, an address, a name */
    CONFIG_CLUSTER_BYTES_MAX = 64,
    CONFIG_ERRORS_MAX = 32, /* more are only counted */
    CONFIG_ERROR_BYTES_MAX = 768,
};

struct config_text {
    char text[CONFIG_TEXT_BYTES_MAX + 1]; /* "" : not set */
};
struct config_cluster {
    char name[CONFIG_CLUSTER_BYTES_MAX + 1]; /* as written */
    uint64_t id;                             /* 0: not set */
};
struct config_peers {
    struct replica_member members[REPLICA_MEMBERS_MAX]; /* all voters */
    unsigned count;                                     /* 0: not set */
};

typedef uint64_t config_type_NUMBER;
typedef uint64_t config_type_DURATION; /* milliseconds */
typedef uint64_t config_type_SIZE;     /* bytes */
typedef uint64_t config_type_CHECK;    /* enum core_check */
typedef uint64_t config_type_LEVEL;    /* enum logger_level */
typedef uint64_t config_type_FORMAT;   /* enum logger_format */
typedef struct config_text config_type_PATH;
typedef struct config_text config_type_ADDRESS;
typedef struct config_cluster config_type_CLUSTER;
typedef struct config_peers config_type_PEERS;

/* Where a value came from. */
enum config_source { CONFIG_DEFAULT = 0, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };
struct config_origin {
    enum config_source source;
    unsigned line; /* CONFIG_FILE */
};

enum config_key {
#define X(field, ...) CONFIG_KEY_##field,
    CONFIG_KEYS(X)
#undef X
        CONFIG_KEYS_COUNT
};

struct config {
#define X(field, name, section, type, ...) config_type_##type field;
    CONFIG_KEYS(X)
#undef X
    struct config_origin origins[CONFIG_KEYS_COUNT];
    bool refused[CONFIG_KEYS_COUNT]; /* given, and no such value: wrong rather than not set */
    bool guessing; /* a name or the file was not understood: what seems to be missing may be in there */
    struct config_text file; /* the file that was read; "": none */
    bool dev;                /* --dev: one node, its data gone at the end unless data-dir is given */
};

struct config_errors {
    unsigned count; /* may be more than are kept */
    char text[CONFIG_ERRORS_MAX][CONFIG_ERROR_BYTES_MAX];
};
void config_error(struct config_errors *errors, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What the command line asks for. */
enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK,
    CONFIG_HELP,
    CONFIG_VERSION,
    CONFIG_PRINT_SAMPLE,
    CONFIG_PRINT_TABLE,
    CONFIG_PRINT_EXITS, /* the table of exits.h */
};

/* Read everything.
 * @param environment  NULL-terminated, "NAME=value" each.
 * @param config       filled as far as it goes, also with errors; usable only without.
 * @return the action; look at errors->count before you obey CONFIG_RUN and CONFIG_CHECK. */
enum config_action config_load(struct config *config, int argc, char **argv, char *const *environment,
                               struct config_errors *errors);

/* Read the settings of one source. For config_load() and tests. */
void config_defaults(struct config *config);
void config_read_file(struct config *config, const char *path, struct config_errors *errors);
void config_read_environment(struct config *config, char *const *environment, struct config_errors *errors);
enum config_action config_read_flags(struct config *config, int argc, char **argv,
                                     struct config_errors *errors);
/* The rules between settings, and what is required. After all sources were read. */
void config_check(struct config *config, struct config_errors *errors);

/* What is allowed and rarely meant: where this node listens is not where its entry in peers says that it is. */
void config_doubts(const struct config *config, struct config_errors *ret_doubts);

/* Set one key from text.
 * @param what  how to name the place in an error: "lockstepd.conf:12: election-timeout", "--election-timeout". */
bool config_set(struct config *config, enum config_key key, const char *value, struct config_origin origin,
                const char *what, struct config_errors *errors);

/* The key of that name, or CONFIG_KEYS_COUNT. */
enum config_key config_key_find(const char *name);
const char *config_key_name(enum config_key key);
const char *config_key_section(enum config_key key);
const char *config_key_help(enum config_key key);
const char *config_key_default(enum config_key key);
/* LOCKSTEPD_<NAME>. Into `ret_name`, which is returned. */
const char *config_key_variable(enum config_key key, char ret_name[64]);
/* What may be written, for people: "50ms to 1m", "on or off". Into `ret_text`, which is returned. */
const char *config_key_allowed(enum config_key key, char ret_text[128]);
/* The value as it would be written. Into `ret_text`, which is returned. */
const char *config_value_text(const struct config *config, enum config_key key, char *ret_text, size_t size);

/* The effective settings, readable as a file, with where each came from. */
void config_print(const struct config *config, FILE *out);
/* A commented sample file; a Markdown table of all settings. */
void config_print_sample(FILE *out);
void config_print_table(FILE *out);
void config_print_help(FILE *out);

#endif
