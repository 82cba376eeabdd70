/* Station 7: the replica's view of the state machine: apply, image, restore. A leader that serves asks each entry for its
 * effects; everyone else applies without. */
#include <inttypes.h>
#include <stdio.h>

#include "node/core_state.h"
#include "protocol/assert.h"

/* Some 0.2 to 1 ms, measured: nothing that waits for the loop feels it. */
enum { RESTORE_STEP_WORK = 1024 };

static void fatal(struct core *core, uint64_t index, const char *detail)
{
    char message[PROTO_DETAIL_BYTES_MAX + 192];
    (void)snprintf(message, sizeof(message),
                   "entry %" PRIu64
                   " can not be applied by this version (%s): the node stops before its state differs "
                   "from the others'; update it",
                   index, detail);
    core->output.fatal(core->output.ctx, message);
}

/* The digest is taken at fixed indexes, so that nodes can be compared while they are busy. */
static void sample(struct core *core, uint64_t index)
{
    if (index % core->options.digest_every_entries == 0) {
        core->digest = (struct core_digest){index, fsm_digest(core->fsm)};
    }
}

static void apply(void *ctx, uint64_t index, uint64_t term, const void *data, size_t size)
{
    struct core *core = ctx;
    struct proto_error error;
    LOCKSTEP_ASSERT(index > core->applied_index);
    struct proposed_entry *entry = proposer_match(core, index, term);
    LOCKSTEP_ASSERT(entry == NULL || core->serving);
    struct fsm_effects *effects = core->serving ? &core->effects : NULL;
    if (fsm_apply(core->fsm, data, size, effects, &error) != FSM_APPLIED) {
        fatal(core, index, error.detail);
        return;
    }
    core->applied_index = index;
    core->dirty = true;
    if (!core_check(core, index)) {
        return; /* nobody is told anything of it */
    }
    if (effects != NULL) {
        dispatch_effects(core, entry, effects);
    }
    if (entry != NULL) {
        proposer_applied(core, entry);
    }
    sample(core, index);
}

static void snapshot_begin(void *ctx)
{
    struct core *core = ctx;
    LOCKSTEP_ASSERT(core->snapshot == NULL);
    core->snapshot = fsm_snapshot_begin(core->fsm);
    core->snapshot_of = core->fsm;
}

/* An image of this state is being written: it must live until snapshot_end(). */
static bool is_written(const struct core *core, const struct fsm *fsm)
{
    return core->snapshot != NULL && core->snapshot_of == fsm;
}

static bool snapshot_next(void *ctx, struct proto_buffer *out, size_t bytes_target)
{
    struct core *core = ctx;
    LOCKSTEP_ASSERT(core->snapshot != NULL);
    return fsm_snapshot_next(core->snapshot, out, bytes_target);
}

static void snapshot_end(void *ctx)
{
    struct core *core = ctx;
    LOCKSTEP_ASSERT(core->snapshot != NULL);
    fsm_snapshot_end(core->snapshot);
    if (is_written(core, core->retired)) {
        fsm_free(core->retired);
        core->retired = NULL;
    }
    core->snapshot = NULL;
    core->snapshot_of = NULL;
}

static void restore_begin(void *ctx)
{
    struct core *core = ctx;
    if (core->restore != NULL) {
        fsm_restore_abandon(core->restore); /* the stream before this one broke off */
    }
    core->restore = fsm_restore_begin();
}

static bool restore_feed(void *ctx, const void *data, size_t size, char *message, size_t message_size)
{
    struct core *core = ctx;
    LOCKSTEP_ASSERT(core->restore != NULL);
    LOCKSTEP_ASSERT(message_size > 0);
    message[0] = 0;
    fsm_restore_add(core->restore, data, size); /* restore_step() reads them, restore_finish() tells what is wrong */
    return true;
}

/* The old state goes in steps (restore_step), unless it is being written. */
static void replace(struct core *core, struct fsm *fsm)
{
    if (is_written(core, core->retired)) {
        fsm_free(core->fsm);
    } else {
        fsm_free(core->retired);
        core->retired = core->fsm;
    }
    core->fsm = fsm;
}

static bool restore_step(void *ctx, bool at_end)
{
    struct core *core = ctx;
    if (core->restore != NULL) {
        return fsm_restore_step(core->restore, at_end, RESTORE_STEP_WORK);
    }
    if (core->retired == NULL || is_written(core, core->retired)) {
        return false;
    }
    bool more = fsm_free_step(core->retired, RESTORE_STEP_WORK);
    core->retired = more ? core->retired : NULL;
    return more;
}

static bool restore_finish(void *ctx, uint64_t index, char *message, size_t message_size)
{
    struct core *core = ctx;
    struct proto_error error;
    LOCKSTEP_ASSERT(core->restore != NULL);
    LOCKSTEP_ASSERT(!core->serving);
    struct fsm *fsm = fsm_restore_finish(core->restore, &error);
    core->restore = NULL;
    if (fsm == NULL) {
        (void)snprintf(message, message_size, "%s", error.detail);
        return false;
    }
    replace(core, fsm);
    core->applied_index = index;
    core->digest = (struct core_digest){0};
    core->checked_index = index; /* fsm_restore_finish() checked it */
    core->dirty = true;
    return true;
}

struct replica_machine core_machine(struct core *core)
{
    return (struct replica_machine){
        .ctx = core,
        .apply = apply,
        .snapshot_begin = snapshot_begin,
        .snapshot_next = snapshot_next,
        .snapshot_end = snapshot_end,
        .restore_begin = restore_begin,
        .restore_feed = restore_feed,
        .restore_finish = restore_finish,
        .restore_step = restore_step,
    };
}
