/* Station 9: replies and events to frames (answer.h). The one place that calls output->send(). */
#include "node/answer.h"

#include <string.h>

#include "node/core_state.h"
#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"

static struct proto_bytes text(const char *string)
{
    return (struct proto_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

static void send_frame(struct core *core, struct core_connection *connection, size_t begin)
{
    struct proto_buffer *frame = &core->frame;
    /* limits.h asserts that every message fits a frame; a buffer that failed for want of memory is fatal. */
    bool whole = proto_frame_end(frame, begin, true);
    LOCKSTEP_ASSERT(whole);
    if (!connection->dead) {
        /* Past its bound the shell closes the connection; nothing more is sent to it. */
        connection->dead = !core->output.send(core->output.ctx, connection->id, frame->data, frame->size);
    }
}

static size_t begin_frame(struct core *core)
{
    proto_buffer_clear(&core->frame);
    return proto_frame_begin(&core->frame);
}

/* A leader that is leaving sends nobody to itself, nor one that does not serve yet: it says so when it does. */
uint64_t answer_leader_id(const struct core *core)
{
    bool takes = core->serving && !core->leaving;
    return core->leader_id == core->options.node_id && !takes ? 0 : core->leader_id;
}

void answer_reply(struct core *core, struct core_connection *connection, const struct proto_reply *reply)
{
    if (connection->dead) {
        return;
    }
    size_t begin = begin_frame(core);
    proto_encode_reply(&core->frame, reply);
    send_frame(core, connection, begin);
}

void answer_event(struct core *core, struct core_connection *connection, const struct proto_event *event)
{
    if (connection->dead) {
        return;
    }
    size_t begin = begin_frame(core);
    proto_encode_event(&core->frame, event);
    send_frame(core, connection, begin);
    core->events_sent++;
}

void answer_hello(struct core *core, struct core_connection *connection,
                  const struct proto_hello_reply *hello)
{
    size_t begin = begin_frame(core);
    proto_encode_hello_reply(&core->frame, hello);
    send_frame(core, connection, begin);
}

void answer_leader_moved(struct core *core)
{
    struct proto_event event = {.kind = PROTO_EVENT_LEADER_MOVED,
                                .leader_address = answer_leader_address(core)};
    event.leader_id = answer_leader_id(core);
    struct core_connection *next = NULL;
    for (struct core_connection *at = core->connections.first; at != NULL; at = next) {
        next = at->next;
        if (at->greeted) {
            answer_event(core, at, &event);
        }
    }
}

struct proto_bytes answer_leader_address(struct core *core)
{
    if (!core->leader_known) {
        core->leader_known = true;
        core->leader_address[0] = '\0';
        uint64_t leader_id = answer_leader_id(core);
        core->replica.status(core->replica.ctx, &core->status);
        for (unsigned i = 0; leader_id != 0 && i < core->status.members_count; i++) {
            const struct replica_member *member = &core->status.members[i].member;
            if (member->node_id == leader_id) {
                memcpy(core->leader_address, member->client_address, sizeof(core->leader_address));
            }
        }
    }
    return text(core->leader_address);
}

void answer_refusal(struct core *core, enum proto_status status, const char *detail, uint64_t retry_after_ms,
                    struct proto_refusal *ret_refusal)
{
    *ret_refusal = (struct proto_refusal){.detail = text(detail), .retry_after_ms = retry_after_ms};
    if (status == PROTO_STATUS_NOT_LEADER || status == PROTO_STATUS_UNAVAILABLE) {
        ret_refusal->leader_address = answer_leader_address(core);
        ret_refusal->leader_id = answer_leader_id(core);
    }
}
