/* Stations 1 and 10: the sockets of clients. Bytes in become frames for the handler (the core), frames out go through a
 * bounded queue per connection and leave once per turn. Decides nothing about what a frame means.
 *
 * Invariants
 *  N1  A connection's number is never reused.
 *  N2  Memory per connection is bounded: input by one request, output by queue_bytes_max. An idle one holds neither.
 *  N3  The handler hears `opened` once and `closed` once for each connection it hears of, `closed` last, and never from
 *      within one of its own calls to this header.
 *  N4  What was queued before connections_close() is sent before the connection ends, if its client reads.
 *  N5  Each connection ends by our own clock if its client does nothing: idle, unfinished request, unread output.
 *
 * One thread, the loop's. Callbacks of libuv only gather; connections_write() at the end of the turn writes and closes. */
#ifndef LOCKSTEP_NODE_CONNECTION_H
#define LOCKSTEP_NODE_CONNECTION_H

#include <uv.h>

#include "node/logger.h"
#include "node/time.h"
#include "protocol/message.h"

struct connections;

struct connections_options {
    unsigned count_max;       /* more are refused with OVERLOADED; at most CONNECTIONS_MAX */
    size_t request_bytes_max; /* body of one request */
    size_t queue_bytes_max;   /* waiting for one client; above half of it nothing is read from that client */
    size_t queue_total_bytes_max; /* waiting for all */
    unsigned idle_timeout_ms;     /* since the last whole frame */
    unsigned frame_timeout_ms;    /* since the first byte of an unfinished one */
    unsigned drain_timeout_ms;    /* since the close was asked for */
    unsigned tcp_timeout_ms;      /* TCP_USER_TIMEOUT */
    uint64_t cluster_id, node_id; /* said in the refusal */
};

enum { CONNECTIONS_MAX = 1000000 };

/* Who handles frames: the core, or a test. */
struct connections_handler {
    void *ctx;
    struct local_time (*now)(void *ctx); /* the turn's time, for what the callbacks gather */
    void (*opened)(void *ctx, uint64_t connection, const char *name);
    void (*closed)(void *ctx, uint64_t connection);
    void (*receive)(void *ctx, uint64_t connection, struct proto_bytes body);
    void (*bad_frame)(void *ctx, uint64_t connection, const char *what);
};

/* The logger must outlive it. Fails only without memory, and then aborts. */
struct connections *connections_create(uv_loop_t *loop, const struct connections_options *options,
                                       const struct connections_handler *handler, struct logger *logger);

/* Take the connection that waits at `listener` (from its connection callback). */
void connections_accept(struct connections *all, uv_stream_t *listener);

/* Queue a frame; copied. @return false if there is no such connection any more, or it is now closed because it does not
 * read what it is sent. */
bool connections_send(struct connections *all, uint64_t connection, const void *frame, size_t size);

/* Whether nothing is read from it because more than half of queue_bytes_max waits for it. Who sends it more than a little then
 * has it closed although it may be reading. Unknown numbers are not. */
bool connections_is_paused(const struct connections *all, uint64_t connection);

/* Close once what is queued is sent; nothing more is received from it. Unknown numbers are fine. */
void connections_close(struct connections *all, uint64_t connection, const char *why);

/* Begin of a turn: end what has run out of time. */
void connections_expire(struct connections *all, struct local_time now);
/* End of a turn: write what is queued, one write per connection; close what is to be closed, and tell the handler. */
void connections_write(struct connections *all);
/* When connections_expire() has something to do. */
struct local_time connections_deadline(const struct connections *all);

/* Close all: `at_once`, or after what is queued is sent. */
void connections_close_all(struct connections *all, bool at_once);
/* Whether no socket is left (also of those that are closing). Only then connections_free(). */
bool connections_empty(const struct connections *all);
void connections_free(struct connections *all);

struct connections_counts {
    unsigned open;
    uint64_t accepted, refused, closed;
    size_t queued_bytes;
};
void connections_counts(const struct connections *all, struct connections_counts *ret_counts);

#endif
