/* See driver.h. Owns the turns of the loop's thread, the queue of user callbacks, and the end of a driver. */
#include "client/driver.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "client/cancel.h"
#include "protocol/assert.h"

enum { SEND_BYTES_MAX = 64 * 1024 * 1024, ORDERS_PER_TURN_MAX = 8 };

static void turn(struct driver *driver);
static void tear_down(struct driver *driver);

struct boot_time driver_now(void)
{
    struct timespec now;
    LOCKSTEP_ASSERT(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (struct boot_time){(uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000};
}

bool driver_is_own_thread(const struct driver *driver)
{
    return driver->own_thread && driver->has_thread && pthread_equal(pthread_self(), driver->thread) != 0;
}

/* ---- what the core orders; all with the mutex held ---- */

static void order_connect(void *ctx, const char *address)
{
    struct driver *driver = ctx;
    driver->connect_ordered = true;
    size_t size = strnlen(address, sizeof(driver->connect_address) - 1);
    memcpy(driver->connect_address, address, size);
    driver->connect_address[size] = '\0';
}

static void order_send(void *ctx, const void *data, size_t size)
{
    struct driver *driver = ctx;
    (void)proto_buffer_append(&driver->send_ordered, data, size); /* a failure stays marked, and ends the link */
}

static void order_close(void *ctx)
{
    struct driver *driver = ctx;
    driver->connect_ordered = false;
    driver->close_ordered = true;
    proto_buffer_clear(&driver->send_ordered);
}

static void order_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    /* driver_create() has seen it work; on Linux it does not fail later. */
    LOCKSTEP_ASSERT(getentropy(data, size) == 0);
}

static void order_hold_lost(void *ctx, void *user, enum lockstep_lost_reason reason, const char *detail)
{
    struct driver *driver = ctx;
    struct lockstep_lock *lock = user;
    if (lock == NULL || lock->on_lost == NULL) {
        return;
    }
    lock->reason = reason;
    (void)strncat(memset(lock->detail, 0, sizeof(lock->detail)), detail, sizeof(lock->detail) - 1);
    driver_event_add_locked(driver, &lock->lost);
}

static void order_session_lost(void *ctx, enum lockstep_lost_reason reason, const char *detail)
{
    struct driver *driver = ctx;
    if (driver->on_session_lost == NULL) {
        return;
    }
    driver->session_lost_reason = reason;
    (void)strncat(memset(driver->session_lost_detail, 0, sizeof(driver->session_lost_detail)), detail,
                  sizeof(driver->session_lost_detail) - 1);
    driver_event_add_locked(driver, &driver->session_lost);
}

/* ---- events ---- */

void driver_event_add_locked(struct driver *driver, struct driver_event *event)
{
    if (event->queued) {
        return;
    }
    event->queued = true;
    event->next = NULL;
    if (driver->events_last == NULL) {
        driver->events_first = event;
    } else {
        driver->events_last->next = event;
    }
    driver->events_last = event;
}

void driver_event_remove_locked(struct driver *driver, struct driver_event *event)
{
    if (!event->queued) {
        return;
    }
    struct driver_event *before = NULL;
    for (struct driver_event *at = driver->events_first; at != event; at = at->next) {
        before = at;
    }
    *(before == NULL ? &driver->events_first : &before->next) = event->next;
    if (driver->events_last == event) {
        driver->events_last = before;
    }
    event->queued = false;
}

static struct driver_event *next_event(struct driver *driver)
{
    struct driver_event *event = driver->events_first;
    while (event != NULL && event->held_back) {
        event = event->next;
    }
    return event;
}

/* Those that are there now; what they add has its turn in the next round of the loop. */
static void run_events(struct driver *driver)
{
    struct driver_event *last = driver->events_last;
    bool more = last != NULL;
    while (more) {
        struct driver_event *event = next_event(driver);
        if (event == NULL) {
            break;
        }
        more = event != last;
        driver_event_remove_locked(driver, event);
        driver->running = event;
        (void)pthread_mutex_unlock(&driver->mutex);
        event->run(event); /* may free what the event is in */
        (void)pthread_mutex_lock(&driver->mutex);
        driver->running = NULL;
        (void)pthread_cond_broadcast(&driver->changed);
    }
}

static void run_session_lost(struct driver_event *event)
{
    struct driver *driver = (struct driver *)(void *)((char *)event - offsetof(struct driver, session_lost));
    char detail[DETAIL_BYTES];
    (void)pthread_mutex_lock(&driver->mutex);
    memcpy(detail, driver->session_lost_detail, sizeof(detail));
    enum lockstep_lost_reason reason = driver->session_lost_reason;
    (void)pthread_mutex_unlock(&driver->mutex);
    driver->on_session_lost(driver->on_session_lost_arg, reason, detail);
}

/* ---- waits that may be cancelled ---- */

bool driver_wait_add_locked(struct driver *driver, struct driver_wait *wait, struct lockstep_cancel *cancel)
{
    wait->driver = driver;
    wait->cancel = cancel;
    if (cancel != NULL && !cancel_enter(cancel, wait)) {
        wait->cancel = NULL;
        wait->driver = NULL;
        return false;
    }
    wait->prev = NULL;
    wait->next = driver->waits;
    if (driver->waits != NULL) {
        driver->waits->prev = wait;
    }
    driver->waits = wait;
    return true;
}

void driver_wait_remove_locked(struct driver_wait *wait)
{
    struct driver *driver = wait->driver;
    if (driver == NULL) {
        return;
    }
    *(wait->prev == NULL ? &driver->waits : &wait->prev->next) = wait->next;
    if (wait->next != NULL) {
        wait->next->prev = wait->prev;
    }
    if (wait->cancel != NULL) {
        cancel_leave(wait->cancel, wait);
    }
    wait->driver = NULL;
}

/* Ending a call takes its wait out of the list, and perhaps only its own: begin anew after each. */
static void end_cancelled_waits(struct driver *driver)
{
    struct driver_wait *wait = driver->waits;
    while (wait != NULL) {
        if (wait->call != NULL && wait->cancel != NULL && cancel_is_fired(wait->cancel)) {
            lsc_acquire_cancel(driver->core, driver_now(), wait->call);
            wait = driver->waits;
        } else {
            wait = wait->next;
        }
    }
}

/* ---- a turn ---- */

static bool has_orders(const struct driver *driver)
{
    return driver->close_ordered || driver->connect_ordered || driver->send_ordered.size > 0 ||
           driver->send_ordered.failed;
}

/* Take the core's orders and carry them out without the mutex, for each may fail and be told to the core. */
static void carry_out(struct driver *driver)
{
    bool closes = driver->close_ordered;
    bool connects = driver->connect_ordered;
    bool failed = driver->send_ordered.failed;
    char address[sizeof(driver->connect_address)];
    memcpy(address, driver->connect_address, sizeof(address));
    struct proto_buffer sending = driver->sending;
    driver->sending = driver->send_ordered;
    driver->send_ordered = sending;
    proto_buffer_clear(&driver->send_ordered);
    driver->close_ordered = false;
    driver->connect_ordered = false;
    if (closes) {
        /* Before the mutex is free: whoever takes it next may be told of a new connection only (D3). */
        link_close(driver);
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    if (connects) {
        link_open(driver, address);
    } else if (failed) {
        link_close(driver);
        driver_link_failed(driver, "no memory for what is to be sent");
    } else if (driver->sending.size > 0) {
        link_send(driver, driver->sending.data, driver->sending.size);
    }
    proto_buffer_clear(&driver->sending);
    (void)pthread_mutex_lock(&driver->mutex);
}

static void set_alarm(struct driver *driver)
{
    struct boot_time due = driver->core_closed ? BOOT_NEVER : lsc_core_deadline(driver->core);
    if (due.ms == driver->alarm_ms) {
        return;
    }
    struct itimerspec when = {0};
    if (due.ms != UINT64_MAX) {
        uint64_t ms = due.ms == 0 ? 1 : due.ms; /* 0 would disarm it */
        when.it_value.tv_sec = (time_t)(ms / 1000);
        when.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
    }
    LOCKSTEP_ASSERT(timerfd_settime(driver->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    driver->alarm_ms = due.ms;
}

static void soon(struct driver *driver);

/* One turn: what is due, what is cancelled, what the core ordered, what users are to be told, when to look again. */
static void turn(struct driver *driver)
{
    if (driver->in_turn || driver->tearing_down) {
        return; /* the turn that is under way sees what has changed */
    }
    driver->in_turn = true;
    (void)pthread_mutex_lock(&driver->mutex);
    if (!driver->core_closed) {
        end_cancelled_waits(driver);
        struct boot_time now = driver_now();
        if (boot_reached(now, lsc_core_deadline(driver->core))) {
            lsc_core_tick(driver->core, now);
        }
    }
    for (int i = 0; i < ORDERS_PER_TURN_MAX && has_orders(driver); i++) {
        carry_out(driver);
    }
    run_events(driver);
    set_alarm(driver);
    bool again = has_orders(driver) || next_event(driver) != NULL;
    bool ends = driver->core_closed && !again;
    (void)pthread_mutex_unlock(&driver->mutex);
    driver->in_turn = false;
    if (ends) {
        tear_down(driver);
    } else if (again) {
        soon(driver);
    }
}

static void on_soon(uv_timer_t *timer)
{
    turn(timer->data);
}

static void on_wake(uv_async_t *wake)
{
    turn(wake->data);
}

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct driver *driver = poll->data;
    uint64_t expirations = 0;
    (void)status;
    (void)events;
    if (read(driver->alarm_fd, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations)) {
        driver->alarm_ms = UINT64_MAX;
    }
    turn(driver);
}

static void soon(struct driver *driver)
{
    (void)uv_timer_start(&driver->soon, on_soon, 0, 0); /* fails only on a closing handle */
}

void driver_kick_locked(struct driver *driver)
{
    if (driver->tearing_down) {
        return;
    }
    if (driver->own_thread) {
        (void)uv_async_send(&driver->wake);
    } else {
        soon(driver);
    }
}

/* ---- what the link tells ---- */

/* D3 */
static bool hears(const struct driver *driver)
{
    return !driver->close_ordered && !driver->core_closed;
}

void driver_link_connected(struct driver *driver)
{
    (void)pthread_mutex_lock(&driver->mutex);
    if (hears(driver)) {
        lsc_core_connected(driver->core, driver_now());
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    turn(driver);
}

void driver_link_received(struct driver *driver, const void *data, size_t size)
{
    (void)pthread_mutex_lock(&driver->mutex);
    if (hears(driver)) {
        lsc_core_received(driver->core, driver_now(), data, size);
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    turn(driver);
}

void driver_link_failed(struct driver *driver, const char *why)
{
    (void)pthread_mutex_lock(&driver->mutex);
    if (hears(driver)) {
        proto_buffer_clear(&driver->send_ordered);
        lsc_core_disconnected(driver->core, driver_now(), why);
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    turn(driver);
}

/* ---- the beginning ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    driver_handle_closed(handle->data);
}

static int open_handles(struct driver *driver)
{
    int result = uv_async_init(driver->loop, &driver->wake, on_wake);
    if (result != 0) {
        return result;
    }
    driver->wake.data = driver;
    driver->open_handles++;
    result = uv_timer_init(driver->loop, &driver->soon);
    LOCKSTEP_ASSERT(result == 0); /* by libuv's manual */
    driver->soon.data = driver;
    driver->open_handles++;
    driver->alarm_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (driver->alarm_fd < 0) {
        return uv_translate_sys_error(errno);
    }
    result = uv_poll_init(driver->loop, &driver->alarm, driver->alarm_fd);
    if (result != 0) {
        (void)close(driver->alarm_fd); /* nothing was written to it */
        driver->alarm_fd = -1;
        return result;
    }
    driver->alarm.data = driver;
    driver->open_handles++;
    return uv_poll_start(&driver->alarm, UV_READABLE, on_alarm);
}

static const struct lsc_output *output_of(struct driver *driver, struct lsc_output *output)
{
    *output = (struct lsc_output){
        .ctx = driver,
        .connect = order_connect,
        .send = order_send,
        .close = order_close,
        .random = order_random,
        .hold_lost = order_hold_lost,
        .session_lost = order_session_lost,
    };
    return output;
}

static struct driver *allocate(uv_loop_t *loop, struct client_options *options)
{
    struct driver *driver = calloc(1, sizeof(*driver));
    if (driver == NULL) {
        options_done(options);
        return NULL;
    }
    driver->options = *options;
    driver->options.config.endpoints = driver->options.endpoints; /* they have moved */
    driver->options.config.owner = driver->options.owner;
    driver->loop = loop;
    driver->references = 1;
    driver->alarm_fd = -1;
    driver->alarm_ms = UINT64_MAX;
    driver->on_session_lost = options->on_session_lost;
    driver->on_session_lost_arg = options->on_session_lost_arg;
    driver->request_timeout_ms = options->config.request_timeout_ms;
    driver->connect_timeout_ms = options->config.connect_timeout_ms;
    driver->session_lost.run = run_session_lost;
    proto_buffer_init(&driver->send_ordered, SEND_BYTES_MAX);
    proto_buffer_init(&driver->sending, SEND_BYTES_MAX);
    bool mutex = pthread_mutex_init(&driver->mutex, NULL) == 0;
    if (!mutex || pthread_cond_init(&driver->changed, NULL) != 0) {
        if (mutex) {
            (void)pthread_mutex_destroy(&driver->mutex);
        }
        options_done(&driver->options);
        free(driver);
        return NULL;
    }
    return driver;
}

static void on_abandoned(void *arg)
{
    driver_unref(arg);
}

int driver_create(uv_loop_t *loop, struct client_options *options, struct driver **ret_driver)
{
    uint64_t random = 0;
    if (getentropy(&random, sizeof(random)) != 0) {
        options_done(options);
        return result_set(LOCKSTEP_SYSTEM, "no random numbers: %s", strerror(errno));
    }
    struct driver *driver = allocate(loop, options);
    if (driver == NULL) {
        return result_explain(LOCKSTEP_NO_MEMORY, NULL);
    }
    struct lsc_output output;
    driver->core = lsc_core_create(&driver->options.config, output_of(driver, &output), driver_now());
    int uv_result = driver->core == NULL ? UV_ENOMEM : open_handles(driver);
    if (uv_result != 0) {
        driver->core_closed = true;
        driver->on_gone = on_abandoned;
        driver->on_gone_arg = driver;
        tear_down(driver);
        return result_set(uv_result == UV_ENOMEM ? LOCKSTEP_NO_MEMORY : LOCKSTEP_SYSTEM, "no event loop: %s",
                          uv_strerror(uv_result));
    }
    *ret_driver = driver;
    return LOCKSTEP_OK;
}

/* ---- the end ---- */

static void on_core_closed(void *user, const struct lsc_outcome *outcome)
{
    struct driver *driver = user;
    (void)outcome;
    driver->core_closed = true;
}

void driver_close(struct driver *driver, bool keep_session, void (*on_gone)(void *arg), void *arg)
{
    (void)pthread_mutex_lock(&driver->mutex);
    LOCKSTEP_ASSERT(!driver->closing);
    driver->closing = true;
    driver->on_gone = on_gone;
    driver->on_gone_arg = arg;
    for (struct lockstep_lock *lock = driver->locks; lock != NULL; lock = lock->next) {
        driver_event_remove_locked(driver, &lock->lost);
    }
    driver_event_remove_locked(driver, &driver->session_lost);
    lsc_core_close(driver->core, driver_now(), keep_session, driver, on_core_closed);
    driver_kick_locked(driver);
    (void)pthread_mutex_unlock(&driver->mutex);
}

/* Every handle is closed: nothing can call the core any more. */
static void gone(struct driver *driver)
{
    if (driver->alarm_fd >= 0) {
        (void)close(driver->alarm_fd); /* nothing was written to it */
        driver->alarm_fd = -1;
    }
    (void)pthread_mutex_lock(&driver->mutex);
    for (struct lockstep_lock *lock = driver->locks; lock != NULL; lock = lock->next) {
        lock->hold = NULL;
    }
    lsc_core_free(driver->core);
    driver->core = NULL;
    (void)pthread_mutex_unlock(&driver->mutex);
    driver->on_gone(driver->on_gone_arg); /* may free the driver */
}

static void tear_down(struct driver *driver)
{
    (void)pthread_mutex_lock(&driver->mutex);
    driver->tearing_down = true;
    (void)pthread_mutex_unlock(&driver->mutex);
    driver->open_handles++; /* ours, so that it does not reach 0 in here */
    link_close(driver);
    if (driver->wake.data != NULL) {
        uv_close((uv_handle_t *)&driver->wake, on_handle_closed);
    }
    if (driver->soon.data != NULL) {
        uv_close((uv_handle_t *)&driver->soon, on_handle_closed);
    }
    if (driver->alarm.data != NULL) {
        uv_close((uv_handle_t *)&driver->alarm, on_handle_closed);
    }
    driver_handle_closed(driver);
}

void driver_handle_closed(struct driver *driver)
{
    LOCKSTEP_ASSERT(driver->open_handles > 0);
    driver->open_handles--;
    if (driver->open_handles == 0 && driver->tearing_down) {
        gone(driver);
    }
}

void driver_unref(struct driver *driver)
{
    (void)pthread_mutex_lock(&driver->mutex);
    LOCKSTEP_ASSERT(driver->references > 0);
    driver->references--;
    bool last = driver->references == 0;
    (void)pthread_mutex_unlock(&driver->mutex);
    if (!last) {
        return;
    }
    LOCKSTEP_ASSERT(driver->core == NULL);
    proto_buffer_done(&driver->send_ordered);
    proto_buffer_done(&driver->sending);
    options_done(&driver->options);
    (void)pthread_cond_destroy(&driver->changed);
    (void)pthread_mutex_destroy(&driver->mutex);
    free(driver);
}
