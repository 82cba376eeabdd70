/* What the core knows of a connection: its greeting, its unanswered requests, its limits, and which sessions were last
 * used on it. The socket is the shell's. */
#ifndef LOCKSTEP_NODE_CORE_CONNECTION_H
#define LOCKSTEP_NODE_CORE_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "node/core_slab.h"
#include "node/core_table.h"
#include "node/request.h"
#include "node/time.h"
#include "protocol/message.h"

enum { CORE_CONNECTION_NAME_BYTES = 64, CORE_CONNECTIONS_MAX = 1 << 20 };

/* session -> the newest connection that used it, which hears of its events. */
struct session_route {
    struct core_table_node node;
    uint64_t session_id;
    struct core_connection *connection;
    struct session_route *next; /* of the same connection */
    struct session_route *previous;
};

struct core_connection {
    struct core_table_node node;
    uint64_t id;                  /* the shell's */
    struct core_connection *next; /* all connections, oldest first */
    struct core_connection *previous;
    struct core_connection *ungreeted_next; /* while `awaited`; oldest first */
    struct core_connection *ungreeted_previous;
    struct local_time opened;
    bool awaited; /* in the list of those that have not said hello */
    bool greeted; /* has said hello, and was welcome */
    bool dead;    /* nothing is sent any more: it is being closed */
    uint64_t version;
    char name[CORE_CONNECTION_NAME_BYTES];

    struct request *requests_first; /* unanswered, in the order of their arrival */
    struct request *requests_last;
    unsigned requests_count;
    struct session_route *routes;

    struct { /* admission_authenticate.c: the secret that was hashed last */
        bool valid;
        uint8_t secret[PROTO_SECRET_BYTES];
        uint8_t digest[PROTO_DIGEST_BYTES];
    } known;
    struct { /* admission_limit.c: a token bucket */
        int64_t milli_tokens;
        uint64_t filled_ms;
    } rate;
};

struct core_connections {
    struct core_slab slab;
    struct core_slab routes_slab;
    struct core_table table;  /* by id */
    struct core_table routes; /* struct session_route by session */
    struct core_connection *first;
    struct core_connection *last;
    struct core_connection *ungreeted_first;
    struct core_connection *ungreeted_last;
};

void core_connections_init(struct core_connections *connections, uint64_t seed);
/* Forgets every connection first. */
void core_connections_done(struct core *core);
/* The connection that the shell calls `id`, or NULL. */
struct core_connection *core_connection_find(struct core *core, uint64_t id);
/* Send nothing more and have the shell close it. */
void core_connection_end(struct core *core, struct core_connection *connection, const char *why);
/* Its hello is not waited for any more. */
void core_connection_greeted(struct core *core, struct core_connection *connection);
/* Close those that have not said hello in time. */
void core_connections_expire(struct core *core);
/* When the next of them is due. */
struct local_time core_connections_deadline(const struct core *core);

/* The session is in use on this connection; it hears of its events unless a newer one does. */
void session_route_set(struct core *core, uint64_t session_id, struct core_connection *connection);
struct core_connection *session_route_find(struct core *core, uint64_t session_id);
void session_route_remove(struct core *core, uint64_t session_id);
void session_routes_clear(struct core *core);

#endif
