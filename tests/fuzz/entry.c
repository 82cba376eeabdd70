/* Fuzz target: log entries, decoded and applied. The input is a list of steps: commands gathered into entries, entries of raw
 * bytes, time, reads, and a follower that is replaced by its own snapshot.
 *
 *   E1  After each entry every invariant of the state holds.
 *   E2  A follower that builds no effects has the same digest; also one that came out of a snapshot in between.
 *   E3  An entry that is refused changes nothing.
 *   E4  Each command has exactly one REPLY or QUEUED. A token is granted once, and later tokens are greater.
 *   E5  What the writer wrote the reader reads, and gives the same bytes when written again. */
#include <string.h>

#include "protocol/assert.h"
#include "raft_fsm/fsm.h"
#include "tests/fuzz/choose.h"

enum { STEPS_MAX = 512, SNAPSHOT_SLICE_BYTES = 64 };

/* The greatest that an entry may carry (raft_fsm/state.h). */
#define TIME_MS_MAX (UINT64_MAX >> 2)

struct world {
    struct input input;
    struct known known;
    struct fsm *leader;
    struct fsm *follower;
    struct fsm_snapshot *image; /* of the follower, under way */
    struct proto_buffer stream;
    struct fsm_effects effects;
    struct proto_buffer entry;
    struct fsm_entry_writer writer;
    bool open;                               /* the entry has been begun */
    uint8_t openers[FSM_ENTRY_COMMANDS_MAX]; /* the client of each of its session.open */
    uint64_t time_ms;
    uint64_t token_last;
};

static struct proto_rows rows;

/* ---- what must hold ---- */

/* E4 */
static void check_effects(struct world *world, uint32_t commands)
{
    static uint8_t answers[FSM_ENTRY_COMMANDS_MAX];
    memset(answers, 0, commands);
    for (size_t i = 0; i < world->effects.count; i++) {
        const struct fsm_effect *effect = &world->effects.list[i];
        if (effect->kind == FSM_REPLY || effect->kind == FSM_QUEUED) {
            LOCKSTEP_ASSERT(effect->command_index < commands);
            answers[effect->command_index]++;
        } else {
            LOCKSTEP_ASSERT(effect->command_index == FSM_NO_COMMAND);
        }
        if (effect->kind == FSM_EVENT || effect->kind == FSM_QUEUED ||
            effect->reply.status != PROTO_STATUS_OK) {
            continue;
        }
        if (effect->reply.kind == PROTO_LOCK_ACQUIRE) {
            LOCKSTEP_ASSERT(effect->reply.body.grant.token >= effect->reply.body.grant.fence);
            known_token(&world->known, effect->reply.body.grant.token);
        }
        if (effect->reply.kind == PROTO_SESSION_OPEN) {
            world->known.sessions[world->openers[effect->command_index] % CHOOSE_CLIENTS] =
                effect->reply.body.session.session_id;
        }
    }
    for (uint32_t i = 0; i < commands; i++) {
        LOCKSTEP_ASSERT(answers[i] == 1);
    }
    struct fsm_counts counts;
    fsm_counts(world->leader, &counts);
    LOCKSTEP_ASSERT(counts.next_token >= world->token_last);
    world->token_last = counts.next_token;
}

/* E5 */
static void check_written_again(struct world *world, struct proto_bytes entry)
{
    struct fsm_entry_reader reader = {0};
    struct fsm_entry_writer writer;
    struct fsm_command command;
    struct proto_buffer again;
    struct proto_error error = {0};
    bool opened = fsm_entry_open(&reader, entry.data, entry.size, &error);
    LOCKSTEP_ASSERT(opened);
    LOCKSTEP_ASSERT(reader.time.ms <= world->time_ms);
    proto_buffer_init(&again, FSM_ENTRY_BYTES_MAX);
    fsm_entry_begin(&writer, &again, reader.time);
    while (fsm_entry_next(&reader, &command, &error)) {
        bool added = fsm_entry_add(&writer, &command);
        LOCKSTEP_ASSERT(added);
    }
    LOCKSTEP_ASSERT(error.status == PROTO_STATUS_OK);
    fsm_entry_end(&writer);
    LOCKSTEP_ASSERT(again.size == entry.size && memcmp(again.data, entry.data, entry.size) == 0);
    proto_buffer_done(&again);
}

static uint32_t commands_of(struct proto_bytes entry)
{
    struct fsm_entry_reader reader = {0};
    struct proto_error error = {0};
    bool opened = fsm_entry_open(&reader, entry.data, entry.size, &error);
    LOCKSTEP_ASSERT(opened);
    return reader.count;
}

/* E1 .. E4 */
static enum fsm_result apply(struct world *world, struct proto_bytes entry)
{
    struct proto_error error = {0};
    uint64_t before = fsm_digest(world->leader);
    enum fsm_result result = fsm_apply(world->leader, entry.data, entry.size, &world->effects, &error);
    enum fsm_result follower = fsm_apply(world->follower, entry.data, entry.size, NULL, NULL);
    LOCKSTEP_ASSERT(follower == result);
    fsm_check_invariants(world->leader);
    fsm_check_invariants(world->follower);
    LOCKSTEP_ASSERT(fsm_digest(world->leader) == fsm_digest(world->follower));
    if (result == FSM_APPLIED) {
        check_effects(world, commands_of(entry));
    } else {
        LOCKSTEP_ASSERT(strlen(error.detail) > 0);
        LOCKSTEP_ASSERT(fsm_digest(world->leader) == before);
    }
    return result;
}

/* ---- steps ---- */

static void begin_entry(struct world *world)
{
    if (!world->open) {
        proto_buffer_clear(&world->entry);
        fsm_entry_begin(&world->writer, &world->entry, (struct cluster_time){world->time_ms});
        world->open = true;
    }
}

static void end_entry(struct world *world)
{
    begin_entry(world);
    fsm_entry_end(&world->writer);
    world->open = false;
    struct proto_bytes entry = {world->entry.data, (uint32_t)world->entry.size};
    check_written_again(world, entry);
    enum fsm_result result = apply(world, entry);
    LOCKSTEP_ASSERT(result == FSM_APPLIED);
}

static void step_command(struct world *world)
{
    struct input *input = &world->input;
    enum proto_kind kind = choose_kind(input);
    const struct proto_operation *operation = proto_operation_find((uint64_t)kind);
    if (operation->served_by != PROTO_LOG) {
        struct proto_request request;
        struct proto_reply reply;
        choose_request(input, &world->known, 0, kind, 1, &request);
        if (operation->served_by == PROTO_QUERY) {
            fsm_query(world->leader, fsm_time(world->leader), &request, &rows, &reply);
        }
        return;
    }
    unsigned client = input_below(input, CHOOSE_CLIENTS);
    struct fsm_command command = {.kind = kind};
    if (operation->sent_by == PROTO_SESSION) {
        uint8_t id = input_byte(input);
        uint8_t floor = input_byte(input);
        command.request_id = id == 0xff ? input_u64(input) : id;
        command.ack_floor = floor >= 0x80 ? 0 : floor;
        command.session_id = world->known.sessions[client];
        memset(&command.proof, input_below(input, 16) == 15 ? 0xff : (int)client + 1, sizeof command.proof);
    }
    if (kind == PROTO_SESSION_OPEN) {
        memset(command.digest, (int)client + 1, sizeof command.digest);
    }
    choose_body(input, &world->known, kind, &command.body);
    begin_entry(world);
    world->openers[world->writer.count] = (uint8_t)client;
    if (!fsm_entry_add(&world->writer, &command)) {
        end_entry(world);
    }
}

static void step_raw(struct world *world)
{
    if (world->open) {
        end_entry(world);
    }
    struct proto_bytes raw = input_bytes(&world->input, input_u16(&world->input));
    if (apply(world, raw) == FSM_APPLIED && fsm_time(world->leader).ms > world->time_ms) {
        world->time_ms = fsm_time(world->leader).ms;
    }
}

static void step_time(struct world *world)
{
    uint64_t ms = choose_ms(&world->input, 0, (uint64_t)2 * PROTO_TTL_MS_MAX);
    uint64_t due_ms = fsm_next_due(world->leader).ms;
    if (input_below(&world->input, 4) == 0 && due_ms != UINT64_MAX && due_ms > world->time_ms) {
        world->time_ms = due_ms;
    } else {
        world->time_ms += ms;
    }
    world->time_ms = world->time_ms > TIME_MS_MAX ? TIME_MS_MAX : world->time_ms;
    end_entry(world);
}

/* The follower becomes what its snapshot says, which was begun some entries ago or now. */
static void step_snapshot(struct world *world)
{
    if (world->image == NULL) {
        proto_buffer_clear(&world->stream);
        world->image = fsm_snapshot_begin(world->follower);
        return;
    }
    while (fsm_snapshot_next(world->image, &world->stream, SNAPSHOT_SLICE_BYTES)) {
    }
    fsm_snapshot_end(world->image);
    world->image = fsm_snapshot_begin(world->follower);
    struct proto_buffer now;
    proto_buffer_init(&now, SIZE_MAX);
    while (fsm_snapshot_next(world->image, &now, SNAPSHOT_SLICE_BYTES)) {
    }
    fsm_snapshot_end(world->image);
    world->image = NULL;
    for (unsigned i = 0; i < 2; i++) {
        const struct proto_buffer *stream = i == 0 ? &world->stream : &now;
        struct proto_error error = {0};
        struct fsm_restore *restore = fsm_restore_begin();
        bool fed = fsm_restore_feed(restore, stream->data, stream->size, &error);
        LOCKSTEP_ASSERT(fed);
        struct fsm *restored = fsm_restore_finish(restore, &error);
        LOCKSTEP_ASSERT(restored != NULL);
        fsm_check_invariants(restored);
        fsm_free(i == 0 ? restored : world->follower);
        world->follower = i == 0 ? world->follower : restored;
    }
    proto_buffer_done(&now);
    LOCKSTEP_ASSERT(fsm_digest(world->leader) == fsm_digest(world->follower));
}

static void step(struct world *world)
{
    switch (input_below(&world->input, 16)) {
    case 0:
        step_raw(world);
        break;
    case 1:
    case 2:
        step_time(world);
        break;
    case 3:
        end_entry(world);
        break;
    case 4:
        step_snapshot(world);
        break;
    default:
        step_command(world);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.input = input_of(data, size), .leader = fsm_create(), .follower = fsm_create()};
    fsm_effects_init(&world.effects);
    proto_buffer_init(&world.entry, FSM_ENTRY_BYTES_MAX);
    proto_buffer_init(&world.stream, SIZE_MAX);
    for (unsigned i = 0; i < STEPS_MAX && world.input.left > 0; i++) {
        step(&world);
    }
    end_entry(&world);
    fsm_snapshot_end(world.image);
    fsm_free(world.leader);
    fsm_free(world.follower);
    fsm_effects_done(&world.effects);
    proto_buffer_done(&world.entry);
    proto_buffer_done(&world.stream);
    return 0;
}
