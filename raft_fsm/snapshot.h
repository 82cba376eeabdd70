/* What snapshot.c and restore.c must agree on. Private.
 *
 * The stream:
 *   8 bytes   "LOCKFSM" and a zero byte
 *   u32       SNAPSHOT_VERSION          (all numbers here are little-endian)
 *   blocks    u32 raw length (1 .. SNAPSHOT_BLOCK_BYTES), u32 packed length, u64 XXH3 of the packed bytes with the raw
 *             length as seed, then the packed bytes: one lz4 block
 *
 * The unpacked blocks in a row are records, which may span blocks: u32 length, then one image (image.c).
 * The first record is the globals, the last one is the end; sessions and locks between them, in no defined order.
 *   end       [3, number of sessions, number of locks, digest of the state] */
#ifndef LOCKSTEP_RAFT_FSM_SNAPSHOT_H
#define LOCKSTEP_RAFT_FSM_SNAPSHOT_H

#include <stdint.h>

enum {
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_MAGIC_BYTES = 8,
    SNAPSHOT_PREAMBLE_BYTES = SNAPSHOT_MAGIC_BYTES + 4,
    SNAPSHOT_BLOCK_BYTES = 64 * 1024,
    SNAPSHOT_BLOCK_HEAD_BYTES = 4 + 4 + 8,
    SNAPSHOT_RECORD_HEAD_BYTES = 4,
    /* A lock with every holder and waiter it may have, and their values, stays below this. */
    SNAPSHOT_RECORD_BYTES_MAX = 16 * 1024 * 1024,
    SNAPSHOT_KIND_GLOBALS = 0,
    SNAPSHOT_KIND_END = 3, /* 1 and 2: enum object_kind */
};

#define SNAPSHOT_MAGIC "LOCKFSM"

static inline void snapshot_put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

static inline uint32_t snapshot_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void snapshot_put_u64(uint8_t *at, uint64_t value)
{
    snapshot_put_u32(at, (uint32_t)value);
    snapshot_put_u32(at + 4, (uint32_t)(value >> 32));
}

static inline uint64_t snapshot_get_u64(const uint8_t *at)
{
    return snapshot_get_u32(at) | (uint64_t)snapshot_get_u32(at + 4) << 32;
}

#endif
