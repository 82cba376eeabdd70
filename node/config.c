/* The table of settings at work: defaults, one value from text, and the rules between settings. See config.h. */
#include "node/config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "node/address.h"
#include "node/config_value.h"
#include "protocol/assert.h"
#include "protocol/limits.h"

struct key_row {
    const char *name;
    const char *section;
    const char *fallback;
    const char *help;
};

static const struct key_row rows[CONFIG_KEYS_COUNT] = {
#define X(field, name, section, type, fallback, min, max, help) {name, section, fallback, help},
    CONFIG_KEYS(X)
#undef X
};

void config_error(struct config_errors *errors, const char *format, ...)
{
    if (errors->count < CONFIG_ERRORS_MAX) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(errors->text[errors->count], CONFIG_ERROR_BYTES_MAX, format, arguments);
        va_end(arguments);
    }
    errors->count++;
}

enum config_key config_key_find(const char *name)
{
    unsigned key = 0;
    while (key < CONFIG_KEYS_COUNT && strcmp(rows[key].name, name) != 0) {
        key++;
    }
    return (enum config_key)key;
}

const char *config_key_name(enum config_key key)
{
    return rows[key].name;
}

const char *config_key_section(enum config_key key)
{
    return rows[key].section;
}

const char *config_key_help(enum config_key key)
{
    return rows[key].help;
}

const char *config_key_default(enum config_key key)
{
    return rows[key].fallback;
}

const char *config_key_variable(enum config_key key, char ret_name[64])
{
    (void)snprintf(ret_name, 64, "LOCKSTEPD_%s", rows[key].name);
    for (char *at = ret_name; *at != '\0'; at++) {
        if (*at == '-') {
            *at = '_';
        } else if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
    }
    return ret_name;
}

const char *config_key_allowed(enum config_key key, char ret_text[CONFIG_ALLOWED_BYTES_MAX])
{
    switch (key) {
#define X(field, name, section, type, fallback, min, max, help)                                         \
    case CONFIG_KEY_##field:                                                                            \
        config_allowed_##type((struct config_range){(min), (max)}, ret_text, CONFIG_ALLOWED_BYTES_MAX); \
        break;
        CONFIG_KEYS(X)
#undef X
    case CONFIG_KEYS_COUNT:
    default:
        LOCKSTEP_ASSERT(key < CONFIG_KEYS_COUNT);
    }
    return ret_text;
}

const char *config_value_text(const struct config *config, enum config_key key, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    if (config->origins[key].source == CONFIG_DEFAULT && rows[key].fallback[0] == '\0') {
        return ret_text; /* not set */
    }
    switch (key) {
#define X(field, name, section, type, fallback, min, max, help) \
    case CONFIG_KEY_##field:                                    \
        config_format_##type(&config->field, ret_text, size);   \
        break;
        CONFIG_KEYS(X)
#undef X
    case CONFIG_KEYS_COUNT:
    default:
        LOCKSTEP_ASSERT(key < CONFIG_KEYS_COUNT);
    }
    return ret_text;
}

bool config_set(struct config *config, enum config_key key, const char *value, struct config_origin origin,
                const char *what, struct config_errors *errors)
{
    char why[CONFIG_WHY_BYTES_MAX] = "";
    char allowed[CONFIG_ALLOWED_BYTES_MAX];
    bool ok = false;
    switch (key) {
#define X(field, name, section, type, fallback, min, max, help)                                    \
    case CONFIG_KEY_##field:                                                                       \
        ok = config_parse_##type(value, (struct config_range){(min), (max)}, &config->field, why); \
        break;
        CONFIG_KEYS(X)
#undef X
    case CONFIG_KEYS_COUNT:
    default:
        LOCKSTEP_ASSERT(key < CONFIG_KEYS_COUNT);
    }
    if (!ok) {
        config_error(errors, "%s: \"%.200s\" %s; allowed: %s", what, value, why,
                     config_key_allowed(key, allowed));
        config->refused[key] = true;
        return false;
    }
    config->origins[key] = origin;
    return true;
}

void config_defaults(struct config *config)
{
    struct config_errors errors = {.count = 0};
    memset(config, 0, sizeof(*config));
    for (unsigned key = 0; key < CONFIG_KEYS_COUNT; key++) {
        if (rows[key].fallback[0] != '\0') {
            (void)config_set(config, (enum config_key)key, rows[key].fallback,
                             (struct config_origin){CONFIG_DEFAULT, 0}, rows[key].name, &errors);
        }
    }
    LOCKSTEP_ASSERT(errors.count == 0);
}

/* Where a setting came from, for an error that is found after all were read. */
static const char *place(const struct config *config, enum config_key key,
                         char ret_text[CONFIG_TEXT_BYTES_MAX + 128])
{
    const struct config_origin *origin = &config->origins[key];
    char variable[64];
    switch (origin->source) {
    case CONFIG_FILE:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 128, "%s:%u: %s", config->file.text, origin->line,
                       rows[key].name);
        break;
    case CONFIG_ENVIRONMENT:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 128, "%s", config_key_variable(key, variable));
        break;
    case CONFIG_FLAG:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 128, "--%s", rows[key].name);
        break;
    case CONFIG_DEFAULT:
    default:
        (void)snprintf(ret_text, CONFIG_TEXT_BYTES_MAX + 128, "%s", rows[key].name);
        break;
    }
    return ret_text;
}

static void check_required(const struct config *config, enum config_key key, struct config_errors *errors)
{
    char variable[64];
    if (config->origins[key].source == CONFIG_DEFAULT && !config->refused[key] && !config->guessing) {
        config_error(errors, "%s is not set: write it in section [%s] of the file, as --%s or as %s%s",
                     rows[key].name, rows[key].section, rows[key].name, config_key_variable(key, variable),
                     key == CONFIG_KEY_node_id ? "; or use --dev for a node to try things with" : "");
    }
}

static void check_times(const struct config *config, struct config_errors *errors)
{
    char where[CONFIG_TEXT_BYTES_MAX + 128];
    if (config->heartbeat > config->election_timeout / 3) {
        config_error(errors,
                     "%s: %" PRIu64 "ms is more than a third of election-timeout, %" PRIu64
                     "ms; allowed: at most %" PRIu64 "ms, or a longer election-timeout",
                     place(config, CONFIG_KEY_heartbeat, where), config->heartbeat, config->election_timeout,
                     config->election_timeout / 3);
    }
    if (config->idle_timeout < 3 * config->client_heartbeat) {
        config_error(errors,
                     "%s: %" PRIu64 "ms is less than three times client-heartbeat, %" PRIu64
                     "ms; allowed: at least %" PRIu64 "ms, or a shorter client-heartbeat",
                     place(config, CONFIG_KEY_idle_timeout, where), config->idle_timeout,
                     config->client_heartbeat, 3 * config->client_heartbeat);
    }
}

static void check_peers(const struct config *config, struct config_errors *errors)
{
    char where[CONFIG_TEXT_BYTES_MAX + 128];
    bool found = config->peers.count == 0;
    for (unsigned i = 0; i < config->peers.count; i++) {
        found = found || config->peers.members[i].node_id == config->node_id;
    }
    if (!found && config->origins[CONFIG_KEY_node_id].source != CONFIG_DEFAULT) {
        config_error(errors,
                     "%s: this node, %" PRIu64
                     ", is not in the list; allowed: a list of all nodes, this one included",
                     place(config, CONFIG_KEY_peers, where), config->node_id);
    }
}

static void check_ports(const struct config *config, struct config_errors *errors)
{
    char where[CONFIG_TEXT_BYTES_MAX + 128];
    struct address peer;
    bool parsed = address_parse(config->peer_listen.text, &peer);
    LOCKSTEP_ASSERT(parsed);
    if (peer.port == 0 && !config->dev) {
        config_error(
            errors, "%s: port 0 is for --dev only, because the other nodes must know it; allowed: 1 to 65535",
            place(config, CONFIG_KEY_peer_listen, where));
    }
    if (strcmp(config->listen.text, config->peer_listen.text) == 0 && peer.port != 0) {
        config_error(errors, "%s: %s is the address for clients already; allowed: another port",
                     place(config, CONFIG_KEY_peer_listen, where), config->peer_listen.text);
    }
}

void config_check(struct config *config, struct config_errors *errors)
{
    char where[CONFIG_TEXT_BYTES_MAX + 128];
    check_required(config, CONFIG_KEY_node_id, errors);
    check_required(config, CONFIG_KEY_cluster, errors);
    if (!config->dev) {
        check_required(config, CONFIG_KEY_data_dir, errors);
    } else if (config->peers.count > 0) {
        config_error(errors, "%s: a node of --dev is alone; allowed: one of the two",
                     place(config, CONFIG_KEY_peers, where));
    }
    check_times(config, errors);
    check_peers(config, errors);
    check_ports(config, errors);
}

/* ---- doubts ---- */

static bool loopback(const struct address *address)
{
    return strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0 ||
           strcmp(address->host, "localhost") == 0;
}

/* @param told  what this node's entry in peers tells the others. Its host may be a name or that of a translating router, so
 *              that only a loopback address can be held against the setting. */
static void doubt_address(const struct config *config, enum config_key key, const char *listen,
                          const char *told, const char *who, struct config_errors *ret_doubts)
{
    char where[CONFIG_TEXT_BYTES_MAX + 128];
    struct address own;
    struct address entry;
    bool parsed = address_parse(listen, &own) && address_parse(told, &entry);
    LOCKSTEP_ASSERT(parsed);
    const char *why = own.port != 0 && own.port != entry.port ? "another port"
                      : loopback(&own) && !loopback(&entry)   ? "not an address of the loopback"
                                                              : NULL;
    if (why != NULL) {
        config_error(
            ret_doubts,
            "%s: this node listens at %s, and its entry in peers sends %s to %s, which is %s: nobody arrives "
            "unless something forwards it",
            place(config, key, where), listen, who, told, why);
    }
}

void config_doubts(const struct config *config, struct config_errors *ret_doubts)
{
    for (unsigned i = 0; i < config->peers.count; i++) {
        const struct replica_member *member = &config->peers.members[i];
        if (member->node_id == config->node_id) {
            doubt_address(config, CONFIG_KEY_listen, config->listen.text, member->client_address, "clients",
                          ret_doubts);
            doubt_address(config, CONFIG_KEY_peer_listen, config->peer_listen.text, member->peer_address,
                          "the other nodes", ret_doubts);
        }
    }
}

/* What --dev sets, where nothing else did: below every other source. */
static void dev_defaults(struct config *config)
{
    static const struct {
        enum config_key key;
        const char *value;
    } values[] = {
        {CONFIG_KEY_node_id, "1"}, {CONFIG_KEY_cluster, "dev"}, {CONFIG_KEY_peer_listen, "127.0.0.1:0"}};
    struct config_errors errors = {.count = 0};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (config->origins[values[i].key].source == CONFIG_DEFAULT) {
            (void)config_set(config, values[i].key, values[i].value, (struct config_origin){CONFIG_FLAG, 0},
                             "--dev", &errors);
        }
    }
    LOCKSTEP_ASSERT(errors.count == 0);
}

static const char *variable_value(char *const *environment, const char *name)
{
    size_t size = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=') {
            return *environment + size + 1;
        }
    }
    return NULL;
}

enum config_action config_load(struct config *config, int argc, char **argv, char *const *environment,
                               struct config_errors *errors)
{
    /* The flags are read twice: first for the file's name, and once more over the file and the environment. Mistakes in
     * them are told once. */
    struct config first;
    struct config_errors ignored = {.count = 0};
    config_defaults(&first);
    (void)config_read_flags(&first, argc, argv, &ignored);
    const char *file =
        first.file.text[0] != '\0' ? first.file.text : variable_value(environment, "LOCKSTEPD_CONFIG");

    config_defaults(config);
    if (file != NULL) {
        config_read_file(config, file, errors);
    }
    config_read_environment(config, environment, errors);
    enum config_action action = config_read_flags(config, argc, argv, errors);
    if (config->dev) {
        dev_defaults(config);
    }
    config_check(config, errors);
    return action;
}
