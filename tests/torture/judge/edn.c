/* Owns the grammar; see edn.h. One pass, recursion bounded by EDN_DEPTH_MAX. */
#include "edn.h"

#include <string.h>

struct reader {
    struct edn *edn;
    const char *line;
    const char *at;
    const char *end;
};

static bool fail(struct reader *reader, const char *error)
{
    if (reader->edn->error == NULL) {
        reader->edn->error = error;
        reader->edn->column = (size_t)(reader->at - reader->line) + 1;
    }
    return false;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == ',' || byte == '\t' || byte == '\r' || byte == '\n';
}

static bool is_delimiter(char byte)
{
    return is_space(byte) || byte == '{' || byte == '}' || byte == '[' || byte == ']' || byte == '(' ||
           byte == ')' || byte == '"' || byte == ';';
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && is_space(*reader->at)) {
        reader->at++;
    }
    if (reader->at < reader->end && *reader->at == ';') {
        reader->at = reader->end;
    }
}

static bool read_string(struct reader *reader, struct edn_node *node)
{
    reader->at++;
    node->kind = EDN_STRING;
    node->text = reader->at;
    while (reader->at < reader->end && *reader->at != '"') {
        reader->at += *reader->at == '\\' ? 2 : 1;
    }
    if (reader->at >= reader->end) {
        reader->at = reader->end;
        return fail(reader, "a string does not end");
    }
    node->bytes = (size_t)(reader->at - node->text);
    reader->at++;
    return true;
}

/* Digits, with an N at the end for numbers of any size; here they must fit 64 bits. A float is left to be a symbol. */
static bool read_integer(struct reader *reader, struct edn_node *node)
{
    const char *at = node->text;
    const char *end = node->text + node->bytes;
    if (end[-1] == 'N') {
        end--;
    }
    node->negative = *at == '-';
    at += *at == '-' || *at == '+';
    if (at == end) {
        return true;
    }
    uint64_t value = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return true;
        }
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return fail(reader, "a number does not fit 64 bits");
        }
        value = value * 10 + digit;
    }
    node->kind = EDN_INTEGER;
    node->magnitude = value;
    return true;
}

static bool read_word(struct reader *reader, struct edn_node *node)
{
    node->text = reader->at;
    while (reader->at < reader->end && !is_delimiter(*reader->at)) {
        reader->at++;
    }
    node->bytes = (size_t)(reader->at - node->text);
    char first = *node->text;
    if (first == ':') {
        if (node->bytes == 1) {
            return fail(reader, "a keyword has no name");
        }
        node->kind = EDN_KEYWORD;
        node->text++;
        node->bytes--;
        return true;
    }
    if (first == '#' || first == '\\' || first == '^' || first == '@' || first == '`' || first == '~') {
        return fail(reader, "tags, characters and metadata are not part of a history");
    }
    node->kind = EDN_SYMBOL;
    if ((first >= '0' && first <= '9') || first == '-' || first == '+') {
        return read_integer(reader, node);
    }
    if (edn_is(node, EDN_SYMBOL, "nil")) {
        node->kind = EDN_NIL;
    } else if (edn_is(node, EDN_SYMBOL, "true")) {
        node->kind = EDN_TRUE;
    } else if (edn_is(node, EDN_SYMBOL, "false")) {
        node->kind = EDN_FALSE;
    }
    return true;
}

static bool read_form(struct reader *reader, unsigned depth);

static bool read_children(struct reader *reader, uint32_t parent, char closing, unsigned depth)
{
    struct edn *edn = reader->edn;
    uint32_t last = 0;
    for (;;) {
        skip_space(reader);
        if (reader->at >= reader->end) {
            return fail(reader, "a bracket is not closed");
        }
        if (*reader->at == closing) {
            reader->at++;
            break;
        }
        uint32_t child = edn->count;
        if (!read_form(reader, depth)) {
            return false;
        }
        if (last != 0) {
            edn->nodes[last].next = child;
        }
        last = child;
        edn->nodes[parent].children++;
    }
    if (edn->nodes[parent].kind == EDN_MAP && edn->nodes[parent].children % 2 != 0) {
        return fail(reader, "a map has a key without a value");
    }
    return true;
}

static bool read_form(struct reader *reader, unsigned depth)
{
    struct edn *edn = reader->edn;
    if (edn->count == EDN_NODES_MAX) {
        return fail(reader, "more than 4096 values in a line");
    }
    if (depth == EDN_DEPTH_MAX) {
        return fail(reader, "brackets are nested more than 16 deep");
    }
    uint32_t index = edn->count++;
    struct edn_node *node = &edn->nodes[index];
    *node = (struct edn_node){.kind = EDN_NIL};
    char first = *reader->at;
    if (first == '#' && reader->end - reader->at > 1 && reader->at[1] == '{') {
        reader->at += 2;
        node->kind = EDN_LIST;
        return read_children(reader, index, '}', depth + 1);
    }
    if (first == '{' || first == '[' || first == '(') {
        reader->at++;
        node->kind = first == '{' ? EDN_MAP : EDN_LIST;
        return read_children(reader, index, first == '{' ? '}' : first == '[' ? ']' : ')', depth + 1);
    }
    if (first == '}' || first == ']' || first == ')') {
        return fail(reader, "a bracket closes what was not opened");
    }
    return first == '"' ? read_string(reader, node) : read_word(reader, node);
}

bool edn_read(struct edn *edn, const char *line, size_t bytes)
{
    struct reader reader = {.edn = edn, .line = line, .at = line, .end = line + bytes};
    edn->count = 0;
    edn->error = NULL;
    edn->column = 0;
    skip_space(&reader);
    if (reader.at == reader.end) {
        return true;
    }
    if (!read_form(&reader, 0)) {
        return false;
    }
    skip_space(&reader);
    return reader.at == reader.end || fail(&reader, "there is something behind the end of the map");
}

bool edn_is(const struct edn_node *node, enum edn_kind kind, const char *text)
{
    return node->kind == kind && node->bytes == strlen(text) && memcmp(node->text, text, node->bytes) == 0;
}

const struct edn_node *edn_first(const struct edn *edn, const struct edn_node *node)
{
    bool has = (node->kind == EDN_MAP || node->kind == EDN_LIST) && node->children > 0;
    return has ? &edn->nodes[(size_t)(node - edn->nodes) + 1] : NULL;
}

const struct edn_node *edn_next(const struct edn *edn, const struct edn_node *node)
{
    return node->next == 0 ? NULL : &edn->nodes[node->next];
}

const struct edn_node *edn_get(const struct edn *edn, const struct edn_node *map, const char *key)
{
    if (map == NULL || map->kind != EDN_MAP) {
        return NULL;
    }
    const struct edn_node *name = edn_first(edn, map);
    while (name != NULL) {
        const struct edn_node *value = edn_next(edn, name);
        if (edn_is(name, EDN_KEYWORD, key)) {
            return value;
        }
        name = edn_next(edn, value);
    }
    return NULL;
}
