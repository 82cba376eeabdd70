/* One row per setting. The struct, the parser of the file, the flags, the environment variables, --help,
 * --check-config, deploy/lockstepd.conf and the table of docs/operations.md expand it. A new setting is a row.
 *
 *  field      member of struct config; its unit is that of the type
 *  name       key in the file; flag --<name>; environment variable LOCKSTEPD_<NAME>, dashes as underscores
 *  section    the file's section
 *  type       NUMBER; DURATION (milliseconds); SIZE (bytes); CHECK, LEVEL, FORMAT (a choice); PATH; ADDRESS; CLUSTER; PEERS
 *  default    as it would be written; "" where there is none
 *  min, max   in the type's unit; 0, 0 where they mean nothing
 *  help       whole sentences; the first is what --help shows first */
#ifndef LOCKSTEP_NODE_CONFIG_KEYS_H
#define LOCKSTEP_NODE_CONFIG_KEYS_H

#define CONFIG_SECTIONS(X)                                                                                          \
    X("node", "Who this node is and where it keeps its data.")                                                      \
    X("clients", "What clients connect to, and how much they may ask of the node.")                                 \
    X("replication", "How the nodes of a cluster find and follow each other.")                                      \
    X("proposals", "How requests are gathered into log entries. The defaults suit nearly everyone.")                \
    X("log", "What is written to standard error, one line per event.")

#define CONFIG_SECOND 1000ULL
#define CONFIG_MINUTE (60 * CONFIG_SECOND)
#define CONFIG_HOUR   (60 * CONFIG_MINUTE)
#define CONFIG_KIB    1024ULL
#define CONFIG_MIB    (1024 * CONFIG_KIB)
#define CONFIG_GIB    (1024 * CONFIG_MIB)
#define CONFIG_TIB    (1024 * CONFIG_GIB)

/*    field  name  section  type  default  min  max  help */
#define CONFIG_KEYS(X)                                                                                              \
    X(node_id, "node-id", "node", NUMBER, "", 1, INT64_MAX,                                                         \
      "This node's number, unique in its cluster for ever. A node that lost its data directory can not come back "  \
      "under it.")                                                                                                  \
    X(cluster, "cluster", "node", CLUSTER, "", 0, 0,                                                                \
      "The cluster's name, 1 to 64 of [A-Za-z0-9._-]; the cluster's id is the XXH3 hash of it. All digits are "      \
      "the id itself. Nodes and clients of different clusters refuse each other.")                                  \
    X(data_dir, "data-dir", "node", PATH, "", 0, 0,                                                                 \
      "Directory of the log and the snapshots. It is made if its parent exists, belongs to this node alone and "    \
      "is locked while the node runs.")                                                                             \
    X(shutdown_timeout, "shutdown-timeout", "node", DURATION, "5s", 0, 10 * CONFIG_MINUTE,                          \
      "How long SIGTERM waits for leadership to move and for what is in flight to be answered.")                    \
                                                                                                                    \
    X(listen, "listen", "clients", ADDRESS, "127.0.0.1:7400", 0, 0,                                                 \
      "Address and port for clients, as host:port or [v6]:port. Port 0 picks a free one. What other nodes and "     \
      "clients are told is the second address of this node's entry in peers.")                                      \
    X(connections_max, "connections-max", "clients", NUMBER, "10000", 1, 1000000,                                   \
      "Client connections at a time. One more is told OVERLOADED and closed.")                                      \
    X(queue_bytes, "connection-queue-max", "clients", SIZE, "1MiB", 256 * CONFIG_KIB, 64 * CONFIG_MIB,              \
      "Bytes waiting for one client that does not read. Above half, its requests wait; past all of it, its "        \
      "connection is closed.")                                                                                      \
    X(queue_total_bytes, "queue-total-max", "clients", SIZE, "256MiB", CONFIG_MIB, 64 * CONFIG_GIB,                 \
      "Bytes waiting for all clients together. Past it, connections that do not read are closed.")                  \
    X(connection_requests, "connection-requests-max", "clients", NUMBER, "1024", 1, 65536,                          \
      "Unanswered requests of one connection, waiting acquires included. More are told OVERLOADED.")                \
    X(requests_max, "requests-max", "clients", NUMBER, "262144", 1, 16777216,                                       \
      "Unanswered requests of all connections. More are told OVERLOADED.")                                          \
    X(request_rate, "request-rate-max", "clients", NUMBER, "0", 0, 10000000,                                        \
      "Requests per second of one connection. More are told OVERLOADED; 0 sets no limit.")                          \
    X(client_heartbeat, "client-heartbeat", "clients", DURATION, "1s", 100, CONFIG_MINUTE,                          \
      "Clients are told to ping when they have heard nothing for so long.")                                         \
    X(hello_timeout, "hello-timeout", "clients", DURATION, "5s", 100, CONFIG_MINUTE,                                \
      "A connection that has not introduced itself by then is closed.")                                             \
    X(idle_timeout, "idle-timeout", "clients", DURATION, "60s", 1000, 24 * CONFIG_HOUR,                             \
      "A connection that sends nothing for so long, not even pings, is closed. At least three client-heartbeats; "   \
      "with less than 30s, clients that have nothing to say, and ping every 20s, are closed too, and come back each " \
      "time.")                                                                                                       \
    X(frame_timeout, "frame-timeout", "clients", DURATION, "10s", 100, 10 * CONFIG_MINUTE,                          \
      "A connection whose request has begun and is not complete by then is closed.")                                \
    X(client_tcp_timeout, "client-tcp-timeout", "clients", DURATION, "5s", 500, 10 * CONFIG_MINUTE,                 \
      "TCP_USER_TIMEOUT of client connections: how long sent bytes may stay unacknowledged.")                       \
                                                                                                                    \
    X(peer_listen, "peer-listen", "replication", ADDRESS, "127.0.0.1:7500", 0, 0,                                   \
      "Address and port for the other nodes, as host:port or [v6]:port.")                                           \
    X(peers, "peers", "replication", PEERS, "", 0, 0,                                                               \
      "All nodes of a new cluster, this one included, as id=peer address/client address, with commas between "      \
      "them. The same list on every node. It is used once, when the data directory is fresh; a cluster of one "     \
      "node has a list of one.")                                                                                    \
    X(election_timeout, "election-timeout", "replication", DURATION, "500ms", 50, CONFIG_MINUTE,                    \
      "A follower that hears nothing for one to two times as long stands for election; at once, if the leader's "   \
      "process has ended. Several times the longest round trip, and what a loaded machine keeps a process "         \
      "waiting.")                                                                                                   \
    X(heartbeat, "heartbeat", "replication", DURATION, "100ms", 10, 20 * CONFIG_SECOND,                             \
      "How often a leader is heard. At most a third of election-timeout.")                                          \
    X(snapshot_after, "snapshot-after", "replication", SIZE, "64MiB", 64 * CONFIG_KIB, CONFIG_TIB,                  \
      "Bytes of log after which the next snapshot is taken.")                                                       \
    X(log_trailing, "log-trailing", "replication", SIZE, "16MiB", 0, CONFIG_TIB,                                    \
      "Bytes of log kept before a snapshot, for followers that lag a little.")                                      \
    X(log_segment, "log-segment", "replication", SIZE, "16MiB", CONFIG_MIB, CONFIG_GIB,                             \
      "Size of one file of the log. Files are reserved whole.")                                                     \
    X(log_cache, "log-cache", "replication", SIZE, "4MiB", 0, 64 * CONFIG_GIB,                                      \
      "Bytes of recent log kept in memory for followers that lag; 0B takes the built-in default.")                  \
    X(entries_in_flight, "entries-in-flight", "replication", NUMBER, "256", 1, 65536,                               \
      "Log entries sent to a follower and not yet acknowledged.")                                                   \
    X(append_pace, "append-pace", "replication", DURATION, "4ms", 0, 20,                                            \
      "Under load, a follower that the majority does without is sent what is new in batches so far apart, or "      \
      "sooner: of less than 32 entries, and no more than log-cache and a fourth of peer-queue-max. 0ms sends each " \
      "entry to all at once.")                                                                                      \
    X(peer_queue_bytes, "peer-queue-max", "replication", SIZE, "64MiB", 2 * CONFIG_MIB, 4 * CONFIG_GIB,             \
      "Bytes waiting for one other node. What does not fit is dropped and sent again later.")                       \
    X(peer_connect_timeout, "peer-connect-timeout", "replication", DURATION, "1s", 50, CONFIG_MINUTE,               \
      "How long connecting to another node may take before it is tried again.")                                     \
    X(peer_tcp_timeout, "peer-tcp-timeout", "replication", DURATION, "1500ms", 50, CONFIG_MINUTE,                   \
      "TCP_USER_TIMEOUT between nodes: how long sent bytes may stay unacknowledged.")                               \
                                                                                                                    \
    X(proposals_in_flight, "proposals-in-flight", "proposals", NUMBER, "4", 1, 64,                                  \
      "Entries proposed and not yet committed. Requests gather for the next one meanwhile.")                        \
    X(batch_bytes, "batch-bytes", "proposals", SIZE, "64KiB", 16 * CONFIG_KIB, 192 * CONFIG_KIB,                    \
      "An entry is closed at this size.")                                                                           \
    X(renew_delay, "renew-delay", "proposals", DURATION, "100ms", 0, CONFIG_SECOND,                                 \
      "How long session renewals may wait for other requests to ride along with. It is a hundredth of their TTL "   \
      "if that is less, but not less than 20 ms.")                                                                  \
    X(clock_step, "clock-step-max", "proposals", DURATION, "100ms", 10, CONFIG_SECOND,                              \
      "By how much one turn of the loop may advance cluster time. What a node did not serve is not counted.")       \
    X(digest_every, "digest-every", "proposals", NUMBER, "1024", 1, 1048576,                                        \
      "The digest of the state that nodes can be compared by is taken at multiples of this index. The same on "     \
      "every node.")                                                                                                \
    X(check_invariants, "check-invariants", "proposals", CHECK, "sampled", 0, 0,                                    \
      "Check the invariants of the whole state, and end the node if one is broken: sampled does so now and then "   \
      "while the state is small, for well under a hundredth of the time; always after every entry, for tests.")     \
                                                                                                                    \
    X(log_level, "log-level", "log", LEVEL, "info", 0, 0, "The least important level that is written.")             \
    X(log_format, "log-format", "log", FORMAT, "logfmt", 0, 0, "The format of a line.")

#endif
