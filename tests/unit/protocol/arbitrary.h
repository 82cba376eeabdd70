/* Random messages that are valid: every field within its bounds, with a liking for the bounds themselves. */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_ARBITRARY_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_ARBITRARY_H

#include "support.h"

struct arbitrary {
    uint64_t state;
    struct proto_rows rows; /* the rows of the last reply */
    size_t used;
    uint8_t bytes[512 * 1024]; /* the strings of the last message */
};

/* The caller frees it. */
struct arbitrary *arbitrary_create(uint64_t seed);
uint64_t arbitrary_number(struct arbitrary *arbitrary);
/* Less than `bound`. */
uint64_t arbitrary_below(struct arbitrary *arbitrary, uint64_t bound);
/* Valid until the next one. */
void arbitrary_message(struct arbitrary *arbitrary, enum message_kind kind, struct message *ret_message);

#endif
