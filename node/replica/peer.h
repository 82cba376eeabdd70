/* The real link: TCP on a libuv loop. Listens on the peer address, connects to each peer (one stream per direction:
 * we send on the stream that we opened, we receive on the stream that the peer opened). TCP_NODELAY, connect timeout,
 * TCP_USER_TIMEOUT, bounded queues, jittered reconnect.
 *
 * hello (both ways): magic "LSPEER", version, cluster id, sender's node id, expected node id. A stranger or another
 * cluster is refused with a log line (rate-limited). Incarnations are the replica's business (replica.h). */
#ifndef LOCKSTEP_NODE_REPLICA_PEER_H
#define LOCKSTEP_NODE_REPLICA_PEER_H

#include <uv.h>

#include "node/logger_level.h"
#include "node/replica/link.h"
#include "node/time.h"

struct peer_options {
    uint64_t cluster_id, node_id;
    const char *listen_address;   /* host:port; port 0 picks one (tests) */
    size_t queue_bytes_max;       /* per peer; default 64 MiB */
    unsigned connect_timeout_ms;  /* default 1000 */
    unsigned user_timeout_ms;     /* TCP_USER_TIMEOUT; default 1500 */
};

struct peer_callbacks {
    void *ctx;
    void (*up)(void *ctx, uint64_t peer_id);
    void (*down)(void *ctx, uint64_t peer_id);
    bool (*receive)(void *ctx, uint64_t peer_id, const void *data, size_t size); /* false: close that stream */
    void (*log)(void *ctx, enum logger_level level, const char *message);
    /* Its process seems to have ended: the streams of both directions have, and its address refuses a new one. */
    void (*gone)(void *ctx, uint64_t peer_id);
};

/* Start to listen. @return the link (peer_link_close() ends it), or NULL with `message` (address taken, not ours …). */
struct link *peer_link_open(uv_loop_t *loop, const struct peer_options *options, const struct peer_callbacks *callbacks,
                            char *message, size_t message_size);
/* Write what is queued, as far as the sockets take it. The link does so by itself before the loop waits; this is for
 * who has more to do before that. On the loop, from no callback of the link. */
void peer_link_flush(struct link *link);
/* Closes all streams; `closed` runs when the last handle is gone and the link is freed. */
void peer_link_close(struct link *link, void (*closed)(void *ctx), void *ctx);
/* The port really listened on. */
uint16_t peer_link_port(const struct link *link);

#endif
