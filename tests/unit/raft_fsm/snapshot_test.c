/* Snapshots: an image of one moment whatever is applied meanwhile (snapshot.c, N1 .. N5), and a restore that trusts no
 * byte (restore.c, V1 .. V4). */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* A state with something of everything. */
static void fill(struct fixture *f)
{
    struct client a = open_client(f, 'a', 500, 5000);
    struct client b = open_client(f, 'b', 50000, 0);
    struct client c = open_client(f, 'c', 50000, 0);
    acquire(f, &a, "delayed", PROTO_MODE_EXCLUSIVE);
    enqueue(f, &b, "delayed", PROTO_MODE_SHARED, PROTO_WAIT_FOREVER);
    at(f, 500);
    acquire(f, &b, "shared", PROTO_MODE_SHARED);
    acquire(f, &c, "shared", PROTO_MODE_SHARED);
    enqueue(f, &b, "shared", PROTO_MODE_EXCLUSIVE, 7000);
    struct fsm_command command = permits_command(&b, "permits", 2, 5, 0);
    run(f, &command);
    command = permits_command(&c, "permits", 4, 5, 9000);
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = bytes_of("when granted");
    command.body.lock_acquire.ttl_ms = 700;
    entry_begin(f);
    entry_add(f, &command);
    entry_apply(f);
    command = acquire_command(&c, "own", PROTO_MODE_EXCLUSIVE, 0);
    command.body.lock_acquire.ttl_ms = 3000;
    command.body.lock_acquire.has_value = true;
    command.body.lock_acquire.value = bytes_of("value");
    run(f, &command);
    command = acquire_command(&b, "own", PROTO_MODE_EXCLUSIVE, 0);
    run(f, &command); /* a remembered HELD */
}

static void a_restored_state_has_the_digest_and_goes_on_alike(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer stream;
    struct proto_error error = {0};
    fill(f);
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 10, &stream);
    for (size_t piece = 1; piece < 100; piece += 13) {
        struct fsm *restored = restore_of(stream.data, stream.size, piece, &error);
        assert_non_null(restored);
        assert_int_equal(fsm_digest(restored), fsm_digest(f->fsm));
        fsm_check_invariants(restored);
        fsm_free(restored);
    }
    fsm_free(f->follower);
    f->follower = restore_of(stream.data, stream.size, SIZE_MAX, &error);
    for (uint64_t time_ms = 600; time_ms < 60000; time_ms += 100) {
        at(f, time_ms); /* compares the digests */
    }
    assert_int_equal(counts(f).sessions, 0);
    proto_buffer_done(&stream);
}

static void the_same_state_gives_the_same_stream(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer one;
    struct proto_buffer other;
    proto_buffer_init(&one, SIZE_MAX);
    proto_buffer_init(&other, SIZE_MAX);
    fill(f);
    snapshot_of(f->fsm, 1, &one);
    snapshot_of(f->follower, 100000, &other);
    assert_int_equal(one.size, other.size);
    assert_memory_equal(one.data, other.data, one.size);
    proto_buffer_done(&one);
    proto_buffer_done(&other);
}

/* N1, N3: everything that the walk stands on is changed, made and removed between the slices. */
static void what_changes_between_the_slices_is_written_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct client a = open_client(f, 'a', 100000, 0);
    uint64_t tokens[2000];
    char key[16];
    f->unchecked = true;
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "k%04u", i);
        a.ack_floor = a.next_request_id - 1;
        tokens[i] = acquire(f, &a, key, PROTO_MODE_EXCLUSIVE);
    }
    uint64_t digest = fsm_digest(f->fsm);
    struct proto_buffer stream;
    proto_buffer_init(&stream, SIZE_MAX);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(f->fsm);
    unsigned at_key = 0;
    bool more = true;
    while (more || at_key < 2000) {
        more = more && fsm_snapshot_next(snapshot, &stream, 40);
        for (unsigned i = 0; i < 3 && at_key < 2000; i++, at_key++) {
            unsigned released = (at_key * 7 + 3) % 2000;
            (void)snprintf(key, sizeof key, "k%04u", released);
            a.ack_floor = a.next_request_id - 1;
            assert_int_equal(release(f, &a, key, tokens[released]), PROTO_STATUS_OK);
            (void)snprintf(key, sizeof key, "k%04u:", released);
            acquire(f, &a, key, PROTO_MODE_EXCLUSIVE);
        }
    }
    fsm_snapshot_end(snapshot);
    struct proto_error error = {0};
    struct fsm *restored = restore_of(stream.data, stream.size, 777, &error);
    assert_non_null(restored);
    assert_int_equal(fsm_digest(restored), digest);
    struct fsm_counts found;
    fsm_counts(restored, &found);
    assert_int_equal(found.locks, 2000);
    fsm_free(restored);
    proto_buffer_done(&stream);
    fsm_check_invariants(f->fsm);
    assert_int_equal(fsm_digest(f->fsm), fsm_digest(f->follower));
}

enum { MANY_LOCKS = 2000, STEP_WORK = 50 };

static void hold_many(struct fixture *f)
{
    struct client a = open_client(f, 'a', 100000, 0);
    char key[16];
    f->unchecked = true;
    for (unsigned i = 0; i < MANY_LOCKS; i++) {
        (void)snprintf(key, sizeof key, "k%04u", i);
        a.ack_floor = a.next_request_id - 1;
        acquire(f, &a, key, PROTO_MODE_EXCLUSIVE);
    }
}

/* V4: reading, sorting by the two bytes in which the tokens differ, linking, the check of the session's grants, that of
 * each lock and its holder: one that is not divided into steps would be missing from their number. */
static void a_restore_goes_in_steps_of_bounded_work(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer stream;
    struct proto_error error = {0};
    hold_many(f);
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 1000, &stream);
    struct fsm_restore *restore = fsm_restore_begin();
    fsm_restore_add(restore, stream.data, stream.size);
    unsigned reading = 1, finishing = 1;
    while (fsm_restore_step(restore, false, STEP_WORK)) {
        reading++;
    }
    assert_in_range(reading, MANY_LOCKS / STEP_WORK, 2 * MANY_LOCKS / STEP_WORK);
    while (fsm_restore_step(restore, true, STEP_WORK)) {
        finishing++;
    }
    assert_in_range(finishing, (2 * 2 + 1 + 1 + 2) * MANY_LOCKS / STEP_WORK,
                    (2 * 2 + 1 + 1 + 2 + 1) * MANY_LOCKS / STEP_WORK);
    struct fsm *restored = fsm_restore_finish(restore, &error);
    assert_non_null(restored);
    assert_int_equal(fsm_digest(restored), fsm_digest(f->fsm));
    fsm_check_invariants(restored);
    unsigned freeing = 1;
    while (fsm_free_step(restored, STEP_WORK)) {
        freeing++;
    }
    assert_in_range(freeing, 2 * MANY_LOCKS / STEP_WORK, 2 * MANY_LOCKS / STEP_WORK + 2);
    proto_buffer_done(&stream);
}

/* N5: however much the caller would take. Large values count for their bytes. */
static void a_snapshot_goes_in_slices_of_bounded_work(void **state)
{
    struct fixture *f = *state;
    struct client b = open_client(f, 'b', 100000, 0);
    struct proto_buffer stream;
    static uint8_t value[PROTO_VALUE_BYTES_MAX];
    hold_many(f);
    for (unsigned i = 0; i < 64; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "v%04u", i);
        b.ack_floor = b.next_request_id - 1;
        struct fsm_command command = acquire_command(&b, key, PROTO_MODE_EXCLUSIVE, 0);
        command.body.lock_acquire.has_value = true;
        command.body.lock_acquire.value = (struct proto_bytes){.data = value, .size = sizeof value};
        run(f, &command);
    }
    proto_buffer_init(&stream, SIZE_MAX);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(f->fsm);
    unsigned slices = 1;
    while (fsm_snapshot_next(snapshot, &stream, SIZE_MAX / 2)) {
        slices++;
    }
    fsm_snapshot_end(snapshot);
    unsigned work = MANY_LOCKS + 64 * (1 + PROTO_VALUE_BYTES_MAX / 256);
    assert_in_range(slices, work / 512, work / 512 + 2);
    proto_buffer_done(&stream);
}

static void a_restore_in_the_smallest_steps_is_the_same(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer stream;
    struct proto_error error = {0};
    fill(f);
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 10, &stream);
    struct fsm_restore *restore = fsm_restore_begin();
    for (size_t at_byte = 0; at_byte < stream.size; at_byte += 7) {
        size_t left = stream.size - at_byte;
        fsm_restore_add(restore, stream.data + at_byte, left < 7 ? left : 7);
        while (fsm_restore_step(restore, false, 1)) {
        }
    }
    while (fsm_restore_step(restore, true, 1)) {
    }
    struct fsm *restored = fsm_restore_finish(restore, &error);
    assert_non_null(restored);
    assert_int_equal(fsm_digest(restored), fsm_digest(f->fsm));
    fsm_check_invariants(restored);
    while (fsm_free_step(restored, 1)) {
    }
    proto_buffer_done(&stream);
}

static void a_snapshot_may_be_abandoned_and_begun_again(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer stream;
    fill(f);
    proto_buffer_init(&stream, SIZE_MAX);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(f->fsm);
    (void)fsm_snapshot_next(snapshot, &stream, 1); /* only begun */
    fsm_snapshot_end(snapshot);
    at(f, 600);
    proto_buffer_clear(&stream);
    snapshot_of(f->fsm, 100, &stream);
    struct proto_error error = {0};
    struct fsm *restored = restore_of(stream.data, stream.size, 100, &error);
    assert_non_null(restored);
    assert_int_equal(fsm_digest(restored), fsm_digest(f->fsm));
    fsm_free(restored);
    proto_buffer_done(&stream);
}

static void an_ended_session_is_restored_with_its_unfinished_portions(void **state)
{
    struct fixture *f = *state;
    char key[16];
    f->unchecked = true;
    struct client a = open_client(f, 'a', 500, 200);
    struct client b = open_client(f, 'b', 500, 0);
    for (unsigned i = 0; i < FSM_RELEASES_PER_ENTRY * 3 / 2; i++) {
        struct client *client = i % 2 == 0 ? &a : &b;
        (void)snprintf(key, sizeof key, "k%04u", i);
        client->ack_floor = client->next_request_id - 1;
        acquire(f, client, key, PROTO_MODE_EXCLUSIVE);
    }
    at(f, 500);
    assert_int_equal(counts(f).ending, 1); /* of two: two thirds of the locks are freed */
    struct proto_buffer stream;
    struct proto_error error = {0};
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 1000, &stream);
    fsm_free(f->follower);
    f->follower = restore_of(stream.data, stream.size, 1000, &error);
    assert_non_null(f->follower);
    f->unchecked = false;
    uint64_t digest = fsm_digest(f->fsm);
    proto_buffer_clear(&stream);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(f->fsm);
    at(f, 500); /* the session goes without another change to it: it must be written all the same */
    assert_int_equal(counts(f).ending, 0);
    while (fsm_snapshot_next(snapshot, &stream, 1000)) {
    }
    fsm_snapshot_end(snapshot);
    struct fsm *restored = restore_of(stream.data, stream.size, 1000, &error);
    assert_non_null(restored);
    assert_int_equal(fsm_digest(restored), digest);
    fsm_free(restored);
    for (unsigned i = 0; i <= FSM_RELEASES_PER_ENTRY / FSM_EXPIRIES_PER_ENTRY; i++) {
        at(f, 700); /* a portion of the delays */
    }
    assert_int_equal(counts(f).locks, 0);
    proto_buffer_done(&stream);
}

static void refused(const uint8_t *data, size_t size)
{
    struct proto_error error = {.status = PROTO_STATUS_OK};
    uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a read past the end is seen */
    memcpy(exact, data, size);
    struct fsm *restored = restore_of(exact, size, SIZE_MAX, &error);
    assert_null(restored);
    assert_int_equal(error.status, PROTO_STATUS_MALFORMED);
    assert_true(strlen(error.detail) > 0);
    struct fsm_restore *restore = fsm_restore_begin();
    fsm_restore_add(restore, exact, size);
    while (fsm_restore_step(restore, true, 2)) {
    }
    assert_null(fsm_restore_finish(restore, &error));
    free(exact);
}

static void a_stream_that_was_cut_or_changed_is_refused(void **state)
{
    struct fixture *f = *state;
    struct proto_buffer stream;
    fill(f);
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(f->fsm, 100, &stream);
    for (size_t size = 0; size < stream.size; size++) {
        refused(stream.data, size);
    }
    for (size_t i = 0; i < stream.size; i++) {
        stream.data[i] ^= (uint8_t)(1 << i % 8);
        refused(stream.data, stream.size);
        stream.data[i] ^= (uint8_t)(1 << i % 8);
    }
    uint8_t more = 0;
    assert_true(proto_buffer_append(&stream, &more, 1));
    refused(stream.data, stream.size);
    proto_buffer_done(&stream);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_restored_state_has_the_digest_and_goes_on_alike),
        TEST(the_same_state_gives_the_same_stream),
        TEST(what_changes_between_the_slices_is_written_as_it_was),
        TEST(a_restore_goes_in_steps_of_bounded_work),
        TEST(a_snapshot_goes_in_slices_of_bounded_work),
        TEST(a_restore_in_the_smallest_steps_is_the_same),
        TEST(a_snapshot_may_be_abandoned_and_begun_again),
        TEST(an_ended_session_is_restored_with_its_unfinished_portions),
        TEST(a_stream_that_was_cut_or_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
