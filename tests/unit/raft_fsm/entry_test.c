/* Entries: what is written is read again; any other bytes are refused without a change (apply.c, R1). */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t seed = 1;

static void an_entry_gives_back_its_commands(void **state)
{
    struct fixture *f = *state;
    struct client a = {.session_id = 5, .next_request_id = 9, .ack_floor = 3};
    memset(a.digest, 'x', sizeof a.digest);
    f->time_ms = 123456789;
    entry_begin(f);
    struct fsm_command open = open_command(&a, 1000, 70);
    entry_add(f, &open);
    struct fsm_command permits = permits_command(&a, "some/key", 2, 3, PROTO_WAIT_FOREVER);
    permits.body.lock_acquire.has_value = true;
    permits.body.lock_acquire.value = bytes_of("v");
    entry_add(f, &permits);
    struct fsm_command close = command_of(&a, PROTO_SESSION_CLOSE);
    entry_add(f, &close);
    struct fsm_command raise = {.kind = PROTO_EPOCH_RAISE};
    entry_add(f, &raise);
    fsm_entry_end(&f->writer);

    struct fsm_entry_reader reader;
    struct proto_error error;
    struct fsm_command found;
    assert_true(fsm_entry_open(&reader, f->entry.data, f->entry.size, &error));
    assert_int_equal(reader.time.ms, 123456789);
    assert_int_equal(reader.count, 4);
    assert_true(fsm_entry_next(&reader, &found, &error));
    assert_int_equal(found.kind, PROTO_SESSION_OPEN);
    assert_memory_equal(found.digest, a.digest, sizeof a.digest);
    assert_int_equal(found.body.session_open.lock_delay_ms, 70);
    assert_true(fsm_entry_next(&reader, &found, &error));
    assert_int_equal(found.request_id, 9);
    assert_int_equal(found.session_id, 5);
    assert_int_equal(found.ack_floor, 3);
    assert_int_equal(found.proof, UINT64_C(0x7878787878787878));
    assert_memory_equal(found.body.lock_acquire.key.data, "some/key", 8);
    assert_int_equal(found.body.lock_acquire.wait_ms, PROTO_WAIT_FOREVER);
    assert_int_equal(found.body.lock_acquire.limit, 3);
    assert_int_equal(found.body.lock_acquire.value.size, 1);
    assert_true(fsm_entry_next(&reader, &found, &error));
    assert_int_equal(found.kind, PROTO_SESSION_CLOSE);
    assert_true(fsm_entry_next(&reader, &found, &error));
    assert_int_equal(found.kind, PROTO_EPOCH_RAISE);
    assert_false(fsm_entry_next(&reader, &found, &error));
    assert_int_equal(error.status, PROTO_STATUS_OK);
}

static void a_command_that_does_not_fit_leaves_the_entry_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct client a = {.session_id = 1, .next_request_id = 1};
    static uint8_t value[PROTO_VALUE_BYTES_MAX];
    entry_begin(f);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = (struct proto_bytes){.data = value, .size = sizeof value};
    uint32_t added = 0;
    while (fsm_entry_add(&f->writer, &command)) {
        added++;
    }
    assert_in_range(added, 50, 64);
    assert_true(f->entry.size <= FSM_ENTRY_BYTES_MAX);
    struct fsm_command small = command_of(&a, PROTO_SESSION_RENEW);
    entry_add(f, &small); /* there is room for a small one */
    entry_apply(f);
    assert_int_equal(f->effects.count, added + 1);
    entry_begin(f);
    for (unsigned i = 0; i < FSM_ENTRY_COMMANDS_MAX; i++) {
        entry_add(f, &small);
    }
    assert_false(fsm_entry_add(&f->writer, &small));
    entry_apply(f);
    assert_int_equal(f->effects.count, FSM_ENTRY_COMMANDS_MAX);
}

static void refused(struct fixture *f, const void *data, size_t size)
{
    struct proto_error error = {.status = PROTO_STATUS_OK};
    uint64_t digest = fsm_digest(f->fsm);
    assert_int_equal(fsm_apply(f->fsm, data, size, &f->effects, &error), FSM_UNKNOWN_ENTRY);
    assert_int_not_equal(error.status, PROTO_STATUS_OK);
    assert_true(strlen(error.detail) > 0);
    assert_int_equal(f->effects.count, 0);
    assert_int_equal(fsm_digest(f->fsm), digest);
}

static void what_this_version_does_not_know_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    refused(f, NULL, 0);
    f->time_ms = 700;
    entry_begin(f);
    struct fsm_command command = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 0);
    entry_add(f, &command);
    fsm_entry_end(&f->writer);
    uint8_t entry[512];
    size_t size = f->entry.size;
    assert_true(size < sizeof entry);
    memcpy(entry, f->entry.data, size);
    for (size_t cut = 0; cut < size; cut++) {
        refused(f, entry, cut);
    }
    entry[size] = 0;
    refused(f, entry, size + 1); /* left over */
    entry[5]++;                  /* the version */
    refused(f, entry, size);
    entry[5]--;
    assert_int_equal(fsm_apply(f->fsm, entry, size, &f->effects, NULL), FSM_APPLIED);
    assert_int_equal(fsm_apply(f->follower, entry, size, NULL, NULL), FSM_APPLIED);
}

static void a_query_is_no_command(void **state)
{
    struct fixture *f = *state;
    /* [version, 0, 1, [20 (lock.get), 0, 0, 0, 0, ["k"]]] */
    static const uint8_t entry[] = {0xdd, 0,    0,  0, 4, 1, 0, 0xce, 0,    0,  0,
                                    1,    0x96, 20, 0, 0, 0, 0, 0x91, 0xa1, 'k'};
    refused(f, entry, sizeof entry);
}

/* Who skipped a field would do another thing than a node that knows it. */
static void a_field_of_a_later_version_is_not_skipped(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 1000, 0);
    /* [version, 0, 1, [2 (session.renew), 1, session, proof, 0, [0, nil]]] */
    uint8_t entry[] = {0xdd, 0, 0, 0, 4, 1, 0, 0xce, 0, 0, 0,    1, 0x96, 2, 1, (uint8_t)a.session_id,
                       0xcf, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0x92, 0, 0xc0};
    memset(entry + 17, 'a', 8);
    refused(f, entry, sizeof entry);
    entry[sizeof entry - 3] = 0x91;
    assert_int_equal(fsm_apply(f->fsm, entry, sizeof entry - 1, &f->effects, NULL), FSM_APPLIED);
    assert_int_equal(effect(f, 0)->reply.status, PROTO_STATUS_OK);
}

/* Totality: whatever the bytes are, they are applied or refused, and the invariants hold. */
static void any_bytes_are_applied_or_refused(void **state)
{
    struct fixture *f = *state;
    struct random random = {.state = seed};
    struct client a = open_client(f, 'a', 1000, 0);
    struct client b = open_client(f, 'b', 1000, 0);
    for (unsigned round = 0; round < 3000; round++) {
        entry_begin(f);
        struct fsm_command open = open_command(&a, 1000, 0);
        entry_add(f, &open);
        struct fsm_command queued = acquire_command(&a, "k", PROTO_MODE_EXCLUSIVE, 100);
        entry_add(f, &queued);
        struct fsm_command permits = permits_command(&b, "p", 1, 2, 100);
        entry_add(f, &permits);
        fsm_entry_end(&f->writer);
        for (uint64_t i = 1 + random_below(&random, 4); i > 0; i--) {
            f->entry.data[random_below(&random, f->entry.size)] = (uint8_t)random_next(&random);
        }
        size_t size =
            f->entry.size - (random_below(&random, 4) == 0 ? random_below(&random, f->entry.size) : 0);
        uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a read past the end is seen */
        memcpy(exact, f->entry.data, size);
        enum fsm_result result = fsm_apply(f->fsm, exact, size, &f->effects, NULL);
        assert_int_equal(fsm_apply(f->follower, exact, size, NULL, NULL), result);
        free(exact);
        fsm_check_invariants(f->fsm);
    }
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 7);
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_entry_gives_back_its_commands),
        TEST(a_command_that_does_not_fit_leaves_the_entry_as_it_was),
        TEST(what_this_version_does_not_know_changes_nothing),
        TEST(a_query_is_no_command),
        TEST(a_field_of_a_later_version_is_not_skipped),
        TEST(any_bytes_are_applied_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
