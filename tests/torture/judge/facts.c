/* Owns the derivation; see facts.h. Sorting aside, it is linear. */
#include "facts.h"

#include <stdlib.h>
#include <strings.h>

enum { PPM = 1000000 };

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t facts_lease_ns(const struct facts *facts, int64_t ttl_ms)
{
    int64_t ns = ttl_ms * NS_PER_MS;
    return ns - ns / PPM * facts->options->drift_ppm - facts->options->slack_ns;
}

const char *facts_key(const struct facts *facts, uint32_t key)
{
    return facts->history->keys.texts[key];
}

const char *facts_word(const struct facts *facts, uint32_t word)
{
    return facts->history->words.texts[word];
}

bool facts_word_is(const struct facts *facts, uint32_t word, const char *text)
{
    return strcasecmp(facts_word(facts, word), text) == 0;
}

static bool is_by_hand(const struct facts *facts, const struct op *loss)
{
    return facts_word_is(facts, loss->error, "killed") || facts_word_is(facts, loss->error, "forced");
}

bool facts_says_gone(const struct facts *facts, const struct op *op)
{
    if (op->f == OP_LOST) {
        return facts_word_is(facts, op->error, "expired") || facts_word_is(facts, op->error, "ended") ||
               is_by_hand(facts, op);
    }
    return op->f == OP_EXTEND && op->outcome == OUTCOME_FAIL &&
           (facts_word_is(facts, op->error, "NOT_HELD") || facts_word_is(facts, op->error, "SESSION_LOST"));
}

bool facts_compatible(const struct op *left, const struct op *right)
{
    if (left->mode != right->mode || left->mode == MODE_EXCLUSIVE) {
        return false;
    }
    return left->mode == MODE_SHARED || left->limit == right->limit;
}

const struct grant *facts_grant(const struct facts *facts, uint64_t token)
{
    uint32_t index = numbers_get(&facts->tokens, token);
    return index == 0 ? NULL : &facts->grants[index - 1];
}

const struct session *facts_session(const struct facts *facts, uint64_t id)
{
    uint32_t index = numbers_get(&facts->sessions_by_id, id);
    return index == 0 ? NULL : &facts->sessions[index - 1];
}

/* ---- keys ---- */

static void index_keys(struct facts *facts)
{
    const struct history *history = facts->history;
    facts->keys = history->keys.count;
    facts->key_begin = judge_allocate(facts->keys + 2, sizeof *facts->key_begin);
    facts->by_key = judge_allocate(history->ops_count, sizeof *facts->by_key);
    for (size_t i = 0; i < history->ops_count; i++) {
        facts->key_begin[history->ops[i].key + 2]++;
    }
    for (uint32_t key = 2; key < facts->keys + 2; key++) {
        facts->key_begin[key] += facts->key_begin[key - 1];
    }
    for (size_t i = 0; i < history->ops_count; i++) {
        facts->by_key[facts->key_begin[history->ops[i].key + 1]++] = (uint32_t)i;
    }
}

/* ---- sessions and owners ---- */

static struct session *session_of(struct facts *facts, const struct op *op)
{
    uint32_t index = numbers_get(&facts->sessions_by_id, op->session);
    if (index == 0) {
        facts->sessions = judge_grow(facts->sessions, facts->sessions_count, &facts->sessions_room,
                                     sizeof *facts->sessions);
        facts->sessions[facts->sessions_count++] =
            (struct session){.id = op->session,
                             .close_invoke = NEVER,
                             .closed = NEVER,
                             .shortest = NEVER,
                             .lease = {.until = LONG_AGO, .unsure = NEVER, .done = LONG_AGO}};
        index = (uint32_t)facts->sessions_count;
        numbers_put(&facts->sessions_by_id, op->session, index);
    }
    struct session *session = &facts->sessions[index - 1];
    if (session->owner == 0 && op->owner != 0) {
        session->owner = op->owner;
        facts->owners[op->owner].sessions++;
    }
    return session;
}

static void take_close(struct facts *facts, const struct op *op)
{
    struct session *session = session_of(facts, op);
    session->close_invoke = earlier(session->close_invoke, op->invoke);
    if (op->outcome == OUTCOME_OK && op->done < session->closed) {
        session->closed = op->done;
        session->close = op;
    }
}

/* A2. Two requests that overlap may have taken effect in either order. */
static void lease_take(struct lease *lease, const struct op *op, int64_t until)
{
    if (op->outcome == OUTCOME_OK) {
        int64_t overlapping = lease->done > op->invoke ? lease->until : NEVER;
        lease->until = earlier(earlier(until, overlapping), lease->unsure);
        lease->done = later(lease->done, op->done);
    } else if (op->outcome != OUTCOME_FAIL) {
        lease->unsure = earlier(lease->unsure, until);
        lease->until = earlier(lease->until, until);
    }
}

static void take_renewal(struct facts *facts, const struct op *op)
{
    if (op->ttl_ms > 0) {
        lease_take(&session_of(facts, op)->lease, op, op->invoke + facts_lease_ns(facts, op->ttl_ms));
    }
}

static void note_owners(struct facts *facts, const struct op *op)
{
    const struct seen *seen = op->seen == 0 ? NULL : &facts->history->seen[op->seen - 1];
    for (uint32_t i = 0; seen != NULL && i < seen->queue; i++) {
        struct owner *owner = &facts->owners[facts->history->list[seen->queue_first + i]];
        if (op->f == OP_CRASH) {
            owner->crashed = earlier(owner->crashed, op->done);
        } else {
            owner->paused = op->f == OP_PAUSE ? op->done : NEVER;
        }
    }
}

static void note_owner(struct facts *facts, const struct op *op)
{
    struct owner *owner = &facts->owners[op->owner];
    owner->last_line = later(owner->last_line, op->done == NEVER ? op->invoke : op->done);
    if (op->f == OP_CLOSE) {
        owner->close = op;
    } else if (op->f != OP_LOST && op->f != OP_CHECK && op->f != OP_STATUS) {
        owner->last_effect = op->invoke;
    }
}

int64_t facts_gone(const struct facts *facts, uint32_t index)
{
    const struct owner *owner = &facts->owners[index];
    const struct op *close = owner->close;
    if (close != NULL && close->outcome == OUTCOME_OK && owner->last_effect <= close->invoke) {
        return close->done;
    }
    int64_t alive = owner->crashed != NEVER ? owner->crashed : close != NULL ? owner->last_line : NEVER;
    if (alive == NEVER || facts->heal == NEVER) {
        return NEVER;
    }
    return later(alive, facts->heal) + facts->ttl_max_ns + facts->options->margin_ns;
}

static void read_sessions(struct facts *facts)
{
    const struct history *history = facts->history;
    facts->owners = judge_allocate(history->owners.count, sizeof *facts->owners);
    for (uint32_t i = 0; i < history->owners.count; i++) {
        facts->owners[i] =
            (struct owner){.crashed = NEVER, .paused = NEVER, .last_line = LONG_AGO, .last_effect = LONG_AGO};
    }
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        facts->ttl_max_ns = later(facts->ttl_max_ns, op->ttl_ms * NS_PER_MS);
        if (op->f == OP_CRASH || op->f == OP_PAUSE || op->f == OP_RESUME) {
            note_owners(facts, op);
        } else if (op->f == OP_HEAL) {
            facts->heal = op->done;
        } else if (op->f == OP_FINAL) {
            facts->has_final = true;
        } else if (op->f == OP_CLOSE && op->session != 0) {
            take_close(facts, op);
        } else if ((op->f == OP_RENEW || op->f == OP_OPEN) && op->session != 0) {
            take_renewal(facts, op);
        } else if (op->session != 0 && op->f != OP_FAULT) {
            (void)session_of(facts, op);
        }
        if (op->f < OP_FINAL && op->owner != 0) {
            note_owner(facts, op);
        }
    }
}

static bool ends_waits(const struct op *op)
{
    return op->f == OP_CLOSE && op->outcome == OUTCOME_OK && op->session != 0;
}

static void index_closes(struct facts *facts)
{
    const struct history *history = facts->history;
    facts->close_begin = judge_allocate(history->owners.count + 2, sizeof *facts->close_begin);
    for (size_t i = 0; i < history->ops_count; i++) {
        facts->close_begin[history->ops[i].owner + 2] += ends_waits(&history->ops[i]);
    }
    for (uint32_t owner = 2; owner < history->owners.count + 2; owner++) {
        facts->close_begin[owner] += facts->close_begin[owner - 1];
    }
    facts->closes = judge_allocate(facts->close_begin[history->owners.count + 1], sizeof *facts->closes);
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        if (ends_waits(op)) {
            facts->closes[facts->close_begin[op->owner + 1]++] = op;
        }
    }
}

int64_t facts_wait_ends(const struct facts *facts, const struct op *acquire)
{
    bool cancelled = facts_word_is(facts, acquire->error, "CANCELLED");
    if (acquire->outcome == OUTCOME_OK || (acquire->outcome == OUTCOME_FAIL && !cancelled)) {
        return acquire->done;
    }
    uint32_t low = facts->close_begin[acquire->owner];
    uint32_t end = facts->close_begin[acquire->owner + 1];
    for (uint32_t high = end; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (facts->closes[middle]->invoke > acquire->invoke) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < end ? facts->closes[low]->done : NEVER;
}

/* ---- grants ---- */

static int by_key_and_token(const void *left, const void *right)
{
    const struct grant *a = left;
    const struct grant *b = right;
    if (a->op->key != b->op->key) {
        return a->op->key < b->op->key ? -1 : 1;
    }
    if (a->op->token != b->op->token) {
        return a->op->token < b->op->token ? -1 : 1;
    }
    return a->op->done < b->op->done ? -1 : a->op->done > b->op->done;
}

static void read_grants(struct facts *facts)
{
    const struct history *history = facts->history;
    size_t room = 0;
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->f != OP_ACQUIRE || op->outcome != OUTCOME_OK) {
            continue;
        }
        facts->grants = judge_grow(facts->grants, facts->grants_count, &room, sizeof *facts->grants);
        facts->grants[facts->grants_count++] =
            (struct grant){.op = op,
                           .session = numbers_get(&facts->sessions_by_id, op->session) - 1,
                           .start = op->done,
                           .held_until = LONG_AGO,
                           .promised = op->certain,
                           .own = {.until = op->own ? op->invoke + facts_lease_ns(facts, op->ttl_ms) : NEVER,
                                   .unsure = NEVER,
                                   .done = LONG_AGO},
                           .ended = NEVER,
                           .released = NEVER,
                           .gone = NEVER};
    }
    if (facts->grants_count > 0) {
        qsort(facts->grants, facts->grants_count, sizeof *facts->grants, by_key_and_token);
    }
    facts->grant_begin = judge_allocate(facts->keys + 1, sizeof *facts->grant_begin);
    for (uint32_t i = 0; i < facts->grants_count; i++) {
        struct grant *grant = &facts->grants[i];
        facts->grant_begin[grant->op->key + 1]++;
        uint32_t known = numbers_get(&facts->tokens, grant->op->token);
        if (known == 0) {
            numbers_put(&facts->tokens, grant->op->token, i + 1);
        } else if (grant->op->done < facts->grants[known - 1].op->done) {
            facts->grants[known - 1].twice = true;
            numbers_put(&facts->tokens, grant->op->token, i + 1);
        } else {
            grant->twice = true;
        }
    }
    for (uint32_t key = 1; key <= facts->keys; key++) {
        facts->grant_begin[key] += facts->grant_begin[key - 1];
    }
}

/* ---- what befell the grants ---- */

static void take_release(struct grant *grant, const struct op *op)
{
    if (op->outcome == OUTCOME_OK && op->done < grant->released) {
        grant->released = op->done;
        grant->gone = earlier(grant->gone, op->done);
        grant->release = op;
        grant->held_until = later(grant->held_until, op->invoke);
    } else if (grant->release == NULL) {
        grant->release = op;
    }
    grant->held_until = later(grant->held_until, op->certain);
    grant->ended = earlier(grant->ended, op->invoke);
}

static void take_loss(const struct facts *facts, struct grant *grant, const struct op *op)
{
    grant->loss = op;
    grant->held_until = later(grant->held_until, op->certain);
    grant->ended = is_by_hand(facts, op) ? LONG_AGO : earlier(grant->ended, op->done);
}

/* A2. The library knows what it had sent when it said :certain-until; what was sent later may shorten that. */
static void take_extension(const struct facts *facts, struct grant *grant, const struct op *op)
{
    int64_t until = op->ttl_ms <= 0 ? NEVER : op->invoke + facts_lease_ns(facts, op->ttl_ms);
    lease_take(&grant->own, op, until);
    if (op->outcome != OUTCOME_FAIL) {
        grant->promised = earlier(grant->promised, until);
    }
    if (op->outcome == OUTCOME_OK) {
        grant->promised = later(grant->promised, op->certain);
        if (op->invoke < grant->ended) {
            grant->held_until = later(grant->held_until, op->invoke);
        }
    }
}

static void read_fates(struct facts *facts)
{
    const struct history *history = facts->history;
    for (size_t i = 0; i < history->ops_count; i++) {
        const struct op *op = &history->ops[i];
        bool of_a_grant = op->f == OP_RELEASE || op->f == OP_EXTEND || op->f == OP_LOST;
        uint32_t index = of_a_grant ? numbers_get(&facts->tokens, op->token) : 0;
        if (index == 0) {
            continue;
        }
        struct grant *grant = &facts->grants[index - 1];
        if (op->f == OP_RELEASE) {
            take_release(grant, op);
        } else if (op->f == OP_LOST) {
            take_loss(facts, grant, op);
        } else {
            take_extension(facts, grant, op);
        }
        if (facts_says_gone(facts, op)) {
            grant->gone = earlier(grant->gone, op->done);
        }
    }
}

/* A2 for sessions: a renewal by request shortens what was promised before it to its own TTL, if that is shorter. Each grant
 * in the session is passed after all renewals that were asked for later. */
static void shorten_promises(struct facts *facts)
{
    const struct history *history = facts->history;
    for (size_t i = history->ops_count; i-- > 0;) {
        const struct op *op = &history->ops[i];
        uint32_t index = op->session == 0 ? 0 : numbers_get(&facts->sessions_by_id, op->session);
        if (index == 0) {
            continue;
        }
        struct session *session = &facts->sessions[index - 1];
        uint32_t grant =
            op->f == OP_ACQUIRE && op->outcome == OUTCOME_OK ? numbers_get(&facts->tokens, op->token) : 0;
        if (op->f == OP_RENEW && op->outcome != OUTCOME_FAIL && op->ttl_ms > 0) {
            session->shortest = earlier(session->shortest, op->invoke + facts_lease_ns(facts, op->ttl_ms));
        } else if (grant != 0) {
            facts->grants[grant - 1].promised = earlier(facts->grants[grant - 1].promised, session->shortest);
        }
    }
}

static void conclude(struct facts *facts)
{
    for (uint32_t i = 0; i < facts->grants_count; i++) {
        struct grant *grant = &facts->grants[i];
        const struct session *session = &facts->sessions[grant->session];
        grant->leased = earlier(grant->own.until, session->lease.until);
        grant->ended = earlier(grant->ended, session->close_invoke);
    }
}

void facts_init(struct facts *facts, const struct history *history, const struct judge_options *options)
{
    *facts = (struct facts){.history = history, .options = options, .heal = NEVER};
    numbers_init(&facts->tokens);
    numbers_init(&facts->sessions_by_id);
    index_keys(facts);
    read_sessions(facts);
    index_closes(facts);
    read_grants(facts);
    read_fates(facts);
    shorten_promises(facts);
    conclude(facts);
}

void facts_done(struct facts *facts)
{
    free(facts->by_key);
    free(facts->key_begin);
    free(facts->grants);
    free(facts->grant_begin);
    free(facts->sessions);
    free(facts->owners);
    free(facts->closes);
    free(facts->close_begin);
    numbers_done(&facts->tokens);
    numbers_done(&facts->sessions_by_id);
}
