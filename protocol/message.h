/* Requests, replies and events once decoded.
 *
 * Strings and byte fields are views (struct proto_bytes): decoded ones point into the frame they came from and live
 * as long as it; whoever keeps one copies it. The wire layout of each body is in encode.c beside the code. */
#ifndef LOCKSTEP_PROTOCOL_MESSAGE_H
#define LOCKSTEP_PROTOCOL_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/limits.h"
#include "protocol/operations.h"
#include "protocol/status.h"

/* Replicated time, milliseconds. Not comparable with any machine's clock; the type says so (design section 3). */
struct cluster_time {
    uint64_t ms;
};

struct proto_bytes {
    const uint8_t *data; /* not terminated; may be NULL when size is 0 */
    uint32_t size;
};

enum proto_mode { PROTO_MODE_EXCLUSIVE = 0, PROTO_MODE_SHARED = 1, PROTO_MODE_PERMITS = 2 };

/* Why a grant or a session ended without its holder's wish. Wire numbers, never reused. */
enum proto_end_reason {
    PROTO_END_RELEASED = 0, /* or closed: the client wished it */
    PROTO_END_EXPIRED = 1,  /* session's or grant's deadline passed */
    PROTO_END_KILLED = 2,   /* session.kill */
    PROTO_END_FORCED = 3,   /* lock.force_release */
};

/* ---- requests ---- */

struct proto_session_open {
    struct proto_bytes owner; /* shown to people; 0..PROTO_OWNER_BYTES_MAX */
    uint64_t ttl_ms;
    uint64_t lock_delay_ms;
    uint64_t resume_id; /* 0: open, or find the live session of this secret; else: only resume that very session */
};
struct proto_session_renew {
    uint64_t ttl_ms; /* 0 keeps the session's ttl */
};
struct proto_lock_acquire {
    struct proto_bytes key;
    enum proto_mode mode;
    uint32_t permits; /* PROTO_MODE_PERMITS: 1..limit; else 0 */
    uint32_t limit;   /* PROTO_MODE_PERMITS: 1..PROTO_PERMITS_MAX; else 0 */
    uint64_t wait_ms; /* 0 asks once; PROTO_WAIT_FOREVER; else 1..PROTO_WAIT_MS_MAX */
    bool reentrant;   /* join a grant that this session already has on the key */
    uint64_t ttl_ms;  /* the grant's own lease from its grant on; 0: only the session's */
    bool has_value;   /* set the lock's value when granted */
    struct proto_bytes value;
};
struct proto_lock_extend {
    struct proto_bytes key;
    uint64_t token;
    uint64_t ttl_ms; /* the grant's own lease from now on; 0: only the session's from now on */
};
struct proto_lock_release {
    struct proto_bytes key;
    uint64_t token;
    bool all; /* leave a reentrant grant entirely, not just one hold of it */
};
struct proto_lock_cancel {
    uint64_t target_id; /* request id of the waiting acquire, same session */
};
struct proto_lock_set_value {
    struct proto_bytes key;
    uint64_t token;
    struct proto_bytes value; /* empty removes it */
};
struct proto_lock_get {
    struct proto_bytes key;
};
struct proto_lock_list {
    struct proto_bytes prefix; /* 0..PROTO_KEY_BYTES_MAX */
    struct proto_bytes after;  /* keys greater than this; empty: from the start */
    uint32_t max;              /* 1..PROTO_LIST_MAX */
};
struct proto_session_get {
    uint64_t session_id;
};
struct proto_session_list {
    uint64_t after_id; /* ids greater than this */
    uint32_t max;      /* 1..PROTO_LIST_MAX */
};
struct proto_fence_check {
    struct proto_bytes key;
    uint64_t fence;
};
struct proto_request_get {
    uint64_t session_id;
    uint64_t request_id;
};
struct proto_force_release {
    struct proto_bytes key;
    uint64_t token; /* 0: every holder */
    struct proto_bytes reason;
};
struct proto_session_kill {
    uint64_t session_id;
    struct proto_bytes reason;
};
struct proto_cluster_transfer {
    uint64_t node_id; /* 0: any up-to-date voter */
};

union proto_request_body {
    struct proto_session_open session_open;
    struct proto_session_renew session_renew;
    struct proto_lock_acquire lock_acquire;
    struct proto_lock_extend lock_extend;
    struct proto_lock_release lock_release;
    struct proto_lock_cancel lock_cancel;
    struct proto_lock_set_value lock_set_value;
    struct proto_lock_get lock_get;
    struct proto_lock_list lock_list;
    struct proto_session_get session_get;
    struct proto_session_list session_list;
    struct proto_fence_check fence_check;
    struct proto_request_get request_get;
    struct proto_force_release force_release;
    struct proto_session_kill session_kill;
    struct proto_cluster_transfer cluster_transfer;
    /* session.close, cluster.status, ping and epoch.raise have no fields */
};

/* Wire: [kind, id, …header…, …body…]. The header depends on the operation's row:
 *   SESSION          session_id, secret (16 bytes), ack_floor
 *   session.open     secret
 *   QUERY            stale
 *   others           nothing */
struct proto_request {
    enum proto_kind kind;
    uint64_t id;         /* SESSION: the request id, 1.., never reused in its session; others: names the reply only */
    uint64_t session_id; /* SESSION only */
    uint64_t ack_floor;  /* SESSION only: replies up to this id will never be asked for again; < id */
    uint8_t secret[PROTO_SECRET_BYTES]; /* SESSION and session.open */
    bool stale;          /* QUERY: any node may answer from what it has applied */
    union proto_request_body body;
};

/* ---- replies ---- */

struct proto_holder {
    uint64_t session_id;
    struct proto_bytes owner;
    uint64_t token;
    uint64_t fence;
    enum proto_mode mode;
    uint32_t permits;    /* PERMITS only */
    uint32_t holds;      /* how often it was entered (reentrant) */
    uint64_t remaining_ms; /* of its lease, at the reply's cluster time; 0 if its end is due */
};
struct proto_waiter {
    uint64_t session_id;
    struct proto_bytes owner;
    uint64_t request_id;
    enum proto_mode mode;
    uint32_t permits;
    uint64_t remaining_ms; /* of its wait; PROTO_WAIT_FOREVER */
};

struct proto_session_reply { /* session.open, session.renew */
    uint64_t session_id;
    uint64_t ttl_ms;
    struct cluster_time deadline;
    bool resumed; /* session.open found the session alive */
};
struct proto_grant_reply { /* lock.acquire, lock.extend */
    uint64_t token;
    uint64_t fence;
    uint32_t holds;
    struct cluster_time deadline; /* the earlier of the session's and the grant's own, as of the reply */
};
struct proto_release_reply {
    uint32_t holds; /* left; 0: the lock is given back */
};
struct proto_count_reply { /* lock.force_release: holders ended; session.kill: 1 */
    uint64_t count;
};
struct proto_lock_reply { /* lock.get. A lock nobody uses: all zero, status OK */
    enum proto_mode mode;    /* of the holders; meaningful if holders_count > 0 */
    uint32_t limit;          /* PERMITS only */
    uint32_t permits_used;
    uint64_t fence;          /* of the current period; 0 if free */
    uint64_t holders_count;
    uint64_t waiters_count;
    uint64_t delay_remaining_ms; /* lock-delay still running; 0: none */
    bool has_value;
    struct proto_bytes value;
    const struct proto_holder *holders; /* in grant order, the first PROTO_STATUS_HOLDERS_MAX */
    uint32_t holders_shown;
    const struct proto_waiter *waiters; /* in queue order */
    uint32_t waiters_shown;
};
struct proto_lock_row {
    struct proto_bytes key;
    enum proto_mode mode;
    uint64_t holders_count;
    uint64_t waiters_count;
    uint64_t fence;
    uint64_t session_id;      /* first holder's; 0 if free */
    struct proto_bytes owner; /* first holder's */
    uint64_t remaining_ms;    /* first holder's */
    uint64_t delay_remaining_ms;
};
struct proto_lock_list_reply {
    const struct proto_lock_row *rows; /* in byte order of the key */
    uint32_t count;
    bool more;
};
struct proto_session_row {
    uint64_t session_id;
    struct proto_bytes owner;
    uint64_t ttl_ms;
    uint64_t remaining_ms;
    uint64_t lock_delay_ms;
    uint64_t grants_count;
    uint64_t waits_count;
    uint64_t last_request_id; /* the greatest id it has executed */
    uint64_t ack_floor;
};
struct proto_session_list_reply { /* session.list in order of id; session.get: exactly one row, or NOT_FOUND */
    const struct proto_session_row *rows;
    uint32_t count;
    bool more;
};
struct proto_fence_reply { /* fence.check: OK if `fence` is a current holder's, else STALE_FENCE; same body */
    uint64_t fence; /* the current one; 0 if the lock is free */
};
struct proto_request_reply { /* request.get: what became of a request, if its session still remembers it */
    enum proto_status status; /* that of its reply; QUEUED while it waits */
    uint64_t token;           /* of an acquire that was granted */
    uint64_t fence;
};
struct proto_member {
    uint64_t node_id;
    struct proto_bytes peer_address;
    struct proto_bytes client_address;
    bool voter;
    bool connected;        /* from this node's point of view */
    uint64_t match_index;  /* leader only, else 0 */
};
struct proto_cluster_reply { /* cluster.status: the answering node's view */
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t leader_id; /* 0: none known */
    uint64_t term;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t digest_index; /* the index that `digest` is of */
    uint64_t digest;
    uint64_t snapshot_index;
    uint64_t log_first_index;
    struct cluster_time time;
    uint64_t sessions_count;
    uint64_t locks_count;
    uint64_t uptime_ms;
    struct proto_bytes version;
    const struct proto_member *members;
    uint32_t members_count;
};
/* What goes with every status but OK, HELD (struct proto_holder) and STALE_FENCE (struct proto_fence_reply). */
struct proto_refusal {
    struct proto_bytes detail; /* one sentence: what was wrong, what is allowed; may be empty */
    uint64_t retry_after_ms;   /* OVERLOADED, WINDOW_FULL, LIMIT_REACHED; else 0 */
    uint64_t leader_id;        /* NOT_LEADER, UNAVAILABLE; 0: not known */
    struct proto_bytes leader_address; /* its client address; may be empty */
};

union proto_reply_body {
    struct proto_session_reply session;
    struct proto_grant_reply grant;
    struct proto_release_reply release;
    struct proto_count_reply count;
    struct proto_lock_reply lock;
    struct proto_lock_list_reply lock_list;
    struct proto_session_list_reply session_list;
    struct proto_fence_reply fence;
    struct proto_request_reply request;
    struct proto_cluster_reply cluster;
    struct proto_holder holder;   /* HELD */
    struct proto_refusal refusal; /* every other status but OK */
    /* session.close, lock.cancel, lock.set_value, cluster.transfer, ping, epoch.raise: OK has no fields */
};

/* Wire: [kind, id, status, time_ms, …body…]. */
struct proto_reply {
    enum proto_kind kind;
    uint64_t id;
    enum proto_status status;
    /* LOG: the cluster time of the entry that executed it (also in a remembered reply). QUERY: of the state that was
     * read. Else 0. With the local time before the first send it bounds the cluster clock: docs/client.md. */
    struct cluster_time time;
    uint64_t applied_index; /* QUERY: index the answer reflects; else 0. On the wire only for QUERY operations */
    union proto_reply_body body;
};

/* ---- events ---- Wire: [kind, session_id, …]. */

struct proto_event {
    enum proto_event_kind kind;
    uint64_t session_id;          /* GRANT_LOST, SESSION_ENDED; else 0 */
    struct cluster_time time;     /* of the entry; LEADER_MOVED: 0 */
    uint64_t token;               /* GRANT_LOST */
    struct proto_bytes key;       /* GRANT_LOST */
    enum proto_end_reason reason; /* GRANT_LOST, SESSION_ENDED */
    struct proto_bytes detail;    /* an administrator's reason; else empty */
    uint64_t leader_id;           /* LEADER_MOVED: who is likely to lead next; 0 unknown */
    struct proto_bytes leader_address;
};

/* ---- hello: the first frame each way ---- */

#define PROTO_MAGIC "LOCKSTEP"
enum { PROTO_VERSION_MIN = 1, PROTO_VERSION_MAX = 1 };

struct proto_hello_request { /* ["LOCKSTEP", version_min, version_max, cluster_id, agent] */
    uint64_t version_min;
    uint64_t version_max;
    uint64_t cluster_id; /* 0: any; else the node refuses if it is not its own */
    struct proto_bytes agent; /* for logs, 0..PROTO_OWNER_BYTES_MAX */
};
struct proto_hello_reply { /* ["LOCKSTEP", status, version, cluster_id, node_id, leader_id, leader_address, heartbeat_ms, detail] */
    enum proto_status status; /* OK, UNSUPPORTED, WRONG_CLUSTER, OVERLOADED, MALFORMED: then the node closes */
    uint64_t version;         /* what both speak from here on */
    uint64_t cluster_id;
    uint64_t node_id;
    uint64_t leader_id;       /* 0: none known */
    struct proto_bytes leader_address;
    uint64_t heartbeat_ms;    /* the client pings when it has heard nothing for so long */
    struct proto_bytes detail;
};

#endif
