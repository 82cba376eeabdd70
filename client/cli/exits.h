/* How `lockstep` ends. One row per exit code; --help and docs/operations.md show the same table. Numbers are never reused;
 * they stay clear of what commands and shells use themselves (1, 2, 126, 127, 128 + signal). */
#ifndef LOCKSTEP_CLI_EXITS_H
#define LOCKSTEP_CLI_EXITS_H

/*    name          code  what happened */
#define CLI_EXITS(X)                                                                                  \
    X(OK,           0,    "done")                                                                     \
    X(USAGE,        64,   "the command line is wrong")                                                \
    X(NOT_FOUND,    117,  "there is no such lock, session or node")                                   \
    X(UNKNOWN,      118,  "no answer in time: it may or may not have been done")                      \
    X(FAILED,       119,  "refused or failed for another reason; the message says which")             \
    X(HELD,         120,  "not obtained: held by another, or the wait ran out")                       \
    X(LOST,         121,  "lock: the lock was lost while the command ran; the command was stopped")   \
    X(UNREACHABLE,  122,  "no leader could be reached in time; nothing was done")                     \
    X(NOT_HELD,     123,  "not held (any more) by this handle or fence; or the session has ended")    \
    X(CANNOT_RUN,   126,  "lock: the command can not be executed")                                    \
    X(NO_COMMAND,   127,  "lock: there is no such command")

enum cli_exit {
#define X(name, code, text) CLI_EXIT_##name = code,
    CLI_EXITS(X)
#undef X
};

#endif
