/* The real disk: one directory, held by one process. Owns the directory's descriptor and its lock; the files are in
 * disk_posix.c, the workers in disk_thread.c. */
#include "node/replica/disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/assert.h"

struct opening {
    struct disk_real *disk;
    const char *path;
    enum disk_refusal refusal;
    char *message;
    size_t message_size;
};

static bool __attribute__((format(printf, 3, 4)))
fail(struct opening *opening, int error, const char *format, ...)
{
    va_list args;
    opening->refusal = error == EWOULDBLOCK         ? DISK_REFUSAL_LOCKED
                       : disk_error_may_pass(error) ? DISK_REFUSAL_FOR_NOW
                                                    : DISK_REFUSAL_UNUSABLE;
    va_start(args, format);
    (void)vsnprintf(opening->message, opening->message_size, format, args);
    va_end(args);
    return false;
}

static bool open_directory(struct opening *opening)
{
    const char *path = opening->path;
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        int error = errno;
        return fail(opening, error, "cannot create the directory %s: %s%s", path, strerror(error),
                    error == ENOENT ? "; create the one above it first" : "");
    }
    opening->disk->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opening->disk->directory < 0) {
        return fail(opening, errno, "cannot open the directory %s: %s", path, strerror(errno));
    }
    return true;
}

/* Our name in the directory above may be as new as we are, whoever made it; until that one is synced, a loss of power can take it, and
 * with it all that is synced in here. Each start does so: one that was to do it may have ended before. A mount point has a name already.
 * Who may not read what is above syncs the whole file system. */
static bool sync_name(struct opening *opening)
{
    int ours = opening->disk->directory;
    struct stat status, above;
    if (fstat(ours, &status) == 0 && fstatat(ours, "..", &above, 0) == 0 && status.st_dev != above.st_dev) {
        return true;
    }
    int fd = openat(ours, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv = fd >= 0 ? fsync(fd) : syncfs(ours);
    int error = errno;
    if (fd >= 0) {
        (void)close(fd); /* Only read. */
    }
    return rv == 0 || fail(opening, error, "cannot sync the directory above %s: %s", opening->path, strerror(error));
}

static bool fail_locked(struct opening *opening)
{
    char owner[32] = "";
    ssize_t size = pread(opening->disk->lock, owner, sizeof owner - 1, 0);
    owner[size > 0 ? size : 0] = 0;
    owner[strcspn(owner, "\n")] = 0;
    return fail(opening, EWOULDBLOCK,
                "%s is in use by process %s: stop that one first, or give this node its own directory",
                opening->path, owner[0] == 0 ? "(unknown)" : owner);
}

static bool fail_to_write(struct opening *opening, int error, const char *what)
{
    const char *advice =
        error == ENOSPC || error == EDQUOT ? "free some space" : "it must belong to the user that runs this";
    return fail(opening, error, "cannot %s %s: %s; %s", what, opening->path, strerror(error), advice);
}

/* The lock goes with the descriptor: however the process ends, the next one gets it. Writing the number also shows that
 * the directory can be written to. It goes over the old one, which takes no space: a node starts on a full disk, too. */
static bool lock_directory(struct opening *opening)
{
    char owner[32];
    int fd = openat(opening->disk->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    opening->disk->lock = fd;
    if (fd < 0) {
        return fail_to_write(opening, errno, "write to");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? fail_locked(opening)
                   : fail(opening, errno, "cannot lock %s/lock: %s", opening->path, strerror(errno));
    }
    int length = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    if (pwrite(fd, owner, (size_t)length, 0) != length || ftruncate(fd, length) != 0) {
        return fail_to_write(opening, errno, "write to the file lock in");
    }
    return true;
}

/* New names too: an existing lock file may be ours in a directory that is not. */
static bool check_writable(struct opening *opening)
{
    static const char probe[] = "probe.tmp";
    int fd = openat(opening->disk->directory, probe, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        return fail_to_write(opening, errno, "create files in");
    }
    (void)close(fd);                                    /* Nothing was written. */
    (void)unlinkat(opening->disk->directory, probe, 0); /* If it stays, the next start takes it. */
    return true;
}

static void free_disk(struct disk_real *disk)
{
    if (disk->lock >= 0) {
        (void)close(disk->lock); /* Unlocks; its contents do not matter. */
    }
    if (disk->directory >= 0) {
        (void)close(disk->directory); /* Only read. */
    }
    free(disk);
}

static void on_stopped(struct disk_threads *threads)
{
    struct disk_real *disk = (void *)((char *)threads - offsetof(struct disk_real, threads));
    void (*closed)(void *ctx) = disk->closed;
    void *ctx = disk->ctx;
    free_disk(disk);
    if (closed != NULL) {
        closed(ctx);
    }
}

struct disk *disk_real_open(uv_loop_t *loop, const char *path, enum disk_refusal *ret_refusal, char *message,
                            size_t message_size)
{
    struct disk_real *disk = calloc(1, sizeof *disk);
    LOCKSTEP_ASSERT(disk != NULL);
    struct opening opening = {.disk = disk, .path = path, .message = message, .message_size = message_size};
    bool has_async = false;
    disk->disk.ops = &disk_real_ops;
    disk->directory = disk->lock = -1;
    if (!open_directory(&opening) || !lock_directory(&opening) || !check_writable(&opening) || !sync_name(&opening)) {
        *ret_refusal = opening.refusal;
        free_disk(disk);
        return NULL;
    }
    int rv = disk_threads_start(&disk->threads, loop, &has_async);
    if (rv == 0) {
        return &disk->disk;
    }
    (void)fail(&opening, -rv, "cannot start the disk's threads: %s", strerror(-rv));
    *ret_refusal = DISK_REFUSAL_FOR_NOW; /* a limit of threads, of memory or of descriptors */
    if (has_async) {
        disk_threads_stop(&disk->threads, on_stopped);
    } else {
        free_disk(disk);
    }
    return NULL;
}

void disk_real_close(struct disk *disk, void (*closed)(void *ctx), void *ctx)
{
    struct disk_real *real = (struct disk_real *)disk;
    real->closed = closed;
    real->ctx = ctx;
    disk_threads_stop(&real->threads, on_stopped);
}
