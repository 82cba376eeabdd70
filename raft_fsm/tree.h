/* An intrusive ordered tree (AVL): the node lives in the object that it orders.
 *
 * One structure gives lookup and order. A hash table beside it would not pay: the common life of a lock is to be
 * created by an acquire and removed by the release, so every operation pays for the ordered index anyway; and a tree
 * has no rehash that stalls, no adversary who chooses colliding keys, and the same cost on every replica. */
#ifndef LOCKSTEP_RAFT_FSM_TREE_H
#define LOCKSTEP_RAFT_FSM_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct tree_node {
    struct tree_node *child[2]; /* lesser, greater */
    uintptr_t above;            /* the parent; in its two low bits the balance plus one (tree.c) */
};

/* < 0, 0, > 0 as `key` is less than, equal to or greater than that of `node`. */
typedef int (*fsm_tree_compare)(const void *key, const struct tree_node *node);

struct tree {
    struct tree_node *root;
    fsm_tree_compare compare;
    uint64_t count;
};

void fsm_tree_init(struct tree *tree, fsm_tree_compare compare);
/* The node with `key`, or NULL. */
struct tree_node *fsm_tree_find(const struct tree *tree, const void *key);
/* @return false, and nothing changes, if `key` is there already. */
bool fsm_tree_insert(struct tree *tree, const void *key, struct tree_node *node);
/* `node` must be there. Compares nothing and touches only its neighbours: what expires is mostly not in the processor's
 * cache, and nor is the way down to it. */
void fsm_tree_remove(struct tree *tree, struct tree_node *node);

/* A walk in order. The tree must not change during it. */
struct tree_walk {
    const struct tree_node *next;
};
/* From the least node whose key is greater than `key` (or equal, if `inclusive`); `key` NULL: from the first. */
void fsm_tree_walk(struct tree_walk *walk, const struct tree *tree, const void *key, bool inclusive);
/* The next node in order, or NULL at the end. */
struct tree_node *fsm_tree_next(struct tree_walk *walk);

/* Take any one node out of a tree that is being given up: in all linear, but the balance is lost, so that nothing else
 * may be asked of the tree any more. NULL: it is empty. */
struct tree_node *fsm_tree_take_apart(struct tree *tree);

/* Assert every node's balance and parent, and the count. Linear. */
void fsm_tree_check(const struct tree *tree);

#endif
