/* One call of the public API while it is under way: arguments checked, the core asked, its answer copied. What then happens
 * is the flavour's: blocking.c wakes the thread that waits, async.c queues the callback. */
#ifndef LOCKSTEP_CLIENT_OPERATION_H
#define LOCKSTEP_CLIENT_OPERATION_H

#include "client/driver.h"
#include "client/result.h"

enum operation_kind {
    OPERATION_PLAIN,
    OPERATION_ACQUIRE,
    OPERATION_LOCK_STATUS,
    OPERATION_LOCK_LIST,
    OPERATION_SESSION_LIST,
    OPERATION_NUMBER, /* a fence or a count */
};

struct operation {
    enum operation_kind kind;
    struct driver *driver;
    /* The answer is in the fields below; mutex held, called once. May run within the function that begins it. */
    void (*ended)(struct operation *operation);
    bool done;
    int result;
    char detail[DETAIL_BYTES];
    struct lockstep_lock *lock;    /* ACQUIRE, on OK */
    struct lockstep_holder holder; /* ACQUIRE, on HELD */
    void *answer;                  /* LOCK_STATUS, LOCK_LIST, SESSION_LIST, on OK: of views.h */
    uint64_t number;               /* NUMBER, on OK and STALE_FENCE */
    char key[PROTO_KEY_BYTES_MAX + 1];
    struct driver_watch watch;
};

/* Each checks its arguments and begins. @return LOCKSTEP_OK, and `ended` runs once; or an error with its sentence, and it never
 * does. The mutex is not held. `driver` and `ended` are set by the caller, everything else is cleared. */
int operation_acquire(struct operation *operation, const char *key, const struct lockstep_acquire_options *options);
int operation_extend(struct operation *operation, struct lockstep_lock *lock, int64_t ttl_ms);
int operation_set_value(struct operation *operation, struct lockstep_lock *lock, const void *value, size_t value_bytes);
int operation_release(struct operation *operation, struct lockstep_lock *lock);
int operation_session_open(struct operation *operation);
int operation_session_renew(struct operation *operation, int64_t ttl_ms);
int operation_lock_status(struct operation *operation, const char *key, bool stale);
int operation_lock_list(struct operation *operation, const char *prefix, const char *after, uint32_t max, bool stale);
int operation_session_get(struct operation *operation, uint64_t session_id, bool stale);
int operation_session_list(struct operation *operation, uint64_t after_id, uint32_t max, bool stale);
int operation_fence_check(struct operation *operation, const char *key, uint64_t fence, bool stale);
int operation_force_release(struct operation *operation, const char *key, uint64_t token, const char *reason);
int operation_session_kill(struct operation *operation, uint64_t session_id, const char *reason);
int operation_transfer(struct operation *operation, uint64_t node_id);

#endif
