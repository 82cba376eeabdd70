/* What the core writes to the node's log. Repeated refusals are limited per kind, so that a hostile or broken client can
 * not fill a disk; how many lines were left out is told. Never a secret, a value, or bytes of a frame. */
#ifndef LOCKSTEP_NODE_CORE_LOG_H
#define LOCKSTEP_NODE_CORE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "node/logger_level.h"
#include "node/rate_window.h"

struct core;

/* Events that a client can cause as often as it likes: at most CORE_LOG_BURST lines of each per second. */
enum core_complaint {
    CORE_BAD_FRAME,
    CORE_HELLO_REFUSED,
    CORE_HELLO_LATE,
    CORE_MALFORMED,
    CORE_OVERLOADED,
    CORE_COMPLAINTS,
};

enum { CORE_LOG_BURST = 5, CORE_LOG_WINDOW_MS = 1000 };

struct core_complaints {
    struct {
        struct rate_window window;
        uint64_t suppressed;
    } kinds[CORE_COMPLAINTS];
};

/* One event; `format` gives its fields in logfmt. */
__attribute__((format(printf, 4, 5))) void core_log(struct core *core, enum logger_level level,
                                                    const char *event, const char *format, ...);
/* The same, limited. A line that was preceded by left out ones ends with suppressed=N. */
__attribute__((format(printf, 3, 4))) void core_complain(struct core *core, enum core_complaint kind,
                                                         const char *format, ...);

/* `text` as a quoted logfmt value, so that what a client sent can not pass for another field. */
const char *core_log_quote(const void *text, size_t size, char *out, size_t out_size);

#endif
