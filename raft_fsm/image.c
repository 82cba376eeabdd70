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
#include <msgpack/pack.h>

#include "raft_fsm/state.h"

static int write_cb(void *data, const char *bytes, size_t size)
{
    return proto_buffer_append(data, bytes, size) ? 0 : -1;
}

static void pack_init(msgpack_packer *pack, struct proto_buffer *out)
{
    msgpack_packer_init(pack, out, write_cb);
}

/* A packer only fails if the buffer does, which is marked there and asserted at the end. */
static void pack_uint(msgpack_packer *pack, uint64_t value)
{
    (void)msgpack_pack_uint64(pack, value);
}

static void pack_array(msgpack_packer *pack, size_t count)
{
    (void)msgpack_pack_array(pack, count);
}

static void pack_bytes(msgpack_packer *pack, const void *data, size_t size)
{
    (void)msgpack_pack_bin(pack, size);
    if (size > 0) {
        (void)msgpack_pack_bin_body(pack, data, size);
    }
}

static void pack_nil(msgpack_packer *pack)
{
    (void)msgpack_pack_nil(pack);
}

void fsm_image_globals(const struct fsm *fsm, struct proto_buffer *out)
{
    msgpack_packer pack;
    pack_init(&pack, out);
    pack_array(&pack, 7);
    pack_uint(&pack, 0);
    pack_uint(&pack, FSM_STATE_VERSION);
    pack_uint(&pack, fsm->time_ms);
    pack_uint(&pack, fsm->epoch);
    pack_uint(&pack, fsm->counter);
    pack_uint(&pack, fsm->next_session_id);
    pack_uint(&pack, fsm->next_work_number);
    LOCKSTEP_ASSERT(!out->failed);
}

/* ---- session ---- */

static void pack_holder(msgpack_packer *pack, const struct proto_holder *holder)
{
    pack_uint(pack, holder->session_id);
    pack_bytes(pack, holder->owner.data, holder->owner.size);
    pack_uint(pack, holder->token);
    pack_uint(pack, holder->fence);
    pack_uint(pack, (uint64_t)holder->mode);
    pack_uint(pack, holder->permits);
    pack_uint(pack, holder->holds);
    pack_uint(pack, holder->remaining_ms);
}

static void pack_record_head(msgpack_packer *pack, const struct record *record, size_t more)
{
    pack_array(pack, 5 + more);
    pack_uint(pack, record->request_id);
    pack_uint(pack, record->time_ms);
    pack_uint(pack, record->answer.kind);
    pack_uint(pack, record->answer.status);
    pack_uint(pack, record->answer.detail);
}

static void pack_record_ok(msgpack_packer *pack, const struct record *record)
{
    const struct answer *answer = &record->answer;
    switch ((enum proto_kind)answer->kind) {
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        pack_record_head(pack, record, 4);
        pack_uint(pack, answer->grant.token);
        pack_uint(pack, answer->grant.fence);
        pack_uint(pack, answer->grant.deadline_ms);
        pack_uint(pack, answer->holds);
        break;
    case PROTO_SESSION_RENEW:
        pack_record_head(pack, record, 2);
        pack_uint(pack, answer->session.ttl_ms);
        pack_uint(pack, answer->session.deadline_ms);
        break;
    case PROTO_LOCK_RELEASE:
        pack_record_head(pack, record, 1);
        pack_uint(pack, answer->holds);
        break;
    default:
        pack_record_head(pack, record, 0);
        break;
    }
}

static void pack_record(msgpack_packer *pack, const struct record *record)
{
    switch ((enum proto_status)record->answer.status) {
    case PROTO_STATUS_OK:
        pack_record_ok(pack, record);
        break;
    case PROTO_STATUS_HELD:
        pack_record_head(pack, record, 8);
        pack_holder(pack, record->answer.holder);
        break;
    default:
        pack_record_head(pack, record, 1);
        pack_uint(pack, record->answer.retry_after_ms);
        break;
    }
}

static void image_session(const struct session *session, struct proto_buffer *out)
{
    msgpack_packer pack;
    pack_init(&pack, out);
    pack_array(&pack, 11);
    pack_uint(&pack, FSM_OBJECT_SESSION);
    pack_uint(&pack, session->id);
    pack_bytes(&pack, session->owner, session->owner_bytes);
    pack_uint(&pack, session->ttl_ms);
    pack_uint(&pack, session->deadline_ms);
    pack_uint(&pack, session->lock_delay_ms);
    pack_bytes(&pack, session->digest, sizeof session->digest);
    pack_uint(&pack, session->ack_floor);
    pack_uint(&pack, session->last_request_id);
    if (session->ended) {
        pack_array(&pack, 3);
        pack_uint(&pack, session->ended_reason);
        pack_uint(&pack, session->ended_ms);
        pack_uint(&pack, session->ended_number);
    } else {
        pack_nil(&pack);
    }
    pack_array(&pack, session->window.count - session->waits_count);
    for (uint32_t i = 0; i < session->window.count; i++) {
        if (session->window.list[i].answer.status != PROTO_STATUS_QUEUED) {
            pack_record(&pack, &session->window.list[i]);
        }
    }
}

/* ---- lock ---- */

static void pack_delay(msgpack_packer *pack, const struct lock_rest *rest)
{
    if (rest == NULL || rest->delay_until_ms == 0) {
        pack_nil(pack);
        return;
    }
    pack_array(pack, 3);
    pack_uint(pack, rest->delay_until_ms);
    pack_uint(pack, rest->delay_session_id);
    pack_bytes(pack, rest->delay_digest, sizeof rest->delay_digest);
}

static void pack_grants(msgpack_packer *pack, const struct lock *lock)
{
    pack_array(pack, lock->holders_count);
    const struct grant *grant = lock->grants;
    for (uint32_t i = 0; i < lock->holders_count; i++, grant = grant->lock_next) {
        pack_array(pack, 5);
        pack_uint(pack, grant->token);
        pack_uint(pack, grant->session->id);
        pack_uint(pack, grant->own_deadline_ms);
        pack_uint(pack, grant->holds);
        pack_uint(pack, grant->permits);
    }
}

static void pack_waiter(msgpack_packer *pack, const struct waiter *waiter)
{
    pack_array(pack, 8);
    pack_uint(pack, waiter->session->id);
    pack_uint(pack, waiter->request_id);
    pack_uint(pack, waiter->deadline_ms);
    pack_uint(pack, waiter->ttl_ms);
    pack_uint(pack, waiter->mode);
    pack_uint(pack, waiter->permits);
    pack_uint(pack, waiter->limit);
    if (waiter->has_value) {
        pack_bytes(pack, waiter->value, waiter->value_bytes);
    } else {
        pack_nil(pack);
    }
}

static void pack_waiters(msgpack_packer *pack, const struct lock_rest *rest)
{
    uint32_t count = rest == NULL ? 0 : rest->waiters_count;
    pack_array(pack, count);
    const struct waiter *waiter = count == 0 ? NULL : rest->queue;
    for (uint32_t i = 0; i < count; i++, waiter = waiter->next) {
        pack_waiter(pack, waiter);
    }
}

static void image_lock(const struct lock *lock, struct proto_buffer *out)
{
    msgpack_packer pack;
    pack_init(&pack, out);
    pack_array(&pack, 10);
    pack_uint(&pack, FSM_OBJECT_LOCK);
    pack_bytes(&pack, lock->key, lock->key_bytes);
    pack_uint(&pack, lock->mode);
    pack_uint(&pack, lock->limit);
    pack_uint(&pack, lock->fence);
    pack_uint(&pack, lock->rest == NULL ? 0 : lock->rest->pending_number);
    pack_delay(&pack, lock->rest);
    if (lock->rest != NULL && lock->rest->value != NULL) {
        pack_bytes(&pack, lock->rest->value, lock->rest->value_bytes);
    } else {
        pack_nil(&pack);
    }
    pack_grants(&pack, lock);
    pack_waiters(&pack, lock->rest);
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
