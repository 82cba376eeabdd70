/* What is done with a lock, and what is known of it: how long it is certainly held, and that it was lost. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/load/load.h"

enum { LEAD_MS_MIN = 10, LOOK_AGAIN_MS = 8 };

#define ALLOWED                                                                  \
    (1u << LOCKSTEP_OK | 1u << LOCKSTEP_NOT_HELD | 1u << LOCKSTEP_SESSION_LOST | \
     1u << LOCKSTEP_UNREACHABLE | 1u << LOCKSTEP_UNKNOWN | 1u << LOCKSTEP_LIMIT)
#define CHECK_ALLOWED \
    (1u << LOCKSTEP_OK | 1u << LOCKSTEP_STALE_FENCE | 1u << LOCKSTEP_UNREACHABLE | 1u << LOCKSTEP_LIMIT)

static void describe(struct slot *slot, const char *more)
{
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :session %" PRIu64 " :token %" PRIu64 "%s", slot->key,
                   slot->client->owner, slot->session, slot->token, more);
}

/* ---- certainty ---- */

/* The clock is read first: whatever passes until the library looks makes the claim weaker. "" if nothing is certain. */
static void certain_until(const struct slot *slot, char *text, size_t text_bytes)
{
    uint64_t before_ns = history_now();
    int64_t remaining_ms = lockstep_lock_remaining_ms(slot->lock);
    text[0] = 0;
    if (!slot->lost && remaining_ms > 0) {
        uint64_t remaining_ns = (uint64_t)((double)remaining_ms * 1e6 / slot->client->load->clock_rate);
        (void)snprintf(text, text_bytes, " :certain-until %" PRIu64, before_ns + remaining_ns);
    }
}

static void certain_text(const struct slot *slot, char *text, size_t text_bytes)
{
    text[0] = 0;
    if (slot->certain_ns != 0) {
        (void)snprintf(text, text_bytes, " :certain %" PRIu64, slot->certain_ns);
    }
}

/* ---- losing ---- */

static void give_up(struct slot *slot, unsigned reason)
{
    static const char *const words[] = {"unknown", "uncertain", "expired", "killed", "forced", "ended"};
    char certain[64];
    certain_text(slot, certain, sizeof(certain));
    slot->lost = slot->told = true;
    slot->client->load->losses++;
    history_line(slot->process, "info", "lost",
                 ":key \"%s\" :owner \"%s\" :session %" PRIu64 " :token %" PRIu64 " :reason :%s%s", slot->key,
                 slot->client->owner, slot->session, slot->token,
                 words[reason < sizeof(words) / sizeof(words[0]) ? reason : 0], certain);
    history_flush(); /* H4 */
}

static void end_hold(struct slot *slot)
{
    lockstep_lock_free(slot->lock);
    slot->lock = NULL;
    slot_idle(slot);
}

/* A lost lock's handle is freed, or released by request, for what that says. */
static void leave_lost(struct slot *slot)
{
    if (!slot->released && draw_once_in(slot->client->load, 3)) {
        hold_release(slot);
    } else {
        end_hold(slot);
    }
}

void hold_on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                  int64_t remaining_ms, const char *detail)
{
    struct slot *slot = arg;
    (void)lock;
    (void)remaining_ms;
    (void)detail;
    slot->reason = (unsigned)reason;
    if (slot->lock == NULL) {
        slot->lost = true; /* as soon as it was granted: hold_on() writes it behind the grant */
        return;
    }
    if (slot->lost || slot->client->closing) {
        return;
    }
    give_up(slot, slot->reason);
    if (slot->state == SLOT_HOLDING) {
        leave_lost(slot);
    } /* else hold_on(), when the operation under way has ended */
}

void hold_look(struct slot *slot, uint64_t now_ns)
{
    if (slot->lock == NULL || slot->lost || slot->state == SLOT_LEAVING) {
        return;
    }
    bool held = lockstep_lock_is_held(slot->lock);
    if (held) {
        slot->certain_ns = now_ns; /* H2 */
    }
    uint64_t lead_ms = slot->lead_ms < slot->client->ttl_ms / 10 ? slot->lead_ms : slot->client->ttl_ms / 10;
    lead_ms = lead_ms > LEAD_MS_MIN ? lead_ms : LEAD_MS_MIN;
    if (!held || lockstep_lock_remaining_ms(slot->lock) < (int64_t)lead_ms / 2) {
        give_up(slot, LOCKSTEP_LOST_UNCERTAIN); /* H4: the library should have said so, and will */
        if (slot->state == SLOT_HOLDING) {
            leave_lost(slot);
        }
    }
}

/* ---- holding ---- */

void hold_take(struct slot *slot, struct lockstep_lock *lock, char *rest, size_t rest_bytes)
{
    char until[64];
    struct load *load = slot->client->load;
    load->grants++;
    slot->lock = lock;
    slot->token = slot->old_token = lockstep_lock_token(lock);
    slot->fence = slot->old_fence = lockstep_lock_fence(lock);
    slot->session = lockstep_lock_session_id(lock);
    memcpy(slot->old_key, slot->key, sizeof(slot->old_key));
    slot->certain_ns = 0;
    slot->until_ms = uv_now(&load->loop) + draw_hold(load, slot->key);
    certain_until(slot, until, sizeof(until));
    (void)snprintf(rest, rest_bytes, " :session %" PRIu64 " :token %" PRIu64 " :fence %" PRIu64 "%s",
                   slot->session, slot->token, slot->fence, until);
    slot->state = SLOT_WORKING; /* until hold_on() */
}

void hold_on(struct slot *slot)
{
    struct load *load = slot->client->load;
    if (slot->client->closing) {
        slot->state = SLOT_HOLDING; /* and dropped soon */
        return;
    }
    if (slot->lost) {
        if (!slot->told) {
            give_up(slot, slot->reason);
        }
        leave_lost(slot);
        return;
    }
    uint64_t now_ms = uv_now(&load->loop);
    uint64_t left_ms = slot->until_ms > now_ms ? slot->until_ms - now_ms : 0;
    slot->state = SLOT_HOLDING;
    slot->due_ms = now_ms + draw_below(load, left_ms + 1);
    slot->due_ms = left_ms < LOOK_AGAIN_MS ? slot->until_ms : slot->due_ms;
}

static void on_extended(void *arg, int result)
{
    struct slot *slot = arg;
    char rest[64] = "";
    if (result == LOCKSTEP_OK) {
        certain_until(slot, rest, sizeof(rest));
    }
    slot_complete(slot, result, rest);
    load_check_result(slot->client->load, "extend", result, ALLOWED);
    hold_on(slot);
}

static void extend(struct slot *slot)
{
    struct load *load = slot->client->load;
    char more[48];
    uint64_t ttl_ms = draw_once_in(load, 2) ? 0 : draw_own_ttl(load);
    (void)snprintf(more, sizeof(more), " :ttl-ms %" PRIu64, ttl_ms);
    describe(slot, more);
    slot->lead_ms = ttl_ms != 0 && ttl_ms / 10 < slot->lead_ms ? ttl_ms / 10 : slot->lead_ms;
    slot->state = SLOT_WORKING;
    slot_invoke(slot, "extend");
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
    slot_complete(slot, answered ? LOCKSTEP_OK : result,
                  result == LOCKSTEP_OK ? " :current true" : " :current false");
    load_check_result(slot->client->load, "check", result, CHECK_ALLOWED);
    hold_on(slot);
}

static void check(struct slot *slot)
{
    (void)snprintf(slot->asked, sizeof(slot->asked),
                   ":key \"%s\" :owner \"%s\" :token %" PRIu64 " :fence %" PRIu64, slot->key,
                   slot->client->owner, slot->token, slot->fence);
    slot->state = SLOT_WORKING;
    slot_invoke(slot, "check");
    int result =
        lockstep_async_fence_check(slot->client->async, slot->key, slot->fence, false, on_checked, slot);
    if (result != LOCKSTEP_OK) {
        on_checked(slot, result, 0);
    }
}

/* The judge knows nothing of values: this is no line of the history. */
static void on_value(void *arg, int result)
{
    struct slot *slot = arg;
    load_check_result(slot->client->load, "set_value", result, ALLOWED);
    hold_on(slot);
}

static void set_value(struct slot *slot)
{
    slot->state = SLOT_WORKING;
    slot->client->load->allowed--;
    int result = lockstep_async_set_value(slot->lock, slot->key, strlen(slot->key), on_value, slot);
    if (result != LOCKSTEP_OK) {
        on_value(slot, result);
    }
}

/* ---- giving back ---- */

static void on_released(void *arg, int result)
{
    struct slot *slot = arg;
    struct load *load = slot->client->load;
    slot_complete(slot, result, "");
    if (slot->released) { /* before, by this handle: it can not be done again */
        load_check_result(load, "release again", result,
                          1u << LOCKSTEP_NOT_HELD | 1u << LOCKSTEP_SESSION_LOST);
    } else {
        load_check_result(load, "release", result, ALLOWED);
    }
    bool again = !slot->released && draw_once_in(load, 16);
    slot->released = true;
    slot->state = SLOT_WORKING;
    if (again && !slot->client->closing) {
        hold_release(slot);
    } else if (!slot->client->closing) {
        end_hold(slot);
    }
}

void hold_release(struct slot *slot)
{
    char certain[64];
    if (!slot->lost && !slot->released) {
        hold_look(slot, history_now());
    }
    if (slot->lock == NULL || slot->state == SLOT_LEAVING) {
        return; /* it was lost at this look, and is given back by that already */
    }
    certain_text(slot, certain, sizeof(certain));
    describe(slot, slot->released ? "" : certain);
    slot->state = SLOT_LEAVING;
    slot_invoke(slot, "release");
    int result = lockstep_async_release(slot->lock, on_released, slot);
    if (result != LOCKSTEP_OK) {
        on_released(slot, result);
    }
}

void hold_act(struct slot *slot, uint64_t now_ms)
{
    struct load *load = slot->client->load;
    if (now_ms >= slot->until_ms || load->leaving) {
        hold_release(slot);
        return;
    }
    uint64_t kind = draw_below(load, 8);
    if (kind == 0) {
        set_value(slot);
    } else if (kind < 4) {
        check(slot);
    } else {
        extend(slot);
    }
}
