/* What the oracle knows, and what clients.c tells of its clients: shared by oracle*.c, promises*.c and clients*.c.
 *
 * The oracle has three layers. The log (oracle.c): which entry is at which index, and that every node agrees. The state
 * (oracle_state.c): a state machine of its own that applies each entry once, and tables of every session, token, wait and
 * request there ever was, filled from the effects and compared with what the state machine answers when it is asked. The
 * promises (promises.c, promises_reads.c): what clients were told, compared with these tables.
 *
 * All tables are indexed by small numbers that the cluster gives out one after the other; nothing is searched from end to
 * end. */
#ifndef LOCKSTEP_TESTS_SIM_ORACLE_H
#define LOCKSTEP_TESTS_SIM_ORACLE_H

#include "raft_fsm/fsm.h"
#include "tests/model/judge.h"
#include "tests/sim/sim.h"

enum {
    ORACLE_RATE_PPM_MAX = 25000, /* how much faster than true time a clock may go: storm.c and node.c */
    ORACLE_KEYS_MAX = 64,        /* different keys in a run */
    ORACLE_KEY_BYTES_MAX = 16,
    ORACLE_NUMBERS_MAX = 1 << 22,  /* indexes, tokens, sessions of a run */
    ORACLE_SENT_PLACES = 1024,     /* requests of a session whose time of sending is known; by id */
    ORACLE_ROUNDING_US = 3 * 1000, /* clocks show whole milliseconds */
};

/* ---- who sent what when ---- */

/* One life of a client's process: the requests that it sent in its session, each with the first time of sending. */
struct oracle_sender {
    struct {
        uint64_t id, us;
    } sent[ORACLE_SENT_PLACES];
    uint64_t open_us; /* the first session.open since the last session was known; 0: none */
};

/* ---- the tables ---- */

struct oracle_record {                     /* of an index */
    bool known, compared;                  /* compared: `digest` is known */
    uint64_t term, hash, digest, previous; /* the index of the entry before */
};

struct oracle_session {
    uint64_t opened_index, ended_index; /* 0: not */
    uint8_t end_reason;                 /* enum proto_end_reason */
    bool opened_only;                   /* it was not renewed since it was opened */
    uint64_t ttl_ms;
    uint64_t renewed_us; /* when the request that renewed it last was sent; 0: not known */
    struct oracle_sender *sender;
};

struct sim_hold;

struct oracle_token {
    uint64_t session, request, fence;
    uint64_t granted_index, ended_index; /* 0: not */
    uint64_t previous;                   /* the token before on this key */
    uint64_t own_until_ms;               /* its own lease in cluster time; UINT64_MAX: none */
    uint64_t own_ttl_ms, own_us;         /* by a request that was sent at own_us; 0: not known */
    uint32_t live_after;                 /* live tokens of the key right after its grant */
    uint32_t permits;
    uint8_t key, mode, end_reason;
    bool lost_told;         /* an effect says that it was lost, and end_reason why */
    bool released;          /* a release of its last hold was answered well */
    bool seen;              /* by the comparison that is under way */
    struct sim_hold *holds; /* what clients hold of it */
};

struct oracle_wait {
    bool used;
    uint64_t session, request, number, ttl_ms;
    uint32_t permits;
    uint8_t key, mode;
};

/* What became of a request of a session. */
struct oracle_request {
    uint64_t session, id; /* 0: place is free */
    uint64_t index, token;
    uint16_t status; /* enum proto_status; QUEUED while it waits */
    uint8_t kind;
    bool answered; /* a client's call was given its answer */
};

struct oracle_key {
    char name[ORACLE_KEY_BYTES_MAX];
    uint32_t bytes;
    uint64_t last_token; /* chain: oracle_token.previous */
    uint32_t live_count;
    uint64_t granted_wait; /* the greatest number of a wait that this entry granted */
    bool touched;
    /* live tokens, waits: in order of grant and arrival */
    uint64_t *live;
    uint32_t live_capacity;
    uint64_t *queue; /* numbers of waits */
    uint32_t queue_count, queue_capacity;
};

struct oracle_node { /* by place */
    uint64_t at;     /* the last index with an entry that its state has; 0: none */
    uint64_t durable_index;
    unsigned life;
    bool restored; /* and its state was not compared since */
};

struct oracle_term {
    uint64_t leader; /* node id | life << 32; 0: none seen */
    bool served;
};

struct sim_oracle {
    struct fsm *fsm;
    struct judge *judge;
    struct fsm_effects effects;
    struct proto_rows rows;
    struct proto_buffer early; /* an entry that only moves the time */
    struct fsm_command *commands;
    struct oracle_record *records;
    size_t records_capacity;
    uint64_t top; /* the highest index with an entry */
    struct oracle_term *terms;
    size_t terms_capacity;
    uint64_t term_top;
    struct oracle_node nodes[SIM_NODES_MAX];
    uint64_t served_count;

    struct oracle_session *sessions;
    size_t sessions_capacity;
    uint64_t sessions_top, sessions_alive;
    struct oracle_token *tokens;
    size_t tokens_capacity;
    uint64_t tokens_top, tokens_live;
    struct oracle_wait *waits;
    size_t waits_capacity;
    uint64_t waits_top, waits_live;
    struct oracle_request *requests; /* open addressing */
    size_t requests_capacity, requests_count;
    struct oracle_key keys[ORACLE_KEYS_MAX];
    unsigned keys_count;
    double
        clock_bound; /* the least of: a request's cluster time less what a fast clock may have run by its sending */
    bool clock_bounded;
    uint64_t time_ms;

    uint64_t acknowledged; /* the highest index that anybody was told of */
    bool lied;             /* the planted lie was told */
};

/* Is it time for this lie? True once. */
bool oracle_lies(struct sim *sim, const char *plant);

/* A table with a place for `number`; new ones are zero. */
void *oracle_table_grow(void *table, size_t *capacity, uint64_t number, size_t size);

/* ---- oracle_tables.c ---- */

/* Each NULL if there never was one. */
struct oracle_session *oracle_session(struct sim_oracle *oracle, uint64_t id);
struct oracle_token *oracle_token(struct sim_oracle *oracle, uint64_t token);
struct oracle_request *oracle_request(struct sim_oracle *oracle, uint64_t session, uint64_t id);
/* Its place, with session 0 if it is new. */
struct oracle_request *oracle_request_make(struct sim_oracle *oracle, uint64_t session, uint64_t id);
/* ORACLE_KEYS_MAX: never seen */
unsigned oracle_key_find(const struct sim_oracle *oracle, struct proto_bytes name);
/* Make it if it is new; an entry touches it. */
unsigned oracle_key(struct sim_oracle *oracle, struct proto_bytes name);
void oracle_numbers_add(uint64_t **list, uint32_t *count, uint32_t *capacity, uint64_t number);
void oracle_numbers_remove(uint64_t *list, uint32_t *count, uint64_t number);
/* When this request was sent first; 0: not known. */
uint64_t oracle_sent_us(struct sim_oracle *oracle, uint64_t session, uint64_t id);
void oracle_state_free(struct sim_oracle *oracle);

/* ---- oracle_state.c ---- */

/* The first time that this entry is applied: apply, judge and compare. */
void oracle_entry(struct sim *sim, uint64_t index, const void *data, size_t size);
/* A token is gone from the state: why? */
void oracle_token_ended(struct sim *sim, uint64_t index, uint64_t number);

/* ---- oracle_compare.c ---- */

void oracle_compare(struct sim *sim, uint64_t index);
void oracle_check_time(struct sim *sim, uint32_t count);

/* ---- promises.c: what clients tell ---- */

/* What a client has of a token. Registered while its process lives. */
struct sim_hold {
    struct sim_hold *next; /* of the same token */
    struct sim *sim;
    unsigned client;
    uint64_t token;
    const struct lsc_core *core;
    struct lsc_hold *hold;
    bool registered;
    bool released, lost;
    bool was_certain; /* at the last look, and its process has not stood still since */
};

/* Bytes that a process sends: requests are noted with the time. */
void promise_sent(struct sim *sim, struct oracle_sender *sender, const uint8_t *data, size_t size);
/* This session is that process's. */
void promise_session(struct sim *sim, uint64_t session, struct oracle_sender *sender);
/* The process is gone. */
void promise_sender_gone(struct sim *sim, const struct oracle_sender *sender);

void promise_hold_begin(struct sim *sim, struct sim_hold *hold, struct boot_time now);
void promise_hold_end(struct sim *sim, struct sim_hold *hold);
/* Look at what it believes. `driven`: its process has just had its turn, in time. */
void promise_hold_look(struct sim *sim, struct sim_hold *hold, struct boot_time now, bool driven);
void promise_hold_lost(struct sim *sim, struct sim_hold *hold, enum lockstep_lost_reason reason,
                       struct boot_time now);
/* The token has ended at the cluster: nobody may be certain of it. */
void promise_token_ended(struct sim *sim, uint64_t token);

struct promise_answer {
    unsigned client;
    enum proto_kind kind;
    bool stale;
    uint64_t session; /* the client's */
    uint64_t floor;   /* what was acknowledged when it was asked */
    const char *key;
    uint64_t asked_session; /* of session.get, session.kill */
    uint64_t token;         /* of release, extend, set_value */
    uint64_t fence;         /* of fence.check */
    bool again;             /* the second release of one hold */
    const struct lsc_outcome *outcome;
};
void promise_answer(struct sim *sim, const struct promise_answer *answer);
void promise_session_opened(struct sim *sim, unsigned client, uint64_t session);
void promise_session_closed(struct sim *sim, unsigned client, uint64_t session);

/* clients.c: what its clock shows. */
struct boot_time client_boot_time(const struct sim *sim, unsigned client);

/* ---- promises_reads.c ---- */

void promise_read(struct sim *sim, const struct promise_answer *answer);

#endif
