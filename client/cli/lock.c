/* `lock KEY -- COMMAND …`: holds the lock while the command runs.
 *
 *   waiting --granted--> running --child ends--> releasing --> closing --> end with the child's code
 *      |                    |
 *      |                    +--about to be lost--> stopping: SIGTERM, after the grace SIGKILL --child ends--> closing: LOST
 *      +--refused, signal--> closing: HELD, UNREACHABLE, 128 + signal
 *
 *   K1  The command runs only while the lock is certainly held: the library tells us `grace` and some slack before the
 *       certain time ends, and SIGKILL is sent before it ends.
 *   K2  The command and its children are one process group of their own: what is stopped is all of it. If this process is
 *       killed, the kernel kills the command (PR_SET_PDEATHSIG).
 *   K3  Signals that can be passed on are passed on, in every state, but for those that we were started to ignore; a command that
 *       is to be stopped hears SIGTERM once.
 *   K4  If the user suspends the command, this process stops with it, as a shell expects of a job, and nothing is renewed; if the
 *       certain time is over when both are to go on, the command is killed before it does (K1). A command that somebody else stops
 *       keeps its lock. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "client/cli/cli.h"
#include "client/cli/command.h"
#include "client/cli/wanted.h"

enum { KEY_GRACE = 0x400, SLACK_MS = 200, TTL_MS_DEFAULT = 10 * 1000, GRACE_MS_MAX = 5 * 1000, UNDIVIDED_MS = 50 };

static const int passed_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
enum { PASSED_SIGNALS = sizeof passed_signals / sizeof passed_signals[0] };

struct run {
    struct cli *cli;
    struct cli_wanted wanted;
    int64_t grace_ms;   /* -1: not given */
    int64_t kill_at_ms; /* a command that is to be stopped is killed when so much of the certain time is left */
    char **command;
    uv_loop_t loop;
    uv_signal_t signals[PASSED_SIGNALS];
    uv_signal_t child_signal;
    uv_signal_t suspend_signal;
    uv_signal_t continue_signal;
    uv_timer_t kill_timer;
    struct lockstep_async *async;
    struct lockstep_lock *lock;
    struct lockstep_cancel *cancel;
    struct command child;
    bool waiting;
    bool held; /* it was granted, and nobody has said that it ended */
    bool closing;
    bool lost;
    int code;
};

/* ---- the end ---- */

static void closed_cb(void *arg, int result)
{
    struct run *run = arg;
    if (result != LOCKSTEP_OK && run->held && !run->lost) {
        (void)cli_report((enum cli_exit)run->code, lockstep_result_name(result), run->wanted.key,
                         "nobody answers that the lock was given back; it ends with its ttl at the latest");
    }
    for (unsigned i = 0; i < PASSED_SIGNALS; i++) {
        uv_close((uv_handle_t *)&run->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&run->child_signal, NULL);
    uv_close((uv_handle_t *)&run->suspend_signal, NULL);
    uv_close((uv_handle_t *)&run->continue_signal, NULL);
    uv_close((uv_handle_t *)&run->kill_timer, NULL);
}

static void close_all(struct run *run, int code)
{
    if (run->closing) {
        return;
    }
    run->closing = true;
    run->code = code;
    lockstep_lock_free(run->lock);
    run->lock = NULL;
    lockstep_async_close(run->async, closed_cb, run);
}

static void released_cb(void *arg, int result)
{
    struct run *run = arg;
    bool ended_early = result == LOCKSTEP_NOT_HELD || result == LOCKSTEP_SESSION_LOST;
    run->held = !ended_early && result != LOCKSTEP_OK;
    if (ended_early && !run->closing) {
        run->code = cli_report(CLI_EXIT_LOST, "LOST", run->wanted.key, "the lock had ended before the command did");
    }
    close_all(run, run->code);
}

/* ---- the command ---- */

/* K1. libuv's clock is one that a time daemon slows, by up to a tenth; the library's is not, and is looked at again before the last
 * tenth of a longer wait. */
static void kill_when_due(uv_timer_t *timer)
{
    struct run *run = timer->data;
    int64_t left_ms = lockstep_lock_remaining_ms(run->lock) - run->kill_at_ms;
    if (left_ms <= 0) {
        command_signal(&run->child, SIGKILL);
        return;
    }
    left_ms -= left_ms > UNDIVIDED_MS ? left_ms / 10 : 0;
    (void)uv_timer_start(timer, kill_when_due, (uint64_t)left_ms, 0);
}

static void lost_cb(struct lockstep_lock *lock, void *arg, enum lockstep_lost_reason reason, int64_t remaining_ms,
                    const char *detail)
{
    struct run *run = arg;
    (void)lock;
    if (run->lost) {
        return; /* continue_cb was faster */
    }
    run->lost = true;
    (void)cli_report(CLI_EXIT_LOST, "LOST", run->wanted.key, "%s%s%s; stopping the command",
                     lockstep_lost_reason_text((int)reason), detail[0] != '\0' ? ": " : "", detail);
    if (!command_running(&run->child)) {
        return; /* the end of the command or of the acquire is on its way */
    }
    command_signal(&run->child, SIGTERM);
    int64_t left_ms = remaining_ms - SLACK_MS / 2;
    int64_t grace_ms = left_ms < run->grace_ms ? left_ms : run->grace_ms;
    run->kill_at_ms = remaining_ms - (grace_ms > 0 ? grace_ms : 0);
    (void)uv_timer_start(&run->kill_timer, kill_when_due, 0, 0);
}

static void child_ended(struct run *run, int code)
{
    (void)uv_timer_stop(&run->kill_timer);
    if (run->lost) {
        close_all(run, CLI_EXIT_LOST);
        return;
    }
    run->code = code;
    if (lockstep_async_release(run->lock, released_cb, run) != LOCKSTEP_OK) {
        close_all(run, code);
    }
}

/* K4: we may have been stopped for longer than the lock is certain, and the library tells us only behind this. */
static void go_on(struct run *run)
{
    if (!command_running(&run->child)) {
        return;
    }
    if (lockstep_lock_remaining_ms(run->lock) > 0) {
        command_continue(&run->child);
        return;
    }
    command_signal(&run->child, SIGKILL);
    if (!run->lost) {
        run->lost = true;
        (void)cli_report(CLI_EXIT_LOST, "LOST", run->wanted.key, "stopped for longer than the lock is certain; killing the command");
    }
}

static void continue_cb(uv_signal_t *signal, int number)
{
    (void)number;
    go_on(signal->data);
}

static void suspend_cb(uv_signal_t *signal, int number);

static void watch_suspend(struct run *run)
{
    if (sigismember(&run->child.ignored, SIGTSTP) == 0) { /* K3 */
        (void)uv_signal_start(&run->suspend_signal, suspend_cb, SIGTSTP);
    }
}

/* As every job does; by a signal which the kernel drops where there is no shell that would continue us (ssh -t). Then the command
 * goes on at once, as it would by itself. */
static void stop_with_command(struct run *run)
{
    (void)uv_signal_stop(&run->suspend_signal);
    (void)raise(SIGTSTP);
    watch_suspend(run);
    if (command_may_have_terminal(&run->child)) {
        go_on(run);
    }
}

/* The terminal sends it to our group, which is not the command's. */
static void suspend_cb(uv_signal_t *signal, int number)
{
    struct run *run = signal->data;
    if (command_running(&run->child)) {
        command_signal(&run->child, number); /* and child_cb hears of it */
    } else {
        stop_with_command(run);
    }
}

static void child_cb(uv_signal_t *signal, int number)
{
    struct run *run = signal->data;
    int code = 0;
    (void)number;
    switch (command_reap(&run->child, &code)) {
    case COMMAND_ENDED:
        child_ended(run, code);
        break;
    case COMMAND_STOPPED:
        command_yield_terminal(&run->child);
        stop_with_command(run);
        break;
    case COMMAND_RUNS:
        break;
    }
}

static void signal_cb(uv_signal_t *signal, int number)
{
    struct run *run = signal->data;
    if (command_running(&run->child)) {
        command_signal(&run->child, number); /* K3 */
    } else if (run->waiting) {
        run->code = 128 + number;
        lockstep_cancel_fire(run->cancel);
    }
}

static void set_variable(const char *name, uint64_t number)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    (void)setenv(name, text, 1);
}

static void start_command(struct run *run)
{
    (void)setenv("LOCKSTEP_ENDPOINTS", run->cli->endpoints, 1); /* a lockstep within asks the same cluster */
    (void)setenv("LOCKSTEP_KEY", run->wanted.key, 1);
    set_variable("LOCKSTEP_TOKEN", lockstep_lock_token(run->lock));
    set_variable("LOCKSTEP_FENCE", lockstep_lock_fence(run->lock));
    int error = command_start(&run->child, run->command);
    if (error != 0) {
        bool missing = error == ENOENT;
        child_ended(run, cli_report(missing ? CLI_EXIT_NO_COMMAND : CLI_EXIT_CANNOT_RUN, missing ? "NO_COMMAND" : "CANNOT_RUN",
                                    run->command[0], "%s", strerror(error)));
    }
}

static void acquired_cb(void *arg, int result, struct lockstep_lock *lock, const struct lockstep_holder *holder)
{
    struct run *run = arg;
    run->waiting = false;
    run->lock = lock;
    run->held = result == LOCKSTEP_OK;
    if (run->held && run->code == 0) {
        start_command(run);
        return;
    }
    if (result != LOCKSTEP_OK && result != LOCKSTEP_CANCELLED) {
        run->code = cli_wanted_fail(&run->wanted, result, holder);
    }
    close_all(run, run->code); /* a signal came: 128 + its number */
}

/* ---- the beginning ---- */

static error_t parse_lock(int key, char *argument, struct argp_state *state)
{
    struct run *run = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = run->cli;
        state->child_inputs[1] = &run->wanted;
        return 0;
    case KEY_GRACE:
        run->grace_ms = cli_duration("--grace", argument, 0, LOCKSTEP_TTL_MS_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (run->wanted.key != NULL) {
            argp_error(state, "\"%s\" comes after KEY; put -- before the command", argument);
        }
        run->wanted.key = argument;
        return 0;
    case ARGP_KEY_END:
        if (run->wanted.key == NULL) {
            argp_error(state, "KEY is missing");
        }
        if (run->command == NULL || run->command[0] == NULL) {
            argp_error(state, "the command is missing: lock KEY [options] -- COMMAND ...");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* How long before the certain time ends the library says that the lock is lost: time for the grace and some slack. Without a grace a
 * quarter of a short ttl is left for the slack, or the renewal, which goes out after a third of it and waits up to 20 ms at the
 * leader for company, always came too late. */
static int64_t lead_ms(const struct run *run)
{
    int64_t most = run->grace_ms > 0 ? run->wanted.ttl_ms / 2 : run->wanted.ttl_ms / 4;
    int64_t wanted = run->grace_ms + SLACK_MS;
    return wanted < most ? wanted : most;
}

/* A fresh client has half of its ttl for the lead at most; the grace must fit in. */
static void settle_times(struct run *run)
{
    char half[32];
    if (run->wanted.ttl_ms == 0) {
        run->wanted.ttl_ms = TTL_MS_DEFAULT;
    }
    int64_t grace_max = run->wanted.ttl_ms / 2 - SLACK_MS;
    grace_max = grace_max > 0 ? grace_max : 0;
    if (run->grace_ms > grace_max) {
        cli_misused("--grace is more than what a ttl leaves for it; with this ttl allowed are 0ms..%s",
                    cli_duration_exact(grace_max, half));
    }
    if (run->grace_ms < 0) {
        run->grace_ms = run->wanted.ttl_ms / 4 < GRACE_MS_MAX ? run->wanted.ttl_ms / 4 : GRACE_MS_MAX;
        run->grace_ms = run->grace_ms < grace_max ? run->grace_ms : grace_max;
    }
}

/* @return 0, or why there can be no loop. */
static int watch_signals(struct run *run)
{
    command_init(&run->child);
    (void)signal(SIGPIPE, SIG_IGN); /* that a node has gone is learnt from the write */
    int error = uv_loop_init(&run->loop);
    if (error != 0) {
        return error; /* too few descriptors */
    }
    for (unsigned i = 0; i < PASSED_SIGNALS; i++) {
        (void)uv_signal_init(&run->loop, &run->signals[i]);
        run->signals[i].data = run;
        if (sigismember(&run->child.ignored, passed_signals[i]) == 0) { /* K3 */
            (void)uv_signal_start(&run->signals[i], signal_cb, passed_signals[i]);
        }
    }
    (void)uv_signal_init(&run->loop, &run->child_signal);
    run->child_signal.data = run;
    (void)uv_signal_start(&run->child_signal, child_cb, SIGCHLD);
    (void)uv_signal_init(&run->loop, &run->suspend_signal);
    run->suspend_signal.data = run;
    watch_suspend(run);
    (void)uv_signal_init(&run->loop, &run->continue_signal);
    run->continue_signal.data = run;
    (void)uv_signal_start(&run->continue_signal, continue_cb, SIGCONT);
    (void)uv_timer_init(&run->loop, &run->kill_timer);
    run->kill_timer.data = run;
    return 0;
}

static int start_acquire(struct run *run)
{
    struct lockstep_options options;
    struct lockstep_acquire_options wish;
    cli_client_options(run->cli, &options);
    options.session_ttl_ms = run->wanted.ttl_ms;
    options.lock_delay_ms = run->wanted.lock_delay_ms;
    options.lost_lead_ms = lead_ms(run);
    int result = lockstep_async_create(&run->loop, &options, &run->async);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    cli_wanted_options(&run->wanted, &wish);
    wish.on_lost = lost_cb;
    wish.on_lost_arg = run;
    wish.cancel = run->cancel;
    run->waiting = true;
    return lockstep_async_acquire(run->async, run->wanted.key, &wish, acquired_cb, run);
}

/* What is right of "--" is the command, whatever it looks like. @return how many words are left of it. */
static int split_command(struct run *run, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            run->command = &argv[i + 1];
            return i;
        }
    }
    return argc;
}

int cli_lock(struct cli *cli, int argc, char **argv)
{
    static const struct argp_option argp_options[] = {
        {"grace", KEY_GRACE, "DURATION", 0,
         "from SIGTERM to SIGKILL, if the lock is about to be lost; default: a quarter of the ttl, at most 5s", 1},
        {0}};
    static const struct argp_child children[] = {{&cli_common_argp, 0, NULL, 0}, {&cli_wanted_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse_lock,
        .args_doc = "KEY -- COMMAND ...",
        .doc = "Run COMMAND while holding the lock KEY.\v"
               "COMMAND finds LOCKSTEP_KEY, LOCKSTEP_TOKEN, LOCKSTEP_FENCE and LOCKSTEP_ENDPOINTS in its environment. Signals are "
               "passed on to it, but for those that are ignored from the start (nohup). If the lock is about to be lost, COMMAND and its "
               "children get SIGTERM, and SIGKILL before another can be granted the lock. What COMMAND leaves behind in its "
               "process group when it ends is killed as well. A job that is suspended (Ctrl-Z) does not renew the lock; if it is "
               "over when the job goes on, COMMAND is killed. Without --try or --wait it waits for ever. The exit code is "
               "COMMAND's, or one of lockstep --help.",
        .children = children,
    };
    struct run run = {.cli = cli, .grace_ms = -1};
    cli_wanted_init(&run.wanted);
    argc = split_command(&run, argc, argv);
    argv[argc] = NULL;
    cli_parse(&argp, argc, argv, &run);
    settle_times(&run);
    int error = watch_signals(&run);
    if (error != 0) {
        return cli_report(CLI_EXIT_FAILED, "SYSTEM", run.wanted.key, "there can be no event loop: %s", uv_strerror(error));
    }
    if (lockstep_cancel_create(&run.cancel) != LOCKSTEP_OK) {
        return cli_fail(run.wanted.key, LOCKSTEP_NO_MEMORY);
    }
    int result = start_acquire(&run);
    if (result != LOCKSTEP_OK) {
        run.code = cli_fail(run.wanted.key, result);
        if (run.async == NULL) {
            closed_cb(&run, result); /* there is no client to be closed first */
        } else {
            close_all(&run, run.code);
        }
    }
    (void)uv_run(&run.loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&run.loop);
    lockstep_cancel_free(run.cancel);
    return run.code;
}
