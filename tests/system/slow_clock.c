/* Preloaded into a program: CLOCK_MONOTONIC as a time daemon slows it, by a tenth, and with it what libuv counts. */
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

int clock_gettime(clockid_t id, struct timespec *time)
{
    static int64_t begun_ns;
    int error = (int)syscall(SYS_clock_gettime, id, time);
    if (error == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE)) {
        int64_t now_ns = (int64_t)time->tv_sec * NS_PER_S + time->tv_nsec;
        if (begun_ns == 0) {
            begun_ns = now_ns - NS_PER_S; /* the coarse clock is a little behind */
        }
        now_ns -= (now_ns - begun_ns) / 10;
        time->tv_sec = (time_t)(now_ns / NS_PER_S);
        time->tv_nsec = (long)(now_ns % NS_PER_S);
    }
    return error;
}
