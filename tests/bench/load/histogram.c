/* See histogram.h. */
#include "tests/bench/load/histogram.h"

static const uint64_t VALUE_MAX = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;

size_t histogram_index(uint64_t value)
{
    if (value > VALUE_MAX) {
        value = VALUE_MAX;
    }
    if (value < HISTOGRAM_SUB) {
        return (size_t)value;
    }
    unsigned top = 63 - (unsigned)__builtin_clzll(value);
    unsigned shift = top - (HISTOGRAM_SUB_BITS - 1);
    /* The upper HISTOGRAM_SUB_BITS bits of the value; the first of them is always set. */
    size_t sub = (size_t)(value >> shift) - HISTOGRAM_SUB / 2;
    return HISTOGRAM_SUB + (size_t)(shift - 1) * (HISTOGRAM_SUB / 2) + sub;
}

uint64_t histogram_low(size_t index)
{
    if (index < HISTOGRAM_SUB) {
        return index;
    }
    size_t shift = (index - HISTOGRAM_SUB) / (HISTOGRAM_SUB / 2) + 1;
    size_t sub = (index - HISTOGRAM_SUB) % (HISTOGRAM_SUB / 2) + HISTOGRAM_SUB / 2;
    return (uint64_t)sub << shift;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->min = histogram->count == 0 || value < histogram->min ? value : histogram->min;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->sum += value;
    histogram->count++;
    histogram->buckets[histogram_index(value)]++;
}

void histogram_add(struct histogram *histogram, const struct histogram *other)
{
    if (other->count == 0) {
        return;
    }
    histogram->min = histogram->count == 0 || other->min < histogram->min ? other->min : histogram->min;
    histogram->max = other->max > histogram->max ? other->max : histogram->max;
    histogram->sum += other->sum;
    histogram->count += other->count;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram->buckets[i] += other->buckets[i];
    }
}

static uint64_t middle(const struct histogram *histogram, size_t index)
{
    uint64_t low = histogram_low(index);
    uint64_t value = low + (histogram_low(index + 1) - low - 1) / 2;
    value = value < histogram->min ? histogram->min : value;
    return value > histogram->max ? histogram->max : value;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    if (histogram->count == 0) {
        return 0;
    }
    uint64_t place = (uint64_t)(share * (double)(histogram->count - 1) + 0.5);
    if (place == 0) {
        return histogram->min;
    }
    if (place >= histogram->count - 1) {
        return histogram->max;
    }
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > place) {
            return middle(histogram, i);
        }
    }
    return histogram->max;
}
