/* The processes below a keeper: all that a task has started, also what left its session. */
#ifndef QUERN_WORKER_TREE_H
#define QUERN_WORKER_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Kills and reaps every descendant of the calling process, which is the first of a pid namespace or
 * a subreaper. What they used is added to *usage. spare are children that live on with what is
 * below them; sorted by nothing, at most a few. */
void tree_kill(bool owns_pid_namespace, const pid_t *spare, unsigned spare_count,
               struct rusage *usage);

/* Resident bytes of all descendants of the calling process. */
uint64_t tree_resident_bytes(void);

void tree_add_usage(struct rusage *sum, const struct rusage *one);

#endif
