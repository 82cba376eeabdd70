/* The clients' lives: a process with a real core each, its clock, its crashes, pauses and returns. What it asks for is
 * clients_work.c's. What it is told goes to the promises.
 *
 *   rule answers   every call ends once, and within its time and a margin while its process runs
 *
 *   DOWN --start()--> UP --leave()--> CLOSING --on_closed()--> CLOSED --> DOWN (another life later) or GONE
 *    ^                 |
 *    +---crash()-------+  from any of them */
#include "tests/sim/clients.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

typedef unsigned long long ull;

enum {
    LIFE_SHORT_US_MIN = 30 * 1000,
    LIFE_SHORT_US_MAX = 500 * 1000,
    LIFE_US_MIN = 500 * 1000,
    LIFE_US_MAX = 8 * 1000 * 1000,
    REST_US_MAX = 300 * 1000,
    CLOSE_MS_MAX = 2000,
    SWEEP_POLL_US = 5000,
};

struct boot_time client_now(const struct client *client)
{
    return (struct boot_time){sim_clock_us(&client->clock, client->sim->now_us) / 1000};
}

struct boot_time client_boot_time(const struct sim *sim, unsigned client)
{
    return client_now(&sim->clients->list[client]);
}

void client_touched(struct client *client)
{
    client->due_us = 0; /* to be found again */
    client->sim->clients->due_known = false;
}

static struct client *client_of(const struct sim *sim, unsigned number)
{
    LOCKSTEP_ASSERT(number < sim->clients->count);
    return &sim->clients->list[number];
}

/* ---- what cores want ---- */

static void out_connect(void *ctx, const char *address)
{
    const struct client *client = ctx;
    network_connect(client->sim, client->number, address);
}

static void out_send(void *ctx, const void *data, size_t size)
{
    struct client *client = ctx;
    promise_sent(client->sim, client->sender, data, size);
    network_send(client->sim, client->number, data, size);
}

static void out_close(void *ctx)
{
    const struct client *client = ctx;
    network_close(client->sim, client->number);
}

static void out_random(void *ctx, void *data, size_t size)
{
    const struct client *client = ctx;
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = simulated_random(&client->sim->random_clients, UINT64_MAX);
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

static void out_hold_lost(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail)
{
    struct client *client = ctx;
    struct slot *slot = user;
    (void)detail;
    sim_trace(client->sim, "client %u: token %llu is lost: %s", client->number, (ull)slot->hold.token,
              lockstep_lost_reason_text((int)reason));
    promise_hold_lost(client->sim, &slot->hold, reason, client_now(client));
    if (slot->state == SLOT_HOLD && !slot->forgets && slot->next_us > client->sim->now_us) {
        slot->next_us = client->sim->now_us + simulated_random(&client->sim->random_clients, client->hold_us);
    }
}

static void out_session_lost(void *ctx, enum lockstep_lost_reason reason, const char *detail)
{
    struct client *client = ctx;
    (void)detail;
    sim_trace(client->sim, "client %u: session %llu is lost: %s", client->number, (ull)client->session_known,
              lockstep_lost_reason_text((int)reason));
    client->lost_session = true;
}

/* ---- a life ---- */

static void start(struct client *client)
{
    struct sim *sim = client->sim;
    char names[SIM_NODES_MAX][24];
    const char *endpoints[SIM_NODES_MAX];
    char owner[24];
    const struct lsc_output output = {client,     out_connect,   out_send,        out_close,
                                      out_random, out_hold_lost, out_session_lost};
    for (unsigned i = 0; i < sim->nodes_count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "node%u:7000", i + 1);
        endpoints[i] = names[i];
    }
    (void)snprintf(owner, sizeof(owner), "client%u", client->number);
    struct lsc_config config = {
        .endpoints = endpoints,
        .endpoints_count = sim->nodes_count,
        .owner = owner,
        .cluster_id = sim_chance(&sim->random_clients, 2) ? SIM_CLUSTER_ID : 0,
        .session_ttl_ms = client->ttl_ms,
        .lock_delay_ms = client->lock_delay_ms,
        .request_timeout_ms = client->timeout_ms,
        .connect_timeout_ms = 200,
        .drift_ppm = client->drift_ppm,
        .lost_lead_ms = LSC_LEAD_AUTO,
    };
    client->adopted = client->old_session != 0 && !sim->clients->calm;
    if (client->adopted) {
        config.adopt_session_id = client->old_session;
        memcpy(config.adopt_secret, client->old_secret, sizeof(config.adopt_secret));
    }
    client->old_session = 0;
    client->lives++;
    client->state = CLIENT_UP;
    client->lost_session = client->silent = client->keep_session = false;
    client->session_known = 0;
    uint64_t least_us = client->restless ? LIFE_SHORT_US_MIN : LIFE_US_MIN;
    client->close_us =
        sim->now_us + least_us +
        simulated_random(&sim->random_clients, client->restless ? LIFE_SHORT_US_MAX : LIFE_US_MAX);
    client->close_us = sim->clients->calm ? SIM_NEVER : client->close_us;
    memset(client->sender, 0, sizeof(*client->sender));
    client->core = lsc_core_create(&config, &output, client_now(client));
    LOCKSTEP_ASSERT(client->core != NULL);
    sim_trace(sim, "client %u starts, life %u%s", client->number, client->lives,
              client->adopted ? ", on its old session" : "");
    if (client->adopted) {
        promise_session(sim, config.adopt_session_id, client->sender);
        work_adopt(client);
    }
    client_touched(client);
}

/* What the next life may go on with. */
static void bequeath(struct client *client)
{
    client->old_session = lsc_session_id(client->core);
    memcpy(client->old_secret, lsc_session_secret(client->core), sizeof(client->old_secret));
    client->heirloom.kept = false;
    for (unsigned i = 0; i < client->slots_count; i++) {
        const struct slot *slot = &client->slots[i];
        if (slot->hold.hold != NULL && lsc_hold_is_live(client->core, slot->hold.hold) && !slot->hold.lost) {
            client->heirloom =
                (struct heirloom){.kept = true, .token = slot->hold.token, .fence = slot->fence};
            memcpy(client->heirloom.key, slot->key, sizeof(slot->key));
        }
    }
}

/* Its process is no more. */
static void core_end(struct client *client)
{
    client->silent = true;
    lsc_core_free(client->core);
    client->core = NULL;
    promise_sender_gone(client->sim, client->sender);
    for (unsigned i = 0; i < client->slots_count; i++) {
        work_forget(&client->slots[i]);
    }
    client->state = CLIENT_DOWN;
    client_touched(client);
}

static void on_closed(void *user, const struct lsc_outcome *outcome)
{
    struct client *client = user;
    struct sim *sim = client->sim;
    if (client->silent) {
        return;
    }
    if (client->state != CLIENT_CLOSING) {
        sim_violation(sim, "answers", "client %u: its close ended twice", client->number);
    }
    sim_trace(sim, "client %u has closed: %s", client->number, lockstep_result_name(outcome->result));
    sim_note(sim, 'c', client->number, (uint64_t)outcome->result);
    client->state = CLIENT_CLOSED;
    if (outcome->result == LOCKSTEP_OK && client->session_closing != 0 && !client->keep_session) {
        promise_session_closed(sim, client->number, client->session_closing);
    }
    client_touched(client);
}

static void leave(struct client *client)
{
    struct sim *sim = client->sim;
    client->keep_session =
        !sim->clients->calm && !client->lost_session && sim_chance(&sim->random_clients, 3);
    client->session_closing = lsc_session_id(client->core);
    client->close_due = boot_after(client_now(client), CLOSE_MS_MAX);
    if (client->keep_session) {
        bequeath(client);
    }
    for (unsigned i = 0; i < client->slots_count; i++) {
        client->slots[i].hold.released = true; /* nobody is certain of anything after a close */
    }
    client->state = CLIENT_CLOSING;
    sim_trace(sim, "client %u closes%s", client->number,
              client->keep_session ? " and keeps its session" : "");
    lsc_core_close(client->core, client_now(client), client->keep_session, client, on_closed);
}

static void free_closed(struct client *client)
{
    struct sim *sim = client->sim;
    for (unsigned i = 0; i < client->slots_count; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->active) {
            sim_violation(sim, "answers", "client %u: a %s did not end with its close", client->number,
                          proto_operation_find((uint64_t)slot->kind)->name);
        }
        if (slot->hold.hold != NULL) {
            struct lsc_hold *hold = slot->hold.hold;
            promise_hold_end(sim, &slot->hold);
            slot->hold.hold = NULL;
            lsc_hold_free(client->core, client_now(client), hold);
        }
    }
    core_end(client);
    client->back_us = sim->now_us + simulated_random(&sim->random_clients, REST_US_MAX);
    if (sim->clients->finishing) {
        client->state = CLIENT_GONE;
    }
}

/* ---- turns ---- */

static void tell_session(struct client *client)
{
    uint64_t session = lsc_session_id(client->core);
    if (session != client->session_known && session != 0) {
        client->session_known = session;
        promise_session(client->sim, session, client->sender);
    }
}

/* After each input: what it believes now, and whether it answers in time. */
static void looked_after(struct client *client, bool driven)
{
    struct sim *sim = client->sim;
    struct boot_time now = client_now(client);
    if (client->core == NULL || client->state == CLIENT_CLOSED) {
        return;
    }
    tell_session(client);
    for (unsigned i = 0; i < client->slots_count; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->hold.hold != NULL) {
            promise_hold_look(sim, &slot->hold, now, driven);
        }
        bool late = slot->active && boot_reached(now, boot_after(slot->due, CLIENT_ANSWER_MARGIN_MS));
        if (driven && slot->active && (late || oracle_lies(sim, "answers-late"))) {
            sim_violation(sim, "answers", "client %u: a %s is not answered %llu ms after its time",
                          client->number, proto_operation_find((uint64_t)slot->kind)->name,
                          (ull)(now.ms - slot->due.ms));
        }
    }
    bool late = client->state == CLIENT_CLOSING &&
                boot_reached(now, boot_after(client->close_due, CLIENT_ANSWER_MARGIN_MS));
    if (driven && late) {
        sim_violation(sim, "answers", "client %u: its close does not end", client->number);
    }
}

/* @return true when it has nothing left to do and may close. */
static bool let_go_of_all(struct client *client)
{
    bool left = false;
    for (unsigned i = 0; i < client->slots_count; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->state == SLOT_CALL || slot->next_us <= client->sim->now_us || slot->hold.hold == NULL) {
            left = !work_leave(slot) || left;
        } else {
            left = true;
        }
    }
    return !left;
}

static bool others_are_gone(const struct client *client)
{
    const struct sim_clients *clients = client->sim->clients;
    for (unsigned i = 0; i < clients->count; i++) {
        if (&clients->list[i] != client && clients->list[i].state != CLIENT_GONE) {
            return false;
        }
    }
    return true;
}

static void finish_turn(struct client *client)
{
    if (!client->empty) {
        client->empty = let_go_of_all(client);
    }
    if (client->empty && (!client->sweeps || (others_are_gone(client) && work_sweep(client)))) {
        leave(client);
    }
}

static void act(struct client *client)
{
    struct sim *sim = client->sim;
    if (sim->clients->finishing) {
        finish_turn(client);
        return;
    }
    if (client->close_us <= sim->now_us || (client->adopted && client->lost_session)) {
        if (client->restless && !sim->clients->calm && sim_chance(&sim->random_clients, 2)) {
            client_crash(
                sim, client->number,
                simulated_random(&sim->random_clients, REST_US_MAX)); /* as those do who are killed */
        } else {
            leave(client);
        }
        return;
    }
    for (unsigned i = 0; i < client->slots_count && client->state == CLIENT_UP; i++) {
        struct slot *slot = &client->slots[i];
        uint64_t due = slot->state == SLOT_CALL ? slot->cancel_us : slot->next_us;
        if (due <= sim->now_us) {
            work_slot(slot);
        }
    }
}

/* In the end: when there is something to give back, or nothing left to wait for. */
static uint64_t find_due_finishing(const struct client *client)
{
    const struct sim *sim = client->sim;
    uint64_t due = SIM_NEVER;
    bool busy = false;
    if (client->empty) {
        const struct slot *slot = &client->slots[0];
        uint64_t poll_us = slot->state == SLOT_CALL ? SIM_NEVER : sim->now_us + SWEEP_POLL_US;
        return slot->hold.hold != NULL && slot->state != SLOT_CALL ? slot->next_us : poll_us;
    }
    for (unsigned i = 0; i < client->slots_count; i++) {
        const struct slot *slot = &client->slots[i];
        bool cancels = slot->state == SLOT_CALL && slot->kind == PROTO_LOCK_ACQUIRE && !slot->cancelled;
        uint64_t at = slot->state == SLOT_CALL ? SIM_NEVER : slot->next_us;
        busy = busy || slot->state == SLOT_CALL || slot->hold.hold != NULL;
        at = slot->hold.hold == NULL ? SIM_NEVER : at;
        at = cancels ? sim->now_us : at;
        due = at < due ? at : due;
    }
    return busy ? due : sim->now_us;
}

static uint64_t find_due(const struct client *client)
{
    const struct sim *sim = client->sim;
    if (client->paused_until_us != 0) {
        return client->paused_until_us;
    }
    switch (client->state) {
    case CLIENT_DOWN:
        return sim->clients->finishing && !client->sweeps ? sim->now_us : client->back_us;
    case CLIENT_CLOSED:
        return sim->now_us;
    case CLIENT_GONE:
        return SIM_NEVER;
    default:
        break;
    }
    uint64_t due = sim_clock_when(&client->clock, sim->now_us, lsc_core_deadline(client->core).ms);
    if (client->state == CLIENT_CLOSING) {
        return due;
    }
    if (sim->clients->finishing) {
        uint64_t at = find_due_finishing(client);
        return at < due ? at : due;
    }
    due = client->close_us < due ? client->close_us : due;
    for (unsigned i = 0; i < client->slots_count; i++) {
        const struct slot *slot = &client->slots[i];
        uint64_t at = slot->state == SLOT_CALL ? slot->cancel_us : slot->next_us;
        due = at < due ? at : due;
    }
    return due;
}

static void turn(struct client *client)
{
    struct sim *sim = client->sim;
    if (client->paused_until_us != 0) {
        client->paused_until_us = 0;
        sim_trace(sim, "client %u goes on", client->number);
    }
    client_touched(client);
    if (client->state == CLIENT_DOWN) {
        if (sim->clients->finishing && !client->sweeps) {
            client->state = CLIENT_GONE;
            return;
        }
        start(client);
    }
    if (client->state == CLIENT_UP || client->state == CLIENT_CLOSING) {
        lsc_core_tick(client->core, client_now(client));
        looked_after(client, true);
    }
    if (client->state == CLIENT_UP) {
        act(client);
        looked_after(client, true);
    }
    if (client->state == CLIENT_CLOSED) {
        free_closed(client);
    }
}

void clients_turn(struct sim *sim)
{
    struct sim_clients *clients = sim->clients;
    if (clients_due(sim) > sim->now_us) {
        return;
    }
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        if (client->due_us <= sim->now_us && client->state != CLIENT_GONE) {
            turn(client);
        }
    }
}

uint64_t clients_due(const struct sim *sim)
{
    struct sim_clients *clients = sim->clients;
    if (clients->due_known) {
        return clients->due_us;
    }
    clients->due_us = SIM_NEVER;
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        if (client->due_us == 0) {
            client->due_us = find_due(client);
            client->due_us += client->due_us == 0;
        }
        clients->due_us = client->due_us < clients->due_us ? client->due_us : clients->due_us;
    }
    clients->due_known = true;
    return clients->due_us;
}

/* ---- what the network tells ---- */

static bool hears(const struct client *client)
{
    return client->state == CLIENT_UP || client->state == CLIENT_CLOSING;
}

static void heard(struct client *client)
{
    looked_after(client, true);
    client_touched(client);
}

void client_connected(struct sim *sim, unsigned number)
{
    struct client *client = client_of(sim, number);
    if (hears(client)) {
        lsc_core_connected(client->core, client_now(client));
        heard(client);
    }
}

void client_received(struct sim *sim, unsigned number, const void *data, size_t size)
{
    struct client *client = client_of(sim, number);
    if (hears(client)) {
        lsc_core_received(client->core, client_now(client), data, size);
        heard(client);
    }
}

void client_disconnected(struct sim *sim, unsigned number, const char *why)
{
    struct client *client = client_of(sim, number);
    if (hears(client)) {
        sim_trace(sim, "client %u is disconnected: %s", number, why);
        lsc_core_disconnected(client->core, client_now(client), why);
        heard(client);
    }
}

bool client_is_awake(const struct sim *sim, unsigned number)
{
    const struct client *client = client_of(sim, number);
    return client->paused_until_us == 0 && hears(client);
}

/* ---- faults ---- */

void client_crash(struct sim *sim, unsigned number, uint64_t for_us)
{
    struct client *client = client_of(sim, number);
    if (client->core == NULL) {
        return;
    }
    sim_trace(sim, "client %u crashes", number);
    client->old_session = 0;
    if (sim_chance(&sim->random_clients, 3)) {
        bequeath(client);
    }
    network_abandon(sim, number);
    client->silent = true;
    client->paused_until_us = 0;
    core_end(client);
    client->back_us = sim->now_us + for_us;
}

void client_pause(struct sim *sim, unsigned number, uint64_t for_us)
{
    struct client *client = client_of(sim, number);
    if (client->core == NULL) {
        return;
    }
    sim_trace(sim, "client %u stands still", number);
    client->paused_until_us = sim->now_us + for_us;
    for (unsigned i = 0; i < client->slots_count; i++) {
        client->slots[i].hold.was_certain = false;
    }
    client_touched(client);
}

void client_rate(struct sim *sim, unsigned number, int64_t ppm)
{
    struct client *client = client_of(sim, number);
    sim_clock_change(&client->clock, sim->now_us, ppm, false);
    client_touched(client);
}
