/* What the files of the load generator share. One process coordinates (coordinate.c): it forks the workers, tells them when
 * the measured time begins and ends, says so to the runner, adds up what they counted. A worker (worker.c) has a libuv
 * loop and some of the clients; a workload (workload_*.c) is what one client does next.
 *
 * Closed loop: a slot starts its next request when the last one is answered. Nothing is allocated while measuring, except
 * by the library.
 *
 * Invariants:
 *  1. An answer counts if it came at or after start_ns and before stop_ns; whether it counts never depends on when its
 *     request was sent.
 *  2. The coordinator touches no socket, a worker writes nothing to standard output. */
#ifndef BENCH_LOAD_LOAD_H
#define BENCH_LOAD_LOAD_H

#include <lockstep.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "tests/bench/load/histogram.h"

enum {
    LOAD_CLIENTS_MAX = 100000,
    LOAD_PROCESSES_MAX = 64,
    LOAD_WINDOW_MAX = 256, /* well below what a session may have under way */
    LOAD_LOCKS_MAX = 16000000,
    LOAD_OPENING_MAX = 50, /* sessions being opened at a time */
    LOAD_KEY_BYTES = 20,
    LOAD_RETRY_MS = 10
};

struct load_workload;

struct load_options {
    const struct load_workload *workload;
    const char *endpoints;
    unsigned clients, connections, processes, locks, window;
    int64_t ttl_ms;
    double seconds, warmup_seconds;
    unsigned pace_ms;     /* w7: between the answer and a client's next request; 0: at once */
    int64_t expire_at_ns; /* w11: when all of its sessions expire */
    uint64_t seed;
    bool stale;     /* reads: from any node */
    bool leave;     /* end without closing the sessions */
    bool histogram; /* print the buckets too */
};

/* What one worker counted, in memory shared with the coordinator, which reads it once the worker has said that it is done. */
struct load_result {
    uint64_t cycles, handoffs, reacquires, reads, held, errors, sessions_lost;
    struct histogram acquire, handoff, read;
    int64_t gap_ns, gap_at_ns, client_gap_median_ns, client_gap_max_ns;
};

struct load_shared {
    atomic_int_least64_t start_ns, stop_ns; /* CLOCK_MONOTONIC; written before the workers are told to go */
    struct load_result results[];
};

/* The longest stretch without a success so far. */
struct load_gap {
    int64_t last_ns, longest_ns, longest_at_ns;
};

struct load_client {
    struct load_worker *worker;
    struct lockstep_async *async; /* perhaps shared with other clients; the first of them owns it */
    unsigned number;
    struct load_gap gap;
};

/* One request after another of one client. */
struct load_slot {
    struct load_client *client;
    struct lockstep_lock *lock;
    struct lockstep_async *async; /* workload_swarm.c: its own */
    struct load_slot *next_retry;
    int64_t begun_ns;
    bool hot;
    char key[LOAD_KEY_BYTES + 1];
};

struct load_worker {
    const struct load_options *options;
    struct load_shared *shared;
    struct load_result *result;
    uv_loop_t loop;
    uv_poll_t go, end;
    uv_timer_t stop, retry;
    int up; /* bytes for the coordinator */
    unsigned number;
    unsigned clients_count, slots_count, opening, opened, open;
    struct load_client *clients;
    struct load_slot *slots;
    struct load_slot *retries;
    int64_t start_ns, stop_ns;
    bool running, ending;
    uint64_t random;
    struct load_gap gap;
    /* workload_handoff.c */
    struct load_slot *parked;
    unsigned last_holder;
    int64_t released_ns;
    /* workload_hold.c */
    unsigned locks_next, locks_end, locks_count;
};

struct load_workload {
    const char *name;
    const char *doc;
    void (*prepare)(struct load_slot *slot);
    void (*begin)(struct load_slot *slot); /* NULL: the clients only stay */
    bool windowed;                         /* as many slots for each client as the window says */
    bool until_done;  /* begins with the measured time and ends when all locks are held */
    bool one_process; /* its clients know of each other */
};

const struct load_workload *load_workload_find(const char *name);
void load_workloads_print(void);

/* ==== worker.c ==== */

int64_t load_now_ns(void);
/* Run until the coordinator says end; the process's exit code. `up` gets 'R' when all sessions are open and 'D' when all is
 * counted; `go_fd` and `end_fd` are read to their end, which is the word. */
int load_worker_run(const struct load_options *options, struct load_shared *shared, unsigned number, int up,
                    int go_fd, int end_fd);
/* Begin the slot's next request, unless the time is up. */
void load_next(struct load_slot *slot);
/* The same a little later, after something failed, or as the pace says. */
void load_later(struct load_slot *slot);
/* End this worker, and with it the run, without a result. */
_Noreturn void load_abandon(struct load_worker *worker);
/* Count a failure, and name the first few. */
void load_failed(struct load_slot *slot, const char *what, int result);
bool load_counts(const struct load_worker *worker, int64_t ns);
void load_succeeded(struct load_client *client, int64_t ns);
/* Tell the coordinator that this worker has no more to do. */
void load_done(struct load_worker *worker);
/* 0 .. bound - 1 */
uint64_t load_random(struct load_worker *worker, uint64_t bound);

/* ==== coordinate.c, print.c ==== */

int load_coordinate(const struct load_options *options);
void load_print(const struct load_options *options, const struct load_result *total, double elapsed_s);

#endif
