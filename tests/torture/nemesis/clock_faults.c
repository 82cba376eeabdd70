/* A library that is preloaded into nodes and clients and gives the process a bad clock, while the nemesis says so: it
 * stands before the calls by which they read time and wait for it. What it is told is in a file named by
 * LOCKSTEP_TORTURE_CLOCK, which the nemesis writes to and which is mapped here; without it every call passes.
 *
 *   C1  All clocks that do not jump are the machine's plus one skew, which grows with the rate; when the rate changes the
 *       skew goes on from where it is. So none of them ever goes back or jumps, as the kernel promises.
 *   C2  Time limits are counted by the faked clock, too, and are never over too early by it.
 *   C3  Only the wall clock jumps, by an offset besides.
 *   C4  A plain system call, as the history's clock is read with, is not reached.
 *
 * Why not libfaketime, which does the same for any program: its monotonic clocks begin at the wall clock's time, and an
 * absolute timerfd, by which the client library waits, then never fires. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define PPM       INT64_C(1000000)

/* The file's bytes, in this machine's order; tests/torture/nemesis/clock.py has the same. */
struct control {
    _Atomic uint64_t sequence; /* odd while it is being written */
    _Atomic int64_t begin_ns;  /* CLOCK_MONOTONIC since when the rate is as it is */
    _Atomic int64_t skew_ns;   /* what had gathered until then */
    _Atomic int64_t rate_ppm;  /* by how much it is faster than the machine's */
    _Atomic int64_t wall_ns;
};

struct skew {
    int64_t begin_ns;
    int64_t skew_ns;
    int64_t rate_ppm;
    int64_t wall_ns;
};

static struct control none;
static struct control *control = &none;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
static int (*real_timerfd_settime)(int, int, const struct itimerspec *, struct itimerspec *);

static void set_up(void)
{
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_epoll_pwait = dlsym(RTLD_NEXT, "epoll_pwait");
    *(void **)&real_timerfd_settime = dlsym(RTLD_NEXT, "timerfd_settime");
    const char *path = getenv("LOCKSTEP_TORTURE_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd); /* the mapping stays */
    if (mapped != MAP_FAILED) {
        control = mapped;
    }
}

/* The nemesis writes seldom and for a moment. It may be killed within it: then this process goes with it. */
static struct skew read_control(void)
{
    (void)pthread_once(&once, set_up);
    while (true) {
        uint64_t before = atomic_load(&control->sequence);
        struct skew skew = {atomic_load(&control->begin_ns), atomic_load(&control->skew_ns),
                            atomic_load(&control->rate_ppm), atomic_load(&control->wall_ns)};
        if (before % 2 == 0 && atomic_load(&control->sequence) == before) {
            return skew;
        }
    }
}

static int64_t to_ns(const struct timespec *time)
{
    return time->tv_sec * SECOND_NS + time->tv_nsec;
}

static struct timespec from_ns(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

static int64_t skew_now(const struct skew *skew)
{
    struct timespec now = {0};
    (void)real_clock_gettime(CLOCK_MONOTONIC, &now); /* can not fail with this clock */
    int64_t passed_us = (to_ns(&now) - skew->begin_ns) / 1000;
    return skew->skew_ns + passed_us * skew->rate_ppm / 1000; /* us * ppm is ns * 1000 */
}

/* How long this machine waits while the faked clock goes on by `ns`; rounded up. */
static int64_t real_duration(const struct skew *skew, int64_t ns)
{
    int64_t us = (ns + 999) / 1000;
    return (us * PPM + PPM + skew->rate_ppm - 1) / (PPM + skew->rate_ppm) * 1000;
}

static bool is_wall(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

static bool is_steady(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_MONOTONIC_RAW ||
           clock == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    struct skew skew = read_control();
    int rv = real_clock_gettime(clock, ret_time);
    if (rv == 0 && (is_wall(clock) || is_steady(clock))) {
        *ret_time = from_ns(to_ns(ret_time) + skew_now(&skew) + (is_wall(clock) ? skew.wall_ns : 0));
    }
    return rv;
}

time_t time(time_t *ret_time)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now); /* can not fail with this clock */
    if (ret_time != NULL) {
        *ret_time = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec now = {0};
    (void)zone; /* obsolete, and null in every call */
    int rv = clock_gettime(CLOCK_REALTIME, &now);
    *ret_time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return rv;
}

int epoll_pwait(int fd, struct epoll_event *events, int count, int wait_ms, const sigset_t *mask)
{
    struct skew skew = read_control();
    if (wait_ms > 0 && skew.rate_ppm != 0) {
        int64_t real_ms = (real_duration(&skew, wait_ms * (SECOND_NS / 1000)) + 999999) / 1000000;
        wait_ms = real_ms < INT32_MAX ? (int)real_ms : INT32_MAX;
    }
    return real_epoll_pwait(fd, events, count, wait_ms, mask);
}

int epoll_wait(int fd, struct epoll_event *events, int count, int wait_ms)
{
    return epoll_pwait(fd, events, count, wait_ms, NULL);
}

/* The timers of the product are on CLOCK_BOOTTIME, which differs from CLOCK_MONOTONIC by what a machine has slept; both
 * have the same skew, so that an absolute time needs not to know which clock it is on. A rate that changes later makes
 * the timer late or early by a few percent of its time; an early wake-up is for nothing, and the timer is set again. */
int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before)
{
    struct skew skew = read_control();
    struct itimerspec real = *when;
    int64_t value = to_ns(&when->it_value);
    if (value > 0 && (flags & TFD_TIMER_ABSTIME) != 0) {
        struct timespec now = {0};
        (void)real_clock_gettime(CLOCK_BOOTTIME, &now); /* can not fail with this clock */
        int64_t left = value - skew_now(&skew) - to_ns(&now);
        value = to_ns(&now) + (left > 0 ? real_duration(&skew, left) : 0);
    } else if (value > 0) {
        value = real_duration(&skew, value);
    }
    real.it_value = from_ns(value);
    real.it_interval = from_ns(real_duration(&skew, to_ns(&when->it_interval)));
    return real_timerfd_settime(fd, flags, &real, before);
}
