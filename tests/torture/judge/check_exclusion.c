/* Owns `exclusion` and `permits`, by intervals in which grants were certainly held (facts.h).
 *
 *   C1  Two grants of a key that are not compatible (facts_compatible) are never certainly held at the same moment.
 *   C2  Shared and permit holders that are certainly held at the same moment belong to one period: they have one fence
 *       (rejected as `order`).
 *   C3  The counts of the permits that are certainly held at a moment add up to the limit at most.
 *   C4  What one read shows as holders was held together: C1 and C3 hold for the known grants among them, too; and beside
 *       a known grant that is exclusive there is nobody, known or not.
 *
 * Sound, because a grant is in the service's state from before `start` to after `held_until`, whatever became of its replies. Intervals
 * that only touch are not together. For each key the intervals are gone through in the order of their begin; of those
 * before, only the one that ends last matters for each class of incompatible ones. */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

/* Of all grants so far, the two that end last and differ in what they are classed by. */
struct latest {
    const struct grant *first, *second;
};

static bool same_class(const struct grant *a, const struct grant *b)
{
    return a->op->mode == b->op->mode && a->op->fence == b->op->fence && a->op->limit == b->op->limit &&
           a->op->mode != MODE_EXCLUSIVE;
}

static void latest_put(struct latest *latest, const struct grant *grant)
{
    if (latest->first == NULL || grant->held_until >= latest->first->held_until) {
        if (latest->first != NULL && !same_class(latest->first, grant)) {
            latest->second = latest->first;
        }
        latest->first = grant;
    } else if (!same_class(latest->first, grant) &&
               (latest->second == NULL || grant->held_until > latest->second->held_until)) {
        latest->second = grant;
    }
}

/* One of another class that is still held when this one begins. */
static const struct grant *latest_against(const struct latest *latest, const struct grant *grant)
{
    const struct grant *found = latest->first;
    if (found != NULL && same_class(found, grant)) {
        found = latest->second;
    }
    return found != NULL && found->held_until > grant->start ? found : NULL;
}

static void reject_pair(struct report *report, const struct grant *a, const struct grant *b)
{
    const struct op *const *ops = REPORT_OPS(a->op, b->op, a->release != NULL ? a->release : a->loss);
    int64_t until = a->held_until < b->held_until ? a->held_until : b->held_until;
    double together = (double)(until - b->start) / 1e6;
    struct finding *finding = NULL;
    if (facts_compatible(a->op, b->op)) {
        finding = report_add(report, RULE_ORDER, b->start, ops,
                             "tokens %" PRIu64 " and %" PRIu64
                             " are held together for %.3f ms, but their fences are %" PRIu64 " and %" PRIu64,
                             a->op->token, b->op->token, together, a->op->fence, b->op->fence);
    } else if (a->op->mode == MODE_PERMITS && b->op->mode == MODE_PERMITS) {
        finding = report_add(report, RULE_PERMITS, b->start, ops,
                             "tokens %" PRIu64 " and %" PRIu64 " are held together with the limits %" PRIu32
                             " and %" PRIu32,
                             a->op->token, b->op->token, a->op->limit, b->op->limit);
    } else {
        finding = report_add(report, RULE_EXCLUSION, b->start, ops,
                             "tokens %" PRIu64 " and %" PRIu64 " are both certainly held for %.3f ms",
                             a->op->token, b->op->token, together);
    }
    report_lasts(finding, until);
}

static int by_start(const void *left, const void *right)
{
    const struct grant *a = *(const struct grant *const *)left;
    const struct grant *b = *(const struct grant *const *)right;
    return a->start < b->start ? -1 : a->start > b->start;
}

static int by_end(const void *left, const void *right)
{
    const struct grant *a = *(const struct grant *const *)left;
    const struct grant *b = *(const struct grant *const *)right;
    return a->held_until < b->held_until ? -1 : a->held_until > b->held_until;
}

/* C3: a begin is only reached when all that ended before or at the same time is gone. */
static void sum_permits(const struct grant **begins, const struct grant **ends, size_t count,
                        struct report *report)
{
    uint64_t sum = 0;
    size_t ended = 0;
    for (size_t i = 0; i < count; i++) {
        const struct grant *grant = begins[i];
        for (; ended < count && ends[ended]->held_until <= grant->start; ended++) {
            sum -= ends[ended]->op->count;
        }
        sum += grant->op->count;
        report->judged[RULE_PERMITS]++;
        if (sum > grant->op->limit) {
            const struct grant *other = i == 0 ? NULL : begins[i - 1];
            report_add(report, RULE_PERMITS, grant->start,
                       REPORT_OPS(grant->op, other == NULL ? NULL : other->op),
                       "%" PRIu64 " permits are certainly held at once, the limit is %" PRIu32, sum,
                       grant->op->limit);
        }
    }
}

/* Begin and end of an interval, in order; an empty one says nothing and is left out before. */
static void check_key(const struct grant **begins, const struct grant **ends, size_t count,
                      struct report *report)
{
    struct latest latest = {NULL, NULL};
    size_t permits = 0;
    if (count == 0) {
        return;
    }
    qsort(begins, count, sizeof *begins, by_start);
    for (size_t i = 0; i < count; i++) {
        const struct grant *other = latest_against(&latest, begins[i]);
        report->judged[RULE_EXCLUSION]++;
        if (other != NULL) {
            reject_pair(report, other, begins[i]);
        }
        latest_put(&latest, begins[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (begins[i]->op->mode == MODE_PERMITS) {
            begins[permits] = begins[i];
            ends[permits++] = begins[i];
        }
    }
    if (permits > 0) {
        qsort(ends, permits, sizeof *ends, by_end);
        sum_permits(begins, ends, permits, report);
    }
}

/* C4 */
static void check_seen(const struct facts *facts, const struct op *op, struct report *report)
{
    const struct seen *seen = &facts->history->seen[op->seen - 1];
    const struct grant *first = NULL;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < seen->holders; i++) {
        const struct grant *grant =
            facts_grant(facts, facts->history->list[seen->holders_first + 2 * (size_t)i + 1]);
        if (grant == NULL || grant->op->key != op->key) {
            continue;
        }
        sum += grant->op->count;
        if (grant->op->mode == MODE_EXCLUSIVE && seen->holders > 1) {
            report_add(report, RULE_EXCLUSION, op->done, REPORT_OPS(op, grant->op),
                       "a read shows token %" PRIu64 ", which is exclusive, as one of %" PRIu32 " holders",
                       grant->op->token, seen->holders);
            return;
        }
        if (first == NULL) {
            first = grant;
        } else if (!facts_compatible(first->op, grant->op)) {
            report_add(report, RULE_EXCLUSION, op->done, REPORT_OPS(op, first->op, grant->op),
                       "a read shows tokens %" PRIu64 " and %" PRIu64 " as holders together",
                       first->op->token, grant->op->token);
        }
        if (grant->op->mode == MODE_PERMITS && sum > grant->op->limit) {
            report_add(report, RULE_PERMITS, op->done, REPORT_OPS(op, grant->op),
                       "a read shows holders of %" PRIu64 " permits, the limit is %" PRIu32, sum,
                       grant->op->limit);
        }
    }
}

void check_exclusion(const struct facts *facts, struct report *report)
{
    const struct grant **begins = judge_allocate(facts->grants_count, sizeof *begins);
    const struct grant **ends = judge_allocate(facts->grants_count, sizeof *ends);
    for (uint32_t key = 1; key < facts->keys; key++) {
        size_t count = 0;
        for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
            const struct grant *grant = &facts->grants[i];
            if (!grant->twice && grant->held_until > grant->start) {
                begins[count++] = grant;
            }
        }
        check_key(begins, ends, count, report);
    }
    free(begins);
    free(ends);
    for (size_t i = 0; i < facts->history->ops_count; i++) {
        const struct op *op = &facts->history->ops[i];
        bool read = (op->f == OP_STATUS && op->outcome == OUTCOME_OK) || op->f == OP_FINAL;
        if (read && op->seen != 0) {
            check_seen(facts, op, report);
        }
    }
}
