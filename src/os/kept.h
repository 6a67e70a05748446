/* Small files that must outlive a bad sector: kept twice, as PATH and as PATH.copy, which begins
 * with a line of the CRC32C of the rest. Any thread; blocks. */
#ifndef QUERN_OS_KEPT_H
#define QUERN_OS_KEPT_H

#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"

/* Durable, each of the two atomically; the copy first: what PATH says counts. */
int kept_write(const char *path, mode_t mode, struct span data, struct err *err);

/* Takes the bytes; an error of its means that they are damaged. */
typedef int kept_take(void *context, const char *path, struct span bytes, struct err *err);

/* Gives take what PATH holds; where that is missing or refused the copy, and PATH is written anew.
 * Errors: those of PATH, where the copy is no help; ERR_NOT_FOUND when there is neither. */
int kept_read(const char *path, size_t limit, kept_take *take, void *context, struct err *err);

#endif
