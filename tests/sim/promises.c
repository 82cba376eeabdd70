/* What clients were told and believe, against what the oracle knows.
 *
 *   rule mutual-exclusion  while a client is certain of a hold, the token is live (an administrator may take it away)
 *   rule lost-callback     a hold's loss is told once at most, not after its release, and before its certain time has ended;
 *                          and told as said by the cluster only if the token, or its session, has ended
 *   rule acknowledged      an answer that a client got is that of a request which is committed and applied at that moment
 *   rule fence-order       the fence that a client is told is its grant's
 *   rule exactly-once      the answer of a request goes to one call; who releases twice is told so
 *   rule reads             promises_reads.c */
#include "tests/sim/oracle.h"

#include <string.h>

#include "protocol/assert.h"
#include "protocol/frame.h"
#include "tests/sim/promises.h"

typedef unsigned long long ull;

const struct sim_plant sim_plants[] = {
    {"log-byte", "log"},
    {"log-term", "log"},
    {"order-skipped", "order"},
    {"order-again", "order"},
    {"digest-other", "digest"},
    {"restore-old", "restore"},
    {"restore-digest", "restore"},
    {"restore-behind", "restore"},
    {"leader-second", "leader"},
    {"serve-twice", "serve"},
    {"serve-behind", "serve"},
    {"durable-less", "durable"},
    {"memory-applies", "memory"},
    {"memory-stands", "memory"},
    {"judge-answer", "judge"},
    {"mutual-exclusion-second-holder", "mutual-exclusion"},
    {"mutual-exclusion-certain", "mutual-exclusion"},
    {"fence-order-token", "fence-order"},
    {"fence-order-fence", "fence-order"},
    {"fence-order-told", "fence-order"},
    {"lease-session", "lease"},
    {"lease-own", "lease"},
    {"lease-silent", "lease"},
    {"cluster-time-fast", "cluster-time"},
    {"lost-callback-late", "lost-callback"},
    {"lost-callback-missing", "lost-callback"},
    {"lost-callback-twice", "lost-callback"},
    {"lost-callback-groundless", "lost-callback"},
    {"acknowledged-answer", "acknowledged"},
    {"acknowledged-token", "acknowledged"},
    {"acknowledged-release", "acknowledged"},
    {"acknowledged-close", "acknowledged"},
    {"fifo-swapped", "fifo"},
    {"fifo-passed", "fifo"},
    {"waiter-lost", "waiter"},
    {"exactly-once-repeated", "exactly-once"},
    {"exactly-once-joined", "exactly-once"},
    {"exactly-once-ghost", "exactly-once"},
    {"exactly-once-answer", "exactly-once"},
    {"exactly-once-release", "exactly-once"},
    {"reads-past", "reads"},
    {"reads-holder", "reads"},
    {"reads-free", "reads"},
    {"reads-fence", "reads"},
    {"reads-session", "reads"},
    {"reads-list", "reads"},
    {"session-end-holder", "session-end"},
    {"session-end-waiter", "session-end"},
    {"answers-twice", "answers"},
    {"answers-late", "answers"},
    {"progress-stuck", "progress"},
    {"finish-waiter", "finish"},
    {"finish-session", "finish"},
    {"finish-behind", "finish"},
    {"finish-digest", "finish"},
    {NULL, NULL},
};

/* ---- when requests are sent ---- */

/* A msgpack number at `at`; 0 if it is none. */
static uint64_t number_at(const uint8_t *at, const uint8_t *end)
{
    if (at >= end) {
        return 0;
    }
    if (*at < 0x80) {
        return *at;
    }
    unsigned bytes = *at >= 0xcc && *at <= 0xcf ? 1U << (*at - 0xcc) : 0;
    uint64_t number = 0;
    for (unsigned i = 1; i <= bytes && at + i < end; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

static void request_sent(struct sim *sim, struct oracle_sender *sender, const uint8_t *body,
                         const uint8_t *end)
{
    if (end - body < 3 || body[1] > 0x7f) { /* [kind, id, …]; the greeting begins with a string */
        return;
    }
    const struct proto_operation *operation = proto_operation_find(body[1]);
    if (operation == NULL) {
        return;
    }
    if (operation->kind == PROTO_SESSION_OPEN && sender->open_us == 0) {
        sender->open_us = sim->now_us;
    }
    if (operation->sent_by == PROTO_SESSION) {
        uint64_t id = number_at(body + 2, end);
        if (sender->sent[id % ORACLE_SENT_PLACES].id != id) {
            sender->sent[id % ORACLE_SENT_PLACES].id = id;
            sender->sent[id % ORACLE_SENT_PLACES].us = sim->now_us;
        }
    }
}

void promise_sent(struct sim *sim, struct oracle_sender *sender, const uint8_t *data, size_t size)
{
    while (size > PROTO_FRAME_HEADER_BYTES) {
        size_t bytes = (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
        LOCKSTEP_ASSERT(bytes >= 1 && bytes + 4 <= size); /* a client sends whole frames */
        if (data[4] == 0) {
            request_sent(sim, sender, data + PROTO_FRAME_HEADER_BYTES, data + 4 + bytes);
        }
        data += 4 + bytes;
        size -= 4 + bytes;
    }
}

void promise_session(struct sim *sim, uint64_t session, struct oracle_sender *sender)
{
    struct oracle_session *of = oracle_session(sim->oracle, session);
    if (of == NULL) {
        sim_violation(sim, "acknowledged", "a client has session %llu, which was never opened", (ull)session);
    }
    of->sender = sender;
    if (of->opened_only) {
        of->renewed_us = sender->open_us;
    }
    sender->open_us = 0;
}

void promise_sender_gone(struct sim *sim, const struct oracle_sender *sender)
{
    for (uint64_t id = sim->oracle->sessions_top; id > 0; id--) {
        if (sim->oracle->sessions[id].sender == sender) {
            sim->oracle->sessions[id].sender = NULL;
        }
    }
}

/* ---- holds ---- */

/* Somebody who is not the client may end these at any time. */
static bool was_taken_away(const struct oracle_token *token)
{
    return token->end_reason == PROTO_END_FORCED || token->end_reason == PROTO_END_KILLED;
}

static void check_certain(struct sim *sim, const struct sim_hold *hold, uint64_t remaining_ms)
{
    const struct oracle_token *token = oracle_token(sim->oracle, hold->token);
    bool lie = token != NULL && !hold->lost && oracle_lies(sim, "mutual-exclusion-certain");
    if (token == NULL || lie || (token->ended_index != 0 && !was_taken_away(token))) {
        sim_violation(sim, "mutual-exclusion", "client %u is certain of token %llu for %llu ms, which %s",
                      hold->client, (ull)hold->token, (ull)remaining_ms,
                      token == NULL ? "never was" : "has ended");
    }
}

void promise_hold_begin(struct sim *sim, struct sim_hold *hold, struct boot_time now)
{
    struct oracle_token *token = oracle_token(sim->oracle, hold->token);
    if (token == NULL) {
        sim_violation(sim, "acknowledged", "client %u was given token %llu, which never was granted",
                      hold->client, (ull)hold->token);
    }
    hold->next = token->holds;
    token->holds = hold;
    hold->registered = true;
    promise_hold_look(sim, hold, now, false);
}

void promise_hold_end(struct sim *sim, struct sim_hold *hold)
{
    if (!hold->registered) {
        return;
    }
    struct sim_hold **at = &oracle_token(sim->oracle, hold->token)->holds;
    while (*at != hold) {
        at = &(*at)->next;
    }
    *at = hold->next;
    hold->registered = false;
}

void promise_hold_look(struct sim *sim, struct sim_hold *hold, struct boot_time now, bool driven)
{
    if (hold->released) {
        return;
    }
    uint64_t remaining_ms = lsc_hold_remaining_ms(hold->core, now, hold->hold);
    if (remaining_ms > 0) {
        sim->counts.certain_looks++;
        check_certain(sim, hold, remaining_ms);
    }
    bool missing =
        hold->was_certain && !hold->lost && remaining_ms > 0 && oracle_lies(sim, "lost-callback-missing");
    if (driven && !hold->lost && ((hold->was_certain && remaining_ms == 0) || missing)) {
        sim_violation(sim, "lost-callback",
                      "client %u is not certain of token %llu any more, and was not told", hold->client,
                      (ull)hold->token);
    }
    hold->was_certain = remaining_ms > 0 && (driven || hold->was_certain);
}

/* The client concludes nothing from its own clock here: it has heard so. */
static void check_end_told(struct sim *sim, const struct sim_hold *hold, enum lockstep_lost_reason reason)
{
    const struct oracle_token *token = oracle_token(sim->oracle, hold->token);
    const struct oracle_session *session = oracle_session(sim->oracle, token->session);
    bool lives = token->ended_index == 0 && session->ended_index == 0;
    if (reason != LOCKSTEP_LOST_UNCERTAIN && (lives || oracle_lies(sim, "lost-callback-groundless"))) {
        sim_violation(sim, "lost-callback", "client %u is told that token %llu has ended, and it has not",
                      hold->client, (ull)hold->token);
    }
}

void promise_hold_lost(struct sim *sim, struct sim_hold *hold, enum lockstep_lost_reason reason,
                       struct boot_time now)
{
    if (hold->lost || hold->released || oracle_lies(sim, "lost-callback-twice")) {
        sim_violation(sim, "lost-callback", "client %u is told of the loss of token %llu, which it %s",
                      hold->client, (ull)hold->token, hold->released ? "has released" : "knows");
    }
    if (hold->hold == NULL) { /* whoever frees it when it is lost would be handed it afterwards */
        sim_violation(sim, "lost-callback", "client %u is told of the loss of a lock before it was given it",
                      hold->client);
        return;
    }
    hold->lost = true;
    sim->counts.losses++;
    check_end_told(sim, hold, reason);
    uint64_t remaining_ms = lsc_hold_remaining_ms(hold->core, now, hold->hold);
    if (reason == LOCKSTEP_LOST_UNCERTAIN && hold->was_certain && oracle_lies(sim, "lost-callback-late")) {
        remaining_ms = 0;
    }
    if (reason == LOCKSTEP_LOST_UNCERTAIN && hold->was_certain && remaining_ms == 0) {
        sim_violation(sim, "lost-callback",
                      "client %u is told of the loss of token %llu after its certain time", hold->client,
                      (ull)hold->token);
    }
}

void promise_token_ended(struct sim *sim, uint64_t number)
{
    const struct oracle_token *token = oracle_token(sim->oracle, number);
    for (struct sim_hold *hold = token->holds; hold != NULL; hold = hold->next) {
        promise_hold_look(sim, hold, client_boot_time(sim, hold->client), false);
    }
}

/* ---- answers ---- */

static const char *name_of(enum proto_kind kind)
{
    return proto_operation_find((uint64_t)kind)->name;
}

/* The node itself says these, or the session rules: nothing was executed. */
static bool says_what_became(enum proto_status status)
{
    switch (status) {
    case PROTO_STATUS_OK:
    case PROTO_STATUS_HELD:
    case PROTO_STATUS_TIMED_OUT:
    case PROTO_STATUS_CANCELLED:
    case PROTO_STATUS_NOT_HELD:
    case PROTO_STATUS_LIMIT_MISMATCH:
    case PROTO_STATUS_MODE_CONFLICT:
    case PROTO_STATUS_REFUSED:
        return true;
    default:
        return false;
    }
}

/* What storages will compare: the one number that leaves the client. */
static void check_fence(struct sim *sim, const struct promise_answer *answer)
{
    const struct proto_grant_reply *grant = &answer->outcome->reply->body.grant;
    const struct oracle_token *token = oracle_token(sim->oracle, grant->token);
    const struct lsc_hold *hold = answer->outcome->hold;
    uint64_t told =
        (hold != NULL ? lsc_hold_fence(hold) : grant->fence) + (oracle_lies(sim, "fence-order-told") ? 1 : 0);
    if (token == NULL || token->fence != told || token->fence != grant->fence) {
        sim_violation(sim, "fence-order", "client %u was told fence %llu of token %llu, which has %llu",
                      answer->client, (ull)told, (ull)grant->token, token == NULL ? 0 : (ull)token->fence);
    }
}

static void check_request(struct sim *sim, const struct promise_answer *answer)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct proto_reply *reply = answer->outcome->reply;
    if (!says_what_became(reply->status) || answer->session == 0) {
        return;
    }
    struct oracle_request *request = oracle_request(oracle, answer->session, reply->id);
    if (request == NULL || request->status != (uint16_t)reply->status ||
        request->kind != (uint8_t)answer->kind || oracle_lies(sim, "acknowledged-answer")) {
        sim_violation(
            sim, "acknowledged", "client %u was told %s of %s, request %llu of session %llu; it is %s",
            answer->client, proto_status_name(reply->status), name_of(answer->kind), (ull)reply->id,
            (ull)answer->session, request == NULL ? "not applied" : proto_status_name(request->status));
    }
    if (request->answered || oracle_lies(sim, "exactly-once-answer")) {
        sim_violation(sim, "exactly-once", "the answer of request %llu of session %llu was given twice",
                      (ull)reply->id, (ull)answer->session);
    }
    request->answered = true;
    oracle->acknowledged = request->index > oracle->acknowledged ? request->index : oracle->acknowledged;
    uint64_t token = request->token + (request->token != 0 && oracle_lies(sim, "acknowledged-token"));
    if (answer->kind == PROTO_LOCK_ACQUIRE && reply->status == PROTO_STATUS_OK &&
        (token != reply->body.grant.token ||
         (answer->outcome->hold != NULL && token != lsc_hold_token(answer->outcome->hold)))) {
        sim_violation(sim, "acknowledged",
                      "client %u was given token %llu by request %llu of session %llu, which got %llu",
                      answer->client, (ull)reply->body.grant.token, (ull)reply->id, (ull)answer->session,
                      (ull)token);
    }
    if (reply->status == PROTO_STATUS_OK &&
        (answer->kind == PROTO_LOCK_ACQUIRE || answer->kind == PROTO_LOCK_EXTEND)) {
        check_fence(sim, answer);
    }
}

static void check_release(struct sim *sim, const struct promise_answer *answer)
{
    const struct oracle_token *token = oracle_token(sim->oracle, answer->token);
    bool whole = answer->outcome->reply != NULL && answer->outcome->reply->body.release.holds == 0;
    bool live = token == NULL || token->ended_index == 0;
    if (whole && (live || oracle_lies(sim, "acknowledged-release"))) {
        sim_violation(sim, "acknowledged", "client %u was told that token %llu is released, and it is not",
                      answer->client, (ull)answer->token);
    }
}

static void check_kill(struct sim *sim, const struct promise_answer *answer)
{
    const struct oracle_session *session = oracle_session(sim->oracle, answer->asked_session);
    if (session == NULL || session->ended_index == 0) {
        sim_violation(sim, "acknowledged", "client %u was told that session %llu is killed, and it lives",
                      answer->client, (ull)answer->asked_session);
    }
}

void promise_answer(struct sim *sim, const struct promise_answer *answer)
{
    const struct lsc_outcome *outcome = answer->outcome;
    int result = outcome->result;
    if (answer->again && oracle_lies(sim, "exactly-once-release")) {
        result = LOCKSTEP_OK;
    }
    if (answer->again && result == LOCKSTEP_OK) {
        sim_violation(sim, "exactly-once", "client %u released token %llu twice, and both times well",
                      answer->client, (ull)answer->token);
    }
    const struct proto_operation *operation = proto_operation_find((uint64_t)answer->kind);
    if (outcome->reply != NULL && operation->served_by == PROTO_QUERY) {
        promise_read(sim, answer);
        return;
    }
    if (outcome->reply != NULL && operation->sent_by == PROTO_SESSION) {
        check_request(sim, answer);
    }
    if (result == LOCKSTEP_OK && answer->kind == PROTO_LOCK_RELEASE && !answer->again) {
        check_release(sim, answer);
    } else if (result == LOCKSTEP_OK && answer->kind == PROTO_SESSION_KILL) {
        check_kill(sim, answer);
    }
}

void promise_session_opened(struct sim *sim, unsigned client, uint64_t session)
{
    if (session != 0 && oracle_session(sim->oracle, session) == NULL) {
        sim_violation(sim, "acknowledged", "client %u was told that session %llu is open, and it never was",
                      client, (ull)session);
    }
}

void promise_session_closed(struct sim *sim, unsigned client, uint64_t session)
{
    const struct oracle_session *of = oracle_session(sim->oracle, session);
    if (of == NULL || of->ended_index == 0 || oracle_lies(sim, "acknowledged-close")) {
        sim_violation(sim, "acknowledged", "client %u was told that session %llu is closed, and it is not",
                      client, (ull)session);
    }
}
