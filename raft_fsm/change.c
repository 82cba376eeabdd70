/* Owns the one way from a found object (pointer to const) to one that may be changed. What an object's image shows
 * (image.c) never changes without passing here first:
 *
 *   C1  A running snapshot has the image of every object as it was when the snapshot began: written in its turn, or
 *       here, before the first change.
 *   C2  An object whose hash is not that of its image is in fsm->dirty. */
#include <stddef.h>

#include "raft_fsm/state.h"

struct session *fsm_object_session(const struct object *object)
{
    LOCKSTEP_ASSERT(object->kind == FSM_OBJECT_SESSION);
    return (void *)((uintptr_t)object - offsetof(struct session, object));
}

struct lock *fsm_object_lock(const struct object *object)
{
    LOCKSTEP_ASSERT(object->kind == FSM_OBJECT_LOCK);
    return (void *)((uintptr_t)object - offsetof(struct lock, object));
}

static void preserve(struct fsm *fsm, struct object *object)
{
    if (fsm->snapshot != NULL && object->generation != fsm->generation) {
        fsm_snapshot_preserve(fsm, object);
        object->generation = fsm->generation;
    }
}

static void change(struct fsm *fsm, struct object *object)
{
    preserve(fsm, object);
    if (object->dirty_slot == 0) {
        fsm_dirty_add(fsm, object);
    }
}

struct session *fsm_session_change(struct fsm *fsm, const struct session *session)
{
    struct session *mutable = (struct session *)(uintptr_t)session;
    change(fsm, &mutable->object);
    return mutable;
}

struct lock *fsm_lock_change(struct fsm *fsm, const struct lock *lock)
{
    struct lock *mutable = (struct lock *)(uintptr_t)lock;
    change(fsm, &mutable->object);
    return mutable;
}

void fsm_object_born(struct fsm *fsm, struct object *object, enum object_kind kind)
{
    *object = (struct object){.kind = kind & 3U, .generation = fsm->generation};
    if (!fsm->restoring) {
        fsm_dirty_add(fsm, object);
    }
}

void fsm_object_gone(struct fsm *fsm, struct object *object)
{
    preserve(fsm, object);
    if (object->dirty_slot != 0) {
        fsm_dirty_remove(fsm, object);
    }
    fsm->digest_sum -= object->hash;
}
