/* One node: its data directory and the roles it runs, started and stopped in order. */
#ifndef QUERN_NODE_NODE_H
#define QUERN_NODE_NODE_H

#include <stdint.h>

#include "base/err.h"

struct node;

struct node_options {
    const char *dir;
    const char *listen_address; /* NULL = what the directory says, else 127.0.0.1:9000 */
    const char *peer_address;   /* NULL = what the directory says, else 127.0.0.1:9100 */
    const char *name;           /* NULL = what the directory says, else "node1" */
    const char *zone;           /* NULL = what the directory says, else "" */
};

/* Starts all roles. Call it from the only thread of the process. */
int node_start(const struct node_options *options, struct node **ret_node, struct err *err);

/* 0 once the root group has a leader and the cluster map is known; ERR_TIMEOUT and the like while
 * it has not; ERR_WRONG_CLUSTER when the catalogue is not of this node's cluster. */
int node_check_ready(struct node *node, uint64_t deadline_ns, struct err *err);

const char *node_name(const struct node *node);
const char *node_url(const struct node *node); /* "http://127.0.0.1:9000", with the port it got */
const char *node_credentials_path(const struct node *node);

/* Stops what runs, in reverse; also half-started ones and NULL. */
struct node *node_stop(struct node *node);

#endif
