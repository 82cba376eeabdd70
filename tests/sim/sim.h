/* A whole cluster and its clients in one process, one thread and one seed. The real state machine, core (admission,
 * proposer, clock, reads, dispatch), replica (raft, log, snapshots) and client core run on a simulated disk, simulated
 * links, a simulated network and simulated time. How the files share the work:
 *
 *   world.c     the world's clock and its order of events; one run from a seed to its verdict
 *   node.c      a process of lockstepd: what node/node.c and node/loop.c are to the real one
 *   settings.c  how each node is set up
 *   peers.c     streams between nodes                    (the seam link.h)
 *   network.c   connections between clients and nodes
 *   storm.c     the plan of faults, drawn from the seed, and what each does
 *   clients.c   the clients' lives: what they ask for, when they crash, pause and come back
 *   oracle.c    what is committed, judged entry by entry; what nodes and clients say is compared with it
 *   promises.c  the promises of design section 7, in terms of the oracle and of what clients were told
 *   main.c      many seeds, the summary, replay and shrinking
 *
 * Rules
 *  W1  Everything that happens is decided by the options: no clock, no address, no memory's contents takes part.
 *  W2  Each kind of chance has a stream of its own, so that leaving out one fault does not change the others.
 *  W3  A process that was killed has no more effect on anybody, whatever still runs of it (its jobs are drained).
 *  W4  What checks sees all, what is checked sees only its seams. */
#ifndef LOCKSTEP_TESTS_SIM_SIM_H
#define LOCKSTEP_TESTS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/core.h"
#include "node/replica/replica.h"
#include "client/core.h"
#include "tests/support/random.h"
#include "tests/support/simulated_disk.h"
#include "tests/support/simulated_frames.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_CLIENTS_MAX = 64,
    SIM_FAULTS_MAX = 128,
    SIM_INCARNATIONS_MAX = 64,
    SIM_CLUSTER_ID = 7,
};

#define SIM_NEVER UINT64_MAX

/* ---- options ---- */

struct sim_options {
    uint64_t seed;
    unsigned nodes;     /* 1, 3 or 5; 0: drawn */
    unsigned clients;   /* 1..SIM_CLIENTS_MAX; 0: drawn */
    uint64_t storm_ms;  /* how long faults come; 0: drawn */
    uint64_t faults[2]; /* a bit for each of the plan's faults: clear leaves it out. All set by default. */
    const char *plant;  /* a checker is fed this lie (promises.c has the names); NULL: none */
    FILE *trace;        /* NULL: none */
};

/* What a run did, for the summary. */
enum sim_fault_kind {
#define SIM_FAULT_KINDS(X)                                                                            \
    X(CRASH, "crash", "a node loses power: what was not synced is lost in part, writes are torn")     \
    X(KILL, "kill", "a node is killed; its page cache stays")                                         \
    X(BLACKOUT, "blackout", "all nodes lose power")                                                   \
    X(ISOLATE, "isolate", "a node is cut off from the others, both ways")                             \
    X(ONE_WAY, "one-way", "what a node sends another is swallowed")                                   \
    X(SPLIT, "split", "two groups of nodes do not hear each other")                                   \
    X(BREAK, "break", "a connection between nodes breaks; sometimes the other seems to be gone")      \
    X(SLOW_LINK, "slow-link", "messages between nodes are late")                                      \
    X(PAUSE, "pause", "a node stands still, its clock goes on")                                       \
    X(SUSPEND, "suspend", "a node and its clock stand still")                                         \
    X(SLOW_LOOK, "slow-look", "time passes between a node's reading of its clock and of its sockets") \
    X(RATE, "rate", "a node's clock changes its speed")                                               \
    X(SLOW_DISK, "slow-disk", "a node's disk is slow")                                                \
    X(BAD_DISK, "bad-disk", "a write or a sync of a node fails")                                      \
    X(FULL_DISK, "full-disk", "a node's disk is full")                                                \
    X(UNMOUNTED, "unmounted", "a node starts on an empty directory, and later on its own again")      \
    X(ROT, "rot", "a byte on a node's disk rots while it is down")                                    \
    X(TRANSFER, "transfer", "a node is asked to end (SIGTERM)")                                       \
    X(CLIENT_CUT, "client-cut", "clients' connections break")                                         \
    X(CLIENT_SILENCE, "client-silence", "clients' connections swallow what is sent")                  \
    X(CLIENT_LATE, "client-late",                                                                     \
      "what a client sends, or is sent, comes seconds late: after it has moved on")                   \
    X(CLIENT_CRASH, "client-crash", "a client's process dies")                                        \
    X(CLIENT_PAUSE, "client-pause", "a client's process stands still, its clock goes on")             \
    X(CLIENT_RATE, "client-rate", "a client's clock changes its speed")
#define X(name, word, text) SIM_##name,
    SIM_FAULT_KINDS(X)
#undef X
        SIM_FAULT_KINDS_COUNT
};

struct sim_counts {
    uint64_t operations; /* of clients, ended with a known result */
    uint64_t unknown;    /* ended without */
    uint64_t grants, losses, expiries, waits, reads;
    uint64_t entries; /* first applied anywhere */
    uint64_t applies; /* on any node */
    uint64_t snapshots_taken, snapshots_installed, restarts, elections;
    uint64_t certain_looks;
    uint64_t faults[SIM_FAULT_KINDS_COUNT];
    uint64_t virtual_ms;
    uint64_t fingerprint; /* of everything that happened: equal for equal options */
};

/* ---- chance ---- */

/* true once in `one_in` on average. */
bool sim_chance(uint64_t *stream, uint64_t one_in);

/* ---- clocks: true time is in microseconds, what a process reads is its own ---- */

struct sim_clock {
    uint64_t at_us;   /* true time of the last change */
    uint64_t read_us; /* what it showed then */
    int64_t ppm;      /* how much faster than true time it goes, -50000 .. 50000 */
    bool frozen;
};
uint64_t sim_clock_us(const struct sim_clock *clock, uint64_t now_us);
/* The true time at which it will show `ms` milliseconds; not before now_us; SIM_NEVER if it stands still. */
uint64_t sim_clock_when(const struct sim_clock *clock, uint64_t now_us, uint64_t ms);
void sim_clock_change(struct sim_clock *clock, uint64_t now_us, int64_t ppm, bool frozen);

/* ---- the parts ---- */

struct sim;
struct sim_bytes; /* a piece of a connection's stream on its way */

/* peers.c: a stream from one node to another */
struct sim_stream {
    bool wanted, up, stale;
    bool seems_gone;    /* stale, and its process is taken for gone */
    unsigned cuts;      /* faults that swallow what it carries; the sender does not know */
    uint64_t change_us; /* next: connect, or notice the cut */
    uint64_t extra_us;  /* slower than others by up to this */
    struct simulated_frames frames;
};

/* network.c: one direction of a connection between a client and a node */
struct sim_flow {
    struct sim_bytes *first, *last;
    size_t bytes;
    uint64_t clear_us;
};

struct sim_connection {
    uint64_t number; /* 0: free; never reused: what the node calls it */
    unsigned client, node;
    unsigned node_incarnation;
    bool connecting;     /* not accepted yet */
    bool open_at_client; /* the client's side: still wants to hear of it */
    bool open_at_node;
    bool opens;      /* the node has not been told yet */
    bool closing;    /* the node closes when what is queued was sent */
    bool silent;     /* what is sent is swallowed, both ways */
    uint64_t due_us; /* of: being accepted, being noticed as broken */
    bool breaks;     /* due_us is when both sides notice that it is broken */
    struct sim_flow to_node, to_client;
    struct proto_buffer in; /* of the node: an unfinished frame */
};

/* settings.c: how a node is set up. */
struct sim_settings {
    struct core_options core;
    unsigned election_timeout_ms, heartbeat_ms, entries_in_flight_max, append_pace_ms;
    uint64_t log_held_bytes_max;
};

/* The way out (node/node_stop.c). */
enum sim_leaving { SIM_STAYS, SIM_LEAVING, SIM_CLOSING, SIM_FLUSHING };

struct sim_node {
    struct sim *sim;
    struct sim_settings settings;
    struct link link; /* the seam given to the replica */
    unsigned place;   /* 0.. ; its id is place + 1 */
    struct simulated_disk *disk;
    uint64_t disk_random;
    struct core *core;            /* NULL: no process */
    struct replica *replica;      /* NULL while replica_open() runs, too */
    struct replica_machine inner; /* the core's; ours goes around it */
    struct sim_clock clock;
    bool up;             /* a process runs and serves */
    bool unmounted;      /* its directory is not there: it may remember nothing, and so take no part */
    bool power_lost;     /* down, and nobody refuses connections for it */
    bool zombie;         /* W3 */
    bool cut, cut_power; /* it ended in the middle of a call of its disk: what still runs is a zombie's */
    bool stopped;        /* paused or suspended */
    enum sim_leaving leaving; /* asked to end */
    uint64_t leave_us;        /* when it goes on to the next step of that */
    unsigned stops;           /* faults that hold it */
    uint64_t restart_us;      /* when it is started again; SIM_NEVER: not by itself */
    uint64_t awake_us;        /* it is busy with its last turn, or its look, until then */
    uint64_t look_max_us;     /* how long the look before a deadline is acted on may take */
    bool held;                /* loop.c, T1: that look is under way; `held_at` is the time from before it */
    struct local_time held_at;
    bool input; /* something came in since the last turn */
    unsigned incarnation;
    struct proto_buffer scratch; /* of frames that are expanded */
    char last_words[1100];
    bool restart_helps;
    /* as told by the replica */
    enum replica_role role;
    uint64_t term, leader_id;
    bool serving;
    uint64_t applied_index;
    uint64_t durable_promised; /* the highest index that it said to be durable, see oracle.c */
};

struct sim_oracle;  /* oracle.c */
struct sim_clients; /* clients.c */
struct sim_storm;   /* storm.c */

struct sim {
    struct sim_options options;
    uint64_t now_us;
    uint64_t steps; /* of the world in this millisecond */
    unsigned nodes_count;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_stream streams[SIM_NODES_MAX][SIM_NODES_MAX];
    unsigned delay_min_us, delay_max_us; /* of messages, when nothing is wrong */
    struct sim_connection *connections;
    unsigned connections_count; /* places in use */
    uint64_t last_connection;
    unsigned clients_count;
    unsigned
        turn_max_us; /* how long a node is busy with a turn, and does not look up: what comes meanwhile gathers */
    /* settings of all nodes, drawn */
    uint64_t snapshot_after_bytes, trailing_bytes, segment_bytes, cache_bytes;
    size_t peer_queue_bytes; /* of a stream between nodes: more is dropped */
    uint64_t start_us_max; /* within what nodes are started first: the storm may come before they have met */
    bool calm;             /* the storm is over */
    /* streams of chance (W2) */
    uint64_t random_peers, random_network, random_nodes, random_clients, random_storm, random_looks,
        random_ends, random_settings;
    struct sim_oracle *oracle;
    struct sim_clients *clients;
    struct sim_storm *storm;
    struct sim_counts counts;
    /* a process ends itself in the middle of whatever it does: node.c */
    jmp_buf fatal_jump;
    struct sim_node *fatal_node;
    void *carried; /* memory of the engine's that a fatal end would leak */
};

/* Run one seed to its end. A violation does not return: see sim_violation(). */
void sim_run(const struct sim_options *options, struct sim_counts *ret_counts);

/* A rule was broken: says which, at what time and how to repeat it, and ends the process with SIM_EXIT_VIOLATION.
 * @param rule  a short stable name, "mutual-exclusion". */
enum { SIM_EXIT_VIOLATION = 3 };
_Noreturn void sim_violation(struct sim *sim, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line of the trace, if there is one. `who` such as "node 2". */
#define sim_trace(sim, ...)                     \
    do {                                        \
        if ((sim)->options.trace != NULL) {     \
            sim_trace_line((sim), __VA_ARGS__); \
        }                                       \
    } while (0)
void sim_trace_line(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Mix into the fingerprint: what happened, without the cost of a line. */
void sim_note(struct sim *sim, uint64_t what, uint64_t a, uint64_t b);

/* Is this the lie that was asked for? */
bool sim_planted(const struct sim *sim, const char *name);

/* ---- network.c, called by clients.c (from lsc_output) ---- */

/* Connect the client to "nodeN:7000"; ends in client_connected() or client_disconnected(), never at once. */
void network_connect(struct sim *sim, unsigned client, const char *address);
void network_send(struct sim *sim, unsigned client, const void *data, size_t size);
/* The client drops its connection or its attempt: it hears no more of it; the node will. */
void network_close(struct sim *sim, unsigned client);
/* The client's process died: as close, but the node may learn of it late. */
void network_abandon(struct sim *sim, unsigned client);

/* ---- clients.c, called by network.c, storm.c and world.c ---- */

void clients_create(struct sim *sim);
void clients_free(struct sim *sim);
void client_connected(struct sim *sim, unsigned client);
/* In pieces of any size. A client that is paused is not called: its bytes wait. */
void client_received(struct sim *sim, unsigned client, const void *data, size_t size);
void client_disconnected(struct sim *sim, unsigned client, const char *why);
bool client_is_awake(const struct sim *sim, unsigned client);
/* Everything due now: timers, and what they do by their own will. */
void clients_turn(struct sim *sim);
/* When clients_turn() is wanted next. */
uint64_t clients_due(const struct sim *sim);
/* Faults. */
void client_crash(struct sim *sim, unsigned client, uint64_t for_us);
void client_pause(struct sim *sim, unsigned client, uint64_t for_us);
void client_rate(struct sim *sim, unsigned client, int64_t ppm);
/* The storm is over: all come back; see progress below. */
void clients_calm(struct sim *sim);
/* From now on they let go, close their sessions and end. */
void clients_finish(struct sim *sim);
bool clients_finished(const struct sim *sim);
/* Since clients_calm(): every client has ended an operation well, and nothing older than the storm is under way. */
bool clients_progressed(const struct sim *sim);
/* Why not, for the verdict. */
void clients_explain(const struct sim *sim, char *text, size_t size);

/* ---- oracle.c and promises.c, called by node.c, clients.c and world.c ---- */

void oracle_create(struct sim *sim);
void oracle_free(struct sim *sim);
/* Whether the digests of all nodes are compared behind this entry: not behind all, because a digest costs more than an
 * entry does. What differs stays different. */
bool oracle_compares(const struct sim *sim, uint64_t index);
/* A node's replica applied a committed entry.
 * @param digest  of its state behind it; anything if oracle_compares() does not want it. */
void oracle_applied(struct sim *sim, struct sim_node *node, uint64_t index, uint64_t term, const void *data,
                    size_t size, uint64_t digest);
/* A node restored a snapshot that says it is the state after `index`. */
void oracle_restored(struct sim *sim, struct sim_node *node, uint64_t index, uint64_t digest);
void oracle_changed(struct sim *sim, struct sim_node *node, enum replica_role role, uint64_t term,
                    bool serving);
/* The process ended, for whatever reason; it started again and has told its status. */
void oracle_ended(struct sim *sim, struct sim_node *node);
void oracle_started(struct sim *sim, struct sim_node *node);
/* All nodes, at some time: so the cluster is formed everywhere. */
bool oracle_all_have_applied(const struct sim *sim);
/* After each turn of a node. */
void oracle_turned(struct sim *sim, struct sim_node *node);
/* Calm: everyone who is up has applied the same and nothing is left of any client. */
void oracle_finish(struct sim *sim);

/* ---- node.c, called by storm.c and world.c ---- */

void node_create(struct sim *sim, unsigned place);
void node_free(struct sim_node *node);
bool node_runs(const struct sim_node *node); /* up, and not stopped */
void node_start(struct sim_node *node);
/* power: what was not synced is lost in part. */
void node_end(struct sim_node *node, bool power);
/* The same within its disk's call after `calls` more of names that begin like that; also while it starts. */
void node_end_after(struct sim_node *node, const char *prefix, unsigned calls, bool power);
void node_stop(struct sim_node *node, bool stop, bool freeze_clock);
/* It is killed, and its directory is gone, or is back. */
void node_unmount(struct sim_node *node, bool away);
void node_terminate(struct sim_node *node);
void node_turn(struct sim_node *node);
uint64_t node_due(const struct sim_node *node);
struct local_time node_now(const struct sim_node *node);
struct replica_status node_status(const struct sim_node *node);
uint64_t node_digest(struct sim_node *node);

#endif
