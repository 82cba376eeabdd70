/* See config_value.h. Numbers are whole, decimal and without a sign; durations and sizes carry their unit, because a
 * bare 5 is read as seconds by one person and as milliseconds by the next. */
#include "node/config_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <xxhash.h>

#include "node/address.h"
#include "node/logger.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"h", CONFIG_HOUR}, {"m", CONFIG_MINUTE}, {"s", CONFIG_SECOND}, {"ms", 1}, {NULL, 0}};
static const struct unit size_units[] = {
    {"TiB", CONFIG_TIB}, {"GiB", CONFIG_GIB}, {"MiB", CONFIG_MIB}, {"KiB", CONFIG_KIB}, {"B", 1}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static const char *const level_names[] = {"error", "warning", "info", "debug", NULL};
static const char *const format_names[] = {"logfmt", "json", NULL};
static const char *const check_names[] = {"off", "sampled", "always", NULL};

static bool refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why, CONFIG_WHY_BYTES_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- numbers with and without units ---- */

static void quantity_format(uint64_t value, const struct unit *units, char *ret_text, size_t size)
{
    const struct unit *unit = units;
    while (unit[1].name != NULL && (value == 0 || value % unit->factor != 0)) {
        unit++;
    }
    (void)snprintf(ret_text, size, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

static bool digits_parse(const char *text, size_t digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return digits > 0;
}

static bool quantity_parse(const char *text, const struct unit *units, const char *noun,
                           struct config_range range, uint64_t *ret_value, char *why)
{
    size_t digits = strspn(text, "0123456789");
    const struct unit *unit = units;
    uint64_t number = 0;
    char min[32];
    char max[32];
    while (unit->name != NULL && strcmp(unit->name, text + digits) != 0) {
        unit++;
    }
    if (digits == 0 || unit->name == NULL) {
        return refuse(why, "is no %s", noun);
    }
    quantity_format(range.min, units, min, sizeof(min));
    quantity_format(range.max, units, max, sizeof(max));
    if (!digits_parse(text, digits, &number) || number > UINT64_MAX / unit->factor ||
        number * unit->factor > range.max) {
        return refuse(why, "is more than %s", max);
    }
    if (number * unit->factor < range.min) {
        return refuse(why, "is less than %s", min);
    }
    *ret_value = number * unit->factor;
    return true;
}

static void quantity_allowed(const struct unit *units, const char *how, struct config_range range,
                             char *ret_text, size_t size)
{
    char min[32];
    char max[32];
    quantity_format(range.min, units, min, sizeof(min));
    quantity_format(range.max, units, max, sizeof(max));
    (void)snprintf(ret_text, size, "%s%s to %s", how, min, max);
}

bool config_parse_NUMBER(const char *text, struct config_range range, config_type_NUMBER *ret_value,
                         char *why)
{
    return quantity_parse(text, no_units, "whole number", range, ret_value, why);
}
void config_format_NUMBER(const config_type_NUMBER *value, char *ret_text, size_t size)
{
    quantity_format(*value, no_units, ret_text, size);
}
void config_allowed_NUMBER(struct config_range range, char *ret_text, size_t size)
{
    quantity_allowed(no_units, "", range, ret_text, size);
}

bool config_parse_DURATION(const char *text, struct config_range range, config_type_DURATION *ret_value,
                           char *why)
{
    return quantity_parse(text, duration_units, "duration such as 500ms, 30s, 5m or 2h", range, ret_value,
                          why);
}
void config_format_DURATION(const config_type_DURATION *value, char *ret_text, size_t size)
{
    quantity_format(*value, duration_units, ret_text, size);
}
void config_allowed_DURATION(struct config_range range, char *ret_text, size_t size)
{
    quantity_allowed(duration_units, "", range, ret_text, size);
}

bool config_parse_SIZE(const char *text, struct config_range range, config_type_SIZE *ret_value, char *why)
{
    return quantity_parse(text, size_units, "size such as 64KiB, 16MiB or 1GiB", range, ret_value, why);
}
void config_format_SIZE(const config_type_SIZE *value, char *ret_text, size_t size)
{
    quantity_format(*value, size_units, ret_text, size);
}
void config_allowed_SIZE(struct config_range range, char *ret_text, size_t size)
{
    quantity_allowed(size_units, "", range, ret_text, size);
}

/* ---- one of a few words ---- */

static bool choice_parse(const char *text, const char *const *names, uint64_t *ret_value, char *why)
{
    for (uint64_t i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_value = i;
            return true;
        }
    }
    return refuse(why, "is none of them");
}

static void choice_allowed(const char *const *names, char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; names[i] != NULL && used < size; i++) {
        const char *before = i == 0 ? "" : names[i + 1] == NULL ? " or " : ", ";
        used += (size_t)snprintf(ret_text + used, size - used, "%s%s", before, names[i]);
    }
}

#define CHOICE(type, names)                                                                              \
    bool config_parse_##type(const char *text, struct config_range range, config_type_##type *ret_value, \
                             char *why)                                                                  \
    {                                                                                                    \
        (void)range;                                                                                     \
        return choice_parse(text, names, ret_value, why);                                                \
    }                                                                                                    \
    void config_format_##type(const config_type_##type *value, char *ret_text, size_t size)              \
    {                                                                                                    \
        (void)snprintf(ret_text, size, "%s", (names)[*value]);                                           \
    }                                                                                                    \
    void config_allowed_##type(struct config_range range, char *ret_text, size_t size)                   \
    {                                                                                                    \
        (void)range;                                                                                     \
        choice_allowed(names, ret_text, size);                                                           \
    }
CHOICE(CHECK, check_names)
CHOICE(LEVEL, level_names)
CHOICE(FORMAT, format_names)

/* ---- texts ---- */

bool config_parse_PATH(const char *text, struct config_range range, config_type_PATH *ret_value, char *why)
{
    (void)range;
    if (text[0] == '\0') {
        return refuse(why, "is empty");
    }
    if (strlen(text) > CONFIG_TEXT_BYTES_MAX) {
        return refuse(why, "is longer than %d bytes", CONFIG_TEXT_BYTES_MAX);
    }
    if (text[0] == '"' || text[0] == '\'') {
        return refuse(why, "has quotes, which would be part of the path");
    }
    if (strstr(text, " #") != NULL || strstr(text, "\t#") != NULL) {
        return refuse(why, "has a # behind a blank, which would be part of the path: a comment has a line of its own");
    }
    if (text[0] != '/') { /* it would be another directory whenever the process is started elsewhere */
        return refuse(why, "does not begin at the root");
    }
    (void)snprintf(ret_value->text, sizeof(ret_value->text), "%s", text);
    return true;
}
void config_format_PATH(const config_type_PATH *value, char *ret_text, size_t size)
{
    (void)snprintf(ret_text, size, "%s", value->text);
}
void config_allowed_PATH(struct config_range range, char *ret_text, size_t size)
{
    (void)range;
    (void)snprintf(ret_text, size, "an absolute path, /…, without quotes");
}

bool config_parse_ADDRESS(const char *text, struct config_range range, config_type_ADDRESS *ret_value,
                          char *why)
{
    struct address address;
    (void)range;
    if (!address_parse(text, &address)) {
        return refuse(why, "is no address");
    }
    (void)snprintf(ret_value->text, sizeof(ret_value->text), "%s", text);
    return true;
}
void config_format_ADDRESS(const config_type_ADDRESS *value, char *ret_text, size_t size)
{
    (void)snprintf(ret_text, size, "%s", value->text);
}
void config_allowed_ADDRESS(struct config_range range, char *ret_text, size_t size)
{
    (void)range;
    (void)snprintf(ret_text, size, "host:port or [v6]:port, with a port up to 65535");
}

bool config_parse_CLUSTER(const char *text, struct config_range range, config_type_CLUSTER *ret_value,
                          char *why)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t size = strlen(text);
    uint64_t id = 0;
    (void)range;
    if (size == 0 || size > CONFIG_CLUSTER_BYTES_MAX || strspn(text, characters) != size) {
        return refuse(why, "is no name of a cluster");
    }
    if (strspn(text, "0123456789") != size) {
        id = XXH3_64bits(text, size);
        id = id == 0 ? 1 : id; /* 0 means any cluster on the wire */
    } else if (!digits_parse(text, size, &id) || id == 0) {
        return refuse(why, "is no id of a cluster");
    }
    (void)snprintf(ret_value->name, sizeof(ret_value->name), "%s", text);
    ret_value->id = id;
    return true;
}
void config_format_CLUSTER(const config_type_CLUSTER *value, char *ret_text, size_t size)
{
    (void)snprintf(ret_text, size, "%s", value->name);
}
void config_allowed_CLUSTER(struct config_range range, char *ret_text, size_t size)
{
    (void)range;
    (void)snprintf(ret_text, size, "1 to %d of [A-Za-z0-9._-], or a number from 1 to 18446744073709551615",
                   CONFIG_CLUSTER_BYTES_MAX);
}

/* ---- the list of nodes ---- */

/* Copy up to `end` without the blanks around it. */
static bool part_copy(const char *begin, const char *end, char *ret_text, size_t size)
{
    while (begin < end && (*begin == ' ' || *begin == '\t')) {
        begin++;
    }
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    if ((size_t)(end - begin) >= size) {
        return false;
    }
    memcpy(ret_text, begin, (size_t)(end - begin));
    ret_text[end - begin] = '\0';
    return true;
}

/* An address that others are to connect to: not a wildcard, and with a port. Port 0 stays for what is found out later. */
static bool peer_address_parse(const char *text, char *why)
{
    struct address address;
    if (!address_parse(text, &address)) {
        return refuse(why, "has \"%.80s\", which is no address", text);
    }
    if (address_wildcard(&address)) {
        return refuse(why, "has \"%.80s\", which no other machine can connect to", text);
    }
    if (address.port == 0) {
        return refuse(why, "has \"%.80s\", and port 0 can not be connected to", text);
    }
    return true;
}

static bool member_parse(const char *text, struct replica_member *member, char *why)
{
    const char *equals = strchr(text, '=');
    const char *slash = strchr(text, '/');
    char id[24];
    if (equals == NULL || slash == NULL || slash < equals || !part_copy(text, equals, id, sizeof(id)) ||
        !digits_parse(id, strspn(id, "0123456789") == strlen(id) ? strlen(id) : 0, &member->node_id)) {
        return refuse(why, "has \"%.80s\", which is no id=peer address/client address", text);
    }
    if (member->node_id == 0 || member->node_id > INT64_MAX) {
        return refuse(why, "has a node id that is not in 1 to %" PRIi64, INT64_MAX);
    }
    if (!part_copy(equals + 1, slash, member->peer_address, sizeof(member->peer_address)) ||
        !part_copy(slash + 1, text + strlen(text), member->client_address, sizeof(member->client_address))) {
        return refuse(why, "has an address of more than %d bytes", REPLICA_ADDRESS_BYTES_MAX);
    }
    member->voter = true;
    return peer_address_parse(member->peer_address, why) && peer_address_parse(member->client_address, why);
}

/* Two nodes with one id, or two at one address, would be a cluster that counts one machine twice; and where nodes are listened to,
 * clients are not. */
static bool member_unique(const struct config_peers *peers, const struct replica_member *member, char *why)
{
    if (strcmp(member->peer_address, member->client_address) == 0) {
        return refuse(why, "gives node %" PRIu64 " one address for nodes and for clients", member->node_id);
    }
    for (unsigned i = 0; i < peers->count; i++) {
        if (peers->members[i].node_id == member->node_id) {
            return refuse(why, "names node %" PRIu64 " twice", member->node_id);
        }
        const struct replica_member *other = &peers->members[i];
        if (strcmp(other->peer_address, member->peer_address) == 0 ||
            strcmp(other->client_address, member->client_address) == 0 ||
            strcmp(other->peer_address, member->client_address) == 0 ||
            strcmp(other->client_address, member->peer_address) == 0) {
            return refuse(why, "gives nodes %" PRIu64 " and %" PRIu64 " the same address",
                          other->node_id, member->node_id);
        }
    }
    return true;
}

bool config_parse_PEERS(const char *text, struct config_range range, config_type_PEERS *ret_value, char *why)
{
    struct config_peers peers = {.count = 0};
    const char *at = text;
    (void)range;
    for (bool more = true; more;) {
        struct replica_member member = {.node_id = 0};
        char part[2 * REPLICA_ADDRESS_BYTES_MAX + 64];
        const char *comma = strchrnul(at, ',');
        if (!part_copy(at, comma, part, sizeof(part))) {
            return refuse(why, "has an entry of more than %zu bytes", sizeof(part) - 1);
        }
        if (!member_parse(part, &member, why) || !member_unique(&peers, &member, why)) {
            return false;
        }
        if (peers.count == REPLICA_MEMBERS_MAX) {
            return refuse(why, "names more than %d nodes", REPLICA_MEMBERS_MAX);
        }
        peers.members[peers.count++] = member;
        more = *comma == ',';
        at = comma + 1;
    }
    *ret_value = peers;
    return true;
}
void config_format_PEERS(const config_type_PEERS *value, char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (unsigned i = 0; i < value->count && used < size; i++) {
        const struct replica_member *member = &value->members[i];
        used += (size_t)snprintf(ret_text + used, size - used, "%s%" PRIu64 "=%s/%s", i == 0 ? "" : ",",
                                 member->node_id, member->peer_address, member->client_address);
    }
}
void config_allowed_PEERS(struct config_range range, char *ret_text, size_t size)
{
    (void)range;
    (void)snprintf(ret_text, size, "id=host:peer port/host:client port, … of at most %d nodes",
                   REPLICA_MEMBERS_MAX);
}
