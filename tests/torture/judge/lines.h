/* Owns the files of a history as bytes: each mapped, cut into lines, read as EDN, and all merged by time. A line that is not
 * EDN is an error, but for the last one of a file if it does not end: it was torn when its writer was killed. */
#ifndef LOCKSTEP_TORTURE_LINES_H
#define LOCKSTEP_TORTURE_LINES_H

#include "edn.h"
#include "history.h"

struct source {
    const char *path;
    char *bytes; /* mapped; NULL if empty */
    size_t size;
    size_t next; /* where the line after the present one begins */
    uint32_t line;
    bool ended;
    int64_t time; /* of the present line */
    struct place place;
    struct edn *edn;
};

bool lines_open(struct history *history, char *const *paths, size_t count);
void lines_close(struct history *history);

/* The source with the earliest line; NULL at the end, or after an error (history->error is set then). The line stays present until
 * lines_advance(). */
struct source *lines_earliest(struct history *history);
bool lines_advance(struct history *history, struct source *source);

#endif
