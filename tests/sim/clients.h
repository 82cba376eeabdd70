/* The clients' lives (clients.c) and what they ask for (clients_work.c). */
#ifndef LOCKSTEP_TESTS_SIM_CLIENTS_H
#define LOCKSTEP_TESTS_SIM_CLIENTS_H

#include "tests/sim/oracle.h"

enum {
    CLIENT_SLOTS_MAX = 6,
    CLIENT_KEY_BYTES = 8,
    CLIENT_ANSWER_MARGIN_MS = 300, /* an answer may be so much later than its time, by the client's clock */
};

enum slot_state {
    SLOT_IDLE,      /* until next_us */
    SLOT_CALL,      /* an operation is under way */
    SLOT_HOLD,      /* a hold, until next_us */
    SLOT_FREE_HOLD, /* the hold is to be freed */
};

struct slot {
    struct client *client;
    enum slot_state state;
    uint64_t next_us;
    char key[CLIENT_KEY_BYTES];
    bool reads; /* it only asks: it goes on where nothing can be written, at a leader that is none any more */
    bool forgets;         /* it has a lease of its own, and may let it run out */
    struct sim_hold hold; /* hold.hold NULL: none */
    uint64_t fence;
    /* the operation */
    struct lsc_call *call;
    enum proto_kind kind;
    bool active; /* begun, and not answered */
    bool stale, again, before_calm, cancelled;
    uint64_t floor, asked_session, asked_fence, asked_token;
    struct boot_time due; /* by when it must be answered; BOOT_NEVER */
    uint64_t cancel_us;
};

enum client_state {
    CLIENT_DOWN, /* no process until back_us */
    CLIENT_UP,
    CLIENT_CLOSING, /* lsc_core_close() is under way */
    CLIENT_CLOSED,  /* to be freed */
    CLIENT_GONE,    /* for good */
};

/* A hold that is handed on to the next life. */
struct heirloom {
    bool kept;
    char key[CLIENT_KEY_BYTES];
    uint64_t token, fence;
};

struct client {
    struct sim *sim;
    unsigned number;
    enum client_state state;
    struct lsc_core *core;
    struct oracle_sender *sender;
    struct sim_clock clock;
    bool silent; /* lsc_core_free() is under way: nobody hears its callbacks */
    bool lost_session;
    uint64_t paused_until_us; /* 0: not */
    uint64_t due_us;
    uint64_t back_us, close_us;
    struct boot_time close_due;
    bool keep_session;
    uint64_t session_known; /* that the oracle was told of */
    uint64_t session_closing;
    unsigned lives;
    unsigned admin_left;
    bool progressed;
    bool sweeps; /* the one that takes away what is left on keys, in the end */
    bool empty;  /* it has nothing any more, in the end */
    unsigned swept;
    /* drawn */
    bool restless; /* its lives are short: there is always somebody who looks for a leader from nothing */
    unsigned slots_count;
    uint64_t ttl_ms, lock_delay_ms, timeout_ms;
    uint64_t think_us, hold_us;
    uint32_t drift_ppm;
    /* of the life before */
    uint64_t old_session;
    uint8_t old_secret[PROTO_SECRET_BYTES];
    bool adopted;
    struct heirloom heirloom;
    struct slot slots[CLIENT_SLOTS_MAX];
};

struct sim_clients {
    struct client list[SIM_CLIENTS_MAX];
    unsigned count;
    bool calm, finishing;
    uint64_t due_us; /* the earliest of all; SIM_NEVER: unknown is never kept */
    bool due_known;
};

struct boot_time client_now(const struct client *client);
/* Something was done to it: its due time is to be found again. */
void client_touched(struct client *client);

/* ---- clients_work.c ---- */

/* What this slot does next; its time has come. */
void work_slot(struct slot *slot);
/* It gives back what it has, and begins nothing. @return whether nothing is left. */
bool work_leave(struct slot *slot);
/* Remove the values that are left on keys. @return whether all are. */
bool work_sweep(struct client *client);
void work_adopt(struct client *client);
/* The process is gone: forget without a word. */
void work_forget(struct slot *slot);

#endif
