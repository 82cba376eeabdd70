/* Owns the state machines that the tests speak to; never decides what is right. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

struct proto_bytes bytes_of(const char *text)
{
    return (struct proto_bytes){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
}

struct fixture *fixture_create(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->fsm = fsm_create();
    fixture->follower = fsm_create();
    fsm_effects_init(&fixture->effects);
    proto_buffer_init(&fixture->entry, FSM_ENTRY_BYTES_MAX);
    return fixture;
}

void fixture_free(struct fixture *fixture)
{
    fsm_free(fixture->fsm);
    fsm_free(fixture->follower);
    fsm_effects_done(&fixture->effects);
    proto_buffer_done(&fixture->entry);
    free(fixture);
}

int fixture_set_up(void **state)
{
    *state = fixture_create();
    return 0;
}

int fixture_tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- entries ---- */

void entry_begin(struct fixture *fixture)
{
    proto_buffer_clear(&fixture->entry);
    fsm_entry_begin(&fixture->writer, &fixture->entry, (struct cluster_time){.ms = fixture->time_ms});
}

void entry_add(struct fixture *fixture, const struct fsm_command *command)
{
    assert_true(fsm_entry_add(&fixture->writer, command));
}

void entry_apply(struct fixture *fixture)
{
    struct proto_error error = {0};
    fsm_entry_end(&fixture->writer);
    const uint8_t *data = fixture->entry.data;
    size_t size = fixture->entry.size;
    enum fsm_result result = fsm_apply(fixture->fsm, data, size, &fixture->effects, &error);
    if (result != FSM_APPLIED) {
        fail_msg("the entry was refused: %s", error.detail);
    }
    if (fixture->follower != NULL) {
        assert_int_equal(fsm_apply(fixture->follower, data, size, NULL, &error), FSM_APPLIED);
    }
    if (!fixture->unchecked) {
        fsm_check_invariants(fixture->fsm);
        assert_int_equal(fsm_digest(fixture->fsm), fsm_digest(fixture->follower));
    }
}

void at(struct fixture *fixture, uint64_t time_ms)
{
    fixture->time_ms = time_ms;
    entry_begin(fixture);
    entry_apply(fixture);
}

const struct proto_reply *run(struct fixture *fixture, const struct fsm_command *command)
{
    entry_begin(fixture);
    entry_add(fixture, command);
    entry_apply(fixture);
    for (size_t i = 0; i < fixture->effects.count; i++) {
        const struct fsm_effect *found = &fixture->effects.list[i];
        if (found->command_index == 0) {
            assert_int_equal(found->kind, FSM_REPLY);
            return &found->reply;
        }
    }
    fail_msg("the command has no effect of its own");
    return NULL;
}

const struct fsm_effect *effect(const struct fixture *fixture, size_t at)
{
    assert_true(at < fixture->effects.count);
    return &fixture->effects.list[at];
}

size_t effects_of(const struct fixture *fixture, enum fsm_effect_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < fixture->effects.count; i++) {
        count += fixture->effects.list[i].kind == kind;
    }
    return count;
}

const struct proto_reply *wait_ended(const struct fixture *fixture, const struct client *client,
                                     uint64_t request_id)
{
    const struct proto_reply *reply = NULL;
    for (size_t i = 0; i < fixture->effects.count; i++) {
        const struct fsm_effect *found = &fixture->effects.list[i];
        if (found->kind == FSM_WAIT_ENDED && found->session_id == client->session_id &&
            found->request_id == request_id) {
            assert_null(reply);
            assert_int_equal(found->reply.id, request_id);
            assert_int_equal(found->reply.kind, PROTO_LOCK_ACQUIRE);
            reply = &found->reply;
        }
    }
    assert_non_null(reply);
    return reply;
}

const struct proto_event *event_for(const struct fixture *fixture, const struct client *client,
                                    enum proto_event_kind kind)
{
    const struct proto_event *event = NULL;
    for (size_t i = 0; i < fixture->effects.count; i++) {
        const struct fsm_effect *found = &fixture->effects.list[i];
        if (found->kind == FSM_EVENT && found->session_id == client->session_id &&
            found->event.kind == kind) {
            assert_null(event);
            event = &found->event;
        }
    }
    assert_non_null(event);
    return event;
}

/* ---- commands ---- */

struct fsm_command open_command(const struct client *client, uint64_t ttl_ms, uint64_t lock_delay_ms)
{
    struct fsm_command command = {.kind = PROTO_SESSION_OPEN};
    memcpy(command.digest, client->digest, sizeof command.digest);
    command.body.session_open.owner = bytes_of("owner");
    command.body.session_open.ttl_ms = ttl_ms;
    command.body.session_open.lock_delay_ms = lock_delay_ms;
    return command;
}

static uint64_t proof_of(const struct client *client)
{
    uint64_t proof = 0;
    for (unsigned i = 0; i < 8; i++) {
        proof |= (uint64_t)client->digest[i] << 8 * i;
    }
    return proof;
}

struct fsm_command command_of(struct client *client, enum proto_kind kind)
{
    struct fsm_command command = {.kind = kind,
                                  .request_id = client->next_request_id,
                                  .session_id = client->session_id,
                                  .proof = proof_of(client),
                                  .ack_floor = client->ack_floor};
    client->next_request_id++;
    return command;
}

struct fsm_command acquire_command(struct client *client, const char *key, enum proto_mode mode,
                                   uint64_t wait_ms)
{
    struct fsm_command command = command_of(client, PROTO_LOCK_ACQUIRE);
    command.body.lock_acquire.key = bytes_of(key);
    command.body.lock_acquire.mode = mode;
    command.body.lock_acquire.wait_ms = wait_ms;
    return command;
}

struct fsm_command permits_command(struct client *client, const char *key, uint32_t permits, uint32_t limit,
                                   uint64_t wait_ms)
{
    struct fsm_command command = acquire_command(client, key, PROTO_MODE_PERMITS, wait_ms);
    command.body.lock_acquire.permits = permits;
    command.body.lock_acquire.limit = limit;
    return command;
}

struct fsm_command release_command(struct client *client, const char *key, uint64_t token)
{
    struct fsm_command command = command_of(client, PROTO_LOCK_RELEASE);
    command.body.lock_release.key = bytes_of(key);
    command.body.lock_release.token = token;
    return command;
}

/* ---- short ways ---- */

struct client open_client(struct fixture *fixture, char name, uint64_t ttl_ms, uint64_t lock_delay_ms)
{
    struct client client = {.next_request_id = 1};
    memset(client.digest, name, sizeof client.digest);
    struct fsm_command command = open_command(&client, ttl_ms, lock_delay_ms);
    const struct proto_reply *reply = run(fixture, &command);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    client.session_id = reply->body.session.session_id;
    return client;
}

uint64_t acquire(struct fixture *fixture, struct client *client, const char *key, enum proto_mode mode)
{
    struct fsm_command command = acquire_command(client, key, mode, 0);
    const struct proto_reply *reply = run(fixture, &command);
    assert_int_equal(reply->status, PROTO_STATUS_OK);
    return reply->body.grant.token;
}

static uint64_t queue_command(struct fixture *fixture, const struct fsm_command *command)
{
    entry_begin(fixture);
    entry_add(fixture, command);
    entry_apply(fixture);
    assert_int_equal(effects_of(fixture, FSM_QUEUED), 1);
    return command->request_id;
}

uint64_t enqueue(struct fixture *fixture, struct client *client, const char *key, enum proto_mode mode,
                 uint64_t wait_ms)
{
    struct fsm_command command = acquire_command(client, key, mode, wait_ms);
    return queue_command(fixture, &command);
}

enum proto_status release(struct fixture *fixture, struct client *client, const char *key, uint64_t token)
{
    struct fsm_command command = release_command(client, key, token);
    return run(fixture, &command)->status;
}

enum proto_status cancel(struct fixture *fixture, struct client *client, uint64_t target_id)
{
    struct fsm_command command = command_of(client, PROTO_LOCK_CANCEL);
    command.body.lock_cancel.target_id = target_id;
    return run(fixture, &command)->status;
}

struct proto_reply query_lock(struct fixture *fixture, const char *key)
{
    struct proto_request request = {.kind = PROTO_LOCK_GET, .id = 7};
    request.body.lock_get.key = bytes_of(key);
    struct proto_reply reply;
    fsm_query(fixture->fsm, fsm_time(fixture->fsm), &request, &fixture->rows, &reply);
    assert_int_equal(reply.status, PROTO_STATUS_OK);
    assert_int_equal(reply.id, 7);
    return reply;
}

struct fsm_counts counts(const struct fixture *fixture)
{
    struct fsm_counts ret;
    fsm_counts(fixture->fsm, &ret);
    return ret;
}

/* ---- snapshots ---- */

void snapshot_of(struct fsm *fsm, size_t slice_bytes, struct proto_buffer *out)
{
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(fsm);
    while (fsm_snapshot_next(snapshot, out, slice_bytes)) {
    }
    fsm_snapshot_end(snapshot);
}

struct fsm *restore_of(const void *data, size_t size, size_t piece_bytes, struct proto_error *ret_error)
{
    struct fsm_restore *restore = fsm_restore_begin();
    const uint8_t *from = data;
    while (size > 0) {
        size_t piece = size < piece_bytes ? size : piece_bytes;
        if (!fsm_restore_feed(restore, from, piece, ret_error)) {
            break;
        }
        from += piece;
        size -= piece;
    }
    return fsm_restore_finish(restore, ret_error);
}

void follow_from_a_snapshot(struct fixture *fixture, size_t slice_bytes)
{
    struct proto_buffer stream;
    struct proto_error error = {0};
    proto_buffer_init(&stream, SIZE_MAX);
    snapshot_of(fixture->fsm, slice_bytes, &stream);
    fsm_free(fixture->follower);
    fixture->follower = restore_of(stream.data, stream.size, SIZE_MAX, &error);
    assert_non_null(fixture->follower);
    proto_buffer_done(&stream);
}

/* ---- numbers ---- */

uint64_t random_next(struct random *random)
{
    /* splitmix64: https://prng.di.unimi.it/splitmix64.c states the algorithm. */
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return random_next(random) % bound;
}

uint64_t seed_of(int argc, char **argv, uint64_t otherwise)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : otherwise;
    printf("seed %llu (give another one as the first argument)\n", (unsigned long long)seed);
    return seed;
}
