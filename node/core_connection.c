/* Connections as the core knows them (core_connection.h). A connection that closes leaves nothing behind but requests on
 * their way, whose answers will be dropped, and its waits in the state machine. */
#include "node/core_connection.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/admission.h"
#include "node/core_state.h"
#include "protocol/assert.h"

void core_connections_init(struct core_connections *connections, uint64_t seed)
{
    *connections = (struct core_connections){0};
    core_slab_init(&connections->slab, sizeof(struct core_connection), CORE_CONNECTIONS_MAX);
    core_slab_init(&connections->routes_slab, sizeof(struct session_route), FSM_SESSIONS_MAX);
    core_table_init(&connections->table, seed);
    core_table_init(&connections->routes, seed);
}

void core_connections_done(struct core *core)
{
    struct core_connections *connections = &core->connections;
    while (connections->first != NULL) {
        core_connection_closed(core, connections->first->id);
    }
    core_table_done(&connections->table);
    core_table_done(&connections->routes);
    core_slab_done(&connections->slab);
    core_slab_done(&connections->routes_slab);
}

struct core_connection *core_connection_find(struct core *core, uint64_t id)
{
    struct core_table *table = &core->connections.table;
    struct core_table_node *at = core_table_first(table, core_table_hash(table, id, 0));
    for (; at != NULL; at = core_table_next(at)) {
        struct core_connection *connection = (void *)((char *)at - offsetof(struct core_connection, node));
        if (connection->id == id) {
            return connection;
        }
    }
    return NULL;
}

/* ---- the two lists ---- */

static void link_last(struct core_connections *connections, struct core_connection *connection)
{
    connection->previous = connections->last;
    connection->ungreeted_previous = connections->ungreeted_last;
    if (connections->last == NULL) {
        connections->first = connection;
    } else {
        connections->last->next = connection;
    }
    connections->last = connection;
    if (connections->ungreeted_last == NULL) {
        connections->ungreeted_first = connection;
    } else {
        connections->ungreeted_last->ungreeted_next = connection;
    }
    connections->ungreeted_last = connection;
}

static void unlink_all(struct core_connections *connections, struct core_connection *connection)
{
    if (connection->previous == NULL) {
        connections->first = connection->next;
    } else {
        connection->previous->next = connection->next;
    }
    if (connection->next == NULL) {
        connections->last = connection->previous;
    } else {
        connection->next->previous = connection->previous;
    }
}

void core_connection_greeted(struct core *core, struct core_connection *connection)
{
    struct core_connections *connections = &core->connections;
    if (connection->awaited) {
        connection->awaited = false;
        if (connection->ungreeted_previous == NULL) {
            connections->ungreeted_first = connection->ungreeted_next;
        } else {
            connection->ungreeted_previous->ungreeted_next = connection->ungreeted_next;
        }
        if (connection->ungreeted_next == NULL) {
            connections->ungreeted_last = connection->ungreeted_previous;
        } else {
            connection->ungreeted_next->ungreeted_previous = connection->ungreeted_previous;
        }
    }
}

/* ---- coming and going ---- */

void core_connection_opened(struct core *core, struct local_time now, uint64_t id, const char *name)
{
    core_see_time(core, now);
    struct core_connections *connections = &core->connections;
    LOCKSTEP_ASSERT(core_connection_find(core, id) == NULL);
    struct core_connection *connection = core_slab_take(&connections->slab);
    LOCKSTEP_ASSERT(connection != NULL); /* the shell's limit is far below */
    *connection = (struct core_connection){.id = id, .opened = core->now, .awaited = true};
    (void)snprintf(connection->name, sizeof(connection->name), "%s", name);
    connection->rate.filled_ms = core->now.ms;
    connection->rate.milli_tokens = (int64_t)core->options.requests_per_second_max * 1000;
    core_table_insert(&connections->table, &connection->node, core_table_hash(&connections->table, id, 0));
    link_last(connections, connection);
}

static void forget_requests(struct core *core, struct core_connection *connection)
{
    while (connection->requests_first != NULL) {
        struct request *request = connection->requests_first;
        if (request->state == REQUEST_WAITING) {
            dispatch_forget_wait(core, request);
        } else {
            request_orphan(request);
        }
    }
    LOCKSTEP_ASSERT(connection->requests_count == 0);
}

static void route_drop(struct core *core, struct session_route *route)
{
    if (route->previous == NULL) {
        route->connection->routes = route->next;
    } else {
        route->previous->next = route->next;
    }
    if (route->next != NULL) {
        route->next->previous = route->previous;
    }
    core_table_remove(&core->connections.routes, &route->node);
    core_slab_give(&core->connections.routes_slab, route);
}

void core_connection_closed(struct core *core, uint64_t id)
{
    struct core_connection *connection = core_connection_find(core, id);
    if (connection == NULL) {
        return;
    }
    forget_requests(core, connection);
    while (connection->routes != NULL) {
        route_drop(core, connection->routes);
    }
    core_connection_greeted(core, connection);
    unlink_all(&core->connections, connection);
    core_table_remove(&core->connections.table, &connection->node);
    core_slab_give(&core->connections.slab, connection);
}

void core_connection_end(struct core *core, struct core_connection *connection, const char *why)
{
    core_connection_greeted(core, connection); /* its hello is not waited for any more */
    connection->dead = true;
    core->output.close(core->output.ctx, connection->id, why);
}

/* ---- frames ---- */

void core_receive(struct core *core, struct local_time now, uint64_t id, struct proto_bytes body)
{
    core_see_time(core, now);
    struct core_connection *connection = core_connection_find(core, id);
    if (connection == NULL || connection->dead) {
        return; /* its last frames, read before the shell closed it */
    }
    if (!connection->greeted) {
        greeting_receive(core, connection, body);
        return;
    }
    if (body.size > PROTO_REQUEST_BODY_BYTES_MAX) {
        admission_refuse_frame(core, connection, body, PROTO_STATUS_MALFORMED,
                               "the request is larger than 8192 bytes");
        core_connection_end(core, connection, "request too large");
        return;
    }
    struct request *request = request_create(core, connection, body);
    if (request == NULL) {
        admission_refuse_frame(core, connection, body, PROTO_STATUS_OVERLOADED,
                               "the node has no room for the request");
        return;
    }
    admission_run(core, request);
}

void core_bad_frame(struct core *core, struct local_time now, uint64_t id, const char *what)
{
    core_see_time(core, now);
    struct core_connection *connection = core_connection_find(core, id);
    if (connection == NULL || connection->dead) {
        return;
    }
    char quoted[160];
    core_complain(core, CORE_BAD_FRAME, "connection=%" PRIu64 " peer=%s what=%s", id, connection->name,
                  core_log_quote(what, strlen(what), quoted, sizeof(quoted)));
    if (connection->greeted) {
        admission_refuse_frame(core, connection, (struct proto_bytes){0}, PROTO_STATUS_MALFORMED, what);
    } else {
        greeting_answer(core, connection, PROTO_STATUS_MALFORMED, what);
    }
    core_connection_end(core, connection, "bad frame");
}

void core_connections_expire(struct core *core)
{
    uint64_t timeout_ms = core->options.hello_timeout_ms;
    struct core_connection *connection = core->connections.ungreeted_first;
    while (connection != NULL && core->now.ms - connection->opened.ms >= timeout_ms) {
        core_complain(core, CORE_HELLO_LATE, "connection=%" PRIu64 " peer=%s", connection->id,
                      connection->name);
        core_connection_end(core, connection, "no hello in time");
        connection = core->connections.ungreeted_first;
    }
}

struct local_time core_connections_deadline(const struct core *core)
{
    const struct core_connection *first = core->connections.ungreeted_first;
    return first == NULL ? LOCAL_TIME_NEVER
                         : (struct local_time){first->opened.ms + core->options.hello_timeout_ms};
}

/* ---- session -> connection ---- */

static struct session_route *find_route(struct core *core, uint64_t session_id)
{
    struct core_table *routes = &core->connections.routes;
    struct core_table_node *at = core_table_first(routes, core_table_hash(routes, session_id, 0));
    for (; at != NULL; at = core_table_next(at)) {
        struct session_route *route = (void *)((char *)at - offsetof(struct session_route, node));
        if (route->session_id == session_id) {
            return route;
        }
    }
    return NULL;
}

void session_route_set(struct core *core, uint64_t session_id, struct core_connection *connection)
{
    struct session_route *route = find_route(core, session_id);
    if (route != NULL && route->connection->id >= connection->id) {
        return; /* an older one: what comes on it may have been under way for long, and nobody may listen there */
    }
    if (route != NULL) {
        route_drop(core, route);
    }
    route = core_slab_take(&core->connections.routes_slab);
    if (route == NULL) {
        return; /* more than can live at a time: events are a courtesy, and this one is missed */
    }
    *route = (struct session_route){
        .session_id = session_id, .connection = connection, .next = connection->routes};
    if (route->next != NULL) {
        route->next->previous = route;
    }
    connection->routes = route;
    struct core_table *routes = &core->connections.routes;
    core_table_insert(routes, &route->node, core_table_hash(routes, session_id, 0));
}

struct core_connection *session_route_find(struct core *core, uint64_t session_id)
{
    struct session_route *route = find_route(core, session_id);
    return route == NULL ? NULL : route->connection;
}

void session_route_remove(struct core *core, uint64_t session_id)
{
    struct session_route *route = find_route(core, session_id);
    if (route != NULL) {
        route_drop(core, route);
    }
}

void session_routes_clear(struct core *core)
{
    for (struct core_connection *at = core->connections.first; at != NULL; at = at->next) {
        while (at->routes != NULL) {
            route_drop(core, at->routes);
        }
    }
}
