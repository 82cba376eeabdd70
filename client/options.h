/* What callers pass in, checked and in the core's words. Each check names the field and what is allowed through
 * result_set(). */
#ifndef LOCKSTEP_CLIENT_OPTIONS_H
#define LOCKSTEP_CLIENT_OPTIONS_H

#include "client/core.h"

/* The text is "host:port" or "[v6]:port", with a port of 1..65535. */
bool address_valid(const char *text);
/* Take an address apart; `host` has PROTO_ADDRESS_BYTES_MAX + 1 bytes. @return false if it is none. */
bool address_split(const char *text, char *host, uint16_t *ret_port);

/* Options in the core's words. The strings of `config` live in here until options_done(). */
struct client_options {
    struct lsc_config config;
    lockstep_session_lost_cb on_session_lost;
    void *on_session_lost_arg;
    char *text; /* the endpoints, cut up */
    const char *endpoints[LOCKSTEP_ENDPOINTS_MAX];
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 1];
};
int options_init(struct client_options *ret, const struct lockstep_options *options);
void options_done(struct client_options *options);

/* The body of an acquire; its strings are the caller's. `options` may be NULL. */
int options_acquire(const char *key, const struct lockstep_acquire_options *options, struct proto_lock_acquire *ret_body);
/* The options as this version knows them, whatever the caller's header knew. */
struct lockstep_acquire_options options_acquire_known(const struct lockstep_acquire_options *options);

int options_key(const char *key, struct proto_bytes *ret_key);
int options_ttl(const char *name, int64_t ttl_ms, bool zero_is_fine, uint64_t *ret_ttl_ms);
int options_value(const void *value, size_t value_bytes, struct proto_bytes *ret_value);
int options_reason(const char *reason, struct proto_bytes *ret_reason);
int options_page(uint32_t max);
/* "" and NULL are empty. */
int options_key_part(const char *name, const char *text, struct proto_bytes *ret);

#endif
