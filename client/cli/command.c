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

static void set_terminal(pid_t group)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    /* A background process that does this is sent SIGTTOU. */
    (void)sigaction(SIGTTOU, &ignore, &before);
    (void)tcsetpgrp(STDIN_FILENO, group);
    (void)sigaction(SIGTTOU, &before, NULL);
}

enum { SIGNALS_END = 32 }; /* those behind it have no meaning of their own */

void command_init(struct command *command)
{
    *command = (struct command){.pid = 0};
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
    if (command->owns_terminal) {
        set_terminal(getpid());
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
    command->owns_terminal = isatty(STDIN_FILENO) == 1 && tcgetpgrp(STDIN_FILENO) == getpgrp();
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
        command_yield_terminal(command);
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

enum command_state command_reap(struct command *command, int *ret_code)
{
    int status = 0;
    if (command->pid == 0 || waitpid(command->pid, &status, WNOHANG | WUNTRACED) != command->pid) {
        return COMMAND_RUNS;
    }
    if (WIFSTOPPED(status)) {
        return COMMAND_STOPPED;
    }
    /* Children that it left behind would go on without the lock. */
    (void)kill(-command->pid, SIGKILL);
    *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    command_yield_terminal(command);
    command->pid = 0;
    return COMMAND_ENDED;
}

void command_yield_terminal(const struct command *command)
{
    if (command->owns_terminal) {
        set_terminal(getpgrp());
    }
}

void command_continue(const struct command *command)
{
    if (command->pid == 0) {
        return;
    }
    if (command->owns_terminal) {
        set_terminal(command->pid);
    }
    (void)kill(-command->pid, SIGCONT);
}
