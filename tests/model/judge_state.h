/* What the judge keeps: plain arrays, searched from end to end. Slow and easy to believe. Only a session's answers, of which
 * there are many, have a place each. A window has no more of them than there are places, but two may want the same: a client
 * that starts again with its old session goes on with ids far above those of its first life. */
#ifndef LOCKSTEP_TESTS_MODEL_JUDGE_STATE_H
#define LOCKSTEP_TESTS_MODEL_JUDGE_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/model/judge.h"

enum { J_SESSIONS = 4096, J_GRANTS = 512, J_WAITERS = 512, J_KEYS = 64, J_ANSWERS = FSM_WINDOW_REPLIES_MAX, J_KEY_BYTES = 16 };

struct j_answer {
    uint64_t id;
    int kind;
    bool waiting;
    struct proto_reply reply;
    struct j_answer *next; /* another at the same place */
};

struct j_session {
    uint64_t id, ttl_ms, deadline_ms, delay_ms, proof, floor;
    uint8_t digest[PROTO_DIGEST_BYTES];
    bool ended;
    struct j_answer *answers; /* J_ANSWERS places, by id */
};

struct j_grant {
    unsigned key;
    uint64_t session, token, fence, own_deadline_ms;
    int mode;
    uint32_t permits, limit, holds;
};

struct j_waiter {
    unsigned key;
    uint64_t session, id, deadline_ms, ttl_ms;
    int mode;
    uint32_t permits, limit;
};

struct j_delay {
    uint64_t until_ms;
    uint8_t digest[PROTO_DIGEST_BYTES];
};

struct judge {
    uint64_t time_ms, last_token, last_session;
    char keys[J_KEYS][J_KEY_BYTES];
    unsigned keys_count;
    struct j_delay delays[J_KEYS];
    uint64_t fences_left[J_KEYS]; /* of a grant that the present command took away: its period may go on, see judge.c */
    struct j_session sessions[J_SESSIONS];
    unsigned sessions_count;
    struct j_grant grants[J_GRANTS]; /* in order of token */
    unsigned grants_count;
    struct j_waiter waiters[J_WAITERS]; /* in order of arrival */
    unsigned waiters_count;
    uint64_t old_tokens[64];
    unsigned old_tokens_next;
    char message[512];
};

#define J_NEVER UINT64_MAX

/* judge_state.c */
unsigned j_key(struct judge *judge, struct proto_bytes key);
struct j_session *j_session(struct judge *judge, uint64_t id);
struct j_session *j_session_by_digest(struct judge *judge, const uint8_t *digest);
bool j_alive(const struct judge *judge, const struct j_session *session);
struct j_grant *j_grant(struct judge *judge, uint64_t token);
bool j_grant_alive(struct judge *judge, const struct j_grant *grant);
uint64_t j_grant_deadline(struct judge *judge, const struct j_grant *grant);
struct j_waiter *j_waiter(struct judge *judge, uint64_t session, uint64_t id);
bool j_answers_make(struct j_session *session);
void j_answers_free(struct j_session *session);
struct j_answer *j_answer(struct j_session *session, uint64_t id);
void j_remember(struct j_session *session, uint64_t id, int kind, bool waiting, const struct proto_reply *reply);
void j_grant_remove(struct judge *judge, struct j_grant *grant);
void j_waiter_remove(struct judge *judge, struct j_waiter *waiter);
/* The session's grants go; its exclusive locks are delayed if `delay`. Its waits must be gone already. */
void j_session_end(struct judge *judge, struct j_session *session, bool delay);
/* The holders of the key admit this one. */
bool j_admits(struct judge *judge, unsigned key, int mode, uint32_t permits, uint32_t limit);
/* Somebody who may still be granted waits for the key; `before` NULL: anybody, else in front of that one. */
bool j_somebody_waits(struct judge *judge, unsigned key, const struct j_waiter *before);
bool j_delayed(const struct judge *judge, unsigned key);

#endif
