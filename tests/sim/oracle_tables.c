/* The oracle's tables: what is found by a number that the cluster gave out, and what grows with them. */
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "tests/sim/oracle.h"

enum { REQUESTS_CAPACITY_MIN = 4096, QUEUE_CAPACITY_MIN = 16 };

/* ---- tables ---- */

struct oracle_session *oracle_session(struct sim_oracle *oracle, uint64_t id)
{
    if (id == 0 || id > oracle->sessions_top || oracle->sessions[id].opened_index == 0) {
        return NULL;
    }
    return &oracle->sessions[id];
}

struct oracle_token *oracle_token(struct sim_oracle *oracle, uint64_t token)
{
    if (token == 0 || token > oracle->tokens_top || oracle->tokens[token].granted_index == 0) {
        return NULL;
    }
    return &oracle->tokens[token];
}

static struct oracle_request *place_of(struct sim_oracle *oracle, uint64_t session, uint64_t id)
{
    uint64_t hash = (session * 0x9e3779b97f4a7c15ULL) ^ (id * 0xbf58476d1ce4e5b9ULL);
    size_t at = (size_t)(hash ^ hash >> 32) & (oracle->requests_capacity - 1);
    while (oracle->requests[at].session != 0 &&
           (oracle->requests[at].session != session || oracle->requests[at].id != id)) {
        at = (at + 1) & (oracle->requests_capacity - 1);
    }
    return &oracle->requests[at];
}

struct oracle_request *oracle_request(struct sim_oracle *oracle, uint64_t session, uint64_t id)
{
    if (oracle->requests == NULL || session == 0) {
        return NULL;
    }
    struct oracle_request *request = place_of(oracle, session, id);
    return request->session == 0 ? NULL : request;
}

static void requests_grow(struct sim_oracle *oracle)
{
    struct oracle_request *old = oracle->requests;
    size_t old_capacity = oracle->requests_capacity;
    if (oracle->requests_count * 2 < old_capacity) {
        return;
    }
    oracle->requests_capacity = old_capacity == 0 ? REQUESTS_CAPACITY_MIN : 4 * old_capacity;
    LOCKSTEP_ASSERT(oracle->requests_capacity <= 4 * (size_t)ORACLE_NUMBERS_MAX);
    oracle->requests = calloc(oracle->requests_capacity, sizeof(*oracle->requests));
    LOCKSTEP_ASSERT(oracle->requests != NULL);
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].session != 0) {
            *place_of(oracle, old[i].session, old[i].id) = old[i];
        }
    }
    free(old);
}

unsigned oracle_key_find(const struct sim_oracle *oracle, struct proto_bytes name)
{
    for (unsigned i = 0; i < oracle->keys_count; i++) {
        const struct oracle_key *key = &oracle->keys[i];
        if (key->bytes == name.size && memcmp(key->name, name.data, name.size) == 0) {
            return i;
        }
    }
    return ORACLE_KEYS_MAX;
}

unsigned oracle_key(struct sim_oracle *oracle, struct proto_bytes name)
{
    unsigned at = oracle_key_find(oracle, name);
    if (at == ORACLE_KEYS_MAX) {
        LOCKSTEP_ASSERT(oracle->keys_count < ORACLE_KEYS_MAX && name.size <= ORACLE_KEY_BYTES_MAX);
        at = oracle->keys_count++;
        memcpy(oracle->keys[at].name, name.data, name.size);
        oracle->keys[at].bytes = name.size;
    }
    oracle->keys[at].touched = true;
    return at;
}

void oracle_numbers_add(uint64_t **list, uint32_t *count, uint32_t *capacity, uint64_t number)
{
    if (*count == *capacity) {
        *capacity = *capacity == 0 ? QUEUE_CAPACITY_MIN : 2 * *capacity;
        *list = realloc(*list, *capacity * sizeof(**list));
        LOCKSTEP_ASSERT(*list != NULL);
    }
    (*list)[(*count)++] = number;
}

void oracle_numbers_remove(uint64_t *list, uint32_t *count, uint64_t number)
{
    uint32_t at = 0;
    while (at < *count && list[at] != number) {
        at++;
    }
    LOCKSTEP_ASSERT(at < *count);
    memmove(&list[at], &list[at + 1], (*count - at - 1) * sizeof(*list));
    (*count)--;
}

void oracle_state_free(struct sim_oracle *oracle)
{
    for (unsigned i = 0; i < oracle->keys_count; i++) {
        free(oracle->keys[i].live);
        free(oracle->keys[i].queue);
    }
    free(oracle->sessions);
    free(oracle->tokens);
    free(oracle->waits);
    free(oracle->requests);
}

/* ---- when a request was sent ---- */

uint64_t oracle_sent_us(struct sim_oracle *oracle, uint64_t session, uint64_t id)
{
    const struct oracle_session *of = oracle_session(oracle, session);
    if (of == NULL || of->sender == NULL || of->sender->sent[id % ORACLE_SENT_PLACES].id != id) {
        return 0;
    }
    return of->sender->sent[id % ORACLE_SENT_PLACES].us;
}

struct oracle_request *oracle_request_make(struct sim_oracle *oracle, uint64_t session, uint64_t id)
{
    requests_grow(oracle);
    return place_of(oracle, session, id);
}
