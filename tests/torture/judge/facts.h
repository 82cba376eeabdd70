/* Owns what follows from the history for certain, so that the checkers need not argue about it again.
 *
 * A grant that was acknowledged took effect between its invocation and its completion. It is, for certain,
 *
 *   held       from its completion (`start`) to `held_until`: the last moment that proves it. Proofs are a :certain in the
 *              line of its release or loss, and the invocation of an extension or release of it that said ok.
 *   promised   until `promised`, by what the client's library said (:certain-until), unless the client ended it before.
 *   leased     until `leased`, by the TTL, counted from the invocation of the last acknowledged :renew or :open of its session
 *              and, if it has a lease of its own, of its acquire or extension; less the rates' difference and the slack.
 *
 *   A1  A client ends a grant not before `ended`: the earliest of the invocation of a release of it, of a close of its
 *       session, and of the line that says it was lost. What an administrator ended (reason :killed, :forced) may have ended at
 *       any time: LONG_AGO.
 *   A2  An extension or renewal, also one of which nobody knows whether it took effect, may shorten a lease: to its own
 *       TTL from its invocation. A statement holds as far as no such request that was open at or after it took it back.
 *   A3  A grant is known by its token. A token that was granted twice is the first one's here, and check_once.c rejects it. */
#ifndef LOCKSTEP_TORTURE_FACTS_H
#define LOCKSTEP_TORTURE_FACTS_H

#include "history.h"

struct judge_options {
    int64_t calm_ns;    /* within it after :heal every wait ends */
    int64_t margin_ns;  /* so long after a lease's end, counted from :heal at the earliest, it must be gone */
    int64_t slack_ns;   /* rounding of leases to milliseconds */
    uint32_t drift_ppm; /* how much faster than the history's clock the cluster's may run */
};

/* A2 while requests are taken in, in the order of their invocation. */
struct lease {
    int64_t until;  /* LONG_AGO: nothing is known */
    int64_t unsure; /* what requests without a known outcome may have shortened it to; NEVER */
    int64_t done;   /* completion of the last that said ok */
};

struct grant {
    const struct op *op;
    uint32_t session; /* index */
    bool twice;       /* A3: not the first with this token */
    int64_t start, held_until;
    int64_t promised, leased, ended;
    struct lease own;         /* until: NEVER without an own lease */
    int64_t released;         /* completion of a release that said ok; NEVER */
    int64_t gone;             /* since when the cluster has said that it has ended: released, or a loss told by it; NEVER */
    const struct op *release; /* that one, else the first release that was asked for, else NULL */
    const struct op *loss;
};

struct session {
    uint64_t id;
    uint32_t owner;
    int64_t close_invoke; /* the earliest; NEVER */
    int64_t closed;       /* completion of a close that said ok; NEVER */
    const struct op *close;
    struct lease lease; /* by :open and :renew */
    int64_t shortest; /* while operations are gone through backwards: what later renewals may shorten it to */
};

struct owner {
    int64_t crashed;        /* NEVER */
    int64_t paused;         /* since then, and never resumed; NEVER */
    int64_t last_line;      /* of any operation of it */
    uint32_t sessions;      /* how many of its are known */
    int64_t last_effect;    /* the last invocation of something that has an effect */
    const struct op *close; /* its last */
};

struct facts {
    const struct history *history;
    const struct judge_options *options;
    uint32_t keys; /* numbers of keys are 1 .. keys - 1 */
    /* Operations of each key, in order of invocation: by_key[key_begin[k] .. key_begin[k + 1]) are indexes of ops. */
    uint32_t *by_key;
    uint32_t *key_begin;
    /* Grants by key and token: grants[grant_begin[k] .. grant_begin[k + 1]). */
    struct grant *grants;
    uint32_t grants_count;
    uint32_t *grant_begin;
    struct numbers tokens; /* index of the grant, plus 1 */
    struct session *sessions;
    size_t sessions_count, sessions_room;
    struct numbers sessions_by_id; /* index plus 1 */
    struct owner *owners;
    /* Closes that said ok, of sessions, by owner and in order of invocation: closes[close_begin[o] .. close_begin[o + 1]). */
    const struct op **closes;
    uint32_t *close_begin;
    int64_t heal; /* the last; NEVER: none */
    bool has_final;
    int64_t ttl_max_ns;
};

void facts_init(struct facts *facts, const struct history *history, const struct judge_options *options);
void facts_done(struct facts *facts);

const struct grant *facts_grant(const struct facts *facts, uint64_t token);
const struct session *facts_session(const struct facts *facts, uint64_t id);

/* Whether the cluster itself says here that a grant has ended: a loss that is not the library's own conclusion, an
 * extension that finds nothing to extend. (For a release that finds nothing: check_once.c, E4.) */
bool facts_says_gone(const struct facts *facts, const struct op *op);

/* Whether two grants of a key may be held together, their sums aside. */
bool facts_compatible(const struct op *left, const struct op *right);

/* Since when nothing of this owner can be left in the cluster: it closed its last session and did nothing afterwards, or its
 * leases have run out, with the margin. NEVER if that is not known. */
int64_t facts_gone(const struct facts *facts, uint32_t owner);

/* When an acquire can not be waiting any more: its completion. If nobody knows its outcome, or its client cancelled it (the library
 * says CANCELLED at once and takes the wait back in the background): that of a close that its owner asked for later, which
 * ended the session that it was sent in; else NEVER. */
int64_t facts_wait_ends(const struct facts *facts, const struct op *acquire);

/* What a lease of `ttl_ms` lasts for certain, by the history's clock. */
int64_t facts_lease_ns(const struct facts *facts, int64_t ttl_ms);

const char *facts_key(const struct facts *facts, uint32_t key);
const char *facts_word(const struct facts *facts, uint32_t word);
/* Whatever its case. */
bool facts_word_is(const struct facts *facts, uint32_t word, const char *text);

#endif
