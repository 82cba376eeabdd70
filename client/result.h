/* Results inside the library: from a node's status to what the caller is told, and the sentence that goes with it. */
#ifndef LOCKSTEP_CLIENT_RESULT_H
#define LOCKSTEP_CLIENT_RESULT_H

#include "client/include/lockstep.h"
#include "protocol/message.h"

enum { DETAIL_BYTES = 512 }; /* a sentence with its terminator; longer ones are cut */

/* What a node's final answer means to the caller. */
int result_of_status(enum proto_status status);

/* Why a session or a grant ended, in the words of lockstep.h. */
enum lockstep_lost_reason lost_reason_of(enum proto_end_reason reason);

/* Set the calling thread's sentence. @return `result`, so that a failure reads `return result_set(…)`. LOCKSTEP_OK clears. */
__attribute__((format(printf, 2, 3))) int result_set(int result, const char *format, ...);

/* The sentence for `result`: `detail` if there is one, else the result's text. @return `result`. */
int result_explain(int result, const char *detail);

#endif
