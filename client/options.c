/* Checks of everything that callers pass in, each with a sentence that names the field and what is allowed. Nothing that
 * passes here is refused by a node for its form. */
#include "client/options.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/result.h"
#include "protocol/decode.h"

/* What the header allows is what the nodes take: so nothing that passes here is refused, and no text of theirs is cut. */
#define SAME(name) \
    _Static_assert((uint64_t)LOCKSTEP_##name == (uint64_t)PROTO_##name, "lockstep.h and protocol/limits.h agree on " #name)
SAME(KEY_BYTES_MAX);
SAME(OWNER_BYTES_MAX);
SAME(VALUE_BYTES_MAX);
SAME(REASON_BYTES_MAX);
SAME(ADDRESS_BYTES_MAX);
SAME(LIST_MAX);
SAME(PERMITS_MAX);
SAME(TTL_MS_MIN);
SAME(TTL_MS_MAX);
SAME(LOCK_DELAY_MS_MAX);
SAME(WAIT_MS_MAX);
#undef SAME

/* ---- addresses ---- */

static bool port_of(const char *text, uint16_t *ret_port)
{
    char *end = NULL;
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length) {
        return false;
    }
    unsigned long port = strtoul(text, &end, 10);
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

bool address_split(const char *text, char *host, uint16_t *ret_port)
{
    size_t length = strlen(text);
    const char *colon = strrchr(text, ':');
    if (length > PROTO_ADDRESS_BYTES_MAX || colon == NULL || !port_of(colon + 1, ret_port)) {
        return false;
    }
    const char *begin = text;
    const char *end = colon;
    bool bracketed = *text == '[';
    if (bracketed) {
        begin++;
        end--;
        if (end <= begin || *end != ']') {
            return false;
        }
    }
    size_t size = (size_t)(end - begin);
    const char *allowed = bracketed ? "0123456789abcdefABCDEF:.%_-ghijklmnopqrstuvwxyz"
                                    : "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
    if (end <= begin || strspn(begin, allowed) < size) {
        return false;
    }
    memcpy(host, begin, size);
    host[size] = '\0';
    return true;
}

bool address_valid(const char *text)
{
    char host[PROTO_ADDRESS_BYTES_MAX + 1];
    uint16_t port = 0;
    return address_split(text, host, &port);
}

/* ---- clients ---- */

void lockstep_options_init_sized(struct lockstep_options *options, size_t size)
{
    struct lockstep_options defaults = {
        .size = size,
        .session_ttl_ms = 10000,
        .request_timeout_ms = 10000,
        .connect_timeout_ms = 2000,
        .drift_ppm = 1000,
        .lost_lead_ms = -1,
    };
    memset(options, 0, size);
    memcpy(options, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}

static int in_range(const char *name, int64_t value, int64_t min, int64_t max, uint64_t *ret)
{
    if (value < min || value > max) {
        return result_set(LOCKSTEP_INVALID, "%s: %" PRId64 " is not within %" PRId64 " .. %" PRId64, name, value, min, max);
    }
    *ret = (uint64_t)value;
    return LOCKSTEP_OK;
}

static int split_endpoints(struct client_options *ret, const char *endpoints)
{
    if (endpoints == NULL || endpoints[0] == '\0') {
        return result_set(LOCKSTEP_INVALID, "endpoints: at least one \"host:port\" is needed");
    }
    ret->text = strdup(endpoints);
    if (ret->text == NULL) {
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for the endpoints");
    }
    char *rest = ret->text;
    while (rest != NULL) {
        char *at = rest;
        rest = strchr(at, ',');
        if (rest != NULL) {
            *rest++ = '\0';
        }
        at += strspn(at, " ");
        size_t length = strcspn(at, " ");
        if (at[length + strspn(at + length, " ")] == '\0') { /* else it is no address: nothing is passed over unsaid */
            at[length] = '\0';
        }
        if (!address_valid(at)) {
            return result_set(LOCKSTEP_INVALID,
                              "endpoints: \"%.100s\" is not \"host:port\" or \"[v6]:port\" with a port of 1 .. 65535", at);
        }
        if (ret->config.endpoints_count == LOCKSTEP_ENDPOINTS_MAX) {
            return result_set(LOCKSTEP_INVALID, "endpoints: more than %d", LOCKSTEP_ENDPOINTS_MAX);
        }
        ret->endpoints[ret->config.endpoints_count++] = at;
    }
    ret->config.endpoints = ret->endpoints;
    return LOCKSTEP_OK;
}

static int choose_owner(struct client_options *ret, const char *owner)
{
    if (owner == NULL) {
        char host[65] = "";
        char names[1024];
        struct passwd entry;
        struct passwd *user = NULL;
        (void)gethostname(host, sizeof(host) - 1); /* without a name it is shown without one */
        (void)getpwuid_r(geteuid(), &entry, names, sizeof(names), &user);
        (void)snprintf(ret->owner, sizeof(ret->owner), "%.40s@%.64s:%ld", user == NULL ? "?" : user->pw_name, host,
                       (long)getpid());
        owner = ret->owner;
        if (!proto_text_valid((struct proto_bytes){(const uint8_t *)owner, (uint32_t)strlen(owner)}, 0,
                              PROTO_OWNER_BYTES_MAX)) {
            (void)snprintf(ret->owner, sizeof(ret->owner), "%ld", (long)getpid());
        }
    } else {
        size_t length = strlen(owner);
        if (length > PROTO_OWNER_BYTES_MAX || !proto_text_valid((struct proto_bytes){(const uint8_t *)owner, (uint32_t)length}, 0,
                                                                PROTO_OWNER_BYTES_MAX)) {
            return result_set(LOCKSTEP_INVALID, "owner: at most %d bytes of printable UTF-8", PROTO_OWNER_BYTES_MAX);
        }
        memcpy(ret->owner, owner, length + 1);
    }
    ret->config.owner = ret->owner;
    return LOCKSTEP_OK;
}

static int choose_times(struct lsc_config *config, const struct lockstep_options *options)
{
    uint64_t drift_ppm = 0;
    int result = in_range("session_ttl_ms", options->session_ttl_ms, LOCKSTEP_TTL_MS_MIN, LOCKSTEP_TTL_MS_MAX,
                          &config->session_ttl_ms);
    if (result == LOCKSTEP_OK) {
        result = in_range("lock_delay_ms", options->lock_delay_ms, 0, LOCKSTEP_LOCK_DELAY_MS_MAX, &config->lock_delay_ms);
    }
    if (result == LOCKSTEP_OK) {
        result = in_range("request_timeout_ms", options->request_timeout_ms, 1, LOCKSTEP_TTL_MS_MAX,
                          &config->request_timeout_ms);
    }
    if (result == LOCKSTEP_OK) {
        result = in_range("connect_timeout_ms", options->connect_timeout_ms, 1, LOCKSTEP_TTL_MS_MAX,
                          &config->connect_timeout_ms);
    }
    if (result == LOCKSTEP_OK) {
        result = in_range("drift_ppm", options->drift_ppm, 0, 100000, &drift_ppm);
    }
    if (result == LOCKSTEP_OK && options->lost_lead_ms != -1) {
        result = in_range("lost_lead_ms", options->lost_lead_ms, 0, options->session_ttl_ms / 2, &config->lost_lead_ms);
    } else {
        config->lost_lead_ms = LSC_LEAD_AUTO;
    }
    config->drift_ppm = (uint32_t)drift_ppm;
    return result;
}

int options_init(struct client_options *ret, const struct lockstep_options *options)
{
    struct lockstep_options known;
    memset(ret, 0, sizeof(*ret));
    if (options == NULL || options->size < offsetof(struct lockstep_options, owner)) {
        return result_set(LOCKSTEP_INVALID, "options: to be set up by lockstep_options_init()");
    }
    lockstep_options_init(&known);
    memcpy(&known, options, options->size < sizeof(known) ? options->size : sizeof(known));
    ret->config.cluster_id = known.cluster_id;
    ret->on_session_lost = known.on_session_lost;
    ret->on_session_lost_arg = known.on_session_lost_arg;
    int result = choose_times(&ret->config, &known);
    if (result == LOCKSTEP_OK) {
        result = choose_owner(ret, known.owner);
    }
    if (result == LOCKSTEP_OK) {
        result = split_endpoints(ret, known.endpoints);
    }
    if (result != LOCKSTEP_OK) {
        options_done(ret);
    }
    return result;
}

void options_done(struct client_options *options)
{
    free(options->text);
    options->text = NULL;
}

/* ---- operations ---- */

int options_key(const char *key, struct proto_bytes *ret_key)
{
    size_t length = key == NULL ? 0 : strnlen(key, PROTO_KEY_BYTES_MAX + 1);
    struct proto_bytes bytes = {(const uint8_t *)key, (uint32_t)length};
    if (length == 0 || length > PROTO_KEY_BYTES_MAX || !proto_key_valid(bytes)) {
        return result_set(LOCKSTEP_INVALID, "key: 1 .. %d bytes of [A-Za-z0-9._:/@-]", PROTO_KEY_BYTES_MAX);
    }
    *ret_key = bytes;
    return LOCKSTEP_OK;
}

int options_key_part(const char *name, const char *text, struct proto_bytes *ret)
{
    size_t length = text == NULL ? 0 : strnlen(text, PROTO_KEY_BYTES_MAX + 1);
    struct proto_bytes bytes = {(const uint8_t *)text, (uint32_t)length};
    if (length > PROTO_KEY_BYTES_MAX || (length > 0 && !proto_key_valid(bytes))) {
        return result_set(LOCKSTEP_INVALID, "%s: at most %d bytes of [A-Za-z0-9._:/@-]", name, PROTO_KEY_BYTES_MAX);
    }
    *ret = bytes;
    return LOCKSTEP_OK;
}

int options_ttl(const char *name, int64_t ttl_ms, bool zero_is_fine, uint64_t *ret_ttl_ms)
{
    if (ttl_ms == 0 && zero_is_fine) {
        *ret_ttl_ms = 0;
        return LOCKSTEP_OK;
    }
    return in_range(name, ttl_ms, LOCKSTEP_TTL_MS_MIN, LOCKSTEP_TTL_MS_MAX, ret_ttl_ms);
}

int options_value(const void *value, size_t value_bytes, struct proto_bytes *ret_value)
{
    if (value_bytes > PROTO_VALUE_BYTES_MAX || (value == NULL && value_bytes > 0)) {
        return result_set(LOCKSTEP_INVALID, "value: 0 .. %d bytes", PROTO_VALUE_BYTES_MAX);
    }
    *ret_value = (struct proto_bytes){value, (uint32_t)value_bytes};
    return LOCKSTEP_OK;
}

int options_reason(const char *reason, struct proto_bytes *ret_reason)
{
    size_t length = reason == NULL ? 0 : strnlen(reason, PROTO_REASON_BYTES_MAX + 1);
    struct proto_bytes bytes = {(const uint8_t *)reason, (uint32_t)length};
    if (length == 0 || length > PROTO_REASON_BYTES_MAX || !proto_text_valid(bytes, 1, PROTO_REASON_BYTES_MAX)) {
        return result_set(LOCKSTEP_INVALID, "reason: 1 .. %d bytes of printable UTF-8", PROTO_REASON_BYTES_MAX);
    }
    *ret_reason = bytes;
    return LOCKSTEP_OK;
}

int options_page(uint32_t max)
{
    if (max < 1 || max > PROTO_LIST_MAX) {
        return result_set(LOCKSTEP_INVALID, "max: 1 .. %d rows", PROTO_LIST_MAX);
    }
    return LOCKSTEP_OK;
}

/* ---- acquiring ---- */

void lockstep_acquire_options_init_sized(struct lockstep_acquire_options *options, size_t size)
{
    struct lockstep_acquire_options defaults = {.size = size, .mode = LOCKSTEP_EXCLUSIVE, .permits = 1, .limit = 1};
    memset(options, 0, size);
    memcpy(options, &defaults, size < sizeof(defaults) ? size : sizeof(defaults));
}

struct lockstep_acquire_options options_acquire_known(const struct lockstep_acquire_options *options)
{
    struct lockstep_acquire_options known;
    lockstep_acquire_options_init(&known);
    if (options != NULL) {
        memcpy(&known, options, options->size < sizeof(known) ? options->size : sizeof(known));
    }
    return known;
}

static int choose_wait(int64_t wait_ms, uint64_t *ret_wait_ms)
{
    if (wait_ms == LOCKSTEP_FOREVER) {
        *ret_wait_ms = PROTO_WAIT_FOREVER;
        return LOCKSTEP_OK;
    }
    return in_range("wait_ms", wait_ms, 0, LOCKSTEP_WAIT_MS_MAX, ret_wait_ms);
}

static int choose_mode(const struct lockstep_acquire_options *options, struct proto_lock_acquire *ret_body)
{
    switch (options->mode) {
    case LOCKSTEP_EXCLUSIVE:
        ret_body->mode = PROTO_MODE_EXCLUSIVE;
        return LOCKSTEP_OK;
    case LOCKSTEP_SHARED:
        ret_body->mode = PROTO_MODE_SHARED;
        return LOCKSTEP_OK;
    case LOCKSTEP_PERMITS:
        ret_body->mode = PROTO_MODE_PERMITS;
        ret_body->permits = options->permits;
        ret_body->limit = options->limit;
        break;
    default:
        return result_set(LOCKSTEP_INVALID, "mode: exclusive, shared or permits");
    }
    if (options->limit < 1 || options->limit > PROTO_PERMITS_MAX || options->permits < 1 ||
        options->permits > options->limit) {
        return result_set(LOCKSTEP_INVALID, "permits: 1 .. limit, with a limit of 1 .. %d", PROTO_PERMITS_MAX);
    }
    return LOCKSTEP_OK;
}

int options_acquire(const char *key, const struct lockstep_acquire_options *options, struct proto_lock_acquire *ret_body)
{
    if (options != NULL && options->size < offsetof(struct lockstep_acquire_options, permits)) {
        return result_set(LOCKSTEP_INVALID, "options: to be set up by lockstep_acquire_options_init()");
    }
    struct lockstep_acquire_options known = options_acquire_known(options);
    *ret_body = (struct proto_lock_acquire){.reentrant = known.reentrant, .has_value = known.value != NULL};
    int result = options_key(key, &ret_body->key);
    if (result == LOCKSTEP_OK) {
        result = choose_mode(&known, ret_body);
    }
    if (result == LOCKSTEP_OK) {
        result = choose_wait(known.wait_ms, &ret_body->wait_ms);
    }
    if (result == LOCKSTEP_OK) {
        result = options_ttl("ttl_ms", known.ttl_ms, true, &ret_body->ttl_ms);
    }
    if (result == LOCKSTEP_OK) {
        result = options_value(known.value, known.value_bytes, &ret_body->value);
    }
    return result;
}
