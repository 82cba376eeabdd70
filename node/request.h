/* Station 3: one request of a connection, from its frame to its answer.
 *
 *              admission refuses                     +--------------------------------------------------+
 *   RECEIVED --------------------------------------->|                                                  |
 *      | admission_run()    leadership lost          |                 answered: the object is free     |
 *      +--> QUEUED --------------------------------->|                                                  |
 *      |      | proposer_run()   FSM_REPLY, or lost  |                                                  |
 *      |      +--> PROPOSED ------------------------>|                                                  |
 *      |             | FSM_QUEUED    FSM_WAIT_ENDED, or lost                                            |
 *      |             +--> WAITING ------------------>|                                                  |
 *      |                     | the same request came again and waits now for another connection:        |
 *      |                     +--------------------------------------------> forgotten, without an answer|
 *      +--> READING --- reads_ready(), or stale ---->|                                                  |
 *      +--> LOCAL ----- reads_run() ---------------->+--------------------------------------------------+
 *
 * Invariants
 *  R1  A request is answered exactly once, as its last act; then the object is free and no list has it. If its
 *      connection is gone the answer is dropped, but the request goes its way.
 *  R2  A WAITING request's connection is there: a connection that closes forgets its waits (the state machine keeps
 *      them, and the same request sent again finds them). */
#ifndef LOCKSTEP_NODE_REQUEST_H
#define LOCKSTEP_NODE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/core_slab.h"
#include "node/core_table.h"
#include "protocol/message.h"

struct core;
struct core_connection;

enum request_state {
    REQUEST_FREE,
    REQUEST_RECEIVED,
    REQUEST_QUEUED,
    REQUEST_PROPOSED,
    REQUEST_WAITING,
    REQUEST_READING,
    REQUEST_LOCAL,
};

enum { REQUEST_INLINE_BYTES = 224 };

struct request {
    enum request_state state;
    uint32_t body_bytes;
    struct core_connection *connection; /* NULL: gone */
    struct request *next;               /* in the queue or list that its state says */
    struct request *connection_next;    /* all requests of the connection */
    struct request *connection_previous;
    struct core_table_node wait_node;   /* WAITING: in the table of waits */
    uint64_t received_ms;               /* local time */
    uint64_t read_id;                   /* READING: the proof that it shares; 0 before it is asked for */
    struct proto_request message;       /* its strings point into `body` */
    uint8_t digest[PROTO_DIGEST_BYTES]; /* of the secret, if the operation carries one */
    uint8_t *body; /* `inline_body`, or of the slab of large bodies; NULL once it is not needed */
    uint8_t inline_body[REQUEST_INLINE_BYTES];
};

/* First in, first out, linked by request->next. */
struct request_list {
    struct request *first;
    struct request *last;
    uint64_t count;
};

void request_list_append(struct request_list *list, struct request *request);
/* The first, taken out, or NULL. */
struct request *request_list_take(struct request_list *list);

struct requests {
    struct core_slab slab;
    struct core_slab bodies; /* those that do not fit the request itself */
    uint64_t refused;
};

void requests_init(struct requests *requests, unsigned requests_max);
void requests_done(struct requests *requests);

/* A request with a copy of its frame's body. @return NULL if the bound on requests or on large bodies is reached. */
struct request *request_create(struct core *core, struct core_connection *connection,
                               struct proto_bytes body);
/* One of the moves drawn above that is not an end. */
void request_move(struct request *request, enum request_state state);
/* The bytes of the body are not needed any more (they are in an entry). */
void request_drop_body(struct core *core, struct request *request);

/* Ends. The caller has taken the request out of the list of its state. Kind and id of the reply are filled in here. */
void request_answer(struct core *core, struct request *request, const struct proto_reply *reply);
/* Any status but OK. NOT_LEADER and UNAVAILABLE get the hint where to go. @param detail a sentence, may be "". */
void request_refuse(struct core *core, struct request *request, enum proto_status status, const char *detail,
                    uint64_t retry_after_ms);
/* Without an answer: superseded, or its connection is gone while it waits. */
void request_forget(struct core *core, struct request *request);
/* The connection goes: the request stays on its way, its answer will be dropped. */
void request_orphan(struct request *request);

/* Renewals keep sessions alive: they may wait for company, and have room beyond the limits of other requests. */
bool request_is_renewal(const struct request *request);

#endif
