/* Many locks: what one costs in memory, and how long what must not stall takes. Times are printed, not judged: they are
 * the machine's. Under the address sanitizer there are fewer. */
#include "fixture.h"

#include <stdio.h>
#include <time.h>

enum { BYTES_PER_LOCK_MAX = 250, KEY_BYTES = 20, CHUNK_BYTES = 256 * 1024, STEP_WORK = 1024 };

#if defined(__SANITIZE_ADDRESS__)
enum { LOCKS = 50 * 1000 };
#else
enum { LOCKS = 1000 * 1000 };
#endif

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The longest of one kind of step. */
struct longest {
    double longest_ms;
    double sum_ms;
};

static void add_since(struct longest *longest, double begin_ms)
{
    double ms = now_ms() - begin_ms;
    longest->sum_ms += ms;
    longest->longest_ms = longest->longest_ms > ms ? longest->longest_ms : ms;
}

static void print(const char *what, const struct longest *longest, double per)
{
    printf("%-28s %8.1f ms in all, %6.0f ns each, longest step %6.2f ms\n", what, longest->sum_ms,
           longest->sum_ms * 1e6 / per, longest->longest_ms);
}

/* Keys come in an order that is not theirs. */
static void key_of(unsigned number, char *ret_key)
{
    (void)snprintf(ret_key, KEY_BYTES + 1, "tenant/%05u/%07u", number % 997, number % 10000000);
}

static void add_acquires(struct fixture *f, struct client *client, unsigned from, unsigned count)
{
    char key[KEY_BYTES + 1];
    client->ack_floor = client->next_request_id - 1;
    entry_begin(f);
    for (unsigned i = from; i < from + count; i++) {
        key_of(i, key);
        struct fsm_command command = acquire_command(client, key, PROTO_MODE_EXCLUSIVE, 0);
        entry_add(f, &command);
    }
}

static void hold_many(struct fixture *f)
{
    struct longest acquires = {0};
    for (unsigned i = 0; i < 10; i++) {
        struct client client = open_client(f, (char)('a' + i), 1000000, 0);
        for (unsigned from = 0; from < LOCKS / 10; from += 1000) {
            add_acquires(f, &client, i * (LOCKS / 10) + from, 1000);
            double begin_ms = now_ms();
            entry_apply(f);
            add_since(&acquires, begin_ms);
        }
    }
    print("acquire (1000 an entry)", &acquires, LOCKS);
}

static void a_held_lock_costs_little_memory(void **state)
{
    struct fixture *f = *state;
    uint64_t before = counts(f).bytes;
    hold_many(f);
    assert_int_equal(counts(f).locks, LOCKS);
    double per_lock = (double)(counts(f).bytes - before) / LOCKS;
    printf("%u locks with keys of %u bytes: %.1f bytes each\n", LOCKS, KEY_BYTES, per_lock);
    assert_true(per_lock <= BYTES_PER_LOCK_MAX);
}

/* As a node does beside its loop: a chunk of bytes at a time, and steps of bounded work. */
static struct fsm *restore_in_steps(const struct proto_buffer *stream)
{
    struct longest reading = {0};
    struct longest finishing = {0};
    struct proto_error error = {0};
    struct fsm_restore *restore = fsm_restore_begin();
    bool more = true;
    for (size_t at = 0; more; at += CHUNK_BYTES) {
        size_t size = at >= stream->size ? 0 : stream->size - at;
        struct longest *longest = size == 0 ? &finishing : &reading;
        double begin_ms = now_ms();
        fsm_restore_add(restore, stream->data + (size == 0 ? 0 : at),
                        size < CHUNK_BYTES ? size : CHUNK_BYTES);
        more = size > 0;
        bool busy = true;
        while (busy) {
            busy = fsm_restore_step(restore, size == 0, STEP_WORK);
            add_since(longest, begin_ms);
            begin_ms = now_ms();
        }
    }
    double begin_ms = now_ms();
    struct fsm *restored = fsm_restore_finish(restore, &error);
    add_since(&finishing, begin_ms);
    print("restore, reading", &reading, LOCKS);
    print("restore, links and checks", &finishing, LOCKS);
    assert_non_null(restored);
    return restored;
}

static void free_in_steps(struct fsm *fsm)
{
    struct longest steps = {0};
    bool more = true;
    while (more) {
        double begin_ms = now_ms();
        more = fsm_free_step(fsm, STEP_WORK);
        add_since(&steps, begin_ms);
    }
    print("free", &steps, LOCKS);
}

static void snapshot_and_restore_go_in_slices(struct fixture *f)
{
    struct proto_buffer stream;
    struct longest slices = {0};
    proto_buffer_init(&stream, SIZE_MAX);
    bool more = true;
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(f->fsm);
    while (more) {
        double begin_ms = now_ms();
        more = fsm_snapshot_next(snapshot, &stream, 64 * 1024);
        add_since(&slices, begin_ms);
    }
    fsm_snapshot_end(snapshot);
    print("snapshot (64 KiB a slice)", &slices, LOCKS);
    printf("snapshot: %.1f bytes a lock\n", (double)stream.size / LOCKS);
    struct fsm *restored = restore_in_steps(&stream);
    assert_int_equal(fsm_digest(restored), fsm_digest(f->fsm));
    free_in_steps(restored);
    proto_buffer_done(&stream);
}

static void many_locks_do_not_stall_an_entry(void **state)
{
    struct fixture *f = *state;
    hold_many(f);
    struct longest digest = {0};
    double begin_ms = now_ms();
    (void)fsm_digest(f->fsm); /* only its time is of interest */
    add_since(&digest, begin_ms);
    print("digest, first time", &digest, 1);
    snapshot_and_restore_go_in_slices(f);
    struct longest portions = {0};
    f->time_ms = 1000000; /* every session expires */
    while (counts(f).locks > 0) {
        uint64_t grants = counts(f).grants;
        entry_begin(f);
        begin_ms = now_ms();
        entry_apply(f);
        add_since(&portions, begin_ms);
        assert_true(grants - counts(f).grants <= FSM_RELEASES_PER_ENTRY);
    }
    print("expiry (1024 an entry)", &portions, LOCKS);
    assert_true(counts(f).bytes < 8 * 1024 * 1024); /* what a crowd took is given back */
}

static int set_up(void **state)
{
    (void)fixture_set_up(state);
    struct fixture *f = *state;
    f->unchecked = true;
    fsm_free(f->follower);
    f->follower = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_held_lock_costs_little_memory, set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(many_locks_do_not_stall_an_entry, set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
