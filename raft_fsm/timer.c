/* Owns the heap of deadlines; never acts on one (expiry.c does).
 *
 *   H1  Four children to a node; no entry lies before its parent.
 *   H2  An entry's key is at most the true deadline of its object.
 *   H3  timer->slot - 1 is the place of the entry that points to it.
 *
 * What fsm_timer_due() gives depends on true deadlines only, not on what the keys happen to be: two replicas whose
 * heaps look different (one was restored) handle the same deadlines in the same order. */
#include "raft_fsm/timer.h"

#include <stddef.h>
#include <string.h>

#include "raft_fsm/state.h"

enum { CHILDREN = 4, CAPACITY_MIN = 64 };

#define OBJECT_OF(type, member, pointer) ((type *)(void *)((uintptr_t)(pointer)-offsetof(type, member)))

struct session *fsm_timer_session(const struct timer *timer)
{
    LOCKSTEP_ASSERT(timer->kind == FSM_TIMER_SESSION);
    return OBJECT_OF(struct session, timer, timer);
}

struct grant *fsm_timer_grant(const struct timer *timer)
{
    LOCKSTEP_ASSERT(timer->kind == FSM_TIMER_GRANT);
    return OBJECT_OF(struct grant, timer, timer);
}

struct waiter *fsm_timer_waiter(const struct timer *timer)
{
    LOCKSTEP_ASSERT(timer->kind == FSM_TIMER_WAITER);
    return OBJECT_OF(struct waiter, timer, timer);
}

struct lock_rest *fsm_timer_delay(const struct timer *timer)
{
    LOCKSTEP_ASSERT(timer->kind == FSM_TIMER_DELAY);
    return OBJECT_OF(struct lock_rest, delay_timer, timer);
}

uint64_t fsm_timer_deadline(const struct timer *timer)
{
    switch ((enum timer_kind)timer->kind) {
    case FSM_TIMER_SESSION:
        return fsm_timer_session(timer)->deadline_ms;
    case FSM_TIMER_GRANT:
        return fsm_timer_grant(timer)->own_deadline_ms;
    case FSM_TIMER_WAITER:
        return fsm_timer_waiter(timer)->deadline_ms;
    case FSM_TIMER_DELAY:
        return fsm_timer_delay(timer)->delay_until_ms;
    }
    LOCKSTEP_ASSERT(!"a kind of timer");
    return 0;
}

static bool waiter_precedes(const struct waiter *left, const struct waiter *right)
{
    if (left->session->id != right->session->id) {
        return left->session->id < right->session->id;
    }
    return left->request_id < right->request_id;
}

bool fsm_timer_precedes(const struct timer *left, const struct timer *right)
{
    if (left->kind != right->kind) {
        return left->kind < right->kind;
    }
    switch ((enum timer_kind)left->kind) {
    case FSM_TIMER_SESSION:
        return fsm_timer_session(left)->id < fsm_timer_session(right)->id;
    case FSM_TIMER_GRANT:
        return fsm_timer_grant(left)->token < fsm_timer_grant(right)->token;
    case FSM_TIMER_WAITER:
        return waiter_precedes(fsm_timer_waiter(left), fsm_timer_waiter(right));
    case FSM_TIMER_DELAY: {
        const struct lock *a = fsm_timer_delay(left)->lock;
        const struct lock *b = fsm_timer_delay(right)->lock;
        return fsm_compare_bytes(a->key, a->key_bytes, b->key, b->key_bytes) < 0;
    }
    }
    return false;
}

static bool entry_precedes(const struct timer_entry *left, const struct timer_entry *right)
{
    if (left->key_ms != right->key_ms) {
        return left->key_ms < right->key_ms;
    }
    return fsm_timer_precedes(left->timer, right->timer);
}

static void place(struct timers *timers, uint32_t at, struct timer_entry entry)
{
    timers->heap[at] = entry;
    entry.timer->slot = at + 1;
}

static void sift_up(struct timers *timers, uint32_t at)
{
    struct timer_entry entry = timers->heap[at];
    while (at > 0) {
        uint32_t parent = (at - 1) / CHILDREN;
        if (!entry_precedes(&entry, &timers->heap[parent])) {
            break;
        }
        place(timers, at, timers->heap[parent]);
        at = parent;
    }
    place(timers, at, entry);
}

static void sift_down(struct timers *timers, uint32_t at)
{
    struct timer_entry entry = timers->heap[at];
    for (;;) {
        uint64_t first = (uint64_t)at * CHILDREN + 1;
        if (first >= timers->count) {
            break;
        }
        uint32_t least = (uint32_t)first;
        for (uint64_t child = first + 1; child < first + CHILDREN && child < timers->count; child++) {
            if (entry_precedes(&timers->heap[child], &timers->heap[least])) {
                least = (uint32_t)child;
            }
        }
        if (!entry_precedes(&timers->heap[least], &entry)) {
            break;
        }
        place(timers, at, timers->heap[least]);
        at = least;
    }
    place(timers, at, entry);
}

static void resize(struct fsm *fsm, uint32_t capacity)
{
    struct timers *timers = &fsm->timers;
    size_t size = sizeof *timers->heap;
    timers->heap = fsm_reallocate(fsm, timers->heap, timers->capacity * size, capacity * size);
    timers->capacity = capacity;
}

static void insert(struct fsm *fsm, struct timer *timer, uint64_t key_ms)
{
    struct timers *timers = &fsm->timers;
    if (timers->count == timers->capacity) {
        resize(fsm, timers->capacity == 0 ? CAPACITY_MIN : timers->capacity * 2);
    }
    timers->heap[timers->count] = (struct timer_entry){.key_ms = key_ms, .timer = timer};
    timers->count++;
    sift_up(timers, timers->count - 1);
}

void fsm_timer_set(struct fsm *fsm, struct timer *timer, enum timer_kind kind)
{
    timer->kind = (uint8_t)kind;
    uint64_t deadline_ms = fsm_timer_deadline(timer);
    if (deadline_ms == FSM_NEVER) {
        fsm_timer_stop(fsm, timer);
    } else if (timer->slot == 0) {
        insert(fsm, timer, deadline_ms);
    } else if (deadline_ms < fsm->timers.heap[timer->slot - 1].key_ms) {
        fsm->timers.heap[timer->slot - 1].key_ms = deadline_ms;
        sift_up(&fsm->timers, timer->slot - 1);
    }
}

void fsm_timer_stop(struct fsm *fsm, struct timer *timer)
{
    struct timers *timers = &fsm->timers;
    if (timer->slot == 0) {
        return;
    }
    uint32_t at = timer->slot - 1;
    LOCKSTEP_ASSERT(at < timers->count && timers->heap[at].timer == timer);
    timer->slot = 0;
    timers->count--;
    if (at < timers->count) {
        place(timers, at, timers->heap[timers->count]);
        sift_down(timers, at);
        sift_up(timers, at);
    }
    if (timers->capacity > CAPACITY_MIN && timers->count < timers->capacity / 4) {
        resize(fsm, timers->capacity / 2);
    }
}

/* The first entry's key is made its true deadline. @return true if it already was. */
static bool refresh_first(struct timers *timers)
{
    struct timer_entry *first = &timers->heap[0];
    uint64_t deadline_ms = fsm_timer_deadline(first->timer);
    if (first->key_ms == deadline_ms) {
        return true;
    }
    LOCKSTEP_ASSERT(first->key_ms < deadline_ms);
    first->key_ms = deadline_ms;
    sift_down(timers, 0);
    return false;
}

struct timer *fsm_timer_due(struct fsm *fsm, uint64_t time_ms)
{
    struct timers *timers = &fsm->timers;
    /* Each refresh pays for one renewal since the last; how many there are must not change what is found. */
    while (timers->count > 0 && timers->heap[0].key_ms <= time_ms) {
        if (refresh_first(timers)) {
            return timers->heap[0].timer;
        }
    }
    return NULL;
}

uint64_t fsm_timer_next(struct fsm *fsm)
{
    struct timers *timers = &fsm->timers;
    for (unsigned i = 0; i < FSM_REKEYS_PER_CALL && timers->count > 0; i++) {
        if (refresh_first(timers)) {
            break;
        }
    }
    return timers->count == 0 ? FSM_NEVER : timers->heap[0].key_ms;
}

void fsm_timers_done(struct fsm *fsm)
{
    fsm_release(fsm, fsm->timers.heap, fsm->timers.capacity * sizeof *fsm->timers.heap);
    fsm->timers = (struct timers){0};
}

bool fsm_timer_entry_sound(const struct timers *timers, uint32_t at)
{
    const struct timer_entry *entry = &timers->heap[at];
    if (entry->timer->slot != at + 1 || entry->key_ms > fsm_timer_deadline(entry->timer)) {
        return false;
    }
    return at == 0 || !entry_precedes(entry, &timers->heap[(at - 1) / CHILDREN]);
}
