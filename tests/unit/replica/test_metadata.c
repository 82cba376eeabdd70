/* Term, vote and identity survive whatever happens to one copy; what is not certain is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake_disk.h"
#include "node/replica/log.h"
#include "node/replica/metadata.h"

static struct metadata example(uint64_t term)
{
    struct metadata metadata = {.cluster_id = 9,
                                .node_id = 3,
                                .incarnation = 0xABCDEF,
                                .term = term,
                                .voted_for = term % 4,
                                .formed = term % 2 == 0,
                                .known_count = 2};
    metadata.known[0].node_id = 1;
    metadata.known[0].incarnation = 11;
    metadata.known[1].node_id = 2;
    metadata.known[1].incarnation = term;
    return metadata;
}

static void store(struct fake_disk *fake, uint64_t term)
{
    struct metadata metadata = example(term);
    char message[256] = "";
    assert_true(metadata_store(fake_disk_seam(fake), &metadata, message, sizeof message));
}

static void assert_loads(struct fake_disk *fake, uint64_t term)
{
    struct metadata metadata, expected = example(term);
    char message[256] = "";
    assert_int_equal(metadata_load(fake_disk_seam(fake), &metadata, message, sizeof message), METADATA_OK);
    assert_int_equal(metadata.cluster_id, expected.cluster_id);
    assert_int_equal(metadata.node_id, expected.node_id);
    assert_int_equal(metadata.incarnation, expected.incarnation);
    assert_int_equal(metadata.term, expected.term);
    assert_int_equal(metadata.voted_for, expected.voted_for);
    assert_int_equal(metadata.formed, expected.formed);
    assert_int_equal(metadata.known_count, expected.known_count);
    assert_memory_equal(metadata.known, expected.known, sizeof expected.known);
}

static void assert_refused(struct fake_disk *fake, enum metadata_result result, const char *expected)
{
    struct metadata metadata;
    char message[512] = "";
    assert_int_equal(metadata_load(fake_disk_seam(fake), &metadata, message, sizeof message), result);
    if (strstr(message, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", message, expected);
    }
}

static void what_was_stored_survives_the_loss_of_power(void **state)
{
    (void)state;
    struct fake_disk *fake = fake_disk_create(1);
    assert_refused(fake, METADATA_NONE, "");
    for (uint64_t term = 1; term < 8; term++) {
        store(fake, term);
        fake_disk_end(fake, FAKE_POWER);
        fake_disk_boot(fake);
        assert_loads(fake, term);
    }
    fake_disk_free(fake);
}

static void a_store_that_was_interrupted_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct fake_disk *fake = fake_disk_create(seed);
        struct metadata metadata = example(2), found;
        char message[256];
        store(fake, 1);
        fake_disk_end_at(fake, fake_disk_calls(fake) + 1 + (unsigned)(seed % 4),
                         seed % 8 < 4 ? FAKE_POWER : FAKE_KILL);
        (void)metadata_store(fake_disk_seam(fake), &metadata, message, sizeof message);
        fake_disk_boot(fake);
        /* The repair may be interrupted too. */
        fake_disk_end_at(fake, fake_disk_calls(fake) + 1 + (unsigned)(seed % 5), FAKE_POWER);
        (void)metadata_load(fake_disk_seam(fake), &found, message, sizeof message);
        fake_disk_end(fake, FAKE_POWER);
        fake_disk_boot(fake);
        assert_int_equal(metadata_load(fake_disk_seam(fake), &found, message, sizeof message), METADATA_OK);
        assert_true(found.term == 1 || found.term == 2);
        /* What was seen once can not be taken back. */
        fake_disk_end(fake, FAKE_POWER);
        fake_disk_boot(fake);
        assert_loads(fake, found.term);
        fake_disk_free(fake);
    }
}

static void a_first_store_that_was_interrupted_leaves_a_fresh_or_a_whole_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct fake_disk *fake = fake_disk_create(seed);
        struct metadata metadata = example(1), found;
        char message[256];
        fake_disk_end_at(fake, 1 + (unsigned)(seed % 12), FAKE_POWER);
        (void)metadata_store(fake_disk_seam(fake), &metadata, message, sizeof message);
        bool stored = !fake_disk_is_off(fake);
        fake_disk_end(fake, FAKE_POWER);
        fake_disk_boot(fake);
        enum metadata_result result = metadata_load(fake_disk_seam(fake), &found, message, sizeof message);
        assert_true(result == METADATA_OK || (!stored && result == METADATA_NONE));
        fake_disk_free(fake);
    }
}

static void rot_of_either_copy_costs_nothing_and_is_repaired(void **state)
{
    (void)state;
    static const char *const names[] = {"metadata-1", "metadata-2"};
    size_t size;
    for (unsigned copy = 0; copy < 2; copy++) {
        for (size_t at = 0; at < 512; at++) {
            struct fake_disk *fake = fake_disk_create(1);
            store(fake, 1);
            store(fake, 2);
            fake_disk_bytes(fake, names[copy], &size)[at] ^= (uint8_t)(1U << (at % 8));
            assert_loads(fake, 2);
            fake_disk_bytes(fake, names[1 - copy], &size)[at] ^= (uint8_t)(1U << (at % 8));
            assert_loads(fake, 2);
            fake_disk_free(fake);
        }
    }
}

static void two_bad_copies_are_refused(void **state)
{
    (void)state;
    struct fake_disk *fake = fake_disk_create(1);
    size_t size;
    store(fake, 1);
    fake_disk_bytes(fake, "metadata-1", &size)[50] ^= 1;
    fake_disk_bytes(fake, "metadata-2", &size)[51] ^= 1;
    assert_refused(fake, METADATA_CORRUPT, "votes are not known");
    assert_true(fake_disk_remove(fake, "metadata-2"));
    assert_refused(fake, METADATA_CORRUPT, "metadata-2 is missing");
    fake_disk_free(fake);
}

static void on_durable(void *ctx, uint64_t index)
{
    (void)ctx;
    (void)index;
}

static void on_failed(void *ctx, const char *message)
{
    (void)ctx;
    fail_msg("%s", message);
}

/* A log without entries is what an interrupted first start leaves; one with entries is a directory that lost its votes. */
static void missing_metadata_beside_a_used_log_or_a_snapshot_is_refused(void **state)
{
    (void)state;
    struct fake_disk *fake = fake_disk_create(1);
    struct disk *disk = fake_disk_seam(fake);
    struct log_options options = {.segment_bytes = 4096, .node_id = 3, .cluster_id = 9};
    struct log_callbacks callbacks = {.durable = on_durable, .failed = on_failed};
    char message[256] = "";
    struct log *log = log_open(disk, &options, &callbacks, 1, 0, 0, message, sizeof message);
    assert_non_null(log);
    assert_refused(fake, METADATA_NONE, "");
    struct log_entry *entry = log_entry_create(1, 1, LOG_COMMAND, 0);
    log_append(log, &entry, 1);
    log_entry_unref(entry);
    log_flush(log);
    fake_disk_run_all(fake);
    log_close(log);
    assert_refused(fake, METADATA_CORRUPT, "there is log/00000000000000000001.seg");
    fake_disk_free(fake);

    fake = fake_disk_create(1);
    disk = fake_disk_seam(fake);
    struct disk_file *file;
    assert_int_equal(disk->ops->open(disk, "snapshot/00000000000000000010-00000000000000000002.snap",
                                     DISK_WRITE | DISK_CREATE, &file),
                     0);
    disk->ops->close(disk, file);
    assert_refused(fake, METADATA_CORRUPT, "there is snapshot/");
    fake_disk_free(fake);
}

static void a_store_that_fails_says_so(void **state)
{
    (void)state;
    struct fake_disk *fake = fake_disk_create(1);
    store(fake, 1);
    for (unsigned call = 1; call <= 4; call++) {
        struct metadata metadata = example(2);
        char message[256] = "";
        struct fake_disk *copy = fake_disk_copy(fake);
        fake_disk_fail_at(copy, call, EIO);
        assert_false(metadata_store(fake_disk_seam(copy), &metadata, message, sizeof message));
        assert_non_null(strstr(message, "cannot"));
        assert_non_null(strstr(message, "metadata-"));
        fake_disk_free(copy);
    }
    fake_disk_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_stored_survives_the_loss_of_power),
        cmocka_unit_test(a_store_that_was_interrupted_leaves_the_old_or_the_new),
        cmocka_unit_test(a_first_store_that_was_interrupted_leaves_a_fresh_or_a_whole_one),
        cmocka_unit_test(rot_of_either_copy_costs_nothing_and_is_repaired),
        cmocka_unit_test(two_bad_copies_are_refused),
        cmocka_unit_test(missing_metadata_beside_a_used_log_or_a_snapshot_is_refused),
        cmocka_unit_test(a_store_that_fails_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
