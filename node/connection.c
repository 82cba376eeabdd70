/* The table of connections, their states and their timeouts. See connection.h and connection_internal.h. */
#include "node/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/connection_internal.h"
#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

/* How often a flood of the same event is logged. */
enum { LIMIT_WINDOW_MS = 10000, LIMIT_BURST = 10 };

struct connections *connections_create(uv_loop_t *loop, const struct connections_options *options,
                                       const struct connections_handler *handler, struct logger *logger)
{
    LOCKSTEP_ASSERT(options->count_max >= 1);
    LOCKSTEP_ASSERT(options->count_max <= CONNECTIONS_MAX);
    unsigned slots = options->count_max + REFUSALS_MAX;
    struct connections *all = calloc(1, sizeof(*all));
    LOCKSTEP_ASSERT(all != NULL);
    all->loop = loop;
    all->options = *options;
    all->handler = *handler;
    all->logger = logger;
    all->slots = calloc(slots, sizeof(struct connection *));
    LOCKSTEP_ASSERT(all->slots != NULL);
    all->free_slots = calloc(slots, sizeof(*all->free_slots));
    LOCKSTEP_ASSERT(all->free_slots != NULL);
    for (unsigned i = 0; i < slots; i++) {
        all->free_slots[i] = slots - 1 - i;
    }
    all->free_count = slots;
    all->next_serial = 1;
    for (unsigned i = 0; i < WAITS_COUNT; i++) {
        TAILQ_INIT(&all->waits[i]);
    }
    TAILQ_INIT(&all->dirty);
    all->refuse_limit = (struct logger_limit){.window_ms = LIMIT_WINDOW_MS, .burst = LIMIT_BURST};
    all->doom_limit = all->refuse_limit;
    proto_buffer_init(&all->scratch, options->request_bytes_max);
    return all;
}

void connections_free(struct connections *all)
{
    if (all == NULL) {
        return;
    }
    LOCKSTEP_ASSERT(connections_empty(all));
    proto_buffer_done(&all->scratch);
    free(all->slots);
    free(all->free_slots);
    free(all);
}

static struct connection *find(const struct connections *all, uint64_t number)
{
    uint64_t slot = number & ((1U << SLOT_BITS) - 1);
    if (slot >= all->options.count_max + REFUSALS_MAX) {
        return NULL;
    }
    struct connection *connection = all->slots[slot];
    return connection != NULL && connection->number == number ? connection : NULL;
}

size_t connection_queued(const struct connection *connection)
{
    return connection->out.size + connection->writing.size;
}

void connection_move(struct connection *connection, enum connection_state state)
{
    static const unsigned permitted[] = {
        [CONNECTION_OPEN] = (1U << CONNECTION_DRAINING) | (1U << CONNECTION_DOOMED),
        [CONNECTION_DRAINING] = (1U << CONNECTION_SHUT) | (1U << CONNECTION_DOOMED),
        [CONNECTION_SHUT] = (1U << CONNECTION_DOOMED),
        [CONNECTION_DOOMED] = (1U << CONNECTION_CLOSING),
        [CONNECTION_CLOSING] = 0,
    };
    LOCKSTEP_ASSERT((permitted[connection->state] & (1U << state)) != 0);
    connection->state = state;
}

void connection_wait_for(struct connection *connection, enum connection_wait wait)
{
    struct connections *all = connection->all;
    if (connection->wait != WAIT_NONE) {
        TAILQ_REMOVE(&all->waits[connection->wait], connection, waits);
    }
    connection->wait = wait;
    if (wait != WAIT_NONE) {
        connection->since = all->handler.now(all->handler.ctx);
        TAILQ_INSERT_TAIL(&all->waits[wait], connection, waits);
    }
}

void connection_mark_dirty(struct connection *connection)
{
    if (!connection->dirty) {
        connection->dirty = true;
        TAILQ_INSERT_TAIL(&connection->all->dirty, connection, dirties);
    }
}

void connection_doom(struct connection *connection, enum logger_level level, const char *why)
{
    struct connections *all = connection->all;
    uint64_t suppressed = 0;
    if (connection->state >= CONNECTION_DOOMED) {
        return;
    }
    connection_move(connection, CONNECTION_DOOMED);
    connection_wait_for(connection, WAIT_NONE);
    connection_mark_dirty(connection);
    if (level > all->logger->level ||
        (level < LOGGER_DEBUG &&
         !logger_limit_pass(&all->doom_limit, all->handler.now(all->handler.ctx).ms, &suppressed))) {
        return;
    }
    LOGGER_EVENT(all->logger, level, "connection_closed", LOGGER_NUMBER("connection", connection->number),
                 LOGGER_TEXT("client", connection->name), LOGGER_TEXT("why", why),
                 LOGGER_NUMBER("suppressed", suppressed));
}

void connection_close_when_sent(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN) {
        return;
    }
    connection_move(connection, CONNECTION_DRAINING);
    connection_wait_for(connection, WAIT_DRAIN);
    connection_mark_dirty(connection);
    connection_resume(connection); /* what still comes is discarded, and its end is to be noticed */
}

void connections_close(struct connections *all, uint64_t number, const char *why)
{
    struct connection *connection = find(all, number);
    if (connection != NULL && connection->state == CONNECTION_OPEN) {
        LOGGER_EVENT(all->logger, LOGGER_DEBUG, "connection_closing", LOGGER_NUMBER("connection", number),
                     LOGGER_TEXT("client", connection->name), LOGGER_TEXT("why", why));
        connection_close_when_sent(connection);
    }
}

bool connections_send(struct connections *all, uint64_t number, const void *frame, size_t size)
{
    struct connection *connection = find(all, number);
    if (connection == NULL || connection->state != CONNECTION_OPEN) {
        return false;
    }
    /* The bound on all together hits those that already make us wait, not whoever comes next. */
    bool over_total =
        all->queued_bytes + size > all->options.queue_total_bytes_max && connection->writing.size > 0;
    if (connection_queued(connection) + size > all->options.queue_bytes_max || over_total ||
        !proto_buffer_append(&connection->out, frame, size)) {
        connection_doom(connection, LOGGER_WARNING, "it does not read what it is sent");
        return false;
    }
    all->queued_bytes += size;
    connection_mark_dirty(connection);
    if (connection_queued(connection) > all->options.queue_bytes_max / 2) {
        connection_pause(connection);
    }
    return true;
}

bool connections_is_paused(const struct connections *all, uint64_t number)
{
    const struct connection *connection = find(all, number);
    return connection != NULL && connection->paused;
}

/* ---- accepting ---- */

static void name_read(struct connection *connection)
{
    struct sockaddr_storage peer;
    int size = sizeof(peer);
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&peer, &size) == 0) {
        bool v6 = peer.ss_family == AF_INET6;
        (void)uv_ip_name((const struct sockaddr *)&peer, host, sizeof(host)); /* "?" stays */
        port = ntohs(v6 ? ((const struct sockaddr_in6 *)&peer)->sin6_port
                        : ((const struct sockaddr_in *)&peer)->sin_port);
    }
    (void)snprintf(connection->name, sizeof(connection->name),
                   strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

static void options_set(struct connection *connection)
{
    int fd = -1;
    unsigned timeout_ms = connection->all->options.tcp_timeout_ms;
    /* Without them the connection works, only slower or held for longer: a failure is not worth ending it. */
    (void)uv_tcp_nodelay(&connection->tcp, 1);
    if (uv_fileno((const uv_handle_t *)&connection->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    }
}

/* A connection that fills no place: it hears OVERLOADED and closes. */
static void refuse(struct connection *connection)
{
    struct connections *all = connection->all;
    static const char detail[] = "this node has as many connections as it may";
    uint8_t small[512];
    struct proto_buffer frame = {.data = NULL};
    const struct proto_hello_reply hello = {
        .status = PROTO_STATUS_OVERLOADED,
        .cluster_id = all->options.cluster_id,
        .node_id = all->options.node_id,
        .detail = {(const uint8_t *)detail, sizeof(detail) - 1},
    };
    proto_buffer_init(&frame, sizeof(small));
    size_t begin = proto_frame_begin(&frame);
    proto_encode_hello_reply(&frame, &hello);
    if (proto_frame_end(&frame, begin, false)) {
        (void)connections_send(all, connection->number, frame.data, frame.size);
    }
    proto_buffer_done(&frame);
    connection_close_when_sent(connection);
}

static void refusal_log(struct connections *all, const struct connection *connection)
{
    uint64_t suppressed = 0;
    all->refused++;
    if (logger_limit_pass(&all->refuse_limit, all->handler.now(all->handler.ctx).ms, &suppressed)) {
        LOGGER_EVENT(all->logger, LOGGER_WARNING, "connection_refused",
                     LOGGER_TEXT("client", connection->name), LOGGER_NUMBER("connections", all->open),
                     LOGGER_NUMBER("suppressed", suppressed),
                     LOGGER_TEXT("why", "connections-max is reached"));
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct connections *all = connection->all;
    unsigned slot = (unsigned)(connection->number & ((1U << SLOT_BITS) - 1));
    if (connection->number != 0) {
        all->slots[slot] = NULL;
        all->free_slots[all->free_count++] = slot;
    }
    all->handles--;
    all->queued_bytes -= connection_queued(connection);
    proto_buffer_done(&connection->in);
    proto_buffer_done(&connection->out);
    proto_buffer_done(&connection->writing);
    free(connection);
}

static void slot_take(struct connection *connection)
{
    struct connections *all = connection->all;
    LOCKSTEP_ASSERT(all->free_count > 0);
    uint32_t slot = all->free_slots[--all->free_count];
    connection->number = (all->next_serial++ << SLOT_BITS) | slot;
    all->slots[slot] = connection;
}

static struct connection *connection_create(struct connections *all)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    LOCKSTEP_ASSERT(connection != NULL);
    connection->all = all;
    connection->wait = WAIT_NONE;
    /* Room for a header, the largest body, and the raw length before a compressed one. */
    proto_buffer_init(&connection->in,
                      all->options.request_bytes_max + PROTO_FRAME_HEADER_BYTES + sizeof(uint32_t));
    proto_buffer_init(&connection->out, all->options.queue_bytes_max);
    proto_buffer_init(&connection->writing, all->options.queue_bytes_max);
    int error = uv_tcp_init(all->loop, &connection->tcp);
    LOCKSTEP_ASSERT(error == 0);
    connection->tcp.data = connection;
    all->handles++;
    return connection;
}

void connections_accept(struct connections *all, uv_stream_t *listener)
{
    struct connection *connection = connection_create(all);
    if (uv_accept(listener, (uv_stream_t *)&connection->tcp) != 0) {
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
        return;
    }
    name_read(connection);
    if (all->free_count == 0) {
        refusal_log(all, connection); /* a flood: not even a word */
        uv_close((uv_handle_t *)&connection->tcp, on_closed);
        return;
    }
    all->accepted++;
    slot_take(connection);
    options_set(connection);
    if (!connection_read_start(connection)) {
        connection_doom(connection, LOGGER_WARNING, "its socket can not be read");
    } else if (all->open >= all->options.count_max) {
        refusal_log(all, connection);
        refuse(connection);
    } else {
        all->open++;
        connection->announced = true;
        connection_wait_for(connection, WAIT_IDLE);
        all->handler.opened(all->handler.ctx, connection->number, connection->name);
    }
}

/* ---- the phases of a turn ---- */

static uint64_t wait_ms(const struct connections *all, enum connection_wait wait)
{
    return wait == WAIT_IDLE    ? all->options.idle_timeout_ms
           : wait == WAIT_FRAME ? all->options.frame_timeout_ms
                                : all->options.drain_timeout_ms;
}

struct local_time connections_deadline(const struct connections *all)
{
    struct local_time deadline = LOCAL_TIME_NEVER;
    for (unsigned i = 0; i < WAITS_COUNT; i++) {
        const struct connection *first = TAILQ_FIRST(&all->waits[i]);
        if (first != NULL && first->since.ms + wait_ms(all, (enum connection_wait)i) < deadline.ms) {
            deadline.ms = first->since.ms + wait_ms(all, (enum connection_wait)i);
        }
    }
    return deadline;
}

void connections_expire(struct connections *all, struct local_time now)
{
    static const char *const why[] = {
        [WAIT_IDLE] = "it sent nothing for idle-timeout",
        [WAIT_FRAME] = "a request was not complete within frame-timeout",
        [WAIT_DRAIN] = "it neither read the rest nor closed",
    };
    for (unsigned i = 0; i < WAITS_COUNT; i++) {
        struct connection *first;
        while ((first = TAILQ_FIRST(&all->waits[i])) != NULL &&
               first->since.ms + wait_ms(all, (enum connection_wait)i) <= now.ms) {
            const char *reason =
                i == WAIT_IDLE && first->paused ? "it does not read what it is sent" : why[i];
            connection_doom(first, i == WAIT_DRAIN ? LOGGER_DEBUG : LOGGER_INFO, reason);
        }
    }
}

static void connection_reap(struct connection *connection)
{
    struct connections *all = connection->all;
    connection_move(connection, CONNECTION_CLOSING);
    all->closed++;
    bool announced = connection->announced;
    uint64_t number = connection->number;
    connection->announced = false;
    all->open -= announced;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    if (announced) {
        all->handler.closed(all->handler.ctx, number);
    }
}

void connections_write(struct connections *all)
{
    struct connection *connection;
    /* A flush that fails puts the connection back at the end of the list, as doomed: each is met at most twice. */
    while ((connection = TAILQ_FIRST(&all->dirty)) != NULL) {
        TAILQ_REMOVE(&all->dirty, connection, dirties);
        connection->dirty = false;
        if (connection->state == CONNECTION_DOOMED) {
            connection_reap(connection);
        } else if (connection->state != CONNECTION_CLOSING) {
            connection_flush(connection);
        }
    }
}

void connections_close_all(struct connections *all, bool at_once)
{
    for (unsigned slot = 0; slot < all->options.count_max + REFUSALS_MAX; slot++) {
        struct connection *connection = all->slots[slot];
        if (connection != NULL && at_once) {
            connection_doom(connection, LOGGER_DEBUG, "the node stops");
        } else if (connection != NULL) {
            connection_close_when_sent(connection);
        }
    }
}

bool connections_empty(const struct connections *all)
{
    return all->handles == 0;
}

void connections_counts(const struct connections *all, struct connections_counts *ret_counts)
{
    *ret_counts =
        (struct connections_counts){all->open, all->accepted, all->refused, all->closed, all->queued_bytes};
}
