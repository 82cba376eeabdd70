/* Load: each client acquires and releases its own key, as fast as it is answered. Prints cycles per second and the
 * percentiles of the acquire's latency as one JSON object.
 *
 *   bench_cycles --endpoints LIST [--clients N] [--seconds S] [--warmup S] [--ttl-ms N] */
#include <inttypes.h>
#include <lockstep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { CLIENTS_MAX = 4096, LATENCIES_MAX = 1 << 24 };

struct bench;

struct client {
    struct bench *bench;
    struct lockstep_async *async;
    struct lockstep_lock *lock;
    char key[32];
    uint64_t started_ns;
};

struct bench {
    uv_loop_t loop;
    uv_timer_t timer;
    struct client clients[CLIENTS_MAX];
    unsigned clients_count;
    unsigned open;
    bool measuring;
    bool stopping;
    uint64_t begin_ns, end_ns;
    uint64_t cycles, errors;
    uint32_t *latencies_us;
    size_t latencies_count;
    uint64_t seconds, warmup;
};

static void next_cycle(struct client *client);

static void closed_cb(void *arg, int result)
{
    struct client *client = arg;
    (void)result;
    client->bench->open--;
}

static void finish(struct client *client)
{
    lockstep_async_close(client->async, closed_cb, client);
}

static void complain(struct client *client, const char *what, int result)
{
    if (client->bench->errors++ < 10) {
        (void)fprintf(stderr, "%s: %s: %s\n", what, lockstep_result_name(result), lockstep_error_message());
    }
}

static void released_cb(void *arg, int result)
{
    struct client *client = arg;
    lockstep_lock_free(client->lock);
    client->lock = NULL;
    if (result != LOCKSTEP_OK) {
        complain(client, "release", result);
    } else if (client->bench->measuring) {
        client->bench->cycles++;
    }
    next_cycle(client);
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock, const struct lockstep_holder *holder)
{
    struct client *client = arg;
    struct bench *bench = client->bench;
    (void)holder;
    if (result != LOCKSTEP_OK) {
        complain(client, "acquire", result);
        next_cycle(client);
        return;
    }
    if (bench->measuring && bench->latencies_count < LATENCIES_MAX) {
        bench->latencies_us[bench->latencies_count++] = (uint32_t)((uv_hrtime() - client->started_ns) / 1000);
    }
    client->lock = lock;
    result = lockstep_async_release(lock, released_cb, client);
    if (result != LOCKSTEP_OK) {
        complain(client, "release", result);
        finish(client);
    }
}

static void next_cycle(struct client *client)
{
    if (client->bench->stopping) {
        finish(client);
        return;
    }
    client->started_ns = uv_hrtime();
    int result = lockstep_async_acquire(client->async, client->key, NULL, acquired_cb, client);
    if (result != LOCKSTEP_OK) {
        complain(client, "acquire", result);
        finish(client);
    }
}

static void stop_cb(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    bench->measuring = false;
    bench->stopping = true;
    bench->end_ns = uv_hrtime();
    uv_close((uv_handle_t *)timer, NULL);
}

static void measure_cb(uv_timer_t *timer)
{
    struct bench *bench = timer->data;
    bench->measuring = true;
    bench->begin_ns = uv_hrtime();
    (void)uv_timer_start(timer, stop_cb, bench->seconds * 1000, 0);
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static uint32_t percentile(const struct bench *bench, double share)
{
    if (bench->latencies_count == 0) {
        return 0;
    }
    size_t at = (size_t)((double)bench->latencies_count * share);
    return bench->latencies_us[at < bench->latencies_count ? at : bench->latencies_count - 1];
}

static void report(struct bench *bench)
{
    double seconds = (double)(bench->end_ns - bench->begin_ns) / 1e9;
    qsort(bench->latencies_us, bench->latencies_count, sizeof *bench->latencies_us, compare);
    (void)printf("{\"clients\": %u, \"seconds\": %.2f, \"cycles_per_s\": %.0f, \"errors\": %" PRIu64
                 ", \"acquire_us\": {\"p50\": %u, \"p90\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u}}\n",
                 bench->clients_count, seconds, (double)bench->cycles / seconds, bench->errors,
                 percentile(bench, 0.5), percentile(bench, 0.9), percentile(bench, 0.99), percentile(bench, 0.999),
                 percentile(bench, 1.0));
}

static bool start_client(struct bench *bench, unsigned number, const struct lockstep_options *options)
{
    struct client *client = &bench->clients[number];
    client->bench = bench;
    (void)snprintf(client->key, sizeof client->key, "bench/%u", number);
    int result = lockstep_async_create(&bench->loop, options, &client->async);
    if (result != LOCKSTEP_OK) {
        (void)fprintf(stderr, "client: %s\n", lockstep_error_message());
        return false;
    }
    bench->open++;
    next_cycle(client);
    return true;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.clients_count = 64, .seconds = 5, .warmup = 1};
    struct lockstep_options options;
    lockstep_options_init(&options);
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t number = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--endpoints") == 0) {
            options.endpoints = argv[i + 1];
        } else if (strcmp(argv[i], "--clients") == 0 && number >= 1 && number <= CLIENTS_MAX) {
            bench.clients_count = (unsigned)number;
        } else if (strcmp(argv[i], "--seconds") == 0 && number >= 1) {
            bench.seconds = number;
        } else if (strcmp(argv[i], "--warmup") == 0) {
            bench.warmup = number;
        } else if (strcmp(argv[i], "--ttl-ms") == 0) {
            options.session_ttl_ms = (int64_t)number;
        } else {
            (void)fprintf(stderr, "bench_cycles: \"%s %s\" is not known or out of bounds\n", argv[i], argv[i + 1]);
            return 2;
        }
    }
    bench.latencies_us = calloc(LATENCIES_MAX, sizeof *bench.latencies_us);
    if (options.endpoints == NULL || bench.latencies_us == NULL) {
        (void)fprintf(stderr, "bench_cycles: --endpoints is missing\n");
        return 2;
    }
    (void)uv_loop_init(&bench.loop);
    (void)uv_timer_init(&bench.loop, &bench.timer);
    bench.timer.data = &bench;
    for (unsigned i = 0; i < bench.clients_count; i++) {
        if (!start_client(&bench, i, &options)) {
            return 1;
        }
    }
    (void)uv_timer_start(&bench.timer, measure_cb, bench.warmup * 1000, 0);
    (void)uv_run(&bench.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&bench.loop);
    report(&bench);
    free(bench.latencies_us);
    return bench.errors == 0 ? 0 : 1;
}
