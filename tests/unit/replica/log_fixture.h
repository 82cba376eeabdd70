/* A log on the fake disk, for the tests of the log. */
#ifndef LOCKSTEP_TESTS_LOG_FIXTURE_H
#define LOCKSTEP_TESTS_LOG_FIXTURE_H

#include "fake_disk.h"
#include "node/replica/log.h"

#define SEGMENT_1_NAME "log/00000000000000000001.seg"
#define SEGMENT_2_NAME "log/00000000000000000002.seg"
#define SEGMENT_3_NAME "log/00000000000000000003.seg"
#define WATERMARK_NAME "log/watermark"

struct fixture {
    struct fake_disk *fake;
    struct log *log;
    struct log_options options;
    uint64_t snapshot_index, first_if_empty;
    uint64_t durable, resets;
    unsigned failures;
    char failure[512];
    char message[512];
};

bool log_test_open(struct fixture *fixture);
/* A fresh disk, nothing opened yet. */
struct fixture log_test_make(void);
/* A fresh disk with an open log. */
void log_test_set_up(struct fixture *fixture);
void log_test_close(struct fixture *fixture);
void log_test_tear_down(struct fixture *fixture);
/* The process ends; then it starts again. */
bool log_test_restart(struct fixture *fixture, enum fake_end end);
void log_test_append(struct fixture *fixture, uint64_t index, uint64_t term, size_t size);
void log_test_append_durably(struct fixture *fixture, uint64_t index, uint64_t term, size_t size);
void log_test_check_entry(struct fixture *fixture, uint64_t index, uint64_t term, size_t size);
void log_test_assert_says(const char *message, const char *expected);
/* Open a copy of the disk, changed by the caller (and freed): the log must be refused, and say `expected`. */
void log_test_refused(struct fake_disk *copy, const struct fixture *like, const char *expected);

#endif
