/* host:port and [v6]:port, checked, taken apart and looked up. */
#ifndef LOCKSTEP_NODE_ADDRESS_H
#define LOCKSTEP_NODE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_HOST_BYTES_MAX = 253, ADDRESS_TEXT_BYTES_MAX = 255 };

struct address {
    char host[ADDRESS_HOST_BYTES_MAX + 1]; /* without brackets */
    uint16_t port;
};

/* Take `text` apart. Looks nothing up. @return false if it is neither form, too long, or has characters that no host
 * name has. Port 0 is allowed: the caller decides. */
bool address_parse(const char *text, struct address *ret_address);

/* Write it back, with brackets where needed, into at least ADDRESS_TEXT_BYTES_MAX + 8 bytes. */
void address_format(const struct address *address, char *ret_text, size_t size);

/* Whether it names every address of the machine (0.0.0.0, ::): nothing that another machine could connect to. */
bool address_wildcard(const struct address *address);

/* Look it up, blocking. @return false with `message` filled if that fails. */
bool address_resolve(const struct address *address, struct sockaddr_storage *ret_sockaddr, char *message,
                     size_t message_size);

#endif
