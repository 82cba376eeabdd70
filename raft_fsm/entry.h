/* Log entries of commands <-> bytes.
 *
 *   msgpack array: [version, time_ms, count, command × count]
 *   command:       msgpack array [kind, request_id, session_id, proof, ack_floor, body], in session.open
 *                  [kind, 0, 0, 0, 0, body, digest]: 16 bytes (bin), the digest of the secret, never the secret
 *                  itself: the log holds no secrets
 *   body:          as proto_encode_request_body()
 *
 * The outer array's header (array 32) and count (uint 32) have a fixed width.
 *
 * The proposer writes an entry command by command; fsm_apply() reads it in place. */
#ifndef LOCKSTEP_RAFT_FSM_ENTRY_H
#define LOCKSTEP_RAFT_FSM_ENTRY_H

#include "protocol/buffer.h"
#include "protocol/decode.h"
#include "protocol/message.h"

enum { FSM_ENTRY_VERSION = 1 };

/* A command as the state machine sees it. */
struct fsm_command {
    enum proto_kind kind;
    uint64_t request_id; /* SESSION operations; others 0 */
    uint64_t session_id; /* SESSION operations; others 0 */
    uint64_t ack_floor;  /* SESSION operations; others 0 */
    uint64_t proof;      /* SESSION operations: fsm_entry_proof() of the digest of the secret */
    uint8_t digest[PROTO_DIGEST_BYTES]; /* session.open only: first 16 bytes of SHA-256(secret) */
    union proto_request_body body;
};

/* What a command shows of its session's digest: the first 8 bytes, little-endian. Part of the log's format. */
uint64_t fsm_entry_proof(const uint8_t digest[PROTO_DIGEST_BYTES]);

/* Builds one entry in a caller's buffer (made with a limit of FSM_ENTRY_BYTES_MAX). The count is known at the end, so
 * it is written at a fixed width and patched. */
struct fsm_entry_writer {
    struct proto_buffer *buffer;
    size_t begin;
    size_t count_position;
    uint32_t count;
};

void fsm_entry_begin(struct fsm_entry_writer *writer, struct proto_buffer *buffer, struct cluster_time time);
/* Append one command. @return false if it does not fit (bytes or FSM_ENTRY_COMMANDS_MAX): the entry is as before. */
bool fsm_entry_add(struct fsm_entry_writer *writer, const struct fsm_command *command);
/* Finish: patches the count. The entry is buffer->data[begin .. size). An entry without commands is valid: it only
 * moves the time. */
void fsm_entry_end(struct fsm_entry_writer *writer);

struct fsm_entry_reader {
    struct cluster_time time;
    uint32_t count;
    uint32_t next;
    struct proto_bytes rest;
};

/* Open an entry. @return false with `ret_error` filled if the bytes are no entry that this version knows. */
bool fsm_entry_open(struct fsm_entry_reader *reader, const void *data, size_t size, struct proto_error *ret_error);
/* The next command; strings point into the entry. @return false at the end, or on bytes that this version does not
 * know (then `ret_error->status` is not OK). */
bool fsm_entry_next(struct fsm_entry_reader *reader, struct fsm_command *ret_command, struct proto_error *ret_error);

#endif
