/* A histogram of durations with a bounded relative error, of fixed size, so that recording allocates nothing and two of them
 * (from two processes) are added bucket by bucket.
 *
 * Log-linear, as HdrHistogram's: below HISTOGRAM_SUB values have a bucket each; above, every power of two is cut into
 * HISTOGRAM_SUB / 2 buckets of equal width, so a value is known to 1 / (HISTOGRAM_SUB / 2) of itself or better.
 *
 * Invariants:
 *  1. count is the sum of all buckets.
 *  2. histogram_low(histogram_index(v)) <= v, and v < histogram_low(histogram_index(v) + 1), for every v that is not clamped. */
#ifndef BENCH_LOAD_HISTOGRAM_H
#define BENCH_LOAD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 8, /* 128 buckets for each power of two: under one percent */
    HISTOGRAM_SUB = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_VALUE_BITS = 40, /* of nanoseconds: eighteen minutes; what is longer counts as that */
    HISTOGRAM_BUCKETS = HISTOGRAM_SUB + (HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS) * (HISTOGRAM_SUB / 2)
};

struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t min, max; /* exact; both 0 while count is 0 */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value, and the smallest value of a bucket. */
size_t histogram_index(uint64_t value);
uint64_t histogram_low(size_t index);

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_add(struct histogram *histogram, const struct histogram *other);

/* The value at the place round(share * (count - 1)) of all values in order: the middle of its bucket, but exact for the
 * smallest and the greatest. 0 if there are none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

#endif
