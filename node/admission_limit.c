/* Admission, stage 5: what is more than the node will hold or a connection may ask is refused with a time to come back.
 * Renewals have an eighth more room everywhere: an overloaded node that refused them would end the leases of clients
 * that did nothing wrong. */
#include <inttypes.h>

#include "node/admission.h"
#include "node/core_state.h"

enum { IN_FLIGHT_RETRY_MS = 100, ADMIN_PER_SECOND_MAX = 100, ADMIN_WINDOW_MS = 1000 };

static size_t with_room(size_t limit, const struct request *request)
{
    return request_is_renewal(request) ? limit + limit / 8 + 1 : limit;
}

/* A token bucket that holds one second's worth. @return 0, or after how many milliseconds to come back. */
static uint64_t rate_wait(struct core *core, const struct request *request)
{
    struct core_connection *connection = request->connection;
    int64_t rate = core->options.requests_per_second_max; /* thousandths of a token per millisecond */
    if (rate == 0) {
        return 0;
    }
    int64_t full = rate * 1000;
    uint64_t passed_ms = core->now.ms - connection->rate.filled_ms;
    connection->rate.filled_ms = core->now.ms;
    int64_t tokens = connection->rate.milli_tokens + (int64_t)(passed_ms < 10000 ? passed_ms : 10000) * rate;
    connection->rate.milli_tokens = tokens < full ? tokens : full;
    int64_t overdraft = request_is_renewal(request) ? full / 8 : 0;
    if (connection->rate.milli_tokens + overdraft >= 1000) {
        connection->rate.milli_tokens -= 1000;
        return 0;
    }
    return (uint64_t)((1000 - connection->rate.milli_tokens + rate - 1) / rate);
}

static void refuse(struct core *core, struct request *request, const char *limit, const char *detail,
                   uint64_t retry_ms)
{
    core_complain(core, CORE_OVERLOADED, "connection=%" PRIu64 " peer=%s limit=%s", request->connection->id,
                  request->connection->name, limit);
    request_refuse(core, request, PROTO_STATUS_OVERLOADED, detail, retry_ms);
}

/* Each of an administrator's operations is in the log, with its reason, or it is not carried out: so the limit of what is
 * written is one of what is accepted. @return 0, or after how many milliseconds to come back. */
static uint64_t admin_wait(struct core *core, const struct request *request)
{
    if (proto_operation_find(request->message.kind)->sent_by != PROTO_ADMIN ||
        rate_window_take(&core->admin, core->now.ms, ADMIN_WINDOW_MS, ADMIN_PER_SECOND_MAX)) {
        return 0;
    }
    return core->admin.begin_ms + ADMIN_WINDOW_MS - core->now.ms;
}

bool admission_limit(struct core *core, struct request *request)
{
    const struct core_options *options = &core->options;
    if (request->connection->requests_count > with_room(options->requests_per_connection_max, request)) {
        refuse(core, request, "requests_per_connection", "the connection has too many unanswered requests",
               IN_FLIGHT_RETRY_MS);
        return false;
    }
    if (core->requests.slab.used > with_room(options->requests_max, request)) {
        refuse(core, request, "requests", "the node has too many unanswered requests", IN_FLIGHT_RETRY_MS);
        return false;
    }
    uint64_t wait_ms = rate_wait(core, request);
    if (wait_ms > 0) {
        refuse(core, request, "requests_per_second", "the connection sends too many requests per second",
               wait_ms);
        return false;
    }
    wait_ms = admin_wait(core, request);
    if (wait_ms > 0) {
        refuse(core, request, "admin_requests_per_second",
               "the node takes no more administrator's operations per second", wait_ms);
        return false;
    }
    return true;
}
