/* A core between a fake replica and a fake shell (test_core_harness.h). */
#include "test_core_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raft_fsm/entry.h"

/* ---- the replica ---- */

static bool fake_propose(void *ctx, struct local_time now, const struct replica_command *commands,
                         unsigned count, uint64_t *ret_first_index, uint64_t *ret_term)
{
    struct harness *h = ctx;
    assert_true(now.ms == h->now.ms);
    if (h->refuse_proposals || !h->serving) {
        return false;
    }
    h->propose_calls++;
    *ret_first_index = h->last_index + 1;
    *ret_term = h->term;
    for (unsigned i = 0; i < count; i++) {
        assert_true(h->entries_count < HARNESS_ENTRIES);
        struct harness_entry *entry = &h->entries[h->entries_count++];
        *entry = (struct harness_entry){++h->last_index, h->term, malloc(commands[i].size), commands[i].size};
        assert_non_null(entry->data);
        memcpy(entry->data, commands[i].data, commands[i].size);
    }
    return true;
}

static bool fake_read(void *ctx, struct local_time now, uint64_t read_id)
{
    struct harness *h = ctx;
    (void)now;
    if (h->refuse_reads || !h->serving) {
        return false;
    }
    assert_true(h->reads_count < HARNESS_READS);
    h->reads[h->reads_count++] = read_id;
    return true;
}

static bool fake_transfer(void *ctx, struct local_time now, uint64_t node_id)
{
    struct harness *h = ctx;
    (void)now;
    (void)node_id;
    h->transfers++;
    return h->serving && !h->refuse_transfer;
}

static void fake_status(void *ctx, struct replica_status *ret_status)
{
    struct harness *h = ctx;
    memset(ret_status, 0, sizeof(*ret_status));
    ret_status->role = h->serving ? REPLICA_LEADER : REPLICA_FOLLOWER;
    ret_status->serving = h->serving;
    ret_status->term = h->term;
    ret_status->leader_id = h->leader_id;
    ret_status->commit_index = h->applied_index;
    ret_status->applied_index = h->applied_index;
    ret_status->members_count = h->members;
    for (unsigned i = 0; i < h->members; i++) {
        struct replica_member *member = &ret_status->members[i].member;
        member->node_id = i + 1;
        member->voter = true;
        (void)snprintf(member->client_address, sizeof(member->client_address), "10.0.0.%u:7400", i + 1);
        (void)snprintf(member->peer_address, sizeof(member->peer_address), "10.0.0.%u:7401", i + 1);
    }
}

/* ---- the shell ---- */

static bool fake_send(void *ctx, uint64_t connection, const void *frame, size_t size)
{
    struct harness_connection *c = harness_connection(ctx, connection);
    assert_false(c->closed);
    if (c->full) {
        return false;
    }
    assert_true(proto_buffer_append(&c->out, frame, size));
    return true;
}

static bool fake_is_slow(void *ctx, uint64_t connection)
{
    return harness_connection(ctx, connection)->slow;
}

static void fake_close(void *ctx, uint64_t connection, const char *why)
{
    struct harness_connection *c = harness_connection(ctx, connection);
    c->closed = true;
    (void)snprintf(c->why, sizeof(c->why), "%s", why);
}

static void fake_log(void *ctx, enum logger_level level, const char *event, const char *fields)
{
    struct harness *h = ctx;
    size_t room = sizeof(h->log) - h->log_bytes;
    int size = snprintf(h->log + h->log_bytes, room, "%d %s %s\n", level, event, fields);
    if (size > 0 && (size_t)size < room) {
        h->log_bytes += (size_t)size;
    }
}

static void fake_fatal(void *ctx, const char *message)
{
    struct harness *h = ctx;
    h->fatals++;
    fake_log(ctx, 0, "fatal", message);
}

unsigned harness_seed(void)
{
    const char *given = getenv("LOCKSTEP_SEED");
    unsigned seed = given == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(given, NULL, 10);
    print_message("seed %u\n", seed);
    return seed;
}

struct harness *harness_create(const struct core_options *options)
{
    struct harness *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    if (options != NULL) {
        h->options = *options;
    } else {
        core_options_init(&h->options);
    }
    h->options.cluster_id = 77;
    h->options.node_id = 1;
    h->options.version = "test";
    h->options.check_invariants = CORE_CHECK_ALWAYS;
    h->now = (struct local_time){1000};
    h->members = 3;
    h->next_id = 1000;
    proto_buffer_init(&h->scratch, PROTO_FRAME_BODY_BYTES_MAX);
    struct core_replica replica = {h, fake_propose, fake_read, fake_transfer, fake_status};
    struct core_output output = {h, fake_send, fake_is_slow, fake_close, fake_log, fake_fatal};
    h->core = core_create(&h->options, &replica, &output);
    return h;
}

void harness_destroy(struct harness *h)
{
    core_free(h->core);
    for (unsigned i = 0; i < h->entries_count; i++) {
        free(h->entries[i].data);
    }
    for (unsigned i = 0; i < h->connections_count; i++) {
        proto_buffer_done(&h->connections[i].out);
    }
    proto_buffer_done(&h->scratch);
    free(h);
}

int harness_setup(void **state)
{
    *state = harness_create(NULL);
    return 0;
}

int harness_teardown(void **state)
{
    harness_destroy(*state);
    return 0;
}

/* ---- leadership, time, commits ---- */

void harness_lead(struct harness *h)
{
    h->term++;
    h->leader_id = 1;
    h->last_index++; /* the barrier of the term */
    core_replica_changed(h->core, h->now, REPLICA_LEADER, h->term, 1, false);
    h->serving = true;
    h->applied_index = h->last_index;
    core_replica_applied(h->core, h->applied_index);
    core_replica_changed(h->core, h->now, REPLICA_LEADER, h->term, 1, true);
}

void harness_follow(struct harness *h, uint64_t leader_id)
{
    h->serving = false;
    h->term++;
    h->leader_id = leader_id;
    core_replica_changed(h->core, h->now, REPLICA_FOLLOWER, h->term, leader_id, false);
}

void harness_turn(struct harness *h, uint64_t ms)
{
    h->now.ms += ms;
    core_turn(h->core, h->now);
}

void harness_commit_some(struct harness *h, unsigned count)
{
    struct replica_machine machine = core_machine(h->core);
    if (count > h->entries_count) {
        count = h->entries_count;
    }
    for (unsigned i = 0; i < count; i++) {
        struct harness_entry *entry = &h->entries[i];
        h->applied_index = entry->index;
        machine.apply(machine.ctx, entry->index, entry->term, entry->data, entry->size);
        free(entry->data);
    }
    memmove(h->entries, h->entries + count, (h->entries_count - count) * sizeof(h->entries[0]));
    h->entries_count -= count;
    if (count > 0) {
        core_replica_applied(h->core, h->applied_index);
    }
}

void harness_commit(struct harness *h)
{
    harness_commit_some(h, h->entries_count);
}

void harness_prove(struct harness *h, bool ok)
{
    for (unsigned i = 0; i < h->reads_count; i++) {
        core_replica_read_ready(h->core, h->reads[i], ok);
    }
    h->reads_count = 0;
}

void harness_settle(struct harness *h)
{
    for (unsigned i = 0; i < 1000; i++) {
        harness_turn(h, 1);
        if (h->entries_count == 0 && h->reads_count == 0 && h->core->proposer.queue.count == 0 &&
            !h->core->dirty) {
            return;
        }
        harness_prove(h, true);
        harness_commit(h);
    }
    fail_msg("the core does not come to rest");
}

/* ---- connections ---- */

struct harness_connection *harness_connection(struct harness *h, uint64_t connection)
{
    assert_true(connection >= 1 && connection <= h->connections_count);
    return &h->connections[connection - 1];
}

uint64_t harness_connect_silent(struct harness *h)
{
    assert_true(h->connections_count < HARNESS_CONNECTIONS);
    struct harness_connection *c = &h->connections[h->connections_count++];
    *c = (struct harness_connection){.id = h->connections_count};
    proto_buffer_init(&c->out, (size_t)64 << 20);
    core_connection_opened(h->core, h->now, c->id, "192.0.2.1:5000");
    return c->id;
}

void harness_hello(struct harness *h, uint64_t connection, const struct proto_hello_request *hello)
{
    struct proto_buffer body;
    proto_buffer_init(&body, PROTO_REQUEST_BODY_BYTES_MAX);
    proto_encode_hello_request(&body, hello);
    core_receive(h->core, h->now, connection, (struct proto_bytes){body.data, (uint32_t)body.size});
    proto_buffer_done(&body);
}

uint64_t harness_connect(struct harness *h)
{
    uint64_t connection = harness_connect_silent(h);
    struct proto_hello_request hello = {PROTO_VERSION_MIN, PROTO_VERSION_MAX, 77, harness_text("test")};
    harness_hello(h, connection, &hello);
    struct proto_hello_reply reply;
    assert_true(harness_take_hello(h, connection, &reply));
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    return connection;
}

void harness_disconnect(struct harness *h, uint64_t connection)
{
    harness_connection(h, connection)->closed = true;
    core_connection_closed(h->core, connection);
}

void harness_send_bytes(struct harness *h, uint64_t connection, const void *data, size_t size)
{
    /* An own copy that is gone afterwards, so that a core which keeps a pointer into the frame is found out. */
    uint8_t *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    core_receive(h->core, h->now, connection, (struct proto_bytes){copy, (uint32_t)size});
    memset(copy, 0xee, size);
    free(copy);
}

void harness_send(struct harness *h, uint64_t connection, const struct proto_request *request)
{
    struct proto_buffer body;
    proto_buffer_init(&body, PROTO_REQUEST_BODY_BYTES_MAX);
    proto_encode_request(&body, request);
    assert_false(body.failed);
    harness_send_bytes(h, connection, body.data, body.size);
    proto_buffer_done(&body);
}

static bool take_body(struct harness *h, uint64_t connection, struct proto_bytes *ret_body)
{
    struct harness_connection *c = harness_connection(h, connection);
    size_t frame_bytes = 0;
    if (c->taken == c->out.size) {
        return false;
    }
    enum proto_frame_result result =
        proto_frame_take(c->out.data + c->taken, c->out.size - c->taken, PROTO_FRAME_BODY_BYTES_MAX,
                         &h->scratch, ret_body, &frame_bytes);
    assert_int_equal(result, PROTO_FRAME_OK);
    c->taken += frame_bytes;
    return true;
}

bool harness_take(struct harness *h, uint64_t connection, struct proto_incoming *ret_incoming)
{
    struct proto_bytes body;
    struct proto_error error;
    if (!take_body(h, connection, &body)) {
        return false;
    }
    if (!proto_decode_incoming(body, &h->rows, ret_incoming, &error)) {
        fail_msg("%s", error.detail);
    }
    return true;
}

bool harness_take_hello(struct harness *h, uint64_t connection, struct proto_hello_reply *ret_hello)
{
    struct proto_bytes body;
    struct proto_error error;
    return take_body(h, connection, &body) && proto_decode_hello_reply(body, ret_hello, &error);
}

struct proto_reply harness_expect(struct harness *h, uint64_t connection, uint64_t id,
                                  enum proto_status status)
{
    struct proto_incoming incoming;
    if (!harness_take(h, connection, &incoming)) {
        fail_msg("request %llu: no answer", (unsigned long long)id);
    }
    assert_false(incoming.is_event);
    assert_int_equal(incoming.reply.id, id);
    assert_string_equal(proto_status_name(incoming.reply.status), proto_status_name(status));
    return incoming.reply;
}

void harness_expect_nothing(struct harness *h, uint64_t connection)
{
    struct proto_incoming incoming;
    assert_false(harness_take(h, connection, &incoming));
}

struct proto_event harness_expect_event(struct harness *h, uint64_t connection, enum proto_event_kind kind)
{
    struct proto_incoming incoming;
    assert_true(harness_take(h, connection, &incoming));
    assert_true(incoming.is_event);
    assert_int_equal(incoming.event.kind, kind);
    return incoming.event;
}

/* ---- requests ---- */

struct proto_bytes harness_text(const char *text)
{
    return (struct proto_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static struct proto_request session_request(enum proto_kind kind, uint8_t who, uint64_t session_id,
                                            uint64_t id)
{
    struct proto_request request = {.kind = kind, .id = id, .session_id = session_id};
    memset(request.secret, who, sizeof(request.secret));
    return request;
}

struct proto_request harness_open(uint8_t who, uint64_t id, uint64_t ttl_ms)
{
    struct proto_request request = session_request(PROTO_SESSION_OPEN, who, 0, id);
    request.body.session_open = (struct proto_session_open){.owner = harness_text("owner"), .ttl_ms = ttl_ms};
    return request;
}

struct proto_request harness_renew(uint8_t who, uint64_t session_id, uint64_t id)
{
    return session_request(PROTO_SESSION_RENEW, who, session_id, id);
}

struct proto_request harness_acquire(uint8_t who, uint64_t session_id, uint64_t id, const char *key,
                                     uint64_t wait_ms)
{
    struct proto_request request = session_request(PROTO_LOCK_ACQUIRE, who, session_id, id);
    request.body.lock_acquire = (struct proto_lock_acquire){.key = harness_text(key), .wait_ms = wait_ms};
    return request;
}

struct proto_request harness_release(uint8_t who, uint64_t session_id, uint64_t id, const char *key,
                                     uint64_t token)
{
    struct proto_request request = session_request(PROTO_LOCK_RELEASE, who, session_id, id);
    request.body.lock_release = (struct proto_lock_release){.key = harness_text(key), .token = token};
    return request;
}

struct proto_request harness_get(uint64_t id, const char *key, bool stale)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET, .id = id, .stale = stale};
    request.body.lock_get.key = harness_text(key);
    return request;
}

uint64_t harness_session(struct harness *h, uint64_t connection, uint8_t who, uint64_t ttl_ms)
{
    uint64_t id = h->next_id++;
    struct proto_request open = harness_open(who, id, ttl_ms);
    harness_send(h, connection, &open);
    harness_turn(h, 0);
    harness_commit(h);
    return harness_expect(h, connection, id, PROTO_STATUS_OK).body.session.session_id;
}

void harness_propose_lock(struct harness *h, uint64_t connection, uint8_t who, uint64_t session_id,
                          uint64_t id, const char *key)
{
    struct proto_request acquire = harness_acquire(who, session_id, id, key, 0);
    harness_send(h, connection, &acquire);
    harness_turn(h, 1);
}

uint64_t harness_lock(struct harness *h, uint64_t connection, uint8_t who, uint64_t session_id, uint64_t id,
                      const char *key)
{
    struct proto_request acquire = harness_acquire(who, session_id, id, key, 0);
    harness_send(h, connection, &acquire);
    harness_turn(h, 0);
    harness_commit(h);
    return harness_expect(h, connection, id, PROTO_STATUS_OK).body.grant.token;
}

unsigned harness_logged(const struct harness *h, const char *needle)
{
    unsigned count = 0;
    for (const char *at = strstr(h->log, needle); at != NULL; at = strstr(at + 1, needle)) {
        count++;
    }
    return count;
}

struct core_counts harness_counts(const struct harness *h)
{
    struct core_counts counts;
    core_counts(h->core, &counts);
    return counts;
}
