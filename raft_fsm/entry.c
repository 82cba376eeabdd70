/* Owns the bytes of log entries. Reading is total and strict: any byte that this version does not understand, or that is
 * left over, refuses the entry (the layout is in entry.h), because replicas of two versions that read one entry
 * differently would part ways. */
#include "raft_fsm/entry.h"

#include <string.h>

#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/limits.h"
#include "protocol/pack.h"
#include "raft_fsm/reader.h"
#include "raft_fsm/state.h"

enum {
    OUTER_ELEMENTS = 3, /* version, time, count; the commands follow */
    OUTER_BYTES = 5,    /* array 32 */
    COUNT_BYTES = 5,    /* uint 32 */
};

uint64_t fsm_entry_proof(const uint8_t digest[PROTO_DIGEST_BYTES])
{
    uint64_t proof = 0;
    for (unsigned i = 0; i < sizeof proof; i++) {
        proof |= (uint64_t)digest[i] << (8 * i);
    }
    return proof;
}

/* ---- writing ---- */

/* A tag and four bytes, big-endian. */
static void fill_fixed(uint8_t *at, uint8_t tag, uint32_t value)
{
    at[0] = tag;
    at[1] = (uint8_t)(value >> 24);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 8);
    at[4] = (uint8_t)value;
}

void fsm_entry_begin(struct fsm_entry_writer *writer, struct proto_buffer *buffer, struct cluster_time time)
{
    *writer = (struct fsm_entry_writer){.buffer = buffer, .begin = buffer->size};
    uint8_t fixed[OUTER_BYTES];
    fill_fixed(fixed, 0xdd, OUTER_ELEMENTS);
    (void)proto_buffer_append(buffer, fixed, sizeof fixed); /* a buffer that fails is marked */
    pack_uint(buffer, FSM_ENTRY_VERSION);
    pack_uint(buffer, time.ms);
    writer->count_position = buffer->size;
    fill_fixed(fixed, 0xce, 0);
    (void)proto_buffer_append(buffer, fixed, sizeof fixed);
    LOCKSTEP_ASSERT(!buffer->failed);
}

static void write_command(struct proto_buffer *buffer, const struct fsm_command *command)
{
    bool open = command->kind == PROTO_SESSION_OPEN;
    pack_array(buffer, open ? 7 : 6);
    pack_uint(buffer, (uint64_t)command->kind);
    pack_uint(buffer, command->request_id);
    pack_uint(buffer, command->session_id);
    pack_uint(buffer, command->proof);
    pack_uint(buffer, command->ack_floor);
    proto_encode_request_body(buffer, command->kind, &command->body);
    if (open) {
        pack_binary(buffer, (struct proto_bytes){command->digest, sizeof command->digest});
    }
}

bool fsm_entry_add(struct fsm_entry_writer *writer, const struct fsm_command *command)
{
    struct proto_buffer *buffer = writer->buffer;
    size_t size_before = buffer->size;
    if (writer->count >= FSM_ENTRY_COMMANDS_MAX) {
        return false;
    }
    write_command(buffer, command);
    if (buffer->failed || buffer->size - writer->begin > FSM_ENTRY_BYTES_MAX) {
        buffer->size = size_before;
        buffer->failed = false;
        return false;
    }
    writer->count++;
    return true;
}

void fsm_entry_end(struct fsm_entry_writer *writer)
{
    uint8_t *data = writer->buffer->data;
    fill_fixed(data + writer->begin, 0xdd, OUTER_ELEMENTS + writer->count);
    fill_fixed(data + writer->count_position, 0xce, writer->count);
}

/* ---- reading ---- */

static bool refuse(struct proto_error *ret_error, enum proto_status status, const char *detail)
{
    ret_error->status = status;
    size_t size = strlen(detail);
    LOCKSTEP_ASSERT(size < sizeof ret_error->detail);
    memcpy(ret_error->detail, detail, size + 1);
    return false;
}

bool fsm_entry_open(struct fsm_entry_reader *reader, const void *data, size_t size,
                    struct proto_error *ret_error)
{
    struct reader in;
    if (size > FSM_ENTRY_BYTES_MAX) {
        return refuse(ret_error, PROTO_STATUS_MALFORMED, "entry: larger than any entry may be");
    }
    fsm_reader_init(&in, data, size);
    uint32_t elements = fsm_reader_array(&in);
    uint64_t version = fsm_reader_uint(&in);
    if (!in.failed && version != FSM_ENTRY_VERSION) {
        return refuse(ret_error, PROTO_STATUS_UNSUPPORTED,
                      "entry: of a version that this node does not know");
    }
    uint64_t time_ms = fsm_reader_uint_max(&in, FSM_TIME_MS_MAX);
    uint64_t count = fsm_reader_uint_max(&in, FSM_ENTRY_COMMANDS_MAX);
    if (in.failed || elements != OUTER_ELEMENTS + count) {
        return refuse(ret_error, PROTO_STATUS_MALFORMED, "entry: its head can not be read");
    }
    *reader = (struct fsm_entry_reader){
        .time = {.ms = time_ms},
        .count = (uint32_t)count,
        .rest = {.data = in.at, .size = (uint32_t)(in.end - in.at)},
    };
    return true;
}

static bool read_digest(struct reader *in, struct fsm_command *ret_command)
{
    struct proto_bytes digest = fsm_reader_bytes(in, PROTO_DIGEST_BYTES);
    if (in->failed || digest.size != PROTO_DIGEST_BYTES) {
        return false;
    }
    memcpy(ret_command->digest, digest.data, PROTO_DIGEST_BYTES);
    return true;
}

static bool read_body(struct reader *in, struct fsm_command *ret_command, struct proto_error *ret_error)
{
    struct proto_bytes rest = {.data = in->at, .size = (uint32_t)(in->end - in->at)};
    if (!proto_decode_request_body(&rest, ret_command->kind, &ret_command->body, ret_error)) {
        return false;
    }
    in->at = rest.data;
    return true;
}

bool fsm_entry_next(struct fsm_entry_reader *reader, struct fsm_command *ret_command,
                    struct proto_error *ret_error)
{
    ret_error->status = PROTO_STATUS_OK;
    ret_error->detail[0] = '\0';
    if (reader->next == reader->count) {
        return reader->rest.size == 0 ? false
                                      : refuse(ret_error, PROTO_STATUS_MALFORMED,
                                               "entry: bytes are left over behind the commands");
    }
    struct reader in;
    fsm_reader_init(&in, reader->rest.data, reader->rest.size);
    uint32_t elements = fsm_reader_array(&in);
    uint64_t kind = fsm_reader_uint(&in);
    const struct proto_operation *operation = in.failed ? NULL : proto_operation_find(kind);
    if (operation == NULL || operation->served_by != PROTO_LOG) {
        return refuse(ret_error, PROTO_STATUS_UNSUPPORTED, "entry: a command that this node does not know");
    }
    memset(ret_command, 0, sizeof *ret_command);
    ret_command->kind = operation->kind;
    ret_command->request_id = fsm_reader_uint(&in);
    ret_command->session_id = fsm_reader_uint(&in);
    ret_command->proof = fsm_reader_uint(&in);
    ret_command->ack_floor = fsm_reader_uint(&in);
    bool open = operation->kind == PROTO_SESSION_OPEN;
    if (in.failed || elements != (open ? 7 : 6)) {
        return refuse(ret_error, PROTO_STATUS_MALFORMED, "entry: a command's head can not be read");
    }
    if (!read_body(&in, ret_command, ret_error)) {
        return false;
    }
    if (open && !read_digest(&in, ret_command)) {
        return refuse(ret_error, PROTO_STATUS_MALFORMED, "entry: session.open without a digest of 16 bytes");
    }
    reader->rest = (struct proto_bytes){.data = in.at, .size = (uint32_t)(in.end - in.at)};
    reader->next++;
    return true;
}
