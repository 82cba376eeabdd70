/* lockstepd: arguments in, an exit code out. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/config.h"
#include "node/logger.h"
#include "node/node.h"
#include "node/slice.h"
#include "node/temporary.h"

static void print_exits(void)
{
    (void)printf("| code | name | restart helps | what happened |\n| --- | --- | --- | --- |\n");
#define X(name, code, restart, text) (void)printf("| %d | %s | %s | %s |\n", code, #name, #restart, text);
    NODE_EXITS(X)
#undef X
}

/* What needs no settings. @return whether that was all. */
static bool print(enum config_action action)
{
    switch (action) {
    case CONFIG_HELP:
        config_print_help(stdout);
        return true;
    case CONFIG_VERSION:
        (void)printf("lockstepd %s\n", LOCKSTEP_VERSION);
        return true;
    case CONFIG_PRINT_SAMPLE:
        config_print_sample(stdout);
        return true;
    case CONFIG_PRINT_TABLE:
        config_print_table(stdout);
        return true;
    case CONFIG_PRINT_EXITS:
        print_exits();
        return true;
    case CONFIG_RUN:
    case CONFIG_CHECK:
    default:
        return false;
    }
}

static unsigned errors_kept(const struct config_errors *errors)
{
    return errors->count < CONFIG_ERRORS_MAX ? errors->count : CONFIG_ERRORS_MAX;
}

/* Whoever asked for a text, and did not get it, is told by the exit code. */
static enum node_exit written(void)
{
    return fflush(stdout) == 0 && ferror(stdout) == 0 ? NODE_EXIT_OK : NODE_EXIT_INTERNAL;
}

/* --check-config: for people, so without the form of a log. */
static enum node_exit check(const struct config *config, const struct config_errors *errors)
{
    for (unsigned i = 0; i < errors_kept(errors); i++) {
        (void)fprintf(stderr, "lockstepd: %s\n", errors->text[i]);
    }
    if (errors->count > 0) {
        (void)fprintf(stderr, "lockstepd: %u wrong in the settings\n", errors->count);
        return NODE_EXIT_SETTINGS;
    }
    struct config_errors doubts = {.count = 0};
    config_doubts(config, &doubts);
    for (unsigned i = 0; i < errors_kept(&doubts); i++) {
        (void)fprintf(stderr, "lockstepd: warning: %s\n", doubts.text[i]);
    }
    config_print(config, stdout);
    return written();
}

static enum node_exit refuse(const struct config_errors *errors, struct logger *logger)
{
    char why[CONFIG_ERROR_BYTES_MAX + 64];
    for (unsigned i = 0; i < errors_kept(errors); i++) {
        LOGGER_EVENT(logger, LOGGER_ERROR, "setting_wrong", LOGGER_TEXT("why", errors->text[i]));
    }
    if (errors->count == 1) {
        (void)snprintf(why, sizeof(why), "%s", errors->text[0]);
    } else {
        (void)snprintf(why, sizeof(why), "%u settings are wrong: see the lines above, or --check-config",
                       errors->count);
    }
    node_log_exit(logger, NODE_EXIT_SETTINGS, why);
    return NODE_EXIT_SETTINGS;
}

static void tell_doubts(const struct config *config, struct logger *logger)
{
    struct config_errors doubts = {.count = 0};
    config_doubts(config, &doubts);
    for (unsigned i = 0; i < errors_kept(&doubts); i++) {
        LOGGER_EVENT(logger, LOGGER_WARNING, "setting_doubtful", LOGGER_TEXT("why", doubts.text[i]));
    }
}

/* --dev without a directory: one that goes with the node. */
static enum node_exit run_temporary(struct config *config, struct logger *logger)
{
    char why[256];
    if (!temporary_directory_create(config->data_dir.text, sizeof(config->data_dir.text))) {
        (void)snprintf(why, sizeof(why), "no temporary directory can be made: %s; set TMPDIR, or data-dir",
                       strerror(errno));
        node_log_exit(logger, NODE_EXIT_DATA_DIR, why);
        return NODE_EXIT_DATA_DIR;
    }
    enum node_exit code = node_run(config, logger);
    if (!temporary_directory_remove(config->data_dir.text)) {
        LOGGER_EVENT(logger, LOGGER_WARNING, "directory_left", LOGGER_TEXT("data_dir", config->data_dir.text),
                     LOGGER_TEXT("why", strerror(errno)));
    }
    return code;
}

/* Standard descriptors that are closed would be given to the next sockets and files, which libuv does not bear, and which
 * the log would be written into. What takes their place is opened the wrong way round: using it fails, as if it were closed. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            exit(NODE_EXIT_INTERNAL); /* perhaps without a place to say so */
        }
    }
}

int main(int argc, char **argv)
{
    static struct config config; /* large, and needed to the end */
    static struct config_errors errors;
    fill_standard_descriptors();
    enum config_action action = config_load(&config, argc, argv, environ, &errors);
    if (print(action)) {
        return (int)written();
    }
    if (action == CONFIG_CHECK) {
        return (int)check(&config, &errors);
    }
    struct logger logger = {
        .fd = STDERR_FILENO,
        .level = (enum logger_level)config.log_level,
        .format = (enum logger_format)config.log_format,
    };
    if (errors.count > 0) {
        return (int)refuse(&errors, &logger);
    }
    tell_doubts(&config, &logger);
    (void)slice_ask_for_short(); /* before there are threads, which have what this one has */
    if (config.dev && config.data_dir.text[0] == '\0') {
        return (int)run_temporary(&config, &logger);
    }
    return (int)node_run(&config, &logger);
}
