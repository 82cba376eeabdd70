/* What must be durable before a vote or a reply, and whose directory this is: one checksummed record in two copies, both
 * written by every store, one after the other (a torn write leaves the other). A flipped byte in one copy is noticed and
 * repaired from the other, without loss of a vote; both bad is an error. */
#ifndef LOCKSTEP_NODE_REPLICA_METADATA_H
#define LOCKSTEP_NODE_REPLICA_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/replica/disk.h"

enum { METADATA_KNOWN_MAX = 15 };

struct metadata {
    uint64_t cluster_id; /* never 0 */
    uint64_t node_id;    /* never 0 */
    uint64_t incarnation; /* random, made with the directory: the others remember it, so that a node that lost
                             its directory and came back empty under its old id is noticed */
    uint64_t term;
    uint64_t voted_for;  /* 0: nobody in this term */
    /* Formation (replica.h): false until every member of the first configuration was met. Not formed: never votes. */
    bool formed;
    unsigned known_count; /* incarnations of the other members, as met at formation */
    struct {
        uint64_t node_id;
        uint64_t incarnation;
    } known[METADATA_KNOWN_MAX];
};

enum metadata_result { METADATA_OK, METADATA_NONE, METADATA_CORRUPT, METADATA_ERROR };

/* Read the newest valid copy, make it durable, repair the other; to be called before the first store. NONE: neither file
 * exists, nor a log or snapshot (a fresh directory). CORRUPT (both bad, or missing beside a log or snapshot), ERROR:
 * `message` is filled. Blocks. */
enum metadata_result metadata_load(struct disk *disk, struct metadata *ret_metadata, char *message, size_t message_size);

/* Write and sync, before it returns (blocks about two disk writes; terms and votes are rare).
 * @return false with `message` filled: the process must end. */
bool metadata_store(struct disk *disk, const struct metadata *metadata, char *message, size_t message_size);

#endif
