/* Finding one grant among many of one lock and one session: crowd.c (B1 .. B4). */
#include "fixture.h"

#include "raft_fsm/state.h"

static uint64_t seed = 1;

enum { MANY = 5000, TIMES = 500, EACH_MAX = FSM_CROWD + 1 };

/* `count` grants of the client, a thousand an entry. @return the token of the first; the others follow it. */
static uint64_t hold(struct fixture *f, struct client *client, const struct fsm_command *like, unsigned count)
{
    uint64_t first = counts(f).next_token;
    for (unsigned done = 0; done < count;) {
        client->ack_floor = client->next_request_id - 1;
        entry_begin(f);
        for (unsigned i = 0; i < 1000 && done < count; i++, done++) {
            struct fsm_command command = command_of(client, PROTO_LOCK_ACQUIRE);
            command.body = like->body;
            entry_add(f, &command);
        }
        entry_apply(f);
    }
    assert_int_equal(counts(f).grants, count);
    return first;
}

/* Apply the entry; each of its commands is answered with `status`. @return how many grants were looked at. */
static uint64_t searched_by(struct fixture *f, enum proto_status status)
{
    uint64_t before = f->fsm->searched;
    entry_apply(f);
    for (size_t i = 0; i < f->effects.count; i++) {
        if (effect(f, i)->kind == FSM_REPLY) {
            assert_int_equal(effect(f, i)->reply.status, status);
        }
    }
    return f->fsm->searched - before;
}

static void one_of_many_is_found_without_going_through_the_others(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct fsm_command shared = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
    uint64_t first = hold(f, &a, &shared, MANY);
    a.ack_floor = a.next_request_id - 1;
    entry_begin(f);
    for (unsigned i = 0; i < TIMES; i++) {
        struct fsm_command command = command_of(&a, PROTO_LOCK_EXTEND);
        command.body.lock_extend.key = bytes_of("k");
        command.body.lock_extend.token = first + MANY / 2 + i;
        command.body.lock_extend.ttl_ms = 5000;
        entry_add(f, &command);
    }
    assert_in_range(searched_by(f, PROTO_STATUS_OK), 1, TIMES * EACH_MAX);
    a.ack_floor = a.next_request_id - 1;
    entry_begin(f);
    for (unsigned i = 0; i < TIMES; i++) {
        struct fsm_command command = release_command(&a, "k", first + MANY / 2 + i);
        entry_add(f, &command);
    }
    assert_in_range(searched_by(f, PROTO_STATUS_OK), 1, TIMES * EACH_MAX);
    assert_int_equal(counts(f).grants, MANY - TIMES);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

static void add_reentrant(struct fixture *f, struct client *client, const struct fsm_command *like)
{
    client->ack_floor = client->next_request_id - 1;
    entry_begin(f);
    for (unsigned i = 0; i < TIMES; i++) {
        struct fsm_command command = command_of(client, PROTO_LOCK_ACQUIRE);
        command.body = like->body;
        command.body.lock_acquire.reentrant = true;
        entry_add(f, &command);
    }
}

/* L3: no grant has as many permits, and it takes no look at each to know. */
static void what_can_not_be_joined_is_refused_without_going_through_all(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct fsm_command one = permits_command(&a, "k", 1, 60000, 0);
    uint64_t first = hold(f, &a, &one, MANY);
    struct fsm_command two = permits_command(&a, "k", 2, 60000, 0);
    add_reentrant(f, &a, &two);
    assert_in_range(searched_by(f, PROTO_STATUS_MODE_CONFLICT), 1, TIMES * EACH_MAX);
    add_reentrant(f, &a, &one);
    assert_in_range(searched_by(f, PROTO_STATUS_OK), 1, TIMES * EACH_MAX);
    assert_int_equal(effect(f, 0)->reply.body.grant.token, first); /* the first of those that fit */
    fsm_check_invariants(f->fsm);
}

/* B3, X3: the own leases have passed, and few of them have had their turn. */
static void the_dead_are_passed_once(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct fsm_command like = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
    like.body.lock_acquire.ttl_ms = 500;
    uint64_t first = hold(f, &a, &like, MANY);
    struct fsm_command extend = command_of(&a, PROTO_LOCK_EXTEND);
    extend.body.lock_extend.key = bytes_of("k");
    extend.body.lock_extend.token = first + MANY - 1;
    assert_int_equal(run(f, &extend)->status, PROTO_STATUS_OK);
    f->time_ms = 500;
    add_reentrant(f, &a, &like);
    assert_in_range(searched_by(f, PROTO_STATUS_OK), 1, MANY + TIMES * EACH_MAX);
    assert_int_equal(counts(f).grants, MANY - FSM_EXPIRIES_PER_ENTRY);
    assert_int_equal(effect(f, FSM_EXPIRIES_PER_ENTRY)->reply.body.grant.token, first + MANY - 1);
    fsm_check_invariants(f->fsm);
    while (counts(f).grants > 1) {
        at(f, 500);
    }
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

/* ---- B4: whoever has seats and whoever has none finds the same ---- */

enum { CLIENTS = 2, KEYS = 2, ENTRIES = 1500 };

static void add_random(struct fixture *f, struct random *random, struct client *client, bool grows)
{
    const char *key = random_below(random, KEYS) == 0 ? "permits" : "shared";
    struct fsm_command command = {0};
    if (random_below(random, 10) < (grows ? 7 : 3)) {
        command = acquire_command(client, key, PROTO_MODE_SHARED, 0);
        if (key[0] == 'p') {
            uint32_t permits = 1 + (uint32_t)random_below(random, 3);
            command.body.lock_acquire.mode = PROTO_MODE_PERMITS;
            command.body.lock_acquire.permits = permits;
            command.body.lock_acquire.limit = 1000;
        }
        command.body.lock_acquire.reentrant = random_below(random, 4) == 0;
        command.body.lock_acquire.ttl_ms = random_below(random, 4) == 0 ? 100 + random_below(random, 400) : 0;
    } else {
        uint64_t token = 1 + random_below(random, counts(f).next_token);
        struct proto_reply reply = query_lock(f, key);
        if (reply.body.lock.holders_shown > 0) {
            token = reply.body.lock.holders[random_below(random, reply.body.lock.holders_shown)].token;
        }
        command = release_command(client, key, token);
        command.body.lock_release.all = random_below(random, 2) == 0;
    }
    entry_add(f, &command);
}

static void crowds_come_and_go_and_nobody_finds_another_grant(void **state)
{
    struct fixture *f = *state;
    struct random random = {.state = seed};
    struct client clients[CLIENTS];
    uint64_t holders_max = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = open_client(f, (char)('a' + i), 1000000, 0);
    }
    for (unsigned step = 0; step < ENTRIES; step++) {
        struct client *client = &clients[random_below(&random, CLIENTS)];
        client->ack_floor = client->next_request_id - 1;
        f->time_ms += random_below(&random, 20);
        entry_begin(f);
        for (uint64_t i = random_below(&random, 4); i > 0; i--) {
            add_random(f, &random, client, step / 100 % 2 == 0);
        }
        entry_apply(f); /* compares the two */
        uint64_t holders = query_lock(f, "shared").body.lock.holders_count;
        holders_max = holders_max > holders ? holders_max : holders;
        if (random_below(&random, 30) == 0) {
            follow_from_a_snapshot(f, 4096);
        }
    }
    assert_true(holders_max > 2 * FSM_CROWD);
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 8);
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_of_many_is_found_without_going_through_the_others),
        TEST(what_can_not_be_joined_is_refused_without_going_through_all),
        TEST(the_dead_are_passed_once),
        TEST(crowds_come_and_go_and_nobody_finds_another_grant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
