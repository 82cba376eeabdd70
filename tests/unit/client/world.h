/* A core in virtual time, opposite a node whose every word the test writes. Nothing here has rules of its own: the test
 * reads what the core sent and says what comes back, and when. */
#ifndef LOCKSTEP_TESTS_CLIENT_WORLD_H
#define LOCKSTEP_TESTS_CLIENT_WORLD_H

#include "client/core.h"
#include "protocol/buffer.h"
#include "protocol/decode.h"

enum { WORLD_REQUESTS_MAX = 4096, WORLD_LOSSES_MAX = 64 };

/* A request as the node read it. */
struct world_request {
    struct proto_request request; /* strings point into the world's copy of the frame */
    uint8_t *frame;
    struct boot_time at;
    unsigned connection; /* 1.. */
};

struct world_loss {
    void *user;
    enum lockstep_lost_reason reason;
    struct boot_time at;
    uint64_t remaining_ms; /* of `hold`, if the test has set it */
};

struct world {
    struct lsc_core *core;
    struct boot_time now;
    uint64_t random;
    /* what the core did */
    unsigned connection; /* the number of the last attempt */
    bool connecting;
    bool connected;
    char address[PROTO_ADDRESS_BYTES_MAX + 1];
    struct boot_time connect_at; /* of the last attempt */
    unsigned closes;
    struct proto_buffer from_core;
    bool greeted;
    struct proto_hello_request hello;
    struct world_request requests[WORLD_REQUESTS_MAX];
    unsigned requests_count;
    unsigned requests_read; /* by world_next() */
    struct world_loss losses[WORLD_LOSSES_MAX];
    unsigned losses_count;
    unsigned session_losses;
    enum lockstep_lost_reason session_loss_reason;
};

/* What a call came to. */
struct world_done {
    unsigned count; /* how often it was told: never more than once */
    int result;
    char detail[512];
    struct lsc_hold *hold;
    uint64_t number;  /* of the reply: a fence, an applied index … */
    struct boot_time at;
    struct world *world;
};
void world_done(void *user, const struct lsc_outcome *outcome);

/* "n1:1,n2:2,n3:3", TTL 3000 ms, request timeout 10 s, no drift unless `config` says otherwise. NULL: so. */
struct lsc_config world_config(void);
void world_init(struct world *world, const struct lsc_config *config);
void world_free(struct world *world);

/* Let the time pass, ticking whenever the core asks for it, up to and including `ms` later. */
void world_pass(struct world *world, uint64_t ms);

/* The attempt that is under way succeeds, and the node greets. `leader_id` and its address are the hint. */
void world_accept(struct world *world, uint64_t node_id, uint64_t leader_id, const char *leader_address);
void world_accept_hello(struct world *world, const struct proto_hello_reply *hello);
void world_refuse(struct world *world);
void world_cut(struct world *world);
/* Wait until the core connects; fails the test after a minute of virtual time. */
void world_await_connect(struct world *world);

/* The next request that the test has not read; NULL: none. */
const struct world_request *world_next(struct world *world);
/* The same, and it is one of this kind: pings are passed over. */
const struct world_request *world_expect(struct world *world, enum proto_kind kind);
void world_expect_none(struct world *world);

void world_reply(struct world *world, const struct proto_reply *reply);
void world_event(struct world *world, const struct proto_event *event);
void world_bytes(struct world *world, const void *data, size_t size);

/* Replies that tests need often. `time_ms` is the cluster time of their entry. */
void world_reply_session(struct world *world, const struct world_request *to, uint64_t session_id, uint64_t time_ms,
                         uint64_t deadline_ms);
void world_reply_grant(struct world *world, const struct world_request *to, uint64_t token, uint64_t time_ms,
                       uint64_t deadline_ms);
void world_reply_status(struct world *world, const struct world_request *to, enum proto_status status, uint64_t time_ms);
/* OK without fields, or a release that left no hold. */
void world_reply_ok(struct world *world, const struct world_request *to, uint64_t time_ms);
void world_reply_moved(struct world *world, const struct world_request *to, enum proto_status status, uint64_t leader_id,
                       const char *leader_address);

/* From nothing to an open session with id 7 at a leader (node 1): cluster time is the local time plus 1000000. */
void world_open_session(struct world *world);
uint64_t world_cluster_ms(const struct world *world);
/* Acquire `key` with that session; granted at once with this token. */
struct lsc_hold *world_acquire(struct world *world, const char *key, uint64_t token, void *hold_user);

struct proto_lock_acquire world_acquire_body(const char *key, uint64_t wait_ms);
struct proto_bytes world_text(const char *text);

#endif
