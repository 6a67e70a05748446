/* The processes of a development cluster: `quern serve` for each node, in a session of its own. */
#ifndef QUERN_CLI_DEV_NODE_H
#define QUERN_CLI_DEV_NODE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct dev_node {
    unsigned number; /* from 1 */
    pid_t pid;
    int ready_fd; /* its stdout, until the line "ready" was read; then -1 */
};

enum dev_node_tie {
    DEV_NODE_TIED, /* killed with the process that starts it */
    DEV_NODE_FREE, /* outlives it; stops when the `quern dev` of the folder ends */
};

/* Starts the node and writes its pid file; waits a little for one that is ending. ERR_EXISTS when
 * it runs already. */
int dev_node_start(struct dev_node *node, const char *dir, unsigned number, enum dev_node_tie tie,
                   struct err *err);

/* Waits until all are ready. An error tells what a node that ended said last; ERR_CLOSED: stop_fd
 * became readable. */
int dev_node_wait_ready(struct dev_node *nodes, unsigned count, const char *dir, int stop_fd,
                        struct err *err);

/* Stops nodes 1..count of the folder, whoever started them: SIGTERM, and SIGKILL to those that do
 * not end. */
void dev_node_stop_all(const char *dir, unsigned count);

#endif
