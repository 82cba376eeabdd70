/* rule reads: an answer to a query shows the state as it was behind the index that it names. One that is not stale names an
 * index at or behind everything that anybody was told of before it was asked. */
#include "tests/sim/oracle.h"

#include <string.h>

#include "protocol/assert.h"

typedef unsigned long long ull;

/* What lives of a key behind an index. */
struct past {
    uint32_t count;
    uint64_t tokens[PROTO_STATUS_HOLDERS_MAX]; /* the latest first */
};

static bool lives_at(uint64_t begun, uint64_t ended, uint64_t index)
{
    return begun != 0 && begun <= index && (ended == 0 || ended > index);
}

static void past_of(const struct sim_oracle *oracle, unsigned key, uint64_t index, struct past *ret)
{
    uint64_t at = key < ORACLE_KEYS_MAX ? oracle->keys[key].last_token : 0;
    ret->count = 0;
    while (at != 0 && oracle->tokens[at].granted_index > index) {
        at = oracle->tokens[at].previous;
    }
    /* Those that lived right after the last grant are the most that can be found. */
    uint32_t left = at == 0 ? 0 : oracle->tokens[at].live_after;
    uint64_t granted = at == 0 ? 0 : oracle->tokens[at].granted_index;
    for (; at != 0 && left > 0; at = oracle->tokens[at].previous) {
        const struct oracle_token *token = &oracle->tokens[at];
        left -= lives_at(token->granted_index, token->ended_index, granted);
        if (lives_at(token->granted_index, token->ended_index, index) &&
            ret->count < PROTO_STATUS_HOLDERS_MAX) {
            ret->tokens[ret->count++] = at;
        }
    }
}

static struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static bool has(const struct past *past, uint64_t token)
{
    for (uint32_t i = 0; i < past->count; i++) {
        if (past->tokens[i] == token) {
            return true;
        }
    }
    return false;
}

static void check_get(struct sim *sim, const struct promise_answer *answer, uint64_t index)
{
    const struct proto_lock_reply *lock = &answer->outcome->reply->body.lock;
    struct past past;
    past_of(sim->oracle, oracle_key_find(sim->oracle, bytes_of(answer->key)), index, &past);
    uint64_t count = lock->holders_count - (lock->holders_count > 0 && oracle_lies(sim, "reads-free"));
    if (count != past.count) {
        sim_violation(sim, "reads", "client %u saw %llu holders of %s at %llu, there were %u", answer->client,
                      (ull)count, answer->key, (ull)index, past.count);
    }
    for (uint32_t i = 0; i < lock->holders_shown; i++) {
        uint64_t token = lock->holders[i].token + (oracle_lies(sim, "reads-holder") ? 1 : 0);
        if (!has(&past, token)) {
            sim_violation(sim, "reads", "client %u saw token %llu on %s at %llu, where it did not live",
                          answer->client, (ull)token, answer->key, (ull)index);
        }
    }
}

static void check_fence(struct sim *sim, const struct promise_answer *answer, uint64_t index)
{
    const struct proto_reply *reply = answer->outcome->reply;
    struct past past;
    past_of(sim->oracle, oracle_key_find(sim->oracle, bytes_of(answer->key)), index, &past);
    uint64_t current = past.count == 0 ? 0 : sim->oracle->tokens[past.tokens[0]].fence;
    bool fits = past.count > 0 && current == answer->fence;
    if (reply->body.fence.fence != current || (reply->status == PROTO_STATUS_OK) != fits ||
        oracle_lies(sim, "reads-fence")) {
        sim_violation(sim, "reads",
                      "client %u asked for fence %llu of %s at %llu and got %s, fence %llu; it was %llu",
                      answer->client, (ull)answer->fence, answer->key, (ull)index,
                      proto_status_name(reply->status), (ull)reply->body.fence.fence, (ull)current);
    }
}

static void check_session(struct sim *sim, const struct promise_answer *answer, uint64_t index)
{
    const struct proto_reply *reply = answer->outcome->reply;
    const struct oracle_session *session = oracle_session(sim->oracle, answer->asked_session);
    bool lived = session != NULL && lives_at(session->opened_index, session->ended_index, index);
    if ((reply->status == PROTO_STATUS_OK) != lived || oracle_lies(sim, "reads-session")) {
        sim_violation(sim, "reads", "client %u asked for session %llu at %llu and got %s; it %s",
                      answer->client, (ull)answer->asked_session, (ull)index,
                      proto_status_name(reply->status), lived ? "lived" : "did not live");
    }
}

/* A whole list: the keys that are held, each once. */
static void check_list(struct sim *sim, const struct promise_answer *answer, uint64_t index)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct proto_lock_list_reply *list = &answer->outcome->reply->body.lock_list;
    unsigned held_shown = 0;
    unsigned held = 0;
    struct past past;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct proto_lock_row *row = &list->rows[i];
        past_of(oracle, oracle_key_find(oracle, row->key), index, &past);
        held_shown += row->holders_count > 0;
        if (row->holders_count != past.count ||
            (past.count > 0 && oracle->tokens[past.tokens[0]].fence != row->fence)) {
            sim_violation(sim, "reads", "client %u saw %llu holders of %.*s at %llu in a list, there were %u",
                          answer->client, (ull)row->holders_count, (int)row->key.size,
                          (const char *)row->key.data, (ull)index, past.count);
        }
    }
    for (unsigned i = 0; i < oracle->keys_count && !list->more; i++) {
        past_of(oracle, i, index, &past);
        held += past.count > 0;
    }
    held += oracle_lies(sim, "reads-list");
    if (!list->more && held != held_shown) {
        sim_violation(sim, "reads", "client %u saw %u keys held at %llu, there were %u", answer->client,
                      held_shown, (ull)index, held);
    }
}

void promise_read(struct sim *sim, const struct promise_answer *answer)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct proto_reply *reply = answer->outcome->reply;
    if (reply->status != PROTO_STATUS_OK && reply->status != PROTO_STATUS_STALE_FENCE &&
        reply->status != PROTO_STATUS_NOT_FOUND) {
        return;
    }
    uint64_t index = reply->applied_index;
    sim->counts.reads++;
    if (!answer->stale && (index < answer->floor || oracle_lies(sim, "reads-past"))) {
        sim_violation(sim, "reads",
                      "client %u was answered as of %llu, and %llu was acknowledged before it asked",
                      answer->client, (ull)index, (ull)answer->floor);
    }
    switch ((int)answer->kind) {
    case PROTO_LOCK_GET:
        check_get(sim, answer, index);
        break;
    case PROTO_FENCE_CHECK:
        check_fence(sim, answer, index);
        break;
    case PROTO_SESSION_GET:
        check_session(sim, answer, index);
        break;
    case PROTO_LOCK_LIST:
        check_list(sim, answer, index);
        break;
    default:
        break;
    }
    if (!answer->stale && index > oracle->acknowledged) {
        oracle->acknowledged = index;
    }
}
