/* Preloaded into a program: a resolver whose name server is gone. Names under .test are never answered; addresses are. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct found {
    struct addrinfo info;
    struct sockaddr_in address;
};

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict ret)
{
    const char *end = strstr(name, ".test");
    (void)hints;
    while (end != NULL) {
        (void)pause();
    }
    struct found *found = calloc(1, sizeof(*found));
    if (found == NULL) {
        return EAI_MEMORY;
    }
    found->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(service, NULL, 10))};
    found->info = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addr = (struct sockaddr *)&found->address,
                                    .ai_addrlen = sizeof(found->address)};
    *ret = &found->info;
    if (inet_pton(AF_INET, name, &found->address.sin_addr) != 1) {
        free(found);
        return EAI_NONAME;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    free(found); /* the first member of its block */
}
