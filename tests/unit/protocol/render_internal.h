/* The fields of bodies as text; between render.c, render_request.c and render_reply.c. */
#ifndef LOCKSTEP_TESTS_UNIT_PROTOCOL_RENDER_INTERNAL_H
#define LOCKSTEP_TESTS_UNIT_PROTOCOL_RENDER_INTERNAL_H

#include "render.h"

/* Each is one field: a space, the name, "=", the value. */
void render_uint(struct proto_buffer *text, const char *name, uint64_t number);
void render_bool(struct proto_buffer *text, const char *name, bool flag);
void render_text(struct proto_buffer *text, const char *name, struct proto_bytes string);
void render_binary(struct proto_buffer *text, const char *name, struct proto_bytes binary);
void render_optional(struct proto_buffer *text, const char *name, bool present, struct proto_bytes binary);
void render_word(struct proto_buffer *text, const char *name, const char *word);
/* As it is. */
void render_string(struct proto_buffer *text, const char *string);

void render_reply_body(struct proto_buffer *text, const struct proto_reply *reply);

#endif
