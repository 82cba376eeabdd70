/* Owns what a line's map means: its operation's kind, process, and the fields of its value. */
#ifndef LOCKSTEP_TORTURE_LINE_H
#define LOCKSTEP_TORTURE_LINE_H

#include "edn.h"
#include "history.h"

enum line_type { LINE_INVOKE, LINE_OK, LINE_FAIL, LINE_INFO };

struct line {
    enum line_type type;
    enum op_f f;
    bool nemesis; /* its :process is a word */
    uint64_t process;
    const struct edn_node *name;  /* of :f */
    const struct edn_node *value; /* NULL if there is none */
    const char *error;            /* static text */
};

/* @return false, and line->error says what is wrong. */
bool line_read(const struct edn *edn, struct line *line);

/* Take the fields of a value over into the operation; those that are not there stay. @return NULL, or what is wrong. */
const char *line_fields(struct history *history, const struct edn *edn, const struct edn_node *value,
                        struct op *op);

#endif
