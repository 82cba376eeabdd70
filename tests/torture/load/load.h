/* The load of a torture run: many clients of one process on liblockstep's asynchronous API, and the history of what they
 * asked and were told (../history.md).
 *
 *   main.c     the command line
 *   life.c     the process's life: who acts when, how it leaves
 *   history.c  lines of EDN, in order, on their way to the kernel
 *   draw.c     what the seed decides: which key, how long, how often
 *   client.c   a client's session: opened, renewed, closed and left alone by request
 *   slot.c     one thing at a time: ask for a lock, keep it, give it back; or ask about one
 *   hold.c     what is done with a lock: extended, checked, given a value, released, lost
 *   final.c    the last look at every lock
 *
 * Rules
 *  H1  An operation's :invoke is with the kernel before the library is asked: what a killed process may have done is known.
 *  H2  :certain is a time read before the lock was seen to be held, on a clock that no fault reaches.
 *  H3  A process number has one operation at a time, and is not used again after one whose outcome is not known.
 *  H4  :lost is with the kernel before the library can give the lock back. It does so by itself once the lock is not certain any
 *      more, and a process that was stopped until then would be told only after the library has sent it. So all locks are looked
 *      at before the library gets to run: see life.c.
 *  H5  What the judge counts leases by is not claimed where the library's own renewals may say otherwise: a session's TTL only
 *      ever gets shorter, and a renewal that failed may have made it so (the library goes on with the new TTL). */
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
    uint64_t due_ms;   /* on the loop's clock */
    uint64_t until_ms; /* holding: when it gives back */
    char key[32];
    const char *f;   /* of the operation under way */
    char asked[256]; /* its :value, as in the :invoke, without the braces */
    int64_t wait_ms;
    struct lockstep_lock *lock;
    struct lockstep_cancel *cancel;
    uint64_t token, fence, session;
    uint64_t lead_ms;    /* the library tells of a loss so long before it */
    uint64_t certain_ns; /* H2; 0: never */
    bool cancelled, released;
    bool lost, told; /* and the history has it */
    unsigned reason; /* enum lockstep_lost_reason */
    /* A grant that has ended, to be asked about. */
    char old_key[32];
    uint64_t old_token, old_fence;
};

/* A request about a session. Its close may be asked for while another is under way. */
struct request {
    uint64_t process; /* H3 */
    char asked[256];
    bool open;
};

struct client {
    struct load *load;
    char owner[LOAD_OWNER_BYTES];
    struct lockstep_async *async;
    struct slot slots[LOAD_SLOTS];
    struct request renewal, close;
    uint64_t ttl_ms;
    uint64_t due_ms;    /* of its next request */
    uint64_t absent_ms; /* until then it is away, for others to outlive its leases; 0: it is not */
    uint64_t session;   /* closing: which */
    uint64_t left;      /* one that may live although it is not used any more; 0: none */
    bool closing, closed;
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
    double allowed; /* operations that may begin now, by the rate */
    uint64_t allowed_ns;
    unsigned closed_count;
    bool calm; /* everything is healed: nothing that takes long, or leaves something behind */
    bool leaving;
    /* counted */
    uint64_t operations, unknown, grants, losses, wrong;
};

/* A result that a correct client of a correct service never sees: said, and counted. */
void load_wrong(struct load *load, const char *what, int result);
/* Says load_wrong() for each result that is not among `allowed`, a set of 1 << result; CLOSED always is. */
void load_check_result(struct load *load, const char *what, int result, uint32_t allowed);

/* ---- life.c ---- */

int load_run(struct load *load);

/* ---- draw.c ---- */

uint64_t draw_below(struct load *load, uint64_t below);
/* True once in `times`. */
bool draw_once_in(struct load *load, uint64_t times);
/* About `mean_ms`, sometimes much more. */
uint64_t draw_pause(struct load *load, uint64_t mean_ms);
uint64_t draw_key(struct load *load);
/* The kind of lock follows from the key, so that all who use it agree. */
enum lockstep_mode draw_mode(struct load *load, uint64_t key);
int64_t draw_wait(struct load *load);
/* How long a wait is waited on before it is cancelled. */
uint64_t draw_patience(struct load *load);
uint64_t draw_hold(struct load *load, const char *key);
/* Of a session, and of a lease of its own. */
uint64_t draw_ttl(struct load *load);
uint64_t draw_own_ttl(struct load *load);

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
/* Close the session, whatever it still has. */
void client_leave(struct client *client);
/* Whether none of its operations is under way, and it holds nothing. */
bool client_is_idle(const struct client *client);
/* For the time on which locks are known to be held, and H4. */
void client_look(struct client *client);

/* ---- slot.c ---- */

void slot_init(struct client *client, struct slot *slot);
void slot_act(struct slot *slot, uint64_t now_ms);
/* The client is gone: so is the lock. */
void slot_drop(struct slot *slot);
void slot_idle(struct slot *slot);
void slot_invoke(struct slot *slot, const char *f);
/* @param rest  what the answer adds; "" or " :key value…" */
void slot_complete(struct slot *slot, int result, const char *rest);

/* ---- hold.c ---- */

/* A lock was granted: `slot` has it, and `rest` gets what its completion says. */
void hold_take(struct slot *slot, struct lockstep_lock *lock, char *rest, size_t rest_bytes);
/* What follows when an operation on the lock has ended, or the grant has been written down. */
void hold_on(struct slot *slot);
void hold_act(struct slot *slot, uint64_t now_ms);
void hold_look(struct slot *slot, uint64_t now_ns);
void hold_release(struct slot *slot);
/* For struct lockstep_acquire_options. */
void hold_on_lost(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason,
                  int64_t remaining_ms, const char *detail);

/* ---- final.c ---- */

int load_final(const struct load *load);

#endif
