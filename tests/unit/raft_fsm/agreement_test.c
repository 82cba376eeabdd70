/* Random entries against the invariants, and against other replicas of the same state: one that builds no effects, one
 * that was restored from a snapshot taken in the middle, whose slices were interleaved with entries. All must have the
 * same digest after every entry, and those with effects the same ones in the same order. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/encode.h"

enum { CLIENTS = 8, KEYS = 6, ENTRIES = 2000, COMMANDS_MAX = 6, SENT = 4 };

struct story {
    struct fixture *fixture;
    struct random random;
    struct client clients[CLIENTS];
    struct fsm_command sent[CLIENTS][SENT]; /* the latest, by request id */
    uint64_t tokens[64];                    /* given lately; the keys they are of */
    unsigned keys[64];
    unsigned tokens_count;
    struct fsm *restored; /* joins in the middle */
    struct fsm_effects restored_effects;
    struct fsm_snapshot *snapshot;
    struct proto_buffer stream;
    uint64_t digest_at_begin;
    uint64_t snapshots;
};

static uint64_t seed = 1;
static const char *const key_names[KEYS] = {"a", "ab", "b/1", "b/2", "c", "zz"};

static uint64_t pick(struct story *story, uint64_t bound)
{
    return random_below(&story->random, bound);
}

static bool one_in(struct story *story, uint64_t bound)
{
    return pick(story, bound) == 0;
}

static uint64_t pick_ttl(struct story *story)
{
    return 100 + pick(story, 900);
}

static void add_open(struct story *story, struct client *client)
{
    struct fsm_command command =
        open_command(client, pick_ttl(story), one_in(story, 2) ? 0 : pick(story, 500));
    if (one_in(story, 6)) {
        command.body.session_open.resume_id = client->session_id;
    }
    if (one_in(story, 3)) {
        command.body.session_open.owner = bytes_of("someone else, with a longer name");
    }
    entry_add(story->fixture, &command);
}

static struct fsm_command random_acquire(struct story *story, struct client *client)
{
    static const uint64_t waits[] = {0, 50, 300, PROTO_WAIT_FOREVER};
    const char *key = key_names[pick(story, KEYS)];
    enum proto_mode mode = (enum proto_mode)pick(story, 3);
    struct fsm_command command = acquire_command(client, key, mode, waits[pick(story, 4)]);
    struct proto_lock_acquire *body = &command.body.lock_acquire;
    if (mode == PROTO_MODE_PERMITS) {
        body->limit = one_in(story, 5) ? 4 : 3;
        body->permits = 1 + (uint32_t)pick(story, 3);
    }
    body->reentrant = one_in(story, 3);
    body->ttl_ms = one_in(story, 3) ? 100 + pick(story, 200) : 0;
    body->has_value = one_in(story, 4);
    if (body->has_value && !one_in(story, 3)) {
        body->value = bytes_of("a value");
    }
    return command;
}

static void pick_token(struct story *story, struct proto_bytes *ret_key, uint64_t *ret_token)
{
    unsigned at = story->tokens_count == 0
                      ? 0
                      : (unsigned)pick(story, story->tokens_count < 64 ? story->tokens_count : 64);
    *ret_key = bytes_of(key_names[story->keys[at]]);
    *ret_token = story->tokens[at];
}

static struct fsm_command random_of_holder(struct story *story, struct client *client)
{
    static const enum proto_kind kinds[] = {PROTO_LOCK_EXTEND, PROTO_LOCK_RELEASE, PROTO_LOCK_RELEASE,
                                            PROTO_LOCK_SET_VALUE};
    struct fsm_command command = command_of(client, kinds[pick(story, 4)]);
    if (command.kind == PROTO_LOCK_EXTEND) {
        pick_token(story, &command.body.lock_extend.key, &command.body.lock_extend.token);
        command.body.lock_extend.ttl_ms = one_in(story, 3) ? 0 : pick_ttl(story);
    } else if (command.kind == PROTO_LOCK_RELEASE) {
        pick_token(story, &command.body.lock_release.key, &command.body.lock_release.token);
        command.body.lock_release.all = one_in(story, 2);
    } else {
        pick_token(story, &command.body.lock_set_value.key, &command.body.lock_set_value.token);
        command.body.lock_set_value.value = bytes_of(one_in(story, 2) ? "" : "another");
    }
    return command;
}

static struct fsm_command random_of_session(struct story *story, struct client *client)
{
    switch (pick(story, 12)) {
    case 0: {
        struct fsm_command command = command_of(client, PROTO_SESSION_RENEW);
        command.body.session_renew.ttl_ms = one_in(story, 2) ? 0 : pick_ttl(story);
        return command;
    }
    case 1:
        return one_in(story, 4) ? command_of(client, PROTO_SESSION_CLOSE) : random_acquire(story, client);
    case 2: {
        struct fsm_command command = command_of(client, PROTO_LOCK_CANCEL);
        command.body.lock_cancel.target_id = client->next_request_id - 1 - pick(story, 5);
        return command;
    }
    case 3:
    case 4:
    case 5:
    case 6:
        return random_of_holder(story, client);
    default:
        return random_acquire(story, client);
    }
}

static void add_admin(struct story *story)
{
    struct fsm_command command = {.kind = PROTO_EPOCH_RAISE};
    if (one_in(story, 2)) {
        command.kind = PROTO_FORCE_RELEASE;
        pick_token(story, &command.body.force_release.key, &command.body.force_release.token);
        if (one_in(story, 2)) {
            command.body.force_release.token = 0;
        }
        command.body.force_release.reason = bytes_of("maintenance");
    } else if (one_in(story, 2)) {
        command.kind = PROTO_SESSION_KILL;
        command.body.session_kill.session_id =
            story->clients[pick(story, CLIENTS)].session_id + pick(story, 2);
        command.body.session_kill.reason = bytes_of("misbehaves");
    }
    entry_add(story->fixture, &command);
}

static void add_of_session(struct story *story, struct client *client)
{
    client->ack_floor = one_in(story, 6) ? client->next_request_id - 1 - pick(story, 2) : client->ack_floor;
    if (client->ack_floor >= client->next_request_id) {
        client->ack_floor = 0;
    }
    struct fsm_command *sent = story->sent[client - story->clients];
    struct fsm_command command = random_of_session(story, client);
    sent[command.request_id % SENT] = command;
    if (one_in(story, 5)) {
        /* The same as before, sent again, or one that did not come in its time. */
        uint64_t back = pick(story, command.request_id < SENT ? command.request_id : SENT);
        command = sent[(command.request_id - back) % SENT];
    } else if (one_in(story, 10) && client->next_request_id > 4) {
        command.request_id -= pick(story, 4); /* another operation under a used id */
        command.ack_floor = 0;
    }
    if (one_in(story, 40)) {
        command.proof++;
    }
    entry_add(story->fixture, &command);
}

static void learn(struct story *story)
{
    const struct fsm_effects *effects = &story->fixture->effects;
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *found = &effects->list[i];
        bool replies = found->kind == FSM_REPLY || found->kind == FSM_WAIT_ENDED;
        if (replies && found->reply.status == PROTO_STATUS_OK && found->reply.kind == PROTO_LOCK_ACQUIRE) {
            /* Which key it was of is not in the reply: any will do for a random test. */
            story->tokens[story->tokens_count % 64] = found->reply.body.grant.token;
            story->keys[story->tokens_count % 64] = (unsigned)pick(story, KEYS);
            story->tokens_count++;
        }
    }
}

static void learn_keys(struct story *story)
{
    for (unsigned key = 0; key < KEYS; key++) {
        struct proto_reply reply = query_lock(story->fixture, key_names[key]);
        for (uint32_t i = 0; i < reply.body.lock.holders_shown; i++) {
            for (unsigned at = 0; at < 64; at++) {
                if (story->tokens[at] == reply.body.lock.holders[i].token) {
                    story->keys[at] = key;
                }
            }
        }
    }
}

static void find_sessions(struct story *story)
{
    const struct fsm_effects *effects = &story->fixture->effects;
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *found = &effects->list[i];
        if (found->kind == FSM_REPLY && found->reply.kind == PROTO_SESSION_OPEN &&
            found->reply.status == PROTO_STATUS_OK) {
            struct client *client = &story->clients[found->command_index % CLIENTS];
            if (client->session_id != found->reply.body.session.session_id) {
                client->session_id = found->reply.body.session.session_id;
                client->next_request_id = 1;
                client->ack_floor = 0;
            }
        }
    }
}

/* Slices of a snapshot between the entries; when it is whole, the state restored from it goes on beside the others. */
static void go_on_with_snapshot(struct story *story)
{
    struct fsm *fsm = story->fixture->fsm;
    if (story->snapshot == NULL) {
        if (story->restored != NULL || !one_in(story, 20)) {
            return;
        }
        story->digest_at_begin = fsm_digest(fsm);
        proto_buffer_clear(&story->stream);
        story->snapshot = fsm_snapshot_begin(fsm);
        return;
    }
    if (fsm_snapshot_next(story->snapshot, &story->stream, 1 + pick(story, 200)) || one_in(story, 2)) {
        return;
    }
    fsm_snapshot_end(story->snapshot);
    story->snapshot = NULL;
    struct proto_error error = {0};
    struct fsm *restored = restore_of(story->stream.data, story->stream.size, 1 + pick(story, 3000), &error);
    if (restored == NULL) {
        fail_msg("the snapshot was refused: %s", error.detail);
    }
    assert_int_equal(fsm_digest(restored), story->digest_at_begin);
    fsm_free(restored);
    story->snapshots++;
}

static void encode_effects(const struct fsm_effects *effects, struct proto_buffer *out)
{
    proto_buffer_clear(out);
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *found = &effects->list[i];
        const uint64_t head[] = {found->kind, found->command_index, found->session_id, found->request_id};
        assert_true(proto_buffer_append(out, head, sizeof head));
        if (found->kind == FSM_EVENT) {
            proto_encode_event(out, &found->event);
        } else if (found->kind != FSM_QUEUED) {
            proto_encode_reply(out, &found->reply);
        }
    }
}

/* What is remembered of an answer is not all of it: the rest is made again when a request is sent again. */
static void compare_effects(const struct fsm_effects *effects, const struct fsm_effects *restored)
{
    struct proto_buffer bytes[2];
    for (unsigned i = 0; i < 2; i++) {
        proto_buffer_init(&bytes[i], SIZE_MAX);
        encode_effects(i == 0 ? effects : restored, &bytes[i]);
    }
    assert_int_equal(bytes[0].size, bytes[1].size);
    if (bytes[0].size > 0) {
        assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].size);
    }
    proto_buffer_done(&bytes[0]);
    proto_buffer_done(&bytes[1]);
}

/* Every now and then: a state restored from this very moment follows for a while. */
static void go_on_with_restored(struct story *story)
{
    if (story->restored == NULL && story->snapshot == NULL && one_in(story, 30)) {
        struct proto_error error = {0};
        proto_buffer_clear(&story->stream);
        snapshot_of(story->fixture->fsm, 1 + pick(story, 5000), &story->stream);
        story->restored = restore_of(story->stream.data, story->stream.size, SIZE_MAX, &error);
        if (story->restored == NULL) {
            fail_msg("the snapshot was refused: %s", error.detail);
        }
    } else if (story->restored != NULL) {
        const struct proto_buffer *entry = &story->fixture->entry;
        struct fsm_effects *effects = &story->restored_effects;
        assert_int_equal(fsm_apply(story->restored, entry->data, entry->size, effects, NULL), FSM_APPLIED);
        compare_effects(&story->fixture->effects, effects);
        fsm_check_invariants(story->restored);
        assert_int_equal(fsm_digest(story->restored), fsm_digest(story->fixture->fsm));
        if (one_in(story, 30)) {
            fsm_free(story->restored);
            story->restored = NULL;
        }
    }
}

/* Each command has exactly one effect of its own. */
static void check_answers(struct story *story, uint32_t commands)
{
    unsigned answers[64] = {0};
    const struct fsm_effects *effects = &story->fixture->effects;
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *found = &effects->list[i];
        if (found->kind == FSM_REPLY || found->kind == FSM_QUEUED) {
            assert_true(found->command_index < commands);
            answers[found->command_index]++;
        } else {
            assert_int_equal(found->command_index, FSM_NO_COMMAND);
        }
    }
    for (uint32_t i = 0; i < commands; i++) {
        assert_int_equal(answers[i], 1);
    }
}

static void one_entry(struct story *story)
{
    struct fixture *fixture = story->fixture;
    fixture->time_ms += one_in(story, 50) ? pick(story, 2000) : pick(story, 60);
    entry_begin(fixture);
    for (uint64_t i = pick(story, COMMANDS_MAX); i > 0; i--) {
        uint32_t index = fixture->writer.count;
        struct client *client = &story->clients[pick(story, CLIENTS)];
        if (client == &story->clients[index % CLIENTS] && one_in(story, 3)) {
            add_open(story, client);
        } else if (one_in(story, 30)) {
            add_admin(story);
        } else {
            add_of_session(story, client);
        }
    }
    uint32_t commands = fixture->writer.count;
    entry_apply(fixture);
    check_answers(story, commands);
    find_sessions(story);
    learn(story);
    learn_keys(story);
    struct cluster_time due = fsm_next_due(fixture->fsm);
    assert_true(due.ms >= fsm_time(fixture->fsm).ms);
}

static void replicas_agree_after_every_entry(void **state)
{
    (void)state;
    static struct story story;
    for (unsigned round = 0; round < 4; round++) {
        memset(&story, 0, sizeof story);
        story.random.state = seed + round;
        story.fixture = fixture_create();
        proto_buffer_init(&story.stream, SIZE_MAX);
        fsm_effects_init(&story.restored_effects);
        for (unsigned i = 0; i < CLIENTS; i++) {
            memset(story.clients[i].digest, (int)('A' + i / 2),
                   sizeof story.clients[i].digest); /* two share a key */
            story.clients[i].next_request_id = 1;
        }
        for (unsigned i = 0; i < ENTRIES; i++) {
            one_entry(&story);
            go_on_with_restored(&story);
            go_on_with_snapshot(&story);
        }
        assert_true(story.snapshots > 0);
        fsm_snapshot_end(story.snapshot);
        fsm_free(story.restored);
        fsm_effects_done(&story.restored_effects);
        proto_buffer_done(&story.stream);
        fixture_free(story.fixture);
    }
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 20240601);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_agree_after_every_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
