/* Owns the shape of the intrusive ordered trees; never looks into the objects but through the comparison.
 *
 *   T1  Keys in order: all of child[0] < node < all of child[1].
 *   T2  The levels of a node's two subtrees differ by at most one; `balance` says by how much.
 *   T3  `count` is the number of nodes. */
#include "raft_fsm/tree.h"

#include <stddef.h>

#include "protocol/assert.h"

/* The way from the root to a node: which link led there, and to which side each step went. */
struct descent {
    struct tree_node **link[FSM_TREE_DEPTH_MAX];
    unsigned side[FSM_TREE_DEPTH_MAX];
    unsigned depth;
};

void fsm_tree_init(struct tree *tree, fsm_tree_compare compare)
{
    tree->root = NULL;
    tree->compare = compare;
    tree->count = 0;
}

struct tree_node *fsm_tree_find(const struct tree *tree, const void *key)
{
    struct tree_node *node = tree->root;
    while (node != NULL) {
        int order = tree->compare(key, node);
        if (order == 0) {
            return node;
        }
        node = node->child[order > 0];
    }
    return NULL;
}

static void descent_step(struct descent *descent, struct tree_node **link, unsigned side)
{
    LOCKSTEP_ASSERT(descent->depth < FSM_TREE_DEPTH_MAX);
    descent->link[descent->depth] = link;
    descent->side[descent->depth] = side;
    descent->depth++;
}

/* Follow `key` down. @return the link that holds its node, or the empty link where it belongs. */
static struct tree_node **descend(struct tree *tree, const void *key, struct descent *descent)
{
    struct tree_node **link = &tree->root;
    descent->depth = 0;
    while (*link != NULL) {
        int order = tree->compare(key, *link);
        if (order == 0) {
            break;
        }
        unsigned side = order > 0;
        descent_step(descent, link, side);
        link = &(*link)->child[side];
    }
    return link;
}

/* The node at `link` leans by two to `side`: turn the subtree. */
static void rotate(struct tree_node **link, unsigned side)
{
    struct tree_node *node = *link;
    struct tree_node *heavy = node->child[side];
    int8_t lean = side ? 1 : -1;
    if (heavy->balance == -lean) {
        struct tree_node *middle = heavy->child[!side];
        heavy->child[!side] = middle->child[side];
        node->child[side] = middle->child[!side];
        middle->child[side] = heavy;
        middle->child[!side] = node;
        node->balance = middle->balance == lean ? (int8_t)-lean : 0;
        heavy->balance = middle->balance == -lean ? lean : 0;
        middle->balance = 0;
        *link = middle;
        return;
    }
    node->child[side] = heavy->child[!side];
    heavy->child[!side] = node;
    /* heavy->balance is 0 only after a removal: then the subtree keeps its height. */
    node->balance = heavy->balance == 0 ? lean : 0;
    heavy->balance = heavy->balance == 0 ? (int8_t)-lean : 0;
    *link = heavy;
}

bool fsm_tree_insert(struct tree *tree, const void *key, struct tree_node *node)
{
    struct descent descent;
    struct tree_node **link = descend(tree, key, &descent);
    if (*link != NULL) {
        return false;
    }
    node->child[0] = NULL;
    node->child[1] = NULL;
    node->balance = 0;
    *link = node;
    tree->count++;
    for (unsigned i = descent.depth; i-- > 0;) {
        struct tree_node *above = *descent.link[i];
        int balance = above->balance + (descent.side[i] ? 1 : -1);
        if (balance == 2 || balance == -2) {
            rotate(descent.link[i], descent.side[i]);
            break;
        }
        above->balance = (int8_t)balance;
        if (balance == 0) {
            break;
        }
    }
    return true;
}

/* A node with two children changes places with the next greater one, which has no lesser child. */
static struct tree_node **swap_with_successor(struct tree_node **link, struct descent *descent)
{
    struct tree_node *node = *link;
    unsigned at = descent->depth;
    descent_step(descent, link, 1);
    struct tree_node **lowest = &node->child[1];
    while ((*lowest)->child[0] != NULL) {
        descent_step(descent, lowest, 0);
        lowest = &(*lowest)->child[0];
    }
    struct tree_node *successor = *lowest;
    struct tree_node *successor_right = successor->child[1];
    successor->child[0] = node->child[0];
    successor->balance = node->balance;
    *link = successor;
    node->child[0] = NULL;
    if (lowest == &node->child[1]) {
        successor->child[1] = node;
        lowest = &successor->child[1];
    } else {
        successor->child[1] = node->child[1];
        *lowest = node;
        /* The step below `at` was recorded as a link inside `node`, which is no longer there. */
        descent->link[at + 1] = &successor->child[1];
    }
    node->child[1] = successor_right;
    return lowest;
}

void fsm_tree_remove(struct tree *tree, const void *key)
{
    struct descent descent;
    struct tree_node **link = descend(tree, key, &descent);
    struct tree_node *node = *link;
    LOCKSTEP_ASSERT(node != NULL);
    if (node->child[0] != NULL && node->child[1] != NULL) {
        link = swap_with_successor(link, &descent);
    }
    *link = node->child[node->child[0] == NULL];
    tree->count--;
    for (unsigned i = descent.depth; i-- > 0;) {
        struct tree_node *above = *descent.link[i];
        int balance = above->balance - (descent.side[i] ? 1 : -1);
        if (balance == 2 || balance == -2) {
            rotate(descent.link[i], !descent.side[i]);
            if ((*descent.link[i])->balance != 0) {
                break;
            }
            continue;
        }
        above->balance = (int8_t)balance;
        if (balance != 0) {
            break;
        }
    }
}

static void walk_down(struct tree_walk *walk, const struct tree_node *node)
{
    for (; node != NULL; node = node->child[0]) {
        LOCKSTEP_ASSERT(walk->depth < FSM_TREE_DEPTH_MAX);
        walk->path[walk->depth++] = node;
    }
}

void fsm_tree_walk(struct tree_walk *walk, const struct tree *tree, const void *key, bool inclusive)
{
    walk->depth = 0;
    if (key == NULL) {
        walk_down(walk, tree->root);
        return;
    }
    const struct tree_node *node = tree->root;
    while (node != NULL) {
        int order = tree->compare(key, node);
        if (order < 0 || (order == 0 && inclusive)) {
            LOCKSTEP_ASSERT(walk->depth < FSM_TREE_DEPTH_MAX);
            walk->path[walk->depth++] = node;
            node = node->child[0];
        } else {
            node = node->child[1];
        }
    }
}

struct tree_node *fsm_tree_next(struct tree_walk *walk)
{
    if (walk->depth == 0) {
        return NULL;
    }
    const struct tree_node *node = walk->path[--walk->depth];
    walk_down(walk, node->child[1]);
    return (struct tree_node *)(uintptr_t)node;
}

/* The least node, after turning what stands above it to the right: each node is turned at most once in all. */
struct tree_node *fsm_tree_take_apart(struct tree *tree)
{
    struct tree_node *node = tree->root;
    if (node == NULL) {
        return NULL;
    }
    while (node->child[0] != NULL) {
        struct tree_node *lesser = node->child[0];
        node->child[0] = lesser->child[1];
        lesser->child[1] = node;
        node = lesser;
    }
    tree->root = node->child[1];
    tree->count--;
    return node;
}

/* Recursion is bounded by FSM_TREE_DEPTH_MAX. */
static int check_node(const struct tree_node *node, uint64_t *count, unsigned depth)
{
    if (node == NULL) {
        return 0;
    }
    LOCKSTEP_ASSERT(depth < FSM_TREE_DEPTH_MAX);
    int lesser = check_node(node->child[0], count, depth + 1);
    int greater = check_node(node->child[1], count, depth + 1);
    LOCKSTEP_ASSERT(greater - lesser == node->balance);
    LOCKSTEP_ASSERT(node->balance >= -1 && node->balance <= 1);
    ++*count;
    return 1 + (lesser > greater ? lesser : greater);
}

void fsm_tree_check(const struct tree *tree)
{
    uint64_t count = 0;
    (void)check_node(tree->root, &count, 0); /* the height itself is of no interest */
    LOCKSTEP_ASSERT(count == tree->count);
}
