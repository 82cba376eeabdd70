/* Owns the command line: torture_judge reads histories (../history.md), judges them as one, and ends with 0 if no rule was broken,
 * 1 if one was, 2 if it could not judge (arguments, files, lines). */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report.h"
#include "summary.h"
#include "svg.h"

enum { EXIT_ACCEPTED = 0, EXIT_REJECTED = 1, EXIT_NOT_JUDGED = 2 };

static const char usage[] =
    "usage: torture_judge [OPTION]... HISTORY...\n"
    "  --svg DIR         write a timeline for each of the first findings\n"
    "  --summary FILE    write what is printed to a file, too\n"
    "  --calm-seconds N  within which every operation must complete after :heal (default 60)\n"
    "  --margin-ms N     so long after the end of every lease, from :heal on, a dead holder must be gone (default 10000)\n"
    "  --drift-ppm N     by how much the cluster's clocks may be faster than the history's (default 1000, at most 200000)\n"
    "  --slack-ms N      rounding of a lease (default 5)\n";

struct arguments {
    struct judge_options options;
    const char *svg, *summary;
};

static bool number(const char *text, int64_t max, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 0 || value > max) {
        (void)fprintf(stderr, "torture_judge: \"%s\" is not a whole number from 0 to %" PRId64 "\n", text,
                      max);
        return false;
    }
    *ret = value;
    return true;
}

static bool take_option(struct arguments *arguments, int option, const char *text)
{
    enum { SECONDS_MAX = 86400, MS_MAX = 86400000, PPM_MAX = 200000 };
    struct judge_options *options = &arguments->options;
    int64_t value = 0;
    bool valid = true;
    switch (option) {
    case 'v':
        arguments->svg = text;
        break;
    case 's':
        arguments->summary = text;
        break;
    case 'c':
        valid = number(text, SECONDS_MAX, &value);
        options->calm_ns = value * NS_PER_S;
        break;
    case 'm':
        valid = number(text, MS_MAX, &value);
        options->margin_ns = value * NS_PER_MS;
        break;
    case 'd':
        valid = number(text, PPM_MAX, &value);
        options->drift_ppm = (uint32_t)value;
        break;
    case 'l':
        valid = number(text, MS_MAX, &value);
        options->slack_ns = value * NS_PER_MS;
        break;
    default:
        valid = false;
        (void)fputs(usage, stderr);
    }
    return valid;
}

static bool read_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"svg", required_argument, NULL, 'v'},
                                            {"summary", required_argument, NULL, 's'},
                                            {"calm-seconds", required_argument, NULL, 'c'},
                                            {"margin-ms", required_argument, NULL, 'm'},
                                            {"drift-ppm", required_argument, NULL, 'd'},
                                            {"slack-ms", required_argument, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    enum { CALM_S = 60, MARGIN_S = 10, SLACK_MS = 5, DRIFT_PPM = 1000 };
    *arguments = (struct arguments){.options = {.calm_ns = CALM_S * NS_PER_S,
                                                .margin_ns = MARGIN_S * NS_PER_S,
                                                .slack_ns = SLACK_MS * NS_PER_MS,
                                                .drift_ppm = DRIFT_PPM}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (!take_option(arguments, option, optarg)) {
            return false;
        }
    }
    if (optind == argc) {
        (void)fputs("torture_judge: which history?\n", stderr);
        (void)fputs(usage, stderr);
        return false;
    }
    return true;
}

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void judge(const struct facts *facts, struct report *report)
{
    check_exclusion(facts, report);
    check_order(facts, report);
    check_lease(facts, report);
    check_queue(facts, report);
    check_once(facts, report);
    check_residue(facts, report);
    check_progress(facts, report);
    check_reads(facts, report);
}

static void tell(const struct facts *facts, const struct report *report, double seconds, FILE *out)
{
    report_print(report, facts, out);
    if (report->findings_count > 0) {
        (void)fprintf(out, "\n");
    }
    summary_print(facts, report, seconds, out);
}

static bool tell_all(const struct arguments *arguments, const struct facts *facts,
                     const struct report *report, double seconds)
{
    tell(facts, report, seconds, stdout);
    bool good = fflush(stdout) == 0;
    if (arguments->summary != NULL) {
        FILE *file = fopen(arguments->summary, "w");
        if (file == NULL) {
            (void)fprintf(stderr, "torture_judge: %s: %s\n", arguments->summary, strerror(errno));
            return false;
        }
        tell(facts, report, seconds, file);
        good = fclose(file) == 0 && good;
    }
    return (arguments->svg == NULL || svg_write_all(arguments->svg, facts, report)) && good;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (!read_arguments(argc, argv, &arguments)) {
        return EXIT_NOT_JUDGED;
    }
    double begun = now();
    struct history history;
    history_init(&history);
    int code = EXIT_NOT_JUDGED;
    if (history_read(&history, argv + optind, (size_t)(argc - optind))) {
        struct facts facts;
        struct report report = {.findings_count = 0};
        facts_init(&facts, &history, &arguments.options);
        judge(&facts, &report);
        if (tell_all(&arguments, &facts, &report, now() - begun)) {
            code = report_total(&report) == 0 ? EXIT_ACCEPTED : EXIT_REJECTED;
        }
        facts_done(&facts);
    } else {
        (void)fprintf(stderr, "torture_judge: %s\n", history.error);
    }
    history_done(&history);
    return code;
}
