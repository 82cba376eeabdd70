/* The client without sockets, threads and clock: bytes, the time and calls come in, bytes and answers go out. blocking.c
 * and async.c drive it through driver.c, the simulation drives it directly. It is deterministic: randomness comes through
 * the seam. One thread at a time; whoever drives it holds what lock that needs.
 *
 * A core has one session and one connection. Every function takes the time, which never goes back.
 *
 * Invariants
 *  K1  The `done` of a call runs exactly once: within the call's own function, or within a later one. Then the call is gone
 *      for its caller (the core may go on with it in the background).
 *  K2  A request id is never used for two requests. The same request goes out again only with its own id.
 *  K3  The acknowledged floor that goes with a request lies below every id whose answer is still wanted.
 *  K4  `hold_lost` runs once at most for a hold, never before the `done` that gives it nor after its release was asked for or
 *      it was freed, and while the core is driven by its deadline, not after the hold's certain time has ended.
 *  K5  What was sent in the session and not answered is sent again, in order of id, on every new connection, until it is
 *      answered or the session has ended. Nothing else is ever repeated that could take effect twice. */
#ifndef LOCKSTEP_CLIENT_CORE_H
#define LOCKSTEP_CLIENT_CORE_H

#include <stddef.h>

#include "client/include/lockstep.h"
#include "client/time.h"
#include "protocol/message.h"

struct lsc_core;
struct lsc_call; /* an operation that is under way */
struct lsc_hold; /* one handle's share of a grant */

/* What the core needs of its driver. They run within the core's functions and must not call any of them. */
struct lsc_output {
    void *ctx;
    /* Connect to "host:port"; then lsc_core_connected() or lsc_core_disconnected(). There is one connection at a time. */
    void (*connect)(void *ctx, const char *address);
    /* Send these bytes on the connection; they are copied or written before this returns. */
    void (*send)(void *ctx, const void *data, size_t size);
    /* Drop the connection, or the attempt at one. Nothing is heard of it any more. */
    void (*close)(void *ctx);
    /* Fill `data` with random bytes. */
    void (*random)(void *ctx, void *data, size_t size);
    /* The hold that was given with `user` is lost. */
    void (*hold_lost)(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail);
    /* The session has ended, after every hold of it was told. */
    void (*session_lost)(void *ctx, enum lockstep_lost_reason reason, const char *detail);
};

#define LSC_LEAD_AUTO UINT64_MAX

struct lsc_config {
    const char *const *endpoints; /* "host:port"; copied */
    unsigned endpoints_count;
    const char *owner; /* copied */
    uint64_t cluster_id;
    uint64_t session_ttl_ms;
    uint64_t lock_delay_ms;
    uint64_t request_timeout_ms;
    uint64_t connect_timeout_ms;
    uint32_t drift_ppm;
    uint64_t lost_lead_ms; /* LSC_LEAD_AUTO */
    bool pinned;           /* ask this one endpoint, whoever leads */
    uint64_t adopt_session_id; /* not 0: work on this session, see lockstep_client_adopt() */
    uint8_t adopt_secret[PROTO_SECRET_BYTES];
};

/* NULL if there is no memory. The caller frees it with lsc_core_free(). Nothing is sent before it is asked for something. */
struct lsc_core *lsc_core_create(const struct lsc_config *config, const struct lsc_output *output, struct boot_time now);
/* Frees everything at once, without a word to anybody: after lsc_core_close(), or when the process is given up. Calls that
 * are under way end with LOCKSTEP_CLOSED. Holds that were not freed are freed. */
void lsc_core_free(struct lsc_core *core);

/* ---- input from the connection ---- */

void lsc_core_connected(struct lsc_core *core, struct boot_time now);
void lsc_core_received(struct lsc_core *core, struct boot_time now, const void *data, size_t size);
/* @param why  a sentence's end, "connection refused". */
void lsc_core_disconnected(struct lsc_core *core, struct boot_time now, const char *why);

/* ---- time ---- */

/* When lsc_core_tick() is wanted; BOOT_NEVER. May change with every call of any function. */
struct boot_time lsc_core_deadline(struct lsc_core *core);
void lsc_core_tick(struct lsc_core *core, struct boot_time now);

/* ---- operations ---- */

struct lsc_outcome {
    int result;                      /* enum lockstep_result */
    const char *detail;              /* a sentence, or "" */
    const struct proto_reply *reply; /* the final answer, with its rows; NULL if none came */
    struct lsc_hold *hold;           /* an acquire's, on LOCKSTEP_OK: to be freed with lsc_hold_free() */
};
/* Everything in `outcome` lives during the call only, but for the hold, which is not to be freed within the call. */
typedef void (*lsc_done_cb)(void *user, const struct lsc_outcome *outcome);

/* Each gives the call, or NULL if `done` has run already (nothing left to do, nothing possible, no memory). The fields of
 * requests are the caller's responsibility (options.h has the checks); strings are copied. */

/* `hold_user` is what hold_lost() will be given for the hold that comes of it. */
struct lsc_call *lsc_acquire(struct lsc_core *core, struct boot_time now, const struct proto_lock_acquire *body,
                             void *hold_user, void *user, lsc_done_cb done);
/* End the acquire with CANCELLED now; what became of it at the cluster is undone in the background. */
void lsc_acquire_cancel(struct lsc_core *core, struct boot_time now, struct lsc_call *call);

struct lsc_call *lsc_extend(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold, uint64_t ttl_ms, void *user,
                            lsc_done_cb done);
struct lsc_call *lsc_set_value(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold,
                               struct proto_bytes value, void *user, lsc_done_cb done);
/* From here on it is not held; the release goes on in the background when its time is up. */
struct lsc_call *lsc_release(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold, void *user,
                             lsc_done_cb done);

/* Wait until there is a session. */
struct lsc_call *lsc_session_open(struct lsc_core *core, struct boot_time now, void *user, lsc_done_cb done);
struct lsc_call *lsc_session_renew(struct lsc_core *core, struct boot_time now, uint64_t ttl_ms, void *user,
                                   lsc_done_cb done);

/* A query, an administrator's operation or a local one: kind, `stale` and body are read of `request`. */
struct lsc_call *lsc_ask(struct lsc_core *core, struct boot_time now, const struct proto_request *request, void *user,
                         lsc_done_cb done);

/* Come to an end: calls end with LOCKSTEP_CLOSED, holds are not held any more, the session is closed at the cluster unless
 * `keep_session` (then only what was released before is seen to). `done` runs when that is answered (LOCKSTEP_OK: nothing is left
 * to be done at the cluster), or after its time (LOCKSTEP_UNKNOWN); then only lsc_hold_free() and lsc_core_free() may be called. */
void lsc_core_close(struct lsc_core *core, struct boot_time now, bool keep_session, void *user, lsc_done_cb done);

/* ---- facts ---- */

/* There is a connection, to a node that says that it leads. */
bool lsc_core_is_led(const struct lsc_core *core);
uint64_t lsc_session_id(const struct lsc_core *core); /* 0: none */
const uint8_t *lsc_session_secret(const struct lsc_core *core);
/* Another process gets the secret: from now on it may release and lose what is held here (verify.c). */
void lsc_session_share(struct lsc_core *core);

/* A hold of an adopted session's grant. NULL if there is no memory. */
struct lsc_hold *lsc_hold_adopt(struct lsc_core *core, const char *key, uint64_t token, uint64_t fence, void *hold_user);
/* Free it; a lock that it still holds is released in the background. */
void lsc_hold_free(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold);
const char *lsc_hold_key(const struct lsc_hold *hold);
uint64_t lsc_hold_token(const struct lsc_hold *hold);
uint64_t lsc_hold_fence(const struct lsc_hold *hold);
uint64_t lsc_hold_session_id(const struct lsc_hold *hold);
/* Neither lost nor released, as far as is known; its time may be uncertain (adopted). */
bool lsc_hold_is_live(const struct lsc_core *core, const struct lsc_hold *hold);
/* Certainly held: neither lost nor released, and certain time is left. */
bool lsc_hold_is_held(const struct lsc_core *core, struct boot_time now, const struct lsc_hold *hold);
/* Certain time left, 0 if it was released or there is none. Goes on through the lead after hold_lost(). */
uint64_t lsc_hold_remaining_ms(const struct lsc_core *core, struct boot_time now, const struct lsc_hold *hold);

#endif
