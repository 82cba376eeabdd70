/* Cluster time: the clock by itself (K1..K3 of clock.h), and expiry through the core (C4). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft_fsm/entry.h"
#include "test_core_harness.h"

static struct local_time at(uint64_t ms)
{
    return (struct local_time){ms};
}

/* ---- the clock by itself ---- */

static void it_never_outruns_real_time_nor_goes_back(void **state)
{
    (void)state;
    unsigned seed = harness_seed();
    struct cluster_clock clock;
    cluster_clock_init(&clock, 100);
    uint64_t real_us = 5000 * 1000 + (uint64_t)(seed % 1000);
    uint64_t start_us = real_us;
    cluster_clock_start(&clock, (struct cluster_time){700}, at(real_us / 1000));
    uint64_t before_ms = 700;
    for (int i = 0; i < 100000; i++) {
        real_us += (uint64_t)(rand_r(&seed) % 3000);
        uint64_t limit_ms =
            rand_r(&seed) % 4 == 0 ? clock.time.ms + (uint64_t)(rand_r(&seed) % 3) : UINT64_MAX;
        uint64_t received = (uint64_t)(rand_r(&seed) % 2);
        cluster_clock_advance(&clock, at(real_us / 1000), limit_ms, received, 0);
        bool before_limit = clock.time.ms < limit_ms;
        real_us += (uint64_t)(rand_r(&seed) % 2000);
        cluster_clock_count_look(&clock, at(real_us / 1000), limit_ms);
        assert_true(!before_limit || clock.time.ms < limit_ms);
        assert_true(clock.time.ms >= before_ms);
        assert_true((clock.time.ms - 700) * 1000 <= real_us - start_us);
        before_ms = clock.time.ms;
    }
}

static void it_counts_all_the_time_of_a_node_that_keeps_turning(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_init(&clock, 100);
    cluster_clock_start(&clock, (struct cluster_time){0}, at(1000));
    for (uint64_t ms = 1001; ms <= 11001; ms += 50) {
        cluster_clock_advance(&clock, at(ms), UINT64_MAX, 0, 0);
    }
    assert_int_equal(clock.time.ms, 10000);
}

static void one_turn_counts_at_most_the_step(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_init(&clock, 100);
    cluster_clock_start(&clock, (struct cluster_time){0}, at(1000));
    cluster_clock_advance(&clock, at(61000), UINT64_MAX, 0, 0);
    assert_int_equal(clock.time.ms, 100);
    cluster_clock_advance(&clock, at(61010), UINT64_MAX, 0, 0);
    assert_int_equal(clock.time.ms, 110);
}

static void it_stands_before_a_limit_until_what_was_received_is_proposed(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_init(&clock, 100);
    cluster_clock_start(&clock, (struct cluster_time){0}, at(999));
    cluster_clock_advance(&clock, at(1090), 100, 7, 7);
    assert_int_equal(clock.time.ms, 90);
    cluster_clock_advance(&clock, at(1105), 100, 9, 7);
    assert_int_equal(clock.time.ms, 99);
    assert_true(cluster_clock_stands(&clock));
    cluster_clock_advance(&clock, at(1110), 100, 10, 8);
    assert_int_equal(clock.time.ms, 99);
    /* The two that were there when it got to the limit are out; those that came since do not hold it up. */
    cluster_clock_advance(&clock, at(1112), 100, 20, 9);
    assert_int_equal(clock.time.ms, 100); /* no further: one of those may renew what is due at 101 */
    assert_false(cluster_clock_stands(&clock));
    cluster_clock_advance(&clock, at(1120), 120, 20, 20);
    assert_int_equal(clock.time.ms, 108);
}

static void it_does_not_pass_a_limit_in_the_turn_after_a_stall(void **state)
{
    (void)state;
    struct cluster_clock clock;
    cluster_clock_init(&clock, 100);
    cluster_clock_start(&clock, (struct cluster_time){0}, at(999));
    cluster_clock_advance(&clock, at(60000), 50, 0, 0);
    assert_int_equal(clock.time.ms, 49);
    cluster_clock_advance(&clock, at(60001), 50, 0, 0);
    assert_int_equal(clock.time.ms, 50);
}

/* ---- through the core ---- */

static struct fsm_entry_reader entry_of(struct harness *h, unsigned i)
{
    struct fsm_entry_reader reader;
    struct proto_error error;
    assert_true(i < h->entries_count);
    assert_true(fsm_entry_open(&reader, h->entries[i].data, h->entries[i].size, &error));
    return reader;
}

/* Turn as a loop would, at core_deadline(), until `ms` have passed. @return the number of turns. */
static unsigned drive(struct harness *h, uint64_t ms)
{
    uint64_t end_ms = h->now.ms + ms;
    unsigned turns = 0;
    while (h->now.ms < end_ms) {
        struct local_time next = core_deadline(h->core);
        uint64_t to_ms = next.ms < end_ms ? next.ms : end_ms;
        harness_turn(h, to_ms > h->now.ms ? to_ms - h->now.ms : 0);
        harness_commit(h);
        turns++;
        assert_true(turns < 100000);
    }
    return turns;
}

static bool alive(struct harness *h, uint64_t session)
{
    static struct proto_rows rows;
    struct proto_request get = {.kind = PROTO_SESSION_GET, .id = 1, .stale = true};
    get.body.session_get.session_id = session;
    struct proto_reply reply = {.id = 0};
    fsm_query(h->core->fsm, fsm_time(h->core->fsm), &get, &rows, &reply);
    return reply.status == PROTO_STATUS_OK;
}

static void a_session_expires_at_its_deadline_and_its_connection_hears(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    uint64_t deadline_ms = fsm_time(h->core->fsm).ms + 1000;
    harness_turn(h, 0);
    while (h->entries_count == 0) {
        assert_true(h->now.ms < 1000 + 2000);
        h->now = core_deadline(h->core);
        harness_turn(h, 0);
    }
    struct fsm_entry_reader entry = entry_of(h, 0);
    assert_int_equal(entry.count, 0);
    assert_int_equal(entry.time.ms, deadline_ms);
    assert_true(h->now.ms <= 1000 + 1000 + 2);
    assert_true(alive(h, session));
    harness_commit(h);
    assert_false(alive(h, session));
    struct proto_event ended = harness_expect_event(h, c, PROTO_EVENT_SESSION_ENDED);
    assert_int_equal(ended.session_id, session);
    assert_int_equal(ended.reason, PROTO_END_EXPIRED);
    drive(h, 100);
    assert_int_equal(core_deadline(h->core).ms, UINT64_MAX); /* nothing is ahead */
}

static void waiting_for_a_deadline_takes_few_turns(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    unsigned turns = drive(h, 9900);
    assert_true(alive(h, session));
    assert_true(turns <= 9900 / 50 + 5);
    (void)drive(h, 150);
    assert_false(alive(h, session));
}

/* C4: the renewal arrives in the very turn in which the deadline passes. */
static void a_renewal_received_before_expiry_is_proposed_counts(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    (void)drive(h, 990);
    struct proto_request renew = harness_renew(1, session, 5);
    harness_send(h, c, &renew);
    harness_turn(h, 15); /* the loop was slow: the deadline lies behind */
    assert_int_equal(h->entries_count, 1);
    assert_int_equal(entry_of(h, 0).count, 1);
    assert_true(entry_of(h, 0).time.ms < 1000);
    harness_commit(h);
    (void)harness_expect(h, c, 5, PROTO_STATUS_OK);
    (void)drive(h, 900);
    assert_true(alive(h, session));
}

/* Two sessions that end shortly one after the other, and one that lasts. */
struct neighbours {
    uint64_t connection, first, second, other;
};

static struct neighbours lead_with_neighbours(struct harness *h)
{
    struct neighbours n = {0};
    harness_lead(h);
    n.connection = harness_connect(h);
    n.other = harness_session(h, n.connection, 3, 60000);
    n.first = harness_session(h, n.connection, 1, 1000);
    n.second = harness_session(h, n.connection, 2, 1020);
    return n;
}

/* C4: the clock has stood before one deadline, and passes it in a turn that comes late; the renewal of another session,
 * which is due shortly behind, has come meanwhile. */
static void a_renewal_before_the_next_deadline_counts_when_the_clock_passes_the_first(void **state)
{
    struct harness *h = *state;
    struct neighbours n = lead_with_neighbours(h);
    uint64_t due_ms = fsm_next_due(h->core->fsm).ms;
    while (h->core->clock.time.ms < due_ms - 3) {
        harness_turn(h, 1);
    }
    harness_propose_lock(h, n.connection, 3, n.other, 1, "k");
    struct proto_request acquire = harness_acquire(3, n.other, 2, "k2", 0);
    harness_send(h, n.connection, &acquire); /* unproposed when it gets there: it stands */
    harness_turn(h, 3);
    assert_int_equal(h->core->clock.time.ms, due_ms - 1);
    struct proto_request renew = harness_renew(2, n.second, 100);
    harness_send(h, n.connection, &renew);
    harness_turn(h, 60);
    harness_commit(h);
    harness_settle(h);
    assert_false(alive(h, n.first));
    assert_true(alive(h, n.second));
}

/* Fills the pipeline: `count` locks, one after another and each with a turn, by requests 1, 2, and so on. */
static void propose_locks(struct harness *h, uint64_t connection, uint8_t who, uint64_t session, uint64_t count)
{
    for (uint64_t id = 1; id <= count; id++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", (int)id);
        harness_propose_lock(h, connection, who, session, id, key);
    }
}

/* The disk stalls, so that the renewals can not even be proposed in time. */
static void a_renewal_that_waits_for_a_slow_disk_counts(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 300);
    uint64_t other = harness_session(h, c, 2, 60000);
    (void)drive(h, 200);
    propose_locks(h, c, 2, other, 8);
    assert_int_equal(h->entries_count, 4);
    struct proto_request renew = harness_renew(1, session, 5);
    harness_send(h, c, &renew);
    for (int i = 0; i < 200; i++) {
        harness_turn(h, 10); /* two seconds without a commit */
    }
    assert_int_equal(h->entries_count, 4);
    harness_commit(h);
    harness_settle(h);
    assert_true(alive(h, session));
}

/* The same, with a deadline that is not known yet, because the entry which set it is not applied. */
static void a_renewal_before_a_deadline_that_is_under_way_counts(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 300);
    uint64_t other = harness_session(h, c, 2, 60000);
    (void)drive(h, 200);
    struct proto_request renew = harness_renew(1, session, 100);
    harness_send(h, c, &renew);
    harness_turn(h, 20); /* until 520 now, once it is committed */
    for (int i = 0; i < 27; i++) {
        harness_turn(h, 10);
    }
    propose_locks(h, c, 2, other, 8);
    assert_int_equal(h->entries_count, 4);
    struct proto_request again = harness_renew(1, session, 101);
    harness_send(h, c, &again);
    for (int i = 0; i < 200; i++) {
        harness_turn(h, 10);
    }
    harness_commit(h);
    harness_settle(h);
    assert_true(alive(h, session));
    (void)harness_expect(h, c, 100, PROTO_STATUS_OK);
}

/* The expiry of another session is under way and takes long; behind it lies a deadline that the clock gets to meanwhile. */
static void a_renewal_behind_an_expiry_that_is_under_way_counts(void **state)
{
    struct harness *h = *state;
    struct neighbours n = lead_with_neighbours(h);
    uint64_t proposed = harness_counts(h).entries_proposed;
    while (harness_counts(h).entries_proposed == proposed) {
        harness_turn(h, 1); /* until the expiry of the first is proposed */
    }
    propose_locks(h, n.connection, 3, n.other, 3);
    struct proto_request renew = harness_renew(2, n.second, 100);
    harness_send(h, n.connection, &renew);
    for (int i = 0; i < 50; i++) {
        harness_turn(h, 1);
    }
    harness_commit(h);
    harness_settle(h);
    assert_false(alive(h, n.first));
    assert_true(alive(h, n.second));
}

/* The process was stopped for a minute; what its clients sent meanwhile is read one turn later. */
static void a_stopped_process_expires_nobody_who_renewed(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    (void)drive(h, 950);
    harness_turn(h, 60000);
    assert_int_equal(h->entries_count, 0);
    struct proto_request renew = harness_renew(1, session, 5);
    harness_send(h, c, &renew);
    harness_turn(h, 1);
    harness_commit(h);
    (void)harness_expect(h, c, 5, PROTO_STATUS_OK);
    assert_true(alive(h, session));
}

static void a_busy_node_still_expires_the_dead(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t dead = harness_session(h, c, 1, 500);
    uint64_t busy = harness_session(h, c, 2, 60000);
    uint64_t begin_ms = h->now.ms;
    for (uint64_t id = 1; alive(h, dead); id++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", (int)id);
        struct proto_request acquire = harness_acquire(2, busy, id, key, 0);
        acquire.ack_floor = id - 1;
        harness_send(h, c, &acquire);
        harness_turn(h, 1);
        harness_commit_some(h, 1);
        assert_true(h->now.ms - begin_ms < 600);
    }
    assert_true(h->now.ms - begin_ms >= 500);
}

static void a_long_commit_keeps_one_expiry_under_way(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    (void)harness_session(h, c, 1, 500);
    (void)harness_session(h, c, 2, 502);
    for (int i = 0; i < 100; i++) {
        harness_turn(h, 10);
    }
    assert_int_equal(h->entries_count, 1);
    assert_true(core_deadline(h->core).ms > h->now.ms);
}

static void a_request_is_not_due_but_a_lease_is(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    uint64_t deadline_ms = fsm_time(h->core->fsm).ms + 1000;
    harness_turn(h, 0);
    while (h->core->clock.time.ms < deadline_ms - 10) {
        harness_turn(h, 1);
    }
    struct proto_request acquire = harness_acquire(1, session, 1, "key", 0);
    harness_send(h, c, &acquire);
    assert_int_equal(core_deadline(h->core).ms, h->now.ms); /* work */
    assert_true(core_due(h->core).ms > h->now.ms);
    assert_true(core_due(h->core).ms <= h->now.ms + 10);
    h->now.ms += 10;
    assert_true(core_due(h->core).ms <= h->now.ms);
}

/* Its entry is under way: until that is applied there is nothing to do, and the loop sleeps. */
static void an_expiry_that_is_under_way_is_not_due(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    (void)harness_session(h, c, 1, 1000);
    uint64_t proposed = harness_counts(h).entries_proposed;
    while (harness_counts(h).entries_proposed == proposed) {
        harness_turn(h, 1);
    }
    assert_true(core_due(h->core).ms > h->now.ms);
    assert_true(core_deadline(h->core).ms > h->now.ms);
    harness_turn(h, 5);
    assert_true(core_due(h->core).ms > h->now.ms);
    assert_int_equal(harness_counts(h).entries_proposed, proposed + 1);
}

static void what_an_old_entry_may_set_is_due(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    struct proto_request acquire = harness_acquire(1, session, 1, "key", 0);
    harness_send(h, c, &acquire);
    harness_turn(h, 0); /* it is under way, with whatever deadline, and stays so */
    for (unsigned i = 0; i < PROTO_TTL_MS_MIN + 10; i++) {
        harness_turn(h, 1);
    }
    assert_true(core_due(h->core).ms <= h->now.ms + 1);
}

static void what_was_applied_since_the_last_turn_is_due(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    struct proto_request acquire = harness_acquire(1, session, 1, "key", 0);
    acquire.body.lock_acquire.ttl_ms = PROTO_TTL_MS_MIN;
    harness_send(h, c, &acquire);
    harness_turn(h, 0);
    for (unsigned i = 0; i < PROTO_TTL_MS_MIN - 5; i++) {
        harness_turn(h, 1);
    }
    harness_commit(h); /* five milliseconds are left of it */
    assert_true(core_due(h->core).ms > h->now.ms);
    assert_true(core_due(h->core).ms <= h->now.ms + 6);
}

static void thousands_that_are_due_at_once_go_in_portions(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    enum { SESSIONS = 2500 };
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct proto_request open = harness_open(0, i + 1, 1000);
        memcpy(open.secret, &i, sizeof(i));
        open.secret[15] = 1;
        harness_send(h, c, &open);
        if (i % 500 == 0) {
            harness_turn(h, 0);
            harness_commit(h);
        }
    }
    harness_settle(h);
    struct fsm_counts counts;
    fsm_counts(h->core->fsm, &counts);
    assert_int_equal(counts.sessions, SESSIONS);
    uint64_t entries = harness_counts(h).entries_proposed;
    (void)drive(h, 1100);
    fsm_counts(h->core->fsm, &counts);
    assert_int_equal(counts.sessions, 0);
    entries = harness_counts(h).entries_proposed - entries;
    assert_true(entries >= 3 && entries <= 20);
}

/* A renewal does not go by itself at once, but rides along. */
static void send_renewal_and_company(struct harness *h, uint64_t connection, uint64_t session)
{
    struct proto_request renew = harness_renew(1, session, 5);
    struct proto_request acquire = harness_acquire(1, session, 6, "k", 0);
    harness_send(h, connection, &renew);
    harness_send(h, connection, &acquire);
}

/* K4. The loop takes the time, is held up for 80 ms, and reads a renewal that was sent at the end of that: its client counts
 * from there, and so must the cluster. */
static void a_renewal_counts_from_its_reading_not_from_the_time_of_the_turn(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    (void)drive(h, 400);
    send_renewal_and_company(h, c, session);
    core_looked(h->core, at(h->now.ms + 80));
    harness_turn(h, 0);
    uint64_t proposed_ms = entry_of(h, 0).time.ms;
    harness_turn(h, 80);
    assert_int_equal(h->core->clock.time.ms, proposed_ms);
    harness_commit(h);
    (void)drive(h, 990);
    assert_true(alive(h, session));
    (void)drive(h, 20);
    assert_false(alive(h, session));
}

/* The look reaches no deadline, even if there was one in it. */
static void a_look_reaches_no_deadline(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    (void)drive(h, 950);
    send_renewal_and_company(h, c, session);
    core_looked(h->core, at(h->now.ms + 80));
    harness_turn(h, 0);
    assert_int_equal(entry_of(h, 0).count, 2);
    harness_turn(h, 80);
    harness_commit(h);
    (void)harness_expect(h, c, 5, PROTO_STATUS_OK);
    assert_true(alive(h, session));
}

static void time_without_a_leader_is_not_counted(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    (void)drive(h, 400);
    uint64_t other = harness_session(h, c, 2, 5000); /* an entry that tells the time */
    (void)other;
    harness_follow(h, 2);
    h->now.ms += 60000;
    harness_turn(h, 0);
    harness_lead(h);
    (void)drive(h, 590);
    assert_true(alive(h, session));
    (void)drive(h, 20);
    assert_false(alive(h, session));
}

/* It refuses renewals, and nobody takes the lead: so it ends no lease that was to end later. */
static void a_leader_that_leaves_counts_no_time(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 1000);
    h->refuse_transfer = true;
    core_shutdown(h->core, h->now);
    (void)drive(h, 600);
    struct proto_request renew = harness_renew(1, session, 7);
    harness_send(h, c, &renew);
    (void)harness_expect(h, c, 7, PROTO_STATUS_NOT_LEADER);
    (void)drive(h, 3000);
    assert_true(core_drained(h->core));
    assert_true(alive(h, session));
    harness_follow(h, 2);
    harness_lead(h); /* still leaving */
    (void)drive(h, 2000);
    assert_true(alive(h, session));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_never_outruns_real_time_nor_goes_back),
        cmocka_unit_test(it_counts_all_the_time_of_a_node_that_keeps_turning),
        cmocka_unit_test(one_turn_counts_at_most_the_step),
        cmocka_unit_test(it_stands_before_a_limit_until_what_was_received_is_proposed),
        cmocka_unit_test(it_does_not_pass_a_limit_in_the_turn_after_a_stall),
        HARNESS_TEST(a_session_expires_at_its_deadline_and_its_connection_hears),
        HARNESS_TEST(waiting_for_a_deadline_takes_few_turns),
        HARNESS_TEST(a_renewal_received_before_expiry_is_proposed_counts),
        HARNESS_TEST(a_renewal_before_the_next_deadline_counts_when_the_clock_passes_the_first),
        HARNESS_TEST(a_renewal_that_waits_for_a_slow_disk_counts),
        HARNESS_TEST(a_renewal_before_a_deadline_that_is_under_way_counts),
        HARNESS_TEST(a_renewal_behind_an_expiry_that_is_under_way_counts),
        HARNESS_TEST(an_expiry_that_is_under_way_is_not_due),
        HARNESS_TEST(a_stopped_process_expires_nobody_who_renewed),
        HARNESS_TEST(a_busy_node_still_expires_the_dead),
        HARNESS_TEST(a_long_commit_keeps_one_expiry_under_way),
        HARNESS_TEST(a_request_is_not_due_but_a_lease_is),
        HARNESS_TEST(what_an_old_entry_may_set_is_due),
        HARNESS_TEST(what_was_applied_since_the_last_turn_is_due),
        HARNESS_TEST(thousands_that_are_due_at_once_go_in_portions),
        HARNESS_TEST(a_renewal_counts_from_its_reading_not_from_the_time_of_the_turn),
        HARNESS_TEST(a_look_reaches_no_deadline),
        HARNESS_TEST(time_without_a_leader_is_not_counted),
        HARNESS_TEST(a_leader_that_leaves_counts_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
