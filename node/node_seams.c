/* How the parts reach each other: each gets a struct of functions that forward to the next. No decisions. */
#include <string.h>
#include <unistd.h>

#include "node/node_internal.h"

/* ---- the replica calls ---- */

static const char *role_name(enum replica_role role)
{
    return role == REPLICA_LEADER ? "leader" : role == REPLICA_CANDIDATE ? "candidate" : "follower";
}

static void on_changed(void *ctx, enum replica_role role, uint64_t term, uint64_t leader_id, bool serving)
{
    struct node *node = ctx;
    core_replica_changed(node->core, loop_now(node->loop), role, term, leader_id, serving);
    LOGGER_EVENT(node->logger, LOGGER_INFO, "role_changed", LOGGER_TEXT("role", role_name(role)),
                 LOGGER_NUMBER("term", term), LOGGER_NUMBER("leader", leader_id),
                 LOGGER_FLAG("serving", serving));
    node->serving = serving;
}

static void on_applied(void *ctx, uint64_t index)
{
    struct node *node = ctx;
    core_replica_applied(node->core, index);
}

static void on_read_ready(void *ctx, uint64_t read_id, bool ok)
{
    struct node *node = ctx;
    core_replica_read_ready(node->core, read_id, ok);
}

static void on_replica_fatal(void *ctx, bool restart_helps, const char *message)
{
    node_die(ctx, restart_helps ? NODE_EXIT_REPLICA : NODE_EXIT_FOREIGN, message);
}

static void log_message(struct node *node, const char *event, enum logger_level level, const char *message)
{
    LOGGER_EVENT(node->logger, level, event, LOGGER_TEXT("msg", message));
}

static void on_replica_log(void *ctx, enum logger_level level, const char *message)
{
    log_message(ctx, "replica", level, message);
}

struct replica_callbacks node_replica_callbacks(struct node *node)
{
    return (struct replica_callbacks){.ctx = node,
                                      .changed = on_changed,
                                      .applied = on_applied,
                                      .read_ready = on_read_ready,
                                      .fatal = on_replica_fatal,
                                      .log = on_replica_log};
}

/* ---- the link to the other nodes calls; only from within the loop, when the replica is there ---- */

static void on_peer_up(void *ctx, uint64_t peer_id)
{
    struct node *node = ctx;
    replica_link_up(node->replica, loop_now(node->loop), peer_id);
}

static void on_peer_down(void *ctx, uint64_t peer_id)
{
    struct node *node = ctx;
    if (node->replica != NULL) { /* streams also end while the link closes, after the replica */
        replica_link_down(node->replica, loop_now(node->loop), peer_id);
    }
}

static void on_peer_gone(void *ctx, uint64_t peer_id)
{
    struct node *node = ctx;
    if (node->replica != NULL) {
        replica_link_gone(node->replica, loop_now(node->loop), peer_id);
    }
}

static bool on_peer_receive(void *ctx, uint64_t peer_id, const void *data, size_t size)
{
    struct node *node = ctx;
    return replica_receive(node->replica, loop_now(node->loop), peer_id, data, size);
}

static void on_peer_log(void *ctx, enum logger_level level, const char *message)
{
    log_message(ctx, "peer", level, message);
}

struct peer_callbacks node_peer_callbacks(struct node *node)
{
    return (struct peer_callbacks){
        .ctx = node, .up = on_peer_up, .down = on_peer_down, .receive = on_peer_receive, .log = on_peer_log, .gone = on_peer_gone};
}

/* ---- the core calls the replica; before replica_open() has returned it can do nothing ---- */

static bool to_propose(void *ctx, struct local_time now, const struct replica_command *commands,
                       unsigned count, uint64_t *ret_first_index, uint64_t *ret_term)
{
    struct node *node = ctx;
    return node->replica != NULL &&
           replica_propose(node->replica, now, commands, count, ret_first_index, ret_term);
}

static bool to_read(void *ctx, struct local_time now, uint64_t read_id)
{
    struct node *node = ctx;
    return node->replica != NULL && replica_read(node->replica, now, read_id);
}

static bool to_transfer(void *ctx, struct local_time now, uint64_t node_id)
{
    struct node *node = ctx;
    return node->replica != NULL && replica_transfer(node->replica, now, node_id);
}

static void to_status(void *ctx, struct replica_status *ret_status)
{
    struct node *node = ctx;
    if (node->replica != NULL) {
        replica_status(node->replica, ret_status);
    } else {
        memset(ret_status, 0, sizeof(*ret_status));
    }
}

struct core_replica node_core_replica(struct node *node)
{
    return (struct core_replica){
        .ctx = node, .propose = to_propose, .read = to_read, .transfer = to_transfer, .status = to_status};
}

/* ---- the core calls the connections ---- */

static bool to_send(void *ctx, uint64_t connection, const void *frame, size_t size)
{
    struct node *node = ctx;
    return connections_send(node->connections, connection, frame, size);
}

static bool is_slow(void *ctx, uint64_t connection)
{
    const struct node *node = ctx;
    return connections_is_paused(node->connections, connection);
}

static void to_close(void *ctx, uint64_t connection, const char *why)
{
    struct node *node = ctx;
    connections_close(node->connections, connection, why);
}

static void to_log(void *ctx, enum logger_level level, const char *event, const char *fields)
{
    struct node *node = ctx;
    logger_pairs(node->logger, level, event, fields);
}

static void on_core_fatal(void *ctx, const char *message)
{
    node_die(ctx, NODE_EXIT_STATE, message);
}

struct core_output node_core_output(struct node *node)
{
    return (struct core_output){.ctx = node,
                                .send = to_send,
                                .is_slow = is_slow,
                                .close = to_close,
                                .log = to_log,
                                .fatal = on_core_fatal};
}

/* ---- the connections call the core ---- */

static struct local_time now_of(void *ctx)
{
    const struct node *node = ctx;
    return loop_now(node->loop);
}

static void on_opened(void *ctx, uint64_t connection, const char *name)
{
    struct node *node = ctx;
    core_connection_opened(node->core, loop_now(node->loop), connection, name);
}

static void on_closed(void *ctx, uint64_t connection)
{
    struct node *node = ctx;
    core_connection_closed(node->core, connection);
}

static void on_receive(void *ctx, uint64_t connection, struct proto_bytes body)
{
    struct node *node = ctx;
    core_receive(node->core, loop_now(node->loop), connection, body);
}

static void on_bad_frame(void *ctx, uint64_t connection, const char *what)
{
    struct node *node = ctx;
    core_bad_frame(node->core, loop_now(node->loop), connection, what);
}

struct connections_handler node_connections_handler(struct node *node)
{
    return (struct connections_handler){.ctx = node,
                                        .now = now_of,
                                        .opened = on_opened,
                                        .closed = on_closed,
                                        .receive = on_receive,
                                        .bad_frame = on_bad_frame};
}
