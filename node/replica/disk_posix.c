/* The real disk's files: names below one open directory, plain POSIX calls. Blocking; any thread; keeps no state but the
 * descriptors. All calls are retried when a signal interrupts them, none after an error. */
#include "node/replica/disk_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/assert.h"

struct disk_file {
    int fd;
};

static int directory_of(struct disk *disk)
{
    return ((struct disk_real *)disk)->directory;
}

bool disk_error_may_pass(int error)
{
    switch (error) {
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* of the process: ulimit -f, LimitFSIZE */
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return true;
    default:
        return false;
    }
}

/* -errno, and remembered. */
static int failed(struct disk *disk)
{
    int error = errno;
    int none = 0;
    if (disk_error_may_pass(error)) {
        (void)atomic_compare_exchange_strong(&((struct disk_real *)disk)->failure, &none,
                                             error); /* the first counts */
    }
    return -error;
}

int disk_real_failure(const struct disk *disk)
{
    return atomic_load(&((const struct disk_real *)disk)->failure);
}

static int posix_open(struct disk *disk, const char *name, int flags, struct disk_file **ret_file)
{
    int how = O_CLOEXEC | ((flags & DISK_WRITE) == 0  ? O_RDONLY
                           : (flags & DISK_READ) == 0 ? O_WRONLY
                                                      : O_RDWR);
    how |= (flags & DISK_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & DISK_EXCLUSIVE) != 0 ? O_EXCL : 0;
    int fd;
    do {
        fd = openat(directory_of(disk), name, how, 0640);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return failed(disk);
    }
    struct disk_file *file = malloc(sizeof *file);
    LOCKSTEP_ASSERT(file != NULL);
    file->fd = fd;
    *ret_file = file;
    return 0;
}

static void posix_close(struct disk *disk, struct disk_file *file)
{
    (void)disk;
    (void)close(file->fd); /* What had to be durable was synced, with its own result. */
    free(file);
}

static int64_t posix_read(struct disk *disk, struct disk_file *file, void *data, size_t size, uint64_t offset)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = pread(file->fd, (uint8_t *)data + got, size - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(disk);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    return (int64_t)got;
}

static int posix_write(struct disk *disk, struct disk_file *file, const void *data, size_t size,
                       uint64_t offset)
{
    size_t put = 0;
    while (put < size) {
        ssize_t n = pwrite(file->fd, (const uint8_t *)data + put, size - put, (off_t)(offset + put));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(disk);
        }
        if (n == 0) {
            errno = EIO;
            return failed(disk);
        }
        put += (size_t)n;
    }
    return 0;
}

static int posix_sync(struct disk *disk, struct disk_file *file)
{
    return fdatasync(file->fd) == 0 ? 0 : failed(disk);
}

static int posix_allocate(struct disk *disk, struct disk_file *file, uint64_t size)
{
    struct stat status;
    if (fstat(file->fd, &status) != 0) {
        return failed(disk);
    }
    if ((uint64_t)status.st_size < size) {
        int rv;
        do {
            rv = fallocate(file->fd, 0, 0, (off_t)size);
        } while (rv != 0 && errno == EINTR);
        if (rv == 0) {
            return 0;
        }
        if (errno != EOPNOTSUPP) {
            return failed(disk);
        }
        /* A file system that can not reserve: the size alone; the space comes with the first writes. */
    }
    return ftruncate(file->fd, (off_t)size) == 0 ? 0 : failed(disk);
}

static int64_t posix_size(struct disk *disk, struct disk_file *file)
{
    struct stat status;
    return fstat(file->fd, &status) == 0 ? (int64_t)status.st_size : failed(disk);
}

static int posix_rename(struct disk *disk, const char *from, const char *to)
{
    return renameat(directory_of(disk), from, directory_of(disk), to) == 0 ? 0 : failed(disk);
}

static int posix_unlink(struct disk *disk, const char *name)
{
    return unlinkat(directory_of(disk), name, 0) == 0 ? 0 : failed(disk);
}

static int posix_make_dir(struct disk *disk, const char *name)
{
    return mkdirat(directory_of(disk), name, 0750) == 0 ? 0 : failed(disk);
}

static int open_directory(struct disk *disk, const char *name)
{
    int fd = openat(directory_of(disk), name[0] == 0 ? "." : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : failed(disk);
}

static int posix_sync_dir(struct disk *disk, const char *name)
{
    int fd = open_directory(disk, name);
    if (fd < 0) {
        return fd;
    }
    int rv = fsync(fd) == 0 ? 0 : failed(disk);
    (void)close(fd); /* Only read. */
    return rv;
}

static bool is_regular(int directory, const struct dirent *entry)
{
    struct stat status;
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_REG;
    }
    return fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
}

static int posix_list(struct disk *disk, const char *name, void (*each)(void *ctx, const char *entry),
                      void *ctx)
{
    int fd = open_directory(disk, name);
    if (fd < 0) {
        return fd;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int rv = failed(disk);
        (void)close(fd); /* Only read. */
        return rv;
    }
    int rv = 0;
    while (true) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            rv = failed(disk);
            break;
        }
        if (is_regular(fd, entry)) {
            each(ctx, entry->d_name);
        }
    }
    (void)closedir(stream); /* Only read. */
    return rv;
}

static void posix_submit(struct disk *disk, unsigned lane, struct disk_job *job)
{
    disk_threads_submit(&((struct disk_real *)disk)->threads, lane, job);
}

const struct disk_ops disk_real_ops = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .allocate = posix_allocate,
    .size = posix_size,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .make_dir = posix_make_dir,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .submit = posix_submit,
};
