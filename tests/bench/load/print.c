/* The results as one JSON object, with the names that the benchmark of other lock services uses for the same things. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/bench/load/load.h"

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static void print_latency(const char *name, const struct histogram *h, bool buckets)
{
    double mean = h->count == 0 ? 0 : us(h->sum) / (double)h->count;
    (void)printf(
        ", \"%s_us\": {\"n\": %" PRIu64
        ", \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"p9999\": %.1f, "
        "\"max\": %.1f}",
        name, h->count, mean, us(histogram_at(h, 0.5)), us(histogram_at(h, 0.9)), us(histogram_at(h, 0.99)),
        us(histogram_at(h, 0.999)), us(histogram_at(h, 0.9999)), us(h->max));
    if (!buckets || h->count == 0) {
        return;
    }
    /* Only what is not empty: the lower edge of a bucket, and how many values it has. */
    (void)printf(", \"%s_histogram\": [", name);
    const char *separator = "";
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (h->buckets[i] > 0) {
            (void)printf("%s[%.3f, %" PRIu64 "]", separator, us(histogram_low(i)), h->buckets[i]);
            separator = ", ";
        }
    }
    (void)printf("]");
}

void load_print(const struct load_options *options, const struct load_result *total, double elapsed_s)
{
    (void)printf("{\"elapsed_s\": %.3f, \"cycles\": %" PRIu64 ", \"handoffs\": %" PRIu64
                 ", \"reacquires\": %" PRIu64 ", \"reads\": %" PRIu64 ", \"errors\": %" PRIu64
                 ", \"held\": %" PRIu64 ", \"sessions_lost\": %" PRIu64 ", \"seed\": %" PRIu64,
                 elapsed_s, total->cycles, total->handoffs, total->reacquires, total->reads, total->errors,
                 total->held, total->sessions_lost, options->seed);
    print_latency("acquire", &total->acquire, options->histogram);
    print_latency("handoff", &total->handoff, options->histogram);
    print_latency("read", &total->read, options->histogram);
    (void)printf(", \"gap_ms\": %.1f, \"gap_at_ns\": %" PRId64
                 ", \"client_gap_p50_ms\": %.1f, \"client_gap_max_ms\": %.1f",
                 (double)total->gap_ns / 1e6, total->gap_at_ns, (double)total->client_gap_median_ns / 1e6,
                 (double)total->client_gap_max_ns / 1e6);
    (void)printf("}\n");
    (void)fflush(stdout);
}
