/* The core's parts and what they know of each other. Private to core.c, call.c, route.c, session.c, lock.c, requests.c and answer.c.
 *
 *   core.c     the ways in; lsc_settle(), which decides after every input; the end
 *   call.c     requests: ids, lists, sending, sending again; call_due.c: running out of time
 *   route.c    which node to talk to, connecting, greeting, heartbeats
 *   session.c  opening, resuming, renewing, losing the session
 *   lock.c     grants and holds, their certain time, losing and releasing them
 *   requests.c what can be done with a lock, as requests
 *   verify.c   whether grants still live, after a connection was lost
 *   answer.c   what a reply or an event changes */
#ifndef LOCKSTEP_CLIENT_STATE_H
#define LOCKSTEP_CLIENT_STATE_H

#include "client/core.h"
#include "client/lease.h"
#include "client/result.h"
#include "protocol/buffer.h"
#include "protocol/decode.h"

enum {
    ROUTE_ADDRESSES_MAX = 32,       /* the configured endpoints and what leaders' hints added */
    ROUTE_REDIRECTS_MAX = 2,        /* hints followed at once; then with backoff, so that two wrong hints can not spin */
    ROUTE_AVOID_MS = 1000,          /* so long a hint to an address that has just failed is not followed */
    ROUTE_PATIENCE_MS = 200,        /* so long to twice so long a node that knows no leader is given to learn of one */
    ROUTE_HEARTBEAT_MS_MIN = 20,
    ROUTE_HEARTBEAT_MS_MAX = 60000, /* whatever a node says */
    ROUTE_HEARTBEATS_PER_TTL = 12,  /* two silent ones, a sixth of the TTL, give a dead connection up */
    ROUTE_KEEPALIVE_MS = 20000, /* a third of the default time after which a node closes an idle connection */

    CALL_SENT_MAX = 1000,       /* unanswered at a time on one connection */
    CALL_WINDOW_MAX = 900,      /* ids above the floor: room for ordinary requests, */
    CALL_WINDOW_URGENT = 1010,  /* and for those that make room; both below FSM_WINDOW_REPLIES_MAX */
    CALL_WINDOW_RENEW = 600,    /* above it the session is renewed by session.open, which takes no room */
    CALL_RETRY_MS_MAX = 2000,   /* whatever a node says */

    CLOSE_MS_MAX = 2000, /* for session.close when the client ends */
};
/* The first id of requests that belong to no session; those in the session stay below. */
#define CALL_OTHER_IDS (UINT64_C(3) << 62)
_Static_assert(ROUTE_ADDRESSES_MAX >= LOCKSTEP_ENDPOINTS_MAX + 3, "a place beside the one in use and the one that failed");
_Static_assert((int)CALL_WINDOW_URGENT + 1 < (int)FSM_WINDOW_REPLIES_MAX, "requests that make room always have room");

/* ---- calls ---- */

struct call_list {
    struct lsc_call *first;
    struct lsc_call *last;
};

/* A call's life. It is in exactly one list, and ends in lsc_call_end().
 *
 *                +-------------------- disconnect ------------------+
 *                v                                                  |
 *   (new) --> ready -- lsc_calls_send() --> sent --+-- reply --> ended
 *                ^                                 |
 *                +---- delayed <--- "retry" -------+        */
enum call_place { CALL_READY, CALL_SENT, CALL_DELAYED, CALL_PLACES };

struct lsc_call {
    struct lsc_call *next, *prev;
    enum call_place place;
    struct proto_request request; /* id 0: none given yet. Strings point into `bytes` */
    bool goes_first;        /* opens or renews the session */
    bool in_session;        /* SESSION operations, and the wait for a session to be there */
    bool waits_for_session; /* nothing to send: ends when the session is open */
    bool verifies;          /* a query of verify.c */
    bool abandoned;         /* an acquire whose caller has gone: what it gets is given back */
    bool ambiguous;         /* an earlier sending may have been executed, and was not answered */
    bool counted;           /* in extends_pending; of a renewal: its TTL is the session's */
    bool given_up;          /* counted in its grant's given_up: its caller was told that nobody knows */
    int refusal;            /* what it was refused with before the next attempt; LOCKSTEP_OK: it was not */
    struct boot_time begun; /* when it was asked for */
    uint64_t begun_after;   /* how many messages had been heard by then */
    struct boot_time sent_at; /* the first sending of this id: t0 of lease.h */
    struct boot_time due;     /* when its caller is told, whatever has come; BOOT_NEVER in the background */
    struct boot_time retry_at; /* in CALL_DELAYED */
    struct boot_time limited_since; /* a limit keeps it out, of a queue too; BOOT_NEVER: none does */
    struct lsc_grant *grant;   /* of extend, release, set_value; counted */
    void *hold_user;           /* of acquire */
    void *user;
    lsc_done_cb done; /* NULL: nobody waits for it (any more) */
    uint8_t bytes[];
};

/* ---- route ---- */

enum route_state {
    ROUTE_IDLE,       /* nothing to connect for */
    ROUTE_WAITING,    /* until `due`, before the next attempt */
    ROUTE_CONNECTING, /* until `due` */
    ROUTE_GREETING,   /* connected, hello sent; until `due` */
    ROUTE_READY,
};

struct route {
    enum route_state state;
    char *addresses[ROUTE_ADDRESSES_MAX];
    unsigned addresses_count;
    unsigned configured_count;
    unsigned replaced_count; /* learned ones that made room for others */
    unsigned next;        /* the address of the next attempt without a hint */
    const char *target;   /* the address of this attempt: one of `addresses` */
    struct boot_time due;   /* in ROUTE_READY at a node that does not lead: how long to wait for it to name one */
    unsigned attempt;     /* since a leader has answered, or a node was given time to name one */
    unsigned redirects;   /* likewise */
    const char *avoid;    /* the address that failed last, */
    struct boot_time avoid_until;
    /* of the node that is connected */
    uint64_t node_id;
    uint64_t leader_id; /* whom it takes for the leader */
    char leader_address[PROTO_ADDRESS_BYTES_MAX + 1];
    bool leads; /* as far as we know */
    uint64_t heartbeat_ms;
    struct boot_time heard_at; /* or when something began to be awaited */
    struct boot_time said_at;  /* the last sending */
    bool pinged;
    struct boot_time pinged_at;
    /* why there is no connection */
    struct boot_time lost_at; /* since when no leader is at hand; BOOT_NEVER: one is */
    int failure;              /* LOCKSTEP_UNREACHABLE, or what every endpoint said: WRONG_CLUSTER, UNSUPPORTED */
    unsigned failure_streak;  /* attempts in a row that ended with `failure`, other than UNREACHABLE */
    char failure_text[DETAIL_BYTES];
};

/* ---- session ---- */

enum session_state {
    SESSION_NONE,
    SESSION_OPENING, /* `opener` is under way */
    SESSION_OPEN,
    SESSION_ENDED,   /* an adopted one, for good */
};

struct session {
    enum session_state state;
    bool adopted;
    bool renews; /* by itself; an adopted one only once it was told to */
    bool shared; /* other processes have its secret, or had it first */
    uint64_t id;
    uint8_t secret[PROTO_SECRET_BYTES]; /* for the client's whole life, so that a lock-delay does not shut it out */
    char owner[PROTO_OWNER_BYTES_MAX + 1]; /* an adopted one has those of who opened it */
    uint64_t lock_delay_ms;
    uint64_t ttl_ms;          /* that is asked for, */
    uint64_t answered_ttl_ms; /* and that of the answer which was executed last; 0: none yet */
    struct lsc_call *opener;  /* session.open, session.get of an adopted one, or NULL */
    bool resuming;            /* `opener` takes it up on another connection */
    bool unheard;             /* it may have been opened: an answer was lost with its connection */
    struct lsc_call *renewal; /* the renewal that is under way by itself, or NULL */
    struct boot_time renew_at;
    struct boot_time renewed_from; /* when the last renewal that was answered was sent */
    bool dated;                   /* `deadline` is known, */
    struct cluster_time deadline;
    struct cluster_time as_of;    /* by the entry of this time, */
    uint64_t dated_by;            /* as told by this message */
    bool loss_told;               /* of the certain time that ran out last */
    int failure;                  /* why it can not be opened; LOCKSTEP_OK */
    char failure_text[DETAIL_BYTES];
};

/* ---- locks ---- */

/* A grant's life, as this process knows it.
 *
 *   held --+--> uncertain   lsc_grant_lose(): its certain time is nearly up. Not a holder any more; once the time is
 *     ^    |      |         up and the cluster is reached, each hold of it is released there.
 *     +----|------+         a new acquire joined it: for that one it is held
 *          +--> ended       the cluster said so, or its session has ended
 *
 * The cluster counts how often a grant was entered. Each hold is one of these, and is released exactly once: by its user,
 * when it is freed, or, if it was lost to uncertainty, later (it is "owed"). So what is released never takes away what
 * another acquire, perhaps one under way, has entered. */
enum grant_state { GRANT_HELD, GRANT_UNCERTAIN, GRANT_ENDED };

struct lsc_grant {
    struct lsc_grant *next, *prev;
    enum grant_state state;
    unsigned references; /* holds and calls, and one while anything is owed */
    unsigned owed;       /* releases, due at `owed_at` */
    struct boot_time owed_at;
    uint64_t session_id;
    uint64_t token;
    uint64_t fence;
    bool unknown; /* adopted or joined, and it may have a lease of its own that we do not know, until an extend is answered */
    bool has_lease; /* of its own: */
    uint64_t lease_ttl_ms;
    struct cluster_time lease_deadline;
    struct cluster_time lease_as_of;
    uint64_t lease_by; /* as session.dated_by */
    unsigned extends_pending; /* under way: until they are answered the lease may end as early as the shortest of */
    struct boot_time cap;     /* them says */
    uint64_t cap_ttl_ms; /* the shortest that an extend under way has asked for */
    unsigned given_up; /* extends and values that go on without their callers: what is asked for later waits (E2) */
    struct lsc_hold *first_hold;
    char key[];
};

struct lsc_hold {
    struct lsc_hold *next, *prev; /* in its grant */
    struct lsc_grant *grant;
    bool released; /* asked for, or owed and sent */
    bool told;     /* hold_lost() has run, */
    bool owed;     /* and its release is in grant->owed */
    struct boot_time until; /* told: when its certain time ends */
    void *user;
};

/* ---- core ---- */

struct lsc_core {
    struct lsc_config config;
    struct lsc_output output;
    char *owner;
    uint64_t cluster_id; /* whose nodes are talked to; 0: not known yet */
    struct route route;
    struct session session;
    struct lease_clock clock;
    struct call_list lists[CALL_PLACES]; /* ready and sent in order of id, new ones last */
    unsigned calls_count;
    unsigned session_calls; /* calls that need a session */
    unsigned leader_calls;  /* calls that only a leader answers */
    unsigned sent_count;
    uint64_t next_id;
    uint64_t other_ids_count;
    uint64_t answers_count; /* messages heard, on all connections */
    uint64_t floor_limit;       /* of an adopted session: no floor above it, */
    uint64_t floor_limit_until; /* up to this id */
    struct lsc_call *starting;  /* in lsc_call_start(), until its `done` has run */
    struct boot_time calls_due; /* not later than the earliest due or retry_at of all calls */
    struct lsc_grant *grants;
    unsigned held_count;    /* grants in GRANT_HELD */
    unsigned owing_count;   /* grants that owe releases */
    bool joined_unknown;    /* a grant was first heard of by an acquire that joined it */
    struct boot_time leases_due; /* not later than the earliest loss by a grant's own lease */
    struct proto_buffer in;
    struct proto_buffer out;
    struct proto_buffer scratch;
    struct proto_rows *rows;
    bool closing;
    bool keep_session;
    bool closed;
    void *close_user;
    lsc_done_cb close_done;
    struct boot_time close_due;
};

/* core.c */
uint64_t lsc_random(struct lsc_core *core);
/* Decide after an input: session, route, what is due, what is sent. */
void lsc_settle(struct lsc_core *core, struct boot_time now);
/* The close has come to its end. */
void lsc_closed(struct lsc_core *core, int result);

/* call.c */
/* A call with a copy of the request's strings, in no list yet. NULL: no memory. */
struct lsc_call *lsc_call_create(struct lsc_core *core, struct boot_time now, const struct proto_request *request);
void lsc_call_begin(struct lsc_core *core, struct lsc_call *call, bool first);
/* Begin a call that somebody waits for, and settle; `call` may be NULL for want of memory. @return the call, or NULL if
 * `done` has run already. */
struct lsc_call *lsc_call_start(struct lsc_core *core, struct boot_time now, struct lsc_call *call, void *user,
                                lsc_done_cb done);
/* The answer to whoever waits; the call may go on without. */
void lsc_call_tell(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome);
/* Take it out, tell its caller if there is one, free it. */
void lsc_call_end(struct lsc_core *core, struct lsc_call *call, const struct lsc_outcome *outcome);
void lsc_call_fail(struct lsc_core *core, struct lsc_call *call, int result, const char *detail);
/* Ask again later, with the same id; or end it, if nobody waits for its answer any more. */
void lsc_call_delay(struct lsc_core *core, struct boot_time now, struct lsc_call *call, uint64_t wait_ms);
/* Ask again as soon as there is a leader; or end it, as above. */
void lsc_call_again(struct lsc_core *core, struct lsc_call *call);
/* It may have been executed, and no answer came. @return true if it may be sent again; else it has ended. */
bool lsc_call_ambiguous(struct lsc_core *core, struct lsc_call *call);
struct lsc_call *lsc_call_find_sent(struct lsc_core *core, uint64_t id);
void lsc_calls_send(struct lsc_core *core, struct boot_time now);
void lsc_calls_disconnected(struct lsc_core *core, struct boot_time now);
void lsc_calls_expire(struct lsc_core *core, struct boot_time now);
/* End every call that wants an answer and was never sent. */
void lsc_calls_fail_unsent(struct lsc_core *core, int result, const char *detail);
/* End every call of the session. */
void lsc_calls_fail_session(struct lsc_core *core, int result, const char *detail);
void lsc_calls_fail_all(struct lsc_core *core, int result);
uint64_t lsc_calls_floor(const struct lsc_core *core);
/* A limit of the session's window, a node or the cluster keeps it out for now. */
void lsc_call_limited(struct lsc_core *core, struct boot_time now, struct lsc_call *call);
/* It has to wait for an earlier one on its grant, whose caller has gone (E2). */
bool lsc_call_is_behind(const struct lsc_call *call);
/* An id for a request that belongs to no session. */
uint64_t lsc_other_id(struct lsc_core *core);
/* The caller has gone: give back or cancel whatever comes of the acquire. Ends it if nothing can come. */
void lsc_acquire_abandon(struct lsc_core *core, struct boot_time now, struct lsc_call *call);
bool lsc_call_any_node(const struct lsc_call *call);

/* route.c */
bool lsc_route_init(struct lsc_core *core);
void lsc_route_done(struct lsc_core *core);
void lsc_route_settle(struct lsc_core *core, struct boot_time now);
void lsc_route_heard(struct lsc_core *core, struct boot_time now);
/* The greeting has been read. */
void lsc_route_greeted(struct lsc_core *core, struct boot_time now, struct proto_bytes body);
/* The connection, or the attempt at one, has ended by itself. */
void lsc_route_dropped(struct lsc_core *core, struct boot_time now, const char *why);
/* The node tells who leads now; 0: nobody that it knows of. */
void lsc_route_told(struct lsc_core *core, struct boot_time now, uint64_t leader_id, struct proto_bytes address);
/* The node does not lead (any more); a hint, or 0 and nothing. */
void lsc_route_moved(struct lsc_core *core, struct boot_time now, uint64_t leader_id, struct proto_bytes address);
/* A leader has answered: all is well. */
void lsc_route_served(struct lsc_core *core);
/* What came is no protocol: drop the connection. */
void lsc_route_broken(struct lsc_core *core, struct boot_time now, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void lsc_route_awaits(struct lsc_core *core, struct boot_time now);
struct boot_time lsc_route_deadline(const struct lsc_core *core);

/* session.c */
void lsc_session_init(struct lsc_core *core);
void lsc_session_settle(struct lsc_core *core, struct boot_time now);
/* Connected to a leader: take the session up there. */
void lsc_session_resume(struct lsc_core *core, struct boot_time now);
void lsc_session_granted(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply);
void lsc_session_described(struct lsc_core *core, const struct proto_reply *reply);
/* A grant's deadline proves that the session lives at least as long. */
void lsc_session_learn(struct lsc_core *core, struct cluster_time deadline, struct cluster_time as_of);
void lsc_session_lose(struct lsc_core *core, struct boot_time now, enum lockstep_lost_reason reason, const char *detail);
/* Ask for its end; the core is closing. */
void lsc_session_close(struct lsc_core *core, struct boot_time now);
/* It can not be opened or renewed. */
void lsc_session_refused(struct lsc_core *core, struct boot_time now, int result, const char *detail);
void lsc_session_sent(struct lsc_core *core, struct lsc_call *call);
void lsc_session_forget(struct lsc_core *core, const struct lsc_call *call);
/* What to reckon with: of the TTL that is asked for and the one that is answered the shorter (S5). */
uint64_t lsc_session_ttl_ms(const struct lsc_core *core);
struct boot_time lsc_session_local(const struct lsc_core *core);
struct boot_time lsc_session_deadline(const struct lsc_core *core);

/* lock.c */
struct lsc_hold *lsc_grant_received(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply);
/* Its acquire was answered with it: lost at once if the grant has ended already. */
void lsc_hold_given(struct lsc_core *core, struct lsc_hold *hold);
void lsc_grant_extended(struct lsc_core *core, const struct lsc_call *call, const struct proto_reply *reply);
void lsc_grant_sent(struct lsc_core *core, struct lsc_call *call);
void lsc_grant_forget(struct lsc_core *core, struct lsc_call *call);
void lsc_grant_unref(struct lsc_core *core, struct lsc_grant *grant);
void lsc_grant_lose(struct lsc_core *core, struct lsc_grant *grant, enum grant_state state,
                    enum lockstep_lost_reason reason, const char *detail);
struct lsc_grant *lsc_grant_find(const struct lsc_core *core, uint64_t token);
void lsc_grants_lose_all(struct lsc_core *core, enum grant_state state, enum lockstep_lost_reason reason,
                         const char *detail);
void lsc_grants_settle(struct lsc_core *core, struct boot_time now);
struct boot_time lsc_grants_deadline(const struct lsc_core *core);
uint64_t lsc_lead_ms(const struct lsc_core *core, uint64_t ttl_ms);
/* From now on it is not held, and its on_lost is not wanted. @return whether its release is still to be sent. */
bool lsc_hold_let_go(struct lsc_core *core, struct lsc_hold *hold);
/* lsc_hold_free() without settling. */
void lsc_hold_drop(struct lsc_core *core, struct boot_time now, struct lsc_hold *hold);

/* requests.c */
/* Release in the background: one hold of the grant; or what is known by key and token only. */
void lsc_release_later(struct lsc_core *core, struct boot_time now, struct lsc_grant *grant);
void lsc_release_unknown(struct lsc_core *core, struct boot_time now, const struct proto_lock_release *body);

/* verify.c */
/* The session was taken up on another connection. */
void lsc_verify(struct lsc_core *core, struct boot_time now);
/* This one may have ended before we heard of it. */
void lsc_verify_grant(struct lsc_core *core, struct boot_time now, struct lsc_grant *grant);
void lsc_verify_count(struct lsc_core *core, struct boot_time now, const struct proto_session_row *row);
void lsc_verify_lock(struct lsc_core *core, struct lsc_grant *grant, const struct proto_lock_reply *lock);

/* answer.c */
void lsc_answer(struct lsc_core *core, struct boot_time now, struct proto_bytes body);

#endif
