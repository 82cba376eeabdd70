/* Owns the history in memory: every operation once, with the times and places of its invocation and completion. What the
 * fields mean is written in ../history.md; nothing is concluded here (facts.h does that).
 *
 *   H1  Operations are in the order of their invocation, once history_read() is through.
 *   H2  An operation without a completion has `done` NEVER and the outcome OPEN; it may take effect at any time later.
 *   H3  A time that is not known is LONG_AGO. */
#ifndef LOCKSTEP_TORTURE_HISTORY_H
#define LOCKSTEP_TORTURE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"

#define NEVER     INT64_MAX
#define LONG_AGO  INT64_MIN
#define TIME_MAX  (INT64_MAX / 4) /* of what a file may say, so that sums of a few do not overflow */
#define NS_PER_MS ((int64_t)1000000)
#define NS_PER_S  ((int64_t)1000000000)

enum { FILES_MAX = 256, LINE_BYTES_MAX = 1 << 20, ERROR_BYTES = 512 };

enum op_f {
    OP_ACQUIRE,
    OP_RELEASE,
    OP_EXTEND,
    OP_OPEN,
    OP_RENEW,
    OP_CLOSE,
    OP_LOST,
    OP_CHECK,
    OP_STATUS,
    OP_FINAL,
    OP_CRASH,
    OP_PAUSE,
    OP_RESUME,
    OP_HEAL,
    OP_FAULT, /* any other name */
    OP_KINDS
};

enum op_outcome { OUTCOME_OPEN, OUTCOME_OK, OUTCOME_FAIL, OUTCOME_INFO, OUTCOMES };
enum op_mode { MODE_EXCLUSIVE, MODE_SHARED, MODE_PERMITS, MODES };

/* A line of a file. */
struct place {
    uint64_t offset;
    uint32_t file;
    uint32_t line; /* from 1; 0: no such line */
};

struct op {
    int64_t invoke;
    int64_t done;
    uint64_t session, token, fence;
    int64_t certain; /* acquire, extend: :certain-until; release, lost: :certain */
    int64_t wait_ms, ttl_ms;
    struct place invoked_at, done_at;
    uint32_t key, owner, error; /* numbers of names; of a fault `error` is its name, of a loss its reason */
    uint32_t count, limit;
    uint32_t
        seen; /* status, final: index of its struct seen, plus 1; crash, pause, resume: of its list of owners */
    uint8_t f, outcome, mode;
    bool own, current, has_waiters;
};

/* What a read of a lock showed, and the owners a crash names: slices of the history's `list`. */
struct seen {
    size_t holders_first; /* pairs: session, token */
    size_t queue_first;   /* sessions; for a crash the numbers of the owners */
    uint32_t holders;
    uint32_t queue;
    uint64_t waiters;
};

/* A completion without an invocation that was open. */
struct orphan {
    int64_t time;
    struct place at;
    uint8_t f, outcome;
};

struct source; /* one file, lines.c */

struct history {
    struct op *ops;
    size_t ops_count, ops_room;
    struct seen *seen;
    size_t seen_count, seen_room;
    uint64_t *list;
    size_t list_count, list_room;
    struct orphan *orphans;
    size_t orphans_count, orphans_room;
    struct names keys, owners, words;
    struct numbers open; /* by process: index of its open operation, plus 1 */
    struct source *sources;
    size_t sources_count;
    uint64_t lines, torn, disordered, bytes;
    int64_t first, last; /* the times of the first and of the last line */
    int64_t last_done;   /* the last completion so far: a :final without :asked was asked for behind it */
    char error[ERROR_BYTES];
};

void history_init(struct history *history);
void history_done(struct history *history);

/* Read and merge the files. @return false, and history->error names file, line and reason. */
bool history_read(struct history *history, char *const *paths, size_t count);

/* Copy a line's text, without its end; shortened to what fits. */
void history_line(const struct history *history, struct place place, char *buffer, size_t buffer_bytes);
const char *history_path(const struct history *history, struct place place);

/* ":acquire", ":ok" */
const char *op_f_name(enum op_f f);
const char *op_outcome_name(enum op_outcome outcome);

#endif
