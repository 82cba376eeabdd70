/* The settings of an INI file, read with inih.
 *
 * inih hands out no line numbers, cuts lines at 199 bytes without a word and takes an indented line for more of the value
 * before it. So this file counts the lines that it gives to inih, refuses longer ones, and joins such lines where that
 * means something (peers) and refuses them elsewhere. */
#include "node/config.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

#include "protocol/assert.h"

enum {
    VALUE_BYTES_MAX = 8192,
    FILE_BYTES_MAX = 1024 * 1024, /* more is something else: /dev/zero would be read for ever */
};

#define NO_LINE "this is no line of a settings file; allowed: [section], key = value, # comment"

struct file_reader {
    struct config *config;
    struct config_errors *errors;
    FILE *file;
    const char *path;
    unsigned line;
    unsigned bytes;
    bool zeros;                        /* a line had a zero byte, and it was told */
    bool indented;                     /* the line begins with a blank */
    unsigned begun[CONFIG_KEYS_COUNT]; /* the line where a key was given first; 0: not yet */
    char unknown[64];                  /* a section that there is not, and nothing under it yet; "": none */
    unsigned unknown_line;
    enum config_key last;        /* whose value an indented line continues; CONFIG_KEYS_COUNT: none */
    char value[VALUE_BYTES_MAX]; /* of `last`, joined */
};

static const char *const sections[] = {
#define X(name, help) name,
    CONFIG_SECTIONS(X)
#undef X
};

static bool section_known(const char *section)
{
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (strcmp(sections[i], section) == 0) {
            return true;
        }
    }
    return false;
}

static void file_error(struct file_reader *reader, unsigned line, const char *what)
{
    reader->config->guessing = true;
    config_error(reader->errors, "%s:%u: %s", reader->path, line, what);
}

/* An unknown section is told with the first setting under it, which says where that belongs; without one, at its end. */
static void section_finish(struct file_reader *reader)
{
    char what[160];
    if (reader->unknown[0] != '\0') {
        (void)snprintf(what, sizeof(what), "there is no section [%s]; see lockstepd --print sample",
                       reader->unknown);
        file_error(reader, reader->unknown_line, what);
    }
    reader->unknown[0] = '\0';
}

/* A line that inih will find no sense in: it goes on behind it, but tells only of the first. What this does not see (a bracket
 * or an equals sign within a comment), it does. */
static bool senseless(const char *line)
{
    if (line[0] == '[') {
        return strchr(line, ']') == NULL;
    }
    return line[strspn(line, " \t\r\n")] != '\0' && strchr(";# \t", line[0]) == NULL &&
           strpbrk(line, "=:") == NULL;
}

static void line_check(struct file_reader *reader, char *text, int size)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    const char *line = text;
    if (reader->line == 1 && strncmp(line, byte_order_mark, strlen(byte_order_mark)) == 0) {
        line += strlen(byte_order_mark);
    }
    if (senseless(line)) {
        file_error(reader, reader->line, NO_LINE);
        (void)snprintf(text, (size_t)size, "#\n");
    } else if (line[0] == '[') {
        section_finish(reader);
        (void)snprintf(reader->unknown, sizeof(reader->unknown), "%.*s", (int)strcspn(line + 1, "]"),
                       line + 1);
        reader->unknown_line = reader->line;
        if (section_known(reader->unknown)) {
            reader->unknown[0] = '\0';
        }
    }
}

static int next_byte(struct file_reader *reader)
{
    if (reader->bytes == FILE_BYTES_MAX) {
        return EOF;
    }
    reader->bytes++;
    return getc(reader->file);
}

/* As fgets(), but a zero byte, behind which the rest of the line would be lost without a word, makes an error and an empty line.
 * @return the line's length, 0 at the end. */
static int read_line(struct file_reader *reader, char *text, int size)
{
    bool zero = false;
    int length = 0;
    for (int c = 0; length < size - 1 && c != '\n' && (c = next_byte(reader)) != EOF;) {
        zero = zero || c == '\0';
        text[length++] = c == '\0' ? '#' : (char)c;
    }
    text[length] = '\0';
    reader->line += length > 0;
    if (zero) {
        text[0] = '#';
    }
    if (zero && !reader->zeros) {
        reader->zeros = true;
        file_error(reader, reader->line, "a zero byte stands in the line; allowed: text, as ASCII or UTF-8");
    }
    return length;
}

/* inih's reader: one line of at most `size` - 1 bytes into `text`, NULL at the end. */
static char *next_line(char *text, int size, void *ctx)
{
    struct file_reader *reader = ctx;
    int length = read_line(reader, text, size);
    if (length == 0) {
        return NULL;
    }
    reader->indented = text[0] == ' ' || text[0] == '\t';
    if (length == size - 1 && text[length - 1] != '\n') {
        int c;
        do {
            c = next_byte(reader);
        } while (c != EOF && c != '\n');
        config_error(
            reader->errors,
            "%s:%u: the line is longer than %d bytes; break a list of peers after a comma and indent what follows",
            reader->path, reader->line, size - 2);
        reader->config->guessing = true;
        (void)snprintf(text, (size_t)size, "#\n");
    } else {
        line_check(reader, text, size);
    }
    return text;
}

/* @return whether `name` may stand in `section`; if not, an error says so. */
static bool placed(struct file_reader *reader, const char *section, const char *name, enum config_key key)
{
    if (key == CONFIG_KEYS_COUNT) {
        config_error(reader->errors, "%s:%u: there is no setting \"%.64s\"; see lockstepd --help",
                     reader->path, reader->line, name);
    } else if (section[0] == '\0') {
        config_error(reader->errors, "%s:%u: %s stands before any section; it belongs under [%s]",
                     reader->path, reader->line, name, config_key_section(key));
    } else if (!section_known(section)) {
        config_error(reader->errors, "%s:%u: there is no section [%.64s]; %s belongs under [%s]",
                     reader->path, reader->line, section, name, config_key_section(key));
        reader->unknown[0] = '\0';
    } else if (strcmp(section, config_key_section(key)) != 0) {
        config_error(reader->errors, "%s:%u: %s stands under [%s]; it belongs under [%s]", reader->path,
                     reader->line, name, section, config_key_section(key));
    } else {
        return true;
    }
    reader->config->guessing = true;
    return false;
}

/* The value of `last` is complete: no line continues it. */
static void value_finish(struct file_reader *reader)
{
    char what[CONFIG_TEXT_BYTES_MAX + 128];
    if (reader->last == CONFIG_KEYS_COUNT) {
        return;
    }
    unsigned line = reader->begun[reader->last];
    (void)snprintf(what, sizeof(what), "%s:%u: %s", reader->path, line, config_key_name(reader->last));
    (void)config_set(reader->config, reader->last, reader->value, (struct config_origin){CONFIG_FILE, line},
                     what, reader->errors);
    reader->last = CONFIG_KEYS_COUNT;
}

static void value_continue(struct file_reader *reader, enum config_key key, const char *value)
{
    size_t used = strlen(reader->value);
    if (key != CONFIG_KEY_peers) {
        config_error(reader->errors,
                     "%s:%u: an indented line continues the value before it, and %s has only one line",
                     reader->path, reader->line, config_key_name(key));
        reader->config->guessing = true; /* it may be a setting that was indented */
    } else if (strlen(value) + 1 >= VALUE_BYTES_MAX - used) {
        config_error(reader->errors, "%s:%u: the list is longer than %d bytes", reader->path, reader->line,
                     VALUE_BYTES_MAX - 1);
    } else {
        /* With a blank, so that an entry behind a comma that is missing does not look like a part of the one before. */
        (void)snprintf(reader->value + used, VALUE_BYTES_MAX - used, " %s", value);
    }
}

/* inih's handler. @return 1; 0 would be inih's own error, which knows only a line number. */
static int next_value(void *ctx, const char *section, const char *name, const char *value)
{
    struct file_reader *reader = ctx;
    enum config_key key = config_key_find(name);
    if (reader->indented && key != CONFIG_KEYS_COUNT && key == reader->last) {
        value_continue(reader, key, value);
        return 1;
    }
    value_finish(reader);
    if (!placed(reader, section, name, key)) {
        return 1;
    }
    if (reader->begun[key] != 0) {
        config_error(reader->errors, "%s:%u: %s was given in line %u already", reader->path, reader->line,
                     name, reader->begun[key]);
        return 1;
    }
    reader->begun[key] = reader->line;
    reader->last = key;
    (void)snprintf(reader->value, sizeof(reader->value), "%s", value);
    return 1;
}

void config_read_file(struct config *config, const char *path, struct config_errors *errors)
{
    struct file_reader reader = {.config = config, .errors = errors, .path = path, .last = CONFIG_KEYS_COUNT};
    if (path[0] == '\0' || strlen(path) > CONFIG_TEXT_BYTES_MAX) { /* a flag's was looked at when it was read */
        config_error(errors, "LOCKSTEPD_CONFIG: the path is empty or longer than %d bytes", CONFIG_TEXT_BYTES_MAX);
        config->guessing = true;
        return;
    }
    (void)snprintf(config->file.text, sizeof(config->file.text), "%s", path);
    reader.file = fopen(path, "re");
    if (reader.file == NULL) {
        config_error(errors, "%s: the file can not be read: %s", path, strerror(errno));
        config->guessing = true;
        return;
    }
    int bad_line = ini_parse_stream(next_line, &reader, next_value, &reader);
    value_finish(&reader);
    section_finish(&reader);
    if (ferror(reader.file) != 0) {
        config_error(errors, "%s: the file can not be read: %s", path, strerror(errno));
        config->guessing = true;
    } else if (reader.bytes == FILE_BYTES_MAX) {
        config_error(errors, "%s: the file has %d bytes or more; allowed: a file of settings", path, FILE_BYTES_MAX);
        config->guessing = true;
    } else if (bad_line > 0) {
        file_error(&reader, (unsigned)bad_line, NO_LINE);
    } else if (bad_line < 0) {
        config_error(errors, "%s: the file can not be parsed: out of memory", path);
    }
    (void)fclose(reader.file); /* it was only read */
}
