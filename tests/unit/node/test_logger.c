/* The log's lines: escaped, bounded, one per event, and never in the way of the loop. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/logger.h"
#include "random.h"

/* 2025-03-01T12:00:00.007Z */
#define WALL_MS 1740830400007ULL

static char line[LOGGER_LINE_BYTES_MAX + 1];
static uint64_t seed;

static const char *format(enum logger_format form, const struct logger_field *fields, size_t count)
{
    size_t size = logger_format(form, WALL_MS, LOGGER_INFO, "something", fields, count, line);
    assert_true(size <= LOGGER_LINE_BYTES_MAX);
    line[size] = '\0';
    return line;
}

static const char *format_one(enum logger_format form, const char *value)
{
    const struct logger_field field = LOGGER_TEXT("k", value);
    return format(form, &field, 1);
}

static void a_line_has_time_level_event_and_fields(void **state)
{
    const struct logger_field fields[] = {LOGGER_NUMBER("node", UINT64_MAX),
                                          LOGGER_TEXT("listen", "127.0.0.1:7400")};
    (void)state;
    assert_string_equal(format(LOGGER_LOGFMT, fields, 2),
                        "ts=2025-03-01T12:00:00.007Z level=info event=something node=18446744073709551615 "
                        "listen=127.0.0.1:7400\n");
    assert_string_equal(format(LOGGER_JSON, fields, 2),
                        "{\"ts\":\"2025-03-01T12:00:00.007Z\",\"level\":\"info\",\"event\":\"something\","
                        "\"node\":18446744073709551615,\"listen\":\"127.0.0.1:7400\"}\n");
}

static void a_flag_is_no_string_in_json(void **state)
{
    const struct logger_field fields[] = {LOGGER_FLAG("serving", true), LOGGER_FLAG("late", false)};
    (void)state;
    assert_non_null(strstr(format(LOGGER_LOGFMT, fields, 2), " serving=true late=false\n"));
    assert_non_null(strstr(format(LOGGER_JSON, fields, 2), ",\"serving\":true,\"late\":false}\n"));
}

static void a_value_can_begin_neither_a_line_nor_a_field(void **state)
{
    static const struct {
        const char *value;
        const char *logfmt;
    } cases[] = {
        {"plain", "plain"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"one\nlevel=error", "\"one\\nlevel=error\""},
        {"cr\rtab\t", "\"cr\\rtab\\t\""},
        {"\x1b[31mred", "\"\\u001b[31mred\""},
        {"\x7f", "\"\\u007f\""},
        {"\xc2\x9b"
         "31m",
         "\"\\u009b31m\""},
        {"\xc3\xa9t\xc3\xa9", "\"\xc3\xa9t\xc3\xa9\""},
        {"\xf0\x9f\x94\x92", "\"\xf0\x9f\x94\x92\""},
        {"\xff\xfe", "\"\\ufffd\\ufffd\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"cut \xe2\x82", "\"cut \\ufffd\\ufffd\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[256];
        (void)snprintf(expected, sizeof(expected),
                       "ts=2025-03-01T12:00:00.007Z level=info event=something k=%s\n", cases[i].logfmt);
        assert_string_equal(format_one(LOGGER_LOGFMT, cases[i].value), expected);
    }
}

/* Whatever bytes a value has, a JSON parser reads the line, and reads back what was valid. */
static void a_json_line_is_json_whatever_the_value(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        char value[40];
        size_t size = (size_t)random_next(&seed) % (sizeof(value) - 1);
        for (size_t i = 0; i < size; i++) {
            value[i] = (char)(1 + random_next(&seed) % 255);
        }
        value[size] = '\0';
        json_error_t error;
        json_t *json = json_loads(format_one(LOGGER_JSON, value), JSON_REJECT_DUPLICATES, &error);
        if (json == NULL) {
            fail_msg("%s: %s", error.text, line);
        }
        assert_non_null(json_string_value(json_object_get(json, "k")));
        json_decref(json);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    json_t *json = json_loads(format_one(LOGGER_JSON, "q\" b\\ n\n e\xc3\xa9"), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "k")), "q\" b\\ n\n e\xc3\xa9");
    json_decref(json);
}

static void a_long_value_is_cut(void **state)
{
    char *value = calloc(1, 100001);
    (void)state;
    assert_non_null(value);
    memset(value, 'x', 100000);
    (void)format_one(LOGGER_LOGFMT, value);
    assert_true(strlen(line) < LOGGER_VALUE_BYTES_MAX + 100);
    assert_non_null(strstr(line, "xxx...\"\n"));
    memset(value, '\x01', 100000);
    (void)format_one(LOGGER_JSON, value);
    assert_true(strlen(line) < LOGGER_VALUE_BYTES_MAX + 120);
    free(value);
}

static void a_long_line_loses_whole_fields_and_says_so(void **state)
{
    char value[1001];
    struct logger_field fields[LOGGER_FIELDS_MAX];
    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (unsigned i = 0; i < LOGGER_FIELDS_MAX; i++) {
        fields[i] = LOGGER_TEXT("key", value);
    }
    fields[LOGGER_FIELDS_MAX - 1] = LOGGER_NUMBER("last", 7);
    (void)format(LOGGER_LOGFMT, fields, LOGGER_FIELDS_MAX);
    assert_non_null(strstr(line, " last=7 truncated=true\n"));
    json_t *json = json_loads(format(LOGGER_JSON, fields, LOGGER_FIELDS_MAX), 0, NULL);
    assert_non_null(json);
    assert_true(json_is_true(json_object_get(json, "truncated")));
    json_decref(json);
}

/* A logger that writes into a pipe; what it wrote is read back without waiting. */
struct pipe_logger {
    int fds[2];
    struct logger logger;
};

static void pipe_open(struct pipe_logger *pipe_logger, enum logger_format form)
{
    assert_int_equal(pipe2(pipe_logger->fds, O_NONBLOCK | O_CLOEXEC), 0);
    pipe_logger->logger = (struct logger){.fd = pipe_logger->fds[1], .level = LOGGER_INFO, .format = form};
}

static const char *pipe_read(struct pipe_logger *pipe_logger)
{
    ssize_t size = read(pipe_logger->fds[0], line, LOGGER_LINE_BYTES_MAX);
    line[size > 0 ? size : 0] = '\0';
    return line;
}

static void pipe_close(struct pipe_logger *pipe_logger)
{
    (void)close(pipe_logger->fds[0]);
    (void)close(pipe_logger->fds[1]);
}

static void what_is_less_important_than_the_level_is_not_written(void **state)
{
    struct pipe_logger p;
    (void)state;
    pipe_open(&p, LOGGER_LOGFMT);
    LOGGER_EVENT(&p.logger, LOGGER_DEBUG, "small", LOGGER_NUMBER("n", 1));
    assert_string_equal(pipe_read(&p), "");
    logger_pairs(&p.logger, LOGGER_DEBUG, "small", "n=1");
    assert_string_equal(pipe_read(&p), "");
    LOGGER_EVENT(&p.logger, LOGGER_INFO, "large", LOGGER_NUMBER("n", 1));
    assert_non_null(strstr(pipe_read(&p), " level=info event=large n=1\n"));
    pipe_close(&p);
}

static void pairs_become_fields_in_either_format(void **state)
{
    static const struct {
        const char *pairs;
        const char *logfmt;
        const char *json;
    } cases[] = {
        {"", "event=e\n", "\"event\":\"e\"}\n"},
        {"a=1 b=two", "event=e a=1 b=two\n", "\"event\":\"e\",\"a\":1,\"b\":\"two\"}\n"},
        {"a=\"x y\"  b=\"q\\\"r\\\\\"", "event=e a=\"x y\" b=\"q\\\"r\\\\\"\n",
         "\"a\":\"x y\",\"b\":\"q\\\"r\\\\\"}\n"},
        {"a=", "event=e a=\"\"\n", "\"a\":\"\"}\n"},
        {"a=\"7\"", "event=e a=7\n", "\"a\":\"7\"}\n"},
        {"a=007", "event=e a=007\n", "\"a\":\"007\"}\n"},
        {"a=1 no pair here", "event=e a=1 msg=\"no pair here\"\n", "\"a\":1,\"msg\":\"no pair here\"}\n"},
        {"a=\"open", "event=e a=open\n", "\"a\":\"open\"}\n"},
        {"a=x\ny", "event=e a=\"x\\ny\"\n", "\"a\":\"x\\ny\"}\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pipe_logger p;
        pipe_open(&p, LOGGER_LOGFMT);
        logger_pairs(&p.logger, LOGGER_INFO, "e", cases[i].pairs);
        assert_string_equal(strstr(pipe_read(&p), "event="), cases[i].logfmt);
        p.logger.format = LOGGER_JSON;
        logger_pairs(&p.logger, LOGGER_INFO, "e", cases[i].pairs);
        const char *tail = pipe_read(&p) + strlen(line) - strlen(cases[i].json);
        assert_string_equal(tail, cases[i].json);
        pipe_close(&p);
    }
}

static void any_number_of_pairs_of_any_length_is_bounded(void **state)
{
    struct pipe_logger p;
    char *pairs = calloc(1, 70001);
    (void)state;
    assert_non_null(pairs);
    for (size_t i = 0; i < 10000; i++) {
        memcpy(pairs + i * 4, "a=1 ", 4);
    }
    pipe_open(&p, LOGGER_LOGFMT);
    logger_pairs(&p.logger, LOGGER_INFO, "many", pairs);
    assert_true(strlen(pipe_read(&p)) > 0);
    pairs[3999] = '\0'; /* short enough to be taken apart, too many to be fields */
    logger_pairs(&p.logger, LOGGER_INFO, "many", pairs);
    assert_non_null(strstr(pipe_read(&p), " a=1 msg=\"a=1 a=1"));
    memset(pairs, 'a', 70000);
    logger_pairs(&p.logger, LOGGER_INFO, "long", pairs);
    assert_non_null(strstr(pipe_read(&p), "event=long msg=\"aaa"));
    pipe_close(&p);
    free(pairs);
}

/* A reader that has stalled costs lines, not the loop's time; the loss is told. */
static void a_stalled_reader_loses_lines_and_is_told_how_many(void **state)
{
    struct pipe_logger p;
    unsigned written = 0;
    (void)state;
    pipe_open(&p, LOGGER_LOGFMT);
    while (p.logger.dropped < 3) {
        LOGGER_EVENT(&p.logger, LOGGER_INFO, "flood", LOGGER_NUMBER("n", written++));
        assert_true(written < 1000000);
    }
    while (pipe_read(&p)[0] != '\0') {
    }
    LOGGER_EVENT(&p.logger, LOGGER_INFO, "after", LOGGER_NUMBER("n", 1));
    assert_non_null(strstr(pipe_read(&p), "event=after n=1 lines_dropped=3\n"));
    LOGGER_EVENT(&p.logger, LOGGER_INFO, "later", LOGGER_NUMBER("n", 2));
    assert_non_null(strstr(pipe_read(&p), "event=later n=2\n"));
    pipe_close(&p);
}

static void a_repeated_event_is_limited_and_counted(void **state)
{
    struct logger_limit limit = {.window_ms = 1000, .burst = 2};
    uint64_t suppressed = 99;
    (void)state;
    assert_true(logger_limit_pass(&limit, 5000, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_true(logger_limit_pass(&limit, 5001, &suppressed));
    assert_false(logger_limit_pass(&limit, 5002, &suppressed));
    assert_false(logger_limit_pass(&limit, 5999, &suppressed));
    assert_true(logger_limit_pass(&limit, 6000, &suppressed));
    assert_int_equal(suppressed, 2);
}

int main(int argc, char **argv)
{
    seed = random_begin(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_event_and_fields),
        cmocka_unit_test(a_flag_is_no_string_in_json),
        cmocka_unit_test(a_value_can_begin_neither_a_line_nor_a_field),
        cmocka_unit_test(a_json_line_is_json_whatever_the_value),
        cmocka_unit_test(a_long_value_is_cut),
        cmocka_unit_test(a_long_line_loses_whole_fields_and_says_so),
        cmocka_unit_test(what_is_less_important_than_the_level_is_not_written),
        cmocka_unit_test(pairs_become_fields_in_either_format),
        cmocka_unit_test(any_number_of_pairs_of_any_length_is_bounded),
        cmocka_unit_test(a_stalled_reader_loses_lines_and_is_told_how_many),
        cmocka_unit_test(a_repeated_event_is_limited_and_counted),
    };
    return cmocka_run_group_tests_name("logger", tests, NULL, NULL);
}
