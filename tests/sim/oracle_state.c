/* What every entry did: a reference state machine applies it once, the judge judges it, and tables of all sessions, tokens,
 * waits and requests are kept from its effects. oracle_compare.c compares them with the state.
 *
 *   rule judge         tests/model's judge rejects the entry's effects
 *   rule exactly-once  a request is executed once, a repetition gets the same answer; a token is made for one request
 *   rule fence-order   tokens grow from grant to grant; an exclusive grant's fence is its token, a shared period's its first
 *   rule waiter        who stops waiting has waited
 *   rule lease         a session or a grant of its own lease ends when it was given up, taken away, or when its time has
 *                      passed by the fastest clock there is since its last renewal was sent; never without a cause */
#include "protocol/assert.h"
#include "tests/sim/oracle.h"

typedef unsigned long long ull;

enum { MILLION = 1000000 };

/* The fastest clock can not have shown so much since then. */
static bool too_early(const struct sim *sim, uint64_t since_us, uint64_t ttl_ms)
{
    uint64_t passed_us = sim->now_us - since_us;
    uint64_t most_us = passed_us + passed_us * ORACLE_RATE_PPM_MAX / MILLION;
    return most_us + ORACLE_ROUNDING_US + sim->oracle->served_count * 1000 < ttl_ms * 1000;
}

/* ---- tokens ---- */

static void token_new(struct sim *sim, uint64_t index, const struct oracle_wait *wish,
                      const struct proto_reply *reply)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct proto_grant_reply *grant = &reply->body.grant;
    struct oracle_key *key = &oracle->keys[wish->key];
    uint64_t fence = grant->fence - (oracle_lies(sim, "fence-order-fence") ? 1 : 0);
    uint64_t top = oracle->tokens_top + (oracle_lies(sim, "fence-order-token") ? 100 : 0);
    if (grant->token <= top) {
        sim_violation(sim, "fence-order", "token %llu was granted after %llu", (ull)grant->token, (ull)top);
    }
    uint64_t period = key->last_token == 0 ? grant->token : oracle->tokens[key->last_token].fence;
    bool own = fence == grant->token;
    if (!own && (wish->mode == PROTO_MODE_EXCLUSIVE || fence != period)) {
        sim_violation(sim, "fence-order", "token %llu on %.*s has fence %llu, its period has %llu",
                      (ull)grant->token, (int)key->bytes, key->name, (ull)fence, (ull)period);
    }
    oracle->tokens =
        oracle_table_grow(oracle->tokens, &oracle->tokens_capacity, grant->token, sizeof(*oracle->tokens));
    oracle->tokens_top = grant->token;
    oracle->tokens_live++;
    oracle_numbers_add(&key->live, &key->live_count, &key->live_capacity, grant->token);
    oracle->tokens[grant->token] = (struct oracle_token){
        .session = wish->session,
        .request = wish->request,
        .fence = fence,
        .granted_index = index,
        .previous = key->last_token,
        .own_until_ms = wish->ttl_ms == 0 ? UINT64_MAX : oracle->time_ms + wish->ttl_ms,
        .own_ttl_ms = wish->ttl_ms,
        .own_us = oracle_sent_us(oracle, wish->session, wish->request),
        .permits = wish->permits,
        .key = wish->key,
        .mode = wish->mode,
    };
    key->last_token = grant->token;
    key->touched = true;
    sim->counts.grants++;
    sim_trace(sim, "token %llu of %.*s is granted to session %llu, request %llu", (ull)grant->token,
              (int)key->bytes, key->name, (ull)wish->session, (ull)wish->request);
}

/* An acquire was answered well: a new token, or one that its session has. */
static void granted(struct sim *sim, uint64_t index, const struct oracle_wait *wish,
                    const struct proto_reply *reply)
{
    struct sim_oracle *oracle = sim->oracle;
    const struct proto_grant_reply *grant = &reply->body.grant;
    uint32_t holds = oracle_lies(sim, "exactly-once-joined") ? 2 : grant->holds;
    if (holds <= 1) {
        token_new(sim, index, wish, reply);
        return;
    }
    struct oracle_token *token = oracle_token(oracle, grant->token);
    if (token == NULL || token->session != wish->session || token->key != wish->key ||
        token->ended_index != 0) {
        sim_violation(sim, "exactly-once",
                      "request %llu of session %llu entered token %llu, which is not its own",
                      (ull)wish->request, (ull)wish->session, (ull)grant->token);
    }
    if (wish->ttl_ms != 0 && token->own_until_ms != UINT64_MAX &&
        oracle->time_ms + wish->ttl_ms > token->own_until_ms) {
        token->own_until_ms = oracle->time_ms + wish->ttl_ms;
        token->own_ttl_ms = wish->ttl_ms;
        token->own_us = oracle_sent_us(oracle, wish->session, wish->request);
    }
}

static void extended(struct sim_oracle *oracle, const struct fsm_command *command)
{
    const struct proto_lock_extend *extend = &command->body.lock_extend;
    struct oracle_token *token = oracle_token(oracle, extend->token);
    if (token != NULL) {
        token->own_until_ms = extend->ttl_ms == 0 ? UINT64_MAX : oracle->time_ms + extend->ttl_ms;
        token->own_ttl_ms = extend->ttl_ms;
        token->own_us = oracle_sent_us(oracle, command->session_id, command->request_id);
    }
}

static const char *end_name(unsigned reason)
{
    static const char *const names[] = {"was released", "has expired", "was killed", "was forced away"};
    return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "ended";
}

/* It is gone from the state: why? */
void oracle_token_ended(struct sim *sim, uint64_t index, uint64_t number)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_token *token = &oracle->tokens[number];
    const struct oracle_session *session = oracle_session(oracle, token->session);
    bool explained = token->lost_told || token->released;
    explained = explained && !oracle_lies(sim, "lease-silent");
    if (!explained && session->ended_index == index) {
        token->end_reason = session->end_reason;
    } else if (!explained) {
        sim_violation(sim, "lease", "token %llu of %.*s is gone without a cause", (ull)number,
                      (int)oracle->keys[token->key].bytes, oracle->keys[token->key].name);
    }
    if (token->lost_told && token->end_reason == PROTO_END_EXPIRED) {
        uint64_t ttl_ms = token->own_ttl_ms + (oracle_lies(sim, "lease-own") ? 1000000 : 0);
        if (token->own_us != 0 && too_early(sim, token->own_us, ttl_ms)) {
            sim_violation(sim, "lease", "token %llu expired %llu us after its lease of %llu ms was asked for",
                          (ull)number, (ull)(sim->now_us - token->own_us), (ull)ttl_ms);
        }
    }
    sim->counts.expiries += token->end_reason == PROTO_END_EXPIRED;
    token->ended_index = index;
    oracle->tokens_live--;
    oracle_numbers_remove(oracle->keys[token->key].live, &oracle->keys[token->key].live_count, number);
    sim_trace(sim, "token %llu %s", (ull)number, end_name(token->end_reason));
    promise_token_ended(sim, number);
}

/* ---- waits ---- */

static void wait_new(struct sim *sim, const struct oracle_wait *wish)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_key *key = &oracle->keys[wish->key];
    uint64_t number = ++oracle->waits_top;
    oracle->waits = oracle_table_grow(oracle->waits, &oracle->waits_capacity, number, sizeof(*oracle->waits));
    oracle->waits[number] = *wish;
    oracle->waits[number].number = number;
    oracle->waits_live++;
    oracle_numbers_add(&key->queue, &key->queue_count, &key->queue_capacity, number);
    sim->counts.waits++;
    sim_trace(sim, "request %llu of session %llu waits for %.*s", (ull)wish->request, (ull)wish->session,
              (int)key->bytes, key->name);
}

static struct oracle_wait *wait_find(struct sim_oracle *oracle, uint64_t session, uint64_t request)
{
    for (unsigned i = 0; i < oracle->keys_count; i++) {
        for (uint32_t j = 0; j < oracle->keys[i].queue_count; j++) {
            struct oracle_wait *wait = &oracle->waits[oracle->keys[i].queue[j]];
            if (wait->session == session && wait->request == request) {
                return wait;
            }
        }
    }
    return NULL;
}

/* ---- requests ---- */

static bool is_executed(enum proto_status status)
{
    switch (status) {
    case PROTO_STATUS_SESSION_EXPIRED:
    case PROTO_STATUS_BAD_SECRET:
    case PROTO_STATUS_STALE_REQUEST:
    case PROTO_STATUS_REQUEST_REUSED:
    case PROTO_STATUS_WINDOW_FULL:
        return false;
    default:
        return true;
    }
}

/* A request got an answer, or waits. @return whether it was executed for the first time just now. */
static bool executed(struct sim *sim, uint64_t index, uint64_t session, uint64_t id, enum proto_kind kind,
                     enum proto_status status, uint64_t token)
{
    struct sim_oracle *oracle = sim->oracle;
    if (!is_executed(status)) {
        return false;
    }
    struct oracle_request *request = oracle_request_make(oracle, session, id);
    if (request->session == 0) {
        *request = (struct oracle_request){session, id, index, token, (uint16_t)status, (uint8_t)kind, false};
        oracle->requests_count++;
        return true;
    }
    token += oracle_lies(sim, "exactly-once-repeated");
    if (request->kind != (uint8_t)kind || request->status != (uint16_t)status || request->token != token) {
        sim_violation(sim, "exactly-once",
                      "request %llu of session %llu got %s, token %llu, and then %s, token %llu", (ull)id,
                      (ull)session, proto_status_name(request->status), (ull)request->token,
                      proto_status_name(status), (ull)token);
    }
    return false;
}

static struct oracle_wait wish_of(struct sim_oracle *oracle, const struct fsm_command *command)
{
    const struct proto_lock_acquire *body = &command->body.lock_acquire;
    return (struct oracle_wait){
        .used = true,
        .session = command->session_id,
        .request = command->request_id,
        .ttl_ms = body->ttl_ms,
        .permits = body->permits,
        .key = (uint8_t)oracle_key(oracle, body->key),
        .mode = (uint8_t)body->mode,
    };
}

/* ---- sessions ---- */

static void session_opened(struct sim *sim, uint64_t index, const struct fsm_command *command,
                           const struct proto_reply *reply)
{
    struct sim_oracle *oracle = sim->oracle;
    uint64_t id = reply->body.session.session_id;
    struct oracle_session *session = oracle_session(oracle, id);
    if (session == NULL) {
        oracle->sessions =
            oracle_table_grow(oracle->sessions, &oracle->sessions_capacity, id, sizeof(*oracle->sessions));
        oracle->sessions_top = id > oracle->sessions_top ? id : oracle->sessions_top;
        oracle->sessions_alive++;
        session = &oracle->sessions[id];
        session->opened_index = index;
        sim_trace(sim, "session %llu is opened", (ull)id);
    }
    session->ttl_ms = command->body.session_open.ttl_ms;
    session->renewed_us = session->sender == NULL ? 0 : session->sender->open_us;
    session->opened_only = true;
}

static void session_renewed(struct sim_oracle *oracle, const struct fsm_command *command,
                            const struct proto_reply *reply)
{
    struct oracle_session *session = oracle_session(oracle, command->session_id);
    if (session != NULL) {
        session->ttl_ms = reply->body.session.ttl_ms;
        session->renewed_us = oracle_sent_us(oracle, command->session_id, command->request_id);
        session->opened_only = false;
    }
}

static void session_ended(struct sim *sim, uint64_t index, const struct proto_event *event)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_session *session = oracle_session(oracle, event->session_id);
    if (session == NULL || session->ended_index != 0) {
        sim_violation(sim, "session-end", "session %llu ended, which did not live", (ull)event->session_id);
    }
    session->ended_index = index;
    session->end_reason = (uint8_t)event->reason;
    oracle->sessions_alive--;
    for (unsigned i = 0; i < oracle->keys_count; i++) {
        oracle->keys[i].touched =
            oracle->keys[i].touched || oracle->keys[i].live_count > 0 || oracle->keys[i].queue_count > 0;
    }
    sim_trace(sim, "session %llu %s", (ull)event->session_id, end_name((unsigned)event->reason));
    if (event->reason != PROTO_END_EXPIRED || session->renewed_us == 0) {
        return;
    }
    uint64_t ttl_ms = session->ttl_ms + (oracle_lies(sim, "lease-session") ? 1000000 : 0);
    if (too_early(sim, session->renewed_us, ttl_ms)) {
        sim_violation(sim, "lease", "session %llu expired %llu us after its renewal of %llu ms was sent",
                      (ull)event->session_id, (ull)(sim->now_us - session->renewed_us), (ull)ttl_ms);
    }
}

/* ---- effects ---- */

static void on_answer(struct sim *sim, uint64_t index, const struct fsm_command *command,
                      const struct proto_reply *reply)
{
    struct sim_oracle *oracle = sim->oracle;
    bool good = reply->status == PROTO_STATUS_OK;
    uint64_t token = good && command->kind == PROTO_LOCK_ACQUIRE ? reply->body.grant.token : 0;
    if (command->kind == PROTO_SESSION_OPEN) {
        if (good) {
            session_opened(sim, index, command, reply);
        }
        return;
    }
    if (proto_operation_find(command->kind)->sent_by == PROTO_SESSION &&
        (!executed(sim, index, command->session_id, command->request_id, command->kind, reply->status,
                   token) ||
         !good)) {
        return;
    }
    struct oracle_token *released = NULL;
    struct oracle_wait wish;
    switch ((int)command->kind) {
    case PROTO_LOCK_ACQUIRE:
        wish = wish_of(oracle, command);
        granted(sim, index, &wish, reply);
        break;
    case PROTO_LOCK_RELEASE:
        released = oracle_token(oracle, command->body.lock_release.token);
        if (released != NULL && reply->body.release.holds == 0) {
            released->released = true;
            oracle->keys[released->key].touched = true;
        }
        break;
    case PROTO_LOCK_EXTEND:
        extended(oracle, command);
        break;
    case PROTO_SESSION_RENEW:
        session_renewed(oracle, command, reply);
        break;
    default:
        break;
    }
}

static void on_queued(struct sim *sim, uint64_t index, const struct fsm_command *command)
{
    if (executed(sim, index, command->session_id, command->request_id, command->kind, PROTO_STATUS_QUEUED,
                 0)) {
        struct oracle_wait wish = wish_of(sim->oracle, command);
        wait_new(sim, &wish);
    }
}

static void on_wait_ended(struct sim *sim, uint64_t index, const struct fsm_effect *effect)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_wait *wait = wait_find(oracle, effect->session_id, effect->request_id);
    if (wait == NULL) {
        sim_violation(sim, "waiter", "request %llu of session %llu stopped waiting, and did not wait",
                      (ull)effect->request_id, (ull)effect->session_id);
    }
    struct oracle_key *key = &oracle->keys[wait->key];
    struct oracle_request *request = oracle_request(oracle, wait->session, wait->request);
    bool good = effect->reply.status == PROTO_STATUS_OK;
    key->touched = true;
    request->index = index;
    request->status = (uint16_t)effect->reply.status;
    request->token = good ? effect->reply.body.grant.token : 0;
    wait->used = false;
    oracle->waits_live--;
    oracle_numbers_remove(key->queue, &key->queue_count, wait->number);
    struct oracle_wait was = *wait;
    sim_trace(sim, "request %llu of session %llu waits no more: %s", (ull)was.request, (ull)was.session,
              proto_status_name(request->status));
    if (good) {
        key->granted_wait = was.number > key->granted_wait ? was.number : key->granted_wait;
        granted(sim, index, &was, &effect->reply);
    }
}

static void on_event(struct sim *sim, uint64_t index, const struct proto_event *event)
{
    struct sim_oracle *oracle = sim->oracle;
    if (event->kind == PROTO_EVENT_SESSION_ENDED) {
        session_ended(sim, index, event);
        return;
    }
    struct oracle_token *token = oracle_token(oracle, event->token);
    if (token == NULL || token->ended_index != 0) {
        sim_violation(sim, "lease", "token %llu was lost, which nobody held", (ull)event->token);
    }
    token->lost_told = true;
    token->end_reason = (uint8_t)event->reason;
    oracle->keys[token->key].touched = true;
}

static void on_effects(struct sim *sim, uint64_t index, uint32_t count)
{
    struct sim_oracle *oracle = sim->oracle;
    for (size_t i = 0; i < oracle->effects.count; i++) {
        const struct fsm_effect *effect = &oracle->effects.list[i];
        switch (effect->kind) {
        case FSM_REPLY:
            LOCKSTEP_ASSERT(effect->command_index < count);
            on_answer(sim, index, &oracle->commands[effect->command_index], &effect->reply);
            break;
        case FSM_QUEUED:
            LOCKSTEP_ASSERT(effect->command_index < count);
            on_queued(sim, index, &oracle->commands[effect->command_index]);
            break;
        case FSM_WAIT_ENDED:
            on_wait_ended(sim, index, effect);
            break;
        case FSM_EVENT:
            on_event(sim, index, &effect->event);
            break;
        }
    }
}

/* ---- an entry ---- */

static void judge_it(struct sim *sim, uint64_t index, struct cluster_time time, uint32_t count)
{
    struct sim_oracle *oracle = sim->oracle;
    if (oracle->effects.count > 0 && oracle->effects.list[0].kind == FSM_REPLY &&
        oracle->effects.list[0].reply.status == PROTO_STATUS_OK && oracle_lies(sim, "judge-answer")) {
        oracle->effects.list[0].reply.status = PROTO_STATUS_NOT_HELD;
    }
    const char *bad = judge_entry(oracle->judge, time, oracle->commands, count, &oracle->effects);
    if (bad != NULL) {
        sim_violation(sim, "judge", "entry %llu: %s", (ull)index, bad);
    }
    fsm_check_invariants(oracle->fsm);
    on_effects(sim, index, count);
}

static void apply(struct sim *sim, const void *data, size_t size)
{
    struct sim_oracle *oracle = sim->oracle;
    struct proto_error error;
    if (fsm_apply(oracle->fsm, data, size, &oracle->effects, &error) != FSM_APPLIED) {
        sim_violation(sim, "log", "an entry was committed that the state machine does not know: %s",
                      error.detail);
    }
}

/* What is due ends in an entry of its own, so that the judge can tell it from what the commands do: it makes no difference to
 * the state. */
static void apply_due(struct sim *sim, uint64_t index, struct cluster_time time)
{
    struct sim_oracle *oracle = sim->oracle;
    struct fsm_entry_writer writer;
    if (fsm_next_due(oracle->fsm).ms > time.ms) {
        return;
    }
    proto_buffer_clear(&oracle->early);
    fsm_entry_begin(&writer, &oracle->early, time);
    fsm_entry_end(&writer);
    apply(sim, oracle->early.data, oracle->early.size);
    judge_it(sim, index, time, 0);
}

void oracle_entry(struct sim *sim, uint64_t index, const void *data, size_t size)
{
    struct sim_oracle *oracle = sim->oracle;
    struct fsm_entry_reader reader;
    struct proto_error error = {0};
    uint32_t count = 0;
    if (!fsm_entry_open(&reader, data, size, &error)) {
        sim_violation(sim, "log", "an entry was committed that can not be read: %s", error.detail);
    }
    while (count < FSM_ENTRY_COMMANDS_MAX && fsm_entry_next(&reader, &oracle->commands[count], &error)) {
        count++;
    }
    oracle->time_ms = reader.time.ms > oracle->time_ms ? reader.time.ms : oracle->time_ms;
    apply_due(sim, index, reader.time);
    apply(sim, data, size);
    judge_it(sim, index, reader.time, count);
    oracle_check_time(sim, count);
    oracle_compare(sim, index);
}
