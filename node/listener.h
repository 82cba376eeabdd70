/* The address that clients connect to. */
#ifndef LOCKSTEP_NODE_LISTENER_H
#define LOCKSTEP_NODE_LISTENER_H

#include <uv.h>

#include "node/connection.h"

struct listener;

/* Look the address up and bind it; nobody can connect yet. Blocks while a host name is looked up.
 * @param text  host:port, checked by the configuration; port 0 picks a free one.
 * @return the listener, or NULL with `message`: what is wrong and what to do. */
struct listener *listener_open(uv_loop_t *loop, const char *text, char *message, size_t message_size);
/* The port really bound. */
uint16_t listener_port(const struct listener *listener);
/* From now on connections go to `connections`. @return false with `message`. */
bool listener_start(struct listener *listener, struct connections *connections, struct logger *logger,
                    char *message, size_t message_size);
/* Nobody can connect any more. The memory goes when the loop has closed the handle. NULL is fine. */
void listener_close(struct listener *listener);

#endif
