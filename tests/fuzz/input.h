/* What the fuzz targets share: the function that libFuzzer calls, and reading small numbers off the front of an input.
 *
 * An input that is used up gives zeros, so that every input means something and a shorter one is a prefix of the same
 * story. Nothing here allocates. */
#ifndef LOCKSTEP_TESTS_FUZZ_INPUT_H
#define LOCKSTEP_TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
    return (struct input){data, size};
}

static inline uint8_t input_byte(struct input *input)
{
    if (input->left == 0) {
        return 0;
    }
    input->left--;
    return *input->at++;
}

/* 0 .. bound - 1; `bound` is 1 .. 256. */
static inline unsigned input_below(struct input *input, unsigned bound)
{
    return input_byte(input) % bound;
}

static inline uint16_t input_u16(struct input *input)
{
    unsigned high = input_byte(input);
    return (uint16_t)(high << 8 | input_byte(input));
}

static inline uint64_t input_u64(struct input *input)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value = value << 8 | input_byte(input);
    }
    return value;
}

/* The next `size` bytes, or as many as there are. They point into the input. */
static inline struct proto_bytes input_bytes(struct input *input, size_t size)
{
    size_t taken = size < input->left ? size : input->left;
    struct proto_bytes bytes = {input->at, (uint32_t)taken};
    input->at += taken;
    input->left -= taken;
    return bytes;
}

static inline struct proto_bytes input_rest(struct input *input)
{
    return input_bytes(input, input->left);
}

#endif
