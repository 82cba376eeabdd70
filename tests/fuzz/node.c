/* Fuzz target: a node between its sockets and its replica. The input is a list of steps: connections that greet, ask, send
 * garbage, stop reading and go; time; entries that commit, are refused or lost; reads that are proven or not; leadership;
 * the beginning of the end (SIGTERM).
 *
 *   C1  A request is answered exactly once, or its connection is gone: every reply has its request, and when all is calm
 *       no request is left. (A repeated acquire that waits belongs to whoever sent it last: the earlier one has no answer.)
 *   C2  No answer to a command before its entry was applied: while nothing commits, only refusals come.
 *   C3  The node never ends the process, whatever a client sends.
 *   C4  Who leaves is done within seconds.
 *   C5  Every frame that the node sends can be decoded (test_core_harness.c). */
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "tests/fuzz/choose.h"
#include "tests/unit/node/test_core_harness.h"

enum {
    STEPS_MAX = 400,
    ASKED_MAX = 1024,
    PLACES = 4,
    ENTRIES_MAX = HARNESS_ENTRIES - 512,
    READS_MAX = HARNESS_READS - 32,
    CALM_TURNS = 100, /* five seconds: more than leaving takes */
    CALM_MS = 50,
    SLICE_BYTES = 512,
};

struct asked {
    uint64_t connection;
    uint64_t id;
    uint64_t session_id;
    enum proto_kind kind;
    bool needs_log;
    bool superseded; /* sent again on another connection: its wait may belong there now */
};

struct world {
    struct input input;
    struct harness *h;
    struct known known;
    uint64_t places[PLACES]; /* connections; 0: none */
    bool silent[PLACES];     /* has not greeted */
    struct asked asked[ASKED_MAX];
    unsigned asked_count;
    uint64_t next_id;
    bool leaving;
    bool imaging; /* a snapshot is being taken */
    uint64_t image_index;
    struct proto_buffer image;
};

/* ---- the book of who asked what ---- */

static void forget(struct world *world, unsigned at)
{
    world->asked[at] = world->asked[--world->asked_count];
}

static void learn(struct world *world, unsigned client, const struct proto_reply *reply)
{
    if (reply->status != PROTO_STATUS_OK) {
        return;
    }
    if (reply->kind == PROTO_SESSION_OPEN) {
        world->known.sessions[client] = reply->body.session.session_id;
    } else if (reply->kind == PROTO_LOCK_ACQUIRE) {
        known_token(&world->known, reply->body.grant.token);
    }
}

/* C1, C2 */
static void note_answer(struct world *world, uint64_t connection, const struct proto_reply *reply,
                        bool committed)
{
    for (unsigned i = 0; i < world->asked_count; i++) {
        const struct asked *asked = &world->asked[i];
        if (asked->connection != connection || asked->id != reply->id) {
            continue;
        }
        LOCKSTEP_ASSERT(reply->kind == asked->kind || reply->kind == 0);
        LOCKSTEP_ASSERT(committed || !asked->needs_log || reply->status != PROTO_STATUS_OK);
        learn(world, (unsigned)(asked->id % CHOOSE_CLIENTS), reply);
        forget(world, i);
        return;
    }
    LOCKSTEP_ASSERT(!"an answer to what was not asked, or a second one");
}

static void forget_connection(struct world *world, uint64_t connection)
{
    for (unsigned i = world->asked_count; i > 0; i--) {
        if (world->asked[i - 1].connection == connection) {
            forget(world, i - 1);
        }
    }
}

static void gone(struct world *world, unsigned place)
{
    forget_connection(world, world->places[place]);
    world->places[place] = 0;
}

/* Read what the node sent, and see to the connections that it closed. */
static void take_all(struct world *world, bool committed)
{
    struct proto_incoming incoming;
    struct proto_hello_reply hello;
    for (unsigned p = 0; p < PLACES; p++) {
        if (world->places[p] == 0) {
            continue;
        }
        struct harness_connection *c = harness_connection(world->h, world->places[p]);
        while (world->silent[p] && harness_take_hello(world->h, world->places[p], &hello)) {
            world->silent[p] = false;
        }
        while (!world->silent[p] && harness_take(world->h, world->places[p], &incoming)) {
            if (!incoming.is_event && incoming.reply.id != 0) { /* 0: of what was no frame */
                note_answer(world, world->places[p], &incoming.reply, committed);
            }
        }
        if (c->closed) {
            harness_disconnect(world->h, world->places[p]);
            gone(world, p);
        }
    }
}

/* ---- what clients do ---- */

static void step_connect(struct world *world)
{
    unsigned place = input_below(&world->input, PLACES);
    if (world->places[place] != 0) {
        harness_disconnect(world->h, world->places[place]);
        gone(world, place);
        return;
    }
    if (world->h->connections_count == HARNESS_CONNECTIONS) {
        return;
    }
    uint8_t how = input_byte(&world->input);
    world->places[place] = harness_connect_silent(world->h);
    world->silent[place] = true;
    if (how < 0xe0) {
        struct proto_hello_request hello = {PROTO_VERSION_MIN, PROTO_VERSION_MAX, how < 0xd0 ? 77 : how,
                                            harness_text("fuzz")};
        harness_hello(world->h, world->places[place], &hello);
    }
}

/* Requests of one client have ids that are its number modulo CHOOSE_CLIENTS, so that the reply tells whose it is. */
static void step_ask(struct world *world)
{
    struct input *input = &world->input;
    unsigned place = input_below(input, PLACES);
    unsigned client = input_below(input, CHOOSE_CLIENTS);
    enum proto_kind kind = choose_kind(input);
    uint8_t back = input_byte(input);
    if (kind == PROTO_EPOCH_RAISE || world->asked_count == ASKED_MAX) {
        return;
    }
    /* Now and then an id that was used before: the same request again, or another one. */
    uint64_t id = ++world->next_id;
    uint64_t again = back >= 0xe0 ? (uint64_t)(back - 0xdf) : 0;
    id = (again < id ? id - again : id) * CHOOSE_CLIENTS + client;
    struct proto_request request;
    choose_request(input, &world->known, client, kind, id, &request);
    uint64_t connection = world->places[place];
    if (connection == 0 || world->silent[place]) {
        return;
    }
    for (unsigned i = 0; i < world->asked_count; i++) {
        struct asked *asked = &world->asked[i];
        if (asked->id == id && asked->connection == connection) {
            return; /* the replies of one connection must be told apart here */
        }
        asked->superseded = asked->superseded || (asked->id == id && asked->session_id == request.session_id);
    }
    if (!harness_connection(world->h, connection)->full) {
        bool needs_log = proto_operation_find((uint64_t)kind)->served_by == PROTO_LOG;
        world->asked[world->asked_count++] =
            (struct asked){connection, id, request.session_id, kind, needs_log, false};
    }
    harness_send(world->h, connection, &request);
}

/* What comes back to garbage is read and not judged: the connection is given up. */
static void step_garbage(struct world *world)
{
    struct input *input = &world->input;
    unsigned place = input_below(input, PLACES);
    unsigned how = input_below(input, 4);
    struct proto_bytes raw = input_bytes(input, input_byte(input));
    if (world->places[place] == 0) {
        return;
    }
    struct harness_connection *c = harness_connection(world->h, world->places[place]);
    if (how == 0) {
        core_bad_frame(world->h->core, world->h->now, c->id, "frame length out of bounds");
    } else if (how == 1) {
        c->full = true; /* it stays so until it goes, and hears nothing any more */
        forget_connection(world, c->id);
    } else {
        harness_send_bytes(world->h, c->id, raw.data, raw.size);
        harness_turn(world->h, 0);
        harness_disconnect(world->h, c->id);
        gone(world, place);
    }
}

/* ---- what the replica does ---- */

static void drop_entries(struct harness *h)
{
    for (unsigned i = 0; i < h->entries_count; i++) {
        free(h->entries[i].data);
    }
    h->last_index -= h->entries_count;
    h->entries_count = 0;
}

static void step_leadership(struct world *world)
{
    struct harness *h = world->h;
    if (h->serving) {
        harness_follow(h, 2 + input_below(&world->input, 2));
        if (input_below(&world->input, 2) == 0) {
            harness_prove(h, false);
        }
        return;
    }
    if (input_below(&world->input, 2) == 0) {
        drop_entries(h); /* overwritten by the next leader */
    }
    harness_commit(h);
    harness_prove(h, false);
    harness_lead(h);
}

static void step_replica(struct world *world)
{
    struct harness *h = world->h;
    switch (input_below(&world->input, 4)) {
    case 0:
        h->refuse_proposals = !h->refuse_proposals;
        break;
    case 1:
        h->refuse_reads = !h->refuse_reads;
        break;
    case 2:
        harness_prove(h, false);
        break;
    default:
        h->refuse_transfer = !h->refuse_transfer;
        break;
    }
}

static void commit(struct world *world, unsigned count)
{
    take_all(world, false);
    harness_commit_some(world->h, count);
    take_all(world, true);
}

/* A snapshot is taken, slice by slice. A whole one of the present state replaces the state, as if it had been installed. */
static void step_snapshot(struct world *world)
{
    struct replica_machine machine = core_machine(world->h->core);
    char message[256];
    if (world->imaging) {
        if (!machine.snapshot_next(machine.ctx, &world->image, SLICE_BYTES)) {
            machine.snapshot_end(machine.ctx);
            world->imaging = false;
        }
        return;
    }
    if (world->image.size == 0 || world->h->serving || world->image_index != world->h->applied_index) {
        proto_buffer_clear(&world->image);
        machine.snapshot_begin(machine.ctx);
        world->image_index = world->h->applied_index;
        world->imaging = true;
        return;
    }
    machine.restore_begin(machine.ctx);
    bool fed =
        machine.restore_feed(machine.ctx, world->image.data, world->image.size, message, sizeof message);
    LOCKSTEP_ASSERT(fed);
    bool restored = machine.restore_finish(machine.ctx, world->image_index, message, sizeof message);
    LOCKSTEP_ASSERT(restored);
    proto_buffer_clear(&world->image);
}

static void step_leave(struct world *world)
{
    if (!world->leaving && input_byte(&world->input) >= 0xc0) {
        world->leaving = true;
        core_shutdown(world->h->core, world->h->now);
    }
}

static void step(struct world *world)
{
    struct harness *h = world->h;
    switch (input_below(&world->input, 32)) {
    case 0:
        step_leadership(world);
        break;
    case 1:
        step_replica(world);
        break;
    case 2:
    case 3:
        step_connect(world);
        break;
    case 4:
    case 5:
        step_garbage(world);
        break;
    case 6:
    case 7:
        harness_prove(h, true);
        break;
    case 8:
    case 9:
    case 10:
        commit(world, 1 + input_below(&world->input, 4));
        break;
    case 11:
    case 12:
    case 13:
        harness_turn(h, input_byte(&world->input));
        break;
    case 14:
        harness_turn(h, choose_ms(&world->input, 0, 120000));
        break;
    case 15:
        step_leave(world);
        break;
    case 16:
    case 17:
        step_snapshot(world);
        break;
    default:
        step_ask(world);
        break;
    }
    take_all(world, false);
    LOCKSTEP_ASSERT(h->fatals == 0); /* C3 */
    if (h->reads_count > READS_MAX) {
        harness_prove(h, true);
    }
    if (h->entries_count > ENTRIES_MAX) {
        commit(world, h->entries_count);
    }
}

/* Leadership stays, commits come: then nothing is left but waits. C1, C4 */
static void calm(struct world *world)
{
    struct harness *h = world->h;
    h->refuse_proposals = false;
    h->refuse_reads = false;
    if (!h->serving) {
        step_leadership(world);
    }
    for (unsigned i = 0; i < CALM_TURNS; i++) {
        harness_turn(h, CALM_MS);
        harness_prove(h, true);
        commit(world, h->entries_count);
    }
    unsigned waiting = 0;
    for (unsigned i = 0; i < world->asked_count; i++) {
        if (!world->asked[i].superseded) {
            LOCKSTEP_ASSERT(world->asked[i].kind == PROTO_LOCK_ACQUIRE);
            waiting++;
        }
    }
    LOCKSTEP_ASSERT(waiting <= harness_counts(h).waits);
    LOCKSTEP_ASSERT(!world->leaving || core_drained(h->core));
    LOCKSTEP_ASSERT(h->fatals == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* the harness's own assertions are cmocka's */
    memset(&world, 0, sizeof world);
    world.input = input_of(data, size);
    world.h = harness_create(NULL);
    proto_buffer_init(&world.image, SIZE_MAX);
    harness_lead(world.h);
    for (unsigned i = 0; i < STEPS_MAX && world.input.left > 0; i++) {
        step(&world);
    }
    calm(&world);
    harness_destroy(world.h);
    proto_buffer_done(&world.image);
    return 0;
}
