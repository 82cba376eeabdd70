/* Station 4: an ordered table of stages, each one function (admission.c). A stage passes the request on or answers it. */
#ifndef LOCKSTEP_NODE_ADMISSION_H
#define LOCKSTEP_NODE_ADMISSION_H

#include <stdbool.h>

#include "node/request.h"

/* True: pass it on. False: the stage has answered it, the request is gone. */
typedef bool (*admission_stage)(struct core *core, struct request *request);

/* Takes one request through the stages and hands it to the proposer or to the reads. */
void admission_run(struct core *core, struct request *request);

/* The stages with files of their own. */
bool admission_authenticate(struct core *core, struct request *request);
bool admission_limit(struct core *core, struct request *request);
bool admission_route(struct core *core, struct request *request);

/* The node has no memory for this frame's request: refuse it without an object. */
void admission_refuse_frame(struct core *core, struct core_connection *connection, struct proto_bytes body,
                            enum proto_status status, const char *detail);

#endif
