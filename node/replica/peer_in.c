/* The streams opened to us: accept, their hello, ours in answer, then whole frames delivered where they lie in the buffer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/replica/peer_internal.h"

/* ---- memory ---- */

static void in_closed(uv_handle_t *handle)
{
    struct peer_in *in = handle->data;
    struct peer_link *link = in->owner;
    if (--in->handles > 0) {
        return;
    }
    for (struct peer_in **at = &link->ins; *at != NULL; at = &(*at)->next) {
        if (*at == in) {
            *at = in->next;
            break;
        }
    }
    link->ins_count--;
    free(in->data);
    free(in);
    peer_link_free_if_empty(link);
}

void peer_in_close(struct peer_in *in)
{
    if (in->closing) {
        return;
    }
    in->closing = true;
    uv_close((uv_handle_t *)&in->tcp, in_closed);
    uv_close((uv_handle_t *)&in->timer, in_closed);
    struct peer_out *out = peer_out_find(in->owner, in->peer_id);
    if (out != NULL) {
        peer_out_judge(out);
    }
}

bool peer_in_is_open(const struct peer_link *link, uint64_t peer_id)
{
    for (const struct peer_in *in = link->ins; in != NULL; in = in->next) {
        if (in->peer_id == peer_id && !in->closing) {
            return true;
        }
    }
    return false;
}

static void in_time_limit(uv_timer_t *timer)
{
    struct peer_in *in = timer->data;
    peer_log_seldom(in->owner, LOGGER_WARNING, 0, "an incoming connection said no hello in time", "");
    peer_in_close(in);
}

/* ---- hello ---- */

static const char *judge_hello(const struct peer_in *in, const struct peer_hello *hello)
{
    const struct peer_options *options = &in->owner->options;
    if (hello->cluster_id != options->cluster_id) {
        return "refused: it belongs to another cluster";
    }
    if (hello->expected_id != options->node_id) {
        return "refused: it looks for another node at this address";
    }
    if (hello->node_id == options->node_id || peer_out_find(in->owner, hello->node_id) == NULL) {
        return "refused: no member of this cluster has its node id";
    }
    return NULL;
}

static bool in_answer(struct peer_in *in, const struct peer_hello *theirs, uint8_t verdict)
{
    uint8_t bytes[PEER_HELLO_BYTES];
    struct peer_hello hello = {
        .cluster_id = in->owner->options.cluster_id,
        .node_id = in->owner->options.node_id,
        .expected_id = theirs->node_id,
        .verdict = verdict,
    };
    peer_hello_encode(&hello, bytes);
    uv_buf_t buf = {.base = (char *)bytes, .len = sizeof bytes};
    return uv_try_write((uv_stream_t *)&in->tcp, &buf, 1) == (int)sizeof bytes;
}

/* The peer's other streams: all, or those of which no frame was taken. */
static void close_others(const struct peer_in *in, bool taken_too)
{
    for (struct peer_in *other = in->owner->ins; other != NULL; other = other->next) {
        if (other != in && other->peer_id == in->peer_id && (taken_too || !other->taken)) {
            peer_in_close(other);
        }
    }
}

/* P1, P4: what may still come on an older stream must not mix with what comes on this one. */
static void first_was_taken(struct peer_in *in)
{
    in->taken = true;
    close_others(in, true);
}

/* All who are no member share one line: else whoever reaches the port writes as many as he makes up numbers. */
static void log_refused(struct peer_link *link, uint64_t node_id, const char *why)
{
    char detail[64];
    bool is_member = peer_out_find(link, node_id) != NULL;
    (void)snprintf(detail, sizeof detail, "it says that it is node %" PRIu64, node_id);
    peer_log_seldom(link, LOGGER_WARNING, is_member ? node_id : 0, why, is_member ? "" : detail);
}

/* @return false if the stream was closed. */
static bool in_hello(struct peer_in *in)
{
    struct peer_hello hello;
    const char *why = peer_hello_decode(in->data, &hello);
    if (why != NULL) {
        peer_log_seldom(in->owner, LOGGER_WARNING, 0, why, "");
        peer_in_close(in);
        return false;
    }
    why = judge_hello(in, &hello);
    if (why != NULL) {
        log_refused(in->owner, hello.node_id, why);
        (void)in_answer(in, &hello, 1);
        peer_in_close(in);
        return false;
    }
    in->peer_id = hello.node_id;
    close_others(in, false); /* P3 */
    (void)uv_timer_stop(&in->timer);
    if (!in_answer(in, &hello, 0)) {
        peer_in_close(in);
        return false;
    }
    return true;
}

/* ---- frames ---- */

static uint32_t length_at(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

/* Deliver the whole frames of the buffer. @return bytes consumed; the stream may be closing afterwards. */
static size_t in_deliver(struct peer_in *in, size_t at)
{
    struct peer_link *link = in->owner;
    while (!in->closing && in->size - at >= PEER_LENGTH_BYTES) {
        uint32_t length = length_at(in->data + at);
        if (length > LINK_FRAME_BYTES_MAX) {
            peer_log_seldom(link, LOGGER_WARNING, in->peer_id, "closed: it sent a frame that is too long",
                            "");
            peer_in_close(in);
            break;
        }
        if (in->size - at - PEER_LENGTH_BYTES < length) {
            break;
        }
        if (!link->callbacks.receive(link->callbacks.ctx, in->peer_id, in->data + at + PEER_LENGTH_BYTES, length)) {
            peer_in_close(in);
        } else if (!in->taken) {
            first_was_taken(in);
        }
        at += PEER_LENGTH_BYTES + length;
    }
    return at;
}

static void in_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct peer_in *in = stream->data;
    (void)buf;
    if (size < 0) {
        peer_in_close(in);
        return;
    }
    in->size += (size_t)size;
    size_t at = 0;
    if (in->peer_id == 0) {
        if (in->size < PEER_HELLO_BYTES || !in_hello(in)) {
            return;
        }
        at = PEER_HELLO_BYTES;
    }
    at = in_deliver(in, at);
    if (at > 0) {
        memmove(in->data, in->data + at, in->size - at);
        in->size -= at;
    }
}

/* Room for the frame that has begun, or for a good piece of what comes. P3: never more than one frame and one piece. */
static void in_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct peer_in *in = handle->data;
    size_t wanted = in->peer_id == 0 ? PEER_HELLO_BYTES : PEER_READ_BYTES;
    (void)suggested;
    if (in->peer_id != 0 && in->size >= PEER_LENGTH_BYTES) {
        size_t frame = PEER_LENGTH_BYTES + (size_t)length_at(in->data);
        wanted = frame > wanted ? frame : wanted;
    }
    if (wanted > in->capacity) {
        uint8_t *data = realloc(in->data, wanted);
        LOCKSTEP_ASSERT(data != NULL);
        in->data = data;
        in->capacity = wanted;
    }
    buf->base = (char *)in->data + in->size;
    buf->len = in->capacity - in->size;
}

/* ---- accepting ---- */

static struct peer_in *in_create(struct peer_link *link)
{
    struct peer_in *in = calloc(1, sizeof *in);
    LOCKSTEP_ASSERT(in != NULL);
    in->owner = link;
    int rv = uv_tcp_init(link->loop, &in->tcp);
    LOCKSTEP_ASSERT(rv == 0);
    rv = uv_timer_init(link->loop, &in->timer);
    LOCKSTEP_ASSERT(rv == 0);
    in->tcp.data = in->timer.data = in;
    in->handles = 2;
    in->next = link->ins;
    link->ins = in;
    link->ins_count++;
    return in;
}

void peer_in_accept(uv_stream_t *listener, int status)
{
    struct peer_link *link = listener->data;
    if (status != 0) {
        peer_log_seldom(link, LOGGER_WARNING, 0, "cannot accept a connection", uv_strerror(status));
        return;
    }
    struct peer_in *in = in_create(link);
    int rv = uv_accept(listener, (uv_stream_t *)&in->tcp);
    if (rv != 0 || link->closing || link->ins_count > PEER_IN_MAX) {
        peer_log_seldom(link, LOGGER_WARNING, 0, "an incoming connection was refused",
                        rv != 0 ? uv_strerror(rv) : "too many");
        peer_in_close(in);
        return;
    }
    peer_tune(link, &in->tcp);
    (void)uv_timer_start(&in->timer, in_time_limit, (uint64_t)2 * link->options.connect_timeout_ms, 0);
    rv = uv_read_start((uv_stream_t *)&in->tcp, in_alloc, in_read);
    if (rv != 0) {
        peer_in_close(in);
    }
}
