/* Answers made of an input's bytes, as a hostile or a broken node could send them: each can be encoded, few are true. */
#ifndef LOCKSTEP_TESTS_FUZZ_HOSTILE_H
#define LOCKSTEP_TESTS_FUZZ_HOSTILE_H

#include "tests/fuzz/input.h"

/* An answer to `request`, or nearly one. `cluster_ms` is what its time would be. Strings and rows are static or in the input. */
void hostile_reply(struct input *input, const struct proto_request *request, uint64_t cluster_ms,
                   struct proto_reply *ret_reply);
void hostile_event(struct input *input, uint64_t session_id, uint64_t cluster_ms,
                   struct proto_event *ret_event);
void hostile_hello(struct input *input, struct proto_hello_reply *ret_hello);

#endif
