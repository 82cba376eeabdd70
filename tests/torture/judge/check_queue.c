/* Owns `fifo`, judged only where it is certain that one waited before another asked.
 *
 * The order in which requests reach the queue can not be seen from outside: a request may have been refused by an overloaded node or a
 * deposed leader and sent again. What can be seen are reads. So an acquire A is known to wait (or to be granted) from the
 * completion of a :status that showed it:
 *
 *   Q1  by name: :queue holds a session, its owner has exactly one acquire of the key that can be waiting then, and
 *       that is A. If A was granted, it is in that session; if not, its owner has no other that is known;
 *   Q2  by number: :waiters is as large as the number of all acquires of the key that can be waiting then, A among them.
 *
 * An acquire can be waiting at a read if it was invoked before the read completed, does not ask with :wait-ms 0, and had not completed
 * before the read was asked for; one with an unknown outcome, without a completion, or cancelled, until its owner's next close
 * has said ok (facts_wait_ends), else for ever after.
 *
 *   Q3  A was known to wait before B was asked for, and both were granted: A's token is the smaller one, whatever the modes.
 *   Q4  A was known to wait before B was asked for, and ended as TIMED_OUT: it waited until its invocation plus its wait
 *       (by a clock that runs faster by the permitted rate). No B completes as granted before that.
 *   Q5  Sessions that :queue shows are granted in its order, where Q1 names their acquires.
 *   Q6  :waiters is never larger than the number of acquires that can be waiting (rejected as `ghost`).
 *   Q7  Nobody is told TIMED_OUT before the time of Q4, whether it was known to wait or not. */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"

enum { RATE_PART = 20 }; /* a client's clock may be faster by a twentieth when it counts its wait */

struct waiting {
    const struct op *op;
    int64_t ends;  /* when it can not be waiting any more; NEVER */
    int64_t known; /* completion of the first read that showed it; NEVER */
};

struct queue {
    const struct facts *facts;
    struct report *report;
    struct waiting *all; /* acquires of one key that wait, in order of invocation */
    size_t all_count, all_room;
    size_t *open; /* indexes of those that can be waiting and will end */
    size_t open_count, open_room;
    uint64_t lost_count; /* those that can wait for ever */
    struct numbers lost; /* their owners: how many */
};

static void enter(struct queue *queue, const struct op *op)
{
    if (op->wait_ms == 0) {
        return;
    }
    queue->all = judge_grow(queue->all, queue->all_count, &queue->all_room, sizeof *queue->all);
    queue->all[queue->all_count++] = (struct waiting){op, facts_wait_ends(queue->facts, op), NEVER};
    if (queue->all[queue->all_count - 1].ends == NEVER) {
        queue->lost_count++;
        numbers_put(&queue->lost, op->owner, numbers_get(&queue->lost, op->owner) + 1);
    } else {
        queue->open = judge_grow(queue->open, queue->open_count, &queue->open_room, sizeof *queue->open);
        queue->open[queue->open_count++] = queue->all_count - 1;
    }
}

/* Those that had completed before any later read was asked for. Reads come in the order of their invocation. */
static void leave(struct queue *queue, int64_t asked)
{
    size_t kept = 0;
    for (size_t i = 0; i < queue->open_count; i++) {
        if (queue->all[queue->open[i]].ends >= asked) {
            queue->open[kept++] = queue->open[i];
        }
    }
    queue->open_count = kept;
}

static bool can_wait(const struct waiting *waiting, const struct op *read)
{
    return waiting->op->invoke <= read->done && waiting->ends >= read->invoke;
}

static void known_from(struct waiting *waiting, int64_t done)
{
    waiting->known = done < waiting->known ? done : waiting->known;
}

/* Q1; NULL if the session's acquire is not certain. Acquires are in the order of invocation, and those that come between this read's
 * invocation and its completion are among them: see check_key(). */
static struct waiting *named(struct queue *queue, uint64_t id, const struct op *read)
{
    const struct session *session = facts_session(queue->facts, id);
    struct waiting *found = NULL;
    if (session == NULL || session->owner == 0 || numbers_get(&queue->lost, session->owner) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < queue->open_count; i++) {
        struct waiting *waiting = &queue->all[queue->open[i]];
        if (waiting->op->owner == session->owner && can_wait(waiting, read)) {
            if (found != NULL) {
                return NULL;
            }
            found = waiting;
        }
    }
    bool in_session = found != NULL &&
                      (found->op->outcome == OUTCOME_OK ? found->op->session == id
                                                        : queue->facts->owners[session->owner].sessions == 1);
    return in_session ? found : NULL;
}

/* Q1, Q5 */
static void read_names(struct queue *queue, const struct op *read, const struct seen *seen)
{
    const struct waiting *greatest = NULL;
    for (uint32_t i = 0; i < seen->queue; i++) {
        struct waiting *waiting = named(queue, queue->facts->history->list[seen->queue_first + i], read);
        if (waiting == NULL) {
            continue;
        }
        known_from(waiting, read->done);
        if (waiting->op->outcome != OUTCOME_OK) {
            continue;
        }
        queue->report->judged[RULE_FIFO]++;
        if (greatest != NULL && greatest->op->token > waiting->op->token) {
            report_add(queue->report, RULE_FIFO, waiting->op->done,
                       REPORT_OPS(read, greatest->op, waiting->op),
                       "the queue showed session %" PRIu64 " before %" PRIu64 ", which was granted first",
                       greatest->op->session, waiting->op->session);
        }
        if (greatest == NULL || waiting->op->token > greatest->op->token) {
            greatest = waiting;
        }
    }
}

/* Q2, Q6 */
static void read_number(struct queue *queue, const struct op *read, const struct seen *seen)
{
    uint64_t possible = queue->lost_count;
    for (size_t i = 0; i < queue->open_count; i++) {
        possible += can_wait(&queue->all[queue->open[i]], read);
    }
    queue->report->judged[RULE_GHOST]++;
    if (seen->waiters > possible) {
        report_add(queue->report, RULE_GHOST, read->done, REPORT_OPS(read),
                   "a read shows %" PRIu64 " waiters, but only %" PRIu64 " requests can be waiting",
                   seen->waiters, possible);
    } else if (seen->waiters == possible) {
        for (size_t i = 0; i < queue->open_count; i++) {
            struct waiting *waiting = &queue->all[queue->open[i]];
            if (can_wait(waiting, read)) {
                known_from(waiting, read->done);
            }
        }
    }
}

/* ---- Q3, Q4 ---- */

static int by_known(const void *left, const void *right)
{
    const struct waiting *a = left;
    const struct waiting *b = right;
    return a->known < b->known ? -1 : a->known > b->known;
}

static int64_t waits_until(const struct queue *queue, const struct op *op)
{
    bool timed_out =
        op->outcome == OUTCOME_FAIL && facts_word_is(queue->facts, op->error, "TIMED_OUT") && op->wait_ms > 0;
    int64_t wait = op->wait_ms * NS_PER_MS;
    return timed_out ? op->invoke + wait - wait / RATE_PART - queue->facts->options->slack_ns : LONG_AGO;
}

static void judge_order(struct queue *queue, const uint32_t *ops, size_t count)
{
    const struct op *token = NULL; /* of those known so far the one granted last, */
    const struct op *wait = NULL;  /* and the one that timed out last */
    size_t next = 0;
    if (queue->all_count > 0) {
        qsort(queue->all, queue->all_count, sizeof *queue->all, by_known);
    }
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &queue->facts->history->ops[ops[i]];
        if (op->f != OP_ACQUIRE || op->outcome != OUTCOME_OK) {
            continue;
        }
        for (; next < queue->all_count && queue->all[next].known < op->invoke; next++) {
            const struct op *known = queue->all[next].op;
            if (known->outcome == OUTCOME_OK && (token == NULL || known->token > token->token)) {
                token = known;
            }
            if (wait == NULL || waits_until(queue, known) > waits_until(queue, wait)) {
                wait = known;
            }
        }
        queue->report->judged[RULE_FIFO] += token != NULL;
        if (token != NULL && token->token > op->token) {
            report_add(queue->report, RULE_FIFO, op->done, REPORT_OPS(token, op),
                       "token %" PRIu64 " was granted before token %" PRIu64
                       ", which was seen waiting before the former was asked for",
                       op->token, token->token);
        } else if (wait != NULL && op->done < waits_until(queue, wait)) {
            report_add(queue->report, RULE_FIFO, op->done, REPORT_OPS(wait, op),
                       "token %" PRIu64
                       " was granted past a request that was seen waiting before and waited on",
                       op->token);
        }
    }
}

/* Q7 */
static void judge_time(const struct queue *queue, const uint32_t *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &queue->facts->history->ops[ops[i]];
        int64_t until = op->f == OP_ACQUIRE ? waits_until(queue, op) : LONG_AGO;
        queue->report->judged[RULE_FIFO] += until != LONG_AGO;
        if (op->done < until) {
            report_add(queue->report, RULE_FIFO, op->done, REPORT_OPS(op),
                       "a wait for %" PRId64 " ms ended as TIMED_OUT after %.3f ms", op->wait_ms,
                       (double)(op->done - op->invoke) / 1e6);
        }
    }
}

/* Acquires enter in the order of invocation, and a read looks when all that were invoked before its completion have entered: so
 * reads are kept until then, in the order of their completion. */
struct kept_read {
    const struct op *op;
};

static int by_done(const void *left, const void *right)
{
    const struct op *a = ((const struct kept_read *)left)->op;
    const struct op *b = ((const struct kept_read *)right)->op;
    return a->done < b->done ? -1 : a->done > b->done;
}

static size_t reads_of(const struct facts *facts, const uint32_t *ops, size_t count, struct kept_read *reads)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &facts->history->ops[ops[i]];
        bool read = (op->f == OP_STATUS && op->outcome == OUTCOME_OK) || op->f == OP_FINAL;
        if (read && op->has_waiters) {
            reads[found++] = (struct kept_read){op};
        }
    }
    if (found > 0) {
        qsort(reads, found, sizeof *reads, by_done);
    }
    return found;
}

static void check_key(struct queue *queue, const uint32_t *ops, size_t count, struct kept_read *reads)
{
    const struct history *history = queue->facts->history;
    size_t reads_count = reads_of(queue->facts, ops, count, reads);
    size_t next = 0;
    int64_t *asked = judge_allocate(reads_count, sizeof *asked);
    for (size_t i = reads_count; i-- > 0;) { /* the earliest invocation among this read and those behind it */
        asked[i] = reads[i].op->invoke;
        if (i + 1 < reads_count && asked[i + 1] < asked[i]) {
            asked[i] = asked[i + 1];
        }
    }
    queue->all_count = queue->open_count = 0;
    queue->lost_count = 0;
    for (size_t i = 0; i < reads_count; i++) {
        const struct op *read = reads[i].op;
        for (; next < count && history->ops[ops[next]].invoke <= read->done; next++) {
            if (history->ops[ops[next]].f == OP_ACQUIRE) {
                enter(queue, &history->ops[ops[next]]);
            }
        }
        leave(queue, asked[i]);
        const struct seen *seen = &history->seen[read->seen - 1];
        read_names(queue, read, seen);
        read_number(queue, read, seen);
    }
    judge_order(queue, ops, count);
    judge_time(queue, ops, count);
    free(asked);
}

void check_queue(const struct facts *facts, struct report *report)
{
    struct queue queue = {.facts = facts, .report = report};
    struct kept_read *reads = judge_allocate(facts->history->ops_count, sizeof *reads);
    for (uint32_t key = 1; key < facts->keys; key++) {
        size_t begin = facts->key_begin[key];
        numbers_init(&queue.lost);
        check_key(&queue, facts->by_key + begin, facts->key_begin[key + 1] - begin, reads);
        numbers_done(&queue.lost);
    }
    free(reads);
    free(queue.all);
    free(queue.open);
}
