/* See handle.h. Parsing is strict: what handle_format() would not have written is refused, so that a text that was cut or
 * edited is noticed here and not as another session at the cluster. */
#include "client/handle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/result.h"
#include "protocol/decode.h"

#define HANDLE_PREFIX "ls1-"

static int digit_of(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* A number and the '-' behind it. */
static bool take_number(const char **at, uint64_t *ret)
{
    uint64_t number = 0;
    unsigned digits = 0;
    for (; digit_of(**at) >= 0; (*at)++, digits++) {
        number = number << 4 | (uint64_t)digit_of(**at);
    }
    bool leading_zero = digits > 1 && (*at)[-(int)digits] == '0';
    if (digits == 0 || digits > 16 || leading_zero || **at != '-') {
        return false;
    }
    (*at)++;
    *ret = number;
    return true;
}

static bool take_secret(const char **at, uint8_t *secret)
{
    for (unsigned i = 0; i < PROTO_SECRET_BYTES; i++) {
        int high = digit_of((*at)[0]);
        int low = high < 0 ? -1 : digit_of((*at)[1]);
        if (low < 0) {
            return false;
        }
        secret[i] = (uint8_t)(high << 4 | low);
        *at += 2;
    }
    if (**at != '-') {
        return false;
    }
    (*at)++;
    return true;
}

int handle_parse(struct handle *ret, const char *text)
{
    struct handle handle = {0};
    const char *at = text == NULL ? "" : text;
    bool fine = strncmp(at, HANDLE_PREFIX, strlen(HANDLE_PREFIX)) == 0;
    if (fine) {
        at += strlen(HANDLE_PREFIX);
        fine = take_number(&at, &handle.session_id) && take_secret(&at, handle.secret) &&
               take_number(&at, &handle.token) && take_number(&at, &handle.fence);
    }
    size_t length = fine ? strnlen(at, PROTO_KEY_BYTES_MAX + 1) : 0;
    fine = fine && length > 0 && length <= PROTO_KEY_BYTES_MAX && handle.session_id > 0 && handle.token > 0 &&
           proto_key_valid((struct proto_bytes){(const uint8_t *)at, (uint32_t)length});
    if (!fine) {
        return result_set(LOCKSTEP_INVALID, "handle: not of the form ls1-SESSION-SECRET-TOKEN-FENCE-KEY");
    }
    memcpy(handle.key, at, length + 1);
    *ret = handle;
    return LOCKSTEP_OK;
}

int handle_format(const struct handle *handle, char *buffer, size_t size)
{
    char secret[2 * PROTO_SECRET_BYTES + 1];
    for (unsigned i = 0; i < PROTO_SECRET_BYTES; i++) {
        (void)snprintf(secret + (size_t)2 * i, 3, "%02x", handle->secret[i]);
    }
    int length = snprintf(buffer, size, HANDLE_PREFIX "%" PRIx64 "-%s-%" PRIx64 "-%" PRIx64 "-%s", handle->session_id,
                          secret, handle->token, handle->fence, handle->key);
    explicit_bzero(secret, sizeof(secret));
    if (length < 0 || (size_t)length >= size) {
        return result_set(LOCKSTEP_INVALID, "buffer: %d bytes are needed, LOCKSTEP_HANDLE_BYTES_MAX are always enough",
                          length + 1);
    }
    return LOCKSTEP_OK;
}

int lockstep_handle_parse(const char *text, uint64_t *ret_session_id, uint64_t *ret_token, uint64_t *ret_fence,
                          char *ret_key)
{
    struct handle handle;
    int result = handle_parse(&handle, text);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    if (ret_session_id != NULL) {
        *ret_session_id = handle.session_id;
    }
    if (ret_token != NULL) {
        *ret_token = handle.token;
    }
    if (ret_fence != NULL) {
        *ret_fence = handle.fence;
    }
    if (ret_key != NULL) {
        memcpy(ret_key, handle.key, strlen(handle.key) + 1);
    }
    explicit_bzero(handle.secret, sizeof(handle.secret));
    return result_set(LOCKSTEP_OK, "%s", "");
}
