/* What the core writes to the node's log, and how often (core_log.h). */
#include "node/core_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "node/core_state.h"
#include "protocol/assert.h"

enum { FIELDS_BYTES_MAX = 1024 };

static const struct {
    const char *event;
    enum logger_level level;
} complaints[CORE_COMPLAINTS] = {
    [CORE_BAD_FRAME] = {"bad_frame", LOGGER_WARNING},
    [CORE_HELLO_REFUSED] = {"hello_refused", LOGGER_WARNING},
    [CORE_HELLO_LATE] = {"hello_late", LOGGER_INFO},
    [CORE_MALFORMED] = {"request_malformed", LOGGER_WARNING},
    [CORE_OVERLOADED] = {"request_refused_overload", LOGGER_WARNING},
};

void core_log(struct core *core, enum logger_level level, const char *event, const char *format, ...)
{
    char fields[FIELDS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(fields, sizeof(fields), format, arguments); /* a line too long is cut */
    va_end(arguments);
    core->output.log(core->output.ctx, level, event, fields);
}

void core_complain(struct core *core, enum core_complaint kind, const char *format, ...)
{
    LOCKSTEP_ASSERT(kind < CORE_COMPLAINTS);
    if (!rate_window_take(&core->complaints.kinds[kind].window, core->now.ms, CORE_LOG_WINDOW_MS, CORE_LOG_BURST)) {
        core->complaints.kinds[kind].suppressed++;
        return;
    }
    char fields[FIELDS_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(fields, sizeof(fields), format, arguments);
    va_end(arguments);
    uint64_t suppressed = core->complaints.kinds[kind].suppressed;
    if (suppressed > 0 && size >= 0 && (size_t)size < sizeof(fields)) {
        (void)snprintf(fields + size, sizeof(fields) - (size_t)size, " suppressed=%" PRIu64, suppressed);
    }
    core->complaints.kinds[kind].suppressed = 0;
    core->output.log(core->output.ctx, complaints[kind].level, complaints[kind].event, fields);
}

const char *core_log_quote(const void *text, size_t size, char *out, size_t out_size)
{
    LOCKSTEP_ASSERT(out_size >= 3);
    const char *from = text;
    size_t at = 0;
    out[at++] = '"';
    for (size_t i = 0; i < size && at + 3 < out_size; i++) {
        if (from[i] == '"' || from[i] == '\\') {
            out[at++] = '\\';
        }
        out[at++] = (unsigned char)from[i] < ' ' ? ' ' : from[i];
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
