/* Assertions stay on in release. A bug is ASSERT; bad bytes from disk or peer are an error, never
 * an assertion. */
#ifndef QUERN_BASE_ASSERT_H
#define QUERN_BASE_ASSERT_H

#include <stdnoreturn.h>

#define ASSERT(condition)                                                                          \
    (__builtin_expect(!!(condition), 1) ? (void)0                                                  \
                                        : assert_fail(#condition, __FILE__, __LINE__, __func__))

/* Prints what failed, and where, to stderr and aborts. */
noreturn void assert_fail(const char *condition, const char *file, int line, const char *function);

/* Ends the process for a reason that is not a bug of ours but must not be survived (a failed
 * fsync). */
noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
