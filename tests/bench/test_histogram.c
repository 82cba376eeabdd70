/* The histogram's arithmetic, against the same values sorted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/bench/load/histogram.h"

enum { VALUES_MAX = 20000 };

static const double SHARES[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};

static struct histogram histogram, other;
static uint64_t values[VALUES_MAX];

static uint64_t draw(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *random >> 20;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static void clear(struct histogram *one)
{
    *one = (struct histogram){0};
}

/* Each percentile is that of the sorted values, to within the width of a bucket. */
static void expect_percentiles(size_t count)
{
    qsort(values, count, sizeof values[0], compare);
    for (size_t i = 0; i < sizeof SHARES / sizeof SHARES[0]; i++) {
        uint64_t exact = values[(size_t)(SHARES[i] * (double)(count - 1) + 0.5)];
        uint64_t found = histogram_at(&histogram, SHARES[i]);
        uint64_t error = found > exact ? found - exact : exact - found;
        assert_true(error <= exact / (HISTOGRAM_SUB / 2));
    }
    assert_int_equal(histogram_at(&histogram, 0), values[0]);
    assert_int_equal(histogram_at(&histogram, 1), values[count - 1]);
}

static void buckets_join_without_gap_or_overlap(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        uint64_t low = histogram_low(i);
        uint64_t next = histogram_low(i + 1);
        assert_true(low < next);
        assert_int_equal(histogram_index(low), i);
        assert_int_equal(histogram_index(next - 1), i);
        assert_true((next - low - 1) * (HISTOGRAM_SUB / 2) <= low);
    }
}

static void what_is_too_long_counts_as_the_longest(void **state)
{
    (void)state;
    assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_index((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1), HISTOGRAM_BUCKETS - 1);
}

static void percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    static const uint64_t BOUNDS[] = {2, 200, 300, 5000, 1000000, UINT64_C(1) << 39};
    static const size_t COUNTS[] = {1, 2, 3, 10, 1000, VALUES_MAX};
    uint64_t random = 1;
    for (size_t bound = 0; bound < sizeof BOUNDS / sizeof BOUNDS[0]; bound++) {
        for (size_t count = 0; count < sizeof COUNTS / sizeof COUNTS[0]; count++) {
            clear(&histogram);
            for (size_t i = 0; i < COUNTS[count]; i++) {
                /* Mostly short, some very long, as latencies are. */
                values[i] = draw(&random) % (1 + draw(&random) % BOUNDS[bound]);
                histogram_record(&histogram, values[i]);
            }
            assert_int_equal(histogram.count, COUNTS[count]);
            expect_percentiles(COUNTS[count]);
        }
    }
}

static void two_added_are_as_one(void **state)
{
    (void)state;
    uint64_t random = 7;
    clear(&histogram);
    clear(&other);
    for (size_t i = 0; i < VALUES_MAX; i++) {
        values[i] = 1000 + draw(&random) % 100000;
        histogram_record(i % 3 == 0 ? &histogram : &other, values[i]);
    }
    histogram_add(&histogram, &other);
    assert_int_equal(histogram.count, VALUES_MAX);
    expect_percentiles(VALUES_MAX);
}

static void an_empty_one_says_zero_and_adds_nothing(void **state)
{
    (void)state;
    clear(&histogram);
    clear(&other);
    assert_int_equal(histogram_at(&histogram, 0.5), 0);
    histogram_record(&histogram, 5);
    histogram_add(&histogram, &other);
    assert_int_equal(histogram.min, 5);
    assert_int_equal(histogram_at(&histogram, 0.5), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_join_without_gap_or_overlap),
        cmocka_unit_test(what_is_too_long_counts_as_the_longest),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(two_added_are_as_one),
        cmocka_unit_test(an_empty_one_says_zero_and_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
