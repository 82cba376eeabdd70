/* The promise of lockstep_lock_remaining_ms(), by random trial: while a client counts a lock as certainly held, the
 * cluster's state has its grant. And of on_lost: it comes while the lock is still certain.
 *
 * Real cores opposite the real state machine, in virtual time. Clocks run at different speeds, messages are late by anything
 * up to seconds, connections break or fall silent, leaders go and come with the entries that were in flight committed or
 * not. At every millisecond every hold is compared with the state. In the end it is calm: then every call must have ended
 * and, once the clients have gone, nothing may be left in the state.
 *
 * usage: test [SEED [RUNS]], or LOCKSTEP_TEST_SEED. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/core.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "raft_fsm/fsm.h"

enum {
    CLIENTS = 3,
    HOLDS = 12,  /* of one client */
    KEYS = 3,
    NODES = 3,
    BATCH = 64,
    STORM_MS = 40000,
    CALM_MS = 30000,
    CLOCK_PPM = 400, /* each clock is wrong by up to this; two differ by twice as much, the clients allow for 1000 */
};

struct message {
    struct message *next;
    uint64_t at;
    size_t size;
    uint8_t data[];
};
struct pipe {
    struct message *first, *last;
    uint64_t last_at;
};

struct hold_slot {
    bool used;
    bool acquiring;
    struct lsc_call *call;
    struct lsc_hold *hold;
    char key[8];
    bool lost;
    bool was_certain; /* a millisecond ago */
};

struct client {
    unsigned number;
    struct lsc_core *core;
    int64_t ppm;
    uint64_t boot_base;
    uint8_t secret[PROTO_SECRET_BYTES];
    /* its connection */
    bool connecting, open, silent;
    unsigned generation;
    unsigned node;
    bool greeted;
    uint64_t connect_at;
    struct pipe to_node, to_client;
    struct hold_slot holds[HOLDS];
    unsigned calls; /* under way */
    bool closed;
};

struct owner {
    struct client *client;
    unsigned generation;
    uint64_t id;
};
struct wait {
    uint64_t session_id, request_id;
    struct owner owner;
};

static struct {
    uint64_t now; /* true time, ms */
    uint64_t random;
    bool calm;
    struct client clients[CLIENTS];
    struct fsm *fsm;
    unsigned leader; /* 0: none */
    uint64_t leader_since, leader_base;
    int64_t leader_ppm;
    uint64_t next_leader_at;
    struct proto_buffer batch; /* of commands that wait for the entry in flight */
    struct fsm_entry_writer writer;
    struct owner batch_owners[BATCH], flight_owners[BATCH];
    unsigned batch_count, flight_count;
    struct proto_buffer flight;
    bool in_flight;
    uint64_t commit_at;
    struct fsm_effects effects;
    struct wait waits[256];
    uint64_t owners_of_sessions[4096]; /* client number + 1 by session id */
    struct proto_rows rows;
    unsigned long grants, losses, checks, failovers, cuts;
} w;

static uint64_t any(uint64_t below)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (w.random >> 11) % below;
}

static bool sometimes(uint64_t one_in)
{
    return any(one_in) == 0;
}

static uint64_t drifted(uint64_t passed, int64_t ppm)
{
    return (uint64_t)((int64_t)passed + (int64_t)passed * ppm / 1000000);
}

static struct boot_time boot_of(const struct client *client)
{
    return (struct boot_time){client->boot_base + drifted(w.now, client->ppm)};
}

static uint64_t estimate(void)
{
    return w.leader_base + drifted(w.now - w.leader_since, w.leader_ppm);
}

/* ---- pipes ---- */

static uint64_t delay(void)
{
    if (w.calm) {
        return any(3);
    }
    return sometimes(40) ? any(2500) : any(40);
}

static void pipe_put(struct pipe *pipe, const void *data, size_t size)
{
    struct message *message = malloc(sizeof(*message) + size);
    assert_non_null(message);
    memcpy(message->data, data, size);
    message->size = size;
    message->next = NULL;
    message->at = w.now + delay();
    message->at = message->at > pipe->last_at ? message->at : pipe->last_at; /* in order */
    pipe->last_at = message->at;
    *(pipe->last == NULL ? &pipe->first : &pipe->last->next) = message;
    pipe->last = message;
}

static struct message *pipe_take(struct pipe *pipe)
{
    struct message *message = pipe->first;
    if (message == NULL || message->at > w.now) {
        return NULL;
    }
    pipe->first = message->next;
    pipe->last = pipe->first == NULL ? NULL : pipe->last;
    return message;
}

static void pipe_clear(struct pipe *pipe)
{
    while (pipe->first != NULL) {
        struct message *next = pipe->first->next;
        free(pipe->first);
        pipe->first = next;
    }
    pipe->last = NULL;
    pipe->last_at = 0;
}

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

/* ---- what nodes answer ---- */

static void send_frame(const struct owner *owner, void (*encode)(struct proto_buffer *, const void *), const void *what)
{
    struct client *client = owner->client;
    if (!client->open || client->generation != owner->generation) {
        return;
    }
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, PROTO_FRAME_BODY_BYTES_MAX + 64);
    size_t begin = proto_frame_begin(&buffer);
    encode(&buffer, what);
    assert_true(proto_frame_end(&buffer, begin, true));
    pipe_put(&client->to_client, buffer.data, buffer.size);
    proto_buffer_done(&buffer);
}

static void encode_reply(struct proto_buffer *buffer, const void *reply)
{
    proto_encode_reply(buffer, reply);
}
static void encode_event(struct proto_buffer *buffer, const void *event)
{
    proto_encode_event(buffer, event);
}
static void encode_hello(struct proto_buffer *buffer, const void *hello)
{
    proto_encode_hello_reply(buffer, hello);
}

static struct proto_bytes leader_address(char *buffer)
{
    (void)snprintf(buffer, 8, "n%u:1", w.leader % 10);
    return (struct proto_bytes){(const uint8_t *)buffer, w.leader == 0 ? 0 : 4};
}

static void greet(struct client *client)
{
    char address[8];
    struct owner owner = {client, client->generation, 0};
    struct proto_hello_reply hello = {.status = PROTO_STATUS_OK, .version = 1, .cluster_id = 5, .node_id = client->node,
                                      .leader_id = w.leader, .leader_address = leader_address(address),
                                      .heartbeat_ms = 200};
    client->greeted = true;
    send_frame(&owner, encode_hello, &hello);
}

static void refuse(const struct owner *owner, enum proto_kind kind, enum proto_status status)
{
    char address[8];
    struct proto_reply reply = {.kind = kind, .id = owner->id, .status = status};
    if (status == PROTO_STATUS_NOT_LEADER) {
        reply.body.refusal.leader_id = w.leader;
        reply.body.refusal.leader_address = leader_address(address);
    }
    send_frame(owner, encode_reply, &reply);
}

static void add_command(const struct owner *owner, const struct proto_request *request)
{
    struct fsm_command command = {.kind = request->kind, .body = request->body};
    memcpy(command.digest, request->secret, sizeof(command.digest)); /* the state machine does not care which digest */
    if (proto_operation_find(request->kind)->sent_by == PROTO_SESSION) {
        command.request_id = request->id;
        command.session_id = request->session_id;
        command.ack_floor = request->ack_floor;
        for (unsigned i = 8; i-- > 0;) {
            command.proof = command.proof << 8 | request->secret[i];
        }
    }
    if (w.batch_count == 0) {
        proto_buffer_clear(&w.batch);
        fsm_entry_begin(&w.writer, &w.batch, (struct cluster_time){estimate()}); /* patched when it is proposed */
    }
    if (w.batch_count == BATCH || sometimes(60) || !fsm_entry_add(&w.writer, &command)) {
        refuse(owner, request->kind, PROTO_STATUS_OVERLOADED);
        return;
    }
    w.batch_owners[w.batch_count++] = *owner;
}

static void take_request(struct client *client, struct proto_bytes body)
{
    struct proto_request request;
    struct proto_error error;
    if (!client->greeted) {
        greet(client);
        return;
    }
    if (!proto_decode_request(body, &request, &error)) {
        fail_msg("the core sent what no node accepts: %s", error.detail);
    }
    struct owner owner = {client, client->generation, request.id};
    if (request.kind == PROTO_PING) {
        struct proto_reply pong = {.kind = PROTO_PING, .id = request.id, .status = PROTO_STATUS_OK};
        send_frame(&owner, encode_reply, &pong);
    } else if (client->node != w.leader) {
        refuse(&owner, request.kind, PROTO_STATUS_NOT_LEADER);
    } else {
        add_command(&owner, &request);
    }
}

static void take_bytes(struct client *client, const struct message *message)
{
    struct proto_buffer scratch;
    proto_buffer_init(&scratch, PROTO_FRAME_BODY_BYTES_MAX);
    for (size_t taken = 0; taken < message->size;) {
        struct proto_bytes body;
        size_t size = 0;
        enum proto_frame_result result = proto_frame_take(message->data + taken, message->size - taken,
                                                          PROTO_REQUEST_BODY_BYTES_MAX, &scratch, &body, &size);
        assert_int_equal(result, PROTO_FRAME_OK);
        take_request(client, body);
        taken += size;
    }
    proto_buffer_done(&scratch);
}

/* ---- the leader ---- */

static struct wait *find_wait(uint64_t session_id, uint64_t request_id)
{
    for (unsigned i = 0; i < 256; i++) {
        if (w.waits[i].session_id == session_id && w.waits[i].request_id == request_id) {
            return &w.waits[i];
        }
    }
    return NULL;
}

static void on_effect(const struct fsm_effect *effect)
{
    const struct owner *owner =
        effect->command_index == FSM_NO_COMMAND ? NULL : &w.flight_owners[effect->command_index];
    if (effect->kind == FSM_REPLY) {
        if (effect->reply.kind == PROTO_SESSION_OPEN && effect->reply.status == PROTO_STATUS_OK) {
            w.owners_of_sessions[effect->reply.body.session.session_id % 4096] = owner->client->number + 1;
        }
        struct proto_reply reply = effect->reply;
        reply.id = owner->id;
        send_frame(owner, encode_reply, &reply);
    } else if (effect->kind == FSM_QUEUED) {
        struct wait *wait = find_wait(effect->session_id, effect->request_id);
        wait = wait == NULL ? find_wait(0, 0) : wait;
        assert_non_null(wait);
        *wait = (struct wait){effect->session_id, effect->request_id, *owner};
    } else if (effect->kind == FSM_WAIT_ENDED) {
        struct wait *wait = find_wait(effect->session_id, effect->request_id);
        if (wait != NULL) {
            send_frame(&wait->owner, encode_reply, &effect->reply);
            memset(wait, 0, sizeof(*wait));
        }
    } else {
        uint64_t number = w.owners_of_sessions[effect->session_id % 4096];
        if (number != 0) {
            struct client *client = &w.clients[number - 1];
            struct owner now = {client, client->generation, 0};
            if (client->node == w.leader) {
                send_frame(&now, encode_event, &effect->event);
            }
        }
    }
}

static void commit(bool answered)
{
    struct proto_error error;
    enum fsm_result result = fsm_apply(w.fsm, w.flight.data, w.flight.size, &w.effects, &error);
    assert_int_equal(result, FSM_APPLIED);
    w.in_flight = false;
    for (size_t i = 0; answered && i < w.effects.count; i++) {
        on_effect(&w.effects.list[i]);
    }
    fsm_check_invariants(w.fsm);
}

static void propose(void)
{
    bool due = fsm_next_due(w.fsm).ms <= estimate();
    if (w.in_flight || w.leader == 0 || (w.batch_count == 0 && !due)) {
        return;
    }
    /* The entry again, with the time of now: what waited for the one in flight is stamped when it is proposed. */
    struct fsm_entry_reader reader;
    struct fsm_entry_writer writer;
    struct fsm_command command;
    struct proto_error error = {0};
    proto_buffer_clear(&w.flight);
    fsm_entry_begin(&writer, &w.flight, (struct cluster_time){estimate()});
    if (w.batch_count > 0) {
        fsm_entry_end(&w.writer);
        assert_true(fsm_entry_open(&reader, w.batch.data, w.batch.size, &error));
        while (fsm_entry_next(&reader, &command, &error)) {
            assert_true(fsm_entry_add(&writer, &command));
        }
    }
    fsm_entry_end(&writer);
    memcpy(w.flight_owners, w.batch_owners, sizeof(w.flight_owners));
    w.flight_count = w.batch_count;
    w.batch_count = 0;
    w.in_flight = true;
    w.commit_at = w.now + delay() / 2;
}

static void cut(struct client *client)
{
    if (client->open || client->connecting) {
        client->open = client->connecting = false;
        w.cuts++;
        lsc_core_disconnected(client->core, boot_of(client), "cut");
    }
}

static void lose_leader(void)
{
    if (w.in_flight && sometimes(2)) {
        commit(false); /* the next leader has it */
    }
    w.in_flight = false;
    w.batch_count = 0;
    memset(w.waits, 0, sizeof(w.waits));
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (w.clients[i].node == w.leader && sometimes(2)) {
            cut(&w.clients[i]);
        } else if (w.clients[i].node == w.leader) {
            w.clients[i].silent = true;
        }
    }
    w.leader = 0;
    w.next_leader_at = w.now + 1 + any(w.calm ? 200 : 2500);
    w.failovers++;
}

static void lead(void)
{
    w.leader = 1 + (unsigned)any(NODES);
    w.leader_since = w.now;
    w.leader_base = fsm_time(w.fsm).ms;
    w.leader_ppm = (int64_t)any(2 * CLOCK_PPM + 1) - CLOCK_PPM;
}

static void cluster_turn(void)
{
    if (w.leader == 0 && w.now >= w.next_leader_at) {
        lead();
    } else if (w.leader != 0 && !w.calm && sometimes(6000)) {
        lose_leader();
    }
    if (w.in_flight && w.now >= w.commit_at) {
        commit(true);
    }
    propose();
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
    } else if (sometimes(20)) {
        client->calls++;
        (void)lsc_session_renew(client->core, boot_of(client), 500 + any(3000), client, on_done);
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
    if (!w.calm && client->open && sometimes(4000)) {
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
    fsm_query(w.fsm, &request, &w.rows, &reply);
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
static uint64_t runs = 12;

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
    const char *seed = argc > 1 ? argv[1] : getenv("LOCKSTEP_TEST_SEED");
    if (seed != NULL) {
        first_seed = strtoull(seed, NULL, 10);
    }
    if (argc > 2) {
        runs = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_certain_is_granted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
