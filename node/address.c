/* See address.h. */
#include "node/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* The port is 1 to 5 digits, at most 65535. */
static bool port_parse(const char *text, uint16_t *ret_port)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = 0;
    if (digits == 0 || digits > 5 || text[digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return port <= UINT16_MAX;
}

bool address_parse(const char *text, struct address *ret_address)
{
    static const char name_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
    static const char v6_characters[] = "0123456789abcdefABCDEF:.%";
    bool v6 = text[0] == '[';
    const char *host = v6 ? text + 1 : text;
    size_t size = strspn(host, v6 ? v6_characters : name_characters);
    const char *rest = host + size;
    struct address address;
    if (size == 0 || size > ADDRESS_HOST_BYTES_MAX || strlen(text) > ADDRESS_TEXT_BYTES_MAX) {
        return false;
    }
    if (v6 && *rest++ != ']') {
        return false;
    }
    if (*rest != ':' || !port_parse(rest + 1, &address.port)) {
        return false;
    }
    memcpy(address.host, host, size);
    address.host[size] = '\0';
    *ret_address = address;
    return true;
}

void address_format(const struct address *address, char *ret_text, size_t size)
{
    bool v6 = strchr(address->host, ':') != NULL;
    (void)snprintf(ret_text, size, "%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "", address->port);
}

/* However it is written: getaddrinfo() takes 0.0 and 0:0::0 for them, too. */
bool address_wildcard(const struct address *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    return (inet_aton(address->host, &v4) == 1 && v4.s_addr == INADDR_ANY) ||
           (inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6));
}

bool address_resolve(const struct address *address, struct sockaddr_storage *ret_sockaddr, char *message,
                     size_t message_size)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", address->port);
    int error = getaddrinfo(address->host, port, &hints, &found);
    if (error != 0) {
        (void)snprintf(message, message_size, "the host %s can not be looked up: %s", address->host,
                       gai_strerror(error));
        return false;
    }
    memset(ret_sockaddr, 0, sizeof(*ret_sockaddr));
    memcpy(ret_sockaddr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}
