/* Owns `progress`: what is due after the last :heal. Without a :heal nothing is.
 *
 *   P1  An operation of a client that did not crash and is not paused, open at :heal or invoked later, completes within
 *       the calm time after the later of both, and of the wait that it asked for. One that never completed is late if
 *       the history goes on for so long, or has :final lines, for then its client was closed.
 *   P2  A key is granted again, if somebody asked for it when every lease from before :heal must have run out, with the margin,
 *       and was told HELD or TIMED_OUT; unless a grant from before is still held by a client that lives. */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

static bool lives(const struct facts *facts, uint32_t owner)
{
    return owner != 0 && facts->owners[owner].crashed == NEVER && facts->owners[owner].paused == NEVER;
}

static void check_operation(const struct facts *facts, const struct op *op, struct report *report)
{
    int64_t heal = facts->heal;
    if (op->f >= OP_LOST || op->done < heal || !lives(facts, op->owner)) {
        return;
    }
    int64_t wait = op->f == OP_ACQUIRE && op->wait_ms > 0 ? op->wait_ms * NS_PER_MS : 0;
    int64_t from = op->invoke > heal ? op->invoke : heal;
    int64_t due =
        from > NEVER - wait - facts->options->calm_ns ? NEVER : from + wait + facts->options->calm_ns;
    report->judged[RULE_PROGRESS]++;
    if (op->done == NEVER ? facts->history->last > due || facts->has_final : op->done > due) {
        report_add(report, RULE_PROGRESS, op->done == NEVER ? op->invoke : op->done, REPORT_OPS(op),
                   "a :%s that was open after :heal %s", op_f_name((enum op_f)op->f),
                   op->done == NEVER ? "never completed" : "completed only after the calm time");
    }
}

static bool granted_or_kept(const struct facts *facts, uint32_t key, int64_t due)
{
    for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
        const struct grant *grant = &facts->grants[i];
        if (grant->start > facts->heal || (grant->ended > due && lives(facts, grant->op->owner))) {
            return true;
        }
    }
    return false;
}

static void check_key(const struct facts *facts, uint32_t key, struct report *report)
{
    int64_t due = facts->heal + facts->ttl_max_ns + facts->options->margin_ns;
    const struct op *asked = NULL;
    for (uint32_t i = facts->key_begin[key]; i < facts->key_begin[key + 1] && asked == NULL; i++) {
        const struct op *op = &facts->history->ops[facts->by_key[i]];
        bool refused = op->outcome == OUTCOME_FAIL && (facts_word_is(facts, op->error, "HELD") ||
                                                       facts_word_is(facts, op->error, "TIMED_OUT"));
        if (op->f == OP_ACQUIRE && op->invoke > due && refused) {
            asked = op;
        }
    }
    report->judged[RULE_PROGRESS] += asked != NULL;
    if (asked != NULL && !granted_or_kept(facts, key, due)) {
        report_add(report, RULE_PROGRESS, asked->done, REPORT_OPS(asked),
                   "the key was not granted again after :heal");
    }
}

void check_progress(const struct facts *facts, struct report *report)
{
    if (facts->heal == NEVER) {
        return;
    }
    for (size_t i = 0; i < facts->history->ops_count; i++) {
        check_operation(facts, &facts->history->ops[i], report);
    }
    for (uint32_t key = 1; key < facts->keys; key++) {
        check_key(facts, key, report);
    }
}
