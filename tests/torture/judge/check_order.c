/* Owns `order`: tokens are the order of the grants, fences fit to them.
 *
 *   O1  Over all keys: a grant that completed, or a read that completed and showed a token, before another grant was asked for
 *       has a smaller token than that one.
 *   O2  An exclusive grant's fence is its token; no fence is greater than its token.
 *   O3  Of two grants of a key that follow each other in the order of tokens (with unknown ones between them, perhaps), the later
 *       one either belongs to the period of the former (equal fences, neither exclusive, the same mode), or to one that began
 *       later (its fence is greater than the former's token).
 *
 * Equal fences of holders that overlap: check_exclusion.c, C2. Tokens that are granted twice: check_once.c. */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

struct witness {
    int64_t done;
    uint64_t token;
    const struct op *op;
};

static int by_done(const void *left, const void *right)
{
    const struct witness *a = left;
    const struct witness *b = right;
    return a->done < b->done ? -1 : a->done > b->done;
}

static size_t collect(const struct facts *facts, struct witness **ret)
{
    const struct history *history = facts->history;
    struct witness *all = NULL;
    size_t count = 0;
    size_t room = 0;
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->outcome == OUTCOME_OK && op->f == OP_ACQUIRE) {
            all = judge_grow(all, count, &room, sizeof *all);
            all[count++] = (struct witness){op->done, op->token, op};
        }
        const struct seen *seen =
            op->f == OP_STATUS && op->outcome == OUTCOME_OK ? &history->seen[op->seen - 1] : NULL;
        for (uint32_t j = 0; seen != NULL && j < seen->holders; j++) {
            all = judge_grow(all, count, &room, sizeof *all);
            all[count++] =
                (struct witness){op->done, history->list[seen->holders_first + 2 * (size_t)j + 1], op};
        }
    }
    if (count > 0) {
        qsort(all, count, sizeof *all, by_done);
    }
    *ret = all;
    return count;
}

/* O1: operations are in the order of invocation, witnesses in that of completion. */
static void check_real_time(const struct facts *facts, struct report *report)
{
    const struct history *history = facts->history;
    struct witness *all = NULL;
    size_t count = collect(facts, &all);
    const struct witness *greatest = NULL;
    size_t next = 0;
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->f != OP_ACQUIRE || op->outcome != OUTCOME_OK) {
            continue;
        }
        for (; next < count && all[next].done < op->invoke; next++) {
            if (greatest == NULL || all[next].token > greatest->token) {
                greatest = &all[next];
            }
        }
        report->judged[RULE_ORDER]++;
        bool twice = facts_grant(facts, op->token)->op != op;
        if (greatest != NULL && greatest->token > op->token && !twice) {
            report_add(report, RULE_ORDER, op->done, REPORT_OPS(op, greatest->op),
                       "token %" PRIu64 " was granted after token %" PRIu64 " was known", op->token,
                       greatest->token);
        }
    }
    free(all);
}

/* O2, O3 */
static void check_fences(const struct facts *facts, uint32_t key, struct report *report)
{
    const struct grant *before = NULL;
    for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
        const struct grant *grant = &facts->grants[i];
        if (grant->twice) {
            continue;
        }
        const struct op *op = grant->op;
        if (op->fence > op->token || (op->mode == MODE_EXCLUSIVE && op->fence != op->token)) {
            report_add(report, RULE_ORDER, op->done, REPORT_OPS(op),
                       "the fence %" PRIu64 " does not fit to token %" PRIu64, op->fence, op->token);
        } else if (before != NULL && op->fence <= before->op->token) {
            bool period =
                op->fence == before->op->fence && op->mode == before->op->mode && op->mode != MODE_EXCLUSIVE;
            if (!period) {
                report_add(report, RULE_ORDER, op->done, REPORT_OPS(before->op, op),
                           "token %" PRIu64 " has fence %" PRIu64 ", but token %" PRIu64
                           " before it has fence %" PRIu64,
                           op->token, op->fence, before->op->token, before->op->fence);
            }
        }
        before = grant;
    }
}

void check_order(const struct facts *facts, struct report *report)
{
    check_real_time(facts, report);
    for (uint32_t key = 1; key < facts->keys; key++) {
        check_fences(facts, key, report);
    }
}
