/* The cluster of certain_test.c: entries in flight, failovers, messages that are late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/encode.h"
#include "protocol/frame.h"
#include "tests/unit/client/certain_world.h"

struct certain_world w;


uint64_t any(uint64_t below)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (w.random >> 11) % below;
}

bool sometimes(uint64_t one_in)
{
    return any(one_in) == 0;
}

static uint64_t drifted(uint64_t passed, int64_t ppm)
{
    return (uint64_t)((int64_t)passed + (int64_t)passed * ppm / 1000000);
}

struct boot_time boot_of(const struct client *client)
{
    return (struct boot_time){client->boot_base + drifted(w.now, client->ppm)};
}

static uint64_t estimate(void)
{
    return w.leader_base + drifted(w.now - w.leader_since, w.leader_ppm);
}

/* ---- pipes ---- */

uint64_t delay(void)
{
    if (w.calm) {
        return any(3);
    }
    return sometimes(40) ? any(2500) : any(40);
}

void pipe_put(struct pipe *pipe, const void *data, size_t size)
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

struct message *pipe_take(struct pipe *pipe)
{
    struct message *message = pipe->first;
    if (message == NULL || message->at > w.now) {
        return NULL;
    }
    pipe->first = message->next;
    pipe->last = pipe->first == NULL ? NULL : pipe->last;
    return message;
}

void pipe_clear(struct pipe *pipe)
{
    while (pipe->first != NULL) {
        struct message *next = pipe->first->next;
        free(pipe->first);
        pipe->first = next;
    }
    pipe->last = NULL;
    pipe->last_at = 0;
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
        command.proof = fsm_entry_proof(command.digest);
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
    } else if (proto_operation_find(request.kind)->served_by == PROTO_QUERY) {
        struct proto_reply reply;
        fsm_query(w.fsm, fsm_time(w.fsm), &request, &w.rows, &reply);
        send_frame(&owner, encode_reply, &reply);
    } else {
        add_command(&owner, &request);
    }
}

void take_bytes(struct client *client, const struct message *message)
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

void cut(struct client *client)
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

void lead(void)
{
    w.leader = 1 + (unsigned)any(NODES);
    w.leader_since = w.now;
    w.leader_base = fsm_time(w.fsm).ms;
    w.leader_ppm = (int64_t)any(2 * CLOCK_PPM + 1) - CLOCK_PPM;
}

void cluster_turn(void)
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
