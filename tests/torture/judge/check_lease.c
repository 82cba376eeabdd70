/* Owns `lease` and `deadline`: nobody is granted a key while the lease of an incompatible holder can not have ended, and no
 * lease ends before.
 *
 *   D1  A and B are grants of one key, not compatible, A's token is the smaller one: so A was granted first. B took effect before
 *       it completed. If B completed before A's lease could have ended (promised or leased) and before A's client could
 *       have ended it (facts.h, A1), then A was still held: rejected, as `deadline` by what A's library had said,
 *       as `lease` by the TTL.
 *
 *   D2  The cluster does not say that a grant has ended (facts_says_gone) before its lease could have, unless an administrator
 *       ended it, or its client may have: rejected as `lease`.
 *   D3  As D1, with what proves that A was held (held_until): rejected as `exclusion`. Only where B has no such proof (of two
 *       that have one check_exclusion.c tells), and where D1 does not reject it by A's lease.
 *
 * For each mode of A the greatest end among smaller tokens is enough; for permits of two limits, the two greatest. */
#include <inttypes.h>

#include "report.h"

struct ends {
    const struct grant *last[MODES];
    const struct grant
        *other_limit; /* of the permits, the last with a limit other than last[MODE_PERMITS] has */
};

typedef int64_t end_of_fn(const struct grant *grant);

static int64_t until_client(const struct grant *grant, int64_t until)
{
    return until < grant->ended ? until : grant->ended;
}

static int64_t promised_end(const struct grant *grant)
{
    return until_client(grant, grant->promised);
}

static int64_t leased_end(const struct grant *grant)
{
    return until_client(grant, grant->leased);
}

static void ends_put(struct ends *ends, const struct grant *grant, end_of_fn *end_of)
{
    const struct grant **last = &ends->last[grant->op->mode];
    bool other = *last != NULL && (*last)->op->limit != grant->op->limit;
    if (*last == NULL || end_of(grant) >= end_of(*last)) {
        if (other) {
            ends->other_limit = *last;
        }
        *last = grant;
    } else if (other && (ends->other_limit == NULL || end_of(grant) > end_of(ends->other_limit))) {
        ends->other_limit = grant;
    }
}

/* The incompatible grant that ends last. */
static const struct grant *against(const struct ends *ends, const struct grant *grant, end_of_fn *end_of)
{
    const struct grant *candidates[MODES + 1] = {ends->last[MODE_EXCLUSIVE], ends->last[MODE_SHARED],
                                                 ends->last[MODE_PERMITS], ends->other_limit};
    const struct grant *found = NULL;
    for (unsigned i = 0; i <= MODES; i++) {
        const struct grant *candidate = candidates[i];
        if (candidate != NULL && !facts_compatible(candidate->op, grant->op) &&
            (found == NULL || end_of(candidate) > end_of(found))) {
            found = candidate;
        }
    }
    return found;
}

static int64_t held_end(const struct grant *grant)
{
    return grant->held_until;
}

/* D3 */
static void check_held(const struct facts *facts, uint32_t key, struct report *report)
{
    struct ends ends = {.other_limit = NULL};
    for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
        const struct grant *grant = &facts->grants[i];
        if (grant->twice) {
            continue;
        }
        const struct grant *before = against(&ends, grant, held_end);
        report->judged[RULE_EXCLUSION] += before != NULL;
        bool told = before != NULL &&
                    (grant->op->done < promised_end(before) || grant->op->done < leased_end(before));
        if (before != NULL && !told && grant->op->done < before->held_until &&
            grant->held_until <= grant->start) {
            report_add(report, RULE_EXCLUSION, grant->op->done,
                       REPORT_OPS(before->op, grant->op,
                                  before->release != NULL ? before->release : before->loss),
                       "token %" PRIu64 " was granted while token %" PRIu64
                       " was certainly held, and for another %.3f ms",
                       grant->op->token, before->op->token,
                       (double)(before->held_until - grant->op->done) / 1e6);
        }
        ends_put(&ends, grant, held_end);
    }
}

/* D2. Whatever ended it before, ended it before this was told; the loss itself is among it. */
static void check_told(const struct facts *facts, const struct op *op, struct report *report)
{
    const struct grant *grant = facts_says_gone(facts, op) ? facts_grant(facts, op->token) : NULL;
    if (grant == NULL) {
        return;
    }
    int64_t until = grant->promised > grant->leased ? grant->promised : grant->leased;
    report->judged[RULE_LEASE]++;
    if (op->done < until && grant->ended >= op->done) {
        struct finding *finding =
            report_add(report, RULE_LEASE, op->done, REPORT_OPS(grant->op, op),
                       "the cluster says that token %" PRIu64
                       " has ended, although its lease lasts for another %.3f ms and nobody ended it",
                       op->token, (double)(until - op->done) / 1e6);
        report_lasts(finding, until);
    }
}

static void check_key(const struct facts *facts, uint32_t key, enum judge_rule rule, struct report *report)
{
    end_of_fn *end_of = rule == RULE_LEASE ? leased_end : promised_end;
    struct ends ends = {.other_limit = NULL};
    for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
        const struct grant *grant = &facts->grants[i];
        if (grant->twice) {
            continue;
        }
        const struct grant *before = against(&ends, grant, end_of);
        report->judged[rule] += before != NULL && end_of(before) != LONG_AGO;
        if (before != NULL && grant->op->done < end_of(before)) {
            struct finding *finding = report_add(
                report, rule, grant->op->done, REPORT_OPS(before->op, grant->op, before->release),
                "token %" PRIu64 " was granted %.3f ms before the end of token %" PRIu64 "'s lease %s",
                grant->op->token, (double)(end_of(before) - grant->op->done) / 1e6, before->op->token,
                rule == RULE_LEASE ? "by its TTL" : "by what its holder's library had said");
            report_lasts(finding, end_of(before));
        }
        ends_put(&ends, grant, end_of);
    }
}

void check_lease(const struct facts *facts, struct report *report)
{
    for (uint32_t key = 1; key < facts->keys; key++) {
        check_key(facts, key, RULE_DEADLINE, report);
        check_key(facts, key, RULE_LEASE, report);
        check_held(facts, key, report);
    }
    for (size_t i = 0; i < facts->history->ops_count; i++) {
        check_told(facts, &facts->history->ops[i], report);
    }
}
