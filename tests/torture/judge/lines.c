/* Owns mapping and merging; see lines.h. */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fail(struct history *history, const struct source *source, const char *text, size_t column)
{
    (void)snprintf(history->error, sizeof history->error, "%s:%u:%zu: %s", source->path, source->line, column,
                   text);
    return false;
}

static bool map(struct history *history, struct source *source)
{
    int fd = open(source->path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        (void)snprintf(history->error, sizeof history->error, "%s: can not be read: %s", source->path,
                       strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    source->size = (size_t)status.st_size;
    if (source->size > 0) {
        void *bytes = mmap(NULL, source->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            (void)snprintf(history->error, sizeof history->error, "%s: can not be mapped: %s", source->path,
                           strerror(errno));
            (void)close(fd);
            return false;
        }
        source->bytes = bytes;
    }
    (void)close(fd);
    history->bytes += source->size;
    return true;
}

bool lines_open(struct history *history, char *const *paths, size_t count)
{
    if (count > FILES_MAX) {
        (void)snprintf(history->error, sizeof history->error, "%zu files; at most %d can be judged together",
                       count, FILES_MAX);
        return false;
    }
    history->sources = judge_allocate(count, sizeof *history->sources);
    history->sources_count = count;
    for (size_t i = 0; i < count; i++) {
        history->sources[i] = (struct source){.path = paths[i], .time = LONG_AGO};
        if (!map(history, &history->sources[i])) {
            return false;
        }
        history->sources[i].edn = judge_allocate(1, sizeof *history->sources[i].edn);
        if (!lines_advance(history, &history->sources[i])) {
            return false;
        }
    }
    return true;
}

void lines_close(struct history *history)
{
    for (size_t i = 0; i < history->sources_count; i++) {
        struct source *source = &history->sources[i];
        free(source->edn);
        if (source->bytes != NULL) {
            (void)munmap(source->bytes, source->size);
        }
    }
    free(history->sources);
}

static bool read_time(struct history *history, struct source *source)
{
    const struct edn_node *time = edn_get(source->edn, &source->edn->nodes[0], "time");
    if (time == NULL || time->kind != EDN_INTEGER || time->magnitude > TIME_MAX) {
        return fail(history, source, "a line needs :time, a whole number of nanoseconds below 2^61", 1);
    }
    int64_t value = time->negative ? -(int64_t)time->magnitude : (int64_t)time->magnitude;
    history->disordered += value < source->time;
    source->time = value;
    return true;
}

/* The next line that says something becomes the present one. */
bool lines_advance(struct history *history, struct source *source)
{
    while (source->next < source->size) {
        size_t begin = source->next;
        const char *line = source->bytes + begin;
        size_t rest = source->size - begin;
        const char *newline = memchr(line, '\n', rest);
        size_t bytes = newline == NULL ? rest : (size_t)(newline - line);
        source->line++;
        source->next = begin + bytes + (newline != NULL);
        source->place = (struct place){
            .offset = begin, .file = (uint32_t)(source - history->sources), .line = source->line};
        if (bytes > LINE_BYTES_MAX) {
            return fail(history, source, "the line is longer than 1 MiB", 1);
        }
        if (!edn_read(source->edn, line, bytes)) {
            if (newline == NULL) {
                history->torn++;
                break;
            }
            return fail(history, source, source->edn->error, source->edn->column);
        }
        if (source->edn->count > 0) {
            history->lines++;
            return read_time(history, source);
        }
    }
    source->ended = true;
    return true;
}

struct source *lines_earliest(struct history *history)
{
    struct source *best = NULL;
    for (size_t i = 0; i < history->sources_count; i++) {
        struct source *source = &history->sources[i];
        if (!source->ended && (best == NULL || source->time < best->time)) {
            best = source;
        }
    }
    return best;
}

void history_line(const struct history *history, struct place place, char *buffer, size_t buffer_bytes)
{
    const struct source *source = &history->sources[place.file];
    const char *line = source->bytes + place.offset;
    const char *newline = memchr(line, '\n', source->size - place.offset);
    size_t bytes = newline == NULL ? source->size - place.offset : (size_t)(newline - line);
    if (bytes >= buffer_bytes) {
        bytes = buffer_bytes - 1;
    }
    memcpy(buffer, line, bytes);
    buffer[bytes] = '\0';
}

const char *history_path(const struct history *history, struct place place)
{
    return history->sources[place.file].path;
}
