/* Frames to bytes and back (wire.h has the layout and the invariants). Every read goes through `struct reader`, which
 * fails once and stays failed, so that a decoder is a list of fields and one check. */
#include "node/replica/wire.h"

#include <string.h>

#include "node/replica/link.h"
#include "protocol/assert.h"

/* Indexes and terms above this are nonsense, and adding a frame's entries to them could overflow. */
#define WIRE_NUMBER_MAX (UINT64_MAX / 4)

_Static_assert(WIRE_APPEND_HEAD_BYTES <= WIRE_HEAD_BYTES_MAX, "every head fits");

/* ---- reading ---- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static const uint8_t *read_bytes(struct reader *reader, size_t size)
{
    if (reader->failed || size > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += size;
    reader->left -= size;
    return bytes;
}

static uint64_t little_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static uint64_t read_integer(struct reader *reader, size_t size)
{
    const uint8_t *bytes = read_bytes(reader, size);
    return bytes == NULL ? 0 : little_endian(bytes, size);
}

static uint64_t read_u64(struct reader *reader)
{
    return read_integer(reader, 8);
}

/* An index, term or size: a number that can be counted on without overflow. */
static uint64_t read_number(struct reader *reader)
{
    uint64_t value = read_u64(reader);
    if (value > WIRE_NUMBER_MAX) {
        reader->failed = true;
    }
    return value;
}

static uint32_t read_u32(struct reader *reader)
{
    return (uint32_t)read_integer(reader, 4);
}

static uint16_t read_u16(struct reader *reader)
{
    return (uint16_t)read_integer(reader, 2);
}

static uint8_t read_u8(struct reader *reader)
{
    return (uint8_t)read_integer(reader, 1);
}

static bool read_bool(struct reader *reader)
{
    uint8_t value = read_u8(reader);
    if (value > 1) {
        reader->failed = true;
    }
    return value == 1;
}

/* ---- decoding, a function per kind: NULL or the refusal (a failed reader is found by the caller) ---- */

static const char *decode_introduction(struct reader *reader, struct wire_introduction *introduction)
{
    if (read_u8(reader) != WIRE_VERSION) {
        return "the peer speaks another version of the replica protocol";
    }
    introduction->incarnation = read_u64(reader);
    introduction->formed = read_bool(reader);
    introduction->knows = read_u64(reader);
    introduction->list_digest = read_u64(reader);
    return introduction->incarnation == 0 ? "introduction without an incarnation" : NULL;
}

static struct wire_entry entry_head(const uint8_t *head)
{
    return (struct wire_entry){
        .term = little_endian(head, 8),
        .type = (enum log_entry_type)head[8],
        .size = (uint32_t)little_endian(head + 9, 4),
    };
}

/* Heads and bytes of the entries: types, terms, sizes, configurations. */
static const char *check_entries(const struct wire_append *append, size_t data_left)
{
    uint64_t term_before = append->prev_term;
    const uint8_t *data = append->data;
    for (uint32_t i = 0; i < append->count; i++) {
        struct wire_entry entry = entry_head(append->heads + (size_t)i * WIRE_ENTRY_HEAD_BYTES);
        if (entry.type < LOG_COMMAND || entry.type > LOG_CHANGE) {
            return "entry of an unknown type";
        }
        if (entry.term == 0 || entry.term < term_before || entry.term > append->term) {
            return "entry with a term out of order";
        }
        if (entry.size > data_left) {
            return "entry longer than its frame";
        }
        if (entry.type == LOG_CHANGE && !wire_configuration_valid(data, entry.size)) {
            return "configuration that does not decode";
        }
        term_before = entry.term;
        data += entry.size;
        data_left -= entry.size;
    }
    return data_left > 0 ? "bytes after the last entry" : NULL;
}

static const char *decode_append(struct reader *reader, struct wire_append *append)
{
    append->version = read_u8(reader);
    append->term = read_number(reader);
    append->prev_index = read_number(reader);
    append->prev_term = read_number(reader);
    append->leader_commit = read_number(reader);
    append->count = read_u32(reader);
    if (reader->failed) {
        return NULL;
    }
    if (append->term == 0 || append->prev_term > append->term) {
        return "append with a term out of order";
    }
    if ((append->prev_index == 0) != (append->prev_term == 0)) {
        return "append whose previous entry has an index or a term only";
    }
    if (append->count > WIRE_APPEND_ENTRIES_MAX) {
        return "append with too many entries";
    }
    append->heads = read_bytes(reader, (size_t)append->count * WIRE_ENTRY_HEAD_BYTES);
    append->data = reader->at;
    if (reader->failed) {
        return NULL;
    }
    const char *why = check_entries(append, reader->left);
    (void)read_bytes(reader, reader->left);
    return why;
}

static const char *decode_append_result(struct reader *reader, struct raft_append_entries_result *result)
{
    result->version = read_u8(reader);
    result->term = read_number(reader);
    result->rejected = read_number(reader);
    result->last_log_index = read_number(reader);
    result->features = read_u16(reader);
    result->capacity = read_u16(reader);
    if (result->term == 0) {
        return "append result without a term";
    }
    if (result->rejected > 0 && result->last_log_index >= result->rejected) {
        return "append result that rejects what it says to have";
    }
    return NULL;
}

static const char *decode_vote(struct reader *reader, struct raft_request_vote *vote)
{
    vote->version = read_u8(reader);
    vote->term = read_number(reader);
    vote->candidate_id = read_u64(reader);
    vote->last_log_index = read_number(reader);
    vote->last_log_term = read_number(reader);
    vote->disrupt_leader = read_bool(reader);
    vote->pre_vote = read_bool(reader);
    if (vote->term == 0 || vote->last_log_term > vote->term) {
        return "vote request with a term out of order";
    }
    if ((vote->last_log_index == 0) != (vote->last_log_term == 0)) {
        return "vote request whose last entry has an index or a term only";
    }
    return NULL;
}

static const char *decode_vote_result(struct reader *reader, struct raft_request_vote_result *result)
{
    result->version = read_u8(reader);
    result->term = read_number(reader);
    result->vote_granted = read_bool(reader);
    result->pre_vote = read_bool(reader);
    result->features = read_u16(reader);
    result->capacity = read_u16(reader);
    return result->term == 0 ? "vote result without a term" : NULL;
}

static const char *decode_timeout_now(struct reader *reader, struct raft_timeout_now *message)
{
    message->version = read_u8(reader);
    message->term = read_number(reader);
    message->last_log_index = read_number(reader);
    message->last_log_term = read_number(reader);
    return message->term == 0 || message->last_log_term > message->term ? "timeout-now with a term out of order" : NULL;
}

static const char *decode_read(struct reader *reader, struct wire_read *read, bool answer)
{
    read->term = read_number(reader);
    read->nonce = read_u64(reader);
    read->yes = answer ? read_bool(reader) : false;
    return NULL;
}

static const char *decode_snapshot_begin(struct reader *reader, struct wire_snapshot_begin *begin)
{
    begin->stream = read_u64(reader);
    begin->term = read_number(reader);
    begin->index = read_number(reader);
    begin->last_term = read_number(reader);
    begin->configuration_index = read_number(reader);
    begin->body_bytes = read_number(reader);
    const uint8_t *digest = read_bytes(reader, sizeof begin->digest);
    begin->configuration_size = read_u32(reader);
    begin->configuration = read_bytes(reader, begin->configuration_size);
    if (reader->failed) {
        return NULL;
    }
    memcpy(begin->digest, digest, sizeof begin->digest);
    if (begin->index == 0 || begin->last_term == 0 || begin->last_term > begin->term) {
        return "snapshot without an index or with a term out of order";
    }
    if (begin->configuration_index == 0 || begin->configuration_index > begin->index ||
        !wire_configuration_valid(begin->configuration, begin->configuration_size)) {
        return "snapshot with a configuration that does not decode";
    }
    return NULL;
}

static const char *decode_snapshot_chunk(struct reader *reader, struct wire_snapshot_chunk *chunk)
{
    chunk->stream = read_u64(reader);
    chunk->offset = read_number(reader);
    chunk->size = reader->left;
    chunk->data = read_bytes(reader, reader->left);
    return chunk->size == 0 ? "empty snapshot chunk" : NULL;
}

static const char *decode_snapshot_ack(struct reader *reader, struct wire_snapshot_ack *ack)
{
    ack->stream = read_u64(reader);
    ack->received = read_number(reader);
    uint8_t state = read_u8(reader);
    ack->state = (enum wire_snapshot_state)state;
    return state > WIRE_SNAPSHOT_REFUSED ? "snapshot ack with an unknown state" : NULL;
}

static const char *decode_body(struct reader *reader, struct wire_frame *frame)
{
    switch (frame->kind) {
    case WIRE_INTRODUCTION:
        return decode_introduction(reader, &frame->introduction);
    case WIRE_APPEND:
        return decode_append(reader, &frame->append);
    case WIRE_APPEND_RESULT:
        return decode_append_result(reader, &frame->append_result);
    case WIRE_VOTE:
        return decode_vote(reader, &frame->vote);
    case WIRE_VOTE_RESULT:
        return decode_vote_result(reader, &frame->vote_result);
    case WIRE_TIMEOUT_NOW:
        return decode_timeout_now(reader, &frame->timeout_now);
    case WIRE_READ_PROBE:
    case WIRE_READ_ANSWER:
        return decode_read(reader, &frame->read, frame->kind == WIRE_READ_ANSWER);
    case WIRE_SNAPSHOT_BEGIN:
        return decode_snapshot_begin(reader, &frame->snapshot_begin);
    case WIRE_SNAPSHOT_CHUNK:
        return decode_snapshot_chunk(reader, &frame->snapshot_chunk);
    case WIRE_SNAPSHOT_END:
        frame->snapshot_end = read_u64(reader);
        return NULL;
    case WIRE_SNAPSHOT_ACK:
        return decode_snapshot_ack(reader, &frame->snapshot_ack);
    }
    return "frame of an unknown kind";
}

const char *wire_decode(const void *data, size_t size, struct wire_frame *ret_frame)
{
    struct reader reader = {.at = data, .left = size};
    struct wire_frame frame;
    memset(&frame, 0, sizeof frame);
    if (size > LINK_FRAME_BYTES_MAX) {
        return "frame too long";
    }
    frame.kind = (enum wire_kind)read_u8(&reader);
    const char *why = decode_body(&reader, &frame);
    if (reader.failed) {
        return why != NULL ? why : "frame too short or with a number out of range";
    }
    if (why == NULL && reader.left > 0) {
        why = "bytes after the end of the frame";
    }
    if (why == NULL) {
        *ret_frame = frame;
    }
    return why;
}

struct wire_entry wire_append_next(struct wire_append *append)
{
    LOCKSTEP_ASSERT(append->count > 0);
    struct wire_entry entry = entry_head(append->heads);
    entry.data = append->data;
    append->heads += WIRE_ENTRY_HEAD_BYTES;
    append->data += entry.size;
    append->count--;
    return entry;
}

/* ---- configurations: u8 format 1, u64 n, n times {u64 id, address with its 0, u8 role}, zeros to a multiple of 8 ---- */

static bool address_valid(const uint8_t *address, size_t size)
{
    const uint8_t *space = memchr(address, ' ', size);
    if (space == NULL || size > WIRE_ADDRESS_BYTES_MAX) {
        return false;
    }
    size_t first = (size_t)(space - address), second = size - first - 1;
    return first > 0 && first <= 255 && second > 0 && second <= 255 && memchr(space + 1, ' ', second) == NULL;
}

static bool server_valid(struct reader *reader)
{
    uint64_t id = read_u64(reader);
    const uint8_t *end = reader->failed || reader->left == 0 ? NULL : memchr(reader->at, 0, reader->left);
    if (end == NULL || id == 0 || !address_valid(reader->at, (size_t)(end - reader->at))) {
        return false;
    }
    (void)read_bytes(reader, (size_t)(end - reader->at) + 1);
    uint8_t role = read_u8(reader);
    return !reader->failed && (role == RAFT_STANDBY || role == RAFT_VOTER || role == RAFT_SPARE);
}

/* Equal ids or addresses are found by libraft itself, once the bounds are known to be good. */
static bool decodes(const void *data, size_t size)
{
    struct raft_buffer buffer = {.base = (void *)(uintptr_t)data, .len = size};
    struct raft_configuration configuration;
    if (raft_configuration_decode(&buffer, &configuration) != 0) {
        return false;
    }
    raft_configuration_close(&configuration);
    return true;
}

bool wire_configuration_valid(const void *data, size_t size)
{
    struct reader reader = {.at = data, .left = size};
    if (size == 0 || size > WIRE_CONFIGURATION_BYTES_MAX || read_u8(&reader) != 1) {
        return false;
    }
    uint64_t count = read_u64(&reader);
    if (reader.failed || count == 0 || count > WIRE_SERVERS_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!server_valid(&reader)) {
            return false;
        }
    }
    if (reader.left >= 8) {
        return false;
    }
    for (size_t i = 0; i < reader.left; i++) {
        if (reader.at[i] != 0) {
            return false;
        }
    }
    return decodes(data, size);
}

/* ---- encoding ---- */

struct writer {
    uint8_t *at;
};

static void write_integer(struct writer *writer, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        *writer->at++ = (uint8_t)(value >> (8 * i));
    }
}

static void write_u64(struct writer *writer, uint64_t value)
{
    write_integer(writer, value, 8);
}

static void write_u8(struct writer *writer, uint8_t value)
{
    write_integer(writer, value, 1);
}

static void encode_introduction(struct writer *writer, const struct wire_introduction *introduction)
{
    write_u8(writer, WIRE_VERSION);
    write_u64(writer, introduction->incarnation);
    write_u8(writer, introduction->formed);
    write_u64(writer, introduction->knows);
    write_u64(writer, introduction->list_digest);
}

static void encode_append(struct writer *writer, const struct wire_append *append)
{
    write_u8(writer, append->version);
    write_u64(writer, append->term);
    write_u64(writer, append->prev_index);
    write_u64(writer, append->prev_term);
    write_u64(writer, append->leader_commit);
    write_integer(writer, append->count, 4);
}

static void encode_append_result(struct writer *writer, const struct raft_append_entries_result *result)
{
    write_u8(writer, result->version);
    write_u64(writer, result->term);
    write_u64(writer, result->rejected);
    write_u64(writer, result->last_log_index);
    write_integer(writer, result->features, 2);
    write_integer(writer, result->capacity, 2);
}

static void encode_vote(struct writer *writer, const struct raft_request_vote *vote)
{
    write_u8(writer, vote->version);
    write_u64(writer, vote->term);
    write_u64(writer, vote->candidate_id);
    write_u64(writer, vote->last_log_index);
    write_u64(writer, vote->last_log_term);
    write_u8(writer, vote->disrupt_leader);
    write_u8(writer, vote->pre_vote);
}

static void encode_vote_result(struct writer *writer, const struct raft_request_vote_result *result)
{
    write_u8(writer, result->version);
    write_u64(writer, result->term);
    write_u8(writer, result->vote_granted);
    write_u8(writer, result->pre_vote);
    write_integer(writer, result->features, 2);
    write_integer(writer, result->capacity, 2);
}

static void encode_timeout_now(struct writer *writer, const struct raft_timeout_now *message)
{
    write_u8(writer, message->version);
    write_u64(writer, message->term);
    write_u64(writer, message->last_log_index);
    write_u64(writer, message->last_log_term);
}

static void encode_snapshot_begin(struct writer *writer, const struct wire_snapshot_begin *begin)
{
    write_u64(writer, begin->stream);
    write_u64(writer, begin->term);
    write_u64(writer, begin->index);
    write_u64(writer, begin->last_term);
    write_u64(writer, begin->configuration_index);
    write_u64(writer, begin->body_bytes);
    memcpy(writer->at, begin->digest, sizeof begin->digest);
    writer->at += sizeof begin->digest;
    write_integer(writer, begin->configuration_size, 4);
}

static void encode_read(struct writer *writer, const struct wire_read *read, bool answer)
{
    write_u64(writer, read->term);
    write_u64(writer, read->nonce);
    if (answer) {
        write_u8(writer, read->yes);
    }
}

static void encode_snapshot_ack(struct writer *writer, const struct wire_snapshot_ack *ack)
{
    write_u64(writer, ack->stream);
    write_u64(writer, ack->received);
    write_u8(writer, (uint8_t)ack->state);
}

size_t wire_encode_head(const struct wire_frame *frame, uint8_t *out)
{
    struct writer writer = {.at = out};
    write_u8(&writer, (uint8_t)frame->kind);
    switch (frame->kind) {
    case WIRE_INTRODUCTION:
        encode_introduction(&writer, &frame->introduction);
        break;
    case WIRE_APPEND:
        encode_append(&writer, &frame->append);
        break;
    case WIRE_APPEND_RESULT:
        encode_append_result(&writer, &frame->append_result);
        break;
    case WIRE_VOTE:
        encode_vote(&writer, &frame->vote);
        break;
    case WIRE_VOTE_RESULT:
        encode_vote_result(&writer, &frame->vote_result);
        break;
    case WIRE_TIMEOUT_NOW:
        encode_timeout_now(&writer, &frame->timeout_now);
        break;
    case WIRE_READ_PROBE:
    case WIRE_READ_ANSWER:
        encode_read(&writer, &frame->read, frame->kind == WIRE_READ_ANSWER);
        break;
    case WIRE_SNAPSHOT_BEGIN:
        encode_snapshot_begin(&writer, &frame->snapshot_begin);
        break;
    case WIRE_SNAPSHOT_CHUNK:
        write_u64(&writer, frame->snapshot_chunk.stream);
        write_u64(&writer, frame->snapshot_chunk.offset);
        break;
    case WIRE_SNAPSHOT_END:
        write_u64(&writer, frame->snapshot_end);
        break;
    case WIRE_SNAPSHOT_ACK:
        encode_snapshot_ack(&writer, &frame->snapshot_ack);
        break;
    }
    size_t size = (size_t)(writer.at - out);
    LOCKSTEP_ASSERT(size <= WIRE_HEAD_BYTES_MAX);
    return size;
}

void wire_encode_entry_head(const struct log_entry *entry, uint8_t *out)
{
    struct writer writer = {.at = out};
    write_u64(&writer, entry->term);
    write_u8(&writer, entry->type);
    write_integer(&writer, entry->size, 4);
}
