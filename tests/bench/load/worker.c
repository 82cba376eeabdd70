/* A worker: opens its clients' sessions, runs their slots through the workload, counts, and closes. See load.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load/load.h"

enum { COMPLAINTS_MAX = 10 };

static const int64_t NS_PER_MS = 1000000;

int64_t load_now_ns(void)
{
    return (int64_t)uv_hrtime();
}

uint64_t load_random(struct load_worker *worker, uint64_t bound)
{
    /* xorshift64*: any generator would do that a seed replays. */
    uint64_t x = worker->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    worker->random = x;
    return (x * UINT64_C(2685821657736338717) >> 32) % bound;
}

bool load_counts(const struct load_worker *worker, int64_t ns)
{
    return ns >= worker->start_ns && ns < worker->stop_ns;
}

void load_failed(struct load_slot *slot, const char *what, int result)
{
    struct load_worker *worker = slot->client->worker;
    if (worker->ending) {
        return;
    }
    if (worker->result->errors++ < COMPLAINTS_MAX) {
        (void)fprintf(stderr, "%s of client %u: %s: %s\n", what, slot->client->number,
                      lockstep_result_name(result), lockstep_error_message());
    }
}

/* ==== the end of the measured time ==== */

static void gap_success(struct load_gap *gap, int64_t ns)
{
    if (ns - gap->last_ns > gap->longest_ns) {
        gap->longest_ns = ns - gap->last_ns;
        gap->longest_at_ns = gap->last_ns;
    }
    gap->last_ns = ns;
}

void load_succeeded(struct load_client *client, int64_t ns)
{
    if (load_counts(client->worker, ns)) {
        gap_success(&client->gap, ns);
        gap_success(&client->worker->gap, ns);
    }
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static void count_gaps(struct load_worker *worker)
{
    int64_t *gaps = calloc(worker->clients_count, sizeof *gaps);
    if (gaps == NULL) {
        return;
    }
    gap_success(&worker->gap, worker->stop_ns);
    for (unsigned i = 0; i < worker->clients_count; i++) {
        gap_success(&worker->clients[i].gap, worker->stop_ns);
        gaps[i] = worker->clients[i].gap.longest_ns;
    }
    qsort(gaps, worker->clients_count, sizeof *gaps, compare);
    worker->result->gap_ns = worker->gap.longest_ns;
    worker->result->gap_at_ns = worker->gap.longest_at_ns;
    worker->result->client_gap_median_ns = gaps[worker->clients_count / 2];
    worker->result->client_gap_max_ns = gaps[worker->clients_count - 1];
    free(gaps);
}

static void tell(struct load_worker *worker, char word)
{
    /* Without its coordinator a worker has nobody to count for; it ends when end_fd does. */
    (void)!write(worker->up, &word, 1);
}

void load_done(struct load_worker *worker)
{
    worker->running = false;
    tell(worker, 'D');
}

static void stop_cb(uv_timer_t *timer)
{
    struct load_worker *worker = timer->data;
    if (load_now_ns() < worker->stop_ns) { /* the timer counts whole milliseconds */
        (void)uv_timer_start(timer, stop_cb, 1, 0);
        return;
    }
    count_gaps(worker);
    load_done(worker);
}

_Noreturn void load_abandon(struct load_worker *worker)
{
    tell(worker, 'A');
    _exit(1);
}

/* ==== slots ==== */

void load_next(struct load_slot *slot)
{
    if (slot->client->worker->running) {
        slot->client->worker->options->workload->begin(slot);
    }
}

static void retry_cb(uv_timer_t *timer)
{
    struct load_worker *worker = timer->data;
    struct load_slot *slot = worker->retries;
    worker->retries = NULL;
    while (slot != NULL) {
        struct load_slot *next = slot->next_retry;
        load_next(slot);
        slot = next;
    }
}

void load_later(struct load_slot *slot)
{
    struct load_worker *worker = slot->client->worker;
    slot->next_retry = worker->retries;
    worker->retries = slot;
    if (!worker->ending && !uv_is_active((uv_handle_t *)&worker->retry)) {
        unsigned pace_ms = worker->options->pace_ms;
        (void)uv_timer_start(&worker->retry, retry_cb, pace_ms != 0 ? pace_ms : LOAD_RETRY_MS, 0);
    }
}

static void begin(struct load_worker *worker)
{
    worker->start_ns = atomic_load(&worker->shared->start_ns);
    worker->stop_ns = atomic_load(&worker->shared->stop_ns);
    worker->gap.last_ns = worker->start_ns;
    for (unsigned i = 0; i < worker->clients_count; i++) {
        worker->clients[i].gap.last_ns = worker->start_ns;
    }
    worker->running = true;
    if (worker->stop_ns != INT64_MAX) {
        int64_t left_ms = (worker->stop_ns - load_now_ns()) / NS_PER_MS + 1;
        (void)uv_timer_start(&worker->stop, stop_cb, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
    }
    for (unsigned i = 0; i < worker->slots_count && worker->options->workload->begin != NULL; i++) {
        load_next(&worker->slots[i]);
    }
}

static bool at_end(int fd)
{
    char byte;
    ssize_t got = read(fd, &byte, 1);
    return got >= 0 || (errno != EINTR && errno != EAGAIN);
}

static void go_cb(uv_poll_t *poll, int status, int events)
{
    struct load_worker *worker = poll->data;
    int fd = -1;
    (void)status;
    (void)events;
    (void)uv_fileno((uv_handle_t *)poll, &fd);
    if (at_end(fd)) {
        (void)uv_poll_stop(poll);
        begin(worker);
    }
}

/* ==== sessions ==== */

static void close_handles(struct load_worker *worker)
{
    uv_close((uv_handle_t *)&worker->go, NULL);
    uv_close((uv_handle_t *)&worker->end, NULL);
    uv_close((uv_handle_t *)&worker->stop, NULL);
    uv_close((uv_handle_t *)&worker->retry, NULL);
}

static void closed_cb(void *arg, int result)
{
    struct load_worker *worker = arg;
    (void)result;
    if (--worker->open == 0) {
        close_handles(worker);
    }
}

static void end_cb(uv_poll_t *poll, int status, int events)
{
    struct load_worker *worker = poll->data;
    int fd = -1;
    (void)status;
    (void)events;
    (void)uv_fileno((uv_handle_t *)poll, &fd);
    if (worker->ending || !at_end(fd)) {
        return;
    }
    worker->running = false;
    worker->ending = true;
    (void)uv_poll_stop(poll);
    if (worker->options->leave) {
        _exit(0);
    }
    for (unsigned i = 0; i < worker->opened; i++) {
        lockstep_async_close(worker->clients[i].async, closed_cb, worker);
    }
    if (worker->opened == 0) {
        close_handles(worker);
    }
}

static void session_lost_cb(void *arg, enum lockstep_lost_reason reason, const char *detail)
{
    struct load_worker *worker = arg;
    if (!worker->ending && worker->result->sessions_lost++ < COMPLAINTS_MAX) {
        (void)fprintf(stderr, "a session was lost: %s %s\n", lockstep_lost_reason_text(reason), detail);
    }
}

static unsigned connections_of(const struct load_worker *worker)
{
    unsigned connections = worker->options->connections / worker->options->processes;
    connections = connections == 0 ? 1 : connections;
    return connections < worker->clients_count ? connections : worker->clients_count;
}

static void open_more(struct load_worker *worker);

static void session_open_cb(void *arg, int result)
{
    struct load_worker *worker = arg;
    if (worker->ending) {
        return;
    }
    if (result != LOCKSTEP_OK) {
        (void)fprintf(stderr, "a session can not be opened: %s: %s\n", lockstep_result_name(result),
                      lockstep_error_message());
        load_abandon(worker);
    }
    worker->opening--;
    open_more(worker);
}

static void open_one(struct load_worker *worker)
{
    struct load_client *client = &worker->clients[worker->opened];
    struct lockstep_options options;
    lockstep_options_init(&options);
    options.endpoints = worker->options->endpoints;
    options.owner = "bench";
    options.session_ttl_ms = worker->options->ttl_ms;
    options.on_session_lost = session_lost_cb;
    options.on_session_lost_arg = worker;
    if (lockstep_async_create(&worker->loop, &options, &client->async) != LOCKSTEP_OK ||
        lockstep_async_session_open(client->async, session_open_cb, worker) != LOCKSTEP_OK) {
        (void)fprintf(stderr, "a client can not be made: %s\n", lockstep_error_message());
        load_abandon(worker);
    }
    worker->opened++;
    worker->open++;
    worker->opening++;
}

static void open_more(struct load_worker *worker)
{
    unsigned wanted = connections_of(worker);
    while (worker->opened < wanted && worker->opening < LOAD_OPENING_MAX) {
        open_one(worker);
    }
    if (worker->opened == wanted && worker->opening == 0) {
        for (unsigned i = wanted; i < worker->clients_count; i++) {
            worker->clients[i].async = worker->clients[i % wanted].async;
        }
        tell(worker, 'R');
    }
}

/* ==== the worker ==== */

/* This worker's part of the clients, and of the locks to be held. */
static void share_out(struct load_worker *worker)
{
    const struct load_options *options = worker->options;
    uint64_t n = worker->number;
    unsigned first = (unsigned)(n * options->clients / options->processes);
    unsigned behind = (unsigned)((n + 1) * options->clients / options->processes);
    worker->clients_count = behind - first;
    worker->locks_next = (unsigned)(n * options->locks / options->processes);
    worker->locks_end = (unsigned)((n + 1) * options->locks / options->processes);
    worker->locks_count = worker->locks_end - worker->locks_next;
    worker->last_holder = UINT32_MAX;
    worker->random = (options->seed + n) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    unsigned window = options->workload->windowed ? options->window : 1;
    worker->slots_count = worker->clients_count * window;
    worker->clients = calloc(worker->clients_count, sizeof *worker->clients);
    worker->slots = calloc(worker->slots_count, sizeof *worker->slots);
    if (worker->clients == NULL || worker->slots == NULL) {
        (void)fprintf(stderr, "there is not enough memory for %u clients\n", worker->clients_count);
        load_abandon(worker);
    }
    for (unsigned i = 0; i < worker->clients_count; i++) {
        worker->clients[i].worker = worker;
        worker->clients[i].number = first + i;
    }
    for (unsigned i = 0; i < worker->slots_count; i++) {
        worker->slots[i].client = &worker->clients[i / window];
        if (options->workload->prepare != NULL) {
            options->workload->prepare(&worker->slots[i]);
        }
    }
}

int load_worker_run(const struct load_options *options, struct load_shared *shared, unsigned number, int up,
                    int go_fd, int end_fd)
{
    static struct load_worker worker;
    worker.options = options;
    worker.shared = shared;
    worker.result = &shared->results[number];
    worker.number = number;
    worker.up = up;
    if (uv_loop_init(&worker.loop) != 0 || uv_timer_init(&worker.loop, &worker.stop) != 0 ||
        uv_timer_init(&worker.loop, &worker.retry) != 0 ||
        uv_poll_init(&worker.loop, &worker.go, go_fd) != 0 ||
        uv_poll_init(&worker.loop, &worker.end, end_fd) != 0) {
        (void)fprintf(stderr, "a loop can not be made: out of memory or descriptors\n");
        return 1;
    }
    worker.stop.data = worker.retry.data = worker.go.data = worker.end.data = &worker;
    share_out(&worker);
    (void)uv_poll_start(&worker.go, UV_READABLE | UV_DISCONNECT, go_cb);
    (void)uv_poll_start(&worker.end, UV_READABLE | UV_DISCONNECT, end_cb);
    open_more(&worker);
    (void)uv_run(&worker.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&worker.loop);
    free(worker.slots);
    free(worker.clients);
    return 0;
}
