/* Owns the canonical image of an object: the bytes that are hashed for the digest and written to a snapshot. The same
 * state gives the same bytes on every replica; nothing here depends on addresses, on the order of arrival inside a
 * tree, or on what is only kept for speed. A change of any of these layouts is a new FSM_STATE_VERSION.
 *
 *   globals  [0, version, time, epoch, counter, next session id, next work number]
 *   session  [1, id, owner, ttl, deadline, lock-delay, digest, ack floor, last request id, ended, [record …]]
 *            ended: nil, or [reason, time, work number]
 *            record, in order of id: [request id, time, kind, status, detail, …]; what follows depends on the answer
 *              acquire, extend OK: token, fence, deadline, holds     renew OK: ttl, deadline
 *              release OK: holds                                     others OK: nothing
 *              HELD: session id, owner, token, fence, mode, permits, holds, remaining
 *              other refusals: retry after
 *            A request that waits is not here: the lock's image has its waiter.
 *   lock     [2, key, mode, limit, fence, work number, delay, value, [grant …], [waiter …]]
 *            delay: nil, or [until, session id, digest]     value: nil or bytes
 *            grant, in order of token: [token, session id, own deadline, holds, permits]
 *            waiter, in order of the queue:
 *              [session id, request id, deadline, ttl, mode, permits, limit, value]    value: nil or bytes
 *
 * All numbers are unsigned, a deadline that does not exist is 2^64 - 1, texts and digests are bin. */
#include "protocol/pack.h"
#include "raft_fsm/state.h"

static void pack_bytes(struct proto_buffer *out, const void *data, size_t size)
{
    pack_binary(out, (struct proto_bytes){.data = data, .size = (uint32_t)size});
}

void fsm_image_globals(const struct fsm *fsm, struct proto_buffer *out)
{
    pack_array(out, 7);
    pack_uint(out, 0);
    pack_uint(out, FSM_STATE_VERSION);
    pack_uint(out, fsm->time_ms);
    pack_uint(out, fsm->epoch);
    pack_uint(out, fsm->counter);
    pack_uint(out, fsm->next_session_id);
    pack_uint(out, fsm->next_work_number);
    LOCKSTEP_ASSERT(!out->failed);
}

/* ---- session ---- */

static void pack_holder(struct proto_buffer *out, const struct proto_holder *holder)
{
    pack_uint(out, holder->session_id);
    pack_bytes(out, holder->owner.data, holder->owner.size);
    pack_uint(out, holder->token);
    pack_uint(out, holder->fence);
    pack_uint(out, (uint64_t)holder->mode);
    pack_uint(out, holder->permits);
    pack_uint(out, holder->holds);
    pack_uint(out, holder->remaining_ms);
}

static void pack_record_head(struct proto_buffer *out, const struct record *record, size_t more)
{
    pack_array(out, 5 + more);
    pack_uint(out, record->request_id);
    pack_uint(out, record->time_ms);
    pack_uint(out, record->answer.kind);
    pack_uint(out, record->answer.status);
    pack_uint(out, record->answer.detail);
}

static void pack_record_ok(struct proto_buffer *out, const struct record *record)
{
    const struct answer *answer = &record->answer;
    switch ((enum proto_kind)answer->kind) {
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        pack_record_head(out, record, 4);
        pack_uint(out, answer->grant.token);
        pack_uint(out, answer->grant.fence);
        pack_uint(out, answer->grant.deadline_ms);
        pack_uint(out, answer->holds);
        break;
    case PROTO_SESSION_RENEW:
        pack_record_head(out, record, 2);
        pack_uint(out, answer->session.ttl_ms);
        pack_uint(out, answer->session.deadline_ms);
        break;
    case PROTO_LOCK_RELEASE:
        pack_record_head(out, record, 1);
        pack_uint(out, answer->holds);
        break;
    default:
        pack_record_head(out, record, 0);
        break;
    }
}

static void pack_record(struct proto_buffer *out, const struct record *record)
{
    switch ((enum proto_status)record->answer.status) {
    case PROTO_STATUS_OK:
        pack_record_ok(out, record);
        break;
    case PROTO_STATUS_HELD:
        pack_record_head(out, record, 8);
        pack_holder(out, record->answer.holder);
        break;
    default:
        pack_record_head(out, record, 1);
        pack_uint(out, record->answer.retry_after_ms);
        break;
    }
}

static void image_session(const struct session *session, struct proto_buffer *out)
{
    pack_array(out, 11);
    pack_uint(out, FSM_OBJECT_SESSION);
    pack_uint(out, session->id);
    pack_bytes(out, session->owner, session->owner_bytes);
    pack_uint(out, session->ttl_ms);
    pack_uint(out, session->deadline_ms);
    pack_uint(out, session->lock_delay_ms);
    pack_bytes(out, session->digest, sizeof session->digest);
    pack_uint(out, session->ack_floor);
    pack_uint(out, session->last_request_id);
    if (session->ended) {
        pack_array(out, 3);
        pack_uint(out, session->ended_reason);
        pack_uint(out, session->ended_ms);
        pack_uint(out, session->ended_number);
    } else {
        pack_nil(out);
    }
    pack_array(out, session->window.count - session->waits_count);
    for (uint32_t i = 0; i < session->window.count; i++) {
        if (session->window.list[i].answer.status != PROTO_STATUS_QUEUED) {
            pack_record(out, &session->window.list[i]);
        }
    }
}

/* ---- lock ---- */

static void pack_delay(struct proto_buffer *out, const struct lock_rest *rest)
{
    if (rest == NULL || rest->delay_until_ms == 0) {
        pack_nil(out);
        return;
    }
    pack_array(out, 3);
    pack_uint(out, rest->delay_until_ms);
    pack_uint(out, rest->delay_session_id);
    pack_bytes(out, rest->delay_digest, sizeof rest->delay_digest);
}

static void pack_grants(struct proto_buffer *out, const struct lock *lock)
{
    pack_array(out, lock->holders_count);
    const struct grant *grant = lock->grants;
    for (uint32_t i = 0; i < lock->holders_count; i++, grant = grant->lock_next) {
        pack_array(out, 5);
        pack_uint(out, grant->token);
        pack_uint(out, grant->session->id);
        pack_uint(out, grant->own_deadline_ms);
        pack_uint(out, grant->holds);
        pack_uint(out, grant->permits);
    }
}

static void pack_waiter(struct proto_buffer *out, const struct waiter *waiter)
{
    pack_array(out, 8);
    pack_uint(out, waiter->session->id);
    pack_uint(out, waiter->request_id);
    pack_uint(out, waiter->deadline_ms);
    pack_uint(out, waiter->ttl_ms);
    pack_uint(out, waiter->mode);
    pack_uint(out, waiter->permits);
    pack_uint(out, waiter->limit);
    if (waiter->has_value) {
        pack_bytes(out, waiter->value, waiter->value_bytes);
    } else {
        pack_nil(out);
    }
}

static void pack_waiters(struct proto_buffer *out, const struct lock_rest *rest)
{
    uint32_t count = rest == NULL ? 0 : rest->waiters_count;
    pack_array(out, count);
    const struct waiter *waiter = count == 0 ? NULL : rest->queue;
    for (uint32_t i = 0; i < count; i++, waiter = waiter->next) {
        pack_waiter(out, waiter);
    }
}

static void image_lock(const struct lock *lock, struct proto_buffer *out)
{
    pack_array(out, 10);
    pack_uint(out, FSM_OBJECT_LOCK);
    pack_bytes(out, lock->key, lock->key_bytes);
    pack_uint(out, lock->mode);
    pack_uint(out, lock->limit);
    pack_uint(out, lock->fence);
    pack_uint(out, lock->rest == NULL ? 0 : lock->rest->pending_number);
    pack_delay(out, lock->rest);
    if (lock->rest != NULL && lock->rest->value != NULL) {
        pack_bytes(out, lock->rest->value, lock->rest->value_bytes);
    } else {
        pack_nil(out);
    }
    pack_grants(out, lock);
    pack_waiters(out, lock->rest);
}

void fsm_image_object(const struct object *object, struct proto_buffer *out)
{
    if (object->kind == FSM_OBJECT_SESSION) {
        image_session(fsm_object_session(object), out);
    } else {
        image_lock(fsm_object_lock(object), out);
    }
    LOCKSTEP_ASSERT(!out->failed);
}
