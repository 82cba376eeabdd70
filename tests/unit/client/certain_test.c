/* The promise of lockstep_lock_remaining_ms(), by random trial: while a client counts a lock as certainly held, the
 * cluster's state has its grant. And of on_lost: it comes while the lock is still certain.
 *
 * Real cores opposite the real state machine, in virtual time. Clocks run at different speeds, messages are late by anything
 * up to seconds, connections break or fall silent, leaders go and come with the entries that were in flight committed or
 * not. At every millisecond every hold is compared with the state. In the end it is calm: then every call must have ended
 * and, once the clients have gone, nothing may be left in the state.
 *
 * usage: test [SEED [RUNS]], or LOCKSTEP_SEED. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/client/certain_world.h"

/* ---- what cores want ---- */

static void out_connect(void *ctx, const char *address)
{
    struct client *client = ctx;
    assert_false(client->connecting || client->open);
    client->connecting = true;
    client->generation++;
    client->node = (unsigned)(address[1] - '0');
    client->connect_at = w.now + delay();
    client->silent = false;
    client->greeted = false;
    pipe_clear(&client->to_node);
    pipe_clear(&client->to_client);
}

static void out_send(void *ctx, const void *data, size_t size)
{
    struct client *client = ctx;
    assert_true(client->open);
    pipe_put(&client->to_node, data, size);
}

static void out_close(void *ctx)
{
    struct client *client = ctx;
    client->connecting = client->open = false;
}

static void out_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)data)[i] = (uint8_t)any(256);
    }
}

static struct client *client_of_slot(const struct hold_slot *slot)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (slot >= w.clients[i].holds && slot < w.clients[i].holds + HOLDS) {
            return &w.clients[i];
        }
    }
    fail();
    return NULL;
}

static void out_hold_lost(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail)
{
    struct client *client = ctx;
    struct hold_slot *slot = user;
    (void)detail;
    assert_ptr_equal(client_of_slot(slot), client);
    assert_false(slot->lost); /* once */
    slot->lost = true;
    w.losses++;
    if (reason == LOCKSTEP_LOST_UNCERTAIN && slot->was_certain && slot->hold != NULL) {
        assert_true(lsc_hold_remaining_ms(client->core, boot_of(client), slot->hold) > 0); /* before, never after */
    }
}

static void out_session_lost(void *ctx, enum lockstep_lost_reason reason, const char *detail)
{
    (void)ctx;
    (void)reason;
    (void)detail;
}

/* ---- clients ---- */

static void on_done(void *user, const struct lsc_outcome *outcome)
{
    struct client *client = user;
    (void)outcome;
    assert_true(client->calls > 0);
    client->calls--;
}

static void on_acquired(void *user, const struct lsc_outcome *outcome)
{
    struct hold_slot *slot = user;
    struct client *client = client_of_slot(slot);
    assert_true(slot->acquiring);
    slot->acquiring = false;
    slot->call = NULL;
    slot->hold = outcome->hold;
    slot->used = outcome->hold != NULL;
    client->calls--;
    w.grants += outcome->hold != NULL;
}

static void acquire(struct client *client, struct hold_slot *slot)
{
    static const uint64_t waits[] = {0, 20, 300, 4000, PROTO_WAIT_FOREVER};
    memset(slot, 0, sizeof(*slot));
    (void)snprintf(slot->key, sizeof(slot->key), "k%u", (unsigned)any(KEYS));
    struct proto_lock_acquire body = {.key = {(const uint8_t *)slot->key, 2}};
    body.wait_ms = waits[any(5)];
    body.ttl_ms = sometimes(3) ? 100 + any(2000) : 0;
    body.reentrant = sometimes(3);
    body.mode = sometimes(4) ? PROTO_MODE_SHARED : PROTO_MODE_EXCLUSIVE;
    slot->used = slot->acquiring = true;
    client->calls++;
    struct lsc_call *call = lsc_acquire(client->core, boot_of(client), &body, slot, slot, on_acquired);
    if (slot->acquiring) {
        slot->call = call;
    }
}

static void let_go(struct client *client, struct hold_slot *slot)
{
    if (sometimes(2)) {
        slot->lost = true; /* on_lost must not come any more */
        client->calls++;
        (void)lsc_release(client->core, boot_of(client), slot->hold, client, on_done);
        slot->lost = false;
        slot->was_certain = false;
    }
    lsc_hold_free(client->core, boot_of(client), slot->hold);
    memset(slot, 0, sizeof(*slot));
}

static void act(struct client *client)
{
    struct hold_slot *slot = &client->holds[any(HOLDS)];
    if (!slot->used) {
        acquire(client, slot);
    } else if (slot->acquiring) {
        if (sometimes(10)) {
            lsc_acquire_cancel(client->core, boot_of(client), slot->call);
        }
    } else if (slot->lost || sometimes(4)) {
        let_go(client, slot);
    } else if (sometimes(3)) {
        client->calls++;
        (void)lsc_extend(client->core, boot_of(client), slot->hold, sometimes(3) ? 0 : 100 + any(2000), client, on_done);
    } else if (sometimes(w.restless ? 3 : 20)) {
        uint64_t ttl_ms = !w.restless ? 500 + any(3000) : sometimes(2) ? 400 : 8000;
        client->calls++;
        (void)lsc_session_renew(client->core, boot_of(client), ttl_ms, client, on_done);
    }
}

static void client_turn(struct client *client)
{
    struct message *message;
    if (client->connecting && w.now >= client->connect_at) {
        client->connecting = false;
        bool refused = !w.calm && sometimes(6);
        client->open = !refused;
        if (refused) {
            lsc_core_disconnected(client->core, boot_of(client), "refused");
        } else {
            lsc_core_connected(client->core, boot_of(client));
        }
    }
    while (client->open && (message = pipe_take(&client->to_node)) != NULL) {
        if (!client->silent) {
            take_bytes(client, message);
        }
        free(message);
    }
    while (client->open && (message = pipe_take(&client->to_client)) != NULL) {
        if (!client->silent) {
            lsc_core_received(client->core, boot_of(client), message->data, message->size);
        }
        free(message);
    }
    if (boot_reached(boot_of(client), lsc_core_deadline(client->core))) {
        lsc_core_tick(client->core, boot_of(client));
    }
    if (!w.calm && client->open && sometimes(w.restless ? 1500 : 4000)) {
        cut(client);
    }
    if (!w.calm && client->open && sometimes(8000)) {
        client->silent = true;
    }
}

/* ---- the promise ---- */

static bool state_has(const struct hold_slot *slot)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET, .body.lock_get.key = {(const uint8_t *)slot->key, 2}};
    struct proto_reply reply;
    fsm_query(w.fsm, fsm_time(w.fsm), &request, &w.rows, &reply);
    for (uint32_t i = 0; i < reply.body.lock.holders_shown; i++) {
        if (reply.body.lock.holders[i].token == lsc_hold_token(slot->hold)) {
            return true;
        }
    }
    return false;
}

static void check(struct client *client)
{
    for (unsigned i = 0; i < HOLDS; i++) {
        struct hold_slot *slot = &client->holds[i];
        if (!slot->used || slot->acquiring) {
            continue;
        }
        bool certain = lsc_hold_remaining_ms(client->core, boot_of(client), slot->hold) > 0;
        slot->was_certain = certain && !slot->lost;
        if (certain) {
            w.checks++;
            if (!state_has(slot)) {
                fail_msg("client %u counts on %s, which the state has not, at %llu", client->number, slot->key,
                         (unsigned long long)w.now);
            }
        }
    }
}

/* ---- a run ---- */

static void begin(uint64_t seed, uint32_t drift_ppm)
{
    static const char *const endpoints[] = {"n1:1", "n2:1", "n3:1"};
    memset(&w, 0, sizeof(w));
    w.random = seed * 2654435769U + 88172645463325252U;
    w.restless = seed % 2 == 0;
    w.fsm = fsm_create();
    fsm_effects_init(&w.effects);
    proto_buffer_init(&w.batch, FSM_ENTRY_BYTES_MAX);
    proto_buffer_init(&w.flight, FSM_ENTRY_BYTES_MAX);
    lead();
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &w.clients[i];
        struct lsc_output output = {client,     out_connect,   out_send,        out_close,
                                    out_random, out_hold_lost, out_session_lost};
        struct lsc_config config = {.endpoints = endpoints, .endpoints_count = 3, .owner = "t",
                                    .session_ttl_ms = 1000 + any(3000), .request_timeout_ms = 2000 + any(3000),
                                    .connect_timeout_ms = 500, .drift_ppm = drift_ppm, .lost_lead_ms = LSC_LEAD_AUTO,
                                    .lock_delay_ms = sometimes(3) ? any(1000) : 0};
        client->number = i;
        client->ppm = (int64_t)any(2 * CLOCK_PPM + 1) - CLOCK_PPM;
        client->boot_base = 1000000 + any(1000000000);
        client->core = lsc_core_create(&config, &output, boot_of(client));
        assert_non_null(client->core);
    }
}

static void pass(uint64_t ms, bool acting)
{
    for (uint64_t end = w.now + ms; w.now < end; w.now++) {
        cluster_turn();
        for (unsigned i = 0; i < CLIENTS; i++) {
            client_turn(&w.clients[i]);
            if (acting && sometimes(30)) {
                act(&w.clients[i]);
            }
            check(&w.clients[i]);
        }
    }
}

static void on_closed(void *user, const struct lsc_outcome *outcome)
{
    struct client *client = user;
    assert_int_equal(outcome->result, LOCKSTEP_OK);
    client->closed = true;
}

static void calm_down(void)
{
    w.calm = true;
    pass(CALM_MS, false); /* longer than any wait and timeout */
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned j = 0; j < HOLDS; j++) {
            struct hold_slot *slot = &w.clients[i].holds[j];
            if (slot->used && slot->acquiring) { /* for ever, behind one that nobody released */
                lsc_acquire_cancel(w.clients[i].core, boot_of(&w.clients[i]), slot->call);
            } else if (slot->used) {
                let_go(&w.clients[i], slot);
            }
        }
    }
    pass(8000, false);
    struct fsm_counts counts;
    fsm_counts(w.fsm, &counts);
    assert_int_equal(counts.grants, 0); /* what was cancelled, abandoned or lost was given back, */
    assert_int_equal(counts.waiters, 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(w.clients[i].calls, 0); /* and everybody was answered */
        lsc_core_close(w.clients[i].core, boot_of(&w.clients[i]), false, &w.clients[i], on_closed);
    }
    pass(3000, false);
    fsm_counts(w.fsm, &counts);
    assert_int_equal(counts.sessions, 0);
    assert_int_equal(counts.locks, 0);
}

static void end(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_true(w.clients[i].closed);
        lsc_core_free(w.clients[i].core);
        pipe_clear(&w.clients[i].to_node);
        pipe_clear(&w.clients[i].to_client);
    }
    fsm_free(w.fsm);
    fsm_effects_done(&w.effects);
    proto_buffer_done(&w.batch);
    proto_buffer_done(&w.flight);
}

static uint64_t first_seed = 1;
static uint64_t runs = 60;

static void test_what_is_certain_is_granted(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + runs; seed++) {
        print_message("seed %llu:", (unsigned long long)seed);
        begin(seed, 1000);
        pass(STORM_MS, true);
        calm_down();
        end();
        print_message(" %lu grants, %lu losses, %lu failovers, %lu cuts, %lu looks\n", w.grants, w.losses, w.failovers,
                      w.cuts, w.checks);
        assert_true(w.grants > 10);
    }
}

int main(int argc, char **argv)
{
    const char *seed = argc > 1 ? argv[1] : getenv("LOCKSTEP_SEED");
    if (seed != NULL) {
        first_seed = strtoull(seed, NULL, 10);
    }
    if (argc > 2) {
        runs = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_certain_is_granted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
