/* Owns how a lock goes to the next in line, and the lock-delay that keeps it from going.
 *
 *   G1  Whatever frees a lock or changes who is first in its queue (release, expiry, forced release, kill, cancel, a wait
 *       that ended, the end of a delay) hands the lock on in the same entry.
 *   G2  Strictly first come, first served: from the front as many as the mode admits together, never one behind
 *       another that has to stay.
 *   G3  Granted is only who is alive: at the front, a wait whose own deadline or whose session's has passed ends, as
 *       the earlier of the two says. One that can never be admitted is refused.
 *   G4  One entry grants or ends at most FSM_HAND_ONS_PER_ENTRY waiters here, and one more for each lock handed on, so
 *       that the end of an exclusive grant before a crowd of shared waiters does not stall a node. What is left goes
 *       on in the entries that follow, in the order in which the locks ran out of their share, and with a share of its
 *       own, as large; fsm_next_due() asks for them. Until then who arrives queues behind.
 *   G5  A lock-delay closes a lock for everyone but a session with the key of the client that held it: that one is granted
 *       at once, past the queue, and ends the delay: it is the same client, back after its session expired. If it waits
 *       already, because it was back before the expiry of its session had its turn (X3), it is granted then.
 *   G6  The front of the queue could not be granted, unless the lock is pending (G4).
 *
 *   free <-> held --expiry of the session, with lock-delay--> delayed --its end--> free, handed on
 *        --the same, its client waits again--> held               +--acquire by the same client--> held */
#include <string.h>

#include "raft_fsm/state.h"

static void grant_to(struct fsm *fsm, struct lock *lock, struct waiter *waiter, const struct grant_wish *wish)
{
    struct grant *grant = fsm_grant_create(fsm, lock, waiter->session, wish);
    if (waiter->has_value) {
        fsm_lock_put_value(fsm, lock, waiter->value, waiter->value_bytes);
    }
    struct answer answer = {.kind = PROTO_LOCK_ACQUIRE};
    fsm_answer_grant(grant, &answer);
    fsm_waiter_end(fsm, waiter, &answer);
}

/* ---- lock-delay ---- */

/* G5: the client whose session has ended is back already, and waits behind the grant that it has lost. Its window is
 * looked through, not the queue: that may be much longer. */
static struct waiter *waiter_of_client(const struct fsm *fsm, const struct lock *lock, const uint8_t *digest)
{
    const struct session *session = fsm_session_find_digest(fsm, digest);
    bool waits = session != NULL && fsm_session_alive(fsm, session) && session->waits_count > 0;
    for (uint32_t i = 0; waits && i < session->window.count; i++) {
        const struct answer *answer = &session->window.list[i].answer;
        if (answer->status == PROTO_STATUS_QUEUED && answer->waiter->lock == lock &&
            answer->waiter->deadline_ms > fsm->time_ms) {
            return answer->waiter;
        }
    }
    return NULL;
}

void fsm_lock_delay_begin(struct fsm *fsm, struct lock *lock, const struct session *session)
{
    uint64_t until_ms = session->ended_ms + session->lock_delay_ms;
    if (until_ms <= fsm->time_ms) {
        return;
    }
    LOCKSTEP_ASSERT(lock->grants == NULL);
    struct waiter *back = waiter_of_client(fsm, lock, session->digest);
    if (back != NULL) {
        struct grant_wish wish = fsm_waiter_wish(back);
        grant_to(fsm, lock, back, &wish);
        return;
    }
    struct lock_rest *rest = fsm_lock_rest(fsm, lock);
    rest->delay_until_ms = until_ms;
    rest->delay_session_id = session->id;
    memcpy(rest->delay_digest, session->digest, sizeof rest->delay_digest);
    fsm_timer_set(fsm, &rest->delay_timer, FSM_TIMER_DELAY);
}

void fsm_lock_delay_end(struct fsm *fsm, struct lock *lock)
{
    struct lock_rest *rest = lock->rest;
    fsm_timer_stop(fsm, &rest->delay_timer);
    rest->delay_until_ms = 0;
    rest->delay_session_id = 0;
    memset(rest->delay_digest, 0, sizeof rest->delay_digest);
    fsm_lock_trim(fsm, lock);
}

bool fsm_lock_delay_is_of(const struct lock *lock, const struct session *session)
{
    return lock->rest != NULL && lock->rest->delay_until_ms != 0 &&
           memcmp(lock->rest->delay_digest, session->digest, sizeof session->digest) == 0;
}

/* ---- handing on ---- */

/* G3: OK if the waiter may be granted, else how it ends. */
static enum proto_status dead_status(const struct fsm *fsm, const struct waiter *waiter)
{
    const struct session *session = waiter->session;
    bool timed_out = waiter->deadline_ms <= fsm->time_ms;
    if (session->ended) {
        return PROTO_STATUS_SESSION_EXPIRED;
    }
    if (timed_out && waiter->deadline_ms < session->deadline_ms) {
        return PROTO_STATUS_TIMED_OUT;
    }
    return fsm_session_alive(fsm, session) ? PROTO_STATUS_OK : PROTO_STATUS_SESSION_EXPIRED;
}

static bool can_never_be_admitted(const struct lock *lock, const struct grant_wish *wish)
{
    return lock->limit != 0 && wish->limit != 0 && lock->limit != wish->limit;
}

/* One step at the front of the queue. @return false if the front has to stay. */
static bool step(struct fsm *fsm, struct lock *lock)
{
    struct waiter *waiter = lock->rest->queue;
    struct grant_wish wish = fsm_waiter_wish(waiter);
    enum proto_status status = dead_status(fsm, waiter);
    if (status != PROTO_STATUS_OK) {
        fsm_waiter_end_status(fsm, waiter, status);
    } else if (can_never_be_admitted(lock, &wish)) {
        fsm_waiter_end_status(fsm, waiter, PROTO_STATUS_REFUSED);
    } else if (fsm_lock_admits(lock, &wish)) {
        grant_to(fsm, lock, waiter, &wish);
    } else {
        return false;
    }
    return true;
}

static void set_pending(struct fsm *fsm, struct lock *lock)
{
    if (lock->rest->pending_number == 0) {
        lock->rest->pending_number = fsm->next_work_number;
        fsm->next_work_number++;
        fsm_pending_append(fsm, lock);
    }
}

static void set_finished(struct fsm *fsm, struct lock *lock)
{
    if (lock->rest != NULL && lock->rest->pending_number != 0) {
        fsm_pending_remove(fsm, lock);
        fsm_lock_trim(fsm, lock);
    }
}

void fsm_lock_hand_on(struct fsm *fsm, struct lock *lock)
{
    bool first = true;
    while (fsm_lock_has_waiters(lock)) {
        if (!first && fsm->hand_ons_left == 0) {
            set_pending(fsm, lock);
            return;
        }
        if (!step(fsm, lock)) {
            break;
        }
        fsm->hand_ons_left -= !first;
        first = false;
    }
    set_finished(fsm, lock);
    if (fsm_lock_unused(lock)) {
        fsm_lock_free(fsm, lock);
    }
}

void fsm_pending_run(struct fsm *fsm)
{
    /* A share of its own: what this entry's expiries and commands free does not starve these, nor they it. */
    uint32_t share = fsm->hand_ons_left;
    fsm->hand_ons_left = FSM_HAND_ONS_PER_ENTRY;
    while (fsm->pending_first != NULL && fsm->hand_ons_left > 0) {
        fsm->hand_ons_left--; /* The first step too: behind a crowd many locks may have gathered that take one. */
        fsm_lock_hand_on(fsm, fsm_lock_change(fsm, fsm->pending_first));
    }
    fsm->hand_ons_left = share;
}
