/* `cluster status`: every node as it sees itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"

struct cluster_words {
    struct cli *cli;
    const char *verb;
};

static error_t parse_cluster(int key, char *argument, struct argp_state *state)
{
    struct cluster_words *words = state->input;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = words->cli;
        return 0;
    }
    if (key == ARGP_KEY_ARG && words->verb == NULL) {
        if (strcmp(argument, "status") != 0) {
            argp_error(state, "\"%s\" is not known; allowed is status", argument);
        }
        words->verb = argument;
        return 0;
    }
    if (key == ARGP_KEY_END && words->verb == NULL) {
        argp_error(state, "what of the cluster? allowed is status");
    }
    return ARGP_ERR_UNKNOWN;
}

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
        const char *const cells[] = {id, node->address, "down", "", "", "", "", "", "", node->error};
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

static void print_text(const struct lockstep_cluster_status *status)
{
    static const char *const heads[] = {"NODE",     "ADDRESS",  "STATE", "TERM",   "APPLIED",
                                        "SNAPSHOT", "SESSIONS", "LOCKS", "UPTIME", "DIGEST"};
    struct cli_table table;
    cli_table_begin(&table, sizeof heads / sizeof heads[0], heads);
    for (size_t i = 0; i < status->nodes_count; i++) {
        print_node(&table, &status->nodes[i]);
    }
    cli_table_print(&table);
    cli_table_free(&table);
    if (status->leader_id == 0) {
        (void)printf("no leader: a majority of the nodes must be up and connected\n");
    }
}

int cli_cluster(struct cli *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {.parser = parse_cluster,
                                     .args_doc = "status",
                                     .doc = "Show every node as it sees itself.\v"
                                            "Nodes that show a digest of the same index (after the @) must show the same digest.",
                                     .children = children};
    struct cluster_words words = {.cli = cli};
    struct lockstep_cluster_status *status = NULL;
    cli_parse(&argp, argc, argv, &words);
    struct lockstep_client *client = cli_client(cli);
    int result = lockstep_cluster_status(client, &status);
    int code = CLI_EXIT_OK;
    if (result != LOCKSTEP_OK) {
        code = cli_fail("cluster status", result);
    } else if (cli->json) {
        print_json(status);
    } else {
        print_text(status);
    }
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
    return code;
}
