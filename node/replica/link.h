/* The seam to the other nodes: one FIFO stream per direction and peer. The real one is peer.c (TCP on libuv); the
 * simulation has its own, which loses whole connections, delays and partitions.
 *
 * A link carries whole frames of at most LINK_FRAME_BYTES_MAX. It knows nothing of raft. Before it hands over the first
 * frame of a stream it has exchanged hello (magic, version, cluster id, node ids). If that frame is taken it closes any older
 * stream of that peer and direction, and if not this one: what arrives under a peer's id comes from that peer, in order, once
 * the receiver has taken a first frame by which it can tell that peer from others of that name. */
#ifndef LOCKSTEP_NODE_REPLICA_LINK_H
#define LOCKSTEP_NODE_REPLICA_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINK_FRAME_BYTES_MAX = 1024 * 1024 };

struct link_part {
    const void *data;
    size_t size;
    /* If not NULL: `data` stays valid until release(owner) is called (the link sends it in place). Else it is copied. */
    void *owner;
};

struct link;
struct link_ops {
    /* Queue one frame made of `parts` to `peer_id`. The link calls release() for every part with an owner exactly once:
     * after sending, or when it drops the frame.
     * @return false if it was dropped: no stream up, or the queue's bound is reached. */
    bool (*send)(struct link *link, uint64_t peer_id, const struct link_part *parts, unsigned count);
    size_t (*queued_bytes)(const struct link *link, uint64_t peer_id);
    /* Keep a connection to this address; a changed address reconnects. address NULL: forget the peer. */
    void (*set_peer)(struct link *link, uint64_t peer_id, const char *address);
};
struct link {
    const struct link_ops *ops;
    void (*release)(void *owner); /* set by the replica */
};

#endif
