/* Owns the reading of one line of EDN into a flat tree. It is total: any bytes give a tree or a named error with its
 * column; work and memory are linear in the line, and bounded. It never allocates: strings point into the line.
 *
 * The subset: maps, vectors, lists, sets, keywords, symbols (with true, false, nil), strings, integers (also with N), floats
 * (read over, they count as symbols), commas as space, and ; as the start of a comment. No tags, characters, discards and
 * metadata.
 *
 *   N1  A node's first child is the next node; `next` is the index of its next sibling, or 0 at the end.
 *   N2  A map has an even number of children: key, value, key, value. */
#ifndef LOCKSTEP_TORTURE_EDN_H
#define LOCKSTEP_TORTURE_EDN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EDN_NODES_MAX = 4096, EDN_DEPTH_MAX = 16 };

enum edn_kind {
    EDN_NIL,
    EDN_TRUE,
    EDN_FALSE,
    EDN_INTEGER,
    EDN_STRING,
    EDN_KEYWORD,
    EDN_SYMBOL,
    EDN_MAP,
    EDN_LIST
};

struct edn_node {
    enum edn_kind kind;
    bool negative;     /* EDN_INTEGER: its sign */
    uint32_t next;     /* N1 */
    uint32_t children; /* EDN_MAP, EDN_LIST: how many */
    const char
        *text; /* strings (without quotes, escapes as they stand), keywords (without the colon), symbols */
    size_t bytes;
    uint64_t magnitude; /* EDN_INTEGER */
};

struct edn {
    struct edn_node nodes[EDN_NODES_MAX];
    uint32_t count;
    const char *error; /* static text; NULL if there is none */
    size_t column;     /* where it was found, from 1 */
};

/* Read the one form of a line. @return true, and nodes[0] is it; or with `count` 0 there was nothing but space and
 * comment; false: `error` and `column` say what is wrong. */
bool edn_read(struct edn *edn, const char *line, size_t bytes);

/* The value of a map's key; NULL if it has none, or `map` is no map. */
const struct edn_node *edn_get(const struct edn *edn, const struct edn_node *map, const char *key);

/* The first child of a list or map; NULL if it is empty. And the sibling of a node; NULL at the end. */
const struct edn_node *edn_first(const struct edn *edn, const struct edn_node *node);
const struct edn_node *edn_next(const struct edn *edn, const struct edn_node *node);

bool edn_is(const struct edn_node *node, enum edn_kind kind, const char *text);

#endif
