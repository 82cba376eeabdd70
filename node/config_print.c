/* The settings for people: in effect, as a sample file, as a table of the manual. See config.h. */
#include "node/config.h"

#include <string.h>

#include "node/config_value.h"

static const struct {
    const char *name;
    const char *help;
} sections[] = {
#define X(name, help) {name, help},
    CONFIG_SECTIONS(X)
#undef X
};
enum { SECTIONS_COUNT = sizeof(sections) / sizeof(sections[0]), VALUE_BYTES_MAX = 8192 };

/* What the sample shows for a setting without a default. */
static const char *sample_value(enum config_key key)
{
    switch ((int)key) {
    case CONFIG_KEY_node_id:
        return "1";
    case CONFIG_KEY_cluster:
        return "example";
    case CONFIG_KEY_data_dir:
        return "/var/lib/lockstep";
    case CONFIG_KEY_peers:
        return "1=10.0.0.1:7500/10.0.0.1:7400,\n"
               "#    2=10.0.0.2:7500/10.0.0.2:7400,\n"
               "#    3=10.0.0.3:7500/10.0.0.3:7400";
    default:
        return config_key_default(key);
    }
}

static const char *source_text(const struct config *config, enum config_key key,
                               char ret_text[CONFIG_TEXT_BYTES_MAX + 64])
{
    char variable[64];
    switch (config->origins[key].source) {
    case CONFIG_FILE:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 64, "%s:%u", config->file.text,
                       config->origins[key].line);
        return ret_text;
    case CONFIG_ENVIRONMENT:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 64, "%s", config_key_variable(key, variable));
        return ret_text;
    case CONFIG_FLAG:
        return "command line";
    case CONFIG_DEFAULT:
    default:
        return "default";
    }
}

/* A list of nodes is broken after each comma, because a line of the file has a limit. No other value may be: only a list goes
 * on in an indented line, and a path may have commas of its own. */
static void print_value(enum config_key key, const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        (void)fputc(*text, out);
        if (*text == ',' && key == CONFIG_KEY_peers) {
            (void)fputs("\n    ", out);
        }
    }
}

void config_print(const struct config *config, FILE *out)
{
    static char text[VALUE_BYTES_MAX]; /* only written and read here, before the loop runs */
    char source[CONFIG_TEXT_BYTES_MAX + 64];
    for (unsigned section = 0; section < SECTIONS_COUNT; section++) {
        (void)fprintf(out, "%s[%s]\n", section == 0 ? "" : "\n", sections[section].name);
        for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
            enum config_key key = (enum config_key)i;
            if (strcmp(config_key_section(key), sections[section].name) != 0) {
                continue;
            }
            (void)config_value_text(config, key, text, sizeof(text));
            (void)fprintf(out, "# %s\n%s%s = ", source_text(config, key, source), text[0] == '\0' ? "# " : "",
                          config_key_name(key));
            print_value(key, text[0] == '\0' ? "(not set)" : text, out);
            (void)fputc('\n', out);
        }
    }
}

/* `text` as comment lines of at most 100 columns. */
static void print_comment(const char *text, FILE *out)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t word = strcspn(text, " ");
        if (column == 0 || column + 1 + word > 100) {
            column = (size_t)fprintf(out, "%s#", column == 0 ? "" : "\n");
        }
        column += (size_t)fprintf(out, " %.*s", (int)word, text);
        text += word;
        text += strspn(text, " ");
    }
    (void)fputc('\n', out);
}

void config_print_sample(FILE *out)
{
    (void)fputs(
        "# Settings of lockstepd. What begins with # shows the default, or an example where there is none.\n"
        "# lockstepd --config FILE --check-config says what is in effect, or what is wrong.\n"
        "# Each setting is also a flag, --data-dir, and an environment variable, LOCKSTEPD_DATA_DIR; a flag wins\n"
        "# over the environment, and that over this file. Durations read 500ms 30s 5m 2h, sizes 64KiB 16MiB 1GiB.\n",
        out);
    for (unsigned section = 0; section < SECTIONS_COUNT; section++) {
        (void)fprintf(out, "\n# %s\n[%s]\n", sections[section].help, sections[section].name);
        for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
            enum config_key key = (enum config_key)i;
            char help[1024];
            char allowed[CONFIG_ALLOWED_BYTES_MAX];
            if (strcmp(config_key_section(key), sections[section].name) != 0) {
                continue;
            }
            (void)snprintf(help, sizeof(help), "%s Allowed: %s.", config_key_help(key),
                           config_key_allowed(key, allowed));
            (void)fputc('\n', out);
            print_comment(help, out);
            (void)fprintf(out, "#%s = %s\n", config_key_name(key), sample_value(key));
        }
    }
}

/* A bar would end the cell. */
static void print_cell(const char *text, FILE *out)
{
    (void)fputs(" ", out);
    for (; *text != '\0'; text++) {
        (void)fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
    }
    (void)fputs(" |", out);
}

void config_print_table(FILE *out)
{
    (void)fputs("| setting | section | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n",
                out);
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        char cell[128];
        char allowed[CONFIG_ALLOWED_BYTES_MAX];
        const char *fallback = config_key_default(key);
        (void)snprintf(cell, sizeof(cell), "`%s`", config_key_name(key));
        (void)fputc('|', out);
        print_cell(cell, out);
        print_cell(config_key_section(key), out);
        (void)snprintf(cell, sizeof(cell), fallback[0] != '\0' ? "`%s`" : "%s",
                       fallback[0] != '\0' ? fallback : "none");
        print_cell(cell, out);
        print_cell(config_key_allowed(key, allowed), out);
        print_cell(config_key_help(key), out);
        (void)fputc('\n', out);
    }
}
