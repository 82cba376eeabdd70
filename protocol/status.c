/* The table of answers as data. */
#include "protocol/status.h"

#include <stddef.h>

const struct proto_status_row *proto_status_find(uint64_t code)
{
    switch (code) {
#define X(enum_name, number, result, step, sentence)                                    \
    case number: {                                                                      \
        static const struct proto_status_row row = {.status = PROTO_STATUS_##enum_name, \
                                                    .name = #enum_name,                 \
                                                    .text = sentence,                   \
                                                    .outcome = PROTO_OUTCOME_##result,  \
                                                    .next = PROTO_NEXT_##step};         \
        return &row;                                                                    \
    }
        PROTO_STATUSES(X)
#undef X
    default:
        return NULL;
    }
}

const char *proto_status_name(uint64_t code)
{
    const struct proto_status_row *row = proto_status_find(code);
    return row != NULL ? row->name : "UNKNOWN_STATUS";
}
