/* Owns the findings and how they are told; see report.h. */
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>

enum { LINE_SHOWN_BYTES = 420 };

static const char *const names[RULES] = {
#define X(rule, name, demand) [RULE_##rule] = name,
    JUDGE_RULES(X)
#undef X
};

static const char *const demands[RULES] = {
#define X(rule, name, demand) [RULE_##rule] = demand,
    JUDGE_RULES(X)
#undef X
};

const char *report_rule_name(enum judge_rule rule)
{
    return names[rule];
}

const char *report_rule_demand(enum judge_rule rule)
{
    return demands[rule];
}

uint64_t report_total(const struct report *report)
{
    uint64_t total = 0;
    for (unsigned rule = 0; rule < RULES; rule++) {
        total += report->counts[rule];
    }
    return total;
}

struct finding *report_add(struct report *report, enum judge_rule rule, int64_t time,
                           const struct op *const *ops, const char *format, ...)
{
    report->counts[rule]++;
    if (report->counts[rule] > FINDINGS_PER_RULE_MAX) {
        return NULL;
    }
    struct finding *finding = &report->findings[report->findings_count++];
    *finding = (struct finding){.rule = rule, .time = time, .until = time};
    for (; ops[finding->ops_count] != NULL && finding->ops_count < FINDING_OPS_MAX; finding->ops_count++) {
        finding->ops[finding->ops_count] = *ops[finding->ops_count];
        if (finding->key == 0) {
            finding->key = ops[finding->ops_count]->key;
        }
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(finding->text, sizeof finding->text, format, arguments);
    va_end(arguments);
    return finding;
}

void report_lasts(struct finding *finding, int64_t until)
{
    if (finding != NULL) {
        finding->until = until;
    }
}

static void print_line(const struct history *history, struct place place, FILE *out)
{
    if (place.line == 0) {
        return;
    }
    char text[LINE_SHOWN_BYTES];
    history_line(history, place, text, sizeof text);
    (void)fprintf(out, "    %s:%" PRIu32 ": %s\n", history_path(history, place), place.line, text);
}

void report_print(const struct report *report, const struct facts *facts, FILE *out)
{
    const struct history *history = facts->history;
    for (unsigned i = 0; i < report->findings_count; i++) {
        const struct finding *finding = &report->findings[i];
        (void)fprintf(out, "\n%u. %s: %s\n", i + 1, names[finding->rule], demands[finding->rule]);
        (void)fprintf(out, "   %s%s%s%s at %.6f s\n", finding->text, finding->key == 0 ? "" : " (key ",
                      finding->key == 0 ? "" : facts_key(facts, finding->key), finding->key == 0 ? "," : "),",
                      (double)(finding->time - history->first) / 1e9);
        for (unsigned j = 0; j < finding->ops_count; j++) {
            print_line(history, finding->ops[j].invoked_at, out);
            print_line(history, finding->ops[j].done_at, out);
        }
    }
    for (unsigned rule = 0; rule < RULES; rule++) {
        if (report->counts[rule] > FINDINGS_PER_RULE_MAX) {
            (void)fprintf(out, "\n   and %" PRIu64 " more of %s\n",
                          report->counts[rule] - FINDINGS_PER_RULE_MAX, names[rule]);
        }
    }
}
