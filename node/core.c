/* The core as a whole (core.h): its making and end, what the replica tells it, the order of a turn, and how it leaves. */
#include "node/core.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "node/answer.h"
#include "node/core_state.h"
#include "protocol/assert.h"

enum {
    LEAVE_DRAIN_MS = 500,    /* what is in flight may take so long before leadership is handed over anyway */
    LEAVE_GIVE_UP_MS = 3000, /* if nobody takes it by then, the others will elect by themselves */
    TRANSFER_RETRY_MS = 500,
};

void core_options_init(struct core_options *options)
{
    *options = (struct core_options){
        .version = "",
        .entries_in_flight_max = 4,
        .entry_bytes_target = (size_t)64 * 1024,
        .renew_delay_ms = 100,
        .clock_step_ms_max = 100,
        .requests_per_connection_max = 1024,
        .requests_max = 262144,
        .heartbeat_ms = 1000,
        .hello_timeout_ms = 5000,
        .digest_every_entries = 1024,
        .check_invariants = CORE_CHECK_SAMPLED,
    };
}

struct core *core_create(const struct core_options *options, const struct core_replica *replica,
                         const struct core_output *output)
{
    LOCKSTEP_ASSERT(options->digest_every_entries >= 1);
    LOCKSTEP_ASSERT(options->version != NULL);
    struct core *core = calloc(1, sizeof(*core));
    LOCKSTEP_ASSERT(core != NULL);
    core->options = *options;
    core->replica = *replica;
    core->output = *output;
    /* Only the order inside hash tables hangs on it, and nothing that leaves the node hangs on that. Without it the
     * tables work as well, but for those who choose their keys to collide. */
    uint64_t seed = options->hash_seed;
    if (seed == 0 && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
        seed = (uint64_t)(uintptr_t)core;
    }
    core->fsm = fsm_create();
    fsm_effects_init(&core->effects);
    requests_init(&core->requests, options->requests_max);
    core_connections_init(&core->connections, seed);
    core_table_init(&core->dispatch.waits, seed);
    cluster_clock_init(&core->clock, options->clock_step_ms_max);
    proposer_init(&core->proposer, options->entries_in_flight_max);
    proto_buffer_init(&core->frame, (size_t)2 * PROTO_FRAME_BODY_BYTES_MAX);
    core->next_due_ms = UINT64_MAX;
    return core;
}

static void forget_list(struct core *core, struct request_list *list)
{
    struct request *request;
    while ((request = request_list_take(list)) != NULL) {
        request_forget(core, request);
    }
}

void core_free(struct core *core)
{
    if (core == NULL) {
        return;
    }
    core_connections_done(core); /* requests on their way are orphans now: their answers reach nobody */
    proposer_abandon(core);
    reads_abandon(core);
    forget_list(core, &core->reads.now);
    forget_list(core, &core->reads.held);
    core_table_done(&core->dispatch.waits);
    proposer_done(&core->proposer);
    requests_done(&core->requests);
    if (core->restore != NULL) {
        fsm_restore_abandon(core->restore);
    }
    if (core->snapshot != NULL) {
        fsm_snapshot_end(core->snapshot);
    }
    fsm_free(core->retired);
    fsm_free(core->fsm);
    fsm_effects_done(&core->effects);
    proto_buffer_done(&core->frame);
    free(core);
}

void core_see_time(struct core *core, struct local_time now)
{
    if (!core->time_known) {
        core->time_known = true;
        core->started = now;
        core->now = now;
    }
    if (now.ms > core->now.ms) {
        core->now = now;
    }
}

/* ---- leadership ---- */

static void begin_serving(struct core *core)
{
    core->serving = true;
    cluster_clock_start(&core->clock, fsm_time(core->fsm), core->now);
    core_log(core, LOGGER_INFO, "serving", "term=%" PRIu64 " applied=%" PRIu64 " cluster_time_ms=%" PRIu64,
             core->term, core->applied_index, fsm_time(core->fsm).ms);
    if (core->leaving) {
        cluster_clock_stop(&core->clock); /* K2 */
    }
}

/* Whether what was proposed will be applied is not known here any more: the clients ask the next leader, under the same
 * request ids. */
static void stop_serving(struct core *core)
{
    core->serving = false;
    cluster_clock_stop(&core->clock);
    core_log(core, LOGGER_INFO, "not_serving",
             "term=%" PRIu64 " leader=%" PRIu64 " proposed=%" PRIu64 " queued=%" PRIu64 " waits=%zu",
             core->term, core->leader_id, core->proposer.commands_in_flight, core->proposer.queue.count,
             core->dispatch.waits.count);
    proposer_abandon(core);
    reads_abandon(core);
    dispatch_abandon(core);
    session_routes_clear(core);
}

void core_replica_changed(struct core *core, struct local_time now, enum replica_role role, uint64_t term,
                          uint64_t leader_id, bool serving)
{
    core_see_time(core, now);
    bool other_term = term != core->term;
    bool leader_moved = leader_id != core->leader_id;
    core->role = role;
    core->term = term;
    core->leader_id = leader_id;
    core->leader_known = false;
    core->dirty = true;
    bool news = leader_moved && leader_id != 0 && leader_id != core->options.node_id;
    if (core->serving && (!serving || other_term)) {
        stop_serving(core);
        news = true;
    }
    if (serving && !core->serving) {
        begin_serving(core);
        news = true;
    }
    /* Told when it stops, and whenever it is known who serves: clients wait here for that. */
    if (news) {
        answer_leader_moved(core);
    }
}

void core_replica_applied(struct core *core, uint64_t index)
{
    LOCKSTEP_ASSERT(index >= core->applied_index);
    core->applied_index = index; /* barriers and changes of the configuration count, too */
    core->dirty = true;
}

void core_replica_read_ready(struct core *core, uint64_t read_id, bool ok)
{
    core->dirty = true;
    reads_ready(core, read_id, ok);
}

/* ---- leaving ---- */

void core_shutdown(struct core *core, struct local_time now)
{
    core_see_time(core, now);
    if (core->leaving) {
        return;
    }
    core->leaving = true;
    core->left = core->now;
    core->leader_known = false;
    core->dirty = true;
    cluster_clock_stop(&core->clock); /* K2: it takes no renewals any more, and may lead for seconds yet */
    if (core->role != REPLICA_LEADER) {
        core->handed_over = true;
        answer_leader_moved(core);
    }
}

static bool others_vote(struct core *core)
{
    core->replica.status(core->replica.ctx, &core->status);
    for (unsigned i = 0; i < core->status.members_count; i++) {
        const struct replica_member *member = &core->status.members[i].member;
        if (member->voter && member->node_id != core->options.node_id) {
            return true;
        }
    }
    return false;
}

static void keep_leadership(struct core *core)
{
    core->handed_over = true;
    answer_leader_moved(core);
}

static uint64_t unanswered(const struct core *core)
{
    return core->requests.slab.used - core->dispatch.waits.count;
}

/* Finish what is in flight, then hand leadership over: in this order, because the replica takes no entries while it
 * hands over, and a request that is answered need not be asked again. */
static void leave_run(struct core *core, struct local_time now)
{
    if (!core->leaving || core->handed_over) {
        return;
    }
    if (core->role != REPLICA_LEADER) {
        core->handed_over = true; /* stop_serving() has told the clients */
        return;
    }
    uint64_t passed_ms = core->now.ms - core->left.ms;
    if (unanswered(core) > 0 && passed_ms < LEAVE_DRAIN_MS) {
        return;
    }
    if (!others_vote(core)) {
        keep_leadership(core); /* nothing to tell: a cluster of one stops like this every time */
    } else if (passed_ms >= LEAVE_GIVE_UP_MS) {
        keep_leadership(core);
        core_log(core, LOGGER_WARNING, "leadership_kept", "why=\"no other voter took it\"");
    } else if (core->now.ms >= core->transfer_retry.ms) {
        core->transfer_retry = (struct local_time){core->now.ms + TRANSFER_RETRY_MS};
        (void)core->replica.transfer(core->replica.ctx, now,
                                     0); /* refused: nobody is up to date yet; tried again */
    }
}

bool core_drained(const struct core *core)
{
    return core->leaving && core->handed_over && unanswered(core) == 0;
}

static struct local_time leave_deadline(const struct core *core)
{
    if (!core->leaving || core->handed_over) {
        return LOCAL_TIME_NEVER;
    }
    uint64_t drain_ms = core->left.ms + LEAVE_DRAIN_MS;
    uint64_t next_ms = unanswered(core) > 0 && core->now.ms < drain_ms ? drain_ms : core->transfer_retry.ms;
    uint64_t give_up_ms = core->left.ms + LEAVE_GIVE_UP_MS;
    return (struct local_time){next_ms < give_up_ms ? next_ms : give_up_ms};
}

/* ---- the turn ---- */

static void note_quiet(struct core *core)
{
    if (core->applied_index != core->turned_index) {
        core->turned_index = core->applied_index;
        core->quiet_from = core->now;
    }
}

/* What was received is queued by now, so the clock knows what it may not pass (K3); then requests go, and expiry last. */
static void propose_all(struct core *core, struct local_time now)
{
    if (!core->serving) {
        return;
    }
    struct proposer *proposer = &core->proposer;
    core->next_due_ms = fsm_next_due(core->fsm).ms;
    cluster_clock_advance(&core->clock, now, proposer_clock_limit(core), proposer->received, proposer->left);
    cluster_clock_count_look(&core->clock, core->looked, proposer_clock_limit(core));
    proposer_run(core, now);
    proposer_expire(core, now);
}

void core_looked(struct core *core, struct local_time looked)
{
    core->looked = looked;
}

void core_turn(struct core *core, struct local_time now)
{
    core_see_time(core, now);
    core->dirty = false; /* what comes in from here on, from within the replica, wants another turn */
    core->leader_known = false;
    note_quiet(core);
    core_connections_expire(core);
    reads_run(core, core->now);   /* before proposing: the proof's messages go ahead of the entries' */
    propose_all(core, core->now); /* after all that was received is queued (C4) */
    leave_run(core, core->now);   /* last: the replica takes no entries once it hands over */
}

static struct local_time clock_deadline(const struct core *core)
{
    const struct cluster_clock *clock = &core->clock;
    if (!core->serving || core->next_due_ms == UINT64_MAX || clock->time.ms >= core->next_due_ms) {
        return LOCAL_TIME_NEVER; /* what is due is on its way, or waits for an apply or proposer_deadline() */
    }
    if (cluster_clock_stands(clock) && clock->waits_for != CLUSTER_CLOCK_NEXT_TURN &&
        core->proposer.left < clock->waits_for) {
        return LOCAL_TIME_NEVER; /* it waits for room in flight: an apply comes first */
    }
    return cluster_clock_reaches(clock, core->next_due_ms);
}

static struct local_time earliest(const struct local_time *times, size_t count)
{
    struct local_time first = LOCAL_TIME_NEVER;
    for (size_t i = 0; i < count; i++) {
        first = local_time_earlier(first, times[i]);
    }
    return first;
}

struct local_time core_deadline(const struct core *core)
{
    if (core->dirty || core->reads.now.count > 0) {
        return core->now;
    }
    const struct local_time deadlines[] = {
        core_connections_deadline(core),
        reads_deadline(core),
        proposer_deadline(core),
        clock_deadline(core),
        leave_deadline(core),
    };
    return earliest(deadlines, sizeof deadlines / sizeof deadlines[0]);
}

/* When an entry for the earliest deadline is due. One that the clock has passed asks for no more input: what is left is to
 * propose it when there is room, or it is under way and its apply comes first. */
static struct local_time expiry_due(const struct core *core)
{
    if (!core->serving) {
        return LOCAL_TIME_NEVER;
    }
    uint64_t next_ms = fsm_next_due(core->fsm).ms;
    if (next_ms <= core->clock.time.ms) {
        return proposer_tells(core, next_ms) ? LOCAL_TIME_NEVER : proposer_room(core);
    }
    return cluster_clock_reaches(&core->clock, next_ms);
}

struct local_time core_due(const struct core *core)
{
    const struct local_time deadlines[] = {
        core_connections_deadline(core),
        proposer_deadline(core),
        leave_deadline(core),
        /* Both as they are now: entries were applied since the last turn, or may set a deadline yet. */
        expiry_due(core),
        cluster_clock_reaches(&core->clock, proposer_clock_limit(core)),
    };
    return earliest(deadlines, sizeof deadlines / sizeof deadlines[0]);
}

void core_counts(const struct core *core, struct core_counts *ret_counts)
{
    *ret_counts = (struct core_counts){
        .connections = core->connections.table.count,
        .requests_in_flight = core->requests.slab.used,
        .waits = core->dispatch.waits.count,
        .entries_proposed = core->proposer.entries_proposed,
        .commands_proposed = core->proposer.commands_proposed,
        .reads = core->reads.answered,
        .refused = core->requests.refused,
        .events_sent = core->events_sent,
    };
}
