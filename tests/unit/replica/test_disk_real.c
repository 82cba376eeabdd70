/* The real disk in a directory of its own: files, jobs and the lock, and the log, metadata and snapshots on top. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/replica/disk_real.h"
#include "node/replica/log.h"
#include "node/replica/metadata.h"
#include "node/replica/snapshots.h"

struct fixture {
    char path[256];
    uv_loop_t loop;
    struct disk *disk;
    char message[512];
};

static void remove_files(const char *path)
{
    uv_fs_t request;
    uv_dirent_t entry;
    char name[600];
    if (uv_fs_scandir(NULL, &request, path, 0, NULL) >= 0) {
        while (uv_fs_scandir_next(&request, &entry) == 0) {
            (void)snprintf(name, sizeof name, "%s/%s", path, entry.name);
            if (entry.type == UV_DIRENT_DIR) {
                remove_files(name);
            } else {
                (void)unlink(name);
            }
        }
    }
    uv_fs_req_cleanup(&request);
    (void)rmdir(path);
}

static void open_disk(struct fixture *fixture)
{
    enum disk_refusal refusal;
    fixture->disk =
        disk_real_open(&fixture->loop, fixture->path, &refusal, fixture->message, sizeof fixture->message);
    if (fixture->disk == NULL) {
        fail_msg("%s", fixture->message);
    }
}

static void set_up(struct fixture *fixture)
{
    const char *base = getenv("TMPDIR");
    memset(fixture, 0, sizeof *fixture);
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/lockstep-disk-XXXXXX",
                   base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(fixture->path));
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    open_disk(fixture);
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void close_disk(struct fixture *fixture)
{
    bool closed = false;
    disk_real_close(fixture->disk, on_closed, &closed);
    assert_false(closed);
    while (!closed) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    fixture->disk = NULL;
}

static void tear_down(struct fixture *fixture)
{
    close_disk(fixture);
    assert_int_equal(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    remove_files(fixture->path);
}

static void run_until(struct fixture *fixture, const bool *flag)
{
    while (!*flag) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

/* Stands before the C library's: whether a directory was synced. */
static struct {
    dev_t device;
    ino_t inode;
    bool synced;
} watched;

int fsync(int fd)
{
    struct stat status;
    bool is_it = fstat(fd, &status) == 0 && status.st_dev == watched.device && status.st_ino == watched.inode;
    watched.synced = watched.synced || is_it;
    return (int)syscall(SYS_fsync, fd);
}

static void watch_syncs_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    watched.device = status.st_dev;
    watched.inode = status.st_ino;
    watched.synced = false;
}

/* ---- files ---- */

struct listing {
    char names[256];
};

static void note_entry(void *ctx, const char *entry)
{
    struct listing *listing = ctx;
    size_t used = strlen(listing->names);
    (void)snprintf(listing->names + used, sizeof listing->names - used, "%s ", entry);
}

static void files_do_what_the_seam_says(void **state)
{
    (void)state;
    struct fixture fixture;
    struct disk_file *file;
    char bytes[16] = "";
    struct listing list = {""};
    set_up(&fixture);
    const struct disk_ops *ops = fixture.disk->ops;
    assert_int_equal(ops->open(fixture.disk, "a", DISK_READ, &file), -ENOENT);
    assert_int_equal(ops->make_dir(fixture.disk, "log"), 0);
    assert_int_equal(ops->make_dir(fixture.disk, "log"), -EEXIST);
    assert_int_equal(
        ops->open(fixture.disk, "log/a", DISK_READ | DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &file), 0);
    assert_int_equal(ops->allocate(fixture.disk, file, 8192), 0);
    assert_int_equal(ops->size(fixture.disk, file), 8192);
    assert_int_equal(ops->write(fixture.disk, file, "hello", 5, 4096), 0);
    assert_int_equal(ops->read(fixture.disk, file, bytes, 8, 4094), 8);
    assert_memory_equal(bytes, "\0\0hello\0", 8);
    assert_int_equal(ops->read(fixture.disk, file, bytes, 8, 8190), 2);
    assert_int_equal(ops->read(fixture.disk, file, bytes, 8, 9000), 0);
    assert_int_equal(ops->sync(fixture.disk, file), 0);
    assert_int_equal(ops->allocate(fixture.disk, file, 100), 0);
    assert_int_equal(ops->size(fixture.disk, file), 100);
    ops->close(fixture.disk, file);
    assert_int_equal(ops->open(fixture.disk, "log/a", DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &file),
                     -EEXIST);
    assert_int_equal(ops->rename(fixture.disk, "log/a", "log/b"), 0);
    assert_int_equal(ops->sync_dir(fixture.disk, "log"), 0);
    assert_int_equal(ops->sync_dir(fixture.disk, ""), 0);
    assert_int_equal(ops->list(fixture.disk, "log", note_entry, &list), 0);
    assert_string_equal(list.names, "b ");
    list.names[0] = 0;
    assert_int_equal(ops->list(fixture.disk, "", note_entry, &list), 0);
    assert_string_equal(list.names, "lock ");
    assert_int_equal(ops->list(fixture.disk, "nowhere", note_entry, &list), -ENOENT);
    assert_int_equal(ops->unlink(fixture.disk, "log/b"), 0);
    assert_int_equal(ops->unlink(fixture.disk, "log/b"), -ENOENT);
    tear_down(&fixture);
}

/* ---- jobs ---- */

struct numbered {
    struct disk_job job;
    unsigned number;
    unsigned *worked, *finished;
    bool *last;
    pthread_t loop_thread;
};

static void work_numbered(struct disk_job *job)
{
    struct numbered *numbered = (struct numbered *)job;
    assert_false(pthread_equal(pthread_self(), numbered->loop_thread));
    *numbered->worked = *numbered->worked == numbered->number ? numbered->number + 1 : UINT32_MAX / 2;
}

static void done_numbered(struct disk_job *job)
{
    struct numbered *numbered = (struct numbered *)job;
    assert_true(pthread_equal(pthread_self(), numbered->loop_thread));
    assert_int_equal(*numbered->finished, numbered->number);
    *numbered->finished += 1;
    *numbered->last = *numbered->finished == 500;
}

static void jobs_of_a_lane_run_and_complete_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    static struct numbered jobs[DISK_LANES][500];
    unsigned worked[DISK_LANES] = {0}, finished[DISK_LANES] = {0};
    bool last[DISK_LANES] = {false};
    set_up(&fixture);
    for (unsigned i = 0; i < 500; i++) {
        for (unsigned lane = 0; lane < DISK_LANES; lane++) {
            jobs[lane][i] = (struct numbered){{work_numbered, done_numbered, NULL},
                                              i,
                                              &worked[lane],
                                              &finished[lane],
                                              &last[lane],
                                              pthread_self()};
            fixture.disk->ops->submit(fixture.disk, lane, &jobs[lane][i].job);
        }
    }
    for (unsigned lane = 0; lane < DISK_LANES; lane++) {
        run_until(&fixture, &last[lane]);
        assert_int_equal(worked[lane], 500);
    }
    tear_down(&fixture);
}

static void work_nothing(struct disk_job *job)
{
    (void)job;
}

static void done_never(struct disk_job *job)
{
    (void)job;
    fail_msg("called after the close");
}

static void a_closed_disk_calls_nothing_back(void **state)
{
    (void)state;
    struct fixture fixture;
    static struct disk_job jobs[100];
    set_up(&fixture);
    for (unsigned i = 0; i < 100; i++) {
        jobs[i] = (struct disk_job){work_nothing, done_never, NULL};
        fixture.disk->ops->submit(fixture.disk, i % 2, &jobs[i]);
    }
    tear_down(&fixture);
}

/* ---- the directory ---- */

static void a_directory_in_use_is_refused_with_the_process_named(void **state)
{
    (void)state;
    struct fixture fixture;
    char message[512] = "", pid[32];
    enum disk_refusal refusal;
    set_up(&fixture);
    assert_null(disk_real_open(&fixture.loop, fixture.path, &refusal, message, sizeof message));
    assert_int_equal(refusal, DISK_REFUSAL_LOCKED);
    (void)snprintf(pid, sizeof pid, "process %ld:", (long)getpid());
    assert_non_null(strstr(message, pid));
    close_disk(&fixture);
    open_disk(&fixture);
    tear_down(&fixture);
}

/* Its name is in the directory above, and a loss of power takes a name that was not synced with all that is behind it. Who made
 * it can have ended right afterwards, or not have known. */
static void a_new_directory_has_a_durable_name(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[300], message[512] = "";
    enum disk_refusal refusal;
    set_up(&fixture);
    (void)snprintf(path, sizeof path, "%s/new", fixture.path);
    for (unsigned i = 0; i < 2; i++) { /* made here, and found */
        watch_syncs_of(fixture.path);
        struct disk *disk = disk_real_open(&fixture.loop, path, &refusal, message, sizeof message);
        assert_non_null(disk);
        assert_true(watched.synced);
        bool closed = false;
        disk_real_close(disk, on_closed, &closed);
        run_until(&fixture, &closed);
    }
    tear_down(&fixture);
}

/* What kept a node from starting decides whether it is worth another try. Found by a torture run: a passing error ended as "corrupt". */
static void a_call_that_failed_for_now_is_remembered(void **state)
{
    struct fixture fixture;
    struct disk_file *file = NULL;
    char name[600];
    (void)state;
    set_up(&fixture);
    const struct disk_ops *ops = fixture.disk->ops;
    assert_int_equal(ops->open(fixture.disk, "missing", DISK_READ, &file), -ENOENT);
    assert_int_equal(disk_real_failure(fixture.disk), 0); /* that is an answer */

    (void)snprintf(name, sizeof name, "%s/full", fixture.path);
    assert_int_equal(symlink("/dev/full", name), 0);
    assert_int_equal(ops->open(fixture.disk, "full", DISK_WRITE, &file), 0);
    assert_int_equal(ops->write(fixture.disk, file, "x", 1, 0), -ENOSPC);
    assert_int_equal(disk_real_failure(fixture.disk), ENOSPC);
    ops->close(fixture.disk, file);
    tear_down(&fixture);
}

static void a_bad_directory_is_refused_by_name(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[300], message[512] = "";
    enum disk_refusal refusal;
    set_up(&fixture);
    (void)snprintf(path, sizeof path, "%s/no/where", fixture.path);
    assert_null(disk_real_open(&fixture.loop, path, &refusal, message, sizeof message));
    assert_int_equal(refusal, DISK_REFUSAL_UNUSABLE);
    assert_non_null(strstr(message, "create the one above it"));
    (void)snprintf(path, sizeof path, "%s/lock", fixture.path);
    assert_null(disk_real_open(&fixture.loop, path, &refusal, message, sizeof message));
    assert_non_null(strstr(message, "Not a directory"));
    if (geteuid() != 0) {
        (void)snprintf(path, sizeof path, "%s/closed", fixture.path);
        assert_int_equal(mkdir(path, 0500), 0);
        assert_null(disk_real_open(&fixture.loop, path, &refusal, message, sizeof message));
        assert_non_null(strstr(message, "must belong to"));
    }
    (void)snprintf(path, sizeof path, "%s/new", fixture.path);
    struct disk *disk = disk_real_open(&fixture.loop, path, &refusal, message, sizeof message);
    assert_non_null(disk);
    disk_real_close(disk, NULL, NULL);
    tear_down(&fixture);
}

/* Another try may find space; so it must not look like a directory that can not be used. */
static void a_full_disk_is_told_from_a_bad_directory(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[300], lock[310], message[512] = "";
    enum disk_refusal refusal;
    set_up(&fixture);
    (void)snprintf(path, sizeof path, "%s/filled", fixture.path);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(lock, sizeof lock, "%s/lock", path);
    assert_int_equal(symlink("/dev/full", lock), 0);
    assert_null(disk_real_open(&fixture.loop, path, &refusal, message, sizeof message));
    assert_int_equal(refusal, DISK_REFUSAL_FOR_NOW);
    assert_non_null(strstr(message, "free some space"));
    tear_down(&fixture);
}

/* ---- all together ---- */

struct store {
    struct fixture *fixture;
    struct log *log;
    bool idle;
    uint64_t wanted;
};

static void on_durable(void *ctx, uint64_t index)
{
    struct store *store = ctx;
    store->idle = index >= store->wanted;
}

static void on_failed(void *ctx, const char *message)
{
    (void)ctx;
    fail_msg("%s", message);
}

static void open_log(struct store *store, uint64_t snapshot_index)
{
    struct log_options options = {
        .segment_bytes = 256 * 1024, .cache_bytes = 10000, .node_id = 1, .cluster_id = 2};
    struct log_callbacks callbacks = {on_durable, on_failed, store};
    store->log = log_open(store->fixture->disk, &options, &callbacks, 1, 0, snapshot_index,
                          store->fixture->message, sizeof store->fixture->message);
    if (store->log == NULL) {
        fail_msg("%s", store->fixture->message);
    }
}

static void append_until(struct store *store, uint64_t last)
{
    store->wanted = last;
    store->idle = false;
    for (uint64_t index = log_last_index(store->log) + 1; index <= last; index++) {
        struct log_entry *entry = log_entry_create(index, 1, LOG_COMMAND, 3000);
        memset(entry->data, (int)index, 3000);
        log_append(store->log, &entry, 1);
        log_entry_unref(entry);
        log_flush(store->log);
        (void)uv_run(&store->fixture->loop, UV_RUN_NOWAIT);
    }
    run_until(store->fixture, &store->idle);
}

static void close_log(struct store *store)
{
    while (!log_idle(store->log)) {
        (void)uv_run(&store->fixture->loop, UV_RUN_ONCE);
    }
    log_close(store->log);
}

static void on_read(void *ctx, struct log_entry **entries, size_t count)
{
    assert_int_equal(count, 20);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i]->index, 5 + i);
        assert_int_equal(entries[i]->data[2999], (uint8_t)(5 + i));
        log_entry_unref(entries[i]);
    }
    *(bool *)ctx = true;
}

static void a_log_on_files_survives_restarts(void **state)
{
    (void)state;
    struct fixture fixture;
    struct store store = {.fixture = &fixture};
    bool read = false;
    set_up(&fixture);
    open_log(&store, 0);
    append_until(&store, 400);
    log_release(store.log, 400);
    assert_null(log_get(store.log, 5));
    log_read(store.log, 5, 20, 1 << 20, on_read, &read);
    run_until(&fixture, &read);
    close_log(&store);
    close_disk(&fixture);

    open_disk(&fixture);
    open_log(&store, 0);
    assert_int_equal(log_last_index(store.log), 400);
    assert_int_equal(log_get(store.log, 77)->data[0], 77);
    log_release(store.log, 400);
    log_remove_prefix(store.log, 300);
    assert_true(log_first_index(store.log) > 200);
    append_until(&store, 500);
    close_log(&store);
    close_disk(&fixture);

    open_disk(&fixture);
    open_log(&store, 300);
    assert_int_equal(log_last_index(store.log), 500);
    assert_null(log_get(store.log, 300));
    assert_non_null(log_get(store.log, 301));
    close_log(&store);
    tear_down(&fixture);
}

static void metadata_on_files_survives_restarts(void **state)
{
    (void)state;
    struct fixture fixture;
    struct metadata metadata = {.cluster_id = 1, .node_id = 2, .incarnation = 3}, found;
    set_up(&fixture);
    assert_int_equal(metadata_load(fixture.disk, &found, fixture.message, sizeof fixture.message),
                     METADATA_NONE);
    for (metadata.term = 1; metadata.term <= 5; metadata.term++) {
        assert_true(metadata_store(fixture.disk, &metadata, fixture.message, sizeof fixture.message));
    }
    close_disk(&fixture);
    open_disk(&fixture);
    assert_int_equal(metadata_load(fixture.disk, &found, fixture.message, sizeof fixture.message),
                     METADATA_OK);
    assert_int_equal(found.term, 5);
    tear_down(&fixture);
}

static void on_snapshot(void *ctx, bool ok)
{
    assert_true(ok);
    *(bool *)ctx = true;
}

static void on_snapshot_failed(void *ctx, int error, const char *message)
{
    (void)ctx;
    fail_msg("%d: %s", error, message);
}

struct loading {
    struct snapshot_reader *reader;
    size_t size;
    bool ended;
};

static bool feed(void *ctx, const void *data, size_t size)
{
    struct loading *loading = ctx;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(((const uint8_t *)data)[i], (uint8_t)((loading->size + i) / 1000));
    }
    loading->size += size;
    return true;
}

/* The next chunk is asked for before this one is looked at: its bytes must stay until the callback returns. */
static void on_chunk(void *ctx, const void *data, size_t size, int error)
{
    struct loading *loading = ctx;
    assert_int_equal(error, 0);
    if (size == 0) {
        loading->ended = true;
        return;
    }
    snapshot_reader_next(loading->reader, on_chunk, loading);
    assert_true(feed(loading, data, size));
}

static void read_beside_the_loop(struct fixture *fixture, struct snapshots *snapshots)
{
    struct loading loading = {.reader = snapshot_reader_begin(snapshots)};
    snapshot_reader_next(loading.reader, on_chunk, &loading);
    run_until(fixture, &loading.ended);
    assert_int_equal(loading.size, 3000000);
    snapshot_reader_end(loading.reader);
    while (!snapshots_idle(snapshots)) {
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

static void a_snapshot_on_files_survives_restarts(void **state)
{
    (void)state;
    struct fixture fixture;
    struct snapshot_info *info = calloc(1, sizeof *info);
    uint8_t data[1000];
    bool done = false;
    set_up(&fixture);
    struct snapshots *snapshots = snapshots_open(fixture.disk, 2, fixture.message, sizeof fixture.message);
    assert_non_null(snapshots);
    info->index = 7;
    info->term = 2;
    struct snapshot_writer *writer = snapshot_writer_begin(snapshots, info, on_snapshot_failed, NULL);
    for (unsigned i = 0; i < 3000; i++) {
        memset(data, (int)i, sizeof data);
        (void)snapshot_writer_add(writer, data, sizeof data);
        (void)uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    snapshot_writer_finish(writer, NULL, on_snapshot, &done);
    run_until(&fixture, &done);
    assert_true(snapshots_idle(snapshots));
    snapshots_close(snapshots);
    close_disk(&fixture);
    free(info);

    struct loading loading = {0};
    open_disk(&fixture);
    snapshots = snapshots_open(fixture.disk, 2, fixture.message, sizeof fixture.message);
    assert_non_null(snapshots);
    assert_int_equal(snapshots_newest(snapshots)->body_bytes, 3000000);
    assert_true(snapshots_load(snapshots, feed, &loading, fixture.message, sizeof fixture.message));
    assert_int_equal(loading.size, 3000000);
    read_beside_the_loop(&fixture, snapshots);
    snapshots_close(snapshots);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_do_what_the_seam_says),
        cmocka_unit_test(jobs_of_a_lane_run_and_complete_in_order),
        cmocka_unit_test(a_closed_disk_calls_nothing_back),
        cmocka_unit_test(a_directory_in_use_is_refused_with_the_process_named),
        cmocka_unit_test(a_new_directory_has_a_durable_name),
        cmocka_unit_test(a_call_that_failed_for_now_is_remembered),
        cmocka_unit_test(a_bad_directory_is_refused_by_name),
        cmocka_unit_test(a_full_disk_is_told_from_a_bad_directory),
        cmocka_unit_test(a_log_on_files_survives_restarts),
        cmocka_unit_test(metadata_on_files_survives_restarts),
        cmocka_unit_test(a_snapshot_on_files_survives_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
