/* One thing at a time: ask for a lock, keep it for a while (hold.c), give it back; or ask about one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { STATUS_BYTES_MAX = 8 * 1024, START_MS = 300, THINK_MS = 10 };

#define READ_ALLOWED (1u << LOCKSTEP_OK | 1u << LOCKSTEP_UNREACHABLE | 1u << LOCKSTEP_LIMIT)

static const char *mode_word(enum lockstep_mode mode)
{
    return mode == LOCKSTEP_PERMITS ? "permits" : mode == LOCKSTEP_SHARED ? "shared" : "exclusive";
}

/* Its process number stays: one whose operation has no known outcome was retired when that was written. */
void slot_init(struct client *client, struct slot *slot)
{
    uint64_t due_ms = uv_now(&client->load->loop) + draw_below(client->load, START_MS);
    *slot = (struct slot){.client = client, .process = slot->process, .due_ms = due_ms};
}

/* ---- lines ---- */

void slot_invoke(struct slot *slot, const char *f)
{
    slot->f = f;
    slot->client->load->allowed--;
    history_line(slot->process, "invoke", f, "%s", slot->asked);
    history_flush(); /* H1 */
}

void slot_complete(struct slot *slot, int result, const char *rest)
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
}

void slot_idle(struct slot *slot)
{
    slot->state = SLOT_IDLE;
    slot->due_ms = uv_now(&slot->client->load->loop) + draw_pause(slot->client->load, THINK_MS);
}

/* ---- asking for a lock ---- */

static uint32_t allowed(const struct slot *slot)
{
    return 1u << LOCKSTEP_OK | 1u << LOCKSTEP_SESSION_LOST | 1u << LOCKSTEP_UNREACHABLE |
           1u << LOCKSTEP_UNKNOWN | 1u << LOCKSTEP_LIMIT | (slot->wait_ms == 0 ? 1u << LOCKSTEP_HELD : 0) |
           (slot->wait_ms > 0 && slot->wait_ms != LOCKSTEP_FOREVER ? 1u << LOCKSTEP_TIMED_OUT : 0) |
           (slot->cancelled ? 1u << LOCKSTEP_CANCELLED : 0);
}

static void on_acquired(void *arg, int result, struct lockstep_lock *lock,
                        const struct lockstep_holder *holder)
{
    struct slot *slot = arg;
    char rest[256] = "";
    (void)holder;
    lockstep_cancel_free(slot->cancel);
    slot->cancel = NULL;
    load_check_result(slot->client->load, "acquire", result, allowed(slot));
    if (result == LOCKSTEP_OK) {
        hold_take(slot, lock, rest, sizeof(rest));
    }
    slot_complete(slot, result, rest);
    if (result == LOCKSTEP_OK) {
        hold_on(slot);
    } else {
        slot_idle(slot);
    }
}

static void draw_options(struct slot *slot, uint64_t key, struct lockstep_acquire_options *options)
{
    struct load *load = slot->client->load;
    lockstep_acquire_options_init(options);
    options->mode = draw_mode(load, key);
    options->wait_ms = draw_wait(load);
    options->on_lost = hold_on_lost;
    options->on_lost_arg = slot;
    if (options->mode == LOCKSTEP_PERMITS) {
        options->permits = 1 + (uint32_t)draw_below(load, 2);
        options->limit = LOAD_PERMITS_LIMIT;
    }
    if (draw_once_in(load, 12)) {
        options->ttl_ms = (int64_t)draw_own_ttl(load);
    }
    if (draw_once_in(load, 12)) {
        options->value = "value";
        options->value_bytes = draw_below(load, sizeof("value"));
    }
    if (options->wait_ms != 0 && lockstep_cancel_create(&slot->cancel) == LOCKSTEP_OK) {
        options->cancel = slot->cancel;
    }
}

static void describe(struct slot *slot, const struct lockstep_acquire_options *options)
{
    char permits[48] = "";
    uint64_t ttl_ms = options->ttl_ms != 0 ? (uint64_t)options->ttl_ms : slot->client->ttl_ms;
    if (options->mode == LOCKSTEP_PERMITS) {
        (void)snprintf(permits, sizeof(permits), " :count %u :limit %u", options->permits, options->limit);
    }
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :mode :%s%s :wait-ms %" PRId64 " :ttl-ms %" PRIu64 "%s",
                   slot->key, slot->client->owner, mode_word(options->mode), permits,
                   options->wait_ms == LOCKSTEP_FOREVER ? -1 : options->wait_ms, ttl_ms,
                   options->ttl_ms != 0 ? " :own true" : "");
}

static void acquire(struct slot *slot)
{
    struct load *load = slot->client->load;
    struct lockstep_acquire_options options;
    uint64_t key = draw_key(load);
    (void)snprintf(slot->key, sizeof(slot->key), "k%" PRIu64, key);
    draw_options(slot, key, &options);
    describe(slot, &options);
    slot->wait_ms = options.wait_ms;
    slot->lead_ms = options.ttl_ms != 0 ? (uint64_t)options.ttl_ms / 10 : slot->client->ttl_ms / 10;
    slot->lost = slot->told = slot->released = slot->cancelled = false;
    slot->state = SLOT_ASKING;
    bool impatient = options.wait_ms == LOCKSTEP_FOREVER || draw_once_in(load, 4);
    slot->due_ms = impatient ? uv_now(&load->loop) + draw_patience(load) : UINT64_MAX;
    slot_invoke(slot, "acquire");
    int result = lockstep_async_acquire(slot->client->async, slot->key, &options, on_acquired, slot);
    if (result != LOCKSTEP_OK) {
        on_acquired(slot, result, NULL, NULL);
    }
}

static void cancel(struct slot *slot)
{
    slot->due_ms = UINT64_MAX;
    slot->cancelled = true;
    lockstep_cancel_fire(slot->cancel);
}

/* ---- asking about one ---- */

static void status_text(const struct lockstep_lock_status *status, char *text, size_t text_bytes)
{
    size_t used = (size_t)snprintf(text, text_bytes, " :holders [");
    for (size_t i = 0; i < status->holders_shown && used < text_bytes; i++) {
        used += (size_t)snprintf(text + used, text_bytes - used, "{:session %" PRIu64 " :token %" PRIu64 "}",
                                 status->holders[i].session_id, status->holders[i].token);
    }
    used += (size_t)snprintf(text + used, text_bytes - used, "] :waiters %" PRIu64 " :queue [",
                             status->waiters_count);
    for (size_t i = 0; i < status->waiters_shown && used < text_bytes; i++) {
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%" PRIu64, i == 0 ? "" : " ",
                                 status->waiters[i].session_id);
    }
    (void)snprintf(text + used, text_bytes - used, "]");
}

static void on_status(void *arg, int result, struct lockstep_lock_status *status)
{
    struct slot *slot = arg;
    char rest[STATUS_BYTES_MAX] = "";
    if (result == LOCKSTEP_OK) {
        status_text(status, rest, sizeof(rest));
    }
    lockstep_lock_status_free(status);
    slot_complete(slot, result, rest);
    load_check_result(slot->client->load, "status", result, READ_ALLOWED);
    slot_idle(slot);
}

static void ask_status(struct slot *slot)
{
    (void)snprintf(slot->key, sizeof(slot->key), "k%" PRIu64, draw_key(slot->client->load));
    (void)snprintf(slot->asked, sizeof(slot->asked), ":key \"%s\" :owner \"%s\"", slot->key,
                   slot->client->owner);
    slot->state = SLOT_ASKING;
    slot_invoke(slot, "status");
    int result = lockstep_async_lock_status(slot->client->async, slot->key, false, on_status, slot);
    if (result != LOCKSTEP_OK) {
        on_status(slot, result, NULL);
    }
}

static void on_old_checked(void *arg, int result, uint64_t current)
{
    struct slot *slot = arg;
    (void)current;
    bool answered = result == LOCKSTEP_OK || result == LOCKSTEP_STALE_FENCE;
    slot_complete(slot, answered ? LOCKSTEP_OK : result,
                  result == LOCKSTEP_OK ? " :current true" : " :current false");
    load_check_result(slot->client->load, "check", result, READ_ALLOWED | 1u << LOCKSTEP_STALE_FENCE);
    slot_idle(slot);
}

/* The fence of a grant that has ended. */
static void check_old(struct slot *slot)
{
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :token %" PRIu64 " :fence %" PRIu64, slot->old_key,
                   slot->client->owner, slot->old_token, slot->old_fence);
    slot->state = SLOT_ASKING;
    slot_invoke(slot, "check");
    int result = lockstep_async_fence_check(slot->client->async, slot->old_key, slot->old_fence, false,
                                            on_old_checked, slot);
    if (result != LOCKSTEP_OK) {
        on_old_checked(slot, result, 0);
    }
}

/* ---- what it does when ---- */

void slot_drop(struct slot *slot)
{
    lockstep_lock_free(slot->lock);
    slot->lock = NULL;
    slot->state = SLOT_IDLE;
}

static void act_idle(struct slot *slot)
{
    struct load *load = slot->client->load;
    if (load->leaving || load->allowed < 1) {
        return;
    }
    uint64_t kind = draw_below(load, 24);
    if (kind == 0) {
        ask_status(slot);
    } else if (kind == 1 && slot->old_token != 0) {
        check_old(slot);
    } else {
        acquire(slot);
    }
}

void slot_act(struct slot *slot, uint64_t now_ms)
{
    bool leaving = slot->client->load->leaving;
    if (slot->state == SLOT_IDLE && slot->due_ms <= now_ms) {
        act_idle(slot);
    } else if (slot->state == SLOT_HOLDING && (slot->due_ms <= now_ms || leaving)) {
        hold_act(slot, now_ms);
    } else if (slot->state == SLOT_ASKING && slot->cancel != NULL && !slot->cancelled &&
               (slot->due_ms <= now_ms || leaving)) {
        cancel(slot);
    }
}
