/* Reads and local operations (reads.h). Nothing here changes the state. */
#include "node/reads.h"

#include "node/core_state.h"
#include "protocol/assert.h"

void reads_add(struct core *core, struct request *request)
{
    struct reads *reads = &core->reads;
    if (proto_operation_find(request->message.kind)->served_by == PROTO_LOCAL) {
        request_move(request, REQUEST_LOCAL);
        request_list_append(&reads->now, request);
        return;
    }
    request_move(request, REQUEST_READING);
    request_list_append(request->message.stale ? &reads->now : &reads->gathered, request);
}

static void answer_transfer(struct core *core, struct local_time now, struct request *request)
{
    uint64_t to = request->message.body.cluster_transfer.node_id;
    /* It is as it was to be: so the request can be sent again to the leader that the first copy of it made. */
    bool leads_already = core->serving && to == core->options.node_id;
    if (leads_already || core->replica.transfer(core->replica.ctx, now, to)) {
        request_answer(core, request, &(struct proto_reply){.status = PROTO_STATUS_OK});
    } else if (core->role == REPLICA_LEADER) {
        request_refuse(core, request, PROTO_STATUS_NOT_FOUND,
                       "no such voter that is connected and up to date, or another takes over already", 0);
    } else {
        request_refuse(core, request, PROTO_STATUS_NOT_LEADER, "", 0);
    }
}

/* The leader's own estimate, so that what remains of a lease is told right while nothing comes into the log. A stale read tells
 * by its time how old the state is. */
static struct cluster_time time_of(const struct core *core, const struct request *request)
{
    return core->serving && !request->message.stale ? core->clock.time : fsm_time(core->fsm);
}

/* @return the work that it was. */
static uint64_t answer_query(struct core *core, struct request *request)
{
    struct proto_reply reply = {.id = 0};
    uint64_t work = fsm_query(core->fsm, time_of(core, request), &request->message, &core->rows, &reply);
    reply.applied_index = core->applied_index;
    request_answer(core, request, &reply);
    return work;
}

/* @return the same. */
static uint64_t answer(struct core *core, struct local_time now, struct request *request)
{
    core->reads.answered++;
    if (request->connection == NULL) {
        request_forget(core, request);
    } else if (request->message.kind == PROTO_CLUSTER_STATUS) {
        cluster_status_answer(core, request);
    } else if (request->message.kind == PROTO_CLUSTER_TRANSFER) {
        answer_transfer(core, now, request);
    } else {
        return answer_query(core, request);
    }
    return 1;
}

/* Ask for one proof for all that were gathered. The replica may call back from within the question. */
static void ask(struct core *core, struct local_time now)
{
    struct reads *reads = &core->reads;
    if (reads->gathered.count == 0) {
        return;
    }
    uint64_t read_id = ++reads->last_read_id;
    struct request *request;
    while ((request = request_list_take(&reads->gathered)) != NULL) {
        request->read_id = read_id;
        request_list_append(&reads->asked, request);
    }
    if (core->serving && core->replica.read(core->replica.ctx, now, read_id)) {
        return;
    }
    /* No callback follows. Earlier questions keep theirs: take only this one's from the end of the list. */
    struct request_list earlier = {0};
    while ((request = request_list_take(&reads->asked)) != NULL) {
        if (request->read_id == read_id) {
            request_refuse(core, request, PROTO_STATUS_NOT_LEADER, "", 0);
        } else {
            request_list_append(&earlier, request);
        }
    }
    reads->asked = earlier;
}

/* ---- clients that do not read as fast as they ask ---- */

/* A node that leaves, and leads no more, waits for nobody who does not read. */
static bool has_to_wait(struct core *core, const struct request *request)
{
    bool slow =
        request->connection != NULL && core->output.is_slow(core->output.ctx, request->connection->id);
    return slow && !(core->leaving && core->handed_over);
}

static void hold(struct core *core, struct local_time now, struct request *request)
{
    struct reads *reads = &core->reads;
    if (reads->held.count == 0) {
        reads->held_until = (struct local_time){now.ms + READS_HELD_MS};
    }
    request_list_append(&reads->held, request);
}

/* Behind those that came later: in front of them, who reads nothing and has asked for more than the turns until then look at would
 * keep the others from ever being answered. */
static void release_held(struct core *core, struct local_time now)
{
    struct reads *reads = &core->reads;
    if (now.ms < reads_deadline(core).ms) {
        return;
    }
    struct request *request;
    while ((request = request_list_take(&reads->held)) != NULL) {
        request_list_append(&reads->now, request);
    }
}

struct local_time reads_deadline(const struct core *core)
{
    return core->reads.held.count > 0 ? core->reads.held_until : LOCAL_TIME_NEVER;
}

void reads_run(struct core *core, struct local_time now)
{
    ask(core, now);
    release_held(core, now);
    uint64_t work = 0;
    for (unsigned i = 0; i < READS_PER_TURN && work < READS_WORK_PER_TURN; i++) {
        struct request *request = request_list_take(&core->reads.now);
        if (request == NULL) {
            break;
        }
        if (has_to_wait(core, request)) {
            hold(core, now, request);
        } else {
            work += answer(core, now, request);
        }
    }
}

void reads_ready(struct core *core, uint64_t read_id, bool ok)
{
    struct reads *reads = &core->reads;
    LOCKSTEP_ASSERT(read_id <= reads->last_read_id);
    /* The proof is of the moment of the question; the state only grows from here, so that an answer at the end of the
     * turn is as good, and a flood of reads does not hold up what was committed. */
    while (reads->asked.first != NULL && reads->asked.first->read_id <= read_id) {
        struct request *request = request_list_take(&reads->asked);
        if (ok) {
            request_list_append(&reads->now, request);
        } else {
            request_refuse(core, request, PROTO_STATUS_NOT_LEADER, "", 0);
        }
    }
}

static void refuse_all(struct core *core, struct request_list *list)
{
    struct request *request;
    while ((request = request_list_take(list)) != NULL) {
        request_refuse(core, request, PROTO_STATUS_NOT_LEADER, "", 0);
    }
}

void reads_abandon(struct core *core)
{
    refuse_all(core, &core->reads.asked);
    refuse_all(core, &core->reads.gathered);
}
