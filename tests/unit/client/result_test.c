/* Results: what a caller is told is never more certain than what the node said, and every number has a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/result.h"
#include "protocol/status.h"

static const enum proto_status statuses[] = {
#define X(name, ...) PROTO_STATUS_##name,
    PROTO_STATUSES(X)
#undef X
};

enum { STATUSES_COUNT = sizeof(statuses) / sizeof(statuses[0]), RESULTS_COUNT = LOCKSTEP_CLOSED + 1 };

static enum lockstep_outcome outcome_of(enum proto_outcome outcome)
{
    return outcome == PROTO_OUTCOME_DONE       ? LOCKSTEP_OUTCOME_DONE
           : outcome == PROTO_OUTCOME_NOT_DONE ? LOCKSTEP_OUTCOME_NOT_DONE
                                               : LOCKSTEP_OUTCOME_UNKNOWN;
}

/* Whoever believes "not done" asks again under another id: if it was done after all, it is done twice. */
static void a_result_is_never_more_certain_than_the_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATUSES_COUNT; i++) {
        enum lockstep_outcome told = lockstep_outcome(result_of_status(statuses[i]));
        enum lockstep_outcome said = outcome_of(proto_status_find(statuses[i])->outcome);
        if (told != said && told != LOCKSTEP_OUTCOME_UNKNOWN) {
            fail_msg("%s becomes %s", proto_status_name(statuses[i]),
                     lockstep_result_name(result_of_status(statuses[i])));
        }
    }
}

static void only_ok_is_a_success(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATUSES_COUNT; i++) {
        assert_int_equal(result_of_status(statuses[i]) == LOCKSTEP_OK, statuses[i] == PROTO_STATUS_OK);
    }
    for (int result = 1; result < RESULTS_COUNT; result++) {
        assert_int_not_equal(lockstep_outcome(result), LOCKSTEP_OUTCOME_DONE);
    }
}

static void a_refusal_keeps_its_name(void **state)
{
    (void)state;
    static const struct {
        enum proto_status status;
        int result;
    } pairs[] = {
        {PROTO_STATUS_HELD, LOCKSTEP_HELD},
        {PROTO_STATUS_TIMED_OUT, LOCKSTEP_TIMED_OUT},
        {PROTO_STATUS_CANCELLED, LOCKSTEP_CANCELLED},
        {PROTO_STATUS_NOT_HELD, LOCKSTEP_NOT_HELD},
        {PROTO_STATUS_SESSION_EXPIRED, LOCKSTEP_SESSION_LOST},
        {PROTO_STATUS_BAD_SECRET, LOCKSTEP_BAD_SECRET},
        {PROTO_STATUS_LIMIT_MISMATCH, LOCKSTEP_LIMIT_MISMATCH},
        {PROTO_STATUS_MODE_CONFLICT, LOCKSTEP_MODE_CONFLICT},
        {PROTO_STATUS_WINDOW_FULL, LOCKSTEP_LIMIT},
        {PROTO_STATUS_LIMIT_REACHED, LOCKSTEP_LIMIT},
        {PROTO_STATUS_OVERLOADED, LOCKSTEP_LIMIT},
        {PROTO_STATUS_NOT_FOUND, LOCKSTEP_NOT_FOUND},
        {PROTO_STATUS_INVALID, LOCKSTEP_INVALID},
        {PROTO_STATUS_MALFORMED, LOCKSTEP_INVALID},
        {PROTO_STATUS_UNSUPPORTED, LOCKSTEP_UNSUPPORTED},
        {PROTO_STATUS_WRONG_CLUSTER, LOCKSTEP_WRONG_CLUSTER},
        {PROTO_STATUS_STALE_FENCE, LOCKSTEP_STALE_FENCE},
        {PROTO_STATUS_REFUSED, LOCKSTEP_REFUSED},
        {PROTO_STATUS_TOO_MANY_HOLDS, LOCKSTEP_TOO_MANY_HOLDS},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_int_equal(result_of_status(pairs[i].status), pairs[i].result);
    }
}

static void every_result_has_a_name_and_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a < RESULTS_COUNT; a++) {
        assert_string_not_equal(lockstep_result_name(a), "UNKNOWN_RESULT");
        for (int b = a + 1; b < RESULTS_COUNT; b++) {
            assert_string_not_equal(lockstep_result_name(a), lockstep_result_name(b));
            assert_string_not_equal(lockstep_result_text(a), lockstep_result_text(b));
        }
    }
}

static void a_number_of_a_later_version_is_unknown(void **state)
{
    (void)state;
    static const int numbers[] = {-1, RESULTS_COUNT, 1 << 30};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        assert_string_equal(lockstep_result_name(numbers[i]), "UNKNOWN_RESULT");
        assert_int_equal(lockstep_outcome(numbers[i]), LOCKSTEP_OUTCOME_UNKNOWN);
        assert_non_null(lockstep_result_text(numbers[i]));
    }
}

static void a_success_clears_the_sentence_and_a_long_one_is_cut(void **state)
{
    (void)state;
    char text[DETAIL_BYTES + 100];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(result_explain(LOCKSTEP_INVALID, text), LOCKSTEP_INVALID);
    assert_int_equal(strlen(lockstep_error_message()), DETAIL_BYTES - 1);
    assert_int_equal(result_explain(LOCKSTEP_HELD, ""), LOCKSTEP_HELD);
    assert_string_equal(lockstep_error_message(), lockstep_result_text(LOCKSTEP_HELD));
    assert_int_equal(result_explain(LOCKSTEP_OK, "unused"), LOCKSTEP_OK);
    assert_string_equal(lockstep_error_message(), "");
}

static void every_reason_of_a_loss_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(lost_reason_of(PROTO_END_EXPIRED), LOCKSTEP_LOST_EXPIRED);
    assert_int_equal(lost_reason_of(PROTO_END_KILLED), LOCKSTEP_LOST_KILLED);
    assert_int_equal(lost_reason_of(PROTO_END_FORCED), LOCKSTEP_LOST_FORCED);
    assert_int_equal(lost_reason_of(PROTO_END_RELEASED), LOCKSTEP_LOST_ENDED);
    static const int reasons[] = {LOCKSTEP_LOST_UNCERTAIN, LOCKSTEP_LOST_EXPIRED, LOCKSTEP_LOST_KILLED,
                                  LOCKSTEP_LOST_FORCED,    LOCKSTEP_LOST_ENDED,   1 << 30};
    for (size_t a = 0; a < sizeof(reasons) / sizeof(reasons[0]); a++) {
        for (size_t b = 0; b < a; b++) {
            assert_string_not_equal(lockstep_lost_reason_text(reasons[a]),
                                    lockstep_lost_reason_text(reasons[b]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_never_more_certain_than_the_status),
        cmocka_unit_test(only_ok_is_a_success),
        cmocka_unit_test(a_refusal_keeps_its_name),
        cmocka_unit_test(every_result_has_a_name_and_a_text_of_its_own),
        cmocka_unit_test(a_number_of_a_later_version_is_unknown),
        cmocka_unit_test(a_success_clears_the_sentence_and_a_long_one_is_cut),
        cmocka_unit_test(every_reason_of_a_loss_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
