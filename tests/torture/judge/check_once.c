/* Owns `once`: requests and grants have one effect and one end.
 *
 *   E1  No token is granted twice.
 *   E2  No grant is released twice with ok, and none is extended with ok that had been released with ok before.
 *   E3  No operation completes twice, or without having been invoked.
 *   E4  A release does not find its grant gone (NOT_HELD, SESSION_LOST) while its lease can not have ended, when neither
 *       a release or close of it was asked for before nor a loss was told before its answer.
 *   E5  A token that a read shows was asked for: its own acquire had been invoked before the read completed; or, if no
 *       acquire is known to have got it, its session's owner had asked for the key with an outcome that may be a grant.
 *       And it is shown with the session that it was granted to.
 *
 * E5 takes an acquire that did not end with ok for one that may be a grant if its outcome is not known, it was cancelled, or
 * its session ended under it: so a grant that crosses a cancel or a late execution of a lost request is never rejected.
 * Whatever else says :fail was an answer, or was never executed. */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

static void check_tokens(const struct facts *facts, struct report *report)
{
    for (size_t i = 0; i < facts->history->ops_count; i++) {
        const struct op *op = &facts->history->ops[i];
        if (op->f != OP_ACQUIRE || op->outcome != OUTCOME_OK) {
            continue;
        }
        const struct grant *first = facts_grant(facts, op->token);
        report->judged[RULE_ONCE]++;
        if (first->op != op) {
            report_add(report, RULE_ONCE, op->done, REPORT_OPS(op, first->op),
                       "token %" PRIu64 " was granted twice", op->token);
        }
    }
}

/* E4 */
static void check_not_held(const struct facts *facts, const struct grant *grant, const struct op *op,
                           struct report *report)
{
    bool gone =
        facts_word_is(facts, op->error, "NOT_HELD") || facts_word_is(facts, op->error, "SESSION_LOST");
    int64_t until = grant->promised > grant->leased ? grant->promised : grant->leased;
    const struct session *session = &facts->sessions[grant->session];
    bool lost = grant->loss != NULL && grant->loss->done <= op->done;
    if (op->outcome != OUTCOME_FAIL || !gone || lost || op->done >= until || grant->ended < op->invoke ||
        session->close_invoke < op->done) {
        return;
    }
    report_add(report, RULE_ONCE, op->done, REPORT_OPS(grant->op, op),
               "a release says %s, although the lease of token %" PRIu64
               " lasts for another %.3f ms and nobody ended it",
               facts_word(facts, op->error), op->token, (double)(until - op->done) / 1e6);
}

static void check_ends(const struct facts *facts, struct report *report)
{
    for (size_t i = 0; i < facts->history->ops_count; i++) {
        const struct op *op = &facts->history->ops[i];
        const struct grant *grant =
            op->f == OP_RELEASE || op->f == OP_EXTEND ? facts_grant(facts, op->token) : NULL;
        if (grant == NULL) {
            continue;
        }
        report->judged[RULE_ONCE]++;
        bool ok = op->outcome == OUTCOME_OK;
        if (op->f == OP_RELEASE && ok && grant->release != op) {
            report_add(report, RULE_ONCE, op->done, REPORT_OPS(grant->op, grant->release, op),
                       "token %" PRIu64 " was released twice", op->token);
        } else if (op->f == OP_EXTEND && ok && op->invoke > grant->released) {
            report_add(report, RULE_ONCE, op->done, REPORT_OPS(grant->op, grant->release, op),
                       "token %" PRIu64 " was extended after its release", op->token);
        } else if (op->f == OP_RELEASE) {
            check_not_held(facts, grant, op, report);
        }
    }
}

static void check_orphans(const struct facts *facts, struct report *report)
{
    for (size_t i = 0; i < facts->history->orphans_count; i++) {
        const struct orphan *orphan = &facts->history->orphans[i];
        const struct op op = {.f = orphan->f, .invoked_at = orphan->at};
        report_add(report, RULE_ONCE, orphan->time, REPORT_OPS(&op),
                   "a completion of :%s of an operation that was not open", op_f_name((enum op_f)orphan->f));
    }
}

/* ---- E5 ---- */

static uint64_t pair(uint32_t key, uint32_t owner)
{
    return (uint64_t)key << 32 | owner;
}

static bool may_be_granted(const struct facts *facts, const struct op *op)
{
    return op->f == OP_ACQUIRE && op->outcome != OUTCOME_OK &&
           (op->outcome != OUTCOME_FAIL || facts_word_is(facts, op->error, "CANCELLED") ||
            facts_word_is(facts, op->error, "SESSION_LOST"));
}

static void check_shown(const struct facts *facts, const struct op *op, const struct numbers *may_be,
                        struct report *report)
{
    const struct seen *seen = &facts->history->seen[op->seen - 1];
    for (uint32_t i = 0; i < seen->holders; i++) {
        const uint64_t *holder = &facts->history->list[seen->holders_first + 2 * (size_t)i];
        const struct grant *grant = facts_grant(facts, holder[1]);
        const struct session *session = facts_session(facts, holder[0]);
        report->judged[RULE_ONCE]++;
        if (grant != NULL && grant->op->session != holder[0]) {
            report_add(report, RULE_ONCE, op->done, REPORT_OPS(op, grant->op),
                       "token %" PRIu64 " is shown with session %" PRIu64 ", and was granted to %" PRIu64,
                       holder[1], holder[0], grant->op->session);
        } else if (grant != NULL) {
            if (grant->op->invoke > op->done || grant->op->key != op->key) {
                report_add(report, RULE_ONCE, op->done, REPORT_OPS(op, grant->op),
                           "token %" PRIu64 " is shown by a read of %s", holder[1],
                           grant->op->key == op->key ? "this key before it was asked for" : "another key");
            }
        } else if (session != NULL && session->owner != 0 &&
                   numbers_get(may_be, pair(op->key, session->owner)) == 0) {
            report_add(report, RULE_ONCE, op->done, REPORT_OPS(op),
                       "session %" PRIu64 " (%s) is shown with token %" PRIu64 ", for which it did not ask",
                       holder[0], facts->history->owners.texts[session->owner], holder[1]);
        }
    }
}

/* Acquires that had been invoked before a read completed count for it: all of the history's, which is more than enough. */
static void check_reads_of_tokens(const struct facts *facts, struct report *report)
{
    const struct history *history = facts->history;
    struct numbers may_be;
    numbers_init(&may_be);
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        if (may_be_granted(facts, op)) {
            numbers_put(&may_be, pair(op->key, op->owner), 1);
        }
    }
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        bool read = (op->f == OP_STATUS && op->outcome == OUTCOME_OK) || op->f == OP_FINAL;
        if (read && op->seen != 0) {
            check_shown(facts, op, &may_be, report);
        }
    }
    numbers_done(&may_be);
}

void check_once(const struct facts *facts, struct report *report)
{
    check_tokens(facts, report);
    check_ends(facts, report);
    check_orphans(facts, report);
    check_reads_of_tokens(facts, report);
}
