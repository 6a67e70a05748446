/* What a keeper does to itself before it starts tasks: they inherit it, so that starting one costs
 * no more than vfork and exec. Levels are those of COMPUTE.md. */
#ifndef QUERN_WORKER_JAIL_H
#define QUERN_WORKER_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "worker/cgroup.h"
#include "worker/filter.h"
#include "worker/launch.h"

#define JAIL_TMP_BYTES ((uint64_t)1 << 30)
#define JAIL_PROCESSES_MAX 256u /* where they can be counted for one sandbox alone */

struct jail {
    int level;
    bool net_namespace;   /* L3 and L4 only */
    struct cgroup cgroup; /* CGROUP_NONE where there are none; always at L4 */
    const struct filter *filter;
    int files_fd; /* where files given to tasks lie: they may open them again, as /dev/stdout */
    const char *hidden;                /* a path that must not be seen: the data directory */
    bool root;                         /* quern runs as root */
    char scratch[LAUNCH_SCRATCH_SIZE]; /* L1, L2: made before and owned by the task user; else /tmp
                                        */
};

/* Flags for clone(2) of a keeper. */
int jail_clone_flags(int level, bool net_namespace);

/* The user and group of tasks: 65534 when quern runs as root, else its own. */
uid_t jail_uid(void);
gid_t jail_gid(void);

/* By the launcher, after clone: maps the task user into the keeper's user namespace (L3 and L4). */
int jail_map_ids(pid_t keeper, struct err *err);

/* By the keeper, once the ids are mapped. The current directory is then the scratch directory, for
 * good. */
int jail_enter(const struct jail *jail, struct err *err);

#endif
