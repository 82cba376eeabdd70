/* Admission, stage 6: what only the leader may answer is sent to the leader. A leader that does not serve yet has not
 * applied what was granted before its term, so it is no better than any other node. */
#include "node/admission.h"
#include "node/core_state.h"

static bool needs_leader(const struct proto_request *message)
{
    switch (proto_operation_find(message->kind)->served_by) {
    case PROTO_LOG:
        return true;
    case PROTO_QUERY:
        return !message->stale;
    case PROTO_LOCAL:
        break;
    }
    return message->kind == PROTO_CLUSTER_TRANSFER;
}

bool admission_route(struct core *core, struct request *request)
{
    if (!needs_leader(&request->message) || (core->serving && !core->leaving)) {
        return true;
    }
    const char *detail = core->leaving ? "this node is shutting down" : "";
    request_refuse(core, request, PROTO_STATUS_NOT_LEADER, detail, 0);
    return false;
}
