/* The process's life: clients act at their times until it is told to leave; then they give back what they have and close
 * their sessions.
 *
 * The loop is waited for here rather than by libuv, so that locks are looked at between the end of the waiting, in which the
 * process may have been stopped, and whatever the library then does (H4 of load.h). */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "tests/torture/load/load.h"

enum { TICK_MS = 2, FLUSH_TICKS = 25, RELEASE_MS = 3000, WRONG_SHOWN_MAX = 50, BURST_PART = 20 };

/* ---- results ---- */

void load_wrong(struct load *load, const char *what, int result)
{
    if (load->wrong++ < WRONG_SHOWN_MAX) {
        (void)fprintf(stderr, "torture_load: %s ended with %s: %s\n", what, lockstep_result_name(result),
                      lockstep_error_message());
    }
}

void load_check_result(struct load *load, const char *what, int result, uint32_t allowed)
{
    allowed |= 1u << LOCKSTEP_CLOSED;
    if (result < 0 || result > 31 || (allowed >> result & 1) == 0) {
        load_wrong(load, what, result);
    }
}

/* ---- leaving ---- */

static void on_release_time(uv_timer_t *timer)
{
    struct load *load = timer->data;
    for (uint64_t i = 0; i < load->clients_count; i++) {
        client_leave(&load->clients[i]);
    }
}

static void leave(struct load *load)
{
    if (!load->leaving) {
        load->leaving = true;
        /* Time to give back one by one what is held, before the sessions are closed. */
        (void)uv_timer_start(&load->end, on_release_time, RELEASE_MS, RELEASE_MS);
    }
}

static void on_end(uv_timer_t *timer)
{
    leave(timer->data);
}

static void on_stop(uv_signal_t *signal, int number)
{
    (void)number;
    leave(signal->data);
}

static void on_healed(uv_signal_t *signal, int number)
{
    struct load *load = signal->data;
    (void)number;
    load->calm = true;
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_handles(struct load *load)
{
    close_handle((uv_handle_t *)&load->tick);
    close_handle((uv_handle_t *)&load->end);
    close_handle((uv_handle_t *)&load->on_term);
    close_handle((uv_handle_t *)&load->on_int);
    close_handle((uv_handle_t *)&load->on_healed);
}

/* ---- acting ---- */

/* What was not used is kept for a moment only: after a pause it does not all begin at once. */
static void allow(struct load *load)
{
    uint64_t now_ns = history_now();
    double rate = (double)load->rate;
    load->allowed += (double)(now_ns - load->allowed_ns) * rate / 1e9;
    load->allowed = load->allowed > rate / BURST_PART + 1 ? rate / BURST_PART + 1 : load->allowed;
    load->allowed_ns = now_ns;
}

static void on_tick(uv_timer_t *timer)
{
    static uint64_t ticks;
    struct load *load = timer->data;
    uint64_t now_ms = uv_now(&load->loop);
    uint64_t first = draw_below(load, load->clients_count); /* the rate is for all in turn */
    allow(load);
    for (uint64_t i = 0; i < load->clients_count; i++) {
        struct client *client = &load->clients[(first + i) % load->clients_count];
        client_act(client, now_ms);
        if (load->leaving && client_is_idle(client)) {
            client_leave(client);
        }
    }
    if (++ticks % FLUSH_TICKS == 0) {
        history_flush();
    }
    if (load->leaving && load->closed_count == load->clients_count) {
        close_handles(load);
    }
}

/* ---- the loop ---- */

static void handles_open(struct load *load)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as with every use of libuv: a connection that breaks must not end the program */
    (void)uv_loop_init(&load->loop);
    (void)uv_timer_init(&load->loop, &load->tick);
    (void)uv_timer_init(&load->loop, &load->end);
    (void)uv_signal_init(&load->loop, &load->on_term);
    (void)uv_signal_init(&load->loop, &load->on_int);
    (void)uv_signal_init(&load->loop, &load->on_healed);
    load->tick.data = load->end.data = load->on_term.data = load->on_int.data = load->on_healed.data = load;
    (void)uv_timer_start(&load->tick, on_tick, TICK_MS, TICK_MS);
    (void)uv_signal_start(&load->on_term, on_stop, SIGTERM);
    (void)uv_signal_start(&load->on_int, on_stop, SIGINT);
    (void)uv_signal_start(&load->on_healed, on_healed, SIGUSR1);
    if (load->seconds > 0) {
        (void)uv_timer_start(&load->end, on_end, load->seconds * 1000, 0);
    }
}

static void go_round(struct load *load)
{
    struct pollfd events = {.fd = uv_backend_fd(&load->loop), .events = POLLIN};
    while (uv_loop_alive(&load->loop) != 0) {
        (void)poll(&events, 1, uv_backend_timeout(&load->loop)); /* an interruption only makes it shorter */
        for (uint64_t i = 0; i < load->clients_count; i++) {
            client_look(&load->clients[i]);
        }
        (void)uv_run(&load->loop, UV_RUN_NOWAIT);
    }
}

int load_run(struct load *load)
{
    load->clients = calloc(load->clients_count, sizeof(*load->clients));
    if (load->clients == NULL) {
        (void)fprintf(stderr, "torture_load: no memory for %" PRIu64 " clients\n", load->clients_count);
        return 1;
    }
    handles_open(load);
    load->allowed_ns = history_now();
    for (uint64_t i = 0; i < load->clients_count; i++) {
        if (!client_create(load, &load->clients[i], i)) {
            return 1;
        }
    }
    go_round(load);
    history_flush();
    (void)uv_loop_close(&load->loop);
    free(load->clients);
    (void)printf("%" PRIu64 " operations, %" PRIu64 " unknown, %" PRIu64 " grants, %" PRIu64
                 " losses, %" PRIu64 " results that must not be\n",
                 load->operations, load->unknown, load->grants, load->losses, load->wrong);
    return load->wrong == 0 ? 0 : 1;
}
