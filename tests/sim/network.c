/* Connections between clients and nodes: late, in pieces of any size, swallowed, broken; in order while they last.
 *
 * A connection has two ends that live separately: each goes when its side closes it or hears that the other has, and the
 * place is free when both are gone. */
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "protocol/frame.h"
#include "tests/sim/engine.h"

enum {
    CONNECTIONS_MAX = 4 * SIM_CLIENTS_MAX,
    QUEUE_BYTES_MAX = 1024 * 1024,
    PIECE_BYTES_MIN = 512,
    SPLIT_ONE_IN = 16,
    NOTICE_BREAK_US = 20 * 1000,
    NOTICE_ABANDON_US =
        5 * 1000 * 1000, /* a machine that is gone says nothing: the node's own timeouts notice */
};

struct sim_bytes {
    struct sim_bytes *next;
    uint64_t made_us, due_us;
    size_t size, capacity;
    uint8_t data[];
};

/* ---- flows ---- */

static void flow_clear(struct sim_flow *flow)
{
    while (flow->first != NULL) {
        struct sim_bytes *bytes = flow->first;
        flow->first = bytes->next;
        free(bytes);
    }
    flow->last = NULL;
    flow->bytes = 0;
}

static void piece_put(struct sim *sim, struct sim_flow *flow, const uint8_t *data, size_t size)
{
    struct sim_bytes *last = flow->last;
    if (last != NULL && last->made_us == sim->now_us && last->capacity - last->size >= size) {
        memcpy(last->data + last->size, data, size);
        last->size += size;
        return;
    }
    size_t capacity = size < PIECE_BYTES_MIN ? PIECE_BYTES_MIN : size;
    struct sim_bytes *bytes = malloc(sizeof(*bytes) + capacity);
    LOCKSTEP_ASSERT(bytes != NULL);
    *bytes = (struct sim_bytes){.made_us = sim->now_us, .size = size, .capacity = capacity};
    bytes->due_us = sim->now_us + engine_delay(sim, &sim->random_network, 0);
    if (bytes->due_us < flow->clear_us) {
        bytes->due_us = flow->clear_us;
    }
    flow->clear_us = bytes->due_us;
    memcpy(bytes->data, data, size);
    if (last == NULL) {
        flow->first = bytes;
    } else {
        last->next = bytes;
    }
    flow->last = bytes;
}

static void flow_put(struct sim *sim, struct sim_flow *flow, const uint8_t *data, size_t size)
{
    flow->bytes += size;
    if (size > 1 && sim_chance(&sim->random_network, SPLIT_ONE_IN)) {
        size_t first = 1 + (size_t)simulated_random(&sim->random_network, size - 1);
        piece_put(sim, flow, data, first);
        if (flow->last != NULL) {
            flow->last->capacity = flow->last->size; /* so that the rest comes as a piece of its own */
        }
        data += first;
        size -= first;
    }
    piece_put(sim, flow, data, size);
}

/* The first piece that has arrived, to be freed; NULL: none. */
static struct sim_bytes *flow_take(struct sim *sim, struct sim_flow *flow)
{
    struct sim_bytes *bytes = flow->first;
    if (bytes == NULL || bytes->due_us > sim->now_us) {
        return NULL;
    }
    flow->first = bytes->next;
    flow->last = flow->first == NULL ? NULL : flow->last;
    flow->bytes -= bytes->size;
    return bytes;
}

static uint64_t flow_due(const struct sim_flow *flow)
{
    return flow->first == NULL ? SIM_NEVER : flow->first->due_us;
}

/* ---- places ---- */

static struct sim_connection *of_client(struct sim *sim, unsigned client)
{
    for (unsigned i = 0; i < sim->connections_count; i++) {
        struct sim_connection *it = &sim->connections[i];
        if (it->number != 0 && it->client == client && it->open_at_client) {
            return it;
        }
    }
    return NULL;
}

static struct sim_connection *place_take(struct sim *sim)
{
    if (sim->connections == NULL) {
        sim->connections = calloc(CONNECTIONS_MAX, sizeof(*sim->connections));
        LOCKSTEP_ASSERT(sim->connections != NULL);
    }
    unsigned at = 0;
    while (at < sim->connections_count && sim->connections[at].number != 0) {
        at++;
    }
    LOCKSTEP_ASSERT(at < CONNECTIONS_MAX);
    sim->connections_count = at == sim->connections_count ? at + 1 : sim->connections_count;
    return &sim->connections[at];
}

static void place_free_if_unused(struct sim_connection *connection)
{
    if (connection->number != 0 && !connection->open_at_client && !connection->open_at_node &&
        !connection->connecting) {
        flow_clear(&connection->to_node);
        flow_clear(&connection->to_client);
        proto_buffer_done(&connection->in);
        *connection = (struct sim_connection){0};
    }
}

void network_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->connections_count; i++) {
        struct sim_connection *connection = &sim->connections[i];
        connection->open_at_client = connection->open_at_node = connection->connecting = false;
        place_free_if_unused(connection);
    }
    free(sim->connections);
}

/* ---- the client's side ---- */

static unsigned node_of_address(const struct sim *sim, const char *address)
{
    unsigned node = (unsigned)(address[4] - '1');
    LOCKSTEP_ASSERT(strncmp(address, "node", 4) == 0 && node < sim->nodes_count);
    return node;
}

void network_connect(struct sim *sim, unsigned client, const char *address)
{
    LOCKSTEP_ASSERT(of_client(sim, client) == NULL);
    struct sim_connection *connection = place_take(sim);
    *connection = (struct sim_connection){
        .number = ++sim->last_connection,
        .client = client,
        .node = node_of_address(sim, address),
        .connecting = true,
        .open_at_client = true,
    };
    connection->node_incarnation = sim->nodes[connection->node].incarnation;
    connection->due_us = sim->now_us + 2 * engine_delay(sim, &sim->random_network, 0);
    connection->silent =
        !sim->calm && sim_chance(&sim->random_network, 64); /* its packets are dropped somewhere */
    proto_buffer_init(&connection->in, 2 * PROTO_FRAME_BODY_BYTES_MAX);
}

void network_send(struct sim *sim, unsigned client, const void *data, size_t size)
{
    struct sim_connection *connection = of_client(sim, client);
    LOCKSTEP_ASSERT(connection != NULL);
    if (!connection->silent && connection->open_at_node) {
        flow_put(sim, &connection->to_node, data, size);
    }
}

/* What it sent still arrives, then the node hears of the end. */
static void client_end(struct sim *sim, struct sim_connection *connection, uint64_t noticed_us)
{
    connection->open_at_client = false;
    connection->connecting = false;
    flow_clear(&connection->to_client);
    connection->breaks = true;
    connection->due_us =
        noticed_us < connection->to_node.clear_us ? connection->to_node.clear_us : noticed_us;
    if (connection->silent) {
        connection->due_us += simulated_random(&sim->random_network, NOTICE_ABANDON_US);
    }
    place_free_if_unused(connection);
}

void network_close(struct sim *sim, unsigned client)
{
    struct sim_connection *connection = of_client(sim, client);
    if (connection != NULL) {
        client_end(sim, connection, sim->now_us + engine_delay(sim, &sim->random_network, 0));
    }
}

void network_abandon(struct sim *sim, unsigned client)
{
    struct sim_connection *connection = of_client(sim, client);
    if (connection != NULL) {
        bool says_nothing = sim_chance(&sim->random_network, 4);
        uint64_t late = says_nothing ? simulated_random(&sim->random_network, NOTICE_ABANDON_US) : 0;
        client_end(sim, connection, sim->now_us + engine_delay(sim, &sim->random_network, 0) + late);
    }
}

/* The client hears that its connection is gone. */
static void tell_client(struct sim *sim, struct sim_connection *connection, const char *why)
{
    unsigned client = connection->client;
    connection->open_at_client = false;
    connection->connecting = false;
    flow_clear(&connection->to_client);
    place_free_if_unused(connection);
    client_disconnected(sim, client, why);
}

static void accept_or_refuse(struct sim *sim, struct sim_connection *connection)
{
    const struct sim_node *node = &sim->nodes[connection->node];
    if (connection->silent) {
        connection->due_us = SIM_NEVER; /* until the client has had enough */
        return;
    }
    bool listens = node->up && node->leaving == SIM_STAYS;
    if (!listens || node->incarnation != connection->node_incarnation) {
        tell_client(sim, connection, "connection refused");
        return;
    }
    /* By the kernel: a process that stands still has connections, too. */
    connection->connecting = false;
    connection->due_us = SIM_NEVER;
    connection->open_at_node = true;
    connection->opens = true;
    client_connected(sim, connection->client);
}

/* @return whether something happened. */
static bool client_side_turn(struct sim *sim, struct sim_connection *connection)
{
    if (connection->number == 0 || !connection->open_at_client || !client_is_awake(sim, connection->client)) {
        return false;
    }
    if (connection->connecting) {
        if (connection->due_us > sim->now_us) {
            return false;
        }
        accept_or_refuse(sim, connection);
        return true;
    }
    struct sim_bytes *bytes = flow_take(sim, &connection->to_client);
    if (bytes != NULL) {
        client_received(sim, connection->client, bytes->data, bytes->size);
        free(bytes);
        return true;
    }
    if (connection->breaks && connection->to_client.first == NULL && connection->due_us <= sim->now_us) {
        tell_client(sim, connection, "connection reset");
        return true;
    }
    return false;
}

void network_turn(struct sim *sim)
{
    for (unsigned i = 0; i < sim->connections_count; i++) {
        /* A client closes and connects while it is told: the place may be another's then. */
        uint64_t number = sim->connections[i].number;
        while (number != 0 && sim->connections[i].number == number &&
               client_side_turn(sim, &sim->connections[i])) {
        }
    }
}

static uint64_t client_side_due(const struct sim *sim, const struct sim_connection *connection)
{
    if (connection->number == 0 || !connection->open_at_client || !client_is_awake(sim, connection->client)) {
        return SIM_NEVER;
    }
    if (connection->connecting) {
        return connection->due_us;
    }
    uint64_t due = flow_due(&connection->to_client);
    return due == SIM_NEVER && connection->breaks ? connection->due_us : due;
}

uint64_t network_due(const struct sim *sim)
{
    uint64_t due = SIM_NEVER;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        uint64_t one = client_side_due(sim, &sim->connections[i]);
        due = one < due ? one : due;
    }
    return due;
}

void network_break(struct sim *sim, unsigned client)
{
    struct sim_connection *connection = of_client(sim, client);
    if (connection == NULL || connection->connecting) {
        return;
    }
    /* What was on its way is lost, and so is what is sent before the end is noticed. */
    flow_clear(&connection->to_client);
    flow_clear(&connection->to_node);
    connection->silent = true;
    connection->breaks = true;
    connection->due_us = sim->now_us + simulated_random(&sim->random_network, NOTICE_BREAK_US);
}

void network_silence(struct sim *sim, unsigned client, bool silent)
{
    struct sim_connection *connection = of_client(sim, client);
    if (connection == NULL || connection->silent == silent) {
        return;
    }
    connection->silent = silent;
    if (silent) {
        flow_clear(&connection->to_client);
        flow_clear(&connection->to_node);
    } else if (connection->connecting) {
        connection->due_us = sim->now_us;
    } else {
        network_break(sim, client); /* bytes are missing: TCP would not go on with the next ones */
    }
}

static void flow_delay(struct sim_flow *flow, uint64_t until_us)
{
    for (struct sim_bytes *bytes = flow->first; bytes != NULL; bytes = bytes->next) {
        bytes->due_us = bytes->due_us < until_us ? until_us : bytes->due_us;
    }
    flow->clear_us = flow->clear_us < until_us ? until_us : flow->clear_us;
}

void network_delay(struct sim *sim, unsigned client, bool to_node, uint64_t until_us)
{
    struct sim_connection *connection = of_client(sim, client);
    if (connection != NULL) {
        flow_delay(to_node ? &connection->to_node : &connection->to_client, until_us);
    }
}

/* ---- the node's side ---- */

static struct sim_connection *of_number(struct sim *sim, uint64_t number)
{
    for (unsigned i = 0; i < sim->connections_count; i++) {
        if (sim->connections[i].number == number) {
            return &sim->connections[i];
        }
    }
    return NULL;
}

static bool is_of(const struct sim_node *node, const struct sim_connection *connection)
{
    return connection->number != 0 && connection->open_at_node && connection->node == node->place &&
           connection->node_incarnation == node->incarnation;
}

bool network_node_send(struct sim_node *node, uint64_t number, const void *frame, size_t size)
{
    struct sim *sim = node->sim;
    struct sim_connection *connection = of_number(sim, number);
    if (connection == NULL || !is_of(node, connection) || connection->closing) {
        return false;
    }
    if (connection->silent || !connection->open_at_client) {
        return true;
    }
    if (connection->to_client.bytes + size > QUEUE_BYTES_MAX) {
        network_node_close(node, number);
        return false;
    }
    flow_put(sim, &connection->to_client, frame, size);
    return true;
}

void network_node_close(struct sim_node *node, uint64_t number)
{
    struct sim_connection *connection = of_number(node->sim, number);
    if (connection != NULL && is_of(node, connection)) {
        connection->closing = true;
    }
}

static void node_end_connection(struct sim_node *node, struct sim_connection *connection)
{
    struct sim *sim = node->sim;
    uint64_t number = connection->number;
    bool was_told = !connection->opens;
    connection->open_at_node = false;
    connection->opens = false;
    flow_clear(&connection->to_node);
    if (connection->open_at_client) {
        connection->breaks = true;
        connection->due_us = sim->now_us + engine_delay(sim, &sim->random_network, 0);
        if (connection->silent) {
            connection->due_us += simulated_random(&sim->random_network, NOTICE_ABANDON_US);
        }
    }
    place_free_if_unused(connection);
    if (was_told && node->core != NULL) {
        core_connection_closed(node->core, number);
    }
}

static void bad_frame(struct sim_node *node, struct sim_connection *connection,
                      enum proto_frame_result result)
{
    sim_violation(node->sim, "client-frame", "node %u: %s from client %u", node->place + 1,
                  proto_frame_result_text(result), connection->client);
}

/* Whole frames to the core. @return how many bytes they took. */
static size_t take_frames(struct sim_node *node, struct sim_connection *connection, const uint8_t *data,
                          size_t size)
{
    size_t taken = 0;
    while (taken < size && connection->open_at_node && !connection->closing) {
        struct proto_bytes body;
        size_t frame_bytes = 0;
        enum proto_frame_result result = proto_frame_take(
            data + taken, size - taken, PROTO_REQUEST_BODY_BYTES_MAX, &node->scratch, &body, &frame_bytes);
        if (result == PROTO_FRAME_PARTIAL) {
            break;
        }
        if (result != PROTO_FRAME_OK) {
            bad_frame(node, connection, result);
        }
        core_receive(node->core, node_now(node), connection->number, body);
        taken += frame_bytes;
    }
    return taken;
}

static void take_piece(struct sim_node *node, struct sim_connection *connection,
                       const struct sim_bytes *bytes)
{
    struct proto_buffer *in = &connection->in;
    if (in->size == 0) {
        size_t taken = take_frames(node, connection, bytes->data, bytes->size);
        (void)proto_buffer_append(in, bytes->data + taken, bytes->size - taken);
        return;
    }
    (void)proto_buffer_append(in, bytes->data, bytes->size);
    size_t taken = take_frames(node, connection, in->data, in->size);
    memmove(in->data, in->data + taken, in->size - taken);
    in->size -= taken;
}

static bool node_side_receive(struct sim_node *node, struct sim_connection *connection)
{
    struct sim *sim = node->sim;
    bool any = false;
    if (connection->opens) {
        connection->opens = false;
        core_connection_opened(node->core, node_now(node), connection->number, "client");
        any = true;
    }
    struct sim_bytes *bytes;
    while (!connection->closing && (bytes = flow_take(sim, &connection->to_node)) != NULL) {
        sim->carried = bytes;
        take_piece(node, connection, bytes);
        sim->carried = NULL;
        free(bytes);
        any = true;
    }
    if (connection->closing || (connection->breaks && connection->due_us <= sim->now_us)) {
        node_end_connection(node, connection);
        any = true;
    }
    return any;
}

bool network_receive(struct sim_node *node)
{
    struct sim *sim = node->sim;
    bool any = false;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        if (is_of(node, &sim->connections[i])) {
            any = node_side_receive(node, &sim->connections[i]) || any;
        }
    }
    return any;
}

uint64_t network_receive_due(const struct sim_node *node)
{
    const struct sim *sim = node->sim;
    uint64_t due = SIM_NEVER;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        const struct sim_connection *connection = &sim->connections[i];
        if (!is_of(node, connection)) {
            continue;
        }
        uint64_t one = flow_due(&connection->to_node);
        if (connection->opens || connection->closing) {
            one = sim->now_us;
        } else if (connection->breaks && connection->due_us < one) {
            one = connection->due_us;
        }
        due = one < due ? one : due;
    }
    return due;
}

void network_node_close_all(struct sim_node *node)
{
    for (unsigned i = 0; i < node->sim->connections_count; i++) {
        struct sim_connection *connection = &node->sim->connections[i];
        connection->closing = connection->closing || is_of(node, connection);
    }
}

void network_node_ended(struct sim_node *node)
{
    struct sim *sim = node->sim;
    for (unsigned i = 0; i < sim->connections_count; i++) {
        if (is_of(node, &sim->connections[i])) {
            node_end_connection(node, &sim->connections[i]);
        }
    }
}
