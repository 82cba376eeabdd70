/* The step: one event to raft, its update carried out in the one right order; and the public face of the replica.
 * Owns the order (replica_internal.h has the invariants R1..R5). Never reads a clock, never waits. */
#include "node/replica/replica.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/replica_internal.h"

/* ---- last words and log lines ---- */

void replica_log(const struct replica *replica, enum logger_level level, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    replica->callbacks.log(replica->callbacks.ctx, level, line);
}

__attribute__((format(printf, 3, 0))) static _Noreturn void last_words(const struct replica *replica, bool restart_helps,
                                                                       const char *format, va_list args)
{
    char line[1024];
    (void)vsnprintf(line, sizeof line, format, args);
    replica->callbacks.fatal(replica->callbacks.ctx, restart_helps, line);
    abort();
}

void replica_fatal(const struct replica *replica, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    last_words(replica, true, format, args);
}

void replica_fatal_for_good(const struct replica *replica, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    last_words(replica, false, format, args);
}

void replica_time(struct replica *replica, struct local_time now)
{
    if (now.ms > replica->now_ms) {
        replica->now_ms = now.ms;
    }
}

bool replica_leads(const struct replica *replica)
{
    return replica->phase == PHASE_RUNNING && replica->raft.state == RAFT_LEADER;
}

/* Who serves has applied all but what is in flight, so that it is the disk that the rest waits for; who was elected just after a
 * start may have a whole log to apply. */
bool replica_disk_is_behind(const struct replica *replica)
{
    uint64_t most = replica->config.log_held_bytes_max;
    return replica->serving && log_held_bytes(replica->log) >= (most == 0 ? REPLICA_LOG_HELD_BYTES_MAX : most);
}

void replica_step_reserve(struct replica *replica, unsigned count)
{
    if (count <= replica->step_capacity) {
        return;
    }
    replica->step_entries = realloc(replica->step_entries, count * sizeof *replica->step_entries);
    replica->step_raft_entries = realloc(replica->step_raft_entries, count * sizeof *replica->step_raft_entries);
    LOCKSTEP_ASSERT(replica->step_entries != NULL && replica->step_raft_entries != NULL);
    replica->step_capacity = count;
}

/* ---- carrying out an update: each function is one line of R2 ---- */

static void carry_out_term_and_vote(struct replica *replica)
{
    char message[512];
    LOCKSTEP_ASSERT(raft_current_term(&replica->raft) >= replica->metadata.term);
    replica->metadata.term = raft_current_term(&replica->raft);
    replica->metadata.voted_for = raft_voted_for(&replica->raft);
    if (!metadata_store(replica->disk, &replica->metadata, message, sizeof message)) {
        replica_fatal(replica, "cannot store the term and vote: %s", message);
    }
}

/* The barrier of an election: its bytes are ours to free, its array is raft's. */
static void append_barrier(struct replica *replica, const struct raft_update *update)
{
    const struct raft_entry *barrier = update->entries.batch;
    struct log_entry *entry =
        log_entry_create(update->entries.index, barrier->term, LOG_BARRIER, barrier->buf.len);
    memcpy(entry->data, barrier->buf.base, barrier->buf.len);
    raft_free(barrier->batch);
    log_append(replica->log, &entry, 1);
    log_entry_unref(entry);
}

static void carry_out_entries(struct replica *replica, const struct raft_update *update)
{
    uint64_t index = update->entries.index;
    LOCKSTEP_ASSERT(update->entries.n > 0);
    LOCKSTEP_ASSERT(index > replica->commit_index);
    LOCKSTEP_ASSERT(index <= log_last_index(replica->log) + 1);
    if (replica->durable_pending >= index) {
        replica->durable_pending = index - 1; /* Those were truncated. */
    }
    if (update->entries.batch == &replica->raft.barrier) {
        append_barrier(replica, update);
        return;
    }
    LOCKSTEP_ASSERT(index >= replica->step_first);
    uint64_t offset = index - replica->step_first;
    LOCKSTEP_ASSERT(offset + update->entries.n == replica->step_count);
    LOCKSTEP_ASSERT(update->entries.batch == replica->step_raft_entries + offset);
    log_append(replica->log, replica->step_entries + offset, update->entries.n);
}

static void carry_out_state(struct replica *replica)
{
    const struct raft *raft = &replica->raft;
    bool elected = raft->state == RAFT_LEADER && replica->barrier_term != raft->current_term;
    if (elected) {
        /* Everything up to here precedes our term, or is the barrier: serve once it is applied. */
        replica->barrier_term = raft->current_term;
        replica->barrier_index = raft_last_index(&replica->raft);
        replica_pace_reset(replica);
    }
    if (raft->state == RAFT_LEADER) {
        for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
            replica->peers[i].match_seen = 0;
            replica->peers[i].match_stuck_ms = 0;
        }
        return;
    }
    replica->handing_id = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        replica_feed_drop(&replica->peers[i]);
        replica_stream_end(&replica->peers[i], "this node no longer leads");
    }
}

static bool configuration_may_have_changed(const struct raft_event *event, const struct raft_update *update)
{
    return update->flags & (RAFT_UPDATE_ENTRIES) || event->type == RAFT_START || event->type == RAFT_CONFIGURATION ||
           event->type == RAFT_PERSISTED_SNAPSHOT;
}

static void carry_out(struct replica *replica, const struct raft_event *event, const struct raft_update *update)
{
    if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
        carry_out_term_and_vote(replica);
    }
    if (update->flags & (RAFT_UPDATE_ENTRIES)) {
        carry_out_entries(replica, update);
    }
    if (update->flags & (RAFT_UPDATE_SNAPSHOT)) {
        replica_install(replica, update);
    }
    if (configuration_may_have_changed(event, update)) {
        replica_members_set(replica, &replica->raft.configuration); /* Before messages: they may go to a new member. */
    }
    if (update->flags & (RAFT_UPDATE_MESSAGES)) {
        for (unsigned i = 0; i < update->messages.n; i++) {
            replica_send_message(replica, &update->messages.batch[i]);
        }
        replica_pace_sent(replica);
    }
    if (update->flags & (RAFT_UPDATE_COMMIT_INDEX) && raft_commit_index(&replica->raft) > replica->commit_index) {
        replica->commit_index = raft_commit_index(&replica->raft);
    }
    if (update->flags & (RAFT_UPDATE_STATE)) {
        carry_out_state(replica);
    }
}

int replica_step(struct replica *replica, struct raft_event *event, struct raft_update *ret_update)
{
    LOCKSTEP_ASSERT(!replica->stepping);
    LOCKSTEP_ASSERT(replica->phase == PHASE_RUNNING);
    replica->stepping = true;
    event->time = replica->now_ms;
    event->capacity = UINT16_MAX;
    memset(ret_update, 0, sizeof *ret_update);
    int rv = raft_step(&replica->raft, event, ret_update);
    if (rv == 0) {
        carry_out(replica, event, ret_update);
    }
    replica->stepping = false;
    return rv;
}

void replica_step_sure(struct replica *replica, struct raft_event *event, const char *what)
{
    struct raft_update update;
    int rv = replica_step(replica, event, &update);
    if (rv != 0) {
        replica_fatal(replica, "raft refused %s: %s; restart this node, its directory is its state", what,
                      raft_strerror(rv));
    }
}

/* ---- what the log reports ---- */

void replica_log_durable(void *ctx, uint64_t index)
{
    struct replica *replica = ctx;
    if (index > replica->durable_pending) {
        replica->durable_pending = index;
    }
    replica_form_if_complete(replica);
    replica_start_if_ready(replica);
    replica_pump(replica);
}

void replica_log_failed(void *ctx, const char *message)
{
    replica_fatal(ctx, "cannot write the log: %s", message);
}

static void report_durable(struct replica *replica)
{
    uint64_t index = replica->durable_pending;
    replica->durable_pending = 0;
    if (replica->phase != PHASE_RUNNING || replica_installing(replica)) {
        return; /* R4 */
    }
    if (index > log_durable_index(replica->log)) {
        index = log_durable_index(replica->log);
    }
    if (index > raft_last_index(&replica->raft)) {
        index = raft_last_index(&replica->raft);
    }
    if (index <= replica->raft.last_stored) {
        return;
    }
    LOCKSTEP_ASSERT(replica->raft.state != RAFT_CANDIDATE);
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries = {.index = index}};
    replica_step_sure(replica, &event, "durable entries");
}

/* Between steps. Apply is bounded per call (the rest is left to the next: replica_deadline()); what is called back may
 * propose and read, so that the notices are repeated until there is none. */
void replica_pump(struct replica *replica)
{
    if (replica->pumping || replica->stepping || replica->phase != PHASE_RUNNING) {
        return;
    }
    replica->pumping = true;
    if (replica->durable_pending != 0) {
        report_durable(replica);
    }
    replica_apply_some(replica);
    while (replica_notify(replica)) {
    }
    replica->pumping = false;
}

/* ---- time ---- */

void replica_quiet(struct replica *replica)
{
    replica->quiet = true;
}

void replica_tick(struct replica *replica, struct local_time now)
{
    replica_time(replica, now);
    if (replica->quiet) {
        return;
    }
    if (replica->phase == PHASE_FORMING) {
        replica_formation_remind(replica);
        return;
    }
    replica_timeout_tick(replica);
    replica_pace_tick(replica);
    replica_pump(replica);
    replica_reads_retry(replica);
    replica_take_tick(replica);
    replica_incoming_tick(replica);
    replica_streams_tick(replica);
    replica_watch(replica);
    replica_flush(replica);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct local_time replica_deadline(const struct replica *replica)
{
    if (replica->quiet) {
        return LOCAL_TIME_NEVER;
    }
    if (replica->phase == PHASE_FORMING) {
        return (struct local_time){replica->remind_ms};
    }
    uint64_t at = replica_timeout_at(replica);
    bool can_apply = replica->applied_index < replica->commit_index && !replica_installing(replica);
    if (can_apply || replica->durable_pending != 0) {
        at = replica->now_ms;
    }
    at = earlier(at, replica_pace_deadline(replica));
    at = earlier(at, replica_reads_deadline(replica));
    at = earlier(at, replica_take_deadline(replica));
    at = earlier(at, replica_incoming_deadline(replica));
    at = earlier(at, replica->watch_ms);
    return (struct local_time){at};
}

void replica_flush(struct replica *replica)
{
    replica_reads_ask(replica);
    log_flush(replica->log);
    replica_pump(replica);
}

/* ---- proposals ---- */

static void prepare_commands(struct replica *replica, const struct replica_command *commands, unsigned count)
{
    static char no_batch; /* Raft wants a batch that is not NULL; it neither reads nor frees it for a submit. */
    uint64_t term = raft_current_term(&replica->raft);
    replica_step_reserve(replica, count);
    replica->step_first = raft_last_index(&replica->raft) + 1;
    replica->step_count = count;
    LOCKSTEP_ASSERT(replica->step_first == log_last_index(replica->log) + 1);
    for (unsigned i = 0; i < count; i++) {
        LOCKSTEP_ASSERT(commands[i].size <= REPLICA_ENTRY_BYTES_MAX);
        struct log_entry *entry = log_entry_create(replica->step_first + i, term, LOG_COMMAND, commands[i].size);
        if (commands[i].size > 0) {
            memcpy(entry->data, commands[i].data, commands[i].size);
        }
        replica->step_entries[i] = entry;
        replica->step_raft_entries[i] = (struct raft_entry){
            .term = term,
            .type = RAFT_COMMAND,
            .buf = {.base = entry->data, .len = entry->size},
            .batch = &no_batch,
        };
    }
}

bool replica_propose(struct replica *replica, struct local_time now, const struct replica_command *commands,
                     unsigned count, uint64_t *ret_first_index, uint64_t *ret_term)
{
    LOCKSTEP_ASSERT(count > 0);
    replica_time(replica, now);
    if (replica->quiet || !replica_leads(replica) || raft_transferee(&replica->raft) != 0 ||
        replica_disk_is_behind(replica)) {
        return false;
    }
    prepare_commands(replica, commands, count);
    uint64_t first = replica->step_first, term = raft_current_term(&replica->raft);
    /* With nothing in flight, a follower that fell into probe must not make this one wait for its next heartbeat. */
    bool idle = replica->commit_index + 1 == first;
    if (idle) {
        raft_set_heartbeat_timeout(&replica->raft, 0);
    }
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = replica->step_raft_entries, .n = count}};
    struct raft_update update;
    int rv = replica_step(replica, &event, &update);
    if (idle) {
        raft_set_heartbeat_timeout(&replica->raft, replica->config.heartbeat_ms);
    }
    for (unsigned i = 0; i < count; i++) {
        log_entry_unref(replica->step_entries[i]);
    }
    if (rv != 0) {
        replica_fatal(replica, "raft refused a command of its leader: %s", raft_strerror(rv));
    }
    *ret_first_index = first;
    *ret_term = term;
    return true;
}

/* A voter that is connected and was heard lately. Raft asks for neither: whoever is handed leadership and is gone keeps everybody
 * waiting for an election timeout, in which nothing is proposed. */
static bool voter_is_there(const struct replica *replica, const struct replica_peer *peer, raft_index *ret_match)
{
    return peer->node_id != 0 && peer->voter && peer->accepted && peer->connected &&
           replica->now_ms < peer->heard_ms + replica->config.election_timeout_ms &&
           raft_match_index(&replica->raft, peer->node_id, ret_match) == 0;
}

/* The voter that is there and has most of the log; 0: none. Raft's own choice, if nobody has all of it in this moment, is the
 * last of the configuration. */
static uint64_t best_voter(const struct replica *replica)
{
    uint64_t best = 0;
    raft_index best_match = 0;
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        raft_index match = 0;
        if (voter_is_there(replica, &replica->peers[i], &match) && match > best_match) {
            best = replica->peers[i].node_id;
            best_match = match;
        }
    }
    return best;
}

/* Whether a node that was named can take over soon: what it lacks may be under way to it, but not more than that. */
static bool voter_fits(struct replica *replica, uint64_t node_id)
{
    const struct replica_peer *peer = replica_peer_find(replica, node_id);
    raft_index match = 0;
    return peer != NULL && voter_is_there(replica, peer, &match) &&
           match + replica->config.entries_in_flight_max >= raft_last_index(&replica->raft);
}

bool replica_transfer(struct replica *replica, struct local_time now, uint64_t node_id)
{
    replica_time(replica, now);
    if (!replica_leads(replica)) {
        return false;
    }
    raft_id begun = raft_transferee(&replica->raft);
    if (begun != 0) {
        return node_id == 0 || node_id == begun; /* raft takes no second word, not even the same */
    }
    if (node_id != 0 && !voter_fits(replica, node_id)) {
        return false;
    }
    node_id = node_id == 0 ? best_voter(replica) : node_id;
    if (node_id == 0) {
        return false;
    }
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer = {.server_id = node_id}};
    struct raft_update update;
    int rv = replica_step(replica, &event, &update);
    if (rv == RAFT_NOMEM) {
        replica_fatal(replica, "out of memory");
    }
    /* Nothing is proposed before it has everything. */
    replica_feed_go_on(replica, replica_peer_find(replica, node_id));
    replica_pump(replica);
    return rv == 0;
}

/* ---- from the link ---- */

void replica_link_up(struct replica *replica, struct local_time now, uint64_t peer_id)
{
    replica_time(replica, now);
    struct replica_peer *peer = replica_peer_find(replica, peer_id);
    if (peer == NULL) {
        return;
    }
    peer->connected = true;
    peer->reached = true;
    if (rate_window_take(&peer->arrivals, replica->now_ms, REPLICA_REMIND_MS, REPLICA_TELL_MAX)) {
        replica_log(replica, LOGGER_INFO, "connected to node %" PRIu64, peer_id); /* who refuses us is connected to again and again */
    }
    replica_introduce(replica, peer);
    replica_reads_retry(replica);
}

void replica_link_down(struct replica *replica, struct local_time now, uint64_t peer_id)
{
    replica_time(replica, now);
    struct replica_peer *peer = replica_peer_find(replica, peer_id);
    if (peer == NULL) {
        return;
    }
    peer->connected = false;
    replica->handing_told = replica->handing_told && replica->handing_id != peer_id;
    replica_feed_drop(peer);
    replica_stream_end(peer, "the connection was lost");
}

bool replica_receive(struct replica *replica, struct local_time now, uint64_t peer_id, const void *data, size_t size)
{
    replica_time(replica, now);
    struct replica_peer *peer = replica_peer_find(replica, peer_id);
    if (peer == NULL) {
        return false;
    }
    if (replica->quiet) {
        return true;
    }
    struct wire_frame frame;
    const char *why = wire_decode(data, size, &frame);
    if (why != NULL) {
        return replica_refuse(replica, peer, why);
    }
    if (!replica_receive_frame(replica, peer, &frame)) {
        replica_pump(replica);
        return false;
    }
    peer->heard_ms = replica->now_ms;
    replica_haste_heard(replica, peer_id);
    replica_pump(replica);
    return true;
}

/* ---- status ---- */

static void status_of_members(const struct replica *replica, struct replica_status *status)
{
    const struct raft_configuration *configuration = &replica->raft.configuration;
    for (unsigned i = 0; i < configuration->n && status->members_count < REPLICA_MEMBERS_MAX; i++) {
        const struct raft_server *server = &configuration->servers[i];
        unsigned place = status->members_count++;
        (void)replica_member_parse(server, &status->members[place].member);
        raft_index match = 0;
        if (replica_leads(replica)) {
            (void)raft_match_index(&replica->raft, server->id, &match); /* Members only: it is one. */
        }
        status->members[place].match_index = match;
        status->members[place].connected = server->id == replica->config.node_id;
        for (unsigned j = 0; j < REPLICA_MEMBERS_MAX; j++) {
            const struct replica_peer *peer = &replica->peers[j];
            if (peer->node_id == server->id) {
                status->members[place].connected = peer->connected && peer->accepted;
            }
        }
    }
}

void replica_status(const struct replica *replica, struct replica_status *ret_status)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    memset(ret_status, 0, sizeof *ret_status);
    ret_status->role = replica->role;
    ret_status->serving = replica->serving;
    ret_status->term = replica->phase == PHASE_RUNNING ? replica->term : replica->metadata.term;
    ret_status->leader_id = replica->leader_id;
    ret_status->commit_index = replica->commit_index;
    ret_status->applied_index = replica->applied_index;
    ret_status->durable_index = log_durable_index(replica->log);
    ret_status->last_index = log_last_index(replica->log);
    ret_status->log_first_index = log_first_index(replica->log);
    ret_status->snapshot_index = newest == NULL ? 0 : newest->index;
    status_of_members(replica, ret_status);
}
