/* A core with a replica and a shell that do what a test tells them: entries commit when the test says so, frames that
 * the core sends are kept until the test takes them. Time is the test's. One core per test. */
#ifndef LOCKSTEP_TEST_CORE_HARNESS_H
#define LOCKSTEP_TEST_CORE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/core.h"
#include "node/core_state.h"
#include "protocol/decode.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

enum { HARNESS_CONNECTIONS = 64, HARNESS_ENTRIES = 4096, HARNESS_READS = 256, HARNESS_LOG_BYTES = 1 << 16 };

struct harness_connection {
    uint64_t id;
    struct proto_buffer out; /* frames not taken yet */
    size_t taken;
    bool closed;
    bool full; /* send() returns false */
    bool slow; /* is_slow() */
    char why[64];
};

struct harness_entry {
    uint64_t index, term;
    uint8_t *data;
    size_t size;
};

struct harness {
    struct core *core;
    struct core_options options;
    struct local_time now;

    /* the replica */
    uint64_t term, leader_id, last_index, applied_index;
    bool serving, refuse_proposals, refuse_reads, refuse_transfer;
    struct harness_entry entries[HARNESS_ENTRIES]; /* proposed, not applied */
    unsigned entries_count;
    unsigned propose_calls;
    uint64_t reads[HARNESS_READS];
    unsigned reads_count;
    unsigned transfers;
    unsigned members;

    /* the shell */
    struct harness_connection connections[HARNESS_CONNECTIONS];
    unsigned connections_count;
    char log[HARNESS_LOG_BYTES];
    size_t log_bytes;
    unsigned fatals;

    struct proto_rows rows;
    struct proto_buffer scratch;
    uint64_t next_id;
};

/* What LOCKSTEP_SEED says, else the time; prints it. */
unsigned harness_seed(void);

/* `options` NULL: the defaults. Time begins at 1000 ms. */
struct harness *harness_create(const struct core_options *options);
void harness_destroy(struct harness *h);
/* One with the defaults for each test: it is the test's state. */
int harness_setup(void **state);
int harness_teardown(void **state);
#define HARNESS_TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

/* This node becomes leader of a new term and serves; or another node becomes leader. */
void harness_lead(struct harness *h);
void harness_follow(struct harness *h, uint64_t leader_id);

/* Let `ms` pass, then make a turn. */
void harness_turn(struct harness *h, uint64_t ms);
/* Commit and apply the oldest `count` entries (all: harness_commit). */
void harness_commit_some(struct harness *h, unsigned count);
void harness_commit(struct harness *h);
/* All reads asked for are proven, or not. */
void harness_prove(struct harness *h, bool ok);
/* Turns and commits until nothing is under way. */
void harness_settle(struct harness *h);

/* A connection that has said hello. @return its number. */
uint64_t harness_connect(struct harness *h);
uint64_t harness_connect_silent(struct harness *h);
void harness_disconnect(struct harness *h, uint64_t connection);
struct harness_connection *harness_connection(struct harness *h, uint64_t connection);
void harness_hello(struct harness *h, uint64_t connection, const struct proto_hello_request *hello);
void harness_send(struct harness *h, uint64_t connection, const struct proto_request *request);
void harness_send_bytes(struct harness *h, uint64_t connection, const void *data, size_t size);
/* The next frame sent to the connection. @return false if there is none. Strings live until the next call. */
bool harness_take(struct harness *h, uint64_t connection, struct proto_incoming *ret_incoming);
bool harness_take_hello(struct harness *h, uint64_t connection, struct proto_hello_reply *ret_hello);
/* It must be a reply to `id` with `status`. */
struct proto_reply harness_expect(struct harness *h, uint64_t connection, uint64_t id,
                                  enum proto_status status);
void harness_expect_nothing(struct harness *h, uint64_t connection);
/* The next event must be of this kind. */
struct proto_event harness_expect_event(struct harness *h, uint64_t connection, enum proto_event_kind kind);

/* Requests. The secret of a session is derived from `who`. */
struct proto_request harness_open(uint8_t who, uint64_t id, uint64_t ttl_ms);
struct proto_request harness_renew(uint8_t who, uint64_t session_id, uint64_t id);
struct proto_request harness_acquire(uint8_t who, uint64_t session_id, uint64_t id, const char *key,
                                     uint64_t wait_ms);
struct proto_request harness_release(uint8_t who, uint64_t session_id, uint64_t id, const char *key,
                                     uint64_t token);
struct proto_request harness_get(uint64_t id, const char *key, bool stale);
struct proto_bytes harness_text(const char *text);
/* Opens, commits, takes the reply. @return the session. */
uint64_t harness_session(struct harness *h, uint64_t connection, uint8_t who, uint64_t ttl_ms);
/* Acquires, and lets a millisecond pass: the entry is in flight, not committed. */
void harness_propose_lock(struct harness *h, uint64_t connection, uint8_t who, uint64_t session_id,
                          uint64_t id, const char *key);
/* Acquires, commits, takes the reply, which must be OK. @return the token. */
uint64_t harness_lock(struct harness *h, uint64_t connection, uint8_t who, uint64_t session_id, uint64_t id,
                      const char *key);
/* How often `needle` is in the log. */
unsigned harness_logged(const struct harness *h, const char *needle);
struct core_counts harness_counts(const struct harness *h);

#endif
