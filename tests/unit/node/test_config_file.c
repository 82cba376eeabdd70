/* The settings file: every mistake in it by its line; and what is printed: settings in effect, sample, help, table. */
#include "config_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The only error begins with the file's name and `tail`. */
static void assert_file_error(const char *text, const char *tail)
{
    char expected[CONFIG_ERROR_BYTES_MAX];
    read_text(text);
    (void)snprintf(expected, sizeof(expected), "%s%s", path, tail);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.text[0], expected);
}

static void mistakes_in_a_file_are_named_with_their_line(void **state)
{
    (void)state;
    assert_file_error("[node]\n\nnode-idd = 1\n",
                      ":3: there is no setting \"node-idd\"; see lockstepd --help");
    assert_file_error("node-id = 1\n", ":1: node-id stands before any section; it belongs under [node]");
    assert_file_error("[nodes]\nnode-id = 1\n",
                      ":2: there is no section [nodes]; node-id belongs under [node]");
    assert_file_error("[log]\nnode-id = 1\n", ":2: node-id stands under [log]; it belongs under [node]");
    assert_file_error("[node]\nnode-id = 1\nnode-id = 2\n", ":3: node-id was given in line 2 already");
    assert_file_error("[node]\nnode-id = one\n",
                      ":2: node-id: \"one\" is no whole number; allowed: 1 to 9223372036854775807");
    assert_file_error("[node]\nnode-id\n",
                      ":2: this is no line of a settings file; allowed: [section], key = value, # comment");
    assert_file_error("[node\n",
                      ":1: this is no line of a settings file; allowed: [section], key = value, # comment");
    assert_file_error("[node]\ndata-dir = /a\n /b\n",
                      ":3: an indented line continues the value before it, and data-dir has only one line");
}

static void all_mistakes_of_a_file_are_told(void **state)
{
    (void)state;
    read_text("[node]\nnode-id = x\nno-such = 1\n[clients]\nlisten = y\n");
    assert_int_equal(errors.count, 3);
    assert_non_null(strstr(errors.text[0], ":2: ") != NULL ? errors.text[0] : strstr(errors.text[1], ":2: "));
    assert_non_null(strstr(errors.text[2], ":5: listen"));
    read_text("\xEF\xBB\xBF[node]\nnode-id 1\ncluster\n[clients\n\n  \r\n; fine\n# fine\n[log]\nlog-level\n");
    assert_int_equal(errors.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        static const char *const places[] = {":2: ", ":3: ", ":4: ", ":10: "};
        assert_non_null(strstr(errors.text[i], places[i]));
        assert_non_null(strstr(errors.text[i], "this is no line of a settings file"));
    }
}

/* With a setting under it, that setting says where it belongs. */
static void an_unknown_section_is_told_once_also_if_it_is_empty(void **state)
{
    (void)state;
    assert_file_error("[nosuch]\n[node]\nnode-id = 1\n",
                      ":1: there is no section [nosuch]; see lockstepd --print sample");
    assert_file_error("[node]\nnode-id = 1\n[nosuch]\n",
                      ":3: there is no section [nosuch]; see lockstepd --print sample");
    assert_file_error("[nodes]\nnode-id = 1\n",
                      ":2: there is no section [nodes]; node-id belongs under [node]");
}

/* inih cuts such a line without a word: the rest would be lost, or read as another setting. */
static void a_line_that_is_too_long_is_refused(void **state)
{
    char text[512] = "[node]\ndata-dir = /";
    (void)state;
    memset(text + strlen(text), 'x', 300);
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "\nnode-id = 3\n");
    read_text(text);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.text[0], ":2: the line is longer than 198 bytes"));
    assert_string_equal(config.data_dir.text, "");
    assert_int_equal(config.node_id, 3);
}

/* An entry of a list that goes on behind a comma that is missing is not read as a part of the one before. */
static void a_list_goes_on_in_indented_lines(void **state)
{
    (void)state;
    read_text("[replication]\npeers =\n  1=a:1/a:2,\n\t2=b:1/\n  b:2\n");
    assert_int_equal(errors.count, 0);
    assert_string_equal(value_of(CONFIG_KEY_peers), "1=a:1/a:2,2=b:1/b:2");
    read_text("[replication]\npeers = 1=a:1/a:2\n  2=b:1/b:2\n");
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.text[0], "has \"a:2 2=b:1/b:2\", which is no address"));
    read_text("[node]\nnode-id = 1\n  cluster = c\n  data-dir = /d\n");
    config_check(&config, &errors);
    assert_int_equal(errors.count, 2); /* and not that cluster and data-dir are not set */
}

/* What is behind a zero byte would be lost: of "node-id = 1\0" and "2" would be left 1. */
static void a_file_with_zero_bytes_is_refused(void **state)
{
    static const char text[] = "[node]\nnode-id = 1\0002\n\0\ncluster = c\n";
    FILE *file = fopen(path, "we");
    (void)state;
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof(text) - 1, file), sizeof(text) - 1);
    assert_int_equal(fclose(file), 0);
    config_read_file(&config, path, &errors);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.text[0], ":2: a zero byte stands in the line"));
    assert_int_equal(config.node_id, 0);
    assert_string_equal(config.cluster.name, "c");
}

/* Such as a log, or a device that has no end. */
static void a_file_that_is_too_large_is_refused(void **state)
{
    (void)state;
    config_read_file(&config, "/dev/zero", &errors);
    assert_true(errors.count > 0);
    assert_string_equal(errors.text[errors.count - 1],
                        "/dev/zero: the file has 1048576 bytes or more; allowed: a file of settings");
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    config_read_file(&config, "/nonexistent/lockstepd.conf", &errors);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.text[0],
                        "/nonexistent/lockstepd.conf: the file can not be read: No such file or directory");
}

/* What --check-config prints is a settings file that means the same. */
static void printed_settings_read_back_as_the_same(void **state)
{
    struct config before;
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        assert_true(config_set(&config, (enum config_key)i, samples[i].good,
                               (struct config_origin){CONFIG_FLAG, 0}, "x", &errors));
    }
    before = config;
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    config_print(&config, file);
    assert_int_equal(fclose(file), 0);
    (void)reset(NULL);
    config_read_file(&config, path, &errors);
    assert_int_equal(errors.count, 0);
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char expected[8192];
        (void)snprintf(expected, sizeof(expected), "%s",
                       config_value_text(&before, (enum config_key)i, expected, sizeof(expected)));
        assert_string_equal(value_of((enum config_key)i), samples[i].good);
        assert_int_equal(config.origins[i].source, CONFIG_FILE);
    }
}

/* Only a list of nodes may go on in an indented line, so only that is broken at its commas. */
static void a_path_with_commas_is_printed_on_one_line(void **state)
{
    (void)state;
    assert_true(config_set(&config, CONFIG_KEY_data_dir, "/data,old/1",
                           (struct config_origin){CONFIG_FLAG, 0}, "x", &errors));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    config_print(&config, file);
    assert_int_equal(fclose(file), 0);
    (void)reset(NULL);
    config_read_file(&config, path, &errors);
    assert_int_equal(errors.count, 0);
    assert_string_equal(value_of(CONFIG_KEY_data_dir), "/data,old/1");
}

static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void help_names_every_flag_with_its_default_and_what_is_allowed(void **state)
{
    char *help = printed(config_print_help);
    (void)state;
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        char flag[80];
        (void)snprintf(flag, sizeof(flag), "      --%s=VALUE", samples[i].name);
        assert_non_null(strstr(help, flag));
    }
    assert_non_null(strstr(help, "--dev"));
    assert_non_null(strstr(help, "127.0.0.1:7400."));
    assert_non_null(strstr(help, "Allowed: 50ms to 1m."));
    free(help);
}

/* deploy/lockstepd.conf is what --print=sample prints, and reading it changes nothing. */
static void the_sample_file_is_up_to_date_and_holds_only_comments(void **state)
{
    const char *source = getenv("LOCKSTEP_SOURCE_DIR");
    char sample_path[1024];
    char *sample = printed(config_print_sample);
    char *deployed = calloc(1, strlen(sample) + 2);
    (void)state;
    assert_non_null(deployed);
    (void)snprintf(sample_path, sizeof(sample_path), "%s/deploy/lockstepd.conf",
                   source != NULL ? source : ".");
    FILE *file = fopen(sample_path, "re");
    assert_non_null(file);
    assert_true(fread(deployed, 1, strlen(sample) + 1, file) > 0);
    (void)fclose(file);
    if (strcmp(deployed, sample) != 0) {
        fail_msg("%s is out of date: lockstepd --print=sample >%s", sample_path, sample_path);
    }
    config_read_file(&config, sample_path, &errors);
    assert_int_equal(errors.count, 0);
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        assert_int_equal(config.origins[i].source, CONFIG_DEFAULT);
    }
    free(deployed);
    free(sample);
}

/* With each comment sign before a setting taken away, the sample is a file that is right. */
static void the_sample_file_is_right_once_it_is_filled_in(void **state)
{
    char *sample = printed(config_print_sample);
    char *text = calloc(1, strlen(sample) + 1);
    size_t used = 0;
    (void)state;
    assert_non_null(text);
    for (const char *at = sample; *at != '\0'; at++) {
        bool begins = at == sample || at[-1] == '\n';
        bool setting = begins && *at == '#' && (at[1] != ' ' || strncmp(at, "#    ", 5) == 0);
        if (!setting) {
            text[used++] = *at;
        }
    }
    read_text(text);
    if (errors.count > 0) {
        fail_msg("%s", errors.text[0]);
    }
    for (unsigned i = 0; i < CONFIG_KEYS_COUNT; i++) {
        assert_int_equal(config.origins[i].source, CONFIG_FILE);
    }
    config_check(&config, &errors);
    assert_int_equal(errors.count, 0);
    free(text);
    free(sample);
}

static void the_table_has_a_row_for_every_setting(void **state)
{
    char *table = printed(config_print_table);
    unsigned rows = 0;
    (void)state;
    for (const char *at = table; *at != '\0'; at++) {
        rows += *at == '\n';
    }
    assert_int_equal(rows, CONFIG_KEYS_COUNT + 2);
    free(table);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(mistakes_in_a_file_are_named_with_their_line),
        TEST(all_mistakes_of_a_file_are_told),
        TEST(an_unknown_section_is_told_once_also_if_it_is_empty),
        TEST(a_line_that_is_too_long_is_refused),
        TEST(a_list_goes_on_in_indented_lines),
        TEST(a_file_with_zero_bytes_is_refused),
        TEST(a_file_that_is_too_large_is_refused),
        TEST(a_missing_file_is_an_error),
        TEST(printed_settings_read_back_as_the_same),
        TEST(a_path_with_commas_is_printed_on_one_line),
        TEST(help_names_every_flag_with_its_default_and_what_is_allowed),
        TEST(the_sample_file_is_up_to_date_and_holds_only_comments),
        TEST(the_sample_file_is_right_once_it_is_filled_in),
        TEST(the_table_has_a_row_for_every_setting),
    };
    return cmocka_run_group_tests_name("config_file", tests, file_create, file_remove);
}
