/* The bytes of a log segment: its header and its records. Pure functions. */
#ifndef LOCKSTEP_NODE_REPLICA_LOG_FORMAT_H
#define LOCKSTEP_NODE_REPLICA_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOG_FORMAT_VERSION = 1,
    LOG_SEGMENT_HEADER_BYTES = 64,
    LOG_RECORD_HEADER_BYTES = 48,
    LOG_RECORD_ALIGNMENT = 8,
    LOG_NAME_BYTES = 48,
};

/* What a record is; entries have the numbers of enum log_entry_type. */
enum log_record_kind { LOG_RECORD_ENTRY_MIN = 1, LOG_RECORD_ENTRY_MAX = 3, LOG_RECORD_RESET = 16 };

struct log_segment_header {
    uint32_t version;
    uint64_t cluster_id, node_id;
    uint64_t number;         /* as in the file's name */
    uint64_t first_sequence; /* of the first record; every lower one was durable when this was written */
    uint64_t prev_index;     /* index and term of the entry before the first record's */
    uint64_t prev_term;
};

struct log_record {
    uint64_t sequence; /* 1, 2, 3, … over the log's whole life */
    uint64_t batch; /* sequence of the first record of the same write; every lower one was durable by then */
    uint64_t index;
    uint64_t term;
    uint32_t segment; /* low half of the segment's number */
    uint32_t size;
    uint8_t kind;
    const uint8_t *data; /* decoded: points into the segment's bytes */
};

/* "log/00000000000000000001.seg" */
void log_segment_name(uint64_t number, char ret_name[LOG_NAME_BYTES]);
/* The number in a name without its directory, or 0 if it is not a segment's. */
uint64_t log_segment_number(const char *entry);

void log_segment_header_encode(const struct log_segment_header *header, uint8_t *out);
/* @return false if it is not a whole header (of whichever version). */
bool log_segment_header_decode(const uint8_t *bytes, size_t size, struct log_segment_header *ret_header);

/* Bytes of a record on disk with `size` bytes of data. */
uint64_t log_record_bytes(uint64_t size);
/* @param seed  log_options.checksum_seed */
void log_record_encode(const struct log_record *record, uint32_t seed, uint8_t *out);
/* @return false if no whole record begins at `bytes`. */
bool log_record_decode(const uint8_t *bytes, size_t available, uint32_t seed, struct log_record *ret_record);

#endif
