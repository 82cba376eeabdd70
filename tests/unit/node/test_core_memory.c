/* Once warm, the core allocates nothing for a request: what a node needs is settled when the load has been seen once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/core_slab.h"
#include "node/core_table.h"
#include "test_core_harness.h"

/* Calls of malloc() and its like while `counting`; the test's own are let be by switching it off. */
static bool counting;
static unsigned allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
    allocations += counting ? 1 : 0;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    allocations += counting ? 1 : 0;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    allocations += counting ? 1 : 0;
    return __real_realloc(memory, size);
}

/* The state machine's memory is its own matter. */
enum fsm_result __real_fsm_apply(struct fsm *fsm, const void *entry, size_t size, struct fsm_effects *effects,
                                 struct proto_error *ret_error);
enum fsm_result __wrap_fsm_apply(struct fsm *fsm, const void *entry, size_t size, struct fsm_effects *effects,
                                 struct proto_error *ret_error);
enum fsm_result __wrap_fsm_apply(struct fsm *fsm, const void *entry, size_t size, struct fsm_effects *effects,
                                 struct proto_error *ret_error)
{
    bool before = counting;
    counting = false;
    enum fsm_result result = __real_fsm_apply(fsm, entry, size, effects, ret_error);
    counting = before;
    return result;
}

struct load {
    struct harness *h;
    uint64_t connection, session, id, token;
    struct proto_buffer body;
    uint8_t entry[FSM_ENTRY_BYTES_MAX];
    size_t entry_bytes;
    uint8_t frame[4096];
    size_t frame_bytes;
};

/* A replica and a shell that allocate nothing themselves. */
static bool keep_entry(void *ctx, struct local_time now, const struct replica_command *commands,
                       unsigned count, uint64_t *ret_first_index, uint64_t *ret_term)
{
    struct load *load = ctx;
    (void)now;
    assert_int_equal(count, 1);
    assert_int_equal(load->entry_bytes, 0);
    memcpy(load->entry, commands[0].data, commands[0].size);
    load->entry_bytes = commands[0].size;
    *ret_first_index = ++load->h->last_index;
    *ret_term = load->h->term;
    return true;
}

static bool keep_frame(void *ctx, uint64_t connection, const void *frame, size_t size)
{
    struct load *load = ctx;
    (void)connection;
    assert_true(size <= sizeof(load->frame));
    memcpy(load->frame, frame, size);
    load->frame_bytes = size;
    return true;
}

static void cycle(struct load *load, const struct proto_request *request)
{
    proto_buffer_clear(&load->body);
    proto_encode_request(&load->body, request);
    struct core *core = load->h->core;
    struct replica_machine machine = core_machine(core);
    counting = true;
    core_receive(core, load->h->now, load->connection,
                 (struct proto_bytes){load->body.data, (uint32_t)load->body.size});
    core_turn(core, load->h->now);
    assert_true(load->entry_bytes > 0);
    machine.apply(machine.ctx, load->h->last_index, load->h->term, load->entry, load->entry_bytes);
    core_replica_applied(core, load->h->last_index);
    core_turn(core, load->h->now);
    counting = false;
    load->entry_bytes = 0;
    struct proto_bytes body;
    size_t frame_bytes = 0;
    struct proto_incoming incoming;
    struct proto_error error;
    assert_int_equal(proto_frame_take(load->frame, load->frame_bytes, PROTO_FRAME_BODY_BYTES_MAX,
                                      &load->h->scratch, &body, &frame_bytes),
                     PROTO_FRAME_OK);
    assert_true(proto_decode_incoming(body, &load->h->rows, &incoming, &error));
    assert_int_equal(incoming.reply.id, request->id);
    assert_int_equal(incoming.reply.status, PROTO_STATUS_OK);
    if (request->kind == PROTO_LOCK_ACQUIRE) {
        load->token = incoming.reply.body.grant.token;
    }
}

static void a_warm_core_allocates_nothing_per_request(void **state)
{
    (void)state;
    struct load *load = calloc(1, sizeof(*load));
    assert_non_null(load);
    struct harness *h = harness_create(NULL);
    *load = (struct load){.h = h};
    harness_lead(h);
    load->connection = harness_connect(h);
    load->session = harness_session(h, load->connection, 1, 60000);
    proto_buffer_init(&load->body, PROTO_REQUEST_BODY_BYTES_MAX);
    h->core->replica.ctx = load;
    h->core->replica.propose = keep_entry;
    h->core->output.ctx = load;
    h->core->output.send = keep_frame;
    for (uint64_t i = 0; i < 2000; i++) {
        if (i == 1000) {
            allocations = 0; /* warm */
        }
        struct proto_request acquire = harness_acquire(1, load->session, ++load->id, "some/key", 0);
        acquire.ack_floor = load->id - 1;
        cycle(load, &acquire);
        struct proto_request release = harness_release(1, load->session, ++load->id, "some/key", load->token);
        release.ack_floor = load->id - 1;
        cycle(load, &release);
    }
    print_message("%u allocations in 2000 requests\n", allocations);
    assert_int_equal(allocations, 0);
    proto_buffer_done(&load->body);
    harness_destroy(h);
    free(load);
}

/* C5: what a hostile client can make the node hold is settled by the limits. */
static void a_flood_that_is_not_answered_holds_bounded_memory(void **state)
{
    (void)state;
    struct core_options options;
    core_options_init(&options);
    options.requests_per_connection_max = 100;
    options.requests_max = 500;
    struct harness *h = harness_create(&options);
    harness_lead(h);
    uint64_t c = harness_connect(h);
    uint64_t session = harness_session(h, c, 1, 60000);
    uint8_t value[PROTO_VALUE_BYTES_MAX] = {0};
    for (unsigned round = 0; round < 40; round++) {
        uint64_t flooder = harness_connect(h);
        for (uint64_t id = 1; id <= 300; id++) {
            struct proto_request acquire = harness_acquire(1, session, 1000 * (round + 1) + id, "k", 0);
            acquire.body.lock_acquire.has_value = true;
            acquire.body.lock_acquire.value = (struct proto_bytes){value, sizeof(value)};
            harness_send(h, flooder, &acquire);
        }
        harness_disconnect(h, flooder); /* and again: its requests stay for now */
        assert_true(h->core->requests.slab.used <= 500);
        assert_true(h->core->requests.slab.made <= 500 + 500 / 8 + 2);
        assert_true(h->core->requests.bodies.made <= 500 + 8);
        assert_int_equal(h->core->connections.slab.used, 1);
    }
    harness_settle(h);
    assert_int_equal(harness_counts(h).requests_in_flight, 0);
    assert_int_equal(h->core->requests.bodies.used, 0);
    harness_destroy(h);
}

static void a_slab_keeps_to_its_bound(void **state)
{
    (void)state;
    struct core_slab slab;
    core_slab_init(&slab, 100, 1000);
    void *items[1000];
    for (int i = 0; i < 1000; i++) {
        items[i] = core_slab_take(&slab);
        assert_non_null(items[i]);
        memset(items[i], i, 100);
    }
    assert_null(core_slab_take(&slab));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(((uint8_t *)items[i])[99], (uint8_t)i);
        core_slab_give(&slab, items[i]);
    }
    assert_non_null(items[0] = core_slab_take(&slab));
    core_slab_give(&slab, items[0]);
    core_slab_done(&slab);
}

static void a_table_finds_what_is_in_it_while_it_grows_and_shrinks(void **state)
{
    (void)state;
    enum { NODES = 5000 };
    struct core_table table;
    core_table_init(&table, 42);
    struct core_table_node *nodes = calloc(NODES, sizeof(*nodes));
    assert_non_null(nodes);
    for (uint64_t i = 0; i < NODES; i++) {
        core_table_insert(&table, &nodes[i], core_table_hash(&table, i, 3));
        if (i % 3 == 2) {
            core_table_remove(&table, &nodes[i / 2]);
            core_table_insert(&table, &nodes[i / 2], core_table_hash(&table, i / 2, 3));
        }
    }
    assert_int_equal(table.count, NODES);
    for (uint64_t i = 0; i < NODES; i++) {
        struct core_table_node *at = core_table_first(&table, core_table_hash(&table, i, 3));
        while (at != NULL && at != &nodes[i]) {
            at = core_table_next(at);
        }
        assert_ptr_equal(at, &nodes[i]);
        assert_null(core_table_first(&table, core_table_hash(&table, i, 4)));
    }
    for (uint64_t i = 0; i < NODES; i += 2) {
        core_table_remove(&table, &nodes[i]);
    }
    assert_int_equal(table.count, NODES / 2);
    assert_null(core_table_first(&table, core_table_hash(&table, 0, 3)));
    assert_non_null(core_table_first(&table, core_table_hash(&table, 1, 3)));
    free(nodes);
    core_table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warm_core_allocates_nothing_per_request),
        cmocka_unit_test(a_flood_that_is_not_answered_holds_bounded_memory),
        cmocka_unit_test(a_slab_keeps_to_its_bound),
        cmocka_unit_test(a_table_finds_what_is_in_it_while_it_grows_and_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
