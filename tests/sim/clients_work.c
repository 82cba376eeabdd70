/* What clients ask for: few contended keys and some that are nearly private, all modes, and everything that can be done with a
 * lock. A slot does one thing at a time. */
#include <stdio.h>
#include <string.h>

#include "protocol/assert.h"
#include "tests/sim/clients.h"

enum {
    SHARED_KEYS = 5,
    PRIVATE_KEYS = 48,
    VALUE_KEYS = 2,
    WAIT_SHORT_MS = 40,
    WAIT_LONG_MS = 600,
    PATIENCE_US_MAX = 800 * 1000, /* a wait without an end is cancelled after so long, in the storm */
    RETRY_US = 50 * 1000,
    OWN_TTL_MS_MAX = 1500,
    FORGET_US_MAX = 2 * OWN_TTL_MS_MAX * 1000, /* who forgets to give it back lets its lease run out */
};

static uint64_t *random_of(const struct slot *slot)
{
    return &slot->client->sim->random_clients;
}

static uint64_t below(const struct slot *slot, uint64_t bound)
{
    return simulated_random(random_of(slot), bound);
}

/* Around `mean`, now and then much longer. */
static uint64_t some_time(const struct slot *slot, uint64_t mean_us)
{
    return below(slot, below(slot, 12) == 0 ? 10 * mean_us : 2 * mean_us);
}

static struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* ---- the end of an operation ---- */

static void count(const struct slot *slot, const struct lsc_outcome *outcome)
{
    struct sim *sim = slot->client->sim;
    if (lockstep_outcome(outcome->result) == LOCKSTEP_OUTCOME_UNKNOWN) {
        sim->counts.unknown++;
    } else {
        sim->counts.operations++;
    }
    sim_trace(sim, "client %u: %s %s: %s%s%s", slot->client->number,
              proto_operation_find((uint64_t)slot->kind)->name, slot->key,
              lockstep_result_name(outcome->result), outcome->detail[0] == 0 ? "" : ": ", outcome->detail);
    sim_note(sim, (uint64_t)slot->kind, slot->client->number, (uint64_t)outcome->result);
}

static void ended(struct slot *slot, const struct lsc_outcome *outcome)
{
    struct client *client = slot->client;
    struct sim *sim = client->sim;
    if (!slot->active || (outcome->result == LOCKSTEP_OK && oracle_lies(sim, "answers-twice"))) {
        sim_violation(sim, "answers", "client %u: a %s ended twice", client->number,
                      proto_operation_find((uint64_t)slot->kind)->name);
    }
    slot->active = false;
    slot->call = NULL;
    slot->cancel_us = SIM_NEVER;
    count(slot, outcome);
    struct promise_answer answer = {
        .client = client->number,
        .kind = slot->kind,
        .stale = slot->stale,
        .session = outcome->hold != NULL ? lsc_hold_session_id(outcome->hold) : lsc_session_id(client->core),
        .floor = slot->floor,
        .key = slot->key,
        .asked_session = slot->asked_session,
        .token = slot->asked_token,
        .fence = slot->asked_fence,
        .again = slot->again,
        .outcome = outcome,
    };
    if (slot->kind == PROTO_SESSION_OPEN && outcome->result == LOCKSTEP_OK) {
        promise_session_opened(sim, client->number, lsc_session_id(client->core));
    }
    promise_answer(sim, &answer);
    client->progressed = client->progressed || (outcome->result == LOCKSTEP_OK && !slot->before_calm &&
                                                client->sim->clients->calm && !slot->stale);
}

static void on_done(void *user, const struct lsc_outcome *outcome)
{
    struct slot *slot = user;
    if (slot->client->silent) {
        return;
    }
    ended(slot, outcome);
    uint64_t now_us = slot->client->sim->now_us;
    if (slot->hold.hold == NULL) {
        slot->state = SLOT_IDLE;
        slot->next_us = now_us + some_time(slot, slot->client->think_us);
    } else if (slot->hold.released && (slot->again || below(slot, 4) != 0)) {
        slot->state = SLOT_FREE_HOLD;
        slot->next_us = now_us;
    } else {
        slot->state = SLOT_HOLD;
        slot->next_us = now_us + (slot->hold.released ? 0 : some_time(slot, slot->client->hold_us));
    }
    client_touched(slot->client);
}

static void on_acquired(void *user, const struct lsc_outcome *outcome)
{
    struct slot *slot = user;
    struct client *client = slot->client;
    if (client->silent) {
        return;
    }
    uint64_t now_us = client->sim->now_us;
    ended(slot, outcome);
    slot->state = SLOT_IDLE;
    slot->next_us = now_us + some_time(slot, client->think_us);
    if (outcome->hold != NULL) {
        slot->state = SLOT_HOLD;
        slot->next_us =
            now_us + (slot->forgets ? below(slot, FORGET_US_MAX) : some_time(slot, client->hold_us));
        slot->fence = lsc_hold_fence(outcome->hold);
        slot->hold = (struct sim_hold){.sim = client->sim,
                                       .client = client->number,
                                       .token = lsc_hold_token(outcome->hold),
                                       .core = client->core,
                                       .hold = outcome->hold};
        promise_hold_begin(client->sim, &slot->hold, client_now(client));
    } else {
        slot->hold = (struct sim_hold){0};
    }
    client_touched(client);
}

/* ---- beginning one ---- */

static void begin(struct slot *slot, enum proto_kind kind)
{
    struct client *client = slot->client;
    slot->kind = kind;
    slot->state = SLOT_CALL;
    slot->active = true;
    slot->stale = slot->again = slot->before_calm = slot->cancelled = false;
    slot->floor = client->sim->oracle->acknowledged;
    slot->asked_session = slot->asked_fence = slot->asked_token = 0;
    slot->due = boot_after(client_now(client), client->timeout_ms);
    slot->cancel_us = SIM_NEVER;
    slot->call = NULL;
}

/* What a function of the core gave, if its `done` has not run already. */
static void under_way(struct slot *slot, struct lsc_call *call)
{
    if (slot->active) {
        slot->call = call;
    }
}

static void draw_key(struct slot *slot)
{
    uint64_t kind = below(slot, 16);
    if (kind < 5) {
        (void)snprintf(slot->key, sizeof(slot->key), "s%u",
                       (unsigned)below(slot, 1 + below(slot, SHARED_KEYS)));
    } else if (kind < 15) {
        unsigned number = slot->client->number * 3 + (unsigned)below(slot, 3);
        (void)snprintf(slot->key, sizeof(slot->key), "p%u", number % PRIVATE_KEYS);
    } else {
        (void)snprintf(slot->key, sizeof(slot->key), "v%u", (unsigned)below(slot, VALUE_KEYS));
    }
}

static uint64_t draw_wait(const struct slot *slot)
{
    switch (below(slot, 4)) {
    case 0:
        return 0;
    case 1:
        return 1 + below(slot, WAIT_SHORT_MS);
    case 2:
        return 1 + below(slot, WAIT_LONG_MS);
    default:
        return PROTO_WAIT_FOREVER;
    }
}

static void acquire_with(struct slot *slot, const struct proto_lock_acquire *body)
{
    struct client *client = slot->client;
    begin(slot, PROTO_LOCK_ACQUIRE);
    slot->hold = (struct sim_hold){0};
    slot->due = body->wait_ms == PROTO_WAIT_FOREVER ? BOOT_NEVER : boot_after(slot->due, body->wait_ms);
    if (!client->sim->clients->calm && (body->wait_ms == PROTO_WAIT_FOREVER || below(slot, 20) == 0)) {
        slot->cancel_us = client->sim->now_us + 1 + below(slot, PATIENCE_US_MAX);
    }
    under_way(slot, lsc_acquire(client->core, client_now(client), body, slot, slot, on_acquired));
}

static void acquire(struct slot *slot)
{
    struct proto_lock_acquire body = {0};
    draw_key(slot);
    body.key = bytes_of(slot->key);
    body.wait_ms = draw_wait(slot);
    body.reentrant = below(slot, 5) == 0;
    body.ttl_ms = below(slot, 4) == 0 ? PROTO_TTL_MS_MIN + below(slot, 1 + below(slot, OWN_TTL_MS_MAX)) : 0;
    slot->forgets = body.ttl_ms != 0 && below(slot, 16) == 0;
    uint64_t mode = below(slot, 10);
    if (mode >= 6 && mode < 9) {
        body.mode = PROTO_MODE_SHARED;
    } else if (mode == 9) {
        body.mode = PROTO_MODE_PERMITS;
        body.limit = below(slot, 16) == 0 ? 4 : 3;
        body.permits = 1 + (uint32_t)below(slot, 2);
    }
    if (slot->key[0] == 'v' && below(slot, 4) == 0) {
        body.has_value = true;
        body.value = bytes_of("at first");
    }
    acquire_with(slot, &body);
}

static void ask(struct slot *slot, struct proto_request *request)
{
    struct client *client = slot->client;
    begin(slot, request->kind);
    slot->stale = request->stale;
    if (request->kind == PROTO_SESSION_GET) {
        slot->asked_session = request->body.session_get.session_id;
    } else if (request->kind == PROTO_FENCE_CHECK) {
        slot->asked_fence = request->body.fence_check.fence;
    } else if (request->kind == PROTO_SESSION_KILL) {
        slot->asked_session = request->body.session_kill.session_id;
    }
    under_way(slot, lsc_ask(client->core, client_now(client), request, slot, on_done));
}

static void ask_something(struct slot *slot)
{
    const struct sim_oracle *oracle = slot->client->sim->oracle;
    struct proto_request request = {.kind = PROTO_LOCK_GET, .stale = below(slot, 3) == 0};
    if (slot->hold.hold == NULL) {
        draw_key(slot);
    }
    uint64_t what = below(slot, 8);
    if (what < 4) {
        request.body.lock_get.key = bytes_of(slot->key);
    } else if (what == 4) {
        request.kind = PROTO_LOCK_LIST;
        request.body.lock_list.max = PROTO_LIST_MAX;
    } else if (what == 5) {
        request.kind = PROTO_SESSION_GET;
        request.body.session_get.session_id =
            oracle->sessions_top - below(slot, 1 + oracle->sessions_top / 2);
        request.body.session_get.session_id += request.body.session_get.session_id == 0;
    } else {
        request.kind = PROTO_FENCE_CHECK;
        request.body.fence_check.key = bytes_of(slot->key);
        uint64_t back = below(slot, 1 + oracle->tokens_top / 2);
        request.body.fence_check.fence =
            slot->hold.hold != NULL ? slot->fence : 1 + oracle->tokens_top - back;
    }
    ask(slot, &request);
}

static void administer(struct slot *slot)
{
    struct client *client = slot->client;
    const struct sim_oracle *oracle = client->sim->oracle;
    struct proto_request request = {.kind = PROTO_FORCE_RELEASE};
    draw_key(slot);
    client->admin_left--;
    if (below(slot, 3) == 0 && oracle->sessions_top > 0) {
        request.kind = PROTO_SESSION_KILL;
        request.body.session_kill.session_id =
            oracle->sessions_top - below(slot, 1 + oracle->sessions_top / 2);
        request.body.session_kill.session_id += request.body.session_kill.session_id == 0;
        request.body.session_kill.reason = bytes_of("simulated");
    } else {
        request.body.force_release.key = bytes_of(slot->key);
        request.body.force_release.reason = bytes_of("simulated");
    }
    ask(slot, &request);
}

static void renew(struct slot *slot)
{
    struct client *client = slot->client;
    begin(slot, PROTO_SESSION_RENEW);
    uint64_t ttl_ms = below(slot, 3) == 0 ? 300 + below(slot, 4700) : 0;
    under_way(slot, lsc_session_renew(client->core, client_now(client), ttl_ms, slot, on_done));
}

static void open_session(struct slot *slot)
{
    struct client *client = slot->client;
    begin(slot, PROTO_SESSION_OPEN);
    under_way(slot, lsc_session_open(client->core, client_now(client), slot, on_done));
}

static void work_idle(struct slot *slot)
{
    uint64_t what = slot->reads ? 80 : below(slot, 100);
    slot->key[0] = 0;
    if (what < 76) {
        acquire(slot);
    } else if (what < 94) {
        ask_something(slot);
    } else if (what < 97) {
        renew(slot);
    } else if (what < 99 || slot->client->admin_left == 0) {
        open_session(slot);
    } else {
        administer(slot);
    }
}

/* ---- with a hold ---- */

static void release(struct slot *slot)
{
    struct client *client = slot->client;
    bool again = slot->hold.released;
    begin(slot, PROTO_LOCK_RELEASE);
    slot->again = again;
    slot->asked_token = slot->hold.token;
    slot->hold.released = true;
    under_way(slot, lsc_release(client->core, client_now(client), slot->hold.hold, slot, on_done));
}

static void free_hold(struct slot *slot)
{
    struct client *client = slot->client;
    struct lsc_hold *hold = slot->hold.hold;
    promise_hold_end(client->sim, &slot->hold);
    slot->hold = (struct sim_hold){0};
    slot->state = SLOT_IDLE;
    slot->next_us = client->sim->now_us + some_time(slot, client->think_us);
    lsc_hold_free(client->core, client_now(client), hold);
}

static void extend(struct slot *slot)
{
    struct client *client = slot->client;
    begin(slot, PROTO_LOCK_EXTEND);
    slot->asked_token = slot->hold.token;
    uint64_t ttl_ms = below(slot, 2) == 0 ? 0 : PROTO_TTL_MS_MIN + below(slot, 1500);
    under_way(slot, lsc_extend(client->core, client_now(client), slot->hold.hold, ttl_ms, slot, on_done));
}

static void set_value(struct slot *slot, const char *value)
{
    struct client *client = slot->client;
    begin(slot, PROTO_LOCK_SET_VALUE);
    slot->asked_token = slot->hold.token;
    under_way(slot, lsc_set_value(client->core, client_now(client), slot->hold.hold, bytes_of(value), slot,
                                  on_done));
}

static void work_hold(struct slot *slot)
{
    uint64_t what = below(slot, 100);
    if (slot->hold.released || slot->hold.lost) {
        release(slot); /* the second time, or as those do who have not heard of the loss */
    } else if (what < 12) {
        extend(slot);
    } else if (what < 20 && slot->key[0] == 'v') {
        set_value(slot, "another");
    } else if (what < 26) {
        ask_something(slot);
    } else if (what < 32) {
        free_hold(slot);
    } else {
        release(slot);
    }
}

void work_slot(struct slot *slot)
{
    switch (slot->state) {
    case SLOT_IDLE:
        work_idle(slot);
        break;
    case SLOT_HOLD:
        work_hold(slot);
        break;
    case SLOT_FREE_HOLD:
        free_hold(slot);
        break;
    case SLOT_CALL:
        if (slot->active && slot->kind == PROTO_LOCK_ACQUIRE &&
            slot->cancel_us <= slot->client->sim->now_us) {
            slot->cancel_us = SIM_NEVER;
            slot->cancelled = true;
            lsc_acquire_cancel(slot->client->core, client_now(slot->client), slot->call);
            if (slot->active) {
                sim_violation(slot->client->sim, "answers", "client %u: a cancelled acquire goes on",
                              slot->client->number);
            }
        }
        break;
    }
}

/* ---- coming and going ---- */

void work_adopt(struct client *client)
{
    struct slot *slot = &client->slots[0];
    if (!client->heirloom.kept) {
        return;
    }
    memcpy(slot->key, client->heirloom.key, sizeof(slot->key));
    slot->fence = client->heirloom.fence;
    slot->hold = (struct sim_hold){
        .sim = client->sim, .client = client->number, .token = client->heirloom.token, .core = client->core};
    slot->hold.hold = lsc_hold_adopt(client->core, slot->key, slot->hold.token, slot->fence, slot);
    LOCKSTEP_ASSERT(slot->hold.hold != NULL);
    promise_hold_begin(client->sim, &slot->hold, client_now(client));
    extend(slot);
}

void work_forget(struct slot *slot)
{
    promise_hold_end(slot->client->sim, &slot->hold);
    slot->hold = (struct sim_hold){0};
    slot->active = false;
    slot->call = NULL;
    slot->state = SLOT_IDLE;
    slot->cancel_us = SIM_NEVER;
    slot->next_us = slot->client->sim->now_us + some_time(slot, slot->client->think_us);
}

bool work_leave(struct slot *slot)
{
    struct client *client = slot->client;
    if (slot->state == SLOT_CALL) {
        if (slot->active && slot->kind == PROTO_LOCK_ACQUIRE && slot->call != NULL && !slot->cancelled) {
            slot->cancelled = true;
            lsc_acquire_cancel(client->core, client_now(client), slot->call);
        }
        return false;
    }
    if (slot->hold.hold != NULL) {
        if (slot->hold.released || slot->hold.lost) {
            free_hold(slot);
        } else {
            release(slot);
        }
        return false;
    }
    return true;
}

/* One value key after the other: hold it, take the value away, let go. */
bool work_sweep(struct client *client)
{
    struct slot *slot = &client->slots[0];
    if (slot->state == SLOT_CALL || client->swept == 2 * VALUE_KEYS) {
        return client->swept == 2 * VALUE_KEYS && slot->state != SLOT_CALL;
    }
    if (slot->next_us > client->sim->now_us) {
        return false;
    }
    if (slot->hold.hold == NULL) {
        struct proto_lock_acquire body = {.wait_ms = PROTO_WAIT_FOREVER};
        slot->forgets = false;
        (void)snprintf(slot->key, sizeof(slot->key), "v%u", client->swept / 2 % VALUE_KEYS);
        body.key = bytes_of(slot->key);
        client->swept &= ~1U;
        acquire_with(slot, &body);
    } else if (slot->hold.released || slot->hold.lost) {
        free_hold(slot);
        slot->next_us = client->sim->now_us + RETRY_US;
    } else if (client->swept % 2 == 0) {
        client->swept++;
        set_value(slot, "");
    } else {
        client->swept++;
        release(slot);
    }
    return false;
}
