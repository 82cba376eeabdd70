/* The options that say which lock is wanted, and how. */
#include "client/cli/wanted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_TTL = 0x200, KEY_WAIT, KEY_TRY, KEY_SHARED, KEY_PERMITS, KEY_LIMIT, KEY_LOCK_DELAY, KEY_VALUE };

static const struct argp_option wanted_options[] = {
    {"ttl", KEY_TTL, "DURATION", 0,
     "100ms..24h; how soon the lock is free when its holder is gone; default of lock: 10s, of acquire: none, it must be said", 1},
    {"wait", KEY_WAIT, "DURATION", 0, "1ms..8760h; queue for at most so long; default: for ever", 1},
    {"try", KEY_TRY, NULL, 0, "do not queue", 1},
    {"shared", KEY_SHARED, NULL, 0, "together with other shared holders", 1},
    {"permits", KEY_PERMITS, "N", 0, "1..M; take N of the M that --limit says", 1},
    {"limit", KEY_LIMIT, "M", 0, "1..65535; how many permits there are, the same for all who use the key", 1},
    {"lock-delay", KEY_LOCK_DELAY, "DURATION", 0,
     "0ms..1h; so long the lock stays closed to others if it ends unreleased, because its holder is gone; default: 0ms", 1},
    {"value", KEY_VALUE, "TEXT", 0, "0..4096 bytes; set the lock's value, which status shows; '' removes it", 1},
    {0},
};

static void check_wanted(const struct cli_wanted *wanted)
{
    if (wanted->try_once && wanted->wait_ms != LOCKSTEP_FOREVER) {
        cli_misused("--try and --wait exclude each other");
    }
    if (wanted->shared && wanted->permits != 0) {
        cli_misused("--shared and --permits exclude each other");
    }
    if ((wanted->permits != 0) != (wanted->limit != 0)) {
        cli_misused("--permits and --limit go together");
    }
    if (wanted->permits > wanted->limit) {
        cli_misused("--permits is %" PRIu32 "; allowed are 1..%" PRIu32 ", the --limit", wanted->permits, wanted->limit);
    }
}

static error_t parse_wanted(int key, char *argument, struct argp_state *state)
{
    struct cli_wanted *wanted = state->input;
    switch (key) {
    case KEY_TTL:
        wanted->ttl_ms = cli_duration("--ttl", argument, LOCKSTEP_TTL_MS_MIN, LOCKSTEP_TTL_MS_MAX);
        return 0;
    case KEY_WAIT:
        wanted->wait_ms = cli_duration("--wait", argument, 1, LOCKSTEP_WAIT_MS_MAX);
        return 0;
    case KEY_TRY:
        wanted->try_once = true;
        return 0;
    case KEY_SHARED:
        wanted->shared = true;
        return 0;
    case KEY_PERMITS:
        wanted->permits = (uint32_t)cli_number("--permits", argument, 1, LOCKSTEP_PERMITS_MAX);
        return 0;
    case KEY_LIMIT:
        wanted->limit = (uint32_t)cli_number("--limit", argument, 1, LOCKSTEP_PERMITS_MAX);
        return 0;
    case KEY_LOCK_DELAY:
        wanted->lock_delay_ms = cli_duration("--lock-delay", argument, 0, LOCKSTEP_LOCK_DELAY_MS_MAX);
        return 0;
    case KEY_VALUE:
        if (strlen(argument) > LOCKSTEP_VALUE_BYTES_MAX) {
            cli_misused("--value has %zu bytes; allowed are 0..%d", strlen(argument), LOCKSTEP_VALUE_BYTES_MAX);
        }
        wanted->value = argument;
        return 0;
    case ARGP_KEY_END:
        check_wanted(wanted);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_wanted_argp = {.options = wanted_options, .parser = parse_wanted};

void cli_wanted_init(struct cli_wanted *wanted)
{
    memset(wanted, 0, sizeof *wanted);
    wanted->wait_ms = LOCKSTEP_FOREVER;
}

void cli_wanted_options(const struct cli_wanted *wanted, struct lockstep_acquire_options *ret_options)
{
    lockstep_acquire_options_init(ret_options);
    ret_options->mode = wanted->shared         ? LOCKSTEP_SHARED
                        : wanted->permits != 0 ? LOCKSTEP_PERMITS
                                               : LOCKSTEP_EXCLUSIVE;
    if (wanted->permits != 0) {
        ret_options->permits = wanted->permits;
        ret_options->limit = wanted->limit;
    }
    ret_options->wait_ms = wanted->try_once ? 0 : wanted->wait_ms;
    ret_options->value = wanted->value;
    ret_options->value_bytes = wanted->value != NULL ? strlen(wanted->value) : 0;
}

int cli_wanted_fail(const struct cli_wanted *wanted, int result, const struct lockstep_holder *holder)
{
    char remaining[32];
    if (result != LOCKSTEP_HELD || holder == NULL) {
        return cli_fail(wanted->key, result);
    }
    if (holder->token == 0) {
        return cli_report(cli_exit_of(result), "HELD", wanted->key,
                          "closed for another %s: the session of its last holder expired (lock-delay)",
                          cli_duration_text(holder->remaining_ms, remaining));
    }
    return cli_report(cli_exit_of(result), "HELD", wanted->key,
                      "held by %s (session %" PRIu64 ", token %" PRIu64 ", %s); its lease ends in %s unless it is renewed",
                      holder->owner[0] != '\0' ? holder->owner : "somebody without a name", holder->session_id,
                      holder->token, cli_mode_name(holder->mode), cli_duration_text(holder->remaining_ms, remaining));
}
