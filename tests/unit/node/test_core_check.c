/* When the core checks the invariants of the whole state, and what a broken one does: V1 and V2 of core_check.c. The state
 * is broken by hand: a lock that counts as granted and is not there. */
#include "raft_fsm/state.h"
#include "test_core_harness.h"

enum { SAMPLE_ENTRIES_MIN = 1024, SAMPLE_BYTES_PER_ENTRY = 64, LARGE_BYTES = 64 * 1024 * 1024 };

/* What a test added to the state's memory, so that it seems larger. */
static uint64_t extra_bytes;

static void grow(struct harness *h, uint64_t bytes)
{
    h->core->fsm->bytes += bytes;
    extra_bytes = bytes;
}

static int teardown(void **state)
{
    struct harness *h = *state;
    h->core->fsm->bytes -= extra_bytes;
    extra_bytes = 0;
    return harness_teardown(state);
}

/* Apply entries without commands up to `index`. @return after which of them the node ended, 0 if after none. */
static uint64_t apply_to(struct harness *h, uint64_t index)
{
    struct replica_machine machine = core_machine(h->core);
    struct fsm_entry_writer writer;
    while (h->core->applied_index < index && h->fatals == 0) {
        proto_buffer_clear(&h->scratch);
        fsm_entry_begin(&writer, &h->scratch, (struct cluster_time){h->core->applied_index});
        fsm_entry_end(&writer);
        machine.apply(machine.ctx, h->core->applied_index + 1, 1, h->scratch.data, h->scratch.size);
    }
    return h->fatals > 0 ? h->core->applied_index : 0;
}

static uint64_t interval(const struct harness *h)
{
    struct fsm_counts counts;
    fsm_counts(h->core->fsm, &counts);
    uint64_t by_size = counts.bytes / SAMPLE_BYTES_PER_ENTRY;
    return by_size > SAMPLE_ENTRIES_MIN ? by_size : SAMPLE_ENTRIES_MIN;
}

static void a_broken_state_ends_the_node_before_anyone_is_answered(void **state)
{
    struct harness *h = *state;
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 10000);
    harness_propose_lock(h, c, 1, session, 5, "k");
    h->core->fsm->grants_count++;
    harness_commit(h);
    assert_int_equal(h->fatals, 1);
    assert_int_equal(harness_logged(h, "an invariant of the state is broken (O1, O2: the number of grants"),
                     1);
    harness_expect_nothing(h, c);
}

static void always_means_after_every_entry(void **state)
{
    struct harness *h = *state;
    assert_int_equal(apply_to(h, 10), 0);
    h->core->fsm->grants_count++;
    assert_int_equal(apply_to(h, 20), 11);
}

static void off_means_never(void **state)
{
    struct harness *h = *state;
    h->core->options.check_invariants = CORE_CHECK_OFF;
    h->core->fsm->grants_count++;
    assert_int_equal(apply_to(h, 4 * interval(h)), 0);
}

static void the_default_is_to_sample(void **state)
{
    (void)state;
    struct core_options options;
    core_options_init(&options);
    assert_int_equal(options.check_invariants, CORE_CHECK_SAMPLED);
}

/* V2: once in so many entries, and again after so many more. */
static void a_sample_is_taken_once_in_as_many_entries_as_the_state_is_large(void **state)
{
    struct harness *h = *state;
    h->core->options.check_invariants = CORE_CHECK_SAMPLED;
    uint64_t entries = interval(h);
    assert_int_equal(apply_to(h, entries), 0);
    assert_int_equal(h->core->checked_index, entries);
    h->core->fsm->grants_count++;
    assert_int_equal(apply_to(h, 4 * entries), 2 * entries);
}

static void a_larger_state_is_sampled_more_rarely(void **state)
{
    struct harness *h = *state;
    (void)fsm_digest(h->core->fsm); /* the memory for that is there from now on */
    h->core->options.check_invariants = CORE_CHECK_SAMPLED;
    h->core->fsm->grants_count++;
    grow(h, (uint64_t)5 * SAMPLE_ENTRIES_MIN * SAMPLE_BYTES_PER_ENTRY);
    uint64_t entries = interval(h);
    assert_true(entries > (uint64_t)5 * SAMPLE_ENTRIES_MIN);
    assert_int_equal(apply_to(h, 2 * entries), entries);
}

/* V1: the pause would be long. */
static void a_large_state_is_not_sampled(void **state)
{
    struct harness *h = *state;
    h->core->options.check_invariants = CORE_CHECK_SAMPLED;
    h->core->fsm->grants_count++;
    grow(h, LARGE_BYTES);
    assert_int_equal(apply_to(h, (uint64_t)LARGE_BYTES / SAMPLE_BYTES_PER_ENTRY + SAMPLE_ENTRIES_MIN), 0);
}

#define CHECK_TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(a_broken_state_ends_the_node_before_anyone_is_answered),
        CHECK_TEST(always_means_after_every_entry),
        CHECK_TEST(off_means_never),
        CHECK_TEST(the_default_is_to_sample),
        CHECK_TEST(a_sample_is_taken_once_in_as_many_entries_as_the_state_is_large),
        CHECK_TEST(a_larger_state_is_sampled_more_rarely),
        CHECK_TEST(a_large_state_is_not_sampled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
