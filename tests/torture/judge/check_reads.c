/* Owns `reads`: linearizable reads show what had been acknowledged before they were asked for, and what certainly holds while they are made.
 *
 *   K1  A fence check says true only of the newest period: not if a grant of the key with a greater fence had completed before.
 *   K2  It does not say true of an exclusive grant whose release had said ok before.
 *   K3  It does not say false of a grant that is certainly held from before its invocation to after its completion.
 *   K4  A :status shows every grant that is certainly held that long (unless it may have shown a part only).
 *   K5  It shows no grant if one that is not compatible with it, with a greater token, had completed before, or had been
 *       shown by a read that completed before. So for K1.
 *   K6  Nor one that a read which completed before, and was asked for after that grant, did not show.
 *
 * Certainly held here means to the later of `held_until` and what was promised, up to the client's own end of it (facts.h). */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

enum { HOLDERS_SHOWN_MAX = 64 };

struct reads {
    const struct facts *facts;
    struct report *report;
    const struct grant **grants; /* of one key, in the order of `start` */
    size_t grants_count;
    const struct grant **held; /* of those that began before a read, the ones that may be held still */
    size_t held_count;
    size_t next;
    const struct op **reads; /* of the key, in the order of their completion */
    size_t reads_count;
    size_t reads_next;     /* those before it had completed */
    uint64_t newest_token; /* of all that were granted or shown before, also to those of whom nobody heard, */
    const struct op *newest;
    const struct grant *newest_exclusive; /* of those that are known the greatest among the exclusive ones */
    const struct grant *newest_fence;     /* and with the greatest fence */
};

static int64_t held_to(const struct grant *grant)
{
    int64_t promised = grant->promised < grant->ended ? grant->promised : grant->ended;
    return grant->held_until > promised ? grant->held_until : promised;
}

static int by_start(const void *left, const void *right)
{
    const struct grant *a = *(const struct grant *const *)left;
    const struct grant *b = *(const struct grant *const *)right;
    return a->start < b->start ? -1 : a->start > b->start;
}

static int by_done(const void *left, const void *right)
{
    const struct op *a = *(const struct op *const *)left;
    const struct op *b = *(const struct op *const *)right;
    return a->done < b->done ? -1 : a->done > b->done;
}

static bool is_read(const struct op *op)
{
    return ((op->f == OP_STATUS && op->outcome == OUTCOME_OK) || op->f == OP_FINAL) && op->seen != 0;
}

/* It is known from now on that this token was granted; `by` says so. */
static void learn(struct reads *reads, uint64_t token, const struct op *by)
{
    const struct grant *grant = facts_grant(reads->facts, token);
    if (token > reads->newest_token) {
        reads->newest_token = token;
        reads->newest = by;
    }
    if (grant == NULL || grant->op->key != by->key) {
        return; /* check_once.c rejects the latter */
    }
    if (grant->op->mode == MODE_EXCLUSIVE &&
        (reads->newest_exclusive == NULL || token > reads->newest_exclusive->op->token)) {
        reads->newest_exclusive = grant;
    }
    if (reads->newest_fence == NULL || grant->op->fence > reads->newest_fence->op->fence) {
        reads->newest_fence = grant;
    }
}

static void learn_shown(struct reads *reads, const struct op *read)
{
    const struct seen *seen = &reads->facts->history->seen[read->seen - 1];
    for (uint32_t i = 0; i < seen->holders; i++) {
        learn(reads, reads->facts->history->list[seen->holders_first + 2 * (size_t)i + 1], read);
    }
}

/* All that completed before the read was asked for. */
static void go_on_to(struct reads *reads, const struct op *op)
{
    for (; reads->next < reads->grants_count && reads->grants[reads->next]->start < op->invoke;
         reads->next++) {
        const struct grant *grant = reads->grants[reads->next];
        reads->held[reads->held_count++] = grant;
        learn(reads, grant->op->token, grant->op);
    }
    for (; reads->reads_next < reads->reads_count && reads->reads[reads->reads_next]->done < op->invoke;
         reads->reads_next++) {
        learn_shown(reads, reads->reads[reads->reads_next]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < reads->held_count; i++) {
        if (held_to(reads->held[i]) >= op->invoke) {
            reads->held[kept++] = reads->held[i];
        }
    }
    reads->held_count = kept;
}

static void judge_check(struct reads *reads, const struct op *op)
{
    const struct grant *grant = facts_grant(reads->facts, op->token);
    bool its_own = grant != NULL && grant->op->key == op->key && grant->op->fence == op->fence;
    const struct grant *newest = reads->newest_fence;
    reads->report->judged[RULE_READS]++;
    if (op->current && its_own && grant->op->mode == MODE_EXCLUSIVE && grant->released < op->invoke) {
        report_add(reads->report, RULE_READS, op->done, REPORT_OPS(grant->op, grant->release, op),
                   "fence %" PRIu64 " is called current after its grant's release had said ok", op->fence);
    } else if (op->current && op->fence != 0 && newest != NULL && newest->op->fence > op->fence) {
        report_add(reads->report, RULE_READS, op->done, REPORT_OPS(newest->op, op),
                   "fence %" PRIu64 " is called current after fence %" PRIu64 " was known", op->fence,
                   newest->op->fence);
    } else if (!op->current && its_own && grant->start < op->invoke && op->done < held_to(grant)) {
        report_add(reads->report, RULE_READS, op->done, REPORT_OPS(grant->op, op, grant->release),
                   "fence %" PRIu64 " is called stale while its grant is certainly held", op->fence);
    }
}

static bool shows(const struct facts *facts, const struct seen *seen, uint64_t token)
{
    for (uint32_t i = 0; i < seen->holders; i++) {
        if (facts->history->list[seen->holders_first + 2 * (size_t)i + 1] == token) {
            return true;
        }
    }
    return false;
}

/* K6: the read that did not show a grant, though it was asked for after it; NULL: all such did. */
static const struct op *missed_before(const struct reads *reads, const struct grant *grant,
                                      const struct op *op)
{
    for (size_t i = reads->reads_next; i-- > 0 && reads->reads[i]->done > grant->start;) {
        const struct op *read = reads->reads[i];
        const struct seen *seen = &reads->facts->history->seen[read->seen - 1];
        if (read->invoke > grant->start && read->done < op->invoke && seen->holders < HOLDERS_SHOWN_MAX &&
            !shows(reads->facts, seen, grant->op->token)) {
            return read;
        }
    }
    return NULL;
}

/* K5, K6. What is shown after its known end is rejected by check_residue.c. */
static void judge_shown(struct reads *reads, const struct op *op, const struct seen *seen)
{
    for (uint32_t i = 0; i < seen->holders; i++) {
        const uint64_t *holder = &reads->facts->history->list[seen->holders_first + 2 * (size_t)i];
        const struct grant *grant = facts_grant(reads->facts, holder[1]);
        const struct session *session = facts_session(reads->facts, holder[0]);
        if (grant == NULL || grant->op->key != op->key || grant->gone < op->invoke ||
            (session != NULL && session->closed < op->invoke)) {
            continue;
        }
        const struct op *later = reads->newest_exclusive == NULL ? NULL : reads->newest_exclusive->op;
        uint64_t token = later == NULL ? 0 : later->token;
        if (grant->op->mode == MODE_EXCLUSIVE) {
            token = reads->newest_token;
            later = reads->newest;
        }
        const struct op *missed = missed_before(reads, grant, op);
        if (token > grant->op->token) {
            report_add(reads->report, RULE_READS, op->done, REPORT_OPS(op, grant->op, later),
                       "token %" PRIu64 " is shown after token %" PRIu64 " was known", grant->op->token,
                       token);
        } else if (missed != NULL) {
            report_add(reads->report, RULE_READS, op->done, REPORT_OPS(op, grant->op, missed),
                       "token %" PRIu64 " is shown after a read that did not show it any more",
                       grant->op->token);
        }
    }
}

static void judge_status(struct reads *reads, const struct op *op)
{
    const struct seen *seen = &reads->facts->history->seen[op->seen - 1];
    reads->report->judged[RULE_READS]++;
    judge_shown(reads, op, seen);
    for (size_t i = 0; i < reads->held_count && seen->holders < HOLDERS_SHOWN_MAX; i++) {
        const struct grant *grant = reads->held[i];
        if (op->done < held_to(grant) && !shows(reads->facts, seen, grant->op->token)) {
            report_add(reads->report, RULE_READS, op->done, REPORT_OPS(grant->op, op, grant->release),
                       "token %" PRIu64 " is not shown while it is certainly held", grant->op->token);
        }
    }
}

static void gather_reads(struct reads *reads, uint32_t key)
{
    const struct facts *facts = reads->facts;
    for (uint32_t i = facts->key_begin[key]; i < facts->key_begin[key + 1]; i++) {
        const struct op *op = &facts->history->ops[facts->by_key[i]];
        if (is_read(op)) {
            reads->reads[reads->reads_count++] = op;
        }
    }
    if (reads->reads_count > 0) {
        qsort(reads->reads, reads->reads_count, sizeof *reads->reads, by_done);
    }
}

static void check_key(struct reads *reads, uint32_t key)
{
    const struct facts *facts = reads->facts;
    reads->grants_count = reads->held_count = reads->next = 0;
    reads->reads_count = reads->reads_next = 0;
    reads->newest_token = 0;
    reads->newest = NULL;
    reads->newest_exclusive = reads->newest_fence = NULL;
    for (uint32_t i = facts->grant_begin[key]; i < facts->grant_begin[key + 1]; i++) {
        if (!facts->grants[i].twice) {
            reads->grants[reads->grants_count++] = &facts->grants[i];
        }
    }
    if (reads->grants_count > 0) {
        qsort(reads->grants, reads->grants_count, sizeof *reads->grants, by_start);
    }
    gather_reads(reads, key);
    for (uint32_t i = facts->key_begin[key]; i < facts->key_begin[key + 1]; i++) {
        const struct op *op = &facts->history->ops[facts->by_key[i]];
        if (op->f == OP_CHECK && op->outcome == OUTCOME_OK) {
            go_on_to(reads, op);
            judge_check(reads, op);
        } else if (is_read(op)) {
            go_on_to(reads, op);
            judge_status(reads, op);
        }
    }
}

void check_reads(const struct facts *facts, struct report *report)
{
    struct reads reads = {.facts = facts, .report = report};
    reads.grants = judge_allocate(facts->grants_count, sizeof *reads.grants);
    reads.held = judge_allocate(facts->grants_count, sizeof *reads.held);
    reads.reads = judge_allocate(facts->history->ops_count, sizeof *reads.reads);
    for (uint32_t key = 1; key < facts->keys; key++) {
        check_key(&reads, key);
    }
    free(reads.grants);
    free(reads.held);
    free(reads.reads);
}
