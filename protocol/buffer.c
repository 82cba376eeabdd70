/* A byte buffer that grows up to its limit and remembers when it was refused more. Owns its memory. */
#include "protocol/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"

enum { CAPACITY_MIN = 256 };

void proto_buffer_init(struct proto_buffer *buffer, size_t size_max)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->size_max = size_max;
}

void proto_buffer_done(struct proto_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = 0;
    buffer->capacity = 0;
    buffer->failed = false;
}

void proto_buffer_clear(struct proto_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = false;
}

static bool grow(struct proto_buffer *buffer, size_t size_needed)
{
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (capacity < size_needed) {
        capacity = capacity > SIZE_MAX / 2 ? size_needed : capacity * 2;
    }
    if (capacity > buffer->size_max) {
        capacity = buffer->size_max; /* still enough: size_needed was checked against it */
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *proto_buffer_reserve(struct proto_buffer *buffer, size_t size)
{
    LOCKSTEP_ASSERT(buffer->size <= buffer->size_max);
    if (buffer->failed || size > buffer->size_max - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    bool room = buffer->data != NULL && size <= buffer->capacity - buffer->size;
    if (!room && !grow(buffer, buffer->size + size)) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
}

bool proto_buffer_append(struct proto_buffer *buffer, const void *data, size_t size)
{
    if (size == 0) {
        return !buffer->failed;
    }
    uint8_t *room = proto_buffer_reserve(buffer, size);
    if (room == NULL) {
        return false;
    }
    memcpy(room, data, size);
    buffer->size += size;
    return true;
}

void proto_buffer_consume(struct proto_buffer *buffer, size_t size)
{
    LOCKSTEP_ASSERT(size <= buffer->size);
    buffer->size -= size;
    if (buffer->size > 0) {
        memmove(buffer->data, buffer->data + size, buffer->size);
    }
}
