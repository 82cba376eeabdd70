/* Owns the building of objects from their images (image.c has the layouts). Checks each field against its bounds, and
 * whatever the structures themselves rely on; the rules between objects are left to invariants.c, which runs when all is
 * built. A grant or a waiter may come before its session: they are linked at the end, by id (restore_link.c). */
#include <string.h>

#include "raft_fsm/reader.h"
#include "raft_fsm/restore_link.h"
#include "raft_fsm/state.h"

/* ---- globals ---- */

const char *fsm_restore_globals(struct fsm *fsm, const void *image, size_t size)
{
    struct reader in;
    fsm_reader_init(&in, image, size);
    fsm_reader_array_of(&in, 7);
    (void)fsm_reader_uint(&in); /* the kind, known already */
    uint64_t version = fsm_reader_uint(&in);
    fsm->time_ms = fsm_reader_uint_max(&in, FSM_TIME_MS_MAX);
    fsm->epoch = fsm_reader_uint_max(&in, FSM_EPOCH_MAX);
    fsm->counter = fsm_reader_uint_max(&in, (UINT64_C(1) << FSM_TOKEN_COUNTER_BITS) - 1);
    fsm->next_session_id = fsm_reader_uint(&in);
    fsm->next_work_number = fsm_reader_uint(&in);
    if (!in.failed && version != FSM_STATE_VERSION) {
        return "snapshot: the state is of a version that this node does not know";
    }
    if (!fsm_reader_at_end(&in) || fsm->counter == 0 || fsm->next_session_id == 0 ||
        fsm->next_work_number == 0) {
        return "snapshot: the globals can not be read";
    }
    return NULL;
}

/* ---- session ---- */

static void read_holder(struct reader *in, struct proto_holder *ret)
{
    ret->session_id = fsm_reader_uint(in);
    ret->owner = fsm_reader_bytes(in, PROTO_OWNER_BYTES_MAX);
    ret->token = fsm_reader_uint(in);
    ret->fence = fsm_reader_uint(in);
    ret->mode = (enum proto_mode)fsm_reader_uint_max(in, PROTO_MODE_PERMITS);
    ret->permits = (uint32_t)fsm_reader_uint_max(in, PROTO_PERMITS_MAX);
    ret->holds = (uint32_t)fsm_reader_uint_max(in, FSM_HOLDS_MAX);
    ret->remaining_ms = fsm_reader_uint(in);
}

/* @return how many fields were read behind the head. */
static uint32_t read_answer_ok(struct reader *in, struct answer *answer)
{
    switch ((enum proto_kind)answer->kind) {
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        answer->grant.token = fsm_reader_uint(in);
        answer->grant.fence = fsm_reader_uint(in);
        answer->grant.deadline_ms = fsm_reader_uint(in);
        answer->holds = (uint32_t)fsm_reader_uint_max(in, FSM_HOLDS_MAX);
        return 4;
    case PROTO_SESSION_RENEW:
        answer->session.ttl_ms = fsm_reader_uint(in);
        answer->session.deadline_ms = fsm_reader_uint(in);
        return 2;
    case PROTO_LOCK_RELEASE:
        answer->holds = (uint32_t)fsm_reader_uint_max(in, FSM_HOLDS_MAX);
        return 1;
    default:
        return 0;
    }
}

static uint32_t read_answer(struct reader *in, struct answer *answer, struct proto_holder *holder)
{
    switch ((enum proto_status)answer->status) {
    case PROTO_STATUS_OK:
        return read_answer_ok(in, answer);
    case PROTO_STATUS_HELD:
        read_holder(in, holder);
        answer->holder = holder;
        return 8;
    default:
        answer->retry_after_ms = fsm_reader_uint(in);
        return 1;
    }
}

static bool kind_has_window(uint64_t kind)
{
    const struct proto_operation *operation = proto_operation_find(kind);
    return operation != NULL && operation->served_by == PROTO_LOG && operation->sent_by == PROTO_SESSION;
}

static bool status_known(uint64_t status)
{
    return status != PROTO_STATUS_QUEUED && proto_status_find(status) != NULL;
}

static bool read_record(struct fsm *fsm, struct session *session, struct reader *in)
{
    struct proto_holder holder;
    struct answer answer = {0};
    uint32_t elements = fsm_reader_array(in);
    uint64_t request_id = fsm_reader_uint(in);
    uint64_t time_ms = fsm_reader_uint_max(in, fsm->time_ms);
    uint64_t kind = fsm_reader_uint_max(in, UINT8_MAX);
    uint64_t status = fsm_reader_uint_max(in, UINT8_MAX);
    uint64_t detail = fsm_reader_uint_max(in, UINT8_MAX);
    if (in->failed || !kind_has_window(kind) || !status_known(status) || !fsm_detail_known(detail)) {
        return false;
    }
    answer.kind = (uint8_t)kind;
    answer.status = (uint8_t)status;
    answer.detail = (uint8_t)detail;
    uint32_t more = read_answer(in, &answer, &holder);
    if (kind == PROTO_SESSION_RENEW && status == PROTO_STATUS_OK) {
        answer.session.session_id = session->id;
    }
    if (in->failed || elements != 5 + more || fsm_history_full(session) ||
        fsm_history_find(session, request_id)) {
        return false;
    }
    fsm_history_remember(fsm, session, request_id, &answer, time_ms);
    return true;
}

static void read_ended(struct session *session, struct restore_links *links, struct reader *in)
{
    if (fsm_reader_nil(in)) {
        return;
    }
    fsm_reader_array_of(in, 3);
    session->ended = true;
    session->ended_reason = (uint8_t)fsm_reader_uint_max(in, PROTO_END_FORCED);
    session->ended_ms = fsm_reader_uint_max(in, FSM_TIME_MS_MAX);
    session->ended_number = fsm_reader_uint(in);
    fsm_restore_links_add(&links->ending, session->ended_number, session, 0);
}

static bool read_session(struct fsm *fsm, struct restore_links *links, struct session *session,
                         struct reader *in)
{
    struct proto_bytes owner = fsm_reader_bytes(in, PROTO_OWNER_BYTES_MAX);
    session->ttl_ms = fsm_reader_uint_max(in, PROTO_TTL_MS_MAX);
    session->deadline_ms = fsm_reader_uint_max(in, FSM_TIME_MS_MAX + PROTO_TTL_MS_MAX);
    session->lock_delay_ms = fsm_reader_uint_max(in, PROTO_LOCK_DELAY_MS_MAX);
    struct proto_bytes digest = fsm_reader_bytes(in, PROTO_DIGEST_BYTES);
    session->ack_floor = fsm_reader_uint(in);
    session->last_request_id = fsm_reader_uint(in);
    if (in->failed || digest.size != PROTO_DIGEST_BYTES ||
        !proto_text_valid(owner, 0, PROTO_OWNER_BYTES_MAX)) {
        return false;
    }
    memcpy(session->digest, digest.data, PROTO_DIGEST_BYTES);
    fsm_session_set_owner(fsm, session, owner);
    read_ended(session, links, in);
    uint32_t records = fsm_reader_array(in);
    for (uint32_t i = 0; i < records; i++) {
        if (!read_record(fsm, session, in)) {
            return false;
        }
    }
    return fsm_reader_at_end(in) && session->ttl_ms >= PROTO_TTL_MS_MIN;
}

const char *fsm_restore_session(struct fsm *fsm, struct restore_links *links, const void *image, size_t size)
{
    struct reader in;
    fsm_reader_init(&in, image, size);
    fsm_reader_array_of(&in, 11);
    (void)fsm_reader_uint(&in); /* the kind, known already */
    uint64_t id = fsm_reader_uint(&in);
    if (in.failed || id == 0 || id >= fsm->next_session_id || fsm_session_find(fsm, id) != NULL) {
        return "snapshot: a session's id is not possible, or there twice";
    }
    struct session *session = fsm_session_create(fsm, id);
    return read_session(fsm, links, session, &in) ? NULL : "snapshot: a session can not be read";
}

/* ---- lock ---- */

static void read_delay(struct fsm *fsm, struct lock *lock, struct reader *in)
{
    if (fsm_reader_nil(in)) {
        return;
    }
    fsm_reader_array_of(in, 3);
    uint64_t until_ms = fsm_reader_uint_max(in, FSM_TIME_MS_MAX + PROTO_LOCK_DELAY_MS_MAX);
    uint64_t session_id = fsm_reader_uint(in);
    struct proto_bytes digest = fsm_reader_bytes(in, PROTO_DIGEST_BYTES);
    if (until_ms == 0 || digest.size != PROTO_DIGEST_BYTES) {
        in->failed = true;
        return;
    }
    struct lock_rest *rest = fsm_lock_rest(fsm, lock);
    rest->delay_until_ms = until_ms;
    rest->delay_session_id = session_id;
    memcpy(rest->delay_digest, digest.data, PROTO_DIGEST_BYTES);
    fsm_timer_set(fsm, &rest->delay_timer, FSM_TIMER_DELAY);
}

static bool read_grant(struct fsm *fsm, struct restore_links *links, struct lock *lock, struct reader *in)
{
    fsm_reader_array_of(in, 5);
    uint64_t token = fsm_reader_uint(in);
    uint64_t session_id = fsm_reader_uint(in);
    uint64_t own_deadline_ms = fsm_reader_uint(in);
    uint32_t holds = (uint32_t)fsm_reader_uint_max(in, FSM_HOLDS_MAX);
    uint32_t permits = (uint32_t)fsm_reader_uint_max(in, PROTO_PERMITS_MAX);
    if (in->failed || lock->holders_count >= FSM_HOLDERS_PER_LOCK_MAX ||
        lock->permits_used + permits > PROTO_PERMITS_MAX) {
        return false;
    }
    struct grant *grant = fsm_pool_take(&fsm->grants_pool);
    grant->token = token;
    grant->own_deadline_ms = own_deadline_ms;
    grant->holds = holds;
    grant->permits = (uint16_t)permits;
    fsm_grant_link(fsm, lock, grant);
    fsm_timer_set(fsm, &grant->timer, FSM_TIMER_GRANT);
    fsm_restore_links_add(&links->grants, token, grant, session_id);
    return true;
}

static bool read_waiter(struct fsm *fsm, struct restore_links *links, struct lock *lock, struct reader *in)
{
    struct waiter waiter = {0};
    fsm_reader_array_of(in, 8);
    uint64_t session_id = fsm_reader_uint(in);
    waiter.request_id = fsm_reader_uint(in);
    waiter.deadline_ms = fsm_reader_uint(in);
    waiter.ttl_ms = fsm_reader_uint_max(in, PROTO_TTL_MS_MAX);
    waiter.mode = (uint8_t)fsm_reader_uint_max(in, PROTO_MODE_PERMITS);
    waiter.permits = (uint16_t)fsm_reader_uint_max(in, PROTO_PERMITS_MAX);
    waiter.limit = (uint16_t)fsm_reader_uint_max(in, PROTO_PERMITS_MAX);
    waiter.has_value = !fsm_reader_nil(in);
    struct proto_bytes value = {0};
    if (waiter.has_value) {
        value = fsm_reader_bytes(in, PROTO_VALUE_BYTES_MAX);
    }
    const struct lock_rest *rest = lock->rest;
    if (in->failed || (rest != NULL && (rest->waiters_count >= FSM_WAITERS_PER_LOCK_MAX ||
                                        rest->waiting_bytes + value.size > FSM_WAITING_BYTES_PER_LOCK_MAX))) {
        return false;
    }
    struct waiter *kept = fsm_pool_take(&fsm->waiters_pool);
    *kept = waiter;
    kept->value = fsm_copy(fsm, value.data, value.size);
    kept->value_bytes = value.size;
    fsm_waiter_link(fsm, lock, kept);
    fsm_restore_links_add(&links->waiters, 0, kept, session_id);
    return true;
}

static bool read_lock(struct fsm *fsm, struct restore_links *links, struct lock *lock, struct reader *in)
{
    lock->mode = (uint8_t)fsm_reader_uint_max(in, PROTO_MODE_PERMITS);
    lock->limit = (uint16_t)fsm_reader_uint_max(in, PROTO_PERMITS_MAX);
    lock->fence = fsm_reader_uint(in);
    uint64_t pending_number = fsm_reader_uint(in);
    if (pending_number != 0) {
        fsm_lock_rest(fsm, lock)->pending_number = pending_number;
        fsm_restore_links_add(&links->pending, pending_number, lock, 0);
    }
    read_delay(fsm, lock, in);
    if (!fsm_reader_nil(in)) {
        struct proto_bytes value = fsm_reader_bytes(in, PROTO_VALUE_BYTES_MAX);
        fsm_lock_put_value(fsm, lock, value.data, value.size);
    }
    uint32_t grants = fsm_reader_array(in);
    for (uint32_t i = 0; i < grants; i++) {
        if (!read_grant(fsm, links, lock, in)) {
            return false;
        }
    }
    uint32_t waiters = fsm_reader_array(in);
    for (uint32_t i = 0; i < waiters; i++) {
        if (!read_waiter(fsm, links, lock, in)) {
            return false;
        }
    }
    return fsm_reader_at_end(in);
}

const char *fsm_restore_lock(struct fsm *fsm, struct restore_links *links, const void *image, size_t size)
{
    struct reader in;
    fsm_reader_init(&in, image, size);
    fsm_reader_array_of(&in, 10);
    (void)fsm_reader_uint(&in); /* the kind, known already */
    struct proto_bytes key = fsm_reader_bytes(&in, PROTO_KEY_BYTES_MAX);
    if (in.failed || !proto_key_valid(key) || fsm_lock_find(fsm, key) != NULL) {
        return "snapshot: a lock's key is not possible, or there twice";
    }
    struct lock *lock = fsm_lock_create(fsm, key);
    return read_lock(fsm, links, lock, &in) ? NULL : "snapshot: a lock can not be read";
}
