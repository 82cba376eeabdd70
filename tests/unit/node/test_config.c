/* Settings: every key from every source, the precedence, and every mistake by name. */
#include "config_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *const no_environment[] = {NULL};

static void the_samples_of_this_test_cover_the_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        assert_string_equal(samples[i].name, config_key_name((enum config_key)i));
        assert_int_equal(config_key_find(samples[i].name), i);
    }
}

static void every_key_is_read_from_the_file(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "# a comment\n[%s]\n%s = %s\n",
                       config_key_section((enum config_key)i), samples[i].name, samples[i].good);
        read_text(text);
        assert_int_equal(errors.count, 0);
        assert_string_equal(value_of((enum config_key)i), samples[i].good);
        assert_int_equal(config.origins[i].source, CONFIG_FILE);
        assert_int_equal(config.origins[i].line, 3);
    }
}

static void every_key_is_read_from_the_environment(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char name[64];
        char text[256];
        char other[] = "LOCKSTEP_OTHER=1";
        char *environment[] = {other, text, NULL};
        (void)reset(NULL);
        (void)snprintf(text, sizeof(text), "%s=%s", config_key_variable((enum config_key)i, name),
                       samples[i].good);
        config_read_environment(&config, environment, &errors);
        assert_int_equal(errors.count, 0);
        assert_string_equal(value_of((enum config_key)i), samples[i].good);
        assert_int_equal(config.origins[i].source, CONFIG_ENVIRONMENT);
    }
    char name[64];
    assert_string_equal(config_key_variable(CONFIG_KEY_data_dir, name), "LOCKSTEPD_DATA_DIR");
}

static void every_key_is_read_from_a_flag(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char program[] = "lockstepd";
        char flag[64];
        char value[128];
        char *joined[] = {program, flag, NULL};
        char *apart[] = {program, flag, value, NULL};
        (void)reset(NULL);
        (void)snprintf(flag, sizeof(flag), "--%s=%s", samples[i].name, samples[i].good);
        assert_int_equal(config_read_flags(&config, 2, joined, &errors), CONFIG_RUN);
        assert_int_equal(errors.count, 0);
        assert_string_equal(value_of((enum config_key)i), samples[i].good);
        assert_int_equal(config.origins[i].source, CONFIG_FLAG);
        (void)reset(NULL);
        (void)snprintf(flag, sizeof(flag), "--%s", samples[i].name);
        (void)snprintf(value, sizeof(value), "%s", samples[i].good);
        (void)config_read_flags(&config, 3, apart, &errors);
        assert_int_equal(errors.count, 0);
        assert_string_equal(value_of((enum config_key)i), samples[i].good);
    }
}

static void every_bad_value_is_refused_by_name_with_what_is_allowed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char before[8192];
        char quoted[128];
        (void)reset(NULL);
        (void)snprintf(before, sizeof(before), "%s", value_of((enum config_key)i));
        assert_false(config_set(&config, (enum config_key)i, samples[i].bad,
                                (struct config_origin){CONFIG_FLAG, 0}, "here", &errors));
        assert_int_equal(errors.count, 1);
        (void)snprintf(quoted, sizeof(quoted), "here: \"%s\" ", samples[i].bad);
        assert_memory_equal(errors.text[0], quoted, strlen(quoted));
        assert_non_null(strstr(errors.text[0], "; allowed: "));
        assert_string_equal(value_of((enum config_key)i), before);
    }
}

static void durations_and_sizes_need_a_whole_number_and_a_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* 0: refused */
    } durations[] = {{"500ms", 500},
                     {"30s", 30000},
                     {"5m", 300000},
                     {"0600s", 600000},
                     {"5", 0},
                     {"s", 0},
                     {"", 0},
                     {"5 s", 0},
                     {" 5s", 0},
                     {"5S", 0},
                     {"5sec", 0},
                     {"1m30s", 0},
                     {"0.5s", 0},
                     {"-5s", 0},
                     {"+5s", 0},
                     {"5us", 0},
                     {"99999999999999999999s", 0},
                     {"18446744073709552s", 0}};
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {{"65536B", 65536}, {"64KiB", 65536},  {"16MiB", 16777216}, {"1TiB", 1099511627776},
                 {"64K", 0},        {"64KB", 0},       {"64kib", 0},        {"65536", 0},
                 {"0x10000B", 0},   {"16777217TiB", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        config.shutdown_timeout = 0;
        bool ok = config_set(&config, CONFIG_KEY_shutdown_timeout, durations[i].text,
                             (struct config_origin){CONFIG_FLAG, 0}, "x", &errors);
        assert_int_equal(ok, durations[i].ms != 0);
        assert_int_equal(config.shutdown_timeout, durations[i].ms);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        config.snapshot_after = 0;
        bool ok = config_set(&config, CONFIG_KEY_snapshot_after, sizes[i].text,
                             (struct config_origin){CONFIG_FLAG, 0}, "x", &errors);
        assert_int_equal(ok, sizes[i].bytes != 0);
        assert_int_equal(config.snapshot_after, sizes[i].bytes);
    }
    errors.count = 0;
    (void)config_set(&config, CONFIG_KEY_election_timeout, "61s", (struct config_origin){CONFIG_FLAG, 0},
                     "--election-timeout", &errors);
    assert_string_equal(errors.text[0], "--election-timeout: \"61s\" is more than 1m; allowed: 50ms to 1m");
}

static void a_cluster_is_a_name_that_is_hashed_or_a_number(void **state)
{
    (void)state;
    const struct config_origin origin = {CONFIG_FLAG, 0};
    assert_true(config_set(&config, CONFIG_KEY_cluster, "18446744073709551615", origin, "x", &errors));
    assert_true(config.cluster.id == UINT64_MAX);
    assert_true(config_set(&config, CONFIG_KEY_cluster, "blue", origin, "x", &errors));
    uint64_t blue = config.cluster.id;
    assert_true(config_set(&config, CONFIG_KEY_cluster, "green", origin, "x", &errors));
    assert_true(config.cluster.id != blue);
    assert_false(config_set(&config, CONFIG_KEY_cluster, "18446744073709551616", origin, "x", &errors));
    assert_false(config_set(&config, CONFIG_KEY_cluster, "0", origin, "x", &errors));
    assert_false(config_set(&config, CONFIG_KEY_cluster, "", origin, "x", &errors));
    assert_string_equal(config.cluster.name, "green");
    /* The number is part of every data directory: it must never come out differently. */
    assert_true(blue == 0xA9D131D3CC362513ULL);
}

static void a_list_of_peers_is_taken_apart(void **state)
{
    (void)state;
    read_text("[replication]\npeers = 1=n1:7500/n1:7400 , 2=[fe80::1]:7500/[fe80::1]:7400,\n"
              "   # between\n"
              "   3=10.0.0.3:1/10.0.0.3:2\n");
    assert_int_equal(errors.count, 0);
    assert_int_equal(config.peers.count, 3);
    assert_int_equal(config.peers.members[1].node_id, 2);
    assert_string_equal(config.peers.members[1].peer_address, "[fe80::1]:7500");
    assert_string_equal(config.peers.members[2].client_address, "10.0.0.3:2");
    assert_true(config.peers.members[2].voter);
}

static void a_bad_list_of_peers_is_refused_by_what_is_wrong(void **state)
{
    static const struct {
        const char *peers;
        const char *why;
    } cases[] = {
        {"", "which is no id=peer address/client address"},
        {"1=a:1/a:2,", "which is no id=peer address/client address"},
        {"a:1/a:2", "which is no id=peer address/client address"},
        {"x=a:1/a:2", "which is no id=peer address/client address"},
        {"0=a:1/a:2", "a node id that is not in 1 to"},
        {"1=a:1/a", "\"a\", which is no address"},
        {"1=a:70000/a:2", "\"a:70000\", which is no address"},
        {"1=a:0/a:2", "port 0 can not be connected to"},
        {"1=0.0.0.0:1/a:2", "which no other machine can connect to"},
        {"1=[::]:1/a:2", "which no other machine can connect to"},
        {"1=a:1/[0:0::0]:2", "which no other machine can connect to"},
        {"1=a:1/0.0:2", "which no other machine can connect to"},
        {"1=a:1/a:2,1=b:1/b:2", "names node 1 twice"},
        {"1=a:1/a:2,2=a:1/b:2", "nodes 1 and 2 the same address"},
        {"1=a:1/a:2,2=b:1/a:2", "nodes 1 and 2 the same address"},
        {"1=a:1/a:2,2=b:1/a:1", "nodes 1 and 2 the same address"},
        {"1=a:1/a:2,2=a:2/b:2", "nodes 1 and 2 the same address"},
        {"1=a:1/a:2,2=b:1/b:1", "gives node 2 one address for nodes and for clients"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)reset(NULL);
        assert_false(config_set(&config, CONFIG_KEY_peers, cases[i].peers,
                                (struct config_origin){CONFIG_FLAG, 0}, "--peers", &errors));
        if (strstr(errors.text[0], cases[i].why) == NULL) {
            fail_msg("%s: %s", cases[i].peers, errors.text[0]);
        }
        assert_int_equal(config.peers.count, 0);
    }
    char many[512] = "";
    for (int id = 1; id <= REPLICA_MEMBERS_MAX + 1; id++) {
        size_t used = strlen(many);
        (void)snprintf(many + used, sizeof(many) - used, "%s%d=h%d:1/h%d:2", id == 1 ? "" : ",", id, id, id);
    }
    (void)reset(NULL);
    assert_false(
        config_set(&config, CONFIG_KEY_peers, many, (struct config_origin){CONFIG_FLAG, 0}, "x", &errors));
    assert_non_null(strstr(errors.text[0], "more than 15 nodes"));
}

static enum config_action load(const char *const *flags, char *const *environment)
{
    char storage[16][128] = {"lockstepd"};
    char *argv[17] = {storage[0]};
    int argc = 1;
    (void)reset(NULL);
    for (; flags[argc - 1] != NULL; argc++) {
        (void)snprintf(storage[argc], sizeof(storage[argc]), "%s", flags[argc - 1]);
        argv[argc] = storage[argc];
    }
    return config_load(&config, argc, argv, environment, &errors);
}

static void a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(void **state)
{
    char file_flag[96];
    char variable[] = "LOCKSTEPD_ELECTION_TIMEOUT=3s";
    char file_variable[96];
    char *environment[] = {variable, NULL};
    char *with_file[] = {file_variable, NULL};
    (void)state;
    (void)snprintf(file_flag, sizeof(file_flag), "--config=%s", path);
    (void)snprintf(file_variable, sizeof(file_variable), "LOCKSTEPD_CONFIG=%s", path);
    write_file("[replication]\nelection-timeout = 2s\n");
    (void)load((const char *const[]){"--dev", NULL}, no_environment);
    assert_int_equal(config.election_timeout, 500);
    (void)load((const char *const[]){"--dev", file_flag, NULL}, no_environment);
    assert_int_equal(config.election_timeout, 2000);
    (void)load((const char *const[]){"--dev", NULL}, with_file);
    assert_int_equal(config.election_timeout, 2000);
    (void)load((const char *const[]){"--dev", file_flag, NULL}, environment);
    assert_int_equal(config.election_timeout, 3000);
    (void)load((const char *const[]){"--dev", file_flag, "--election-timeout=4s", NULL}, environment);
    assert_int_equal(config.election_timeout, 4000);
    assert_int_equal(errors.count, 0);
}

static void what_is_overridden_is_checked_all_the_same(void **state)
{
    char variable[] = "LOCKSTEPD_HEARTBEAT=soon";
    char *environment[] = {variable, NULL};
    (void)state;
    (void)load((const char *const[]){"--dev", "--heartbeat=50ms", NULL}, environment);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.text[0], "LOCKSTEPD_HEARTBEAT: \"soon\" is no duration"));
}

static void unknown_flags_variables_and_arguments_are_named(void **state)
{
    static const struct {
        const char *flag;
        const char *error;
    } cases[] = {
        {"--no-such", "there is no flag \"--no-such\", or it is short for several; see lockstepd --help"},
        {"--no-such=3", "there is no flag \"--no-such=3\", or it is short for several; see lockstepd --help"},
        {"-x", "there is no flag \"-x\", or it is short for several; see lockstepd --help"},
        {"--peer", "there is no flag \"--peer\", or it is short for several; see lockstepd --help"},
        {"-xyz", "there is no flag \"-xyz\", or it is short for several; see lockstepd --help"},
        {"--listen", "--listen needs a value"},
        {"--dev=1", "--dev takes no value"},
        {"start", "\"start\" is no flag, and lockstepd takes nothing else; see lockstepd --help"},
        {"--print=all", "--print: \"all\" is nothing to print; allowed: sample, table or exits"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)load((const char *const[]){"--dev", cases[i].flag, NULL}, no_environment);
        assert_int_equal(errors.count, 1);
        assert_string_equal(errors.text[0], cases[i].error);
    }
    (void)load((const char *const[]){"-ab", "--dev", "--no-such", "here", "--heartbeat=x", "--log-level",
                                     "debug", NULL},
               no_environment);
    assert_int_equal(errors.count, 4);
    assert_true(config.dev);
    assert_int_equal(config.log_level, 3);
    char variable[] = "LOCKSTEPD_NO_SUCH=1";
    char *environment[] = {variable, NULL};
    (void)load((const char *const[]){"--dev", NULL}, environment);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.text[0],
                        "there is no environment variable \"LOCKSTEPD_NO_SUCH\"; see lockstepd --help");
}

static void what_is_required_is_asked_for(void **state)
{
    (void)state;
    (void)load((const char *const[]){NULL}, no_environment);
    assert_int_equal(errors.count, 3);
    assert_non_null(strstr(errors.text[0],
                           "node-id is not set: write it in section [node] of the file, as --node-id or "
                           "as LOCKSTEPD_NODE_ID"));
    assert_non_null(strstr(errors.text[1], "cluster is not set"));
    assert_non_null(strstr(errors.text[2], "data-dir is not set"));
    (void)load((const char *const[]){"--node-id=1", "--cluster=c", "--data-dir=/d", NULL}, no_environment);
    assert_int_equal(errors.count, 0);
}

/* What was given wrongly is wrong and not missing; and behind a name that was not understood may be what seems to be missing. */
static void nothing_is_asked_for_that_may_have_been_given(void **state)
{
    static const char *const flags[] = {"--config=/nonexistent", "--no-such", "--node-id", "node-id=1",
                                        "--config=", "--print=all"};
    char variable[] = "LOCKSTEPD_NODEID=1";
    char *environment[] = {variable, NULL};
    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        (void)load((const char *const[]){flags[i], NULL}, no_environment);
        assert_int_equal(errors.count, 1);
        assert_null(strstr(errors.text[0], "is not set"));
    }
    (void)load((const char *const[]){NULL}, environment);
    assert_int_equal(errors.count, 1);
    char no_path[] = "LOCKSTEPD_CONFIG=";
    char *no_file[] = {no_path, NULL};
    (void)load((const char *const[]){NULL}, no_file);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.text[0], "LOCKSTEPD_CONFIG: the path is empty or longer than 1023 bytes");
    (void)load((const char *const[]){"--node-id=0", "--data-dir=data", NULL}, no_environment);
    assert_int_equal(errors.count, 3);
    assert_non_null(strstr(errors.text[0], "--node-id: \"0\" is less than 1"));
    assert_non_null(
        strstr(errors.text[1], "--data-dir: \"data\" does not begin at the root; allowed: an absolute path"));
    assert_non_null(strstr(errors.text[2], "cluster is not set"));
}

static void a_path_is_absolute_and_without_quotes(void **state)
{
    static const char *const paths[] = {"data", "./data", "../data", "~/data", "\"/data\"", "'/data'",
                                        "/data # of node 1", "/data\t#"};
    const struct config_origin origin = {CONFIG_FLAG, 0};
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_false(config_set(&config, CONFIG_KEY_data_dir, paths[i], origin, "x", &errors));
    }
    assert_non_null(strstr(errors.text[4], "has quotes, which would be part of the path"));
    assert_non_null(strstr(errors.text[6], "a comment has a line of its own"));
    assert_true(config_set(&config, CONFIG_KEY_data_dir, "/data dir/it's", origin, "x", &errors));
    assert_true(config_set(&config, CONFIG_KEY_data_dir, "/data#1", origin, "x", &errors));
}

/* ---- doubts ---- */

static void assert_doubts(const char *listen, const char *peer_listen, const char *peers, unsigned count,
                          const char *part)
{
    (void)load((const char *const[]){"--node-id=1", "--cluster=c", "--data-dir=/d", listen, peer_listen,
                                     peers, NULL},
               no_environment);
    assert_int_equal(errors.count, 0);
    config_doubts(&config, &errors);
    assert_int_equal(errors.count, count);
    if (strstr(errors.text[0], part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", errors.text[0], part);
    }
}

static void listening_elsewhere_than_peers_says_is_doubtful(void **state)
{
    (void)state;
    assert_doubts(
        "--listen=127.0.0.1:7400", "--peer-listen=127.0.0.1:7500",
        "--peers=1=127.0.0.1:27601/127.0.0.1:27600", 2,
        "listen: this node listens at 127.0.0.1:7400, and its entry in peers sends clients to 127.0.0.1:27600, which "
        "is another port");
    assert_doubts(
        "--listen=10.0.0.1:7400", "--peer-listen=127.0.0.1:7500", "--peers=1=10.0.0.1:7500/10.0.0.1:7400", 1,
        "--peer-listen: this node listens at 127.0.0.1:7500, and its entry in peers sends the other nodes to "
        "10.0.0.1:7500, which is not an address of the loopback");
    assert_doubts("--listen=[::1]:7400", "--peer-listen=localhost:7500",
                  "--peers=1=n1:7500/n1:7400,2=n2:1/n2:2", 2, "");
}

/* Wildcards, names, translated addresses, all of it on one machine, port 0, and what is said of the other nodes. */
static void deliberate_addresses_are_not_doubtful(void **state)
{
    (void)state;
    assert_doubts("--listen=0.0.0.0:7400", "--peer-listen=[::]:7500", "--peers=1=n1:7500/n1:7400,2=n2:1/n2:2",
                  0, "");
    assert_doubts("--listen=10.0.0.1:7400", "--peer-listen=10.0.0.1:7500",
                  "--peers=1=203.0.113.9:7500/203.0.113.9:7400", 0, "");
    assert_doubts("--listen=127.0.0.1:7400", "--peer-listen=localhost:7500",
                  "--peers=1=localhost:7500/127.0.0.1:7400,2=127.0.0.1:1/127.0.0.1:2", 0, "");
    assert_doubts("--listen=127.0.0.1:0", "--peer-listen=127.0.0.1:7500",
                  "--peers=1=127.0.0.1:7500/127.0.0.1:7400", 0, "");
    assert_doubts("--listen=127.0.0.1:7400", "--peer-listen=127.0.0.1:7500", "--log-level=info", 0, "");
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    (void)load((const char *const[]){"--dev", "--election-timeout=200ms", NULL}, no_environment);
    assert_string_equal(errors.text[0],
                        "heartbeat: 100ms is more than a third of election-timeout, 200ms; allowed: at "
                        "most 66ms, or a longer election-timeout");
    (void)load((const char *const[]){"--dev", "--client-heartbeat=30s", NULL}, no_environment);
    assert_non_null(
        strstr(errors.text[0], "idle-timeout: 60000ms is less than three times client-heartbeat, 30000ms"));
    const char *const base[] = {"--node-id=1", "--cluster=c", "--data-dir=/d"};
    (void)load((const char *const[]){base[0], base[1], base[2], "--peers=2=a:1/a:2", NULL}, no_environment);
    assert_non_null(strstr(errors.text[0], "--peers: this node, 1, is not in the list"));
    (void)load((const char *const[]){base[0], base[1], base[2], "--peer-listen=127.0.0.1:0", NULL},
               no_environment);
    assert_non_null(strstr(errors.text[0], "--peer-listen: port 0 is for --dev only"));
    (void)load((const char *const[]){base[0], base[1], base[2], "--peer-listen=127.0.0.1:7400", NULL},
               no_environment);
    assert_non_null(strstr(errors.text[0], "is the address for clients already"));
    (void)load((const char *const[]){"--dev", "--peers=1=a:1/a:2", NULL}, no_environment);
    assert_non_null(strstr(errors.text[0], "--peers: a node of --dev is alone"));
}

static void dev_needs_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(load((const char *const[]){"--dev", NULL}, no_environment), CONFIG_RUN);
    assert_int_equal(errors.count, 0);
    assert_true(config.dev);
    assert_int_equal(config.node_id, 1);
    assert_string_equal(config.cluster.name, "dev");
    assert_string_equal(config.listen.text, "127.0.0.1:7400");
    (void)load((const char *const[]){"--dev", "--node-id=4", NULL}, no_environment);
    assert_int_equal(config.node_id, 4);
}

static void actions_are_read_from_flags(void **state)
{
    (void)state;
    assert_int_equal(load((const char *const[]){"--help", NULL}, no_environment), CONFIG_HELP);
    assert_int_equal(load((const char *const[]){"--version", NULL}, no_environment), CONFIG_VERSION);
    assert_int_equal(load((const char *const[]){"--check-config", NULL}, no_environment), CONFIG_CHECK);
    assert_int_equal(load((const char *const[]){"--print=sample", NULL}, no_environment),
                     CONFIG_PRINT_SAMPLE);
    assert_int_equal(load((const char *const[]){"--print=table", NULL}, no_environment), CONFIG_PRINT_TABLE);
    assert_int_equal(load((const char *const[]){"--print=exits", NULL}, no_environment), CONFIG_PRINT_EXITS);
}

static void more_mistakes_than_are_kept_are_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * CONFIG_ERRORS_MAX; i++) {
        config_error(&errors, "mistake %u", i);
    }
    assert_int_equal(errors.count, 3 * CONFIG_ERRORS_MAX);
    assert_string_equal(errors.text[CONFIG_ERRORS_MAX - 1], "mistake 31");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(the_samples_of_this_test_cover_the_table),
        TEST(every_key_is_read_from_the_file),
        TEST(every_key_is_read_from_the_environment),
        TEST(every_key_is_read_from_a_flag),
        TEST(every_bad_value_is_refused_by_name_with_what_is_allowed),
        TEST(durations_and_sizes_need_a_whole_number_and_a_unit),
        TEST(a_cluster_is_a_name_that_is_hashed_or_a_number),
        TEST(a_list_of_peers_is_taken_apart),
        TEST(a_bad_list_of_peers_is_refused_by_what_is_wrong),
        TEST(a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default),
        TEST(what_is_overridden_is_checked_all_the_same),
        TEST(unknown_flags_variables_and_arguments_are_named),
        TEST(what_is_required_is_asked_for),
        TEST(nothing_is_asked_for_that_may_have_been_given),
        TEST(a_path_is_absolute_and_without_quotes),
        TEST(listening_elsewhere_than_peers_says_is_doubtful),
        TEST(deliberate_addresses_are_not_doubtful),
        TEST(settings_that_contradict_each_other_are_refused),
        TEST(dev_needs_nothing_else),
        TEST(actions_are_read_from_flags),
        TEST(more_mistakes_than_are_kept_are_counted),
    };
    return cmocka_run_group_tests_name("config", tests, file_create, file_remove);
}
