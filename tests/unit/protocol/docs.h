/* The parts of docs/protocol.md that are made from the code, and how to find one's way in the rest.
 *
 *   <!-- generated: NAME --> ... <!-- end -->     a table of the code
 *   ```vectors                                    test vectors; what is marked with * is made, the rest is by hand
 *   # what it shows
 *   request  [42, 7]                              the direction, and the message in the notation of wire.h
 *   means    ping id=7                          * as render.h has it
 *   bytes    922a07                             *
 *
 * Directions: hello-request, hello-reply, request, reply, event; `refused`: a request that must be refused, `means` says
 * how; `frame`, `lz4-frame`: any body, `bytes` is the whole frame (kept as it is if it expands to that body, because lz4
 * libraries may compress differently). */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_DOCS_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_DOCS_H

#include "support.h"

struct vector {
    char direction[16];
    char *notation;
    char *means; /* NULL if it has none yet */
    char *bytes; /* NULL if it has none yet */
};

/* The text anew: with the tables and vectors as the code has them. */
void docs_regenerate(struct proto_buffer *out, const char *text);

/* Run `function` on every vector. */
typedef void (*docs_vector_cb)(const struct vector *vector, void *context);
void docs_each_vector(const char *text, docs_vector_cb function, void *context);

/* The table with that name, as docs_regenerate() writes it; the test fails if there is none. */
void docs_table(struct proto_buffer *out, const char *name);

/* The fields that a text of render.h names, one a line; those of rows as "holders[].token", once. */
void docs_fields_of_message(struct proto_buffer *out, const char *rendered);
/* The fields in the first column of the table that follows the line `label` in the section with that heading, one a
 * line; nothing if there is "no fields" in the line; the test fails if there is neither. */
void docs_fields_of_section(struct proto_buffer *out, const char *text, const char *heading,
                            const char *label);

#endif
