/* The history's lines. One buffer, one file, written in whole pieces. A write that fails ends the process: a history with a
 * hole would accuse the innocent. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/torture/load/load.h"

enum { BUFFER_BYTES = 64 * 1024, LINE_BYTES_MAX = 16 * 1024 };

static int file = -1;
static char buffer[BUFFER_BYTES];
static size_t used;

bool history_open(const char *path)
{
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return file >= 0;
}

uint64_t history_now(void)
{
    struct timespec time;
    if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time) != 0) {
        abort(); /* no kernel refuses this */
    }
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void history_flush(void)
{
    size_t written = 0;
    while (written < used) {
        ssize_t count = write(file, buffer + written, used - written);
        if (count < 0 && errno != EINTR) {
            (void)fprintf(stderr, "torture_load: the history can not be written: %s\n", strerror(errno));
            _exit(74);
        }
        written += count > 0 ? (size_t)count : 0;
    }
    used = 0;
}

static void line_end(size_t size)
{
    if (size >= LINE_BYTES_MAX) {
        (void)fprintf(stderr, "torture_load: a line of the history is longer than %d bytes\n",
                      LINE_BYTES_MAX);
        abort();
    }
    used += size;
}

static size_t line_begin(void)
{
    if (sizeof(buffer) - used < LINE_BYTES_MAX) {
        history_flush();
    }
    return sizeof(buffer) - used;
}

void history_line(uint64_t process, const char *type, const char *f, const char *format, ...)
{
    size_t room = line_begin();
    char *line = buffer + used;
    int head = snprintf(line, room, "{:process %" PRIu64 " :type :%s :f :%s :time %" PRIu64 " :value {",
                        process, type, f, history_now());
    va_list arguments;
    va_start(arguments, format);
    int body = vsnprintf(line + head, room - (size_t)head, format, arguments);
    va_end(arguments);
    size_t size = (size_t)head + (size_t)body;
    line_end(size + 3);
    memcpy(line + size, "}}\n", 3);
}

void history_final(const char *format, ...)
{
    size_t room = line_begin();
    char *line = buffer + used;
    int head =
        snprintf(line, room, "{:process 0 :type :info :f :final :time %" PRIu64 " :value {", history_now());
    va_list arguments;
    va_start(arguments, format);
    int body = vsnprintf(line + head, room - (size_t)head, format, arguments);
    va_end(arguments);
    size_t size = (size_t)head + (size_t)body;
    line_end(size + 3);
    memcpy(line + size, "}}\n", 3);
}

const char *history_type(int result)
{
    switch (lockstep_outcome(result)) {
    case LOCKSTEP_OUTCOME_DONE:
        return "ok";
    case LOCKSTEP_OUTCOME_NOT_DONE:
        return "fail";
    case LOCKSTEP_OUTCOME_UNKNOWN:
    default:
        return "info";
    }
}
