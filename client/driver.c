/* Owns the libuv handles beside the socket: the wake-ups and the timer; and the turn. See driver.h. */
#include "client/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/cancel.h"
#include "client/result.h"
#include "protocol/assert.h"

enum {
    OUT_BYTES_MAX = 64 * 1024 * 1024, /* several turns of the core's own bound */
    NS_PER_S = 1000 * 1000 * 1000
};

/* ---- time ---- */

struct boot_time driver_now(struct driver *driver)
{
    return steady_clock_read(&driver->clock);
}

/* Only ever to an earlier time: a wake-up for nothing now and then costs less than a system call for each request. */
static void set_timer(struct driver *driver)
{
    struct boot_time due = lsc_core_deadline(driver->core);
    if (due.ms >= driver->timer_due.ms) {
        return;
    }
    driver->timer_due = due;
    uint64_t at_ns = steady_clock_boot_ns(&driver->clock, due);
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    int error = timerfd_settime(driver->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    LOCKSTEP_ASSERT(error == 0);
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct driver *driver = handle->data;
    uint64_t count = 0;
    (void)status;
    (void)events;
    (void)pthread_mutex_lock(&driver->mutex);
    (void)!read(driver->timer_fd, &count, sizeof(count)); /* EAGAIN if it was set anew meanwhile: the tick is then for nothing */
    driver->timer_due = BOOT_NEVER;
    if (!driver->closing_handles) {
        lsc_core_tick(driver->core, driver_now(driver));
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

/* ---- what the core wants ---- */

static void want_connect(void *ctx, const char *address)
{
    struct driver *driver = ctx;
    size_t length = strlen(address);
    LOCKSTEP_ASSERT(length < sizeof(driver->address));
    memcpy(driver->address, address, length + 1);
    driver->connect_wanted = true;
}

static void want_send(void *ctx, const void *data, size_t size)
{
    struct driver *driver = ctx;
    if (!proto_buffer_append(&driver->out, data, size)) {
        driver->drop_wanted = true; /* no memory: the core notices the silence, and tries again */
    }
}

static void want_close(void *ctx)
{
    struct driver *driver = ctx;
    driver->connect_wanted = false;
    driver->drop_wanted = true;
    proto_buffer_clear(&driver->out);
}

static void fill_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    uint8_t *at = data;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        LOCKSTEP_ASSERT(got >= 0 || errno == EINTR); /* a secret that is not random must not be used */
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

uint64_t driver_random(void)
{
    uint64_t bits = 0;
    fill_random(NULL, &bits, sizeof(bits));
    return bits;
}

static void copy_detail(char *buffer, size_t size, const char *detail)
{
    size_t length = strnlen(detail, size - 1);
    memcpy(buffer, detail, length);
    buffer[length] = '\0';
}

static void on_hold_lost(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail)
{
    struct driver *driver = ctx;
    struct lockstep_lock *lock = user;
    if (lock->on_lost != NULL) {
        lock->reason = reason;
        copy_detail(lock->detail, sizeof(lock->detail), detail);
        driver_queue(driver, &lock->lost);
    }
}

static void on_session_lost(void *ctx, enum lockstep_lost_reason reason, const char *detail)
{
    struct driver *driver = ctx;
    if (driver->options.on_session_lost != NULL && !driver->session_lost.queued) {
        driver->session_lost_reason = reason;
        copy_detail(driver->session_lost_detail, sizeof(driver->session_lost_detail), detail);
        driver_queue(driver, &driver->session_lost);
    }
}

static void run_session_lost(struct driver_event *event)
{
    struct driver *driver = (void *)((char *)event - offsetof(struct driver, session_lost));
    char detail[sizeof(driver->session_lost_detail)];
    (void)pthread_mutex_lock(&driver->mutex);
    enum lockstep_lost_reason reason = driver->session_lost_reason;
    memcpy(detail, driver->session_lost_detail, sizeof(detail));
    (void)pthread_mutex_unlock(&driver->mutex);
    driver->options.on_session_lost(driver->options.on_session_lost_arg, reason, detail);
}

/* ---- events ---- */

void driver_queue(struct driver *driver, struct driver_event *event)
{
    LOCKSTEP_ASSERT(!event->queued);
    event->queued = true;
    event->next = NULL;
    *(driver->events_last == NULL ? &driver->events_first : &driver->events_last->next) = event;
    driver->events_last = event;
}

static void take_out(struct driver *driver, struct driver_event *event)
{
    struct driver_event **at = &driver->events_first;
    struct driver_event *last = NULL;
    while (*at != event) {
        last = *at;
        at = &(*at)->next;
    }
    *at = event->next;
    if (driver->events_last == event) {
        driver->events_last = last;
    }
    event->queued = false;
}

void driver_unqueue(struct driver *driver, struct driver_event *event)
{
    if (event->queued) {
        take_out(driver, event);
    }
    while (driver->running == event && !driver_on_loop(driver)) {
        (void)pthread_cond_wait(&driver->event_done, &driver->mutex);
    }
}

void driver_await(struct driver *driver, const struct driver_event *event)
{
    LOCKSTEP_ASSERT(!driver_on_loop(driver));
    while (event->queued || driver->running == event) {
        (void)pthread_cond_wait(&driver->event_done, &driver->mutex);
    }
}

static void unqueue_losses(struct driver *driver)
{
    struct driver_event *next = NULL;
    struct driver_event *event = driver->events_first;
    driver->events_first = driver->events_last = NULL;
    for (; event != NULL; event = next) {
        next = event->next;
        event->queued = false;
        if (!event->tells_loss) {
            driver_queue(driver, event);
        }
    }
}

/* Those that were there at the beginning: one whose callback makes the next must not keep the loop from polling. */
static void run_events(struct driver *driver)
{
    struct driver_event *last = driver->events_last;
    bool more = last != NULL;
    while (more && driver->events_first != NULL) {
        struct driver_event *event = driver->events_first;
        more = event != last;
        take_out(driver, event);
        driver->running = event;
        (void)pthread_mutex_unlock(&driver->mutex);
        event->run(event); /* may free what it lives in */
        (void)pthread_mutex_lock(&driver->mutex);
        driver->running = NULL;
        (void)pthread_cond_broadcast(&driver->event_done);
    }
}

/* ---- cancelling ---- */

bool driver_watch(struct driver *driver, struct driver_watch *watch, struct lockstep_cancel *cancel)
{
    watch->driver = driver;
    watch->cancel = cancel;
    if (!cancel_add(cancel, watch)) {
        watch->cancel = NULL;
        return false;
    }
    watch->next = driver->watches;
    driver->watches = watch;
    return true;
}

void driver_unwatch(struct driver *driver, struct driver_watch *watch)
{
    if (watch->cancel == NULL) {
        return;
    }
    struct driver_watch **at = &driver->watches;
    while (*at != watch) {
        at = &(*at)->next;
    }
    *at = watch->next;
    cancel_remove(watch->cancel, watch);
    watch->cancel = NULL;
}

static void run_cancels(struct driver *driver)
{
    struct driver_watch *next = NULL;
    for (struct driver_watch *watch = driver->watches; watch != NULL; watch = next) {
        next = watch->next;
        if (watch->call != NULL && cancel_is_fired(watch->cancel)) {
            lsc_acquire_cancel(driver->core, driver_now(driver), watch->call); /* its `done` sets the call to NULL */
            next = driver->watches;                                          /* and may have taken watches out */
        }
    }
}

/* ---- the turn ---- */

static void on_wake(uv_async_t *handle)
{
    driver_turn(handle->data);
}

static void on_soon(uv_idle_t *handle)
{
    (void)uv_idle_stop(handle);
    driver_turn(handle->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct driver *driver = handle->data;
    (void)pthread_mutex_lock(&driver->mutex);
    driver->handles--;
    if (handle == (uv_handle_t *)&driver->timer) {
        (void)close(driver->timer_fd); /* only now: libuv polls it until then */
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void close_handles(struct driver *driver)
{
    driver->closing_handles = true;
    driver->connect_wanted = false;
    driver->drop_wanted = true;
    link_carry_out(driver);
    uv_close((uv_handle_t *)&driver->wake, on_handle_closed);
    uv_close((uv_handle_t *)&driver->soon, on_handle_closed);
    uv_close((uv_handle_t *)&driver->timer, on_handle_closed);
}

/* Everything that the loop knew of is gone: tell the owner and let go. Mutex held, and released within. */
static void finish(struct driver *driver)
{
    void (*closed)(void *ctx, int result) = driver->closed;
    void *ctx = driver->closed_ctx;
    int result = driver->close_result;
    driver->closed = NULL;
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_unref(driver);
    closed(ctx, result);
}

void driver_turn(struct driver *driver)
{
    (void)pthread_mutex_lock(&driver->mutex);
    driver_ref(driver);
    if (!driver_on_loop(driver)) {
        driver->loop_thread = pthread_self(); /* it was made before the loop ran, by another thread */
    }
    if (!driver->closing_handles) {
        run_cancels(driver);
        link_carry_out(driver);
        run_events(driver);
        link_carry_out(driver); /* what the callbacks asked for goes out in this turn */
    }
    if (!driver->closing_handles && !driver->core_closed) {
        set_timer(driver);
    }
    bool more = driver->events_first != NULL;
    if (driver->core_closed && !driver->closing_handles && !more) {
        close_handles(driver);
    } else if (!driver->closing_handles && (more || driver->drop_wanted || driver->connect_wanted)) {
        (void)uv_idle_start(&driver->soon, on_soon);
    }
    if (driver->closing_handles && driver->handles == 0 && driver->links == 0 && driver->closed != NULL) {
        finish(driver);
    } else {
        (void)pthread_mutex_unlock(&driver->mutex);
    }
    driver_unref(driver);
}

bool driver_on_loop(const struct driver *driver)
{
    return pthread_equal(pthread_self(), driver->loop_thread) != 0;
}

void driver_poke(struct driver *driver)
{
    if (driver->closing_handles) {
        return;
    }
    if (driver_on_loop(driver)) {
        (void)uv_idle_start(&driver->soon, on_soon);
    } else {
        (void)uv_async_send(&driver->wake);
    }
}

/* ---- its life ---- */

static int open_handles(struct driver *driver)
{
    driver->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (driver->timer_fd < 0) {
        return result_set(LOCKSTEP_SYSTEM, "timerfd_create: %s", strerror(errno));
    }
    /* First, because it may fail (the user's epoll watches are limited) and then leaves nothing on the loop: a handle could only be
     * closed by running the loop, which may be the caller's. */
    int error = uv_poll_init(driver->loop, &driver->timer, driver->timer_fd);
    if (error < 0) {
        (void)close(driver->timer_fd);
        return result_set(LOCKSTEP_SYSTEM, "uv_poll_init: %s", uv_strerror(error));
    }
    /* These do not fail: the loop has had its own descriptor for wake-ups since it was made; the others only set fields. */
    error = uv_async_init(driver->loop, &driver->wake, on_wake);
    LOCKSTEP_ASSERT(error == 0);
    error = uv_idle_init(driver->loop, &driver->soon);
    LOCKSTEP_ASSERT(error == 0);
    error = uv_poll_start(&driver->timer, UV_READABLE, on_timer);
    LOCKSTEP_ASSERT(error == 0);
    driver->wake.data = driver->soon.data = driver->timer.data = driver;
    driver->handles = 3;
    return LOCKSTEP_OK;
}

static void driver_free(struct driver *driver)
{
    lsc_core_free(driver->core);
    proto_buffer_done(&driver->out);
    options_done(&driver->options);
    (void)pthread_cond_destroy(&driver->event_done);
    (void)pthread_mutex_destroy(&driver->mutex);
    free(driver);
}

int driver_create(uv_loop_t *loop, struct client_options *options, struct driver **ret_driver)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        options_done(options);
        return result_set(LOCKSTEP_NO_MEMORY, "no memory for a client");
    }
    (void)pthread_mutex_init(&driver->mutex, NULL);
    (void)pthread_cond_init(&driver->event_done, NULL);
    driver->references = 1;
    driver->loop = loop;
    driver->loop_thread = pthread_self();
    driver->timer_due = BOOT_NEVER;
    driver->session_lost.run = run_session_lost;
    driver->session_lost.tells_loss = true;
    proto_buffer_init(&driver->out, OUT_BYTES_MAX);
    driver->options = *options;
    driver->options.config.endpoints = driver->options.endpoints; /* the copies in their new place */
    driver->options.config.owner = driver->options.owner;
    options->text = NULL;
    struct lsc_output output = {driver,      want_connect, want_send,      want_close,
                                fill_random, on_hold_lost, on_session_lost};
    driver->core = lsc_core_create(&driver->options.config, &output, driver_now(driver));
    int result = driver->core == NULL ? result_set(LOCKSTEP_NO_MEMORY, "no memory for a client") : open_handles(driver);
    if (result != LOCKSTEP_OK) {
        driver_free(driver);
        return result;
    }
    *ret_driver = driver;
    return LOCKSTEP_OK;
}

void driver_ref(struct driver *driver)
{
    driver->references++;
}

void driver_unref(struct driver *driver)
{
    (void)pthread_mutex_lock(&driver->mutex);
    LOCKSTEP_ASSERT(driver->references > 0);
    bool last = --driver->references == 0;
    (void)pthread_mutex_unlock(&driver->mutex);
    if (last) {
        driver_free(driver);
    }
}

static void on_core_closed(void *user, const struct lsc_outcome *outcome)
{
    struct driver *driver = user;
    driver->close_result = outcome->result;
    driver->core_closed = true;
}

void driver_close(struct driver *driver, bool keep_session, void (*closed)(void *ctx, int result), void *ctx)
{
    driver->closed = closed;
    driver->closed_ctx = ctx;
    unqueue_losses(driver);
    lsc_core_close(driver->core, driver_now(driver), keep_session, driver, on_core_closed);
    driver_poke(driver);
}
