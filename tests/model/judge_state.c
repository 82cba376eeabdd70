/* The judge's bookkeeping. */
#include "tests/model/judge_state.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

unsigned j_key(struct judge *judge, struct proto_bytes key)
{
    for (unsigned i = 0; i < judge->keys_count; i++) {
        if (strlen(judge->keys[i]) == key.size && memcmp(judge->keys[i], key.data, key.size) == 0) {
            return i;
        }
    }
    LOCKSTEP_ASSERT(judge->keys_count < J_KEYS);
    LOCKSTEP_ASSERT(key.size < J_KEY_BYTES);
    memcpy(judge->keys[judge->keys_count], key.data, key.size);
    return judge->keys_count++;
}

struct j_session *j_session(struct judge *judge, uint64_t id)
{
    for (unsigned i = judge->sessions_count; i-- > 0;) { /* the latest are asked for most */
        if (judge->sessions[i].id == id) {
            return &judge->sessions[i];
        }
    }
    return NULL;
}

struct j_session *j_session_by_digest(struct judge *judge, const uint8_t *digest)
{
    for (unsigned i = 0; i < judge->sessions_count; i++) {
        struct j_session *session = &judge->sessions[i];
        if (j_alive(judge, session) && memcmp(session->digest, digest, PROTO_DIGEST_BYTES) == 0) {
            return session;
        }
    }
    return NULL;
}

bool j_alive(const struct judge *judge, const struct j_session *session)
{
    return session != NULL && !session->ended && session->deadline_ms > judge->time_ms;
}

struct j_grant *j_grant(struct judge *judge, uint64_t token)
{
    for (unsigned i = 0; i < judge->grants_count; i++) {
        if (judge->grants[i].token == token) {
            return &judge->grants[i];
        }
    }
    return NULL;
}

uint64_t j_grant_deadline(struct judge *judge, const struct j_grant *grant)
{
    uint64_t of_session = j_session(judge, grant->session)->deadline_ms;
    return grant->own_deadline_ms < of_session ? grant->own_deadline_ms : of_session;
}

bool j_grant_alive(struct judge *judge, const struct j_grant *grant)
{
    return grant != NULL && j_alive(judge, j_session(judge, grant->session)) &&
           grant->own_deadline_ms > judge->time_ms;
}

struct j_waiter *j_waiter(struct judge *judge, uint64_t session, uint64_t id)
{
    for (unsigned i = 0; i < judge->waiters_count; i++) {
        if (judge->waiters[i].session == session && judge->waiters[i].id == id) {
            return &judge->waiters[i];
        }
    }
    return NULL;
}

bool j_answers_make(struct j_session *session)
{
    session->answers = calloc(J_ANSWERS, sizeof *session->answers);
    return session->answers != NULL;
}

void j_answers_free(struct j_session *session)
{
    for (unsigned i = 0; session->answers != NULL && i < J_ANSWERS; i++) {
        for (struct j_answer *next, *answer = session->answers[i].next; answer != NULL; answer = next) {
            next = answer->next;
            free(answer);
        }
    }
    free(session->answers);
}

struct j_answer *j_answer(struct j_session *session, uint64_t id)
{
    struct j_answer *answer = &session->answers[id % J_ANSWERS];
    while (answer != NULL && answer->id != id) {
        answer = answer->next;
    }
    return id != 0 ? answer : NULL;
}

/* One of the same place that need not be remembered any more, or a new one. */
static struct j_answer *j_answer_place(struct j_session *session, uint64_t id)
{
    struct j_answer *answer = &session->answers[id % J_ANSWERS];
    while (answer->waiting || answer->id > session->floor) {
        if (answer->next == NULL) {
            answer->next = calloc(1, sizeof *answer);
            LOCKSTEP_ASSERT(answer->next != NULL);
        }
        answer = answer->next;
    }
    return answer;
}

void j_remember(struct j_session *session, uint64_t id, int kind, bool waiting, const struct proto_reply *reply)
{
    struct j_answer *answer = j_answer(session, id);
    answer = answer != NULL ? answer : j_answer_place(session, id);
    answer->id = id;
    answer->kind = kind;
    answer->waiting = waiting;
    answer->reply = reply != NULL ? *reply : (struct proto_reply){0};
}

void j_grant_remove(struct judge *judge, struct j_grant *grant)
{
    judge->old_tokens[judge->old_tokens_next++ % 64] = grant->token;
    judge->fences_left[grant->key] = grant->mode == PROTO_MODE_EXCLUSIVE ? 0 : grant->fence;
    size_t behind = (size_t)(&judge->grants[judge->grants_count] - (grant + 1));
    memmove(grant, grant + 1, behind * sizeof *grant);
    judge->grants_count--;
}

void j_waiter_remove(struct judge *judge, struct j_waiter *waiter)
{
    size_t behind = (size_t)(&judge->waiters[judge->waiters_count] - (waiter + 1));
    memmove(waiter, waiter + 1, behind * sizeof *waiter);
    judge->waiters_count--;
}

void j_session_end(struct judge *judge, struct j_session *session, bool delay)
{
    session->ended = true;
    for (unsigned i = 0; i < judge->grants_count;) {
        struct j_grant *grant = &judge->grants[i];
        if (grant->session != session->id) {
            i++;
            continue;
        }
        if (delay && grant->mode == PROTO_MODE_EXCLUSIVE && session->delay_ms > 0) {
            judge->delays[grant->key].until_ms = judge->time_ms + session->delay_ms;
            memcpy(judge->delays[grant->key].digest, session->digest, PROTO_DIGEST_BYTES);
        }
        j_grant_remove(judge, grant);
    }
}

bool j_admits(struct judge *judge, unsigned key, int mode, uint32_t permits, uint32_t limit)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < judge->grants_count; i++) {
        const struct j_grant *grant = &judge->grants[i];
        if (grant->key != key) {
            continue;
        }
        if (mode == PROTO_MODE_EXCLUSIVE || grant->mode != mode || grant->limit != limit) {
            return false;
        }
        used += grant->permits;
    }
    return used + permits <= limit || mode != PROTO_MODE_PERMITS;
}

bool j_somebody_waits(struct judge *judge, unsigned key, const struct j_waiter *before)
{
    for (unsigned i = 0; i < judge->waiters_count; i++) {
        const struct j_waiter *waiter = &judge->waiters[i];
        if (waiter == before) {
            return false;
        }
        if (waiter->key == key && waiter->deadline_ms > judge->time_ms &&
            j_alive(judge, j_session(judge, waiter->session))) {
            return true;
        }
    }
    return false;
}

bool j_delayed(const struct judge *judge, unsigned key)
{
    return judge->delays[key].until_ms > judge->time_ms;
}
