/* Deadlines of sessions, grants, waits and lock-delays in one heap.
 *
 * A deadline may be raised without touching the heap: the heap then holds an earlier time than the true one, and sorts
 * the object in again when that time has come. So a renewal costs nothing here. */
#ifndef LOCKSTEP_RAFT_FSM_TIMER_H
#define LOCKSTEP_RAFT_FSM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct fsm;

/* In the order in which equal deadlines are handled. */
enum timer_kind { FSM_TIMER_SESSION, FSM_TIMER_GRANT, FSM_TIMER_WAITER, FSM_TIMER_DELAY };

struct timer {
    uint32_t slot; /* its place in the heap, counted from 1; 0: not in it */
    uint8_t kind;  /* enum timer_kind: says what object it is part of */
};

struct timer_entry {
    uint64_t key_ms; /* never later than the true deadline */
    struct timer *timer;
};

struct timers {
    struct timer_entry *heap;
    uint32_t count;
    uint32_t capacity;
};

/* The true deadline of the object that `timer` is part of. */
uint64_t fsm_timer_deadline(const struct timer *timer);
/* The order of two timers with equal deadlines: kind, then id (session id; token; session and request id; key). */
bool fsm_timer_precedes(const struct timer *left, const struct timer *right);

/* The object's deadline was set or changed: put the timer in, move it up, leave it (raised), or take it out
 * (FSM_NEVER). */
void fsm_timer_set(struct fsm *fsm, struct timer *timer, enum timer_kind kind);
/* Take it out if it is in. */
void fsm_timer_stop(struct fsm *fsm, struct timer *timer);
/* The timer that is due first at `time_ms`, or NULL: true deadlines, in order. It stays in the heap. */
struct timer *fsm_timer_due(struct fsm *fsm, uint64_t time_ms);
/* A time that is not later than the earliest true deadline, FSM_NEVER if there is none. */
uint64_t fsm_timer_next(struct fsm *fsm);
void fsm_timers_done(struct fsm *fsm);
/* The entry `at` (from 0) does not lie before its parent, nor after its true deadline. */
bool fsm_timer_entry_sound(const struct timers *timers, uint32_t at);

struct session *fsm_timer_session(const struct timer *timer);
struct grant *fsm_timer_grant(const struct timer *timer);
struct waiter *fsm_timer_waiter(const struct timer *timer);
struct lock_rest *fsm_timer_delay(const struct timer *timer);

#endif
