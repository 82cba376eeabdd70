/* Effects and answers to the text that stands right of "->" in a story. */
#ifndef LOCKSTEP_TESTS_SCENARIOS_RENDER_H
#define LOCKSTEP_TESTS_SCENARIOS_RENDER_H

#include "raft_fsm/effects.h"
#include "tests/scenarios/story.h"

enum { RENDER_BYTES_MAX = 16384 };

struct render {
    char text[RENDER_BYTES_MAX];
    size_t size;
};

void render_clear(struct render *render);
/* Append what one effect says; parts are separated by "; ". */
void render_effect(struct render *render, const struct story *story, const struct fsm_effect *effect);
/* Append the answer to a query. */
void render_query(struct render *render, const struct story *story, const struct proto_reply *reply);

#endif
