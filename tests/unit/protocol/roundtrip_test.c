/* What is encoded decodes to the same message, whatever the message, and however wide a foreign encoder writes it. */
#include "support.h"

#include "arbitrary.h"
#include "render.h"
#include "wire.h"

struct trip {
    struct arbitrary *arbitrary;
    struct proto_rows *rows;
    struct proto_buffer bytes;
    struct proto_buffer again;
    struct proto_buffer sent;
    struct proto_buffer received;
};

static int set_up(void **state)
{
    struct trip *trip = calloc(1, sizeof *trip);
    assert_non_null(trip);
    trip->arbitrary = arbitrary_create(seed_get());
    trip->rows = malloc(sizeof *trip->rows);
    assert_non_null(trip->rows);
    proto_buffer_init(&trip->bytes, TEXT_BYTES_MAX);
    proto_buffer_init(&trip->again, TEXT_BYTES_MAX);
    proto_buffer_init(&trip->sent, TEXT_BYTES_MAX);
    proto_buffer_init(&trip->received, TEXT_BYTES_MAX);
    *state = trip;
    return 0;
}

static int tear_down(void **state)
{
    struct trip *trip = *state;
    proto_buffer_done(&trip->bytes);
    proto_buffer_done(&trip->again);
    proto_buffer_done(&trip->sent);
    proto_buffer_done(&trip->received);
    free(trip->rows);
    free(trip->arbitrary);
    free(trip);
    return 0;
}

/* A new message, encoded and rendered. */
static void send(struct trip *trip, enum message_kind kind, struct message *message)
{
    arbitrary_message(trip->arbitrary, kind, message);
    proto_buffer_clear(&trip->bytes);
    proto_buffer_clear(&trip->sent);
    message_encode(&trip->bytes, message);
    render_message(&trip->sent, message);
}

/* Decode `bytes`: it must be what was sent. */
static void receive(struct trip *trip, enum message_kind kind, struct proto_bytes bytes,
                    struct message *message)
{
    struct proto_error error;
    if (!message_decode(kind, bytes, trip->rows, message, &error)) {
        fail_msg("%s: %s: %s", text_of(&trip->sent), proto_status_name((uint64_t)error.status), error.detail);
    }
    proto_buffer_clear(&trip->received);
    render_message(&trip->received, message);
    assert_string_equal(text_of(&trip->received), text_of(&trip->sent));
}

static void every_message_survives_the_wire(void **state)
{
    struct trip *trip = *state;
    for (unsigned round = 0; round < rounds_get(20000); round++) {
        enum message_kind kind = (enum message_kind)(round % MESSAGE_KINDS);
        struct message message;
        struct message decoded;
        send(trip, kind, &message);
        struct proto_bytes copy = exact_copy(view_of(&trip->bytes));
        receive(trip, kind, copy, &decoded);
        proto_buffer_clear(&trip->again);
        message_encode(&trip->again, &decoded);
        assert_bytes_equal(view_of(&trip->again), copy);
        free((void *)(uintptr_t)copy.data);
    }
}

static void the_shortest_form_of_each_element_is_sent(void **state)
{
    struct trip *trip = *state;
    struct proto_buffer notation;
    proto_buffer_init(&notation, TEXT_BYTES_MAX);
    for (unsigned round = 0; round < rounds_get(2000); round++) {
        struct message message;
        send(trip, (enum message_kind)(round % MESSAGE_KINDS), &message);
        proto_buffer_clear(&notation);
        proto_buffer_clear(&trip->again);
        wire_print(&notation, view_of(&trip->bytes));
        wire_write(&trip->again, text_of(&notation), WIRE_SHORTEST);
        assert_bytes_equal(view_of(&trip->bytes), view_of(&trip->again));
    }
    proto_buffer_done(&notation);
}

static void any_width_of_an_element_is_understood(void **state)
{
    struct trip *trip = *state;
    struct proto_buffer notation;
    proto_buffer_init(&notation, TEXT_BYTES_MAX);
    for (unsigned round = 0; round < rounds_get(2000); round++) {
        enum message_kind kind = (enum message_kind)(round % MESSAGE_KINDS);
        struct message message;
        struct message decoded;
        send(trip, kind, &message);
        proto_buffer_clear(&notation);
        proto_buffer_clear(&trip->again);
        wire_print(&notation, view_of(&trip->bytes));
        wire_write(&trip->again, text_of(&notation), WIRE_WIDEST);
        receive(trip, kind, view_of(&trip->again), &decoded);
    }
    proto_buffer_done(&notation);
}

/* Every "]" but a text's gets further elements in front of it: what a later version may do to any array. */
static void add_elements(struct proto_buffer *longer, const char *notation)
{
    static const char added[] = ", 1, -1, nil, {}, [[\"new\", h'00'], true]]";
    bool quoted = false;
    for (const char *at = notation; *at != '\0'; at++) {
        quoted = *at == '"' ? !quoted : quoted;
        bool end = *at == ']' && !quoted;
        bool of_rows =
            end && (at[-1] == ']' || at[-1] == '[') && at[1] != '\0'; /* more rows are no new fields */
        assert_true(end && !of_rows ? proto_buffer_append(longer, added, sizeof added - 1)
                                    : proto_buffer_append(longer, at, 1));
    }
}

static void elements_that_a_later_version_adds_are_skipped(void **state)
{
    struct trip *trip = *state;
    struct proto_buffer notation;
    struct proto_buffer longer;
    proto_buffer_init(&notation, TEXT_BYTES_MAX);
    proto_buffer_init(&longer, TEXT_BYTES_MAX);
    for (unsigned round = 0; round < rounds_get(2000); round++) {
        enum message_kind kind = (enum message_kind)(round % MESSAGE_KINDS);
        struct message message;
        struct message decoded;
        send(trip, kind, &message);
        proto_buffer_clear(&notation);
        proto_buffer_clear(&longer);
        proto_buffer_clear(&trip->again);
        wire_print(&notation, view_of(&trip->bytes));
        add_elements(&longer, text_of(&notation));
        wire_write(&trip->again, text_of(&longer), WIRE_SHORTEST);
        receive(trip, kind, view_of(&trip->again), &decoded);
    }
    proto_buffer_done(&notation);
    proto_buffer_done(&longer);
}

static void take_body(struct trip *trip, struct proto_bytes *rest, const struct proto_request *request)
{
    union proto_request_body body;
    struct proto_error error;
    assert_true(proto_decode_request_body(rest, request->kind, &body, &error));
    proto_buffer_clear(&trip->sent);
    proto_buffer_clear(&trip->received);
    render_request_body(&trip->sent, request->kind, &request->body);
    render_request_body(&trip->received, request->kind, &body);
    assert_string_equal(text_of(&trip->received), text_of(&trip->sent));
}

static void bodies_of_requests_are_taken_one_after_the_other(void **state)
{
    struct trip *trip = *state;
    for (unsigned round = 0; round < rounds_get(5000); round++) {
        struct message message;
        union proto_request_body nothing = {0};
        arbitrary_message(trip->arbitrary, MESSAGE_REQUEST, &message);
        proto_buffer_clear(&trip->bytes);
        proto_encode_request_body(&trip->bytes, message.as.request.kind, &message.as.request.body);
        proto_encode_request_body(&trip->bytes, PROTO_EPOCH_RAISE, &nothing);
        proto_encode_request_body(&trip->bytes, message.as.request.kind, &message.as.request.body);
        struct proto_bytes rest = view_of(&trip->bytes);
        struct proto_request raise = {.kind = PROTO_EPOCH_RAISE};
        take_body(trip, &rest, &message.as.request);
        take_body(trip, &rest, &raise);
        take_body(trip, &rest, &message.as.request);
        assert_int_equal(rest.size, 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_message_survives_the_wire, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_shortest_form_of_each_element_is_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_width_of_an_element_is_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(elements_that_a_later_version_adds_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bodies_of_requests_are_taken_one_after_the_other, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("protocol: round trip", tests, NULL, NULL);
}
