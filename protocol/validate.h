/* The rules of fields that decoding and encoding share. Private to protocol/; the public ones are in decode.h. */
#ifndef LOCKSTEP_PROTOCOL_VALIDATE_H
#define LOCKSTEP_PROTOCOL_VALIDATE_H

#include "protocol/decode.h"

/* Each returns true, or false with `error` saying which field is out of bounds and what is allowed. */
bool validate_request(const struct proto_request *request, struct proto_error *error);
bool validate_request_body(enum proto_kind kind, const union proto_request_body *body, struct proto_error *error);

/* Fill `error`; always returns false, so that a check reads `return error_set(…)`. */
__attribute__((format(printf, 3, 4))) bool error_set(struct proto_error *error, enum proto_status status,
                                                     const char *format, ...);

#endif
