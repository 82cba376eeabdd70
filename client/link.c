/* Owns the sockets of a driver: resolves a name, tries its addresses in turn, reads and writes. Everything here runs on
 * the loop's thread. There is one link at a time; what is heard of one that was closed goes nowhere.
 *
 *   link_open() --> lookup --> link (connecting) --+--> connected --> closed
 *                     |            ^               |
 *                     |            +- next address +
 *                     +--> failed                  +--> failed
 *
 * A closed link or lookup lives until libuv has given its memory back; it is cut off from the driver by `driver->link` or
 * `driver->lookup` no longer pointing at it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/driver.h"

enum { READ_BYTES = 64 * 1024 };

struct driver_link {
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct driver *driver;
    bool connected;
};

struct driver_lookup {
    uv_getaddrinfo_t request;
    struct driver *driver; /* counted in open_handles */
};

struct link_write {
    uv_write_t request;
    struct driver *driver;
    struct driver_link *link;
    uint8_t data[];
};

static void try_next_address(struct driver *driver, const char *why);

/* ---- the end of a link ---- */

static void on_closed(uv_handle_t *handle)
{
    struct driver_link *link = handle->data;
    struct driver *driver = link->driver;
    free(link);
    driver_handle_closed(driver);
}

static void drop_link(struct driver *driver)
{
    struct driver_link *link = driver->link;
    if (link != NULL) {
        driver->link = NULL;
        uv_close((uv_handle_t *)&link->tcp, on_closed);
    }
}

void link_close(struct driver *driver)
{
    drop_link(driver);
    if (driver->lookup != NULL) {
        (void)uv_cancel((uv_req_t *)&driver->lookup->request); /* one that runs already can not be stopped; it is ignored */
        driver->lookup = NULL;
    }
    driver->addresses_count = 0;
}

static void fail(struct driver *driver, const char *why)
{
    link_close(driver);
    driver_link_failed(driver, why);
}

/* ---- reading and writing ---- */

/* Read data is consumed before the callback returns, so one buffer serves every link of a thread. */
static _Thread_local char read_buffer[READ_BYTES];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    (void)handle;
    (void)suggested;
    *ret_buffer = uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct driver_link *link = stream->data;
    if (link->driver->link != link) {
        return;
    }
    if (size > 0) {
        driver_link_received(link->driver, buffer->base, (size_t)size);
    } else if (size < 0) {
        fail(link->driver, size == UV_EOF ? "it closed the connection" : uv_strerror((int)size));
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct link_write *write = (struct link_write *)request->data;
    struct driver *driver = write->driver;
    bool current = driver->link == write->link;
    free(write);
    if (status < 0 && current) {
        fail(driver, uv_strerror(status));
    }
}

void link_send(struct driver *driver, const void *data, size_t size)
{
    struct driver_link *link = driver->link;
    if (link == NULL || !link->connected) {
        return; /* it failed in between; the core will hear of that */
    }
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);
    int written = uv_try_write((uv_stream_t *)&link->tcp, &buffer, 1);
    size_t done = written > 0 ? (size_t)written : 0;
    if (done == size) {
        return;
    }
    struct link_write *write = malloc(sizeof(*write) + size - done);
    if (write == NULL) {
        fail(driver, "no memory for what is to be sent");
        return;
    }
    write->driver = driver;
    write->link = link;
    write->request.data = write;
    memcpy(write->data, (const uint8_t *)data + done, size - done);
    uv_buf_t rest = uv_buf_init((char *)write->data, (unsigned)(size - done));
    int result = uv_write(&write->request, (uv_stream_t *)&link->tcp, &rest, 1, on_written);
    if (result != 0) {
        free(write);
        fail(driver, uv_strerror(result));
    }
}

/* ---- connecting ---- */

static void on_connected(uv_connect_t *request, int status)
{
    struct driver_link *link = request->data;
    struct driver *driver = link->driver;
    if (driver->link != link) {
        return;
    }
    if (status == 0) {
        status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    }
    if (status != 0) {
        try_next_address(driver, uv_strerror(status));
        return;
    }
    link->connected = true;
    driver_link_connected(driver);
}

/* @return 0, or libuv's error; then there is no link. */
static int begin(struct driver *driver, const struct sockaddr *address)
{
    struct driver_link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return UV_ENOMEM;
    }
    int result = uv_tcp_init(driver->loop, &link->tcp);
    if (result != 0) {
        free(link);
        return result;
    }
    link->driver = driver;
    link->tcp.data = link;
    link->connect.data = link;
    driver->link = link;
    driver->open_handles++;
    (void)uv_tcp_nodelay(&link->tcp, 1); /* slower without, not wrong */
    result = uv_tcp_connect(&link->connect, &link->tcp, address, on_connected);
    if (result != 0) {
        drop_link(driver);
    }
    return result;
}

/* `why` the one before did not do. */
static void try_next_address(struct driver *driver, const char *why)
{
    drop_link(driver);
    while (driver->addresses_next < driver->addresses_count) {
        const struct sockaddr_storage *address = &driver->addresses[driver->addresses_next];
        driver->addresses_next++;
        int result = begin(driver, (const struct sockaddr *)address);
        if (result == 0) {
            return;
        }
        why = uv_strerror(result);
    }
    fail(driver, why);
}

/* ---- names ---- */

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct driver_lookup *lookup = request->data;
    struct driver *driver = lookup->driver;
    bool current = driver->lookup == lookup;
    if (current) {
        driver->lookup = NULL;
        for (const struct addrinfo *at = list; at != NULL && driver->addresses_count < DRIVER_ADDRESSES_MAX; at = at->ai_next) {
            if (at->ai_addrlen <= sizeof(driver->addresses[0])) {
                memcpy(&driver->addresses[driver->addresses_count], at->ai_addr, at->ai_addrlen);
                driver->addresses_count++;
            }
        }
    }
    uv_freeaddrinfo(list);
    free(lookup);
    if (current) {
        try_next_address(driver, status == 0 ? "its name has no address" : uv_strerror(status));
    }
    driver_handle_closed(driver);
}

static int look_up(struct driver *driver, const char *host, uint16_t port)
{
    struct driver_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        return UV_ENOMEM;
    }
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    lookup->driver = driver;
    lookup->request.data = lookup;
    int result = uv_getaddrinfo(driver->loop, &lookup->request, on_resolved, host, service, &hints);
    if (result != 0) {
        free(lookup);
        return result;
    }
    driver->lookup = lookup;
    driver->open_handles++;
    return 0;
}

void link_open(struct driver *driver, const char *address)
{
    char host[PROTO_ADDRESS_BYTES_MAX + 1];
    uint16_t port = 0;
    link_close(driver);
    driver->addresses_next = 0;
    if (!address_split(address, host, &port)) {
        fail(driver, "not an address");
        return;
    }
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(host, port, &v4) == 0) {
        memcpy(&driver->addresses[0], &v4, sizeof(v4));
        driver->addresses_count = 1;
    } else if (uv_ip6_addr(host, port, &v6) == 0) {
        memcpy(&driver->addresses[0], &v6, sizeof(v6));
        driver->addresses_count = 1;
    } else {
        int result = look_up(driver, host, port);
        if (result != 0) {
            fail(driver, uv_strerror(result));
        }
        return;
    }
    try_next_address(driver, "its address is of no known kind");
}
