/* Frames on their way from one simulated node to another, in memory: they arrive in order, each at its time or later. Whether
 * the stream that carries them is up, and what delays or swallows it, is its user's. Time is in whatever unit its user counts. */
#ifndef LOCKSTEP_TESTS_SUPPORT_SIMULATED_FRAMES_H
#define LOCKSTEP_TESTS_SUPPORT_SIMULATED_FRAMES_H

#include "node/replica/link.h"

struct simulated_frame;

/* Zeros are an empty one. */
struct simulated_frames {
    struct simulated_frame *first, *last;
    size_t bytes;
    uint64_t clear; /* nothing arrives before this */
};

/* What was queued is at the bound: nothing more is taken. */
bool simulated_frames_full(const struct simulated_frames *frames);
/* Release the parts of a frame that is not put. */
void simulated_frames_refuse(struct link *link, const struct link_part *parts, unsigned count);
/* Take over a frame. It arrives at `due`, or with the one before it if that is later. */
void simulated_frames_put(struct simulated_frames *frames, const struct link_part *parts, unsigned count,
                          uint64_t due);
uint64_t simulated_frames_due(const struct simulated_frames *frames); /* UINT64_MAX: none */
/* The first frame leaves, and its parts are released. There must be one.
 * @return its bytes, to be freed by the caller. */
uint8_t *simulated_frames_take(struct simulated_frames *frames, struct link *link, size_t *ret_size);
/* All of them are lost with their stream. */
void simulated_frames_drop(struct simulated_frames *frames, struct link *link);

#endif
