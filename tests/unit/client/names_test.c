/* A name with several addresses, of which the first is of no use. The resolver is this program's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/include/lockstep.h"
#include "tests/unit/client/fake_node.h"

enum { FILLERS = 8 };

static struct sockaddr_in addresses[2]; /* of "cluster.test" */

struct found {
    struct addrinfo info[2];
    struct sockaddr_in addresses[2];
};

/* libuv finds these before the C library's. */
__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict ret)
{
    (void)service;
    (void)hints;
    if (strcmp(name, "cluster.test") != 0) {
        return EAI_NONAME;
    }
    struct found *found = calloc(1, sizeof(*found));
    if (found == NULL) {
        return EAI_MEMORY;
    }
    for (unsigned i = 0; i < 2; i++) {
        found->addresses[i] = addresses[i];
        found->info[i].ai_family = AF_INET;
        found->info[i].ai_socktype = SOCK_STREAM;
        found->info[i].ai_addr = (struct sockaddr *)&found->addresses[i];
        found->info[i].ai_addrlen = sizeof(found->addresses[i]);
    }
    found->info[0].ai_next = &found->info[1];
    *ret = &found->info[0];
    return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *found)
{
    free(found);
}

static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

/* On the name's first address. */
static int new_listener(int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = new_socket();
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, backlog), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    addresses[0] = address;
    return listener;
}

/* A listener that accepts nobody, and whose queue is full: whoever connects now hears nothing. */
static int swallow(int fillers[FILLERS])
{
    int listener = new_listener(0);
    const struct sockaddr *address = (const struct sockaddr *)&addresses[0];
    for (unsigned i = 0; i < FILLERS; i++) {
        fillers[i] = new_socket();
        assert_true(connect(fillers[i], address, sizeof(addresses[0])) == 0 || errno == EINPROGRESS);
    }
    return listener;
}

static struct sockaddr_in address_of(const struct fake_node *node)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtoul(strrchr(fake_node_endpoint(node), ':') + 1, NULL, 10));
    return address;
}

/* A node at the name's second address; whoever is at the first must not keep the client from it. */
static void acquire_at_second_address(void)
{
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_lock *lock = NULL;
    struct fake_node *node = fake_node_start();
    addresses[1] = address_of(node);
    lockstep_options_init(&options);
    options.endpoints = "cluster.test:7400";
    options.connect_timeout_ms = 50; /* each attempt at the name */
    options.request_timeout_ms = 30000;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    assert_int_equal(lockstep_try_acquire(client, "k", &lock), LOCKSTEP_OK);
    lockstep_lock_free(lock);
    lockstep_client_free(client);
    fake_node_stop(node);
}

static void an_address_that_swallows_everything_does_not_hide_the_others(void **state)
{
    (void)state;
    int fillers[FILLERS];
    int listener = swallow(fillers);
    acquire_at_second_address();
    for (unsigned i = 0; i < FILLERS; i++) {
        (void)close(fillers[i]);
    }
    (void)close(listener);
}

/* Its system takes connections on; the process is stopped. */
static void an_address_that_never_greets_does_not_hide_the_others(void **state)
{
    (void)state;
    int listener = new_listener(SOMAXCONN);
    acquire_at_second_address();
    (void)close(listener);
}

/* It has lost the others, and names nobody. */
static void a_node_without_a_leader_does_not_hide_the_others(void **state)
{
    (void)state;
    struct fake_node *alone = fake_node_start();
    fake_node_set_id(alone, 2);
    addresses[0] = address_of(alone);
    acquire_at_second_address();
    fake_node_stop(alone);
}

/* The system refuses at once to connect to it: a broadcast address here, elsewhere one that it has no route to. */
static void an_address_that_is_refused_at_once_does_not_end_the_attempt(void **state)
{
    (void)state;
    struct lockstep_options options;
    struct lockstep_client *client = NULL;
    struct lockstep_cluster_status *status = NULL;
    struct fake_node *node = fake_node_start();
    addresses[0] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(7400), .sin_addr.s_addr = htonl(INADDR_LOOPBACK | 0xffffff)};
    addresses[1] = address_of(node);
    lockstep_options_init(&options);
    options.endpoints = "cluster.test:7400";
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    assert_int_equal(lockstep_cluster_status(client, &status), LOCKSTEP_OK); /* by one attempt at each node */
    lockstep_cluster_status_free(status);
    lockstep_client_free(client);
    fake_node_stop(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_swallows_everything_does_not_hide_the_others),
        cmocka_unit_test(an_address_that_never_greets_does_not_hide_the_others),
        cmocka_unit_test(a_node_without_a_leader_does_not_hide_the_others),
        cmocka_unit_test(an_address_that_is_refused_at_once_does_not_end_the_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
