/* Owns the layout of the table; see summary.h. Its lines are "what  numbers", so that a script can pick one by its first word. */
#include "summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void print_operations(const struct history *history, FILE *out)
{
    uint64_t counts[OP_KINDS][OUTCOMES] = {{0}};
    uint64_t all[OUTCOMES] = {0};
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        counts[op->f][op->outcome]++;
        all[op->outcome] += op->f < OP_FINAL && op->f != OP_LOST;
    }
    (void)fprintf(out, "\noperation        ok      fail      info      open\n");
    for (unsigned f = 0; f <= OP_FINAL; f++) {
        const uint64_t *row = counts[f];
        if (row[0] + row[1] + row[2] + row[3] > 0) {
            (void)fprintf(out, "%-9s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n",
                          op_f_name((enum op_f)f), row[OUTCOME_OK], row[OUTCOME_FAIL], row[OUTCOME_INFO],
                          row[OUTCOME_OPEN]);
        }
    }
    (void)fprintf(out, "invoked   %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "   in all %" PRIu64 "\n",
                  all[OUTCOME_OK], all[OUTCOME_FAIL], all[OUTCOME_INFO], all[OUTCOME_OPEN],
                  all[OUTCOME_OK] + all[OUTCOME_FAIL] + all[OUTCOME_INFO] + all[OUTCOME_OPEN]);
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static void print_latency(const struct facts *facts, FILE *out)
{
    static const double parts[] = {0.5, 0.9, 0.99, 0.999, 1};
    static const char *const names[] = {"half", "90%", "99%", "99.9%", "all"};
    int64_t *all = judge_allocate(facts->grants_count, sizeof *all);
    for (uint32_t i = 0; i < facts->grants_count; i++) {
        all[i] = facts->grants[i].op->done - facts->grants[i].op->invoke;
    }
    if (facts->grants_count > 0) {
        qsort(all, facts->grants_count, sizeof *all, by_value);
        (void)fprintf(out, "\ngranted within (ms, waits included) ");
        for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            size_t index = (size_t)((double)(facts->grants_count - 1) * parts[i] + 0.5);
            (void)fprintf(out, "  %s %.3f", names[i], (double)all[index] / 1e6);
        }
        (void)fprintf(out, "\n");
    }
    free(all);
}

/* Errors of operations that did not succeed, and names of faults. */
static void print_words(const struct facts *facts, bool faults, FILE *out)
{
    const struct history *history = facts->history;
    uint64_t *counts = judge_allocate(history->words.count, sizeof *counts);
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        bool counted = faults ? op->f == OP_FAULT : op->f < OP_FINAL;
        if (counted && op->error != 0) {
            counts[op->error]++;
        }
    }
    (void)fprintf(out, faults ? "\nfault\n" : "\nanswer or reason\n");
    for (uint32_t i = 1; i < history->words.count; i++) {
        if (counts[i] > 0) {
            (void)fprintf(out, "  %-36s %9" PRIu64 "\n", history->words.texts[i], counts[i]);
        }
    }
    for (unsigned f = OP_CRASH; faults && f < OP_FAULT; f++) {
        uint64_t count = 0;
        for (size_t i = 0; i < history->ops_count; i++) {
            count += history->ops[i].f == f;
        }
        if (count > 0) {
            (void)fprintf(out, "  %-36s %9" PRIu64 "\n", op_f_name((enum op_f)f), count);
        }
    }
    free(counts);
}

static void print_rules(const struct report *report, FILE *out)
{
    (void)fprintf(out, "\nrule           judged  rejected\n");
    for (unsigned rule = 0; rule < RULES; rule++) {
        (void)fprintf(out, "%-10s %10" PRIu64 " %9" PRIu64 "   %s\n", report_rule_name((enum judge_rule)rule),
                      report->judged[rule], report->counts[rule], report_rule_demand((enum judge_rule)rule));
    }
}

void summary_print(const struct facts *facts, const struct report *report, double seconds, FILE *out)
{
    const struct history *history = facts->history;
    double span = history->lines == 0 ? 0.0 : (double)(history->last - history->first) / 1e9;
    (void)fprintf(out,
                  "history: %zu files, %" PRIu64
                  " lines, %.1f MB, %.1f s; %u keys, %u owners, %zu sessions, %u grants\n",
                  history->sources_count, history->lines, (double)history->bytes / 1e6, span,
                  history->keys.count - 1, history->owners.count - 1, facts->sessions_count,
                  facts->grants_count);
    (void)fprintf(out, "judged in %.2f s: %.0f lines/s\n", seconds,
                  seconds > 0 ? (double)history->lines / seconds : (double)history->lines);
    if (history->torn > 0) {
        (void)fprintf(out, "%" PRIu64 " files end with a torn line\n", history->torn);
    }
    if (history->disordered > 0) {
        (void)fprintf(out, "%" PRIu64 " lines are earlier than the one before them in their file\n",
                      history->disordered);
    }
    print_operations(history, out);
    print_latency(facts, out);
    print_words(facts, false, out);
    print_words(facts, true, out);
    print_rules(report, out);
    if (facts->heal == NEVER) {
        (void)fprintf(out, "there is no :heal, so that nothing can be said about progress\n");
    }
    uint64_t total = report_total(report);
    if (total == 0) {
        (void)fprintf(out, "\naccepted\n");
    } else {
        (void)fprintf(out, "\nREJECTED: %" PRIu64 " violations\n", total);
    }
}
