/* docs/protocol.md says what the code does: its tables are the code's, its test vectors decode to what it says they mean
 * and encode to the bytes it has, every message has a vector, and the tables of fields name the fields of the vectors.
 *
 *   test_protocol_docs                  checks
 *   test_protocol_docs --write FILE     writes the tables, and the meaning and bytes of each vector, anew */
#include "docs.h"

#include <stdio.h>

#include "render_internal.h"
#include "wire.h"

static char *text; /* of the page */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s can not be opened", path);
    }
    char *contents = calloc(1, 1 << 20);
    assert_non_null(contents);
    size_t size = fread(contents, 1, (1 << 20) - 1, file);
    assert_true(size > 0 && size < (1 << 20) - 1);
    (void)fclose(file);
    return contents;
}

static int read_page(void **state)
{
    (void)state;
    char path[4096];
    const char *source = getenv("LOCKSTEP_SOURCE_DIR");
    (void)snprintf(path, sizeof path, "%s/docs/protocol.md", source != NULL ? source : ".");
    text = read_file(path);
    return 0;
}

static int free_page(void **state)
{
    (void)state;
    free(text);
    return 0;
}

static void the_page_is_as_the_code_has_it(void **state)
{
    (void)state;
    struct proto_buffer anew;
    proto_buffer_init(&anew, TEXT_BYTES_MAX);
    docs_regenerate(&anew, text);
    const char *is = text;
    const char *should = text_of(&anew);
    for (unsigned line = 1; *is != '\0' || *should != '\0'; line++) {
        size_t size = strcspn(is, "\n");
        if (size != strcspn(should, "\n") || strncmp(is, should, size) != 0) {
            fail_msg("docs/protocol.md:%u is\n%.*s\nand should be\n%.*s\nWrite it anew: "
                     "build/dev/tests/test_protocol_docs --write docs/protocol.md",
                     line, (int)size, is, (int)strcspn(should, "\n"), should);
        }
        is += size + (is[size] == '\n');
        should += size + (should[size] == '\n');
    }
    proto_buffer_done(&anew);
}

/* ---- vectors ---- */

static bool decode_vector(const struct vector *vector, struct proto_rows *rows, struct proto_buffer *bytes,
                          struct message *ret_message)
{
    static const char *const names[MESSAGE_KINDS] = {"hello-request", "hello-reply", "request", "reply",
                                                     "event"};
    struct proto_error error;
    assert_non_null(vector->bytes);
    assert_string_equal(hex_read(bytes, vector->bytes), "");
    for (unsigned kind = 0; kind < MESSAGE_KINDS; kind++) {
        if (strcmp(vector->direction, names[kind]) == 0) {
            assert_true(message_decode((enum message_kind)kind, view_of(bytes), rows, ret_message, &error));
            assert_int_equal(ret_message->kind, kind);
            return true;
        }
    }
    return false;
}

static void check_vector(const struct vector *vector, void *context)
{
    static struct proto_rows rows;
    struct proto_buffer bytes;
    struct proto_buffer again;
    struct proto_buffer rendered;
    struct message message;
    unsigned *count = context;
    (*count)++;
    proto_buffer_init(&bytes, TEXT_BYTES_MAX);
    proto_buffer_init(&again, TEXT_BYTES_MAX);
    proto_buffer_init(&rendered, TEXT_BYTES_MAX);
    if (decode_vector(vector, &rows, &bytes, &message)) {
        render_message(&rendered, &message);
        assert_string_equal(text_of(&rendered), vector->means);
        message_encode(&again, &message);
        assert_bytes_equal(view_of(&again), view_of(&bytes));
        proto_buffer_clear(&again);
        wire_write(&again, vector->notation, WIRE_SHORTEST);
        assert_bytes_equal(view_of(&again), view_of(&bytes));
    }
    proto_buffer_done(&bytes);
    proto_buffer_done(&again);
    proto_buffer_done(&rendered);
}

static void every_vector_decodes_and_encodes(void **state)
{
    (void)state;
    unsigned count = 0;
    docs_each_vector(text, check_vector, &count);
    assert_true(count >= 50);
}

struct search {
    const char *direction;
    const char *means; /* how it begins */
    unsigned found;
};

static void count_matches(const struct vector *vector, void *context)
{
    struct search *search = context;
    bool meant = search->means == NULL ||
                 (vector->means != NULL && strncmp(vector->means, search->means, strlen(search->means)) == 0);
    search->found += meant && strcmp(vector->direction, search->direction) == 0;
}

static void wants_vector(const char *direction, const char *means)
{
    struct search search = {direction, means, 0};
    docs_each_vector(text, count_matches, &search);
    if (search.found == 0) {
        fail_msg("docs/protocol.md has no vector \"%s ... %s ...\"", direction, means != NULL ? means : "");
    }
}

static bool is_internal(unsigned kind)
{
    return proto_operation_find(kind)->sent_by == PROTO_INTERNAL;
}

static void every_kind_of_message_has_a_vector(void **state)
{
    (void)state;
#define X(kind, enum_name, name, function, sent_by, served_by, since) \
    if (!is_internal(kind)) {                                         \
        wants_vector("request", name " ");                            \
        wants_vector("reply", name " ");                              \
    }
    PROTO_OPERATIONS(X)
#undef X
#define X(kind, enum_name, name) wants_vector("event", name " ");
    PROTO_EVENTS(X)
#undef X
    wants_vector("hello-request", NULL);
    wants_vector("hello-reply", NULL);
    wants_vector("refused", NULL);
    wants_vector("frame", NULL);
    wants_vector("lz4-frame", NULL);
}

/* ---- tables of fields ---- */

/* Of requests and replies the body's; what comes before it is the same for every operation. */
static void put_fields(struct proto_buffer *out, const struct vector *vector, const struct message *message)
{
    struct proto_buffer body;
    proto_buffer_init(&body, TEXT_BYTES_MAX);
    if (message->kind == MESSAGE_REQUEST) {
        render_request_body(&body, message->as.request.kind, &message->as.request.body);
    } else if (message->kind == MESSAGE_REPLY) {
        render_reply_body(&body, &message->as.reply);
    } else {
        assert_true(proto_buffer_append(&body, vector->means, strlen(vector->means)));
    }
    docs_fields_of_message(out, text_of(&body));
    proto_buffer_done(&body);
}

static void heading_and_label(const struct message *message, char *ret_heading, size_t size,
                              const char **ret_label)
{
    const char *name = NULL;
    *ret_label = "Fields";
    switch (message->kind) {
    case MESSAGE_HELLO_REQUEST:
        name = "The client's hello";
        break;
    case MESSAGE_HELLO_REPLY:
        name = "The node's hello";
        break;
    case MESSAGE_REQUEST:
        *ret_label = "Request";
        break;
    case MESSAGE_REPLY:
        *ret_label = "Reply";
        if (message->as.reply.status == PROTO_STATUS_HELD) {
            name = "`HELD`";
            *ret_label = "Fields";
        } else if (message->as.reply.status != PROTO_STATUS_OK &&
                   message->as.reply.status != PROTO_STATUS_STALE_FENCE) {
            name = "Every other refusal";
            *ret_label = "Fields";
        }
        break;
    default:
        break;
    }
    if (name != NULL) {
        (void)snprintf(ret_heading, size, "### %s", name);
    }
}

/* A message without rows does not show their fields. */
static bool same_fields(const char *section, const char *message)
{
    while (*section != '\0') {
        size_t size = strcspn(section, "\n") + 1;
        if (strncmp(section, message, size) == 0) {
            message += size;
        } else if (strcspn(section, "[") > size) {
            return false;
        }
        section += size;
    }
    return *message == '\0';
}

static void check_fields(const struct vector *vector, void *context)
{
    static struct proto_rows rows;
    struct proto_buffer bytes;
    struct proto_buffer of_message;
    struct proto_buffer of_section;
    struct message message;
    char heading[128];
    const char *label = NULL;
    (void)context;
    proto_buffer_init(&bytes, TEXT_BYTES_MAX);
    proto_buffer_init(&of_message, TEXT_BYTES_MAX);
    proto_buffer_init(&of_section, TEXT_BYTES_MAX);
    if (decode_vector(vector, &rows, &bytes, &message)) {
        (void)snprintf(heading, sizeof heading, "### `%.*s`", (int)strcspn(vector->means, " "),
                       vector->means);
        heading_and_label(&message, heading, sizeof heading, &label);
        put_fields(&of_message, vector, &message);
        docs_fields_of_section(&of_section, text, heading, label);
        if (!same_fields(text_of(&of_section), text_of(&of_message))) {
            fail_msg("%s, %s: the table has\n%s\nand the message\n%s", heading, label, text_of(&of_section),
                     text_of(&of_message));
        }
    }
    proto_buffer_done(&bytes);
    proto_buffer_done(&of_message);
    proto_buffer_done(&of_section);
}

static void tables_of_fields_name_the_fields_of_the_vectors(void **state)
{
    (void)state;
    docs_each_vector(text, check_fields, NULL);
}

/* ---- */

static int write_page(const char *path)
{
    struct proto_buffer anew;
    proto_buffer_init(&anew, TEXT_BYTES_MAX);
    char *page = read_file(path);
    docs_regenerate(&anew, page);
    free(page);
    FILE *file = fopen(path, "wb");
    bool written = file != NULL && fwrite(anew.data, 1, anew.size, file) == anew.size && fclose(file) == 0;
    proto_buffer_done(&anew);
    return written ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_as_the_code_has_it),
        cmocka_unit_test(every_vector_decodes_and_encodes),
        cmocka_unit_test(every_kind_of_message_has_a_vector),
        cmocka_unit_test(tables_of_fields_name_the_fields_of_the_vectors),
    };
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_page(argv[2]);
    }
    return cmocka_run_group_tests_name("docs/protocol.md", tests, read_page, free_page);
}
