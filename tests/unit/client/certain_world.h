/* The world of certain_test.c: true time, some clients with real cores and clocks of their own, and a cluster around the
 * real state machine whose messages are late or lost (certain_cluster.c). */
#ifndef LOCKSTEP_TESTS_CLIENT_CERTAIN_WORLD_H
#define LOCKSTEP_TESTS_CLIENT_CERTAIN_WORLD_H

#include "client/core.h"
#include "protocol/buffer.h"
#include "raft_fsm/fsm.h"

enum {
    CLIENTS = 3,
    HOLDS = 12,  /* of one client */
    KEYS = 3,
    NODES = 3,
    BATCH = 64,
    STORM_MS = 40000,
    CALM_MS = 30000,
    CLOCK_PPM = 400, /* each clock is wrong by up to this; two differ by twice as much, the clients allow for 1000 */
};

struct message {
    struct message *next;
    uint64_t at;
    size_t size;
    uint8_t data[];
};
struct pipe {
    struct message *first, *last;
    uint64_t last_at;
};

struct hold_slot {
    bool used;
    bool acquiring;
    struct lsc_call *call;
    struct lsc_hold *hold;
    char key[8];
    bool lost;
    bool was_certain; /* a millisecond ago */
};

struct client {
    unsigned number;
    struct lsc_core *core;
    int64_t ppm;
    uint64_t boot_base;
    uint8_t secret[PROTO_SECRET_BYTES];
    /* its connection */
    bool connecting, open, silent;
    unsigned generation;
    unsigned node;
    bool greeted;
    uint64_t connect_at;
    struct pipe to_node, to_client;
    struct hold_slot holds[HOLDS];
    unsigned calls; /* under way */
    bool closed;
};

struct owner {
    struct client *client;
    unsigned generation;
    uint64_t id;
};
struct wait {
    uint64_t session_id, request_id;
    struct owner owner;
};

extern struct certain_world {
    uint64_t now; /* true time, ms */
    uint64_t random;
    bool calm;
    bool restless; /* many renewals, with TTLs far apart, and many cuts */
    struct client clients[CLIENTS];
    struct fsm *fsm;
    unsigned leader; /* 0: none */
    uint64_t leader_since, leader_base;
    int64_t leader_ppm;
    uint64_t next_leader_at;
    struct proto_buffer batch; /* of commands that wait for the entry in flight */
    struct fsm_entry_writer writer;
    struct owner batch_owners[BATCH], flight_owners[BATCH];
    unsigned batch_count, flight_count;
    struct proto_buffer flight;
    bool in_flight;
    uint64_t commit_at;
    struct fsm_effects effects;
    struct wait waits[256];
    uint64_t owners_of_sessions[4096]; /* client number + 1 by session id */
    struct proto_rows rows;
    unsigned long grants, losses, checks, failovers, cuts;
} w;

/* A number below `below`, out of the seed. */
uint64_t any(uint64_t below);
bool sometimes(uint64_t one_in);
struct boot_time boot_of(const struct client *client);
/* How late a message is. */
uint64_t delay(void);

void pipe_put(struct pipe *pipe, const void *data, size_t size);
/* The first message whose time has come, to be freed; NULL: none. */
struct message *pipe_take(struct pipe *pipe);
void pipe_clear(struct pipe *pipe);

void lead(void);
/* Commit, propose, lose the leader. */
void cluster_turn(void);
/* A message of the client's arrives at its node. */
void take_bytes(struct client *client, const struct message *message);
/* The client's connection breaks. */
void cut(struct client *client);

#endif
