/* One row per answer. The enum, its text, the client's next step and the CLI's exit code expand it; docs/protocol.md
 * has the same table. Numbers are never reused.
 *
 * outcome  DONE      the operation took effect (committed and applied)
 *          NOT_DONE  it did not and never will, under this request id
 *          UNKNOWN   it may or may not; ask again with the same request id
 * client   RETURNS            hands the answer to its caller
 *          WAITS_THEN_RETRIES retries after the hint, same id
 *          ASKS_NEXT_LEADER   finds the leader and asks again, same id
 *          REOPENS            the session is gone: reports it lost; a new one needs a new open */
#ifndef LOCKSTEP_PROTOCOL_STATUS_H
#define LOCKSTEP_PROTOCOL_STATUS_H

#include <stdint.h>

/*    name             code outcome   client              text */
#define PROTO_STATUSES(X)                                                                                        \
    X(OK,              0,   DONE,     RETURNS,            "done")                                                \
    X(HELD,            1,   NOT_DONE, RETURNS,            "held by another")                                     \
    X(TIMED_OUT,       2,   NOT_DONE, RETURNS,            "not granted within the wait; the queue was left")     \
    X(CANCELLED,       3,   NOT_DONE, RETURNS,            "the wait was cancelled")                              \
    X(NOT_HELD,        4,   NOT_DONE, RETURNS,            "this token does not hold the lock")                   \
    X(SESSION_EXPIRED, 5,   NOT_DONE, REOPENS,            "the session has ended or never was")                  \
    X(BAD_SECRET,      6,   NOT_DONE, RETURNS,            "the secret is not this session's")                    \
    X(LIMIT_MISMATCH,  7,   NOT_DONE, RETURNS,            "the lock is in use with another limit of permits")    \
    X(MODE_CONFLICT,   8,   NOT_DONE, RETURNS,            "this session holds the lock in another mode")         \
    X(STALE_REQUEST,   9,   NOT_DONE, RETURNS,            "the request id lies at or below the acknowledged floor") \
    X(REQUEST_REUSED,  10,  NOT_DONE, RETURNS,            "the request id was used for another operation")       \
    X(WINDOW_FULL,     11,  NOT_DONE, WAITS_THEN_RETRIES, "too many unacknowledged requests in this session")    \
    X(LIMIT_REACHED,   12,  NOT_DONE, WAITS_THEN_RETRIES, "a bound of the cluster's state was reached")          \
    X(NOT_FOUND,       13,  NOT_DONE, RETURNS,            "there is no such thing")                              \
    X(INVALID,         14,  NOT_DONE, RETURNS,            "a field is out of bounds")                            \
    X(MALFORMED,       15,  NOT_DONE, RETURNS,            "the message could not be decoded")                    \
    X(UNSUPPORTED,     16,  NOT_DONE, RETURNS,            "this node does not know the operation or version")    \
    X(NOT_LEADER,      17,  NOT_DONE, ASKS_NEXT_LEADER,   "another node leads")                                  \
    X(UNAVAILABLE,     18,  UNKNOWN,  ASKS_NEXT_LEADER,   "leadership was lost on the way")                      \
    X(OVERLOADED,      19,  NOT_DONE, WAITS_THEN_RETRIES, "a limit of the node was reached; retry later")        \
    X(WRONG_CLUSTER,   20,  NOT_DONE, RETURNS,            "the node belongs to another cluster")                 \
    X(STALE_FENCE,     21,  NOT_DONE, RETURNS,            "the fence is not that of a current holder")           \
    X(QUEUED,          22,  UNKNOWN,  RETURNS,            "the request waits in its lock's queue")               \
    X(REFUSED,         23,  NOT_DONE, RETURNS,            "the wait can never be granted any more")              \
    X(TOO_MANY_HOLDS,  24,  NOT_DONE, RETURNS,            "the grant was entered too often")

enum proto_status {
#define X(name, code, outcome, client, text) PROTO_STATUS_##name = code,
    PROTO_STATUSES(X)
#undef X
};

enum proto_outcome { PROTO_OUTCOME_DONE, PROTO_OUTCOME_NOT_DONE, PROTO_OUTCOME_UNKNOWN };
enum proto_next_step { PROTO_NEXT_RETURNS, PROTO_NEXT_WAITS_THEN_RETRIES, PROTO_NEXT_ASKS_NEXT_LEADER, PROTO_NEXT_REOPENS };

struct proto_status_row {
    enum proto_status status;
    const char *name; /* "NOT_HELD" */
    const char *text;
    enum proto_outcome outcome;
    enum proto_next_step next;
};

/* The row of `code`, or NULL if this version does not know it. Static memory. Any thread. */
const struct proto_status_row *proto_status_find(uint64_t code);

/* The row's name, or "UNKNOWN_STATUS". */
const char *proto_status_name(uint64_t code);

#endif
