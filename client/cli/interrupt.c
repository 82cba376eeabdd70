/* Signals for a subcommand that waits in the library. A switch can not be fired from a signal handler; so the signals are
 * blocked, and a thread takes them. */
#include "client/cli/interrupt.h"

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void *listen(void *argument)
{
    struct interrupt *interrupt = argument;
    int number = 0;
    if (sigwait(&interrupt->signals, &number) != 0) {
        return NULL;
    }
    /* The switch is fired as a whole, or interrupt_end() would free it half-way. */
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    atomic_store(&interrupt->number, number);
    lockstep_cancel_fire(interrupt->cancel);
    return NULL;
}

int interrupt_begin(struct interrupt *interrupt)
{
    atomic_init(&interrupt->number, 0);
    (void)sigemptyset(&interrupt->signals);
    for (size_t i = 0; i < sizeof ending_signals / sizeof ending_signals[0]; i++) {
        struct sigaction action;
        if (sigaction(ending_signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            (void)sigaddset(&interrupt->signals, ending_signals[i]);
        }
    }
    int result = lockstep_cancel_create(&interrupt->cancel);
    if (result != LOCKSTEP_OK) {
        return result;
    }
    (void)pthread_sigmask(SIG_BLOCK, &interrupt->signals, NULL);
    if (pthread_create(&interrupt->thread, NULL, listen, interrupt) != 0) {
        lockstep_cancel_free(interrupt->cancel);
        return LOCKSTEP_SYSTEM;
    }
    return LOCKSTEP_OK;
}

int interrupt_number(struct interrupt *interrupt)
{
    return atomic_load(&interrupt->number);
}

void interrupt_end(struct interrupt *interrupt)
{
    (void)pthread_cancel(interrupt->thread); /* if it still waits; it may have ended by itself */
    (void)pthread_join(interrupt->thread, NULL);
    lockstep_cancel_free(interrupt->cancel);
}
