/* Control groups of sandboxes: memory and process limits that hold for all of a task together, by
 * the kernel. Version 2 and version 1 of them, where they may be written; the launcher's alone. */
#ifndef QUERN_WORKER_CGROUP_H
#define QUERN_WORKER_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cgroup_parent { /* a group of the launcher's own, above those of its sandboxes */
    bool is_v2;
    char memory[PATH_MAX];
    char pids[PATH_MAX]; /* version 2: the same */
};

struct cgroup {
    bool is_v2;
    unsigned number;
    int procs_fds[2]; /* open for writing: who is in it, for memory and for processes */
    int limit_fd;     /* open for writing: the memory limit */
    int events_fd;    /* counts what was killed for it */
    int used_fd;      /* how much of it is used */
};

#define CGROUP_NONE                                                                                \
    ((struct cgroup){.procs_fds = {-1, -1}, .limit_fd = -1, .events_fd = -1, .used_fd = -1})

/* Finds where groups can be made, and makes the parent. ERR_NOT_IMPLEMENTED where there is no such
 * place. */
int cgroup_parent_make(struct cgroup_parent *ret_parent, struct err *err);
void cgroup_parent_remove(const struct cgroup_parent *parent);

/* A group for one sandbox, with its process limit; number is its name. */
int cgroup_make(const struct cgroup_parent *parent, unsigned number, unsigned processes_max,
                struct cgroup *ret_cgroup, struct err *err);
/* Moves the calling process, whatever its user, into it, unless it is there. May take ten
 * milliseconds and more: the kernel waits for all others to be out of the way. Returns 0 or an
 * errno. */
int cgroup_enter(struct cgroup *cgroup);
/* Once all its processes are dead. */
void cgroup_remove(const struct cgroup_parent *parent, const struct cgroup *cgroup);
void cgroup_close(struct cgroup *cgroup);

/* For the next task; 0 = none. By the keeper, whatever its user: the file was opened before.
 * Returns 0 or an errno. */
int cgroup_limit_memory(const struct cgroup *cgroup, uint64_t bytes);
uint64_t cgroup_memory_used(const struct cgroup *cgroup); /* bytes */
/* How many processes have been killed for memory so far. */
uint64_t cgroup_memory_kills(const struct cgroup *cgroup);

#endif
