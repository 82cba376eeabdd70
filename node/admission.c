/* Station 4: what is received -> what may be executed. A table of stages in their order, the small ones of them here.
 * Never executes anything, and never lets an operation of the node itself in from outside. */
#include "node/admission.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/answer.h"
#include "node/core_state.h"
#include "protocol/assert.h"
#include "protocol/decode.h"

/* A node that has no memory at all for a request gives its clients this long to come back. */
enum { NO_ROOM_RETRY_MS = 200 };

static struct proto_bytes body_of(const struct request *request)
{
    return (struct proto_bytes){request->body, request->body_bytes};
}

/* An answer that names no request can not be matched by the client: the stream is of no use any more. */
static bool admission_decode(struct core *core, struct request *request)
{
    struct proto_error error;
    if (proto_decode_request(body_of(request), &request->message, &error)) {
        return true;
    }
    struct core_connection *connection = request->connection;
    char quoted[2 * PROTO_DETAIL_BYTES_MAX + 3];
    core_complain(core, CORE_MALFORMED, "connection=%" PRIu64 " peer=%s status=%s detail=%s", connection->id,
                  connection->name, proto_status_name(error.status),
                  core_log_quote(error.detail, strlen(error.detail), quoted, sizeof(quoted)));
    bool named = request->message.id != 0;
    request_refuse(core, request, error.status, error.detail, 0);
    if (!named) {
        core_connection_end(core, connection, "malformed request");
    }
    return false;
}

/* Who may send what. Later: access rules by principal. */
static bool admission_authorise(struct core *core, struct request *request)
{
    const struct proto_operation *operation = proto_operation_find(request->message.kind);
    const struct core_connection *connection = request->connection;
    LOCKSTEP_ASSERT(operation != NULL);
    if (operation->sent_by == PROTO_INTERNAL) {
        request_refuse(core, request, PROTO_STATUS_UNSUPPORTED, "only a node itself does this", 0);
        return false;
    }
    if (operation->since > connection->version) {
        request_refuse(core, request, PROTO_STATUS_UNSUPPORTED,
                       "the agreed version does not have this operation", 0);
        return false;
    }
    return true;
}

/* Field by field was done by the decoder; here is what concerns several of them. */
static bool admission_validate(struct core *core, struct request *request)
{
    const struct proto_request *message = &request->message;
    if (proto_operation_find(message->kind)->sent_by != PROTO_SESSION) {
        return true;
    }
    const char *wrong = NULL;
    if (message->id == 0) {
        wrong = "request id: 1 or more";
    } else if (message->session_id == 0) {
        wrong = "session id: 1 or more";
    } else if (message->ack_floor >= message->id) {
        wrong = "acknowledged floor: less than the request id";
    }
    if (wrong != NULL) {
        request_refuse(core, request, PROTO_STATUS_INVALID, wrong, 0);
    }
    return wrong == NULL;
}

static const admission_stage stages[] = {
    admission_decode,   admission_authenticate, admission_authorise,
    admission_validate, admission_limit,        admission_route,
};

static void log_with_reason(struct core *core, const struct request *request, const char *target,
                            struct proto_bytes reason)
{
    char quoted[2 * PROTO_REASON_BYTES_MAX + 3];
    core_log(core, LOGGER_INFO, "admin_request",
             "connection=%" PRIu64 " peer=%s request=%" PRIu64 " operation=%s %s%s%s",
             request->connection->id, request->connection->name, request->message.id,
             proto_operation_find(request->message.kind)->name, target, reason.size == 0 ? "" : " reason=",
             reason.size == 0 ? "" : core_log_quote(reason.data, reason.size, quoted, sizeof(quoted)));
}

/* The only trace of who did it and why: never left out (admission_limit.c bounds how many there are). */
static void log_admin(struct core *core, const struct request *request)
{
    const union proto_request_body *body = &request->message.body;
    char target[2 * PROTO_KEY_BYTES_MAX + 64] = "";
    char key[2 * PROTO_KEY_BYTES_MAX + 3];
    struct proto_bytes reason = {NULL, 0};
    switch (request->message.kind) {
    case PROTO_FORCE_RELEASE:
        (void)core_log_quote(body->force_release.key.data, body->force_release.key.size, key, sizeof(key));
        (void)snprintf(target, sizeof(target), "key=%s token=%" PRIu64, key, body->force_release.token);
        reason = body->force_release.reason;
        break;
    case PROTO_SESSION_KILL:
        (void)snprintf(target, sizeof(target), "session=%" PRIu64, body->session_kill.session_id);
        reason = body->session_kill.reason;
        break;
    case PROTO_CLUSTER_TRANSFER:
        (void)snprintf(target, sizeof(target), "to=%" PRIu64, body->cluster_transfer.node_id);
        break;
    default:
        break;
    }
    log_with_reason(core, request, target, reason);
}

static void hand_over(struct core *core, struct request *request)
{
    if (request->message.kind == PROTO_PING) {
        request_answer(core, request, &(struct proto_reply){.status = PROTO_STATUS_OK});
        return;
    }
    core->dirty = true;
    if (proto_operation_find(request->message.kind)->sent_by == PROTO_ADMIN) {
        log_admin(core, request);
    }
    if (proto_operation_find(request->message.kind)->served_by == PROTO_LOG) {
        proposer_add(core, request);
    } else {
        reads_add(core, request);
    }
}

void admission_run(struct core *core, struct request *request)
{
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        if (!stages[i](core, request)) {
            return;
        }
    }
    hand_over(core, request);
}

void admission_refuse_frame(struct core *core, struct core_connection *connection, struct proto_bytes body,
                            enum proto_status status, const char *detail)
{
    struct proto_request request = {.id = 0};
    struct proto_error error;
    if (body.size > 0) {
        (void)proto_decode_request(body, &request,
                                   &error); /* only kind and id are wanted, which are set in any case */
    }
    struct proto_reply reply = {.kind = request.kind, .id = request.id, .status = status};
    uint64_t retry_after_ms = status == PROTO_STATUS_OVERLOADED ? NO_ROOM_RETRY_MS : 0;
    answer_refusal(core, status, detail, retry_after_ms, &reply.body.refusal);
    core->requests.refused++;
    answer_reply(core, connection, &reply);
}
