/* Many clients on few keys while nodes are killed, and a judge of what they saw.
 *
 * Each client takes a random key, keeps it for a moment, gives it back. The judge has one register per key, as a storage
 * would have, and rejects:
 *   overlap    two clients that both certainly hold a key (neither was told that it lost it)
 *   fence      a grant whose fence is not greater than every one before it on that key
 *   token      a token that was granted twice
 *   release    NOT_HELD for a lock that was not reported lost: it was released twice, or never granted
 *   lease      the cluster said that a session, or a lock, has ended, although its client renews it and a majority was always up
 *   error      any other result that a client would have to handle itself
 *   starving   a client that is granted nothing although the others have been leaving for --patience-ms
 * Prints what it did, and the seed. Exit code 0 only if nothing was rejected.
 *
 *   load_check --endpoints LIST [--clients N] [--keys N] [--seconds N] [--ttl-ms N] [--seed N]
 *              [--patience-ms N] [--plant RULE] */
#include <inttypes.h>
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { CLIENTS_MAX = 1000, KEYS_MAX = 64, HOLD_MS_MAX = 20, TOKENS = 1 << 22 };

struct judge_key {
    char name[32];
    struct client *holder;
    uint64_t last_fence;
    uint64_t grants;
};

struct client {
    struct check *check;
    struct lockstep_async *async;
    struct lockstep_lock *lock;
    struct judge_key *key;
    uv_timer_t hold;
    bool lost;
    bool leaving, closed;
};

struct check {
    uv_loop_t loop;
    uv_timer_t end;
    struct client clients[CLIENTS_MAX];
    struct judge_key keys[KEYS_MAX];
    uint64_t clients_count, keys_count, seconds, ttl_ms, patience_ms, seed, random;
    uint64_t closed_count;
    uint64_t grants, losses, rejected;
    const char *plant;
    const char *endpoints;
    uint8_t *tokens; /* a bit for each that was granted */
    bool stopping;
};

static uint64_t draw(struct check *check, uint64_t below)
{
    check->random ^= check->random << 13;
    check->random ^= check->random >> 7;
    check->random ^= check->random << 17;
    return check->random % below;
}

static bool planted(const struct check *check, const char *rule)
{
    return check->plant != NULL && strcmp(check->plant, rule) == 0 && check->grants > 50;
}

static void reject(struct check *check, const char *rule, const struct client *client, uint64_t number)
{
    if (check->rejected++ < 20) {
        (void)fprintf(stderr, "REJECTED %s: client %td, key %s, %" PRIu64 " %s\n", rule, client - check->clients,
                      client->key != NULL ? client->key->name : "-", number, lockstep_error_message());
    }
}

/* ---- judging ---- */

static void judge_grant(struct client *client)
{
    struct check *check = client->check;
    struct judge_key *key = client->key;
    uint64_t fence = lockstep_lock_fence(client->lock);
    uint64_t token = lockstep_lock_token(client->lock) - (planted(check, "token") ? 1 : 0);
    if (key->holder != NULL && key->holder != client) {
        reject(check, "overlap", client, fence);
    }
    if (fence <= key->last_fence || planted(check, "fence")) {
        reject(check, "fence", client, fence);
    }
    if (token < TOKENS && (check->tokens[token / 8] >> (token % 8) & 1) != 0) {
        reject(check, "token", client, token);
    }
    if (token < TOKENS) {
        check->tokens[token / 8] |= (uint8_t)(1u << (token % 8));
    }
    key->holder = client;
    key->last_fence = fence;
    key->grants++;
    check->grants++;
}

static void judge_leave(struct client *client)
{
    if (client->key->holder == client && !planted(client->check, "overlap")) {
        client->key->holder = NULL;
    }
}

/* ---- a client's life: ask, hold, release, again ---- */

static void ask(struct client *client);

static void closed_cb(void *arg, int result)
{
    struct client *client = arg;
    (void)result;
    client->closed = true;
    uv_close((uv_handle_t *)&client->hold, NULL);
    if (++client->check->closed_count == client->check->clients_count) {
        uv_close((uv_handle_t *)&client->check->end, NULL);
    }
}

static void leave(struct client *client)
{
    if (!client->leaving) {
        client->leaving = true;
        lockstep_async_close(client->async, closed_cb, client);
    }
}

static void released_cb(void *arg, int result)
{
    struct client *client = arg;
    bool was_lost = client->lost || result == LOCKSTEP_SESSION_LOST;
    if (planted(client->check, "release") || (result != LOCKSTEP_OK && !was_lost)) {
        reject(client->check, "release", client, (uint64_t)result);
    }
    lockstep_lock_free(client->lock);
    client->lock = NULL;
    ask(client);
}

static void hold_cb(uv_timer_t *timer)
{
    struct client *client = timer->data;
    judge_leave(client);
    int result = lockstep_async_release(client->lock, released_cb, client);
    if (result != LOCKSTEP_OK) {
        released_cb(client, result);
    }
}

static void lost_cb(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason, int64_t remaining_ms,
                    const char *detail)
{
    struct client *client = arg;
    (void)lock;
    (void)remaining_ms;
    (void)detail;
    if (reason != LOCKSTEP_LOST_UNCERTAIN) { /* that one is the library's own conclusion */
        reject(client->check, "lease", client, (uint64_t)reason);
    }
    client->lost = true;
    client->check->losses++;
    judge_leave(client);
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock, const struct lockstep_holder *holder)
{
    struct client *client = arg;
    struct check *check = client->check;
    (void)holder;
    client->lock = lock;
    if (result == LOCKSTEP_SESSION_LOST || planted(check, "lease")) {
        reject(check, "lease", client, (uint64_t)result);
    }
    if ((result != LOCKSTEP_OK && result != LOCKSTEP_SESSION_LOST && result != LOCKSTEP_CLOSED) || planted(check, "error")) {
        reject(check, "error", client, (uint64_t)result);
    }
    if (result == LOCKSTEP_OK) {
        judge_grant(client);
        (void)uv_timer_start(&client->hold, hold_cb, draw(check, HOLD_MS_MAX), 0);
        return;
    }
    ask(client);
}

static void ask(struct client *client)
{
    struct check *check = client->check;
    struct lockstep_acquire_options wish;
    if (check->stopping) {
        leave(client);
        return;
    }
    if (planted(check, "starving") && client == check->clients) {
        return; /* as if its request had been lost */
    }
    client->key = &check->keys[draw(check, check->keys_count)];
    client->lost = false;
    lockstep_acquire_options_init(&wish);
    wish.wait_ms = LOCKSTEP_FOREVER;
    wish.on_lost = lost_cb;
    wish.on_lost_arg = client;
    int result = lockstep_async_acquire(client->async, client->key->name, &wish, acquired_cb, client);
    if (result != LOCKSTEP_OK) {
        reject(check, "error", client, (uint64_t)result);
    }
}

/* ---- the whole ---- */

/* Nobody asks any more, and whoever was granted something has given it back: who still waits would wait for ever. */
static void patience_cb(uv_timer_t *timer)
{
    struct check *check = timer->data;
    for (uint64_t i = 0; i < check->clients_count; i++) {
        struct client *client = &check->clients[i];
        if (!client->leaving) {
            reject(check, "starving", client, check->patience_ms);
            leave(client);
        }
    }
}

static void end_cb(uv_timer_t *timer)
{
    struct check *check = timer->data;
    check->stopping = true;
    (void)uv_timer_start(timer, patience_cb, check->patience_ms, 0);
}

static bool start(struct check *check)
{
    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = check->endpoints;
    options.session_ttl_ms = (int64_t)check->ttl_ms;
    options.request_timeout_ms = 60 * 1000;
    for (uint64_t i = 0; i < check->clients_count; i++) {
        struct client *client = &check->clients[i];
        client->check = check;
        (void)uv_timer_init(&check->loop, &client->hold);
        client->hold.data = client;
        if (lockstep_async_create(&check->loop, &options, &client->async) != LOCKSTEP_OK) {
            (void)fprintf(stderr, "load_check: %s\n", lockstep_error_message());
            return false;
        }
        ask(client);
    }
    (void)uv_timer_init(&check->loop, &check->end);
    check->end.data = check;
    (void)uv_timer_start(&check->end, end_cb, check->seconds * 1000, 0);
    return true;
}

static void report(const struct check *check)
{
    uint64_t least = UINT64_MAX;
    for (uint64_t i = 0; i < check->keys_count; i++) {
        least = check->keys[i].grants < least ? check->keys[i].grants : least;
    }
    (void)printf("seed %" PRIu64 ": %" PRIu64 " clients, %" PRIu64 " keys, %" PRIu64 " grants (at least %" PRIu64
                 " per key), %" PRIu64 " locks lost, %" PRIu64 " rejected\n",
                 check->seed, check->clients_count, check->keys_count, check->grants, least, check->losses,
                 check->rejected);
}

static bool parse(struct check *check, int argc, char **argv)
{
    struct {
        const char *name;
        uint64_t *number;
        uint64_t max;
    } numbers[] = {{"--clients", &check->clients_count, CLIENTS_MAX},
                   {"--keys", &check->keys_count, KEYS_MAX},
                   {"--seconds", &check->seconds, 24 * 60 * 60},
                   {"--ttl-ms", &check->ttl_ms, 60 * 60 * 1000},
                   {"--patience-ms", &check->patience_ms, 60 * 60 * 1000},
                   {"--seed", &check->seed, UINT64_MAX}};
    for (int i = 1; i + 1 < argc; i += 2) {
        bool known = strcmp(argv[i], "--endpoints") == 0 || strcmp(argv[i], "--plant") == 0;
        check->endpoints = strcmp(argv[i], "--endpoints") == 0 ? argv[i + 1] : check->endpoints;
        check->plant = strcmp(argv[i], "--plant") == 0 ? argv[i + 1] : check->plant;
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++) {
            if (strcmp(argv[i], numbers[j].name) == 0) {
                *numbers[j].number = strtoull(argv[i + 1], NULL, 10);
                known = *numbers[j].number >= 1 && *numbers[j].number <= numbers[j].max;
            }
        }
        if (!known) {
            (void)fprintf(stderr, "load_check: \"%s %s\" is not known or out of bounds\n", argv[i], argv[i + 1]);
            return false;
        }
    }
    return check->endpoints != NULL;
}

int main(int argc, char **argv)
{
    static struct check check = {
        .clients_count = 200, .keys_count = 20, .seconds = 20, .ttl_ms = 10000, .patience_ms = 60000, .seed = 1};
    if (!parse(&check, argc, argv)) {
        (void)fprintf(stderr, "usage: load_check --endpoints LIST [--clients N] [--keys N] [--seconds N] [--ttl-ms N] "
                              "[--seed N] [--patience-ms N] "
                              "[--plant overlap|fence|token|release|lease|error|starving]\n");
        return 2;
    }
    check.random = check.seed * 0x9E3779B97F4A7C15ULL + 1;
    check.tokens = calloc(TOKENS / 8, 1);
    (void)uv_loop_init(&check.loop);
    for (uint64_t i = 0; i < check.keys_count; i++) {
        (void)snprintf(check.keys[i].name, sizeof check.keys[i].name, "load/%" PRIu64, i);
    }
    if (check.tokens == NULL || !start(&check)) {
        return 2;
    }
    (void)uv_run(&check.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&check.loop);
    report(&check);
    free(check.tokens);
    return check.rejected == 0 && check.grants > 0 ? 0 : 1;
}
