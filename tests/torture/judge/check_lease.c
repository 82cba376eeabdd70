/* Owns `lease` and `deadline`: nobody is granted a key while the lease of an incompatible holder can not have ended.
 *
 *   D1  A and B are grants of one key, not compatible, A's token is the smaller one: so A was granted first. B took effect before
 *       it completed. If B completed before A's lease could have ended (promised or leased) and before A's client could
 *       have ended it (facts.h, A1), then A was still held: rejected, as `deadline` by what A's library had said,
 *       as `lease` by the TTL.
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
    }
}
