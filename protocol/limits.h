/* Every bound of the wire and of the state machine, with its unit, and how they relate.
 *
 * These are part of the replicated behaviour: two nodes that apply the same entry must agree on them, so a
 * change of any bound that the state machine reads needs a new entry version (raft_fsm/entry.h). Bounds that
 * only one node cares about (connections, queued bytes, rates) are configuration, see node/config.h. */
#ifndef LOCKSTEP_PROTOCOL_LIMITS_H
#define LOCKSTEP_PROTOCOL_LIMITS_H

#include <stdint.h>

enum {
    PROTO_KEY_BYTES_MIN = 1,
    PROTO_KEY_BYTES_MAX = 256,      /* of [A-Za-z0-9._:/@-] */
    PROTO_VALUE_BYTES_MAX = 4096,   /* any bytes */
    PROTO_OWNER_BYTES_MAX = 128,    /* printable UTF-8 without control characters; may be empty */
    PROTO_REASON_BYTES_MAX = 256,   /* as owner, at least one byte */
    PROTO_DETAIL_BYTES_MAX = 256,   /* the sentence that goes with a refusal */
    PROTO_ADDRESS_BYTES_MAX = 255,  /* host:port or [v6]:port */
    PROTO_SECRET_BYTES = 16,        /* the client's secret key: 128 random bits */
    PROTO_DIGEST_BYTES = 16,        /* its digest: the first 16 bytes of SHA-256(secret) */

    PROTO_TTL_MS_MIN = 100,
    PROTO_TTL_MS_MAX = 24 * 60 * 60 * 1000,
    PROTO_LOCK_DELAY_MS_MAX = 60 * 60 * 1000, /* 0 = none */
    PROTO_PERMITS_MAX = 65535,      /* both n and limit; n <= limit */

    PROTO_LIST_MAX = 256,           /* rows in one page of a list */
    PROTO_STATUS_HOLDERS_MAX = 64,  /* holders and waiters shown by one lock.get; the counts are always whole */
    PROTO_MEMBERS_MAX = 15,         /* nodes in a cluster's configuration */

    PROTO_FRAME_HEADER_BYTES = 5,   /* u32 length of what follows the length field, u8 flags */
    PROTO_FRAME_BODY_BYTES_MAX = 1024 * 1024, /* after decompression; also what a length may declare */
    PROTO_COMPRESS_ABOVE_BYTES = 1024,        /* a body larger than this may be sent as an lz4 block */
    PROTO_REQUEST_BODY_BYTES_MAX = 8192,      /* what a client may send in one request */

    FSM_WINDOW_REPLIES_MAX = 1024,      /* remembered or outstanding requests of one session */
    FSM_SESSIONS_MAX = 1 << 20,
    FSM_LOCKS_MAX = 1 << 24,
    FSM_WAITERS_PER_LOCK_MAX = 1 << 16,
    /* Of the values that the waiters of a lock bring, together: digest and snapshot take a lock as a whole. */
    FSM_WAITING_BYTES_PER_LOCK_MAX = 4 * 1024 * 1024,
    FSM_HOLDERS_PER_LOCK_MAX = 1 << 16,
    FSM_HOLDS_MAX = 1 << 20,            /* how often one grant may be entered again */
    FSM_ENTRY_BYTES_MAX = 256 * 1024,   /* one log entry of commands */
    FSM_ENTRY_COMMANDS_MAX = 4096,      /* commands in one entry */
    /* The commands of the entry wait for these, on every node: a thousand would be a pause of some milliseconds. */
    FSM_EXPIRIES_PER_ENTRY = 128,       /* deadlines handled by one entry, before its commands: a session costs 2 to 3 us */
    FSM_RELEASES_PER_ENTRY = 1024,      /* ended sessions, their grants and waits, freed by one entry: 0.2 to 1 us each */
};

/* A wait without an end: the waiter stays until it is granted, cancelled, or its session ends. */
#define PROTO_WAIT_FOREVER UINT64_MAX
#define PROTO_WAIT_MS_MAX ((uint64_t)PROTO_TTL_MS_MAX * 365) /* any other wait */

_Static_assert(PROTO_VALUE_BYTES_MAX + PROTO_KEY_BYTES_MAX + 512 < PROTO_REQUEST_BODY_BYTES_MAX,
               "the largest request fits its frame");
_Static_assert(PROTO_VALUE_BYTES_MAX <= FSM_WAITING_BYTES_PER_LOCK_MAX, "whoever waits alone may bring any value");
_Static_assert(PROTO_REQUEST_BODY_BYTES_MAX * 2 < FSM_ENTRY_BYTES_MAX, "any request fits an entry");
_Static_assert(PROTO_LIST_MAX * (PROTO_KEY_BYTES_MAX + PROTO_OWNER_BYTES_MAX + 128) < PROTO_FRAME_BODY_BYTES_MAX,
               "a full page fits a frame");
_Static_assert(2 * PROTO_STATUS_HOLDERS_MAX * (PROTO_OWNER_BYTES_MAX + 128) + PROTO_VALUE_BYTES_MAX <
                   PROTO_FRAME_BODY_BYTES_MAX,
               "a full lock status fits a frame");

#endif
