/* `cluster status`: every node as it sees itself. `cluster transfer`: let another lead. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"

enum { KEY_CHECK = 0x500 };

struct cluster_words {
    struct cli *cli;
    const char *verb;
    uint64_t node_id; /* transfer: 0 if any will do */
    bool check;
};

static bool is_verb(const struct cluster_words *words, const char *verb)
{
    return words->verb != NULL && strcmp(words->verb, verb) == 0;
}

static error_t parse_word(struct cluster_words *words, const char *argument, const struct argp_state *state)
{
    if (words->verb == NULL) {
        words->verb = argument;
        if (!is_verb(words, "status") && !is_verb(words, "transfer")) {
            argp_error(state, "\"%s\" is not known; allowed are status and transfer", argument);
        }
        return 0;
    }
    if (is_verb(words, "transfer") && words->node_id == 0) {
        words->node_id = cli_number("NODE", argument, 1, UINT64_MAX);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse_cluster(int key, char *argument, struct argp_state *state)
{
    struct cluster_words *words = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = words->cli;
        return 0;
    case KEY_CHECK:
        words->check = true;
        return 0;
    case ARGP_KEY_ARG:
        return parse_word(words, argument, state);
    case ARGP_KEY_END:
        if (words->verb == NULL) {
            argp_error(state, "what of the cluster? allowed are status and transfer");
        }
        if (words->check && !is_verb(words, "status")) {
            argp_error(state, "--check goes with status only");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- status ---- */

static json_t *node_json(const struct lockstep_node_status *node)
{
    char digest[32];
    (void)snprintf(digest, sizeof digest, "%016" PRIx64, node->digest);
    json_t *value = json_pack("{s:I, s:s, s:s, s:b}", "node_id", (json_int_t)node->node_id, "address", node->address,
                              "peer_address", node->peer_address, "reachable", node->result == LOCKSTEP_OK);
    if (node->result != LOCKSTEP_OK) {
        (void)json_object_set_new(value, "error", json_string(node->error));
        return value;
    }
    json_t *more = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "is_leader", node->is_leader, "term",
        (json_int_t)node->term, "commit_index", (json_int_t)node->commit_index, "applied_index",
        (json_int_t)node->applied_index, "digest_index", (json_int_t)node->digest_index, "digest", digest,
        "snapshot_index", (json_int_t)node->snapshot_index, "log_first_index", (json_int_t)node->log_first_index,
        "time_ms", (json_int_t)node->time_ms, "sessions_count", (json_int_t)node->sessions_count, "locks_count",
        (json_int_t)node->locks_count, "uptime_ms", (json_int_t)node->uptime_ms, "round_trip_ms",
        (json_int_t)node->round_trip_ms, "version", node->version);
    (void)json_object_update(value, more);
    json_decref(more);
    return value;
}

static void print_json(const struct lockstep_cluster_status *status)
{
    char id[32];
    json_t *nodes = json_array();
    for (size_t i = 0; i < status->nodes_count; i++) {
        (void)json_array_append_new(nodes, node_json(&status->nodes[i]));
    }
    /* A cluster id may be any 64-bit number, which JSON readers do not take; so it is text. */
    (void)snprintf(id, sizeof id, "%" PRIu64, status->cluster_id);
    cli_json_end(json_pack("{s:s, s:I, s:I, s:I, s:o}", "cluster_id", id, "leader_id", (json_int_t)status->leader_id,
                           "term", (json_int_t)status->term, "answered_count", (json_int_t)status->answered_count, "nodes",
                           nodes));
}

static void print_node(struct cli_table *table, const struct lockstep_node_status *node)
{
    char id[32], term[32], applied[64], snapshot[32], digest[64], sessions[32], locks[32], uptime[32];
    (void)snprintf(id, sizeof id, "%" PRIu64, node->node_id);
    if (node->result != LOCKSTEP_OK) {
        const char *state = node->result == LOCKSTEP_WRONG_CLUSTER ? "foreign" : "down";
        const char *const cells[] = {
            node->node_id != 0 ? id : "?", node->address, state, "", "", "", "", "", "", node->error};
        cli_table_row(table, cells);
        return;
    }
    (void)snprintf(term, sizeof term, "%" PRIu64, node->term);
    (void)snprintf(applied, sizeof applied, "%" PRIu64, node->applied_index);
    (void)snprintf(snapshot, sizeof snapshot, "%" PRIu64, node->snapshot_index);
    (void)snprintf(digest, sizeof digest, "%016" PRIx64 "@%" PRIu64, node->digest, node->digest_index);
    (void)snprintf(sessions, sizeof sessions, "%" PRIu64, node->sessions_count);
    (void)snprintf(locks, sizeof locks, "%" PRIu64, node->locks_count);
    const char *const cells[] = {id,
                                 node->address,
                                 node->is_leader ? "leader" : "follower",
                                 term,
                                 applied,
                                 snapshot,
                                 sessions,
                                 locks,
                                 cli_duration_text(node->uptime_ms, uptime),
                                 digest};
    cli_table_row(table, cells);
}

/* "node 3", or what it is called as long as nobody has said its number. @return `ret_text`, which has room for 32 bytes. */
static const char *node_name(const struct lockstep_node_status *node, char *ret_text)
{
    if (node->node_id == 0) {
        return "the node";
    }
    (void)snprintf(ret_text, 32, "node %" PRIu64, node->node_id);
    return ret_text;
}

/* Nobody who answers has applied anything, as it is before the first start of a cluster has come to its end. */
static bool looks_new(const struct lockstep_cluster_status *status)
{
    for (size_t i = 0; i < status->nodes_count; i++) {
        if (status->nodes[i].result == LOCKSTEP_OK && status->nodes[i].applied_index != 0) {
            return false;
        }
    }
    return true;
}

static void print_no_leader(const struct lockstep_cluster_status *status)
{
    char name[32];
    const char *before = "; no answer from ";
    (void)printf("no leader: %s", looks_new(status) ? "the first start of a cluster needs all of its nodes once, and a majority later"
                                                    : "a majority of the nodes must be up and connected");
    for (size_t i = 0; i < status->nodes_count; i++) {
        const struct lockstep_node_status *node = &status->nodes[i];
        if (node->result != LOCKSTEP_OK) {
            (void)printf("%s%s (%s)", before, node_name(node, name), node->address);
            before = ", ";
        }
    }
    (void)putchar('\n');
}

static void print_text(const struct lockstep_cluster_status *status)
{
    static const char *const heads[] = {"NODE",     "ADDRESS",  "STATE", "TERM",   "APPLIED",
                                        "SNAPSHOT", "SESSIONS", "LOCKS", "UPTIME", "DIGEST"};
    struct cli_table table;
    (void)printf("cluster %" PRIu64 "\n", status->cluster_id);
    cli_table_begin(&table, sizeof heads / sizeof heads[0], heads);
    for (size_t i = 0; i < status->nodes_count; i++) {
        print_node(&table, &status->nodes[i]);
    }
    cli_table_print(&table);
    cli_table_free(&table);
    if (status->leader_id == 0) {
        print_no_leader(status);
    }
}

/* What is wrong with the cluster, on standard error; without --check only what is wrong with the question.
 * @return the exit code. */
static int judge(const struct lockstep_cluster_status *status, bool check)
{
    char name[32];
    int code = CLI_EXIT_OK;
    for (size_t i = 0; i < status->nodes_count; i++) {
        const struct lockstep_node_status *node = &status->nodes[i];
        if (node->result == LOCKSTEP_WRONG_CLUSTER) {
            code = cli_report(cli_exit_of(node->result), "WRONG_CLUSTER", node->address, "%s", node->error);
        }
    }
    if (!check) {
        return code;
    }
    for (size_t i = 0; i < status->nodes_count; i++) {
        const struct lockstep_node_status *node = &status->nodes[i];
        if (node->result != LOCKSTEP_OK && node->result != LOCKSTEP_WRONG_CLUSTER) {
            int failed = cli_report(CLI_EXIT_FAILED, lockstep_result_name(node->result), node->address,
                                    "%s does not answer: %s", node_name(node, name), node->error);
            code = code == CLI_EXIT_OK ? failed : code;
        }
    }
    return status->leader_id != 0 ? code
                                  : cli_report(CLI_EXIT_UNREACHABLE, "UNREACHABLE", "cluster status", "there is no leader");
}

static int show_status(const struct cluster_words *words, struct lockstep_client *client)
{
    struct lockstep_cluster_status *status = NULL;
    int result = lockstep_cluster_status(client, &status);
    if (result != LOCKSTEP_OK) {
        return cli_fail("cluster status", result);
    }
    if (words->cli->json) {
        print_json(status);
    } else {
        print_text(status);
    }
    int code = judge(status, words->check);
    lockstep_cluster_status_free(status);
    return code;
}

/* ---- transfer ---- */

static int transfer(const struct cluster_words *words, struct lockstep_client *client)
{
    int result = lockstep_cluster_transfer(client, words->node_id);
    if (result != LOCKSTEP_OK) {
        return cli_fail("cluster transfer", result);
    }
    if (words->cli->json) {
        cli_json_end(json_pack("{s:b}", "begun", 1));
    } else if (words->node_id == 0) {
        (void)printf("the leader hands over; cluster status shows who leads\n");
    } else {
        (void)printf("the leader hands over to node %" PRIu64 ", unless that is itself; cluster status shows who leads\n",
                     words->node_id);
    }
    return CLI_EXIT_OK;
}

int cli_cluster(struct cli *cli, int argc, char **argv)
{
    static const struct argp_option argp_options[] = {
        {"check", KEY_CHECK, NULL, 0,
         "status: fail, with the reasons, unless there is a leader and every node answers", 1},
        {0}};
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse_cluster,
        .args_doc = "status [--check]\ntransfer [NODE]",
        .doc = "Show every node as it sees itself; or have the leader hand over to NODE, or to any node that is up to date.\v"
               "Nodes that show a digest of the same index (after the @) must show the same digest. With --check the exit "
               "code is 122 if there is no leader, 119 if there is one and a node does not answer. With or without it, it "
               "is 122 if an endpoint belongs to another cluster than the first one that answers.",
        .children = children,
    };
    struct cluster_words words = {.cli = cli};
    cli_parse(&argp, argc, argv, &words);
    struct lockstep_client *client = cli_client(cli);
    int code = is_verb(&words, "status") ? show_status(&words, client) : transfer(&words, client);
    lockstep_client_free(client);
    return code;
}
