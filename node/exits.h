/* How lockstepd ends. One row per exit code; docs/operations.md has the same table. Numbers are never reused.
 *
 *  restart  whether starting it again, as it is, can help: deploy/lockstepd.service does so for yes only */
#ifndef LOCKSTEP_NODE_EXITS_H
#define LOCKSTEP_NODE_EXITS_H

/*    name       code restart  what happened; what to do */
#define NODE_EXITS(X)                                                                                                 \
    X(OK,        0,   no,  "it was asked to stop, and stopped")                                                       \
    X(INTERNAL,  1,   yes, "something failed that should not; report the last line of the log")                       \
    X(SETTINGS,  2,   no,  "a setting is wrong; each mistake is named in the log")                                    \
    X(ADDRESS,   3,   yes, "an address can not be listened on: taken, not this machine's, or not to be looked up")    \
    X(DATA_DIR,  4,   no,  "the data directory can not be used: its parent is missing, or it is not writable")        \
    X(LOCKED,    5,   yes, "another process uses the data directory")                                                 \
    X(FOREIGN,   6,   no,  "the data directory is not this node's: another's, or one that does not fit what the others know") \
    X(DATA,      7,   no,  "the data can not be started from: corrupt, less than was acknowledged, or never set up")  \
    X(REPLICA,   8,   yes, "the disk failed or is full, at the start or later; or progress that must come did not")   \
    X(STATE,     9,   no,  "while running: a log entry of a newer version, or an invariant of the state is broken")

enum node_exit {
#define X(name, code, restart, text) NODE_EXIT_##name = code,
    NODE_EXITS(X)
#undef X
};

/* "DATA_DIR" as "data_dir", for the log. Static memory. */
const char *node_exit_name(enum node_exit code);

#endif
