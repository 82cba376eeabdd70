/* See config_harness.h. */
#include "config_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct config config;
struct config_errors errors;
char path[64];

const struct sample samples[CONFIG_KEYS_COUNT] = {
    {"node-id", "7", "0"},
    {"cluster", "blue", "two words"},
    {"data-dir", "/tmp/x", ""},
    {"shutdown-timeout", "7s", "7"},
    {"listen", "[::1]:80", "::1:80"},
    {"connections-max", "5", "1000001"},
    {"connection-queue-max", "2MiB", "2MB"},
    {"queue-total-max", "1GiB", "1TiB"},
    {"connection-requests-max", "9", "-1"},
    {"requests-max", "10", "1e3"},
    {"request-rate-max", "100", "100/s"},
    {"client-heartbeat", "2s", "2 s"},
    {"hello-timeout", "3s", "3h"},
    {"idle-timeout", "2m", "500ms"},
    {"frame-timeout", "1500ms", "1.5s"},
    {"client-tcp-timeout", "4s", "0s"},
    {"peer-listen", "localhost:7600", "localhost"},
    {"peers", "1=a:1/a:2,7=b:1/b:2", "1=a:1"},
    {"election-timeout", "900ms", "10ms"},
    {"heartbeat", "50ms", "1us"},
    {"snapshot-after", "1GiB", "1"},
    {"log-trailing", "0B", "-1B"},
    {"log-segment", "1MiB", "1KiB"},
    {"log-cache", "8MiB", "8Mib"},
    {"entries-in-flight", "12", "0"},
    {"append-pace", "5ms", "21ms"},
    {"peer-queue-max", "3MiB", "1MiB"},
    {"peer-connect-timeout", "800ms", "800 ms"},
    {"peer-tcp-timeout", "2500ms", "99h"},
    {"proposals-in-flight", "3", "65"},
    {"batch-bytes", "32KiB", "193KiB"},
    {"renew-delay", "0ms", "1001ms"},
    {"clock-step-max", "50ms", "2s"},
    {"digest-every", "10", "0"},
    {"check-invariants", "always", "on"},
    {"log-level", "debug", "loud"},
    {"log-format", "json", "xml"},
};

int reset(void **state)
{
    (void)state;
    memset(&config, 0xA5, sizeof(config));
    memset(&errors, 0, sizeof(errors));
    config_defaults(&config);
    return 0;
}

int file_create(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/lockstep-config-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

int file_remove(void **state)
{
    (void)state;
    return unlink(path);
}

void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

void read_text(const char *text)
{
    (void)reset(NULL);
    write_file(text);
    config_read_file(&config, path, &errors);
}

const char *value_of(enum config_key key)
{
    static char text[8192];
    return config_value_text(&config, key, text, sizeof(text));
}
