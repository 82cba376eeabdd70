/* What replicas keep: snapshots taken, sent and installed, first starts, lost directories; one story per test, in virtual
 * time (cluster.h lists what is checked besides). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cluster.h"
#include "cluster_internal.h"

static uint64_t seed = 1;

/* ---- snapshots ---- */

static struct cluster_options with_snapshots(uint64_t with_seed)
{
    struct cluster_options options = cluster_options(3, with_seed);
    options.snapshot_after_bytes = 60000;
    options.trailing_bytes = 20000;
    options.segment_bytes = 32 * 1024;
    options.image_bytes = 600000;
    return options;
}

static void a_snapshot_shortens_the_log_and_serves_the_next_start(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots(seed));
    for (unsigned i = 0; i < 100; i++) {
        cluster_command(cluster, 2000);
    }
    cluster_run(cluster, 2000);
    for (unsigned i = 0; i < 3; i++) {
        struct replica_status status = cluster_status(cluster, i);
        assert_true(status.snapshot_index > 0);
        assert_true(status.log_first_index > 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(cluster, i);
        assert_true(cluster_start(cluster, i));
        assert_true(cluster->nodes[i].snapshots_restored > 0);
        cluster_converge(cluster);
    }
    cluster_free(cluster);
}

static void a_follower_beyond_the_log_is_sent_the_snapshot(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots(seed));
    cluster_command(cluster, 10);
    unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 100; i++) {
        cluster_command(cluster, 2000);
    }
    cluster_start_all(cluster);
    cluster_converge(cluster);
    assert_true(cluster->nodes[absent].snapshots_restored > 0);
    cluster_free(cluster);
}

/* The tail of the log that a snapshot leaves is for those who lag a little. */
static void a_follower_within_the_tail_is_sent_entries(void **state)
{
    (void)state;
    struct cluster_options options = with_snapshots(seed);
    options.trailing_bytes = 400 * 1000;
    struct cluster *cluster = cluster_started(options);
    for (unsigned i = 0; i < 120; i++) {
        cluster_command(cluster, 2000);
    }
    unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
    uint64_t snapshot_index = cluster_status(cluster, cluster_sure_leader(cluster)).snapshot_index;
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 40; i++) {
        cluster_command(cluster, 2000);
    }
    assert_true(cluster_status(cluster, cluster_sure_leader(cluster)).snapshot_index > snapshot_index);
    assert_true(cluster_status(cluster, cluster_sure_leader(cluster)).log_first_index > 1);
    unsigned restored = cluster->nodes[absent].snapshots_restored;
    cluster_start_all(cluster);
    cluster_converge(cluster);
    assert_int_equal(cluster->nodes[absent].snapshots_restored, restored + 1); /* its own, at its start */
    cluster_free(cluster);
}

/* What is committed and not yet applied is not in the image and must not be claimed by it. */
static void a_snapshot_taken_amid_a_replay_holds_what_was_applied(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster->options.entries_in_flight_max = 1000;
    for (unsigned i = 0; i < 2500; i++) {
        (void)cluster_propose(cluster, cluster_sure_leader(cluster), 8);
        cluster_run(cluster, i % 50 == 0 ? 20 : 0);
    }
    cluster_converge(cluster);
    cluster->options.snapshot_after_bytes = 20000;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned node = 0; node < 3; node++) {
            cluster_crash(cluster, node);
        }
        cluster_start_all(cluster);
        cluster_run(cluster, 5000);
    }
    assert_true(cluster->nodes[0].snapshots_taken > 0 && cluster->nodes[0].snapshots_restored > 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* @return the follower that is down, and lacks more than the others' logs have. */
static unsigned crash_until_it_needs_a_snapshot(struct cluster *cluster)
{
    unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 80; i++) {
        cluster_command(cluster, 2000);
    }
    return absent;
}

static void crash_on_the_way(struct cluster *cluster, unsigned absent)
{
    assert_true(cluster_start(cluster, absent));
    cluster_run(cluster, 1 + simulated_random(&cluster->random, 150));
    cluster_crash(cluster, absent);
}

/* Killed again and again while it is sent a snapshot, at any moment of it, a node comes through in the end. */
static void an_installation_survives_crashes_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        struct cluster *cluster = cluster_started(with_snapshots(seed + i));
        cluster_command(cluster, 10);
        unsigned absent = crash_until_it_needs_a_snapshot(cluster);
        for (unsigned j = 0; j < 15; j++) {
            crash_on_the_way(cluster, absent);
        }
        cluster_start_all(cluster);
        cluster_converge(cluster);
        cluster_free(cluster);
    }
}

/* Raft takes no notice of a follower's rejections once the leader has a newer snapshot than the one that it began to send: only a
 * timeout of its own ends that, and the follower stood still for half a minute, in a cluster without any load. */
static void a_stream_that_broke_off_is_begun_anew_soon(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5; i++) {
        struct cluster *cluster = cluster_started(with_snapshots(seed + i));
        cluster_command(cluster, 10);
        unsigned absent = (cluster_sure_leader(cluster) + 1) % 3;
        for (unsigned round = 0; round < 3; round++) {
            cluster_crash(cluster, absent);
            for (unsigned j = 0; j < 60; j++) {
                cluster_command(cluster, 2000);
            }
            assert_true(cluster_start(cluster, absent));
            cluster_run(cluster, simulated_random(&cluster->random, 60));
        }
        assert_true(cluster_run_until(cluster, cluster_converged, 8000));
        cluster_free(cluster);
    }
}

/* The same, and each time it is first started by a version that can not restore the snapshot: it says so, and has nothing under
 * way. */
static void a_start_may_be_refused_at_any_moment_of_an_installation(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (uint64_t i = 0; i < 3; i++) {
        struct cluster_options options = with_snapshots(seed + i);
        options.segment_bytes = 4096;
        struct cluster *cluster = cluster_started(options);
        for (unsigned j = 0; j < 20; j++) {
            cluster_command(cluster, 2000); /* some segments, to be removed */
        }
        unsigned absent = crash_until_it_needs_a_snapshot(cluster);
        for (unsigned j = 0; j < 15; j++) {
            crash_on_the_way(cluster, absent);
            cluster->options.image_bytes++;
            if (cluster_start(cluster, absent)) {
                cluster_crash(cluster, absent);
            } else {
                assert_non_null(strstr(cluster->nodes[absent].fatal, "is whole but can not be restored"));
                refused++;
            }
            cluster->options.image_bytes--;
        }
        cluster_start_all(cluster);
        cluster_converge(cluster);
        cluster_free(cluster);
    }
    assert_true(refused > 0);
}

struct copying {
    struct disk *from, *to;
};

static void copy_snapshot(void *ctx, const char *entry)
{
    static uint8_t bytes[1024 * 1024];
    const struct copying *copying = ctx;
    struct disk *from = copying->from, *to = copying->to;
    struct disk_file *file;
    char name[128];
    (void)snprintf(name, sizeof name, "snapshot/%s", entry);
    assert_int_equal(from->ops->open(from, name, DISK_READ, &file), 0);
    int64_t size = from->ops->read(from, file, bytes, sizeof bytes, 0);
    assert_true(size > 0 && (size_t)size < sizeof bytes);
    from->ops->close(from, file);
    assert_int_equal(to->ops->open(to, name, DISK_WRITE | DISK_CREATE, &file), 0);
    assert_int_equal(to->ops->write(to, file, bytes, (size_t)size, 0), 0);
    assert_int_equal(to->ops->sync(to, file), 0);
    to->ops->close(to, file);
    assert_int_equal(to->ops->sync_dir(to, "snapshot"), 0);
}

/* As when a node ends between the snapshot that a leader of a newer version sent and the record that voids its own log: it says
 * that it can not read the snapshot, with nothing under way, and goes on where it can. */
static void a_snapshot_beyond_the_log_that_can_not_be_restored_is_told(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots(seed));
    cluster_command(cluster, 10);
    unsigned leader = cluster_sure_leader(cluster), absent = (leader + 1) % 3;
    cluster_crash(cluster, absent);
    for (unsigned i = 0; i < 80; i++) {
        cluster_command(cluster, 2000);
    }
    cluster_run(cluster, 2000);
    struct copying copying = {simulated_disk_seam(cluster->nodes[leader].disk),
                              simulated_disk_seam(cluster->nodes[absent].disk)};
    assert_int_equal(copying.from->ops->list(copying.from, "snapshot", copy_snapshot, &copying), 0);
    cluster->options.image_bytes++; /* so large a state's image must be */
    assert_false(cluster_start(cluster, absent));
    assert_non_null(strstr(cluster->nodes[absent].fatal, "is whole but can not be restored"));
    cluster->options.image_bytes--;
    assert_true(cluster_start(cluster, absent));
    assert_true(cluster->nodes[absent].snapshots_restored > 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

static void remove_snapshot(void *ctx, const char *entry)
{
    struct disk *disk = ctx;
    char name[128];
    (void)snprintf(name, sizeof name, "snapshot/%s", entry);
    assert_int_equal(disk->ops->unlink(disk, name), 0);
    assert_int_equal(disk->ops->sync_dir(disk, "snapshot"), 0);
}

/* What it advises must not be to put an older copy of the directory back. */
static void a_removed_snapshot_is_told_and_what_may_be_put_back(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots(seed));
    for (unsigned i = 0; i < 100; i++) {
        cluster_command(cluster, 2000);
    }
    cluster_run(cluster, 2000);
    cluster_crash(cluster, 0);
    struct disk *disk = simulated_disk_seam(cluster->nodes[0].disk);
    assert_int_equal(disk->ops->list(disk, "snapshot", remove_snapshot, disk), 0);
    assert_false(cluster_start(cluster, 0));
    assert_non_null(strstr(cluster->nodes[0].fatal, "a snapshot file was removed"));
    assert_non_null(strstr(cluster->nodes[0].fatal, "a copy of this very state"));
    cluster_free(cluster);
}

static void a_full_disk_puts_off_our_snapshot_and_nothing_else(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(with_snapshots(seed));
    for (unsigned i = 0; i < 3; i++) {
        simulated_disk_full(cluster->nodes[i].disk, "snapshot/");
    }
    for (unsigned i = 0; i < 60; i++) {
        cluster_command(cluster, 2000);
    }
    assert_int_equal(cluster_status(cluster, 0).snapshot_index, 0);
    for (unsigned i = 0; i < 3; i++) {
        simulated_disk_full(cluster->nodes[i].disk, NULL);
    }
    cluster_run(cluster, 61000);
    assert_true(cluster_status(cluster, 0).snapshot_index > 0);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- the way out ---- */

/* A disk that is always behind, under a leader that always has more, would never be idle: the stop of the process waited in
 * vain, and blamed the disk. */
static void a_quiet_replica_comes_to_rest_under_load(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    unsigned leaving = (cluster_sure_leader(cluster) + 1) % 3;
    struct cluster_node *node = &cluster->nodes[leaving];
    simulated_disk_latency(node->disk, cluster->now_ms, 20, 30);
    cluster->load_ms = 1;
    cluster_run(cluster, 300);
    replica_quiet(node->replica);
    cluster_run(cluster, 1000);
    for (unsigned i = 0; i < 500; i++) {
        cluster_run(cluster, 1);
        assert_true(replica_idle(node->replica));
    }
    assert_true(cluster_status(cluster, leaving).commit_index <
                cluster_status(cluster, cluster_sure_leader(cluster)).commit_index);
    cluster->load_ms = 0;
    cluster_crash(cluster, leaving);
    simulated_disk_latency(node->disk, cluster->now_ms, 0, 1);
    cluster_start_all(cluster);
    cluster_converge(cluster);
    cluster_free(cluster);
}

/* ---- formation ---- */

static void the_first_start_needs_every_node_and_later_ones_a_majority(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(3, seed));
    assert_true(cluster_start(cluster, 0));
    assert_true(cluster_start(cluster, 1));
    cluster_run(cluster, 10000);
    assert_int_equal(cluster_leader(cluster), -1);
    assert_true(cluster_start(cluster, 2));
    assert_true(cluster_run_until(cluster, cluster_has_leader, 3000));
    cluster_converge(cluster);
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(cluster, i);
    }
    assert_true(cluster_start(cluster, 0));
    assert_true(cluster_start(cluster, 2));
    assert_true(cluster_run_until(cluster, cluster_has_leader, 5000));
    cluster_free(cluster);
}

static void a_node_that_lost_its_directory_ends_and_says_what_to_do(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    cluster->fatal_expected = cluster->strangers_expected = true;
    for (unsigned i = 0; i < 3; i++) {
        struct cluster_node *node = &cluster->nodes[i];
        cluster_crash(cluster, i);
        if (i == 1) {
            break;
        }
        simulated_disk_wipe(node->disk);
        assert_true(cluster_start(cluster, i));
        cluster_run(cluster, 3000);
        assert_false(node->up);
        assert_non_null(strstr(node->fatal, "directory was lost"));
        assert_non_null(strstr(node->fatal, "Restore"));
        break;
    }
    cluster_command(cluster, 10); /* The others go on. */
    cluster_free(cluster);
}

/* Two of three lose their directories: the last one must not be talked into a new cluster. */
static void nodes_that_lost_their_directories_do_not_form_a_new_cluster(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    cluster_command(cluster, 10);
    cluster->fatal_expected = cluster->strangers_expected = true;
    for (unsigned i = 0; i < 3; i++) {
        cluster_crash(cluster, i);
    }
    simulated_disk_wipe(cluster->nodes[0].disk);
    simulated_disk_wipe(cluster->nodes[1].disk);
    cluster_start_all(cluster);
    cluster_run(cluster, 5000);
    assert_int_equal(cluster_leader(cluster), -1);
    assert_false(cluster->nodes[0].up || cluster->nodes[1].up);
    assert_true(cluster->nodes[2].up);
    cluster_free(cluster);
}

static void older_metadata_than_the_log_is_refused(void **state)
{
    (void)state;
    struct cluster_metadata older;
    struct cluster *cluster = cluster_started(cluster_options(3, seed));
    unsigned node = cluster_sure_leader(cluster);
    cluster_crash(cluster, node);
    cluster_metadata_get(cluster, node, &older);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
    assert_true(cluster_start(cluster, node)); /* with another leader, so in another term */
    cluster_converge(cluster);
    cluster_crash(cluster, node);
    cluster_metadata_put(cluster, node, &older);
    assert_false(cluster_start(cluster, node));
    assert_non_null(strstr(cluster->nodes[node].fatal, "they are an older copy, and this node's votes are lost"));
    cluster_free(cluster);
}

static void a_first_start_may_be_interrupted_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 60; i++) {
        struct cluster *cluster = cluster_create(cluster_options(3, seed + i));
        cluster_start_all(cluster);
        for (unsigned j = 0; j < 6; j++) {
            cluster_run(cluster, simulated_random(&cluster->random, 25));
            unsigned node = (unsigned)simulated_random(&cluster->random, 3);
            cluster_crash(cluster, node);
            assert_true(cluster_start(cluster, node));
        }
        assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
        cluster_converge(cluster);
        cluster_free(cluster);
    }
}

/* ---- refusals of replica_open ---- */

static void refuse_log(void *ctx, enum logger_level level, const char *message)
{
    (void)ctx;
    (void)level;
    (void)message;
}

static void open_refused(struct cluster *cluster, struct replica_config config, const char *expected)
{
    struct cluster_node *node = &cluster->nodes[0];
    char message[512] = "";
    struct replica_machine machine = {0};
    struct replica_callbacks callbacks = {.log = refuse_log};
    assert_null(replica_open(&config, simulated_disk_seam(node->disk), &node->link, &machine, &callbacks,
                             (struct local_time){1}, message, sizeof message));
    if (strstr(message, expected) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", message, expected);
    }
}

/* ---- the list of the settings, once there is another ---- */

static char warned[1024];

static void keep_warning(void *ctx, enum logger_level level, const char *message)
{
    (void)ctx;
    if (level == LOGGER_WARNING && strstr(message, "the setting peers") != NULL) {
        (void)snprintf(warned, sizeof warned, "%s", message);
    }
}

/* What a node that is down says of this list when it starts; "" for nothing. */
static const char *warning_about(struct cluster *cluster, const struct replica_member *members, unsigned count, bool made_up)
{
    struct cluster_node *node = &cluster->nodes[0];
    char message[512] = "";
    struct replica_machine machine = cluster_machine(node);
    struct replica_callbacks callbacks = cluster_callbacks(node);
    struct replica_config config = {
        .cluster_id = 7, .node_id = 1, .election_timeout_ms = 300, .heartbeat_ms = 30, .entries_in_flight_max = 8,
        .snapshot_after_bytes = 1 << 20, .trailing_bytes = 1 << 20, .random_seed = 5,
        .bootstrap = members, .bootstrap_count = count, .bootstrap_made_up = made_up,
    };
    callbacks.log = keep_warning;
    warned[0] = 0;
    struct replica *replica = replica_open(&config, simulated_disk_seam(node->disk), &node->link, &machine, &callbacks,
                                           (struct local_time){cluster->now_ms}, message, sizeof message);
    if (replica == NULL) {
        fail_msg("%s", message);
    }
    replica_close(replica);
    return warned;
}

static void a_list_that_is_not_used_is_told(void **state)
{
    (void)state;
    for (unsigned formed = 0; formed < 2; formed++) {
        struct cluster *cluster = cluster_create(cluster_options(3, seed));
        struct replica_member members[4];
        if (formed) {
            cluster_start_all(cluster);
            assert_true(cluster_run_until(cluster, cluster_has_leader, 10000));
        } else {
            assert_true(cluster_start(cluster, 0));
            cluster_run(cluster, 1000);
        }
        cluster_crash(cluster, 0);
        cluster_members(cluster, members);
        members[3] = (struct replica_member){4, "node4:1", "node4:2", true};
        const char *kind = formed ? "differs from the members of the cluster and is not used" : "and the cluster has never served";
        assert_string_equal(warning_about(cluster, members, 3, false), "");
        assert_non_null(strstr(warning_about(cluster, members, 4, false), "it has node 4 too"));
        assert_non_null(strstr(warned, kind));
        assert_non_null(strstr(warning_about(cluster, members, 2, false), "node 3 is not in it"));
        assert_string_equal(warning_about(cluster, members, 2, true), "");
        assert_string_equal(warning_about(cluster, members, 0, false), "");
        (void)snprintf(members[1].client_address, sizeof members[1].client_address, "elsewhere:2");
        assert_non_null(strstr(warning_about(cluster, members, 3, false), "elsewhere:2\" and not at \""));
        assert_non_null(strstr(warned, kind));
        cluster_free(cluster);
    }
}

static void a_wrong_directory_or_list_is_refused_by_name(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_create(cluster_options(1, seed));
    struct replica_member members[2] = {
        {.node_id = 1, .peer_address = "a:1", .client_address = "a:2", .voter = true},
        {.node_id = 1, .peer_address = "b:1", .client_address = "b:2", .voter = true},
    };
    struct replica_config config = {
        .cluster_id = 7, .node_id = 1, .election_timeout_ms = 300, .heartbeat_ms = 30, .entries_in_flight_max = 8,
        .snapshot_after_bytes = 1 << 20, .trailing_bytes = 1 << 20, .random_seed = 5,
    };
    struct replica_config bad = config;
    open_refused(cluster, config, "no bootstrap list");
    bad.heartbeat_ms = 200;
    open_refused(cluster, bad, "heartbeat");
    bad = config;
    bad.bootstrap = members;
    bad.bootstrap_count = 2;
    open_refused(cluster, bad, "of another");
    bad.bootstrap_count = 1;
    bad.node_id = 2;
    open_refused(cluster, bad, "does not have this node");
    cluster_start_all(cluster);
    assert_true(cluster_run_until(cluster, cluster_has_leader, 1000));
    cluster_crash(cluster, 0);
    bad = config;
    bad.node_id = 2;
    open_refused(cluster, bad, "belongs to node 1");
    bad = config;
    bad.cluster_id = 8;
    open_refused(cluster, bad, "belongs to cluster 7");
    cluster_free(cluster);
}

int main(void)
{
    seed = cluster_seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_shortens_the_log_and_serves_the_next_start),
        cmocka_unit_test(a_follower_beyond_the_log_is_sent_the_snapshot),
        cmocka_unit_test(a_follower_within_the_tail_is_sent_entries),
        cmocka_unit_test(a_snapshot_taken_amid_a_replay_holds_what_was_applied),
        cmocka_unit_test(an_installation_survives_crashes_at_any_moment),
        cmocka_unit_test(a_start_may_be_refused_at_any_moment_of_an_installation),
        cmocka_unit_test(a_stream_that_broke_off_is_begun_anew_soon),
        cmocka_unit_test(a_snapshot_beyond_the_log_that_can_not_be_restored_is_told),
        cmocka_unit_test(a_removed_snapshot_is_told_and_what_may_be_put_back),
        cmocka_unit_test(a_full_disk_puts_off_our_snapshot_and_nothing_else),
        cmocka_unit_test(a_quiet_replica_comes_to_rest_under_load),
        cmocka_unit_test(the_first_start_needs_every_node_and_later_ones_a_majority),
        cmocka_unit_test(a_node_that_lost_its_directory_ends_and_says_what_to_do),
        cmocka_unit_test(nodes_that_lost_their_directories_do_not_form_a_new_cluster),
        cmocka_unit_test(older_metadata_than_the_log_is_refused),
        cmocka_unit_test(a_first_start_may_be_interrupted_at_any_moment),
        cmocka_unit_test(a_list_that_is_not_used_is_told),
        cmocka_unit_test(a_wrong_directory_or_list_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
