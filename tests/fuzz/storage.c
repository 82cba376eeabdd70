/* Fuzz target: what a node finds in its directory when it starts: log, metadata and snapshots on a disk in memory. A good
 * directory is made first as the input says, ended by a crash; then bytes of its files are changed, with their checksums
 * made right again or not.
 *
 *   F1  Opening gives a store or a refusal with a message, whatever the bytes are.
 *   F2  Rot (checksums left as they were) of the log is refused, or costs nothing that was acknowledged. A loss of power takes
 *       the watermark back, and then rot of the last write looks like a torn one: so that is asked of whole logs only.
 *   F3  A log that opens has contiguous entries (of rising terms, if nothing was forged), takes one more durably, and has it
 *       after another crash.
 *   F4  Metadata that is found is what was stored, if it only rotted; it can be stored and is found again.
 *   F5  A snapshot that is found can be read to its end, as large as it says. */
#include <stdio.h>
#include <string.h>

#include "node/replica/crc32c.h"
#include "node/replica/log.h"
#include "node/replica/log_format.h"
#include "node/replica/metadata.h"
#include "node/replica/snapshots_internal.h"
#include "protocol/assert.h"
#include "tests/fuzz/input.h"
#include "tests/unit/replica/fake_disk.h"

enum {
    APPENDS_MAX = 24,
    CHANGES_MAX = 24,
    CLUSTER = 9,
    NODE = 3,
    METADATA_BYTES = 512,
    FILES = 5,
    BODY_BYTES_MAX = 1024
};

struct world {
    struct input input;
    struct fake_disk *fake;
    struct log *log;
    struct log_options options;
    uint64_t durable; /* as the log said */
    uint64_t term;
    bool failed;
    struct metadata metadata; /* as stored last */
    bool rot_only;            /* every change left a checksum wrong */
    bool damaged;
    bool log_rotten;
    bool watermark_rotten;
    bool lost_power;
    char message[512];
};

static const char *const files[FILES] = {"log/00000000000000000001.seg", "log/00000000000000000002.seg",
                                         "log/watermark", "metadata-1", "metadata-2"};

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* ---- the log ---- */

static void on_durable(void *ctx, uint64_t index)
{
    struct world *world = ctx;
    world->durable = index;
}

static void on_failed(void *ctx, const char *message)
{
    struct world *world = ctx;
    world->failed = true;
    LOCKSTEP_ASSERT(strlen(message) > 0);
}

/* F1 */
static bool open_log(struct world *world)
{
    struct log_callbacks callbacks = {.durable = on_durable, .failed = on_failed, .ctx = world};
    world->message[0] = '\0';
    world->log = log_open(fake_disk_seam(world->fake), &world->options, &callbacks, 1, 0, 0, world->message,
                          sizeof world->message);
    LOCKSTEP_ASSERT(world->log != NULL || world->message[0] != '\0');
    return world->log != NULL;
}

static void append(struct world *world, uint64_t index, size_t size)
{
    struct log_entry *entry = log_entry_create(index, world->term, LOG_COMMAND, size);
    memset(entry->data, (int)index, size);
    log_append(world->log, &entry, 1);
    log_entry_unref(entry);
}

/* Appends, truncations and flushes. What was truncated is not acknowledged any more. */
static void fill_log(struct world *world)
{
    unsigned appends = input_below(&world->input, APPENDS_MAX);
    for (unsigned i = 0; i < appends; i++) {
        uint8_t how = input_byte(&world->input);
        uint64_t index = log_last_index(world->log) + 1;
        if (how >= 0xe0 && index > log_first_index(world->log)) {
            world->term++;
            uint64_t back = UINT64_C(1) + how % 2;
            index -= back > index - log_first_index(world->log) ? 1 : back;
            world->durable = world->durable >= index ? index - 1 : world->durable;
        }
        append(world, index, how % 16 == 15 ? 3000 : (size_t)(how % 16) * 7);
        if (how % 3 == 0) {
            log_flush(world->log);
            fake_disk_run_all(world->fake);
        }
    }
}

/* The process ends, by itself or with the machine; then the disk has what survived. */
static void crash(struct world *world)
{
    /* The disk in memory would bring unsynced bytes back from before they were damaged. */
    enum fake_end end = input_below(&world->input, 2) == 0 || world->damaged ? FAKE_KILL : FAKE_POWER;
    world->lost_power = end == FAKE_POWER;
    fake_disk_end(world->fake, end);
    fake_disk_run_all(world->fake);
    log_close(world->log);
    world->log = NULL;
    fake_disk_boot(world->fake);
}

/* F3 */
static void check_log(struct world *world)
{
    uint64_t first = log_first_index(world->log);
    uint64_t last = log_last_index(world->log);
    uint64_t term = 0;
    LOCKSTEP_ASSERT(last + 1 >= first);
    for (uint64_t index = first; index <= last; index++) {
        const struct log_entry *entry = log_get(world->log, index);
        LOCKSTEP_ASSERT(entry != NULL && entry->index == index);
        LOCKSTEP_ASSERT(entry->term >= term || !world->rot_only);
        term = entry->term;
    }
    if (last == UINT64_MAX || term == UINT64_MAX) {
        return;
    }
    world->term = term + 1;
    world->durable = last;
    append(world, last + 1, 40);
    log_flush(world->log);
    fake_disk_run_all(world->fake);
    LOCKSTEP_ASSERT(world->durable == last + 1 && !world->failed);
    crash(world);
    bool opened = open_log(world);
    LOCKSTEP_ASSERT(opened);
    LOCKSTEP_ASSERT(log_last_index(world->log) == last + 1);
}

/* ---- damage ---- */

/* Make the checksum right of whatever is at `at`: the segment's header, or a record. */
static void sign_segment(uint8_t *bytes, size_t size, size_t at)
{
    struct log_record record;
    if (size < LOG_SEGMENT_HEADER_BYTES) {
        return;
    }
    if (at < LOG_SEGMENT_HEADER_BYTES) {
        put_u32(bytes + 12, crc32c(crc32c(0, bytes, 12), bytes + 16, LOG_SEGMENT_HEADER_BYTES - 16));
        return;
    }
    size_t from = LOG_SEGMENT_HEADER_BYTES;
    while (from < at && log_record_decode(bytes + from, size - from, 0, &record) &&
           from + log_record_bytes(record.size) <= at) {
        from += (size_t)log_record_bytes(record.size);
    }
    if (size - from < LOG_RECORD_HEADER_BYTES) {
        return;
    }
    uint32_t data_bytes =
        (uint32_t)bytes[from + 4] | (uint32_t)bytes[from + 5] << 8 | (uint32_t)bytes[from + 6] << 16;
    size_t whole = (size_t)log_record_bytes(data_bytes);
    if (whole <= size - from) {
        put_u32(bytes + from, crc32c(0, bytes + from + 4, whole - 4));
    }
}

static void sign(unsigned file, uint8_t *bytes, size_t size, size_t at)
{
    if (file < 2) {
        sign_segment(bytes, size, at);
    } else if (file >= 3 && size == METADATA_BYTES) {
        put_u32(bytes + 12, crc32c(crc32c(0, bytes, 12), bytes + 16, METADATA_BYTES - 16));
    }
}

static void damage(struct world *world)
{
    unsigned changes = input_below(&world->input, CHANGES_MAX);
    for (unsigned i = 0; i < changes && world->input.left > 0; i++) {
        uint8_t how = input_byte(&world->input);
        unsigned file = how % FILES;
        size_t size;
        uint8_t *bytes = fake_disk_bytes(world->fake, files[file], &size);
        size_t at = input_u16(&world->input);
        uint8_t value = input_byte(&world->input);
        if (bytes == NULL || size == 0) {
            continue;
        }
        if (how >= 0xf8) {
            (void)fake_disk_remove(world->fake, files[file]); /* it is there */
            world->damaged = true;
            world->rot_only = false;
            continue;
        }
        world->damaged = true;
        at %= size;
        bytes[at] = (how & 0x40) != 0 ? value : (uint8_t)(bytes[at] ^ value);
        if ((how & 0x20) != 0) {
            sign(file, bytes, size, at);
            world->rot_only = false;
        }
        world->log_rotten = world->log_rotten || file < 2;
        world->watermark_rotten = world->watermark_rotten || file == 2;
    }
}

/* ---- metadata ---- */

static void store_metadata(struct world *world)
{
    world->metadata = (struct metadata){.cluster_id = CLUSTER, .node_id = NODE, .incarnation = 5, .term = 1};
    world->metadata.voted_for = input_below(&world->input, 4);
    world->metadata.formed = input_below(&world->input, 2) == 1;
    world->metadata.known_count = input_below(&world->input, METADATA_KNOWN_MAX + 1);
    bool stored =
        metadata_store(fake_disk_seam(world->fake), &world->metadata, world->message, sizeof world->message);
    LOCKSTEP_ASSERT(stored);
}

/* F4 */
static void check_metadata(struct world *world)
{
    struct metadata found;
    struct metadata again;
    struct disk *disk = fake_disk_seam(world->fake);
    world->message[0] = '\0';
    enum metadata_result result = metadata_load(disk, &found, world->message, sizeof world->message);
    if (result != METADATA_OK) {
        LOCKSTEP_ASSERT(result == METADATA_NONE || world->message[0] != '\0');
        return;
    }
    LOCKSTEP_ASSERT(found.known_count <= METADATA_KNOWN_MAX && found.cluster_id != 0 && found.node_id != 0);
    if (world->rot_only) {
        LOCKSTEP_ASSERT(found.term == world->metadata.term && found.voted_for == world->metadata.voted_for &&
                        found.formed == world->metadata.formed && found.node_id == NODE &&
                        found.cluster_id == CLUSTER);
    }
    bool stored = metadata_store(disk, &found, world->message, sizeof world->message);
    LOCKSTEP_ASSERT(stored);
    result = metadata_load(disk, &again, world->message, sizeof world->message);
    LOCKSTEP_ASSERT(result == METADATA_OK);
    LOCKSTEP_ASSERT(memcmp(&again, &found, sizeof found) == 0);
}

/* ---- snapshots ---- */

/* A file of bytes from the input, behind a head that is right if the input says so. */
static void write_snapshot(struct world *world)
{
    static struct snapshot_info info;
    static uint8_t bytes[SNAPSHOT_HEADER_BYTES + SNAPSHOT_CONFIGURATION_BYTES_MAX + 4 * BODY_BYTES_MAX];
    struct disk *disk = fake_disk_seam(world->fake);
    struct disk_file *file;
    char name[SNAPSHOT_NAME_BYTES];
    uint8_t how = input_byte(&world->input);
    info.index = 1 + input_below(&world->input, 4);
    info.term = 1;
    info.configuration_index = 1;
    info.configuration_size = input_byte(&world->input) % 16;
    size_t size = 0;
    if ((how & 0x1) != 0) {
        size = snapshot_header_encode(&info, (how & 0x2) != 0 ? CLUSTER : CLUSTER + 1, bytes);
    }
    struct proto_bytes body = input_bytes(&world->input, (size_t)input_byte(&world->input) * 4);
    if ((how & 0x4) != 0 && body.size > 0) {
        uint8_t digest[16];
        XXH3_state_t *state = XXH3_createState();
        LOCKSTEP_ASSERT(state != NULL);
        (void)XXH3_128bits_reset(state);
        (void)XXH3_128bits_update(state, body.data, body.size);
        snapshot_digest(state, digest);
        (void)XXH3_freeState(state);
        snapshot_chunk_header_encode(0, body.data, body.size, bytes + size);
        size += SNAPSHOT_CHUNK_HEADER_BYTES;
        memcpy(bytes + size, body.data, body.size);
        size += body.size;
        snapshot_trailer_encode(body.size, digest, bytes + size);
        size += (size_t)SNAPSHOT_TRAILER_BYTES - ((how & 0x8) != 0 ? 1 : 0);
    } else if (body.size > 0) {
        memcpy(bytes + size, body.data, body.size);
        size += body.size;
    }
    (void)disk->ops->make_dir(disk, "snapshot"); /* it may be there */
    snapshot_name(info.index, info.term, (how & 0x10) != 0, name);
    int rv = disk->ops->open(disk, name, DISK_WRITE | DISK_CREATE, &file);
    LOCKSTEP_ASSERT(rv == 0);
    rv = size == 0 ? 0 : disk->ops->write(disk, file, bytes, size, 0);
    LOCKSTEP_ASSERT(rv == 0);
    disk->ops->close(disk, file);
}

static bool count_bytes(void *ctx, const void *data, size_t size)
{
    uint64_t *count = ctx;
    LOCKSTEP_ASSERT(data != NULL);
    *count += size;
    return true;
}

/* F5 */
static void check_snapshots(struct world *world)
{
    world->message[0] = '\0';
    struct snapshots *snapshots =
        snapshots_open(fake_disk_seam(world->fake), CLUSTER, world->message, sizeof world->message);
    if (snapshots == NULL) {
        LOCKSTEP_ASSERT(world->message[0] != '\0');
        return;
    }
    const struct snapshot_info *newest = snapshots_newest(snapshots);
    if (newest != NULL) {
        uint64_t count = 0;
        uint64_t expected = newest->body_bytes;
        bool loaded = snapshots_load(snapshots, count_bytes, &count, world->message, sizeof world->message);
        LOCKSTEP_ASSERT(loaded && count == expected);
    }
    fake_disk_run_all(world->fake);
    snapshots_close(snapshots);
}

/* ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {
        .input = input_of(data, size),
        .fake = fake_disk_create(1),
        .options = {.segment_bytes = 4096,
                    .cache_bytes = 1024 * 1024,
                    .node_id = NODE,
                    .cluster_id = CLUSTER},
        .term = 1,
        .rot_only = true,
    };
    if (input_below(&world.input, 4) == 3) {
        for (unsigned i = 1 + input_below(&world.input, 3); i > 0; i--) {
            write_snapshot(&world);
        }
        check_snapshots(&world);
        fake_disk_free(world.fake);
        return 0;
    }
    store_metadata(&world);
    bool opened = open_log(&world);
    LOCKSTEP_ASSERT(opened);
    fill_log(&world);
    uint64_t acknowledged = world.durable;
    crash(&world);
    damage(&world);
    check_metadata(&world);
    if (open_log(&world)) {
        if (world.rot_only && !world.watermark_rotten && !(world.lost_power && world.log_rotten)) {
            LOCKSTEP_ASSERT(log_last_index(world.log) >= acknowledged); /* F2 */
        }
        check_log(&world);
        fake_disk_run_all(world.fake);
        log_close(world.log);
    }
    fake_disk_free(world.fake);
    return 0;
}
