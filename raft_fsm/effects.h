/* What one entry did, in the order it happened. node/dispatch.c turns each into bytes for whoever is connected; the
 * state machine does not know who is. Pointers inside live until the next fsm_apply(). */
#ifndef LOCKSTEP_RAFT_FSM_EFFECTS_H
#define LOCKSTEP_RAFT_FSM_EFFECTS_H

#include "protocol/message.h"

enum fsm_effect_kind {
    FSM_REPLY,      /* the answer to the entry's command number `command_index`; exactly one REPLY or QUEUED each */
    FSM_QUEUED,     /* the entry's command number `command_index`, an acquire, waits (also when it was sent again and
                     * still waits); its answer comes with a later FSM_WAIT_ENDED */
    FSM_WAIT_ENDED, /* a queued acquire was granted, timed out, cancelled or refused, or its session ended */
    FSM_EVENT,      /* grant lost, session ended: for the session's connection if there is one */
};

#define FSM_NO_COMMAND UINT32_MAX

struct fsm_effect {
    enum fsm_effect_kind kind;
    uint32_t command_index; /* REPLY, QUEUED; else FSM_NO_COMMAND */
    uint64_t session_id;    /* who hears of it; 0: only the sender of the command */
    uint64_t request_id;    /* the request this ends; 0 for events and requests without a session */
    union {
        struct proto_reply reply; /* REPLY, WAIT_ENDED */
        struct proto_event event; /* EVENT */
    };
};

/* A list that the caller owns and the state machine refills at each apply. */
struct fsm_effects {
    struct fsm_effect *list;
    size_t count;
    size_t capacity;
};

void fsm_effects_init(struct fsm_effects *effects);
void fsm_effects_done(struct fsm_effects *effects);

#endif
