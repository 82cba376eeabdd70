/* Station 8: effects to their connections (dispatch.h). The state machine does not know who is connected; this does not
 * know what a lock is.
 *
 * A wait belongs to the connection whose acquire came last: a client that lost its connection sends the request again on
 * a new one, and the answer goes there. The older request forgets, because its client has stopped listening or has sent
 * the request twice; either way the one answer is on its way. What comes late on an older connection than that (its numbers
 * count up) was sent before: it takes nothing. */
#include "node/dispatch.h"

#include "node/answer.h"
#include "node/core_state.h"
#include "protocol/assert.h"

/* ---- who waits ---- */

static struct request *find_wait(struct core *core, uint64_t session_id, uint64_t request_id)
{
    struct core_table *waits = &core->dispatch.waits;
    struct core_table_node *at = core_table_first(waits, core_table_hash(waits, session_id, request_id));
    for (; at != NULL; at = core_table_next(at)) {
        struct request *request = (void *)((char *)at - offsetof(struct request, wait_node));
        if (request->message.session_id == session_id && request->message.id == request_id) {
            return request;
        }
    }
    return NULL;
}

void dispatch_forget_wait(struct core *core, struct request *request)
{
    core_table_remove(&core->dispatch.waits, &request->wait_node);
    request_forget(core, request);
}

static void begin_wait(struct core *core, struct request *request)
{
    struct core_table *waits = &core->dispatch.waits;
    struct request *other = find_wait(core, request->message.session_id, request->message.id);
    if (other != NULL && other->connection->id > request->connection->id) {
        request_forget(core, request);
        return;
    }
    if (other != NULL) {
        dispatch_forget_wait(core, other);
    }
    session_route_set(core, request->message.session_id, request->connection);
    request_move(request, REQUEST_WAITING);
    core_table_insert(waits, &request->wait_node,
                      core_table_hash(waits, request->message.session_id, request->message.id));
}

/* ---- whose session is where ---- */

/* Only the state machine knows whether the secret was right, so a session is tied to a connection by its answer. */
static void note_session(struct core *core, const struct request *request, const struct proto_reply *reply)
{
    const struct proto_request *message = &request->message;
    if (message->kind == PROTO_SESSION_OPEN) {
        if (reply->status == PROTO_STATUS_OK) {
            session_route_set(core, reply->body.session.session_id, request->connection);
        }
        return;
    }
    if (message->session_id == 0 || reply->status == PROTO_STATUS_BAD_SECRET ||
        reply->status == PROTO_STATUS_SESSION_EXPIRED) {
        return;
    }
    if (message->kind == PROTO_SESSION_CLOSE) {
        session_route_remove(core, message->session_id);
    } else {
        session_route_set(core, message->session_id, request->connection);
    }
}

/* ---- one effect ---- */

static struct request *take_command(struct proposed_entry *entry, uint32_t command_index)
{
    LOCKSTEP_ASSERT(command_index < entry->count);
    struct request *request = entry->requests[command_index];
    LOCKSTEP_ASSERT(request != NULL); /* one reply or queueing each */
    entry->requests[command_index] = NULL;
    return request;
}

static void on_reply(struct core *core, struct proposed_entry *entry, const struct fsm_effect *effect)
{
    if (entry == NULL) {
        return; /* proposed by a leader before us: its clients ask again */
    }
    struct request *request = take_command(entry, effect->command_index);
    if (request->connection != NULL) {
        note_session(core, request, &effect->reply);
    }
    request_answer(core, request, &effect->reply);
}

static void on_queued(struct core *core, struct proposed_entry *entry, const struct fsm_effect *effect)
{
    if (entry == NULL) {
        return;
    }
    struct request *request = take_command(entry, effect->command_index);
    if (request->connection == NULL) {
        request_forget(core, request); /* R2: it waits in the state machine, and nobody waits here */
        return;
    }
    begin_wait(core, request);
}

static void on_wait_ended(struct core *core, const struct fsm_effect *effect)
{
    struct request *request = find_wait(core, effect->session_id, effect->request_id);
    if (request != NULL) {
        core_table_remove(&core->dispatch.waits, &request->wait_node);
        request_answer(core, request, &effect->reply);
    }
}

static void on_event(struct core *core, const struct fsm_effect *effect)
{
    struct core_connection *connection = session_route_find(core, effect->session_id);
    if (connection != NULL) {
        answer_event(core, connection, &effect->event);
    }
    if (effect->event.kind == PROTO_EVENT_SESSION_ENDED) {
        session_route_remove(core, effect->session_id);
    }
}

void dispatch_effects(struct core *core, struct proposed_entry *entry, const struct fsm_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *effect = &effects->list[i];
        switch (effect->kind) {
        case FSM_REPLY:
            on_reply(core, entry, effect);
            break;
        case FSM_QUEUED:
            on_queued(core, entry, effect);
            break;
        case FSM_WAIT_ENDED:
            on_wait_ended(core, effect);
            break;
        case FSM_EVENT:
            on_event(core, effect);
            break;
        }
    }
}

void dispatch_abandon(struct core *core)
{
    for (struct core_connection *at = core->connections.first; at != NULL; at = at->next) {
        struct request *next = NULL;
        for (struct request *request = at->requests_first; request != NULL; request = next) {
            next = request->connection_next;
            if (request->state == REQUEST_WAITING) {
                core_table_remove(&core->dispatch.waits, &request->wait_node);
                request_refuse(core, request, PROTO_STATUS_UNAVAILABLE, "", 0);
            }
        }
    }
    LOCKSTEP_ASSERT(core->dispatch.waits.count == 0);
}
