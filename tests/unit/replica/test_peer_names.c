/* The real link where the other node's address is a name. The resolver is this program's own: it answers when the test lets
 * it, and knows a name with two addresses. The loop runs until what is awaited has happened; a watchdog ends a test that waits
 * in vain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netdb.h>
#include <pthread.h>

#include "node/replica/peer_internal.h"

enum { CLUSTER = 77, CONNECT_MS = 50 };

/* ---- the resolver ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t answers;
    bool silent; /* whoever asks waits */
    unsigned asked;
} resolver = {.mutex = PTHREAD_MUTEX_INITIALIZER, .answers = PTHREAD_COND_INITIALIZER};

struct found {
    struct addrinfo info[2];
    struct sockaddr_in addresses[2];
};

static void wait_for_answer(void)
{
    (void)pthread_mutex_lock(&resolver.mutex);
    resolver.asked++;
    while (resolver.silent) {
        (void)pthread_cond_wait(&resolver.answers, &resolver.mutex);
    }
    (void)pthread_mutex_unlock(&resolver.mutex);
}

static void resolver_set(bool silent)
{
    (void)pthread_mutex_lock(&resolver.mutex);
    resolver.silent = silent;
    resolver.asked = silent ? 0 : resolver.asked;
    (void)pthread_cond_broadcast(&resolver.answers);
    (void)pthread_mutex_unlock(&resolver.mutex);
}

static unsigned resolver_asked(void)
{
    (void)pthread_mutex_lock(&resolver.mutex);
    unsigned asked = resolver.asked;
    (void)pthread_mutex_unlock(&resolver.mutex);
    return asked;
}

/* libuv finds these before the C library's. "two.test" is 127.0.0.2, where nobody listens, and 127.0.0.1. */
__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name, const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict ret)
{
    (void)hints;
    bool two = strcmp(name, "two.test") == 0;
    if (strcmp(name, "127.0.0.1") != 0) {
        wait_for_answer();
    }
    struct found *found = calloc(1, sizeof(*found));
    if (found == NULL) {
        return EAI_MEMORY;
    }
    for (unsigned i = 0; i < 2; i++) {
        found->addresses[i].sin_family = AF_INET;
        found->addresses[i].sin_port = htons((uint16_t)strtoul(service, NULL, 10));
        found->addresses[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + (two && i == 0 ? 1 : 0));
        found->info[i] = (struct addrinfo){.ai_family = AF_INET,
                                           .ai_socktype = SOCK_STREAM,
                                           .ai_addr = (struct sockaddr *)&found->addresses[i],
                                           .ai_addrlen = sizeof(found->addresses[i])};
    }
    found->info[0].ai_next = two ? &found->info[1] : NULL;
    *ret = &found->info[0];
    return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *found)
{
    free(found);
}

/* ---- two nodes on one loop ---- */

struct end {
    struct link *link;
    uint64_t id;
    unsigned ups, gones;
    bool closed;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct end a, b;
};

static void no_release(void *owner)
{
    (void)owner;
    fail(); /* nothing is sent here */
}

static void on_up(void *ctx, uint64_t peer_id)
{
    (void)peer_id;
    ((struct end *)ctx)->ups++;
}

static void on_down(void *ctx, uint64_t peer_id)
{
    (void)ctx;
    (void)peer_id;
}

static void on_gone(void *ctx, uint64_t peer_id)
{
    (void)peer_id;
    ((struct end *)ctx)->gones++;
}

static bool on_receive(void *ctx, uint64_t peer_id, const void *data, size_t size)
{
    (void)ctx;
    (void)peer_id;
    (void)data;
    (void)size;
    return true;
}

static void on_log(void *ctx, enum logger_level level, const char *message)
{
    (void)ctx;
    (void)level;
    (void)message;
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "what this test waits for did not come\n");
    abort();
}

#define RUN_UNTIL(fixture, condition)                \
    while (!(condition)) {                           \
        (void)uv_run(&(fixture)->loop, UV_RUN_ONCE); \
    }

static void on_passed(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
    uv_close((uv_handle_t *)timer, NULL);
}

static void run_for(struct fixture *fixture, uint64_t ms)
{
    static uv_timer_t timer; /* its handle closes in the loop's own time */
    static bool passed;
    passed = false;
    assert_int_equal(uv_timer_init(&fixture->loop, &timer), 0);
    timer.data = &passed;
    assert_int_equal(uv_timer_start(&timer, on_passed, ms, 0), 0);
    RUN_UNTIL(fixture, passed);
}

static void open_end(struct fixture *fixture, struct end *end)
{
    char message[256] = "";
    struct peer_options options = {.cluster_id = CLUSTER,
                                   .node_id = end->id,
                                   .listen_address = "127.0.0.1:0",
                                   .connect_timeout_ms = CONNECT_MS};
    struct peer_callbacks callbacks = {end, on_up, on_down, on_receive, on_log, on_gone};
    end->link = peer_link_open(&fixture->loop, &options, &callbacks, message, sizeof message);
    if (end->link == NULL) {
        fail_msg("%s", message);
    }
    end->link->release = no_release;
}

static void point_at(struct link *from, uint64_t peer_id, const char *host, const struct link *to)
{
    char address[64];
    (void)snprintf(address, sizeof address, "%s:%u", host, peer_link_port(to));
    from->ops->set_peer(from, peer_id, address);
}

/* `a` knows `b` by that name. */
static void open_pair(struct fixture *fixture, const char *name)
{
    memset(fixture, 0, sizeof *fixture);
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(uv_timer_init(&fixture->loop, &fixture->watchdog), 0);
    assert_int_equal(uv_timer_start(&fixture->watchdog, on_watchdog, 20000, 0), 0);
    fixture->a.id = 1;
    fixture->b.id = 2;
    open_end(fixture, &fixture->a);
    open_end(fixture, &fixture->b);
    point_at(fixture->a.link, 2, name, fixture->b.link);
    point_at(fixture->b.link, 1, "127.0.0.1", fixture->a.link);
}

static void on_closed(void *ctx)
{
    ((struct end *)ctx)->closed = true;
}

static void close_end(struct fixture *fixture, struct end *end)
{
    if (end->link != NULL) {
        peer_link_close(end->link, on_closed, end);
        RUN_UNTIL(fixture, end->closed);
        end->link = NULL;
    }
}

static void close_pair(struct fixture *fixture)
{
    close_end(fixture, &fixture->a);
    close_end(fixture, &fixture->b);
    uv_close((uv_handle_t *)&fixture->watchdog, NULL);
    while (uv_run(&fixture->loop, UV_RUN_ONCE) != 0) {
    }
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

/* ---- the stories ---- */

/* As when the first name server is gone, and each lookup takes as long as the resolver waits for it. */
static void a_lookup_that_takes_longer_than_a_connection_may_is_waited_for(void **state)
{
    struct fixture fixture;
    (void)state;
    resolver_set(true);
    open_pair(&fixture, "slow.test");
    run_for(&fixture, 20 * CONNECT_MS);
    assert_int_equal(resolver_asked(), 1); /* and not once for each attempt: they would pile up behind each other */
    resolver_set(false);
    RUN_UNTIL(&fixture, fixture.a.ups == 1);
    assert_int_equal(resolver_asked(), 1);
    close_pair(&fixture);
}

static void a_name_whose_first_address_leads_nowhere_leads_to_the_next(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, "two.test");
    RUN_UNTIL(&fixture, fixture.a.ups == 1);
    close_pair(&fixture);
}

/* The attempts that follow a lost stream go where it went. */
static void of_a_name_with_several_addresses_it_is_told_too_that_the_process_has_ended(void **state)
{
    struct fixture fixture;
    (void)state;
    open_pair(&fixture, "two.test");
    RUN_UNTIL(&fixture, fixture.a.ups == 1 && fixture.b.ups == 1);
    close_end(&fixture, &fixture.b);
    RUN_UNTIL(&fixture, fixture.a.gones == 1);
    close_pair(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lookup_that_takes_longer_than_a_connection_may_is_waited_for),
        cmocka_unit_test(a_name_whose_first_address_leads_nowhere_leads_to_the_next),
        cmocka_unit_test(of_a_name_with_several_addresses_it_is_told_too_that_the_process_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
