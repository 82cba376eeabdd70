/* The bytes of a snapshot file. All numbers are little-endian.
 *
 * Header, 64 bytes, then the configuration:
 *
 *    0   8  magic "LSSNAP" and two zeros
 *    8   4  version, 1
 *   12   4  CRC-32C of bytes 0..11, 16..63 and the configuration
 *   16   8  cluster id
 *   24   8  index of the last entry that the snapshot contains
 *   32   8  its term
 *   40   8  index of the configuration
 *   48   4  size of the configuration
 *   52  12  zeros
 *   64   …  configuration
 *
 * Chunks of the body:
 *
 *    0   4  size, 1..262144
 *    4   4  CRC-32C of: the chunk's offset in the body (8 bytes), its size (4 bytes), the data
 *    8   …  data
 *
 * Trailer, 32 bytes, after which the file ends:
 *
 *    0   4  0
 *    4   4  CRC-32C of bytes 8..31
 *    8   8  size of the body
 *   16  16  XXH3-128 of the body, in its canonical (big-endian) form */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/crc32c.h"
#include "node/replica/little_endian.h"
#include "node/replica/snapshots_internal.h"

static const uint8_t magic[8] = {'L', 'S', 'S', 'N', 'A', 'P', 0, 0};

/* ---- names ---- */

void snapshot_name(uint64_t index, uint64_t term, bool part, char ret_name[SNAPSHOT_NAME_BYTES])
{
    (void)snprintf(ret_name, SNAPSHOT_NAME_BYTES, "snapshot/%020" PRIu64 "-%020" PRIu64 ".snap%s", index,
                   term, part ? ".part" : "");
}

/* Exactly twenty digits. @return what follows them, or NULL. */
static const char *parse_number(const char *at, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (int i = 0; i < 20; i++, at++) {
        if (*at < '0' || *at > '9') {
            return NULL;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ret_number = number;
    return at;
}

bool snapshot_name_parse(const char *entry, uint64_t *ret_index, uint64_t *ret_term)
{
    const char *at = parse_number(entry, ret_index);
    at = at != NULL && *at == '-' ? parse_number(at + 1, ret_term) : NULL;
    return at != NULL && strcmp(at, ".snap") == 0;
}

/* ---- encoding ---- */

static uint32_t header_checksum(const uint8_t *bytes, const uint8_t *configuration, size_t configuration_size)
{
    uint32_t crc = crc32c(crc32c(0, bytes, 12), bytes + 16, SNAPSHOT_HEADER_BYTES - 16);
    return crc32c(crc, configuration, configuration_size);
}

size_t snapshot_header_encode(const struct snapshot_info *info, uint64_t cluster_id, uint8_t *out)
{
    LOCKSTEP_ASSERT(info->configuration_size <= SNAPSHOT_CONFIGURATION_BYTES_MAX);
    memset(out, 0, SNAPSHOT_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, SNAPSHOT_VERSION);
    put_u64(out + 16, cluster_id);
    put_u64(out + 24, info->index);
    put_u64(out + 32, info->term);
    put_u64(out + 40, info->configuration_index);
    put_u32(out + 48, info->configuration_size);
    memcpy(out + SNAPSHOT_HEADER_BYTES, info->configuration, info->configuration_size);
    put_u32(out + 12, header_checksum(out, info->configuration, info->configuration_size));
    return SNAPSHOT_HEADER_BYTES + info->configuration_size;
}

static uint32_t chunk_checksum(uint64_t body_offset, const void *data, uint32_t size)
{
    uint8_t place[12];
    put_u64(place, body_offset);
    put_u32(place + 8, size);
    return crc32c(crc32c(0, place, sizeof place), data, size);
}

void snapshot_chunk_header_encode(uint64_t body_offset, const void *data, uint32_t size, uint8_t *out)
{
    LOCKSTEP_ASSERT(size > 0 && size <= SNAPSHOT_CHUNK_BYTES_MAX);
    put_u32(out, size);
    put_u32(out + 4, chunk_checksum(body_offset, data, size));
}

void snapshot_trailer_encode(uint64_t body_bytes, const uint8_t digest[16], uint8_t *out)
{
    put_u32(out, 0);
    put_u64(out + 8, body_bytes);
    memcpy(out + 16, digest, 16);
    put_u32(out + 4, crc32c(0, out + 8, SNAPSHOT_TRAILER_BYTES - 8));
}

void snapshot_digest(const XXH3_state_t *state, uint8_t ret_digest[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(ret_digest, canonical.digest, 16);
}

/* ---- reading ---- */

static int bad(struct snapshot_stream *stream, const char *problem)
{
    stream->problem = problem;
    return -EBADMSG;
}

/* Read all of `size` bytes at the stream's place. */
static int read_all(struct snapshot_stream *stream, void *data, size_t size)
{
    int64_t got = stream->disk->ops->read(stream->disk, stream->file, data, size, stream->offset);
    if (got < 0) {
        stream->problem = strerror((int)-got);
        return (int)got;
    }
    if ((size_t)got != size) {
        return bad(stream, "it ends early");
    }
    stream->offset += size;
    return 0;
}

static int read_header(struct snapshot_stream *stream, uint64_t cluster_id, struct snapshot_info *info)
{
    uint8_t bytes[SNAPSHOT_HEADER_BYTES];
    int rv = read_all(stream, bytes, sizeof bytes);
    if (rv != 0) {
        return rv;
    }
    info->configuration_size = get_u32(bytes + 48);
    if (memcmp(bytes, magic, sizeof magic) != 0 ||
        info->configuration_size > SNAPSHOT_CONFIGURATION_BYTES_MAX) {
        return bad(stream, "its header is damaged");
    }
    rv = read_all(stream, info->configuration, info->configuration_size);
    if (rv != 0) {
        return rv;
    }
    if (get_u32(bytes + 12) != header_checksum(bytes, info->configuration, info->configuration_size)) {
        return bad(stream, "its header is damaged");
    }
    if (get_u32(bytes + 8) != SNAPSHOT_VERSION) {
        return bad(stream, "it was written by a version of this program with another format");
    }
    if (get_u64(bytes + 16) != cluster_id) {
        return bad(stream, "it belongs to another cluster");
    }
    info->index = get_u64(bytes + 24);
    info->term = get_u64(bytes + 32);
    info->configuration_index = get_u64(bytes + 40);
    return 0;
}

int snapshot_stream_open(struct snapshot_stream *stream, struct disk *disk, uint64_t cluster_id,
                         const char *name, struct snapshot_info *ret_info)
{
    memset(stream, 0, sizeof *stream);
    stream->disk = disk;
    int rv = disk->ops->open(disk, name, DISK_READ, &stream->file);
    if (rv != 0) {
        stream->file = NULL;
        stream->problem = strerror(-rv);
        return rv;
    }
    stream->digest = XXH3_createState();
    LOCKSTEP_ASSERT(stream->digest != NULL);
    (void)XXH3_128bits_reset(stream->digest);
    return read_header(stream, cluster_id, ret_info);
}

/* The first 8 bytes, which look like a chunk's of size 0, are read. */
static int read_trailer(struct snapshot_stream *stream, uint32_t checksum)
{
    uint8_t bytes[SNAPSHOT_TRAILER_BYTES - SNAPSHOT_CHUNK_HEADER_BYTES], digest[16];
    int rv = read_all(stream, bytes, sizeof bytes);
    if (rv != 0) {
        return rv;
    }
    snapshot_digest(stream->digest, digest);
    if (checksum != crc32c(0, bytes, sizeof bytes) || get_u64(bytes) != stream->body_bytes ||
        memcmp(bytes + 8, digest, sizeof digest) != 0) {
        return bad(stream, "its digest does not match");
    }
    memcpy(stream->trailer_digest, digest, sizeof digest);
    if (stream->disk->ops->size(stream->disk, stream->file) != (int64_t)stream->offset) {
        return bad(stream, "there are bytes after its end");
    }
    return 0;
}

int64_t snapshot_stream_next(struct snapshot_stream *stream, uint8_t *data)
{
    uint8_t head[SNAPSHOT_CHUNK_HEADER_BYTES];
    int rv = read_all(stream, head, sizeof head);
    if (rv != 0) {
        return rv;
    }
    uint32_t size = get_u32(head), checksum = get_u32(head + 4);
    if (size == 0) {
        return read_trailer(stream, checksum);
    }
    if (size > SNAPSHOT_CHUNK_BYTES_MAX) {
        return bad(stream, "a chunk is damaged");
    }
    rv = read_all(stream, data, size);
    if (rv != 0) {
        return rv;
    }
    if (checksum != chunk_checksum(stream->body_bytes, data, size)) {
        return bad(stream, "a chunk is damaged");
    }
    (void)XXH3_128bits_update(stream->digest, data, size);
    stream->body_bytes += size;
    return size;
}

void snapshot_stream_close(struct snapshot_stream *stream)
{
    if (stream->file != NULL) {
        stream->disk->ops->close(stream->disk, stream->file);
    }
    (void)XXH3_freeState(stream->digest);
    stream->file = NULL;
    stream->digest = NULL;
}
