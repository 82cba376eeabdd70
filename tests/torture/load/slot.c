/* One thing at a time: ask for a lock, keep it for a while, give it back; or ask about one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { VALUE_BYTES_MAX = 64, STATUS_BYTES_MAX = 8 * 1024 };

/* The kind of lock follows from the key, so that all who use it agree. */
static enum lockstep_mode mode_of(struct load *load, uint64_t key)
{
    if (key % 5 == 3) {
        return LOCKSTEP_PERMITS;
    }
    return key % 5 == 2 && load_random(load, 3) != 0 ? LOCKSTEP_SHARED : LOCKSTEP_EXCLUSIVE;
}

static const char *mode_word(enum lockstep_mode mode)
{
    return mode == LOCKSTEP_PERMITS ? "permits" : mode == LOCKSTEP_SHARED ? "shared" : "exclusive";
}

void slot_init(struct client *client, struct slot *slot)
{
    *slot = (struct slot){.client = client, .process = client->load->next_process++};
    slot->due_ms = uv_now(&client->load->loop) + load_random(client->load, 1000);
}

/* ---- lines ---- */

static void invoke(struct slot *slot, const char *f)
{
    slot->f = f;
    history_line(slot->process, "invoke", f, "%s", slot->asked);
    history_flush(); /* H1 */
}

/* @param rest  what the answer adds; "" or " :key value…" */
static void complete(struct slot *slot, int result, const char *rest)
{
    struct load *load = slot->client->load;
    const char *type = history_type(result);
    load->operations++;
    if (result == LOCKSTEP_OK) {
        history_line(slot->process, type, slot->f, "%s%s", slot->asked, rest);
    } else {
        history_line(slot->process, type, slot->f, "%s :error :%s", slot->asked,
                     lockstep_result_name(result));
    }
    if (type[0] == 'i') {
        load->unknown++;
        slot->process = load->next_process++; /* H3 */
    }
    load_check_result(load, slot->f, result);
}

/* The operation could not even begin. */
static void refused(struct slot *slot, int result)
{
    complete(slot, result, "");
}

static uint64_t think_ms(struct load *load)
{
    /* Two operations make a cycle of one slot; all slots together make `rate` operations a second. */
    uint64_t mean = 2 * 1000 * load->clients_count * LOAD_SLOTS / load->rate;
    return load_pause(load, mean == 0 ? 1 : mean);
}

static void be_idle(struct slot *slot)
{
    slot->state = SLOT_IDLE;
    slot->due_ms = uv_now(&slot->client->load->loop) + think_ms(slot->client->load);
}

/* ---- certainty ---- */

void slot_look(struct slot *slot, uint64_t now_ns)
{
    if (slot->lock != NULL && !slot->lost && lockstep_lock_is_held(slot->lock)) {
        slot->certain_ns = now_ns;
    }
}

static uint64_t certain_until(const struct slot *slot, uint64_t before_ns)
{
    double remaining_ns =
        (double)lockstep_lock_remaining_ms(slot->lock) * 1e6 / slot->client->load->clock_rate;
    return before_ns + (uint64_t)remaining_ns;
}

static void certain_text(const struct slot *slot, char *text, size_t size)
{
    text[0] = 0;
    if (slot->certain_ns != 0) {
        (void)snprintf(text, size, " :certain %" PRIu64, slot->certain_ns);
    }
}

/* ---- holding ---- */

static void lock_free(struct slot *slot)
{
    struct lockstep_lock *lock = slot->lock;
    slot->lock = NULL;
    lockstep_lock_free(lock);
}

void slot_drop(struct slot *slot)
{
    if (slot->lock != NULL) {
        lock_free(slot);
    }
}

static void write_lost(struct slot *slot)
{
    static const char *const words[] = {"UNKNOWN", "UNCERTAIN", "EXPIRED", "KILLED", "FORCED", "ENDED"};
    char certain[64];
    unsigned word = slot->reason < sizeof(words) / sizeof(words[0]) ? slot->reason : 0;
    certain_text(slot, certain, sizeof(certain));
    history_line(slot->process, "info", "lost",
                 ":key \"%s\" :owner \"%s\" :session %" PRIu64 " :token %" PRIu64 " :reason :%s%s", slot->key,
                 slot->client->owner, slot->session, slot->token, words[word], certain);
    history_flush();
}

static void on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                    int64_t remaining_ms, const char *detail)
{
    struct slot *slot = arg;
    (void)lock;
    (void)remaining_ms;
    (void)detail;
    slot->lost = true;
    slot->reason = (unsigned)reason;
    slot->client->load->losses++;
    if (slot->lock == NULL) {
        return; /* lost as soon as it was granted: on_acquired() writes both */
    }
    write_lost(slot);
    if (slot->state == SLOT_HOLDING) {
        lock_free(slot);
        be_idle(slot);
    } /* else: when the operation under way has ended */
}

static uint64_t hold_ms(struct load *load)
{
    uint64_t kind = load_random(load, 40);
    return kind == 0   ? load->ttl_ms + load_random(load, 2 * load->ttl_ms) /* beyond renewals */
           : kind < 20 ? 0
                       : load_random(load, 30);
}

static void begin_holding(struct slot *slot)
{
    slot->state = SLOT_HOLDING;
    slot->due_ms = uv_now(&slot->client->load->loop) + hold_ms(slot->client->load);
}

static void on_acquired(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct slot *slot = arg;
    struct load *load = slot->client->load;
    char rest[256];
    (void)holder;
    lockstep_cancel_free(slot->cancel);
    slot->cancel = NULL;
    if (result != LOCKSTEP_OK) {
        complete(slot, result, "");
        be_idle(slot);
        return;
    }
    load->grants++;
    slot->lock = lock;
    slot->token = lockstep_lock_token(lock);
    slot->session = lockstep_lock_session_id(lock);
    slot->certain_ns = 0;
    uint64_t now_ns = history_now();
    slot_look(slot, now_ns);
    (void)snprintf(rest, sizeof(rest),
                   " :session %" PRIu64 " :token %" PRIu64 " :fence %" PRIu64 " :certain-until %" PRIu64,
                   slot->session, slot->token, lockstep_lock_fence(lock), certain_until(slot, now_ns));
    complete(slot, LOCKSTEP_OK, rest);
    if (slot->lost) {
        write_lost(slot);
        lock_free(slot);
        be_idle(slot);
    } else {
        begin_holding(slot);
    }
}

/* ---- asking ---- */

static int64_t wait_of(struct load *load)
{
    uint64_t kind = load_random(load, 10);
    return kind < 3   ? 0
           : kind < 5 ? 1 + (int64_t)load_random(load, 50)
           : kind < 9 ? 1000 + (int64_t)load_random(load, 4000)
                      : LOCKSTEP_FOREVER;
}

static void acquire(struct slot *slot)
{
    struct load *load = slot->client->load;
    struct lockstep_acquire_options options;
    uint64_t key = load_random(load, load->keys_count);
    char permits[48] = "";
    lockstep_acquire_options_init(&options);
    options.mode = mode_of(load, key);
    options.wait_ms = wait_of(load);
    options.on_lost = on_lost;
    options.on_lost_arg = slot;
    if (options.mode == LOCKSTEP_PERMITS) {
        options.permits = 1 + (uint32_t)load_random(load, 2);
        options.limit = LOAD_PERMITS_LIMIT;
        (void)snprintf(permits, sizeof(permits), " :count %u :limit %u", options.permits, options.limit);
    }
    bool own = load_random(load, 12) == 0;
    options.ttl_ms = own ? (int64_t)(load->ttl_ms / 2) : 0;
    if (load_random(load, 12) == 0) {
        options.value = "value";
        options.value_bytes = load_random(load, 6);
    }
    if (lockstep_cancel_create(&slot->cancel) == LOCKSTEP_OK) {
        options.cancel = slot->cancel;
    }
    (void)snprintf(slot->key, sizeof(slot->key), "k%" PRIu64, key);
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :mode :%s%s :wait-ms %" PRId64 " :ttl-ms %" PRIu64 "%s",
                   slot->key, slot->client->owner, mode_word(options.mode), permits,
                   options.wait_ms == LOCKSTEP_FOREVER ? -1 : options.wait_ms,
                   own ? load->ttl_ms / 2 : load->ttl_ms, own ? " :own true" : "");
    slot->lost = false;
    slot->lock = NULL;
    invoke(slot, "acquire");
    slot->state = SLOT_ASKING;
    /* A wait that goes on for very long is cancelled now and then. */
    slot->due_ms = uv_now(&load->loop) + 100 + load_random(load, 60000);
    int result = lockstep_async_acquire(slot->client->async, slot->key, &options, on_acquired, slot);
    if (result != LOCKSTEP_OK) {
        lockstep_cancel_free(slot->cancel);
        slot->cancel = NULL;
        refused(slot, result);
        be_idle(slot);
    }
}

static void on_released(void *arg, int result)
{
    struct slot *slot = arg;
    complete(slot, result, "");
    be_idle(slot);
}

static void release(struct slot *slot)
{
    char certain[64];
    slot_look(slot, history_now());
    certain_text(slot, certain, sizeof(certain));
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :session %" PRIu64 " :token %" PRIu64 "%s", slot->key,
                   slot->client->owner, slot->session, slot->token, certain);
    invoke(slot, "release");
    slot->state = SLOT_LEAVING;
    int result = lockstep_async_release(slot->lock, on_released, slot);
    lock_free(slot);
    if (result != LOCKSTEP_OK) {
        on_released(slot, result);
    }
}

/* After an operation on the lock: it may have been lost meanwhile. */
static void hold_on(struct slot *slot)
{
    if (slot->lost) {
        lock_free(slot);
        be_idle(slot);
    } else {
        begin_holding(slot);
    }
}

static void on_extended(void *arg, int result)
{
    struct slot *slot = arg;
    char rest[64] = "";
    if (result == LOCKSTEP_OK) {
        uint64_t now_ns = history_now();
        (void)snprintf(rest, sizeof(rest), " :certain-until %" PRIu64, certain_until(slot, now_ns));
    }
    complete(slot, result, rest);
    hold_on(slot);
}

static void extend(struct slot *slot)
{
    struct load *load = slot->client->load;
    uint64_t ttl_ms = load_random(load, 2) == 0 ? 0 : load->ttl_ms / 2 + load_random(load, load->ttl_ms);
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :session %" PRIu64 " :token %" PRIu64 " :ttl-ms %" PRIu64,
                   slot->key, slot->client->owner, slot->session, slot->token, ttl_ms);
    invoke(slot, "extend");
    slot->state = SLOT_WORKING;
    int result = lockstep_async_extend(slot->lock, (int64_t)ttl_ms, on_extended, slot);
    if (result != LOCKSTEP_OK) {
        on_extended(slot, result);
    }
}

static void on_checked(void *arg, int result, uint64_t current)
{
    struct slot *slot = arg;
    (void)current;
    bool answered = result == LOCKSTEP_OK || result == LOCKSTEP_STALE_FENCE;
    complete(slot, answered ? LOCKSTEP_OK : result,
             result == LOCKSTEP_OK ? " :current true" : " :current false");
    hold_on(slot);
}

static void fence_check(struct slot *slot)
{
    uint64_t fence = lockstep_lock_fence(slot->lock);
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :token %" PRIu64 " :fence %" PRIu64, slot->key,
                   slot->client->owner, slot->token, fence);
    invoke(slot, "check");
    slot->state = SLOT_WORKING;
    int result = lockstep_async_fence_check(slot->client->async, slot->key, fence, false, on_checked, slot);
    if (result != LOCKSTEP_OK) {
        on_checked(slot, result, 0);
    }
}

static void on_status(void *arg, int result, struct lockstep_lock_status *status)
{
    struct slot *slot = arg;
    static char rest[STATUS_BYTES_MAX];
    size_t used = 0;
    if (result == LOCKSTEP_OK) {
        used += (size_t)snprintf(rest, sizeof(rest), " :holders [");
        for (size_t i = 0; i < status->holders_shown; i++) {
            used += (size_t)snprintf(rest + used, sizeof(rest) - used,
                                     "{:session %" PRIu64 " :token %" PRIu64 "}",
                                     status->holders[i].session_id, status->holders[i].token);
        }
        used += (size_t)snprintf(rest + used, sizeof(rest) - used, "] :waiters %" PRIu64 " :queue [",
                                 status->waiters_count);
        for (size_t i = 0; i < status->waiters_shown; i++) {
            used += (size_t)snprintf(rest + used, sizeof(rest) - used, "%s%" PRIu64, i == 0 ? "" : " ",
                                     status->waiters[i].session_id);
        }
        (void)snprintf(rest + used, sizeof(rest) - used, "]");
    }
    complete(slot, result, rest);
    lockstep_lock_status_free(status);
    be_idle(slot);
}

static void ask_status(struct slot *slot)
{
    struct load *load = slot->client->load;
    (void)snprintf(slot->key, sizeof(slot->key), "k%" PRIu64, load_random(load, load->keys_count));
    (void)snprintf(slot->asked, sizeof(slot->asked), ":key \"%s\"", slot->key);
    invoke(slot, "status");
    slot->state = SLOT_ASKING;
    slot->due_ms = UINT64_MAX;
    int result = lockstep_async_lock_status(slot->client->async, slot->key, false, on_status, slot);
    if (result != LOCKSTEP_OK) {
        on_status(slot, result, NULL);
    }
}

/* ---- what it does when ---- */

void slot_act(struct slot *slot, uint64_t now_ms)
{
    struct load *load = slot->client->load;
    if (load->leaving && slot->state == SLOT_HOLDING) {
        release(slot);
        return;
    }
    if (slot->due_ms > now_ms) {
        return;
    }
    if (slot->state == SLOT_IDLE && !load->leaving) {
        if (load_random(load, 16) == 0) {
            ask_status(slot);
        } else {
            acquire(slot);
        }
    } else if (slot->state == SLOT_HOLDING) {
        uint64_t kind = load_random(load, 16);
        if (kind == 0) {
            extend(slot);
        } else if (kind == 1) {
            fence_check(slot);
        } else {
            release(slot);
        }
    } else if (slot->state == SLOT_ASKING && slot->cancel != NULL) {
        slot->due_ms = UINT64_MAX;
        lockstep_cancel_fire(slot->cancel);
    }
}
