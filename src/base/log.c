/* Log lines on stderr. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static _Atomic int level_min = -1;
static char node_name[32] = "quern";

void log_set_level(enum log_level level) {
    atomic_store(&level_min, (int)level);
}

void log_set_name(const char *name) {
    snprintf(node_name, sizeof node_name, "%s", name);
}

static int level_from_environment(void) {
    const char *wanted = getenv("QUERN_LOG");
    for (int level = LOG_DEBUG; wanted != NULL && level <= LOG_ERROR; level++)
        if (strcmp(wanted, level_names[level]) == 0)
            return level;
    return LOG_INFO;
}

void log_line(enum log_level level, const char *format, ...) {
    if (atomic_load_explicit(&level_min, memory_order_relaxed) < 0)
        atomic_store(&level_min, level_from_environment());
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed))
        return;
    char line[1024];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%FT%T", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %-5s %s ",
                             now.tv_nsec / 1000000, level_names[level], node_name);
    va_list args;
    va_start(args, format);
    int text = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    used += text > 0 ? (size_t)text : 0;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    (void)!write(STDERR_FILENO, line, used); /* one write: lines of threads do not mix */
}
