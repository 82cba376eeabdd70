/* Station 7: when the invariants of the whole state are checked, and what happens if one is broken: the node ends before
 * anyone is told of the entry that broke it. Other nodes that apply the same entry end as well, which is meant: a
 * cluster that stands still can be repaired, one that gave a lock to two can not.
 *
 * The check is linear in the state, so that sampling bounds two things:
 *  V1  The pause: a state of more than SAMPLE_BYTES_MAX is not checked; it is at the next restore from a snapshot.
 *  V2  The share of all time: after a check come so many entries without one that it is spread over them to below a
 *      hundredth of what an entry costs. The measure of both is the state's memory, because windows of answers and values
 *      of locks are hashed too. */
#include <inttypes.h>
#include <stdio.h>

#include "node/core_state.h"

enum {
    SAMPLE_BYTES_MAX = 8 * 1024 * 1024, /* V1: measured are 0.4 to 1.2 ns a byte, so some 10 ms */
    SAMPLE_BYTES_PER_ENTRY =
        64, /* V2: less than 80 ns an entry; writing and sending one takes 10 us and more */
    SAMPLE_ENTRIES_MIN = 1024,
};

static bool sample_due(const struct core *core, uint64_t index)
{
    uint64_t entries = index - core->checked_index;
    struct fsm_counts counts;
    if (entries < SAMPLE_ENTRIES_MIN) {
        return false;
    }
    fsm_counts(core->fsm, &counts);
    return counts.bytes <= SAMPLE_BYTES_MAX && entries >= counts.bytes / SAMPLE_BYTES_PER_ENTRY;
}

bool core_check(struct core *core, uint64_t index)
{
    if (core->options.check_invariants == CORE_CHECK_OFF ||
        (core->options.check_invariants == CORE_CHECK_SAMPLED && !sample_due(core, index))) {
        return true;
    }
    core->checked_index = index;
    const char *broken = fsm_invariant_broken(core->fsm);
    if (broken != NULL) {
        char message[256];
        (void)snprintf(message, sizeof(message),
                       "after entry %" PRIu64
                       " an invariant of the state is broken (%s): the node stops before anyone "
                       "relies on it; keep the data directory and report this line",
                       index, broken);
        core->output.fatal(core->output.ctx, message);
    }
    return broken == NULL;
}
