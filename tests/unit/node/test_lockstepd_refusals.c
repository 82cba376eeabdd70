/* What lockstepd refuses to start with: each with its own exit code and a last line that says what is wrong and what to
 * do. The codes are those of node/exits.h and docs/operations.md: numbers here, because others rely on them. */
#include "lockstepd_harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char data_dir_flag[128];
static char data_dir[112];

static int set_up(void **state)
{
    int error = directory_create(state);
    (void)snprintf(data_dir, sizeof(data_dir), "%s/data", directory);
    (void)snprintf(data_dir_flag, sizeof(data_dir_flag), "--data-dir=%s", data_dir);
    return error;
}

/* A node that has been: its directory is made, and it has stopped. */
static void node_make(const char *cluster)
{
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", cluster, data_dir_flag, NULL});
    daemon_signal(daemon, SIGTERM);
    assert_int_equal(daemon_wait(daemon), 0);
}

static void help_and_version_are_printed(void **state)
{
    static const char *const flags[] = {"--help", "--version", "--print=sample", "--print=table",
                                        "--print=exits"};
    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct daemon *daemon = daemon_start((const char *const[]){flags[i], NULL});
        assert_int_equal(daemon_wait(daemon), 0);
        assert_int_equal(daemon->log_size, 0); /* all of it went to standard output */
    }
}

static void wrong_settings_are_2(void **state)
{
    (void)state;
    assert_exit((const char *const[]){"--dev", "--heartbeat=soon", NULL}, 2,
                "event=exit code=2 name=SETTINGS why=\"--heartbeat: \\\"soon\\\" is no duration");
    assert_exit((const char *const[]){NULL}, 2, "3 settings are wrong: see the lines above");
    assert_exit((const char *const[]){"--no-such-flag", "--dev", NULL}, 2,
                "there is no flag \\\"--no-such-flag\\\"");
    assert_exit((const char *const[]){"--config=/nonexistent", "--dev", NULL}, 2, "the file can not be read");
    assert_exit((const char *const[]){"--check-config", NULL}, 2, "lockstepd: 3 wrong in the settings");
    assert_exit((const char *const[]){"--check-config", "--dev", NULL}, 0, "");
    assert_exit((const char *const[]){"--config=/nonexistent", NULL}, 2,
                "name=SETTINGS why=\"/nonexistent: the file can not be");
    assert_exit((const char *const[]){"--check-config", "--node-id=1", "--cluster=c", "--data-dir=/d",
                                      "--peers=1=127.0.0.1:7500/127.0.0.1:7401", NULL},
                0, "lockstepd: warning: listen: this node listens at 127.0.0.1:7400, and its entry in peers");
}

static void a_port_that_is_taken_is_3(void **state)
{
    char listen[80];
    (void)state;
    struct daemon *daemon = daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", NULL});
    (void)snprintf(listen, sizeof(listen), "--listen=%s", daemon->listen);
    assert_exit((const char *const[]){"--dev", listen, NULL}, 3,
                "address already in use: another process listens there; stop it");
    (void)snprintf(listen, sizeof(listen), "--peer-listen=%s", daemon->listen);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", listen, NULL}, 3,
                "event=exit code=3 name=ADDRESS");
    assert_exit((const char *const[]){"--dev", "--listen=192.0.2.1:7400", NULL}, 3,
                "this machine does not have that address");
    daemon_signal(daemon, SIGTERM);
    assert_int_equal(daemon_wait(daemon), 0);
}

static void a_directory_that_can_not_be_made_is_4(void **state)
{
    char flag[160];
    (void)state;
    (void)snprintf(flag, sizeof(flag), "--data-dir=%s/no/such/parent", directory);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", flag, NULL}, 4,
                "event=exit code=4 name=DATA_DIR");
    int fd = open(data_dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 4,
                "event=exit code=4 name=DATA_DIR");
}

static void a_directory_that_is_not_writable_is_4(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may write anywhere */
    }
    assert_int_equal(mkdir(data_dir, 0500), 0);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 4,
                "event=exit code=4 name=DATA_DIR");
}

/* The unit starts it again, and it comes back when there is space. */
static void a_full_disk_is_8_at_the_start_too(void **state)
{
    char lock[128];
    (void)state;
    assert_int_equal(mkdir(data_dir, 0700), 0);
    (void)snprintf(lock, sizeof(lock), "%s/lock", data_dir);
    assert_int_equal(symlink("/dev/full", lock), 0);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 8,
                "No space left on device; free some space");
}

/* As a full disk: the signal that the kernel sends would end it without a last line. */
static void a_limit_of_file_sizes_is_8(void **state)
{
    struct rlimit before, limit;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 100 * 1024, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 8, "File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void a_directory_in_use_is_5(void **state)
{
    char pid[32];
    (void)state;
    struct daemon *daemon =
        daemon_serve((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL});
    (void)snprintf(pid, sizeof(pid), "process %d", (int)daemon->pid);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 5, pid);
    daemon_signal(daemon, SIGKILL); /* the lock goes with the process, however it ends */
    (void)daemon_wait(daemon);
    node_make("--cluster=dev");
}

static void a_directory_of_another_cluster_or_node_is_6(void **state)
{
    (void)state;
    node_make("--cluster=blue");
    assert_exit(
        (const char *const[]){"--dev", "--listen=127.0.0.1:0", "--cluster=green", data_dir_flag, NULL}, 6,
        "belongs to a node of cluster 12236616448276309267, and cluster green is");
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", "--cluster=blue", "--node-id=2",
                                      data_dir_flag, NULL},
                6, "belongs to node 1, and this is node 2");
    node_make("--cluster=blue");
}

static void an_empty_directory_without_peers_is_7(void **state)
{
    (void)state;
    assert_exit(
        (const char *const[]){"--node-id=1", "--cluster=c", "--listen=127.0.0.1:0",
                              "--peer-listen=127.0.0.1:7509", data_dir_flag, NULL},
        7, "is empty and there is no list of peers: for a new cluster give the same list to all its nodes");
}

/* Flip a byte in each record of every file below `path`. */
static void spoil_all(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char name[512];
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (entry->d_type == DT_DIR) {
            spoil_all(name);
            continue;
        }
        int fd = open(name, O_RDWR | O_CLOEXEC);
        uint8_t byte = 0;
        assert_true(fd >= 0);
        for (off_t at = 16; at < 4096 && pread(fd, &byte, 1, at) == 1; at += 16) {
            byte ^= 0x10;
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        (void)close(fd);
    }
    (void)closedir(dir);
}

static void corrupt_data_is_7(void **state)
{
    (void)state;
    node_make("--cluster=dev");
    spoil_all(data_dir);
    assert_exit((const char *const[]){"--dev", "--listen=127.0.0.1:0", data_dir_flag, NULL}, 7,
                "event=exit code=7 name=DATA");
}

static void the_last_line_is_json_where_the_log_is(void **state)
{
    (void)state;
    assert_exit((const char *const[]){"--dev", "--log-format=json", "--listen=192.0.2.1:7400", NULL}, 3,
                "\"event\":\"exit\",\"code\":3,\"name\":\"ADDRESS\"");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, directory_remove)
    const struct CMUnitTest tests[] = {
        TEST(help_and_version_are_printed),
        TEST(wrong_settings_are_2),
        TEST(a_port_that_is_taken_is_3),
        TEST(a_directory_that_can_not_be_made_is_4),
        TEST(a_directory_that_is_not_writable_is_4),
        TEST(a_full_disk_is_8_at_the_start_too),
        TEST(a_limit_of_file_sizes_is_8),
        TEST(a_directory_in_use_is_5),
        TEST(a_directory_of_another_cluster_or_node_is_6),
        TEST(an_empty_directory_without_peers_is_7),
        TEST(corrupt_data_is_7),
        TEST(the_last_line_is_json_where_the_log_is),
    };
    return cmocka_run_group_tests_name("lockstepd_refusals", tests, NULL, NULL);
}
