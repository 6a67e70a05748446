/* The launcher as the worker's own code sees it; worker.h has what the rest of the program sees. */
#ifndef QUERN_WORKER_LAUNCHER_H
#define QUERN_WORKER_LAUNCHER_H

#include "worker/launch.h"

struct launcher;

/* launcher_start with a lower level than the machine allows, for tests. */
int launcher_start_at(const char *dir, int level_max, struct launcher **ret_launcher,
                      struct err *err);

/* A new sandbox of the launcher's level: the socket to its keeper, and its scratch directory as
 * tasks see it. Any thread; takes about a millisecond. */
int launcher_open_sandbox(struct launcher *launcher, int *ret_socket,
                          char ret_scratch[LAUNCH_SCRATCH_SIZE], struct err *err);

/* It has died: there will be no more sandboxes until the node is started again. */
bool launcher_is_dead(struct launcher *launcher);

#endif
