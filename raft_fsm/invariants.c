/* Every rule that must hold between two entries, in one pass over the state. Each check names the rule of the file that
 * keeps it. After a restore a broken one refuses the snapshot; otherwise it is a programmer's error
 * (fsm_check_invariants).
 *
 * The pass goes in portions, for a restore beside a loop that serves; the state must not change between two of them:
 *
 *   sessions (one after the other: itself, then its grants) -> locks -> ended sessions -> pending locks -> heap -> counts
 *
 * The check of a restored state also gives each object its hash (D2), as it makes the image anyway. */
#include <stdlib.h>
#include <string.h>

#include "raft_fsm/state.h"

/* What is counted on the way, to be compared with the counters. */
struct census {
    uint64_t work; /* parts looked at, for the portions */
    uint64_t grants;
    uint64_t seats;
    uint64_t waiters;
    uint64_t timers;
    uint64_t ended;
    uint64_t indexed;
    uint64_t pending;
    uint64_t dirty;
    uint64_t digest_sum;
};

static uint64_t next_token(const struct fsm *fsm)
{
    return fsm->epoch << FSM_TOKEN_COUNTER_BITS | fsm->counter;
}

static bool timer_sound(const struct timer *timer, bool has_deadline)
{
    return (timer->slot != 0) == has_deadline;
}

static uint64_t hash_of(struct fsm *fsm, const struct object *object, struct census *census)
{
    proto_buffer_clear(&fsm->image);
    fsm_image_object(object, &fsm->image);
    census->work += fsm->image.size / 256;
    return fsm_image_hash(fsm->image.data, fsm->image.size);
}

static const char *check_object(struct fsm *fsm, struct object *object, struct census *census)
{
    if (fsm->restoring) {
        object->hash = hash_of(fsm, object, census);
        fsm->digest_sum += object->hash;
    }
    census->digest_sum += object->hash;
    if (fsm->restoring) {
        return NULL;
    }
    if (object->dirty_slot != 0) {
        census->dirty++;
        return object->dirty_slot <= fsm->dirty_count && fsm->dirty[object->dirty_slot - 1] == object
                   ? NULL
                   : "D3: a changed object is not where it says";
    }
    return hash_of(fsm, object, census) == object->hash
               ? NULL
               : "D2, C2: an object changed without passing through change.c";
}

/* ---- sessions ---- */

static const char *check_window(const struct fsm *fsm, const struct session *session)
{
    uint32_t waits = 0;
    const struct window *window = &session->window;
    if (window->count > FSM_WINDOW_REPLIES_MAX) {
        return "W4: a window has more records than it may";
    }
    for (uint32_t i = 0; i < window->count; i++) {
        const struct record *record = &window->list[i];
        bool queued = record->answer.status == PROTO_STATUS_QUEUED;
        waits += queued;
        if (i > 0 && window->list[i - 1].request_id >= record->request_id) {
            return "W1: a window is not in order";
        }
        if (!queued && (record->request_id <= session->ack_floor || session->ended)) {
            return "W2: an answer is remembered below the floor or after the session's end";
        }
        if (record->request_id > session->last_request_id || record->time_ms > fsm->time_ms) {
            return "R4: a record is later than the session or the state";
        }
        if (queued && (record->answer.waiter->session != session ||
                       record->answer.waiter->request_id != record->request_id)) {
            return "W3: a record and its waiter do not agree";
        }
    }
    return waits == session->waits_count ? NULL : "W3: the number of waits of a session is wrong";
}

static const char *check_session(struct fsm *fsm, const struct session *session, struct census *census)
{
    if (session->id == 0 || session->id >= fsm->next_session_id) {
        return "S5: a session's id was never given";
    }
    if (!timer_sound(&session->timer, !session->ended)) {
        return "H3: a session's timer does not run as it should";
    }
    if (session->ended &&
        (session->indexed || session->ended_number == 0 || session->ended_ms > fsm->time_ms ||
         session->ended_number >= fsm->next_work_number)) {
        return "E1: a session's end is not as it should be";
    }
    if (!session->indexed && fsm_session_alive(fsm, session)) {
        return "S3: a live session is not found by its digest";
    }
    if (session->deadline_ms > fsm->time_ms + PROTO_TTL_MS_MAX) {
        return "S2: a session's deadline lies too far ahead";
    }
    census->timers += !session->ended;
    census->ended += session->ended;
    census->indexed += session->indexed;
    census->work += 1 + session->window.count / 16;
    return check_window(fsm, session);
}

/* ---- locks ---- */

static const char *check_grant(const struct fsm *fsm, const struct lock *lock, const struct grant *grant)
{
    if (grant->lock != lock || grant->session == NULL || grant->lock_next->lock_previous != grant) {
        return "O1: a lock's ring of grants is broken";
    }
    if (grant->token < lock->fence || grant->token >= next_token(fsm)) {
        return "L5: a token is not of its period, or was never given";
    }
    if (lock->holders_count > FSM_CROWD && !grant->seated && fsm_grant_alive(fsm, grant)) {
        return "B1: a live grant of a crowded lock has no seat";
    }
    if (grant->holds == 0 || grant->holds > FSM_HOLDS_MAX) {
        return "L3: a grant is held too often or not at all";
    }
    if ((grant->permits != 0) != (lock->mode == PROTO_MODE_PERMITS)) {
        return "L1: permits where there are none, or none where there are";
    }
    if (!timer_sound(&grant->timer, grant->own_deadline_ms != FSM_NEVER)) {
        return "H3: a grant's timer does not run as it should";
    }
    return grant->own_deadline_ms == FSM_NEVER || grant->own_deadline_ms <= fsm->time_ms + PROTO_TTL_MS_MAX
               ? NULL
               : "L6: a grant's deadline lies too far ahead";
}

static const char *check_grants(const struct fsm *fsm, const struct lock *lock, struct census *census)
{
    const struct grant *grant = lock->grants;
    uint64_t token = 0;
    uint64_t permits = 0;
    for (uint32_t i = 0; i < lock->holders_count; i++, grant = grant->lock_next) {
        const char *broken = check_grant(fsm, lock, grant);
        if (broken != NULL) {
            return broken;
        }
        if (grant->token <= token) {
            return "O1: a lock's grants are not in order of token";
        }
        token = grant->token;
        permits += grant->permits;
        census->timers += grant->own_deadline_ms != FSM_NEVER;
        census->seats += grant->seated;
    }
    census->work += lock->holders_count;
    census->grants += lock->holders_count;
    if (grant != lock->grants || permits != lock->permits_used) {
        return "O1: a lock's holders or permits are not what is counted";
    }
    return NULL;
}

/* What the number and the mode of the holders allow. */
static const char *check_mode(const struct lock *lock)
{
    bool permit_waiters = lock->rest != NULL && lock->rest->permit_waiters > 0;
    bool permits = lock->grants != NULL && lock->mode == PROTO_MODE_PERMITS;
    if ((lock->grants == NULL) != (lock->holders_count == 0) ||
        lock->holders_count > FSM_HOLDERS_PER_LOCK_MAX) {
        return "O1: a lock's number of holders is not possible";
    }
    if (lock->grants == NULL && (lock->mode != PROTO_MODE_EXCLUSIVE || lock->fence != 0)) {
        return "O4: a free lock has a mode or a fence";
    }
    if ((lock->limit != 0) != (permit_waiters || permits)) {
        return "O4: a limit that nobody asked for, or none where one was";
    }
    if (lock->grants != NULL && lock->fence == 0) {
        return "L5: a held lock has no fence";
    }
    if (lock->grants != NULL && lock->mode == PROTO_MODE_EXCLUSIVE &&
        (lock->holders_count != 1 || lock->fence != lock->grants->token)) {
        return "L1, L5: an exclusive lock has two holders, or a fence that is not its token";
    }
    return permits && lock->permits_used > lock->limit ? "L1: more permits are held than there are" : NULL;
}

static const char *check_waiter(const struct fsm *fsm, const struct lock *lock, const struct waiter *waiter)
{
    if (waiter->lock != lock || waiter->session == NULL || waiter->next->previous != waiter) {
        return "O2: a lock's queue is broken";
    }
    const struct record *record = fsm_history_find(waiter->session, waiter->request_id);
    if (record == NULL || record->answer.status != PROTO_STATUS_QUEUED || record->answer.waiter != waiter) {
        return "W3: a waiter is not in its session's window";
    }
    bool permits = waiter->mode == PROTO_MODE_PERMITS;
    if (permits ? waiter->permits == 0 || waiter->permits > waiter->limit || waiter->limit != lock->limit
                : waiter->permits != 0 || waiter->limit != 0) {
        return "L7: a waiter's permits or limit do not fit";
    }
    if (waiter->deadline_ms != FSM_NEVER && waiter->deadline_ms > fsm->time_ms + PROTO_WAIT_MS_MAX) {
        return "X1: a wait's deadline lies too far ahead";
    }
    return timer_sound(&waiter->timer, waiter->deadline_ms != FSM_NEVER)
               ? NULL
               : "H3: a waiter's timer does not run as it should";
}

static const char *check_queue(const struct fsm *fsm, const struct lock *lock, struct census *census)
{
    const struct lock_rest *rest = lock->rest;
    const struct waiter *waiter = rest->queue;
    uint32_t permit_waiters = 0;
    uint64_t waiting_bytes = 0;
    for (uint32_t i = 0; i < rest->waiters_count; i++, waiter = waiter->next) {
        const char *broken = check_waiter(fsm, lock, waiter);
        if (broken != NULL) {
            return broken;
        }
        permit_waiters += waiter->mode == PROTO_MODE_PERMITS;
        waiting_bytes += waiter->value_bytes;
        census->timers += waiter->deadline_ms != FSM_NEVER;
    }
    census->work += rest->waiters_count;
    census->waiters += rest->waiters_count;
    if (waiter != rest->queue || permit_waiters != rest->permit_waiters ||
        rest->waiters_count > FSM_WAITERS_PER_LOCK_MAX || waiting_bytes != rest->waiting_bytes ||
        waiting_bytes > FSM_WAITING_BYTES_PER_LOCK_MAX) {
        return "O2: a lock's waiters are not what is counted";
    }
    return NULL;
}

static const char *check_rest(const struct fsm *fsm, const struct lock *lock, struct census *census)
{
    const struct lock_rest *rest = lock->rest;
    bool delayed = rest->delay_until_ms != 0;
    if (rest->lock != lock || (rest->queue == NULL) != (rest->waiters_count == 0)) {
        return "O2: a lock's queue is not there, or empty";
    }
    if (rest->waiters_count == 0 && !delayed && rest->value == NULL && rest->pending_number == 0) {
        return "O3: a lock keeps memory that nothing uses";
    }
    if (delayed && lock->grants != NULL) {
        return "G5: a lock is held while its delay runs";
    }
    if (!timer_sound(&rest->delay_timer, delayed)) {
        return "H3: a delay's timer does not run as it should";
    }
    if (rest->pending_number >= fsm->next_work_number || (rest->pending_number != 0 && rest->queue == NULL)) {
        return "G4: a lock is pending for nothing";
    }
    census->timers += delayed;
    census->pending += rest->pending_number != 0;
    const char *broken = check_queue(fsm, lock, census);
    if (broken != NULL || rest->queue == NULL || rest->pending_number != 0) {
        return broken;
    }
    struct grant_wish wish = fsm_waiter_wish(rest->queue);
    return fsm_lock_admits(lock, &wish) ? "G6: the first in the queue could have been granted" : NULL;
}

static const char *check_lock(const struct fsm *fsm, const struct lock *lock, struct census *census)
{
    census->work++;
    if (fsm_lock_unused(lock)) {
        return "L9: a lock is kept that nobody uses";
    }
    const char *broken = check_mode(lock);
    if (broken == NULL) {
        broken = check_grants(fsm, lock, census);
    }
    return broken != NULL || lock->rest == NULL ? broken : check_rest(fsm, lock, census);
}

/* ---- the whole ---- */

enum check_phase {
    CHECK_BEGIN,
    CHECK_SESSIONS,
    CHECK_LOCKS,
    CHECK_ENDING,
    CHECK_PENDING,
    CHECK_TIMERS,
    CHECK_COUNTS,
    CHECK_DONE,
};

struct fsm_check {
    struct fsm *fsm;
    enum check_phase phase;
    struct census census;
    struct tree_walk walk; /* of the sessions, or the locks */
    uint64_t sessions_count, locks_count;
    const struct session *session; /* the last one the walk gave; NULL: none */
    const struct grant *grant;     /* of its list, the next one; NULL: it was looked through */
    bool in_grants;
    uint64_t grants_count;             /* of its list, so far */
    uint64_t token;                    /* the last one there */
    const struct lock *lock;           /* the last one the walk gave */
    const struct session *ending_next; /* the next one of each list */
    const struct lock *pending_next;
    uint64_t number; /* the last one of either */
    uint64_t ending_count, pending_count;
    uint32_t timer; /* the next one of the heap */
};

static const char *check_session_grant(struct fsm_check *check)
{
    const struct session *session = check->session;
    const struct grant *grant = check->grant;
    check->census.work++;
    if (grant == NULL) {
        check->in_grants = false;
        return check->grants_count == session->grants_count ? NULL
                                                            : "O1: the number of a session's grants is wrong";
    }
    if (grant->session != session || grant->token <= check->token) {
        return "O1: a session's grants are not in order of token";
    }
    if (grant->session_next == NULL && grant != session->grants_last) {
        return "O1: a session's list of grants has another end";
    }
    check->token = grant->token;
    check->grants_count++;
    check->grant = grant->session_next;
    return NULL;
}

static const char *begin_locks(struct fsm_check *check)
{
    fsm_tree_walk(&check->walk, &check->fsm->locks, NULL, true);
    check->phase = CHECK_LOCKS;
    return check->sessions_count == check->fsm->sessions.count ? NULL : "T3: the number of sessions is wrong";
}

static const char *check_next_session(struct fsm_check *check)
{
    if (check->in_grants) {
        return check_session_grant(check);
    }
    struct tree_node *node = fsm_tree_next(&check->walk);
    if (node == NULL) {
        return begin_locks(check);
    }
    struct session *session = fsm_session_of_id_node(node);
    if (check->session != NULL && session->id <= check->session->id) {
        return "T1: the sessions are not in order";
    }
    check->session = session;
    check->sessions_count++;
    check->in_grants = true;
    check->grant = session->grants_first;
    check->grants_count = 0;
    check->token = 0;
    const char *broken = check_session(check->fsm, session, &check->census);
    return broken != NULL ? broken : check_object(check->fsm, &session->object, &check->census);
}

static const char *begin_lists(struct fsm_check *check)
{
    check->ending_next = check->fsm->ending_first;
    check->pending_next = check->fsm->pending_first;
    check->phase = CHECK_ENDING;
    return check->locks_count == check->fsm->locks.count ? NULL : "T3: the number of locks is wrong";
}

static const char *check_next_lock(struct fsm_check *check)
{
    struct tree_node *node = fsm_tree_next(&check->walk);
    if (node == NULL) {
        return begin_lists(check);
    }
    struct lock *lock = fsm_lock_of_node(node);
    const struct lock *before = check->lock;
    if (before != NULL &&
        fsm_compare_bytes(before->key, before->key_bytes, lock->key, lock->key_bytes) >= 0) {
        return "T1: the locks are not in order";
    }
    check->lock = lock;
    check->locks_count++;
    const char *broken = check_lock(check->fsm, lock, &check->census);
    return broken != NULL ? broken : check_object(check->fsm, &lock->object, &check->census);
}

static const char *check_next_ending(struct fsm_check *check)
{
    const struct session *session = check->ending_next;
    check->census.work++;
    if (session == NULL) {
        check->phase = CHECK_PENDING;
        check->number = 0;
        return NULL;
    }
    if (!session->ended || session->ended_number <= check->number) {
        return "E2: the ended sessions are not in order";
    }
    check->number = session->ended_number;
    check->ending_count++;
    check->ending_next = session->ending_next;
    return NULL;
}

static const char *check_next_pending(struct fsm_check *check)
{
    const struct lock *lock = check->pending_next;
    check->census.work++;
    if (lock == NULL) {
        check->phase = CHECK_TIMERS;
        return NULL;
    }
    if (lock->rest->pending_number <= check->number) {
        return "G4: the pending locks are not in order";
    }
    check->number = lock->rest->pending_number;
    check->pending_count++;
    check->pending_next = lock->rest->pending_next;
    return NULL;
}

static const char *check_next_timer(struct fsm_check *check)
{
    check->census.work++;
    if (check->timer == check->fsm->timers.count) {
        check->phase = CHECK_COUNTS;
        return NULL;
    }
    return fsm_timer_entry_sound(&check->fsm->timers, check->timer++)
               ? NULL
               : "H1, H2, H3: the heap of deadlines is not in order";
}

static const char *check_counts(struct fsm_check *check)
{
    const struct fsm *fsm = check->fsm;
    const struct census *census = &check->census;
    check->phase = CHECK_DONE;
    if (check->ending_count != census->ended || check->ending_count != fsm->ending_count ||
        check->pending_count != census->pending) {
        return "E2, G4: unfinished work is not in its list";
    }
    if (census->grants != fsm->grants_count || census->waiters != fsm->waiters_count) {
        return "O1, O2: the number of grants or waiters is wrong";
    }
    if (census->seats != fsm->crowd.by_token.count) {
        return "B1: there are seats without a grant, or grants without their seat";
    }
    if (census->indexed != fsm->digests.count || census->timers != fsm->timers.count) {
        return "S3, H3: an index or the heap has something that is not there";
    }
    if (census->digest_sum != fsm->digest_sum || census->dirty != fsm->dirty_count) {
        return "D1: the digest is not the sum over the objects";
    }
    return fsm->sessions.count > FSM_SESSIONS_MAX || fsm->locks.count > FSM_LOCKS_MAX
               ? "limits.h: more sessions or locks than there may be"
               : NULL;
}

static const char *check_next(struct fsm_check *check)
{
    switch (check->phase) {
    case CHECK_BEGIN:
        fsm_tree_walk(&check->walk, &check->fsm->sessions, NULL, true);
        check->phase = CHECK_SESSIONS;
        return NULL;
    case CHECK_SESSIONS:
        return check_next_session(check);
    case CHECK_LOCKS:
        return check_next_lock(check);
    case CHECK_ENDING:
        return check_next_ending(check);
    case CHECK_PENDING:
        return check_next_pending(check);
    case CHECK_TIMERS:
        return check_next_timer(check);
    case CHECK_COUNTS:
        return check_counts(check);
    case CHECK_DONE:
        break;
    }
    return NULL;
}

struct fsm_check *fsm_check_begin(struct fsm *fsm)
{
    struct fsm_check *check = calloc(1, sizeof *check);
    LOCKSTEP_ASSERT(check != NULL);
    check->fsm = fsm;
    return check;
}

bool fsm_check_step(struct fsm_check *check, uint64_t *work, const char **ret_broken)
{
    const char *broken = NULL;
    check->census.work = 0;
    while (broken == NULL && check->phase != CHECK_DONE && check->census.work < *work) {
        broken = check_next(check);
    }
    *work -= check->census.work < *work ? check->census.work : *work;
    *ret_broken = broken;
    return broken == NULL && check->phase != CHECK_DONE;
}

void fsm_check_end(struct fsm_check *check)
{
    free(check);
}

const char *fsm_invariant_broken(struct fsm *fsm)
{
    const char *broken = NULL;
    uint64_t work = UINT64_MAX;
    fsm_tree_check(&fsm->sessions);
    fsm_tree_check(&fsm->digests);
    fsm_tree_check(&fsm->locks);
    fsm_crowd_check(&fsm->crowd);
    struct fsm_check check = {.fsm = fsm}; /* on the stack: this runs after entries, which allocate nothing */
    bool more = fsm_check_step(&check, &work, &broken);
    LOCKSTEP_ASSERT(!more);
    return broken;
}

void fsm_check_invariants(struct fsm *fsm)
{
    const char *broken = fsm_invariant_broken(fsm);
    if (broken != NULL) {
        lockstep_assert_failed(broken, __FILE__, __LINE__, __func__);
    }
}
