/* The last look at every lock, when nobody wants any of them: what is left then is a ghost. Sessions of clients that were
 * killed take their time to end, so a lock that is not free is looked at again for a while. */
#include <inttypes.h>
#include <time.h>

#include "tests/torture/load/load.h"

enum { PATIENCE_S = 30, PAUSE_MS = 100 };

static void write_status(const char *key, uint64_t asked_ns, const struct lockstep_lock_status *status)
{
    char holders[2048] = "";
    size_t used = 0;
    for (size_t i = 0; i < status->holders_shown && used < sizeof(holders) - 128; i++) {
        used += (size_t)snprintf(holders + used, sizeof(holders) - used,
                                 "{:session %" PRIu64 " :token %" PRIu64 "}", status->holders[i].session_id,
                                 status->holders[i].token);
    }
    history_final(":key \"%s\" :holders [%s] :waiters %" PRIu64 " :asked %" PRIu64, key, holders,
                  status->waiters_count, asked_ns);
}

static int look(struct lockstep_client *client, const char *key, uint64_t until_ns)
{
    for (;;) {
        struct lockstep_lock_status *status;
        uint64_t asked_ns = history_now();
        int result = lockstep_lock_status(client, key, false, &status);
        if (result != LOCKSTEP_OK) {
            (void)fprintf(stderr, "torture_load: %s can not be looked at: %s\n", key,
                          lockstep_error_message());
            return result;
        }
        bool free = status->holders_count == 0 && status->waiters_count == 0;
        if (free || asked_ns >= until_ns) {
            write_status(key, asked_ns, status);
            lockstep_lock_status_free(status);
            return LOCKSTEP_OK;
        }
        lockstep_lock_status_free(status);
        /* tidy: nanosleep because nobody tells when a dead client's lease ends: it is looked at again. */
        (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
}

int load_final(const struct load *load)
{
    struct lockstep_options options;
    struct lockstep_client *client;
    lockstep_options_init(&options);
    options.endpoints = load->endpoints;
    options.owner = "final";
    options.request_timeout_ms = 20 * 1000;
    int result = lockstep_client_create(&options, &client);
    if (result != LOCKSTEP_OK) {
        (void)fprintf(stderr, "torture_load: %s\n", lockstep_error_message());
        return 1;
    }
    uint64_t until_ns = history_now() + PATIENCE_S * 1000000000ULL;
    for (uint64_t key = 0; key < load->keys_count && result == LOCKSTEP_OK; key++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "k%" PRIu64, key);
        result = look(client, text, until_ns);
    }
    history_flush();
    lockstep_client_free(client);
    return result == LOCKSTEP_OK ? 0 : 1;
}
