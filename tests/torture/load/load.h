/* The load of a torture run: many clients of one process on liblockstep's asynchronous API, and the history of what they
 * asked and were told (../history.md).
 *
 *   main.c     the command line, and the process's life
 *   history.c  lines of EDN, in order, on their way to the kernel
 *   client.c   a client's session: opened by use, renewed and closed by request
 *   slot.c     one thing at a time: ask for a lock, keep it, give it back; or ask about one
 *   final.c    the last look at every lock
 *
 * Rules
 *  H1  An operation's :invoke is with the kernel before the library is asked: what a killed process may have done is known.
 *  H2  :certain is a time read before the lock was seen to be held, on a clock that no fault reaches.
 *  H3  A process number has one operation at a time, and is not used again after one whose outcome is not known. */
#ifndef LOCKSTEP_TESTS_TORTURE_LOAD_H
#define LOCKSTEP_TESTS_TORTURE_LOAD_H

#include <lockstep.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

enum {
    LOAD_CLIENTS_MAX = 2000,
    LOAD_KEYS_MAX = 10000,
    LOAD_SLOTS = 4,
    LOAD_OWNER_BYTES = 64,
    LOAD_PERMITS_LIMIT = 3
};

struct load;
struct client;

enum slot_state {
    SLOT_IDLE,    /* acts at its time */
    SLOT_ASKING,  /* an operation without a lock is under way */
    SLOT_HOLDING, /* acts at its time */
    SLOT_WORKING, /* an operation on its lock is under way */
    SLOT_LEAVING, /* its release is under way */
};

struct slot {
    struct client *client;
    uint64_t process; /* H3 */
    enum slot_state state;
    uint64_t due_ms; /* on the loop's clock */
    char key[32];
    const char *f;   /* of the operation under way */
    char asked[256]; /* its :value, as in the :invoke, without the braces */
    struct lockstep_lock *lock;
    struct lockstep_cancel *cancel;
    uint64_t token;
    uint64_t session;
    uint64_t certain_ns; /* H2; 0: never */
    bool lost;
    unsigned reason; /* enum lockstep_lost_reason */
};

struct client {
    struct load *load;
    char owner[LOAD_OWNER_BYTES];
    struct lockstep_async *async;
    struct slot slots[LOAD_SLOTS];
    uint64_t process; /* of :renew and :close */
    uint64_t due_ms;  /* of its next one */
    char asked[128];
    bool renewing, closing, closed;
};

struct load {
    /* asked for */
    const char *endpoints, *owner_prefix, *path;
    uint64_t clients_count, keys_count, seed, process_base, ttl_ms, rate, seconds;
    double clock_rate;
    bool final;
    /* the process */
    uv_loop_t loop;
    uv_timer_t tick, end;
    uv_signal_t on_term, on_int, on_healed;
    struct client *clients;
    uint64_t next_process;
    uint64_t random;
    unsigned closed_count;
    bool leaving;
    /* counted */
    uint64_t operations, unknown, grants, losses, wrong;
};

uint64_t load_random(struct load *load, uint64_t below);
/* About `mean_ms`, sometimes much more. */
uint64_t load_pause(struct load *load, uint64_t mean_ms);
/* A result that a correct client of a correct service never sees: said, and counted. */
void load_check_result(struct load *load, const char *what, int result);

/* ---- history.c ---- */

bool history_open(const char *path);
/* Nanoseconds of the machine's clock, whatever the process's own shows. */
uint64_t history_now(void);
/* One line; flushed with the next history_flush(), at the latest after 100 ms. */
void history_line(uint64_t process, const char *type, const char *f, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void history_final(const char *format, ...) __attribute__((format(printf, 1, 2)));
void history_flush(void);
/* "ok", "fail" or "info". */
const char *history_type(int result);

/* ---- client.c ---- */

bool client_create(struct load *load, struct client *client, uint64_t number);
/* What is due now. */
void client_act(struct client *client, uint64_t now_ms);
/* Give back what it has, and close the session. */
void client_leave(struct client *client);
/* For the time on which a lock is known to be held. */
void client_look(struct client *client);

/* ---- slot.c ---- */

void slot_init(struct client *client, struct slot *slot);
void slot_act(struct slot *slot, uint64_t now_ms);
void slot_look(struct slot *slot, uint64_t now_ns);
/* The client is gone: so is the lock. */
void slot_drop(struct slot *slot);

/* ---- final.c ---- */

int load_final(const struct load *load);

#endif
