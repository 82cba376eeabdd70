/* CRC-32C: the processor's instruction (several GB/s), or eight tables. Owns nothing but the tables, which are made once. */
#include "node/replica/crc32c.h"

#include <pthread.h>
#include <stdbool.h>

#include "node/replica/little_endian.h"

enum { TABLES = 8 };
static const uint32_t polynomial_reflected = 0x82F63B78U;

static uint32_t tables[TABLES][256]; /* [k][b]: the effect of byte b followed by k zero bytes */
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial_reflected : 0);
        }
        tables[0][byte] = crc;
    }
    for (int k = 1; k < TABLES; k++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = tables[k - 1][byte];
            tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
        }
    }
}

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    (void)pthread_once(&tables_once, make_tables);
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = crc ^ get_u32(at), high = get_u32(at + 4);
        crc = tables[7][low & 0xFF] ^ tables[6][(low >> 8) & 0xFF] ^ tables[5][(low >> 16) & 0xFF] ^
              tables[4][low >> 24] ^ tables[3][high & 0xFF] ^ tables[2][(high >> 8) & 0xFF] ^
              tables[1][(high >> 16) & 0xFF] ^ tables[0][high >> 24];
    }
    for (; size > 0; size--, at++) {
        crc = (crc >> 8) ^ tables[0][(crc ^ *at) & 0xFF];
    }
    return ~crc;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

static __attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t state = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        state = _mm_crc32_u64(state, get_u64(at));
    }
    uint32_t rest = (uint32_t)state;
    for (; size > 0; size--, at++) {
        rest = _mm_crc32_u8(rest, *at);
    }
    return ~rest;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
    return has_instruction ? by_instruction(crc, data, size) : crc32c_by_table(crc, data, size);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_by_table(crc, data, size);
}

#endif
