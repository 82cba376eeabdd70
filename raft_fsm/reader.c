/* Owns the reading of the msgpack subset that raft_fsm writes: unsigned integers, nil, bin and arrays.
 * Never reads past the end, never trusts a declared length. */
#include "raft_fsm/reader.h"

void fsm_reader_init(struct reader *reader, const void *data, size_t size)
{
    reader->at = data;
    reader->end = size == 0 ? reader->at : reader->at + size;
    reader->failed = false;
}

static void fail(struct reader *reader)
{
    reader->failed = true;
    reader->at = reader->end;
}

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* The next `size` bytes (1, 2, 4 or 8) as a big-endian number. */
static uint64_t take_number(struct reader *reader, size_t size)
{
    if (left(reader) < size) {
        fail(reader);
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | reader->at[i];
    }
    reader->at += size;
    return value;
}

uint32_t fsm_reader_array(struct reader *reader)
{
    uint64_t tag = take_number(reader, 1);
    uint64_t count = 0;
    if ((tag & 0xf0) == 0x90) {
        count = tag & 0x0f;
    } else if (tag == 0xdc) {
        count = take_number(reader, 2);
    } else if (tag == 0xdd) {
        count = take_number(reader, 4);
    } else {
        fail(reader);
    }
    if (count > left(reader)) {
        fail(reader);
    }
    return reader->failed ? 0 : (uint32_t)count;
}

void fsm_reader_array_of(struct reader *reader, uint32_t count)
{
    if (fsm_reader_array(reader) != count) {
        fail(reader);
    }
}

uint64_t fsm_reader_uint(struct reader *reader)
{
    uint64_t tag = take_number(reader, 1);
    if (tag < 0x80) {
        return tag;
    }
    if (tag >= 0xcc && tag <= 0xcf) {
        return take_number(reader, (size_t)1 << (tag - 0xcc));
    }
    fail(reader);
    return 0;
}

uint64_t fsm_reader_uint_max(struct reader *reader, uint64_t max)
{
    uint64_t value = fsm_reader_uint(reader);
    if (value > max) {
        fail(reader);
        return 0;
    }
    return value;
}

struct proto_bytes fsm_reader_bytes(struct reader *reader, uint32_t size_max)
{
    uint64_t tag = take_number(reader, 1);
    uint64_t size = 0;
    if (tag >= 0xc4 && tag <= 0xc6) {
        size = take_number(reader, (size_t)1 << (tag - 0xc4));
    } else {
        fail(reader);
    }
    if (size > left(reader) || size > size_max) {
        fail(reader);
    }
    if (reader->failed) {
        return (struct proto_bytes){.data = NULL, .size = 0};
    }
    struct proto_bytes bytes = {.data = reader->at, .size = (uint32_t)size};
    reader->at += size;
    return bytes;
}

bool fsm_reader_nil(struct reader *reader)
{
    if (left(reader) == 0 || *reader->at != 0xc0) {
        return false;
    }
    reader->at++;
    return true;
}

bool fsm_reader_at_end(const struct reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}
