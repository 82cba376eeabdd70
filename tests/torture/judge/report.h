/* Owns what the checkers found: the rules by name, how often each was broken, and the first findings in full. */
#ifndef LOCKSTEP_TORTURE_REPORT_H
#define LOCKSTEP_TORTURE_REPORT_H

#include <stdio.h>

#include "facts.h"

/* One row a rule: its name in planted files and summaries, and what it demands. */
#define JUDGE_RULES(X)                                                                             \
    X(EXCLUSION, "exclusion", "who certainly holds a key together may hold it together")           \
    X(PERMITS, "permits", "the permits that are held never exceed the limit, and all agree on it") \
    X(ORDER, "order", "tokens grow in the order of the grants; fences fit to them")                \
    X(LEASE, "lease", "a lease lasts its TTL from the last acknowledged renewal")                  \
    X(DEADLINE, "deadline", "nobody is granted what another's library still said to be certain")   \
    X(FIFO, "fifo", "who certainly waited before another asked is granted first; no wait ends early")                  \
    X(ONCE, "once", "each request takes effect once, and each grant ends once")                    \
    X(SESSION, "session", "nothing is left of a session that was closed")                          \
    X(PROGRESS, "progress", "after :heal nobody waits for ever, and every key is granted again")   \
    X(GHOST, "ghost", "nobody holds or waits whose end is known")                                  \
    X(READS, "reads", "a read reflects all that was acknowledged before it was asked")

enum judge_rule {
#define X(rule, name, demand) RULE_##rule,
    JUDGE_RULES(X)
#undef X
        RULES
};

enum { FINDING_OPS_MAX = 4, FINDING_TEXT_BYTES = 400, FINDINGS_PER_RULE_MAX = 5 };

struct finding {
    enum judge_rule rule;
    uint32_t key;  /* 0: none */
    int64_t time;  /* where in the timeline, */
    int64_t until; /* and how long it lasts, if it does */
    char text[FINDING_TEXT_BYTES];
    struct op ops[FINDING_OPS_MAX];
    unsigned ops_count;
};

struct report {
    uint64_t counts[RULES];
    uint64_t
        judged[RULES]; /* how many facts each rule looked at: a rule that looks at nothing proves nothing */
    struct finding findings[RULES * FINDINGS_PER_RULE_MAX];
    unsigned findings_count;
};

/* Add a finding about the operations in the list, which ends with NULL. @return it, or NULL if there are enough of its rule. */
__attribute__((format(printf, 5, 6))) struct finding *report_add(struct report *report, enum judge_rule rule,
                                                                 int64_t time, const struct op *const *ops,
                                                                 const char *format, ...);
#define REPORT_OPS(...) ((const struct op *const[]){__VA_ARGS__, NULL})

/* Say until when a finding lasts; NULL is fine. */
void report_lasts(struct finding *finding, int64_t until);

uint64_t report_total(const struct report *report);
const char *report_rule_name(enum judge_rule rule);
const char *report_rule_demand(enum judge_rule rule);

/* The findings for people, with the lines of the history. */
void report_print(const struct report *report, const struct facts *facts, FILE *out);

/* The checkers: each looks at the whole history. */
void check_exclusion(const struct facts *facts, struct report *report);
void check_order(const struct facts *facts, struct report *report);
void check_lease(const struct facts *facts, struct report *report);
void check_queue(const struct facts *facts, struct report *report);
void check_once(const struct facts *facts, struct report *report);
void check_residue(const struct facts *facts, struct report *report);
void check_progress(const struct facts *facts, struct report *report);
void check_reads(const struct facts *facts, struct report *report);

#endif
