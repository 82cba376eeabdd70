/* What is linked once every object of a snapshot is there. Private to restore*.c. */
#ifndef LOCKSTEP_RAFT_FSM_RESTORE_LINK_H
#define LOCKSTEP_RAFT_FSM_RESTORE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft_fsm/tree.h"

/* Something to be linked in the order of `number`. */
struct link {
    uint64_t number;
    void *object;
    uint64_t session_id; /* grants, waiters */
};

/* In blocks, so that growing never moves what is there: a list of a million is no single allocation. */
enum { LINKS_PER_BLOCK = 2048 };

struct link_list {
    struct link **blocks;
    size_t blocks_count;
    size_t blocks_capacity;
    size_t count;
    uint64_t differing; /* the bits in which the numbers are not all the same */
};

/* A list on its way into order, a byte of the numbers after the other. */
struct link_sort {
    struct link_list other; /* what a pass fills */
    unsigned shift;
    bool counted;
    size_t at; /* how far counting or placing has come */
    size_t places[256];
};

enum link_phase {
    LINK_SESSIONS,
    LINK_SORT_GRANTS,
    LINK_GRANTS,
    LINK_WAITERS,
    LINK_TIMERS,
    LINK_SORT_ENDING,
    LINK_ENDING,
    LINK_SORT_PENDING,
    LINK_PENDING,
    LINK_DONE,
};

struct restore_links {
    struct link_list grants;  /* number: token */
    struct link_list waiters; /* number: not used */
    struct link_list ending;  /* number: ended_number */
    struct link_list pending; /* number: pending_number */
    enum link_phase phase;
    bool begun; /* the phase */
    size_t at;  /* in the list that is being linked */
    uint64_t number;
    struct link_sort sort;
    struct tree_walk walk; /* of the sessions */
};

void fsm_restore_links_add(struct link_list *list, uint64_t number, void *object, uint64_t session_id);

#endif
