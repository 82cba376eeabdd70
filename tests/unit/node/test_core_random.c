/* C1 at random: whatever happens to leadership, commits and connections, a request whose connection stays open is
 * answered exactly once. LOCKSTEP_SEED repeats a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_core_harness.h"

enum { STEPS = 30000, PLACES = 6, OPEN_MAX = 4096, SESSIONS = 3 };

struct asked {
    uint64_t connection, id;
    unsigned answers;
};

struct world {
    struct harness *h;
    unsigned seed;
    uint64_t places[PLACES]; /* connections in use; 0: none */
    uint64_t sessions[SESSIONS];
    struct asked asked[OPEN_MAX];
    unsigned asked_count;
    uint64_t next_id;
    unsigned answered, unavailable;
};

static unsigned chance(struct world *w, unsigned n)
{
    return (unsigned)rand_r(&w->seed) % n;
}

/* ---- the book of who asked what ---- */

static void note_answer(struct world *w, uint64_t connection, const struct proto_reply *reply)
{
    for (unsigned i = 0; i < w->asked_count; i++) {
        if (w->asked[i].connection == connection && w->asked[i].id == reply->id) {
            w->asked[i] = w->asked[--w->asked_count];
            w->answered++;
            w->unavailable += reply->status == PROTO_STATUS_UNAVAILABLE;
            return;
        }
    }
    fail_msg("an answer (%s) to request %llu, which is answered already or was never made",
             proto_status_name(reply->status), (unsigned long long)reply->id);
}

static void take_all(struct world *w)
{
    struct proto_incoming incoming;
    for (unsigned p = 0; p < PLACES; p++) {
        while (w->places[p] != 0 && harness_take(w->h, w->places[p], &incoming)) {
            if (!incoming.is_event) {
                note_answer(w, w->places[p], &incoming.reply);
            }
        }
    }
}

static void ask(struct world *w, uint64_t connection, struct proto_request *request)
{
    if (w->asked_count == OPEN_MAX) {
        return;
    }
    request->ack_floor = request->session_id != 0 && request->id > 300 ? request->id - 300 : 0;
    w->asked[w->asked_count++] = (struct asked){connection, request->id, 0};
    harness_send(w->h, connection, request);
}

/* ---- what may happen ---- */

static void step_ask(struct world *w)
{
    uint64_t connection = w->places[chance(w, PLACES)];
    unsigned s = chance(w, SESSIONS);
    uint8_t who = (uint8_t)(s + 1);
    uint64_t id = w->next_id++;
    char key[8];
    (void)snprintf(key, sizeof(key), "k%u", chance(w, 3));
    if (connection == 0) {
        return;
    }
    struct proto_request request;
    switch (chance(w, 7)) {
    case 0:
        request = harness_open(who, id, 1000);
        break;
    case 1:
        request = harness_renew(who, w->sessions[s], id);
        break;
    case 2:
        request = harness_release(who, w->sessions[s], id, key, id);
        break;
    case 3:
        request = harness_get(id, key, chance(w, 2) == 0);
        break;
    case 4:
        request = (struct proto_request){.kind = PROTO_CLUSTER_STATUS, .id = id};
        break;
    default:
        request = harness_acquire(who, w->sessions[s], id, key, chance(w, 2) * 500);
    }
    ask(w, connection, &request);
}

static void step_force(struct world *w)
{
    uint64_t connection = w->places[chance(w, PLACES)];
    if (connection != 0) {
        struct proto_request force = {.kind = PROTO_FORCE_RELEASE, .id = w->next_id++};
        force.body.force_release.key = harness_text(chance(w, 2) == 0 ? "k0" : "k1");
        force.body.force_release.reason = harness_text("test");
        ask(w, connection, &force);
    }
}

static void step_connection(struct world *w)
{
    unsigned p = chance(w, PLACES);
    if (w->places[p] != 0) {
        take_all(w);
        harness_disconnect(w->h, w->places[p]);
        for (unsigned i = 0; i < w->asked_count;) {
            if (w->asked[i].connection == w->places[p]) {
                w->asked[i] = w->asked[--w->asked_count];
            } else {
                i++;
            }
        }
        w->places[p] = 0;
    } else if (w->h->connections_count < HARNESS_CONNECTIONS) {
        w->places[p] = harness_connect(w->h);
    }
}

static void drop_entries(struct harness *h)
{
    for (unsigned i = 0; i < h->entries_count; i++) {
        free(h->entries[i].data);
    }
    h->last_index -= h->entries_count;
    h->entries_count = 0;
}

static void step_leadership(struct world *w)
{
    struct harness *h = w->h;
    if (h->serving) {
        harness_follow(h, chance(w, 3));
        h->leader_id = h->leader_id == 1 ? 0 : h->leader_id;
        harness_prove(h, false);
        return;
    }
    if (chance(w, 2) == 0) {
        drop_entries(h); /* overwritten by the next leader */
    }
    harness_commit(h);
    harness_lead(h);
}

static void step(struct world *w)
{
    switch (chance(w, 40)) {
    case 0:
        step_leadership(w);
        break;
    case 1:
        step_connection(w);
        break;
    case 2:
        step_force(w);
        break;
    case 3:
        w->h->refuse_proposals = chance(w, 4) == 0;
        break;
    case 4:
    case 5:
    case 6:
        harness_prove(w->h, true);
        break;
    case 7:
    case 8:
    case 9:
        harness_commit_some(w->h, 1 + chance(w, 4));
        break;
    case 10:
    case 11:
    case 12:
    case 13:
        harness_turn(w->h, chance(w, 20));
        break;
    case 14:
        harness_turn(w->h, chance(w, 2000));
        break;
    default:
        step_ask(w);
    }
    take_all(w);
}

/* Leadership stays, commits come: then all is answered, waits too, because each of them has an end. */
static void calm(struct world *w)
{
    struct harness *h = w->h;
    h->refuse_proposals = false;
    if (!h->serving) {
        step_leadership(w);
    }
    for (int i = 0; i < 100; i++) {
        harness_turn(h, 20);
        harness_prove(h, true);
        harness_commit(h);
        take_all(w);
    }
}

static void every_request_is_answered_once_whatever_happens(void **state)
{
    (void)state;
    static struct world w;
    memset(&w, 0, sizeof(w));
    w.seed = harness_seed();
    for (unsigned round = 0; round < 4; round++) {
        w.h = harness_create(NULL);
        memset(w.places, 0, sizeof(w.places));
        w.next_id = 1;
        harness_lead(w.h);
        w.places[0] = harness_connect(w.h);
        for (unsigned s = 0; s < SESSIONS; s++) {
            w.sessions[s] = harness_session(w.h, w.places[0], (uint8_t)(s + 1), 60000);
        }
        for (unsigned i = 0; i < STEPS / 4; i++) {
            step(&w);
        }
        calm(&w);
        assert_int_equal(w.asked_count, 0);
        assert_int_equal(harness_counts(w.h).requests_in_flight, 0);
        assert_int_equal(harness_counts(w.h).waits, 0);
        harness_destroy(w.h);
    }
    print_message("%u answered, %u of them UNAVAILABLE\n", w.answered, w.unavailable);
    assert_true(w.answered > 1000);
    assert_true(w.unavailable > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_answered_once_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
