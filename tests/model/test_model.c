/* Random commands against the judge. Few clients, few keys, short times: everything meets everything.
 *
 *   test_model [--seed N] [--seeds N] [--entries N]
 * prints the seed of a run that failed and the command that repeats it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "raft_fsm/fsm.h"
#include "tests/model/judge.h"

enum {
    CLIENTS = 6,
    KEYS = 4,
    COMMANDS_MAX = 5,
    RECENT = 10,
    JUMP = FSM_WINDOW_REPLIES_MAX - RECENT / 2, /* by which a client that starts again goes on with its ids */
};

struct client {
    uint8_t digest[PROTO_DIGEST_BYTES];
    uint64_t proof, session, last_id;
};

struct world {
    uint64_t random;
    uint64_t time_ms;
    struct client clients[CLIENTS];
    struct fsm *fsm;
    struct judge *judge;
    struct fsm_effects effects;
    struct fsm_command commands[COMMANDS_MAX];
    unsigned authors[COMMANDS_MAX];
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2014. */
static uint32_t draw(struct world *world, uint32_t below)
{
    world->random ^= world->random >> 12;
    world->random ^= world->random << 25;
    world->random ^= world->random >> 27;
    return (uint32_t)((world->random * 0x2545F4914F6CDD1DULL) >> 33) % below;
}

static struct proto_bytes draw_key(struct world *world)
{
    static const char *const keys[KEYS] = {"a", "b", "c/1", "c/2"};
    const char *key = keys[draw(world, KEYS)];
    return (struct proto_bytes){(const uint8_t *)key, (uint32_t)strlen(key)};
}

static uint64_t draw_ttl(struct world *world)
{
    return draw(world, 3) == 0 ? 0 : 100 + draw(world, 2000);
}

static void draw_acquire(struct world *world, struct proto_lock_acquire *acquire)
{
    acquire->key = draw_key(world);
    acquire->mode = (enum proto_mode)draw(world, 3);
    if (acquire->mode == PROTO_MODE_PERMITS) {
        acquire->limit = 2 + draw(world, 2);
        acquire->permits = 1 + draw(world, 2);
    }
    uint32_t wait = draw(world, 4);
    acquire->wait_ms = wait == 0 ? 0 : wait == 1 ? PROTO_WAIT_FOREVER : 1 + draw(world, 3000);
    acquire->reentrant = draw(world, 4) == 0;
    acquire->ttl_ms = draw_ttl(world);
}

static void draw_open(struct world *world, struct client *client, struct fsm_command *command)
{
    command->kind = PROTO_SESSION_OPEN;
    memcpy(command->digest, client->digest, PROTO_DIGEST_BYTES);
    command->body.session_open.ttl_ms = 500 + draw(world, 5000);
    command->body.session_open.lock_delay_ms = draw(world, 3) == 0 ? draw(world, 1000) : 0;
    command->body.session_open.resume_id = draw(world, 3) == 0 ? client->session : 0;
}

static void draw_body(struct world *world, struct client *client, struct fsm_command *command)
{
    union proto_request_body *body = &command->body;
    uint64_t token = judge_some_token(world->judge, draw(world, 1u << 30));
    switch ((int)command->kind) {
    case PROTO_SESSION_RENEW:
        body->session_renew.ttl_ms = draw(world, 2) == 0 ? 0 : 500 + draw(world, 5000);
        break;
    case PROTO_LOCK_ACQUIRE:
        draw_acquire(world, &body->lock_acquire);
        break;
    case PROTO_LOCK_EXTEND:
        body->lock_extend = (struct proto_lock_extend){draw_key(world), token, draw_ttl(world)};
        break;
    case PROTO_LOCK_RELEASE:
        body->lock_release = (struct proto_lock_release){draw_key(world), token, draw(world, 4) == 0};
        break;
    case PROTO_LOCK_CANCEL:
        body->lock_cancel.target_id = client->last_id > 5 ? client->last_id - draw(world, 5) : 1;
        break;
    case PROTO_LOCK_SET_VALUE:
        body->lock_set_value = (struct proto_lock_set_value){draw_key(world), token, {(const uint8_t *)"v", draw(world, 2)}};
        break;
    default:
        break;
    }
}

static void draw_session_command(struct world *world, struct client *client, struct fsm_command *command)
{
    static const enum proto_kind kinds[] = {
        PROTO_LOCK_ACQUIRE, PROTO_LOCK_ACQUIRE, PROTO_LOCK_ACQUIRE, PROTO_LOCK_ACQUIRE,   PROTO_LOCK_RELEASE,
        PROTO_LOCK_RELEASE, PROTO_LOCK_RELEASE, PROTO_LOCK_EXTEND,  PROTO_LOCK_SET_VALUE, PROTO_LOCK_CANCEL,
        PROTO_SESSION_RENEW, PROTO_SESSION_RENEW};
    command->kind = draw(world, 60) == 0 ? PROTO_SESSION_CLOSE : kinds[draw(world, sizeof kinds / sizeof kinds[0])];
    command->session_id = client->session;
    command->proof = draw(world, 50) == 0 ? 1 : client->proof;
    if (client->last_id > RECENT && draw(world, 100) == 0) {
        client->last_id += JUMP;
    }
    bool again = client->last_id > RECENT && draw(world, 8) == 0;
    command->request_id = again ? client->last_id - draw(world, RECENT) : ++client->last_id;
    if (again && command->request_id > JUMP && draw(world, 2) == 0) {
        command->request_id -= JUMP; /* of its life before */
    }
    command->ack_floor = client->last_id > 20 && draw(world, 3) == 0 ? client->last_id - 15 : 0;
    draw_body(world, client, command);
}

static void draw_admin_command(struct world *world, struct fsm_command *command)
{
    static const uint8_t reason[] = "test";
    struct proto_bytes why = {reason, 4};
    if (draw(world, 4) == 0) {
        command->kind = PROTO_SESSION_KILL;
        command->body.session_kill = (struct proto_session_kill){world->clients[draw(world, CLIENTS)].session, why};
        return;
    }
    if (draw(world, 4) == 0) {
        command->kind = PROTO_EPOCH_RAISE;
        return;
    }
    command->kind = PROTO_FORCE_RELEASE;
    uint64_t token = draw(world, 2) == 0 ? 0 : judge_some_token(world->judge, draw(world, 1u << 30));
    command->body.force_release = (struct proto_force_release){draw_key(world), token, why};
}

static void draw_command(struct world *world, unsigned at)
{
    struct fsm_command *command = &world->commands[at];
    unsigned author = draw(world, CLIENTS);
    struct client *client = &world->clients[author];
    memset(command, 0, sizeof *command);
    world->authors[at] = author;
    if (client->session == 0 || draw(world, 20) == 0) {
        draw_open(world, client, command);
    } else if (draw(world, 40) == 0) {
        draw_admin_command(world, command);
    } else {
        draw_session_command(world, client, command);
    }
}

static const char *run_entry(struct world *world, uint32_t count)
{
    struct fsm_entry_writer writer;
    struct proto_buffer buffer;
    struct cluster_time time = {world->time_ms};
    proto_buffer_init(&buffer, FSM_ENTRY_BYTES_MAX);
    fsm_entry_begin(&writer, &buffer, time);
    for (uint32_t i = 0; i < count; i++) {
        LOCKSTEP_ASSERT(fsm_entry_add(&writer, &world->commands[i]));
    }
    fsm_entry_end(&writer);
    LOCKSTEP_ASSERT(fsm_apply(world->fsm, buffer.data, buffer.size, &world->effects, NULL) == FSM_APPLIED);
    proto_buffer_done(&buffer);
    fsm_check_invariants(world->fsm);
    const char *bad = judge_entry(world->judge, time, world->commands, count, &world->effects);
    for (size_t i = 0; i < world->effects.count; i++) {
        const struct fsm_effect *effect = &world->effects.list[i];
        if (effect->kind != FSM_REPLY || effect->reply.kind != PROTO_SESSION_OPEN ||
            effect->reply.status != PROTO_STATUS_OK) {
            continue;
        }
        struct client *client = &world->clients[world->authors[effect->command_index]];
        if (client->session != effect->reply.body.session.session_id) {
            client->session = effect->reply.body.session.session_id;
            client->last_id = 0;
        }
    }
    return bad;
}

static const char *run_seed(uint64_t seed, unsigned entries, unsigned *ret_entry)
{
    static struct world world;
    const char *bad = NULL;
    memset(&world, 0, sizeof world);
    world.random = seed * 0x9E3779B97F4A7C15ULL + 1;
    world.fsm = fsm_create();
    world.judge = judge_create();
    fsm_effects_init(&world.effects);
    for (unsigned i = 0; i < CLIENTS; i++) {
        world.clients[i].digest[0] = (uint8_t)(i + 1);
        world.clients[i].proof = i + 1;
    }
    for (*ret_entry = 0; *ret_entry < entries && bad == NULL; (*ret_entry)++) {
        world.time_ms += draw(&world, 4) == 0 ? draw(&world, 1500) : draw(&world, 50);
        bad = run_entry(&world, 0); /* what is due ends in an entry of its own, so that the judge can tell it apart */
        uint32_t count = 1 + draw(&world, COMMANDS_MAX);
        for (unsigned i = 0; i < count && bad == NULL; i++) {
            draw_command(&world, i);
        }
        bad = bad != NULL ? bad : run_entry(&world, count);
    }
    if (bad != NULL) {
        (void)fprintf(stderr, "seed %" PRIu64 ", entry %u at %" PRIu64 " ms: %s\nrepeat: test_model --seed %" PRIu64 "\n",
                      seed, *ret_entry, world.time_ms, bad, seed);
    }
    fsm_effects_done(&world.effects);
    judge_free(world.judge);
    fsm_free(world.fsm);
    return bad;
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    uint64_t seeds = 200;
    unsigned entries = 1500;
    unsigned entry = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t number = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) {
            first = number;
            seeds = 1;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = number;
        } else if (strcmp(argv[i], "--entries") == 0) {
            entries = (unsigned)number;
        } else {
            (void)fprintf(stderr, "usage: test_model [--seed N] [--seeds N] [--entries N]\n");
            return 2;
        }
    }
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (run_seed(seed, entries, &entry) != NULL) {
            return 1;
        }
    }
    (void)printf("%" PRIu64 " seeds from %" PRIu64 ", %u entries each, no rule broken\n", seeds, first, entries);
    return 0;
}
