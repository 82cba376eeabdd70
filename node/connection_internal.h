/* What connection.c, connection_read.c and connection_write.c share. */
#ifndef LOCKSTEP_NODE_CONNECTION_INTERNAL_H
#define LOCKSTEP_NODE_CONNECTION_INTERNAL_H

#include <sys/queue.h>

#include "node/connection.h"
#include "protocol/buffer.h"

/* A connection's life. One function, connection_move(), makes the moves.
 *
 *   OPEN ------> DRAINING  connection_close_when_sent()  close was asked for: input is discarded, output goes out
 *   DRAINING --> SHUT      connection_flush()            all is written, our direction is shut; waits for the client to
 *                                                        close, since a socket closed with unread input loses the last
 *                                                        frame to a reset
 *   OPEN, DRAINING, SHUT
 *           ---> DOOMED    connection_doom()             end of stream, error, a limit, out of time: nothing more is written
 *   DOOMED ----> CLOSING   connection_reap()             end of the turn: the handler is told, the handle closes
 *   CLOSING ---> freed     on_closed() */
enum connection_state {
    CONNECTION_OPEN,
    CONNECTION_DRAINING,
    CONNECTION_SHUT,
    CONNECTION_DOOMED,
    CONNECTION_CLOSING,
};

/* Which of the lists of struct connections it waits in for its time to run out; all of one list wait equally long, so each
 * list is in the order of the deadlines. */
enum connection_wait { WAIT_IDLE, WAIT_FRAME, WAIT_DRAIN, WAITS_COUNT, WAIT_NONE = WAITS_COUNT };

struct connection {
    uv_tcp_t tcp;
    struct connections *all;
    uint64_t number; /* serial << SLOT_BITS | slot */
    enum connection_state state;
    enum connection_wait wait;
    bool announced;              /* the handler has heard of it */
    bool paused;                 /* not reading, because the client does not */
    bool dirty;                  /* in the list of those with something to write or to close */
    bool write_busy;             /* libuv is writing `writing` */
    struct local_time since;     /* when the wait began */
    struct proto_buffer in;      /* an unfinished frame */
    struct proto_buffer out;     /* frames of this turn */
    struct proto_buffer writing; /* what a write did not take at once; not touched while write_busy */
    uv_write_t write;
    uv_shutdown_t shutdown;
    TAILQ_ENTRY(connection) waits;
    TAILQ_ENTRY(connection) dirties;
    char name[56]; /* address:port of the client */
};
TAILQ_HEAD(connection_list, connection);

enum {
    SLOT_BITS = 21,
    /* Places beyond count_max for connections that are being told OVERLOADED. */
    REFUSALS_MAX = 64,
    READ_BYTES = 64 * 1024,
    /* What an idle connection may keep of its output buffer. */
    IDLE_BUFFER_BYTES = 1024,
};
_Static_assert(CONNECTIONS_MAX + REFUSALS_MAX < (1 << SLOT_BITS), "every connection has a slot");

struct connections {
    uv_loop_t *loop;
    struct connections_options options;
    struct connections_handler handler;
    struct logger *logger;
    struct connection **slots; /* count_max + REFUSALS_MAX */
    uint32_t *free_slots;
    unsigned free_count;
    uint64_t next_serial;
    unsigned open;    /* announced and not closed */
    unsigned handles; /* sockets libuv knows */
    size_t queued_bytes;
    struct connection_list waits[WAITS_COUNT];
    struct connection_list dirty;
    struct logger_limit refuse_limit, doom_limit;
    uint64_t accepted, refused, closed;
    struct proto_buffer scratch; /* where a compressed request is expanded */
    char read_buffer[READ_BYTES];
};

void connection_move(struct connection *connection, enum connection_state state);
/* End it at the end of the turn. `why` is static. */
void connection_doom(struct connection *connection, enum logger_level level, const char *why);
/* Wait anew from now on, in that list. */
void connection_wait_for(struct connection *connection, enum connection_wait wait);
void connection_mark_dirty(struct connection *connection);
void connection_close_when_sent(struct connection *connection);
size_t connection_queued(const struct connection *connection);

/* connection_read.c */
bool connection_read_start(struct connection *connection);
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);
/* connection_write.c */
void connection_flush(struct connection *connection);

#endif
