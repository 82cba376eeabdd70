/* The bytes of a log segment. All numbers are little-endian.
 *
 * Segment header, 64 bytes at offset 0, written together with the segment's first records:
 *
 *    0   8  magic "LSLOGSEG"
 *    8   4  version, 1
 *   12   4  CRC-32C of bytes 0..11 and 16..63
 *   16   8  cluster id
 *   24   8  node id
 *   32   8  number of the segment
 *   40   8  sequence of the first record
 *   48   8  index of the entry before the first record's
 *   56   8  its term; 0 if not known
 *
 * Records follow without gaps, each at a multiple of 8:
 *
 *    0   4  CRC-32C of all that follows, padding included, begun with a seed that no client knows
 *    4   4  size of the data
 *    8   8  sequence
 *   16   8  sequence of the first record of the same write
 *   24   8  index
 *   32   8  term
 *   40   4  low half of the segment's number
 *   44   1  kind: 1 command, 2 barrier, 3 configuration; 16 reset (no data: all earlier entries are void, the next
 *           index is index + 1)
 *   45   3  zeros
 *   48   …  data, then zeros up to a multiple of 8
 *
 * Bytes left over from before (a torn write, a file system's reuse) can not pass for a record: sequence and segment are
 * under the checksum, and recovery expects exactly the next sequence. Nor can what clients have in their values, which is in the data
 * as they sent it: they do not know the seed. After the last record there are zeros. */
#include "node/replica/log_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/replica/crc32c.h"
#include "node/replica/little_endian.h"
#include "protocol/assert.h"

static const uint8_t magic[8] = {'L', 'S', 'L', 'O', 'G', 'S', 'E', 'G'};

void log_segment_name(uint64_t number, char ret_name[LOG_NAME_BYTES])
{
    (void)snprintf(ret_name, LOG_NAME_BYTES, "log/%020" PRIu64 ".seg", number);
}

uint64_t log_segment_number(const char *entry)
{
    uint64_t number = 0;
    for (int i = 0; i < 20; i++, entry++) {
        if (*entry < '0' || *entry > '9') {
            return 0;
        }
        number = number * 10 + (uint64_t)(*entry - '0');
    }
    return strcmp(entry, ".seg") == 0 ? number : 0;
}

static uint32_t header_checksum(const uint8_t *bytes)
{
    return crc32c(crc32c(0, bytes, 12), bytes + 16, LOG_SEGMENT_HEADER_BYTES - 16);
}

void log_segment_header_encode(const struct log_segment_header *header, uint8_t *out)
{
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, header->version);
    put_u64(out + 16, header->cluster_id);
    put_u64(out + 24, header->node_id);
    put_u64(out + 32, header->number);
    put_u64(out + 40, header->first_sequence);
    put_u64(out + 48, header->prev_index);
    put_u64(out + 56, header->prev_term);
    put_u32(out + 12, header_checksum(out));
}

bool log_segment_header_decode(const uint8_t *bytes, size_t size, struct log_segment_header *ret_header)
{
    if (size < LOG_SEGMENT_HEADER_BYTES || memcmp(bytes, magic, sizeof magic) != 0 ||
        get_u32(bytes + 12) != header_checksum(bytes)) {
        return false;
    }
    *ret_header = (struct log_segment_header){
        .version = get_u32(bytes + 8),
        .cluster_id = get_u64(bytes + 16),
        .node_id = get_u64(bytes + 24),
        .number = get_u64(bytes + 32),
        .first_sequence = get_u64(bytes + 40),
        .prev_index = get_u64(bytes + 48),
        .prev_term = get_u64(bytes + 56),
    };
    return true;
}

uint64_t log_record_bytes(uint64_t size)
{
    uint64_t bytes = LOG_RECORD_HEADER_BYTES + size;
    return (bytes + LOG_RECORD_ALIGNMENT - 1) / LOG_RECORD_ALIGNMENT * LOG_RECORD_ALIGNMENT;
}

void log_record_encode(const struct log_record *record, uint32_t seed, uint8_t *out)
{
    size_t bytes = (size_t)log_record_bytes(record->size);
    LOCKSTEP_ASSERT(record->sequence > 0 && record->batch > 0 && record->batch <= record->sequence);
    put_u32(out + 4, record->size);
    put_u64(out + 8, record->sequence);
    put_u64(out + 16, record->batch);
    put_u64(out + 24, record->index);
    put_u64(out + 32, record->term);
    put_u32(out + 40, record->segment);
    put_u32(out + 44, record->kind); /* The kind's byte, then three zeros. */
    if (record->size > 0) {
        memcpy(out + LOG_RECORD_HEADER_BYTES, record->data, record->size);
    }
    size_t end = LOG_RECORD_HEADER_BYTES + (size_t)record->size;
    memset(out + end, 0, bytes - end);
    put_u32(out, crc32c(seed, out + 4, bytes - 4));
}

static bool kind_is_known(uint32_t kind)
{
    return (kind >= LOG_RECORD_ENTRY_MIN && kind <= LOG_RECORD_ENTRY_MAX) || kind == LOG_RECORD_RESET;
}

bool log_record_decode(const uint8_t *bytes, size_t available, uint32_t seed, struct log_record *ret_record)
{
    if (available < LOG_RECORD_HEADER_BYTES) {
        return false;
    }
    uint32_t size = get_u32(bytes + 4), kind = get_u32(bytes + 44);
    if (!kind_is_known(kind) || size > available - LOG_RECORD_HEADER_BYTES ||
        log_record_bytes(size) > available ||
        get_u32(bytes) != crc32c(seed, bytes + 4, (size_t)log_record_bytes(size) - 4)) {
        return false;
    }
    *ret_record = (struct log_record){
        .sequence = get_u64(bytes + 8),
        .batch = get_u64(bytes + 16),
        .index = get_u64(bytes + 24),
        .term = get_u64(bytes + 32),
        .segment = get_u32(bytes + 40),
        .size = size,
        .kind = (uint8_t)kind,
        .data = bytes + LOG_RECORD_HEADER_BYTES,
    };
    return true;
}
