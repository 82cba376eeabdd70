/* Durations and numbers, from text and to text. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

static const struct unit {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}};
enum { UNITS = sizeof units / sizeof units[0] };

/* @return -1 if it is none. */
static int64_t duration_parse(const char *text)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return -1; /* strtoll() would take blanks and signs */
    }
    errno = 0;
    long long count = strtoll(text, &end, 10);
    for (size_t i = 0; i < UNITS; i++) {
        if (strcmp(end, units[i].name) == 0 && errno == 0 && count <= INT64_MAX / units[i].ms) {
            return count * units[i].ms;
        }
    }
    return -1;
}

int64_t cli_duration(const char *option, const char *text, int64_t min_ms, int64_t max_ms)
{
    char least[32];
    char most[32];
    int64_t ms = duration_parse(text);
    if (ms < 0) {
        cli_misused("%s is \"%s\"; allowed are durations such as 500ms, 30s, 5m or 2h", option, text);
    }
    if (ms < min_ms || ms > max_ms) {
        cli_misused("%s is %s; allowed are %s..%s", option, text, cli_duration_exact(min_ms, least),
                    cli_duration_exact(max_ms, most));
    }
    return ms;
}

uint64_t cli_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || number < min || number > max) {
        cli_misused("%s is \"%s\"; allowed are numbers %" PRIu64 "..%" PRIu64, option, text, min, max);
    }
    return number;
}

const char *cli_duration_exact(int64_t ms, char *ret_text)
{
    size_t unit = UNITS - 1;
    while (unit > 0 && (ms == 0 || ms % units[unit].ms != 0)) {
        unit--;
    }
    (void)snprintf(ret_text, 32, "%" PRId64 "%s", ms / units[unit].ms, units[unit].name);
    return ret_text;
}

const char *cli_duration_text(uint64_t ms, char *ret_text)
{
    if (ms < 1000) {
        (void)snprintf(ret_text, 32, "%" PRIu64 "ms", ms);
    } else if (ms < 60 * 1000) {
        (void)snprintf(ret_text, 32, ms % 1000 == 0 ? "%" PRIu64 "s" : "%" PRIu64 ".%" PRIu64 "s", ms / 1000,
                       ms % 1000 / 100);
    } else if (ms < 60 * 60 * 1000) {
        (void)snprintf(ret_text, 32, "%" PRIu64 "m%02" PRIu64 "s", ms / 60000, ms / 1000 % 60);
    } else {
        (void)snprintf(ret_text, 32, "%" PRIu64 "h%02" PRIu64 "m", ms / 3600000, ms / 60000 % 60);
    }
    return ret_text;
}

const char *cli_mode_name(enum lockstep_mode mode)
{
    static const char *const names[] = {"exclusive", "shared", "permits"};
    return (unsigned)mode < sizeof names / sizeof names[0] ? names[mode] : "unknown";
}
