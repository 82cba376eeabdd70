/* A buffer holds what fits its limit and remembers what did not. */
#include "support.h"

#include "allocations.h"

static void a_new_buffer_has_allocated_nothing(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    size_t before = allocations_count();
    proto_buffer_init(&buffer, 1000);
    assert_null(buffer.data);
    assert_int_equal(allocations_count(), before);
    proto_buffer_done(&buffer);
    proto_buffer_done(&buffer);
}

static void appends_of_every_size_are_copied_whole(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct proto_buffer buffer;
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + 1);
    }
    for (size_t size = 1; size <= sizeof bytes; size++) {
        proto_buffer_init(&buffer, 2 * sizeof bytes);
        assert_true(proto_buffer_append(&buffer, "<", 1));
        assert_true(proto_buffer_append(&buffer, bytes, size));
        assert_true(proto_buffer_append(&buffer, ">", 1));
        assert_int_equal(buffer.size, size + 2);
        assert_int_equal(buffer.data[0], '<');
        assert_memory_equal(buffer.data + 1, bytes, size);
        assert_int_equal(buffer.data[size + 1], '>');
        proto_buffer_done(&buffer);
    }
}

static void appends_follow_each_other(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_true(proto_buffer_append(&buffer, &byte, 1));
    }
    assert_int_equal(buffer.size, 100000);
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(buffer.data[i], (uint8_t)(i * 7));
    }
    proto_buffer_done(&buffer);
    assert_null(buffer.data);
}

static void growth_is_geometric(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    size_t before = allocations_count();
    proto_buffer_init(&buffer, 1 << 20);
    for (unsigned i = 0; i < 1 << 20; i++) {
        assert_true(proto_buffer_append(&buffer, "x", 1));
    }
    assert_true(allocations_count() - before <= 20);
    assert_int_equal(buffer.capacity, 1 << 20);
    proto_buffer_done(&buffer);
}

static void what_does_not_fit_marks_the_buffer_and_changes_nothing(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10);
    assert_true(proto_buffer_append(&buffer, "0123456", 7));
    assert_false(proto_buffer_append(&buffer, "789a", 4));
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 7);
    assert_false(proto_buffer_append(&buffer, "7", 1)); /* it would fit, but something before it is missing */
    assert_false(proto_buffer_append(&buffer, "", 0));
    assert_null(proto_buffer_reserve(&buffer, 1));
    assert_memory_equal(buffer.data, "0123456", 7);
    proto_buffer_clear(&buffer);
    assert_false(buffer.failed);
    assert_true(proto_buffer_append(&buffer, "0123456789", 10));
    assert_false(proto_buffer_append(&buffer, "a", 1));
    proto_buffer_done(&buffer);
}

static void a_size_that_wraps_around_is_refused(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, SIZE_MAX);
    assert_true(proto_buffer_append(&buffer, "abc", 3));
    assert_null(proto_buffer_reserve(&buffer, SIZE_MAX - 2));
    assert_true(buffer.failed);
    proto_buffer_done(&buffer);
}

static void clearing_keeps_the_memory(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10000);
    assert_non_null(proto_buffer_reserve(&buffer, 9000));
    size_t before = allocations_count();
    proto_buffer_clear(&buffer);
    assert_non_null(proto_buffer_reserve(&buffer, 9000));
    assert_int_equal(allocations_count(), before);
    proto_buffer_done(&buffer);
}

static void room_for_nothing_is_a_place_too(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10);
    assert_non_null(proto_buffer_reserve(&buffer, 0));
    assert_true(proto_buffer_append(&buffer, NULL, 0));
    assert_int_equal(buffer.size, 0);
    assert_false(buffer.failed);
    proto_buffer_done(&buffer);
}

static void memory_that_is_refused_marks_the_buffer(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10000);
    assert_true(proto_buffer_append(&buffer, "abc", 3));
    allocations_refuse(true);
    uint8_t *room = proto_buffer_reserve(&buffer, 5000);
    allocations_refuse(false);
    assert_null(room);
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 3);
    assert_memory_equal(buffer.data, "abc", 3);
    proto_buffer_done(&buffer);
}

static void consuming_moves_the_rest_down(void **state)
{
    (void)state;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, 10);
    assert_true(proto_buffer_append(&buffer, "abcdef", 6));
    proto_buffer_consume(&buffer, 0);
    assert_int_equal(buffer.size, 6);
    proto_buffer_consume(&buffer, 2);
    assert_int_equal(buffer.size, 4);
    assert_memory_equal(buffer.data, "cdef", 4);
    proto_buffer_consume(&buffer, 4);
    assert_int_equal(buffer.size, 0);
    proto_buffer_done(&buffer);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_has_allocated_nothing),
        cmocka_unit_test(appends_follow_each_other),
        cmocka_unit_test(appends_of_every_size_are_copied_whole),
        cmocka_unit_test(growth_is_geometric),
        cmocka_unit_test(what_does_not_fit_marks_the_buffer_and_changes_nothing),
        cmocka_unit_test(a_size_that_wraps_around_is_refused),
        cmocka_unit_test(clearing_keeps_the_memory),
        cmocka_unit_test(room_for_nothing_is_a_place_too),
        cmocka_unit_test(memory_that_is_refused_marks_the_buffer),
        cmocka_unit_test(consuming_moves_the_rest_down),
    };
    return cmocka_run_group_tests_name("protocol: buffer", tests, NULL, NULL);
}
