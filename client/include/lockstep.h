/**
 * @file lockstep.h
 * liblockstep, the client of the Lockstep lock service. This is the only installed header and the reference manual;
 * docs/client.md (installed as share/doc/lockstep/client.md) is the guide, with the reasons.
 *
 * What the library does by itself: it finds the leader and stays with it, opens one session per client, renews it at a
 * third of its TTL, sends a request again with the same id when an answer did not come (so that it takes effect once),
 * and tells the holder of a lock before the lock can have run out.
 *
 * Conventions of the whole header:
 *  - A function that can fail returns an int: LOCKSTEP_OK or another value of enum lockstep_result. What it writes
 *    through a `ret_` pointer is written on LOCKSTEP_OK only, unless its text says otherwise.
 *  - After a failure lockstep_error_message() has one sentence about it, for the calling thread.
 *  - Strings are terminated, and copied when they are passed in. Times are milliseconds. Durations are int64_t.
 *  - Local time goes on while the machine sleeps, and is not slowed by a time daemon that corrects the wall clock: each step
 *    of it is the greater of CLOCK_BOOTTIME's and CLOCK_MONOTONIC_RAW's.
 *  - `_free(NULL)` does nothing. No other pointer may be NULL unless its text says so.
 *  - Unless its text says otherwise, a function may be called by any thread, and calls on one client run in parallel.
 *    Freeing an object while another thread uses it is the caller's error.
 *  - A thread in a function that blocks must not be cancelled (pthread_cancel()), nor left by longjmp() or an exception out of
 *    a signal handler: the library goes on with what lies on its stack, and may hold a mutex. End waits with a
 *    lockstep_cancel, and disable cancellation in threads that others cancel.
 *  - After fork() the child may use none of the parent's objects, not even to free them (their thread and sockets belong
 *    to the parent; a child that talks on them would ruin both). It creates its own client. All descriptors are
 *    close-on-exec.
 *  - The library installs no signal handler, writes nothing to standard output or error, and its thread blocks
 *    all signals. Descriptors 0, 1 and 2 are open (on /dev/null, if on nothing else): libuv ends a process in which a
 *    socket gets one of their numbers.
 *
 * tidy: long because the one installed header is the one reference manual.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LOCKSTEP_EXPORT __attribute__((visibility("default")))
#else
#define LOCKSTEP_EXPORT
#endif

struct uv_loop_s; /* libuv's uv_loop_t; only lockstep_async_create() needs <uv.h>, from its caller */

/** A client: one session, one connection to the leader, and one thread of the library's own that drives them. */
struct lockstep_client;
/** The same on the caller's libuv loop, without a thread. See lockstep_async_create(). */
struct lockstep_async;
/** One grant of one lock, held by whoever has this handle (not by a thread). */
struct lockstep_lock;
/** A switch that ends waits early. See lockstep_cancel_create(). */
struct lockstep_cancel;

/* ==== results ==== */

/** Every result there is. Numbers are stable and never reused. Beside each: its outcome, see lockstep_outcome(). */
enum lockstep_result {
    LOCKSTEP_OK = 0,             /**< done     */
    LOCKSTEP_HELD = 1,           /**< not done: another holds the lock, and no wait was asked for */
    LOCKSTEP_TIMED_OUT = 2,      /**< not done: not granted within the wait; the queue was left */
    LOCKSTEP_CANCELLED = 3,      /**< not done: this call has no lock. Its wait is taken out of the queue, or its grant given
                                      back, in the background: until the cluster is reached, others may still see it */
    LOCKSTEP_NOT_HELD = 4,       /**< not done: this grant has ended (expired, released, forced away) */
    LOCKSTEP_SESSION_LOST = 5,   /**< not done: the session ended, and with it all of its locks and waits */
    LOCKSTEP_UNREACHABLE = 6,    /**< not done: no leader was found in time; the request was never sent, or was refused */
    LOCKSTEP_UNKNOWN = 7,        /**< unknown : sent, and no answer in time. What is known is said at each function */
    LOCKSTEP_INVALID = 8,        /**< not done: an argument is out of bounds; lockstep_error_message() names it */
    LOCKSTEP_NOT_FOUND = 9,      /**< not done: there is no such session or node */
    LOCKSTEP_LIMIT = 10,         /**< not done: a limit of the cluster or of a node was reached, and stayed so */
    LOCKSTEP_WRONG_CLUSTER = 11, /**< not done: the nodes that answer belong to another cluster */
    LOCKSTEP_STALE_FENCE = 12,   /**< not done: the fence is not that of a current holder */
    LOCKSTEP_NO_MEMORY = 13,     /**< not done: this process has no memory left */
    LOCKSTEP_MODE_CONFLICT = 14, /**< not done: reentrant, and this session holds the lock in another mode (shared
                                      under its own exclusive lock is no conflict: it enters that) */
    LOCKSTEP_LIMIT_MISMATCH = 15,/**< not done: the lock is in use with another limit of permits */
    LOCKSTEP_REFUSED = 16,       /**< not done: the wait can never be granted any more */
    LOCKSTEP_BAD_SECRET = 17,    /**< not done: the handle's secret is not its session's */
    LOCKSTEP_UNSUPPORTED = 18,   /**< not done: the node does not know the operation or the protocol's version */
    LOCKSTEP_PROTOCOL = 19,      /**< unknown : the node's answer broke the protocol */
    LOCKSTEP_SYSTEM = 20,        /**< not done: the system refused a thread, a descriptor or randomness */
    LOCKSTEP_TOO_MANY_HOLDS = 21,/**< not done: a reentrant grant was entered too often */
    LOCKSTEP_CLOSED = 22         /**< unknown : the client was closed while the operation was under way */
};

/** What a result says about the operation's effect. */
enum lockstep_outcome {
    LOCKSTEP_OUTCOME_DONE,     /**< it took effect */
    LOCKSTEP_OUTCOME_NOT_DONE, /**< it did not and never will */
    LOCKSTEP_OUTCOME_UNKNOWN   /**< it may or may not have */
};

/** "NOT_HELD", or "UNKNOWN_RESULT" for a number this version does not know. Static memory. */
LOCKSTEP_EXPORT const char *lockstep_result_name(int result);
/** A short text for people: "this grant has ended". Static memory. */
LOCKSTEP_EXPORT const char *lockstep_result_text(int result);
/** The result's outcome; UNKNOWN for a number this version does not know. */
LOCKSTEP_EXPORT enum lockstep_outcome lockstep_outcome(int result);

/**
 * One sentence about the calling thread's last failure in this library (in a callback: about the result the callback
 * was given): which field was out of bounds and what is allowed, what the node said, which endpoints were tried. Never
 * NULL; "" after a success. Valid until this thread's next call of a function that can fail.
 */
LOCKSTEP_EXPORT const char *lockstep_error_message(void);

/** "0.1.0": the version of the library that runs, as opposed to that of this header. Static memory. */
LOCKSTEP_EXPORT const char *lockstep_version(void);

/* ==== limits ==== */

#define LOCKSTEP_FOREVER INT64_MAX /**< a wait without an end: until granted, cancelled, or the session's end */

enum {
    LOCKSTEP_KEY_BYTES_MAX = 256,    /**< 1..256 bytes of [A-Za-z0-9._:/@-] */
    LOCKSTEP_OWNER_BYTES_MAX = 128,  /**< printable UTF-8 */
    LOCKSTEP_VALUE_BYTES_MAX = 4096, /**< any bytes */
    LOCKSTEP_REASON_BYTES_MAX = 256, /**< 1..256 bytes of printable UTF-8 */
    LOCKSTEP_ADDRESS_BYTES_MAX = 255,
    LOCKSTEP_HANDLE_BYTES_MAX = 384, /**< a buffer of this size holds any handle and its terminator */
    LOCKSTEP_LIST_MAX = 256,         /**< rows in one page of a list */
    LOCKSTEP_ENDPOINTS_MAX = 16,
    LOCKSTEP_PERMITS_MAX = 65535
};
#define LOCKSTEP_TTL_MS_MIN ((int64_t)100)
#define LOCKSTEP_TTL_MS_MAX ((int64_t)24 * 60 * 60 * 1000)
#define LOCKSTEP_LOCK_DELAY_MS_MAX ((int64_t)60 * 60 * 1000)
#define LOCKSTEP_WAIT_MS_MAX (LOCKSTEP_TTL_MS_MAX * 365)

/* ==== options ==== */

/** Why a lock or a session was lost. */
enum lockstep_lost_reason {
    LOCKSTEP_LOST_UNCERTAIN = 1, /**< its certain time has run out, because it could not be renewed in time or because of
                                      its own lease: from now on another may be granted it */
    LOCKSTEP_LOST_EXPIRED = 2,   /**< the cluster said: its deadline has passed */
    LOCKSTEP_LOST_KILLED = 3,    /**< an administrator ended the session */
    LOCKSTEP_LOST_FORCED = 4,    /**< an administrator took the lock away */
    LOCKSTEP_LOST_ENDED = 5      /**< the cluster does not know the session any more, or another process released or
                                      closed what this handle stands for */
};

/** "expired"; "unknown" for a number this version does not know. Static memory. */
LOCKSTEP_EXPORT const char *lockstep_lost_reason_text(int reason);

/**
 * The session has ended: the cluster has said so. Every lock of it was reported lost before. A later acquire opens a new
 * session by itself (not for a client made by lockstep_client_adopt()).
 * Runs like struct lockstep_acquire_options.on_lost, and not any more once the client is being ended.
 */
typedef void (*lockstep_session_lost_cb)(void *arg, enum lockstep_lost_reason reason, const char *detail);

/** What a client is made with. Set up by lockstep_options_init(); later versions add fields at the end. */
struct lockstep_options {
    size_t size;             /**< sizeof(struct lockstep_options) of the caller's header; set by the init function */
    const char *endpoints;   /**< "host:port,[v6]:port,…", 1..16 of them; required. Any of the cluster's nodes */
    const char *owner;       /**< shown to people; NULL: user@host:pid */
    uint64_t cluster_id;     /**< refuse nodes of any other cluster; 0: stay with the first cluster that answers */
    int64_t session_ttl_ms;  /**< 100 ms .. 24 h; 10 s. Within it a dead client's locks are freed */
    int64_t lock_delay_ms;   /**< 0 .. 1 h; 0. So long its exclusive locks stay closed after the session expires */
    int64_t request_timeout_ms; /**< 1 ms .. 24 h; 10 s. For each operation, beside the wait it asks for */
    int64_t connect_timeout_ms; /**< 1 ms .. 24 h; 2 s. For one attempt at one endpoint; at most a sixth of the TTL is used */
    uint32_t drift_ppm;      /**< 0 .. 100000; 1000. How far this machine's clock and a node's may differ in speed */
    int64_t lost_lead_ms;    /**< on_lost fires so long before the certain time ends; at most a half of the TTL.
                                  -1: a tenth of the TTL, but 10 ms at least and 1 s at most */
    lockstep_session_lost_cb on_session_lost; /**< may be NULL */
    void *on_session_lost_arg;
};

/** Set every field to its default. Use the macro lockstep_options_init(&options), which passes the size. */
LOCKSTEP_EXPORT void lockstep_options_init_sized(struct lockstep_options *options, size_t size);
#define lockstep_options_init(options) lockstep_options_init_sized((options), sizeof(struct lockstep_options))

/* ==== clients ==== */

/**
 * Make a client. Checks the options and starts the library's thread; connects when the first operation needs it, so
 * that a program starts although the cluster is not up yet.
 *
 * @return LOCKSTEP_OK, and `*ret_client` is to be ended with lockstep_client_free() or lockstep_client_detach();
 *         LOCKSTEP_INVALID, LOCKSTEP_NO_MEMORY, LOCKSTEP_SYSTEM (no thread, no descriptor, or none that may be watched).
 * Does not block.
 */
LOCKSTEP_EXPORT int lockstep_client_create(const struct lockstep_options *options, struct lockstep_client **ret_client);

/**
 * End the client: close its session, which frees all of its locks at once, and stop the thread. No other call on the client
 * may be under way. Locks that still exist are not held any more; they stay to be freed with lockstep_lock_free(). From the
 * beginning of this call on, neither on_lost nor on_session_lost is called; one that runs already is waited for.
 * Blocks, at most request_timeout_ms or two seconds, whichever is shorter: if the cluster can not be reached by then, the
 * locks end with the session's TTL. A name that is being resolved at that time is waited for, however long the system's
 * resolver takes. Not to be called from a callback.
 */
LOCKSTEP_EXPORT void lockstep_client_free(struct lockstep_client *client);

/**
 * End the client like lockstep_client_free(), but leave its session and locks to the cluster, where they live until their
 * deadline: for handles (lockstep_lock_export()), which another process takes up. Waits end with their wait or the session.
 * Waits only for locks that were freed or released before and not answered, as long as lockstep_client_free(); else not at
 * all. Not to be called from a callback.
 */
LOCKSTEP_EXPORT void lockstep_client_detach(struct lockstep_client *client);

/**
 * Open the session now rather than with the first acquire, and wait for it.
 * @return LOCKSTEP_OK; LOCKSTEP_UNREACHABLE, LOCKSTEP_UNKNOWN, LOCKSTEP_WRONG_CLUSTER, LOCKSTEP_LIMIT, … Blocks.
 */
LOCKSTEP_EXPORT int lockstep_session_open(struct lockstep_client *client);

/** The session's id, 0 if there is none at the moment. */
LOCKSTEP_EXPORT uint64_t lockstep_session_id(struct lockstep_client *client);

/**
 * Renew the session now, beside the renewals that come by themselves. If there is none, it is opened (not an adopted one).
 * @param ttl_ms  the session's new TTL from now on, 100 ms .. 24 h; 0 keeps it. A new TTL also sets the pace of the
 *                client's own renewals. A shorter one takes no time away that the session had been promised.
 * @return LOCKSTEP_OK          the session lives for its TTL from now, at least.
 *         LOCKSTEP_SESSION_LOST it has ended.
 *         LOCKSTEP_UNKNOWN     no answer in time: it may have been renewed.
 *         LOCKSTEP_UNREACHABLE, LOCKSTEP_INVALID, …
 * Blocks.
 */
LOCKSTEP_EXPORT int lockstep_session_renew(struct lockstep_client *client, int64_t ttl_ms);

/* ==== cancelling ==== */

/**
 * Make a switch that ends waits early. It may serve several calls at once, also of several clients; once fired it stays so,
 * and a call that is given it then returns at once.
 * @return LOCKSTEP_OK, or LOCKSTEP_NO_MEMORY.
 */
LOCKSTEP_EXPORT int lockstep_cancel_create(struct lockstep_cancel **ret_cancel);
/** Fire it. Any thread, also in callbacks; not in signal handlers. Firing again does nothing. */
LOCKSTEP_EXPORT void lockstep_cancel_fire(struct lockstep_cancel *cancel);
/** No call that was given it may be under way. */
LOCKSTEP_EXPORT void lockstep_cancel_free(struct lockstep_cancel *cancel);

/* ==== acquiring ==== */

enum lockstep_mode { LOCKSTEP_EXCLUSIVE = 0, LOCKSTEP_SHARED = 1, LOCKSTEP_PERMITS = 2 };

/**
 * The lock is lost: stop touching what it protects. Called once at most for a lock, never after lockstep_lock_release() was
 * called on it, and always before the local deadline has passed if this process was running by then (a process that was
 * stopped hears of it when it goes on; ask lockstep_lock_remaining_ms() before what must not come too late).
 *
 * Runs on the library's thread (async: on the loop's). It must not block, for nothing is renewed meanwhile, and must not call
 * blocking functions of the same client (they return LOCKSTEP_INVALID). It may call lockstep_lock_free() on this lock, but
 * not while the thread that acquired it may still be in the acquire: a lock that is lost as soon as it is granted can be
 * reported before that call has returned.
 * @param remaining_ms  how long the lock is still certain; 0 if it is not.
 * @param detail        an administrator's reason, or ""; valid during the call.
 */
typedef void (*lockstep_lost_cb)(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                                 int64_t remaining_ms, const char *detail);

/** How to acquire. Set up by lockstep_acquire_options_init(); later versions add fields at the end. */
struct lockstep_acquire_options {
    size_t size;              /**< set by the init function */
    enum lockstep_mode mode;  /**< LOCKSTEP_EXCLUSIVE */
    uint32_t permits;         /**< LOCKSTEP_PERMITS: 1..limit; 1 */
    uint32_t limit;           /**< LOCKSTEP_PERMITS: 1..65535, the same for all who use the key; 1 */
    int64_t wait_ms;          /**< 0: ask once; 1 .. 365 days; LOCKSTEP_FOREVER. Default 0 */
    int64_t ttl_ms;           /**< the grant's own lease from its grant on, 100 ms .. 24 h; 0: the session's, renewed
                                   by the library. An own lease is renewed by nobody but lockstep_lock_extend() */
    bool reentrant;           /**< join a grant that this client already has on the key, instead of queueing behind it;
                                   `ttl_ms` can then only make its own lease longer */
    const void *value;        /**< set the lock's value when granted; NULL: leave it */
    size_t value_bytes;       /**< 0..4096; with `value` not NULL, 0 removes it */
    lockstep_lost_cb on_lost; /**< may be NULL */
    void *on_lost_arg;
    struct lockstep_cancel *cancel; /**< ends the wait early; may be NULL; must outlive the call */
};

/** Set every field to its default. Use the macro, which passes the size. */
LOCKSTEP_EXPORT void lockstep_acquire_options_init_sized(struct lockstep_acquire_options *options, size_t size);
#define lockstep_acquire_options_init(options) \
    lockstep_acquire_options_init_sized((options), sizeof(struct lockstep_acquire_options))

/** One holder of a lock, as the cluster shows it. */
struct lockstep_holder {
    uint64_t session_id;
    uint64_t token;
    uint64_t fence;
    uint64_t remaining_ms; /**< of its lease, at the answer's cluster time; 0: its end is due */
    enum lockstep_mode mode;
    uint32_t permits;      /**< LOCKSTEP_PERMITS only */
    uint32_t holds;        /**< how often it was entered (reentrant) */
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 1];
};

/**
 * Acquire `key`, queueing behind earlier requests if it is held.
 *
 * @param options    NULL: exclusive, no wait.
 * @param ret_holder filled on LOCKSTEP_HELD with (one of) the holder(s); may be NULL.
 * @param ret_lock   on LOCKSTEP_OK a lock, to be freed with lockstep_lock_free(); otherwise untouched.
 * @return LOCKSTEP_OK           granted, and a majority of nodes has recorded it.
 *         LOCKSTEP_HELD         wait_ms was 0, and another holds it.
 *         LOCKSTEP_TIMED_OUT    not granted within wait_ms; the request has left the queue.
 *         LOCKSTEP_CANCELLED    options->cancel was fired; the queue is left in the background.
 *         LOCKSTEP_SESSION_LOST the session ended while waiting. If it had been granted unheard, it has ended; a value that was
 *                               given along stays.
 *         LOCKSTEP_UNKNOWN      no answer within wait_ms + request_timeout_ms, or the cluster was out of reach for
 *                               request_timeout_ms. It may hold or wait; the library cancels it in the background,
 *                               and gives it back if it was granted, as soon as the cluster is reached again.
 *         LOCKSTEP_UNREACHABLE  it was never sent, or only refused by nodes that do not lead.
 *         LOCKSTEP_LIMIT        a limit of the session, a node or the cluster has kept it out of the queue for
 *                               request_timeout_ms, however long wait_ms.
 *         LOCKSTEP_INVALID, LOCKSTEP_MODE_CONFLICT, LOCKSTEP_LIMIT_MISMATCH, LOCKSTEP_REFUSED,
 *         LOCKSTEP_TOO_MANY_HOLDS, LOCKSTEP_WRONG_CLUSTER, LOCKSTEP_NO_MEMORY, LOCKSTEP_UNSUPPORTED, LOCKSTEP_PROTOCOL;
 *         of an adopted session also LOCKSTEP_BAD_SECRET; on a loop also LOCKSTEP_CLOSED.
 * Blocks for wait_ms + request_timeout_ms at most.
 *
 * A session remembers some 900 requests behind the oldest one that is not answered. So a client has at most so many waits at a
 * time, and while one lasts that many other operations; those beyond end with LOCKSTEP_LIMIT. Releases and cancels have room
 * for a hundred more; those beyond go on in the background, but not before that wait has ended: until then others find these locks
 * held, and those waits in their queues. Who waits for hours in a client that is busy otherwise gives the waits a client of their
 * own. Renewals are not concerned.
 */
LOCKSTEP_EXPORT int lockstep_acquire_with(struct lockstep_client *client, const char *key,
                                          const struct lockstep_acquire_options *options,
                                          struct lockstep_holder *ret_holder, struct lockstep_lock **ret_lock);
/** lockstep_acquire_with(), exclusive, waiting for wait_ms (0 asks once; LOCKSTEP_FOREVER). */
LOCKSTEP_EXPORT int lockstep_acquire(struct lockstep_client *client, const char *key, int64_t wait_ms,
                                     struct lockstep_lock **ret_lock);
/** lockstep_acquire_with(), exclusive, asking once. */
LOCKSTEP_EXPORT int lockstep_try_acquire(struct lockstep_client *client, const char *key,
                                         struct lockstep_lock **ret_lock);

/* ==== locks ==== */

/**
 * Free the handle. If it still holds the lock, the release is sent in the background, again and again until it is answered,
 * as long as the client lives; call lockstep_lock_release() first to know that it was. Once this has returned, on_lost is
 * not running and will not run (except within on_lost itself, where this may be called): the caller must hold no mutex that
 * on_lost takes. Does not wait for the network.
 */
LOCKSTEP_EXPORT void lockstep_lock_free(struct lockstep_lock *lock);

/** The key. Lives as long as the lock. */
LOCKSTEP_EXPORT const char *lockstep_lock_key(const struct lockstep_lock *lock);
/** The grant's token: unique and strictly increasing over the cluster's whole life. */
LOCKSTEP_EXPORT uint64_t lockstep_lock_token(const struct lockstep_lock *lock);
/** What storages compare: they keep the greatest fence seen and refuse a smaller one. For exclusive locks the token. */
LOCKSTEP_EXPORT uint64_t lockstep_lock_fence(const struct lockstep_lock *lock);
/** The session that holds it. */
LOCKSTEP_EXPORT uint64_t lockstep_lock_session_id(const struct lockstep_lock *lock);

/**
 * How long the lock is still certainly held, by local time at the moment of the call: 0 once it is released or uncertain, or the
 * cluster said that it has ended. For a lock without an own lease it goes back up with every renewal, until it is lost: from an
 * on_lost with LOCKSTEP_LOST_UNCERTAIN on it is what is left to stop in, and only falls. Does not ask the cluster.
 */
LOCKSTEP_EXPORT int64_t lockstep_lock_remaining_ms(const struct lockstep_lock *lock);
/** Whether it is certainly held by what this process knows: it was not lost, and the time is not up. */
LOCKSTEP_EXPORT bool lockstep_lock_is_held(const struct lockstep_lock *lock);

/**
 * Set the grant's own lease anew, from now on.
 * @param ttl_ms  100 ms .. 24 h; 0: no own lease any more, only the session's, which the library renews.
 * @return LOCKSTEP_OK       a majority has recorded it.
 *         LOCKSTEP_NOT_HELD the grant has ended; the lock is lost.
 *         LOCKSTEP_UNKNOWN  no answer in time: whichever of both leases ends earlier is counted on.
 *         LOCKSTEP_SESSION_LOST, LOCKSTEP_UNREACHABLE, LOCKSTEP_INVALID, …
 * Blocks for request_timeout_ms at most.
 */
LOCKSTEP_EXPORT int lockstep_lock_extend(struct lockstep_lock *lock, int64_t ttl_ms);

/**
 * Set the lock's value: up to 4096 bytes which whoever asks for the lock's status sees; it outlives the grant. 0 bytes
 * remove it.
 * @return LOCKSTEP_OK, LOCKSTEP_NOT_HELD, LOCKSTEP_UNKNOWN (it may be set; also if the session ended before an answer came),
 *         LOCKSTEP_SESSION_LOST, LOCKSTEP_INVALID, … Blocks.
 */
LOCKSTEP_EXPORT int lockstep_lock_set_value(struct lockstep_lock *lock, const void *value, size_t value_bytes);

/**
 * Give the lock back (of a reentrant grant, this one hold). From the call on it is not held any more by local knowledge,
 * whatever the result, and on_lost will not be called; the handle stays to be freed.
 * @return LOCKSTEP_OK           a majority has recorded it.
 *         LOCKSTEP_NOT_HELD     the grant had ended before, or this handle was released before: something may have
 *                               happened to what it protects.
 *         LOCKSTEP_SESSION_LOST the same, with the whole session.
 *         LOCKSTEP_UNKNOWN      no answer in time; the library goes on trying in the background.
 *         LOCKSTEP_UNREACHABLE, LOCKSTEP_LIMIT, LOCKSTEP_WRONG_CLUSTER, LOCKSTEP_UNSUPPORTED  as LOCKSTEP_UNKNOWN, and
 *                               certainly not released yet.
 * Blocks for request_timeout_ms at most.
 */
LOCKSTEP_EXPORT int lockstep_lock_release(struct lockstep_lock *lock);

/* ==== handles: a lock as text, for another process ==== */

/**
 * Write the lock as text, "ls1-<session id>-<secret>-<token>-<fence>-<key>" (numbers in hexadecimal). Whoever has the text
 * can extend and release the lock and close its session: treat it like a password. From now on this client asks after each
 * renewal whether what it holds still lives. Free the lock after the lockstep_client_detach(), or it is given back.
 * @param buffer  gets the terminated text; LOCKSTEP_HANDLE_BYTES_MAX bytes are always enough.
 * @return LOCKSTEP_OK; LOCKSTEP_NOT_HELD if the lock was lost or released; LOCKSTEP_INVALID if the buffer is too small.
 */
LOCKSTEP_EXPORT int lockstep_lock_export(const struct lockstep_lock *lock, char *buffer, size_t buffer_bytes);

/**
 * Take up the session and the lock of a handle in this process.
 *
 * The client that results works on that session: it renews it only from the first lockstep_session_renew() on (then
 * also by itself, until it ends), never opens another, and lockstep_client_free() closes the session, while
 * lockstep_client_detach() leaves it. The lock is uncertain (lockstep_lock_remaining_ms() is 0) until an extend of it was
 * answered, for it may have a lease of its own; its on_lost (arguments below) is then called as for any other.
 *
 * Processes that adopt one session one after another need no shared counter: the request ids go on behind the last one that
 * the cluster saw, by a random distance, and two at the same time are kept apart by the same distance. But one process at a
 * time is what this is for: whoever releases or closes does so for all, and the others learn of it with the answer to their
 * next renewal, a third of the TTL later. Until then they count on what they knew. So detach the client that made the
 * handle before another process takes it up.
 *
 * @param options  endpoints, timeouts, … ; owner, session_ttl_ms and lock_delay_ms are the session's and ignored here.
 * @param on_lost  may be NULL.
 * @param ret_client, ret_lock  on LOCKSTEP_OK, to be freed both.
 * @return LOCKSTEP_OK            the session lives (that secret and token fit shows with the first operation).
 *         LOCKSTEP_SESSION_LOST  it does not.
 *         LOCKSTEP_INVALID       the text is no handle.
 *         LOCKSTEP_UNREACHABLE, LOCKSTEP_WRONG_CLUSTER, … Blocks for request_timeout_ms at most. If it fails because the
 *         session has ended, the options' on_session_lost is called before it returns.
 */
LOCKSTEP_EXPORT int lockstep_client_adopt(const struct lockstep_options *options, const char *handle,
                                          lockstep_lost_cb on_lost, void *on_lost_arg,
                                          struct lockstep_client **ret_client, struct lockstep_lock **ret_lock);

/**
 * Extend what a handle stands for, in one call: check that its grant still lives and take away its own lease if it has one
 * (lock.extend), then renew the session for `ttl_ms` from now. It takes no time away: what the session had already been
 * promised stays. Nothing goes on in the background afterwards.
 * @param ttl_ms            100 ms .. 24 h; 0: the TTL the session has.
 * @param ret_remaining_ms  for how long it is certain now; may be NULL.
 * @return LOCKSTEP_OK; LOCKSTEP_NOT_HELD: the grant has ended, the session was not renewed; LOCKSTEP_SESSION_LOST;
 *         LOCKSTEP_UNKNOWN: it may have been renewed; LOCKSTEP_BAD_SECRET, LOCKSTEP_INVALID, LOCKSTEP_UNREACHABLE, … Blocks.
 */
LOCKSTEP_EXPORT int lockstep_handle_extend(const struct lockstep_options *options, const char *handle, int64_t ttl_ms,
                                           int64_t *ret_remaining_ms);

/**
 * Release what a handle stands for: the lock first, then its session is closed.
 * @return LOCKSTEP_OK; LOCKSTEP_NOT_HELD: the grant had ended before (the session is closed all the same);
 *         LOCKSTEP_SESSION_LOST: the session had ended before; LOCKSTEP_UNKNOWN: it may be released, and ends with the
 *         session's TTL at the latest; LOCKSTEP_BAD_SECRET, LOCKSTEP_INVALID, LOCKSTEP_UNREACHABLE, … Blocks.
 */
LOCKSTEP_EXPORT int lockstep_handle_release(const struct lockstep_options *options, const char *handle);

/** Check a handle's text and give its parts; `ret_key` has room for LOCKSTEP_KEY_BYTES_MAX + 1 bytes. Each may be NULL.
 * @return LOCKSTEP_OK or LOCKSTEP_INVALID. */
LOCKSTEP_EXPORT int lockstep_handle_parse(const char *handle, uint64_t *ret_session_id, uint64_t *ret_token,
                                          uint64_t *ret_fence, char *ret_key);

/* ==== queries ====
 * They need no session. By default linearizable: they reflect everything that was acknowledged before the call. With
 * `stale`, any node answers from what it has applied, also without a leader. What remains of leases, waits and delays is counted
 * from the answer's `time_ms`: the cluster time of the answer or, with `stale`, of the last log entry that the node has applied;
 * while nobody acquires, releases or renews anything, the latter stands still. All block, for request_timeout_ms at most, and return LOCKSTEP_OK,
 * LOCKSTEP_UNREACHABLE (no answer: a query has no effect), LOCKSTEP_INVALID, LOCKSTEP_LIMIT, LOCKSTEP_WRONG_CLUSTER,
 * LOCKSTEP_NO_MEMORY, LOCKSTEP_UNSUPPORTED, LOCKSTEP_PROTOCOL, on a loop also LOCKSTEP_CLOSED, and what is named beside them.
 * Each result is freed by its own function. */

/** One queued acquire. */
struct lockstep_waiter {
    uint64_t session_id;
    uint64_t request_id;
    uint64_t remaining_ms; /**< of its wait; UINT64_MAX: for ever */
    enum lockstep_mode mode;
    uint32_t permits;      /**< LOCKSTEP_PERMITS only */
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 1];
};

/** All about one lock. A lock that nobody uses has no holders, waiters, delay or value. */
struct lockstep_lock_status {
    char key[LOCKSTEP_KEY_BYTES_MAX + 1];
    enum lockstep_mode mode; /**< of the holders, if there are any */
    uint32_t limit;          /**< LOCKSTEP_PERMITS only */
    uint32_t permits_used;
    uint64_t fence;          /**< the current one; 0: free */
    uint64_t holders_count;
    uint64_t waiters_count;
    uint64_t delay_remaining_ms; /**< the lock-delay that still runs; 0: none */
    bool has_value;
    const void *value;
    size_t value_bytes;
    const struct lockstep_holder *holders; /**< in the order of their grants; the first 64 */
    size_t holders_shown;
    const struct lockstep_waiter *waiters; /**< in the order of the queue; the first 64 */
    size_t waiters_shown;
    uint64_t applied_index;  /**< the log index that the answer reflects */
    uint64_t time_ms;        /**< the cluster time that it reflects */
};
LOCKSTEP_EXPORT int lockstep_lock_status(struct lockstep_client *client, const char *key, bool stale,
                                         struct lockstep_lock_status **ret_status);
LOCKSTEP_EXPORT void lockstep_lock_status_free(struct lockstep_lock_status *status);

/** One lock in a list. */
struct lockstep_lock_row {
    char key[LOCKSTEP_KEY_BYTES_MAX + 1];
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 1]; /**< the first holder's */
    enum lockstep_mode mode;
    uint64_t holders_count;
    uint64_t waiters_count;
    uint64_t fence;
    uint64_t session_id;   /**< the first holder's; 0: free */
    uint64_t remaining_ms; /**< the first holder's */
    uint64_t delay_remaining_ms;
};
struct lockstep_lock_list {
    const struct lockstep_lock_row *rows; /**< in byte order of the key */
    size_t count;
    bool more; /**< ask again with `after` = the last row's key */
    uint64_t applied_index;
    uint64_t time_ms;
};
/** A page of the locks in use.
 * @param prefix  of the keys; NULL or "": all.
 * @param after   only keys greater than this; NULL or "": from the start.
 * @param max     1..256 rows. */
LOCKSTEP_EXPORT int lockstep_lock_list(struct lockstep_client *client, const char *prefix, const char *after, uint32_t max,
                                       bool stale, struct lockstep_lock_list **ret_list);
LOCKSTEP_EXPORT void lockstep_lock_list_free(struct lockstep_lock_list *list);

/** One session. */
struct lockstep_session_row {
    uint64_t session_id;
    uint64_t ttl_ms;
    uint64_t remaining_ms;
    uint64_t lock_delay_ms;
    uint64_t grants_count;
    uint64_t waits_count;
    uint64_t last_request_id;
    uint64_t ack_floor;
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 1];
};
struct lockstep_session_list {
    const struct lockstep_session_row *rows; /**< in order of id */
    size_t count;
    bool more; /**< ask again with `after_id` = the last row's id */
    uint64_t applied_index;
    uint64_t time_ms;
};
/** One session, or LOCKSTEP_NOT_FOUND. */
LOCKSTEP_EXPORT int lockstep_session_get(struct lockstep_client *client, uint64_t session_id, bool stale,
                                         struct lockstep_session_row *ret_row);
/** A page of the sessions: ids greater than `after_id` (0: from the start), 1..256 rows. */
LOCKSTEP_EXPORT int lockstep_session_list(struct lockstep_client *client, uint64_t after_id, uint32_t max, bool stale,
                                          struct lockstep_session_list **ret_list);
LOCKSTEP_EXPORT void lockstep_session_list_free(struct lockstep_session_list *list);

/**
 * Whether `fence` is that of a current holder of `key`.
 * @param ret_current  the current fence, 0 if the lock is free; also written on LOCKSTEP_STALE_FENCE; may be NULL.
 * @return LOCKSTEP_OK it is; LOCKSTEP_STALE_FENCE it is not.
 * This is a question about now, answered a moment ago: a storage that must not be written by a former holder compares the
 * fences itself (docs/client.md).
 */
LOCKSTEP_EXPORT int lockstep_fence_check(struct lockstep_client *client, const char *key, uint64_t fence, bool stale,
                                         uint64_t *ret_current);

/* ==== administration ==== */

/**
 * Take a lock away from its holder(s). They are told, if they can be reached, and no lock-delay applies.
 * @param token   that grant only; 0: every holder. With 0 it is not repeated when no answer came, because it would
 *                hit later holders: the result is then LOCKSTEP_UNKNOWN.
 * @param reason  1..256 bytes, shown to the holder and in the log of the node that leads.
 * @param ret_count  how many grants it ended; may be NULL.
 * @return LOCKSTEP_OK; LOCKSTEP_NOT_HELD or LOCKSTEP_NOT_FOUND: nothing to take; LOCKSTEP_UNKNOWN; … Blocks.
 */
LOCKSTEP_EXPORT int lockstep_force_release(struct lockstep_client *client, const char *key, uint64_t token,
                                           const char *reason, uint64_t *ret_count);
/** End a session with all that it holds and waits for. @return LOCKSTEP_OK, LOCKSTEP_NOT_FOUND (also if an earlier attempt of
 * this same call did it and its answer was lost), LOCKSTEP_UNKNOWN, … Blocks. */
LOCKSTEP_EXPORT int lockstep_session_kill(struct lockstep_client *client, uint64_t session_id, const char *reason);

/** One node of the cluster, as it answered itself. */
struct lockstep_node_status {
    char address[LOCKSTEP_ADDRESS_BYTES_MAX + 1];      /**< where it was asked */
    char peer_address[LOCKSTEP_ADDRESS_BYTES_MAX + 1]; /**< for the other nodes; "" if not known */
    uint64_t node_id;        /**< 0 if neither it nor another said */
    bool voter;              /**< by what the others say */
    int result;              /**< LOCKSTEP_OK if it answered; everything below is 0 or "" if not */
    char error[LOCKSTEP_ADDRESS_BYTES_MAX + 1]; /**< why it did not; else "" */
    bool is_leader;          /**< it says that it leads */
    uint64_t cluster_id;
    uint64_t leader_id;      /**< whom it takes for the leader; 0: none */
    uint64_t term;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t digest_index;   /**< nodes that show the same digest_index must show the same digest */
    uint64_t digest;
    uint64_t snapshot_index;
    uint64_t log_first_index;
    uint64_t time_ms;        /**< cluster time of its state */
    uint64_t sessions_count;
    uint64_t locks_count;
    uint64_t uptime_ms;
    int64_t round_trip_ms;   /**< how long its answer took, connecting included */
    char version[LOCKSTEP_OWNER_BYTES_MAX + 1];
};
struct lockstep_cluster_status {
    uint64_t cluster_id;
    uint64_t leader_id; /**< by the answer with the highest term; 0: none known */
    uint64_t term;      /**< that term */
    const struct lockstep_node_status *nodes; /**< in order of node id; those not known by id last */
    size_t nodes_count;
    size_t answered_count;
};
/**
 * Ask every node: the client's endpoints, and the members they name, each by its own client address and over a connection
 * of its own. Needs no leader. The first endpoint of the list that answers decides which cluster is shown; a node of another
 * appears with LOCKSTEP_WRONG_CLUSTER.
 * @return LOCKSTEP_OK if at least one answered; else LOCKSTEP_UNREACHABLE or LOCKSTEP_WRONG_CLUSTER. Blocks, for
 *         request_timeout_ms at most; a node that does not answer within connect_timeout_ms, or by then, counts as not
 *         reachable.
 */
LOCKSTEP_EXPORT int lockstep_cluster_status(struct lockstep_client *client, struct lockstep_cluster_status **ret_status);
LOCKSTEP_EXPORT void lockstep_cluster_status_free(struct lockstep_cluster_status *status);

/** Ask the leader to hand leadership to `node_id` (0: to any voter that is up to date). @return LOCKSTEP_OK: it has begun to, or
 * that node leads already; LOCKSTEP_NOT_FOUND: there is no such voter, or it is not connected or not up to date;
 * LOCKSTEP_UNREACHABLE, LOCKSTEP_UNKNOWN. Blocks. */
LOCKSTEP_EXPORT int lockstep_cluster_transfer(struct lockstep_client *client, uint64_t node_id);

/* ==== the same on a libuv loop ====
 * Every function below, and every function on a lock that came from one of them, is called on the loop's thread only
 * (exception: lockstep_cancel_fire()). None blocks. If a function returns anything but LOCKSTEP_OK, its callback never
 * runs; otherwise it runs once, from the loop, never from within the call, and with LOCKSTEP_CLOSED at the latest when
 * the object is closed. Callbacks may call anything here. Each object has one session, one connection and two or three
 * descriptors and no thread: thousands in one process are fine. The program ignores SIGPIPE, as for all of libuv. */

/** The end of an operation. */
typedef void (*lockstep_done_cb)(void *arg, int result);
/** The end of an acquire. `lock` is the receiver's on LOCKSTEP_OK, else NULL; `holder` is given on LOCKSTEP_HELD, else NULL, and
 * lives during the call. */
typedef void (*lockstep_acquired_cb)(void *arg, int result, struct lockstep_lock *lock,
                                     const struct lockstep_holder *holder);
/** Answers of queries: the receiver's on LOCKSTEP_OK, to be freed as with the blocking functions; else NULL. */
typedef void (*lockstep_lock_status_cb)(void *arg, int result, struct lockstep_lock_status *status);
typedef void (*lockstep_lock_list_cb)(void *arg, int result, struct lockstep_lock_list *list);
typedef void (*lockstep_session_list_cb)(void *arg, int result, struct lockstep_session_list *list);
/** `current` is valid on LOCKSTEP_OK and LOCKSTEP_STALE_FENCE. */
typedef void (*lockstep_fence_cb)(void *arg, int result, uint64_t current);

/** Make one on `loop`, which must outlive it, on its thread or before any runs it. Connects when the first operation needs it.
 * @return LOCKSTEP_OK, LOCKSTEP_INVALID, LOCKSTEP_NO_MEMORY, LOCKSTEP_SYSTEM. */
LOCKSTEP_EXPORT int lockstep_async_create(struct uv_loop_s *loop, const struct lockstep_options *options,
                                          struct lockstep_async **ret_async);
/** End it: close the session (bounded as in lockstep_client_free()), end what is under way with LOCKSTEP_CLOSED, free
 * everything, then call `cb` (may be NULL) as the last thing, with LOCKSTEP_OK if the session and all that it held and waited for
 * is gone, or there was none; with another result (LOCKSTEP_UNKNOWN: no answer in time) if that is not known, and the session
 * lives until its deadline at the latest. Locks that still exist are not held any more and stay to be freed. From this call on,
 * neither on_lost nor on_session_lost is called, whatever was lost before. Nothing else may be called on the object
 * afterwards, and of its locks none may be extended or released any more. */
LOCKSTEP_EXPORT void lockstep_async_close(struct lockstep_async *async, lockstep_done_cb cb, void *arg);
/** As lockstep_async_close(), but the session and its locks live on until their deadline. LOCKSTEP_OK: what was freed or
 * released before was answered. */
LOCKSTEP_EXPORT void lockstep_async_detach(struct lockstep_async *async, lockstep_done_cb cb, void *arg);

/** As lockstep_session_open(). */
LOCKSTEP_EXPORT int lockstep_async_session_open(struct lockstep_async *async, lockstep_done_cb cb, void *arg);
/** As lockstep_session_renew(). */
LOCKSTEP_EXPORT int lockstep_async_session_renew(struct lockstep_async *async, int64_t ttl_ms, lockstep_done_cb cb,
                                                 void *arg);
/** As lockstep_session_id(). */
LOCKSTEP_EXPORT uint64_t lockstep_async_session_id(struct lockstep_async *async);
/** As lockstep_acquire_with(). */
LOCKSTEP_EXPORT int lockstep_async_acquire(struct lockstep_async *async, const char *key,
                                           const struct lockstep_acquire_options *options, lockstep_acquired_cb cb,
                                           void *arg);
/** As lockstep_lock_extend(). */
LOCKSTEP_EXPORT int lockstep_async_extend(struct lockstep_lock *lock, int64_t ttl_ms, lockstep_done_cb cb, void *arg);
/** As lockstep_lock_set_value(). */
LOCKSTEP_EXPORT int lockstep_async_set_value(struct lockstep_lock *lock, const void *value, size_t value_bytes,
                                             lockstep_done_cb cb, void *arg);
/** As lockstep_lock_release(). The lock may be freed at once; the callback still comes. */
LOCKSTEP_EXPORT int lockstep_async_release(struct lockstep_lock *lock, lockstep_done_cb cb, void *arg);
/** As lockstep_lock_status(). */
LOCKSTEP_EXPORT int lockstep_async_lock_status(struct lockstep_async *async, const char *key, bool stale,
                                               lockstep_lock_status_cb cb, void *arg);
/** As lockstep_lock_list(). */
LOCKSTEP_EXPORT int lockstep_async_lock_list(struct lockstep_async *async, const char *prefix, const char *after,
                                             uint32_t max, bool stale, lockstep_lock_list_cb cb, void *arg);
/** As lockstep_session_get() and lockstep_session_list(): the list of one session has one row. */
LOCKSTEP_EXPORT int lockstep_async_session_get(struct lockstep_async *async, uint64_t session_id, bool stale,
                                               lockstep_session_list_cb cb, void *arg);
LOCKSTEP_EXPORT int lockstep_async_session_list(struct lockstep_async *async, uint64_t after_id, uint32_t max, bool stale,
                                                lockstep_session_list_cb cb, void *arg);
/** As lockstep_fence_check(). */
LOCKSTEP_EXPORT int lockstep_async_fence_check(struct lockstep_async *async, const char *key, uint64_t fence, bool stale,
                                               lockstep_fence_cb cb, void *arg);

#ifdef __cplusplus
}
#endif

#endif
