/* Station 5: group commit (proposer.h). Owns what is received and not proposed, and what is proposed and not applied. */
#include "node/proposer.h"

#include <stdlib.h>
#include <string.h>

#include "node/core_state.h"
#include "protocol/assert.h"
#include "raft_fsm/entry.h"

enum { COMMAND_OVERHEAD_BYTES = 32 }; /* what an entry needs for a command besides its fields, about */

void proposer_init(struct proposer *proposer, unsigned entries_in_flight_max)
{
    LOCKSTEP_ASSERT(entries_in_flight_max >= 1);
    LOCKSTEP_ASSERT(entries_in_flight_max <= PROPOSER_ENTRIES_MAX);
    *proposer = (struct proposer){.size = entries_in_flight_max};
    for (unsigned i = 0; i < proposer->size; i++) {
        proto_buffer_init(&proposer->entries[i].bytes, FSM_ENTRY_BYTES_MAX);
    }
}

void proposer_done(struct proposer *proposer)
{
    LOCKSTEP_ASSERT(proposer->queue.count == 0);
    LOCKSTEP_ASSERT(proposer->in_flight == 0);
    for (unsigned i = 0; i < proposer->size; i++) {
        proto_buffer_done(&proposer->entries[i].bytes);
        free(proposer->entries[i].requests);
    }
}

/* The entry that stands at `position` behind the oldest; free if position >= in_flight, which must be
 * less than the size of the ring. */
static struct proposed_entry *entry_at(struct proposer *proposer, unsigned position)
{
    return &proposer->entries[(proposer->first + position) % proposer->size];
}

/* ---- the queue ---- */

enum { PATIENCE_SHARE = 100 };

/* Renewals come every third of the TTL: a hundredth of it later is no matter, and a fifth of the shortest that there is is none
 * for any TTL, nor for one that is not told here. The TTL that counts is the shorter of the one that the renewal asks for and
 * the one that its session has: until it is answered, its client is certain by the latter only. */
static uint64_t renewal_patience_ms(const struct core *core, const struct request *request)
{
    enum { ANY_TTL_MS = PROTO_TTL_MS_MIN / 5 };
    uint64_t patience = request->message.body.session_renew.ttl_ms / PATIENCE_SHARE;
    if (patience > ANY_TTL_MS) {
        uint64_t present = fsm_session_ttl(core->fsm, request->message.session_id) / PATIENCE_SHARE;
        patience = present < patience ? present : patience;
    }
    patience = patience > ANY_TTL_MS ? patience : ANY_TTL_MS;
    return patience < core->options.renew_delay_ms ? patience : core->options.renew_delay_ms;
}

/* Who is to queue behind others is not granted before one of them is heard of again, and its entry takes this along. On its
 * own it would stand before that very release in the disk's queue, behind what is under way; where nothing is, it goes. */
static uint64_t acquire_patience_ms(const struct core *core, const struct request *request)
{
    const struct proto_lock_acquire *acquire = &request->message.body.lock_acquire;
    uint64_t patience = acquire->wait_ms / PATIENCE_SHARE; /* 0 if it asks once */
    bool may_wait = core->proposer.in_flight > 0 && patience > 0 && !acquire->reentrant;
    if (!may_wait || !fsm_lock_is_queued(core->fsm, acquire->key)) {
        return 0;
    }
    return patience < PROPOSER_QUEUE_PATIENCE_MS ? patience : PROPOSER_QUEUE_PATIENCE_MS;
}

/* For how long `request` may wait for company. */
static uint64_t patience_ms(const struct core *core, const struct request *request)
{
    if (request_is_renewal(request)) {
        return renewal_patience_ms(core, request);
    }
    return request->message.kind == PROTO_LOCK_ACQUIRE ? acquire_patience_ms(core, request) : 0;
}

static uint64_t weight(const struct request *request)
{
    return request->body_bytes + COMMAND_OVERHEAD_BYTES;
}

void proposer_add(struct core *core, struct request *request)
{
    struct proposer *proposer = &core->proposer;
    uint64_t due_ms = request->received_ms + patience_ms(core, request);
    if (proposer->queue.count == 0 || due_ms < proposer->queue_due.ms) {
        proposer->queue_due = (struct local_time){due_ms};
    }
    request_move(request, REQUEST_QUEUED);
    request_list_append(&proposer->queue, request);
    proposer->queue_bytes += weight(request);
    proposer->received++;
}

static struct request *queue_take(struct proposer *proposer)
{
    struct request *request = request_list_take(&proposer->queue);
    if (request != NULL) {
        proposer->queue_bytes -= weight(request);
        proposer->left++;
    }
    return request;
}

/* ---- when ---- */

bool proposer_tells(const struct core *core, uint64_t due_ms)
{
    const struct proposer *proposer = &core->proposer;
    if (proposer->in_flight == 0) {
        return false;
    }
    unsigned last = (proposer->first + proposer->in_flight - 1) % proposer->size;
    return proposer->entries[last].time.ms >= due_ms;
}

/* The earliest deadline has passed, or something is left to free, and no entry under way tells the state machine. */
static bool expiry_wanted(const struct core *core)
{
    return core->clock.time.ms >= core->next_due_ms && !proposer_tells(core, core->next_due_ms);
}

struct local_time proposer_room(const struct core *core)
{
    const struct proposer *proposer = &core->proposer;
    return proposer->in_flight < proposer->size ? proposer->retry : LOCAL_TIME_NEVER;
}

static bool may_propose(const struct core *core, struct local_time now)
{
    return core->serving && now.ms >= proposer_room(core).ms;
}

static bool proposer_wants(struct core *core, struct local_time now)
{
    struct proposer *proposer = &core->proposer;
    if (proposer->queue.count == 0 || !may_propose(core, now)) {
        return false;
    }
    /* The clock waits for what is queued, or an expiry does (C4). */
    if (cluster_clock_stands(&core->clock) || expiry_wanted(core)) {
        return true;
    }
    if (proposer->queue_bytes >= core->options.entry_bytes_target ||
        proposer->queue.count >= FSM_ENTRY_COMMANDS_MAX) {
        return true;
    }
    if (now.ms < proposer->queue_due.ms) {
        return false;
    }
    return proposer->queue.count * proposer->size >= proposer->commands_in_flight;
}

/* ---- building ---- */

static void command_of(const struct request *request, struct fsm_command *ret_command)
{
    const struct proto_request *message = &request->message;
    *ret_command = (struct fsm_command){.kind = message->kind, .body = message->body};
    if (proto_operation_find(message->kind)->sent_by == PROTO_SESSION) {
        ret_command->request_id = message->id;
        ret_command->session_id = message->session_id;
        ret_command->ack_floor = message->ack_floor;
        ret_command->proof = fsm_entry_proof(request->digest);
    }
    if (message->kind == PROTO_SESSION_OPEN) {
        memcpy(ret_command->digest, request->digest, sizeof(ret_command->digest));
    }
}

static void entry_note(struct proposed_entry *entry, struct request *request)
{
    if (entry->count == entry->capacity) {
        entry->capacity = entry->capacity == 0 ? 64 : entry->capacity * 2;
        entry->requests = realloc(entry->requests, entry->capacity * sizeof(struct request *));
        LOCKSTEP_ASSERT(entry->requests != NULL);
    }
    entry->requests[entry->count++] = request;
}

/* Fill `entry` from `next` on. @return the first request that is not in it. The queue is left as it is: the replica may
 * refuse the entry. */
static struct request *entry_build(struct core *core, struct proposed_entry *entry, struct request *next)
{
    struct fsm_entry_writer writer;
    proto_buffer_clear(&entry->bytes);
    entry->count = 0;
    entry->time = core->clock.time;
    fsm_entry_begin(&writer, &entry->bytes, entry->time);
    while (next != NULL && entry->bytes.size < core->options.entry_bytes_target) {
        struct fsm_command command;
        command_of(next, &command);
        if (!fsm_entry_add(&writer, &command)) {
            LOCKSTEP_ASSERT(entry->count > 0); /* limits.h: any request fits an entry */
            break;
        }
        entry_note(entry, next);
        next = next->next;
    }
    fsm_entry_end(&writer);
    LOCKSTEP_ASSERT(!entry->bytes.failed);
    return next;
}

/* The replica has taken the entry. */
static void entry_sent(struct core *core, struct proposed_entry *entry, uint64_t index, uint64_t term)
{
    struct proposer *proposer = &core->proposer;
    entry->index = index;
    entry->term = term;
    for (uint32_t i = 0; i < entry->count; i++) {
        struct request *request = queue_take(proposer);
        LOCKSTEP_ASSERT(request == entry->requests[i]); /* P1 */
        request_move(request, REQUEST_PROPOSED);
        request_drop_body(core, request);
    }
    proposer->in_flight++;
    proposer->commands_in_flight += entry->count;
    proposer->entries_proposed++;
    proposer->commands_proposed += entry->count;
}

static void propose(struct core *core, struct local_time now, unsigned built)
{
    struct proposer *proposer = &core->proposer;
    struct replica_command commands[PROPOSER_ENTRIES_MAX] = {{0}};
    for (unsigned i = 0; i < built; i++) {
        const struct proto_buffer *bytes = &entry_at(proposer, proposer->in_flight + i)->bytes;
        commands[i] = (struct replica_command){bytes->data, bytes->size};
    }
    uint64_t index = 0;
    uint64_t term = 0;
    if (!core->replica.propose(core->replica.ctx, now, commands, built, &index, &term)) {
        /* Leadership is being handed over, or is lost already, which core_replica_changed() will say; or the disk of this
         * node is too far behind the others'. */
        proposer->retry = (struct local_time){now.ms + PROPOSER_RETRY_MS};
        return;
    }
    for (unsigned i = 0; i < built; i++) {
        entry_sent(core, entry_at(proposer, proposer->in_flight), index + i, term);
    }
}

void proposer_run(struct core *core, struct local_time now)
{
    struct proposer *proposer = &core->proposer;
    if (!proposer_wants(core, now)) {
        return;
    }
    unsigned built = 0;
    struct request *next = proposer->queue.first;
    while (next != NULL && proposer->in_flight + built < proposer->size) {
        next = entry_build(core, entry_at(proposer, proposer->in_flight + built), next);
        built++;
    }
    propose(core, now, built);
}

void proposer_expire(struct core *core, struct local_time now)
{
    struct proposer *proposer = &core->proposer;
    if (proposer->queue.count > 0 || !may_propose(core, now) || !expiry_wanted(core)) {
        return;
    }
    (void)entry_build(core, entry_at(proposer, proposer->in_flight), NULL);
    propose(core, now, 1);
}

struct local_time proposer_deadline(const struct core *core)
{
    const struct proposer *proposer = &core->proposer;
    if (!core->serving || proposer->in_flight >= proposer->size) {
        return LOCAL_TIME_NEVER; /* an apply comes first */
    }
    if (core->now.ms < proposer->retry.ms) {
        return proposer->retry;
    }
    bool waits = proposer->queue.count > 0 && proposer->queue_due.ms > core->now.ms;
    return waits ? proposer->queue_due : LOCAL_TIME_NEVER;
}

uint64_t proposer_clock_limit(const struct core *core)
{
    const struct proposer *proposer = &core->proposer;
    uint64_t limit_ms = UINT64_MAX;
    if (proposer->in_flight > 0) {
        /* A deadline that it set is not known before it is applied. It lies at least the shortest lease ahead; from
         * there on every millisecond may be one. */
        limit_ms = proposer->entries[proposer->first].time.ms + PROTO_TTL_MS_MIN;
        if (limit_ms <= core->clock.time.ms) {
            limit_ms = core->clock.time.ms + 1;
        }
    }
    if (core->next_due_ms <= core->clock.time.ms) {
        /* The deadlines behind it are not known before it is handled: the next millisecond may be one. */
        return core->clock.time.ms + 1;
    }
    return core->next_due_ms < limit_ms ? core->next_due_ms : limit_ms;
}

/* ---- ends ---- */

static void entry_pop(struct proposer *proposer)
{
    struct proposed_entry *entry = entry_at(proposer, 0);
    proposer->commands_in_flight -= entry->count;
    proposer->first = (proposer->first + 1) % proposer->size;
    proposer->in_flight--;
}

/* It was overwritten, or it is not known whether it will be applied. */
static void entry_lose(struct core *core, struct proposed_entry *entry)
{
    for (uint32_t i = 0; i < entry->count; i++) {
        if (entry->requests[i] != NULL) {
            request_refuse(core, entry->requests[i], PROTO_STATUS_UNAVAILABLE, "", 0);
            entry->requests[i] = NULL;
        }
    }
    entry_pop(&core->proposer);
}

struct proposed_entry *proposer_match(struct core *core, uint64_t index, uint64_t term)
{
    struct proposer *proposer = &core->proposer;
    while (proposer->in_flight > 0) {
        struct proposed_entry *entry = entry_at(proposer, 0);
        if (entry->index > index) {
            return NULL;
        }
        if (entry->index == index && entry->term == term) {
            return entry;
        }
        entry_lose(core, entry);
    }
    return NULL;
}

void proposer_applied(struct core *core, struct proposed_entry *entry)
{
    LOCKSTEP_ASSERT(entry == entry_at(&core->proposer, 0));
    for (uint32_t i = 0; i < entry->count; i++) {
        LOCKSTEP_ASSERT(entry->requests[i] == NULL); /* C1 */
    }
    entry_pop(&core->proposer);
}

void proposer_abandon(struct core *core)
{
    struct proposer *proposer = &core->proposer;
    while (proposer->in_flight > 0) {
        entry_lose(core, entry_at(proposer, 0));
    }
    struct request *request;
    while ((request = queue_take(proposer)) != NULL) {
        request_refuse(core, request, PROTO_STATUS_NOT_LEADER, "", 0);
    }
    proposer->retry = (struct local_time){0};
}
