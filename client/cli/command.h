/* A command as a process group of its own, with the terminal if there is one. */
#ifndef LOCKSTEP_CLI_COMMAND_H
#define LOCKSTEP_CLI_COMMAND_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct command {
    pid_t pid; /* also its process group; 0: none runs */
    int terminal; /* of our session; -1: there is none */
    sigset_t ignored; /* what whoever started us ignores (nohup, a shell's background): so does the command */
};

enum command_state { COMMAND_RUNS, COMMAND_STOPPED, COMMAND_ENDED };

/* Before this process changes how it takes signals. */
void command_init(struct command *command);
/* Start argv[0] (looked up in PATH) with the signal handling that this process began with. @return 0 or an errno. */
int command_start(struct command *command, char **argv);
bool command_running(const struct command *command);
/* To the whole group. Does nothing if none runs. */
void command_signal(const struct command *command, int number);
/* After SIGCHLD. ENDED: `ret_code` is its exit code, or 128 + the signal that ended it. STOPPED: the user suspended it. */
enum command_state command_reap(struct command *command, int *ret_code);
/* Whether the terminal is ours to give. */
bool command_may_have_terminal(const struct command *command);
/* Take the terminal back, if it has it. */
void command_yield_terminal(const struct command *command);
/* Give it the terminal, if it is ours to give, and continue it. One must run. */
void command_continue(const struct command *command);

#endif
