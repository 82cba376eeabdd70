/* One state machine and short ways to speak to it, for the tests of raft_fsm/. Every entry is followed by
 * fsm_check_invariants(), and applied to a second state machine that builds no effects: the two must agree. */
#ifndef LOCKSTEP_TESTS_UNIT_RAFT_FSM_FIXTURE_H
#define LOCKSTEP_TESTS_UNIT_RAFT_FSM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "raft_fsm/fsm.h"

/* The owner, the key and the requests of one session. */
struct client {
    uint64_t session_id;
    uint64_t next_request_id;
    uint64_t ack_floor;
    uint8_t digest[PROTO_DIGEST_BYTES];
};

struct fixture {
    struct fsm *fsm;
    struct fsm *follower;
    struct fsm_effects effects;
    struct proto_buffer entry;
    struct fsm_entry_writer writer;
    uint64_t time_ms; /* of the next entry */
    bool unchecked;   /* leave out the invariants: for large states */
    struct proto_rows rows;
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);
struct fixture *fixture_create(void);
void fixture_free(struct fixture *fixture);

struct proto_bytes bytes_of(const char *text);

/* Several commands in one entry: begin, add, apply. */
void entry_begin(struct fixture *fixture);
void entry_add(struct fixture *fixture, const struct fsm_command *command);
void entry_apply(struct fixture *fixture);

/* An entry without commands at `time_ms`. */
void at(struct fixture *fixture, uint64_t time_ms);
/* An entry with one command; the reply to it. Not for an acquire that may be queued. */
const struct proto_reply *run(struct fixture *fixture, const struct fsm_command *command);
/* The effect number `at` of the last entry. */
const struct fsm_effect *effect(const struct fixture *fixture, size_t at);
/* How many effects of a kind the last entry had. */
size_t effects_of(const struct fixture *fixture, enum fsm_effect_kind kind);
/* The one WAIT_ENDED of that request in the last entry; fails if there is none. */
const struct proto_reply *wait_ended(const struct fixture *fixture, const struct client *client,
                                     uint64_t request_id);
/* The one event of that kind for that session in the last entry; fails if there is none. */
const struct proto_event *event_for(const struct fixture *fixture, const struct client *client,
                                    enum proto_event_kind kind);

struct fsm_command open_command(const struct client *client, uint64_t ttl_ms, uint64_t lock_delay_ms);
/* A command of the client's session with the client's next request id. */
struct fsm_command command_of(struct client *client, enum proto_kind kind);
struct fsm_command acquire_command(struct client *client, const char *key, enum proto_mode mode,
                                   uint64_t wait_ms);
struct fsm_command permits_command(struct client *client, const char *key, uint32_t permits, uint32_t limit,
                                   uint64_t wait_ms);
struct fsm_command release_command(struct client *client, const char *key, uint64_t token);

/* A client whose digest is made of `name`; opens its session. */
struct client open_client(struct fixture *fixture, char name, uint64_t ttl_ms, uint64_t lock_delay_ms);
/* Acquire without waiting; fails if it is not granted. @return the token. */
uint64_t acquire(struct fixture *fixture, struct client *client, const char *key, enum proto_mode mode);
/* Acquire, to be queued; fails if it is not. @return the request id. */
uint64_t enqueue(struct fixture *fixture, struct client *client, const char *key, enum proto_mode mode,
                 uint64_t wait_ms);
enum proto_status release(struct fixture *fixture, struct client *client, const char *key, uint64_t token);
enum proto_status cancel(struct fixture *fixture, struct client *client, uint64_t target_id);

struct proto_reply query_lock(struct fixture *fixture, const char *key);
struct fsm_counts counts(const struct fixture *fixture);

/* A whole snapshot of `fsm` in slices of `slice_bytes`, and the state restored from it. */
void snapshot_of(struct fsm *fsm, size_t slice_bytes, struct proto_buffer *out);
struct fsm *restore_of(const void *data, size_t size, size_t piece_bytes, struct proto_error *ret_error);
/* From here on the follower is one that was restored from a snapshot. */
void follow_from_a_snapshot(struct fixture *fixture, size_t slice_bytes);

/* Numbers from a seed: the same on every machine. */
struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
/* 0 .. bound - 1 */
uint64_t random_below(struct random *random, uint64_t bound);
/* The seed from the command line, or a fixed one; printed. */
uint64_t seed_of(int argc, char **argv, uint64_t otherwise);

#endif
