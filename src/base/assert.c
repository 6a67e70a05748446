/* How the process ends when it must not go on. */
#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *condition, const char *file, int line, const char *function) {
    fprintf(stderr, "quern: bug: %s:%d: %s: assertion failed: %s\n", file, line, function,
            condition);
    abort();
}

void panic(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("quern: fatal: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
