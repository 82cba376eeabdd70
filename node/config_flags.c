/* The settings of the command line, taken apart by argp, and of the environment. argp prints and exits nowhere: mistakes
 * are collected like all others. */
#include "node/config.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "node/config_value.h"
#include "protocol/assert.h"

enum {
    FLAG_KEYS = 0x1000, /* + enum config_key */
    FLAG_CONFIG = 0x2000,
    FLAG_CHECK,
    FLAG_DEV,
    FLAG_HELP,
    FLAG_VERSION,
    FLAG_PRINT,
    FLAG_HELP_BYTES = 768,
};

struct named_action {
    const char *name;
    enum config_action action;
};
static const struct named_action print_actions[] = {
    {"sample", CONFIG_PRINT_SAMPLE},
    {"table", CONFIG_PRINT_TABLE},
    {"exits", CONFIG_PRINT_EXITS},
    {NULL, CONFIG_RUN},
};

static const struct argp_option own_options[] = {
    {"config", FLAG_CONFIG, "FILE", 0, "Read settings from FILE. Also LOCKSTEPD_CONFIG.", 1},
    {"dev", FLAG_DEV, NULL, 0,
     "Run a cluster of this one node, to try things with: node 1 of cluster dev, its data in a temporary directory that "
     "is removed at the end, unless data-dir is set.",
     1},
    {"check-config", FLAG_CHECK, NULL, 0, "Print the settings in effect, or every mistake in them, and exit.",
     1},
    {"print", FLAG_PRINT, "sample|table|exits", 0,
     "Print a commented settings file, all settings as a Markdown table, or the exit codes as one, and exit.",
     1},
    {"version", FLAG_VERSION, NULL, 0, "Print the version and exit.", 1},
    {"help", FLAG_HELP, NULL, 0, "Print this and exit.", 1},
};

static const struct {
    const char *name;
    const char *help;
} sections[] = {
#define X(name, help) {name, help},
    CONFIG_SECTIONS(X)
#undef X
};

enum {
    OWN_COUNT = sizeof(own_options) / sizeof(own_options[0]),
    SECTIONS_COUNT = sizeof(sections) / sizeof(sections[0]),
};

/* argp's options, made from the table. The texts must outlive the parse. */
struct flag_table {
    struct argp_option options[OWN_COUNT + SECTIONS_COUNT + CONFIG_KEYS_COUNT + 1];
    char help[CONFIG_KEYS_COUNT][FLAG_HELP_BYTES];
};

static const char *key_help(enum config_key key, char ret_help[FLAG_HELP_BYTES])
{
    char allowed[CONFIG_ALLOWED_BYTES_MAX];
    const char *fallback = config_key_default(key);
    (void)snprintf(ret_help, FLAG_HELP_BYTES, "%s Allowed: %s.%s%s%s", config_key_help(key),
                   config_key_allowed(key, allowed), fallback[0] != '\0' ? " Default: " : "", fallback,
                   fallback[0] != '\0' ? "." : "");
    return ret_help;
}

static void section_options(struct flag_table *table, unsigned section, struct argp_option **next)
{
    int group = (int)section + 2;
    *(*next)++ = (struct argp_option){.doc = sections[section].help, .group = group};
    for (unsigned key = 0; key < CONFIG_KEYS_COUNT; key++) {
        if (strcmp(config_key_section((enum config_key)key), sections[section].name) == 0) {
            *(*next)++ = (struct argp_option){
                .name = config_key_name((enum config_key)key),
                .key = FLAG_KEYS + (int)key,
                .arg = "VALUE",
                .doc = key_help((enum config_key)key, table->help[key]),
                .group = group,
            };
        }
    }
}

/* To be freed with free(). */
static struct flag_table *flag_table_create(void)
{
    struct flag_table *table = calloc(1, sizeof(*table));
    LOCKSTEP_ASSERT(table != NULL);
    struct argp_option *next = table->options;
    memcpy(next, own_options, sizeof(own_options));
    next += OWN_COUNT;
    for (unsigned section = 0; section < SECTIONS_COUNT; section++) {
        section_options(table, section, &next);
    }
    LOCKSTEP_ASSERT(next == table->options + OWN_COUNT + SECTIONS_COUNT + CONFIG_KEYS_COUNT);
    return table;
}

struct flag_reader {
    struct config *config;
    struct config_errors *errors;
    const struct flag_table *table;
    enum config_action action;
    int parsed;   /* arguments that are done with, in the present call of argp */
    bool stopped; /* argp met a bad flag, and stopped */
};

static void read_print(struct flag_reader *reader, const char *value)
{
    const struct named_action *row = print_actions;
    while (row->name != NULL && strcmp(row->name, value) != 0) {
        row++;
    }
    if (row->name == NULL) {
        config_error(reader->errors,
                     "--print: \"%.64s\" is nothing to print; allowed: sample, table or exits", value);
        reader->config->guessing = true; /* who wants to print needs no settings */
    }
    reader->action = row->action;
}

static void read_key(struct flag_reader *reader, enum config_key key, const char *value)
{
    char what[80];
    (void)snprintf(what, sizeof(what), "--%s", config_key_name(key));
    (void)config_set(reader->config, key, value, (struct config_origin){CONFIG_FLAG, 0}, what,
                     reader->errors);
}

static void read_file_name(struct flag_reader *reader, const char *value)
{
    if (strlen(value) > CONFIG_TEXT_BYTES_MAX || value[0] == '\0') {
        config_error(reader->errors, "--config: the path is empty or longer than %d bytes",
                     CONFIG_TEXT_BYTES_MAX);
        reader->config->guessing = true;
        return;
    }
    (void)snprintf(reader->config->file.text, sizeof(reader->config->file.text), "%s", value);
}

/* argp stopped at `flag`: say whether it does not exist, lacks its value, or has one too many. */
static void bad_flag(struct flag_reader *reader, const char *flag)
{
    const char *name = flag + strspn(flag, "-");
    size_t size = strcspn(name, "=");
    for (const struct argp_option *option = reader->table->options;
         option->name != NULL || option->doc != NULL; option++) {
        if (option->name != NULL && strlen(option->name) == size && strncmp(option->name, name, size) == 0) {
            config_error(reader->errors, option->arg != NULL ? "--%s needs a value" : "--%s takes no value",
                         option->name);
            return;
        }
    }
    config_error(reader->errors,
                 "there is no flag \"%.80s\", or it is short for several; see lockstepd --help", flag);
}

/* argp has stopped. The bad flag is the one before the next, but for a cluster such as -xyz: there getopt stays where it
 * was. */
static void stop(struct flag_reader *reader, const struct argp_state *state)
{
    reader->config->guessing = true;
    bool cluster = state->next == reader->parsed && state->next < state->argc;
    bad_flag(reader, state->argv[cluster ? state->next : state->next - 1]);
    reader->parsed = cluster ? state->next + 1 : state->next;
    reader->stopped = true;
    LOCKSTEP_ASSERT(reader->parsed > 1);
}

static error_t next_flag(int key, char *value, struct argp_state *state)
{
    struct flag_reader *reader = state->input;
    if (key == ARGP_KEY_ARG || (key >= FLAG_KEYS && key <= FLAG_PRINT)) {
        reader->parsed = state->next;
    }
    if (key >= FLAG_KEYS && key < FLAG_KEYS + CONFIG_KEYS_COUNT) {
        read_key(reader, (enum config_key)(key - FLAG_KEYS), value);
        return 0;
    }
    switch (key) {
    case FLAG_CONFIG:
        read_file_name(reader, value);
        return 0;
    case FLAG_CHECK:
        reader->action = CONFIG_CHECK;
        return 0;
    case FLAG_DEV:
        reader->config->dev = true;
        return 0;
    case FLAG_HELP:
        reader->action = CONFIG_HELP;
        return 0;
    case FLAG_VERSION:
        reader->action = CONFIG_VERSION;
        return 0;
    case FLAG_PRINT:
        read_print(reader, value);
        return 0;
    case ARGP_KEY_ARG:
        reader->config->guessing = true;
        config_error(reader->errors,
                     "\"%.80s\" is no flag, and lockstepd takes nothing else; see lockstepd --help", value);
        return 0;
    case ARGP_KEY_ERROR:
        stop(reader, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum config_action config_read_flags(struct config *config, int argc, char **argv,
                                     struct config_errors *errors)
{
    struct flag_table *table = flag_table_create();
    struct flag_reader reader = {.config = config, .errors = errors, .table = table, .action = CONFIG_RUN};
    const struct argp argp = {.options = table->options, .parser = next_flag};
    /* After a bad flag argp gives up; what follows is read too, so that all mistakes are told and nothing seems missing.
     * Each round is done with at least one argument. What argp returns is in `errors` already. */
    for (int done = 0; done < argc - 1; done += reader.parsed - 1) {
        reader.parsed = 1;
        reader.stopped = false;
        (void)argp_parse(&argp, argc - done, argv + done,
                         ARGP_IN_ORDER | ARGP_NO_HELP | ARGP_NO_EXIT | ARGP_NO_ERRS, NULL, &reader);
        if (!reader.stopped) {
            break;
        }
    }
    free(table);
    return reader.action;
}

void config_print_help(FILE *out)
{
    struct flag_table *table = flag_table_create();
    char name[] = "lockstepd";
    const struct argp argp = {
        .options = table->options,
        .parser = next_flag,
        .doc =
            "One node of a Lockstep cluster.\v"
            "Every setting is also a key of the file and an environment variable: --data-dir is data-dir under "
            "[node] and LOCKSTEPD_DATA_DIR. A flag wins over the environment, that over the file, and that over "
            "the default. Exit codes are in docs/operations.md.",
    };
    argp_help(&argp, out, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
    free(table);
}

/* The key whose variable `name` (of `size` bytes) is, or CONFIG_KEYS_COUNT. */
static enum config_key variable_find(const char *name, size_t size)
{
    unsigned key = 0;
    for (; key < CONFIG_KEYS_COUNT; key++) {
        char variable[64];
        (void)config_key_variable((enum config_key)key, variable);
        if (strlen(variable) == size && strncmp(variable, name, size) == 0) {
            break;
        }
    }
    return (enum config_key)key;
}

void config_read_environment(struct config *config, char *const *environment, struct config_errors *errors)
{
    static const char prefix[] = "LOCKSTEPD_";
    for (; *environment != NULL; environment++) {
        const char *variable = *environment;
        size_t size = strcspn(variable, "=");
        char what[64];
        if (strncmp(variable, prefix, sizeof(prefix) - 1) != 0 || variable[size] != '=' ||
            (size == strlen("LOCKSTEPD_CONFIG") && strncmp(variable, "LOCKSTEPD_CONFIG", size) == 0)) {
            continue;
        }
        enum config_key key = variable_find(variable, size);
        if (key == CONFIG_KEYS_COUNT) {
            config_error(errors, "there is no environment variable \"%.*s\"; see lockstepd --help",
                         size > 80 ? 80 : (int)size, variable);
            config->guessing = true;
            continue;
        }
        (void)config_set(config, key, variable + size + 1, (struct config_origin){CONFIG_ENVIRONMENT, 0},
                         config_key_variable(key, what), errors);
    }
}
