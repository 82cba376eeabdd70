/* `status`, `list`, `sessions`, `check`: reads. Linearizable unless --stale is given. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

enum { ARGUMENTS_MAX = 2 };

struct show_words {
    struct cli *cli;
    const char *const *names; /* of the arguments that must be there, in order; NULL at the end */
    const char *arguments[ARGUMENTS_MAX];
    int arguments_count;
    int arguments_max;
    bool stale;
};

static const struct argp_option show_options[] = {
    {"stale", 's', NULL, 0, "any node may answer, from what it has applied", 1}, {0}};

static void require_arguments(const struct show_words *words, const struct argp_state *state)
{
    for (int i = 0; words->names != NULL && words->names[i] != NULL; i++) {
        if (i >= words->arguments_count) {
            argp_error(state, "%s is missing", words->names[i]);
        }
    }
}

static error_t parse_show(int key, char *argument, struct argp_state *state)
{
    struct show_words *words = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = words->cli;
        return 0;
    case 's':
        words->stale = true;
        return 0;
    case ARGP_KEY_ARG:
        if (words->arguments_count == words->arguments_max) {
            return ARGP_ERR_UNKNOWN;
        }
        words->arguments[words->arguments_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        require_arguments(words, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child show_children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};

static const char *number_text(uint64_t number, char *ret_text)
{
    (void)snprintf(ret_text, 32, "%" PRIu64, number);
    return ret_text;
}

/* ---- status ---- */

static json_t *holder_json(const struct lockstep_holder *holder)
{
    json_t *value = json_pack("{s:I, s:s, s:I, s:I, s:s, s:I, s:I}", "session_id", (json_int_t)holder->session_id, "owner",
                              holder->owner, "token", (json_int_t)holder->token, "fence", (json_int_t)holder->fence, "mode",
                              cli_mode_name(holder->mode), "holds", (json_int_t)holder->holds, "remaining_ms",
                              (json_int_t)holder->remaining_ms);
    if (holder->mode == LOCKSTEP_PERMITS) {
        (void)json_object_set_new(value, "permits", json_integer(holder->permits));
    }
    return value;
}

static json_t *waiter_json(const struct lockstep_waiter *waiter)
{
    json_t *remaining =
        waiter->remaining_ms == UINT64_MAX ? json_null() : json_integer((json_int_t)waiter->remaining_ms);
    return json_pack("{s:I, s:s, s:I, s:s, s:o}", "session_id", (json_int_t)waiter->session_id, "owner", waiter->owner,
                     "request_id", (json_int_t)waiter->request_id, "mode", cli_mode_name(waiter->mode), "remaining_ms",
                     remaining);
}

/* Text if it is text, else hexadecimal under another name: JSON strings are UTF-8. */
static void value_json(json_t *object, const struct lockstep_lock_status *status)
{
    json_t *text = json_stringn(status->value, status->value_bytes);
    if (text != NULL) {
        (void)json_object_set_new(object, "value", text);
        return;
    }
    char *hex = calloc(2 * status->value_bytes + 1, 1);
    for (size_t i = 0; hex != NULL && i < status->value_bytes; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)status->value)[i]);
    }
    (void)json_object_set_new(object, "value_hex", json_string(hex));
    free(hex);
}

static void status_json(const struct lockstep_lock_status *status)
{
    json_t *holders = json_array();
    json_t *waiters = json_array();
    for (size_t i = 0; i < status->holders_shown; i++) {
        (void)json_array_append_new(holders, holder_json(&status->holders[i]));
    }
    for (size_t i = 0; i < status->waiters_shown; i++) {
        (void)json_array_append_new(waiters, waiter_json(&status->waiters[i]));
    }
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:I}", "key", status->key, "mode",
        status->holders_count > 0 ? cli_mode_name(status->mode) : "free", "fence", (json_int_t)status->fence,
        "holders_count", (json_int_t)status->holders_count, "waiters_count", (json_int_t)status->waiters_count, "limit",
        (json_int_t)status->limit, "permits_used", (json_int_t)status->permits_used, "delay_remaining_ms",
        (json_int_t)status->delay_remaining_ms, "holders", holders, "waiters", waiters, "applied_index",
        (json_int_t)status->applied_index, "time_ms", (json_int_t)status->time_ms);
    if (status->has_value) {
        value_json(object, status);
    }
    cli_json_end(object);
}

/* A value is any bytes that some holder chose: as they are, they could steer the reader's terminal. */
static void value_text(const unsigned char *value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (value[i] >= ' ' && value[i] <= '~' && value[i] != '\\') {
            (void)putchar(value[i]);
        } else {
            (void)printf("\\x%02x", value[i]);
        }
    }
}

static void status_head(const struct lockstep_lock_status *status)
{
    char text[32];
    (void)printf("%s: %s", status->key, status->holders_count > 0 ? cli_mode_name(status->mode) : "free");
    if (status->limit > 0) {
        (void)printf(", %" PRIu32 " of %" PRIu32 " permits used", status->permits_used, status->limit);
    }
    if (status->fence != 0) {
        (void)printf(", fence %" PRIu64, status->fence);
    }
    if (status->delay_remaining_ms != 0) {
        (void)printf(", closed for another %s (lock-delay)", cli_duration_text(status->delay_remaining_ms, text));
    }
    if (status->has_value) {
        (void)printf(", value of %zu bytes: ", status->value_bytes);
        value_text(status->value, status->value_bytes);
    }
    (void)putchar('\n');
}

static void status_text(const struct lockstep_lock_status *status)
{
    static const char *const heads[] = {"", "OWNER", "SESSION", "TOKEN", "FENCE", "MODE", "LEFT"};
    struct cli_table table;
    char session[32], token[32], fence[32], left[32];
    status_head(status);
    if (status->holders_shown + status->waiters_shown == 0) {
        return;
    }
    cli_table_begin(&table, 7, heads);
    for (size_t i = 0; i < status->holders_shown; i++) {
        const struct lockstep_holder *holder = &status->holders[i];
        const char *const cells[] = {"holds", holder->owner, number_text(holder->session_id, session),
                                     number_text(holder->token, token), number_text(holder->fence, fence),
                                     cli_mode_name(holder->mode), cli_duration_text(holder->remaining_ms, left)};
        cli_table_row(&table, cells);
    }
    for (size_t i = 0; i < status->waiters_shown; i++) {
        const struct lockstep_waiter *waiter = &status->waiters[i];
        const char *const cells[] = {
            "waits", waiter->owner, number_text(waiter->session_id, session), "", "", cli_mode_name(waiter->mode),
            waiter->remaining_ms == UINT64_MAX ? "for ever" : cli_duration_text(waiter->remaining_ms, left)};
        cli_table_row(&table, cells);
    }
    cli_table_print(&table);
    cli_table_free(&table);
    if (status->holders_count + status->waiters_count > status->holders_shown + status->waiters_shown) {
        (void)printf("(%" PRIu64 " holders and %" PRIu64 " waiters in all)\n", status->holders_count,
                     status->waiters_count);
    }
}

int cli_status(struct cli *cli, int argc, char **argv)
{
    static const struct argp argp = {.options = show_options,
                                     .parser = parse_show,
                                     .args_doc = "KEY",
                                     .doc = "Show one lock: holders, waiters, value, delay.",
                                     .children = show_children};
    static const char *const names[] = {"KEY", NULL};
    struct show_words words = {.cli = cli, .names = names, .arguments_max = 1};
    struct lockstep_lock_status *status = NULL;
    cli_parse(&argp, argc, argv, &words);
    struct lockstep_client *client = cli_client(cli);
    int result = lockstep_lock_status(client, words.arguments[0], words.stale, &status);
    int code = CLI_EXIT_OK;
    if (result != LOCKSTEP_OK) {
        code = cli_fail(words.arguments[0], result);
    } else if (cli->json) {
        status_json(status);
    } else {
        status_text(status);
    }
    lockstep_lock_status_free(status);
    lockstep_client_free(client);
    return code;
}

/* ---- list ---- */

/* Something that is shown page by page, into a table or a JSON array. */
struct pages {
    struct cli *cli;
    struct lockstep_client *client;
    const struct show_words *words;
    struct cli_table table;
    json_t *rows;
};

static void lock_row(struct pages *pages, const struct lockstep_lock_row *row)
{
    char holders[32], waiters[32], fence[32], session[32], left[32];
    if (pages->cli->json) {
        (void)json_array_append_new(
            pages->rows,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:I}", "key", row->key, "mode",
                      row->holders_count > 0 ? cli_mode_name(row->mode) : "free", "holders_count",
                      (json_int_t)row->holders_count, "waiters_count", (json_int_t)row->waiters_count, "fence",
                      (json_int_t)row->fence, "session_id", (json_int_t)row->session_id, "owner", row->owner,
                      "remaining_ms", (json_int_t)row->remaining_ms, "delay_remaining_ms",
                      (json_int_t)row->delay_remaining_ms));
        return;
    }
    bool held = row->holders_count > 0;
    const char *const cells[] = {row->key,
                                 held                          ? cli_mode_name(row->mode)
                                 : row->delay_remaining_ms > 0 ? "delayed"
                                                               : "free",
                                 number_text(row->holders_count, holders),
                                 number_text(row->waiters_count, waiters),
                                 number_text(row->fence, fence),
                                 held ? number_text(row->session_id, session) : "",
                                 held ? cli_duration_text(row->remaining_ms, left) : "",
                                 row->owner};
    cli_table_row(&pages->table, cells);
}

static int list_pages(struct pages *pages)
{
    char after[LOCKSTEP_KEY_BYTES_MAX + 1] = "";
    for (bool more = true; more;) {
        struct lockstep_lock_list *list = NULL;
        const char *prefix = pages->words->arguments_count > 0 ? pages->words->arguments[0] : "";
        int result = lockstep_lock_list(pages->client, prefix, after, LOCKSTEP_LIST_MAX, pages->words->stale, &list);
        if (result != LOCKSTEP_OK) {
            return result;
        }
        for (size_t i = 0; i < list->count; i++) {
            lock_row(pages, &list->rows[i]);
        }
        more = list->more && list->count > 0;
        if (more) {
            (void)snprintf(after, sizeof after, "%s", list->rows[list->count - 1].key);
        }
        lockstep_lock_list_free(list);
    }
    return LOCKSTEP_OK;
}

/* ---- sessions ---- */

static void session_row(struct pages *pages, const struct lockstep_session_row *row)
{
    char id[32], ttl[32], left[32], delay[32], grants[32], waits[32];
    if (pages->cli->json) {
        (void)json_array_append_new(
            pages->rows, json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "session_id", (json_int_t)row->session_id,
                                   "owner", row->owner, "ttl_ms", (json_int_t)row->ttl_ms, "remaining_ms",
                                   (json_int_t)row->remaining_ms, "lock_delay_ms", (json_int_t)row->lock_delay_ms,
                                   "grants_count", (json_int_t)row->grants_count, "waits_count",
                                   (json_int_t)row->waits_count));
        return;
    }
    const char *const cells[] = {number_text(row->session_id, id),
                                 cli_duration_text(row->ttl_ms, ttl),
                                 cli_duration_text(row->remaining_ms, left),
                                 cli_duration_text(row->lock_delay_ms, delay),
                                 number_text(row->grants_count, grants),
                                 number_text(row->waits_count, waits),
                                 row->owner};
    cli_table_row(&pages->table, cells);
}

static int session_pages(struct pages *pages)
{
    uint64_t after = 0;
    for (bool more = true; more;) {
        struct lockstep_session_list *list = NULL;
        int result = lockstep_session_list(pages->client, after, LOCKSTEP_LIST_MAX, pages->words->stale, &list);
        if (result != LOCKSTEP_OK) {
            return result;
        }
        for (size_t i = 0; i < list->count; i++) {
            session_row(pages, &list->rows[i]);
            after = list->rows[i].session_id;
        }
        more = list->more && list->count > 0;
        lockstep_session_list_free(list);
    }
    return LOCKSTEP_OK;
}

static int show_pages(struct cli *cli, const struct show_words *words, const char *name, unsigned columns,
                      const char *const *heads, int (*fill)(struct pages *pages))
{
    struct pages pages = {.cli = cli, .client = cli_client(cli), .words = words, .rows = json_array()};
    if (!cli->json) {
        cli_table_begin(&pages.table, columns, heads);
    }
    int result = fill(&pages);
    int code = result == LOCKSTEP_OK ? CLI_EXIT_OK : cli_fail(name, result);
    if (result == LOCKSTEP_OK && cli->json) {
        cli_json_end(json_pack("{s:O}", name, pages.rows));
    } else if (result == LOCKSTEP_OK) {
        cli_table_print(&pages.table);
    }
    cli_table_free(&pages.table);
    json_decref(pages.rows);
    lockstep_client_free(pages.client);
    return code;
}

int cli_list(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"KEY", "MODE", "HOLDERS", "WAITERS", "FENCE", "SESSION", "LEFT", "OWNER"};
    static const struct argp argp = {.options = show_options,
                                     .parser = parse_show,
                                     .args_doc = "[PREFIX]",
                                     .doc = "List the locks in use, or those whose key begins with PREFIX.",
                                     .children = show_children};
    struct show_words words = {.cli = cli, .arguments_max = 1};
    cli_parse(&argp, argc, argv, &words);
    return show_pages(cli, &words, "locks", 8, heads, list_pages);
}

int cli_sessions(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"SESSION", "TTL", "LEFT", "LOCK-DELAY", "LOCKS", "WAITS", "OWNER"};
    static const struct argp argp = {.options = show_options,
                                     .parser = parse_show,
                                     .args_doc = "",
                                     .doc = "List the sessions.",
                                     .children = show_children};
    struct show_words words = {.cli = cli};
    cli_parse(&argp, argc, argv, &words);
    return show_pages(cli, &words, "sessions", 7, heads, session_pages);
}

/* ---- check ---- */

int cli_check(struct cli *cli, int argc, char **argv)
{
    static const struct argp argp = {.options = show_options,
                                     .parser = parse_show,
                                     .args_doc = "KEY FENCE",
                                     .doc = "Say whether FENCE is that of a current holder of KEY.\v"
                                            "Exit code 0 if it is, 123 if not. A storage must compare fences itself: "
                                            "this answer is about a moment that has passed.",
                                     .children = show_children};
    static const char *const names[] = {"KEY", "FENCE", NULL};
    struct show_words words = {.cli = cli, .names = names, .arguments_max = ARGUMENTS_MAX};
    uint64_t current = 0;
    cli_parse(&argp, argc, argv, &words);
    uint64_t fence = cli_number("FENCE", words.arguments[1], 0, UINT64_MAX);
    struct lockstep_client *client = cli_client(cli);
    int result = lockstep_fence_check(client, words.arguments[0], fence, words.stale, &current);
    bool answered = result == LOCKSTEP_OK || result == LOCKSTEP_STALE_FENCE;
    int code = answered ? (int)cli_exit_of(result) : cli_fail(words.arguments[0], result);
    if (answered && cli->json) {
        cli_json_end(json_pack("{s:s, s:I, s:b, s:I}", "key", words.arguments[0], "fence", (json_int_t)fence, "current",
                               result == LOCKSTEP_OK, "current_fence", (json_int_t)current));
    } else if (answered && current == 0) {
        (void)printf("stale: the lock is free\n");
    } else if (answered) {
        (void)printf("%s: the current fence is %" PRIu64 "\n", result == LOCKSTEP_OK ? "current" : "stale", current);
    }
    lockstep_client_free(client);
    return code;
}
