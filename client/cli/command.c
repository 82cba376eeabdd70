/* A command as a process group of its own. A group, because what is to be stopped is the command with all its children: a
 * shell's child that went on without the lock would be what the lock is there to prevent. */
#include "client/cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/exits.h"

/* The terminal belongs to one group at a time. We hand on what is ours and take back what the command has, and nothing else: of a
 * job in the background it is the shell's, or that of whoever the user went on to. */
static void move_terminal(const struct command *command, pid_t from, pid_t to)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    if (tcgetpgrp(command->terminal) != from) {
        return;
    }
    /* A background process that does this is sent SIGTTOU. */
    (void)sigaction(SIGTTOU, &ignore, &before);
    (void)tcsetpgrp(command->terminal, to);
    (void)sigaction(SIGTTOU, &before, NULL);
}

enum { SIGNALS_END = 32 }; /* those behind it have no meaning of their own */

void command_init(struct command *command)
{
    *command = (struct command){.terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)};
    (void)sigemptyset(&command->ignored);
    for (int number = 1; number < SIGNALS_END; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
            (void)sigaddset(&command->ignored, number);
        }
    }
}

static void original_signals(const sigset_t *ignored)
{
    sigset_t none;
    for (int number = 1; number < SIGNALS_END; number++) {
        struct sigaction action = {.sa_handler = sigismember(ignored, number) == 1 ? SIG_IGN : SIG_DFL};
        (void)sigaction(number, &action, NULL); /* SIGKILL and SIGSTOP refuse, and need not */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Tells the parent by `report` why the command could not be executed; the descriptor closes if it could. */
static _Noreturn void run_child(const struct command *command, char **argv, pid_t parent, int report)
{
    (void)setpgid(0, 0);
    /* In a pipeline somebody else of our group may be the one who reads the keys: then it is given only if it is asked for. */
    if (isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1) {
        move_terminal(command, getpgid(parent), getpid()); /* ours may have been changed by it already */
    }
    original_signals(&command->ignored);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(CLI_EXIT_LOST); /* it died in between: the lock has no holder */
    }
    (void)execvp(argv[0], argv);
    int error = errno;
    ssize_t written = write(report, &error, sizeof error);
    _exit(written == (ssize_t)sizeof error ? CLI_EXIT_CANNOT_RUN : CLI_EXIT_FAILED);
}

int command_start(struct command *command, char **argv)
{
    int report[2];
    int error = 0;
    if (pipe2(report, O_CLOEXEC) != 0) {
        return errno;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        error = errno;
    } else if (pid == 0) {
        run_child(command, argv, parent, report[1]);
    }
    (void)close(report[1]);
    if (pid > 0) {
        (void)setpgid(pid, pid); /* both sides do it, so that neither can come too early */
        ssize_t size = read(report[0], &error, sizeof error);
        error = size == (ssize_t)sizeof error ? error : 0;
    }
    (void)close(report[0]);
    if (pid > 0 && error == 0) {
        command->pid = pid;
    } else if (pid > 0) {
        (void)waitpid(pid, NULL, 0);
        move_terminal(command, pid, getpgrp());
    }
    return error;
}

bool command_running(const struct command *command)
{
    return command->pid != 0;
}

void command_signal(const struct command *command, int number)
{
    if (command->pid != 0) {
        (void)kill(-command->pid, number);
    }
}

/* Without a terminal, or if somebody else sent it SIGSTOP, whoever continues it knows nothing of us: if we had stopped as well, it
 * would go on with nobody to renew the lock, or to stop it. */
static enum command_state stopped(const struct command *command, int number)
{
    pid_t foreground = tcgetpgrp(command->terminal);
    bool wants_terminal = number == SIGTTIN || number == SIGTTOU;
    if (wants_terminal && foreground == getpgrp()) {
        command_continue(command);
        return COMMAND_RUNS;
    }
    bool by_user = foreground != -1 && (number != SIGSTOP || foreground == command->pid);
    return by_user ? COMMAND_STOPPED : COMMAND_RUNS;
}

enum command_state command_reap(struct command *command, int *ret_code)
{
    int status = 0;
    if (command->pid == 0 || waitpid(command->pid, &status, WNOHANG | WUNTRACED) != command->pid) {
        return COMMAND_RUNS;
    }
    if (WIFSTOPPED(status)) {
        return stopped(command, WSTOPSIG(status));
    }
    /* Children that it left behind would go on without the lock. */
    (void)kill(-command->pid, SIGKILL);
    *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    command_yield_terminal(command);
    command->pid = 0;
    return COMMAND_ENDED;
}

bool command_may_have_terminal(const struct command *command)
{
    return tcgetpgrp(command->terminal) == getpgrp();
}

void command_yield_terminal(const struct command *command)
{
    move_terminal(command, command->pid, getpgrp());
}

void command_continue(const struct command *command)
{
    move_terminal(command, getpgrp(), command->pid);
    (void)kill(-command->pid, SIGCONT);
}
