/* The node's log: one line per event on standard error, as logfmt or JSON. Only this file reads the wall clock.
 *
 * Never does: block the loop on a reader that has stalled (the line is dropped and counted), write more than
 * LOGGER_LINE_BYTES_MAX at once, or let a value start a new line or a new field: values are escaped, whatever is in
 * them. Secrets are the callers' business: none is ever handed over.
 *
 *   logfmt  ts=2025-03-01T12:00:00.123Z level=info event=node_ready node=1 listen=127.0.0.1:7400
 *   json    {"ts":"2025-03-01T12:00:00.123Z","level":"info","event":"node_ready","node":1,"listen":"127.0.0.1:7400"} */
#ifndef LOCKSTEP_NODE_LOGGER_H
#define LOCKSTEP_NODE_LOGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/logger_level.h"
#include "node/rate_window.h"

enum {
    LOGGER_LINE_BYTES_MAX =
        4096, /* newline included; PIPE_BUF, so that a line is written whole or not at all */
    LOGGER_VALUE_BYTES_MAX = 1024, /* of one value once escaped; the rest is cut off */
    LOGGER_FIELDS_MAX = 32,
};

enum logger_format { LOGGER_LOGFMT = 0, LOGGER_JSON = 1 };

struct logger {
    int fd;
    enum logger_level level; /* what is less important than this is not written */
    enum logger_format format;
    uint64_t dropped; /* lines lost because nobody read them; told in the next line that gets through */
};

/* One field of a line. `key` is [a-z0-9_.]+ and of the program, `text` may be anything and need not be valid UTF-8. */
struct logger_field {
    const char *key;
    const char *text; /* NULL: `number` is the value */
    uint64_t number;
    bool literal; /* `text` is true or false, and no string in JSON */
};
#define LOGGER_TEXT(key, value)   ((struct logger_field){(key), (value), 0, false})
#define LOGGER_NUMBER(key, value) ((struct logger_field){(key), NULL, (value), false})
#define LOGGER_FLAG(key, value)   ((struct logger_field){(key), (value) ? "true" : "false", 0, true})

/* Write one event; `event` is a short stable name. At least one field. */
#define LOGGER_EVENT(logger, level, event, ...)                                    \
    logger_event((logger), (level), (event), (struct logger_field[]){__VA_ARGS__}, \
                 sizeof((struct logger_field[]){__VA_ARGS__}) / sizeof(struct logger_field))

void logger_event(struct logger *logger, enum logger_level level, const char *event,
                  const struct logger_field *fields, size_t count);

/* The same with fields that are text already, "key=value key=\"a value\" …"; what is no pair becomes the field msg.
 * Digits are a number unless they are quoted. */
void logger_pairs(struct logger *logger, enum logger_level level, const char *event, const char *pairs);

/* The last line of a process: waits up to a second for room. Whatever the level. */
void logger_last(struct logger *logger, const char *event, const struct logger_field *fields, size_t count);

/* Format one line into `data`. @return its size without a terminator, newline included. Exposed for tests.
 * @param wall_ms  milliseconds since 1970, UTC. */
size_t logger_format(enum logger_format format, uint64_t wall_ms, enum logger_level level, const char *event,
                     const struct logger_field *fields, size_t count, char data[LOGGER_LINE_BYTES_MAX]);

/* How often a repeated event may be logged: `burst` times per window, the others are counted. */
struct logger_limit {
    uint64_t window_ms;
    unsigned burst;
    struct rate_window window;
    uint64_t suppressed;
};

/* @param ret_suppressed  how many were not logged since the last one that was.
 * @return whether to log now. `now_ms` never goes back. */
bool logger_limit_pass(struct logger_limit *limit, uint64_t now_ms, uint64_t *ret_suppressed);

#endif
