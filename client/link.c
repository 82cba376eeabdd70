/* Owns the socket: resolves, connects, reads, writes. One link is one attempt at one endpoint; the core makes another when
 * this one ends. A link that was dropped lives on by itself until libuv has called everything back. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/driver.h"
#include "protocol/assert.h"

enum { READ_BYTES = 16 * 1024, USER_TIMEOUT_MS_MIN = 100 };
/* What a link adds to driver.fruitless, and from where on a name's addresses are doubted. */
enum { FRUITLESS_UNHEARD = 2, FRUITLESS_UNLED = 1, FRUITLESS_DOUBT = 2 };

struct link {
    struct driver *driver;
    bool current; /* the driver's; else dropped */
    bool connected;
    bool heard;   /* something came, */
    bool led;     /* from a node that leads */
    bool has_tcp; /* `tcp` is open, or closing */
    bool resolving;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    struct addrinfo *found; /* by name: the addresses, */
    struct addrinfo *first; /* the one that was tried first, */
    struct addrinfo *next;  /* and the one to try next; NULL: all were */
    char read_buffer[READ_BYTES]; /* libuv fills it and hands it to on_read() at once; what is more comes with the next read */
};

struct write {
    uv_write_t request;
    struct link *link;
    char data[];
};

/* ---- the end of a link ---- */

static void link_free_if_done(struct link *link)
{
    if (link->current || link->has_tcp || link->resolving) {
        return;
    }
    struct driver *driver = link->driver;
    uv_freeaddrinfo(link->found);
    free(link);
    driver->links--;
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    link->has_tcp = false;
    link_free_if_done(link);
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void close_tcp(struct link *link)
{
    if (link->has_tcp && !uv_is_closing((uv_handle_t *)&link->tcp)) {
        uv_close((uv_handle_t *)&link->tcp, on_tcp_closed);
    }
}

static void link_drop(struct driver *driver)
{
    struct link *link = driver->link;
    driver->link = NULL;
    driver->drop_wanted = false;
    if (link == NULL) {
        return;
    }
    link->current = false;
    if (!link->led) {
        driver->fruitless += link->heard ? FRUITLESS_UNLED : FRUITLESS_UNHEARD;
    }
    if (link->resolving) {
        (void)uv_cancel((uv_req_t *)&link->resolve); /* too late for that is fine: its callback comes in any case */
    }
    close_tcp(link);
    link_free_if_done(link);
}

/* Whether the core still listens: it may have dropped the link on another thread, and we have not yet. */
static bool link_is_heard(const struct link *link)
{
    return link->current && !link->driver->drop_wanted;
}

/* It ended by itself: the core hears of it. */
static void link_fail(struct link *link, const char *why)
{
    struct driver *driver = link->driver;
    if (!link_is_heard(link)) {
        return;
    }
    link_drop(driver);
    proto_buffer_clear(&driver->out);
    lsc_core_disconnected(driver->core, driver_now(driver), why);
}

/* ---- reading and writing ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct link *link = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(link->read_buffer, sizeof(link->read_buffer));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct link *link = stream->data;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    if (size < 0) {
        link_fail(link, size == UV_EOF ? "it closed the connection" : uv_strerror((int)size));
    } else if (size > 0 && link_is_heard(link)) {
        lsc_core_received(driver->core, driver_now(driver), buffer->base, (size_t)size);
        link->heard = true;
        link->led |= lsc_core_is_led(driver->core);
        driver->fruitless = link->led ? 0 : driver->fruitless;
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void on_written(uv_write_t *request, int status)
{
    struct write *write = (struct write *)(void *)request;
    struct link *link = write->link;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    free(write);
    if (status < 0) {
        link_fail(link, uv_strerror(status));
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

/* What the socket does not take at once is kept by libuv. @return 0 or an error. */
static int link_write(struct link *link, const uint8_t *data, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);
    int written = uv_try_write((uv_stream_t *)&link->tcp, &buffer, 1);
    size_t done = written > 0 ? (size_t)written : 0;
    if (written < 0 && written != UV_EAGAIN) {
        return written;
    }
    if (done == size) {
        return 0;
    }
    struct write *write = malloc(sizeof(*write) + size - done);
    if (write == NULL) {
        return UV_ENOMEM;
    }
    write->link = link;
    memcpy(write->data, data + done, size - done);
    buffer = uv_buf_init(write->data, (unsigned)(size - done));
    int error = uv_write(&write->request, (uv_stream_t *)&link->tcp, &buffer, 1, on_written);
    if (error < 0) {
        free(write);
    }
    return error;
}

/* ---- connecting ---- */

static void link_connect(struct link *link, const struct sockaddr *address);

/* The resolver's order is kept, until an attempt has heard nobody: if the first address swallows what is sent to it, or is that of
 * a process which is stopped, the core's patience ends before the second has its turn, and so it would every time. One that
 * answers and knows no leader may be in the midst of an election; if that lasts, it may be alone, and the others be well. */
static struct addrinfo *choose_first(const struct link *link)
{
    unsigned count = 0;
    for (const struct addrinfo *at = link->found; at != NULL; at = at->ai_next) {
        count++;
    }
    struct addrinfo *first = link->found;
    bool doubted = link->driver->fruitless >= FRUITLESS_DOUBT;
    unsigned skip = doubted ? (unsigned)(driver_random() % count) : 0;
    for (; skip > 0; skip--) {
        first = first->ai_next;
    }
    return first;
}

/* The address after `at`, all around; NULL: it was the last. */
static struct addrinfo *address_after(const struct link *link, const struct addrinfo *at)
{
    struct addrinfo *next = at->ai_next == NULL ? link->found : at->ai_next;
    return next == link->first ? NULL : next;
}

/* One address has failed: on to the next, if the name has more. The handle can not be used again, so the next attempt
 * begins when it is closed. */
static void on_tried(uv_handle_t *handle)
{
    struct link *link = handle->data;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    link->has_tcp = false;
    if (link_is_heard(link) && link->next != NULL) {
        const struct sockaddr *address = link->next->ai_addr;
        link->next = address_after(link, link->next);
        link_connect(link, address);
    } else {
        link_free_if_done(link); /* if it was not dropped yet, link_drop() does it */
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void set_socket_options(struct link *link)
{
    int fd = -1;
    (void)uv_tcp_nodelay(&link->tcp, 1); /* without it requests are only slower */
    if (uv_fileno((uv_handle_t *)&link->tcp, &fd) == 0) {
        uint64_t third_ms = link->driver->options.config.session_ttl_ms / 3;
        unsigned timeout_ms = third_ms > USER_TIMEOUT_MS_MIN ? (unsigned)third_ms : USER_TIMEOUT_MS_MIN;
        /* Heartbeats find a dead peer sooner; this frees the socket of one that nobody waits for. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct link *link = request->data;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    if (!link_is_heard(link)) {
        /* dropped meanwhile; its close comes, or is under way */
    } else if (status < 0 && link->next != NULL) {
        uv_close((uv_handle_t *)&link->tcp, on_tried);
    } else if (status < 0) {
        link_fail(link, uv_strerror(status));
    } else {
        set_socket_options(link);
        link->connected = true;
        int error = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
        if (error < 0) {
            link_fail(link, uv_strerror(error));
        } else {
            lsc_core_connected(driver->core, driver_now(driver));
        }
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void link_connect(struct link *link, const struct sockaddr *address)
{
    int error = uv_tcp_init(link->driver->loop, &link->tcp);
    if (error < 0) {
        link_fail(link, uv_strerror(error));
        return;
    }
    link->has_tcp = true;
    link->tcp.data = link;
    link->connect.data = link;
    error = uv_tcp_connect(&link->connect, &link->tcp, address, on_connected);
    if (error < 0 && link->next != NULL) {
        uv_close((uv_handle_t *)&link->tcp, on_tried); /* no route to it, perhaps; the others may have one */
    } else if (error < 0) {
        link_fail(link, uv_strerror(error));
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct link *link = request->data;
    struct driver *driver = link->driver;
    (void)pthread_mutex_lock(&driver->mutex);
    link->resolving = false;
    link->found = found;
    if (!link_is_heard(link)) {
        link_free_if_done(link);
    } else if (status < 0 || found == NULL) {
        link_fail(link, status < 0 ? uv_strerror(status) : "the name has no address");
    } else {
        link->first = choose_first(link);
        link->next = address_after(link, link->first);
        link_connect(link, link->first->ai_addr);
    }
    (void)pthread_mutex_unlock(&driver->mutex);
    driver_turn(driver);
}

static void link_resolve(struct link *link, const char *host, uint16_t port)
{
    struct sockaddr_storage address = {0};
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char service[8];
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address) == 0) {
        link_connect(link, (const struct sockaddr *)&address);
        return;
    }
    (void)snprintf(service, sizeof(service), "%u", port);
    link->resolve.data = link;
    int error = uv_getaddrinfo(link->driver->loop, &link->resolve, on_resolved, host, service, &hints);
    link->resolving = error == 0;
    if (error < 0) {
        link_fail(link, uv_strerror(error));
    }
}

static void link_open(struct driver *driver)
{
    char host[PROTO_ADDRESS_BYTES_MAX + 1];
    uint16_t port = 0;
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL || !address_split(driver->address, host, &port)) {
        free(link);
        lsc_core_disconnected(driver->core, driver_now(driver), link == NULL ? "no memory" : "this is no address");
        return;
    }
    link->driver = driver;
    link->current = true;
    driver->link = link;
    driver->links++;
    link_resolve(link, host, port);
}

/* ---- on behalf of the core ---- */

/* Carrying out may fail at once, which the core hears within, and then wants something else. */
void link_carry_out(struct driver *driver)
{
    for (unsigned rounds = 0; rounds < 8; rounds++) {
        if (driver->drop_wanted) {
            driver->drop_wanted = false;
            link_drop(driver);
        } else if (driver->connect_wanted) {
            driver->connect_wanted = false;
            LOCKSTEP_ASSERT(driver->link == NULL);
            link_open(driver);
        } else if (driver->out.size > 0 && driver->link != NULL && driver->link->connected) {
            int error = link_write(driver->link, driver->out.data, driver->out.size);
            proto_buffer_clear(&driver->out);
            if (error < 0) {
                link_fail(driver->link, uv_strerror(error));
            }
        } else {
            break;
        }
    }
}
