/* The streams that we open: one per peer, kept open for as long as the peer is known.
 *
 *   IDLE --timer--> RESOLVING --> CONNECTING --> GREETING --their hello, verdict 0--> UP
 *     ^-- any failure, time limit, end of stream: the queue is emptied, a jittered wait -------'
 *
 * A name is looked up by the system's resolver, which can not be interrupted and has time limits of its own: that of an attempt
 * begins behind it. So one lookup at a time is under way for a peer, and one that takes long is not in vain. A name may stand for
 * several addresses, of which some lead nowhere: an attempt tries one, and if nothing comes of it, the next tries the next.
 *
 * The first attempts after a stream that was up follow nearly at once, for what they tell: if one is refused, and the peer's own
 * stream to us has ended too, then its process has (`gone`). Not only the first: a process that ends closes its streams one
 * by one, and its listener perhaps last. */
#include <stdlib.h>
#include <string.h>

#include "node/replica/peer_internal.h"

static void out_retry(struct peer_out *out);

/* ---- memory ---- */

static void out_free_if_done(struct peer_out *out)
{
    struct peer_link *link = out->owner;
    if (!out->forgotten || out->handles > 0) {
        return;
    }
    for (struct peer_out **at = &link->outs; *at != NULL; at = &(*at)->next) {
        if (*at == out) {
            *at = out->next;
            break;
        }
    }
    free(out);
    peer_link_free_if_empty(link);
}

static void out_timer_closed(uv_handle_t *handle)
{
    struct peer_out *out = handle->data;
    out->handles--;
    out_free_if_done(out);
}

static void out_tcp_closed(uv_handle_t *handle)
{
    struct peer_out *out = handle->data;
    free(handle);
    out->handles--;
    out_free_if_done(out);
}

/* ---- the queue ---- */

static void frame_free(struct peer_out *out, struct peer_frame *frame)
{
    for (unsigned i = 0; i < frame->parts_count; i++) {
        if (frame->parts[i].owner != NULL) {
            out->owner->link.release(frame->parts[i].owner);
        }
    }
    free(frame);
}

static void queue_empty(struct peer_out *out)
{
    while (out->first != NULL) {
        struct peer_frame *frame = out->first;
        out->first = frame->next;
        frame_free(out, frame);
    }
    out->last = NULL;
    out->part_at = 0;
    out->offset_at = 0;
    out->queued_bytes = 0;
}

static size_t parts_bytes(const struct link_part *parts, unsigned count, size_t *ret_copied)
{
    size_t size = 0;
    *ret_copied = 0;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i].size;
        *ret_copied += parts[i].owner == NULL ? parts[i].size : 0;
    }
    return size;
}

/* The length and the parts without an owner are copied behind the frame's list of parts; neighbours become one part. */
static struct peer_frame *frame_create(const struct link_part *parts, unsigned count, size_t size, size_t copied)
{
    size_t list = sizeof(struct peer_frame) + (count + 1) * sizeof(struct peer_part);
    struct peer_frame *frame = malloc(list + PEER_LENGTH_BYTES + copied);
    LOCKSTEP_ASSERT(frame != NULL);
    uint8_t *bytes = (uint8_t *)frame + list;
    for (unsigned i = 0; i < PEER_LENGTH_BYTES; i++) {
        bytes[i] = (uint8_t)(size >> (8 * i));
    }
    frame->next = NULL;
    frame->parts_count = 1;
    frame->parts[0] = (struct peer_part){.data = bytes, .size = PEER_LENGTH_BYTES};
    bytes += PEER_LENGTH_BYTES;
    for (unsigned i = 0; i < count; i++) {
        struct peer_part *last = &frame->parts[frame->parts_count - 1];
        if (parts[i].owner != NULL) {
            frame->parts[frame->parts_count++] = (struct peer_part){parts[i].data, parts[i].size, parts[i].owner};
        } else if (parts[i].size > 0) {
            memcpy(bytes, parts[i].data, parts[i].size);
            if (last->owner == NULL) {
                last->size += parts[i].size;
            } else {
                frame->parts[frame->parts_count++] = (struct peer_part){.data = bytes, .size = parts[i].size};
            }
            bytes += parts[i].size;
        }
    }
    return frame;
}

bool peer_out_send(struct peer_out *out, const struct link_part *parts, unsigned count)
{
    size_t copied, size = parts_bytes(parts, count, &copied);
    LOCKSTEP_ASSERT(size <= LINK_FRAME_BYTES_MAX);
    if (out->state != OUT_UP || out->queued_bytes + size + PEER_LENGTH_BYTES > out->owner->options.queue_bytes_max) {
        return false;
    }
    struct peer_frame *frame = frame_create(parts, count, size, copied);
    if (out->last == NULL) {
        out->first = frame;
    } else {
        out->last->next = frame;
    }
    out->last = frame;
    out->queued_bytes += size + PEER_LENGTH_BYTES;
    return true;
}

/* ---- failure ---- */

void peer_out_judge(struct peer_out *out)
{
    struct peer_link *link = out->owner;
    if (out->refused && !link->closing && !peer_in_is_open(link, out->peer_id)) {
        out->lost = false; /* told once */
        out->refused = false;
        link->callbacks.gone(link->callbacks.ctx, out->peer_id);
    }
}

/* What another address of the same name refuses says nothing of the process that the stream led to. */
static bool out_is_where_it_was(const struct peer_out *out)
{
    return memcmp(&out->tried, &out->was_up, sizeof out->tried) == 0;
}

/* The present attempt or stream is over, whatever its state. */
static void out_fail(struct peer_out *out, const char *reason, int error)
{
    struct peer_link *link = out->owner;
    bool told = out->up_told;
    if (out->state == OUT_UP) {
        out->lost = reason != NULL;
        /* Who is refused with its first frame each time, or takes turns with another of its id, must not do so without a pause. */
        out->tries = uv_now(link->loop) - out->up_ms >= PEER_LIVED_MS ? 0 : out->tries;
    }
    out->refused = out->lost && error == UV_ECONNREFUSED && out_is_where_it_was(out);
    if (out->tcp != NULL) {
        uv_close((uv_handle_t *)out->tcp, out_tcp_closed);
        out->tcp = NULL;
    }
    out->attempt++;
    out->state = OUT_IDLE;
    out->up_told = false;
    out->writing = false;
    queue_empty(out);
    if (out->forgotten) {
        return;
    }
    if (reason != NULL) {
        char detail[384];
        (void)snprintf(detail, sizeof detail, "%s%sat %s", error == 0 ? "" : uv_strerror(error), error == 0 ? "" : ", ",
                       out->address);
        peer_log_seldom(link, LOGGER_WARNING, out->peer_id, reason, detail);
    }
    out_retry(out);
    if (told) {
        link->callbacks.down(link->callbacks.ctx, out->peer_id);
    }
    peer_out_judge(out);
}

static void out_time_limit(uv_timer_t *timer)
{
    out_fail(timer->data, "no connection within the time limit", 0);
}

/* ---- writing ---- */

struct out_write {
    uv_write_t request;
    struct peer_out *out;
    uint64_t attempt;
};

static void queue_consume(struct peer_out *out, size_t size)
{
    out->queued_bytes -= size;
    while (out->first != NULL) {
        struct peer_frame *frame = out->first;
        while (out->part_at < frame->parts_count && size >= frame->parts[out->part_at].size - out->offset_at) {
            size -= frame->parts[out->part_at].size - out->offset_at;
            out->part_at++;
            out->offset_at = 0;
        }
        if (out->part_at < frame->parts_count) {
            out->offset_at += size;
            return;
        }
        out->first = frame->next;
        out->last = out->first == NULL ? NULL : out->last;
        out->part_at = 0;
        frame_free(out, frame);
    }
    LOCKSTEP_ASSERT(size == 0);
}

static unsigned queue_gather(const struct peer_out *out, uv_buf_t *bufs, size_t *ret_size)
{
    unsigned count = 0, part = out->part_at;
    size_t offset = out->offset_at;
    *ret_size = 0;
    for (const struct peer_frame *frame = out->first; frame != NULL; frame = frame->next, part = 0) {
        for (; part < frame->parts_count; part++, offset = 0) {
            if (count == PEER_WRITE_BUFS) {
                return count;
            }
            const struct peer_part *at = &frame->parts[part];
            bufs[count].base = (char *)(uintptr_t)(at->data + offset);
            bufs[count++].len = at->size - offset;
            *ret_size += at->size - offset;
        }
    }
    return count;
}

static void out_write_rest(struct peer_out *out);

/* Write what the socket takes now; the rest waits for a uv_write, which refers to a copy, because the queue may be
 * emptied under it. */
static void out_flush(struct peer_out *out)
{
    uv_buf_t bufs[PEER_WRITE_BUFS];
    while (out->first != NULL && !out->writing && out->state == OUT_UP) {
        size_t size;
        unsigned count = queue_gather(out, bufs, &size);
        int written = uv_try_write((uv_stream_t *)out->tcp, bufs, count);
        if (written == UV_EAGAIN || written == 0) {
            written = 0;
        } else if (written < 0) {
            out_fail(out, "connection lost while writing", written);
            return;
        }
        queue_consume(out, (size_t)written);
        if ((size_t)written < size) {
            out_write_rest(out);
            return;
        }
    }
}

static void out_written(uv_write_t *request, int status)
{
    struct out_write *write = (struct out_write *)request;
    struct peer_out *out = write->out;
    bool present = write->attempt == out->attempt;
    free(write);
    if (!present) {
        return;
    }
    out->writing = false;
    if (status < 0) {
        out_fail(out, "connection lost while writing", status);
        return;
    }
    out_flush(out);
}

/* The socket is full: hand it one piece of what is next and go on when that is taken. */
static void out_write_rest(struct peer_out *out)
{
    const struct peer_part *part = &out->first->parts[out->part_at];
    size_t size = part->size - out->offset_at;
    size = size < 65536 ? size : 65536;
    struct out_write *write = malloc(sizeof *write + size);
    LOCKSTEP_ASSERT(write != NULL);
    *write = (struct out_write){.out = out, .attempt = out->attempt};
    uv_buf_t buf = {.base = (char *)(write + 1), .len = size};
    memcpy(buf.base, part->data + out->offset_at, size);
    queue_consume(out, size);
    int rv = uv_write(&write->request, (uv_stream_t *)out->tcp, &buf, 1, out_written);
    if (rv != 0) {
        free(write);
        out_fail(out, "connection lost while writing", rv);
        return;
    }
    out->writing = true;
}

/* ---- hello ---- */

static void out_up(struct peer_out *out)
{
    struct peer_link *link = out->owner;
    (void)uv_timer_stop(&out->timer);
    out->state = OUT_UP;
    out->up_ms = uv_now(link->loop);
    out->up_told = true;
    out->was_up = out->tried;
    out->lost = false;
    out->refused = false;
    link->callbacks.up(link->callbacks.ctx, out->peer_id);
}

static const char *judge_greeting(const struct peer_out *out)
{
    struct peer_hello hello;
    const struct peer_options *options = &out->owner->options;
    const char *why = peer_hello_decode(out->greeting, &hello);
    if (why != NULL) {
        return why;
    }
    if (hello.cluster_id != options->cluster_id) {
        return "its address leads to a node of another cluster";
    }
    if (hello.node_id != out->peer_id) {
        return "its address leads to another node";
    }
    return hello.verdict != 0 ? "it refused our hello: its log says why" : NULL;
}

static void out_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct peer_out *out = stream->data;
    (void)buf;
    if (stream != (uv_stream_t *)out->tcp || size == 0) {
        return;
    }
    if (size < 0) {
        out_fail(out, size == UV_EOF ? "it closed the connection" : "connection lost", size == UV_EOF ? 0 : (int)size);
        return;
    }
    out->greeting_size += (size_t)size;
    if (out->state != OUT_GREETING || out->greeting_size < PEER_HELLO_BYTES) {
        if (out->state == OUT_UP) {
            out_fail(out, "it sent on a stream that is ours to send on", 0);
        }
        return;
    }
    const char *why = judge_greeting(out);
    if (why != NULL) {
        out_fail(out, why, 0);
        return;
    }
    out_up(out);
}

static void out_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char surplus[1]; /* After the hello nothing may come; a byte of it is enough to see. */
    struct peer_out *out = handle->data;
    (void)suggested;
    if (handle == (uv_handle_t *)out->tcp && out->state == OUT_GREETING) {
        buf->base = (char *)out->greeting + out->greeting_size;
        buf->len = PEER_HELLO_BYTES - out->greeting_size;
        return;
    }
    buf->base = surplus;
    buf->len = sizeof surplus;
}

static void out_greet(struct peer_out *out)
{
    uint8_t bytes[PEER_HELLO_BYTES];
    struct peer_hello hello = {
        .cluster_id = out->owner->options.cluster_id,
        .node_id = out->owner->options.node_id,
        .expected_id = out->peer_id,
    };
    peer_hello_encode(&hello, bytes);
    uv_buf_t buf = {.base = (char *)bytes, .len = sizeof bytes};
    peer_tune(out->owner, out->tcp);
    out->state = OUT_GREETING;
    out->greeting_size = 0;
    int rv = uv_try_write((uv_stream_t *)out->tcp, &buf, 1); /* A fresh socket takes these few bytes whole. */
    if (rv != (int)sizeof bytes) {
        out_fail(out, "cannot say hello", rv < 0 ? rv : UV_EAGAIN);
        return;
    }
    rv = uv_read_start((uv_stream_t *)out->tcp, out_alloc, out_read);
    if (rv != 0) {
        out_fail(out, "cannot read", rv);
    }
}

/* ---- connecting ---- */

struct out_request {
    union {
        uv_getaddrinfo_t resolve;
        uv_connect_t connect;
    };
    struct peer_out *out;
    uint64_t attempt;
};

static struct out_request *request_create(struct peer_out *out)
{
    struct out_request *request = calloc(1, sizeof *request);
    LOCKSTEP_ASSERT(request != NULL);
    request->out = out;
    request->attempt = out->attempt;
    out->handles++;
    return request;
}

/* @return the peer's object if the request is of the present attempt, else NULL. */
static struct peer_out *request_end(struct out_request *request)
{
    struct peer_out *out = request->out;
    bool present = request->attempt == out->attempt && !out->forgotten;
    free(request);
    out->handles--;
    if (!present) {
        out_free_if_done(out);
    }
    return present ? out : NULL;
}

static void out_connected(uv_connect_t *connect, int status)
{
    struct peer_out *out = request_end((struct out_request *)connect);
    if (out == NULL) {
        return;
    }
    if (status != 0) {
        out_fail(out, "cannot connect", status);
        return;
    }
    out_greet(out);
}

static void out_connect(struct peer_out *out, const struct addrinfo *address)
{
    (void)uv_timer_start(&out->timer, out_time_limit, out->owner->options.connect_timeout_ms, 0);
    memset(&out->tried, 0, sizeof out->tried);
    memcpy(&out->tried, address->ai_addr, address->ai_addrlen);
    out->tcp = calloc(1, sizeof *out->tcp);
    LOCKSTEP_ASSERT(out->tcp != NULL);
    int rv = uv_tcp_init(out->owner->loop, out->tcp);
    LOCKSTEP_ASSERT(rv == 0);
    out->tcp->data = out;
    out->handles++;
    out->state = OUT_CONNECTING;
    struct out_request *request = request_create(out);
    rv = uv_tcp_connect(&request->connect, out->tcp, address->ai_addr, out_connected);
    if (rv != 0) {
        (void)request_end(request);
        out_fail(out, "cannot connect", rv);
    }
}

/* In the resolver's order, all around. */
static const struct addrinfo *choose_address(const struct peer_out *out, const struct addrinfo *found)
{
    unsigned count = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        count++;
    }
    for (unsigned skip = out->choice % count; skip > 0; skip--) {
        found = found->ai_next;
    }
    return found;
}

static void out_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct peer_out *out = request_end((struct out_request *)resolve);
    if (out != NULL && status == 0) {
        out_connect(out, choose_address(out, found));
    } else if (out != NULL) {
        out_fail(out, "its address can not be resolved", status);
    }
    uv_freeaddrinfo(found);
}

static void out_attempt(uv_timer_t *timer)
{
    struct peer_out *out = timer->data;
    char host[PEER_ADDRESS_BYTES_MAX + 1], port[16];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (!peer_address_split(out->address, host, sizeof host, port, sizeof port)) {
        out_fail(out, "its address is not of the form host:port", 0);
        return;
    }
    out->state = OUT_RESOLVING;
    struct out_request *request = request_create(out);
    int rv = uv_getaddrinfo(out->owner->loop, &request->resolve, out_resolved, host, port, &hints);
    if (rv != 0) {
        (void)request_end(request);
        out_fail(out, "its address can not be resolved", rv);
    }
}

static void out_retry(struct peer_out *out)
{
    uint64_t wait = PEER_RETRY_MS_MIN + peer_random(out->owner, PEER_RETRY_MS_MAX - PEER_RETRY_MS_MIN + 1);
    if (out->lost && out->tries < PEER_AGAIN_MAX) {
        wait = peer_random(out->owner, ((uint64_t)PEER_AGAIN_MS << out->tries) + 1);
        out->tries++;
    } else {
        out->choice++;
    }
    (void)uv_timer_start(&out->timer, out_attempt, wait, 0);
}

/* ---- open, forget, turn ---- */

void peer_out_open(struct peer_link *link, uint64_t peer_id, const char *address)
{
    LOCKSTEP_ASSERT(strlen(address) <= PEER_ADDRESS_BYTES_MAX);
    struct peer_out *out = calloc(1, sizeof *out);
    LOCKSTEP_ASSERT(out != NULL);
    out->owner = link;
    out->peer_id = peer_id;
    memcpy(out->address, address, strlen(address) + 1);
    int rv = uv_timer_init(link->loop, &out->timer);
    LOCKSTEP_ASSERT(rv == 0);
    out->timer.data = out;
    out->handles = 1;
    out->next = link->outs;
    link->outs = out;
    (void)uv_timer_start(&out->timer, out_attempt, 0, 0);
}

void peer_out_forget(struct peer_out *out)
{
    if (out->forgotten) {
        return;
    }
    out->forgotten = true;
    out_fail(out, NULL, 0);
    uv_close((uv_handle_t *)&out->timer, out_timer_closed);
}

void peer_out_turn(struct peer_out *out)
{
    if (out->forgotten) {
        return;
    }
    if (out->address_changed) {
        out->address_changed = false;
        out_fail(out, NULL, 0);
        return;
    }
    out_flush(out);
}
