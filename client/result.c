/* Owns the table of results: one row each with name, outcome and text. And each thread's last sentence. */
#include "client/result.h"

#include <stdarg.h>
#include <stdio.h>

/*    name             outcome   text */
#define RESULTS(X)                                                                                       \
    X(OK,              DONE,     "done")                                                                 \
    X(HELD,            NOT_DONE, "held by another")                                                      \
    X(TIMED_OUT,       NOT_DONE, "not granted within the wait; the queue was left")                      \
    X(CANCELLED,       NOT_DONE, "the wait was cancelled")                                               \
    X(NOT_HELD,        NOT_DONE, "this grant has ended")                                                 \
    X(SESSION_LOST,    NOT_DONE, "the session has ended, and with it its locks and waits")               \
    X(UNREACHABLE,     NOT_DONE, "no leader was reached in time; nothing was done")                      \
    X(UNKNOWN,         UNKNOWN,  "no answer in time; it may or may not have been done")                  \
    X(INVALID,         NOT_DONE, "an argument is out of bounds")                                         \
    X(NOT_FOUND,       NOT_DONE, "there is no such thing")                                               \
    X(LIMIT,           NOT_DONE, "a limit was reached")                                                  \
    X(WRONG_CLUSTER,   NOT_DONE, "the nodes belong to another cluster")                                  \
    X(STALE_FENCE,     NOT_DONE, "the fence is not that of a current holder")                            \
    X(NO_MEMORY,       NOT_DONE, "this process has no memory left")                                      \
    X(MODE_CONFLICT,   NOT_DONE, "this session holds the lock in another mode")                          \
    X(LIMIT_MISMATCH,  NOT_DONE, "the lock is in use with another limit of permits")                     \
    X(REFUSED,         NOT_DONE, "the wait can never be granted any more")                               \
    X(BAD_SECRET,      NOT_DONE, "the secret is not this session's")                                     \
    X(UNSUPPORTED,     NOT_DONE, "the node does not know the operation or the protocol's version")       \
    X(PROTOCOL,        UNKNOWN,  "the node's answer broke the protocol")                                 \
    X(SYSTEM,          NOT_DONE, "the system refused a thread, a descriptor or randomness")              \
    X(TOO_MANY_HOLDS,  NOT_DONE, "the grant was entered too often")                                      \
    X(CLOSED,          UNKNOWN,  "the client was closed while the operation was under way")

static const struct row {
    int result;
    const char *name;
    const char *text;
    enum lockstep_outcome outcome;
} rows[] = {
#define X(name, outcome, text) {LOCKSTEP_##name, #name, text, LOCKSTEP_OUTCOME_##outcome},
    RESULTS(X)
#undef X
};

static _Thread_local char sentence[DETAIL_BYTES];

static const struct row *row_of(int result)
{
    bool known = result >= 0 && (size_t)result < sizeof(rows) / sizeof(rows[0]);
    return known ? &rows[result] : NULL;
}

const char *lockstep_result_name(int result)
{
    const struct row *row = row_of(result);
    return row == NULL ? "UNKNOWN_RESULT" : row->name;
}

const char *lockstep_result_text(int result)
{
    const struct row *row = row_of(result);
    return row == NULL ? "a result that this version does not know" : row->text;
}

enum lockstep_outcome lockstep_outcome(int result)
{
    const struct row *row = row_of(result);
    return row == NULL ? LOCKSTEP_OUTCOME_UNKNOWN : row->outcome;
}

const char *lockstep_error_message(void)
{
    return sentence;
}

int result_set(int result, const char *format, ...)
{
    if (result == LOCKSTEP_OK) {
        sentence[0] = '\0';
        return result;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments); /* a longer one is cut */
    va_end(arguments);
    return result;
}

int result_explain(int result, const char *detail)
{
    bool has_detail = detail != NULL && detail[0] != '\0';
    return result_set(result, "%s", has_detail ? detail : lockstep_result_text(result));
}

const char *lockstep_lost_reason_text(int reason)
{
    switch (reason) {
    case LOCKSTEP_LOST_UNCERTAIN:
        return "could not be renewed in time";
    case LOCKSTEP_LOST_EXPIRED:
        return "expired";
    case LOCKSTEP_LOST_KILLED:
        return "session killed by an administrator";
    case LOCKSTEP_LOST_FORCED:
        return "taken away by an administrator";
    case LOCKSTEP_LOST_ENDED:
        return "ended";
    default:
        return "unknown";
    }
}

enum lockstep_lost_reason lost_reason_of(enum proto_end_reason reason)
{
    switch (reason) {
    case PROTO_END_EXPIRED:
        return LOCKSTEP_LOST_EXPIRED;
    case PROTO_END_KILLED:
        return LOCKSTEP_LOST_KILLED;
    case PROTO_END_FORCED:
        return LOCKSTEP_LOST_FORCED;
    case PROTO_END_RELEASED:
        break;
    }
    return LOCKSTEP_LOST_ENDED;
}

int result_of_status(enum proto_status status)
{
    switch (status) {
    case PROTO_STATUS_OK:
        return LOCKSTEP_OK;
    case PROTO_STATUS_HELD:
        return LOCKSTEP_HELD;
    case PROTO_STATUS_TIMED_OUT:
        return LOCKSTEP_TIMED_OUT;
    case PROTO_STATUS_CANCELLED:
        return LOCKSTEP_CANCELLED;
    case PROTO_STATUS_NOT_HELD:
        return LOCKSTEP_NOT_HELD;
    case PROTO_STATUS_SESSION_EXPIRED:
        return LOCKSTEP_SESSION_LOST;
    case PROTO_STATUS_BAD_SECRET:
        return LOCKSTEP_BAD_SECRET;
    case PROTO_STATUS_LIMIT_MISMATCH:
        return LOCKSTEP_LIMIT_MISMATCH;
    case PROTO_STATUS_MODE_CONFLICT:
        return LOCKSTEP_MODE_CONFLICT;
    case PROTO_STATUS_WINDOW_FULL:
    case PROTO_STATUS_LIMIT_REACHED:
    case PROTO_STATUS_OVERLOADED:
        return LOCKSTEP_LIMIT;
    case PROTO_STATUS_NOT_FOUND:
        return LOCKSTEP_NOT_FOUND;
    case PROTO_STATUS_INVALID:
    case PROTO_STATUS_MALFORMED:
        return LOCKSTEP_INVALID;
    case PROTO_STATUS_UNSUPPORTED:
        return LOCKSTEP_UNSUPPORTED;
    case PROTO_STATUS_NOT_LEADER:
        return LOCKSTEP_UNREACHABLE;
    case PROTO_STATUS_UNAVAILABLE:
        return LOCKSTEP_UNKNOWN;
    case PROTO_STATUS_WRONG_CLUSTER:
        return LOCKSTEP_WRONG_CLUSTER;
    case PROTO_STATUS_STALE_FENCE:
        return LOCKSTEP_STALE_FENCE;
    case PROTO_STATUS_REFUSED:
        return LOCKSTEP_REFUSED;
    case PROTO_STATUS_TOO_MANY_HOLDS:
        return LOCKSTEP_TOO_MANY_HOLDS;
    case PROTO_STATUS_STALE_REQUEST:
    case PROTO_STATUS_REQUEST_REUSED:
    case PROTO_STATUS_QUEUED:
        break;
    }
    return LOCKSTEP_PROTOCOL;
}
