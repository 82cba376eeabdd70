/* What is refused before it reaches the log: bad bytes, too much, the wrong sender (C5). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_core_harness.h"

static struct harness *begin(unsigned per_connection, unsigned in_all, unsigned per_second)
{
    struct core_options options;
    core_options_init(&options);
    options.requests_per_connection_max = per_connection;
    options.requests_max = in_all;
    options.requests_per_second_max = per_second;
    struct harness *h = harness_create(&options);
    harness_lead(h);
    return h;
}

static void a_connection_may_have_so_many_unanswered_requests(void **state)
{
    (void)state;
    struct harness *h = begin(8, 1000, 0);
    uint64_t c = harness_connect(h);
    uint64_t holder = harness_session(h, c, 1, 60000);
    uint64_t waiter = harness_session(h, c, 2, 60000);
    (void)harness_lock(h, c, 1, holder, 1, "k");
    for (uint64_t id = 1; id <= 9; id++) {
        struct proto_request wait = harness_acquire(2, waiter, id, "k", PROTO_WAIT_FOREVER);
        harness_send(h, c, &wait);
        harness_settle(h);
    }
    struct proto_reply refused = harness_expect(h, c, 9, PROTO_STATUS_OVERLOADED);
    assert_true(refused.body.refusal.retry_after_ms > 0);
    harness_expect_nothing(h, c);
    /* A renewal still gets through, a release does not; another connection is not concerned. */
    struct proto_request renew = harness_renew(2, waiter, 10);
    harness_send(h, c, &renew);
    harness_turn(h, 20);
    harness_commit(h);
    (void)harness_expect(h, c, 10, PROTO_STATUS_OK);
    uint64_t other = harness_connect(h);
    struct proto_request renew_other = harness_renew(1, holder, 11);
    harness_send(h, other, &renew_other);
    harness_turn(h, 20);
    harness_commit(h);
    (void)harness_expect(h, other, 11, PROTO_STATUS_OK);
    harness_destroy(h);
}

static void the_node_may_have_so_many_unanswered_requests(void **state)
{
    (void)state;
    struct harness *h = begin(100, 16, 0);
    uint64_t c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = harness_connect(h);
        for (uint64_t id = 1; id <= 10; id++) {
            struct proto_request open = harness_open((uint8_t)(i * 10 + (int)id), id, 60000);
            harness_send(h, c[i], &open);
        }
    }
    assert_int_equal(harness_counts(h).requests_in_flight, 16);
    assert_int_equal(harness_counts(h).refused, 24);
    (void)harness_expect(h, c[3], 1, PROTO_STATUS_OVERLOADED);
    struct proto_request ping = {.kind = PROTO_PING, .id = 99};
    harness_settle(h);
    harness_send(h, c[0], &ping);
    assert_int_equal(harness_logged(h, "limit=requests"), CORE_LOG_BURST);
    harness_destroy(h);
}

/* The objects themselves run out one step later; that refusal needs none. */
static void a_node_without_room_for_the_request_object_still_answers(void **state)
{
    (void)state;
    struct harness *h = begin(1000, 16, 0);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    for (uint64_t id = 1; id <= 40; id++) {
        struct proto_request renew = harness_renew(1, session, id);
        harness_send(h, c, &renew);
    }
    struct proto_incoming incoming;
    unsigned refused = 0;
    while (harness_take(h, c, &incoming)) {
        assert_int_equal(incoming.reply.status, PROTO_STATUS_OVERLOADED);
        assert_true(incoming.reply.id > 16);
        assert_true(incoming.reply.body.refusal.retry_after_ms > 0);
        refused++;
    }
    assert_true(refused >= 20 && refused <= 24);
    harness_settle(h);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
    harness_destroy(h);
}

static void a_connection_may_send_so_many_requests_per_second(void **state)
{
    (void)state;
    struct harness *h = begin(1000, 1000, 50);
    uint64_t c = harness_connect(h);
    for (uint64_t id = 1; id <= 51; id++) {
        struct proto_request ping = {.kind = PROTO_PING, .id = id};
        harness_send(h, c, &ping);
    }
    for (uint64_t id = 1; id <= 50; id++) {
        (void)harness_expect(h, c, id, PROTO_STATUS_OK);
    }
    struct proto_reply refused = harness_expect(h, c, 51, PROTO_STATUS_OVERLOADED);
    assert_int_equal(refused.body.refusal.retry_after_ms, 20);
    h->now.ms += 20;
    struct proto_request again = {.kind = PROTO_PING, .id = 52};
    harness_send(h, c, &again);
    (void)harness_expect(h, c, 52, PROTO_STATUS_OK);
    harness_send(h, c, &again);
    (void)harness_expect(h, c, 52, PROTO_STATUS_OVERLOADED);
    harness_destroy(h);
}

/* A client that floods its connection does not lose its session by that. */
static void renewals_have_an_eighth_more_per_second(void **state)
{
    (void)state;
    struct harness *h = begin(1000, 1000, 80);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    h->now.ms += 1000;
    for (uint64_t id = 101; id <= 181; id++) {
        struct proto_request ping = {.kind = PROTO_PING, .id = id};
        harness_send(h, c, &ping);
        (void)harness_expect(h, c, id, id <= 180 ? PROTO_STATUS_OK : PROTO_STATUS_OVERLOADED);
    }
    for (uint64_t id = 201; id <= 211; id++) {
        struct proto_request renew = harness_renew(1, session, id);
        harness_send(h, c, &renew);
    }
    (void)harness_expect(h, c, 211, PROTO_STATUS_OVERLOADED);
    harness_settle(h);
    for (uint64_t id = 201; id <= 210; id++) {
        (void)harness_expect(h, c, id, PROTO_STATUS_OK);
    }
    harness_destroy(h);
}

static void what_only_a_node_does_is_refused(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    uint64_t c = harness_connect(h);
    static const uint8_t epoch_raise[] = {0x92, PROTO_EPOCH_RAISE, 7};
    harness_send_bytes(h, c, epoch_raise, sizeof(epoch_raise));
    (void)harness_expect(h, c, 7, PROTO_STATUS_UNSUPPORTED);
    static const uint8_t of_tomorrow[] = {0x92, 59, 8};
    harness_send_bytes(h, c, of_tomorrow, sizeof(of_tomorrow));
    (void)harness_expect(h, c, 8, PROTO_STATUS_UNSUPPORTED);
    assert_false(harness_connection(h, c)->closed);
    harness_turn(h, 1);
    assert_int_equal(h->entries_count, 0);
    harness_destroy(h);
}

static void a_field_out_of_bounds_never_reaches_the_log(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    uint64_t c = harness_connect(h);
    /* session.renew with a floor that is not below its id, then session 0. */
    static const uint8_t floor_too_high[] = {0x96, 2, 5, 9,  0xc4, 16, 1,  2,  3,  4,  5, 6,
                                             7,    8, 9, 10, 11,   12, 13, 14, 15, 16, 5, 0};
    harness_send_bytes(h, c, floor_too_high, sizeof(floor_too_high));
    (void)harness_expect(h, c, 5, PROTO_STATUS_INVALID);
    static const uint8_t no_session[] = {0x96, 2, 6, 0,  0xc4, 16, 1,  2,  3,  4,  5, 6,
                                         7,    8, 9, 10, 11,   12, 13, 14, 15, 16, 0, 0};
    harness_send_bytes(h, c, no_session, sizeof(no_session));
    (void)harness_expect(h, c, 6, PROTO_STATUS_INVALID);
    harness_turn(h, 100);
    assert_int_equal(h->entries_count, 0);
    harness_destroy(h);
}

static void a_request_larger_than_allowed_is_refused_and_closed(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    uint64_t c = harness_connect(h);
    static uint8_t big[PROTO_REQUEST_BODY_BYTES_MAX + 1] = {0x93, PROTO_PING, 7, 0xc5, 0x1f, 0xfb};
    harness_send_bytes(h, c, big, sizeof(big));
    (void)harness_expect(h, c, 7, PROTO_STATUS_MALFORMED);
    assert_true(harness_connection(h, c)->closed);
    harness_destroy(h);
}

static void secrets_and_values_are_not_logged(void **state)
{
    (void)state;
    struct harness *h = begin(2, 100, 0);
    uint64_t c = harness_connect(h);
    for (int i = 0; i < 4; i++) {
        struct proto_request open = harness_open('S', 1 + (uint64_t)i, 60000);
        harness_send(h, c, &open);
    }
    harness_send_bytes(h, c, "SSSSSSSSSSSSSSSSSSSS", 20);
    harness_settle(h);
    harness_follow(h, 2);
    assert_true(harness_logged(h, "limit=requests_per_connection") > 0);
    assert_int_equal(harness_logged(h, "SSSS"), 0);
    harness_destroy(h);
}

/* ---- what an administrator does ---- */

static struct proto_request force_release(uint64_t id, const char *key, uint64_t token, const char *reason)
{
    return (struct proto_request){
        .kind = PROTO_FORCE_RELEASE,
        .id = id,
        .body.force_release = {.key = harness_text(key), .token = token, .reason = harness_text(reason)},
    };
}

static struct proto_request session_kill(uint64_t id, uint64_t session_id, const char *reason)
{
    return (struct proto_request){
        .kind = PROTO_SESSION_KILL,
        .id = id,
        .body.session_kill = {.session_id = session_id, .reason = harness_text(reason)},
    };
}

static void assert_logged(const struct harness *h, const char *line)
{
    if (harness_logged(h, line) != 1) {
        fail_msg("not logged once: %s\nbut:\n%s", line, h->log);
    }
}

static void what_an_administrator_does_is_logged_with_target_reason_and_result(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    char line[256];
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    uint64_t token = harness_lock(h, c, 1, session, 1, "k/1");
    const struct proto_request requests[] = {
        force_release(2, "k/1", token, "the disk \"b\" is full"),
        force_release(3, "k/2", 0, "nobody holds it"),
        session_kill(4, session, "old"),
    };
    for (unsigned i = 0; i < 3; i++) {
        harness_send(h, c, &requests[i]);
        harness_settle(h);
    }
    (void)snprintf(
        line, sizeof(line),
        "request=2 operation=lock.force_release key=\"k/1\" token=%llu reason=\"the disk \\\"b\\\" is full\"\n",
        (unsigned long long)token);
    assert_logged(h, line);
    assert_logged(h,
                  "2 admin_answer connection=1 request=2 operation=lock.force_release status=OK ended=1\n");
    assert_logged(h,
                  "request=3 operation=lock.force_release key=\"k/2\" token=0 reason=\"nobody holds it\"\n");
    assert_logged(
        h, "2 admin_answer connection=1 request=3 operation=lock.force_release status=NOT_FOUND ended=0\n");
    (void)snprintf(line, sizeof(line), "request=4 operation=session.kill session=%llu reason=\"old\"\n",
                   (unsigned long long)session);
    assert_logged(h, line);
    assert_logged(h, "2 admin_answer connection=1 request=4 operation=session.kill status=OK ended=1\n");
    harness_destroy(h);
}

/* What is not logged is not done: both have the same bound. */
static void no_line_of_an_administrator_is_left_out(void **state)
{
    (void)state;
    struct harness *h = begin(1000, 1000, 0);
    uint64_t c = harness_connect(h);
    for (uint64_t id = 1; id <= 120; id++) {
        struct proto_request kill = session_kill(id, 7, "all of them");
        harness_send(h, c, &kill);
    }
    for (uint64_t id = 101; id <= 120; id++) {
        assert_true(harness_expect(h, c, id, PROTO_STATUS_OVERLOADED).body.refusal.retry_after_ms <= 1000);
    }
    harness_settle(h);
    for (uint64_t id = 1; id <= 100; id++) {
        (void)harness_expect(h, c, id, PROTO_STATUS_NOT_FOUND);
    }
    assert_int_equal(harness_logged(h, " admin_request "), 100);
    assert_int_equal(harness_logged(h, " admin_answer "), 100);
    h->now.ms += 1000;
    struct proto_request later = session_kill(121, 7, "and this");
    harness_send(h, c, &later);
    harness_settle(h);
    (void)harness_expect(h, c, 121, PROTO_STATUS_NOT_FOUND);
    harness_destroy(h);
}

/* A key and a reason of the greatest length, every character of the reason escaped: the line is whole. */
static void the_longest_reason_is_logged_whole(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    char key[PROTO_KEY_BYTES_MAX + 1];
    char reason[PROTO_REASON_BYTES_MAX + 1];
    uint64_t c = harness_connect(h);
    memset(key, 'k', sizeof(key));
    memset(reason, '"', sizeof(reason));
    key[PROTO_KEY_BYTES_MAX] = reason[PROTO_REASON_BYTES_MAX] = '\0';
    struct proto_request release = force_release(2, key, UINT64_MAX, reason);
    harness_send(h, c, &release);
    harness_settle(h);
    assert_int_equal(harness_logged(h, "\\\"\\\"\"\n"), 1);
    assert_int_equal(harness_logged(h, "\\\""), PROTO_REASON_BYTES_MAX);
    harness_destroy(h);
}

/* A connection's digest of its last secret must not answer for another secret. */
static void another_secret_on_the_same_connection_is_another_client(void **state)
{
    (void)state;
    struct harness *h = begin(100, 100, 0);
    uint64_t c = harness_connect(h);
    uint64_t first = harness_session(h, c, 1, 60000);
    uint64_t second = harness_session(h, c, 2, 60000);
    assert_true(first != second);
    uint64_t sessions[] = {first, second};
    for (uint64_t i = 0; i < 8; i++) {
        uint8_t who = (uint8_t)(1 + i % 2);
        bool right = i < 4;
        struct proto_request renew = harness_renew(who, sessions[right ? i % 2 : (i + 1) % 2], 10 + i);
        harness_send(h, c, &renew);
        harness_turn(h, 20);
        harness_commit(h);
        (void)harness_expect(h, c, 10 + i, right ? PROTO_STATUS_OK : PROTO_STATUS_BAD_SECRET);
    }
    harness_destroy(h);
}

/* ---- any bytes ---- */

static size_t damaged_request(unsigned *seed, uint8_t *out, size_t size_max)
{
    struct proto_request requests[] = {
        harness_open(1, 1, 60000),
        harness_renew(1, 1, 2),
        harness_acquire(1, 1, 3, "key", 50),
        harness_release(1, 1, 4, "key", 1),
        harness_get(5, "key", true),
        {.kind = PROTO_PING, .id = 6},
        {.kind = PROTO_CLUSTER_STATUS, .id = 7},
    };
    struct proto_buffer body;
    proto_buffer_init(&body, size_max);
    proto_encode_request(&body, &requests[(size_t)rand_r(seed) % (sizeof(requests) / sizeof(requests[0]))]);
    size_t size = body.size;
    memcpy(out, body.data, size);
    proto_buffer_done(&body);
    for (int i = rand_r(seed) % 4; i > 0; i--) {
        out[(size_t)rand_r(seed) % size] = (uint8_t)rand_r(seed);
    }
    return rand_r(seed) % 4 == 0 ? (size_t)rand_r(seed) % size : size;
}

static size_t noise(unsigned *seed, uint8_t *out)
{
    size_t size = (size_t)rand_r(seed) % 300;
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)rand_r(seed);
    }
    return size;
}

/* A client that can not be told which request was meant is disconnected; everything else gets exactly one answer, but
 * for acquires that wait. */
static void any_bytes_are_answered_or_the_connection_is_closed(void **state)
{
    (void)state;
    unsigned seed = harness_seed();
    struct harness *h = begin(1000, 10000, 0);
    uint64_t c = 0;
    for (unsigned i = 0; i < 20000; i++) {
        if (c == 0 || harness_connection(h, c)->closed) {
            if (c != 0) {
                core_connection_closed(h->core, c);
                proto_buffer_done(&harness_connection(h, c)->out);
                h->connections_count = 0;
            }
            c = harness_connect(h);
        }
        uint8_t bytes[1024];
        size_t size = i % 3 == 0 ? noise(&seed, bytes) : damaged_request(&seed, bytes, sizeof(bytes));
        harness_send_bytes(h, c, bytes, size);
        harness_settle(h);
        struct proto_incoming incoming;
        unsigned answers = 0;
        while (harness_take(h, c, &incoming)) {
            answers += incoming.is_event ? 0 : 1;
        }
        unsigned waits = (unsigned)harness_counts(h).waits;
        assert_true(answers >= 1 || waits > 0);
        assert_int_equal(harness_counts(h).requests_in_flight, waits);
    }
    harness_destroy(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_may_have_so_many_unanswered_requests),
        cmocka_unit_test(the_node_may_have_so_many_unanswered_requests),
        cmocka_unit_test(a_node_without_room_for_the_request_object_still_answers),
        cmocka_unit_test(a_connection_may_send_so_many_requests_per_second),
        cmocka_unit_test(renewals_have_an_eighth_more_per_second),
        cmocka_unit_test(what_only_a_node_does_is_refused),
        cmocka_unit_test(a_field_out_of_bounds_never_reaches_the_log),
        cmocka_unit_test(a_request_larger_than_allowed_is_refused_and_closed),
        cmocka_unit_test(secrets_and_values_are_not_logged),
        cmocka_unit_test(what_an_administrator_does_is_logged_with_target_reason_and_result),
        cmocka_unit_test(no_line_of_an_administrator_is_left_out),
        cmocka_unit_test(the_longest_reason_is_logged_whole),
        cmocka_unit_test(another_secret_on_the_same_connection_is_another_client),
        cmocka_unit_test(any_bytes_are_answered_or_the_connection_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
