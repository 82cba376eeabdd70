/* See simulated_frames.h. */
#include "tests/support/simulated_frames.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { QUEUE_BYTES_MAX = 8 * 1024 * 1024 };

struct simulated_frame {
    struct simulated_frame *next;
    uint64_t due;
    unsigned count;
    size_t size;
    struct link_part parts[];
};

bool simulated_frames_full(const struct simulated_frames *frames)
{
    return frames->bytes > QUEUE_BYTES_MAX;
}

void simulated_frames_refuse(struct link *link, const struct link_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].owner != NULL) {
            link->release(parts[i].owner);
        }
    }
}

/* Parts with an owner stay references until they are delivered: a log that changed the bytes would be found out. */
static struct simulated_frame *frame_create(const struct link_part *parts, unsigned count)
{
    size_t copied = 0;
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i].size;
        copied += parts[i].owner == NULL ? parts[i].size : 0;
    }
    LOCKSTEP_ASSERT(size <= LINK_FRAME_BYTES_MAX);
    struct simulated_frame *frame = malloc(sizeof(*frame) + count * sizeof(*parts) + copied);
    LOCKSTEP_ASSERT(frame != NULL);
    uint8_t *copy = (uint8_t *)(frame->parts + count);
    frame->next = NULL;
    frame->count = count;
    frame->size = size;
    for (unsigned i = 0; i < count; i++) {
        frame->parts[i] = parts[i];
        if (parts[i].owner == NULL && parts[i].size > 0) {
            memcpy(copy, parts[i].data, parts[i].size);
            frame->parts[i].data = copy;
            copy += parts[i].size;
        }
    }
    return frame;
}

void simulated_frames_put(struct simulated_frames *frames, const struct link_part *parts, unsigned count,
                          uint64_t due)
{
    struct simulated_frame *frame = frame_create(parts, count);
    frame->due = due < frames->clear ? frames->clear : due;
    frames->clear = frame->due;
    frames->bytes += frame->size;
    if (frames->last == NULL) {
        frames->first = frame;
    } else {
        frames->last->next = frame;
    }
    frames->last = frame;
}

uint64_t simulated_frames_due(const struct simulated_frames *frames)
{
    return frames->first == NULL ? UINT64_MAX : frames->first->due;
}

static void frame_drop(struct simulated_frames *frames, struct link *link)
{
    struct simulated_frame *frame = frames->first;
    frames->first = frame->next;
    frames->last = frames->first == NULL ? NULL : frames->last;
    frames->bytes -= frame->size;
    simulated_frames_refuse(link, frame->parts, frame->count);
    free(frame);
}

uint8_t *simulated_frames_take(struct simulated_frames *frames, struct link *link, size_t *ret_size)
{
    struct simulated_frame *frame = frames->first;
    LOCKSTEP_ASSERT(frame != NULL);
    uint8_t *bytes = malloc(frame->size + 1);
    LOCKSTEP_ASSERT(bytes != NULL);
    size_t size = 0;
    for (unsigned i = 0; i < frame->count; i++) {
        if (frame->parts[i].size > 0) {
            memcpy(bytes + size, frame->parts[i].data, frame->parts[i].size);
        }
        size += frame->parts[i].size;
    }
    frame_drop(frames, link);
    *ret_size = size;
    return bytes;
}

void simulated_frames_drop(struct simulated_frames *frames, struct link *link)
{
    while (frames->first != NULL) {
        frame_drop(frames, link);
    }
    frames->clear = 0;
}
