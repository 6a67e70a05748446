/* The environment of a task: a plain PATH, its scratch directory, and what it works on
 * (COMPUTE.md). */
#ifndef QUERN_WORKER_ENVIRONMENT_H
#define QUERN_WORKER_ENVIRONMENT_H

#include "base/arena.h"
#include "sched.pb-c.h"

#define TASK_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* "NAME=value" strings ending with NULL, cut from the arena; NULL when it is full. */
const char *const *environment_new(const Pb__TaskWork *work, const char *scratch,
                                   struct arena *arena);

#endif
