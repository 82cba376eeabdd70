/* Options and arguments: what is out of bounds is refused by name before anything is asked of a node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/include/lockstep.h"
#include "client/options.h"

static struct lockstep_options options;

static int defaults(void **state)
{
    (void)state;
    lockstep_options_init(&options);
    options.endpoints = "127.0.0.1:1";
    return 0;
}

static void refused_for(const char *field)
{
    struct lockstep_client *client = NULL;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_INVALID);
    assert_null(client);
    if (strstr(lockstep_error_message(), field) == NULL) {
        fail_msg("\"%s\" does not name %s", lockstep_error_message(), field);
    }
}

static void there_are_sixteen_endpoints_at_most(void **state)
{
    (void)state;
    char list[32 * (LOCKSTEP_ENDPOINTS_MAX + 1)] = "h:1";
    struct lockstep_client *client = NULL;
    for (int i = 1; i < LOCKSTEP_ENDPOINTS_MAX; i++) {
        memcpy(list + strlen(list), ", h:1", sizeof(", h:1"));
    }
    options.endpoints = list;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    lockstep_client_free(client);
    memcpy(list + strlen(list), ",h:1", sizeof(",h:1"));
    refused_for("endpoints");
}

static void endpoints_are_separated_by_commas(void **state)
{
    (void)state;
    struct lockstep_client *client = NULL;
    options.endpoints = " h:1 ,h:2 , [::1]:3  ";
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    lockstep_client_free(client);
    options.endpoints = "h:1 h:2"; /* who writes so does not mean the first one alone */
    refused_for("endpoints");
    options.endpoints = "h:1,";
    refused_for("endpoints");
}

static void an_owner_is_a_short_text(void **state)
{
    (void)state;
    char owner[LOCKSTEP_OWNER_BYTES_MAX + 2];
    memset(owner, 'o', sizeof(owner) - 1);
    owner[sizeof(owner) - 1] = '\0';
    options.owner = owner;
    refused_for("owner");
    options.owner = "line\nbreak";
    refused_for("owner");
    options.owner = "\xff";
    refused_for("owner");
    struct lockstep_client *client = NULL;
    owner[LOCKSTEP_OWNER_BYTES_MAX] = '\0';
    options.owner = owner;
    assert_int_equal(lockstep_client_create(&options, &client), LOCKSTEP_OK);
    lockstep_client_free(client);
}

static void options_that_nobody_set_up_are_refused(void **state)
{
    (void)state;
    options.size = 1;
    refused_for("lockstep_options_init");
    struct proto_lock_acquire body;
    struct lockstep_acquire_options acquire = {.size = 1};
    assert_int_equal(options_acquire("k", &acquire, &body), LOCKSTEP_INVALID);
    assert_non_null(strstr(lockstep_error_message(), "lockstep_acquire_options_init"));
}

static void an_address_is_split_at_its_last_colon(void **state)
{
    (void)state;
    char host[256];
    uint16_t port = 0;
    assert_true(address_split("[fe80::1%eth0]:7400", host, &port));
    assert_string_equal(host, "fe80::1%eth0");
    assert_int_equal(port, 7400);
    assert_true(address_split("node-1.example:65535", host, &port));
    assert_string_equal(host, "node-1.example");
    assert_int_equal(port, 65535);
    static const char *const bad[] = {"[]:1", "[::1:1",         "::1:1", "[a b]:1", ":1",
                                      "h:",   "h:00000000001x", "h:-1",  "h:+1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (address_valid(bad[i])) {
            fail_msg("%s was taken for an address", bad[i]);
        }
    }
}

static void acquire_refused_for(const struct lockstep_acquire_options *acquire, const char *key,
                                const char *field)
{
    struct proto_lock_acquire body;
    assert_int_equal(options_acquire(key, acquire, &body), LOCKSTEP_INVALID);
    if (strstr(lockstep_error_message(), field) == NULL) {
        fail_msg("\"%s\" does not name %s", lockstep_error_message(), field);
    }
}

static void what_an_acquire_asks_for_has_bounds(void **state)
{
    (void)state;
    struct lockstep_acquire_options acquire;
    char key[LOCKSTEP_KEY_BYTES_MAX + 2];
    lockstep_acquire_options_init(&acquire);
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    acquire_refused_for(&acquire, key, "key");
    acquire_refused_for(&acquire, "", "key");
    acquire_refused_for(&acquire, NULL, "key");
    acquire.mode = (enum lockstep_mode)99;
    acquire_refused_for(&acquire, "k", "mode");
    acquire.mode = LOCKSTEP_PERMITS;
    acquire.permits = 0;
    acquire_refused_for(&acquire, "k", "permits");
    acquire.permits = 3;
    acquire.limit = 2;
    acquire_refused_for(&acquire, "k", "permits");
    acquire.limit = 65536;
    acquire_refused_for(&acquire, "k", "permits");
    lockstep_acquire_options_init(&acquire);
    acquire.value = key;
    acquire.value_bytes = LOCKSTEP_VALUE_BYTES_MAX + 1;
    acquire_refused_for(&acquire, "k", "value");
    lockstep_acquire_options_init(&acquire);
    acquire.ttl_ms = 99;
    acquire_refused_for(&acquire, "k", "ttl_ms");
}

#define RULE(name) cmocka_unit_test_setup(name, defaults)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(endpoints_are_separated_by_commas),
        RULE(there_are_sixteen_endpoints_at_most),    RULE(an_owner_is_a_short_text),
        RULE(options_that_nobody_set_up_are_refused), RULE(an_address_is_split_at_its_last_colon),
        RULE(what_an_acquire_asks_for_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
