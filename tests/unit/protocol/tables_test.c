/* The tables of operations and answers as data, and what encoding refuses to let out. */
#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void an_operation_is_found_by_its_kind(void **state)
{
    (void)state;
    const struct proto_operation *acquire = proto_operation_find(10);
    assert_non_null(acquire);
    assert_int_equal(acquire->kind, PROTO_LOCK_ACQUIRE);
    assert_string_equal(acquire->name, "lock.acquire");
    assert_int_equal(acquire->sent_by, PROTO_SESSION);
    assert_int_equal(acquire->served_by, PROTO_LOG);
    assert_int_equal(acquire->since, 1);
    assert_int_equal(proto_operation_find(60)->sent_by, PROTO_INTERNAL);
    assert_null(proto_operation_find(0));
    assert_null(proto_operation_find(100));
    assert_null(proto_operation_find((UINT64_C(1) << 32) + 10));
    assert_null(proto_operation_find(UINT64_MAX));
}

static void a_status_is_found_by_its_code(void **state)
{
    (void)state;
    const struct proto_status_row *row = proto_status_find(18);
    assert_non_null(row);
    assert_int_equal(row->status, PROTO_STATUS_UNAVAILABLE);
    assert_string_equal(row->name, "UNAVAILABLE");
    assert_string_equal(row->text, "leadership was lost on the way");
    assert_int_equal(row->outcome, PROTO_OUTCOME_UNKNOWN);
    assert_int_equal(row->next, PROTO_NEXT_ASKS_NEXT_LEADER);
    assert_null(proto_status_find(25));
    assert_null(proto_status_find(UINT64_MAX));
    assert_string_equal(proto_status_name(0), "OK");
    assert_string_equal(proto_status_name(999), "UNKNOWN_STATUS");
}

static void numbers_are_not_used_twice(void **state)
{
    (void)state;
    static const unsigned kinds[] = {
#define X(kind, enum_name, name, function, sent_by, served_by, since) kind,
        PROTO_OPERATIONS(X)
#undef X
#define X(kind, enum_name, name) kind,
            PROTO_EVENTS(X)
#undef X
    };
    /* Two equal codes of statuses would be two equal cases of status.c's switch. */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(kinds[i], kinds[j]);
        }
    }
}

/* ---- assertions ---- */

/* Run in a child, its standard error into a pipe; it must abort, and say so in a line that has `said`. */
static void aborts(void (*function)(void), const char *said)
{
    int pipe_ends[2];
    char line[512];
    int status = 0;
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on */
        (void)dup2(pipe_ends[1], STDERR_FILENO);
        function();
        _exit(0);
    }
    (void)close(pipe_ends[1]);
    ssize_t size = read(pipe_ends[0], line, sizeof line - 1);
    (void)close(pipe_ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(size > 0);
    line[size] = '\0';
    assert_non_null(strstr(line, "assertion failed"));
    assert_non_null(strstr(line, said));
}

static void encode_request_out_of_bounds(void)
{
    struct proto_buffer buffer;
    struct proto_request request = {.kind = PROTO_LOCK_GET, .id = 1}; /* no key */
    proto_buffer_init(&buffer, 1000);
    proto_encode_request(&buffer, &request);
}

static void encode_internal_request(void)
{
    struct proto_buffer buffer;
    struct proto_request request = {.kind = PROTO_EPOCH_RAISE, .id = 1};
    proto_buffer_init(&buffer, 1000);
    proto_encode_request(&buffer, &request);
}

static void encode_body_out_of_bounds(void)
{
    struct proto_buffer buffer;
    union proto_request_body body = {.session_renew = {.ttl_ms = 1}};
    proto_buffer_init(&buffer, 1000);
    proto_encode_request_body(&buffer, PROTO_SESSION_RENEW, &body);
}

static void encode_reply_without_kind(void)
{
    struct proto_buffer buffer;
    struct proto_reply reply = {.id = 1, .status = PROTO_STATUS_OK};
    proto_buffer_init(&buffer, 1000);
    proto_encode_reply(&buffer, &reply);
}

static void encode_too_many_rows(void)
{
    struct proto_buffer buffer;
    struct proto_reply reply = {.kind = PROTO_LOCK_LIST, .body.lock_list.count = PROTO_LIST_MAX + 1};
    proto_buffer_init(&buffer, 1000);
    proto_encode_reply(&buffer, &reply);
}

static void consume_more_than_there_is(void)
{
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 1000);
    proto_buffer_consume(&buffer, 1);
}

static void a_programmers_error_ends_the_process(void **state)
{
    (void)state;
    aborts(encode_request_out_of_bounds, "validate_request(request, &error)");
    aborts(encode_internal_request, "operation->sent_by != PROTO_INTERNAL");
    aborts(encode_body_out_of_bounds, "validate_request_body(kind, body, &error)");
    aborts(encode_reply_without_kind, "protocol/encode.c");
    aborts(encode_too_many_rows, "count <= max");
    aborts(consume_more_than_there_is, "size <= buffer->size");
}

static void encoding_into_a_full_buffer_marks_it(void **state)
{
    (void)state;
    struct proto_request request = {.kind = PROTO_LOCK_GET, .id = 1};
    request.body.lock_get.key = bytes_of("jobs/nightly");
    for (size_t size_max = 0; size_max < 17; size_max++) {
        struct proto_buffer buffer;
        proto_buffer_init(&buffer, size_max);
        proto_encode_request(&buffer, &request);
        assert_true(buffer.failed);
        assert_true(buffer.size <= size_max);
        proto_buffer_done(&buffer);
    }
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 17);
    proto_encode_request(&buffer, &request);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 17);
    proto_buffer_done(&buffer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_is_found_by_its_kind),
        cmocka_unit_test(a_status_is_found_by_its_code),
        cmocka_unit_test(numbers_are_not_used_twice),
        cmocka_unit_test(a_programmers_error_ends_the_process),
        cmocka_unit_test(encoding_into_a_full_buffer_marks_it),
    };
    return cmocka_run_group_tests_name("protocol: tables", tests, NULL, NULL);
}
