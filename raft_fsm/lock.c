/* Owns the commands lock.acquire, lock.extend, lock.release and lock.set_value, and what a grant is.
 *
 *   L1  A request is granted at its arrival only if nobody waits and the mode admits it; else it is HELD (wait 0) or
 *       queued. The mode admits: anything on a free lock; shared beside shared; permits beside permits while
 *       the sum stays within the limit. Nothing while a lock-delay runs (but see hand_on.c, G5).
 *   L2  A grant is known by its token, not by its session: a session that asks twice competes with itself, because
 *       ownership belongs to the client's handle. Only `reentrant` joins a grant that the session has.
 *   L3  Reentrant: the first live grant (by token) that has the same mode, permits and limit, or is exclusive where shared
 *       is asked, is entered once more: same token, same fence, holds + 1. If the session has live grants on
 *       the key and none fits: MODE_CONFLICT at once, because waiting would be waiting for itself.
 *   L4  A joined grant's own lease only gets longer; one without an own lease stays without.
 *   L5  Tokens are (epoch << 48 | counter) and only grow. The fence is that of the period: the token of the first
 *       grant since the lock was free. For an exclusive grant that is its own token; shared and permit holders of
 *       one period have one fence and do not fence each other.
 *   L6  A grant ends at the earlier of its session's and its own deadline, and is NOT_HELD from then on.
 *   L7  All holders of permits and all who wait for them agree on the limit; who arrives with another one gets
 *       LIMIT_MISMATCH.
 *   L8  What names a token that is not a live grant of this session on this key changes nothing: NOT_HELD.
 *   L9  A lock's value belongs to its holder to set, and outlives the grant. A lock without holder, waiter, delay and
 *       value is not kept. */
#include "raft_fsm/state.h"

/* ---- grants ---- */

bool fsm_lock_admits(const struct lock *lock, const struct grant_wish *wish)
{
    if (lock->rest != NULL && lock->rest->delay_until_ms != 0) {
        return false;
    }
    if (lock->grants == NULL) {
        return true;
    }
    if (lock->mode != wish->mode || lock->holders_count >= FSM_HOLDERS_PER_LOCK_MAX) {
        return false;
    }
    switch ((enum proto_mode)wish->mode) {
    case PROTO_MODE_EXCLUSIVE:
        return false;
    case PROTO_MODE_SHARED:
        return true;
    case PROTO_MODE_PERMITS:
        return lock->limit == wish->limit && lock->permits_used + wish->permits <= wish->limit;
    }
    return false;
}

static uint64_t next_token(struct fsm *fsm)
{
    uint64_t token = fsm->epoch << FSM_TOKEN_COUNTER_BITS | fsm->counter;
    fsm->counter++;
    LOCKSTEP_ASSERT(fsm->counter >> FSM_TOKEN_COUNTER_BITS == 0);
    return token;
}

struct grant *fsm_grant_create(struct fsm *fsm, struct lock *lock, struct session *session,
                               const struct grant_wish *wish)
{
    LOCKSTEP_ASSERT(fsm_session_alive(fsm, session));
    struct grant *grant = fsm_pool_take(&fsm->grants_pool);
    grant->token = next_token(fsm);
    grant->holds = 1;
    grant->permits = wish->permits;
    grant->own_deadline_ms = wish->ttl_ms == 0 ? FSM_NEVER : fsm_deadline_after(fsm, wish->ttl_ms);
    if (lock->grants == NULL) {
        lock->mode = wish->mode;
        lock->fence = grant->token; /* L5: a period begins */
        if (wish->mode == PROTO_MODE_PERMITS) {
            lock->limit = wish->limit;
        }
    }
    fsm_grant_link(fsm, lock, grant);
    fsm_grant_link_session(fsm, grant, session);
    fsm_timer_set(fsm, &grant->timer, FSM_TIMER_GRANT);
    return grant;
}

void fsm_grant_end(struct fsm *fsm, struct grant *grant)
{
    struct lock *lock = grant->lock;
    fsm_grant_free(fsm, grant);
    if (lock->grants == NULL) {
        lock->mode = PROTO_MODE_EXCLUSIVE;
        lock->fence = 0;
        if (lock->rest == NULL || lock->rest->permit_waiters == 0) {
            lock->limit = 0;
        }
    }
}

void fsm_answer_grant(const struct grant *grant, struct answer *ret)
{
    fsm_answer_status(ret, PROTO_STATUS_OK);
    ret->holds = grant->holds;
    ret->grant.token = grant->token;
    ret->grant.fence = grant->lock->fence;
    ret->grant.deadline_ms = fsm_grant_deadline(grant);
}

/* L3 */
static bool joinable(const struct grant *grant, const struct grant_wish *wish)
{
    const struct lock *lock = grant->lock;
    switch ((enum proto_mode)lock->mode) {
    case PROTO_MODE_EXCLUSIVE:
        return wish->mode != PROTO_MODE_PERMITS;
    case PROTO_MODE_SHARED:
        return wish->mode == PROTO_MODE_SHARED;
    case PROTO_MODE_PERMITS:
        return wish->mode == PROTO_MODE_PERMITS && grant->permits == wish->permits &&
               lock->limit == wish->limit;
    }
    return false;
}

/* What find() looks for; 0 and NULL ask for nothing. */
struct search {
    const struct lock *lock;
    const struct session *session;
    uint64_t token;
    const struct grant_wish *wish;
};

static bool fits(struct fsm *fsm, const struct search *search, const struct grant *grant)
{
    fsm->searched++;
    return grant->lock == search->lock && grant->session == search->session &&
           (search->token == 0 || grant->token == search->token) && fsm_grant_alive(fsm, grant) &&
           (search->wish == NULL || joinable(grant, search->wish));
}

/* Of a lock with many holders and a session with many grants. Such a lock is shared or has permits: if the first live
 * grant of the session with the permits that are asked for does not fit, no other does. */
static const struct grant *find_in_crowd(struct fsm *fsm, const struct search *search)
{
    const struct grant *grant = NULL;
    if (search->token != 0) {
        grant = fsm_crowd_find(fsm, search->token);
    } else {
        const uint16_t *permits = search->wish == NULL ? NULL : &search->wish->permits;
        grant = fsm_crowd_first(fsm, search->lock, search->session, permits);
    }
    return grant != NULL && fits(fsm, search, grant) ? grant : NULL;
}

/* The first that fits is the same in both lists: both are in order of token (O1). So the shorter one is searched: a
 * lock may have many holders, or a session many locks, and hardly ever both. */
static const struct grant *find(struct fsm *fsm, const struct search *search)
{
    if (search->lock->holders_count > FSM_CROWD && search->session->grants_count > FSM_CROWD) {
        return find_in_crowd(fsm, search);
    }
    if (search->lock->holders_count <= search->session->grants_count) {
        const struct grant *grant = search->lock->grants;
        for (uint32_t i = 0; i < search->lock->holders_count; i++, grant = grant->lock_next) {
            if (fits(fsm, search, grant)) {
                return grant;
            }
        }
        return NULL;
    }
    for (const struct grant *grant = search->session->grants_first; grant != NULL;
         grant = grant->session_next) {
        if (fits(fsm, search, grant)) {
            return grant;
        }
    }
    return NULL;
}

/* ---- acquire ---- */

static struct grant_wish wish_of(const struct proto_lock_acquire *body)
{
    bool permits = body->mode == PROTO_MODE_PERMITS;
    return (struct grant_wish){.mode = (uint8_t)body->mode,
                               .permits = permits ? (uint16_t)body->permits : 0,
                               .limit = permits ? (uint16_t)body->limit : 0,
                               .ttl_ms = body->ttl_ms};
}

static void join(struct fsm *fsm, const struct grant *found, const struct proto_lock_acquire *body,
                 struct answer *ret)
{
    if (found->holds >= FSM_HOLDS_MAX) {
        fsm_answer_status(ret, PROTO_STATUS_TOO_MANY_HOLDS);
        return;
    }
    struct lock *lock = fsm_lock_change(fsm, found->lock);
    struct grant *grant = (struct grant *)(uintptr_t)found;
    grant->holds++;
    /* L4: never later than none, if the grant has no own lease; never later than now, if none is asked for. */
    uint64_t deadline_ms = fsm_deadline_after(fsm, body->ttl_ms);
    if (deadline_ms > grant->own_deadline_ms) {
        grant->own_deadline_ms = deadline_ms;
        fsm_timer_set(fsm, &grant->timer, FSM_TIMER_GRANT);
    }
    if (body->has_value) {
        fsm_lock_put_value(fsm, lock, body->value.data, body->value.size);
    }
    fsm_answer_grant(grant, ret);
}

/* @return false if the session has no live grant on the lock: it asks like anybody else. */
static bool acquire_again(struct fsm *fsm, const struct lock *lock, const struct call *call,
                          struct answer *ret)
{
    const struct proto_lock_acquire *body = &call->command->body.lock_acquire;
    struct grant_wish wish = wish_of(body);
    struct search search = {.lock = lock, .session = call->session};
    if (find(fsm, &search) == NULL) {
        return false;
    }
    search.wish = &wish;
    const struct grant *grant = find(fsm, &search);
    if (grant == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_MODE_CONFLICT);
    } else {
        join(fsm, grant, body, ret);
    }
    return true;
}

static void acquire_now(struct fsm *fsm, struct lock *lock, const struct call *call, struct answer *ret)
{
    const struct proto_lock_acquire *body = &call->command->body.lock_acquire;
    struct grant_wish wish = wish_of(body);
    struct grant *grant = fsm_grant_create(fsm, lock, call->session, &wish);
    if (body->has_value) {
        fsm_lock_put_value(fsm, lock, body->value.data, body->value.size);
    }
    fsm_answer_grant(grant, ret);
}

static void acquire_new(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    if (fsm->locks.count >= FSM_LOCKS_MAX) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_LOCKS);
        return;
    }
    acquire_now(fsm, fsm_lock_create(fsm, call->command->body.lock_acquire.key), call, ret);
}

/* Who is in the way: the first holder; or, while a lock-delay runs, the session whose end began it. */
static void answer_held(struct fsm *fsm, const struct lock *lock, struct answer *ret)
{
    struct proto_holder *holder = &fsm->holder;
    *holder = (struct proto_holder){.mode = (enum proto_mode)lock->mode, .fence = lock->fence};
    uint64_t until_ms = 0;
    if (lock->grants != NULL) {
        const struct grant *grant = lock->grants;
        const struct session *session = grant->session;
        holder->session_id = session->id;
        holder->owner = (struct proto_bytes){.data = session->owner, .size = session->owner_bytes};
        holder->token = grant->token;
        holder->permits = grant->permits;
        holder->holds = grant->holds;
        until_ms = session->ended ? 0 : fsm_grant_deadline(grant);
    } else if (lock->rest != NULL && lock->rest->delay_until_ms != 0) {
        holder->session_id = lock->rest->delay_session_id;
        until_ms = lock->rest->delay_until_ms;
    }
    holder->remaining_ms = until_ms > fsm->time_ms ? until_ms - fsm->time_ms : 0;
    fsm_answer_status(ret, PROTO_STATUS_HELD);
    ret->holder = holder;
}

static void acquire_blocked(struct fsm *fsm, const struct lock *lock, const struct call *call,
                            struct answer *ret)
{
    const struct proto_lock_acquire *body = &call->command->body.lock_acquire;
    uint32_t waiters = lock->rest == NULL ? 0 : lock->rest->waiters_count;
    uint32_t waiting_bytes = lock->rest == NULL ? 0 : lock->rest->waiting_bytes;
    bool full = lock->holders_count >= FSM_HOLDERS_PER_LOCK_MAX && lock->mode == body->mode && waiters == 0;
    if (body->wait_ms == 0 && full) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_HOLDERS);
    } else if (body->wait_ms == 0) {
        answer_held(fsm, lock, ret);
    } else if (waiters >= FSM_WAITERS_PER_LOCK_MAX) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_WAITERS);
    } else if (waiting_bytes + body->value.size > FSM_WAITING_BYTES_PER_LOCK_MAX) {
        fsm_answer_limit(ret, PROTO_STATUS_LIMIT_REACHED, FSM_DETAIL_VALUES);
    } else {
        ret->waiter = fsm_waiter_create(fsm, fsm_lock_change(fsm, lock), call);
        fsm_answer_status(ret, PROTO_STATUS_QUEUED);
    }
}

void fsm_lock_acquire(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_lock_acquire *body = &call->command->body.lock_acquire;
    const struct lock *lock = fsm_lock_find(fsm, body->key);
    if (lock == NULL) {
        acquire_new(fsm, call, ret);
        return;
    }
    if (body->reentrant && acquire_again(fsm, lock, call, ret)) {
        return;
    }
    struct grant_wish wish = wish_of(body);
    if (wish.limit != 0 && lock->limit != 0 && wish.limit != lock->limit) { /* L7 */
        fsm_answer_status(ret, PROTO_STATUS_LIMIT_MISMATCH);
    } else if (fsm_lock_delay_is_of(lock, call->session)) {
        struct lock *mutable = fsm_lock_change(fsm, lock);
        fsm_lock_delay_end(fsm, mutable);
        acquire_now(fsm, mutable, call, ret);
        fsm->hand_on_next = mutable; /* after the answer: those at the front may be admitted beside it */
    } else if (!fsm_lock_has_waiters(lock) && fsm_lock_admits(lock, &wish)) {
        acquire_now(fsm, fsm_lock_change(fsm, lock), call, ret);
    } else {
        acquire_blocked(fsm, lock, call, ret);
    }
}

/* ---- what a holder does ---- */

/* L8 */
static struct grant *find_held(struct fsm *fsm, const struct call *call, struct proto_bytes key,
                               uint64_t token)
{
    const struct lock *lock = fsm_lock_find(fsm, key);
    struct search search = {.lock = lock, .session = call->session, .token = token};
    const struct grant *grant = lock == NULL || token == 0 ? NULL : find(fsm, &search);
    if (grant == NULL) {
        return NULL;
    }
    (void)fsm_lock_change(fsm, lock); /* the grant is a part of its lock */
    return (struct grant *)(uintptr_t)grant;
}

void fsm_lock_extend(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_lock_extend *body = &call->command->body.lock_extend;
    struct grant *grant = find_held(fsm, call, body->key, body->token);
    if (grant == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_HELD);
        return;
    }
    grant->own_deadline_ms = body->ttl_ms == 0 ? FSM_NEVER : fsm_deadline_after(fsm, body->ttl_ms);
    fsm_timer_set(fsm, &grant->timer, FSM_TIMER_GRANT);
    fsm_answer_grant(grant, ret);
}

void fsm_lock_release(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_lock_release *body = &call->command->body.lock_release;
    struct grant *grant = find_held(fsm, call, body->key, body->token);
    if (grant == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_HELD);
        return;
    }
    fsm_answer_status(ret, PROTO_STATUS_OK);
    if (grant->holds > 1 && !body->all) {
        grant->holds--;
        ret->holds = grant->holds;
        return;
    }
    struct lock *lock = grant->lock;
    fsm_grant_end(fsm, grant);
    fsm_lock_hand_on(fsm, lock);
}

void fsm_lock_set_value(struct fsm *fsm, const struct call *call, struct answer *ret)
{
    const struct proto_lock_set_value *body = &call->command->body.lock_set_value;
    struct grant *grant = find_held(fsm, call, body->key, body->token);
    if (grant == NULL) {
        fsm_answer_status(ret, PROTO_STATUS_NOT_HELD);
        return;
    }
    fsm_lock_put_value(fsm, grant->lock, body->value.data, body->value.size);
    fsm_answer_status(ret, PROTO_STATUS_OK);
}
