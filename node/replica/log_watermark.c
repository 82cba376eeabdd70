/* The watermark: up to which record writes were acknowledged. Written after every write's sync, itself unsynced: it
 * survives the end of the process at any instant, and by a sync now and then most of it survives the loss of power (the
 * records themselves attest the rest: log_format.h, `batch`).
 *
 * File "log/watermark", two slots at 0 and 4096, 48 bytes each:
 *
 *    0   8  magic "LSMARK" and two zeros
 *    8   4  version, 1
 *   12   4  CRC-32C of bytes 0..11 and 16..47
 *   16   8  serial: the valid slot with the greater one counts
 *   24   8  sequence: records up to it were durable
 *   32   8  cluster id
 *   40   8  node id
 *
 * One slot is overwritten until it is synced, then the other: a torn write or lost sync leaves a valid one. */
#include <errno.h>
#include <string.h>

#include "node/replica/crc32c.h"
#include "node/replica/little_endian.h"
#include "node/replica/log_internal.h"

enum { MARK_BYTES = 48, MARK_SLOT_BYTES = 4096, MARK_VERSION = 1 };

static const uint8_t magic[8] = {'L', 'S', 'M', 'A', 'R', 'K', 0, 0};
static const char name[] = "log/watermark";

static uint32_t checksum(const uint8_t *bytes)
{
    return crc32c(crc32c(0, bytes, 12), bytes + 16, MARK_BYTES - 16);
}

static void encode(const struct log *log, uint8_t *out)
{
    memcpy(out, magic, sizeof magic);
    put_u32(out + 8, MARK_VERSION);
    put_u64(out + 16, log->watermark.serial);
    put_u64(out + 24, log->watermark.sequence);
    put_u64(out + 32, log->options.cluster_id);
    put_u64(out + 40, log->options.node_id);
    put_u32(out + 12, checksum(out));
}

static bool is_valid(const uint8_t *bytes)
{
    return memcmp(bytes, magic, sizeof magic) == 0 && get_u32(bytes + 8) == MARK_VERSION &&
           get_u32(bytes + 12) == checksum(bytes);
}

/* A directory in which nothing was acknowledged is nobody's: a first start with wrong ids may be followed by another. */
static bool is_ours(const struct log *log, const uint8_t *bytes)
{
    return get_u64(bytes + 24) == 0 ||
           (get_u64(bytes + 32) == log->options.cluster_id && get_u64(bytes + 40) == log->options.node_id);
}

/* The slot that counts may be in the kernel's memory only, as the end of a process or a failed sync left it: it is written
 * once more, unchanged, and synced, before the other one is touched. */
static bool confirm(struct log *log, struct log_failure *failure)
{
    struct log_watermark *mark = &log->watermark;
    uint8_t bytes[MARK_BYTES];
    uint64_t offset = (1 - mark->slot) * (uint64_t)MARK_SLOT_BYTES;
    encode(log, bytes);
    return log_check(failure, log->disk->ops->write(log->disk, mark->file, bytes, sizeof bytes, offset),
                     "write to", name) &&
           log_check(failure, log->disk->ops->sync(log->disk, mark->file), "sync", name);
}

bool log_watermark_open(struct log *log, enum log_watermark_state *ret_state, struct log_failure *failure)
{
    struct log_watermark *mark = &log->watermark;
    *ret_state = LOG_WATERMARK_BAD;
    int rv = log->disk->ops->open(log->disk, name, DISK_READ | DISK_WRITE, &mark->file);
    if (rv == -ENOENT) {
        *ret_state = LOG_WATERMARK_MISSING;
        return true;
    }
    if (!log_check(failure, rv, "open", name)) {
        return false;
    }
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t bytes[MARK_BYTES];
        int64_t count =
            log->disk->ops->read(log->disk, mark->file, bytes, sizeof bytes, slot * MARK_SLOT_BYTES);
        if (!log_check(failure, count, "read", name)) {
            return false;
        }
        if (count == MARK_BYTES && is_valid(bytes) && get_u64(bytes + 16) > mark->serial) {
            *ret_state = is_ours(log, bytes) ? LOG_WATERMARK_VALID : LOG_WATERMARK_FOREIGN;
            mark->serial = get_u64(bytes + 16);
            mark->sequence = get_u64(bytes + 24);
            mark->slot = 1 - slot;
        }
    }
    return *ret_state != LOG_WATERMARK_VALID || confirm(log, failure);
}

bool log_watermark_create(struct log *log, struct log_failure *failure)
{
    struct log_watermark *mark = &log->watermark;
    int rv = 0;
    if (mark->file == NULL) {
        rv = log->disk->ops->open(log->disk, name, DISK_READ | DISK_WRITE | DISK_CREATE, &mark->file);
    }
    return log_check(failure, rv, "create", name) &&
           log_check(failure,
                     log->disk->ops->allocate(log->disk, mark->file, MARK_SLOT_BYTES + MARK_BYTES),
                     "reserve space for", name) &&
           log_watermark_write(log, 0, true, failure) &&
           log_check(failure, log->disk->ops->sync_dir(log->disk, "log"), "sync directory", "log");
}

bool log_watermark_write(struct log *log, uint64_t sequence, bool sync, struct log_failure *failure)
{
    struct log_watermark *mark = &log->watermark;
    uint8_t bytes[MARK_BYTES];
    LOCKSTEP_ASSERT(sequence >= mark->sequence);
    mark->sequence = sequence;
    mark->serial++;
    encode(log, bytes);
    if (!log_check(
            failure,
            log->disk->ops->write(log->disk, mark->file, bytes, sizeof bytes, mark->slot * MARK_SLOT_BYTES),
            "write to", name)) {
        return false;
    }
    mark->unsynced++;
    if (!sync && mark->unsynced < LOG_WATERMARK_SYNC_WRITES) {
        return true;
    }
    mark->unsynced = 0;
    mark->slot = 1 - mark->slot;
    return log_check(failure, log->disk->ops->sync(log->disk, mark->file), "sync", name);
}
