/* The tables of docs/protocol.md that the code has. */
#include "docs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void put(struct proto_buffer *out, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    assert_in_range(size, 0, sizeof line - 1);
    assert_true(proto_buffer_append(out, line, (size_t)size));
}

static void put_operations(struct proto_buffer *out)
{
    put(out, "| kind | name | sent by | answered by | since version |\n| ---: | --- | --- | --- | ---: |\n");
#define ANYONE   "anyone"
#define SESSION  "a session"
#define ADMIN    "an administrator"
#define INTERNAL "nodes only: never on the wire"
#define LOG      "log"
#define QUERY    "query"
#define LOCAL    "local"
#define X(kind, enum_name, name, function, sent_by, served_by, since) \
    put(out, "| %d | `%s` | %s | %s | %d |\n", kind, name, sent_by, served_by, since);
    PROTO_OPERATIONS(X)
#undef X
}

static void put_events(struct proto_buffer *out)
{
    put(out, "| kind | name |\n| ---: | --- |\n");
#define X(kind, enum_name, name) put(out, "| %d | `%s` |\n", kind, name);
    PROTO_EVENTS(X)
#undef X
}

static void put_statuses(struct proto_buffer *out)
{
    put(out, "| code | name | meaning | outcome | the client |\n| ---: | --- | --- | --- | --- |\n");
#define DONE               "done"
#define NOT_DONE           "not done"
#define UNKNOWN            "unknown"
#define RETURNS            "tells its caller"
#define WAITS_THEN_RETRIES "waits as told, then asks again"
#define ASKS_NEXT_LEADER   "asks the next leader"
#define REOPENS            "reports the session as lost"
#define X(name, code, outcome, client, text) \
    put(out, "| %d | `%s` | %s | %s | %s |\n", code, #name, text, outcome, client);
    PROTO_STATUSES(X)
#undef X
}

static void put_limits(struct proto_buffer *out)
{
    put(out, "| limit | value |\n| --- | ---: |\n");
#define LIMIT(value, text) put(out, "| %s | %" PRIu64 " |\n", text, (uint64_t)(value));
    LIMIT(PROTO_KEY_BYTES_MAX, "bytes of a key, at least 1")
    LIMIT(PROTO_VALUE_BYTES_MAX, "bytes of a lock's value")
    LIMIT(PROTO_OWNER_BYTES_MAX, "bytes of an owner, and of hello's agent")
    LIMIT(PROTO_REASON_BYTES_MAX, "bytes of an administrator's reason, at least 1")
    LIMIT(PROTO_DETAIL_BYTES_MAX, "bytes of a refusal's detail")
    LIMIT(PROTO_ADDRESS_BYTES_MAX, "bytes of an address")
    LIMIT(PROTO_SECRET_BYTES, "bytes of a secret, exactly")
    LIMIT(PROTO_TTL_MS_MIN, "milliseconds of a TTL, least")
    LIMIT(PROTO_TTL_MS_MAX, "milliseconds of a TTL, most")
    LIMIT(PROTO_LOCK_DELAY_MS_MAX, "milliseconds of a lock-delay")
    LIMIT(PROTO_WAIT_MS_MAX, "milliseconds of a wait that ends")
    LIMIT(PROTO_WAIT_FOREVER, "a wait without an end")
    LIMIT(PROTO_PERMITS_MAX, "permits, and their limit")
    LIMIT(PROTO_LIST_MAX, "rows of a page")
    LIMIT(PROTO_STATUS_HOLDERS_MAX, "holders shown by `lock.get`, and waiters")
    LIMIT(PROTO_MEMBERS_MAX, "nodes of a cluster")
    LIMIT(PROTO_FRAME_BODY_BYTES_MAX, "bytes of a frame's body, expanded")
    LIMIT(PROTO_REQUEST_BODY_BYTES_MAX, "bytes of a request's body, expanded")
    LIMIT(PROTO_COMPRESS_ABOVE_BYTES, "bytes above which a body may be compressed")
    LIMIT(FSM_WINDOW_REPLIES_MAX, "requests of a session that are remembered or under way")
    LIMIT(FSM_SESSIONS_MAX, "sessions of a cluster")
    LIMIT(FSM_LOCKS_MAX, "locks of a cluster")
    LIMIT(FSM_HOLDERS_PER_LOCK_MAX, "holders of a lock")
    LIMIT(FSM_WAITERS_PER_LOCK_MAX, "waiters of a lock")
    LIMIT(FSM_WAITING_BYTES_PER_LOCK_MAX, "bytes of the values that the waiters of a lock bring, together")
    LIMIT(FSM_HOLDS_MAX, "holds of a grant")
#undef LIMIT
}

void docs_table(struct proto_buffer *out, const char *name)
{
    if (strcmp(name, "operations") == 0) {
        put_operations(out);
    } else if (strcmp(name, "events") == 0) {
        put_events(out);
    } else if (strcmp(name, "statuses") == 0) {
        put_statuses(out);
    } else if (strcmp(name, "limits") == 0) {
        put_limits(out);
    } else {
        fail_msg("there is no table \"%s\"", name);
    }
}
