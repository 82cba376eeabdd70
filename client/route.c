/* Owns the connection: to which node, since when, and whether it is alive. Never reads a request.
 *
 *   idle --> waiting --> connecting --> greeting --> ready
 *              ^             |             |           |
 *              +-------------+-- failed ---+-----------+
 *
 * The leader is found by hints: a node that does not lead names the one that does. A hint is followed at once, unless its
 * address has just failed or hints begin to go in circles; else the addresses are tried in turn with backoff. A node that is
 * in the midst of an election knows no leader to name, and is the first to learn of one: it is not left at once, since
 * it tells (leader.moved), and clients that wait cost it nothing, unlike clients that come back.
 *
 * A dead connection is noticed by silence, not by TCP: while something is awaited and nothing is heard for a heartbeat, a
 * ping goes out; after another silent heartbeat the connection is given up. Both together are a sixth of the session's
 * TTL at most, so that after a renewal that found no ear (at a third of it) half of the TTL is left to find another node.
 * Where nothing is awaited, a ping goes out now and then for the node, which closes what it hears nothing of. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/backoff.h"
#include "client/options.h"
#include "client/state.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

/* ---- addresses ---- */

bool lsc_route_init(struct lsc_core *core)
{
    struct route *route = &core->route;
    route->failure = LOCKSTEP_UNREACHABLE;
    for (unsigned i = 0; i < core->config.endpoints_count && i < ROUTE_ADDRESSES_MAX; i++) {
        route->addresses[i] = strdup(core->config.endpoints[i]);
        if (route->addresses[i] == NULL) {
            return false;
        }
        route->addresses_count++;
    }
    route->configured_count = route->addresses_count;
    core->config.endpoints = NULL; /* the caller's memory */
    return true;
}

void lsc_route_done(struct lsc_core *core)
{
    for (unsigned i = 0; i < core->route.addresses_count; i++) {
        free(core->route.addresses[i]);
    }
}

/* A place for another address; if there is none, that of the hint which was learned longest ago. Nodes that get new addresses
 * all the time must not use up the places. */
static unsigned room_for(struct route *route)
{
    if (route->addresses_count < ROUTE_ADDRESSES_MAX) {
        return route->addresses_count++;
    }
    unsigned at = 0;
    do {
        at = route->configured_count + route->replaced_count % (ROUTE_ADDRESSES_MAX - route->configured_count);
        route->replaced_count++;
    } while (route->addresses[at] == route->target || route->addresses[at] == route->avoid);
    return at;
}

/* The address as one of ours, or NULL if it is none. */
static const char *learn(struct route *route, struct proto_bytes address)
{
    char text[PROTO_ADDRESS_BYTES_MAX + 1];
    if (address.size == 0 || address.size > PROTO_ADDRESS_BYTES_MAX) {
        return NULL;
    }
    memcpy(text, address.data, address.size);
    text[address.size] = '\0';
    if (strlen(text) != address.size || !address_valid(text)) {
        return NULL;
    }
    for (unsigned i = 0; i < route->addresses_count; i++) {
        if (strcmp(route->addresses[i], text) == 0) {
            return route->addresses[i];
        }
    }
    char *copy = strdup(text);
    if (copy != NULL) {
        unsigned at = room_for(route);
        free(route->addresses[at]);
        route->addresses[at] = copy;
    }
    return copy;
}

/* ---- leaving a node ---- */

/* There is no connection any more: what was sent is to be sent again. */
static void leave(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    route->leads = false;
    route->pinged = false;
    route->node_id = 0;
    route->leader_id = 0;
    route->leader_address[0] = '\0';
    proto_buffer_clear(&core->in);
    proto_buffer_clear(&core->out);
    if (route->lost_at.ms == UINT64_MAX) {
        route->lost_at = now;
        core->calls_due = boot_earlier(core->calls_due, boot_after(now, core->config.request_timeout_ms));
    }
    lsc_calls_disconnected(core, now);
}

static void retry_after(struct lsc_core *core, struct boot_time now, uint64_t wait_ms)
{
    core->route.state = ROUTE_WAITING;
    core->route.due = boot_after(now, wait_ms);
}

/* It has just failed, and may take a whole connect timeout to fail again. */
static bool is_avoided(const struct route *route, struct boot_time now, const char *address)
{
    return address != NULL && address == route->avoid && !boot_reached(now, route->avoid_until);
}

static void next_address(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    route->next = (route->next + 1) % route->addresses_count;
    if (is_avoided(route, now, route->addresses[route->next])) {
        route->next = (route->next + 1) % route->addresses_count;
    }
    route->target = route->addresses[route->next];
    retry_after(core, now, backoff_ms(route->attempt, lsc_random(core)));
    route->attempt++;
}

static void note_failure(struct lsc_core *core, int result, const char *why)
{
    struct route *route = &core->route;
    route->failure_streak = result == LOCKSTEP_UNREACHABLE ? 0 : route->failure_streak + 1;
    route->failure = result;
    (void)snprintf(route->failure_text, sizeof(route->failure_text), "%.255s: %.200s", route->target, why);
    if (core->config.pinned || route->failure_streak >= route->addresses_count) {
        /* There is no other node to ask, or every one says so: waiting will not make it better. */
        lsc_calls_fail_unsent(core, result, route->failure_text);
    }
}

static void fail(struct lsc_core *core, struct boot_time now, int result, const char *why)
{
    struct route *route = &core->route;
    route->avoid = route->target;
    route->avoid_until = boot_after(now, ROUTE_AVOID_MS);
    leave(core, now);
    note_failure(core, result, why);
    next_address(core, now);
}

static void drop(struct lsc_core *core, struct boot_time now, int result, const char *why)
{
    core->output.close(core->output.ctx);
    fail(core, now, result, why);
}

void lsc_route_dropped(struct lsc_core *core, struct boot_time now, const char *why)
{
    if (core->route.state == ROUTE_CONNECTING || core->route.state == ROUTE_GREETING ||
        core->route.state == ROUTE_READY) {
        fail(core, now, LOCKSTEP_UNREACHABLE, why);
    }
}

void lsc_route_broken(struct lsc_core *core, struct boot_time now, const char *format, ...)
{
    char why[DETAIL_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, sizeof(why), format, arguments); /* a longer one is cut */
    va_end(arguments);
    if (core->route.attempt < 3) {
        core->route.attempt = 3; /* a node that talks nonsense is not asked again at once */
    }
    drop(core, now, LOCKSTEP_UNREACHABLE, why);
}

/* The address that a hint leads to, or NULL if it is not worth going there now. */
static const char *worth_following(struct route *route, struct boot_time now, uint64_t leader_id, struct proto_bytes address)
{
    bool elsewhere = leader_id != 0 && leader_id != route->node_id;
    const char *hint = elsewhere ? learn(route, address) : NULL;
    return is_avoided(route, now, hint) ? NULL : hint;
}

void lsc_route_moved(struct lsc_core *core, struct boot_time now, uint64_t leader_id, struct proto_bytes address)
{
    struct route *route = &core->route;
    if (route->state != ROUTE_READY || core->config.pinned) {
        return;
    }
    bool elsewhere = leader_id != 0 && leader_id != route->node_id;
    const char *hint = worth_following(route, now, leader_id, address);
    (void)snprintf(route->failure_text, sizeof(route->failure_text), "%.255s does not lead and %s", route->target,
                   elsewhere ? "named a leader that could not be reached" : "knows no leader");
    route->failure = LOCKSTEP_UNREACHABLE;
    route->failure_streak = 0;
    core->output.close(core->output.ctx);
    leave(core, now);
    if (hint == NULL) {
        next_address(core, now);
        return;
    }
    route->target = hint;
    route->redirects++;
    if (route->redirects <= ROUTE_REDIRECTS_MAX) {
        retry_after(core, now, 0);
    } else {
        retry_after(core, now, backoff_ms(route->attempt, lsc_random(core)));
        route->attempt++;
    }
}

/* ---- reaching a node ---- */

static void start(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    if (route->target == NULL) {
        /* The first attempt of all: not every client begins with the first endpoint. */
        route->next = (unsigned)(lsc_random(core) % route->configured_count);
        route->target = route->addresses[route->next];
    }
    uint64_t wait_ms = core->config.connect_timeout_ms;
    uint64_t sixth_ms = lsc_session_ttl_ms(core) / 6;
    if (core->session.state == SESSION_OPEN && wait_ms > sixth_ms) {
        wait_ms = sixth_ms;
    }
    route->state = ROUTE_CONNECTING;
    route->due = boot_after(now, wait_ms);
    core->output.connect(core->output.ctx, route->target);
}

/* Take the hint of the node that is connected, to be followed when the leader is wanted. */
static void take_hint(struct lsc_core *core, struct boot_time now, uint64_t leader_id, struct proto_bytes address)
{
    struct route *route = &core->route;
    size_t size = address.size < PROTO_ADDRESS_BYTES_MAX ? address.size : PROTO_ADDRESS_BYTES_MAX;
    if (size > 0) {
        memcpy(route->leader_address, address.data, size);
    }
    route->leader_address[size] = '\0';
    route->leader_id = leader_id;
    route->leads = core->config.pinned || (leader_id != 0 && leader_id == route->node_id);
    if (route->leads) {
        lsc_session_resume(core, now);
    }
}

static void ready(struct lsc_core *core, struct boot_time now, const struct proto_hello_reply *hello)
{
    struct route *route = &core->route;
    route->state = ROUTE_READY;
    route->node_id = hello->node_id;
    route->heartbeat_ms = hello->heartbeat_ms;
    route->due = boot_after(now, ROUTE_PATIENCE_MS + lsc_random(core) % ROUTE_PATIENCE_MS);
    take_hint(core, now, hello->leader_id, hello->leader_address);
}

void lsc_route_told(struct lsc_core *core, struct boot_time now, uint64_t leader_id, struct proto_bytes address)
{
    struct route *route = &core->route;
    if (route->state != ROUTE_READY || core->config.pinned) {
        return;
    }
    if (!route->leads) {
        take_hint(core, now, leader_id, address);
    } else if (leader_id == 0 || leader_id != route->node_id) {
        lsc_route_moved(core, now, leader_id, address);
    }
}

void lsc_route_greeted(struct lsc_core *core, struct boot_time now, struct proto_bytes body)
{
    struct proto_hello_reply hello;
    struct proto_error error;
    char why[DETAIL_BYTES];
    if (!proto_decode_hello_reply(body, &hello, &error)) {
        lsc_route_broken(core, now, "its greeting is no hello: %s", error.detail);
        return;
    }
    if (hello.status != PROTO_STATUS_OK) {
        (void)snprintf(why, sizeof(why), "%s: %.*s", proto_status_name(hello.status), (int)hello.detail.size,
                       (const char *)hello.detail.data);
        int result = result_of_status(hello.status);
        bool final = result == LOCKSTEP_WRONG_CLUSTER || result == LOCKSTEP_UNSUPPORTED;
        drop(core, now, final ? result : LOCKSTEP_UNREACHABLE, why);
    } else if (hello.version < PROTO_VERSION_MIN || hello.version > PROTO_VERSION_MAX) {
        (void)snprintf(why, sizeof(why), "it chose version %llu of the protocol", (unsigned long long)hello.version);
        drop(core, now, LOCKSTEP_UNSUPPORTED, why);
    } else if (core->cluster_id != 0 && hello.cluster_id != core->cluster_id) {
        (void)snprintf(why, sizeof(why), "it belongs to cluster %llu, not %llu", (unsigned long long)hello.cluster_id,
                       (unsigned long long)core->cluster_id);
        drop(core, now, LOCKSTEP_WRONG_CLUSTER, why);
    } else {
        core->cluster_id = hello.cluster_id;
        ready(core, now, &hello);
    }
}

void lsc_route_served(struct lsc_core *core)
{
    struct route *route = &core->route;
    route->attempt = 0;
    route->redirects = 0;
    route->lost_at = BOOT_NEVER;
    route->failure = LOCKSTEP_UNREACHABLE;
    route->failure_streak = 0;
    route->avoid = NULL;
}

/* ---- heartbeats ---- */

static uint64_t heartbeat_ms(const struct lsc_core *core)
{
    uint64_t ms = core->route.heartbeat_ms;
    ms = ms < ROUTE_HEARTBEAT_MS_MAX ? ms : ROUTE_HEARTBEAT_MS_MAX;
    uint64_t share_ms = lsc_session_ttl_ms(core) / ROUTE_HEARTBEATS_PER_TTL;
    if (core->session.state != SESSION_NONE && ms > share_ms) {
        ms = share_ms;
    }
    return ms > ROUTE_HEARTBEAT_MS_MIN ? ms : ROUTE_HEARTBEAT_MS_MIN;
}

void lsc_route_heard(struct lsc_core *core, struct boot_time now)
{
    core->route.heard_at = now;
    core->route.pinged = false;
}

/* Something is awaited from now on; before, silence meant nothing. */
void lsc_route_awaits(struct lsc_core *core, struct boot_time now)
{
    core->route.heard_at = now;
}

static struct boot_time silence_due(const struct lsc_core *core)
{
    const struct route *route = &core->route;
    if (core->sent_count == 0 && !route->pinged) {
        /* Nothing is awaited; but a session that is renewed rarely must not lose its connection as idle every minute. */
        bool kept = core->session.state == SESSION_OPEN;
        return kept ? boot_after(route->said_at, ROUTE_KEEPALIVE_MS) : BOOT_NEVER;
    }
    return boot_after(route->pinged ? route->pinged_at : route->heard_at, heartbeat_ms(core));
}

static void ping(struct lsc_core *core, struct boot_time now)
{
    struct proto_request request = {.kind = PROTO_PING, .id = lsc_other_id(core)};
    size_t begin = proto_frame_begin(&core->out);
    proto_encode_request(&core->out, &request);
    if (!proto_frame_end(&core->out, begin, false)) {
        core->out.failed = true;
    }
    core->route.pinged = true;
    core->route.pinged_at = now;
}

/* ---- deciding ---- */

static bool wants_leader(const struct lsc_core *core)
{
    bool session = core->session.state == SESSION_OPEN || core->session.state == SESSION_OPENING;
    return !core->config.pinned && (session || core->leader_calls > 0);
}

static bool leader_is_elsewhere(const struct lsc_core *core)
{
    return !core->route.leads && wants_leader(core);
}

/* Queries that any node may answer are answered before the node is left for the leader; but those of several threads may
 * never leave a gap, so the session and what needs the leader wait for them no longer than for a leader to be known. */
static bool serves_here(const struct lsc_core *core)
{
    return core->calls_count > core->leader_calls;
}

static void go_to_leader(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    char address[PROTO_ADDRESS_BYTES_MAX + 1];
    memcpy(address, route->leader_address, sizeof(address));
    struct proto_bytes bytes = {(const uint8_t *)address, (uint32_t)strlen(address)};
    bool patient = boot_reached(now, route->due);
    if (!patient && worth_following(route, now, route->leader_id, bytes) == NULL) {
        return;
    }
    route->attempt = patient ? 0 : route->attempt; /* that was wait enough */
    lsc_route_moved(core, now, route->leader_id, bytes);
}

static void settle_ready(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    if (leader_is_elsewhere(core) && (!serves_here(core) || boot_reached(now, core->route.due))) {
        go_to_leader(core, now);
        return;
    }
    if (!boot_reached(now, silence_due(core))) {
        return;
    }
    if (route->pinged) {
        drop(core, now, LOCKSTEP_UNREACHABLE, "it fell silent");
    } else {
        ping(core, now);
    }
}

void lsc_route_settle(struct lsc_core *core, struct boot_time now)
{
    struct route *route = &core->route;
    if (route->state == ROUTE_READY) {
        settle_ready(core, now); /* may leave the node */
    }
    bool wanted = core->calls_count > 0 || core->session.state == SESSION_OPEN;
    bool is_due = boot_reached(now, route->due);
    if (route->state == ROUTE_IDLE && wanted) {
        start(core, now);
    } else if (route->state == ROUTE_WAITING && !wanted) {
        route->state = ROUTE_IDLE;
    } else if (route->state == ROUTE_WAITING && is_due) {
        start(core, now);
    } else if ((route->state == ROUTE_CONNECTING || route->state == ROUTE_GREETING) && is_due) {
        drop(core, now, LOCKSTEP_UNREACHABLE, "it did not answer in time");
    }
}

static struct boot_time ready_deadline(const struct lsc_core *core)
{
    if (!leader_is_elsewhere(core)) {
        return silence_due(core);
    }
    return serves_here(core) ? boot_earlier(core->route.due, silence_due(core)) : core->route.due;
}

struct boot_time lsc_route_deadline(const struct lsc_core *core)
{
    switch (core->route.state) {
    case ROUTE_WAITING:
    case ROUTE_CONNECTING:
    case ROUTE_GREETING:
        return core->route.due;
    case ROUTE_READY:
        return ready_deadline(core);
    case ROUTE_IDLE:
        break;
    }
    return BOOT_NEVER;
}
