/* Owns grants and holds: how long each is certain, when that is said to be over, and that nothing is kept which nobody has.
 *
 *  G1  A grant is certain up to the earliest of: the session's local deadline; that of its own lease, if it has one; and what
 *      an extend under way may have made of it (`cap`). All by lease.h.
 *  G2  hold_lost() comes lsc_lead_ms() before that, or when the cluster says that the grant has ended. Once for each hold.
 *  G3  A grant whose certain time ran out may still live at the cluster. When the time has passed, so that its holders have
 *      surely stopped, they are released there; not before, because they may be at work until then.
 *  G4  A hold that was lost never becomes certain again, even if the session turns out to live: its user was told. A new
 *      acquire (reentrant) that the cluster answers with the same token is a new hold, and certain by itself. */
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "protocol/assert.h"

enum { LEAD_MS_MIN = 10, LEAD_MS_MAX = 1000 };

uint64_t lsc_lead_ms(const struct lsc_core *core, uint64_t ttl_ms)
{
    uint64_t lead_ms = core->config.lost_lead_ms;
    if (lead_ms == LSC_LEAD_AUTO) {
        lead_ms = ttl_ms / 10 > LEAD_MS_MIN ? ttl_ms / 10 : LEAD_MS_MIN;
        lead_ms = lead_ms < LEAD_MS_MAX ? lead_ms : LEAD_MS_MAX;
    }
    return lead_ms < ttl_ms / 2 ? lead_ms : ttl_ms / 2;
}

/* ---- grants ---- */

static struct lsc_grant *grant_create(struct lsc_core *core, const uint8_t *key, size_t key_bytes, uint64_t token)
{
    struct lsc_grant *grant = calloc(1, sizeof(*grant) + key_bytes + 1);
    if (grant == NULL) {
        return NULL;
    }
    memcpy(grant->key, key, key_bytes);
    grant->state = GRANT_HELD;
    grant->session_id = core->session.id;
    grant->token = token;
    grant->cap = BOOT_NEVER;
    grant->next = core->grants;
    if (core->grants != NULL) {
        core->grants->prev = grant;
    }
    core->grants = grant;
    core->held_count++;
    return grant;
}

void lsc_grant_unref(struct lsc_core *core, struct lsc_grant *grant)
{
    LOCKSTEP_ASSERT(grant->references > 0);
    grant->references--;
    if (grant->references > 0) {
        return;
    }
    core->held_count -= grant->state == GRANT_HELD;
    *(grant->prev == NULL ? &core->grants : &grant->prev->next) = grant->next;
    if (grant->next != NULL) {
        grant->next->prev = grant->prev;
    }
    free(grant);
}

struct lsc_grant *lsc_grant_find(const struct lsc_core *core, uint64_t token)
{
    struct lsc_grant *grant = core->grants;
    while (grant != NULL && (grant->token != token || grant->session_id != core->session.id)) {
        grant = grant->next;
    }
    return grant;
}

/* G1 */
static struct boot_time certain_until(const struct lsc_core *core, const struct lsc_grant *grant)
{
    if (grant->state == GRANT_ENDED || grant->unknown || grant->session_id != core->session.id) {
        return (struct boot_time){0};
    }
    struct boot_time until = boot_earlier(lsc_session_local(core), grant->cap);
    if (grant->has_lease) {
        until = boot_earlier(until, lease_clock_local(&core->clock, grant->lease_deadline));
    }
    return until;
}

/* When its own lease is the reason to lose it; the session's end is one for all grants at once. */
static struct boot_time lease_loss_due(const struct lsc_core *core, const struct lsc_grant *grant)
{
    if (grant->state != GRANT_HELD || (!grant->has_lease && grant->cap.ms == UINT64_MAX)) {
        return BOOT_NEVER;
    }
    struct boot_time until = grant->cap;
    uint64_t ttl_ms = lsc_session_ttl_ms(core);
    if (grant->has_lease) {
        until = boot_earlier(until, lease_clock_local(&core->clock, grant->lease_deadline));
        ttl_ms = grant->lease_ttl_ms < ttl_ms ? grant->lease_ttl_ms : ttl_ms;
    }
    if (grant->cap.ms != UINT64_MAX && grant->cap_ttl_ms < ttl_ms) {
        ttl_ms = grant->cap_ttl_ms; /* by a longer one's lead, it would be lost the moment it is asked for */
    }
    return boot_before(until, lsc_lead_ms(core, ttl_ms));
}

static void watch_lease(struct lsc_core *core, const struct lsc_grant *grant)
{
    core->leases_due = boot_earlier(core->leases_due, lease_loss_due(core, grant));
}

/* ---- losing ---- */

static void owe_less(struct lsc_core *core, struct lsc_grant *grant, unsigned count)
{
    LOCKSTEP_ASSERT(grant->owed >= count);
    grant->owed -= count;
    if (count > 0 && grant->owed == 0) {
        core->owing_count--;
        lsc_grant_unref(core, grant);
    }
}

static void owe(struct lsc_core *core, struct lsc_hold *hold, struct boot_time until)
{
    struct lsc_grant *grant = hold->grant;
    if (grant->owed == 0) {
        core->owing_count++;
        grant->references++;
    }
    grant->owed++;
    grant->owed_at = until;
    hold->owed = true;
}

void lsc_grant_lose(struct lsc_core *core, struct lsc_grant *grant, enum grant_state state,
                    enum lockstep_lost_reason reason, const char *detail)
{
    LOCKSTEP_ASSERT(state != GRANT_HELD);
    if (grant->state >= state) {
        return;
    }
    grant->references++; /* through this function */
    struct boot_time until = certain_until(core, grant);
    core->held_count -= grant->state == GRANT_HELD;
    grant->state = state;
    if (state == GRANT_ENDED) {
        owe_less(core, grant, grant->owed); /* there is nothing left to release */
    }
    for (struct lsc_hold *hold = grant->first_hold; hold != NULL; hold = hold->next) {
        hold->owed = hold->owed && state != GRANT_ENDED;
        if (hold->released || hold->told) {
            continue;
        }
        hold->told = true;
        hold->until = state == GRANT_ENDED ? (struct boot_time){0} : until;
        if (state == GRANT_UNCERTAIN) {
            owe(core, hold, until);
        }
        core->output.hold_lost(core->output.ctx, hold->user, reason, detail);
    }
    lsc_grant_unref(core, grant);
}

void lsc_grants_lose_all(struct lsc_core *core, enum grant_state state, enum lockstep_lost_reason reason,
                         const char *detail)
{
    struct lsc_grant *next = NULL;
    for (struct lsc_grant *grant = core->grants; grant != NULL; grant = next) {
        next = grant->next;
        lsc_grant_lose(core, grant, state, reason, detail);
    }
}

static struct boot_time session_loss_due(const struct lsc_core *core)
{
    const struct session *session = &core->session;
    if (core->held_count == 0 || !session->dated || session->loss_told) {
        return BOOT_NEVER;
    }
    return boot_before(lsc_session_local(core), lsc_lead_ms(core, lsc_session_ttl_ms(core)));
}

static void lose_by_lease(struct lsc_core *core, struct boot_time now)
{
    if (!boot_reached(now, core->leases_due)) {
        return;
    }
    core->leases_due = BOOT_NEVER;
    struct lsc_grant *next = NULL;
    for (struct lsc_grant *grant = core->grants; grant != NULL; grant = next) {
        next = grant->next;
        struct boot_time due = lease_loss_due(core, grant);
        if (boot_reached(now, due)) {
            lsc_grant_lose(core, grant, GRANT_UNCERTAIN, LOCKSTEP_LOST_UNCERTAIN, "");
        } else {
            core->leases_due = boot_earlier(core->leases_due, due);
        }
    }
}

static bool can_release_owed(const struct lsc_core *core)
{
    return core->owing_count > 0 && core->session.state == SESSION_OPEN && core->route.leads && !core->closing;
}

/* G3 */
static void release_owed(struct lsc_core *core, struct boot_time now)
{
    if (!can_release_owed(core)) {
        return;
    }
    struct lsc_grant *next = NULL;
    for (struct lsc_grant *grant = core->grants; grant != NULL; grant = next) {
        next = grant->next;
        if (grant->owed == 0 || !boot_reached(now, grant->owed_at)) {
            continue;
        }
        for (struct lsc_hold *hold = grant->first_hold; hold != NULL; hold = hold->next) {
            hold->released |= hold->owed;
            hold->owed = false;
        }
        for (unsigned i = 0; i < grant->owed; i++) {
            lsc_release_later(core, now, grant);
        }
        owe_less(core, grant, grant->owed);
    }
}

void lsc_grants_settle(struct lsc_core *core, struct boot_time now)
{
    if (boot_reached(now, session_loss_due(core))) {
        core->session.loss_told = true;
        lsc_grants_lose_all(core, GRANT_UNCERTAIN, LOCKSTEP_LOST_UNCERTAIN, "");
    }
    lose_by_lease(core, now);
    release_owed(core, now);
}

struct boot_time lsc_grants_deadline(const struct lsc_core *core)
{
    struct boot_time due = boot_earlier(session_loss_due(core), core->leases_due);
    if (can_release_owed(core)) {
        for (const struct lsc_grant *grant = core->grants; grant != NULL; grant = grant->next) {
            due = grant->owed > 0 ? boot_earlier(due, grant->owed_at) : due;
        }
    }
    return due;
}

/* ---- what the cluster says ---- */

static struct lsc_hold *hold_create(struct lsc_grant *grant, void *user)
{
    struct lsc_hold *hold = calloc(1, sizeof(*hold));
    if (hold == NULL) {
        return NULL;
    }
    hold->grant = grant;
    hold->user = user;
    hold->next = grant->first_hold;
    if (grant->first_hold != NULL) {
        grant->first_hold->prev = hold;
    }
    grant->first_hold = hold;
    grant->references++;
    return hold;
}

/* A later entry overrules an earlier one, in whatever order their replies come. Of two with the same time nobody knows which
 * came first (a request may have been refused once and sent again behind the other): the stricter counts, unless one was
 * asked for after the other's reply was heard. */
static void set_lease(const struct lsc_core *core, const struct lsc_call *call, struct lsc_grant *grant, uint64_t ttl_ms,
                      struct cluster_time as_of)
{
    bool heard_before = call->begun_after >= grant->lease_by;
    uint64_t deadline_ms = as_of.ms > UINT64_MAX - ttl_ms ? UINT64_MAX : as_of.ms + ttl_ms;
    bool same = as_of.ms == grant->lease_as_of.ms;
    bool stricter = ttl_ms > 0 && (!grant->has_lease || deadline_ms < grant->lease_deadline.ms);
    if (as_of.ms < grant->lease_as_of.ms || (same && !heard_before && !stricter)) {
        return;
    }
    grant->lease_as_of = as_of;
    grant->lease_by = core->answers_count;
    grant->has_lease = ttl_ms > 0;
    grant->lease_ttl_ms = ttl_ms;
    grant->lease_deadline.ms = deadline_ms;
}

/* The acquire joined a grant that we know: its own lease, if it has one, may have got longer (raft_fsm, lock.c L4). */
static void join(const struct lsc_core *core, const struct lsc_call *call, struct lsc_grant *grant, struct cluster_time as_of)
{
    uint64_t ttl_ms = call->request.body.lock_acquire.ttl_ms;
    if (!grant->unknown && grant->has_lease && ttl_ms > 0 && as_of.ms + ttl_ms > grant->lease_deadline.ms) {
        set_lease(core, call, grant, ttl_ms, as_of);
    }
}

/* The grant that an acquire was answered with, for the first time or again. */
static struct lsc_grant *grant_of(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    const struct proto_lock_acquire *body = &call->request.body.lock_acquire;
    const struct proto_grant_reply *granted = &reply->body.grant;
    /* One that was entered once only can be known already if a later acquire, which joined it, was answered before. */
    bool may_be_known = granted->holds > 1 || core->joined_unknown;
    struct lsc_grant *grant = may_be_known ? lsc_grant_find(core, granted->token) : NULL;
    if (grant != NULL && granted->holds > 1) {
        join(core, call, grant, reply->time);
        return grant;
    }
    if (grant == NULL) {
        grant = grant_create(core, body->key.data, body->key.size, granted->token);
    }
    if (grant == NULL) {
        return NULL;
    }
    if (granted->holds == 1) {
        grant->has_lease = grant->has_lease && !grant->unknown;
        grant->unknown = false;
        set_lease(core, call, grant, body->ttl_ms, reply->time);
    } else {
        /* It was joined, and what became of its own lease was in answers that have not come yet, or have been forgotten.
         * Nothing is certain about it, so it is lost at once. */
        grant->unknown = true;
        grant->has_lease = true;
        core->joined_unknown = true;
    }
    return grant;
}

struct lsc_hold *lsc_grant_received(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    struct lsc_grant *grant = grant_of(core, call, reply);
    if (grant == NULL) {
        return NULL;
    }
    grant->references++; /* through this function */
    grant->fence = reply->body.grant.fence;
    if (grant->state == GRANT_UNCERTAIN) { /* G4 */
        grant->state = GRANT_HELD;
        core->held_count++;
    }
    lsc_session_learn(core, reply->body.grant.deadline, reply->time);
    core->session.loss_told = false; /* if the certain time is over already, this grant has not been told */
    struct lsc_hold *hold = hold_create(grant, call->hold_user);
    watch_lease(core, grant);
    lsc_grant_unref(core, grant);
    return hold;
}

void lsc_hold_given(struct lsc_core *core, struct lsc_hold *hold)
{
    if (hold->grant->state == GRANT_ENDED) {
        hold->told = true; /* what was heard of its end came before the answer to its acquire */
        core->output.hold_lost(core->output.ctx, hold->user, LOCKSTEP_LOST_ENDED, "");
    }
}

void lsc_grant_extended(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply)
{
    struct lsc_grant *grant = call->grant;
    grant->fence = reply->body.grant.fence;
    grant->unknown = false;
    set_lease(core, call, grant, call->request.body.lock_extend.ttl_ms, reply->time);
    lsc_session_learn(core, reply->body.grant.deadline, reply->time);
    watch_lease(core, grant);
}

/* Between the sending of an extend and its answer either lease may be in force: the earlier is counted on. */
void lsc_grant_sent(struct lsc_core *core, struct lsc_call *call)
{
    if (call->request.kind != PROTO_LOCK_EXTEND || call->request.body.lock_extend.ttl_ms == 0) {
        return;
    }
    struct lsc_grant *grant = call->grant;
    uint64_t ttl_ms = call->request.body.lock_extend.ttl_ms;
    if (!call->counted) {
        call->counted = true;
        bool shortest = grant->extends_pending == 0 || ttl_ms < grant->cap_ttl_ms;
        grant->cap_ttl_ms = shortest ? ttl_ms : grant->cap_ttl_ms;
        grant->extends_pending++;
    }
    grant->cap = boot_earlier(grant->cap, lease_from(&core->clock, call->sent_at, ttl_ms));
    watch_lease(core, grant);
}

void lsc_grant_forget(struct lsc_core *core, struct lsc_call *call)
{
    struct lsc_grant *grant = call->grant;
    if (grant == NULL) {
        return;
    }
    if (call->counted) {
        grant->extends_pending--;
        grant->cap = grant->extends_pending == 0 ? BOOT_NEVER : grant->cap;
    }
    grant->given_up -= call->given_up;
    call->grant = NULL;
    lsc_grant_unref(core, grant);
}

/* ---- holds ---- */

struct lsc_hold *lsc_hold_adopt(struct lsc_core *core, const char *key, uint64_t token, uint64_t fence, void *hold_user)
{
    struct lsc_grant *grant = grant_create(core, (const uint8_t *)key, strlen(key), token);
    if (grant == NULL) {
        return NULL;
    }
    grant->references++;
    grant->fence = fence;
    grant->unknown = true;
    struct lsc_hold *hold = hold_create(grant, hold_user);
    lsc_grant_unref(core, grant);
    return hold;
}

bool lsc_hold_let_go(struct lsc_core *core, struct lsc_hold *hold)
{
    if (hold->released) {
        return false;
    }
    hold->released = true;
    if (hold->owed) {
        hold->owed = false;
        owe_less(core, hold->grant, 1); /* it is asked for now */
    }
    return true;
}

void lsc_hold_drop(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold)
{
    struct lsc_grant *grant = hold->grant;
    bool holds = !hold->released && !hold->told && grant->state == GRANT_HELD;
    if (holds && grant->session_id == core->session.id) {
        lsc_release_later(core, now, grant);
    } /* else it ends by itself, or its release is owed by the grant, or the core is closing and it was silenced */
    *(hold->prev == NULL ? &grant->first_hold : &hold->prev->next) = hold->next;
    if (hold->next != NULL) {
        hold->next->prev = hold->prev;
    }
    free(hold);
    lsc_grant_unref(core, grant);
}

void lsc_hold_free(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold)
{
    lsc_hold_drop(core, now, hold);
    lsc_settle(core, now);
}

const char *lsc_hold_key(const struct lsc_hold *hold)
{
    return hold->grant->key;
}

uint64_t lsc_hold_token(const struct lsc_hold *hold)
{
    return hold->grant->token;
}

uint64_t lsc_hold_fence(const struct lsc_hold *hold)
{
    return hold->grant->fence;
}

uint64_t lsc_hold_session_id(const struct lsc_hold *hold)
{
    return hold->grant->session_id;
}

uint64_t lsc_hold_remaining_ms(const struct lsc_core *core, struct boot_time now, const struct lsc_hold *hold)
{
    if (hold->released) {
        return 0;
    }
    /* Of a lost one never more than was left when it was told, and less if an extend that was on its way made it less. */
    struct boot_time until = certain_until(core, hold->grant);
    return boot_until(now, hold->told ? boot_earlier(hold->until, until) : until);
}

bool lsc_hold_is_live(const struct lsc_core *core, const struct lsc_hold *hold)
{
    return !hold->released && !hold->told && hold->grant->state == GRANT_HELD &&
           hold->grant->session_id == core->session.id && !core->closing;
}

bool lsc_hold_is_held(const struct lsc_core *core, struct boot_time now, const struct lsc_hold *hold)
{
    return !hold->told && lsc_hold_remaining_ms(core, now, hold) > 0;
}
