/* The seccomp filter of tasks: system calls that no task needs and that have been ways out of
 * sandboxes fail with EPERM. */
#ifndef QUERN_WORKER_FILTER_H
#define QUERN_WORKER_FILTER_H

#include <stdbool.h>

#include "base/err.h"

struct filter; /* compiled once, applied by every keeper */

/* unix_sockets: AF_UNIX is allowed (where a net namespace keeps them inside); all other families
 * never are. */
int filter_new(bool unix_sockets, struct filter **ret_filter, struct err *err);
struct filter *filter_free(struct filter *filter);

/* For this process and its children, for good. Needs no_new_privs. */
int filter_apply(const struct filter *filter, struct err *err);

#endif
