/* Whatever a node sends: no crash, no promise broken, no memory beyond bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/frame.h"
#include "tests/unit/client/world_fixture.h"

static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % bound;
}

static void begin_acquire(uint64_t wait_ms)
{
    struct proto_lock_acquire body = world_acquire_body("k", wait_ms);
    (void)lsc_acquire(world.core, world.now, &body, NULL, &done, world_done);
}

static void a_greeting_that_is_none_ends_the_connection(void **state)
{
    (void)state;
    begin_acquire(0);
    world_await_connect(&world);
    world.connecting = false;
    world.connected = true;
    lsc_core_connected(world.core, world.now);
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    world_bytes(&world, http, sizeof(http) - 1);
    assert_int_equal(world.closes, 1);
    world_await_connect(&world); /* and another is tried */
}

static void a_frame_longer_than_any_is_refused_by_its_length(void **state)
{
    (void)state;
    world_open_session(&world);
    static const uint8_t length[] = {0xff, 0xff, 0xff, 0x7f, 0};
    world_bytes(&world, length, sizeof(length));
    assert_int_equal(world.closes, 1);
}

static void a_reply_to_another_operation_is_no_answer(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire(0);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct proto_reply reply = {.kind = PROTO_LOCK_RELEASE, .id = acquire->request.id};
    world_reply(&world, &reply);
    assert_int_equal(done.count, 0);
    assert_int_equal(world.closes, 1);
}

/* Not hostile, but older than the library: it can not name what it does not know. */
static void a_node_that_does_not_know_the_operation_is_understood(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire(0);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct proto_reply reply = {.id = acquire->request.id, .status = PROTO_STATUS_UNSUPPORTED};
    world_reply(&world, &reply);
    assert_int_equal(done.result, LOCKSTEP_UNSUPPORTED);
    assert_int_equal(world.closes, 0);
}

static void a_reply_to_nothing_is_passed_over(void **state)
{
    (void)state;
    world_open_session(&world);
    for (uint64_t id = 0; id < 5; id++) {
        struct proto_reply reply = {.kind = PROTO_LOCK_RELEASE, .id = id == 4 ? UINT64_MAX : id + 500};
        world_reply(&world, &reply);
    }
    assert_int_equal(world.closes, 0);
    world_expect_none(&world);
}

static void the_same_answer_twice_is_one(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire(0);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    world_reply_grant(&world, acquire, 40, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    world_reply_grant(&world, acquire, 41, world_cluster_ms(&world), world_cluster_ms(&world) + 9000);
    assert_int_equal(done.count, 1);
    assert_int_equal(lsc_hold_token(done.hold), 40);
}

static void another_session_than_asked_for_is_no_resumption(void **state)
{
    (void)state;
    world_open_session(&world);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    const struct world_request *open = world_expect(&world, PROTO_SESSION_OPEN);
    unsigned closes = world.closes;
    world_reply_session(&world, open, 8, world_cluster_ms(&world), world_cluster_ms(&world) + 3000);
    assert_int_equal(world.closes, closes + 1);
    assert_true(lsc_session_id(world.core) == 7);
}

static void deadlines_at_the_ends_of_time_do_not_overflow(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire(0);
    world_reply_grant(&world, world_expect(&world, PROTO_LOCK_ACQUIRE), UINT64_MAX, UINT64_MAX - 1, UINT64_MAX);
    assert_int_equal(done.count, 1);
    (void)lsc_hold_remaining_ms(world.core, world.now, done.hold); /* a node that lies may be believed, but not crash */
    world_pass(&world, 900);
    struct proto_event event = {
        .kind = PROTO_EVENT_LEADER_MOVED, .leader_id = UINT64_MAX, .leader_address = world_text("not an address")};
    world_event(&world, &event);
    world_pass(&world, 100);
}

static void a_heartbeat_of_zero_or_for_ever_is_bounded(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, UINT64_MAX};
    for (unsigned i = 0; i < 2; i++) {
        world_free(&world);
        world_init(&world, NULL);
        done = (struct world_done){.world = &world};
        begin_acquire(0);
        world_await_connect(&world);
        struct proto_hello_reply hello = {.status = PROTO_STATUS_OK,
                                          .version = 1,
                                          .cluster_id = 99,
                                          .node_id = 1,
                                          .leader_id = 1,
                                          .heartbeat_ms = values[i]};
        world_accept_hello(&world, &hello);
        unsigned sent = world.requests_count;
        world_pass(&world, 1000);
        assert_true(world.requests_count - sent < 60);
        assert_true(world.requests_count - sent > 0);
    }
}

static void random_bytes_break_nothing(void **state)
{
    (void)state;
    const char *given = getenv("LOCKSTEP_SEED");
    seed = given == NULL ? 20260802 : strtoull(given, NULL, 10) | 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    static uint8_t bytes[4096];
    for (int i = 0; i < 3000; i++) {
        if (world.requests_count > WORLD_REQUESTS_MAX / 2) {
            world_free(&world);
            world_init(&world, NULL);
        }
        if (world.connecting && draw(4) != 0) {
            world_accept(&world, 1, 1, "n1:1");
        }
        if (draw(8) == 0) {
            static struct world_done scratch[8];
            struct world_done *to = &scratch[draw(8)];
            if (to->count == 1 || to->world == NULL) {
                *to = (struct world_done){.world = &world};
                struct proto_lock_acquire body = world_acquire_body("k", draw(2) == 0 ? 0 : PROTO_WAIT_FOREVER);
                (void)lsc_acquire(world.core, world.now, &body, NULL, to, world_done);
            }
        }
        size_t size = 1 + (size_t)draw(draw(10) == 0 ? sizeof(bytes) : 60);
        for (size_t k = 0; k < size; k++) {
            bytes[k] = (uint8_t)draw(256);
        }
        if (size > 6 && draw(4) != 0) {
            /* A fitting header, so that the body is read; and often the beginning of an array. */
            bytes[0] = (uint8_t)(size - 4);
            bytes[1] = (uint8_t)((size - 4) >> 8);
            bytes[2] = bytes[3] = bytes[4] = 0;
            static const uint8_t starts[] = {0x93, 0x94, 0x95, 0x96, 0x97, 0x98};
            bytes[5] = starts[draw(sizeof(starts))];
            bytes[6] = (uint8_t)draw(110);
        }
        if (world.connected) {
            world_bytes(&world, bytes, size);
        }
        world_pass(&world, draw(100));
    }
}

/* Real answers with a byte changed: what decodes must still make sense. */
static void changed_answers_break_nothing(void **state)
{
    (void)state;
    seed = 20260803;
    for (int i = 0; i < 3000; i++) {
        if (world.requests_count > WORLD_REQUESTS_MAX / 2) {
            world_free(&world);
            world_init(&world, NULL);
        }
        static struct world_done many[3000];
        many[i] = (struct world_done){.world = &world};
        if (draw(4) == 0) {
            struct proto_lock_acquire body = world_acquire_body("k", 0);
            (void)lsc_acquire(world.core, world.now, &body, NULL, &many[i], world_done);
        }
        if (world.connecting) {
            world_accept(&world, 1, 1, "n1:1");
        }
        const struct world_request *request = world_next(&world);
        if (request != NULL && world.connected && request->connection == world.connection) {
            uint8_t frame[32] = {0};
            size_t size = 0;
            uint8_t body[] = {0x98, (uint8_t)request->request.kind, (uint8_t)request->request.id, 0, 0, (uint8_t)draw(128),
                              (uint8_t)draw(128), (uint8_t)draw(128), (uint8_t)draw(128)};
            body[draw(sizeof(body))] = (uint8_t)draw(256);
            frame[0] = sizeof(body) + 1;
            memcpy(frame + 5, body, sizeof(body));
            size = 5 + sizeof(body);
            world_bytes(&world, frame, size);
        }
        world_pass(&world, draw(200));
    }
}

/* It would make a grant that is known one of which nothing is. */
static void a_grant_that_was_entered_no_times_is_no_answer(void **state)
{
    (void)state;
    world_open_session(&world);
    begin_acquire(0);
    const struct world_request *acquire = world_expect(&world, PROTO_LOCK_ACQUIRE);
    struct proto_reply reply = {.kind = PROTO_LOCK_ACQUIRE, .id = acquire->request.id, .time = {world_cluster_ms(&world)}};
    reply.body.grant.token = 2;
    reply.body.grant.deadline.ms = world_cluster_ms(&world) + 3000;
    world_reply(&world, &reply);
    assert_int_equal(done.count, 0);
    assert_int_equal(world.closes, 1);
}

/* A cluster that was set up anew under the old name gives the numbers of the old sessions out again. */
static void a_session_that_is_anothers_by_now_is_lost(void **state)
{
    (void)state;
    world_open_session(&world);
    (void)world_acquire(&world, "k", 40, &done);
    world_cut(&world);
    world_await_connect(&world);
    world_accept(&world, 1, 1, "n1:1");
    world_reply_status(&world, world_expect(&world, PROTO_SESSION_OPEN), PROTO_STATUS_BAD_SECRET, 1000);
    assert_int_equal(world.losses_count, 1);
    assert_int_equal(world.session_losses, 1);
    assert_int_equal(world.session_loss_reason, LOCKSTEP_LOST_ENDED);
    begin_acquire(0);
    assert_int_equal(world_expect(&world, PROTO_SESSION_OPEN)->request.body.session_open.resume_id, 0);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_greeting_that_is_none_ends_the_connection),
        RULE(a_frame_longer_than_any_is_refused_by_its_length),
        RULE(a_reply_to_another_operation_is_no_answer),
        RULE(a_node_that_does_not_know_the_operation_is_understood),
        RULE(a_reply_to_nothing_is_passed_over),
        RULE(the_same_answer_twice_is_one),
        RULE(another_session_than_asked_for_is_no_resumption),
        RULE(deadlines_at_the_ends_of_time_do_not_overflow),
        RULE(a_heartbeat_of_zero_or_for_ever_is_bounded),
        RULE(a_grant_that_was_entered_no_times_is_no_answer),
        RULE(a_session_that_is_anothers_by_now_is_lost),
        RULE(random_bytes_break_nothing),
        RULE(changed_answers_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
