/* Reads one line of a story. One function per verb in a table; every verb takes the same named arguments, collected
 * first, so that a new verb is a row and a few lines. Never touches the state machine. */
#include "tests/scenarios/story.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_TTL_MS = 60 * 1000 };

/* The named arguments of a line, whatever the verb. */
struct arguments {
    const char *key;
    const char *owner, *secret, *value, *reason, *prefix, *after;
    uint64_t ttl_ms, delay_ms, wait_ms, token, fence, id, floor, target, resume, permits, limit, max;
    bool has_ttl, has_id, has_floor, shared, exclusive, reentrant, all;
};

bool story_duration_parse(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}};
    char *end = NULL;
    uint64_t count = strtoull(text, &end, 10);
    if (end == text) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ret_ms = count * units[i].ms;
            return true;
        }
    }
    return false;
}

struct story_actor *story_actor(struct story *story, const char *name)
{
    for (unsigned i = 0; i < story->actors_count; i++) {
        if (strcmp(story->actors[i].name, name) == 0) {
            return &story->actors[i];
        }
    }
    if (story->actors_count == STORY_ACTORS_MAX || strlen(name) >= sizeof story->actors[0].name) {
        return NULL;
    }
    struct story_actor *actor = &story->actors[story->actors_count++];
    memset(actor, 0, sizeof *actor);
    (void)snprintf(actor->name, sizeof actor->name, "%s", name);
    /* Any bytes do, as long as two actors differ: the story is about the rules, not about SHA-256. */
    (void)snprintf((char *)actor->digest, sizeof actor->digest, "%s", name);
    return actor;
}

const char *story_actor_name(const struct story *story, uint64_t session_id)
{
    for (unsigned i = 0; session_id != 0 && i < story->actors_count; i++) {
        if (story->actors[i].session_id == session_id) {
            return story->actors[i].name;
        }
    }
    return "?";
}

static struct proto_bytes bytes_of(const char *text)
{
    if (text == NULL) {
        return (struct proto_bytes){NULL, 0};
    }
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

/* ---- arguments ---- */

static bool number_parse(const char *text, uint64_t *ret_number)
{
    char *end = NULL;
    *ret_number = strtoull(text, &end, 10);
    return end != text && *end == '\0';
}

static bool permits_parse(const char *text, struct arguments *arguments)
{
    return sscanf(text, "%" SCNu64 "/%" SCNu64, &arguments->permits, &arguments->limit) == 2;
}

static bool argument_named(const char *name, const char *text, struct arguments *a)
{
    struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {{"token", &a->token}, {"fence", &a->fence},   {"id", &a->id},
                   {"floor", &a->floor}, {"resume", &a->resume}, {"max", &a->max},
                   {"target", &a->target}};
    struct {
        const char *name;
        uint64_t *ms;
    } durations[] = {{"ttl", &a->ttl_ms}, {"delay", &a->delay_ms}, {"wait", &a->wait_ms}};
    struct {
        const char *name;
        const char **text;
    } texts[] = {{"owner", &a->owner},   {"secret", &a->secret}, {"value", &a->value},
                 {"reason", &a->reason}, {"prefix", &a->prefix}, {"after", &a->after}};
    a->has_ttl = a->has_ttl || strcmp(name, "ttl") == 0;
    a->has_id = a->has_id || strcmp(name, "id") == 0;
    a->has_floor = a->has_floor || strcmp(name, "floor") == 0;
    if (strcmp(name, "permits") == 0) {
        return permits_parse(text, a);
    }
    if (strcmp(name, "wait") == 0 && strcmp(text, "forever") == 0) {
        a->wait_ms = PROTO_WAIT_FOREVER;
        return true;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return number_parse(text, numbers[i].number);
        }
    }
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        if (strcmp(name, durations[i].name) == 0) {
            return story_duration_parse(text, durations[i].ms);
        }
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].text = text;
            return true;
        }
    }
    return false;
}

static bool argument_bare(const char *word, struct arguments *a)
{
    if (strcmp(word, "exclusive") == 0) {
        a->exclusive = true;
    } else if (strcmp(word, "shared") == 0) {
        a->shared = true;
    } else if (strcmp(word, "reentrant") == 0) {
        a->reentrant = true;
    } else if (strcmp(word, "all") == 0) {
        a->all = true;
    } else if (a->key == NULL) {
        a->key = word;
    } else {
        return false;
    }
    return true;
}

static bool arguments_parse(char **words, unsigned count, struct arguments *ret, char *error, size_t error_size)
{
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < count; i++) {
        char *equals = strchr(words[i], '=');
        bool ok;
        if (equals != NULL) {
            *equals = '\0';
            ok = argument_named(words[i], equals + 1, ret);
            *equals = '=';
        } else {
            ok = argument_bare(words[i], ret);
        }
        if (!ok) {
            (void)snprintf(error, error_size, "\"%s\" is no argument that this verb or grammar knows", words[i]);
            return false;
        }
        if (equals != NULL) {
            *equals = '\0'; /* texts end at their word; the name is not needed again */
        }
    }
    return true;
}

/* ---- verbs: arguments to the body of a command or query ---- */

static void fill_open(union proto_request_body *body, const struct arguments *a)
{
    body->session_open.owner = bytes_of(a->owner);
    body->session_open.ttl_ms = a->has_ttl ? a->ttl_ms : DEFAULT_TTL_MS;
    body->session_open.lock_delay_ms = a->delay_ms;
    body->session_open.resume_id = a->resume;
}
static void fill_renew(union proto_request_body *body, const struct arguments *a)
{
    body->session_renew.ttl_ms = a->ttl_ms;
}
static void fill_acquire(union proto_request_body *body, const struct arguments *a)
{
    struct proto_lock_acquire *acquire = &body->lock_acquire;
    acquire->key = bytes_of(a->key);
    acquire->mode = a->shared ? PROTO_MODE_SHARED : a->limit != 0 ? PROTO_MODE_PERMITS : PROTO_MODE_EXCLUSIVE;
    acquire->permits = (uint32_t)a->permits;
    acquire->limit = (uint32_t)a->limit;
    acquire->wait_ms = a->wait_ms;
    acquire->reentrant = a->reentrant;
    acquire->ttl_ms = a->ttl_ms;
    acquire->has_value = a->value != NULL;
    acquire->value = bytes_of(a->value);
}
static void fill_extend(union proto_request_body *body, const struct arguments *a)
{
    body->lock_extend.key = bytes_of(a->key);
    body->lock_extend.token = a->token;
    body->lock_extend.ttl_ms = a->ttl_ms;
}
static void fill_release(union proto_request_body *body, const struct arguments *a)
{
    body->lock_release.key = bytes_of(a->key);
    body->lock_release.token = a->token;
    body->lock_release.all = a->all;
}
static void fill_cancel(union proto_request_body *body, const struct arguments *a)
{
    body->lock_cancel.target_id = a->target;
}
static void fill_set_value(union proto_request_body *body, const struct arguments *a)
{
    body->lock_set_value.key = bytes_of(a->key);
    body->lock_set_value.token = a->token;
    body->lock_set_value.value = bytes_of(a->value);
}
static void fill_nothing(union proto_request_body *body, const struct arguments *a)
{
    (void)body;
    (void)a;
}
static void fill_force_release(union proto_request_body *body, const struct arguments *a)
{
    body->force_release.key = bytes_of(a->key);
    body->force_release.token = a->token;
    body->force_release.reason = bytes_of(a->reason);
}
static void fill_key(union proto_request_body *body, const struct arguments *a)
{
    body->lock_get.key = bytes_of(a->key);
}
static void fill_list(union proto_request_body *body, const struct arguments *a)
{
    body->lock_list.prefix = bytes_of(a->prefix);
    body->lock_list.after = bytes_of(a->after);
    body->lock_list.max = a->max != 0 ? (uint32_t)a->max : PROTO_LIST_MAX;
}
static void fill_sessions(union proto_request_body *body, const struct arguments *a)
{
    body->session_list.after_id = 0;
    body->session_list.max = a->max != 0 ? (uint32_t)a->max : PROTO_LIST_MAX;
}
static void fill_check(union proto_request_body *body, const struct arguments *a)
{
    body->fence_check.key = bytes_of(a->key);
    body->fence_check.fence = a->fence;
}

static const struct verb {
    const char *name;
    enum story_verb_kind verb;
    enum proto_kind kind;
    void (*fill)(union proto_request_body *body, const struct arguments *arguments);
} verbs[] = {
    {"open", STORY_COMMAND, PROTO_SESSION_OPEN, fill_open},
    {"renew", STORY_COMMAND, PROTO_SESSION_RENEW, fill_renew},
    {"close", STORY_COMMAND, PROTO_SESSION_CLOSE, fill_nothing},
    {"acquire", STORY_COMMAND, PROTO_LOCK_ACQUIRE, fill_acquire},
    {"extend", STORY_COMMAND, PROTO_LOCK_EXTEND, fill_extend},
    {"release", STORY_COMMAND, PROTO_LOCK_RELEASE, fill_release},
    {"cancel", STORY_COMMAND, PROTO_LOCK_CANCEL, fill_cancel},
    {"set_value", STORY_COMMAND, PROTO_LOCK_SET_VALUE, fill_set_value},
    {"force_release", STORY_COMMAND, PROTO_FORCE_RELEASE, fill_force_release},
    {"kill", STORY_COMMAND, PROTO_SESSION_KILL, fill_nothing},
    {"raise_epoch", STORY_COMMAND, PROTO_EPOCH_RAISE, fill_nothing},
    {"status", STORY_QUERY, PROTO_LOCK_GET, fill_key},
    {"list", STORY_QUERY, PROTO_LOCK_LIST, fill_list},
    {"sessions", STORY_QUERY, PROTO_SESSION_LIST, fill_sessions},
    {"check", STORY_QUERY, PROTO_FENCE_CHECK, fill_check},
    {"request", STORY_QUERY, PROTO_REQUEST_GET, fill_nothing},
    {"expiry", STORY_EXPIRY, 0, NULL},
    {"snapshot", STORY_SNAPSHOT, 0, NULL},
};

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

/* Who speaks: the session's header of a command, or the subject of `kill` and `request`. */
static void command_sign(struct story_line *line, const struct arguments *a)
{
    struct story_actor *actor = line->actor;
    struct fsm_command *command = &line->command;
    if (command->kind == PROTO_SESSION_KILL) {
        command->body.session_kill.session_id = actor != NULL ? actor->session_id : 0;
        command->body.session_kill.reason = bytes_of(a->reason);
        return;
    }
    if (command->kind == PROTO_SESSION_OPEN) {
        line->opens = true;
        memcpy(command->digest, actor->digest, sizeof command->digest);
        if (a->secret != NULL) {
            (void)snprintf((char *)command->digest, sizeof command->digest, "%s", a->secret);
        }
        return;
    }
    if (proto_operation_find(command->kind)->sent_by != PROTO_SESSION) {
        return;
    }
    command->session_id = actor->session_id;
    command->request_id = a->has_id ? a->id : actor->last_id + 1;
    command->ack_floor = a->floor;
    command->proof = fsm_entry_proof(a->secret != NULL ? (const uint8_t[PROTO_DIGEST_BYTES]){'x'} : actor->digest);
    if (command->request_id > actor->last_id) {
        actor->last_id = command->request_id;
    }
}

static void query_sign(struct story_line *line, const struct arguments *a)
{
    line->query.kind = line->command.kind;
    line->query.body = line->command.body;
    if (line->query.kind == PROTO_REQUEST_GET) {
        line->query.body.request_get.session_id = line->actor != NULL ? line->actor->session_id : 0;
        line->query.body.request_get.request_id = a->id;
    }
}

static unsigned words_split(char *text, char **words)
{
    unsigned count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t", &rest); word != NULL && count < STORY_WORDS_MAX;
         word = strtok_r(NULL, " \t", &rest)) {
        words[count++] = word;
    }
    return count;
}

/* "t=5 A acquire k" or "& A acquire k": the words before the arguments. @return how many were read, 0 on an error. */
static unsigned head_parse(struct story *story, char **words, unsigned count, struct story_line *line,
                           const struct verb **ret_verb, char *error, size_t error_size)
{
    unsigned at = 1;
    line->joined = strcmp(words[0], "&") == 0;
    if (!line->joined && (strncmp(words[0], "t=", 2) != 0 || !story_duration_parse(words[0] + 2, &line->time_ms))) {
        (void)snprintf(error, error_size, "\"%s\" is no time; a line begins with t=DURATION or &", words[0]);
        return 0;
    }
    if (at < count && words[at][0] >= 'A' && words[at][0] <= 'Z') {
        line->actor = story_actor(story, words[at++]);
    }
    *ret_verb = at < count ? verb_find(words[at]) : NULL;
    if (*ret_verb == NULL) {
        (void)snprintf(error, error_size, "\"%s\" is no verb", at < count ? words[at] : "");
        return 0;
    }
    return at + 1;
}

bool story_line_parse(struct story *story, const char *text, struct story_line *ret_line, char *error,
                      size_t error_size)
{
    struct arguments arguments;
    const struct verb *verb = NULL;
    char *words[STORY_WORDS_MAX];

    memset(ret_line, 0, sizeof *ret_line);
    if ((size_t)snprintf(ret_line->text, sizeof ret_line->text, "%s", text) >= sizeof ret_line->text) {
        (void)snprintf(error, error_size, "the line is longer than %d bytes", STORY_LINE_BYTES_MAX);
        return false;
    }
    unsigned count = words_split(ret_line->text, words);
    unsigned at = count == 0 ? 0 : head_parse(story, words, count, ret_line, &verb, error, error_size);
    if (at == 0 || !arguments_parse(words + at, count - at, &arguments, error, error_size)) {
        return false;
    }
    ret_line->verb = verb->verb;
    ret_line->command.kind = verb->kind;
    if (verb->verb == STORY_EXPIRY || verb->verb == STORY_SNAPSHOT) {
        return true;
    }
    bool needs_actor = verb->verb == STORY_COMMAND && (verb->kind == PROTO_SESSION_OPEN ||
                       proto_operation_find(verb->kind)->sent_by == PROTO_SESSION);
    if (needs_actor && ret_line->actor == NULL) {
        (void)snprintf(error, error_size, "\"%s\" needs an actor before it, such as A", verb->name);
        return false;
    }
    verb->fill(&ret_line->command.body, &arguments);
    if (verb->verb == STORY_QUERY) {
        query_sign(ret_line, &arguments);
    } else {
        command_sign(ret_line, &arguments);
    }
    return true;
}
