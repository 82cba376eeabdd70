/* Station 1: bytes of a socket into frames for the handler.
 *
 * All connections read into one buffer. Frames that are whole are handed on from there; only the beginning of an
 * unfinished one is copied, and the copy never holds more than that frame. So an idle connection has no input buffer. */
#include <string.h>

#include "node/connection_internal.h"
#include "protocol/assert.h"
#include "protocol/frame.h"

/* How many bytes are known to be missing of the frame that begins with `in`; at least one. The length was found to be
 * in bounds once its header was there. */
static size_t bytes_missing(const struct proto_buffer *in)
{
    if (in->size < PROTO_FRAME_HEADER_BYTES) {
        return PROTO_FRAME_HEADER_BYTES - in->size;
    }
    size_t length = (size_t)in->data[0] | (size_t)in->data[1] << 8 | (size_t)in->data[2] << 16 |
                    (size_t)in->data[3] << 24;
    LOCKSTEP_ASSERT(length + sizeof(uint32_t) > in->size);
    return length + sizeof(uint32_t) - in->size;
}

static void bad_frame(struct connection *connection, enum proto_frame_result result)
{
    struct connections *all = connection->all;
    all->handler.bad_frame(all->handler.ctx, connection->number, proto_frame_result_text(result));
    connection_close_when_sent(connection);
}

/* Hand on the first frame of `data`. @return how many bytes it took; 0 if it is not whole or was the last one. */
static size_t take_frame(struct connection *connection, const uint8_t *data, size_t size)
{
    struct connections *all = connection->all;
    struct proto_bytes body;
    size_t taken = 0;
    enum proto_frame_result result =
        proto_frame_take(data, size, all->options.request_bytes_max, &all->scratch, &body, &taken);
    if (result == PROTO_FRAME_PARTIAL) {
        return 0;
    }
    if (result != PROTO_FRAME_OK) {
        bad_frame(connection, result);
        return 0;
    }
    connection_wait_for(connection, WAIT_IDLE);
    all->handler.receive(all->handler.ctx, connection->number, body);
    return taken;
}

/* Complete the unfinished frame. @return how many bytes of `data` went there. */
static size_t feed_unfinished(struct connection *connection, const uint8_t *data, size_t size)
{
    size_t missing = bytes_missing(&connection->in);
    size_t fed = missing < size ? missing : size;
    if (!proto_buffer_append(&connection->in, data, fed)) {
        connection_doom(connection, LOGGER_ERROR, "no memory for its request");
        return size;
    }
    if (take_frame(connection, connection->in.data, connection->in.size) > 0) {
        size_t size_max = connection->in.size_max;
        proto_buffer_done(&connection->in);
        proto_buffer_init(&connection->in, size_max);
    }
    return fed;
}

static void input(struct connection *connection, const uint8_t *data, size_t size)
{
    /* Each round takes at least one byte. The handler may close the connection in any of them. */
    while (size > 0 && connection->state == CONNECTION_OPEN) {
        size_t taken = connection->in.size > 0 ? feed_unfinished(connection, data, size)
                                               : take_frame(connection, data, size);
        if (taken == 0 && connection->state == CONNECTION_OPEN) {
            /* While we do not read, it is not the client's fault that its request stays unfinished. */
            connection_wait_for(connection, connection->paused ? WAIT_IDLE : WAIT_FRAME);
            if (!proto_buffer_append(&connection->in, data, size)) {
                connection_doom(connection, LOGGER_ERROR, "no memory for its request");
            }
            return;
        }
        data += taken;
        size -= taken;
    }
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct connection *connection = handle->data;
    (void)suggested;
    *ret_buffer = uv_buf_init(connection->all->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    if (size == UV_EOF) {
        connection_doom(connection, LOGGER_DEBUG, "its client closed it");
    } else if (size < 0) {
        connection_doom(connection, LOGGER_DEBUG, uv_strerror((int)size));
    } else if (connection->state == CONNECTION_OPEN) {
        input(connection, (const uint8_t *)buffer->base, (size_t)size);
    } /* else: it is being closed, and what still comes is discarded */
}

bool connection_read_start(struct connection *connection)
{
    return uv_read_start((uv_stream_t *)&connection->tcp, on_buffer, on_read) == 0;
}

void connection_pause(struct connection *connection)
{
    if (!connection->paused) {
        connection->paused = true;
        connection_wait_for(connection, WAIT_IDLE);
        (void)uv_read_stop((uv_stream_t *)&connection->tcp); /* always 0 */
    }
}

void connection_resume(struct connection *connection)
{
    if (connection->paused && connection->state < CONNECTION_DOOMED) {
        connection->paused = false;
        if (connection->state == CONNECTION_OPEN) {
            connection_wait_for(connection, connection->in.size > 0 ? WAIT_FRAME : WAIT_IDLE);
        }
        if (!connection_read_start(connection)) {
            connection_doom(connection, LOGGER_WARNING, "its socket can not be read");
        }
    }
}
