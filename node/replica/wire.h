/* Frames between replicas: raft's messages and our own, to bytes and back. No I/O, no state.
 *
 *   frame       u8 kind, then the fields of that kind; integers little-endian; nothing may follow the last field
 *   introduction  u8 WIRE_VERSION, u64 incarnation, u8 formed, u64 knows, u64 list digest
 *   append        u8 version, u64 term, u64 prev index, u64 prev term, u64 leader commit, u32 n,
 *                 n times {u64 term, u8 type, u32 size}, then the bytes of the n entries
 *   append result u8 version, u64 term, u64 rejected, u64 last index, u16 features, u16 capacity
 *   vote          u8 version, u64 term, u64 candidate, u64 last index, u64 last term, u8 disrupt, u8 pre-vote
 *   vote result   u8 version, u64 term, u8 granted, u8 pre-vote, u16 features, u16 capacity
 *   timeout now   u8 version, u64 term, u64 last index, u64 last term
 *   read probe    u64 term, u64 nonce
 *   read answer   u64 term, u64 nonce, u8 yes
 *   snapshot begin  u64 stream, u64 term, u64 index, u64 last term, u64 configuration index, u64 body bytes,
 *                   16 bytes digest, u32 size, configuration
 *   snapshot chunk  u64 stream, u64 offset, bytes
 *   snapshot end    u64 stream
 *   snapshot ack    u64 stream, u64 received, u8 state
 *
 * Invariants
 *  W1  Decoding is total: any bytes give a frame or a named refusal; nothing outside them is read.
 *  W2  What libraft only asserts about a message (its asserts are compiled out) is refused here, as far as the message
 *      alone tells: zero terms, unknown entry types, falling terms, a configuration that does not decode. */
#ifndef LOCKSTEP_NODE_REPLICA_WIRE_H
#define LOCKSTEP_NODE_REPLICA_WIRE_H

#include <raft.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/replica/log.h"

enum {
    WIRE_VERSION = 1,
    WIRE_APPEND_ENTRIES_MAX = 1024, /* entries in one frame */
    WIRE_ENTRY_HEAD_BYTES = 13,
    WIRE_APPEND_HEAD_BYTES = 1 + 1 + 4 * 8 + 4,
    WIRE_HEAD_BYTES_MAX = 128,      /* any frame less its entries, configuration or chunk */
    WIRE_CONFIGURATION_BYTES_MAX = 64 * 1024,
    WIRE_SERVERS_MAX = 15,
    WIRE_ADDRESS_BYTES_MAX = 255 + 1 + 255, /* "peer-address client-address" */
};

enum wire_kind {
    WIRE_INTRODUCTION = 1,
    WIRE_APPEND,
    WIRE_APPEND_RESULT,
    WIRE_VOTE,
    WIRE_VOTE_RESULT,
    WIRE_TIMEOUT_NOW,
    WIRE_READ_PROBE,
    WIRE_READ_ANSWER,
    WIRE_SNAPSHOT_BEGIN,
    WIRE_SNAPSHOT_CHUNK,
    WIRE_SNAPSHOT_END,
    WIRE_SNAPSHOT_ACK,
};

/* replica.h, "Formation". */
struct wire_introduction {
    uint64_t incarnation;
    bool formed;
    uint64_t knows;       /* the receiver's incarnation as the sender met it; 0: not met */
    uint64_t list_digest; /* of the first configuration; 0: no longer at hand */
};

struct wire_append {
    uint8_t version;
    uint64_t term, prev_index, prev_term, leader_commit;
    uint32_t count;
    const uint8_t *heads; /* the rest is the decoder's: see wire_append_next() */
    const uint8_t *data;
};

struct wire_entry {
    uint64_t term;
    enum log_entry_type type;
    uint32_t size;
    const uint8_t *data;
};

struct wire_read {
    uint64_t term, nonce;
    bool yes;
};

struct wire_snapshot_begin {
    uint64_t stream, term, index, last_term, configuration_index, body_bytes;
    uint8_t digest[16];
    uint32_t configuration_size;
    const uint8_t *configuration;
};

struct wire_snapshot_chunk {
    uint64_t stream, offset;
    const uint8_t *data;
    size_t size;
};

enum wire_snapshot_state { WIRE_SNAPSHOT_TAKING = 0, WIRE_SNAPSHOT_DONE = 1, WIRE_SNAPSHOT_REFUSED = 2 };

struct wire_snapshot_ack {
    uint64_t stream, received;
    enum wire_snapshot_state state;
};

/* One frame once decoded; pointers lead into the frame's bytes. */
struct wire_frame {
    enum wire_kind kind;
    union {
        struct wire_introduction introduction;
        struct wire_append append;
        struct raft_append_entries_result append_result;
        struct raft_request_vote vote;
        struct raft_request_vote_result vote_result;
        struct raft_timeout_now timeout_now;
        struct wire_read read; /* probe and answer */
        struct wire_snapshot_begin snapshot_begin;
        struct wire_snapshot_chunk snapshot_chunk;
        uint64_t snapshot_end; /* stream */
        struct wire_snapshot_ack snapshot_ack;
    };
};

/* @return NULL, or why these bytes are refused (a constant text). */
const char *wire_decode(const void *data, size_t size, struct wire_frame *ret_frame);

/* Take the next entry of a decoded append (call it `count` times at most); advances the frame. */
struct wire_entry wire_append_next(struct wire_append *append);

/* Encode a frame's head into `out` (WIRE_HEAD_BYTES_MAX). For an append, the entries' heads and bytes follow; for a
 * snapshot begin, the configuration; for a chunk, its bytes: the caller adds these as parts of their own.
 * @return its size. */
size_t wire_encode_head(const struct wire_frame *frame, uint8_t *out);
/* Encode one entry's head into `out` (WIRE_ENTRY_HEAD_BYTES). */
void wire_encode_entry_head(const struct log_entry *entry, uint8_t *out);

/* Whether these bytes are a configuration as raft_configuration_encode() writes it, with 1..WIRE_SERVERS_MAX servers,
 * ids above 0, known roles, and addresses of two words. raft_configuration_decode() itself does not look at bounds. */
bool wire_configuration_valid(const void *data, size_t size);

#endif
