/* Owns `session` and `ghost`: what must be gone. By reads (:status with ok, :final) that were asked for after the end was known.
 *
 *   S1  A session whose close said ok is not shown, neither as a holder nor as waiting, and grants, extends and renews
 *       nothing any more.
 *   G1  A token of which the cluster said that it has ended (a release with ok, or facts_says_gone) is not shown.
 *   G2  A session whose owner is gone (facts_gone: closed, or dead for longer than every TTL with the margin, counted from :heal
 *       at the earliest, because a cluster's time stands still while it has no leader) is not shown.
 *   G3  When all owners are gone, nobody holds and nobody waits at :final, whoever it may be. */
#include <inttypes.h>

#include "report.h"

static int64_t all_gone(const struct facts *facts)
{
    int64_t gone = facts->history->owners.count > 1 ? LONG_AGO : NEVER;
    for (uint32_t owner = 1; owner < facts->history->owners.count; owner++) {
        bool acts = facts->owners[owner].last_effect != LONG_AGO;
        int64_t since = acts ? facts_gone(facts, owner) : LONG_AGO;
        gone = since > gone ? since : gone;
    }
    return gone;
}

static bool closed_before(const struct session *session, const struct op *op)
{
    return session != NULL && session->closed < op->invoke;
}

static void check_holder(const struct facts *facts, const struct op *op, const uint64_t *holder, int64_t gone,
                         struct report *report)
{
    const struct session *session = facts_session(facts, holder[0]);
    const struct grant *grant = facts_grant(facts, holder[1]);
    report->judged[RULE_GHOST]++;
    report->judged[RULE_SESSION]++;
    if (grant != NULL && grant->op->session == holder[0] && grant->gone < op->invoke) {
        const struct op *teller = grant->released < op->invoke ? grant->release : grant->loss;
        report_add(
            report, RULE_GHOST, op->done, REPORT_OPS(op, grant->op, teller),
            "token %" PRIu64 " is shown, but %s", holder[1],
            grant->released < op->invoke ? "its release had said ok" : "the cluster had said that it ended");
    } else if (closed_before(session, op)) {
        report_add(report, RULE_SESSION, op->done, REPORT_OPS(session->close, op),
                   "session %" PRIu64 " is shown with token %" PRIu64 ", but its close had said ok",
                   holder[0], holder[1]);
    } else if (session != NULL && session->owner != 0 ? facts_gone(facts, session->owner) < op->invoke
                                                      : op->f == OP_FINAL && gone < op->invoke) {
        report_add(report, RULE_GHOST, op->done, REPORT_OPS(op, grant == NULL ? NULL : grant->op),
                   "session %" PRIu64 " is shown with token %" PRIu64
                   ", but its owner is gone for longer than any lease",
                   holder[0], holder[1]);
    }
}

static void check_waiters(const struct facts *facts, const struct op *op, const struct seen *seen,
                          int64_t gone, struct report *report)
{
    for (uint32_t i = 0; i < seen->queue; i++) {
        const struct session *session = facts_session(facts, facts->history->list[seen->queue_first + i]);
        report->judged[RULE_SESSION]++;
        if (closed_before(session, op)) {
            report_add(report, RULE_SESSION, op->done, REPORT_OPS(session->close, op),
                       "session %" PRIu64 " is shown waiting, but its close had said ok", session->id);
            return;
        }
    }
    if (op->f == OP_FINAL && seen->waiters > 0 && gone < op->invoke) {
        report_add(report, RULE_GHOST, op->done, REPORT_OPS(op),
                   "%" PRIu64 " wait at the end, but all owners are gone", seen->waiters);
    }
}

/* S1 for what sessions do. */
static void check_acts(const struct facts *facts, const struct op *op, struct report *report)
{
    const struct session *session = op->session == 0 ? NULL : facts_session(facts, op->session);
    bool acts = op->f == OP_ACQUIRE || op->f == OP_EXTEND || op->f == OP_RENEW || op->f == OP_RELEASE;
    if (!acts || op->outcome != OUTCOME_OK || session == NULL) {
        return;
    }
    report->judged[RULE_SESSION]++;
    if (closed_before(session, op)) {
        report_add(report, RULE_SESSION, op->done, REPORT_OPS(session->close, op),
                   "session %" PRIu64 " did :%s after its close had said ok", session->id,
                   op_f_name((enum op_f)op->f));
    }
}

void check_residue(const struct facts *facts, struct report *report)
{
    const struct history *history = facts->history;
    int64_t gone = all_gone(facts);
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        bool read = (op->f == OP_STATUS && op->outcome == OUTCOME_OK) || op->f == OP_FINAL;
        if (!read || op->seen == 0) {
            check_acts(facts, op, report);
            continue;
        }
        const struct seen *seen = &history->seen[op->seen - 1];
        for (uint32_t j = 0; j < seen->holders; j++) {
            check_holder(facts, op, &history->list[seen->holders_first + 2 * (size_t)j], gone, report);
        }
        check_waiters(facts, op, seen, gone, report);
    }
}
