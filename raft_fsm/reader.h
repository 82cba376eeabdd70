/* Reads msgpack in place, for entries and images. Total: any bytes give values or a failure; nothing is allocated.
 * The first failure sticks: every later read gives zero, so a series of reads needs one check at its end. */
#ifndef LOCKSTEP_RAFT_FSM_READER_H
#define LOCKSTEP_RAFT_FSM_READER_H

#include "protocol/message.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

void fsm_reader_init(struct reader *reader, const void *data, size_t size);
/* The number of elements of an array that begins here. At least so many bytes are left. */
uint32_t fsm_reader_array(struct reader *reader);
/* An array of exactly `count` elements begins here, or the reader fails. */
void fsm_reader_array_of(struct reader *reader, uint32_t count);
uint64_t fsm_reader_uint(struct reader *reader);
/* An unsigned integer that is at most `max`. */
uint64_t fsm_reader_uint_max(struct reader *reader, uint64_t max);
/* Bytes (bin) of at most `size_max`; they point into the input. */
struct proto_bytes fsm_reader_bytes(struct reader *reader, uint32_t size_max);
/* Take a nil if one is next. */
bool fsm_reader_nil(struct reader *reader);
/* Nothing failed and nothing is left. */
bool fsm_reader_at_end(const struct reader *reader);

#endif
