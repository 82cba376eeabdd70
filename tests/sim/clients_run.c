/* The clients through a run: who they are, what they do when it is calm and when all leave, and whether they got on.
 *
 *   rule progress  after the storm every client ends an operation well, and nothing older is under way: world.c asks */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/assert.h"
#include "tests/sim/clients.h"

enum {
    DRIFT_PPM_LEAST = 52000, /* two clocks differ by (1 + 2.5 %) / (1 - 2.5 %) at most */
    DRIFT_PPM_MOST = 100000,
    START_US_MAX = 100 * 1000,
    ADMIN_MAX = 2,
};

typedef unsigned long long ull;

static void client_draw(struct sim *sim, struct client *client)
{
    static const uint64_t holds_us[] = {500, 3000, 20000};
    uint64_t *random = &sim->random_clients;
    client->clock.read_us = 1000 * (1000000 + simulated_random(random, 1000000000));
    client->clock.ppm = (int64_t)simulated_random(random, 2 * ORACLE_RATE_PPM_MAX + 1) - ORACLE_RATE_PPM_MAX;
    client->slots_count = 1 + (unsigned)simulated_random(random, CLIENT_SLOTS_MAX);
    client->ttl_ms = 300 + simulated_random(random, sim_chance(random, 2) ? 700 : 4700);
    client->lock_delay_ms = sim_chance(random, 3) ? simulated_random(random, 800) : 0;
    client->timeout_ms = 500 + simulated_random(random, 4500);
    client->think_us = 100 + simulated_random(random, 100 << simulated_random(random, 7));
    client->hold_us = holds_us[simulated_random(random, 3)];
    client->drift_ppm = sim_chance(random, 2) ? DRIFT_PPM_LEAST : DRIFT_PPM_MOST;
    client->back_us = simulated_random(random, START_US_MAX);
    client->restless = sim_chance(random, 5);
    client->admin_left = (unsigned)simulated_random(random, ADMIN_MAX + 1);
    for (unsigned i = 0; i < CLIENT_SLOTS_MAX; i++) {
        client->slots[i].client = client;
        client->slots[i].cancel_us = SIM_NEVER;
    }
    client->slots[client->slots_count - 1].reads = client->slots_count > 1 && sim_chance(random, 3);
}

void clients_create(struct sim *sim)
{
    struct sim_clients *clients = calloc(1, sizeof(*clients));
    LOCKSTEP_ASSERT(clients != NULL);
    LOCKSTEP_ASSERT(sim->clients_count <= SIM_CLIENTS_MAX);
    sim->clients = clients;
    clients->count = sim->clients_count;
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        client->sim = sim;
        client->number = i;
        client->sender = calloc(1, sizeof(*client->sender));
        LOCKSTEP_ASSERT(client->sender != NULL);
        client_draw(sim, client);
    }
    clients->list[0].sweeps = true;
}

void clients_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->clients->count; i++) {
        struct client *client = &sim->clients->list[i];
        client->silent = true;
        lsc_core_free(client->core);
        free(client->sender);
    }
    free(sim->clients);
    sim->clients = NULL;
}

void clients_calm(struct sim *sim)
{
    struct sim_clients *clients = sim->clients;
    clients->calm = true;
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        client->paused_until_us = client->paused_until_us == 0 ? 0 : sim->now_us;
        client->back_us = client->back_us < sim->now_us ? client->back_us : sim->now_us;
        /* What was left to an adopted session by the life before, nobody knows and nobody gives back: it ends with it. */
        client->close_us = client->adopted && client->core != NULL ? sim->now_us : SIM_NEVER;
        for (unsigned j = 0; j < client->slots_count; j++) {
            client->slots[j].before_calm = client->slots[j].active;
            client->slots[j].cancel_us = SIM_NEVER;
        }
        client_touched(client);
    }
}

void clients_finish(struct sim *sim)
{
    struct sim_clients *clients = sim->clients;
    clients->finishing = true;
    for (unsigned i = 0; i < clients->count; i++) {
        client_touched(&clients->list[i]);
    }
}

bool clients_finished(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->clients->count; i++) {
        if (sim->clients->list[i].state != CLIENT_GONE) {
            return false;
        }
    }
    return true;
}

bool clients_progressed(const struct sim *sim)
{
    if (sim_planted(sim, "progress-stuck")) {
        return false;
    }
    for (unsigned i = 0; i < sim->clients->count; i++) {
        const struct client *client = &sim->clients->list[i];
        if (!client->progressed) {
            return false;
        }
        for (unsigned j = 0; j < client->slots_count; j++) {
            if (client->slots[j].active && client->slots[j].before_calm) {
                return false;
            }
        }
    }
    return true;
}

void clients_explain(const struct sim *sim, char *text, size_t size)
{
    static const char *const states[] = {"down", "up", "closing", "closed", "gone"};
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < sim->clients->count; i++) {
        const struct client *client = &sim->clients->list[i];
        for (unsigned j = 0; j < client->slots_count && used + 120 < size; j++) {
            const struct slot *slot = &client->slots[j];
            if (slot->active && (slot->before_calm || !client->progressed || sim->clients->finishing)) {
                used += (size_t)snprintf(text + used, size - used, "  client %u: %s %s is under way\n", i,
                                         proto_operation_find((uint64_t)slot->kind)->name, slot->key);
            }
        }
        bool missed = sim->clients->finishing ? client->state != CLIENT_GONE : !client->progressed;
        if (missed && used + 120 < size) {
            used += (size_t)snprintf(text + used, size - used, "  client %u: %s, life %u, session %llu\n", i,
                                     states[client->state], client->lives, (ull)client->session_known);
        }
    }
}
