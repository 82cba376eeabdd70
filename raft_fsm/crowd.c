/* Owns the index of the grants of crowded locks. A lock may have 65536 holders, and one session may be all of them: to go
 * through a list for each extend and release would make the work of an entry as large as that times its commands.
 *
 *   B1  While a lock has more than FSM_CROWD holders, each of its grants that may be alive has a seat. Other grants may have
 *       one: who stays when the crowd goes keeps it.
 *   B2  A seat is in two orders: by token, and by (lock, session, permits, token), in which all that an acquire may join
 *       stands together, the earliest first.
 *   B3  A dead grant never lives again (S1, L6, L8): its seat goes when a search comes by it, so each is passed once.
 *   B4  Seats are no part of the state. They are in no image, another replica may have others (one that was restored), and
 *       what a search finds does not depend on them. So they may be ordered by addresses. */
#include "raft_fsm/crowd.h"

#include "raft_fsm/state.h"

struct seat {
    struct tree_node by_token;
    struct tree_node by_holder;
    struct grant *grant;
};

/* B2 */
struct holder_key {
    const struct lock *lock;
    const struct session *session;
    uint64_t token;
    uint16_t permits;
};

static struct seat *of_token_node(const struct tree_node *node)
{
    return (void *)((uintptr_t)node - offsetof(struct seat, by_token));
}

static struct seat *of_holder_node(const struct tree_node *node)
{
    return (void *)((uintptr_t)node - offsetof(struct seat, by_holder));
}

static struct holder_key key_of(const struct grant *grant)
{
    return (struct holder_key){
        .lock = grant->lock, .session = grant->session, .token = grant->token, .permits = grant->permits};
}

static int order(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

static int compare_token(const void *key, const struct tree_node *node)
{
    const uint64_t *token = key;
    return order(*token, of_token_node(node)->grant->token);
}

static int compare_holder(const void *key, const struct tree_node *node)
{
    const struct holder_key *wanted = key;
    const struct grant *grant = of_holder_node(node)->grant;
    if (wanted->lock != grant->lock) {
        return order((uintptr_t)wanted->lock, (uintptr_t)grant->lock);
    }
    if (wanted->session != grant->session) {
        return order((uintptr_t)wanted->session, (uintptr_t)grant->session);
    }
    int permits = order(wanted->permits, grant->permits);
    return permits != 0 ? permits : order(wanted->token, grant->token);
}

void fsm_crowd_init(struct crowd *crowd)
{
    fsm_tree_init(&crowd->by_token, compare_token);
    fsm_tree_init(&crowd->by_holder, compare_holder);
    fsm_pool_init(&crowd->seats, sizeof(struct seat));
}

/* ---- taking and leaving seats ---- */

static void take_seat(struct crowd *crowd, struct grant *grant)
{
    struct holder_key key = key_of(grant);
    struct seat *seat = fsm_pool_take(&crowd->seats);
    seat->grant = grant;
    bool is_new = fsm_tree_insert(&crowd->by_token, &grant->token, &seat->by_token) &&
                  fsm_tree_insert(&crowd->by_holder, &key, &seat->by_holder);
    LOCKSTEP_ASSERT(is_new);
    grant->seated = true;
}

static void leave_seat(struct crowd *crowd, struct seat *seat)
{
    seat->grant->seated = false;
    fsm_tree_remove(&crowd->by_token, &seat->by_token);
    fsm_tree_remove(&crowd->by_holder, &seat->by_holder);
    fsm_pool_give(&crowd->seats, seat);
}

void fsm_crowd_join(struct fsm *fsm, struct grant *grant)
{
    const struct lock *lock = grant->lock;
    if (lock->holders_count > FSM_CROWD + 1) {
        take_seat(&fsm->crowd, grant);
    } else if (lock->holders_count == FSM_CROWD + 1) {
        /* It has just become a crowd: those that were there before, too. */
        struct grant *each = lock->grants;
        for (uint32_t i = 0; i < lock->holders_count; i++, each = each->lock_next) {
            if (!each->seated && each->session != NULL) { /* NULL: a restore has not come to it yet */
                take_seat(&fsm->crowd, each);
            }
        }
    }
}

void fsm_crowd_leave(struct fsm *fsm, struct grant *grant)
{
    if (grant->seated) {
        leave_seat(&fsm->crowd, of_token_node(fsm_tree_find(&fsm->crowd.by_token, &grant->token)));
    }
}

/* ---- finding ---- */

const struct grant *fsm_crowd_find(struct fsm *fsm, uint64_t token)
{
    fsm->searched++;
    const struct tree_node *node = fsm_tree_find(&fsm->crowd.by_token, &token);
    return node == NULL ? NULL : of_token_node(node)->grant;
}

const struct grant *fsm_crowd_first(struct fsm *fsm, const struct lock *lock, const struct session *session,
                                    const uint16_t *permits)
{
    struct holder_key from = {.lock = lock, .session = session, .permits = permits == NULL ? 0 : *permits};
    for (;;) {
        struct tree_walk walk;
        fsm_tree_walk(&walk, &fsm->crowd.by_holder, &from, true);
        const struct tree_node *node = fsm_tree_next(&walk);
        struct seat *seat = node == NULL ? NULL : of_holder_node(node);
        fsm->searched++;
        if (seat == NULL || seat->grant->lock != lock || seat->grant->session != session ||
            (permits != NULL && seat->grant->permits != *permits)) {
            return NULL;
        }
        if (fsm_grant_alive(fsm, seat->grant)) {
            return seat->grant;
        }
        leave_seat(&fsm->crowd, seat); /* B3 */
    }
}

/* ---- the end ---- */

bool fsm_crowd_discard(struct crowd *crowd)
{
    struct tree_node *node = fsm_tree_take_apart(&crowd->by_token);
    if (node == NULL) {
        return false;
    }
    fsm_pool_give(&crowd->seats, of_token_node(node));
    return true;
}

/* B2. That no seat is there without its grant, the caller counts. */
static void check_order_by_token(const struct crowd *crowd)
{
    struct tree_walk walk;
    uint64_t token = 0;
    fsm_tree_walk(&walk, &crowd->by_token, NULL, true);
    for (uint64_t i = 0; i < crowd->by_token.count; i++) {
        const struct grant *grant = of_token_node(fsm_tree_next(&walk))->grant;
        LOCKSTEP_ASSERT(grant->seated);
        LOCKSTEP_ASSERT(grant->token > token);
        token = grant->token;
    }
}

/* A grant that stands where its session and its permits are not would not be found, and another be made. */
static void check_order_by_holder(const struct crowd *crowd)
{
    struct tree_walk walk;
    struct holder_key before = {.lock = NULL};
    fsm_tree_walk(&walk, &crowd->by_holder, NULL, true);
    for (uint64_t i = 0; i < crowd->by_holder.count; i++) {
        const struct tree_node *node = fsm_tree_next(&walk);
        LOCKSTEP_ASSERT(of_holder_node(node)->grant->seated);
        LOCKSTEP_ASSERT(compare_holder(&before, node) < 0);
        before = key_of(of_holder_node(node)->grant);
    }
}

void fsm_crowd_check(const struct crowd *crowd)
{
    LOCKSTEP_ASSERT(crowd->by_token.count == crowd->by_holder.count);
    fsm_tree_check(&crowd->by_token);
    fsm_tree_check(&crowd->by_holder);
    check_order_by_token(crowd);
    check_order_by_holder(crowd);
}
