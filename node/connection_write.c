/* Station 10: queued frames to a socket, one write per connection and turn. What the socket does not take at once is
 * handed to libuv, in a buffer that nobody touches until libuv says so; new frames gather in another one meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "node/connection_internal.h"
#include "protocol/assert.h"

/* Account for `size` bytes that are gone, and read on if enough is. */
static void sent(struct connection *connection, size_t size)
{
    struct connections *all = connection->all;
    LOCKSTEP_ASSERT(all->queued_bytes >= size);
    all->queued_bytes -= size;
    if (connection->paused && connection_queued(connection) < all->options.queue_bytes_max / 4) {
        connection_resume(connection); /* it does read: its time begins anew */
    }
}

static void buffer_emptied(struct proto_buffer *buffer)
{
    if (buffer->capacity > IDLE_BUFFER_BYTES) {
        size_t size_max = buffer->size_max;
        proto_buffer_done(buffer);
        proto_buffer_init(buffer, size_max);
    } else {
        proto_buffer_clear(buffer);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;
    connection->write_busy = false;
    if (connection->state == CONNECTION_CLOSING) {
        return; /* the handle is being closed; on_closed() accounts for what was not sent */
    }
    if (status < 0) {
        connection_doom(connection, LOGGER_DEBUG, uv_strerror(status));
        return;
    }
    size_t size = connection->writing.size;
    buffer_emptied(&connection->writing);
    sent(connection, size);
    connection_mark_dirty(connection);
}

/* Hand what a write left over to libuv. */
static void write_rest(struct connection *connection)
{
    struct proto_buffer empty = connection->writing;
    LOCKSTEP_ASSERT(empty.size == 0);
    connection->writing = connection->out;
    connection->out = empty;
    uv_buf_t buffer = uv_buf_init((char *)connection->writing.data, (unsigned)connection->writing.size);
    connection->write.data = connection;
    int error = uv_write(&connection->write, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written);
    if (error != 0) {
        connection_doom(connection, LOGGER_DEBUG, uv_strerror(error));
        return;
    }
    connection->write_busy = true;
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* the end of the stream comes, or the drain timeout */
    (void)status;
}

/* All is written: say so to the client, and wait for its end of the stream. */
static void shut(struct connection *connection)
{
    connection_move(connection, CONNECTION_SHUT);
    int error = uv_shutdown(&connection->shutdown, (uv_stream_t *)&connection->tcp, on_shut);
    if (error != 0) {
        connection_doom(connection, LOGGER_DEBUG, uv_strerror(error));
    }
}

void connection_flush(struct connection *connection)
{
    if (connection->write_busy) {
        return; /* on_written() comes back here */
    }
    if (connection->out.size > 0) {
        uv_buf_t buffer = uv_buf_init((char *)connection->out.data, (unsigned)connection->out.size);
        int written = uv_try_write((uv_stream_t *)&connection->tcp, &buffer, 1);
        if (written < 0 && written != UV_EAGAIN) {
            connection_doom(connection, LOGGER_DEBUG, uv_strerror(written));
            return;
        }
        size_t size = written > 0 ? (size_t)written : 0;
        proto_buffer_consume(&connection->out, size);
        sent(connection, size);
        if (connection->out.size > 0) {
            write_rest(connection);
            return;
        }
        buffer_emptied(&connection->out);
    }
    if (connection->state == CONNECTION_DRAINING) {
        shut(connection);
    }
}
