/* What the files of the real link share.
 *
 *   peer.c      the link: open, close, who the peers are, hello, log lines at a bounded rate
 *   peer_out.c  the streams we open: connect, hello, a bounded queue, gathered writes
 *   peer_in.c   the streams opened to us: accept, hello, whole frames out of one buffer
 *
 * A stream begins with a hello each way, then frames in the connecting side's direction only:
 *   hello   6 bytes "LSPEER", u16 version, u64 cluster id, u64 sender's node id, u64 node id it expects, u8 verdict
 *   frame   u32 length, that many bytes                                    (integers little-endian)
 * The accepting side's verdict is 0, or 1 and the stream is closed: the connecting side logs why it may be.
 *
 * Invariants
 *  P1  A frame is delivered only on a stream whose hello named this cluster, this node, and a known peer; on at most one such
 *      stream per peer: once the first frame of a newer one is taken, the older is closed before anything else is read.
 *  P2  Nothing is written, and nobody is called back, from within link_ops: only from the loop.
 *  P3  Memory per peer is bounded: the queue by queue_bytes_max, the read buffer by one frame; two streams opened to us, of
 *      which at most one has delivered a frame that was taken.
 *  P4  A hello takes nothing from anybody: who came under a peer's id, and is not that peer, is refused with its first frame
 *      (the introduction, replica_formation.c), and the peer's own stream goes on. */
#ifndef LOCKSTEP_NODE_REPLICA_PEER_INTERNAL_H
#define LOCKSTEP_NODE_REPLICA_PEER_INTERNAL_H

#include "node/replica/peer.h"

#include "protocol/assert.h"

enum {
    PEER_VERSION = 1,
    PEER_HELLO_BYTES = 6 + 2 + 8 + 8 + 8 + 1,
    PEER_LENGTH_BYTES = 4,
    PEER_ADDRESS_BYTES_MAX = 255,
    PEER_IN_MAX = 64,           /* accepted streams, those without a hello included */
    PEER_RETRY_MS_MIN = 50,
    PEER_RETRY_MS_MAX = 500,
    PEER_AGAIN_MS = 4,          /* the first retry after a stream that was up; then twice as long each time, */
    PEER_AGAIN_MAX = 5,         /* so many times, */
    PEER_LIVED_MS = 1000,       /* and anew for each stream that was up for so long */
    PEER_LOG_MS = 30000,        /* one line per peer and reason in this time */
    PEER_LOG_SLOTS = 64,
    PEER_READ_BYTES = 256 * 1024,
    PEER_WRITE_BUFS = 512,
};

struct peer_hello {
    uint64_t cluster_id, node_id, expected_id;
    uint8_t verdict;
};

/* A frame in an outgoing queue: its length and the copied parts lie behind `parts`. */
struct peer_part {
    const uint8_t *data;
    size_t size;
    void *owner;
};
struct peer_frame {
    struct peer_frame *next;
    unsigned parts_count;
    struct peer_part parts[];
};

/* Our stream to one peer. Its object lives as long as the peer is known and its handles are open. */
enum peer_out_state {
    OUT_IDLE,       /* waits for the retry timer */
    OUT_RESOLVING,
    OUT_CONNECTING,
    OUT_GREETING,   /* hello sent, theirs awaited */
    OUT_UP,
};
struct peer_out {
    struct peer_link *owner;
    struct peer_out *next;
    uint64_t peer_id;
    char address[PEER_ADDRESS_BYTES_MAX + 1];
    enum peer_out_state state;
    bool up_told;
    uint64_t up_ms;       /* since when the present stream is up, or the last one was */
    bool lost;            /* a stream that was up has ended, and no other has come up since, */
    unsigned tries;       /* in so many attempts since one that lived for PEER_LIVED_MS, */
    bool refused;         /* the last one because nobody listens there */
    bool forgotten;       /* set_peer(NULL): goes when its handles are closed */
    bool address_changed;
    unsigned handles;     /* open or closing, requests under way included */
    uv_timer_t timer;     /* retry, or the time limit of an attempt */
    uv_tcp_t *tcp;        /* of the present attempt; an old one closes by itself */
    uint64_t attempt;     /* names it for callbacks that come late */
    unsigned choice;      /* of the addresses that its name stands for, counted all around */
    struct sockaddr_storage tried;  /* the one of the present attempt, or of the last, */
    struct sockaddr_storage was_up; /* and of the last stream that was up */
    uint8_t greeting[PEER_HELLO_BYTES];
    size_t greeting_size;
    struct peer_frame *first, *last;
    unsigned part_at;     /* within `first`: */
    size_t offset_at;
    size_t queued_bytes;
    bool writing;         /* a uv_write is under way: it refers to the queue's head */
};

struct peer_in {
    struct peer_link *owner;
    struct peer_in *next;
    uv_tcp_t tcp;
    uv_timer_t timer; /* for the hello */
    unsigned handles;
    bool closing;
    uint64_t peer_id; /* 0: no hello yet */
    bool taken;       /* a frame of it was */
    uint8_t *data;
    size_t size, capacity;
};

struct peer_log_slot {
    uint64_t peer_id;
    const char *reason;
    uint64_t at_ms;
};

struct peer_link {
    struct link link; /* first: the seam's handle */
    uv_loop_t *loop;
    struct peer_options options;
    struct peer_callbacks callbacks;
    uv_tcp_t listener;
    uv_prepare_t prepare;
    uv_idle_t idle;   /* active while frames wait: what is queued after our prepare must not sleep through the poll */
    unsigned handles; /* listener, prepare and idle */
    uint16_t port;
    bool closing;
    struct peer_out *outs;
    struct peer_in *ins;
    unsigned ins_count;
    uint64_t random;
    struct peer_log_slot log_slots[PEER_LOG_SLOTS];
    unsigned log_slot_next;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* ---- peer.c ---- */
void peer_hello_encode(const struct peer_hello *hello, uint8_t *out);
/* @return NULL, or what is wrong with it. */
const char *peer_hello_decode(const uint8_t *data, struct peer_hello *ret_hello);
/* One line per peer and reason in PEER_LOG_MS; `reason` is a constant text. */
void peer_log_seldom(struct peer_link *link, enum logger_level level, uint64_t peer_id, const char *reason,
                     const char *detail);
uint64_t peer_random(struct peer_link *link, uint64_t below);
struct peer_out *peer_out_find(const struct peer_link *link, uint64_t peer_id);
void peer_tune(const struct peer_link *link, uv_tcp_t *tcp);
/* "host:port" or "[v6]:port" in two. */
bool peer_address_split(const char *address, char *ret_host, size_t host_size, char *ret_port, size_t port_size);
/* After anything was freed: the end of the link, when it closes and nothing is left. */
void peer_link_free_if_empty(struct peer_link *link);

/* ---- peer_out.c ---- */
void peer_out_open(struct peer_link *link, uint64_t peer_id, const char *address);
void peer_out_forget(struct peer_out *out);
/* From the prepare handle: what changed since, and what is queued. */
void peer_out_turn(struct peer_out *out);
/* After a stream of either direction has ended, or an attempt was refused: whether that peer's process is gone. */
void peer_out_judge(struct peer_out *out);
bool peer_out_send(struct peer_out *out, const struct link_part *parts, unsigned count);

/* ---- peer_in.c ---- */
void peer_in_accept(uv_stream_t *listener, int status);
void peer_in_close(struct peer_in *in);
/* Whether a stream of this peer is open. */
bool peer_in_is_open(const struct peer_link *link, uint64_t peer_id);

#endif
