/* Real lockstepd processes, each with a directory of its own, and a plain client of their protocol. */
#ifndef LOCKSTEP_TESTS_UNIT_NODE_LOCKSTEPD_HARNESS_H
#define LOCKSTEP_TESTS_UNIT_NODE_LOCKSTEPD_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/types.h>

#include "protocol/buffer.h"
#include "protocol/decode.h"
#include "protocol/message.h"

enum { LOG_BYTES_MAX = 512 * 1024, FLAGS_MAX = 24 };

struct daemon {
    pid_t pid;                 /* 0: not running */
    int log_fd;                /* its standard error */
    size_t log_size, log_seen; /* read so far; looked through by daemon_event() */
    char log[LOG_BYTES_MAX];
    char listen[64]; /* of its event "started" */
};

/* cmocka's: a directory for each test, removed at its end; daemons that still run are killed. */
int directory_create(void **state);
int directory_remove(void **state);
/* Of this test. */
extern char directory[64];

uint64_t real_ms(void);

/* Start lockstepd with these flags (NULL-terminated), TMPDIR in the test's directory. */
struct daemon *daemon_start(const char *const *flags);
/* The same, and wait for its event "started". `flags` has --listen=127.0.0.1:0. */
struct daemon *daemon_serve(const char *const *flags);
/* Wait for a line with `text` after the last one found; fails the test if the process ends or 20 s pass. @return the line;
 * overwritten by the next call. */
const char *daemon_event(struct daemon *daemon, const char *text);
void daemon_signal(struct daemon *daemon, int number);
/* Wait for the end. @return the exit code, or 128 + the signal that ended it. The log is complete then. */
int daemon_wait(struct daemon *daemon);
/* The last line of the log. */
const char *daemon_last_line(struct daemon *daemon);
/* Run to the end and compare exit code and a part of the last line. */
void assert_exit(const char *const *flags, int code, const char *last_line_part);

/* ---- a client ---- */

struct client {
    int fd;
    struct proto_buffer in;
    struct proto_rows *rows;
    uint64_t next_id;
    uint64_t session_id;
    uint8_t secret[PROTO_SECRET_BYTES];
};

/* A port that nobody listens on now. */
unsigned port_free(void);
/* Connect to `address` ("127.0.0.1:port"); not yet hello. */
int socket_connect(const char *address);
/* Whether the other side has closed within 20 s; what it sent before is dropped. */
bool socket_closed(int fd);
/* Connect and say hello. */
struct client *client_hello(const char *address, struct proto_hello_reply *ret_hello);
void client_free(struct client *client);
/* Fill in the header of a request (id, session) and send it. @return its id. */
uint64_t client_send(struct client *client, struct proto_request *request);
/* Wait for the next reply (events are passed over). Points into the client's buffer until the next call. */
struct proto_reply client_reply(struct client *client);
/* Send and wait; asks again while no node leads. */
struct proto_reply client_call(struct client *client, struct proto_request request);
/* Open a session. */
void client_open_session(struct client *client, uint64_t ttl_ms);
struct proto_reply client_acquire(struct client *client, const char *key, uint64_t wait_ms);
struct proto_bytes bytes_of(const char *text);

#endif
