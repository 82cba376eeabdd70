/* Owns the shape of the intrusive ordered trees; never looks into the objects but through the comparison.
 *
 *   T1  Keys in order: all of child[0] < node < all of child[1].
 *   T2  The levels of a node's two subtrees differ by at most one: its balance is those of child[1] less those of child[0].
 *   T3  `count` is the number of nodes.
 *   T4  `above` names the node whose child it is, or NULL for the root. */
#include "raft_fsm/tree.h"

#include <stddef.h>

#include "protocol/assert.h"

/* An AVL tree of 2^32 nodes is at most 46 levels deep. */
enum { DEPTH_MAX = 48 };

/* A node is aligned to 4 at least, so that the balance has room below the parent's address: a million locks are to cost
 * what their fields cost. */
static const uintptr_t balance_bits = 3;

static struct tree_node *parent_of(const struct tree_node *node)
{
    return (struct tree_node *)(node->above & ~balance_bits);
}

static int balance_of(const struct tree_node *node)
{
    return (int)(node->above & balance_bits) - 1;
}

static void set_parent(struct tree_node *node, struct tree_node *parent)
{
    node->above = (uintptr_t)parent | (node->above & balance_bits);
}

static void set_balance(struct tree_node *node, int balance)
{
    node->above = (node->above & ~balance_bits) | (uintptr_t)(balance + 1);
}

static bool is_greater_child(const struct tree_node *node, const struct tree_node *parent)
{
    return parent->child[1] == node;
}

/* What leads to `node`. */
static struct tree_node **link_of(struct tree *tree, const struct tree_node *node)
{
    struct tree_node *parent = parent_of(node);
    return parent == NULL ? &tree->root : &parent->child[is_greater_child(node, parent)];
}

static void hang(struct tree_node *parent, unsigned side, struct tree_node *child)
{
    parent->child[side] = child;
    if (child != NULL) {
        set_parent(child, parent);
    }
}

static struct tree_node *least_of(const struct tree_node *node)
{
    while (node->child[0] != NULL) {
        node = node->child[0];
    }
    return (struct tree_node *)(uintptr_t)node;
}

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

/* `node` leans by two to `side`: turn its subtree. @return the subtree's new root. */
static struct tree_node *turn(struct tree *tree, struct tree_node *node, unsigned side)
{
    struct tree_node **link = link_of(tree, node);
    struct tree_node *parent = parent_of(node);
    struct tree_node *heavy = node->child[side];
    struct tree_node *top = heavy;
    int lean = side ? 1 : -1;
    if (balance_of(heavy) == -lean) {
        top = heavy->child[!side];
        hang(heavy, !side, top->child[side]);
        hang(node, side, top->child[!side]);
        hang(top, side, heavy);
        set_balance(node, balance_of(top) == lean ? -lean : 0);
        set_balance(heavy, balance_of(top) == -lean ? lean : 0);
        set_balance(top, 0);
    } else {
        bool even = balance_of(heavy) == 0; /* only after a removal: then the subtree keeps its height */
        hang(node, side, heavy->child[!side]);
        set_balance(node, even ? lean : 0);
        set_balance(heavy, even ? -lean : 0);
    }
    hang(top, !side, node);
    *link = top;
    set_parent(top, parent);
    return top;
}

bool fsm_tree_insert(struct tree *tree, const void *key, struct tree_node *node)
{
    struct tree_node *parent = NULL;
    struct tree_node **link = &tree->root;
    while (*link != NULL) {
        int order = tree->compare(key, *link);
        if (order == 0) {
            return false;
        }
        parent = *link;
        link = &parent->child[order > 0];
    }
    *node = (struct tree_node){.child = {NULL, NULL}};
    set_parent(node, parent);
    set_balance(node, 0);
    *link = node;
    tree->count++;
    /* `node` is the root of a subtree that has grown by a level. */
    for (; parent != NULL; node = parent, parent = parent_of(node)) {
        int balance = balance_of(parent) + (is_greater_child(node, parent) ? 1 : -1);
        if (balance == 2 || balance == -2) {
            (void)turn(tree, parent, balance > 0);
            break;
        }
        set_balance(parent, balance);
        if (balance == 0) {
            break;
        }
    }
    return true;
}

/* The subtree of `parent` on `side` has lost a level. */
static void shrunk(struct tree *tree, struct tree_node *parent, unsigned side)
{
    while (parent != NULL) {
        struct tree_node *top = parent;
        int balance = balance_of(parent) - (side ? 1 : -1);
        if (balance == 2 || balance == -2) {
            top = turn(tree, parent, balance > 0);
            if (balance_of(top) != 0) {
                break;
            }
        } else {
            set_balance(parent, balance);
            if (balance != 0) {
                break;
            }
        }
        parent = parent_of(top);
        side = parent != NULL && is_greater_child(top, parent);
    }
}

/* `by`, which may be NULL, comes where `node` was. */
static void replace(struct tree *tree, struct tree_node *node, struct tree_node *by)
{
    *link_of(tree, node) = by;
    if (by != NULL) {
        set_parent(by, parent_of(node));
    }
}

/* A node with two children gives its place to the next greater one, which has no lesser child. */
static void remove_inner(struct tree *tree, struct tree_node *node)
{
    struct tree_node *next = least_of(node->child[1]);
    struct tree_node *parent = parent_of(next);
    unsigned side = 0;
    if (parent == node) {
        parent = next;
        side = 1;
    } else {
        hang(parent, 0, next->child[1]);
        hang(next, 1, node->child[1]);
    }
    hang(next, 0, node->child[0]);
    replace(tree, node, next);
    set_balance(next, balance_of(node));
    shrunk(tree, parent, side);
}

void fsm_tree_remove(struct tree *tree, struct tree_node *node)
{
    tree->count--;
    if (node->child[0] != NULL && node->child[1] != NULL) {
        remove_inner(tree, node);
        return;
    }
    struct tree_node *parent = parent_of(node);
    unsigned side = parent != NULL && is_greater_child(node, parent);
    replace(tree, node, node->child[node->child[0] == NULL]);
    shrunk(tree, parent, side);
}

void fsm_tree_walk(struct tree_walk *walk, const struct tree *tree, const void *key, bool inclusive)
{
    const struct tree_node *node = tree->root;
    walk->next = key == NULL && node != NULL ? least_of(node) : NULL;
    while (key != NULL && node != NULL) {
        int order = tree->compare(key, node);
        bool wanted = order < 0 || (order == 0 && inclusive);
        walk->next = wanted ? node : walk->next;
        node = node->child[!wanted];
    }
}

static const struct tree_node *after(const struct tree_node *node)
{
    if (node->child[1] != NULL) {
        return least_of(node->child[1]);
    }
    const struct tree_node *parent = parent_of(node);
    while (parent != NULL && is_greater_child(node, parent)) {
        node = parent;
        parent = parent_of(node);
    }
    return parent;
}

struct tree_node *fsm_tree_next(struct tree_walk *walk)
{
    const struct tree_node *node = walk->next;
    walk->next = node == NULL ? NULL : after(node);
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

/* Recursion is bounded by DEPTH_MAX. */
static int check_node(const struct tree_node *node, const struct tree_node *parent, uint64_t *count,
                      unsigned depth)
{
    if (node == NULL) {
        return 0;
    }
    LOCKSTEP_ASSERT(depth < DEPTH_MAX);
    LOCKSTEP_ASSERT(parent_of(node) == parent);
    int lesser = check_node(node->child[0], node, count, depth + 1);
    int greater = check_node(node->child[1], node, count, depth + 1);
    LOCKSTEP_ASSERT(greater - lesser == balance_of(node));
    LOCKSTEP_ASSERT(balance_of(node) >= -1 && balance_of(node) <= 1);
    ++*count;
    return 1 + (lesser > greater ? lesser : greater);
}

void fsm_tree_check(const struct tree *tree)
{
    uint64_t count = 0;
    (void)check_node(tree->root, NULL, &count, 0); /* the height itself is of no interest */
    LOCKSTEP_ASSERT(count == tree->count);
}
