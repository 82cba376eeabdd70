/* The least that three nodes do for one durable request: the leader sends it to both followers, each writes it and syncs, and
 * the client is answered when the leader and one follower have. No election, no log, no state: one thread in each process
 * that blocks in each call, which has the fewest wake-ups. */
#include "tests/bench/probe/parts.h"

#include <poll.h>
#include <string.h>

enum { FOLLOWERS = 2 };

static unsigned number_in(const char *message)
{
    unsigned number;
    memcpy(&number, message, sizeof number);
    return number;
}

static void follow(int connection, const char *directory)
{
    char message[PROBE_MESSAGE_BYTES];
    int file = probe_file(directory);
    while (probe_receive(connection, message)) {
        probe_write(file, number_in(message));
        if (!probe_send(connection, message)) {
            return;
        }
    }
}

/* Until any follower has written `number`. What comes from the slower one for an earlier request is passed over. */
static bool await_follower(struct pollfd *followers, unsigned number)
{
    char message[PROBE_MESSAGE_BYTES];
    for (bool written = false; !written;) {
        if (poll(followers, FOLLOWERS, -1) <= 0) {
            return false;
        }
        for (int i = 0; i < FOLLOWERS; i++) {
            if (followers[i].revents == 0) {
                continue;
            }
            if (!probe_receive(followers[i].fd, message)) {
                return false;
            }
            written = written || number_in(message) == number;
        }
    }
    return true;
}

void probe_replicate(int connection, const char *directory)
{
    char message[PROBE_MESSAGE_BYTES];
    struct pollfd followers[FOLLOWERS];
    for (int i = 0; i < FOLLOWERS; i++) {
        followers[i] = (struct pollfd){.fd = probe_start(follow, directory), .events = POLLIN};
    }
    int file = probe_file(directory);
    while (probe_receive(connection, message)) {
        bool sent = true;
        for (int i = 0; i < FOLLOWERS; i++) {
            sent = sent && probe_send(followers[i].fd, message);
        }
        probe_write(file, number_in(message));
        if (!sent || !await_follower(followers, number_in(message)) || !probe_send(connection, message)) {
            return;
        }
    }
}
