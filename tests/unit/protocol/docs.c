/* See docs.h. */
#include "docs.h"

#include "protocol/frame.h"
#include "render.h"
#include "wire.h"

enum { WORD_COLUMNS = 15 }; /* where a vector's notation begins */

static void put(struct proto_buffer *out, const char *string)
{
    assert_true(proto_buffer_append(out, string, strlen(string)));
}

/* The next line, without its end; NULL at the end. The caller frees it. */
static char *take_line(const char **text)
{
    if (**text == '\0') {
        return NULL;
    }
    size_t size = strcspn(*text, "\n");
    char *line = strndup(*text, size);
    assert_non_null(line);
    *text += size + ((*text)[size] == '\n');
    return line;
}

/* What follows the first word of the line and its blanks, if the word is that one; else NULL. */
static const char *after_word(const char *line, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(line, word, size) != 0 || line[size] != ' ') {
        return NULL;
    }
    return line + size + strspn(line + size, " ");
}

/* ---- vectors ---- */

static const char *const directions[] = {"hello-request", "hello-reply", "request",   "reply",
                                         "event",         "refused",     "lz4-frame", "frame"};

static void vector_done(struct vector *vector)
{
    free(vector->notation);
    free(vector->means);
    free(vector->bytes);
}

/* If `line` opens a vector, take it with the lines that belong to it. */
static bool take_vector(const char *line, const char **text, struct vector *ret_vector)
{
    for (size_t i = 0; i < sizeof directions / sizeof directions[0]; i++) {
        const char *notation = after_word(line, directions[i]);
        if (notation == NULL) {
            continue;
        }
        *ret_vector = (struct vector){.notation = strdup(notation)};
        memcpy(ret_vector->direction, directions[i], strlen(directions[i]));
        for (const char *peek = *text; (line = take_line(&peek)) != NULL; *text = peek) {
            const char *means = after_word(line, "means");
            const char *bytes = after_word(line, "bytes");
            if (means != NULL) {
                ret_vector->means = strdup(means);
            } else if (bytes != NULL) {
                ret_vector->bytes = strdup(bytes);
            } else {
                free((void *)(uintptr_t)line);
                break;
            }
            free((void *)(uintptr_t)line);
        }
        return true;
    }
    return false;
}

static enum message_kind kind_of(const char *direction)
{
    static const char *const names[MESSAGE_KINDS] = {"hello-request", "hello-reply", "request", "reply",
                                                     "event"};
    for (unsigned kind = 0; kind < MESSAGE_KINDS; kind++) {
        if (strcmp(direction, names[kind]) == 0) {
            return (enum message_kind)kind;
        }
    }
    return MESSAGE_KINDS;
}

static void put_meaning(struct proto_buffer *out, const struct vector *vector, struct proto_bytes body)
{
    static struct proto_rows rows;
    struct message message;
    struct proto_error error;
    if (strcmp(vector->direction, "refused") == 0) {
        assert_false(message_decode(MESSAGE_REQUEST, body, &rows, &message, &error));
        put(out, proto_status_name((uint64_t)error.status));
        put(out, ": ");
        put(out, error.detail);
        return;
    }
    if (!message_decode(kind_of(vector->direction), body, &rows, &message, &error)) {
        fail_msg("%s: %s", vector->notation, error.detail);
    }
    render_message(out, &message);
}

/* Whether the bytes are a compressed frame of that body. */
static bool is_lz4_frame(const char *hex, struct proto_bytes body)
{
    struct proto_buffer frame;
    struct proto_buffer scratch;
    struct proto_bytes expanded;
    size_t frame_bytes = 0;
    proto_buffer_init(&frame, TEXT_BYTES_MAX);
    proto_buffer_init(&scratch, PROTO_FRAME_BODY_BYTES_MAX);
    (void)hex_read(&frame, hex);
    bool same = frame.size > PROTO_FRAME_HEADER_BYTES && frame.data[4] == 1 &&
                proto_frame_take(frame.data, frame.size, PROTO_FRAME_BODY_BYTES_MAX, &scratch, &expanded,
                                 &frame_bytes) == PROTO_FRAME_OK &&
                frame_bytes == frame.size && expanded.size == body.size &&
                memcmp(expanded.data, body.data, body.size) == 0;
    proto_buffer_done(&frame);
    proto_buffer_done(&scratch);
    return same;
}

static void put_frame(struct proto_buffer *out, const struct vector *vector, struct proto_bytes body)
{
    bool compress = strcmp(vector->direction, "lz4-frame") == 0;
    if (compress && vector->bytes != NULL && is_lz4_frame(vector->bytes, body)) {
        put(out, vector->bytes);
        return;
    }
    struct proto_buffer frame;
    proto_buffer_init(&frame, TEXT_BYTES_MAX);
    size_t begin = proto_frame_begin(&frame);
    assert_true(proto_buffer_append(&frame, body.data, body.size));
    assert_true(proto_frame_end(&frame, begin, compress));
    hex_print(out, view_of(&frame));
    proto_buffer_done(&frame);
}

static void put_field(struct proto_buffer *out, const char *word)
{
    put(out, word);
    for (size_t i = strlen(word); i < WORD_COLUMNS; i++) {
        put(out, " ");
    }
}

static void put_vector(struct proto_buffer *out, const struct vector *vector)
{
    struct proto_buffer body;
    bool frame = strstr(vector->direction, "frame") != NULL;
    proto_buffer_init(&body, TEXT_BYTES_MAX);
    wire_write(&body, vector->notation, WIRE_SHORTEST);
    put_field(out, vector->direction);
    put(out, vector->notation);
    if (!frame) {
        put(out, "\n");
        put_field(out, "means");
        put_meaning(out, vector, view_of(&body));
    }
    put(out, "\n");
    put_field(out, "bytes");
    if (frame) {
        put_frame(out, vector, view_of(&body));
    } else {
        hex_print(out, view_of(&body));
    }
    put(out, "\n");
    proto_buffer_done(&body);
}

void docs_each_vector(const char *text, docs_vector_cb function, void *context)
{
    bool inside = false;
    char *line;
    while ((line = take_line(&text)) != NULL) {
        struct vector vector;
        inside = strncmp(line, "```", 3) == 0 ? strcmp(line, "```vectors") == 0 : inside;
        if (inside && take_vector(line, &text, &vector)) {
            function(&vector, context);
            vector_done(&vector);
        }
        free(line);
    }
}

/* ---- the whole text ---- */

static void put_table(struct proto_buffer *out, const char *marker, const char **text)
{
    static const char begin[] = "<!-- generated: ";
    char *name = strdup(marker + sizeof begin - 1);
    assert_non_null(name);
    name[strcspn(name, " ")] = '\0';
    docs_table(out, name);
    free(name);
    char *line;
    while ((line = take_line(text)) != NULL) {
        bool end = strcmp(line, "<!-- end -->") == 0;
        free(line);
        if (end) {
            put(out, "<!-- end -->\n");
            return;
        }
    }
    fail_msg("%s has no end", marker);
}

void docs_regenerate(struct proto_buffer *out, const char *text)
{
    bool inside = false;
    char *line;
    while ((line = take_line(&text)) != NULL) {
        struct vector vector;
        inside = strncmp(line, "```", 3) == 0 ? strcmp(line, "```vectors") == 0 : inside;
        if (inside && take_vector(line, &text, &vector)) {
            put_vector(out, &vector);
            vector_done(&vector);
        } else {
            put(out, line);
            put(out, "\n");
        }
        if (strncmp(line, "<!-- generated: ", 16) == 0) {
            put_table(out, line, &text);
        }
        free(line);
    }
}

/* ---- fields ---- */

/* Append "prefix" "name" and a line's end, unless that line is there. */
static void put_name(struct proto_buffer *out, const char *prefix, const char *name, size_t size)
{
    char line[128];
    size_t prefix_size = strlen(prefix);
    assert_true(prefix_size + size + 1 < sizeof line);
    memcpy(line, prefix, prefix_size);
    memcpy(line + prefix_size, name, size);
    line[prefix_size + size] = '\n';
    line[prefix_size + size + 1] = '\0';
    const char *at = strstr(text_of(out), line);
    bool known = at != NULL && (at == (const char *)out->data || at[-1] == '\n');
    if (!known) {
        put(out, line);
    }
}

void docs_fields_of_message(struct proto_buffer *out, const char *rendered)
{
    char prefix[64] = "";
    const char *name = rendered;
    bool quoted = false;
    size_t size = 0;
    for (const char *at = rendered; *at != '\0'; at++) {
        quoted = *at == '"' ? !quoted : quoted;
        if (quoted) {
            continue;
        }
        if (*at == ' ' || *at == '{') {
            name = at + 1;
        } else if (*at == ']') {
            prefix[0] = '\0';
        } else if (*at == '=') {
            size = (size_t)(at - name);
            put_name(out, prefix, name, size);
            if (at[1] == '[') {
                assert_true(size + 4 < sizeof prefix);
                memcpy(prefix, name, size);
                memcpy(prefix + size, "[].", 4);
            }
        }
    }
}

/* Where the section with that heading begins, behind the heading. */
static const char *find_section(const char *text, const char *heading)
{
    size_t size = strlen(heading);
    for (const char *at = strstr(text, heading); at != NULL; at = strstr(at + 1, heading)) {
        if ((at == text || at[-1] == '\n') && at[size] == '\n') {
            return at + size + 1;
        }
    }
    fail_msg("there is no section \"%s\"", heading);
    return NULL;
}

void docs_fields_of_section(struct proto_buffer *out, const char *text, const char *heading,
                            const char *label)
{
    const char *at = find_section(text, heading);
    bool labelled = false;
    bool table = false;
    char *line;
    while ((line = take_line(&at)) != NULL) {
        bool row = strncmp(line, "| `", 3) == 0;
        bool over = line[0] == '#' || (table && line[0] != '|');
        bool nothing = strncmp(line, label, strlen(label)) == 0 && strstr(line, "no fields") != NULL;
        labelled = labelled || strncmp(line, label, strlen(label)) == 0;
        if (labelled && row) {
            table = true;
            put_name(out, "", line + 3, strcspn(line + 3, "`"));
        }
        free(line);
        if (nothing) {
            return;
        }
        if (over) {
            break;
        }
    }
    if (!table) {
        fail_msg("%s: there is no table of fields after \"%s\"", heading, label);
    }
}
