/* See fake_node.h. One thread polls, one mutex guards; whoever changes something from outside wakes it. */
#include "tests/unit/client/fake_node.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/assert.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "raft_fsm/fsm.h"

enum { PEERS_MAX = 128, SESSIONS_MAX = 256, TURN_MS = 5 };

struct peer {
    int fd; /* -1: free */
    bool greeted;
    struct proto_buffer in;
    struct proto_buffer out;
};

struct fake_node {
    pthread_mutex_t mutex; /* everything below; the thread holds it but while it polls */
    pthread_t thread;
    bool stops;
    bool silent;
    uint64_t cluster_id;
    uint64_t node_id;
    struct proto_member member; /* node_id 0: it names none */
    uint64_t surveys;
    int listener;
    int wake[2];
    char endpoint[64];
    struct fsm *fsm;
    struct fsm_effects effects;
    struct proto_buffer entry;
    struct proto_rows rows;
    struct peer peers[PEERS_MAX];
    struct {
        uint64_t id;
        struct peer *peer; /* who spoke for it last */
    } sessions[SESSIONS_MAX];
    uint64_t started_ms;
};

#if defined(__SANITIZE_THREAD__)
/* The thread sanitizer insists on C11's size, a multiple of the alignment; the state machine's pool asks for a little less,
 * as C17 and glibc allow. */
void *aligned_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}
#endif

static uint64_t clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- answers ---- */

static void end_frame(struct peer *peer, size_t begin)
{
    LOCKSTEP_ASSERT(proto_frame_end(&peer->out, begin, true));
}

static void send_reply(struct peer *peer, const struct proto_reply *reply)
{
    size_t begin = proto_frame_begin(&peer->out);
    proto_encode_reply(&peer->out, reply);
    end_frame(peer, begin);
}

static struct peer *peer_of(struct fake_node *node, uint64_t session_id)
{
    return node->sessions[session_id % SESSIONS_MAX].id == session_id ? node->sessions[session_id % SESSIONS_MAX].peer : NULL;
}

static void remember(struct fake_node *node, uint64_t session_id, struct peer *peer)
{
    node->sessions[session_id % SESSIONS_MAX].id = session_id;
    node->sessions[session_id % SESSIONS_MAX].peer = peer;
}

/* `peer` and `request` of the entry's command, or NULL. */
static void hand_out(struct fake_node *node, struct peer *peer, const struct proto_request *request)
{
    for (size_t i = 0; i < node->effects.count; i++) {
        struct fsm_effect *effect = &node->effects.list[i];
        struct peer *to = effect->kind == FSM_REPLY ? peer : peer_of(node, effect->session_id);
        if (to == NULL || to->fd < 0) {
            continue;
        }
        if (effect->kind == FSM_REPLY) {
            effect->reply.id = request->id;
            if (request->kind == PROTO_SESSION_OPEN && effect->reply.status == PROTO_STATUS_OK) {
                remember(node, effect->reply.body.session.session_id, peer);
            }
            send_reply(to, &effect->reply);
        } else if (effect->kind == FSM_WAIT_ENDED) {
            effect->reply.id = effect->request_id;
            send_reply(to, &effect->reply);
        } else if (effect->kind == FSM_EVENT) {
            size_t begin = proto_frame_begin(&to->out);
            proto_encode_event(&to->out, &effect->event);
            end_frame(to, begin);
        }
    }
}

static void apply(struct fake_node *node, struct peer *peer, const struct proto_request *request)
{
    struct fsm_entry_writer writer;
    struct proto_error error;
    proto_buffer_clear(&node->entry);
    fsm_entry_begin(&writer, &node->entry, (struct cluster_time){clock_ms() - node->started_ms});
    if (request != NULL) {
        const struct proto_operation *operation = proto_operation_find((uint64_t)request->kind);
        bool in_session = operation->sent_by == PROTO_SESSION;
        struct fsm_command command = {.kind = request->kind, .body = request->body};
        memcpy(command.digest, request->secret, sizeof(command.digest)); /* as good a digest as any, here */
        if (in_session) {
            command.request_id = request->id;
            command.session_id = request->session_id;
            command.ack_floor = request->ack_floor;
            command.proof = fsm_entry_proof(command.digest);
            memset(command.digest, 0, sizeof(command.digest));
            remember(node, request->session_id, peer);
        }
        LOCKSTEP_ASSERT(fsm_entry_add(&writer, &command));
    }
    fsm_entry_end(&writer);
    LOCKSTEP_ASSERT(fsm_apply(node->fsm, node->entry.data + writer.begin, node->entry.size - writer.begin, &node->effects,
                              &error) == FSM_APPLIED);
    hand_out(node, peer, request);
}

/* ---- requests ---- */

static void answer_locally(struct fake_node *node, struct peer *peer, const struct proto_request *request)
{
    struct proto_reply reply = {.kind = request->kind, .id = request->id};
    if (request->kind == PROTO_CLUSTER_STATUS) {
        reply.body.cluster.cluster_id = node->cluster_id;
        reply.body.cluster.node_id = node->node_id;
        reply.body.cluster.leader_id = 1;
        reply.body.cluster.term = 3;
        reply.body.cluster.members = &node->member;
        reply.body.cluster.members_count = node->member.node_id != 0;
        node->surveys++;
    }
    send_reply(peer, &reply);
}

static void take_request(struct fake_node *node, struct peer *peer, struct proto_bytes body)
{
    struct proto_request request;
    struct proto_error error;
    LOCKSTEP_ASSERT(proto_decode_request(body, &request, &error));
    const struct proto_operation *operation = proto_operation_find((uint64_t)request.kind);
    if (operation->served_by == PROTO_LOG) {
        apply(node, peer, &request);
    } else if (operation->served_by == PROTO_QUERY) {
        struct proto_reply reply = {0};
        fsm_query(node->fsm, fsm_time(node->fsm), &request, &node->rows, &reply);
        reply.kind = request.kind;
        reply.id = request.id;
        send_reply(peer, &reply);
    } else {
        answer_locally(node, peer, &request);
    }
}

static void greet(const struct fake_node *node, struct peer *peer, struct proto_bytes body)
{
    struct proto_hello_request request;
    struct proto_error error;
    LOCKSTEP_ASSERT(proto_decode_hello_request(body, &request, &error));
    struct proto_hello_reply hello = {.status = PROTO_STATUS_OK,
                                      .version = 1,
                                      .cluster_id = node->cluster_id,
                                      .node_id = node->node_id,
                                      .leader_id = 1,
                                      .heartbeat_ms = 500};
    if (request.cluster_id != 0 && request.cluster_id != node->cluster_id) {
        hello.status = PROTO_STATUS_WRONG_CLUSTER;
    }
    size_t begin = proto_frame_begin(&peer->out);
    proto_encode_hello_reply(&peer->out, &hello);
    end_frame(peer, begin);
    peer->greeted = true;
}

static void drop(struct peer *peer)
{
    (void)close(peer->fd);
    peer->fd = -1;
    proto_buffer_done(&peer->in);
    proto_buffer_done(&peer->out);
}

static void read_peer(struct fake_node *node, struct peer *peer)
{
    uint8_t *room = proto_buffer_reserve(&peer->in, 65536);
    LOCKSTEP_ASSERT(room != NULL);
    ssize_t size = recv(peer->fd, room, 65536, MSG_DONTWAIT);
    if (size <= 0) {
        drop(peer);
        return;
    }
    peer->in.size += (size_t)size;
    struct proto_buffer scratch;
    proto_buffer_init(&scratch, PROTO_FRAME_BODY_BYTES_MAX);
    struct proto_bytes body;
    size_t taken = 0;
    while (proto_frame_take(peer->in.data, peer->in.size, PROTO_REQUEST_BODY_BYTES_MAX, &scratch, &body, &taken) ==
           PROTO_FRAME_OK) {
        if (peer->greeted) {
            take_request(node, peer, body);
        } else {
            greet(node, peer, body);
        }
        proto_buffer_consume(&peer->in, taken);
    }
    proto_buffer_done(&scratch);
}

static void write_peers(struct fake_node *node)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        struct peer *peer = &node->peers[i];
        while (peer->fd >= 0 && peer->out.size > 0) {
            ssize_t size = send(peer->fd, peer->out.data, peer->out.size, MSG_NOSIGNAL);
            if (size <= 0) {
                drop(peer);
                break;
            }
            proto_buffer_consume(&peer->out, (size_t)size);
        }
    }
}

static void accept_peer(struct fake_node *node)
{
    int fd = accept4(node->listener, NULL, NULL, SOCK_CLOEXEC);
    for (int i = 0; fd >= 0 && i < PEERS_MAX; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->fd < 0) {
            *peer = (struct peer){.fd = fd};
            proto_buffer_init(&peer->in, 4 * 1024 * 1024);
            proto_buffer_init(&peer->out, 64 * 1024 * 1024);
            return;
        }
    }
    LOCKSTEP_ASSERT(fd < 0); /* the tests make fewer */
}

static void *run(void *arg)
{
    struct fake_node *node = arg;
    (void)pthread_mutex_lock(&node->mutex);
    while (!node->stops) {
        struct pollfd fds[PEERS_MAX + 2];
        nfds_t count = 0;
        struct peer *who[PEERS_MAX + 2];
        for (int i = 0; i < PEERS_MAX && !node->silent; i++) {
            if (node->peers[i].fd >= 0) {
                who[count] = &node->peers[i];
                fds[count] = (struct pollfd){.fd = node->peers[i].fd, .events = POLLIN};
                count++;
            }
        }
        nfds_t peers = count;
        fds[count++] = (struct pollfd){.fd = node->wake[0], .events = POLLIN};
        if (!node->silent) {
            fds[count++] = (struct pollfd){.fd = node->listener, .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&node->mutex);
        (void)poll(fds, count, TURN_MS);
        (void)pthread_mutex_lock(&node->mutex);
        if ((fds[peers].revents & POLLIN) != 0) {
            char bytes[16];
            (void)!read(node->wake[0], bytes, sizeof(bytes));
            continue; /* something was changed under the mutex: what was polled may be gone */
        }
        for (nfds_t i = 0; i < peers; i++) {
            if (fds[i].revents != 0 && who[i]->fd == fds[i].fd) {
                read_peer(node, who[i]);
            }
        }
        if (count > peers + 1 && (fds[peers + 1].revents & POLLIN) != 0) {
            accept_peer(node);
        }
        if (!node->silent && fsm_next_due(node->fsm).ms <= clock_ms() - node->started_ms) {
            apply(node, NULL, NULL);
        }
        write_peers(node);
    }
    (void)pthread_mutex_unlock(&node->mutex);
    return NULL;
}

/* ---- for the test's thread ---- */

struct fake_node *fake_node_start(void)
{
    struct fake_node *node = calloc(1, sizeof(*node));
    LOCKSTEP_ASSERT(node != NULL);
    node->fsm = fsm_create();
    node->started_ms = clock_ms() - 1000;
    node->cluster_id = 99;
    node->node_id = 1;
    fsm_effects_init(&node->effects);
    proto_buffer_init(&node->entry, FSM_ENTRY_BYTES_MAX);
    for (int i = 0; i < PEERS_MAX; i++) {
        node->peers[i].fd = -1;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    node->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    LOCKSTEP_ASSERT(bind(node->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    LOCKSTEP_ASSERT(listen(node->listener, 128) == 0);
    LOCKSTEP_ASSERT(getsockname(node->listener, (struct sockaddr *)&address, &size) == 0);
    LOCKSTEP_ASSERT(pipe2(node->wake, O_CLOEXEC) == 0);
    (void)snprintf(node->endpoint, sizeof(node->endpoint), "127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    (void)pthread_mutex_init(&node->mutex, NULL);
    LOCKSTEP_ASSERT(pthread_create(&node->thread, NULL, run, node) == 0);
    return node;
}

const char *fake_node_endpoint(const struct fake_node *node)
{
    return node->endpoint;
}

static void enter(struct fake_node *node)
{
    (void)pthread_mutex_lock(&node->mutex);
}

static void leave(struct fake_node *node)
{
    LOCKSTEP_ASSERT(write(node->wake[1], "w", 1) == 1);
    (void)pthread_mutex_unlock(&node->mutex);
}

void fake_node_set_cluster(struct fake_node *node, uint64_t cluster_id)
{
    (void)pthread_mutex_lock(&node->mutex);
    node->cluster_id = cluster_id;
    (void)pthread_mutex_unlock(&node->mutex);
}

void fake_node_set_id(struct fake_node *node, uint64_t node_id)
{
    (void)pthread_mutex_lock(&node->mutex);
    node->node_id = node_id;
    (void)pthread_mutex_unlock(&node->mutex);
}

void fake_node_set_member(struct fake_node *node, uint64_t node_id, const char *client_address)
{
    (void)pthread_mutex_lock(&node->mutex);
    node->member = (struct proto_member){
        .node_id = node_id,
        .client_address = {(const uint8_t *)client_address, (uint32_t)strlen(client_address)},
        .voter = true,
    };
    (void)pthread_mutex_unlock(&node->mutex);
}

uint64_t fake_node_surveys(struct fake_node *node)
{
    (void)pthread_mutex_lock(&node->mutex);
    uint64_t surveys = node->surveys;
    (void)pthread_mutex_unlock(&node->mutex);
    return surveys;
}

void fake_node_set_silent(struct fake_node *node, bool silent)
{
    enter(node);
    node->silent = silent;
    leave(node);
}

void fake_node_cut(struct fake_node *node)
{
    enter(node);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (node->peers[i].fd >= 0) {
            drop(&node->peers[i]);
        }
    }
    leave(node);
}

static struct fsm_counts counts_of(struct fake_node *node)
{
    struct fsm_counts counts;
    enter(node);
    fsm_counts(node->fsm, &counts);
    leave(node);
    return counts;
}

uint64_t fake_node_locks(struct fake_node *node)
{
    return counts_of(node).grants;
}

uint64_t fake_node_sessions(struct fake_node *node)
{
    return counts_of(node).sessions;
}

uint64_t fake_node_waiters(struct fake_node *node)
{
    return counts_of(node).waiters;
}

void fake_node_stop(struct fake_node *node)
{
    enter(node);
    node->stops = true;
    leave(node);
    (void)pthread_join(node->thread, NULL);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (node->peers[i].fd >= 0) {
            drop(&node->peers[i]);
        }
    }
    (void)close(node->listener);
    (void)close(node->wake[0]);
    (void)close(node->wake[1]);
    fsm_effects_done(&node->effects);
    proto_buffer_done(&node->entry);
    fsm_free(node->fsm);
    (void)pthread_mutex_destroy(&node->mutex);
    free(node);
}
