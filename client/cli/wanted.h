/* What `lock` and `acquire` have in common: which lock, in which mode, how long to wait. */
#ifndef LOCKSTEP_CLI_WANTED_H
#define LOCKSTEP_CLI_WANTED_H

#include "client/cli/cli.h"

struct cli_wanted {
    const char *key;
    int64_t ttl_ms;        /* 0: not given */
    int64_t wait_ms;       /* LOCKSTEP_FOREVER: not given */
    int64_t lock_delay_ms; /* the session's: for who makes the client */
    bool try_once;
    bool shared;
    uint32_t permits; /* 0: not given */
    uint32_t limit;
    const char *value; /* NULL: not given */
};

/* Parses --ttl --wait --try --shared --permits --limit --lock-delay --value; its input is a struct cli_wanted. */
extern const struct argp cli_wanted_argp;

void cli_wanted_init(struct cli_wanted *wanted);
void cli_wanted_options(const struct cli_wanted *wanted, struct lockstep_acquire_options *ret_options);
/* Say why it was not obtained; with HELD, by whom. @return the exit code. */
int cli_wanted_fail(const struct cli_wanted *wanted, int result, const struct lockstep_holder *holder);

#endif
