/* Station 8, this part's side: owns the list of what one entry did, in the order it happened, and the copies of the
 * strings in it: what they came from may be gone before the entry ends. They live until the next fsm_apply(). */
#include "raft_fsm/effects.h"

#include <stdlib.h>
#include <string.h>

#include "raft_fsm/state.h"

enum { LIST_CAPACITY_MIN = 64, ARENA_CHUNK_BYTES = 16 * 1024 };

void fsm_effects_init(struct fsm_effects *effects)
{
    *effects = (struct fsm_effects){0};
}

void fsm_effects_done(struct fsm_effects *effects)
{
    free(effects->list);
    *effects = (struct fsm_effects){0};
}

/* ---- strings ---- */

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    uint8_t bytes[ARENA_CHUNK_BYTES];
};

static struct proto_bytes keep(struct fsm *fsm, struct proto_bytes text)
{
    if (text.size == 0) {
        return (struct proto_bytes){.data = NULL, .size = 0};
    }
    LOCKSTEP_ASSERT(text.size <= ARENA_CHUNK_BYTES);
    if (fsm->arena == NULL || ARENA_CHUNK_BYTES - fsm->arena->used < text.size) {
        struct arena_chunk *chunk = fsm_allocate(fsm, sizeof *chunk);
        chunk->next = fsm->arena;
        chunk->used = 0;
        fsm->arena = chunk;
    }
    uint8_t *copy = fsm->arena->bytes + fsm->arena->used;
    memcpy(copy, text.data, text.size);
    fsm->arena->used += text.size;
    return (struct proto_bytes){.data = copy, .size = text.size};
}

void fsm_arena_reset(struct fsm *fsm)
{
    while (fsm->arena != NULL && fsm->arena->next != NULL) {
        struct arena_chunk *chunk = fsm->arena;
        fsm->arena = chunk->next;
        fsm_release(fsm, chunk, sizeof *chunk);
    }
    if (fsm->arena != NULL) {
        fsm->arena->used = 0;
    }
}

void fsm_arena_done(struct fsm *fsm)
{
    fsm_arena_reset(fsm);
    fsm_release(fsm, fsm->arena, sizeof *fsm->arena);
    fsm->arena = NULL;
}

/* ---- the list ---- */

static struct fsm_effect *append(struct fsm *fsm, enum fsm_effect_kind kind)
{
    struct fsm_effects *effects = fsm->effects;
    if (effects->count == effects->capacity) {
        size_t capacity = effects->capacity == 0 ? LIST_CAPACITY_MIN : effects->capacity * 2;
        effects->list = realloc(effects->list, capacity * sizeof *effects->list);
        LOCKSTEP_ASSERT(effects->list != NULL);
        effects->capacity = capacity;
    }
    struct fsm_effect *effect = &effects->list[effects->count++];
    memset(effect, 0, sizeof *effect);
    effect->kind = kind;
    effect->command_index = FSM_NO_COMMAND;
    return effect;
}

static void fill_reply(struct fsm *fsm, struct fsm_effect *effect, const struct answer *answer, uint64_t id,
                       uint64_t time_ms)
{
    fsm_answer_reply(answer, id, time_ms, &effect->reply);
    if (answer->status == PROTO_STATUS_HELD) {
        effect->reply.body.holder.owner = keep(fsm, effect->reply.body.holder.owner);
    }
}

void fsm_effect_reply(struct fsm *fsm, const struct call *call, const struct answer *answer, uint64_t time_ms)
{
    if (fsm->effects == NULL) {
        return;
    }
    struct fsm_effect *effect = append(fsm, FSM_REPLY);
    effect->command_index = call->index;
    effect->session_id = call->command->session_id;
    effect->request_id = call->command->request_id;
    fill_reply(fsm, effect, answer, call->command->request_id, time_ms);
}

void fsm_effect_queued(struct fsm *fsm, const struct call *call)
{
    if (fsm->effects == NULL) {
        return;
    }
    struct fsm_effect *effect = append(fsm, FSM_QUEUED);
    effect->command_index = call->index;
    effect->session_id = call->command->session_id;
    effect->request_id = call->command->request_id;
}

void fsm_effect_wait_ended(struct fsm *fsm, const struct waiter *waiter, const struct answer *answer)
{
    if (fsm->effects == NULL) {
        return;
    }
    struct fsm_effect *effect = append(fsm, FSM_WAIT_ENDED);
    effect->session_id = waiter->session->id;
    effect->request_id = waiter->request_id;
    fill_reply(fsm, effect, answer, waiter->request_id, fsm->time_ms);
}

static struct proto_event *append_event(struct fsm *fsm, enum proto_event_kind kind, uint64_t session_id,
                                        enum proto_end_reason reason, struct proto_bytes detail)
{
    struct fsm_effect *effect = append(fsm, FSM_EVENT);
    effect->session_id = session_id;
    effect->event.kind = kind;
    effect->event.session_id = session_id;
    effect->event.time = fsm_time(fsm);
    effect->event.reason = reason;
    effect->event.detail = keep(fsm, detail);
    return &effect->event;
}

void fsm_effect_grant_lost(struct fsm *fsm, const struct grant *grant, enum proto_end_reason reason,
                           struct proto_bytes detail)
{
    /* The end of the session has told of all its grants at once. */
    if (fsm->effects == NULL || grant->session->ended) {
        return;
    }
    struct proto_event *event = append_event(fsm, PROTO_EVENT_GRANT_LOST, grant->session->id, reason, detail);
    event->token = grant->token;
    event->key = keep(fsm, (struct proto_bytes){.data = grant->lock->key, .size = grant->lock->key_bytes});
}

void fsm_effect_session_ended(struct fsm *fsm, const struct session *session, enum proto_end_reason reason,
                              struct proto_bytes detail)
{
    if (fsm->effects != NULL) {
        (void)append_event(fsm, PROTO_EVENT_SESSION_ENDED, session->id, reason, detail); /* nothing to add */
    }
}
