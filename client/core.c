/* The ways into the core, and what follows each: lsc_settle(). Decides nothing about requests, sessions or locks itself;
 * the parts are listed in state.h, the invariants in core.h. */
#include "client/core.h"

#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

enum { OUT_BYTES_MAX = 16 * 1024 * 1024 }; /* CALL_SENT_MAX requests of the largest size are half of it */
_Static_assert((long)CALL_SENT_MAX *PROTO_REQUEST_BODY_BYTES_MAX < OUT_BYTES_MAX, "all that may be sent fits");

struct lsc_core *lsc_core_create(const struct lsc_config *config, const struct lsc_output *output, struct boot_time now)
{
    struct lsc_core *core = calloc(1, sizeof(*core));
    if (core == NULL) {
        return NULL;
    }
    core->config = *config;
    core->output = *output;
    core->cluster_id = config->cluster_id;
    core->clock.drift_ppm = config->drift_ppm;
    core->next_id = 1;
    core->calls_due = BOOT_NEVER;
    core->leases_due = BOOT_NEVER;
    core->close_due = BOOT_NEVER;
    core->route.lost_at = now;
    proto_buffer_init(&core->in, PROTO_FRAME_HEADER_BYTES + 4 + 2 * PROTO_FRAME_BODY_BYTES_MAX);
    proto_buffer_init(&core->out, OUT_BYTES_MAX);
    proto_buffer_init(&core->scratch, PROTO_FRAME_BODY_BYTES_MAX);
    core->owner = strdup(config->owner);
    core->rows = malloc(sizeof(*core->rows)); /* not cleared: pages that no list needs are never touched */
    if (core->owner == NULL || core->rows == NULL || !lsc_route_init(core)) {
        lsc_core_free(core);
        return NULL;
    }
    lsc_session_init(core);
    return core;
}

static void free_grants(struct lsc_core *core)
{
    while (core->grants != NULL) {
        struct lsc_grant *grant = core->grants;
        core->grants = grant->next;
        while (grant->first_hold != NULL) {
            struct lsc_hold *hold = grant->first_hold;
            grant->first_hold = hold->next;
            free(hold);
        }
        free(grant);
    }
}

void lsc_core_free(struct lsc_core *core)
{
    if (core == NULL) {
        return;
    }
    lsc_calls_fail_all(core, LOCKSTEP_CLOSED);
    free_grants(core);
    lsc_route_done(core);
    proto_buffer_done(&core->in);
    proto_buffer_done(&core->out);
    proto_buffer_done(&core->scratch);
    explicit_bzero(core->session.secret, sizeof(core->session.secret));
    explicit_bzero(core->config.adopt_secret, sizeof(core->config.adopt_secret));
    free(core->rows);
    free(core->owner);
    free(core);
}

uint64_t lsc_random(struct lsc_core *core)
{
    uint64_t bits = 0;
    core->output.random(core->output.ctx, &bits, sizeof(bits));
    return bits;
}

/* ---- after every input ---- */

static void flush(struct lsc_core *core, struct boot_time now)
{
    bool connected = core->route.state == ROUTE_GREETING || core->route.state == ROUTE_READY;
    if (core->out.failed && connected) {
        lsc_route_broken(core, now, "no memory for what is to be sent");
    } else if (core->out.size > 0 && connected) {
        core->route.said_at = now;
        core->output.send(core->output.ctx, core->out.data, core->out.size);
    }
    proto_buffer_clear(&core->out);
}

void lsc_settle(struct lsc_core *core, struct boot_time now)
{
    if (core->closed) {
        return;
    }
    lsc_calls_expire(core, now);   /* first, so that nobody waits longer than asked for, whatever else is due */
    lsc_session_settle(core, now); /* may ask for a connection */
    lsc_grants_settle(core, now);  /* before anything is sent, so that what is given back goes along */
    lsc_route_settle(core, now);
    lsc_calls_send(core, now);
    flush(core, now);
    bool is_given_back = core->keep_session && core->calls_count == 0;
    if (core->closing && !core->closed && (is_given_back || boot_reached(now, core->close_due))) {
        lsc_closed(core, is_given_back ? LOCKSTEP_OK : LOCKSTEP_UNKNOWN);
    }
}

/* ---- the connection ---- */

void lsc_core_connected(struct lsc_core *core, struct boot_time now)
{
    if (core->closed || core->route.state != ROUTE_CONNECTING) {
        return;
    }
    core->route.state = ROUTE_GREETING;
    lsc_route_heard(core, now);
    struct proto_hello_request hello = {
        .version_min = PROTO_VERSION_MIN,
        .version_max = PROTO_VERSION_MAX,
        .cluster_id = core->cluster_id,
        .agent = {(const uint8_t *)core->owner, (uint32_t)strlen(core->owner)},
    };
    size_t begin = proto_frame_begin(&core->out);
    proto_encode_hello_request(&core->out, &hello);
    if (!proto_frame_end(&core->out, begin, false)) {
        core->out.failed = true;
    }
    lsc_settle(core, now);
}

static bool is_connected(const struct lsc_core *core)
{
    return core->route.state == ROUTE_GREETING || core->route.state == ROUTE_READY;
}

/* Handle the whole frames that have come. @return how many bytes they took; anything if the connection was dropped. */
static size_t take_frames(struct lsc_core *core, struct boot_time now)
{
    size_t taken = 0;
    while (is_connected(core) && taken < core->in.size) {
        struct proto_bytes body;
        size_t frame_bytes = 0;
        enum proto_frame_result result =
            proto_frame_take(core->in.data + taken, core->in.size - taken, PROTO_FRAME_BODY_BYTES_MAX, &core->scratch,
                             &body, &frame_bytes);
        if (result == PROTO_FRAME_PARTIAL) {
            break;
        }
        if (result != PROTO_FRAME_OK) {
            lsc_route_broken(core, now, "%s", proto_frame_result_text(result));
            break;
        }
        taken += frame_bytes;
        if (core->route.state == ROUTE_GREETING) {
            lsc_route_greeted(core, now, body);
        } else {
            lsc_answer(core, now, body);
        }
    }
    return taken;
}

void lsc_core_received(struct lsc_core *core, struct boot_time now, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (!core->closed && is_connected(core) && size > 0) {
        /* In portions, so that a burst of answers needs no more memory than the largest of them. */
        size_t portion = size < PROTO_FRAME_BODY_BYTES_MAX ? size : PROTO_FRAME_BODY_BYTES_MAX;
        lsc_route_heard(core, now);
        if (!proto_buffer_append(&core->in, at, portion)) {
            lsc_route_broken(core, now, "no memory for what came");
            break;
        }
        size_t taken = take_frames(core, now);
        if (is_connected(core)) {
            proto_buffer_consume(&core->in, taken);
        }
        at += portion;
        size -= portion;
    }
    lsc_settle(core, now);
}

bool lsc_core_is_led(const struct lsc_core *core)
{
    return core->route.state == ROUTE_READY && core->route.leads;
}

void lsc_core_disconnected(struct lsc_core *core, struct boot_time now, const char *why)
{
    if (core->closed) {
        return;
    }
    lsc_route_dropped(core, now, why);
    lsc_settle(core, now);
}

/* ---- time ---- */

void lsc_core_tick(struct lsc_core *core, struct boot_time now)
{
    lsc_settle(core, now);
}

struct boot_time lsc_core_deadline(struct lsc_core *core)
{
    if (core->closed) {
        return BOOT_NEVER;
    }
    struct boot_time due = boot_earlier(core->calls_due, core->close_due);
    due = boot_earlier(due, lsc_route_deadline(core));
    due = boot_earlier(due, lsc_session_deadline(core));
    return boot_earlier(due, lsc_grants_deadline(core));
}

/* ---- the end ---- */

void lsc_closed(struct lsc_core *core, int result)
{
    LOCKSTEP_ASSERT(core->closing);
    LOCKSTEP_ASSERT(!core->closed);
    core->closed = true;
    if (core->route.state != ROUTE_IDLE && core->route.state != ROUTE_WAITING) {
        core->output.close(core->output.ctx);
    }
    core->route.state = ROUTE_IDLE;
    struct lsc_outcome outcome = {.result = result, .detail = ""};
    core->close_done(core->close_user, &outcome);
}

/* Whatever happens to the locks from now on, nobody wants to hear of it. */
static void silence_holds(struct lsc_core *core)
{
    for (struct lsc_grant *grant = core->grants; grant != NULL; grant = grant->next) {
        for (struct lsc_hold *hold = grant->first_hold; hold != NULL; hold = hold->next) {
            hold->released = true;
        }
    }
}

void lsc_core_close(struct lsc_core *core, struct boot_time now, bool keep_session, void *user, lsc_done_cb done)
{
    LOCKSTEP_ASSERT(!core->closing);
    core->closing = true;
    core->keep_session = keep_session;
    core->close_user = user;
    core->close_done = done;
    silence_holds(core);
    lsc_calls_fail_all(core, LOCKSTEP_CLOSED);
    bool session = core->session.state == SESSION_OPEN || core->session.opener != NULL;
    if (keep_session ? core->calls_count == 0 : !session) {
        lsc_closed(core, !keep_session && core->session.unheard ? LOCKSTEP_UNKNOWN : LOCKSTEP_OK);
        return;
    }
    uint64_t wait_ms = core->config.request_timeout_ms < CLOSE_MS_MAX ? core->config.request_timeout_ms : CLOSE_MS_MAX;
    core->close_due = boot_after(now, wait_ms);
    if (!keep_session && core->session.state == SESSION_OPEN) {
        lsc_session_close(core, now);
    }
    lsc_settle(core, now);
}
