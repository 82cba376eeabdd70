/* Owns the digest of the state: the sum (modulo 2^64) of a hash of each object's image, and a hash of the globals. A
 * sum, because it does not depend on the order and can be kept as objects come and go.
 *
 *   D1  fsm->digest_sum is the sum of object.hash over all objects.
 *   D2  object.hash is the hash of the object's image, unless the object is in fsm->dirty.
 *   D3  fsm->dirty[object.dirty_slot - 1] is the object, for each dirty_slot that is not 0.
 *
 * What changed is hashed when the digest is asked for. Should nobody ask, each entry hashes as many objects as it
 * made too many, so that the first question does not find a million. */
#include <xxhash.h>

#include "raft_fsm/state.h"

enum { CAPACITY_MIN = 64 };

uint64_t fsm_image_hash(const void *image, size_t size)
{
    return XXH3_64bits(image, size);
}

void fsm_dirty_add(struct fsm *fsm, struct object *object)
{
    if (fsm->dirty_count == fsm->dirty_capacity) {
        uint32_t capacity = fsm->dirty_capacity == 0 ? CAPACITY_MIN : fsm->dirty_capacity * 2;
        size_t size = sizeof(struct object *);
        fsm->dirty = fsm_reallocate(fsm, fsm->dirty, fsm->dirty_capacity * size, capacity * size);
        fsm->dirty_capacity = capacity;
    }
    fsm->dirty[fsm->dirty_count] = object;
    fsm->dirty_count++;
    object->dirty_slot = fsm->dirty_count;
}

void fsm_dirty_remove(struct fsm *fsm, struct object *object)
{
    uint32_t at = object->dirty_slot - 1;
    LOCKSTEP_ASSERT(fsm->dirty[at] == object);
    fsm->dirty_count--;
    fsm->dirty[at] = fsm->dirty[fsm->dirty_count];
    fsm->dirty[at]->dirty_slot = at + 1;
    object->dirty_slot = 0;
}

static void fold(struct fsm *fsm, struct object *object)
{
    proto_buffer_clear(&fsm->image);
    fsm_image_object(object, &fsm->image);
    fsm->digest_sum -= object->hash;
    object->hash = fsm_image_hash(fsm->image.data, fsm->image.size);
    fsm->digest_sum += object->hash;
    fsm_dirty_remove(fsm, object);
}

void fsm_dirty_trim(struct fsm *fsm)
{
    while (fsm->dirty_count > FSM_DIRTY_MAX) {
        /* Going round hits what changed long ago rather than what will change again at once. */
        fsm->dirty_hand = (fsm->dirty_hand + 1) % fsm->dirty_count;
        fold(fsm, fsm->dirty[fsm->dirty_hand]);
    }
}

uint64_t fsm_digest(struct fsm *fsm)
{
    while (fsm->dirty_count > 0) {
        fold(fsm, fsm->dirty[fsm->dirty_count - 1]);
    }
    proto_buffer_clear(&fsm->image);
    fsm_image_globals(fsm, &fsm->image);
    return fsm->digest_sum + fsm_image_hash(fsm->image.data, fsm->image.size);
}
