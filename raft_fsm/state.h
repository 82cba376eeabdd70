/* The structures of the state and the functions that the files of this folder share. Private to raft_fsm/.
 *
 * How to find the way: apply.c takes an entry apart; session.c, lock.c, waiter.c and admin.c are the commands;
 * expiry.c and ending.c do what is due; history.c remembers replies; answer.c and effects.c say what happened;
 * crowd.c finds a grant among many; change.c is the only way to a mutable session or lock; image.c, digest.c, snapshot.c
 * and restore.c turn the state into bytes and back; invariants.c checks all of it.
 *
 * Lookups hand out pointers to const. Whoever wants to change an object asks change.c for it: there the object is
 * marked for the digest, and written to a running snapshot as it was. Links between objects (lists, heap, trees) are
 * not part of an image and may change without that. */
#ifndef LOCKSTEP_RAFT_FSM_STATE_H
#define LOCKSTEP_RAFT_FSM_STATE_H

#include "protocol/assert.h"
#include "protocol/limits.h"
#include "raft_fsm/crowd.h"
#include "raft_fsm/fsm.h"
#include "raft_fsm/pool.h"
#include "raft_fsm/timer.h"
#include "raft_fsm/tree.h"

/* Those that decide what an entry does or what a reply says are replicated behaviour, as the bounds of limits.h are: a
 * change of one needs a new entry version. */
enum {
    FSM_STATE_VERSION = 1,
    FSM_EPOCH_MAX = UINT16_MAX,
    FSM_RETRY_AFTER_MS = 500,      /* goes with LIMIT_REACHED and WINDOW_FULL */
    FSM_HAND_ONS_PER_ENTRY = 4096, /* waiters that handing on ends, beyond one for each freed lock */
    FSM_DIRTY_MAX = 8192,          /* changed objects that may wait for fsm_digest() */
    FSM_REKEYS_PER_CALL = 4096,    /* renewed deadlines that one fsm_next_due() sorts in again */
};
#define FSM_TOKEN_COUNTER_BITS 48
#define FSM_TIME_MS_MAX        (UINT64_MAX >> 2) /* of an entry; no deadline overflows */
#define FSM_NEVER              UINT64_MAX        /* as a deadline: none */

struct session;
struct lock;
struct grant;
struct waiter;

/* ---- what a session or a lock is for digest and snapshot ---- */

enum object_kind { FSM_OBJECT_SESSION = 1, FSM_OBJECT_LOCK = 2 }; /* also the first element of its image */
enum { FSM_GENERATION_BITS = 30 }; /* one snapshot a second for 34 years */

struct object {
    uint64_t hash;       /* of its image, as counted in fsm->digest_sum; 0: not counted yet */
    uint32_t dirty_slot; /* its place in fsm->dirty, counted from 1; 0: the hash is that of its image */
    /* The snapshot that has it already, or that it is younger than. */
    uint32_t generation : FSM_GENERATION_BITS;
    uint32_t kind : 2; /* enum object_kind */
};
_Static_assert(sizeof(struct object) == 16, "each lock has one");

/* ---- answers ---- */

/* The sentence that goes with a refusal. The numbers are in snapshots: never reused. */
#define FSM_DETAILS(X)                                                                                     \
    X(NONE, 0, "")                                                                                         \
    X(SESSIONS, 1, "the cluster has as many sessions as it may have (1048576)")                            \
    X(LOCKS, 2, "the cluster has as many locks as it may have (16777216)")                                 \
    X(WAITERS, 3, "as many requests wait for this lock as may wait (65536)")                               \
    X(HOLDERS, 4, "the lock has as many holders as it may have (65536)")                                   \
    X(WINDOW, 5, "the session has as many unacknowledged requests as it may have (1024): raise the floor") \
    X(EPOCH, 6, "the epoch can not be raised any more (65535)")                                            \
    X(VALUES, 7, "the values that wait for this lock are as large as they may be together (4194304 bytes)")

enum fsm_detail {
#define X(name, number, text) FSM_DETAIL_##name = number,
    FSM_DETAILS(X)
#undef X
};

/* A reply in the shape in which a session remembers it. */
struct answer {
    uint8_t kind;   /* enum proto_kind */
    uint8_t status; /* enum proto_status; QUEUED: it waits, see `waiter` */
    uint8_t detail; /* enum fsm_detail */
    bool resumed;   /* session.open */
    uint32_t holds; /* acquire, extend: of the grant; release: what is left */
    union {
        struct {
            uint64_t token;
            uint64_t fence;
            uint64_t deadline_ms;
        } grant; /* acquire, extend */
        struct {
            uint64_t session_id;
            uint64_t ttl_ms;
            uint64_t deadline_ms;
        } session;                         /* open, renew */
        const struct proto_holder *holder; /* HELD; a remembered one owns it (history.c) */
        struct waiter *waiter;             /* QUEUED */
        uint64_t count;                    /* force_release, kill */
        uint64_t retry_after_ms;           /* LIMIT_REACHED, WINDOW_FULL */
    };
};

/* ---- objects ---- */

/* One request that a session remembers. */
struct record {
    uint64_t request_id;
    uint64_t time_ms; /* of the entry that answered it */
    struct answer answer;
};

/* In order of request id. */
struct window {
    struct record *list;
    uint32_t count;
    uint32_t capacity;
};

struct session {
    /* Each tree's key beside its node, for the sake of lookups. */
    uint8_t digest[PROTO_DIGEST_BYTES];
    struct tree_node by_digest; /* if `indexed` */
    uint64_t id;
    struct tree_node by_id;
    struct object object;
    struct timer timer; /* while not ended */
    uint64_t ttl_ms;
    uint64_t deadline_ms;
    uint64_t lock_delay_ms;
    uint64_t ack_floor;
    uint64_t last_request_id;
    uint8_t *owner; /* NULL if empty */
    uint32_t owner_bytes;
    struct window window;
    struct grant *grants_first; /* in order of token */
    struct grant *grants_last;
    uint64_t grants_count;
    uint32_t waits_count;
    bool indexed;
    bool ended;
    uint8_t ended_reason;  /* enum proto_end_reason */
    uint64_t ended_ms;     /* cluster time of the entry in which it ended */
    uint64_t ended_number; /* its place among those whose grants wait to be freed */
    struct session *ending_next;
};

/* What only a lock has that is waited for, delayed, or has a value: most have none of it. */
struct lock_rest {
    struct lock *lock;
    struct waiter *queue; /* the front; a ring. NULL: nobody waits */
    uint32_t waiters_count;
    uint32_t permit_waiters; /* those among them that ask for permits: they bind `limit` */
    uint64_t delay_until_ms; /* 0: no lock-delay */
    uint64_t delay_session_id;
    uint8_t delay_digest[PROTO_DIGEST_BYTES];
    struct timer delay_timer;
    uint8_t *value; /* NULL: none */
    uint32_t value_bytes;
    uint32_t waiting_bytes;  /* of the waiters' values */
    uint64_t pending_number; /* its place among the locks whose handing on is not finished; 0: finished */
    struct lock *pending_next;
    struct lock *pending_previous;
};

struct lock {
    struct object object;
    struct grant *grants; /* the first in order of token; a ring. NULL: free */
    uint64_t fence;       /* of the current period; 0 if free */
    struct lock_rest *rest;
    uint32_t holders_count;
    uint16_t permits_used;
    uint16_t limit;        /* PERMITS held or waited for; else 0 */
    struct tree_node node; /* last, beside the key, for the sake of lookups */
    uint8_t mode;          /* of the holders; EXCLUSIVE if free */
    uint16_t key_bytes;
    uint8_t key[];
};

struct grant {
    struct lock *lock;
    struct session *session;
    struct grant *lock_next; /* ring */
    struct grant *lock_previous;
    struct grant *session_next; /* list */
    struct grant *session_previous;
    uint64_t token;
    uint64_t own_deadline_ms; /* FSM_NEVER: only the session's */
    uint32_t holds;
    uint16_t permits;   /* PERMITS only */
    bool seated;        /* crowd.c */
    struct timer timer; /* if it has an own deadline */
};

struct waiter {
    struct lock *lock;
    struct session *session;
    struct waiter *next; /* ring */
    struct waiter *previous;
    uint64_t request_id;
    uint64_t deadline_ms; /* FSM_NEVER: for ever */
    uint64_t ttl_ms;      /* of the grant to come; 0: none */
    uint8_t *value;       /* to set when granted */
    uint32_t value_bytes;
    bool has_value;
    uint8_t mode;
    uint16_t permits;
    uint16_t limit;
    struct timer timer; /* if it has a deadline */
};

/* ---- the state ---- */

/* Locks come in pools by the length of their keys, eight bytes apart. */
enum { FSM_LOCK_POOLS = (PROTO_KEY_BYTES_MAX + 7) / 8 + 1 };

struct arena_chunk;

struct fsm {
    /* Replicated, besides the objects. */
    uint64_t time_ms;
    uint64_t epoch;
    uint64_t counter; /* of the next token */
    uint64_t next_session_id;
    uint64_t next_work_number; /* for ended_number and pending_number */

    struct tree locks;    /* struct lock by key */
    struct tree sessions; /* struct session by id, ended ones included */
    struct tree digests;  /* struct session by digest of the secret, not ended */
    struct crowd crowd;   /* grants of locks with many holders */
    struct timers timers;
    struct session *ending_first; /* in order of ended_number */
    struct session *ending_last;
    uint64_t ending_count;
    struct lock *pending_first; /* in order of pending_number */
    struct lock *pending_last;
    uint64_t grants_count;
    uint64_t waiters_count;

    struct pool locks_pool[FSM_LOCK_POOLS];
    struct pool rests_pool;
    struct pool grants_pool;
    struct pool waiters_pool;
    struct pool sessions_pool;
    uint64_t bytes;    /* allocated by fsm_allocate() */
    uint64_t searched; /* grants looked at to find one, ever: tests bound what a search costs */

    /* Of the entry that is being applied. */
    struct fsm_effects *effects; /* NULL: nobody asks */
    struct arena_chunk *arena;   /* strings of the effects */
    struct fsm_command *commands;
    uint32_t commands_capacity;
    uint32_t releases_left;
    uint32_t hand_ons_left;
    struct lock *hand_on_next; /* when the command that runs has its answer, so that effects stand in the order of the grants */
    struct proto_holder holder; /* of the HELD that is being answered */

    /* digest.c */
    struct object **dirty;
    uint32_t dirty_count;
    uint32_t dirty_capacity;
    uint32_t dirty_hand;
    uint64_t digest_sum;
    struct proto_buffer image;
    bool restoring; /* no object is hashed yet: the check at the end does it (restore.c) */

    /* snapshot.c */
    uint32_t generation : FSM_GENERATION_BITS;
    struct fsm_snapshot *snapshot; /* the running one, or NULL */
};

/* A command on its way through apply.c. */
struct call {
    const struct fsm_command *command;
    uint32_t index;
    struct session *session; /* of a SESSION command; alive, its secret proven, already asked for change */
};

/* ---- memory (fsm.c): counted, and running out is fatal ---- */

void *fsm_allocate(struct fsm *fsm, size_t size);
void *fsm_reallocate(struct fsm *fsm, void *memory, size_t size_before, size_t size);
void fsm_release(struct fsm *fsm, void *memory, size_t size);
/* A copy; NULL if `size` is 0. */
uint8_t *fsm_copy(struct fsm *fsm, const void *data, size_t size);

/* ---- change.c: birth, change and end of objects ---- */

struct session *fsm_session_change(struct fsm *fsm, const struct session *session);
struct lock *fsm_lock_change(struct fsm *fsm, const struct lock *lock);
void fsm_object_born(struct fsm *fsm, struct object *object, enum object_kind kind);
void fsm_object_gone(struct fsm *fsm, struct object *object);
struct session *fsm_object_session(const struct object *object);
struct lock *fsm_object_lock(const struct object *object);

/* ---- objects.c: finding, making and freeing them, and their links ---- */

struct lock_key {
    const uint8_t *data;
    uint32_t size;
};
int fsm_compare_bytes(const void *left, size_t left_size, const void *right, size_t right_size);
int fsm_lock_compare(const void *key, const struct tree_node *node);       /* struct lock_key */
int fsm_session_compare_id(const void *key, const struct tree_node *node); /* uint64_t */
int fsm_session_compare_digest(const void *key, const struct tree_node *node);
struct session *fsm_session_of_id_node(const struct tree_node *node);
struct session *fsm_session_of_digest_node(const struct tree_node *node);
struct lock *fsm_lock_of_node(const struct tree_node *node);

const struct session *fsm_session_find(const struct fsm *fsm, uint64_t id);
const struct session *fsm_session_find_digest(const struct fsm *fsm, const uint8_t *digest);
const struct lock *fsm_lock_find(const struct fsm *fsm, struct proto_bytes key);
bool fsm_lock_has_waiters(const struct lock *lock);
/* Alive in the entry that is being applied: not ended, and its deadline lies ahead. */
bool fsm_session_alive(const struct fsm *fsm, const struct session *session);
bool fsm_grant_alive(const struct fsm *fsm, const struct grant *grant);
/* The earlier of the session's and the grant's own. */
uint64_t fsm_grant_deadline(const struct grant *grant);

/* With `id`, in the tree of ids; everything else zero. */
struct session *fsm_session_create(struct fsm *fsm, uint64_t id);
void fsm_session_set_owner(struct fsm *fsm, struct session *session, struct proto_bytes owner);
void fsm_session_index(struct fsm *fsm, struct session *session);
void fsm_session_unindex(struct fsm *fsm, struct session *session);
/* It has no grants and no waits any more. */
void fsm_session_free(struct fsm *fsm, struct session *session);
struct lock *fsm_lock_create(struct fsm *fsm, struct proto_bytes key);
/* Empty removes it. */
void fsm_lock_put_value(struct fsm *fsm, struct lock *lock, const void *value, uint32_t size);
struct lock_rest *fsm_lock_rest(struct fsm *fsm, struct lock *lock);
/* Nothing keeps it: no holder, waiter, delay or value. */
bool fsm_lock_unused(const struct lock *lock);
void fsm_lock_free(struct fsm *fsm, struct lock *lock);
/* Only its memory: the whole state goes. */
void fsm_lock_discard(struct fsm *fsm, struct lock *lock);
/* Give the rest back if nothing in it is in use. */
void fsm_lock_trim(struct fsm *fsm, struct lock *lock);
void fsm_grant_link(struct fsm *fsm, struct lock *lock, struct grant *grant);
void fsm_grant_link_session(struct fsm *fsm, struct grant *grant, struct session *session);
void fsm_grant_free(struct fsm *fsm, struct grant *grant);
void fsm_waiter_link(struct fsm *fsm, struct lock *lock, struct waiter *waiter);
void fsm_waiter_free(struct fsm *fsm, struct waiter *waiter);
void fsm_pending_append(struct fsm *fsm, struct lock *lock);
void fsm_pending_remove(struct fsm *fsm, struct lock *lock);
uint64_t fsm_deadline_after(const struct fsm *fsm, uint64_t ms);

/* ---- the commands; each fills `ret` ---- */

void fsm_session_open(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_session_renew(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_session_close(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_lock_acquire(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_lock_extend(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_lock_release(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_lock_cancel(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_lock_set_value(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_force_release(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_session_kill(struct fsm *fsm, const struct call *call, struct answer *ret);
void fsm_epoch_raise(struct fsm *fsm, const struct call *call, struct answer *ret);

/* ---- lock.c ---- */

struct grant_wish {
    uint8_t mode;
    uint16_t permits;
    uint16_t limit;
    uint64_t ttl_ms;
};
/* The lock's mode and holders admit it now. */
bool fsm_lock_admits(const struct lock *lock, const struct grant_wish *wish);
/* Admitted already; the session is alive. */
struct grant *fsm_grant_create(struct fsm *fsm, struct lock *lock, struct session *session,
                               const struct grant_wish *wish);
/* Take the grant out of the lock and free it. The caller hands the lock on. */
void fsm_grant_end(struct fsm *fsm, struct grant *grant);
void fsm_answer_grant(const struct grant *grant, struct answer *ret);

/* ---- hand_on.c ---- */

/* Grant to those at the front of the queue as the mode admits. May free the lock: it is not to be used after. */
void fsm_lock_hand_on(struct fsm *fsm, struct lock *lock);
/* Go on with the locks whose handing on ran out of its share of an earlier entry. */
void fsm_pending_run(struct fsm *fsm);
/* Or grant the free lock to the client whose session it was, if it waits for it. The caller hands the lock on. */
void fsm_lock_delay_begin(struct fsm *fsm, struct lock *lock, const struct session *session);
void fsm_lock_delay_end(struct fsm *fsm, struct lock *lock);
/* A lock-delay runs that the end of an earlier session of the same client began. */
bool fsm_lock_delay_is_of(const struct lock *lock, const struct session *session);

/* ---- waiter.c ---- */

/* Queue the call's acquire. */
struct waiter *fsm_waiter_create(struct fsm *fsm, struct lock *lock, const struct call *call);
/* Leave the queue with `answer`, tell it, and free the waiter. The caller hands the lock on. */
void fsm_waiter_end(struct fsm *fsm, struct waiter *waiter, const struct answer *answer);
/* The same with only a status. */
void fsm_waiter_end_status(struct fsm *fsm, struct waiter *waiter, enum proto_status status);
struct grant_wish fsm_waiter_wish(const struct waiter *waiter);

/* ---- ending.c ---- */

void fsm_session_end(struct fsm *fsm, struct session *session, enum proto_end_reason reason,
                     struct proto_bytes detail);
/* Free ended sessions with their waits and grants, as many as this entry still may. */
void fsm_ending_run(struct fsm *fsm);
/* Free a grant whose session has ended, with the lock-delay if that is due; hands the lock on. */
void fsm_grant_end_with_session(struct fsm *fsm, struct grant *grant);

/* ---- expiry.c ---- */

void fsm_expiry_run(struct fsm *fsm);

/* ---- history.c ---- */

struct record *fsm_history_find(const struct session *session, uint64_t request_id);
bool fsm_history_full(const struct session *session);
void fsm_history_acknowledge(struct fsm *fsm, struct session *session, uint64_t floor);
/* Remember what `request_id` was answered; QUEUED: that it waits. The id is not known yet. */
void fsm_history_remember(struct fsm *fsm, struct session *session, uint64_t request_id,
                          const struct answer *answer, uint64_t time_ms);
/* A waiting request is answered. */
void fsm_history_finish(struct fsm *fsm, struct session *session, uint64_t request_id,
                        const struct answer *answer);
/* Forget one record, or every finished one. */
void fsm_history_forget(struct fsm *fsm, struct session *session, uint64_t request_id);
void fsm_history_forget_finished(struct fsm *fsm, struct session *session);
void fsm_history_free(struct fsm *fsm, struct session *session);

/* ---- answer.c ---- */

void fsm_answer_status(struct answer *ret, enum proto_status status);
void fsm_answer_limit(struct answer *ret, enum proto_status status, enum fsm_detail detail);
const char *fsm_detail_text(uint8_t detail);
bool fsm_detail_known(uint64_t detail);
/* The reply that `answer` stands for; strings as they are in the answer. */
void fsm_answer_reply(const struct answer *answer, uint64_t id, uint64_t time_ms,
                      struct proto_reply *ret_reply);

/* ---- effects.c; none does anything if nobody asks for effects ---- */

void fsm_effect_reply(struct fsm *fsm, const struct call *call, const struct answer *answer,
                      uint64_t time_ms);
void fsm_effect_queued(struct fsm *fsm, const struct call *call);
void fsm_effect_wait_ended(struct fsm *fsm, const struct waiter *waiter, const struct answer *answer);
void fsm_effect_grant_lost(struct fsm *fsm, const struct grant *grant, enum proto_end_reason reason,
                           struct proto_bytes detail);
void fsm_effect_session_ended(struct fsm *fsm, const struct session *session, enum proto_end_reason reason,
                              struct proto_bytes detail);
void fsm_arena_reset(struct fsm *fsm);
void fsm_arena_done(struct fsm *fsm);

/* ---- image.c, digest.c ---- */

void fsm_image_globals(const struct fsm *fsm, struct proto_buffer *out);
void fsm_image_object(const struct object *object, struct proto_buffer *out);
uint64_t fsm_image_hash(const void *image, size_t size);
void fsm_dirty_add(struct fsm *fsm, struct object *object);
void fsm_dirty_remove(struct fsm *fsm, struct object *object);
/* Keep the number of changed objects bounded; once per entry. */
void fsm_dirty_trim(struct fsm *fsm);

/* ---- snapshot.c, restore.c ---- */

/* The object is about to change or go: write it as it was, if the running snapshot does not have it. */
void fsm_snapshot_preserve(struct fsm *fsm, struct object *object);

/* ---- restore_object.c ---- */

struct restore_links; /* what is linked once every object is there */
/* Build the object of an image. @return NULL, or what is wrong with it. */
const char *fsm_restore_globals(struct fsm *fsm, const void *image, size_t size);
const char *fsm_restore_session(struct fsm *fsm, struct restore_links *links, const void *image, size_t size);
const char *fsm_restore_lock(struct fsm *fsm, struct restore_links *links, const void *image, size_t size);

/* ---- restore_link.c ---- */

struct restore_links *fsm_restore_links_create(void);
void fsm_restore_links_free(struct restore_links *links);
/* Link grants and waiters to their sessions and build the lists that images do not have, as far as `work` goes: about one
 * for each thing that is linked is taken from it. @return true while there is more to do; *ret_broken: what is wrong. */
bool fsm_restore_link(struct fsm *fsm, struct restore_links *links, uint64_t *work, const char **ret_broken);

/* ---- invariants.c ---- */

struct fsm_check; /* one on its way through the whole state, which does not change meanwhile */
struct fsm_check *fsm_check_begin(struct fsm *fsm);
/* Go on as far as `work` does: about one for each object, grant, waiter and deadline is taken from it.
 * @return true while there is more to check; *ret_broken: the first rule that is broken, or NULL. */
bool fsm_check_step(struct fsm_check *check, uint64_t *work, const char **ret_broken);
void fsm_check_end(struct fsm_check *check);

#endif
