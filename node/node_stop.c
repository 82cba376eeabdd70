/* Signals, and the way out: see enum node_phase. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/node_internal.h"
#include "protocol/assert.h"

#ifdef LOCKSTEP_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

enum {
    /* How long clients may take to read what was queued for them. */
    CLOSING_MS = 1000,
    /* How long the disk may take to finish what was begun. */
    FLUSHING_MS = 10000,
    /* How often the phases look whether they are over, beside every turn that comes anyway. */
    LOOK_MS = 10,
};

/* Those that do not end the node are what rotation of logs sends by habit: without a handler they would end it. */
static const struct {
    int number;
    bool ends;
    const char *name;
} signals[NODE_SIGNALS_COUNT] = {
    {SIGTERM, true, "SIGTERM"},  {SIGINT, true, "SIGINT"},    {SIGHUP, false, "SIGHUP"},
    {SIGUSR1, false, "SIGUSR1"}, {SIGUSR2, false, "SIGUSR2"},
};

void node_notify(const char *state)
{
#ifdef LOCKSTEP_HAVE_SYSTEMD
    (void)sd_notify(0, state); /* systemd's affair if it does not listen */
#else
    (void)state;
#endif
}

static void phase_enter(struct node *node, enum node_phase phase, struct local_time now, uint64_t most_ms)
{
    LOCKSTEP_ASSERT(phase == node->phase + 1);
    node->phase = phase;
    node->phase_deadline = (struct local_time){now.ms + most_ms};
}

static void leave(struct node *node, const char *signal_name)
{
    struct local_time now = loop_now(node->loop);
    LOGGER_EVENT(node->logger, LOGGER_INFO, "stopping", LOGGER_TEXT("signal", signal_name));
    node_notify("STOPPING=1");
    listener_close(node->listener);
    node->listener = NULL;
    phase_enter(node, NODE_LEAVING, now, node->config->shutdown_timeout);
    core_shutdown(node->core, now);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct node *node = handle->data;
    size_t which = (size_t)(handle - node->signals);
    if (!signals[which].ends) {
        LOGGER_EVENT(
            node->logger, LOGGER_INFO, "signal_ignored", LOGGER_TEXT("signal", signals[which].name),
            LOGGER_TEXT("why", "the log is standard error, and settings are read at the start only"));
    } else if (node->phase == NODE_RUNNING) {
        leave(node, signals[which].name);
    } else {
        LOGGER_EVENT(node->logger, LOGGER_WARNING, "stopped",
                     LOGGER_TEXT("why", "a second signal: it ends at once"));
        _exit(128 + number);
    }
}

void node_signals_open(struct node *node)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a write to a closed socket is an error, not the end */
    (void)signal(SIGXFSZ, SIG_IGN); /* past a limit of file sizes (ulimit -f) too: the end that it leads to has a last line */
    for (int i = 0; i < NODE_SIGNALS_COUNT; i++) {
        int error = uv_signal_init(&node->uv, &node->signals[i]);
        LOCKSTEP_ASSERT(error == 0);
        node->signals[i].data = node;
        error = uv_signal_start(&node->signals[i], on_signal, signals[i].number);
        LOCKSTEP_ASSERT(error == 0);
    }
}

void node_signals_close(struct node *node)
{
    for (int i = 0; i < NODE_SIGNALS_COUNT; i++) {
        uv_close((uv_handle_t *)&node->signals[i], NULL);
    }
}

static bool phase_over(struct node *node, struct local_time now, bool done)
{
    if (!done && now.ms >= node->phase_deadline.ms) {
        LOGGER_EVENT(node->logger, LOGGER_WARNING, "stopping_slowly",
                     LOGGER_TEXT("why", node->phase == NODE_LEAVING
                                            ? "requests unanswered, or leadership not handed over"
                                        : node->phase == NODE_CLOSING
                                            ? "clients do not read what is queued for them"
                                            : "the disk does not finish"));
        return true;
    }
    return done;
}

struct local_time node_turn(void *ctx, struct local_time now)
{
    struct node *node = ctx;
    if (node->phase == NODE_RUNNING) {
        return LOCAL_TIME_NEVER;
    }
    if (node->phase == NODE_LEAVING && phase_over(node, now, core_drained(node->core))) {
        phase_enter(node, NODE_CLOSING, now, CLOSING_MS);
        connections_close_all(node->connections, false);
    }
    if (node->phase == NODE_CLOSING && phase_over(node, now, connections_empty(node->connections))) {
        phase_enter(node, NODE_FLUSHING, now, FLUSHING_MS);
        connections_close_all(node->connections, true);
        replica_quiet(node->replica);
    }
    bool done = connections_empty(node->connections) && replica_idle(node->replica);
    if (node->phase == NODE_FLUSHING && phase_over(node, now, done)) {
        if (!done) {
            node_die(node, NODE_EXIT_REPLICA,
                     "the disk did not finish what was begun; look at the machine's disk");
        }
        phase_enter(node, NODE_STOPPED, now, 0);
        uv_stop(&node->uv);
        return LOCAL_TIME_NEVER;
    }
    return (struct local_time){now.ms + LOOK_MS};
}
