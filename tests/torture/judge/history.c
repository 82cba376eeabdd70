/* Owns the pairing of invocations and completions; see history.h. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "lines.h"

void history_init(struct history *history)
{
    *history = (struct history){.first = NEVER, .last = LONG_AGO, .last_done = LONG_AGO};
    names_init(&history->keys);
    names_init(&history->owners);
    names_init(&history->words);
    numbers_init(&history->open);
}

void history_done(struct history *history)
{
    lines_close(history);
    free(history->ops);
    free(history->seen);
    free(history->list);
    free(history->orphans);
    names_done(&history->keys);
    names_done(&history->owners);
    names_done(&history->words);
    numbers_done(&history->open);
}

static bool fail(struct history *history, const struct source *source, const char *text)
{
    (void)snprintf(history->error, sizeof history->error, "%s:%u: %s", source->path, source->line, text);
    return false;
}

static struct op *add(struct history *history, const struct source *source, enum op_f f)
{
    history->ops = judge_grow(history->ops, history->ops_count, &history->ops_room, sizeof *history->ops);
    struct op *op = &history->ops[history->ops_count++];
    *op = (struct op){.invoke = source->time,
                      .done = NEVER,
                      .certain = LONG_AGO,
                      .invoked_at = source->place,
                      .f = (uint8_t)f};
    return op;
}

/* ---- what must be there ---- */

static const char *lacks(const struct op *op)
{
    bool of_a_key = op->f == OP_ACQUIRE || op->f == OP_RELEASE || op->f == OP_EXTEND || op->f == OP_CHECK ||
                    op->f == OP_STATUS || op->f == OP_FINAL;
    bool of_a_client = op->f == OP_ACQUIRE || op->f == OP_RENEW || op->f == OP_CLOSE || op->f == OP_OPEN;
    bool of_a_grant = op->f == OP_RELEASE || op->f == OP_EXTEND || op->f == OP_LOST;
    if (of_a_key && op->key == 0) {
        return "this operation needs :key";
    }
    if (of_a_client && op->owner == 0) {
        return "this operation needs :owner";
    }
    if (of_a_grant && op->token == 0) {
        return "this operation needs :token";
    }
    if (op->f == OP_ACQUIRE && op->mode == MODE_PERMITS && (op->count == 0 || op->limit == 0)) {
        return "an acquire of permits needs :count and :limit";
    }
    if (op->outcome != OUTCOME_OK) {
        return NULL;
    }
    if (op->f == OP_ACQUIRE && (op->session == 0 || op->token == 0 || op->fence == 0)) {
        return "a grant needs :session, :token and :fence";
    }
    return op->f == OP_STATUS && op->seen == 0 ? "a status needs :holders and :waiters" : NULL;
}

/* ---- lines ---- */

static bool invocation(struct history *history, const struct source *source, const struct line *line)
{
    if (line->f == OP_FAULT || line->nemesis) {
        return fail(history, source, "only the operations of history.md are invoked, and not by the nemesis");
    }
    uint32_t open = numbers_get(&history->open, line->process);
    if (open != 0) {
        char text[128];
        (void)snprintf(text, sizeof text, "the process has an operation open, since line %u",
                       history->ops[open - 1].invoked_at.line);
        return fail(history, source, text);
    }
    struct op *op = add(history, source, line->f);
    const char *wrong = line_fields(history, source->edn, line->value, op);
    op->invoke = source->time;
    if (wrong == NULL) {
        wrong = lacks(op);
    }
    numbers_put(&history->open, line->process, (uint32_t)history->ops_count);
    return wrong == NULL || fail(history, source, wrong);
}

static bool completion(struct history *history, const struct source *source, const struct line *line)
{
    static const enum op_outcome outcomes[] = {
        [LINE_OK] = OUTCOME_OK, [LINE_FAIL] = OUTCOME_FAIL, [LINE_INFO] = OUTCOME_INFO};
    uint32_t open = numbers_get(&history->open, line->process);
    if (open == 0) {
        history->orphans = judge_grow(history->orphans, history->orphans_count, &history->orphans_room,
                                      sizeof *history->orphans);
        history->orphans[history->orphans_count++] =
            (struct orphan){.time = source->time,
                            .at = source->place,
                            .f = (uint8_t)line->f,
                            .outcome = (uint8_t)outcomes[line->type]};
        return true;
    }
    numbers_put(&history->open, line->process, 0);
    struct op *op = &history->ops[open - 1];
    if (op->f != line->f) {
        return fail(history, source, "the completion's :f is not that of the operation that is open");
    }
    int64_t invoke = op->invoke;
    op->outcome = (uint8_t)outcomes[line->type];
    op->done_at = source->place;
    const char *wrong = line->value == NULL ? NULL : line_fields(history, source->edn, line->value, op);
    op->invoke = invoke;
    op->done = source->time < invoke ? invoke : source->time;
    history->last_done = op->done > history->last_done ? op->done : history->last_done;
    if (wrong == NULL) {
        wrong = lacks(op);
    }
    return wrong == NULL || fail(history, source, wrong);
}

/* A line without an invocation: a fault, a loss, the end. */
static bool event(struct history *history, const struct source *source, const struct line *line)
{
    struct op *op = add(history, source, line->f);
    op->outcome = OUTCOME_INFO;
    const char *wrong = NULL;
    if (line->f == OP_FAULT) {
        op->error = names_put(&history->words, line->name->text, line->name->bytes);
    } else if (line->f != OP_HEAL) {
        wrong = line_fields(history, source->edn, line->value, op);
    }
    op->done = source->time;
    if (line->f == OP_FINAL && op->invoke == op->done && history->last_done != LONG_AGO) {
        op->invoke = history->last_done < op->done ? history->last_done : op->done;
    }
    if (op->invoke > op->done) {
        wrong = ":asked lies behind :time";
    }
    if (wrong == NULL) {
        wrong = lacks(op);
    }
    return wrong == NULL || fail(history, source, wrong);
}

static bool is_event(const struct line *line)
{
    bool alone = line->f == OP_LOST || line->f >= OP_FINAL;
    return line->type == LINE_INFO && (alone || line->nemesis);
}

static bool take(struct history *history, const struct source *source)
{
    struct line line;
    if (!line_read(source->edn, &line)) {
        return fail(history, source, line.error);
    }
    if (history->ops_count >= UINT32_MAX - 1) {
        return fail(history, source, "more than 4 thousand million operations");
    }
    history->first = source->time < history->first ? source->time : history->first;
    history->last = source->time > history->last ? source->time : history->last;
    if (is_event(&line)) {
        return event(history, source, &line);
    }
    return line.type == LINE_INVOKE ? invocation(history, source, &line) : completion(history, source, &line);
}

static int by_invocation(const void *left, const void *right)
{
    const struct op *a = left;
    const struct op *b = right;
    if (a->invoke != b->invoke) {
        return a->invoke < b->invoke ? -1 : 1;
    }
    if (a->invoked_at.file != b->invoked_at.file) {
        return a->invoked_at.file < b->invoked_at.file ? -1 : 1;
    }
    return a->invoked_at.line < b->invoked_at.line ? -1 : a->invoked_at.line > b->invoked_at.line;
}

/* H1. Merged lines are in order already, unless a writer was not or :asked moved one: so look before sorting. */
static void sort(struct history *history)
{
    for (size_t i = 1; i < history->ops_count; i++) {
        if (by_invocation(&history->ops[i - 1], &history->ops[i]) > 0) {
            qsort(history->ops, history->ops_count, sizeof *history->ops, by_invocation);
            return;
        }
    }
}

bool history_read(struct history *history, char *const *paths, size_t count)
{
    if (!lines_open(history, paths, count)) {
        return false;
    }
    for (struct source *source; (source = lines_earliest(history)) != NULL;) {
        if (!take(history, source) || !lines_advance(history, source)) {
            return false;
        }
    }
    sort(history);
    return true;
}
