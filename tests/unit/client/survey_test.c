/* The status of a cluster: who is asked, when, and whose answer counts. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/include/lockstep.h"
#include "tests/unit/client/fake_node.h"

static struct fake_node *node, *other, *silent;

static int start_nodes(void **state)
{
    (void)state;
    node = fake_node_start();
    other = fake_node_start();
    silent = fake_node_start();
    fake_node_set_silent(silent, true);
    return 0;
}

static int stop_nodes(void **state)
{
    (void)state;
    fake_node_stop(node);
    fake_node_stop(other);
    fake_node_stop(silent);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Of the nodes at two endpoints; both timeouts are `timeout_ms`. */
static struct lockstep_client *create(const char *first, const char *second, int64_t timeout_ms)
{
    char endpoints[256];
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    (void)snprintf(endpoints, sizeof(endpoints), "%s,%s", first, second);
    lockstep_options_init(&options);
    options.endpoints = endpoints;
    options.connect_timeout_ms = timeout_ms;
    options.request_timeout_ms = timeout_ms;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    return client;
}

static void *ask(void *arg)
{
    struct lockstep_cluster_status *status = NULL;
    return lockstep_cluster_status(arg, &status) == LOCKSTEP_OK ? status : NULL;
}

static void await_survey(struct fake_node *of)
{
    for (int64_t end = now_ms() + 20000; fake_node_surveys(of) == 0;) {
        assert_true(now_ms() < end);
        (void)poll(NULL, 0, 1);
    }
}

/* `node` names `other`, which is asked while `silent` has not answered; then that answers too. */
static struct lockstep_cluster_status *survey_until_asked(struct lockstep_client *client)
{
    pthread_t thread;
    void *answer = NULL;
    assert_int_equal(pthread_create(&thread, NULL, ask, client), 0);
    await_survey(other);
    fake_node_set_silent(silent, false);
    assert_int_equal(pthread_join(thread, &answer), 0);
    assert_non_null(answer);
    return answer;
}

static void a_member_is_asked_while_an_endpoint_is_still_silent(void **state)
{
    (void)state;
    fake_node_set_id(other, 2);
    fake_node_set_id(silent, 3);
    fake_node_set_member(node, 2, fake_node_endpoint(other));
    struct lockstep_client *client = create(fake_node_endpoint(silent), fake_node_endpoint(node), 60000);
    struct lockstep_cluster_status *status = survey_until_asked(client);
    assert_int_equal(status->nodes_count, 3);
    assert_int_equal(status->answered_count, 3);
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
}

static void who_does_not_answer_is_shown_so(void **state)
{
    (void)state;
    struct lockstep_cluster_status *status = NULL;
    struct fake_node *member = fake_node_start();
    fake_node_set_silent(member, true);
    fake_node_set_member(node, 2, fake_node_endpoint(member));
    struct lockstep_client *client = create(fake_node_endpoint(node), fake_node_endpoint(silent), 1500);
    assert_int_equal(lockstep_cluster_status(client, &status), LOCKSTEP_OK);
    assert_int_equal(status->answered_count, 1);
    assert_int_equal(status->nodes_count, 2); /* the endpoint is no member's address */
    assert_int_equal(status->nodes[1].node_id, 2);
    assert_int_not_equal(status->nodes[1].result, LOCKSTEP_OK);
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
    fake_node_stop(member);
}

/* Asked at once, and forgotten when the first endpoint of the list turns out to be of another cluster. */
static void members_of_another_cluster_are_not_shown(void **state)
{
    (void)state;
    fake_node_set_cluster(silent, 7);
    fake_node_set_id(other, 2);
    fake_node_set_member(node, 2, fake_node_endpoint(other));
    struct lockstep_client *client = create(fake_node_endpoint(silent), fake_node_endpoint(node), 60000);
    struct lockstep_cluster_status *status = survey_until_asked(client);
    assert_true(status->cluster_id == 7);
    assert_int_equal(status->nodes_count,
                     2); /* what is in the list: one that counts, one of another cluster */
    assert_int_equal(status->answered_count, 1);
    assert_int_equal(status->nodes[1].result, LOCKSTEP_WRONG_CLUSTER);
    assert_string_equal(status->nodes[1].address, fake_node_endpoint(node));
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
}

static void the_status_of_the_cluster_shows_who_answers_and_who_does_not(void **state)
{
    (void)state;
    char endpoints[256];
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    (void)snprintf(endpoints, sizeof(endpoints), "%s,127.0.0.1:1", fake_node_endpoint(node));
    lockstep_options_init(&options);
    options.endpoints = endpoints;
    options.connect_timeout_ms = 500;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    struct lockstep_cluster_status *status = NULL;
    assert_int_equal(lockstep_cluster_status(client, &status), LOCKSTEP_OK);
    assert_int_equal(status->nodes_count, 2);
    assert_int_equal(status->answered_count, 1);
    assert_int_equal(status->leader_id, 1);
    assert_true(status->nodes[0].is_leader);
    assert_int_equal(status->nodes[0].term, 3);
    assert_int_not_equal(status->nodes[1].result, LOCKSTEP_OK);
    assert_string_not_equal(status->nodes[1].error, "");
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
}

static void the_status_of_the_cluster_is_that_of_one(void **state)
{
    (void)state;
    char endpoints[256];
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_cluster_status *status = NULL;
    fake_node_set_cluster(other, 7);
    (void)snprintf(endpoints, sizeof(endpoints), "%s,%s", fake_node_endpoint(other),
                   fake_node_endpoint(node));
    lockstep_options_init(&options);
    options.endpoints = endpoints;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    assert_int_equal(lockstep_cluster_status(client, &status), LOCKSTEP_OK);
    assert_true(status->cluster_id == 7); /* whichever answered sooner */
    assert_int_equal(status->nodes_count, 2);
    assert_int_equal(status->answered_count, 1);
    assert_string_equal(status->nodes[0].address, fake_node_endpoint(other));
    assert_int_equal(status->nodes[1].result, LOCKSTEP_WRONG_CLUSTER);
    assert_string_equal(status->nodes[1].address, fake_node_endpoint(node));
    assert_string_equal(status->nodes[1].error,
                        "a node of cluster 99, while the first endpoint that answered is of cluster 7");
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, start_nodes, stop_nodes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(a_member_is_asked_while_an_endpoint_is_still_silent),
        RULE(who_does_not_answer_is_shown_so),
        RULE(members_of_another_cluster_are_not_shown),
        RULE(the_status_of_the_cluster_shows_who_answers_and_who_does_not),
        RULE(the_status_of_the_cluster_is_that_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
