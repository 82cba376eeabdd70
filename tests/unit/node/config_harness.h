/* What the tests of settings share: one configuration, its errors, a file for it, and a value of each kind. */
#ifndef LOCKSTEP_TESTS_UNIT_NODE_CONFIG_HARNESS_H
#define LOCKSTEP_TESTS_UNIT_NODE_CONFIG_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/config.h"

extern struct config config;
extern struct config_errors errors;
extern char path[64];

/* A good and a bad value for a key; the good one reads back as it stands. In the order of the table. */
struct sample {
    const char *name;
    const char *good;
    const char *bad;
};
extern const struct sample samples[CONFIG_KEYS_COUNT];

/* cmocka's: before each test; around all. */
int reset(void **state);
int file_create(void **state);
int file_remove(void **state);

void write_file(const char *text);
/* Reset, and read `text` as a file. */
void read_text(const char *text);
/* The value as it would be written. Overwritten by the next call. */
const char *value_of(enum config_key key);

#endif
