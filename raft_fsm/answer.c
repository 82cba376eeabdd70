/* Owns what an answer says: its short form in the state (struct answer) and the reply it stands for. */
#include <string.h>

#include "raft_fsm/state.h"

static const struct {
    uint8_t number;
    const char *text;
} details[] = {
#define X(name, number, text) {number, text},
    FSM_DETAILS(X)
#undef X
};

const char *fsm_detail_text(uint8_t detail)
{
    for (size_t i = 0; i < sizeof details / sizeof details[0]; i++) {
        if (details[i].number == detail) {
            return details[i].text;
        }
    }
    return "";
}

bool fsm_detail_known(uint64_t detail)
{
    return detail < sizeof details / sizeof details[0];
}

void fsm_answer_status(struct answer *ret, enum proto_status status)
{
    ret->status = (uint8_t)status;
}

void fsm_answer_limit(struct answer *ret, enum proto_status status, enum fsm_detail detail)
{
    ret->status = (uint8_t)status;
    ret->detail = (uint8_t)detail;
    ret->retry_after_ms = FSM_RETRY_AFTER_MS;
}

static void reply_done(const struct answer *answer, union proto_reply_body *body)
{
    switch ((enum proto_kind)answer->kind) {
    case PROTO_SESSION_OPEN:
    case PROTO_SESSION_RENEW:
        body->session = (struct proto_session_reply){.session_id = answer->session.session_id,
                                                     .ttl_ms = answer->session.ttl_ms,
                                                     .deadline = {.ms = answer->session.deadline_ms},
                                                     .resumed = answer->resumed};
        break;
    case PROTO_LOCK_ACQUIRE:
    case PROTO_LOCK_EXTEND:
        body->grant = (struct proto_grant_reply){.token = answer->grant.token,
                                                 .fence = answer->grant.fence,
                                                 .holds = answer->holds,
                                                 .deadline = {.ms = answer->grant.deadline_ms}};
        break;
    case PROTO_LOCK_RELEASE:
        body->release = (struct proto_release_reply){.holds = answer->holds};
        break;
    case PROTO_FORCE_RELEASE:
    case PROTO_SESSION_KILL:
        body->count = (struct proto_count_reply){.count = answer->count};
        break;
    default:
        break;
    }
}

void fsm_answer_reply(const struct answer *answer, uint64_t id, uint64_t time_ms,
                      struct proto_reply *ret_reply)
{
    memset(ret_reply, 0, sizeof *ret_reply);
    ret_reply->kind = (enum proto_kind)answer->kind;
    ret_reply->id = id;
    ret_reply->status = (enum proto_status)answer->status;
    ret_reply->time = (struct cluster_time){.ms = time_ms};
    if (answer->status == PROTO_STATUS_OK) {
        reply_done(answer, &ret_reply->body);
    } else if (answer->status == PROTO_STATUS_HELD) {
        ret_reply->body.holder = *answer->holder;
    } else {
        const char *text = fsm_detail_text(answer->detail);
        ret_reply->body.refusal.detail =
            (struct proto_bytes){.data = (const uint8_t *)text, .size = (uint32_t)strlen(text)};
        ret_reply->body.refusal.retry_after_ms = answer->retry_after_ms;
    }
}
