/* One function per type of setting: text to value, value to text, and what is allowed. Of config.c. */
#ifndef LOCKSTEP_NODE_CONFIG_VALUE_H
#define LOCKSTEP_NODE_CONFIG_VALUE_H

#include "node/config.h"

struct config_range {
    uint64_t min;
    uint64_t max;
};

enum { CONFIG_WHY_BYTES_MAX = 256, CONFIG_ALLOWED_BYTES_MAX = 128 };

#define CONFIG_TYPES(X)                                                                                               \
    X(NUMBER) X(DURATION) X(SIZE) X(CHECK) X(LEVEL) X(FORMAT) X(PATH) X(ADDRESS) X(CLUSTER) X(PEERS)

/* config_parse_<TYPE>: @return false with `why`, a half sentence that follows the quoted value: "is no duration".
 * config_format_<TYPE>: the value as it would be written.
 * config_allowed_<TYPE>: what may be written, for people. */
#define X(type)                                                                                                       \
    bool config_parse_##type(const char *text, struct config_range range, config_type_##type *ret_value, char *why);   \
    void config_format_##type(const config_type_##type *value, char *ret_text, size_t size);                           \
    void config_allowed_##type(struct config_range range, char *ret_text, size_t size);
CONFIG_TYPES(X)
#undef X

#endif
