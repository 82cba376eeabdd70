/* The log against a model, on a disk that loses, tears and forgets: whatever was reported durable is there after any end,
 * and whatever is there was appended, in that order.
 *
 * The model is the history: each entry handed to the log, each reset, in order, since the last start. The state after a
 * prefix of the history that contains all that was acknowledged is a right outcome of a crash; nothing else is.
 *
 * LOCKSTEP_SEED chooses the first seed, LOCKSTEP_ROUNDS their number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_disk.h"
#include "node/replica/log.h"
#include "tests/support/random.h"

enum { EVENTS_MAX = 4000, INDEX_MAX = 4000, HELD_MAX = 8, STARTS = 8 };

struct event {
    bool reset;
    uint64_t index, term, id; /* id: the entry's own, its data depends on it */
};

/* A log as it ought to be: ids of first..last. */
struct state {
    uint64_t first, last;
    uint64_t ids[INDEX_MAX], terms[INDEX_MAX];
};

/* An entry as if in a message, and what it was when it was taken. */
struct held {
    struct log_entry *entry;
    uint64_t index, term, id;
};

struct world {
    uint64_t random, seed;
    struct fake_disk *fake;
    struct log *log;
    struct log_options options;
    struct state base; /* as it was when it was opened */
    struct state now;  /* with all events */
    struct event events[EVENTS_MAX];
    size_t events_count;
    size_t acknowledged; /* events that must survive */
    uint64_t removed;    /* entries up to it need not be there */
    uint64_t released, term, next_id;
    struct held held[HELD_MAX];
    unsigned reads, starts, survived;
};

static uint64_t chance(struct world *world, uint64_t below)
{
    return simulated_random(&world->random, below);
}

/* ---- entries whose bytes follow from their id ---- */

static size_t size_of(uint64_t id)
{
    uint64_t random = id * 77;
    size_t sizes[] = {0, 1, 7, 8, 100, 1000};
    if (simulated_random(&random, 300) == 0) {
        return 20000; /* More than a segment. */
    }
    return sizes[simulated_random(&random, 6)] + (size_t)simulated_random(&random, 3);
}

static enum log_entry_type type_of(uint64_t id)
{
    return (enum log_entry_type)(1 + id % 3);
}

static struct log_entry *make_entry(uint64_t index, uint64_t term, uint64_t id)
{
    struct log_entry *entry = log_entry_create(index, term, type_of(id), size_of(id));
    uint64_t random = id;
    for (size_t i = 0; i < entry->size; i++) {
        entry->data[i] = (uint8_t)simulated_random(&random, 256);
    }
    return entry;
}

static void check_entry(const struct log_entry *entry, uint64_t index, uint64_t term, uint64_t id)
{
    struct log_entry *expected = make_entry(index, term, id);
    assert_int_equal(entry->index, index);
    assert_int_equal(entry->term, term);
    assert_int_equal(entry->type, expected->type);
    assert_int_equal(entry->size, expected->size);
    assert_memory_equal(entry->data, expected->data, expected->size);
    log_entry_unref(expected);
}

/* ---- the model ---- */

static void apply(struct state *state, const struct event *event)
{
    if (event->reset) {
        state->first = event->index + 1;
        state->last = event->index;
        return;
    }
    assert_true(event->index < INDEX_MAX);
    if (event->index < state->first) {
        state->first = event->index;
    }
    state->last = event->index;
    state->ids[event->index] = event->id;
    state->terms[event->index] = event->term;
}

static void note(struct world *world, struct event event)
{
    assert_true(world->events_count < EVENTS_MAX);
    world->events[world->events_count++] = event;
    apply(&world->now, &event);
}

/* Everything up to the newest event that holds entry `index` was acknowledged. */
static void durable(void *ctx, uint64_t index)
{
    struct world *world = ctx;
    if (fake_disk_is_off(world->fake)) {
        return;
    }
    assert_int_equal(index, log_durable_index(world->log));
    assert_true(index <= world->now.last);
    for (size_t i = world->events_count; i > world->acknowledged; i--) {
        const struct event *event = &world->events[i - 1];
        if (!event->reset && event->index == index && event->id == world->now.ids[index]) {
            world->acknowledged = i;
            return;
        }
    }
    assert_true(false && "reported before, or never appended");
}

static void failed(void *ctx, const char *message)
{
    (void)ctx;
    fail_msg("%s", message);
}

struct reset_note {
    struct world *world;
    size_t event;
};

static void reset_done(void *ctx)
{
    struct reset_note *reset = ctx;
    struct world *world = reset->world;
    if (!fake_disk_is_off(world->fake) && reset->event > world->acknowledged) {
        world->acknowledged = reset->event;
    }
    free(reset);
}

/* ---- what is done to the log ---- */

static void append(struct world *world)
{
    struct log_entry *entries[20];
    size_t count = 1 + (size_t)chance(world, chance(world, 4) == 0 ? 20 : 3);
    uint64_t at = world->now.last + 1;
    if (chance(world, 8) == 0) {
        /* A new leader's: entries above what is released are overridden. */
        uint64_t least = world->released + 1 > world->now.first ? world->released + 1 : world->now.first;
        at = least + chance(world, at - least + 1);
    }
    world->term += at <= world->now.last || chance(world, 10) == 0 ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = world->next_id++;
        entries[i] = make_entry(at + i, world->term, id);
        note(world, (struct event){.index = at + i, .term = world->term, .id = id});
    }
    log_append(world->log, entries, count);
    for (size_t i = 0; i < count; i++) {
        log_entry_unref(entries[i]);
    }
}

static void remove_prefix(struct world *world)
{
    uint64_t most =
        world->released < log_durable_index(world->log) ? world->released : log_durable_index(world->log);
    if (most < world->now.first) {
        return;
    }
    uint64_t index = world->now.first + chance(world, most + 1 - world->now.first);
    world->removed = index > world->removed ? index : world->removed;
    log_remove_prefix(world->log, index);
    assert_true(log_first_index(world->log) <= world->removed + 1);
}

static void reset(struct world *world)
{
    struct reset_note *note_of_reset = malloc(sizeof *note_of_reset);
    uint64_t index = world->now.last + chance(world, 5);
    world->term += 1;
    note(world, (struct event){.reset = true, .index = index, .term = world->term});
    world->removed = world->released = index;
    *note_of_reset = (struct reset_note){world, world->events_count};
    log_reset(world->log, index, world->term, reset_done, note_of_reset);
    assert_int_equal(log_term(world->log, index), world->term);
}

static void release(struct world *world)
{
    if (world->released < world->now.last) {
        world->released += 1 + chance(world, world->now.last - world->released);
        log_release(world->log, world->released);
    }
}

/* L4: what is held stays what it was, whatever becomes of the log. */
static void hold(struct world *world)
{
    unsigned i = (unsigned)chance(world, HELD_MAX);
    if (world->held[i].entry != NULL) {
        check_entry(world->held[i].entry, world->held[i].index, world->held[i].term, world->held[i].id);
        log_entry_unref(world->held[i].entry);
    }
    uint64_t first = log_first_index(world->log), index = first + chance(world, world->now.last + 1 - first);
    struct log_entry *entry = log_get(world->log, index);
    world->held[i].entry = NULL;
    if (entry != NULL) {
        world->held[i] =
            (struct held){log_entry_ref(entry), index, world->now.terms[index], world->now.ids[index]};
    }
}

struct read {
    struct world *world;
    uint64_t first;
    size_t count, bytes_max;
    size_t events; /* at the time of asking */
    uint64_t ids[64], terms[64];
};

static void read_came(void *ctx, struct log_entry **entries, size_t count)
{
    struct read *read = ctx;
    size_t bytes = 0;
    assert_true(count <= read->count);
    assert_true(count > 0 || read->events != read->world->events_count ||
                log_first_index(read->world->log) > read->first);
    for (size_t i = 0; i < count; i++) {
        check_entry(entries[i], read->first + i, read->terms[i], read->ids[i]);
        bytes += entries[i]->size;
        log_entry_unref(entries[i]);
    }
    assert_true(count <= 1 || bytes <= read->bytes_max);
    read->world->reads += count > 0 ? 1 : 0;
    free(read);
}

static void read_some(struct world *world)
{
    uint64_t first = log_first_index(world->log);
    if (first > world->now.last) {
        return;
    }
    struct read *read = calloc(1, sizeof *read);
    read->world = world;
    read->first = first + chance(world, world->now.last + 1 - first);
    read->count = 1 + (size_t)chance(world, 40);
    read->bytes_max = (size_t)chance(world, 8000);
    read->events = world->events_count;
    for (size_t i = 0; i < read->count && read->first + i <= world->now.last; i++) {
        read->ids[i] = world->now.ids[read->first + i];
        read->terms[i] = world->now.terms[read->first + i];
    }
    log_read(world->log, read->first, read->count, read->bytes_max, read_came, read);
}

static void check_present(struct world *world)
{
    uint64_t bytes = 0, held = 0, first = log_first_index(world->log);
    assert_int_equal(log_last_index(world->log), world->now.last);
    assert_true(first <= world->removed + 1 || first == world->base.first);
    for (uint64_t index = first; index <= world->now.last; index++) {
        const struct log_entry *entry = log_get(world->log, index);
        assert_int_equal(log_term(world->log, index), world->now.terms[index]);
        assert_true(entry != NULL || (index <= world->released && index <= log_durable_index(world->log)));
        if (entry != NULL && chance(world, 20) == 0) {
            check_entry(entry, index, world->now.terms[index], world->now.ids[index]);
        }
        uint64_t size = size_of(world->now.ids[index]);
        bytes += size;
        held += index > world->released || index > log_durable_index(world->log) ? size : 0;
    }
    assert_int_equal(log_bytes(world->log), bytes);
    assert_int_equal(log_held_bytes(world->log), held);
}

static void step(struct world *world)
{
    switch (chance(world, 24)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        append(world);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        log_flush(world->log);
        break;
    case 9:
        remove_prefix(world);
        break;
    case 10:
        if (chance(world, 6) == 0) {
            reset(world);
        }
        break;
    case 11:
    case 12:
        release(world);
        break;
    case 13:
        hold(world);
        break;
    case 14:
        read_some(world);
        break;
    case 15:
        check_present(world);
        break;
    default:
        (void)fake_disk_run_any(world->fake);
        break;
    }
}

/* ---- crash and start ---- */

/* Is what was recovered the state after `count` events? */
static bool is_state(const struct log *log, const struct state *state, uint64_t removed)
{
    uint64_t first = log_first_index(log), last = log_last_index(log);
    uint64_t from = first > state->first ? first : state->first;
    if (last != state->last || first > removed + 1) {
        return false;
    }
    for (uint64_t index = from; index <= last; index++) {
        if (log_term(log, index) != state->terms[index]) {
            return false;
        }
        const struct log_entry *entry = log_get(log, index);
        if (entry == NULL && index > removed) {
            return false;
        }
        if (entry != NULL &&
            (entry->size != size_of(state->ids[index]) || entry->type != type_of(state->ids[index]))) {
            return false;
        }
    }
    return true;
}

static void check_recovered(struct world *world)
{
    static struct state state;
    state = world->base;
    size_t right = SIZE_MAX;
    for (size_t i = 0; i <= world->events_count; i++) {
        if (i >= world->acknowledged && is_state(world->log, &state, world->removed)) {
            right = i;
            break;
        }
        if (i < world->events_count) {
            apply(&state, &world->events[i]);
        }
    }
    if (right == SIZE_MAX) {
        fail_msg(
            "seed %llu, start %u: %llu..%llu is no state after %zu..%zu events (removed %llu, then %llu..%llu)",
            (unsigned long long)world->seed, world->starts, (unsigned long long)log_first_index(world->log),
            (unsigned long long)log_last_index(world->log), world->acknowledged, world->events_count,
            (unsigned long long)world->removed, (unsigned long long)world->now.first,
            (unsigned long long)world->now.last);
    }
    world->survived += right > world->acknowledged ? 1 : 0;
    world->base = state;
}

static void start(struct world *world)
{
    char message[512] = "";
    struct log_callbacks callbacks = {.durable = durable, .failed = failed, .ctx = world};
    world->log = log_open(fake_disk_seam(world->fake), &world->options, &callbacks, world->removed + 1, 0,
                          world->removed, message, sizeof message);
    if (world->log == NULL) {
        fail_msg("seed %llu, start %u: %s", (unsigned long long)world->seed, world->starts, message);
    }
    check_recovered(world);
    log_clean(world->log);
    world->base.first = log_first_index(world->log);
    world->base.last = log_last_index(world->log);
    assert_int_equal(log_durable_index(world->log), world->base.last);
    for (uint64_t i = world->base.first; i <= world->base.last; i++) {
        const struct log_entry *entry = log_get(world->log, i);
        if (entry != NULL) {
            check_entry(entry, i, world->base.terms[i], world->base.ids[i]);
        }
    }
    world->now = world->base;
    world->events_count = world->acknowledged = 0;
    world->released = world->removed < world->base.last ? world->removed : world->base.last;
    world->starts++;
}

static void stop(struct world *world)
{
    fake_disk_run_all(world->fake); /* Without effect: the power is off. */
    for (unsigned i = 0; i < HELD_MAX; i++) {
        log_entry_unref(world->held[i].entry);
        world->held[i].entry = NULL;
    }
    log_close(world->log);
    fake_disk_boot(world->fake);
}

/* A crash may come during the start itself, too: that one is only tried, its outcome must be a state all the same. */
static void start_and_crash(struct world *world)
{
    char message[512] = "";
    struct log_callbacks callbacks = {.durable = durable, .failed = failed, .ctx = world};
    fake_disk_end_at(world->fake, fake_disk_calls(world->fake) + 1 + (unsigned)chance(world, 12),
                     (enum fake_end)chance(world, 2));
    struct log *log = log_open(fake_disk_seam(world->fake), &world->options, &callbacks, world->removed + 1,
                               0, world->removed, message, sizeof message);
    if (log == NULL) {
        fail_msg("seed %llu, start %u: %s", (unsigned long long)world->seed, world->starts, message);
    }
    log_clean(log);
    fake_disk_end(world->fake, FAKE_POWER);
    fake_disk_run_all(world->fake);
    log_close(log);
    fake_disk_boot(world->fake);
}

static struct world *run_seed(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    world->seed = world->random = seed;
    world->fake = fake_disk_create(seed * 31 + 1);
    world->options = (struct log_options){.segment_bytes = 4096 + chance(world, 5) * 4096,
                                          .cache_bytes = 1 + chance(world, 4) * 3000,
                                          .node_id = 3,
                                          .cluster_id = 9};
    world->base.first = world->now.first = 1;
    world->next_id = 1;
    world->term = 1;
    for (unsigned life = 0; life < STARTS; life++) {
        while (chance(world, 4) == 0) {
            start_and_crash(world);
        }
        start(world);
        fake_disk_end_at(world->fake, fake_disk_calls(world->fake) + 1 + (unsigned)chance(world, 400),
                         (enum fake_end)chance(world, 2));
        for (unsigned i = 0; i < 1500 && !fake_disk_is_off(world->fake) && world->now.last < INDEX_MAX - 100;
             i++) {
            step(world);
        }
        fake_disk_end(world->fake, (enum fake_end)chance(world, 2));
        stop(world);
    }
    fake_disk_free(world->fake);
    return world;
}

static void what_was_durable_survives_and_nothing_else_appears(void **state)
{
    (void)state;
    const char *seed_text = getenv("LOCKSTEP_SEED"), *rounds_text = getenv("LOCKSTEP_ROUNDS");
    uint64_t first = seed_text == NULL ? 1 : strtoull(seed_text, NULL, 10);
    uint64_t rounds = rounds_text == NULL ? 150 : strtoull(rounds_text, NULL, 10);
    uint64_t reads = 0, survived = 0, entries = 0;
    print_message("seeds %llu..%llu\n", (unsigned long long)first, (unsigned long long)(first + rounds - 1));
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        struct world *world = run_seed(seed);
        reads += world->reads;
        survived += world->survived;
        entries += world->next_id;
        free(world);
    }
    print_message("%llu entries, %llu reads, %llu starts with more than was acknowledged\n",
                  (unsigned long long)entries, (unsigned long long)reads, (unsigned long long)survived);
    assert_true(reads > 0 && survived > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_durable_survives_and_nothing_else_appears)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
