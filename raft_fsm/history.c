/* Owns the window of each session: what its requests were answered, so that one sent again is answered again instead
 * of executed again.
 *
 *   W1  Records are in order of request id, one for each id.
 *   W2  A record of a finished request has an id above the session's floor. One that waits may lie at or below it: it
 *       stays until the wait ends, and its answer is then not remembered.
 *   W3  A request waits exactly if its record has status QUEUED; the record and the waiter point at each other (by
 *       `answer.waiter`, and by session and request id).
 *   W4  At most FSM_WINDOW_REPLIES_MAX records.
 *   W5  A remembered HELD owns its holder, with a copy of the owner's name behind it.
 *
 * A request's life in its session:
 *
 *   (new) --+--------------------------> answered ----> forgotten    the floor rises past it
 *           |                               ^
 *           +--> waits (QUEUED) ------------+                        fsm_history_finish()
 *                   |
 *                   +------------------------------> forgotten       the floor had risen, or the session is dead */
#include <string.h>

#include "raft_fsm/state.h"

enum { CAPACITY_MIN = 4 };

/* The place of `request_id`, or where it would be. */
static uint32_t place_of(const struct window *window, uint64_t request_id)
{
    uint32_t low = 0;
    uint32_t high = window->count;
    /* Ids mostly grow: the end is the likely place. */
    if (high > 0 && window->list[high - 1].request_id < request_id) {
        return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (window->list[middle].request_id < request_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct record *fsm_history_find(const struct session *session, uint64_t request_id)
{
    uint32_t at = place_of(&session->window, request_id);
    if (at == session->window.count || session->window.list[at].request_id != request_id) {
        return NULL;
    }
    return &session->window.list[at];
}

bool fsm_history_full(const struct session *session)
{
    return session->window.count >= FSM_WINDOW_REPLIES_MAX;
}

static void resize(struct fsm *fsm, struct window *window, uint32_t capacity)
{
    size_t size = sizeof *window->list;
    window->list = fsm_reallocate(fsm, window->list, window->capacity * size, capacity * size);
    window->capacity = capacity;
}

static void shrink(struct fsm *fsm, struct window *window)
{
    if (window->count == 0 && window->capacity > CAPACITY_MIN * 4) {
        fsm_release(fsm, window->list, window->capacity * sizeof *window->list);
        window->list = NULL;
        window->capacity = 0;
    } else if (window->capacity > CAPACITY_MIN * 4 && window->count < window->capacity / 4) {
        resize(fsm, window, window->capacity / 2);
    }
}

static size_t holder_bytes(const struct proto_holder *holder)
{
    return sizeof *holder + holder->owner.size;
}

/* W5 */
static void own_answer(struct fsm *fsm, struct answer *answer)
{
    if (answer->status != PROTO_STATUS_HELD) {
        return;
    }
    const struct proto_holder *holder = answer->holder;
    struct proto_holder *copy = fsm_allocate(fsm, holder_bytes(holder));
    *copy = *holder;
    copy->owner.data = (const uint8_t *)(copy + 1);
    if (holder->owner.size > 0) {
        memcpy(copy + 1, holder->owner.data, holder->owner.size);
    }
    answer->holder = copy;
}

static void disown_answer(struct fsm *fsm, struct answer *answer)
{
    if (answer->status == PROTO_STATUS_HELD) {
        void *holder = (void *)(uintptr_t)answer->holder;
        fsm_release(fsm, holder, holder_bytes(answer->holder));
    }
}

void fsm_history_remember(struct fsm *fsm, struct session *session, uint64_t request_id,
                          const struct answer *answer, uint64_t time_ms)
{
    struct window *window = &session->window;
    uint32_t at = place_of(window, request_id);
    LOCKSTEP_ASSERT(at == window->count || window->list[at].request_id != request_id);
    if (window->count == window->capacity) {
        resize(fsm, window, window->capacity == 0 ? CAPACITY_MIN : window->capacity * 2);
    }
    memmove(&window->list[at + 1], &window->list[at], (window->count - at) * sizeof *window->list);
    window->list[at] = (struct record){.request_id = request_id, .time_ms = time_ms, .answer = *answer};
    own_answer(fsm, &window->list[at].answer);
    window->count++;
    session->waits_count += answer->status == PROTO_STATUS_QUEUED;
}

/* Forget the finished records up to `floor`. */
static void sweep(struct fsm *fsm, struct session *session, uint64_t floor)
{
    struct window *window = &session->window;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < window->count; i++) {
        struct record *record = &window->list[i];
        if (record->request_id > floor && kept == i) {
            /* Nothing was forgotten before it, and nothing is from here on. */
            kept = window->count;
            break;
        }
        if (record->request_id <= floor && record->answer.status != PROTO_STATUS_QUEUED) {
            disown_answer(fsm, &record->answer);
        } else {
            window->list[kept++] = *record;
        }
    }
    window->count = kept;
    shrink(fsm, window);
}

void fsm_history_acknowledge(struct fsm *fsm, struct session *session, uint64_t floor)
{
    if (floor > session->ack_floor) {
        session->ack_floor = floor;
        sweep(fsm, session, floor);
    }
}

void fsm_history_forget_finished(struct fsm *fsm, struct session *session)
{
    sweep(fsm, session, UINT64_MAX);
}

void fsm_history_forget(struct fsm *fsm, struct session *session, uint64_t request_id)
{
    struct record *record = fsm_history_find(session, request_id);
    LOCKSTEP_ASSERT(record != NULL);
    session->waits_count -= record->answer.status == PROTO_STATUS_QUEUED;
    disown_answer(fsm, &record->answer);
    struct window *window = &session->window;
    uint32_t at = (uint32_t)(record - window->list);
    window->count--;
    memmove(record, record + 1, (window->count - at) * sizeof *record);
    shrink(fsm, window);
}

void fsm_history_finish(struct fsm *fsm, struct session *session, uint64_t request_id,
                        const struct answer *answer)
{
    struct record *record = fsm_history_find(session, request_id);
    LOCKSTEP_ASSERT(record != NULL);
    LOCKSTEP_ASSERT(record->answer.status == PROTO_STATUS_QUEUED);
    if (request_id <= session->ack_floor || !fsm_session_alive(fsm, session)) {
        fsm_history_forget(fsm, session, request_id);
        return;
    }
    session->waits_count--;
    record->answer = *answer;
    record->time_ms = fsm->time_ms;
    own_answer(fsm, &record->answer);
}

void fsm_history_free(struct fsm *fsm, struct session *session)
{
    struct window *window = &session->window;
    for (uint32_t i = 0; i < window->count; i++) {
        disown_answer(fsm, &window->list[i].answer);
    }
    fsm_release(fsm, window->list, window->capacity * sizeof *window->list);
    *window = (struct window){0};
}
