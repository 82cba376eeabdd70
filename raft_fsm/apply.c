/* Station 7: owns the way of one entry through the state machine.
 *
 *   R1  The whole entry is decoded before the first change; an entry that this version does not know changes nothing.
 *   R2  Then, in this order: time, expiry (expiry.c), portions of ended sessions (ending.c), locks whose handing on is not
 *       finished (hand_on.c), the commands one after another.
 *   R3  time = max(time, entry.time). Nothing here reads a clock.
 *   R4  A command of a session passes these in order: the session is alive, else SESSION_EXPIRED; the proof fits its
 *       digest, else BAD_SECRET; the request id lies above the floor, else STALE_REQUEST; the window does not know
 *       it, else the remembered answer is given again with the time of its execution (REQUEST_REUSED if it was another
 *       operation; FSM_QUEUED if it still waits); the floor rises; the window has room, else WINDOW_FULL.
 *       Then it is executed, and its answer remembered. What is refused on the way is not remembered, nor is
 *       LIMIT_REACHED.
 *   R5  Each command has exactly one effect FSM_REPLY or FSM_QUEUED. */
#include "raft_fsm/state.h"

/* ---- one command ---- */

static void execute(struct fsm *fsm, const struct call *call, struct answer *ret)
{
#define X_LOG(enum_name, function)      \
    case PROTO_##enum_name:             \
        fsm_##function(fsm, call, ret); \
        return;
#define X_QUERY(enum_name, function)
#define X_LOCAL(enum_name, function)
#define X(kind, enum_name, name, function, sent_by, served_by, since) X_##served_by(enum_name, function)
    switch (call->command->kind) {
        PROTO_OPERATIONS(X)
    default:
        break;
    }
#undef X
#undef X_LOG
#undef X_QUERY
#undef X_LOCAL
    LOCKSTEP_ASSERT(!"an operation of the log: fsm_entry_next() lets no other pass");
}

static void refuse(struct fsm *fsm, const struct call *call, enum proto_status status)
{
    struct answer answer = {.kind = (uint8_t)call->command->kind};
    fsm_answer_status(&answer, status);
    fsm_effect_reply(fsm, call, &answer, fsm->time_ms);
}

/* OK if the command may go on, else why not. */
static enum proto_status check_session(const struct fsm *fsm, const struct fsm_command *command,
                                       const struct session *session)
{
    if (session == NULL || !fsm_session_alive(fsm, session)) {
        return PROTO_STATUS_SESSION_EXPIRED;
    }
    if (command->proof != fsm_entry_proof(session->digest)) {
        return PROTO_STATUS_BAD_SECRET;
    }
    return command->request_id <= session->ack_floor ? PROTO_STATUS_STALE_REQUEST : PROTO_STATUS_OK;
}

static void answer_again(struct fsm *fsm, const struct call *call, const struct record *record)
{
    if (record->answer.kind != call->command->kind) {
        refuse(fsm, call, PROTO_STATUS_REQUEST_REUSED);
    } else if (record->answer.status == PROTO_STATUS_QUEUED) {
        fsm_effect_queued(fsm, call);
    } else {
        fsm_effect_reply(fsm, call, &record->answer, record->time_ms);
    }
}

/* The request is new to its session. */
static void execute_once(struct fsm *fsm, struct call *call)
{
    const struct fsm_command *command = call->command;
    struct session *session = call->session;
    struct answer answer = {.kind = (uint8_t)command->kind};
    uint64_t floor = command->ack_floor < command->request_id ? command->ack_floor : command->request_id - 1;
    fsm_history_acknowledge(fsm, session, floor);
    if (fsm_history_full(session)) {
        fsm_answer_limit(&answer, PROTO_STATUS_WINDOW_FULL, FSM_DETAIL_WINDOW);
        fsm_effect_reply(fsm, call, &answer, fsm->time_ms);
        return;
    }
    if (session->last_request_id < command->request_id) {
        session->last_request_id = command->request_id;
    }
    execute(fsm, call, &answer);
    /* A close leaves nothing that could remember. What was refused for a bound of the state did not happen, and may
     * under the same id once there is room: the client asks again (status.h). */
    if (command->kind != PROTO_SESSION_CLOSE && answer.status != PROTO_STATUS_LIMIT_REACHED) {
        fsm_history_remember(fsm, session, command->request_id, &answer, fsm->time_ms);
    }
    if (answer.status == PROTO_STATUS_QUEUED) {
        fsm_effect_queued(fsm, call);
    } else {
        fsm_effect_reply(fsm, call, &answer, fsm->time_ms);
    }
    if (fsm->hand_on_next != NULL) {
        struct lock *lock = fsm->hand_on_next;
        fsm->hand_on_next = NULL;
        fsm_lock_hand_on(fsm, lock);
    }
}

static void apply_in_session(struct fsm *fsm, struct call *call)
{
    const struct session *session = fsm_session_find(fsm, call->command->session_id);
    enum proto_status status = check_session(fsm, call->command, session);
    if (status != PROTO_STATUS_OK) {
        refuse(fsm, call, status);
        return;
    }
    const struct record *record = fsm_history_find(session, call->command->request_id);
    if (record != NULL) {
        answer_again(fsm, call, record);
        return;
    }
    call->session = fsm_session_change(fsm, session);
    execute_once(fsm, call);
}

static void apply_command(struct fsm *fsm, const struct fsm_command *command, uint32_t index)
{
    struct call call = {.command = command, .index = index};
    if (proto_operation_find((uint64_t)command->kind)->sent_by == PROTO_SESSION) {
        apply_in_session(fsm, &call);
        return;
    }
    struct answer answer = {.kind = (uint8_t)command->kind};
    execute(fsm, &call, &answer);
    fsm_effect_reply(fsm, &call, &answer, fsm->time_ms);
}

/* ---- one entry ---- */

static void make_room(struct fsm *fsm, uint32_t count)
{
    if (count > fsm->commands_capacity) {
        size_t size = sizeof *fsm->commands;
        fsm->commands = fsm_reallocate(fsm, fsm->commands, fsm->commands_capacity * size, count * size);
        fsm->commands_capacity = count;
    }
}

/* R1. @return how many commands were decoded into fsm->commands; `ret_error->status` is not OK if not all. */
static uint32_t decode(struct fsm *fsm, struct fsm_entry_reader *reader, struct proto_error *ret_error)
{
    make_room(fsm, reader->count);
    for (uint32_t i = 0; i < reader->count; i++) {
        if (!fsm_entry_next(reader, &fsm->commands[i], ret_error)) {
            return i;
        }
    }
    /* At the end the reader looks for bytes that are left over. */
    struct fsm_command none;
    (void)fsm_entry_next(reader, &none, ret_error); /* there is no command any more; the error tells */
    return reader->count;
}

enum fsm_result fsm_apply(struct fsm *fsm, const void *entry, size_t size, struct fsm_effects *effects,
                          struct proto_error *ret_error)
{
    struct proto_error error;
    struct fsm_entry_reader reader;
    if (effects != NULL) {
        effects->count = 0;
    }
    bool known = fsm_entry_open(&reader, entry, size, &error);
    uint32_t count = known ? decode(fsm, &reader, &error) : 0;
    if (!known || error.status != PROTO_STATUS_OK) {
        if (ret_error != NULL) {
            *ret_error = error;
        }
        return FSM_UNKNOWN_ENTRY;
    }
    fsm_arena_reset(fsm);
    fsm->effects = effects;
    fsm->releases_left = FSM_RELEASES_PER_ENTRY;
    fsm->hand_ons_left = FSM_HAND_ONS_PER_ENTRY;
    if (fsm->time_ms < reader.time.ms) {
        fsm->time_ms = reader.time.ms;
    }
    fsm_expiry_run(fsm);
    fsm_ending_run(fsm);
    fsm_pending_run(fsm);
    for (uint32_t i = 0; i < count; i++) {
        apply_command(fsm, &fsm->commands[i], i);
    }
    fsm_dirty_trim(fsm);
    fsm->effects = NULL;
    return FSM_APPLIED;
}
