/* Runs stories: each file's lines go through a state machine; what it answers is compared with the text beside each
 * line. After every line the invariants of the whole state are asserted, and a second state machine, which is sent
 * through a snapshot and a restore after every line, must have the same digest.
 *
 *   run_stories FILE…                checks; exit 0 if all agree
 *   run_stories --regenerate FILE…   writes what was answered into the files, to be reviewed as a diff */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/assert.h"
#include "raft_fsm/fsm.h"
#include "tests/scenarios/render.h"
#include "tests/scenarios/story.h"

enum { FILE_BYTES_MAX = 1024 * 1024, ANSWER_COLUMN = 44, BATCH_MAX = 64 };

struct run {
    const char *file;
    unsigned line_number;
    unsigned failures;
    bool regenerate;
    FILE *out; /* regenerate: the new text */
    struct story story;
    struct fsm *fsm;
    struct fsm *twin; /* restored from a snapshot after every line; builds no effects, as a follower */
    struct fsm_effects effects;
    struct proto_rows rows;
    struct render render;
};

/* Lines joined by "&" are one entry; they are shown when the entry has run. */
struct batch {
    struct story_line lines[BATCH_MAX];
    char left[BATCH_MAX][STORY_LINE_BYTES_MAX];
    char expected[BATCH_MAX][RENDER_BYTES_MAX];
    unsigned numbers[BATCH_MAX];
    unsigned count;
};

static void fail(struct run *run, unsigned line, const char *message)
{
    (void)fprintf(stderr, "%s:%u: %s\n", run->file, line, message);
    run->failures++;
}

static struct fsm *copy_through_snapshot(struct run *run, struct fsm *fsm)
{
    struct proto_error error = {0};
    struct proto_buffer stream;
    proto_buffer_init(&stream, SIZE_MAX / 2);
    struct fsm_snapshot *snapshot = fsm_snapshot_begin(fsm);
    while (fsm_snapshot_next(snapshot, &stream, 512)) {
    }
    fsm_snapshot_end(snapshot);
    struct fsm_restore *restore = fsm_restore_begin();
    LOCKSTEP_ASSERT(fsm_restore_feed(restore, stream.data, stream.size, &error));
    struct fsm *copy = fsm_restore_finish(restore, &error);
    if (copy == NULL) {
        fail(run, run->line_number, error.detail);
        exit(1);
    }
    proto_buffer_done(&stream);
    fsm_free(fsm);
    return copy;
}

static void apply(struct run *run, const struct batch *batch, uint64_t time_ms, unsigned commands)
{
    struct fsm_entry_writer writer;
    struct proto_buffer buffer;
    proto_buffer_init(&buffer, FSM_ENTRY_BYTES_MAX);
    fsm_entry_begin(&writer, &buffer, (struct cluster_time){time_ms});
    for (unsigned i = 0; i < commands; i++) {
        LOCKSTEP_ASSERT(fsm_entry_add(&writer, &batch->lines[i].command));
    }
    fsm_entry_end(&writer);
    LOCKSTEP_ASSERT(fsm_apply(run->fsm, buffer.data, buffer.size, &run->effects, NULL) == FSM_APPLIED);
    LOCKSTEP_ASSERT(fsm_apply(run->twin, buffer.data, buffer.size, NULL, NULL) == FSM_APPLIED);
    proto_buffer_done(&buffer);
}

static uint64_t opened_session(const struct fsm_effects *effects)
{
    for (size_t i = 0; i < effects->count; i++) {
        const struct fsm_effect *effect = &effects->list[i];
        if (effect->kind == FSM_REPLY && effect->reply.status == PROTO_STATUS_OK) {
            return effect->reply.body.session.session_id;
        }
    }
    return 0;
}

/* A session for an actor whose first line is not `open`. */
static void session_ensure(struct run *run, struct story_line *line, uint64_t time_ms)
{
    static struct batch batch;
    char error[256];
    char text[64];
    struct story_actor *actor = line->actor;
    if (actor == NULL || line->opens || line->verb != STORY_COMMAND ||
        proto_operation_find(line->command.kind)->sent_by != PROTO_SESSION) {
        return;
    }
    if (actor->session_id == 0) {
        (void)snprintf(text, sizeof text, "t=%" PRIu64 " %s open", time_ms, actor->name);
        LOCKSTEP_ASSERT(story_line_parse(&run->story, text, &batch.lines[0], error, sizeof error));
        apply(run, &batch, time_ms, 1);
        actor->session_id = opened_session(&run->effects);
    }
    line->command.session_id = actor->session_id;
}

static void answer_show(struct run *run, const char *left, const char *expected, unsigned number, const char *answer)
{
    if (run->regenerate) {
        (void)fprintf(run->out, "%-*s -> %s\n", ANSWER_COLUMN, left, answer);
        return;
    }
    if (strcmp(expected, answer) != 0) {
        (void)fprintf(stderr, "%s:%u: %s\n  expected: %s\n  answered: %s\n", run->file, number, left, expected, answer);
        run->failures++;
    }
}

/* The effects that belong to line `index` of the batch: its own answer and what follows until the next command's. What
 * happened before the first command (expiry) is shown with the first line. */
static size_t effects_render(struct run *run, const struct batch *batch, unsigned index, size_t from)
{
    size_t at = from;
    for (; at < run->effects.count; at++) {
        const struct fsm_effect *effect = &run->effects.list[at];
        bool answers = effect->command_index != FSM_NO_COMMAND;
        if (answers && effect->command_index > index) {
            break;
        }
        if (answers && batch->lines[index].opens && effect->reply.status == PROTO_STATUS_OK) {
            batch->lines[index].actor->session_id = effect->reply.body.session.session_id;
        }
        render_effect(&run->render, &run->story, effect);
    }
    return at;
}

static void query_run(struct run *run, const struct story_line *line)
{
    struct proto_reply reply;
    memset(&reply, 0, sizeof reply);
    fsm_query(run->fsm, fsm_time(run->fsm), &line->query, &run->rows, &reply);
    render_query(&run->render, &run->story, &reply);
}

static void state_check(struct run *run)
{
    fsm_check_invariants(run->fsm);
    run->twin = copy_through_snapshot(run, run->twin);
    fsm_check_invariants(run->twin);
    if (fsm_digest(run->fsm) != fsm_digest(run->twin)) {
        fail(run, run->line_number, "the digest differs from that of a restored follower");
    }
}

static void batch_run(struct run *run, struct batch *batch)
{
    if (batch->count == 0) {
        return;
    }
    struct story_line *first = &batch->lines[0];
    size_t shown = 0;
    bool entry = first->verb == STORY_COMMAND || first->verb == STORY_EXPIRY;
    for (unsigned i = 0; i < batch->count; i++) {
        session_ensure(run, &batch->lines[i], first->time_ms);
    }
    if (entry) {
        apply(run, batch, first->time_ms, first->verb == STORY_COMMAND ? batch->count : 0);
    }
    for (unsigned i = 0; i < batch->count; i++) {
        render_clear(&run->render);
        if (entry) {
            shown = effects_render(run, batch, i, shown);
        } else if (first->verb == STORY_QUERY) {
            query_run(run, &batch->lines[i]);
        } else {
            run->fsm = copy_through_snapshot(run, run->fsm);
        }
        answer_show(run, batch->left[i], batch->expected[i], batch->numbers[i],
                    run->render.size > 0 ? run->render.text : "nothing");
    }
    state_check(run);
    batch->count = 0;
}

static char *trimmed(char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    for (size_t size = strlen(text); size > 0 && strchr(" \t\n", text[size - 1]) != NULL; size--) {
        text[size - 1] = '\0';
    }
    return text;
}

static void line_run(struct run *run, struct batch *batch, char *text)
{
    char error[256];
    char *arrow = strstr(text, "->");
    const char *expected = arrow != NULL ? trimmed(arrow + 2) : "";
    if (arrow != NULL) {
        *arrow = '\0';
    }
    char *left = trimmed(text);
    if (left[0] != '&') {
        batch_run(run, batch);
    }
    if (left[0] == '\0' || left[0] == '#') {
        if (run->regenerate) {
            (void)fprintf(run->out, "%s\n", left);
        }
        return;
    }
    LOCKSTEP_ASSERT(batch->count < BATCH_MAX);
    struct story_line *line = &batch->lines[batch->count];
    if (!story_line_parse(&run->story, left, line, error, sizeof error)) {
        fail(run, run->line_number, error);
        return;
    }
    (void)snprintf(batch->left[batch->count], sizeof batch->left[0], "%s", left);
    (void)snprintf(batch->expected[batch->count], sizeof batch->expected[0], "%s", expected);
    batch->numbers[batch->count++] = run->line_number;
}

static void run_begin(struct run *run, const char *file)
{
    run->file = file;
    run->line_number = 0;
    memset(&run->story, 0, sizeof run->story);
    run->fsm = fsm_create();
    run->twin = fsm_create();
    fsm_effects_init(&run->effects);
}

static void run_end(struct run *run)
{
    fsm_effects_done(&run->effects);
    fsm_free(run->fsm);
    fsm_free(run->twin);
}

/* A line "=== title" begins a new story: fresh state, same file. */
static void file_run(struct run *run, const char *path)
{
    static struct batch batch;
    static char text[STORY_LINE_BYTES_MAX + RENDER_BYTES_MAX];
    static char regenerated[FILE_BYTES_MAX];
    FILE *in = fopen(path, "r");
    if (in == NULL) {
        (void)fprintf(stderr, "%s: can not be read\n", path);
        run->failures++;
        return;
    }
    run->out = run->regenerate ? fmemopen(regenerated, sizeof regenerated, "w") : NULL;
    run_begin(run, path);
    while (fgets(text, sizeof text, in) != NULL) {
        run->line_number++;
        if (strncmp(text, "===", 3) == 0) {
            unsigned line_number = run->line_number;
            batch_run(run, &batch);
            run_end(run);
            run_begin(run, path);
            run->line_number = line_number;
            if (run->out != NULL) {
                (void)fputs(text, run->out);
            }
            continue;
        }
        line_run(run, &batch, text);
    }
    batch_run(run, &batch);
    run_end(run);
    (void)fclose(in);
    if (run->out != NULL) {
        (void)fclose(run->out);
        FILE *out = fopen(path, "w");
        LOCKSTEP_ASSERT(out != NULL);
        (void)fputs(regenerated, out);
        (void)fclose(out);
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    int first = 1;
    if (argc > 1 && strcmp(argv[1], "--regenerate") == 0) {
        run.regenerate = true;
        first = 2;
    }
    if (first >= argc) {
        (void)fprintf(stderr, "usage: run_stories [--regenerate] FILE...\n");
        return 2;
    }
    for (int i = first; i < argc; i++) {
        file_run(&run, argv[i]);
    }
    (void)printf("%d files, %u failures\n", argc - first, run.failures);
    return run.failures == 0 ? 0 : 1;
}
