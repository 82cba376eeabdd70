/* A library that is preloaded into lockstepd and makes its disk slow, or failing, while the nemesis says so: it stands
 * before the calls by which node/replica/disk_posix.c writes. What it is told is in a file named by
 * LOCKSTEP_TORTURE_DISK, which the nemesis writes to and which is mapped here; without it every call passes.
 * It never changes what is written, nor whether a call that it reports as done was done:
 *
 *   D1  A write that is to fail writes the first half of its bytes, as a disk that ends in the middle does.
 *   D2  A sync that is to fail does not sync. (The pages stay, as nobody cuts the machine's power.)
 *   D3  A delay is over as soon as the nemesis takes it back, so that a heal is one for calls under way, too. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The file's bytes, in this machine's order; tests/torture/nemesis/disk.py has the same. */
struct control {
    _Atomic uint32_t write_delay_us;
    _Atomic uint32_t sync_delay_us;
    _Atomic int32_t write_errno;
    _Atomic int32_t sync_errno;
    _Atomic int32_t allocate_errno;
    _Atomic uint32_t delayed; /* calls, since the file was made */
    _Atomic uint32_t failed;
};

enum { SLICE_US = 2000 };

static struct control none;
static struct control *control = &none;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_ftruncate)(int, off_t);

static void map_control(void)
{
    const char *path = getenv("LOCKSTEP_TORTURE_DISK");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd); /* the mapping stays */
    if (mapped != MAP_FAILED) {
        control = mapped;
    }
}

static void set_up(void)
{
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fallocate = dlsym(RTLD_NEXT, "fallocate");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    map_control();
}

/* By the kernel's own clock, which is not faked. */
static void wait_slice(void)
{
    struct timespec slice = {.tv_nsec = SLICE_US * 1000L};
    (void)syscall(SYS_nanosleep, &slice, NULL); /* a signal ends it sooner: the next slice is as good */
}

static void delay(_Atomic uint32_t *delay_us)
{
    if (atomic_load(delay_us) == 0) {
        return;
    }
    atomic_fetch_add(&control->delayed, 1);
    for (uint64_t waited = 0; waited < atomic_load(delay_us); waited += SLICE_US) {
        wait_slice();
    }
}

static bool fails(_Atomic int32_t *error)
{
    int32_t number = atomic_load(error);
    if (number != 0) {
        atomic_fetch_add(&control->failed, 1);
        errno = number;
    }
    return number != 0;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    (void)pthread_once(&once, set_up);
    delay(&control->write_delay_us);
    if (atomic_load(&control->write_errno) != 0) {
        (void)real_pwrite(fd, data, size / 2, offset); /* D1; it fails in any case */
        (void)fails(&control->write_errno);
        return -1;
    }
    return real_pwrite(fd, data, size, offset);
}

static int faulty_allocate(int fd, int mode, off_t offset, off_t size)
{
    (void)pthread_once(&once, set_up);
    return fails(&control->allocate_errno) ? -1 : real_fallocate(fd, mode, offset, size);
}

static int faulty_truncate(int fd, off_t size)
{
    (void)pthread_once(&once, set_up);
    return fails(&control->allocate_errno) ? -1 : real_ftruncate(fd, size);
}

int fdatasync(int fd)
{
    (void)pthread_once(&once, set_up);
    delay(&control->sync_delay_us);
    return fails(&control->sync_errno) ? -1 : real_fdatasync(fd);
}

int fsync(int fd)
{
    (void)pthread_once(&once, set_up);
    delay(&control->sync_delay_us);
    return fails(&control->sync_errno) ? -1 : real_fsync(fd);
}

/* The C library has two names for each of these, which are one where off_t has 64 bits. */

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return faulty_pwrite(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return faulty_pwrite(fd, data, size, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return faulty_allocate(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return faulty_allocate(fd, mode, offset, size);
}

int ftruncate(int fd, off_t size)
{
    return faulty_truncate(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return faulty_truncate(fd, size);
}
