/* Fuzz target: a node's settings from a command line, an environment and a file. The input is text: arguments, an empty line,
 * NAME=value lines, an empty line, and the file.
 *
 *   G1  Any text gives settings or mistakes that are named, each a terminated sentence.
 *   G2  Settings without a mistake are within the rules of config_check(), and read back as they were printed: the values
 *       of each key are the same. (But for a directory whose name a line of a file can not hold.)
 *   G3  One source does not depend on who reads it: config_load() finds at least the mistakes of the file alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/config.h"
#include "protocol/assert.h"
#include "tests/fuzz/input.h"

enum { LINES_MAX = 64, LINE_BYTES_MAX = 2048, VALUE_BYTES_MAX = 16384, FILE_PATH_BYTES_MAX = 160, FILE_LINE_BYTES_MAX = 190 };

/* Lines up to an empty one, as strings of their own memory. */
struct lines {
    char *list[LINES_MAX + 2];
    int count;
};

/* Not strndup(): the sanitizer's reads a byte behind the line, where the input may end. */
static char *line_of(struct proto_bytes bytes)
{
    char *line = malloc((size_t)bytes.size + 1);
    LOCKSTEP_ASSERT(line != NULL);
    memcpy(line, bytes.data, bytes.size);
    line[bytes.size] = '\0';
    return line;
}

static void lines_take(struct lines *lines, struct input *input, const char *first)
{
    lines->count = 0;
    if (first != NULL) {
        lines->list[lines->count++] = strdup(first);
    }
    while (input->left > 0) {
        const uint8_t *end = memchr(input->at, '\n', input->left);
        size_t size = end == NULL ? input->left : (size_t)(end - input->at);
        struct proto_bytes line = input_bytes(input, size);
        (void)input_byte(input);
        if (size == 0) {
            break;
        }
        if (lines->count < LINES_MAX && size <= LINE_BYTES_MAX) {
            lines->list[lines->count++] = line_of(line);
        }
    }
    lines->list[lines->count] = NULL;
}

static void lines_free(struct lines *lines)
{
    for (int i = 0; i < lines->count; i++) {
        free(lines->list[i]);
    }
}

/* A file in memory with these bytes; its path goes to `ret_path`. */
static int file_of(const void *data, size_t size, char ret_path[64])
{
    int file = memfd_create("settings", 0);
    LOCKSTEP_ASSERT(file >= 0);
    ssize_t written = size == 0 ? 0 : write(file, data, size);
    LOCKSTEP_ASSERT(written == (ssize_t)size);
    (void)snprintf(ret_path, 64, "/proc/self/fd/%d", file);
    return file;
}

/* G1 */
static void check_errors(const struct config_errors *errors)
{
    for (unsigned i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++) {
        size_t size = strnlen(errors->text[i], CONFIG_ERROR_BYTES_MAX);
        LOCKSTEP_ASSERT(size > 0 && size < CONFIG_ERROR_BYTES_MAX);
    }
}

/* Flags and the environment may give a name that inih would cut, or take for something else. */
static bool fits_a_line(const char *path)
{
    size_t size = strlen(path);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)path[i] <= ' ' || path[i] == ';') {
            return false;
        }
    }
    return size < FILE_PATH_BYTES_MAX;
}

/* Flags may give host names that are longer than inih reads in a line; what is printed of them is right all the same. */
static bool lines_fit(const char *text)
{
    for (const char *line = text; *line != 0;) {
        size_t size = strcspn(line, "\n");
        if (size > FILE_LINE_BYTES_MAX) {
            return false;
        }
        line += size + (line[size] != 0);
    }
    return true;
}

/* G2 */
static void check_reads_back(const struct config *config)
{
    static char was[VALUE_BYTES_MAX];
    static char is[VALUE_BYTES_MAX];
    static struct config again;
    static struct config_errors errors;
    char *text = NULL;
    size_t size = 0;
    char path[64];
    FILE *out = open_memstream(&text, &size);
    LOCKSTEP_ASSERT(out != NULL);
    config_print(config, out);
    (void)fclose(out); /* to memory */
    if (!lines_fit(text)) {
        free(text);
        return;
    }
    int file = file_of(text, size, path);
    memset(&errors, 0, sizeof errors);
    config_defaults(&again);
    config_read_file(&again, path, &errors);
    LOCKSTEP_ASSERT(errors.count == 0);
    again.dev = config->dev;
    for (unsigned key = 0; key < CONFIG_KEYS_COUNT; key++) {
        (void)config_value_text(config, (enum config_key)key, was, sizeof was);
        (void)config_value_text(&again, (enum config_key)key, is, sizeof is);
        LOCKSTEP_ASSERT(strcmp(was, is) == 0);
    }
    config_check(&again, &errors);
    LOCKSTEP_ASSERT(errors.count == 0);
    (void)close(file); /* of memory */
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    static struct config_errors errors;
    struct input input = input_of(data, size);
    struct lines arguments;
    struct lines environment;
    char path[64];
    char variable[96];
    lines_take(&arguments, &input, "lockstepd");
    struct proto_bytes text = {NULL, 0};
    lines_take(&environment, &input, NULL);
    text = input_rest(&input);
    int file = file_of(text.data, text.size, path);
    (void)snprintf(variable, sizeof variable, "LOCKSTEPD_CONFIG=%s", path);

    memset(&errors, 0, sizeof errors);
    config_defaults(&config);
    config_read_file(&config, path, &errors);
    check_errors(&errors);
    unsigned of_file = errors.count;

    environment.list[environment.count++] = strdup(variable);
    environment.list[environment.count] = NULL;
    memset(&errors, 0, sizeof errors);
    enum config_action action =
        config_load(&config, arguments.count, arguments.list, environment.list, &errors);
    LOCKSTEP_ASSERT(action <= CONFIG_PRINT_EXITS);
    check_errors(&errors);
    if (strcmp(config.file.text, path) == 0) {
        LOCKSTEP_ASSERT(errors.count >= of_file); /* G3 */
    }
    if (errors.count == 0 && fits_a_line(config.data_dir.text)) {
        check_reads_back(&config);
    }
    (void)close(file); /* of memory */
    lines_free(&arguments);
    lines_free(&environment);
    return 0;
}
