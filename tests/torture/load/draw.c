/* What the seed decides. All of it is drawn from one generator, in the order of the calls. */
#include <stdlib.h>

#include "tests/support/random.h"
#include "tests/torture/load/load.h"

/* Keys are of four kinds, by their number. */
enum kind { KIND_CONTENDED, KIND_QUIET, KIND_SHARED, KIND_PERMITS, KINDS };
enum { CALM_PATIENCE_MS = 5000, CALM_WAIT_MS = 3000, TTL_MS_MIN = 100, SESSION_TTL_MS_MIN = 300 };

uint64_t draw_below(struct load *load, uint64_t below)
{
    return simulated_random(&load->random, below);
}

bool draw_once_in(struct load *load, uint64_t times)
{
    return draw_below(load, times) == 0;
}

uint64_t draw_pause(struct load *load, uint64_t mean_ms)
{
    return draw_below(load, draw_once_in(load, 8) ? 8 * mean_ms : mean_ms + 1);
}

/* ---- keys ---- */

uint64_t draw_key(struct load *load)
{
    uint64_t key = draw_below(load, load->keys_count);
    /* Quiet keys are mostly left to a single client. When all is healed every key has its turn. */
    if (key % KINDS == KIND_QUIET && !load->calm && !draw_once_in(load, 3)) {
        key = draw_below(load, load->keys_count);
    }
    return key;
}

enum lockstep_mode draw_mode(struct load *load, uint64_t key)
{
    if (key % KINDS == KIND_PERMITS) {
        return LOCKSTEP_PERMITS;
    }
    return key % KINDS == KIND_SHARED && !draw_once_in(load, 5) ? LOCKSTEP_SHARED : LOCKSTEP_EXCLUSIVE;
}

/* ---- times ---- */

int64_t draw_wait(struct load *load)
{
    uint64_t kind = draw_below(load, 20);
    if (kind < 9) {
        return 0;
    }
    if (kind < 14) {
        return 1 + (int64_t)draw_below(load, 50);
    }
    return kind < 17 ? 100 + (int64_t)draw_below(load, CALM_WAIT_MS) : LOCKSTEP_FOREVER;
}

uint64_t draw_patience(struct load *load)
{
    return 5 + draw_below(load, draw_once_in(load, 4) ? 50
                                : load->calm          ? CALM_PATIENCE_MS
                                                      : 3 * CALM_PATIENCE_MS);
}

/* Sometimes beyond several renewals, but seldom where everybody waits. */
uint64_t draw_hold(struct load *load, const char *key)
{
    uint64_t number = strtoull(key + 1, NULL, 10);
    uint64_t often = number % KINDS == KIND_CONTENDED ? 2000 : number % KINDS == KIND_QUIET ? 60 : 400;
    if (!load->calm && draw_once_in(load, often)) {
        return load->ttl_ms / 2 + draw_below(load, 2 * load->ttl_ms);
    }
    uint64_t kind = draw_below(load, 20);
    return kind < 9 ? 0 : kind < 19 ? draw_below(load, 20) : draw_below(load, 80);
}

uint64_t draw_ttl(struct load *load)
{
    uint64_t ttl_ms = load->ttl_ms / (draw_once_in(load, 3) ? 2 : 1);
    return ttl_ms < SESSION_TTL_MS_MIN ? load->ttl_ms : ttl_ms;
}

uint64_t draw_own_ttl(struct load *load)
{
    uint64_t most_ms = draw_once_in(load, 3) ? load->ttl_ms : load->ttl_ms / 4;
    return TTL_MS_MIN + (most_ms > TTL_MS_MIN ? draw_below(load, most_ms - TTL_MS_MIN) : 0);
}
