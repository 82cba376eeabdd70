/* One event, one line, escaped and bounded. See logger.h.
 *
 * A line is built in a buffer of fixed size. A field that does not fit is taken back whole and the line says
 * truncated=true: a cut-off line would be no JSON. */
#include "node/logger.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/assert.h"

/* Kept free for what ends a line: the truncation mark, a brace, a newline. */
enum { LINE_RESERVE = 32, LAST_LINE_WAIT_MS = 1000 };

struct line {
    enum logger_format format;
    char *data;
    size_t size;
    size_t size_max;
    bool overflow;
};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static void line_put(struct line *line, const char *data, size_t size)
{
    if (size > line->size_max - line->size) {
        line->overflow = true;
        return;
    }
    memcpy(line->data + line->size, data, size);
    line->size += size;
}

static void line_puts(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

/* How many bytes the UTF-8 character at `text` has; 0 if the bytes are no valid character (overlong forms, surrogates
 * and what lies above U+10FFFF included). Never looks past the terminator, because that is no continuation byte. */
static size_t utf8_size(const unsigned char *text)
{
    size_t size = text[0] < 0x80                      ? 1
                  : text[0] >= 0xC2 && text[0] < 0xE0 ? 2
                  : text[0] >= 0xE0 && text[0] < 0xF0 ? 3
                  : text[0] >= 0xF0 && text[0] < 0xF5 ? 4
                                                      : 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xF0 && text[1] < 0x90);
    bool surrogate = text[0] == 0xED && text[1] >= 0xA0;
    bool beyond = text[0] == 0xF4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : size;
}

/* Escape one character of `text` into `out`. @return how many bytes of `text` it took.
 * Controls, C1 included, would move a terminal's cursor; a byte that is no UTF-8 would make the whole line no JSON. */
static size_t escape(const unsigned char *text, char out[16])
{
    size_t size = utf8_size(text);
    unsigned code = size == 2 ? ((text[0] & 0x1FU) << 6) | (text[1] & 0x3FU) : text[0];
    if (size == 0) {
        (void)snprintf(out, 16, "\\ufffd");
        return 1;
    }
    if (text[0] == '"' || text[0] == '\\') {
        (void)snprintf(out, 16, "\\%c", text[0]);
    } else if (text[0] == '\n' || text[0] == '\r' || text[0] == '\t') {
        (void)snprintf(out, 16, "\\%c", text[0] == '\n' ? 'n' : text[0] == '\r' ? 'r' : 't');
    } else if (code < 0x20 || (size <= 2 && code >= 0x7F && code < 0xA0)) {
        (void)snprintf(out, 16, "\\u%04x", code);
    } else {
        memcpy(out, text, size);
        out[size] = '\0';
    }
    return size;
}

static void line_put_quoted(struct line *line, const char *text)
{
    size_t begin = line->size;
    const unsigned char *at = (const unsigned char *)text;
    line_puts(line, "\"");
    while (*at != '\0') {
        char escaped[16];
        at += escape(at, escaped);
        if (line->size - begin + strlen(escaped) > LOGGER_VALUE_BYTES_MAX) {
            line_puts(line, "...");
            break;
        }
        line_puts(line, escaped);
    }
    line_puts(line, "\"");
}

/* May stand in a logfmt line without quotes. */
static bool plain(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7F || *at == '=' || *at == '"' || *at == '\\') {
            return false;
        }
    }
    return *text != '\0' && strlen(text) < LOGGER_VALUE_BYTES_MAX;
}

static void line_put_field(struct line *line, const struct logger_field *field)
{
    size_t begin = line->size;
    bool json = line->format == LOGGER_JSON;
    if (line->size > 0) {
        line_puts(line, json ? (line->size > 1 ? "," : "") : " ");
    }
    line_puts(line, json ? "\"" : "");
    line_puts(line, field->key);
    line_puts(line, json ? "\":" : "=");
    if (field->text == NULL) {
        char number[24];
        (void)snprintf(number, sizeof(number), "%" PRIu64, field->number);
        line_puts(line, number);
    } else if (field->literal || (!json && plain(field->text))) {
        line_puts(line, field->text);
    } else {
        line_put_quoted(line, field->text);
    }
    if (line->overflow) {
        line->size = begin;
    }
}

static void wall_text(uint64_t wall_ms, char text[40])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char date[24];
    if (gmtime_r(&seconds, &tm) == NULL || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        (void)snprintf(date, sizeof(date), "0000-00-00T00:00:00");
    }
    (void)snprintf(text, 40, "%s.%03uZ", date, (unsigned)(wall_ms % 1000));
}

size_t logger_format(enum logger_format format, uint64_t wall_ms, enum logger_level level, const char *event,
                     const struct logger_field *fields, size_t count, char data[LOGGER_LINE_BYTES_MAX])
{
    struct line line = {.format = format, .data = data, .size_max = LOGGER_LINE_BYTES_MAX - LINE_RESERVE};
    char wall[40];
    bool truncated = false;
    LOCKSTEP_ASSERT((size_t)level < sizeof(level_names) / sizeof(level_names[0]));
    wall_text(wall_ms, wall);
    line_puts(&line, format == LOGGER_JSON ? "{" : "");
    line_put_field(&line, &LOGGER_TEXT("ts", wall));
    line_put_field(&line, &LOGGER_TEXT("level", level_names[level]));
    line_put_field(&line, &LOGGER_TEXT("event", event));
    for (size_t i = 0; i < count; i++) {
        line.overflow = false;
        line_put_field(&line, &fields[i]);
        truncated = truncated || line.overflow;
    }
    line.overflow = false;
    line.size_max = LOGGER_LINE_BYTES_MAX;
    if (truncated) {
        line_puts(&line, format == LOGGER_JSON ? ",\"truncated\":true" : " truncated=true");
    }
    line_puts(&line, format == LOGGER_JSON ? "}\n" : "\n");
    LOCKSTEP_ASSERT(!line.overflow);
    return line.size;
}

/* Whether a line can be written without waiting longer than `wait_ms` for whoever reads it. */
static bool writable(int fd, int wait_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    int count;
    do {
        count = poll(&pollfd, 1, wait_ms);
    } while (count < 0 && errno == EINTR);
    return count > 0 && (pollfd.revents & POLLOUT) != 0;
}

static void logger_write(struct logger *logger, enum logger_level level, const char *event,
                         const struct logger_field *fields, size_t count, int wait_ms)
{
    char line[LOGGER_LINE_BYTES_MAX];
    struct timespec wall;
    struct logger_field all[LOGGER_FIELDS_MAX + 1];
    LOCKSTEP_ASSERT(count <= LOGGER_FIELDS_MAX);
    if (!writable(logger->fd, wait_ms)) {
        logger->dropped++;
        return;
    }
    memcpy(all, fields, count * sizeof(*fields));
    if (logger->dropped > 0) {
        all[count++] = LOGGER_NUMBER("lines_dropped", logger->dropped);
    }
    (void)clock_gettime(CLOCK_REALTIME, &wall); /* can not fail with this clock */
    size_t size =
        logger_format(logger->format, (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000, level,
                      event, all, count, line);
    logger->dropped = 0;
    if (write(logger->fd, line, size) < 0) {
        logger->dropped++; /* nowhere to tell it but in the next line */
    }
}

void logger_event(struct logger *logger, enum logger_level level, const char *event,
                  const struct logger_field *fields, size_t count)
{
    if (level <= logger->level) {
        logger_write(logger, level, event, fields, count, 0);
    }
}

void logger_last(struct logger *logger, const char *event, const struct logger_field *fields, size_t count)
{
    logger_write(logger, LOGGER_ERROR, event, fields, count, LAST_LINE_WAIT_MS);
}

/* ---- pairs: logfmt read back, so that both formats are written by the same code ---- */

static bool key_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* Unquote the value that begins at `at` into `out` (never longer than its source). @return where it ended. */
static const char *pair_value(const char *at, char *out)
{
    if (*at != '"') {
        while (*at != '\0' && *at != ' ') {
            *out++ = *at++;
        }
    } else {
        for (at++; *at != '\0' && *at != '"'; at++) {
            if (*at == '\\' && (at[1] == '"' || at[1] == '\\')) {
                at++;
            }
            *out++ = *at;
        }
        at += *at == '"';
    }
    *out = '\0';
    return at;
}

static bool pair_number(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 19 || text[digits] != '\0' || (text[0] == '0' && digits > 1)) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* Take one pair off `*at`: key and value go to `store`, terminated. @return false if no pair begins there. */
static bool pair_take(const char **at, char **store, struct logger_field *ret_field)
{
    size_t key_size = 0;
    while (key_character((*at)[key_size])) {
        key_size++;
    }
    if (key_size == 0 || (*at)[key_size] != '=') {
        return false;
    }
    char *key = *store;
    memcpy(key, *at, key_size);
    key[key_size] = '\0';
    char *value = key + key_size + 1;
    bool quoted = (*at)[key_size + 1] == '"';
    *at = pair_value(*at + key_size + 1, value);
    *store = value + strlen(value) + 1;
    *ret_field = !quoted && pair_number(value, &ret_field->number) ? LOGGER_NUMBER(key, ret_field->number)
                                                                   : LOGGER_TEXT(key, value);
    return true;
}

void logger_pairs(struct logger *logger, enum logger_level level, const char *event, const char *pairs)
{
    struct logger_field fields[LOGGER_FIELDS_MAX];
    char store[2 * LOGGER_LINE_BYTES_MAX];
    char *next = store;
    size_t count = 0;
    const char *at = pairs;
    if (level > logger->level) {
        return;
    }
    while (*at != '\0') {
        if (*at == ' ') {
            at++;
        } else if (count == LOGGER_FIELDS_MAX - 1 || strlen(at) > LOGGER_LINE_BYTES_MAX ||
                   !pair_take(&at, &next, &fields[count])) {
            fields[count++] = LOGGER_TEXT("msg", at); /* no pair, or too many: the rest as it stands */
            break;
        } else {
            count++;
        }
    }
    logger_write(logger, level, event, fields, count, 0);
}

bool logger_limit_pass(struct logger_limit *limit, uint64_t now_ms, uint64_t *ret_suppressed)
{
    if (!rate_window_take(&limit->window, now_ms, limit->window_ms, limit->burst)) {
        limit->suppressed++;
        return false;
    }
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
