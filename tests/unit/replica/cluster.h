/* A cluster of replicas in one process and in virtual time: the real replica, log and snapshot store on simulated_disk and
 * on links that delay, black-hole, break and come back. One seed decides everything.
 *
 * Checked throughout (a violation ends the test):
 *   one leader per term, serving at most once per term, and then with everything acknowledged before
 *   every node applies the same commands at the same index and term; a restored state is one that was reached by applying
 *   a command acknowledged at its leader is never missing afterwards
 *   a read that is answered reflects all that was acknowledged or read before it began
 *   each read is answered once, in order
 *   no frame is refused (but a stranger's), no deadline makes the loop spin */
#ifndef LOCKSTEP_TESTS_CLUSTER_H
#define LOCKSTEP_TESTS_CLUSTER_H

#include <setjmp.h>

#include "tests/support/random.h"
#include "tests/support/simulated_disk.h"
#include "tests/support/simulated_frames.h"
#include "node/replica/replica.h"

enum { CLUSTER_NODES_MAX = 5, CLUSTER_INDEX_MAX = 1 << 17, CLUSTER_TERMS_MAX = 1 << 14, CLUSTER_PENDING_MAX = 4096 };

struct cluster;

struct cluster_state {
    uint64_t index; /* of the last command */
    uint64_t hash;
    uint64_t count;
};

struct cluster_pending {
    uint64_t index, term;
};

struct cluster_read {
    uint64_t id, floor;
};

struct cluster_node {
    struct cluster *cluster;
    struct link link; /* the seam given to the replica */
    uint64_t id;
    struct simulated_disk *disk;
    struct replica *replica;
    bool up;      /* a process runs */
    uint64_t stalled_until_ms; /* stopped till then (SIGSTOP): it neither hears nor acts, and its clock goes on */
    bool silent;  /* when it is down its machine is, too: nobody refuses connections for it */
    bool zombie;  /* it was killed: what still runs of it does not count */
    char fatal[1100]; /* its last words, if it ended itself */
    unsigned incarnation;
    enum replica_role role;
    uint64_t term, leader_id;
    bool serving;
    struct cluster_state state, image, restored;
    uint64_t image_at;
    uint64_t restore_at;
    uint8_t restore_head[24];
    unsigned snapshots_taken, snapshots_restored, restore_steps;
    bool in_turn; /* of its loop, which must not wait long: */
    unsigned turn_steps;  /* of a restore, so far in this turn */
    uint64_t slice_at_ms; /* the last slice of its image */
    struct cluster_pending pending[CLUSTER_PENDING_MAX];
    unsigned pending_count;
    struct cluster_read reads[CLUSTER_PENDING_MAX];
    unsigned reads_first, reads_count;
    uint64_t reads_answered, reads_failed;
};

/* A stream from one node to another. */
struct cluster_stream {
    bool wanted; /* set_peer() */
    bool up;
    bool stale;  /* it led to a process that is gone */
    bool cut;    /* nothing passes; the sender does not know yet */
    uint64_t change_ms; /* next: connect, or notice the cut */
    struct simulated_frames frames;
};

struct cluster_options {
    unsigned nodes;
    uint64_t seed;
    uint64_t snapshot_after_bytes, trailing_bytes;
    uint64_t segment_bytes, log_cache_bytes, log_held_bytes_max, peer_queue_bytes;
    unsigned entries_in_flight_max, append_pace_ms;
    unsigned image_bytes; /* of a state's image */
};

struct cluster {
    struct cluster_options options;
    uint64_t random;
    uint64_t now_ms;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    struct cluster_stream streams[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX];
    unsigned delay_min, delay_max;
    /* Client load: every so many ms (0: none) something is proposed and something read. */
    unsigned load_ms;
    unsigned command_bytes_max;
    uint64_t load_due_ms;
    /* Sees each frame as it is handed to the link. */
    void (*on_frame)(struct cluster *cluster, uint64_t from, uint64_t to, const struct link_part *parts, unsigned count);
    bool fatal_expected;
    bool strangers_expected; /* a node's directory is replaced: the others refuse it */
    jmp_buf fatal_jump;
    struct cluster_node *fatal_node;
    void *receiving; /* the frame that is being delivered */
    /* What was ever applied, by index. */
    uint64_t *hash_at, *term_at;
    uint64_t command_top;
    uint64_t leader_of[CLUSTER_TERMS_MAX];
    bool served[CLUSTER_TERMS_MAX];
    uint64_t term_top;
    uint64_t acked_top, seen_top, acked_count;
    uint64_t read_last;
};

/* 1, or what LOCKSTEP_SEED says; prints it. */
uint64_t cluster_seed(void);
struct cluster_options cluster_options(unsigned nodes, uint64_t seed);
struct cluster *cluster_create(struct cluster_options options);
void cluster_free(struct cluster *cluster);
/* Start a node's process. @return false if replica_open() refused; `fatal` has the message. */
bool cluster_start(struct cluster *cluster, unsigned node);
void cluster_start_all(struct cluster *cluster);
/* kill -9 and power loss in one: unsynced data is lost in part. */
void cluster_crash(struct cluster *cluster, unsigned node);
/* From `a` to `b` only. */
void cluster_cut(struct cluster *cluster, unsigned a, unsigned b, bool cut);
void cluster_isolate(struct cluster *cluster, unsigned node, bool isolated);
void cluster_run(struct cluster *cluster, uint64_t ms);
/* Run until the condition holds; false after `ms`. */
bool cluster_run_until(struct cluster *cluster, bool (*condition)(struct cluster *cluster), uint64_t ms);
/* The serving leader with the highest term, or -1. */
int cluster_leader(const struct cluster *cluster);
bool cluster_has_leader(struct cluster *cluster);
/* All nodes that are up have applied everything that was ever applied or acknowledged. */
bool cluster_converged(struct cluster *cluster);
bool cluster_propose(struct cluster *cluster, unsigned node, size_t size);
bool cluster_read_at(struct cluster *cluster, unsigned node);
/* Propose at the leader and run until it is acknowledged. */
void cluster_command(struct cluster *cluster, size_t size);

/* ---- for stories: what must hold, or the test ends ---- */
/* A cluster with a leader. */
struct cluster *cluster_started(struct cluster_options options);
unsigned cluster_sure_leader(struct cluster *cluster);
/* One more command, and everyone has everything. */
void cluster_converge(struct cluster *cluster);
struct replica_status cluster_status(const struct cluster *cluster, unsigned node);
/* The bytes of a node's metadata, while it is down: to be put back when they are old. */
struct cluster_metadata {
    uint8_t copies[2][512];
};
void cluster_metadata_get(struct cluster *cluster, unsigned node, struct cluster_metadata *ret_metadata);
void cluster_metadata_put(struct cluster *cluster, unsigned node, const struct cluster_metadata *metadata);

#endif
