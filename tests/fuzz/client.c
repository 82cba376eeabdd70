/* Fuzz target: the client's core opposite a hostile node, in invented time and without a socket. The input is a list of steps:
 * operations are begun, the connection comes and goes, the node answers what was asked, or something else, or raw bytes.
 *
 *   K1  Each operation that was begun is told its end once, and none is left after the client was closed.
 *   K4  A hold is told to be lost once at most, and not after its release was asked for. One that was not told is held.
 *   K5  What the core sends is what a node accepts, and no request id is used for two requests (world.c, check_ids).
 *   K6  Time passes: no deadline is asked for again and again (world_pass). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "tests/fuzz/choose.h"
#include "tests/fuzz/hostile.h"
#include "tests/unit/client/world.h"

enum {
    CALLS_MAX = 48,
    STEPS_MAX = 256,
    REQUESTS_MAX = WORLD_REQUESTS_MAX - 1024,
    RECENT = 8,
    PASS_MS_MAX = 120000
};

struct call {
    struct lsc_call *call; /* NULL: told, or told at once */
    struct lsc_hold *hold;
    unsigned done;
    unsigned losses;
    bool is_acquire;
    bool released;
};

static struct world world;
static struct call calls[CALLS_MAX];
static unsigned calls_count;
static unsigned losses_seen;

static void call_done(void *user, const struct lsc_outcome *outcome)
{
    struct call *call = user;
    call->done++;
    LOCKSTEP_ASSERT(call->done == 1); /* K1 */
    LOCKSTEP_ASSERT(outcome->detail != NULL);
    LOCKSTEP_ASSERT(outcome->hold == NULL || (outcome->result == LOCKSTEP_OK && call->is_acquire));
    call->call = NULL;
    call->hold = outcome->hold;
}

/* ---- what must hold ---- */

/* K4. What is due is due now: an answer may have taken certain time away. */
static void check_holds(void)
{
    world_pass(&world, 0);
    for (; losses_seen < world.losses_count; losses_seen++) {
        struct call *call = world.losses[losses_seen].user;
        LOCKSTEP_ASSERT(!call->released);
        call->losses++;
        LOCKSTEP_ASSERT(call->losses == 1);
    }
    for (unsigned i = 0; i < calls_count; i++) {
        const struct call *call = &calls[i];
        if (call->hold == NULL) {
            continue;
        }
        bool live = lsc_hold_is_live(world.core, call->hold);
        bool held = lsc_hold_is_held(world.core, world.now, call->hold);
        LOCKSTEP_ASSERT(live == (call->losses == 0 && !call->released));
        LOCKSTEP_ASSERT(held == live);
    }
}

/* K5: a request that goes out again is the same request. */
static void check_ids(void)
{
    for (unsigned i = 0; i < world.requests_count; i++) {
        for (unsigned k = i + 1; k < world.requests_count && k < i + 2 * RECENT; k++) {
            const struct proto_request *a = &world.requests[i].request;
            const struct proto_request *b = &world.requests[k].request;
            LOCKSTEP_ASSERT(a->id != b->id || a->session_id != b->session_id || a->kind == b->kind);
        }
    }
}

/* ---- the caller ---- */

static struct call *call_begin(void)
{
    if (calls_count == CALLS_MAX) {
        return NULL;
    }
    struct call *call = &calls[calls_count++];
    *call = (struct call){.done = 0};
    return call;
}

static void call_begun(struct call *call, struct lsc_call *begun)
{
    LOCKSTEP_ASSERT((begun == NULL) == (call->done == 1)); /* told at once, or going on */
    call->call = begun;
}

/* One of the holds, or NULL. */
static struct call *choose_hold(struct input *input)
{
    unsigned start = input_byte(input);
    for (unsigned i = 0; i < calls_count; i++) {
        struct call *call = &calls[(start + i) % calls_count];
        if (call->hold != NULL) {
            return call;
        }
    }
    return NULL;
}

static void step_begin(struct input *input)
{
    static const struct known known = {.tokens = {1, 2, 3}, .sessions = {7, 8}};
    struct call *call = call_begin();
    struct proto_request request;
    if (call == NULL) {
        return;
    }
    switch (input_below(input, 8)) {
    case 0:
        call_begun(call, lsc_session_open(world.core, world.now, call, call_done));
        break;
    case 1:
        call_begun(call,
                   lsc_session_renew(world.core, world.now, choose_ms(input, 100, 60000), call, call_done));
        break;
    case 2:
    case 3: {
        enum proto_kind kind = choose_kind(input);
        const struct proto_operation *operation = proto_operation_find((uint64_t)kind);
        if (operation->sent_by == PROTO_SESSION || operation->sent_by == PROTO_INTERNAL ||
            kind == PROTO_SESSION_OPEN) {
            kind = PROTO_LOCK_GET;
        }
        choose_request(input, &known, 0, kind, 1, &request);
        call_begun(call, lsc_ask(world.core, world.now, &request, call, call_done));
        break;
    }
    default:
        choose_body(input, &known, PROTO_LOCK_ACQUIRE, &request.body);
        call->is_acquire = true;
        call_begun(call,
                   lsc_acquire(world.core, world.now, &request.body.lock_acquire, call, call, call_done));
        break;
    }
}

static void step_hold(struct input *input)
{
    struct call *held = choose_hold(input);
    unsigned what = input_below(input, 5);
    if (held == NULL) {
        return;
    }
    if (what == 4) {
        lsc_hold_free(world.core, world.now, held->hold);
        held->hold = NULL;
        held->released = true;
        return;
    }
    struct call *call = call_begin();
    if (call == NULL) {
        return;
    }
    if (what == 0) {
        uint64_t ttl_ms = input_below(input, 2) == 0 ? 0 : choose_ms(input, 100, 60000);
        call_begun(call, lsc_extend(world.core, world.now, held->hold, ttl_ms, call, call_done));
    } else if (what == 1) {
        struct proto_bytes value = input_bytes(input, input_below(input, 8));
        call_begun(call, lsc_set_value(world.core, world.now, held->hold, value, call, call_done));
    } else {
        check_holds(); /* a loss that was told before came in time */
        held->released = true;
        call_begun(call, lsc_release(world.core, world.now, held->hold, call, call_done));
    }
}

static void step_cancel(struct input *input)
{
    unsigned start = input_byte(input);
    for (unsigned i = 0; i < calls_count; i++) {
        struct call *call = &calls[(start + i) % calls_count];
        if (call->call != NULL && call->is_acquire) {
            lsc_acquire_cancel(world.core, world.now, call->call);
            LOCKSTEP_ASSERT(call->done == 1);
            return;
        }
    }
}

/* ---- the node ---- */

static void send_frame(struct proto_buffer *frame, size_t begin, bool compress)
{
    if (proto_frame_end(frame, begin, compress)) {
        world_bytes(&world, frame->data, frame->size);
    }
    proto_buffer_done(frame);
}

static void step_raw(struct input *input, bool framed)
{
    struct proto_buffer frame;
    struct proto_bytes raw = input_bytes(input, input_byte(input));
    proto_buffer_init(&frame, PROTO_FRAME_BODY_BYTES_MAX);
    if (!framed) {
        world_bytes(&world, raw.data, raw.size);
        return;
    }
    size_t begin = proto_frame_begin(&frame);
    (void)proto_buffer_append(&frame, raw.data, raw.size); /* an empty one is not sent */
    send_frame(&frame, begin, false);
}

static void step_answer(struct input *input)
{
    struct proto_buffer frame;
    if (world.requests_count == 0) {
        return;
    }
    unsigned back = 1 + input_below(input, RECENT);
    unsigned at = back > world.requests_count ? 0 : world.requests_count - back;
    struct proto_reply reply;
    hostile_reply(input, &world.requests[at].request, world_cluster_ms(&world), &reply);
    proto_buffer_init(&frame, PROTO_FRAME_BODY_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_reply(&frame, &reply);
    send_frame(&frame, begin, true);
}

static void step_event(struct input *input)
{
    struct proto_buffer frame;
    struct proto_event event;
    hostile_event(input, lsc_session_id(world.core), world_cluster_ms(&world), &event);
    proto_buffer_init(&frame, PROTO_FRAME_BODY_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    proto_encode_event(&frame, &event);
    send_frame(&frame, begin, true);
}

static void step_connection(struct input *input)
{
    unsigned what = input_below(input, 4);
    if (world.connecting && what == 0) {
        world_refuse(&world);
    } else if (world.connecting && what == 1) {
        world.connecting = false; /* connected, and what follows is not a greeting */
        world.connected = true;
        lsc_core_connected(world.core, world.now);
        step_raw(input, input_below(input, 2) == 1);
    } else if (world.connecting) {
        struct proto_hello_reply hello;
        hostile_hello(input, &hello);
        world_accept_hello(&world, &hello);
    } else if (world.connected && what == 0) {
        world_cut(&world);
    } else {
        world_pass(&world, 100);
    }
}

/* ---- */

static void step(struct input *input)
{
    switch (input_below(input, 16)) {
    case 0:
    case 1:
    case 2:
        step_begin(input);
        break;
    case 3:
    case 4:
        step_hold(input);
        break;
    case 5:
        step_cancel(input);
        break;
    case 6:
    case 7:
        step_connection(input);
        break;
    case 8:
        world_pass(&world, choose_ms(input, 0, PASS_MS_MAX));
        break;
    case 9:
        if (world.connected) {
            step_raw(input, false);
        }
        break;
    case 10:
        if (world.connected) {
            step_raw(input, true);
        }
        break;
    case 11:
        if (world.connected) {
            step_event(input);
        }
        break;
    default:
        if (world.connected) {
            step_answer(input);
        }
        break;
    }
    check_holds();
}

static void finish(struct input *input)
{
    struct call closing = {.done = 0};
    bool keep_session = input_below(input, 2) == 1;
    lsc_core_close(world.core, world.now, keep_session, &closing, call_done);
    for (unsigned i = 0; i < calls_count; i++) {
        LOCKSTEP_ASSERT(calls[i].done == 1);
    }
    world_pass(&world, PASS_MS_MAX);
    LOCKSTEP_ASSERT(closing.done == 1);
    check_ids();
    for (unsigned i = 0; i < calls_count; i++) {
        if (calls[i].hold != NULL) {
            lsc_hold_free(world.core, world.now, calls[i].hold);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* the world's own assertions are cmocka's */
    calls_count = 0;
    losses_seen = 0;
    world_init(&world, NULL);
    for (unsigned i = 0; i < STEPS_MAX && input.left > 0 && world.requests_count < REQUESTS_MAX; i++) {
        step(&input);
    }
    finish(&input);
    world_free(&world);
    return 0;
}
