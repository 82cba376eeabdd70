/* CRC-32C (Castagnoli), as the processor computes it where it can. */
#ifndef LOCKSTEP_NODE_REPLICA_CRC32C_H
#define LOCKSTEP_NODE_REPLICA_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what came before (0 at first) carried on over `size` more bytes. Any thread. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);
/* The same by tables, for processors without the instruction, and for the test that compares the two. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size);

#endif
