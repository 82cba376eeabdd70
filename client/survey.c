/* See survey.h. Each node is asked by a probe: a driver of its own with a core that stays with one address, on the same
 * loop. The first probes go to the endpoints; each answer may name members that nobody has asked yet: they are asked at once, so
 * that an endpoint which is silent does not use up the time for them.
 *
 *   S1  One cluster is shown: that of the first endpoint in the client's list that answers. An endpoint that answers for another
 *       is shown as one that did not answer, and the members that it named are not shown, although some may have been asked.
 *   S2  Who has not answered by the client's request timeout is not waited for, nor is the end of a probe's driver: that may
 *       wait for a name to be resolved.
 *
 * Everything here runs on the loop's thread, so that no lock is needed; a probe's answer comes within a turn of the probe's
 * driver, where it only copies and closes the probe. */
#include "client/survey.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/views.h"

/* Until it is known which cluster is shown, each endpoint may name members of another. */
enum {
    MEMBERS_HEARD_MAX = LOCKSTEP_ENDPOINTS_MAX * PROTO_MEMBERS_MAX,
    PROBES_MAX = LOCKSTEP_ENDPOINTS_MAX + MEMBERS_HEARD_MAX
};

struct survey;

struct probe {
    struct survey *survey;
    struct driver *driver;
    struct boot_time begun;
    uint64_t named_by; /* the cluster that it was asked as a member of; 0: it is an endpoint of the list */
    struct driver_event end; /* closes it: the core can not be closed from within its answer */
    struct lockstep_node_status node;
};

struct member {
    uint64_t cluster_id; /* of the node that named it */
    uint64_t node_id;
    bool voter;
    char peer_address[PROTO_ADDRESS_BYTES_MAX + 1];
    char client_address[PROTO_ADDRESS_BYTES_MAX + 1];
};

struct survey {
    struct driver_event begin;
    struct operation *operation;
    struct boot_time due; /* S2 */
    unsigned awaited;     /* answers that have not come */
    unsigned open;        /* probes whose driver is not closed */
    bool ended;           /* the operation has its answer, and may be gone */
    unsigned count;
    struct probe probes[PROBES_MAX];
    struct member members[MEMBERS_HEARD_MAX];
    unsigned members_count;
    uint64_t cluster_id; /* S1; 0: nobody has answered yet */
    bool wrong_cluster;
};

static void survey_end(struct survey *survey);

/* ---- one probe ---- */

static void learn_members(struct survey *survey, const struct proto_cluster_reply *cluster)
{
    for (uint32_t i = 0; i < cluster->members_count; i++) {
        const struct proto_member *from = &cluster->members[i];
        unsigned at = 0;
        while (at < survey->members_count && (survey->members[at].node_id != from->node_id ||
                                              survey->members[at].cluster_id != cluster->cluster_id)) {
            at++;
        }
        if (at == survey->members_count && at < MEMBERS_HEARD_MAX) {
            struct member *member = &survey->members[survey->members_count++];
            member->cluster_id = cluster->cluster_id;
            member->node_id = from->node_id;
            member->voter = from->voter;
            view_text(from->peer_address, member->peer_address, sizeof(member->peer_address));
            view_text(from->client_address, member->client_address, sizeof(member->client_address));
        }
    }
}

static void on_answer(void *user, const struct lsc_outcome *outcome)
{
    struct probe *probe = user;
    struct lockstep_node_status *node = &probe->node;
    driver_queue(probe->driver, &probe->end);
    node->result = outcome->result;
    node->round_trip_ms = (int64_t)boot_until(probe->begun, driver_now(probe->driver));
    if (outcome->result == LOCKSTEP_OK && outcome->reply != NULL) {
        view_node(&outcome->reply->body.cluster, node);
        learn_members(probe->survey, &outcome->reply->body.cluster);
        return;
    }
    probe->survey->wrong_cluster |= outcome->result == LOCKSTEP_WRONG_CLUSTER;
    const char *detail = outcome->detail[0] == '\0' ? lockstep_result_text(outcome->result) : outcome->detail;
    (void)snprintf(node->error, sizeof(node->error), "%.*s", (int)sizeof(node->error) - 1, detail);
}

static void reject(const struct survey *survey, struct lockstep_node_status *node)
{
    struct lockstep_node_status rejected = {.result = LOCKSTEP_WRONG_CLUSTER};
    memcpy(rejected.address, node->address, sizeof(rejected.address));
    (void)snprintf(rejected.error, sizeof(rejected.error),
                   "a node of cluster %" PRIu64 ", while the first endpoint that answered is of cluster %" PRIu64,
                   node->cluster_id, survey->cluster_id);
    *node = rejected;
}

/* S1, by the answers there are. Endpoints are asked first, and members only after one of them has answered: so it is one. */
static uint64_t first_cluster(const struct survey *survey)
{
    uint64_t cluster_id = 0;
    for (unsigned i = 0; i < survey->count && cluster_id == 0; i++) {
        cluster_id = survey->probes[i].node.cluster_id; /* 0 of one that has not answered */
    }
    return cluster_id;
}

/* S1, when all that were asked have answered or not. */
static void keep_one_cluster(struct survey *survey)
{
    survey->cluster_id = first_cluster(survey);
    for (unsigned i = 0; i < survey->count; i++) {
        struct lockstep_node_status *node = &survey->probes[i].node;
        if (node->result == LOCKSTEP_OK && node->cluster_id != survey->cluster_id) {
            reject(survey, node);
        }
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < survey->members_count; i++) {
        if (survey->members[i].cluster_id == survey->cluster_id) {
            survey->members[kept++] = survey->members[i];
        }
    }
    survey->members_count = kept;
}

static struct probe *find_asked(struct survey *survey, const char *address)
{
    for (unsigned i = 0; i < survey->count; i++) {
        if (strcmp(survey->probes[i].node.address, address) == 0) {
            return &survey->probes[i];
        }
    }
    return NULL;
}

static bool has_answered(const struct survey *survey, const struct member *member)
{
    for (unsigned i = 0; i < survey->count; i++) {
        const struct lockstep_node_status *node = &survey->probes[i].node;
        if (node->result == LOCKSTEP_OK && node->node_id == member->node_id &&
            node->cluster_id == member->cluster_id) {
            return true;
        }
    }
    return false;
}

static void probe_begin(struct survey *survey, const char *address, uint64_t named_by);

/* Whom do the nodes of the cluster name that is still missing? */
static void ask_members(struct survey *survey)
{
    uint64_t cluster_id = first_cluster(survey);
    for (unsigned i = 0; i < survey->members_count; i++) {
        const struct member *member = &survey->members[i];
        if (member->cluster_id != cluster_id || has_answered(survey, member)) {
            continue;
        }
        struct probe *asked = find_asked(survey, member->client_address);
        if (asked == NULL) {
            probe_begin(survey, member->client_address, cluster_id);
        } else if (asked->named_by != 0) {
            asked->named_by = cluster_id;
        }
    }
}

static void free_if_done(struct survey *survey)
{
    if (survey->ended && survey->open == 0) {
        free(survey);
    }
}

static void on_probe_closed(void *ctx, int result)
{
    (void)result; /* a probe has no session */
    struct survey *survey = ((struct probe *)ctx)->survey;
    survey->open--;
    free_if_done(survey);
}

static void run_end(struct driver_event *event)
{
    struct probe *probe = (void *)((char *)event - offsetof(struct probe, end));
    struct survey *survey = probe->survey;
    (void)pthread_mutex_lock(&probe->driver->mutex);
    driver_close(probe->driver, true, on_probe_closed, probe);
    (void)pthread_mutex_unlock(&probe->driver->mutex);
    survey->awaited--;
    ask_members(survey);
    if (survey->awaited == 0) {
        survey_end(survey);
    }
}

/* What is left of the whole survey's time. */
static uint64_t time_left_ms(const struct survey *survey)
{
    struct driver *driver = survey->operation->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    uint64_t left_ms = boot_until(driver_now(driver), survey->due);
    (void)pthread_mutex_unlock(&driver->mutex);
    return left_ms > 0 ? left_ms : 1;
}

static int probe_options(const struct survey *survey, const char *address, struct client_options *ret)
{
    *ret = survey->operation->driver->options;
    ret->text = strdup(address);
    if (ret->text == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    ret->endpoints[0] = ret->text;
    ret->config.endpoints_count = 1;
    ret->config.pinned = true;
    ret->config.adopt_session_id = 0;
    ret->on_session_lost = NULL;
    uint64_t left_ms = time_left_ms(survey);
    ret->config.request_timeout_ms =
        ret->config.connect_timeout_ms < left_ms ? ret->config.connect_timeout_ms : left_ms;
    return LOCKSTEP_OK;
}

static void probe_begin(struct survey *survey, const char *address, uint64_t named_by)
{
    if (survey->count == PROBES_MAX) {
        return;
    }
    struct probe *probe = &survey->probes[survey->count++];
    struct client_options options;
    (void)snprintf(probe->node.address, sizeof(probe->node.address), "%s", address);
    probe->survey = survey;
    probe->named_by = named_by;
    probe->end.run = run_end;
    int result = address_valid(address) ? probe_options(survey, address, &options) : LOCKSTEP_INVALID;
    if (result == LOCKSTEP_OK) {
        result = driver_create(survey->operation->driver->loop, &options, &probe->driver);
    }
    if (result != LOCKSTEP_OK) {
        probe->node.result = result;
        (void)snprintf(probe->node.error, sizeof(probe->node.error), "%s", lockstep_result_text(result));
        return;
    }
    survey->awaited++;
    survey->open++;
    struct proto_request request = {.kind = PROTO_CLUSTER_STATUS};
    (void)pthread_mutex_lock(&probe->driver->mutex);
    probe->begun = driver_now(probe->driver);
    (void)lsc_ask(probe->driver->core, probe->begun, &request, probe, on_answer);
    driver_poke(probe->driver);
    (void)pthread_mutex_unlock(&probe->driver->mutex);
}

/* ---- the answer ---- */

/* What the others say of a node. */
static void describe(const struct survey *survey, struct lockstep_node_status *node)
{
    for (unsigned i = 0; i < survey->members_count; i++) {
        const struct member *member = &survey->members[i];
        bool same = node->node_id == 0 ? strcmp(member->client_address, node->address) == 0
                                       : member->node_id == node->node_id;
        if (same) {
            node->node_id = member->node_id;
            node->voter = member->voter;
            memcpy(node->peer_address, member->peer_address, sizeof(node->peer_address));
        }
    }
}

/* The same node may have been asked by two names; and an endpoint that did not answer and that no member has is another name
 * of one of them, or of nobody: it is shown only if nobody named the members. Who answered for another cluster is shown always:
 * it was asked by mistake. */
static bool is_shown(const struct survey *survey, unsigned at)
{
    const struct lockstep_node_status *node = &survey->probes[at].node;
    uint64_t named_by = survey->probes[at].named_by;
    if (named_by != 0 && named_by != survey->cluster_id) {
        return false;
    }
    if (node->node_id == 0) {
        return survey->members_count == 0 || node->result == LOCKSTEP_WRONG_CLUSTER;
    }
    for (unsigned i = 0; i < survey->count; i++) {
        const struct lockstep_node_status *other = &survey->probes[i].node;
        bool better = other->result == LOCKSTEP_OK && (node->result != LOCKSTEP_OK || i < at);
        if (i != at && other->node_id == node->node_id && (better || (other->result == node->result && i < at))) {
            return false;
        }
    }
    return true;
}

static int by_node_id(const void *left, const void *right)
{
    const struct lockstep_node_status *a = left;
    const struct lockstep_node_status *b = right;
    if (a->node_id == b->node_id || a->node_id == 0 || b->node_id == 0) {
        return (a->node_id == 0) - (b->node_id == 0);
    }
    return a->node_id < b->node_id ? -1 : 1;
}

struct cluster_block {
    struct lockstep_cluster_status status;
    struct lockstep_node_status nodes[];
};

static struct lockstep_cluster_status *survey_result(struct survey *survey)
{
    struct cluster_block *block = calloc(1, sizeof(*block) + survey->count * sizeof(block->nodes[0]));
    if (block == NULL) {
        return NULL;
    }
    struct lockstep_cluster_status *status = &block->status;
    for (unsigned i = 0; i < survey->count; i++) {
        describe(survey, &survey->probes[i].node);
    }
    for (unsigned i = 0; i < survey->count; i++) {
        const struct lockstep_node_status *node = &survey->probes[i].node;
        if (!is_shown(survey, i)) {
            continue;
        }
        block->nodes[status->nodes_count++] = *node;
        if (node->result != LOCKSTEP_OK) {
            continue;
        }
        status->answered_count++;
        status->cluster_id = node->cluster_id;
        if (node->term > status->term || (node->term == status->term && status->leader_id == 0)) {
            status->term = node->term;
            status->leader_id = node->leader_id;
        }
    }
    qsort(block->nodes, status->nodes_count, sizeof(block->nodes[0]), by_node_id);
    status->nodes = block->nodes;
    return status;
}

static int result_of(const struct survey *survey, const struct lockstep_cluster_status *status)
{
    if (status == NULL) {
        return LOCKSTEP_NO_MEMORY;
    }
    if (status->answered_count > 0) {
        return LOCKSTEP_OK;
    }
    return survey->wrong_cluster ? LOCKSTEP_WRONG_CLUSTER : LOCKSTEP_UNREACHABLE;
}

static void survey_end(struct survey *survey)
{
    struct operation *operation = survey->operation;
    struct driver *driver = operation->driver;
    keep_one_cluster(survey);
    struct lockstep_cluster_status *status = survey_result(survey);
    int result = result_of(survey, status);
    (void)pthread_mutex_lock(&driver->mutex);
    if (result == LOCKSTEP_OK) {
        operation->answer = status;
    } else {
        const char *error = survey->count > 0 ? survey->probes[0].node.error : "";
        (void)snprintf(operation->detail, sizeof(operation->detail), "no node answered; %.400s", error);
        free(status);
    }
    operation->result = result;
    operation->done = true;
    operation->ended(operation);
    (void)pthread_mutex_unlock(&driver->mutex);
    survey->ended = true;
    free_if_done(survey);
}

static void run_begin(struct driver_event *event)
{
    struct survey *survey = (void *)((char *)event - offsetof(struct survey, begin));
    const struct client_options *options = &survey->operation->driver->options;
    for (unsigned i = 0; i < options->config.endpoints_count; i++) {
        if (find_asked(survey, options->endpoints[i]) == NULL) {
            probe_begin(survey, options->endpoints[i], 0);
        }
    }
    if (survey->awaited == 0) {
        survey_end(survey);
    }
}

int survey_begin(struct operation *operation)
{
    struct driver *driver = operation->driver;
    struct survey *survey = calloc(1, sizeof(*survey));
    if (survey == NULL) {
        return result_set(LOCKSTEP_NO_MEMORY, "no memory to ask the nodes");
    }
    survey->operation = operation;
    survey->begin.run = run_begin;
    (void)pthread_mutex_lock(&driver->mutex);
    survey->due = boot_after(driver_now(driver), driver->options.config.request_timeout_ms);
    driver_queue(driver, &survey->begin);
    driver_poke(driver);
    (void)pthread_mutex_unlock(&driver->mutex);
    return LOCKSTEP_OK;
}

void lockstep_cluster_status_free(struct lockstep_cluster_status *status)
{
    free(status); /* the first member of its block */
}
