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
    char scratch[LAUNCH_SCRATCH_SIZE]; /* L1, L2: its owner is the task user; else /tmp */
};

/* Flags for clone(2) of a keeper. */
int jail_clone_flags(int level, bool net_namespace);

/* By the launcher, L1 and L2: gives a scratch directory to the keeper's task user. As root that is
 * a user of this keeper alone, so that its tasks can neither signal those of other sandboxes nor
 * use up their processes; or 65534 where quern's own user namespace lacks such users. */
int jail_give_scratch(const char *scratch, pid_t keeper, struct err *err);

/* By the launcher, after clone: maps the task user into the keeper's user namespace (L3 and L4). */
int jail_map_ids(pid_t keeper, struct err *err);

/* By the keeper, once the ids are mapped. The current directory is then the scratch directory, for
 * good. */
int jail_enter(const struct jail *jail, struct err *err);

#endif
