/* Reads msgpack in place; see cursor.h. The format: https://github.com/msgpack/msgpack/blob/master/spec.md */
#include "protocol/cursor.h"

#include <string.h>

enum { SKIP_DEPTH_MAX = 16 };

enum {
    TAG_NIL = 0xC0,
    TAG_FALSE = 0xC2,
    TAG_TRUE = 0xC3,
    TAG_BIN8 = 0xC4,
    TAG_UINT8 = 0xCC,
    TAG_UINT64 = 0xCF,
    TAG_INT8 = 0xD0,
    TAG_INT64 = 0xD3,
    TAG_STR8 = 0xD9,
    TAG_ARRAY16 = 0xDC,
    TAG_ARRAY32 = 0xDD,
    TAG_MAP16 = 0xDE,
    TAG_MAP32 = 0xDF,
};

struct cursor cursor_of(struct proto_bytes bytes)
{
    static const uint8_t nothing;
    const uint8_t *data = bytes.data != NULL ? bytes.data : &nothing;
    return (struct cursor){.at = data, .end = data + bytes.size, .expected = NULL};
}

static void fail(struct cursor *cursor, const char *expected)
{
    if (cursor->expected == NULL) {
        cursor->expected = expected;
    }
    cursor->at = cursor->end;
}

static size_t left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

/* A big-endian number of `size` bytes after the tag; the tag and the number are taken. */
static uint64_t take_number(struct cursor *cursor, size_t size, const char *expected)
{
    uint64_t number = 0;
    if (left(cursor) < 1 + size) {
        fail(cursor, expected);
        return 0;
    }
    for (size_t i = 1; i <= size; i++) {
        number = number << 8 | cursor->at[i];
    }
    cursor->at += 1 + size;
    return number;
}

static uint8_t peek(struct cursor *cursor, const char *expected)
{
    if (left(cursor) == 0) {
        fail(cursor, expected);
        return TAG_NIL;
    }
    return *cursor->at;
}

uint32_t cursor_array(struct cursor *cursor)
{
    static const char expected[] = "an array";
    uint8_t tag = peek(cursor, expected);
    uint64_t count = 0;
    if ((tag & 0xF0) == 0x90) {
        count = tag & 0x0Fu;
        cursor->at++;
    } else if (tag == TAG_ARRAY16 || tag == TAG_ARRAY32) {
        count = take_number(cursor, tag == TAG_ARRAY16 ? 2 : 4, expected);
    } else {
        fail(cursor, expected);
    }
    if (count > left(cursor)) {
        fail(cursor, "as many elements as the array declares");
        return 0;
    }
    return (uint32_t)count;
}

uint64_t cursor_uint(struct cursor *cursor)
{
    static const char expected[] = "an unsigned integer";
    uint8_t tag = peek(cursor, expected);
    if (tag < 0x80) {
        cursor->at++; /* there is a byte: peek() gives TAG_NIL where there is none */
        return tag;
    }
    if (tag >= TAG_UINT8 && tag <= TAG_UINT64) {
        return take_number(cursor, (size_t)1 << (tag - TAG_UINT8), expected);
    }
    if (tag >= TAG_INT8 && tag <= TAG_INT64) {
        /* Some encoders write positive numbers as signed ones. */
        size_t size = (size_t)1 << (tag - TAG_INT8);
        uint64_t number = take_number(cursor, size, expected);
        if ((number >> (8 * size - 1)) == 0) {
            return number;
        }
    }
    fail(cursor, expected);
    return 0;
}

uint32_t cursor_uint32(struct cursor *cursor)
{
    uint64_t number = cursor_uint(cursor);
    return number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

bool cursor_bool(struct cursor *cursor)
{
    static const char expected[] = "true or false";
    uint8_t tag = peek(cursor, expected);
    if (tag != TAG_TRUE && tag != TAG_FALSE) {
        fail(cursor, expected);
        return false;
    }
    cursor->at++;
    return tag == TAG_TRUE;
}

bool cursor_nil(struct cursor *cursor)
{
    if (left(cursor) == 0 || *cursor->at != TAG_NIL) {
        return false;
    }
    cursor->at++;
    return true;
}

static struct proto_bytes take_bytes(struct cursor *cursor, uint64_t size, const char *expected)
{
    if (cursor->expected != NULL || size > left(cursor)) {
        fail(cursor, expected);
        return (struct proto_bytes){NULL, 0};
    }
    struct proto_bytes bytes = {cursor->at, (uint32_t)size};
    cursor->at += size;
    return bytes;
}

/* str8/16/32 and bin8/16/32 are three tags in a row each. */
static struct proto_bytes take_sized(struct cursor *cursor, uint8_t tag, uint8_t first_tag,
                                     const char *expected)
{
    uint64_t size = take_number(cursor, (size_t)1 << (tag - first_tag), expected);
    return take_bytes(cursor, size, expected);
}

struct proto_bytes cursor_text(struct cursor *cursor)
{
    static const char expected[] = "a string";
    uint8_t tag = peek(cursor, expected);
    if ((tag & 0xE0) == 0xA0) {
        cursor->at++;
        return take_bytes(cursor, tag & 0x1Fu, expected);
    }
    if (tag >= TAG_STR8 && tag < TAG_STR8 + 3) {
        return take_sized(cursor, tag, TAG_STR8, expected);
    }
    fail(cursor, expected);
    return (struct proto_bytes){NULL, 0};
}

struct proto_bytes cursor_binary(struct cursor *cursor)
{
    static const char expected[] = "binary data";
    uint8_t tag = peek(cursor, expected);
    if (tag >= TAG_BIN8 && tag < TAG_BIN8 + 3) {
        return take_sized(cursor, tag, TAG_BIN8, expected);
    }
    fail(cursor, expected);
    return (struct proto_bytes){NULL, 0};
}

/* ---- skipping ---- */

/* Bytes of the element that begins with `tag`, without its children and without what a length field declares. */
static size_t fixed_size(uint8_t tag)
{
    /* 0xC0..0xDF, one row per eight tags; 0: no such tag. */
    static const uint8_t sizes[32] = {1, 0, 1, 1, 2, 3, 5, 3,  4,  6, 5, 9, 2, 3, 5, 9,
                                      2, 3, 5, 9, 3, 4, 6, 10, 18, 2, 3, 5, 3, 5, 3, 5};
    if (tag < 0xC0 || tag >= 0xE0) {
        return 1; /* numbers, short strings, short arrays and maps carry everything in the tag */
    }
    return sizes[tag - 0xC0];
}

/* The length that follows the tag: str, bin and ext; else 0. */
static uint64_t declared_bytes(const uint8_t *at, uint8_t tag)
{
    uint64_t size = 0;
    unsigned width = 0;
    if ((tag & 0xE0) == 0xA0) {
        return tag & 0x1Fu;
    }
    if (tag >= TAG_BIN8 && tag < TAG_BIN8 + 6) {
        width = 1u << ((tag - TAG_BIN8) % 3);
    } else if (tag >= TAG_STR8 && tag < TAG_STR8 + 3) {
        width = 1u << (tag - TAG_STR8);
    }
    for (unsigned i = 1; i <= width; i++) {
        size = size << 8 | at[i];
    }
    return size;
}

/* How many elements lie inside it: arrays and maps; else 0. */
static uint64_t declared_children(const uint8_t *at, uint8_t tag)
{
    if ((tag & 0xF0) == 0x90) {
        return tag & 0x0Fu;
    }
    if ((tag & 0xF0) == 0x80) {
        return 2u * (tag & 0x0Fu);
    }
    if (tag < TAG_ARRAY16 || tag > TAG_MAP32) {
        return 0;
    }
    uint64_t count = 0;
    unsigned width = tag == TAG_ARRAY16 || tag == TAG_MAP16 ? 2 : 4;
    for (unsigned i = 1; i <= width; i++) {
        count = count << 8 | at[i];
    }
    return tag >= TAG_MAP16 ? 2 * count : count;
}

/* Take one element's own bytes. @return the number of its children. */
static uint64_t skip_one(struct cursor *cursor)
{
    static const char expected[] = "a whole element";
    if (left(cursor) == 0) {
        fail(cursor, expected);
        return 0;
    }
    uint8_t tag = *cursor->at;
    size_t size = fixed_size(tag);
    if (size == 0 || size > left(cursor)) {
        fail(cursor, expected);
        return 0;
    }
    uint64_t bytes = declared_bytes(cursor->at, tag);
    uint64_t children = declared_children(cursor->at, tag);
    if (bytes > left(cursor) - size) {
        fail(cursor, expected);
        return 0;
    }
    cursor->at += size + bytes;
    return children;
}

void cursor_skip(struct cursor *cursor)
{
    uint64_t open[SKIP_DEPTH_MAX] = {1}; /* elements still to come at each depth */
    unsigned depth = 0;
    while (cursor->expected == NULL) {
        if (open[depth] == 0) {
            if (depth == 0) {
                return;
            }
            depth--;
            continue;
        }
        open[depth]--;
        uint64_t children = skip_one(cursor);
        if (children > left(cursor)) {
            fail(cursor, "as many elements as the array declares");
        } else if (children > 0 && depth + 1 == SKIP_DEPTH_MAX) {
            fail(cursor, "elements nested less deeply");
        } else if (children > 0) {
            open[++depth] = children;
        }
    }
}
