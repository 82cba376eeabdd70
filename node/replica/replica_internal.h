/* What the files of the replica share: the struct, and a function or two of each file. Included by replica*.c only.
 *
 *   replica.c                  the step: one event in, its update carried out; the public face
 *   replica_start.c            open, first configuration, restore, RAFT_START
 *   replica_formation.c        introductions: who is a member, who lost its memory
 *   replica_apply.c            committed entries to the machine; role, serving and applied to the callbacks
 *   replica_send.c             raft's messages to frames; entries for a follower that lags
 *   replica_pace.c             which followers get their appends at once, and which in batches
 *   replica_receive.c          frames to raft's messages
 *   replica_read.c             proofs of leadership for reads
 *   replica_members.c          the configuration: who they are, where they live
 *   replica_snapshot_take.c    our own snapshots
 *   replica_snapshot_send.c    streams to followers
 *   replica_snapshot_install.c a stream from the leader, and putting it in place
 *   replica_timeout.c          raft's timer, and elections in haste when the leader's process is gone
 *   replica_watch.c            progress that must come and does not
 *
 * Invariants
 *  R1  raft_step() is never called from within the carrying out of an update (`stepping`), and nothing is called back
 *      from there: callbacks run from replica_pump(), between steps.
 *  R2  An update is carried out in the order: term and vote durable; entries to the log; snapshot; messages; commit
 *      index; state. No frame leaves that speaks of a term or vote not yet durable.
 *  R3  commit_index never falls, though raft's own may; applied_index <= commit_index.
 *  R4  Nothing is applied, and no durable index is reported, between UPDATE_SNAPSHOT and PERSISTED_SNAPSHOT.
 *  R5  A node that is not formed neither steps raft nor takes or sends a raft frame. */
#ifndef LOCKSTEP_NODE_REPLICA_INTERNAL_H
#define LOCKSTEP_NODE_REPLICA_INTERNAL_H

#include <raft.h>
#include <stdarg.h>

#include "node/rate_window.h"
#include "node/replica/log.h"
#include "node/replica/metadata.h"
#include "node/replica/replica.h"
#include "node/replica/snapshots.h"
#include "node/replica/wire.h"
#include "protocol/assert.h"

enum {
    REPLICA_APPLY_ENTRIES = 1024,          /* one call applies at most that many */
    REPLICA_APPLY_BYTES = 1024 * 1024,
    REPLICA_APPEND_BYTES = 512 * 1024,     /* entries of one append frame, if more than one */
    REPLICA_FEED_MAX = 32,                 /* appends that wait for a read of the log, or for the next turn, per peer */
    REPLICA_PACE_ENTRIES_MAX = 32,         /* that many do not wait for the next turn, per peer; */
    REPLICA_PACE_QUEUE_SHARE = 4, /* nor does more than a fourth of what the link queues: room for the append that it leaves with,
                                     which is a frame or so, and for what the socket has not taken yet */
    REPLICA_FEED_READ_BYTES = 1024 * 1024,
    REPLICA_ROUNDS_MAX = 4,                /* proofs of leadership under way */
    REPLICA_WATCH_MS = 1000,
    REPLICA_STUCK_MS = 30000,              /* log write or follower without progress */
    REPLICA_LOG_HELD_BYTES_MAX = 64 * 1024 * 1024, /* default of the setting of that name */
    REPLICA_REMIND_MS = 5000,              /* between two log lines of one waiting or refused peer */
    REPLICA_TELL_MAX = 3,                  /* lines of one kind that a peer can cause in that time */
    REPLICA_SNAPSHOT_RETRY_MS = 60000,     /* after our own snapshot failed */
    REPLICA_LOG_GROWS = 4, /* to so many times snapshot_after_bytes, for a follower that is sent a snapshot or was just given one */
    REPLICA_SNAPSHOT_SLICE_BYTES = 64 * 1024,
    REPLICA_SNAPSHOT_BACKLOG_BYTES = 4 * 1024 * 1024,
    REPLICA_SNAPSHOT_OUT_BYTES_MAX = 64 * 1024 * 1024, /* one slice, at the very most */
    REPLICA_STREAM_WINDOW_BYTES = 2 * 1024 * 1024,     /* sent and not acknowledged */
    REPLICA_STREAM_IDLE_MS = 20000,
    REPLICA_STREAM_RETRY_MS = 1000,
    REPLICA_INSTALL_ASK_MS = 3000, /* raft asks again for a snapshot that it believes to be under way */
    REPLICA_ENTRY_BYTES_MAX = LINK_FRAME_BYTES_MAX - 1024,
};

enum replica_phase {
    PHASE_FORMING, /* waiting for the other members, or for the first entry to be durable */
    PHASE_RUNNING, /* raft was started */
};

/* An AppendEntries of the leader on its way to one peer. */
struct replica_feed_item {
    uint64_t term, next_index, prev_term, leader_commit;
    unsigned left;
    uint8_t version;
};

struct replica_stream; /* replica_snapshot_send.c */

struct replica_peer {
    struct replica *replica;
    uint64_t node_id; /* 0: the place is free */
    char address[WIRE_ADDRESS_BYTES_MAX + 1]; /* "peer client", as in the configuration */
    bool voter;
    bool connected;    /* our stream to it is up and opened with our introduction */
    bool reached;      /* it was connected once; for the log */
    /* Formation. */
    bool met;
    bool formed;
    bool accepted;     /* formed on both sides, under the incarnations both know: its frames count */
    uint64_t incarnation;
    uint64_t knows_us;
    uint64_t list_digest;
    uint64_t remind_ms; /* when its next refusal may be logged */
    struct rate_window refusals, arrivals; /* lines of the log that it can cause as often as it connects */
    /* Appends in order; the head waits for log_read() while `reading`, else for the next turn (replica_pace.c). */
    struct replica_feed_item feed[REPLICA_FEED_MAX];
    unsigned feed_count;
    bool feed_reading;
    uint64_t feed_generation; /* raised to disown a read under way */
    bool needed; /* appends go to it at once: it was among the first in the last race, */
    bool raced;  /* and in this one it has arrived */
    struct replica_stream *stream;
    uint64_t stream_retry_ms; /* after a refusal, or a full queue */
    uint64_t snapshot_given; /* the last that it had from us: it goes on behind it, or is further; 0: none */
    /* Watchdog of the leader. */
    uint64_t match_seen;
    uint64_t match_stuck_ms;
    uint64_t heard_ms;
};

struct replica_read {
    uint64_t id;
    uint64_t sequence;
    uint64_t commit_index;
};

struct replica_round {
    bool busy;
    uint64_t nonce;
    uint64_t upto; /* reads up to this sequence are proven by it */
    uint64_t sent_ms;
    uint32_t answered; /* bit per peer place */
};

/* replica_pace.c */
struct replica_pace {
    uint64_t turn_ms;    /* when everything was last sent to everybody */
    uint64_t all_ms;     /* what comes in this moment goes to everybody, too */
    uint64_t race_index; /* which followers acknowledge this entry first? 0: no race */
    unsigned arrived;
    uint64_t won_index; /* of the last race that was over */
    bool own_is_late;   /* our own disk had not written that by the last turn: the majority does without it */
};

struct replica_reads {
    struct replica_read *queue; /* ring */
    size_t capacity, head, count;
    uint64_t sequence_last; /* of the newest read */
    uint64_t asked_upto;    /* reads covered by a round */
    uint64_t proven_upto;
    uint64_t term;          /* of the leadership that took them */
    uint64_t nonce_last;
    struct replica_round rounds[REPLICA_ROUNDS_MAX];
};

/* The last applied configuration, as bytes: what a snapshot carries. */
struct replica_change {
    uint64_t index;
    uint32_t size;
    uint8_t *data;
};

enum take_phase { TAKE_NONE, TAKE_WRITING, TAKE_FINISHING, TAKE_WHOLE };

struct replica_take {
    enum take_phase phase;
    struct snapshot_writer *writer;
    struct snapshot_info *info;
    struct proto_buffer buffer;
    int failed; /* error of the writer, < 0, to be cleaned up at the next tick */
    uint64_t bytes; /* applied before it was begun, since the one before: due again if it is given up */
    uint64_t retry_ms;
    uint64_t slice_ms; /* when the last slice was written */
};

enum incoming_phase { INCOMING_NONE, INCOMING_TAKING, INCOMING_FINISHING, INCOMING_RESTORING };

struct replica_incoming {
    enum incoming_phase phase;
    uint64_t peer_id;
    uint64_t stream;
    uint64_t term;
    uint64_t moved_ms;
    uint64_t received, acked;
    int failed;
    struct snapshot_info *info;
    struct snapshot_writer *writer;
    /* RESTORING */
    struct raft_snapshot_metadata metadata;
    struct snapshot_reader *reader;
    bool log_is_reset;
    bool working; /* the machine has something to do with what it was fed */
    bool at_end;  /* it was fed all of it */
    bool restored;
};

/* The leader's process is gone: see replica_timeout.c. */
struct replica_haste {
    uint64_t leader_id; /* who led; 0: no haste */
    bool stood;         /* stood for election on that account: whoever leads from here on was heard afterwards */
    bool again;         /* for the second time: see replica_haste_asked() */
    uint64_t stand_ms;
    uint64_t until_ms;
};

struct replica {
    struct replica_config config; /* bootstrap list not kept */
    struct disk *disk;
    struct link *link;
    struct replica_machine machine;
    struct replica_callbacks callbacks;
    struct log *log;
    struct snapshots *snapshots;
    struct metadata metadata;
    struct raft raft;
    bool raft_made;
    enum replica_phase phase;
    bool stepping, pumping;
    bool quiet; /* replica_quiet() */
    uint64_t now_ms;

    char address[WIRE_ADDRESS_BYTES_MAX + 1]; /* our own, as in the configuration */
    bool voter;                               /* we, in the newest configuration */
    bool listed;                              /* we are in it at all */
    unsigned voters_count;
    struct replica_peer peers[REPLICA_MEMBERS_MAX]; /* the others */
    uint64_t list_digest;
    uint64_t remind_ms;

    /* The entries that the present step may append: index of the first, and their bytes. */
    struct log_entry **step_entries;
    struct raft_entry *step_raft_entries;
    unsigned step_capacity;
    uint64_t step_first;
    unsigned step_count;
    bool step_rejected;       /* it sent an AppendEntries result with a rejection */
    uint64_t step_stale_prev; /* it answers an append of an older term: see replica_send.c; UINT64_MAX: no */

    uint64_t commit_index, applied_index, applied_term;
    uint64_t durable_pending; /* reported by the log, not yet by us; 0: none */
    uint64_t applied_told;
    uint64_t bytes_applied;   /* since the last snapshot */
    struct replica_change change;

    enum replica_role role;
    uint64_t term, leader_id;
    bool serving;
    uint64_t barrier_index;   /* leader: serving once applied */
    uint64_t barrier_term;

    uint64_t timeout_fired_ms;
    struct replica_haste haste;
    uint32_t haste_random;
    uint64_t watch_ms;         /* next look at what must progress */
    uint64_t watch_durable;    /* durable index of the last look */
    uint64_t watch_durable_ms; /* for how long it has stood still with a write due */
    struct replica_pace pace;
    uint64_t handing_id; /* who is to be told to stand, see replica_hand_over(); 0: nobody */
    bool handing_told;   /* and the stream by which it was told is up */
    struct raft_timeout_now handing;
    struct replica_reads reads;
    struct replica_take take;
    struct replica_incoming incoming;
    bool retiring; /* the machine has still to get rid of the state that an installation replaced */
    uint64_t stream_last;
};

/* ---- replica.c ---- */
void replica_log(const struct replica *replica, enum logger_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void replica_fatal(const struct replica *replica, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same where starting again as it is can not help: the directory is not the one that this node may use. */
_Noreturn void replica_fatal_for_good(const struct replica *replica, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Take the time of a call; it never goes back. */
void replica_time(struct replica *replica, struct local_time now);
/* One event: step raft, carry out the update. Not from within another step.
 * @return raft_step()'s result; an update exists for 0 only. */
int replica_step(struct replica *replica, struct raft_event *event, struct raft_update *ret_update);
/* As above, for events that can only fail when raft is broken: then the process ends. `what` names the event. */
void replica_step_sure(struct replica *replica, struct raft_event *event, const char *what);
/* What may be done between steps: report durable entries, apply, call back. Does nothing when it is already running. */
void replica_pump(struct replica *replica);
/* Room for `count` entries in the step_* arrays. */
void replica_step_reserve(struct replica *replica, unsigned count);
bool replica_leads(const struct replica *replica);
/* The majority commits without this node's disk, and too much waits for that. */
bool replica_disk_is_behind(const struct replica *replica);
void replica_log_durable(void *ctx, uint64_t index);
void replica_log_failed(void *ctx, const char *message);

/* ---- replica_start.c ---- */
/* Entry 1, or a snapshot in its place. */
bool replica_has_durable_entry(const struct replica *replica);
/* Start raft once the node is formed and the first entry is durable. */
void replica_start_if_ready(struct replica *replica);

/* ---- replica_formation.c ---- */
void replica_introduce(struct replica *replica, struct replica_peer *peer);
/* @return false: it is not that peer, and its stream is to be closed. */
bool replica_introduced(struct replica *replica, struct replica_peer *peer,
                        const struct wire_introduction *introduction);
void replica_form_if_complete(struct replica *replica);
void replica_formation_remind(struct replica *replica);

/* ---- replica_apply.c ---- */
void replica_apply_some(struct replica *replica);
/* @return whether anything was called back. */
bool replica_notify(struct replica *replica);
void replica_change_set(struct replica *replica, uint64_t index, const void *data, size_t size);

/* ---- replica_send.c ---- */
void replica_send_message(struct replica *replica, const struct raft_message *message);
bool replica_send_frame(struct replica *replica, const struct replica_peer *peer, const struct wire_frame *frame,
                        const void *data, size_t size);
void replica_feed_drop(struct replica_peer *peer);
/* Send what the feed holds, as far as it is in memory; the rest when it was read. */
void replica_feed_go_on(struct replica *replica, struct replica_peer *peer);
/* After an answer to an append. */
void replica_hand_over(struct replica *replica);

/* ---- replica_pace.c ---- */
/* Before an append is put into a feed. */
void replica_pace_append(struct replica *replica);
/* Whether what the peer's feed holds, which was just added to, waits for the next turn. */
bool replica_pace_holds(const struct replica *replica, const struct replica_peer *peer);
/* After the messages of a step. Raft may have had nothing for a follower that lacks what is new: what waits for it may leave no
 * later for that. */
void replica_pace_sent(struct replica *replica);
void replica_pace_tick(struct replica *replica);
uint64_t replica_pace_deadline(const struct replica *replica);
/* A new leadership, which knows nothing of its followers. */
void replica_pace_reset(struct replica *replica);
/* After an answer to an append. */
void replica_race_note(struct replica *replica, struct replica_peer *peer);

/* ---- replica_receive.c ---- */
bool replica_receive_frame(struct replica *replica, struct replica_peer *peer, struct wire_frame *frame);
/* Deliver RAFT_RECEIVE; `message` filled but for the sender. */
int replica_deliver(struct replica *replica, const struct replica_peer *peer, struct raft_message *message,
                    struct raft_update *ret_update);
bool replica_refuse(struct replica *replica, struct replica_peer *peer, const char *why);

/* ---- replica_read.c ---- */
void replica_reads_ask(struct replica *replica);
bool replica_reads_complete(struct replica *replica);
void replica_reads_retry(struct replica *replica);
uint64_t replica_reads_deadline(const struct replica *replica);
void replica_read_asked(struct replica *replica, struct replica_peer *peer, const struct wire_read *read);
void replica_read_answered(struct replica *replica, struct replica_peer *peer, const struct wire_read *read);

/* ---- replica_members.c ---- */
struct replica_peer *replica_peer_find(struct replica *replica, uint64_t node_id);
/* Take over a configuration: places of peers, link addresses, own role. */
void replica_members_set(struct replica *replica, const struct raft_configuration *configuration);
/* Warn if the list that somebody wrote is not that of the directory: it has no effect. */
void replica_members_compare(const struct replica *replica, const struct replica_config *config,
                             const struct raft_configuration *configuration);
void replica_members_decode(const void *data, size_t size, struct raft_configuration *ret_configuration);
bool replica_member_parse(const struct raft_server *server, struct replica_member *ret_member);

/* ---- replica_snapshot_take.c ---- */
void replica_take_tick(struct replica *replica);
uint64_t replica_take_deadline(const struct replica *replica);
void replica_take_abandon(struct replica *replica); /* not while FINISHING */

/* ---- replica_snapshot_send.c ---- */
void replica_stream_begin(struct replica *replica, struct replica_peer *peer, uint64_t index_wanted);
void replica_stream_end(struct replica_peer *peer, const char *why); /* why NULL: silently; no stream: nothing */
void replica_stream_acked(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_ack *ack);
void replica_streams_tick(struct replica *replica);
bool replica_streams_alive(const struct replica *replica);

/* ---- replica_snapshot_install.c ---- */
void replica_incoming_begin(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_begin *begin);
bool replica_incoming_chunk(struct replica *replica, struct replica_peer *peer, const struct wire_snapshot_chunk *chunk);
void replica_incoming_end(struct replica *replica, struct replica_peer *peer, uint64_t stream);
void replica_incoming_tick(struct replica *replica);
uint64_t replica_incoming_deadline(const struct replica *replica);
void replica_incoming_free(struct replica *replica);
/* UPDATE_SNAPSHOT. */
void replica_install(struct replica *replica, const struct raft_update *update);
bool replica_installing(const struct replica *replica);

/* ---- replica_timeout.c ---- */
uint64_t replica_timeout_at(const struct replica *replica);
void replica_timeout_tick(struct replica *replica);
/* A frame has come from this peer: its process is there. */
void replica_haste_heard(struct replica *replica, uint64_t peer_id);
/* After a request for our vote. */
void replica_haste_asked(struct replica *replica, const struct raft_request_vote *vote);

/* ---- replica_watch.c ---- */
void replica_watch(struct replica *replica);

#endif
