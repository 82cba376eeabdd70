/* A lock as text: "ls1-<session id>-<secret>-<token>-<fence>-<key>", numbers in lower-case hexadecimal without leading zeros,
 * the secret as 32 hexadecimal digits. The key comes last because it may contain '-'. */
#ifndef LOCKSTEP_CLIENT_HANDLE_H
#define LOCKSTEP_CLIENT_HANDLE_H

#include "protocol/message.h"

struct handle {
    uint64_t session_id;
    uint64_t token;
    uint64_t fence;
    uint8_t secret[PROTO_SECRET_BYTES];
    char key[PROTO_KEY_BYTES_MAX + 1];
};

/* LOCKSTEP_OK or LOCKSTEP_INVALID with its sentence, which never shows the secret. */
int handle_parse(struct handle *ret, const char *text);
/* LOCKSTEP_INVALID if the buffer is too small. */
int handle_format(const struct handle *handle, char *buffer, size_t size);

#endif
