/* The private root of a sandbox: a read-only view of the system, a few devices, its own /proc and
 * an empty /tmp. */
#ifndef QUERN_WORKER_ROOT_H
#define QUERN_WORKER_ROOT_H

#include <stdint.h>

#include "base/err.h"

/* In a fresh mount namespace, with its capabilities: makes it and moves into it; the current
 * directory is /tmp. System directories above hidden (may be NULL) are left out. */
int root_enter(const char *hidden, uint64_t tmp_bytes_max, struct err *err);

#endif
