/* Owns how sessions, locks, grants and waiters are found, made, linked and freed. Decides nothing: the rules are in
 * the files of the commands.
 *
 *   O1  A lock's ring of grants and a session's list of grants are in order of token, because a grant is appended when
 *       it is made and tokens only grow. So the order survives a snapshot without being in it.
 *   O2  A lock's queue is a ring in order of arrival.
 *   O3  lock->rest exists only if something in it is in use.
 *   O4  A free lock has mode EXCLUSIVE and fence 0; without permits held or waited for its limit is 0. Equal states
 *       then have equal images. */
#include <string.h>

#include "raft_fsm/state.h"

/* ---- order ---- */

int fsm_compare_bytes(const void *left, size_t left_size, const void *right, size_t right_size)
{
    size_t common = left_size < right_size ? left_size : right_size;
    int order = common == 0 ? 0 : memcmp(left, right, common);
    if (order != 0) {
        return order;
    }
    return (left_size > right_size) - (left_size < right_size);
}

struct session *fsm_session_of_id_node(const struct tree_node *node)
{
    return (void *)((uintptr_t)node - offsetof(struct session, by_id));
}

struct session *fsm_session_of_digest_node(const struct tree_node *node)
{
    return (void *)((uintptr_t)node - offsetof(struct session, by_digest));
}

struct lock *fsm_lock_of_node(const struct tree_node *node)
{
    return (void *)((uintptr_t)node - offsetof(struct lock, node));
}

int fsm_lock_compare(const void *key, const struct tree_node *node)
{
    const struct lock_key *wanted = key;
    const struct lock *lock = fsm_lock_of_node(node);
    return fsm_compare_bytes(wanted->data, wanted->size, lock->key, lock->key_bytes);
}

int fsm_session_compare_id(const void *key, const struct tree_node *node)
{
    const uint64_t *id = key;
    const struct session *session = fsm_session_of_id_node(node);
    return (*id > session->id) - (*id < session->id);
}

int fsm_session_compare_digest(const void *key, const struct tree_node *node)
{
    return memcmp(key, fsm_session_of_digest_node(node)->digest, PROTO_DIGEST_BYTES);
}

/* ---- finding ---- */

const struct session *fsm_session_find(const struct fsm *fsm, uint64_t id)
{
    const struct tree_node *node = fsm_tree_find(&fsm->sessions, &id);
    return node == NULL ? NULL : fsm_session_of_id_node(node);
}

const struct session *fsm_session_find_digest(const struct fsm *fsm, const uint8_t *digest)
{
    const struct tree_node *node = fsm_tree_find(&fsm->digests, digest);
    return node == NULL ? NULL : fsm_session_of_digest_node(node);
}

const struct lock *fsm_lock_find(const struct fsm *fsm, struct proto_bytes key)
{
    struct lock_key wanted = {.data = key.data, .size = key.size};
    const struct tree_node *node = fsm_tree_find(&fsm->locks, &wanted);
    return node == NULL ? NULL : fsm_lock_of_node(node);
}

bool fsm_lock_has_waiters(const struct lock *lock)
{
    return lock->rest != NULL && lock->rest->waiters_count > 0;
}

bool fsm_session_alive(const struct fsm *fsm, const struct session *session)
{
    return !session->ended && session->deadline_ms > fsm->time_ms;
}

bool fsm_grant_alive(const struct fsm *fsm, const struct grant *grant)
{
    return fsm_session_alive(fsm, grant->session) && grant->own_deadline_ms > fsm->time_ms;
}

uint64_t fsm_grant_deadline(const struct grant *grant)
{
    uint64_t of_session_ms = grant->session->deadline_ms;
    return of_session_ms < grant->own_deadline_ms ? of_session_ms : grant->own_deadline_ms;
}

uint64_t fsm_deadline_after(const struct fsm *fsm, uint64_t ms)
{
    /* Time is at most FSM_TIME_MS_MAX and a duration at most PROTO_WAIT_MS_MAX: no overflow. */
    return ms == FSM_NEVER ? FSM_NEVER : fsm->time_ms + ms;
}

/* ---- sessions ---- */

struct session *fsm_session_create(struct fsm *fsm, uint64_t id)
{
    struct session *session = fsm_pool_take(&fsm->sessions_pool);
    session->id = id;
    fsm_object_born(fsm, &session->object, FSM_OBJECT_SESSION);
    bool is_new = fsm_tree_insert(&fsm->sessions, &id, &session->by_id);
    LOCKSTEP_ASSERT(is_new);
    return session;
}

void fsm_session_set_owner(struct fsm *fsm, struct session *session, struct proto_bytes owner)
{
    uint8_t *copy = fsm_copy(fsm, owner.data, owner.size);
    fsm_release(fsm, session->owner, session->owner_bytes);
    session->owner = copy;
    session->owner_bytes = owner.size;
}

void fsm_session_index(struct fsm *fsm, struct session *session)
{
    session->indexed = fsm_tree_insert(&fsm->digests, session->digest, &session->by_digest);
    LOCKSTEP_ASSERT(session->indexed);
}

void fsm_session_unindex(struct fsm *fsm, struct session *session)
{
    if (session->indexed) {
        fsm_tree_remove(&fsm->digests, &session->by_digest);
        session->indexed = false;
    }
}

void fsm_session_free(struct fsm *fsm, struct session *session)
{
    LOCKSTEP_ASSERT(session->grants_count == 0);
    LOCKSTEP_ASSERT(session->waits_count == 0);
    fsm_object_gone(fsm, &session->object);
    fsm_timer_stop(fsm, &session->timer);
    fsm_session_unindex(fsm, session);
    fsm_tree_remove(&fsm->sessions, &session->by_id);
    fsm_history_free(fsm, session);
    fsm_release(fsm, session->owner, session->owner_bytes);
    fsm_pool_give(&fsm->sessions_pool, session);
}

/* ---- locks ---- */

static struct pool *lock_pool(struct fsm *fsm, size_t key_bytes)
{
    size_t smallest = (offsetof(struct lock, key) + 7) / 8;
    size_t at = (offsetof(struct lock, key) + key_bytes + 7) / 8 - smallest;
    LOCKSTEP_ASSERT(at < FSM_LOCK_POOLS);
    return &fsm->locks_pool[at];
}

struct lock *fsm_lock_create(struct fsm *fsm, struct proto_bytes key)
{
    struct lock *lock = fsm_pool_take(lock_pool(fsm, key.size));
    lock->mode = PROTO_MODE_EXCLUSIVE;
    lock->key_bytes = (uint16_t)key.size;
    memcpy(lock->key, key.data, key.size);
    fsm_object_born(fsm, &lock->object, FSM_OBJECT_LOCK);
    struct lock_key wanted = {.data = key.data, .size = key.size};
    bool is_new = fsm_tree_insert(&fsm->locks, &wanted, &lock->node);
    LOCKSTEP_ASSERT(is_new);
    return lock;
}

struct lock_rest *fsm_lock_rest(struct fsm *fsm, struct lock *lock)
{
    if (lock->rest == NULL) {
        lock->rest = fsm_pool_take(&fsm->rests_pool);
        lock->rest->lock = lock;
    }
    return lock->rest;
}

static bool rest_unused(const struct lock_rest *rest)
{
    return rest->waiters_count == 0 && rest->delay_until_ms == 0 && rest->value == NULL &&
           rest->pending_number == 0;
}

void fsm_lock_trim(struct fsm *fsm, struct lock *lock)
{
    if (lock->rest != NULL && rest_unused(lock->rest)) {
        fsm_pool_give(&fsm->rests_pool, lock->rest);
        lock->rest = NULL;
    }
}

void fsm_lock_put_value(struct fsm *fsm, struct lock *lock, const void *value, uint32_t size)
{
    if (size == 0 && lock->rest == NULL) {
        return;
    }
    struct lock_rest *rest = fsm_lock_rest(fsm, lock);
    uint8_t *copy = fsm_copy(fsm, value, size);
    fsm_release(fsm, rest->value, rest->value_bytes);
    rest->value = copy;
    rest->value_bytes = size;
    fsm_lock_trim(fsm, lock);
}

bool fsm_lock_unused(const struct lock *lock)
{
    return lock->grants == NULL && (lock->rest == NULL || rest_unused(lock->rest));
}

void fsm_lock_free(struct fsm *fsm, struct lock *lock)
{
    LOCKSTEP_ASSERT(fsm_lock_unused(lock));
    fsm_lock_trim(fsm, lock);
    fsm_object_gone(fsm, &lock->object);
    fsm_tree_remove(&fsm->locks, &lock->node);
    fsm_lock_discard(fsm, lock);
}

void fsm_lock_discard(struct fsm *fsm, struct lock *lock)
{
    fsm_pool_give(lock_pool(fsm, lock->key_bytes), lock);
}

void fsm_pending_append(struct fsm *fsm, struct lock *lock)
{
    struct lock_rest *rest = lock->rest;
    rest->pending_next = NULL;
    rest->pending_previous = fsm->pending_last;
    if (fsm->pending_last != NULL) {
        fsm->pending_last->rest->pending_next = lock;
    } else {
        fsm->pending_first = lock;
    }
    fsm->pending_last = lock;
}

void fsm_pending_remove(struct fsm *fsm, struct lock *lock)
{
    struct lock_rest *rest = lock->rest;
    if (rest->pending_previous != NULL) {
        rest->pending_previous->rest->pending_next = rest->pending_next;
    } else {
        fsm->pending_first = rest->pending_next;
    }
    if (rest->pending_next != NULL) {
        rest->pending_next->rest->pending_previous = rest->pending_previous;
    } else {
        fsm->pending_last = rest->pending_previous;
    }
    rest->pending_number = 0;
}

/* ---- grants ---- */

void fsm_grant_link(struct fsm *fsm, struct lock *lock, struct grant *grant)
{
    grant->lock = lock;
    if (lock->grants == NULL) {
        grant->lock_next = grant;
        grant->lock_previous = grant;
        lock->grants = grant;
    } else {
        grant->lock_next = lock->grants;
        grant->lock_previous = lock->grants->lock_previous;
        grant->lock_previous->lock_next = grant;
        lock->grants->lock_previous = grant;
    }
    lock->holders_count++;
    lock->permits_used = (uint16_t)(lock->permits_used + grant->permits);
    fsm->grants_count++;
}

void fsm_grant_link_session(struct fsm *fsm, struct grant *grant, struct session *session)
{
    grant->session = session;
    grant->session_next = NULL;
    grant->session_previous = session->grants_last;
    if (session->grants_last != NULL) {
        session->grants_last->session_next = grant;
    } else {
        session->grants_first = grant;
    }
    session->grants_last = grant;
    session->grants_count++;
    fsm_crowd_join(fsm, grant);
}

static void grant_unlink_session(struct grant *grant)
{
    struct session *session = grant->session;
    if (grant->session_previous != NULL) {
        grant->session_previous->session_next = grant->session_next;
    } else {
        session->grants_first = grant->session_next;
    }
    if (grant->session_next != NULL) {
        grant->session_next->session_previous = grant->session_previous;
    } else {
        session->grants_last = grant->session_previous;
    }
    session->grants_count--;
}

void fsm_grant_free(struct fsm *fsm, struct grant *grant)
{
    struct lock *lock = grant->lock;
    fsm_crowd_leave(fsm, grant);
    lock->permits_used = (uint16_t)(lock->permits_used - grant->permits);
    lock->holders_count--;
    if (lock->holders_count == 0) {
        lock->grants = NULL;
    } else {
        grant->lock_previous->lock_next = grant->lock_next;
        grant->lock_next->lock_previous = grant->lock_previous;
        lock->grants = lock->grants == grant ? grant->lock_next : lock->grants;
    }
    if (grant->session != NULL) { /* NULL only while a restore is given up */
        grant_unlink_session(grant);
    }
    fsm_timer_stop(fsm, &grant->timer);
    fsm->grants_count--;
    fsm_pool_give(&fsm->grants_pool, grant);
}

/* ---- waiters ---- */

void fsm_waiter_link(struct fsm *fsm, struct lock *lock, struct waiter *waiter)
{
    struct lock_rest *rest = fsm_lock_rest(fsm, lock);
    waiter->lock = lock;
    if (rest->queue == NULL) {
        waiter->next = waiter;
        waiter->previous = waiter;
        rest->queue = waiter;
    } else {
        waiter->next = rest->queue;
        waiter->previous = rest->queue->previous;
        waiter->previous->next = waiter;
        rest->queue->previous = waiter;
    }
    rest->waiters_count++;
    rest->permit_waiters += waiter->mode == PROTO_MODE_PERMITS;
    rest->waiting_bytes += waiter->value_bytes;
    fsm->waiters_count++;
}

void fsm_waiter_free(struct fsm *fsm, struct waiter *waiter)
{
    struct lock_rest *rest = waiter->lock->rest;
    rest->waiters_count--;
    rest->permit_waiters -= waiter->mode == PROTO_MODE_PERMITS;
    rest->waiting_bytes -= waiter->value_bytes;
    if (rest->waiters_count == 0) {
        rest->queue = NULL;
    } else {
        waiter->previous->next = waiter->next;
        waiter->next->previous = waiter->previous;
        rest->queue = rest->queue == waiter ? waiter->next : rest->queue;
    }
    fsm_timer_stop(fsm, &waiter->timer);
    fsm_release(fsm, waiter->value, waiter->value_bytes);
    fsm->waiters_count--;
    fsm_pool_give(&fsm->waiters_pool, waiter);
}
