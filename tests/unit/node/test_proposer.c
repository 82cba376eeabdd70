/* Group commit: what goes into an entry, and when it goes (proposer.h). */
#include <stdio.h>
#include <string.h>

#include "raft_fsm/entry.h"
#include "test_core_harness.h"

struct fixture {
    struct harness *h;
    uint64_t connection, session, id;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct harness *h = harness_create(NULL);
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    harness_turn(h, 0);
    fixture = (struct fixture){h, c, session, 1};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    harness_destroy(f->h);
    return 0;
}

static void send_acquires(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%u", (unsigned)f->id);
        struct proto_request acquire = harness_acquire(1, f->session, f->id, key, 0);
        harness_send(f->h, f->connection, &acquire);
        f->id++;
    }
}

static uint32_t commands_in(struct harness *h, unsigned i)
{
    struct fsm_entry_reader reader;
    struct proto_error error;
    assert_true(i < h->entries_count);
    assert_true(fsm_entry_open(&reader, h->entries[i].data, h->entries[i].size, &error));
    return reader.count;
}

static void all_requests_of_a_turn_share_one_entry(void **state)
{
    struct fixture *f = *state;
    send_acquires(f, 100);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
    assert_int_equal(commands_in(f->h, 0), 100);
    harness_commit(f->h);
    for (uint64_t id = 1; id <= 100; id++) {
        (void)harness_expect(f->h, f->connection, id, PROTO_STATUS_OK); /* in their order */
    }
}

static void an_idle_node_proposes_in_the_same_turn(void **state)
{
    struct fixture *f = *state;
    send_acquires(f, 1);
    assert_int_equal(core_deadline(f->h->core).ms, f->h->now.ms);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
}

static void a_lone_request_does_not_wait_for_anothers_commit(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 6; i++) {
        send_acquires(f, 1);
        harness_turn(f->h, 0);
    }
    assert_int_equal(f->h->entries_count, 4); /* entries_in_flight_max */
    harness_commit_some(f->h, 1);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 4);
    assert_int_equal(commands_in(f->h, 3), 2); /* what gathered meanwhile */
}

static void entries_do_not_shrink_while_a_large_one_is_under_way(void **state)
{
    struct fixture *f = *state;
    send_acquires(f, 100);
    harness_turn(f->h, 0);
    send_acquires(f, 24);
    harness_turn(f->h, 1);
    assert_int_equal(f->h->entries_count, 1); /* less than its share of 100 / 4 */
    send_acquires(f, 1);
    harness_turn(f->h, 1);
    assert_int_equal(f->h->entries_count, 2);
    assert_int_equal(commands_in(f->h, 1), 25);
    send_acquires(f, 1);
    harness_turn(f->h, 1);
    assert_int_equal(f->h->entries_count, 2);
    harness_commit(f->h);
    harness_turn(f->h, 0); /* nothing is under way: it goes, however small */
    assert_int_equal(f->h->entries_count, 1);
}

static void a_full_batch_goes_at_once_and_in_several_entries(void **state)
{
    struct fixture *f = *state;
    uint8_t value[PROTO_VALUE_BYTES_MAX] = {0};
    struct proto_request acquire = harness_acquire(1, f->session, 0, "k", 0);
    acquire.body.lock_acquire.has_value = true;
    acquire.body.lock_acquire.value = (struct proto_bytes){value, sizeof(value)};
    for (acquire.id = 1; acquire.id <= 40; acquire.id++) {
        harness_send(f->h, f->connection, &acquire); /* 160 KiB in all */
    }
    unsigned calls = f->h->propose_calls;
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 3);
    assert_int_equal(f->h->propose_calls, calls + 1); /* one write of the log */
    unsigned commands = 0;
    for (unsigned i = 0; i < 3; i++) {
        assert_true(f->h->entries[i].size <= 64 * 1024 + PROTO_REQUEST_BODY_BYTES_MAX);
        commands += commands_in(f->h, i);
    }
    assert_int_equal(commands, 40);
    assert_int_equal(f->h->core->requests.bodies.used, 0); /* the entries have the bytes */
}

static void renewals_alone_wait_a_moment_for_company(void **state)
{
    struct fixture *f = *state;
    struct proto_request renew = harness_renew(1, f->session, 1);
    harness_send(f->h, f->connection, &renew);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 0);
    assert_int_equal(core_deadline(f->h->core).ms, f->h->now.ms + 20);
    harness_turn(f->h, 19);
    assert_int_equal(f->h->entries_count, 0);
    harness_turn(f->h, 1);
    assert_int_equal(f->h->entries_count, 1);
    assert_int_equal(commands_in(f->h, 0), 1);
}

/* For how long a request waits by itself before it is proposed. */
static uint64_t wait_of(struct fixture *f, const struct proto_request *request)
{
    unsigned under_way = f->h->entries_count;
    harness_send(f->h, f->connection, request);
    uint64_t sent_ms = f->h->now.ms;
    harness_turn(f->h, 0);
    while (f->h->entries_count == under_way) {
        assert_true(f->h->now.ms < sent_ms + 1000);
        harness_turn(f->h, 1);
    }
    uint64_t waited_ms = f->h->now.ms - sent_ms;
    harness_commit(f->h);
    harness_settle(f->h);
    return waited_ms;
}

static uint64_t wait_of_renewal(struct fixture *f, uint64_t ttl_ms)
{
    struct proto_request renew = harness_renew(1, f->session, f->id++);
    renew.body.session_renew.ttl_ms = ttl_ms;
    return wait_of(f, &renew);
}

/* Until it is answered its client has only the TTL of before. */
static void a_renewal_that_lengthens_a_short_ttl_waits_by_the_short_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(wait_of_renewal(f, 100), 20);
    assert_int_equal(wait_of_renewal(f, 10000), 20);
    assert_int_equal(wait_of_renewal(f, 3000), 30);
    assert_int_equal(wait_of_renewal(f, 86400000), 30);
    assert_int_equal(wait_of_renewal(f, 10000), 100);
}

/* The earliest decides: what comes later goes along. */
static void the_longer_a_session_the_longer_its_renewal_may_wait(void **state)
{
    static const struct {
        uint64_t ttl_ms;
        unsigned wait_ms;
    } cases[] = {{86400000, 100}, {10000, 100}, {5000, 50}, {2000, 20}, {100, 20}};
    struct fixture *f = *state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct proto_request renew = harness_renew(1, f->session, 1 + 2 * (uint64_t)i);
        renew.body.session_renew.ttl_ms = cases[i].ttl_ms;
        harness_send(f->h, f->connection, &renew);
        harness_turn(f->h, 0);
        assert_in_range(core_deadline(f->h->core).ms, f->h->now.ms + 1, f->h->now.ms + cases[i].wait_ms);
        harness_turn(f->h, cases[i].wait_ms - 1);
        renew.id++;
        renew.body.session_renew.ttl_ms = 10000;
        harness_send(f->h, f->connection, &renew);
        harness_turn(f->h, 0);
        assert_int_equal(f->h->entries_count, 0);
        harness_turn(f->h, 1);
        assert_int_equal(f->h->entries_count, 1);
        assert_int_equal(commands_in(f->h, 0), 2);
        harness_commit(f->h);
    }
}

static void renewals_go_along_with_other_requests(void **state)
{
    struct fixture *f = *state;
    struct proto_request renew = harness_renew(1, f->session, 1);
    harness_send(f->h, f->connection, &renew);
    harness_turn(f->h, 5);
    f->id = 2;
    send_acquires(f, 1);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
    assert_int_equal(commands_in(f->h, 0), 2);
}

static uint64_t wait_of_acquire(struct fixture *f, const char *key, uint64_t wait_ms, bool reentrant)
{
    struct proto_request acquire = harness_acquire(1, f->session, f->id++, key, wait_ms);
    acquire.body.lock_acquire.reentrant = reentrant;
    return wait_of(f, &acquire);
}

/* The same while an entry is under way. */
static uint64_t wait_beside_entry(struct fixture *f, const char *key, uint64_t wait_ms, bool reentrant)
{
    send_acquires(f, 1);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
    return wait_of_acquire(f, key, wait_ms, reentrant);
}

static void only_who_queues_behind_others_waits_for_company(void **state)
{
    struct fixture *f = *state;
    (void)harness_lock(f->h, f->connection, 1, f->session, f->id++, "k");
    assert_int_equal(wait_beside_entry(f, "k", PROTO_WAIT_FOREVER, false), 0); /* the first: a release under way may let it in */
    assert_int_equal(wait_beside_entry(f, "k", PROTO_WAIT_FOREVER, false), 2);
    assert_int_equal(wait_beside_entry(f, "k", 10000, false), 2);
    assert_int_equal(wait_beside_entry(f, "k", 199, false), 1);
    assert_int_equal(wait_beside_entry(f, "k", 99, false), 0);
    assert_int_equal(wait_beside_entry(f, "k", 0, false), 0); /* the answer is HELD, at once */
    assert_int_equal(wait_beside_entry(f, "k", PROTO_WAIT_FOREVER, true), 0); /* it enters its own grant once more */
    assert_int_equal(wait_beside_entry(f, "free", PROTO_WAIT_FOREVER, false), 0);
    assert_int_equal(wait_of_acquire(f, "k", PROTO_WAIT_FOREVER, false), 0); /* an idle cluster adds no wait */
}

static void who_queues_goes_along_with_the_release_that_follows(void **state)
{
    struct fixture *f = *state;
    uint64_t token = harness_lock(f->h, f->connection, 1, f->session, f->id++, "k");
    (void)wait_of_acquire(f, "k", PROTO_WAIT_FOREVER, false);
    send_acquires(f, 1);
    harness_turn(f->h, 0);
    struct proto_request acquire = harness_acquire(1, f->session, f->id++, "k", PROTO_WAIT_FOREVER);
    harness_send(f->h, f->connection, &acquire);
    harness_turn(f->h, 0);
    harness_commit(f->h);
    harness_turn(f->h, 1);
    assert_int_equal(f->h->entries_count, 0);
    struct proto_request release = harness_release(1, f->session, f->id++, "k", token);
    harness_send(f->h, f->connection, &release);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
    assert_int_equal(commands_in(f->h, 0), 2);
}

static void a_renewal_whose_time_is_up_behind_a_large_entry_does_not_spin(void **state)
{
    struct fixture *f = *state;
    send_acquires(f, 100);
    harness_turn(f->h, 0);
    struct proto_request renew = harness_renew(1, f->session, f->id);
    harness_send(f->h, f->connection, &renew);
    harness_turn(f->h, 30);
    assert_int_equal(f->h->entries_count, 1);
    assert_true(core_deadline(f->h->core).ms > f->h->now.ms);
}

static void turn_until_the_clock_passes(struct fixture *f, uint64_t deadline_ms)
{
    while (f->h->core->clock.time.ms < deadline_ms) {
        harness_turn(f->h, 1);
    }
}

/* The clock has passed a deadline, and its entry can not be proposed yet: the loop has nothing to look at the sockets for. */
static void an_expiry_that_can_not_be_proposed_does_not_spin(void **state)
{
    struct fixture *f = *state;
    uint64_t deadline_ms = fsm_time(f->h->core->fsm).ms + 500;
    (void)harness_session(f->h, f->connection, 2, 500);
    (void)harness_session(f->h, f->connection, 3, 600);
    turn_until_the_clock_passes(f, deadline_ms - 5);
    for (unsigned i = 0; i < 4; i++) {
        send_acquires(f, 1);
        harness_turn(f->h, 0);
    }
    turn_until_the_clock_passes(f, deadline_ms);
    assert_int_equal(f->h->entries_count, 4); /* no room */
    assert_true(core_due(f->h->core).ms > f->h->now.ms);
    harness_commit(f->h);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 1);
    harness_commit(f->h);
    f->h->refuse_proposals = true;
    turn_until_the_clock_passes(f, deadline_ms + 100);
    assert_true(core_due(f->h->core).ms > f->h->now.ms);
    assert_true(core_deadline(f->h->core).ms <= f->h->now.ms + PROPOSER_RETRY_MS);
    f->h->refuse_proposals = false;
    harness_turn(f->h, PROPOSER_RETRY_MS);
    assert_int_equal(f->h->entries_count, 1);
    harness_follow(f->h, 2);
    harness_turn(f->h, 0);
    assert_true(core_due(f->h->core).ms > f->h->now.ms);
}

/* The disk is slow, nothing more may be proposed, and deadlines that nobody knows yet are under way: from the first that may be on, the
 * clock waits for whatever has been received (clock.h, K3). */
static void a_release_that_waits_behind_slow_entries_is_in_time(void **state)
{
    struct fixture *f = *state;
    enum { WAIT_MS = PROTO_TTL_MS_MIN };
    uint64_t token = harness_lock(f->h, f->connection, 1, f->session, f->id++, "k");
    uint64_t begun_ms = f->h->core->clock.time.ms;
    for (unsigned i = 0; i < 3; i++) {
        send_acquires(f, 1);
        harness_turn(f->h, 0);
    }
    turn_until_the_clock_passes(f, begun_ms + WAIT_MS / 2);
    struct proto_request waits = harness_acquire(1, f->session, f->id++, "k", WAIT_MS);
    harness_send(f->h, f->connection, &waits);
    harness_turn(f->h, 0);
    assert_int_equal(f->h->entries_count, 4);
    turn_until_the_clock_passes(f, begun_ms + WAIT_MS + 20);
    struct proto_request release = harness_release(1, f->session, f->id++, "k", token);
    harness_send(f->h, f->connection, &release);
    for (unsigned i = 0; i < 2 * WAIT_MS; i++) {
        harness_turn(f->h, 1);
    }
    harness_commit(f->h);
    for (uint64_t id = waits.id - 3; id < waits.id; id++) {
        (void)harness_expect(f->h, f->connection, id, PROTO_STATUS_OK);
    }
    harness_turn(f->h, 0);
    harness_commit(f->h);
    (void)harness_expect(f->h, f->connection, waits.id, PROTO_STATUS_OK); /* not TIMED_OUT */
}

static void the_log_never_holds_a_secret(void **state)
{
    struct fixture *f = *state;
    struct proto_request open = harness_open(0x5a, 9, 1000);
    harness_send(f->h, f->connection, &open);
    send_acquires(f, 1);
    harness_turn(f->h, 0);
    uint8_t secret[PROTO_SECRET_BYTES];
    memset(secret, 0x5a, sizeof(secret));
    assert_null(memmem(f->h->entries[0].data, f->h->entries[0].size, secret, sizeof(secret)));
    memset(secret, 1, sizeof(secret));
    assert_null(memmem(f->h->entries[0].data, f->h->entries[0].size, secret, sizeof(secret)));
}

#define CORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(all_requests_of_a_turn_share_one_entry),
        CORE_TEST(an_idle_node_proposes_in_the_same_turn),
        CORE_TEST(a_lone_request_does_not_wait_for_anothers_commit),
        CORE_TEST(entries_do_not_shrink_while_a_large_one_is_under_way),
        CORE_TEST(a_full_batch_goes_at_once_and_in_several_entries),
        CORE_TEST(renewals_alone_wait_a_moment_for_company),
        CORE_TEST(the_longer_a_session_the_longer_its_renewal_may_wait),
        CORE_TEST(a_renewal_that_lengthens_a_short_ttl_waits_by_the_short_one),
        CORE_TEST(renewals_go_along_with_other_requests),
        CORE_TEST(only_who_queues_behind_others_waits_for_company),
        CORE_TEST(who_queues_goes_along_with_the_release_that_follows),
        CORE_TEST(a_renewal_whose_time_is_up_behind_a_large_entry_does_not_spin),
        CORE_TEST(an_expiry_that_can_not_be_proposed_does_not_spin),
        CORE_TEST(a_release_that_waits_behind_slow_entries_is_in_time),
        CORE_TEST(the_log_never_holds_a_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
