/* One client on one libuv loop: what lockstep_client (with a loop and a thread of its own) and lockstep_async (on the
 * caller's loop) have in common. Private to client/.
 *
 * Invariants
 *  D1  `mutex` guards everything of a driver but what is marked as the loop's. Functions named driver_…_locked() are called
 *      with it held, everything else without. No callback of the user's runs while it is held.
 *  D2  The core's orders (connect, send, close) are gathered under the mutex and carried out on the loop's thread only,
 *      for the core may be called by any thread, and libuv may not.
 *  D3  Between the core's order to close and its execution nothing that still comes from the old connection reaches the
 *      core.
 *  D4  User callbacks are events in one queue, in the order in which the core gave them. They run one at a time on the
 *      loop's thread, each with its bookkeeping finished, so that it may free what it is called about.
 *  D5  A driver's memory lives until its user has closed it, its libuv handles are closed, and every lock of it is freed.
 *  D6  Locks are taken in the order driver, cancel (cancel.h). */
#ifndef LOCKSTEP_CLIENT_DRIVER_H
#define LOCKSTEP_CLIENT_DRIVER_H

#include <pthread.h>
#include <uv.h>

#include "client/core.h"
#include "client/options.h"
#include "client/result.h"
#include "protocol/buffer.h"

struct driver;
struct driver_link;   /* link.c: one TCP connection, or the attempt at one */
struct driver_lookup; /* link.c: a name that is being resolved */
struct lockstep_cancel;

/* Something to be called on the loop's thread. Embedded in what it is about. */
struct driver_event {
    struct driver_event *next;
    /* Called without the mutex, once; the event is out of the queue. */
    void (*run)(struct driver_event *event);
    bool queued;
    bool held_back; /* stays in the queue for now */
};

/* An acquire that a cancel object may end. In the driver's list from driver_wait_add_locked() to …_remove_locked(). */
struct driver_wait {
    struct driver_wait *next, *prev;       /* the driver's list */
    struct driver_wait *cancel_next, *cancel_prev; /* the cancel object's, under its mutex */
    struct driver *driver;
    struct lockstep_cancel *cancel;
    struct lsc_call *call;
};

struct lockstep_lock {
    struct driver *driver; /* counted */
    struct lsc_hold *hold; /* NULL: the core is gone, or an acquire is still under way */
    char key[LOCKSTEP_KEY_BYTES_MAX + 1];
    uint64_t token;
    uint64_t fence;
    uint64_t session_id;
    lockstep_lost_cb on_lost;
    void *on_lost_arg;
    struct driver_event lost;
    enum lockstep_lost_reason reason;
    char detail[DETAIL_BYTES];
    struct lockstep_lock *next, *prev; /* the driver's list */
};

enum { DRIVER_ADDRESSES_MAX = 8 };

struct driver {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* an event has run */
    struct lsc_core *core;  /* NULL once everything is closed */
    bool core_closed;
    bool closing;
    bool tearing_down;
    bool in_turn;           /* the loop's */
    unsigned references;    /* the user's, the loop's, one for each lock */
    struct lockstep_lock *locks;
    struct driver_wait *waits;
    struct driver_event *events_first, *events_last;
    struct driver_event *running; /* whose callback runs now */
    struct driver_event session_lost;
    enum lockstep_lost_reason session_lost_reason;
    char session_lost_detail[DETAIL_BYTES];
    lockstep_session_lost_cb on_session_lost;
    void *on_session_lost_arg;
    uint64_t request_timeout_ms;
    uint64_t connect_timeout_ms;
    struct client_options options; /* as it was made with; for cluster.c */
    /* orders (D2) */
    bool close_ordered;
    bool connect_ordered;
    char connect_address[PROTO_ADDRESS_BYTES_MAX + 1];
    struct proto_buffer send_ordered;
    struct proto_buffer sending; /* the loop's */
    /* the loop's thread's */
    uv_loop_t *loop;
    bool own_thread; /* blocking.c's: other threads call; else only the loop's does */
    pthread_t thread;
    bool has_thread; /* under the mutex */
    uv_async_t wake;
    uv_timer_t soon; /* a turn in the loop's next round */
    uv_poll_t alarm; /* a timerfd on CLOCK_BOOTTIME, which goes on while the machine sleeps */
    int alarm_fd;
    uint64_t alarm_ms; /* what it is set to; UINT64_MAX: nothing */
    unsigned open_handles; /* of libuv, ours */
    struct driver_link *link;
    struct driver_lookup *lookup;
    struct sockaddr_storage addresses[DRIVER_ADDRESSES_MAX];
    unsigned addresses_count;
    unsigned addresses_next;
    void (*on_gone)(void *arg); /* every handle is closed, the core is freed; the loop's reference is the callee's */
    void *on_gone_arg;
};

struct boot_time driver_now(void);

/* Make one on `loop`. `options` is taken over (also on failure). On success the references are one: the user's and the
 * loop's in one, given back by whom on_gone calls. @return an enum lockstep_result, with a sentence; on failure the loop may
 * have to run once more before it can be closed. */
int driver_create(uv_loop_t *loop, struct client_options *options, struct driver **ret_driver);
/* Begin the end: on_gone(arg) runs on the loop's thread when all is closed. The core is asked to close the session first, unless
 * `keep_session`. */
void driver_close(struct driver *driver, bool keep_session, void (*on_gone)(void *arg), void *arg);

void driver_unref(struct driver *driver);

/* True on the thread on which user callbacks of a driver with its own thread run. */
bool driver_is_own_thread(const struct driver *driver);

/* After the core was called: have its orders carried out and its deadline watched. */
void driver_kick_locked(struct driver *driver);
void driver_event_add_locked(struct driver *driver, struct driver_event *event);
void driver_event_remove_locked(struct driver *driver, struct driver_event *event);

/* The cancel object may be NULL. @return false if it has been fired already; then nothing was added. */
bool driver_wait_add_locked(struct driver *driver, struct driver_wait *wait, struct lockstep_cancel *cancel);
void driver_wait_remove_locked(struct driver_wait *wait);

/* A lock that an acquire may fill; NULL: no memory. Holds a reference to the driver. */
struct lockstep_lock *driver_lock_create_locked(struct driver *driver, const char *key, lockstep_lost_cb on_lost, void *arg);
/* The grant is there. */
void driver_lock_granted_locked(struct lockstep_lock *lock, struct lsc_hold *hold);
/* Nothing came of it. */
void driver_lock_discard_locked(struct lockstep_lock *lock);
/* The lock is in its user's hands: on_lost may be called. */
void driver_lock_handed_locked(struct lockstep_lock *lock);

/* ---- link.c, the loop's thread only ---- */

/* Connect to "host:port". Tells driver_link_…() below. */
void link_open(struct driver *driver, const char *address);
void link_close(struct driver *driver);
void link_send(struct driver *driver, const void *data, size_t size);

/* What link.c tells. */
void driver_link_connected(struct driver *driver);
void driver_link_received(struct driver *driver, const void *data, size_t size);
/* The link is closed already. */
void driver_link_failed(struct driver *driver, const char *why);
/* A handle of link.c's has been closed. */
void driver_handle_closed(struct driver *driver);

#endif
