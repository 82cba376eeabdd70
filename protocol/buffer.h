/* A growing byte buffer with the limit it was made with. Growth is geometric; past the limit an append fails and the
 * buffer is marked, so that a series of appends needs one check at its end. */
#ifndef LOCKSTEP_PROTOCOL_BUFFER_H
#define LOCKSTEP_PROTOCOL_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proto_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t size_max;
    bool failed; /* an append was refused (limit or memory); contents are what fitted before */
};

/* Empty buffer that may grow to `size_max` bytes. Allocates nothing yet. */
void proto_buffer_init(struct proto_buffer *buffer, size_t size_max);
/* Frees the memory. A second call is fine. */
void proto_buffer_done(struct proto_buffer *buffer);
/* Forget the contents and the failure, keep the memory. */
void proto_buffer_clear(struct proto_buffer *buffer);
/* Append `size` bytes. @return false, and marks the buffer, if they do not fit. */
bool proto_buffer_append(struct proto_buffer *buffer, const void *data, size_t size);
/* Room for `size` more bytes at the end, or NULL and marked. The caller writes there and adds to `buffer->size`. */
uint8_t *proto_buffer_reserve(struct proto_buffer *buffer, size_t size);
/* Remove the first `size` bytes (<= buffer->size), moving the rest down. */
void proto_buffer_consume(struct proto_buffer *buffer, size_t size);

#endif
