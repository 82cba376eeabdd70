/* Requests made of an input's bytes: valid ones, of a world that is small enough for things to meet. A few clients and keys, ids
 * and tokens that mostly exist. What is out of bounds is left to raw bytes; some fields have their extremes. */
#ifndef LOCKSTEP_TESTS_FUZZ_CHOOSE_H
#define LOCKSTEP_TESTS_FUZZ_CHOOSE_H

#include "tests/fuzz/input.h"

enum { CHOOSE_CLIENTS = 4, CHOOSE_KEYS = 4, CHOOSE_TOKENS = 8 };

/* What the world has given out lately, for requests to name. */
struct known {
    uint64_t tokens[CHOOSE_TOKENS];
    unsigned tokens_count;             /* ever; the latest are kept */
    uint64_t sessions[CHOOSE_CLIENTS]; /* 0: none */
};

void known_token(struct known *known, uint64_t token);
struct proto_bytes choose_key(struct input *input);
/* A time to wait, a ttl, a step: mostly short, sometimes an extreme. Within `min` .. `max`. */
uint64_t choose_ms(struct input *input, uint64_t min, uint64_t max);
/* One of the operations' kinds. */
enum proto_kind choose_kind(struct input *input);
/* Fields of a body of that kind, within their bounds. Strings point into the input or are static. */
void choose_body(struct input *input, const struct known *known, enum proto_kind kind,
                 union proto_request_body *ret_body);
/* The whole request of client number `client`. Its id is the caller's. */
void choose_request(struct input *input, const struct known *known, unsigned client, enum proto_kind kind,
                    uint64_t id, struct proto_request *ret_request);

#endif
