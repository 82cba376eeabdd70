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

/* L8: a token finds its grant among all that have seats, whoever has it, on whatever key, alive or not. */
static void a_foreign_or_dead_token_in_a_crowd_changes_nothing(void **state)
{
    struct fixture *f = *state;
    f->unchecked = true;
    struct client a = open_client(f, 'a', 1000000, 0);
    struct client b = open_client(f, 'b', 1000000, 0);
    struct fsm_command like = acquire_command(&a, "k", PROTO_MODE_SHARED, 0);
    like.body.lock_acquire.ttl_ms = 500;
    uint64_t first = hold(f, &a, &like, 2 * FSM_EXPIRIES_PER_ENTRY);
    uint64_t of_b = 0;
    uint64_t other = 0;
    for (unsigned i = 0; i < 2 * FSM_CROWD; i++) {
        of_b = acquire(f, &b, "k", PROTO_MODE_SHARED);
        other = acquire(f, &a, "other", PROTO_MODE_SHARED);
    }
    assert_int_equal(release(f, &a, "k", of_b), PROTO_STATUS_NOT_HELD);
    assert_int_equal(release(f, &b, "k", first), PROTO_STATUS_NOT_HELD);
    assert_int_equal(release(f, &a, "k", other), PROTO_STATUS_NOT_HELD);
    assert_int_equal(release(f, &a, "other", first), PROTO_STATUS_NOT_HELD);
    f->time_ms = 500;
    assert_int_equal(release(f, &a, "k", first + 2 * FSM_EXPIRIES_PER_ENTRY - 1), PROTO_STATUS_NOT_HELD);
    assert_int_equal(counts(f).grants, FSM_EXPIRIES_PER_ENTRY + 4 * FSM_CROWD);
    assert_int_equal(release(f, &b, "k", of_b), PROTO_STATUS_OK);
    fsm_check_invariants(f->fsm);
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

/* ---- crowds that end in every way ---- */

enum { ENDING_CLIENTS = 3, LIMIT = 60 };
static const char *const crowd_keys[] = {"shared", "permits"};

static struct fsm_command random_acquire(struct random *random, struct client *client, const char *key)
{
    static const uint64_t waits[] = {0, 30, PROTO_WAIT_FOREVER};
    uint64_t wait_ms = waits[random_below(random, 3)];
    bool blocks = random_below(random, 60) == 0; /* behind it a crowd gathers, and is granted at once */
    struct fsm_command command =
        blocks          ? acquire_command(client, key, PROTO_MODE_EXCLUSIVE, 30)
        : key[0] == 'p' ? permits_command(client, key, 1 + (uint32_t)random_below(random, 3), LIMIT, wait_ms)
                        : acquire_command(client, key, PROTO_MODE_SHARED, wait_ms);
    command.body.lock_acquire.reentrant = random_below(random, 4) == 0;
    command.body.lock_acquire.ttl_ms = random_below(random, 4) == 0 ? 100 + random_below(random, 400) : 0;
    return command;
}

/* A grant of `key`, of any client. */
static uint64_t random_token(const struct fixture *f, struct random *random, const char *key)
{
    const struct lock *lock = fsm_lock_find(f->fsm, bytes_of(key));
    const struct grant *grant = lock == NULL ? NULL : lock->grants;
    for (uint64_t i = grant == NULL ? 0 : random_below(random, lock->holders_count); i > 0; i--) {
        grant = grant->lock_next;
    }
    return grant == NULL ? 1 : grant->token;
}

static struct fsm_command random_end(const struct fixture *f, struct random *random, struct client *client,
                                     const char *key)
{
    struct fsm_command command = {.kind = PROTO_SESSION_KILL};
    switch (random_below(random, 40)) {
    case 0:
        return command_of(client, PROTO_SESSION_CLOSE);
    case 1:
        command.body.session_kill.session_id = client->session_id;
        command.body.session_kill.reason = bytes_of("misbehaves");
        return command;
    case 2:
    case 3:
        command.kind = PROTO_FORCE_RELEASE;
        command.body.force_release.key = bytes_of(key);
        command.body.force_release.token = random_below(random, 8) == 0 ? 0 : random_token(f, random, key);
        command.body.force_release.reason = bytes_of("maintenance");
        return command;
    case 4:
        command = command_of(client, PROTO_LOCK_CANCEL);
        command.body.lock_cancel.target_id = command.request_id - 1 - random_below(random, 5);
        return command;
    default:
        return release_command(client, key, random_token(f, random, key));
    }
}

static void add_to_story(struct fixture *f, struct random *random, struct client *client, bool grows)
{
    const char *key = crowd_keys[random_below(random, 2)];
    struct fsm_command command = random_below(random, 10) < (grows ? 8 : 4)
                                     ? random_acquire(random, client, key)
                                     : random_end(f, random, client, key);
    entry_add(f, &command);
}

/* Another session for whoever has none any more; a renewal now and then for the others. */
static void keep_alive(struct fixture *f, struct random *random, struct client *client)
{
    const struct session *session = fsm_session_find(f->fsm, client->session_id);
    if (session == NULL || session->ended || session->deadline_ms <= f->time_ms) {
        *client = open_client(f, (char)client->digest[0], 500, 0);
    } else if (random_below(random, 20) == 0) {
        struct fsm_command command = command_of(client, PROTO_SESSION_RENEW);
        assert_int_equal(run(f, &command)->status, PROTO_STATUS_OK);
    }
    client->ack_floor = client->next_request_id - 1;
}

/* The first that a search may find, by going through all. */
static const struct grant *first_by_list(const struct fsm *fsm, const struct lock *lock,
                                         const struct session *session, uint16_t permits)
{
    const struct grant *grant = lock->grants;
    for (uint32_t i = 0; i < lock->holders_count; i++, grant = grant->lock_next) {
        if (grant->session == session && grant->permits == permits && fsm_grant_alive(fsm, grant)) {
            return grant;
        }
    }
    return NULL;
}

/* @return how many of the locks are crowded. */
static unsigned compare_with_lists(struct fsm *fsm, const struct client *clients)
{
    unsigned crowded = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct lock *lock = fsm_lock_find(fsm, bytes_of(crowd_keys[i]));
        if (lock == NULL || lock->holders_count <= FSM_CROWD) {
            continue;
        }
        crowded++;
        for (unsigned j = 0; j < ENDING_CLIENTS; j++) {
            const struct session *session = fsm_session_find(fsm, clients[j].session_id);
            for (uint16_t permits = 0; session != NULL && permits <= 4; permits++) {
                const struct grant *first = first_by_list(fsm, lock, session, permits);
                assert_ptr_equal(fsm_crowd_first(fsm, lock, session, &permits), first);
            }
        }
    }
    return crowded;
}

/* The searches here take seats from the dead of the one state machine and not of the other: what they do after is the
 * same all the same (B4). */
static void crowds_end_in_every_way_and_each_first_is_found(void **state)
{
    struct fixture *f = *state;
    struct random random = {.state = seed};
    struct client clients[ENDING_CLIENTS];
    unsigned crowded = 0;
    for (unsigned i = 0; i < ENDING_CLIENTS; i++) {
        clients[i] = open_client(f, (char)('a' + i), 500, 0);
    }
    for (unsigned step = 0; step < ENTRIES; step++) {
        struct client *client = &clients[random_below(&random, ENDING_CLIENTS)];
        f->time_ms += random_below(&random, 12);
        keep_alive(f, &random, client);
        entry_begin(f);
        for (uint64_t i = random_below(&random, 6); i > 0; i--) {
            add_to_story(f, &random, client, step / 100 % 2 == 0);
        }
        entry_apply(f); /* compares the two */
        crowded += compare_with_lists(f->fsm, clients);
        if (random_below(&random, 20) == 0) {
            follow_from_a_snapshot(f, 4096);
        }
    }
    assert_true(crowded > ENTRIES / 10);
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 8);
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_of_many_is_found_without_going_through_the_others),
        TEST(what_can_not_be_joined_is_refused_without_going_through_all),
        TEST(the_dead_are_passed_once),
        TEST(a_foreign_or_dead_token_in_a_crowd_changes_nothing),
        TEST(crowds_come_and_go_and_nobody_finds_another_grant),
        TEST(crowds_end_in_every_way_and_each_first_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
