/* Log lines on stderr: one line, UTC time, level, node, text. Only the function at the top of a
 * thread or a loop logs; library code returns its story in struct err. Any thread. */
#ifndef QUERN_BASE_LOG_H
#define QUERN_BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Below this nothing is printed; LOG_INFO until set (QUERN_LOG=debug|info|warn|error in the
 * environment wins). */
void log_set_level(enum log_level level);
/* A short name put in every line, for example "node2". Call before threads start. */
void log_set_name(const char *name);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
