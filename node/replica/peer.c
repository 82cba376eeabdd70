/* The real link: who the peers are, hello, the loop's handles (peer_internal.h has the format and the invariants). */
#include "node/replica/peer.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "node/replica/peer_internal.h"

/* ---- hello ---- */

static void put(uint8_t **at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        *(*at)++ = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t **at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)*(*at)++ << (8 * i);
    }
    return value;
}

void peer_hello_encode(const struct peer_hello *hello, uint8_t *out)
{
    memcpy(out, "LSPEER", 6);
    out += 6;
    put(&out, PEER_VERSION, 2);
    put(&out, hello->cluster_id, 8);
    put(&out, hello->node_id, 8);
    put(&out, hello->expected_id, 8);
    put(&out, hello->verdict, 1);
}

const char *peer_hello_decode(const uint8_t *data, struct peer_hello *ret_hello)
{
    if (memcmp(data, "LSPEER", 6) != 0) {
        return "it is no peer: it does not say LSPEER";
    }
    data += 6;
    if (get(&data, 2) != PEER_VERSION) {
        return "it speaks another version of the peer protocol";
    }
    ret_hello->cluster_id = get(&data, 8);
    ret_hello->node_id = get(&data, 8);
    ret_hello->expected_id = get(&data, 8);
    ret_hello->verdict = (uint8_t)get(&data, 1);
    return NULL;
}

/* ---- small things ---- */

void peer_log_seldom(struct peer_link *link, enum logger_level level, uint64_t peer_id, const char *reason,
                     const char *detail)
{
    char line[512];
    uint64_t now = uv_now(link->loop);
    for (unsigned i = 0; i < PEER_LOG_SLOTS; i++) {
        const struct peer_log_slot *slot = &link->log_slots[i];
        if (slot->reason == reason && slot->peer_id == peer_id && now < slot->at_ms + PEER_LOG_MS) {
            return;
        }
    }
    link->log_slots[link->log_slot_next++ % PEER_LOG_SLOTS] = (struct peer_log_slot){peer_id, reason, now};
    if (peer_id == 0) {
        (void)snprintf(line, sizeof line, "peer connection: %s%s%s", reason, *detail == 0 ? "" : ": ", detail);
    } else {
        (void)snprintf(line, sizeof line, "node %" PRIu64 ": %s%s%s", peer_id, reason, *detail == 0 ? "" : ": ", detail);
    }
    link->callbacks.log(link->callbacks.ctx, level, line);
}

/* Only for the jitter of retries. */
uint64_t peer_random(struct peer_link *link, uint64_t below)
{
    link->random ^= link->random << 13;
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return link->random % below;
}

struct peer_out *peer_out_find(const struct peer_link *link, uint64_t peer_id)
{
    for (struct peer_out *out = link->outs; out != NULL; out = out->next) {
        if (out->peer_id == peer_id && !out->forgotten) {
            return out;
        }
    }
    return NULL;
}

/* Without NODELAY small appends wait 40 ms for an acknowledgement; without the user timeout a connection through a
 * partition that heals comes back only after TCP's back-off. A failure to set them costs speed, not safety. */
void peer_tune(const struct peer_link *link, uv_tcp_t *tcp)
{
    uv_os_fd_t fd;
    unsigned timeout = link->options.user_timeout_ms;
    (void)uv_tcp_nodelay(tcp, 1);
    (void)uv_tcp_keepalive(tcp, 1, 5);
    if (uv_fileno((uv_handle_t *)tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    }
}

bool peer_address_split(const char *address, char *ret_host, size_t host_size, char *ret_port, size_t port_size)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || colon[1] == 0 || strlen(colon + 1) >= port_size) {
        return false;
    }
    const char *host = address;
    size_t size = (size_t)(colon - address);
    if (host[0] == '[') {
        if (size < 3 || host[size - 1] != ']') {
            return false;
        }
        host++;
        size -= 2;
    }
    if (size >= host_size) {
        return false;
    }
    memcpy(ret_host, host, size);
    ret_host[size] = 0;
    memcpy(ret_port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

/* ---- the seam ---- */

static void link_idle(uv_idle_t *idle)
{
    (void)idle; /* Its being active is what counts: the loop does not wait. */
}

static bool link_send(struct link *seam, uint64_t peer_id, const struct link_part *parts, unsigned count)
{
    struct peer_link *link = (struct peer_link *)seam;
    struct peer_out *out = peer_out_find(link, peer_id);
    if (out != NULL && !link->closing && peer_out_send(out, parts, count)) {
        (void)uv_idle_start(&link->idle, link_idle);
        return true;
    }
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].owner != NULL) {
            link->link.release(parts[i].owner);
        }
    }
    return false;
}

static size_t link_queued_bytes(const struct link *seam, uint64_t peer_id)
{
    const struct peer_out *out = peer_out_find((const struct peer_link *)seam, peer_id);
    return out == NULL ? 0 : out->queued_bytes;
}

static void link_set_peer(struct link *seam, uint64_t peer_id, const char *address)
{
    struct peer_link *link = (struct peer_link *)seam;
    struct peer_out *out = peer_out_find(link, peer_id);
    if (link->closing) {
        return;
    }
    if (address == NULL) {
        if (out != NULL) {
            peer_out_forget(out);
        }
    } else if (out == NULL) {
        peer_out_open(link, peer_id, address);
    } else if (strcmp(out->address, address) != 0 && strlen(address) <= PEER_ADDRESS_BYTES_MAX) {
        memcpy(out->address, address, strlen(address) + 1);
        out->address_changed = true;
    }
}

static const struct link_ops peer_link_ops = {
    .send = link_send,
    .queued_bytes = link_queued_bytes,
    .set_peer = link_set_peer,
};

/* ---- open and close ---- */

void peer_link_flush(struct link *seam)
{
    struct peer_link *link = (struct peer_link *)seam;
    struct peer_out *next;
    for (struct peer_out *out = link->outs; out != NULL; out = next) {
        next = out->next;
        peer_out_turn(out);
    }
}

/* Right before the loop waits: everything that the turn queued goes out in as few writes as possible. */
static void link_turn(uv_prepare_t *prepare)
{
    struct peer_link *link = prepare->data;
    (void)uv_idle_stop(&link->idle);
    peer_link_flush(&link->link);
}

void peer_link_free_if_empty(struct peer_link *link)
{
    if (!link->closing || link->handles > 0 || link->outs != NULL || link->ins != NULL) {
        return;
    }
    void (*closed)(void *ctx) = link->closed;
    void *ctx = link->closed_ctx;
    free(link);
    if (closed != NULL) {
        closed(ctx);
    }
}

static void link_handle_closed(uv_handle_t *handle)
{
    struct peer_link *link = handle->data;
    link->handles--;
    peer_link_free_if_empty(link);
}

void peer_link_close(struct link *seam, void (*closed)(void *ctx), void *ctx)
{
    struct peer_link *link = (struct peer_link *)seam;
    struct peer_out *next_out;
    struct peer_in *next_in;
    link->closing = true;
    link->closed = closed;
    link->closed_ctx = ctx;
    for (struct peer_out *out = link->outs; out != NULL; out = next_out) {
        next_out = out->next;
        peer_out_forget(out);
    }
    for (struct peer_in *in = link->ins; in != NULL; in = next_in) {
        next_in = in->next;
        peer_in_close(in);
    }
    uv_close((uv_handle_t *)&link->listener, link_handle_closed);
    uv_close((uv_handle_t *)&link->prepare, link_handle_closed);
    uv_close((uv_handle_t *)&link->idle, link_handle_closed);
}

uint16_t peer_link_port(const struct link *seam)
{
    return ((const struct peer_link *)seam)->port;
}

static int bind_to(struct peer_link *link, const char *host, const char *port)
{
    uv_getaddrinfo_t request;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int rv = uv_getaddrinfo(link->loop, &request, NULL, host, port, &hints); /* Blocks: start-up only. */
    if (rv != 0) {
        return rv;
    }
    rv = uv_tcp_bind(&link->listener, request.addrinfo->ai_addr, 0);
    uv_freeaddrinfo(request.addrinfo);
    return rv;
}

static int listen_at(struct peer_link *link, const char *address)
{
    char host[PEER_ADDRESS_BYTES_MAX + 1], port[16];
    struct sockaddr_storage bound;
    int size = sizeof bound;
    if (!peer_address_split(address, host, sizeof host, port, sizeof port)) {
        return UV_EINVAL;
    }
    int rv = bind_to(link, host, port);
    if (rv == 0) {
        rv = uv_listen((uv_stream_t *)&link->listener, 128, peer_in_accept);
    }
    if (rv == 0) {
        rv = uv_tcp_getsockname(&link->listener, (struct sockaddr *)&bound, &size);
    }
    if (rv == 0) {
        link->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                       : ((struct sockaddr_in *)&bound)->sin_port);
    }
    return rv;
}

static struct peer_link *link_create(uv_loop_t *loop, const struct peer_options *options,
                                     const struct peer_callbacks *callbacks)
{
    struct peer_link *link = calloc(1, sizeof *link);
    LOCKSTEP_ASSERT(link != NULL);
    link->link.ops = &peer_link_ops;
    link->loop = loop;
    link->options = *options;
    link->options.listen_address = NULL;
    link->callbacks = *callbacks;
    link->random = (uv_hrtime() ^ options->node_id << 32) | 1;
    if (link->options.queue_bytes_max == 0) {
        link->options.queue_bytes_max = (size_t)64 * 1024 * 1024;
    }
    if (link->options.connect_timeout_ms == 0) {
        link->options.connect_timeout_ms = 1000;
    }
    if (link->options.user_timeout_ms == 0) {
        link->options.user_timeout_ms = 1500;
    }
    return link;
}

struct link *peer_link_open(uv_loop_t *loop, const struct peer_options *options, const struct peer_callbacks *callbacks,
                            char *message, size_t message_size)
{
    struct peer_link *link = link_create(loop, options, callbacks);
    int rv = uv_tcp_init(loop, &link->listener);
    LOCKSTEP_ASSERT(rv == 0);
    rv = uv_prepare_init(loop, &link->prepare);
    LOCKSTEP_ASSERT(rv == 0);
    rv = uv_idle_init(loop, &link->idle);
    LOCKSTEP_ASSERT(rv == 0);
    link->handles = 3;
    link->listener.data = link->prepare.data = link->idle.data = link;
    rv = listen_at(link, options->listen_address);
    if (rv != 0) {
        (void)snprintf(message, message_size, "cannot listen for peers at %s: %s", options->listen_address,
                       uv_strerror(rv));
        peer_link_close(&link->link, NULL, NULL);
        return NULL;
    }
    (void)uv_prepare_start(&link->prepare, link_turn);
    return &link->link;
}
