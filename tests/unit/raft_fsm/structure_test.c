/* The structures below the state: tree.c, pool.c. (timer.c is held by the agreement test and the invariants.) */
#include "fixture.h"

#include <stdlib.h>

#include "raft_fsm/pool.h"
#include "raft_fsm/tree.h"

static uint64_t seed = 1;

enum { NUMBERS = 500 };

struct number {
    unsigned value;
    struct tree_node node;
    bool inside;
};

static const struct number *number_of(const struct tree_node *node)
{
    return (const void *)((uintptr_t)node - offsetof(struct number, node));
}

static int compare(const void *key, const struct tree_node *node)
{
    const unsigned *value = key;
    return (*value > number_of(node)->value) - (*value < number_of(node)->value);
}

static void check_order(const struct tree *tree, const struct number *numbers, unsigned from, bool inclusive)
{
    struct tree_walk walk;
    fsm_tree_walk(&walk, tree, &from, inclusive);
    for (unsigned i = inclusive ? from : from + 1; i < NUMBERS; i++) {
        if (numbers[i].inside) {
            assert_ptr_equal(fsm_tree_next(&walk), &numbers[i].node);
        }
    }
    assert_null(fsm_tree_next(&walk));
}

static void a_tree_stays_balanced_and_in_order(void **state)
{
    (void)state;
    static struct number numbers[NUMBERS];
    struct random random = {.state = seed};
    struct tree tree;
    fsm_tree_init(&tree, compare);
    for (unsigned i = 0; i < NUMBERS; i++) {
        numbers[i] = (struct number){.value = i};
    }
    for (unsigned step = 0; step < 20000; step++) {
        /* Runs up and down, so that the tree is also nearly empty and nearly full, and filled in order. */
        bool fills = step / 2000 % 2 == 0;
        unsigned at = step % 4000 < 400 ? step % 400 : (unsigned)random_below(&random, NUMBERS);
        struct number *number = &numbers[at];
        if (fills) {
            assert_int_equal(fsm_tree_insert(&tree, &at, &number->node), !number->inside);
            number->inside = true;
        } else if (number->inside) {
            fsm_tree_remove(&tree, &number->node);
            number->inside = false;
        }
        assert_ptr_equal(fsm_tree_find(&tree, &at), number->inside ? &number->node : NULL);
        if (step % 50 == 0) {
            fsm_tree_check(&tree);
            check_order(&tree, numbers, (unsigned)random_below(&random, NUMBERS), step % 100 == 0);
        }
    }
}

static void a_pool_gives_back_what_it_does_not_need(void **state)
{
    (void)state;
    enum { ITEMS = 20000 };
    struct random random = {.state = seed};
    struct pool pool;
    static uint64_t *items[ITEMS];
    fsm_pool_init(&pool, 40);
    for (unsigned step = 0; step < 10 * ITEMS; step++) {
        unsigned at = (unsigned)random_below(&random, ITEMS);
        if (items[at] == NULL) {
            items[at] = fsm_pool_take(&pool);
            assert_int_equal(items[at][4], 0);
            items[at][0] = at;
            items[at][4] = at;
        } else {
            assert_int_equal(items[at][0], at);
            assert_int_equal(items[at][4], at);
            fsm_pool_give(&pool, items[at]);
            items[at] = NULL;
        }
    }
    assert_true(pool.bytes < (uint64_t)ITEMS * 48);
    for (unsigned at = 0; at < ITEMS; at++) {
        if (items[at] != NULL) {
            fsm_pool_give(&pool, items[at]);
        }
    }
    assert_true(pool.bytes <= 256 * 1024);
    fsm_pool_done(&pool);
}

int main(int argc, char **argv)
{
    seed = seed_of(argc, argv, 5);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_stays_balanced_and_in_order),
        cmocka_unit_test(a_pool_gives_back_what_it_does_not_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
