/* See wire.h. The format: https://github.com/msgpack/msgpack/blob/master/spec.md */
#include "wire.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

static void put_byte(struct proto_buffer *buffer, uint64_t byte)
{
    uint8_t data = (uint8_t)byte;
    assert_true(proto_buffer_append(buffer, &data, 1));
}

static void put_big_endian(struct proto_buffer *buffer, uint64_t number, unsigned size)
{
    for (unsigned i = size; i-- > 0;) {
        put_byte(buffer, number >> (8 * i));
    }
}

static void put_uint(struct proto_buffer *buffer, uint64_t number, enum wire_width width)
{
    if (width == WIRE_SHORTEST && number < 0x80) {
        put_byte(buffer, number);
        return;
    }
    unsigned log = number > UINT32_MAX ? 3 : number > UINT16_MAX ? 2 : number > UINT8_MAX ? 1 : 0;
    log = width == WIRE_WIDEST ? 3 : log;
    put_byte(buffer, 0xCC + log);
    put_big_endian(buffer, number, 1u << log);
}

/* A header that has up to three widths of 1, 2, 4 bytes, of which the first `skipped` do not exist. */
static void put_sized(struct proto_buffer *buffer, unsigned first_tag, unsigned skipped, uint64_t size,
                      enum wire_width width)
{
    unsigned log = size > UINT16_MAX ? 2 : size > UINT8_MAX ? 1 : 0;
    log = width == WIRE_WIDEST ? 2 : log < skipped ? skipped : log;
    put_byte(buffer, first_tag + log - skipped);
    put_big_endian(buffer, size, 1u << log);
}

static void put_array(struct proto_buffer *buffer, uint64_t count, enum wire_width width)
{
    if (width == WIRE_SHORTEST && count < 16) {
        put_byte(buffer, 0x90 | count);
    } else {
        put_sized(buffer, 0xDC, 1, count, width);
    }
}

/* ---- reading the notation ---- */

struct reader {
    const char *at;
    enum wire_width width;
};

static void skip_blanks(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == ',' || *reader->at == '\n') {
        reader->at++;
    }
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(reader->at, word, size) != 0) {
        return false;
    }
    reader->at += size;
    return true;
}

static uint64_t take_times(struct reader *reader)
{
    char *end = NULL;
    if (*reader->at != '*') {
        return 1;
    }
    uint64_t times = strtoull(reader->at + 1, &end, 10);
    reader->at = end;
    return times;
}

static void put_repeated(struct proto_buffer *buffer, const struct proto_buffer *once, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        assert_true(proto_buffer_append(buffer, once->data, once->size));
    }
}

static void read_text(struct reader *reader, struct proto_buffer *buffer)
{
    struct proto_buffer text;
    proto_buffer_init(&text, TEXT_BYTES_MAX);
    while (*reader->at != '"') {
        assert_int_not_equal(*reader->at, '\0');
        if (take_word(reader, "\\x")) {
            char digits[3] = {reader->at[0], reader->at[1], '\0'};
            put_byte(&text, strtoull(digits, NULL, 16));
            reader->at += 2;
            continue;
        }
        put_byte(&text, (uint8_t)*reader->at++);
    }
    reader->at++;
    uint64_t times = take_times(reader);
    if (reader->width == WIRE_SHORTEST && text.size * times < 32) {
        put_byte(buffer, 0xA0 | text.size * times);
    } else {
        put_sized(buffer, 0xD9, 0, text.size * times, reader->width);
    }
    put_repeated(buffer, &text, times);
    proto_buffer_done(&text);
}

static void read_binary(struct reader *reader, struct proto_buffer *buffer)
{
    struct proto_buffer binary;
    proto_buffer_init(&binary, TEXT_BYTES_MAX);
    reader->at = hex_read(&binary, reader->at);
    assert_int_equal(*reader->at++, '\'');
    uint64_t times = take_times(reader);
    put_sized(buffer, 0xC4, 0, binary.size * times, reader->width);
    put_repeated(buffer, &binary, times);
    proto_buffer_done(&binary);
}

static void read_element(struct reader *reader, struct proto_buffer *buffer);

static void read_array(struct reader *reader, struct proto_buffer *buffer)
{
    struct proto_buffer elements;
    uint64_t count = 0;
    proto_buffer_init(&elements, TEXT_BYTES_MAX);
    for (skip_blanks(reader); *reader->at != ']'; skip_blanks(reader)) {
        read_element(reader, &elements);
        count++;
    }
    reader->at++;
    uint64_t depth = count == 0 ? take_times(reader) : 1;
    for (uint64_t i = 1; i < depth; i++) {
        put_array(buffer, 1, reader->width);
    }
    put_array(buffer, count, reader->width);
    put_repeated(buffer, &elements, 1);
    proto_buffer_done(&elements);
}

static void read_element(struct reader *reader, struct proto_buffer *buffer)
{
    char *end = NULL;
    if (take_word(reader, "[")) {
        read_array(reader, buffer);
    } else if (take_word(reader, "\"")) {
        read_text(reader, buffer);
    } else if (take_word(reader, "h'")) {
        read_binary(reader, buffer);
    } else if (take_word(reader, "nil")) {
        put_byte(buffer, 0xC0);
    } else if (take_word(reader, "false")) {
        put_byte(buffer, 0xC2);
    } else if (take_word(reader, "true")) {
        put_byte(buffer, 0xC3);
    } else if (take_word(reader, "{}")) {
        put_byte(buffer, 0x80);
    } else if (take_word(reader, "-1")) {
        put_byte(buffer, 0xFF);
    } else {
        assert_true(isdigit((unsigned char)*reader->at));
        put_uint(buffer, strtoull(reader->at, &end, 10), reader->width);
        reader->at = end;
    }
}

void wire_write(struct proto_buffer *buffer, const char *notation, enum wire_width width)
{
    struct reader reader = {notation, width};
    skip_blanks(&reader);
    read_element(&reader, buffer);
    skip_blanks(&reader);
    assert_string_equal(reader.at, "");
}

/* ---- printing ---- */

static void put_string(struct proto_buffer *text, const char *string)
{
    assert_true(proto_buffer_append(text, string, strlen(string)));
}

static uint64_t take_number(struct proto_bytes *bytes, unsigned size)
{
    uint64_t number = 0;
    assert_true(bytes->size >= size);
    for (unsigned i = 0; i < size; i++) {
        number = number << 8 | bytes->data[i];
    }
    bytes->data += size;
    bytes->size -= size;
    return number;
}

static struct proto_bytes take_bytes(struct proto_bytes *bytes, uint64_t size)
{
    assert_true(bytes->size >= size);
    struct proto_bytes taken = {bytes->data, (uint32_t)size};
    bytes->data += size;
    bytes->size -= (uint32_t)size;
    return taken;
}

static void print_text(struct proto_buffer *text, struct proto_bytes string)
{
    put_byte(text, '"');
    for (uint32_t i = 0; i < string.size; i++) {
        uint8_t byte = string.data[i];
        char escaped[8];
        if (byte >= 0x20 && byte != 0x7F && byte != '"' && byte != '\\') {
            put_byte(text, byte);
            continue;
        }
        (void)snprintf(escaped, sizeof escaped, "\\x%02x", byte);
        put_string(text, escaped);
    }
    put_byte(text, '"');
}

static void print_binary(struct proto_buffer *text, struct proto_bytes binary)
{
    put_string(text, "h'");
    hex_print(text, binary);
    put_byte(text, '\'');
}

static void print_number(struct proto_buffer *text, uint64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    put_string(text, digits);
}

static void print_element(struct proto_buffer *text, struct proto_bytes *bytes);

static void print_array(struct proto_buffer *text, struct proto_bytes *bytes, uint64_t count)
{
    put_byte(text, '[');
    for (uint64_t i = 0; i < count; i++) {
        put_string(text, i > 0 ? ", " : "");
        print_element(text, bytes);
    }
    put_byte(text, ']');
}

static void print_element(struct proto_buffer *text, struct proto_bytes *bytes)
{
    unsigned tag = (unsigned)take_number(bytes, 1);
    if (tag < 0x80) {
        print_number(text, tag);
    } else if (tag >= 0xCC && tag <= 0xCF) {
        print_number(text, take_number(bytes, 1u << (tag - 0xCC)));
    } else if ((tag & 0xF0) == 0x90) {
        print_array(text, bytes, tag & 0x0F);
    } else if (tag == 0xDC || tag == 0xDD) {
        print_array(text, bytes, take_number(bytes, tag == 0xDC ? 2 : 4));
    } else if ((tag & 0xE0) == 0xA0) {
        print_text(text, take_bytes(bytes, tag & 0x1F));
    } else if (tag >= 0xD9 && tag <= 0xDB) {
        print_text(text, take_bytes(bytes, take_number(bytes, 1u << (tag - 0xD9))));
    } else if (tag >= 0xC4 && tag <= 0xC6) {
        print_binary(text, take_bytes(bytes, take_number(bytes, 1u << (tag - 0xC4))));
    } else {
        assert_true(tag == 0xC0 || tag == 0xC2 || tag == 0xC3);
        put_string(text, tag == 0xC0 ? "nil" : tag == 0xC2 ? "false" : "true");
    }
}

void wire_print(struct proto_buffer *text, struct proto_bytes bytes)
{
    print_element(text, &bytes);
    assert_int_equal(bytes.size, 0);
}

void hex_print(struct proto_buffer *text, struct proto_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < bytes.size; i++) {
        put_byte(text, (uint8_t)digits[bytes.data[i] >> 4]);
        put_byte(text, (uint8_t)digits[bytes.data[i] & 0xF]);
    }
}

const char *hex_read(struct proto_buffer *buffer, const char *text)
{
    while (true) {
        while (*text == ' ') {
            text++;
        }
        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1])) {
            return text;
        }
        char digits[3] = {text[0], text[1], '\0'};
        put_byte(buffer, strtoull(digits, NULL, 16));
        text += 2;
    }
}
