/* See listener.h. What is accepted belongs to connection.c at once. */
#include "node/listener.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/address.h"
#include "protocol/assert.h"

enum { BACKLOG = 1024 };

struct listener {
    uv_tcp_t tcp;
    struct connections *connections;
    struct logger *logger;
    struct logger_limit limit;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* libuv binds with SO_REUSEADDR, so that a restart needs not wait for old connections to be forgotten; an address in use
 * is still refused, but some errors come only with listen(). */
static const char *advice(int error)
{
    switch (error) {
    case UV_EADDRINUSE:
        return "another process listens there; stop it, or choose another port with --listen";
    case UV_EADDRNOTAVAIL:
        return "this machine does not have that address; choose one of its own with --listen";
    case UV_EACCES:
        return "ports below 1024 need a privilege; choose a higher one with --listen";
    default:
        return "choose another address with --listen";
    }
}

struct listener *listener_open(uv_loop_t *loop, const char *text, char *message, size_t message_size)
{
    struct address address;
    struct sockaddr_storage sockaddr;
    if (!address_parse(text, &address) || !address_resolve(&address, &sockaddr, message, message_size)) {
        return NULL;
    }
    struct listener *listener = calloc(1, sizeof(*listener));
    LOCKSTEP_ASSERT(listener != NULL);
    listener->limit = (struct logger_limit){.window_ms = 10000, .burst = 3};
    listener->tcp.data = listener;
    int error = uv_tcp_init(loop, &listener->tcp);
    LOCKSTEP_ASSERT(error == 0);
    error = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&sockaddr, 0);
    /* An address that is taken is reported here already: asking for the port makes libuv give out its delayed error. */
    struct sockaddr_storage bound;
    int size = sizeof(bound);
    error = error != 0 ? error : uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &size);
    if (error != 0) {
        (void)snprintf(message, message_size, "can not listen on %s: %s: %s", text, uv_strerror(error),
                       advice(error));
        uv_close((uv_handle_t *)&listener->tcp, on_closed);
        return NULL;
    }
    return listener;
}

uint16_t listener_port(const struct listener *listener)
{
    struct sockaddr_storage bound;
    int size = sizeof(bound);
    int error = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &size);
    LOCKSTEP_ASSERT(error == 0);
    return ntohs(bound.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&bound)->sin6_port
                                             : ((const struct sockaddr_in *)&bound)->sin_port);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    uint64_t suppressed = 0;
    if (status == 0) {
        connections_accept(listener->connections, stream);
    } else if (logger_limit_pass(&listener->limit, uv_now(stream->loop), &suppressed)) {
        LOGGER_EVENT(listener->logger, LOGGER_WARNING, "accept_failed",
                     LOGGER_TEXT("why", uv_strerror(status)), LOGGER_NUMBER("suppressed", suppressed));
    }
}

bool listener_start(struct listener *listener, struct connections *connections, struct logger *logger,
                    char *message, size_t message_size)
{
    listener->connections = connections;
    listener->logger = logger;
    int error = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (error != 0) {
        (void)snprintf(message, message_size, "can not listen for clients: %s: %s", uv_strerror(error),
                       advice(error));
        return false;
    }
    return true;
}

void listener_close(struct listener *listener)
{
    if (listener != NULL) {
        uv_close((uv_handle_t *)&listener->tcp, on_closed);
    }
}
