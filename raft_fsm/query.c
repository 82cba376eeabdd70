/* Owns the answers to reads: from the state as it is, changing nothing. Strings point into the state.
 *
 *   Y1  A list is in byte order of the key, or in order of session id: the same page on every replica.
 *   Y2  A session that is dead is not shown (S1). A grant that is dead is shown with no time remaining while it still
 *       keeps the lock closed, but its fence is no longer a current one (fence.check).
 *   Y3  Each tells what work it was: what is dead and has not had its turn is passed one by one, and the caller shall not
 *       take many such reads for as many short ones. */
#include <string.h>

#include "raft_fsm/state.h"

static uint64_t remaining(struct cluster_time as_of, uint64_t deadline_ms)
{
    return deadline_ms > as_of.ms ? deadline_ms - as_of.ms : 0;
}

static struct proto_bytes owner_of(const struct session *session)
{
    return (struct proto_bytes){.data = session->owner, .size = session->owner_bytes};
}

static uint64_t grant_remaining(const struct fsm *fsm, struct cluster_time as_of, const struct grant *grant)
{
    return fsm_grant_alive(fsm, grant) ? remaining(as_of, fsm_grant_deadline(grant)) : 0;
}

static uint64_t delay_remaining(struct cluster_time as_of, const struct lock *lock)
{
    return lock->rest == NULL ? 0 : remaining(as_of, lock->rest->delay_until_ms);
}

/* ---- locks ---- */

static void fill_holders(const struct fsm *fsm, struct cluster_time as_of, const struct lock *lock,
                         struct proto_rows *rows, struct proto_lock_reply *ret)
{
    const struct grant *grant = lock->grants;
    uint32_t count =
        lock->holders_count < PROTO_STATUS_HOLDERS_MAX ? lock->holders_count : PROTO_STATUS_HOLDERS_MAX;
    for (uint32_t i = 0; i < count; i++, grant = grant->lock_next) {
        rows->holders[i] = (struct proto_holder){.session_id = grant->session->id,
                                                 .owner = owner_of(grant->session),
                                                 .token = grant->token,
                                                 .fence = lock->fence,
                                                 .mode = (enum proto_mode)lock->mode,
                                                 .permits = grant->permits,
                                                 .holds = grant->holds,
                                                 .remaining_ms = grant_remaining(fsm, as_of, grant)};
    }
    ret->holders = rows->holders;
    ret->holders_shown = count;
}

static void fill_waiters(struct cluster_time as_of, const struct lock_rest *rest, struct proto_rows *rows,
                         struct proto_lock_reply *ret)
{
    const struct waiter *waiter = rest->queue;
    uint32_t count =
        rest->waiters_count < PROTO_STATUS_HOLDERS_MAX ? rest->waiters_count : PROTO_STATUS_HOLDERS_MAX;
    for (uint32_t i = 0; i < count; i++, waiter = waiter->next) {
        bool for_ever = waiter->deadline_ms == FSM_NEVER;
        rows->waiters[i] = (struct proto_waiter){
            .session_id = waiter->session->id,
            .owner = owner_of(waiter->session),
            .request_id = waiter->request_id,
            .mode = (enum proto_mode)waiter->mode,
            .permits = waiter->permits,
            .remaining_ms = for_ever ? PROTO_WAIT_FOREVER : remaining(as_of, waiter->deadline_ms)};
    }
    ret->waiters_count = rest->waiters_count;
    ret->waiters = rows->waiters;
    ret->waiters_shown = count;
}

static uint64_t query_lock_get(const struct fsm *fsm, const struct proto_request *request,
                               struct proto_rows *rows, struct proto_reply *ret_reply)
{
    struct proto_lock_reply *ret = &ret_reply->body.lock;
    const struct lock *lock = fsm_lock_find(fsm, request->body.lock_get.key);
    ret->holders = rows->holders;
    ret->waiters = rows->waiters;
    if (lock == NULL) {
        return 1;
    }
    ret->mode = (enum proto_mode)lock->mode;
    ret->limit = lock->mode == PROTO_MODE_PERMITS ? lock->limit : 0;
    ret->permits_used = lock->permits_used;
    ret->fence = lock->fence;
    ret->holders_count = lock->holders_count;
    ret->delay_remaining_ms = delay_remaining(ret_reply->time, lock);
    fill_holders(fsm, ret_reply->time, lock, rows, ret);
    if (lock->rest != NULL) {
        fill_waiters(ret_reply->time, lock->rest, rows, ret);
        ret->has_value = lock->rest->value != NULL;
        ret->value = (struct proto_bytes){.data = lock->rest->value, .size = lock->rest->value_bytes};
    }
    return 1 + ret->holders_shown + ret->waiters_shown;
}

static struct proto_lock_row lock_row(const struct fsm *fsm, struct cluster_time as_of, const struct lock *lock)
{
    struct proto_lock_row row = {.key = {.data = lock->key, .size = lock->key_bytes},
                                 .mode = (enum proto_mode)lock->mode,
                                 .holders_count = lock->holders_count,
                                 .waiters_count = lock->rest == NULL ? 0 : lock->rest->waiters_count,
                                 .fence = lock->fence,
                                 .delay_remaining_ms = delay_remaining(as_of, lock)};
    if (lock->grants != NULL) {
        row.session_id = lock->grants->session->id;
        row.owner = owner_of(lock->grants->session);
        row.remaining_ms = grant_remaining(fsm, as_of, lock->grants);
    }
    return row;
}

static bool has_prefix(const struct lock *lock, struct proto_bytes prefix)
{
    return prefix.size == 0 ||
           (lock->key_bytes >= prefix.size && memcmp(lock->key, prefix.data, prefix.size) == 0);
}

static uint64_t query_lock_list(const struct fsm *fsm, const struct proto_request *request,
                                struct proto_rows *rows, struct proto_reply *ret_reply)
{
    const struct proto_lock_list *body = &request->body.lock_list;
    struct proto_lock_list_reply *ret = &ret_reply->body.lock_list;
    bool from_prefix =
        fsm_compare_bytes(body->prefix.data, body->prefix.size, body->after.data, body->after.size) > 0;
    struct proto_bytes from = from_prefix ? body->prefix : body->after;
    struct lock_key key = {.data = from.data, .size = from.size};
    struct tree_walk walk;
    fsm_tree_walk(&walk, &fsm->locks, &key, from_prefix);
    uint32_t max = body->max < PROTO_LIST_MAX ? body->max : PROTO_LIST_MAX;
    ret->rows = rows->locks;
    for (;;) {
        const struct tree_node *node = fsm_tree_next(&walk);
        if (node == NULL || !has_prefix(fsm_lock_of_node(node), body->prefix)) {
            return 1 + ret->count;
        }
        if (ret->count == max) {
            ret->more = true;
            return 1 + ret->count;
        }
        rows->locks[ret->count] = lock_row(fsm, ret_reply->time, fsm_lock_of_node(node));
        ret->count++;
    }
}

/* @param work  the dead ones that it passes are added: expiry may be behind by all of a crowd (X3). */
static bool fence_is_current(const struct fsm *fsm, const struct lock *lock, uint64_t fence, uint64_t *work)
{
    if (lock->fence != fence) {
        return false;
    }
    const struct grant *grant = lock->grants;
    for (uint32_t i = 0; i < lock->holders_count; i++, grant = grant->lock_next) {
        if (fsm_grant_alive(fsm, grant)) {
            return true;
        }
        ++*work;
    }
    return false;
}

static uint64_t query_fence_check(const struct fsm *fsm, const struct proto_request *request,
                                  struct proto_rows *rows, struct proto_reply *ret_reply)
{
    (void)rows; /* no list in this answer */
    const struct proto_fence_check *body = &request->body.fence_check;
    const struct lock *lock = fsm_lock_find(fsm, body->key);
    uint64_t work = 1;
    bool current = lock != NULL && fence_is_current(fsm, lock, body->fence, &work);
    ret_reply->status = current ? PROTO_STATUS_OK : PROTO_STATUS_STALE_FENCE;
    ret_reply->body.fence.fence = lock == NULL ? 0 : lock->fence;
    return work;
}

/* ---- sessions ---- */

static struct proto_session_row session_row(struct cluster_time as_of, const struct session *session)
{
    return (struct proto_session_row){.session_id = session->id,
                                      .owner = owner_of(session),
                                      .ttl_ms = session->ttl_ms,
                                      .remaining_ms = remaining(as_of, session->deadline_ms),
                                      .lock_delay_ms = session->lock_delay_ms,
                                      .grants_count = session->grants_count,
                                      .waits_count = session->waits_count,
                                      .last_request_id = session->last_request_id,
                                      .ack_floor = session->ack_floor};
}

static uint64_t query_session_get(const struct fsm *fsm, const struct proto_request *request,
                                  struct proto_rows *rows, struct proto_reply *ret_reply)
{
    const struct session *session = fsm_session_find(fsm, request->body.session_get.session_id);
    if (session == NULL || !fsm_session_alive(fsm, session)) {
        ret_reply->status = PROTO_STATUS_NOT_FOUND;
        return 1;
    }
    rows->sessions[0] = session_row(ret_reply->time, session);
    ret_reply->body.session_list.rows = rows->sessions;
    ret_reply->body.session_list.count = 1;
    return 1;
}

static uint64_t query_session_list(const struct fsm *fsm, const struct proto_request *request,
                                   struct proto_rows *rows, struct proto_reply *ret_reply)
{
    const struct proto_session_list *body = &request->body.session_list;
    struct proto_session_list_reply *ret = &ret_reply->body.session_list;
    struct tree_walk walk;
    fsm_tree_walk(&walk, &fsm->sessions, &body->after_id, false);
    uint32_t max = body->max < PROTO_LIST_MAX ? body->max : PROTO_LIST_MAX;
    uint64_t work = 1;
    ret->rows = rows->sessions;
    for (const struct tree_node *node = fsm_tree_next(&walk); node != NULL; node = fsm_tree_next(&walk)) {
        const struct session *session = fsm_session_of_id_node(node);
        work++; /* The dead count as well: there may be a million before the first that lives (X3). */
        if (!fsm_session_alive(fsm, session)) {
            continue;
        }
        if (ret->count == max) {
            ret->more = true;
            break;
        }
        rows->sessions[ret->count] = session_row(ret_reply->time, session);
        ret->count++;
    }
    return work;
}

static uint64_t query_request_get(const struct fsm *fsm, const struct proto_request *request,
                                  struct proto_rows *rows, struct proto_reply *ret_reply)
{
    (void)rows; /* no list in this answer */
    const struct proto_request_get *body = &request->body.request_get;
    const struct session *session = fsm_session_find(fsm, body->session_id);
    bool alive = session != NULL && fsm_session_alive(fsm, session);
    const struct record *record = alive ? fsm_history_find(session, body->request_id) : NULL;
    if (record == NULL) {
        ret_reply->status = PROTO_STATUS_NOT_FOUND;
        return 1;
    }
    const struct answer *answer = &record->answer;
    ret_reply->body.request.status = (enum proto_status)answer->status;
    if (answer->kind == PROTO_LOCK_ACQUIRE && answer->status == PROTO_STATUS_OK) {
        ret_reply->body.request.token = answer->grant.token;
        ret_reply->body.request.fence = answer->grant.fence;
    }
    return 1;
}

/* ---- */

uint64_t fsm_session_ttl(const struct fsm *fsm, uint64_t session_id)
{
    const struct session *session = fsm_session_find(fsm, session_id);
    return session == NULL ? 0 : session->ttl_ms;
}

/* Not while a delay runs: who comes back in it passes the queue (G5). */
bool fsm_lock_is_queued(const struct fsm *fsm, struct proto_bytes key)
{
    const struct lock *lock = fsm->waiters_count == 0 ? NULL : fsm_lock_find(fsm, key);
    return lock != NULL && fsm_lock_has_waiters(lock) && lock->rest->delay_until_ms == 0;
}

uint64_t fsm_query(const struct fsm *fsm, struct cluster_time as_of, const struct proto_request *request,
                   struct proto_rows *rows, struct proto_reply *ret_reply)
{
    memset(ret_reply, 0, sizeof *ret_reply);
    ret_reply->kind = request->kind;
    ret_reply->id = request->id;
    ret_reply->status = PROTO_STATUS_OK;
    ret_reply->time.ms = as_of.ms > fsm->time_ms ? as_of.ms : fsm->time_ms;
#define X_LOG(enum_name, function)
#define X_LOCAL(enum_name, function)
#define X_QUERY(enum_name, function) \
    case PROTO_##enum_name:          \
        return query_##function(fsm, request, rows, ret_reply);
#define X(kind, enum_name, name, function, sent_by, served_by, since) X_##served_by(enum_name, function)
    switch (request->kind) {
        PROTO_OPERATIONS(X)
    default:
        break;
    }
#undef X
#undef X_QUERY
#undef X_LOCAL
#undef X_LOG
    LOCKSTEP_ASSERT(!"a QUERY operation: the caller routes the others elsewhere");
    return 0;
}
