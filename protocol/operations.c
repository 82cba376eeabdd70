/* The table of operations as data. */
#include "protocol/operations.h"

#include <stddef.h>

const struct proto_operation *proto_operation_find(uint64_t kind)
{
    switch (kind) {
#define X(number, enum_name, text, function, sender, server, version)           \
    case number: {                                                              \
        static const struct proto_operation row = {.kind = PROTO_##enum_name,   \
                                                   .name = text,                \
                                                   .sent_by = PROTO_##sender,   \
                                                   .served_by = PROTO_##server, \
                                                   .since = version};           \
        return &row;                                                            \
    }
        PROTO_OPERATIONS(X)
#undef X
    default:
        return NULL;
    }
}
