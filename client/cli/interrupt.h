/* Signals that end a blocking wait: SIGINT, SIGTERM, SIGHUP. One that this process was started to ignore (nohup) stays so. */
#ifndef LOCKSTEP_CLI_INTERRUPT_H
#define LOCKSTEP_CLI_INTERRUPT_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "lockstep.h"

struct interrupt {
    struct lockstep_cancel *cancel; /* fired by the first of the signals */
    sigset_t signals;
    pthread_t thread;
    atomic_int number; /* of that signal; 0: none came */
};

/* From here on the signals do nothing else, until the process ends. @return LOCKSTEP_OK, or why not; then nothing is to be
 * ended. */
int interrupt_begin(struct interrupt *interrupt);
int interrupt_number(struct interrupt *interrupt);
void interrupt_end(struct interrupt *interrupt);

#endif
