/* See world.h. */
#include "tests/unit/client/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/encode.h"
#include "protocol/frame.h"

enum { CLUSTER_AHEAD_MS = 1000000 };

struct proto_bytes world_text(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, text == NULL ? 0 : (uint32_t)strlen(text)};
}

/* ---- what the core does ---- */

static void out_connect(void *ctx, const char *address)
{
    struct world *world = ctx;
    assert_false(world->connecting || world->connected); /* there is one connection at a time */
    world->connecting = true;
    world->connection++;
    world->connect_at = world->now;
    world->greeted = false;
    (void)snprintf(world->address, sizeof(world->address), "%s", address);
}

static void take_frame(struct world *world, struct proto_bytes body)
{
    struct proto_error error;
    if (!world->greeted) {
        assert_true(proto_decode_hello_request(body, &world->hello, &error));
        world->greeted = true;
        return;
    }
    assert_true(world->requests_count < WORLD_REQUESTS_MAX);
    struct world_request *request = &world->requests[world->requests_count];
    world->requests_count++;
    request->frame = malloc(body.size);
    assert_non_null(request->frame);
    memcpy(request->frame, body.data, body.size);
    request->at = world->now;
    request->connection = world->connection;
    if (!proto_decode_request((struct proto_bytes){request->frame, body.size}, &request->request, &error)) {
        fail_msg("the core sent what no node accepts: %s", error.detail);
    }
}

static void out_send(void *ctx, const void *data, size_t size)
{
    struct world *world = ctx;
    assert_true(world->connected);
    assert_true(proto_buffer_append(&world->from_core, data, size));
    struct proto_buffer scratch;
    proto_buffer_init(&scratch, PROTO_FRAME_BODY_BYTES_MAX);
    size_t taken = 0;
    while (taken < world->from_core.size) {
        struct proto_bytes body;
        size_t frame_bytes = 0;
        enum proto_frame_result result =
            proto_frame_take(world->from_core.data + taken, world->from_core.size - taken, PROTO_REQUEST_BODY_BYTES_MAX,
                             &scratch, &body, &frame_bytes);
        assert_int_equal(result, PROTO_FRAME_OK); /* whole frames only */
        take_frame(world, body);
        taken += frame_bytes;
    }
    proto_buffer_consume(&world->from_core, taken);
    proto_buffer_done(&scratch);
}

static void out_close(void *ctx)
{
    struct world *world = ctx;
    assert_true(world->connecting || world->connected);
    world->connecting = false;
    world->connected = false;
    world->closes++;
}

/* xorshift: the same numbers in every run. */
static void out_random(void *ctx, void *data, size_t size)
{
    struct world *world = ctx;
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        world->random ^= world->random << 13;
        world->random ^= world->random >> 7;
        world->random ^= world->random << 17;
        bytes[i] = (uint8_t)(world->random >> 24);
    }
}

static void out_hold_lost(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail)
{
    struct world *world = ctx;
    assert_non_null(detail);
    assert_true(world->losses_count < WORLD_LOSSES_MAX);
    world->losses[world->losses_count] = (struct world_loss){.user = user, .reason = reason, .at = world->now};
    world->losses_count++;
}

static void out_session_lost(void *ctx, enum lockstep_lost_reason reason, const char *detail)
{
    struct world *world = ctx;
    assert_non_null(detail);
    world->session_losses++;
    world->session_loss_reason = reason;
}

void world_done(void *user, const struct lsc_outcome *outcome)
{
    struct world_done *done = user;
    assert_int_equal(done->count, 0); /* K1 */
    done->count++;
    done->result = outcome->result;
    done->hold = outcome->hold;
    (void)snprintf(done->detail, sizeof(done->detail), "%s", outcome->detail);
    if (done->world != NULL) {
        done->at = done->world->now;
    }
    if (outcome->reply != NULL) {
        done->number = outcome->reply->applied_index;
    }
    assert_true((outcome->result == LOCKSTEP_OK) || outcome->hold == NULL);
}

/* ---- the beginning and the end ---- */

struct lsc_config world_config(void)
{
    static const char *const endpoints[] = {"n1:1", "n2:2", "n3:3"};
    return (struct lsc_config){
        .endpoints = endpoints,
        .endpoints_count = 3,
        .owner = "tester",
        .session_ttl_ms = 3000,
        .request_timeout_ms = 10000,
        .connect_timeout_ms = 2000,
        .lost_lead_ms = LSC_LEAD_AUTO,
    };
}

void world_init(struct world *world, const struct lsc_config *config)
{
    memset(world, 0, sizeof(*world));
    world->now.ms = 50000;
    world->random = 0x9e3779b97f4a7c15U;
    proto_buffer_init(&world->from_core, 64 * 1024 * 1024);
    struct lsc_config standard = world_config();
    struct lsc_output output = {
        .ctx = world,
        .connect = out_connect,
        .send = out_send,
        .close = out_close,
        .random = out_random,
        .hold_lost = out_hold_lost,
        .session_lost = out_session_lost,
    };
    world->core = lsc_core_create(config == NULL ? &standard : config, &output, world->now);
    assert_non_null(world->core);
}

void world_free(struct world *world)
{
    lsc_core_free(world->core);
    for (unsigned i = 0; i < world->requests_count; i++) {
        free(world->requests[i].frame);
    }
    proto_buffer_done(&world->from_core);
}

void world_pass(struct world *world, uint64_t ms)
{
    struct boot_time end = boot_after(world->now, ms);
    for (unsigned ticks = 0;; ticks++) {
        struct boot_time due = lsc_core_deadline(world->core);
        if (due.ms > end.ms) {
            break;
        }
        assert_true(ticks < 1000000); /* a deadline that a tick does not move would spin for ever */
        world->now = due.ms > world->now.ms ? due : world->now;
        lsc_core_tick(world->core, world->now);
    }
    world->now = end;
}

/* ---- the connection ---- */

void world_await_connect(struct world *world)
{
    struct boot_time end = boot_after(world->now, 60000);
    while (!world->connecting) {
        struct boot_time due = lsc_core_deadline(world->core);
        assert_true(due.ms <= end.ms);
        world->now = due.ms > world->now.ms ? due : world->now;
        lsc_core_tick(world->core, world->now);
    }
}

void world_accept_hello(struct world *world, const struct proto_hello_reply *hello)
{
    assert_true(world->connecting);
    world->connecting = false;
    world->connected = true;
    lsc_core_connected(world->core, world->now);
    assert_true(world->greeted);
    struct proto_buffer frame;
    proto_buffer_init(&frame, 4096);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_hello_reply(&frame, hello);
    assert_true(proto_frame_end(&frame, begin, false));
    world_bytes(world, frame.data, frame.size);
    proto_buffer_done(&frame);
}

void world_accept(struct world *world, uint64_t node_id, uint64_t leader_id, const char *leader_address)
{
    struct proto_hello_reply hello = {
        .status = PROTO_STATUS_OK,
        .version = 1,
        .cluster_id = 99,
        .node_id = node_id,
        .leader_id = leader_id,
        .leader_address = world_text(leader_address),
        .heartbeat_ms = 1000,
    };
    world_accept_hello(world, &hello);
}

void world_refuse(struct world *world)
{
    assert_true(world->connecting);
    world->connecting = false;
    lsc_core_disconnected(world->core, world->now, "connection refused");
}

void world_cut(struct world *world)
{
    assert_true(world->connected);
    world->connected = false;
    proto_buffer_clear(&world->from_core);
    lsc_core_disconnected(world->core, world->now, "connection reset");
}

void world_bytes(struct world *world, const void *data, size_t size)
{
    lsc_core_received(world->core, world->now, data, size);
}

/* ---- requests ---- */

const struct world_request *world_next(struct world *world)
{
    while (world->requests_read < world->requests_count) {
        const struct world_request *request = &world->requests[world->requests_read];
        world->requests_read++;
        if (request->request.kind != PROTO_PING) {
            return request;
        }
        struct proto_reply pong = {.kind = PROTO_PING, .id = request->request.id};
        if (world->connected && request->connection == world->connection) {
            world_reply(world, &pong);
        }
    }
    return NULL;
}

const struct world_request *world_expect(struct world *world, enum proto_kind kind)
{
    const struct world_request *request = world_next(world);
    assert_non_null(request);
    assert_int_equal(request->request.kind, kind);
    return request;
}

void world_expect_none(struct world *world)
{
    const struct world_request *request = world_next(world);
    if (request != NULL) {
        fail_msg("an unexpected request of kind %d", (int)request->request.kind);
    }
}

/* ---- answers ---- */

void world_reply(struct world *world, const struct proto_reply *reply)
{
    struct proto_buffer frame;
    proto_buffer_init(&frame, PROTO_FRAME_BODY_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_reply(&frame, reply);
    assert_true(proto_frame_end(&frame, begin, true));
    world_bytes(world, frame.data, frame.size);
    proto_buffer_done(&frame);
}

void world_event(struct world *world, const struct proto_event *event)
{
    struct proto_buffer frame;
    proto_buffer_init(&frame, 4096);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_event(&frame, event);
    assert_true(proto_frame_end(&frame, begin, true));
    world_bytes(world, frame.data, frame.size);
    proto_buffer_done(&frame);
}

static struct proto_reply answer(const struct world_request *to, enum proto_status status, uint64_t time_ms)
{
    return (struct proto_reply){
        .kind = to->request.kind, .id = to->request.id, .status = status, .time = {time_ms}};
}

void world_reply_session(struct world *world, const struct world_request *to, uint64_t session_id, uint64_t time_ms,
                         uint64_t deadline_ms)
{
    struct proto_reply reply = answer(to, PROTO_STATUS_OK, time_ms);
    reply.body.session.session_id = session_id;
    reply.body.session.ttl_ms = deadline_ms - time_ms;
    reply.body.session.deadline.ms = deadline_ms;
    world_reply(world, &reply);
}

void world_reply_grant(struct world *world, const struct world_request *to, uint64_t token, uint64_t time_ms,
                       uint64_t deadline_ms)
{
    struct proto_reply reply = answer(to, PROTO_STATUS_OK, time_ms);
    reply.body.grant.token = token;
    reply.body.grant.fence = token;
    reply.body.grant.holds = 1;
    reply.body.grant.deadline.ms = deadline_ms;
    world_reply(world, &reply);
}

void world_reply_status(struct world *world, const struct world_request *to, enum proto_status status, uint64_t time_ms)
{
    struct proto_reply reply = answer(to, status, time_ms);
    if (status == PROTO_STATUS_HELD) {
        reply.body.holder = (struct proto_holder){.session_id = 5, .owner = world_text("other"), .token = 3, .fence = 3, .holds = 1};
    }
    world_reply(world, &reply);
}

void world_reply_ok(struct world *world, const struct world_request *to, uint64_t time_ms)
{
    world_reply_status(world, to, PROTO_STATUS_OK, time_ms);
}

void world_reply_moved(struct world *world, const struct world_request *to, enum proto_status status, uint64_t leader_id,
                       const char *leader_address)
{
    struct proto_reply reply = answer(to, status, 0);
    reply.body.refusal.leader_id = leader_id;
    reply.body.refusal.leader_address = world_text(leader_address);
    world_reply(world, &reply);
}

/* ---- scenes ---- */

uint64_t world_cluster_ms(const struct world *world)
{
    return world->now.ms + CLUSTER_AHEAD_MS;
}

void world_open_session(struct world *world)
{
    struct world_done done = {0};
    assert_non_null(lsc_session_open(world->core, world->now, &done, world_done));
    world_await_connect(world);
    world_accept(world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(world, PROTO_SESSION_OPEN);
    world_reply_session(world, open, 7, world_cluster_ms(world),
                        world_cluster_ms(world) + open->request.body.session_open.ttl_ms);
    assert_int_equal(done.count, 1);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_int_equal(lsc_session_id(world->core), 7);
}

struct proto_lock_acquire world_acquire_body(const char *key, uint64_t wait_ms)
{
    return (struct proto_lock_acquire){.key = world_text(key), .wait_ms = wait_ms};
}

struct lsc_hold *world_acquire(struct world *world, const char *key, uint64_t token, void *hold_user)
{
    struct world_done done = {0};
    struct proto_lock_acquire body = world_acquire_body(key, 0);
    assert_non_null(lsc_acquire(world->core, world->now, &body, hold_user, &done, world_done));
    const struct world_request *acquire = world_expect(world, PROTO_LOCK_ACQUIRE);
    world_reply_grant(world, acquire, token, world_cluster_ms(world), world_cluster_ms(world) + 3000);
    assert_int_equal(done.count, 1);
    assert_int_equal(done.result, LOCKSTEP_OK);
    assert_non_null(done.hold);
    return done.hold;
}
