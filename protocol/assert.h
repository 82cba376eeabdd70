/* Our own assertions: a programmer's error ends the process, in release builds too, because a lock service that goes
 * on after one may be wrong. One condition each. */
#ifndef LOCKSTEP_PROTOCOL_ASSERT_H
#define LOCKSTEP_PROTOCOL_ASSERT_H

#define LOCKSTEP_ASSERT(condition) \
    ((condition) ? (void)0 : lockstep_assert_failed(#condition, __FILE__, __LINE__, __func__))

/* Writes one line to standard error and aborts. */
_Noreturn void lockstep_assert_failed(const char *condition, const char *file, int line, const char *function);

#endif
