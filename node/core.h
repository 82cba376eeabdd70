/* Stations 3..5, 8 and 9 in one face: the part of a node between the sockets and the replica. No libuv, no sockets, no
 * clock: frames and the time come in as arguments, bytes and proposals go out through the seams below. The libuv shell
 * (loop.c, listener.c, connection.c) and the simulation drive the same code.
 *
 * A turn (design section 4, style section 9): the shell gathers input (core_receive), the replica applies what was
 * committed (through core_machine()), then core_turn() decides: admission of everything received, reads, proposals,
 * expiry last. Output is handed to the shell per connection as it arises; the shell writes once per connection and turn.
 *
 * Invariants
 *  C1  Every request is answered exactly once, or its connection is gone (asserted in request.c).
 *  C2  Nothing says granted, extended, released or closed before its entry is committed and applied.
 *  C3  A read is answered only after replica_read() proved leadership for it, or it asked for `stale`.
 *  C4  Expiry is proposed only after everything that had been received was proposed (a client that renewed in time is
 *      never expired by a slow server).
 *  C5  Memory per connection and in all is bounded; past a limit the answer is OVERLOADED. */
#ifndef LOCKSTEP_NODE_CORE_H
#define LOCKSTEP_NODE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/logger_level.h"
#include "node/replica/replica.h"
#include "node/time.h"
#include "protocol/message.h"

struct core;

/* What the core needs of the replica; the real ones forward to replica.h, tests have their own. */
struct core_replica {
    void *ctx;
    bool (*propose)(void *ctx, struct local_time now, const struct replica_command *commands, unsigned count,
                    uint64_t *ret_first_index, uint64_t *ret_term);
    bool (*read)(void *ctx, struct local_time now, uint64_t read_id);
    bool (*transfer)(void *ctx, struct local_time now, uint64_t node_id);
    void (*status)(void *ctx, struct replica_status *ret_status);
};

/* What the core needs of the shell. A connection is named by the number the shell gave it (never reused). */
struct core_output {
    void *ctx;
    /* Queue a whole frame (header included) on a connection; the bytes are copied or written before the call returns.
     * @return false if the connection's bound on queued bytes is reached: the shell will close it. */
    bool (*send)(void *ctx, uint64_t connection, const void *frame, size_t size);
    /* Whether so much is queued that nothing is read from the connection: its reads wait, too. */
    bool (*is_slow)(void *ctx, uint64_t connection);
    /* Close after what is queued was sent. The shell calls core_connection_closed() later. */
    void (*close)(void *ctx, uint64_t connection, const char *why);
    /* One event for the log: `event` a short stable name; `fields` "key=value …" (logfmt). */
    void (*log)(void *ctx, enum logger_level level, const char *event, const char *fields);
    /* The process must end (an entry this version does not know, a broken invariant): does not return. */
    void (*fatal)(void *ctx, const char *message);
};

/* When the invariants of the whole state are checked; the check is linear in the state. */
enum core_check {
    CORE_CHECK_OFF,
    CORE_CHECK_SAMPLED, /* now and then, and only while the state is small: see core_check.c */
    CORE_CHECK_ALWAYS,  /* after every entry: for tests */
};

struct core_options {
    uint64_t cluster_id, node_id;
    uint64_t hash_seed; /* of the hash tables; 0: drawn. The simulation gives it, so that a seed decides everything */
    const char *version;             /* for cluster.status */
    unsigned entries_in_flight_max;  /* proposals under way; default 4 */
    size_t entry_bytes_target;       /* close a batch at this size; default 64 KiB */
    unsigned renew_delay_ms;         /* how long renewals may wait for company at most (proposer.h); default 100 */
    unsigned clock_step_ms_max;      /* by how much one turn may advance cluster time; default 100 */
    unsigned requests_per_connection_max; /* unanswered, waiting acquires included; default 1024 */
    unsigned requests_max;           /* in the node; default 262144 */
    unsigned requests_per_second_max; /* per connection, token bucket; 0: no limit */
    unsigned heartbeat_ms;           /* told to clients in hello; default 1000 */
    unsigned hello_timeout_ms;       /* a connection that has not said hello by then is closed; default 5000 */
    unsigned digest_every_entries;   /* the state's digest is taken at multiples of this index; default 1024 */
    enum core_check check_invariants; /* of the state machine's whole state; default CORE_CHECK_SAMPLED */
};

/* Fill in the defaults named above. */
void core_options_init(struct core_options *options);

struct core *core_create(const struct core_options *options, const struct core_replica *replica,
                         const struct core_output *output);
/* Frees everything; the shell has closed all connections, the replica is closed. */
void core_free(struct core *core);

/* The state machine face for replica_open(): apply, snapshot, restore of this core's fsm. */
struct replica_machine core_machine(struct core *core);
/* To be called from the replica's callbacks of the same name. */
void core_replica_changed(struct core *core, struct local_time now, enum replica_role role, uint64_t term,
                          uint64_t leader_id, bool serving);
void core_replica_applied(struct core *core, uint64_t index);
void core_replica_read_ready(struct core *core, uint64_t read_id, bool ok);

/* @param name  the peer's address, for logs; copied. */
void core_connection_opened(struct core *core, struct local_time now, uint64_t connection, const char *name);
void core_connection_closed(struct core *core, uint64_t connection);
/* One frame's body (after proto_frame_take()), the connection's first being hello. Gathers only; decides in core_turn(),
 * except that hello, ping and refusals may be answered at once. */
void core_receive(struct core *core, struct local_time now, uint64_t connection, struct proto_bytes body);
/* The bytes of this connection were no frame: log (rate-limited), tell if possible, close. */
void core_bad_frame(struct core *core, struct local_time now, uint64_t connection, const char *what);

/* The decisions of one turn. Call after every batch of input and at core_deadline(). All that the sockets hold is to be
 * read before, also when it is a timer that fired: a turn that comes before the reading could let a lease expire whose
 * renewal has arrived (C4). The core counts time in which no turn was made up to clock_step_ms_max only. */
void core_turn(struct core *core, struct local_time now);
/* Before a turn that is told a time from before the last look at the sockets: until when that look lasted. What it found
 * counts from there (clock.h, K4). */
void core_looked(struct core *core, struct local_time looked);
struct local_time core_deadline(const struct core *core);
/* Before this time, a turn decides nothing for want of input (a lease that was not renewed, a hello that did not come):
 * no need to look once more at the sockets, whatever work there is. */
struct local_time core_due(const struct core *core);

/* Begin to leave (SIGTERM): refuse new requests with NOT_LEADER/UNAVAILABLE and a hint, tell clients leader.moved, hand
 * leadership over once what is in flight is answered (or has taken half a second). core_drained() is true once nothing
 * that was accepted is unanswered (waiting acquires do not count: they survive in the queue), and leadership is gone, or
 * nobody has taken it for three seconds, or nobody else votes. leader.moved goes out when leadership goes, so that it
 * can say where to. */
void core_shutdown(struct core *core, struct local_time now);
bool core_drained(const struct core *core);

struct core_counts {
    uint64_t connections, requests_in_flight, waits, entries_proposed, commands_proposed, reads, refused, events_sent;
};
void core_counts(const struct core *core, struct core_counts *ret_counts);

#endif
