/* Builds the parts of a node in the order in which they need each other, and tears them down in reverse. See node.h.
 *
 * The data directory is locked before any port is taken: two starts of one node then say so, rather than that a port is
 * in use. The client address is bound before the replica opens and listened on after it: a wrong address is found before
 * the log is read, and nobody connects to a node that can not answer. */
#include "node/node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/address.h"
#include "node/node_internal.h"
#include "node/replica/metadata.h"
#include "protocol/assert.h"

#ifndef LOCKSTEP_VERSION
#error "the build says which version this is"
#endif

enum {
    /* Files beside client connections: the log, snapshots, other nodes, the loop's own. */
    OTHER_FILES = 256,
    DRAIN_TIMEOUT_MS = 2000,
    /* How long handles may take to close at the end. */
    ENDING_MS = 2000,
};

const char *node_exit_name(enum node_exit code)
{
    switch (code) {
#define X(name, number, restart, text) \
    case NODE_EXIT_##name:             \
        return #name;
        NODE_EXITS(X)
#undef X
    }
    return "?";
}

void node_log_exit(struct logger *logger, enum node_exit code, const char *why)
{
    const struct logger_field fields[] = {
        LOGGER_NUMBER("code", (uint64_t)code),
        LOGGER_TEXT("name", node_exit_name(code)),
        LOGGER_TEXT("why", why),
    };
    logger_last(logger, "exit", fields, sizeof(fields) / sizeof(fields[0]));
}

void node_die(struct node *node, enum node_exit code, const char *why)
{
    node_log_exit(node->logger, code, why);
    _exit((int)code); /* not exit(): disk threads may be stuck, and nothing here needs flushing */
}

/* ---- the parts ---- */

/* Raise the limit of open files to what the settings need. @return how many connections there is room for. */
static unsigned connections_room(struct node *node)
{
    rlim_t wanted = (rlim_t)node->config->connections_max + OTHER_FILES;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return (unsigned)node->config->connections_max;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == wanted) {
        return (unsigned)node->config->connections_max;
    }
    unsigned room = limit.rlim_cur / 2 > OTHER_FILES ? (unsigned)limit.rlim_cur - OTHER_FILES
                                                     : (unsigned)limit.rlim_cur / 2;
    LOGGER_EVENT(node->logger, LOGGER_WARNING, "connections_limited", LOGGER_NUMBER("connections", room),
                 LOGGER_NUMBER("wanted", node->config->connections_max),
                 LOGGER_TEXT("why", "the limit of open files (ulimit -n, LimitNOFILE) is too low"));
    return room;
}

/* It can not be started from the data: because of the data, or because the disk did not do what it was asked, which may pass. */
static enum node_exit data_exit(const struct node *node)
{
    return disk_real_failure(node->disk) != 0 ? NODE_EXIT_REPLICA : NODE_EXIT_DATA;
}

/* Whose directory is it? Told apart here, because the answers have different exit codes. */
static enum node_exit directory_check(struct node *node)
{
    const struct config *config = node->config;
    struct metadata metadata;
    switch (metadata_load(node->disk, &metadata, node->message, sizeof(node->message))) {
    case METADATA_NONE:
        if (config->peers.count == 0 && !config->dev) {
            (void)snprintf(
                node->message, sizeof(node->message),
                "%s is empty and there is no list of peers: for a new cluster give the same list to all its "
                "nodes, this one included; a cluster of one node has a list of one",
                config->data_dir.text);
            return NODE_EXIT_DATA;
        }
        return NODE_EXIT_OK;
    case METADATA_OK:
        break;
    case METADATA_CORRUPT:
    case METADATA_ERROR:
    default:
        return data_exit(node);
    }
    if (metadata.cluster_id != config->cluster.id) {
        (void)snprintf(node->message, sizeof(node->message),
                       "%s belongs to a node of cluster %" PRIu64 ", and cluster %s is %" PRIu64
                       ": give this node its own data-dir, or set the cluster it was made for",
                       config->data_dir.text, metadata.cluster_id, config->cluster.name, config->cluster.id);
        return NODE_EXIT_FOREIGN;
    }
    if (metadata.node_id != config->node_id) {
        (void)snprintf(node->message, sizeof(node->message),
                       "%s belongs to node %" PRIu64 ", and this is node %" PRIu64
                       ": give each node its own data-dir, or set the node-id it was made for",
                       config->data_dir.text, metadata.node_id, config->node_id);
        return NODE_EXIT_FOREIGN;
    }
    return NODE_EXIT_OK;
}

static enum node_exit disk_open(struct node *node)
{
    enum disk_refusal refusal = DISK_REFUSAL_UNUSABLE;
    node->disk = disk_real_open(&node->uv, node->config->data_dir.text, &refusal, node->message,
                                sizeof(node->message));
    if (node->disk != NULL) {
        return NODE_EXIT_OK;
    }
    switch (refusal) {
    case DISK_REFUSAL_LOCKED:
        return NODE_EXIT_LOCKED;
    case DISK_REFUSAL_FOR_NOW:
        return NODE_EXIT_REPLICA;
    case DISK_REFUSAL_UNUSABLE:
    default:
        return NODE_EXIT_DATA_DIR;
    }
}

static enum node_exit clients_open(struct node *node)
{
    const struct config *config = node->config;
    struct address address;
    node->listener = listener_open(&node->uv, config->listen.text, node->message, sizeof(node->message));
    if (node->listener == NULL) {
        return NODE_EXIT_ADDRESS;
    }
    bool parsed = address_parse(config->listen.text, &address);
    LOCKSTEP_ASSERT(parsed);
    address.port = listener_port(node->listener);
    address_format(&address, node->client_address, sizeof(node->client_address));
    const struct connections_options options = {
        .count_max = connections_room(node),
        .request_bytes_max = PROTO_REQUEST_BODY_BYTES_MAX,
        .queue_bytes_max = config->queue_bytes,
        .queue_total_bytes_max = config->queue_total_bytes,
        .idle_timeout_ms = (unsigned)config->idle_timeout,
        .frame_timeout_ms = (unsigned)config->frame_timeout,
        .drain_timeout_ms = DRAIN_TIMEOUT_MS,
        .tcp_timeout_ms = (unsigned)config->client_tcp_timeout,
        .cluster_id = config->cluster.id,
        .node_id = config->node_id,
    };
    const struct connections_handler handler = node_connections_handler(node);
    node->connections = connections_create(&node->uv, &options, &handler, node->logger);
    return NODE_EXIT_OK;
}

static void core_open(struct node *node)
{
    const struct config *config = node->config;
    const struct core_replica replica = node_core_replica(node);
    const struct core_output output = node_core_output(node);
    struct core_options options;
    core_options_init(&options);
    options.cluster_id = config->cluster.id;
    options.node_id = config->node_id;
    options.version = LOCKSTEP_VERSION;
    options.entries_in_flight_max = (unsigned)config->proposals_in_flight;
    options.entry_bytes_target = config->batch_bytes;
    options.renew_delay_ms = (unsigned)config->renew_delay;
    options.clock_step_ms_max = (unsigned)config->clock_step;
    options.requests_per_connection_max = (unsigned)config->connection_requests;
    options.requests_max = (unsigned)config->requests_max;
    options.requests_per_second_max = (unsigned)config->request_rate;
    options.heartbeat_ms = (unsigned)config->client_heartbeat;
    options.hello_timeout_ms = (unsigned)config->hello_timeout;
    options.digest_every_entries = (unsigned)config->digest_every;
    options.check_invariants = (enum core_check)config->check_invariants;
    node->core = core_create(&options, &replica, &output);
    LOCKSTEP_ASSERT(node->core != NULL);
}

static enum node_exit link_open(struct node *node)
{
    const struct config *config = node->config;
    const struct peer_callbacks callbacks = node_peer_callbacks(node);
    const struct peer_options options = {
        .cluster_id = config->cluster.id,
        .node_id = config->node_id,
        .listen_address = config->peer_listen.text,
        .queue_bytes_max = config->peer_queue_bytes,
        .connect_timeout_ms = (unsigned)config->peer_connect_timeout,
        .user_timeout_ms = (unsigned)config->peer_tcp_timeout,
    };
    node->link = peer_link_open(&node->uv, &options, &callbacks, node->message, sizeof(node->message));
    return node->link != NULL ? NODE_EXIT_OK : NODE_EXIT_ADDRESS;
}

/* --dev: the only member, at the ports that were found. */
static void self_fill(struct node *node)
{
    struct address address;
    bool parsed = address_parse(node->config->peer_listen.text, &address);
    LOCKSTEP_ASSERT(parsed);
    node->self = (struct replica_member){.node_id = node->config->node_id, .voter = true};
    address.port = peer_link_port(node->link);
    if (address_wildcard(&address)) {
        (void)snprintf(address.host, sizeof(address.host), "127.0.0.1");
    }
    address_format(&address, node->self.peer_address, sizeof(node->self.peer_address));
    parsed = address_parse(node->client_address, &address);
    LOCKSTEP_ASSERT(parsed);
    if (address_wildcard(&address)) {
        (void)snprintf(address.host, sizeof(address.host), "127.0.0.1");
    }
    address_format(&address, node->self.client_address, sizeof(node->self.client_address));
}

static enum node_exit replica_start(struct node *node)
{
    const struct config *config = node->config;
    const struct replica_callbacks callbacks = node_replica_callbacks(node);
    const struct replica_machine machine = core_machine(node->core);
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        (void)snprintf(node->message, sizeof(node->message), "there is no randomness: getrandom: %s",
                       strerror(errno));
        return NODE_EXIT_INTERNAL;
    }
    if (config->dev) {
        self_fill(node);
    }
    const struct replica_config options = {
        .cluster_id = config->cluster.id,
        .node_id = config->node_id,
        .election_timeout_ms = (unsigned)config->election_timeout,
        .heartbeat_ms = (unsigned)config->heartbeat,
        .snapshot_after_bytes = config->snapshot_after,
        .trailing_bytes = config->log_trailing,
        .entries_in_flight_max = (unsigned)config->entries_in_flight,
        .append_pace_ms = (unsigned)config->append_pace,
        .peer_queue_bytes = config->peer_queue_bytes,
        .segment_bytes = config->log_segment,
        .log_cache_bytes = config->log_cache,
        .random_seed = seed,
        .bootstrap = config->dev ? &node->self : config->peers.members,
        .bootstrap_count = config->dev ? 1 : config->peers.count,
        .bootstrap_made_up = config->dev,
    };
    uv_update_time(&node->uv);
    node->replica = replica_open(&options, node->disk, node->link, &machine, &callbacks, loop_now(node->loop),
                                 node->message, sizeof(node->message));
    return node->replica != NULL ? NODE_EXIT_OK : data_exit(node);
}

static void announce(struct node *node)
{
    const struct config *config = node->config;
    char id[24]; /* as text: readers of JSON may not have whole numbers of 64 bits */
    char peers[sizeof(node->client_address)];
    struct address address;
    bool parsed = address_parse(config->peer_listen.text, &address);
    LOCKSTEP_ASSERT(parsed);
    address.port = peer_link_port(node->link);
    address_format(&address, peers, sizeof(peers));
    (void)snprintf(id, sizeof(id), "%" PRIu64, config->cluster.id);
    LOGGER_EVENT(node->logger, LOGGER_INFO, "started", LOGGER_TEXT("version", LOCKSTEP_VERSION),
                 LOGGER_NUMBER("node", config->node_id), LOGGER_TEXT("cluster", config->cluster.name),
                 LOGGER_TEXT("cluster_id", id), LOGGER_TEXT("listen", node->client_address),
                 LOGGER_TEXT("peer_listen", peers), LOGGER_TEXT("data_dir", config->data_dir.text));
    node_notify("READY=1");
    if (config->dev && config->log_format == LOGGER_LOGFMT) { /* whoever asks for JSON does not read this */
        (void)printf("A cluster of this one node serves at %s; %s. Try:\n\n"
                     "    export LOCKSTEP_ENDPOINTS=%s\n"
                     "    lockstep lock build/main -- echo mine\n\n",
                     node->self.client_address,
                     config->origins[CONFIG_KEY_data_dir].source == CONFIG_DEFAULT
                         ? "its data goes with it"
                         : "its data stays in data-dir",
                     node->self.client_address);
        (void)fflush(stdout);
    }
}

static void serve(struct node *node)
{
    const struct loop_parts parts = {
        .core = node->core,
        .replica = node->replica,
        .connections = node->connections,
        .link = node->link,
        .node_turn = node_turn,
        .ctx = node,
    };
    loop_start(node->loop, &parts);
    announce(node);
    (void)uv_run(&node->uv,
                 UV_RUN_DEFAULT); /* what it returns says only that handles are left, and they are */
    loop_stop(node->loop);
}

static void on_part_closed(void *ctx)
{
    (void)ctx; /* the loop runs until all handles are closed; nobody waits for one in particular */
}

/* Jobs under way touch the replica's memory: it goes when they have come back. */
static void replica_stop(struct node *node)
{
    while (!replica_idle(node->replica)) {
        (void)uv_run(&node->uv, UV_RUN_ONCE);
    }
    struct replica *replica = node->replica;
    node->replica = NULL;
    replica_close(replica);
}

static void clients_close(struct node *node)
{
    listener_close(node->listener);
    connections_close_all(node->connections, true);
    connections_write(node->connections);
}

static void tell_end(struct node *node)
{
    if (node->code == NODE_EXIT_OK) {
        LOGGER_EVENT(node->logger, LOGGER_INFO, "stopped", LOGGER_TEXT("why", "it was asked to"));
    } else {
        node_log_exit(node->logger, node->code, node->message);
    }
}

static void on_ending_slowly(uv_timer_t *timer)
{
    struct node *node = timer->data;
    tell_end(node);
    _exit((int)node->code); /* not exit(): libuv would wait there, too */
}

/* Until every handle has closed, which takes no time, but where a peer's name is being looked up: nothing can interrupt that, and it may
 * take longer than whoever stops the node has patience. What is durable is so by now; the process ends without the answer. */
static void handles_close(struct node *node)
{
    uv_timer_t limit;
    int error = uv_timer_init(&node->uv, &limit);
    LOCKSTEP_ASSERT(error == 0);
    limit.data = node;
    uv_update_time(&node->uv);
    (void)uv_timer_start(&limit, on_ending_slowly, ENDING_MS, 0); /* fails only without callback */
    uv_unref((uv_handle_t *)&limit);
    (void)uv_run(&node->uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&limit, NULL);
    (void)uv_run(&node->uv, UV_RUN_DEFAULT);
}

enum node_exit node_run(const struct config *config, struct logger *logger)
{
    struct node node = {.config = config, .logger = logger};
    enum node_exit code;
    int error = uv_loop_init(&node.uv);
    if (error != 0) {
        (void)snprintf(node.message, sizeof(node.message), "there can be no event loop: %s", uv_strerror(error));
        node_log_exit(logger, NODE_EXIT_INTERNAL, node.message);
        return NODE_EXIT_INTERNAL;
    }
    node.loop = loop_create(&node.uv);
    node_signals_open(&node);

    if ((code = disk_open(&node)) != NODE_EXIT_OK) {
        goto close_loop;
    }
    if ((code = directory_check(&node)) != NODE_EXIT_OK) {
        goto close_disk;
    }
    if ((code = clients_open(&node)) != NODE_EXIT_OK) {
        goto close_disk;
    }
    core_open(&node);
    if ((code = link_open(&node)) != NODE_EXIT_OK) {
        goto close_core;
    }
    if ((code = replica_start(&node)) != NODE_EXIT_OK) {
        goto close_link;
    }
    if (!listener_start(node.listener, node.connections, logger, node.message, sizeof(node.message))) {
        code = NODE_EXIT_ADDRESS;
        goto close_replica;
    }
    serve(&node);

close_replica:
    replica_stop(&node);
close_link:
    peer_link_close(node.link, on_part_closed, NULL);
close_core:
    clients_close(&node);
close_disk:
    disk_real_close(node.disk, on_part_closed, NULL);
close_loop:
    node_signals_close(&node);
    loop_free(node.loop);
    node.code = code;
    handles_close(&node);
    connections_free(node.connections);
    core_free(node.core);
    error = uv_loop_close(&node.uv);
    LOCKSTEP_ASSERT(error == 0);
    tell_end(&node);
    return code;
}
