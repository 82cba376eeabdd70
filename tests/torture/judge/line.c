/* Owns the names of fields; see line.h. */
#include "line.h"

#include <string.h>

static const char *const f_names[OP_KINDS] = {
    [OP_ACQUIRE] = "acquire", [OP_RELEASE] = "release", [OP_EXTEND] = "extend", [OP_OPEN] = "open",
    [OP_RENEW] = "renew",     [OP_CLOSE] = "close",     [OP_LOST] = "lost",     [OP_CHECK] = "check",
    [OP_STATUS] = "status",   [OP_FINAL] = "final",     [OP_CRASH] = "crash",   [OP_PAUSE] = "pause",
    [OP_RESUME] = "resume",   [OP_HEAL] = "heal",       [OP_FAULT] = "fault"};

static const char *const outcome_names[OUTCOMES] = {"open", "ok", "fail", "info"};

const char *op_f_name(enum op_f f)
{
    return f_names[f];
}

const char *op_outcome_name(enum op_outcome outcome)
{
    return outcome_names[outcome];
}

static enum op_f f_of(const struct edn_node *name)
{
    for (unsigned f = 0; f < OP_FAULT; f++) {
        if (edn_is(name, EDN_KEYWORD, f_names[f])) {
            return (enum op_f)f;
        }
    }
    return OP_FAULT;
}

static bool read_type(const struct edn_node *type, struct line *line)
{
    static const char *const names[] = {"invoke", "ok", "fail", "info"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (type != NULL && edn_is(type, EDN_KEYWORD, names[i])) {
            line->type = (enum line_type)i;
            return true;
        }
    }
    return false;
}

bool line_read(const struct edn *edn, struct line *line)
{
    const struct edn_node *map = &edn->nodes[0];
    *line = (struct line){.value = edn_get(edn, map, "value"), .name = edn_get(edn, map, "f")};
    const struct edn_node *process = edn_get(edn, map, "process");
    if (!read_type(edn_get(edn, map, "type"), line)) {
        line->error = "a line needs :type, one of :invoke, :ok, :fail and :info";
    } else if (line->name == NULL || line->name->kind != EDN_KEYWORD) {
        line->error = "a line needs :f, a keyword";
    } else if (process == NULL || (process->kind != EDN_INTEGER && process->kind != EDN_KEYWORD)) {
        line->error = "a line needs :process, a number or :nemesis";
    } else {
        line->nemesis = process->kind == EDN_KEYWORD;
        line->process = process->negative ? 0 - process->magnitude : process->magnitude;
        line->f = f_of(line->name);
    }
    return line->error == NULL;
}

/* ---- fields ---- */

static bool whole(const struct edn_node *node, uint64_t *ret)
{
    if (node->kind != EDN_INTEGER || node->negative) {
        return false;
    }
    *ret = node->magnitude;
    return true;
}

static bool signed_number(const struct edn_node *node, int64_t *ret)
{
    if (node->kind != EDN_INTEGER || node->magnitude > TIME_MAX) {
        return false;
    }
    *ret = node->negative ? -(int64_t)node->magnitude : (int64_t)node->magnitude;
    return true;
}

/* Durations are kept small enough to be counted in nanoseconds and added to a time. */
static bool duration(const struct edn_node *node, int64_t *ret)
{
    const int64_t ms_max = TIME_MAX / NS_PER_MS;
    if (!signed_number(node, ret)) {
        return false;
    }
    *ret = *ret > ms_max ? ms_max : *ret < 0 ? -1 : *ret;
    return true;
}

static bool small(const struct edn_node *node, uint32_t *ret)
{
    uint64_t value = 0;
    if (!whole(node, &value) || value > UINT32_MAX) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

static bool word(struct names *names, const struct edn_node *node, uint32_t *ret)
{
    if (node->kind != EDN_STRING && node->kind != EDN_KEYWORD) {
        return false;
    }
    *ret = names_put(names, node->text, node->bytes);
    return true;
}

static bool read_mode(const struct edn_node *node, struct op *op)
{
    static const char *const names[MODES] = {"exclusive", "shared", "permits"};
    for (unsigned i = 0; i < MODES; i++) {
        if (edn_is(node, EDN_KEYWORD, names[i])) {
            op->mode = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static bool truth(const struct edn_node *node, bool *ret)
{
    *ret = node->kind == EDN_TRUE;
    return node->kind == EDN_TRUE || node->kind == EDN_FALSE;
}

/* ---- lists ---- */

static struct seen *seen_of(struct history *history, struct op *op)
{
    if (op->seen == 0) {
        history->seen =
            judge_grow(history->seen, history->seen_count, &history->seen_room, sizeof *history->seen);
        history->seen[history->seen_count] = (struct seen){0};
        op->seen = (uint32_t)++history->seen_count;
    }
    return &history->seen[op->seen - 1];
}

static void list_add(struct history *history, uint64_t value)
{
    history->list =
        judge_grow(history->list, history->list_count, &history->list_room, sizeof *history->list);
    history->list[history->list_count++] = value;
}

static bool read_holders(struct history *history, const struct edn *edn, const struct edn_node *node,
                         struct op *op)
{
    if (node->kind != EDN_LIST) {
        return false;
    }
    struct seen *seen = seen_of(history, op);
    seen->holders_first = history->list_count;
    seen->holders = node->children;
    for (const struct edn_node *item = edn_first(edn, node); item != NULL; item = edn_next(edn, item)) {
        const struct edn_node *session = edn_get(edn, item, "session");
        const struct edn_node *token = edn_get(edn, item, "token");
        uint64_t numbers[2] = {0, 0};
        if (session == NULL || token == NULL || !whole(session, &numbers[0]) || !whole(token, &numbers[1])) {
            return false;
        }
        list_add(history, numbers[0]);
        list_add(history, numbers[1]);
    }
    return true;
}

/* :queue, sessions; :owners, names. */
static bool read_queue(struct history *history, const struct edn *edn, const struct edn_node *node,
                       struct op *op, bool owners)
{
    if (node->kind != EDN_LIST) {
        return false;
    }
    struct seen *seen = seen_of(history, op);
    seen->queue_first = history->list_count;
    seen->queue = node->children;
    for (const struct edn_node *item = edn_first(edn, node); item != NULL; item = edn_next(edn, item)) {
        uint64_t session = 0;
        uint32_t owner = 0;
        if (owners ? !word(&history->owners, item, &owner) : !whole(item, &session)) {
            return false;
        }
        list_add(history, owners ? owner : session);
    }
    return true;
}

static bool read_waiters(struct history *history, const struct edn_node *node, struct op *op)
{
    op->has_waiters = true;
    return whole(node, &seen_of(history, op)->waiters);
}

/* ---- all of them ---- */

enum field {
    FIELD_KEY,
    FIELD_OWNER,
    FIELD_MODE,
    FIELD_COUNT,
    FIELD_LIMIT,
    FIELD_WAIT,
    FIELD_TTL,
    FIELD_OWN,
    FIELD_SESSION,
    FIELD_TOKEN,
    FIELD_FENCE,
    FIELD_CERTAIN_UNTIL,
    FIELD_CERTAIN,
    FIELD_ERROR,
    FIELD_REASON,
    FIELD_CURRENT,
    FIELD_HOLDERS,
    FIELD_WAITERS,
    FIELD_QUEUE,
    FIELD_OWNERS,
    FIELD_ASKED,
    FIELDS
};

static const struct {
    const char *name;
    size_t bytes;
    const char *wrong;
} fields[FIELDS] = {
#define ROW(field, name, wrong) [field] = {name, sizeof(name) - 1, wrong}
    ROW(FIELD_KEY, "key", ":key is a string"),
    ROW(FIELD_OWNER, "owner", ":owner is a string"),
    ROW(FIELD_MODE, "mode", ":mode is one of :exclusive, :shared and :permits"),
    ROW(FIELD_COUNT, "count", ":count is a number from 0 to 2^32 - 1"),
    ROW(FIELD_LIMIT, "limit", ":limit is a number from 0 to 2^32 - 1"),
    ROW(FIELD_WAIT, "wait-ms", ":wait-ms is a number"),
    ROW(FIELD_TTL, "ttl-ms", ":ttl-ms is a number"),
    ROW(FIELD_OWN, "own", ":own is true or false"),
    ROW(FIELD_SESSION, "session", ":session is a number from 0 to 2^64 - 1"),
    ROW(FIELD_TOKEN, "token", ":token is a number from 0 to 2^64 - 1"),
    ROW(FIELD_FENCE, "fence", ":fence is a number from 0 to 2^64 - 1"),
    ROW(FIELD_CERTAIN_UNTIL, "certain-until", ":certain-until is a time in nanoseconds, below 2^61"),
    ROW(FIELD_CERTAIN, "certain", ":certain is a time in nanoseconds, below 2^61"),
    ROW(FIELD_ERROR, "error", ":error is a keyword"),
    ROW(FIELD_REASON, "reason", ":reason is a keyword"),
    ROW(FIELD_CURRENT, "current", ":current is true or false"),
    ROW(FIELD_HOLDERS, "holders", ":holders is a list of maps with :session and :token"),
    ROW(FIELD_WAITERS, "waiters", ":waiters is a number"),
    ROW(FIELD_QUEUE, "queue", ":queue is a list of sessions"),
    ROW(FIELD_OWNERS, "owners", ":owners is a list of strings"),
    ROW(FIELD_ASKED, "asked", ":asked is a time in nanoseconds, below 2^61"),
#undef ROW
};

static bool read_field(struct history *history, const struct edn *edn, enum field field,
                       const struct edn_node *node, struct op *op)
{
    switch (field) {
    case FIELD_KEY:
        return word(&history->keys, node, &op->key);
    case FIELD_OWNER:
        return word(&history->owners, node, &op->owner);
    case FIELD_MODE:
        return read_mode(node, op);
    case FIELD_COUNT:
        return small(node, &op->count);
    case FIELD_LIMIT:
        return small(node, &op->limit);
    case FIELD_WAIT:
        return duration(node, &op->wait_ms);
    case FIELD_TTL:
        return duration(node, &op->ttl_ms);
    case FIELD_OWN:
        return truth(node, &op->own);
    case FIELD_SESSION:
        return whole(node, &op->session);
    case FIELD_TOKEN:
        return whole(node, &op->token);
    case FIELD_FENCE:
        return whole(node, &op->fence);
    case FIELD_CERTAIN_UNTIL:
    case FIELD_CERTAIN:
        return signed_number(node, &op->certain);
    case FIELD_ERROR:
    case FIELD_REASON:
        return word(&history->words, node, &op->error);
    case FIELD_CURRENT:
        return truth(node, &op->current);
    case FIELD_HOLDERS:
        return read_holders(history, edn, node, op);
    case FIELD_WAITERS:
        return read_waiters(history, node, op);
    case FIELD_QUEUE:
    case FIELD_OWNERS:
        return read_queue(history, edn, node, op, field == FIELD_OWNERS);
    case FIELD_ASKED:
        return signed_number(node, &op->invoke);
    case FIELDS:
        break;
    }
    return true;
}

static enum field field_of(const struct edn_node *name)
{
    unsigned field = 0;
    while (field < FIELDS && (name->bytes != fields[field].bytes || name->kind != EDN_KEYWORD ||
                              memcmp(name->text, fields[field].name, name->bytes) != 0)) {
        field++;
    }
    return (enum field)field;
}

const char *line_fields(struct history *history, const struct edn *edn, const struct edn_node *value,
                        struct op *op)
{
    if (value == NULL || value->kind != EDN_MAP) {
        return ":value is a map";
    }
    for (const struct edn_node *name = edn_first(edn, value); name != NULL;) {
        const struct edn_node *node = edn_next(edn, name);
        enum field field = field_of(name);
        if (field != FIELDS && node->kind != EDN_NIL && !read_field(history, edn, field, node, op)) {
            return fields[field].wrong;
        }
        name = edn_next(edn, node);
    }
    return NULL;
}
