/* From a directory to a running raft: identity, first configuration, restore of the newest snapshot, RAFT_START.
 * Everything here that blocks happens within replica_open(). A first start may be interrupted at any point: metadata is
 * stored first (it makes the directory ours), then entry 1 is written; whichever of them is missing is made again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "node/replica/replica_internal.h"

/* 0.22.1 declares raft_version_number() and does not export it, so that only the header can be asked; the library's name
 * (libraft.so.0; 0.15 had .so.2) keeps an older one from being loaded in its place. */
_Static_assert(RAFT_VERSION_NUMBER >= 2201 && RAFT_VERSION_NUMBER < 2300, "libraft 0.22.1 or a later 0.22");

/* Never "restore the directory": an older copy of it has forgotten votes, and nothing in it tells. */
#define WHAT_TO_DO                                                                                                \
    "; put back what was removed or damaged, if there is a copy of this very state; else see docs/operations.md, " \
    "\"A node is lost\""

struct failure {
    char *message;
    size_t size;
};

static bool __attribute__((format(printf, 2, 3))) fail(struct failure *failure, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(failure->message, failure->size, format, args);
    va_end(args);
    return false;
}

/* ---- what the caller gave ---- */

static bool check_config(const struct replica_config *config, struct failure *failure)
{
    if (config->cluster_id == 0 || config->node_id == 0) {
        return fail(failure, "the cluster id and the node id must not be 0");
    }
    if (config->election_timeout_ms < 50 || config->election_timeout_ms > 60000) {
        return fail(failure, "an election timeout of %u ms is not within 50..60000", config->election_timeout_ms);
    }
    if (config->heartbeat_ms == 0 || config->heartbeat_ms > config->election_timeout_ms / 3) {
        return fail(failure, "a heartbeat of %u ms is not within 1 ms and a third of the election timeout",
                    config->heartbeat_ms);
    }
    if (config->entries_in_flight_max == 0) {
        return fail(failure, "entries_in_flight_max must not be 0");
    }
    return true;
}

static bool check_address(const char *address)
{
    size_t size = strlen(address);
    return size > 0 && size <= REPLICA_ADDRESS_BYTES_MAX && strchr(address, ' ') == NULL;
}

static bool check_member(const struct replica_config *config, unsigned place, struct failure *failure)
{
    const struct replica_member *member = &config->bootstrap[place];
    if (member->node_id == 0) {
        return fail(failure, "a member of the bootstrap list has node id 0");
    }
    if (!check_address(member->peer_address) || !check_address(member->client_address)) {
        return fail(failure, "an address of node %" PRIu64 " is empty or has a space", member->node_id);
    }
    for (unsigned i = 0; i < place; i++) {
        const struct replica_member *other = &config->bootstrap[i];
        if (other->node_id == member->node_id || strcmp(other->peer_address, member->peer_address) == 0) {
            return fail(failure, "node %" PRIu64 " of the bootstrap list has the id or peer address of another",
                        member->node_id);
        }
    }
    return true;
}

static bool check_bootstrap(const struct replica_config *config, struct failure *failure)
{
    bool listed = false, voter = false;
    if (config->bootstrap_count == 0) {
        return fail(failure, "the directory is fresh and there is no bootstrap list: give one, or the right directory");
    }
    if (config->bootstrap_count > REPLICA_MEMBERS_MAX) {
        return fail(failure, "the bootstrap list has more than %d members", REPLICA_MEMBERS_MAX);
    }
    for (unsigned i = 0; i < config->bootstrap_count; i++) {
        if (!check_member(config, i, failure)) {
            return false;
        }
        listed = listed || config->bootstrap[i].node_id == config->node_id;
        voter = voter || config->bootstrap[i].voter;
    }
    if (!listed || !voter) {
        return fail(failure, "the bootstrap list %s",
                    listed ? "has no voter" : "does not have this node: check the node id");
    }
    return true;
}

/* ---- the first configuration ---- */

static int by_node_id(const void *a, const void *b)
{
    uint64_t left = ((const struct replica_member *)a)->node_id, right = ((const struct replica_member *)b)->node_id;
    return (left > right) - (left < right);
}

/* The same list in any order gives the same bytes on every node: they must agree on entry 1. */
static struct log_entry *bootstrap_entry(const struct replica_config *config)
{
    struct replica_member members[REPLICA_MEMBERS_MAX];
    struct raft_configuration configuration;
    struct raft_buffer buffer;
    char address[WIRE_ADDRESS_BYTES_MAX + 1];
    memcpy(members, config->bootstrap, config->bootstrap_count * sizeof *members);
    qsort(members, config->bootstrap_count, sizeof *members, by_node_id);
    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < config->bootstrap_count; i++) {
        (void)snprintf(address, sizeof address, "%s %s", members[i].peer_address, members[i].client_address);
        int rv = raft_configuration_add(&configuration, members[i].node_id, address,
                                        members[i].voter ? RAFT_VOTER : RAFT_STANDBY);
        LOCKSTEP_ASSERT(rv == 0);
    }
    int rv = raft_configuration_encode(&configuration, &buffer);
    LOCKSTEP_ASSERT(rv == 0);
    struct log_entry *entry = log_entry_create(1, 1, LOG_CHANGE, buffer.len);
    memcpy(entry->data, buffer.base, buffer.len);
    raft_free(buffer.base);
    raft_configuration_close(&configuration);
    return entry;
}

static uint64_t mix(uint64_t value)
{
    return XXH3_64bits(&value, sizeof value);
}

/* The directory's own number. All chance comes in by the configuration; the node's clock adds what it can. */
static uint64_t make_incarnation(const struct replica *replica)
{
    uint64_t value = mix(mix(mix(replica->config.random_seed) ^ replica->config.node_id) ^ replica->now_ms);
    return value == 0 ? 1 : value;
}

static bool make_metadata(struct replica *replica, struct failure *failure)
{
    replica->metadata = (struct metadata){
        .cluster_id = replica->config.cluster_id,
        .node_id = replica->config.node_id,
        .incarnation = make_incarnation(replica),
        .term = 1,
    };
    return metadata_store(replica->disk, &replica->metadata, failure->message, failure->size);
}

/* ---- the directory ---- */

/* @param ret_fresh  there was no metadata. */
static bool load_metadata(struct replica *replica, bool *ret_fresh, struct failure *failure)
{
    const struct replica_config *config = &replica->config;
    struct metadata *metadata = &replica->metadata;
    switch (metadata_load(replica->disk, metadata, failure->message, failure->size)) {
    case METADATA_NONE:
        *ret_fresh = true;
        return true;
    case METADATA_OK:
        break;
    case METADATA_CORRUPT:
    case METADATA_ERROR:
        return false;
    }
    *ret_fresh = false;
    if (metadata->cluster_id != config->cluster_id) {
        return fail(failure, "the directory belongs to cluster %" PRIu64 ", not to %" PRIu64, metadata->cluster_id,
                    config->cluster_id);
    }
    if (metadata->node_id != config->node_id) {
        return fail(failure, "the directory belongs to node %" PRIu64 ", not to %" PRIu64, metadata->node_id,
                    config->node_id);
    }
    return true;
}

static bool open_store(struct replica *replica, struct failure *failure)
{
    const struct replica_config *config = &replica->config;
    struct log_options options = {
        .segment_bytes = config->segment_bytes,
        .cache_bytes = config->log_cache_bytes,
        .node_id = config->node_id,
        .cluster_id = config->cluster_id,
        .checksum_seed = (uint32_t)(replica->metadata.incarnation ^ replica->metadata.incarnation >> 32),
    };
    struct log_callbacks callbacks = {.durable = replica_log_durable, .failed = replica_log_failed, .ctx = replica};
    failure->message[0] = 0;
    replica->snapshots = snapshots_open(replica->disk, config->cluster_id, failure->message, failure->size);
    if (replica->snapshots == NULL) {
        return false;
    }
    if (failure->message[0] != 0) {
        replica_log(replica, LOGGER_ERROR, "%s",
                    failure->message); /* The newest is bad; whether an older one does is seen below. */
    }
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    uint64_t snapshot_index = newest == NULL ? 0 : newest->index;
    replica->log = log_open(replica->disk, &options, &callbacks, snapshot_index + 1, 0, snapshot_index,
                            failure->message, failure->size);
    return replica->log != NULL;
}

static bool log_is_empty(const struct replica *replica)
{
    return log_last_index(replica->log) < log_first_index(replica->log);
}

/* A term is stored before the first entry that has it is appended, and before a snapshot of who leads in it is taken in. So a later
 * one in either stands beside an older copy of the metadata, and a vote was cast that it has forgotten. (Of what was forgotten without
 * such an entry nothing tells.) */
static bool metadata_is_of_log(const struct replica *replica, struct failure *failure)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    uint64_t term = log_is_empty(replica) ? 0 : log_term(replica->log, log_last_index(replica->log));
    term = newest != NULL && newest->term > term ? newest->term : term;
    return term <= replica->metadata.term ||
           fail(failure,
                "metadata-1 and metadata-2 know of term %" PRIu64 ", and the log or a snapshot has an entry of term %" PRIu64
                ": they are an older copy, and this node's votes are lost" WHAT_TO_DO,
                replica->metadata.term, term);
}

/* Whatever is appended afterwards becomes durable after the record that voids the old entries: nothing waits for it. */
static void log_was_reset(void *ctx)
{
    (void)ctx;
}

/* With a snapshot the log must reach it, with the same term there, without a gap; a log that does
 * not was left by a crash between an installed snapshot and the record that voids the log, and goes (drop_log()).
 * @param ret_joins  the log is to be kept. */
static bool fit_log_to_snapshot(const struct replica *replica, bool *ret_joins, struct failure *failure)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    uint64_t first = log_first_index(replica->log), last = log_last_index(replica->log);
    *ret_joins = true;
    if (newest == NULL) {
        return first == 1 || fail(failure, "the log begins at entry %" PRIu64 " and there is no snapshot before it: a "
                                           "snapshot file was removed" WHAT_TO_DO,
                                  first);
    }
    uint64_t term = log_term(replica->log, newest->index);
    bool unrecorded = term == 0 && first == newest->index + 1; /* Of the entry before the first. */
    if (last >= newest->index && first <= newest->index + 1 && (term == newest->term || unrecorded)) {
        return true;
    }
    if (first > newest->index + 1) {
        return fail(failure, "the log begins at entry %" PRIu64 ", the newest valid snapshot ends at %" PRIu64
                             ": entries are missing" WHAT_TO_DO, first, newest->index);
    }
    *ret_joins = false;
    return true;
}

/* Only when nothing is refused any more: it begins a write, after which the log can not just be closed. */
static void drop_log(struct replica *replica)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    replica_log(replica, LOGGER_WARNING,
                "the log (up to entry %" PRIu64 ") does not join the snapshot at %" PRIu64
                ": it was left by an interrupted installation and is dropped",
                log_last_index(replica->log), newest->index);
    log_reset(replica->log, newest->index, newest->term, log_was_reset, NULL);
}

static bool feed_machine(void *ctx, const void *data, size_t size)
{
    struct replica *replica = ctx;
    char message[256];
    bool fine = replica->machine.restore_feed(replica->machine.ctx, data, size, message, sizeof message);
    while (fine && replica->machine.restore_step(replica->machine.ctx, false)) {
    }
    return fine;
}

static bool restore_machine(struct replica *replica, struct failure *failure)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    if (newest == NULL) {
        return true;
    }
    replica->machine.restore_begin(replica->machine.ctx);
    if (!snapshots_load(replica->snapshots, feed_machine, replica, failure->message, failure->size)) {
        return false;
    }
    char why[256] = "";
    if (!replica->machine.restore_finish(replica->machine.ctx, newest->index, why, sizeof why)) {
        return fail(failure, "the snapshot at entry %" PRIu64 " is whole but can not be restored: %s", newest->index, why);
    }
    while (replica->machine.restore_step(replica->machine.ctx, true)) {
    }
    replica->commit_index = replica->applied_index = replica->applied_told = newest->index;
    replica->applied_term = newest->term;
    replica_change_set(replica, newest->configuration_index, newest->configuration, newest->configuration_size);
    return true;
}

/* ---- first start ---- */

/* A fresh directory becomes ours before anything else is made in it: a log without metadata is damage. */
static bool claim(struct replica *replica, const struct replica_config *config, bool fresh, struct failure *failure)
{
    return !fresh || (check_bootstrap(config, failure) && make_metadata(replica, failure));
}

static bool bootstrap(struct replica *replica, const struct replica_config *config, struct failure *failure)
{
    if (!log_is_empty(replica) || snapshots_newest(replica->snapshots) != NULL) {
        return true;
    }
    if (replica->metadata.formed) {
        return fail(failure, "the log of this node is gone: its directory is damaged" WHAT_TO_DO);
    }
    if (!check_bootstrap(config, failure)) {
        return false;
    }
    struct log_entry *entry = bootstrap_entry(config);
    log_append(replica->log, &entry, 1);
    log_entry_unref(entry);
    log_flush(replica->log);
    return true;
}

/* The newest configuration of the directory: the last RAFT_CHANGE of the log, or the snapshot's. */
static void newest_configuration(const struct replica *replica, struct raft_configuration *ret_configuration)
{
    uint64_t first = log_first_index(replica->log), snapshot = replica->change.index == 0 ? 0 : replica->applied_index;
    for (uint64_t index = log_last_index(replica->log); index >= first && index > snapshot; index--) {
        const struct log_entry *entry = log_get(replica->log, index);
        LOCKSTEP_ASSERT(entry != NULL);
        if (entry->type == LOG_CHANGE) {
            replica_members_decode(entry->data, entry->size, ret_configuration);
            return;
        }
    }
    LOCKSTEP_ASSERT(replica->change.size > 0);
    replica_members_decode(replica->change.data, replica->change.size, ret_configuration);
}

static void learn_members(struct replica *replica, const struct replica_config *config)
{
    struct raft_configuration configuration;
    newest_configuration(replica, &configuration);
    replica_members_set(replica, &configuration);
    replica_members_compare(replica, config, &configuration);
    raft_configuration_close(&configuration);
    const struct log_entry *first = log_first_index(replica->log) == 1 ? log_get(replica->log, 1) : NULL;
    if (first != NULL) {
        replica->list_digest = XXH3_64bits(first->data, first->size) | 1;
    }
}

static bool first_entry_fits(const struct replica *replica, struct failure *failure)
{
    if (snapshots_newest(replica->snapshots) != NULL) {
        return true;
    }
    const struct log_entry *first = log_get(replica->log, 1);
    if (first == NULL || first->type != LOG_CHANGE || !wire_configuration_valid(first->data, first->size)) {
        return fail(failure, "entry 1 of the log is not a configuration: the directory is damaged" WHAT_TO_DO);
    }
    return true;
}

/* ---- RAFT_START ---- */

static void make_raft(struct replica *replica)
{
    const struct replica_config *config = &replica->config;
    struct raft *raft = &replica->raft;
    memset(raft, 0, sizeof *raft);
    if (raft_init(raft, NULL, NULL, config->node_id, replica->address) != 0) {
        replica_fatal(replica, "out of memory");
    }
    replica->raft_made = true;
    raft->tracer = NULL;
    raft_seed(raft, config->random_seed);
    raft_set_election_timeout(raft, config->election_timeout_ms);
    raft_set_heartbeat_timeout(raft, config->heartbeat_ms);
    raft_set_max_inflight_entries(raft, config->entries_in_flight_max);
    /* Raft does not hear that a stream was refused or broke off, and once we have a newer snapshot it takes no notice of the
     * follower's rejections either. While a stream is alive its question costs nothing. */
    raft_set_install_snapshot_timeout(raft, REPLICA_INSTALL_ASK_MS);
    raft_set_pre_vote(raft, true);
}

/* Raft looks at term and type of each entry and at the bytes of configurations; what is at or below the snapshot is
 * never a configuration that it must know (the snapshot has the last one). */
static struct raft_entry *start_entries(const struct replica *replica, uint64_t snapshot_index, unsigned *ret_count)
{
    uint64_t first = log_first_index(replica->log), count = log_last_index(replica->log) + 1 - first;
    LOCKSTEP_ASSERT(count <= UINT32_MAX);
    *ret_count = (unsigned)count;
    if (count == 0) {
        return NULL;
    }
    struct raft_entry *entries = raft_calloc(count, sizeof *entries);
    LOCKSTEP_ASSERT(entries != NULL);
    for (uint64_t i = 0; i < count; i++) {
        entries[i].term = log_term(replica->log, first + i);
        entries[i].type = RAFT_COMMAND;
        struct log_entry *entry = first + i > snapshot_index ? log_get(replica->log, first + i) : NULL;
        LOCKSTEP_ASSERT(entry != NULL || first + i <= snapshot_index);
        if (entry != NULL) {
            entries[i].type = (enum raft_entry_type)entry->type;
            entries[i].buf = (struct raft_buffer){.base = entry->data, .len = entry->size};
        }
    }
    return entries;
}

/* A single voter leads at once and in the term it finds, without a vote. We want a term to name one leadership: so it
 * starts with the next term and its own vote in it, as if it had held an election. */
static void begin_own_term(struct replica *replica)
{
    char message[512];
    if (replica->voters_count != 1 || !replica->voter) {
        return;
    }
    replica->metadata.term++;
    replica->metadata.voted_for = replica->config.node_id;
    if (!metadata_store(replica->disk, &replica->metadata, message, sizeof message)) {
        replica_fatal(replica, "cannot store the term and vote: %s", message);
    }
}

static void start(struct replica *replica)
{
    const struct snapshot_info *newest = snapshots_newest(replica->snapshots);
    struct raft_snapshot_metadata snapshot;
    if (newest != NULL) {
        snapshot.index = newest->index;
        snapshot.term = newest->term;
        snapshot.configuration_index = newest->configuration_index;
        replica_members_decode(newest->configuration, newest->configuration_size, &snapshot.configuration);
    }
    begin_own_term(replica);
    make_raft(replica);
    struct raft_event event = {
        .type = RAFT_START,
        .start =
            {
                .term = replica->metadata.term,
                .voted_for = replica->metadata.voted_for,
                .metadata = newest == NULL ? NULL : &snapshot,
                .start_index = log_first_index(replica->log),
            },
    };
    event.start.entries = start_entries(replica, newest == NULL ? 0 : newest->index, &event.start.n_entries);
    struct raft_entry *entries = event.start.entries;
    replica->phase = PHASE_RUNNING;
    replica->timeout_fired_ms = replica->now_ms;
    replica->haste_random = replica->config.random_seed;
    replica->watch_ms = replica->now_ms + REPLICA_WATCH_MS;
    replica_step_sure(replica, &event, "its start");
    raft_free(entries);
    replica_log(replica, LOGGER_INFO,
                "raft started: term %" PRIu64 ", log %" PRIu64 "..%" PRIu64 ", snapshot %" PRIu64,
                replica->metadata.term, log_first_index(replica->log), log_last_index(replica->log),
                newest == NULL ? 0 : newest->index);
}

bool replica_has_durable_entry(const struct replica *replica)
{
    return snapshots_newest(replica->snapshots) != NULL || log_durable_index(replica->log) >= 1;
}

void replica_start_if_ready(struct replica *replica)
{
    if (replica->phase == PHASE_FORMING && replica->metadata.formed && replica_has_durable_entry(replica)) {
        start(replica);
    }
}

/* ---- open and close ---- */

static bool open_directory(struct replica *replica, const struct replica_config *config, struct failure *failure)
{
    bool fresh, log_joins;
    bool fine = load_metadata(replica, &fresh, failure) && claim(replica, config, fresh, failure) &&
                open_store(replica, failure) && metadata_is_of_log(replica, failure) &&
                fit_log_to_snapshot(replica, &log_joins, failure) && bootstrap(replica, config, failure) &&
                first_entry_fits(replica, failure) && restore_machine(replica, failure);
    if (!fine) {
        return false;
    }
    log_clean(replica->log);
    if (!log_joins) {
        drop_log(replica);
    }
    return true;
}

static void release_entry(void *owner)
{
    log_entry_unref(owner);
}

struct replica *replica_open(const struct replica_config *config, struct disk *disk, struct link *link,
                             const struct replica_machine *machine, const struct replica_callbacks *callbacks,
                             struct local_time now, char *message, size_t message_size)
{
    struct failure failure = {.message = message, .size = message_size};
    if (!check_config(config, &failure)) {
        return NULL;
    }
    struct replica *replica = calloc(1, sizeof *replica);
    LOCKSTEP_ASSERT(replica != NULL);
    replica->config = *config;
    replica->config.bootstrap = NULL;
    replica->config.bootstrap_count = 0;
    replica->disk = disk;
    replica->link = link;
    replica->machine = *machine;
    replica->callbacks = *callbacks;
    replica->step_stale_prev = UINT64_MAX;
    replica_time(replica, now);
    link->release = release_entry;
    if (!open_directory(replica, config, &failure)) {
        replica_close(replica);
        return NULL;
    }
    learn_members(replica, config);
    replica->remind_ms = replica->now_ms + REPLICA_REMIND_MS;
    replica_form_if_complete(replica);
    replica_start_if_ready(replica);
    return replica;
}

bool replica_idle(const struct replica *replica)
{
    return log_idle(replica->log) && snapshots_idle(replica->snapshots);
}

void replica_close(struct replica *replica)
{
    if (replica == NULL) {
        return;
    }
    for (unsigned i = 0; i < REPLICA_MEMBERS_MAX; i++) {
        struct replica_peer *peer = &replica->peers[i];
        if (peer->node_id != 0) {
            replica_stream_end(peer, NULL);
            replica_feed_drop(peer);
            replica->link->ops->set_peer(replica->link, peer->node_id, NULL);
        }
    }
    replica_incoming_free(replica);
    if (replica->take.phase != TAKE_FINISHING || replica->take.failed != 0) {
        replica_take_abandon(replica);
    }
    free(replica->take.info);
    proto_buffer_done(&replica->take.buffer);
    if (replica->raft_made) {
        raft_close(&replica->raft, NULL);
    }
    if (replica->log != NULL) {
        log_close(replica->log);
    }
    if (replica->snapshots != NULL) {
        snapshots_close(replica->snapshots);
    }
    free(replica->change.data);
    free(replica->reads.queue);
    free(replica->step_entries);
    free(replica->step_raft_entries);
    free(replica);
}
