/* Owns the linking of grants and waiters to their sessions, and the lists that images do not have, once every object of
 * a snapshot is there. In portions, because a million grants are one step too long for a loop that serves.
 *
 * Grants are put into the lists of their sessions in order of token (O1), ended sessions and pending locks in order of
 * their work numbers; sorted by digits, so that the whole stays linear. */
#include "raft_fsm/restore_link.h"

#include <stdlib.h>
#include <string.h>

#include "raft_fsm/state.h"

/* ---- lists ---- */

static struct link *link_at(const struct link_list *list, size_t at)
{
    return &list->blocks[at / LINKS_PER_BLOCK][at % LINKS_PER_BLOCK];
}

static void add_block(struct link_list *list)
{
    if (list->blocks_count == list->blocks_capacity) {
        list->blocks_capacity = list->blocks_capacity == 0 ? 16 : list->blocks_capacity * 2;
        list->blocks = realloc(list->blocks, list->blocks_capacity * sizeof(struct link *));
        LOCKSTEP_ASSERT(list->blocks != NULL);
    }
    struct link *block = malloc(LINKS_PER_BLOCK * sizeof *block);
    LOCKSTEP_ASSERT(block != NULL);
    list->blocks[list->blocks_count] = block;
    list->blocks_count++;
}

void fsm_restore_links_add(struct link_list *list, uint64_t number, void *object, uint64_t session_id)
{
    if (list->count == list->blocks_count * LINKS_PER_BLOCK) {
        add_block(list);
    }
    struct link *link = link_at(list, list->count);
    *link = (struct link){.number = number, .object = object, .session_id = session_id};
    list->count++;
    list->differing |= number ^ link_at(list, 0)->number;
}

static void free_list(struct link_list *list)
{
    for (size_t i = 0; i < list->blocks_count; i++) {
        free(list->blocks[i]);
    }
    free(list->blocks);
    *list = (struct link_list){0};
}

struct restore_links *fsm_restore_links_create(void)
{
    struct restore_links *links = calloc(1, sizeof *links);
    LOCKSTEP_ASSERT(links != NULL);
    return links;
}

void fsm_restore_links_free(struct restore_links *links)
{
    free_list(&links->grants);
    free_list(&links->waiters);
    free_list(&links->ending);
    free_list(&links->pending);
    free_list(&links->sort.other);
    free(links);
}

/* ---- sorting: one stable pass for each byte in which the numbers differ ---- */

static void sum_places(struct link_sort *sort)
{
    size_t sum = 0;
    for (size_t digit = 0; digit < 256; digit++) {
        size_t here = sort->places[digit];
        sort->places[digit] = sum;
        sum += here;
    }
}

static void swap_lists(struct link_list *list, struct link_list *other)
{
    struct link_list sorted = *other;
    sorted.count = list->count;
    sorted.differing = list->differing;
    *other = *list;
    *list = sorted;
}

/* Count, then place, as many links as there is work left. @return true when the pass is through. */
static bool sort_pass(struct link_list *list, struct link_sort *sort, uint64_t *work)
{
    while (*work > 0 && sort->at < list->count) {
        const struct link *link = link_at(list, sort->at);
        size_t *place = &sort->places[link->number >> sort->shift & 0xff];
        if (sort->counted) {
            *link_at(&sort->other, *place) = *link;
        }
        ++*place;
        sort->at++;
        --*work;
    }
    if (sort->at < list->count) {
        return false;
    }
    sort->at = 0;
    if (!sort->counted) {
        sort->counted = true;
        sum_places(sort);
        return false;
    }
    return true;
}

/* @return true when the list is in order. */
static bool sort_links(struct link_list *list, struct link_sort *sort, uint64_t *work)
{
    while (sort->shift < 64 && *work > 0) {
        if ((list->differing >> sort->shift & 0xff) == 0) {
            sort->shift += 8;
            continue;
        }
        if (sort->other.blocks_count < list->blocks_count) {
            add_block(&sort->other);
            *work -= *work < LINKS_PER_BLOCK / 16 ? *work : LINKS_PER_BLOCK / 16;
            continue;
        }
        if (sort_pass(list, sort, work)) {
            swap_lists(list, &sort->other);
            sort->shift += 8;
            sort->counted = false;
            memset(sort->places, 0, sizeof sort->places);
        }
    }
    if (sort->shift < 64) {
        return false;
    }
    free_list(&sort->other);
    *sort = (struct link_sort){.shift = 0};
    return true;
}

/* ---- linking, one thing at a time ---- */

static struct session *find_session(const struct fsm *fsm, uint64_t id)
{
    return (struct session *)(uintptr_t)fsm_session_find(fsm, id);
}

/* In order of id: of two sessions with one digest the later one has the place in the index (S3). */
static void link_session(struct fsm *fsm, struct session *session)
{
    if (session->ended) {
        return;
    }
    const struct session *earlier = fsm_session_find_digest(fsm, session->digest);
    if (earlier != NULL) {
        fsm_session_unindex(fsm, (struct session *)(uintptr_t)earlier);
    }
    fsm_session_index(fsm, session);
    fsm_timer_set(fsm, &session->timer, FSM_TIMER_SESSION);
}

static const char *link_grant(struct fsm *fsm, const struct link *link)
{
    struct session *session = find_session(fsm, link->session_id);
    if (session == NULL) {
        return "snapshot: a grant belongs to no session";
    }
    fsm_grant_link_session(fsm, link->object, session);
    return NULL;
}

static const char *link_waiter(struct fsm *fsm, const struct link *link)
{
    struct waiter *waiter = link->object;
    struct session *session = find_session(fsm, link->session_id);
    if (session == NULL) {
        return "snapshot: a waiter belongs to no session";
    }
    if (fsm_history_full(session) || fsm_history_find(session, waiter->request_id) != NULL) {
        return "snapshot: a waiter's request is there twice, or one too many";
    }
    waiter->session = session;
    struct answer answer = {.kind = PROTO_LOCK_ACQUIRE, .status = PROTO_STATUS_QUEUED, .waiter = waiter};
    fsm_history_remember(fsm, session, waiter->request_id, &answer, fsm->time_ms);
    return NULL;
}

/* When every waiter has its session: the order of equal deadlines asks for its id. */
static const char *link_timer(struct fsm *fsm, const struct link *link)
{
    struct waiter *waiter = link->object;
    fsm_timer_set(fsm, &waiter->timer, FSM_TIMER_WAITER);
    return NULL;
}

static const char *link_ending(struct fsm *fsm, const struct link *link)
{
    struct session *session = link->object;
    if (fsm->ending_last != NULL) {
        fsm->ending_last->ending_next = session;
    } else {
        fsm->ending_first = session;
    }
    fsm->ending_last = session;
    fsm->ending_count++;
    return NULL;
}

static const char *link_pending(struct fsm *fsm, const struct link *link)
{
    fsm_pending_append(fsm, link->object);
    return NULL;
}

/* ---- the phases ---- */

static void next_phase(struct restore_links *links)
{
    links->phase++;
    links->at = 0;
    links->number = 0;
}

static void link_sessions(struct fsm *fsm, struct restore_links *links, uint64_t *work)
{
    if (!links->begun) {
        links->begun = true;
        fsm_tree_walk(&links->walk, &fsm->sessions, NULL, true);
    }
    for (; *work > 0; --*work) {
        const struct tree_node *node = fsm_tree_next(&links->walk);
        if (node == NULL) {
            next_phase(links);
            return;
        }
        link_session(fsm, fsm_session_of_id_node(node));
    }
}

static void sort_phase(struct restore_links *links, struct link_list *list, uint64_t *work)
{
    if (sort_links(list, &links->sort, work)) {
        next_phase(links);
    }
}

/* @param twice  what is wrong if a number does not lie above the one before; NULL: they have no order. */
static const char *link_phase(struct fsm *fsm, struct restore_links *links, const struct link_list *list,
                              const char *(*each)(struct fsm *fsm, const struct link *link),
                              const char *twice, uint64_t *work)
{
    for (; links->at<list->count && * work> 0; --*work) {
        const struct link *link = link_at(list, links->at);
        if (twice != NULL && links->at > 0 && link->number <= links->number) {
            return twice;
        }
        links->number = link->number;
        links->at++;
        const char *broken = each(fsm, link);
        if (broken != NULL) {
            return broken;
        }
    }
    if (links->at == list->count) {
        next_phase(links);
    }
    return NULL;
}

static const char *run_phase(struct fsm *fsm, struct restore_links *links, uint64_t *work)
{
    static const char work_number_twice[] = "snapshot: a work number is there twice";
    switch (links->phase) {
    case LINK_SESSIONS:
        link_sessions(fsm, links, work);
        return NULL;
    case LINK_SORT_GRANTS:
        sort_phase(links, &links->grants, work);
        return NULL;
    case LINK_GRANTS:
        return link_phase(fsm, links, &links->grants, link_grant, "snapshot: a token is there twice", work);
    case LINK_WAITERS:
        return link_phase(fsm, links, &links->waiters, link_waiter, NULL, work);
    case LINK_TIMERS:
        return link_phase(fsm, links, &links->waiters, link_timer, NULL, work);
    case LINK_SORT_ENDING:
        sort_phase(links, &links->ending, work);
        return NULL;
    case LINK_ENDING:
        return link_phase(fsm, links, &links->ending, link_ending, work_number_twice, work);
    case LINK_SORT_PENDING:
        sort_phase(links, &links->pending, work);
        return NULL;
    case LINK_PENDING:
        return link_phase(fsm, links, &links->pending, link_pending, work_number_twice, work);
    case LINK_DONE:
        break;
    }
    return NULL;
}

bool fsm_restore_link(struct fsm *fsm, struct restore_links *links, uint64_t *work, const char **ret_broken)
{
    const char *broken = NULL;
    while (broken == NULL && *work > 0 && links->phase != LINK_DONE) {
        broken = run_phase(fsm, links, work);
    }
    *ret_broken = broken;
    return broken == NULL && links->phase != LINK_DONE;
}
