/* One node: its data directory and the roles it runs, started and stopped in order. */
#ifndef QUERN_NODE_NODE_H
#define QUERN_NODE_NODE_H

#include "base/err.h"

struct node;

struct node_options {
    const char *dir;
    const char *listen_address; /* NULL = what the directory says, else 127.0.0.1:9000 */
    const char *peer_address;   /* NULL = what the directory says, else 127.0.0.1:9100 */
    const char *name;           /* NULL = "node1" */
    const char *zone;           /* NULL = "" */
};

int node_start(const struct node_options *options, struct node **ret_node, struct err *err);
const char *node_url(const struct node *node);  /* "http://127.0.0.1:9000" */
const char *node_credentials_path(const struct node *node);
struct node *node_stop(struct node *node);

#endif
