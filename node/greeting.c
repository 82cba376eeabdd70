/* The first frame of a connection: who speaks which version, and of which cluster. A refusal names what was wrong and
 * what this node is, then the connection is closed. */
#include <inttypes.h>
#include <stdio.h>

#include "node/answer.h"
#include "node/core_state.h"

#include <string.h>

void greeting_answer(struct core *core, struct core_connection *connection, enum proto_status status,
                     const char *detail)
{
    struct proto_hello_reply reply = {
        .status = status,
        .version = connection->version,
        .cluster_id = core->options.cluster_id,
        .node_id = core->options.node_id,
        .leader_id = answer_leader_id(core),
        .leader_address = answer_leader_address(core),
        .heartbeat_ms = core->options.heartbeat_ms,
        .detail = {(const uint8_t *)detail, (uint32_t)strlen(detail)},
    };
    answer_hello(core, connection, &reply);
}

static void refuse(struct core *core, struct core_connection *connection, enum proto_status status,
                   const char *detail)
{
    char quoted[2 * PROTO_DETAIL_BYTES_MAX + 3];
    core_complain(core, CORE_HELLO_REFUSED, "connection=%" PRIu64 " peer=%s status=%s detail=%s",
                  connection->id, connection->name, proto_status_name(status),
                  core_log_quote(detail, strlen(detail), quoted, sizeof(quoted)));
    greeting_answer(core, connection, status, detail);
    core_connection_end(core, connection, "hello refused");
}

/* What both speak, or 0. */
static uint64_t common_version(const struct proto_hello_request *hello)
{
    uint64_t version = hello->version_max < PROTO_VERSION_MAX ? hello->version_max : PROTO_VERSION_MAX;
    return version >= hello->version_min && version >= PROTO_VERSION_MIN ? version : 0;
}

void greeting_receive(struct core *core, struct core_connection *connection, struct proto_bytes body)
{
    struct proto_hello_request hello;
    struct proto_error error;
    char detail[PROTO_DETAIL_BYTES_MAX];
    if (!proto_decode_hello_request(body, &hello, &error)) {
        refuse(core, connection, PROTO_STATUS_MALFORMED, error.detail);
        return;
    }
    uint64_t version = common_version(&hello);
    if (version == 0) {
        (void)snprintf(detail, sizeof(detail),
                       "this node speaks versions %d to %d, the client %" PRIu64 " to %" PRIu64,
                       PROTO_VERSION_MIN, PROTO_VERSION_MAX, hello.version_min, hello.version_max);
        refuse(core, connection, PROTO_STATUS_UNSUPPORTED, detail);
        return;
    }
    if (hello.cluster_id != 0 && hello.cluster_id != core->options.cluster_id) {
        (void)snprintf(detail, sizeof(detail),
                       "this node belongs to cluster %" PRIu64 ", the client asked for %" PRIu64,
                       core->options.cluster_id, hello.cluster_id);
        refuse(core, connection, PROTO_STATUS_WRONG_CLUSTER, detail);
        return;
    }
    core_connection_greeted(core, connection);
    connection->greeted = true;
    connection->version = version;
    greeting_answer(core, connection, PROTO_STATUS_OK, "");
    char agent[2 * PROTO_OWNER_BYTES_MAX + 3];
    core_log(core, LOGGER_DEBUG, "hello", "connection=%" PRIu64 " peer=%s version=%" PRIu64 " agent=%s",
             connection->id, connection->name, version,
             core_log_quote(hello.agent.data, hello.agent.size, agent, sizeof(agent)));
}
