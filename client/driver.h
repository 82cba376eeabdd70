/* Drives one core with sockets, the clock and a libuv loop: what blocking.c and async.c have in common.
 *
 * The loop's thread owns every libuv handle. Other threads call the core under the mutex and then driver_poke(): what the
 * core wants to do with its connection is only noted (by the output functions), and carried out on the loop's thread by
 * the next turn. The time that counts for a lease, that before the first sending, is read before the core is called, so it
 * is early enough whichever thread sends.
 *
 *  D1  The core is called with the mutex held, and with the time read under it, so that its time never goes back.
 *  D2  Callers' callbacks run on the loop's thread without the mutex, from the queue of events, in the order in which
 *      their reasons came up, never from within a call of the library.
 *  D3  A driver lives until its handles are closed, its owner has let it go and no lock refers to it. */
#ifndef LOCKSTEP_CLIENT_DRIVER_H
#define LOCKSTEP_CLIENT_DRIVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "client/core.h"
#include "client/options.h"
#include "client/steady_clock.h"
#include "protocol/buffer.h"

struct driver;
struct link;

/* Something to be run on the loop's thread without the mutex. Lives in what it is about; in one queue at most. */
struct driver_event {
    struct driver_event *next;
    void (*run)(struct driver_event *event);
    bool queued;
    bool tells_loss; /* on_lost or on_session_lost: not run any more once the driver was told to close */
};

/* An acquire that a cancel switch may end. */
struct driver_watch {
    struct driver_watch *next;        /* in the driver, under its mutex */
    struct driver_watch *cancel_next; /* in the switch, under its mutex */
    struct driver *driver;
    struct lockstep_cancel *cancel;
    struct lsc_call *call; /* NULL: it has ended */
};

struct driver {
    pthread_mutex_t mutex;
    pthread_cond_t event_done;
    unsigned references; /* D3 */
    struct client_options options;
    struct lsc_core *core;
    struct steady_clock clock;

    uv_loop_t *loop;
    pthread_t loop_thread;
    uv_async_t wake; /* from other threads */
    uv_idle_t soon;  /* from the loop's own: before it polls again */
    uv_poll_t timer; /* on timer_fd, a timerfd of CLOCK_BOOTTIME: libuv's timers would sleep along with the machine */
    int timer_fd;
    struct boot_time timer_due;
    unsigned handles; /* not closed yet */

    /* What the core wants of its connection, noted until the loop's thread does it. */
    bool drop_wanted;
    bool connect_wanted;
    char address[PROTO_ADDRESS_BYTES_MAX + 1];
    struct proto_buffer out;
    struct link *link;
    unsigned links;       /* not freed yet */
    unsigned fruitless;   /* how little came of the last attempts (link.c) */

    struct driver_event *events_first, *events_last;
    struct driver_event *running;
    struct driver_watch *watches;
    struct driver_event session_lost;
    enum lockstep_lost_reason session_lost_reason;
    char session_lost_detail[256];

    bool core_closed;
    int close_result;
    bool closing_handles;
    void (*closed)(void *ctx, int result); /* the last handle is closed; on the loop's thread */
    void *closed_ctx;
};

/* Make one on `loop`, on its thread or before it runs. Takes the options over in every case. `references` is 1, its owner's. */
int driver_create(uv_loop_t *loop, struct client_options *options, struct driver **ret_driver);
void driver_ref(struct driver *driver);   /* mutex held */
void driver_unref(struct driver *driver); /* mutex not held */

/* The time for the core; mutex held. */
struct boot_time driver_now(struct driver *driver);
/* The core was called: see to what it wants. Any thread, mutex held. */
void driver_poke(struct driver *driver);
/* See to it now, and run what is queued; on the loop's thread, mutex not held. */
void driver_turn(struct driver *driver);
bool driver_on_loop(const struct driver *driver);
uint64_t driver_random(void);

/* Put an event into the queue; mutex held. */
void driver_queue(struct driver *driver, struct driver_event *event);
/* Wait until it has run, if it is in the queue or running; not on the loop's thread, mutex held. */
void driver_await(struct driver *driver, const struct driver_event *event);
/* Take it out again or, if it is running on another thread, wait until it has run; mutex held. */
void driver_unqueue(struct driver *driver, struct driver_event *event);

/* Watch a switch for an acquire; mutex held. @return false if it was fired already: then nothing is watched. */
bool driver_watch(struct driver *driver, struct driver_watch *watch, struct lockstep_cancel *cancel);
void driver_unwatch(struct driver *driver, struct driver_watch *watch);

/* Close the core, then the handles; then `closed` runs, with what became of the session (core.h, lsc_core_close()). From here on
 * no loss is told, even one that is in the queue: what its callback uses may be freed. Any thread, mutex held. */
void driver_close(struct driver *driver, bool keep_session, void (*closed)(void *ctx, int result), void *ctx);

/* ---- lock.c's side of it: what the public handle is in both flavours ---- */

struct lockstep_lock {
    struct driver *driver;
    struct lsc_hold *hold;
    lockstep_lost_cb on_lost;
    void *on_lost_arg;
    struct driver_event lost;
    enum lockstep_lost_reason reason;
    char detail[256];
};

/* A handle without a hold yet, or NULL. It refers to the driver. Mutex held. */
struct lockstep_lock *lock_create(struct driver *driver, lockstep_lost_cb on_lost, void *on_lost_arg);
/* Undo lock_create(); there is no hold. Mutex held. */
void lock_discard(struct lockstep_lock *lock);

/* ---- link.c ---- */

/* Carry out what is noted; on the loop's thread, mutex held. */
void link_carry_out(struct driver *driver);

#endif
