/* A story: lines of text that are commands to the state machine with the answer beside each (style of the tests here;
 * README.md in this folder has the grammar). This part reads one line into a command; it knows no state machine. */
#ifndef LOCKSTEP_TESTS_SCENARIOS_STORY_H
#define LOCKSTEP_TESTS_SCENARIOS_STORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/message.h"
#include "raft_fsm/entry.h"

enum { STORY_ACTORS_MAX = 16, STORY_LINE_BYTES_MAX = 1024, STORY_WORDS_MAX = 16 };

/* A client of the story. Its first line opens a session for it, unless that line is `open`. */
struct story_actor {
    char name[16];
    uint64_t session_id; /* 0: none yet */
    uint64_t last_id;    /* request ids count up from 1; `id=` overrides */
    uint8_t digest[PROTO_DIGEST_BYTES];
};

struct story {
    struct story_actor actors[STORY_ACTORS_MAX];
    unsigned actors_count;
};

enum story_verb_kind {
    STORY_COMMAND,  /* goes into an entry */
    STORY_QUERY,    /* reads the state */
    STORY_EXPIRY,   /* an entry without commands */
    STORY_SNAPSHOT, /* image, restore, go on with the copy */
};

/* One line, parsed. Strings of the command point into `text`. */
struct story_line {
    char text[STORY_LINE_BYTES_MAX]; /* the part before "->", cut into words */
    uint64_t time_ms;
    bool joined; /* begins with "&": same entry as the line before */
    enum story_verb_kind verb;
    struct story_actor *actor; /* NULL: an administrator's or a reader's line */
    bool opens;                /* the command is session.open: its reply names the actor's session */
    struct fsm_command command;
    struct proto_request query;
};

/* Parse the part of a line before "->".
 * @return false with `error` (error_size bytes) naming the word that is wrong and what is allowed. */
bool story_line_parse(struct story *story, const char *line, struct story_line *ret_line, char *error,
                      size_t error_size);

/* The actor of that name, made on first use; NULL when there are too many. */
struct story_actor *story_actor(struct story *story, const char *name);
const char *story_actor_name(const struct story *story, uint64_t session_id);

/* "250", "250ms", "5s", "2m", "1h" to milliseconds. */
bool story_duration_parse(const char *text, uint64_t *ret_ms);

#endif
