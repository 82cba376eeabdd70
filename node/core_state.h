/* The core's structure, shared by its files; private to them. How to find the way: core_connection.c and greeting.c are
 * the front; request.c is one request's life; admission*.c decide on it; proposer.c with clock.c, and reads.c, send it on;
 * core_machine.c applies entries; dispatch.c and answer.c bring the answers out; core.c turns the crank. */
#ifndef LOCKSTEP_NODE_CORE_STATE_H
#define LOCKSTEP_NODE_CORE_STATE_H

#include "node/clock.h"
#include "node/core.h"
#include "node/core_connection.h"
#include "node/core_log.h"
#include "node/dispatch.h"
#include "node/proposer.h"
#include "node/rate_window.h"
#include "node/reads.h"
#include "node/request.h"
#include "protocol/decode.h"
#include "raft_fsm/fsm.h"

struct core_digest {
    uint64_t index; /* 0: none yet */
    uint64_t digest;
};

struct core {
    struct core_options options;
    struct core_replica replica;
    struct core_output output;

    struct local_time now;     /* the latest that was told */
    struct local_time looked;  /* until when the sockets were read, if that was told: not before `now` then */
    struct local_time started; /* the first */
    bool time_known;
    bool dirty; /* something came in since the last turn */

    /* Leadership, as the replica told it last. */
    enum replica_role role;
    uint64_t term;
    uint64_t leader_id;
    bool serving;
    bool leader_known; /* leader_address is of this turn */
    char leader_address[REPLICA_ADDRESS_BYTES_MAX + 1];
    struct replica_status status; /* scratch */

    /* Leaving (core_shutdown). */
    bool leaving;
    bool handed_over; /* nothing is left to hand over, or it was given up */
    struct local_time left;
    struct local_time transfer_retry;

    /* The state machine. */
    struct fsm *fsm;
    struct fsm *retired; /* replaced by a restore, and freed in steps */
    struct fsm_snapshot *snapshot;
    const struct fsm *snapshot_of;
    struct fsm_restore *restore;
    struct fsm_effects effects;
    uint64_t applied_index;
    uint64_t turned_index;        /* applied_index at the last turn */
    struct local_time quiet_from; /* the turn since which nothing was applied */
    uint64_t next_due_ms;         /* of the state machine, as of this turn */
    struct core_digest digest;    /* at the last multiple of digest_every_entries */
    uint64_t checked_index;       /* where the invariants were last seen to hold */

    struct requests requests;
    struct core_connections connections;
    struct cluster_clock clock;
    struct proposer proposer;
    struct reads reads;
    struct dispatch dispatch;
    struct core_complaints complaints;
    struct rate_window admin; /* an administrator's operations that were accepted */
    uint64_t events_sent;

    struct proto_buffer frame; /* the frame that is being made */
    struct proto_rows rows;    /* of the query that is being answered */
};

/* core.c: the latest local time that was told; it never goes back. */
void core_see_time(struct core *core, struct local_time now);

/* core_check.c: the entry at `index` was applied; whether the state that it left is sound, or was not
 * looked at. The process ends if it is not. */
bool core_check(struct core *core, uint64_t index);

/* greeting.c: the first frame of a connection. */
void greeting_receive(struct core *core, struct core_connection *connection, struct proto_bytes body);
/* The reply to it. @param detail a sentence, may be "". */
void greeting_answer(struct core *core, struct core_connection *connection, enum proto_status status,
                     const char *detail);

#endif
