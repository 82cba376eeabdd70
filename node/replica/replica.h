/* Station 6: one member of the raft group. Drives libraft's raft_step(): one event in, its update carried out in the
 * one right order (replica.c). The only part, with the rest of this folder, that knows libraft; nothing of <raft.h>
 * shows here.
 *
 * Takes its input and the time as arguments; the disk and the links are seams. One thread (the loop). Callbacks are made
 * from within calls of this header, and from the completion of the disk's jobs (a log write that became durable commits
 * and applies at once), never from replica_propose() and replica_read(); from a callback only replica_status(), replica_propose() and replica_read() may be
 * called (they queue).
 *
 * Formation. A node whose directory is fresh can not know whether it is a member of a new cluster or one that lost its
 * memory of votes and acknowledgements; voting in the second case would break Raft. So each directory has a random
 * incarnation, and the first frame on every link is an introduction: {incarnation, formed, the incarnation under which
 * the sender knows the receiver (0: not met)}. A fresh node takes no part in raft until it has met every other member of
 * the bootstrap list, each either itself not formed, or formed and knowing it by its present incarnation; then it stores
 * `formed` and their incarnations durably and starts raft. If a formed member knows it by another incarnation or not at
 * all, it ends with a message: the directory was lost; what to do. A formed member refuses whoever comes under a
 * peer's id with an incarnation that is not the one it knows, and goes on with the right one. So the first start of a cluster needs all its nodes once; afterwards a majority
 * is enough. A single node forms at once. */
#ifndef LOCKSTEP_NODE_REPLICA_REPLICA_H
#define LOCKSTEP_NODE_REPLICA_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/logger_level.h"
#include "node/replica/disk.h"
#include "node/replica/link.h"
#include "node/time.h"
#include "protocol/buffer.h"

enum { REPLICA_MEMBERS_MAX = 15, REPLICA_ADDRESS_BYTES_MAX = 255 };

struct replica_member {
    uint64_t node_id;
    char peer_address[REPLICA_ADDRESS_BYTES_MAX + 1];
    char client_address[REPLICA_ADDRESS_BYTES_MAX + 1];
    bool voter;
};

struct replica_config {
    uint64_t cluster_id;
    uint64_t node_id;
    unsigned election_timeout_ms;   /* 50..60000; drawn at random from T..2T */
    unsigned heartbeat_ms;          /* <= election_timeout_ms / 3 */
    uint64_t snapshot_after_bytes;  /* log bytes since the last snapshot that start the next one */
    uint64_t trailing_bytes;        /* log kept before a snapshot for followers that lag */
    unsigned entries_in_flight_max; /* unacknowledged entries per follower */
    unsigned append_pace_ms;        /* between appends to a follower that the majority does without; 0: none waits */
    uint64_t peer_queue_bytes;      /* what the link queues for one peer: no more than a share waits for it; 0: any number */
    uint64_t segment_bytes;         /* of the log; 0: default */
    uint64_t log_cache_bytes;       /* 0: default */
    uint64_t log_held_bytes_max;    /* beyond it a leader proposes nothing until its own disk has caught up; 0: default */
    uint32_t random_seed;           /* different per process */
    /* The first configuration, used only when the directory is fresh: all nodes of a new cluster get the same list. */
    const struct replica_member *bootstrap;
    unsigned bootstrap_count;       /* 0: the directory must not be fresh */
    bool bootstrap_made_up;         /* nobody wrote the list: no word if the directory's members are others */
};

/* The replicated state, as the replica needs it. */
struct replica_machine {
    void *ctx;
    /* A committed command, in order, once. */
    void (*apply)(void *ctx, uint64_t index, uint64_t term, const void *data, size_t size);
    /* An image of the state as of the last apply, written in slices between further applies. */
    void (*snapshot_begin)(void *ctx);
    bool (*snapshot_next)(void *ctx, struct proto_buffer *out, size_t bytes_target); /* true while there is more */
    void (*snapshot_end)(void *ctx);
    /* Replace the state. feed takes bytes, and finish does what is left of the work with them; it returns false if they are
     * no whole, valid image: then the old state stands. */
    void (*restore_begin)(void *ctx);
    bool (*restore_feed)(void *ctx, const void *data, size_t size, char *message, size_t message_size);
    bool (*restore_finish)(void *ctx, uint64_t index, char *message, size_t message_size);
    /* A bounded part of that work, so that the loop never waits long: with what was fed so far, with what comes when nothing
     * follows any more (`at_end`), and after finish with the end of the state that was replaced. True while there is more. */
    bool (*restore_step)(void *ctx, bool at_end);
};

enum replica_role { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER };

struct replica_callbacks {
    void *ctx;
    /* Role, term or known leader changed. `serving`: leader, and everything before its term is applied (the barrier of
     * design section 3), so that it may answer; it becomes true at most once per term. */
    void (*changed)(void *ctx, enum replica_role role, uint64_t term, uint64_t leader_id, bool serving);
    /* All committed entries known so far are applied up to `index` (once per call of this header, after its applies). */
    void (*applied)(void *ctx, uint64_t index);
    /* Leadership at the time of replica_read(read_id) is proven and the state has reached that read's index: answer it
     * now. ok false: leadership was lost. Every read gets exactly one call, in order. */
    void (*read_ready)(void *ctx, uint64_t read_id, bool ok);
    /* The process must end: `message` is the last line it should log. `restart_helps`: started again as it is, it may
     * do better (a failed write, a stall); else only what the message asks for helps. Does not return. */
    void (*fatal)(void *ctx, bool restart_helps, const char *message);
    /* Something an operator wants to read. */
    void (*log)(void *ctx, enum logger_level level, const char *message);
};

struct replica;

/* Read the directory (blocking), restore the newest snapshot into `machine`, start raft. A fresh directory is
 * bootstrapped from config->bootstrap.
 * @return the replica, or NULL with `message`: what is wrong and what to do (wrong cluster, wrong node, corrupt data,
 *         less than was acknowledged, disk full, not bootstrapped). */
struct replica *replica_open(const struct replica_config *config, struct disk *disk, struct link *link,
                             const struct replica_machine *machine, const struct replica_callbacks *callbacks,
                             struct local_time now, char *message, size_t message_size);
/* Free everything. Waits for nothing: when replica_idle() is false, jobs are under way and their `done` must run first. */
void replica_close(struct replica *replica);
bool replica_idle(const struct replica *replica);
/* The process is about to end: take nothing in any more, as if the others' frames were lost, and begin nothing. What was handed
 * to the disk is finished and acknowledged. Without this a busy leader keeps a follower's disk from ever being idle. */
void replica_quiet(struct replica *replica);

/* Time passed. Call at or after replica_deadline(), and whenever convenient. */
void replica_tick(struct replica *replica, struct local_time now);
/* When replica_tick() is to be called next. */
struct local_time replica_deadline(const struct replica *replica);

/* Leader: append one entry per element, as one batch (one AppendEntries, one log write, started at
 * replica_flush()). The bytes are copied once, into the log's entry.
 * @param ret_first_index  index of the first; the others follow.
 * @return false if this node may not propose now (not leader, handing leadership over, or its own disk is too far behind
 *         the others'): nothing was done. */
struct replica_command {
    const void *data;
    size_t size;
};
bool replica_propose(struct replica *replica, struct local_time now, const struct replica_command *commands,
                     unsigned count, uint64_t *ret_first_index, uint64_t *ret_term);
/* End of a loop turn: start the log's write of everything gathered, if none is under way. */
void replica_flush(struct replica *replica);

/* Linearizable read: prove that this node led when it was called (a round of messages to a majority, shared by all
 * reads since the last), then callbacks.read_ready. @return false if not serving: no callback follows. */
bool replica_read(struct replica *replica, struct local_time now, uint64_t read_id);

/* Start to hand leadership to `node_id` (0: the voter that is there and has most of the log). @return false if not leader, no
 * such voter, one that is not there or far behind, or it is being handed to another already. */
bool replica_transfer(struct replica *replica, struct local_time now, uint64_t node_id);

/* From the link. */
void replica_link_up(struct replica *replica, struct local_time now, uint64_t peer_id);
void replica_link_down(struct replica *replica, struct local_time now, uint64_t peer_id);
/* A hint: the peer's process seems to have ended. The streams of both directions have, and its address refuses another. If it
 * led, its successor is elected without waiting for an election timeout. It may be wrong: that costs little. */
void replica_link_gone(struct replica *replica, struct local_time now, uint64_t peer_id);
/* One frame from `peer_id`. Bad bytes: logged, false is returned and the link must close that stream. */
bool replica_receive(struct replica *replica, struct local_time now, uint64_t peer_id, const void *data, size_t size);

struct replica_status {
    enum replica_role role;
    bool serving;
    uint64_t term, leader_id;
    uint64_t commit_index, applied_index, durable_index, last_index;
    uint64_t log_first_index, snapshot_index;
    unsigned members_count;
    struct {
        struct replica_member member;
        bool connected;
        uint64_t match_index; /* leader only */
    } members[REPLICA_MEMBERS_MAX];
};
void replica_status(const struct replica *replica, struct replica_status *ret_status);

#endif
