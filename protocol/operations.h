/* One row per operation. The enum, the decoder, admission, the state machine's dispatch, metrics, the CLI and a
 * table of docs/protocol.md expand it. A new operation is a row, a function, a scenario. Kinds are never reused.
 *
 * sent_by    ANYONE    needs no session
 *            SESSION   carries [session id, secret, acknowledged floor]; executed at most once per request id
 *            ADMIN     no session; later restricted by access rules
 *            INTERNAL  never accepted from a connection: the node itself proposes it
 * served_by  LOG       goes through the log; the leader answers after it was committed and applied
 *            QUERY     read of the state machine: linearizable at the leader, or `stale` at any node
 *            LOCAL     answered by the node that received it, from what it knows itself */
#ifndef LOCKSTEP_PROTOCOL_OPERATIONS_H
#define LOCKSTEP_PROTOCOL_OPERATIONS_H

#include <stdint.h>

/*    kind  enum            name                   function        sent_by   served_by  since */
#define PROTO_OPERATIONS(X)                                                                   \
    X(1,    SESSION_OPEN,   "session.open",        session_open,   ANYONE,   LOG,       1)    \
    X(2,    SESSION_RENEW,  "session.renew",       session_renew,  SESSION,  LOG,       1)    \
    X(3,    SESSION_CLOSE,  "session.close",       session_close,  SESSION,  LOG,       1)    \
    X(10,   LOCK_ACQUIRE,   "lock.acquire",        lock_acquire,   SESSION,  LOG,       1)    \
    X(11,   LOCK_EXTEND,    "lock.extend",         lock_extend,    SESSION,  LOG,       1)    \
    X(12,   LOCK_RELEASE,   "lock.release",        lock_release,   SESSION,  LOG,       1)    \
    X(13,   LOCK_CANCEL,    "lock.cancel",         lock_cancel,    SESSION,  LOG,       1)    \
    X(14,   LOCK_SET_VALUE, "lock.set_value",      lock_set_value, SESSION,  LOG,       1)    \
    X(20,   LOCK_GET,       "lock.get",            lock_get,       ANYONE,   QUERY,     1)    \
    X(21,   LOCK_LIST,      "lock.list",           lock_list,      ANYONE,   QUERY,     1)    \
    X(22,   SESSION_GET,    "session.get",         session_get,    ANYONE,   QUERY,     1)    \
    X(23,   SESSION_LIST,   "session.list",        session_list,   ANYONE,   QUERY,     1)    \
    X(24,   FENCE_CHECK,    "fence.check",         fence_check,    ANYONE,   QUERY,     1)    \
    X(25,   REQUEST_GET,    "request.get",         request_get,    ANYONE,   QUERY,     1)    \
    X(30,   FORCE_RELEASE,  "lock.force_release",  force_release,  ADMIN,    LOG,       1)    \
    X(31,   SESSION_KILL,   "session.kill",        session_kill,   ADMIN,    LOG,       1)    \
    X(40,   CLUSTER_STATUS, "cluster.status",      cluster_status, ANYONE,   LOCAL,     1)    \
    X(41,   CLUSTER_TRANSFER, "cluster.transfer",  cluster_transfer, ADMIN,  LOCAL,     1)    \
    X(42,   PING,           "ping",                ping,           ANYONE,   LOCAL,     1)    \
    X(60,   EPOCH_RAISE,    "epoch.raise",         epoch_raise,    INTERNAL, LOG,       1)

enum proto_kind {
#define X(kind, enum_name, name, function, sent_by, served_by, since) PROTO_##enum_name = kind,
    PROTO_OPERATIONS(X)
#undef X
};

/* Events a node sends unasked. Kinds of events and of operations do not overlap. */
/*    kind  enum            name */
#define PROTO_EVENTS(X)                     \
    X(100,  GRANT_LOST,     "grant.lost")   \
    X(101,  SESSION_ENDED,  "session.ended") \
    X(102,  LEADER_MOVED,   "leader.moved")

enum proto_event_kind {
#define X(kind, enum_name, name) PROTO_EVENT_##enum_name = kind,
    PROTO_EVENTS(X)
#undef X
};

enum proto_sent_by { PROTO_ANYONE, PROTO_SESSION, PROTO_ADMIN, PROTO_INTERNAL };
enum proto_served_by { PROTO_LOG, PROTO_QUERY, PROTO_LOCAL };

struct proto_operation {
    enum proto_kind kind;
    const char *name;
    enum proto_sent_by sent_by;
    enum proto_served_by served_by;
    unsigned since; /* protocol version that brought it */
};

/* The row of `kind`, or NULL if there is none. Static memory. Any thread. */
const struct proto_operation *proto_operation_find(uint64_t kind);

#endif
