/* One request's life (request.h). Owns the memory of requests and their bodies; never decides anything. */
#include "node/request.h"

#include <inttypes.h>
#include <string.h>

#include "node/answer.h"
#include "node/core_state.h"
#include "protocol/assert.h"

enum { LARGE_BODIES_MAX = 8192 }; /* of PROTO_REQUEST_BODY_BYTES_MAX each: 64 MiB */

/* clang-format off */
static const char moves[][7] = {
    /*                      FREE RECEIVED QUEUED PROPOSED WAITING READING LOCAL */
    [REQUEST_FREE] =     {  0,   1,       0,     0,       0,      0,      0 },
    [REQUEST_RECEIVED] = {  1,   0,       1,     0,       0,      1,      1 },
    [REQUEST_QUEUED] =   {  1,   0,       0,     1,       0,      0,      0 },
    [REQUEST_PROPOSED] = {  1,   0,       0,     0,       1,      0,      0 },
    [REQUEST_WAITING] =  {  1,   0,       0,     0,       0,      0,      0 },
    [REQUEST_READING] =  {  1,   0,       0,     0,       0,      0,      0 },
    [REQUEST_LOCAL] =    {  1,   0,       0,     0,       0,      0,      0 },
};
/* clang-format on */

void request_list_append(struct request_list *list, struct request *request)
{
    request->next = NULL;
    if (list->last == NULL) {
        list->first = request;
    } else {
        list->last->next = request;
    }
    list->last = request;
    list->count++;
}

struct request *request_list_take(struct request_list *list)
{
    struct request *request = list->first;
    if (request != NULL) {
        list->first = request->next;
        if (list->first == NULL) {
            list->last = NULL;
        }
        request->next = NULL;
        list->count--;
    }
    return request;
}

void requests_init(struct requests *requests, unsigned requests_max)
{
    /* Renewals have an eighth more room than the rest, and one request is looked at before it is refused. */
    core_slab_init(&requests->slab, sizeof(struct request), (size_t)requests_max + requests_max / 8 + 2);
    core_slab_init(&requests->bodies, PROTO_REQUEST_BODY_BYTES_MAX, LARGE_BODIES_MAX);
}

void requests_done(struct requests *requests)
{
    core_slab_done(&requests->slab);
    core_slab_done(&requests->bodies);
}

static void link_connection(struct request *request, struct core_connection *connection)
{
    request->connection = connection;
    request->connection_next = NULL;
    request->connection_previous = connection->requests_last;
    if (connection->requests_last == NULL) {
        connection->requests_first = request;
    } else {
        connection->requests_last->connection_next = request;
    }
    connection->requests_last = request;
    connection->requests_count++;
}

static void unlink_connection(struct request *request)
{
    struct core_connection *connection = request->connection;
    if (connection == NULL) {
        return;
    }
    if (request->connection_previous == NULL) {
        connection->requests_first = request->connection_next;
    } else {
        request->connection_previous->connection_next = request->connection_next;
    }
    if (request->connection_next == NULL) {
        connection->requests_last = request->connection_previous;
    } else {
        request->connection_next->connection_previous = request->connection_previous;
    }
    LOCKSTEP_ASSERT(connection->requests_count > 0);
    connection->requests_count--;
    request->connection = NULL;
}

struct request *request_create(struct core *core, struct core_connection *connection, struct proto_bytes body)
{
    struct requests *requests = &core->requests;
    LOCKSTEP_ASSERT(body.size <= PROTO_REQUEST_BODY_BYTES_MAX);
    struct request *request = core_slab_take(&requests->slab);
    if (request == NULL) {
        return NULL;
    }
    request->body = request->inline_body;
    if (body.size > REQUEST_INLINE_BYTES) {
        request->body = core_slab_take(&requests->bodies);
        if (request->body == NULL) {
            core_slab_give(&requests->slab, request);
            return NULL;
        }
    }
    if (body.size > 0) {
        memcpy(request->body, body.data, body.size);
    }
    request->body_bytes = body.size;
    request->next = NULL;
    request->received_ms = core->now.ms;
    request->read_id = 0;
    request->state = REQUEST_FREE;
    request_move(request, REQUEST_RECEIVED);
    link_connection(request, connection);
    return request;
}

void request_move(struct request *request, enum request_state state)
{
    LOCKSTEP_ASSERT(moves[request->state][state]);
    request->state = state;
}

void request_drop_body(struct core *core, struct request *request)
{
    if (request->body != NULL && request->body != request->inline_body) {
        core_slab_give(&core->requests.bodies, request->body);
    }
    request->body = NULL;
}

void request_forget(struct core *core, struct request *request)
{
    request_drop_body(core, request);
    unlink_connection(request);
    request_move(request, REQUEST_FREE);
    core_slab_give(&core->requests.slab, request);
}

void request_orphan(struct request *request)
{
    LOCKSTEP_ASSERT(request->state != REQUEST_WAITING);
    unlink_connection(request);
}

/* What became of an administrator's operation that admission has logged; connection and request are those of its line. */
static void log_admin_answer(struct core *core, const struct request *request,
                             const struct proto_reply *reply)
{
    const struct proto_operation *operation = proto_operation_find(request->message.kind);
    if (operation == NULL || operation->sent_by != PROTO_ADMIN || request->state == REQUEST_RECEIVED) {
        return;
    }
    bool counted = reply->status == PROTO_STATUS_OK && operation->served_by == PROTO_LOG;
    core_log(core, LOGGER_INFO, "admin_answer",
             "connection=%" PRIu64 " request=%" PRIu64 " operation=%s status=%s ended=%" PRIu64,
             request->connection == NULL ? 0 : request->connection->id, request->message.id, operation->name,
             proto_status_name(reply->status), counted ? reply->body.count.count : 0);
}

void request_answer(struct core *core, struct request *request, const struct proto_reply *reply)
{
    LOCKSTEP_ASSERT(request->state != REQUEST_FREE);
    log_admin_answer(core, request, reply);
    /* The strings of a reply may point into the request's body, so it goes only after the bytes are out; and the
     * request leaves its connection before, because sending may end the connection. */
    struct core_connection *connection = request->connection;
    unlink_connection(request);
    if (connection != NULL) {
        struct proto_reply own = *reply;
        own.kind = request->message.kind;
        own.id = request->message.id;
        answer_reply(core, connection, &own);
    }
    request_forget(core, request);
}

void request_refuse(struct core *core, struct request *request, enum proto_status status, const char *detail,
                    uint64_t retry_after_ms)
{
    struct proto_reply reply = {.status = status};
    answer_refusal(core, status, detail, retry_after_ms, &reply.body.refusal);
    core->requests.refused++;
    request_answer(core, request, &reply);
}

bool request_is_renewal(const struct request *request)
{
    return request->message.kind == PROTO_SESSION_RENEW;
}
